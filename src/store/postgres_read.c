/* Reads for tenants: up to 64 outcomes in one round trip, the list by keyset. Each in a transaction of its own that is read only and has
 * its own settings, so that a pooler may stand between. The tenant is one of them: row-level security (postgres_roles.c) stands behind the
 * statements. Outcomes that were asked for together have all their tenants in sight; then each row is compared once more with who asked.
 * Threads: a struct store_reader belongs to one. */
#include <assert.h>
#include <limits.h>
#include <stdlib.h>

#include "store/postgres_view.h"

struct pg_reader {
	struct store_reader base;
	struct pg pg;
};

static struct pg_reader *reader_of(struct store_reader *r) { return (struct pg_reader *)r; }

int pg_reader_open(const struct store_options *o, struct arena *message_arena, struct store_reader **ret, struct slice *ret_message)
{
	struct pg_reader *reader = calloc(1, sizeof *reader);
	if (!reader)
		return OC_NOMEM;
	reader->base.ops = &postgres_store_ops;
	int r = pg_init(&reader->pg, PG_READER, o);
	if (r == 0) {
		r = pg_connect(&reader->pg);
		if (r < 0)
			store_fail(r, message_arena, ret_message, "PostgreSQL: %s", pg_error(&reader->pg));
	}
	if (r < 0) {
		pg_reader_close(&reader->base);
		return r;
	}
	*ret = &reader->base;
	return 0;
}

void pg_reader_close(struct store_reader *r)
{
	if (!r)
		return;
	pg_done(&reader_of(r)->pg);
	free(r);
}

const char *pg_reader_last_error(const struct store_reader *r) { return pg_error(&((const struct pg_reader *)r)->pg); }

/* `tenant` may be several, put together. */
static int ask(struct pg *c, struct slice tenant, enum pg_statement statement, const struct pg_params *p, int64_t deadline, PGresult **ret)
{
	c->tenant = tenant;
	int r = pg_ask(c, statement, p, deadline, ret);
	c->tenant = SLICE_NONE;
	if (r == OC_SCHEMA) /* the host changed a table: the statements are to be made anew */
		pg_drop(c);
	return r == OC_DATA ? OC_INVALID : r;
}

/* Once more on a fresh connection when this one turned out to be cut, or made for tables that look different now; not after a server that
 * let the time pass. */
static int ask_again(struct pg *c, struct slice tenant, enum pg_statement statement, const struct pg_params *p, PGresult **ret)
{
	int64_t deadline = pg_deadline(c);
	bool fresh = !c->conn;
	int r = pg_ready(c);

	if (r < 0)
		return r;
	r = ask(c, tenant, statement, p, deadline, ret);
	if (r == 0 || c->conn || fresh || pg_now_ms() >= deadline)
		return r;
	c->backoff_ms = 0;
	r = pg_ready(c);
	return r < 0 ? r : ask(c, tenant, statement, p, pg_deadline(c), ret);
}

static int take_texts(const PGresult *res, int row, struct arena *a, struct call_view *v)
{
	const struct {
		enum pg_view column;
		struct slice *to;
	} texts[] = {
		{ PG_VIEW_ID, &v->id }, { PG_VIEW_USER, &v->user_id }, { PG_VIEW_ROOM_NAME, &v->room_name }, { PG_VIEW_ROOM_SID, &v->room_sid },
		{ PG_VIEW_DIRECTION, &v->direction }, { PG_VIEW_PHONE, &v->phone_number }, { PG_VIEW_SIP, &v->sip_call_id },
		{ PG_VIEW_STATUS, &v->status }, { PG_VIEW_OUTCOME, &v->outcome }, { PG_VIEW_RECORDING, &v->recording_url },
		{ PG_VIEW_METADATA, &v->metadata }, { PG_VIEW_AGENT_CONFIG, &v->agent_config_id }, { PG_VIEW_COST, &v->cost },
		{ PG_VIEW_VERDICT, &v->verdict },
	};

	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
		if (pg_get_text(res, row, (int)texts[i].column, a, texts[i].to) < 0)
			return OC_NOMEM;
	return 0;
}

