/* PostgreSQL behind store.h. Private to src/store/postgres*.c.
 *
 * A struct pg is one connection: non-blocking, always in pipeline mode, every wait with a deadline. What the database looks like
 * (whose call_logs, which column types) is read once a connection into a struct pg_schema, and the statements are written for it.
 * One thread at a time owns a struct pg and what hangs on it. */
#pragma once

#include <libpq-fe.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/error.h"
#include "store/backend.h"

/* ---- parameters (postgres_params.c): the binary format of single values and one-dimensional arrays ---- */

#define PG_PARAMS_MAX 24

struct pg_params {
	struct buf value[PG_PARAMS_MAX];
	bool null[PG_PARAMS_MAX];
	size_t count;
};

void pg_params_done(struct pg_params *p);
void pg_params_clear(struct pg_params *p);
bool pg_params_failed(const struct pg_params *p); /* out of memory, too many, or one larger than a message may be */

void pg_param_text(struct pg_params *p, struct slice s); /* none is NULL */
void pg_param_int8(struct pg_params *p, int64_t v);
void pg_param_int8_or_null(struct pg_params *p, int64_t v, int64_t null_value);

enum pg_element { PG_ELEMENT_BOOL = 16, PG_ELEMENT_BYTEA = 17, PG_ELEMENT_INT8 = 20, PG_ELEMENT_TEXT = 25, PG_ELEMENT_TIMESTAMPTZ = 1184 };

/* Begins an array parameter; exactly `count` pg_put_… follow. */
struct buf *pg_param_array(struct pg_params *p, enum pg_element element, size_t count);
void pg_put_bytes(struct buf *b, struct slice s); /* text or bytea; none is NULL */
void pg_put_int8(struct buf *b, int64_t v);
void pg_put_int8_or_null(struct buf *b, int64_t v, int64_t null_value);
void pg_put_bool(struct buf *b, bool v);
void pg_put_time_ms(struct buf *b, int64_t ms); /* 0, or beyond what PostgreSQL can say, is NULL */
/* A whole text[] of slices. */
void pg_param_texts(struct pg_params *p, const struct slice *s, size_t count);

/* Reading a result in binary format. NULL gives none, 0 or false. */
OC_NODISCARD int pg_get_text(const PGresult *res, int row, int column, struct arena *a, struct slice *ret);
struct slice pg_peek(const PGresult *res, int row, int column); /* points into the result */
int64_t pg_get_int8(const PGresult *res, int row, int column);
bool pg_get_bool(const PGresult *res, int row, int column);
int64_t pg_get_time_ms(const PGresult *res, int row, int column); /* timestamptz; infinity gives 0 */

/* ---- what the database looks like (postgres_schema.c) ---- */

enum pg_class {
	PG_ABSENT, PG_TEXT, PG_UUID, PG_INT2, PG_INT4, PG_INT8, PG_BOOL, PG_FLOAT, PG_NUMERIC, PG_INTERVAL, PG_TIMESTAMP, PG_TIMESTAMPTZ, PG_DATE,
	PG_JSON, PG_JSONB, PG_ENUM, PG_BYTEA, PG_OTHER,
};

struct pg_column {
	const char *name, *type;      /* type as SQL writes it, with its length */
	enum pg_class class;
	bool not_null, has_default, generated;
	const char *default_sql;      /* NULL where there is none */
	const char *labels;           /* of an enum: a quoted array literal */
	const char *fk_table, *fk_column; /* single-column foreign key, quoted; NULL where there is none */
	bool fk_readable;
};

enum pg_table_id { PG_CALL_LOGS, PG_JOURNAL, PG_CALL_FACTS, PG_TABLE_COUNT };

struct pg_table {
	bool exists;
	struct pg_column *columns;
	size_t count;
};

struct pg_schema {
	struct pg_table tables[PG_TABLE_COUNT];
	bool deferred_constraints; /* of call_logs: made immediate inside the savepoint */
	bool reads_in_role; /* outcomed_reader is there for this login: reads run under it */
	bool sees_nothing;  /* row security hides every row from this login when it writes */
	bool can_insert;
	const char *why_not_insert; /* names the columns; NULL when can_insert */
};

/* Never NULL: a column that is not there has class PG_ABSENT. */
const struct pg_column *pg_column(const struct pg_schema *s, enum pg_table_id table, const char *name);
bool pg_column_writable(const struct pg_column *c);
bool pg_makes_ids(const struct pg_schema *s); /* call_logs.id takes the id that we make from the room SID */

