/* ingest/ingest.c: the queues and the writers' threads: each event answered once, within bounds, whatever the store does. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/log.h"
#include "fake_store.h"

static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
static struct ingest *in;
static struct metrics *m;

static int setup(void **state)
{
	(void)state;
	fake_reset();
	in = NULL;
	m = metrics_new();
	log_set_level(LOG_LEVEL_ERROR + 1);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	if (in)
		ingest_stop(in);
	metrics_free(m);
	fake_done();
	log_set_level(LOG_LEVEL_INFO);
	return 0;
}

static void start(struct ingest_options o)
{
	if (!o.sweep_interval_ms)
		o.sweep_interval_ms = 3600000;
	assert_int_equal(ingest_start_with(fake_open, &o, m, &in), 0);
}

static void stop(void)
{
	ingest_stop(in);
	in = NULL;
}

static struct sent *numbered(int i)
{
	char id[32], sid[32];
	snprintf(id, sizeof id, "EV_%d", i);
	snprintf(sid, sizeof sid, "RM_%d", i % 20);
	return sent_event(id, "room_started", sid, "name", clock_wall_ms() / 1000, NULL);
}

static struct sent **many(int n)
{
	struct sent **sent = calloc((size_t)n, sizeof *sent);
	assert_non_null(sent);
	for (int i = 0; i < n; i++)
		sent[i] = numbered(i);
	return sent;
}

static bool eventually(bool (*holds)(void))
{
	for (int i = 0; i < 2000; i++) {
		if (holds())
			return true;
		nanosleep(&(struct timespec){ .tv_nsec = 2000000 }, NULL);
	}
	return false;
}

static void a_submitted_event_is_answered(void **state)
{
	(void)state;
	start((struct ingest_options){ 0 });
	struct sent *s = numbered(1);
	assert_int_equal(ingest_submit(in, &s->item), 0);
	assert_true(ingest_wait_idle(in, 5000));
	assert_int_equal(s->answers, 1);
	assert_int_equal(s->item.result, INGEST_PROCESSED);
	assert_true(ingest_is_up(in));
}

struct share {
	struct sent **sent;
	int from, to;
};

static void *submit_share(void *argument)
{
	struct share *share = argument;
	for (int i = share->from; i < share->to; i++)
		while (ingest_submit(in, &share->sent[i]->item) != 0)
			nanosleep(&(struct timespec){ .tv_nsec = 100000 }, NULL);
	return NULL;
}

static void submit_from_many_threads(size_t writers)
{
	enum { EACH = 250, THREADS = 4 };
	start((struct ingest_options){ .queue_limit = 100, .batch_limit = 16, .writers = writers });
	struct sent **sent = many(EACH * THREADS);
	pthread_t threads[THREADS];
	struct share shares[THREADS];
	for (int t = 0; t < THREADS; t++) {
		shares[t] = (struct share){ sent, t * EACH, (t + 1) * EACH };
		assert_int_equal(pthread_create(&threads[t], NULL, submit_share, &shares[t]), 0);
	}
	for (int t = 0; t < THREADS; t++)
		pthread_join(threads[t], NULL);
	assert_true(ingest_wait_idle(in, 20000));
	stop();
	for (int i = 0; i < EACH * THREADS; i++)
		assert_int_equal(sent[i]->answers, 1);
	assert_int_equal(fake.row_count, EACH * THREADS);
	assert_true(fake.largest_batch <= 16);
	free(sent);
}

static void every_event_of_many_threads_is_answered_once(void **state)
{
	(void)state;
	submit_from_many_threads(1);
}

static void two_writers_answer_each_event_once(void **state)
{
	(void)state;
	submit_from_many_threads(2);
}

static bool is_down(void) { return !ingest_is_up(in); }
static bool is_up(void) { return ingest_is_up(in); }

static void a_room_is_one_writers(void **state)
{
	(void)state;
	start((struct ingest_options){ .writers = 2, .batch_limit = 4 });
	struct sent **sent = many(400);
	for (int i = 0; i < 400; i++)
		assert_int_equal(ingest_submit(in, &sent[i]->item), 0);
	assert_true(ingest_wait_idle(in, 20000));
	stop();
	assert_int_equal(fake.opens, 2);
	assert_int_equal(fake.closes, 2);
	assert_int_equal(fake.row_count, 400);
	assert_int_equal(fake.call_count, 20);
	size_t first = 0;
	for (size_t i = 0; i < fake.call_count; i++) {
		assert_false(fake.calls[i].by_several);
		first += pthread_equal(fake.calls[i].by, fake.calls[0].by) != 0;
	}
	assert_in_range(first, 1, 19); /* both had something to do */
	for (int i = 0; i < 400; i++)
		assert_int_equal(sent[i]->answers, 1);
	free(sent);
}

