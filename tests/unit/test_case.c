/* core/case.c: the primary leg, what is known for sure, and when a call is over. */
#include "core_fixture.h"

#include "core/case.h"

static struct call_case case_of(struct history *h)
{
	struct call_case c;
	assert_int_equal(case_make(facts_of(h), h->a, &c), 0);
	return c;
}

static bool holds(struct history *h, unsigned need) { return (case_of(h).rule_case.holds & need) == need; }

static struct who second_leg(int64_t joined_ms)
{
	struct who w = CALLEE;
	w.sid = "PA_second";
	w.call = "SCL_2";
	w.identity = "sip_2";
	w.joined_ms = joined_ms;
	return w;
}

static void the_first_answered_leg_is_primary(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	struct who second = second_leg(3000);
	dial(h);
	leaves(h, &CALLEE, REASON_USER_REJECTED, STATUS_RINGING, false, 2000);
	joins(h, &second, STATUS_DIALING, 3030);
	leaves(h, &second, REASON_CLIENT_INITIATED, STATUS_HANGUP, true, 9000);
	assert_true(slice_eq_cstr(case_of(h).leg->call_id, "SCL_2"));
}

static void with_none_answered_the_last_one_tried_is_primary(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	struct who second = second_leg(3000);
	leaves(h, &second, REASON_USER_UNAVAILABLE, STATUS_RINGING, false, 9000);
	dial(h);
	leaves(h, &CALLEE, REASON_USER_REJECTED, STATUS_RINGING, false, 2000);
	assert_true(slice_eq_cstr(case_of(h).leg->call_id, "SCL_2"));
}

static void an_earlier_leg_without_an_end_may_have_been_the_answered_one(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	struct who second = second_leg(3000);
	dial(h);
	leaves(h, &second, REASON_CLIENT_INITIATED, STATUS_HANGUP, true, 9000);
	assert_false(holds(h, NEED_LEGS));
	leaves(h, &CALLEE, REASON_USER_REJECTED, STATUS_RINGING, false, 2000);
	assert_true(holds(h, NEED_LEGS));
}

static void an_agent_fares_well_when_it_left_in_good_order_or_outlived_the_call(void **state)
{
	(void)state;
	static const struct {
		enum disconnect_reason reason;
		int64_t at_ms;
		bool well;
	} LEAVES[] = {
		{ REASON_CLIENT_INITIATED, 4000, true }, { REASON_ROOM_CLOSED, 7000, true }, { REASON_ROOM_DELETED, 5000, true },
		{ REASON_AGENT_ERROR, 4000, false }, { REASON_AGENT_ERROR, 8000, true }, { REASON_CONNECTION_TIMEOUT, 4000, false },
		{ REASON_CONNECTION_TIMEOUT, 25000, false }, /* it died up to 20 s before */
		{ REASON_CONNECTION_TIMEOUT, 50000, true }, { REASON_SERVER_SHUTDOWN, 4000, false },
	};
	_cleanup_history_ struct history *h = history_new();
	dial(h);
	leaves(h, &CALLEE, REASON_CLIENT_INITIATED, STATUS_HANGUP, true, 5000);
	assert_false(holds(h, NEED_AGENTS)); /* its leave is not seen */
	size_t before = h->n;
	for (size_t i = 0; i < sizeof LEAVES / sizeof LEAVES[0]; i++) {
		h->n = before;
		goes(h, &AGENT, LEAVES[i].reason, LEAVES[i].at_ms);
		assert_int_equal(holds(h, NEED_AGENTS), LEAVES[i].well);
	}
	h->n = before;
	publishes(h, &AGENT, "TR_later", 7000);
	assert_true(holds(h, NEED_AGENTS)); /* no leave, but it was active after the end */
}

