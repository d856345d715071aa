/* What is not to be kept any longer, on PostgreSQL: small statements inside the transaction of a batch, whose advisory locks keep writers away from
 * these calls and from nothing else. Rows of the journal that outcomed did not write (no source) are the older module's, and stay.
 * Threads: the one that owns the struct store. */
#include "store/postgres.h"

#include <stdlib.h>

static struct pg_store *store_of(struct store *s) { return (struct pg_store *)s; }

static struct pg_params *fresh_params(struct pg_store *s)
{
	pg_params_clear(&s->pg.params);
	return &s->pg.params;
}

/* ---- what is there ---- */

static void put_kept_sql(struct buf *b, const struct pg_schema *schema)
{
	buf_puts(b, "SELECT u.s, f.\"userId\", f.\"roomSid\" IS NOT NULL, f.outcome IS NOT NULL, CASE WHEN f.\"roomSid\" IS NULL THEN"
		" (SELECT to_timestamp(max(extract(epoch FROM ");
	pg_sql_time(b, pg_column(schema, PG_JOURNAL, "createdAt"), "e");
	buf_puts(b, ")::float8)) FROM livekit_call_events e WHERE e.\"roomSid\" = u.s AND e.source IS NOT NULL)"
		" ELSE coalesce(to_timestamp(f.\"endedAtMs\" / 1000.0), f.\"updatedAt\") END, $3::int8 = 1 AND (SELECT true FROM livekit_call_events e"
		" WHERE e.\"roomSid\" = u.s AND e.source IS NOT NULL AND (e.\"rawPayload\" IS NOT NULL OR e.\"rawBody\" IS NOT NULL) LIMIT 1) IS NOT NULL"
		" FROM (SELECT x.s FROM (SELECT \"roomSid\"::text AS s FROM call_facts WHERE \"roomSid\" > $1::text ORDER BY \"roomSid\" LIMIT $2::int8) x UNION"
		" SELECT j.s FROM (SELECT DISTINCT \"roomSid\"::text AS s FROM livekit_call_events WHERE \"roomSid\" > $1::text AND source IS NOT NULL"
		" ORDER BY 1 LIMIT $2::int8) j) u LEFT JOIN call_facts f ON f.\"roomSid\" = u.s ORDER BY u.s LIMIT $2::int8");
}

int pg_kept_calls(struct store *store, struct slice after, size_t limit, bool ask_payloads, struct arena *a, struct kept_call **ret, size_t *ret_count,
	struct slice *ret_last)
{
	struct pg_store *s = store_of(store);
	struct pg_params *p = fresh_params(s);
	_cleanup_buf_ struct buf sql = BUF_INIT;
	_cleanup_pg_ PGresult *res = NULL;

	pg_param_text(p, after.n ? after : SLICE(""));
	pg_param_int8(p, (int64_t)limit);
	pg_param_int8(p, ask_payloads);
	put_kept_sql(&sql, s->pg.schema);
	int r = pg_ask_text(s, &sql, &res);
	size_t count = r == 0 ? (size_t)PQntuples(res) : 0;
	struct kept_call *kept = ARENA_ARRAY(a, struct kept_call, count);
	if (!kept)
		return OC_NOMEM;
	for (size_t i = 0; i < count && r == 0; i++) {
		int row = (int)i;
		r = pg_get_text(res, row, 0, a, &kept[i].room_sid);
		if (r == 0)
			r = pg_get_text(res, row, 1, a, &kept[i].user_id);
		kept[i].has_row = pg_get_bool(res, row, 2);
		kept[i].ended = !kept[i].has_row || pg_get_bool(res, row, 3);
		kept[i].at_ms = pg_get_time_ms(res, row, 4);
		kept[i].has_payloads = pg_get_bool(res, row, 5);
	}
	if (r < 0)
		return r;
	*ret = kept;
	*ret_count = count;
	*ret_last = count < limit ? SLICE_NONE : kept[count - 1].room_sid;
	return 0;
}

/* ---- what goes ---- */

static int run(struct pg_store *s, struct buf *sql, int64_t *ret_rows)
{
	_cleanup_pg_ PGresult *res = NULL;
	int r = pg_ask_text(s, sql, &res);
	if (r == 0)
		*ret_rows += strtoll(PQcmdTuples(res), NULL, 10);
	buf_clear(sql);
	return r;
}

static const char events_of_calls[] = "SELECT e.\"eventId\" FROM livekit_call_events e WHERE e.\"roomSid\" = ANY ($1::text[]) AND e.source IS NOT NULL";

