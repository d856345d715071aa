/* ingest/spooler.c and drainer.c: what the store does not take is in the spool before it is answered, and in the store, once, before it leaves the
 * spool; whatever the store does, nobody waits for it for long. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <assert.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/log.h"
#include "fake_store.h"

static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
static char base[64], directory[96];
static struct arena *a;
static struct spool *spool;
static struct ingest *in;
static struct metrics *m;

static int setup(void **state)
{
	(void)state;
	fake_reset();
	snprintf(base, sizeof base, "/tmp/outcomed-spooler-XXXXXX");
	assert_non_null(mkdtemp(base));
	snprintf(directory, sizeof directory, "%s/spool", base);
	a = arena_new(65536);
	m = metrics_new();
	in = NULL;
	spool = NULL;
	log_set_level(LOG_LEVEL_ERROR + 1);
	return 0;
}

static int files(void (*visit)(const char *path))
{
	int count = 0;
	DIR *d = opendir(directory);
	for (struct dirent *e; d && (e = readdir(d)) != NULL;) {
		char path[512];
		snprintf(path, sizeof path, "%s/%s", directory, e->d_name);
		if (e->d_name[0] == '.')
			continue;
		count += strstr(e->d_name, ".spool") != NULL;
		if (visit)
			visit(path);
	}
	if (d)
		closedir(d);
	return count;
}

static void remove_path(const char *path) { unlink(path); }

static void stop(void)
{
	if (in)
		ingest_stop(in);
	in = NULL;
	spool_close(spool);
	spool = NULL;
}

static int teardown(void **state)
{
	(void)state;
	stop();
	metrics_free(m);
	fake_done();
	arena_free(a);
	files(remove_path);
	rmdir(directory);
	log_set_level(LOG_LEVEL_INFO);
	return rmdir(base);
}

static void start_with(struct ingest_options o, int64_t limit_bytes)
{
	struct slice message;
	const struct spool_options so = { .directory = directory, .pause_ms = 1, .limit_bytes = limit_bytes };
	assert_int_equal(spool_open(&so, a, &spool, &message), 0);
	o.spool = spool;
	o.sweep_interval_ms = o.sweep_interval_ms ? o.sweep_interval_ms : 3600000;
	assert_int_equal(ingest_start_with(fake_open, &o, m, &in), 0);
}

static void start(void) { start_with((struct ingest_options){ .commit_deadline_ms = 200 }, 0); }

/* fake_store's own checks that the journal has it. */
static void done(struct ingest_item *item)
{
	struct sent *s = item->context;
	assert((item->result == INGEST_FAILED) == (item->error != 0));
	assert(item->message && *item->message);
	atomic_fetch_add(&s->answers, 1);
}

static struct sent *of_room(int i, const char *sid)
{
	char id[32];
	snprintf(id, sizeof id, "EV_%d", i);
	struct sent *s = sent_event(id, "room_started", sid, "name", clock_wall_ms() / 1000, NULL);
	s->item.done = done;
	return s;
}

static struct sent *numbered(int i)
{
	char sid[32];
	snprintf(sid, sizeof sid, "RM_%d", i % 20);
	return of_room(i, sid);
}

static void submit(struct sent *s) { assert_int_equal(ingest_submit(in, &s->item), 0); }

static void must_be(struct sent *s, enum ingest_result result)
{
	assert_true(ingest_wait_idle(in, 10000));
	assert_int_equal(s->answers, 1);
	assert_int_equal(s->item.result, result);
}

static bool eventually(bool (*holds)(void))
{
	for (int i = 0; i < 5000; i++) {
		if (holds())
			return true;
		nanosleep(&(struct timespec){ .tv_nsec = 2000000 }, NULL);
	}
	return false;
}

static int64_t waiting(void)
{
	struct spool_status t;
	assert_true(ingest_spool_status(in, &t));
	return t.events;
}

static bool is_drained(void) { return ingest_is_up(in) && waiting() == 0; }
static bool commits(void) { return fake.in_batch; }

static size_t rows_of(const char *id)
{
	size_t n = 0;
	for (size_t i = 0; i < fake.row_count; i++)
		n += slice_eq_cstr(fake.rows[i].event_id, id);
	return n;
}

/* ---- */

