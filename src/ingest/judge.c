/* The pure part of a batch: new events into the facts of their calls, then tenant and verdict, then what has changed.
 *
 * Invariants: an event that names a room SID is folded into that room and no other. Facts are decoded once a call and batch and
 * encoded once. A call is written only where its bytes differ from the stored ones, so that a duplicate costs no write and a verdict's
 * revision counts real changes. A call whose stored facts cannot be read is left as it is; its events are kept aside.
 * The clock's reading is b->now_ms, taken when the attempt began. Runs on the writer's thread.
 *
 * As of when? A call that is still open is judged as of its own last event while its events come in, and as of now only when the sweeper
 * looks at it: a backlog that arrives hours late is no reason to end each call after its first event, and again after each next one. */
#include <assert.h>

#include "core/watch.h"
#include "ingest/internal.h"
#include "wire/mark.h"

#define START_LEEWAY_S 2         /* createdAt is floored and senders' clocks differ a little */
#define LOOK_LATER_MS 60000      /* for a due time that has passed already */
#define QUIET_MS 5000           /* more of a late call's events may be on their way for so long */

static const struct slice unreadable_facts = { "the call's stored facts cannot be read", 38 };

/* ---- the state of a call ---- */

static bool is_sweep(const struct batch *b) { return b->entry_count == 0; }

static int64_t last_event_ms(const struct batch *b, const struct facts *f)
{
	return f->last_event_s > 0 && f->last_event_s < b->now_ms / 1000 ? f->last_event_s * 1000 + 999 : b->now_ms;
}

static int64_t as_of(const struct batch *b, const struct call_row *row, const struct facts *f, bool sweep)
{
	return sweep || row->revision ? b->now_ms : last_event_ms(b, f);
}

/* By whose marks the call was judged, or will be: of no tenant's own while the tenant is not known. */
static struct slice viewer_of(const struct batch *b, const struct call_row *row, const struct tenant *t)
{
	if (t && t->state == TENANT_KNOWN)
		return t->id;
	if ((t && t->state == TENANT_DISPUTED) || !slice_is_none(row->tenant_error))
		return SLICE_NONE;
	return row->user_id.n ? row->user_id : b->w->options->default_user;
}

static int classify(struct batch *b, const struct facts *f, struct slice viewer, int64_t as_of_ms, struct verdict *ret)
{
	struct facts seen;
	int r = facts_for_tenant(f, viewer, b->a, &seen);
	if (r == 0)
		r = verdict_classify(&seen, b->rules, as_of_ms, b->a, ret);
	if (r == 0)
		override_apply(b->w->options->overrides, viewer, ret);
	return r;
}

int judge_look(struct batch *b, struct call_row *row, struct call_state **ret)
{
	struct call_state *st = &b->states[row - b->loaded.calls];
	if (!st->looked) {
		bool anew = b->rebuilds || slice_is_empty(row->facts);
		int r = anew ? facts_new(b->a, row->room_sid, &st->facts) : facts_decode(b->a, row->facts, &st->facts);
		if (r == OC_NOMEM)
			return r;
		st->looked = true;
		st->unreadable = r < 0 || !slice_eq(st->facts->room_sid, row->room_sid);
		if (!st->unreadable && !anew)
			r = classify(b, st->facts, viewer_of(b, row, NULL), as_of(b, row, st->facts, false), &st->before);
		if (!st->unreadable && r == 0)
			r = legs_of(st->facts, NULL, 0, b->a, &st->legs, &st->leg_count);
		if (!st->unreadable && r < 0)
			return r;
	}
	*ret = st;
	return 0;
}

static int fold(struct batch *b, struct call_row *row, const struct event *ev, struct slice *ret_error)
{
	struct call_state *st;
	int r = judge_look(b, row, &st);
	if (r < 0)
		return r;
	if (st->unreadable) {
		*ret_error = unreadable_facts;
		return 0;
	}
	r = facts_fold(st->facts, ev);
	if (r == OC_NOMEM)
		return r;
	if (r < 0)
		*ret_error = slice_cstr(oc_error_text(r));
	else
		st->folded = true;
	return 0;
}

int judge_fold_kept(struct batch *b, struct call_row *row, const struct event *ev, struct slice *ret_error) { return fold(b, row, ev, ret_error); }

/* ---- which call of this name was open then? ---- */

