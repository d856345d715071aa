/* ingest/writer.c: what becomes of a batch when the store conflicts, refuses, fails or is gone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/log.h"
#include "fake_store.h"

#define NOW_S (clock_wall_ms() / 1000)

static struct sent *numbered(int i)
{
	char id[32], sid[32];
	snprintf(id, sizeof id, "EV_%d", i);
	snprintf(sid, sizeof sid, "RM_%d", i);
	return sent_event(id, "room_started", sid, "a room", NOW_S - 10, NULL);
}

static void fill(struct sent **sent, int n)
{
	for (int i = 0; i < n; i++)
		sent[i] = numbered(i);
}

static size_t with_result(struct sent *const *sent, size_t n, enum ingest_result result)
{
	size_t count = 0;
	for (size_t i = 0; i < n; i++)
		count += sent[i]->item.result == result;
	return count;
}

static void a_batch_is_one_transaction(void **state)
{
	(void)state;
	struct sent *sent[40];
	fill(sent, 40);
	process(sent, 40);
	assert_int_equal(with_result(sent, 40, INGEST_PROCESSED), 40);
	assert_int_equal(fake.commits, 1);
	assert_int_equal(fake.row_count, 40);
	assert_int_equal(counted(METRIC_EVENT_RESULTS, INGEST_PROCESSED), 40);
	assert_int_equal(counted(METRIC_EVENTS, EVENT_ROOM_STARTED), 40);
}

static void a_conflict_is_tried_again(void **state)
{
	(void)state;
	struct sent *s = numbered(1);
	fake.commit_errors_left = 2;
	fake.commit_error_once = OC_RETRY;
	PROCESS(s);
	assert_int_equal(s->item.result, INGEST_PROCESSED);
	assert_int_equal(fake.loads, 3);
	assert_int_equal(fake.aborts, 2);
	assert_int_equal(counted(METRIC_STORE_ERRORS, (size_t)(-OC_RETRY - 1)), 2);
}

static void a_conflict_without_end_fails_in_time(void **state)
{
	(void)state;
	struct sent *sent[3];
	fill(sent, 3);
	fake.commit_error = OC_RETRY;
	int64_t begun_ns = clock_mono_ns();
	process(sent, 3);
	assert_true(clock_mono_ns() - begun_ns < 900000000);
	assert_int_equal(with_result(sent, 3, INGEST_FAILED), 3);
	assert_int_equal(sent[0]->item.error, OC_RETRY);
	assert_true(fake_writer.up);
	assert_int_equal(fake.row_count, 0);
}

/* Somebody else's lock: each attempt waits for all of the statement's time, and the sender waits with it. */
static void a_conflict_that_takes_long_is_not_tried_again(void **state)
{
	(void)state;
	struct sent *s = numbered(1);
	fake_options.store.timeout_ms = 40;
	fake.commit_ms = 25;
	fake.commit_error = OC_RETRY;
	PROCESS(s);
	assert_int_equal(s->item.result, INGEST_FAILED);
	assert_int_equal(fake.loads, 2);
}

static void lost_in_commit_is_found_by_event_id(void **state)
{
	(void)state;
	struct sent *s = numbered(1);
	fake.commit_errors_left = 1;
	fake.commit_error_once = OC_UNSURE;
	PROCESS(s);
	assert_int_equal(s->item.result, INGEST_DUPLICATE);
	assert_int_equal(fake.row_count, 1);
}

static void a_poisoned_event_is_kept_aside_and_the_others_commit(void **state)
{
	(void)state;
	struct sent *sent[33];
	fill(sent, 33);
	fake.poison = "EV_20";
	fake.poison_payload_only = true;
	process(sent, 33);
	assert_int_equal(with_result(sent, 33, INGEST_PROCESSED), 32);
	assert_int_equal(sent[20]->item.result, INGEST_QUARANTINED);
	const struct journal_row *row = fake_row("EV_20");
	assert_non_null(row);
	assert_false(row->processed);
	assert_non_null(memmem(row->error_message.p, row->error_message.n, "told to", 7));
	assert_true(slice_is_none(row->payload));
	assert_true(slice_eq(row->raw_body, sent[20]->item.body));
	assert_true(slice_eq_cstr(row->room_sid, "RM_20"));
	assert_null(fake_call_of("RM_20"));
	assert_non_null(fake_call_of("RM_19"));
	assert_true(fake_writer.up);
}

static void an_event_that_cannot_be_kept_at_all_fails_alone(void **state)
{
	(void)state;
	struct sent *sent[5];
	fill(sent, 5);
	fake.poison = "EV_2";
	process(sent, 5);
	assert_int_equal(with_result(sent, 5, INGEST_PROCESSED), 4);
	assert_int_equal(sent[2]->item.result, INGEST_FAILED);
	assert_int_equal(sent[2]->item.error, OC_DATA);
	assert_null(fake_row("EV_2"));
	assert_true(fake_writer.up);
}

