/* The readers: threads that answer what reads have gathered. Like the writer they use no timer: while one look-up is on its way the next ones
 * gather, and up to 64 outcomes are asked for in one round trip; a second reader is woken only when the first has more to do than that. Lists
 * (and whole calls, and journals) go one by one, and never on all readers at once, so that a big one does not hold up the small. What waits is bounded; who waited too long,
 * or finds no database, gets a 503.
 *
 * A reader without database does not take work while another has one; it tries again every second. */
#include "http/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"

#define BATCH 64
#define WAITING_LIMIT 2048
#define RETRY_S 1
#define READER_ARENA_BYTES 65536

struct queue {
	struct read_job *head, *tail;
};

struct reader {
	struct reads *reads;
	pthread_t thread;
	struct store_reader *store; /* NULL = down */
	struct arena *arena;
	pthread_cond_t work;
	bool started, down, sleeping;
	bool on_duty;               /* will look for outcomes without being woken */
	bool has_list, was_on_duty; /* busy with a list; was busy with outcomes before */
};

struct reads {
	struct http_server *server;
	pthread_mutex_t lock;
	struct queue outcomes, lists; /* lists: all that goes one by one, whole calls and journals too */
	size_t waiting;
	unsigned count, down_count, lists_running, on_duty; /* of the readers */
	bool stop;
	struct reader readers[];
};

static void push(struct queue *q, struct read_job *job)
{
	job->next = NULL;
	if (q->tail)
		q->tail->next = job;
	else
		q->head = job;
	q->tail = job;
}

static struct read_job *pop(struct queue *q)
{
	struct read_job *job = q->head;
	q->head = job->next;
	if (!q->head)
		q->tail = NULL;
	return job;
}

/* ---- who works; under the lock ---- */

static unsigned most_lists(const struct reads *reads) { return reads->count > 1 ? reads->count - 1 : 1; }

static bool may_take(const struct reader *r)
{
	return !r->down || r->reads->down_count == r->reads->count || r->reads->stop;
}

static void set_on_duty(struct reader *r, bool on_duty)
{
	if (r->on_duty != on_duty)
		r->reads->on_duty += on_duty ? 1 : -1u;
	r->on_duty = on_duty;
}

/* Always the first that can: its caches are warm. */
static void wake_one(struct reads *reads)
{
	for (unsigned i = 0; i < reads->count; i++) {
		struct reader *r = &reads->readers[i];
		if (!r->sleeping || !may_take(r))
			continue;
		r->sleeping = false;
		set_on_duty(r, true);
		pthread_cond_signal(&r->work);
		return;
	}
}

/* Nobody is woken for what somebody will take anyway. */
static void wake_if_needed(struct reads *reads)
{
	bool list = reads->lists.head && reads->lists_running < most_lists(reads);
	if (list || (reads->outcomes.head && (reads->on_duty == 0 || reads->waiting > (size_t)BATCH * reads->on_duty)))
		wake_one(reads);
}

static void wake_all(struct reads *reads)
{
	for (unsigned i = 0; i < reads->count; i++)
		pthread_cond_signal(&reads->readers[i].work);
}

/* ---- the store of a reader; on its thread ---- */

static void set_down(struct reader *r, bool down)
{
	struct reads *reads = r->reads;
	pthread_mutex_lock(&reads->lock);
	if (r->down != down)
		reads->down_count += down ? 1 : -1u;
	r->down = down;
	wake_all(reads); /* who may take has changed */
	pthread_mutex_unlock(&reads->lock);
}

static void lose_store(struct reader *r, int error, const char *why)
{
	if (!r->down)
		log_error("reads_down", LOG_Z("error", oc_error_text(error)), LOG_Z("why", why));
	store_reader_close(r->store);
	r->store = NULL;
	set_down(r, true);
}

static void open_store(struct reader *r)
{
	struct slice message = SLICE_NONE;
	int error = store_reader_open(&r->reads->server->o.store, r->arena, &r->store, &message);
	if (error == OC_OK) {
		if (r->down)
			log_info("reads_up");
		set_down(r, false);
	} else {
		char *why = arena_dup(r->arena, slice_is_none(message) ? SLICE("") : message);
		lose_store(r, error, why ? why : "");
	}
	arena_reset(r->arena);
}

/* A connection that is lost shows only when it is used. */
static void after_error(struct reader *r, int error)
{
	switch ((enum oc_error)error) {
	case OC_OK:
	case OC_NOMEM:
	case OC_INVALID:
	case OC_NOT_FOUND:
	case OC_FULL:
	case OC_RETRY:
	case OC_DATA:
	case OC_DENIED:
	case OC_CONFLICT:
	case OC_CONFIG: return;
	case OC_DOWN:
	case OC_UNSURE:
	case OC_IO:
	case OC_SCHEMA:
	case OC_TIMEOUT:
	case OC_NET:
	case OC_FSYNC: lose_store(r, error, store_reader_last_error(r->store)); return;
	}
}