static void an_agent_error_long_before_the_end_or_made_good_by_another_is_no_cause(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	struct who other = AGENT;
	other.sid = "PA_agent2";
	other.identity = "agent-AJ_2";
	other.joined_ms = 6000;
	dial(h);
	goes(h, &AGENT, REASON_AGENT_ERROR, 5000);
	leaves(h, &CALLEE, REASON_CLIENT_INITIATED, STATUS_HANGUP, true, 20000);
	assert_true(case_of(h).rule_case.flags & FLAG_AGENT_ERROR);
	joins(h, &other, STATUS_NONE, 6030);
	assert_false(case_of(h).rule_case.flags & FLAG_AGENT_ERROR);
	h->n -= 2;
	leaves(h, &CALLEE, REASON_CLIENT_INITIATED, STATUS_HANGUP, true, 60000);
	assert_false(case_of(h).rule_case.flags & FLAG_AGENT_ERROR);
}

static void nothing_came_after_when_the_room_closed_as_soon_as_it_may(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	dial(h);
	leaves(h, &CALLEE, REASON_USER_UNAVAILABLE, STATUS_RINGING, false, 5000);
	assert_false(holds(h, NEED_NOTHING_AFTER)); /* no room_finished */
	room_finished(h, 8000);
	assert_true(holds(h, NEED_NOTHING_AFTER));
	h->n -= 1;
	room_finished(h, 15000); /* ten seconds with a departure timeout of two */
	assert_false(holds(h, NEED_NOTHING_AFTER));
}

static void a_short_talk_excludes_the_media_timeout(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	call_in(h);
	joins(h, &AGENT, STATUS_NONE, 1500);
	publishes(h, &AGENT, "TR_agent", 2000);
	leaves(h, &CALLER, REASON_CLIENT_INITIATED, STATUS_HANGUP, true, 15000);
	assert_true(holds(h, NEED_SHORT_TALK | NEED_AUDIO | NEED_COUNTERPART));
	h->events[h->n - 1].created_at_s += 2;
	assert_false(holds(h, NEED_SHORT_TALK));
}

static void the_time_that_passed_is_floored_and_zero_at_least(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	dial_and_end(h, REASON_USER_UNAVAILABLE, STATUS_DIALING, false, 32100);
	assert_int_equal(case_of(h).rule_case.elapsed_s, 31);
	h->n = 0;
	struct who late = CALLEE;
	late.joined_ms = 900;
	leaves(h, &late, REASON_CLIENT_INITIATED, STATUS_DIALING, false, 950);
	assert_int_equal(case_of(h).rule_case.elapsed_s, 0);
	h->n = 0;
	joins(h, &CALLEE, STATUS_DIALING, 80);
	assert_int_equal(case_of(h).rule_case.elapsed_s, -1);
}

static void a_call_is_over_at_once_when_its_room_finished(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	bool over;
	dial_and_end(h, REASON_USER_REJECTED, STATUS_RINGING, false, 2000);
	struct call_case c = case_of(h);
	assert_int_equal(case_deadline_ms(&c, &over), 0);
	assert_true(over);
}

static int64_t deadline(struct history *h)
{
	bool over = true;
	struct call_case c = case_of(h);
	int64_t due = case_deadline_ms(&c, &over);
	assert_false(over);
	return due ? (due - T0) / 1000 : 0;
}

/* The next full ten minutes after so many seconds, seen from T0 as `deadline` is. */
static int64_t full_ten_minutes(int64_t s) { return (T0 / 1000 + s + 599) / 600 * 600 - T0 / 1000; }

static void without_room_finished_it_is_over_after_departure_and_delivery(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	dial(h);
	leaves(h, &CALLEE, REASON_USER_REJECTED, STATUS_RINGING, false, 2000);
	assert_int_equal(deadline(h), 2 + 2 + 45);
	for (size_t i = 0; i < h->n; i++)
		h->events[i].room.departure_timeout_s = 0;
	assert_int_equal(deadline(h), 2 + 20 + 45);
}

