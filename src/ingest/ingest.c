/* The queues and the writers' threads.
 *
 * A lane is a queue, a writer and its thread. SQLite has one writer at a time and so one lane; PostgreSQL gets two, so that one works
 * while the other waits for the server's disk. All events of a room go to the same lane; a call that two lanes need (by a room's name)
 * is locked like one that two nodes need.
 * The submitters append to `head`..`tail` under the lock; the writer takes the whole list in one step and works it off batch by batch
 * without the lock, taking what has arrived meanwhile before each batch. `pending` and `pending_bytes` count what was accepted and not
 * yet answered, on all lanes: they are what the limits bound. A writer is woken only when it sleeps.
 * While the store is down nothing is accepted: the sender is told at once and tries again; a probe finds out when it is back. */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "ingest/internal.h"
#include "ingest/items.h"

#define QUEUE_LIMIT 4096
#define QUEUE_LIMIT_BYTES ((size_t)64 * 1024 * 1024)
#define BATCH_LIMIT 256
#define LANES_MAX 2
#define COMMIT_DEADLINE_MS 1000
#define TICKS_A_DEADLINE 4 /* so often it is looked whether a writer is late */
#define RESCUE_EVENTS 256

struct lane {
	struct ingest *in;
	struct writer writer;
	struct ingest_item **batch; /* [options.batch_limit], the writer's */
	pthread_t thread;
	pthread_cond_t work;
	struct item_list queue; /* in->lock guards it, and */
	bool asleep;
	int64_t busy_since_ns;  /* since when it has been at what it does */
};

struct ingest {
	struct ingest_options options;
	struct metrics *metrics;
	struct lane lanes[LANES_MAX];
	size_t lane_count, started;
	struct spooler *spooler; /* NULL: there is no spool */
	atomic_uint down; /* writers whose store is down */
	_Atomic int64_t pruned_before_ms;

	pthread_mutex_t lock; /* guards what follows */
	pthread_cond_t idle;
	size_t pending, pending_bytes;
	bool stopping;
};

/* ---- any thread ---- */

static int refuse(struct ingest *in, int error)
{
	metric_add(in->metrics, METRIC_EVENT_RESULTS, INGEST_FAILED, 1);
	return error;
}

static int64_t deadline_ns(const struct ingest *in)
{
	return (in->options.commit_deadline_ms ? in->options.commit_deadline_ms : COMMIT_DEADLINE_MS) * 1000000;
}

/* Its writer is at one thing for longer than a batch may take. Under the lock. */
static bool is_late(const struct lane *lane, int64_t now_ns)
{
	return !lane->asleep && now_ns - lane->busy_since_ns > deadline_ns(lane->in);
}

/* Under the lock. */
static void queue_item(struct lane *lane, struct ingest_item *item)
{
	struct ingest *in = lane->in;
	item_list_push(&lane->queue, item);
	in->pending++;
	in->pending_bytes += item->body.n;
	metric_set(in->metrics, METRIC_QUEUE_DEPTH, 0, (int64_t)in->pending);
	if (!lane->asleep)
		return;
	lane->asleep = false;
	lane->busy_since_ns = clock_mono_ns();
	writer_step(&lane->writer); /* from now on it has something to do */
	pthread_cond_signal(&lane->work);
}

static int submit_to_lane(struct lane *lane, struct ingest_item *item)
{
	struct ingest *in = lane->in;
	int r = 0;
	pthread_mutex_lock(&in->lock);
	if (in->stopping || in->pending >= in->options.queue_limit || item->body.n > in->options.queue_limit_bytes - in->pending_bytes)
		r = OC_FULL;
	else if (in->spooler && is_late(lane, clock_mono_ns()))
		r = OC_TIMEOUT;
	else
		queue_item(lane, item);
	pthread_mutex_unlock(&in->lock);
	return r;
}

int ingest_submit(struct ingest *in, struct ingest_item *item)
{
	uint32_t key = event_key(&item->decoded->event);
	struct lane *lane = &in->lanes[(key >> 8) % in->lane_count];
	int r = OC_DOWN;
	if (in->spooler && spooler_holds(in->spooler, key))
		r = OC_OK;
	else if (!atomic_load_explicit(&lane->writer.up, memory_order_relaxed))
		r = OC_DOWN;
	else if ((r = submit_to_lane(lane, item)) == 0)
		return 0;
	if (in->spooler)
		r = spooler_submit(in->spooler, item, r);
	return r < 0 ? refuse(in, r) : 0;
}

bool ingest_is_up(struct ingest *in) { return atomic_load(&in->down) == 0; }

bool ingest_makes_progress(struct ingest *in, int64_t within_ms)
{
	bool all = true;
	pthread_mutex_lock(&in->lock);
	int64_t since_ns = clock_mono_ns() - within_ms * 1000000;
	for (size_t i = 0; i < in->lane_count; i++) {
		const struct lane *lane = &in->lanes[i];
		all = all && (lane->asleep || atomic_load_explicit(&lane->writer.step_ns, memory_order_relaxed) > since_ns);
	}
	pthread_mutex_unlock(&in->lock);
	return all;
}

