/* What the database looks like: the version of our tables, and for call_logs, livekit_call_events and call_facts each column's type,
 * NOT NULL, default, enum labels and foreign key. Read by names through the search path, so a schema in the URL works.
 *
 * Also the SQL that turns a value into a column's type and back. What a column cannot hold becomes NULL there and never an error: the
 * syntax of numbers and UUIDs is checked before the cast, an enum takes only its labels, a foreign key only rows that exist.
 * Threads: the one that owns the connection. */
#include "store/postgres.h"

#include <stdio.h>

static const char *const table_names[PG_TABLE_COUNT] = {
	[PG_CALL_LOGS] = "call_logs", [PG_JOURNAL] = "livekit_call_events", [PG_CALL_FACTS] = "call_facts",
};

static const struct {
	const char *name;
	enum pg_class class;
} type_classes[] = {
	{ "text", PG_TEXT }, { "varchar", PG_TEXT }, { "bpchar", PG_TEXT }, { "citext", PG_TEXT }, { "name", PG_TEXT }, { "uuid", PG_UUID },
	{ "int2", PG_INT2 }, { "int4", PG_INT4 }, { "int8", PG_INT8 }, { "bool", PG_BOOL }, { "float4", PG_FLOAT }, { "float8", PG_FLOAT },
	{ "numeric", PG_NUMERIC }, { "interval", PG_INTERVAL }, { "timestamp", PG_TIMESTAMP }, { "timestamptz", PG_TIMESTAMPTZ },
	{ "date", PG_DATE }, { "json", PG_JSON }, { "jsonb", PG_JSONB }, { "bytea", PG_BYTEA },
};

static enum pg_class class_of(struct slice type, struct slice kind)
{
	if (slice_eq_cstr(kind, "e"))
		return PG_ENUM;
	for (size_t i = 0; i < sizeof type_classes / sizeof *type_classes; i++)
		if (slice_eq_cstr(type, type_classes[i].name))
			return type_classes[i].class;
	return PG_OTHER;
}

/* ---- reading it ---- */

static const char columns_sql[] =
	"SELECT t.name, a.attname::text, format_type(a.atttypid, a.atttypmod), coalesce(base.typname, type.typname)::text,"
	" coalesce(base.typtype, type.typtype)::text, a.attnotnull OR type.typnotnull, a.atthasdef OR a.attidentity <> '', a.attgenerated <> '',"
	" CASE WHEN a.attgenerated = '' THEN pg_get_expr(d.adbin, d.adrelid) END,"
	" (SELECT quote_literal(array_agg(e.enumlabel::text)::text) FROM pg_enum e WHERE e.enumtypid = coalesce(base.oid, type.oid)),"
	" fk.rel, fk.col, coalesce(fk.readable, true)"
	" FROM unnest(ARRAY['call_logs', 'livekit_call_events', 'call_facts']) WITH ORDINALITY t (name, n)"
	" JOIN pg_attribute a ON a.attrelid = to_regclass(t.name) AND a.attnum > 0 AND NOT a.attisdropped"
	" JOIN pg_type type ON type.oid = a.atttypid"
	" LEFT JOIN pg_type base ON type.typtype = 'd' AND base.oid = type.typbasetype"
	" LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum"
	" LEFT JOIN LATERAL (SELECT c.confrelid::regclass::text AS rel, quote_ident(k.attname) AS col,"
	"  has_column_privilege(c.confrelid, k.attnum, 'SELECT') AS readable"
	"  FROM pg_constraint c JOIN pg_attribute k ON k.attrelid = c.confrelid AND k.attnum = c.confkey[1]"
	"  WHERE c.contype = 'f' AND c.conrelid = a.attrelid AND c.conkey = ARRAY[a.attnum] ORDER BY c.oid LIMIT 1) fk ON true"
	" ORDER BY t.n, a.attnum";

static const char deferred_sql[] =
	"SELECT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = to_regclass('call_logs') AND tginitdeferred)";

static int read_text(const PGresult *res, int row, int column, struct arena *a, const char **ret)
{
	struct slice s;
	int r = pg_get_text(res, row, column, a, &s);
	if (r == 0)
		*ret = s.p;
	return r;
}

