/* PostgreSQL's settings that decide what a COMMIT is worth. fsync and full_page_writes are the server's alone; synchronous_commit is set by each of
 * our transactions (postgres_sql.c), whatever role or database say. What a standby has to confirm is the operator's choice. SQLite's are all ours
 * (sqlite_db.c). Any thread; nothing is kept open. */
#include "store/durability.h"

#include <libpq-fe.h>
#include <stdio.h>

#include "base/buf.h"
#include "store/backend.h"

static const char settings_sql[] =
	"SELECT current_setting('fsync'), current_setting('full_page_writes'), current_setting('synchronous_commit')";

static bool is_off(const PGresult *res, int column) { return strcmp(PQgetvalue(res, 0, column), "on") != 0; }

static int judge_settings(const PGresult *res, struct arena *a, struct slice *ret_words, struct slice *ret_lacks)
{
	_cleanup_buf_ struct buf words = BUF_INIT;
	const char *commit = PQgetvalue(res, 0, 2);
	bool overridden = strcmp(commit, "off") == 0;
	buf_putf(&words, "PostgreSQL syncs before it confirms: fsync, full_page_writes on, synchronous_commit %s%s", overridden ? "on" : commit,
		overridden ? " (off by default here, set by each of our transactions)" : "");
	if (buf_failed(&words) || !arena_copy(a, buf_slice(&words), ret_words))
		return OC_NOMEM;
	if (is_off(res, 0))
		*ret_lacks = SLICE("PostgreSQL runs with fsync = off: a power failure loses what was acknowledged, and may damage all of it");
	else if (is_off(res, 1))
		*ret_lacks = SLICE("PostgreSQL runs with full_page_writes = off: a power failure may damage pages beyond repair");
	else
		*ret_lacks = SLICE_NONE;
	return 0;
}

static int ask_postgres(const struct store_options *o, struct arena *a, struct slice *ret_words, struct slice *ret_lacks, struct slice *ret_message)
{
	char timeout[16];
	const char *url = arena_dup(a, o->url);
	if (!url)
		return OC_NOMEM;
	snprintf(timeout, sizeof timeout, "%d", (o->timeout_ms ? o->timeout_ms : 10000) / 1000 + 1);
	const char *const keywords[] = { "dbname", "connect_timeout", "application_name", "tcp_user_timeout", NULL };
	const char *const values[] = { url, timeout, "outcomed check", "10000", NULL };
	PGconn *conn = PQconnectdbParams(keywords, values, 1);
	if (!conn || PQstatus(conn) != CONNECTION_OK) {
		int r = store_fail(OC_DOWN, a, ret_message, "%s", conn ? PQerrorMessage(conn) : oc_error_text(OC_NOMEM));
		PQfinish(conn);
		return r;
	}
	PGresult *res = PQexec(conn, settings_sql);
	int r = PQresultStatus(res) == PGRES_TUPLES_OK ? judge_settings(res, a, ret_words, ret_lacks)
						       : store_fail(OC_DATA, a, ret_message, "%s", PQerrorMessage(conn));
	PQclear(res);
	PQfinish(conn);
	return r;
}

int store_durability(const struct store_options *o, struct arena *a, struct slice *ret_words, struct slice *ret_lacks, struct slice *ret_message)
{
	bool valid;
	enum store_kind kind = store_url_kind(o->url, &valid);
	if (!valid)
		return store_fail(OC_CONFIG, a, ret_message, "%s", "the database must be sqlite:PATH or postgresql://USER@HOST/NAME");
	switch (kind) {
	case STORE_POSTGRES: return ask_postgres(o, a, ret_words, ret_lacks, ret_message);
	case STORE_SQLITE: break;
	}
	*ret_words = SLICE("SQLite syncs its log with each commit (synchronous = FULL)");
	*ret_lacks = SLICE_NONE;
	return 0;
}
