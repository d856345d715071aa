/* Tokens that were not accepted: so many answers an address, then it has to wait, and nobody else with it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "http/attempts.h"

#define S ((int64_t)1000000000)

static struct address v4(unsigned n)
{
	struct address a = { .is_ip = true };
	a.ip.s6_addr[10] = a.ip.s6_addr[11] = 0xff;
	for (int i = 0; i < 4; i++)
		a.ip.s6_addr[12 + i] = (unsigned char)(n >> (24 - 8 * i));
	return a;
}

static int make(void **state)
{
	*state = attempts_new();
	return *state ? 0 : -1;
}

static int unmake(void **state)
{
	attempts_free(*state);
	return 0;
}

static void so_many_at_once_and_then_one_a_second(void **state)
{
	int64_t now = 5 * S;
	for (int i = 0; i < ATTEMPTS_AT_ONCE; i++)
		assert_true(attempts_note(*state, v4(1), now));
	for (int i = 0; i < 1000; i++)
		assert_false(attempts_note(*state, v4(1), now));
	assert_true(attempts_note(*state, v4(2), now));
	assert_false(attempts_note(*state, v4(1), now + S - 1));
	assert_true(attempts_note(*state, v4(1), now + S));
	assert_false(attempts_note(*state, v4(1), now + S));
	now += 1000 * S;
	for (int i = 0; i < ATTEMPTS_AT_ONCE; i++)
		assert_true(attempts_note(*state, v4(1), now));
	assert_false(attempts_note(*state, v4(1), now));
}

/* A hundred thousand addresses that each try once do not free the one that has to wait. */
static void who_has_to_wait_is_not_pushed_out_by_others(void **state)
{
	int64_t now = 5 * S;
	for (int i = 0; i < ATTEMPTS_AT_ONCE; i++)
		assert_true(attempts_note(*state, v4(7), now));
	for (unsigned n = 100; n < 100100; n++)
		assert_true(attempts_note(*state, v4(n), now));
	assert_false(attempts_note(*state, v4(7), now));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(so_many_at_once_and_then_one_a_second, make, unmake),
		cmocka_unit_test_setup_teardown(who_has_to_wait_is_not_pushed_out_by_others, make, unmake),
	};
	attempts_free(NULL);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