/* When the room began, which does not change as its participants come; 0 where nothing was heard of it. */
int64_t judge_room_start_ms(const struct facts *f)
{
	if (f->creation_time_ms)
		return f->creation_time_ms;
	return (f->started.at_s ? f->started.at_s : f->first_event_s) * 1000;
}

/* Not the smallest of all: an event that was let in two seconds early would open the door for one two seconds earlier. */
static int64_t start_of(const struct facts *f, const struct call_row *row)
{
	int64_t ms = judge_room_start_ms(f);
	return (ms ? ms : row->room_started_at_ms) / 1000;
}

int64_t judge_end_s(const struct facts *f, const struct call_row *row)
{
	if (!slice_is_none(f->finished.event_id))
		return f->finished.at_s;
	return row->outcome.n ? row->ended_at_ms / 1000 : 0;
}

/* The latest of the loaded calls of this name that had begun by at_s and not ended before it; NULL where there is none.
 * `hint` is the call that the store would take; it decides only where a call's beginning is unknown. */
static int match_by_name(struct batch *b, struct slice name, int64_t at_s, struct slice hint, struct call_row **ret)
{
	struct call_row *best = NULL;
	int64_t best_start = 0;
	for (size_t i = 0; i < b->loaded.call_count; i++) {
		struct call_row *row = &b->loaded.calls[i];
		struct facts *f = b->states[i].facts;
		struct slice own = f && f->room_name.n ? f->room_name : row->room_name;
		if (!slice_eq(own, name))
			continue;
		struct call_state *st;
		int r = judge_look(b, row, &st);
		if (r < 0)
			return r;
		if (st->unreadable)
			continue;
		int64_t start = start_of(st->facts, row), end = judge_end_s(st->facts, row);
		bool begun = start ? start <= at_s + START_LEEWAY_S : slice_eq(row->room_sid, hint);
		if (begun && !(end && end < at_s) && (!best || start > best_start)) {
			best = row;
			best_start = start;
		}
	}
	*ret = best;
	return 0;
}

/* ---- folding ---- */

static bool is_new(const struct batch *b, const struct entry *e)
{
	return !e->twin && !b->loaded.known[e->id_at] && e->item->decoded->cause == DECODE_OK;
}

/* Is it of a time of which the calls were removed, and its call not there? Then it is most likely a repetition, and what it says alone would pass
 * for a call. */
static bool is_pruned(const struct batch *b, const struct call_row *row, const struct event *ev)
{
	int64_t before_ms = b->w->pruned_before_ms ? atomic_load_explicit(b->w->pruned_before_ms, memory_order_relaxed) : 0;
	return !row->exists && ev->created_at_s && ev->created_at_s * 1000 < before_ms && !b->states[row - b->loaded.calls].folded;
}

static int fold_by_sid(struct batch *b)
{
	for (size_t i = 0; i < b->entry_count; i++) {
		struct entry *e = &b->entries[i];
		const struct event *ev = &e->item->decoded->event;
		if (!is_new(b, e) || !ev->room.sid.n || ev->type == EVENT_MARK)
			continue;
		e->call = store_loaded_find(&b->loaded, ev->room.sid);
		assert(e->call); /* store_batch_load gives every room it was asked for */
		if (is_pruned(b, e->call, ev)) {
			e->error = SLICE(STORE_PRUNED);
			continue;
		}
		int r = fold(b, e->call, ev, &e->error);
		if (r < 0)
			return r;
	}
	return 0;
}

/* After fold_by_sid, so that a call that begins in this very batch is found too. */
static int fold_by_name(struct batch *b)
{
	for (size_t i = 0; i < b->entry_count; i++) {
		struct entry *e = &b->entries[i];
		const struct event *ev = &e->item->decoded->event;
		if (e->name_at == SIZE_MAX || !is_new(b, e) || ev->type == EVENT_MARK)
			continue;
		int r = match_by_name(b, ev->room.name, b->touch.name_at_s[e->name_at], b->loaded.name_room_sids[e->name_at], &e->call);
		if (r == 0 && e->call)
			r = fold(b, e->call, ev, &e->error);
		if (r < 0)
			return r;
	}
	return 0;
}