static void a_poisoned_call_keeps_its_events_whole(void **state)
{
	(void)state;
	struct sent *sent[4];
	fill(sent, 4);
	fake.refused_sid = SLICE("RM_1");
	process(sent, 4);
	assert_int_equal(with_result(sent, 4, INGEST_PROCESSED), 3);
	assert_int_equal(sent[1]->item.result, INGEST_QUARANTINED);
	assert_false(slice_is_none(fake_row("EV_1")->payload));
}

static void a_store_that_is_down_fails_the_batch(void **state)
{
	(void)state;
	struct sent *sent[6];
	fill(sent, 6);
	fake.load_error = OC_DOWN;
	process(sent, 6);
	assert_int_equal(with_result(sent, 6, INGEST_FAILED), 6);
	assert_int_equal(fake.loads, 1);
	assert_false(fake_writer.up);
	assert_int_equal(counted(METRIC_STORE_UP, 0), 0);
	assert_int_equal(counted(METRIC_EVENT_RESULTS, INGEST_FAILED), 6);
	assert_int_equal(counted(METRIC_EVENTS, EVENT_ROOM_STARTED), 0);
}

static void while_down_nothing_is_asked_of_the_store(void **state)
{
	(void)state;
	fake.load_error = OC_DOWN;
	PROCESS(numbered(1));
	PROCESS(numbered(2));
	assert_int_equal(fake.loads, 1);
}

static void a_probe_brings_the_store_back(void **state)
{
	(void)state;
	fake.commit_error = OC_TIMEOUT;
	PROCESS(numbered(1));
	writer_probe(&fake_writer);
	assert_false(fake_writer.up);
	fake.commit_error = 0;
	writer_probe(&fake_writer);
	assert_true(fake_writer.up);
	assert_int_equal(counted(METRIC_STORE_UP, 0), 1);
	assert_int_equal(fake.opens, 1);
	struct sent *s = numbered(1);
	PROCESS(s);
	assert_int_equal(s->item.result, INGEST_PROCESSED);
}

static void after_a_disk_error_the_store_is_opened_anew(void **state)
{
	(void)state;
	struct sent *s = numbered(1);
	fake.commit_error = OC_IO;
	PROCESS(s);
	assert_int_equal(s->item.result, INGEST_FAILED);
	assert_int_equal(s->item.error, OC_IO);
	assert_int_equal(fake.closes, 1);
	fake.open_error = OC_IO;
	writer_probe(&fake_writer);
	assert_false(fake_writer.up);
	fake.open_error = 0;
	fake.commit_error = 0;
	writer_probe(&fake_writer);
	assert_true(fake_writer.up);
	assert_int_equal(fake.opens, 3);
}

static void after_a_failed_sync_nothing_is_tried_again(void **state)
{
	(void)state;
	struct sent *sent[2];
	fill(sent, 2);
	fake.commit_errors_left = 1;
	fake.commit_error_once = OC_FSYNC;
	PROCESS(sent[0]);
	assert_int_equal(sent[0]->item.error, OC_FSYNC);
	assert_int_equal(fake.closes, 1);
	assert_int_equal(fake_writer.probe_at_ns, INT64_MAX);
	writer_probe(&fake_writer);
	assert_int_equal(fake.opens, 1);
	assert_false(fake_writer.up);
	PROCESS(sent[1]);
	assert_int_equal(sent[1]->item.result, INGEST_FAILED);
	assert_int_equal(fake.row_count, 0);
}

static void probes_are_farther_and_farther_apart(void **state)
{
	(void)state;
	fake.load_error = OC_DOWN;
	PROCESS(numbered(1));
	int64_t first = fake_writer.probe_at_ns - clock_mono_ns();
	for (int i = 0; i < 10; i++)
		writer_probe(&fake_writer);
	int64_t last = fake_writer.probe_at_ns - clock_mono_ns();
	assert_true(first < 60000000);
	assert_true(last > 500000000 && last <= 1000000000);
}

static void a_store_that_is_down_at_the_start_is_no_failure(void **state)
{
	(void)state;
	struct writer w = { .options = &fake_options, .open = fake_open };
	fake.open_error = OC_DOWN;
	assert_int_equal(writer_open(&w), 0);
	assert_false(w.up);
	fake.open_error = 0;
	writer_probe(&w);
	assert_true(w.up);
	writer_close(&w);
}

static void one_that_is_known_to_be_down_is_not_waited_for_at_the_start(void **state)
{
	(void)state;
	unsigned opens = fake.opens;
	fake_options.store_is_down = true;
	struct writer w = { .options = &fake_options, .open = fake_open };
	assert_int_equal(writer_open(&w), 0);
	fake_options.store_is_down = false;
	assert_int_equal(fake.opens, opens);
	assert_false(w.up);
	writer_probe(&w);
	assert_true(w.up);
	writer_close(&w);
}

