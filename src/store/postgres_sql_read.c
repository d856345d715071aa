/* SQL of reading calls for a tenant. Threads: any; no state.
 *
 * It runs under row-level security: an index serves a condition only if PostgreSQL knows that its functions give nothing away (leakproof). = and
 * < of texts, numbers and times are, so is CASE; coalesce is not, so it stands in no join and beside no indexed column.
 *
 * The tenant of a call is the userId of its call_logs row, else the one in call_facts. The columns come in the order of enum pg_view,
 * always the same, with l = call_logs and f = call_facts. */
#include "store/postgres_view.h"

static void put_view_columns(const struct pg_schema *s, struct buf *b)
{
	static const struct {
		const char *column;
		void (*put)(struct buf *, const struct pg_column *, const char *);
	} of_log[] = {
		{ "id", pg_sql_text }, { "livekitRoomName", pg_sql_text }, { "livekitRoomSid", pg_sql_text }, { "direction", pg_sql_text },
		{ "phoneNumber", pg_sql_text }, { "sipCallId", pg_sql_text }, { "status", pg_sql_text }, { "outcome", pg_sql_text },
		{ "recordingUrl", pg_sql_text }, { "metadata", pg_sql_json }, { "agentConfigId", pg_sql_json }, { "cost", pg_sql_json },
		{ "duration", pg_sql_int8 }, { "startedAt", pg_sql_time }, { "endedAt", pg_sql_time }, { "createdAt", pg_sql_time },
		{ "updatedAt", pg_sql_time },
	};

	for (size_t i = 0; i < sizeof of_log / sizeof *of_log; i++) {
		of_log[i].put(b, pg_column(s, PG_CALL_LOGS, of_log[i].column), "l");
		buf_puts(b, ", ");
	}
	/* A verdict that names marks is of the tenant that the call had when it was given, which may be another than its row's by now. */
	buf_puts(b, "coalesce(l.\"userId\"::text, f.\"userId\"), f.\"roomSid\", f.\"roomName\", f.outcome, CASE WHEN (l.\"userId\"::text = f.\"userId\") IS NOT FALSE"
		" OR strpos(f.verdict::text, '\"MK_') = 0 THEN f.verdict::text END, f.revision,"
		" f.\"startedAtMs\", f.\"endedAtMs\", f.\"createdAt\", f.\"updatedAt\"");
}

/* $1 tenants, $2 ids or room SIDs. A call without a row is found by its SID alone: one whose row only cannot be seen, because it is another
 * tenant's, is that tenant's. */
static void put_calls_asked_for(const struct pg_schema *s, struct buf *b)
{
	const struct pg_column *id = pg_column(s, PG_CALL_LOGS, "id");

	buf_puts(b, " FROM unnest($1::text[], $2::text[]) WITH ORDINALITY q (tenant, id, n) CROSS JOIN LATERAL ("
		"SELECT 1 AS rank, l.id AS log_id, NULL::text AS sid FROM call_logs l WHERE l.id = ");
	pg_sql_to_compare(b, id, "q.id");
	buf_puts(b, " UNION ALL SELECT 2, ");
	pg_sql_to_compare(b, id, "f.\"callLogId\"");
	buf_puts(b, ", f.\"roomSid\" FROM call_facts f WHERE f.\"roomSid\" = q.id"
		" UNION ALL SELECT 3, l.id, NULL FROM call_logs l WHERE l.\"livekitRoomSid\" = q.id) k"
		" LEFT JOIN call_logs l ON l.id = k.log_id"
		" LEFT JOIN call_facts f ON f.\"roomSid\" = CASE WHEN k.sid IS NULL THEN l.\"livekitRoomSid\" ELSE k.sid END"
		" WHERE coalesce(l.\"userId\"::text, f.\"userId\") = q.tenant"
		" AND CASE WHEN l.id IS NULL THEN (SELECT true FROM call_logs x WHERE x.\"livekitRoomSid\" = k.sid LIMIT 1) IS NULL"
		" AND outcomed_call_is_of(k.sid, ARRAY[q.tenant]) ELSE true END");
}

