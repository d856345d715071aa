/* What the watcher asks about one call, and what comes of the answers. Invariant: only a reply that was read whole teaches anything; a request that
 * failed slows its key down and leaves everything as it was. Runs on the watcher's thread, but for `answered`, which is the writer's. */
#include "base/clock.h"
#include "base/log.h"
#include "ingest/watcher_work.h"
#include "wire/jwt.h"
#include "wire/mark.h"

/* ---- handing over what was found ---- */

static void answered(struct ingest_item *item)
{
	struct watcher *w = item->context;
	sem_post(&w->answered);
}

/* True when it is durable. */
static bool submit(struct watcher *w, const struct decoded *d, enum finding what)
{
	struct ingest_item item = {
		.decoded = d, .body = d->payload, .source = SLICE("watcher"), .received_ms = clock_wall_ms(), .done = answered, .context = w,
	};
	if (!hash_sha256(item.body, item.body_hash) || ingest_submit(w->ingest, &item) != 0)
		return false;
	while (sem_wait(&w->answered) != 0)
		;
	if (item.result == INGEST_PROCESSED)
		metric_add(w->metrics, METRIC_WATCHER_FINDINGS, what, 1);
	return item.result != INGEST_FAILED;
}

static bool submit_mark(struct watcher *w, const struct event *e)
{
	_cleanup_buf_ struct buf b = BUF_INIT;
	struct decoded d = { .event = *e, .cause = DECODE_OK };
	enum finding what = e->mark.kind == MARK_ANSWERED ? FOUND_ANSWER : e->mark.sip_call_id.n ? FOUND_LEG_END : FOUND_ROOM_END;
	mark_encode(e, &b);
	d.payload = buf_slice(&b);
	return !buf_failed(&b) && submit(w, &d, what);
}

/* ---- asking ---- */

static void note_result(struct watcher *w, struct pace *p, const struct livekit_exchange *x)
{
	bool well = x->answer == LIVEKIT_OK || x->answer == LIVEKIT_NOT_FOUND, failed_before = p->pause_ms != 0;
	metric_add(w->metrics, METRIC_WATCHER_REQUESTS, x->answer, 1);
	if (well) {
		pace_succeeded(p);
		metric_set(w->metrics, METRIC_WATCHER_SUCCESS, 0, x->got_ms / 1000);
		if (failed_before)
			log_info("livekit_api_answers_again");
	} else {
		int64_t pause_ms = pace_failed(p, watcher_mono_ms(), x->retry_after_s);
		if (!failed_before && !watcher_is_stopping(w))
			log_warn("livekit_api_failing", LOG_Z("answer", livekit_answer_names[x->answer]), LOG_I("status", x->reply.status),
				 LOG_S("detail", x->detail), LOG_Z("mend", livekit_answer_mend(x->answer)), LOG_I("pause_ms", pause_ms));
	}
}

/* One request at the pace of the key. False: no reply that tells anything. */
static bool ask(const struct job *j, enum livekit_method method, struct livekit_exchange *ret)
{
	struct watcher *w = j->w;
	struct pace *p = &w->paces[j->key];
	struct livekit_request q;
	if (watcher_is_paused(p) || !watcher_sleep_until(w, p->next_ms))
		return false;
	if (livekit_request_make(method, j->facts->room_name, &w->o.keys[j->key], watcher_livekit_now(w) / 1000, w->arena, &q) != 0)
		return false;
	pace_asked(p, watcher_mono_ms());
	if (livekit_client_ask(w->client, &q, w->arena, ret) != 0 || watcher_is_stopping(w))
		return false;
	if (ret->answer == LIVEKIT_OK) /* whether it is LiveKit's shows only in the body */
		return true;
	if (ret->answer == LIVEKIT_NOT_FOUND && method == LIVEKIT_LIST_ROOMS) /* which lists nothing where nothing is */
		ret->answer = LIVEKIT_NO_API;
	note_result(w, p, ret);
	return false;
}

/* What became of an OK whose body was read with this result. */
static bool believe(const struct job *j, struct livekit_exchange *x, int read)
{
	if (read == OC_NOMEM)
		return false;
	if (read < 0)
		x->answer = LIVEKIT_GARBAGE;
	else
		skew_seen(&j->w->skew, x->asked_ms, x->got_ms, x->date_s);
	note_result(j->w, &j->w->paces[j->key], x);
	return read == 0;
}

static struct watch_reply reply_of(const struct watcher *w, const struct livekit_exchange *x)
{
	int64_t skew = skew_ms(&w->skew);
	return (struct watch_reply){ .asked_ms = x->asked_ms + skew, .got_ms = x->got_ms + skew };
}