static size_t row_of(int i)
{
	char id[32];
	size_t at = 0;
	snprintf(id, sizeof id, "EV_%d", i);
	while (at < fake.row_count && !slice_eq_cstr(fake.rows[at].event_id, id))
		at++;
	assert_true(at < fake.row_count);
	return at;
}

static void a_store_that_is_down_loses_nobody_anything(void **state)
{
	(void)state;
	struct sent *s[40];
	start();
	fake.load_error = OC_DOWN;
	for (int i = 0; i < 40; i++)
		submit(s[i] = numbered(i));
	for (int i = 0; i < 40; i++)
		must_be(s[i], INGEST_SPOOLED);
	assert_int_equal(fake.row_count, 0);
	assert_int_equal(waiting(), 40);
	assert_int_equal(metric_get(m, METRIC_SPOOL_APPENDED, 0), 40);
	fake.load_error = 0;
	assert_true(eventually(is_drained));
	stop();
	assert_int_equal(fake.row_count, 40);
	for (int i = 0; i < 40; i++) { /* as they were received, and those of a room in their order */
		size_t at = row_of(i);
		assert_true(i < 20 || at > row_of(i - 20));
		assert_int_equal(fake.rows[at].created_at_ms, s[i]->item.received_ms);
		assert_true(slice_eq(fake.rows[at].payload, s[i]->decoded.payload));
		assert_int_equal(s[i]->answers, 1);
	}
	assert_int_equal(files(NULL), 0);
	assert_int_equal(metric_get(m, METRIC_SPOOL_DRAINED, 0), 40);
	assert_int_equal(metric_get(m, METRIC_EVENT_RESULTS, INGEST_SPOOLED), 40);
	assert_int_equal(metric_get(m, METRIC_EVENT_RESULTS, INGEST_PROCESSED), 0);
	assert_int_equal(metric_get(m, METRIC_EVENTS, EVENT_ROOM_STARTED), 40);
}

static void it_starts_and_takes_events_while_the_store_is_unusable(void **state)
{
	static const int errors[] = { OC_DOWN, OC_IO, OC_RETRY, OC_SCHEMA };
	for (size_t i = 0; i < sizeof errors / sizeof *errors; i++) {
		if (i) {
			assert_int_equal(teardown(state), 0);
			setup(state);
		}
		fake.open_error = errors[i];
		start();
		struct sent *s = numbered(1);
		submit(s);
		must_be(s, INGEST_SPOOLED);
		assert_false(ingest_is_up(in));
		fake.open_error = 0;
		assert_true(eventually(is_drained));
		stop();
		assert_int_equal(fake.row_count, 1);
	}
}

static void what_a_process_left_the_next_one_drains(void **state)
{
	(void)state;
	start();
	fake.load_error = OC_DOWN;
	struct sent *s = numbered(1), *mark = sent_mark("{\"roomSid\":\"RM_1\",\"kind\":\"note\",\"value\":\"x\"}", "tenant", NULL);
	mark->item.done = done;
	submit(s);
	submit(mark);
	must_be(s, INGEST_SPOOLED);
	must_be(mark, INGEST_SPOOLED);
	stop();
	assert_int_equal(files(NULL), 1);
	fake.load_error = 0;
	start();
	assert_true(eventually(is_drained));
	stop();
	assert_int_equal(fake.row_count, 2);
	assert_true(slice_eq_cstr(fake.rows[1].event, "mark"));
	assert_true(slice_eq_cstr(fake.rows[1].source, "mark"));
	assert_true(slice_eq_cstr(fake.rows[1].user_id, "tenant"));
	assert_true(slice_eq(fake.rows[1].payload, mark->decoded.payload));
	assert_memory_equal(fake.rows[1].body_hash, mark->item.body_hash, 32);
}

static void an_event_that_nobody_can_read_keeps_its_bytes_and_its_reason(void **state)
{
	(void)state;
	start();
	fake.load_error = OC_DOWN;
	struct sent *s = sent_body("{\"event\":\"room_started\",\"id\":\"EV_bad\",\"turnPassword\":\"hidden\",");
	s->item.done = done;
	submit(s);
	must_be(s, INGEST_SPOOLED);
	fake.load_error = 0;
	assert_true(eventually(is_drained));
	stop();
	assert_int_equal(fake.row_count, 1);
	const struct journal_row *r = &fake.rows[0];
	assert_true(!r->processed && slice_is_none(r->payload));
	assert_true(slice_eq(r->event_id, s->decoded.event.id));
	assert_int_equal(r->raw_body.n, s->item.body.n);
	assert_null(memmem(r->raw_body.p, r->raw_body.n, "hidden", 6));
	assert_non_null(memmem(r->error_message.p, r->error_message.n, "not JSON", 8));
}

