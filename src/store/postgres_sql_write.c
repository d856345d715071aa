/* SQL of writing: rows of call_logs and of the journal, from arrays (unnest), each value cast to what the column is.
 *
 * A foreign key never refuses an event: where its row is missing the value is NULL. In a host's call_logs row only what is ours is
 * written (docs/ARCHITECTURE.md, "Whose row is it?"); v.ours says that the row is ours, v.clear that an outcome of ours may be taken back.
 * Threads: any; no state. */
#include "store/postgres.h"

#define NOW(param) "to_timestamp(" param "::int8 / 1000.0)"

typedef void (*put_value_fn)(struct buf *, const struct pg_column *, const char *);

struct array {
	const char *name, *type;
};

/* The parameters $1.. as rows of v. One unnest of many arrays makes a table of each array first; an element by its index is looked for from
 * the array's beginning. Measured alone, 18 columns, µs a row: 38 and 11 at 4 rows, 15 and 6 at 16, 6 and 4 at 256. */
static void put_rows(struct buf *b, const struct array *arrays, size_t n)
{
	buf_putf(b, "(SELECT k.%s", arrays[0].name);
	for (size_t i = 1; i < n; i++)
		buf_putf(b, ", ($%zu::%s[])[k.i] AS %s", i + 1, arrays[i].type, arrays[i].name);
	buf_putf(b, " FROM unnest($1::%s[]) WITH ORDINALITY k (%s, i)) v", arrays[0].type, arrays[0].name);
}

/* ---- call_logs ---- */

enum fill {
	FILL_EMPTY, /* in a host's row only where it is NULL */
	FILL_OURS,  /* ours in any row; NULL only takes back what we wrote */
	FILL_KEEP,  /* ours in any row; never taken back */
};

static const struct {
	const char *column, *expr;
	put_value_fn put;
	enum fill fill;
} log_values[] = {
	{ "livekitRoomSid", "v.sid", pg_sql_from_key, FILL_EMPTY },
	{ "direction", "v.direction", pg_sql_from_text, FILL_EMPTY },
	{ "phoneNumber", "v.phone", pg_sql_from_text, FILL_EMPTY },
	{ "sipCallId", "v.sip", pg_sql_from_text, FILL_EMPTY },
	{ "startedAt", "v.started", pg_sql_from_time, FILL_EMPTY },
	{ "endedAt", "v.ended", pg_sql_from_time, FILL_OURS },
	{ "duration", "v.duration", pg_sql_from_int8, FILL_OURS },
	{ "status", "v.status", pg_sql_from_text, FILL_OURS },
	{ "outcome", "v.outcome", pg_sql_from_text, FILL_OURS },
	{ "recordingUrl", "v.recording", pg_sql_from_text, FILL_KEEP },
};
#define LOG_VALUE_COUNT (sizeof log_values / sizeof *log_values)

/* In the order of enum log_column (postgres_rows.c); an insert has those before `ours`. */
static const struct array log_arrays[] = {
	{ "id", "text" }, { "sid", "text" }, { "name", "text" }, { "user_id", "text" }, { "direction", "text" }, { "phone", "text" },
	{ "sip", "text" }, { "started", "timestamptz" }, { "ended", "timestamptz" }, { "duration", "int8" }, { "status", "text" },
	{ "outcome", "text" }, { "recording", "text" }, { "metadata", "text" }, { "ours", "bool" }, { "clear", "bool" },
};
#define LOG_ARRAY_COUNT (sizeof log_arrays / sizeof *log_arrays)
#define LOG_INSERT_ARRAY_COUNT (LOG_ARRAY_COUNT - 2)

static void put_metadata(struct buf *b, const struct pg_column *c)
{
	/* A text that somebody else wrote may be no JSON at all: only one that begins like ours is touched. */
	if (c->class == PG_TEXT)
		buf_putf(b, ", metadata = CASE WHEN v.metadata IS NULL THEN l.metadata WHEN coalesce(l.metadata, '') = '' THEN v.metadata::%s"
			" WHEN l.metadata LIKE '{\"outcomed\":{%%}' THEN (l.metadata::jsonb || v.metadata::jsonb)::text::%s ELSE l.metadata END",
			c->type, c->type);
	if (c->class == PG_JSON || c->class == PG_JSONB)
		buf_putf(b, ", metadata = CASE WHEN v.metadata IS NULL THEN l.metadata WHEN l.metadata IS NULL THEN v.metadata::%s"
			" WHEN %s_typeof(l.metadata) = 'object' THEN (l.metadata::jsonb || v.metadata::jsonb)::%s ELSE l.metadata END", c->type,
			c->class == PG_JSONB ? "jsonb" : "json", c->type);
}

