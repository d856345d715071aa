/* core/presence.c: who met whom without a phone, and whose leaving ended it. */
#include "core_fixture.h"

#include "core/legs.h"

static const struct who SECOND_USER = { .sid = "PA_user2", .identity = "web-user-2", .kind = KIND_STANDARD, .joined_ms = 1000 };

static struct presence presence_of(struct history *h)
{
	struct room_view v;
	struct presence p;
	assert_int_equal(room_view_make(facts_of(h), h->a, &v), 0);
	assert_int_equal(presence_make(&v, h->a, &p), 0);
	return p;
}

static void assert_ended_by(struct presence p, const struct who *w)
{
	assert_non_null(p.end);
	assert_true(slice_eq_cstr(p.end->session->sid, w->sid));
}

static void a_user_and_an_agent_at_the_same_time_have_met(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	joins(h, &USER, STATUS_NONE, 40);
	joins(h, &AGENT, STATUS_NONE, 50);
	goes(h, &USER, REASON_CLIENT_INITIATED, 5000);
	goes(h, &AGENT, REASON_CLIENT_INITIATED, 6000);
	struct presence p = presence_of(h);
	assert_int_equal(p.answer, ANSWER_YES);
	assert_ended_by(p, &USER);
	assert_true(p.overlap_ms > 4000);
}

static void two_agents_are_no_call(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	struct who second = AGENT;
	second.sid = "PA_agent2";
	second.identity = "agent-AJ_2";
	joins(h, &AGENT, STATUS_NONE, 40);
	joins(h, &second, STATUS_NONE, 50);
	goes(h, &AGENT, REASON_ROOM_CLOSED, 5000);
	goes(h, &second, REASON_ROOM_CLOSED, 5000);
	assert_int_equal(presence_of(h).answer, ANSWER_NO);
}

static void who_came_after_the_other_had_left_met_nobody(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	struct who late = AGENT;
	late.joined_ms = 4000;
	joins(h, &USER, STATUS_NONE, 40);
	goes(h, &USER, REASON_CLIENT_INITIATED, 3000);
	joins(h, &late, STATUS_NONE, 4030);
	struct presence p = presence_of(h);
	assert_int_equal(p.answer, ANSWER_NO);
	assert_ended_by(p, &USER);
}

static void within_one_second_nobody_can_tell(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	struct who late = AGENT;
	late.joined_ms = 3200;
	joins(h, &USER, STATUS_NONE, 40);
	goes(h, &USER, REASON_CLIENT_INITIATED, 3100);
	joins(h, &late, STATUS_NONE, 3230);
	goes(h, &late, REASON_CLIENT_INITIATED, 9000);
	assert_int_equal(presence_of(h).answer, ANSWER_MAYBE);
}

static void sessions_of_one_identity_do_not_meet_each_other(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	struct who again = USER;
	again.sid = "PA_again";
	again.joined_ms = 1000;
	joins(h, &USER, STATUS_NONE, 40);
	joins(h, &again, STATUS_NONE, 1030);
	goes(h, &USER, REASON_DUPLICATE_IDENTITY, 3000);
	goes(h, &again, REASON_CLIENT_INITIATED, 9000);
	assert_int_equal(presence_of(h).answer, ANSWER_NO);
}

static void a_reconnect_under_the_same_identity_goes_on(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	struct who again = USER;
	again.sid = "PA_again";
	again.joined_ms = 3076;
	joins(h, &AGENT, STATUS_NONE, 30);
	joins(h, &USER, STATUS_NONE, 40);
	goes(h, &USER, REASON_SERVER_SHUTDOWN, 3000);
	joins(h, &again, STATUS_NONE, 3100);
	goes(h, &again, REASON_CLIENT_INITIATED, 9000);
	goes(h, &AGENT, REASON_CLIENT_INITIATED, 10000);
	assert_ended_by(presence_of(h), &again);
}

