/* Erasing: everything that is kept of a phone number, or of a tenant, goes, and a look into every text of every table shows it.
 *
 * A number: each call that has it anywhere goes whole, whoever's it is, open ones too. A tenant: all of its calls, and its marks about others' calls,
 * also out of their facts. Of call_logs, rows that we inserted go; in the host's the columns go that we fill; the host's own are named and stay.
 * Beside the daemons that serve, in the transactions and with the pauses of retention. Idempotent. One thread. */
#pragma once

#include "ingest/ingest.h"

struct erase_totals {
	int64_t looked_at, calls, open_calls; /* open_calls: that went before they had ended; what still comes of them is new */
	int64_t left;                         /* calls that the database did not let go */
	struct forgotten gone;
	struct person_place *places;          /* the look afterwards, in the arena; NULL: it did not come to that */
	size_t place_count;
	int64_t ours_left, host_left;         /* rows of ours, of the host's, that have the person still */
	bool rewritten;                       /* SQLite: the file was written anew */
	bool bytes_left;                      /* SQLite: the file has the number's digits still */
	int64_t spool_removed;                /* events that waited in the spool */
	int64_t spool_waiting;                /* events that wait in the spool of a process that runs, whoever's: they go to the database, and erase is wanted again */
	bool interrupted;
};

struct erase_options {
	struct store_options store;
	struct person person;
	const char *spool; /* its directory; NULL: none */
	bool dry_run; /* only looks */
	bool (*go_on)(void *context);
	void (*refused)(void *context, struct slice room_sid, struct slice why);
	void *context;
};

/* 0 also when it was ended early. Else what the store says, with *ret_message in `a`. */
OC_NODISCARD int erase_run(const struct erase_options *o, struct arena *a, struct erase_totals *ret, struct slice *ret_message);
