/* ingest/judge.c: which call an event belongs to, its tenant, and what counts as a change. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/clock.h"
#include "fake_store.h"

static int64_t t0; /* some minutes ago, seconds */

static int setup(void **state)
{
	t0 = clock_wall_ms() / 1000 - 600;
	return fake_setup(state);
}

static struct sent *room(const char *id, const char *type, const char *sid, int64_t at_s)
{
	return sent_event(id, type, sid, "name", at_s, NULL);
}

static struct sent *joined(const char *id, const char *sid, const char *participant, int64_t at_s)
{
	char more[200];
	snprintf(more, sizeof more, "\"participant\":{\"sid\":\"%s\",\"identity\":\"who\",\"joinedAtMs\":\"%lld\"}", participant,
		(long long)at_s * 1000);
	return sent_event(id, "participant_joined", sid, "name", at_s, more);
}

static struct sent *of_tenant(const char *id, const char *sid, const char *tenant)
{
	char body[400];
	snprintf(body, sizeof body, "{\"id\":\"%s\",\"event\":\"room_started\",\"createdAt\":\"%lld\",\"room\":{\"sid\":\"%s\",\"name\":\"name\","
		"\"metadata\":\"{\\\"user_id\\\":\\\"%s\\\"}\"}}", id, (long long)t0, sid, tenant);
	return sent_body(body);
}

static const struct call_row *call(const char *sid)
{
	const struct fake_call *c = fake_call_of(sid);
	assert_non_null(c);
	return &c->row;
}

static bool facts_mention(const char *sid, const char *what)
{
	struct slice f = call(sid)->facts;
	return memmem(f.p, f.n, what, strlen(what)) != NULL;
}

/* ---- whose event is it? ---- */

static void events_go_to_the_room_they_name(void **state)
{
	(void)state;
	PROCESS(joined("EV_1", "RM_a", "PA_1", t0), joined("EV_2", "RM_b", "PA_2", t0), joined("EV_3", "RM_a", "PA_3", t0 + 1));
	assert_true(facts_mention("RM_a", "PA_1") && facts_mention("RM_a", "PA_3") && !facts_mention("RM_a", "PA_2"));
	assert_true(facts_mention("RM_b", "PA_2") && !facts_mention("RM_b", "PA_1"));
}

static void facts_are_the_same_in_one_batch_or_in_many(void **state)
{
	(void)state;
	PROCESS(room("EV_1", "room_started", "RM_a", t0), joined("EV_2", "RM_a", "PA_1", t0 + 1), room("EV_3", "room_finished", "RM_a", t0 + 9));
	struct slice together = call("RM_a")->facts;
	fake.call_count = fake.row_count = 0;
	PROCESS(room("EV_3", "room_finished", "RM_a", t0 + 9));
	PROCESS(joined("EV_2", "RM_a", "PA_1", t0 + 1));
	PROCESS(room("EV_1", "room_started", "RM_a", t0));
	assert_true(slice_eq(together, call("RM_a")->facts));
}

static void a_name_goes_to_the_call_that_was_open_then(void **state)
{
	(void)state;
	PROCESS(room("EV_1", "room_started", "RM_1", t0), room("EV_2", "room_finished", "RM_1", t0 + 50));
	PROCESS(room("EV_3", "room_started", "RM_2", t0 + 100));
	PROCESS(joined("EV_4", NULL, "PA_first", t0 + 20));
	PROCESS(joined("EV_5", NULL, "PA_second", t0 + 120));
	PROCESS(joined("EV_6", NULL, "PA_between", t0 + 70));
	assert_true(facts_mention("RM_1", "PA_first") && !facts_mention("RM_2", "PA_first"));
	assert_true(facts_mention("RM_2", "PA_second") && !facts_mention("RM_1", "PA_second"));
	assert_false(facts_mention("RM_1", "PA_between") || facts_mention("RM_2", "PA_between"));
	assert_true(slice_eq_cstr(fake_row("EV_4")->room_sid, "RM_1"));
	assert_true(fake_row("EV_4")->processed);
	assert_false(fake_row("EV_6")->processed);
}

static void a_name_may_be_two_seconds_early(void **state)
{
	(void)state;
	PROCESS(room("EV_1", "room_started", "RM_1", t0));
	PROCESS(joined("EV_2", NULL, "PA_near", t0 - 2), joined("EV_3", NULL, "PA_far", t0 - 3));
	assert_true(facts_mention("RM_1", "PA_near"));
	assert_false(facts_mention("RM_1", "PA_far"));
}

