/* LiveKit's server API: Twirp over HTTP, JSON both ways. Makes requests with their token and reads the replies; sends nothing itself.
 *
 * An absence in a reply is a finding, so whatever is not exactly what LiveKit answers (another status, another content type, JSON that is cut
 * off) is no reply. What participants write about themselves can make their own entry unreadable, but nobody else's. protojson as in decode.h.
 * Sources: livekit pkg/service/auth.go:71-77,184-219 (bearer token, grants), protocol livekit_room.proto, livekit_egress.proto; Twirp's errors:
 * twitchtv/twirp docs/errors. Thread-safe, no clock. */
#pragma once

#include "wire/decode.h"
#include "wire/signature.h"

#define LIVEKIT_TOKEN_S 60            /* how long a token is good */
#define LIVEKIT_MAX_REPLY (8u << 20) /* bytes of a reply that are looked at */
#define LIVEKIT_MAX_URL 1024

/* enum, path behind /twirp/ */
#define LIVEKIT_METHODS(X) \
	X(LIVEKIT_LIST_ROOMS, "livekit.RoomService/ListRooms") \
	X(LIVEKIT_LIST_PARTICIPANTS, "livekit.RoomService/ListParticipants") \
	X(LIVEKIT_LIST_EGRESS, "livekit.Egress/ListEgress")
enum livekit_method {
#define X(e, path) e,
	LIVEKIT_METHODS(X)
#undef X
};

/* The base of LIVEKIT_URL: ws becomes http, wss https, slashes at the end go. OC_INVALID for anything that is no such URL of a host. */
OC_NODISCARD int livekit_base_url(struct slice url, struct arena *a, struct slice *ret);

struct livekit_request {
	struct slice path;  /* from /twirp/ on */
	struct slice token; /* for "Authorization: Bearer " */
	struct slice body;
};

/* `room` is a name: of the one room to list (none = all, with LIVEKIT_LIST_ROOMS), or whose participants or egresses are asked for.
 * OC_INVALID where a room is missing or the key has no id. */
OC_NODISCARD int livekit_request_make(enum livekit_method method, struct slice room, const struct signing_key *key, int64_t now_s, struct arena *a,
	struct livekit_request *ret);

/* What became of a request, by name for metrics and log, and what to do about it. Everything but OK and NOT_FOUND tells nothing about a call. */
#define LIVEKIT_ANSWERS(X) \
	X("ok", LIVEKIT_OK, "") \
	X("not_found", LIVEKIT_NOT_FOUND, "") \
	X("denied", LIVEKIT_DENIED, "LiveKit refuses the API key: compare LIVEKIT_API_KEY and LIVEKIT_API_SECRET with its keys, and the clocks (NTP)") \
	X("no_api", LIVEKIT_NO_API, "nothing there speaks LiveKit's API: is LIVEKIT_URL the server's own address?") \
	X("limited", LIVEKIT_LIMITED, "LiveKit or a proxy wants fewer requests: raise OUTCOMED_WATCH_INTERVAL or lower OUTCOMED_WATCH_RATE") \
	X("unavailable", LIVEKIT_UNAVAILABLE, "LiveKit or a proxy in front of it is failing: see its log") \
	X("redirected", LIVEKIT_REDIRECTED, "redirects are not followed: set LIVEKIT_URL to the address that answers") \
	X("refused", LIVEKIT_REFUSED, "LiveKit refuses the request: is it older than v1.5?") \
	X("garbage", LIVEKIT_GARBAGE, "the answer is not LiveKit's: is LIVEKIT_URL the server's own address, and does a proxy change replies?") \
	X("too_large", LIVEKIT_TOO_LARGE, "the answer is larger than 8 MiB") \
	X("unreachable", LIVEKIT_UNREACHABLE, "no connection: is LIVEKIT_URL right, is LiveKit up, does a firewall stand between?") \
	X("untrusted", LIVEKIT_UNTRUSTED, "the TLS certificate is not trusted: check its name, its issuer and its time") \
	X("timeout", LIVEKIT_TIMEOUT, "no answer in time: is LiveKit overloaded, or does a firewall drop packets?") \
	X("broken", LIVEKIT_BROKEN, "the connection broke before the answer was whole")
enum livekit_answer {
#define X(name, e, mend) e,
	LIVEKIT_ANSWERS(X)
#undef X
};
#define X(name, e, mend) +1
enum { LIVEKIT_ANSWER_COUNT = 0 LIVEKIT_ANSWERS(X) };
#undef X

extern const char *const livekit_answer_names[LIVEKIT_ANSWER_COUNT];
const char *livekit_answer_mend(enum livekit_answer x);

/* A whole HTTP reply. */
struct livekit_reply {
	long status;
	struct slice content_type, body;
};

/* By status, content type and Twirp's error code. OK says only that the body may be looked at. */
enum livekit_answer livekit_answer_of(const struct livekit_reply *reply, struct arena *a);
/* Twirp's `msg`, or the beginning of a plain text, for people; none where there is nothing fit to show. */
struct slice livekit_error_text(const struct livekit_reply *reply, struct arena *a);

/* The bodies of OK. OC_INVALID: not what LiveKit answers, conclude nothing. Strings point into `body` or `a`. */

/* The SIDs of the rooms. */
OC_NODISCARD int livekit_read_rooms(struct slice body, struct arena *a, struct slice **ret, size_t *ret_count);

/* Those that are in the room; one that is just leaving (DISCONNECTED) is not among them. *ret_complete: every entry could be read; else nothing
 * follows from who is not there. */
OC_NODISCARD int livekit_read_participants(struct slice body, const struct decode_options *options, struct arena *a,
	struct event_participant **ret, size_t *ret_count, bool *ret_complete);

/* An egress, as the egress_ended event that LiveKit would have sent about it. */
struct livekit_egress {
	struct slice egress_id, room_sid;
	enum egress_status status;
	struct slice event; /* JSON of the event; none while the egress goes on */
};
/* Entries that cannot be read are left out. The event's id is made from the egress id and createdAt from the egress's own end, so that whoever finds it finds the same event. */
OC_NODISCARD int livekit_read_egresses(struct slice body, struct arena *a, struct livekit_egress **ret, size_t *ret_count);