static struct timespec timespec_of(int64_t ns)
{
	return (struct timespec){ .tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000 };
}

bool ingest_wait_idle(struct ingest *in, int64_t timeout_ms)
{
	int64_t until_ns = clock_mono_ns() + timeout_ms * 1000000;
	struct timespec until = timespec_of(until_ns);
	pthread_mutex_lock(&in->lock);
	while (in->pending && pthread_cond_timedwait(&in->idle, &in->lock, &until) != ETIMEDOUT)
		;
	bool idle = in->pending == 0;
	pthread_mutex_unlock(&in->lock);
	return idle && (!in->spooler || spooler_wait_idle(in->spooler, (until_ns - clock_mono_ns()) / 1000000));
}

bool ingest_spool_status(struct ingest *in, struct spool_status *ret)
{
	if (in->options.spool)
		spool_get_status(in->options.spool, ret);
	return in->options.spool != NULL;
}

/* ---- the spooler's thread ---- */

/* What waits for a writer that is late. */
static size_t take_from_late(struct lane *lane, struct ingest_item **items)
{
	struct ingest *in = lane->in;
	size_t n = 0;
	pthread_mutex_lock(&in->lock);
	if (is_late(lane, clock_mono_ns()))
		while (n < RESCUE_EVENTS && (items[n] = item_list_pop(&lane->queue)))
			in->pending_bytes -= items[n++]->body.n;
	in->pending -= n;
	pthread_mutex_unlock(&in->lock);
	return n;
}

static void rescue(void *ingest)
{
	struct ingest *in = ingest;
	struct ingest_item *items[RESCUE_EVENTS];
	size_t n;
	for (size_t i = 0; i < in->lane_count; i++)
		while ((n = take_from_late(&in->lanes[i], items)) > 0)
			spooler_give(in->spooler, items, n, OC_TIMEOUT);
}

/* ---- a writer's thread ---- */

/* Notes that `bytes` of `count` items were answered or given on, and takes the next batch; with an empty queue it waits for more until wake_ns.
 * False: stopping, and nothing is left. */
static bool take(struct lane *lane, size_t *count, size_t *bytes, int64_t wake_ns)
{
	struct ingest *in = lane->in;
	struct timespec until = timespec_of(wake_ns);
	pthread_mutex_lock(&in->lock);
	in->pending -= *count;
	in->pending_bytes -= *bytes;
	if (*count)
		metric_set(in->metrics, METRIC_QUEUE_DEPTH, 0, (int64_t)in->pending);
	if (in->pending == 0)
		pthread_cond_broadcast(&in->idle);
	while (!lane->queue.head && !in->stopping) {
		lane->asleep = true;
		if (pthread_cond_timedwait(&lane->work, &in->lock, &until) == ETIMEDOUT)
			break;
	}
	lane->asleep = false;
	lane->busy_since_ns = clock_mono_ns();
	writer_step(&lane->writer);
	for (*count = *bytes = 0; *count < in->options.batch_limit && (lane->batch[*count] = item_list_pop(&lane->queue)); ++*count)
		*bytes += lane->batch[*count]->body.n;
	bool go_on = *count || !in->stopping;
	pthread_mutex_unlock(&in->lock);
	return go_on;
}

static void *writer_main(void *argument)
{
	struct lane *lane = argument;
	size_t count = 0, bytes = 0;
	int64_t wake_ns = 0;
	pthread_setname_np(pthread_self(), "writer");
	while (take(lane, &count, &bytes, wake_ns)) {
		writer_process(&lane->writer, lane->batch, count);
		wake_ns = sweeper_run(&lane->writer, count == lane->in->options.batch_limit);
	}
	return NULL;
}

/* ---- life cycle ---- */

static void declare_labels(struct metrics *m)
{
	static const char *const events[] = {
		[EVENT_UNKNOWN] = "unknown",
#define X(name, e) [e] = name,
		EVENT_TYPES(X)
#undef X
	};
	static const char *const outcomes[] = {
#define X(name, e) [e - 1] = name,
		OUTCOMES(X)
#undef X
	};
	static const char *const kinds[] = {
#define X(name, e) [e - 1] = name,
		MARK_KINDS(X)
#undef X
	};
	static const char *const sources[] = {
#define X(name, e) [e - 1] = name,
		MARK_SOURCES(X)
#undef X
	};
	static const char *const losses[] = {
#define X(e, name, words) name,
		LOSSES(X)
#undef X
	};
	static const char *errors[-OC_FSYNC];
	for (int i = 0; i < -OC_FSYNC; i++)
		errors[i] = oc_error_text(-i - 1);
	metrics_label_values(m, METRIC_EVENTS, events, sizeof events / sizeof *events);
	metrics_label_values(m, METRIC_EVENT_RESULTS, ingest_result_names, INGEST_FAILED + 1);
	metrics_label_values(m, METRIC_CALLS, outcomes, sizeof outcomes / sizeof *outcomes);
	metrics_label_values(m, METRIC_LOSSES, losses, LOSS_COUNT);
	metrics_label_values(m, METRIC_MARKS, kinds, sizeof kinds / sizeof *kinds);
	metrics_label_values(m, METRIC_MARK_SOURCES, sources, sizeof sources / sizeof *sources);
	metrics_label_values(m, METRIC_STORE_ERRORS, errors, sizeof errors / sizeof *errors);
}

