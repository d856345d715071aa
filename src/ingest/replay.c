/* The walk of a replay: pages of room SIDs, a look at each, mends where they differ, pauses, and another attempt where the store was busy.
 *
 * Invariant: everything told to the caller as changed is committed. Ended at any moment the store is whole, since each group of calls is one
 * transaction. Runs on one thread, with a struct store of its own. */
#include "ingest/replay.h"

#include <time.h>

#include "base/clock.h"
#include "ingest/rebuild.h"

#define ARENA_FIRST_BYTES 524288
#define PAGE_CALLS 64
#define MEND_CALLS 16       /* locked at a time: a writer of a daemon waits for one such transaction */
#define MEND_PAUSES 3       /* times as long as a mend had the calls locked */
#define STRAYS 4            /* events at a time; each may have the size of the largest body */
#define LONGEST_PAUSE_MS 1000
#define AGAIN_MS 20         /* before the second attempt; doubles */
#define LONGEST_AGAIN_MS 2000
#define ATTEMPTS_MS 30000

const char *const replay_change_names[REPLAY_CHANGE_COUNT] = {
#define X(name, e, words) [e] = name,
	REPLAY_CHANGES(X)
#undef X
};
const char *const replay_change_words[REPLAY_CHANGE_COUNT] = {
#define X(name, e, words) [e] = words,
	REPLAY_CHANGES(X)
#undef X
};
const char *const replay_skip_words[REPLAY_SKIP_COUNT] = {
	[REPLAY_NOT_SKIPPED] = "",
#define X(e, words) [e] = words,
	REPLAY_SKIPS(X)
#undef X
};

struct walk {
	const struct replay_options *o;
	struct ingest_options ingest; /* what judging looks at */
	struct writer w;
	struct replay_totals t;
	unsigned rules;
	struct arena *page;
};

/* ---- time ---- */

static void sleep_ns(int64_t ns)
{
	if (ns > (int64_t)LONGEST_PAUSE_MS * 1000000)
		ns = (int64_t)LONGEST_PAUSE_MS * 1000000;
	nanosleep(&(struct timespec){ .tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000 }, NULL);
}

static bool goes_on(struct walk *k)
{
	if (!k->t.interrupted && k->o->go_on && !k->o->go_on(k->o->context, &k->t))
		k->t.interrupted = true;
	return !k->t.interrupted;
}

/* The store was busy or away: another attempt makes sense, after a while. */
static bool try_again(struct walk *k, int error, int64_t begun_ns, unsigned attempt)
{
	bool passing = error == OC_RETRY || error == OC_UNSURE || error == OC_DOWN || error == OC_TIMEOUT || error == OC_CONFLICT;
	if (!passing || clock_mono_ns() - begun_ns > (int64_t)ATTEMPTS_MS * 1000000 || !goes_on(k))
		return false;
	int64_t ms = attempt < 7 ? (int64_t)AGAIN_MS << attempt : LONGEST_AGAIN_MS;
	sleep_ns((ms < LONGEST_AGAIN_MS ? ms : LONGEST_AGAIN_MS) * 1000000);
	return true;
}

/* ---- a group of calls ---- */

static int attempt(struct walk *k, const struct rebuild_options *o, const struct slice *sids, size_t n, struct rebuilt **ret, size_t *ret_count)
{
	int64_t begun_ns = clock_mono_ns();
	for (unsigned i = 0;; i++) {
		int r = rebuild_calls(&k->w, o, sids, n, ret, ret_count);
		if (r == 0 || !try_again(k, r, begun_ns, i))
			return r;
	}
}

static void tell_left_alone(struct walk *k, struct slice sid, enum replay_skip why, struct slice detail)
{
	k->t.left_alone++;
	k->t.skips[why]++;
	if (k->o->left_alone)
		k->o->left_alone(k->o->context, sid, why, detail);
}

static void tell_difference(struct walk *k, const struct rebuilt *x)
{
	const struct replay_difference d = {
		.room_sid = x->was.room_sid, .room_name = x->now->room_name, .changes = x->changes,
		.verdict_before = x->was.verdict, .verdict_after = x->now->verdict, .tenant_before = x->was.user_id, .tenant_after = x->now->user_id,
		.revision_before = x->was.revision, .revision_after = x->now->revision,
	};
	k->t.changed++;
	for (unsigned i = 0; i < REPLAY_CHANGE_COUNT; i++)
		k->t.changes[i] += (x->changes >> i) & 1;
	if (k->o->differs)
		k->o->differs(k->o->context, &d);
}

