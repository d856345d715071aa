/* A SQLite connection: opening with advice, prepared statements, binding with checks, errors made ours.
 * Invariant: no text with a NUL or bad UTF-8 gets into the file; PostgreSQL would refuse it and the stores are to agree.
 * Threads: a connection belongs to one thread. */
#include "store/sqlite.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"

#define CHECKPOINT_PAGES 10000
#define CHECKPOINT_WAIT_MS 250

/* ---- errors ---- */

static int error_of(int rc, const char *message)
{
	if (rc == SQLITE_IOERR_NOMEM)
		return OC_NOMEM;
	if (rc == SQLITE_IOERR_FSYNC || rc == SQLITE_IOERR_DIR_FSYNC)
		return OC_FSYNC;
	switch (rc & 0xff) {
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
	case SQLITE_SCHEMA:
		return OC_RETRY;
	case SQLITE_NOMEM:
		return OC_NOMEM;
	case SQLITE_INTERRUPT:
		return OC_TIMEOUT;
	case SQLITE_CANTOPEN:
		return OC_DOWN;
	case SQLITE_CONSTRAINT:
	case SQLITE_MISMATCH:
	case SQLITE_TOOBIG:
	case SQLITE_RANGE:
		return OC_DATA;
	case SQLITE_ERROR:
		return strncmp(message, "no such ", 8) == 0 ? OC_SCHEMA : OC_DATA;
	default: /* FULL, IOERR, READONLY, CORRUPT, NOTADB and what SQLite may add */
		return OC_IO;
	}
}

int sqlite_error(struct sqlite_connection *c, int rc)
{
	if (rc == SQLITE_OK || rc == SQLITE_ROW || rc == SQLITE_DONE)
		return 0;
	const char *message = c->db ? sqlite3_errmsg(c->db) : sqlite3_errstr(rc);
	int error = error_of(rc, message);

	if (error == OC_IO || error == OC_DOWN)
		c->broken = true;
	if (error == OC_FSYNC)
		c->sync_failed = true;
	snprintf(c->error, sizeof c->error, "%s (SQLite %d)%s", message, rc, (rc & 0xff) == SQLITE_CORRUPT ? "; `outcomed check` tells the way back" : "");
	return error;
}

int sqlite_refuse(struct sqlite_connection *c, const char *text)
{
	snprintf(c->error, sizeof c->error, "%s", text);
	return OC_DATA;
}

/* ---- opening ---- */

/* sqlite:PATH, sqlite:///absolute. NULL and a message where it is neither. */
static char *path_of_url(struct slice url, struct arena *a, struct slice *ret_message)
{
	struct slice path = slice_of(url.p + strlen("sqlite:"), url.n - strlen("sqlite:"));

	if (slice_starts_with(path, SLICE("//"))) {
		path = slice_of(path.p + 2, path.n - 2);
		if (!slice_starts_with(path, SLICE("/"))) {
			store_fail(OC_CONFIG, a, ret_message, "write sqlite:%.*s for a path from here, or sqlite:///… for one from the root",
				SLICE_FMT(path));
			return NULL;
		}
		while (slice_starts_with(path, SLICE("//")))
			path = slice_of(path.p + 1, path.n - 1);
	}
	if (path.n == 0 || path.p[0] == ':' || memchr(path.p, '\0', path.n)) {
		store_fail(OC_CONFIG, a, ret_message, "sqlite: needs the path of a file; what is kept in memory would not be durable");
		return NULL;
	}
	char *copy = strndup(path.p, path.n);
	if (!copy)
		store_fail(OC_NOMEM, a, ret_message, "out of memory");
	return copy;
}

/* The caller frees it; NULL when out of memory. */
static char *directory_of(const char *path)
{
	const char *slash = strrchr(path, '/');
	size_t n = slash == path ? 1 : slash ? (size_t)(slash - path) : 0;
	return n ? strndup(path, n) : strdup(".");
}

/* What may pass, with the disk, and what is there to be put right by somebody. */
static int error_of_open(int number) { return number == EROFS || number == ENOSPC || number == EDQUOT || number == EIO ? OC_IO : OC_CONFIG; }

