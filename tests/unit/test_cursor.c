/* Cursors: they come back as they went out, and only to the list that gave them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "http/query.h"

static int make_arena(void **state)
{
	*state = arena_new(4096);
	return *state ? 0 : -1;
}

static int free_arena(void **state)
{
	arena_free(*state);
	return 0;
}

static struct list_filter filter(void)
{
	return (struct list_filter){ .tenant = SLICE("acme"), .from_ms = 5, .to_ms = 9, .outcome = SLICE("busy"), .limit = 50 };
}

static struct slice encode(void **state, const struct list_filter *f)
{
	struct slice text;
	assert_int_equal(cursor_encode(f, -1234567890123, SLICE("row-1"), *state, &text), OC_OK);
	return text;
}

static int decode(void **state, struct slice text, struct list_filter *f) { return cursor_decode(text, *state, f); }

static void a_cursor_comes_back_as_it_went_out(void **state)
{
	struct list_filter f = filter();
	assert_int_equal(decode(state, encode(state, &f), &f), OC_OK);
	assert_true(f.has_cursor);
	assert_int_equal(f.cursor_ms, -1234567890123);
	assert_true(slice_eq_cstr(f.cursor_id, "row-1"));
}

static void a_cursor_is_safe_in_a_query_string(void **state)
{
	struct list_filter f = filter();
	struct slice text = encode(state, &f);
	for (size_t i = 0; i < text.n; i++)
		assert_non_null(strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", text.p[i]));
}

static void the_limit_may_change_from_page_to_page(void **state)
{
	struct list_filter f = filter(), other = filter();
	other.limit = 7;
	assert_int_equal(decode(state, encode(state, &f), &other), OC_OK);
}

static void a_cursor_opens_no_other_list(void **state)
{
	struct list_filter f = filter(), others[9];
	struct slice text = encode(state, &f);
	for (size_t i = 0; i < 9; i++)
		others[i] = filter();
	others[0].tenant = SLICE("acmf");
	others[1].from_ms = 6;
	others[2].to_ms = 0;
	others[3].outcome = SLICE_NONE;
	others[4].direction = SLICE("busy");
	others[5].status = SLICE("active");
	others[6].phone_number = SLICE("+1");
	others[7].room_name = SLICE("r");
	others[8].outcome = SLICE("");
	for (size_t i = 0; i < 9; i++) {
		assert_int_equal(decode(state, text, &others[i]), OC_INVALID);
		assert_false(others[i].has_cursor);
	}
}

static void filters_do_not_run_into_each_other(void **state)
{
	struct list_filter one = { .tenant = SLICE("ab"), .outcome = SLICE("c") }, other = { .tenant = SLICE("a"), .outcome = SLICE("bc") };
	assert_int_equal(decode(state, encode(state, &one), &other), OC_INVALID);
}

static void what_is_no_cursor_is_refused(void **state)
{
	static const char *const bad[] = { "", "A", "AQ", "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "not base64!", "====", "%00" };
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		struct list_filter f = filter();
		assert_int_equal(decode(state, slice_cstr(bad[i]), &f), OC_INVALID);
		assert_false(f.has_cursor);
	}
}

static void a_changed_character_anywhere_in_the_head_is_seen(void **state)
{
	struct list_filter f = filter();
	struct slice text = encode(state, &f);
	for (size_t i = 0; i < 12; i++) { /* version and hash are 9 bytes */
		char *copy = arena_dup(*state, text);
		copy[i] = copy[i] == 'A' ? 'B' : 'A';
		struct list_filter other = filter();
		assert_int_equal(decode(state, slice_of(copy, text.n), &other), OC_INVALID);
	}
}

static void a_cut_cursor_is_refused(void **state)
{
	struct list_filter f = filter();
	struct slice text = encode(state, &f);
	for (size_t n = 0; n <= 22; n++) { /* head and sort key are 17 bytes */
		struct list_filter other = filter();
		assert_int_equal(decode(state, slice_of(text.p, n), &other), OC_INVALID);
	}
}

static void an_endless_cursor_is_refused(void **state)
{
	char *long_text = arena_alloc(*state, 100000);
	memset(long_text, 'A', 100000);
	struct list_filter f = filter();
	assert_int_equal(decode(state, slice_of(long_text, 100000), &f), OC_INVALID);
}

static void an_id_that_is_no_text_is_refused(void **state)
{
	static const struct slice bad[] = { { "\xff", 1 }, { "a\0b", 3 }, { "\xc3", 1 } };
	for (size_t i = 0; i < 3; i++) {
		struct list_filter f = filter();
		struct slice text;
		assert_int_equal(cursor_encode(&f, 1, bad[i], *state, &text), OC_OK);
		assert_int_equal(decode(state, text, &f), OC_INVALID);
	}
}

/* ---- of a call's events ---- */

static struct events_query events(void)
{
	return (struct events_query){ .tenant = SLICE("acme"), .call_id = SLICE("RM_1"), .limit = 50 };
}

static void a_cursor_of_events_comes_back_as_it_went_out(void **state)
{
	struct events_query q = events();
	struct slice text;
	assert_int_equal(events_cursor_encode(&q, 4711, SLICE("EV_1"), *state, &text), OC_OK);
	q.limit = 3;
	assert_int_equal(events_cursor_decode(text, *state, &q), OC_OK);
	assert_true(q.has_cursor && q.cursor_position == 4711 && slice_eq_cstr(q.cursor_id, "EV_1"));
}

static void a_cursor_of_events_opens_no_other_call_and_no_list(void **state)
{
	struct events_query q = events(), others[] = { events(), events(), events() };
	struct list_filter list = { .tenant = SLICE("acme"), .limit = 50 };
	struct slice text;
	assert_int_equal(events_cursor_encode(&q, 4711, SLICE("EV_1"), *state, &text), OC_OK);
	others[0].tenant = SLICE("globex");
	others[1].call_id = SLICE("RM_2");
	others[2].tenant = SLICE("acmeRM_1");
	for (size_t i = 0; i < 3; i++) {
		assert_int_equal(events_cursor_decode(text, *state, &others[i]), OC_INVALID);
		assert_false(others[i].has_cursor);
	}
	assert_int_equal(cursor_decode(text, *state, &list), OC_INVALID);
	assert_int_equal(cursor_encode(&list, 1, SLICE("id"), *state, &text), OC_OK);
	assert_int_equal(events_cursor_decode(text, *state, &q), OC_INVALID);
	assert_false(q.has_cursor);
}

int main(void)
{
#define WITH_ARENA(f) cmocka_unit_test_setup_teardown(f, make_arena, free_arena)
	const struct CMUnitTest tests[] = {
		WITH_ARENA(a_cursor_comes_back_as_it_went_out),
		WITH_ARENA(a_cursor_is_safe_in_a_query_string),
		WITH_ARENA(the_limit_may_change_from_page_to_page),
		WITH_ARENA(a_cursor_opens_no_other_list),
		WITH_ARENA(filters_do_not_run_into_each_other),
		WITH_ARENA(what_is_no_cursor_is_refused),
		WITH_ARENA(a_changed_character_anywhere_in_the_head_is_seen),
		WITH_ARENA(a_cut_cursor_is_refused),
		WITH_ARENA(an_endless_cursor_is_refused),
		WITH_ARENA(an_id_that_is_no_text_is_refused),
		WITH_ARENA(a_cursor_of_events_comes_back_as_it_went_out),
		WITH_ARENA(a_cursor_of_events_opens_no_other_call_and_no_list),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
