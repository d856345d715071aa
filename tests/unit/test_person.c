/* base/person.c: a number is found however it is written, and no other one is; so is a tenant's id. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/person.h"

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

static bool number_in(void **state, const char *number, const char *text)
{
	struct person p;
	assert_int_equal(person_of_number(slice_cstr(number), *state, &p), 0);
	return person_is_mentioned(&p, slice_cstr(text));
}

static bool user_in(void **state, const char *user, const char *text)
{
	struct person p;
	assert_int_equal(person_of_user(slice_cstr(user), *state, &p), 0);
	return person_is_mentioned(&p, slice_cstr(text));
}

static void a_number_is_found_however_it_is_written(void **state)
{
	static const char *const written[] = { "+4930123456", "4930123456", "004930123456", "sip_+4930123456", "sip:4930123456@carrier;x",
		"{\"a\":\"tel:+49-30-123456\"}", "+49 (30) 123456", "%2B4930123456", "00 4930123456", "call_4930123456_1" };
	static const char *const given[] = { "+4930123456", "004930123456", "+49 30 123-456" };
	for (size_t i = 0; i < sizeof given / sizeof *given; i++)
		for (size_t k = 0; k < sizeof written / sizeof *written; k++)
			assert_true(number_in(state, given[i], written[k]));
}

static void no_other_number_is_taken_for_it(void **state)
{
	static const char *const others[] = { "+49301234567", "14930123456", "+4930123457", "+493012345", "1004930123456", "49 30 12 - - 3456",
		"4930123 abc 456", "", "+" };
	for (size_t i = 0; i < sizeof others / sizeof *others; i++)
		assert_false(number_in(state, "+4930123456", others[i]));
	assert_true(number_in(state, "+4930123456", "+49301234567 +4930123456"));
}

static void what_is_no_number_is_refused(void **state)
{
	static const char *const bad[] = { "", "+", "123456", "+49301234x", "++4930123456", "49+30123456", "123456789012345678901" };
	struct person p;
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		assert_int_equal(person_of_number(slice_cstr(bad[i]), *state, &p), OC_INVALID);
}

static void among_bytes_it_is_found_inside_others_too(void **state)
{
	struct person p;
	assert_int_equal(person_of_number(SLICE("+4930123456"), *state, &p), 0);
	assert_true(person_in_bytes(&p, SLICE("\x01\x02" "994930123456" "7")));
	assert_true(person_in_bytes(&p, SLICE("49 30 123456")));
	assert_false(person_in_bytes(&p, SLICE("493012345")));
	assert_int_equal(person_of_user(SLICE("alice"), *state, &p), 0);
	assert_false(person_in_bytes(&p, SLICE("alice")));
}

static void an_id_is_found_as_a_whole(void **state)
{
	assert_true(user_in(state, "7", "7"));
	assert_true(user_in(state, "7", "{\"user_id\": \"7\"}"));
	assert_true(user_in(state, "7", "t\t2\t7\tEV_1\n"));
	assert_true(user_in(state, "7", "{\"metadata\": \"{\\\"user_id\\\": \\\"7\\\"}\"}"));
	assert_false(user_in(state, "7", "17"));
	assert_false(user_in(state, "7", "{\"a\": 7, \"b\": \"77\", \"c\": \"7 8\"}"));
	assert_true(user_in(state, "a\"b", "{\"u\":\"a\\\"b\"}"));
	assert_true(user_in(state, "50%", "t\t50%25\tx"));
	struct person p;
	assert_int_equal(person_of_user(SLICE(""), *state, &p), OC_INVALID);
	assert_int_equal(person_of_user(SLICE("a\nb"), *state, &p), OC_INVALID);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, make_arena, free_arena)
	const struct CMUnitTest tests[] = {
		CASE(a_number_is_found_however_it_is_written),
		CASE(no_other_number_is_taken_for_it),
		CASE(what_is_no_number_is_refused),
		CASE(among_bytes_it_is_found_inside_others_too),
		CASE(an_id_is_found_as_a_whole),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
