/* Calls made up at random after what LiveKit's versions do (the tables are what running and reading them showed), each with its truth. Up to
 * two events are withheld, true witnesses may speak. A verdict may be unsure, and may be likely and wrong; certain and wrong never. With all events
 * there a doubt names the truth among its alternatives. */
#include "../unit/core_fixture.h"

#include "histories.h"

#define CALLS 15000 /* of each kind */
#define DONE (1u << OUTCOME_COMPLETED)
#define UNANSWERED (1u << OUTCOME_NO_ANSWER)
#define BUSY (1u << OUTCOME_BUSY)
#define FAILED (1u << OUTCOME_FAILED)

struct call {
	struct history *h;
	struct random r;
	unsigned era;      /* 0 = A, 1 = B, 2 = C */
	unsigned accepted; /* bits 1 << enum outcome */
	int64_t now;       /* ms */
	bool answered;     /* some leg was */
};

/* ---- dialed attempts ---- */

enum rings { NEVER_RINGS, MAY_RING, ALWAYS_RINGS };

static const struct attempt {
	const char *what;
	enum disconnect_reason reason[3]; /* by era */
	enum rings rings;
	int64_t least_ms, most_ms;
	int code;         /* of the dialer's reply; 0 = none, then the text */
	const char *text;
	unsigned accepted;
} ATTEMPTS[] = {
#define UR REASON_USER_REJECTED
#define UU REASON_USER_UNAVAILABLE
#define CI REASON_CLIENT_INITIATED
#define STF REASON_SIP_TRUNK_FAILURE
	{ "486", { UR, UR, UR }, MAY_RING, 200, 60000, 486, "Busy Here", BUSY },
	{ "600", { CI, UR, UR }, MAY_RING, 200, 60000, 600, "Busy Everywhere", BUSY },
	{ "603", { CI, UR, UR }, MAY_RING, 200, 60000, 603, "Decline", BUSY | UNANSWERED },
	{ "403", { CI, UR, UR }, NEVER_RINGS, 100, 3000, 403, "Forbidden", FAILED },
	{ "407", { CI, UR, UR }, NEVER_RINGS, 30, 3000, 0, "sip server required auth, but no username or password was provided", FAILED },
	{ "488", { CI, UR, UR }, NEVER_RINGS, 100, 3000, 488, "Not Acceptable Here", FAILED },
	{ "no common codec", { UR, UR, UR }, MAY_RING, 200, 60000, 0, "common audio codec not found", FAILED },
	{ "480", { UU, UU, UU }, MAY_RING, 200, 60000, 480, "Temporarily Unavailable", UNANSWERED },
	{ "404", { CI, UU, UU }, MAY_RING, 200, 60000, 404, "Not Found", FAILED },
	{ "408", { CI, UU, UU }, MAY_RING, 200, 60000, 408, "Request Timeout", UNANSWERED | FAILED },
	{ "410", { CI, UR, UU }, MAY_RING, 200, 30000, 410, "Gone", FAILED },
	{ "484", { CI, UR, UU }, NEVER_RINGS, 100, 3000, 484, "Address Incomplete", FAILED },
	{ "given up by the dialer", { CI, UR, UU }, MAY_RING, 500, 60000, 0, NULL, UNANSWERED },
	{ "ring limit", { CI, UU, UU }, ALWAYS_RINGS, 5000, 90000, 0, "sip request timed out", UNANSWERED },
	{ "default ring limit", { CI, UU, UU }, ALWAYS_RINGS, 180000, 180300, 0, "sip request timed out", UNANSWERED },
	{ "silent trunk", { CI, UU, STF }, NEVER_RINGS, 31900, 32400, 0, "transaction failed to complete (0 intermediate responses)", FAILED },
	{ "503", { CI, CI, STF }, MAY_RING, 100, 20000, 503, "Service Unavailable", FAILED },
	{ "call limit", { CI, UR, STF }, NEVER_RINGS, 100, 2000, 503, "Concurrent Call Limit Exceeded", FAILED },
	{ "no such host", { CI, CI, STF }, NEVER_RINGS, 20, 3000, 0, "fail to resolve target", FAILED },
	{ "app deletes the room", { REASON_ROOM_DELETED, REASON_ROOM_DELETED, REASON_ROOM_DELETED }, ALWAYS_RINGS, 1000, 60000, 0, NULL, UNANSWERED },
	{ "app removes the leg", { REASON_PARTICIPANT_REMOVED, REASON_PARTICIPANT_REMOVED, REASON_PARTICIPANT_REMOVED }, ALWAYS_RINGS, 1000, 60000,
	  0, NULL, UNANSWERED },
	{ "app gives up a dead trunk", { REASON_ROOM_DELETED, REASON_PARTICIPANT_REMOVED, REASON_ROOM_DELETED }, NEVER_RINGS, 1000, 30000, 0, NULL,
	  FAILED | UNANSWERED },
	{ "SIP service stops", { CI, CI, CI }, MAY_RING, 500, 60000, 0, NULL, FAILED },
	{ "SIP service dies", { REASON_CONNECTION_TIMEOUT, REASON_CONNECTION_TIMEOUT, REASON_SIGNAL_CLOSE }, MAY_RING, 21500, 60000, 0, NULL, FAILED },
};

