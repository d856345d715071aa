/* What the store did not take: a thread that appends it to the spool and answers.
 *
 * Invariant: `done` with INGEST_SPOOLED is called only after spool_append gave 0. Like the writers it uses no timer: while one append is being synced
 * the next ones gather. It never waits for the store, so that it answers whatever the writers hang in; its tick takes from them what they are too
 * late for.
 *
 * `held` counts the events in the spool and on the way there by a hash of their room; an event whose room is held goes the same way. So of one
 * node a room's events reach the store in order, a call is not judged by its end before its beginning is there, and events of other rooms are not
 * held up by a backlog. */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "ingest/internal.h"
#include "ingest/items.h"
#include "wire/redact.h"

#define HELD_SLOTS 65536u
#define APPEND_EVENTS 512
#define APPEND_BYTES (8u << 20)
#define ARENA_BYTES 262144
#define SAY_AGAIN_NS INT64_C(10000000000) /* between two lines about a spool that does not take events */

struct spooler {
	struct spooler_options o;
	pthread_t thread;
	struct arena *arena;
	struct buf log_lines;
	atomic_uint held[HELD_SLOTS];
	atomic_bool begun; /* it was said that events go to the spool */
	bool failing;      /* and that they cannot */
	int64_t said_ns, unsaid;

	pthread_mutex_t lock; /* guards what follows */
	pthread_cond_t work, idle;
	struct item_list queue;
	size_t pending, pending_bytes;
	bool stopping;
};

uint32_t event_key(const struct event *e)
{
	struct slice key = e->room.sid.n ? e->room.sid : e->room.name.n ? e->room.name : e->id;
	uint32_t h = 2166136261u;
	for (size_t i = 0; i < key.n; i++)
		h = (h ^ (unsigned char)key.p[i]) * 16777619u;
	return h;
}

/* ---- who is held ---- */

static atomic_uint *slot_of(struct spooler *s, uint64_t key) { return &s->held[(key ^ key >> 16) % HELD_SLOTS]; }

bool spooler_holds(struct spooler *s, uint32_t key) { return atomic_load_explicit(slot_of(s, key), memory_order_relaxed) != 0; }

static void hold(void *spooler, uint64_t key) { atomic_fetch_add(slot_of(spooler, key), 1); }

/* Never below none: what was damaged may have been counted differently. */
void spooler_let_go(struct spooler *s, uint64_t key)
{
	atomic_uint *slot = slot_of(s, key);
	unsigned n = atomic_load(slot);
	while (n && !atomic_compare_exchange_weak(slot, &n, n - 1))
		;
}

struct spool *spooler_spool(struct spooler *s) { return s->o.spool; }

/* ---- gauges ---- */

static void set_gauges(struct spooler *s)
{
	struct spool_status t;
	spool_get_status(s->o.spool, &t);
	int64_t age_ms = t.oldest_ms ? clock_wall_ms() - t.oldest_ms : 0;
	metric_set(s->o.metrics, METRIC_SPOOL_EVENTS, 0, t.events);
	metric_set(s->o.metrics, METRIC_SPOOL_BYTES, 0, t.bytes);
	metric_set(s->o.metrics, METRIC_SPOOL_OLDEST, 0, age_ms > 0 ? age_ms / 1000 : 0);
	metric_set(s->o.metrics, METRIC_SPOOL_ASIDE, 0, t.set_aside);
}

void spooler_all_drained(struct spooler *s)
{
	pthread_mutex_lock(&s->lock);
	struct spool_status t;
	spool_get_status(s->o.spool, &t);
	if (s->pending == 0 && t.events == 0) {
		for (size_t i = 0; i < HELD_SLOTS; i++)
			atomic_store_explicit(&s->held[i], 0, memory_order_relaxed);
		atomic_store(&s->begun, false);
	}
	pthread_mutex_unlock(&s->lock);
	set_gauges(s);
}

/* ---- giving; any thread ---- */

static void push(struct spooler *s, struct ingest_item *item, int why)
{
	item->error = why;
	hold(s, event_key(&item->decoded->event));
	item_list_push(&s->queue, item);
	s->pending++;
	s->pending_bytes += item->body.n;
}