static void two_writers_lose_and_find_the_store_as_one(void **state)
{
	(void)state;
	start((struct ingest_options){ .writers = 2 });
	struct sent **sent = many(44);
	fake.load_error = OC_DOWN;
	for (int i = 0; i < 20; i++) { /* twenty rooms: both writers meet it */
		int r = ingest_submit(in, &sent[i]->item);
		assert_true(r == 0 || r == OC_DOWN);
	}
	assert_true(ingest_wait_idle(in, 5000));
	assert_false(ingest_is_up(in));
	assert_int_equal(metric_get(m, METRIC_STORE_UP, 0), 0);
	for (int i = 20; i < 40; i++)
		assert_int_equal(ingest_submit(in, &sent[i]->item), OC_DOWN);
	fake.load_error = 0;
	assert_true(eventually(is_up));
	assert_int_equal(metric_get(m, METRIC_STORE_UP, 0), 1);
	for (int i = 40; i < 44; i++)
		assert_int_equal(ingest_submit(in, &sent[i]->item), 0);
	assert_true(ingest_wait_idle(in, 5000));
	assert_int_equal(fake.row_count, 4);
	stop();
	free(sent);
}

static void two_writers_sweep_once(void **state)
{
	(void)state;
	start((struct ingest_options){ .writers = 2 });
	struct sent **sent = many(200);
	for (int i = 0; i < 200; i++)
		assert_int_equal(ingest_submit(in, &sent[i]->item), 0);
	assert_true(ingest_wait_idle(in, 20000));
	stop();
	assert_int_equal(fake.due_asked, 1); /* at start; the next one is an hour away */
	free(sent);
}

static bool asked_to_commit(void) { return fake.in_batch; }

static void what_gathers_while_one_commits_is_the_next_batch(void **state)
{
	(void)state;
	fake.gate = &gate;
	start((struct ingest_options){ 0 });
	struct sent **sent = many(30);
	pthread_mutex_lock(&gate);
	assert_int_equal(ingest_submit(in, &sent[0]->item), 0);
	assert_true(eventually(asked_to_commit));
	for (int i = 1; i < 30; i++)
		assert_int_equal(ingest_submit(in, &sent[i]->item), 0);
	assert_int_equal(metric_get(m, METRIC_QUEUE_DEPTH, 0), 30);
	assert_int_equal(sent[0]->answers, 0);
	assert_false(ingest_wait_idle(in, 10));
	pthread_mutex_unlock(&gate);
	assert_true(ingest_wait_idle(in, 5000));
	stop();
	assert_int_equal(fake.largest_batch, 29);
	for (size_t i = 1; i < fake.row_count; i++) { /* first in, first out */
		char id[32];
		snprintf(id, sizeof id, "EV_%zu", i);
		assert_true(slice_eq_cstr(fake.rows[i].event_id, id));
	}
	assert_int_equal(metric_get(m, METRIC_QUEUE_DEPTH, 0), 0);
	free(sent);
}