static const struct talk {
	const char *what;
	enum disconnect_reason reason;
	enum sip_status status;
	int64_t least_ms, most_ms; /* from the answer on */
	unsigned accepted;
} TALKS[] = {
	{ "BYE", CI, STATUS_HANGUP, 200, 120000, DONE },
	{ "BYE", CI, STATUS_HANGUP, 200, 12000, DONE },
	{ "media lost", CI, STATUS_ACTIVE, 15000, 60000, FAILED },
	{ "SIP service stops", CI, STATUS_ACTIVE, 300, 60000, FAILED },
	{ "app deletes the room", REASON_ROOM_DELETED, STATUS_ACTIVE, 300, 60000, DONE },
	{ "app removes the leg", REASON_PARTICIPANT_REMOVED, STATUS_ACTIVE, 300, 60000, DONE },
	{ "room closes", REASON_ROOM_CLOSED, STATUS_ACTIVE, 300, 60000, DONE },
	{ "SIP service dies", REASON_CONNECTION_TIMEOUT, STATUS_ACTIVE, 21500, 60000, FAILED },
};

#define CHOOSE(c, pool) (&(pool)[random_below(&(c)->r, sizeof(pool) / sizeof((pool)[0]))])

static bool chance(struct call *c, uint32_t percent) { return random_below(&c->r, 100) < percent; }
static int64_t between(struct call *c, int64_t least, int64_t most) { return least + random_below(&c->r, (uint32_t)(most - least + 1)); }

static void dialer_tells(struct call *c, const struct who *leg, const struct attempt *a, int64_t answered_ms, int64_t at_ms)
{
	if (!chance(c, 40) || (a && !a->code && !a->text))
		return;
	struct event *m = a ? marks(c->h, MARK_SIP_RESULT, MARK_SOURCE_DIALER, a->code, at_ms + between(c, 1, 300))
			    : marks(c->h, MARK_ANSWERED, MARK_SOURCE_DIALER, 0, answered_ms);
	m->mark.sip_text = slice_cstr(a ? a->text : NULL);
	if (!a || chance(c, 30))
		m->mark.sip_call_id = slice_cstr(leg->call);
}

/* A watcher that looks every 300 ms sees the tag of an answered leg up to 300 ms late. */
static void watcher_tells(struct call *c, const struct who *leg, int64_t answered_ms)
{
	if (!chance(c, 30))
		return;
	struct event *m = marks(c->h, MARK_ANSWERED, MARK_SOURCE_WATCHER, 0, answered_ms + between(c, 170, 600));
	m->mark.sip_call_id = slice_cstr(leg->call);
	m->mark.within_ms = 650;
}