static int read_column(const PGresult *res, int row, struct arena *a, struct pg_column *col)
{
	const struct {
		int column;
		const char **to;
	} texts[] = {
		{ 1, &col->name }, { 2, &col->type }, { 8, &col->default_sql }, { 9, &col->labels }, { 10, &col->fk_table }, { 11, &col->fk_column },
	};

	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
		int r = read_text(res, row, texts[i].column, a, texts[i].to);
		if (r < 0)
			return r;
	}
	col->class = class_of(pg_peek(res, row, 3), pg_peek(res, row, 4));
	col->not_null = pg_get_bool(res, row, 5);
	col->has_default = pg_get_bool(res, row, 6);
	col->generated = pg_get_bool(res, row, 7);
	col->fk_readable = pg_get_bool(res, row, 12);
	return 0;
}

static int read_tables(const PGresult *res, struct arena *a, struct pg_schema *s)
{
	int rows = PQntuples(res);

	for (int row = 0; row < rows; row++) {
		struct pg_table *t = NULL;
		for (size_t i = 0; i < PG_TABLE_COUNT; i++)
			if (slice_eq_cstr(pg_peek(res, row, 0), table_names[i]))
				t = &s->tables[i];
		if (!t)
			continue;
		if (!t->exists) {
			t->exists = true;
			t->columns = ARENA_ARRAY(a, struct pg_column, (size_t)(rows - row));
			if (!t->columns)
				return OC_NOMEM;
		}
		int r = read_column(res, row, a, &t->columns[t->count]);
		if (r < 0)
			return r;
		t->count++;
	}
	return 0;
}

/* The columns of call_logs that we have a value for when we insert a row; `needed` ones must also take it. */
static bool can_fill(const struct pg_column *c)
{
	static const char *const ours[] = {
		"userId", "livekitRoomName", "livekitRoomSid", "direction", "phoneNumber", "sipCallId", "duration", "startedAt", "endedAt", "status",
		"outcome", "recordingUrl", "metadata", "createdAt", "updatedAt",
	};

	if (strcmp(c->name, "id") == 0)
		return c->class == PG_UUID || c->class == PG_TEXT;
	if (!pg_column_writable(c))
		return false;
	for (size_t i = 0; i < sizeof ours / sizeof *ours; i++)
		if (strcmp(c->name, ours[i]) == 0)
			return true;
	return false;
}

/* Can a row of ours be inserted into call_logs? Names the columns that stand in the way. */
static int find_obstacles(struct arena *a, struct pg_schema *s)
{
	_cleanup_buf_ struct buf b = BUF_INIT;
	const struct pg_table *t = &s->tables[PG_CALL_LOGS];

	for (size_t i = 0; i < t->count; i++) {
		const struct pg_column *c = &t->columns[i];
		if (!c->not_null || c->has_default || c->generated || can_fill(c))
			continue;
		buf_putf(&b, "%s\"%s\"", b.n ? ", " : "", c->name);
	}
	if (b.n)
		buf_puts(&b, " NOT NULL without a default");
	else if (!t->exists)
		buf_puts(&b, "the table is missing");
	else if (!pg_column_writable(pg_column(s, PG_CALL_LOGS, "userId")))
		buf_puts(&b, "\"userId\" has a type that no tenant fits");
	s->can_insert = b.n == 0;
	if (s->can_insert)
		return 0;
	s->why_not_insert = buf_failed(&b) ? NULL : arena_dup(a, buf_slice(&b));
	return s->why_not_insert ? 0 : OC_NOMEM;
}

/* A table that our foreign keys point to must be readable, or we could not tell a missing row from one that is there. */
static int check_privileges(struct pg *c, const struct pg_schema *s)
{
	for (size_t i = 0; i < PG_TABLE_COUNT; i++)
		for (size_t k = 0; k < s->tables[i].count; k++) {
			const struct pg_column *col = &s->tables[i].columns[k];
			if (col->fk_readable)
				continue;
			_cleanup_buf_ struct buf b = BUF_INIT;
			buf_putf(&b, "%s.\"%s\" refers to %s, which this role may not read: GRANT SELECT ON %s TO \"%s\"", table_names[i], col->name,
				col->fk_table, col->fk_table, PQuser(c->conn));
			buf_putc(&b, '\0');
			pg_set_error(c, "42501", buf_failed(&b) ? "out of memory" : b.p);
			return OC_SCHEMA;
		}
	return 0;
}

