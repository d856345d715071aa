/* Short transactions that take away, pauses between them, patience with a busy store. One thread, with a struct store of its own. */
#include "ingest/forgetting.h"

#include <stdlib.h>
#include <time.h>

#include "base/clock.h"

#define ARENA_BYTES 65536
#define CALLS 16            /* locked at a time */
#define PAUSES 3            /* times as long as a transaction took */
#define LONGEST_PAUSE_MS 1000
#define AGAIN_MS 20         /* before the second attempt; doubles */
#define LONGEST_AGAIN_MS 2000
#define ATTEMPTS_MS 30000

int forgetting_open(struct forgetting *f, const struct store_options *o, struct arena *message_arena, struct slice *ret_message)
{
	f->page = arena_new(ARENA_BYTES);
	f->work = arena_new(ARENA_BYTES);
	int r = f->page && f->work ? store_open(o, message_arena, &f->store, ret_message) : OC_NOMEM;
	if (r < 0)
		forgetting_close(f);
	return r;
}

void forgetting_close(struct forgetting *f)
{
	if (f->store)
		store_close(f->store);
	arena_free(f->page);
	arena_free(f->work);
	f->store = NULL;
	f->page = f->work = NULL;
}

static void sleep_ms(int64_t ms)
{
	nanosleep(&(struct timespec){ .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 }, NULL);
}

bool forgetting_goes_on(struct forgetting *f)
{
	if (!f->interrupted && f->go_on && !f->go_on(f->context))
		f->interrupted = true;
	return !f->interrupted;
}

static bool try_again(struct forgetting *f, int error, int64_t begun_ns, unsigned attempt)
{
	bool passing = error == OC_RETRY || error == OC_UNSURE || error == OC_DOWN || error == OC_TIMEOUT || error == OC_CONFLICT;
	if (!passing || clock_mono_ns() - begun_ns > (int64_t)ATTEMPTS_MS * 1000000 || !forgetting_goes_on(f))
		return false;
	int64_t ms = attempt < 7 ? (int64_t)AGAIN_MS << attempt : LONGEST_AGAIN_MS;
	sleep_ms(ms < LONGEST_AGAIN_MS ? ms : LONGEST_AGAIN_MS);
	return true;
}

int forgetting_ask(struct forgetting *f, forgetting_fn question, void *argument)
{
	int64_t begun_ns = clock_mono_ns();
	for (unsigned i = 0;; i++) {
		int64_t asked_ns = clock_mono_ns();
		int r = store_replay_begin(f->store);
		if (r == 0)
			r = question(f, argument);
		store_batch_abort(f->store);
		int64_t took_ms = (clock_mono_ns() - asked_ns) / 1000000;
		sleep_ms(took_ms < LONGEST_PAUSE_MS ? took_ms : LONGEST_PAUSE_MS);
		if (r == 0 || !try_again(f, r, begun_ns, i))
			return r;
	}
}

/* ---- one transaction ---- */

struct group {
	const struct slice *sids;
	size_t count;
	bool payloads_only;
	forgetting_fn change;
	void *argument;
	int (*tidy)(void *context, struct call_row *row);
};

static int by_bytes(const void *x, const void *y) { return slice_cmp(*(const struct slice *)x, *(const struct slice *)y); }

static int plan(struct forgetting *f, const struct group *g, struct store_touch *ret)
{
	struct slice *sids = ARENA_ARRAY(f->work, struct slice, g->count), *names = ARENA_ARRAY(f->work, struct slice, g->count);
	int64_t *starts = ARENA_ARRAY(f->work, int64_t, g->count);
	if (!sids || !names || !starts)
		return OC_NOMEM;
	if (g->count) {
		memcpy(sids, g->sids, g->count * sizeof *sids);
		qsort(sids, g->count, sizeof *sids, by_bytes);
	}
	*ret = (struct store_touch){ .event_ids = f->note ? &f->note->event_id : NULL, .event_count = f->note != NULL, .room_sids = sids, .room_names = names, .start_s = starts, .room_count = g->count };
	return 0;
}

static int tidy_rows(struct forgetting *f, const struct group *g, struct store_loaded *l)
{
	int r = 0;
	for (size_t i = 0; i < g->count && r == 0; i++) {
		struct call_row *row = store_loaded_find(l, g->sids[i]);
		if (row && row->exists)
			r = g->tidy(f->context, row);
	}
	return r;
}

