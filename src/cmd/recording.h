/* Recorded requests, as `send`, `verify` and `explain` read them. Three forms:
 *   one event      a JSON object with no "body"
 *   JSON lines     a capture: {"scenario":…} first, then {"headers":{…},"body":"…"} a line; or an event a line
 *   raw HTTP       request line, headers, blank line, body (verify only) */
#pragma once

#include "base/arena.h"
#include "base/error.h"

#define RECORDING_MAX_BYTES ((size_t)256 * 1024 * 1024)

struct recorded {
	struct slice body;
	struct slice authorization, hmac; /* header values; none where there were none */
	bool has_headers;
	size_t line;                      /* of the file, from 1 */
	int64_t received_ms;              /* receivedAtMs of a capture; 0 = not said */
	struct slice note;                /* what the reader should know of how it was read, or none */
};

/* JSON forms. OC_INVALID with a message that names the line; OC_NOT_FOUND when there is nothing in it. */
OC_NODISCARD int recording_read_json(struct slice text, struct arena *a, struct recorded **ret, size_t *ret_count, struct slice *ret_message);

/* Raw HTTP. OC_INVALID with a message. */
OC_NODISCARD int recording_read_http(struct slice text, struct arena *a, struct recorded *ret, struct slice *ret_message);