static void put_log_assignment(struct buf *b, const struct pg_column *c, size_t i)
{
	buf_putf(b, "\"%s\" = ", c->name);
	switch (log_values[i].fill) {
	case FILL_EMPTY:
		buf_putf(b, "CASE WHEN v.ours OR l.\"%s\" IS NULL THEN coalesce(", c->name);
		log_values[i].put(b, c, log_values[i].expr);
		buf_putf(b, ", l.\"%s\") ELSE l.\"%s\" END", c->name, c->name);
		return;
	case FILL_OURS:
		buf_puts(b, "coalesce(");
		log_values[i].put(b, c, log_values[i].expr);
		if (c->not_null)
			buf_putf(b, ", l.\"%s\")", c->name);
		else
			buf_putf(b, ", CASE WHEN NOT (v.clear AND %s IS NULL) THEN l.\"%s\" END)", log_values[i].expr, c->name);
		return;
	case FILL_KEEP:
		buf_puts(b, "coalesce(");
		log_values[i].put(b, c, log_values[i].expr);
		buf_putf(b, ", l.\"%s\")", c->name);
		return;
	}
}

/* $1.. in the order of the v columns. Gives (sid, id) of the rows written; a row that another call has claimed meanwhile is not. */
void pg_sql_logs_update(const struct pg_schema *s, struct buf *b)
{
	const struct pg_column *user = pg_column(s, PG_CALL_LOGS, "userId"), *name = pg_column(s, PG_CALL_LOGS, "livekitRoomName"),
		*updated = pg_column(s, PG_CALL_LOGS, "updatedAt"), *metadata = pg_column(s, PG_CALL_LOGS, "metadata");
	bool first = true;

	buf_puts(b, "WITH up AS (UPDATE call_logs l SET ");
	for (size_t i = 0; i < LOG_VALUE_COUNT; i++) {
		const struct pg_column *c = pg_column(s, PG_CALL_LOGS, log_values[i].column);
		if (!pg_column_writable(c))
			continue;
		if (!first)
			buf_puts(b, ", ");
		first = false;
		put_log_assignment(b, c, i);
	}
	if (pg_column_writable(user)) {
		buf_puts(b, ", \"userId\" = CASE WHEN v.ours THEN coalesce(");
		pg_sql_from_key(b, user, "v.user_id");
		buf_puts(b, ", l.\"userId\") ELSE l.\"userId\" END");
	}
	if (pg_column_writable(name)) {
		buf_puts(b, ", \"livekitRoomName\" = CASE WHEN v.ours THEN coalesce(l.\"livekitRoomName\", ");
		pg_sql_from_text(b, name, "v.name");
		buf_puts(b, ") ELSE l.\"livekitRoomName\" END");
	}
	if (pg_column_writable(updated)) {
		buf_puts(b, ", \"updatedAt\" = ");
		pg_sql_from_time(b, updated, NOW("$17"));
	}
	if (pg_column_writable(metadata))
		put_metadata(b, metadata);
	buf_puts(b, " FROM ");
	put_rows(b, log_arrays, LOG_ARRAY_COUNT);
	buf_puts(b, " WHERE l.id = ");
	pg_sql_to_compare(b, pg_column(s, PG_CALL_LOGS, "id"), "v.id");
	buf_puts(b, " AND (l.\"livekitRoomSid\" IS NULL OR l.\"livekitRoomSid\" = v.sid) RETURNING l.id::text AS id, v.sid) SELECT sid, id FROM up");
}

static void put_insert_value(struct buf *b, const struct pg_column *c, put_value_fn put, const char *expr)
{
	if (c->not_null && c->default_sql) {
		buf_puts(b, "coalesce(");
		put(b, c, expr);
		buf_putf(b, ", %s)", c->default_sql);
	} else {
		put(b, c, expr);
	}
	buf_putf(b, " AS \"%s\"", c->name);
}

bool pg_makes_ids(const struct pg_schema *s)
{
	const struct pg_column *id = pg_column(s, PG_CALL_LOGS, "id");
	return id->class == PG_UUID || id->class == PG_TEXT;
}

