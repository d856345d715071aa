/* core/verdict.c: histories of calls without a phone, of several legs and witnesses; times and everything else. Phones: test_verdict_phones.c. */
#include "core_fixture.h"

/* ---- web ---- */

static struct history *web(struct history *h, enum disconnect_reason r, int64_t end_ms)
{
	room_started(h);
	joins(h, &USER, STATUS_NONE, 40);
	joins(h, &AGENT, STATUS_NONE, 50);
	goes(h, &USER, r, end_ms);
	goes(h, &AGENT, REASON_CLIENT_INITIATED, end_ms + 1000);
	room_finished(h, end_ms + 2000);
	return h;
}

static void web_endings(void **state)
{
	(void)state;
	static const struct {
		enum disconnect_reason reason;
		int64_t ms;
		const char *want;
	} ENDS[] = {
		{ REASON_CLIENT_INITIATED, 5000, "completed/user_left certain" },
		{ REASON_CLIENT_INITIATED, 1100, "completed/user_left likely" }, /* together for a moment only */
		{ REASON_ROOM_DELETED, 5000, "completed/agent_hangup certain" },
		{ REASON_PARTICIPANT_REMOVED, 5000, "completed/agent_hangup certain" },
		{ REASON_ROOM_CLOSED, 5000, "completed/room_closed likely" },
		{ REASON_CONNECTION_TIMEOUT, 25000, "completed/connection_lost likely" },
		{ REASON_SIGNAL_CLOSE, 25000, "completed/connection_lost likely" },
		{ REASON_DUPLICATE_IDENTITY, 5000, "completed/connection_lost likely" },
		{ REASON_SERVER_SHUTDOWN, 5000, "failed/server_shutdown likely" },
		{ REASON_MEDIA_FAILURE, 5000, "failed/media_failure likely" },
		{ REASON_STATE_MISMATCH, 5000, "completed/user_left ambiguous" },
	};
	for (size_t i = 0; i < sizeof ENDS / sizeof ENDS[0]; i++) {
		_cleanup_history_ struct history *h = history_new();
		judges(web(h, ENDS[i].reason, ENDS[i].ms), ENDS[i].want);
		assert_int_equal(verdict_at(h, FAR_FUTURE).direction, DIRECTION_WEB);
	}
}

static void web_rooms_in_which_nobody_met(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	room_started(h);
	room_finished(h, 5000);
	judges(h, "no_answer/nobody_joined likely");
	joins(h, &AGENT, STATUS_NONE, 30);
	goes(h, &AGENT, REASON_ROOM_CLOSED, 5000);
	judges(h, "no_answer/user_never_joined likely");
	aborts(h, &USER, REASON_CLIENT_INITIATED, 3000);
	judges(h, "no_answer/caller_abandoned likely");
	h->events[h->n - 1].participant.disconnect_reason = REASON_SIGNAL_CLOSE;
	judges(h, "failed/join_failure likely");
}

static void a_user_who_waits_alone(void **state)
{
	(void)state;
	static const struct {
		enum disconnect_reason reason;
		const char *want;
	} ENDS[] = {
		{ REASON_CLIENT_INITIATED, "no_answer/agent_unavailable likely" }, { REASON_ROOM_DELETED, "no_answer/canceled likely" },
		{ REASON_CONNECTION_TIMEOUT, "failed/connection_lost likely" }, { REASON_SERVER_SHUTDOWN, "failed/server_shutdown likely" },
	};
	for (size_t i = 0; i < sizeof ENDS / sizeof ENDS[0]; i++) {
		_cleanup_history_ struct history *h = history_new();
		room_started(h);
		joins(h, &USER, STATUS_NONE, 40);
		goes(h, &USER, ENDS[i].reason, 5000);
		room_finished(h, 8000);
		judges(h, ENDS[i].want);
	}
}

