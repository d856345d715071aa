/* wire/jdoc_int.c: whole numbers in every spelling, and why others are none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "wire/jdoc.h"

static void integers_are_read_exactly_in_any_spelling(void **state)
{
	(void)state;
	static const struct {
		const char *literal;
		int64_t value;
	} cases[] = { { "0", 0 }, { "-0", 0 }, { "0.000", 0 }, { "0e99", 0 }, { "5.0", 5 }, { "1.79e9", 1790000000 }, { "1795353139", 1795353139 }, { "120e-1", 12 },
		{ "0.00125E5", 125 }, { "-1.5e1", -15 }, { "9223372036854775807", INT64_MAX }, { "-9223372036854775808", INT64_MIN },
		{ "9223372036854775807.000", INT64_MAX }, { "92233720368547758070e-1", INT64_MAX }, { "0.9223372036854775807e19", INT64_MAX },
		{ "1000000000000000000000000000000e-30", 1 }, { "10e+2", 1000 }, { "1e18", INT64_C(1000000000000000000) },
		{ "9007199254740993", INT64_C(9007199254740993) } };
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		int64_t v = 77;
		assert_int_equal(jdoc_int64(slice_cstr(cases[i].literal), &v), JDOC_INT_OK);
		assert_int_equal(v, cases[i].value);
	}
}

static void numbers_that_are_no_int64_say_why(void **state)
{
	(void)state;
	static const struct {
		const char *literal;
		enum jdoc_int how;
	} cases[] = { { "1.5", JDOC_INT_FRACTION }, { "1e-1", JDOC_INT_FRACTION }, { "0.1", JDOC_INT_FRACTION }, { "9223372036854775808", JDOC_INT_RANGE },
		{ "-9223372036854775809", JDOC_INT_RANGE }, { "1e19", JDOC_INT_RANGE }, { "1e400", JDOC_INT_RANGE }, { "1e2000000000", JDOC_INT_RANGE },
		{ "1234567890123456789012345678", JDOC_INT_RANGE }, { "1.2345678901234567890123456789", JDOC_INT_FRACTION },
		{ "", JDOC_INT_NOT_A_NUMBER }, { "+1", JDOC_INT_NOT_A_NUMBER }, { " 1", JDOC_INT_NOT_A_NUMBER }, { "1 ", JDOC_INT_NOT_A_NUMBER },
		{ "01", JDOC_INT_NOT_A_NUMBER }, { "1.", JDOC_INT_NOT_A_NUMBER }, { ".5", JDOC_INT_NOT_A_NUMBER }, { "1e", JDOC_INT_NOT_A_NUMBER },
		{ "1e+-5", JDOC_INT_NOT_A_NUMBER }, { "0x1", JDOC_INT_NOT_A_NUMBER }, { "NaN", JDOC_INT_NOT_A_NUMBER }, { "--1", JDOC_INT_NOT_A_NUMBER },
		{ "1e5x", JDOC_INT_NOT_A_NUMBER }, { "2026-11-22T13:12:19Z", JDOC_INT_NOT_A_NUMBER } };
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		int64_t v = 77;
		assert_int_equal(jdoc_int64(slice_cstr(cases[i].literal), &v), cases[i].how);
		assert_int_equal(v, 77);
	}
	int64_t v = 77;
	assert_int_equal(jdoc_int64(SLICE_NONE, &v), JDOC_INT_NOT_A_NUMBER);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(integers_are_read_exactly_in_any_spelling),
		cmocka_unit_test(numbers_that_are_no_int64_say_why),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
