/* The journal read again: pages of rooms, their calls as stored, their events one by one, and what lies aside without a room.
 *
 * A replay that looks has a snapshot of its own (BEGIN, then the first SELECT) and takes no lock; one that mends is inside a batch and has the
 * write lock already. Threads: the one that owns the struct store. */
#include "store/sqlite.h"

const char sqlite_replay_rooms_sql[] =
	"SELECT s, ?3 IS NULL OR EXISTS (SELECT 1 FROM livekit_call_events e WHERE e.\"roomSid\" = s AND e.\"createdAt\" >= ?3) FROM ("
	"SELECT s FROM (SELECT \"roomSid\" AS s FROM call_facts WHERE \"roomSid\" > ?1 ORDER BY \"roomSid\" LIMIT ?2) UNION "
	"SELECT s FROM (SELECT DISTINCT \"roomSid\" AS s FROM livekit_call_events INDEXED BY idx_lce_room WHERE \"roomSid\" > ?1 "
	"ORDER BY \"roomSid\" LIMIT ?2)) ORDER BY s LIMIT ?2";

const char sqlite_replay_call_sql[] =
	"SELECT (SELECT l.\"userId\" FROM call_logs l WHERE l.id = ?2), (SELECT max(revision) FROM call_revisions WHERE \"roomSid\" = ?1)";

const char sqlite_replay_find_sql[] =
	"SELECT \"roomSid\" FROM call_facts WHERE \"roomSid\" = ?1 UNION ALL SELECT \"roomSid\" FROM livekit_call_events WHERE \"roomSid\" = ?1 "
	"UNION ALL SELECT \"livekitRoomSid\" FROM call_logs WHERE id = ?1 AND \"livekitRoomSid\" IS NOT NULL LIMIT 1";

const char sqlite_replay_leg_sql[] = "SELECT 1 FROM call_legs WHERE \"sipCallId\" = ?1 AND \"roomSid\" = ?2";

#define JOURNAL_COLUMNS \
	"\"eventId\", event, \"roomName\", \"roomSid\", \"rawPayload\", \"rawBody\", \"errorMessage\", source, \"keyId\", \"userId\", processed, " \
	SQL_MS("\"createdAt\"")

const char sqlite_journal_sql[] = "SELECT " JOURNAL_COLUMNS " FROM livekit_call_events WHERE \"roomSid\" = ?1 ORDER BY id";

const char sqlite_strays_sql[] =
	"SELECT " JOURNAL_COLUMNS " FROM livekit_call_events INDEXED BY idx_lce_aside WHERE processed = 0 AND \"roomSid\" IS NULL "
	"AND \"createdAt\" >= ?1 AND (\"createdAt\" > ?1 OR \"eventId\" > ?2) ORDER BY \"createdAt\", \"eventId\" LIMIT ?3";

static struct sqlite_store *store_of(struct store *s) { return (struct sqlite_store *)s; }

int sqlite_replay_begin(struct store *store)
{
	struct sqlite_store *s = store_of(store);

	sqlite_batch_abort(store);
	int r = sqlite_reopen_if_broken(s);
	if (r == 0)
		r = sqlite_check_in_place(&s->c);
	return r < 0 ? r : sqlite_exec(&s->c, "BEGIN");
}

int sqlite_replay_count(struct store *store, int64_t *ret)
{
	return sqlite_query_int(&store_of(store)->c, "SELECT count(*) FROM call_facts", NULL, ret);
}

int sqlite_replay_find(struct store *store, struct slice call_id, struct arena *a, struct slice *ret_sid)
{
	struct sqlite_binder b = sqlite_bind(&store_of(store)->c, SQL_REPLAY_FIND);

	bind_text(&b, call_id);
	int r = sqlite_row(&b);
	if (r <= 0)
		return r == 0 || r == OC_DATA ? OC_NOT_FOUND : r;
	bool ok = column_text(&b, 0, a, ret_sid);
	sqlite_reset(&b);
	return ok ? 0 : OC_NOMEM;
}

int sqlite_replay_rooms(struct store *store, struct slice after, int64_t since_ms, size_t limit, struct arena *a, struct slice **ret_sids,
	size_t *ret_count, struct slice *ret_last)
{
	struct sqlite_binder b = sqlite_bind(&store_of(store)->c, SQL_REPLAY_ROOMS);
	struct slice *sids = ARENA_ARRAY(a, struct slice, limit), last = SLICE_NONE;
	size_t count = 0, looked_at = 0;
	int r;

	if (!sids)
		return OC_NOMEM;
	bind_text(&b, after.n ? after : SLICE(""));
	bind_int(&b, (int64_t)limit);
	bind_time(&b, since_ms);
	while ((r = sqlite_row(&b)) > 0) {
		if (!column_text(&b, 0, a, &last)) {
			r = OC_NOMEM;
			break;
		}
		looked_at++;
		if (sqlite3_column_int(b.st, 1))
			sids[count++] = last;
	}
	sqlite_reset(&b);
	if (r < 0)
		return r;
	*ret_sids = sids;
	*ret_count = count;
	*ret_last = looked_at < limit ? SLICE_NONE : last;
	return 0;
}

