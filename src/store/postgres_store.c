/* The writer's store on PostgreSQL: opening, aborting, and what the sweeper asks; the table of functions behind store.h.
 *
 * store_due has to find rows that the host wrote later without any index on "later": it walks the calls without a row and the rows without
 * a call a stretch at a time (SWEEP_ROWS), going on each time where it stopped, so one look costs the same however large the tables are.
 * Threads: the one that owns the struct store. */
#include "store/postgres.h"

#include <stdlib.h>

#define SWEEP_ROWS 500
#define SKIP_MS (10 * 60 * 1000)

static struct pg_store *store_of(struct store *s) { return (struct pg_store *)s; }

int pg_store_open(const struct store_options *o, struct arena *message_arena, struct store **ret, struct slice *ret_message)
{
	struct pg_store *s = calloc(1, sizeof *s);
	if (!s)
		return OC_NOMEM;
	s->base.ops = &postgres_store_ops;
	int r = pg_init(&s->pg, PG_WRITER, o);
	if (r == 0) {
		r = pg_connect(&s->pg);
		if (r < 0)
			store_fail(r, message_arena, ret_message, "PostgreSQL: %s", pg_error(&s->pg));
	}
	if (r < 0) {
		pg_store_close(&s->base);
		return r;
	}
	*ret = &s->base;
	return 0;
}

void pg_store_close(struct store *store)
{
	if (!store)
		return;
	struct pg_store *s = store_of(store);
	pg_done(&s->pg);
	buf_done(&s->names_cursor);
	buf_done(&s->sids_cursor);
	buf_done(&s->tenants_cursor);
	buf_done(&s->legs_cursor);
	free(s);
}

static void pg_until(struct store *s, int64_t mono_ms) { store_of(s)->pg.until_ms = mono_ms; }

const char *pg_store_last_error(const struct store *s) { return pg_error(&((const struct pg_store *)s)->pg); }

void pg_batch_abort(struct store *store)
{
	struct pg_store *s = store_of(store);

	if (s->in_batch)
		pg_recover(&s->pg);
	s->pg.batch_until_ms = 0;
	s->in_batch = false;
	s->before = NULL;
	s->before_count = 0;
}

int pg_batch_error(struct pg_store *s, int error)
{
	struct pg *c = &s->pg;

	if (error == OC_CONFLICT)
		return OC_RETRY;
	if (error == OC_DATA && c->duplicate) /* another node was faster; but not for ever */
		return s->duplicates++ ? OC_DATA : OC_RETRY;
	if (error == OC_CONFIG)
		return OC_DOWN;
	if (error != OC_SCHEMA)
		return error;
	pg_drop(c);
	c->backoff_ms = 0;
	return c->schema_errors++ ? OC_SCHEMA : OC_RETRY;
}

void pg_skip_call(struct pg_store *s, struct slice sid, bool locked)
{
	struct pg_skipped *k = &s->skipped[s->skipped_next++ % PG_SKIPPED_MAX];
	if (sid.n >= sizeof k->sid)
		return;
	memcpy(k->sid, sid.p, sid.n);
	k->sid[sid.n] = '\0';
	k->locked = locked;
	k->until_ms = pg_now_ms() + (locked ? PG_LOCKED_MS : SKIP_MS);
}

bool pg_is_locked(const struct pg_store *s, struct slice sid)
{
	int64_t now = pg_now_ms();
	for (size_t i = 0; i < PG_SKIPPED_MAX; i++)
		if (s->skipped[i].locked && s->skipped[i].until_ms > now && slice_eq_cstr(sid, s->skipped[i].sid))
			return true;
	return false;
}

/* ---- the sweep ---- */

struct sweep {
	enum pg_statement statement;
	size_t cursor; /* offset of its struct buf in struct pg_store */
	bool flagged;  /* the second column says whether, else it is the SID or NULL */
};

