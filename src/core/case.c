/* From facts to what the rules look at: the primary leg, how it ended, what is missing; and when a call is over. See case.h. */
#include "core/case.h"

#define EMPTY_TIMEOUT_S 300     /* LiveKit's default: how long a room waits for its first user */
#define DELIVERY_S 45           /* LiveKit queues an event for 30 s and tries for 15 s more */
#define ANSWERED_LIMIT_S (25 * 3600) /* LiveKit ends SIP calls after 24 h at the latest */
#define OPEN_LIMIT_S (6 * 3600)
#define LIMIT_STEP_S 600        /* either limit ends at full ten minutes: a deadline that moved with each event would be written with each */
#define AGENT_ERROR_GRACE_S 30
#define MEDIA_TIMEOUT_MS 14000  /* 15 s, and some for rounding */
#define LOST_NOTICE_S 30        /* LiveKit notices a dead connection after some 20 s */
#define LONG_OVERLAP_MS 1500

static int64_t max64(int64_t x, int64_t y) { return x > y ? x : y; }

/* The first answered leg; with none answered the last one tried. A call that began with a caller stays the caller's, whomever the app
 * dials then. */
static const struct leg *primary_leg(const struct room_view *v)
{
	const struct leg *last = NULL;
	for (size_t i = 0; i < v->leg_count; i++) {
		const struct leg *leg = &v->legs[i];
		if (v->legs[0].direction == DIRECTION_INBOUND && leg->direction != DIRECTION_INBOUND)
			continue;
		if (leg->answer == ANSWER_YES)
			return leg;
		last = leg;
	}
	return last;
}

/* The second in which a seat was gone for good; 0 = it may be there still. */
static int64_t gone_s(const struct room_view *v, const struct seat *s)
{
	if (s->left)
		return s->session->ended.at_s;
	if (s->superseded)
		return s->to_hi / 1000;
	return s->role == ROLE_SIP ? v->legs[s->leg].gone_s : 0;
}

/* ---- what is known for sure ---- */

static bool other_legs_known(const struct call_case *c)
{
	for (size_t i = 0; i < c->view.leg_count; i++) {
		const struct leg *o = &c->view.legs[i];
		bool open = o->answer == ANSWER_MAYBE || (o->answer == ANSWER_NO && !o->end);
		if (o != c->leg && o->answer == ANSWER_YES && c->leg->answer != ANSWER_YES)
			return false;
		if (o == c->leg || !open)
			continue;
		if (c->leg->answer != ANSWER_YES || o->joined_at_ms <= c->leg->joined_at_ms)
			return false;
	}
	return true;
}

static bool has_counterpart(const struct call_case *c)
{
	if (!c->leg)
		return c->presence.answer == ANSWER_YES;
	for (size_t i = 0; i < c->view.seat_count; i++) {
		const struct seat *s = &c->view.seats[i];
		bool party = s->was_there && (s->role == ROLE_USER || s->role == ROLE_PHONE || s->role == ROLE_AGENT ||
			(s->role == ROLE_SIP && &c->view.legs[s->leg] != c->leg));
		if (party && s->from_lo <= c->leg->to_hi && s->to_hi >= c->leg->joined_at_ms)
			return true;
	}
	return false;
}

static bool left_in_order(enum disconnect_reason r)
{
	return r == REASON_CLIENT_INITIATED || r == REASON_ROOM_CLOSED || r == REASON_ROOM_DELETED || r == REASON_PARTICIPANT_REMOVED;
}

static bool seen_after_end(const struct call_case *c, const struct fact_session *agent)
{
	for (size_t k = 0; c->end_s && k < agent->track_count; k++)
		if (agent->tracks[k].published.at_s > c->end_s)
			return true;
	return false;
}

/* Each agent either left in good order, or was still there when the call had ended. The end of a track shows that only where the
 * agent's connection was not lost: then LiveKit ends the tracks when it notices. */
