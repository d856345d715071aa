/* What is not to be kept any longer, on SQLite. Everything is inside the transaction of a batch, small, and overwritten in the file as it goes
 * (secure_delete); what was overwritten in the write-ahead log is gone with its next checkpoint.
 * The statements are of the moment: nobody asks them often. Threads: the one that owns the struct store. */
#include "store/sqlite.h"

static struct sqlite_store *store_of(struct store *s) { return (struct sqlite_store *)s; }

int sqlite_once(struct sqlite_connection *c, const char *sql, struct sqlite_binder *ret)
{
	*ret = (struct sqlite_binder){ .c = c };
	return sqlite_error(c, sqlite3_prepare_v2(c->db, sql, -1, &ret->st, NULL));
}

void sqlite_once_done(struct sqlite_binder *b)
{
	sqlite3_finalize(b->st);
	b->st = NULL;
}

/* ---- what is there ---- */

/* ?1 after, ?2 how many, ?3 also whether there are payloads. */
static const char kept_sql[] =
	"SELECT s, f.\"userId\", f.\"roomSid\" IS NOT NULL, f.outcome IS NOT NULL, CASE WHEN f.\"roomSid\" IS NULL THEN "
	"(SELECT max(" SQL_MS("e.\"createdAt\"") ") FROM livekit_call_events e WHERE e.\"roomSid\" = s) ELSE "
	"COALESCE(f.\"endedAtMs\", " SQL_MS("f.\"updatedAt\"") ") END, ?3 AND EXISTS (SELECT 1 FROM livekit_call_events e WHERE e.\"roomSid\" = s "
	"AND (e.\"rawPayload\" IS NOT NULL OR e.\"rawBody\" IS NOT NULL)) FROM ("
	"SELECT s FROM (SELECT \"roomSid\" AS s FROM call_facts WHERE \"roomSid\" > ?1 ORDER BY \"roomSid\" LIMIT ?2) UNION "
	"SELECT s FROM (SELECT DISTINCT \"roomSid\" AS s FROM livekit_call_events INDEXED BY idx_lce_room WHERE \"roomSid\" > ?1 "
	"ORDER BY \"roomSid\" LIMIT ?2)) LEFT JOIN call_facts f ON f.\"roomSid\" = s ORDER BY s LIMIT ?2";

static int take_kept(const struct sqlite_binder *b, struct arena *a, struct kept_call *k)
{
	if (!column_text(b, 0, a, &k->room_sid) || !column_text(b, 1, a, &k->user_id))
		return OC_NOMEM;
	k->has_row = sqlite3_column_int(b->st, 2) != 0;
	k->ended = !k->has_row || sqlite3_column_int(b->st, 3) != 0;
	k->at_ms = sqlite3_column_int64(b->st, 4);
	k->has_payloads = sqlite3_column_int(b->st, 5) != 0;
	return 0;
}

int sqlite_kept_calls(struct store *store, struct slice after, size_t limit, bool ask_payloads, struct arena *a, struct kept_call **ret,
	size_t *ret_count, struct slice *ret_last)
{
	struct kept_call *kept = ARENA_ARRAY(a, struct kept_call, limit);
	struct sqlite_binder b;
	size_t count = 0;

	if (!kept)
		return OC_NOMEM;
	int r = sqlite_once(&store_of(store)->c, kept_sql, &b);
	if (r == 0) {
		bind_text(&b, after.n ? after : SLICE(""));
		bind_int(&b, (int64_t)limit);
		bind_int(&b, ask_payloads);
		while (count < limit && (r = sqlite_row(&b)) > 0) {
			r = take_kept(&b, a, &kept[count++]);
			if (r < 0)
				break;
		}
	}
	sqlite_once_done(&b);
	if (r < 0)
		return r;
	*ret = kept;
	*ret_count = count;
	*ret_last = count < limit ? SLICE_NONE : kept[count - 1].room_sid;
	return 0;
}

/* ---- what goes ---- */

static int begin_forgetting(struct sqlite_store *s)
{
	if (s->c.forgets)
		return 0;
	int r = sqlite_exec(&s->c, "PRAGMA secure_delete = ON");
	s->c.forgets = r == 0;
	return r;
}

/* Runs it for one call, with a second parameter where the statement has one; adds the rows it changed to *ret. */
static int run_for(struct sqlite_store *s, const char *sql, struct slice sid, int64_t most, int64_t *ret)
{
	struct sqlite_binder b;
	int r = sqlite_once(&s->c, sql, &b);

	if (r == 0) {
		bind_text(&b, sid);
		if (sqlite3_bind_parameter_count(b.st) > 1)
			bind_int(&b, most);
		r = sqlite_run(&b);
	}
	if (r == 0)
		*ret += sqlite3_changes64(s->c.db);
	sqlite_once_done(&b);
	return r;
}

