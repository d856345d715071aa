/* core/watch.c: what is worth asking, and what the answers tell. */
#include "core_fixture.h"

#include "core/watch.h"

static struct watch wants(struct history *h, int64_t as_of_ms)
{
	struct verdict v = verdict_at(h, as_of_ms);
	struct watch w;
	assert_int_equal(watch_wants(facts_of(h), &v, h->a, &w), 0);
	return w;
}

static void an_unanswered_outbound_leg_is_asked_about_at_once(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	dial(h);
	struct watch w = wants(h, T0 + 1000);
	assert_int_equal(w.participants_ms, T0 + CALLEE.joined_ms);
	assert_int_equal(watch_next_ms(&w), T0 + CALLEE.joined_ms);
	assert_int_equal(watch_due(&w, T0 + 1000), WATCH_PARTICIPANTS);
	(void)marks(h, MARK_ANSWERED, MARK_SOURCE_WATCHER, 0, 2000);
	w = wants(h, T0 + 3000);
	assert_true(w.participants_ms > T0 + 60000);
}

static void a_quiet_call_is_asked_about_after_a_while(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	room_started(h);
	joins(h, &USER, STATUS_NONE, 40);
	struct watch w = wants(h, T0 + 1000);
	assert_int_equal(w.room_ms, T0 + WATCH_QUIET_MS);
	assert_int_equal(watch_due(&w, w.room_ms), WATCH_PARTICIPANTS | WATCH_ROOM);
	goes(h, &USER, REASON_CLIENT_INITIATED, 9000);
	room_finished(h, 11000);
	w = wants(h, FAR_FUTURE);
	assert_int_equal(watch_next_ms(&w), 0);
}

static void a_recording_that_never_ended_is_asked_about_after_the_call(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	dial(h);
	struct event *e = history_add(h, EVENT_EGRESS_STARTED, 3000);
	e->egress = (struct event_egress){ .egress_id = SLICE("EG_1"), .status = EGRESS_STARTING };
	assert_int_equal(wants(h, T0 + 4000).egress_ms, 0);
	leaves(h, &CALLEE, REASON_CLIENT_INITIATED, STATUS_HANGUP, true, 9000);
	agent_goes(h, 10000);
	assert_true(wants(h, FAR_FUTURE).egress_ms >= T0 + 9000 + WATCH_EGRESS_MS);
	e = history_add(h, EVENT_EGRESS_ENDED, 15000);
	e->egress = (struct event_egress){ .egress_id = SLICE("EG_1"), .status = EGRESS_COMPLETE };
	assert_int_equal(wants(h, FAR_FUTURE).egress_ms, 0);
}

/* ---- replies ---- */

static const struct event_participant RINGING = { .sid = SLICE("PA_callee"), .kind = KIND_SIP, .sip_call_id = SLICE("SCL_1"),
	.sip_status = STATUS_RINGING };
static const struct event_participant ACTIVE = { .sid = SLICE("PA_callee"), .kind = KIND_SIP, .sip_call_id = SLICE("SCL_1"),
	.sip_status = STATUS_ACTIVE, .sip_call_tag = true };

struct lesson_test {
	struct history *h;
	struct watch_memory memory;
	struct event *events;
	size_t count;
};

/* Asks at T0 + at_ms; the answer comes 2 ms later. What is learnt is folded into the history. */
static void ask(struct lesson_test *t, const struct event_participant *p, bool room_gone, int64_t at_ms)
{
	struct watch_reply reply = { .asked_ms = T0 + at_ms, .got_ms = T0 + at_ms + 2, .room_gone = room_gone, .participants = p,
		.participant_count = p ? 1 : 0 };
	assert_int_equal(watch_learn(facts_of(t->h), &reply, &t->memory, t->h->a, &t->events, &t->count), 0);
	for (size_t i = 0; i < t->count; i++)
		*history_add(t->h, EVENT_MARK, at_ms) = t->events[i];
}

static void the_answer_is_learnt_within_the_interval(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	struct lesson_test t = { .h = h };
	dial(h);
	ask(&t, &RINGING, false, 2000);
	assert_int_equal(t.count, 0);
	ask(&t, &ACTIVE, false, 2300);
	assert_int_equal(t.count, 1);
	const struct event_mark *m = &t.events[0].mark;
	assert_int_equal(m->kind, MARK_ANSWERED);
	assert_int_equal(m->source, MARK_SOURCE_WATCHER);
	assert_int_equal(m->at_ms, T0 + 2302);
	assert_int_equal(m->within_ms, 302 + 350);
	assert_true(slice_eq_cstr(t.events[0].id, "watcher:RM_1:answered:SCL_1"));
	assert_true(slice_is_none(m->tenant));
	ask(&t, &ACTIVE, false, 2600);
	assert_int_equal(t.count, 0);
	leaves(h, &CALLEE, REASON_CLIENT_INITIATED, STATUS_HANGUP, true, 9000);
	agent_goes(h, 10000);
	struct verdict v = verdict_at(h, FAR_FUTURE);
	assert_true(v.answered_at_ms > T0 + 1950 && v.answered_at_ms < T0 + 2302);
	assert_true(slice_eq_cstr(v.answered_source, "watcher"));
	assert_true(v.answered_at_earliest_ms <= v.answered_at_ms && v.answered_at_ms <= v.answered_at_latest_ms);
	assert_int_equal(v.talk_seconds, (v.ended_at_ms - v.answered_at_latest_ms) / 1000);
}

