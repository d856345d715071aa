/* Some calls made anew: their journal folded into empty facts, held against what is stored, judged, and written where they differ.
 *
 * Invariants: an event that counted counts again or its call is left alone; one that was kept aside may come in, but never costs anything.
 * Of a journal only one row is in memory at a time. Runs on the replay's thread. */
#include "ingest/rebuild.h"

#include <stdlib.h>

#include "base/clock.h"
#include "wire/jdoc.h"
#include "wire/mark.h"

#define ROW_ARENA_BYTES 65536

struct making {
	struct batch *b;
	const struct rebuild_options *o;
	struct rebuilt *calls; /* parallel to b->loaded.calls */
};

/* ---- what the stored facts stand on ---- */

static size_t count_named(const struct facts *f)
{
	size_t n = 2 + f->egress_count + f->mark_count + f->tenant_count;
	for (size_t i = 0; i < f->session_count; i++)
		n += 4 + 2 * f->sessions[i].track_count;
	return n;
}

static void name_event(struct rebuilt *x, struct slice id)
{
	if (id.n)
		x->named[x->named_count++].id = id;
}

static int by_id(const void *x, const void *y) { return slice_cmp(((const struct named_event *)x)->id, ((const struct named_event *)y)->id); }

static int list_named(struct rebuilt *x, struct arena *a)
{
	const struct facts *f = x->stored;
	x->named = ARENA_ARRAY(a, struct named_event, count_named(f));
	if (!x->named)
		return OC_NOMEM;
	name_event(x, f->started.event_id);
	name_event(x, f->finished.event_id);
	for (size_t i = 0; i < f->session_count; i++) {
		const struct fact_session *s = &f->sessions[i];
		name_event(x, s->joined.event_id);
		name_event(x, s->left.event_id);
		name_event(x, s->aborted.event_id);
		name_event(x, s->ended.event_id);
		for (size_t k = 0; k < s->track_count; k++) {
			name_event(x, s->tracks[k].published.event_id);
			name_event(x, s->tracks[k].unpublished.event_id);
		}
	}
	for (size_t i = 0; i < f->egress_count; i++)
		name_event(x, f->egresses[i].ended.event_id);
	for (size_t i = 0; i < f->mark_count; i++)
		name_event(x, f->marks[i].event_id);
	for (size_t i = 0; i < f->tenant_count; i++)
		name_event(x, f->tenants[i].event_id);
	if (x->named_count > 1)
		qsort(x->named, x->named_count, sizeof *x->named, by_id);
	return 0;
}