/* In this order: call_facts says which call_logs row is ours. */
static int forget_rows(struct sqlite_store *s, struct slice sid, struct forgotten *f)
{
	const struct {
		const char *sql;
		int64_t *count;
	} steps[] = {
		{ "DELETE FROM call_logs WHERE \"livekitRoomSid\" = ?1 AND id = (SELECT \"callLogId\" FROM call_facts WHERE \"roomSid\" = ?1 "
		  "AND \"callLogIsOurs\" = 1)", &f->call_logs },
		{ "DELETE FROM call_legs WHERE \"roomSid\" = ?1", &f->legs },
		{ "DELETE FROM call_revisions WHERE \"roomSid\" = ?1", &f->revisions },
		{ "DELETE FROM call_facts WHERE \"roomSid\" = ?1", &f->facts },
	};
	int r = 0;
	for (size_t i = 0; i < sizeof steps / sizeof *steps && r == 0; i++)
		r = run_for(s, steps[i].sql, sid, 0, steps[i].count);
	return r;
}

int sqlite_forget_calls(struct store *store, const struct slice *sids, size_t count, size_t most, struct forgotten *ret)
{
	static const char events_sql[] =
		"DELETE FROM livekit_call_events WHERE id IN (SELECT id FROM livekit_call_events WHERE \"roomSid\" = ?1 LIMIT ?2)";
	struct sqlite_store *s = store_of(store);
	int64_t left = (int64_t)most;
	int r = begin_forgetting(s);

	for (size_t i = 0; i < count && r == 0; i++) {
		int64_t gone = 0;
		r = run_for(s, events_sql, sids[i], left, &gone);
		if (r == 0)
			ret->events += gone;
		left -= gone;
		if (r == 0 && left == 0)
			return 1;
		if (r == 0)
			r = forget_rows(s, sids[i], ret);
	}
	return r;
}

int sqlite_forget_payloads(struct store *store, const struct slice *sids, size_t count, size_t most, struct forgotten *ret)
{
	static const char sql[] =
		"UPDATE livekit_call_events SET \"rawPayload\" = NULL, \"rawBody\" = NULL WHERE id IN (SELECT id FROM livekit_call_events "
		"WHERE \"roomSid\" = ?1 AND (\"rawPayload\" IS NOT NULL OR \"rawBody\" IS NOT NULL) LIMIT ?2)";
	struct sqlite_store *s = store_of(store);
	int64_t left = (int64_t)most;
	int r = begin_forgetting(s);

	for (size_t i = 0; i < count && r == 0; i++) {
		int64_t gone = 0;
		r = run_for(s, sql, sids[i], left, &gone);
		if (r == 0)
			ret->payloads += gone;
		left -= gone;
		if (r == 0 && left == 0)
			return 1;
	}
	return r;
}

int sqlite_move_pruned(struct store *store, int64_t before_ms)
{
	struct sqlite_store *s = store_of(store);
	struct sqlite_binder b;
	int r = sqlite_once(&s->c, "UPDATE livekit_call_events SET timestamp = max(timestamp, ?1) WHERE \"eventId\" = '" STORE_PRUNED_ID "'", &b);

	if (r == 0) {
		bind_int(&b, before_ms / 1000);
		r = sqlite_run(&b);
	}
	sqlite_once_done(&b);
	return r;
}

#define STRAYS \
	"SELECT id FROM livekit_call_events WHERE \"roomSid\" IS NULL AND \"createdAt\" < ?1 " \
	"AND \"eventId\" <> '" STORE_PRUNED_ID "' AND (?2 IS NULL OR \"userId\" = ?2)"

int sqlite_forget_strays(struct store *store, int64_t before_ms, struct slice user, bool payloads_only, size_t most, struct forgotten *ret)
{
	static const char rows_sql[] = "DELETE FROM livekit_call_events WHERE id IN (" STRAYS " LIMIT ?3)";
	static const char payloads_sql[] =
		"UPDATE livekit_call_events SET \"rawPayload\" = NULL, \"rawBody\" = NULL, \"errorMessage\" = CASE \"errorMessage\" WHEN '" STORE_WAITS
		"' THEN '" STORE_STRIPPED "' ELSE \"errorMessage\" END WHERE id IN (" STRAYS
		" AND (\"rawPayload\" IS NOT NULL OR \"rawBody\" IS NOT NULL) LIMIT ?3)";
	struct sqlite_store *s = store_of(store);
	struct sqlite_binder b = { .st = NULL };
	int r = begin_forgetting(s);

	if (r == 0)
		r = sqlite_once(&s->c, payloads_only ? payloads_sql : rows_sql, &b);
	if (r == 0) {
		bind_time(&b, before_ms);
		bind_text(&b, user.n ? user : SLICE_NONE);
		bind_int(&b, (int64_t)most);
		r = sqlite_run(&b);
	}
	int64_t gone = r == 0 ? sqlite3_changes64(s->c.db) : 0;
	sqlite_once_done(&b);
	*(payloads_only ? &ret->payloads : &ret->events) += gone;
	return r < 0 ? r : gone == (int64_t)most;
}