static int read_call(struct sqlite_store *s, struct slice sid, struct arena *a, struct replay_call *c)
{
	*c = (struct replay_call){ .row.room_sid = sid };
	int r = sqlite_read_call_row(s, sid, a, &c->row);
	if (r < 0)
		return r;
	struct sqlite_binder b = sqlite_bind(&s->c, SQL_REPLAY_CALL);
	bind_text(&b, sid);
	bind_text(&b, c->row.call_log_is_ours ? SLICE_NONE : c->row.call_log_id);
	r = sqlite_row(&b);
	if (r <= 0)
		return r;
	bool ok = column_text(&b, 0, a, &c->row.host_user_id);
	c->kept_revision = sqlite3_column_int64(b.st, 1);
	sqlite_reset(&b);
	return ok ? 0 : OC_NOMEM;
}

int sqlite_replay_calls(struct store *store, const struct slice *sids, size_t count, struct arena *a, struct replay_call *ret)
{
	int r = 0;

	for (size_t i = 0; i < count && r == 0; i++)
		r = read_call(store_of(store), sids[i], a, &ret[i]);
	return r;
}

int sqlite_replay_legs(struct store *store, struct replay_leg *legs, size_t count)
{
	int r = 0;

	for (size_t i = 0; i < count && r >= 0; i++) {
		struct sqlite_binder b = sqlite_bind(&store_of(store)->c, SQL_REPLAY_LEG);
		bind_text(&b, legs[i].call_id);
		bind_text(&b, legs[i].room_sid);
		r = sqlite_row(&b);
		legs[i].known = r > 0;
		if (r > 0)
			sqlite_reset(&b);
	}
	return r < 0 ? r : 0;
}

/* ---- the journal ---- */

static bool column_blob(const struct sqlite_binder *b, int column, struct arena *a, struct slice *ret)
{
	const void *p = sqlite3_column_blob(b->st, column);
	size_t n = (size_t)sqlite3_column_bytes(b->st, column);

	if (sqlite3_column_type(b->st, column) == SQLITE_NULL) {
		*ret = SLICE_NONE;
		return true;
	}
	return (p || n == 0) && arena_copy(a, slice_of(p ? p : "", n), ret);
}

static bool column_event(const struct sqlite_binder *b, struct arena *a, struct journal_row *e)
{
	*e = (struct journal_row){ .event_id = SLICE_NONE };
	struct slice *const texts[] = { &e->event_id, &e->event, &e->room_name, &e->room_sid, &e->payload, NULL, &e->error_message, &e->source, &e->key_id,
		&e->user_id };

	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
		if (texts[i] ? !column_text(b, (int)i, a, texts[i]) : !column_blob(b, (int)i, a, &e->raw_body))
			return false;
	e->processed = sqlite3_column_int(b->st, 10) != 0;
	e->created_at_ms = sqlite3_column_int64(b->st, 11);
	return true;
}

int sqlite_journal_open(struct store *store, const struct slice *sids, size_t count)
{
	struct sqlite_store *s = store_of(store);

	sqlite_journal_close(store);
	s->journal = (struct sqlite_journal){ .sids = sids, .count = count };
	return 0;
}

int sqlite_journal_next(struct store *store, struct arena *a, struct journal_row *ret)
{
	struct sqlite_store *s = store_of(store);
	struct sqlite_journal *j = &s->journal;

	while (j->at < j->count) {
		if (!j->reading) {
			j->rows = sqlite_bind(&s->c, SQL_JOURNAL);
			bind_text(&j->rows, j->sids[j->at]);
			j->reading = true;
		}
		int r = sqlite_row(&j->rows);
		if (r > 0)
			return column_event(&j->rows, a, ret) ? 1 : OC_NOMEM;
		j->reading = false;
		if (r < 0)
			return r;
		j->at++;
	}
	return 0;
}

void sqlite_journal_close(struct store *store)
{
	struct sqlite_journal *j = &store_of(store)->journal;

	if (j->reading)
		sqlite_reset(&j->rows);
	*j = (struct sqlite_journal){ .sids = NULL };
}

int sqlite_journal_strays(struct store *store, int64_t after_ms, struct slice after_id, size_t limit, struct arena *a, struct journal_row **ret,
	size_t *ret_count)
{
	struct sqlite_binder b = sqlite_bind(&store_of(store)->c, SQL_STRAYS);
	struct journal_row *rows = ARENA_ARRAY(a, struct journal_row, limit);
	size_t count = 0;
	int r;

	if (!rows)
		return OC_NOMEM;
	if (after_ms)
		bind_time(&b, after_ms);
	else
		bind_text(&b, SLICE(""));
	bind_text(&b, after_id.n ? after_id : SLICE(""));
	bind_int(&b, (int64_t)limit);
	while ((r = sqlite_row(&b)) > 0 && count < limit)
		if (!column_event(&b, a, &rows[count++])) {
			r = OC_NOMEM;
			break;
		}
	sqlite_reset(&b);
	if (r < 0)
		return r;
	*ret = rows;
	*ret_count = count;
	return 0;
}
