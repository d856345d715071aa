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
#define MARK_LATE_MS 30000      /* the dialer has its reply within this of the leg's end */

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

/* A SIP code of the one who dialed, or of the carrier, and surely about this leg. */
static bool by_dialer(const struct call_case *c)
{
	const struct fact_mark *m = case_marks(c)->refused;
	if (!c->leg || !m || (m->mark.source != MARK_SOURCE_DIALER && m->mark.source != MARK_SOURCE_CARRIER) || !code_of_mark(&m->mark))
		return false;
	if (m->mark.sip_call_id.n)
		return true;
	bool in_time = m->mark.at_ms >= c->leg->joined_at_ms && (c->leg->to_hi == INT64_MAX || m->mark.at_ms <= c->leg->to_hi + MARK_LATE_MS);
	return c->view.leg_count == 1 && in_time;
}

/* The reasons that LiveKit's versions leave after a result of this class; a table of what was seen and read. */
static bool code_fits(const struct call_case *c)
{
	const unsigned FAILED_ATTEMPT = RULE_REASON(REASON_CLIENT_INITIATED) | RULE_REASON(REASON_USER_REJECTED) |
		RULE_REASON(REASON_USER_UNAVAILABLE) | RULE_NO_LEAVE;
	static const unsigned REASONS[CODE_OTHER + 1] = {
		[CODE_BUSY] = RULE_REASON(REASON_USER_UNAVAILABLE), [CODE_DECLINED] = RULE_REASON(REASON_USER_UNAVAILABLE),
		[CODE_MEDIA] = RULE_REASON(REASON_USER_UNAVAILABLE), [CODE_UNAVAILABLE] = RULE_REASON(REASON_USER_REJECTED),
		[CODE_TIMEOUT] = RULE_REASON(REASON_USER_REJECTED), [CODE_TRUNK] = RULE_REASON(REASON_USER_UNAVAILABLE),
	};
	unsigned fits = FAILED_ATTEMPT & ~REASONS[c->rule_case.code];
	if (c->rule_case.code == CODE_TRUNK || c->rule_case.code == CODE_RATE_LIMITED || c->rule_case.code == CODE_UNREACHABLE)
		fits |= RULE_REASON(REASON_SIP_TRUNK_FAILURE);
	const unsigned TRIED = RULE_STATUS(STATUS_NONE) | RULE_STATUS(STATUS_DIALING) | RULE_STATUS(STATUS_RINGING);
	return (fits & c->rule_case.reason) && (TRIED & c->rule_case.status);
}

