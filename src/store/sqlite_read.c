/* Reading from SQLite: a connection of its own that can write nothing (query_only). Every statement names the tenant; a call whose tenant
 * is not known matches none. After an I/O error, or when another file took the place of ours, it is opened anew.
 * Threads: a struct store_reader belongs to one. */
#include "store/sqlite.h"

#include <stdlib.h>

#include "base/clock.h"

enum reader_statement { READ_BEGIN, READ_END, READ_BY_ID, READ_BY_SID, READ_FACTS, READ_LIST, READ_FACTS_OF, READ_REVISIONS, READ_EVENTS,
	READ_PING, READER_COUNT };

struct sqlite_reader {
	struct store_reader base;
	struct sqlite_connection c;
	char *url; /* to open it anew */
	int timeout_ms;
	int64_t deadline_ns; /* of the read that runs */
};

/* The key of idx_call_logs_user (sql/sqlite/0002_calls.up.sql): SQLite uses the index only for the same expression. */
#define SORT_KEY "COALESCE(" SQL_MS("l.\"startedAt\"") ", " SQL_MS("l.\"createdAt\"") ", 0)"

#define VIEW_TEXTS 14 /* columns that are text, the first ones */

/* Text that somebody else wrote into a column of JSON is as good as none. */
#define IF_JSON(column) "CASE WHEN json_valid(" column ") THEN " column " END"

/* A verdict that names marks is of the tenant that the call had when it was given, which may be another than its row's by now. */
#define SHOWN_VERDICT \
	"CASE WHEN json_valid(f.verdict) AND ((l.\"userId\" = f.\"userId\") IS NOT FALSE OR instr(f.verdict, '\"MK_') = 0) THEN f.verdict END"

/* In the order of column_view. `host_columns` are agentConfigId and cost as JSON, or NULLs where the table has none. */
#define VIEW_COLUMNS(host_columns) \
	"l.id, l.\"userId\", l.\"livekitRoomName\", l.\"livekitRoomSid\", l.direction, l.\"phoneNumber\", l.\"sipCallId\", l.status, l.outcome, " \
	"l.\"recordingUrl\", " IF_JSON("l.metadata") ", " SHOWN_VERDICT ", " host_columns ", l.duration, " \
	SQL_MS("l.\"startedAt\"") ", " SQL_MS("l.\"endedAt\"") ", " SQL_MS("l.\"createdAt\"") ", " SQL_MS("l.\"updatedAt\"") ", f.revision, " SORT_KEY

#define FROM_LOGS " FROM call_logs l LEFT JOIN call_facts f ON f.\"roomSid\" = l.\"livekitRoomSid\" "

/* A host's row without a tenant of its own belongs to the one that the facts found. */
#define OF_TENANT "(l.\"userId\" = ?2 OR (l.\"userId\" IS NULL AND f.\"userId\" = ?2))"

static const char facts_sql[] =
	"SELECT NULL, f.\"userId\", f.\"roomName\", f.\"roomSid\", NULL, NULL, NULL, CASE WHEN f.outcome IS NULL THEN 'active' ELSE 'ended' END, "
	"f.outcome, NULL, NULL, " IF_JSON("f.verdict") ", NULL, NULL, CASE WHEN f.\"endedAtMs\" >= f.\"startedAtMs\" THEN (f.\"endedAtMs\" - f.\"startedAtMs\") / 1000 END, "
	"f.\"startedAtMs\", f.\"endedAtMs\", " SQL_MS("f.\"createdAt\"") ", " SQL_MS("f.\"updatedAt\"") ", f.revision, "
	"COALESCE(f.\"startedAtMs\", " SQL_MS("f.\"createdAt\"") ", 0) FROM call_facts f WHERE f.\"roomSid\" = ?1 AND f.\"userId\" = ?2 "
	"AND NOT EXISTS (SELECT 1 FROM call_logs l WHERE l.\"livekitRoomSid\" = f.\"roomSid\")";

/* In the order of column_event. */
static const char events_sql[] =
	"SELECT \"userId\", \"callLogId\", \"eventId\", event, \"roomName\", \"roomSid\", \"participantIdentity\", \"participantSid\", " IF_JSON("\"rawPayload\"") ", "
	"\"errorMessage\", source, \"bodyHash\", \"keyId\", \"sipCallId\", id, timestamp, processed, " SQL_MS("\"createdAt\"") ", "
	SQL_MS("\"processedAt\"") ", \"rawBody\" FROM livekit_call_events WHERE \"roomSid\" = ?1 AND \"userId\" = ?2 AND id > ?3 ORDER BY id LIMIT ?4";

