/* Facts and verdicts do not depend on the order, the repetition or the grouping of events; the canonical form is one. A failing seed is
 * shrunk: events are taken away while it still fails, and what is left is printed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "histories.h"

#define SEEDS 10000
#define FAR_FUTURE INT64_C(253370764800000)

static void encode_facts(const struct facts *f, struct buf *out)
{
	facts_encode(f, out);
	assert_false(buf_failed(out));
}

/* The verdict with everything in it, as bytes. */
static void encode_verdict(const struct facts *f, int64_t as_of_ms, struct arena *a, struct buf *out)
{
	struct verdict v;
	assert_int_equal(verdict_classify(f, VERDICT_RULES_VERSION, as_of_ms, a, &v), 0);
	struct jsonw w = JSONW(out);
	jw_obj(&w);
	verdict_write_members(&v, &w);
	jw_obj_end(&w);
	buf_putf(out, " %d %d %lld %lld %lld %lld %.*s %.*s", (int)v.status, (int)v.direction, (long long)v.started_at_ms, (long long)v.ended_at_ms,
		(long long)v.duration_s, (long long)v.due_at_ms, SLICE_FMT(v.phone_number), SLICE_FMT(v.sip_call_id));
	assert_false(buf_failed(out));
	assert_true(v.duration_s >= -1);
	assert_true(v.ended_at_ms == 0 || v.ended_at_ms >= v.started_at_ms);
	assert_int_equal(v.outcome == OUTCOME_NONE, v.status == CALL_ACTIVE);
}

static struct facts *new_facts(struct arena *a)
{
	struct facts *f;
	assert_int_equal(facts_new(a, SLICE("RM_1"), &f), 0);
	return f;
}

static struct facts *fold_all(const struct random_history *h, struct arena *a)
{
	struct facts *f = new_facts(a);
	for (size_t i = 0; i < h->n; i++)
		assert_int_equal(facts_fold(f, &h->events[i]), 0);
	return f;
}

static bool same(const struct facts *x, const struct facts *y, struct arena *a)
{
	_cleanup_buf_ struct buf fx = BUF_INIT, fy = BUF_INIT, vx = BUF_INIT, vy = BUF_INIT;
	encode_facts(x, &fx);
	encode_facts(y, &fy);
	encode_verdict(x, FAR_FUTURE, a, &vx);
	encode_verdict(y, FAR_FUTURE, a, &vy);
	return slice_eq(buf_slice(&fx), buf_slice(&fy)) && slice_eq(buf_slice(&vx), buf_slice(&vy));
}

typedef bool (*property)(const struct random_history *h, struct arena *a);

static bool shuffled_is_the_same(const struct random_history *h, struct arena *a)
{
	struct random r = { h->seed ^ 1 };
	struct random_history mixed = *h;
	for (size_t i = mixed.n; i > 1; i--) {
		size_t k = random_below(&r, (uint32_t)i);
		struct event e = mixed.events[i - 1];
		mixed.events[i - 1] = mixed.events[k];
		mixed.events[k] = e;
	}
	return same(fold_all(h, a), fold_all(&mixed, a), a);
}

static bool repeated_is_the_same(const struct random_history *h, struct arena *a)
{
	struct random r = { h->seed ^ 2 };
	struct facts *f = fold_all(h, a);
	for (size_t i = 0; i < h->n; i++)
		assert_int_equal(facts_fold(f, &h->events[random_below(&r, (uint32_t)h->n)]), 0);
	return same(fold_all(h, a), f, a);
}