/* ---- answering; on a reader's thread ---- */

static void finish(struct read_job *job)
{
	struct connection *c = job->connection;
	metric_observe(c->server->metrics, METRIC_READ_SECONDS, (double)(clock_mono_ns() - job->queued_ns) / 1e9);
	connection_resume(c);
}

static void finish_unavailable(struct read_job *job)
{
	reply_problem_set(&job->connection->request.reply, MHD_HTTP_SERVICE_UNAVAILABLE, "Unavailable", "the database did not answer",
			  REPLY_RETRY);
	finish(job);
}

static bool is_too_late(const struct read_job *job, int64_t now_ns)
{
	return now_ns - job->queued_ns > job->connection->server->o.request_timeout_ms * 1000000;
}

static void answer_outcomes(struct reader *r, struct read_job **jobs, size_t n)
{
	struct outcome_query queries[BATCH];
	for (size_t i = 0; i < n; i++)
		queries[i] = jobs[i]->outcome;
	int error = store_read_outcomes(r->store, queries, n, r->arena);
	if (error == OC_RETRY)
		error = store_read_outcomes(r->store, queries, n, r->arena);
	for (size_t i = 0; i < n; i++) {
		if (error != OC_OK)
			queries[i].result = error;
		if (jobs[i]->kind == READ_MARK) {
			mark_call_found(jobs[i]->connection, &queries[i]);
			continue;
		}
		outcome_reply(&queries[i], &jobs[i]->connection->request.reply);
		finish(jobs[i]);
	}
	after_error(r, error);
}

static void answer_list(struct reader *r, struct read_job *job)
{
	struct call_view *calls;
	size_t count;
	bool more;
	int error = store_read_list(r->store, &job->list, r->arena, &calls, &count, &more);
	if (error == OC_RETRY)
		error = store_read_list(r->store, &job->list, r->arena, &calls, &count, &more);
	if (error == OC_OK) {
		list_reply(&job->list, calls, count, more, r->arena, &job->connection->request.reply);
		finish(job);
	} else {
		finish_unavailable(job);
	}
	after_error(r, error);
}

static void answer_call(struct reader *r, struct read_job *job)
{
	struct connection *c = job->connection;
	const struct outcome_query *q = &job->outcome;
	struct call_detail d = { .rules = 0 };
	int error = store_read_call(r->store, q->tenant, q->call_id, r->arena, &d);
	if (error == OC_RETRY)
		error = store_read_call(r->store, q->tenant, q->call_id, r->arena, &d);
	if (call_reply(error, &d, q->tenant, c->request.head.if_none_match, r->arena, &c->request.reply) == OC_OK)
		finish(job);
	else
		finish_unavailable(job);
	after_error(r, error);
}

static void answer_events(struct reader *r, struct read_job *job)
{
	struct event_view *rows = NULL;
	size_t count = 0;
	bool more = false;
	int error = store_read_events(r->store, &job->events, r->arena, &rows, &count, &more);
	if (error == OC_RETRY)
		error = store_read_events(r->store, &job->events, r->arena, &rows, &count, &more);
	if (events_reply(error, &job->events, rows, count, more, r->arena, &job->connection->request.reply) == OC_OK)
		finish(job);
	else
		finish_unavailable(job);
	after_error(r, error);
}

static void answer(struct reader *r, struct read_job **jobs, size_t n)
{
	int64_t now = clock_mono_ns();
	size_t kept = 0;
	for (size_t i = 0; i < n; i++) {
		if (!r->store || is_too_late(jobs[i], now))
			finish_unavailable(jobs[i]);
		else
			jobs[kept++] = jobs[i];
	}
	if (kept)
		switch (jobs[0]->kind) { /* only outcomes come several at a time */
		case READ_OUTCOME:
		case READ_MARK: answer_outcomes(r, jobs, kept); break;
		case READ_LIST: answer_list(r, jobs[0]); break;
		case READ_CALL: answer_call(r, jobs[0]); break;
		case READ_EVENTS: answer_events(r, jobs[0]); break;
		}
	arena_reset(r->arena);
}

/* ---- taking; under the lock ---- */

static size_t take(struct reader *r, struct read_job **jobs)
{
	struct reads *reads = r->reads;
	size_t n = 0;
	bool list = reads->lists.head && reads->lists_running < most_lists(reads);
	set_on_duty(r, false);
	if (!may_take(r))
		return 0;
	r->has_list = list && (r->was_on_duty || !reads->outcomes.head);
	if (r->has_list) {
		jobs[n++] = pop(&reads->lists);
		reads->lists_running++;
	} else {
		while (n < BATCH && reads->outcomes.head)
			jobs[n++] = pop(&reads->outcomes);
	}
	reads->waiting -= n;
	set_on_duty(r, n > 0 && !r->has_list);
	return n;
}