static const char *const view_columns[2][2] = {
	{ VIEW_COLUMNS("NULL, NULL"), VIEW_COLUMNS("NULL, json_quote(l.cost)") },
	{ VIEW_COLUMNS("json_quote(l.\"agentConfigId\"), NULL"), VIEW_COLUMNS("json_quote(l.\"agentConfigId\"), json_quote(l.cost)") },
};

static int prepare_reader(struct sqlite_connection *c, const struct sqlite_call_logs *shape)
{
	const char *columns = view_columns[shape->has_agent_config_id][shape->has_cost];
	_cleanup_buf_ struct buf by_id = BUF_INIT, by_sid = BUF_INIT, list = BUF_INIT;

	buf_putf(&by_id, "SELECT %s" FROM_LOGS "WHERE l.id = ?1 AND " OF_TENANT, columns);
	buf_putc(&by_id, '\0');
	buf_putf(&by_sid, "SELECT %s" FROM_LOGS "WHERE l.\"livekitRoomSid\" = ?1 AND " OF_TENANT " ORDER BY l.id LIMIT 1", columns);
	buf_putc(&by_sid, '\0');
	buf_putf(&list,
		"SELECT %s" FROM_LOGS "WHERE l.\"userId\" = ?1 AND " SORT_KEY " <= ?2 AND (" SORT_KEY " < ?2 OR ?3 IS NULL OR l.id < ?3) "
		"AND " SORT_KEY " >= ?4 AND " SORT_KEY " < ?5 AND (?6 OR l.\"startedAt\" IS NOT NULL) AND (?7 IS NULL OR l.outcome = ?7) "
		"AND (?8 IS NULL OR l.direction = ?8) AND (?9 IS NULL OR l.status = ?9) AND (?10 IS NULL OR l.\"phoneNumber\" = ?10) "
		"AND (?11 IS NULL OR l.\"livekitRoomName\" = ?11) ORDER BY " SORT_KEY " DESC, l.id DESC LIMIT ?12", columns);
	buf_putc(&list, '\0');
	if (buf_failed(&by_id) || buf_failed(&by_sid) || buf_failed(&list))
		return OC_NOMEM;
	const char *const sql[READER_COUNT] = {
		[READ_BEGIN] = "BEGIN", [READ_END] = "COMMIT",
		[READ_BY_ID] = by_id.p, [READ_BY_SID] = by_sid.p, [READ_FACTS] = facts_sql, [READ_LIST] = list.p,
		[READ_FACTS_OF] = "SELECT facts, rules, " SQL_MS("\"updatedAt\"") " FROM call_facts WHERE \"roomSid\" = ?1",
		[READ_REVISIONS] = "SELECT revision, " IF_JSON("verdict") ", " SQL_MS("\"createdAt\"") " FROM call_revisions WHERE \"roomSid\" = ?1 ORDER BY revision",
		[READ_EVENTS] = events_sql,
		[READ_PING] = "SELECT 1 FROM call_facts LIMIT 1",
	};
	return sqlite_prepare(c, sql, READER_COUNT);
}

/* ---- opening ---- */

static int is_late(void *context)
{
	const struct sqlite_reader *r = context;
	return clock_mono_ns() > r->deadline_ns;
}

static int connect_reader(struct sqlite_reader *r, struct arena *a, struct slice *ret_message)
{
	const struct store_options o = { .url = slice_cstr(r->url), .timeout_ms = r->timeout_ms };
	struct sqlite_call_logs shape;
	int e = sqlite_connect(&r->c, &o, SQLITE_READER, a, ret_message);

	if (e < 0)
		return e;
	e = sqlite_require_schema(&r->c, a, ret_message);
	if (e == 0) {
		e = sqlite_call_logs_shape(&r->c, NULL, &shape);
		if (e == 0)
			e = prepare_reader(&r->c, &shape);
		if (e < 0)
			store_fail(e, a, ret_message, "the database %s does not look as it should: %s", r->c.path, r->c.error);
	}
	if (e < 0)
		sqlite_disconnect(&r->c);
	else
		sqlite3_progress_handler(r->c.db, 20000, is_late, r);
	return e;
}

/* Before each read. */
static int make_ready(struct sqlite_reader *r)
{
	r->deadline_ns = clock_mono_ns() + (int64_t)r->c.timeout_ms * 1000000;
	if (r->c.db) {
		int in_place = sqlite_check_in_place(&r->c);
		if (in_place < 0 || !r->c.broken)
			return in_place;
	}
	sqlite_disconnect(&r->c);
	int e = connect_reader(r, NULL, NULL);
	if (e == 0)
		return 0;
	if (r->c.error[0] == '\0')
		sqlite_refuse(&r->c, "the database file cannot be opened");
	return e == OC_NOT_FOUND || e == OC_CONFIG ? OC_DOWN : e;
}

