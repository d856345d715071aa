/* The table of paths, and where a path leads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "http/internal.h"

static const struct endpoint *find(const char *path, struct slice *ret_segment)
{
	*ret_segment = SLICE_NONE;
	return endpoint_find(slice_cstr(path), ret_segment);
}

static void every_path_finds_itself(void **state)
{
	(void)state;
	size_t count;
	const struct endpoint *all = endpoints_all(&count);
	struct slice segment;
	for (size_t i = 0; i < count; i++) {
		if (strchr(all[i].path, '*'))
			continue;
		assert_ptr_equal(find(all[i].path, &segment), &all[i]);
		assert_true(slice_is_none(segment));
	}
}

static void a_star_takes_one_segment_that_is_not_empty(void **state)
{
	(void)state;
	struct slice segment;
	assert_ptr_equal(find("/api/calls/RM_x%2Fy/outcome", &segment)->run, outcome_run);
	assert_true(slice_eq_cstr(segment, "RM_x%2Fy"));
	assert_null(find("/api/calls//outcome", &segment));
	assert_null(find("/api/calls/a/b/outcome", &segment));
	assert_ptr_equal(find("/api/calls/*/outcome", &segment)->run, outcome_run);
	assert_ptr_equal(find("/api/calls/RM_x/events", &segment)->run, events_run);
	assert_true(slice_eq_cstr(segment, "RM_x"));
	assert_ptr_equal(find("/api/calls/outcome", &segment)->run, call_run);
	assert_true(slice_eq_cstr(segment, "outcome"));
}

static void paths_are_exact(void **state)
{
	(void)state;
	static const char *const nothing[] = { "", "//", "/livez/", "//livez", "/Livez", "/livez%20", "/api", "/api/", "/api/calls/", "/api/calls/x/", "/api/calls/x/event",
					       "/api/webhooks/call_completed/", "/api/webhooks/call_completed/health/x", "/%61pi/calls", "*" };
	struct slice segment;
	for (size_t i = 0; i < sizeof nothing / sizeof nothing[0]; i++)
		assert_null(find(nothing[i], &segment));
}

static void methods_are_told_apart_by_their_exact_names(void **state)
{
	(void)state;
	assert_int_equal(method_from_name("GET"), METHOD_GET);
	assert_int_equal(method_from_name("HEAD"), METHOD_HEAD);
	assert_int_equal(method_from_name("POST"), METHOD_POST);
	assert_int_equal(method_from_name("OPTIONS"), METHOD_OPTIONS);
	assert_int_equal(method_from_name("get"), METHOD_OTHER);
	assert_int_equal(method_from_name("GETX"), METHOD_OTHER);
	assert_int_equal(method_from_name(""), METHOD_OTHER);
}

static void what_is_allowed_and_what_allow_says_are_the_same(void **state)
{
	(void)state;
	size_t count;
	const struct endpoint *all = endpoints_all(&count);
	for (size_t i = 0; i < count; i++) {
		assert_int_equal(endpoint_allows(&all[i], METHOD_GET), strstr(all[i].allow, "GET") != NULL);
		assert_int_equal(endpoint_allows(&all[i], METHOD_HEAD), strstr(all[i].allow, "HEAD") != NULL);
		assert_int_equal(endpoint_allows(&all[i], METHOD_POST), strstr(all[i].allow, "POST") != NULL);
		assert_int_equal(endpoint_allows(&all[i], METHOD_OPTIONS), strstr(all[i].allow, "OPTIONS") != NULL);
		assert_false(endpoint_allows(&all[i], METHOD_OTHER));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_path_finds_itself),
		cmocka_unit_test(a_star_takes_one_segment_that_is_not_empty),
		cmocka_unit_test(paths_are_exact),
		cmocka_unit_test(methods_are_told_apart_by_their_exact_names),
		cmocka_unit_test(what_is_allowed_and_what_allow_says_are_the_same),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
