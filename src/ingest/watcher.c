/* See watcher.h. A look: claim what is due, and of each call in turn, the one that has waited longest first, ask what its facts want to know.
 *
 * Invariants: one request at a time and no more than the pace allows; a call is asked about only while our lease on it runs; what is submitted is
 * waited for, so that the next look sees it in the facts. What is remembered between two looks (struct watched) makes findings more precise
 * and is never needed. All times that go into marks are LiveKit's clock's, as far as it is known (watcher_pace.h). */
#include "ingest/watcher_work.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "ingest/internal.h"

#define CONNECT_MS 3000
#define REQUEST_MS 8000
#define CLAIMS 64              /* calls newly claimed at one look */
#define IDLE_MS 1000           /* between two looks when nothing rings, at most: the first look at a phone that rings counts for its answer too */
#define FAST_FOR_MS 180000     /* a leg that rings longer is looked at ever less often: LiveKit's own limit is 3 minutes unless the app sets it */
#define SLOWER 60              /* then once in so many parts of the time it has been ringing */
#define EGRESS_FOR_MS (24 * 3600 * INT64_C(1000)) /* LiveKit forgets an egress after a day */
#define NEVER 0
#define STORE_PAUSE_MS 2000
#define LOOK_MS 2000           /* then the leases are seen to again */
#define CALLS_A_REQUEST 20     /* calls claimed for each request a second that may be made */
#define ARENA_FIRST_BYTES 65536

int64_t watcher_livekit_now(const struct watcher *w) { return clock_wall_ms() + skew_ms(&w->skew); }

bool watcher_is_stopping(struct watcher *w)
{
	pthread_mutex_lock(&w->lock);
	bool stopping = w->stopping;
	pthread_mutex_unlock(&w->lock);
	return stopping;
}

int64_t watcher_mono_ms(void) { return clock_mono_ns() / 1000000; }

bool watcher_sleep_until(struct watcher *w, int64_t mono_ms)
{
	struct timespec until = { .tv_sec = mono_ms / 1000, .tv_nsec = mono_ms % 1000 * 1000000 };
	pthread_mutex_lock(&w->lock);
	while (!w->stopping && pthread_cond_timedwait(&w->wake, &w->lock, &until) != ETIMEDOUT)
		;
	bool go_on = !w->stopping;
	pthread_mutex_unlock(&w->lock);
	return go_on;
}

bool watcher_is_paused(const struct pace *p) { return p->next_ms - watcher_mono_ms() > p->gap_ms; }

/* ---- what is remembered ---- */

static struct watched *find_watched(struct watcher *w, struct slice sid)
{
	for (size_t i = 0; i < w->watched_count; i++)
		if (slice_eq(slice_of(w->watched[i]->sid, w->watched[i]->sid_n), sid))
			return w->watched[i];
	return NULL;
}

/* The one that was not looked at for the longest time gives way; NULL where all are being looked at. */
static struct watched *oldest(struct watcher *w)
{
	struct watched *best = NULL;
	for (size_t i = 0; i < w->watched_count; i++)
		if (!w->watched[i]->mine && (!best || w->watched[i]->used_ms < best->used_ms))
			best = w->watched[i];
	return best;
}

static struct watched *remember(struct watcher *w, struct slice sid, int64_t now_ms)
{
	struct watched *e = find_watched(w, sid);
	if (!e && sid.n <= sizeof e->sid) {
		if (w->watched_count < WATCHED_MAX && (e = malloc(sizeof *e)))
			w->watched[w->watched_count++] = e;
		else
			e = oldest(w);
		if (!e)
			return NULL;
		memset(e, 0, sizeof *e);
		memcpy(e->sid, sid.p, sid.n);
		e->sid_n = sid.n;
	}
	if (e)
		e->used_ms = now_ms;
	return e;
}

/* ---- one look ---- */

