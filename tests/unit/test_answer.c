/* core/answer.c: which legs were answered, as far as LiveKit's events tell. */
#include "core_fixture.h"

#include "core/legs.h"

static struct room_view view_of(struct history *h)
{
	struct room_view v;
	assert_int_equal(room_view_make(facts_of(h), h->a, &v), 0);
	return v;
}

static void outbound_is_answered_by_the_tag_alone(void **state)
{
	(void)state;
	static const struct {
		enum sip_status status;
		bool tag;
		enum disconnect_reason reason;
		enum answer want;
	} CASES[] = {
		{ STATUS_HANGUP, true, REASON_CLIENT_INITIATED, ANSWER_YES },
		{ STATUS_DIALING, true, REASON_CONNECTION_TIMEOUT, ANSWER_YES },
		{ STATUS_RINGING, false, REASON_USER_REJECTED, ANSWER_NO },
		{ STATUS_HANGUP, false, REASON_CLIENT_INITIATED, ANSWER_NO },
		{ STATUS_ACTIVE, false, REASON_CLIENT_INITIATED, ANSWER_MAYBE },
		{ STATUS_AUTOMATION, false, REASON_CLIENT_INITIATED, ANSWER_MAYBE },
	};
	for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
		_cleanup_history_ struct history *h = history_new();
		dial_and_end(h, CASES[i].reason, CASES[i].status, CASES[i].tag, 4000);
		assert_int_equal(view_of(h).legs[0].answer, CASES[i].want);
	}
}

static void outbound_without_a_leave_may_have_been_answered(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	dial(h);
	assert_int_equal(view_of(h).legs[0].answer, ANSWER_MAYBE);
}

/* The caller's leg lasts from 20 ms to a moment in [5000, 5999]. */
static enum answer heard(int64_t published_ms, int64_t unpublished_ms)
{
	_cleanup_history_ struct history *h = history_new();
	call_in(h);
	joins(h, &AGENT, STATUS_NONE, 15);
	publishes(h, &AGENT, "TR_agent", published_ms);
	if (unpublished_ms)
		unpublishes(h, &AGENT, "TR_agent", published_ms, unpublished_ms);
	leaves(h, &CALLER, REASON_CLIENT_INITIATED, STATUS_HANGUP, true, 5300);
	return view_of(h).legs[0].answer;
}

static void inbound_is_answered_by_audio_while_the_leg_is_there(void **state)
{
	(void)state;
	assert_int_equal(heard(1500, 0), ANSWER_YES);
	assert_int_equal(heard(4400, 0), ANSWER_YES);
	assert_int_equal(heard(4900, 0), ANSWER_MAYBE); /* too near the end to be sure that LiveKit answered */
	assert_int_equal(heard(5500, 0), ANSWER_MAYBE); /* in the second in which the leg ended */
	assert_int_equal(heard(6200, 0), ANSWER_NO);    /* after it */
	assert_int_equal(heard(1500, 1800), ANSWER_YES);
}

static void audio_from_before_the_leg_counts_while_it_lasts(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	struct who late = CALLER;
	late.joined_ms = 10000;
	room_started(h);
	joins(h, &AGENT, STATUS_NONE, 30);
	publishes(h, &AGENT, "TR_agent", 60);
	joins(h, &late, STATUS_RINGING, 10030);
	leaves(h, &late, REASON_CLIENT_INITIATED, STATUS_HANGUP, true, 15000);
	assert_int_equal(view_of(h).legs[0].answer, ANSWER_YES);
	assert_int_equal(view_of(h).legs[0].answer_lo, T0 + 10000);
	goes(h, &AGENT, REASON_CLIENT_INITIATED, 16000);
	assert_true(view_of(h).legs[0].assumed);
	unpublishes(h, &AGENT, "TR_agent", 60, 15990);
	assert_false(view_of(h).legs[0].assumed);
}

static void audio_that_ended_before_the_leg_does_not_count(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	struct who late = CALLER;
	late.joined_ms = 10000;
	joins(h, &AGENT, STATUS_NONE, 30);
	publishes(h, &AGENT, "TR_agent", 60);
	unpublishes(h, &AGENT, "TR_agent", 60, 8000);
	leaves(h, &late, REASON_CLIENT_INITIATED, STATUS_HANGUP, true, 15000);
	goes(h, &AGENT, REASON_CLIENT_INITIATED, 16000);
	assert_int_equal(view_of(h).legs[0].answer, ANSWER_NO);
}

/* LiveKit reports a dead connection, and ends its tracks, some 21 s after its death. */
static void audio_of_a_connection_that_may_have_been_dead_is_not_sure(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	struct who late = CALLER;
	late.joined_ms = 10000;
	joins(h, &USER, STATUS_NONE, 30);
	publishes(h, &USER, "TR_user", 60);
	leaves(h, &late, REASON_CLIENT_INITIATED, STATUS_HANGUP, true, 15000);
	unpublishes(h, &USER, "TR_user", 60, 22000);
	assert_true(view_of(h).legs[0].assumed);
	goes(h, &USER, REASON_CONNECTION_TIMEOUT, 22000);
	assert_int_equal(view_of(h).legs[0].answer, ANSWER_MAYBE);
}