static void an_agent_error_ends_a_web_call_when_the_agent_went(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	room_started(h);
	joins(h, &USER, STATUS_NONE, 40);
	joins(h, &AGENT, STATUS_NONE, 50);
	goes(h, &AGENT, REASON_AGENT_ERROR, 3000);
	goes(h, &USER, REASON_CLIENT_INITIATED, 5000);
	room_finished(h, 7000);
	judges(h, "failed/agent_error likely");
	assert_int_equal(verdict_at(h, FAR_FUTURE).ended_at_ms, T0 + 3000);
}

static void a_room_of_strangers_is_unknown(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	struct who stranger = { .sid = "PA_x", .identity = "x", .kind = KIND_UNKNOWN };
	room_started(h);
	publishes(h, &stranger, "TR_x", 1000);
	room_finished(h, 9000);
	judges(h, "unknown/events_lost ambiguous");
}

static void a_room_that_could_not_be_opened_failed(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	room_started(h);
	room_finished(h, 1000);
	h->events[1].room_end_reason = ROOM_END_OPEN_FAILED;
	judges(h, "failed/server_shutdown likely");
}

static void a_connector_is_a_phone_without_a_known_direction(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	struct who phone = { .sid = "PA_wa", .identity = "whatsapp", .kind = KIND_CONNECTOR, .joined_ms = 20 };
	room_started(h);
	joins(h, &phone, STATUS_NONE, 40);
	joins(h, &AGENT, STATUS_NONE, 50);
	goes(h, &phone, REASON_CLIENT_INITIATED, 9000);
	agent_goes(h, 10000);
	judges(h, "completed/user_left likely");
	assert_int_equal(verdict_at(h, FAR_FUTURE).direction, DIRECTION_UNKNOWN);
}

/* ---- witnesses ---- */

static void the_dialers_code_settles_a_rejection(void **state)
{
	(void)state;
	static const struct {
		int code;
		enum disconnect_reason reason;
		const char *want;
	} CODES[] = {
		{ 486, REASON_USER_REJECTED, "busy/busy certain" }, { 600, REASON_USER_REJECTED, "busy/busy certain" },
		{ 603, REASON_USER_REJECTED, "busy/declined certain" }, { 403, REASON_USER_REJECTED, "failed/auth_or_forbidden certain" },
		{ 488, REASON_USER_REJECTED, "failed/media_failure certain" }, { 404, REASON_USER_UNAVAILABLE, "failed/invalid_number certain" },
		{ 480, REASON_USER_UNAVAILABLE, "no_answer/unavailable certain" }, { 480, REASON_USER_REJECTED, "no_answer/unavailable likely" },
		{ 408, REASON_USER_UNAVAILABLE, "no_answer/unavailable likely" }, { 487, REASON_USER_REJECTED, "no_answer/canceled likely" },
		{ 503, REASON_CLIENT_INITIATED, "failed/trunk_failure certain" }, { 503, REASON_SIP_TRUNK_FAILURE, "failed/trunk_failure certain" },
		{ 608, REASON_USER_REJECTED, "failed/carrier_blocked likely" }, { 429, REASON_USER_REJECTED, "failed/rate_limited likely" },
		{ 420, REASON_USER_REJECTED, "failed/setup_failed likely" },
	};
	for (size_t i = 0; i < sizeof CODES / sizeof CODES[0]; i++) {
		_cleanup_history_ struct history *h = history_new();
		dial_and_end(h, CODES[i].reason, STATUS_DIALING, false, 700);
		(void)marks(h, MARK_SIP_RESULT, MARK_SOURCE_DIALER, CODES[i].code, 700);
		judges(h, CODES[i].want);
	}
}

static void a_code_from_the_app_is_only_likely(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	dial_and_end(h, REASON_USER_REJECTED, STATUS_DIALING, false, 700);
	(void)marks(h, MARK_SIP_RESULT, MARK_SOURCE_APP, 486, 700);
	judges(h, "busy/busy likely");
}

