/* SQLite behind store.h: the statements of the writer, opening and reopening, what wants another look.
 *
 * One writer connection (WAL, synchronous=FULL), readers of their own. After an I/O error the writer's connection is closed and opened
 * anew at the next load, with a growing pause, since what SQLite holds in memory is not to be believed then; not while its files are not in
 * place (sqlite_files.c). After a sync that failed it is never opened again: the kernel may have marked the pages clean, and whatever
 * follows would stand on them.
 * Threads: a struct store belongs to one. */
#include "store/sqlite.h"

#include <stdlib.h>

#include "base/clock.h"
#include "store/spans.h"

#define REOPEN_FIRST_MS 100
#define REOPEN_LAST_MS 5000
#define FULL_LOOK_PAUSE_MS 300000
#define NEWEST_ROWS "5000"

#define TEXT_OF_(number) #number
#define TEXT_OF(number) TEXT_OF_(number)

/* A host that had no "createdAt" does not write the one we added, so its rows have no time. */
#define NO_TIMES \
	"EXISTS (SELECT 1 FROM outcomed_changes WHERE kind = 'column' AND \"tableName\" = 'call_logs' AND name = 'createdAt')"

/* Is `w`, when a row was written, a time at which load lets the call `f` claim it? The rule of SQL_ROW_UNCLAIMED; rows without a time are
 * only for calls of the last day. ?1 is now. */
#define CLAIMABLE \
	"(f.\"callLogId\" IS NULL OR f.\"callLogIsOurs\" = 1) " \
	"AND CASE WHEN w IS NULL THEN f.\"roomStartedAtMs\" > ?1 - " TEXT_OF(CLAIM_WINDOW_MS) " AND " NO_TIMES " " \
	"ELSE w > ?1 - " TEXT_OF(LATE_ROW_AGE_MS) " " \
	"AND max(f.\"roomStartedAtMs\" - w, w - COALESCE(f.\"endedAtMs\", f.\"roomStartedAtMs\")) <= " TEXT_OF(CLAIM_WINDOW_MS) " " \
	"AND (f.\"endedAtMs\" IS NULL OR w <= f.\"endedAtMs\" OR ?1 - w >= " TEXT_OF(CLAIM_AFTER_END_MS) ") END"

/* Did a tenant post it? What the canonical JSON says, not "userId", which any event of the call has, unless only the bytes were kept. */
#define OWN_MARK "(source = 'mark' AND CASE WHEN \"rawPayload\" IS NULL THEN \"userId\" ELSE \"rawPayload\" ->> 'userId' END IS NOT NULL)"