void pg_sql_read_outcomes(const struct pg_schema *s, struct buf *b)
{
	buf_puts(b, "SELECT ");
	put_view_columns(s, b);
	buf_puts(b, ", q.n, k.rank::int8");
	put_calls_asked_for(s, b);
}

/* The same for one, with what is kept of it beside; one snapshot, since it is one statement. */
void pg_sql_read_call(const struct pg_schema *s, struct buf *b)
{
	buf_puts(b, "SELECT v.*, CASE WHEN r.revision IS NOT DISTINCT FROM (SELECT min(m.revision) FROM call_revisions m WHERE m.\"roomSid\" = v.call_sid)"
		" THEN (SELECT c.facts FROM call_facts c WHERE c.\"roomSid\" = v.call_sid) END, r.revision, r.verdict::text, r.\"createdAt\" FROM (SELECT ");
	put_view_columns(s, b);
	buf_puts(b, ", q.n, k.rank::int8, f.\"roomSid\" AS call_sid, f.rules::int8");
	put_calls_asked_for(s, b);
	buf_puts(b, " ORDER BY k.rank, l.id LIMIT 1) v LEFT JOIN call_revisions r ON r.\"roomSid\" = v.call_sid ORDER BY r.revision");
}

/* ---- the journal of a call ---- */

/* Where a table of the host's has ids that do not count up, the time an event came stands for them. The sum keeps the planner from walking
 * all of the journal along the primary key in search of one call. */
static void put_position(const struct pg_schema *s, struct buf *b)
{
	const struct pg_column *id = pg_column(s, PG_JOURNAL, "id");
	bool counts_up = id->class == PG_INT2 || id->class == PG_INT4 || id->class == PG_INT8;

	buf_puts(b, "(");
	if (counts_up) {
		pg_sql_int8(b, id, "e");
	} else {
		buf_puts(b, "floor(extract(epoch FROM ");
		pg_sql_time(b, pg_column(s, PG_JOURNAL, "createdAt"), "e");
		buf_puts(b, ") * 1000000)::int8");
	}
	buf_puts(b, " + 0)");
}

/* In the order of enum pg_event_view, from the position on. */
static void put_event_columns(const struct pg_schema *s, struct buf *b)
{
	static const struct {
		const char *column;
		void (*put)(struct buf *, const struct pg_column *, const char *);
	} columns[] = {
		{ "userId", pg_sql_text }, { "callLogId", pg_sql_text }, { "eventId", pg_sql_text }, { "event", pg_sql_text }, { "roomName", pg_sql_text },
		{ "roomSid", pg_sql_text }, { "participantIdentity", pg_sql_text }, { "participantSid", pg_sql_text }, { "timestamp", pg_sql_int8 },
		{ "processed", pg_sql_int8 }, { "errorMessage", pg_sql_text }, { "createdAt", pg_sql_time }, { "processedAt", pg_sql_time },
		{ "source", pg_sql_text }, { "bodyHash", pg_sql_text }, { "keyId", pg_sql_text }, { "sipCallId", pg_sql_text },
	};

	for (size_t i = 0; i < sizeof columns / sizeof *columns; i++) {
		columns[i].put(b, pg_column(s, PG_JOURNAL, columns[i].column), "e");
		buf_puts(b, ", ");
	}
}

/* $1 room SID, $2 tenant, $3 position and $4 event id of the cursor, $5 rows, $6 bytes. Rows that are not ours are left out: nobody took the
 * secrets out of them. Payloads are looked at only when the page's rows are known: a call may have very many. */
