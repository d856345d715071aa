/* Row-level security as a connection meets it (sql/postgres/0004): may reads run under the role outcomed_reader, does this login see anything?
 *
 * The tenant of a read, and its role, are settings of one transaction, so that a pooler may hand the session to others between two. Without
 * the role reads go on under the login, which sees every row, and the queries alone are between the tenants: `outcomed check` says so. Any thread;
 * no state. */
#include "store/inspect.h"
#include "store/postgres.h"

#define TABLES \
	"(to_regclass('livekit_call_events'), to_regclass('call_logs'), to_regclass('call_facts'), to_regclass('call_legs'), to_regclass('call_revisions'))"

/* Tables under our policies have one named outcomed_tenant. A schema named like the login is not found by "$user" under another role; tables
 * that the host guards with policies of its own are read as the login they are meant for. */
const char pg_sight_sql[] =
	"SELECT coalesce((SELECT CASE WHEN current_setting('server_version_num')::int >= 160000 THEN pg_has_role(session_user, o.oid, 'SET')"
	"  ELSE pg_has_role(session_user, o.oid, 'MEMBER') END AND current_user <> ALL (current_schemas(false))"
	"  AND NOT EXISTS (SELECT FROM pg_class t WHERE t.oid IN " TABLES
	"   AND (NOT has_table_privilege(o.oid, t.oid, 'SELECT') OR NOT has_schema_privilege(o.oid, t.relnamespace, 'USAGE')"
	"    OR (t.relrowsecurity AND NOT EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = t.oid AND p.polname = 'outcomed_tenant'))))"
	"  FROM pg_roles o WHERE o.rolname = 'outcomed_reader'), false),"
	" EXISTS (SELECT FROM pg_class t JOIN pg_policy p ON p.polrelid = t.oid AND p.polname = 'outcomed_tenant' WHERE t.oid IN " TABLES
	"  AND row_security_active(t.oid) AND NOT EXISTS (SELECT FROM pg_policy a WHERE a.polrelid = t.oid AND a.polcmd = '*'"
	"   AND EXISTS (SELECT FROM unnest(a.polroles) m WHERE m = 0 OR pg_has_role(current_user, m, 'USAGE'))))";

int pg_check_sight(struct pg *c)
{
	_cleanup_buf_ struct buf b = BUF_INIT;

	if (c->role == PG_READER || !c->schema->sees_nothing)
		return 0;
	buf_putf(&b, "row-level security hides every row from the role of the URL: GRANT outcomed_writer, outcomed_reader TO \"%s\"", PQuser(c->conn));
	buf_putc(&b, '\0');
	pg_set_error(c, "42501", buf_failed(&b) ? "out of memory" : b.p);
	return OC_SCHEMA;
}

void pg_sql_read_settings(const struct pg_schema *s, struct buf *b)
{
	buf_puts(b, pg_read_settings_sql);
	if (s->reads_in_role)
		buf_puts(b, ", set_config('role', 'outcomed_reader', true)");
}

/* ---- for `outcomed check` ---- */

static const char inspect_sql[] =
	"SELECT quote_ident(current_user), r.rolsuper OR r.rolbypassrls, count(*) FILTER (WHERE t.guarded),"
	" string_agg(t.name, ', ' ORDER BY t.name) FILTER (WHERE NOT t.guarded),"
	" EXISTS (SELECT FROM pg_roles WHERE rolname = 'outcomed_reader'), EXISTS (SELECT FROM outcomed_migrations WHERE version >= 4),"
	" quote_ident(current_schema())"
	" FROM pg_roles r CROSS JOIN (SELECT c.\"tableName\" AS name, t.relrowsecurity AND t.relforcerowsecurity"
	"  AND EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = t.oid AND p.polname = 'outcomed_tenant') AS guarded"
	"  FROM outcomed_changes c JOIN pg_class t ON t.oid = to_regclass(c.\"tableName\") WHERE c.kind = 'table' AND t.oid IN " TABLES ") t"
	" WHERE r.rolname = current_user GROUP BY r.rolname, r.rolsuper, r.rolbypassrls";

static bool is_true(const PGresult *res, int column) { return PQgetvalue(res, 0, column)[0] == 't'; }

static int take_row_security(const PGresult *sight, const PGresult *res, struct arena *a, struct row_security *s)
{
	_cleanup_buf_ struct buf b = BUF_INIT;
	int64_t tables;
	if (PQntuples(res) != 1 || !is_true(res, 5) || !slice_to_int64(slice_cstr(PQgetvalue(res, 0, 2)), &tables))
		return OC_NOT_FOUND;
	*s = (struct row_security){ .tables = (size_t)tables, .reads_in_role = is_true(sight, 0), .sees_nothing = is_true(sight, 1), .passes_over = is_true(res, 1) };
	if (!s->reads_in_role) {
		if (!is_true(res, 4))
			buf_puts(&b, "CREATE ROLE outcomed_reader NOLOGIN; ");
		buf_putf(&b, "GRANT USAGE ON SCHEMA %s TO outcomed_reader; GRANT SELECT ON livekit_call_events, call_logs, call_facts, call_legs, call_revisions"
			" TO outcomed_reader; GRANT outcomed_reader TO %s", PQgetvalue(res, 0, 6), PQgetvalue(res, 0, 0));
	}
	if (buf_failed(&b) || !arena_copy(a, slice_cstr(PQgetvalue(res, 0, 0)), &s->login) || (b.n && !arena_copy(a, buf_slice(&b), &s->to_add)) ||
	    (!PQgetisnull(res, 0, 3) && !arena_copy(a, slice_cstr(PQgetvalue(res, 0, 3)), &s->lacking)))
		return OC_NOMEM;
	return 0;
}

int store_inspect_row_security(const struct store_options *o, struct arena *a, struct row_security *ret, struct slice *ret_message)
{
	struct pg c;
	struct row_security found;
	_cleanup_pg_ PGresult *sight = NULL, *res = NULL;
	bool valid;
	if (store_url_kind(o->url, &valid) != STORE_POSTGRES || !valid)
		return OC_NOT_FOUND;
	int r = pg_init(&c, PG_WRITER, o);
	if (r < 0)
		return r;
	r = pg_connect_bare(&c);
	if (r == 0)
		r = pg_exec(&c, pg_sight_sql, &sight);
	if (r == 0)
		r = pg_exec(&c, inspect_sql, &res);
	if (r < 0)
		store_fail(r, a, ret_message, "PostgreSQL: %s", pg_error(&c));
	else
		r = take_row_security(sight, res, a, &found);
	if (r == 0)
		*ret = found;
	pg_done(&c);
	return r;
}
