/* See store_fixture.h. A SQLite case has a folder of its own under TMPDIR, a PostgreSQL case a schema of its own in the database of
 * TEST_DATABASE_URL; both are gone when it ends. */
#include "store_fixture.h"

#include <libpq-fe.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "store/migrate.h"

static unsigned schema_number;

/* ---- raw SQL ---- */

static const char *keep(struct fixture *f, const char *text)
{
	char *copy = arena_dup(f->arena, slice_cstr(text));
	assert_non_null(copy);
	return copy;
}

static const char *sqlite_text(struct fixture *f, const char *sql)
{
	char path[300];
	sqlite3 *db = NULL;
	sqlite3_stmt *st = NULL;
	const char *result = "none";

	snprintf(path, sizeof path, "%s/case.db", f->folder);
	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	sqlite3_busy_timeout(db, 5000);
	for (const char *rest = sql; *rest;) {
		int rc = sqlite3_prepare_v2(db, rest, -1, &st, &rest);
		if (rc == SQLITE_OK && st)
			rc = sqlite3_step(st);
		if (rc == SQLITE_ROW) {
			const char *text = (const char *)sqlite3_column_text(st, 0);
			result = keep(f, text ? text : "NULL");
		} else if (rc != SQLITE_DONE && rc != SQLITE_OK) {
			fail_msg("%s: %s", sql, sqlite3_errmsg(db));
		}
		sqlite3_finalize(st);
		st = NULL;
	}
	sqlite3_close(db);
	return result;
}

static const char *postgres_text(struct fixture *f, const char *sql)
{
	PGconn *conn = PQconnectdb(f->server);
	char path[160];
	const char *result = "none";

	if (PQstatus(conn) != CONNECTION_OK)
		fail_msg("%s", PQerrorMessage(conn));
	snprintf(path, sizeof path, "SET search_path = %s; SET client_min_messages = error", f->schema);
	PQclear(PQexec(conn, path));
	PGresult *res = PQexec(conn, sql);
	ExecStatusType status = PQresultStatus(res);
	if (status == PGRES_TUPLES_OK && PQntuples(res) > 0)
		result = keep(f, PQgetisnull(res, 0, 0) ? "NULL" : PQgetvalue(res, 0, 0));
	else if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK)
		fail_msg("%s: %s", sql, PQerrorMessage(conn));
	PQclear(res);
	PQfinish(conn);
	return result;
}

static const char *run_sql(struct fixture *f, const char *sql) { return f->kind == STORE_SQLITE ? sqlite_text(f, sql) : postgres_text(f, sql); }

void fixture_exec(struct fixture *f, const char *sql) { run_sql(f, sql); }

static const char *formatted(struct fixture *f, const char *format, va_list args)
{
	char *sql = NULL;

	assert_true(vasprintf(&sql, format, args) >= 0);
	const char *kept = keep(f, sql);
	free(sql);
	return kept;
}

void fixture_execf(struct fixture *f, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	run_sql(f, formatted(f, format, args));
	va_end(args);
}

const char *fixture_text(struct fixture *f, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	const char *result = run_sql(f, formatted(f, format, args));
	va_end(args);
	return result;
}

const char *fixture_time(struct fixture *f, int64_t ms)
{
	_cleanup_buf_ struct buf b = BUF_INIT;
	buf_put_rfc3339_ms(&b, ms);
	buf_putc(&b, '\0');
	return keep(f, b.p);
}

/* ---- a case's database ---- */

static void set_url(struct fixture *f)
{
	char url[1200];

	if (f->kind == STORE_SQLITE)
		snprintf(url, sizeof url, "sqlite:%s/case.db", f->folder);
	else
		snprintf(url, sizeof url, "%s%coptions=-csearch_path%%3D%s", f->server, strchr(f->server, '?') ? '&' : '?', f->schema);
	f->options = (struct store_options){ .url = slice_cstr(keep(f, url)), .timeout_ms = 10000 };
}

int fixture_set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);
	const char *tmp = getenv("TMPDIR");

	f->kind = *(const enum store_kind *)*state;
	f->server = getenv("TEST_DATABASE_URL");
	f->arena = arena_new(1 << 16);
	f->now_ms = clock_wall_ms();
	*state = f;
	if (f->kind == STORE_SQLITE) {
		snprintf(f->folder, sizeof f->folder, "%s/outcomed-store-XXXXXX", tmp ? tmp : "/tmp");
		if (!mkdtemp(f->folder))
			return -1;
	} else {
		snprintf(f->schema, sizeof f->schema, "case_%d_%u", (int)getpid(), ++schema_number);
		fixture_execf(f, "CREATE SCHEMA %s", f->schema);
	}
	set_url(f);
	return 0;
}

int fixture_tear_down(void **state)
{
	static const char *const suffixes[] = { "", "-wal", "-shm" };
	struct fixture *f = *state;
	char path[300];

	fixture_close(f);
	if (f->kind == STORE_SQLITE) {
		for (size_t i = 0; i < 3; i++) {
			snprintf(path, sizeof path, "%s/case.db%s", f->folder, suffixes[i]);
			unlink(path);
		}
		rmdir(f->folder);
	} else {
		fixture_execf(f, "DROP SCHEMA %s CASCADE", f->schema);
	}
	arena_free(f->arena);
	free(f);
	return 0;
}

