/* SQL of looking: whose call_logs row is a call's, which waiting events are, which calls want another look.
 *
 * When a host's row has the call's room name and no SID, it is the call's if it was written within 24 hours of the call's span; one
 * written after the call's end must be a minute old, so that a next call of the same name can claim it first. put_match says that once,
 * for the load and for the sweep, which must agree.
 * Threads: any; no state. */
#include "store/postgres.h"
#include "store/spans.h"

static void put_column(struct buf *b, const struct pg_schema *s, enum pg_table_id table, const char *name,
	void (*put)(struct buf *, const struct pg_column *, const char *), const char *alias_or_expr)
{
	put(b, pg_column(s, table, name), alias_or_expr);
}

static bool has_time(const struct pg_column *c)
{
	return c->class == PG_TIMESTAMPTZ || c->class == PG_TIMESTAMP || c->class == PG_DATE;
}

/* A lateral m(at, now, lo, hi) of the row l and the call f, ms; lo is now where the call's start is unknown. */
static void put_match_lateral(struct buf *b, const struct pg_schema *s, const char *start, const char *now)
{
	const struct pg_column *created = pg_column(s, PG_CALL_LOGS, "createdAt");

	buf_puts(b, " CROSS JOIN LATERAL (SELECT ");
	if (has_time(created)) {
		buf_putf(b, "CASE WHEN isfinite(l.\"createdAt\") THEN extract(epoch FROM ");
		pg_sql_time(b, created, "l");
		buf_puts(b, ")::float8 * 1000 END");
	} else {
		buf_puts(b, "NULL::float8");
	}
	buf_putf(b, " AS at, %s::float8 AS now, coalesce(%s, %s)::float8 AS lo, f.\"endedAtMs\"::float8 AS hi) m", now, start, now);
}

static const char match_far[] = "greatest(m.lo - m.at, m.at - coalesce(m.hi, m.lo), 0)";

static void put_match(struct buf *b, const struct pg_schema *s)
{
	if (has_time(pg_column(s, PG_CALL_LOGS, "createdAt")))
		buf_putf(b, " AND m.at IS NOT NULL AND %s <= %lld AND (m.hi IS NULL OR m.at <= m.hi OR m.now - m.at >= %d)", match_far, (long long)CLAIM_WINDOW_MS,
			CLAIM_AFTER_END_MS);
}

#define NO_HOST_ROW_YET "f.\"callLogId\" IS NULL OR f.\"callLogIsOurs\" = 1"

/* Rows with a call's SID ($1), which the one that it has is among. */
void pg_sql_load_host(const struct pg_schema *s, struct buf *b)
{
	buf_puts(b, "SELECT l.\"livekitRoomSid\"::text, l.id::text, ");
	put_column(b, s, PG_CALL_LOGS, "userId", pg_sql_text, "l");
	buf_puts(b, " FROM call_logs l WHERE l.\"livekitRoomSid\" = ANY ($1::text[]) ORDER BY l.id");
}

/* Rows without a SID that have a call's name, the nearest first. $1 SIDs, $2 names, $3 starts, $4 now, $5 the SIDs whose names only call_facts
 * knows. */
void pg_sql_load_host_names(const struct pg_schema *s, struct buf *b)
{
	buf_puts(b, "SELECT t.sid, h.id, h.user_id FROM (SELECT DISTINCT \"livekitRoomName\"::text AS name FROM call_logs"
		" WHERE \"livekitRoomSid\" IS NULL AND \"livekitRoomName\" = ANY ($2::text[] ||"
		"  ARRAY(SELECT f.\"roomName\" FROM call_facts f WHERE f.\"roomSid\" = ANY ($5::text[])))) w"
		" CROSS JOIN unnest($1::text[], $2::text[], $3::int8[]) t (sid, name, start_ms)"
		" LEFT JOIN call_facts f ON f.\"roomSid\" = t.sid"
		" CROSS JOIN LATERAL (SELECT l.id AS own_id, l.id::text AS id, ");
	put_column(b, s, PG_CALL_LOGS, "userId", pg_sql_text, "l");
	buf_putf(b, " AS user_id, coalesce(%s, 0) AS far FROM call_logs l", match_far);
	put_match_lateral(b, s, "least(f.\"roomStartedAtMs\", t.start_ms)", "$4::int8");
	buf_puts(b, " WHERE l.\"livekitRoomSid\" IS NULL AND l.\"livekitRoomName\" = w.name");
	put_match(b, s);
	buf_putf(b, " ORDER BY %s, l.id LIMIT %d) h WHERE coalesce(f.\"roomName\", t.name) = w.name"
		" ORDER BY h.far, t.sid, h.own_id", match_far, PG_CANDIDATES);
}

/* The partial indexes' own words, so that the planner can use them. */
const char *pg_sql_is_aside(const struct pg_schema *s)
{
	return pg_column(s, PG_JOURNAL, "processed")->class == PG_BOOL ? "NOT e.processed" : "e.processed = 0";
}

