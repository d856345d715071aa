/* Histories written by hand for core/'s tests: events of one call, in milliseconds after T0, folded and judged.
 * Event ids are EV_000, EV_001, … in the order of writing. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "core/verdict.h"

#define T0 INT64_C(1795352846000)
#define FAR_FUTURE INT64_C(253370764800000)
#define HISTORY_MAX 128

struct history {
	struct arena *a;
	struct event events[HISTORY_MAX];
	size_t n;
};

struct who {
	const char *sid, *identity;
	enum participant_kind kind;
	int64_t joined_ms;
	const char *call; /* sip.callID */
	bool inbound;
};

static inline struct history *history_new(void)
{
	struct arena *a = arena_new(128 * 1024);
	assert_non_null(a);
	struct history *h = ARENA_NEW(a, struct history);
	assert_non_null(h);
	h->a = a;
	return h;
}

static inline void history_done(struct history **h) { arena_free((*h)->a); }
#define _cleanup_history_ __attribute__((cleanup(history_done)))

static inline struct event *history_add(struct history *h, enum event_type type, int64_t at_ms)
{
	char id[16];
	(void)snprintf(id, sizeof id, "EV_%03zu", h->n);
	assert_true(h->n < HISTORY_MAX);
	struct event *e = &h->events[h->n++];
	*e = (struct event){ .type = type, .created_at_s = (T0 + at_ms) / 1000, .type_name = slice_cstr(event_type_name(type)) };
	e->id = slice_cstr(arena_dup(h->a, slice_cstr(id)));
	e->room = (struct event_room){ .sid = SLICE("RM_1"), .name = SLICE("room"), .creation_time_ms = T0, .departure_timeout_s = 2 };
	e->participant.kind = KIND_UNKNOWN;
	return e;
}

static inline void room_started(struct history *h) { (void)history_add(h, EVENT_ROOM_STARTED, 0); }
static inline void room_finished(struct history *h, int64_t at_ms) { (void)history_add(h, EVENT_ROOM_FINISHED, at_ms); }

static inline struct event *participant_event(struct history *h, enum event_type type, const struct who *w, enum sip_status status, bool tag,
	int64_t at_ms)
{
	struct event *e = history_add(h, type, at_ms);
	e->participant.sid = slice_cstr(w->sid);
	e->participant.identity = slice_cstr(w->identity);
	e->participant.kind = w->kind;
	e->participant.joined_at_ms = T0 + w->joined_ms;
	if (w->kind == KIND_SIP) {
		e->participant.sip_call_id = slice_cstr(w->call);
		e->participant.sip_phone_number = SLICE("+13125550178");
		e->participant.sip_status = status;
		e->participant.sip_call_tag = tag;
		if (w->inbound)
			e->participant.sip_rule_id = SLICE("SDR_1");
	}
	return e;
}

static inline void joins(struct history *h, const struct who *w, enum sip_status status, int64_t at_ms)
{
	(void)participant_event(h, EVENT_PARTICIPANT_JOINED, w, status, w->inbound, at_ms);
}

static inline void leaves(struct history *h, const struct who *w, enum disconnect_reason r, enum sip_status status, bool tag, int64_t at_ms)
{
	participant_event(h, EVENT_PARTICIPANT_LEFT, w, status, tag, at_ms)->participant.disconnect_reason = r;
}

static inline void goes(struct history *h, const struct who *w, enum disconnect_reason r, int64_t at_ms)
{
	leaves(h, w, r, STATUS_NONE, false, at_ms);
}

static inline void aborts(struct history *h, const struct who *w, enum disconnect_reason r, int64_t at_ms)
{
	participant_event(h, EVENT_PARTICIPANT_ABORTED, w, STATUS_NONE, false, at_ms)->participant.disconnect_reason = r;
}

static inline struct event *track_event(struct history *h, enum event_type type, const struct who *w, const char *track, int64_t published_ms,
	int64_t at_ms)
{
	struct event *e = history_add(h, type, at_ms);
	e->participant.sid = slice_cstr(w->sid);
	e->participant.identity = slice_cstr(w->identity);
	e->track = (struct event_track){ .sid = slice_cstr(track), .audio = true, .published_us = (T0 + published_ms) * 1000 };
	return e;
}

static inline void publishes(struct history *h, const struct who *w, const char *track, int64_t at_ms)
{
	(void)track_event(h, EVENT_TRACK_PUBLISHED, w, track, at_ms, at_ms);
}

