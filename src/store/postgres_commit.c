/* Closing a batch: call_logs, call_facts, journal, late binding and COMMIT in one round trip.
 *
 * The statements on the host's table come first. Most often it refuses nothing, and a savepoint costs: so the first refusal (a constraint,
 * a trigger, a lock) fails the batch with OC_RETRY, and for CAREFUL_MS from then on they run inside a savepoint and with a sync of their
 * own. Where the table refuses again, the savepoint is rolled back, the rows are tried one by one, each with its savepoint, those refused
 * are left out, and the rest is sent again. So a constraint of the host's costs a row, never an event.
 * A row that the host holds a lock on is waited for once, also over that retry; then its call is put off for some seconds and the others go on.
 * An answer that does not come after COMMIT was sent is OC_UNSURE.
 * Threads: the one that owns the struct store. */
#include "store/postgres_work.h"

#define LOCKS_TRIED 4      /* rows of one batch */
#define CAREFUL_MS 600000  /* after the last refusal */

static struct pg_store *store_of(struct store *s) { return (struct pg_store *)s; }

static struct log_work plan_call(struct pg_store *s, struct call_row *c)
{
	struct log_work w = { .call = c, .before = call_rows_find(s->before, s->before_count, c->room_sid) };
	bool had = w.before && !slice_is_none(w.before->call_log_id), has = !slice_is_none(c->call_log_id);
	bool new_user = !w.before || !slice_eq(w.before->user_id, c->user_id);

	w.empty = !c->exists && slice_is_empty(c->facts);
	if (w.empty)
		return w;
	w.ours = c->call_log_is_ours;
	w.clear = w.ours || (w.before && !slice_is_none(w.before->outcome));
	w.remove = !slice_is_none(c->replaced_call_log_id) || (had && has && w.ours && slice_is_empty(c->user_id));
	w.claim = has && (!had || !slice_eq(w.before->call_log_id, c->call_log_id));
	w.update = has && !(w.remove && w.ours) && (w.claim || c->verdict_changed || (w.ours && new_user));
	w.insert = !has && s->pg.schema->can_insert && !slice_is_empty(c->user_id) && c->new_verdict;
	w.new_tenant = new_user || !slice_eq(w.before->tenant_error, c->tenant_error);
	w.rebind = (!w.before || w.before->exists) && (w.new_tenant || w.insert || w.claim || w.remove);
	return w;
}

/* ---- call_logs: statements ---- */

enum { LOGS_DETACH = 1, LOGS_UPDATE = 2, LOGS_INSERT = 4, LOGS_REMOVE = 8 };

static unsigned log_statements(const struct log_work *w, size_t n)
{
	unsigned bits = 0;
	for (size_t i = 0; i < n; i++)
		bits |= (w[i].remove ? LOGS_DETACH | LOGS_REMOVE : 0U) | (w[i].update ? LOGS_UPDATE : 0U) | (w[i].insert ? LOGS_INSERT : 0U);
	return bits;
}

/* All of it for n calls: rows of ours that go are cut loose first, so that the host's row can have the SID. */
static int send_logs(struct pg *c, const struct log_work *w, size_t n, int64_t now_ms)
{
	struct pg_params *p = &c->params;
	unsigned bits = log_statements(w, n);
	int r = 0;

	if (bits & LOGS_DETACH) {
		pg_params_clear(p);
		pg_put_removed(p, w, n, false);
		pg_put_removed(p, w, n, true);
		r = pg_send(c, PG_STMT_LOGS_DETACH, p);
	}
	if (r == 0 && (bits & LOGS_UPDATE)) {
		pg_put_logs(p, w, n, false, now_ms);
		r = pg_send(c, PG_STMT_LOGS_UPDATE, p);
	}
	if (r == 0 && (bits & LOGS_INSERT)) {
		pg_put_logs(p, w, n, true, now_ms);
		r = pg_send(c, PG_STMT_LOGS_INSERT, p);
	}
	if (r == 0 && (bits & LOGS_REMOVE)) {
		pg_params_clear(p);
		pg_put_removed(p, w, n, true);
		r = pg_send(c, PG_STMT_JOURNAL_REPOINT, p);
		pg_params_clear(p);
		pg_put_removed(p, w, n, false);
		if (r == 0)
			r = pg_send(c, PG_STMT_LOGS_REMOVE, p);
	}
	return r == 0 && c->schema->deferred_constraints ? pg_send(c, PG_STMT_IMMEDIATE, NULL) : r;
}