/* SQL that makes a value of a column's type. `expr` has the named SQL type; what the column cannot hold becomes NULL, never an error. */
void pg_sql_from_text(struct buf *b, const struct pg_column *c, const char *expr);
void pg_sql_from_time(struct buf *b, const struct pg_column *c, const char *expr);   /* timestamptz */
void pg_sql_from_int8(struct buf *b, const struct pg_column *c, const char *expr);
/* The same, but NULL where the row that a foreign key asks for is missing. */
void pg_sql_from_key(struct buf *b, const struct pg_column *c, const char *expr);
/* A value to compare a key column with, so that an index can be used. */
void pg_sql_to_compare(struct buf *b, const struct pg_column *c, const char *expr);
/* SQL that reads a column as text, timestamptz, bigint. NULL::… for an absent one. */
void pg_sql_text(struct buf *b, const struct pg_column *c, const char *alias);
void pg_sql_time(struct buf *b, const struct pg_column *c, const char *alias);
void pg_sql_int8(struct buf *b, const struct pg_column *c, const char *alias);
void pg_sql_json(struct buf *b, const struct pg_column *c, const char *alias); /* JSON text of any value */

/* ---- statements (postgres_sql.c) ---- */

#define PG_STATEMENTS(X) \
	X(BEGIN) X(BEGIN_READ) X(SETTINGS) X(READ_SETTINGS) X(COMMIT) X(SAVEPOINT) X(RELEASE) X(ROLLBACK_TO) X(BRIEF_LOCKS) X(IMMEDIATE) X(PING) \
	X(LOAD_NAMES) X(LOAD_LEGS) X(LOAD_LEG_WAITS) X(LEGS_INSERT) X(DUE_LEGS) X(LOAD_LOCK) X(LOAD_FACTS) X(LOAD_KNOWN) X(LOAD_HOST) X(LOAD_HOST_NAMES) X(LOAD_UNBOUND) \
	X(LOGS_DETACH) X(LOGS_UPDATE) X(LOGS_INSERT) X(LOGS_REMOVE) \
	X(FACTS_INSERT) X(FACTS_UPDATE) X(REVISIONS_KEEP) X(JOURNAL_REBIND) X(JOURNAL_REPOINT) X(JOURNAL_INSERT) X(JOURNAL_BIND) \
	X(WATCH_CLAIM) X(WATCH_MOVE) X(DUE_TIME) X(DUE_NAMES) X(DUE_SIDS) X(DUE_TENANTS) X(COUNT_ROWS) \
	X(READ_OUTCOMES) X(READ_LIST) X(READ_CALL) X(READ_EVENTS)

enum pg_statement {
#define X(name) PG_STMT_##name,
	PG_STATEMENTS(X)
#undef X
	PG_STMT_COUNT,
};

const char *pg_statement_name(enum pg_statement s);
/* The text for this schema; empty for a statement that this schema does not need. */
void pg_statement_sql(enum pg_statement s, const struct pg_schema *schema, struct buf *b);
/* postgres_sql_load.c, postgres_sql_write.c and postgres_sql_read.c: those that depend on the columns. */
extern const char pg_watch_claim_sql[], pg_watch_move_sql[]; /* postgres_watch.c */
extern const char pg_revisions_keep_sql[]; /* postgres_revisions.c */
extern const char pg_load_legs_sql[], pg_legs_insert_sql[]; /* postgres_marks.c */
void pg_sql_load_leg_waits(const struct pg_schema *s, struct buf *b);
void pg_sql_due_legs(const struct pg_schema *s, struct buf *b);
void pg_sql_own_mark(const struct pg_schema *s, struct buf *b); /* of the journal row e */
const char *pg_sql_is_aside(const struct pg_schema *s);         /* likewise */
bool pg_wants_leg_waits(const struct store_touch *t);
void pg_put_leg_waits(struct pg_params *p, const struct store_touch *t);
size_t pg_put_legs(struct pg_params *p, const struct store_changes *c); /* gives their number; with none p is left alone */
void pg_sql_load_host(const struct pg_schema *s, struct buf *b);
void pg_sql_load_host_names(const struct pg_schema *s, struct buf *b);
void pg_sql_load_unbound(const struct pg_schema *s, struct buf *b);
void pg_sql_due_names(const struct pg_schema *s, struct buf *b);
void pg_sql_due_sids(const struct pg_schema *s, struct buf *b);
void pg_sql_due_tenants(const struct pg_schema *s, struct buf *b);
void pg_sql_count(const struct pg_schema *s, struct buf *b);
void pg_sql_logs_detach(const struct pg_schema *s, struct buf *b);
void pg_sql_logs_remove(const struct pg_schema *s, struct buf *b);
void pg_sql_logs_update(const struct pg_schema *s, struct buf *b);
void pg_sql_logs_insert(const struct pg_schema *s, struct buf *b);
void pg_sql_facts_insert(const struct pg_schema *s, struct buf *b);
void pg_sql_facts_update(const struct pg_schema *s, struct buf *b);
void pg_sql_journal_insert(const struct pg_schema *s, struct buf *b);
void pg_sql_journal_rebind(const struct pg_schema *s, struct buf *b);
void pg_sql_journal_repoint(const struct pg_schema *s, struct buf *b);
void pg_sql_journal_bind(const struct pg_schema *s, struct buf *b);
void pg_sql_read_outcomes(const struct pg_schema *s, struct buf *b);
void pg_sql_read_list(const struct pg_schema *s, struct buf *b);
void pg_sql_read_call(const struct pg_schema *s, struct buf *b);
void pg_sql_read_events(const struct pg_schema *s, struct buf *b);

