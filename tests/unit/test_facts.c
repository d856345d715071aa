/* core/facts.c: folding and merging, whatever the order, the repetitions and the limits. */
#include "core_fixture.h"

static struct slice encoded(struct history *h, const struct facts *f)
{
	_cleanup_buf_ struct buf b = BUF_INIT;
	struct slice s;
	facts_encode(f, &b);
	assert_false(buf_failed(&b));
	assert_true(arena_copy(h->a, buf_slice(&b), &s));
	return s;
}

static void assert_same(struct history *h, const struct facts *x, const struct facts *y)
{
	struct slice a = encoded(h, x), b = encoded(h, y);
	if (!slice_eq(a, b))
		fail_msg("%.*s\ndiffers from\n%.*s", SLICE_FMT(a), SLICE_FMT(b));
}

static struct facts *folded(struct history *h, const size_t *order, size_t n)
{
	struct facts *f;
	assert_int_equal(facts_new(h->a, SLICE("RM_1"), &f), 0);
	for (size_t i = 0; i < n; i++)
		assert_int_equal(facts_fold(f, &h->events[order[i]]), 0);
	return f;
}

static void a_call_backwards_gives_the_same_facts(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	dial_and_end(h, REASON_CLIENT_INITIATED, STATUS_HANGUP, true, 5000);
	size_t backwards[HISTORY_MAX];
	for (size_t i = 0; i < h->n; i++)
		backwards[i] = h->n - 1 - i;
	assert_same(h, facts_of(h), folded(h, backwards, h->n));
}

static void an_event_folded_twice_counts_once(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	dial_and_end(h, REASON_USER_REJECTED, STATUS_RINGING, false, 2000);
	struct facts *once = facts_of(h), *twice = facts_of(h);
	for (size_t i = 0; i < h->n; i++)
		assert_int_equal(facts_fold(twice, &h->events[i]), 0);
	assert_same(h, once, twice);
}

static void two_halves_merged_either_way_are_the_whole(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	dial_and_end(h, REASON_CLIENT_INITIATED, STATUS_HANGUP, true, 5000);
	size_t even[HISTORY_MAX], odd[HISTORY_MAX], evens = 0, odds = 0;
	for (size_t i = 0; i < h->n; i++)
		*(i % 2 ? &odd[odds++] : &even[evens++]) = i;
	struct facts *x = folded(h, even, evens), *y = folded(h, odd, odds);
	struct facts *xy = folded(h, even, evens), *yx = folded(h, odd, odds);
	assert_int_equal(facts_merge(xy, y), 0);
	assert_int_equal(facts_merge(yx, x), 0);
	assert_same(h, xy, yx);
	assert_same(h, xy, facts_of(h));
	assert_int_equal(facts_merge(xy, xy), 0);
	assert_same(h, xy, yx);
}

static void progress_is_never_lost(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	leaves(h, &CALLEE, REASON_CLIENT_INITIATED, STATUS_HANGUP, true, 4000);
	joins(h, &CALLEE, STATUS_DIALING, 80);
	struct facts *f = facts_of(h);
	assert_int_equal(f->session_count, 1);
	assert_int_equal(f->sessions[0].statuses, 1u << STATUS_HANGUP | 1u << STATUS_DIALING);
	assert_true(f->sessions[0].call_tag);
}

static void a_joining_known_to_the_millisecond_beats_one_known_to_the_second(void **state)
{
	(void)state;
	for (int order = 0; order < 2; order++) {
		_cleanup_history_ struct history *h = history_new();
		struct who second = CALLEE, exact = CALLEE;
		second.joined_ms = 0;
		exact.joined_ms = 123;
		joins(h, order ? &second : &exact, STATUS_DIALING, 200);
		joins(h, order ? &exact : &second, STATUS_DIALING, 300);
		h->events[order ? 0 : 1].participant.joined_at_whole_s = true;
		struct facts *f = facts_of(h);
		assert_int_equal(f->sessions[0].joined_at_ms, T0 + 123);
		assert_false(f->sessions[0].joined_at_whole_s);
	}
}

static void of_two_exact_joinings_the_earlier_stays(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	struct who later = CALLEE;
	later.joined_ms = 900;
	joins(h, &later, STATUS_DIALING, 1000);
	joins(h, &CALLEE, STATUS_DIALING, 1000);
	assert_int_equal(facts_of(h)->sessions[0].joined_at_ms, T0 + CALLEE.joined_ms);
}

