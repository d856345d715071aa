/* What to ask LiveKit about a call, and what its replies tell. See watch.h. Pure; any thread that owns the facts.
 *
 * LiveKit shows sip.callTag some 170 to 300 ms after the far side's 200 OK, and leaves out a participant that left at once. So an answer
 * lies between the last reply without the tag, less that lag, and the first reply with it. Of inbound legs nothing is concluded but that
 * they are gone: their tag is there from the beginning. */
#include "core/watch.h"

#include "core/legs.h"

#define TAG_LAG_MS 350
#define JUST_JOINED_MS 2000 /* a leg this young may be missing in a reply that was made before it joined */
#define FRESH_MS 10000      /* what a leg's status was so shortly before it vanished, it was in the end */

static int64_t max64(int64_t x, int64_t y) { return x > y ? x : y; }

/* ---- what to ask ---- */

static bool may_be_answered_yet(const struct leg *leg)
{
	return leg->direction == DIRECTION_OUTBOUND && leg->answer == ANSWER_MAYBE && !leg->end && !leg->gone_s && !leg->marks.refused;
}

static bool is_unfinished(const struct fact_egress *e)
{
	return slice_is_none(e->ended.event_id) && (e->status == EGRESS_STARTING || e->status == EGRESS_ACTIVE || e->status == EGRESS_ENDING);
}

int watch_wants(const struct facts *f, const struct verdict *v, struct arena *a, struct watch *ret)
{
	struct watch w = { .participants_ms = 0 };
	struct room_view view;
	int r = room_view_make(f, a, &view);
	if (r < 0)
		return r;
	bool open = v->outcome == OUTCOME_NONE;
	int64_t heard_ms = max64(f->last_event_s * 1000, f->creation_time_ms);
	if (open && heard_ms && !view.marks.ended)
		w.participants_ms = w.room_ms = heard_ms + WATCH_QUIET_MS;
	for (size_t i = 0; open && i < view.leg_count; i++) {
		const struct leg *leg = &view.legs[i];
		if (may_be_answered_yet(leg) && leg->joined_at_ms && (!w.participants_ms || leg->joined_at_ms < w.participants_ms))
			w.participants_ms = leg->joined_at_ms;
	}
	for (size_t i = 0; !open && !w.egress_ms && i < f->egress_count; i++)
		if (is_unfinished(&f->egresses[i]))
			w.egress_ms = max64(v->ended_at_ms, heard_ms) + WATCH_EGRESS_MS;
	*ret = w;
	return 0;
}

int64_t watch_next_ms(const struct watch *w)
{
	const int64_t times[] = { w->participants_ms, w->room_ms, w->egress_ms };
	int64_t next = 0;
	for (size_t i = 0; i < sizeof times / sizeof times[0]; i++)
		if (times[i] && (!next || times[i] < next))
			next = times[i];
	return next;
}

unsigned watch_due(const struct watch *w, int64_t now_ms)
{
	unsigned due = 0;
	if (w->participants_ms && w->participants_ms <= now_ms)
		due |= WATCH_PARTICIPANTS;
	if (w->room_ms && w->room_ms <= now_ms)
		due |= WATCH_ROOM;
	if (w->egress_ms && w->egress_ms <= now_ms)
		due |= WATCH_EGRESS;
	return due;
}

/* ---- what a reply tells ---- */

struct lesson {
	const struct facts *f;
	const struct watch_reply *reply;
	struct arena *a;
	struct event *events;
	size_t count;
	bool failed;
};

static const struct fact_mark *own_mark(const struct facts *f, enum mark_kind kind, struct slice call_id)
{
	for (size_t i = 0; i < f->mark_count; i++) {
		const struct event_mark *m = &f->marks[i].mark;
		if (m->source == MARK_SOURCE_WATCHER && m->kind == kind && slice_eq(m->sip_call_id, call_id))
			return &f->marks[i];
	}
	return NULL;
}

/* A mark that happened in (got - within, got]. Two watchers make the same id. */
static void learn(struct lesson *l, enum mark_kind kind, struct slice call_id, int64_t within_ms, struct slice value)
{
	if (own_mark(l->f, kind, call_id))
		return;
	_cleanup_buf_ struct buf b = BUF_INIT;
	buf_puts(&b, "watcher:");
	buf_put(&b, l->f->room_sid);
	buf_putc(&b, ':');
	buf_puts(&b, mark_kind_name(kind));
	buf_putc(&b, ':');
	buf_put(&b, call_id);
	struct event *e = &l->events[l->count];
	*e = (struct event){ .type = EVENT_MARK, .type_name = slice_cstr(event_type_name(EVENT_MARK)), .created_at_s = l->reply->got_ms / 1000 };
	bool ok = !buf_failed(&b) && arena_copy(l->a, buf_slice(&b), &e->id) && arena_copy(l->a, l->f->room_sid, &e->room.sid) &&
		arena_copy(l->a, l->f->room_name, &e->room.name) && arena_copy(l->a, call_id, &e->mark.sip_call_id);
	if (!ok) {
		l->failed = true;
		return;
	}
	e->mark.kind = kind;
	e->mark.source = MARK_SOURCE_WATCHER;
	e->mark.at_ms = e->mark.posted_ms = l->reply->got_ms;
	e->mark.within_ms = max64(within_ms, 0);
	e->mark.value = value;
	l->count++;
}

