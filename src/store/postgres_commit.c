/* Closing a batch: call_logs, call_facts, journal, late binding and COMMIT in one round trip.
 *
 * The statements on the host's table come first, inside a savepoint and with a sync of their own. Where the host's table refuses a row
 * (a constraint, a trigger), the rest of the pipeline fails with it; then the savepoint is rolled back, the rows are tried one by one, each
 * with its savepoint, those refused are left out, and the rest is sent again. So a constraint of the host's costs a row, never an event.
 * An answer that does not come after COMMIT was sent is OC_UNSURE.
 * Threads: the one that owns the struct store. */
#include "store/postgres.h"

/* What is to be done to call_logs for a call. */
struct log_work {
	struct call_row *call;
	const struct call_row *before;
	bool insert, update, claim, remove, rebind;
	bool new_tenant; /* another one, or another dispute */
	bool ours;  /* the row written is ours */
	bool clear; /* an outcome of ours was in it and may be taken back */
};

struct work {
	struct log_work *calls;
	size_t count;
	bool any_log, any_rebind, any_remove;
};

static struct pg_store *store_of(struct store *s) { return (struct pg_store *)s; }

static struct log_work plan_call(struct pg_store *s, struct call_row *c)
{
	struct log_work w = { .call = c, .before = call_rows_find(s->before, s->before_count, c->room_sid) };
	bool had = w.before && !slice_is_none(w.before->call_log_id), has = !slice_is_none(c->call_log_id);
	bool new_user = !w.before || !slice_eq(w.before->user_id, c->user_id);

	w.ours = c->call_log_is_ours;
	w.clear = w.ours || (w.before && !slice_is_none(w.before->outcome));
	w.remove = !slice_is_none(c->replaced_call_log_id) || (had && has && w.ours && slice_is_empty(c->user_id));
	w.claim = has && (!had || !slice_eq(w.before->call_log_id, c->call_log_id));
	w.update = has && !(w.remove && w.ours) && (w.claim || c->verdict_changed || (w.ours && new_user));
	w.insert = !has && s->pg.schema->can_insert && !slice_is_empty(c->user_id) && c->new_verdict;
	w.new_tenant = new_user || !slice_eq(w.before->tenant_error, c->tenant_error);
	w.rebind = c->exists && (w.new_tenant || w.insert || w.claim || w.remove);
	return w;
}

static int plan(struct pg_store *s, const struct store_changes *c, struct arena *a, struct work *ret)
{
	struct work w = { .calls = ARENA_ARRAY(a, struct log_work, c->call_count), .count = c->call_count };
	if (!w.calls)
		return OC_NOMEM;
	for (size_t i = 0; i < c->call_count; i++) {
		w.calls[i] = plan_call(s, &c->calls[i]);
		w.any_log |= w.calls[i].insert || w.calls[i].update || w.calls[i].remove;
		w.any_rebind |= w.calls[i].rebind;
		w.any_remove |= w.calls[i].remove;
	}
	*ret = w;
	return 0;
}

/* ---- call_logs: parameters ---- */

static size_t chosen(const struct log_work *w, size_t n, bool insert)
{
	size_t count = 0;
	for (size_t i = 0; i < n; i++)
		count += insert ? w[i].insert : w[i].update;
	return count;
}

static struct slice name_slice(const char *z) { return z ? slice_cstr(z) : SLICE_NONE; }

static struct slice row_id(const struct log_work *w, bool insert, char *made)
{
	if (!insert)
		return w->call->call_log_id;
	call_log_id_from_sid(w->call->room_sid, made);
	return slice_cstr(made);
}

/* The columns of `v` in the statements: one array each, so the rows are walked once a column. */
enum log_column {
	LOG_ID, LOG_SID, LOG_NAME, LOG_USER, LOG_DIRECTION, LOG_PHONE, LOG_SIP, LOG_STARTED, LOG_ENDED, LOG_DURATION, LOG_STATUS, LOG_OUTCOME,
	LOG_RECORDING, LOG_METADATA, LOG_OURS, LOG_CLEAR, LOG_CLAIM, LOG_COLUMN_COUNT,
};
#define LOG_INSERT_COLUMNS LOG_OURS

static void put_metadata(struct buf *b, const struct verdict *v)
{
	_cleanup_buf_ struct buf json = BUF_INIT;
	if (!v) {
		pg_put_bytes(b, SLICE_NONE);
		return;
	}
	buf_puts(&json, "{\"outcomed\":");
	call_log_metadata(v, &json);
	buf_putc(&json, '}');
	b->failed |= buf_failed(&json);
	pg_put_bytes(b, buf_slice(&json));
}

