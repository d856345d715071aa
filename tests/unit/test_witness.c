/* core/witness.c: which mark stands, who is believed, and that no contradiction is hidden. */
#include "core_fixture.h"

#include "core/legs.h"

static struct room_view view_of(struct history *h)
{
	struct room_view v;
	assert_int_equal(room_view_make(facts_of(h), h->a, &v), 0);
	return v;
}

static struct event *posted(struct event *e, int64_t ms)
{
	e->mark.posted_ms = T0 + ms;
	return e;
}

static bool says(struct verdict v, const char *words)
{
	for (size_t i = 0; i < v.evidence_count; i++)
		if (slice_eq_cstr(v.evidence[i].says, words))
			return true;
	return false;
}

static bool may_be(struct verdict v, enum outcome o, enum verdict_reason r)
{
	for (size_t i = 0; i < v.alternative_count; i++)
		if (v.alternatives[i].outcome == o && v.alternatives[i].reason == r)
			return true;
	return false;
}

static const struct who REDIAL = { .sid = "PA_redial", .identity = "sip_+13125550178", .kind = KIND_SIP, .joined_ms = 5000, .call = "SCL_2" };

static void a_mark_goes_to_the_leg_that_it_names_or_that_was_tried_last(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	dial(h);
	leaves(h, &CALLEE, REASON_USER_REJECTED, STATUS_DIALING, false, 2000);
	joins(h, &REDIAL, STATUS_DIALING, 5030);
	(void)marks(h, MARK_SIP_RESULT, MARK_SOURCE_DIALER, 486, 2000);
	marks(h, MARK_SIP_RESULT, MARK_SOURCE_DIALER, 404, 1000)->mark.sip_call_id = SLICE("SCL_2");
	struct room_view v = view_of(h);
	assert_int_equal(v.legs[0].marks.refused->mark.sip_code, 486);
	assert_int_equal(v.legs[1].marks.refused->mark.sip_code, 404);
}

static void a_result_that_comes_as_the_next_leg_begins_is_the_ended_legs(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	dial(h);
	leaves(h, &CALLEE, REASON_CLIENT_INITIATED, STATUS_DIALING, false, 4900);
	joins(h, &REDIAL, STATUS_DIALING, 5030);
	(void)marks(h, MARK_SIP_RESULT, MARK_SOURCE_DIALER, 503, 5100);
	(void)marks(h, MARK_SIP_RESULT, MARK_SOURCE_APP, 486, 25000);
	leaves(h, &REDIAL, REASON_USER_REJECTED, STATUS_RINGING, false, 25000);
	struct room_view v = view_of(h);
	assert_int_equal(v.legs[0].marks.refused->mark.sip_code, 503);
	assert_int_equal(v.legs[1].marks.refused->mark.sip_code, 486);
}

static void a_mark_from_long_before_any_leg_is_about_none_of_them(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	joins(h, &REDIAL, STATUS_DIALING, 5030);
	(void)marks(h, MARK_SIP_RESULT, MARK_SOURCE_DIALER, 486, -2000);
	struct room_view v = view_of(h);
	assert_null(v.legs[0].marks.refused);
	assert_non_null(v.unseen_leg);
}

static void the_dialer_is_believed_before_the_agent(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	dial(h);
	(void)marks(h, MARK_SIP_RESULT, MARK_SOURCE_AGENT, 503, 2000);
	(void)marks(h, MARK_SIP_RESULT, MARK_SOURCE_DIALER, 486, 2000);
	struct room_view v = view_of(h);
	assert_int_equal(v.legs[0].marks.refused->mark.sip_code, 486);
	assert_int_equal(v.legs[0].marks.disputes, DISPUTE_CODE);
}

static void a_later_mark_of_the_same_source_replaces_the_earlier_one(void **state)
{
	(void)state;
	for (unsigned backwards = 0; backwards < 2; backwards++) {
		_cleanup_history_ struct history *h = history_new();
		dial_and_end(h, REASON_USER_REJECTED, STATUS_RINGING, false, 2000);
		/* the wrong one was taken in first, although what it says happened later */
		(void)posted(marks(h, MARK_SIP_RESULT, MARK_SOURCE_DIALER, backwards ? 486 : 503, 2000), backwards ? 3000 : 2500);
		(void)posted(marks(h, MARK_SIP_RESULT, MARK_SOURCE_DIALER, backwards ? 503 : 486, 2050), backwards ? 2500 : 3000);
		struct room_view v = view_of(h);
		assert_int_equal(v.legs[0].marks.refused->mark.sip_code, 486);
		assert_int_equal(v.legs[0].marks.disputes, 0);
		judges(h, "busy/busy certain");
	}
}

