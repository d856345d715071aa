/* The contract of store/store.h, held by both stores: the same cases against SQLite and, where TEST_DATABASE_URL names a server,
 * against PostgreSQL. The cases are in store_cases_*.c. */
#include "store_fixture.h"

#include <stdio.h>
#include <stdlib.h>

static const enum store_kind sqlite_kind = STORE_SQLITE, postgres_kind = STORE_POSTGRES;

struct group {
	struct CMUnitTest tests[128];
	char names[128][120];
	size_t count;
};

static void add_cases(struct group *g, const char *store, const enum store_kind *kind, const struct store_case *cases, size_t count)
{
	for (size_t i = 0; i < count && g->count < 128; i++, g->count++) {
		snprintf(g->names[g->count], sizeof g->names[0], "%s_%s", store, cases[i].name);
		g->tests[g->count] = (struct CMUnitTest){ .name = g->names[g->count], .test_func = cases[i].run, .setup_func = fixture_set_up,
			.teardown_func = fixture_tear_down, .initial_state = (void *)(uintptr_t)kind };
	}
}

static int run_group(const char *store, const enum store_kind *kind)
{
	static struct group groups[2];
	struct group *g = &groups[*kind == STORE_POSTGRES];

	add_cases(g, store, kind, write_cases, write_case_count);
	add_cases(g, store, kind, call_cases, call_case_count);
	add_cases(g, store, kind, read_cases, read_case_count);
	add_cases(g, store, kind, detail_cases, detail_case_count);
	add_cases(g, store, kind, mark_cases, mark_case_count);
	add_cases(g, store, kind, watch_cases, watch_case_count);
	add_cases(g, store, kind, replay_cases, replay_case_count);
	add_cases(g, store, kind, retention_cases, retention_case_count);
	return _cmocka_run_group_tests(store, g->tests, g->count, NULL, NULL);
}

int main(void)
{
	int failed = run_group("sqlite", &sqlite_kind);

	if (getenv("TEST_DATABASE_URL"))
		failed += run_group("postgres", &postgres_kind);
	return failed;
}
