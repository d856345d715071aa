/* The journal read again: pages of rooms, their calls as stored, their events one by one, and what lies aside without a room.
 *
 * A replay that looks has a snapshot of its own (REPEATABLE READ, READ ONLY) and takes no lock; one that mends is inside a batch. The journal
 * comes by a cursor, FETCH_ROWS at a time, and a payload of more than LARGE_BYTES by itself, so that memory stays bounded however many and
 * large a call's events are. Threads: the one that owns the struct store. */
#include "store/postgres.h"

#define FETCH_ROWS 256
#define LARGE_BYTES 65536

static struct pg_store *store_of(struct store *s) { return (struct pg_store *)s; }

/* One statement and its answer; on failure the caller aborts, which takes the rest. */
int pg_ask_text(struct pg_store *s, struct buf *sql, PGresult **ret)
{
	struct pg *c = &s->pg;
	int64_t deadline = pg_deadline(c);

	buf_putc(sql, '\0');
	if (buf_failed(sql))
		return OC_NOMEM;
	int r = pg_send_sql(c, sql->p, &c->params);
	if (r == 0)
		r = pg_sync(c);
	if (r == 0)
		r = pg_expect(c, deadline, ret);
	if (r == 0)
		r = pg_expect_sync(c, deadline);
	return r < 0 ? pg_batch_error(s, r) : 0;
}

static struct pg_params *fresh_params(struct pg_store *s)
{
	pg_params_clear(&s->pg.params);
	return &s->pg.params;
}