/* What call_facts knows goes where the row says nothing; the outcome of a judged call is always ours. */
static int take_facts(const PGresult *res, int row, struct arena *a, struct call_view *v)
{
	int r = pg_get_text(res, row, PG_VIEW_FACTS_OUTCOME, a, &v->outcome);
	if (r == 0 && slice_is_none(v->room_sid))
		r = pg_get_text(res, row, PG_VIEW_FACTS_SID, a, &v->room_sid);
	if (r == 0 && slice_is_none(v->room_name))
		r = pg_get_text(res, row, PG_VIEW_FACTS_NAME, a, &v->room_name);
	if (r < 0)
		return r;
	v->revision = pg_get_int8(res, row, PG_VIEW_REVISION);
	if (!slice_is_none(v->id))
		return 0;
	v->status = slice_is_none(v->outcome) ? slice_cstr(call_status_name(CALL_ACTIVE)) : slice_cstr(call_status_name(CALL_ENDED));
	v->started_at_ms = pg_get_int8(res, row, PG_VIEW_FACTS_STARTED);
	v->ended_at_ms = pg_get_int8(res, row, PG_VIEW_FACTS_ENDED);
	v->created_at_ms = pg_get_time_ms(res, row, PG_VIEW_FACTS_CREATED);
	v->updated_at_ms = pg_get_time_ms(res, row, PG_VIEW_FACTS_UPDATED);
	if (v->started_at_ms && v->ended_at_ms >= v->started_at_ms)
		v->duration_s = (v->ended_at_ms - v->started_at_ms) / 1000;
	return 0;
}

static int take_view(const PGresult *res, int row, struct arena *a, struct call_view *ret)
{
	struct call_view v = {
		.duration_s = PQgetisnull(res, row, PG_VIEW_DURATION) ? -1 : pg_get_int8(res, row, PG_VIEW_DURATION),
		.started_at_ms = pg_get_time_ms(res, row, PG_VIEW_STARTED),
		.ended_at_ms = pg_get_time_ms(res, row, PG_VIEW_ENDED),
		.created_at_ms = pg_get_time_ms(res, row, PG_VIEW_CREATED),
		.updated_at_ms = pg_get_time_ms(res, row, PG_VIEW_UPDATED),
	};
	int r = take_texts(res, row, a, &v);
	if (r == 0 && !PQgetisnull(res, row, PG_VIEW_FACTS_SID))
		r = take_facts(res, row, a, &v);
	if (r < 0)
		return r;
	v.sort_key = v.started_at_ms ? v.started_at_ms : v.created_at_ms;
	*ret = v;
	return 0;
}

/* What cannot be a text of PostgreSQL is no call's id and nobody's name. */
static struct slice askable(struct slice s)
{
	return slice_is_empty(s) || memchr(s.p, '\0', s.n) || !slice_is_utf8(s) ? SLICE_NONE : s;
}

/* A row that is not of whom it was asked for would be a fault of the statement's: it is as good as not there. */
static int take_outcomes(const PGresult *res, struct outcome_query *queries, size_t n, struct arena *a)
{
	int64_t *ranks = ARENA_ARRAY(a, int64_t, n);
	if (!ranks)
		return OC_NOMEM;
	for (int row = 0; row < PQntuples(res); row++) {
		int64_t at = pg_get_int8(res, row, PG_VIEW_QUERY), rank = pg_get_int8(res, row, PG_VIEW_RANK);
		if (at < 1 || (size_t)at > n || slice_is_empty(queries[at - 1].tenant) ||
		    !slice_eq(pg_peek(res, row, PG_VIEW_USER), queries[at - 1].tenant))
			continue;
		if (ranks[at - 1] && ranks[at - 1] <= rank)
			continue;
		int r = take_view(res, row, a, &queries[at - 1].view);
		if (r < 0)
			return r;
		queries[at - 1].result = 0;
		ranks[at - 1] = rank;
	}
	return 0;
}

/* Each tenant once. None can hold the separator, which is a control character (access_user_id_is_valid); one that does sees nothing. */
static void put_tenants(struct buf *b, const struct outcome_query *queries, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct slice tenant = askable(queries[i].tenant);
		bool listed = slice_is_none(tenant) || memchr(tenant.p, PG_TENANT_SEPARATOR, tenant.n);
		for (size_t k = 0; k < i && !listed; k++)
			listed = slice_eq(queries[k].tenant, tenant);
		if (listed)
			continue;
		if (b->n)
			buf_putc(b, PG_TENANT_SEPARATOR);
		buf_put(b, tenant);
	}
}

