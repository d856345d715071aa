/* What a witness's result of a dialed call means: SIP codes (RFC 3261, 3326, 8197, 8688), Q.850 causes (RFC 3398) and the texts that LiveKit
 * gives where it has no code. Pure and immutable: any thread. */
#pragma once

#include "core/event.h"

/* enum, name for the docs, what it is seen by */
#define CODE_CLASSES(X) \
	X(CODE_BUSY, "busy", "SIP code 486, 600") \
	X(CODE_DECLINED, "declined", "SIP code 603, 607") \
	X(CODE_FORBIDDEN, "forbidden", "SIP code 401, 402, 403, 407") \
	X(CODE_MEDIA, "media", "SIP code 488, 606") \
	X(CODE_INVALID, "invalid number", "SIP code 404, 410, 484, 604") \
	X(CODE_UNAVAILABLE, "unavailable", "SIP code 480") \
	X(CODE_TIMEOUT, "timeout", "SIP code 408") \
	X(CODE_RING_TIMEOUT, "ring timeout", "a result without a code: LiveKit's own time limit") \
	X(CODE_CANCELED, "canceled", "SIP code 487") \
	X(CODE_RATE_LIMITED, "rate limited", "a result whose text names a limit of calls, or SIP code 429") \
	X(CODE_BLOCKED, "blocked", "SIP code 608, or a result whose text says that the carrier blocked it") \
	X(CODE_TRUNK, "trunk", "SIP code 5xx") \
	X(CODE_UNREACHABLE, "unreachable", "a result without a code: nothing at the trunk's address answers") \
	X(CODE_OTHER, "other", "any other SIP code from 300 on, or a result of unknown text")
enum code_class {
	CODE_NONE = 0,
#define X(e, name, seen) e,
	CODE_CLASSES(X)
#undef X
};

/* CODE_NONE below 300. */
enum code_class code_class_of(int sip_code);
/* Of a mark of kind sip_result: its code, else what its text says. CODE_NONE: it was answered (2xx), or it is no result (1xx, nothing said). */
enum code_class code_class_of_mark(const struct event_mark *m);
/* A final code that the mark has or names in its text ("sip status: 486", "Q.850;cause=17"); 0 = none. */
int code_of_mark(const struct event_mark *m);
const char *code_class_text(enum code_class c); /* "SIP code 486, 600"; NULL for CODE_NONE */
