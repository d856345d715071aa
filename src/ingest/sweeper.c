/* Looks again at calls whose verdict changes by the passing of time, or whose host wrote its row later, between the batches; and drains the spool,
 * before that and instead of it while something waits there.
 *
 * Bounded: SWEEP_CALLS a sweep, fewer while events wait, so that an event waits for at most one small transaction. The same path as a
 * batch with no events; whatever fails here is due again later. Runs on the writer's thread, which gives the sweeps their arena. */
#include "base/clock.h"
#include "base/log.h"
#include "ingest/internal.h"

#define SWEEP_CALLS 100
#define SWEEP_CALLS_BUSY 20
#define SWEEP_INTERVAL_MS 1000
#define AFTER_REFUSAL_MS 60000 /* a call that the store refuses is not asked about every second */
#define COUNT_INTERVAL_MS 15000
#define WAL_LARGE_BYTES (INT64_C(256) << 20) /* of SQLite's log, which is emptied at 40 MB unless a reader keeps it from that */
#define FOR_LONG_NS INT64_C(60000000000)

static int due_calls(struct writer *w, size_t limit, struct arena *a, struct slice **ret_sids, size_t *ret_count)
{
	int r = store_due(w->store, clock_wall_ms(), limit, a, ret_sids, ret_count);
	if (r < 0)
		writer_read_failed(w, r);
	return r;
}

/* When to come again, ms from now. */
static int64_t sweep(struct writer *w, size_t limit, int64_t interval_ms)
{
	_cleanup_arena_ struct arena *a = arena_new(16384);
	struct slice *sids;
	size_t count;
	if (!a || due_calls(w, limit, a, &sids, &count) < 0 || count == 0)
		return interval_ms;
	bool taken = writer_look_again(w, sids, count);
	arena_reset(w->arena);
	if (!taken)
		return AFTER_REFUSAL_MS;
	return count == limit ? interval_ms / 10 : interval_ms;
}

static void show_wal(struct writer *w, int64_t bytes)
{
	bool large = bytes > (w->wal_large ? WAL_LARGE_BYTES / 2 : WAL_LARGE_BYTES);

	if (large && !w->wal_large)
		log_warn("sqlite_wal_large", LOG_I("bytes", bytes), LOG_Z("note", "another program reads the database without an end, so its log cannot be "
			"emptied; `fuser -v` on the -wal file names it"));
	w->wal_large = large;
	metric_set(w->metrics, METRIC_WAL_BYTES, 0, bytes);
}

static void count(struct writer *w)
{
	struct store_counts c;
	int r = store_count(w->store, &c);
	if (r < 0) {
		writer_read_failed(w, r);
		return;
	}
	if (w->pruned_before_ms)
		atomic_store(w->pruned_before_ms, c.pruned_before_ms);
	metric_set(w->metrics, METRIC_OPEN_CALLS, 0, c.open_calls);
	metric_set(w->metrics, METRIC_ASIDE, 0, c.aside);
	show_wal(w, c.wal_bytes);
}

static int64_t earlier(int64_t x, int64_t y) { return x < y ? x : y; }

int64_t sweeper_run(struct writer *w, bool busy)
{
	int64_t drain_ns = INT64_MAX;
	int64_t now_ns = clock_mono_ns();
	if (!atomic_load(&w->up)) {
		if (now_ns >= w->probe_at_ns)
			writer_probe(w);
		return !atomic_load(&w->up) ? w->probe_at_ns : w->sweeps ? now_ns : now_ns + FOR_LONG_NS;
	}
	if (!w->sweeps)
		return now_ns + FOR_LONG_NS;
	if (w->drainer)
		drain_ns = drainer_run(w->drainer, w, busy);
	bool held = w->drainer && drainer_holds_sweep(w->drainer);
	if (atomic_load(&w->up) && !held && now_ns >= w->sweep_at_ns) {
		int64_t interval_ms = w->options->sweep_interval_ms ? w->options->sweep_interval_ms : SWEEP_INTERVAL_MS;
		int64_t next_ms = sweep(w, busy ? SWEEP_CALLS_BUSY : SWEEP_CALLS, interval_ms);
		w->sweep_at_ns = clock_mono_ns() + next_ms * 1000000;
	}
	if (atomic_load(&w->up) && now_ns >= w->count_at_ns) {
		count(w);
		w->count_at_ns = clock_mono_ns() + (int64_t)COUNT_INTERVAL_MS * 1000000;
	}
	if (!atomic_load(&w->up))
		return w->probe_at_ns;
	return earlier(drain_ns, held ? w->count_at_ns : earlier(w->sweep_at_ns, w->count_at_ns));
}