/* Into three parts, each through the canonical bytes, merged in two groupings. */
static bool split_and_merged_is_the_same(const struct random_history *h, struct arena *a)
{
	struct random r = { h->seed ^ 3 };
	struct facts *parts[3] = { new_facts(a), new_facts(a), new_facts(a) };
	for (size_t i = 0; i < h->n; i++)
		assert_int_equal(facts_fold(parts[random_below(&r, 3)], &h->events[i]), 0);
	struct facts *left = new_facts(a), *right = new_facts(a), *inner = new_facts(a);
	for (size_t i = 0; i < 3; i++) {
		_cleanup_buf_ struct buf b = BUF_INIT;
		struct slice copy;
		encode_facts(parts[i], &b);
		assert_true(arena_copy(a, buf_slice(&b), &copy));
		assert_int_equal(facts_decode(a, copy, &parts[i]), 0);
	}
	assert_int_equal(facts_merge(left, parts[0]), 0);
	assert_int_equal(facts_merge(left, parts[1]), 0);
	assert_int_equal(facts_merge(left, parts[2]), 0);
	assert_int_equal(facts_merge(inner, parts[2]), 0);
	assert_int_equal(facts_merge(inner, parts[1]), 0);
	assert_int_equal(facts_merge(right, inner), 0);
	assert_int_equal(facts_merge(right, parts[0]), 0);
	assert_int_equal(facts_merge(right, inner), 0);
	struct facts *whole = fold_all(h, a);
	return same(left, right, a) && same(left, whole, a);
}

static bool stored_between_events_is_the_same(const struct random_history *h, struct arena *a)
{
	struct facts *f = new_facts(a);
	for (size_t i = 0; i < h->n; i++) {
		_cleanup_buf_ struct buf b = BUF_INIT;
		struct slice copy;
		assert_int_equal(facts_fold(f, &h->events[i]), 0);
		encode_facts(f, &b);
		assert_true(arena_copy(a, buf_slice(&b), &copy));
		if (facts_decode(a, copy, &f) != 0)
			return false;
	}
	return same(fold_all(h, a), f, a);
}

/* Before its time the call is open, and from then on every as-of time gives the same bytes. */
static bool time_only_opens_and_closes(const struct random_history *h, struct arena *a)
{
	struct facts *f = fold_all(h, a);
	struct verdict v;
	assert_int_equal(verdict_classify(f, VERDICT_RULES_VERSION, 0, a, &v), 0);
	_cleanup_buf_ struct buf at_due = BUF_INIT, later = BUF_INIT;
	if (v.status == CALL_ACTIVE && v.due_at_ms == 0)
		return h->n > 0; /* nothing in it says a time */
	int64_t due = v.due_at_ms;
	for (int looks = 0; looks < 2 && due; looks++) { /* the first look may find it open still */
		assert_int_equal(verdict_classify(f, VERDICT_RULES_VERSION, due, a, &v), 0);
		if (v.status == CALL_ENDED)
			break;
		if (v.due_at_ms <= due)
			return false;
		due = v.due_at_ms;
	}
	if (due) {
		assert_int_equal(verdict_classify(f, VERDICT_RULES_VERSION, due - 1, a, &v), 0);
		if (v.status != CALL_ACTIVE)
			return false;
	}
	encode_verdict(f, due, a, &at_due);
	encode_verdict(f, FAR_FUTURE, a, &later);
	return slice_eq(buf_slice(&at_due), buf_slice(&later));
}

static void encode_view(const struct facts *f, struct slice tenant, struct arena *a, struct buf *out)
{
	struct facts view;
	assert_int_equal(facts_for_tenant(f, tenant, a, &view), 0);
	encode_facts(&view, out);
	encode_verdict(&view, FAR_FUTURE, a, out);
}

/* What a tenant is shown is what it would be if the other tenants had never posted anything. */
static bool others_marks_change_nothing(const struct random_history *h, struct arena *a)
{
	struct random_history own = *h;
	own.n = 0;
	for (size_t i = 0; i < h->n; i++)
		if (h->events[i].type != EVENT_MARK || slice_is_none(h->events[i].mark.tenant) || slice_eq_cstr(h->events[i].mark.tenant, "acme"))
			own.events[own.n++] = h->events[i];
	_cleanup_buf_ struct buf with = BUF_INIT, without = BUF_INIT;
	struct facts *all = fold_all(h, a), *mine = fold_all(&own, a);
	if (all->last_event_s == 0)
		return true; /* of a call without events only the time remains, so that it ends */
	for (size_t i = 0; i < all->mark_count; i++) /* one id, two marks: which of them was kept is no tenant's to say */
		for (size_t k = 0; k < h->n; k++)
			if (h->events[k].type == EVENT_MARK && slice_eq(h->events[k].id, all->marks[i].event_id) &&
			    !slice_eq(h->events[k].mark.tenant, all->marks[i].mark.tenant))
				return true;
	encode_view(all, SLICE("acme"), a, &with);
	encode_view(mine, SLICE("acme"), a, &without);
	return slice_eq(buf_slice(&with), buf_slice(&without));
}

