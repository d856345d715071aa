/* What happened, in the sender's order of time: deliveries of a recording, or rows of a journal, told apart by call and folded into facts. Pure but
 * for what it is given; main thread only. */
#pragma once

#include "base/arena.h"
#include "base/error.h"
#include "core/facts.h"
#include "store/store.h"
#include "wire/decode.h"

/* An event as somebody told it. */
struct told {
	struct decoded decoded;
	struct slice source;        /* livekit, hmac, mark, watcher */
	struct slice error;         /* why it was kept aside, or none */
	int64_t received_ms;        /* 0 = not known */
	int64_t at_ms;              /* the best that is known of when it happened */
	bool exact;                 /* to the millisecond, by the sender; else anywhere in its second */
	size_t order;               /* of arrival */
	bool again;                 /* an event of this id was told before */
};

struct timeline {
	struct facts *facts;
	struct told **rows;         /* by at_ms, then by order; each event once */
	size_t count, size;
};

struct told_list {
	struct told *items;
	size_t count, size;
};

/* A recording, one event, or rows of a journal: JSON objects a line, an array of them, or a page of GET /api/calls/{id}/events. Adds to the list.
 * OC_INVALID, OC_NOT_FOUND with a message. */
OC_NODISCARD int told_read(struct slice text, const struct decode_options *o, struct arena *a, struct told_list *list, struct slice *ret_message);

/* A row of the journal. */
OC_NODISCARD int told_add_row(const struct event_view *row, const struct decode_options *o, struct arena *a, struct told_list *list);

/* Only order and time, for facts that are known already. */
OC_NODISCARD int timeline_of_call(struct told_list *list, struct facts *facts, struct arena *a, struct timeline *ret);

#define TIMELINES_MOST 200

/* A timeline a call, in the order of their beginnings; OC_FULL when there are more than TIMELINES_MOST. What names no call by its SID goes to the one that was open then; *ret_left counts what belongs to
 * none or cannot be read. */
OC_NODISCARD int timelines_make(struct told_list *list, struct arena *a, struct timeline **ret, size_t *ret_count, size_t *ret_left);