static bool agents_fared_well(const struct call_case *c)
{
	for (size_t i = 0; i < c->view.seat_count; i++) {
		const struct seat *s = &c->view.seats[i];
		if (s->role != ROLE_AGENT || !s->was_there || seen_after_end(c, s->session))
			continue;
		int64_t later_s = c->end_s ? c->end_s + 1 : INT64_MAX - LOST_NOTICE_S;
		bool well = s->superseded;
		if (s->left) {
			bool error = s->session->left_reason == REASON_AGENT_ERROR;
			well |= left_in_order(s->session->left_reason) || s->session->ended.at_s > (error ? later_s : later_s + LOST_NOTICE_S);
		}
		if (!well)
			return false;
	}
	return true;
}

/* The room closed as soon as it may after the last guest's leave: no attempt came after it. */
static bool nothing_after(const struct call_case *c)
{
	int64_t last = 0;
	for (size_t i = 0; i < c->view.seat_count; i++) {
		const struct seat *s = &c->view.seats[i];
		if (is_guest(s->role) && !s->left && !s->superseded)
			return false;
		if (is_guest(s->role) && s->left)
			last = max64(last, s->session->ended.at_s);
	}
	return c->view.finished && c->view.room_end_s - last <= departure_s(c->view.facts) + ROOM_CLOSE_SLACK_S;
}

/* Lost media end an answered leg only after this long; a leg that was not seen ringing may have been answered before it joined. */
static bool talked_briefly(const struct leg *leg)
{
	bool rang = leg->statuses & (1u << STATUS_DIALING | 1u << STATUS_RINGING);
	return leg->answer_lo && leg->to_hi - (rang ? leg->answer_lo : leg->joined_at_ms) < MEDIA_TIMEOUT_MS;
}

static bool by_dialer(const struct call_case *c)
{
	const struct fact_mark *m = c->leg ? c->leg->code_mark : NULL;
	if (!m || (m->mark.source != MARK_SOURCE_DIALER && m->mark.source != MARK_SOURCE_CARRIER))
		return false;
	return m->mark.sip_call_id.n > 0 || c->view.leg_count == 1;
}

static unsigned what_holds(const struct call_case *c)
{
	const struct leg *leg = c->leg;
	bool heard = leg && leg->answer == ANSWER_YES && (leg->witness == WITNESS_AUDIO || leg->witness == WITNESS_LEG);
	bool audio = heard && !leg->bridge_only && !leg->assumed;
	bool contradicted = leg && (leg->marks_differ || (leg->code_mark && leg->answer == ANSWER_YES));
	const struct {
		unsigned need;
		bool holds;
	} CHECKS[] = {
		{ NEED_LIMITS, !c->view.facts->overflow },
		{ NEED_KINDS, c->view.strangers == 0 },
		{ NEED_LEGS, !leg || other_legs_known(c) },
		{ NEED_ATTRIBUTES, !leg || leg->has_attributes },
		{ NEED_MARKS, !contradicted },
		{ NEED_DIALER, by_dialer(c) },
		{ NEED_DIRECTION, c->rule_case.direction != RULE_PHONE },
		{ NEED_COUNTERPART, has_counterpart(c) },
		{ NEED_AGENTS, agents_fared_well(c) },
		{ NEED_AUDIO, audio },
		{ NEED_SHORT_TALK, leg && talked_briefly(leg) },
		{ NEED_LONG_OVERLAP, !leg && c->presence.overlap_ms >= LONG_OVERLAP_MS },
		{ NEED_ONE_SESSION, leg && leg->seat_count == 1 },
		{ NEED_NOTHING_AFTER, nothing_after(c) },
		{ NEED_NO_MEETING, !leg || leg->answer == ANSWER_YES || c->view.users + c->view.phones == 0 },
		{ NEED_AGENT_MET, c->presence.with_agent_ms >= LONG_OVERLAP_MS },
	};
	unsigned holds = 0;
	for (size_t i = 0; i < sizeof CHECKS / sizeof CHECKS[0]; i++)
		if (CHECKS[i].holds)
			holds |= CHECKS[i].need;
	return holds;
}

/* ---- the flags ---- */

