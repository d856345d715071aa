/* The only door to what is kept. Two stores stand behind it, SQLite and PostgreSQL, with the same tables, columns and meaning.
 *
 * Writing is a batch: store_batch_load opens a transaction, locks the calls it touches and gives what is known of them;
 * the writer (ingest/writer.c, the only caller) folds and classifies; store_batch_commit writes journal, facts and
 * call_logs in that same transaction and returns 0 only when all of it is durable. On any error the transaction is
 * rolled back and nothing of it is visible.
 *   OC_DATA    the database refused some of the data: bisect, quarantine the poisoned event
 *   OC_RETRY   deadlock, serialization, busy: load again and retry the same batch
 *   OC_DOWN    not reachable, nothing committed;  OC_UNSURE: lost in commit, retry is safe (event ids are unique)
 *   OC_IO      fsync, disk full, read-only, corruption
 * A struct store belongs to one thread. A struct store_reader belongs to one thread; open one per thread.
 * Everything returned lives in the arena passed in. */
#pragma once

#include "base/arena.h"
#include "base/error.h"
#include "core/verdict.h"

struct store;
struct store_reader;

enum store_kind { STORE_SQLITE, STORE_POSTGRES };

struct store_options {
	struct slice url;      /* sqlite:PATH or postgresql://… */
	int timeout_ms;        /* deadline of a statement; 0 = 10 000 */
	const char *application_name; /* PostgreSQL; NULL = outcomed */
};

/* ---- opening ---- */

enum store_kind store_url_kind(struct slice url, bool *ret_valid);
/* The URL with its password replaced by "***", for messages. */
OC_NODISCARD int store_url_for_log(struct slice url, struct arena *a, struct slice *ret);

/* Connects and prepares; does not migrate. OC_SCHEMA when the schema is missing, older or newer than this binary needs;
 * *ret_message (may be NULL) then says what to do, and so for OC_DOWN and OC_CONFIG. A store that lost its connection reconnects by
 * itself in the next store_batch_load, with back-off; until then that returns OC_DOWN. */
OC_NODISCARD int store_open(const struct store_options *o, struct arena *message_arena, struct store **ret, struct slice *ret_message);
void store_close(struct store *s); /* takes NULL */
/* The last error's text from the database, for the log; never NULL, never holds a secret. Valid until the next call. */
const char *store_last_error(const struct store *s);

/* ---- writing: a batch ---- */

/* A row of livekit_call_events. */
struct journal_row {
	struct slice event_id, event; /* never empty */
	struct slice room_name, room_sid, participant_identity, participant_sid; /* none -> NULL */
	int64_t timestamp_s;          /* the event's own createdAt; 0 -> NULL */
	struct slice payload;         /* "rawPayload": JSON, secrets removed; none -> NULL */
	struct slice raw_body;        /* "rawBody": the bytes as received but for secrets, only where payload is none; none -> NULL */
	bool processed;               /* 1 done, 0 kept aside */
	struct slice error_message;   /* why aside, else none -> NULL */
	int64_t created_at_ms, processed_at_ms; /* when we took it, when it was folded (0 -> NULL) */
	struct slice source;          /* "livekit", "hmac", "mark", "watcher" */
	unsigned char body_hash[32];  /* "bodyHash": SHA-256 of the body as received, hex in the row */
	struct slice key_id;          /* "keyId": iss; none -> NULL */
	struct slice user_id, call_log_id; /* none -> NULL */
};

/* One call as the batch sees it: a row of call_facts and what is known of its call_logs row. */
struct call_row {
	struct slice room_sid;  /* key */
	struct slice room_name; /* none = unknown */
	bool exists;            /* call_facts had the row before this batch */
	struct slice facts;     /* canonical bytes (core/facts.h); none = new */
	unsigned rules;
	struct slice verdict;   /* JSON object text as stored; none = never classified */
	struct slice outcome;   /* name, none while open */
	int64_t revision;       /* 0 while open, 1 for the first final verdict */
	struct slice user_id;   /* tenant as stored; none = unknown */
	struct slice tenant_error; /* why no tenant though witnesses spoke (disputed), else none */
	struct slice call_log_id;  /* call_logs.id as text; none = no row yet */
	bool call_log_is_ours;     /* the row was inserted by us, not by the host */
	struct slice replaced_call_log_id; /* set by load: a host's row was found though we had inserted one of ours; commit moves
	                                    * the call to the host's row and deletes ours */
	struct slice host_user_id; /* the host's row's "userId", for rank 1; none where the row is ours or there is none */
	int64_t started_at_ms, ended_at_ms, due_at_ms; /* as stored; 0 = none */
	int64_t watch_at_ms; /* when the watcher should ask LiveKit; 0 = never. Written only where the batch changes it: store_watch_claim moves it too */
	int64_t room_started_at_ms; /* for matching by name; does not change as the participants come */
	bool facts_changed, verdict_changed; /* set by the writer: what store_batch_commit has to write */
	const struct verdict *new_verdict;   /* columns of call_logs; required when verdict_changed */
};

/* An event that came without room SID and waits in the journal for its call: processed = 0, "roomSid" NULL, and this is why. What is aside
 * for another reason is not offered again. */
#define STORE_WAITS "waits for its call"
#define STORE_UNBOUND_LIMIT 200
struct unbound_row {
	struct slice event_id, room_name, payload, source, key_id;
	int64_t timestamp_s, created_at_ms;
};

/* What a batch touches. */
struct store_touch {
	const struct slice *event_ids; /* of the batch's events, each once */
	size_t event_count;
	/* The calls by room SID, sorted by SID, each once; room_names[i] is none where unknown. start_s[i]: the earliest moment known
	 * of that call in this batch (createdAt or creation), for matching the host's row and unbound events. */
	const struct slice *room_sids, *room_names;
	const int64_t *start_s;
	size_t room_count;
	/* Events that carry only a room name: which call was open then? */
	const struct slice *names;
	const int64_t *name_at_s;
	size_t name_count;
};

