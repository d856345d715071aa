/* core/explain.c: the evidence and the sentence. */
#include "core_fixture.h"

static bool says(const struct verdict *v, const char *event_id, const char *words)
{
	for (size_t i = 0; i < v->evidence_count; i++)
		if (slice_eq_cstr(v->evidence[i].says, words) &&
		    (event_id ? slice_eq_cstr(v->evidence[i].event_id, event_id) : slice_is_none(v->evidence[i].event_id)))
			return true;
	return false;
}

static bool explains(const struct verdict *v, const char *words)
{
	return memmem(v->explanation.p, v->explanation.n, words, strlen(words)) != NULL;
}

static void an_unanswered_leg_is_told_by_its_leave_and_its_status(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	dial_and_end(h, REASON_USER_REJECTED, STATUS_RINGING, false, 2000);
	struct verdict v = verdict_at(h, FAR_FUTURE);
	assert_true(says(&v, "EV_005", "USER_REJECTED while ringing"));
	assert_true(says(&v, "EV_008", "room_finished"));
}

static void an_answered_leg_is_told_by_its_tag(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	dial_and_end(h, REASON_CLIENT_INITIATED, STATUS_HANGUP, true, 2000);
	struct verdict v = verdict_at(h, FAR_FUTURE);
	assert_true(says(&v, "EV_005", "CLIENT_INITIATED with status hangup and sip.callTag"));
	assert_false(explains(&v, "Not certain"));
}

static void an_absence_has_no_event(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	dial(h);
	struct verdict v = verdict_at(h, FAR_FUTURE);
	assert_true(says(&v, NULL, "no participant_left of the leg"));
	assert_true(says(&v, NULL, "no room_finished"));
}

static void inbound_evidence_names_the_track_or_its_absence(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	call_in(h);
	leaves(h, &CALLER, REASON_CLIENT_INITIATED, STATUS_HANGUP, true, 9000);
	struct verdict v = verdict_at(h, FAR_FUTURE);
	assert_true(says(&v, NULL, "no audio of another party while the leg was there"));
	publishes(h, &AGENT, "TR_agent", 2000);
	v = verdict_at(h, FAR_FUTURE);
	assert_true(says(&v, "EV_004", "audio of another party while the leg was there"));
	assert_true(says(&v, "EV_003", "CLIENT_INITIATED with status hangup"));
}

static void witnesses_are_named_with_what_they_say(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	dial_and_end(h, REASON_USER_REJECTED, STATUS_DIALING, false, 700);
	(void)marks(h, MARK_SIP_RESULT, MARK_SOURCE_DIALER, 486, 700);
	(void)marks(h, MARK_ENDED, MARK_SOURCE_WATCHER, 0, 900);
	struct verdict v = verdict_at(h, FAR_FUTURE);
	assert_true(says(&v, "EV_009", "SIP 486, says dialer"));
	assert_true(says(&v, "EV_010", "ended, says watcher"));
	assert_true(explains(&v, "486"));
}

static void the_agents_error_is_evidence(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	dial(h);
	goes(h, &AGENT, REASON_AGENT_ERROR, 4000);
	leaves(h, &CALLEE, REASON_CLIENT_INITIATED, STATUS_HANGUP, true, 6000);
	struct verdict v = verdict_at(h, FAR_FUTURE);
	assert_true(says(&v, "EV_005", "AGENT_ERROR of an agent"));
}

static void a_web_call_is_told_by_who_came_second_and_who_left(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	joins(h, &AGENT, STATUS_NONE, 30);
	joins(h, &USER, STATUS_NONE, 40);
	goes(h, &USER, REASON_CLIENT_INITIATED, 9000);
	room_finished(h, 12000);
	h->events[3].room_end_reason = ROOM_END_IDLE_TIMEOUT;
	struct verdict v = verdict_at(h, FAR_FUTURE);
	assert_true(says(&v, "EV_001", "the second party was in the room"));
	assert_true(says(&v, "EV_002", "CLIENT_INITIATED of a user"));
	assert_true(says(&v, "EV_003", "room_finished, ROOM_END_IDLE_TIMEOUT"));
}

static void places_in_the_sentence_are_filled_in(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	dial_and_end(h, REASON_USER_UNAVAILABLE, STATUS_DIALING, false, 32100);
	struct verdict v = verdict_at(h, FAR_FUTURE);
	assert_true(explains(&v, "After 31 s in dialing"));
	assert_false(explains(&v, "{"));
}

static void what_keeps_a_verdict_from_being_certain_is_said(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	room_started(h);
	joins(h, &CALLEE, STATUS_DIALING, 80);
	leaves(h, &CALLEE, REASON_CLIENT_INITIATED, STATUS_HANGUP, true, 5000);
	struct verdict v = verdict_at(h, FAR_FUTURE);
	assert_true(explains(&v, "Not certain: nobody else was seen in the room"));
	assert_int_equal(v.alternative_count, 1);
	assert_int_equal(v.alternatives[0].reason, VERDICT_AGENT_ERROR);
}

static void no_number_and_no_identity_gets_into_the_words(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	dial_and_end(h, REASON_USER_REJECTED, STATUS_RINGING, false, 2000);
	struct verdict v = verdict_at(h, FAR_FUTURE);
	assert_false(explains(&v, "555"));
	for (size_t i = 0; i < v.evidence_count; i++)
		assert_null(memmem(v.evidence[i].says.p, v.evidence[i].says.n, "555", 3));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_unanswered_leg_is_told_by_its_leave_and_its_status),
		cmocka_unit_test(an_answered_leg_is_told_by_its_tag),
		cmocka_unit_test(an_absence_has_no_event),
		cmocka_unit_test(inbound_evidence_names_the_track_or_its_absence),
		cmocka_unit_test(witnesses_are_named_with_what_they_say),
		cmocka_unit_test(the_agents_error_is_evidence),
		cmocka_unit_test(a_web_call_is_told_by_who_came_second_and_who_left),
		cmocka_unit_test(places_in_the_sentence_are_filled_in),
		cmocka_unit_test(what_keeps_a_verdict_from_being_certain_is_said),
		cmocka_unit_test(no_number_and_no_identity_gets_into_the_words),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