/* An event may be named several times. */
static void find_named(struct rebuilt *x, struct slice id)
{
	size_t low = 0, high = x->named_count;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (slice_cmp(x->named[middle].id, id) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	for (; low < x->named_count && slice_eq(x->named[low].id, id); low++)
		x->named[low].found = true;
}

static int read_stored(struct making *m, struct rebuilt *x)
{
	if (slice_is_empty(x->was.facts))
		return 0;
	int r = facts_decode(m->b->a, x->was.facts, &x->stored);
	if (r == OC_NOMEM)
		return r;
	if (r < 0 || !slice_eq(x->stored->room_sid, x->was.room_sid)) {
		x->stored = NULL;
		return 0;
	}
	return list_named(x, m->b->a);
}

/* ---- the journal ---- */

static int leave_alone(struct making *m, struct rebuilt *x, enum replay_skip why, struct slice detail)
{
	if (x->skip)
		return 0;
	x->skip = why;
	m->b->states[x - m->calls].left_alone = true;
	return arena_copy(m->b->a, detail, &x->detail) ? 0 : OC_NOMEM;
}

/* Whose the call is, where its row is gone: a mark may be of anybody. */
static int note_user(struct making *m, struct rebuilt *x, const struct journal_row *row)
{
	if (x->was.exists || slice_is_empty(row->user_id) || slice_eq(row->source, SLICE("mark")) || slice_eq(row->source, SLICE("watcher")))
		return 0;
	if (slice_is_empty(x->user_id))
		return arena_copy(m->b->a, row->user_id, &x->user_id) ? 0 : OC_NOMEM;
	x->users_differ |= !slice_eq(x->user_id, row->user_id);
	return 0;
}

static bool is_own_mark(const struct event *ev) { return ev->type == EVENT_MARK && ev->mark.tenant.n > 0; }

static int note_taken(struct making *m, struct rebuilt *x, const struct event *ev)
{
	if (x->taken_count == x->taken_size) {
		size_t size = x->taken_size ? x->taken_size * 2 : 8;
		struct bind_row *longer = ARENA_ARRAY(m->b->a, struct bind_row, size);
		if (!longer)
			return OC_NOMEM;
		if (x->taken_count)
			memcpy(longer, x->taken, x->taken_count * sizeof *longer);
		x->taken = longer;
		x->taken_size = size;
	}
	struct bind_row *bind = &x->taken[x->taken_count++];
	*bind = (struct bind_row){ .room_sid = x->was.room_sid, .own_tenant = is_own_mark(ev) };
	return arena_copy(m->b->a, ev->id, &bind->event_id) ? 0 : OC_NOMEM;
}

static bool is_stripped(const struct journal_row *row) { return slice_is_none(row->payload) && slice_is_none(row->raw_body); }

static int decode_row(struct making *m, const struct journal_row *row, struct arena *a, struct decoded *ret)
{
	struct slice text = slice_is_none(row->payload) ? row->raw_body : row->payload;
	if (slice_is_none(text)) {
		*ret = (struct decoded){ .cause = DECODE_NOT_JSON };
		return 0;
	}
	int r = decode_kept(text, row->source, row->event_id, &m->b->w->options->decode, a, ret);
	if (r == 0)
		ret->event.key_id = row->key_id;
	return r;
}

/* One that counted counts whatever the call's tenant is by now: whose marks are seen is decided when it is judged. */
static int fold_row(struct making *m, struct rebuilt *x, const struct event *ev, bool counted, struct slice *ret_error)
{
	struct call_row *call = &m->b->loaded.calls[x - m->calls];
	struct slice user_id = call->user_id;
	if (counted)
		call->user_id = SLICE_NONE;
	int r = judge_fold_kept(m->b, call, ev, ret_error);
	call->user_id = user_id;
	return r;
}

/* A mark about a call of another tenant's: in nobody's facts. */
static bool is_foreign(const struct journal_row *row) { return slice_eq(row->error_message, SLICE(STORE_OTHER_TENANT)); }

/* One that came again after its call was removed. */
static bool is_pruned(const struct rebuilt *x, const struct journal_row *row)
{
	return !x->was.exists && slice_eq(row->error_message, SLICE(STORE_PRUNED));
}

static int take_row(struct making *m, struct rebuilt *x, const struct journal_row *row, struct arena *a)
{
	bool counted = row->processed || (row->error_message.n && slice_eq(row->error_message, x->was.tenant_error));
	struct decoded d = { .cause = DECODE_OK };
	struct slice error = SLICE_NONE;

	x->events++;
	find_named(x, row->event_id);
	int r = note_user(m, x, row);
	if (r < 0)
		return r;
	if (!counted && (m->o->settled_only || is_foreign(row) || is_pruned(x, row))) {
		x->still_aside++;
		return 0;
	}
	r = decode_row(m, row, a, &d);
	bool read = r == 0 && d.cause == DECODE_OK, here = read && (!d.event.room.sid.n || slice_eq(d.event.room.sid, x->was.room_sid));
	if (r == 0 && here)
		r = fold_row(m, x, &d.event, counted, &error);
	if (r < 0)
		return r;
	bool folded = here && slice_is_none(error);
	if (!folded && counted)
		return leave_alone(m, x, read && !here ? REPLAY_MISPLACED : is_stripped(row) ? REPLAY_STRIPPED : REPLAY_UNREADABLE, row->event_id);
	if (!folded)
		x->still_aside++;
	else if (!counted)
		return note_taken(m, x, &d.event);
	return 0;
}

static int read_journal(struct making *m)
{
	struct store *store = m->b->w->store;
	struct store_loaded *l = &m->b->loaded;
	_cleanup_arena_ struct arena *a = arena_new(ROW_ARENA_BYTES);
	struct journal_row row;
	int r = a ? store_journal_open(store, m->b->touch.room_sids, m->b->touch.room_count) : OC_NOMEM;
	if (r < 0)
		return r;
	while ((r = store_journal_next(store, a, &row)) > 0) {
		const struct call_row *call = store_loaded_find(l, row.room_sid);
		r = call ? take_row(m, &m->calls[call - l->calls], &row, a) : 0;
		if (r < 0)
			break;
		arena_reset(a);
	}
	store_journal_close(store);
	return r;
}

/* ---- is anything lost? ---- */

/* Not when the journal says all that the stored facts do. Where it says less the facts were damaged, unless they name what it does not have. */
static int check_loss(struct making *m, struct rebuilt *x)
{
	const struct call_state *st = &m->b->states[x - m->calls];
	struct buf *text = &m->b->w->text;
	if (!x->stored || x->skip)
		return 0;
	for (size_t i = 0; i < x->named_count; i++)
		if (!x->named[i].found)
			return leave_alone(m, x, REPLAY_PRUNED, x->named[i].id);
	const struct facts *f = st->facts, *s = x->stored;
	bool first_gone = s->first_event_s && (!f || !f->first_event_s || s->first_event_s < f->first_event_s);
	bool last_gone = s->last_event_s && (!f || s->last_event_s > f->last_event_s);
	if (!first_gone && !last_gone)
		return 0;
	buf_clear(text);
	buf_puts(text, "of ");
	buf_put_rfc3339_ms(text, (first_gone ? s->first_event_s : s->last_event_s) * 1000);
	return buf_failed(text) ? OC_NOMEM : leave_alone(m, x, REPLAY_PRUNED, buf_slice(text));
}

/* ---- what is different ---- */

struct verdict_words {
	struct slice outcome, reason, confidence;
};

static struct slice member(const struct jdoc *j, struct slice name, struct arena *a)
{
	uint32_t at = jdoc_member(j, 0, name);
	struct slice text = SLICE_NONE;
	if (!at || jdoc_type_of(j, at) != JDOC_STRING || jdoc_text(j, at, a, &text) != 0)
		return SLICE_NONE;
	return text;
}

static struct verdict_words words_of(struct slice verdict, struct arena *a)
{
	struct jdoc j;
	if (verdict.n == 0 || jdoc_parse(verdict, a, &j) != 0 || j.fault != JDOC_OK || jdoc_type_of(&j, 0) != JDOC_OBJECT)
		return (struct verdict_words){ .outcome = SLICE_NONE };
	return (struct verdict_words){ member(&j, SLICE("outcome"), a), member(&j, SLICE("reason"), a), member(&j, SLICE("confidence"), a) };
}

static unsigned bit(enum replay_change c) { return 1u << c; }

static unsigned verdict_changes(const struct call_row *was, const struct call_row *now, struct arena *a)
{
	if (slice_eq(was->verdict, now->verdict))
		return slice_eq(was->outcome, now->outcome) ? 0 : bit(REPLAY_COLUMNS);
	struct verdict_words x = words_of(was->verdict, a), y = words_of(now->verdict, a);
	bool same = slice_eq(x.outcome, y.outcome) && slice_eq(x.reason, y.reason) && slice_eq(x.confidence, y.confidence);
	return bit(same ? REPLAY_VERDICT : REPLAY_OUTCOME);
}

static unsigned changes_of(const struct rebuilt *x, struct arena *a)
{
	const struct call_row *was = &x->was, *now = x->now;
	unsigned changes = x->taken_count ? bit(REPLAY_EVENTS) : 0;
	if (slice_is_empty(now->facts))
		return 0;
	if (x->lacks_legs)
		changes |= bit(REPLAY_LEGS);
	if (!was->exists)
		return changes | bit(REPLAY_ROW);
	if (!slice_eq(was->facts, now->facts))
		changes |= bit(REPLAY_FACTS);
	if (!slice_eq(was->user_id, now->user_id) || !slice_eq(was->tenant_error, now->tenant_error))
		changes |= bit(REPLAY_TENANT);
	if (was->rules != now->rules || was->revision != now->revision || was->started_at_ms != now->started_at_ms || was->ended_at_ms != now->ended_at_ms ||
	    was->due_at_ms != now->due_at_ms || was->room_started_at_ms != now->room_started_at_ms || !slice_eq(was->room_name, now->room_name))
		changes |= bit(REPLAY_COLUMNS);
	return changes | verdict_changes(was, now, a);
}

/* ---- one page ---- */

static int load_stored(struct making *m)
{
	struct batch *b = m->b;
	size_t n = b->touch.room_count;
	struct replay_call *stored = ARENA_ARRAY(b->a, struct replay_call, n);
	m->calls = ARENA_ARRAY(b->a, struct rebuilt, n);
	b->states = ARENA_ARRAY(b->a, struct call_state, n);
	if (!stored || !m->calls || !b->states)
		return OC_NOMEM;
	int r = store_replay_calls(b->w->store, b->touch.room_sids, n, b->a, stored);
	if (r < 0)
		return r;
	if (!m->o->mend) {
		b->loaded.calls = ARENA_ARRAY(b->a, struct call_row, n);
		b->loaded.call_count = n;
		if (!b->loaded.calls)
			return OC_NOMEM;
	}
	for (size_t i = 0; i < n && r == 0; i++) {
		struct call_row *row = &b->loaded.calls[i];
		if (!m->o->mend)
			*row = stored[i].row;
		if (row->revision < stored[i].kept_revision)
			row->revision = stored[i].kept_revision;
		m->calls[i] = (struct rebuilt){ .was = stored[i].row, .now = row };
		r = read_stored(m, &m->calls[i]);
	}
	return r;
}

static int check_legs(struct making *m)
{
	struct batch *b = m->b;
	size_t n = 0, at = 0;
	for (size_t i = 0; i < b->loaded.call_count; i++)
		n += b->loaded.calls[i].new_leg_count;
	struct replay_leg *legs = ARENA_ARRAY(b->a, struct replay_leg, n);
	if (!legs)
		return OC_NOMEM;
	for (size_t i = 0; i < b->loaded.call_count; i++)
		for (size_t k = 0; k < b->loaded.calls[i].new_leg_count; k++)
			legs[at++] = (struct replay_leg){ .call_id = b->loaded.calls[i].new_legs[k], .room_sid = b->loaded.calls[i].room_sid };
	int r = store_replay_legs(b->w->store, legs, n);
	at = 0;
	for (size_t i = 0; i < b->loaded.call_count && r == 0; i++)
		for (size_t k = 0; k < b->loaded.calls[i].new_leg_count; k++)
			m->calls[i].lacks_legs |= !legs[at++].known;
	return r;
}

static int make_binds(struct making *m)
{
	struct batch *b = m->b;
	size_t n = b->loaded.unbound_count;
	for (size_t i = 0; i < b->loaded.call_count; i++)
		n += m->calls[i].taken_count;
	b->binds = ARENA_ARRAY(b->a, struct bind_row, n);
	if (!b->binds)
		return OC_NOMEM;
	for (size_t i = 0; i < b->loaded.call_count; i++) {
		const struct rebuilt *x = &m->calls[i];
		for (size_t k = 0; k < x->taken_count && !x->skip; k++)
			b->binds[b->bind_count++] = x->taken[k];
	}
	return 0;
}

static int make(struct making *m)
{
	struct batch *b = m->b;
	int r = load_stored(m);
	if (r == 0)
		r = read_journal(m);
	for (size_t i = 0; i < b->loaded.call_count && r == 0; i++) {
		struct rebuilt *x = &m->calls[i];
		if (!x->was.exists && !x->users_differ)
			b->loaded.calls[i].user_id = x->user_id;
		r = check_loss(m, x);
	}
	if (r == 0)
		r = make_binds(m);
	if (r == 0)
		r = judge_fold(b); /* those that waited for one of these calls */
	if (r == 0)
		r = judge_calls(b);
	if (r == 0)
		r = check_legs(m);
	for (size_t i = 0; i < b->loaded.call_count && r == 0; i++)
		if (!m->calls[i].skip)
			m->calls[i].changes = changes_of(&m->calls[i], b->a);
	return r;
}

/* Commits where there is anything to write, else lets go. */
static int settle(struct making *m)
{
	struct batch *b = m->b;
	bool differs = b->bind_count > 0, left = false;
	for (size_t i = 0; i < b->loaded.call_count; i++) {
		differs |= m->calls[i].changes != 0;
		left |= m->calls[i].skip != REPLAY_NOT_SKIPPED;
	}
	if (m->o->mend && left && b->loaded.call_count > 1)
		return OC_DATA;
	if (!m->o->mend || !differs || left) {
		store_batch_abort(b->w->store);
		return 0;
	}
	struct store_changes changes = {
		.calls = b->loaded.calls, .call_count = b->loaded.call_count, .binds = b->binds, .bind_count = b->bind_count, .now_ms = b->now_ms,
	};
	return store_batch_commit(b->w->store, &changes, b->a);
}

int rebuild_calls(struct writer *w, const struct rebuild_options *o, const struct slice *sids, size_t count, struct rebuilt **ret, size_t *ret_count)
{
	struct making m = { .o = o };
	int r = batch_plan(w, NULL, 0, sids, count, &m.b);
	if (r < 0)
		return r;
	m.b->rules = o->rules;
	m.b->rebuilds = true;
	r = o->mend ? store_batch_load(w->store, &m.b->touch, m.b->a, &m.b->loaded) : store_replay_begin(w->store);
	int64_t begun_ns = clock_mono_ns();
	if (r == 0)
		r = make(&m);
	if (r == 0)
		r = settle(&m);
	if (r < 0)
		store_batch_abort(w->store);
	if (o->held_ns)
		*o->held_ns += clock_mono_ns() - begun_ns;
	if (r < 0)
		return r;
	*ret = m.calls;
	*ret_count = m.b->loaded.call_count;
	return 0;
}

/* ---- events without a room ---- */

/* What can be read now and says where it belongs, as items of a batch that are in the journal already. */
static int make_items(struct writer *w, const struct journal_row *rows, size_t count, struct arena *a, struct ingest_item **items, size_t *ret_count)
{
	size_t n = 0;
	struct making m = { .b = &(struct batch){ .w = w } };
	for (size_t i = 0; i < count; i++) {
		struct ingest_item *item = ARENA_NEW(a, struct ingest_item);
		struct decoded *d = ARENA_NEW(a, struct decoded);
		if (!item || !d)
			return OC_NOMEM;
		if (slice_eq(rows[i].error_message, SLICE(STORE_WAITS)) || is_foreign(&rows[i]))
			continue;
		int r = decode_row(&m, &rows[i], a, d);
		if (r < 0)
			return r;
		if (d->cause != DECODE_OK || !event_type_matters(d->event.type) || (!d->event.room.sid.n && !d->event.room.name.n))
			continue;
		*item = (struct ingest_item){ .decoded = d, .body = SLICE(""), .source = rows[i].source, .received_ms = rows[i].created_at_ms };
		items[n++] = item;
	}
	*ret_count = n;
	return 0;
}

static int take_strays(struct batch *b, size_t *ret_taken)
{
	size_t taken = 0;
	memset(b->loaded.known, 0, b->touch.event_count * sizeof *b->loaded.known);
	b->states = ARENA_ARRAY(b->a, struct call_state, b->loaded.call_count);
	b->binds = ARENA_ARRAY(b->a, struct bind_row, b->loaded.unbound_count + b->entry_count);
	if (!b->states || !b->binds)
		return OC_NOMEM;
	int r = judge_fold(b);
	for (size_t i = 0; i < b->entry_count && r == 0; i++) {
		const struct entry *e = &b->entries[i];
		if (e->twin || !e->call || !slice_is_none(e->error))
			continue;
		const struct event *ev = &e->item->decoded->event;
		b->binds[b->bind_count++] = (struct bind_row){ .event_id = ev->id, .room_sid = e->call->room_sid, .own_tenant = is_own_mark(ev) };
		taken++;
	}
	if (r == 0)
		r = judge_calls(b);
	if (r == 0 && taken) {
		struct store_changes changes = {
			.calls = b->loaded.calls, .call_count = b->loaded.call_count, .binds = b->binds, .bind_count = b->bind_count, .now_ms = b->now_ms,
		};
		r = store_batch_commit(b->w->store, &changes, b->a);
	} else if (r == 0) {
		store_batch_abort(b->w->store);
	}
	*ret_taken = taken;
	return r;
}

int rebuild_strays(struct writer *w, const struct journal_row *rows, size_t count, bool mend, size_t *ret_taken)
{
	_cleanup_arena_ struct arena *a = arena_new(ROW_ARENA_BYTES);
	struct ingest_item **items = a ? ARENA_ARRAY(a, struct ingest_item *, count) : NULL;
	size_t n = 0, taken = 0;
	struct batch *b;
	if (!items)
		return OC_NOMEM;
	int r = make_items(w, rows, count, a, items, &n);
	if (r < 0 || n == 0 || !mend) {
		if (r == 0)
			*ret_taken = n;
		return r;
	}
	r = batch_plan(w, items, n, NULL, 0, &b);
	if (r == 0)
		r = store_batch_load(w->store, &b->touch, b->a, &b->loaded);
	if (r == 0)
		r = take_strays(b, &taken);
	if (r < 0) {
		store_batch_abort(w->store);
		return r;
	}
	*ret_taken = taken;
	return 0;
}