/* 1: there is more. */
static int take_away(struct forgetting *f, const struct group *g, const struct store_loaded *l, const struct store_touch *t, struct forgotten *gone,
	int64_t *ret_calls)
{
	struct slice *going = ARENA_ARRAY(f->work, struct slice, t->room_count);
	size_t count = 0;
	if (!going)
		return OC_NOMEM;
	for (size_t i = 0; i < t->room_count; i++) {
		const struct call_row *row = store_loaded_find(l, t->room_sids[i]);
		if (!row || !f->may_go || f->may_go(f->context, row))
			going[count++] = t->room_sids[i];
	}
	*ret_calls = (int64_t)count;
	return g->payloads_only ? store_forget_payloads(f->store, going, count, FORGET_EVENTS, gone)
				: store_forget_calls(f->store, going, count, FORGET_EVENTS, gone);
}

static void add(struct forgotten *to, const struct forgotten *g)
{
	to->events += g->events;
	to->payloads += g->payloads;
	to->facts += g->facts;
	to->legs += g->legs;
	to->revisions += g->revisions;
	to->call_logs += g->call_logs;
	to->host_rows += g->host_rows;
}

/* 0 or 1 when it is committed. */
static int transact(struct forgetting *f, const struct group *g)
{
	struct store_touch touch;
	struct store_loaded loaded = { .call_count = 0 };
	struct forgotten before = f->gone, gone = { .events = 0 };
	int64_t calls = 0;
	arena_reset(f->work);
	int r = plan(f, g, &touch);
	if (r == 0)
		r = store_batch_load(f->store, &touch, f->work, &loaded);
	bool noted = r != 0 || !f->note || loaded.known[0];
	if (r == 0 && noted)
		r = g->change ? g->change(f, g->argument) : g->tidy ? tidy_rows(f, g, &loaded) : take_away(f, g, &loaded, &touch, &gone, &calls);
	if (r < 0) {
		f->gone = before;
		return r;
	}
	const struct store_changes changes = { .calls = loaded.calls, .call_count = g->tidy ? loaded.call_count : 0, .now_ms = clock_wall_ms(), .events = noted ? NULL : f->note, .event_count = !noted };
	int committed = store_batch_commit(f->store, &changes, f->work);
	if (committed < 0) {
		f->gone = before;
		return committed;
	}
	add(&f->gone, &gone);
	if (r == 0 && !g->change && !g->tidy)
		f->calls += calls;
	return r;
}

/* Until nothing is left of the group; between its transactions others have their turn. */
static int work(struct forgetting *f, const struct group *g)
{
	int r = 1;
	while (r == 1 && forgetting_goes_on(f)) {
		int64_t begun_ns = clock_mono_ns(), held_ms = 0;
		for (unsigned i = 0;; i++) {
			int64_t held_ns = clock_mono_ns();
			r = transact(f, g);
			if (r < 0)
				store_batch_abort(f->store);
			held_ms = (clock_mono_ns() - held_ns) / 1000000;
			if (r >= 0 || !try_again(f, r, begun_ns, i))
				break;
		}
		sleep_ms(PAUSES * held_ms < LONGEST_PAUSE_MS ? PAUSES * held_ms : LONGEST_PAUSE_MS);
	}
	return r < 0 ? r : 0;
}

int forgetting_change(struct forgetting *f, forgetting_fn change, void *argument)
{
	return work(f, &(struct group){ .change = change, .argument = argument });
}

int forgetting_tidy(struct forgetting *f, const struct slice *sids, size_t count, int (*tidy)(void *context, struct call_row *row))
{
	int r = 0;
	for (size_t i = 0; i < count && r == 0 && forgetting_goes_on(f); i += CALLS)
		r = work(f, &(struct group){ .sids = sids + i, .count = count - i < CALLS ? count - i : CALLS, .tidy = tidy });
	return r;
}

int forgetting_patiently(struct forgetting *f, forgetting_fn step, void *argument)
{
	int64_t begun_ns = clock_mono_ns();
	for (unsigned i = 0;; i++) {
		int r = step(f, argument);
		if (r == 0 || !try_again(f, r, begun_ns, i))
			return r;
	}
}

static int halve(struct forgetting *f, const struct slice *sids, size_t n, bool payloads_only)
{
	int r = work(f, &(struct group){ .sids = sids, .count = n, .payloads_only = payloads_only });
	if (r != OC_DATA)
		return r;
	if (n > 1) {
		r = halve(f, sids, n / 2, payloads_only);
		return r < 0 ? r : halve(f, sids + n / 2, n - n / 2, payloads_only);
	}
	f->left++;
	if (f->refused)
		f->refused(f->context, sids[0], slice_cstr(store_last_error(f->store)));
	return 0;
}

int forgetting_calls(struct forgetting *f, const struct slice *sids, size_t count, bool payloads_only)
{
	int r = 0;
	for (size_t i = 0; i < count && r == 0 && forgetting_goes_on(f); i += CALLS)
		r = halve(f, sids + i, count - i < CALLS ? count - i : CALLS, payloads_only);
	return r;
}