static void a_code_that_contradicts_the_answer_takes_the_certainty(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	dial_and_end(h, REASON_CLIENT_INITIATED, STATUS_HANGUP, true, 5000);
	(void)marks(h, MARK_SIP_RESULT, MARK_SOURCE_DIALER, 486, 700);
	judges(h, "completed/hangup likely");
}

static void a_code_stands_in_for_a_lost_leave(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	dial(h);
	agent_goes(h, 9000);
	(void)marks(h, MARK_SIP_RESULT, MARK_SOURCE_DIALER, 486, 700);
	judges(h, "busy/busy likely"); /* another attempt may have come after it */
}

static const struct who HUMAN = { .sid = "PA_human", .identity = "sip_+13125550199", .kind = KIND_SIP, .joined_ms = 60000, .call = "SCL_2" };

static bool may_also_be(const struct verdict *v, enum outcome o)
{
	for (size_t i = 0; i < v->alternative_count; i++)
		if (v->alternatives[i].outcome == o)
			return true;
	return false;
}

/* A web user talks with an agent, which dials a colleague in vain. */
static void a_failed_transfer_of_a_web_call_is_not_certainly_the_whole_call(void **state)
{
	(void)state;
	static const struct {
		enum disconnect_reason reason;
		enum sip_status status;
		int64_t after_ms;
		const char *want;
	} ENDS[] = {
		{ REASON_PARTICIPANT_REMOVED, STATUS_RINGING, 20000, "no_answer/canceled likely" },
		{ REASON_SIP_TRUNK_FAILURE, STATUS_DIALING, 300, "failed/trunk_failure likely" },
		{ REASON_USER_UNAVAILABLE, STATUS_RINGING, 180100, "no_answer/ring_timeout likely" },
		{ REASON_USER_REJECTED, STATUS_RINGING, 9000, "busy/rejected_ambiguous likely" },
	};
	for (size_t i = 0; i < sizeof ENDS / sizeof ENDS[0]; i++) {
		_cleanup_history_ struct history *h = history_new();
		int64_t end = 60000 + ENDS[i].after_ms;
		room_started(h);
		joins(h, &USER, STATUS_NONE, 40);
		joins(h, &AGENT, STATUS_NONE, 60);
		joins(h, &HUMAN, STATUS_DIALING, 60030);
		leaves(h, &HUMAN, ENDS[i].reason, ENDS[i].status, false, end);
		goes(h, &USER, REASON_CLIENT_INITIATED, end + 9000);
		goes(h, &AGENT, REASON_CLIENT_INITIATED, end + 10000);
		room_finished(h, end + 11500);
		struct verdict v = verdict_at(h, FAR_FUTURE);
		assert_verdict(v, ENDS[i].want);
		assert_true(may_also_be(&v, OUTCOME_COMPLETED));
	}
}

static void a_call_that_began_with_a_caller_stays_the_callers(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	call_in(h);
	leaves(h, &CALLER, REASON_CLIENT_INITIATED, STATUS_HANGUP, true, 5000);
	joins(h, &HUMAN, STATUS_DIALING, 60030);
	leaves(h, &HUMAN, REASON_PARTICIPANT_REMOVED, STATUS_RINGING, false, 70000);
	room_finished(h, 72000);
	struct verdict v = verdict_at(h, FAR_FUTURE);
	assert_verdict(v, "no_answer/caller_abandoned likely");
	assert_int_equal(v.direction, DIRECTION_INBOUND);
}

static void a_rejected_caller_who_is_called_back_is_not_certainly_unanswered(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	call_in(h);
	joins(h, &AGENT, STATUS_NONE, 60);
	leaves(h, &CALLER, REASON_PARTICIPANT_REMOVED, STATUS_RINGING, true, 5000);
	joins(h, &HUMAN, STATUS_DIALING, 60030);
	leaves(h, &HUMAN, REASON_CLIENT_INITIATED, STATUS_HANGUP, true, 70000);
	goes(h, &AGENT, REASON_CLIENT_INITIATED, 71000);
	room_finished(h, 73000);
	struct verdict v = verdict_at(h, FAR_FUTURE);
	assert_verdict(v, "no_answer/canceled likely");
	assert_true(may_also_be(&v, OUTCOME_COMPLETED));
}