/* The connection to the room is lost and comes back under a new SID; the status starts anew, the tag stays. */
static void reconnects(struct call *c, struct who *leg, bool tag, int64_t at_ms)
{
	static const enum disconnect_reason WHY[] = { REASON_MIGRATION, REASON_STATE_MISMATCH, REASON_SERVER_SHUTDOWN };
	if (chance(c, 70))
		leaves(c->h, leg, *CHOOSE(c, WHY), tag ? STATUS_ACTIVE : STATUS_RINGING, tag, at_ms);
	leg->sid = leg->sid[3] == '1' ? "PA_1_again" : "PA_2_again";
	leg->joined_ms = at_ms + 80;
	(void)participant_event(c->h, EVENT_PARTICIPANT_JOINED, leg, STATUS_DIALING, tag, at_ms + 200);
}

static void dialed_leg(struct call *c, struct who leg)
{
	leg.joined_ms = c->now;
	joins(c->h, &leg, STATUS_DIALING, c->now + 25);
	bool answered = chance(c, 40), slow = true;
	int64_t from = c->now, ring_ms = 0;
	const struct attempt *a = answered ? NULL : CHOOSE(c, ATTEMPTS);
	const struct talk *t = CHOOSE(c, TALKS);
	bool rings = a && (a->rings == ALWAYS_RINGS || (a->rings == MAY_RING && chance(c, 60)));
	if (a) {
		c->now += between(c, a->least_ms, a->most_ms);
		slow = c->now - from > 400;
	} else {
		ring_ms = between(c, 100, 20000);
		c->now += ring_ms + between(c, t->least_ms, t->most_ms);
	}
	if (slow && chance(c, 90)) {
		publishes(c->h, &leg, leg.call, from + 60);
		if (chance(c, 95))
			unpublishes(c->h, &leg, leg.call, from + 60, c->now);
	}
	if (!a && c->now - from - ring_ms > 3000 && chance(c, 8))
		reconnects(c, &leg, true, from + ring_ms + 1500);
	enum disconnect_reason reason = a ? a->reason[c->era] : t->reason;
	leaves(c->h, &leg, reason, a ? (rings ? STATUS_RINGING : STATUS_DIALING) : t->status, !a, c->now + 15);
	dialer_tells(c, &leg, a, from + ring_ms, c->now);
	if (answered)
		watcher_tells(c, &leg, from + ring_ms);
	if (c->answered)
		return;
	c->answered = answered;
	c->accepted = a ? a->accepted : t->accepted;
}

/* An agent for the whole of the call, with a voice most of the time; it may fail at the end. */
static void agent_until_the_end(struct call *c, int64_t from, int64_t to)
{
	struct who agent = AGENT;
	agent.joined_ms = from;
	joins(c->h, &agent, STATUS_NONE, from + 20);
	bool voice = chance(c, 90);
	if (voice)
		publishes(c->h, &agent, "TR_agent", from + 60);
	if (voice)
		unpublishes(c->h, &agent, "TR_agent", from + 60, to);
	goes(c->h, &agent, chance(c, 50) ? REASON_CLIENT_INITIATED : REASON_ROOM_CLOSED, to);
}

