/* A person found and forgotten in PostgreSQL: what base/person.h says of a text is said once more as a regular expression, which the server looks for
 * in every text column that it has of our tables. Threads: the one that owns the struct store. */
#include "store/postgres.h"

#include <stdlib.h>

#define LOOK_MS 3600000

static struct pg_store *store_of(struct store *s) { return (struct pg_store *)s; }

static const char *const our_tables[] = { "livekit_call_events", "call_facts", "call_legs", "call_revisions" };

static struct pg_params *fresh_params(struct pg_store *s)
{
	pg_params_clear(&s->pg.params);
	return &s->pg.params;
}

/* ---- the expression ---- */

static void put_literally(struct buf *b, struct slice s)
{
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];
		bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c >= 0x80;
		if (!plain)
			buf_putc(b, '\\');
		buf_putc(b, s.p[i]);
	}
}

/* For advanced regular expressions (PostgreSQL 9.7.3). */
static void put_expression(struct buf *b, const struct person *p)
{
	for (size_t i = 0; i < p->digits.n; i++) {
		buf_puts(b, i ? "[ ./()-]{0,2}" : "(?:(?<![0-9])(?:00[ ./()-]{0,2})?)");
		buf_putc(b, p->digits.p[i]);
	}
	if (p->digits.n) {
		buf_puts(b, "(?![0-9])");
		return;
	}
	buf_puts(b, "(?:^|[\"\\\\\\t\\n])(?:");
	for (size_t i = 0; i < p->word_count; i++) {
		buf_puts(b, i ? "|" : "");
		put_literally(b, p->words[i]);
	}
	buf_puts(b, ")(?:$|[\"\\\\\\t\\n])");
}

/* $1, and $2 the tenant. */
static int begin_params(struct pg_store *s, const struct person *p)
{
	_cleanup_buf_ struct buf expression = BUF_INIT;
	struct pg_params *params = fresh_params(s);
	put_expression(&expression, p);
	if (buf_failed(&expression))
		return OC_NOMEM;
	pg_param_text(params, buf_slice(&expression));
	pg_param_text(params, p->user.n ? p->user : SLICE_NONE);
	return 0;
}

static void set_timeout(struct pg_store *s, int timeout_ms)
{
	s->pg.timeout_ms = timeout_ms;
	if (s->pg.batch_until_ms)
		s->pg.batch_until_ms = pg_now_ms() + timeout_ms;
}

/* What looks through whole tables may take its time: no call is locked meanwhile. Gives the timeout that was, for set_timeout. */
static int let_take_time(struct pg_store *s, int *ret_timeout_ms)
{
	_cleanup_buf_ struct buf sql = BUF_INIT;
	*ret_timeout_ms = s->pg.timeout_ms;
	set_timeout(s, LOOK_MS);
	fresh_params(s);
	buf_puts(&sql, "SELECT set_config('statement_timeout', '0', true), set_config('enable_seqscan', 'on', true)");
	return pg_ask_text(s, &sql, NULL);
}

/* ---- columns ---- */

struct column {
	const char *table;
	struct slice name; /* quoted */
	bool bytes, required;
};

struct columns {
	struct column *all;
	size_t count;
};