int pg_read_outcomes(struct store_reader *reader, struct outcome_query *queries, size_t n, struct arena *a)
{
	struct pg *c = &reader_of(reader)->pg;
	struct pg_params p = { .count = 0 };
	_cleanup_buf_ struct buf tenants = BUF_INIT;
	_cleanup_pg_ PGresult *res = NULL;

	if (n == 0)
		return 0;
	put_tenants(&tenants, queries, n);
	if (buf_failed(&tenants))
		return OC_NOMEM;
	struct buf *b = pg_param_array(&p, PG_ELEMENT_TEXT, n);
	for (size_t i = 0; i < n; i++)
		pg_put_bytes(b, askable(queries[i].tenant));
	b = pg_param_array(&p, PG_ELEMENT_TEXT, n);
	for (size_t i = 0; i < n; i++)
		pg_put_bytes(b, askable(queries[i].call_id));
	int r = ask_again(c, buf_slice(&tenants), PG_STMT_READ_OUTCOMES, &p, &res);
	pg_params_done(&p);
	if (r < 0)
		return r;
	for (size_t i = 0; i < n; i++)
		queries[i].result = slice_is_empty(queries[i].tenant) ? OC_DENIED : OC_NOT_FOUND;
	return take_outcomes(res, queries, n, a);
}

static void put_one(struct pg_params *p, struct slice tenant, struct slice call_id)
{
	pg_put_bytes(pg_param_array(p, PG_ELEMENT_TEXT, 1), askable(tenant));
	pg_put_bytes(pg_param_array(p, PG_ELEMENT_TEXT, 1), askable(call_id));
}

/* ---- one call whole ---- */

static int take_call(const PGresult *res, struct arena *a, struct call_detail *d)
{
	size_t most = (size_t)PQntuples(res);
	struct call_revision *rows = ARENA_ARRAY(a, struct call_revision, most);
	int r = rows ? take_view(res, 0, a, &d->view) : OC_NOMEM;

	if (r == 0)
		r = pg_get_text(res, 0, PG_VIEW_CALL_FACTS, a, &d->facts);
	d->rules = (unsigned)pg_get_int8(res, 0, PG_VIEW_CALL_RULES);
	d->facts_updated_ms = pg_get_time_ms(res, 0, PG_VIEW_FACTS_UPDATED);
	for (size_t i = 0; i < most && r == 0; i++) {
		if (PQgetisnull(res, (int)i, PG_VIEW_REPLACED))
			continue;
		struct call_revision *to = &rows[d->revision_count++];
		to->revision = pg_get_int8(res, (int)i, PG_VIEW_REPLACED);
		to->replaced_at_ms = pg_get_time_ms(res, (int)i, PG_VIEW_REPLACED_AT);
		r = pg_get_text(res, (int)i, PG_VIEW_REPLACED_VERDICT, a, &to->verdict);
	}
	d->revisions = rows;
	return r;
}

int pg_read_call(struct store_reader *reader, struct slice tenant, struct slice call_id, struct arena *a, struct call_detail *ret)
{
	struct pg_params p = { .count = 0 };
	_cleanup_pg_ PGresult *res = NULL;
	struct call_detail d = { .rules = 0 };

	put_one(&p, tenant, call_id);
	int r = ask_again(&reader_of(reader)->pg, askable(tenant), PG_STMT_READ_CALL, &p, &res);
	pg_params_done(&p);
	if (r == 0 && PQntuples(res) == 0)
		r = OC_NOT_FOUND;
	if (r == 0)
		r = take_call(res, a, &d);
	if (r == 0)
		*ret = d;
	return r;
}

/* ---- the journal of a call ---- */

static int take_event(const PGresult *res, int row, struct arena *a, struct event_view *ret)
{
	struct event_view v = {
		.position = pg_get_int8(res, row, PG_EVENT_POSITION),
		.timestamp_s = pg_get_int8(res, row, PG_EVENT_TIMESTAMP),
		.processed = pg_get_int8(res, row, PG_EVENT_PROCESSED) != 0,
		.created_at_ms = pg_get_time_ms(res, row, PG_EVENT_CREATED),
		.processed_at_ms = pg_get_time_ms(res, row, PG_EVENT_PROCESSED_AT),
	};
	const struct {
		enum pg_event_view column;
		struct slice *to;
	} texts[] = {
		{ PG_EVENT_ID, &v.id }, { PG_EVENT_USER, &v.user_id }, { PG_EVENT_CALL_LOG, &v.call_log_id }, { PG_EVENT_EVENT_ID, &v.event_id },
		{ PG_EVENT_EVENT, &v.event }, { PG_EVENT_ROOM_NAME, &v.room_name }, { PG_EVENT_ROOM_SID, &v.room_sid },
		{ PG_EVENT_IDENTITY, &v.participant_identity }, { PG_EVENT_PARTICIPANT_SID, &v.participant_sid }, { PG_EVENT_ERROR, &v.error_message },
		{ PG_EVENT_SOURCE, &v.source }, { PG_EVENT_BODY_HASH, &v.body_hash }, { PG_EVENT_KEY, &v.key_id }, { PG_EVENT_SIP, &v.sip_call_id },
		{ PG_EVENT_PAYLOAD, &v.payload }, { PG_EVENT_RAW_BODY, &v.raw_body },
	};

	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
		if (pg_get_text(res, row, (int)texts[i].column, a, texts[i].to) < 0)
			return OC_NOMEM;
	*ret = v;
	return 0;
}