static void a_name_finds_the_call_that_begins_in_its_batch(void **state)
{
	(void)state;
	struct sent *s = joined("EV_2", NULL, "PA_1", t0 + 1);
	PROCESS(s, room("EV_1", "room_started", "RM_1", t0));
	assert_string_equal(s->item.message, "Event processed");
	assert_true(facts_mention("RM_1", "PA_1"));
}

static void an_event_that_waited_is_bound_when_its_call_begins(void **state)
{
	(void)state;
	PROCESS(joined("EV_1", NULL, "PA_1", t0 + 1), joined("EV_2", NULL, "PA_late", t0 + 300));
	assert_int_equal(fake.call_count, 0);
	PROCESS(room("EV_3", "room_started", "RM_1", t0), room("EV_4", "room_finished", "RM_1", t0 + 30));
	assert_int_equal(fake.bind_count, 1);
	assert_true(slice_eq_cstr(fake.binds[0].event_id, "EV_1"));
	assert_true(slice_eq_cstr(fake.binds[0].room_sid, "RM_1"));
	assert_true(fake.binds[0].processed);
	assert_true(slice_is_none(fake.binds[0].error_message));
	assert_true(facts_mention("RM_1", "PA_1"));
	assert_false(facts_mention("RM_1", "PA_late"));
}

static void a_name_of_another_room_is_not_taken(void **state)
{
	(void)state;
	PROCESS(room("EV_1", "room_started", "RM_1", t0));
	PROCESS(sent_event("EV_2", "participant_joined", NULL, "another", t0 + 1, "\"participant\":{\"sid\":\"PA_1\"}"));
	assert_false(facts_mention("RM_1", "PA_1"));
	assert_false(fake_row("EV_2")->processed);
}

/* ---- facts that cannot be read ---- */

static void a_call_with_unreadable_facts_is_left_alone(void **state)
{
	(void)state;
	PROCESS(room("EV_1", "room_started", "RM_1", t0));
	fake_call_of("RM_1")->row.facts = SLICE("\x01 torn");
	struct sent *bad = joined("EV_2", "RM_1", "PA_1", t0), *good = room("EV_3", "room_started", "RM_2", t0);
	PROCESS(bad, good);
	assert_int_equal(good->item.result, INGEST_PROCESSED);
	assert_int_equal(bad->item.result, INGEST_QUARANTINED);
	assert_true(slice_eq_cstr(fake_row("EV_2")->error_message, "the call's stored facts cannot be read"));
	assert_true(slice_eq_cstr(call("RM_1")->facts, "\x01 torn"));
}

static void facts_of_another_room_are_not_believed(void **state)
{
	(void)state;
	PROCESS(room("EV_1", "room_started", "RM_1", t0), room("EV_2", "room_started", "RM_2", t0));
	fake_call_of("RM_1")->row.facts = call("RM_2")->facts;
	struct sent *s = joined("EV_3", "RM_1", "PA_1", t0);
	PROCESS(s);
	assert_int_equal(s->item.result, INGEST_QUARANTINED);
}

static void an_unreadable_call_is_due_once(void **state)
{
	(void)state;
	PROCESS(room("EV_1", "room_started", "RM_1", t0));
	fake_call_of("RM_1")->row.facts = SLICE("torn");
	fake_call_of("RM_1")->row.due_at_ms = t0 * 1000;
	assert_true(writer_look_again(&fake_writer, &SLICE("RM_1"), 1));
	assert_int_equal(call("RM_1")->due_at_ms, 0);
	assert_true(slice_eq_cstr(call("RM_1")->facts, "torn"));
}

/* ---- tenants ---- */

static void a_tenant_is_found_and_given_to_call_and_event(void **state)
{
	(void)state;
	PROCESS(of_tenant("EV_1", "RM_1", "user-1"));
	assert_true(slice_eq_cstr(call("RM_1")->user_id, "user-1"));
	assert_true(slice_eq_cstr(fake_row("EV_1")->user_id, "user-1"));
}

static void a_call_without_tenant_is_processed_and_gets_it_later(void **state)
{
	(void)state;
	PROCESS(room("EV_1", "room_started", "RM_1", t0));
	assert_true(fake_row("EV_1")->processed);
	assert_true(slice_is_none(call("RM_1")->user_id));
	int64_t writes = fake_call_of("RM_1")->verdict_writes;
	PROCESS(of_tenant("EV_2", "RM_1", "user-1"));
	assert_true(slice_eq_cstr(call("RM_1")->user_id, "user-1"));
	assert_int_equal(fake_call_of("RM_1")->verdict_writes, writes + 1);
}

