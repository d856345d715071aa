/* The verdicts that a later one replaces, on PostgreSQL. They are copied by the database itself out of call_facts, before the update and in the
 * same transaction. Threads: the one that owns the struct store. */
#include "store/postgres_work.h"

/* $1 room SIDs, $2 now, ms. */
const char pg_revisions_keep_sql[] =
	"INSERT INTO call_revisions (\"roomSid\", revision, outcome, rules, verdict, \"createdAt\") SELECT f.\"roomSid\", f.revision, f.outcome, f.rules, f.verdict,"
	" to_timestamp($2::int8 / 1000.0) FROM call_facts f WHERE f.\"roomSid\" = ANY ($1::text[]) ON CONFLICT DO NOTHING";

size_t pg_put_replaced(struct pg_params *p, const struct work *w, int64_t now_ms)
{
	size_t count = 0;

	for (size_t i = 0; i < w->count; i++)
		count += w->calls[i].before && call_verdict_replaced(w->calls[i].before, w->calls[i].call);
	if (count == 0)
		return 0;
	pg_params_clear(p);
	struct buf *b = pg_param_array(p, PG_ELEMENT_TEXT, count);
	for (size_t i = 0; i < w->count; i++)
		if (w->calls[i].before && call_verdict_replaced(w->calls[i].before, w->calls[i].call))
			pg_put_bytes(b, w->calls[i].call->room_sid);
	pg_param_int8(p, now_ms);
	return count;
}
