/* What is in the database, by its catalogs: rows of (kind, table, name), ticked off against the list of our parts. An index that
 * PostgreSQL holds for invalid counts as missing. Any thread; nothing is kept open. */
#include "store/inspect.h"

#include <stdio.h>

#include "base/clock.h"
#include "store/postgres.h"
#include "store/sqlite.h"

#define JOURNAL(X) X("id") X("userId") X("callLogId") X("eventId") X("event") X("roomName") X("roomSid") X("participantIdentity") \
	X("participantSid") X("timestamp") X("rawPayload") X("rawBody") X("processed") X("errorMessage") X("createdAt") X("processedAt") \
	X("source") X("bodyHash") X("keyId") X("sipCallId")
#define CALL_LOGS(X) X("id") X("userId") X("livekitRoomName") X("livekitRoomSid") X("direction") X("phoneNumber") X("sipCallId") X("duration") \
	X("startedAt") X("endedAt") X("status") X("outcome") X("recordingUrl") X("metadata") X("createdAt") X("updatedAt")
#define CALL_FACTS(X) X("roomSid") X("roomName") X("userId") X("tenantError") X("callLogId") X("callLogIsOurs") X("facts") X("rules") X("verdict") \
	X("outcome") X("revision") X("startedAtMs") X("endedAtMs") X("dueAtMs") X("roomStartedAtMs") X("createdAt") X("updatedAt")
#define JOURNAL_INDEXES(X) X("idx_lce_eventId") X("idx_lce_room") X("idx_lce_unbound") X("idx_lce_unbound_sip") X("idx_lce_unowned") X("idx_lce_aside")

static const struct schema_part parts[] = {
#define TABLE(name) { SCHEMA_TABLE, name, name, false },
	TABLE("livekit_call_events") TABLE("call_logs") TABLE("call_facts") TABLE("call_legs") TABLE("call_revisions")
#define X(name) { SCHEMA_COLUMN, "livekit_call_events", name, false },
	JOURNAL(X)
#undef X
#define X(name) { SCHEMA_COLUMN, "call_logs", name, false },
	CALL_LOGS(X)
#undef X
#define X(name) { SCHEMA_COLUMN, "call_facts", name, false },
	CALL_FACTS(X)
#undef X
#define X(name) { SCHEMA_INDEX, "livekit_call_events", name, false },
	JOURNAL_INDEXES(X)
#undef X
};
#define PART_COUNT (sizeof parts / sizeof parts[0])

static const char sqlite_catalog[] =
	"SELECT 'table', name, name FROM sqlite_master WHERE type = 'table' "
	"UNION ALL SELECT 'column', m.name, c.name FROM sqlite_master m, pragma_table_info(m.name) c WHERE m.type = 'table' "
	"UNION ALL SELECT 'index', tbl_name, name FROM sqlite_master WHERE type = 'index'";

static const char postgres_catalog[] =
	"WITH t AS (SELECT oid, relname FROM pg_class WHERE relkind IN ('r', 'p') AND pg_table_is_visible(oid) "
	"AND relname IN ('livekit_call_events', 'call_logs', 'call_facts', 'call_legs', 'call_revisions')) "
	"SELECT 'table', relname, relname FROM t "
	"UNION ALL SELECT 'column', t.relname, a.attname FROM t JOIN pg_attribute a ON a.attrelid = t.oid WHERE a.attnum > 0 AND NOT a.attisdropped "
	"UNION ALL SELECT 'index', t.relname, i.relname FROM t JOIN pg_index x ON x.indrelid = t.oid JOIN pg_class i ON i.oid = x.indexrelid "
	"WHERE x.indisvalid";

static void tick_off(struct schema_part *list, const char *kind, const char *table, const char *name)
{
	static const char *const kinds[] = { [SCHEMA_TABLE] = "table", [SCHEMA_COLUMN] = "column", [SCHEMA_INDEX] = "index" };
	for (size_t i = 0; i < PART_COUNT; i++)
		if (strcmp(kinds[list[i].kind], kind) == 0 && strcmp(list[i].table, table) == 0 && strcmp(list[i].name, name) == 0)
			list[i].present = true;
}

static int inspect_sqlite(const struct store_options *o, struct arena *a, struct schema_part *list, struct slice *ret_message)
{
	struct sqlite_connection c = { 0 };
	sqlite3_stmt *st = NULL;
	int r = sqlite_connect(&c, o, SQLITE_READER, a, ret_message);
	if (r)
		return r;
	int rc = sqlite3_prepare_v2(c.db, sqlite_catalog, -1, &st, NULL);
	while (rc == SQLITE_OK || rc == SQLITE_ROW) {
		rc = sqlite3_step(st);
		if (rc == SQLITE_ROW && sqlite3_column_text(st, 1) && sqlite3_column_text(st, 2))
			tick_off(list, (const char *)sqlite3_column_text(st, 0), (const char *)sqlite3_column_text(st, 1),
				 (const char *)sqlite3_column_text(st, 2));
	}
	r = rc == SQLITE_DONE ? 0 : sqlite_error(&c, rc);
	if (r)
		r = store_fail(r, a, ret_message, "%s", c.error);
	sqlite3_finalize(st);
	sqlite_disconnect(&c);
	return r;
}

