/* core/detail.c: who took part, each phone leg with a verdict of its own, and what became of each witness. */
#include "core_fixture.h"

#include <jansson.h>

#include "core/detail.h"

static struct detail detail_of(struct history *h, bool ended)
{
	struct detail d;
	assert_int_equal(detail_make(facts_of(h), ended, h->a, &d), 0);
	return d;
}

static struct who second_leg(int64_t joined_ms)
{
	struct who w = CALLEE;
	w.sid = "PA_second";
	w.call = "SCL_2";
	w.identity = "sip_2";
	w.joined_ms = joined_ms;
	return w;
}

/* Busy, dialed again, answered. */
static void redial(struct history *h)
{
	struct who second = second_leg(3000);
	dial(h);
	leaves(h, &CALLEE, REASON_USER_REJECTED, STATUS_RINGING, false, 2000);
	joins(h, &second, STATUS_DIALING, 3030);
	leaves(h, &second, REASON_CLIENT_INITIATED, STATUS_HANGUP, true, 9000);
	agent_goes(h, 10000);
}

static void everybody_but_recorders_has_a_leg_in_the_order_of_joining(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	struct who recorder = { .sid = "PA_egress", .identity = "EG_1", .kind = KIND_EGRESS, .joined_ms = 5 };
	redial(h);
	joins(h, &USER, STATUS_NONE, 25);
	joins(h, &recorder, STATUS_NONE, 6);
	struct detail d = detail_of(h, true);
	static const char *const sids[] = { "PA_agent", "PA_user", "PA_callee", "PA_second" };
	assert_int_equal(d.leg_count, 4);
	for (size_t i = 0; i < 4; i++)
		assert_true(slice_eq_cstr(d.legs[i].sids[0], sids[i]));
}

static void each_phone_leg_has_a_verdict_of_its_own(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	redial(h);
	struct detail d = detail_of(h, true);
	assert_int_equal(d.leg_count, 3);
	assert_false(d.legs[0].judged);
	assert_true(d.legs[1].judged && !d.legs[1].primary);
	assert_verdict(d.legs[1].verdict, "busy/rejected_ambiguous likely");
	assert_int_equal(d.legs[1].status, STATUS_RINGING);
	assert_true(d.legs[2].judged && d.legs[2].primary);
	assert_verdict(d.legs[2].verdict, "completed/hangup certain");
}

static void the_verdict_of_the_only_leg_is_the_calls(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	dial_and_end(h, REASON_USER_REJECTED, STATUS_RINGING, false, 5000);
	struct detail d = detail_of(h, true);
	struct verdict v = verdict_at(h, FAR_FUTURE);
	assert_true(slice_eq(d.legs[1].verdict.explanation, v.explanation));
	assert_true(d.legs[1].verdict.confidence == v.confidence && d.legs[1].verdict.reason == v.reason);
}

static void what_others_did_takes_nothing_from_a_legs_own_verdict(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	struct who second = second_leg(3000);
	dial(h);
	leaves(h, &CALLEE, REASON_USER_UNAVAILABLE, STATUS_RINGING, false, 180100);
	joins(h, &second, STATUS_DIALING, 190000); /* and its end is lost */
	struct detail d = detail_of(h, true);
	assert_verdict(d.legs[1].verdict, "no_answer/ring_timeout certain");
	assert_int_equal(d.legs[2].verdict.outcome, OUTCOME_UNKNOWN);
}

static void a_leg_that_goes_on_is_not_judged(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	struct who second = second_leg(3000);
	dial(h);
	leaves(h, &CALLEE, REASON_USER_REJECTED, STATUS_RINGING, false, 2000);
	joins(h, &second, STATUS_DIALING, 3030);
	struct detail d = detail_of(h, false);
	assert_true(d.legs[1].judged);
	assert_false(d.legs[2].judged);
	assert_true(d.legs[2].left == NULL && d.legs[2].left_latest_ms == 0);
}

static void sessions_of_one_phone_call_are_one_leg(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	struct who again = CALLEE;
	again.sid = "PA_again";
	again.joined_ms = 4000;
	dial(h);
	joins(h, &again, STATUS_DIALING, 4030);
	leaves(h, &again, REASON_CLIENT_INITIATED, STATUS_HANGUP, true, 9000);
	agent_goes(h, 10000);
	struct detail d = detail_of(h, true);
	assert_int_equal(d.leg_count, 2);
	assert_int_equal(d.legs[1].sid_count, 2);
	assert_true(slice_eq_cstr(d.legs[1].sids[0], "PA_callee") && slice_eq_cstr(d.legs[1].sids[1], "PA_again"));
	assert_true(d.legs[1].left && slice_eq_cstr(d.legs[1].left->sid, "PA_again"));
}