/* It is the call's from here on. */
static int bind(struct batch *b, const struct unbound_row *u, struct call_row *row, const struct event *ev)
{
	if (b->states[row - b->loaded.calls].left_alone)
		return 0;
	struct bind_row *bind = &b->binds[b->bind_count++];
	*bind = (struct bind_row){ .event_id = u->event_id, .room_sid = row->room_sid, .own_tenant = ev->type == EVENT_MARK && ev->mark.tenant.n };
	b->states[row - b->loaded.calls].bound = true;
	return fold(b, row, ev, &bind->error_message);
}

static int fold_waiting_event(struct batch *b, const struct unbound_row *u, const struct decoded *d)
{
	struct call_row *row;
	int64_t at_s = u->timestamp_s ? u->timestamp_s : u->created_at_ms / 1000;
	int r = match_by_name(b, u->room_name, at_s, SLICE_NONE, &row);
	if (r < 0 || !row || d->cause != DECODE_OK || (d->event.room.sid.n && !slice_eq(d->event.room.sid, row->room_sid)))
		return r;
	return bind(b, u, row, &d->event);
}

/* One that can never be bound waits no longer. */
static int fold_waiting_mark(struct batch *b, const struct unbound_row *u, const struct decoded *d)
{
	struct call_row *row = NULL;
	struct slice error = d->cause == DECODE_OK ? SLICE_NONE : slice_cstr(decode_cause_text(d->cause));
	int r = d->cause == DECODE_OK ? mark_find_call(b, &d->event, SLICE_NONE, &row, &error) : 0;
	if (r == 0 && row)
		return bind(b, u, row, &d->event);
	if (r == 0 && !slice_is_none(error))
		b->binds[b->bind_count++] = (struct bind_row){ .event_id = u->event_id, .own_tenant = true, .error_message = error };
	return r;
}

static int fold_waiting(struct batch *b)
{
	for (size_t i = 0; i < b->loaded.unbound_count; i++) {
		const struct unbound_row *u = &b->loaded.unbound[i];
		struct decoded d;
		if (slice_is_none(u->payload))
			continue;
		int r = decode_kept(u->payload, u->source, u->event_id, &b->w->options->decode, b->a, &d);
		if (r < 0)
			return r;
		d.event.key_id = u->key_id;
		r = d.event.type == EVENT_MARK ? fold_waiting_mark(b, u, &d) : fold_waiting_event(b, u, &d);
		if (r < 0)
			return r;
	}
	return 0;
}

/* Last, when the batch's calls and their tenants are known. */
static int fold_marks(struct batch *b)
{
	for (size_t i = 0; i < b->entry_count; i++) {
		struct entry *e = &b->entries[i];
		const struct event *ev = &e->item->decoded->event;
		if (!is_new(b, e) || ev->type != EVENT_MARK)
			continue;
		struct slice hint = e->name_at == SIZE_MAX ? SLICE_NONE : b->loaded.name_room_sids[e->name_at];
		int r = mark_find_call(b, ev, hint, &e->call, &e->error);
		if (r == 0 && e->call)
			r = fold(b, e->call, ev, &e->error);
		if (r < 0)
			return r;
	}
	return 0;
}

int judge_fold(struct batch *b)
{
	int r = fold_by_sid(b);
	if (r == 0)
		r = fold_by_name(b);
	if (r == 0)
		r = fold_waiting(b);
	if (r == 0)
		r = fold_marks(b);
	return r;
}

/* ---- judging ---- */

static bool keep_text(struct batch *b, struct slice *ret)
{
	return !buf_failed(&b->w->text) && arena_copy(b->a, buf_slice(&b->w->text), ret);
}

static int dispute_text(struct batch *b, const struct tenant *t, struct slice *ret)
{
	struct buf *text = &b->w->text;
	buf_clear(text);
	buf_putf(text, "witnesses of rank %d disagree about the tenant: ", (int)t->rank);
	buf_put_json_string(text, t->one);
	buf_puts(text, " and ");
	buf_put_json_string(text, t->other);
	return keep_text(b, ret) ? 0 : OC_NOMEM;
}

