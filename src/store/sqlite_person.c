/* A person found and forgotten in a SQLite file: a function of SQL that looks for them in any text, the columns of every table as the file has them,
 * and the file's own bytes at the end. Threads: the one that owns the struct store. */
#include "store/sqlite.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define PIECE_BYTES 1048576
#define OVERLAP_BYTES 512 /* longer than anybody's number or id, however it is written */

static struct sqlite_store *store_of(struct store *s) { return (struct sqlite_store *)s; }

static const char *const our_tables[] = { "livekit_call_events", "call_facts", "call_legs", "call_revisions" };

static void mentions(sqlite3_context *context, int count, sqlite3_value **values)
{
	const struct person *p = sqlite3_user_data(context);
	(void)count;
	int type = sqlite3_value_type(values[0]);
	if (type != SQLITE_TEXT && type != SQLITE_BLOB) {
		sqlite3_result_int(context, 0);
		return;
	}
	const char *bytes = type == SQLITE_TEXT ? (const char *)sqlite3_value_text(values[0]) : sqlite3_value_blob(values[0]);
	size_t n = (size_t)sqlite3_value_bytes(values[0]);
	sqlite3_result_int(context, bytes && person_is_mentioned(p, slice_of(bytes, n)));
}

static int look_for(struct sqlite_store *s, const struct person *p)
{
	return sqlite_error(&s->c, sqlite3_create_function_v2(s->c.db, "person_in", 1, SQLITE_UTF8, (void *)(uintptr_t)p, mentions, NULL, NULL, NULL));
}

/* Binds what the statement names of these. */
static void bind_named(struct sqlite_binder *b, const char *name, struct slice text)
{
	int at = sqlite3_bind_parameter_index(b->st, name);
	if (at) {
		b->at = at - 1;
		bind_text(b, text);
	}
}

/* ---- what a row has ---- */

struct names {
	struct slice *name;
	size_t count;
};

/* Not "bodyHash": it is a hash's digits. */
static int columns_of(struct sqlite_store *s, const char *table, struct arena *a, struct names *ret)
{
	struct sqlite_binder b;
	struct slice *names = ARENA_ARRAY(a, struct slice, 200);
	size_t count = 0;
	if (!names)
		return OC_NOMEM;
	int r = sqlite_once(&s->c, "SELECT name FROM pragma_table_info(?1) WHERE name <> 'bodyHash'", &b);
	if (r == 0) {
		bind_text(&b, slice_cstr(table));
		while (count < 200 && (r = sqlite_row(&b)) > 0)
			if (!column_text(&b, 0, a, &names[count++])) {
				r = OC_NOMEM;
				break;
			}
	}
	sqlite_once_done(&b);
	*ret = (struct names){ names, count };
	return r < 0 ? r : 0;
}

static void put_name(struct buf *b, struct slice name)
{
	buf_putc(b, '"');
	for (size_t i = 0; i < name.n; i++) {
		if (name.p[i] == '"')
			buf_putc(b, '"');
		buf_putc(b, name.p[i]);
	}
	buf_putc(b, '"');
}

static int put_any(struct sqlite_store *s, const char *table, struct arena *a, struct buf *b)
{
	struct names c;
	int r = columns_of(s, table, a, &c);
	buf_putc(b, '(');
	for (size_t i = 0; r == 0 && i < c.count; i++) {
		buf_puts(b, i ? " OR person_in(" : "person_in(");
		put_name(b, c.name[i]);
		buf_putc(b, ')');
	}
	buf_putc(b, ')');
	return r;
}

/* Of a row in call_logs, what we write: what else a host keeps there is no reason to forget a call. */
#define OF_CALL_LOGS "(person_in(\"phoneNumber\") OR person_in(\"livekitRoomName\") OR person_in(\"sipCallId\") OR person_in(\"recordingUrl\"))"

static int put_find(struct sqlite_store *s, const struct person *p, struct arena *a, struct buf *b)
{
	if (slice_is_none(p->digits)) {
		buf_puts(b, "SELECT CASE WHEN EXISTS (SELECT 1 FROM call_facts WHERE \"roomSid\" = :sid AND \"userId\" = :user) OR (NOT EXISTS (SELECT 1 FROM call_facts "
			"WHERE \"roomSid\" = :sid) AND EXISTS (SELECT 1 FROM livekit_call_events WHERE \"roomSid\" = :sid AND \"userId\" = :user)) THEN 2 "
			"WHEN EXISTS (SELECT 1 FROM call_facts WHERE \"roomSid\" = :sid AND person_in(facts)) THEN 1 ELSE 0 END");
		return buf_failed(b) ? OC_NOMEM : 0;
	}
	buf_puts(b, "SELECT 2 * (EXISTS (SELECT 1 FROM call_logs WHERE \"livekitRoomSid\" = :sid AND " OF_CALL_LOGS ")");
	for (size_t i = 0; i < sizeof our_tables / sizeof *our_tables; i++) {
		buf_putf(b, " OR EXISTS (SELECT 1 FROM %s WHERE \"roomSid\" = :sid AND ", our_tables[i]);
		int r = put_any(s, our_tables[i], a, b);
		if (r < 0)
			return r;
		buf_putc(b, ')');
	}
	buf_puts(b, ")");
	return buf_failed(b) ? OC_NOMEM : 0;
}