/* ---- witnesses ---- */

static void a_mark_says_whom_it_is_about(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	redial(h);
	marks(h, MARK_SIP_RESULT, MARK_SOURCE_DIALER, 486, 2010)->mark.sip_call_id = SLICE("SCL_1");
	marks(h, MARK_NOTE, MARK_SOURCE_APP, 0, 1000)->mark.sip_call_id = SLICE("SCL_nobody");
	struct detail d = detail_of(h, true);
	assert_int_equal(d.witness_count, 2);
	assert_null(d.witnesses[0].leg);
	assert_non_null(d.witnesses[1].leg);
	assert_true(slice_eq_cstr(d.witnesses[1].leg->sids[0], "PA_callee"));
	assert_false(d.witnesses[1].superseded || d.witnesses[1].contradicted);
	assert_verdict(d.legs[1].verdict, "busy/busy certain");
}

static void a_mark_that_was_corrected_is_shown_as_superseded(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	dial_and_end(h, REASON_USER_REJECTED, STATUS_RINGING, false, 5000);
	marks(h, MARK_SIP_RESULT, MARK_SOURCE_DIALER, 603, 5010)->mark.posted_ms = T0 + 6000;
	marks(h, MARK_SIP_RESULT, MARK_SOURCE_DIALER, 486, 5010)->mark.posted_ms = T0 + 7000;
	struct detail d = detail_of(h, true);
	for (size_t i = 0; i < 2; i++)
		assert_true(d.witnesses[i].superseded == (d.witnesses[i].mark->mark.sip_code == 603));
}

static void a_mark_that_events_contradict_is_shown_as_contradicted(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	dial_and_end(h, REASON_CLIENT_INITIATED, STATUS_HANGUP, true, 5000);
	marks(h, MARK_SIP_RESULT, MARK_SOURCE_AGENT, 486, 1000);
	struct detail d = detail_of(h, true);
	assert_true(d.witnesses[0].contradicted);
	assert_false(d.witnesses[0].superseded);
}

/* ---- JSON ---- */

static json_t *written(const struct detail *d)
{
	_cleanup_buf_ struct buf b = BUF_INIT;
	struct jsonw w = JSONW(&b);
	jw_obj(&w);
	detail_write_members(d, &w);
	jw_obj_end(&w);
	assert_false(buf_failed(&b));
	json_t *o = json_loadb(b.p, b.n, JSON_REJECT_DUPLICATES, NULL);
	assert_non_null(o);
	return o;
}

static const char *text(json_t *o, const char *key) { return json_string_value(json_object_get(o, key)); }

static void a_leg_is_written_with_all_that_is_known_of_it(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	redial(h);
	struct detail d = detail_of(h, true);
	json_t *o = written(&d), *agent = json_array_get(json_object_get(o, "legs"), 0), *leg = json_array_get(json_object_get(o, "legs"), 1);
	assert_string_equal(text(leg, "kind"), "SIP");
	assert_string_equal(text(leg, "sipCallId"), "SCL_1");
	assert_string_equal(text(leg, "direction"), "outbound");
	assert_string_equal(text(leg, "phoneNumber"), "+13125550178");
	assert_string_equal(text(leg, "callStatus"), "ringing");
	assert_string_equal(text(leg, "answered"), "no");
	assert_string_equal(text(leg, "leftReason"), "USER_REJECTED");
	assert_string_equal(text(leg, "joinedAt"), "2026-11-22T13:07:26.050Z");
	assert_string_equal(text(leg, "leftAtEarliest"), "2026-11-22T13:07:28.000Z");
	assert_string_equal(text(leg, "leftAtLatest"), "2026-11-22T13:07:28.999Z");
	assert_string_equal(text(json_object_get(leg, "verdict"), "outcome"), "busy");
	assert_string_equal(text(agent, "kind"), "AGENT");
	assert_int_equal(json_object_size(agent), json_object_size(leg));
	static const char *const null[] = { "sipCallId", "direction", "phoneNumber", "trunkPhoneNumber", "trunkId", "callStatus", "answered", "verdict" };
	for (size_t i = 0; i < sizeof null / sizeof null[0]; i++)
		assert_true(json_is_null(json_object_get(agent, null[i])));
	json_decref(o);
}

