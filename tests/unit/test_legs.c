/* core/legs.c: who was in the room, and which legs there were. */
#include "core_fixture.h"

#include "core/legs.h"

static struct room_view view_of(struct history *h)
{
	struct room_view v;
	assert_int_equal(room_view_make(facts_of(h), h->a, &v), 0);
	return v;
}

static void one_call_id_over_two_sessions_is_one_leg(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	struct who again = CALLEE;
	again.sid = "PA_again";
	again.joined_ms = 9000;
	dial(h);
	leaves(h, &CALLEE, REASON_MIGRATION, STATUS_ACTIVE, true, 8900);
	joins(h, &again, STATUS_DIALING, 9030);
	leaves(h, &again, REASON_CLIENT_INITIATED, STATUS_HANGUP, true, 15000);
	struct room_view v = view_of(h);
	assert_int_equal(v.leg_count, 1);
	assert_int_equal(v.legs[0].seat_count, 2);
	assert_int_equal(v.legs[0].joined_at_ms, T0 + CALLEE.joined_ms);
	assert_ptr_equal(v.legs[0].end, v.legs[0].seats[1]->session);
	assert_true(v.legs[0].call_tag);
}

static void a_redial_with_the_same_identity_is_another_leg(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	struct who redial = CALLEE;
	redial.sid = "PA_a";
	redial.call = "SCL_0";
	redial.joined_ms = 3000;
	dial(h);
	leaves(h, &CALLEE, REASON_USER_REJECTED, STATUS_RINGING, false, 2000);
	joins(h, &redial, STATUS_DIALING, 3030);
	struct room_view v = view_of(h);
	assert_int_equal(v.leg_count, 2);
	assert_true(slice_eq_cstr(v.legs[0].call_id, "SCL_1"));
	assert_true(slice_eq_cstr(v.legs[1].call_id, "SCL_0"));
}

static void egress_ingress_and_bridges_are_no_parties(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	static const enum participant_kind KINDS[] = { KIND_EGRESS, KIND_INGRESS, KIND_BRIDGE };
	static const char *const SIDS[] = { "PA_1", "PA_2", "PA_3" };
	for (size_t i = 0; i < 3; i++) {
		struct who w = { .sid = SIDS[i], .identity = SIDS[i], .kind = KINDS[i] };
		joins(h, &w, STATUS_NONE, 100);
	}
	struct room_view v = view_of(h);
	assert_int_equal(v.users + v.agents + v.phones + v.strangers + v.leg_count, 0);
}

static void a_tracks_owner_is_a_stranger_unless_the_identity_is_known(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	struct who other_session = USER, phone_again = CALLEE, unknown = { .sid = "PA_x", .identity = "somebody", .kind = KIND_UNKNOWN };
	other_session.sid = "PA_user2";
	phone_again.sid = "PA_callee2";
	joins(h, &USER, STATUS_NONE, 30);
	joins(h, &CALLEE, STATUS_DIALING, 60);
	publishes(h, &other_session, "TR_1", 500);
	assert_int_equal(view_of(h).strangers, 0);
	publishes(h, &phone_again, "TR_2", 500);
	assert_int_equal(view_of(h).strangers, 1);
	publishes(h, &unknown, "TR_3", 500);
	assert_int_equal(view_of(h).strangers, 2);
}

static void the_direction_is_inbound_where_there_is_a_rule(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	dial(h);
	assert_int_equal(view_of(h).legs[0].direction, DIRECTION_OUTBOUND);
	h->n = 0;
	call_in(h);
	assert_int_equal(view_of(h).legs[0].direction, DIRECTION_INBOUND);
}

static void somebody_who_only_aborted_was_never_there(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	aborts(h, &USER, REASON_SIGNAL_CLOSE, 3000);
	struct room_view v = view_of(h);
	assert_int_equal(v.users, 0);
	assert_int_equal(v.aborted_users, 1);
}

static void a_legs_own_audio_ends_it_where_its_leave_is_lost(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	dial(h);
	unpublishes(h, &CALLEE, "TR_callee", 110, 7000);
	struct room_view v = view_of(h);
	assert_null(v.legs[0].end);
	assert_int_equal(v.legs[0].gone_s, (T0 + 7000) / 1000);
}

static void a_room_that_somebody_joined_after_its_end_goes_on(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	struct who again = USER;
	again.sid = "PA_again";
	again.joined_ms = 9000;
	joins(h, &USER, STATUS_NONE, 30);
	room_finished(h, 5000);
	assert_true(view_of(h).finished);
	joins(h, &again, STATUS_NONE, 9030);
	assert_false(view_of(h).finished);
}

static void a_leave_because_the_room_closed_tells_the_rooms_end(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	joins(h, &AGENT, STATUS_NONE, 30);
	goes(h, &AGENT, REASON_ROOM_CLOSED, 7000);
	struct room_view v = view_of(h);
	assert_false(v.finished);
	assert_int_equal(v.room_end_s, (T0 + 7000) / 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_call_id_over_two_sessions_is_one_leg),
		cmocka_unit_test(a_redial_with_the_same_identity_is_another_leg),
		cmocka_unit_test(egress_ingress_and_bridges_are_no_parties),
		cmocka_unit_test(a_tracks_owner_is_a_stranger_unless_the_identity_is_known),
		cmocka_unit_test(the_direction_is_inbound_where_there_is_a_rule),
		cmocka_unit_test(somebody_who_only_aborted_was_never_there),
		cmocka_unit_test(a_legs_own_audio_ends_it_where_its_leave_is_lost),
		cmocka_unit_test(a_room_that_somebody_joined_after_its_end_goes_on),
		cmocka_unit_test(a_leave_because_the_room_closed_tells_the_rooms_end),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
