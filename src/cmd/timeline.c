/* See timeline.h. Facts take events in any order, so only what is shown is put in order here. */
#include "cmd/timeline.h"

#include <stdlib.h>

#include "cmd/cmd.h"
#include "cmd/recording.h"
#include "wire/jdoc.h"
#include "wire/mark.h"
#include "wire/rfc3339.h"

#define NEAR_MS 2000 /* an exact time is the event's own when it lies this near its createdAt */

/* ---- when ---- */

static int64_t exact_ms(const struct event *e)
{
	switch (e->type) {
	case EVENT_ROOM_STARTED:
		return e->room.creation_time_ms % 1000 ? e->room.creation_time_ms : 0;
	case EVENT_PARTICIPANT_JOINED:
		return e->participant.joined_at_whole_s ? 0 : e->participant.joined_at_ms;
	case EVENT_TRACK_PUBLISHED:
		return e->track.published_us / 1000;
	case EVENT_EGRESS_STARTED:
		return e->egress.started_at_ns / 1000000;
	case EVENT_EGRESS_ENDED:
		return e->egress.ended_at_ns / 1000000;
	case EVENT_UNKNOWN:
	case EVENT_ROOM_FINISHED:
	case EVENT_PARTICIPANT_LEFT:
	case EVENT_PARTICIPANT_ABORTED:
	case EVENT_TRACK_UNPUBLISHED:
	case EVENT_EGRESS_UPDATED:
	case EVENT_INGRESS_STARTED:
	case EVENT_INGRESS_ENDED:
	case EVENT_AGENT_JOB_STARTED:
	case EVENT_AGENT_JOB_ENDED:
	case EVENT_MARK:
		return 0;
	}
	return 0;
}

/* createdAt is a second; within it the receipt is the better guess. */
static void set_time(struct told *t)
{
	const struct event *e = &t->decoded.event;
	int64_t created = e->created_at_s * 1000, exact = e->type == EVENT_MARK ? e->mark.at_ms : exact_ms(e);
	bool near = e->type == EVENT_MARK || !created || (exact > created - NEAR_MS && exact < created + 1000 + NEAR_MS);
	t->exact = exact > 0 && near;
	if (t->exact)
		t->at_ms = exact;
	else if (!created)
		t->at_ms = t->received_ms;
	else
		t->at_ms = t->received_ms < created ? created : t->received_ms > created + 999 ? created + 999 : t->received_ms;
}

/* ---- reading ---- */

static int add(struct told_list *list, const struct told *t, struct arena *a)
{
	if (list->count == list->size) {
		size_t size = list->size ? list->size * 2 : 64;
		struct told *items = ARENA_ARRAY(a, struct told, size);
		if (!items)
			return OC_NOMEM;
		if (list->count)
			memcpy(items, list->items, list->count * sizeof *items);
		list->items = items;
		list->size = size;
	}
	list->items[list->count] = *t;
	set_time(&list->items[list->count]);
	list->items[list->count].order = list->count;
	list->count++;
	return 0;
}

int told_add_row(const struct event_view *row, const struct decode_options *o, struct arena *a, struct told_list *list)
{
	struct told t = { .source = row->source, .received_ms = row->created_at_ms };
	struct slice payload = slice_is_none(row->payload) ? row->raw_body : row->payload;
	if (!row->processed)
		t.error = slice_is_none(row->error_message) ? SLICE("kept aside") : row->error_message;
	int r = decode_kept(slice_is_none(payload) ? SLICE("") : payload, row->source, row->event_id, o, a, &t.decoded);
	return r < 0 ? r : add(list, &t, a);
}

/* A member as text: a string's, anything else as it stands; null is none. */
static int member(const struct jdoc *j, uint32_t object, struct slice name, struct arena *a, struct slice *ret)
{
	uint32_t node = jdoc_member(j, object, name);
	*ret = SLICE_NONE;
	if (!node || jdoc_type_of(j, node) == JDOC_NULL)
		return 0;
	if (jdoc_type_of(j, node) == JDOC_STRING)
		return jdoc_text(j, node, a, ret);
	*ret = jdoc_raw(j, node);
	return 0;
}

static bool is_row(const struct jdoc *j, uint32_t object)
{
	return jdoc_type_of(j, object) == JDOC_OBJECT && jdoc_member(j, object, SLICE("rawPayload")) && jdoc_member(j, object, SLICE("eventId"));
}

/* A row of the journal as JSON, by whatever tool wrote it. */
static int add_json_row(const struct jdoc *j, uint32_t object, const struct decode_options *o, struct arena *a, struct told_list *list)
{
	struct event_view row = { .processed = true };
	struct slice processed = SLICE_NONE, created = SLICE_NONE;
	int r = member(j, object, SLICE("rawPayload"), a, &row.payload);
	if (r == 0)
		r = member(j, object, SLICE("eventId"), a, &row.event_id);
	if (r == 0)
		r = member(j, object, SLICE("source"), a, &row.source);
	if (r == 0)
		r = member(j, object, SLICE("errorMessage"), a, &row.error_message);
	if (r == 0)
		r = member(j, object, SLICE("processed"), a, &processed);
	if (r == 0)
		r = member(j, object, SLICE("createdAt"), a, &created);
	if (r < 0)
		return r;
	row.processed = !slice_eq(processed, SLICE("0")) && !slice_eq(processed, SLICE("false"));
	if (slice_is_empty(created) || !rfc3339_parse(created, &row.created_at_ms))
		row.created_at_ms = 0;
	return told_add_row(&row, o, a, list);
}