/* May name an event twice, for two calls of one name; ordered, so that they are neighbours. One that another node is about to bind is its. */
void pg_sql_load_unbound(const struct pg_schema *s, struct buf *b)
{
	buf_puts(b, "SELECT e.\"eventId\"::text, e.\"roomName\"::text, ");
	put_column(b, s, PG_JOURNAL, "rawPayload", pg_sql_text, "e");
	buf_puts(b, ", e.source::text, e.\"keyId\"::text, x.at_s, x.created"
		" FROM unnest($1::text[], $2::text[], $3::int8[]) t (sid, name, start_ms) LEFT JOIN call_facts f ON f.\"roomSid\" = t.sid"
		" JOIN livekit_call_events e ON e.\"roomName\" = coalesce(f.\"roomName\", t.name) AND e.\"roomSid\" IS NULL"
		" CROSS JOIN LATERAL (SELECT ");
	put_column(b, s, PG_JOURNAL, "timestamp", pg_sql_int8, "e");
	buf_puts(b, " AS at_s, ");
	put_column(b, s, PG_JOURNAL, "createdAt", pg_sql_time, "e");
	buf_puts(b, " AS created) x CROSS JOIN LATERAL (SELECT coalesce(x.at_s::float8, floor(extract(epoch FROM x.created)::float8)) * 1000 AS at_ms) y"
		" WHERE ");
	buf_puts(b, pg_sql_is_aside(s));
	buf_puts(b, " AND (e.\"userId\" IS NULL OR f.\"userId\" IS NULL OR ");
	put_column(b, s, PG_JOURNAL, "userId", pg_sql_text, "e");
	buf_puts(b, " = f.\"userId\")");
	buf_putf(b, " AND e.source IS NOT NULL AND e.\"errorMessage\" = '" STORE_WAITS "' AND (least(f.\"roomStartedAtMs\", t.start_ms) IS NULL OR least(f.\"roomStartedAtMs\", t.start_ms) <= y.at_ms + %d)"
		" AND (f.\"endedAtMs\" IS NULL OR f.\"endedAtMs\" >= y.at_ms - %d) ORDER BY x.created, e.\"eventId\" LIMIT $4::int8"
		" FOR UPDATE OF e SKIP LOCKED", SPAN_SLACK_MS, STORE_MARK_LATE_S * 1000);
}

/* Rows of the host without a SID, from a name on ($1), each with the nearest call that it may belong to; $3: calls to leave alone, $4: now. */
void pg_sql_due_names(const struct pg_schema *s, struct buf *b)
{
	buf_puts(b, "SELECT l.\"livekitRoomName\"::text, k.sid FROM (SELECT * FROM call_logs WHERE \"livekitRoomSid\" IS NULL"
		" AND \"livekitRoomName\" > $1::text ORDER BY \"livekitRoomName\" FETCH FIRST ($2::int8) ROWS WITH TIES) l"
		" LEFT JOIN LATERAL (SELECT f.\"roomSid\" AS sid FROM call_facts f");
	put_match_lateral(b, s, "f.\"roomStartedAtMs\"", "$4::int8");
	buf_puts(b, " WHERE f.\"roomName\" = l.\"livekitRoomName\" AND (" NO_HOST_ROW_YET ") AND f.\"roomSid\" <> ALL ($3::text[])");
	put_match(b, s);
	buf_putf(b, " ORDER BY %s, f.\"roomSid\" LIMIT 1) k ON true ORDER BY 1", match_far);
}

/* Calls without a row, from a SID on, and whether the host has one with that SID by now. */
void pg_sql_due_sids(const struct pg_schema *s, struct buf *b)
{
	(void)s;
	buf_puts(b, "SELECT f.\"roomSid\", (SELECT true FROM call_logs l WHERE l.\"livekitRoomSid\" = f.\"roomSid\" LIMIT 1) IS NOT NULL"
		" AND f.\"roomSid\" <> ALL ($3::text[]) FROM call_facts f WHERE f.\"callLogId\" IS NULL AND f.\"roomSid\" > $1::text"
		" ORDER BY f.\"roomSid\" LIMIT $2::int8");
}

/* Calls with events that nobody owns, from a SID on, and whether the host's row names a tenant by now. */
void pg_sql_due_tenants(const struct pg_schema *s, struct buf *b)
{
	buf_puts(b, "SELECT e.sid::text, (SELECT true FROM call_facts f JOIN call_logs l ON l.id = ");
	put_column(b, s, PG_CALL_LOGS, "id", pg_sql_to_compare, "f.\"callLogId\"");
	buf_puts(b, " WHERE f.\"roomSid\" = e.sid AND f.\"userId\" IS NULL AND f.\"callLogIsOurs\" = 0 AND l.\"userId\" IS NOT NULL LIMIT 1) IS NOT NULL"
		" AND e.sid <> ALL ($3::text[]) FROM (SELECT j.\"roomSid\" AS sid FROM livekit_call_events j WHERE j.\"userId\" IS NULL"
		" AND j.\"roomSid\" > $1::text ORDER BY j.\"roomSid\" LIMIT $2::int8) e");
}

void pg_sql_count(const struct pg_schema *s, struct buf *b)
{
	buf_puts(b, "SELECT (SELECT count(*) FROM call_facts WHERE outcome IS NULL),"
		" (SELECT count(*) FROM livekit_call_events e WHERE ");
	buf_puts(b, pg_sql_is_aside(s));
	buf_puts(b, " AND e.source IS NOT NULL), (SELECT ");
	put_column(b, s, PG_JOURNAL, "timestamp", pg_sql_int8, "e");
	buf_puts(b, " * 1000 FROM livekit_call_events e WHERE e.\"eventId\" = '" STORE_PRUNED_ID "')");
}
