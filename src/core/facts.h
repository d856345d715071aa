/* What the events have established about one call (one room SID).
 *
 * Facts are a join-semilattice: folding an event in and merging two facts are commutative, associative and
 * idempotent, so neither order nor duplicates nor the number of nodes can matter. Every field is a minimum, a
 * maximum, a union or an OR over events; nothing is ever "the last one". The receiver's clock is nowhere in here but in marks, and a
 * mark adds to the marks alone: no witness moves the call's own times or names.
 * Pure: no I/O, no clock, no globals. One thread at a time owns a struct facts; it lives in an arena.
 *
 * Canonical form (facts_encode): one record a line, fields separated by TAB, records sorted, bytes outside
 * printable UTF-8 and '%' percent-encoded; the same facts give the same bytes on every machine and store. */
#pragma once

#include "base/arena.h"
#include "base/buf.h"
#include "base/error.h"
#include "core/event.h"

#define FACTS_MAX_SESSIONS 512 /* of a call; beyond it the smallest SIDs are kept and `overflow` is set */
#define FACTS_MAX_TRACKS 16    /* audio tracks kept of a session */
#define FACTS_MAX_EGRESS 32
#define FACTS_MAX_MARKS 64     /* of one poster, so that nobody crowds out another's; who has so many may have had more: facts_for_tenant */
#define FACTS_MAX_ALL_MARKS 1024
#define FACTS_MAX_TENANTS 8    /* distinct tenant witnesses kept */
#define FACTS_MAX_KEY_IDS 8    /* API keys kept; more do not set `overflow` */

#define FACTS_MAX_TIMEOUT_S 1000000000

/* A sighting: the event that says so. Smallest (at_s, event_id) wins where several say the same. */
struct sighting {
	struct slice event_id; /* none = never seen */
	int64_t at_s;          /* the event's createdAt, whole seconds */
};

struct fact_track {
	struct slice sid;
	int64_t published_us; /* smallest known; 0 = unknown */
	struct sighting published, unpublished;
};

/* One session of a participant: one participant SID. */
struct fact_session {
	struct slice sid, identity;
	enum participant_kind kind; /* KIND_UNKNOWN until an event carried it */
	int64_t joined_at_ms;       /* smallest known; 0 = unknown */
	bool joined_at_whole_s;     /* known to the second only */
	struct sighting joined, left, aborted;
	enum disconnect_reason left_reason; /* of the greatest (at_s, reason, event id) among leaves and aborts */
	struct sighting ended;              /* that leave or abort */
	uint32_t statuses;                  /* bit (1 << enum sip_status) for each seen */
	bool call_tag;
	struct slice call_id, rule_id, trunk_id, phone_number, trunk_phone_number;
	struct fact_track *tracks; /* audio only, sorted by SID */
	size_t track_count;
};

struct fact_egress {
	struct slice egress_id, location, error;
	enum egress_status status; /* the greatest seen */
	int64_t started_at_ns, ended_at_ns;
	struct sighting ended;
};

struct fact_mark {
	struct slice event_id;
	struct event_mark mark;
	int64_t at_s;
};

/* Ranks of tenant witnesses, strongest first (1, the host's own row, is known to the store, not to the facts). */
enum tenant_rank { TENANT_HOST_ROW = 1, TENANT_ROOM_METADATA = 2, TENANT_ATTRIBUTE = 3, TENANT_ROUTE = 4, TENANT_DEFAULT = 5 };

struct fact_tenant {
	enum tenant_rank rank;
	struct slice tenant;
	struct slice event_id; /* smallest that says so */
};

struct facts {
	struct slice room_sid, room_name;
	int64_t creation_time_ms;     /* smallest known */
	uint32_t departure_timeout_s; /* greatest known; 0 = unknown, LiveKit's default is 20 */
	struct sighting started, finished;
	enum room_end_reason end_reason;
	int64_t first_event_s, last_event_s; /* smallest and greatest createdAt of anything folded in; 0 = none */
	struct fact_session *sessions;       /* sorted by SID */
	size_t session_count;
	struct fact_egress *egresses; /* sorted by id */
	size_t egress_count;
	struct fact_mark *marks; /* sorted by event id */
	size_t mark_count;
	struct fact_tenant *tenants; /* sorted by rank, tenant */
	size_t tenant_count;
	struct slice *key_ids; /* API keys that signed its events, sorted, at most 8 */
	size_t key_id_count;
	bool overflow; /* a limit above was reached: no verdict is certain */
	struct arena *arena;
};

/* Empty facts about a room SID, in `a`. */
OC_NODISCARD int facts_new(struct arena *a, struct slice room_sid, struct facts **ret);

/* Folds one event in. The event must be of this room (its room.sid equal, or bound to it by name). Strings are copied
 * into the facts' arena. Unknown types fold into first/last_event_s only. OC_NOMEM leaves the facts as they were or
 * partly folded: folding again mends it. */
OC_NODISCARD int facts_fold(struct facts *f, const struct event *e);

/* Adds a witness of the tenant that is no event's (routes). */
OC_NODISCARD int facts_add_tenant(struct facts *f, enum tenant_rank rank, struct slice tenant, struct slice event_id);

/* into := into ∪ other. Strings are copied. */
OC_NODISCARD int facts_merge(struct facts *into, const struct facts *other);

/* What the call's tenant may see and be judged by: the facts without marks that another tenant posted. A call of no known tenant (none)
 * sees only marks of those who may speak for every tenant. What no event but a mark told of keeps a time, so that it ends whoever posted it.
 * `overflow` is set too where one of those whose marks are seen reached the limit.
 * A shallow view: it shares everything with `f` and is not to be folded into. */
OC_NODISCARD int facts_for_tenant(const struct facts *f, struct slice tenant, struct arena *a, struct facts *ret);

/* Takes away this tenant's marks; false where there was none. */
bool facts_drop_marks_of(struct facts *f, struct slice tenant);

/* The canonical bytes, appended to b. */
void facts_encode(const struct facts *f, struct buf *b);

/* OC_INVALID when the bytes are not canonical facts. Strings point into `bytes` where they need no unescaping. */
OC_NODISCARD int facts_decode(struct arena *a, struct slice bytes, struct facts **ret);
