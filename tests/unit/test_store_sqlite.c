/* What is SQLite's alone: files that move, other programs' locks, times and ids in the host's own forms, the plan of a list. */
#include "store_fixture.h"

#include <sqlite3.h>
#include <stdio.h>
#include <unistd.h>

#include "store/sqlite.h"

static const enum store_kind kind = STORE_SQLITE;

static const char *path(struct fixture *f, const char *suffix)
{
	char text[300];
	snprintf(text, sizeof text, "%s/case.db%s", f->folder, suffix);
	return arena_dup(f->arena, slice_cstr(text));
}

static void a_moved_file_stops_acknowledging_until_it_is_back(void **state)
{
	struct fixture *f = *state;
	fixture_start(f, NULL);
	put_call(f, "EV_a", "RM_one", "room", "alice", f->now_ms, 0);
	fixture_close(f);
	fixture_open(f);
	assert_int_equal(rename(path(f, ""), path(f, "-wal.moved")), 0);
	struct batch *b = batch_new(f);
	batch_event(b, "EV_b", "RM_one", "room", f->now_ms);
	assert_int_equal(batch_try_load(b), OC_DOWN);
	assert_non_null(strstr(store_last_error(f->store), "moved"));
	assert_int_equal(batch_try_load(b), OC_DOWN);
	assert_int_equal(rename(path(f, "-wal.moved"), path(f, "")), 0);
	int r = OC_DOWN;
	for (int i = 0; i < 100 && r == OC_DOWN; i++) {
		usleep(10000);
		r = batch_try_load(b);
	}
	assert_int_equal(r, 0);
	batch_commit(b);
	assert_sql(f, "2", "SELECT count(*) FROM livekit_call_events");
}