/* The same order of parameters as the update's, without ours and clear; $15 now. Gives (sid, id) of the rows inserted. */
void pg_sql_logs_insert(const struct pg_schema *s, struct buf *b)
{
	static const struct {
		const char *column, *expr;
		put_value_fn put;
	} more[] = {
		{ "userId", "v.user_id", pg_sql_from_key },
		{ "livekitRoomName", "v.name", pg_sql_from_text },
		{ "metadata", "v.metadata", pg_sql_from_text },
		{ "createdAt", NOW("$15"), pg_sql_from_time },
		{ "updatedAt", NOW("$15"), pg_sql_from_time },
	};
	_cleanup_buf_ struct buf columns = BUF_INIT, where = BUF_INIT;
	const struct pg_column *id = pg_column(s, PG_CALL_LOGS, "id");

	if (!s->can_insert || !pg_column_writable(pg_column(s, PG_CALL_LOGS, "userId")))
		return;
	buf_puts(&where, "\"userId\" IS NOT NULL AND \"livekitRoomSid\" IS NOT NULL");
	buf_puts(b, "WITH v AS (SELECT ");
	if (pg_makes_ids(s)) {
		pg_sql_from_key(b, id, "v.id");
		buf_puts(b, " AS id, ");
		buf_puts(&columns, "id, ");
	}
	for (size_t i = 0; i < LOG_VALUE_COUNT + sizeof more / sizeof *more; i++) {
		bool is_more = i >= LOG_VALUE_COUNT;
		const struct pg_column *c = pg_column(s, PG_CALL_LOGS, is_more ? more[i - LOG_VALUE_COUNT].column : log_values[i].column);
		if (!pg_column_writable(c))
			continue;
		if (is_more)
			put_insert_value(b, c, more[i - LOG_VALUE_COUNT].put, more[i - LOG_VALUE_COUNT].expr);
		else
			put_insert_value(b, c, log_values[i].put, log_values[i].expr);
		buf_puts(b, ", ");
		buf_putf(&columns, "\"%s\", ", c->name);
		if (c->not_null)
			buf_putf(&where, " AND \"%s\" IS NOT NULL", c->name);
	}
	if (buf_failed(&columns) || buf_failed(&where)) {
		b->failed = true;
		return;
	}
	b->n -= 2;
	columns.n -= 2;
	buf_puts(b, " FROM ");
	put_rows(b, log_arrays, LOG_INSERT_ARRAY_COUNT);
	buf_puts(b, "), ins AS (INSERT INTO call_logs (");
	buf_put(b, buf_slice(&columns));
	buf_puts(b, ") SELECT ");
	buf_put(b, buf_slice(&columns));
	buf_puts(b, " FROM v WHERE ");
	buf_put(b, buf_slice(&where));
	buf_puts(b, " ON CONFLICT DO NOTHING RETURNING id::text AS id, \"livekitRoomSid\"::text AS sid) SELECT sid, id FROM ins");
}

static void put_ids(struct buf *b, const struct pg_schema *s)
{
	buf_puts(b, "l.id = ANY (ARRAY(SELECT ");
	pg_sql_to_compare(b, pg_column(s, PG_CALL_LOGS, "id"), "x.id");
	buf_puts(b, " FROM unnest($1::text[]) x (id)))");
}

/* Rows of ours ($1) that leave their calls ($2): first the ties are cut, so that the unique SID is free and no journal row is in the way. */
void pg_sql_logs_detach(const struct pg_schema *s, struct buf *b)
{
	if (pg_column(s, PG_CALL_LOGS, "livekitRoomSid")->not_null) {
		buf_puts(b, "WITH x AS (SELECT $1::text[])");
	} else {
		buf_puts(b, "WITH x AS (UPDATE call_logs l SET \"livekitRoomSid\" = NULL WHERE ");
		put_ids(b, s);
		buf_puts(b, ")");
	}
	buf_puts(b, " UPDATE call_facts SET \"callLogId\" = NULL, \"callLogIsOurs\" = 0 WHERE \"roomSid\" = ANY ($2::text[])");
}

void pg_sql_logs_remove(const struct pg_schema *s, struct buf *b)
{
	buf_puts(b, "DELETE FROM call_logs l WHERE ");
	put_ids(b, s);
}

/* ---- call_facts ---- */