static unsigned what_holds(const struct call_case *c)
{
	const struct leg *leg = c->leg;
	bool heard = leg && leg->answer == ANSWER_YES && (leg->witness == WITNESS_AUDIO || leg->witness == WITNESS_LEG);
	bool audio = heard && !leg->bridge_only && !leg->assumed;
	const struct {
		unsigned need;
		bool holds;
	} CHECKS[] = {
		{ NEED_LIMITS, !c->view.facts->overflow },
		{ NEED_KINDS, c->view.strangers == 0 && !c->view.unseen_leg },
		{ NEED_LEGS, !leg || c->alone || other_legs_known(c) },
		{ NEED_ATTRIBUTES, !leg || leg->has_attributes },
		{ NEED_PROOF, !leg || leg->answer != ANSWER_YES || leg->witness != WITNESS_MARK },
		{ NEED_DIALER, by_dialer(c) },
		{ NEED_CODE_FITS, code_fits(c) },
		{ NEED_DIRECTION, c->rule_case.direction != RULE_PHONE },
		{ NEED_COUNTERPART, has_counterpart(c) },
		{ NEED_AGENTS, agents_fared_well(c) },
		{ NEED_AUDIO, audio },
		{ NEED_SHORT_TALK, leg && talked_briefly(leg) },
		{ NEED_LONG_OVERLAP, !leg && c->presence.overlap_ms >= LONG_OVERLAP_MS },
		{ NEED_ONE_SESSION, leg && leg->seat_count == 1 },
		{ NEED_NOTHING_AFTER, c->alone || nothing_after(c) },
		{ NEED_NO_MEETING, !leg || c->alone || leg->answer == ANSWER_YES || c->view.users + c->view.phones == 0 },
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

static unsigned flags_of_marks(const struct call_case *c)
{
	const struct testimony *t = case_marks(c);
	const struct fact_mark *ended = t->ended ? t->ended : c->view.marks.ended;
	unsigned flags = 0;
	if (t->who && t->who->mark.kind == MARK_MACHINE)
		flags |= FLAG_MACHINE;
	if (t->transferred)
		flags |= FLAG_TRANSFERRED;
	if (ended && slice_eq(ended->mark.value, SLICE("max_duration")))
		flags |= FLAG_MAX_DURATION;
	bool tried = t->ended && (slice_eq(t->ended->mark.value, SLICE("dialing")) || slice_eq(t->ended->mark.value, SLICE("ringing")));
	if (tried && t->ended->mark.source == MARK_SOURCE_WATCHER)
		flags |= FLAG_GONE_UNANSWERED;
	return flags;
}

static unsigned flags_of(const struct call_case *c)
{
	const struct room_view *v = &c->view;
	size_t guests = v->users + v->phones + v->strangers;
	const struct leg *leg = c->leg;
	unsigned flags = 0;
	if (c->failed_agent)
		flags |= FLAG_AGENT_ERROR;
	flags |= flags_of_marks(c);
	if (leg && leg->bridge_only)
		flags |= FLAG_BRIDGE_ONLY;
	if (leg && leg->let_in && leg->witness == WITNESS_STATUS)
		flags |= FLAG_LET_IN_ALONE;
	if (v->strangers || v->unseen_leg)
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

/* No event of a phone or a user, but a dialer's, a carrier's or an app's word of a result: the attempt never got into the room, or all of
 * its events are lost. */
static bool is_only_told(const struct call_case *c)
{
	const struct room_view *v = &c->view;
	const struct fact_mark *m = v->marks.refused ? v->marks.refused : v->marks.answered;
	bool dialed = m && (m->mark.kind == MARK_SIP_RESULT || m->mark.sip_call_id.n) && m->mark.source != MARK_SOURCE_AGENT;
	return !c->leg && dialed && v->users + v->phones + v->strangers + v->aborted_users == 0;
}

static unsigned direction_of(const struct call_case *c)
{
	if (c->leg)
		return c->leg->direction == DIRECTION_INBOUND ? RULE_IN : RULE_OUT;
	return c->only_told ? RULE_OUT : c->view.phones ? RULE_PHONE : RULE_WEB;
}

/* Without a phone a witness of the answer stands in for a meeting that no event shows. */
static enum answer answer_of(const struct call_case *c)
{
	if (c->leg)
		return c->leg->answer;
	const struct testimony *t = case_marks(c);
	bool told = t->answered || t->transferred || (t->who && t->who->mark.kind == MARK_HUMAN);
	return told ? ANSWER_YES : c->only_told && c->presence.answer == ANSWER_NO && !t->refused ? ANSWER_MAYBE : c->presence.answer;
}

#define PRIMARY SIZE_MAX

static int make(const struct facts *f, size_t index, struct arena *a, struct call_case *ret)
{
	struct call_case c = { .alone = index != PRIMARY };
	int r = room_view_make(f, a, &c.view);
	if (r < 0)
		return r;
	c.leg = c.alone ? &c.view.legs[index] : primary_leg(&c.view);
	r = presence_make(&c.view, a, &c.presence);
	if (r < 0)
		return r;
	c.only_told = is_only_told(&c);
	c.met_besides = !c.alone && c.leg && c.leg->answer != ANSWER_YES && c.presence.answer == ANSWER_YES;
	c.end = c.leg ? c.leg->end : c.presence.end ? c.presence.end->session : NULL;
	c.end_s = c.leg ? c.leg->gone_s : c.end ? c.end->ended.at_s : 0;
	if (!c.end_s)
		c.end_s = c.view.room_end_s;
	c.failed_agent = failed_agent(&c);
	c.rule_case = (struct rule_case){
		.direction = direction_of(&c),
		.answer = answer_of(&c),
		.reason = c.end ? RULE_REASON(c.end->left_reason) : RULE_NO_LEAVE,
		.status = top_status(c.leg ? c.leg->statuses : 0),
		.elapsed_s = elapsed_s(&c),
		.code = case_marks(&c)->code,
		.flags = flags_of(&c),
	};
	c.rule_case.holds = what_holds(&c);
	*ret = c;
	return 0;
}

int case_make(const struct facts *f, struct arena *a, struct call_case *ret) { return make(f, PRIMARY, a, ret); }

int case_make_of_leg(const struct facts *f, size_t index, struct arena *a, struct call_case *ret) { return make(f, index, a, ret); }

enum confidence case_confidence(const struct call_case *c, const struct rule *r)
{
	bool lacking = (r->needs & ~c->rule_case.holds) != 0, disputed = case_marks(c)->disputes & DISPUTES_OF_OUTCOME;
	if (r->confidence == CONFIDENCE_CERTAIN && (lacking || disputed))
		return CONFIDENCE_LIKELY;
	return disputed ? CONFIDENCE_AMBIGUOUS : r->confidence;
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

/* A call that only witnesses speak of ends, too. */
static int64_t last_event_s(const struct room_view *v)
{
	int64_t last = max64(v->facts->last_event_s, v->facts->creation_time_ms / 1000);
	for (size_t i = 0; v->facts->last_event_s == 0 && i < v->facts->mark_count; i++)
		last = max64(last, v->facts->marks[i].at_s);
	return last;
}

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
	if (v->marks.ended)
		sooner(&due, (v->marks.ended->mark.at_ms ? v->marks.ended->mark.at_ms / 1000 : v->marks.ended->at_s) + DELIVERY_S);
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
