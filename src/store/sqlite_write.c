/* The second half of a batch: call_logs, call_facts, late binding, journal, COMMIT. Only what changed is written, seen against the rows
 * as loaded. Durable when COMMIT gave SQLITE_OK (synchronous=FULL: the WAL is synced in it) and the files are still the ones that the next
 * process will open, which is looked at before anything is acknowledged. Threads: the writer's. */
#include "store/sqlite.h"

#include "base/buf.h"

/* ---- call_facts ---- */

static bool facts_row_changed(const struct call_row *was, const struct call_row *now)
{
	return !was->exists || now->facts_changed || now->verdict_changed || !slice_eq(was->room_name, now->room_name)
		|| !slice_eq(was->user_id, now->user_id) || !slice_eq(was->tenant_error, now->tenant_error)
		|| !slice_eq(was->call_log_id, now->call_log_id) || was->call_log_is_ours != now->call_log_is_ours
		|| was->room_started_at_ms != now->room_started_at_ms || was->started_at_ms != now->started_at_ms || was->ended_at_ms != now->ended_at_ms || was->due_at_ms != now->due_at_ms
		|| was->watch_at_ms != now->watch_at_ms || was->revision != now->revision || was->rules != now->rules;
}

static struct slice some(struct slice s) { return s.n ? s : SLICE_NONE; }

static int write_facts(struct sqlite_store *s, const struct call_row *was, const struct call_row *call, int64_t now_ms)
{
	if (!facts_row_changed(was, call))
		return 0;
	struct sqlite_binder b = sqlite_bind(&s->c, was->exists ? SQL_FACTS_UPDATE : SQL_FACTS_INSERT);
	bind_text(&b, call->room_sid);
	bind_text(&b, some(call->room_name));
	bind_text(&b, some(call->user_id));
	bind_text(&b, some(call->tenant_error));
	bind_text(&b, some(call->call_log_id));
	bind_int(&b, call->call_log_is_ours);
	bind_text(&b, call->facts);
	bind_int(&b, call->rules);
	bind_text(&b, some(call->verdict));
	bind_text(&b, some(call->outcome));
	bind_int(&b, call->revision);
	bind_int_or_null(&b, call->started_at_ms, 0);
	bind_int_or_null(&b, call->ended_at_ms, 0);
	bind_int_or_null(&b, call->due_at_ms, 0);
	bind_time(&b, now_ms);
	bind_int_or_null(&b, call->room_started_at_ms, 0);
	bind_int_or_null(&b, call->watch_at_ms, 0);
	return sqlite_run(&b);
}

static int keep_replaced(struct sqlite_store *s, const struct call_row *was, const struct call_row *call, int64_t now_ms)
{
	if (!call_verdict_replaced(was, call))
		return 0;
	struct sqlite_binder b = sqlite_bind(&s->c, SQL_REVISION_KEEP);
	bind_text(&b, was->room_sid);
	bind_int(&b, was->revision);
	bind_text(&b, was->outcome);
	bind_int(&b, was->rules);
	bind_text(&b, was->verdict);
	bind_time(&b, now_ms);
	return sqlite_run(&b);
}

/* ---- late binding ---- */

/* The call's earlier events follow it: to its tenant, out of the reach of any when witnesses disagree, to its call_logs row. A call that
 * begins may have some too, that nobody could read. */
static int rebind_events(struct sqlite_store *s, const struct call_row *was, const struct call_row *call, int64_t now_ms)
{
	int r = 0;

	if (!slice_eq(was->user_id, call->user_id) || !slice_eq(was->tenant_error, call->tenant_error)) {
		struct sqlite_binder b = sqlite_bind(&s->c, SQL_EVENTS_TENANT);
		bind_text(&b, call->room_sid);
		bind_text(&b, some(call->user_id));
		bind_text(&b, some(was->tenant_error));
		bind_text(&b, some(call->tenant_error));
		bind_time(&b, now_ms);
		r = sqlite_run(&b);
	}
	if (r == 0 && !slice_eq(was->call_log_id, call->call_log_id)) {
		struct sqlite_binder b = sqlite_bind(&s->c, SQL_EVENTS_CALL_LOG);
		bind_text(&b, call->room_sid);
		bind_text(&b, some(call->call_log_id));
		bind_text(&b, some(call->user_id));
		r = sqlite_run(&b);
	}
	return r;
}

static int write_call(struct sqlite_store *s, const struct call_row *was, struct call_row *call, int64_t now_ms, struct arena *a,
	struct buf *scratch)
{
	if (!was->exists && slice_is_empty(call->facts)) /* named, but nothing established */
		return 0;
	int r = sqlite_write_call_log(s, was, call, now_ms, a, scratch);
	if (r == 0)
		r = write_facts(s, was, call, now_ms);
	if (r == 0)
		r = keep_replaced(s, was, call, now_ms);
	if (r == 0)
		r = sqlite_write_legs(s, call);
	if (r == 0)
		r = rebind_events(s, was, call, now_ms);
	return r;
}