static int send_logs_guarded(struct pg *c, const struct log_work *w, size_t n, int64_t now_ms, bool brief)
{
	int r = brief ? pg_send(c, PG_STMT_BRIEF_LOCKS, NULL) : 0;
	if (r == 0)
		r = pg_send(c, PG_STMT_SAVEPOINT, NULL);
	if (r == 0)
		r = send_logs(c, w, n, now_ms);
	if (r == 0)
		r = pg_send(c, PG_STMT_RELEASE, NULL);
	return r < 0 ? r : pg_sync(c);
}

struct log_answers {
	PGresult *updated, *inserted;
};

static void log_answers_done(struct log_answers *a)
{
	PQclear(a->updated);
	PQclear(a->inserted);
	*a = (struct log_answers){ NULL, NULL };
}

static int expect_logs(struct pg *c, const struct log_work *w, size_t n, int64_t deadline, struct log_answers *ret)
{
	unsigned bits = log_statements(w, n);
	int r = bits & LOGS_DETACH ? pg_expect(c, deadline, NULL) : 0;

	if (r == 0 && (bits & LOGS_UPDATE))
		r = pg_expect(c, deadline, &ret->updated);
	if (r == 0 && (bits & LOGS_INSERT))
		r = pg_expect(c, deadline, &ret->inserted);
	if (r == 0 && (bits & LOGS_REMOVE)) {
		r = pg_expect(c, deadline, NULL);
		if (r == 0)
			r = pg_expect(c, deadline, NULL);
	}
	return r == 0 && c->schema->deferred_constraints ? pg_expect(c, deadline, NULL) : r;
}

static int expect_logs_guarded(struct pg *c, const struct log_work *w, size_t n, bool brief, int64_t deadline, struct log_answers *ret)
{
	int r = brief ? pg_expect(c, deadline, NULL) : 0;
	if (r == 0)
		r = pg_expect(c, deadline, NULL);
	if (r == 0)
		r = expect_logs(c, w, n, deadline, ret);
	if (r == 0)
		r = pg_expect(c, deadline, NULL);
	return r < 0 ? r : pg_expect_sync(c, deadline);
}

static bool find_row(const PGresult *res, struct slice sid, int *ret_row)
{
	for (int row = 0; res && row < PQntuples(res); row++)
		if (slice_eq(pg_peek(res, row, 0), sid)) {
			*ret_row = row;
			return true;
		}
	return false;
}

/* Which rows were there to be written: a row inserted has its id, one that another call claimed meanwhile is not ours to name. */
static int take_log_answers(struct log_work *w, size_t n, const struct log_answers *answers, struct arena *a)
{
	for (size_t i = 0; i < n; i++) {
		struct call_row *c = w[i].call;
		int row;
		if (w[i].insert && find_row(answers->inserted, c->room_sid, &row)) {
			if (pg_get_text(answers->inserted, row, 1, a, &c->call_log_id) < 0)
				return OC_NOMEM;
			c->call_log_is_ours = true;
		} else if (w[i].update && w[i].claim && !find_row(answers->updated, c->room_sid, &row)) {
			c->call_log_id = SLICE_NONE;
			c->call_log_is_ours = false;
		} else if (w[i].remove && w[i].ours) {
			c->call_log_id = SLICE_NONE;
			c->call_log_is_ours = false;
		}
	}
	return 0;
}

/* The host's database refused something of these calls: as if nothing had been tried. */
static void forget_log_work(struct pg_store *s, struct log_work *w)
{
	pg_skip_call(s, w->call->room_sid, false);
	w->call->call_log_id = w->before ? w->before->call_log_id : SLICE_NONE;
	w->call->call_log_is_ours = w->before && w->before->call_log_is_ours;
	w->insert = w->update = w->claim = w->remove = false;
}

/* The facts are kept; the rest stays as it was, and rules 0 has the sweeper judge and write all of it anew. */
static void put_off(struct log_work *w, int64_t now_ms)
{
	static const struct call_row nothing = { .revision = 0 };
	const struct call_row *b = w->before ? w->before : &nothing;
	struct call_row *c = w->call;

	c->user_id = b->user_id;
	c->tenant_error = b->tenant_error;
	c->outcome = b->outcome;
	c->revision = b->revision;
	c->started_at_ms = b->started_at_ms;
	c->room_started_at_ms = b->room_started_at_ms;
	c->ended_at_ms = b->ended_at_ms;
	c->call_log_id = b->call_log_id;
	c->call_log_is_ours = b->call_log_is_ours;
	c->rules = 0;
	c->verdict_changed = false;
	c->due_at_ms = now_ms + PG_LOCKED_MS + 1000;
	w->insert = w->update = w->claim = w->remove = w->rebind = w->new_tenant = false;
}