static void of_two_users_the_first_to_leave_ends_it(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	joins(h, &USER, STATUS_NONE, 40);
	joins(h, &SECOND_USER, STATUS_NONE, 1050);
	goes(h, &SECOND_USER, REASON_CLIENT_INITIATED, 5000);
	goes(h, &USER, REASON_CLIENT_INITIATED, 7000);
	assert_ended_by(presence_of(h), &SECOND_USER);
}

static void an_agent_leaving_alone_ends_nothing(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	joins(h, &USER, STATUS_NONE, 40);
	joins(h, &AGENT, STATUS_NONE, 50);
	goes(h, &AGENT, REASON_CLIENT_INITIATED, 5000);
	goes(h, &USER, REASON_CLIENT_INITIATED, 9000);
	assert_ended_by(presence_of(h), &USER);
}

static void with_the_last_leave_lost_nobody_is_said_to_have_ended_it(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	joins(h, &USER, STATUS_NONE, 40);
	joins(h, &AGENT, STATUS_NONE, 50);
	goes(h, &AGENT, REASON_CLIENT_INITIATED, 5000);
	assert_null(presence_of(h).end);
}

static void an_agent_whose_leave_is_lost_is_believed_to_have_stayed_but_not_measured(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	struct who late = USER;
	late.joined_ms = 2000;
	joins(h, &AGENT, STATUS_NONE, 30);
	joins(h, &late, STATUS_NONE, 2040);
	goes(h, &late, REASON_CLIENT_INITIATED, 9000);
	room_finished(h, 11000);
	struct presence p = presence_of(h);
	assert_int_equal(p.answer, ANSWER_YES);
	assert_true(p.overlap_ms == 0);
}

static void a_user_whose_leave_is_lost_was_there_nearly_until_the_room_closed(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	struct who late = AGENT;
	late.joined_ms = 2000;
	joins(h, &USER, STATUS_NONE, 40);
	joins(h, &late, STATUS_NONE, 2040);
	goes(h, &late, REASON_CLIENT_INITIATED, 20000);
	assert_int_equal(presence_of(h).answer, ANSWER_MAYBE);
	room_finished(h, 21000);
	assert_int_equal(presence_of(h).answer, ANSWER_YES);
	h->n -= 1;
	room_finished(h, 4000); /* the agent came about when the user must have gone */
	assert_int_equal(presence_of(h).answer, ANSWER_MAYBE);
}

static void who_only_aborted_or_agents_alone_give_the_end_where_there_is_no_other(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	joins(h, &AGENT, STATUS_NONE, 50);
	goes(h, &AGENT, REASON_ROOM_CLOSED, 5000);
	assert_ended_by(presence_of(h), &AGENT);
	aborts(h, &USER, REASON_SIGNAL_CLOSE, 3000);
	assert_ended_by(presence_of(h), &USER);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_user_and_an_agent_at_the_same_time_have_met),
		cmocka_unit_test(two_agents_are_no_call),
		cmocka_unit_test(who_came_after_the_other_had_left_met_nobody),
		cmocka_unit_test(within_one_second_nobody_can_tell),
		cmocka_unit_test(sessions_of_one_identity_do_not_meet_each_other),
		cmocka_unit_test(a_reconnect_under_the_same_identity_goes_on),
		cmocka_unit_test(of_two_users_the_first_to_leave_ends_it),
		cmocka_unit_test(an_agent_leaving_alone_ends_nothing),
		cmocka_unit_test(with_the_last_leave_lost_nobody_is_said_to_have_ended_it),
		cmocka_unit_test(an_agent_whose_leave_is_lost_is_believed_to_have_stayed_but_not_measured),
		cmocka_unit_test(a_user_whose_leave_is_lost_was_there_nearly_until_the_room_closed),
		cmocka_unit_test(who_only_aborted_or_agents_alone_give_the_end_where_there_is_no_other),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