int sqlite_reader_open(const struct store_options *o, struct arena *message_arena, struct store_reader **ret, struct slice *ret_message)
{
	struct sqlite_reader *r = calloc(1, sizeof *r);

	if (!r)
		return OC_NOMEM;
	r->base.ops = &sqlite_store_ops;
	r->timeout_ms = o->timeout_ms;
	r->url = strndup(o->url.p, o->url.n);
	int e = r->url ? connect_reader(r, message_arena, ret_message) : OC_NOMEM;
	if (e < 0) {
		sqlite_reader_close(&r->base);
		return e == OC_NOT_FOUND ? OC_SCHEMA : e;
	}
	*ret = &r->base;
	return 0;
}

void sqlite_reader_close(struct store_reader *reader)
{
	struct sqlite_reader *r = (struct sqlite_reader *)reader;

	sqlite_disconnect(&r->c);
	free(r->url);
	free(r);
}

const char *sqlite_reader_last_error(const struct store_reader *reader) { return ((const struct sqlite_reader *)reader)->c.error; }

/* ---- rows ---- */

static bool column_view(const struct sqlite_binder *b, struct arena *a, struct call_view *v)
{
	struct slice *const texts[VIEW_TEXTS] = { &v->id, &v->user_id, &v->room_name, &v->room_sid, &v->direction, &v->phone_number, &v->sip_call_id, &v->status,
		&v->outcome, &v->recording_url, &v->metadata, &v->verdict, &v->agent_config_id, &v->cost };
	int at = 0;

	for (size_t i = 0; i < VIEW_TEXTS; i++)
		if (!column_text(b, at++, a, texts[i]))
			return false;
	v->duration_s = sqlite3_column_type(b->st, at) == SQLITE_NULL ? -1 : sqlite3_column_int64(b->st, at);
	v->started_at_ms = sqlite3_column_int64(b->st, at + 1);
	v->ended_at_ms = sqlite3_column_int64(b->st, at + 2);
	v->created_at_ms = sqlite3_column_int64(b->st, at + 3);
	v->updated_at_ms = sqlite3_column_int64(b->st, at + 4);
	v->revision = sqlite3_column_int64(b->st, at + 5);
	v->sort_key = sqlite3_column_int64(b->st, at + 6);
	return true;
}

static int read_one(struct sqlite_reader *r, enum reader_statement which, struct slice call_id, struct slice tenant, struct arena *a,
	struct call_view *ret)
{
	struct sqlite_binder b = sqlite_bind(&r->c, which);

	bind_text(&b, call_id);
	bind_text(&b, tenant);
	int e = sqlite_row(&b);
	if (e == 0)
		return OC_NOT_FOUND;
	if (e < 0)
		return e;
	struct call_view v = { .id = SLICE_NONE };
	bool ok = column_view(&b, a, &v);
	sqlite_reset(&b);
	if (!ok)
		return OC_NOMEM;
	*ret = v;
	return 0;
}

/* A room SID is tried first where the id looks like one. What no text column can hold is nowhere. */
static int read_outcome(struct sqlite_reader *r, const struct outcome_query *q, struct arena *a, struct call_view *ret)
{
	static const enum reader_statement orders[2][3] = { { READ_BY_ID, READ_BY_SID, READ_FACTS }, { READ_BY_SID, READ_FACTS, READ_BY_ID } };
	const enum reader_statement *order = orders[slice_starts_with(q->call_id, SLICE("RM_"))];
	int e = OC_NOT_FOUND;

	if (slice_is_empty(q->tenant))
		return OC_DENIED;
	if (slice_is_empty(q->call_id))
		return OC_NOT_FOUND;
	for (size_t i = 0; i < 3 && e == OC_NOT_FOUND; i++)
		e = read_one(r, order[i], q->call_id, q->tenant, a, ret);
	return e == OC_DATA ? OC_NOT_FOUND : e;
}

/* A read transaction, so that what is read in it belongs together. */
static int begin_read(struct sqlite_reader *r)
{
	int e = make_ready(r);
	if (e < 0)
		return e;
	struct sqlite_binder begin = sqlite_bind(&r->c, READ_BEGIN);
	return sqlite_run(&begin);
}

