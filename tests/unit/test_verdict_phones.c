/* core/verdict.c: how one phone's call can end, out and in. */
#include "core_fixture.h"

/* ---- outbound ---- */

static void outbound_endings_without_an_answer(void **state)
{
	(void)state;
	static const struct {
		enum disconnect_reason reason;
		enum sip_status status;
		int64_t ms;
		const char *want;
	} ENDS[] = {
		{ REASON_USER_REJECTED, STATUS_RINGING, 2000, "busy/rejected_ambiguous likely" },
		{ REASON_USER_REJECTED, STATUS_DIALING, 700, "busy/rejected_ambiguous ambiguous" },
		{ REASON_USER_UNAVAILABLE, STATUS_RINGING, 6000, "no_answer/unanswered likely" },
		{ REASON_USER_UNAVAILABLE, STATUS_RINGING, 180100, "no_answer/ring_timeout certain" },
		{ REASON_USER_UNAVAILABLE, STATUS_DIALING, 32100, "failed/trunk_failure likely" },
		{ REASON_USER_UNAVAILABLE, STATUS_DIALING, 600, "failed/invalid_number ambiguous" },
		{ REASON_USER_UNAVAILABLE, STATUS_DIALING, 60000, "no_answer/ring_timeout likely" },
		{ REASON_CLIENT_INITIATED, STATUS_DIALING, 400, "failed/trunk_failure likely" },
		{ REASON_CLIENT_INITIATED, STATUS_DIALING, 32100, "failed/trunk_failure likely" },
		{ REASON_CLIENT_INITIATED, STATUS_DIALING, 60000, "no_answer/ring_timeout ambiguous" },
		{ REASON_CLIENT_INITIATED, STATUS_RINGING, 3000, "no_answer/unanswered ambiguous" },
		{ REASON_CLIENT_INITIATED, STATUS_RINGING, 180100, "no_answer/ring_timeout likely" },
		{ REASON_CLIENT_INITIATED, STATUS_HANGUP, 3000, "no_answer/canceled likely" },
		{ REASON_SIP_TRUNK_FAILURE, STATUS_DIALING, 400, "failed/trunk_failure certain" },
		{ REASON_SIP_TRUNK_FAILURE, STATUS_RINGING, 400, "failed/trunk_failure certain" },
		{ REASON_ROOM_DELETED, STATUS_RINGING, 3000, "no_answer/canceled certain" },
		{ REASON_PARTICIPANT_REMOVED, STATUS_RINGING, 3000, "no_answer/canceled certain" },
		{ REASON_PARTICIPANT_REMOVED, STATUS_DIALING, 3000, "no_answer/canceled likely" },
		{ REASON_ROOM_CLOSED, STATUS_RINGING, 3000, "no_answer/canceled likely" },
		{ REASON_CONNECTION_TIMEOUT, STATUS_RINGING, 23000, "failed/connection_lost likely" },
		{ REASON_SIGNAL_CLOSE, STATUS_DIALING, 2000, "failed/connection_lost likely" },
		{ REASON_SERVER_SHUTDOWN, STATUS_RINGING, 2000, "failed/server_shutdown likely" },
		{ REASON_MEDIA_FAILURE, STATUS_RINGING, 2000, "failed/media_failure likely" },
		{ REASON_JOIN_FAILURE, STATUS_DIALING, 2000, "failed/join_failure likely" },
		{ REASON_DUPLICATE_IDENTITY, STATUS_RINGING, 2000, "no_answer/canceled ambiguous" },
		{ REASON_MIGRATION, STATUS_RINGING, 2000, "failed/connection_lost ambiguous" },
		{ REASON_STATE_MISMATCH, STATUS_DIALING, 2000, "failed/connection_lost ambiguous" },
		{ REASON_UNKNOWN, STATUS_RINGING, 2000, "failed/setup_failed ambiguous" },
	};
	for (size_t i = 0; i < sizeof ENDS / sizeof ENDS[0]; i++) {
		_cleanup_history_ struct history *h = history_new();
		dial_and_end(h, ENDS[i].reason, ENDS[i].status, false, ENDS[i].ms);
		judges(h, ENDS[i].want);
	}
}