static int begin(struct pg *c)
{
	int64_t deadline = pg_deadline(c);
	int r = pg_ready(c);

	pg_params_clear(&c->params);
	if (r == 0)
		r = pg_send_sql(c, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", &c->params);
	pg_param_int8(&c->params, c->timeout_ms);
	if (r == 0)
		r = pg_send(c, PG_STMT_SETTINGS, &c->params);
	if (r == 0)
		r = pg_sync(c);
	if (r == 0)
		r = pg_expect(c, deadline, NULL);
	if (r == 0)
		r = pg_expect(c, deadline, NULL);
	return r < 0 ? r : pg_expect_sync(c, deadline);
}

int pg_replay_begin(struct store *store)
{
	struct pg_store *s = store_of(store);

	pg_batch_abort(store);
	int r = begin(&s->pg);
	if (r < 0) {
		pg_recover(&s->pg);
		return pg_batch_error(s, r);
	}
	s->in_batch = true;
	return 0;
}

int pg_replay_count(struct store *store, int64_t *ret)
{
	_cleanup_buf_ struct buf sql = BUF_INIT;
	_cleanup_pg_ PGresult *res = NULL;

	fresh_params(store_of(store));
	buf_puts(&sql, "SELECT count(*) FROM call_facts");
	int r = pg_ask_text(store_of(store), &sql, &res);
	if (r == 0)
		*ret = pg_get_int8(res, 0, 0);
	return r;
}

int pg_replay_find(struct store *store, struct slice call_id, struct arena *a, struct slice *ret_sid)
{
	struct pg_store *s = store_of(store);
	_cleanup_buf_ struct buf sql = BUF_INIT;
	_cleanup_pg_ PGresult *res = NULL;

	pg_param_text(fresh_params(s), call_id);
	buf_puts(&sql, "(SELECT \"roomSid\"::text FROM call_facts WHERE \"roomSid\" = $1::text) UNION ALL"
		" (SELECT \"roomSid\"::text FROM livekit_call_events WHERE \"roomSid\" = $1::text AND source IS NOT NULL LIMIT 1) UNION ALL"
		" (SELECT \"livekitRoomSid\"::text FROM call_logs WHERE \"livekitRoomSid\" IS NOT NULL AND id = ");
	pg_sql_to_compare(&sql, pg_column(s->pg.schema, PG_CALL_LOGS, "id"), "$1::text");
	buf_puts(&sql, ") LIMIT 1");
	int r = pg_ask_text(s, &sql, &res);
	if (r < 0)
		return r;
	return PQntuples(res) ? pg_get_text(res, 0, 0, a, ret_sid) : OC_NOT_FOUND;
}

int pg_replay_rooms(struct store *store, struct slice after, int64_t since_ms, size_t limit, struct arena *a, struct slice **ret_sids,
	size_t *ret_count, struct slice *ret_last)
{
	struct pg_store *s = store_of(store);
	struct pg_params *p = fresh_params(s);
	_cleanup_buf_ struct buf sql = BUF_INIT;
	_cleanup_pg_ PGresult *res = NULL;
	struct slice *sids = ARENA_ARRAY(a, struct slice, limit), last = SLICE_NONE;
	size_t count = 0;

	if (!sids)
		return OC_NOMEM;
	pg_param_text(p, after.n ? after : SLICE(""));
	pg_param_int8(p, (int64_t)limit);
	pg_param_int8(p, since_ms);
	buf_puts(&sql, "SELECT u.s, $3::int8 = 0 OR (SELECT true FROM livekit_call_events e WHERE e.\"roomSid\" = u.s AND e.source IS NOT NULL AND ");
	pg_sql_time(&sql, pg_column(s->pg.schema, PG_JOURNAL, "createdAt"), "e");
	buf_puts(&sql, " >= to_timestamp($3::int8 / 1000.0) LIMIT 1) IS NOT NULL FROM ("
		"SELECT f.s FROM (SELECT \"roomSid\"::text AS s FROM call_facts WHERE \"roomSid\" > $1::text ORDER BY \"roomSid\" LIMIT $2::int8) f UNION"
		" SELECT j.s FROM (SELECT DISTINCT \"roomSid\"::text AS s FROM livekit_call_events WHERE \"roomSid\" > $1::text ORDER BY 1 LIMIT $2::int8) j"
		") u ORDER BY u.s LIMIT $2::int8");
	int r = pg_ask_text(s, &sql, &res);
	for (int row = 0; r == 0 && row < PQntuples(res); row++) {
		r = pg_get_text(res, row, 0, a, &last);
		if (r == 0 && pg_get_bool(res, row, 1))
			sids[count++] = last;
	}
	if (r < 0)
		return r;
	*ret_sids = sids;
	*ret_count = count;
	*ret_last = (size_t)PQntuples(res) < limit ? SLICE_NONE : last;
	return 0;
}

/* ---- calls ---- */

static int take_call(const PGresult *res, int row, struct arena *a, struct replay_call *c)
{
	struct call_row *w = &c->row;
	struct slice *const texts[] = { &w->room_name, &w->facts, &w->verdict, &w->outcome, &w->user_id, &w->tenant_error, &w->call_log_id,
		&w->host_user_id };
	int n = (int)(sizeof texts / sizeof *texts);

	for (int i = 0; i < n; i++) {
		int r = pg_get_text(res, row, i, a, texts[i]);
		if (r < 0)
			return r;
	}
	w->rules = (unsigned)pg_get_int8(res, row, n);
	w->revision = pg_get_int8(res, row, n + 1);
	w->call_log_is_ours = pg_get_int8(res, row, n + 2) != 0;
	w->started_at_ms = pg_get_int8(res, row, n + 3);
	w->ended_at_ms = pg_get_int8(res, row, n + 4);
	w->due_at_ms = pg_get_int8(res, row, n + 5);
	w->watch_at_ms = pg_get_int8(res, row, n + 6);
	w->room_started_at_ms = pg_get_int8(res, row, n + 7);
	c->kept_revision = pg_get_int8(res, row, n + 8);
	w->exists = pg_get_bool(res, row, n + 9);
	return 0;
}

int pg_replay_calls(struct store *store, const struct slice *sids, size_t count, struct arena *a, struct replay_call *ret)
{
	struct pg_store *s = store_of(store);
	const struct pg_schema *schema = s->pg.schema;
	_cleanup_buf_ struct buf sql = BUF_INIT;
	_cleanup_pg_ PGresult *res = NULL;

	pg_param_texts(fresh_params(s), sids, count);
	buf_puts(&sql, "SELECT f.\"roomName\", f.facts, f.verdict::text, f.outcome, f.\"userId\", f.\"tenantError\", f.\"callLogId\","
		" CASE WHEN f.\"callLogIsOurs\" = 0 THEN (SELECT ");
	pg_sql_text(&sql, pg_column(schema, PG_CALL_LOGS, "userId"), "l");
	buf_puts(&sql, " FROM call_logs l WHERE l.id = ");
	pg_sql_to_compare(&sql, pg_column(schema, PG_CALL_LOGS, "id"), "f.\"callLogId\"");
	buf_puts(&sql, " LIMIT 1) END, f.rules::int8, f.revision, f.\"callLogIsOurs\"::int8, f.\"startedAtMs\", f.\"endedAtMs\", f.\"dueAtMs\", f.\"watchAtMs\","
		" f.\"roomStartedAtMs\", (SELECT max(r.revision) FROM call_revisions r WHERE r.\"roomSid\" = t.sid), f.\"roomSid\" IS NOT NULL"
		" FROM unnest($1::text[]) WITH ORDINALITY t (sid, n) LEFT JOIN call_facts f ON f.\"roomSid\" = t.sid ORDER BY t.n");
	int r = pg_ask_text(s, &sql, &res);
	if (r == 0 && (size_t)PQntuples(res) != count)
		r = OC_RETRY;
	for (size_t i = 0; i < count && r == 0; i++) {
		ret[i] = (struct replay_call){ .row.room_sid = sids[i] };
		r = take_call(res, (int)i, a, &ret[i]);
	}
	return r;
}

int pg_replay_legs(struct store *store, struct replay_leg *legs, size_t count)
{
	struct pg_store *s = store_of(store);
	struct pg_params *p = fresh_params(s);
	_cleanup_buf_ struct buf sql = BUF_INIT;
	_cleanup_pg_ PGresult *res = NULL;

	struct buf *b = pg_param_array(p, PG_ELEMENT_TEXT, count);
	for (size_t i = 0; i < count; i++)
		pg_put_bytes(b, legs[i].call_id);
	b = pg_param_array(p, PG_ELEMENT_TEXT, count);
	for (size_t i = 0; i < count; i++)
		pg_put_bytes(b, legs[i].room_sid);
	buf_puts(&sql, "SELECT l.\"roomSid\" IS NOT NULL FROM unnest($1::text[], $2::text[]) WITH ORDINALITY t (id, sid, n)"
		" LEFT JOIN call_legs l ON l.\"sipCallId\" = t.id AND l.\"roomSid\" = t.sid ORDER BY t.n");
	int r = pg_ask_text(s, &sql, &res);
	if (r == 0 && (size_t)PQntuples(res) != count)
		r = OC_RETRY;
	for (size_t i = 0; i < count && r == 0; i++)
		legs[i].known = pg_get_bool(res, (int)i, 0);
	return r;
}

/* ---- the journal ---- */

enum { COL_LARGE = 10, COL_PROCESSED, COL_CREATED };

static void put_journal_columns(struct buf *b, const struct pg_schema *s)
{
	const struct pg_column *body = pg_column(s, PG_JOURNAL, "rawBody"), *processed = pg_column(s, PG_JOURNAL, "processed");

	buf_puts(b, "e.\"eventId\"::text, e.event::text, e.\"roomName\"::text, e.\"roomSid\"::text, CASE WHEN NOT x.large THEN x.payload END,"
		" CASE WHEN NOT x.large THEN x.body END, e.\"errorMessage\"::text, e.source::text, e.\"keyId\"::text, e.\"userId\"::text, x.large, ");
	buf_puts(b, processed->class == PG_BOOL ? "e.processed, " : "e.processed <> 0, ");
	pg_sql_time(b, pg_column(s, PG_JOURNAL, "createdAt"), "e");
	buf_puts(b, " FROM livekit_call_events e CROSS JOIN LATERAL (SELECT y.payload, y.body, coalesce(octet_length(y.payload), 0)"
		" + coalesce(octet_length(y.body), 0) > ");
	buf_putf(b, "%d AS large FROM (SELECT ", LARGE_BYTES);
	pg_sql_text(b, pg_column(s, PG_JOURNAL, "rawPayload"), "e");
	buf_putf(b, " AS payload, %s AS body OFFSET 0) y) x", body->class == PG_BYTEA ? "e.\"rawBody\"" : "NULL::bytea");
}

static int fetch_large(struct pg_store *s, struct arena *a, struct journal_row *e)
{
	const struct pg_column *body = pg_column(s->pg.schema, PG_JOURNAL, "rawBody");
	_cleanup_buf_ struct buf sql = BUF_INIT;
	_cleanup_pg_ PGresult *res = NULL;

	pg_param_text(fresh_params(s), e->event_id);
	buf_puts(&sql, "SELECT ");
	pg_sql_text(&sql, pg_column(s->pg.schema, PG_JOURNAL, "rawPayload"), "e");
	buf_putf(&sql, ", %s FROM livekit_call_events e WHERE e.\"eventId\" = $1::text", body->class == PG_BYTEA ? "e.\"rawBody\"" : "NULL::bytea");
	int r = pg_ask_text(s, &sql, &res);
	if (r < 0 || PQntuples(res) == 0)
		return r;
	r = pg_get_text(res, 0, 0, a, &e->payload);
	return r < 0 ? r : pg_get_text(res, 0, 1, a, &e->raw_body);
}

static int take_event(struct pg_store *s, const PGresult *res, int row, struct arena *a, struct journal_row *ret)
{
	struct journal_row e = { .event_id = SLICE_NONE };
	struct slice *const texts[] = { &e.event_id, &e.event, &e.room_name, &e.room_sid, &e.payload, &e.raw_body, &e.error_message, &e.source, &e.key_id,
		&e.user_id };

	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
		int r = pg_get_text(res, row, (int)i, a, texts[i]);
		if (r < 0)
			return r;
	}
	e.processed = pg_get_bool(res, row, COL_PROCESSED);
	e.created_at_ms = pg_get_time_ms(res, row, COL_CREATED);
	int r = pg_get_bool(res, row, COL_LARGE) ? fetch_large(s, a, &e) : 0;
	if (r == 0)
		*ret = e;
	return r;
}