static void a_text_that_differs_is_settled_the_same_way_in_any_order(void **state)
{
	(void)state;
	for (int order = 0; order < 2; order++) {
		_cleanup_history_ struct history *h = history_new();
		joins(h, &CALLEE, STATUS_DIALING, 80);
		joins(h, &CALLEE, STATUS_DIALING, 90);
		h->events[order].participant.identity = SLICE("a");
		h->events[!order].participant.identity = SLICE("b");
		h->events[order].participant.sip_phone_number = SLICE_NONE;
		struct facts *f = facts_of(h);
		assert_true(slice_eq_cstr(f->sessions[0].identity, "b"));
		assert_true(slice_eq_cstr(f->sessions[0].phone_number, "+13125550178"));
	}
}

static void of_several_ends_of_a_session_the_last_one_tells(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	goes(h, &USER, REASON_CLIENT_INITIATED, 9000);
	goes(h, &USER, REASON_DUPLICATE_IDENTITY, 4000);
	struct facts *f = facts_of(h);
	assert_int_equal(f->sessions[0].left_reason, REASON_CLIENT_INITIATED);
	assert_int_equal(f->sessions[0].ended.at_s, (T0 + 9000) / 1000);
	assert_int_equal(f->sessions[0].left.at_s, (T0 + 4000) / 1000);
}

static void a_track_event_alone_leaves_the_kind_open(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	publishes(h, &AGENT, "TR_1", 100);
	assert_int_equal(facts_of(h)->sessions[0].kind, KIND_UNKNOWN);
	joins(h, &AGENT, STATUS_NONE, 30);
	assert_int_equal(facts_of(h)->sessions[0].kind, KIND_AGENT);
}

static void video_and_data_tracks_are_not_kept(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	publishes(h, &USER, "TR_video", 100);
	h->events[0].track.audio = false;
	assert_int_equal(facts_of(h)->sessions[0].track_count, 0);
}

static void sip_attributes_of_somebody_who_is_no_phone_are_not_believed(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	joins(h, &USER, STATUS_NONE, 30);
	h->events[0].participant.sip_call_id = SLICE("SCL_forged");
	h->events[0].participant.sip_call_tag = true;
	h->events[0].participant.tenant = SLICE("somebody-else");
	struct facts *f = facts_of(h);
	assert_true(slice_is_empty(f->sessions[0].call_id));
	assert_false(f->sessions[0].call_tag);
	assert_int_equal(f->tenant_count, 0);
}

static void an_event_of_an_unknown_type_moves_the_span_and_nothing_else(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	room_started(h);
	struct event *e = history_add(h, EVENT_UNKNOWN, 7000);
	e->participant.sid = SLICE("PA_x");
	struct facts *f = facts_of(h);
	assert_int_equal(f->session_count, 0);
	assert_int_equal(f->last_event_s, (T0 + 7000) / 1000);
}

static void beyond_the_limit_the_smallest_sessions_stay_in_any_order(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	struct facts *up, *down;
	assert_int_equal(facts_new(h->a, SLICE("RM_1"), &up), 0);
	assert_int_equal(facts_new(h->a, SLICE("RM_1"), &down), 0);
	enum { N = FACTS_MAX_SESSIONS + 5 };
	for (int i = 0; i < N; i++) {
		char sid[2][16];
		(void)snprintf(sid[0], sizeof sid[0], "PA_%05d", i);
		(void)snprintf(sid[1], sizeof sid[1], "PA_%05d", N - 1 - i);
		h->n = 0;
		joins(h, &USER, STATUS_NONE, 30);
		h->events[0].participant.sid = slice_cstr(sid[0]);
		assert_int_equal(facts_fold(up, &h->events[0]), 0);
		h->events[0].participant.sid = slice_cstr(sid[1]);
		assert_int_equal(facts_fold(down, &h->events[0]), 0);
		assert_int_equal(up->overflow, i >= FACTS_MAX_SESSIONS);
	}
	assert_int_equal(up->session_count, FACTS_MAX_SESSIONS);
	assert_true(slice_eq_cstr(up->sessions[0].sid, "PA_00000"));
	assert_same(h, up, down);
}

static void beyond_the_limit_of_tracks_the_call_is_marked_as_overflowing(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	static const char *const NAMES[] = { "a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p", "q" };
	for (size_t i = 0; i < 17; i++)
		publishes(h, &USER, NAMES[16 - i], 100);
	struct facts *f = facts_of(h);
	assert_int_equal(f->sessions[0].track_count, FACTS_MAX_TRACKS);
	assert_true(slice_eq_cstr(f->sessions[0].tracks[0].sid, "a"));
	assert_true(slice_eq_cstr(f->sessions[0].tracks[15].sid, "p"));
	assert_true(f->overflow);
}

