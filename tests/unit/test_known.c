/* http/known.c: who has shown something genuine is remembered for a day, and the table does not grow. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "http/known.h"

static struct address number(unsigned n)
{
	struct address a = { .is_ip = true };
	memcpy(&a.ip.s6_addr[4], &n, sizeof n);
	return a;
}

static void known_until_a_day_after_it_was_noted(void **state)
{
	struct known *k = *state;
	assert_false(known_is(k, number(1), 5));
	known_note(k, number(1), 5);
	assert_true(known_is(k, number(1), 5));
	assert_true(known_is(k, number(1), 5 + KNOWN_NS - 1));
	assert_false(known_is(k, number(1), 5 + KNOWN_NS));
	assert_false(known_is(k, number(2), 5));
	known_note(k, number(1), KNOWN_NS);
	assert_true(known_is(k, number(1), 5 + KNOWN_NS));
}

static void the_peers_of_a_unix_socket_are_none_of_the_zero_address(void **state)
{
	struct known *k = *state;
	known_note(k, (struct address){ .is_ip = false }, 5);
	assert_true(known_is(k, (struct address){ .is_ip = false }, 6));
	assert_false(known_is(k, number(0), 6));
}

static void one_that_is_noted_again_and_again_outlives_a_flood_of_others(void **state)
{
	struct known *k = *state;
	for (unsigned n = 10; n < 20000; n++) {
		known_note(k, number(9), n);
		known_note(k, number(n), n);
	}
	assert_true(known_is(k, number(9), 20000));
	assert_true(known_is(k, number(19999), 20000));
	unsigned left = 0;
	for (unsigned n = 10; n < 20000; n++)
		left += known_is(k, number(n), 20000);
	assert_true(left <= 2048);
}

static int make(void **state)
{
	*state = known_new();
	return *state ? 0 : -1;
}

static int done(void **state)
{
	known_free(*state);
	known_free(NULL);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(known_until_a_day_after_it_was_noted, make, done),
		cmocka_unit_test_setup_teardown(the_peers_of_a_unix_socket_are_none_of_the_zero_address, make, done),
		cmocka_unit_test_setup_teardown(one_that_is_noted_again_and_again_outlives_a_flood_of_others, make, done),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