/* The key that signed the call's events knows the server that the call is on; else the first that has a name. */
static size_t key_of(const struct watcher *w, const struct facts *f)
{
	size_t first = w->o.key_count;
	for (size_t i = w->o.key_count; i-- > 0;) {
		if (slice_is_empty(w->o.keys[i].id))
			continue;
		first = i;
		for (size_t k = 0; k < f->key_id_count; k++)
			if (slice_eq(f->key_ids[k], w->o.keys[i].id))
				return i;
	}
	return first;
}

static bool is_ringing(const struct job *j)
{
	int64_t people = j->wish.participants_ms, room = j->wish.room_ms;
	return (j->due & WATCH_PARTICIPANTS) && (room == 0 || people < room);
}

static bool is_doubtful(const struct watch_memory *m)
{
	bool missing = m->room_missing_ms != 0;
	for (size_t i = 0; i < m->leg_count; i++)
		missing |= m->legs[i].missing_ms != 0;
	return missing;
}

static int64_t ring_interval(const struct job *j)
{
	int64_t rings_ms = j->now_ms - j->wish.participants_ms, interval_ms = j->w->o.interval_ms;
	if (rings_ms <= FAST_FOR_MS || rings_ms / SLOWER <= interval_ms)
		return interval_ms;
	return rings_ms / SLOWER < WATCH_QUIET_MS ? rings_ms / SLOWER : WATCH_QUIET_MS;
}

/* In how many ms to ask about the call again, NEVER; *ret_keep: so soon that the lease is kept. */
static int64_t next_look(const struct job *j, bool *ret_keep)
{
	*ret_keep = true;
	if (is_ringing(j))
		return ring_interval(j);
	bool about_room = j->due & (WATCH_PARTICIPANTS | WATCH_ROOM);
	if (about_room && is_doubtful(&j->seen->memory))
		return WATCH_CONFIRM_MS;
	*ret_keep = false;
	if (about_room)
		return WATCH_QUIET_MS;
	int64_t waits_ms = j->now_ms - j->wish.egress_ms;
	if (waits_ms > EGRESS_FOR_MS)
		return NEVER;
	return waits_ms / 2 > WATCH_EGRESS_MS ? waits_ms / 2 : WATCH_EGRESS_MS;
}

static void work(const struct job *j)
{
	bool keep = true, answered_all = true;
	if (j->due & (WATCH_PARTICIPANTS | WATCH_ROOM))
		answered_all = watcher_ask_room(j);
	if (answered_all && (j->due & WATCH_EGRESS))
		answered_all = watcher_ask_recordings(j);
	int64_t delay_ms = answered_all ? next_look(j, &keep) : j->w->o.interval_ms;
	int64_t at_ms = delay_ms == NEVER ? 0 : clock_wall_ms() + delay_ms;
	j->seen->next_ms = watcher_mono_ms() + delay_ms;
	j->seen->asked = j->due;
	if (!keep && store_watch_move(j->w->store, j->row->room_sid, j->row->watch_at_ms, at_ms) == 0)
		j->seen->mine = false;
}

/* What its facts want to know. 1: something is due; 0: nothing now; else an error. */
static int prepare(struct watcher *w, const struct watch_row *row, struct job *ret)
{
	struct job j = { .w = w, .row = row };
	struct facts *all;
	struct verdict v;
	int r = facts_decode(w->arena, row->facts, &all);
	j.facts = r == 0 ? ARENA_NEW(w->arena, struct facts) : NULL;
	if (r == 0)
		r = j.facts ? facts_for_tenant(all, row->user_id, w->arena, j.facts) : OC_NOMEM;
	int64_t last_ms = r == 0 ? j.facts->last_event_s * 1000 + 999 : 0;
	j.now_ms = watcher_livekit_now(w) > last_ms ? watcher_livekit_now(w) : last_ms;
	if (r == 0)
		r = verdict_classify(j.facts, VERDICT_RULES_VERSION, j.now_ms, w->arena, &v);
	if (r == 0)
		r = watch_wants(j.facts, &v, w->arena, &j.wish);
	if (r != 0)
		return r;
	j.due = watch_due(&j.wish, j.now_ms);
	j.key = key_of(w, j.facts);
	*ret = j;
	return j.due != 0;
}