static void another_programs_lock_means_try_again(void **state)
{
	struct fixture *f = *state;
	sqlite3 *other = NULL;
	f->options.timeout_ms = 20;
	fixture_start(f, NULL);
	assert_int_equal(sqlite3_open(path(f, ""), &other), SQLITE_OK);
	assert_int_equal(sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
	struct batch *b = batch_new(f);
	batch_event(b, "EV_a", "RM_one", "room", f->now_ms);
	assert_int_equal(batch_try_load(b), OC_RETRY);
	sqlite3_close(other);
	batch_load(b);
	batch_commit(b);
}

static void a_full_disk_is_an_io_error_and_commits_nothing(void **state)
{
	struct fixture *f = *state;
	fixture_start(f, NULL);
	struct batch *b = batch_new(f);
	char *big = arena_alloc(f->arena, 4000000);
	memset(big, 'x', 4000000);
	sqlite3 *db = ((struct sqlite_store *)f->store)->c.db;
	assert_int_equal(sqlite3_exec(db, "PRAGMA max_page_count = 60", NULL, NULL, NULL), SQLITE_OK);
	batch_event(b, "EV_a", "RM_one", "room", f->now_ms)->payload = slice_of(big, 4000000);
	batch_load(b);
	assert_int_equal(batch_try_commit(b), OC_IO);
	assert_sql(f, "0", "SELECT count(*) FROM livekit_call_events");
	b = batch_new(f);
	batch_event(b, "EV_b", "RM_one", "room", f->now_ms);
	batch_load(b);
	batch_commit(b);
	assert_sql(f, "EV_b", "SELECT \"eventId\" FROM livekit_call_events");
}

static void committing_without_a_load_is_refused(void **state)
{
	struct fixture *f = *state;
	fixture_start(f, NULL);
	const struct store_changes c = { .now_ms = f->now_ms };
	assert_int_equal(store_batch_commit(f->store, &c, f->arena), OC_INVALID);
}

static void a_hosts_times_in_other_forms_are_understood(void **state)
{
	struct fixture *f = *state;
	struct call_view *v;
	size_t count;
	bool more;
	fixture_start(f, "CREATE TABLE call_logs (id TEXT PRIMARY KEY, \"userId\" TEXT, \"startedAt\" DATETIME)");
	fixture_exec(f, "INSERT INTO call_logs (id, \"userId\", \"startedAt\") VALUES ('iso', 'u', '2026-11-22T13:12:19.123Z'), "
		"('sql', 'u', '2026-11-22 13:12:20'), ('zone', 'u', '2026-11-22T15:12:21+02:00'), ('seconds', 'u', 1795353142), "
		"('ms', 'u', 1795353143500), ('bad', 'u', 'yesterday')");
	assert_int_equal(store_read_list(f->reader, &(struct list_filter){ .tenant = SLICE("u"), .limit = 10 }, f->arena, &v, &count, &more), 0);
	const struct {
		const char *id;
		int64_t ms;
	} expected[] = { { "ms", 1795353143500 }, { "seconds", 1795353142000 }, { "zone", 1795353141000 }, { "sql", 1795353140000 },
		{ "iso", 1795353139123 }, { "bad", 0 } };
	assert_int_equal(count, 6);
	for (size_t i = 0; i < 6; i++) {
		assert_slice(v[i].id, expected[i].id);
		assert_true(v[i].sort_key == expected[i].ms && v[i].started_at_ms == expected[i].ms);
	}
}

static void every_millisecond_comes_back_as_it_was(void **state)
{
	struct fixture *f = *state;
	struct call_view v;
	fixture_start(f, NULL);
	for (int i = 0; i < 1000; i += 7) {
		int64_t t = 1790000000000 + i * 86399 + i;
		fixture_execf(f, "INSERT OR REPLACE INTO call_logs (id, \"userId\", \"startedAt\") VALUES ('x', 'u', '%s')", fixture_time(f, t));
		assert_int_equal(see(f, "u", "x", &v), 0);
		assert_true(v.started_at_ms == t);
	}
}

static void a_hosts_integer_ids_are_made_by_sqlite(void **state)
{
	struct fixture *f = *state;
	struct call_view v;
	fixture_start(f, "CREATE TABLE call_logs (id INTEGER PRIMARY KEY, \"userId\" TEXT); INSERT INTO call_logs VALUES (41, 'other')");
	put_call(f, "EV_a", "RM_one", "room", "alice", f->now_ms, 0);
	put_call(f, "EV_b", "RM_one", "room", "alice", f->now_ms - MINUTE, f->now_ms);
	assert_int_equal(see(f, "alice", "42", &v), 0);
	assert_slice(v.id, "42");
	assert_slice(v.outcome, "completed");
	assert_sql(f, "2", "SELECT count(*) FROM call_logs");
	assert_sql(f, "2", "SELECT count(*) FROM livekit_call_events WHERE \"callLogId\" = '42'");
}

static void a_deleted_row_is_made_again(void **state)
{
	struct fixture *f = *state;
	fixture_start(f, NULL);
	put_call(f, "EV_a", "RM_one", "room", "alice", f->now_ms - HOUR, 0);
	fixture_exec(f, "DELETE FROM call_logs");
	put_call(f, "EV_b", "RM_one", "room", "alice", f->now_ms - HOUR, 0);
	assert_sql(f, "1", "SELECT count(*) FROM call_logs");
}

static void a_hosts_table_without_rowid_is_looked_at_too(void **state)
{
	struct fixture *f = *state;
	fixture_start(f, "CREATE TABLE call_logs (id TEXT PRIMARY KEY, \"userId\" TEXT, \"livekitRoomName\" TEXT, \"createdAt\" TEXT) WITHOUT ROWID");
	put_call(f, "EV_a", "RM_one", "room", "alice", f->now_ms - MINUTE, 0);
	assert_false(is_due(f, "RM_one", f->now_ms));
	fixture_execf(f, "INSERT INTO call_logs (id, \"livekitRoomName\", \"createdAt\") VALUES ('H1', 'room', '%s')", fixture_time(f, f->now_ms));
	assert_true(is_due(f, "RM_one", f->now_ms + 6 * SECOND));
}

static void late_rows_are_looked_for_every_five_seconds_only(void **state)
{
	struct fixture *f = *state;
	fixture_start(f, NULL);
	put_call(f, "EV_a", "RM_one", "room", NULL, f->now_ms - MINUTE, 0);
	assert_false(is_due(f, "RM_one", f->now_ms));
	fixture_execf(f, "INSERT INTO call_logs (id, \"livekitRoomName\", \"createdAt\") VALUES ('H1', 'room', '%s')", fixture_time(f, f->now_ms));
	assert_false(is_due(f, "RM_one", f->now_ms + 4 * SECOND));
	assert_true(is_due(f, "RM_one", f->now_ms + 5 * SECOND));
	assert_false(is_due(f, "RM_one", f->now_ms + 9 * SECOND));
}

static void a_table_that_never_had_a_creation_time_is_matched_without(void **state)
{
	struct fixture *f = *state;
	fixture_start(f, "CREATE TABLE call_logs (id TEXT PRIMARY KEY, \"userId\" TEXT, \"livekitRoomName\" TEXT)");
	fixture_exec(f, "INSERT INTO call_logs (id, \"userId\", \"livekitRoomName\") VALUES ('H1', 'host', 'room')");
	put_call(f, "EV_a", "RM_one", "room", "host", f->now_ms, 0);
	assert_sql(f, "RM_one", "SELECT \"livekitRoomSid\" FROM call_logs");
}

/* The steps of a plan, joined. */
static const char *plan(struct fixture *f, const char *sql)
{
	sqlite3 *db = NULL;
	sqlite3_stmt *st = NULL;
	_cleanup_buf_ struct buf b = BUF_INIT;
	assert_int_equal(sqlite3_open(path(f, ""), &db), SQLITE_OK);
	buf_putf(&b, "EXPLAIN QUERY PLAN %s%c", sql, 0);
	if (sqlite3_prepare_v2(db, b.p, -1, &st, NULL) != SQLITE_OK)
		fail_msg("%s: %s", sql, sqlite3_errmsg(db));
	buf_clear(&b);
	while (sqlite3_step(st) == SQLITE_ROW)
		buf_putf(&b, "%s; ", (const char *)sqlite3_column_text(st, 3));
	sqlite3_finalize(st);
	sqlite3_close(db);
	return arena_dup(f->arena, buf_slice(&b));
}

static void every_statement_of_the_writer_uses_an_index(void **state)
{
	struct fixture *f = *state;
	fixture_start(f, NULL);
	for (size_t i = 0; i < SQL_WRITER_COUNT; i++) {
		const char *steps = plan(f, sqlite_writer_sql[i]);
		if (i == SQL_LEG_DUE || i == SQL_LEG_WAITS || i == SQL_LEG_WAITS_OF_CALL) /* however many marks wait: not all of them each time */
			assert_null(strstr(steps, "SCAN e USING"));
		/* What is held in memory already may be gone through; of a table only by index, or by a partial index from end to end. */
		for (const char *at = steps; (at = strstr(at, "SCAN ")); at += 5) {
			const char *end = strstr(at, ";");
			bool fine = strncmp(at, "SCAN l;", 7) == 0 || strncmp(at, "SCAN CONSTANT", 13) == 0 || strncmp(at, "SCAN e;", 7) == 0 ||
				    memmem(at, (size_t)(end - at), "USING", 5) || strncmp(at, "SCAN outcomed_changes;", 22) == 0 || strncmp(at, "SCAN (", 6) == 0;
			if (!fine)
				fail_msg("statement %zu: %s", i, steps);
		}
	}
}

static void a_list_is_read_in_the_order_of_its_index(void **state)
{
	struct fixture *f = *state;
	fixture_start(f, NULL);
	struct sqlite_connection *c = (struct sqlite_connection *)((char *)f->reader + sizeof(struct store_reader));
	const char *list = NULL;
	for (size_t i = 0; i < c->statement_count; i++)
		if (strstr(sqlite3_sql(c->statements[i]), "ORDER BY COALESCE"))
			list = sqlite3_sql(c->statements[i]);
	assert_non_null(list);
	assert_non_null(strstr(plan(f, list), "USING INDEX idx_call_logs_user (userId=?"));
	assert_null(strstr(plan(f, list), "TEMP B-TREE"));
}

#define CASE(name) { #name, name, fixture_set_up, fixture_tear_down, (void *)(uintptr_t)&kind }
int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(a_moved_file_stops_acknowledging_until_it_is_back),
		CASE(another_programs_lock_means_try_again),
		CASE(a_full_disk_is_an_io_error_and_commits_nothing),
		CASE(committing_without_a_load_is_refused),
		CASE(a_hosts_times_in_other_forms_are_understood),
		CASE(every_millisecond_comes_back_as_it_was),
		CASE(a_hosts_integer_ids_are_made_by_sqlite),
		CASE(a_deleted_row_is_made_again),
		CASE(a_hosts_table_without_rowid_is_looked_at_too),
		CASE(late_rows_are_looked_for_every_five_seconds_only),
		CASE(a_table_that_never_had_a_creation_time_is_matched_without),
		CASE(every_statement_of_the_writer_uses_an_index),
		CASE(a_list_is_read_in_the_order_of_its_index),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
