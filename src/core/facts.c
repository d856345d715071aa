/* Folding and merging facts.
 *
 * Folding an event makes the facts of that event alone and merges them, so there is one way in which anything gets into facts, and
 * each step of it is the least upper bound of an order: minimum, maximum, union, OR. That is why any order, grouping and repetition
 * of events gives the same facts. It holds at the limits too: an array keeps the K smallest keys of the union, and a key among the K
 * smallest of the whole is among the K smallest of every part, so nothing that stays in the end was ever thrown away on the way.
 *
 * Arrays are sorted by key and searched by halves. An array's capacity is its count rounded up to a power of two, at least 4.
 * One thread at a time owns a struct facts. */
#include "core/facts.h"

/* ---- orders ---- */

/* Known beats unknown; of two known texts the greater one. For texts that should never differ. */
static int join_text(struct arena *a, struct slice *into, struct slice other)
{
	if (slice_is_empty(other) || (!slice_is_empty(*into) && slice_cmp(*into, other) >= 0))
		return 0;
	return arena_copy(a, other, into) ? 0 : OC_NOMEM;
}

static void join_min(int64_t *into, int64_t other)
{
	if (other != 0 && (*into == 0 || other < *into))
		*into = other;
}

static void join_max(int64_t *into, int64_t other)
{
	if (other > *into)
		*into = other;
}

/* A moment known to the millisecond beats one known to the second; then the earlier. */
static void join_moment(int64_t *into_ms, bool *into_whole_s, int64_t ms, bool whole_s)
{
	if (ms == 0)
		return;
	bool better = *into_ms == 0 || (whole_s != *into_whole_s ? !whole_s : ms < *into_ms);
	if (better) {
		*into_ms = ms;
		*into_whole_s = whole_s;
	}
}

/* An unknown time sorts after every known one. */
static int sighting_cmp(struct sighting x, struct sighting y)
{
	if (x.at_s != y.at_s) {
		if (x.at_s == 0 || y.at_s == 0)
			return x.at_s == 0 ? 1 : -1;
		return x.at_s < y.at_s ? -1 : 1;
	}
	return slice_cmp(x.event_id, y.event_id);
}

static int take_sighting(struct arena *a, struct sighting *into, struct sighting other)
{
	struct slice id;
	if (!arena_copy(a, other.event_id, &id))
		return OC_NOMEM;
	*into = (struct sighting){ .event_id = id, .at_s = other.at_s };
	return 0;
}

static int join_sighting(struct arena *a, struct sighting *into, struct sighting other)
{
	if (slice_is_empty(other.event_id) || (!slice_is_empty(into->event_id) && sighting_cmp(*into, other) <= 0))
		return 0;
	return take_sighting(a, into, other);
}

/* The greatest (at_s, reason, event id): of several ends of one session the last one tells. */
static int join_end(struct arena *a, struct fact_session *into, const struct fact_session *other)
{
	if (slice_is_empty(other->ended.event_id))
		return 0;
	if (!slice_is_empty(into->ended.event_id)) {
		int64_t d = other->ended.at_s - into->ended.at_s;
		if (d == 0)
			d = (int64_t)other->left_reason - (int64_t)into->left_reason;
		if (d == 0)
			d = slice_cmp(other->ended.event_id, into->ended.event_id);
		if (d <= 0)
			return 0;
	}
	int r = take_sighting(a, &into->ended, other->ended);
	if (r == 0)
		into->left_reason = other->left_reason;
	return r;
}

/* ---- sorted arrays: the key is the slice that every element begins with ---- */