const char *const sqlite_writer_sql[SQL_WRITER_COUNT] = {
	[SQL_EVENT_KNOWN] = "SELECT \"bodyHash\" FROM livekit_call_events WHERE \"eventId\" = ?1",
	[SQL_FACTS] = "SELECT \"roomName\", \"userId\", \"tenantError\", \"callLogId\", \"callLogIsOurs\", facts, rules, verdict, outcome, "
		      "revision, \"startedAtMs\", \"endedAtMs\", \"dueAtMs\", \"roomStartedAtMs\", \"watchAtMs\" FROM call_facts WHERE \"roomSid\" = ?1",
	[SQL_CALL_OPEN_AT] = "SELECT \"roomSid\", \"roomStartedAtMs\" FROM call_facts WHERE \"roomName\" = ?1 "
			     "AND (\"roomStartedAtMs\" IS NULL OR \"roomStartedAtMs\" <= ?2) AND (\"endedAtMs\" IS NULL OR \"endedAtMs\" >= ?3) "
			     "AND (?4 IS NULL OR \"userId\" IS NULL OR \"userId\" = ?4) "
			     "ORDER BY \"roomStartedAtMs\" DESC, \"roomSid\" LIMIT 1",
	/* Without LIMIT, which would cost a sorter of its own. */
	[SQL_ROW_BY_SID] = "SELECT id, \"userId\" FROM call_logs WHERE \"livekitRoomSid\" = ?1 ORDER BY id = ?2, id",
	[SQL_ANY_UNCLAIMED] = "SELECT 1 FROM call_logs INDEXED BY idx_call_logs_unclaimed WHERE \"livekitRoomSid\" IS NULL "
			      "AND \"livekitRoomName\" IS NOT NULL LIMIT 1",
	[SQL_ROW_UNCLAIMED] =
		"SELECT id, \"userId\", "
		"CASE WHEN w IS NULL THEN " TEXT_OF(CLAIM_WINDOW_MS) " ELSE max(?2 - w, w - COALESCE(?3, ?2), 0) END AS distance FROM "
		"(SELECT id, \"userId\", " SQL_MS("\"createdAt\"") " AS w FROM call_logs "
		"WHERE \"livekitRoomSid\" IS NULL AND \"livekitRoomName\" = ?1) WHERE CASE WHEN w IS NULL THEN " NO_TIMES " "
		"ELSE distance <= " TEXT_OF(CLAIM_WINDOW_MS) " "
		"AND (?3 IS NULL OR w <= ?3 OR ?4 - w >= " TEXT_OF(CLAIM_AFTER_END_MS) ") END ORDER BY distance, id",
	/* Whatever `processed` says, so that it is one step also where many have been waiting for long. */
	[SQL_ANY_UNBOUND] = "SELECT 1 FROM livekit_call_events INDEXED BY idx_lce_unbound WHERE \"roomSid\" IS NULL "
			    "AND \"roomName\" IS NOT NULL LIMIT 1",
	[SQL_UNBOUND] = "SELECT \"eventId\", \"rawPayload\", source, \"keyId\", timestamp, " SQL_MS("\"createdAt\"") " AS w "
			"FROM livekit_call_events WHERE \"roomSid\" IS NULL AND \"roomName\" = ?1 AND processed = 0 "
			"AND \"errorMessage\" = '" STORE_WAITS "' AND (\"userId\" IS NULL OR ?4 IS NULL OR \"userId\" = ?4) "
			"AND COALESCE(timestamp * 1000, " SQL_MS("\"createdAt\"") ") BETWEEN ?2 AND ?3 "
			"ORDER BY w, \"eventId\" LIMIT " TEXT_OF(STORE_UNBOUND_LIMIT),

	[SQL_EVENT_INSERT] = "INSERT INTO livekit_call_events (\"userId\", \"callLogId\", \"eventId\", event, \"roomName\", \"roomSid\", "
			     "\"participantIdentity\", \"participantSid\", timestamp, \"rawPayload\", \"rawBody\", processed, \"errorMessage\", "
			     "\"createdAt\", \"processedAt\", source, \"bodyHash\", \"keyId\", \"sipCallId\") "
			     "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19)",
	[SQL_EVENT_BIND] = "UPDATE livekit_call_events SET \"roomSid\" = ?2, processed = ?3, \"errorMessage\" = ?4, "
			   "\"processedAt\" = CASE WHEN ?3 THEN ?5 END, \"userId\" = CASE WHEN ?8 THEN \"userId\" ELSE ?6 END, "
			   "\"callLogId\" = CASE WHEN NOT ?8 OR \"userId\" = ?6 THEN ?7 END WHERE \"eventId\" = ?1",
	[SQL_EVENTS_TENANT] =
		"UPDATE livekit_call_events SET \"userId\" = ?2, "
		"processed = CASE WHEN ?4 IS NOT NULL THEN 0 WHEN \"errorMessage\" = ?3 THEN 1 ELSE processed END, "
		"\"processedAt\" = CASE WHEN ?4 IS NULL AND \"errorMessage\" = ?3 THEN COALESCE(\"processedAt\", ?5) ELSE \"processedAt\" END, "
		"\"errorMessage\" = CASE WHEN \"errorMessage\" IS NULL OR \"errorMessage\" = ?3 THEN ?4 ELSE \"errorMessage\" END "
		"WHERE \"roomSid\" = ?1 AND NOT " OWN_MARK,
	[SQL_EVENTS_CALL_LOG] = "UPDATE livekit_call_events SET \"callLogId\" = ?2 WHERE \"roomSid\" = ?1 AND \"callLogId\" IS NOT ?2 "
				"AND (NOT " OWN_MARK " OR \"userId\" = ?3)",
	[SQL_FACTS_INSERT] = "INSERT INTO call_facts (\"roomSid\", \"roomName\", \"userId\", \"tenantError\", \"callLogId\", \"callLogIsOurs\", facts, "
			     "rules, verdict, outcome, revision, \"startedAtMs\", \"endedAtMs\", \"dueAtMs\", \"createdAt\", \"updatedAt\", \"roomStartedAtMs\", \"watchAtMs\") "
			     "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?15, ?16, ?17)",
	[SQL_FACTS_UPDATE] = "UPDATE call_facts SET \"roomName\" = ?2, \"userId\" = ?3, \"tenantError\" = ?4, \"callLogId\" = ?5, "
			     "\"callLogIsOurs\" = ?6, facts = ?7, rules = ?8, verdict = ?9, outcome = ?10, revision = ?11, \"startedAtMs\" = ?12, "
			     "\"endedAtMs\" = ?13, \"dueAtMs\" = ?14, \"updatedAt\" = ?15, \"roomStartedAtMs\" = ?16, \"watchAtMs\" = ?17 WHERE \"roomSid\" = ?1",

	[SQL_REVISION_KEEP] = "INSERT OR IGNORE INTO call_revisions (\"roomSid\", revision, outcome, rules, verdict, \"createdAt\") "
			      "VALUES (?1, ?2, ?3, ?4, ?5, ?6)",

	[SQL_ROW_INSERT] = "INSERT INTO call_logs (id, \"userId\", \"livekitRoomName\", \"livekitRoomSid\", direction, \"phoneNumber\", \"sipCallId\", "
			   "duration, \"startedAt\", \"endedAt\", status, outcome, \"recordingUrl\", metadata, \"createdAt\", \"updatedAt\") "
			   "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, json_object('outcomed', json(?14)), ?15, ?15)",
	[SQL_ROW_CLAIM] = "UPDATE call_logs SET \"livekitRoomSid\" = ?2 WHERE id = ?1 AND \"livekitRoomSid\" IS NULL",
/* A value of ours; none takes back what we wrote (?13), not what the host did. */
#define OURS(parameter, column) "COALESCE(" parameter ", CASE WHEN NOT ?13 THEN " column " END)"
#define MERGED(parameter) \
	"CASE WHEN metadata IS NULL THEN json_object('outcomed', json(" parameter ")) WHEN json_valid(metadata) THEN " \
	"CASE WHEN json_type(metadata) = 'object' THEN json_set(metadata, '$.outcomed', json(" parameter ")) ELSE metadata END ELSE metadata END"
	[SQL_ROW_UPDATE_OURS] = "UPDATE call_logs SET \"userId\" = ?2, \"livekitRoomName\" = COALESCE(?3, \"livekitRoomName\"), "
				"direction = ?4, \"phoneNumber\" = ?5, \"sipCallId\" = ?6, duration = ?7, \"startedAt\" = ?8, "
				"\"endedAt\" = ?9, status = ?10, outcome = ?11, \"recordingUrl\" = ?12, "
				"metadata = " MERGED("?13") ", \"updatedAt\" = ?14 WHERE id = ?1",
	[SQL_ROW_UPDATE_HOST] = "UPDATE call_logs SET direction = COALESCE(direction, ?2), \"phoneNumber\" = COALESCE(\"phoneNumber\", ?3), "
				"\"sipCallId\" = COALESCE(\"sipCallId\", ?4), duration = " OURS("?5", "duration") ", "
				"\"startedAt\" = COALESCE(\"startedAt\", ?6), \"endedAt\" = " OURS("?7", "\"endedAt\"") ", status = ?8, "
				"outcome = " OURS("?9", "outcome") ", \"recordingUrl\" = COALESCE(?10, \"recordingUrl\"), "
				"metadata = " MERGED("?11") ", \"updatedAt\" = ?12 WHERE id = ?1",
#undef MERGED
#undef OURS
	[SQL_ROW_DELETE] = "DELETE FROM call_logs WHERE id = ?1 AND \"livekitRoomSid\" = ?2",

	[SQL_WATCH_DUE] = "SELECT \"roomSid\", \"roomName\", \"userId\", facts, \"watchAtMs\" FROM call_facts WHERE \"watchAtMs\" <= ?1 "
			  "ORDER BY \"watchAtMs\", \"roomSid\" LIMIT ?2",
	[SQL_WATCH_MINE] = "SELECT \"roomSid\", \"roomName\", \"userId\", facts, \"watchAtMs\" FROM call_facts WHERE \"roomSid\" = ?1 "
			   "AND \"watchAtMs\" IS NOT NULL",
	[SQL_WATCH_MOVE] = "UPDATE call_facts SET \"watchAtMs\" = ?3 WHERE \"roomSid\" = ?1 AND \"watchAtMs\" = ?2",
	[SQL_DUE] = "SELECT \"roomSid\" FROM call_facts WHERE \"dueAtMs\" <= ?1 ORDER BY \"dueAtMs\", \"roomSid\" LIMIT ?2",
	/* Among the newest rows only, so that it stays cheap whatever the host keeps. */
	[SQL_LATE_NEW] =
		"WITH l AS MATERIALIZED (SELECT \"livekitRoomName\" AS n, \"livekitRoomSid\" AS s, \"userId\" AS u, " SQL_MS("\"createdAt\"") " AS w "
		"FROM call_logs WHERE rowid > (SELECT max(rowid) FROM call_logs) - " NEWEST_ROWS ") "
		"SELECT f.\"roomSid\" FROM l CROSS JOIN call_facts f ON f.\"roomName\" = l.n WHERE l.s IS NULL AND " CLAIMABLE
		" UNION SELECT f.\"roomSid\" FROM l CROSS JOIN call_facts f ON f.\"roomSid\" = l.s "
		"WHERE f.\"callLogId\" IS NULL OR (f.\"userId\" IS NULL AND l.u IS NOT NULL) LIMIT ?2",
	[SQL_LATE_ALL] =
		"SELECT f.\"roomSid\" FROM (SELECT \"livekitRoomName\" AS n, " SQL_MS("\"createdAt\"") " AS w FROM call_logs "
		"INDEXED BY idx_call_logs_unclaimed WHERE \"livekitRoomSid\" IS NULL) l "
		"CROSS JOIN call_facts f ON f.\"roomName\" = l.n WHERE " CLAIMABLE
		" UNION SELECT f.\"roomSid\" FROM call_facts f CROSS JOIN call_logs l ON l.\"livekitRoomSid\" = f.\"roomSid\" "
		"WHERE f.\"callLogId\" IS NULL UNION SELECT f.\"roomSid\" FROM (SELECT DISTINCT \"roomSid\" AS s FROM livekit_call_events "
		"WHERE \"userId\" IS NULL AND \"roomSid\" IS NOT NULL) e CROSS JOIN call_facts f ON f.\"roomSid\" = e.s "
		"CROSS JOIN call_logs l ON l.\"livekitRoomSid\" = f.\"roomSid\" WHERE f.\"userId\" IS NULL AND l.\"userId\" IS NOT NULL LIMIT ?2",
	[SQL_REPLAY_ROOMS] = sqlite_replay_rooms_sql,
	[SQL_REPLAY_CALL] = sqlite_replay_call_sql,
	[SQL_REPLAY_FIND] = sqlite_replay_find_sql,
	[SQL_REPLAY_LEG] = sqlite_replay_leg_sql,
	[SQL_JOURNAL] = sqlite_journal_sql,
	[SQL_STRAYS] = sqlite_strays_sql,
	[SQL_LEG_CALLS] = sqlite_leg_calls_sql,
	[SQL_LEG_INSERT] = sqlite_leg_insert_sql,
	[SQL_ANY_LEG_WAITS] = sqlite_any_leg_waits_sql,
	[SQL_LEG_WAITS] = sqlite_leg_waits_sql,
	[SQL_LEG_WAITS_OF_CALL] = sqlite_leg_waits_of_call_sql,
	[SQL_LEG_DUE] = sqlite_leg_due_sql,
	[SQL_COUNT] = "SELECT (SELECT count(*) FROM call_facts WHERE outcome IS NULL), (SELECT count(*) FROM livekit_call_events WHERE processed = 0), "
		      "(SELECT timestamp * 1000 FROM livekit_call_events WHERE \"eventId\" = '" STORE_PRUNED_ID "')",
};

