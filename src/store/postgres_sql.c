/* The statements by name, and the texts of those that do not depend on the host's columns.
 * Threads: any; no state. */
#include "store/postgres.h"

static const char *const names[PG_STMT_COUNT] = {
#define X(name) [PG_STMT_##name] = "oc_" #name,
	PG_STATEMENTS(X)
#undef X
};

const char *pg_statement_name(enum pg_statement s) { return names[s]; }

/* Settings of one transaction, so that a pooler may hand the session to others, behind the version that the schema has now. Deadlines a little
 * below ours; commits wait for the disk whatever the role's default is; plans are made once and always go by an index, also while the tables are still small or their
 * statistics old. */
#define SETTINGS \
	"set_config('statement_timeout', $1::int8::text, true), set_config('lock_timeout', ($1::int8 / 2)::text, true)," \
	" set_config('idle_in_transaction_session_timeout', ($1::int8 * 2)::text, true)," \
	" set_config('synchronous_commit', CASE current_setting('synchronous_commit') WHEN 'off' THEN 'on'" \
	"  ELSE current_setting('synchronous_commit') END, true)," \
	" set_config('plan_cache_mode', 'force_generic_plan', true), set_config('enable_seqscan', 'off', true)," \
	" set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true), set_config('jit', 'off', true)"

static const char settings_sql[] = "SELECT (SELECT max(version)::int8 FROM outcomed_migrations), " SETTINGS;
const char pg_read_settings_sql[] = "SELECT " SETTINGS ", set_config('outcomed.tenant', $2::text, true)";

/* $1 the keys of the calls (pg_call_key), sorted. A call may have no row yet, so it is not a row that is locked. */
static const char load_lock_sql[] = "SELECT count(pg_advisory_xact_lock(k)) FROM unnest($1::int8[]) k";

/* Of a call without a row: the name that the batch knows, and whether the journal has events of it already that nobody could read. */
static const char load_facts_sql[] =
	"SELECT t.sid, CASE WHEN f.\"roomSid\" IS NULL THEN t.name ELSE f.\"roomName\" END, f.facts, f.rules, f.verdict::text, f.outcome, f.revision,"
	" f.\"userId\", f.\"tenantError\", f.\"callLogId\", f.\"callLogIsOurs\", f.\"startedAtMs\", f.\"endedAtMs\", f.\"dueAtMs\", f.\"roomStartedAtMs\", f.\"roomSid\" IS NOT NULL,"
	" CASE WHEN f.\"roomSid\" IS NULL THEN (SELECT true FROM livekit_call_events e WHERE e.\"roomSid\" = t.sid AND e.\"userId\" IS NULL LIMIT 1)"
	"  IS NOT NULL ELSE false END, f.\"watchAtMs\""
	" FROM (SELECT k.sid, ($2::text[])[k.i] AS name FROM unnest($1::text[]) WITH ORDINALITY k (sid, i)) t"
	" LEFT JOIN call_facts f ON f.\"roomSid\" = t.sid";

/* And a row with an empty id where something has one of these names ($2), or a mark waits for one of these legs ($3): a second look is then
 * worth its time. */
static const char load_known_sql[] =
	"SELECT \"eventId\"::text, \"bodyHash\"::text FROM livekit_call_events WHERE \"eventId\" = ANY ($1::text[]) UNION ALL SELECT '', NULL"
	" WHERE EXISTS (SELECT FROM call_logs WHERE \"livekitRoomSid\" IS NULL AND \"livekitRoomName\" = ANY ($2::text[]))"
	" OR EXISTS (SELECT FROM livekit_call_events WHERE \"roomSid\" IS NULL AND \"roomName\" = ANY ($2::text[]))"
	" OR EXISTS (SELECT FROM livekit_call_events WHERE \"roomSid\" IS NULL AND \"sipCallId\" IS NOT NULL"
	"  AND \"sipCallId\" = ANY ($3::text[]))";

/* $2: the moment, ms; $3: the only tenant whose call it may be, NULL = any; $4: how late after the end, ms. */
static const char load_names_sql[] =
	"SELECT o.sid FROM unnest($1::text[], $2::int8[], $3::text[], $4::int8[]) n (name, at_ms, user_id, late_ms) CROSS JOIN LATERAL ("
	" SELECT f.\"roomSid\" AS sid FROM call_facts f WHERE f.\"roomName\" = n.name AND f.\"roomStartedAtMs\" <= n.at_ms + 2000"
	" AND (f.\"endedAtMs\" IS NULL OR f.\"endedAtMs\" >= n.at_ms - n.late_ms) AND (n.user_id IS NULL OR f.\"userId\" IS NULL OR f.\"userId\" = n.user_id) ORDER BY f.\"roomStartedAtMs\" DESC LIMIT 1) o";

