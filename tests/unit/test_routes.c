/* wire/routes.c: each part of the file, and messages that name the bad part. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "wire/routes.h"

static void every_part_becomes_routes_in_the_files_order(void **state)
{
	(void)state;
	_cleanup_arena_ struct arena *a = arena_new(1024);
	struct routes r;
	struct slice message;
	assert_int_equal(routes_parse(SLICE("{\"trunkId\": {\"ST_1\": \"acme\"}, \"apiKey\": {},\n\"trunkNumber\": {\"+1206\": \"b\", \"+1207\": \"\\u00e9\"}, "
		"\"roomPrefix\": {\"acme-\": \"acme\"}}"), a, &r, &message), 0);
	static const struct {
		enum route_kind kind;
		const char *value, *tenant;
	} want[] = { { ROUTE_TRUNK_ID, "ST_1", "acme" }, { ROUTE_TRUNK_NUMBER, "+1206", "b" }, { ROUTE_TRUNK_NUMBER, "+1207", "\xc3\xa9" },
		{ ROUTE_ROOM_PREFIX, "acme-", "acme" } };
	assert_int_equal(r.count, 4);
	for (size_t i = 0; i < 4; i++) {
		assert_int_equal(r.items[i].kind, want[i].kind);
		assert_true(slice_eq_cstr(r.items[i].value, want[i].value));
		assert_true(slice_eq_cstr(r.items[i].tenant, want[i].tenant));
	}
}

static void an_empty_object_is_no_routes(void **state)
{
	(void)state;
	_cleanup_arena_ struct arena *a = arena_new(1024);
	struct routes r = { .count = 7 };
	struct slice message;
	assert_int_equal(routes_parse(SLICE(" {} \n"), a, &r, &message), 0);
	assert_int_equal(r.count, 0);
}

static void what_is_wrong_is_named(void **state)
{
	(void)state;
	static const struct {
		const char *text, *message;
	} cases[] = {
		{ "", "line 1: not JSON" },
		{ "{\n\"trunkId\": {},\n}", "line 3: not JSON" },
		{ "[]", "must be a JSON object" },
		{ "{\"trunk\":{}}", "trunk: unknown part; there are trunkId, trunkNumber, roomPrefix, apiKey" },
		{ "{\"trunkId\":[]}", "trunkId: must be an object of names to tenants" },
		{ "{\"trunkId\":{\"ST\":5}}", "trunkId, ST: the tenant must be a string" },
		{ "{\"apiKey\":{\"APIx\":\"\"}}", "apiKey, APIx: the tenant is empty" },
		{ "{\"roomPrefix\":{\"\":\"a\"}}", "roomPrefix: an empty name would match everything or nothing" },
		{ "{\"apiKey\":{\"A\":\"x\",\n\"A\":\"y\"}}", "line 2: a name occurs twice in the object that ends here" },
		{ "{\"apiKey\":{\"A\":\"x\\u0000\"}}", "line 1: a NUL character in a string" },
	};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		_cleanup_arena_ struct arena *a = arena_new(1024);
		struct routes r = { .count = 7 };
		struct slice message = SLICE_NONE;
		assert_int_equal(routes_parse(slice_cstr(cases[i].text), a, &r, &message), OC_INVALID);
		assert_string_equal(arena_dup(a, message), cases[i].message);
		assert_int_equal(r.count, 7);
	}
}

static void a_name_or_tenant_beyond_the_limit_is_refused(void **state)
{
	(void)state;
	_cleanup_arena_ struct arena *a = arena_new(8192);
	char text[4096] = "{\"apiKey\":{\"A\":\"";
	memset(text + strlen(text), 'x', EVENT_MAX_VALUE + 1);
	strcat(text, "\"}}");
	struct routes r;
	struct slice message = SLICE_NONE;
	assert_int_equal(routes_parse(slice_cstr(text), a, &r, &message), OC_INVALID);
	assert_string_equal(arena_dup(a, message), "apiKey: a name or tenant is longer than 2048 bytes");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_part_becomes_routes_in_the_files_order),
		cmocka_unit_test(an_empty_object_is_no_routes),
		cmocka_unit_test(what_is_wrong_is_named),
		cmocka_unit_test(a_name_or_tenant_beyond_the_limit_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