/* In the order of pg_put_facts. */
static const struct array facts_arrays[] = {
	{ "sid", "text" }, { "name", "text" }, { "user_id", "text" }, { "tenant_error", "text" }, { "facts", "text" }, { "rules", "int8" },
	{ "verdict", "text" }, { "outcome", "text" }, { "revision", "int8" }, { "started", "int8" }, { "ended", "int8" }, { "due", "int8" },
	{ "log_id", "text" }, { "linked", "bool" }, { "ours", "bool" }, { "room_started", "int8" }, { "watch", "int8" },
};

static void put_facts_rows(struct buf *b) { put_rows(b, facts_arrays, sizeof facts_arrays / sizeof *facts_arrays); }

/* The call_logs row that this batch inserted or claimed for a call, if it is the call's by now. Its id is not known here where the table
 * makes it. */
static void put_linked_row(const struct pg_schema *s, struct buf *b)
{
	buf_puts(b, " LEFT JOIN LATERAL (SELECT l.id::text AS id FROM call_logs l WHERE v.linked AND l.\"livekitRoomSid\" = v.sid"
		" AND (v.log_id IS NULL OR l.id = ");
	pg_sql_to_compare(b, pg_column(s, PG_CALL_LOGS, "id"), "v.log_id");
	buf_puts(b, ") LIMIT 1) l ON true");
}

void pg_sql_facts_insert(const struct pg_schema *s, struct buf *b)
{
	buf_puts(b, "INSERT INTO call_facts (\"roomSid\", \"roomName\", \"userId\", \"tenantError\", facts, rules, verdict, outcome, revision,"
		" \"startedAtMs\", \"endedAtMs\", \"dueAtMs\", \"roomStartedAtMs\", \"watchAtMs\", \"callLogId\", \"callLogIsOurs\", \"createdAt\", \"updatedAt\")"
		" SELECT v.sid, v.name, v.user_id, v.tenant_error, v.facts, v.rules, v.verdict::json, v.outcome, v.revision, v.started, v.ended, v.due, v.room_started,"
		" nullif(v.watch, -1), l.id, (l.id IS NOT NULL AND v.ours)::int, " NOW("$18") ", " NOW("$18") " FROM ");
	put_facts_rows(b);
	put_linked_row(s, b);
}

/* facts and verdict are NULL where they did not change, watch is -1. */
void pg_sql_facts_update(const struct pg_schema *s, struct buf *b)
{
	buf_puts(b, "UPDATE call_facts f SET \"roomName\" = coalesce(v.name, f.\"roomName\"), \"userId\" = v.user_id, \"tenantError\" = v.tenant_error,"
		" facts = coalesce(v.facts, f.facts), rules = v.rules, verdict = coalesce(v.verdict::json, f.verdict), outcome = v.outcome,"
		" revision = v.revision, \"startedAtMs\" = v.started, \"endedAtMs\" = v.ended, \"dueAtMs\" = v.due, \"roomStartedAtMs\" = v.room_started,"
		" \"watchAtMs\" = CASE WHEN v.watch = -1 THEN f.\"watchAtMs\" ELSE v.watch END,"
		" \"callLogId\" = coalesce(l.id, f.\"callLogId\"),"
		" \"callLogIsOurs\" = CASE WHEN l.id IS NOT NULL THEN v.ours::int ELSE f.\"callLogIsOurs\" END, \"updatedAt\" = " NOW("$18")
		" FROM ");
	put_facts_rows(b);
	put_linked_row(s, b);
	buf_puts(b, " WHERE f.\"roomSid\" = v.sid");
}

/* ---- the journal ---- */

static const struct {
	const char *column, *expr;
	put_value_fn put;
} journal_values[] = {
	{ "eventId", "v.event_id", NULL },
	{ "event", "v.event", pg_sql_from_text },
	{ "roomName", "v.room_name", pg_sql_from_text },
	{ "roomSid", "v.room_sid", pg_sql_from_text },
	{ "participantIdentity", "v.identity", pg_sql_from_text },
	{ "participantSid", "v.participant_sid", pg_sql_from_text },
	{ "timestamp", "v.timestamp_s", pg_sql_from_int8 },
	{ "rawPayload", "v.payload", pg_sql_from_text },
	{ "rawBody", "v.raw_body", NULL },
	{ "processed", "v.processed", pg_sql_from_int8 },
	{ "errorMessage", "v.error", pg_sql_from_text },
	{ "createdAt", "v.created", pg_sql_from_time },
	{ "processedAt", "v.processed_at", pg_sql_from_time },
	{ "source", "v.source", pg_sql_from_text },
	{ "bodyHash", "v.body_hash", pg_sql_from_text },
	{ "keyId", "v.key_id", pg_sql_from_text },
	{ "userId", "coalesce(v.user_id, f.\"userId\")", pg_sql_from_key },
	{ "callLogId", "coalesce(v.call_log_id, CASE WHEN NOT v.own OR f.\"userId\" = v.user_id THEN f.\"callLogId\" END)", pg_sql_from_key },
	{ "sipCallId", "v.sip_call_id", pg_sql_from_text },
};

