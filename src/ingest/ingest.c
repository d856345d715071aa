/* The queue and the writer's thread.
 *
 * The submitters append to `head`..`tail` under the lock; the writer takes the whole list in one step and works it off batch by batch
 * without the lock, taking what has arrived meanwhile before each batch. `pending` and `pending_bytes` count what was accepted and not
 * yet answered: they are what the limits bound. The writer is woken only when it sleeps.
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

struct list {
	struct ingest_item *head, *tail;
};

struct ingest {
	struct ingest_options options;
	struct metrics *metrics;
	struct writer writer;
	struct ingest_item **batch; /* [options.batch_limit], the writer's */
	pthread_t thread;

	pthread_mutex_t lock; /* guards what follows */
	pthread_cond_t work, idle;
	struct list queue;
	size_t pending, pending_bytes;
	bool asleep, stopping;
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

int ingest_submit(struct ingest *in, struct ingest_item *item)
{
	if (!atomic_load_explicit(&in->writer.up, memory_order_relaxed))
		return refuse(in, OC_DOWN);
	pthread_mutex_lock(&in->lock);
	if (in->stopping || in->pending >= in->options.queue_limit ||
	    item->body.n > in->options.queue_limit_bytes - in->pending_bytes) {
		pthread_mutex_unlock(&in->lock);
		return refuse(in, OC_FULL);
	}
	list_push(&in->queue, item);
	in->pending++;
	in->pending_bytes += item->body.n;
	metric_set(in->metrics, METRIC_QUEUE_DEPTH, 0, (int64_t)in->pending);
	bool wake = in->asleep;
	in->asleep = false;
	pthread_mutex_unlock(&in->lock);
	if (wake)
		pthread_cond_signal(&in->work);
	return 0;
}

bool ingest_is_up(struct ingest *in) { return atomic_load(&in->writer.up); }

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

/* ---- the writer's thread ---- */

/* Notes that `count` items were answered, and moves what has arrived to the backlog. With an empty backlog it waits for more until
 * wake_ns. False: stopping, and nothing is left. */
static bool take(struct ingest *in, struct list *backlog, size_t count, size_t bytes, int64_t wake_ns)
{
	struct timespec until = timespec_of(wake_ns);
	pthread_mutex_lock(&in->lock);
	in->pending -= count;
	in->pending_bytes -= bytes;
	if (count)
		metric_set(in->metrics, METRIC_QUEUE_DEPTH, 0, (int64_t)in->pending);
	if (in->pending == 0)
		pthread_cond_broadcast(&in->idle);
	while (!backlog->head && !in->queue.head && !in->stopping) {
		in->asleep = true;
		if (pthread_cond_timedwait(&in->work, &in->lock, &until) == ETIMEDOUT)
			break;
	}
	in->asleep = false;
	list_splice(backlog, &in->queue);
	bool go_on = backlog->head || !in->stopping;
	pthread_mutex_unlock(&in->lock);
	return go_on;
}

static void *writer_main(void *argument)
{
	struct ingest *in = argument;
	struct list backlog = { NULL, NULL };
	size_t count = 0, bytes = 0;
	int64_t wake_ns = 0;
	while (take(in, &backlog, count, bytes, wake_ns)) {
		struct ingest_item *item;
		for (count = bytes = 0; count < in->options.batch_limit && (item = list_pop(&backlog)); count++) {
			in->batch[count] = item;
			bytes += item->body.n;
		}
		writer_process(&in->writer, in->batch, count);
		wake_ns = sweeper_run(&in->writer, backlog.head != NULL || count == in->options.batch_limit);
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
	static const char *errors[-OC_NET];
	for (int i = 0; i < -OC_NET; i++)
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
	writer_close(&in->writer);
	pthread_cond_destroy(&in->work);
	pthread_cond_destroy(&in->idle);
	pthread_mutex_destroy(&in->lock);
	free(in->batch);
	free(in);
}

static void init_waiting(struct ingest *in)
{
	pthread_condattr_t attributes;
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&in->work, &attributes);
	pthread_cond_init(&in->idle, &attributes);
	pthread_condattr_destroy(&attributes);
	pthread_mutex_init(&in->lock, NULL);
}

static struct ingest *ingest_new(store_open_fn open, const struct ingest_options *o, struct metrics *m)
{
	struct ingest *in = calloc(1, sizeof *in);
	if (!in)
		return NULL;
	init_waiting(in);
	in->options = *o;
	in->metrics = m;
	if (!in->options.queue_limit)
		in->options.queue_limit = QUEUE_LIMIT;
	if (!in->options.queue_limit_bytes)
		in->options.queue_limit_bytes = QUEUE_LIMIT_BYTES;
	if (!in->options.batch_limit)
		in->options.batch_limit = BATCH_LIMIT;
	in->writer.options = &in->options;
	in->writer.metrics = m;
	in->writer.open = open;
	in->batch = calloc(in->options.batch_limit, sizeof(struct ingest_item *));
	if (!in->batch) {
		free_all(in);
		return NULL;
	}
	return in;
}

int ingest_start_with(store_open_fn open, const struct ingest_options *o, struct metrics *m, struct ingest **ret)
{
	struct ingest *in = ingest_new(open, o, m);
	if (!in)
		return OC_NOMEM;
	declare_labels(m);
	int r = writer_open(&in->writer);
	if (r == 0 && pthread_create(&in->thread, NULL, writer_main, in) != 0)
		r = OC_NOMEM;
	if (r < 0)
		free_all(in);
	else
		*ret = in;
	return r;
}

int ingest_start(const struct ingest_options *o, struct metrics *m, struct ingest **ret)
{
	return ingest_start_with(store_open, o, m, ret);
}

void ingest_stop(struct ingest *in)
{
	pthread_mutex_lock(&in->lock);
	in->stopping = true;
	pthread_mutex_unlock(&in->lock);
	pthread_cond_signal(&in->work);
	pthread_join(in->thread, NULL);
	free_all(in);
}