static int mend_once(struct walk *k, bool settled_only, const struct slice *sids, size_t n)
{
	int64_t held_ns = 0;
	const struct rebuild_options o = { .rules = k->rules, .mend = true, .settled_only = settled_only, .held_ns = &held_ns };
	struct rebuilt *calls;
	size_t count;
	int r = attempt(k, &o, sids, n, &calls, &count);
	sleep_ns(MEND_PAUSES * held_ns);
	for (size_t i = 0; r == 0 && i < count; i++) {
		if (calls[i].skip)
			tell_left_alone(k, calls[i].was.room_sid, calls[i].skip, calls[i].detail);
		else if (calls[i].changes)
			tell_difference(k, &calls[i]);
	}
	return r;
}

/* What the store refuses is halved until the call that it refuses stands alone. */
static int mend(struct walk *k, const struct slice *sids, size_t n)
{
	int r = mend_once(k, false, sids, n);
	if (r == OC_DATA && n > 1) {
		r = mend(k, sids, n / 2);
		return r < 0 ? r : mend(k, sids + n / 2, n - n / 2);
	}
	if (r == OC_DATA)
		r = mend_once(k, true, sids, n);
	if (r != OC_DATA)
		return r;
	tell_left_alone(k, sids[0], REPLAY_REFUSED, slice_cstr(store_last_error(k->w.store)));
	return 0;
}

/* Gives the calls that come out differently, in the page's arena. */
static int look(struct walk *k, const struct slice *sids, size_t n, struct slice *ret_differing, size_t *ret_count)
{
	const struct rebuild_options o = { .rules = k->rules };
	struct rebuilt *calls;
	size_t count, differing = 0;
	int r = attempt(k, &o, sids, n, &calls, &count);
	for (size_t i = 0; r == 0 && i < count; i++) {
		const struct rebuilt *x = &calls[i];
		k->t.calls += x->was.exists || x->events;
		k->t.events += x->events;
		k->t.still_aside += x->still_aside;
		if (x->skip)
			tell_left_alone(k, x->was.room_sid, x->skip, x->detail);
		else if (x->changes && k->o->dry_run)
			tell_difference(k, x);
		else if (x->changes && !arena_copy(k->page, x->was.room_sid, &ret_differing[differing++]))
			r = OC_NOMEM;
	}
	*ret_count = differing;
	return r;
}

static int redo(struct walk *k, const struct slice *sids, size_t n)
{
	struct slice *differing = ARENA_ARRAY(k->page, struct slice, n);
	size_t count = 0;
	if (!differing)
		return OC_NOMEM;
	int64_t begun_ns = clock_mono_ns();
	int r = n ? look(k, sids, n, differing, &count) : 0;
	sleep_ns(clock_mono_ns() - begun_ns);
	for (size_t i = 0; i < count && r == 0 && goes_on(k); i += MEND_CALLS)
		r = mend(k, differing + i, count - i < MEND_CALLS ? count - i : MEND_CALLS);
	return r;
}

/* ---- the walk ---- */

typedef int (*question_fn)(struct walk *k, void *context);

/* One question in a snapshot of its own. */
static int ask(struct walk *k, question_fn question, void *context)
{
	int64_t begun_ns = clock_mono_ns();
	for (unsigned i = 0;; i++) {
		int r = store_replay_begin(k->w.store);
		if (r == 0)
			r = question(k, context);
		store_batch_abort(k->w.store);
		if (r == 0 || !try_again(k, r, begun_ns, i))
			return r;
	}
}

static int ask_count(struct walk *k, void *context)
{
	(void)context;
	return store_replay_count(k->w.store, &k->t.expected_calls);
}

static int ask_sid(struct walk *k, void *context) { return store_replay_find(k->w.store, k->o->call, k->page, context); }

struct rooms {
	struct slice after, *sids, last;
	size_t count;
};

static int ask_rooms(struct walk *k, void *context)
{
	struct rooms *p = context;
	return store_replay_rooms(k->w.store, p->after, k->o->since_ms, PAGE_CALLS, k->page, &p->sids, &p->count, &p->last);
}

