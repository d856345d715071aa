/* A seeded generator of histories for the property tests: the same seed gives the same events on every machine.
 *
 * Half of the histories are stories (people join, publish, reconnect, leave; several legs, restarts, egress, marks), half are noise:
 * events with fields drawn from small pools, so that ids, sessions and contradictions meet often. */
#pragma once

#include "core/verdict.h"

#define HISTORY_MAX_EVENTS 60
#define HISTORY_T0_S INT64_C(1795352846)

struct random {
	uint64_t state;
};

/* splitmix64 */
static inline uint64_t random_next(struct random *r)
{
	uint64_t z = (r->state += UINT64_C(0x9e3779b97f4a7c15));
	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

static inline uint32_t random_below(struct random *r, uint32_t n) { return (uint32_t)(random_next(r) % n); }
static inline bool random_one_in(struct random *r, uint32_t n) { return random_below(r, n) == 0; }

struct random_history {
	uint64_t seed;
	struct event events[HISTORY_MAX_EVENTS];
	size_t n;
};

static const char *const POOL_SIDS[] = { "PA_a", "PA_b", "PA_c", "PA_d", "PA_e", "PA_f", "PA_g", "PA_h", "PA_i", "PA_j", "PA_k", "PA_l" };
static const char *const POOL_IDENTITIES[] = { "agent-AJ_1", "sip_+13125550178", "web-user", "operator", "EG_x" };
static const char *const POOL_CALLS[] = { "SCL_1", "SCL_2", "SCL_3" };
static const char *const POOL_TRACKS[] = { "TR_1", "TR_2", "TR_3" };
static const char *const POOL_IDS[] = { "EV_00", "EV_01", "EV_02", "EV_03", "EV_04", "EV_05", "EV_06", "EV_07", "EV_08", "EV_09", "EV_10",
	"EV_11", "EV_12", "EV_13", "EV_14", "EV_15", "EV_16", "EV_17", "EV_18", "EV_19", "EV_20", "EV_21", "EV_22", "EV_23", "EV_24", "EV_25",
	"EV_26", "EV_27", "EV_28", "EV_29", "EV_30", "EV_31", "EV_32", "EV_33", "EV_34", "EV_35", "EV_36", "EV_37", "EV_38", "EV_39", "EV_40",
	"EV_41", "EV_42", "EV_43", "EV_44", "EV_45", "EV_46", "EV_47", "EV_48", "EV_49", "EV_50", "EV_51", "EV_52", "EV_53", "EV_54", "EV_55",
	"EV_56", "EV_57", "EV_58", "EV_59" };
static const char *const POOL_TENANTS[] = { "acme", "globex" };
static const enum participant_kind POOL_KINDS[] = { KIND_STANDARD, KIND_SIP, KIND_SIP, KIND_SIP, KIND_AGENT, KIND_AGENT, KIND_EGRESS, KIND_INGRESS,
	KIND_CONNECTOR, KIND_OTHER };

#define PICK(r, pool) ((pool)[random_below((r), sizeof(pool) / sizeof((pool)[0]))])

static inline void random_participant(struct random *r, struct event *e)
{
	struct event_participant *p = &e->participant;
	p->sid = slice_cstr(PICK(r, POOL_SIDS));
	p->identity = slice_cstr(PICK(r, POOL_IDENTITIES));
	p->kind = PICK(r, POOL_KINDS);
	p->joined_at_ms = (HISTORY_T0_S + random_below(r, 40)) * 1000 + random_below(r, 1000);
	p->joined_at_whole_s = random_one_in(r, 4);
	p->disconnect_reason = (enum disconnect_reason)random_below(r, REASON_AGENT_ERROR + 1);
	if (random_one_in(r, 6))
		p->tenant = slice_cstr(PICK(r, POOL_TENANTS));
	if (p->kind != KIND_SIP)
		return;
	p->sip_call_id = random_one_in(r, 8) ? SLICE_NONE : slice_cstr(PICK(r, POOL_CALLS));
	p->sip_rule_id = random_one_in(r, 3) ? SLICE("SDR_1") : SLICE_NONE;
	p->sip_phone_number = random_one_in(r, 5) ? SLICE_NONE : SLICE("+13125550178");
	p->sip_status = (enum sip_status)random_below(r, STATUS_HANGUP + 1);
	p->sip_call_tag = random_one_in(r, 3);
}

static inline void random_mark(struct random *r, struct event *e)
{
	static const int CODES[] = { 0, 0, 180, 200, 403, 404, 408, 480, 486, 487, 488, 503, 603, 608 };
	static const char *const TEXTS[] = { NULL, "Busy Here", "sip status: 486: Busy Here", "twirp error unknown: sip request timed out",
		"common audio codec not found", "Q.850;cause=17", "Concurrent Call Limit Exceeded" };
	static const char *const VALUES[] = { NULL, "max_duration", "ringing", "dialing", "x" };
	e->mark = (struct event_mark){ .kind = (enum mark_kind)(MARK_ANSWERED + random_below(r, MARK_NOTE)),
		.source = (enum mark_source)random_below(r, MARK_SOURCE_WATCHER + 1), .sip_code = PICK(r, CODES), .sip_text = slice_cstr(PICK(r, TEXTS)),
		.value = slice_cstr(PICK(r, VALUES)), .at_ms = random_one_in(r, 4) ? 0 : (HISTORY_T0_S + random_below(r, 60)) * 1000,
		.within_ms = random_below(r, 400), .posted_ms = random_one_in(r, 2) ? 0 : (HISTORY_T0_S + random_below(r, 3)) * 1000 };
	if (random_one_in(r, 2))
		e->mark.sip_call_id = slice_cstr(PICK(r, POOL_CALLS));
	if (random_one_in(r, 4))
		e->mark.tenant = slice_cstr(PICK(r, POOL_TENANTS));
}

static inline void random_event(struct random *r, struct event *e)
{
	static const enum event_type TYPES[] = { EVENT_ROOM_STARTED, EVENT_ROOM_FINISHED, EVENT_PARTICIPANT_JOINED, EVENT_PARTICIPANT_JOINED,
		EVENT_PARTICIPANT_JOINED, EVENT_PARTICIPANT_LEFT, EVENT_PARTICIPANT_LEFT, EVENT_PARTICIPANT_LEFT, EVENT_PARTICIPANT_ABORTED,
		EVENT_TRACK_PUBLISHED, EVENT_TRACK_PUBLISHED, EVENT_TRACK_UNPUBLISHED, EVENT_EGRESS_UPDATED, EVENT_EGRESS_ENDED, EVENT_MARK, EVENT_UNKNOWN };
	*e = (struct event){ .type = PICK(r, TYPES), .created_at_s = random_one_in(r, 30) ? 0 : HISTORY_T0_S + random_below(r, 60) };
	e->id = slice_cstr(PICK(r, POOL_IDS));
	e->room = (struct event_room){ .sid = SLICE("RM_1"), .name = SLICE("room"), .creation_time_ms = HISTORY_T0_S * 1000,
		.departure_timeout_s = random_below(r, 3) };
	if (random_one_in(r, 10))
		e->room.tenant = slice_cstr(PICK(r, POOL_TENANTS));
	random_participant(r, e);
	if (e->type == EVENT_TRACK_PUBLISHED || e->type == EVENT_TRACK_UNPUBLISHED) {
		e->participant = (struct event_participant){ .sid = e->participant.sid, .identity = e->participant.identity, .kind = KIND_UNKNOWN };
		e->track = (struct event_track){ .sid = slice_cstr(PICK(r, POOL_TRACKS)), .audio = !random_one_in(r, 5),
			.published_us = random_one_in(r, 4) ? 0 : (HISTORY_T0_S * 1000 + random_below(r, 60000)) * 1000 };
	}
	if (e->type == EVENT_EGRESS_UPDATED || e->type == EVENT_EGRESS_ENDED)
		e->egress = (struct event_egress){ .egress_id = random_one_in(r, 2) ? SLICE("EG_1") : SLICE("EG_2"),
			.status = (enum egress_status)random_below(r, EGRESS_LIMIT_REACHED + 1), .location = random_one_in(r, 2) ? SLICE("s3://a") : SLICE("s3://b") };
	if (e->type == EVENT_MARK)
		random_mark(r, e);
	e->room_end_reason = (enum room_end_reason)random_below(r, ROOM_END_OPEN_FAILED + 1);
	e->key_id = random_one_in(r, 2) ? SLICE("APIa") : SLICE_NONE;
}

/* One person's stay, with its leave most of the time, and a second session of the same identity some of the time. */
static inline void random_stay(struct random *r, struct random_history *h, size_t who, int64_t from_s)
{
	struct event base;
	random_event(r, &base);
	base.participant.sid = slice_cstr(POOL_SIDS[who]);
	base.participant.identity = slice_cstr(POOL_IDENTITIES[who % 4]);
	base.participant.kind = who % 4 == 0 ? KIND_AGENT : who % 4 == 1 ? KIND_SIP : KIND_STANDARD;
	base.participant.joined_at_ms = from_s * 1000 + random_below(r, 900);
	if (base.participant.kind != KIND_SIP) {
		base.participant.sip_call_tag = false;
		base.participant.sip_call_id = SLICE_NONE;
	}
	static const enum event_type STEPS[] = { EVENT_PARTICIPANT_JOINED, EVENT_TRACK_PUBLISHED, EVENT_TRACK_UNPUBLISHED, EVENT_PARTICIPANT_LEFT };
	int64_t at = from_s;
	for (size_t i = 0; i < 4 && h->n < HISTORY_MAX_EVENTS; i++) {
		struct event e = base;
		e.type = STEPS[i];
		e.created_at_s = at;
		e.id = slice_cstr(POOL_IDS[h->n]);
		e.track = (struct event_track){ .sid = slice_cstr(POOL_TRACKS[who % 3]), .audio = true, .published_us = (from_s * 1000 + 700) * 1000 };
		if (i == 1 || i == 2)
			e.participant = (struct event_participant){ .sid = base.participant.sid, .identity = base.participant.identity, .kind = KIND_UNKNOWN };
		if (!random_one_in(r, 6))
			h->events[h->n++] = e;
		at += i == 1 ? 1 + random_below(r, 40) : random_below(r, 2);
	}
}

/* The server was killed and came back: the same room, and who was there joins again with a new SID; nobody left. */
static inline void random_restart(struct random *r, struct random_history *h)
{
	int64_t at = HISTORY_T0_S + 25 + random_below(r, 10);
	size_t before = h->n;
	for (size_t i = 0; i < before && h->n < HISTORY_MAX_EVENTS; i++) {
		if (h->events[i].type != EVENT_PARTICIPANT_JOINED || random_one_in(r, 3))
			continue;
		struct event e = h->events[i];
		e.id = slice_cstr(POOL_IDS[h->n]);
		e.created_at_s = at;
		e.participant.sid = slice_cstr(POOL_SIDS[6 + i % 6]);
		e.participant.joined_at_ms = at * 1000 + random_below(r, 900);
		e.participant.sip_status = STATUS_DIALING;
		h->events[h->n++] = e;
	}
}

static inline void random_marks(struct random *r, struct random_history *h)
{
	size_t n = random_below(r, 8);
	for (size_t i = 0; i < n && h->n < HISTORY_MAX_EVENTS; i++) {
		struct event *e = &h->events[h->n];
		random_event(r, e);
		e->type = EVENT_MARK;
		e->id = slice_cstr(POOL_IDS[h->n++]);
		random_mark(r, e);
	}
}

static inline void random_history_make(uint64_t seed, struct random_history *h)
{
	struct random r = { seed };
	*h = (struct random_history){ .seed = seed };
	if (random_one_in(&r, 2)) {
		size_t people = 1 + random_below(&r, 6);
		for (size_t i = 0; i < people; i++)
			random_stay(&r, h, i, HISTORY_T0_S + random_below(&r, 20));
		if (random_one_in(&r, 3))
			random_restart(&r, h);
		if (random_one_in(&r, 2))
			random_marks(&r, h);
		while (h->n < HISTORY_MAX_EVENTS - 1 && random_one_in(&r, 2))
			random_event(&r, &h->events[h->n++]);
		return;
	}
	h->n = 1 + random_below(&r, HISTORY_MAX_EVENTS - 1);
	for (size_t i = 0; i < h->n; i++)
		random_event(&r, &h->events[i]);
}