static const struct sweep sweeps[] = {
	{ PG_STMT_DUE_NAMES, offsetof(struct pg_store, names_cursor), false },
	{ PG_STMT_DUE_SIDS, offsetof(struct pg_store, sids_cursor), true },
	{ PG_STMT_DUE_TENANTS, offsetof(struct pg_store, tenants_cursor), true },
	{ PG_STMT_DUE_LEGS, offsetof(struct pg_store, legs_cursor), false },
};
#define SWEEP_COUNT (sizeof sweeps / sizeof *sweeps)

static struct buf *cursor_of(struct pg_store *s, const struct sweep *w) { return (struct buf *)((char *)s + w->cursor); }

static void put_skipped(struct pg_store *s, struct pg_params *p)
{
	int64_t now = pg_now_ms();
	struct slice sids[PG_SKIPPED_MAX];
	size_t n = 0;

	for (size_t i = 0; i < PG_SKIPPED_MAX; i++)
		if (s->skipped[i].until_ms > now)
			sids[n++] = slice_cstr(s->skipped[i].sid);
	pg_param_texts(p, sids, n);
}

/* $4, the time, only for the statement that asks for it. */
static int send_due(struct pg_store *s, int64_t now_ms, size_t limit)
{
	struct pg *c = &s->pg;
	struct pg_params *p = &c->params;
	int r = pg_send_begin(c);

	pg_params_clear(p);
	pg_param_int8(p, now_ms);
	pg_param_int8(p, (int64_t)limit);
	if (r == 0)
		r = pg_send(c, PG_STMT_DUE_TIME, p);
	for (size_t i = 0; i < SWEEP_COUNT && r == 0; i++) {
		pg_params_clear(p);
		pg_param_text(p, buf_slice(cursor_of(s, &sweeps[i])));
		pg_param_int8(p, SWEEP_ROWS);
		put_skipped(s, p);
		if (sweeps[i].statement == PG_STMT_DUE_NAMES)
			pg_param_int8(p, now_ms);
		r = pg_send(c, sweeps[i].statement, p);
	}
	if (r == 0)
		r = pg_send(c, PG_STMT_COMMIT, NULL);
	return r < 0 ? r : pg_sync(c);
}

static bool listed(const struct slice *sids, size_t n, struct slice sid)
{
	for (size_t i = 0; i < n; i++)
		if (slice_eq(sids[i], sid))
			return true;
	return false;
}

static int add_sid(const PGresult *res, int row, int column, size_t limit, struct arena *a, struct slice *sids, size_t *count)
{
	if (PQgetisnull(res, row, column) || *count == limit || listed(sids, *count, pg_peek(res, row, column)))
		return 0;
	int r = pg_get_text(res, row, column, a, &sids[*count]);
	if (r == 0)
		++*count;
	return r;
}

/* The next stretch begins behind the last row, or at the beginning when this one was not full. When the limit cut it short, it is
 * looked at again. */
static int take_sweep(struct pg_store *s, const struct sweep *w, const PGresult *res, size_t limit, struct arena *a, struct slice *sids,
	size_t *count)
{
	struct buf *cursor = cursor_of(s, w);
	int rows = PQntuples(res);

	for (int row = 0; row < rows; row++) {
		if (w->flagged && !pg_get_bool(res, row, 1))
			continue;
		int r = add_sid(res, row, w->flagged ? 0 : 1, limit, a, sids, count);
		if (r < 0)
			return r;
	}
	if (*count == limit)
		return 0;
	buf_clear(cursor);
	if (rows >= SWEEP_ROWS)
		buf_put(cursor, pg_peek(res, rows - 1, 0));
	return buf_failed(cursor) ? OC_NOMEM : 0;
}