void pg_sql_read_events(const struct pg_schema *s, struct buf *b)
{
	const struct pg_column *payload = pg_column(s, PG_JOURNAL, "rawPayload");
	bool has_body = pg_column(s, PG_JOURNAL, "rawBody")->class == PG_BYTEA;

	buf_puts(b, "SELECT ");
	pg_sql_json(b, pg_column(s, PG_JOURNAL, "id"), "e");
	buf_puts(b, ", e.oc_position, ");
	put_event_columns(s, b);
	buf_puts(b, "CASE WHEN e.oc_before < $6::int8 THEN e.oc_payload END, CASE WHEN e.oc_before < $6::int8 THEN e.oc_body END, e.oc_before >= $6::int8"
		" FROM (SELECT e.*, sum(coalesce(octet_length(e.oc_payload), 0) + coalesce(length(e.oc_body), 0)) OVER (ORDER BY e.oc_position, e.\"eventId\")"
		" - coalesce(octet_length(e.oc_payload), 0) - coalesce(length(e.oc_body), 0) AS oc_before FROM (SELECT e.*, ");
	(payload->class == PG_TEXT ? pg_sql_text : pg_sql_json)(b, payload, "e"); /* in a text we put JSON */
	buf_puts(b, has_body ? " AS oc_payload, e.\"rawBody\" AS oc_body" : " AS oc_payload, NULL::bytea AS oc_body");
	buf_puts(b, " FROM (SELECT e.*, ");
	put_position(s, b);
	buf_puts(b, " AS oc_position FROM livekit_call_events e WHERE e.\"roomSid\" = $1::text AND e.\"userId\"::text = $2::text AND e.source IS NOT NULL AND (");
	put_position(s, b);
	buf_puts(b, ", e.\"eventId\"::text) > ($3::int8, $4::text) ORDER BY oc_position, e.\"eventId\" LIMIT $5::int8) e) e) e ORDER BY e.oc_position, e.\"eventId\"");
}

/* ---- the list ---- */

#define JUDGED_OUTCOME "CASE WHEN f.\"roomSid\" IS NULL THEN "

static void put_filters(const struct pg_schema *s, struct buf *b)
{
	static const struct {
		const char *column, *param;
	} equal[] = { { "direction", "$5" }, { "status", "$6" }, { "phoneNumber", "$7" }, { "livekitRoomName", "$8" } };

	/* By the index, and then exactly: 012 is the number 12, but no other name of the tenant "12". */
	buf_puts(b, " FROM call_logs l LEFT JOIN call_facts f ON f.\"roomSid\" = l.\"livekitRoomSid\""
		" WHERE l.\"userId\" = ");
	pg_sql_to_compare(b, pg_column(s, PG_CALL_LOGS, "userId"), "$1::text");
	buf_puts(b, " AND l.\"userId\"::text = $1::text AND ($4::text IS NULL OR " JUDGED_OUTCOME);
	pg_sql_text(b, pg_column(s, PG_CALL_LOGS, "outcome"), "l");
	buf_puts(b, " ELSE f.outcome END = $4)");
	for (size_t i = 0; i < sizeof equal / sizeof *equal; i++) {
		buf_putf(b, " AND (%s::text IS NULL OR ", equal[i].param);
		pg_sql_text(b, pg_column(s, PG_CALL_LOGS, equal[i].column), "l");
		buf_putf(b, " = %s)", equal[i].param);
	}
}

/* A moment given in ms as `param`, moved by `plus` ms, in the type of startedAt. */
static void put_moment(struct buf *b, const struct pg_column *c, const char *param, int plus)
{
	char expr[80];
	snprintf(expr, sizeof expr, "to_timestamp((%s::int8 + %d) / 1000.0)", param, plus);
	pg_sql_from_time(b, c, expr);
}

/* One bound of startedAt: the moment in `param`, or none. */
static void put_bound(struct buf *b, const struct pg_column *c, const char *comparison, const char *param, int plus, const char *none)
{
	buf_putf(b, " AND l.\"startedAt\" %s CASE WHEN %s::int8 IS NULL THEN '%s' ELSE ", comparison, param, none);
	put_moment(b, c, param, plus);
	buf_puts(b, " END");
}