static bool is_known(const struct facts *f, const struct event_participant *p)
{
	for (size_t i = 0; i < f->session_count; i++) {
		const struct fact_session *s = &f->sessions[i];
		if (slice_eq(s->sid, p->sid) || (s->call_id.n && slice_eq(s->call_id, p->sip_call_id)))
			return true;
	}
	return false;
}

static bool ask_participants(const struct job *j, struct watch_reply *ret, bool *ret_complete)
{
	struct livekit_exchange x;
	struct event_participant *all;
	size_t count;
	if (!ask(j, LIVEKIT_LIST_PARTICIPANTS, &x))
		return false;
	if (!believe(j, &x, livekit_read_participants(x.reply.body, &j->w->o.decode, j->w->arena, &all, &count, ret_complete)))
		return false;
	*ret = reply_of(j->w, &x);
	ret->participants = all;
	ret->participant_count = count;
	return true;
}

static bool ask_room(const struct job *j, struct watch_reply *ret)
{
	struct livekit_exchange x;
	struct slice *rooms;
	size_t count;
	if (!ask(j, LIVEKIT_LIST_ROOMS, &x) || !believe(j, &x, livekit_read_rooms(x.reply.body, j->w->arena, &rooms, &count)))
		return false;
	*ret = reply_of(j->w, &x);
	ret->room_gone = true;
	for (size_t i = 0; i < count; i++)
		if (slice_eq(rooms[i], j->row->room_sid))
			ret->room_gone = false;
	return true;
}

static bool learn(const struct job *j, const struct watch_reply *reply)
{
	struct event *found;
	size_t count;
	bool taken = true;
	if (watch_learn(j->facts, reply, &j->seen->memory, j->w->arena, &found, &count) != 0)
		return false;
	for (size_t i = 0; i < count; i++)
		taken &= submit_mark(j->w, &found[i]);
	return taken;
}

/* Are all phones there that have not left? */
static bool has_every_leg(const struct facts *f, const struct watch_reply *people)
{
	for (size_t i = 0; i < f->session_count; i++) {
		const struct fact_session *s = &f->sessions[i];
		bool there = s->kind != KIND_SIP || !slice_is_none(s->ended.event_id);
		for (size_t k = 0; k < people->participant_count && !there; k++)
			there = slice_eq(people->participants[k].sip_call_id, s->call_id);
		if (!there)
			return false;
	}
	return true;
}

/* Who is there; and where that shows nobody of the call, whether its room is there at all: ListParticipants goes by name, and a next room may
 * have it by now. True when all was answered and what came of it is durable. */
bool watcher_ask_room(const struct job *j)
{
	struct watch_reply people, room;
	bool complete = false, there = false, have_people = j->facts->room_name.n && ask_participants(j, &people, &complete);
	for (size_t i = 0; have_people && i < people.participant_count; i++)
		there |= is_known(j->facts, &people.participants[i]);
	if (there)
		return (!complete && !has_every_leg(j->facts, &people)) || learn(j, &people);
	if (!ask_room(j, &room))
		return false;
	if (room.room_gone)
		return learn(j, &room);
	return have_people && (!complete || learn(j, &people));
}

static bool is_told(const struct facts *f, struct slice egress_id)
{
	for (size_t i = 0; i < f->egress_count; i++)
		if (slice_eq(f->egresses[i].egress_id, egress_id))
			return !slice_is_none(f->egresses[i].ended.event_id);
	return false;
}

bool watcher_ask_recordings(const struct job *j)
{
	struct livekit_exchange x = { .answer = LIVEKIT_BROKEN };
	struct livekit_egress *all;
	size_t count;
	struct watcher *w = j->w;
	bool taken = true;
	if (slice_is_empty(j->facts->room_name))
		return true;
	if (!ask(j, LIVEKIT_LIST_EGRESS, &x))
		return x.answer == LIVEKIT_NOT_FOUND;
	if (!believe(j, &x, livekit_read_egresses(x.reply.body, w->arena, &all, &count)))
		return false;
	for (size_t i = 0; i < count; i++) {
		struct decoded d;
		if (slice_is_none(all[i].event) || !slice_eq(all[i].room_sid, j->row->room_sid) || is_told(j->facts, all[i].egress_id))
			continue;
		if (decode_event(all[i].event, &w->o.decode, w->arena, &d) == 0 && d.cause == DECODE_OK && !slice_is_none(d.payload))
			taken &= submit(w, &d, FOUND_RECORDING);
	}
	return taken;
}