static void two_web_users_may_be_two_devices_of_one(void **state)
{
	(void)state;
	static const struct who LAPTOP = { .sid = "PA_laptop", .identity = "web-user-laptop", .kind = KIND_STANDARD, .joined_ms = 3000 };
	_cleanup_history_ struct history *h = history_new();
	room_started(h);
	joins(h, &USER, STATUS_NONE, 40);
	joins(h, &LAPTOP, STATUS_NONE, 3030);
	goes(h, &USER, REASON_CLIENT_INITIATED, 9000);
	goes(h, &LAPTOP, REASON_CLIENT_INITIATED, 12000);
	room_finished(h, 14000);
	struct verdict v = verdict_at(h, FAR_FUTURE);
	assert_verdict(v, "completed/user_left likely");
	assert_true(may_also_be(&v, OUTCOME_NO_ANSWER));
}

static void nobody_meets_who_is_hidden(void **state)
{
	(void)state;
	static const struct who RECORDER = { .sid = "PA_recorder", .identity = "recorder", .kind = KIND_HIDDEN, .joined_ms = 900 };
	_cleanup_history_ struct history *h = history_new();
	room_started(h);
	joins(h, &USER, STATUS_NONE, 40);
	joins(h, &RECORDER, STATUS_NONE, 930);
	publishes(h, &RECORDER, "TR_recorder", 1000);
	goes(h, &USER, REASON_CLIENT_INITIATED, 9000);
	goes(h, &RECORDER, REASON_CLIENT_INITIATED, 12000);
	room_finished(h, 14000);
	judges(h, "no_answer/agent_unavailable likely");
}

static void who_waits_with_a_pin_and_hears_nobody_is_not_answered_by_anybody(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	room_started(h);
	joins(h, &CALLER, STATUS_ACTIVE, 40);
	leaves(h, &CALLER, REASON_CLIENT_INITIATED, STATUS_HANGUP, true, 8000);
	room_finished(h, 10000);
	struct verdict v = verdict_at(h, FAR_FUTURE);
	assert_verdict(v, "no_answer/agent_unavailable likely");
	assert_int_equal(v.answered_at_ms, 0);
	assert_int_equal(v.answered_at_latest_ms, T0 + CALLER.joined_ms);
}

/* The audio stopped while the caller was still alone: 15 s count from then, not from the agent's coming. */
static void media_lost_before_the_agent_came_is_not_certainly_a_hangup(void **state)
{
	(void)state;
	struct who agent = AGENT;
	agent.joined_ms = 8000;
	_cleanup_history_ struct history *h = history_new();
	room_started(h);
	joins(h, &CALLER, STATUS_ACTIVE, 40);
	joins(h, &agent, STATUS_NONE, 8030);
	publishes(h, &agent, "TR_agent", 8060);
	leaves(h, &CALLER, REASON_CLIENT_INITIATED, STATUS_HANGUP, true, 19000);
	goes(h, &agent, REASON_CLIENT_INITIATED, 20000);
	room_finished(h, 21000);
	struct verdict v = verdict_at(h, FAR_FUTURE);
	assert_verdict(v, "completed/hangup likely");
	assert_true(may_also_be(&v, OUTCOME_FAILED));
}