static void another_guest_in_the_room_keeps_the_call_open(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	dial(h);
	joins(h, &USER, STATUS_NONE, 40);
	leaves(h, &CALLEE, REASON_USER_REJECTED, STATUS_RINGING, false, 2000);
	assert_int_equal(deadline(h), full_ten_minutes(2 + 6 * 3600));
	goes(h, &USER, REASON_CLIENT_INITIATED, 9000);
	assert_int_equal(deadline(h), 9 + 2 + 45);
}

static void a_leave_because_the_room_closed_needs_only_the_delivery_time(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	dial(h);
	goes(h, &AGENT, REASON_ROOM_DELETED, 9000);
	assert_int_equal(deadline(h), 9 + 45);
}

static void a_phone_that_may_be_talking_is_waited_for_longer_than_a_day(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	dial(h);
	assert_int_equal(deadline(h), full_ten_minutes(25 * 3600));
	h->n = 0;
	call_in(h);
	assert_int_equal(deadline(h), full_ten_minutes(6 * 3600));
}

static void a_room_that_waits_for_its_user_outlives_an_agent(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	room_started(h);
	joins(h, &AGENT, STATUS_NONE, 30);
	goes(h, &AGENT, REASON_CLIENT_INITIATED, 5000);
	assert_int_equal(deadline(h), 5 + 300 + 45);
}

static void a_witness_of_the_end_closes_the_call(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	dial(h);
	(void)marks(h, MARK_ENDED, MARK_SOURCE_WATCHER, 0, 30000);
	assert_int_equal(deadline(h), 30 + 45);
}

static void facts_about_nothing_are_never_due(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	assert_int_equal(deadline(h), 0);
}

static void confidence_falls_where_a_need_does_not_hold(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	struct call_case c = case_of(h);
	struct rule sure = { .confidence = CONFIDENCE_CERTAIN, .needs = NEED_KINDS | NEED_LEGS };
	struct rule vague = { .confidence = CONFIDENCE_AMBIGUOUS };
	c.rule_case.holds = NEED_KINDS | NEED_LEGS | NEED_AUDIO;
	assert_int_equal(case_confidence(&c, &sure), CONFIDENCE_CERTAIN);
	c.rule_case.holds = NEED_KINDS;
	assert_int_equal(case_confidence(&c, &sure), CONFIDENCE_LIKELY);
	assert_int_equal(case_confidence(&c, &vague), CONFIDENCE_AMBIGUOUS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_first_answered_leg_is_primary),
		cmocka_unit_test(with_none_answered_the_last_one_tried_is_primary),
		cmocka_unit_test(an_earlier_leg_without_an_end_may_have_been_the_answered_one),
		cmocka_unit_test(an_agent_fares_well_when_it_left_in_good_order_or_outlived_the_call),
		cmocka_unit_test(an_agent_error_long_before_the_end_or_made_good_by_another_is_no_cause),
		cmocka_unit_test(nothing_came_after_when_the_room_closed_as_soon_as_it_may),
		cmocka_unit_test(a_short_talk_excludes_the_media_timeout),
		cmocka_unit_test(the_time_that_passed_is_floored_and_zero_at_least),
		cmocka_unit_test(a_call_is_over_at_once_when_its_room_finished),
		cmocka_unit_test(without_room_finished_it_is_over_after_departure_and_delivery),
		cmocka_unit_test(another_guest_in_the_room_keeps_the_call_open),
		cmocka_unit_test(a_leave_because_the_room_closed_needs_only_the_delivery_time),
		cmocka_unit_test(a_phone_that_may_be_talking_is_waited_for_longer_than_a_day),
		cmocka_unit_test(a_room_that_waits_for_its_user_outlives_an_agent),
		cmocka_unit_test(a_witness_of_the_end_closes_the_call),
		cmocka_unit_test(facts_about_nothing_are_never_due),
		cmocka_unit_test(confidence_falls_where_a_need_does_not_hold),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