/* ---- running and shrinking ---- */

static bool holds(property p, const struct random_history *h)
{
	_cleanup_arena_ struct arena *a = arena_new(64 * 1024);
	assert_non_null(a);
	return p(h, a);
}

/* Takes events away, again and again, while the property still fails. */
static void shrink(property p, struct random_history *h)
{
	for (bool fewer_fail = true; fewer_fail;) {
		fewer_fail = false;
		for (size_t i = 0; i < h->n;) {
			struct random_history fewer = *h;
			memmove(&fewer.events[i], &fewer.events[i + 1], (fewer.n - i - 1) * sizeof fewer.events[0]);
			fewer.n--;
			if (fewer.n > 0 && !holds(p, &fewer)) {
				*h = fewer;
				fewer_fail = true;
			} else {
				i++;
			}
		}
	}
}

static void print_history(const struct random_history *h)
{
	for (size_t i = 0; i < h->n; i++) {
		const struct event *e = &h->events[i];
		const char *type = event_type_name(e->type), *reason = disconnect_reason_name(e->participant.disconnect_reason);
		print_error("  %.*s %s at %lld: %.*s %.*s kind %d joined %lld%s call %.*s status %d tag %d %s track %.*s\n", SLICE_FMT(e->id),
			type ? type : "?", (long long)e->created_at_s, SLICE_FMT(e->participant.sid), SLICE_FMT(e->participant.identity),
			(int)e->participant.kind, (long long)e->participant.joined_at_ms, e->participant.joined_at_whole_s ? "~" : "",
			SLICE_FMT(e->participant.sip_call_id), (int)e->participant.sip_status, (int)e->participant.sip_call_tag, reason,
			SLICE_FMT(e->track.sid));
		if (e->type == EVENT_MARK)
			print_error("    %s by %s at %lld within %lld posted %lld code %d \"%.*s\" value %.*s leg %.*s of %.*s\n",
				mark_kind_name(e->mark.kind), e->mark.source ? mark_source_name(e->mark.source) : "nobody", (long long)e->mark.at_ms,
				(long long)e->mark.within_ms, (long long)e->mark.posted_ms, e->mark.sip_code, SLICE_FMT(e->mark.sip_text),
				SLICE_FMT(e->mark.value), SLICE_FMT(e->mark.sip_call_id), SLICE_FMT(e->mark.tenant));
	}
}

static void check(property p)
{
	for (uint64_t seed = 1; seed <= SEEDS; seed++) {
		struct random_history h;
		random_history_make(seed, &h);
		if (holds(p, &h))
			continue;
		shrink(p, &h);
		print_error("seed %llu fails; shrunk to %zu events:\n", (unsigned long long)seed, h.n);
		print_history(&h);
		fail();
	}
}

static void any_order_gives_the_same_facts_and_verdict(void **state)
{
	(void)state;
	check(shuffled_is_the_same);
}

static void any_duplicate_gives_the_same_facts_and_verdict(void **state)
{
	(void)state;
	check(repeated_is_the_same);
}

static void any_grouping_gives_the_same_facts_and_verdict(void **state)
{
	(void)state;
	check(split_and_merged_is_the_same);
}

static void storing_between_any_two_events_changes_nothing(void **state)
{
	(void)state;
	check(stored_between_events_is_the_same);
}

static void the_as_of_time_only_decides_whether_the_call_is_over(void **state)
{
	(void)state;
	check(time_only_opens_and_closes);
}