void spooler_give(struct spooler *s, struct ingest_item **items, size_t n, int why)
{
	if (n == 0)
		return;
	pthread_mutex_lock(&s->lock);
	for (size_t i = 0; i < n; i++)
		push(s, items[i], why);
	pthread_mutex_unlock(&s->lock);
	pthread_cond_signal(&s->work);
}

int spooler_submit(struct spooler *s, struct ingest_item *item, int why)
{
	pthread_mutex_lock(&s->lock);
	bool room = !s->stopping && s->pending < s->o.queue_limit && s->pending_bytes + item->body.n <= s->o.queue_limit_bytes;
	if (room)
		push(s, item, why);
	pthread_mutex_unlock(&s->lock);
	if (room)
		pthread_cond_signal(&s->work);
	return room ? 0 : OC_FULL;
}

bool spooler_wait_idle(struct spooler *s, int64_t timeout_ms)
{
	int64_t ns = clock_mono_ns() + timeout_ms * 1000000;
	struct timespec until = { .tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000 };
	pthread_mutex_lock(&s->lock);
	while (s->pending && pthread_cond_timedwait(&s->idle, &s->lock, &until) != ETIMEDOUT)
		;
	bool idle = s->pending == 0;
	pthread_mutex_unlock(&s->lock);
	return idle;
}

/* ---- the thread ---- */

/* What has gathered; with nothing there it waits until wake_ns. False: stopping, and nothing is left. */
static bool take(struct spooler *s, int64_t wake_ns, struct item_list *ret)
{
	struct timespec until = { .tv_sec = wake_ns / 1000000000, .tv_nsec = wake_ns % 1000000000 };
	pthread_mutex_lock(&s->lock);
	while (!s->queue.head && !s->stopping && pthread_cond_timedwait(&s->work, &s->lock, &until) != ETIMEDOUT)
		;
	*ret = s->queue;
	s->queue = (struct item_list){ NULL, NULL };
	bool go_on = ret->head || !s->stopping;
	pthread_mutex_unlock(&s->lock);
	return go_on;
}

static void note_answered(struct spooler *s, size_t n, size_t bytes)
{
	pthread_mutex_lock(&s->lock);
	s->pending -= n;
	s->pending_bytes -= bytes;
	if (s->pending == 0)
		pthread_cond_broadcast(&s->idle);
	pthread_mutex_unlock(&s->lock);
}

static int make_event(const struct ingest_item *item, struct arena *a, struct spool_event *ret)
{
	const struct decoded *d = item->decoded;
	*ret = (struct spool_event){
		.key = event_key(&d->event),
		.received_ms = item->received_ms,
		.event_id = d->event.id,
		.source = item->source,
		.key_id = d->event.key_id,
		.raw = slice_is_none(d->payload),
		.payload = d->payload,
	};
	memcpy(ret->body_hash, item->body_hash, sizeof ret->body_hash);
	return ret->raw ? redact_bytes(item->body, a, &ret->payload) : 0;
}

static int append(struct spooler *s, struct ingest_item *const *items, size_t n)
{
	struct spool_event *events = ARENA_ARRAY(s->arena, struct spool_event, n);
	int r = events ? 0 : OC_NOMEM;
	for (size_t i = 0; i < n && r == 0; i++)
		r = make_event(items[i], s->arena, &events[i]);
	return r < 0 ? r : spool_append(s->o.spool, events, n);
}

static void say_what_happened(struct spooler *s, int r, int why, size_t n)
{
	struct spool_status t;
	int64_t now_ns = clock_mono_ns();
	if (r == 0) {
		if (!atomic_exchange(&s->begun, true))
			log_warn("spool_begun", LOG_Z("cause", oc_error_text(why)), LOG_Z("note", "events are kept on disk until the database takes them"));
		if (s->failing)
			log_info("spool_takes_again", LOG_I("refused", s->unsaid));
		s->failing = false;
		s->unsaid = 0;
		return;
	}
	s->unsaid += (int64_t)n;
	if (s->failing && now_ns - s->said_ns < SAY_AGAIN_NS)
		return;
	spool_get_status(s->o.spool, &t);
	log_error("spool_failed", LOG_Z("error", oc_error_text(r)), LOG_Z("detail", t.error), LOG_I("refused", s->unsaid), LOG_I("bytes", t.bytes),
		  LOG_Z("note", "answered 503; LiveKit sends again for about 15 seconds"),
		  LOG_Z("mend", r == OC_FULL ? "bring the database back, or raise --spool-limit" : "make room or repair the disk of --spool"));
	s->failing = true;
	s->said_ns = now_ns;
	s->unsaid = 0;
}