static void a_commit_of_unknown_end_counts_once(void **state)
{
	(void)state;
	start();
	fake.commit_errors_left = 100;
	fake.commit_error_once = OC_UNSURE; /* it commits all the same */
	struct sent *s = numbered(1);
	submit(s);
	assert_true(ingest_wait_idle(in, 10000));
	assert_int_equal(s->answers, 1);
	assert_true(s->item.result == INGEST_DUPLICATE || s->item.result == INGEST_SPOOLED);
	fake.commit_errors_left = 0;
	assert_true(eventually(is_drained));
	stop();
	assert_int_equal(rows_of("EV_1"), 1);
}

static void the_same_event_twice_in_the_spool_counts_once(void **state)
{
	(void)state;
	start();
	fake.load_error = OC_DOWN;
	struct sent *first = of_room(1, "RM_1"), *second = of_room(1, "RM_1");
	submit(first);
	must_be(first, INGEST_SPOOLED);
	submit(second);
	must_be(second, INGEST_SPOOLED);
	fake.load_error = 0;
	assert_true(eventually(is_drained));
	stop();
	assert_int_equal(rows_of("EV_1"), 1);
}

static void conflicts_beyond_the_deadline_go_there_and_the_store_stays_up(void **state)
{
	(void)state;
	start();
	fake.commit_error = OC_RETRY;
	struct sent *s = numbered(1);
	int64_t begun_ns = clock_mono_ns();
	submit(s);
	must_be(s, INGEST_SPOOLED);
	assert_true(clock_mono_ns() - begun_ns < INT64_C(5000000000));
	assert_true(ingest_is_up(in));
	fake.commit_error = 0;
	assert_true(eventually(is_drained));
	stop();
	assert_int_equal(rows_of("EV_1"), 1);
}

static void an_attempt_is_told_the_deadline(void **state)
{
	(void)state;
	start();
	fake.gate = &gate;
	pthread_mutex_lock(&gate);
	submit(numbered(1));
	assert_true(eventually(commits));
	int64_t left = fake.until_ms - clock_mono_ns() / 1000000;
	assert_true(fake.until_ms > 0 && left <= 200);
	pthread_mutex_unlock(&gate);
	assert_true(ingest_wait_idle(in, 5000));
	assert_int_equal(fake.until_ms, 0);
}

static void behind_a_writer_that_hangs_nobody_waits(void **state)
{
	(void)state;
	struct sent *s[20];
	start_with((struct ingest_options){ .commit_deadline_ms = 100, .batch_limit = 1 }, 0);
	fake.gate = &gate;
	pthread_mutex_lock(&gate);
	for (int i = 0; i < 20; i++)
		submit(s[i] = numbered(i));
	for (int i = 0; i < 5000 && s[19]->answers == 0; i++)
		nanosleep(&(struct timespec){ .tv_nsec = 2000000 }, NULL);
	for (int i = 1; i < 20; i++) {
		assert_int_equal(s[i]->answers, 1);
		assert_int_equal(s[i]->item.result, INGEST_SPOOLED);
	}
	assert_int_equal(s[0]->answers, 0); /* that one is in the writer's hands */
	struct sent *late = numbered(20);
	submit(late);
	for (int i = 0; i < 5000 && late->answers == 0; i++)
		nanosleep(&(struct timespec){ .tv_nsec = 2000000 }, NULL);
	assert_int_equal(late->item.result, INGEST_SPOOLED);
	pthread_mutex_unlock(&gate);
	assert_true(eventually(is_drained));
	must_be(s[0], INGEST_PROCESSED);
	stop();
	assert_int_equal(fake.row_count, 21);
}

