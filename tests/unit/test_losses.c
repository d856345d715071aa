/* core/losses.c: what must have existed and never came. */
#include "core_fixture.h"

#include <jansson.h>

#include "core/losses.h"

static struct losses of(struct history *h, bool ended)
{
	struct losses l;
	assert_int_equal(losses_find(facts_of(h), ended, h->a, &l), 0);
	unsigned kinds = 0;
	for (size_t i = 0; i < l.count; i++)
		kinds |= 1u << l.items[i].kind;
	assert_int_equal(kinds, l.kinds);
	return l;
}

static void whole(struct history *h)
{
	dial(h);
	unpublishes(h, &CALLEE, "TR_callee", 110, 8990);
	leaves(h, &CALLEE, REASON_CLIENT_INITIATED, STATUS_HANGUP, true, 9000);
	agent_goes(h, 10000);
}

/* The whole call without the events of this type and participant. */
static struct losses without(enum event_type type, const char *sid, bool ended)
{
	struct losses l;
	_cleanup_history_ struct history *h = history_new();
	whole(h);
	size_t kept = 0;
	for (size_t i = 0; i < h->n; i++)
		if (h->events[i].type != type || (sid && !slice_eq_cstr(h->events[i].participant.sid, sid)))
			h->events[kept++] = h->events[i];
	assert_int_not_equal(kept, h->n);
	h->n = kept;
	l = of(h, ended);
	l.items = NULL; /* goes with the history */
	return l;
}

static void a_call_that_came_whole_lost_nothing(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	whole(h);
	assert_int_equal(of(h, true).count, 0);
}

static void each_withheld_event_is_missed(void **state)
{
	(void)state;
	static const struct {
		enum event_type type;
		const char *sid;
		enum loss_kind kind;
	} CASES[] = {
		{ EVENT_ROOM_STARTED, NULL, LOSS_ROOM_STARTED }, { EVENT_ROOM_FINISHED, NULL, LOSS_ROOM_FINISHED },
		{ EVENT_PARTICIPANT_JOINED, "PA_callee", LOSS_JOINED }, { EVENT_PARTICIPANT_LEFT, "PA_callee", LOSS_LEFT },
		{ EVENT_TRACK_PUBLISHED, "PA_agent", LOSS_TRACK_PUBLISHED }, { EVENT_TRACK_UNPUBLISHED, "PA_agent", LOSS_TRACK_UNPUBLISHED },
	};
	for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
		struct losses l = without(CASES[i].type, CASES[i].sid, true);
		assert_int_equal(l.kinds, 1u << CASES[i].kind);
		assert_int_equal(l.count, 1);
	}
}

static void while_the_call_is_open_what_may_come_yet_is_not_lost(void **state)
{
	(void)state;
	assert_int_equal(without(EVENT_ROOM_FINISHED, NULL, false).count, 0);
	assert_int_equal(without(EVENT_PARTICIPANT_LEFT, "PA_agent", false).count, 0);
	assert_int_equal(without(EVENT_ROOM_STARTED, NULL, false).count, 1);
}

static void a_stranger_and_a_session_that_never_ended_are_named(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	struct who again = USER;
	again.sid = "PA_again";
	again.joined_ms = 5000;
	room_started(h);
	joins(h, &USER, STATUS_NONE, 40);
	joins(h, &again, STATUS_NONE, 5040);
	publishes(h, &CALLEE, "TR_x", 6000);
	struct losses l = of(h, false);
	assert_int_equal(l.kinds, 1u << LOSS_LEFT | 1u << LOSS_PARTICIPANT);
	assert_true(slice_eq_cstr(l.items[0].participant_sid, "PA_user"));
	assert_true(slice_eq_cstr(l.items[1].participant_sid, "PA_callee"));
}

static void who_only_aborted_lost_nothing(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	room_started(h);
	aborts(h, &USER, REASON_SIGNAL_CLOSE, 3000);
	room_finished(h, 9000);
	assert_int_equal(of(h, true).count, 0);
}

static void a_recording_a_leg_and_a_counterpart_are_missed(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	call_in(h);
	leaves(h, &CALLER, REASON_ROOM_DELETED, STATUS_ACTIVE, true, 9000);
	unpublishes(h, &CALLER, "TR_caller", 60, 9000);
	room_finished(h, 9100);
	marks(h, MARK_NOTE, MARK_SOURCE_DIALER, 0, 100)->mark.sip_call_id = SLICE("SCL_noted");
	marks(h, MARK_SIP_RESULT, MARK_SOURCE_DIALER, 486, 200)->mark.sip_call_id = SLICE("SCL_other");
	history_add(h, EVENT_EGRESS_STARTED, 3000)->egress = (struct event_egress){ .egress_id = SLICE("EG_1"), .status = EGRESS_ACTIVE };
	struct losses l = of(h, true);
	assert_int_equal(l.kinds, 1u << LOSS_EGRESS_ENDED | 1u << LOSS_LEG | 1u << LOSS_HEARD);
	assert_true(slice_eq_cstr(l.items[0].id, "EG_1"));
	assert_true(slice_eq_cstr(l.items[1].id, "SCL_other"));
	_cleanup_buf_ struct buf b = BUF_INIT;
	struct jsonw w = JSONW(&b);
	losses_write(&l, &w);
	json_t *j = json_loadb(b.p, b.n, 0, NULL);
	assert_int_equal(json_array_size(j), 3);
	assert_string_equal(json_string_value(json_object_get(json_array_get(j, 2), "loss")), "heard");
	assert_string_equal(json_string_value(json_object_get(json_array_get(j, 2), "participantSid")), "PA_caller");
	assert_true(json_is_null(json_object_get(json_array_get(j, 0), "identity")));
	json_decref(j);
}

static void more_parts_than_are_kept_are_a_loss(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	whole(h);
	struct facts *f = facts_of(h);
	f->overflow = true;
	struct losses l;
	assert_int_equal(losses_find(f, true, h->a, &l), 0);
	assert_int_equal(l.kinds, 1u << LOSS_OVERFLOW);
}

static void each_kind_has_a_name_and_words(void **state)
{
	(void)state;
	for (unsigned k = 0; k < LOSS_COUNT; k++) {
		assert_true(strlen(loss_name((enum loss_kind)k)) > 2);
		assert_true(strlen(loss_words((enum loss_kind)k)) > 10);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_call_that_came_whole_lost_nothing),
		cmocka_unit_test(each_withheld_event_is_missed),
		cmocka_unit_test(while_the_call_is_open_what_may_come_yet_is_not_lost),
		cmocka_unit_test(a_stranger_and_a_session_that_never_ended_are_named),
		cmocka_unit_test(who_only_aborted_lost_nothing),
		cmocka_unit_test(a_recording_a_leg_and_a_counterpart_are_missed),
		cmocka_unit_test(more_parts_than_are_kept_are_a_loss),
		cmocka_unit_test(each_kind_has_a_name_and_words),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
