/* What becomes of a batch. An attempt that conflicts is made again; one that the store refuses is halved until the poisoned event
 * stands alone and is kept aside; one that the store cannot take, or not in time, goes to the spool, and so does everything until a probe shows
 * the store back. Without a spool it fails.
 *
 * Invariant: `done` with anything but INGEST_FAILED is called here only after the commit that holds the event (or its duplicate).
 * After a sync of the store that failed no probe is made and nothing acknowledged from it any more: what reads well may be on no disk then.
 * Each item's `done` is called exactly once, outside every lock. Runs on a writer's thread. */
#include <stdio.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "ingest/internal.h"

#define ARENA_FIRST_BYTES 524288 /* kept between batches; what a batch needs beyond it is freed after it */
#define KEPT_TEXT_BYTES 1048576  /* a text buffer that has grown beyond it is freed */
#define ATTEMPTS 6
#define ATTEMPTS_MS 10000              /* where the store's options name no deadline */
#define COMMIT_DEADLINE_MS 1000        /* where there is a spool, and the options name none */
#define ABOUT_NS 30000000              /* who waits for a lock gives up a little before the deadline */
#define PAUSE_MS 4                     /* before the second attempt; doubles, half of it random: 250 ms in all at most */
#define FIRST_PROBE_PAUSE_MS 50
#define LONGEST_PROBE_PAUSE_MS 1000

/* ---- the store's state ---- */

/* An error that is the batch's own, not the store's health. */
static bool store_is_well(int error) { return error == OC_RETRY || error == OC_NOMEM || error == OC_DATA; }

/* True when that changed whether all writers have their store. */
static bool set_up(struct writer *w, bool up)
{
	bool changed = atomic_exchange(&w->up, up) != up;
	unsigned down = !up;
	if (w->down && changed)
		down = up ? atomic_fetch_sub(w->down, 1) - 1 : atomic_fetch_add(w->down, 1) + 1;
	else if (w->down)
		down = atomic_load(w->down);
	metric_set(w->metrics, METRIC_STORE_UP, 0, down == 0);
	return changed && down == !up;
}

static void keep_error(struct writer *w, int error)
{
	const char *text = w->store ? store_last_error(w->store) : "";
	snprintf(w->error, sizeof w->error, "%s%s%s", oc_error_text(error), *text ? ": " : "", text);
	size_t n = strlen(w->error);
	while (n && !slice_is_utf8(slice_of(w->error, n)))
		w->error[--n] = '\0';
}

static void plan_probe(struct writer *w)
{
	w->probe_at_ns = w->ended ? INT64_MAX : clock_mono_ns() + w->probe_pause_ms * 1000000;
	w->probe_pause_ms = w->probe_pause_ms * 2 < LONGEST_PROBE_PAUSE_MS ? w->probe_pause_ms * 2 : LONGEST_PROBE_PAUSE_MS;
}

/* A disk or a schema that failed once is not trusted on the same handle again; after a failed sync nor is any other. */
static void drop_handle(struct writer *w, int error)
{
	if (error == OC_IO || error == OC_SCHEMA || error == OC_FSYNC) {
		store_close(w->store);
		w->store = NULL;
	}
	if (error == OC_FSYNC && !w->ended) {
		w->ended = true;
		log_error("store_ended", LOG_Z("error", oc_error_text(error)), LOG_Z("detail", w->error),
			  LOG_Z("note", "nothing more is acknowledged from this database by this process: see to the disk, then restart"));
	}
}

static void store_failed(struct writer *w, int error)
{
	if (set_up(w, false))
		log_error("store_down", LOG_Z("error", oc_error_text(error)), LOG_Z("detail", w->error));
	drop_handle(w, error);
	plan_probe(w);
}

void writer_read_failed(struct writer *w, int error)
{
	keep_error(w, error);
	metric_add(w->metrics, METRIC_STORE_ERRORS, (size_t)(-error - 1), 1);
	if (!store_is_well(error))
		store_failed(w, error);
}

void writer_step(struct writer *w) { atomic_store_explicit(&w->step_ns, clock_mono_ns(), memory_order_relaxed); }

/* Before the first batch: what is drained first may be old. The sweeper asks again. */
static void learn_pruned(struct writer *w)
{
	struct store_counts c;
	if (store_count(w->store, &c) == 0)
		atomic_store(w->pruned_before_ms, c.pruned_before_ms);
}

