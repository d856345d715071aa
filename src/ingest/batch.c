/* One attempt at one transaction: which events and calls it touches, then load, fold, judge, commit.
 *
 * Invariant: the calls are locked (store_batch_load) before anything is believed about them, and nothing is told to anybody before
 * store_batch_commit gave 0. An attempt changes neither the items nor the writer, so that it may be made again, or in halves.
 * Runs on the writer's thread. */
#include <assert.h>
#include <stdlib.h>

#include "base/clock.h"
#include "ingest/internal.h"
#include "wire/jwt.h"
#include "wire/redact.h"

#define NAME_LEEWAY_S 2 /* of the store's span of a call: what is asked for so much earlier begins by the moment itself */

static struct slice some(struct slice s) { return s.n ? s : SLICE_NONE; }

/* ---- plan: event ids each once, rooms sorted and each once, names ---- */

struct room_touch {
	struct slice sid, name;
	int64_t start_s;
};

static uint32_t hash_of(struct slice s)
{
	uint32_t h = 2166136261u;
	for (size_t i = 0; i < s.n; i++)
		h = (h ^ (unsigned char)s.p[i]) * 16777619u;
	return h;
}

/* Fills touch.event_ids; marks the twins. */
static int plan_ids(struct batch *b)
{
	size_t slot_count = 16;
	while (slot_count < b->entry_count * 2)
		slot_count *= 2;
	uint32_t *slots = ARENA_ARRAY(b->a, uint32_t, slot_count); /* 1 + index into ids; 0 = free */
	struct slice *ids = ARENA_ARRAY(b->a, struct slice, b->entry_count);
	if (!slots || !ids)
		return OC_NOMEM;
	size_t count = 0;
	for (size_t i = 0; i < b->entry_count; i++) {
		struct entry *e = &b->entries[i];
		struct slice id = e->item->decoded->event.id;
		size_t at = hash_of(id) & (slot_count - 1);
		while (slots[at] && !slice_eq(ids[slots[at] - 1], id))
			at = (at + 1) & (slot_count - 1);
		e->twin = slots[at] != 0;
		if (!e->twin) {
			ids[count++] = id;
			slots[at] = (uint32_t)count;
		}
		e->id_at = slots[at] - 1;
	}
	b->touch.event_ids = ids;
	b->touch.event_count = count;
	return 0;
}

static int64_t earliest(int64_t x, int64_t y) { return x == 0 ? y : y == 0 ? x : x < y ? x : y; }

static int by_sid(const void *x, const void *y)
{
	return slice_cmp(((const struct room_touch *)x)->sid, ((const struct room_touch *)y)->sid);
}

static int set_rooms(struct batch *b, struct room_touch *rooms, size_t n)
{
	if (n > 1)
		qsort(rooms, n, sizeof *rooms, by_sid);
	struct slice *sids = ARENA_ARRAY(b->a, struct slice, n), *names = ARENA_ARRAY(b->a, struct slice, n);
	int64_t *starts = ARENA_ARRAY(b->a, int64_t, n);
	if (!sids || !names || !starts)
		return OC_NOMEM;
	size_t count = 0;
	for (size_t i = 0; i < n; i++) {
		if (count == 0 || !slice_eq(sids[count - 1], rooms[i].sid))
			sids[count++] = rooms[i].sid;
		if (slice_is_none(names[count - 1]))
			names[count - 1] = rooms[i].name;
		starts[count - 1] = earliest(starts[count - 1], rooms[i].start_s);
	}
	b->touch.room_sids = sids;
	b->touch.room_names = names;
	b->touch.start_s = starts;
	b->touch.room_count = count;
	return 0;
}

struct name_touches {
	struct slice *names, *users;
	int64_t *at_s, *late_s;
	size_t count;
};

static bool names_new(struct batch *b, struct name_touches *ret)
{
	size_t most = 2 * b->entry_count;
	*ret = (struct name_touches){ ARENA_ARRAY(b->a, struct slice, most), ARENA_ARRAY(b->a, struct slice, most), ARENA_ARRAY(b->a, int64_t, most),
		ARENA_ARRAY(b->a, int64_t, most), 0 };
	return ret->names && ret->users && ret->at_s && ret->late_s;
}

