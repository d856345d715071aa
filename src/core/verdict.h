/* From facts to a verdict: a pure function of (facts, rules version, as-of time).
 *
 * certain:   no other outcome can produce this evidence in any LiveKit version we know.
 * likely:    the mechanism points there.
 * ambiguous: several outcomes fit; they are listed in alternatives.
 * The rules are a table (rules.c): the first row that fits fires. docs/VERDICTS.md is made from it. */
#pragma once

#include "base/arena.h"
#include "base/error.h"
#include "base/jsonw.h"
#include "core/facts.h"

#define VERDICT_RULES_VERSION 2 /* raise with every change that can alter a verdict */

#define OUTCOMES(X) X("completed", OUTCOME_COMPLETED) X("no_answer", OUTCOME_NO_ANSWER) X("busy", OUTCOME_BUSY) \
	X("failed", OUTCOME_FAILED) X("unknown", OUTCOME_UNKNOWN)
enum outcome {
	OUTCOME_NONE = 0, /* the call is open */
#define X(name, e) e,
	OUTCOMES(X)
#undef X
};

#define CONFIDENCES(X) X("certain", CONFIDENCE_CERTAIN) X("likely", CONFIDENCE_LIKELY) X("ambiguous", CONFIDENCE_AMBIGUOUS)
enum confidence {
	CONFIDENCE_NONE = 0,
#define X(name, e) e,
	CONFIDENCES(X)
#undef X
};

#define FAULTS(X) X("unknown", FAULT_UNKNOWN) X("none", FAULT_NONE) X("callee", FAULT_CALLEE) X("caller", FAULT_CALLER) \
	X("agent", FAULT_AGENT) X("app", FAULT_APP) X("trunk", FAULT_TRUNK) X("livekit", FAULT_LIVEKIT)
enum fault {
#define X(name, e) e,
	FAULTS(X)
#undef X
};

/* The closed list of reasons: name, enum, one sentence for docs/VERDICTS.md. */
#define REASONS(X) \
	X("hangup", VERDICT_HANGUP, "Answered; a party hung up.") \
	X("agent_hangup", VERDICT_AGENT_HANGUP, "Answered; the app or the agent ended it (room deleted, participant removed).") \
	X("room_closed", VERDICT_ROOM_CLOSED, "Answered; the room was closed by LiveKit after everybody else had gone.") \
	X("max_duration", VERDICT_MAX_DURATION, "Answered; the configured maximum duration ended it.") \
	X("transferred", VERDICT_TRANSFERRED, "Answered; handed to another party.") \
	X("machine", VERDICT_MACHINE, "Answered by a machine, as a witness says.") \
	X("user_left", VERDICT_USER_LEFT, "A web call that took place; a user left.") \
	X("media_timeout", VERDICT_MEDIA_TIMEOUT, "Answered; the audio stopped arriving and LiveKit gave up.") \
	X("connection_lost", VERDICT_CONNECTION_LOST, "A party's connection was lost.") \
	X("server_shutdown", VERDICT_SERVER_SHUTDOWN, "LiveKit or its SIP service stopped.") \
	X("agent_error", VERDICT_AGENT_ERROR, "The agent reported an error.") \
	X("media_failure", VERDICT_MEDIA_FAILURE, "No media could be agreed on or set up.") \
	X("join_failure", VERDICT_JOIN_FAILURE, "A party could not join the room.") \
	X("busy", VERDICT_BUSY, "The callee was busy.") \
	X("declined", VERDICT_DECLINED, "The callee declined.") \
	X("rejected_ambiguous", VERDICT_REJECTED_AMBIGUOUS, "Rejected; LiveKit reports busy, declined and refused by the trunk alike.") \
	X("ring_timeout", VERDICT_RING_TIMEOUT, "It rang until the time limit.") \
	X("unavailable", VERDICT_UNAVAILABLE, "The callee could not be reached (480, 408).") \
	X("invalid_number", VERDICT_INVALID_NUMBER, "The number does not exist or is incomplete.") \
	X("auth_or_forbidden", VERDICT_AUTH_OR_FORBIDDEN, "The trunk refused us (401, 402, 403, 407).") \
	X("rate_limited", VERDICT_RATE_LIMITED, "The trunk's call limit was exceeded.") \
	X("carrier_blocked", VERDICT_CARRIER_BLOCKED, "The carrier blocked the call.") \
	X("trunk_failure", VERDICT_TRUNK_FAILURE, "The trunk failed or did not answer.") \
	X("canceled", VERDICT_CANCELED, "The app ended the attempt before anybody answered.") \
	X("caller_abandoned", VERDICT_CALLER_ABANDONED, "The caller gave up before anybody answered.") \
	X("agent_unavailable", VERDICT_AGENT_UNAVAILABLE, "No agent answered.") \
	X("user_never_joined", VERDICT_USER_NEVER_JOINED, "Nobody but agents came.") \
	X("nobody_joined", VERDICT_NOBODY_JOINED, "Nobody came at all.") \
	X("unanswered", VERDICT_UNANSWERED, "Not answered; LiveKit does not say why.") \
	X("setup_failed", VERDICT_SETUP_FAILED, "The call could not be set up.") \
	X("events_lost", VERDICT_EVENTS_LOST, "Events were lost and no honest choice is left.")
