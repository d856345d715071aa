/* What comes in a request target, made safe: percent-encoding (RFC 3986), query strings, list cursors. Pure. Any thread. */
#pragma once

#include "base/arena.h"
#include "base/error.h"
#include "base/slice.h"
#include "store/store.h"
#include "wire/rfc3339.h"

/* A parameter that a path knows. In a query string "+" stands for a space (HTML forms), but not in numbers and times, where it is a plus. */
struct query_parameter {
	const char *name;
	bool plus_is_plus;
};

enum query_problem { QUERY_OK, QUERY_UNKNOWN, QUERY_REPEATED, QUERY_MALFORMED, QUERY_NOMEM };

/* Fills values[i] for names[i], none where absent. On a problem *ret_name is the parameter's name as received (at most 100 bytes). */
enum query_problem query_parse(struct slice query, const struct query_parameter *known, size_t count, struct arena *a,
	struct slice *values, struct slice *ret_name);

/* OC_INVALID: a "%" that is not followed by two hex digits. */
OC_NODISCARD int percent_decode(struct slice text, bool plus_is_space, struct arena *a, struct slice *ret);

/* A cursor says after which row the next page begins. It is bound to the tenant and the filters of the list that gave it. */
OC_NODISCARD int cursor_encode(const struct list_filter *f, int64_t sort_key, struct slice id, struct arena *a, struct slice *ret);
/* Sets cursor_ms and cursor_id of *f. OC_INVALID: not one of ours, or of another tenant or other filters. OC_NOMEM. */
OC_NODISCARD int cursor_decode(struct slice text, struct arena *a, struct list_filter *f);
/* The same for a call's journal. The cursor is bound to the tenant and to the call as it was asked for. */
OC_NODISCARD int events_cursor_encode(const struct events_query *q, int64_t position, struct slice event_id, struct arena *a, struct slice *ret);
OC_NODISCARD int events_cursor_decode(struct slice text, struct arena *a, struct events_query *q);