static void a_schema_that_does_not_fit_is_one(void **state)
{
	(void)state;
	struct writer w = { .options = &fake_options, .open = fake_open };
	fake.open_error = OC_SCHEMA;
	assert_int_equal(writer_open(&w), OC_SCHEMA);
	writer_close(&w);
}

static void a_batch_of_nothing_asks_nothing(void **state)
{
	(void)state;
	writer_process(&fake_writer, NULL, 0);
	assert_int_equal(fake.loads, 0);
}

static void a_huge_batch_leaves_no_memory_behind(void **state)
{
	(void)state;
	struct sent *sent[60];
	fill(sent, 60);
	process(sent, 60);
	assert_int_equal(arena_used_bytes(fake_writer.arena), 0);
	assert_true(fake_writer.text.size <= 1024 * 1024);
}

static size_t read_log(int fd, char *text, size_t size)
{
	size_t n = 0;
	for (ssize_t got; n < size - 1 && (got = read(fd, text + n, size - 1 - n)) > 0;)
		n += (size_t)got;
	text[n] = '\0';
	return n;
}

static void one_line_a_webhook_and_no_phone_number(void **state)
{
	(void)state;
	static char text[16384];
	int ends[2], saved = dup(STDERR_FILENO);
	assert_int_equal(pipe(ends), 0);
	log_set_level(LOG_LEVEL_INFO);
	struct sent *one = sent_event("EV_1", "participant_joined", "RM_1", "call-+12065550100", NOW_S,
		"\"participant\":{\"sid\":\"PA_1\",\"identity\":\"sip_+12065550100\",\"kind\":\"SIP\","
		"\"attributes\":{\"sip.phoneNumber\":\"+12065550100\"}}");
	struct sent *two = sent_body("not JSON");
	dup2(ends[1], STDERR_FILENO);
	PROCESS(one, two);
	PROCESS(sent_event("EV_1", "participant_joined", "RM_1", NULL, NOW_S, NULL));
	dup2(saved, STDERR_FILENO);
	close(saved);
	close(ends[1]);
	read_log(ends[0], text, sizeof text);
	close(ends[0]);
	assert_non_null(strstr(text, "level=info msg=call_completed event_id=EV_1 event=participant_joined room_sid=RM_1 result=processed ms="));
	assert_non_null(strstr(text, "level=warn msg=call_completed event_id=sha256:"));
	assert_non_null(strstr(text, "result=quarantined cause=\"the body is not JSON\""));
	assert_non_null(strstr(text, "result=duplicate note=\"already processed\""));
	assert_null(strstr(text, "2065550100"));
}

static void a_down_store_is_told_once(void **state)
{
	(void)state;
	static char text[65536];
	int ends[2], saved = dup(STDERR_FILENO);
	assert_int_equal(pipe(ends), 0);
	struct sent *sent[8];
	fill(sent, 8);
	log_set_level(LOG_LEVEL_INFO);
	dup2(ends[1], STDERR_FILENO);
	fake.load_error = OC_DOWN;
	process(sent, 4);
	process(sent + 4, 4);
	writer_probe(&fake_writer);
	fake.load_error = 0;
	writer_probe(&fake_writer);
	dup2(saved, STDERR_FILENO);
	close(saved);
	close(ends[1]);
	read_log(ends[0], text, sizeof text);
	close(ends[0]);
	const char *down = strstr(text, "level=error msg=store_down error=\"database cannot be reached\"");
	assert_non_null(down);
	assert_null(strstr(down + 20, "msg=store_down"));
	const char *up = strstr(text, "msg=store_up");
	assert_non_null(up);
	assert_null(strstr(up + 1, "msg=store_up"));
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, fake_setup, fake_teardown)
	const struct CMUnitTest tests[] = {
		CASE(a_batch_is_one_transaction),
		CASE(a_conflict_is_tried_again),
		CASE(a_conflict_without_end_fails_in_time),
		CASE(a_conflict_that_takes_long_is_not_tried_again),
		CASE(lost_in_commit_is_found_by_event_id),
		CASE(a_poisoned_event_is_kept_aside_and_the_others_commit),
		CASE(an_event_that_cannot_be_kept_at_all_fails_alone),
		CASE(a_poisoned_call_keeps_its_events_whole),
		CASE(a_store_that_is_down_fails_the_batch),
		CASE(while_down_nothing_is_asked_of_the_store),
		CASE(a_probe_brings_the_store_back),
		CASE(after_a_disk_error_the_store_is_opened_anew),
		CASE(after_a_failed_sync_nothing_is_tried_again),
		CASE(probes_are_farther_and_farther_apart),
		CASE(a_store_that_is_down_at_the_start_is_no_failure),
		CASE(one_that_is_known_to_be_down_is_not_waited_for_at_the_start),
		CASE(a_schema_that_does_not_fit_is_one),
		CASE(a_batch_of_nothing_asks_nothing),
		CASE(a_huge_batch_leaves_no_memory_behind),
		CASE(one_line_a_webhook_and_no_phone_number),
		CASE(a_down_store_is_told_once),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