int pg_journal_open(struct store *store, const struct slice *sids, size_t count)
{
	struct pg_store *s = store_of(store);
	_cleanup_buf_ struct buf sql = BUF_INIT;

	pg_journal_close(store);
	pg_param_texts(fresh_params(s), sids, count);
	buf_puts(&sql, "DECLARE oc_journal NO SCROLL CURSOR FOR SELECT ");
	put_journal_columns(&sql, s->pg.schema);
	buf_puts(&sql, " WHERE e.\"roomSid\" = ANY ($1::text[]) AND e.source IS NOT NULL ORDER BY e.\"roomSid\"");
	int r = pg_ask_text(s, &sql, NULL);
	if (r == 0)
		s->journal.open = true;
	return r;
}

static int fetch(struct pg_store *s)
{
	_cleanup_buf_ struct buf sql = BUF_INIT;

	PQclear(s->journal.rows);
	s->journal.rows = NULL;
	s->journal.at = 0;
	fresh_params(s);
	buf_putf(&sql, "FETCH %d FROM oc_journal", FETCH_ROWS);
	return pg_ask_text(s, &sql, &s->journal.rows);
}

int pg_journal_next(struct store *store, struct arena *a, struct journal_row *ret)
{
	struct pg_store *s = store_of(store);
	struct pg_journal *j = &s->journal;

	if (!j->open)
		return 0;
	if (!j->rows || j->at == PQntuples(j->rows)) {
		if (j->rows && j->at < FETCH_ROWS)
			return 0;
		int r = fetch(s);
		if (r < 0)
			return r;
		if (PQntuples(j->rows) == 0)
			return 0;
	}
	int r = take_event(s, j->rows, j->at, a, ret);
	if (r < 0)
		return r;
	j->at++;
	return 1;
}