static int check_directory(const char *path, struct arena *a, struct slice *ret_message)
{
	char *directory = directory_of(path);
	struct stat st;
	int r = 0;

	if (!directory)
		return OC_NOMEM;
	if (stat(directory, &st) < 0)
		r = store_fail(error_of_open(errno), a, ret_message, "the database's directory %s cannot be used: %s; create it first", directory,
			strerror(errno));
	else if (!S_ISDIR(st.st_mode))
		r = store_fail(OC_CONFIG, a, ret_message, "%s is no directory, so no database can be in it", directory);
	else if (access(directory, W_OK | X_OK) < 0)
		r = store_fail(error_of_open(errno), a, ret_message, "the database's directory %s is not writable (%s); SQLite keeps its journal beside the file",
			directory, strerror(errno));
	free(directory);
	return r;
}

static int check_file(const char *path, enum sqlite_role role, struct arena *a, struct slice *ret_message)
{
	struct stat st;

	if (stat(path, &st) == 0) {
		if (!S_ISREG(st.st_mode))
			return store_fail(OC_CONFIG, a, ret_message, "%s is no regular file", path);
		if (access(path, R_OK | W_OK) < 0)
			return store_fail(error_of_open(errno), a, ret_message, "the database %s is not readable and writable: %s", path, strerror(errno));
		return 0;
	}
	if (errno != ENOENT)
		return store_fail(error_of_open(errno), a, ret_message, "the database %s cannot be used: %s", path, strerror(errno));
	if (role != SQLITE_MIGRATOR)
		return store_fail(OC_NOT_FOUND, a, ret_message, "there is no database %s yet: run outcomed migrate upgrade", path);
	int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0 && errno != EEXIST)
		return store_fail(error_of_open(errno), a, ret_message, "the database %s cannot be created: %s", path, strerror(errno));
	if (fd >= 0)
		close(fd);
	return 0;
}

static int set_up(struct sqlite_connection *c, enum sqlite_role role, struct arena *a, struct slice *ret_message)
{
	static const char *const pragmas[] = {
		[SQLITE_WRITER] = ("PRAGMA synchronous = FULL; PRAGMA foreign_keys = OFF;"
				   "PRAGMA journal_size_limit = 67108864; PRAGMA cache_size = -16000; PRAGMA temp_store = MEMORY;"),
		[SQLITE_READER] = "PRAGMA query_only = ON; PRAGMA cache_size = -4000; PRAGMA temp_store = MEMORY;",
		[SQLITE_MIGRATOR] = "PRAGMA synchronous = FULL; PRAGMA foreign_keys = OFF;",
	};

	sqlite3_busy_timeout(c->db, c->timeout_ms);
	if (sqlite3_db_readonly(c->db, "main") == 1)
		return store_fail(OC_CONFIG, a, ret_message, "the database %s can only be read: check its owner and the file system", c->path);
	int r = sqlite_exec(c, pragmas[role]);
	if (r == 0 && role != SQLITE_READER) {
		sqlite3_stmt *st = NULL;
		int rc = sqlite3_prepare_v2(c->db, "PRAGMA journal_mode = WAL", -1, &st, NULL);
		if (rc == SQLITE_OK)
			rc = sqlite3_step(st);
		const char *mode = rc == SQLITE_ROW ? (const char *)sqlite3_column_text(st, 0) : NULL;
		bool wal = mode && strcmp(mode, "wal") == 0;
		r = sqlite_error(c, rc);
		sqlite3_finalize(st);
		if (r == 0 && !wal)
			return store_fail(OC_CONFIG, a, ret_message, "%s is on a file system that cannot share memory (WAL): use a local disk", c->path);
	}
	if (r == 0)
		return 0;
	if (strstr(c->error, "not a database"))
		return store_fail(OC_CONFIG, a, ret_message, "%s is not a SQLite database: choose another file", c->path);
	return store_fail(r, a, ret_message, "the database %s cannot be opened: %s", c->path, c->error);
}

/* ---- durability ---- */

/* A file that is not there, a directory that may not be read or synced: nothing to do. */
static int sync_path(struct sqlite_connection *c, const char *path)
{
	int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1, r = 0;

	if (!path)
		return OC_NOMEM;
	if (fd >= 0 && fsync(fd) < 0 && errno != EINVAL && errno != EROFS) {
		snprintf(c->error, sizeof c->error, "%s cannot be synced: %s", path, strerror(errno));
		c->sync_failed = true;
		r = OC_FSYNC;
	}
	if (fd >= 0)
		close(fd);
	return r;
}