/* The far side of a leg that the app dials may take the call after the caller has gone. */
static void a_dialed_leg_surely_answers_a_caller_only_when_it_ends_first(void **state)
{
	(void)state;
	static const struct who HUMAN = { .sid = "PA_human", .identity = "sip_+13125550199", .kind = KIND_SIP, .joined_ms = 2000, .call = "SCL_2" };
	for (int first = 0; first < 2; first++) {
		_cleanup_history_ struct history *h = history_new();
		call_in(h);
		joins(h, &HUMAN, STATUS_DIALING, 2040);
		publishes(h, &HUMAN, "TR_human", 2100);
		leaves(h, &HUMAN, REASON_CLIENT_INITIATED, STATUS_HANGUP, true, first ? 6000 : 9000);
		leaves(h, &CALLER, REASON_CLIENT_INITIATED, STATUS_HANGUP, true, 8000);
		assert_int_equal(view_of(h).legs[0].answer, ANSWER_YES);
		assert_int_equal(view_of(h).legs[0].assumed, !first);
	}
}

static void a_caller_let_in_with_a_pin_was_answered_before(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	room_started(h);
	joins(h, &CALLER, STATUS_ACTIVE, 40);
	leaves(h, &CALLER, REASON_CLIENT_INITIATED, STATUS_HANGUP, true, 8000);
	assert_true(view_of(h).legs[0].let_in);
	_cleanup_history_ struct history *usual = history_new();
	call_in(usual);
	leaves(usual, &CALLER, REASON_PARTICIPANT_REMOVED, STATUS_ACTIVE, true, 8000);
	assert_false(view_of(usual).legs[0].let_in);
}

static void audio_whose_end_nobody_saw_is_assumed_to_have_lasted(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	struct who late = CALLER;
	late.joined_ms = 10000;
	joins(h, &USER, STATUS_NONE, 30);
	publishes(h, &USER, "TR_user", 60);
	joins(h, &late, STATUS_RINGING, 10030);
	leaves(h, &late, REASON_CLIENT_INITIATED, STATUS_HANGUP, true, 15000);
	struct room_view v = view_of(h);
	assert_int_equal(v.legs[0].answer, ANSWER_YES);
	assert_true(v.legs[0].assumed);
	unpublishes(h, &USER, "TR_user", 60, 16000);
	goes(h, &USER, REASON_CLIENT_INITIATED, 16000);
	assert_false(view_of(h).legs[0].assumed);
}

static void the_end_of_a_track_whose_beginning_was_lost_still_tells(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	call_in(h);
	joins(h, &AGENT, STATUS_NONE, 1520);
	unpublishes(h, &AGENT, "TR_agent", 1600, 6500);
	leaves(h, &CALLER, REASON_CLIENT_INITIATED, STATUS_HANGUP, true, 5300);
	assert_int_equal(view_of(h).legs[0].answer, ANSWER_YES);
}

static void its_own_audio_and_that_of_machines_answers_nobody(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	struct who ingress = { .sid = "PA_in", .identity = "music", .kind = KIND_INGRESS, .joined_ms = 30 };
	call_in(h);
	joins(h, &ingress, STATUS_NONE, 60);
	publishes(h, &ingress, "TR_music", 500);
	leaves(h, &CALLER, REASON_CLIENT_INITIATED, STATUS_HANGUP, true, 5300);
	assert_int_equal(view_of(h).legs[0].answer, ANSWER_NO);
}

static void a_second_phone_leg_answers_a_caller_but_weakly_when_nobody_took_it(void **state)
{
	(void)state;
	for (int answered = 0; answered < 2; answered++) {
		_cleanup_history_ struct history *h = history_new();
		struct who human = CALLEE;
		human.joined_ms = 2000;
		call_in(h);
		joins(h, &human, STATUS_DIALING, 2030);
		leaves(h, &human, REASON_CLIENT_INITIATED, answered ? STATUS_HANGUP : STATUS_RINGING, answered, 8000);
		leaves(h, &CALLER, REASON_CLIENT_INITIATED, STATUS_HANGUP, true, 9000);
		struct room_view v = view_of(h);
		assert_int_equal(v.leg_count, 2);
		assert_int_equal(v.legs[0].answer, ANSWER_YES);
		assert_int_equal(v.legs[0].witness, WITNESS_LEG);
		assert_int_equal(v.legs[0].bridge_only, !answered);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(outbound_is_answered_by_the_tag_alone),
		cmocka_unit_test(outbound_without_a_leave_may_have_been_answered),
		cmocka_unit_test(inbound_is_answered_by_audio_while_the_leg_is_there),
		cmocka_unit_test(audio_from_before_the_leg_counts_while_it_lasts),
		cmocka_unit_test(audio_that_ended_before_the_leg_does_not_count),
		cmocka_unit_test(audio_of_a_connection_that_may_have_been_dead_is_not_sure),
		cmocka_unit_test(a_dialed_leg_surely_answers_a_caller_only_when_it_ends_first),
		cmocka_unit_test(a_caller_let_in_with_a_pin_was_answered_before),
		cmocka_unit_test(audio_whose_end_nobody_saw_is_assumed_to_have_lasted),
		cmocka_unit_test(the_end_of_a_track_whose_beginning_was_lost_still_tells),
		cmocka_unit_test(its_own_audio_and_that_of_machines_answers_nobody),
		cmocka_unit_test(a_second_phone_leg_answers_a_caller_but_weakly_when_nobody_took_it),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