static void free_all(struct ingest *in)
{
	spooler_free(in->spooler);
	for (size_t i = 0; i < in->lane_count; i++) {
		drainer_free(in->lanes[i].writer.drainer);
		writer_close(&in->lanes[i].writer);
		pthread_cond_destroy(&in->lanes[i].work);
		free(in->lanes[i].batch);
	}
	pthread_cond_destroy(&in->idle);
	pthread_mutex_destroy(&in->lock);
	free(in);
}

static void init_cond(pthread_cond_t *c)
{
	pthread_condattr_t attributes;
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(c, &attributes);
	pthread_condattr_destroy(&attributes);
}

static size_t lanes_for(const struct ingest_options *o)
{
	bool valid;
	if (o->writers)
		return o->writers < LANES_MAX ? o->writers : LANES_MAX;
	return store_url_kind(o->store.url, &valid) == STORE_POSTGRES && valid ? LANES_MAX : 1;
}

static bool init_lane(struct ingest *in, struct lane *lane, store_open_fn open)
{
	lane->in = in;
	lane->writer = (struct writer){ .options = &in->options, .metrics = in->metrics, .open = open, .down = &in->down,
		.pruned_before_ms = &in->pruned_before_ms,
		.sweeps = lane == in->lanes };
	lane->busy_since_ns = clock_mono_ns();
	init_cond(&lane->work);
	lane->batch = calloc(in->options.batch_limit, sizeof(struct ingest_item *));
	return lane->batch;
}

static struct ingest *ingest_new(store_open_fn open, const struct ingest_options *o, struct metrics *m)
{
	struct ingest *in = calloc(1, sizeof *in);
	if (!in)
		return NULL;
	init_cond(&in->idle);
	pthread_mutex_init(&in->lock, NULL);
	in->options = *o;
	in->metrics = m;
	if (!in->options.queue_limit)
		in->options.queue_limit = QUEUE_LIMIT;
	if (!in->options.queue_limit_bytes)
		in->options.queue_limit_bytes = QUEUE_LIMIT_BYTES;
	if (!in->options.batch_limit)
		in->options.batch_limit = BATCH_LIMIT;
	size_t lanes = lanes_for(o);
	atomic_init(&in->down, (unsigned)lanes);
	bool ok = true;
	while (ok && in->lane_count < lanes)
		ok = init_lane(in, &in->lanes[in->lane_count++], open);
	if (!ok) {
		free_all(in);
		return NULL;
	}
	return in;
}

static int start_spooler(struct ingest *in)
{
	const struct spooler_options o = {
		.spool = in->options.spool, .metrics = in->metrics, .queue_limit = in->options.queue_limit,
		.queue_limit_bytes = in->options.queue_limit_bytes, .tick_ms = deadline_ns(in) / 1000000 / TICKS_A_DEADLINE, .tick = rescue, .context = in,
	};
	if (!in->options.spool)
		return 0;
	int r = spooler_start(&o, &in->spooler);
	for (size_t i = 0; r == 0 && i < in->lane_count; i++)
		in->lanes[i].writer.spooler = in->spooler;
	return r < 0 ? r : drainer_new(in->spooler, &in->lanes[0].writer.drainer);
}

static void join_all(struct ingest *in)
{
	pthread_mutex_lock(&in->lock);
	in->stopping = true;
	pthread_mutex_unlock(&in->lock);
	for (size_t i = 0; i < in->started; i++)
		pthread_cond_signal(&in->lanes[i].work);
	for (size_t i = 0; i < in->started; i++)
		pthread_join(in->lanes[i].thread, NULL);
	if (in->spooler) /* the last: the writers may have given it something */
		spooler_stop(in->spooler);
}

int ingest_start_with(store_open_fn open, const struct ingest_options *o, struct metrics *m, struct ingest **ret)
{
	struct ingest *in = ingest_new(open, o, m);
	if (!in)
		return OC_NOMEM;
	declare_labels(m);
	int r = 0;
	for (size_t i = 0; r == 0 && i < in->lane_count; i++)
		r = writer_open(&in->lanes[i].writer);
	if (r == 0)
		r = start_spooler(in);
	for (; r == 0 && in->started < in->lane_count; in->started += r == 0)
		if (pthread_create(&in->lanes[in->started].thread, NULL, writer_main, &in->lanes[in->started]) != 0)
			r = OC_NOMEM;
	if (r < 0) {
		join_all(in);
		free_all(in);
	} else {
		*ret = in;
	}
	return r;
}

int ingest_start(const struct ingest_options *o, struct metrics *m, struct ingest **ret)
{
	return ingest_start_with(store_open, o, m, ret);
}

void ingest_stop(struct ingest *in)
{
	join_all(in);
	free_all(in);
}