static void a_later_word_takes_back_the_answer(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	dial(h);
	(void)posted(marks(h, MARK_ANSWERED, MARK_SOURCE_DIALER, 0, 1500), 1600);
	(void)posted(marks(h, MARK_SIP_RESULT, MARK_SOURCE_DIALER, 486, 1500), 1700);
	struct room_view v = view_of(h);
	assert_null(v.legs[0].marks.answered);
	assert_int_equal(v.legs[0].marks.code, CODE_BUSY);
	assert_int_equal(v.legs[0].answer, ANSWER_MAYBE);
	(void)posted(marks(h, MARK_ANSWERED, MARK_SOURCE_DIALER, 0, 1500), 1800);
	v = view_of(h);
	assert_null(v.legs[0].marks.refused);
	assert_int_equal(v.legs[0].answer, ANSWER_YES);
	assert_int_equal(v.legs[0].marks.disputes, 0);
}

static void a_code_200_leaves_the_moment_of_the_answer_alone(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	dial_and_end(h, REASON_CLIENT_INITIATED, STATUS_HANGUP, true, 9000);
	(void)posted(marks(h, MARK_ANSWERED, MARK_SOURCE_DIALER, 0, 1500), 1600);
	(void)posted(marks(h, MARK_SIP_RESULT, MARK_SOURCE_DIALER, 200, 1900), 2000);
	struct verdict v = verdict_at(h, FAR_FUTURE);
	assert_int_equal(v.answered_at_ms, T0 + 1500);
	assert_true(slice_eq_cstr(v.answered_source, "dialer"));
}

static void two_witnesses_who_disagree_are_both_shown(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	room_started(h);
	joins(h, &CALLEE, STATUS_DIALING, 80);
	room_finished(h, 90000);
	(void)marks(h, MARK_SIP_RESULT, MARK_SOURCE_DIALER, 486, 2000);
	(void)marks(h, MARK_ANSWERED, MARK_SOURCE_AGENT, 0, 2000);
	struct verdict v = verdict_at(h, FAR_FUTURE);
	assert_verdict(v, "busy/busy likely");
	assert_true(may_be(v, OUTCOME_COMPLETED, VERDICT_HANGUP));
	assert_true(says(v, "SIP 486, says dialer"));
	assert_true(says(v, "answered, says agent, which something contradicts"));
	assert_non_null(memmem(v.explanation.p, v.explanation.n, "Contradicted: one witness says", 30));
}

static void livekits_tag_outranks_a_code(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	dial_and_end(h, REASON_CLIENT_INITIATED, STATUS_HANGUP, true, 9000);
	(void)marks(h, MARK_SIP_RESULT, MARK_SOURCE_DIALER, 503, 2000);
	struct verdict v = verdict_at(h, FAR_FUTURE);
	assert_verdict(v, "completed/hangup likely");
	assert_true(may_be(v, OUTCOME_FAILED, VERDICT_TRUNK_FAILURE));
	assert_true(says(v, "SIP 503, says dialer, which something contradicts"));
}

static void a_leave_without_the_tag_outranks_a_word_of_an_answer(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	dial_and_end(h, REASON_ROOM_DELETED, STATUS_RINGING, false, 9000);
	judges(h, "no_answer/canceled certain");
	(void)marks(h, MARK_ANSWERED, MARK_SOURCE_AGENT, 0, 3000);
	struct verdict v = verdict_at(h, FAR_FUTURE);
	assert_verdict(v, "no_answer/canceled likely");
	assert_true(may_be(v, OUTCOME_COMPLETED, VERDICT_HANGUP));
	assert_int_equal(v.answered_at_ms, 0);
}