static void a_full_queue_refuses(void **state)
{
	(void)state;
	fake.gate = &gate;
	start((struct ingest_options){ .queue_limit = 3 });
	struct sent **sent = many(5);
	pthread_mutex_lock(&gate);
	for (int i = 0; i < 3; i++)
		assert_int_equal(ingest_submit(in, &sent[i]->item), 0);
	assert_int_equal(ingest_submit(in, &sent[3]->item), OC_FULL);
	pthread_mutex_unlock(&gate);
	assert_true(ingest_wait_idle(in, 5000));
	assert_int_equal(sent[3]->answers, 0);
	assert_int_equal(ingest_submit(in, &sent[4]->item), 0);
	assert_true(ingest_wait_idle(in, 5000));
	assert_int_equal(metric_get(m, METRIC_EVENT_RESULTS, INGEST_FAILED), 1);
	stop();
	free(sent);
}

static void bytes_are_bounded_too(void **state)
{
	(void)state;
	fake.gate = &gate;
	struct sent **sent = many(3);
	start((struct ingest_options){ .queue_limit_bytes = sent[0]->item.body.n * 2 });
	pthread_mutex_lock(&gate);
	assert_int_equal(ingest_submit(in, &sent[0]->item), 0);
	assert_int_equal(ingest_submit(in, &sent[1]->item), 0);
	assert_int_equal(ingest_submit(in, &sent[2]->item), OC_FULL);
	pthread_mutex_unlock(&gate);
	stop();
	assert_int_equal(sent[1]->answers, 1);
	free(sent);
}

static void stopping_finishes_what_was_accepted(void **state)
{
	(void)state;
	start((struct ingest_options){ .batch_limit = 8 });
	struct sent **sent = many(200);
	for (int i = 0; i < 200; i++)
		assert_int_equal(ingest_submit(in, &sent[i]->item), 0);
	stop();
	for (int i = 0; i < 200; i++) {
		assert_int_equal(sent[i]->answers, 1);
		assert_int_equal(sent[i]->item.result, INGEST_PROCESSED);
	}
	assert_int_equal(fake.closes, 1);
	free(sent);
}

static void a_store_that_goes_down_fails_what_waits_and_refuses_the_rest(void **state)
{
	(void)state;
	fake.gate = &gate;
	start((struct ingest_options){ 0 });
	struct sent **sent = many(12);
	pthread_mutex_lock(&gate);
	for (int i = 0; i < 10; i++)
		assert_int_equal(ingest_submit(in, &sent[i]->item), 0);
	fake.load_error = OC_DOWN;
	fake.commit_error = OC_DOWN;
	pthread_mutex_unlock(&gate);
	assert_true(ingest_wait_idle(in, 5000));
	for (int i = 0; i < 10; i++)
		assert_int_equal(sent[i]->item.result, INGEST_FAILED);
	assert_true(eventually(is_down));
	int64_t begun_ns = clock_mono_ns();
	assert_int_equal(ingest_submit(in, &sent[10]->item), OC_DOWN);
	assert_true(clock_mono_ns() - begun_ns < 100000000);
	fake.load_error = 0;
	fake.commit_error = 0;
	assert_true(eventually(is_up));
	assert_int_equal(ingest_submit(in, &sent[11]->item), 0);
	assert_true(ingest_wait_idle(in, 5000));
	assert_int_equal(sent[11]->item.result, INGEST_PROCESSED);
	stop();
	free(sent);
}

static void it_starts_while_the_store_is_down(void **state)
{
	(void)state;
	fake.open_error = OC_DOWN;
	start((struct ingest_options){ 0 });
	struct sent *s = numbered(1);
	assert_false(ingest_is_up(in));
	assert_int_equal(ingest_submit(in, &s->item), OC_DOWN);
	fake.open_error = 0;
	assert_true(eventually(is_up));
	assert_int_equal(ingest_submit(in, &s->item), 0);
	assert_true(ingest_wait_idle(in, 5000));
	assert_int_equal(s->item.result, INGEST_PROCESSED);
}

static void it_does_not_start_on_a_schema_that_does_not_fit(void **state)
{
	(void)state;
	fake.open_error = OC_SCHEMA;
	struct ingest_options o = { 0 };
	assert_int_equal(ingest_start_with(fake_open, &o, m, &in), OC_SCHEMA);
	assert_null(in);
}