static void add_name(struct name_touches *n, struct slice name, struct slice user, int64_t at_s, int64_t late_s)
{
	n->late_s[n->count] = late_s;
	n->names[n->count] = name;
	n->users[n->count] = user;
	n->at_s[n->count++] = at_s;
}

/* Of a mark's two calls at most, one that began by its moment and one that begins in the two seconds after it, marks.c takes the right one. */
static void plan_name(struct name_touches *n, struct entry *e, const struct event *ev)
{
	if (ev->type == EVENT_MARK) {
		add_name(n, ev->room.name, some(ev->mark.tenant), mark_moment_ms(ev) / 1000 - NAME_LEEWAY_S, STORE_MARK_LATE_S);
		e->name_at = n->count;
		add_name(n, ev->room.name, some(ev->mark.tenant), mark_moment_ms(ev) / 1000, 0);
	} else {
		e->name_at = n->count;
		add_name(n, ev->room.name, SLICE_NONE, ev->created_at_s ? ev->created_at_s : e->item->received_ms / 1000, 0);
	}
}

static int plan_rooms(struct batch *b, const struct slice *sids, size_t sid_count)
{
	struct room_touch *rooms = ARENA_ARRAY(b->a, struct room_touch, b->entry_count + sid_count);
	struct name_touches names;
	if (!rooms || !names_new(b, &names))
		return OC_NOMEM;
	size_t room_count = 0;
	for (size_t i = 0; i < b->entry_count; i++) {
		struct entry *e = &b->entries[i];
		const struct event *ev = &e->item->decoded->event;
		bool mark = ev->type == EVENT_MARK;
		e->name_at = SIZE_MAX;
		if (e->twin)
			continue;
		if (ev->room.sid.n) { /* also of an event that could not be read: its row belongs to the call's tenant */
			rooms[room_count++] = (struct room_touch){ ev->room.sid, mark ? SLICE_NONE : some(ev->room.name),
				mark ? 0 : earliest(ev->created_at_s, ev->room.creation_time_ms / 1000) };
		} else if (ev->room.name.n && e->item->decoded->cause == DECODE_OK) {
			plan_name(&names, e, ev);
		}
	}
	for (size_t i = 0; i < sid_count; i++)
		rooms[room_count++] = (struct room_touch){ sids[i], SLICE_NONE, 0 };
	b->touch.names = names.names;
	b->touch.name_users = names.users;
	b->touch.name_at_s = names.at_s;
	b->touch.name_late_s = names.late_s;
	b->touch.name_count = names.count;
	return set_rooms(b, rooms, room_count);
}

static void add_id(struct slice *ids, size_t *count, struct slice id)
{
	for (size_t i = 0; i < *count; i++)
		if (slice_eq(ids[i], id))
			return;
	ids[(*count)++] = id;
}

static bool names_only_a_leg(const struct event *ev)
{
	return ev->type == EVENT_MARK && ev->mark.sip_call_id.n && !ev->room.sid.n && !ev->room.name.n;
}

/* The legs that marks name and nothing else names their call; the legs that events bring. */
static int plan_legs(struct batch *b)
{
	struct slice *named = ARENA_ARRAY(b->a, struct slice, b->entry_count), *brought = ARENA_ARRAY(b->a, struct slice, b->entry_count);
	if (!named || !brought)
		return OC_NOMEM;
	b->touch.leg_ids = named;
	b->touch.sip_call_ids = brought;
	for (size_t i = 0; i < b->entry_count; i++) {
		const struct event *ev = &b->entries[i].item->decoded->event;
		if (names_only_a_leg(ev))
			add_id(named, &b->touch.leg_count, ev->mark.sip_call_id);
		else if (ev->participant.sip_call_id.n)
			add_id(brought, &b->touch.sip_call_count, ev->participant.sip_call_id);
	}
	return 0;
}