static void outbound(struct call *c)
{
	static const struct who LEGS[] = {
		{ .sid = "PA_1", .identity = "sip_+13125550178", .kind = KIND_SIP, .call = "SCL_1" },
		{ .sid = "PA_2", .identity = "sip_+13125550178", .kind = KIND_SIP, .call = "SCL_2" },
	};
	size_t legs = chance(c, 70) ? 1 : 2;
	for (size_t i = 0; i < legs; i++) {
		dialed_leg(c, LEGS[i]);
		if (i + 1 < legs)
			c->now += between(c, 200, 8000);
	}
	int64_t end = c->now + between(c, 100, 2000);
	if (chance(c, 80)) {
		if (chance(c, 12)) { /* the agent fails before the end, and nobody takes over */
			struct who agent = AGENT;
			joins(c->h, &agent, STATUS_NONE, 30);
			if (chance(c, 60))
				publishes(c->h, &agent, "TR_agent", 60);
			goes(c->h, &agent, REASON_AGENT_ERROR, c->now - between(c, 0, 8000) > 200 ? c->now - 100 : 200);
			c->accepted |= FAILED;
		} else {
			agent_until_the_end(c, 10, end);
		}
	}
	room_finished(c->h, end + between(c, 0, 2500));
	for (size_t i = 0; i < c->h->n && chance(c, 20); i++) /* an old server tells joining to the second */
		if (c->h->events[i].participant.joined_at_ms) {
			c->h->events[i].participant.joined_at_ms -= c->h->events[i].participant.joined_at_ms % 1000;
			c->h->events[i].participant.joined_at_whole_s = true;
		}
}

/* An operator in the browser has an agent or the app dial somebody, and listens. Where the attempt leaves no trace, that the operator met the
 * agent is all that anybody can know. */
static void outbound_for_an_operator(struct call *c)
{
	struct who operator = USER;
	room_started(c->h);
	joins(c->h, &operator, STATUS_NONE, 40);
	publishes(c->h, &operator, "TR_user", 200);
	c->now = between(c, 300, 3000);
	outbound(c);
	c->accepted |= DONE;
	unpublishes(c->h, &operator, "TR_user", 200, c->now + 500);
	goes(c->h, &operator, CI, c->now + 500);
}

/* ---- callers ---- */

static void inbound_call(struct call *c)
{
	static const enum sip_status UNHEARD[] = { STATUS_HANGUP, STATUS_RINGING };
	call_in(c->h);
	int64_t end = between(c, 1000, 90000), heard = chance(c, 60) ? between(c, 200, end > 20000 ? 20000 : end) : 0;
	bool answered = heard && heard + 300 < end, close = heard && !answered;
	struct who agent = AGENT;
	if (heard || chance(c, 40)) { /* one without a voice answers nobody */
		agent.joined_ms = heard ? heard - 150 : 500;
		joins(c->h, &agent, STATUS_NONE, agent.joined_ms + 20);
		if (heard)
			publishes(c->h, &agent, "TR_agent", heard);
		if (heard)
			unpublishes(c->h, &agent, "TR_agent", heard, end + 1000);
		goes(c->h, &agent, REASON_CLIENT_INITIATED, end + 1000);
	}
	enum disconnect_reason reason = CI;
	enum sip_status status = answered ? STATUS_HANGUP : *CHOOSE(c, UNHEARD);
	c->accepted = answered ? DONE : UNANSWERED;
	if (answered && chance(c, 15)) { /* the service stops, or the caller never confirmed */
		status = STATUS_ACTIVE;
		c->accepted = FAILED;
	} else if (answered && end - heard > 15500 && chance(c, 25)) {
		c->accepted = FAILED; /* the audio stopped: hangup, too */
	} else if (chance(c, 25)) {
		reason = chance(c, 50) ? REASON_ROOM_DELETED : REASON_PARTICIPANT_REMOVED;
		status = answered ? STATUS_ACTIVE : STATUS_RINGING;
	}
	if (close)
		c->accepted = DONE | UNANSWERED | FAILED;
	unpublishes(c->h, &CALLER, "TR_caller", 60, end);
	leaves(c->h, &CALLER, reason, status, true, end + 10);
	if (!answered && !close && chance(c, 30))
		(void)marks(c->h, MARK_SIP_RESULT, MARK_SOURCE_CARRIER, status == STATUS_HANGUP ? 487 : 480, end);
	room_finished(c->h, end + 1000 + between(c, 0, 2500));
}

