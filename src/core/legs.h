/* Who was in the room, and which legs the call had: a view of facts, for verdict.c.
 *
 * A seat is one session of a participant, with its role and the span in which it was there. A span's ends are intervals, because
 * createdAt has whole seconds: it began somewhere in [from_lo, from_hi] and ended somewhere in [to_lo, to_hi], milliseconds.
 * A leg is all seats of one sip.callID (one SIP session where that is missing). Everything points into the facts and the arena.
 * Internal to core/. Pure; any thread that owns the facts. */
#pragma once

#include "core/sip_code.h"
#include "core/verdict.h"

enum seat_role {
	ROLE_NONE,     /* EGRESS, INGRESS, BRIDGE, hidden: no party */
	ROLE_USER,     /* STANDARD and kinds newer than this binary */
	ROLE_PHONE,    /* CONNECTOR: a phone without sip.* */
	ROLE_AGENT,
	ROLE_SIP,
	ROLE_STRANGER, /* only tracks were seen of it: nobody knows what it was */
};

enum answer { ANSWER_NO = 1, ANSWER_MAYBE = 2, ANSWER_YES = 4 };

enum witness { WITNESS_NONE, WITNESS_TAG, WITNESS_STATUS, WITNESS_AUDIO, WITNESS_LEG, WITNESS_PRESENCE, WITNESS_MARK };

/* Witnesses who contradict each other, or LiveKit's events: a bit each, and the words for it. All but the last two take confidence. */
#define DISPUTES(X) \
	X(DISPUTE_ANSWER, "one witness says that it was answered, another that it was not") \
	X(DISPUTE_CODE, "witnesses name results of different kinds") \
	X(DISPUTE_REFUSED, "a witness says that it was not answered, LiveKit's events that it was") \
	X(DISPUTE_ANSWERED, "a witness says that it was answered, LiveKit's events that it was not") \
	X(DISPUTE_WHO, "one witness heard a machine, another a person") \
	X(DISPUTE_TIME, "a witness names a time for the answer at which the leg was not there") \
	X(DISPUTE_END, "a witness says that the call had ended, but it went on")
enum {
#define X(e, text) e##_AT,
	DISPUTES(X)
#undef X
	DISPUTE_COUNT
};
enum {
#define X(e, text) e = 1 << e##_AT,
	DISPUTES(X)
#undef X
};
#define DISPUTES_OF_OUTCOME (DISPUTE_ANSWER | DISPUTE_CODE | DISPUTE_REFUSED | DISPUTE_ANSWERED | DISPUTE_WHO)
const char *dispute_text(unsigned index); /* index < DISPUTE_COUNT */

#define TESTIMONY_AGAINST 6

/* What the marks say about a leg, or about the room. Of two marks of one source about one thing the later one stands; of what different
 * sources say the one stands that should know best, and those that contradict it are in `against`. */
struct testimony {
	const struct fact_mark *answered, *refused, *who, *transferred, *ended; /* NULL = nobody says so */
	const struct fact_mark *answered_at; /* of those who say answered, the one whose time is the best; NULL = none has a time */
	enum code_class code;                /* of `refused` */
	unsigned disputes;                   /* DISPUTE_ bits */
	const struct fact_mark *against[TESTIMONY_AGAINST];
	size_t against_count;
};

struct seat {
	const struct fact_session *session;
	enum seat_role role;
	size_t party;     /* seats of one identity are one party; numbers from 0 */
	size_t leg;       /* index into legs, for ROLE_SIP */
	bool was_there;   /* not only aborted */
	bool superseded;  /* the same identity came back later */
	bool left;        /* a leave or an abort was seen */
	int64_t from_lo, from_hi, to_lo, to_hi;
	int64_t alive_ms; /* until when it was surely there, though its connection may have died without a word */
};

struct leg {
	const struct seat **seats; /* in the order of joining */
	size_t seat_count;
	enum direction direction;
	struct slice call_id, phone_number;
	int64_t joined_at_ms;             /* 0 = unknown */
	const struct fact_session *end;   /* the session whose leave is the leg's; NULL = none seen */
	int64_t gone_s;                   /* the second it was gone: its leave, else its own audio's end; 0 = unknown */
	int64_t to_lo, to_hi;             /* the same as an interval */
	uint32_t statuses;
	bool call_tag, has_attributes;
	/* was it answered, and who says so */
	enum answer answer;
	enum witness witness;
	bool bridge_only;                 /* the only witness is another leg that nobody answered */
	bool assumed;                     /* that the witness could be heard while the leg was there is not proved */
	bool let_in;                      /* inbound, and answered before it joined: LiveKit asked for a PIN */
	struct sighting answer_seen;      /* of the witness; none for a tag or a status */
	struct slice answer_by;           /* identity of who brought the audio */
	int64_t answer_lo, answer_hi;     /* when, as an interval; 0 = only bounded by the leg */
	struct testimony marks;
};

struct room_view {
	const struct facts *facts;
	struct seat *seats; /* sorted by identity, then joining */
	size_t seat_count, party_count;
	struct leg *legs;   /* in the order of joining */
	size_t leg_count;
	size_t agents, users, phones, strangers, aborted_users; /* seats that were there; users that only aborted */
	bool kept_open;     /* by an ingress, a bridge or somebody hidden: they are no guests, yet the room stays open for them */
	struct testimony marks; /* about no leg */
	const struct fact_mark *unseen_leg; /* a mark about a leg of which no event came; NULL = none */
	int64_t room_end_s; /* room_finished that nobody outlived, else a leave that says that the room ended; 0 = unknown */
	bool finished;      /* the former */
};

/* How far apart the moments are that two clocks or a subscription may swap: what lies nearer than this is not certain. */
#define LEGS_MARGIN_MS 500

/* LiveKit's rules for idle rooms: they close this long after the last guest's leave, and are looked at once a second. */
#define DEPARTURE_TIMEOUT_S 20 /* where the room does not say */
#define ROOM_CLOSE_SLACK_S 3
static inline int64_t departure_s(const struct facts *f) { return f->departure_timeout_s ? f->departure_timeout_s : DEPARTURE_TIMEOUT_S; }

/* Guests keep a room open; agents and recorders do not. */
static inline bool is_guest(enum seat_role r) { return r == ROLE_USER || r == ROLE_PHONE || r == ROLE_SIP || r == ROLE_STRANGER; }

/* Steps of room_view_make. */
void legs_answered(struct room_view *v);
void legs_hear_marks(struct room_view *v);

/* What became of a mark. */
struct mark_heard {
	const struct leg *leg; /* whom it is about; NULL: the room, or a leg of which no event came */
	bool superseded;       /* a later one of the same source about the same thing stands */
};
/* Of each of the facts' marks, in their order: ret[facts->mark_count]. */
void legs_marks_heard(const struct room_view *v, struct mark_heard *ret);

OC_NODISCARD int room_view_make(const struct facts *f, struct arena *a, struct room_view *ret);

/* Presence without a phone: two parties, at least one not an agent, at the same time. */
struct presence {
	enum answer answer;
	int64_t overlap_ms;       /* the longest time they were certainly together */
	int64_t with_agent_ms;    /* the longest that a user and an agent were */
	const struct seat *one, *other; /* the first two that surely met, else that may have */
	int64_t possible_ms;            /* when the first two may have met */
	const struct seat *end;   /* whose leave ended it; NULL = not seen */
};
OC_NODISCARD int presence_make(const struct room_view *v, struct arena *a, struct presence *ret);