/* A call's facts with n marks of a poster after those that `f` has already, folded upwards or downwards. */
static void add_marks(struct history *h, struct facts *f, struct slice poster, const char *prefix, int n, bool down)
{
	for (int i = 0; i < n; i++) {
		char id[32];
		(void)snprintf(id, sizeof id, "%s%04d", prefix, down ? n - 1 - i : i);
		h->n = 0;
		struct event *m = marks(h, MARK_NOTE, MARK_SOURCE_APP, 0, 1000);
		m->mark.tenant = poster;
		m->id = slice_cstr(id);
		assert_int_equal(facts_fold(f, m), 0);
	}
}

static bool is_cut(struct history *h, const struct facts *f, struct slice tenant)
{
	struct facts view;
	assert_int_equal(facts_for_tenant(f, tenant, h->a, &view), 0);
	return view.overflow;
}

static void whoever_posts_many_marks_crowds_out_nobody_elses(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	struct facts *up, *down, *back;
	_cleanup_buf_ struct buf text = BUF_INIT;
	assert_int_equal(facts_new(h->a, SLICE("RM_1"), &up), 0);
	assert_int_equal(facts_new(h->a, SLICE("RM_1"), &down), 0);
	add_marks(h, up, SLICE("evil"), "MK_0", FACTS_MAX_MARKS + 9, false);
	add_marks(h, up, SLICE("acme"), "MK_5", 2, false);
	add_marks(h, up, SLICE_NONE, "MK_9", 1, false);
	add_marks(h, down, SLICE_NONE, "MK_9", 1, false);
	add_marks(h, down, SLICE("acme"), "MK_5", 2, true);
	add_marks(h, down, SLICE("evil"), "MK_0", FACTS_MAX_MARKS + 9, true);
	assert_same(h, up, down);
	assert_int_equal(up->mark_count, FACTS_MAX_MARKS + 3);
	assert_false(is_cut(h, up, SLICE("acme")));
	assert_false(is_cut(h, up, SLICE_NONE));
	assert_true(is_cut(h, up, SLICE("evil")));
	facts_encode(up, &text);
	assert_int_equal(facts_decode(h->a, buf_slice(&text), &back), 0);
	assert_same(h, up, back);
}

static void too_many_marks_that_count_for_everybody_make_every_view_doubtful(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	struct facts *f;
	assert_int_equal(facts_new(h->a, SLICE("RM_1"), &f), 0);
	add_marks(h, f, SLICE_NONE, "MK_", FACTS_MAX_MARKS - 1, false);
	assert_false(is_cut(h, f, SLICE("acme")));
	add_marks(h, f, SLICE_NONE, "ML_", 1, false);
	assert_true(is_cut(h, f, SLICE("acme")));
	assert_true(is_cut(h, f, SLICE_NONE));
}

static void marks_of_all_posters_together_have_a_limit(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	struct facts *f;
	enum { POSTERS = FACTS_MAX_ALL_MARKS / FACTS_MAX_MARKS };
	assert_int_equal(facts_new(h->a, SLICE("RM_1"), &f), 0);
	for (int i = 0; i <= POSTERS; i++) {
		char name[16], prefix[16];
		assert_false(f->overflow);
		(void)snprintf(name, sizeof name, "t%d", i);
		(void)snprintf(prefix, sizeof prefix, "MK_%02d_", i);
		add_marks(h, f, slice_cstr(name), prefix, FACTS_MAX_MARKS, false);
	}
	assert_int_equal(f->mark_count, FACTS_MAX_ALL_MARKS);
	assert_true(f->overflow);
}

/* Nobody folds into such facts, for nobody would have kept them. */
static void facts_with_too_many_marks_of_one_poster_are_not_read(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	struct facts *f, *back;
	assert_int_equal(facts_new(h->a, SLICE("RM_1"), &f), 0);
	add_marks(h, f, SLICE("acme"), "MK_", FACTS_MAX_MARKS, false);
	add_marks(h, f, SLICE("acne"), "ML_", 1, false);
	for (int more = 0; more < 2; more++) {
		_cleanup_buf_ struct buf text = BUF_INIT;
		facts_encode(f, &text);
		assert_int_equal(facts_decode(h->a, buf_slice(&text), &back), more ? OC_INVALID : 0);
		f->marks[FACTS_MAX_MARKS].mark.tenant = SLICE("acme");
	}
}