static int by_next(const void *x, const void *y)
{
	int64_t a = ((const struct job *)x)->seen->next_ms, b = ((const struct job *)y)->seen->next_ms;
	return (a > b) - (a < b);
}

static size_t make_jobs(struct watcher *w, const struct watch_row *rows, size_t count, struct job *jobs)
{
	size_t n = 0;
	int64_t now_ms = watcher_mono_ms();
	for (size_t i = 0; i < w->watched_count; i++)
		w->watched[i]->mine = false;
	for (size_t i = 0; i < count; i++) {
		struct job *j = &jobs[n];
		int r = prepare(w, &rows[i], j);
		int64_t at_ms = r == 0 ? watch_next_ms(&j->wish) : 0;
		if (at_ms)
			at_ms += clock_wall_ms() - j->now_ms;
		if ((r == 0 || r == OC_INVALID) && store_watch_move(w->store, rows[i].room_sid, rows[i].watch_at_ms, at_ms) != 0)
			continue; /* due again when the lease is over */
		if (r <= 0 || watcher_is_paused(&w->paces[j->key]) || !(j->seen = remember(w, rows[i].room_sid, now_ms)))
			continue;
		j->seen->mine = true;
		if (j->due & ~j->seen->asked) /* a call that has rung for long, and now has ended with a recording under way */
			j->seen->next_ms = 0;
		n++;
	}
	if (n)
		qsort(jobs, n, sizeof *jobs, by_next);
	metric_set(w->metrics, METRIC_WATCHER_CALLS, 0, (int64_t)n);
	return n;
}

static int claim(struct watcher *w, struct watch_row **ret, size_t *ret_count)
{
	struct slice mine[WATCHED_MAX];
	size_t most = (size_t)w->o.requests_a_second * CALLS_A_REQUEST;
	struct watch_claim c = { .now_ms = clock_wall_ms(), .lease_ms = WATCH_LEASE_MS, .mine = mine };
	if (!w->store) {
		int r = store_open(&w->o.store, NULL, &w->store, NULL);
		if (r < 0)
			return r;
	}
	for (size_t i = 0; i < w->watched_count; i++)
		if (w->watched[i]->mine)
			mine[c.mine_count++] = slice_of(w->watched[i]->sid, w->watched[i]->sid_n);
	most = most < WATCHED_MAX ? most : WATCHED_MAX;
	c.limit = most > c.mine_count ? most - c.mine_count : 0;
	c.limit = c.limit < CLAIMS ? c.limit : CLAIMS;
	return store_watch_claim(w->store, &c, w->arena, ret, ret_count);
}

static void note_store(struct watcher *w, int r)
{
	if (r < 0 && !w->store_failing)
		log_warn("watcher_store_failing", LOG_Z("error", oc_error_text(r)), LOG_Z("detail", w->store ? store_last_error(w->store) : NULL));
	w->store_failing = r < 0;
	if (r == OC_IO || r == OC_SCHEMA) {
		store_close(w->store);
		w->store = NULL;
	}
}

/* Gives when to look again. */
static int64_t look(struct watcher *w)
{
	struct watch_row *rows;
	size_t count;
	int64_t began_ms = watcher_mono_ms(), next_ms = began_ms + (w->o.interval_ms < IDLE_MS ? w->o.interval_ms : IDLE_MS);
	arena_reset(w->arena);
	int r = claim(w, &rows, &count);
	note_store(w, r);
	if (r < 0)
		return began_ms + STORE_PAUSE_MS;
	struct job *jobs = ARENA_ARRAY(w->arena, struct job, count + 1);
	if (!jobs)
		return next_ms;
	size_t n = make_jobs(w, rows, count, jobs);
	for (size_t i = 0; i < n; i++) {
		int64_t now_ms = watcher_mono_ms();
		if (jobs[i].seen->next_ms <= now_ms && now_ms < began_ms + LOOK_MS && !watcher_is_stopping(w))
			work(&jobs[i]);
		if (jobs[i].seen->mine && jobs[i].seen->next_ms < next_ms)
			next_ms = jobs[i].seen->next_ms;
	}
	return next_ms;
}