static void a_doubt_that_is_contradicted_is_ambiguous(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	dial_and_end(h, REASON_USER_REJECTED, STATUS_RINGING, false, 2000);
	judges(h, "busy/rejected_ambiguous likely");
	(void)marks(h, MARK_HUMAN, MARK_SOURCE_AGENT, 0, 1800);
	judges(h, "busy/rejected_ambiguous ambiguous");
}

static void a_code_that_livekits_reason_does_not_fit_is_likely(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	dial_and_end(h, REASON_SIP_TRUNK_FAILURE, STATUS_RINGING, false, 2000);
	(void)marks(h, MARK_SIP_RESULT, MARK_SOURCE_DIALER, 486, 2000);
	judges(h, "busy/busy likely");
}

static void a_code_without_a_text_of_its_own_leg_is_certain_only_in_its_time(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	dial_and_end(h, REASON_USER_REJECTED, STATUS_RINGING, false, 2000);
	(void)marks(h, MARK_SIP_RESULT, MARK_SOURCE_DIALER, 486, 500000);
	judges(h, "busy/busy likely");
}

static void machine_or_person_is_the_agents_to_say(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	dial_and_end(h, REASON_CLIENT_INITIATED, STATUS_HANGUP, true, 9000);
	(void)marks(h, MARK_MACHINE, MARK_SOURCE_AGENT, 0, 3000);
	judges(h, "completed/machine likely");
	(void)marks(h, MARK_HUMAN, MARK_SOURCE_DIALER, 0, 3500);
	struct verdict v = verdict_at(h, FAR_FUTURE);
	assert_verdict(v, "completed/machine ambiguous");
	assert_true(may_be(v, OUTCOME_COMPLETED, VERDICT_HANGUP));
	(void)marks(h, MARK_HUMAN, MARK_SOURCE_AGENT, 0, 6000);
	judges(h, "completed/hangup certain");
}

static void a_machine_heard_before_the_answer_is_no_answer(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	dial_and_end(h, REASON_USER_UNAVAILABLE, STATUS_RINGING, false, 9000);
	(void)marks(h, MARK_MACHINE, MARK_SOURCE_AGENT, 0, 3000);
	struct verdict v = verdict_at(h, FAR_FUTURE);
	assert_verdict(v, "no_answer/unanswered likely");
	assert_true(says(v, "a machine, says agent"));
}

static void a_witness_stands_in_for_a_lost_leave(void **state)
{
	(void)state;
	static const struct {
		enum mark_kind kind;
		const char *want;
	} MARKS[] = { { MARK_ANSWERED, "completed/hangup likely" }, { MARK_HUMAN, "completed/hangup likely" },
		{ MARK_MACHINE, "completed/machine likely" }, { MARK_TRANSFERRED, "completed/transferred likely" } };
	for (size_t i = 0; i < sizeof MARKS / sizeof MARKS[0]; i++) {
		_cleanup_history_ struct history *h = history_new();
		dial(h);
		room_finished(h, 20000);
		judges(h, "unknown/events_lost ambiguous");
		(void)marks(h, MARKS[i].kind, MARK_SOURCE_AGENT, 0, 2000);
		judges(h, MARKS[i].want);
	}
}

static void who_ended_it_may_be_told(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	dial_and_end(h, REASON_CLIENT_INITIATED, STATUS_HANGUP, true, 9000);
	marks(h, MARK_ENDED, MARK_SOURCE_DIALER, 0, 9000)->mark.value = SLICE("max_duration");
	judges(h, "completed/max_duration likely");
}

static void a_leg_that_only_a_witness_names_takes_the_certainty(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	dial_and_end(h, REASON_CLIENT_INITIATED, STATUS_HANGUP, true, 9000);
	judges(h, "completed/hangup certain");
	marks(h, MARK_SIP_RESULT, MARK_SOURCE_DIALER, 486, 9500)->mark.sip_call_id = SLICE("SCL_other");
	struct verdict v = verdict_at(h, FAR_FUTURE);
	assert_verdict(v, "completed/hangup likely");
	assert_true(v.alternative_count == 0 || v.alternatives[0].outcome != OUTCOME_BUSY);
}

