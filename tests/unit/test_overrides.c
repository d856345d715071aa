/* wire/overrides.c: both parts of the file, and messages that name the bad place. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "wire/overrides.h"

static void both_parts_become_overrides_in_the_files_order(void **state)
{
	(void)state;
	_cleanup_arena_ struct arena *a = arena_new(1024);
	struct overrides o;
	struct slice message;
	assert_int_equal(overrides_parse(SLICE("{\"all\": {\"declined\": \"no_answer\"},\n\"tenants\": {\"acme\": {\"machine\": \"no_answer\", "
		"\"declined\": \"busy\"}, \"\\u00e9\": {}}}"), a, &o, &message), 0);
	static const struct {
		enum verdict_reason reason;
		const char *tenant;
		enum outcome outcome;
	} want[] = { { VERDICT_DECLINED, NULL, OUTCOME_NO_ANSWER }, { VERDICT_MACHINE, "acme", OUTCOME_NO_ANSWER }, { VERDICT_DECLINED, "acme", OUTCOME_BUSY } };
	assert_int_equal(o.count, 3);
	for (size_t i = 0; i < 3; i++) {
		assert_int_equal(o.items[i].reason, want[i].reason);
		assert_int_equal(o.items[i].outcome, want[i].outcome);
		assert_true(slice_eq(o.items[i].tenant, slice_cstr(want[i].tenant)));
		assert_int_equal(slice_is_none(o.items[i].tenant), want[i].tenant == NULL);
	}
}

static void an_empty_file_overrides_nothing(void **state)
{
	(void)state;
	_cleanup_arena_ struct arena *a = arena_new(1024);
	struct overrides o = { .count = 9 };
	struct slice message;
	assert_int_equal(overrides_parse(SLICE("{}"), a, &o, &message), 0);
	assert_int_equal(o.count, 0);
}

static void what_is_wrong_is_named(void **state)
{
	(void)state;
	static const struct {
		const char *text, *message;
	} BAD[] = {
		{ "[]", "must be a JSON object" },
		{ "{\n\"all\": {}\n", "line 3: " },
		{ "{\"all\": 1}", "all: must be an object of reasons to outcomes" },
		{ "{\"tenants\": []}", "tenants: must be an object of tenants" },
		{ "{\"tenants\": {\"acme\": 1}}", "acme: must be an object of reasons to outcomes" },
		{ "{\"tenants\": {\"\": {}}}", "tenants: a tenant is empty, or longer than 2048 bytes" },
		{ "{\"all\": {\"declind\": \"busy\"}}", "all, declind: unknown reason; docs/VERDICTS.md has them all" },
		{ "{\"all\": {\"\": \"busy\"}}", "all: unknown reason; docs/VERDICTS.md has them all" },
		{ "{\"tenants\": {\"acme\": {\"declined\": \"bussy\"}}}", "acme, declined: unknown outcome; there are completed, no_answer, busy, failed, unknown" },
		{ "{\"all\": {\"declined\": null}}", "all, declined: the outcome must be a string" },
		{ "{\"some\": {}}", "some: unknown part; there are all, tenants" },
		{ "{\"all\": {\"declined\": \"busy\", \"declined\": \"failed\"}}", "line 1: " },
	};
	for (size_t i = 0; i < sizeof BAD / sizeof BAD[0]; i++) {
		_cleanup_arena_ struct arena *a = arena_new(1024);
		struct overrides o;
		struct slice message = SLICE_NONE;
		assert_int_equal(overrides_parse(slice_cstr(BAD[i].text), a, &o, &message), OC_INVALID);
		struct slice want = slice_cstr(BAD[i].message);
		if (want.p[want.n - 1] == ' ' ? !slice_starts_with(message, want) : !slice_eq(message, want))
			fail_msg("%s: %.*s", BAD[i].text, SLICE_FMT(message));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(both_parts_become_overrides_in_the_files_order),
		cmocka_unit_test(an_empty_file_overrides_nothing),
		cmocka_unit_test(what_is_wrong_is_named),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