/* Every column that may have a text in it, but for the digits of "bodyHash". */
static int read_columns(struct pg_store *s, struct arena *a, struct columns *ret)
{
	_cleanup_buf_ struct buf sql = BUF_INIT;
	_cleanup_pg_ PGresult *res = NULL;
	fresh_params(s);
	buf_puts(&sql, "SELECT v.n::int8, quote_ident(a.attname), t.typname = 'bytea', a.attnotnull FROM (VALUES");
	for (size_t i = 0; i <= sizeof our_tables / sizeof *our_tables; i++)
		buf_putf(&sql, "%s (%zu, '%s')", i ? "," : "", i, i < sizeof our_tables / sizeof *our_tables ? our_tables[i] : "call_logs");
	buf_puts(&sql, ") v (n, name) JOIN pg_attribute a ON a.attrelid = to_regclass(v.name) JOIN pg_type t ON t.oid = a.atttypid"
		" WHERE a.attnum > 0 AND NOT a.attisdropped AND a.attname <> 'bodyHash' AND (t.typcategory IN ('S', 'A')"
		" OR t.typname IN ('json', 'jsonb', 'bytea', 'xml', 'hstore', 'citext')) ORDER BY v.n, a.attnum");
	int r = pg_ask_text(s, &sql, &res);
	size_t count = r == 0 ? (size_t)PQntuples(res) : 0;
	struct column *all = ARENA_ARRAY(a, struct column, count);
	if (!all)
		return OC_NOMEM;
	for (size_t i = 0; i < count && r == 0; i++) {
		size_t table = (size_t)pg_get_int8(res, (int)i, 0);
		all[i] = (struct column){ .table = table < sizeof our_tables / sizeof *our_tables ? our_tables[table] : "call_logs",
			.bytes = pg_get_bool(res, (int)i, 2), .required = pg_get_bool(res, (int)i, 3) };
		r = pg_get_text(res, (int)i, 1, a, &all[i].name);
	}
	*ret = (struct columns){ all, count };
	return r;
}

static void put_match(struct buf *b, const struct column *c)
{
	if (c->bytes)
		buf_putf(b, "encode(x.%.*s, 'escape') ~ $1::text", SLICE_FMT(c->name));
	else
		buf_putf(b, "x.%.*s::text ~ $1::text", SLICE_FMT(c->name));
}

static void put_any(struct buf *b, const struct columns *c, const char *table)
{
	buf_puts(b, "(false");
	for (size_t i = 0; i < c->count; i++)
		if (strcmp(c->all[i].table, table) == 0) {
			buf_puts(b, " OR ");
			put_match(b, &c->all[i]);
		}
	buf_puts(b, ")");
}

/* Of a row in call_logs, what we write. */
static const char *const written[] = { "\"phoneNumber\"", "\"livekitRoomName\"", "\"sipCallId\"", "\"recordingUrl\"" };

static void put_of_call_logs(struct buf *b)
{
	buf_puts(b, "(false");
	for (size_t i = 0; i < sizeof written / sizeof *written; i++)
		buf_putf(b, " OR x.%s::text ~ $1::text", written[i]);
	buf_puts(b, ")");
}

/* ---- what a call has ---- */

static void put_find(struct buf *b, const struct columns *c, const struct person *p)
{
	buf_puts(b, "SELECT CASE WHEN ");
	if (slice_is_none(p->digits)) {
		buf_puts(b, "(SELECT true FROM call_facts f WHERE f.\"roomSid\" = k.sid AND f.\"userId\" = $2::text) OR (NOT EXISTS (SELECT FROM call_facts f"
			" WHERE f.\"roomSid\" = k.sid) AND EXISTS (SELECT FROM livekit_call_events e WHERE e.\"roomSid\" = k.sid AND e.\"userId\"::text = $2::text))"
			" THEN 2 WHEN EXISTS (SELECT FROM call_facts f WHERE f.\"roomSid\" = k.sid AND f.facts ~ $1::text) THEN 1");
	} else {
		buf_puts(b, "EXISTS (SELECT FROM call_logs x WHERE x.\"livekitRoomSid\" = k.sid AND ");
		put_of_call_logs(b);
		buf_puts(b, ")");
		for (size_t i = 0; i < sizeof our_tables / sizeof *our_tables; i++) {
			buf_putf(b, " OR EXISTS (SELECT FROM %s x WHERE x.\"roomSid\" = k.sid AND ", our_tables[i]);
			put_any(b, c, our_tables[i]);
			buf_puts(b, ")");
		}
		buf_puts(b, " OR $2::text IS NOT NULL THEN 2");
	}
	buf_puts(b, " ELSE 0 END::int8 FROM unnest($3::text[]) WITH ORDINALITY k (sid, n) ORDER BY k.n");
}

