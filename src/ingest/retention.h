/* Retention: calls that ended long ago go with all that is kept of them; payloads of events may go earlier. By `outcomed prune`, or by serve itself.
 *
 * A call's age is that of its end. Open calls stay, however old. Events of no call, unreadable or waiting in vain, go by the time they came. What
 * the host wrote (its call_logs rows, rows of a journal that was there before outcomed) is the host's to prune. */
#pragma once

#include "ingest/ingest.h"

struct retention_totals {
	int64_t looked_at;       /* calls */
	int64_t calls;           /* that went, or would */
	int64_t stripped;        /* calls whose payloads went, or would */
	int64_t left;            /* calls that the database did not let go */
	struct forgotten gone;
	bool interrupted;
};

struct retention_options {
	struct store_options store;
	int64_t calls_ms, payloads_ms; /* how long; 0 = for ever */
	struct slice user;             /* only this tenant's; none = everybody's */
	bool dry_run;
	/* On the caller's thread, between transactions; false ends it early. May be NULL, as may `refused`. */
	bool (*go_on)(void *context, const struct retention_totals *t);
	void (*refused)(void *context, struct slice room_sid, struct slice why);
	void *context;
};

/* 0 also when it was ended early. Else what the store says, with *ret_message in `a`; *ret counts what was done until then, all of which stays. */
OC_NODISCARD int retention_run(const struct retention_options *o, struct arena *a, struct retention_totals *ret, struct slice *ret_message);