void fixture_migrate(struct fixture *f)
{
	struct slice message = SLICE_NONE;
	int r = migrate_upgrade(&f->options, 0, NULL, NULL, f->arena, &message);
	if (r != 0)
		fail_msg("migrate: %s: %.*s", oc_error_text(r), SLICE_FMT(message));
}

void fixture_open(struct fixture *f)
{
	struct slice message = SLICE_NONE;
	int r = store_open(&f->options, f->arena, &f->store, &message);
	if (r == 0)
		r = store_reader_open(&f->options, f->arena, &f->reader, &message);
	if (r != 0)
		fail_msg("open: %s: %.*s", oc_error_text(r), SLICE_FMT(message));
}

void fixture_close(struct fixture *f)
{
	store_close(f->store);
	store_reader_close(f->reader);
	f->store = NULL;
	f->reader = NULL;
}

void fixture_start(struct fixture *f, const char *host_sql)
{
	if (host_sql)
		fixture_exec(f, host_sql);
	fixture_migrate(f);
	fixture_open(f);
}

/* ---- batches ---- */

struct batch *batch_new(struct fixture *f)
{
	struct batch *b = ARENA_NEW(f->arena, struct batch);
	assert_non_null(b);
	b->f = f;
	b->arena = f->arena;
	return b;
}

static void add_room(struct batch *b, const char *sid, const char *name, int64_t start_s)
{
	size_t n = b->touch.room_count, at = 0;
	struct slice key = slice_cstr(sid);

	while (at < n && slice_cmp(b->room_sids[at], key) < 0)
		at++;
	if (at == n || !slice_eq(b->room_sids[at], key)) {
		memmove(&b->room_sids[at + 1], &b->room_sids[at], (n - at) * sizeof *b->room_sids);
		memmove(&b->room_names[at + 1], &b->room_names[at], (n - at) * sizeof *b->room_names);
		memmove(&b->start_s[at + 1], &b->start_s[at], (n - at) * sizeof *b->start_s);
		b->room_sids[at] = key;
		b->room_names[at] = SLICE_NONE;
		b->start_s[at] = 0;
		b->touch.room_count++;
	}
	if (slice_is_none(b->room_names[at]))
		b->room_names[at] = slice_cstr(name);
	if (start_s && (!b->start_s[at] || start_s < b->start_s[at]))
		b->start_s[at] = start_s;
}

void batch_room(struct batch *b, const char *sid, const char *name, int64_t start_ms) { add_room(b, sid, name, start_ms / 1000); }

struct journal_row *batch_event(struct batch *b, const char *id, const char *sid, const char *name, int64_t at_ms)
{
	assert_true(b->row_count < BATCH_MAX);
	struct journal_row *row = &b->rows[b->row_count++];

	*row = (struct journal_row){
		.event_id = slice_cstr(id), .event = SLICE("participant_joined"), .room_name = slice_cstr(name), .room_sid = slice_cstr(sid),
		.participant_identity = SLICE("sip_+15105550100"), .participant_sid = SLICE("PA_one"), .timestamp_s = at_ms / 1000,
		.payload = SLICE("{\"n\": 1}"), .processed = true, .created_at_ms = b->f->now_ms,
		.processed_at_ms = b->f->now_ms, .source = SLICE("livekit"), .key_id = SLICE("APIkey"),
	};
	memset(row->body_hash, 0xab, sizeof row->body_hash);
	b->event_ids[b->touch.event_count++] = row->event_id;
	if (sid) {
		add_room(b, sid, name, at_ms / 1000);
	} else if (name) {
		b->names[b->touch.name_count] = row->room_name;
		b->name_at_s[b->touch.name_count++] = row->timestamp_s;
		row->processed = false;
		row->processed_at_ms = 0;
		row->error_message = SLICE("waits for its call");
	}
	return row;
}

void batch_bind(struct batch *b, const char *id, const char *sid)
{
	b->binds[b->bind_count++] = (struct bind_row){ .event_id = slice_cstr(id), .room_sid = slice_cstr(sid), .processed = true };
}

int batch_try_load(struct batch *b)
{
	b->touch.event_ids = b->event_ids;
	b->touch.room_sids = b->room_sids;
	b->touch.room_names = b->room_names;
	b->touch.start_s = b->start_s;
	b->touch.names = b->names;
	b->touch.name_at_s = b->name_at_s;
	b->touch.name_users = b->name_users;
	b->touch.leg_ids = b->leg_ids;
	b->touch.sip_call_ids = b->sip_call_ids;
	return store_batch_load(b->f->store, &b->touch, b->arena, &b->loaded);
}

void batch_load(struct batch *b)
{
	int r = batch_try_load(b);
	if (r != 0)
		fail_msg("load: %s: %s", oc_error_text(r), store_last_error(b->f->store));
}

