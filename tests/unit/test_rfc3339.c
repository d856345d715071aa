/* wire/rfc3339.c: what is a time, to the millisecond, and what is none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "wire/rfc3339.h"

static void times_are_milliseconds_since_the_epoch(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		int64_t ms;
	} good[] = {
		{ "1970-01-01T00:00:00Z", 0 },
		{ "1970-01-01T00:00:00.001Z", 1 },
		{ "1970-01-01T00:00:00.1Z", 100 },
		{ "1970-01-01T00:00:00.123456789Z", 123 },
		{ "1969-12-31T23:59:59Z", -1000 },
		{ "2026-11-22T13:12:19.123Z", 1795353139123 },
		{ "2026-11-22t13:12:19z", 1795353139000 },
		{ "2026-11-22T15:12:19+02:00", 1795353139000 },
		{ "2026-11-22T07:42:19-05:30", 1795353139000 },
		{ "2024-02-29T00:00:00Z", 1709164800000 },
		{ "2000-02-29T23:59:60Z", 951868800000 },
		{ "0001-01-01T00:00:00Z", -62135596800000 },
		{ "9999-12-31T23:59:59.999Z", 253402300799999 },
		{ "2026-01-01T00:00:00-00:00", 1767225600000 },
	};
	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
		int64_t ms = -1;
		assert_true(rfc3339_parse(slice_cstr(good[i].text), &ms));
		assert_int_equal(ms, good[i].ms);
	}
}

static void what_is_no_rfc3339_time_is_refused(void **state)
{
	(void)state;
	static const char *const bad[] = {
		"", "2026", "2026-11-22", "2026-11-22T13:12:19", "2026-11-22 13:12:19Z", "2026-11-22T13:12Z", "2026-11-22T13:12:19.Z",
		"2026-13-01T00:00:00Z", "2026-00-01T00:00:00Z", "2026-02-29T00:00:00Z", "2100-02-29T00:00:00Z", "2026-04-31T00:00:00Z",
		"2026-01-00T00:00:00Z", "2026-01-01T24:00:00Z", "2026-01-01T00:60:00Z", "2026-01-01T00:00:61Z", "0000-01-01T00:00:00Z",
		"2026-01-01T00:00:00+2:00", "2026-01-01T00:00:00+0200", "2026-01-01T00:00:00+24:00", "2026-01-01T00:00:00+00:60",
		"2026-01-01T00:00:00Zx", "+026-01-01T00:00:00Z", "2026-1-1T0:0:0Z", "1767225600", "1767225600000", "2026-01-01T00:00:00,5Z",
	};
	int64_t ms = 42;
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_false(rfc3339_parse(slice_cstr(bad[i]), &ms));
	assert_int_equal(ms, 42);
}

static void every_day_of_four_centuries_is_one_after_the_other(void **state)
{
	(void)state;
	static const int days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
	int64_t expected = -11676096000000; /* 1600-01-01 */
	for (int year = 1600; year < 2000; year++)
		for (int month = 1; month <= 12; month++) {
			bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
			for (int day = 1; day <= days[month - 1] + (month == 2 && leap); day++, expected += 86400000) {
				char text[32];
				int64_t ms;
				snprintf(text, sizeof text, "%04d-%02d-%02dT00:00:00Z", year, month, day);
				assert_true(rfc3339_parse(slice_cstr(text), &ms));
				assert_int_equal(ms, expected);
			}
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(times_are_milliseconds_since_the_epoch),
		cmocka_unit_test(what_is_no_rfc3339_time_is_refused),
		cmocka_unit_test(every_day_of_four_centuries_is_one_after_the_other),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
