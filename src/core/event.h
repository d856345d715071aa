/* A decoded event: one webhook delivery of LiveKit's, or a mark. What wire/ made safe and core/ reasons about.
 * All slices point into the arena of whoever decoded it, are valid UTF-8 without NUL and within the limits below.
 * An absent value is a none slice or 0. Times: _s seconds, _ms milliseconds, _us microseconds, _ns nanoseconds,
 * all since the epoch, all the *sender's* clock.
 * Source: livekit_webhook.proto, livekit_models.proto, livekit_egress.proto (protocol d74e7cdb9835). */
#pragma once

#include "base/slice.h"

/* name in LiveKit's JSON, enum */
#define EVENT_TYPES(X) \
	X("room_started", EVENT_ROOM_STARTED) \
	X("room_finished", EVENT_ROOM_FINISHED) \
	X("participant_joined", EVENT_PARTICIPANT_JOINED) \
	X("participant_left", EVENT_PARTICIPANT_LEFT) \
	X("participant_connection_aborted", EVENT_PARTICIPANT_ABORTED) \
	X("track_published", EVENT_TRACK_PUBLISHED) \
	X("track_unpublished", EVENT_TRACK_UNPUBLISHED) \
	X("egress_started", EVENT_EGRESS_STARTED) \
	X("egress_updated", EVENT_EGRESS_UPDATED) \
	X("egress_ended", EVENT_EGRESS_ENDED) \
	X("ingress_started", EVENT_INGRESS_STARTED) \
	X("ingress_ended", EVENT_INGRESS_ENDED) \
	X("agent_job_started", EVENT_AGENT_JOB_STARTED) \
	X("agent_job_ended", EVENT_AGENT_JOB_ENDED) \
	X("mark", EVENT_MARK)

enum event_type {
	EVENT_UNKNOWN = 0, /* a type newer than this binary: kept, folded into nothing */
#define X(name, e) e,
	EVENT_TYPES(X)
#undef X
};

/* DisconnectReason; numbers are LiveKit's. An unknown name or number decodes as REASON_UNKNOWN. */
#define DISCONNECT_REASONS(X) \
	X(0, "UNKNOWN_REASON", REASON_UNKNOWN) \
	X(1, "CLIENT_INITIATED", REASON_CLIENT_INITIATED) \
	X(2, "DUPLICATE_IDENTITY", REASON_DUPLICATE_IDENTITY) \
	X(3, "SERVER_SHUTDOWN", REASON_SERVER_SHUTDOWN) \
	X(4, "PARTICIPANT_REMOVED", REASON_PARTICIPANT_REMOVED) \
	X(5, "ROOM_DELETED", REASON_ROOM_DELETED) \
	X(6, "STATE_MISMATCH", REASON_STATE_MISMATCH) \
	X(7, "JOIN_FAILURE", REASON_JOIN_FAILURE) \
	X(8, "MIGRATION", REASON_MIGRATION) \
	X(9, "SIGNAL_CLOSE", REASON_SIGNAL_CLOSE) \
	X(10, "ROOM_CLOSED", REASON_ROOM_CLOSED) \
	X(11, "USER_UNAVAILABLE", REASON_USER_UNAVAILABLE) \
	X(12, "USER_REJECTED", REASON_USER_REJECTED) \
	X(13, "SIP_TRUNK_FAILURE", REASON_SIP_TRUNK_FAILURE) \
	X(14, "CONNECTION_TIMEOUT", REASON_CONNECTION_TIMEOUT) \
	X(15, "MEDIA_FAILURE", REASON_MEDIA_FAILURE) \
	X(16, "AGENT_ERROR", REASON_AGENT_ERROR)

enum disconnect_reason {
#define X(number, name, e) e = number,
	DISCONNECT_REASONS(X)
#undef X
};

/* ParticipantInfo.Kind; absent in JSON is STANDARD. */
#define PARTICIPANT_KINDS(X) \
	X(0, "STANDARD", KIND_STANDARD) \
	X(1, "INGRESS", KIND_INGRESS) \
	X(2, "EGRESS", KIND_EGRESS) \
	X(3, "SIP", KIND_SIP) \
	X(4, "AGENT", KIND_AGENT) \
	X(7, "CONNECTOR", KIND_CONNECTOR) \
	X(8, "BRIDGE", KIND_BRIDGE)