static int open_store(struct writer *w)
{
	writer_step(w);
	arena_reset(w->arena);
	struct slice message = SLICE_NONE;
	int r = w->open(&w->options->store, w->arena, &w->store, &message);
	if (r < 0)
		snprintf(w->error, sizeof w->error, "%.*s", SLICE_FMT(message));
	else if (w->pruned_before_ms)
		learn_pruned(w);
	return r;
}

int writer_open(struct writer *w)
{
	w->probe_pause_ms = FIRST_PROBE_PAUSE_MS;
	w->random = (uint64_t)clock_mono_ns() | 1;
	w->arena = arena_new(ARENA_FIRST_BYTES);
	if (!w->arena)
		return OC_NOMEM;
	if (w->options->store_is_down) {
		set_up(w, false);
		plan_probe(w);
		return 0;
	}
	int r = open_store(w);
	set_up(w, r == 0);
	if (r == 0)
		return 0;
	log_error(r == OC_DOWN ? "store_down" : "store_unusable", LOG_Z("error", oc_error_text(r)), LOG_Z("detail", w->error));
	if (r == OC_NOMEM || (r != OC_DOWN && !w->options->spool))
		return r;
	plan_probe(w);
	return 0;
}

void writer_close(struct writer *w)
{
	store_close(w->store);
	arena_free(w->arena);
	buf_done(&w->text);
	buf_done(&w->log_lines);
}

/* An empty transaction, through and through. */
static int ask(struct writer *w)
{
	if (w->ended)
		return OC_FSYNC;
	int r = w->store ? 0 : open_store(w);
	if (r < 0)
		return r;
	struct batch *b;
	r = batch_run(w, NULL, 0, NULL, 0, &b);
	if (r < 0) {
		keep_error(w, r);
		store_batch_abort(w->store);
	}
	return r;
}

void writer_probe(struct writer *w)
{
	int r = ask(w);
	if (r == 0) {
		if (set_up(w, true))
			log_info("store_up");
		return;
	}
	drop_handle(w, r);
	plan_probe(w);
}

/* ---- attempts ---- */

static void pause_randomly(struct writer *w, unsigned attempt)
{
	w->random ^= w->random << 13;
	w->random ^= w->random >> 7;
	w->random ^= w->random << 17;
	int64_t longest_ns = (int64_t)PAUSE_MS * 1000000 << attempt;
	int64_t ns = longest_ns / 2 + (int64_t)(w->random % (uint64_t)(longest_ns / 2));
	nanosleep(&(struct timespec){ .tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000 }, NULL);
}

static void trim(struct writer *w)
{
	if (w->text.size > KEPT_TEXT_BYTES)
		buf_done(&w->text);
	if (w->log_lines.size > KEPT_TEXT_BYTES)
		buf_done(&w->log_lines);
}

/* What an attempt is about: a batch, or one event to be kept aside. */
struct task {
	struct ingest_item **items;
	size_t count;
	const struct slice *sids;
	size_t sid_count;
	struct slice aside_reason; /* none: a batch */
	enum aside_form aside_form;
};

static int run_once(struct writer *w, const struct task *t, struct batch **ret)
{
	writer_step(w);
	if (!slice_is_none(t->aside_reason))
		return batch_run_aside(w, t->items[0], t->aside_form, t->aside_reason, ret);
	return batch_run(w, t->items, t->count, t->sids, t->sid_count, ret);
}

/* No attempt begins after that: one that waited for somebody's lock has waited for the senders' patience too. Where there is a spool nobody need
 * be that patient, but a single event that comes from it has nowhere else to go. */
static int64_t attempts_ms(const struct writer *w, const struct task *t)
{
	int64_t deadline_ms = w->options->commit_deadline_ms ? w->options->commit_deadline_ms : COMMIT_DEADLINE_MS;
	if (w->spooler && t->count && (t->count > 1 || !t->items[0]->from_spool))
		return deadline_ms;
	return w->options->store.timeout_ms ? w->options->store.timeout_ms : ATTEMPTS_MS;
}

static int run_until(struct writer *w, const struct task *t, int64_t last_ns, struct batch **ret)
{
	for (unsigned attempt = 0;; attempt++) {
		int64_t begun_ns = clock_mono_ns();
		if (w->spooler)
			store_until(w->store, last_ns / 1000000);
		int r = run_once(w, t, ret);
		if (r == 0) {
			metric_observe(w->metrics, METRIC_COMMIT_SECONDS, (double)(clock_mono_ns() - begun_ns) / 1e9);
			if (t->count) {
				metric_observe(w->metrics, METRIC_BATCH_EVENTS, (double)t->count);
				w->probe_pause_ms = FIRST_PROBE_PAUSE_MS;
			}
			return 0;
		}
		keep_error(w, r);
		store_batch_abort(w->store);
		metric_add(w->metrics, METRIC_STORE_ERRORS, (size_t)(-r - 1), 1);
		if ((r != OC_RETRY && r != OC_UNSURE) || attempt + 1 == ATTEMPTS || clock_mono_ns() >= last_ns)
			return r;
		pause_randomly(w, attempt);
	}
}

