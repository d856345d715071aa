/* What comes in a request target: percent-encoding, query strings, times. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "http/query.h"

static const struct query_parameter known[] = { { "user_id", false }, { "from", true }, { "limit", true } };

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

static void assert_slice(struct slice s, const char *z)
{
	assert_int_equal(s.n, strlen(z));
	assert_memory_equal(s.p, z, s.n);
}

static enum query_problem parse(void **state, const char *query, struct slice values[3], struct slice *ret_name)
{
	*ret_name = SLICE_NONE;
	return query_parse(slice_cstr(query), known, 3, *state, values, ret_name);
}

static void percent_decoding_takes_two_hex_digits_of_either_case(void **state)
{
	struct slice s;
	assert_int_equal(percent_decode(SLICE("a%2Fb%2f%00%ff+%25"), false, *state, &s), OC_OK);
	assert_int_equal(s.n, 8);
	assert_memory_equal(s.p, "a/b/\0\xff+%", 8);
	assert_int_equal(percent_decode(SLICE(""), false, *state, &s), OC_OK);
	assert_int_equal(s.n, 0);
	assert_int_equal(percent_decode(SLICE("a+b"), true, *state, &s), OC_OK);
	assert_slice(s, "a b");
}

static void percent_decoding_refuses_what_is_cut_or_not_hex(void **state)
{
	static const char *const bad[] = { "%", "%4", "a%", "a%4", "%g0", "%0g", "%%41", "% 1", "%+1", "%-1" };
	struct slice s = SLICE("untouched");
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_int_equal(percent_decode(slice_cstr(bad[i]), true, *state, &s), OC_INVALID);
	assert_slice(s, "untouched");
}

static void known_parameters_are_found_in_any_order(void **state)
{
	struct slice v[3], name;
	assert_int_equal(parse(state, "limit=5&user_id=a%20b", v, &name), QUERY_OK);
	assert_slice(v[0], "a b");
	assert_true(slice_is_none(v[1]));
	assert_slice(v[2], "5");
}

static void no_query_and_empty_parts_are_no_problem(void **state)
{
	struct slice v[3], name;
	assert_int_equal(query_parse(SLICE_NONE, known, 3, *state, v, &name), QUERY_OK);
	assert_true(slice_is_none(v[0]) && slice_is_none(v[1]) && slice_is_none(v[2]));
	assert_int_equal(parse(state, "", v, &name), QUERY_OK);
	assert_int_equal(parse(state, "&&limit=1&", v, &name), QUERY_OK);
	assert_slice(v[2], "1");
}

static void a_parameter_without_a_value_is_there_and_empty(void **state)
{
	struct slice v[3], name;
	assert_int_equal(parse(state, "user_id&limit=", v, &name), QUERY_OK);
	assert_false(slice_is_none(v[0]));
	assert_int_equal(v[0].n, 0);
	assert_false(slice_is_none(v[2]));
}

static void a_value_may_hold_an_equals_sign(void **state)
{
	struct slice v[3], name;
	assert_int_equal(parse(state, "user_id=a=b", v, &name), QUERY_OK);
	assert_slice(v[0], "a=b");
}

static void a_plus_is_a_space_but_in_numbers_and_times(void **state)
{
	struct slice v[3], name;
	assert_int_equal(parse(state, "user_id=a+b&from=2026-01-01T00:00:00+02:00", v, &name), QUERY_OK);
	assert_slice(v[0], "a b");
	assert_slice(v[1], "2026-01-01T00:00:00+02:00");
}

static void an_unknown_parameter_is_named(void **state)
{
	struct slice v[3], name;
	assert_int_equal(parse(state, "limit=1&userid=2", v, &name), QUERY_UNKNOWN);
	assert_slice(name, "userid");
	assert_int_equal(parse(state, "=x", v, &name), QUERY_UNKNOWN);
	assert_int_equal(parse(state, "USER_ID=x", v, &name), QUERY_UNKNOWN);
}

static void a_repeated_parameter_is_named(void **state)
{
	struct slice v[3], name;
	assert_int_equal(parse(state, "user_id=a&limit=1&user_id=b", v, &name), QUERY_REPEATED);
	assert_slice(name, "user_id");
	assert_int_equal(parse(state, "user_id&user_id", v, &name), QUERY_REPEATED);
	assert_int_equal(parse(state, "user_id=a&user%5fid=b", v, &name), QUERY_REPEATED);
}

static void a_badly_encoded_parameter_is_named(void **state)
{
	struct slice v[3], name;
	assert_int_equal(parse(state, "user_id=%zz", v, &name), QUERY_MALFORMED);
	assert_slice(name, "user_id");
	assert_int_equal(parse(state, "user%id=1", v, &name), QUERY_MALFORMED);
}

static void a_long_name_is_cut_in_the_message(void **state)
{
	char query[400];
	memset(query, 'a', sizeof query - 1);
	query[sizeof query - 1] = '\0';
	struct slice v[3], name;
	assert_int_equal(parse(state, query, v, &name), QUERY_UNKNOWN);
	assert_int_equal(name.n, 100);
}

int main(void)
{
#define WITH_ARENA(f) cmocka_unit_test_setup_teardown(f, make_arena, free_arena)
	const struct CMUnitTest tests[] = {
		WITH_ARENA(percent_decoding_takes_two_hex_digits_of_either_case),
		WITH_ARENA(percent_decoding_refuses_what_is_cut_or_not_hex),
		WITH_ARENA(known_parameters_are_found_in_any_order),
		WITH_ARENA(no_query_and_empty_parts_are_no_problem),
		WITH_ARENA(a_parameter_without_a_value_is_there_and_empty),
		WITH_ARENA(a_value_may_hold_an_equals_sign),
		WITH_ARENA(a_plus_is_a_space_but_in_numbers_and_times),
		WITH_ARENA(an_unknown_parameter_is_named),
		WITH_ARENA(a_repeated_parameter_is_named),
		WITH_ARENA(a_badly_encoded_parameter_is_named),
		WITH_ARENA(a_long_name_is_cut_in_the_message),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