enum participant_kind {
	KIND_UNKNOWN = -1, /* the event did not carry a full participant (track events) */
#define X(number, name, e) e = number,
	PARTICIPANT_KINDS(X)
#undef X
	KIND_HIDDEN = 98, /* STANDARD or AGENT whose permission says hidden or recorder: the others neither see nor hear it */
	KIND_OTHER = 99,  /* a number or name newer than this binary */
};

/* sip.callStatus of a kind SIP participant, in the order of progress. */
#define SIP_STATUSES(X) \
	X(1, "dialing", STATUS_DIALING) \
	X(2, "ringing", STATUS_RINGING) \
	X(3, "automation", STATUS_AUTOMATION) \
	X(4, "active", STATUS_ACTIVE) \
	X(5, "hangup", STATUS_HANGUP)

enum sip_status {
	STATUS_NONE = 0,
#define X(number, name, e) e = number,
	SIP_STATUSES(X)
#undef X
};

/* roomEndReason of room_finished (newer servers). */
#define ROOM_END_REASONS(X) \
	X(0, "ROOM_END_UNKNOWN", ROOM_END_UNKNOWN) \
	X(1, "ROOM_END_API_DELETE", ROOM_END_API_DELETE) \
	X(2, "ROOM_END_IDLE_TIMEOUT", ROOM_END_IDLE_TIMEOUT) \
	X(3, "ROOM_END_SERVER_SHUTDOWN", ROOM_END_SERVER_SHUTDOWN) \
	X(4, "ROOM_END_SUPERSEDED", ROOM_END_SUPERSEDED) \
	X(5, "ROOM_END_OPEN_FAILED", ROOM_END_OPEN_FAILED)

enum room_end_reason {
#define X(number, name, e) e = number,
	ROOM_END_REASONS(X)
#undef X
};

#define EGRESS_STATUSES(X) \
	X(0, "EGRESS_STARTING", EGRESS_STARTING) \
	X(1, "EGRESS_ACTIVE", EGRESS_ACTIVE) \
	X(2, "EGRESS_ENDING", EGRESS_ENDING) \
	X(3, "EGRESS_COMPLETE", EGRESS_COMPLETE) \
	X(4, "EGRESS_FAILED", EGRESS_FAILED) \
	X(5, "EGRESS_ABORTED", EGRESS_ABORTED) \
	X(6, "EGRESS_LIMIT_REACHED", EGRESS_LIMIT_REACHED)

enum egress_status {
#define X(number, name, e) e = number,
	EGRESS_STATUSES(X)
#undef X
};

/* What a mark says (POST /api/marks, the watcher). The `source` ranks witnesses, see facts.h. */
#define MARK_KINDS(X) \
	X("answered", MARK_ANSWERED) \
	X("sip_result", MARK_SIP_RESULT) \
	X("machine", MARK_MACHINE) \
	X("human", MARK_HUMAN) \
	X("transferred", MARK_TRANSFERRED) \
	X("ended", MARK_ENDED) \
	X("note", MARK_NOTE)

enum mark_kind {
	MARK_NONE = 0,
#define X(name, e) e,
	MARK_KINDS(X)
#undef X
};

#define MARK_SOURCES(X) \
	X("dialer", MARK_SOURCE_DIALER) \
	X("agent", MARK_SOURCE_AGENT) \
	X("carrier", MARK_SOURCE_CARRIER) \
	X("app", MARK_SOURCE_APP) \
	X("watcher", MARK_SOURCE_WATCHER)

enum mark_source {
	MARK_SOURCE_NONE = 0,
#define X(name, e) e,
	MARK_SOURCES(X)
#undef X
};

/* Limits that wire/ enforces on what core/ sees; longer values quarantine the event. */
#define EVENT_MAX_ID 200       /* bytes of any id, sid, status */
#define EVENT_MAX_NAME 1024    /* bytes of a room name or identity */
#define EVENT_MAX_VALUE 2048   /* bytes of a phone number, tenant, location, text */