static inline void unpublishes(struct history *h, const struct who *w, const char *track, int64_t published_ms, int64_t at_ms)
{
	(void)track_event(h, EVENT_TRACK_UNPUBLISHED, w, track, published_ms, at_ms);
}

static inline struct event *marks(struct history *h, enum mark_kind kind, enum mark_source source, int code, int64_t at_ms)
{
	struct event *e = history_add(h, EVENT_MARK, at_ms);
	e->mark = (struct event_mark){ .kind = kind, .source = source, .sip_code = code, .at_ms = T0 + at_ms };
	return e;
}

static inline struct facts *facts_of(struct history *h)
{
	struct facts *f;
	assert_int_equal(facts_new(h->a, SLICE("RM_1"), &f), 0);
	for (size_t i = 0; i < h->n; i++)
		assert_int_equal(facts_fold(f, &h->events[i]), 0);
	return f;
}

static inline struct verdict verdict_at(struct history *h, int64_t as_of_ms)
{
	struct verdict v;
	assert_int_equal(verdict_classify(facts_of(h), VERDICT_RULES_VERSION, as_of_ms, h->a, &v), 0);
	return v;
}

/* Compares as text, so that a failure names what came out. */
static inline void assert_verdict(struct verdict v, const char *want)
{
	char got[160];
	(void)snprintf(got, sizeof got, "%s/%s %s", outcome_name(v.outcome), verdict_reason_name(v.reason), confidence_name(v.confidence));
	assert_string_equal(got, want);
}

static inline void judges(struct history *h, const char *want) { assert_verdict(verdict_at(h, FAR_FUTURE), want); }

/* The usual people. */
static const struct who AGENT = { .sid = "PA_agent", .identity = "agent-AJ_1", .kind = KIND_AGENT, .joined_ms = 10 };
static const struct who CALLEE = { .sid = "PA_callee", .identity = "sip_+13125550178", .kind = KIND_SIP, .joined_ms = 50, .call = "SCL_1" };
static const struct who CALLER = { .sid = "PA_caller", .identity = "sip_+13125550131", .kind = KIND_SIP, .joined_ms = 20, .call = "SCL_in",
	.inbound = true };
static const struct who USER = { .sid = "PA_user", .identity = "web-user", .kind = KIND_STANDARD, .joined_ms = 20 };

/* An outbound call with a waiting agent, up to the callee's ringing. */
static inline void dial(struct history *h)
{
	room_started(h);
	joins(h, &AGENT, STATUS_NONE, 30);
	publishes(h, &AGENT, "TR_agent", 60);
	joins(h, &CALLEE, STATUS_DIALING, 80);
	publishes(h, &CALLEE, "TR_callee", 110);
}

/* The agent goes `at` and the room closes 2 s later. */
static inline void agent_goes(struct history *h, int64_t at_ms)
{
	unpublishes(h, &AGENT, "TR_agent", 60, at_ms);
	goes(h, &AGENT, REASON_CLIENT_INITIATED, at_ms);
	room_finished(h, at_ms + 1000);
}

/* Dialed, ended as said after `at`, and closed. */
static inline void dial_and_end(struct history *h, enum disconnect_reason r, enum sip_status status, bool tag, int64_t at_ms)
{
	dial(h);
	leaves(h, &CALLEE, r, status, tag, at_ms);
	agent_goes(h, at_ms + 1000);
}

/* An inbound call that rings; nobody is there yet. */
static inline void call_in(struct history *h)
{
	room_started(h);
	joins(h, &CALLER, STATUS_RINGING, 40);
	publishes(h, &CALLER, "TR_caller", 60);
}

/* A caller who hears an agent from heard_ms on (0: nobody), and leaves as said. */
static inline struct history *inbound(struct history *h, int64_t heard_ms, enum disconnect_reason r, enum sip_status status, int64_t end_ms)
{
	call_in(h);
	if (heard_ms) {
		struct who agent = AGENT;
		agent.joined_ms = heard_ms - 100;
		joins(h, &agent, STATUS_NONE, heard_ms - 50);
		publishes(h, &agent, "TR_agent", heard_ms);
	}
	leaves(h, &CALLER, r, status, true, end_ms);
	if (heard_ms)
		goes(h, &AGENT, REASON_CLIENT_INITIATED, end_ms + 1000);
	room_finished(h, end_ms + 2000);
	return h;
}