static void a_dispute_keeps_the_events_aside(void **state)
{
	(void)state;
	PROCESS(of_tenant("EV_1", "RM_1", "user-1"));
	struct sent *s = of_tenant("EV_2", "RM_1", "user-2");
	PROCESS(s);
	assert_int_equal(s->item.result, INGEST_QUARANTINED);
	assert_true(slice_is_none(call("RM_1")->user_id));
	assert_true(call("RM_1")->tenant_error.n > 0);
	assert_false(fake_row("EV_2")->processed);
	assert_true(slice_eq(fake_row("EV_2")->error_message, call("RM_1")->tenant_error));
}

static void the_hosts_row_ends_a_dispute(void **state)
{
	(void)state;
	PROCESS(of_tenant("EV_1", "RM_1", "user-1"), of_tenant("EV_2", "RM_1", "user-2"));
	fake_call_of("RM_1")->row.host_user_id = SLICE("user-3");
	assert_true(writer_look_again(&fake_writer, &SLICE("RM_1"), 1));
	assert_true(slice_eq_cstr(call("RM_1")->user_id, "user-3"));
	assert_true(slice_is_none(call("RM_1")->tenant_error));
}

static void the_default_user_comes_only_after_the_end(void **state)
{
	(void)state;
	fake_options.default_user = SLICE("everybody");
	PROCESS(room("EV_1", "room_started", "RM_1", t0));
	assert_true(slice_is_none(call("RM_1")->user_id));
	PROCESS(room("EV_2", "room_finished", "RM_1", t0 + 9));
	assert_int_equal(call("RM_1")->new_verdict->status, CALL_ENDED);
	assert_true(slice_eq_cstr(call("RM_1")->user_id, "everybody"));
}

static void routes_are_witnesses_too(void **state)
{
	(void)state;
	struct route prefix = { ROUTE_ROOM_PREFIX, SLICE("na"), SLICE("user-7") };
	struct routes routes = { &prefix, 1 };
	fake_options.routes = &routes;
	PROCESS(room("EV_1", "room_started", "RM_1", t0));
	assert_true(slice_eq_cstr(call("RM_1")->user_id, "user-7"));
}

static void a_tenant_once_known_is_not_forgotten(void **state)
{
	(void)state;
	fake_options.default_user = SLICE("everybody");
	PROCESS(room("EV_1", "room_started", "RM_1", t0), room("EV_2", "room_finished", "RM_1", t0 + 9));
	fake_options.default_user = SLICE_NONE;
	PROCESS(joined("EV_3", "RM_1", "PA_1", t0 + 1));
	assert_true(slice_eq_cstr(call("RM_1")->user_id, "everybody"));
}

/* ---- what is a change ---- */

static void an_open_call_has_no_outcome_and_revision_0(void **state)
{
	(void)state;
	PROCESS(room("EV_1", "room_started", "RM_1", clock_wall_ms() / 1000));
	assert_true(slice_is_none(call("RM_1")->outcome));
	assert_int_equal(call("RM_1")->revision, 0);
	assert_int_equal(call("RM_1")->rules, VERDICT_RULES_VERSION);
	assert_true(call("RM_1")->verdict.n > 2 && call("RM_1")->verdict.p[0] == '{');
}

static void the_first_final_verdict_is_revision_1_and_counted(void **state)
{
	(void)state;
	PROCESS(room("EV_1", "room_started", "RM_1", t0), room("EV_2", "room_finished", "RM_1", t0 + 9));
	assert_false(slice_is_none(call("RM_1")->outcome));
	assert_int_equal(call("RM_1")->revision, 1);
	assert_int_equal(call("RM_1")->started_at_ms, call("RM_1")->new_verdict->started_at_ms);
	int64_t total = 0;
	for (size_t i = 0; i < 5; i++)
		total += counted(METRIC_CALLS, i);
	assert_int_equal(total, 1);
}

static void what_was_lost_is_counted_with_the_first_final_verdict(void **state)
{
	(void)state;
	PROCESS(room("EV_2", "room_finished", "RM_1", t0 + 9));
	assert_int_equal(counted(METRIC_LOSSES, LOSS_ROOM_STARTED), 1);
	PROCESS(joined("EV_3", "RM_1", "PA_1", t0 + 1));
	assert_int_equal(counted(METRIC_LOSSES, LOSS_ROOM_STARTED), 1);
	assert_int_equal(counted(METRIC_LOSSES, LOSS_LEFT), 0);
}

static void a_final_verdict_that_changes_is_the_next_revision(void **state)
{
	(void)state;
	PROCESS(room("EV_1", "room_started", "RM_1", t0), room("EV_2", "room_finished", "RM_1", t0 + 60));
	struct slice before = call("RM_1")->verdict;
	PROCESS(joined("EV_3", "RM_1", "PA_1", t0 + 1), joined("EV_4", "RM_1", "PA_2", t0 + 2));
	assert_false(slice_eq(before, call("RM_1")->verdict));
	assert_int_equal(call("RM_1")->revision, 2);
}

