/* Migrations of SQLite files: every state they may start from, and back. */
#include "store_fixture.h"

#include <errno.h>
#include <sqlite3.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/migrate.h"

static const enum store_kind kind = STORE_SQLITE;
static struct buf said;

static void hear(void *context, const char *line)
{
	(void)context;
	buf_puts(&said, line);
	buf_putc(&said, '\n');
}

static bool was_said(const char *text) { return said.n && memmem(said.p, said.n, text, strlen(text)); }

static int upgrade(struct fixture *f, int to_version, struct slice *message)
{
	buf_clear(&said);
	return migrate_upgrade(&f->options, to_version, hear, NULL, f->arena, message);
}

static void downgrade(struct fixture *f)
{
	struct slice message = SLICE_NONE;
	buf_clear(&said);
	if (migrate_downgrade(&f->options, hear, NULL, f->arena, &message) != 0)
		fail_msg("downgrade: %.*s", SLICE_FMT(message));
}

static struct migrate_status status(struct fixture *f)
{
	struct migrate_status s;
	struct slice message = SLICE_NONE;
	if (migrate_status(&f->options, f->arena, &s, &message) != 0)
		fail_msg("status: %.*s", SLICE_FMT(message));
	return s;
}

/* The schema as SQLite keeps it, one text. */
static const char *schema(struct fixture *f)
{
	return fixture_text(f, "SELECT group_concat(type || ' ' || name || ' ' || coalesce(sql, ''), char(10)) FROM "
		"(SELECT * FROM sqlite_schema ORDER BY type, name)");
}

static const char *path(struct fixture *f, const char *suffix)
{
	char text[300];
	snprintf(text, sizeof text, "%s/case.db%s", f->folder, suffix);
	return arena_dup(f->arena, slice_cstr(text));
}

/* ---- starting states ---- */

