/* The parts of a call, as they are shown beside its verdict: who took part, with a verdict for every phone leg; what witnesses said and what became
 * of it; what must have existed and never came. A function of the facts alone. Pure; any thread that owns the facts. */
#pragma once

#include "core/legs.h"
#include "core/losses.h"

/* One party's part: a phone leg by its sip.callID, anybody else by participant SID. Recorders and the like are no parties. */
struct detail_leg {
	enum participant_kind kind; /* KIND_UNKNOWN: only tracks were seen of it */
	bool primary;               /* the call's verdict is this leg's */
	struct slice identity;
	struct slice *sids;         /* of its sessions, in the order of joining */
	size_t sid_count;
	const struct leg *phone;    /* NULL: no phone leg */
	enum sip_status status;     /* the furthest that was seen of a phone leg */
	int64_t joined_at_ms;       /* 0 = unknown */
	int64_t left_earliest_ms, left_latest_ms; /* 0 = there still, as far as is known */
	const struct fact_session *left; /* the session whose leave is the leg's; NULL = none seen */
	bool judged;                /* a phone leg that is over */
	struct verdict verdict;     /* where judged */
};

struct detail_witness {
	const struct fact_mark *mark;
	const struct detail_leg *leg; /* whom it is about; NULL: the room, or a leg of which no event came */
	bool superseded;              /* a later one of the same source about the same thing stands in its place */
	bool contradicted;            /* another witness, or LiveKit's events, say otherwise */
};

struct detail {
	struct detail_leg *legs; /* in the order of joining */
	size_t leg_count;
	struct detail_witness *witnesses; /* in the order of the moments they tell of */
	size_t witness_count;
	struct losses losses;
};

/* `ended`: the call is over, so legs of which no leave was seen are judged too. OC_NOMEM. */
OC_NODISCARD int detail_make(const struct facts *f, bool ended, struct arena *a, struct detail *ret);

/* `legs`, `witnesses` and `losses` into the current JSON object. NULL: nobody could read the facts, and all three are null. */
void detail_write_members(const struct detail *d, struct jsonw *w);