static void an_egress_grows_to_its_end_and_never_back(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	struct event *e = history_add(h, EVENT_EGRESS_ENDED, 9000);
	e->egress = (struct event_egress){ .egress_id = SLICE("EG_1"), .status = EGRESS_COMPLETE, .location = SLICE("s3://b/a.ogg") };
	e = history_add(h, EVENT_EGRESS_UPDATED, 2000);
	e->egress = (struct event_egress){ .egress_id = SLICE("EG_1"), .status = EGRESS_ACTIVE };
	struct facts *f = facts_of(h);
	assert_int_equal(f->egress_count, 1);
	assert_int_equal(f->egresses[0].status, EGRESS_COMPLETE);
	assert_true(slice_eq_cstr(f->egresses[0].location, "s3://b/a.ogg"));
	assert_false(slice_is_none(f->egresses[0].ended.event_id));
}

static void an_egress_that_never_got_an_id_is_no_egress(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	history_add(h, EVENT_EGRESS_ENDED, 9000)->egress = (struct event_egress){ .status = EGRESS_FAILED };
	assert_int_equal(facts_of(h)->egress_count, 0);
}

static void marks_are_all_kept_by_their_ids(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	(void)marks(h, MARK_SIP_RESULT, MARK_SOURCE_DIALER, 486, 1000);
	(void)marks(h, MARK_NOTE, MARK_SOURCE_APP, 0, 2000);
	struct facts *f = facts_of(h);
	assert_int_equal(f->mark_count, 2);
	assert_int_equal(f->marks[0].mark.sip_code, 486);
}

static void a_mark_moves_neither_the_times_nor_the_names_nor_the_tenant_of_the_call(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	room_started(h);
	struct facts *before = facts_of(h);
	for (int64_t at = -100000; at < 2000000; at += 1000000) {
		struct event *m = marks(h, MARK_NOTE, MARK_SOURCE_APP, 0, at);
		m->room.name = SLICE("zoo");
		m->room.tenant = m->key_id = SLICE("evil");
		m->room.creation_time_ms = 1;
		m->room.departure_timeout_s = 900;
	}
	struct facts *f = facts_of(h);
	assert_int_equal(f->mark_count, 3);
	f->mark_count = 0;
	assert_same(h, f, before);
}

static size_t marks_seen(struct history *h, const struct facts *f, struct slice tenant)
{
	struct facts view;
	assert_int_equal(facts_for_tenant(f, tenant, h->a, &view), 0);
	assert_int_equal(view.session_count, f->session_count);
	for (size_t i = 0; i < view.mark_count; i++)
		assert_true(slice_is_none(view.marks[i].mark.tenant) || slice_eq(view.marks[i].mark.tenant, tenant));
	return view.mark_count;
}

static void a_tenant_sees_its_own_marks_and_those_of_nobody(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	joins(h, &CALLEE, STATUS_DIALING, 80);
	marks(h, MARK_ANSWERED, MARK_SOURCE_DIALER, 0, 1000)->mark.tenant = SLICE("acme");
	marks(h, MARK_NOTE, MARK_SOURCE_APP, 0, 1000)->mark.tenant = SLICE("ac");
	(void)marks(h, MARK_ANSWERED, MARK_SOURCE_WATCHER, 0, 1000);
	const struct facts *f = facts_of(h);
	assert_int_equal(f->mark_count, 3);
	assert_int_equal(marks_seen(h, f, SLICE("acme")), 2);
	assert_int_equal(marks_seen(h, f, SLICE("ac")), 2);
	assert_int_equal(marks_seen(h, f, SLICE("other")), 1);
	assert_int_equal(marks_seen(h, f, SLICE_NONE), 1);
}

static void tenants_are_witnesses_by_rank_each_once(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	joins(h, &AGENT, STATUS_NONE, 30);
	joins(h, &CALLEE, STATUS_DIALING, 80);
	h->events[0].participant.tenant = h->events[1].participant.tenant = SLICE("acme");
	h->events[1].room.tenant = SLICE("acme");
	struct facts *f = facts_of(h);
	assert_int_equal(f->tenant_count, 2);
	assert_int_equal(f->tenants[0].rank, TENANT_ROOM_METADATA);
	assert_int_equal(f->tenants[1].rank, TENANT_ATTRIBUTE);
	assert_true(slice_eq_cstr(f->tenants[1].event_id, "EV_000"));
}