static int inspect_postgres(const struct store_options *o, struct arena *a, struct schema_part *list, struct slice *ret_message)
{
	char timeout[16];
	int timeout_ms = o->timeout_ms ? o->timeout_ms : 10000;
	const char *url = arena_dup(a, o->url);
	if (!url)
		return OC_NOMEM;
	snprintf(timeout, sizeof timeout, "%d", timeout_ms / 1000 + 1);
	const char *const keywords[] = { "dbname", "connect_timeout", "application_name", "tcp_user_timeout", NULL };
	const char *const values[] = { url, timeout, "outcomed check", "10000", NULL };
	PGconn *conn = PQconnectdbParams(keywords, values, 1);
	if (!conn || PQstatus(conn) != CONNECTION_OK) {
		int r = store_fail(OC_DOWN, a, ret_message, "%s", conn ? PQerrorMessage(conn) : oc_error_text(OC_NOMEM));
		PQfinish(conn);
		return r;
	}
	PGresult *res = PQexec(conn, postgres_catalog);
	int r = 0;
	if (PQresultStatus(res) == PGRES_TUPLES_OK)
		for (int i = 0; i < PQntuples(res); i++)
			tick_off(list, PQgetvalue(res, i, 0), PQgetvalue(res, i, 1), PQgetvalue(res, i, 2));
	else
		r = store_fail(OC_DATA, a, ret_message, "%s", PQerrorMessage(conn));
	PQclear(res);
	PQfinish(conn);
	return r;
}

int store_inspect(const struct store_options *o, struct arena *a, struct schema_part **ret, size_t *ret_count, struct slice *ret_message)
{
	bool valid;
	int r = OC_CONFIG;
	struct schema_part *list = ARENA_ARRAY(a, struct schema_part, PART_COUNT);
	if (!list)
		return OC_NOMEM;
	memcpy(list, parts, sizeof parts);
	enum store_kind kind = store_url_kind(o->url, &valid);
	if (!valid)
		return store_fail(OC_CONFIG, a, ret_message, "%s", "the database must be sqlite:PATH or postgresql://USER@HOST/NAME");
	switch (kind) {
	case STORE_SQLITE: r = inspect_sqlite(o, a, list, ret_message); break;
	case STORE_POSTGRES: r = inspect_postgres(o, a, list, ret_message); break;
	}
	if (r)
		return r;
	*ret = list;
	*ret_count = PART_COUNT;
	return 0;
}

/* ---- is it whole? ---- */

static int is_late(void *until_ns) { return clock_mono_ns() >= *(const int64_t *)until_ns; }

static int look_at_pages(struct sqlite_connection *c, int64_t limit_ms, struct arena *a, enum store_whole *ret, struct slice *ret_message)
{
	int64_t until_ns = clock_mono_ns() + limit_ms * 1000000;
	sqlite3_stmt *st = NULL;
	int r = 0;

	sqlite3_progress_handler(c->db, 20000, is_late, &until_ns);
	int rc = sqlite3_prepare_v2(c->db, "PRAGMA integrity_check(1)", -1, &st, NULL);
	if (rc == SQLITE_OK)
		rc = sqlite3_step(st);
	const char *text = rc == SQLITE_ROW ? (const char *)sqlite3_column_text(st, 0) : NULL;
	if (text && strcmp(text, "ok") == 0) {
		*ret = STORE_WHOLE;
	} else if (rc == SQLITE_INTERRUPT) {
		*ret = STORE_WHOLE_SO_FAR;
	} else if (text || (rc & 0xff) == SQLITE_CORRUPT) {
		*ret = STORE_DAMAGED;
		store_fail(OC_IO, a, ret_message, "%s", text ? text : sqlite3_errmsg(c->db));
	} else {
		r = sqlite_error(c, rc);
		store_fail(r, a, ret_message, "%s", c->error);
	}
	sqlite3_finalize(st);
	return r;
}

int store_look_whole(const struct store_options *o, int64_t limit_ms, struct arena *a, enum store_whole *ret, struct slice *ret_message)
{
	bool valid;
	struct sqlite_connection c = { 0 };

	if (store_url_kind(o->url, &valid) != STORE_SQLITE || !valid) {
		*ret = STORE_NOT_ASKED;
		return 0;
	}
	int r = sqlite_connect(&c, o, SQLITE_READER, a, ret_message);
	if (r == OC_IO) {
		*ret = STORE_DAMAGED;
		return 0;
	}
	if (r == 0)
		r = look_at_pages(&c, limit_ms, a, ret, ret_message);
	sqlite_disconnect(&c);
	return r;
}