static void an_attempt_that_never_got_into_the_room_is_known_by_its_dialer_alone(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	room_started(h);
	room_finished(h, 20000);
	judges(h, "no_answer/nobody_joined likely");
	(void)marks(h, MARK_SIP_RESULT, MARK_SOURCE_DIALER, 503, 300);
	struct verdict v = verdict_at(h, FAR_FUTURE);
	assert_verdict(v, "failed/trunk_failure likely");
	assert_int_equal(v.direction, DIRECTION_OUTBOUND);
}

static void what_only_a_mark_told_of_ends(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	struct event *m = marks(h, MARK_ANSWERED, MARK_SOURCE_DIALER, 0, 300);
	m->mark.tenant = SLICE("acme");
	m->mark.sip_call_id = SLICE("SCL_1");
	struct verdict v = verdict_at(h, T0);
	assert_int_equal(v.outcome, OUTCOME_NONE);
	assert_true(v.due_at_ms > T0 && v.due_at_ms < T0 + 48 * INT64_C(3600000));
	judges(h, "completed/hangup likely");
	struct facts view;
	assert_int_equal(facts_for_tenant(facts_of(h), SLICE("other"), h->a, &view), 0);
	assert_int_equal(verdict_classify(&view, VERDICT_RULES_VERSION, T0, h->a, &v), 0);
	assert_true(v.due_at_ms > T0);
}

static void an_end_that_a_witness_names_ends_a_call_that_goes_no_further(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	dial(h);
	(void)marks(h, MARK_ENDED, MARK_SOURCE_WATCHER, 0, 30000);
	struct verdict v = verdict_at(h, T0 + 200000);
	assert_int_equal(v.status, CALL_ENDED);
	publishes(h, &AGENT, "TR_later", 60000);
	v = verdict_at(h, T0 + 200000);
	assert_int_equal(v.status, CALL_ACTIVE);
	assert_int_equal(view_of(h).marks.disputes, DISPUTE_END);
}

static void a_leg_that_the_watcher_misses_is_gone(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	dial(h);
	struct event *m = marks(h, MARK_ENDED, MARK_SOURCE_WATCHER, 0, 30000);
	m->mark.sip_call_id = slice_cstr(CALLEE.call);
	m->mark.within_ms = 2000;
	m->mark.value = SLICE("ringing");
	struct room_view v = view_of(h);
	assert_int_equal(v.legs[0].to_lo, T0 + 28000);
	assert_int_equal(v.legs[0].to_hi, T0 + 30000);
	judges(h, "no_answer/unanswered ambiguous");
	h->events[h->n - 1].mark.value = SLICE_NONE;
	judges(h, "unknown/events_lost ambiguous");
}

static void an_answer_at_a_time_without_the_leg_has_no_time(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	dial_and_end(h, REASON_CLIENT_INITIATED, STATUS_HANGUP, true, 9000);
	(void)marks(h, MARK_ANSWERED, MARK_SOURCE_DIALER, 0, 90000);
	struct verdict v = verdict_at(h, FAR_FUTURE);
	assert_int_equal(v.answered_at_ms, 0);
	assert_verdict(v, "completed/hangup certain");
	assert_int_equal(view_of(h).legs[0].marks.disputes, DISPUTE_TIME);
	(void)marks(h, MARK_ANSWERED, MARK_SOURCE_AGENT, 0, 3000);
	assert_int_equal(verdict_at(h, FAR_FUTURE).answered_at_ms, T0 + 3000);
}

static void without_a_phone_the_agents_word_is_a_meeting(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	room_started(h);
	joins(h, &USER, STATUS_NONE, 40);
	goes(h, &USER, REASON_CLIENT_INITIATED, 9000);
	room_finished(h, 11000);
	judges(h, "no_answer/agent_unavailable likely");
	(void)marks(h, MARK_ANSWERED, MARK_SOURCE_AGENT, 0, 3000);
	struct verdict v = verdict_at(h, FAR_FUTURE);
	assert_verdict(v, "completed/user_left likely");
	assert_int_equal(v.answered_at_ms, T0 + 3000);
	(void)marks(h, MARK_TRANSFERRED, MARK_SOURCE_AGENT, 0, 5000);
	judges(h, "completed/transferred likely");
}