static void a_rooms_events_stay_in_order_and_others_pass(void **state)
{
	(void)state;
	start_with((struct ingest_options){ .commit_deadline_ms = 20000 }, 0);
	fake.commit_error = OC_RETRY; /* the store is up and cannot */
	struct sent *first = of_room(1, "RM_held"), *second = of_room(2, "RM_held"), *other = of_room(3, "RM_other");
	submit(first);
	must_be(first, INGEST_SPOOLED);
	assert_int_equal(waiting(), 1);
	submit(second);
	must_be(second, INGEST_SPOOLED);
	fake.commit_error = 0;
	submit(other);
	must_be(other, INGEST_PROCESSED);
	assert_true(eventually(is_drained));
	struct sent *third = of_room(4, "RM_held");
	submit(third);
	must_be(third, INGEST_PROCESSED);
	stop();
	assert_int_equal(fake.row_count, 4);
	for (size_t i = 0; i + 1 < fake.row_count; i++)
		if (slice_eq_cstr(fake.rows[i].event_id, "EV_2"))
			fail_msg("EV_2 before the last but one");
		else if (slice_eq_cstr(fake.rows[i].event_id, "EV_1"))
			break;
}

static void what_the_store_refuses_is_set_aside_as_ever(void **state)
{
	(void)state;
	start();
	fake.load_error = OC_DOWN;
	fake.poison = "EV_2";
	fake.poison_payload_only = true;
	struct sent *s[5];
	for (int i = 0; i < 5; i++)
		submit(s[i] = numbered(i));
	assert_true(ingest_wait_idle(in, 5000));
	fake.load_error = 0;
	assert_true(eventually(is_drained));
	stop();
	assert_int_equal(fake.row_count, 5);
	assert_false(fake_row("EV_2")->processed);
	assert_true(fake_row("EV_3")->processed);
	assert_int_equal(files(NULL), 0);
}

static void what_the_store_takes_in_no_form_holds_up_nobody(void **state)
{
	(void)state;
	start();
	fake.load_error = OC_DOWN;
	fake.poison = "EV_2";
	for (int i = 0; i < 5; i++)
		submit(numbered(i));
	assert_true(ingest_wait_idle(in, 5000));
	fake.load_error = 0;
	assert_true(eventually(is_drained));
	stop();
	assert_int_equal(fake.row_count, 4);
	assert_int_equal(files(NULL), 1); /* kept: .refused */
	start();
	struct spool_status t;
	assert_true(ingest_spool_status(in, &t));
	assert_true(t.events == 0 && t.set_aside == 1);
}

static void a_full_spool_fails_and_takes_again(void **state)
{
	(void)state;
	start_with((struct ingest_options){ .commit_deadline_ms = 200 }, 2500);
	fake.load_error = OC_DOWN;
	struct sent *s[20];
	int taken = 0;
	for (int i = 0; i < 20; i++) {
		submit(s[i] = numbered(i));
		assert_true(ingest_wait_idle(in, 5000));
		assert_int_equal(s[i]->answers, 1);
		assert_int_equal(s[i]->item.result, taken == i && s[i]->item.result == INGEST_SPOOLED ? INGEST_SPOOLED : INGEST_FAILED);
		taken += s[i]->item.result == INGEST_SPOOLED;
	}
	assert_in_range(taken, 2, 10);
	assert_int_equal(s[19]->item.error, OC_FULL);
	fake.load_error = 0;
	assert_true(eventually(is_drained));
	struct sent *again = numbered(19);
	submit(again);
	must_be(again, INGEST_PROCESSED);
	stop();
	assert_int_equal(fake.row_count, taken + 1);
}

static void a_full_queue_overflows_into_the_spool(void **state)
{
	(void)state;
	struct sent *s[8];
	start_with((struct ingest_options){ .queue_limit = 3, .commit_deadline_ms = 60000 }, 0);
	fake.gate = &gate;
	pthread_mutex_lock(&gate);
	for (int i = 0; i < 3; i++)
		submit(s[i] = numbered(i));
	for (int i = 3; i < 6; i++) {
		submit(s[i] = numbered(i));
		for (int k = 0; k < 5000 && s[i]->answers == 0; k++)
			nanosleep(&(struct timespec){ .tv_nsec = 2000000 }, NULL);
		assert_int_equal(s[i]->item.result, INGEST_SPOOLED);
	}
	pthread_mutex_unlock(&gate);
	assert_true(eventually(is_drained));
	stop();
	assert_int_equal(fake.row_count, 6);
}

