/* The first half of a batch: opens the transaction and gives what is known of what the batch touches.
 *
 *   1 the calls_facts rows of the rooms touched, and of the calls that the bare names stand for
 *   2 which events the journal has already
 *   3 each call's call_logs row: by room SID, else an unclaimed one of the same name, nearest in time
 *   4 events that waited in the journal for one of these calls by name
 *
 * BEGIN IMMEDIATE is the lock on all calls at once, so a call that is not there yet is only made in the arena and becomes a row in
 * the commit. Threads: the writer's. */
#include "store/sqlite.h"

#include <stdlib.h>

#include "base/clock.h"
#include "store/spans.h"

struct load {
	struct sqlite_store *s;
	const struct store_touch *touch;
	struct arena *a;
	struct store_loaded l;
	int64_t now_ms;
};

/* ---- calls ---- */

int sqlite_read_call_row(struct sqlite_store *s, struct slice sid, struct arena *a, struct call_row *row)
{
	struct sqlite_binder b = sqlite_bind(&s->c, SQL_FACTS);

	bind_text(&b, sid);
	int r = sqlite_row(&b);
	if (r <= 0)
		return r;
	row->exists = true;
	bool ok = column_text(&b, 0, a, &row->room_name) && column_text(&b, 1, a, &row->user_id) && column_text(&b, 2, a, &row->tenant_error)
		&& column_text(&b, 3, a, &row->call_log_id) && column_text(&b, 5, a, &row->facts) && column_text(&b, 7, a, &row->verdict)
		&& column_text(&b, 8, a, &row->outcome);
	row->call_log_is_ours = sqlite3_column_int(b.st, 4) != 0;
	row->rules = (unsigned)sqlite3_column_int64(b.st, 6);
	row->revision = sqlite3_column_int64(b.st, 9);
	row->started_at_ms = sqlite3_column_int64(b.st, 10);
	row->ended_at_ms = sqlite3_column_int64(b.st, 11);
	row->due_at_ms = sqlite3_column_int64(b.st, 12);
	row->watch_at_ms = sqlite3_column_int64(b.st, 14);
	row->room_started_at_ms = sqlite3_column_int64(b.st, 13);
	sqlite_reset(&b);
	return ok ? 0 : OC_NOMEM;
}

static struct call_row *find_unsorted(struct store_loaded *l, struct slice sid)
{
	for (size_t i = 0; i < l->call_count; i++)
		if (slice_eq(l->calls[i].room_sid, sid))
			return &l->calls[i];
	return NULL;
}

static int add_call(struct load *x, struct slice sid, struct slice name)
{
	struct call_row *row = &x->l.calls[x->l.call_count];

	*row = (struct call_row){ .room_sid = sid };
	int r = sqlite_read_call_row(x->s, sid, x->a, row);
	if (r < 0)
		return r;
	if (slice_is_none(row->room_name))
		row->room_name = name;
	x->l.call_count++;
	return 0;
}

/* The call of that name that was open at that second: of those stored, and of those that this batch begins. */
static int find_open_call(struct load *x, size_t index, struct slice *ret_sid)
{
	const struct store_touch *t = x->touch;
	struct slice name = t->names[index], user = t->name_users ? t->name_users[index] : SLICE_NONE;
	int64_t at_s = t->name_at_s[index], late_s = t->name_late_s ? t->name_late_s[index] : 0;
	struct sqlite_binder b = sqlite_bind(&x->s->c, SQL_CALL_OPEN_AT);
	struct slice best = SLICE_NONE;
	int64_t best_start = 0;

	bind_text(&b, name);
	bind_int(&b, at_s * 1000 + SPAN_SLACK_MS);
	bind_int(&b, (at_s - late_s) * 1000);
	bind_text(&b, user);
	int r = sqlite_row(&b);
	if (r > 0) {
		bool ok = column_text(&b, 0, x->a, &best);
		best_start = sqlite3_column_int64(b.st, 1);
		sqlite_reset(&b);
		if (!ok)
			return OC_NOMEM;
	}
	if (r < 0)
		return r;
	for (size_t i = 0; i < x->touch->room_count; i++) {
		const struct call_row *row = &x->l.calls[i];
		struct call_span span = call_span(row, x->touch->start_s[i]);
		if (!slice_eq(row->room_name, name) || slice_is_none(name) || !call_span_is_open_at(span, at_s, late_s))
			continue;
		if (user.n && row->user_id.n && !slice_eq(user, row->user_id))
			continue;
		if (slice_is_none(best) || span.start_ms > best_start || (span.start_ms == best_start && slice_cmp(row->room_sid, best) < 0)) {
			best = row->room_sid;
			best_start = span.start_ms;
		}
	}
	*ret_sid = best;
	return 0;
}