/* An agent that left with AGENT_ERROR while or shortly before the call ended, when no other agent was there at the end. */
static const struct fact_session *failed_agent(const struct call_case *c)
{
	const struct fact_session *failed = NULL;
	bool replaced = false;
	for (size_t i = 0; i < c->view.seat_count; i++) {
		const struct seat *s = &c->view.seats[i];
		if (s->role != ROLE_AGENT)
			continue;
		const struct fact_session *agent = s->session;
		bool error = s->left && agent->left_reason == REASON_AGENT_ERROR;
		bool near_end = !c->end_s || (agent->ended.at_s <= c->end_s + 1 && c->end_s - agent->ended.at_s <= AGENT_ERROR_GRACE_S);
		if (error && near_end && (!failed || agent->ended.at_s > failed->ended.at_s))
			failed = agent;
		replaced |= !error && s->was_there && !s->superseded && (!c->end_s ||
			(s->from_lo <= c->end_s * 1000 + 999 && s->to_hi >= c->end_s * 1000));
	}
	return replaced ? NULL : failed;
}

static unsigned flags_of(const struct call_case *c)
{
	const struct room_view *v = &c->view;
	size_t guests = v->users + v->phones + v->strangers;
	const struct leg *leg = c->leg;
	unsigned flags = 0;
	if (c->failed_agent)
		flags |= FLAG_AGENT_ERROR;
	if (leg && leg->machine_mark)
		flags |= FLAG_MACHINE;
	if (leg && leg->transfer_mark)
		flags |= FLAG_TRANSFERRED;
	if (leg && leg->bridge_only)
		flags |= FLAG_BRIDGE_ONLY;
	if (leg && leg->let_in && leg->witness == WITNESS_STATUS)
		flags |= FLAG_LET_IN_ALONE;
	if (v->strangers)
		flags |= FLAG_STRANGER;
	if (!leg && guests + v->agents + v->aborted_users == 0)
		flags |= FLAG_NOBODY;
	if (!leg && guests + v->aborted_users == 0 && v->agents)
		flags |= FLAG_AGENTS_ONLY;
	if (!leg && guests == 0 && v->aborted_users)
		flags |= FLAG_ABORTED_ONLY;
	if (v->facts->end_reason == ROOM_END_OPEN_FAILED || v->facts->end_reason == ROOM_END_SERVER_SHUTDOWN)
		flags |= FLAG_ROOM_FAILED;
	return flags;
}

/* ---- the case ---- */

/* From joining to the end, at least. With the leave lost, what the room's end leaves over when the leg was its only guest. */
static int64_t elapsed_s(const struct call_case *c)
{
	const struct leg *leg = c->leg;
	if (!leg || !leg->joined_at_ms)
		return -1;
	int64_t to_s = leg->gone_s;
	if (!to_s && c->view.room_end_s && !c->view.kept_open && c->view.leg_count == 1 && c->view.users + c->view.phones + c->view.strangers == 0)
		to_s = c->view.room_end_s - departure_s(c->view.facts) - ROOM_CLOSE_SLACK_S;
	if (!to_s)
		return -1;
	int64_t ms = to_s * 1000 - leg->joined_at_ms;
	return ms > 0 ? ms / 1000 : 0;
}

static unsigned top_status(uint32_t statuses)
{
	for (unsigned s = STATUS_HANGUP; s > STATUS_NONE; s--)
		if (statuses & 1u << s)
			return RULE_STATUS(s);
	return RULE_STATUS(STATUS_NONE);
}

