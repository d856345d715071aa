/* The rules: from a case to a verdict. Internal to core/; verdict.c makes the case, rules.c holds the table.
 * A row fits when every one of its conditions does; the first row that fits fires. Pure and immutable: any thread. */
#pragma once

#include "core/legs.h"

/* Which way the call went; a bit each. PHONE is a phone without sip.* (a connector): direction unknown. */
enum { RULE_OUT = 1, RULE_IN = 2, RULE_WEB = 4, RULE_PHONE = 8 };

/* More that a row may ask for; a bit each. All bits a row names must be set. */
#define RULE_FLAGS(X) \
	X(FLAG_AGENT_ERROR, "an agent left with AGENT_ERROR shortly before the end and no other agent took over") \
	X(FLAG_MACHINE, "a witness says that a machine answered") \
	X(FLAG_TRANSFERRED, "a witness says that the call was transferred") \
	X(FLAG_MAX_DURATION, "a witness says that the maximum duration ended it") \
	X(FLAG_GONE_UNANSWERED, "the watcher saw it unanswered, and then no more") \
	X(FLAG_BRIDGE_ONLY, "only another leg, which nobody answered, could be heard") \
	X(FLAG_LET_IN_ALONE, "the caller was let in with a PIN, and nobody else could be heard") \
	X(FLAG_STRANGER, "somebody was there of whom only tracks were seen, or whom only a witness names") \
	X(FLAG_NOBODY, "nobody was seen in the room") \
	X(FLAG_AGENTS_ONLY, "only agents were seen in the room") \
	X(FLAG_ABORTED_ONLY, "the user never got through to the room") \
	X(FLAG_ROOM_FAILED, "LiveKit says that the room could not be opened, or that the server stopped")
enum {
#define X(e, text) e##_AT,
	RULE_FLAGS(X)
#undef X
};
enum {
#define X(e, text) e = 1 << e##_AT,
	RULE_FLAGS(X)
#undef X
};

/* What must hold for a row's "certain" to stand; where one does not, the verdict is likely and says why.
 * enum, what is missing (for the explanation), what it could have been instead. */
#define RULE_NEEDS(X) \
	X(NEED_LIMITS, "the call had more parts than are kept", OUTCOME_UNKNOWN, VERDICT_EVENTS_LOST) \
	X(NEED_KINDS, "of somebody in the room only tracks were seen, or only a witness names him, so events are missing", OUTCOME_UNKNOWN, VERDICT_EVENTS_LOST) \
	X(NEED_LEGS, "another leg of this call was answered, or was not seen to its end", OUTCOME_COMPLETED, VERDICT_HANGUP) \
	X(NEED_ATTRIBUTES, "the leg's sip.* attributes are missing", OUTCOME_UNKNOWN, VERDICT_EVENTS_LOST) \
	X(NEED_PROOF, "only a witness says that it was answered, and LiveKit's own words do not", OUTCOME_NO_ANSWER, VERDICT_UNANSWERED) \
	X(NEED_DIALER, "the result is no SIP code, or not the dialer's or the carrier's, or not surely about this leg", OUTCOME_FAILED, VERDICT_SETUP_FAILED) \
	X(NEED_CODE_FITS, "LiveKit's own words are none that this SIP code leaves", OUTCOME_NO_ANSWER, VERDICT_CANCELED) \
	X(NEED_DIRECTION, "LiveKit does not say which way this phone call went", OUTCOME_NO_ANSWER, VERDICT_UNANSWERED) \
	X(NEED_COUNTERPART, "nobody else was seen in the room, so a lost event could hide what became of the other side", \
	  OUTCOME_FAILED, VERDICT_AGENT_ERROR) \
	X(NEED_AGENTS, "an agent did not leave in good order, or its leave was not seen: it may have failed", OUTCOME_FAILED, VERDICT_AGENT_ERROR) \
	X(NEED_AUDIO, "no other party's audio was surely there with the leg", OUTCOME_NO_ANSWER, VERDICT_AGENT_UNAVAILABLE) \
	X(NEED_SHORT_TALK, "after 15 s and more LiveKit reports lost media like a hang-up", OUTCOME_FAILED, VERDICT_MEDIA_TIMEOUT) \
	X(NEED_LONG_OVERLAP, "how long they were together is not known, or it was a moment only", OUTCOME_NO_ANSWER, VERDICT_UNANSWERED) \
	X(NEED_ONE_SESSION, "the leg had to connect again, and its status starts anew then", OUTCOME_COMPLETED, VERDICT_HANGUP) \
	X(NEED_NOTHING_AFTER, "a later attempt could be hidden by lost events", OUTCOME_UNKNOWN, VERDICT_EVENTS_LOST) \
	X(NEED_NO_MEETING, "a web user was in the room as well, whose meeting somebody else there may have been the call", \
	  OUTCOME_COMPLETED, VERDICT_USER_LEFT) \
	X(NEED_AGENT_MET, "no agent was there with a user, and two web users may be one person with two devices", \
	  OUTCOME_NO_ANSWER, VERDICT_AGENT_UNAVAILABLE)
enum {
#define X(e, text, outcome, reason) e##_AT,
	RULE_NEEDS(X)
#undef X
	NEED_COUNT
};
enum {
#define X(e, text, outcome, reason) e = 1 << e##_AT,
	RULE_NEEDS(X)
#undef X
};

#define RULE_REASON(r) (1u << (r))
#define RULE_NO_LEAVE (1u << 31) /* no leave of the primary leg was seen */
#define RULE_STATUS(s) (1u << (s))

struct rule_case {
	unsigned direction; /* one RULE_ bit */
	enum answer answer;
	unsigned reason;    /* RULE_REASON of the leave, or RULE_NO_LEAVE */
	unsigned status;    /* RULE_STATUS of the greatest progress seen */
	int64_t elapsed_s;  /* from joining to the leave, floored; -1 = unknown */
	enum code_class code;
	unsigned flags;
	unsigned holds;     /* NEED_ bits that hold */
};

#define RULE_ALTERNATIVES 4

struct rule {
	const char *name;
	unsigned direction, answer, reason, status; /* masks */
	int64_t min_s, max_s;                       /* of elapsed_s; 0 = no limit */
	unsigned codes, flags;                      /* mask of code classes (0 = any), flags that must be set */
	enum outcome outcome;
	enum verdict_reason why;
	enum confidence confidence;
	enum fault fault;
	unsigned needs;
	struct alternative alternatives[RULE_ALTERNATIVES];
	/* {reason}, {status}, {seconds}, {code} are filled in */
	const char *explanation;
};

const struct rule *rules_table(size_t *ret_count);
const struct rule *rules_match(const struct rule_case *c); /* never NULL: the last rows take everything */
const struct rule *rules_of_code(enum code_class code);  /* the first row for it; NULL for CODE_NONE */
bool rule_fits(const struct rule *r, const struct rule_case *c);

struct need_info {
	const char *text;
	struct alternative instead;
};
const struct need_info *rules_need(unsigned index); /* index < NEED_COUNT */
const char *rules_flag_text(unsigned index);        /* NULL behind the last */