/* Not by sqlite_run after an error: the one that led here is to stay in last_error. */
static int end_read(struct sqlite_reader *r, int error)
{
	if (error == 0) {
		struct sqlite_binder end = sqlite_bind(&r->c, READ_END);
		error = sqlite_run(&end);
	}
	if (error < 0 && r->c.db && !sqlite3_get_autocommit(r->c.db) && sqlite3_exec(r->c.db, "ROLLBACK", NULL, NULL, NULL) != SQLITE_OK)
		r->c.broken = true;
	return error;
}

/* Errors of the store, not of one query. */
static bool concerns_all(int error) { return error < 0 && error != OC_NOT_FOUND && error != OC_DENIED; }

int sqlite_read_outcomes(struct store_reader *reader, struct outcome_query *queries, size_t n, struct arena *a)
{
	struct sqlite_reader *r = (struct sqlite_reader *)reader;

	int e = begin_read(r);
	for (size_t i = 0; i < n && e == 0; i++) {
		queries[i].result = read_outcome(r, &queries[i], a, &queries[i].view);
		if (concerns_all(queries[i].result))
			e = queries[i].result;
	}
	return end_read(r, e);
}

static void bind_filter(struct sqlite_binder *b, const struct list_filter *f)
{
	bind_text(b, f->tenant);
	bind_int(b, f->has_cursor ? f->cursor_ms : INT64_MAX);
	bind_text(b, f->has_cursor ? f->cursor_id : SLICE_NONE);
	bind_int(b, f->from_ms ? f->from_ms : INT64_MIN);
	bind_int(b, f->to_ms ? f->to_ms : INT64_MAX);
	bind_int(b, f->from_ms == 0 && f->to_ms == 0);
	bind_text(b, f->outcome);
	bind_text(b, f->direction);
	bind_text(b, f->status);
	bind_text(b, f->phone_number);
	bind_text(b, f->room_name);
	bind_int(b, (int64_t)f->limit + 1);
}

int sqlite_read_list(struct store_reader *reader, const struct list_filter *f, struct arena *a, struct call_view **ret, size_t *ret_count,
	bool *ret_more)
{
	struct sqlite_reader *r = (struct sqlite_reader *)reader;
	struct call_view *views = ARENA_ARRAY(a, struct call_view, f->limit);
	size_t count = 0;
	bool more = false;
	int e = views ? make_ready(r) : OC_NOMEM;

	if (e < 0)
		return e;
	struct sqlite_binder b = sqlite_bind(&r->c, READ_LIST);
	bind_filter(&b, f);
	while ((e = sqlite_row(&b)) > 0) {
		more = count == f->limit;
		if (more || !column_view(&b, a, &views[count]))
			break;
		count++;
	}
	sqlite_reset(&b);
	if (e > 0 && !more)
		return OC_NOMEM;
	if (e < 0 && e != OC_DATA)
		return e;
	*ret = views;
	*ret_count = count;
	*ret_more = more;
	return 0;
}

/* ---- one call whole ---- */

static int read_facts_of(struct sqlite_reader *r, struct arena *a, struct call_detail *d)
{
	struct sqlite_binder b = sqlite_bind(&r->c, READ_FACTS_OF);
	bind_text(&b, d->view.room_sid);
	int e = sqlite_row(&b);
	if (e <= 0)
		return e;
	bool ok = column_text(&b, 0, a, &d->facts);
	d->rules = (unsigned)sqlite3_column_int64(b.st, 1);
	d->facts_updated_ms = sqlite3_column_int64(b.st, 2);
	sqlite_reset(&b);
	return ok ? 0 : OC_NOMEM;
}

static int read_revisions(struct sqlite_reader *r, struct arena *a, struct call_detail *d)
{
	/* Revisions are numbered from 1, and the present one is not kept. */
	size_t most = d->view.revision > 0 ? (size_t)d->view.revision : 0, count = 0;
	struct call_revision *rows = ARENA_ARRAY(a, struct call_revision, most);
	int e = 0;
	if (!rows)
		return OC_NOMEM;
	struct sqlite_binder b = sqlite_bind(&r->c, READ_REVISIONS);
	bind_text(&b, d->view.room_sid);
	while (count < most && (e = sqlite_row(&b)) > 0) {
		rows[count] = (struct call_revision){ .revision = sqlite3_column_int64(b.st, 0), .replaced_at_ms = sqlite3_column_int64(b.st, 2) };
		if (!column_text(&b, 1, a, &rows[count].verdict)) {
			e = OC_NOMEM;
			break;
		}
		count++;
	}
	sqlite_reset(&b);
	d->revisions = rows;
	d->revision_count = count;
	return e < 0 ? e : 0;
}

