/* ingest/marks.c: which call a mark is about, whose marks count for whom, what becomes of those that wait, and idempotency keys. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "base/clock.h"
#include "fake_store.h"

static int64_t t0; /* some minutes ago, seconds */

static int setup(void **state)
{
	t0 = clock_wall_ms() / 1000 - 600;
	return fake_setup(state);
}

static const char *at(int64_t ms)
{
	_cleanup_buf_ struct buf b = BUF_INIT;
	buf_put_rfc3339_ms(&b, ms);
	buf_putc(&b, '\0');
	return fake_keep(buf_slice(&b)).p;
}

/* `more` begins with a comma. */
static struct sent *mark_of(const char *tenant, const char *member, const char *name, const char *more)
{
	char body[600];
	snprintf(body, sizeof body, "{\"%s\":\"%s\"%s}", member, name, more);
	return sent_mark(body, tenant, NULL);
}

static struct sent *note(const char *tenant, const char *member, const char *name, const char *text, int64_t at_ms)
{
	char more[200];
	snprintf(more, sizeof more, ",\"kind\":\"note\",\"value\":\"%s\",\"at\":\"%s\"", text, at(at_ms));
	return mark_of(tenant, member, name, more);
}

static struct sent *room(const char *id, const char *type, const char *sid, const char *name, int64_t at_s)
{
	return sent_event(id, type, sid, name, at_s, NULL);
}

/* The room's beginning to the millisecond. */
static struct sent *started(const char *id, const char *sid, const char *name, int64_t at_ms, const char *tenant)
{
	char body[400], owner[100] = "";
	if (tenant)
		snprintf(owner, sizeof owner, ",\"metadata\":\"{\\\"user_id\\\":\\\"%s\\\"}\"", tenant);
	snprintf(body, sizeof body, "{\"id\":\"%s\",\"event\":\"room_started\",\"createdAt\":\"%lld\",\"room\":{\"sid\":\"%s\",\"name\":\"%s\",\"creationTimeMs\":\"%lld\"%s}}",
		id, (long long)at_ms / 1000, sid, name, (long long)at_ms, owner);
	return sent_body(body);
}

static struct sent *leg(const char *id, const char *sid, const char *call_id, int64_t at_s)
{
	char more[400];
	snprintf(more, sizeof more, "\"participant\":{\"sid\":\"PA_%s\",\"identity\":\"who\",\"kind\":\"SIP\",\"joinedAtMs\":\"%lld\",\"attributes\":{\"sip.callID\":\"%s\","
		"\"sip.callStatus\":\"dialing\"}}", id, (long long)at_s * 1000, call_id);
	return sent_event(id, "participant_joined", sid, "name", at_s, more);
}