/* The statements after the events; each has the room SIDs as its parameter. */
static int forget_rows(struct pg_store *s, const struct slice *sids, size_t count, struct forgotten *f)
{
	_cleanup_buf_ struct buf sql = BUF_INIT;
	pg_param_texts(fresh_params(s), sids, count);
	buf_puts(&sql, "DELETE FROM call_logs l USING call_facts f WHERE f.\"roomSid\" = ANY ($1::text[]) AND f.\"callLogIsOurs\" = 1"
		" AND l.\"livekitRoomSid\" = f.\"roomSid\" AND l.id = ");
	pg_sql_to_compare(&sql, pg_column(s->pg.schema, PG_CALL_LOGS, "id"), "f.\"callLogId\"");
	int r = run(s, &sql, &f->call_logs);
	const struct {
		const char *table;
		int64_t *count;
	} steps[] = { { "call_legs", &f->legs }, { "call_revisions", &f->revisions }, { "call_facts", &f->facts } };
	for (size_t i = 0; i < sizeof steps / sizeof *steps && r == 0; i++) {
		buf_putf(&sql, "DELETE FROM %s WHERE \"roomSid\" = ANY ($1::text[])", steps[i].table);
		r = run(s, &sql, steps[i].count);
	}
	return r;
}

int pg_forget_calls(struct store *store, const struct slice *sids, size_t count, size_t most, struct forgotten *ret)
{
	struct pg_store *s = store_of(store);
	_cleanup_buf_ struct buf sql = BUF_INIT;
	int64_t gone = 0;

	pg_param_texts(fresh_params(s), sids, count);
	buf_putf(&sql, "DELETE FROM livekit_call_events WHERE \"eventId\" IN (%s LIMIT %zu)", events_of_calls, most);
	int r = run(s, &sql, &gone);
	if (r < 0)
		return r;
	ret->events += gone;
	return gone == (int64_t)most ? 1 : forget_rows(s, sids, count, ret);
}

#define HAS_PAYLOAD " AND (e.\"rawPayload\" IS NOT NULL OR e.\"rawBody\" IS NOT NULL)"

int pg_forget_payloads(struct store *store, const struct slice *sids, size_t count, size_t most, struct forgotten *ret)
{
	struct pg_store *s = store_of(store);
	_cleanup_buf_ struct buf sql = BUF_INIT;
	int64_t gone = 0;

	pg_param_texts(fresh_params(s), sids, count);
	buf_putf(&sql, "UPDATE livekit_call_events SET \"rawPayload\" = NULL, \"rawBody\" = NULL WHERE \"eventId\" IN (%s" HAS_PAYLOAD " LIMIT %zu)",
		events_of_calls, most);
	int r = run(s, &sql, &gone);
	ret->payloads += gone;
	return r < 0 ? r : gone == (int64_t)most;
}

int pg_move_pruned(struct store *store, int64_t before_ms)
{
	struct pg_store *s = store_of(store);
	const struct pg_column *at = pg_column(s->pg.schema, PG_JOURNAL, "timestamp");
	_cleanup_buf_ struct buf sql = BUF_INIT;
	int64_t rows = 0;

	pg_param_int8(fresh_params(s), before_ms / 1000);
	buf_puts(&sql, "UPDATE livekit_call_events e SET timestamp = ");
	pg_sql_from_int8(&sql, at, "$1::int8");
	buf_puts(&sql, " WHERE e.\"eventId\" = '" STORE_PRUNED_ID "' AND ");
	pg_sql_int8(&sql, at, "e");
	buf_puts(&sql, " < $1::int8");
	return run(s, &sql, &rows);
}

static void put_strays(struct buf *b, const struct pg_schema *schema)
{
	buf_puts(b, " WHERE \"eventId\" IN (SELECT e.\"eventId\" FROM livekit_call_events e WHERE e.\"roomSid\" IS NULL AND e.source IS NOT NULL"
		" AND e.\"eventId\" <> '" STORE_PRUNED_ID "' AND ");
	pg_sql_time(b, pg_column(schema, PG_JOURNAL, "createdAt"), "e");
	buf_puts(b, " < to_timestamp($1::int8 / 1000.0) AND ($2::text IS NULL OR ");
	pg_sql_text(b, pg_column(schema, PG_JOURNAL, "userId"), "e");
	buf_puts(b, " = $2::text)");
}

int pg_forget_strays(struct store *store, int64_t before_ms, struct slice user, bool payloads_only, size_t most, struct forgotten *ret)
{
	struct pg_store *s = store_of(store);
	struct pg_params *p = fresh_params(s);
	_cleanup_buf_ struct buf sql = BUF_INIT;
	int64_t gone = 0;

	pg_param_int8(p, before_ms);
	pg_param_text(p, user.n ? user : SLICE_NONE);
	if (payloads_only)
		buf_puts(&sql, "UPDATE livekit_call_events SET \"rawPayload\" = NULL, \"rawBody\" = NULL, \"errorMessage\" = CASE \"errorMessage\""
			" WHEN '" STORE_WAITS "' THEN '" STORE_STRIPPED "' ELSE \"errorMessage\" END");
	else
		buf_puts(&sql, "DELETE FROM livekit_call_events");
	put_strays(&sql, s->pg.schema);
	buf_putf(&sql, "%s LIMIT %zu)", payloads_only ? HAS_PAYLOAD : "", most);
	int r = run(s, &sql, &gone);
	*(payloads_only ? &ret->payloads : &ret->events) += gone;
	return r < 0 ? r : gone == (int64_t)most;
}