static void put_log_value(struct buf *b, const struct log_work *w, enum log_column column, bool insert)
{
	const struct verdict *v = w->call->new_verdict;
	char made[37];

	switch (column) {
	case LOG_ID:
		pg_put_bytes(b, row_id(w, insert, made));
		return;
	case LOG_SID:
		pg_put_bytes(b, w->call->room_sid);
		return;
	case LOG_NAME:
		pg_put_bytes(b, w->call->room_name);
		return;
	case LOG_USER:
		pg_put_bytes(b, w->call->user_id);
		return;
	case LOG_DIRECTION:
		pg_put_bytes(b, v ? name_slice(direction_name(v->direction)) : SLICE_NONE);
		return;
	case LOG_PHONE:
		pg_put_bytes(b, v ? v->phone_number : SLICE_NONE);
		return;
	case LOG_SIP:
		pg_put_bytes(b, v ? v->sip_call_id : SLICE_NONE);
		return;
	case LOG_STARTED:
		pg_put_time_ms(b, v ? v->started_at_ms : 0);
		return;
	case LOG_ENDED:
		pg_put_time_ms(b, v ? v->ended_at_ms : 0);
		return;
	case LOG_DURATION:
		pg_put_int8_or_null(b, v ? v->duration_s : -1, -1);
		return;
	case LOG_STATUS:
		pg_put_bytes(b, v ? name_slice(call_status_name(v->status)) : SLICE_NONE);
		return;
	case LOG_OUTCOME:
		pg_put_bytes(b, v ? name_slice(outcome_name(v->outcome)) : SLICE_NONE);
		return;
	case LOG_RECORDING:
		pg_put_bytes(b, v ? v->recording_url : SLICE_NONE);
		return;
	case LOG_METADATA:
		put_metadata(b, v);
		return;
	case LOG_OURS:
		pg_put_bool(b, w->ours);
		return;
	case LOG_CLEAR:
		pg_put_bool(b, w->clear && v);
		return;
	case LOG_CLAIM:
		pg_put_bool(b, w->claim);
		return;
	case LOG_COLUMN_COUNT:
		break;
	}
}

static enum pg_element element_of(enum log_column column)
{
	if (column == LOG_STARTED || column == LOG_ENDED)
		return PG_ELEMENT_TIMESTAMPTZ;
	if (column == LOG_DURATION)
		return PG_ELEMENT_INT8;
	return column >= LOG_OURS ? PG_ELEMENT_BOOL : PG_ELEMENT_TEXT;
}