enum verdict_reason {
	VERDICT_REASON_NONE = 0,
#define X(name, e, text) e,
	REASONS(X)
#undef X
};

enum direction { DIRECTION_UNKNOWN = 0, DIRECTION_INBOUND, DIRECTION_OUTBOUND, DIRECTION_WEB };

struct alternative {
	enum outcome outcome;
	enum verdict_reason reason;
};

struct evidence {
	struct slice event_id; /* none where the evidence is an absence */
	struct slice says;     /* plain words */
};

enum call_status { CALL_ACTIVE, CALL_ENDED };

struct verdict {
	/* the call, as call_logs shows it */
	enum call_status status;
	enum direction direction;
	struct slice phone_number; /* the remote number */
	struct slice sip_call_id;  /* of the primary leg */
	int64_t started_at_ms, ended_at_ms; /* 0 = unknown */
	int64_t duration_s;                 /* whole seconds between them, never negative; -1 = unknown */
	struct slice recording_url;
	/* the verdict; outcome is OUTCOME_NONE while the call is open */
	enum outcome outcome;
	enum outcome raw_outcome; /* what the rules say; `outcome` differs where an override (override.h) counts the reason otherwise */
	enum verdict_reason reason;
	enum confidence confidence;
	enum fault fault;
	struct slice rule; /* name of the row that fired */
	unsigned rules;    /* version */
	struct alternative *alternatives;
	size_t alternative_count;
	struct evidence *evidence;
	size_t evidence_count;
	struct slice explanation; /* a sentence for people */
	/* times apart from duration; 0 or -1 = unknown. Never ring time sold as talk time. */
	int64_t answered_at_ms, answered_at_earliest_ms, answered_at_latest_ms;
	struct slice answered_source;
	int64_t ring_seconds, talk_seconds;
	/* The as-of time at which this verdict may change with no further event; 0 = never. */
	int64_t due_at_ms;
};

/* Slices point into the facts, into `a` or to literals. OC_NOMEM, or OC_INVALID for a rules version we do not have. */
OC_NODISCARD int verdict_classify(const struct facts *f, unsigned rules, int64_t as_of_ms, struct arena *a, struct verdict *ret);

/* The verdict's own members into the current JSON object, the same wherever it is shown: outcome, reason, confidence,
 * alternatives, fault, evidence, rule, rules, rawOutcome, explanation, answeredAt, answeredAtEarliest, answeredAtLatest,
 * answeredSource, ringSeconds, talkSeconds. (`revision` is the store's.) Canonical: the same verdict, the same bytes. */
void verdict_write_members(const struct verdict *v, struct jsonw *w);

const char *outcome_name(enum outcome o);       /* NULL for OUTCOME_NONE */
const char *confidence_name(enum confidence c); /* NULL for CONFIDENCE_NONE */
const char *fault_name(enum fault f);
const char *verdict_reason_name(enum verdict_reason r); /* NULL for none */
const char *direction_name(enum direction d);   /* inbound, outbound, web; NULL for unknown */
const char *call_status_name(enum call_status s);
enum outcome outcome_from_name(struct slice name); /* OUTCOME_NONE */
enum verdict_reason verdict_reason_from_name(struct slice name); /* VERDICT_REASON_NONE */

/* docs/VERDICTS.md's tables, made from the rules table and the list of reasons. */
void verdict_write_docs(struct buf *b);
