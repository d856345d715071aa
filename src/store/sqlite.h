/* What the SQLite store's own files share. Private to src/store/sqlite*.c.
 *
 * A struct sqlite_connection is one database handle with its prepared statements; it belongs to one thread. */
#pragma once

#include <sqlite3.h>

#include "base/buf.h"
#include "store/backend.h"

/* ---- sqlite_db.c: connections, binding, columns, errors ---- */

#define SQLITE_STATEMENTS_MAX 40

struct sqlite_file_id {
	unsigned long long device, inode; /* 0, 0: not known */
};

struct sqlite_connection {
	sqlite3 *db;
	char *path;
	int timeout_ms;
	sqlite3_stmt *statements[SQLITE_STATEMENTS_MAX]; /* in the order of the array given to sqlite_prepare */
	size_t statement_count;
	bool forgets;              /* what is deleted is overwritten too */
	bool broken;               /* an I/O error happened: do not trust it, open it anew */
	bool sync_failed;          /* for good: what reads well now may be on no disk */
	struct sqlite_file_id wal, shm; /* of -wal and -shm, as they were when it was opened */
	bool saved;                /* what the -wal held, since the files are not in place */
	char error[400];           /* of the last failure */
};

enum sqlite_role {
	SQLITE_WRITER,
	SQLITE_READER,
	SQLITE_MIGRATOR, /* creates the file where it is missing, mode 0600 */
};

/* On failure nothing stays open. OC_NOT_FOUND: there is no such file (never for a migrator). */
OC_NODISCARD int sqlite_connect(struct sqlite_connection *c, const struct store_options *o, enum sqlite_role role, struct arena *a,
	struct slice *ret_message);
void sqlite_disconnect(struct sqlite_connection *c); /* harmless on a closed or zeroed one */
OC_NODISCARD int sqlite_prepare(struct sqlite_connection *c, const char *const *sql, size_t count);

/* ---- sqlite_files.c: the files on the disk ---- */

/* Remembers which files -wal and -shm are. */
OC_NODISCARD int sqlite_note_files(struct sqlite_connection *c);
/* OC_DOWN as long as the file, its -wal or its -shm is moved, deleted or replaced under us: what we would write nobody would find again. The
 * connection stays open: see there why. Not within a transaction. */
OC_NODISCARD int sqlite_check_in_place(struct sqlite_connection *c);
int64_t sqlite_wal_bytes(const struct sqlite_connection *c); /* the size of the -wal; 0 where it cannot be seen */

/* ---- sqlite_db.c again: statements and errors ---- */

/* The enum oc_error of a SQLite result; its text goes to c->error, and an I/O error marks the connection. */
int sqlite_error(struct sqlite_connection *c, int rc);
/* Data that we refuse ourselves: OC_DATA with this text. */
int sqlite_refuse(struct sqlite_connection *c, const char *text);
/* Runs statements that return nothing. */
OC_NODISCARD int sqlite_exec(struct sqlite_connection *c, const char *sql);
/* The first column of the first row of a query with at most one text parameter (NULL = none). OC_NOT_FOUND without a row. */
OC_NODISCARD int sqlite_query_int(struct sqlite_connection *c, const char *sql, const char *parameter, int64_t *ret);

/* Binds the parameters of a statement one after another; the first failure sticks and sqlite_run, sqlite_row give it.
 * Texts stay the caller's until the statement has run. */
struct sqlite_binder {
	struct sqlite_connection *c;
	sqlite3_stmt *st;
	int at, error;
};
struct sqlite_binder sqlite_bind(struct sqlite_connection *c, size_t statement);
void bind_text(struct sqlite_binder *b, struct slice s); /* none is NULL; NUL or bad UTF-8 is refused */
void bind_blob(struct sqlite_binder *b, struct slice s);
void bind_int(struct sqlite_binder *b, int64_t v);
void bind_int_or_null(struct sqlite_binder *b, int64_t v, int64_t null_value);
void bind_time(struct sqlite_binder *b, int64_t ms); /* RFC 3339; 0 is NULL */

