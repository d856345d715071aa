/* The only door to what is kept. Two stores stand behind it, SQLite and PostgreSQL, with the same tables, columns and meaning.
 *
 * Writing is a batch: store_batch_load opens a transaction, locks the calls it touches and gives what is known of them;
 * the writer (ingest/writer.c, the only caller) folds and classifies; store_batch_commit writes journal, facts and
 * call_logs in that same transaction and returns 0 only when all of it is durable. On any error the transaction is
 * rolled back and nothing of it is visible.
 *   OC_DATA    the database refused some of the data: bisect, quarantine the poisoned event
 *   OC_RETRY   deadlock, serialization, busy: load again and retry the same batch
 *   OC_DOWN    not reachable, nothing committed;  OC_UNSURE: lost in commit, retry is safe (event ids are unique)
 *   OC_IO      disk full, read-only, corruption, a file that cannot be read or written: a new handle may do better
 *   OC_FSYNC   a sync failed, at this call or an earlier one: this handle is done, and no other shall acknowledge in this process
 * A struct store belongs to one thread. A struct store_reader belongs to one thread; open one per thread.
 * Everything returned lives in the arena passed in. */
#pragma once

#include "base/arena.h"
#include "base/error.h"
#include "base/person.h"
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
	bool own_tenant;              /* a tenant's own mark: "userId" is that tenant's, whoever's its call is, and never changes */
	struct slice sip_call_id;     /* "sipCallId": all that a mark names of its call; none -> NULL */
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
	const struct slice *new_legs;        /* set by the writer: sip.callIDs that this batch brought, for call_legs */
	size_t new_leg_count;
};

/* An event that came without room SID and waits in the journal for its call: processed = 0, "roomSid" NULL, and this is why. What is aside
 * for another reason is not offered again. */
#define STORE_WAITS "waits for its call"
/* A tenant's mark about what has turned out to be another's call: in no facts, shown to nobody. */
#define STORE_OTHER_TENANT "its call is another tenant's"
/* A new event of a time of which the calls were removed, and of no call that is there: a late repetition, most likely. It makes no call. */
#define STORE_PRUNED "its call was pruned, or would have been"
/* What waited so long that its payload was removed. */
#define STORE_STRIPPED "waited for its call until its payload was removed"
#define STORE_UNBOUND_LIMIT 200
#define STORE_MARK_LATE_S 30 /* a mark by name may be so much later than its call's end: dialers hear of it late, and clocks differ */
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
	/* Events that carry only a room name: which call was open then? name_users[i]: of a tenant's mark, to which no call of another's is an
	 * answer; none = any. name_late_s[i]: so long after its end a call is an answer still. */
	const struct slice *names, *name_users;
	const int64_t *name_at_s, *name_late_s; /* name_users and name_late_s may be NULL */
	size_t name_count;
	/* sip.callIDs, each once. Marks name these legs: their calls are loaded too. */
	const struct slice *leg_ids;
	size_t leg_count;
	/* The batch's events bring these: marks that wait for them are offered. */
	const struct slice *sip_call_ids;
	size_t sip_call_count;
};

struct store_loaded {
	bool *known;             /* [event_count]: the journal has this event already */
	struct slice *known_hashes; /* [event_count]: with which "bodyHash" (hex); none where it does not */
	struct call_row *calls;  /* [room_count + those found for names and legs], sorted by room_sid, locked; the first room_count in the
	                          * touch's order come first only by sorting: look up with store_loaded_find */
	size_t call_count;
	struct slice *name_room_sids; /* [name_count]: the SID of the call that was open, or none */
	struct unbound_row *unbound;  /* events waiting for one of these calls by name or leg, oldest first, at most STORE_UNBOUND_LIMIT; by
	                               * name no mark of another tenant than the call has */
	size_t unbound_count;
};

struct call_row *store_loaded_find(const struct store_loaded *l, struct slice room_sid); /* NULL where not there */

