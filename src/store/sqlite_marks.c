/* call_legs, and marks that name a leg by its sip.callID: which call is meant, and which marks wait for a leg that has come. A mark that waits
 * is offered once its leg is there and is then bound or set aside for good, so nothing is offered for ever. Threads: the writer's. */
#include "store/sqlite.h"

#define TEXT_OF_(number) #number
#define TEXT_OF(number) TEXT_OF_(number)

#define LEGS_LOOKED_AT 2000 /* at one sweep, however many are waited for */

#define WAITS \
	"e.\"roomSid\" IS NULL AND e.\"sipCallId\" IS NOT NULL AND e.processed = 0 AND e.\"errorMessage\" = '" STORE_WAITS "'"
#define WAITING_MARK \
	"e.\"eventId\", e.\"rawPayload\", e.source, e.\"keyId\", e.timestamp, " SQL_MS("e.\"createdAt\"") ", e.\"roomName\""

const char sqlite_leg_calls_sql[] = "SELECT \"roomSid\" FROM call_legs WHERE \"sipCallId\" = ?1";
const char sqlite_leg_insert_sql[] = "INSERT OR IGNORE INTO call_legs (\"sipCallId\", \"roomSid\") VALUES (?1, ?2)";
const char sqlite_any_leg_waits_sql[] = "SELECT 1 FROM livekit_call_events INDEXED BY idx_lce_unbound_sip WHERE \"roomSid\" IS NULL "
					"AND \"sipCallId\" IS NOT NULL LIMIT 1";
const char sqlite_leg_waits_sql[] = "SELECT " WAITING_MARK " FROM livekit_call_events e WHERE " WAITS " AND e.\"sipCallId\" = ?1 "
				    "ORDER BY e.id LIMIT " TEXT_OF(STORE_UNBOUND_LIMIT);
const char sqlite_leg_waits_of_call_sql[] =
	"SELECT " WAITING_MARK " FROM call_legs l CROSS JOIN livekit_call_events e INDEXED BY idx_lce_unbound_sip "
	"ON e.\"sipCallId\" = l.\"sipCallId\" WHERE l.\"roomSid\" = ?1 AND " WAITS " ORDER BY e.id LIMIT " TEXT_OF(STORE_UNBOUND_LIMIT);
/* A stretch of the legs that are waited for, from behind ?1 on, each with the calls that have it. */
const char sqlite_leg_due_sql[] =
	"SELECT e.leg, l.\"roomSid\" FROM (SELECT \"sipCallId\" AS leg, processed = 0 AND \"errorMessage\" = '" STORE_WAITS "' AS waits "
	"FROM livekit_call_events INDEXED BY idx_lce_unbound_sip WHERE \"roomSid\" IS NULL AND \"sipCallId\" IS NOT NULL AND \"sipCallId\" > ?1 "
	"ORDER BY \"sipCallId\" LIMIT " TEXT_OF(LEGS_LOOKED_AT) ") e LEFT JOIN call_legs l ON e.waits AND l.\"sipCallId\" = e.leg";

int sqlite_leg_calls(struct sqlite_store *s, const struct store_touch *t, struct arena *a, struct slice **ret_sids, size_t *ret_count)
{
	size_t count = 0, size = t->leg_count + 8;
	struct slice *sids = ARENA_ARRAY(a, struct slice, size);
	int r = sids ? 0 : OC_NOMEM;

	for (size_t i = 0; i < t->leg_count && r == 0; i++) {
		struct sqlite_binder b = sqlite_bind(&s->c, SQL_LEG_CALLS);
		bind_text(&b, t->leg_ids[i]);
		while ((r = sqlite_row(&b)) > 0) {
			bool ok = true;
			if (count == size) {
				struct slice *more = ARENA_ARRAY(a, struct slice, 2 * size);
				if (more)
					memcpy(more, sids, size * sizeof *sids);
				ok = more != NULL;
				sids = more;
				size *= 2;
			}
			if (!ok || !column_text(&b, 0, a, &sids[count])) {
				sqlite_reset(&b);
				return OC_NOMEM;
			}
			bool there = false;
			for (size_t k = 0; k < count && !there; k++)
				there = slice_eq(sids[k], sids[count]);
			count += !there;
		}
	}
	if (r < 0)
		return r;
	*ret_sids = sids;
	*ret_count = count;
	return 0;
}