/* ---- opening ---- */

/* A host's WITHOUT ROWID table has no newest rows to look at: all of them then. */
static int prepare_writer(struct sqlite_connection *c)
{
	const char *sql[SQL_WRITER_COUNT];
	int64_t newest = 0;

	memcpy(sql, sqlite_writer_sql, sizeof sql);
	if (sqlite_query_int(c, "SELECT max(rowid) FROM call_logs", NULL, &newest) != 0)
		sql[SQL_LATE_NEW] = sql[SQL_LATE_ALL];
	c->error[0] = '\0';
	return sqlite_prepare(c, sql, SQL_WRITER_COUNT);
}

static int open_writer(struct sqlite_store *s, const struct store_options *o, struct arena *a, struct slice *ret_message)
{
	int r = sqlite_connect(&s->c, o, SQLITE_WRITER, a, ret_message);

	if (r < 0)
		return r;
	r = sqlite_require_schema(&s->c, a, ret_message);
	if (r == 0) {
		r = sqlite_call_logs_shape(&s->c, NULL, &s->call_logs);
		if (r == 0)
			r = prepare_writer(&s->c);
		if (r < 0)
			store_fail(r, a, ret_message, "the database %s does not look as it should: %s", s->c.path, s->c.error);
	}
	if (r < 0)
		sqlite_disconnect(&s->c);
	return r;
}