/* After an error the transaction takes the cursor with it. */
void pg_journal_close(struct store *store)
{
	struct pg_store *s = store_of(store);
	_cleanup_buf_ struct buf sql = BUF_INIT;

	PQclear(s->journal.rows);
	if (s->journal.open && s->in_batch && s->pg.conn && PQtransactionStatus(s->pg.conn) == PQTRANS_INTRANS) {
		fresh_params(s);
		buf_puts(&sql, "CLOSE oc_journal");
		if (pg_ask_text(s, &sql, NULL) < 0)
			pg_batch_abort(store);
	}
	s->journal = (struct pg_journal){ .rows = NULL };
}

int pg_journal_strays(struct store *store, int64_t after_ms, struct slice after_id, size_t limit, struct arena *a, struct journal_row **ret,
	size_t *ret_count)
{
	struct pg_store *s = store_of(store);
	struct pg_params *p = fresh_params(s);
	bool flag = pg_column(s->pg.schema, PG_JOURNAL, "processed")->class == PG_BOOL;
	_cleanup_buf_ struct buf sql = BUF_INIT, created = BUF_INIT;
	_cleanup_pg_ PGresult *res = NULL;
	struct journal_row *rows = ARENA_ARRAY(a, struct journal_row, limit);

	if (!rows)
		return OC_NOMEM;
	pg_param_int8(p, after_ms);
	pg_param_text(p, after_id.n ? after_id : SLICE(""));
	pg_param_int8(p, (int64_t)limit);
	pg_sql_time(&created, pg_column(s->pg.schema, PG_JOURNAL, "createdAt"), "e");
	buf_putc(&created, '\0');
	if (buf_failed(&created))
		return OC_NOMEM;
	buf_puts(&sql, "SELECT ");
	put_journal_columns(&sql, s->pg.schema);
	buf_putf(&sql, " WHERE %s AND e.source IS NOT NULL AND e.\"roomSid\" IS NULL AND %s >= to_timestamp($1::int8 / 1000.0)"
		" AND (%s > to_timestamp($1::int8 / 1000.0) OR e.\"eventId\"::text > $2::text) ORDER BY %s, e.\"eventId\"::text LIMIT $3::int8",
		flag ? "NOT e.processed" : "e.processed = 0", created.p, created.p, created.p);
	int r = pg_ask_text(s, &sql, &res);
	size_t count = r == 0 ? (size_t)PQntuples(res) : 0;
	for (size_t i = 0; i < count && r == 0; i++)
		r = take_event(s, res, (int)i, a, &rows[i]);
	if (r < 0)
		return r;
	*ret = rows;
	*ret_count = count;
	return 0;
}