static void a_carriers_code_tells_about_a_caller(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	call_in(h);
	leaves(h, &CALLER, REASON_CLIENT_INITIATED, STATUS_RINGING, true, 9000);
	room_finished(h, 11500);
	(void)marks(h, MARK_SIP_RESULT, MARK_SOURCE_CARRIER, 487, 9000);
	judges(h, "no_answer/caller_abandoned likely");
}

static void every_dispute_has_words(void **state)
{
	(void)state;
	for (unsigned i = 0; i < DISPUTE_COUNT; i++)
		assert_true(strlen(dispute_text(i)) > 20);
	assert_int_equal(DISPUTE_ANSWER, 1);
}

/* LiveKit answers with a sip.callTag. An agent that says answered when the phone joins says so at dialing. */
static void a_witness_alone_makes_no_answer_certain(void **state)
{
	(void)state;
	static const struct {
		enum disconnect_reason reason;
		enum sip_status status;
		const char *alone, *proved;
	} ENDS[] = {
		{ REASON_CLIENT_INITIATED, STATUS_HANGUP, "completed/hangup likely", "completed/hangup certain" },
		{ REASON_ROOM_DELETED, STATUS_HANGUP, "completed/agent_hangup likely", "completed/agent_hangup certain" },
		{ REASON_PARTICIPANT_REMOVED, STATUS_ACTIVE, "completed/agent_hangup likely", "completed/agent_hangup certain" },
	};
	for (size_t i = 0; i < sizeof ENDS / sizeof ENDS[0]; i++)
		for (int proved = 0; proved < 2; proved++) {
			_cleanup_history_ struct history *h = history_new();
			dial_and_end(h, ENDS[i].reason, ENDS[i].status, proved, 9000);
			(void)marks(h, MARK_ANSWERED, i ? MARK_SOURCE_AGENT : MARK_SOURCE_DIALER, 0, 4000);
			judges(h, proved ? ENDS[i].proved : ENDS[i].alone);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_witness_alone_makes_no_answer_certain),
		cmocka_unit_test(a_mark_goes_to_the_leg_that_it_names_or_that_was_tried_last),
		cmocka_unit_test(a_result_that_comes_as_the_next_leg_begins_is_the_ended_legs),
		cmocka_unit_test(a_mark_from_long_before_any_leg_is_about_none_of_them),
		cmocka_unit_test(the_dialer_is_believed_before_the_agent),
		cmocka_unit_test(a_later_mark_of_the_same_source_replaces_the_earlier_one),
		cmocka_unit_test(a_later_word_takes_back_the_answer),
		cmocka_unit_test(a_code_200_leaves_the_moment_of_the_answer_alone),
		cmocka_unit_test(two_witnesses_who_disagree_are_both_shown),
		cmocka_unit_test(livekits_tag_outranks_a_code),
		cmocka_unit_test(a_leave_without_the_tag_outranks_a_word_of_an_answer),
		cmocka_unit_test(a_doubt_that_is_contradicted_is_ambiguous),
		cmocka_unit_test(a_code_that_livekits_reason_does_not_fit_is_likely),
		cmocka_unit_test(a_code_without_a_text_of_its_own_leg_is_certain_only_in_its_time),
		cmocka_unit_test(machine_or_person_is_the_agents_to_say),
		cmocka_unit_test(a_machine_heard_before_the_answer_is_no_answer),
		cmocka_unit_test(a_witness_stands_in_for_a_lost_leave),
		cmocka_unit_test(who_ended_it_may_be_told),
		cmocka_unit_test(a_leg_that_only_a_witness_names_takes_the_certainty),
		cmocka_unit_test(an_attempt_that_never_got_into_the_room_is_known_by_its_dialer_alone),
		cmocka_unit_test(what_only_a_mark_told_of_ends),
		cmocka_unit_test(an_end_that_a_witness_names_ends_a_call_that_goes_no_further),
		cmocka_unit_test(a_leg_that_the_watcher_misses_is_gone),
		cmocka_unit_test(an_answer_at_a_time_without_the_leg_has_no_time),
		cmocka_unit_test(without_a_phone_the_agents_word_is_a_meeting),
		cmocka_unit_test(a_carriers_code_tells_about_a_caller),
		cmocka_unit_test(every_dispute_has_words),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