/* A journal row that was kept without room or tenant and has one now, or an error that ends its waiting (room_sid none). */
struct bind_row {
	struct slice event_id, room_sid;
	bool processed;
	bool own_tenant; /* as in struct journal_row */
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

/* Opens the transaction. Calls that are not there yet are locked too and given empty (exists = false); those that still have no facts in the
 * commit get no row. */
OC_NODISCARD int store_batch_load(struct store *s, const struct store_touch *touch, struct arena *a, struct store_loaded *ret);
/* Writes and commits. Where a call's tenant is known and its call_logs row is missing and the table lets us, inserts it, with the id
 * made from the room SID (uuid from its SHA-256: the same on every node and in every replay). Journal rows of a call whose
 * "userId" or "callLogId" was NULL get them (late binding); a tenant's own mark keeps its "userId", and gets a "callLogId" only from a call
 * of that tenant's. Rows of the host: only columns that are ours, and NULL ones
 * among startedAt, direction, phoneNumber, sipCallId, livekitRoomSid; metadata only under the key "outcomed".
 * A constraint of the host's call_logs never loses an event: that row is skipped (savepoint), the verdict waits. Nor does a lock that the
 * host holds on a row: the call's facts are kept, but it is not judged (rules 0, due in a few seconds). */
OC_NODISCARD int store_batch_commit(struct store *s, const struct store_changes *c, struct arena *a);
void store_batch_abort(struct store *s); /* rolls back; harmless without a transaction */
/* What follows waits for nobody beyond this moment of the monotonic clock (ms), nor longer than its own deadline; 0 = only that. What the disk
 * itself takes cannot be cut short. */
void store_until(struct store *s, int64_t mono_ms);

/* ---- sweeping ---- */

/* Room SIDs of calls that want another look: due_at <= now, or whose call_logs row the host wrote later (by SID, or by
 * name and time), or that have a host row and no tenant, or a leg that a mark waits for. Sorted by due time, at most `limit`. A read; takes no locks. */
OC_NODISCARD int store_due(struct store *s, int64_t now_ms, size_t limit, struct arena *a, struct slice **ret_sids, size_t *ret_count);

/* ---- watching: of which calls should LiveKit be asked? ---- */

struct watch_row {
	struct slice room_sid, room_name, user_id, facts; /* as in struct call_row */
	int64_t watch_at_ms; /* after the claim */
};

struct watch_claim {
	int64_t now_ms;
	int64_t lease_ms;          /* what is claimed is nobody else's for so long */
	size_t limit;              /* calls newly claimed */
	const struct slice *mine;  /* room SIDs that this watcher has claimed before and still asks about */
	size_t mine_count;
};

/* Claims calls whose time to be asked about has come: moves it to now + lease, in one transaction, so that of all nodes one asks. Gives them, and
 * of `mine` those that are still to be asked about, as they are now; a lease that is half over is renewed. Costs no write where nothing is due.
 * For a struct store of the watcher's own, never one with a batch open. */
OC_NODISCARD int store_watch_claim(struct store *s, const struct watch_claim *c, struct arena *a, struct watch_row **ret, size_t *ret_count);
/* Sets when the call is to be asked about next, 0 = never, unless somebody else has set that since it was `was_ms`. */
OC_NODISCARD int store_watch_move(struct store *s, struct slice room_sid, int64_t was_ms, int64_t at_ms);

struct store_counts {
	int64_t open_calls;
	int64_t aside;                           /* journal rows with processed = 0 */
	int64_t pruned_before_ms;                /* calls that ended before that were removed; 0 = none ever was */
	int64_t wal_bytes;                       /* SQLite: the size of the -wal file; PostgreSQL: 0 */
};
OC_NODISCARD int store_count(struct store *s, struct store_counts *ret); /* counts by partial indexes; at most every 15 s */

/* ---- replaying: the journal read again (ingest/replay.h) ---- */

/* Opens a transaction that only reads, all of one moment: it waits for nobody and nobody waits for it. store_batch_abort ends it. What
 * follows is asked in it, or in the transaction that store_batch_load opened. */
OC_NODISCARD int store_replay_begin(struct store *s);

/* About how many calls there are, for the progress shown. */
OC_NODISCARD int store_replay_count(struct store *s, int64_t *ret);

/* The room SID of a call_logs.id or a room SID. OC_NOT_FOUND. */
OC_NODISCARD int store_replay_find(struct store *s, struct slice call_id, struct arena *a, struct slice *ret_sid);

/* Looks at the next `limit` room SIDs after `after` (in the database's own order) among call_facts and the journal, and gives those of which
 * an event was taken at or after since_ms (0 = all). *ret_last is the last one looked at; none: there are no more. */
OC_NODISCARD int store_replay_rooms(struct store *s, struct slice after, int64_t since_ms, size_t limit, struct arena *a, struct slice **ret_sids,
	size_t *ret_count, struct slice *ret_last);

/* The calls as they are stored, in the order of `sids`; no look is taken for rows of the host's that they do not name yet. */
struct replay_call {
	struct call_row row;
	int64_t kept_revision; /* the greatest in call_revisions; 0 = none */
};
OC_NODISCARD int store_replay_calls(struct store *s, const struct slice *sids, size_t count, struct arena *a, struct replay_call *ret);

/* Does call_legs have them? */
struct replay_leg {
	struct slice call_id, room_sid;
	bool known;
};
OC_NODISCARD int store_replay_legs(struct store *s, struct replay_leg *legs, size_t count);

/* The journal of these calls, the rows of one call together, one row after the other however many they are. _next: 1 and a row in `a`, 0 no
 * more. `sids` stays the caller's until _close, which may come early and twice. */
OC_NODISCARD int store_journal_open(struct store *s, const struct slice *sids, size_t count);
OC_NODISCARD int store_journal_next(struct store *s, struct arena *a, struct journal_row *ret);
void store_journal_close(struct store *s);

/* Rows kept aside that belong to no room, the oldest first, after that one. */
OC_NODISCARD int store_journal_strays(struct store *s, int64_t after_ms, struct slice after_id, size_t limit, struct arena *a,
	struct journal_row **ret, size_t *ret_count);

/* ---- retention: what is not to be kept any longer (ingest/retention.h) ---- */

/* A room SID that call_facts or the journal has. */
struct kept_call {
	struct slice room_sid, user_id; /* user_id none: no tenant */
	bool has_row;      /* in call_facts; else there is only a journal of it */
	bool ended;        /* with a verdict that is final; what has no row never began */
	int64_t at_ms;     /* when it ended; without a row, or without that time, when we last heard of it */
	bool has_payloads; /* an event of it has its payload still; only where that was asked for */
};

/* The next `limit` of them after `after`, in the snapshot of store_replay_begin; *ret_last as in store_replay_rooms. Rows of the journal that
 * outcomed did not write are not looked at. */
OC_NODISCARD int store_kept_calls(struct store *s, struct slice after, size_t limit, bool ask_payloads, struct arena *a, struct kept_call **ret,
	size_t *ret_count, struct slice *ret_last);

struct forgotten {
	int64_t events, payloads, facts, legs, revisions, call_logs; /* rows; payloads: rows that lost theirs */
	int64_t host_rows; /* of call_logs, in which our columns were cleared */
};

/* In the transaction that store_batch_load opened, for calls that it locked, which store_batch_commit without events and calls ends. Adds to *ret.
 * All that we keep of these calls goes: journal, facts, legs, revisions, and call_logs rows that we inserted; rows of the host's stay as they are.
 * At most `most` events go at a time: 1 where there are more, and the rest of the call is still there then. */
OC_NODISCARD int store_forget_calls(struct store *s, const struct slice *sids, size_t count, size_t most, struct forgotten *ret);
/* Likewise, of at most `most` events: payload and body go, the rest of the row stays, so that the event still counts once. */
OC_NODISCARD int store_forget_payloads(struct store *s, const struct slice *sids, size_t count, size_t most, struct forgotten *ret);
/* What tells every node up to when calls were removed: a row of the journal under this id, of no room and no tenant, whose "timestamp" it is.
 * store_count reads it. It is put there like any event; this moves it on, in the same transaction. */
#define STORE_PRUNED_ID "OC_PRUNED"
OC_NODISCARD int store_move_pruned(struct store *s, int64_t before_ms);
/* Events of no room that were taken before then, at most `most`: the rows, or only their payloads (what waited for its call does not any more
 * then). `user` none: whoever's. 1 where there are more. */
OC_NODISCARD int store_forget_strays(struct store *s, int64_t before_ms, struct slice user, bool payloads_only, size_t most, struct forgotten *ret);

/* ---- erasing a person (ingest/erase.h) ---- */

enum person_trace { PERSON_NOT_THERE, PERSON_MENTIONED, PERSON_WHOLE };

/* What these calls have of the person, in the snapshot of store_replay_begin. A number: PERSON_WHOLE, the call goes, where any text that we keep of it
 * has it. A tenant: PERSON_WHOLE where the call is theirs; PERSON_MENTIONED where only its facts name them. */
OC_NODISCARD int store_person_find(struct store *s, const struct person *p, const struct slice *sids, size_t count, enum person_trace *ret);
/* In the transaction of store_batch_load: rows of ours that have the person and belong to no call that goes, at most `most` of the journal; and in
 * call_logs rows of the host's what we may have written (never what the host requires). 1: there is more. */
OC_NODISCARD int store_person_forget(struct store *s, const struct person *p, size_t most, struct forgotten *ret);

/* Where the person is found: every text of every table. `host`: in a column of a row that is the host's. */
struct person_place {
	const char *table;
	struct slice column;
	int64_t rows;
	bool host;
};
/* In a snapshot. Tables of ours come even where there is nothing (no column, 0 rows), so that it can be shown that they were looked at. */
OC_NODISCARD int store_person_places(struct store *s, const struct person *p, struct arena *a, struct person_place **ret, size_t *ret_count);
/* Of what was deleted nothing is to be read in the file any more. SQLite: the write-ahead log is emptied, and where the file has the person's bytes still it is
 * written anew (VACUUM, which holds writers up), both checked; *ret_left: they are there all the same. PostgreSQL does that by itself, later. */
OC_NODISCARD int store_person_scrub(struct store *s, const struct person *p, bool *ret_rewritten, bool *ret_left);

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

/* A final verdict that a later one replaced. */
struct call_revision {
	int64_t revision;
	struct slice verdict;   /* JSON object text of the members, as it was shown */
	int64_t replaced_at_ms;
};

/* All that is kept of one call. */
struct call_detail {
	struct call_view view;
	struct slice facts;        /* canonical bytes (core/facts.h); none for rows we never judged */
	unsigned rules;            /* that the facts were judged by; 0 = never */
	int64_t facts_updated_ms;  /* 0 = never */
	struct call_revision *revisions; /* oldest first; the present one is not among them */
	size_t revision_count;
};

/* The call as store_read_outcomes finds it for this tenant; OC_NOT_FOUND, OC_DENIED likewise. The facts hold marks of other tenants too:
 * what is shown of them is facts_for_tenant's view. */
OC_NODISCARD int store_read_call(struct store_reader *r, struct slice tenant, struct slice call_id, struct arena *a, struct call_detail *ret);

struct events_query {
	struct slice tenant;  /* required */
	struct slice call_id; /* call_logs.id or a room SID */
	bool has_cursor;      /* only rows after (cursor_position, cursor_id) */
	int64_t cursor_position;
	struct slice cursor_id;
	size_t limit;         /* 1..200 */
};

/* A row of livekit_call_events as it is shown. */
struct event_view {
	struct slice id;       /* JSON value */
	int64_t position;      /* what the cursor holds beside event_id: id, or the time it came where a table of the host's has ids that do not count up */
	struct slice user_id, call_log_id, event_id, event, room_name, room_sid, participant_identity, participant_sid;
	int64_t timestamp_s;   /* 0 = NULL */
	struct slice payload;  /* JSON text or none */
	struct slice raw_body; /* bytes or none */
	bool processed;
	struct slice error_message;
	int64_t created_at_ms, processed_at_ms; /* 0 = NULL */
	struct slice source, body_hash, key_id, sip_call_id;
};

/* A page ends with the event that brings its payloads to this many bytes, however many rows were asked for. */
#define STORE_EVENTS_BYTES (4 * 1024 * 1024)

/* The journal of a call that this tenant sees, oldest first: only rows whose own "userId" is the tenant, so no mark of another's, and nothing
 * of a call whose tenant is not known yet. *ret_more: there are rows after these. OC_NOT_FOUND, OC_DENIED as above. */
OC_NODISCARD int store_read_events(struct store_reader *r, const struct events_query *q, struct arena *a, struct event_view **ret,
	size_t *ret_count, bool *ret_more);

/* A cheap question that shows whether the store answers, for /readyz. */
OC_NODISCARD int store_reader_ping(struct store_reader *r);