static size_t find_key(const void *items, size_t count, size_t each, struct slice key, bool *ret_found)
{
	size_t lo = 0, hi = count;
	*ret_found = false;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		int c = slice_cmp(*(const struct slice *)(const void *)((const char *)items + mid * each), key);
		if (c == 0) {
			*ret_found = true;
			return mid;
		}
		if (c < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static bool is_full(size_t count) { return count == 0 || (count >= 4 && (count & (count - 1)) == 0); }

/* Opens a zeroed place at index `at`. *ret_place is NULL where the limit leaves no room for this key. */
static int open_place(struct arena *a, void **items, size_t *count, size_t each, size_t limit, size_t at, bool *overflow, void **ret_place)
{
	*ret_place = NULL;
	if (*count >= limit) {
		*overflow = true;
		if (at >= limit)
			return 0;
	} else if (is_full(*count)) {
		void *more = arena_calloc(a, *count ? *count * 2 : 4, each);
		if (!more)
			return OC_NOMEM;
		if (*count)
			memcpy(more, *items, *count * each);
		*items = more;
	}
	size_t kept = *count < limit ? *count : limit - 1;
	char *place = (char *)*items + at * each;
	memmove(place + each, place, (kept - at) * each);
	memset(place, 0, each);
	*count = kept + 1;
	*ret_place = place;
	return 0;
}

/* The element with this key, made (zeroed but for the key) where there is none; NULL (and 0) where the limit keeps it out. */
static int need_element(struct facts *f, void **items, size_t *count, size_t each, size_t limit, struct slice key, void **ret,
	bool *ret_made)
{
	bool found;
	size_t at = find_key(*items, *count, each, key, &found);
	*ret_made = !found;
	if (found) {
		*ret = (char *)*items + at * each;
		return 0;
	}
	struct slice copy;
	if (!arena_copy(f->arena, key, &copy))
		return OC_NOMEM;
	int r = open_place(f->arena, items, count, each, limit, at, &f->overflow, ret);
	if (r == 0 && *ret)
		*(struct slice *)*ret = copy;
	return r;
}

/* ---- the parts ---- */

static int join_track(struct facts *f, struct fact_session *s, const struct fact_track *other)
{
	void *items = s->tracks, *place;
	bool made;
	int r = need_element(f, &items, &s->track_count, sizeof *s->tracks, FACTS_MAX_TRACKS, other->sid, &place, &made);
	s->tracks = items;
	if (r < 0 || !place)
		return r;
	struct fact_track *t = place;
	join_min(&t->published_us, other->published_us);
	r = join_sighting(f->arena, &t->published, other->published);
	return r < 0 ? r : join_sighting(f->arena, &t->unpublished, other->unpublished);
}

static int join_session_texts(struct arena *a, struct fact_session *into, const struct fact_session *other)
{
	int r = join_text(a, &into->identity, other->identity);
	if (r == 0)
		r = join_text(a, &into->call_id, other->call_id);
	if (r == 0)
		r = join_text(a, &into->rule_id, other->rule_id);
	if (r == 0)
		r = join_text(a, &into->trunk_id, other->trunk_id);
	if (r == 0)
		r = join_text(a, &into->phone_number, other->phone_number);
	if (r == 0)
		r = join_text(a, &into->trunk_phone_number, other->trunk_phone_number);
	return r;
}

static int join_session(struct facts *f, const struct fact_session *other)
{
	void *items = f->sessions, *place;
	bool made;
	int r = need_element(f, &items, &f->session_count, sizeof *f->sessions, FACTS_MAX_SESSIONS, other->sid, &place, &made);
	f->sessions = items;
	if (r < 0 || !place)
		return r;
	struct fact_session *s = place;
	if (made || other->kind > s->kind)
		s->kind = other->kind;
	join_moment(&s->joined_at_ms, &s->joined_at_whole_s, other->joined_at_ms, other->joined_at_whole_s);
	s->statuses |= other->statuses;
	s->call_tag |= other->call_tag;
	r = join_session_texts(f->arena, s, other);
	if (r == 0)
		r = join_sighting(f->arena, &s->joined, other->joined);
	if (r == 0)
		r = join_sighting(f->arena, &s->left, other->left);
	if (r == 0)
		r = join_sighting(f->arena, &s->aborted, other->aborted);
	if (r == 0)
		r = join_end(f->arena, s, other);
	for (size_t i = 0; r == 0 && i < other->track_count; i++)
		r = join_track(f, s, &other->tracks[i]);
	return r;
}

static int join_egress(struct facts *f, const struct fact_egress *other)
{
	void *items = f->egresses, *place;
	bool made;
	int r = need_element(f, &items, &f->egress_count, sizeof *f->egresses, FACTS_MAX_EGRESS, other->egress_id, &place, &made);
	f->egresses = items;
	if (r < 0 || !place)
		return r;
	struct fact_egress *e = place;
	if (made || other->status > e->status)
		e->status = other->status;
	join_min(&e->started_at_ns, other->started_at_ns);
	join_max(&e->ended_at_ns, other->ended_at_ns);
	r = join_text(f->arena, &e->location, other->location);
	if (r == 0)
		r = join_text(f->arena, &e->error, other->error);
	return r < 0 ? r : join_sighting(f->arena, &e->ended, other->ended);
}

/* Two marks of one id should be equal; where they are not, the greater one in this order stays. */
static int mark_cmp(const struct fact_mark *x, const struct fact_mark *y)
{
	const int64_t numbers[][2] = {
		{ (int64_t)x->mark.kind, (int64_t)y->mark.kind }, { (int64_t)x->mark.source, (int64_t)y->mark.source },
		{ x->mark.at_ms, y->mark.at_ms }, { x->mark.within_ms, y->mark.within_ms }, { x->mark.sip_code, y->mark.sip_code },
		{ x->mark.posted_ms, y->mark.posted_ms }, { x->at_s, y->at_s },
	};
	const struct slice texts[][2] = {
		{ x->mark.sip_text, y->mark.sip_text }, { x->mark.value, y->mark.value }, { x->mark.sip_call_id, y->mark.sip_call_id },
		{ x->mark.call_id, y->mark.call_id }, { x->mark.tenant, y->mark.tenant },
	};
	for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
		if (numbers[i][0] != numbers[i][1])
			return numbers[i][0] < numbers[i][1] ? -1 : 1;
	int c = 0;
	for (size_t i = 0; c == 0 && i < sizeof texts / sizeof texts[0]; i++)
		c = slice_cmp(texts[i][0], texts[i][1]);
	return c;
}

/* A poster's marks make room for its own only, the greatest id first. False: there is none for this id. */
static bool make_room(struct facts *f, struct slice poster, struct slice id)
{
	size_t count = 0, last = 0;
	for (size_t i = 0; i < f->mark_count; i++)
		if (slice_eq(f->marks[i].mark.tenant, poster)) {
			last = i;
			count++;
		}
	if (count < FACTS_MAX_MARKS)
		return true;
	if (slice_cmp(f->marks[last].event_id, id) < 0)
		return false;
	f->mark_count--;
	memmove(&f->marks[last], &f->marks[last + 1], (f->mark_count - last) * sizeof *f->marks);
	return true;
}

static int join_mark(struct facts *f, const struct fact_mark *other)
{
	struct fact_mark copy = *other;
	struct slice *texts[] = { &copy.mark.sip_text, &copy.mark.value, &copy.mark.sip_call_id, &copy.mark.call_id,
		&copy.mark.tenant };
	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
		if (!arena_copy(f->arena, slice_is_empty(*texts[i]) ? SLICE_NONE : *texts[i], texts[i]))
			return OC_NOMEM;
	void *items = f->marks, *place;
	bool made, found;
	size_t at = find_key(f->marks, f->mark_count, sizeof *f->marks, other->event_id, &found);
	bool counted = found && slice_eq(f->marks[at].mark.tenant, copy.mark.tenant);
	if (!counted && !make_room(f, copy.mark.tenant, other->event_id))
		return 0;
	int r = need_element(f, &items, &f->mark_count, sizeof *f->marks, FACTS_MAX_ALL_MARKS, other->event_id, &place, &made);
	f->marks = items;
	if (r < 0 || !place)
		return r;
	struct fact_mark *m = place;
	if (made || mark_cmp(&copy, m) > 0) {
		copy.event_id = m->event_id;
		*m = copy;
	}
	return 0;
}

static int join_key_id(struct facts *f, struct slice id)
{
	if (slice_is_empty(id))
		return 0;
	void *items = f->key_ids, *place;
	bool made, overflow = f->overflow;
	int r = need_element(f, &items, &f->key_id_count, sizeof *f->key_ids, FACTS_MAX_KEY_IDS, id, &place, &made);
	f->key_ids = items;
	f->overflow = overflow; /* a forgotten key says nothing about the call */
	return r;
}

int facts_add_tenant(struct facts *f, enum tenant_rank rank, struct slice tenant, struct slice event_id)
{
	if (slice_is_empty(tenant))
		return 0;
	size_t at = 0;
	int c = 1;
	while (at < f->tenant_count) {
		const struct fact_tenant *t = &f->tenants[at];
		c = t->rank != rank ? (t->rank < rank ? -1 : 1) : slice_cmp(t->tenant, tenant);
		if (c >= 0)
			break;
		at++;
	}
	if (at < f->tenant_count && c == 0) {
		struct slice *known = &f->tenants[at].event_id;
		if (slice_is_empty(event_id) || (!slice_is_empty(*known) && slice_cmp(*known, event_id) <= 0))
			return 0;
		return arena_copy(f->arena, event_id, known) ? 0 : OC_NOMEM;
	}
	struct fact_tenant add = { .rank = rank };
	if (!arena_copy(f->arena, tenant, &add.tenant) ||
	    !arena_copy(f->arena, slice_is_empty(event_id) ? SLICE_NONE : event_id, &add.event_id))
		return OC_NOMEM;
	void *items = f->tenants, *place;
	int r = open_place(f->arena, &items, &f->tenant_count, sizeof *f->tenants, FACTS_MAX_TENANTS, at, &f->overflow, &place);
	f->tenants = items;
	if (r == 0 && place)
		*(struct fact_tenant *)place = add;
	return r;
}

/* ---- the whole ---- */

int facts_new(struct arena *a, struct slice room_sid, struct facts **ret)
{
	struct facts *f = ARENA_NEW(a, struct facts);
	if (!f || !arena_copy(a, room_sid, &f->room_sid))
		return OC_NOMEM;
	f->arena = a;
	*ret = f;
	return 0;
}

static int join_call(struct facts *f, const struct facts *other)
{
	int r = join_text(f->arena, &f->room_name, other->room_name);
	join_min(&f->creation_time_ms, other->creation_time_ms);
	if (other->departure_timeout_s > f->departure_timeout_s)
		f->departure_timeout_s = other->departure_timeout_s;
	if (other->end_reason > f->end_reason)
		f->end_reason = other->end_reason;
	join_min(&f->first_event_s, other->first_event_s);
	join_max(&f->last_event_s, other->last_event_s);
	f->overflow |= other->overflow;
	if (r == 0)
		r = join_sighting(f->arena, &f->started, other->started);
	return r < 0 ? r : join_sighting(f->arena, &f->finished, other->finished);
}

int facts_merge(struct facts *into, const struct facts *other)
{
	if (into == other)
		return 0;
	int r = join_call(into, other);
	for (size_t i = 0; r == 0 && i < other->session_count; i++)
		r = join_session(into, &other->sessions[i]);
	for (size_t i = 0; r == 0 && i < other->egress_count; i++)
		r = join_egress(into, &other->egresses[i]);
	for (size_t i = 0; r == 0 && i < other->mark_count; i++)
		r = join_mark(into, &other->marks[i]);
	for (size_t i = 0; r == 0 && i < other->tenant_count; i++)
		r = facts_add_tenant(into, other->tenants[i].rank, other->tenants[i].tenant, other->tenants[i].event_id);
	for (size_t i = 0; r == 0 && i < other->key_id_count; i++)
		r = join_key_id(into, other->key_ids[i]);
	return r;
}

/* ---- the facts of one event ---- */

/* What is no time counts as unknown, and so does nothing to the facts; sums with what is left cannot overflow. */
static int64_t time_in(int64_t t, int64_t units_a_second) { return t > 0 && t / units_a_second <= EVENT_MAX_S ? t : 0; }
static int64_t time_s(int64_t t) { return time_in(t, 1); }
static int64_t time_ms(int64_t t) { return time_in(t, 1000); }
static int64_t time_us(int64_t t) { return time_in(t, 1000000); }
static int64_t time_ns(int64_t t) { return time_in(t, 1000000000); }

static struct sighting sighting_of(const struct event *e) { return (struct sighting){ .event_id = e->id, .at_s = time_s(e->created_at_s) }; }

/* What a participant event says about its session; room for one track is given by the caller. */
static void session_of_event(const struct event *e, struct fact_session *s, struct fact_track *track)
{
	const struct event_participant *p = &e->participant;
	struct sighting seen = sighting_of(e);
	*s = (struct fact_session){ .sid = p->sid, .identity = p->identity, .kind = p->kind, .joined_at_ms = time_ms(p->joined_at_ms) };
	s->joined_at_whole_s = s->joined_at_ms != 0 && p->joined_at_whole_s;
	if (p->kind == KIND_SIP) {
		s->statuses = p->sip_status == STATUS_NONE ? 0 : 1u << p->sip_status;
		s->call_tag = p->sip_call_tag;
		s->call_id = p->sip_call_id;
		s->rule_id = p->sip_rule_id;
		s->trunk_id = p->sip_trunk_id;
		s->phone_number = p->sip_phone_number;
		s->trunk_phone_number = p->sip_trunk_phone_number;
	}
	if (e->type == EVENT_PARTICIPANT_JOINED)
		s->joined = seen;
	if (e->type == EVENT_PARTICIPANT_LEFT)
		s->left = seen;
	if (e->type == EVENT_PARTICIPANT_ABORTED)
		s->aborted = seen;
	if (e->type == EVENT_PARTICIPANT_LEFT || e->type == EVENT_PARTICIPANT_ABORTED) {
		s->ended = seen;
		s->left_reason = p->disconnect_reason;
	}
	bool is_track = e->type == EVENT_TRACK_PUBLISHED || e->type == EVENT_TRACK_UNPUBLISHED;
	if (is_track && e->track.audio && !slice_is_empty(e->track.sid)) {
		*track = (struct fact_track){ .sid = e->track.sid, .published_us = time_us(e->track.published_us) };
		*(e->type == EVENT_TRACK_PUBLISHED ? &track->published : &track->unpublished) = seen;
		s->tracks = track;
		s->track_count = 1;
	}
}

static int fold_participant(struct facts *f, const struct event *e)
{
	if (slice_is_empty(e->participant.sid))
		return 0;
	struct fact_session s;
	struct fact_track track;
	session_of_event(e, &s, &track);
	int r = join_session(f, &s);
	bool trusted = e->participant.kind == KIND_SIP || e->participant.kind == KIND_AGENT;
	return r < 0 || !trusted ? r : facts_add_tenant(f, TENANT_ATTRIBUTE, e->participant.tenant, e->id);
}

static int fold_egress(struct facts *f, const struct event *e)
{
	if (slice_is_empty(e->egress.egress_id))
		return 0;
	struct fact_egress one = {
		.egress_id = e->egress.egress_id, .location = e->egress.location, .error = e->egress.error, .status = e->egress.status,
		.started_at_ns = time_ns(e->egress.started_at_ns), .ended_at_ns = time_ns(e->egress.ended_at_ns),
	};
	if (e->type == EVENT_EGRESS_ENDED)
		one.ended = sighting_of(e);
	return join_egress(f, &one);
}

static int fold_mark(struct facts *f, const struct event *e)
{
	struct fact_mark one = { .event_id = e->id, .mark = e->mark, .at_s = time_s(e->created_at_s) };
	one.mark.at_ms = time_ms(e->mark.at_ms);
	one.mark.within_ms = time_ms(e->mark.within_ms);
	one.mark.posted_ms = time_ms(e->mark.posted_ms);
	if (e->mark.sip_code < 100 || e->mark.sip_code > 699)
		one.mark.sip_code = 0;
	return slice_is_empty(e->id) ? 0 : join_mark(f, &one);
}

static int fold_call(struct facts *f, const struct event *e)
{
	struct sighting seen = sighting_of(e);
	struct facts one = {
		.room_name = e->room.name, .creation_time_ms = time_ms(e->room.creation_time_ms), .first_event_s = seen.at_s, .last_event_s = seen.at_s,
		.departure_timeout_s = e->room.departure_timeout_s < FACTS_MAX_TIMEOUT_S ? e->room.departure_timeout_s : FACTS_MAX_TIMEOUT_S,
	};
	if (e->type == EVENT_ROOM_STARTED)
		one.started = seen;
	if (e->type == EVENT_ROOM_FINISHED) {
		one.finished = seen;
		one.end_reason = e->room_end_reason;
	}
	return join_call(f, &one);
}

int facts_fold(struct facts *f, const struct event *e)
{
	if (e->type == EVENT_UNKNOWN) {
		join_min(&f->first_event_s, time_s(e->created_at_s));
		join_max(&f->last_event_s, time_s(e->created_at_s));
		return 0;
	}
	if (e->type == EVENT_MARK)
		return fold_mark(f, e);
	int r = join_key_id(f, e->key_id);
	if (r == 0)
		r = fold_call(f, e);
	if (r == 0)
		r = facts_add_tenant(f, TENANT_ROOM_METADATA, e->room.tenant, e->id);
	if (r < 0)
		return r;
	switch (e->type) {
	case EVENT_PARTICIPANT_JOINED:
	case EVENT_PARTICIPANT_LEFT:
	case EVENT_PARTICIPANT_ABORTED:
	case EVENT_TRACK_PUBLISHED:
	case EVENT_TRACK_UNPUBLISHED:
		return fold_participant(f, e);
	case EVENT_EGRESS_STARTED:
	case EVENT_EGRESS_UPDATED:
	case EVENT_EGRESS_ENDED:
		return fold_egress(f, e);
	case EVENT_MARK:
	case EVENT_UNKNOWN:
	case EVENT_ROOM_STARTED:
	case EVENT_ROOM_FINISHED:
	case EVENT_INGRESS_STARTED:
	case EVENT_INGRESS_ENDED:
	case EVENT_AGENT_JOB_STARTED:
	case EVENT_AGENT_JOB_ENDED:
		return 0;
	}
	return 0;
}

/* ---- whose marks ---- */

static bool may_speak(struct slice poster, struct slice tenant) { return slice_is_empty(poster) || slice_eq(poster, tenant); }

int facts_for_tenant(const struct facts *f, struct slice tenant, struct arena *a, struct facts *ret)
{
	struct facts view = *f;
	size_t n = 0, of_nobody = 0;
	for (size_t i = 0; i < f->mark_count; i++) {
		n += may_speak(f->marks[i].mark.tenant, tenant);
		of_nobody += slice_is_empty(f->marks[i].mark.tenant);
	}
	view.overflow |= of_nobody >= FACTS_MAX_MARKS || n - of_nobody >= FACTS_MAX_MARKS;
	if (n < f->mark_count) {
		view.marks = ARENA_ARRAY(a, struct fact_mark, n);
		if (!view.marks)
			return OC_NOMEM;
		view.mark_count = 0;
		for (size_t i = 0; i < f->mark_count; i++)
			if (may_speak(f->marks[i].mark.tenant, tenant))
				view.marks[view.mark_count++] = f->marks[i];
	}
	for (size_t i = 0; f->last_event_s == 0 && i < f->mark_count; i++)
		join_max(&view.last_event_s, f->marks[i].at_s);
	*ret = view;
	return 0;
}

bool facts_drop_marks_of(struct facts *f, struct slice tenant)
{
	size_t kept = 0, before = f->mark_count;
	for (size_t i = 0; i < before; i++)
		if (slice_is_empty(tenant) || !slice_eq(f->marks[i].mark.tenant, tenant))
			f->marks[kept++] = f->marks[i];
	f->mark_count = kept;
	return kept != before;
}