/* 0, or the error that remained after the attempts that made sense. With a spool, one whose time ran out is no conflict but a store that does not
 * get on, which need not be waited for by every batch: OC_TIMEOUT, until a probe gets through. */
static int run(struct writer *w, const struct task *t, struct batch **ret)
{
	int64_t last_ns = clock_mono_ns() + attempts_ms(w, t) * 1000000;
	int r = run_until(w, t, last_ns, ret);
	if (!w->spooler)
		return r;
	store_until(w->store, 0);
	return r == OC_RETRY && clock_mono_ns() >= last_ns - ABOUT_NS ? OC_TIMEOUT : r;
}

/* ---- answers ---- */

const char *const ingest_result_names[INGEST_FAILED + 1] = {
	[INGEST_PROCESSED] = "processed", [INGEST_DUPLICATE] = "duplicate", [INGEST_IGNORED] = "ignored",
	[INGEST_QUARANTINED] = "quarantined", [INGEST_CONFLICT] = "conflict", [INGEST_SPOOLED] = "spooled", [INGEST_FAILED] = "failed",
};

static const char *note_of(const struct ingest_item *item)
{
	if (item->from_spool)
		return item->result == INGEST_DUPLICATE ? "already processed; from the spool" : "from the spool";
	return item->result == INGEST_DUPLICATE ? "already processed" : NULL;
}

static void count_kept(struct metrics *m, const struct event *ev)
{
	metric_add(m, METRIC_EVENTS, ev->type, 1);
	if (ev->type == EVENT_MARK) {
		metric_add(m, METRIC_MARKS, (size_t)ev->mark.kind - 1, 1);
		metric_add(m, METRIC_MARK_SOURCES, (size_t)ev->mark.source - 1, 1);
	}
}

/* No names and identities: there are phone numbers in them. What went to the spool is counted by result then, and by type when the journal has it. */
void writer_report(struct metrics *m, const struct ingest_item *item, struct slice cause, int64_t now_ms)
{
	const struct event *ev = &item->decoded->event;
	const struct log_field fields[] = {
		LOG_S("event_id", ev->id),
		LOG_S("event", ev->type_name),
		LOG_S("room_sid", ev->room.sid),
		LOG_Z("result", ingest_result_names[item->result]),
		LOG_Z("note", note_of(item)),
		LOG_S("cause", cause),
		LOG_I("ms", now_ms - item->received_ms),
	};
	log_write(item->result == INGEST_QUARANTINED ? LOG_LEVEL_WARN : LOG_LEVEL_INFO, "call_completed", fields,
		sizeof fields / sizeof *fields);
	bool durable = item->result != INGEST_DUPLICATE && item->result != INGEST_CONFLICT && item->result != INGEST_FAILED;
	if (durable && item->result != INGEST_SPOOLED)
		count_kept(m, ev);
	if (item->from_spool)
		return;
	metric_add(m, METRIC_EVENT_RESULTS, item->result, 1);
	if (ev->created_at_s > 0 && ev->type != EVENT_MARK && !slice_eq(item->source, SLICE("watcher"))) {
		double lag = (double)item->received_ms / 1000 - (double)ev->created_at_s;
		metric_observe(m, METRIC_LAG_SECONDS, lag > 0 ? lag : 0);
	}
}

static void hand_back(struct ingest_item **items, size_t n)
{
	for (size_t i = 0; i < n; i++)
		items[i]->done(items[i]);
}

static void count_calls(struct writer *w, const struct batch *b)
{
	for (size_t i = 0; i < b->loaded.call_count; i++) {
		if (!b->states || !b->states[i].first_final || !b->loaded.calls[i].revision) /* the store may have put it off */
			continue;
		metric_add(w->metrics, METRIC_CALLS, (size_t)b->states[i].outcome - 1, 1);
		for (unsigned k = 0; k < LOSS_COUNT; k++)
			if (b->states[i].losses & 1u << k)
				metric_add(w->metrics, METRIC_LOSSES, k, 1);
	}
}