/* ---- the journal ---- */

static void bind_hash(struct sqlite_binder *b, const unsigned char hash[32], char *hex)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < 32; i++) {
		hex[2 * i] = digits[hash[i] >> 4];
		hex[2 * i + 1] = digits[hash[i] & 15];
	}
	bind_text(b, slice_of(hex, 64));
}

static int insert_event(struct sqlite_store *s, const struct journal_row *e, const struct call_row *call)
{
	struct sqlite_binder b = sqlite_bind(&s->c, SQL_EVENT_INSERT);
	char hex[64];
	bool follows = call && (!e->own_tenant || slice_eq(call->user_id, e->user_id));

	bind_text(&b, some(follows ? call->user_id : e->user_id));
	bind_text(&b, some(follows ? call->call_log_id : e->call_log_id));
	bind_text(&b, e->event_id);
	bind_text(&b, e->event);
	bind_text(&b, e->room_name);
	bind_text(&b, e->room_sid);
	bind_text(&b, e->participant_identity);
	bind_text(&b, e->participant_sid);
	bind_int_or_null(&b, e->timestamp_s, 0);
	bind_text(&b, e->payload);
	bind_blob(&b, slice_is_none(e->payload) ? e->raw_body : SLICE_NONE);
	bind_int(&b, e->processed);
	bind_text(&b, e->error_message);
	bind_time(&b, e->created_at_ms);
	bind_time(&b, e->processed_at_ms);
	bind_text(&b, e->source);
	bind_hash(&b, e->body_hash, hex);
	bind_text(&b, e->key_id);
	bind_text(&b, e->sip_call_id);
	return sqlite_run(&b);
}

static int bind_event(struct sqlite_store *s, const struct bind_row *e, const struct call_row *call, int64_t now_ms)
{
	struct sqlite_binder b = sqlite_bind(&s->c, SQL_EVENT_BIND);

	bind_text(&b, e->event_id);
	bind_text(&b, e->room_sid);
	bind_int(&b, e->processed);
	bind_text(&b, some(e->error_message));
	bind_time(&b, now_ms);
	bind_text(&b, call ? some(call->user_id) : SLICE_NONE);
	bind_text(&b, call ? some(call->call_log_id) : SLICE_NONE);
	bind_int(&b, e->own_tenant);
	return sqlite_run(&b);
}

/* ---- the whole ---- */

static const struct call_row *kept_call(const struct store_changes *c, struct slice room_sid)
{
	const struct call_row *call = call_rows_find(c->calls, c->call_count, room_sid);
	return call && (call->exists || !slice_is_empty(call->facts)) ? call : NULL;
}

static int write_all(struct sqlite_store *s, const struct store_changes *c, struct arena *a, struct buf *scratch)
{
	struct store_loaded was = { .calls = s->was, .call_count = s->was_count };
	int r = 0;

	for (size_t i = 0; i < c->call_count && r == 0; i++) {
		const struct call_row *before = store_loaded_find(&was, c->calls[i].room_sid);
		const struct call_row fresh = { .room_sid = c->calls[i].room_sid };
		r = write_call(s, before ? before : &fresh, &c->calls[i], c->now_ms, a, scratch);
	}
	for (size_t i = 0; i < c->event_count && r == 0; i++)
		r = insert_event(s, &c->events[i], kept_call(c, c->events[i].room_sid));
	for (size_t i = 0; i < c->bind_count && r == 0; i++)
		r = bind_event(s, &c->binds[i], call_rows_find(c->calls, c->call_count, c->binds[i].room_sid), c->now_ms);
	return r;
}

int sqlite_batch_commit(struct store *store, const struct store_changes *c, struct arena *a)
{
	struct sqlite_store *s = (struct sqlite_store *)store;
	_cleanup_buf_ struct buf scratch = BUF_INIT;

	if (!s->in_batch) {
		sqlite_refuse(&s->c, "no transaction is open");
		return OC_INVALID;
	}
	int r = write_all(s, c, a, &scratch);
	if (r == 0)
		r = sqlite_exec(&s->c, "COMMIT");
	if (r < 0) {
		sqlite_batch_abort(store);
		return r;
	}
	s->in_batch = false;
	s->was = NULL;
	s->was_count = 0;
	return sqlite_check_in_place(&s->c);
}

void sqlite_batch_abort(struct store *store)
{
	struct sqlite_store *s = (struct sqlite_store *)store;

	/* Not by sqlite_exec: the error that led here is to stay in last_error. */
	if (s->c.db && !sqlite3_get_autocommit(s->c.db) && sqlite3_exec(s->c.db, "ROLLBACK", NULL, NULL, NULL) != SQLITE_OK)
		s->c.broken = true;
	s->in_batch = false;
	s->was = NULL;
	s->was_count = 0;
}