static bool is_locked(const struct pg *c, int r) { return r == OC_RETRY && strcmp(c->sqlstate, "55P03") == 0; }
static bool is_refusal(const struct pg *c, int r) { return r == OC_DATA || r == OC_SCHEMA || is_locked(c, r); }

/* The one wait for a lock was enough for all. */
static int rollback_to_savepoint(struct pg *c, int64_t deadline)
{
	int r = pg_send(c, PG_STMT_ROLLBACK_TO, NULL);
	if (r == 0)
		r = pg_send(c, PG_STMT_BRIEF_LOCKS, NULL);
	if (r == 0)
		r = pg_sync(c);
	if (r == 0)
		r = pg_expect(c, deadline, NULL);
	if (r == 0)
		r = pg_expect(c, deadline, NULL);
	return r < 0 ? r : pg_expect_sync(c, deadline);
}

static void leave_out(struct pg_store *s, struct log_work *w, bool locked, int64_t now_ms)
{
	if (locked) {
		pg_skip_call(s, w->call->room_sid, true);
		put_off(w, now_ms);
	} else {
		forget_log_work(s, w);
	}
}

static int logs_one_by_one(struct pg_store *s, struct work *w, const struct store_changes *ch, int64_t deadline, struct arena *a)
{
	struct pg *c = &s->pg;
	unsigned locked = 0;
	int r = rollback_to_savepoint(c, deadline);

	for (size_t i = 0; i < w->count && r == 0; i++) {
		struct log_answers answers = { NULL, NULL };
		if (!log_statements(&w->calls[i], 1))
			continue;
		if (locked == LOCKS_TRIED) { /* perhaps the whole table */
			put_off(&w->calls[i], ch->now_ms);
			continue;
		}
		r = send_logs_guarded(c, &w->calls[i], 1, ch->now_ms, false);
		if (r == 0)
			r = expect_logs_guarded(c, &w->calls[i], 1, false, deadline, &answers);
		if (r == 0)
			r = take_log_answers(&w->calls[i], 1, &answers, a);
		log_answers_done(&answers);
		if (is_refusal(c, r)) {
			bool wait = is_locked(c, r);
			r = pg_skip_to_sync(c, deadline);
			if (r == 0)
				r = rollback_to_savepoint(c, deadline);
			leave_out(s, &w->calls[i], wait, ch->now_ms);
			locked += wait;
		}
	}
	return r;
}

static int plan(struct pg_store *s, const struct store_changes *c, struct arena *a, struct work *ret)
{
	struct work w = { .calls = ARENA_ARRAY(a, struct log_work, c->call_count), .count = c->call_count };
	if (!w.calls)
		return OC_NOMEM;
	for (size_t i = 0; i < c->call_count; i++) {
		w.calls[i] = plan_call(s, &c->calls[i]);
		if (log_statements(&w.calls[i], 1) && pg_is_locked(s, c->calls[i].room_sid))
			put_off(&w.calls[i], c->now_ms);
		w.any_log |= w.calls[i].insert || w.calls[i].update || w.calls[i].remove;
		w.any_rebind |= w.calls[i].rebind;
	}
	*ret = w;
	return 0;
}

/* ---- the rest of the batch ---- */

/* Gives the number of statements sent. */
static int send_rest(struct pg *c, const struct work *w, const struct store_changes *ch, size_t *ret_sent)
{
	struct pg_params *p = &c->params;
	size_t sent = 0;
	int r = 0;

	if (pg_put_replaced(p, w, ch->now_ms) > 0) {
		r = pg_send(c, PG_STMT_REVISIONS_KEEP, p);
		sent++;
	}
	for (int exists = 0; exists < 2 && r == 0; exists++)
		if (pg_put_facts(p, w, exists, pg_makes_ids(c->schema), ch->now_ms) > 0) {
			r = pg_send(c, exists ? PG_STMT_FACTS_UPDATE : PG_STMT_FACTS_INSERT, p);
			sent++;
		}
	if (r == 0 && pg_put_legs(p, ch) > 0) {
		r = pg_send(c, PG_STMT_LEGS_INSERT, p);
		sent++;
	}
	if (r == 0 && w->any_rebind) {
		pg_put_rebinds(p, w, ch->now_ms);
		r = pg_send(c, PG_STMT_JOURNAL_REBIND, p);
		sent++;
	}
	if (r == 0 && ch->event_count) {
		pg_put_journal(p, ch);
		r = pg_send(c, PG_STMT_JOURNAL_INSERT, p);
		sent++;
	}
	if (r == 0 && ch->bind_count) {
		pg_put_binds(p, ch);
		r = pg_send(c, PG_STMT_JOURNAL_BIND, p);
		sent++;
	}
	if (r == 0)
		r = pg_send(c, PG_STMT_COMMIT, NULL);
	if (r == 0)
		r = pg_sync(c);
	*ret_sent = sent + 1;
	return r;
}