static int read_call(struct sqlite_reader *r, struct slice tenant, struct slice call_id, struct arena *a, struct call_detail *d)
{
	const struct outcome_query q = { .tenant = tenant, .call_id = call_id };
	int e = read_outcome(r, &q, a, &d->view);
	if (e < 0 || slice_is_empty(d->view.room_sid))
		return e;
	e = read_facts_of(r, a, d);
	return e < 0 ? e : read_revisions(r, a, d);
}

int sqlite_read_call(struct store_reader *reader, struct slice tenant, struct slice call_id, struct arena *a, struct call_detail *ret)
{
	struct sqlite_reader *r = (struct sqlite_reader *)reader;
	struct call_detail d = { .rules = 0 };
	int e = begin_read(r);
	if (e == 0)
		e = read_call(r, tenant, call_id, a, &d);
	e = end_read(r, e);
	if (e == 0)
		*ret = d;
	return e;
}

/* ---- the journal of a call ---- */

static bool column_event(const struct sqlite_binder *b, struct arena *a, struct event_view *v)
{
	struct slice *const texts[] = { &v->user_id, &v->call_log_id, &v->event_id, &v->event, &v->room_name, &v->room_sid, &v->participant_identity,
		&v->participant_sid, &v->payload, &v->error_message, &v->source, &v->body_hash, &v->key_id, &v->sip_call_id, &v->id };
	int at = 0;

	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
		if (!column_text(b, at++, a, texts[i]))
			return false;
	v->position = sqlite3_column_int64(b->st, at - 1);
	v->timestamp_s = sqlite3_column_int64(b->st, at);
	v->processed = sqlite3_column_int(b->st, at + 1) != 0;
	v->created_at_ms = sqlite3_column_int64(b->st, at + 2);
	v->processed_at_ms = sqlite3_column_int64(b->st, at + 3);
	const void *bytes = sqlite3_column_blob(b->st, at + 4);
	return !bytes || arena_copy(a, slice_of(bytes, (size_t)sqlite3_column_bytes(b->st, at + 4)), &v->raw_body);
}

static int read_event_rows(struct sqlite_reader *r, const struct events_query *q, struct slice room_sid, struct arena *a, struct event_view *rows,
	size_t *ret_count, bool *ret_more)
{
	struct sqlite_binder b = sqlite_bind(&r->c, READ_EVENTS);
	size_t count = 0, bytes = 0;
	bool more = false;
	int e;

	bind_text(&b, room_sid);
	bind_text(&b, q->tenant);
	bind_int(&b, q->has_cursor ? q->cursor_position : 0);
	bind_int(&b, (int64_t)q->limit + 1);
	while ((e = sqlite_row(&b)) > 0) {
		more = count == q->limit || bytes >= STORE_EVENTS_BYTES;
		if (more)
			break;
		if (!column_event(&b, a, &rows[count])) {
			e = OC_NOMEM;
			break;
		}
		bytes += rows[count].payload.n + rows[count].raw_body.n;
		count++;
	}
	sqlite_reset(&b);
	*ret_count = count;
	*ret_more = more;
	return e < 0 ? e : 0;
}

int sqlite_read_events(struct store_reader *reader, const struct events_query *q, struct arena *a, struct event_view **ret, size_t *ret_count,
	bool *ret_more)
{
	struct sqlite_reader *r = (struct sqlite_reader *)reader;
	const struct outcome_query one = { .tenant = q->tenant, .call_id = q->call_id };
	struct event_view *rows = ARENA_ARRAY(a, struct event_view, q->limit);
	struct call_view view = { .id = SLICE_NONE };
	size_t count = 0;
	bool more = false;
	int e = rows ? begin_read(r) : OC_NOMEM;

	if (e < 0)
		return e;
	e = read_outcome(r, &one, a, &view);
	if (e == 0 && !slice_is_empty(view.room_sid))
		e = read_event_rows(r, q, view.room_sid, a, rows, &count, &more);
	e = end_read(r, e);
	if (e < 0)
		return e;
	*ret = rows;
	*ret_count = count;
	*ret_more = more;
	return 0;
}

int sqlite_reader_ping(struct store_reader *reader)
{
	struct sqlite_reader *r = (struct sqlite_reader *)reader;
	int e = make_ready(r);

	if (e < 0)
		return e;
	struct sqlite_binder b = sqlite_bind(&r->c, READ_PING);
	return sqlite_run(&b);
}