/* ---- a connection (postgres.c, postgres_connect.c) ---- */

enum pg_role { PG_WRITER, PG_READER };

/* An attempt to connect, which may outlast the call that began it. The hosts of the URL are numbered from 0. */
struct pg_attempt {
	PGconn *conn; /* NULL: none under way */
	PostgresPollingStatusType polling;
	unsigned hosts, first, at; /* how many; which is tried first, which is tried now */
	const char *host;          /* that one's name, libpq's */
	int host_ms;               /* what each has */
	int64_t host_until_ms;
};

struct pg {
	PGconn *conn;         /* NULL when down */
	struct pg_attempt attempt;
	enum pg_role role;
	char *url, *application;
	int timeout_ms;
	struct slice tenant;  /* of a reader: whose rows the next transaction may see; several with PG_TENANT_SEPARATOR between; none = nobody's */
	int64_t until_ms;     /* nothing is waited for beyond it, on the monotonic clock; 0 = no such moment */
	struct buf error;     /* the last error's text, NUL-terminated */
	char sqlstate[6];
	bool duplicate;       /* that error was a unique index of the journal's */
	int64_t retry_at_ms, backoff_ms; /* on the monotonic clock */
	int64_t batch_until_ms; /* deadline of the batch under way; 0 = none is */
	bool proved;          /* this connection has worked, and the server answered in time */
	unsigned unanswered;  /* syncs sent whose answer is still to come */
	unsigned schema_errors; /* in a row; the second one is reported as such */
	struct arena *schema_arena;
	struct pg_schema *schema; /* of this connection */
	struct pg_params params;  /* scratch of whoever sends next */
};

OC_NODISCARD int pg_init(struct pg *c, enum pg_role role, const struct store_options *o);
void pg_done(struct pg *c);
const char *pg_error(const struct pg *c);
int64_t pg_now_ms(void); /* monotonic */
int64_t pg_deadline(const struct pg *c);
int64_t pg_time_left_ms(const struct pg *c); /* of a statement that is sent now; at least 1 */

/* Connects unless connected; a connection that died meanwhile is replaced. OC_DOWN at once while a back-off runs, and soon while an attempt
 * is under way that did not come to an end before (a writer waits 250 ms for it; the next call goes on with it). */
OC_NODISCARD int pg_ready(struct pg *c);
/* The same without back-off, for open: OC_CONFIG where waiting will not help. */
OC_NODISCARD int pg_connect(struct pg *c);
/* Only the connection, out of pipeline mode; for the migrator. */
OC_NODISCARD int pg_connect_bare(struct pg *c);
void pg_drop(struct pg *c);
/* Drops it with this as its error, NULL for libpq's own text. OC_DOWN. */
int pg_lost(struct pg *c, const char *why);
/* 0 when the socket is ready, OC_TIMEOUT at the deadline. */
OC_NODISCARD int pg_wait_socket(PGconn *conn, short events, int64_t deadline);
/* One simple query (several statements are allowed) on such a connection, with no deadline; the last result into *ret (may be NULL). */
OC_NODISCARD int pg_exec(struct pg *c, const char *sql, PGresult **ret);

/* Sending adds to the pipeline; nothing is waited for. */
OC_NODISCARD int pg_send(struct pg *c, enum pg_statement s, const struct pg_params *p);
OC_NODISCARD int pg_send_sql(struct pg *c, const char *sql, const struct pg_params *p);
OC_NODISCARD int pg_sync(struct pg *c);
/* The answer to the next statement sent. An error of the database gives its class; the statements up to the next sync are then not
 * carried out: pg_recover takes their answers. ret may be NULL. */