static void it_stops_while_the_store_is_down(void **state)
{
	(void)state;
	fake.open_error = OC_DOWN;
	start((struct ingest_options){ 0 });
	int64_t begun_ns = clock_mono_ns();
	stop();
	assert_true(clock_mono_ns() - begun_ns < 2000000000);
}

static bool swept_thrice(void) { return fake.due_asked >= 3; }

static void it_sweeps_while_nothing_arrives(void **state)
{
	(void)state;
	start((struct ingest_options){ .sweep_interval_ms = 5 });
	assert_true(eventually(swept_thrice));
}

static bool is_stuck(void) { return !ingest_makes_progress(in, 20); }
static bool is_at_work(void) { return ingest_makes_progress(in, 20); }

static void a_writer_that_is_stuck_is_told_from_one_that_sleeps_or_waits_for_a_store(void **state)
{
	(void)state;
	start((struct ingest_options){ .writers = 2 });
	nanosleep(&(struct timespec){ .tv_nsec = 60000000 }, NULL);
	assert_true(eventually(is_at_work)); /* they sleep */
	fake.gate = &gate;
	pthread_mutex_lock(&gate);
	struct sent *s = numbered(1);
	assert_int_equal(ingest_submit(in, &s->item), 0);
	assert_true(eventually(is_stuck)); /* one of the two */
	assert_true(ingest_makes_progress(in, 3600000));
	pthread_mutex_unlock(&gate);
	assert_true(ingest_wait_idle(in, 5000));
	assert_true(eventually(is_at_work));
	atomic_store(&fake.load_error, OC_DOWN);
	struct sent *failing = numbered(2);
	assert_int_equal(ingest_submit(in, &failing->item), 0);
	assert_true(ingest_wait_idle(in, 5000));
	assert_true(eventually(is_at_work)); /* down, and probing */
	atomic_store(&fake.load_error, 0);
}

static void the_labels_of_its_metrics_are_there_from_the_start(void **state)
{
	(void)state;
	start((struct ingest_options){ 0 });
	struct buf b = BUF_INIT;
	metrics_render(m, &b);
	buf_putc(&b, '\0');
	assert_non_null(strstr(b.p, "outcomed_events_total{event=\"unknown\"} 0\n"));
	assert_non_null(strstr(b.p, "outcomed_events_total{event=\"participant_left\"} 0\n"));
	assert_non_null(strstr(b.p, "outcomed_event_results_total{result=\"quarantined\"} 0\n"));
	assert_non_null(strstr(b.p, "outcomed_store_errors_total{error=\"database cannot be reached\"} 0\n"));
	assert_non_null(strstr(b.p, "outcomed_calls_total{outcome=\"no_answer\"} 0\n"));
	assert_non_null(strstr(b.p, "outcomed_store_up 1\n"));
	buf_done(&b);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		CASE(a_submitted_event_is_answered),
		CASE(every_event_of_many_threads_is_answered_once),
		CASE(two_writers_answer_each_event_once),
		CASE(a_room_is_one_writers),
		CASE(two_writers_lose_and_find_the_store_as_one),
		CASE(two_writers_sweep_once),
		CASE(what_gathers_while_one_commits_is_the_next_batch),
		CASE(a_full_queue_refuses),
		CASE(bytes_are_bounded_too),
		CASE(stopping_finishes_what_was_accepted),
		CASE(a_store_that_goes_down_fails_what_waits_and_refuses_the_rest),
		CASE(it_starts_while_the_store_is_down),
		CASE(it_does_not_start_on_a_schema_that_does_not_fit),
		CASE(it_stops_while_the_store_is_down),
		CASE(it_sweeps_while_nothing_arrives),
		CASE(a_writer_that_is_stuck_is_told_from_one_that_sleeps_or_waits_for_a_store),
		CASE(the_labels_of_its_metrics_are_there_from_the_start),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