static struct watch_leg *remember(struct watch_memory *memory, struct slice call_id)
{
	for (size_t i = 0; i < memory->leg_count; i++)
		if (slice_eq(slice_of(memory->legs[i].call_id, memory->legs[i].call_id_bytes), call_id))
			return &memory->legs[i];
	if (memory->leg_count == WATCH_LEGS || call_id.n > sizeof memory->legs[0].call_id)
		return NULL;
	struct watch_leg *leg = &memory->legs[memory->leg_count++];
	*leg = (struct watch_leg){ .call_id_bytes = call_id.n };
	memcpy(leg->call_id, call_id.p, call_id.n);
	return leg;
}

static const struct event_participant *find_leg(const struct watch_reply *reply, struct slice call_id)
{
	for (size_t i = 0; i < reply->participant_count; i++)
		if (reply->participants[i].kind == KIND_SIP && slice_eq(reply->participants[i].sip_call_id, call_id))
			return &reply->participants[i];
	return NULL;
}

static void see_leg(struct lesson *l, const struct leg *leg, struct watch_leg *known, const struct event_participant *p)
{
	known->there_ms = l->reply->asked_ms;
	known->missing_ms = 0;
	known->status = p->sip_status;
	if (leg->direction == DIRECTION_INBOUND)
		return;
	if (!p->sip_call_tag) {
		known->unanswered_ms = l->reply->asked_ms;
		return;
	}
	known->answered = true;
	int64_t since_ms = known->unanswered_ms ? max64(known->unanswered_ms - TAG_LAG_MS, leg->joined_at_ms) : leg->joined_at_ms;
	if (!leg->call_tag && since_ms)
		learn(l, MARK_ANSWERED, leg->call_id, l->reply->got_ms - since_ms, SLICE_NONE);
}

/* Missing in two replies that are far enough apart: it went before the first of them. Its last status is told where it was seen shortly
 * before, without an answer. */
static void miss_leg(struct lesson *l, const struct leg *leg, struct watch_leg *known)
{
	if (leg->joined_at_ms + JUST_JOINED_MS > l->reply->asked_ms)
		return;
	if (!known->missing_ms)
		known->missing_ms = l->reply->got_ms;
	if (l->reply->asked_ms - known->missing_ms < WATCH_CONFIRM_MS)
		return;
	bool fresh = known->there_ms && known->missing_ms - known->there_ms < FRESH_MS && known->unanswered_ms && !known->answered;
	const char *status = fresh ? sip_status_name(known->status) : NULL;
	int64_t since_ms = known->there_ms ? known->there_ms : leg->joined_at_ms;
	size_t before = l->count;
	learn(l, MARK_ENDED, leg->call_id, known->missing_ms - since_ms, slice_cstr(status));
	if (l->count > before)
		l->events[before].mark.at_ms = known->missing_ms;
}

static void look_at_room(struct lesson *l, struct watch_memory *memory)
{
	if (!l->reply->room_gone) {
		memory->room_there_ms = l->reply->asked_ms;
		memory->room_missing_ms = 0;
		return;
	}
	if (!memory->room_missing_ms)
		memory->room_missing_ms = l->reply->got_ms;
	if (l->reply->asked_ms - memory->room_missing_ms < WATCH_CONFIRM_MS)
		return;
	int64_t since_ms = memory->room_there_ms ? memory->room_there_ms : l->f->last_event_s * 1000;
	size_t before = l->count;
	learn(l, MARK_ENDED, SLICE_NONE, memory->room_missing_ms - since_ms, SLICE_NONE);
	if (l->count > before)
		l->events[before].mark.at_ms = memory->room_missing_ms;
}

int watch_learn(const struct facts *f, const struct watch_reply *reply, struct watch_memory *memory, struct arena *a, struct event **ret,
	size_t *ret_count)
{
	struct room_view view;
	int r = room_view_make(f, a, &view);
	if (r < 0)
		return r;
	struct lesson l = { .f = f, .reply = reply, .a = a, .events = ARENA_ARRAY(a, struct event, view.leg_count * 2 + 1) };
	if (!l.events)
		return OC_NOMEM;
	for (size_t i = 0; i < view.leg_count; i++) {
		const struct leg *leg = &view.legs[i];
		struct watch_leg *known = leg->call_id.n && !leg->end ? remember(memory, leg->call_id) : NULL;
		const struct event_participant *p = known ? find_leg(reply, leg->call_id) : NULL;
		if (p)
			see_leg(&l, leg, known, p);
		else if (known)
			miss_leg(&l, leg, known);
	}
	look_at_room(&l, memory);
	if (l.failed)
		return OC_NOMEM;
	*ret = l.events;
	*ret_count = l.count;
	return 0;
}
