/* Building the indexes that a migration noted in outcomed_changes (pending).
 *
 * A table that is ours, or empty, gets them in the migration's own transaction. Any other gets them CONCURRENTLY afterwards, which does not
 * block writers; what an interrupted run left half built is dropped first, so an upgrade can be run again until nothing is pending.
 * Threads: the migrator's one. */
#include "store/postgres.h"

#include <stdarg.h>
#include <stdlib.h>

static const char pending_sql[] =
	"SELECT h.id, h.kind = 'unique index', h.name, h.\"tableName\", format('%I.%I', h.\"tableSchema\", h.\"tableName\"), h.definition,"
	" EXISTS (SELECT FROM outcomed_changes t WHERE t.kind = 'table' AND t.name = h.\"tableName\") OR r.relkind = 'p',"
	" coalesce(i.indisvalid, false), i.indexrelid IS NOT NULL, format('%I.%I', h.\"tableSchema\", h.name)"
	" FROM outcomed_changes h JOIN pg_namespace n ON n.nspname = h.\"tableSchema\""
	" JOIN pg_class r ON r.relnamespace = n.oid AND r.relname = h.\"tableName\""
	" LEFT JOIN pg_class x ON x.relnamespace = n.oid AND x.relname = h.name"
	" LEFT JOIN pg_index i ON i.indexrelid = x.oid AND i.indrelid = r.oid"
	" WHERE h.pending ORDER BY h.id";
enum { COL_ID, COL_UNIQUE, COL_NAME, COL_TABLE, COL_QUOTED_TABLE, COL_DEFINITION, COL_DIRECT, COL_VALID, COL_THERE, COL_QUOTED_NAME };

static bool is_true(const PGresult *res, int row, int column) { return PQgetvalue(res, row, column)[0] == 't'; }

static int execf(struct pg *c, PGresult **ret, const char *format, ...) __attribute__((format(printf, 3, 4)));

static int execf(struct pg *c, PGresult **ret, const char *format, ...)
{
	char *sql = NULL;
	va_list args;

	va_start(args, format);
	int n = vasprintf(&sql, format, args);
	va_end(args);
	if (n < 0)
		return OC_NOMEM;
	int r = pg_exec(c, sql, ret);
	free(sql);
	return r;
}

static int create(struct pg *c, const PGresult *res, int row, bool unique, const char *how)
{
	char *name = PQescapeIdentifier(c->conn, PQgetvalue(res, row, COL_NAME), (size_t)PQgetlength(res, row, COL_NAME));
	if (!name)
		return OC_NOMEM;
	int r = execf(c, NULL, "CREATE %sINDEX %s%s ON %s %s", unique ? "UNIQUE " : "", how, name, PQgetvalue(res, row, COL_QUOTED_TABLE),
		PQgetvalue(res, row, COL_DEFINITION));
	PQfreemem(name);
	return r;
}

static int mark_built(struct pg_migrator *m, const PGresult *res, int row, bool unique)
{
	int r = execf(&m->pg, NULL, "UPDATE outcomed_changes SET pending = false, kind = '%s' WHERE id = %s", unique ? "unique index" : "index",
		PQgetvalue(res, row, COL_ID));
	if (r == 0)
		pg_say(m, "created index %s on %s", PQgetvalue(res, row, COL_NAME), PQgetvalue(res, row, COL_TABLE));
	return r;
}

static int is_empty(struct pg *c, const char *table, bool *ret)
{
	_cleanup_pg_ PGresult *res = NULL;
	int r = execf(c, &res, "SELECT NOT EXISTS (SELECT FROM %s)", table);
	if (r == 0)
		*ret = is_true(res, 0, 0);
	return r;
}

int pg_build_small_indexes(struct pg_migrator *m)
{
	_cleanup_pg_ PGresult *res = NULL;
	int r = pg_exec(&m->pg, pending_sql, &res);

	for (int row = 0; r == 0 && row < PQntuples(res); row++) {
		bool direct = is_true(res, row, COL_DIRECT), unique = is_true(res, row, COL_UNIQUE);
		if (!direct)
			r = is_empty(&m->pg, PQgetvalue(res, row, COL_QUOTED_TABLE), &direct);
		if (r < 0 || !direct || is_true(res, row, COL_THERE))
			continue;
		r = create(&m->pg, res, row, unique, "");
		if (r == 0)
			r = mark_built(m, res, row, unique);
	}
	return r;
}

/* Two rows with one room SID came between the look and the index: as if they had been there before. */
static bool may_be_plain(struct pg *c, const PGresult *res, int row)
{
	return strcmp(c->sqlstate, "23505") == 0 && strcmp(PQgetvalue(res, row, COL_TABLE), "call_logs") == 0;
}

static int build(struct pg_migrator *m, const PGresult *res, int row)
{
	struct pg *c = &m->pg;
	bool unique = is_true(res, row, COL_UNIQUE);
	const char *quoted = PQgetvalue(res, row, COL_QUOTED_NAME);
	int r = 0;

	if (is_true(res, row, COL_VALID))
		return mark_built(m, res, row, unique);
	pg_say(m, "building index %s on %s; writers go on meanwhile", PQgetvalue(res, row, COL_NAME), PQgetvalue(res, row, COL_TABLE));
	if (is_true(res, row, COL_THERE))
		r = execf(c, NULL, "DROP INDEX CONCURRENTLY %s", quoted);
	if (r == 0)
		r = create(c, res, row, unique, "CONCURRENTLY ");
	if (r < 0 && unique && may_be_plain(c, res, row)) {
		pg_say(m, "call_logs has several rows with one \"livekitRoomSid\": its index is made, but not unique");
		unique = false;
		r = execf(c, NULL, "DROP INDEX CONCURRENTLY IF EXISTS %s", quoted);
		if (r == 0)
			r = create(c, res, row, unique, "CONCURRENTLY ");
	}
	return r < 0 ? r : mark_built(m, res, row, unique);
}

int pg_build_indexes(struct pg_migrator *m)
{
	_cleanup_pg_ PGresult *res = NULL;
	int r = pg_exec(&m->pg, pending_sql, &res);

	for (int row = 0; r == 0 && row < PQntuples(res); row++)
		r = build(m, res, row);
	return r;
}
