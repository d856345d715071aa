/* A webhook's body to a struct event. protojson as LiveKit's own SDKs read it: int64 as string or number (also 1.79e9),
 * enums as name or number, camelCase or snake_case keys, null for any field, unknown fields and enum values ignored,
 * duplicate keys refused. Thread-safe. Source: protobuf-go encoding/protojson; livekit_webhook.proto. */
#pragma once

#include "base/arena.h"
#include "base/error.h"
#include "core/event.h"

struct decode_options {
	const struct slice *tenant_keys; /* names looked for in room metadata and attributes, first found wins */
	size_t tenant_key_count;
	bool iso_times;                  /* with the older module's signature: createdAt may be an ISO 8601 text */
};

/* Why an event was kept aside: label, enum, text for "errorMessage". */
#define DECODE_CAUSES(X) \
	X("ok", DECODE_OK, "") \
	X("not_json", DECODE_NOT_JSON, "the body is not JSON") \
	X("not_object", DECODE_NOT_OBJECT, "the body is no JSON object") \
	X("duplicate_key", DECODE_DUPLICATE_KEY, "the body has a key twice") \
	X("bad_utf8", DECODE_BAD_UTF8, "the body is not UTF-8") \
	X("nul_in_text", DECODE_NUL, "a text has a NUL character in it") \
	X("no_id", DECODE_NO_ID, "the event has no id") \
	X("no_event", DECODE_NO_EVENT, "the event has no type") \
	X("wrong_type", DECODE_WRONG_TYPE, "a field has the wrong type") \
	X("out_of_range", DECODE_RANGE, "a number is out of range") \
	X("too_long", DECODE_TOO_LONG, "a field is too long") \
	X("too_deep", DECODE_TOO_DEEP, "the body is nested too deeply") \
	X("too_many", DECODE_TOO_MANY, "the body has too many values")
enum decode_cause {
#define X(name, e, text) e,
	DECODE_CAUSES(X)
#undef X
};
const char *decode_cause_name(enum decode_cause c);
const char *decode_cause_text(enum decode_cause c);

struct decoded {
	struct event event;       /* as far as it could be read: id, type_name, room also where cause is not ok */
	enum decode_cause cause;
	struct slice cause_field; /* the field's path, such as participant.joinedAt, or none */
	/* The body as JSON text that any jsonb takes, secrets removed (wire/redact.h); none when the body is not such JSON. */
	struct slice payload;
};

/* event.id is always set: LiveKit's, or "sha256:" and the body's hash in hex. So is event.type_name: as received, or "unknown". Slices point into `a` or `body`. OC_NOMEM only. */
OC_NODISCARD int decode_event(struct slice body, const struct decode_options *options, struct arena *a, struct decoded *ret);

/* createdAt etc. of a payload that the journal kept: the same as decode_event for a payload that is ok. */