#define EVENT_MAX_S INT64_C(253402300799) /* the last second of the year 9999; times are from 0 (unknown) to here */

struct event_room {
	struct slice sid, name;
	int64_t creation_time_ms; /* creationTimeMs, else creationTime * 1000 */
	uint32_t empty_timeout_s, departure_timeout_s;
	struct slice tenant; /* from the room's metadata JSON, by the configured keys */
};

struct event_participant {
	struct slice sid, identity;
	enum participant_kind kind; /* KIND_UNKNOWN for track events, that carry sid and identity only */
	int64_t joined_at_ms;       /* joinedAtMs, else joinedAt * 1000; a session's creation, before ACTIVE */
	bool joined_at_whole_s;     /* only joinedAt was there: the moment is anywhere in that second */
	enum disconnect_reason disconnect_reason;
	/* attributes; sip_* are set only for kind SIP, tenant only for kinds SIP and AGENT: others write their own */
	struct slice sip_call_id, sip_rule_id, sip_trunk_id, sip_phone_number, sip_trunk_phone_number;
	enum sip_status sip_status;
	bool sip_call_tag; /* sip.callTag is there; evidence of an answer for outbound legs only */
	struct slice tenant;
};

struct event_track {
	struct slice sid;
	bool audio;           /* type AUDIO, which protojson leaves out */
	int64_t published_us; /* version.unixMicro: when the server took the track; 0 = not said */
};

struct event_egress {
	struct slice egress_id;
	enum egress_status status;
	int64_t started_at_ns, ended_at_ns;
	struct slice location; /* of the first file result (or the deprecated `file`), else none */
	struct slice error;
};

struct event_mark {
	enum mark_kind kind;
	enum mark_source source;
	int64_t at_ms; /* when it happened; 0 = not said */
	int64_t within_ms; /* it happened in (at_ms - within_ms, at_ms]; 0 = exactly then */
	int64_t posted_ms; /* when it was taken in: of two marks of one source about one thing the later one stands; 0 = not said */
	int sip_code;  /* 100..699, or 0 */
	struct slice sip_text, value;
	struct slice sip_call_id, call_id; /* which leg or call is meant, as far as the sender said */
	struct slice tenant; /* who posted it; none = one who may speak for every tenant */
};

struct event {
	struct slice id; /* LiveKit's, or of the mark, or made from the body's hash */
	enum event_type type;
	struct slice type_name; /* as received, also for unknown types */
	int64_t created_at_s;   /* whole seconds, floored by the sender; 0 = not said */
	struct event_room room; /* sid and name also from egressInfo.roomId/roomName, ingressInfo */
	struct event_participant participant;
	struct event_track track;
	struct event_egress egress;
	enum room_end_reason room_end_reason;
	struct event_mark mark;
	struct slice key_id; /* the API key that signed it: iss */
};

/* The names of the tables above; NULL for a number that is not in them. */
const char *event_type_name(enum event_type t);
const char *disconnect_reason_name(enum disconnect_reason r);
const char *participant_kind_name(enum participant_kind k);
const char *sip_status_name(enum sip_status s);
const char *room_end_reason_name(enum room_end_reason r);
const char *egress_status_name(enum egress_status s);
const char *mark_kind_name(enum mark_kind k);
const char *mark_source_name(enum mark_source s);

enum event_type event_type_from_name(struct slice name);               /* EVENT_UNKNOWN */
enum disconnect_reason disconnect_reason_from_name(struct slice name); /* REASON_UNKNOWN */
enum participant_kind participant_kind_from_name(struct slice name);   /* KIND_OTHER */
enum sip_status sip_status_from_name(struct slice name);               /* STATUS_NONE */
enum room_end_reason room_end_reason_from_name(struct slice name);     /* ROOM_END_UNKNOWN */
bool egress_status_from_name(struct slice name, enum egress_status *ret);
enum mark_kind mark_kind_from_name(struct slice name);                 /* MARK_NONE */
enum mark_source mark_source_from_name(struct slice name);             /* MARK_SOURCE_NONE */