int pg_read_schema(struct pg *c, int64_t deadline)
{
	_cleanup_pg_ PGresult *columns = NULL, *deferred = NULL, *sight = NULL;
	int r = pg_send_sql(c, columns_sql, NULL);

	if (r == 0)
		r = pg_send_sql(c, deferred_sql, NULL);
	if (r == 0)
		r = pg_send_sql(c, pg_sight_sql, NULL);
	if (r == 0)
		r = pg_sync(c);
	if (r == 0)
		r = pg_expect(c, deadline, &columns);
	if (r == 0)
		r = pg_expect(c, deadline, &deferred);
	if (r == 0)
		r = pg_expect(c, deadline, &sight);
	if (r == 0)
		r = pg_expect_sync(c, deadline);
	if (r < 0)
		return r;

	c->schema = NULL;
	arena_reset(c->schema_arena);
	struct pg_schema *s = ARENA_NEW(c->schema_arena, struct pg_schema);
	if (!s)
		return OC_NOMEM;
	s->deferred_constraints = pg_get_bool(deferred, 0, 0);
	s->reads_in_role = pg_get_bool(sight, 0, 0);
	s->sees_nothing = pg_get_bool(sight, 0, 1);
	r = read_tables(columns, c->schema_arena, s);
	if (r == 0)
		r = find_obstacles(c->schema_arena, s);
	if (r == 0)
		r = check_privileges(c, s);
	if (r == 0)
		c->schema = s;
	return r;
}

/* What a failed look at our tables means. */
static int explain_unreadable(struct pg *c, int r)
{
	_cleanup_buf_ struct buf b = BUF_INIT;

	if (strcmp(c->sqlstate, "42P01") == 0)
		pg_set_error(c, "42P01", "this database has no tables of outcomed yet: run `outcomed migrate upgrade`");
	else if (strcmp(c->sqlstate, "42501") == 0) {
		buf_putf(&b, "%s: GRANT SELECT ON outcomed_migrations, outcomed_changes TO \"%s\" (docs/INTEGRATION.md lists what a role needs)", pg_error(c),
			PQuser(c->conn));
		buf_putc(&b, '\0');
		pg_set_error(c, "42501", buf_failed(&b) ? "out of memory" : b.p);
	}
	return r;
}

static int refuse_version(struct pg *c, int64_t version, const char *format)
{
	_cleanup_buf_ struct buf b = BUF_INIT;
	char text[256];

	snprintf(text, sizeof text, format, (long long)version, (long long)postgres_migration_count);
	buf_puts(&b, text);
	buf_putc(&b, '\0');
	pg_set_error(c, "42P01", buf_failed(&b) ? "out of memory" : b.p);
	return OC_SCHEMA;
}

int pg_check_version(struct pg *c, int64_t deadline)
{
	static const char sql[] = "SELECT version::int8, sha256, EXISTS (SELECT FROM outcomed_changes WHERE pending) FROM outcomed_migrations ORDER BY version";
	_cleanup_pg_ PGresult *res = NULL;
	int64_t version = 0, latest = (int64_t)postgres_migration_count;
	bool altered = false, pending = false;
	int r = pg_send_sql(c, sql, NULL);

	if (r == 0)
		r = pg_sync(c);
	if (r == 0)
		r = pg_expect(c, deadline, &res);
	if (r < 0)
		return explain_unreadable(c, r);
	for (int row = 0; row < PQntuples(res); row++) {
		version = pg_get_int8(res, row, 0);
		pending = pg_get_bool(res, row, 2);
		altered |= version >= 1 && version <= latest && !slice_eq_cstr(pg_peek(res, row, 1), postgres_migrations[version - 1].sha256);
	}
	if (version > latest)
		return refuse_version(c, version, "the schema is at version %lld, this outcomed knows %lld: install the newer outcomed");
	if (altered)
		return refuse_version(c, version, "the schema (version %lld) was made by migrations that differ from this outcomed's (checksums in "
			"outcomed_migrations): install the outcomed that made it");
	if (version < latest)
		return refuse_version(c, version, "the schema is at version %lld, this outcomed needs %lld: run `outcomed migrate upgrade`");
	if (pending)
		return refuse_version(c, version, "an upgrade was interrupted (version %lld, indexes are missing): run `outcomed migrate upgrade` again");
	return pg_expect_sync(c, deadline);
}

/* ---- columns ---- */

const struct pg_column *pg_column(const struct pg_schema *s, enum pg_table_id table, const char *name)
{
	static const struct pg_column absent = { .name = "", .type = "text", .class = PG_ABSENT };
	const struct pg_table *t = &s->tables[table];

	for (size_t i = 0; i < t->count; i++)
		if (strcmp(t->columns[i].name, name) == 0)
			return &t->columns[i];
	return &absent;
}