OC_NODISCARD int pg_expect(struct pg *c, int64_t deadline, PGresult **ret);
OC_NODISCARD int pg_expect_sync(struct pg *c, int64_t deadline);
/* Takes all answers up to the next sync. */
OC_NODISCARD int pg_skip_to_sync(struct pg *c, int64_t deadline);
/* After an error: takes the answers to all that was sent, and rolls back. Drops the connection if that fails. */
void pg_recover(struct pg *c);
/* BEGIN and the settings that hold for one transaction, of a reader c->tenant among them. */
OC_NODISCARD int pg_send_begin(struct pg *c);
OC_NODISCARD int pg_expect_begin(struct pg *c, int64_t deadline);
/* One statement between BEGIN and COMMIT, one round trip. `p` (may be NULL) is not c->params. After an error the connection is rolled back or
 * dropped. */
OC_NODISCARD int pg_ask(struct pg *c, enum pg_statement statement, const struct pg_params *p, int64_t deadline, PGresult **ret);

/* enum oc_error of a SQLSTATE. */
int pg_error_class(const char *sqlstate);
void pg_set_error(struct pg *c, const char *sqlstate, const char *text);

static inline void pg_clearp(PGresult **res) { PQclear(*res); }
#define _cleanup_pg_ __attribute__((cleanup(pg_clearp)))

/* Reads the schema on a fresh connection (postgres_schema.c); also used by the migrator, on any connection in pipeline mode.
 * Replaces c->schema. */
OC_NODISCARD int pg_read_schema(struct pg *c, int64_t deadline);
/* Is it the version this binary needs? OC_SCHEMA with what to do in the error text. */
OC_NODISCARD int pg_check_version(struct pg *c, int64_t deadline);

/* ---- whose rows a connection sees (postgres_roles.c) ---- */

extern const char pg_read_settings_sql[]; /* postgres_sql.c */
#define PG_TENANT_SEPARATOR '\x1f'
extern const char pg_sight_sql[]; /* one row: reads_in_role, sees_nothing */
OC_NODISCARD int pg_check_sight(struct pg *c); /* OC_SCHEMA with the GRANT in the error text where this login sees nothing */
void pg_sql_read_settings(const struct pg_schema *s, struct buf *b);

/* ---- the parts of store_ops ---- */

struct pg_skipped { /* a call whose call_logs row was refused: store_due leaves it alone for a while */
	char sid[64];
	int64_t until_ms; /* monotonic */
	bool locked;      /* by the host: commit does not wait for it again meanwhile */
};
#define PG_SKIPPED_MAX 64
#define PG_LOCKED_MS 5000 /* between two waits for one row that the host holds a lock on */

/* Where store_journal_next goes on: a cursor of the open transaction, and what was fetched of it. */
struct pg_journal {
	bool open;
	PGresult *rows;
	int at;
};

struct pg_store {
	struct store base;
	struct pg pg;
	bool in_batch;
	unsigned duplicates; /* in a row */
	int64_t careful_until_ms; /* monotonic; call_logs has refused a row lately */
	bool has_waited;          /* for the lock that made the last batch fail */
	bool stale; /* call_logs is no longer what the statements were made for */
	struct call_row *before; /* as loaded, in the batch's arena; stored call_log_id instead of a host's row found by load; exists: the
	                          * journal may have events of it */
	size_t before_count;
	struct pg_skipped skipped[PG_SKIPPED_MAX];
	size_t skipped_next;
	struct buf names_cursor, sids_cursor, tenants_cursor, legs_cursor; /* where store_due goes on looking */
	struct pg_journal journal;
};

/* What a failed batch says to the writer. OC_RETRY, once in a row, for statements that do not fit the tables any more (they are made anew)
 * and for an event id that came into the journal between the look and the insert. */
int pg_batch_error(struct pg_store *s, int error);
/* A call whose call_logs row the host's database refuses, or holds a lock on. */
void pg_skip_call(struct pg_store *s, struct slice sid, bool locked);
bool pg_is_locked(const struct pg_store *s, struct slice sid);

int pg_store_open(const struct store_options *o, struct arena *message_arena, struct store **ret, struct slice *ret_message);
void pg_store_close(struct store *s);
const char *pg_store_last_error(const struct store *s);
int pg_batch_load(struct store *s, const struct store_touch *touch, struct arena *a, struct store_loaded *ret);
int pg_batch_commit(struct store *s, const struct store_changes *c, struct arena *a);
void pg_batch_abort(struct store *s);
int pg_due(struct store *s, int64_t now_ms, size_t limit, struct arena *a, struct slice **ret_sids, size_t *ret_count);
int pg_watch_claim(struct store *s, const struct watch_claim *c, struct arena *a, struct watch_row **ret, size_t *ret_count);
int pg_watch_move(struct store *s, struct slice room_sid, int64_t was_ms, int64_t at_ms);
int pg_count(struct store *s, struct store_counts *ret);