static void a_tenant_is_judged_as_if_the_others_had_said_nothing(void **state)
{
	(void)state;
	check(others_marks_change_nothing);
}

/* Fails where somebody left and somebody marked. */
static bool nobody_left_and_marked(const struct random_history *h, struct arena *a)
{
	(void)a;
	bool left = false, marked = false;
	for (size_t i = 0; i < h->n; i++) {
		left |= h->events[i].type == EVENT_PARTICIPANT_LEFT;
		marked |= h->events[i].type == EVENT_MARK;
	}
	return !left || !marked;
}

static void a_failure_is_shrunk_to_what_it_needs(void **state)
{
	(void)state;
	size_t shrunk = 0;
	for (uint64_t seed = 1; seed <= 300; seed++) {
		struct random_history h;
		random_history_make(seed, &h);
		if (holds(nobody_left_and_marked, &h))
			continue;
		shrink(nobody_left_and_marked, &h);
		assert_int_equal(h.n, 2);
		shrunk++;
	}
	assert_true(shrunk > 100);
}

/* ---- bytes ---- */

static void decode_and_compare(struct slice bytes, long *taken)
{
	_cleanup_arena_ struct arena *a = arena_new(16 * 1024);
	_cleanup_buf_ struct buf b = BUF_INIT, v = BUF_INIT;
	struct facts *f;
	assert_non_null(a);
	if (facts_decode(a, bytes, &f) != 0)
		return;
	encode_facts(f, &b);
	assert_true(slice_eq(buf_slice(&b), bytes));
	encode_verdict(f, FAR_FUTURE, a, &v);
	(*taken)++;
}

static void what_random_bytes_decode_to_encodes_to_them_again(void **state)
{
	(void)state;
	struct random r = { 4711 };
	static const char ALPHABET[] = "cekmstu\t\t\t\n0019-%FA.";
	long taken = 0;
	for (int i = 0; i < 20000; i++) {
		char bytes[200];
		size_t n = random_below(&r, sizeof bytes);
		for (size_t k = 0; k < n; k++)
			bytes[k] = random_one_in(&r, 20) ? (char)random_next(&r) : ALPHABET[random_below(&r, sizeof ALPHABET - 1)];
		decode_and_compare(slice_of(bytes, n), &taken);
	}
	assert_int_equal(taken, 0); /* a whole call line by chance would be a wonder */
}

static void damaged_facts_are_refused_or_mean_what_they_say(void **state)
{
	(void)state;
	struct random r = { 815 };
	long taken = 0;
	for (uint64_t seed = 1; seed <= 300; seed++) {
		_cleanup_arena_ struct arena *a = arena_new(64 * 1024);
		_cleanup_buf_ struct buf b = BUF_INIT;
		struct random_history h;
		random_history_make(seed, &h);
		encode_facts(fold_all(&h, a), &b);
		decode_and_compare(buf_slice(&b), &taken);
		for (int i = 0; i < 40; i++) {
			size_t at = random_below(&r, (uint32_t)b.n);
			char kept = b.p[at];
			b.p[at] = random_one_in(&r, 2) ? (char)('0' + random_below(&r, 10)) : (char)random_next(&r);
			decode_and_compare(buf_slice(&b), &taken);
			b.p[at] = kept;
			decode_and_compare(slice_of(b.p, at), &taken);
		}
	}
	assert_true(taken > 300);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(any_order_gives_the_same_facts_and_verdict),
		cmocka_unit_test(any_duplicate_gives_the_same_facts_and_verdict),
		cmocka_unit_test(any_grouping_gives_the_same_facts_and_verdict),
		cmocka_unit_test(storing_between_any_two_events_changes_nothing),
		cmocka_unit_test(the_as_of_time_only_decides_whether_the_call_is_over),
		cmocka_unit_test(a_tenant_is_judged_as_if_the_others_had_said_nothing),
		cmocka_unit_test(a_failure_is_shrunk_to_what_it_needs),
		cmocka_unit_test(what_random_bytes_decode_to_encodes_to_them_again),
		cmocka_unit_test(damaged_facts_are_refused_or_mean_what_they_say),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