int sqlite_person_find(struct store *store, const struct person *p, const struct slice *sids, size_t count, enum person_trace *ret)
{
	struct sqlite_store *s = store_of(store);
	_cleanup_arena_ struct arena *a = arena_new(8192);
	_cleanup_buf_ struct buf sql = BUF_INIT;
	struct sqlite_binder b = { .st = NULL };
	int r = a ? look_for(s, p) : OC_NOMEM;
	if (r == 0)
		r = put_find(s, p, a, &sql);
	buf_putc(&sql, '\0');
	if (r == 0)
		r = buf_failed(&sql) ? OC_NOMEM : sqlite_once(&s->c, sql.p, &b);
	for (size_t i = 0; i < count && r == 0; i++) {
		bind_named(&b, ":sid", sids[i]);
		bind_named(&b, ":user", p->user);
		r = sqlite_row(&b);
		if (r > 0) {
			ret[i] = (enum person_trace)sqlite3_column_int(b.st, 0);
			sqlite_reset(&b);
			r = 0;
		}
	}
	sqlite_once_done(&b);
	return r;
}

/* ---- what goes ---- */

static int change(struct sqlite_store *s, const char *sql, const struct person *p, int64_t *ret)
{
	struct sqlite_binder b;
	int r = sqlite_once(&s->c, sql, &b);
	if (r == 0) {
		bind_named(&b, ":user", p->user);
		r = sqlite_run(&b);
	}
	if (r == 0)
		*ret += sqlite3_changes64(s->c.db);
	sqlite_once_done(&b);
	return r;
}

static int forget_events(struct sqlite_store *s, const struct person *p, size_t most, struct arena *a, int64_t *ret)
{
	_cleanup_buf_ struct buf sql = BUF_INIT;
	int r = 0;
	buf_puts(&sql, "DELETE FROM livekit_call_events WHERE id IN (SELECT id FROM livekit_call_events WHERE ");
	if (slice_is_none(p->digits))
		buf_puts(&sql, "\"userId\" = :user");
	else
		r = put_any(s, "livekit_call_events", a, &sql);
	if (!slice_is_none(p->digits))
		buf_puts(&sql, " AND \"roomSid\" IS NULL");
	buf_putf(&sql, " LIMIT %zu)%c", most, 0);
	if (r == 0)
		r = buf_failed(&sql) ? OC_NOMEM : change(s, sql.p, p, ret);
	return r;
}

static int forget_where_found(struct sqlite_store *s, const struct person *p, const char *table, struct arena *a, int64_t *ret)
{
	_cleanup_buf_ struct buf sql = BUF_INIT;
	buf_putf(&sql, "DELETE FROM %s WHERE ", table);
	int r = put_any(s, table, a, &sql);
	buf_putc(&sql, '\0');
	if (r == 0)
		r = buf_failed(&sql) ? OC_NOMEM : change(s, sql.p, p, ret);
	return r;
}

/* What we write into a host's row beside what it requires. */
static int clear_host_rows(struct sqlite_store *s, const struct person *p, int64_t *ret)
{
	static const char *const columns[] = { "phoneNumber", "sipCallId", "recordingUrl", "outcome", "duration", "endedAt" };
	_cleanup_buf_ struct buf sql = BUF_INIT;
	buf_puts(&sql, "UPDATE call_logs SET metadata = CASE WHEN json_valid(metadata) THEN json_remove(metadata, '$.outcomed') ELSE metadata END");
	for (size_t i = 0; i < sizeof columns / sizeof *columns; i++) {
		int64_t required = 0;
		_cleanup_buf_ struct buf ask = BUF_INIT;
		buf_putf(&ask, "SELECT \"notnull\" FROM pragma_table_info('call_logs') WHERE name = '%s'%c", columns[i], 0);
		int r = buf_failed(&ask) ? OC_NOMEM : sqlite_query_int(&s->c, ask.p, NULL, &required);
		if (r < 0 && r != OC_NOT_FOUND)
			return r;
		if (r == 0 && !required)
			buf_putf(&sql, ", \"%s\" = NULL", columns[i]);
	}
	buf_puts(&sql, slice_is_none(p->digits) ? " WHERE \"userId\" = :user AND (json_valid(metadata) AND json_type(metadata, '$.outcomed') IS NOT NULL)"
						: " WHERE " OF_CALL_LOGS " AND (person_in(\"phoneNumber\") OR person_in(\"sipCallId\") OR "
						  "person_in(\"recordingUrl\") OR (json_valid(metadata) AND json_type(metadata, '$.outcomed') IS NOT NULL))");
	buf_putc(&sql, '\0');
	return buf_failed(&sql) ? OC_NOMEM : change(s, sql.p, p, ret);
}

