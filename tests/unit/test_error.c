/* Error codes and the two clocks. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "base/clock.h"
#include "base/error.h"

static void every_code_has_a_text_of_its_own(void **state)
{
	(void)state;
	for (int code = OC_FSYNC; code <= OC_OK; code++) {
		assert_string_not_equal(oc_error_text(code), "unknown error");
		for (int other = OC_FSYNC; other < code; other++)
			assert_string_not_equal(oc_error_text(code), oc_error_text(other));
	}
	assert_string_equal(oc_error_text(OC_FSYNC - 1), "unknown error");
	assert_string_equal(oc_error_text(1), "unknown error");
}

static void the_wall_clock_is_after_this_was_written(void **state)
{
	(void)state;
	assert_true(clock_wall_ms() > 1795353139123);
	assert_true(clock_wall_ms() < 253402300799999);
}

static void the_measuring_clock_never_goes_back(void **state)
{
	(void)state;
	int64_t last = clock_mono_ns();
	for (int i = 0; i < 1000; i++) {
		int64_t now = clock_mono_ns();
		assert_true(now >= last);
		last = now;
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_code_has_a_text_of_its_own),
		cmocka_unit_test(the_wall_clock_is_after_this_was_written),
		cmocka_unit_test(the_measuring_clock_never_goes_back),
	};
	return cmocka_run_group_tests_name("error", tests, NULL, NULL);
}
