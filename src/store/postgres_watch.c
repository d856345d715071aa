/* The watcher's claims on PostgreSQL. One statement looks, locks and moves: rows that another node holds are passed over (SKIP LOCKED), so of all
 * nodes one asks about a call, and nobody waits. Threads: the one that owns the struct store. */
#include "store/postgres.h"

/* $1 now, $2 the most to claim, $3 mine, $4 now + lease. What it gives is as of before it moved anything, but for the new time. */
const char pg_watch_claim_sql[] =
	"WITH due AS MATERIALIZED (SELECT \"roomSid\" AS sid FROM call_facts WHERE \"watchAtMs\" <= $1::int8 ORDER BY \"watchAtMs\" LIMIT $2::int8"
	"  FOR UPDATE SKIP LOCKED),"
	" old AS MATERIALIZED (SELECT \"roomSid\" AS sid FROM call_facts WHERE \"roomSid\" = ANY ($3::text[]) AND \"watchAtMs\" > $1::int8"
	"  AND \"watchAtMs\" <= ($1::int8 + $4::int8) / 2 FOR UPDATE SKIP LOCKED),"
	" moved AS (UPDATE call_facts f SET \"watchAtMs\" = $4::int8"
	"  WHERE f.\"roomSid\" = ANY (ARRAY(SELECT sid FROM due UNION ALL SELECT sid FROM old)) RETURNING f.\"roomSid\" AS sid)"
	" SELECT f.\"roomSid\", f.\"roomName\", f.\"userId\", f.facts, coalesce((SELECT $4::int8 FROM moved m WHERE m.sid = f.\"roomSid\"), f.\"watchAtMs\")"
	" FROM call_facts f WHERE f.\"roomSid\" = ANY (ARRAY(SELECT sid FROM moved))"
	"  OR (f.\"roomSid\" = ANY ($3::text[]) AND f.\"watchAtMs\" IS NOT NULL)";

const char pg_watch_move_sql[] = "UPDATE call_facts SET \"watchAtMs\" = $3::int8 WHERE \"roomSid\" = $1::text AND \"watchAtMs\" = $2::int8";

static int run(struct pg_store *s, enum pg_statement statement, const struct pg_params *p, PGresult **ret)
{
	int r = pg_ask(&s->pg, statement, p, pg_deadline(&s->pg), ret);
	return r < 0 ? pg_batch_error(s, r) : 0;
}

static int take_row(const PGresult *res, int row, struct arena *a, struct watch_row *ret)
{
	struct slice *const texts[] = { &ret->room_sid, &ret->room_name, &ret->user_id, &ret->facts };
	for (int i = 0; i < 4; i++) {
		int r = pg_get_text(res, row, i, a, texts[i]);
		if (r < 0)
			return r;
	}
	ret->watch_at_ms = pg_get_int8(res, row, 4);
	return 0;
}

int pg_watch_claim(struct store *store, const struct watch_claim *c, struct arena *a, struct watch_row **ret, size_t *ret_count)
{
	struct pg_store *s = (struct pg_store *)store;
	_cleanup_pg_ PGresult *res = NULL;
	struct pg_params p = { .count = 0 };
	int r = pg_ready(&s->pg);
	if (r < 0)
		return r;
	pg_param_int8(&p, c->now_ms);
	pg_param_int8(&p, (int64_t)c->limit);
	pg_param_texts(&p, c->mine, c->mine_count);
	pg_param_int8(&p, c->now_ms + c->lease_ms);
	r = run(s, PG_STMT_WATCH_CLAIM, &p, &res);
	pg_params_done(&p);
	if (r < 0)
		return r;
	size_t count = (size_t)PQntuples(res);
	struct watch_row *rows = ARENA_ARRAY(a, struct watch_row, count);
	if (!rows)
		return OC_NOMEM;
	for (size_t i = 0; i < count && r == 0; i++)
		r = take_row(res, (int)i, a, &rows[i]);
	if (r == 0) {
		*ret = rows;
		*ret_count = count;
	}
	return r;
}

int pg_watch_move(struct store *store, struct slice room_sid, int64_t was_ms, int64_t at_ms)
{
	struct pg_store *s = (struct pg_store *)store;
	_cleanup_pg_ PGresult *res = NULL;
	struct pg_params p = { .count = 0 };
	int r = pg_ready(&s->pg);
	if (r < 0)
		return r;
	pg_param_text(&p, room_sid);
	pg_param_int8(&p, was_ms);
	pg_param_int8_or_null(&p, at_ms, 0);
	r = run(s, PG_STMT_WATCH_MOVE, &p, &res);
	pg_params_done(&p);
	return r;
}