struct call_row *batch_call(struct batch *b, const char *sid)
{
	struct call_row *row = store_loaded_find(&b->loaded, slice_cstr(sid));
	if (!row)
		fail_msg("call %s was not loaded", sid);
	return row;
}

int batch_try_commit(struct batch *b)
{
	struct journal_row *fresh = ARENA_ARRAY(b->arena, struct journal_row, b->row_count);
	size_t count = 0;

	for (size_t i = 0; i < b->row_count; i++)
		if (!b->loaded.known[i])
			fresh[count++] = b->rows[i];
	const struct store_changes c = { .events = fresh, .event_count = count, .calls = b->loaded.calls, .call_count = b->loaded.call_count,
		.binds = b->binds, .bind_count = b->bind_count, .now_ms = b->f->now_ms };
	return store_batch_commit(b->f->store, &c, b->arena);
}

void batch_commit(struct batch *b)
{
	int r = batch_try_commit(b);
	if (r != 0)
		fail_msg("commit: %s: %s", oc_error_text(r), store_last_error(b->f->store));
}

struct verdict *judge(struct batch *b, const char *sid, const char *user, int64_t start_ms, int64_t end_ms, enum outcome outcome)
{
	struct call_row *row = batch_call(b, sid);
	struct verdict *v = ARENA_NEW(b->arena, struct verdict);
	bool open = end_ms == 0;

	*v = (struct verdict){
		.status = open ? CALL_ACTIVE : CALL_ENDED, .direction = DIRECTION_OUTBOUND, .phone_number = SLICE("+15105550100"),
		.sip_call_id = SLICE("SCL_one"), .started_at_ms = start_ms, .ended_at_ms = end_ms, .duration_s = open ? -1 : (end_ms - start_ms) / 1000,
		.outcome = open ? OUTCOME_NONE : outcome, .reason = open ? VERDICT_REASON_NONE : VERDICT_HANGUP,
		.confidence = open ? CONFIDENCE_NONE : CONFIDENCE_CERTAIN, .rule = SLICE("a_rule"), .rules = 1, .ring_seconds = -1, .talk_seconds = -1,
		.recording_url = open ? SLICE_NONE : SLICE("s3://bucket/one.ogg"),
	};
	row->facts = open ? SLICE("room\topen\n") : SLICE("room\tended\n");
	row->verdict = open ? SLICE("{\"outcome\":null}") : SLICE("{\"outcome\":\"x\",\"reason\":\"hangup\"}");
	row->outcome = open ? SLICE_NONE : slice_cstr(outcome_name(outcome));
	row->rules = 1;
	row->revision = open ? 0 : 1;
	row->user_id = slice_cstr(user);
	row->tenant_error = SLICE_NONE;
	row->started_at_ms = row->room_started_at_ms = start_ms;
	row->ended_at_ms = end_ms;
	row->facts_changed = row->verdict_changed = true;
	row->new_verdict = v;
	return v;
}

void put_call(struct fixture *f, const char *event_id, const char *sid, const char *name, const char *user, int64_t start_ms, int64_t end_ms)
{
	for (int attempt = 0; attempt < 2; attempt++) {
		struct batch *b = batch_new(f);
		batch_event(b, event_id, sid, name, start_ms);
		batch_load(b);
		judge(b, sid, user, start_ms, end_ms, OUTCOME_COMPLETED);
		int r = batch_try_commit(b);
		if (r == 0)
			return;
		if (r != OC_RETRY || attempt)
			fail_msg("commit: %s: %s", oc_error_text(r), store_last_error(f->store));
		store_batch_abort(f->store);
	}
}

/* ---- looking ---- */

int see(struct fixture *f, const char *tenant, const char *call_id, struct call_view *ret)
{
	struct outcome_query q = { .tenant = slice_cstr(tenant), .call_id = slice_cstr(call_id), .result = OC_INVALID };
	int r = store_read_outcomes(f->reader, &q, 1, f->arena);
	if (r != 0)
		fail_msg("read: %s: %s", oc_error_text(r), store_reader_last_error(f->reader));
	if (q.result == 0 && ret)
		*ret = q.view;
	return q.result;
}

const char *made_id(struct fixture *f, const char *sid)
{
	char id[37];
	assert_int_equal(call_log_id_from_sid(slice_cstr(sid), id), 0);
	return keep(f, id);
}

bool is_due(struct fixture *f, const char *sid, int64_t now_ms)
{
	struct slice *sids;
	size_t count;
	int r = store_due(f->store, now_ms, 100, f->arena, &sids, &count);
	if (r != 0)
		fail_msg("due: %s: %s", oc_error_text(r), store_last_error(f->store));
	for (size_t i = 0; i < count; i++)
		if (slice_eq_cstr(sids[i], sid))
			return true;
	return false;
}

void assert_slice_(struct slice actual, const char *expected, const char *file, int line)
{
	bool same = expected ? !slice_is_none(actual) && slice_eq_cstr(actual, expected) : slice_is_none(actual);
	if (!same) {
		print_error("\"%.*s\" != \"%s\"\n", SLICE_FMT(actual), expected ? expected : "(none)");
		_fail(file, line);
	}
}