/* While no key may ask nothing is claimed: some other node may have more luck. */
static int64_t first_pace(const struct watcher *w)
{
	int64_t first = INT64_MAX;
	for (size_t i = 0; i < w->o.key_count; i++)
		if (w->o.keys[i].id.n && w->paces[i].next_ms < first)
			first = w->paces[i].next_ms;
	return first;
}

static void *watcher_main(void *argument)
{
	struct watcher *w = argument;
	int64_t next_ms = 0;
	do {
		int64_t pace_ms = first_pace(w);
		if (pace_ms > next_ms)
			next_ms = pace_ms;
		if (watcher_mono_ms() >= next_ms)
			next_ms = look(w);
	} while (watcher_sleep_until(w, next_ms));
	return NULL;
}

/* ---- life cycle ---- */

static void free_all(struct watcher *w)
{
	livekit_client_close(w->client);
	store_close(w->store);
	arena_free(w->arena);
	for (size_t i = 0; i < w->watched_count; i++)
		free(w->watched[i]);
	free(w->paces);
	sem_destroy(&w->answered);
	pthread_cond_destroy(&w->wake);
	pthread_mutex_destroy(&w->lock);
	free(w);
}

static struct watcher *watcher_new(const struct watcher_options *o, struct ingest *in, struct metrics *m)
{
	pthread_condattr_t attributes;
	struct watcher *w = calloc(1, sizeof *w);
	if (!w)
		return NULL;
	w->o = *o;
	w->o.interval_ms = o->interval_ms ? o->interval_ms : 1000;
	w->o.requests_a_second = o->requests_a_second ? o->requests_a_second : 10;
	w->ingest = in;
	w->metrics = m;
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&w->wake, &attributes);
	pthread_condattr_destroy(&attributes);
	pthread_mutex_init(&w->lock, NULL);
	sem_init(&w->answered, 0, 0);
	w->arena = arena_new(ARENA_FIRST_BYTES);
	w->paces = calloc(o->key_count, sizeof *w->paces);
	if (!w->arena || !w->paces || livekit_client_open(o->base, CONNECT_MS, REQUEST_MS, &w->client) != 0) {
		free_all(w);
		return NULL;
	}
	for (size_t i = 0; i < o->key_count; i++)
		w->paces[i] = pace_of(w->o.requests_a_second, (uint64_t)clock_mono_ns() + i);
	return w;
}

int watcher_start(const struct watcher_options *o, struct ingest *in, struct metrics *m, struct watcher **ret)
{
	static const char *const findings[] = {
		[FOUND_ANSWER] = "answered", [FOUND_LEG_END] = "leg_ended", [FOUND_ROOM_END] = "room_ended", [FOUND_RECORDING] = "recording",
	};
	bool any = false;
	for (size_t i = 0; i < o->key_count; i++)
		any |= o->keys[i].id.n > 0;
	if (!any)
		return OC_NOT_FOUND;
	if (livekit_client_setup() != 0)
		return OC_NOMEM;
	struct watcher *w = watcher_new(o, in, m);
	if (!w)
		return OC_NOMEM;
	metrics_label_values(m, METRIC_WATCHER_REQUESTS, livekit_answer_names, LIVEKIT_ANSWER_COUNT);
	metrics_label_values(m, METRIC_WATCHER_FINDINGS, findings, sizeof findings / sizeof *findings);
	if (pthread_create(&w->thread, NULL, watcher_main, w) != 0) {
		free_all(w);
		return OC_NOMEM;
	}
	*ret = w;
	return 0;
}

void watcher_stop(struct watcher *w)
{
	if (!w)
		return;
	pthread_mutex_lock(&w->lock);
	w->stopping = true;
	pthread_mutex_unlock(&w->lock);
	pthread_cond_signal(&w->wake);
	livekit_client_interrupt(w->client);
	pthread_join(w->thread, NULL);
	free_all(w);
}
