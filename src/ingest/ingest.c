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

#define QUEUE_LIMIT 4096
#define QUEUE_LIMIT_BYTES ((size_t)64 * 1024 * 1024)
#define BATCH_LIMIT 256
#define LANES_MAX 2

struct list {
	struct ingest_item *head, *tail;
};

struct lane {
	struct ingest *in;
	struct writer writer;
	struct ingest_item **batch; /* [options.batch_limit], the writer's */
	pthread_t thread;
	pthread_cond_t work;
	struct list queue; /* in->lock guards it, and */
	bool asleep;
};

struct ingest {
	struct ingest_options options;
	struct metrics *metrics;
	struct lane lanes[LANES_MAX];
	size_t lane_count, started;
	atomic_uint down; /* writers whose store is down */
	_Atomic int64_t pruned_before_ms;

	pthread_mutex_t lock; /* guards what follows */
	pthread_cond_t idle;
	size_t pending, pending_bytes;
	bool stopping;
};

/* ---- lists ---- */

static void list_push(struct list *l, struct ingest_item *item)
{
	item->next = NULL;
	if (l->tail)
		l->tail->next = item;
	else
		l->head = item;
	l->tail = item;
}

static void list_splice(struct list *to, struct list *from)
{
	if (!from->head)
		return;
	if (to->tail)
		to->tail->next = from->head;
	else
		to->head = from->head;
	to->tail = from->tail;
	*from = (struct list){ NULL, NULL };
}

static struct ingest_item *list_pop(struct list *l)
{
	struct ingest_item *item = l->head;
	if (item) {
		l->head = item->next;
		if (!l->head)
			l->tail = NULL;
		item->next = NULL;
	}
	return item;
}

/* ---- any thread ---- */

static int refuse(struct ingest *in, int error)
{
	metric_add(in->metrics, METRIC_EVENT_RESULTS, INGEST_FAILED, 1);
	return error;
}

static struct lane *lane_of(struct ingest *in, const struct event *e)
{
	struct slice key = e->room.sid.n ? e->room.sid : e->room.name.n ? e->room.name : e->id;
	uint32_t h = 2166136261u;
	for (size_t i = 0; i < key.n; i++)
		h = (h ^ (unsigned char)key.p[i]) * 16777619u;
	return &in->lanes[(h >> 8) % in->lane_count];
}

int ingest_submit(struct ingest *in, struct ingest_item *item)
{
	struct lane *lane = lane_of(in, &item->decoded->event);
	if (!atomic_load_explicit(&lane->writer.up, memory_order_relaxed))
		return refuse(in, OC_DOWN);
	pthread_mutex_lock(&in->lock);
	if (in->stopping || in->pending >= in->options.queue_limit ||
	    item->body.n > in->options.queue_limit_bytes - in->pending_bytes) {
		pthread_mutex_unlock(&in->lock);
		return refuse(in, OC_FULL);
	}
	list_push(&lane->queue, item);
	in->pending++;
	in->pending_bytes += item->body.n;
	metric_set(in->metrics, METRIC_QUEUE_DEPTH, 0, (int64_t)in->pending);
	bool wake = lane->asleep;
	if (wake)
		writer_step(&lane->writer); /* from now on it has something to do */
	lane->asleep = false;
	pthread_mutex_unlock(&in->lock);
	if (wake)
		pthread_cond_signal(&lane->work);
	return 0;
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
	struct timespec until = timespec_of(clock_mono_ns() + timeout_ms * 1000000);
	pthread_mutex_lock(&in->lock);
	while (in->pending && pthread_cond_timedwait(&in->idle, &in->lock, &until) != ETIMEDOUT)
		;
	bool idle = in->pending == 0;
	pthread_mutex_unlock(&in->lock);
	return idle;
}

/* ---- a writer's thread ---- */

/* Notes that `count` items were answered, and moves what has arrived to the backlog. With an empty backlog it waits for more until
 * wake_ns. False: stopping, and nothing is left. */
static bool take(struct lane *lane, struct list *backlog, size_t count, size_t bytes, int64_t wake_ns)
{
	struct ingest *in = lane->in;
	struct timespec until = timespec_of(wake_ns);
	pthread_mutex_lock(&in->lock);
	in->pending -= count;
	in->pending_bytes -= bytes;
	if (count)
		metric_set(in->metrics, METRIC_QUEUE_DEPTH, 0, (int64_t)in->pending);
	if (in->pending == 0)
		pthread_cond_broadcast(&in->idle);
	while (!backlog->head && !lane->queue.head && !in->stopping) {
		lane->asleep = true;
		if (pthread_cond_timedwait(&lane->work, &in->lock, &until) == ETIMEDOUT)
			break;
	}
	lane->asleep = false;
	writer_step(&lane->writer);
	list_splice(backlog, &lane->queue);
	bool go_on = backlog->head || !in->stopping;
	pthread_mutex_unlock(&in->lock);
	return go_on;
}

static void *writer_main(void *argument)
{
	struct lane *lane = argument;
	size_t batch_limit = lane->in->options.batch_limit;
	pthread_setname_np(pthread_self(), "writer");
	struct list backlog = { NULL, NULL };
	size_t count = 0, bytes = 0;
	int64_t wake_ns = 0;
	while (take(lane, &backlog, count, bytes, wake_ns)) {
		struct ingest_item *item;
		for (count = bytes = 0; count < batch_limit && (item = list_pop(&backlog)); count++) {
			lane->batch[count] = item;
			bytes += item->body.n;
		}
		writer_process(&lane->writer, lane->batch, count);
		wake_ns = sweeper_run(&lane->writer, backlog.head != NULL || count == batch_limit);
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
	for (size_t i = 0; i < in->lane_count; i++) {
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

static void join_all(struct ingest *in)
{
	pthread_mutex_lock(&in->lock);
	in->stopping = true;
	pthread_mutex_unlock(&in->lock);
	for (size_t i = 0; i < in->started; i++)
		pthread_cond_signal(&in->lanes[i].work);
	for (size_t i = 0; i < in->started; i++)
		pthread_join(in->lanes[i].thread, NULL);
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
