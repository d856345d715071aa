/* When a call was, for matching by room name: docs/ARCHITECTURE.md, "Whose row is it?" and "Which call does an event belong to?".
 * Private to the SQLite store; the contract tests hold PostgreSQL's SQL to the same. Pure. */
#pragma once

#include "store/store.h"

#define SPAN_SLACK_MS 2000         /* give or take, at the start: createdAt is floored to the second and clocks differ */
#define CLAIM_WINDOW_MS 86400000   /* a host's row is written within a day of its call */
#define CLAIM_AFTER_END_MS 60000   /* a row written after the end waits for a next call of the name to claim it */
#define LATE_ROW_AGE_MS 604800000  /* store_due looks at host rows of the last seven days */
#define LATE_ROW_PAUSE_MS 5000     /* and at most this often */

struct call_span {
	int64_t start_ms, end_ms; /* 0 = unknown; an end of 0 is open */
};

/* The smallest start known: stored, or of this batch (0 = none). */
static inline struct call_span call_span(const struct call_row *row, int64_t start_s)
{
	struct call_span s = { row->room_started_at_ms, row->ended_at_ms };
	if (start_s > 0 && (s.start_ms == 0 || start_s * 1000 < s.start_ms))
		s.start_ms = start_s * 1000;
	return s;
}

static inline bool call_span_is_open_at(struct call_span s, int64_t at_s, int64_t late_s)
{
	return s.start_ms <= at_s * 1000 + SPAN_SLACK_MS && (s.end_ms == 0 || s.end_ms >= (at_s - late_s) * 1000);
}

/* start_s of a room in the touch (sorted by SID), 0 where it is not in there. */
static inline int64_t touch_start_s(const struct store_touch *t, struct slice room_sid)
{
	size_t low = 0, high = t->room_count;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int c = slice_cmp(t->room_sids[middle], room_sid);
		if (c == 0)
			return t->start_s[middle];
		if (c < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return 0;
}