static void a_web_call_begins_with_its_user_and_not_with_the_agent_who_waited(void **state)
{
	(void)state;
	struct who late = USER;
	late.joined_ms = 240000;
	_cleanup_history_ struct history *h = history_new();
	room_started(h);
	joins(h, &AGENT, STATUS_NONE, 30);
	joins(h, &late, STATUS_NONE, 240020);
	goes(h, &late, REASON_CLIENT_INITIATED, 250000);
	agent_goes(h, 251000);
	struct verdict v = verdict_at(h, FAR_FUTURE);
	assert_int_equal(v.started_at_ms, T0 + 240000);
	assert_int_equal(v.duration_s, 10);
}

static void a_restart_of_the_server_does_not_move_the_answer(void **state)
{
	(void)state;
	struct who user = USER, agent = AGENT;
	user.sid = "PA_user_again";
	agent.sid = "PA_agent_again";
	user.joined_ms = 15000;
	agent.joined_ms = 15010;
	_cleanup_history_ struct history *h = history_new();
	room_started(h);
	joins(h, &USER, STATUS_NONE, 40);
	joins(h, &AGENT, STATUS_NONE, 60);
	room_started(h);
	joins(h, &user, STATUS_NONE, 15020);
	joins(h, &agent, STATUS_NONE, 15030);
	goes(h, &user, REASON_CLIENT_INITIATED, 30000);
	goes(h, &agent, REASON_CLIENT_INITIATED, 31000);
	room_finished(h, 32000);
	struct verdict v = verdict_at(h, FAR_FUTURE);
	assert_int_equal(v.outcome, OUTCOME_COMPLETED);
	assert_int_equal(v.answered_at_ms, 0);
	assert_int_equal(v.answered_at_earliest_ms, T0 + USER.joined_ms);
}

static void a_phone_without_attributes_has_no_direction(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	room_started(h);
	for (int left = 0; left < 2; left++) {
		struct event *e = participant_event(h, left ? EVENT_PARTICIPANT_LEFT : EVENT_PARTICIPANT_JOINED, &CALLEE, STATUS_NONE, false, 50 + left * 8000);
		e->participant.sip_call_id = e->participant.sip_phone_number = SLICE_NONE;
		e->participant.disconnect_reason = left ? REASON_CLIENT_INITIATED : REASON_UNKNOWN;
	}
	room_finished(h, 10000);
	assert_int_equal(verdict_at(h, FAR_FUTURE).direction, DIRECTION_UNKNOWN);
}

static void a_witness_of_the_answer_gives_its_moment(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	dial_and_end(h, REASON_CLIENT_INITIATED, STATUS_HANGUP, true, 9000);
	marks(h, MARK_ANSWERED, MARK_SOURCE_WATCHER, 0, 3050)->mark.within_ms = 300;
	struct verdict v = verdict_at(h, FAR_FUTURE);
	assert_verdict(v, "completed/hangup certain");
	assert_int_equal(v.answered_at_ms, T0 + 2900);
	assert_int_equal(v.answered_at_earliest_ms, T0 + 2750);
	assert_int_equal(v.answered_at_latest_ms, T0 + 3050);
	assert_true(slice_eq_cstr(v.answered_source, "watcher"));
	assert_int_equal(v.ring_seconds, 2);
	assert_int_equal(v.talk_seconds, 5);
}

static void a_witness_of_a_machine_or_a_transfer_names_the_reason(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	dial_and_end(h, REASON_CLIENT_INITIATED, STATUS_HANGUP, true, 9000);
	(void)marks(h, MARK_TRANSFERRED, MARK_SOURCE_AGENT, 0, 3050);
	judges(h, "completed/transferred likely");
	(void)marks(h, MARK_MACHINE, MARK_SOURCE_AGENT, 0, 3050);
	judges(h, "completed/machine likely");
}

/* ---- times and the rest ---- */