static void what_is_no_time_or_no_code_counts_as_unknown(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	static const int64_t BAD[] = { -1, INT64_MAX, INT64_MIN, (EVENT_MAX_S + 1) * 1000 };
	for (size_t i = 0; i < 4; i++) {
		struct facts *again;
		h->n = 0;
		joins(h, &USER, STATUS_NONE, 30);
		publishes(h, &USER, "TR_1", 100);
		struct event *m = marks(h, MARK_SIP_RESULT, MARK_SOURCE_APP, (int)BAD[i], 10);
		m->mark.at_ms = m->mark.within_ms = m->created_at_s = h->events[0].room.creation_time_ms = BAD[i];
		h->events[0].participant.joined_at_ms = BAD[i];
		h->events[0].participant.joined_at_whole_s = true;
		h->events[0].room.departure_timeout_s = UINT32_MAX;
		h->events[1].track.published_us = BAD[i] > 0 ? INT64_MAX : BAD[i];
		struct facts *f = facts_of(h);
		assert_int_equal(f->sessions[0].joined_at_ms, 0);
		assert_false(f->sessions[0].joined_at_whole_s);
		assert_int_equal(f->sessions[0].tracks[0].published_us, 0);
		assert_int_equal(f->marks[0].mark.at_ms, 0);
		assert_int_equal(f->marks[0].mark.sip_code, 0);
		assert_int_equal(f->last_event_s, (T0 + 100) / 1000);
		assert_int_equal(facts_decode(h->a, encoded(h, f), &again), 0);
		assert_same(h, f, again);
	}
}

static void more_keys_than_are_kept_do_not_spoil_the_call(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	static const char *const KEYS[] = { "k9", "k8", "k7", "k6", "k5", "k4", "k3", "k2", "k1", "k0" };
	for (size_t i = 0; i < 10; i++) {
		room_started(h);
		h->events[i].key_id = slice_cstr(KEYS[i]);
	}
	struct facts *f = facts_of(h);
	assert_int_equal(f->key_id_count, FACTS_MAX_KEY_IDS);
	assert_true(slice_eq_cstr(f->key_ids[0], "k0"));
	assert_false(f->overflow);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_call_backwards_gives_the_same_facts),
		cmocka_unit_test(an_event_folded_twice_counts_once),
		cmocka_unit_test(two_halves_merged_either_way_are_the_whole),
		cmocka_unit_test(progress_is_never_lost),
		cmocka_unit_test(a_joining_known_to_the_millisecond_beats_one_known_to_the_second),
		cmocka_unit_test(of_two_exact_joinings_the_earlier_stays),
		cmocka_unit_test(a_text_that_differs_is_settled_the_same_way_in_any_order),
		cmocka_unit_test(of_several_ends_of_a_session_the_last_one_tells),
		cmocka_unit_test(a_track_event_alone_leaves_the_kind_open),
		cmocka_unit_test(video_and_data_tracks_are_not_kept),
		cmocka_unit_test(sip_attributes_of_somebody_who_is_no_phone_are_not_believed),
		cmocka_unit_test(an_event_of_an_unknown_type_moves_the_span_and_nothing_else),
		cmocka_unit_test(beyond_the_limit_the_smallest_sessions_stay_in_any_order),
		cmocka_unit_test(beyond_the_limit_of_tracks_the_call_is_marked_as_overflowing),
		cmocka_unit_test(whoever_posts_many_marks_crowds_out_nobody_elses),
		cmocka_unit_test(too_many_marks_that_count_for_everybody_make_every_view_doubtful),
		cmocka_unit_test(marks_of_all_posters_together_have_a_limit),
		cmocka_unit_test(facts_with_too_many_marks_of_one_poster_are_not_read),
		cmocka_unit_test(an_egress_grows_to_its_end_and_never_back),
		cmocka_unit_test(an_egress_that_never_got_an_id_is_no_egress),
		cmocka_unit_test(marks_are_all_kept_by_their_ids),
		cmocka_unit_test(a_mark_moves_neither_the_times_nor_the_names_nor_the_tenant_of_the_call),
		cmocka_unit_test(a_tenant_sees_its_own_marks_and_those_of_nobody),
		cmocka_unit_test(tenants_are_witnesses_by_rank_each_once),
		cmocka_unit_test(what_is_no_time_or_no_code_counts_as_unknown),
		cmocka_unit_test(more_keys_than_are_kept_do_not_spoil_the_call),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