static void outbound_endings_after_an_answer(void **state)
{
	(void)state;
	static const struct {
		enum disconnect_reason reason;
		enum sip_status status;
		int64_t ms;
		const char *want;
	} ENDS[] = {
		{ REASON_CLIENT_INITIATED, STATUS_HANGUP, 5000, "completed/hangup certain" },
		{ REASON_ROOM_DELETED, STATUS_ACTIVE, 5000, "completed/agent_hangup certain" },
		{ REASON_PARTICIPANT_REMOVED, STATUS_ACTIVE, 5000, "completed/agent_hangup certain" },
		{ REASON_ROOM_DELETED, STATUS_HANGUP, 5000, "completed/agent_hangup certain" },
		{ REASON_CONNECTION_TIMEOUT, STATUS_HANGUP, 5000, "completed/hangup likely" },
		{ REASON_CLIENT_INITIATED, STATUS_ACTIVE, 20000, "failed/media_timeout likely" },
		{ REASON_CLIENT_INITIATED, STATUS_AUTOMATION, 20000, "failed/media_timeout likely" },
		{ REASON_CLIENT_INITIATED, STATUS_DIALING, 20000, "failed/media_timeout likely" },
		{ REASON_CLIENT_INITIATED, STATUS_ACTIVE, 6000, "failed/server_shutdown likely" },
		{ REASON_ROOM_CLOSED, STATUS_ACTIVE, 5000, "completed/room_closed likely" },
		{ REASON_SERVER_SHUTDOWN, STATUS_ACTIVE, 5000, "failed/server_shutdown likely" },
		{ REASON_CONNECTION_TIMEOUT, STATUS_ACTIVE, 25000, "failed/connection_lost likely" },
		{ REASON_SIP_TRUNK_FAILURE, STATUS_ACTIVE, 5000, "failed/trunk_failure likely" },
		{ REASON_MEDIA_FAILURE, STATUS_ACTIVE, 5000, "failed/media_failure likely" },
		{ REASON_DUPLICATE_IDENTITY, STATUS_ACTIVE, 5000, "completed/agent_hangup ambiguous" },
		{ REASON_MIGRATION, STATUS_ACTIVE, 5000, "failed/connection_lost ambiguous" },
		{ REASON_USER_REJECTED, STATUS_ACTIVE, 5000, "completed/hangup ambiguous" },
		{ REASON_UNKNOWN, STATUS_ACTIVE, 5000, "completed/hangup ambiguous" },
	};
	for (size_t i = 0; i < sizeof ENDS / sizeof ENDS[0]; i++) {
		_cleanup_history_ struct history *h = history_new();
		dial_and_end(h, ENDS[i].reason, ENDS[i].status, true, ENDS[i].ms);
		judges(h, ENDS[i].want);
	}
}

static void a_leg_that_only_aborted_is_judged_like_one_that_left(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	room_started(h);
	participant_event(h, EVENT_PARTICIPANT_ABORTED, &CALLEE, STATUS_DIALING, false, 600)->participant.disconnect_reason = REASON_USER_REJECTED;
	room_finished(h, 3000);
	judges(h, "busy/rejected_ambiguous ambiguous");
}

static void a_lost_leave_of_an_outbound_leg_leaves_no_honest_choice(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	dial(h);
	agent_goes(h, 9000);
	judges(h, "unknown/events_lost ambiguous");
}

static void a_lost_leave_after_more_than_the_ring_limit_means_an_answer(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	dial(h);
	unpublishes(h, &CALLEE, "TR_callee", 110, 300000);
	agent_goes(h, 301000);
	judges(h, "completed/hangup likely");
}