static void a_code_and_its_text_are_written_verbatim(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	dial_and_end(h, REASON_USER_REJECTED, STATUS_RINGING, false, 5000);
	struct event *e = marks(h, MARK_SIP_RESULT, MARK_SOURCE_DIALER, 486, 5010);
	e->mark.sip_text = SLICE("Busy \"Here\"");
	e->mark.within_ms = 300;
	struct detail d = detail_of(h, true);
	json_t *o = written(&d), *w = json_array_get(json_object_get(o, "witnesses"), 0);
	assert_string_equal(text(w, "source"), "dialer");
	assert_string_equal(text(w, "kind"), "sip_result");
	assert_int_equal(json_integer_value(json_object_get(w, "sipCode")), 486);
	assert_string_equal(text(w, "sipText"), "Busy \"Here\"");
	assert_string_equal(text(w, "at"), "2026-11-22T13:07:31.010Z");
	assert_string_equal(text(w, "atEarliest"), "2026-11-22T13:07:30.710Z");
	assert_string_equal(text(w, "sipCallId"), "SCL_1");
	json_decref(o);
}

static void facts_that_nobody_could_read_are_null_not_empty(void **state)
{
	(void)state;
	json_t *o = written(NULL);
	assert_true(json_is_null(json_object_get(o, "legs")));
	assert_true(json_is_null(json_object_get(o, "witnesses")));
	assert_true(json_is_null(json_object_get(o, "losses")));
	json_decref(o);
}

static void what_never_came_is_among_the_losses(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	room_started(h);
	leaves(h, &CALLEE, REASON_USER_REJECTED, STATUS_RINGING, false, 2000);
	room_finished(h, 5000);
	struct detail d = detail_of(h, true);
	json_t *o = written(&d), *losses = json_object_get(o, "losses");
	assert_int_equal(json_array_size(losses), 1);
	assert_string_equal(text(json_array_get(losses, 0), "participantSid"), "PA_callee");
	json_decref(o);
}

static struct slice bytes_of(struct history *h, const struct facts *f)
{
	_cleanup_buf_ struct buf b = BUF_INIT;
	struct detail d;
	struct slice s;
	assert_int_equal(detail_make(f, true, h->a, &d), 0);
	struct jsonw w = JSONW(&b);
	jw_obj(&w);
	detail_write_members(&d, &w);
	jw_obj_end(&w);
	assert_true(arena_copy(h->a, buf_slice(&b), &s));
	return s;
}

static void the_order_of_arrival_changes_nothing(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	redial(h);
	for (int i = 0; i < 3; i++)
		marks(h, MARK_NOTE, MARK_SOURCE_APP, 0, 1000);
	struct facts *forwards = facts_of(h), *backwards;
	assert_int_equal(facts_new(h->a, SLICE("RM_1"), &backwards), 0);
	for (size_t i = h->n; i-- > 0;)
		assert_int_equal(facts_fold(backwards, &h->events[i]), 0);
	assert_true(slice_eq(bytes_of(h, forwards), bytes_of(h, backwards)));
}

static void a_call_of_which_nothing_is_known_has_no_legs(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	struct detail d = detail_of(h, true);
	assert_int_equal(d.leg_count, 0);
	assert_int_equal(d.witness_count, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(everybody_but_recorders_has_a_leg_in_the_order_of_joining),
		cmocka_unit_test(each_phone_leg_has_a_verdict_of_its_own),
		cmocka_unit_test(the_verdict_of_the_only_leg_is_the_calls),
		cmocka_unit_test(what_others_did_takes_nothing_from_a_legs_own_verdict),
		cmocka_unit_test(a_leg_that_goes_on_is_not_judged),
		cmocka_unit_test(sessions_of_one_phone_call_are_one_leg),
		cmocka_unit_test(a_mark_says_whom_it_is_about),
		cmocka_unit_test(a_mark_that_was_corrected_is_shown_as_superseded),
		cmocka_unit_test(a_mark_that_events_contradict_is_shown_as_contradicted),
		cmocka_unit_test(a_leg_is_written_with_all_that_is_known_of_it),
		cmocka_unit_test(a_code_and_its_text_are_written_verbatim),
		cmocka_unit_test(facts_that_nobody_could_read_are_null_not_empty),
		cmocka_unit_test(what_never_came_is_among_the_losses),
		cmocka_unit_test(the_order_of_arrival_changes_nothing),
		cmocka_unit_test(a_call_of_which_nothing_is_known_has_no_legs),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
