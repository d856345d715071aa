/* wire/iso_time.c: the spellings it takes, floored to seconds, and what is no time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "wire/iso_time.h"

static void spellings_of_one_moment_agree(void **state)
{
	(void)state;
	static const char *const same[] = { "2026-11-22T13:12:19Z", "2026-11-22T13:12:19.999Z", "2026-11-22T13:12:19,5z", "2026-11-22t13:12:19", "2026-11-22 13:12:19Z",
		"2026-11-22T14:12:19+01:00", "2026-11-22T18:42:19.123456789+0530", "2026-11-22T08:12:19-05", "2026-11-23T00:12:19+11:00" };
	for (size_t i = 0; i < sizeof same / sizeof same[0]; i++) {
		int64_t s = 0;
		assert_true(iso_time_to_s(slice_cstr(same[i]), &s));
		assert_int_equal(s, 1795353139);
	}
}

static void leap_years_and_borders_are_right(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		int64_t s;
	} cases[] = { { "1970-01-01T00:00:00Z", 0 }, { "2000-02-29T00:00:00Z", 951782400 }, { "2024-03-01T00:00:00Z", 1709251200 }, { "2100-03-01T00:00:00Z", 4107542400 },
		{ "9999-12-31T23:59:59Z", INT64_C(253402300799) } };
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		int64_t s = -1;
		assert_true(iso_time_to_s(slice_cstr(cases[i].text), &s));
		assert_int_equal(s, cases[i].s);
	}
}

static void what_is_no_time_is_refused(void **state)
{
	(void)state;
	static const char *const bad[] = { "", "2026", "2026-11-22", "2026-13-01T00:00:00Z", "2026-00-01T00:00:00Z", "2026-02-29T00:00:00Z", "2100-02-29T00:00:00Z",
		"2026-04-31T00:00:00Z", "2026-11-22T24:00:00Z", "2026-11-22T13:60:00Z", "2026-11-22T13:12:61Z", "2026-11-22T13:12:19.Z", "2026-11-22T13:12:19ZZ",
		"2026-11-22T13:12:19+1", "2026-11-22T13:12:19+24:00", "2026-11-22T13:12:19+01:60", "2026-11-22T13:12:19 UTC", "1969-12-31T23:59:59Z",
		"1970-01-01T00:00:00+01:00", "20261122T131219Z", "1795353139", "2026-1x-22T13:12:19Z" };
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		int64_t s = 77;
		assert_false(iso_time_to_s(slice_cstr(bad[i]), &s));
		assert_int_equal(s, 77);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(spellings_of_one_moment_agree),
		cmocka_unit_test(leap_years_and_borders_are_right),
		cmocka_unit_test(what_is_no_time_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