static void an_answered_leg_that_reconnects_stays_answered(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	struct who again = CALLEE;
	again.sid = "PA_again";
	again.joined_ms = 10000;
	dial(h);
	leaves(h, &CALLEE, REASON_STATE_MISMATCH, STATUS_ACTIVE, true, 9900);
	participant_event(h, EVENT_PARTICIPANT_JOINED, &again, STATUS_DIALING, true, 10030);
	leaves(h, &again, REASON_CLIENT_INITIATED, STATUS_HANGUP, true, 20000);
	agent_goes(h, 21000);
	judges(h, "completed/hangup certain");
	struct verdict v = verdict_at(h, FAR_FUTURE);
	assert_int_equal(v.started_at_ms, T0 + CALLEE.joined_ms);
	assert_int_equal(v.duration_s, 19);
}

static void a_restarted_server_goes_on_with_the_same_call(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	struct who callee2 = CALLEE, agent2 = AGENT;
	callee2.sid = "PA_callee2";
	agent2.sid = "PA_agent2";
	callee2.joined_ms = agent2.joined_ms = 10000;
	dial(h);
	room_started(h);
	joins(h, &agent2, STATUS_NONE, 10030);
	participant_event(h, EVENT_PARTICIPANT_JOINED, &callee2, STATUS_DIALING, true, 10030);
	leaves(h, &callee2, REASON_CLIENT_INITIATED, STATUS_HANGUP, true, 25000);
	goes(h, &agent2, REASON_ROOM_CLOSED, 27000);
	room_finished(h, 27000);
	judges(h, "completed/hangup certain");
}

static void a_redial_after_a_busy_line_is_a_completed_call(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	struct who redial = CALLEE;
	redial.sid = "PA_redial";
	redial.call = "SCL_2";
	redial.joined_ms = 4000;
	dial(h);
	leaves(h, &CALLEE, REASON_USER_REJECTED, STATUS_RINGING, false, 2000);
	joins(h, &redial, STATUS_DIALING, 4030);
	leaves(h, &redial, REASON_CLIENT_INITIATED, STATUS_HANGUP, true, 12000);
	agent_goes(h, 13000);
	judges(h, "completed/hangup certain");
	assert_true(slice_eq_cstr(verdict_at(h, FAR_FUTURE).sip_call_id, "SCL_2"));
}

static void nobody_else_in_the_room_keeps_a_hangup_from_being_certain(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	room_started(h);
	joins(h, &CALLEE, STATUS_DIALING, 80);
	leaves(h, &CALLEE, REASON_CLIENT_INITIATED, STATUS_HANGUP, true, 5000);
	room_finished(h, 7000);
	judges(h, "completed/hangup likely");
}

static void an_agent_error_before_the_hangup_is_a_failure(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	dial(h);
	goes(h, &AGENT, REASON_AGENT_ERROR, 4000);
	leaves(h, &CALLEE, REASON_CLIENT_INITIATED, STATUS_HANGUP, true, 6000);
	room_finished(h, 8000);
	judges(h, "failed/agent_error likely");
}

static void a_stranger_in_the_room_keeps_every_verdict_from_being_certain(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	struct who stranger = { .sid = "PA_x", .identity = "sip_3", .kind = KIND_UNKNOWN };
	dial_and_end(h, REASON_CLIENT_INITIATED, STATUS_HANGUP, true, 5000);
	publishes(h, &stranger, "TR_x", 1000);
	judges(h, "completed/hangup likely");
}

static void a_leg_without_its_attributes_is_never_certain(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	struct who bare = CALLEE;
	bare.call = NULL;
	room_started(h);
	joins(h, &AGENT, STATUS_NONE, 30);
	leaves(h, &bare, REASON_CLIENT_INITIATED, STATUS_HANGUP, true, 5000);
	agent_goes(h, 6000);
	judges(h, "completed/hangup likely");
	h->events[2].participant.sip_call_tag = false;
	h->events[2].participant.sip_status = STATUS_NONE;
	judges(h, "completed/hangup ambiguous");
}

static void a_leg_that_reconnected_is_not_certainly_unanswered(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	struct who again = CALLEE;
	again.sid = "PA_again";
	again.joined_ms = 3000;
	dial(h);
	leaves(h, &CALLEE, REASON_MIGRATION, STATUS_RINGING, false, 2900);
	leaves(h, &again, REASON_ROOM_DELETED, STATUS_RINGING, false, 6000);
	agent_goes(h, 6000);
	judges(h, "no_answer/canceled likely");
}