static int by_sid(const void *x, const void *y)
{
	const struct call_row *a = x, *b = y;
	return slice_cmp(a->room_sid, b->room_sid);
}

static int load_calls(struct load *x)
{
	const struct store_touch *t = x->touch;
	int r = 0;

	struct slice *leg_calls;
	size_t leg_call_count;
	r = sqlite_leg_calls(x->s, t, x->a, &leg_calls, &leg_call_count);
	if (r < 0)
		return r;
	x->l.calls = ARENA_ARRAY(x->a, struct call_row, t->room_count + t->name_count + leg_call_count);
	x->l.name_room_sids = ARENA_ARRAY(x->a, struct slice, t->name_count);
	if (!x->l.calls || !x->l.name_room_sids)
		return OC_NOMEM;
	for (size_t i = 0; i < t->room_count && r == 0; i++)
		r = add_call(x, t->room_sids[i], t->room_names[i]);
	for (size_t i = 0; i < t->name_count && r == 0; i++) {
		r = find_open_call(x, i, &x->l.name_room_sids[i]);
		if (r == 0 && !slice_is_none(x->l.name_room_sids[i]) && !find_unsorted(&x->l, x->l.name_room_sids[i]))
			r = add_call(x, x->l.name_room_sids[i], SLICE_NONE);
	}
	for (size_t i = 0; i < leg_call_count && r == 0; i++)
		if (!find_unsorted(&x->l, leg_calls[i]))
			r = add_call(x, leg_calls[i], SLICE_NONE);
	if (x->l.call_count)
		qsort(x->l.calls, x->l.call_count, sizeof *x->l.calls, by_sid);
	return r;
}

/* ---- events ---- */

static int load_known(struct load *x)
{
	int r = 0;

	x->l.known = ARENA_ARRAY(x->a, bool, x->touch->event_count);
	x->l.known_hashes = ARENA_ARRAY(x->a, struct slice, x->touch->event_count);
	if (!x->l.known || !x->l.known_hashes)
		return OC_NOMEM;
	for (size_t i = 0; i < x->touch->event_count && r >= 0; i++) {
		struct sqlite_binder b = sqlite_bind(&x->s->c, SQL_EVENT_KNOWN);
		bind_text(&b, x->touch->event_ids[i]);
		r = sqlite_row(&b);
		x->l.known[i] = r > 0;
		if (r <= 0)
			continue;
		bool ok = column_text(&b, 0, x->a, &x->l.known_hashes[i]);
		sqlite_reset(&b);
		if (!ok)
			return OC_NOMEM;
	}
	return r < 0 ? r : 0;
}

static struct call_span span_of(const struct load *x, const struct call_row *row)
{
	return call_span(row, touch_start_s(x->touch, row->room_sid));
}

/* Mostly there is nothing that waits; then a question a batch spares one a call. 1, 0 or an error. */
static int is_any(struct load *x, size_t statement)
{
	struct sqlite_binder b = sqlite_bind(&x->s->c, statement);
	int r = sqlite_row(&b);
	if (r > 0)
		sqlite_reset(&b);
	return r;
}

/* ---- call_logs ---- */

struct candidate {
	struct slice id, user_id; /* id none: there is none */
	int64_t distance_ms;
};

static bool is_taken(const struct load *x, const struct call_row *self, struct slice id)
{
	for (size_t i = 0; i < x->l.call_count; i++)
		if (&x->l.calls[i] != self && slice_eq(x->l.calls[i].call_log_id, id) && !slice_is_none(id))
			return true;
	return false;
}