int pg_person_find(struct store *store, const struct person *p, const struct slice *sids, size_t count, enum person_trace *ret)
{
	struct pg_store *s = store_of(store);
	_cleanup_arena_ struct arena *a = arena_new(8192);
	_cleanup_buf_ struct buf sql = BUF_INIT;
	_cleanup_pg_ PGresult *res = NULL;
	struct columns c;
	int r = a ? read_columns(s, a, &c) : OC_NOMEM;
	if (r == 0)
		r = begin_params(s, p);
	if (r < 0)
		return r;
	pg_param_texts(&s->pg.params, sids, count);
	put_find(&sql, &c, p);
	r = pg_ask_text(s, &sql, &res);
	if (r == 0 && (size_t)PQntuples(res) != count)
		r = OC_RETRY;
	for (size_t i = 0; i < count && r == 0; i++)
		ret[i] = (enum person_trace)pg_get_int8(res, (int)i, 0);
	return r;
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

static int forget_events(struct pg_store *s, const struct person *p, const struct columns *c, size_t most, int64_t *ret)
{
	_cleanup_buf_ struct buf sql = BUF_INIT;
	buf_puts(&sql, "DELETE FROM livekit_call_events WHERE \"eventId\" IN (SELECT x.\"eventId\" FROM livekit_call_events x WHERE ");
	if (slice_is_none(p->digits))
		buf_puts(&sql, "x.\"userId\"::text = $2::text AND $1::text IS NOT NULL");
	else
		put_any(&sql, c, "livekit_call_events");
	buf_putf(&sql, "%s LIMIT %zu)", slice_is_none(p->digits) ? "" : " AND (x.\"roomSid\" IS NULL OR x.source IS NULL) AND $2::text IS NULL", most);
	return run(s, &sql, ret);
}

/* A host's row: what we write into it beside what it requires. */
static int clear_host_rows(struct pg_store *s, const struct person *p, int64_t *ret)
{
	static const char *const cleared[] = { "phoneNumber", "sipCallId", "recordingUrl", "outcome", "duration", "endedAt" };
	const struct pg_column *metadata = pg_column(s->pg.schema, PG_CALL_LOGS, "metadata");
	bool ours = metadata->class == PG_JSONB;
	_cleanup_buf_ struct buf sql = BUF_INIT;
	const char *comma = "";
	buf_puts(&sql, "UPDATE call_logs x SET ");
	if (ours) {
		buf_puts(&sql, "metadata = CASE WHEN jsonb_typeof(x.metadata) = 'object' THEN x.metadata - 'outcomed' ELSE x.metadata END");
		comma = ", ";
	}
	for (size_t i = 0; i < sizeof cleared / sizeof *cleared; i++) {
		const struct pg_column *column = pg_column(s->pg.schema, PG_CALL_LOGS, cleared[i]);
		if (!pg_column_writable(column) || column->not_null)
			continue;
		buf_putf(&sql, "%s\"%s\" = NULL", comma, cleared[i]);
		comma = ", ";
	}
	if (!*comma)
		return 0;
	buf_puts(&sql, " WHERE ");
	if (slice_is_none(p->digits)) {
		buf_puts(&sql, "x.\"userId\"::text = $2::text AND $1::text IS NOT NULL");
	} else {
		put_of_call_logs(&sql);
		buf_puts(&sql, " AND $2::text IS NULL");
	}
	buf_puts(&sql, ours ? " AND (x.metadata ? 'outcomed' OR (x.\"phoneNumber\"::text ~ $1::text) IS TRUE OR (x.\"sipCallId\"::text ~ $1::text) IS TRUE)" :
		" AND x.\"livekitRoomSid\" IS NOT NULL AND x.outcome IS NOT NULL");
	return run(s, &sql, ret);
}

static int forget(struct pg_store *s, const struct person *p, size_t most, struct forgotten *ret, struct arena *a)
{
	static const char *const beside[] = { "call_legs", "call_revisions" };
	_cleanup_buf_ struct buf sql = BUF_INIT;
	int64_t *const counts[] = { &ret->legs, &ret->revisions }, before = ret->events;
	struct columns c;
	int r = read_columns(s, a, &c);
	if (r == 0)
		r = begin_params(s, p);
	if (r == 0)
		r = forget_events(s, p, &c, most, &ret->events);
	if (r == 0 && ret->events - before == (int64_t)most)
		return 1;
	for (size_t i = 0; i < sizeof beside / sizeof *beside && r == 0 && !slice_is_none(p->digits); i++) {
		buf_putf(&sql, "DELETE FROM %s x WHERE $2::text IS NULL AND ", beside[i]);
		put_any(&sql, &c, beside[i]);
		r = run(s, &sql, counts[i]);
	}
	return r < 0 ? r : clear_host_rows(s, p, &ret->host_rows);
}

int pg_person_forget(struct store *store, const struct person *p, size_t most, struct forgotten *ret)
{
	struct pg_store *s = store_of(store);
	_cleanup_arena_ struct arena *a = arena_new(8192);
	int timeout_ms;
	if (!a)
		return OC_NOMEM;
	int r = let_take_time(s, &timeout_ms);
	if (r == 0)
		r = forget(s, p, most, ret, a);
	set_timeout(s, timeout_ms);
	return r;
}

/* ---- the proof ---- */

static int count_in(struct pg_store *s, const struct column *c, int64_t *ret)
{
	_cleanup_buf_ struct buf sql = BUF_INIT;
	_cleanup_pg_ PGresult *res = NULL;
	buf_putf(&sql, "SELECT count(*) FROM %s x WHERE ($2::text IS NULL OR true) AND ", c->table);
	put_match(&sql, c);
	int r = pg_ask_text(s, &sql, &res);
	if (r == 0)
		*ret = pg_get_int8(res, 0, 0);
	return r;
}

static int places_of(struct pg_store *s, const struct person *p, struct arena *a, struct person_place **ret, size_t *ret_count)
{
	struct columns c;
	int r = read_columns(s, a, &c);
	if (r < 0)
		return r;
	struct person_place *places = ARENA_ARRAY(a, struct person_place, c.count + 5);
	size_t count = 0, first = 0;
	if (!places)
		return OC_NOMEM;
	for (size_t i = 0; i < c.count && r == 0; i++) {
		bool host = strcmp(c.all[i].table, "call_logs") == 0, last = i + 1 == c.count || strcmp(c.all[i].table, c.all[i + 1].table) != 0;
		int64_t rows = 0;
		r = begin_params(s, p);
		if (r == 0)
			r = count_in(s, &c.all[i], &rows);
		if (r == 0 && rows)
			places[count++] = (struct person_place){ .table = c.all[i].table, .column = c.all[i].name, .rows = rows, .host = host };
		if (r == 0 && last && count == first)
			places[count++] = (struct person_place){ .table = c.all[i].table, .column = SLICE_NONE, .host = host };
		if (last)
			first = count;
	}
	if (r < 0)
		return r;
	*ret = places;
	*ret_count = count;
	return 0;
}

int pg_person_places(struct store *store, const struct person *p, struct arena *a, struct person_place **ret, size_t *ret_count)
{
	struct pg_store *s = store_of(store);
	int timeout_ms, r = let_take_time(s, &timeout_ms);
	if (r == 0)
		r = places_of(s, p, a, ret, ret_count);
	set_timeout(s, timeout_ms);
	return r;
}

int pg_person_scrub(struct store *store, const struct person *p, bool *ret_rewritten, bool *ret_left)
{
	(void)store;
	(void)p;
	*ret_rewritten = *ret_left = false;
	return 0;
}