static int expect_rest(struct pg *c, size_t sent, int64_t deadline)
{
	int r = 0;
	for (size_t i = 0; i < sent && r == 0; i++)
		r = pg_expect(c, deadline, NULL);
	return r < 0 ? r : pg_expect_sync(c, deadline);
}

/* COMMIT is on its way: a connection lost from here on leaves the question open. */
static int unsure(struct pg *c, int r) { return r == OC_DOWN && !c->conn ? OC_UNSURE : r; }

static void note_refusal(struct pg_store *s, int r)
{
	s->stale |= r == OC_SCHEMA;
	s->careful_until_ms = pg_now_ms() + CAREFUL_MS;
	s->has_waited = is_locked(&s->pg, r);
}

static int commit_at_once(struct pg_store *s, struct work *w, const struct store_changes *ch, int64_t deadline, struct arena *a)
{
	struct pg *c = &s->pg;
	struct log_answers answers = { NULL, NULL };
	size_t sent = 0;
	int r = w->any_log ? send_logs(c, w->calls, w->count, ch->now_ms) : 0;

	if (r == 0)
		r = send_rest(c, w, ch, &sent);
	if (r == 0 && w->any_log) {
		r = expect_logs(c, w->calls, w->count, deadline, &answers);
		if (is_refusal(c, r)) {
			note_refusal(s, r);
			r = OC_CONFLICT;
		}
	}
	if (r == 0 && w->any_log)
		r = take_log_answers(w->calls, w->count, &answers, a);
	log_answers_done(&answers);
	return r < 0 ? r : expect_rest(c, sent, deadline);
}

/* What has been refused fails up to its sync; what was sent behind that one fails up to the next. */
static int go_on_one_by_one(struct pg_store *s, struct work *w, const struct store_changes *ch, int64_t deadline, struct arena *a, size_t *ret_sent)
{
	struct pg *c = &s->pg;
	int r = pg_skip_to_sync(c, deadline);
	if (r == 0)
		r = pg_skip_to_sync(c, deadline);
	if (r == 0)
		r = logs_one_by_one(s, w, ch, deadline, a);
	return r < 0 ? r : send_rest(c, w, ch, ret_sent);
}

static int commit_carefully(struct pg_store *s, struct work *w, const struct store_changes *ch, int64_t deadline, struct arena *a)
{
	struct pg *c = &s->pg;
	struct log_answers answers = { NULL, NULL };
	bool brief = s->has_waited;
	size_t sent = 0;
	int r = send_logs_guarded(c, w->calls, w->count, ch->now_ms, brief);

	s->has_waited = false;
	if (r == 0)
		r = send_rest(c, w, ch, &sent);
	if (r < 0)
		return r;
	r = expect_logs_guarded(c, w->calls, w->count, brief, deadline, &answers);
	if (r == 0)
		r = take_log_answers(w->calls, w->count, &answers, a);
	log_answers_done(&answers);
	if (is_refusal(c, r)) {
		note_refusal(s, r);
		s->has_waited = false;
		r = go_on_one_by_one(s, w, ch, deadline, a, &sent);
	}
	return r < 0 ? r : expect_rest(c, sent, deadline);
}

static int commit(struct pg_store *s, struct work *w, const struct store_changes *ch, struct arena *a)
{
	int64_t deadline = pg_deadline(&s->pg);
	bool careful = w->any_log && pg_now_ms() < s->careful_until_ms;
	int r = careful ? commit_carefully(s, w, ch, deadline, a) : commit_at_once(s, w, ch, deadline, a);
	return unsure(&s->pg, r);
}

int pg_batch_commit(struct store *store, const struct store_changes *ch, struct arena *a)
{
	struct pg_store *s = store_of(store);
	struct work w;

	if (!s->in_batch || !s->pg.conn) {
		s->in_batch = false;
		pg_set_error(&s->pg, "08003", "no batch is open");
		return OC_DOWN;
	}
	int r = plan(s, ch, a, &w);
	if (r == 0)
		r = commit(s, &w, ch, a);
	s->in_batch = false;
	s->before = NULL;
	s->before_count = 0;
	if (r < 0)
		pg_recover(&s->pg);
	s->pg.batch_until_ms = 0;
	if (r < 0)
		return pg_batch_error(s, r);
	s->pg.schema_errors = 0;
	s->duplicates = 0;
	if (s->stale) { /* the host altered its table: the statements are made anew with the next batch */
		pg_drop(&s->pg);
		s->pg.backoff_ms = 0;
		s->stale = false;
	}
	return 0;
}