static int nearest_unclaimed(struct load *x, const struct call_row *row, struct candidate *ret)
{
	struct call_span span = span_of(x, row);
	struct sqlite_binder b = sqlite_bind(&x->s->c, SQL_ROW_UNCLAIMED);
	int r;

	*ret = (struct candidate){ .id = SLICE_NONE };
	if (slice_is_none(row->room_name))
		return 0;
	if (span.start_ms == 0)
		span.start_ms = x->now_ms;
	bind_text(&b, row->room_name);
	bind_int(&b, span.start_ms);
	bind_int_or_null(&b, span.end_ms, 0);
	bind_int(&b, x->now_ms);
	while ((r = sqlite_row(&b)) > 0) {
		struct slice id;
		if (!column_text(&b, 0, x->a, &id) || !column_text(&b, 1, x->a, &ret->user_id)) {
			sqlite_reset(&b);
			return OC_NOMEM;
		}
		if (is_taken(x, row, id))
			continue;
		ret->id = id;
		ret->distance_ms = sqlite3_column_int64(b.st, 2);
		sqlite_reset(&b);
		break;
	}
	return r < 0 ? r : 0;
}

static void take_row(struct call_row *row, struct slice id, struct slice user_id)
{
	if (row->call_log_is_ours && !slice_eq(row->call_log_id, id))
		row->replaced_call_log_id = row->call_log_id;
	row->call_log_id = id;
	row->call_log_is_ours = false;
	row->host_user_id = user_id;
}

/* The row with the call's SID. One of our own making is known by its id also when call_facts does not say so. */
static int find_by_sid(struct load *x, struct call_row *row)
{
	struct sqlite_binder b = sqlite_bind(&x->s->c, SQL_ROW_BY_SID);
	struct slice id, user_id, ours = row->call_log_id;
	char made[37];

	if (!row->call_log_is_ours) {
		int made_it = call_log_id_from_sid(row->room_sid, made);
		if (made_it < 0)
			return made_it;
		ours = slice_cstr(made);
	}
	bind_text(&b, row->room_sid);
	bind_text(&b, ours);
	int r = sqlite_row(&b);
	if (r < 0)
		return r;
	if (r == 0) {
		row->call_log_id = SLICE_NONE;
		row->call_log_is_ours = false;
		return 0;
	}
	bool ok = column_text(&b, 0, x->a, &id) && column_text(&b, 1, x->a, &user_id);
	sqlite_reset(&b);
	if (!ok)
		return OC_NOMEM;
	if (slice_eq(id, ours)) {
		row->call_log_id = id;
		row->call_log_is_ours = true;
	} else {
		take_row(row, id, user_id);
	}
	return 0;
}

/* Several calls may want one row: the nearest gets it, the others look again. */
static int claim_by_name(struct load *x)
{
	size_t n = x->l.call_count;
	struct candidate *best = ARENA_ARRAY(x->a, struct candidate, n);

	if (!best)
		return OC_NOMEM;
	for (size_t i = 0; i < n; i++) {
		const struct call_row *row = &x->l.calls[i];
		bool has_host_row = !slice_is_none(row->call_log_id) && !row->call_log_is_ours;
		int r = has_host_row ? 0 : nearest_unclaimed(x, row, &best[i]);
		if (r < 0)
			return r;
	}
	for (;;) {
		size_t next = n;
		for (size_t i = 0; i < n; i++)
			if (!slice_is_none(best[i].id) && (next == n || best[i].distance_ms < best[next].distance_ms))
				next = i;
		if (next == n)
			return 0;
		struct call_row *row = &x->l.calls[next];
		if (!is_taken(x, row, best[next].id)) {
			take_row(row, best[next].id, best[next].user_id);
			best[next].id = SLICE_NONE;
			continue;
		}
		int r = nearest_unclaimed(x, row, &best[next]);
		if (r < 0)
			return r;
	}
}

static int load_call_logs(struct load *x)
{
	int r = 0;

	for (size_t i = 0; i < x->l.call_count && r == 0; i++)
		r = find_by_sid(x, &x->l.calls[i]);
	if (r == 0)
		r = is_any(x, SQL_ANY_UNCLAIMED);
	return r <= 0 ? r : claim_by_name(x);
}

/* ---- events that waited ---- */