static int add_body(const struct recorded *rec, const struct decode_options *o, struct arena *a, struct told_list *list)
{
	struct told t = { .source = slice_is_none(rec->hmac) ? SLICE("livekit") : SLICE("hmac"), .received_ms = rec->received_ms };
	struct decode_options options = *o;
	options.iso_times |= !slice_is_none(rec->hmac);
	int r = decode_event(rec->body, &options, a, &t.decoded);
	return r < 0 ? r : add(list, &t, a);
}

static int add_rows(const struct jdoc *j, uint32_t array, const struct decode_options *o, struct arena *a, struct told_list *list,
	struct slice *ret_message)
{
	int r = 0;
	for (uint32_t row = jdoc_first(j, array); row < jdoc_end(j, array) && r == 0; row = jdoc_after(j, row)) {
		if (!is_row(j, row)) {
			*ret_message = SLICE("it is no list of journal rows: each must have eventId and rawPayload");
			return OC_INVALID;
		}
		r = add_json_row(j, row, o, a, list);
		if (r == OC_INVALID)
			*ret_message = SLICE("a text of a row cannot be read");
	}
	return r;
}

static int add_recorded(const struct recorded *rec, const struct decode_options *o, struct arena *a, struct told_list *list)
{
	struct jdoc j;
	int r = jdoc_parse(rec->body, a, &j);
	if (r < 0)
		return r;
	return j.count && is_row(&j, 0) ? add_json_row(&j, 0, o, a, list) : add_body(rec, o, a, list);
}

int told_read(struct slice text, const struct decode_options *o, struct arena *a, struct told_list *list, struct slice *ret_message)
{
	struct jdoc j;
	struct recorded *items;
	size_t count = 0;
	int r = jdoc_parse(text, a, &j);
	if (r < 0)
		return r;
	if (j.count && j.fault == JDOC_OK) {
		uint32_t events = jdoc_type_of(&j, 0) == JDOC_OBJECT ? jdoc_member(&j, 0, SLICE("events")) : 0;
		if (jdoc_type_of(&j, 0) == JDOC_ARRAY || (events && jdoc_type_of(&j, events) == JDOC_ARRAY))
			return add_rows(&j, events, o, a, list, ret_message);
	}
	r = recording_read_json(text, a, &items, &count, ret_message);
	for (size_t i = 0; i < count && r == 0; i++) {
		r = add_recorded(&items[i], o, a, list);
		if (r == OC_INVALID)
			*ret_message = arena_text(a, "line %zu: a text of the row cannot be read", items[i].line);
	}
	return r;
}

/* ---- order ---- */

static int by_time(const void *x, const void *y)
{
	const struct told *a = *(struct told *const *)x, *b = *(struct told *const *)y;
	int c = (a->at_ms > b->at_ms) - (a->at_ms < b->at_ms);
	return c ? c : (a->order > b->order) - (a->order < b->order);
}

static int by_id(const void *x, const void *y)
{
	const struct told *a = *(struct told *const *)x, *b = *(struct told *const *)y;
	int c = slice_cmp(a->decoded.event.id, b->decoded.event.id);
	return c ? c : (a->order > b->order) - (a->order < b->order);
}

static int mark_repeats(struct told_list *list, struct arena *a)
{
	struct told **sorted = ARENA_ARRAY(a, struct told *, list->count);
	if (!sorted)
		return OC_NOMEM;
	for (size_t i = 0; i < list->count; i++)
		sorted[i] = &list->items[i];
	if (list->count > 1)
		qsort(sorted, list->count, sizeof *sorted, by_id);
	for (size_t i = 1; i < list->count; i++)
		sorted[i]->again = slice_eq(sorted[i]->decoded.event.id, sorted[i - 1]->decoded.event.id);
	return 0;
}

static int add_row(struct timeline *t, struct told *row, struct arena *a)
{
	if (t->count == t->size) {
		size_t size = t->size ? t->size * 2 : 16;
		struct told **rows = ARENA_ARRAY(a, struct told *, size);
		if (!rows)
			return OC_NOMEM;
		if (t->count)
			memcpy(rows, t->rows, t->count * sizeof *rows);
		t->rows = rows;
		t->size = size;
	}
	t->rows[t->count++] = row;
	return 0;
}

static void sort_rows(struct timeline *t)
{
	if (t->count > 1)
		qsort(t->rows, t->count, sizeof *t->rows, by_time);
}