static void put_down(struct reader *r)
{
	r->reads->lists_running -= r->has_list;
	r->was_on_duty = r->on_duty;
	r->has_list = false;
}

/* Until it is woken, or, when it is down, until the next try. */
static int sleep_until(struct reader *r, const struct timespec *until)
{
	r->sleeping = true;
	int waited = r->down ? pthread_cond_timedwait(&r->work, &r->reads->lock, until) : pthread_cond_wait(&r->work, &r->reads->lock);
	r->sleeping = false;
	return waited;
}

/* 0: nothing to do but to look again. */
static size_t wait_for_work(struct reader *r, struct read_job **jobs, bool *ret_stop)
{
	struct reads *reads = r->reads;
	struct timespec until;
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += RETRY_S;
	pthread_mutex_lock(&reads->lock);
	put_down(r);
	size_t n;
	int waited = 0;
	while ((n = take(r, jobs)) == 0 && !reads->stop && waited != ETIMEDOUT)
		waited = sleep_until(r, &until);
	wake_if_needed(reads); /* what this one left */
	*ret_stop = reads->stop && n == 0;
	pthread_mutex_unlock(&reads->lock);
	return n;
}

static void *reader_main(void *reader)
{
	struct reader *r = reader;
	struct read_job *jobs[BATCH];
	bool stop = false;
	open_store(r);
	while (!stop) {
		size_t n = wait_for_work(r, jobs, &stop);
		if (n)
			answer(r, jobs, n);
		else if (!stop && !r->store)
			open_store(r);
	}
	return NULL;
}

/* ---- from outside ---- */

enum MHD_Result reads_submit(struct connection *c, enum read_kind kind)
{
	struct reads *reads = c->server->reads;
	struct read_job *job = &c->request.read;
	job->kind = kind;
	job->connection = c;
	job->queued_ns = c->request.last_byte_ns;
	connection_suspend(c);
	pthread_mutex_lock(&reads->lock);
	bool taken = reads->waiting < WAITING_LIMIT && !reads->stop;
	if (taken) {
		push(kind == READ_OUTCOME || kind == READ_MARK ? &reads->outcomes : &reads->lists, job);
		reads->waiting++;
		wake_if_needed(reads);
	}
	pthread_mutex_unlock(&reads->lock);
	if (!taken)
		finish_unavailable(job);
	return MHD_YES;
}

bool reads_are_up(struct reads *reads)
{
	pthread_mutex_lock(&reads->lock);
	bool up = reads->down_count < reads->count;
	pthread_mutex_unlock(&reads->lock);
	return up;
}

int reads_start(struct http_server *s, struct reads **ret)
{
	unsigned count = s->o.reader_threads;
	struct reads *reads = calloc(1, sizeof *reads + count * sizeof reads->readers[0]);
	if (!reads)
		return OC_NOMEM;
	reads->server = s;
	reads->count = count;
	pthread_mutex_init(&reads->lock, NULL);
	pthread_condattr_t attributes;
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	for (unsigned i = 0; i < count; i++) {
		reads->readers[i].reads = reads;
		pthread_cond_init(&reads->readers[i].work, &attributes);
	}
	pthread_condattr_destroy(&attributes);
	for (unsigned i = 0; i < count; i++) {
		struct reader *r = &reads->readers[i];
		r->arena = arena_new(READER_ARENA_BYTES);
		r->started = r->arena && pthread_create(&r->thread, NULL, reader_main, r) == 0;
		if (!r->started) {
			reads_stop(reads);
			reads_free(reads);
			return OC_NOMEM;
		}
	}
	*ret = reads;
	return OC_OK;
}

void reads_stop(struct reads *reads)
{
	if (!reads)
		return;
	pthread_mutex_lock(&reads->lock);
	reads->stop = true;
	wake_all(reads);
	pthread_mutex_unlock(&reads->lock);
	for (unsigned i = 0; i < reads->count; i++) {
		struct reader *r = &reads->readers[i];
		if (r->started)
			pthread_join(r->thread, NULL);
		r->started = false;
	}
}

void reads_free(struct reads *reads)
{
	if (!reads)
		return;
	for (unsigned i = 0; i < reads->count; i++) {
		store_reader_close(reads->readers[i].store);
		arena_free(reads->readers[i].arena);
		pthread_cond_destroy(&reads->readers[i].work);
	}
	pthread_mutex_destroy(&reads->lock);
	free(reads);
}