/* Sets the row's user_id and tenant_error; *ret_changed. A tenant that was known stays where nothing speaks any more. */
static int judge_tenant(struct batch *b, struct call_row *row, const struct facts *f, bool ended, bool *ret_changed)
{
	struct tenant t = tenant_resolve(f, row->host_user_id, b->w->options->default_user, ended);
	struct slice user = row->user_id, error = SLICE_NONE;
	switch (t.state) {
	case TENANT_UNKNOWN:
		break;
	case TENANT_KNOWN:
		user = t.id;
		break;
	case TENANT_DISPUTED: {
		user = SLICE_NONE;
		int r = dispute_text(b, &t, &error);
		if (r < 0)
			return r;
		break;
	}
	}
	*ret_changed = !slice_eq(user, row->user_id) || !slice_eq(error, row->tenant_error);
	row->user_id = user;
	row->tenant_error = error;
	return 0;
}

/* The columns of call_logs that are no members of the verdict, nor kept in call_facts. */
static bool same_columns(const struct verdict *x, const struct verdict *y)
{
	return x->status == y->status && x->direction == y->direction && x->outcome == y->outcome &&
	       slice_eq(x->phone_number, y->phone_number) && slice_eq(x->sip_call_id, y->sip_call_id) &&
	       x->started_at_ms == y->started_at_ms && x->ended_at_ms == y->ended_at_ms && x->duration_s == y->duration_s &&
	       slice_eq(x->recording_url, y->recording_url);
}

static void set_row(struct batch *b, struct call_row *row, struct call_state *st, const struct verdict *v, bool members_changed)
{
	bool final = v->outcome != OUTCOME_NONE;
	st->outcome = v->outcome;
	st->first_final = final && row->revision == 0;
	if (final && (members_changed || row->revision == 0))
		row->revision++;
	row->rules = v->rules;
	row->outcome = final ? slice_cstr(outcome_name(v->outcome)) : SLICE_NONE;
	row->started_at_ms = v->started_at_ms;
	row->ended_at_ms = v->ended_at_ms;
	row->room_started_at_ms = judge_room_start_ms(st->facts);
	row->new_verdict = v;
	if (st->facts->room_name.n)
		row->room_name = st->facts->room_name;
	int64_t due = v->due_at_ms && v->due_at_ms <= b->now_ms ? b->now_ms + (is_sweep(b) ? LOOK_LATER_MS : QUIET_MS) : v->due_at_ms;
	if (st->bound && b->loaded.unbound_count >= STORE_UNBOUND_LIMIT) /* the next ones that waited */
		due = b->now_ms;
	if (b->rebuilds && !row->facts_changed && !row->verdict_changed && (row->due_at_ms || !due))
		due = row->due_at_ms;
	if (due != row->due_at_ms)
		row->facts_changed = true;
	row->due_at_ms = due;
}

/* Facts and verdict as bytes, into the batch's arena. */
static int encode(struct batch *b, const struct facts *f, const struct verdict *v, struct slice *ret_facts, struct slice *ret_members)
{
	struct buf *text = &b->w->text;
	buf_clear(text);
	facts_encode(f, text);
	if (!keep_text(b, ret_facts))
		return OC_NOMEM;
	buf_clear(text);
	struct jsonw json = JSONW(text);
	jw_obj(&json);
	verdict_write_members(v, &json);
	jw_obj_end(&json);
	return keep_text(b, ret_members) ? 0 : OC_NOMEM;
}

/* A time of the sender's, whose clock may be ahead: when the call's last event was sent was no later than our now. */
static int64_t by_our_clock(int64_t at_ms, int64_t last_ms, int64_t now_ms)
{
	int64_t latest_ms = now_ms + (at_ms > last_ms ? at_ms - last_ms : 0);
	return at_ms < latest_ms ? at_ms : latest_ms;
}

/* When LiveKit should be asked about the call. Written when a wish begins, comes sooner or ends, not with every event: the column is indexed.
 * A replay leaves it alone. */
static int set_watch(const struct batch *b, struct call_row *row, const struct facts *f, const struct verdict *v)
{
	struct facts seen;
	struct watch w;
	if (!b->w->options->watch || b->rebuilds)
		return 0;
	int r = facts_for_tenant(f, row->user_id, b->a, &seen);
	if (r == 0)
		r = watch_wants(&seen, v, b->a, &w);
	if (r < 0)
		return r;
	int64_t at_ms = by_our_clock(watch_next_ms(&w), f->last_event_s * 1000, b->now_ms);
	bool sooner = at_ms < row->watch_at_ms && row->watch_at_ms > b->now_ms + WATCH_LEASE_MS; /* else it is being looked at by now */
	if (!at_ms || !row->watch_at_ms || sooner)
		row->watch_at_ms = at_ms;
	return 0;
}

