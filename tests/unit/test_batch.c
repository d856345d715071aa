/* ingest/batch.c: what an attempt touches, the journal's rows and the answers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/clock.h"
#include "fake_store.h"

#define NOW_S (clock_wall_ms() / 1000)

static struct sent *started(const char *id, const char *sid) { return sent_event(id, "room_started", sid, "name", NOW_S - 10, NULL); }

static void assert_answer(const struct sent *s, enum ingest_result result, const char *message)
{
	assert_int_equal(s->item.result, result);
	assert_string_equal(s->item.message, message);
}

static void a_new_event_is_journaled_as_it_came(void **state)
{
	(void)state;
	struct sent *s = sent_event("EV_1", "participant_joined", "RM_1", "name", 1795352846,
		"\"participant\":{\"sid\":\"PA_1\",\"identity\":\"ann\"}");
	s->decoded.event.key_id = SLICE("APIkey");
	memset(s->item.body_hash, 0xab, sizeof s->item.body_hash);
	PROCESS(s);
	assert_answer(s, INGEST_PROCESSED, "Event processed");
	const struct journal_row *r = fake_row("EV_1");
	assert_true(r->processed);
	assert_true(slice_is_none(r->error_message));
	assert_true(slice_eq_cstr(r->event, "participant_joined"));
	assert_true(slice_eq_cstr(r->room_sid, "RM_1"));
	assert_true(slice_eq_cstr(r->room_name, "name"));
	assert_true(slice_eq_cstr(r->participant_sid, "PA_1"));
	assert_true(slice_eq_cstr(r->participant_identity, "ann"));
	assert_true(slice_eq_cstr(r->source, "livekit"));
	assert_true(slice_eq_cstr(r->key_id, "APIkey"));
	assert_int_equal(r->timestamp_s, 1795352846);
	assert_int_equal(r->created_at_ms, s->item.received_ms);
	assert_true(r->processed_at_ms >= r->created_at_ms);
	assert_memory_equal(r->body_hash, s->item.body_hash, 32);
	assert_false(slice_is_none(r->payload));
	assert_true(slice_is_none(r->raw_body));
	assert_true(slice_is_none(r->user_id));
}

static void what_is_absent_is_null(void **state)
{
	(void)state;
	PROCESS(sent_event("EV_1", "room_started", "RM_1", NULL, 0, NULL));
	const struct journal_row *r = fake_row("EV_1");
	assert_true(slice_is_none(r->room_name) && slice_is_none(r->participant_sid) && slice_is_none(r->participant_identity));
	assert_true(slice_is_none(r->key_id) && slice_is_none(r->call_log_id));
	assert_int_equal(r->timestamp_s, 0);
}

static void an_event_that_the_journal_has_is_a_duplicate(void **state)
{
	(void)state;
	PROCESS(started("EV_1", "RM_1"));
	struct sent *again = started("EV_1", "RM_1");
	PROCESS(again);
	assert_answer(again, INGEST_DUPLICATE, "Event already processed (idempotency)");
	assert_int_equal(fake.row_count, 1);
	assert_int_equal(counted(METRIC_EVENT_RESULTS, INGEST_DUPLICATE), 1);
	assert_int_equal(counted(METRIC_EVENTS, EVENT_ROOM_STARTED), 1);
}

static void the_second_of_one_id_in_a_batch_is_a_duplicate(void **state)
{
	(void)state;
	struct sent *sent[] = { started("EV_1", "RM_1"), started("EV_2", "RM_1"), started("EV_1", "RM_1"), started("EV_1", "RM_1") };
	process(sent, 4);
	assert_int_equal(sent[0]->item.result, INGEST_PROCESSED);
	assert_int_equal(sent[1]->item.result, INGEST_PROCESSED);
	assert_int_equal(sent[2]->item.result, INGEST_DUPLICATE);
	assert_int_equal(sent[3]->item.result, INGEST_DUPLICATE);
	assert_int_equal(fake.row_count, 2);
}

static void a_duplicate_is_not_acknowledged_when_the_first_one_fails(void **state)
{
	(void)state;
	struct sent *one = started("EV_1", "RM_1"), *two = started("EV_1", "RM_1");
	fake.commit_error = OC_DOWN;
	PROCESS(one, two);
	assert_int_equal(one->item.result, INGEST_FAILED);
	assert_int_equal(two->item.result, INGEST_FAILED);
}

static void a_duplicate_changes_no_call(void **state)
{
	(void)state;
	PROCESS(started("EV_1", "RM_1"));
	int64_t writes = fake_call_of("RM_1")->facts_writes;
	PROCESS(started("EV_1", "RM_1"));
	assert_int_equal(fake_call_of("RM_1")->facts_writes, writes);
	assert_int_equal(fake_call_of("RM_1")->verdict_writes, 1);
}

static void a_duplicate_of_a_call_that_is_not_known_makes_none(void **state)
{
	(void)state;
	PROCESS(sent_event("EV_1", "room_started", NULL, "elsewhere", NOW_S, NULL));
	PROCESS(started("EV_1", "RM_1"));
	assert_null(fake_call_of("RM_1"));
}

static void types_that_say_nothing_are_ignored(void **state)
{
	(void)state;
	struct sent *sent[] = {
		sent_event("EV_1", "something_new", "RM_1", "name", NOW_S, NULL),
		sent_event("EV_2", "ingress_started", "RM_1", "name", NOW_S, NULL),
		sent_event("EV_3", "agent_job_ended", NULL, NULL, NOW_S, NULL),
		sent_event("EV_4", "ingress_ended", NULL, "nowhere", NOW_S, NULL),
	};
	process(sent, 4);
	for (size_t i = 0; i < 4; i++) {
		assert_answer(sent[i], INGEST_IGNORED, "Event kept; its type says nothing about a call");
		assert_true(fake.rows[i].processed);
		assert_true(slice_is_none(fake.rows[i].error_message));
	}
	assert_true(slice_eq_cstr(fake_row("EV_1")->event, "something_new"));
	assert_int_equal(counted(METRIC_EVENTS, EVENT_UNKNOWN), 1);
}

static void what_cannot_be_read_is_quarantined_with_its_cause(void **state)
{
	(void)state;
	struct sent *s = sent_body("{\"id\":\"EV_1\",\"event\":\"participant_joined\",\"room\":{\"sid\":\"RM_1\"},"
		"\"participant\":{\"joinedAt\":\"soon\"}}");
	PROCESS(s);
	assert_int_equal(s->item.result, INGEST_QUARANTINED);
	assert_memory_equal(s->item.message, "Event kept aside: ", 18);
	const struct journal_row *r = fake_row("EV_1");
	assert_false(r->processed);
	assert_int_equal(r->processed_at_ms, 0);
	assert_non_null(memmem(r->error_message.p, r->error_message.n, "participant.joinedAt", 20));
	assert_true(slice_eq_cstr(r->room_sid, "RM_1"));
	assert_null(fake_call_of("RM_1"));
}

static void what_cannot_be_read_belongs_to_its_calls_tenant(void **state)
{
	(void)state;
	PROCESS(started("EV_1", "RM_1"));
	fake_call_of("RM_1")->row.user_id = SLICE("user-1");
	int64_t writes = fake_call_of("RM_1")->facts_writes;
	PROCESS(sent_body("{\"id\":\"EV_2\",\"event\":\"room_finished\",\"room\":{\"sid\":\"RM_1\"},\"createdAt\":\"soon\"}"));
	assert_false(fake_row("EV_2")->processed);
	assert_true(slice_eq_cstr(fake_row("EV_2")->user_id, "user-1"));
	assert_int_equal(fake_call_of("RM_1")->facts_writes, writes);
}

static void a_body_that_is_no_json_is_kept_as_bytes(void **state)
{
	(void)state;
	struct sent *s = sent_body("{\"id\":\"EV_1\"");
	PROCESS(s);
	assert_answer(s, INGEST_QUARANTINED, "Event kept aside: the body is not JSON");
	assert_int_equal(fake.row_count, 1);
	assert_true(slice_is_none(fake.rows[0].payload));
	assert_true(slice_eq_cstr(fake.rows[0].raw_body, "{\"id\":\"EV_1\""));
	assert_true(slice_eq_cstr(fake.rows[0].error_message, "the body is not JSON"));
	assert_true(fake.rows[0].event.n > 0);
}

static void of_a_body_that_is_kept_as_bytes_secrets_are_not(void **state)
{
	(void)state;
	PROCESS(sent_body("{\"id\":\"EV_1\",\"event\":\"room_started\",\"room\":{\"sid\":\"RM_1\",\"turnPassword\":\"abc\",\"name\":\"\\u0000\"}}"));
	assert_true(slice_is_none(fake_row("EV_1")->payload));
	assert_true(slice_eq_cstr(fake_row("EV_1")->raw_body,
		"{\"id\":\"EV_1\",\"event\":\"room_started\",\"room\":{\"sid\":\"RM_1\",\"turnPassword\":\"***\",\"name\":\"\\u0000\"}}"));
}

static void an_event_that_names_no_room_is_kept_aside(void **state)
{
	(void)state;
	struct sent *s = sent_event("EV_1", "room_finished", NULL, NULL, NOW_S, NULL);
	PROCESS(s);
	assert_answer(s, INGEST_QUARANTINED, "Event kept aside: it names no room");
	assert_false(fake_row("EV_1")->processed);
	assert_true(slice_eq_cstr(fake_row("EV_1")->error_message, "names no room"));
}

static void an_event_with_a_name_that_no_call_has_waits(void **state)
{
	(void)state;
	struct sent *s = sent_event("EV_1", "room_finished", NULL, "name", NOW_S, NULL);
	PROCESS(s);
	assert_answer(s, INGEST_PROCESSED, "Event kept until its call is known");
	const struct journal_row *r = fake_row("EV_1");
	assert_false(r->processed);
	assert_true(slice_is_none(r->room_sid));
	assert_true(slice_eq_cstr(r->error_message, "waits for its call"));
}

static void rooms_are_touched_once_and_in_order(void **state)
{
	(void)state;
	/* store_batch_load asserts the order; the fake store asserts that each id comes once */
	struct sent *sent[] = { started("EV_1", "RM_c"), started("EV_2", "RM_a"), started("EV_3", "RM_b"), started("EV_4", "RM_a"),
		started("EV_5", "RM_c") };
	process(sent, 5);
	assert_int_equal(fake.call_count, 3);
	assert_int_equal(fake_call_of("RM_a")->facts_writes, 1);
}