/* What an earlier process left in the log reads well and may be on no disk: it died before its sync, or its sync failed and the pages were
 * marked clean. So the log is synced, its content is written once more, to the database, and the next thing goes to its beginning. Where
 * another process keeps us from that, it has kept the log's index too, in which only what was synced is. Then the names of the
 * files: SQLite lets it pass when these cannot be synced. */
static int make_sure(struct sqlite_connection *c)
{
	char *log = NULL, *directory = directory_of(c->path);
	int r = asprintf(&log, "%s-wal", c->path) < 0 ? OC_NOMEM : sync_path(c, log);

	if (r == 0) {
		sqlite3_busy_timeout(c->db, c->timeout_ms < CHECKPOINT_WAIT_MS ? c->timeout_ms : CHECKPOINT_WAIT_MS);
		r = sqlite_error(c, sqlite3_wal_checkpoint_v2(c->db, "main", SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL));
		sqlite3_busy_timeout(c->db, c->timeout_ms);
	}
	if (r == 0 || r == OC_RETRY)
		r = sync_path(c, directory);
	free(log);
	free(directory);
	return r;
}

/* The commit itself is durable by now. A checkpoint that fails otherwise is made again after the next one. */
static int after_commit(void *context, sqlite3 *db, const char *name, int pages)
{
	struct sqlite_connection *c = context;

	if (pages < CHECKPOINT_PAGES)
		return SQLITE_OK;
	int rc = sqlite3_wal_checkpoint_v2(db, name, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
	if (rc == SQLITE_IOERR_FSYNC)
		sqlite_error(c, rc);
	return SQLITE_OK;
}

int sqlite_connect(struct sqlite_connection *c, const struct store_options *o, enum sqlite_role role, struct arena *a, struct slice *ret_message)
{
	*c = (struct sqlite_connection){ .timeout_ms = o->timeout_ms > 0 ? o->timeout_ms : 10000 };
	c->path = path_of_url(o->url, a, ret_message);
	if (!c->path)
		return OC_CONFIG;
	int r = check_directory(c->path, a, ret_message);
	if (r == 0)
		r = check_file(c->path, role, a, ret_message);
	if (r == 0) {
		int rc = sqlite3_open_v2(c->path, &c->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, NULL);
		r = rc == SQLITE_OK ? set_up(c, role, a, ret_message)
				    : store_fail(sqlite_error(c, rc), a, ret_message, "the database %s cannot be opened: %s", c->path, c->error);
	}
	if (r == 0 && role == SQLITE_WRITER) {
		r = make_sure(c);
		if (r < 0)
			store_fail(r, a, ret_message, "the database %s: %s", c->path, c->error);
		sqlite3_wal_hook(c->db, after_commit, c);
	}
	if (r == 0) {
		r = sqlite_note_files(c);
		if (r < 0)
			store_fail(r, a, ret_message, "the database %s cannot be used: %s", c->path, c->error);
	}
	if (r < 0)
		sqlite_disconnect(c);
	return r;
}

static void finalize_all(struct sqlite_connection *c)
{
	for (size_t i = 0; i < c->statement_count; i++)
		sqlite3_finalize(c->statements[i]);
	c->statement_count = 0;
}

void sqlite_disconnect(struct sqlite_connection *c)
{
	finalize_all(c);
	sqlite3_close_v2(c->db);
	free(c->path);
	c->db = NULL;
	c->path = NULL;
}

int sqlite_prepare(struct sqlite_connection *c, const char *const *sql, size_t count)
{
	assert(count <= SQLITE_STATEMENTS_MAX);
	finalize_all(c);
	for (size_t i = 0; i < count; i++) {
		int rc = sqlite3_prepare_v3(c->db, sql[i], -1, SQLITE_PREPARE_PERSISTENT, &c->statements[i], NULL);
		if (rc != SQLITE_OK)
			return sqlite_error(c, rc);
		c->statement_count = i + 1;
	}
	return 0;
}

int sqlite_exec(struct sqlite_connection *c, const char *sql) { return sqlite_error(c, sqlite3_exec(c->db, sql, NULL, NULL, NULL)); }

int sqlite_query_int(struct sqlite_connection *c, const char *sql, const char *parameter, int64_t *ret)
{
	sqlite3_stmt *st = NULL;
	int rc = sqlite3_prepare_v2(c->db, sql, -1, &st, NULL);

	if (rc == SQLITE_OK && parameter)
		rc = sqlite3_bind_text(st, 1, parameter, -1, SQLITE_STATIC);
	if (rc == SQLITE_OK)
		rc = sqlite3_step(st);
	int r = rc == SQLITE_DONE ? OC_NOT_FOUND : sqlite_error(c, rc);
	if (r == 0)
		*ret = sqlite3_column_int64(st, 0);
	sqlite3_finalize(st);
	return r;
}

/* ---- binding and stepping ---- */

struct sqlite_binder sqlite_bind(struct sqlite_connection *c, size_t statement)
{
	return (struct sqlite_binder){ .c = c, .st = c->statements[statement] };
}

static void bound(struct sqlite_binder *b, int rc)
{
	if (rc != SQLITE_OK && b->error == 0)
		b->error = sqlite_error(b->c, rc);
}

void bind_text(struct sqlite_binder *b, struct slice s)
{
	b->at++;
	if (slice_is_none(s)) {
		bound(b, sqlite3_bind_null(b->st, b->at));
		return;
	}
	if (b->error == 0 && s.n && memchr(s.p, '\0', s.n))
		b->error = sqlite_refuse(b->c, "a text has a NUL character in it");
	else if (b->error == 0 && !slice_is_utf8(s))
		b->error = sqlite_refuse(b->c, "a text is not UTF-8");
	bound(b, sqlite3_bind_text64(b->st, b->at, s.p, s.n, SQLITE_STATIC, SQLITE_UTF8));
}

void bind_blob(struct sqlite_binder *b, struct slice s)
{
	b->at++;
	bound(b, slice_is_none(s) ? sqlite3_bind_null(b->st, b->at) : sqlite3_bind_blob64(b->st, b->at, s.p, s.n, SQLITE_STATIC));
}

void bind_int(struct sqlite_binder *b, int64_t v) { bound(b, sqlite3_bind_int64(b->st, ++b->at, v)); }

void bind_int_or_null(struct sqlite_binder *b, int64_t v, int64_t null_value)
{
	b->at++;
	bound(b, v == null_value ? sqlite3_bind_null(b->st, b->at) : sqlite3_bind_int64(b->st, b->at, v));
}

void bind_time(struct sqlite_binder *b, int64_t ms)
{
	_cleanup_buf_ struct buf text = BUF_INIT;

	b->at++;
	if (ms == 0) {
		bound(b, sqlite3_bind_null(b->st, b->at));
		return;
	}
	buf_put_rfc3339_ms(&text, ms);
	if (buf_failed(&text))
		bound(b, SQLITE_NOMEM);
	else
		bound(b, sqlite3_bind_text64(b->st, b->at, text.p, text.n, SQLITE_TRANSIENT, SQLITE_UTF8));
}

int sqlite_row(struct sqlite_binder *b)
{
	if (b->error)
		return b->error;
	int rc = sqlite3_step(b->st);
	if (rc == SQLITE_ROW)
		return 1;
	b->error = sqlite_error(b->c, rc);
	sqlite3_reset(b->st);
	return b->error;
}

void sqlite_reset(struct sqlite_binder *b) { sqlite3_reset(b->st); }

int sqlite_run(struct sqlite_binder *b)
{
	int r = sqlite_row(b);
	if (r > 0) {
		sqlite_reset(b);
		r = 0;
	}
	return r;
}

bool column_text(const struct sqlite_binder *b, int column, struct arena *a, struct slice *ret)
{
	const char *text = (const char *)sqlite3_column_text(b->st, column);

	if (!text) {
		*ret = SLICE_NONE;
		return sqlite3_column_type(b->st, column) == SQLITE_NULL;
	}
	return arena_copy(a, slice_of(text, (size_t)sqlite3_column_bytes(b->st, column)), ret);
}
