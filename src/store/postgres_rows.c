/* The rows of a batch as the arrays that its statements take (postgres_sql_write.c): one array a column, so the rows are walked once a
 * column. Threads: the one that owns the struct store. */
#include "store/postgres_work.h"

/* ---- call_logs ---- */

static size_t chosen(const struct log_work *w, size_t n, bool insert)
{
	size_t count = 0;
	for (size_t i = 0; i < n; i++)
		count += insert ? w[i].insert : w[i].update;
	return count;
}

static struct slice name_slice(const char *z) { return z ? slice_cstr(z) : SLICE_NONE; }

static void put_made_id(struct buf *b, const struct log_work *w)
{
	char made[37];
	bool known = call_log_id_from_sid(w->call->room_sid, made) == 0;
	b->failed |= !known;
	pg_put_bytes(b, known ? slice_cstr(made) : SLICE_NONE);
}

/* The columns of `v` in the statements: one array each, so the rows are walked once a column. */
enum log_column {
	LOG_ID, LOG_SID, LOG_NAME, LOG_USER, LOG_DIRECTION, LOG_PHONE, LOG_SIP, LOG_STARTED, LOG_ENDED, LOG_DURATION, LOG_STATUS, LOG_OUTCOME,
	LOG_RECORDING, LOG_METADATA, LOG_OURS, LOG_CLEAR, LOG_COLUMN_COUNT,
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

	switch (column) {
	case LOG_ID:
		if (insert)
			put_made_id(b, w);
		else
			pg_put_bytes(b, w->call->call_log_id);
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

void pg_put_logs(struct pg_params *p, const struct log_work *w, size_t n, bool insert, int64_t now_ms)
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

void pg_put_removed(struct pg_params *p, const struct log_work *w, size_t n, bool sids)
{
	size_t count = 0;
	for (size_t i = 0; i < n; i++)
		count += w[i].remove;
	struct buf *b = pg_param_array(p, PG_ELEMENT_TEXT, count);
	for (size_t i = 0; i < n; i++)
		if (w[i].remove)
			pg_put_bytes(b, sids ? w[i].call->room_sid : w[i].before->call_log_id);
}

/* ---- call_facts ---- */

static bool facts_differ(const struct log_work *w)
{
	const struct call_row *c = w->call, *b = w->before;

	if (w->empty)
		return false;
	return !b || !c->exists || w->insert || w->claim || c->facts_changed || c->verdict_changed || !slice_eq(c->user_id, b->user_id) ||
		!slice_eq(c->tenant_error, b->tenant_error) || !slice_eq(c->room_name, b->room_name) || !slice_eq(c->outcome, b->outcome) ||
		c->rules != b->rules || c->revision != b->revision || c->started_at_ms != b->started_at_ms || c->ended_at_ms != b->ended_at_ms ||
		c->due_at_ms != b->due_at_ms || c->room_started_at_ms != b->room_started_at_ms ||
		c->watch_at_ms != b->watch_at_ms;
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

/* The id of the row that the call is linked with, where it is known before the table has made it. */
static void put_linked_id(struct buf *b, const struct log_work *w, bool makes_ids)
{
	if (w->insert && makes_ids)
		put_made_id(b, w);
	else
		pg_put_bytes(b, w->claim && !w->insert ? w->call->call_log_id : SLICE_NONE);
}

size_t pg_put_facts(struct pg_params *p, const struct work *w, bool exists, bool makes_ids, int64_t now_ms)
{
	enum { RULES = 5, TEXTS = 8, REVISION = 8, STARTED, ENDED, DUE, LOG_ID_TEXT, LINKED, OURS, ROOM_STARTED, WATCH, COLUMNS };
	size_t count = 0;

	for (size_t i = 0; i < w->count; i++)
		count += w->calls[i].call->exists == exists && facts_differ(&w->calls[i]);
	if (count == 0)
		return 0;
	pg_params_clear(p);
	for (size_t column = 0; column < COLUMNS; column++) {
		bool number = column == RULES || (column >= TEXTS && column <= DUE) || column >= ROOM_STARTED,
			flag = column == LINKED || column == OURS;
		struct buf *b = pg_param_array(p, number ? PG_ELEMENT_INT8 : flag ? PG_ELEMENT_BOOL : PG_ELEMENT_TEXT, count);
		for (size_t i = 0; i < w->count; i++) {
			const struct log_work *l = &w->calls[i];
			const struct call_row *c = l->call;
			const int64_t numbers[COLUMNS] = {
				[RULES] = c->rules, [REVISION] = c->revision, [STARTED] = c->started_at_ms, [ENDED] = c->ended_at_ms, [DUE] = c->due_at_ms,
				[ROOM_STARTED] = c->room_started_at_ms, [WATCH] = l->before && c->watch_at_ms == l->before->watch_at_ms ? -1 : c->watch_at_ms,
			};
			if (c->exists != exists || !facts_differ(l))
				continue;
			if (column == LINKED)
				pg_put_bool(b, l->insert || l->claim);
			else if (column == OURS)
				pg_put_bool(b, l->insert || l->ours);
			else if (column == REVISION)
				pg_put_int8(b, numbers[column]);
			else if (number)
				pg_put_int8_or_null(b, numbers[column], 0);
			else if (column == LOG_ID_TEXT)
				put_linked_id(b, l, makes_ids);
			else
				pg_put_bytes(b, facts_text(l, column));
		}
	}
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
		e->key_id, e->user_id, e->call_log_id, e->sip_call_id,
	};

	if (column != 14)
		return texts[column];
	for (size_t i = 0; i < sizeof e->body_hash; i++) {
		hex[2 * i] = digits[e->body_hash[i] >> 4];
		hex[2 * i + 1] = digits[e->body_hash[i] & 15];
	}
	return slice_of(hex, 2 * sizeof e->body_hash);
}

/* The row of ours that this very commit takes away (plan_call) is no event's any more. */
static bool loses_row(const struct store_changes *c, const struct journal_row *e)
{
	const struct call_row *call = call_rows_find(c->calls, c->call_count, e->room_sid);
	return call && call->call_log_is_ours && slice_is_empty(call->user_id);
}

void pg_put_journal(struct pg_params *p, const struct store_changes *c)
{
	enum { TIMESTAMP = 6, RAW_BODY = 8, PROCESSED = 9, CREATED = 11, PROCESSED_AT = 12, CALL_LOG = 17, COLUMNS = 19 };
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
				pg_put_bytes(b, column == CALL_LOG && loses_row(c, e) ? SLICE_NONE : journal_text(e, column, hex));
		}
	}
	struct buf *b = pg_param_array(p, PG_ELEMENT_BOOL, c->event_count);
	for (size_t i = 0; i < c->event_count; i++)
		pg_put_bool(b, c->events[i].own_tenant);
}

void pg_put_binds(struct pg_params *p, const struct store_changes *c)
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
	b = pg_param_array(p, PG_ELEMENT_BOOL, c->bind_count);
	for (size_t i = 0; i < c->bind_count; i++)
		pg_put_bool(b, c->binds[i].own_tenant);
}

void pg_put_rebinds(struct pg_params *p, const struct work *w, int64_t now_ms)
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
