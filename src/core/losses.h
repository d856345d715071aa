/* What must have existed and never came: events of LiveKit's that others presuppose. A loss is no fault of the call; it says how much of the
 * call we have seen. Pure; any thread that owns the facts. */
#pragma once

#include "base/jsonw.h"
#include "core/facts.h"

/* enum, name, words */
#define LOSSES(X) \
	X(LOSS_ROOM_STARTED, "room_started", "the room was never announced") \
	X(LOSS_ROOM_FINISHED, "room_finished", "the call is over, but nothing said that the room closed") \
	X(LOSS_JOINED, "participant_joined", "somebody left, or published, who never joined") \
	X(LOSS_LEFT, "participant_left", "somebody joined who never left, though the call is over or he came again") \
	X(LOSS_PARTICIPANT, "participant", "of somebody only tracks were seen") \
	X(LOSS_TRACK_PUBLISHED, "track_published", "a track ended that never began") \
	X(LOSS_TRACK_UNPUBLISHED, "track_unpublished", "a track never ended, though its owner left") \
	X(LOSS_EGRESS_ENDED, "egress_ended", "a recording began whose end has not come") \
	X(LOSS_LEG, "leg", "a witness names a phone leg of which no event came") \
	X(LOSS_HEARD, "heard", "a caller's leg became active, but nobody was seen whom it could hear") \
	X(LOSS_OVERFLOW, "overflow", "the call had more parts than are kept")
enum loss_kind {
#define X(e, name, words) e,
	LOSSES(X)
#undef X
	LOSS_COUNT
};

struct loss {
	enum loss_kind kind;
	struct slice participant_sid, identity; /* whose; none where it is the room's */
	struct slice id;                        /* of the track, the egress or the sip.callID; none elsewhere */
};

struct losses {
	struct loss *items; /* in the order of kinds, then of the facts */
	size_t count;
	unsigned kinds; /* bit (1 << enum loss_kind) for each that occurs */
};

/* `ended`: the call is over. While it is open only what can come no more counts as lost. OC_NOMEM. */
OC_NODISCARD int losses_find(const struct facts *f, bool ended, struct arena *a, struct losses *ret);

const char *loss_name(enum loss_kind k);
const char *loss_words(enum loss_kind k);

/* An array of {loss, says, participantSid, identity, id} as the value of the current key. */
void losses_write(const struct losses *l, struct jsonw *w);