static void sqlite_store_close(struct store *store)
{
	struct sqlite_store *s = (struct sqlite_store *)store;

	sqlite_batch_abort(store);
	sqlite_disconnect(&s->c);
	buf_done(&s->leg_cursor);
	free(s->url);
	free(s);
}

static int sqlite_store_open(const struct store_options *o, struct arena *message_arena, struct store **ret, struct slice *ret_message)
{
	struct sqlite_store *s = calloc(1, sizeof *s);

	if (!s)
		return OC_NOMEM;
	s->base.ops = &sqlite_store_ops;
	s->timeout_ms = o->timeout_ms;
	s->url = strndup(o->url.p, o->url.n);
	int r = s->url ? open_writer(s, o, message_arena, ret_message) : OC_NOMEM;
	if (r == 0)
		*ret = &s->base;
	else
		sqlite_store_close(&s->base);
	return r == OC_NOT_FOUND ? OC_SCHEMA : r;
}

int sqlite_reopen_if_broken(struct sqlite_store *s)
{
	const struct store_options o = { .url = slice_cstr(s->url), .timeout_ms = s->timeout_ms };
	char reason[sizeof s->c.error];

	if (s->c.sync_failed)
		return OC_FSYNC;
	if (s->c.db && !s->c.broken)
		return 0;
	int64_t now = clock_mono_ns();
	if (now < s->reopen_at_ns || (s->c.db && sqlite_check_in_place(&s->c) < 0))
		return OC_DOWN;
	sqlite_disconnect(&s->c);
	memcpy(reason, s->c.error, sizeof reason);
	int r = open_writer(s, &o, NULL, NULL);
	if (r == 0) {
		s->reopen_wait_ms = 0;
		return 0;
	}
	if (s->c.error[0] == '\0')
		memcpy(s->c.error, reason, sizeof reason);
	int wait = s->reopen_wait_ms ? s->reopen_wait_ms * 2 : REOPEN_FIRST_MS;
	s->reopen_wait_ms = wait < REOPEN_LAST_MS ? wait : REOPEN_LAST_MS;
	s->reopen_at_ns = now + (int64_t)s->reopen_wait_ms * 1000000;
	return r == OC_NOMEM || r == OC_RETRY || r == OC_IO || r == OC_SCHEMA ? r : OC_DOWN;
}