static void answer(struct spooler *s, struct ingest_item **items, size_t n, int r)
{
	int64_t now_ms = clock_wall_ms();
	log_begin_batch(&s->log_lines);
	for (size_t i = 0; i < n; i++) {
		struct ingest_item *item = items[i];
		struct slice why = slice_cstr(r == 0 && item->error == 0 ? "others of its room wait there" : oc_error_text(r == 0 ? item->error : r));
		if (r < 0)
			spooler_let_go(s, event_key(&item->decoded->event));
		item->result = r == 0 ? INGEST_SPOOLED : INGEST_FAILED;
		item->error = r;
		item->message = r == 0 ? "Event kept on disk until the database can take it" : "Event could not be stored; send it again";
		writer_report(s->o.metrics, item, why, now_ms);
	}
	log_end_batch();
	for (size_t i = 0; i < n; i++)
		items[i]->done(items[i]);
}

static void process(struct spooler *s, struct item_list *list)
{
	struct ingest_item *items[APPEND_EVENTS], *item;
	while (list->head) {
		size_t n = 0, bytes = 0;
		while (n < APPEND_EVENTS && bytes < APPEND_BYTES && (item = item_list_pop(list))) {
			bytes += item->body.n;
			items[n++] = item;
		}
		int why = items[0]->error, r = append(s, items, n);
		arena_reset(s->arena);
		if (r == 0)
			metric_add(s->o.metrics, METRIC_SPOOL_APPENDED, 0, (int64_t)n);
		say_what_happened(s, r, why, n);
		answer(s, items, n, r);
		note_answered(s, n, bytes);
	}
	set_gauges(s);
}

static void *spooler_main(void *argument)
{
	struct spooler *s = argument;
	struct item_list list;
	int64_t tick_ns = s->o.tick_ms * 1000000, next_ns = clock_mono_ns() + tick_ns;
	pthread_setname_np(pthread_self(), "spooler");
	while (take(s, next_ns, &list)) {
		if (list.head)
			process(s, &list);
		int64_t now_ns = clock_mono_ns();
		if (now_ns < next_ns)
			continue;
		if (s->o.tick)
			s->o.tick(s->o.context);
		set_gauges(s);
		next_ns = now_ns + tick_ns;
	}
	return NULL;
}

/* ---- life ---- */

static void init_cond(pthread_cond_t *c)
{
	pthread_condattr_t attributes;
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(c, &attributes);
	pthread_condattr_destroy(&attributes);
}

int spooler_start(const struct spooler_options *o, struct spooler **ret)
{
	struct spooler *s = calloc(1, sizeof *s);
	struct spool_status t;
	if (!s)
		return OC_NOMEM;
	s->o = *o;
	init_cond(&s->work);
	init_cond(&s->idle);
	pthread_mutex_init(&s->lock, NULL);
	s->arena = arena_new(ARENA_BYTES);
	int r = s->arena ? spool_take_stock(o->spool, hold, s) : OC_NOMEM;
	if (r == 0 && pthread_create(&s->thread, NULL, spooler_main, s) != 0)
		r = OC_NOMEM;
	if (r < 0) {
		spooler_free(s);
		return r;
	}
	set_gauges(s);
	spool_get_status(o->spool, &t);
	if (t.events || t.bytes)
		log_warn("spool_left", LOG_I("events", t.events), LOG_I("bytes", t.bytes), LOG_Z("note", "of an earlier process; the database gets them"));
	if (t.set_aside)
		log_warn("spool_aside", LOG_I("files", t.set_aside), LOG_Z("mend", "`outcomed check` says what is wrong with them"));
	*ret = s;
	return 0;
}

void spooler_stop(struct spooler *s)
{
	pthread_mutex_lock(&s->lock);
	s->stopping = true;
	pthread_mutex_unlock(&s->lock);
	pthread_cond_signal(&s->work);
	pthread_join(s->thread, NULL);
}

void spooler_free(struct spooler *s)
{
	if (!s)
		return;
	pthread_cond_destroy(&s->work);
	pthread_cond_destroy(&s->idle);
	pthread_mutex_destroy(&s->lock);
	arena_free(s->arena);
	buf_done(&s->log_lines);
	free(s);
}