static void from_nothing_all_is_made(void **state)
{
	struct fixture *f = *state;
	struct stat st;
	struct migrate_status s = status(f);
	assert_true(s.version == 0 && s.latest == (int)sqlite_migration_count && !s.newer && !s.altered && !s.host_call_logs && !s.older_module);
	assert_int_equal(stat(path(f, ""), &st), -1);
	assert_int_equal(upgrade(f, 0, NULL), 0);
	assert_true(was_said("created table call_logs") && was_said("applied 0002 calls"));
	assert_int_equal(stat(path(f, ""), &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	s = status(f);
	assert_true(s.version == s.latest && !s.host_call_logs && !s.older_module && s.can_insert);
	assert_sql(f, "6", "SELECT count(*) FROM sqlite_schema WHERE type = 'index' AND name LIKE 'idx_lce_%%'");
	assert_sql(f, "3", "SELECT count(*) FROM sqlite_schema WHERE type = 'index' AND name LIKE 'idx_call_logs_%%'");
	assert_sql(f, "wal", "PRAGMA journal_mode");
	fixture_open(f);
}

static void a_second_upgrade_changes_nothing(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(upgrade(f, 0, NULL), 0);
	const char *before = schema(f);
	assert_int_equal(upgrade(f, 0, NULL), 0);
	assert_true(was_said("nothing to do"));
	assert_string_equal(schema(f), before);
	assert_sql(f, "4", "SELECT count(*) FROM outcomed_migrations");
}

static void from_an_earlier_version_the_rows_are_kept(void **state)
{
	struct fixture *f = *state;
	struct slice message = SLICE_NONE;
	assert_int_equal(upgrade(f, 1, NULL), 0);
	assert_int_equal(status(f).version, 1);
	fixture_exec(f, "INSERT INTO livekit_call_events (\"eventId\", event, processed, \"createdAt\", source, \"bodyHash\") "
		"VALUES ('EV_a', 'room_started', 1, '2026-01-01T00:00:00.000Z', 'livekit', 'x')");
	assert_int_equal(store_open(&f->options, f->arena, &f->store, &message), OC_SCHEMA);
	assert_int_equal(upgrade(f, 0, NULL), 0);
	assert_sql(f, "EV_a", "SELECT \"eventId\" FROM livekit_call_events");
	fixture_open(f);
}

#define HOST "CREATE TABLE call_logs (id INTEGER PRIMARY KEY, \"userId\" TEXT NOT NULL REFERENCES users (id), \"livekitRoomName\" TEXT, campaign TEXT NOT NULL)"

static void a_hosts_table_is_completed_and_given_back_as_it_was(void **state)
{
	struct fixture *f = *state;
	fixture_exec(f, "CREATE TABLE users (id TEXT PRIMARY KEY); INSERT INTO users VALUES ('u'); " HOST "; "
		"CREATE INDEX theirs ON call_logs (campaign); INSERT INTO call_logs VALUES (7, 'u', 'room', 'spring')");
	const char *before = schema(f);
	struct migrate_status s = status(f);
	assert_true(s.host_call_logs && s.version == 0);
	assert_int_equal(upgrade(f, 0, NULL), 0);
	assert_true(was_said("kept table call_logs") && was_said("added column call_logs.\"livekitRoomSid\""));
	assert_sql(f, "17", "SELECT count(*) FROM pragma_table_info('call_logs')");
	s = status(f);
	assert_true(s.host_call_logs && !s.can_insert);
	assert_slice(s.why_not_insert, "campaign");
	fixture_exec(f, "UPDATE call_logs SET outcome = 'busy'");
	downgrade(f);
	assert_true(was_said("removed column livekitRoomSid"));
	assert_string_equal(schema(f), before);
	assert_sql(f, "7|u|room|spring", "SELECT id || '|' || \"userId\" || '|' || \"livekitRoomName\" || '|' || campaign FROM call_logs");
	assert_int_equal(upgrade(f, 0, NULL), 0);
}

static void a_journal_of_another_making_is_refused(void **state)
{
	struct fixture *f = *state;
	struct slice message = SLICE_NONE;
	fixture_exec(f, "CREATE TABLE livekit_call_events (id TEXT PRIMARY KEY, \"eventId\" TEXT)");
	const char *before = schema(f);
	assert_true(status(f).older_module);
	assert_int_equal(upgrade(f, 0, &message), OC_SCHEMA);
	assert_non_null(memmem(message.p, message.n, "livekit_call_events", 19));
	assert_string_equal(schema(f), before);
	assert_false(was_said("applied"));
}

static void a_hosts_table_without_id_is_refused_and_nothing_changed(void **state)
{
	struct fixture *f = *state;
	struct slice message = SLICE_NONE;
	fixture_exec(f, "CREATE TABLE call_logs (number INTEGER PRIMARY KEY)");
	const char *before = schema(f);
	assert_int_equal(upgrade(f, 0, &message), OC_SCHEMA);
	assert_non_null(memmem(message.p, message.n, "no column id", 12));
	assert_string_equal(schema(f), before);
}

static void rows_with_one_sid_get_an_index_that_is_not_unique(void **state)
{
	struct fixture *f = *state;
	fixture_exec(f, "CREATE TABLE call_logs (id TEXT PRIMARY KEY, \"livekitRoomSid\" TEXT); INSERT INTO call_logs VALUES ('a', 'RM_one'), ('b', 'RM_one')");
	assert_int_equal(upgrade(f, 0, NULL), 0);
	assert_true(was_said("not unique"));
	fixture_open(f);
	struct batch *b = batch_new(f);
	batch_room(b, "RM_one", NULL, 0);
	batch_load(b);
	assert_slice(batch_call(b, "RM_one")->call_log_id, "a");
	store_batch_abort(f->store);
}

static void a_version_that_nobody_knows_is_refused(void **state)
{
	struct fixture *f = *state;
	struct slice message = SLICE_NONE;
	assert_int_equal(upgrade(f, 99, &message), OC_INVALID);
	assert_true(message.n > 0);
}

/* ---- back ---- */

static void a_second_downgrade_is_harmless(void **state)
{
	struct fixture *f = *state;
	struct stat st;
	downgrade(f);
	assert_true(was_said("nothing to remove"));
	assert_int_equal(stat(path(f, ""), &st), -1);
	assert_int_equal(upgrade(f, 0, NULL), 0);
	downgrade(f);
	assert_true(was_said("undid 0001 journal"));
	assert_sql(f, "0", "SELECT count(*) FROM sqlite_schema");
	downgrade(f);
	assert_true(was_said("nothing to remove"));
	assert_int_equal(status(f).version, 0);
}

static void what_an_earlier_version_made_is_removed_too(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(upgrade(f, 1, NULL), 0);
	downgrade(f);
	assert_sql(f, "0", "SELECT count(*) FROM sqlite_schema");
}

/* ---- locks and files ---- */

static void a_database_in_use_is_left_alone(void **state)
{
	struct fixture *f = *state;
	struct slice message = SLICE_NONE;
	sqlite3 *other = NULL;
	assert_int_equal(upgrade(f, 1, NULL), 0);
	assert_int_equal(sqlite3_open(path(f, ""), &other), SQLITE_OK);
	assert_int_equal(sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
	f->options.timeout_ms = 20;
	assert_int_equal(upgrade(f, 0, &message), OC_RETRY);
	assert_non_null(memmem(message.p, message.n, "in use", 6));
	sqlite3_close(other);
	assert_int_equal(upgrade(f, 0, &message), 0);
}

static int open_url(struct fixture *f, const char *url, const char *advice)
{
	const struct store_options o = { .url = slice_cstr(url) };
	struct slice message = SLICE_NONE;
	int r = migrate_upgrade(&o, 0, NULL, NULL, f->arena, &message);
	if (r != 0 && !memmem(message.p ? message.p : "", message.n, advice, strlen(advice)))
		fail_msg("\"%.*s\" does not say \"%s\"", SLICE_FMT(message), advice);
	return r;
}

static void paths_that_cannot_be_used_are_refused_with_advice(void **state)
{
	struct fixture *f = *state;
	char url[400];
	assert_int_equal(open_url(f, "outcomed.db", "write sqlite:outcomed.db"), OC_CONFIG);
	assert_int_equal(open_url(f, "", "sqlite:PATH"), OC_CONFIG);
	assert_int_equal(open_url(f, "sqlite:", "sqlite:PATH"), OC_CONFIG);
	assert_int_equal(open_url(f, "sqlite::memory:", "durable"), OC_CONFIG);
	assert_int_equal(open_url(f, "sqlite://here.db", "sqlite:here.db"), OC_CONFIG);
	assert_int_equal(open_url(f, "mysql://me:hush@db/x", "mysql://me:***@db/x"), OC_CONFIG);
	snprintf(url, sizeof url, "sqlite:%s/none/case.db", f->folder);
	assert_int_equal(open_url(f, url, "create it first"), OC_CONFIG);
	snprintf(url, sizeof url, "sqlite:%s", f->folder);
	assert_int_equal(open_url(f, url, "no regular file"), OC_CONFIG);
	FILE *file = fopen(path(f, ""), "w");
	for (int i = 0; i < 200; i++)
		fputs("this is no database\n", file);
	fclose(file);
	assert_int_equal(open_url(f, f->options.url.p, "not a SQLite database"), OC_CONFIG);
	unlink(path(f, ""));
	if (geteuid() != 0) {
		chmod(f->folder, 0500);
		assert_int_equal(open_url(f, f->options.url.p, "not writable"), OC_CONFIG);
		chmod(f->folder, 0700);
	}
}

static void a_path_from_the_root_may_have_slashes_before_it(void **state)
{
	struct fixture *f = *state;
	char url[400];
	snprintf(url, sizeof url, "sqlite://%s/case.db", f->folder);
	assert_int_equal(open_url(f, url, ""), 0);
	assert_int_equal(access(path(f, ""), F_OK), 0);
	snprintf(url, sizeof url, "sqlite:///%s/case.db", f->folder);
	assert_int_equal(open_url(f, url, ""), 0);
	assert_int_equal(status(f).version, (int)sqlite_migration_count);
}

static void passwords_are_hidden_in_messages(void **state)
{
	struct fixture *f = *state;
	static const char *const urls[][2] = {
		{ "postgresql://me:hush@db:5432/x?sslmode=require", "postgresql://me:***@db:5432/x?sslmode=require" },
		{ "postgres://me:hu@sh/h@db/x", "postgres://me:***@db/x" },
		{ "postgresql://me@db/x", "postgresql://me@db/x" },
		{ "postgresql:///x?host=/tmp&password=hush&user=me", "postgresql:///x?host=/tmp&password=***&user=me" },
		{ "postgresql://db/x?pass%77ord=hush", "postgresql://db/x?pass%77ord=***" },
		{ "postgresql://me:hush@db/x?sslpassword=hush", "postgresql://me:***@db/x?sslpassword=***" },
		{ "postgresql://db/x?application_name=a:b@c&password=hush", "postgresql://db/x?application_name=a:***@c&password=***" },
		{ "postgresql://db/x?password=hush&application_name=a:b@c", "postgresql://db/x?password=***&application_name=a:***@c" },
		{ "postgres:me:hush@db/x", "***" },
		{ "host=db password=hush", "***" },
		{ "sqlite:outcomed.db", "sqlite:outcomed.db" },
		{ "sqlite:a=b@c.db", "sqlite:a=b@c.db" },
		{ "", "" },
	};
	for (size_t i = 0; i < sizeof urls / sizeof *urls; i++) {
		struct slice shown;
		assert_int_equal(store_url_for_log(slice_cstr(urls[i][0]), f->arena, &shown), 0);
		assert_slice(shown, urls[i][1]);
	}
}

#define CASE(name) { #name, name, fixture_set_up, fixture_tear_down, (void *)(uintptr_t)&kind }
int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(from_nothing_all_is_made),
		CASE(a_second_upgrade_changes_nothing),
		CASE(from_an_earlier_version_the_rows_are_kept),
		CASE(a_hosts_table_is_completed_and_given_back_as_it_was),
		CASE(a_journal_of_another_making_is_refused),
		CASE(a_hosts_table_without_id_is_refused_and_nothing_changed),
		CASE(rows_with_one_sid_get_an_index_that_is_not_unique),
		CASE(a_version_that_nobody_knows_is_refused),
		CASE(a_second_downgrade_is_harmless),
		CASE(what_an_earlier_version_made_is_removed_too),
		CASE(a_database_in_use_is_left_alone),
		CASE(paths_that_cannot_be_used_are_refused_with_advice),
		CASE(a_path_from_the_root_may_have_slashes_before_it),
		CASE(passwords_are_hidden_in_messages),
	};
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	buf_done(&said);
	return failed;
}