static void counting_goes_on_after_a_call_was_open_again(void **state)
{
	(void)state;
	PROCESS(room("EV_1", "room_started", "RM_1", t0), room("EV_2", "room_finished", "RM_1", t0 + 60));
	struct fake_call *c = fake_call_of("RM_1");
	c->row.revision = 4;
	c->row.outcome = SLICE_NONE;
	c->row.verdict = SLICE("{\"outcome\":null}");
	assert_true(writer_look_again(&fake_writer, &SLICE("RM_1"), 1));
	assert_int_equal(call("RM_1")->revision, 5);
	assert_int_equal(counted(METRIC_CALLS, (size_t)call("RM_1")->new_verdict->outcome - 1), 1);
}

static void looking_again_at_what_has_not_changed_writes_nothing(void **state)
{
	(void)state;
	PROCESS(room("EV_1", "room_started", "RM_1", t0), room("EV_2", "room_finished", "RM_1", t0 + 60));
	struct fake_call before = *fake_call_of("RM_1");
	assert_true(writer_look_again(&fake_writer, &SLICE("RM_1"), 1));
	assert_int_equal(fake_call_of("RM_1")->facts_writes, before.facts_writes);
	assert_int_equal(fake_call_of("RM_1")->verdict_writes, before.verdict_writes);
}

static void a_recording_changes_a_column_but_no_member(void **state)
{
	(void)state;
	PROCESS(room("EV_1", "room_started", "RM_1", t0), room("EV_2", "room_finished", "RM_1", t0 + 60));
	struct fake_call before = *fake_call_of("RM_1");
	PROCESS(sent_event("EV_3", "egress_ended", NULL, NULL, t0 + 62, "\"egressInfo\":{\"egressId\":\"EG_1\",\"roomId\":\"RM_1\","
		"\"status\":\"EGRESS_COMPLETE\",\"fileResults\":[{\"location\":\"s3://calls/1.ogg\"}]}"));
	assert_true(slice_eq_cstr(call("RM_1")->new_verdict->recording_url, "s3://calls/1.ogg"));
	assert_true(slice_eq(before.row.verdict, call("RM_1")->verdict));
	assert_int_equal(fake_call_of("RM_1")->verdict_writes, before.verdict_writes + 1);
	assert_int_equal(call("RM_1")->revision, 1);
}

static void a_due_time_that_has_passed_is_not_due_at_once(void **state)
{
	(void)state;
	PROCESS(room("EV_1", "room_started", "RM_1", clock_wall_ms() / 1000));
	fake_call_of("RM_1")->row.due_at_ms = t0 * 1000;
	assert_true(writer_look_again(&fake_writer, &SLICE("RM_1"), 1));
	int64_t due = call("RM_1")->due_at_ms;
	assert_true(due == 0 || due > clock_wall_ms());
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, fake_teardown)
	const struct CMUnitTest tests[] = {
		CASE(events_go_to_the_room_they_name),
		CASE(facts_are_the_same_in_one_batch_or_in_many),
		CASE(a_name_goes_to_the_call_that_was_open_then),
		CASE(a_name_may_be_two_seconds_early),
		CASE(a_name_finds_the_call_that_begins_in_its_batch),
		CASE(an_event_that_waited_is_bound_when_its_call_begins),
		CASE(a_name_of_another_room_is_not_taken),
		CASE(a_call_with_unreadable_facts_is_left_alone),
		CASE(facts_of_another_room_are_not_believed),
		CASE(an_unreadable_call_is_due_once),
		CASE(a_tenant_is_found_and_given_to_call_and_event),
		CASE(a_call_without_tenant_is_processed_and_gets_it_later),
		CASE(a_dispute_keeps_the_events_aside),
		CASE(the_hosts_row_ends_a_dispute),
		CASE(the_default_user_comes_only_after_the_end),
		CASE(routes_are_witnesses_too),
		CASE(a_tenant_once_known_is_not_forgotten),
		CASE(an_open_call_has_no_outcome_and_revision_0),
		CASE(what_was_lost_is_counted_with_the_first_final_verdict),
		CASE(the_first_final_verdict_is_revision_1_and_counted),
		CASE(a_final_verdict_that_changes_is_the_next_revision),
		CASE(counting_goes_on_after_a_call_was_open_again),
		CASE(looking_again_at_what_has_not_changed_writes_nothing),
		CASE(a_recording_changes_a_column_but_no_member),
		CASE(a_due_time_that_has_passed_is_not_due_at_once),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