bool pg_column_writable(const struct pg_column *c) { return c->class != PG_ABSENT && c->class != PG_OTHER && !c->generated; }

void pg_sql_from_text(struct buf *b, const struct pg_column *c, const char *expr)
{
	switch (c->class) {
	case PG_TEXT:
		buf_putf(b, "%s::%s", expr, c->type);
		return;
	case PG_UUID:
		buf_putf(b, "CASE WHEN %s ~ '^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$' THEN %s::uuid END", expr, expr);
		return;
	case PG_INT2:
	case PG_INT4:
	case PG_INT8:
	case PG_NUMERIC:
		buf_putf(b, "CASE WHEN %s ~ '^-?[0-9]{1,%d}$' THEN %s::%s END", expr, c->class == PG_INT2 ? 4 : c->class == PG_INT4 ? 9 : 18, expr,
			c->type);
		return;
	case PG_ENUM:
		buf_putf(b, "CASE WHEN %s = ANY (%s::text[]) THEN %s::%s END", expr, c->labels ? c->labels : "'{}'", expr, c->type);
		return;
	case PG_JSON:
	case PG_JSONB:
		buf_putf(b, "%s::%s", expr, c->type);
		return;
	case PG_BYTEA:
		buf_putf(b, "convert_to(%s, 'UTF8')", expr);
		return;
	case PG_ABSENT:
	case PG_BOOL:
	case PG_FLOAT:
	case PG_INTERVAL:
	case PG_TIMESTAMP:
	case PG_TIMESTAMPTZ:
	case PG_DATE:
	case PG_OTHER:
		break;
	}
	buf_putf(b, "NULL::%s", c->type);
}