static void an_agent_that_died_keeps_a_hangup_from_being_certain(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	dial(h);
	leaves(h, &CALLEE, REASON_CLIENT_INITIATED, STATUS_HANGUP, true, 20000);
	unpublishes(h, &AGENT, "TR_agent", 60, 26000);
	goes(h, &AGENT, REASON_CONNECTION_TIMEOUT, 26000);
	room_finished(h, 26000);
	judges(h, "completed/hangup likely");
}

/* ---- inbound ---- */

static void inbound_endings(void **state)
{
	(void)state;
	static const struct {
		int64_t heard_ms;
		enum disconnect_reason reason;
		enum sip_status status;
		int64_t end_ms;
		const char *want;
	} ENDS[] = {
		{ 1500, REASON_CLIENT_INITIATED, STATUS_HANGUP, 7000, "completed/hangup certain" },
		{ 1500, REASON_CLIENT_INITIATED, STATUS_HANGUP, 30000, "completed/hangup likely" }, /* lost media looks the same */
		{ 1500, REASON_ROOM_DELETED, STATUS_ACTIVE, 30000, "completed/agent_hangup certain" },
		{ 1500, REASON_PARTICIPANT_REMOVED, STATUS_ACTIVE, 7000, "completed/agent_hangup certain" },
		{ 1500, REASON_ROOM_DELETED, STATUS_RINGING, 7000, "completed/agent_hangup ambiguous" },
		{ 1500, REASON_CLIENT_INITIATED, STATUS_ACTIVE, 7000, "failed/setup_failed likely" },
		{ 1500, REASON_CLIENT_INITIATED, STATUS_ACTIVE, 70000, "failed/server_shutdown likely" },
		{ 1500, REASON_CLIENT_INITIATED, STATUS_RINGING, 7000, "failed/setup_failed likely" },
		{ 1500, REASON_CONNECTION_TIMEOUT, STATUS_ACTIVE, 30000, "failed/connection_lost likely" },
		{ 1500, REASON_SERVER_SHUTDOWN, STATUS_ACTIVE, 30000, "failed/server_shutdown likely" },
		{ 6500, REASON_CLIENT_INITIATED, STATUS_HANGUP, 6700, "no_answer/caller_abandoned ambiguous" },
		{ 7200, REASON_CLIENT_INITIATED, STATUS_HANGUP, 5000, "no_answer/caller_abandoned likely" },
		{ 0, REASON_CLIENT_INITIATED, STATUS_HANGUP, 5000, "no_answer/caller_abandoned likely" },
		{ 0, REASON_CLIENT_INITIATED, STATUS_HANGUP, 300000, "completed/hangup ambiguous" },
		{ 0, REASON_CLIENT_INITIATED, STATUS_RINGING, 180040, "no_answer/agent_unavailable likely" },
		{ 0, REASON_CLIENT_INITIATED, STATUS_RINGING, 20000, "no_answer/agent_unavailable likely" },
		{ 0, REASON_ROOM_DELETED, STATUS_RINGING, 5000, "no_answer/canceled likely" },
		{ 0, REASON_ROOM_CLOSED, STATUS_RINGING, 5000, "no_answer/agent_unavailable likely" },
		{ 0, REASON_CONNECTION_TIMEOUT, STATUS_RINGING, 23000, "failed/connection_lost likely" },
		{ 0, REASON_CLIENT_INITIATED, STATUS_ACTIVE, 5000, "failed/setup_failed likely" },
		{ 0, REASON_DUPLICATE_IDENTITY, STATUS_RINGING, 5000, "no_answer/caller_abandoned ambiguous" },
	};
	for (size_t i = 0; i < sizeof ENDS / sizeof ENDS[0]; i++) {
		_cleanup_history_ struct history *h = history_new();
		judges(inbound(h, ENDS[i].heard_ms, ENDS[i].reason, ENDS[i].status, ENDS[i].end_ms), ENDS[i].want);
	}
}

