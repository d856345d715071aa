/* Some calls made anew from their journal: the middle of a replay. Private to src/ingest and its tests.
 *
 * Looking and mending go the same way; they differ in the transaction. A look reads all of one moment, takes no lock and writes nothing. A mend
 * locks the calls as a batch does, so that it and the writers of daemons take turns, and commits where anything came out differently. Runs on the
 * replay's thread. */
#pragma once

#include "ingest/internal.h"
#include "ingest/replay.h"

/* An event that the stored facts name. */
struct named_event {
	struct slice id;
	bool found; /* in the journal */
};

/* What came of a call. */
struct rebuilt {
	struct call_row was;        /* as stored; room_sid is always set */
	const struct call_row *now; /* as rebuilt */
	unsigned changes;           /* bits: 1 << enum replay_change; 0 also where it is left alone */
	enum replay_skip skip;      /* REPLAY_NOT_SKIPPED, or why it is left alone */
	struct slice detail;        /* the event that is why, or none */
	int64_t events;             /* of its journal */
	int64_t still_aside;        /* of them, kept aside as before */
	/* while it is made */
	bool lacks_legs;            /* call_legs does not have all of its legs */
	struct slice user_id;       /* whose its events are, as far as they agree */
	bool users_differ;
	struct facts *stored;       /* NULL: none, or none that can be read */
	struct named_event *named;  /* sorted */
	size_t named_count;
	struct bind_row *taken;     /* events that were aside and count now */
	size_t taken_count, taken_size;
};

struct rebuild_options {
	unsigned rules;
	bool mend;         /* else only look */
	bool settled_only; /* what was kept aside stays so: for a call that the store refuses otherwise */
	int64_t *held_ns;  /* added to: how long a mend had the calls locked; may be NULL */
};

/* On success *ret, by room SID, lives until the writer's next attempt; committed is what has changes. On an error nothing was committed and the
 * transaction is over; OC_DATA also for a mend of several calls one of which is to be left alone: mend them by themselves. */
OC_NODISCARD int rebuild_calls(struct writer *w, const struct rebuild_options *o, const struct slice *sids, size_t count, struct rebuilt **ret,
	size_t *ret_count);

/* Events that lay aside without a room and can be read today go to their calls; *ret_taken counts them. Looking, those that name a room. */
OC_NODISCARD int rebuild_strays(struct writer *w, const struct journal_row *rows, size_t count, bool mend, size_t *ret_taken);