void pg_sql_from_time(struct buf *b, const struct pg_column *c, const char *expr)
{
	switch (c->class) {
	case PG_TIMESTAMPTZ:
		buf_puts(b, expr);
		return;
	case PG_TIMESTAMP:
	case PG_DATE:
		buf_putf(b, "(%s AT TIME ZONE 'UTC')::%s", expr, c->type);
		return;
	case PG_INT8:
	case PG_FLOAT:
	case PG_NUMERIC:
		buf_putf(b, "floor(extract(epoch FROM %s))::%s", expr, c->type);
		return;
	case PG_TEXT:
		buf_putf(b, "to_char(%s AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"')::%s", expr, c->type);
		return;
	case PG_ABSENT:
	case PG_UUID:
	case PG_INT2:
	case PG_INT4:
	case PG_BOOL:
	case PG_INTERVAL:
	case PG_JSON:
	case PG_JSONB:
	case PG_ENUM:
	case PG_BYTEA:
	case PG_OTHER:
		break;
	}
	buf_putf(b, "NULL::%s", c->type);
}

void pg_sql_from_int8(struct buf *b, const struct pg_column *c, const char *expr)
{
	switch (c->class) {
	case PG_INT8:
	case PG_FLOAT:
	case PG_TEXT:
		buf_putf(b, "%s::%s", expr, c->type);
		return;
	case PG_NUMERIC:
		buf_putf(b, "CASE WHEN %s BETWEEN -99999999 AND 99999999 THEN %s::%s END", expr, expr, c->type);
		return;
	case PG_INT4:
		buf_putf(b, "CASE WHEN %s BETWEEN -2147483648 AND 2147483647 THEN %s::%s END", expr, expr, c->type);
		return;
	case PG_INT2:
		buf_putf(b, "CASE WHEN %s BETWEEN -32768 AND 32767 THEN %s::%s END", expr, expr, c->type);
		return;
	case PG_BOOL:
		buf_putf(b, "(%s <> 0)", expr);
		return;
	case PG_INTERVAL:
		buf_putf(b, "make_interval(secs => %s)", expr);
		return;
	case PG_TIMESTAMPTZ:
		buf_putf(b, "CASE WHEN %s BETWEEN -210866803200 AND 9224318015999 THEN to_timestamp(%s) END", expr, expr);
		return;
	case PG_TIMESTAMP:
	case PG_DATE:
		buf_putf(b, "CASE WHEN %s BETWEEN -210866803200 AND 9224318015999 THEN (to_timestamp(%s) AT TIME ZONE 'UTC')::%s END", expr, expr,
			c->type);
		return;
	case PG_ABSENT:
	case PG_UUID:
	case PG_JSON:
	case PG_JSONB:
	case PG_ENUM:
	case PG_BYTEA:
	case PG_OTHER:
		break;
	}
	buf_putf(b, "NULL::%s", c->type);
}

/* A text column with a length: what is too long must become NULL, for a shortened key would be another's. */
static void put_key(struct buf *b, const struct pg_column *c, const char *expr)
{
	if (c->class == PG_TEXT && strchr(c->type, '('))
		buf_putf(b, "CASE WHEN %s::%s::text = %s THEN %s::%s END", expr, c->type, expr, expr, c->type);
	else
		pg_sql_from_text(b, c, expr);
}

void pg_sql_from_key(struct buf *b, const struct pg_column *c, const char *expr)
{
	if (!c->fk_table) {
		put_key(b, c, expr);
		return;
	}
	buf_putf(b, "(SELECT r.%s FROM %s r WHERE r.%s = ", c->fk_column, c->fk_table, c->fk_column);
	put_key(b, c, expr);
	buf_putc(b, ')');
}

void pg_sql_to_compare(struct buf *b, const struct pg_column *c, const char *expr) { put_key(b, c, expr); }

void pg_sql_text(struct buf *b, const struct pg_column *c, const char *alias)
{
	if (c->class == PG_ABSENT)
		buf_puts(b, "NULL::text");
	else
		buf_putf(b, "%s.\"%s\"::text", alias, c->name);
}

void pg_sql_time(struct buf *b, const struct pg_column *c, const char *alias)
{
	switch (c->class) {
	case PG_TIMESTAMPTZ:
		buf_putf(b, "%s.\"%s\"", alias, c->name);
		return;
	case PG_TIMESTAMP:
	case PG_DATE:
		buf_putf(b, "(%s.\"%s\"::timestamp AT TIME ZONE 'UTC')", alias, c->name);
		return;
	case PG_INT8:
	case PG_FLOAT:
	case PG_NUMERIC:
		buf_putf(b, "to_timestamp(%s.\"%s\"::float8)", alias, c->name);
		return;
	case PG_ABSENT:
	case PG_TEXT:
	case PG_UUID:
	case PG_INT2:
	case PG_INT4:
	case PG_BOOL:
	case PG_INTERVAL:
	case PG_JSON:
	case PG_JSONB:
	case PG_ENUM:
	case PG_BYTEA:
	case PG_OTHER:
		break;
	}
	buf_puts(b, "NULL::timestamptz");
}

void pg_sql_int8(struct buf *b, const struct pg_column *c, const char *alias)
{
	switch (c->class) {
	case PG_INT2:
	case PG_INT4:
	case PG_INT8:
		buf_putf(b, "%s.\"%s\"::int8", alias, c->name);
		return;
	case PG_FLOAT:
	case PG_NUMERIC:
		buf_putf(b, "CASE WHEN abs(%s.\"%s\") < 9e15 THEN floor(%s.\"%s\")::int8 END", alias, c->name, alias, c->name);
		return;
	case PG_BOOL:
		buf_putf(b, "%s.\"%s\"::int::int8", alias, c->name);
		return;
	case PG_INTERVAL:
	case PG_TIMESTAMPTZ:
	case PG_TIMESTAMP:
	case PG_DATE:
		buf_putf(b, "floor(extract(epoch FROM %s.\"%s\"))::int8", alias, c->name);
		return;
	case PG_TEXT:
		buf_putf(b, "CASE WHEN %s.\"%s\" ~ '^-?[0-9]{1,18}$' THEN %s.\"%s\"::int8 END", alias, c->name, alias, c->name);
		return;
	case PG_ABSENT:
	case PG_UUID:
	case PG_JSON:
	case PG_JSONB:
	case PG_ENUM:
	case PG_BYTEA:
	case PG_OTHER:
		break;
	}
	buf_puts(b, "NULL::int8");
}

void pg_sql_json(struct buf *b, const struct pg_column *c, const char *alias)
{
	if (c->class == PG_ABSENT)
		buf_puts(b, "NULL::text");
	else if (c->class == PG_JSON || c->class == PG_JSONB)
		buf_putf(b, "%s.\"%s\"::text", alias, c->name);
	else
		buf_putf(b, "to_json(%s.\"%s\")::text", alias, c->name);
}