/* The caller talks to an agent, who has a colleague dialed; what becomes of that is not the caller's call. */
static void inbound_with_a_colleague(struct call *c)
{
	struct who colleague = { .sid = "PA_2", .identity = "sip_+13125550199", .kind = KIND_SIP, .call = "SCL_2" };
	inbound_call(c);
	unsigned accepted = c->accepted;
	int64_t caller_gone = 0;
	for (size_t i = 0; i < c->h->n; i++)
		if (c->h->events[i].type == EVENT_PARTICIPANT_LEFT && slice_eq_cstr(c->h->events[i].participant.sid, CALLER.sid))
			caller_gone = c->h->events[i].created_at_s * 1000 - T0;
	c->now = between(c, 300, 4000);
	dialed_leg(c, colleague);
	bool met = c->answered && c->now < caller_gone + 100000;
	c->accepted = accepted == UNANSWERED ? UNANSWERED | (met ? DONE | FAILED : BUSY | FAILED | DONE) : accepted;
	c->h->events[0].created_at_s = T0 / 1000;
	for (size_t i = 0; i < c->h->n; i++) /* the room closes after the last of them */
		if (c->h->events[i].type == EVENT_ROOM_FINISHED && c->h->events[i].created_at_s < (T0 + c->now) / 1000 + 2)
			c->h->events[i].created_at_s = (T0 + c->now) / 1000 + 2;
}

/* ---- web ---- */

static void web_call(struct call *c)
{
	static const struct {
		enum disconnect_reason reason;
		unsigned accepted;
	} ENDS[] = { { CI, DONE }, { CI, DONE }, { REASON_ROOM_DELETED, DONE }, { REASON_PARTICIPANT_REMOVED, DONE }, { REASON_ROOM_CLOSED, DONE },
		{ REASON_CONNECTION_TIMEOUT, DONE | FAILED }, { REASON_SIGNAL_CLOSE, DONE | FAILED }, { REASON_SERVER_SHUTDOWN, DONE | FAILED } };
	int64_t user = between(c, 20, 8000), end = user + between(c, 3000, 60000);
	bool agent = chance(c, 75), fails = agent && chance(c, 15);
	size_t how = random_below(&c->r, sizeof ENDS / sizeof ENDS[0]);
	struct who person = USER;
	person.joined_ms = user;
	room_started(c->h);
	joins(c->h, &person, STATUS_NONE, user + 30);
	if (chance(c, 85))
		publishes(c->h, &person, "TR_user", user + 200);
	goes(c->h, &person, ENDS[how].reason, end);
	c->accepted = agent ? ENDS[how].accepted : UNANSWERED | (ENDS[how].reason != CI ? FAILED : 0u);
	if (fails) {
		struct who one = AGENT;
		joins(c->h, &one, STATUS_NONE, 30);
		goes(c->h, &one, REASON_AGENT_ERROR, end - 300);
		c->accepted = FAILED | DONE;
	} else if (agent) {
		agent_until_the_end(c, 10, end + 800);
	}
	room_finished(c->h, end + 2500);
}

/* ---- the property ---- */

struct tally {
	long wrong, certain, whole, whole_certain, whole_right;
};