static struct sent *left(const char *id, const char *sid, const char *of, const char *call_id, int64_t at_s)
{
	char more[400];
	snprintf(more, sizeof more, "\"participant\":{\"sid\":\"PA_%s\",\"identity\":\"who\",\"kind\":\"SIP\",\"disconnectReason\":\"USER_REJECTED\",\"attributes\":"
		"{\"sip.callID\":\"%s\",\"sip.callStatus\":\"ringing\"}}", of, call_id);
	return sent_event(id, "participant_left", sid, "name", at_s, more);
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

static bool verdict_mentions(const char *sid, const char *what)
{
	struct slice v = call(sid)->verdict;
	return memmem(v.p, v.n, what, strlen(what)) != NULL;
}

static const struct journal_row *row_of(const struct sent *s)
{
	char id[100];
	snprintf(id, sizeof id, "%.*s", SLICE_FMT(s->decoded.event.id));
	return fake_row(id);
}

static void assert_waits(const struct sent *s)
{
	assert_int_equal(s->item.result, INGEST_PROCESSED);
	assert_string_equal(s->item.message, "Event kept until its call is known");
	assert_false(row_of(s)->processed);
	assert_true(slice_eq_cstr(row_of(s)->error_message, STORE_WAITS));
	assert_true(slice_is_none(row_of(s)->room_sid));
}

static void assert_taken(const struct sent *s, const char *sid)
{
	assert_int_equal(s->item.result, INGEST_PROCESSED);
	assert_string_equal(s->item.message, "Event processed");
	assert_true(row_of(s)->processed && slice_eq_cstr(row_of(s)->room_sid, sid));
}

static const struct bind_row *bind_of(const struct sent *s)
{
	for (size_t i = 0; i < fake.bind_count; i++)
		if (slice_eq(fake.binds[i].event_id, s->decoded.event.id))
			return &fake.binds[i];
	return NULL;
}

/* ---- by room SID ---- */

static void a_mark_by_room_sid_is_of_that_room(void **state)
{
	(void)state;
	struct sent *m = note(NULL, "roomSid", "RM_1", "seen", t0 * 1000);
	PROCESS(started("EV_1", "RM_1", "name", t0 * 1000, "alice"), started("EV_2", "RM_2", "name", t0 * 1000, "alice"));
	PROCESS(m);
	assert_taken(m, "RM_1");
	assert_true(facts_mention("RM_1", "seen") && !facts_mention("RM_2", "seen"));
	assert_true(slice_eq_cstr(row_of(m)->user_id, "alice"));
	assert_false(row_of(m)->own_tenant);
}

static void a_mark_may_come_before_the_first_event(void **state)
{
	(void)state;
	PROCESS(note(NULL, "roomSid", "RM_1", "early", t0 * 1000));
	PROCESS(started("EV_1", "RM_1", "name", t0 * 1000, "alice"));
	assert_true(facts_mention("RM_1", "early"));
	assert_true(slice_eq_cstr(call("RM_1")->user_id, "alice"));
	assert_true(slice_eq_cstr(call("RM_1")->room_name, "name"));
}

static void facts_are_the_same_whichever_comes_first(void **state)
{
	(void)state;
	struct sent *m = note("alice", "roomSid", "RM_1", "seen", t0 * 1000);
	PROCESS(started("EV_1", "RM_1", "name", t0 * 1000, "alice"), m);
	struct slice one = call("RM_1")->facts, verdict = call("RM_1")->verdict;
	fake.call_count = fake.row_count = 0;
	m->answers = 0;
	PROCESS(m);
	PROCESS(started("EV_1", "RM_1", "name", t0 * 1000, "alice"));
	assert_true(slice_eq(one, call("RM_1")->facts));
	assert_true(slice_eq(verdict, call("RM_1")->verdict));
}

/* ---- by room name ---- */

static void a_name_is_the_call_that_was_open_at_the_millisecond(void **state)
{
	(void)state;
	int64_t t = t0 * 1000;
	PROCESS(started("EV_1", "RM_1", "name", t, NULL), room("EV_2", "room_finished", "RM_1", "name", t0 + 10));
	PROCESS(started("EV_3", "RM_2", "name", t + 10400, NULL));
	PROCESS(note(NULL, "roomName", "name", "first", t + 10000));
	PROCESS(note(NULL, "roomName", "name", "second", t + 10500));
	assert_true(facts_mention("RM_1", "first") && !facts_mention("RM_2", "first"));
	assert_true(facts_mention("RM_2", "second") && !facts_mention("RM_1", "second"));
}

static void a_name_may_be_a_little_early_and_somewhat_late(void **state)
{
	(void)state;
	int64_t t = t0 * 1000;
	PROCESS(started("EV_1", "RM_1", "name", t, NULL), room("EV_2", "room_finished", "RM_1", "name", t0 + 10));
	struct sent *far[] = { note(NULL, "roomName", "name", "before", t - 2001), note(NULL, "roomName", "name", "after", t + 41000) };
	PROCESS(note(NULL, "roomName", "name", "early", t - 2000), note(NULL, "roomName", "name", "late", t + 40999), far[0], far[1]);
	assert_true(facts_mention("RM_1", "early") && facts_mention("RM_1", "late"));
	assert_false(facts_mention("RM_1", "before") || facts_mention("RM_1", "after"));
	assert_waits(far[0]);
	assert_waits(far[1]);
}

static void a_name_that_waited_is_bound_when_its_call_begins(void **state)
{
	(void)state;
	struct sent *m = note("alice", "roomName", "name", "early", t0 * 1000 + 500), *other = note("bob", "roomName", "name", "other", t0 * 1000 + 500);
	PROCESS(m, other);
	assert_waits(m);
	assert_true(row_of(m)->own_tenant && slice_eq_cstr(row_of(m)->user_id, "alice"));
	PROCESS(started("EV_1", "RM_1", "name", t0 * 1000, "alice"));
	assert_true(facts_mention("RM_1", "early") && !facts_mention("RM_1", "other"));
	assert_true(bind_of(m)->processed && bind_of(m)->own_tenant && slice_eq_cstr(bind_of(m)->room_sid, "RM_1"));
	assert_null(bind_of(other)); /* bob may have a call of that name yet */
}

static void a_name_does_not_name_another_tenants_call(void **state)
{
	(void)state;
	int64_t t = t0 * 1000;
	PROCESS(started("EV_1", "RM_a", "shared", t, "alice"), started("EV_2", "RM_b", "shared", t + 1000, "bob"));
	struct sent *a = note("alice", "roomName", "shared", "of alice", t + 5000), *b = note("bob", "roomName", "shared", "of bob", t + 5000);
	struct sent *c = note("carol", "roomName", "shared", "of carol", t + 5000);
	PROCESS(a, b, c);
	assert_taken(a, "RM_a");
	assert_taken(b, "RM_b");
	assert_waits(c);
	assert_false(facts_mention("RM_a", "bob%20") || facts_mention("RM_a", "of bob") || facts_mention("RM_b", "of alice"));
	assert_false(facts_mention("RM_a", "carol") || facts_mention("RM_b", "carol"));
}

/* ---- by leg ---- */

static void a_leg_leads_to_its_call(void **state)
{
	(void)state;
	PROCESS(leg("EV_1", "RM_1", "SCL_1", t0), leg("EV_2", "RM_2", "SCL_2", t0));
	assert_int_equal(fake.leg_count, 2);
	struct sent *m = note(NULL, "sipCallId", "SCL_2", "seen", t0 * 1000);
	PROCESS(m);
	assert_taken(m, "RM_2");
	assert_true(slice_eq_cstr(row_of(m)->sip_call_id, "SCL_2"));
	assert_true(facts_mention("RM_2", "seen") && !facts_mention("RM_1", "seen"));
}

static void a_leg_that_comes_in_the_same_batch_is_found(void **state)
{
	(void)state;
	struct sent *m = note(NULL, "sipCallId", "SCL_1", "seen", t0 * 1000);
	PROCESS(m, leg("EV_1", "RM_1", "SCL_1", t0));
	assert_taken(m, "RM_1");
}

static void a_leg_that_is_not_there_yet_is_waited_for(void **state)
{
	(void)state;
	struct sent *m = note(NULL, "sipCallId", "SCL_1", "early", t0 * 1000), *other = note(NULL, "sipCallId", "SCL_9", "other", t0 * 1000);
	PROCESS(m, other);
	assert_waits(m);
	PROCESS(leg("EV_1", "RM_1", "SCL_1", t0));
	assert_true(facts_mention("RM_1", "early"));
	assert_true(bind_of(m)->processed);
	assert_null(bind_of(other));
}

static void of_two_calls_with_a_leg_the_open_one_is_meant_else_the_latest(void **state)
{
	(void)state;
	int64_t t = t0 * 1000;
	PROCESS(started("EV_1", "RM_1", "name", t, NULL), leg("EV_2", "RM_1", "SCL_1", t0 + 1), room("EV_3", "room_finished", "RM_1", "name", t0 + 20));
	PROCESS(started("EV_4", "RM_2", "name", t + 30000, NULL), leg("EV_5", "RM_2", "SCL_1", t0 + 31), room("EV_6", "room_finished", "RM_2", "name", t0 + 50));
	PROCESS(note(NULL, "sipCallId", "SCL_1", "first", t + 10000), note(NULL, "sipCallId", "SCL_1", "second", t + 40000),
		note(NULL, "sipCallId", "SCL_1", "between", t + 25000));
	assert_true(facts_mention("RM_1", "first") && !facts_mention("RM_1", "second") && !facts_mention("RM_1", "between"));
	assert_true(facts_mention("RM_2", "second") && facts_mention("RM_2", "between"));
}

static void a_leg_is_written_once(void **state)
{
	(void)state;
	PROCESS(leg("EV_1", "RM_1", "SCL_1", t0));
	PROCESS(leg("EV_2", "RM_1", "SCL_1", t0 + 5)); /* the fake store refuses a second one */
	assert_int_equal(fake.leg_count, 1);
	PROCESS(leg("EV_3", "RM_1", "SCL_2", t0 + 9));
	assert_int_equal(fake.leg_count, 2);
}

/* ---- whose mark it is ---- */

static void anothers_mark_is_kept_aside_and_answered_like_one_of_no_call(void **state)
{
	(void)state;
	PROCESS(started("EV_1", "RM_1", "name", t0 * 1000, "alice"), leg("EV_2", "RM_1", "SCL_1", t0));
	struct slice facts = call("RM_1")->facts;
	struct sent *by_sid = note("bob", "roomSid", "RM_1", "secret", t0 * 1000), *by_leg = note("bob", "sipCallId", "SCL_1", "secret", t0 * 1000);
	struct sent *none = note("bob", "roomSid", "RM_none", "x", t0 * 1000), *no_leg = note("bob", "sipCallId", "SCL_none", "x", t0 * 1000);
	PROCESS(by_sid, by_leg, none, no_leg);
	struct sent *all[] = { by_sid, by_leg, none, no_leg };
	for (size_t i = 0; i < 4; i++) {
		assert_int_equal(all[i]->item.result, INGEST_PROCESSED);
		assert_string_equal(all[i]->item.message, "Event kept until its call is known");
		assert_true(slice_eq_cstr(row_of(all[i])->user_id, "bob") && row_of(all[i])->own_tenant);
	}
	assert_true(slice_eq(facts, call("RM_1")->facts));
	for (size_t i = 0; i < 2; i++) {
		assert_false(row_of(all[i])->processed);
		assert_true(slice_eq_cstr(row_of(all[i])->error_message, STORE_OTHER_TENANT));
	}
}

static void a_mark_that_waited_for_anothers_leg_waits_no_longer(void **state)
{
	(void)state;
	struct sent *m = note("bob", "sipCallId", "SCL_1", "secret", t0 * 1000);
	PROCESS(m);
	assert_waits(m);
	PROCESS(started("EV_1", "RM_1", "name", t0 * 1000, "alice"), leg("EV_2", "RM_1", "SCL_1", t0));
	assert_false(facts_mention("RM_1", "secret"));
	assert_non_null(bind_of(m));
	assert_false(bind_of(m)->processed);
	assert_true(slice_is_none(bind_of(m)->room_sid) && slice_eq_cstr(bind_of(m)->error_message, STORE_OTHER_TENANT));
}

/* The mark comes while nobody knows whose the call is. */
static void a_mark_counts_only_for_the_tenant_that_posted_it(void **state)
{
	(void)state;
	const char *said = ",\"source\":\"dialer\",\"sipCode\":486,\"sipText\":\"Secretly Busy\"";
	for (int same = 0; same < 2; same++) {
		char sid[20], ids[4][30], id[100];
		snprintf(sid, sizeof sid, "RM_%d", same);
		for (int i = 0; i < 4; i++)
			snprintf(ids[i], sizeof ids[i], "EV_%d%d", same, i);
		struct sent *m = mark_of(same ? "alice" : "bob", "roomSid", sid, said);
		PROCESS(leg(ids[0], sid, "SCL_1", t0), m);
		assert_true(row_of(m)->processed);
		assert_true(facts_mention(sid, "486"));
		snprintf(id, sizeof id, "%.*s", SLICE_FMT(m->decoded.event.id));
		PROCESS(left(ids[1], sid, ids[0], "SCL_1", t0 + 20), room(ids[2], "room_finished", sid, "name", t0 + 22));
		assert_false(verdict_mentions(sid, id));
		PROCESS(started(ids[3], sid, "name", t0 * 1000, "alice"));
		assert_true(slice_eq_cstr(call(sid)->user_id, "alice"));
		assert_int_equal(verdict_mentions(sid, id), same);
	}
}

static void a_dispute_does_not_touch_a_tenants_own_mark(void **state)
{
	(void)state;
	PROCESS(started("EV_1", "RM_1", "name", t0 * 1000, "alice"), started("EV_2", "RM_1", "name", t0 * 1000, "bob"));
	assert_true(call("RM_1")->tenant_error.n > 0);
	struct sent *own = note("alice", "roomSid", "RM_1", "x", t0 * 1000), *any = note(NULL, "roomSid", "RM_1", "y", t0 * 1000);
	PROCESS(own, any);
	assert_int_equal(own->item.result, INGEST_PROCESSED);
	assert_string_equal(own->item.message, "Event kept until its call is known");
	assert_true(row_of(own)->processed && slice_is_none(row_of(own)->error_message));
	assert_int_equal(any->item.result, INGEST_QUARANTINED);
	assert_true(slice_eq(row_of(any)->error_message, call("RM_1")->tenant_error));
}

static void a_route_is_known_before_the_call_is_judged(void **state)
{
	(void)state;
	struct route prefix = { ROUTE_ROOM_PREFIX, SLICE("na"), SLICE("alice") };
	struct routes routes = { &prefix, 1 };
	fake_options.routes = &routes;
	struct sent *m = note("bob", "roomSid", "RM_1", "secret", t0 * 1000);
	PROCESS(started("EV_1", "RM_1", "name", t0 * 1000, NULL), m);
	assert_false(facts_mention("RM_1", "secret"));
}

/* ---- a call that is over ---- */

static void a_mark_after_the_last_event_gives_a_new_verdict_and_revision(void **state)
{
	(void)state;
	PROCESS(started("EV_1", "RM_1", "name", t0 * 1000, "alice"), leg("EV_2", "RM_1", "SCL_1", t0), left("EV_3", "RM_1", "EV_2", "SCL_1", t0 + 9),
		room("EV_4", "room_finished", "RM_1", "name", t0 + 11));
	assert_int_equal(call("RM_1")->revision, 1);
	PROCESS(mark_of("alice", "roomSid", "RM_1", ",\"source\":\"dialer\",\"sipCode\":603"));
	assert_int_equal(call("RM_1")->revision, 2);
	assert_true(verdict_mentions("RM_1", "603"));
	PROCESS(mark_of("alice", "roomSid", "RM_1", ",\"source\":\"dialer\",\"sipCode\":603,\"at\":null"));
	assert_int_equal(call("RM_1")->revision, 2);
}

static void a_call_of_marks_alone_is_judged_in_the_end(void **state)
{
	(void)state;
	PROCESS(note(NULL, "roomSid", "RM_1", "alone", t0 * 1000));
	assert_true(call("RM_1")->due_at_ms > 0);
}

/* ---- idempotency keys ---- */

static void a_key_used_again_for_another_mark_is_a_conflict(void **state)
{
	(void)state;
	const char *one = "{\"roomSid\":\"RM_1\",\"sipCode\":486}", *two = "{\"roomSid\":\"RM_1\",\"sipCode\":603}";
	struct sent *first = sent_mark(one, "alice", "key"), *again = sent_mark(" {\"sipCode\": 486, \"roomSid\": \"RM_1\"}", "alice", "key");
	struct sent *other = sent_mark(two, "alice", "key"), *bobs = sent_mark(two, "bob", "key");
	PROCESS(first, sent_mark(two, "alice", "key"));
	PROCESS(again, other, bobs);
	assert_int_equal(first->item.result, INGEST_PROCESSED);
	assert_int_equal(again->item.result, INGEST_DUPLICATE);
	assert_int_equal(other->item.result, INGEST_CONFLICT);
	assert_int_equal(bobs->item.result, INGEST_PROCESSED);
	assert_int_equal(counted(METRIC_EVENT_RESULTS, INGEST_CONFLICT), 2);
	assert_int_equal(counted(METRIC_MARKS, MARK_SIP_RESULT - 1), 2);
	assert_int_equal(counted(METRIC_MARK_SOURCES, MARK_SOURCE_APP - 1), 2);
}

int main(void)
{
#define WITH_STORE(f) cmocka_unit_test_setup_teardown(f, setup, fake_teardown)
	const struct CMUnitTest tests[] = {
		WITH_STORE(a_mark_by_room_sid_is_of_that_room),
		WITH_STORE(a_mark_may_come_before_the_first_event),
		WITH_STORE(facts_are_the_same_whichever_comes_first),
		WITH_STORE(a_name_is_the_call_that_was_open_at_the_millisecond),
		WITH_STORE(a_name_may_be_a_little_early_and_somewhat_late),
		WITH_STORE(a_name_that_waited_is_bound_when_its_call_begins),
		WITH_STORE(a_name_does_not_name_another_tenants_call),
		WITH_STORE(a_leg_leads_to_its_call),
		WITH_STORE(a_leg_that_comes_in_the_same_batch_is_found),
		WITH_STORE(a_leg_that_is_not_there_yet_is_waited_for),
		WITH_STORE(of_two_calls_with_a_leg_the_open_one_is_meant_else_the_latest),
		WITH_STORE(a_leg_is_written_once),
		WITH_STORE(anothers_mark_is_kept_aside_and_answered_like_one_of_no_call),
		WITH_STORE(a_mark_that_waited_for_anothers_leg_waits_no_longer),
		WITH_STORE(a_mark_counts_only_for_the_tenant_that_posted_it),
		WITH_STORE(a_dispute_does_not_touch_a_tenants_own_mark),
		WITH_STORE(a_route_is_known_before_the_call_is_judged),
		WITH_STORE(a_mark_after_the_last_event_gives_a_new_verdict_and_revision),
		WITH_STORE(a_call_of_marks_alone_is_judged_in_the_end),
		WITH_STORE(a_key_used_again_for_another_mark_is_a_conflict),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