static void answer(struct writer *w, struct ingest_item **items, const struct batch *b)
{
	int64_t now_ms = clock_wall_ms();
	count_calls(w, b);
	log_begin_batch(&w->log_lines);
	for (size_t i = 0; i < b->entry_count; i++) {
		const struct entry *e = &b->entries[i];
		items[i]->result = e->result;
		items[i]->error = 0;
		items[i]->message = e->message;
		writer_report(w->metrics, items[i], e->result == INGEST_DUPLICATE ? SLICE_NONE : e->error, now_ms);
	}
	log_end_batch();
	hand_back(items, b->entry_count);
}

static void fail(struct writer *w, struct ingest_item **items, size_t n, int error)
{
	int64_t now_ms = clock_wall_ms();
	log_begin_batch(&w->log_lines);
	for (size_t i = 0; i < n; i++) {
		items[i]->result = INGEST_FAILED;
		items[i]->error = error;
		items[i]->message = "Event could not be stored; send it again";
		if (!items[i]->from_spool) /* that waits there still */
			writer_report(w->metrics, items[i], slice_cstr(oc_error_text(error)), now_ms);
	}
	log_end_batch();
	hand_back(items, n);
}

/* ---- a batch's way ---- */

/* What the store refuses in every form it would refuse for ever. */
static void give_up(struct writer *w, struct ingest_item **items, size_t n, int error)
{
	if (w->spooler && error != OC_DATA && !items[0]->from_spool)
		spooler_give(w->spooler, items, n, error);
	else
		fail(w, items, n, error);
}

static void give_up_and_note(struct writer *w, struct ingest_item **items, size_t n, int error)
{
	if (!store_is_well(error))
		store_failed(w, error);
	give_up(w, items, n, error);
}

static void keep_aside(struct writer *w, struct ingest_item *item)
{
	char reason[sizeof w->error];
	memcpy(reason, w->error, sizeof reason);
	int r = OC_DATA;
	for (unsigned form = 0; form < ASIDE_FORMS && r == OC_DATA; form++) {
		struct batch *b;
		struct task t = { &item, 1, NULL, 0, slice_cstr(reason), (enum aside_form)form };
		r = run(w, &t, &b);
		if (r == 0)
			answer(w, &item, b);
	}
	if (r < 0)
		give_up_and_note(w, &item, 1, r);
}

static void settle(struct writer *w, struct ingest_item **items, size_t n)
{
	if (!atomic_load(&w->up)) {
		give_up(w, items, n, OC_DOWN);
		return;
	}
	struct batch *b;
	struct task t = { .items = items, .count = n };
	int r = run(w, &t, &b);
	if (r == 0) {
		answer(w, items, b);
	} else if (n > 1 && (r == OC_DATA || r == OC_NOMEM)) {
		settle(w, items, n / 2);
		settle(w, items + n / 2, n - n / 2);
	} else if (r == OC_DATA) {
		keep_aside(w, items[0]);
	} else {
		give_up_and_note(w, items, n, r);
	}
}

/* Events whose room has others in the spool follow them there. How many stay. */
static size_t pass_held_on(struct writer *w, struct ingest_item **items, size_t n)
{
	size_t kept = 0;
	if (!w->spooler || items[0]->from_spool)
		return n;
	for (size_t i = 0; i < n; i++) {
		if (spooler_holds(w->spooler, event_key(&items[i]->decoded->event)))
			spooler_give(w->spooler, &items[i], 1, OC_OK);
		else
			items[kept++] = items[i];
	}
	return kept;
}

void writer_process(struct writer *w, struct ingest_item **items, size_t n)
{
	if (n)
		n = pass_held_on(w, items, n);
	if (n == 0)
		return;
	settle(w, items, n);
	arena_reset(w->arena);
	trim(w);
}

bool writer_look_again(struct writer *w, const struct slice *sids, size_t n)
{
	struct batch *b;
	struct task t = { .sids = sids, .sid_count = n };
	int r = run(w, &t, &b);
	if (r == 0) {
		count_calls(w, b);
		return true;
	}
	if (!store_is_well(r)) {
		store_failed(w, r);
		return false;
	}
	if (n > 1 && (r == OC_DATA || r == OC_NOMEM)) {
		bool first = writer_look_again(w, sids, n / 2);
		return atomic_load(&w->up) && writer_look_again(w, sids + n / 2, n - n / 2) && first;
	}
	log_warn("call_not_judged", LOG_S("room_sid", n == 1 ? sids[0] : SLICE_NONE), LOG_Z("error", w->error));
	return false;
}