static bool has_unbound(const struct store_loaded *l, struct slice event_id)
{
	for (size_t i = 0; i < l->unbound_count; i++)
		if (slice_eq(l->unbound[i].event_id, event_id))
			return true;
	return false;
}

static int load_unbound_of(struct load *x, const struct call_row *row)
{
	struct call_span span = span_of(x, row);
	struct sqlite_binder b = sqlite_bind(&x->s->c, SQL_UNBOUND);
	int r = 0;

	if (slice_is_none(row->room_name))
		return 0;
	bind_text(&b, row->room_name);
	bind_int(&b, span.start_ms - SPAN_SLACK_MS);
	bind_int(&b, span.end_ms ? span.end_ms + STORE_MARK_LATE_S * 1000 : INT64_MAX);
	bind_text(&b, row->user_id);
	while (x->l.unbound_count < STORE_UNBOUND_LIMIT && (r = sqlite_row(&b)) > 0) {
		struct unbound_row u = { .room_name = row->room_name };
		if (!column_text(&b, 0, x->a, &u.event_id) || !column_text(&b, 1, x->a, &u.payload) || !column_text(&b, 2, x->a, &u.source)
			|| !column_text(&b, 3, x->a, &u.key_id)) {
			r = OC_NOMEM;
			break;
		}
		u.timestamp_s = sqlite3_column_int64(b.st, 4);
		u.created_at_ms = sqlite3_column_int64(b.st, 5);
		if (!has_unbound(&x->l, u.event_id))
			x->l.unbound[x->l.unbound_count++] = u;
	}
	sqlite_reset(&b);
	return r < 0 ? r : 0;
}

static int by_age(const void *x, const void *y)
{
	const struct unbound_row *a = x, *b = y;

	return a->created_at_ms != b->created_at_ms ? (a->created_at_ms > b->created_at_ms) - (a->created_at_ms < b->created_at_ms)
						    : slice_cmp(a->event_id, b->event_id);
}

static int load_unbound(struct load *x)
{
	int r = is_any(x, SQL_ANY_UNBOUND);
	bool by_name = r > 0;

	x->l.unbound = ARENA_ARRAY(x->a, struct unbound_row, STORE_UNBOUND_LIMIT);
	if (!x->l.unbound)
		return OC_NOMEM;
	for (size_t i = 0; by_name && i < x->l.call_count && r >= 0; i++)
		r = load_unbound_of(x, &x->l.calls[i]);
	if (r >= 0)
		r = sqlite_leg_waits(x->s, x->touch, x->l.calls, x->l.call_count, x->a, x->l.unbound, &x->l.unbound_count);
	if (x->l.unbound_count)
		qsort(x->l.unbound, x->l.unbound_count, sizeof *x->l.unbound, by_age);
	return r;
}

/* ---- the whole ---- */

/* What call_facts says, kept to see in the commit what changed. The call_logs row is as stored, not as found. */
static int remember(struct load *x)
{
	size_t n = x->l.call_count;

	x->s->was = ARENA_ARRAY(x->a, struct call_row, n);
	x->s->was_count = n;
	if (!x->s->was)
		return OC_NOMEM;
	if (n)
		memcpy(x->s->was, x->l.calls, n * sizeof *x->s->was);
	return 0;
}

int sqlite_batch_load(struct store *store, const struct store_touch *touch, struct arena *a, struct store_loaded *ret)
{
	struct sqlite_store *s = (struct sqlite_store *)store;
	struct load x = { .s = s, .touch = touch, .a = a, .now_ms = clock_wall_ms() };

	sqlite_batch_abort(store);
	int r = sqlite_reopen_if_broken(s);
	if (r == 0)
		r = sqlite_check_in_place(&s->c);
	if (r == 0)
		r = sqlite_exec(&s->c, "BEGIN IMMEDIATE");
	if (r < 0)
		return r;
	s->in_batch = true;
	r = load_calls(&x);
	if (r == 0)
		r = load_known(&x);
	if (r == 0)
		r = remember(&x);
	if (r == 0)
		r = load_call_logs(&x);
	if (r == 0)
		r = load_unbound(&x);
	if (r < 0) {
		sqlite_batch_abort(store);
		return r;
	}
	*ret = x.l;
	return 0;
}