static void put_logs(struct pg_params *p, const struct log_work *w, size_t n, bool insert, int64_t now_ms)
{
	enum log_column columns = insert ? LOG_INSERT_COLUMNS : LOG_COLUMN_COUNT;
	size_t count = chosen(w, n, insert);

	pg_params_clear(p);
	for (enum log_column column = LOG_ID; column < columns; column++) {
		struct buf *b = pg_param_array(p, element_of(column), count);
		for (size_t i = 0; i < n; i++)
			if (insert ? w[i].insert : w[i].update)
				put_log_value(b, &w[i], column, insert);
	}
	pg_param_int8(p, now_ms);
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

static void put_removed(struct pg_params *p, const struct log_work *w, size_t n, bool sids)
{
	size_t count = 0;
	for (size_t i = 0; i < n; i++)
		count += w[i].remove;
	struct buf *b = pg_param_array(p, PG_ELEMENT_TEXT, count);
	for (size_t i = 0; i < n; i++)
		if (w[i].remove)
			pg_put_bytes(b, sids ? w[i].call->room_sid : w[i].before->call_log_id);
}

/* All of it for n calls: rows of ours that go are cut loose first, so that the host's row can have the SID. */
static int send_logs(struct pg *c, const struct log_work *w, size_t n, int64_t now_ms)
{
	struct pg_params *p = &c->params;
	unsigned bits = log_statements(w, n);
	int r = pg_send(c, PG_STMT_SAVEPOINT, NULL);

	if (r == 0 && (bits & LOGS_DETACH)) {
		pg_params_clear(p);
		put_removed(p, w, n, false);
		put_removed(p, w, n, true);
		r = pg_send(c, PG_STMT_LOGS_DETACH, p);
	}
	if (r == 0 && (bits & LOGS_UPDATE)) {
		put_logs(p, w, n, false, now_ms);
		r = pg_send(c, PG_STMT_LOGS_UPDATE, p);
	}
	if (r == 0 && (bits & LOGS_INSERT)) {
		put_logs(p, w, n, true, now_ms);
		r = pg_send(c, PG_STMT_LOGS_INSERT, p);
	}
	if (r == 0 && (bits & LOGS_REMOVE)) {
		pg_params_clear(p);
		put_removed(p, w, n, true);
		r = pg_send(c, PG_STMT_JOURNAL_REPOINT, p);
		pg_params_clear(p);
		put_removed(p, w, n, false);
		if (r == 0)
			r = pg_send(c, PG_STMT_LOGS_REMOVE, p);
	}
	if (r == 0 && c->schema->deferred_constraints)
		r = pg_send(c, PG_STMT_IMMEDIATE, NULL);
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
	int r = pg_expect(c, deadline, NULL);

	if (r == 0 && (bits & LOGS_DETACH))
		r = pg_expect(c, deadline, NULL);
	if (r == 0 && (bits & LOGS_UPDATE))
		r = pg_expect(c, deadline, &ret->updated);
	if (r == 0 && (bits & LOGS_INSERT))
		r = pg_expect(c, deadline, &ret->inserted);
	if (r == 0 && (bits & LOGS_REMOVE)) {
		r = pg_expect(c, deadline, NULL);
		if (r == 0)
			r = pg_expect(c, deadline, NULL);
	}
	if (r == 0 && c->schema->deferred_constraints)
		r = pg_expect(c, deadline, NULL);
	return r < 0 ? r : pg_expect(c, deadline, NULL);
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
	pg_skip_call(s, w->call->room_sid);
	w->call->call_log_id = w->before ? w->before->call_log_id : SLICE_NONE;
	w->call->call_log_is_ours = w->before && w->before->call_log_is_ours;
	w->insert = w->update = w->claim = w->remove = false;
}

static bool is_refusal(int r) { return r == OC_DATA || r == OC_SCHEMA; }

static int rollback_to_savepoint(struct pg *c, int64_t deadline)
{
	int r = pg_send(c, PG_STMT_ROLLBACK_TO, NULL);
	if (r == 0)
		r = pg_sync(c);
	if (r == 0)
		r = pg_expect(c, deadline, NULL);
	return r < 0 ? r : pg_expect_sync(c, deadline);
}

static int logs_one_by_one(struct pg_store *s, struct work *w, const struct store_changes *ch, int64_t deadline, struct arena *a)
{
	struct pg *c = &s->pg;
	int r = rollback_to_savepoint(c, deadline);

	for (size_t i = 0; i < w->count && r == 0; i++) {
		struct log_answers answers = { NULL, NULL };
		if (!log_statements(&w->calls[i], 1))
			continue;
		r = send_logs(c, &w->calls[i], 1, ch->now_ms);
		if (r == 0)
			r = expect_logs(c, &w->calls[i], 1, deadline, &answers);
		if (r == 0)
			r = pg_expect_sync(c, deadline);
		if (r == 0)
			r = take_log_answers(&w->calls[i], 1, &answers, a);
		log_answers_done(&answers);
		if (is_refusal(r)) {
			r = pg_skip_to_sync(c, deadline);
			if (r == 0)
				r = rollback_to_savepoint(c, deadline);
			forget_log_work(s, &w->calls[i]);
		}
	}
	return r;
}

/* ---- call_facts ---- */

static bool facts_differ(const struct log_work *w)
{
	const struct call_row *c = w->call, *b = w->before;

	return !b || !c->exists || w->insert || c->facts_changed || c->verdict_changed || !slice_eq(c->user_id, b->user_id) ||
		!slice_eq(c->tenant_error, b->tenant_error) || !slice_eq(c->room_name, b->room_name) || !slice_eq(c->outcome, b->outcome) ||
		c->rules != b->rules || c->revision != b->revision || c->started_at_ms != b->started_at_ms || c->ended_at_ms != b->ended_at_ms ||
		c->due_at_ms != b->due_at_ms;
}

/* As kept: a text, or NULL where it did not change. An empty one is none. */
static struct slice kept(struct slice s, bool changed) { return changed && !slice_is_empty(s) ? s : SLICE_NONE; }

static struct slice facts_text(const struct log_work *w, size_t column)
{
	const struct call_row *c = w->call;
	const struct slice texts[] = {
		c->room_sid, c->room_name, c->user_id, c->tenant_error, kept(c->facts, c->facts_changed || !c->exists), SLICE_NONE,
		kept(c->verdict, c->verdict_changed), c->outcome,
	};
	return column == 0 ? texts[0] : slice_is_empty(texts[column]) ? SLICE_NONE : texts[column];
}

static size_t put_facts(struct pg_params *p, const struct work *w, bool makes_ids, int64_t now_ms)
{
	enum { RULES = 5, TEXTS = 8, REVISION = 8, STARTED, ENDED, DUE, COLUMNS };
	char made[37];
	size_t count = 0;

	for (size_t i = 0; i < w->count; i++)
		count += facts_differ(&w->calls[i]);
	pg_params_clear(p);
	for (size_t column = 0; column < COLUMNS; column++) {
		bool number = column == RULES || column >= TEXTS;
		struct buf *b = pg_param_array(p, number ? PG_ELEMENT_INT8 : PG_ELEMENT_TEXT, count);
		for (size_t i = 0; i < w->count; i++) {
			const struct call_row *c = w->calls[i].call;
			const int64_t numbers[COLUMNS] = {
				[RULES] = c->rules, [REVISION] = c->revision, [STARTED] = c->started_at_ms, [ENDED] = c->ended_at_ms, [DUE] = c->due_at_ms,
			};
			if (!facts_differ(&w->calls[i]))
				continue;
			if (!number)
				pg_put_bytes(b, facts_text(&w->calls[i], column));
			else if (column == REVISION)
				pg_put_int8(b, numbers[column]);
			else
				pg_put_int8_or_null(b, numbers[column], 0);
		}
	}
	struct buf *b = pg_param_array(p, PG_ELEMENT_TEXT, count);
	for (size_t i = 0; i < w->count; i++)
		if (facts_differ(&w->calls[i]))
			pg_put_bytes(b, w->calls[i].insert && makes_ids ? row_id(&w->calls[i], true, made) : SLICE_NONE);
	pg_param_int8(p, now_ms);
	return count;
}

/* ---- the journal ---- */

static struct slice journal_text(const struct journal_row *e, size_t column, char *hex)
{
	static const char digits[] = "0123456789abcdef";
	const struct slice texts[] = {
		e->event_id, e->event, e->room_name, e->room_sid, e->participant_identity, e->participant_sid, SLICE_NONE, e->payload,
		slice_is_none(e->payload) ? e->raw_body : SLICE_NONE, SLICE_NONE, e->error_message, SLICE_NONE, SLICE_NONE, e->source, SLICE_NONE,
		e->key_id, e->user_id, e->call_log_id,
	};

	if (column != 14)
		return texts[column];
	for (size_t i = 0; i < sizeof e->body_hash; i++) {
		hex[2 * i] = digits[e->body_hash[i] >> 4];
		hex[2 * i + 1] = digits[e->body_hash[i] & 15];
	}
	return slice_of(hex, 2 * sizeof e->body_hash);
}

static void put_journal(struct pg_params *p, const struct store_changes *c)
{
	enum { TIMESTAMP = 6, RAW_BODY = 8, PROCESSED = 9, CREATED = 11, PROCESSED_AT = 12, COLUMNS = 18 };
	char hex[64];

	pg_params_clear(p);
	for (size_t column = 0; column < COLUMNS; column++) {
		bool number = column == TIMESTAMP || column == PROCESSED, time = column == CREATED || column == PROCESSED_AT;
		struct buf *b = pg_param_array(p, number ? PG_ELEMENT_INT8 : time ? PG_ELEMENT_TIMESTAMPTZ :
			column == RAW_BODY ? PG_ELEMENT_BYTEA : PG_ELEMENT_TEXT, c->event_count);
		for (size_t i = 0; i < c->event_count; i++) {
			const struct journal_row *e = &c->events[i];
			if (column == TIMESTAMP)
				pg_put_int8_or_null(b, e->timestamp_s, 0);
			else if (column == PROCESSED)
				pg_put_int8(b, e->processed);
			else if (time)
				pg_put_time_ms(b, column == CREATED ? e->created_at_ms : e->processed_at_ms);
			else
				pg_put_bytes(b, journal_text(e, column, hex));
		}
	}
}

static void put_binds(struct pg_params *p, const struct store_changes *c)
{
	pg_params_clear(p);
	struct buf *b = pg_param_array(p, PG_ELEMENT_TEXT, c->bind_count);
	for (size_t i = 0; i < c->bind_count; i++)
		pg_put_bytes(b, c->binds[i].event_id);
	b = pg_param_array(p, PG_ELEMENT_TEXT, c->bind_count);
	for (size_t i = 0; i < c->bind_count; i++)
		pg_put_bytes(b, c->binds[i].room_sid);
	b = pg_param_array(p, PG_ELEMENT_INT8, c->bind_count);
	for (size_t i = 0; i < c->bind_count; i++)
		pg_put_int8(b, c->binds[i].processed);
	b = pg_param_array(p, PG_ELEMENT_TEXT, c->bind_count);
	for (size_t i = 0; i < c->bind_count; i++)
		pg_put_bytes(b, c->binds[i].error_message);
	pg_param_int8(p, c->now_ms);
}

static void put_rebinds(struct pg_params *p, const struct work *w, int64_t now_ms)
{
	size_t count = 0;
	for (size_t i = 0; i < w->count; i++)
		count += w->calls[i].rebind;
	pg_params_clear(p);
	struct buf *b = pg_param_array(p, PG_ELEMENT_TEXT, count);
	for (size_t i = 0; i < w->count; i++)
		if (w->calls[i].rebind)
			pg_put_bytes(b, w->calls[i].call->room_sid);
	b = pg_param_array(p, PG_ELEMENT_BOOL, count);
	for (size_t i = 0; i < w->count; i++)
		if (w->calls[i].rebind)
			pg_put_bool(b, w->calls[i].new_tenant);
	b = pg_param_array(p, PG_ELEMENT_TEXT, count);
	for (size_t i = 0; i < w->count; i++)
		if (w->calls[i].rebind)
			pg_put_bytes(b, w->calls[i].before ? w->calls[i].before->tenant_error : SLICE_NONE);
	pg_param_int8(p, now_ms);
}

/* ---- the rest of the batch ---- */

/* Gives the number of statements sent. */
static int send_rest(struct pg *c, const struct work *w, const struct store_changes *ch, size_t *ret_sent)
{
	struct pg_params *p = &c->params;
	size_t sent = 0;
	int r = 0;

	if (put_facts(p, w, pg_makes_ids(c->schema), ch->now_ms) > 0) {
		r = pg_send(c, PG_STMT_FACTS_UPDATE, p);
		sent++;
	}
	if (r == 0 && w->any_rebind) {
		put_rebinds(p, w, ch->now_ms);
		r = pg_send(c, PG_STMT_JOURNAL_REBIND, p);
		sent++;
	}
	if (r == 0 && ch->event_count) {
		put_journal(p, ch);
		r = pg_send(c, PG_STMT_JOURNAL_INSERT, p);
		sent++;
	}
	if (r == 0 && ch->bind_count) {
		put_binds(p, ch);
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

static int commit(struct pg_store *s, struct work *w, const struct store_changes *ch, struct arena *a)
{
	struct pg *c = &s->pg;
	int64_t deadline = pg_deadline(c);
	struct log_answers answers = { NULL, NULL };
	size_t sent = 0;
	int r = w->any_log ? send_logs(c, w->calls, w->count, ch->now_ms) : 0;

	if (r == 0)
		r = send_rest(c, w, ch, &sent);
	if (r < 0)
		return unsure(c, r);
	if (w->any_log) {
		r = expect_logs(c, w->calls, w->count, deadline, &answers);
		if (r == 0)
			r = pg_expect_sync(c, deadline);
		if (r == 0)
			r = take_log_answers(w->calls, w->count, &answers, a);
		log_answers_done(&answers);
		if (is_refusal(r)) {
			s->stale |= r == OC_SCHEMA;
			r = pg_skip_to_sync(c, deadline);
			if (r == 0)
				r = pg_skip_to_sync(c, deadline);
			if (r == 0)
				r = logs_one_by_one(s, w, ch, deadline, a);
			if (r == 0)
				r = send_rest(c, w, ch, &sent);
		}
	}
	if (r == 0)
		r = expect_rest(c, sent, deadline);
	return unsure(c, r);
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
	if (r < 0) {
		pg_recover(&s->pg);
		return pg_batch_error(s, r);
	}
	s->pg.schema_errors = 0;
	s->duplicates = 0;
	if (s->stale) { /* the host altered its table: the statements are made anew with the next batch */
		pg_drop(&s->pg);
		s->pg.backoff_ms = 0;
		s->stale = false;
	}
	return 0;
}
