/* call_legs, and marks that name a leg by its sip.callID: which calls are meant, and which marks wait for a leg that has come. A mark that
 * waits is offered once its leg is there and is then bound or set aside for good, so nothing is offered for ever.
 * Threads: the one that owns the struct store; the SQL: any. */
#include "store/postgres_work.h"

const char pg_load_legs_sql[] = "SELECT DISTINCT \"roomSid\" FROM call_legs WHERE \"sipCallId\" = ANY ($1::text[])";

const char pg_legs_insert_sql[] =
	"INSERT INTO call_legs (\"sipCallId\", \"roomSid\") SELECT v.leg, v.sid FROM unnest($1::text[], $2::text[]) v (leg, sid) ON CONFLICT DO NOTHING";

#define IS_WAITING "e.\"roomSid\" IS NULL AND e.\"sipCallId\" IS NOT NULL AND e.\"errorMessage\" = '" STORE_WAITS "' AND "

/* $1 legs that the batch brings; $2 calls that a sweep looks at, whose legs are asked for. */
void pg_sql_load_leg_waits(const struct pg_schema *s, struct buf *b)
{
	buf_puts(b, "SELECT e.\"eventId\"::text, e.\"roomName\"::text, ");
	pg_sql_text(b, pg_column(s, PG_JOURNAL, "rawPayload"), "e");
	buf_puts(b, ", e.source::text, e.\"keyId\"::text, ");
	pg_sql_int8(b, pg_column(s, PG_JOURNAL, "timestamp"), "e");
	buf_puts(b, ", ");
	pg_sql_time(b, pg_column(s, PG_JOURNAL, "createdAt"), "e");
	buf_puts(b, " FROM livekit_call_events e WHERE " IS_WAITING);
	buf_puts(b, pg_sql_is_aside(s));
	buf_putf(b, " AND e.\"sipCallId\" = ANY ($1::text[] || ARRAY(SELECT l.\"sipCallId\" FROM call_legs l WHERE l.\"roomSid\" = ANY ($2::text[])))"
		" ORDER BY e.\"createdAt\", e.\"eventId\" LIMIT %d FOR UPDATE OF e SKIP LOCKED", STORE_UNBOUND_LIMIT);
}

/* Legs that marks wait for, from one on ($1), each with the calls that have it: what two nodes at once left over. $3: calls to leave alone. */
void pg_sql_due_legs(const struct pg_schema *s, struct buf *b)
{
	buf_puts(b, "SELECT w.leg, l.\"roomSid\" FROM (SELECT e.\"sipCallId\" AS leg, coalesce(e.\"errorMessage\" = '" STORE_WAITS "' AND ");
	buf_puts(b, pg_sql_is_aside(s));
	buf_puts(b, ", false) AS waits FROM livekit_call_events e WHERE e.\"roomSid\" IS NULL AND e.\"sipCallId\" IS NOT NULL"
		" AND e.\"sipCallId\" > $1::text ORDER BY e.\"sipCallId\" LIMIT $2::int8) w"
		" LEFT JOIN call_legs l ON w.waits AND l.\"sipCallId\" = w.leg AND l.\"roomSid\" <> ALL ($3::text[]) ORDER BY 1");
}

/* Did a tenant post it? What the canonical JSON says, not "userId", which any event of the call has, unless only the bytes were kept. CASE, for
 * other payloads may be no JSON. */
void pg_sql_own_mark(const struct pg_schema *s, struct buf *b)
{
	buf_puts(b, "CASE WHEN e.source = 'mark' THEN CASE WHEN e.\"rawPayload\" IS NULL THEN ");
	pg_sql_text(b, pg_column(s, PG_JOURNAL, "userId"), "e");
	buf_puts(b, " ELSE ");
	pg_sql_text(b, pg_column(s, PG_JOURNAL, "rawPayload"), "e");
	buf_puts(b, "::jsonb ->> 'userId' END IS NOT NULL ELSE false END");
}

bool pg_wants_leg_waits(const struct store_touch *t) { return t->sip_call_count > 0 || (t->event_count == 0 && t->room_count > 0); }

void pg_put_leg_waits(struct pg_params *p, const struct store_touch *t)
{
	pg_params_clear(p);
	pg_param_texts(p, t->sip_call_ids, t->sip_call_count);
	pg_param_texts(p, t->room_sids, t->event_count == 0 ? t->room_count : 0);
}

size_t pg_put_legs(struct pg_params *p, const struct store_changes *c)
{
	size_t count = 0;

	for (size_t i = 0; i < c->call_count; i++)
		count += c->calls[i].new_leg_count;
	if (count == 0)
		return 0;
	pg_params_clear(p);
	for (int sids = 0; sids < 2; sids++) {
		struct buf *b = pg_param_array(p, PG_ELEMENT_TEXT, count);
		for (size_t i = 0; i < c->call_count; i++)
			for (size_t k = 0; k < c->calls[i].new_leg_count; k++)
				pg_put_bytes(b, sids ? c->calls[i].room_sid : c->calls[i].new_legs[k]);
	}
	return count;
}