/* A lock is all that SQLite waits for. */
static void sqlite_until(struct store *store, int64_t mono_ms)
{
	struct sqlite_store *s = (struct sqlite_store *)store;
	int64_t left = mono_ms ? mono_ms - clock_mono_ns() / 1000000 : s->c.timeout_ms;
	if (s->c.db)
		sqlite3_busy_timeout(s->c.db, left < 0 ? 0 : left < s->c.timeout_ms ? (int)left : s->c.timeout_ms);
}

static const char *sqlite_last_error(const struct store *store) { return ((const struct sqlite_store *)store)->c.error; }

/* ---- what wants another look ---- */

static int add_sids(struct sqlite_store *s, enum sqlite_writer_statement which, int64_t now_ms, size_t limit, struct arena *a,
	struct slice *sids, size_t *count)
{
	struct sqlite_binder b = sqlite_bind(&s->c, which);
	int r = 0;

	bind_int(&b, now_ms);
	bind_int(&b, (int64_t)limit);
	while (*count < limit && (r = sqlite_row(&b)) > 0) {
		struct slice sid;
		bool there = false;
		if (!column_text(&b, 0, a, &sid)) {
			r = OC_NOMEM;
			break;
		}
		for (size_t i = 0; i < *count && !there; i++)
			there = slice_eq(sids[i], sid);
		if (!there)
			sids[(*count)++] = sid;
	}
	sqlite_reset(&b);
	return r < 0 ? r : 0;
}

