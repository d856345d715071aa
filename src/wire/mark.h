/* Marks: what the dialer, the agent, the carrier, the app or the watcher says about a call, as JSON. docs/MARKS.md is the contract.
 *
 * Two grammars of the same members. The posted one is for people: a member that it does not know, a value of the wrong type, a mark that
 * says nothing or does not say of which call are refused, with the member named. The kept one is what the journal holds: mark_encode writes
 * it, mark_decode reads it back to the same event, whatever order a database puts its members in; it also has what only the house says
 * (when it was taken in, whose it is, what the watcher knows). Thread-safe, no clock. */
#pragma once

#include "base/buf.h"
#include "core/facts.h"
#include "wire/decode.h"

#define MARK_MAX_BYTES 65536 /* of a posted body */
#define MARK_MAX_KEY 255     /* bytes of an Idempotency-Key */

/* A posted body. Sets type, type_name, room.sid or room.name, and of `mark` all but tenant and posted_ms; the id is left none.
 * OC_INVALID puts what is wrong, with the member's name, into *ret_message (UTF-8, in `a`). */
OC_NODISCARD int mark_parse(struct slice body, struct arena *a, struct event *ret, struct slice *ret_message);

/* Of an Idempotency-Key header: 1 to 255 printable ASCII characters, with or without the quotes of a structured field. *ret is without them. */
bool mark_key_is_valid(struct slice header, struct slice *ret);

/* "MK_" and a hash of whose it is and of the key, or, where that is none, of the content: what mark_encode writes of the event as parsed. */
OC_NODISCARD int mark_id(struct slice tenant, struct slice key, struct slice content, struct arena *a, struct slice *ret);

/* Does this JSON text name a posted mark by its id that is not among the marks of `seen`? Then it tells what who sees these facts is not to know.
 * NULL: nobody can read the facts. */
bool mark_unseen_is_named(struct slice json, const struct facts *seen);

/* The canonical JSON, appended. The event's id is not in it. */
void mark_encode(const struct event *e, struct buf *b);

/* Canonical JSON, by any hand that keeps JSON's meaning, to the event; the id is left none. OC_INVALID for anything else. */
OC_NODISCARD int mark_decode(struct slice json, struct arena *a, struct event *ret);

/* A journal row's payload to its event again, mark or webhook; `source` and `event_id` are the row's. What cannot be read has a cause, as in
 * decode_event. OC_NOMEM only. */
OC_NODISCARD int decode_kept(struct slice payload, struct slice source, struct slice event_id, const struct decode_options *options, struct arena *a,
	struct decoded *ret);