/* In the order of pg_put_journal. */
static const struct array journal_arrays[] = {
	{ "event_id", "text" }, { "event", "text" }, { "room_name", "text" }, { "room_sid", "text" }, { "identity", "text" },
	{ "participant_sid", "text" }, { "timestamp_s", "int8" }, { "payload", "text" }, { "raw_body", "bytea" }, { "processed", "int8" },
	{ "error", "text" }, { "created", "timestamptz" }, { "processed_at", "timestamptz" }, { "source", "text" }, { "body_hash", "text" },
	{ "key_id", "text" }, { "user_id", "text" }, { "call_log_id", "text" }, { "sip_call_id", "text" }, { "own", "bool" },
};

static void put_journal_value(struct buf *b, const struct pg_column *c, size_t i)
{
	const char *expr = journal_values[i].expr;

	if (c->not_null && c->default_sql)
		buf_puts(b, "coalesce(");
	if (journal_values[i].put)
		journal_values[i].put(b, c, expr);
	else
		buf_puts(b, expr);
	if (c->not_null && c->default_sql)
		buf_putf(b, ", %s)", c->default_sql);
}

/* No ON CONFLICT, which would cost a second look and a second WAL record a row: load has seen which ids are new, and an id that another
 * node commits in between is refused by the unique index; the batch is then loaded again (pg_batch_error). */
void pg_sql_journal_insert(const struct pg_schema *s, struct buf *b)
{
	_cleanup_buf_ struct buf columns = BUF_INIT, values = BUF_INIT;
	const struct pg_column *id = pg_column(s, PG_JOURNAL, "id");

	if (id->not_null && !id->has_default && (id->class == PG_UUID || id->class == PG_TEXT)) {
		buf_puts(&columns, "id, ");
		buf_putf(&values, "gen_random_uuid()::%s, ", id->type);
	}
	for (size_t i = 0; i < sizeof journal_values / sizeof *journal_values; i++) {
		const struct pg_column *c = pg_column(s, PG_JOURNAL, journal_values[i].column);
		if (!pg_column_writable(c) || (strcmp(c->name, "rawBody") == 0 && c->class != PG_BYTEA))
			continue;
		buf_putf(&columns, "\"%s\", ", c->name);
		put_journal_value(&values, c, i);
		buf_puts(&values, ", ");
	}
	if (buf_failed(&columns) || buf_failed(&values)) {
		b->failed = true;
		return;
	}
	columns.n -= 2;
	values.n -= 2;
	buf_puts(b, "INSERT INTO livekit_call_events (");
	buf_put(b, buf_slice(&columns));
	buf_puts(b, ") SELECT ");
	buf_put(b, buf_slice(&values));
	buf_puts(b, " FROM ");
	put_rows(b, journal_arrays, sizeof journal_arrays / sizeof *journal_arrays);
	buf_puts(b, " LEFT JOIN LATERAL (SELECT f.\"userId\", f.\"callLogId\" FROM call_facts f"
		" WHERE f.\"roomSid\" = v.room_sid AND (v.user_id IS NULL OR v.call_log_id IS NULL)) f ON true");
}

static void put_owner(struct buf *b, const struct pg_schema *s, bool user)
{
	const struct pg_column *c = pg_column(s, PG_JOURNAL, user ? "userId" : "callLogId");
	buf_putf(b, "\"%s\" = ", c->name);
	pg_sql_from_key(b, c, user ? "f.\"userId\"" : "f.\"callLogId\"");
}

/* A tenant's own mark follows calls of that tenant only. */
static void put_follows_call(struct buf *b, const struct pg_schema *s)
{
	buf_puts(b, "(NOT ");
	pg_sql_own_mark(s, b);
	buf_puts(b, " OR ");
	pg_sql_text(b, pg_column(s, PG_JOURNAL, "userId"), "e");
	buf_puts(b, " = f.\"userId\")");
}