int sqlite_due(struct store *store, int64_t now_ms, size_t limit, struct arena *a, struct slice **ret_sids, size_t *ret_count)
{
	struct sqlite_store *s = (struct sqlite_store *)store;
	size_t count = 0;
	struct slice *sids = ARENA_ARRAY(a, struct slice, limit);

	if (!sids)
		return OC_NOMEM;
	int r = sqlite_reopen_if_broken(s);
	if (r == 0)
		r = add_sids(s, SQL_DUE, now_ms, limit, a, sids, &count);
	if (r == 0 && (now_ms >= s->late_look_ms + LATE_ROW_PAUSE_MS || now_ms < s->late_look_ms)) {
		bool full = now_ms >= s->late_full_look_ms + FULL_LOOK_PAUSE_MS || now_ms < s->late_full_look_ms;
		r = add_sids(s, full ? SQL_LATE_ALL : SQL_LATE_NEW, now_ms, limit, a, sids, &count);
		s->late_look_ms = now_ms;
		if (full)
			s->late_full_look_ms = now_ms;
		if (r == 0)
			r = sqlite_leg_due(s, limit, a, sids, &count);
	}
	if (r == 0) {
		*ret_sids = sids;
		*ret_count = count;
	}
	return r;
}

int sqlite_count(struct store *store, struct store_counts *ret)
{
	struct sqlite_store *s = (struct sqlite_store *)store;
	int r = sqlite_reopen_if_broken(s);

	if (r < 0)
		return r;
	struct sqlite_binder b = sqlite_bind(&s->c, SQL_COUNT);
	r = sqlite_row(&b);
	if (r <= 0)
		return r;
	*ret = (struct store_counts){ .open_calls = sqlite3_column_int64(b.st, 0), .aside = sqlite3_column_int64(b.st, 1),
		.pruned_before_ms = sqlite3_column_int64(b.st, 2), .wal_bytes = sqlite_wal_bytes(&s->c) };
	sqlite_reset(&b);
	return 0;
}

const struct store_ops sqlite_store_ops = {
	.open = sqlite_store_open,
	.close = sqlite_store_close,
	.last_error = sqlite_last_error,
	.batch_load = sqlite_batch_load,
	.batch_commit = sqlite_batch_commit,
	.batch_abort = sqlite_batch_abort,
	.until = sqlite_until,
	.due = sqlite_due,
	.watch_claim = sqlite_watch_claim,
	.watch_move = sqlite_watch_move,
	.count = sqlite_count,
	.replay_begin = sqlite_replay_begin,
	.replay_count = sqlite_replay_count,
	.replay_find = sqlite_replay_find,
	.replay_rooms = sqlite_replay_rooms,
	.replay_calls = sqlite_replay_calls,
	.replay_legs = sqlite_replay_legs,
	.journal_open = sqlite_journal_open,
	.journal_next = sqlite_journal_next,
	.journal_close = sqlite_journal_close,
	.journal_strays = sqlite_journal_strays,
	.kept_calls = sqlite_kept_calls,
	.forget_calls = sqlite_forget_calls,
	.forget_payloads = sqlite_forget_payloads,
	.move_pruned = sqlite_move_pruned,
	.forget_strays = sqlite_forget_strays,
	.person_find = sqlite_person_find,
	.person_forget = sqlite_person_forget,
	.person_places = sqlite_person_places,
	.person_scrub = sqlite_person_scrub,
	.reader_open = sqlite_reader_open,
	.reader_close = sqlite_reader_close,
	.reader_last_error = sqlite_reader_last_error,
	.read_outcomes = sqlite_read_outcomes,
	.read_list = sqlite_read_list,
	.read_call = sqlite_read_call,
	.read_events = sqlite_read_events,
	.reader_ping = sqlite_reader_ping,
	.migrate_status = sqlite_migrate_status,
	.migrate_upgrade = sqlite_migrate_upgrade,
	.migrate_downgrade = sqlite_migrate_downgrade,
};
