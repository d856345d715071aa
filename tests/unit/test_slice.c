/* base/slice.c and slice.h: comparing, splitting, numbers, UTF-8. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/slice.h"

static void none_and_empty_are_told_apart(void **state)
{
	(void)state;
	assert_true(slice_is_none(SLICE_NONE));
	assert_true(slice_is_none(slice_cstr(NULL)));
	assert_false(slice_is_none(SLICE("")));
	assert_true(slice_is_empty(SLICE("")));
	assert_true(slice_is_empty(SLICE_NONE));
	assert_true(slice_eq(SLICE_NONE, SLICE("")));
}

static void order_is_by_bytes_and_a_prefix_comes_first(void **state)
{
	(void)state;
	const struct slice rising[] = { SLICE(""), SLICE("A"), SLICE("AB"), SLICE("B"), SLICE("a"), SLICE("\xc3\xa9") };
	for (size_t i = 0; i < 6; i++)
		for (size_t k = 0; k < 6; k++) {
			int c = slice_cmp(rising[i], rising[k]);
			assert_int_equal((c > 0) - (c < 0), (i > k) - (i < k));
		}
	assert_int_equal(slice_cmp(SLICE_NONE, SLICE("")), 0);
}

static void a_prefix_is_found(void **state)
{
	(void)state;
	assert_true(slice_starts_with(SLICE("acme-1"), SLICE("acme-")));
	assert_true(slice_starts_with(SLICE("acme"), SLICE("")));
	assert_false(slice_starts_with(SLICE("acme"), SLICE("acme-")));
	assert_false(slice_starts_with(SLICE_NONE, SLICE("a")));
}

static void case_is_ignored_for_ascii_letters_only(void **state)
{
	(void)state;
	assert_true(slice_eq_nocase(SLICE("Bearer Z"), SLICE("bEARER z")));
	assert_false(slice_eq_nocase(SLICE("a@"), SLICE("a`")));
	assert_false(slice_eq_nocase(SLICE("ab"), SLICE("abc")));
}

static void trim_takes_blanks_off_both_ends(void **state)
{
	(void)state;
	assert_true(slice_eq(slice_trim(SLICE(" \t\r\na b\n ")), SLICE("a b")));
	assert_int_equal(slice_trim(SLICE(" \n ")).n, 0);
	assert_true(slice_eq(slice_trim(SLICE("\v")), SLICE("\v")));
}

static void split_is_at_the_first_separator(void **state)
{
	(void)state;
	struct slice head, tail;
	assert_true(slice_split(SLICE("a:b:c"), ':', &head, &tail));
	assert_true(slice_eq(head, SLICE("a")));
	assert_true(slice_eq(tail, SLICE("b:c")));
	assert_true(slice_split(SLICE("a:"), ':', &head, &tail));
	assert_false(slice_is_none(tail));
	assert_int_equal(tail.n, 0);
	assert_false(slice_split(SLICE("abc"), ':', &head, &tail));
	assert_true(slice_eq(head, SLICE("abc")));
	assert_true(slice_is_none(tail));
	assert_false(slice_split(SLICE_NONE, ':', &head, &tail));
}

static void int64_is_read_over_its_whole_range(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		int64_t value;
	} good[] = { { "0", 0 }, { "-0", 0 }, { "+7", 7 }, { "007", 7 }, { "9223372036854775807", INT64_MAX }, { "-9223372036854775808", INT64_MIN } };
	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
		int64_t v = 99;
		assert_true(slice_to_int64(slice_cstr(good[i].text), &v));
		assert_int_equal(v, good[i].value);
	}
}

static void what_is_no_int64_is_refused_and_leaves_the_result(void **state)
{
	(void)state;
	static const char *const bad[] = { "", "-", "+", " 1", "1 ", "1x", "1.0", "0x1", "9223372036854775808", "-9223372036854775809",
		"99999999999999999999999" };
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		int64_t v = 99;
		assert_false(slice_to_int64(slice_cstr(bad[i]), &v));
		assert_int_equal(v, 99);
	}
	int64_t v;
	assert_false(slice_to_int64(SLICE_NONE, &v));
}

static void utf8_of_every_length_is_taken(void **state)
{
	(void)state;
	static const char *const good[] = { "", "plain ascii, longer than eight bytes", "\xc2\x80", "\xdf\xbf", "\xe0\xa0\x80", "\xed\x9f\xbf", "\xee\x80\x80",
		"\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf", "seven77\xc3\xa9", "eight888\xc3\xa9 and more after it" };
	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
		assert_true(slice_is_utf8(slice_cstr(good[i])));
	assert_true(slice_is_utf8(SLICE("a\0b")));
	assert_true(slice_is_utf8(SLICE_NONE));
}

static void malformed_utf8_is_refused(void **state)
{
	(void)state;
	static const char *const bad[] = { "\x80", "\xc0\x80", "\xc1\xbf", "\xc3", "\xc3(", "\xe0\x9f\xbf", "\xed\xa0\x80", "\xed\xbf\xbf", "\xe2\x82",
		"\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xff", "\xf0\x9f\x98", "\xf0\x9f\x98(", "eight888\xff", "sixteen bytes 16\xe2\x82" };
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_false(slice_is_utf8(slice_cstr(bad[i])));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(none_and_empty_are_told_apart),
		cmocka_unit_test(order_is_by_bytes_and_a_prefix_comes_first),
		cmocka_unit_test(a_prefix_is_found),
		cmocka_unit_test(case_is_ignored_for_ascii_letters_only),
		cmocka_unit_test(trim_takes_blanks_off_both_ends),
		cmocka_unit_test(split_is_at_the_first_separator),
		cmocka_unit_test(int64_is_read_over_its_whole_range),
		cmocka_unit_test(what_is_no_int64_is_refused_and_leaves_the_result),
		cmocka_unit_test(utf8_of_every_length_is_taken),
		cmocka_unit_test(malformed_utf8_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