static int plan(struct writer *w, struct ingest_item *const *items, size_t n, struct batch **ret)
{
	arena_reset(w->arena);
	struct batch *b = ARENA_NEW(w->arena, struct batch);
	if (!b)
		return OC_NOMEM;
	*b = (struct batch){ .w = w, .a = w->arena, .entry_count = n, .now_ms = clock_wall_ms(), .rules = VERDICT_RULES_VERSION };
	b->entries = ARENA_ARRAY(b->a, struct entry, n);
	if (!b->entries)
		return OC_NOMEM;
	for (size_t i = 0; i < n; i++)
		b->entries[i].item = items[i];
	*ret = b;
	return plan_ids(b);
}

/* ---- journal rows and results ---- */

/* The row has no payload: the bytes as they came, but for secrets. */
static int keep_bytes(const struct batch *b, const struct ingest_item *item, struct journal_row *r)
{
	return redact_bytes(item->body, b->a, &r->raw_body);
}

static bool is_own_mark(const struct event *ev) { return ev->type == EVENT_MARK && ev->mark.tenant.n > 0; }

static int fill_row(const struct batch *b, const struct entry *e, struct journal_row *r)
{
	const struct ingest_item *item = e->item;
	const struct event *ev = &item->decoded->event;
	bool processed = slice_is_none(e->error);
	const struct call_row *call = e->call && !slice_is_empty(e->call->facts) ? e->call : NULL; /* else no call comes of it */
	*r = (struct journal_row){
		.event_id = ev->id,
		.event = ev->type_name.n ? ev->type_name : SLICE("unknown"),
		.room_name = some(ev->room.name),
		.room_sid = call ? call->room_sid : some(ev->room.sid),
		.participant_identity = some(ev->participant.identity),
		.participant_sid = some(ev->participant.sid),
		.timestamp_s = ev->created_at_s,
		.payload = item->decoded->payload,
		.processed = processed,
		.error_message = e->error,
		.created_at_ms = item->received_ms,
		.processed_at_ms = processed ? b->now_ms : 0,
		.source = item->source,
		.key_id = some(ev->key_id),
		.user_id = call ? call->user_id : SLICE_NONE,
		.call_log_id = call ? call->call_log_id : SLICE_NONE,
		.sip_call_id = names_only_a_leg(ev) ? ev->mark.sip_call_id : SLICE_NONE,
	};
	if (is_own_mark(ev)) {
		r->own_tenant = true;
		r->call_log_id = slice_eq(r->user_id, ev->mark.tenant) ? r->call_log_id : SLICE_NONE;
		r->user_id = ev->mark.tenant;
	}
	memcpy(r->body_hash, item->body_hash, sizeof r->body_hash);
	return slice_is_none(r->payload) ? keep_bytes(b, item, r) : 0;
}

bool event_type_matters(enum event_type t)
{
	switch (t) {
	case EVENT_UNKNOWN:
	case EVENT_INGRESS_STARTED:
	case EVENT_INGRESS_ENDED:
	case EVENT_AGENT_JOB_STARTED:
	case EVENT_AGENT_JOB_ENDED:
		return false;
	case EVENT_ROOM_STARTED:
	case EVENT_ROOM_FINISHED:
	case EVENT_PARTICIPANT_JOINED:
	case EVENT_PARTICIPANT_LEFT:
	case EVENT_PARTICIPANT_ABORTED:
	case EVENT_TRACK_PUBLISHED:
	case EVENT_TRACK_UNPUBLISHED:
	case EVENT_EGRESS_STARTED:
	case EVENT_EGRESS_UPDATED:
	case EVENT_EGRESS_ENDED:
	case EVENT_MARK:
		return true;
	}
	return false;
}

static const char *cause_message(enum decode_cause c)
{
	static const char *const messages[] = {
#define X(name, e, text) [e] = "Event kept aside: " text,
		DECODE_CAUSES(X)
#undef X
	};
	return messages[c];
}

static const char waits_message[] = "Event kept until its call is known";

