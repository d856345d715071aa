/* A call's row in call_logs: the host's, or one of ours, as docs/ARCHITECTURE.md ("Whose row is it?") says.
 * A constraint of the host's table undoes the one statement only: the row is left as it is and the verdict waits in call_facts.
 * Threads: the writer's, inside its transaction. */
#include "store/sqlite.h"

#include <stdio.h>

#include "base/buf.h"

#define SKIPPED 1

/* 0, SKIPPED where the table refused, or an error. */
static int run_on_host_table(struct sqlite_store *s, struct sqlite_binder *b)
{
	if (b->error)
		return b->error;
	int r = sqlite_run(b);
	bool rolled_back = sqlite3_get_autocommit(s->c.db) != 0;
	return r == OC_DATA && !rolled_back ? SKIPPED : r;
}

static struct slice some(struct slice s) { return s.n ? s : SLICE_NONE; }
static struct slice named(const char *name) { return slice_cstr(name); }

static struct slice metadata_of(const struct verdict *v, struct buf *scratch)
{
	buf_clear(scratch);
	call_log_metadata(v, scratch);
	return buf_slice(scratch);
}

/* The columns that both kinds of rows get, in the order of the statements. */
static void bind_columns(struct sqlite_binder *b, const struct verdict *v, struct slice metadata, int64_t now_ms)
{
	bind_text(b, named(direction_name(v->direction)));
	bind_text(b, some(v->phone_number));
	bind_text(b, some(v->sip_call_id));
	bind_int_or_null(b, v->duration_s, -1);
	bind_time(b, v->started_at_ms);
	bind_time(b, v->ended_at_ms);
	bind_text(b, named(call_status_name(v->status)));
	bind_text(b, named(outcome_name(v->outcome)));
	bind_text(b, some(v->recording_url));
	bind_text(b, metadata);
	bind_time(b, now_ms);
}

static int delete_row(struct sqlite_store *s, struct slice id, struct slice room_sid)
{
	struct sqlite_binder b = sqlite_bind(&s->c, SQL_ROW_DELETE);

	bind_text(&b, id);
	bind_text(&b, room_sid);
	return run_on_host_table(s, &b);
}

static int claim_row(struct sqlite_store *s, const struct call_row *call)
{
	struct sqlite_binder b = sqlite_bind(&s->c, SQL_ROW_CLAIM);

	bind_text(&b, call->call_log_id);
	bind_text(&b, call->room_sid);
	return run_on_host_table(s, &b);
}

static int update_row(struct sqlite_store *s, const struct call_row *was, const struct call_row *call, int64_t now_ms, struct buf *scratch)
{
	struct slice metadata = metadata_of(call->new_verdict, scratch);

	if (buf_failed(scratch))
		return OC_NOMEM;
	struct sqlite_binder b = sqlite_bind(&s->c, call->call_log_is_ours ? SQL_ROW_UPDATE_OURS : SQL_ROW_UPDATE_HOST);
	bind_text(&b, call->call_log_id);
	if (call->call_log_is_ours) {
		bind_text(&b, some(call->user_id));
		bind_text(&b, some(call->room_name));
	}
	bind_columns(&b, call->new_verdict, metadata, now_ms);
	if (!call->call_log_is_ours)
		bind_int(&b, !slice_is_empty(was->outcome));
	int r = run_on_host_table(s, &b);
	return r < 0 ? r : 0;
}

static int keep_made_id(struct sqlite_store *s, struct call_row *call, struct arena *a, const char *made)
{
	char number[24];

	snprintf(number, sizeof number, "%lld", (long long)sqlite3_last_insert_rowid(s->c.db));
	if (!arena_copy(a, slice_cstr(s->call_logs.id_is_integer ? number : made), &call->call_log_id))
		return OC_NOMEM;
	call->call_log_is_ours = true;
	return 0;
}

static int insert_row(struct sqlite_store *s, struct call_row *call, int64_t now_ms, struct arena *a, struct buf *scratch)
{
	char made[37];

	if (!s->call_logs.can_insert || slice_is_empty(call->user_id) || !call->new_verdict)
		return 0;
	struct slice metadata = metadata_of(call->new_verdict, scratch);
	if (buf_failed(scratch) || call_log_id_from_sid(call->room_sid, made) < 0)
		return OC_NOMEM;
	struct sqlite_binder b = sqlite_bind(&s->c, SQL_ROW_INSERT);
	bind_text(&b, s->call_logs.id_is_integer ? SLICE_NONE : slice_cstr(made));
	bind_text(&b, call->user_id);
	bind_text(&b, some(call->room_name));
	bind_text(&b, call->room_sid);
	bind_columns(&b, call->new_verdict, metadata, now_ms);
	int r = run_on_host_table(s, &b);
	return r == 0 ? keep_made_id(s, call, a, made) : r < 0 ? r : 0;
}

/* The host's row that load found: ours gives way first, since a room SID is there once. */
static int move_to_host_row(struct sqlite_store *s, struct call_row *call)
{
	int r = 0;

	if (!slice_is_none(call->replaced_call_log_id))
		r = delete_row(s, call->replaced_call_log_id, call->room_sid);
	if (r >= 0)
		r = claim_row(s, call);
	if (r == SKIPPED) {
		call->call_log_id = SLICE_NONE;
		call->call_log_is_ours = false;
		r = 0;
	}
	return r;
}

int sqlite_write_call_log(struct sqlite_store *s, const struct call_row *was, struct call_row *call, int64_t now_ms, struct arena *a,
	struct buf *scratch)
{
	bool new_row = !slice_is_none(call->call_log_id) && !slice_eq(was->call_log_id, call->call_log_id);
	bool new_tenant = !slice_eq(was->user_id, call->user_id);
	int r = 0;

	if (new_row && !call->call_log_is_ours)
		r = move_to_host_row(s, call);
	if (r == 0 && call->call_log_is_ours && slice_is_empty(call->user_id)) {
		r = delete_row(s, call->call_log_id, call->room_sid);
		if (r == 0) {
			call->call_log_id = SLICE_NONE;
			call->call_log_is_ours = false;
		}
		return r < 0 ? r : 0;
	}
	if (r < 0)
		return r;
	if (slice_is_none(call->call_log_id))
		return insert_row(s, call, now_ms, a, scratch);
	if (call->new_verdict && (call->verdict_changed || new_row || (new_tenant && call->call_log_is_ours)))
		return update_row(s, was, call, now_ms, scratch);
	return 0;
}