static void judge(struct call *c, uint64_t seed, size_t withheld, struct tally *t)
{
	size_t drop[2] = { SIZE_MAX, SIZE_MAX };
	for (size_t i = 0; i < withheld; i++)
		drop[i] = random_below(&c->r, (uint32_t)c->h->n);
	struct facts *f;
	struct verdict v;
	assert_int_equal(facts_new(c->h->a, SLICE("RM_1"), &f), 0);
	for (size_t i = 0; i < c->h->n; i++)
		if (i != drop[0] && i != drop[1])
			assert_int_equal(facts_fold(f, &c->h->events[i]), 0);
	assert_int_equal(verdict_classify(f, VERDICT_RULES_VERSION, FAR_FUTURE, c->h->a, &v), 0);
	bool right = c->accepted & 1u << v.outcome, certain = v.confidence == CONFIDENCE_CERTAIN, named = right;
	for (size_t i = 0; i < v.alternative_count; i++)
		named |= (c->accepted & 1u << v.alternatives[i].outcome) != 0;
	t->certain += certain;
	t->whole += withheld == 0;
	t->whole_certain += withheld == 0 && certain;
	t->whole_right += withheld == 0 && right;
	if (right || (!certain && (named || withheld)))
		return;
	t->wrong++;
	print_error("seed %llu: %s %s by %.*s, but what is so is %x%s; without events %zu and %zu of\n", (unsigned long long)seed,
		confidence_name(v.confidence), outcome_name(v.outcome), SLICE_FMT(v.rule), c->accepted, named ? "" : ", which is not named", drop[0],
		drop[1]);
	for (size_t i = 0; i < c->h->n; i++) {
		const struct event *e = &c->h->events[i];
		print_error("  %zu %s %.*s at %lld %s status %d tag %d%s%s code %d\n", i, event_type_name(e->type), SLICE_FMT(e->participant.sid),
			(long long)(e->created_at_s - T0 / 1000), disconnect_reason_name(e->participant.disconnect_reason), (int)e->participant.sip_status,
			(int)e->participant.sip_call_tag, e->type == EVENT_MARK ? " mark " : "", e->type == EVENT_MARK ? mark_kind_name(e->mark.kind) : "",
			e->mark.sip_code);
	}
}

static void simulate(void (*make)(struct call *c), uint64_t first_seed, struct tally *t)
{
	for (uint64_t seed = first_seed; seed < first_seed + CALLS && t->wrong < 5; seed++) {
		_cleanup_history_ struct history *h = history_new();
		struct call c = { .h = h, .r = { seed * 7919 }, .now = 50 };
		c.era = random_below(&c.r, 3);
		make(&c);
		judge(&c, seed, seed % 3, t);
	}
}

static void never_certain_and_wrong(void (*make)(struct call *c), uint64_t first_seed, long least_certain_percent)
{
	struct tally t = { .wrong = 0 };
	simulate(make, first_seed, &t);
	print_message("%ld whole calls: %ld right, %ld certain; %ld certain with up to two events withheld\n", t.whole, t.whole_right, t.whole_certain,
		t.certain - t.whole_certain);
	assert_int_equal(t.wrong, 0);
	assert_true(t.whole_certain * 100 >= least_certain_percent * t.whole); /* doubt is no way out */
}

static void started_outbound(struct call *c)
{
	room_started(c->h);
	outbound(c);
}

static void no_dialed_call_is_certain_and_wrong(void **state)
{
	(void)state;
	never_certain_and_wrong(started_outbound, 1, 20);
}

static void no_call_dialed_for_an_operator_is_certain_and_wrong(void **state)
{
	(void)state;
	never_certain_and_wrong(outbound_for_an_operator, 3000000, 15);
}

static void no_callers_call_with_a_colleague_is_certain_and_wrong(void **state)
{
	(void)state;
	never_certain_and_wrong(inbound_with_a_colleague, 4000000, 2);
}

static void no_callers_call_is_certain_and_wrong(void **state)
{
	(void)state;
	never_certain_and_wrong(inbound_call, 1000000, 20);
}

static void no_web_call_is_certain_and_wrong(void **state)
{
	(void)state;
	never_certain_and_wrong(web_call, 2000000, 20);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_dialed_call_is_certain_and_wrong),
		cmocka_unit_test(no_call_dialed_for_an_operator_is_certain_and_wrong),
		cmocka_unit_test(no_callers_call_is_certain_and_wrong),
		cmocka_unit_test(no_callers_call_with_a_colleague_is_certain_and_wrong),
		cmocka_unit_test(no_web_call_is_certain_and_wrong),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