static void an_open_call_has_no_outcome_and_says_when_to_look_again(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	dial(h);
	leaves(h, &CALLEE, REASON_USER_REJECTED, STATUS_RINGING, false, 2000);
	struct verdict v = verdict_at(h, T0 + 3000);
	assert_int_equal(v.outcome, OUTCOME_NONE);
	assert_int_equal(v.status, CALL_ACTIVE);
	assert_int_equal(v.direction, DIRECTION_OUTBOUND);
	assert_int_equal(v.due_at_ms, T0 + (2 + 2 + 45) * 1000);
	assert_int_equal(verdict_at(h, v.due_at_ms - 1).status, CALL_ACTIVE);
	struct verdict later = verdict_at(h, v.due_at_ms);
	assert_int_equal(later.status, CALL_ENDED);
	assert_int_equal(later.due_at_ms, 0);
	assert_verdict(later, "busy/rejected_ambiguous likely");
}

static void while_a_room_is_open_a_phone_may_still_come(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	room_started(h);
	joins(h, &USER, STATUS_NONE, 40);
	assert_int_equal(verdict_at(h, T0 + 1000).direction, DIRECTION_UNKNOWN);
}

static void an_outbound_answer_is_bounded_by_the_leg(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	dial_and_end(h, REASON_CLIENT_INITIATED, STATUS_HANGUP, true, 9000);
	struct verdict v = verdict_at(h, FAR_FUTURE);
	assert_int_equal(v.answered_at_ms, 0);
	assert_int_equal(v.answered_at_earliest_ms, T0 + CALLEE.joined_ms);
	assert_int_equal(v.answered_at_latest_ms, T0 + 9999);
	assert_true(slice_is_none(v.answered_source));
	assert_int_equal(v.ring_seconds, -1);
	assert_int_equal(v.talk_seconds, -1);
}

static void an_inbound_answer_is_the_moment_of_the_track(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	struct verdict v = verdict_at(inbound(h, 1500, REASON_CLIENT_INITIATED, STATUS_HANGUP, 7000), FAR_FUTURE);
	assert_int_equal(v.answered_at_ms, T0 + 1500);
	assert_int_equal(v.answered_at_earliest_ms, T0 + 1470);
	assert_int_equal(v.answered_at_latest_ms, T0 + 1530);
	assert_true(slice_eq_cstr(v.answered_source, "track"));
	assert_int_equal(v.ring_seconds, 1);
	assert_int_equal(v.talk_seconds, 5);
}

static void a_web_call_begins_when_the_second_party_is_in_the_room(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	struct verdict v = verdict_at(web(h, REASON_CLIENT_INITIATED, 5000), FAR_FUTURE);
	assert_int_equal(v.answered_at_ms, T0 + USER.joined_ms);
	assert_int_equal(v.answered_at_latest_ms, T0 + 999);
	assert_true(slice_eq_cstr(v.answered_source, "join"));
	assert_int_equal(v.talk_seconds, 4);
	h->events[1].created_at_s += 1; /* announced in the next second: the moment is not known */
	v = verdict_at(h, FAR_FUTURE);
	assert_int_equal(v.answered_at_ms, 0);
	assert_int_equal(v.answered_at_earliest_ms, T0 + 1000);
	assert_int_equal(v.answered_at_latest_ms, T0 + 1999);
	assert_int_equal(v.talk_seconds, -1);
}

static void a_call_never_ends_before_it_began(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	struct who late = CALLEE;
	late.joined_ms = 900;
	room_started(h);
	leaves(h, &late, REASON_USER_REJECTED, STATUS_DIALING, false, 950);
	room_finished(h, 3000);
	struct verdict v = verdict_at(h, FAR_FUTURE);
	assert_int_equal(v.ended_at_ms, v.started_at_ms);
	assert_int_equal(v.duration_s, 0);
}