/* The call's earlier events follow it: to its tenant, out of the reach of any when witnesses disagree, to its call_logs row. $1 room SIDs,
 * $2 whether the tenant changed, $3 what the dispute was, $4 now; the new state is in call_facts already. */
void pg_sql_journal_rebind(const struct pg_schema *s, struct buf *b)
{
	const struct pg_column *processed = pg_column(s, PG_JOURNAL, "processed"), *done = pg_column(s, PG_JOURNAL, "processedAt");
	static const char settled[] = "v.new_tenant AND f.\"tenantError\" IS NULL AND e.\"errorMessage\" = v.was_error";

	buf_puts(b, "UPDATE livekit_call_events e SET ");
	put_owner(b, s, true);
	buf_puts(b, ", ");
	put_owner(b, s, false);
	buf_puts(b, ", processed = CASE WHEN v.new_tenant AND f.\"tenantError\" IS NOT NULL THEN ");
	pg_sql_from_int8(b, processed, "0");
	buf_putf(b, " WHEN %s THEN ", settled);
	pg_sql_from_int8(b, processed, "1");
	buf_putf(b, " ELSE e.processed END, \"processedAt\" = CASE WHEN %s THEN coalesce(e.\"processedAt\", ", settled);
	pg_sql_from_time(b, done, NOW("$4"));
	buf_puts(b, ") ELSE e.\"processedAt\" END, \"errorMessage\" = CASE WHEN v.new_tenant"
		" AND (e.\"errorMessage\" IS NULL OR e.\"errorMessage\" = v.was_error) THEN f.\"tenantError\" ELSE e.\"errorMessage\" END"
		" FROM unnest($1::text[], $2::bool[], $3::text[]) v (sid, new_tenant, was_error) JOIN call_facts f ON f.\"roomSid\" = v.sid"
		" WHERE e.\"roomSid\" = v.sid AND e.source IS NOT NULL"
		" AND (v.new_tenant OR e.\"callLogId\"::text IS DISTINCT FROM f.\"callLogId\") AND ");
	put_follows_call(b, s);
}

void pg_sql_journal_repoint(const struct pg_schema *s, struct buf *b)
{
	buf_puts(b, "UPDATE livekit_call_events e SET ");
	put_owner(b, s, false);
	buf_puts(b, " FROM call_facts f WHERE f.\"roomSid\" = ANY ($1::text[]) AND e.\"roomSid\" = f.\"roomSid\" AND e.source IS NOT NULL AND ");
	put_follows_call(b, s);
}

/* $1 event ids, $2 room SIDs, $3 processed, $4 reasons, $5 now, $6 whether it is a tenant's own mark. */
void pg_sql_journal_bind(const struct pg_schema *s, struct buf *b)
{
	static const struct {
		const char *column, *expr;
		put_value_fn put;
	} values[] = {
		{ "processed", "v.processed", pg_sql_from_int8 },
		{ "errorMessage", "v.error", pg_sql_from_text },
		{ "processedAt", "(CASE WHEN v.processed <> 0 THEN " NOW("$5") " END)", pg_sql_from_time },
		{ "userId", "(CASE WHEN v.own THEN e.\"userId\"::text ELSE f.\"userId\" END)", pg_sql_from_key },
		{ "callLogId", "(CASE WHEN NOT v.own OR e.\"userId\"::text = f.\"userId\" THEN f.\"callLogId\" END)", pg_sql_from_key },
	};

	buf_puts(b, "UPDATE livekit_call_events e SET \"roomSid\" = ");
	pg_sql_from_text(b, pg_column(s, PG_JOURNAL, "roomSid"), "coalesce(v.sid, e.\"roomSid\")");
	for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
		const struct pg_column *c = pg_column(s, PG_JOURNAL, values[i].column);
		if (!pg_column_writable(c))
			continue;
		buf_putf(b, ", \"%s\" = ", c->name);
		values[i].put(b, c, values[i].expr);
	}
	buf_puts(b, " FROM unnest($1::text[], $2::text[], $3::int8[], $4::text[], $6::bool[]) v (id, sid, processed, error, own)"
		" LEFT JOIN call_facts f ON f.\"roomSid\" = v.sid WHERE e.\"eventId\" = v.id");
}