/* Rows with a startedAt: by the index on (userId, startedAt, id), from the cursor down. */
static void put_started_range(const struct pg_schema *s, struct buf *b)
{
	const struct pg_column *started = pg_column(s, PG_CALL_LOGS, "startedAt"), *id = pg_column(s, PG_CALL_LOGS, "id");

	put_bound(b, started, ">=", "$2", 0, "-infinity");
	put_bound(b, started, "<", "$3", 0, "infinity");
	put_bound(b, started, "<", "$9", 1, "infinity");
	buf_puts(b, " AND ($9::int8 IS NULL OR l.\"startedAt\" < ");
	put_moment(b, started, "$9", 0);
	buf_puts(b, " OR l.id < ");
	pg_sql_to_compare(b, id, "$10::text");
	buf_puts(b, ")");
}

/* A column that holds no more than milliseconds: timestamptz(3) and the like. */
static bool is_whole_ms(const struct pg_column *c)
{
	const char *at = strchr(c->type, '(');
	return at && at[1] >= '0' && at[1] <= '3' && at[2] == ')';
}

/* The cursor knows milliseconds and the host's column perhaps microseconds. Then `edge` is the millisecond in which the page ends, and the
 * page takes all of it before it is cut by (millisecond, id). */
static void put_started_page(const struct pg_schema *s, struct buf *b)
{
	const struct pg_column *started = pg_column(s, PG_CALL_LOGS, "startedAt");
	bool whole = is_whole_ms(started);

	buf_puts(b, "(SELECT ");
	put_view_columns(s, b);
	buf_puts(b, whole ? ", (" : ", date_trunc('milliseconds', ");
	pg_sql_time(b, started, "l");
	buf_puts(b, ") AS sort_at, l.id AS sort_id");
	put_filters(s, b);
	put_started_range(s, b);
	if (whole) {
		buf_puts(b, " ORDER BY l.\"startedAt\" DESC, l.id DESC LIMIT $11::int8)");
		return;
	}
	buf_puts(b, " AND l.\"startedAt\" >= (SELECT date_trunc('milliseconds', min(x.at)) FROM (SELECT l.\"startedAt\" AS at");
	put_filters(s, b);
	put_started_range(s, b);
	buf_puts(b, " ORDER BY l.\"startedAt\" DESC LIMIT $11::int8) x) ORDER BY sort_at DESC, sort_id DESC LIMIT $11::int8)");
}

static void put_created_ms(const struct pg_schema *s, struct buf *b)
{
	buf_puts(b, "date_trunc('milliseconds', coalesce(");
	pg_sql_time(b, pg_column(s, PG_CALL_LOGS, "createdAt"), "l");
	buf_puts(b, ", to_timestamp(0)))");
}

/* Rows that never started come by createdAt. */
static void put_unstarted_page(const struct pg_schema *s, struct buf *b)
{
	buf_puts(b, "(SELECT ");
	put_view_columns(s, b);
	buf_puts(b, ", ");
	put_created_ms(s, b);
	buf_puts(b, " AS sort_at, l.id AS sort_id");
	put_filters(s, b);
	buf_puts(b, " AND l.\"startedAt\" IS NULL AND $2::int8 IS NULL AND $3::int8 IS NULL AND ($9::int8 IS NULL OR ");
	put_created_ms(s, b);
	buf_puts(b, " < to_timestamp($9 / 1000.0) OR (");
	put_created_ms(s, b);
	buf_puts(b, " = to_timestamp($9 / 1000.0) AND l.id < ");
	pg_sql_to_compare(b, pg_column(s, PG_CALL_LOGS, "id"), "$10::text");
	buf_puts(b, ")) ORDER BY sort_at DESC, sort_id DESC LIMIT $11::int8)");
}

/* $1 tenant, $2 from, $3 to, $4 outcome, $5 direction, $6 status, $7 number, $8 room name, $9 and $10 the cursor, $11 limit. */
void pg_sql_read_list(const struct pg_schema *s, struct buf *b)
{
	put_started_page(s, b);
	buf_puts(b, " UNION ALL ");
	put_unstarted_page(s, b);
	buf_puts(b, " ORDER BY sort_at DESC, sort_id DESC LIMIT $11::int8");
}
