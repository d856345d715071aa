/* http/host.c: which names in a Host header only this machine can have. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "http/internal.h"

static void loopback_by_any_of_its_names_is_ours(void **state)
{
	(void)state;
	static const char *const own[] = { "localhost", "LocalHost:5000", "127.0.0.1", "127.0.0.1:5000", "127.1.2.3:80", "[::1]", "[::1]:5000", "localhost:" };
	for (size_t i = 0; i < sizeof own / sizeof own[0]; i++)
		assert_true(host_is_own(slice_cstr(own[i]), SLICE_NONE));
}

static void every_other_name_is_not(void **state)
{
	(void)state;
	static const char *const other[] = { "", ":5000", "x", "evil.example", "localhost.evil.example", "localhost.", "127.0.0.1.evil.example", "127.0.0.1:80:80",
					     "10.0.0.1", "0.0.0.0", "[::2]", "[::1", "[::1]x", "[::1]:x", "localhost:x", "localhost:123456", "127.1", "2130706433",
					     "0x7f.0.0.1", "localhost@evil.example", "[127.0.0.1]" };
	for (size_t i = 0; i < sizeof other / sizeof other[0]; i++)
		assert_false(host_is_own(slice_cstr(other[i]), SLICE_NONE));
}

static void names_that_were_allowed_are_ours_too(void **state)
{
	(void)state;
	const struct slice allowed = SLICE("calls.example, box ,");
	assert_true(host_is_own(SLICE("calls.example"), allowed));
	assert_true(host_is_own(SLICE("CALLS.example:443"), allowed));
	assert_true(host_is_own(SLICE("box:1"), allowed));
	assert_true(host_is_own(SLICE("localhost"), allowed));
	assert_false(host_is_own(SLICE("x.calls.example"), allowed));
	assert_false(host_is_own(SLICE("calls"), allowed));
	assert_false(host_is_own(SLICE(""), allowed));
	assert_false(host_is_own(SLICE(":80"), allowed));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(loopback_by_any_of_its_names_is_ours),
		cmocka_unit_test(every_other_name_is_not),
		cmocka_unit_test(names_that_were_allowed_are_ours_too),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