static void set_result(struct entry *e, enum ingest_result result, const char *message)
{
	e->result = result;
	e->message = message;
}

/* Whoever speaks for one tenant only hears the same about a call of another's as about one that is not there. */
static void decide_own_mark(struct entry *e)
{
	bool own = e->call && slice_eq(e->call->user_id, e->item->decoded->event.mark.tenant);
	if (own && !slice_is_none(e->error))
		set_result(e, INGEST_QUARANTINED, "Event kept aside: its call cannot be read");
	else
		set_result(e, INGEST_PROCESSED, own ? "Event processed" : waits_message);
}

static void decide_result(struct entry *e)
{
	const struct decoded *d = e->item->decoded;
	if (is_own_mark(&d->event))
		decide_own_mark(e);
	else if (d->cause != DECODE_OK)
		set_result(e, INGEST_QUARANTINED, cause_message(d->cause));
	else if (slice_eq(e->error, SLICE(STORE_PRUNED)))
		set_result(e, INGEST_QUARANTINED, "Event kept aside: the calls of its time were pruned");
	else if (e->call && !slice_is_none(e->error))
		set_result(e, INGEST_QUARANTINED, "Event kept aside: its call has a conflict");
	else if (!event_type_matters(d->event.type))
		set_result(e, INGEST_IGNORED, "Event kept; its type says nothing about a call");
	else if (!e->call && !d->event.room.name.n && d->event.type != EVENT_MARK)
		set_result(e, INGEST_QUARANTINED, "Event kept aside: it names no room");
	else if (!e->call)
		set_result(e, INGEST_PROCESSED, waits_message);
	else
		set_result(e, INGEST_PROCESSED, "Event processed");
}

/* What keeps an event aside that has been read: nothing, or no call to belong to, or a call whose tenant is disputed. */
static void decide_error(struct entry *e)
{
	const struct event *ev = &e->item->decoded->event;
	if (!slice_is_none(e->error))
		return;
	if (e->call)
		e->error = is_own_mark(ev) ? SLICE_NONE : e->call->tenant_error;
	else if (event_type_matters(ev->type))
		e->error = ev->room.name.n || ev->type == EVENT_MARK ? SLICE(STORE_WAITS) : SLICE("names no room");
}

static int decode_error(struct batch *b, struct entry *e)
{
	struct buf *text = &b->w->text;
	buf_clear(text);
	buf_puts(text, decode_cause_text(e->item->decoded->cause));
	if (e->item->decoded->cause_field.n) {
		buf_puts(text, ": ");
		buf_put(text, e->item->decoded->cause_field);
	}
	if (buf_failed(text) || !arena_copy(b->a, buf_slice(text), &e->error))
		return OC_NOMEM;
	e->call = store_loaded_find(&b->loaded, e->item->decoded->event.room.sid);
	return 0;
}

static const struct entry *first_of_id(const struct batch *b, size_t id_at)
{
	for (size_t i = 0; i < b->entry_count; i++)
		if (b->entries[i].id_at == id_at)
			return &b->entries[i];
	return NULL;
}

/* A mark's id may be made from a key that its sender chose. Is what the journal has under it, or the batch before it, another mark? */
static bool is_another_mark(const struct batch *b, const struct entry *e)
{
	char hex[64];
	if (e->item->decoded->event.type != EVENT_MARK)
		return false;
	if (!b->loaded.known[e->id_at])
		return memcmp(first_of_id(b, e->id_at)->item->body_hash, e->item->body_hash, sizeof e->item->body_hash) != 0;
	hex_encode(e->item->body_hash, sizeof e->item->body_hash, hex);
	return !slice_eq(b->loaded.known_hashes[e->id_at], slice_of(hex, sizeof hex));
}