static void an_agent_that_rejects_a_ringing_call_is_the_app(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	call_in(h);
	joins(h, &AGENT, STATUS_NONE, 1000);
	leaves(h, &CALLER, REASON_PARTICIPANT_REMOVED, STATUS_RINGING, true, 3000);
	goes(h, &AGENT, REASON_CLIENT_INITIATED, 4000);
	room_finished(h, 5000);
	judges(h, "no_answer/canceled certain");
}

static void a_status_alone_answers_but_not_for_certain(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	call_in(h);
	joins(h, &AGENT, STATUS_NONE, 100);
	leaves(h, &CALLER, REASON_ROOM_DELETED, STATUS_ACTIVE, true, 5000);
	goes(h, &AGENT, REASON_ROOM_DELETED, 5000);
	room_finished(h, 5000);
	judges(h, "completed/agent_hangup likely");
}

static void an_agent_without_a_voice_answers_nobody(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	call_in(h);
	joins(h, &AGENT, STATUS_NONE, 100);
	leaves(h, &CALLER, REASON_CLIENT_INITIATED, STATUS_HANGUP, true, 5000);
	goes(h, &AGENT, REASON_CLIENT_INITIATED, 6000);
	room_finished(h, 8000);
	judges(h, "no_answer/caller_abandoned likely");
}

static void a_caller_bridged_to_a_phone_that_nobody_took_is_ambiguous(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	struct who human = CALLEE;
	human.joined_ms = 2000;
	call_in(h);
	joins(h, &human, STATUS_DIALING, 2030);
	leaves(h, &human, REASON_USER_UNAVAILABLE, STATUS_RINGING, false, 20000);
	leaves(h, &CALLER, REASON_CLIENT_INITIATED, STATUS_HANGUP, true, 22000);
	room_finished(h, 25000);
	judges(h, "completed/hangup ambiguous");
}

static void a_caller_whose_leave_is_lost(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	call_in(h);
	room_finished(h, 9000);
	judges(h, "no_answer/unanswered ambiguous");
	h->n -= 1;
	joins(h, &AGENT, STATUS_NONE, 1000);
	publishes(h, &AGENT, "TR_agent", 1200);
	unpublishes(h, &CALLER, "TR_caller", 60, 8000);
	goes(h, &AGENT, REASON_CLIENT_INITIATED, 9000);
	room_finished(h, 11000);
	judges(h, "completed/hangup likely");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(outbound_endings_without_an_answer),
		cmocka_unit_test(outbound_endings_after_an_answer),
		cmocka_unit_test(a_leg_that_only_aborted_is_judged_like_one_that_left),
		cmocka_unit_test(a_lost_leave_of_an_outbound_leg_leaves_no_honest_choice),
		cmocka_unit_test(a_lost_leave_after_more_than_the_ring_limit_means_an_answer),
		cmocka_unit_test(an_answered_leg_that_reconnects_stays_answered),
		cmocka_unit_test(a_restarted_server_goes_on_with_the_same_call),
		cmocka_unit_test(a_redial_after_a_busy_line_is_a_completed_call),
		cmocka_unit_test(nobody_else_in_the_room_keeps_a_hangup_from_being_certain),
		cmocka_unit_test(an_agent_error_before_the_hangup_is_a_failure),
		cmocka_unit_test(a_stranger_in_the_room_keeps_every_verdict_from_being_certain),
		cmocka_unit_test(a_leg_without_its_attributes_is_never_certain),
		cmocka_unit_test(a_leg_that_reconnected_is_not_certainly_unanswered),
		cmocka_unit_test(an_agent_that_died_keeps_a_hangup_from_being_certain),
		cmocka_unit_test(inbound_endings),
		cmocka_unit_test(an_agent_that_rejects_a_ringing_call_is_the_app),
		cmocka_unit_test(a_status_alone_answers_but_not_for_certain),
		cmocka_unit_test(an_agent_without_a_voice_answers_nobody),
		cmocka_unit_test(a_caller_bridged_to_a_phone_that_nobody_took_is_ambiguous),
		cmocka_unit_test(a_caller_whose_leave_is_lost),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