static int ask_events(struct pg *c, const struct events_query *q, struct slice room_sid, PGresult **ret)
{
	struct pg_params p = { .count = 0 };

	pg_param_text(&p, room_sid);
	pg_param_text(&p, q->tenant);
	pg_param_int8(&p, q->has_cursor ? q->cursor_position : INT64_MIN);
	pg_param_text(&p, q->has_cursor ? askable(q->cursor_id) : SLICE(""));
	pg_param_int8(&p, (int64_t)q->limit + 1);
	pg_param_int8(&p, STORE_EVENTS_BYTES);
	int r = ask_again(c, q->tenant, PG_STMT_READ_EVENTS, &p, ret);
	pg_params_done(&p);
	return r;
}

int pg_read_events(struct store_reader *reader, const struct events_query *q, struct arena *a, struct event_view **ret, size_t *ret_count, bool *ret_more)
{
	struct outcome_query one = { .tenant = q->tenant, .call_id = q->call_id };
	_cleanup_pg_ PGresult *res = NULL;
	int r = pg_read_outcomes(reader, &one, 1, a);

	if (r == 0)
		r = one.result;
	if (r == 0 && !slice_is_empty(one.view.room_sid))
		r = ask_events(&reader_of(reader)->pg, q, one.view.room_sid, &res);
	if (r < 0)
		return r;
	size_t found = res ? (size_t)PQntuples(res) : 0, count = 0;
	struct event_view *rows = ARENA_ARRAY(a, struct event_view, found);
	if (!rows)
		return OC_NOMEM;
	while (count < found && count < q->limit && !pg_get_bool(res, (int)count, PG_EVENT_CUT)) {
		r = take_event(res, (int)count, a, &rows[count]);
		if (r < 0)
			return r;
		count++;
	}
	*ret = rows;
	*ret_count = count;
	*ret_more = found > count;
	return 0;
}

static void put_moment(struct pg_params *p, int64_t ms, bool there)
{
	/* Beyond what PostgreSQL can say there are no rows; the bounds keep the arithmetic in range. */
	const int64_t low = -INT64_C(62135596800000), high = INT64_C(253402300799999);
	if (!there)
		pg_param_text(p, SLICE_NONE);
	else
		pg_param_int8(p, ms < low ? low : ms > high ? high : ms);
}

int pg_read_list(struct store_reader *reader, const struct list_filter *f, struct arena *a, struct call_view **ret, size_t *ret_count, bool *ret_more)
{
	struct pg *c = &reader_of(reader)->pg;
	struct pg_params p = { .count = 0 };
	_cleanup_pg_ PGresult *res = NULL;
	const struct slice texts[] = { f->outcome, f->direction, f->status, f->phone_number, f->room_name };

	pg_param_text(&p, askable(f->tenant));
	put_moment(&p, f->from_ms, f->from_ms != 0);
	put_moment(&p, f->to_ms, f->to_ms != 0);
	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
		pg_param_text(&p, texts[i]);
	put_moment(&p, f->cursor_ms, f->has_cursor);
	pg_param_text(&p, f->has_cursor ? f->cursor_id : SLICE_NONE);
	pg_param_int8(&p, (int64_t)f->limit + 1);
	int r = ask_again(c, askable(f->tenant), PG_STMT_READ_LIST, &p, &res);
	pg_params_done(&p);
	if (r < 0)
		return r;

	size_t found = (size_t)PQntuples(res), count = found > f->limit ? f->limit : found;
	struct call_view *views = ARENA_ARRAY(a, struct call_view, count);
	if (!views)
		return OC_NOMEM;
	for (size_t i = 0; i < count; i++) {
		r = take_view(res, (int)i, a, &views[i]);
		if (r < 0)
			return r;
		views[i].sort_key = pg_get_time_ms(res, (int)i, PG_VIEW_SORT);
	}
	*ret = views;
	*ret_count = count;
	*ret_more = found > count;
	return 0;
}

int pg_reader_ping(struct store_reader *reader)
{
	_cleanup_pg_ PGresult *res = NULL;
	return ask_again(&reader_of(reader)->pg, SLICE_NONE, PG_STMT_PING, NULL, &res);
}