struct store_loaded {
	bool *known;             /* [event_count]: the journal has this event already */
	struct call_row *calls;  /* [room_count + those found for names], sorted by room_sid, locked; the first room_count in the
	                          * touch's order come first only by sorting: look up with store_loaded_find */
	size_t call_count;
	struct slice *name_room_sids; /* [name_count]: the SID of the call that was open, or none */
	struct unbound_row *unbound;  /* events waiting for one of these calls by name, oldest first, at most STORE_UNBOUND_LIMIT */
	size_t unbound_count;
};

struct call_row *store_loaded_find(const struct store_loaded *l, struct slice room_sid); /* NULL where not there */

/* A journal row that was kept without room or tenant and has one now. */
struct bind_row {
	struct slice event_id, room_sid;
	bool processed;
	struct slice error_message;
};

struct store_changes {
	const struct journal_row *events; /* new ones only, each id once */
	size_t event_count;
	struct call_row *calls; /* all of store_loaded.calls; commit fills call_log_id, call_log_is_ours where it inserts */
	size_t call_count;
	const struct bind_row *binds;
	size_t bind_count;
	int64_t now_ms;
};

/* Opens the transaction. Calls that are not there yet are created empty (exists = false), so that they can be locked; those that still
 * have no facts in the commit are not kept. */
OC_NODISCARD int store_batch_load(struct store *s, const struct store_touch *touch, struct arena *a, struct store_loaded *ret);
/* Writes and commits. Where a call's tenant is known and its call_logs row is missing and the table lets us, inserts it, with the id
 * made from the room SID (uuid from its SHA-256: the same on every node and in every replay). Journal rows of a call whose
 * "userId" or "callLogId" was NULL get them (late binding). Rows of the host: only columns that are ours, and NULL ones
 * among startedAt, direction, phoneNumber, sipCallId, livekitRoomSid; metadata only under the key "outcomed".
 * A constraint of the host's call_logs never loses an event: that row is skipped (savepoint), the verdict waits. Nor does a lock that the
 * host holds on a row: the call's facts are kept, but it is not judged (rules 0, due in a few seconds). */
OC_NODISCARD int store_batch_commit(struct store *s, const struct store_changes *c, struct arena *a);
void store_batch_abort(struct store *s); /* rolls back; harmless without a transaction */

/* ---- sweeping ---- */

/* Room SIDs of calls that want another look: due_at <= now, or whose call_logs row the host wrote later (by SID, or by
 * name and time), or that have a host row and no tenant. Sorted by due time, at most `limit`. A read; takes no locks. */
OC_NODISCARD int store_due(struct store *s, int64_t now_ms, size_t limit, struct arena *a, struct slice **ret_sids, size_t *ret_count);

struct store_counts {
	int64_t open_calls;
	int64_t aside;                           /* journal rows with processed = 0 */
};
OC_NODISCARD int store_count(struct store *s, struct store_counts *ret); /* counts by partial indexes; at most every 15 s */

/* ---- reading: every function takes a tenant; there is none that does not ---- */

OC_NODISCARD int store_reader_open(const struct store_options *o, struct arena *message_arena, struct store_reader **ret, struct slice *ret_message);
void store_reader_close(struct store_reader *r);
const char *store_reader_last_error(const struct store_reader *r);

/* A call as it is shown: the columns of call_logs by their names, and the verdict's members. */
struct call_view {
	struct slice id;        /* call_logs.id as text; none where no row could be inserted */
	struct slice user_id, room_name, room_sid, direction, phone_number, sip_call_id, status, outcome, recording_url;
	struct slice metadata;  /* JSON text or none */
	struct slice agent_config_id, cost; /* JSON values; none where the host's table has no such column */
	int64_t duration_s;     /* -1 = NULL */
	int64_t started_at_ms, ended_at_ms, created_at_ms, updated_at_ms; /* 0 = NULL */
	struct slice verdict;   /* JSON object text of the members (core/verdict.h), or none for rows we never judged */
	int64_t revision;       /* 0 while open or never judged */
	int64_t sort_key;       /* what the cursor holds: startedAt, else createdAt, ms */
};

struct outcome_query {
	struct slice tenant;  /* required: empty gives OC_DENIED */
	struct slice call_id; /* call_logs.id or a room SID */
	int result;           /* out: 0, OC_NOT_FOUND, or an error */
	struct call_view view; /* out, when result is 0 */
};

/* Answers n queries in one round trip. 0 when the store could be asked; each query has its own result. */
OC_NODISCARD int store_read_outcomes(struct store_reader *r, struct outcome_query *queries, size_t n, struct arena *a);

struct list_filter {
	struct slice tenant;                   /* required */
	int64_t from_ms, to_ms;                /* startedAt in [from, to); 0 = open end */
	struct slice outcome, direction, status, phone_number; /* none = any */
	struct slice room_name;
	bool has_cursor;                       /* only rows after (cursor_ms, cursor_id), newest first */
	int64_t cursor_ms;
	struct slice cursor_id;
	size_t limit;                          /* 1..200 */
};

/* Newest first by (sort_key, id). *ret_more: there are rows after these. */
OC_NODISCARD int store_read_list(struct store_reader *r, const struct list_filter *f, struct arena *a, struct call_view **ret,
	size_t *ret_count, bool *ret_more);

/* A cheap question that shows whether the store answers, for /readyz. */
OC_NODISCARD int store_reader_ping(struct store_reader *r);