static void calls_are_not_judged_by_the_clock_while_their_events_wait(void **state)
{
	(void)state;
	start_with((struct ingest_options){ .commit_deadline_ms = 100, .sweep_interval_ms = 5 }, 0);
	fake.commit_error = OC_RETRY;
	struct sent *s = numbered(1);
	submit(s);
	must_be(s, INGEST_SPOOLED);
	nanosleep(&(struct timespec){ .tv_sec = 1, .tv_nsec = 300000000 }, NULL); /* the drainer has looked by now */
	unsigned asked = fake.due_asked;
	nanosleep(&(struct timespec){ .tv_nsec = 300000000 }, NULL);
	assert_int_equal(fake.due_asked, asked);
	fake.commit_error = 0;
	assert_true(eventually(is_drained));
	nanosleep(&(struct timespec){ .tv_nsec = 300000000 }, NULL);
	assert_true(fake.due_asked > asked);
}

static void stopping_keeps_what_the_store_did_not_take(void **state)
{
	(void)state;
	struct sent *s[50];
	start();
	assert_true(ingest_wait_idle(in, 1000));
	fake.load_error = OC_DOWN;
	for (int i = 0; i < 50; i++)
		submit(s[i] = numbered(i));
	stop();
	for (int i = 0; i < 50; i++) {
		assert_int_equal(s[i]->answers, 1);
		assert_int_equal(s[i]->item.result, INGEST_SPOOLED);
	}
	fake.load_error = 0;
	start();
	assert_true(eventually(is_drained));
	stop();
	assert_int_equal(fake.row_count, 50);
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

static void outages_under_many_threads_lose_and_double_nothing(void **state)
{
	(void)state;
	enum { EACH = 400, THREADS = 4 };
	static struct sent *sent[EACH * THREADS];
	pthread_t threads[THREADS];
	struct share shares[THREADS];
	start_with((struct ingest_options){ .queue_limit = 50, .batch_limit = 16, .commit_deadline_ms = 100, .writers = 2 }, 0);
	for (int i = 0; i < EACH * THREADS; i++)
		sent[i] = numbered(i);
	for (int t = 0; t < THREADS; t++) {
		shares[t] = (struct share){ sent, t * EACH, (t + 1) * EACH };
		assert_int_equal(pthread_create(&threads[t], NULL, submit_share, &shares[t]), 0);
	}
	static const int errors[] = { OC_DOWN, OC_RETRY, OC_UNSURE, OC_IO };
	for (int i = 0; i < 8; i++) {
		atomic_int *which = i % 2 ? &fake.load_error : &fake.commit_error;
		*which = errors[i % 4] == OC_UNSURE ? OC_DOWN : errors[i % 4];
		nanosleep(&(struct timespec){ .tv_nsec = 15000000 }, NULL);
		*which = 0;
		nanosleep(&(struct timespec){ .tv_nsec = 15000000 }, NULL);
	}
	for (int t = 0; t < THREADS; t++)
		pthread_join(threads[t], NULL);
	assert_true(ingest_wait_idle(in, 20000));
	assert_true(eventually(is_drained));
	stop();
	assert_int_equal(fake.row_count, EACH * THREADS);
	for (int i = 0; i < EACH * THREADS; i++) {
		assert_int_equal(sent[i]->answers, 1);
		assert_int_not_equal(sent[i]->item.result, INGEST_FAILED);
	}
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(a_store_that_is_down_loses_nobody_anything),
		CASE(it_starts_and_takes_events_while_the_store_is_unusable),
		CASE(what_a_process_left_the_next_one_drains),
		CASE(an_event_that_nobody_can_read_keeps_its_bytes_and_its_reason),
		CASE(a_commit_of_unknown_end_counts_once),
		CASE(the_same_event_twice_in_the_spool_counts_once),
		CASE(conflicts_beyond_the_deadline_go_there_and_the_store_stays_up),
		CASE(an_attempt_is_told_the_deadline),
		CASE(behind_a_writer_that_hangs_nobody_waits),
		CASE(a_rooms_events_stay_in_order_and_others_pass),
		CASE(what_the_store_refuses_is_set_aside_as_ever),
		CASE(what_the_store_takes_in_no_form_holds_up_nobody),
		CASE(a_full_spool_fails_and_takes_again),
		CASE(a_full_queue_overflows_into_the_spool),
		CASE(calls_are_not_judged_by_the_clock_while_their_events_wait),
		CASE(stopping_keeps_what_the_store_did_not_take),
		CASE(outages_under_many_threads_lose_and_double_nothing),
	};
	return cmocka_run_group_tests_name("spooler", tests, NULL, NULL);
}
