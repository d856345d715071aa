/* Secrets in memory: kept, taken out of the environment, hidden in URLs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/secret.h"

static void what_is_kept_is_a_copy_with_a_nul_behind_it(void **state)
{
	(void)state;
	char text[] = "hush";
	struct slice one, none;
	assert_int_equal(secret_keep(slice_of(text, 4), &one), 0);
	assert_int_equal(secret_keep(SLICE_NONE, &none), 0);
	memset(text, 'x', 4);
	assert_string_equal(one.p, "hush");
	assert_int_equal(none.n, 0);
	assert_non_null(none.p);
}

static void more_than_there_is_room_for_is_refused(void **state)
{
	(void)state;
	char *large = calloc(1, (size_t)2 << 20);
	struct slice kept = SLICE_NONE;
	assert_non_null(large);
	assert_int_equal(secret_keep(slice_of(large, (size_t)2 << 20), &kept), OC_NOMEM);
	assert_true(slice_is_none(kept));
	free(large);
}

/* The pages are marked: dd, not in core dumps. */
static void no_core_dump_holds_them(void **state)
{
	(void)state;
	struct slice kept;
	char line[512];
	bool inside = false, marked = false;
	assert_int_equal(secret_keep(SLICE("hush"), &kept), 0);
	FILE *f = fopen("/proc/self/smaps", "re");
	assert_non_null(f);
	while (fgets(line, sizeof line, f)) {
		unsigned long long from, to;
		if (sscanf(line, "%llx-%llx ", &from, &to) == 2)
			inside = (uintptr_t)kept.p >= from && (uintptr_t)kept.p < to;
		else if (inside && strncmp(line, "VmFlags:", 8) == 0)
			marked = strstr(line, " dd") != NULL;
	}
	fclose(f);
	assert_true(marked);
}

static void an_environment_variable_is_gone_or_elsewhere(void **state)
{
	(void)state;
	setenv("OUTCOMED_TEST_GONE", "hush", 1);
	setenv("OUTCOMED_TEST_KEPT", "hush", 1);
	const char *gone = getenv("OUTCOMED_TEST_GONE"), *kept = getenv("OUTCOMED_TEST_KEPT");
	assert_int_equal(secret_hide_environment("OUTCOMED_TEST_GONE", false), 0);
	assert_int_equal(secret_hide_environment("OUTCOMED_TEST_KEPT", true), 0);
	assert_int_equal(secret_hide_environment("OUTCOMED_TEST_NEVER_SET", true), 0);
	for (int i = 0; i < 4; i++)
		assert_int_equal(gone[i] | kept[i], 0);
	assert_null(getenv("OUTCOMED_TEST_GONE"));
	assert_string_equal(getenv("OUTCOMED_TEST_KEPT"), "hush");
}

static void passwords_in_urls_are_blotted_out(void **state)
{
	(void)state;
	static const char *const cases[][2] = {
		{ "postgresql://u:hush@db/x", "postgresql://u:****@db/x" },
		{ "--database=postgresql://u:hu@sh@db:5/x", "--database=postgresql://u:*****@db:5/x" },
		{ "postgresql://u:hu/sh:@db", "postgresql://u:******@db" },
		{ "postgresql://db/x?password=hush&user=u", "postgresql://db/x?password=****&user=u" },
		{ "postgresql://db/x?user=u&sslpassword=hush", "postgresql://db/x?user=u&sslpassword=****" },
		{ "postgresql://u@db:5432/x", "postgresql://u@db:5432/x" },
		{ "sqlite:a@b:c", "sqlite:a@b:c" },
		{ "http://127.0.0.1:5000/", "http://127.0.0.1:5000/" },
		{ "postgresql://u:@db", "postgresql://u:@db" },
		{ "", "" },
	};
	char text[100];
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		strcpy(text, cases[i][0]);
		secret_hide_url(text);
		assert_string_equal(text, cases[i][1]);
	}
}

static void no_core_file_is_written(void **state)
{
	(void)state;
	struct rlimit limit;
	secret_guard_process();
	assert_int_equal(getrlimit(RLIMIT_CORE, &limit), 0);
	assert_int_equal(limit.rlim_max, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_kept_is_a_copy_with_a_nul_behind_it),
		cmocka_unit_test(more_than_there_is_room_for_is_refused),
		cmocka_unit_test(no_core_dump_holds_them),
		cmocka_unit_test(an_environment_variable_is_gone_or_elsewhere),
		cmocka_unit_test(passwords_in_urls_are_blotted_out),
		cmocka_unit_test(no_core_file_is_written),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