/* Steps a statement that returns nothing, and resets it. */
OC_NODISCARD int sqlite_run(struct sqlite_binder *b);
/* Steps to the next row: 1 a row, 0 none left (reset), negative an error (reset). */
OC_NODISCARD int sqlite_row(struct sqlite_binder *b);
void sqlite_reset(struct sqlite_binder *b); /* before all rows were taken */

/* Copies into the arena; NULL is none. False when out of memory. */
OC_NODISCARD bool column_text(const struct sqlite_binder *b, int column, struct arena *a, struct slice *ret);

/* Milliseconds of a time column however it was written: text that SQLite knows, or a number (seconds or milliseconds). */
#define SQL_MS(column) \
	"CASE typeof(" column ") WHEN 'integer' THEN " column " * iif(" column " > 99999999999, 1, 1000) " \
	"ELSE CAST((julianday(" column ") - 2440587.5) * 86400000.0 + 0.5 AS INTEGER) END"

/* ---- sqlite_schema.c: what the database looks like ---- */

struct sqlite_call_logs {
	bool can_insert;    /* no NOT NULL column that we cannot fill */
	bool id_is_integer; /* INTEGER PRIMARY KEY: SQLite makes the id */
	bool has_agent_config_id, has_cost;
	struct slice why_not_insert; /* names of the columns, in the arena */
};
OC_NODISCARD int sqlite_call_logs_shape(struct sqlite_connection *c, struct arena *a, struct sqlite_call_logs *ret);
OC_NODISCARD int sqlite_has_table(struct sqlite_connection *c, const char *name, bool *ret);
OC_NODISCARD int sqlite_has_column(struct sqlite_connection *c, const char *table, struct slice column, bool *ret);
/* The migrations applied, checked against ours: version, newer, altered. */
OC_NODISCARD int sqlite_schema_version(struct sqlite_connection *c, struct migrate_status *ret);
/* OC_SCHEMA with what to do unless the schema is exactly this binary's. */
OC_NODISCARD int sqlite_require_schema(struct sqlite_connection *c, struct arena *a, struct slice *ret_message);
OC_NODISCARD int sqlite_schema_refusal(const struct migrate_status *s, struct arena *a, struct slice *ret_message); /* newer, altered; else 0 */

/* ---- the writer's connection ---- */

/* Where store_journal_next goes on. */
struct sqlite_journal {
	const struct slice *sids;
	size_t count, at;
	bool reading; /* `rows` is under way */
	struct sqlite_binder rows;
};

struct sqlite_store {
	struct store base;
	struct sqlite_connection c;
	char *url; /* to open it anew */
	int timeout_ms;
	struct sqlite_call_logs call_logs;
	bool in_batch;
	struct call_row *was; /* the calls as loaded, in the batch's arena: what changed is seen against them */
	size_t was_count;
	int reopen_wait_ms;   /* back-off after a failure to open */
	int64_t reopen_at_ns;
	int64_t late_look_ms, late_full_look_ms; /* when late host rows were last looked for */
	struct buf leg_cursor; /* where sqlite_leg_due goes on looking */
	struct sqlite_journal journal;
};