static int make_rows(struct batch *b, struct journal_row *rows, size_t *ret_count)
{
	size_t count = 0;
	for (size_t i = 0; i < b->entry_count; i++) {
		struct entry *e = &b->entries[i];
		if (e->twin || b->loaded.known[e->id_at]) {
			if (is_another_mark(b, e))
				set_result(e, INGEST_CONFLICT, "The idempotency key was used for another mark");
			else
				set_result(e, INGEST_DUPLICATE, "Event already processed (idempotency)");
			continue;
		}
		if (e->item->decoded->cause != DECODE_OK) {
			int r = decode_error(b, e);
			if (r < 0)
				return r;
		} else {
			decide_error(e);
		}
		decide_result(e);
		int r = fill_row(b, e, &rows[count++]);
		if (r < 0)
			return r;
	}
	*ret_count = count;
	return 0;
}

/* ---- the attempt ---- */

static int commit(struct batch *b, const struct journal_row *rows, size_t row_count)
{
	struct store_changes changes = {
		.events = rows,
		.event_count = row_count,
		.calls = b->loaded.calls,
		.call_count = b->loaded.call_count,
		.binds = b->binds,
		.bind_count = b->bind_count,
		.now_ms = b->now_ms,
	};
	return store_batch_commit(b->w->store, &changes, b->a);
}

int batch_plan(struct writer *w, struct ingest_item *const *items, size_t n, const struct slice *sids, size_t sid_count, struct batch **ret)
{
	struct batch *b;
	int r = plan(w, items, n, &b);
	if (r == 0)
		r = plan_rooms(b, sids, sid_count);
	if (r == 0)
		r = plan_legs(b);
	if (r == 0)
		*ret = b;
	return r;
}

int batch_run(struct writer *w, struct ingest_item *const *items, size_t n, const struct slice *sids, size_t sid_count, struct batch **ret)
{
	struct batch *b;
	int r = batch_plan(w, items, n, sids, sid_count, &b);
	if (r != 0)
		return r;
	r = store_batch_load(w->store, &b->touch, b->a, &b->loaded);
	if (r < 0)
		return r;
	b->states = ARENA_ARRAY(b->a, struct call_state, b->loaded.call_count);
	b->binds = ARENA_ARRAY(b->a, struct bind_row, b->loaded.unbound_count);
	struct journal_row *rows = ARENA_ARRAY(b->a, struct journal_row, n);
	if (!b->states || !b->binds || !rows)
		return OC_NOMEM;
	size_t row_count = 0;
	r = judge_fold(b);
	if (r == 0)
		r = judge_calls(b);
	if (r < 0)
		return r == OC_NOMEM ? OC_NOMEM : OC_DATA;
	r = make_rows(b, rows, &row_count);
	if (r == 0)
		r = commit(b, rows, row_count);
	if (r == 0)
		*ret = b;
	return r;
}

/* Only what the journal cannot do without, beside the bytes. */
static int strip_row(const struct batch *b, struct journal_row *r, const struct ingest_item *item)
{
	r->payload = SLICE_NONE;
	r->room_name = r->participant_identity = r->participant_sid = r->key_id = r->sip_call_id = SLICE_NONE;
	return keep_bytes(b, item, r);
}

int batch_run_aside(struct writer *w, struct ingest_item *item, enum aside_form form, struct slice reason, struct batch **ret)
{
	struct batch *b;
	int r = plan(w, &item, 1, &b);
	if (r == 0)
		r = store_batch_load(w->store, &b->touch, b->a, &b->loaded);
	if (r < 0)
		return r;
	assert(b->loaded.known);
	struct entry *e = &b->entries[0];
	struct journal_row row;
	size_t row_count = 0;
	if (b->loaded.known[0]) {
		set_result(e, INGEST_DUPLICATE, "Event already processed (idempotency)");
	} else {
		set_result(e, INGEST_QUARANTINED, "Event kept aside: the database refused it");
		if (!arena_copy(b->a, reason, &e->error))
			return OC_NOMEM;
		r = fill_row(b, e, &row);
		if (r == 0 && form != ASIDE_WHOLE)
			r = strip_row(b, &row, item);
		if (r < 0)
			return r;
		row_count = 1;
	}
	r = commit(b, &row, row_count);
	if (r == 0)
		*ret = b;
	return r;
}