static void without_an_earlier_reply_the_answer_lies_after_the_dialing(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	struct lesson_test t = { .h = h };
	dial(h);
	ask(&t, &ACTIVE, false, 4000);
	assert_int_equal(t.count, 1);
	assert_int_equal(t.events[0].mark.within_ms, 4002 - CALLEE.joined_ms);
}

static void the_tag_of_a_caller_is_no_answer(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	struct lesson_test t = { .h = h };
	struct event_participant caller = RINGING;
	caller.sip_call_id = slice_cstr(CALLER.call);
	caller.sip_call_tag = true;
	call_in(h);
	ask(&t, &caller, false, 4000);
	assert_int_equal(t.count, 0);
}

static void a_leg_is_gone_when_two_replies_miss_it(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	struct lesson_test t = { .h = h };
	dial(h);
	ask(&t, &RINGING, false, 3000);
	ask(&t, NULL, false, 4000);
	assert_int_equal(t.count, 0);
	ask(&t, NULL, false, 5000);
	assert_int_equal(t.count, 0);
	ask(&t, NULL, false, 4002 + WATCH_CONFIRM_MS);
	assert_int_equal(t.count, 1);
	assert_int_equal(t.events[0].mark.kind, MARK_ENDED);
	assert_int_equal(t.events[0].mark.at_ms, T0 + 4002);
	assert_int_equal(t.events[0].mark.within_ms, 1002);
	assert_true(slice_eq_cstr(t.events[0].mark.value, "ringing"));
	judges(h, "no_answer/unanswered ambiguous");
}

static void a_leg_that_comes_back_was_not_gone(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	struct lesson_test t = { .h = h };
	dial(h);
	ask(&t, NULL, false, 10000);
	ask(&t, &RINGING, false, 20000);
	ask(&t, NULL, false, 30000);
	assert_int_equal(t.count, 0);
}

static void a_leg_that_has_just_joined_is_not_missed(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	struct lesson_test t = { .h = h };
	dial(h);
	ask(&t, NULL, false, 1000);
	ask(&t, NULL, false, 1000 + WATCH_CONFIRM_MS + 10);
	assert_int_equal(t.count, 0);
}

static void a_leg_that_was_answered_in_between_is_not_called_unanswered(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	struct lesson_test t = { .h = h };
	dial(h);
	ask(&t, &RINGING, false, 3000);
	ask(&t, &ACTIVE, false, 4000);
	ask(&t, NULL, false, 5000);
	ask(&t, NULL, false, 5100 + WATCH_CONFIRM_MS);
	assert_int_equal(t.count, 1);
	assert_true(slice_is_none(t.events[0].mark.value));
	judges(h, "completed/hangup likely");
}

static void a_room_is_gone_when_two_replies_miss_it(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	struct lesson_test t = { .h = h };
	room_started(h);
	joins(h, &USER, STATUS_NONE, 40);
	ask(&t, NULL, true, 200000);
	assert_int_equal(t.count, 0);
	ask(&t, NULL, true, 200010 + WATCH_CONFIRM_MS);
	assert_int_equal(t.count, 1);
	assert_true(slice_eq_cstr(t.events[0].id, "watcher:RM_1:ended:"));
	assert_int_equal(verdict_at(h, T0 + 400000).status, CALL_ENDED);
}

static void more_legs_than_are_remembered_do_no_harm(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	struct lesson_test t = { .h = h };
	room_started(h);
	for (unsigned i = 0; i < WATCH_LEGS + 4; i++) {
		char sid[] = "PA_00", call[] = "SCL_00";
		sid[3] = call[4] = (char)('0' + i / 10);
		sid[4] = call[5] = (char)('0' + i % 10);
		struct who w = CALLEE;
		w.sid = arena_dup(h->a, slice_cstr(sid));
		w.call = arena_dup(h->a, slice_cstr(call));
		w.identity = w.sid;
		joins(h, &w, STATUS_DIALING, 80);
	}
	ask(&t, NULL, false, 10000);
	ask(&t, NULL, false, 11000 + WATCH_CONFIRM_MS);
	assert_int_equal(t.memory.leg_count, WATCH_LEGS);
	assert_int_equal(t.count, WATCH_LEGS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_unanswered_outbound_leg_is_asked_about_at_once),
		cmocka_unit_test(a_quiet_call_is_asked_about_after_a_while),
		cmocka_unit_test(a_recording_that_never_ended_is_asked_about_after_the_call),
		cmocka_unit_test(the_answer_is_learnt_within_the_interval),
		cmocka_unit_test(without_an_earlier_reply_the_answer_lies_after_the_dialing),
		cmocka_unit_test(the_tag_of_a_caller_is_no_answer),
		cmocka_unit_test(a_leg_is_gone_when_two_replies_miss_it),
		cmocka_unit_test(a_leg_that_comes_back_was_not_gone),
		cmocka_unit_test(a_leg_that_has_just_joined_is_not_missed),
		cmocka_unit_test(a_leg_that_was_answered_in_between_is_not_called_unanswered),
		cmocka_unit_test(a_room_is_gone_when_two_replies_miss_it),
		cmocka_unit_test(more_legs_than_are_remembered_do_no_harm),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