/* Prepared statements of the writer: enum, SQL. Parameters are numbered in the order they are bound. */
extern const char *const sqlite_writer_sql[];
enum sqlite_writer_statement {
	/* sqlite_load.c */
	SQL_EVENT_KNOWN, SQL_FACTS, SQL_CALL_OPEN_AT, SQL_ROW_BY_SID, SQL_ANY_UNCLAIMED, SQL_ROW_UNCLAIMED, SQL_ANY_UNBOUND, SQL_UNBOUND,
	/* sqlite_write.c */
	SQL_EVENT_INSERT, SQL_EVENT_BIND, SQL_EVENTS_TENANT, SQL_EVENTS_CALL_LOG, SQL_FACTS_INSERT, SQL_FACTS_UPDATE, SQL_REVISION_KEEP,
	/* sqlite_calls.c */
	SQL_ROW_INSERT, SQL_ROW_CLAIM, SQL_ROW_UPDATE_OURS, SQL_ROW_UPDATE_HOST, SQL_ROW_DELETE,
	/* sqlite.c */
	SQL_DUE, SQL_LATE_NEW, SQL_LATE_ALL, SQL_COUNT,
	/* sqlite_replay.c */
	SQL_REPLAY_ROOMS, SQL_REPLAY_CALL, SQL_REPLAY_FIND, SQL_REPLAY_LEG, SQL_JOURNAL, SQL_STRAYS,
	/* sqlite_watch.c */
	SQL_WATCH_DUE, SQL_WATCH_MINE, SQL_WATCH_MOVE,
	/* sqlite_marks.c */
	SQL_LEG_CALLS, SQL_LEG_INSERT, SQL_ANY_LEG_WAITS, SQL_LEG_WAITS, SQL_LEG_WAITS_OF_CALL, SQL_LEG_DUE,
	SQL_WRITER_COUNT
};

int sqlite_batch_load(struct store *store, const struct store_touch *touch, struct arena *a, struct store_loaded *ret);
int sqlite_batch_commit(struct store *store, const struct store_changes *c, struct arena *a);
void sqlite_batch_abort(struct store *store);
int sqlite_due(struct store *store, int64_t now_ms, size_t limit, struct arena *a, struct slice **ret_sids, size_t *ret_count);
int sqlite_count(struct store *store, struct store_counts *ret);
int sqlite_watch_claim(struct store *store, const struct watch_claim *c, struct arena *a, struct watch_row **ret, size_t *ret_count);
int sqlite_watch_move(struct store *store, struct slice room_sid, int64_t was_ms, int64_t at_ms);
OC_NODISCARD int sqlite_reopen_if_broken(struct sqlite_store *s);
/* The row of call_facts, 0 also where there is none (exists is false then). */
OC_NODISCARD int sqlite_read_call_row(struct sqlite_store *s, struct slice sid, struct arena *a, struct call_row *row);

/* ---- legs and the marks that name them (sqlite_marks.c) ---- */

extern const char sqlite_leg_calls_sql[], sqlite_leg_insert_sql[], sqlite_any_leg_waits_sql[], sqlite_leg_waits_sql[],
	sqlite_leg_waits_of_call_sql[], sqlite_leg_due_sql[];
/* The room SIDs of the calls with these legs, each once. */
OC_NODISCARD int sqlite_leg_calls(struct sqlite_store *s, const struct store_touch *t, struct arena *a, struct slice **ret_sids, size_t *ret_count);
/* Adds the calls of legs that marks wait for to `sids`, a stretch of them at a time; at most `limit` in all. */
OC_NODISCARD int sqlite_leg_due(struct sqlite_store *s, size_t limit, struct arena *a, struct slice *sids, size_t *count);
/* Marks that wait for a leg that the batch brings, or, in a sweep, for a leg of these calls; added behind the *count rows there are. */
OC_NODISCARD int sqlite_leg_waits(struct sqlite_store *s, const struct store_touch *t, const struct call_row *calls, size_t call_count, struct arena *a,
	struct unbound_row *rows, size_t *count);
OC_NODISCARD int sqlite_write_legs(struct sqlite_store *s, const struct call_row *call);

/* ---- replaying (sqlite_replay.c) ---- */

extern const char sqlite_replay_rooms_sql[], sqlite_replay_call_sql[], sqlite_replay_find_sql[], sqlite_replay_leg_sql[], sqlite_journal_sql[], sqlite_strays_sql[];
int sqlite_replay_begin(struct store *store);
int sqlite_replay_count(struct store *store, int64_t *ret);
int sqlite_replay_find(struct store *store, struct slice call_id, struct arena *a, struct slice *ret_sid);
int sqlite_replay_rooms(struct store *store, struct slice after, int64_t since_ms, size_t limit, struct arena *a, struct slice **ret_sids,
	size_t *ret_count, struct slice *ret_last);