static const char due_time_sql[] =
	"SELECT \"roomSid\" FROM call_facts WHERE \"dueAtMs\" <= $1::int8 ORDER BY \"dueAtMs\" LIMIT $2::int8";

static const struct {
	enum pg_statement statement;
	const char *sql;
} fixed[] = {
	{ PG_STMT_BEGIN, "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE" },
	{ PG_STMT_BEGIN_READ, "BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY" },
	{ PG_STMT_SETTINGS, settings_sql },
	{ PG_STMT_COMMIT, "COMMIT" },
	{ PG_STMT_SAVEPOINT, "SAVEPOINT host" },
	{ PG_STMT_RELEASE, "RELEASE SAVEPOINT host" },
	{ PG_STMT_ROLLBACK_TO, "ROLLBACK TO SAVEPOINT host" },
	{ PG_STMT_BRIEF_LOCKS, "SET LOCAL lock_timeout = 50" },
	{ PG_STMT_PING, "SELECT 1" },
	{ PG_STMT_LOAD_NAMES, load_names_sql },
	{ PG_STMT_LOAD_LEGS, pg_load_legs_sql },
	{ PG_STMT_LEGS_INSERT, pg_legs_insert_sql },
	{ PG_STMT_LOAD_LOCK, load_lock_sql },
	{ PG_STMT_LOAD_FACTS, load_facts_sql },
	{ PG_STMT_LOAD_KNOWN, load_known_sql },
	{ PG_STMT_DUE_TIME, due_time_sql },
	{ PG_STMT_REVISIONS_KEEP, pg_revisions_keep_sql },
	{ PG_STMT_WATCH_CLAIM, pg_watch_claim_sql },
	{ PG_STMT_WATCH_MOVE, pg_watch_move_sql },
};

static const struct {
	enum pg_statement statement;
	void (*write)(const struct pg_schema *s, struct buf *b);
} written[] = {
	{ PG_STMT_READ_SETTINGS, pg_sql_read_settings },
	{ PG_STMT_LOAD_HOST, pg_sql_load_host },
	{ PG_STMT_LOAD_HOST_NAMES, pg_sql_load_host_names },
	{ PG_STMT_LOAD_UNBOUND, pg_sql_load_unbound },
	{ PG_STMT_LOAD_LEG_WAITS, pg_sql_load_leg_waits },
	{ PG_STMT_DUE_LEGS, pg_sql_due_legs },
	{ PG_STMT_LOGS_DETACH, pg_sql_logs_detach },
	{ PG_STMT_LOGS_UPDATE, pg_sql_logs_update },
	{ PG_STMT_LOGS_INSERT, pg_sql_logs_insert },
	{ PG_STMT_LOGS_REMOVE, pg_sql_logs_remove },
	{ PG_STMT_FACTS_INSERT, pg_sql_facts_insert },
	{ PG_STMT_FACTS_UPDATE, pg_sql_facts_update },
	{ PG_STMT_JOURNAL_REBIND, pg_sql_journal_rebind },
	{ PG_STMT_JOURNAL_REPOINT, pg_sql_journal_repoint },
	{ PG_STMT_JOURNAL_INSERT, pg_sql_journal_insert },
	{ PG_STMT_JOURNAL_BIND, pg_sql_journal_bind },
	{ PG_STMT_DUE_NAMES, pg_sql_due_names },
	{ PG_STMT_DUE_SIDS, pg_sql_due_sids },
	{ PG_STMT_DUE_TENANTS, pg_sql_due_tenants },
	{ PG_STMT_COUNT_ROWS, pg_sql_count },
	{ PG_STMT_READ_OUTCOMES, pg_sql_read_outcomes },
	{ PG_STMT_READ_LIST, pg_sql_read_list },
	{ PG_STMT_READ_CALL, pg_sql_read_call },
	{ PG_STMT_READ_EVENTS, pg_sql_read_events },
};

void pg_statement_sql(enum pg_statement s, const struct pg_schema *schema, struct buf *b)
{
	if (s == PG_STMT_IMMEDIATE && schema->deferred_constraints)
		buf_puts(b, "SET CONSTRAINTS ALL IMMEDIATE");
	for (size_t i = 0; i < sizeof fixed / sizeof *fixed; i++)
		if (fixed[i].statement == s)
			buf_puts(b, fixed[i].sql);
	for (size_t i = 0; i < sizeof written / sizeof *written; i++)
		if (written[i].statement == s)
			written[i].write(schema, b);
}