static bool has_row(const struct unbound_row *rows, size_t count, struct slice event_id)
{
	for (size_t i = 0; i < count; i++)
		if (slice_eq(rows[i].event_id, event_id))
			return true;
	return false;
}

static int add_waits(struct sqlite_store *s, enum sqlite_writer_statement which, struct slice of, struct arena *a, struct unbound_row *rows, size_t *count)
{
	struct sqlite_binder b = sqlite_bind(&s->c, which);
	int r = 0;

	bind_text(&b, of);
	while (*count < STORE_UNBOUND_LIMIT && (r = sqlite_row(&b)) > 0) {
		struct unbound_row u = { .event_id = SLICE_NONE };
		if (!column_text(&b, 0, a, &u.event_id) || !column_text(&b, 1, a, &u.payload) || !column_text(&b, 2, a, &u.source)
			|| !column_text(&b, 3, a, &u.key_id) || !column_text(&b, 6, a, &u.room_name)) {
			r = OC_NOMEM;
			break;
		}
		u.timestamp_s = sqlite3_column_int64(b.st, 4);
		u.created_at_ms = sqlite3_column_int64(b.st, 5);
		if (!has_row(rows, *count, u.event_id))
			rows[(*count)++] = u;
	}
	sqlite_reset(&b);
	return r < 0 ? r : 0;
}

/* Mostly nothing waits: one question then. */
static int is_any_waiting(struct sqlite_store *s)
{
	struct sqlite_binder b = sqlite_bind(&s->c, SQL_ANY_LEG_WAITS);
	int r = sqlite_row(&b);

	if (r > 0)
		sqlite_reset(&b);
	return r;
}

int sqlite_leg_waits(struct sqlite_store *s, const struct store_touch *t, const struct call_row *calls, size_t call_count, struct arena *a,
	struct unbound_row *rows, size_t *count)
{
	bool sweep = t->event_count == 0 && call_count > 0;
	int r = t->sip_call_count || sweep ? is_any_waiting(s) : 0;

	if (r <= 0)
		return r;
	r = 0;
	for (size_t i = 0; i < t->sip_call_count && r == 0; i++)
		r = add_waits(s, SQL_LEG_WAITS, t->sip_call_ids[i], a, rows, count);
	for (size_t i = 0; sweep && i < call_count && r == 0; i++)
		r = add_waits(s, SQL_LEG_WAITS_OF_CALL, calls[i].room_sid, a, rows, count);
	return r;
}

static bool is_listed(const struct slice *sids, size_t count, struct slice sid)
{
	for (size_t i = 0; i < count; i++)
		if (slice_eq(sids[i], sid))
			return true;
	return false;
}

/* The next sweep goes on behind the last leg, or at the first one again. Where `limit` cuts it short, this stretch is looked at again. */
int sqlite_leg_due(struct sqlite_store *s, size_t limit, struct arena *a, struct slice *sids, size_t *count)
{
	struct sqlite_binder b = sqlite_bind(&s->c, SQL_LEG_DUE);
	struct slice leg = SLICE_NONE, sid;
	size_t rows = 0;
	int r = 0;

	bind_text(&b, s->leg_cursor.n ? buf_slice(&s->leg_cursor) : SLICE(""));
	while (*count < limit && (r = sqlite_row(&b)) > 0) {
		if (!column_text(&b, 0, a, &leg) || !column_text(&b, 1, a, &sid)) {
			r = OC_NOMEM;
			break;
		}
		rows++;
		if (!slice_is_none(sid) && !is_listed(sids, *count, sid))
			sids[(*count)++] = sid;
	}
	sqlite_reset(&b);
	if (r != 0)
		return r < 0 ? r : 0;
	buf_clear(&s->leg_cursor);
	if (rows >= LEGS_LOOKED_AT)
		buf_put(&s->leg_cursor, leg);
	return buf_failed(&s->leg_cursor) ? OC_NOMEM : 0;
}

int sqlite_write_legs(struct sqlite_store *s, const struct call_row *call)
{
	int r = 0;

	for (size_t i = 0; i < call->new_leg_count && r == 0; i++) {
		struct sqlite_binder b = sqlite_bind(&s->c, SQL_LEG_INSERT);
		bind_text(&b, call->new_legs[i]);
		bind_text(&b, call->room_sid);
		r = sqlite_run(&b);
	}
	return r;
}
