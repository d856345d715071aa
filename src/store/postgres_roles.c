/* Row-level security as a connection meets it (sql/postgres/0004): may reads run under the role outcomed_reader, does this login see anything?
 *
 * The tenant of a read, and its role, are settings of one transaction, so that a pooler may hand the session to others between two. Without
 * the role reads go on under the login, which sees every row, and the queries alone are between the tenants: `outcomed check` says so. Any thread;
 * no state. */
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