static int count_losses(const struct batch *b, struct call_state *st)
{
	struct losses l;
	int r = losses_find(st->facts, true, b->a, &l);
	if (r == 0)
		st->losses = l.kinds;
	return r;
}

static bool same_outcome(const struct call_row *row, const struct verdict *v) { return slice_eq(row->outcome, slice_cstr(outcome_name(v->outcome))); }

static void set_changes(const struct batch *b, struct call_row *row, const struct call_state *st, const struct verdict *v, bool members_changed,
	bool tenant_changed)
{
	bool same_call = b->rebuilds ? !row->facts_changed && same_outcome(row, v) : same_columns(&st->before, v);
	row->verdict_changed = members_changed || tenant_changed || row->rules != v->rules || !slice_is_none(row->replaced_call_log_id) ||
			       v->started_at_ms != row->started_at_ms || v->ended_at_ms != row->ended_at_ms || !same_call;
}

/* The same facts and rules never gave another verdict; another outcome only the overrides. */
static bool is_damage(const struct batch *b, const struct call_row *row, const struct verdict *v)
{
	return b->rebuilds && !row->facts_changed && row->rules == v->rules && same_outcome(row, v);
}

static int judge_known(struct batch *b, struct call_row *row, struct call_state *st)
{
	struct verdict *v = ARENA_NEW(b->a, struct verdict);
	if (!v)
		return OC_NOMEM;
	int r = tenant_apply_routes(st->facts, b->w->options->routes);
	if (r == 0) {
		struct tenant t = tenant_resolve(st->facts, row->host_user_id, SLICE_NONE, false);
		struct slice viewer = viewer_of(b, row, &t);
		r = classify(b, st->facts, viewer, as_of(b, row, st->facts, is_sweep(b)), v);
		if (r == 0 && b->rebuilds && row->exists && slice_is_empty(row->outcome) && v->outcome != OUTCOME_NONE) /* to end it is the sweeper's */
			r = classify(b, st->facts, viewer, last_event_ms(b, st->facts), v);
	}
	if (r == 0)
		r = legs_of(st->facts, st->legs, st->leg_count, b->a, &row->new_legs, &row->new_leg_count);
	struct slice facts = SLICE_NONE, members = SLICE_NONE;
	if (r == 0)
		r = encode(b, st->facts, v, &facts, &members);
	bool tenant_changed = false;
	if (r == 0)
		r = judge_tenant(b, row, st->facts, v->status == CALL_ENDED, &tenant_changed);
	if (r < 0)
		return r;
	row->facts_changed = !slice_eq(facts, row->facts);
	bool members_changed = !slice_eq(members, row->verdict);
	set_changes(b, row, st, v, members_changed, tenant_changed);
	set_row(b, row, st, v, members_changed && (tenant_changed || !is_damage(b, row, v)));
	r = st->first_final ? count_losses(b, st) : 0;
	if (r < 0)
		return r;
	row->facts = facts;
	row->verdict = members;
	return set_watch(b, row, st->facts, v);
}

int judge_calls(struct batch *b)
{
	for (size_t i = 0; i < b->loaded.call_count; i++) {
		struct call_row *row = &b->loaded.calls[i];
		struct call_state *st;
		int r = judge_look(b, row, &st);
		if (r < 0)
			return r;
		if (st->left_alone)
			continue;
		if (st->unreadable) { /* or the sweeper would come back for it for ever */
			row->facts_changed = row->due_at_ms && row->due_at_ms <= b->now_ms;
			row->due_at_ms = row->facts_changed ? 0 : row->due_at_ms;
			continue;
		}
		if (!st->folded && slice_is_empty(row->facts))
			continue;
		r = judge_known(b, row, st);
		if (r < 0)
			return r;
	}
	for (size_t i = 0; i < b->bind_count; i++) {
		struct bind_row *bind = &b->binds[i];
		const struct call_row *row = store_loaded_find(&b->loaded, bind->room_sid);
		if (slice_is_none(bind->error_message) && row && !bind->own_tenant)
			bind->error_message = row->tenant_error;
		bind->processed = slice_is_none(bind->error_message);
	}
	return 0;
}
