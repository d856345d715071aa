/* Entity tags: another revision or another byte gives another one, and If-None-Match is read as RFC 9110 says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "http/internal.h"

static const char *tag_of(int64_t revision, const char *body, char *into)
{
	assert_int_equal(etag_make(revision, slice_cstr(body), into, 64), 0);
	return into;
}

static void a_tag_changes_with_the_revision_and_with_the_body(void **state)
{
	(void)state;
	char a[64], b[64];
	assert_string_equal(tag_of(1, "{}", a), tag_of(1, "{}", b));
	assert_string_not_equal(tag_of(1, "{}", a), tag_of(2, "{}", b));
	assert_string_not_equal(tag_of(1, "{}", a), tag_of(1, "{ }", b));
	assert_int_equal(strlen(a), 36);
	assert_int_equal(strncmp(a, "\"1-", 3), 0);
}

static void the_longest_revision_fits(void **state)
{
	(void)state;
	struct reply r = { 0 };
	assert_int_equal(etag_make(INT64_MIN, SLICE(""), r.etag, sizeof r.etag), 0);
	assert_int_equal(r.etag[strlen(r.etag) - 1], '"');
}

static void the_field_is_a_list_of_tags(void **state)
{
	(void)state;
	static const struct {
		const char *field;
		bool matches;
	} cases[] = {
		{ "\"1-ab\"", true }, { "W/\"1-ab\"", true }, { "*", true }, { "\"x\", \"1-ab\"", true }, { "\"x\",\"1-ab\",\"y\"", true },
		{ "\"a,b\" , W/\"1-ab\"", true }, { ",, \"1-ab\"", true }, { "\t\"1-ab\"", true },
		{ "", false }, { "1-ab", false }, { "\"1-ab", false }, { "\"1-a\"", false }, { "\"1-abc\"", false }, { "\"x\", *", false }, { "\"", false },
		{ "W/", false }, { "W/W/\"1-ab\"", false }, { "w/\"1-ab\"", false }, { "\"\"", false }, { "\"1-ab\\\"", false }, { "junk \"1-ab\"", false },
	};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
		if (etag_matches(slice_cstr(cases[i].field), "\"1-ab\"") != cases[i].matches)
			fail_msg("%s", cases[i].field);
	assert_false(etag_matches(SLICE_NONE, "\"1-ab\""));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_tag_changes_with_the_revision_and_with_the_body),
		cmocka_unit_test(the_longest_revision_fits),
		cmocka_unit_test(the_field_is_a_list_of_tags),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
