/* Taking away what is kept, a little at a time and beside the daemons that serve: what prune, erase and serve's own retention share.
 *
 * Calls are locked as a writer locks them, looked at once more under the lock, and taken away in transactions of at most FORGET_EVENTS events, with
 * pauses in proportion to the time that each one took. A store that is busy or away is waited for; calls that it refuses to let go (a foreign key of
 * the host's) are halved until the one stands alone. Private to src/ingest; one thread. */
#pragma once

#include "ingest/ingest.h"

#define FORGET_EVENTS 500

struct forgetting {
	struct store *store;
	struct arena *page, *work; /* of a page of rooms; of one transaction */
	bool (*go_on)(void *context);
	void (*refused)(void *context, struct slice room_sid, struct slice why);
	void *context;
	/* may this call go, as it is now that it is locked? NULL: every one */
	bool (*may_go)(void *context, const struct call_row *row);
	const struct journal_row *note; /* put into the journal by a change where it is not yet, instead of making the change; NULL: nothing */
	struct forgotten gone;
	int64_t calls, left; /* calls that went; that the store did not let go */
	bool interrupted;
};

OC_NODISCARD int forgetting_open(struct forgetting *f, const struct store_options *o, struct arena *message_arena, struct slice *ret_message);
void forgetting_close(struct forgetting *f);
bool forgetting_goes_on(struct forgetting *f);

typedef int (*forgetting_fn)(struct forgetting *f, void *argument);

/* One question in a snapshot; asked again where the store was busy. */
OC_NODISCARD int forgetting_ask(struct forgetting *f, forgetting_fn question, void *argument);
/* Changes (or, where it is not there yet, the note) in short transactions of their own, without calls, until the function gives 0: 1 means that there is more. */
OC_NODISCARD int forgetting_change(struct forgetting *f, forgetting_fn change, void *argument);
/* A step outside of a transaction, again where the store was busy. */
OC_NODISCARD int forgetting_patiently(struct forgetting *f, forgetting_fn step, void *argument);
/* Changes rows of call_facts under their locks: the function sets what is to be written, as for store_batch_commit. */
OC_NODISCARD int forgetting_tidy(struct forgetting *f, const struct slice *sids, size_t count, int (*tidy)(void *context, struct call_row *row));
/* These calls, or only their events' payloads. */
OC_NODISCARD int forgetting_calls(struct forgetting *f, const struct slice *sids, size_t count, bool payloads_only);