static void bad_and_good_events_share_a_batch(void **state)
{
	(void)state;
	struct sent *good = started("EV_1", "RM_1"), *bad = sent_body("[1]"), *odd = sent_event("EV_3", "new_type", "RM_1", NULL, NOW_S, NULL);
	PROCESS(good, bad, odd);
	assert_int_equal(fake.commits, 1);
	assert_int_equal(good->item.result, INGEST_PROCESSED);
	assert_int_equal(bad->item.result, INGEST_QUARANTINED);
	assert_int_equal(odd->item.result, INGEST_IGNORED);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, fake_setup, fake_teardown)
	const struct CMUnitTest tests[] = {
		CASE(a_new_event_is_journaled_as_it_came),
		CASE(what_is_absent_is_null),
		CASE(an_event_that_the_journal_has_is_a_duplicate),
		CASE(the_second_of_one_id_in_a_batch_is_a_duplicate),
		CASE(a_duplicate_is_not_acknowledged_when_the_first_one_fails),
		CASE(a_duplicate_changes_no_call),
		CASE(a_duplicate_of_a_call_that_is_not_known_makes_none),
		CASE(types_that_say_nothing_are_ignored),
		CASE(what_cannot_be_read_is_quarantined_with_its_cause),
		CASE(what_cannot_be_read_belongs_to_its_calls_tenant),
		CASE(a_body_that_is_no_json_is_kept_as_bytes),
		CASE(of_a_body_that_is_kept_as_bytes_secrets_are_not),
		CASE(an_event_that_names_no_room_is_kept_aside),
		CASE(an_event_with_a_name_that_no_call_has_waits),
		CASE(rooms_are_touched_once_and_in_order),
		CASE(bad_and_good_events_share_a_batch),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