int timeline_of_call(struct told_list *list, struct facts *facts, struct arena *a, struct timeline *ret)
{
	struct timeline t = { .facts = facts };
	int r = mark_repeats(list, a);
	for (size_t i = 0; i < list->count && r == 0; i++)
		if (!list->items[i].again)
			r = add_row(&t, &list->items[i], a);
	if (r < 0)
		return r;
	sort_rows(&t);
	*ret = t;
	return 0;
}

/* ---- calls ---- */

struct calls {
	struct timeline *items;
	size_t count;
};

static struct timeline *find_sid(struct calls *c, struct slice sid)
{
	for (size_t i = 0; i < c->count; i++)
		if (slice_eq(c->items[i].facts->room_sid, sid))
			return &c->items[i];
	return NULL;
}

static int64_t start_s(const struct facts *f)
{
	return f->creation_time_ms ? f->creation_time_ms / 1000 : f->started.at_s ? f->started.at_s : f->first_event_s;
}

/* The latest of this name that had begun by then and not ended before. */
static struct timeline *find_name(struct calls *c, struct slice name, int64_t at_s)
{
	struct timeline *best = NULL;
	for (size_t i = 0; i < c->count; i++) {
		const struct facts *f = c->items[i].facts;
		bool open = start_s(f) <= at_s + NEAR_MS / 1000 && (slice_is_none(f->finished.event_id) || f->finished.at_s >= at_s);
		if (slice_eq(f->room_name, name) && open && (!best || start_s(f) > start_s(best->facts)))
			best = &c->items[i];
	}
	return best;
}

static struct timeline *find_leg(struct calls *c, struct slice sip_call_id)
{
	for (size_t i = 0; i < c->count; i++)
		for (size_t k = 0; k < c->items[i].facts->session_count; k++)
			if (slice_eq(c->items[i].facts->sessions[k].call_id, sip_call_id))
				return &c->items[i];
	return NULL;
}

static struct timeline *find_call(struct calls *c, const struct told *t)
{
	const struct event *e = &t->decoded.event;
	int64_t at_s = e->created_at_s ? e->created_at_s : t->at_ms / 1000;
	if (e->room.sid.n)
		return find_sid(c, e->room.sid);
	if (e->room.name.n)
		return find_name(c, e->room.name, at_s);
	return e->mark.sip_call_id.n ? find_leg(c, e->mark.sip_call_id) : NULL;
}

static bool counts(const struct told *t) { return !t->again && t->decoded.cause == DECODE_OK && slice_is_none(t->error); }

static int new_calls(struct told_list *list, struct arena *a, struct calls *c)
{
	for (size_t i = 0; i < list->count; i++) {
		const struct event *e = &list->items[i].decoded.event;
		if (!e->room.sid.n || find_sid(c, e->room.sid))
			continue;
		if (c->count == TIMELINES_MOST)
			return OC_FULL;
		int r = facts_new(a, e->room.sid, &c->items[c->count].facts);
		if (r < 0)
			return r;
		c->count++;
	}
	return 0;
}

/* First what names its call, so that the others find calls whose beginnings and ends are known. */
static int place(struct told_list *list, bool by_sid, struct arena *a, struct calls *c, size_t *left)
{
	for (size_t i = 0; i < list->count; i++) {
		struct told *t = &list->items[i];
		if ((t->decoded.event.room.sid.n > 0) != by_sid || t->again)
			continue;
		struct timeline *to = find_call(c, t);
		*left += !to || t->decoded.cause != DECODE_OK;
		if (!to)
			continue;
		int r = counts(t) ? facts_fold(to->facts, &t->decoded.event) : 0;
		if (r == OC_NOMEM || add_row(to, t, a) < 0)
			return OC_NOMEM;
		if (r < 0)
			t->error = SLICE("it does not fit the call");
	}
	return 0;
}

static int by_start(const void *x, const void *y)
{
	const struct timeline *a = x, *b = y;
	int c = (start_s(a->facts) > start_s(b->facts)) - (start_s(a->facts) < start_s(b->facts));
	return c ? c : slice_cmp(a->facts->room_sid, b->facts->room_sid);
}

int timelines_make(struct told_list *list, struct arena *a, struct timeline **ret, size_t *ret_count, size_t *ret_left)
{
	struct calls c = { .items = ARENA_ARRAY(a, struct timeline, TIMELINES_MOST) };
	size_t left = 0;
	int r = c.items ? mark_repeats(list, a) : OC_NOMEM;
	if (r == 0)
		r = new_calls(list, a, &c);
	if (r == 0)
		r = place(list, true, a, &c, &left);
	if (r == 0)
		r = place(list, false, a, &c, &left);
	if (r < 0)
		return r;
	for (size_t i = 0; i < c.count; i++)
		sort_rows(&c.items[i]);
	if (c.count > 1)
		qsort(c.items, c.count, sizeof *c.items, by_start);
	*ret = c.items;
	*ret_count = c.count;
	*ret_left = left;
	return 0;
}