static int take_due(struct pg_store *s, size_t limit, int64_t deadline, struct arena *a, struct slice *sids, size_t *ret_count)
{
	struct pg *c = &s->pg;
	size_t count = 0;
	int r = pg_expect_begin(c, deadline);

	for (size_t i = 0; i < SWEEP_COUNT + 1 && r == 0; i++) { /* by time, then the sweeps */
		_cleanup_pg_ PGresult *res = NULL;
		r = pg_expect(c, deadline, &res);
		if (r < 0)
			break;
		if (i > 0)
			r = take_sweep(s, &sweeps[i - 1], res, limit, a, sids, &count);
		for (int row = 0; i == 0 && row < PQntuples(res) && r == 0; row++)
			r = add_sid(res, row, 0, limit, a, sids, &count);
	}
	if (r == 0)
		r = pg_expect(c, deadline, NULL);
	if (r == 0)
		r = pg_expect_sync(c, deadline);
	*ret_count = count;
	return r;
}

int pg_due(struct store *store, int64_t now_ms, size_t limit, struct arena *a, struct slice **ret_sids, size_t *ret_count)
{
	struct pg_store *s = store_of(store);
	int64_t deadline = pg_deadline(&s->pg);
	size_t count = 0;
	int r = pg_ready(&s->pg);
	if (r < 0)
		return r;
	struct slice *sids = ARENA_ARRAY(a, struct slice, limit);
	if (!sids)
		return OC_NOMEM;
	r = send_due(s, now_ms, limit);
	if (r == 0)
		r = take_due(s, limit, deadline, a, sids, &count);
	if (r < 0) {
		pg_recover(&s->pg);
		return pg_batch_error(s, r);
	}
	*ret_sids = sids;
	*ret_count = count;
	return 0;
}

int pg_count(struct store *store, struct store_counts *ret)
{
	struct pg_store *s = store_of(store);
	struct pg *c = &s->pg;
	_cleanup_pg_ PGresult *res = NULL;
	int64_t deadline = pg_deadline(c);
	int r = pg_ready(c);

	if (r < 0)
		return r;
	r = pg_ask(c, PG_STMT_COUNT_ROWS, NULL, deadline, &res);
	if (r < 0)
		return pg_batch_error(s, r);
	ret->wal_bytes = 0;
	ret->open_calls = pg_get_int8(res, 0, 0);
	ret->aside = pg_get_int8(res, 0, 1);
	ret->pruned_before_ms = pg_get_int8(res, 0, 2);
	return 0;
}

const struct store_ops postgres_store_ops = {
	.open = pg_store_open,
	.close = pg_store_close,
	.last_error = pg_store_last_error,
	.batch_load = pg_batch_load,
	.batch_commit = pg_batch_commit,
	.batch_abort = pg_batch_abort,
	.until = pg_until,
	.due = pg_due,
	.watch_claim = pg_watch_claim,
	.watch_move = pg_watch_move,
	.count = pg_count,
	.replay_begin = pg_replay_begin,
	.replay_count = pg_replay_count,
	.replay_find = pg_replay_find,
	.replay_rooms = pg_replay_rooms,
	.replay_calls = pg_replay_calls,
	.replay_legs = pg_replay_legs,
	.journal_open = pg_journal_open,
	.journal_next = pg_journal_next,
	.journal_close = pg_journal_close,
	.journal_strays = pg_journal_strays,
	.kept_calls = pg_kept_calls,
	.forget_calls = pg_forget_calls,
	.forget_payloads = pg_forget_payloads,
	.move_pruned = pg_move_pruned,
	.forget_strays = pg_forget_strays,
	.person_find = pg_person_find,
	.person_forget = pg_person_forget,
	.person_places = pg_person_places,
	.person_scrub = pg_person_scrub,
	.reader_open = pg_reader_open,
	.reader_close = pg_reader_close,
	.reader_last_error = pg_reader_last_error,
	.read_outcomes = pg_read_outcomes,
	.read_list = pg_read_list,
	.read_call = pg_read_call,
	.read_events = pg_read_events,
	.reader_ping = pg_reader_ping,
	.migrate_status = pg_migrate_status,
	.migrate_upgrade = pg_migrate_upgrade,
	.migrate_downgrade = pg_migrate_downgrade,
};