int sqlite_replay_calls(struct store *store, const struct slice *sids, size_t count, struct arena *a, struct replay_call *ret);
int sqlite_replay_legs(struct store *store, struct replay_leg *legs, size_t count);
int sqlite_journal_open(struct store *store, const struct slice *sids, size_t count);
int sqlite_journal_next(struct store *store, struct arena *a, struct journal_row *ret);
void sqlite_journal_close(struct store *store);
int sqlite_journal_strays(struct store *store, int64_t after_ms, struct slice after_id, size_t limit, struct arena *a, struct journal_row **ret,
	size_t *ret_count);

/* ---- retention (sqlite_retention.c) ---- */

int sqlite_kept_calls(struct store *store, struct slice after, size_t limit, bool ask_payloads, struct arena *a, struct kept_call **ret,
	size_t *ret_count, struct slice *ret_last);
int sqlite_forget_calls(struct store *store, const struct slice *sids, size_t count, size_t most, struct forgotten *ret);
int sqlite_forget_payloads(struct store *store, const struct slice *sids, size_t count, size_t most, struct forgotten *ret);
int sqlite_move_pruned(struct store *store, int64_t before_ms);
int sqlite_forget_strays(struct store *store, int64_t before_ms, struct slice user, bool payloads_only, size_t most, struct forgotten *ret);
int sqlite_person_find(struct store *store, const struct person *p, const struct slice *sids, size_t count, enum person_trace *ret);
int sqlite_person_forget(struct store *store, const struct person *p, size_t most, struct forgotten *ret);
int sqlite_person_places(struct store *store, const struct person *p, struct arena *a, struct person_place **ret, size_t *ret_count);
int sqlite_person_scrub(struct store *store, const struct person *p, bool *ret_rewritten, bool *ret_left);
/* A statement of the moment; sqlite_once_done ends it. */
OC_NODISCARD int sqlite_once(struct sqlite_connection *c, const char *sql, struct sqlite_binder *ret);
void sqlite_once_done(struct sqlite_binder *b);

/* sqlite_calls.c: brings the call's call_logs row up to date within the transaction. `was` is the row as loaded. */
OC_NODISCARD int sqlite_write_call_log(struct sqlite_store *s, const struct call_row *was, struct call_row *call, int64_t now_ms,
	struct arena *a, struct buf *scratch);

/* ---- reading and migrating ---- */

int sqlite_reader_open(const struct store_options *o, struct arena *message_arena, struct store_reader **ret, struct slice *ret_message);
void sqlite_reader_close(struct store_reader *r);
const char *sqlite_reader_last_error(const struct store_reader *r);
int sqlite_read_outcomes(struct store_reader *r, struct outcome_query *queries, size_t n, struct arena *a);
int sqlite_read_list(struct store_reader *r, const struct list_filter *f, struct arena *a, struct call_view **ret, size_t *ret_count,
	bool *ret_more);
int sqlite_read_call(struct store_reader *r, struct slice tenant, struct slice call_id, struct arena *a, struct call_detail *ret);
int sqlite_read_events(struct store_reader *r, const struct events_query *q, struct arena *a, struct event_view **ret, size_t *ret_count,
	bool *ret_more);
int sqlite_reader_ping(struct store_reader *r);

int sqlite_migrate_status(const struct store_options *o, struct arena *a, struct migrate_status *ret, struct slice *ret_message);
int sqlite_migrate_upgrade(const struct store_options *o, int to_version, migrate_say_fn say, void *context, struct arena *a,
	struct slice *ret_message);
int sqlite_migrate_downgrade(const struct store_options *o, migrate_say_fn say, void *context, struct arena *a, struct slice *ret_message);