int sqlite_person_forget(struct store *store, const struct person *p, size_t most, struct forgotten *ret)
{
	struct sqlite_store *s = store_of(store);
	_cleanup_arena_ struct arena *a = arena_new(8192);
	int64_t before = ret->events;
	int r = a ? look_for(s, p) : OC_NOMEM;
	if (r == 0)
		r = sqlite_exec(&s->c, "PRAGMA secure_delete = ON");
	if (r == 0)
		r = forget_events(s, p, most, a, &ret->events);
	if (r == 0 && ret->events - before == (int64_t)most)
		return 1;
	if (r == 0 && !slice_is_none(p->digits))
		r = forget_where_found(s, p, "call_legs", a, &ret->legs);
	if (r == 0 && !slice_is_none(p->digits))
		r = forget_where_found(s, p, "call_revisions", a, &ret->revisions);
	return r < 0 ? r : clear_host_rows(s, p, &ret->host_rows);
}

/* ---- the proof ---- */

static int count_in(struct sqlite_store *s, const char *table, struct slice column, int64_t *ret)
{
	_cleanup_buf_ struct buf sql = BUF_INIT;
	buf_puts(&sql, "SELECT count(*) FROM ");
	buf_puts(&sql, table);
	buf_puts(&sql, " WHERE person_in(");
	put_name(&sql, column);
	buf_puts(&sql, ")");
	buf_putc(&sql, '\0');
	return buf_failed(&sql) ? OC_NOMEM : sqlite_query_int(&s->c, sql.p, NULL, ret);
}

static int add_places(struct sqlite_store *s, const char *table, bool host, struct arena *a, struct person_place *places, size_t *count)
{
	struct names c;
	size_t first = *count;
	int r = columns_of(s, table, a, &c);
	for (size_t i = 0; r == 0 && i < c.count; i++) {
		int64_t rows = 0;
		r = count_in(s, table, c.name[i], &rows);
		if (r == 0 && rows)
			places[(*count)++] = (struct person_place){ .table = table, .column = c.name[i], .rows = rows, .host = host };
	}
	if (r == 0 && *count == first)
		places[(*count)++] = (struct person_place){ .table = table, .column = SLICE_NONE, .host = host };
	return r;
}

int sqlite_person_places(struct store *store, const struct person *p, struct arena *a, struct person_place **ret, size_t *ret_count)
{
	struct sqlite_store *s = store_of(store);
	struct person_place *places = ARENA_ARRAY(a, struct person_place, 1000);
	size_t count = 0;
	int r = places ? look_for(s, p) : OC_NOMEM;
	for (size_t i = 0; r == 0 && i < sizeof our_tables / sizeof *our_tables; i++)
		r = add_places(s, our_tables[i], false, a, places, &count);
	if (r == 0)
		r = add_places(s, "call_logs", true, a, places, &count);
	if (r < 0)
		return r;
	*ret = places;
	*ret_count = count;
	return 0;
}

/* ---- the bytes ---- */

static int file_has(const char *path, const struct person *p, bool *ret)
{
	char *piece = malloc(PIECE_BYTES);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	int r = piece ? 0 : OC_NOMEM;
	size_t kept = 0;
	ssize_t got = 0;
	*ret = false;
	while (r == 0 && fd >= 0 && !*ret && (got = read(fd, piece + kept, PIECE_BYTES - kept)) > 0) {
		size_t n = kept + (size_t)got;
		*ret = person_in_bytes(p, slice_of(piece, n));
		kept = n < OVERLAP_BYTES ? n : OVERLAP_BYTES;
		memmove(piece, piece + n - kept, kept);
	}
	if (r == 0 && got < 0)
		r = OC_IO;
	if (fd >= 0)
		close(fd);
	free(piece);
	return r;
}

static int files_have(struct sqlite_store *s, const struct person *p, bool *ret)
{
	char path[4096];
	int r = sqlite_error(&s->c, sqlite3_wal_checkpoint_v2(s->c.db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL));
	if (r == 0)
		r = file_has(s->c.path, p, ret);
	if (r == 0 && !*ret && snprintf(path, sizeof path, "%s-wal", s->c.path) < (int)sizeof path)
		r = file_has(path, p, ret);
	return r;
}

int sqlite_person_scrub(struct store *store, const struct person *p, bool *ret_rewritten, bool *ret_left)
{
	struct sqlite_store *s = store_of(store);
	*ret_rewritten = false;
	int r = files_have(s, p, ret_left);
	if (r < 0 || (!*ret_left && !slice_is_none(p->digits))) /* a tenant's id says nothing among bytes */
		return r;
	r = sqlite_exec(&s->c, "VACUUM");
	if (r < 0)
		return r;
	*ret_rewritten = true;
	return files_have(s, p, ret_left);
}
