/* A database of its own for each case of the store contract, SQLite or PostgreSQL, and short words for what the cases do with it. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "store/backend.h"

#define SECOND 1000LL
#define MINUTE 60000LL
#define HOUR 3600000LL
#define DAY 86400000LL

struct fixture {
	enum store_kind kind;
	const char *server;   /* PostgreSQL: TEST_DATABASE_URL */
	char folder[256];     /* SQLite: holds the file */
	char schema[64];      /* PostgreSQL: the case's own */
	struct arena *arena;  /* of the whole case */
	struct store_options options;
	struct store *store;
	struct store_reader *reader;
	int64_t now_ms;       /* when the case began */
};

/* cmocka's set-up and tear-down; *state is an enum store_kind on entry, a struct fixture after. */
int fixture_set_up(void **state);
int fixture_tear_down(void **state);

/* Raw SQL that both databases understand, on a connection beside the store's. A failure fails the case. */
void fixture_exec(struct fixture *f, const char *sql);
void fixture_execf(struct fixture *f, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The first column of the only row as text, "NULL" where it is NULL, "none" without a row. */
const char *fixture_text(struct fixture *f, const char *format, ...) __attribute__((format(printf, 2, 3)));
#define assert_sql(f, expected, ...) assert_string_equal(fixture_text((f), __VA_ARGS__), (expected))
const char *fixture_time(struct fixture *f, int64_t ms); /* RFC 3339 */

void fixture_migrate(struct fixture *f);
void fixture_open(struct fixture *f);  /* store and reader */
void fixture_close(struct fixture *f);
/* The above after `host_sql`, which makes what the host has (NULL: nothing). */
void fixture_start(struct fixture *f, const char *host_sql);

#define BATCH_MAX 64

/* A batch in the making. */
struct batch {
	struct fixture *f;
	struct arena *arena;
	struct slice event_ids[BATCH_MAX], room_sids[BATCH_MAX], room_names[BATCH_MAX], names[BATCH_MAX], name_users[BATCH_MAX], leg_ids[BATCH_MAX], sip_call_ids[BATCH_MAX];
	int64_t start_s[BATCH_MAX], name_at_s[BATCH_MAX];
	struct journal_row rows[BATCH_MAX];
	struct bind_row binds[BATCH_MAX];
	struct store_touch touch;
	size_t row_count, bind_count;
	struct store_loaded loaded;
};

struct batch *batch_new(struct fixture *f);
/* An event with a room SID (NULL: only a name); at_ms is the sender's time. */
struct journal_row *batch_event(struct batch *b, const char *id, const char *sid, const char *name, int64_t at_ms);
void batch_room(struct batch *b, const char *sid, const char *name, int64_t start_ms); /* a call without an event */
void batch_bind(struct batch *b, const char *id, const char *sid);
int batch_try_load(struct batch *b);
void batch_load(struct batch *b);
struct call_row *batch_call(struct batch *b, const char *sid);
/* The known ones are left out, as the writer does. */
int batch_try_commit(struct batch *b);
void batch_commit(struct batch *b);

/* What the writer would set. `user` NULL: no tenant. end_ms 0: still open, otherwise the outcome. */
struct verdict *judge(struct batch *b, const char *sid, const char *user, int64_t start_ms, int64_t end_ms, enum outcome outcome);
/* One event, one call, one batch. */
void put_call(struct fixture *f, const char *event_id, const char *sid, const char *name, const char *user, int64_t start_ms, int64_t end_ms);

/* The call as this tenant sees it: 0 and *ret, or the query's result. */
int see(struct fixture *f, const char *tenant, const char *call_id, struct call_view *ret);
const char *made_id(struct fixture *f, const char *sid);
/* Is this SID among those that want another look? */
bool is_due(struct fixture *f, const char *sid, int64_t now_ms);

#define assert_slice(actual, expected) assert_slice_((actual), (expected), __FILE__, __LINE__)
void assert_slice_(struct slice actual, const char *expected, const char *file, int line); /* NULL: none */

/* The cases, in store_cases_*.c. */
struct store_case {
	const char *name;
	void (*run)(void **state);
};
extern const struct store_case write_cases[], call_cases[], read_cases[], detail_cases[], mark_cases[], watch_cases[], replay_cases[], retention_cases[];
extern const size_t write_case_count, call_case_count, read_case_count, detail_case_count, mark_case_count, watch_case_count, replay_case_count, retention_case_count;