static void a_recording_adds_its_address_and_nothing_else(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	dial_and_end(h, REASON_USER_REJECTED, STATUS_RINGING, false, 2000);
	struct event *e = history_add(h, EVENT_EGRESS_ENDED, 9000);
	e->egress = (struct event_egress){ .egress_id = SLICE("EG_1"), .status = EGRESS_FAILED, .location = SLICE("s3://lost") };
	e = history_add(h, EVENT_EGRESS_ENDED, 9000);
	e->egress = (struct event_egress){ .egress_id = SLICE("EG_2"), .status = EGRESS_COMPLETE, .location = SLICE("s3://kept") };
	judges(h, "busy/rejected_ambiguous likely");
	assert_true(slice_eq_cstr(verdict_at(h, FAR_FUTURE).recording_url, "s3://kept"));
}

static void a_call_with_more_parts_than_are_kept_is_never_certain(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	dial_and_end(h, REASON_CLIENT_INITIATED, STATUS_HANGUP, true, 5000);
	struct facts *f = facts_of(h);
	struct verdict v;
	f->overflow = true;
	assert_int_equal(verdict_classify(f, VERDICT_RULES_VERSION, FAR_FUTURE, h->a, &v), 0);
	assert_verdict(v, "completed/hangup likely");
}

static void rules_of_another_version_are_refused(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	struct verdict v = { .rules = 77 };
	assert_int_equal(verdict_classify(facts_of(h), VERDICT_RULES_VERSION + 1, FAR_FUTURE, h->a, &v), OC_INVALID);
	assert_int_equal(v.rules, 77);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(web_endings),
		cmocka_unit_test(web_rooms_in_which_nobody_met),
		cmocka_unit_test(a_user_who_waits_alone),
		cmocka_unit_test(an_agent_error_ends_a_web_call_when_the_agent_went),
		cmocka_unit_test(a_room_of_strangers_is_unknown),
		cmocka_unit_test(a_room_that_could_not_be_opened_failed),
		cmocka_unit_test(a_connector_is_a_phone_without_a_known_direction),
		cmocka_unit_test(the_dialers_code_settles_a_rejection),
		cmocka_unit_test(a_code_from_the_app_is_only_likely),
		cmocka_unit_test(a_code_that_contradicts_the_answer_takes_the_certainty),
		cmocka_unit_test(a_code_stands_in_for_a_lost_leave),
		cmocka_unit_test(a_failed_transfer_of_a_web_call_is_not_certainly_the_whole_call),
		cmocka_unit_test(a_call_that_began_with_a_caller_stays_the_callers),
		cmocka_unit_test(a_rejected_caller_who_is_called_back_is_not_certainly_unanswered),
		cmocka_unit_test(two_web_users_may_be_two_devices_of_one),
		cmocka_unit_test(nobody_meets_who_is_hidden),
		cmocka_unit_test(who_waits_with_a_pin_and_hears_nobody_is_not_answered_by_anybody),
		cmocka_unit_test(media_lost_before_the_agent_came_is_not_certainly_a_hangup),
		cmocka_unit_test(a_web_call_begins_with_its_user_and_not_with_the_agent_who_waited),
		cmocka_unit_test(a_restart_of_the_server_does_not_move_the_answer),
		cmocka_unit_test(a_phone_without_attributes_has_no_direction),
		cmocka_unit_test(a_witness_of_the_answer_gives_its_moment),
		cmocka_unit_test(a_witness_of_a_machine_or_a_transfer_names_the_reason),
		cmocka_unit_test(an_open_call_has_no_outcome_and_says_when_to_look_again),
		cmocka_unit_test(while_a_room_is_open_a_phone_may_still_come),
		cmocka_unit_test(an_outbound_answer_is_bounded_by_the_leg),
		cmocka_unit_test(an_inbound_answer_is_the_moment_of_the_track),
		cmocka_unit_test(a_web_call_begins_when_the_second_party_is_in_the_room),
		cmocka_unit_test(a_call_never_ends_before_it_began),
		cmocka_unit_test(a_recording_adds_its_address_and_nothing_else),
		cmocka_unit_test(a_call_with_more_parts_than_are_kept_is_never_certain),
		cmocka_unit_test(rules_of_another_version_are_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