/* replaying (postgres_replay.c) */
int pg_replay_begin(struct store *s);
int pg_replay_count(struct store *s, int64_t *ret);
int pg_replay_find(struct store *s, struct slice call_id, struct arena *a, struct slice *ret_sid);
int pg_replay_rooms(struct store *s, struct slice after, int64_t since_ms, size_t limit, struct arena *a, struct slice **ret_sids, size_t *ret_count,
	struct slice *ret_last);
int pg_replay_calls(struct store *s, const struct slice *sids, size_t count, struct arena *a, struct replay_call *ret);
int pg_replay_legs(struct store *s, struct replay_leg *legs, size_t count);
int pg_journal_open(struct store *s, const struct slice *sids, size_t count);
int pg_journal_next(struct store *s, struct arena *a, struct journal_row *ret);
void pg_journal_close(struct store *s);
int pg_journal_strays(struct store *s, int64_t after_ms, struct slice after_id, size_t limit, struct arena *a, struct journal_row **ret, size_t *ret_count);

/* retention (postgres_retention.c) */
int pg_kept_calls(struct store *store, struct slice after, size_t limit, bool ask_payloads, struct arena *a, struct kept_call **ret, size_t *ret_count,
	struct slice *ret_last);
int pg_forget_calls(struct store *store, const struct slice *sids, size_t count, size_t most, struct forgotten *ret);
int pg_forget_payloads(struct store *store, const struct slice *sids, size_t count, size_t most, struct forgotten *ret);
int pg_move_pruned(struct store *store, int64_t before_ms);
int pg_forget_strays(struct store *store, int64_t before_ms, struct slice user, bool payloads_only, size_t most, struct forgotten *ret);
int pg_person_find(struct store *store, const struct person *p, const struct slice *sids, size_t count, enum person_trace *ret);
int pg_person_forget(struct store *store, const struct person *p, size_t most, struct forgotten *ret);
int pg_person_places(struct store *store, const struct person *p, struct arena *a, struct person_place **ret, size_t *ret_count);
int pg_person_scrub(struct store *store, const struct person *p, bool *ret_rewritten, bool *ret_left);
/* A statement of the moment with s->pg.params, and its answer, inside the open transaction; after an error the caller aborts. */
OC_NODISCARD int pg_ask_text(struct pg_store *s, struct buf *sql, PGresult **ret);

int pg_reader_open(const struct store_options *o, struct arena *message_arena, struct store_reader **ret, struct slice *ret_message);
void pg_reader_close(struct store_reader *r);
const char *pg_reader_last_error(const struct store_reader *r);
int pg_read_outcomes(struct store_reader *r, struct outcome_query *queries, size_t n, struct arena *a);
int pg_read_list(struct store_reader *r, const struct list_filter *f, struct arena *a, struct call_view **ret, size_t *ret_count, bool *ret_more);
int pg_read_call(struct store_reader *r, struct slice tenant, struct slice call_id, struct arena *a, struct call_detail *ret);
int pg_read_events(struct store_reader *r, const struct events_query *q, struct arena *a, struct event_view **ret, size_t *ret_count, bool *ret_more);
int pg_reader_ping(struct store_reader *r);

/* ---- migrations (postgres_migrate.c, postgres_index.c) ---- */

struct pg_migrator {
	struct pg pg;
	migrate_say_fn say;
	void *context;
	bool has_tables; /* outcomed_migrations is there */
	int version;
	bool newer, altered;
};

void pg_say(struct pg_migrator *m, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Indexes that a version noted: inside its transaction those on tables that are ours or empty; afterwards the rest, CONCURRENTLY. */
OC_NODISCARD int pg_build_small_indexes(struct pg_migrator *m);
OC_NODISCARD int pg_build_indexes(struct pg_migrator *m);

int pg_migrate_status(const struct store_options *o, struct arena *a, struct migrate_status *ret, struct slice *ret_message);
int pg_migrate_upgrade(const struct store_options *o, int to_version, migrate_say_fn say, void *context, struct arena *a, struct slice *ret_message);
int pg_migrate_downgrade(const struct store_options *o, migrate_say_fn say, void *context, struct arena *a, struct slice *ret_message);

#define PG_CANDIDATES 8 /* host's rows of a call's name that a load looks at */
