/* The watcher's claims on SQLite. Mostly nothing is due: that is seen without a lock; only then the write lock is taken and everything looked at
 * again under it. Threads: the watcher's, which has a struct store of its own. */
#include "store/sqlite.h"

struct claiming {
	struct sqlite_store *s;
	const struct watch_claim *c;
	struct arena *a;
	struct watch_row *rows;
	size_t count;
	bool writing;   /* under the write lock: the rows are to be moved */
	bool any_to_move;
};

static bool has(const struct claiming *x, struct slice sid)
{
	for (size_t i = 0; i < x->count; i++)
		if (slice_eq(x->rows[i].room_sid, sid))
			return true;
	return false;
}

static int take(struct claiming *x, const struct sqlite_binder *b)
{
	struct watch_row row;
	if (!column_text(b, 0, x->a, &row.room_sid) || !column_text(b, 1, x->a, &row.room_name) || !column_text(b, 2, x->a, &row.user_id) ||
	    !column_text(b, 3, x->a, &row.facts))
		return OC_NOMEM;
	row.watch_at_ms = sqlite3_column_int64(b->st, 4);
	if (!has(x, row.room_sid))
		x->rows[x->count++] = row;
	return 0;
}

static int look_at_mine(struct claiming *x)
{
	int r = 0;
	for (size_t i = 0; i < x->c->mine_count && r >= 0; i++) {
		struct sqlite_binder b = sqlite_bind(&x->s->c, SQL_WATCH_MINE);
		bind_text(&b, x->c->mine[i]);
		r = sqlite_row(&b);
		if (r > 0) {
			r = take(x, &b);
			sqlite_reset(&b);
		}
	}
	return r < 0 ? r : 0;
}

static int look(struct claiming *x)
{
	x->count = 0;
	int r = look_at_mine(x);
	if (r < 0)
		return r;
	struct sqlite_binder b = sqlite_bind(&x->s->c, SQL_WATCH_DUE);
	bind_int(&b, x->c->now_ms);
	bind_int(&b, (int64_t)x->c->limit);
	while ((r = sqlite_row(&b)) > 0 && (r = take(x, &b)) == 0)
		;
	sqlite_reset(&b);
	return r;
}

static int move(struct sqlite_store *s, struct slice sid, int64_t was_ms, int64_t at_ms)
{
	struct sqlite_binder b = sqlite_bind(&s->c, SQL_WATCH_MOVE);
	bind_text(&b, sid);
	bind_int(&b, was_ms);
	bind_int_or_null(&b, at_ms, 0);
	return sqlite_run(&b);
}

static int claim_rows(struct claiming *x)
{
	const struct watch_claim *c = x->c;
	int64_t until_ms = c->now_ms + c->lease_ms;
	int r = look(x);
	for (size_t i = 0; i < x->count && r == 0; i++) {
		struct watch_row *row = &x->rows[i];
		if (row->watch_at_ms > c->now_ms + c->lease_ms / 2)
			continue;
		x->any_to_move = true;
		if (!x->writing)
			continue;
		r = move(x->s, row->room_sid, row->watch_at_ms, until_ms);
		row->watch_at_ms = until_ms;
	}
	return r;
}

int sqlite_watch_claim(struct store *store, const struct watch_claim *c, struct arena *a, struct watch_row **ret, size_t *ret_count)
{
	struct claiming x = { .s = (struct sqlite_store *)store, .c = c, .a = a };
	x.rows = ARENA_ARRAY(a, struct watch_row, c->limit + c->mine_count);
	if (!x.rows)
		return OC_NOMEM;
	int r = sqlite_reopen_if_broken(x.s);
	if (r == 0)
		r = claim_rows(&x);
	if (r == 0 && x.any_to_move) {
		x.writing = true;
		r = sqlite_exec(&x.s->c, "BEGIN IMMEDIATE");
		if (r == 0)
			r = claim_rows(&x);
		if (r == 0)
			r = sqlite_exec(&x.s->c, "COMMIT");
		if (r < 0)
			sqlite_batch_abort(store);
	}
	if (r < 0)
		return r;
	*ret = x.rows;
	*ret_count = x.count;
	return 0;
}

int sqlite_watch_move(struct store *store, struct slice room_sid, int64_t was_ms, int64_t at_ms)
{
	struct sqlite_store *s = (struct sqlite_store *)store;
	int r = sqlite_reopen_if_broken(s);
	return r < 0 ? r : move(s, room_sid, was_ms, at_ms);
}
