/* The watcher's pure half: what is worth asking LiveKit about a call, and what its answers tell. No I/O, no clock.
 *
 * watch_wants says from when on an answer would help. It looks at facts alone, so it says the same until something new is known; how often
 * to ask again, how to back off and when to give up is the caller's. watch_learn turns one reply into marks (EVENT_MARK, source watcher) or
 * into nothing: an absence counts only when two replies WATCH_CONFIRM_MS apart agree on it, for a restarting server shows empty rooms. */
#pragma once

#include "core/verdict.h"

#define WATCH_QUIET_MS 120000     /* an open call of which nothing was heard for so long is asked about */
#define WATCH_EGRESS_MS 60000     /* a recording has so long after the call's end to be announced */
#define WATCH_CONFIRM_MS 15000
#define WATCH_LEGS 16             /* legs of a call that are remembered; of more than these less is learnt */

/* What to ask: a bit each. */
enum {
	WATCH_PARTICIPANTS = 1, /* ListParticipants: was the leg answered, is it there still? */
	WATCH_ROOM = 2,         /* ListRooms by name: is there a room with this SID still? */
	WATCH_EGRESS = 4,       /* ListEgress by room name: how did the recordings end? */
};

/* From when on each is worth asking, milliseconds; 0 = not. */
struct watch {
	int64_t participants_ms, room_ms, egress_ms;
};

/* `v` is the facts' present verdict. OC_NOMEM. */
OC_NODISCARD int watch_wants(const struct facts *f, const struct verdict *v, struct arena *a, struct watch *ret);

int64_t watch_next_ms(const struct watch *w);              /* the first of them; 0 = nothing to ask */
unsigned watch_due(const struct watch *w, int64_t now_ms); /* bits of what is to be asked by now */

/* A reply of ListParticipants (or of ListRooms that has no room of this SID). Times are the watcher's clock's. Give only replies that
 * LiveKit gave (HTTP 200, or not_found for a room that is gone): what cannot be reached tells nothing. LiveKit answers ListParticipants of a
 * room that is gone with an empty list, so room_gone is ListRooms' to say; with it the participants are none. */
struct watch_reply {
	int64_t asked_ms, got_ms; /* when the request went out, and when its answer had come */
	bool room_gone;
	const struct event_participant *participants;
	size_t participant_count;
};

/* What earlier replies about one room showed; zeroed before the first one. Losing it costs precision, nothing else. */
struct watch_memory {
	struct watch_leg {
		char call_id[EVENT_MAX_ID];
		size_t call_id_bytes;
		int64_t unanswered_ms;                /* the last reply that showed it unanswered was asked for then; 0 = none */
		int64_t there_ms, missing_ms;         /* the last that showed it; the first of those since that did not; 0 = none */
		enum sip_status status;
		bool answered;
	} legs[WATCH_LEGS];
	size_t leg_count;
	int64_t room_there_ms, room_missing_ms;
};

/* Marks that this reply adds to what the facts have: `answered` and `ended` of a leg (mark.sip_call_id), `ended` of the room. Each has
 * room.sid and room.name, created_at_s and posted_ms of got_ms, and an id made of room SID, kind and leg: two watchers' findings are one. */
OC_NODISCARD int watch_learn(const struct facts *f, const struct watch_reply *reply, struct watch_memory *memory, struct arena *a,
	struct event **ret, size_t *ret_count);