int case_make(const struct facts *f, struct arena *a, struct call_case *ret)
{
	struct call_case c = { .leg = NULL };
	int r = room_view_make(f, a, &c.view);
	if (r < 0)
		return r;
	c.leg = primary_leg(&c.view);
	r = presence_make(&c.view, a, &c.presence);
	if (r < 0)
		return r;
	c.met_besides = c.leg && c.leg->answer != ANSWER_YES && c.presence.answer == ANSWER_YES;
	c.end = c.leg ? c.leg->end : c.presence.end ? c.presence.end->session : NULL;
	c.end_s = c.leg ? c.leg->gone_s : c.end ? c.end->ended.at_s : 0;
	if (!c.end_s)
		c.end_s = c.view.room_end_s;
	c.failed_agent = failed_agent(&c);
	c.rule_case = (struct rule_case){
		.direction = c.leg ? (c.leg->direction == DIRECTION_INBOUND ? RULE_IN : RULE_OUT) : c.view.phones ? RULE_PHONE : RULE_WEB,
		.answer = c.leg ? c.leg->answer : c.presence.answer,
		.reason = c.end ? RULE_REASON(c.end->left_reason) : RULE_NO_LEAVE,
		.status = top_status(c.leg ? c.leg->statuses : 0),
		.elapsed_s = elapsed_s(&c),
		.code = c.leg && c.leg->code_mark ? code_class_of(c.leg->code_mark->mark.sip_code) : CODE_NONE,
		.flags = flags_of(&c),
	};
	c.rule_case.holds = what_holds(&c);
	*ret = c;
	return 0;
}

enum confidence case_confidence(const struct call_case *c, const struct rule *r)
{
	bool lacking = (r->needs & ~c->rule_case.holds) != 0;
	return r->confidence == CONFIDENCE_CERTAIN && lacking ? CONFIDENCE_LIKELY : r->confidence;
}

/* ---- when it is over ---- */

static void sooner(int64_t *into, int64_t at)
{
	if (at > 0 && (*into == 0 || at < *into))
		*into = at;
}

/* Seconds by which everybody of the kind had gone; 0 = somebody may be there, or nobody of the kind came. */
static int64_t all_gone_s(const struct room_view *v, bool guests)
{
	int64_t last = 0;
	for (size_t i = 0; i < v->seat_count; i++) {
		const struct seat *s = &v->seats[i];
		if (guests ? !is_guest(s->role) : s->role != ROLE_AGENT)
			continue;
		int64_t gone = gone_s(v, s);
		if (gone == 0)
			return 0;
		last = max64(last, gone);
	}
	return last;
}

static bool may_be_talking(const struct call_case *c)
{
	if (!c->leg)
		return c->presence.answer == ANSWER_YES;
	for (size_t i = 0; i < c->view.leg_count; i++) {
		const struct leg *leg = &c->view.legs[i];
		if (!leg->gone_s && (leg->direction == DIRECTION_OUTBOUND || leg->answer != ANSWER_NO))
			return true;
	}
	return false;
}

static int64_t last_event_s(const struct room_view *v) { return max64(v->facts->last_event_s, v->facts->creation_time_ms / 1000); }

static int64_t round_up(int64_t s, int64_t step) { return (s + step - 1) / step * step; }

int64_t case_deadline_ms(const struct call_case *c, bool *ret_over)
{
	const struct room_view *v = &c->view;
	*ret_over = v->finished;
	if (v->finished)
		return 0;
	size_t guests = 0;
	for (size_t i = 0; i < v->seat_count; i++)
		guests += is_guest(v->seats[i].role);
	int64_t due = 0, gone = all_gone_s(v, guests > 0);
	if (v->room_end_s)
		sooner(&due, v->room_end_s + DELIVERY_S);
	if (gone)
		sooner(&due, gone + DELIVERY_S + (guests ? departure_s(v->facts) : EMPTY_TIMEOUT_S));
	if (v->ended_mark)
		sooner(&due, (v->ended_mark->mark.at_ms ? v->ended_mark->mark.at_ms / 1000 : v->ended_mark->at_s) + DELIVERY_S);
	int64_t last = last_event_s(v);
	if (last)
		sooner(&due, round_up(last + (may_be_talking(c) ? ANSWERED_LIMIT_S : OPEN_LIMIT_S), LIMIT_STEP_S));
	return due * 1000;
}

int64_t case_first_look_ms(const struct call_case *c)
{
	int64_t last = last_event_s(&c->view);
	return last ? round_up(last + OPEN_LIMIT_S, LIMIT_STEP_S) * 1000 : 0;
}