static int walk_rooms(struct walk *k)
{
	_cleanup_buf_ struct buf after = BUF_INIT;
	int r = ask(k, ask_count, NULL);
	for (bool more = true; r == 0 && more && goes_on(k);) {
		arena_reset(k->page);
		struct rooms p = { .after = buf_slice(&after) };
		r = ask(k, ask_rooms, &p);
		if (r == 0)
			r = redo(k, p.sids, p.count);
		more = r == 0 && !slice_is_none(p.last);
		buf_clear(&after);
		if (more)
			buf_put(&after, p.last);
		if (r == 0 && buf_failed(&after))
			r = OC_NOMEM;
	}
	return r;
}

struct strays {
	int64_t after_ms;
	struct slice after_id;
	struct journal_row *rows;
	size_t count;
};

static int ask_strays(struct walk *k, void *context)
{
	struct strays *p = context;
	return store_journal_strays(k->w.store, p->after_ms, p->after_id, STRAYS, k->page, &p->rows, &p->count);
}

static int redo_strays(struct walk *k, const struct journal_row *rows, size_t n)
{
	int64_t begun_ns = clock_mono_ns();
	size_t taken = 0;
	for (unsigned i = 0;; i++) {
		int r = rebuild_strays(&k->w, rows, n, !k->o->dry_run, &taken);
		if (r == 0 || !try_again(k, r, begun_ns, i)) {
			k->t.adopted += (int64_t)taken;
			k->t.still_aside += (int64_t)(n - taken);
			return r == OC_DATA ? 0 : r;
		}
	}
}

static int walk_strays(struct walk *k)
{
	_cleanup_buf_ struct buf id = BUF_INIT;
	struct strays p = { .after_ms = k->o->since_ms };
	int r = 0;
	for (bool more = true; r == 0 && more && goes_on(k);) {
		arena_reset(k->page);
		p.after_id = buf_slice(&id);
		r = ask(k, ask_strays, &p);
		int64_t begun_ns = clock_mono_ns();
		if (r == 0 && p.count)
			r = redo_strays(k, p.rows, p.count);
		sleep_ns(clock_mono_ns() - begun_ns);
		more = r == 0 && p.count == STRAYS;
		buf_clear(&id);
		if (more) {
			p.after_ms = p.rows[p.count - 1].created_at_ms;
			buf_put(&id, p.rows[p.count - 1].event_id);
		}
		if (r == 0 && buf_failed(&id))
			r = OC_NOMEM;
	}
	return r;
}

static int walk_call(struct walk *k)
{
	struct slice sid;
	int r = ask(k, ask_sid, &sid);
	return r < 0 ? r : redo(k, &sid, 1);
}

/* ---- beginning and end ---- */

bool replay_has_rules(unsigned rules)
{
	_cleanup_arena_ struct arena *a = arena_new(16384);
	struct facts *f;
	struct verdict v;
	return a && facts_new(a, SLICE("RM_"), &f) == 0 && verdict_classify(f, rules, 0, a, &v) == 0;
}

static int open_walk(struct walk *k, struct arena *a, struct slice *ret_message)
{
	k->w.options = &k->ingest;
	k->w.arena = arena_new(ARENA_FIRST_BYTES);
	k->page = arena_new(ARENA_FIRST_BYTES / 8);
	return k->w.arena && k->page ? store_open(&k->o->store, a, &k->w.store, ret_message) : OC_NOMEM;
}

int replay_run(const struct replay_options *o, struct arena *a, struct replay_totals *ret, struct slice *ret_message)
{
	struct walk k = {
		.o = o, .rules = o->rules ? o->rules : VERDICT_RULES_VERSION,
		.ingest = { .store = o->store, .default_user = o->default_user, .routes = o->routes, .overrides = o->overrides, .decode = o->decode },
	};
	*ret_message = SLICE_NONE;
	int r = open_walk(&k, a, ret_message);
	if (r == 0)
		r = o->call.n ? walk_call(&k) : walk_rooms(&k);
	if (r == 0 && !o->call.n)
		r = walk_strays(&k);
	if (r < 0 && k.w.store && slice_is_none(*ret_message) && !arena_copy(a, slice_cstr(store_last_error(k.w.store)), ret_message))
		*ret_message = SLICE_NONE;
	if (k.w.store)
		store_close(k.w.store);
	arena_free(k.w.arena);
	arena_free(k.page);
	buf_done(&k.w.text);
	*ret = k.t;
	return k.t.interrupted ? 0 : r;
}
