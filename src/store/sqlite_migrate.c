/* Migrations of a SQLite database: the embedded files in one exclusive transaction.
 *
 * A file is SQL with three directives, each on a line of its own:
 *   -- @adopt MADE WANTED    a table of the host's named WANTED is kept and gets the columns of MADE that it lacks; without one, MADE gets
 *                            its name. What was done is noted in outcomed_changes.
 *   -- @unique INDEX ON …    a unique index, or a plain one where the host's rows do not let it be unique
 *   -- @restore WANTED       undoes what outcomed_changes says of that table
 * Threads: any; the database's own lock keeps migrations apart. */
#include "store/sqlite.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/clock.h"

struct migration_run {
	struct sqlite_connection c;
	struct arena *a;
	migrate_say_fn say;
	void *context;
	int version; /* of the file that runs */
};

__attribute__((format(printf, 2, 3))) static void say(const struct migration_run *m, const char *format, ...)
{
	char *line = NULL;
	va_list args;

	va_start(args, format);
	int n = m->say ? vasprintf(&line, format, args) : -1;
	va_end(args);
	if (n < 0)
		return;
	m->say(m->context, line);
	free(line);
}

/* ---- SQL made from names ---- */

static void put_identifier(struct buf *b, struct slice name)
{
	buf_putc(b, '"');
	for (size_t i = 0; i < name.n; i++) {
		if (name.p[i] == '"')
			buf_putc(b, '"');
		buf_putc(b, name.p[i]);
	}
	buf_putc(b, '"');
}

/* Each %I is an identifier, each %T is put as it is. */
static int exec_format(struct migration_run *m, const char *format, const struct slice *values)
{
	_cleanup_buf_ struct buf b = BUF_INIT;

	for (const char *p = format; *p; p++) {
		if (*p != '%') {
			buf_putc(&b, *p);
			continue;
		}
		p++;
		if (*p == 'I')
			put_identifier(&b, *values++);
		else
			buf_put(&b, *values++);
	}
	buf_putc(&b, '\0');
	return buf_failed(&b) ? OC_NOMEM : sqlite_exec(&m->c, b.p);
}

/* Runs `sql` with the texts bound in their order. */
static int exec_bound(struct migration_run *m, const char *sql, const struct slice *values, int count)
{
	struct sqlite_binder b = { .c = &m->c };
	int rc = sqlite3_prepare_v2(m->c.db, sql, -1, &b.st, NULL);

	if (rc != SQLITE_OK)
		return sqlite_error(&m->c, rc);
	for (int i = 0; i < count; i++)
		bind_text(&b, values[i]);
	int r = sqlite_run(&b);
	sqlite3_finalize(b.st);
	return r;
}

static int note_change(struct migration_run *m, const char *kind, struct slice table, struct slice name)
{
	char version[16];
	snprintf(version, sizeof version, "%d", m->version);
	const struct slice values[] = { slice_cstr(version), slice_cstr(kind), table, name };
	return exec_bound(m, "INSERT INTO outcomed_changes (version, kind, \"tableName\", name) VALUES (CAST(?1 AS INTEGER), ?2, ?3, ?4)", values, 4);
}

/* ---- directives ---- */

struct named_column {
	struct slice name, type;
};

static int list_columns(struct migration_run *m, struct slice table, struct named_column *columns, size_t size, size_t *ret_count)
{
	struct sqlite_binder b = { .c = &m->c };
	int rc = sqlite3_prepare_v2(m->c.db, "SELECT name, type FROM pragma_table_info(?1)", -1, &b.st, NULL);
	size_t count = 0;
	int r;

	if (rc != SQLITE_OK)
		return sqlite_error(&m->c, rc);
	bind_text(&b, table);
	while ((r = sqlite_row(&b)) > 0 && count < size) {
		if (!column_text(&b, 0, m->a, &columns[count].name) || !column_text(&b, 1, m->a, &columns[count].type)) {
			r = OC_NOMEM;
			break;
		}
		count++;
	}
	sqlite3_finalize(b.st);
	if (r >= 0)
		*ret_count = count;
	return r < 0 ? r : 0;
}

static int add_missing_columns(struct migration_run *m, struct slice made, struct slice wanted)
{
	struct named_column columns[64];
	size_t count = 0;
	int r = list_columns(m, made, columns, sizeof columns / sizeof *columns, &count);

	for (size_t i = 0; i < count && r == 0; i++) {
		bool there;
		r = sqlite_has_column(&m->c, wanted.p, columns[i].name, &there);
		if (r < 0 || there)
			continue;
		const struct slice values[] = { wanted, columns[i].name, columns[i].type };
		r = exec_format(m, "ALTER TABLE %I ADD COLUMN %I %T", values);
		if (r == 0)
			r = note_change(m, "column", wanted, columns[i].name);
		if (r == 0)
			say(m, "added column %.*s.\"%.*s\"", SLICE_FMT(wanted), SLICE_FMT(columns[i].name));
	}
	return r;
}

static int adopt(struct migration_run *m, struct slice made, struct slice wanted)
{
	bool there, has_id = true;
	int r = sqlite_has_table(&m->c, wanted.p, &there);

	if (r == 0 && there)
		r = sqlite_has_column(&m->c, wanted.p, SLICE("id"), &has_id);
	if (r < 0)
		return r;
	if (!has_id) {
		sqlite_refuse(&m->c, "call_logs has no column id, and outcomed names a call by it: rename the table or add the column");
		return OC_SCHEMA;
	}
	const struct slice names[] = { made, wanted };
	if (!there) {
		r = exec_format(m, "ALTER TABLE %I RENAME TO %I", names);
		if (r == 0)
			r = note_change(m, "table", wanted, wanted);
		if (r == 0)
			say(m, "created table %.*s", SLICE_FMT(wanted));
		return r;
	}
	say(m, "kept table %.*s and its rows", SLICE_FMT(wanted));
	r = add_missing_columns(m, made, wanted);
	return r < 0 ? r : exec_format(m, "DROP TABLE %I", names);
}

static int make_unique(struct migration_run *m, struct slice index)
{
	int r = exec_format(m, "CREATE UNIQUE INDEX %T", &index);

	if (r != OC_DATA)
		return r;
	say(m, "several rows have the same value: the index is made, but not unique (%.*s)", SLICE_FMT(index));
	return exec_format(m, "CREATE INDEX %T", &index);
}

static int restore(struct migration_run *m, struct slice table)
{
	struct named_column changes[64];
	struct sqlite_binder b = { .c = &m->c };
	size_t count = 0;
	int r;
	int rc = sqlite3_prepare_v2(m->c.db, "SELECT name, kind FROM outcomed_changes WHERE \"tableName\" = ?1 ORDER BY rowid DESC", -1, &b.st, NULL);

	if (rc != SQLITE_OK)
		return sqlite_error(&m->c, rc);
	bind_text(&b, table);
	while ((r = sqlite_row(&b)) > 0 && count < sizeof changes / sizeof *changes) {
		if (!column_text(&b, 0, m->a, &changes[count].name) || !column_text(&b, 1, m->a, &changes[count].type)) {
			r = OC_NOMEM;
			break;
		}
		count++;
	}
	sqlite3_finalize(b.st);
	for (size_t i = 0; i < count && r >= 0; i++) {
		const struct slice values[] = { table, changes[i].name };
		bool whole = slice_eq_cstr(changes[i].type, "table");
		r = exec_format(m, whole ? "DROP TABLE IF EXISTS %I" : "ALTER TABLE %I DROP COLUMN %I", values);
		if (r == 0)
			say(m, "removed %s %.*s", whole ? "table" : "column", SLICE_FMT(changes[i].name));
	}
	return r < 0 ? r : 0;
}

/* One directive, without its "-- @". */
static int direct(struct migration_run *m, struct slice line)
{
	struct slice word, rest, first, second;
	char *names[2];

	slice_split(line, ' ', &word, &rest);
	if (slice_eq_cstr(word, "unique"))
		return make_unique(m, rest);
	slice_split(rest, ' ', &first, &second);
	names[0] = arena_dup(m->a, first);
	names[1] = arena_dup(m->a, second);
	if (!names[0] || !names[1])
		return OC_NOMEM;
	if (slice_eq_cstr(word, "adopt"))
		return adopt(m, slice_cstr(names[0]), slice_cstr(names[1]));
	if (slice_eq_cstr(word, "restore"))
		return restore(m, slice_cstr(names[0]));
	sqlite_refuse(&m->c, "a migration has a directive that nobody knows");
	return OC_INVALID;
}

/* Runs a file: the SQL between directives as it stands. */
static int run_file(struct migration_run *m, const char *text)
{
	static const char mark[] = "\n-- @";
	int r = 0;

	while (r == 0 && *text) {
		const char *at = strstr(text, mark);
		char *part = arena_dup(m->a, slice_of(text, at ? (size_t)(at + 1 - text) : strlen(text)));
		if (!part)
			return OC_NOMEM;
		r = sqlite_exec(&m->c, part);
		if (r < 0 || !at)
			return r;
		const char *line = at + strlen(mark), *end = strchrnul(line, '\n');
		r = direct(m, slice_of(line, (size_t)(end - line)));
		text = end;
	}
	return r;
}

/* ---- the transaction ---- */

static const char own_tables[] =
	"CREATE TABLE IF NOT EXISTS outcomed_migrations (version INTEGER PRIMARY KEY, name TEXT NOT NULL, sha256 TEXT NOT NULL, "
	"\"appliedAt\" TEXT NOT NULL) STRICT;"
	"CREATE TABLE IF NOT EXISTS outcomed_changes (version INTEGER NOT NULL, kind TEXT NOT NULL, \"tableName\" TEXT NOT NULL, "
	"name TEXT NOT NULL) STRICT;";

static int finish(struct migration_run *m, int r, struct slice *ret_message)
{
	if (r == 0)
		r = sqlite_exec(&m->c, "COMMIT");
	if (r < 0 && ret_message && slice_is_empty(*ret_message))
		store_fail(r, m->a, ret_message, r == OC_RETRY ? "the database %s is in use by another program (%s): try again later" :
			"nothing was changed in %s: %s", m->c.path, m->c.error);
	if (!sqlite3_get_autocommit(m->c.db))
		sqlite3_exec(m->c.db, "ROLLBACK", NULL, NULL, NULL);
	sqlite_disconnect(&m->c);
	return r;
}

static int apply(struct migration_run *m, const struct migration *file)
{
	_cleanup_buf_ struct buf now = BUF_INIT;
	char version[16];

	m->version = file->version;
	int r = run_file(m, file->up);
	if (r < 0)
		return r;
	snprintf(version, sizeof version, "%d", file->version);
	buf_put_rfc3339_ms(&now, clock_wall_ms());
	if (buf_failed(&now))
		return OC_NOMEM;
	const struct slice values[] = { slice_cstr(version), slice_cstr(file->name), slice_cstr(file->sha256), buf_slice(&now) };
	r = exec_bound(m, "INSERT INTO outcomed_migrations (version, name, sha256, \"appliedAt\") VALUES (CAST(?1 AS INTEGER), ?2, ?3, ?4)", values, 4);
	if (r == 0)
		say(m, "applied %04d %s", file->version, file->name);
	return r;
}

/* A journal that is not of our making has columns and constraints that SQLite cannot change in place. */
static int refuse_foreign_journal(struct migration_run *m, struct slice *ret_message)
{
	bool there;
	int r = sqlite_has_table(&m->c, "livekit_call_events", &there);

	return r < 0 || !there ? r : store_fail(OC_SCHEMA, m->a, ret_message,
		"%s has a table livekit_call_events that outcomed did not make: rename it, or use another file", m->c.path);
}

int sqlite_migrate_upgrade(const struct store_options *o, int to_version, migrate_say_fn say_fn, void *context, struct arena *a,
	struct slice *ret_message)
{
	struct migration_run m = { .a = a, .say = say_fn, .context = context };
	struct migrate_status s = { .version = 0 };

	if (to_version > (int)sqlite_migration_count)
		return store_fail(OC_INVALID, a, ret_message, "this outcomed knows versions up to %zu", sqlite_migration_count);
	int r = sqlite_connect(&m.c, o, SQLITE_MIGRATOR, a, ret_message);
	if (r < 0)
		return r;
	if (ret_message)
		*ret_message = SLICE_NONE;
	r = sqlite_exec(&m.c, "BEGIN EXCLUSIVE");
	if (r == 0)
		r = sqlite_schema_version(&m.c, &s);
	if (r == 0)
		r = sqlite_schema_refusal(&s, a, ret_message);
	if (r == 0 && s.version == 0)
		r = refuse_foreign_journal(&m, ret_message);
	if (r == 0)
		r = sqlite_exec(&m.c, own_tables);
	size_t last = to_version ? (size_t)to_version : sqlite_migration_count;
	if (r == 0 && (size_t)s.version >= last)
		say(&m, "nothing to do: the database is at version %d", s.version);
	for (size_t i = (size_t)s.version; i < last && r == 0; i++)
		r = apply(&m, &sqlite_migrations[i]);
	return finish(&m, r, ret_message);
}

int sqlite_migrate_downgrade(const struct store_options *o, migrate_say_fn say_fn, void *context, struct arena *a, struct slice *ret_message)
{
	struct migration_run m = { .a = a, .say = say_fn, .context = context };
	struct migrate_status s = { .version = 0 };
	bool ours = false;
	int r = sqlite_connect(&m.c, o, SQLITE_WRITER, a, ret_message);

	if (r == OC_NOT_FOUND) {
		say(&m, "nothing to remove: there is no database");
		if (ret_message)
			*ret_message = SLICE_NONE;
		return 0;
	}
	if (r < 0)
		return r;
	if (ret_message)
		*ret_message = SLICE_NONE;
	r = sqlite_exec(&m.c, "BEGIN EXCLUSIVE");
	if (r == 0)
		r = sqlite_has_table(&m.c, "outcomed_migrations", &ours);
	if (r == 0 && !ours)
		say(&m, "nothing to remove");
	if (r == 0 && ours) {
		r = sqlite_schema_version(&m.c, &s);
		if (r == 0)
			r = sqlite_schema_refusal(&s, a, ret_message);
		for (size_t i = (size_t)s.version; i > 0 && r == 0; i--) {
			r = run_file(&m, sqlite_migrations[i - 1].down);
			if (r == 0)
				say(&m, "undid %04d %s", sqlite_migrations[i - 1].version, sqlite_migrations[i - 1].name);
		}
		if (r == 0)
			r = sqlite_exec(&m.c, "DROP TABLE IF EXISTS outcomed_changes; DROP TABLE IF EXISTS outcomed_migrations");
	}
	return finish(&m, r, ret_message);
}

/* ---- status ---- */

static int look_at_host(struct sqlite_connection *c, struct arena *a, struct migrate_status *s)
{
	struct sqlite_call_logs shape = { .can_insert = true, .why_not_insert = SLICE_NONE };
	bool logs, journal = false, changes = false;
	int64_t made = 0;
	int r = sqlite_has_table(c, "call_logs", &logs);

	if (r == 0)
		r = sqlite_has_table(c, "livekit_call_events", &journal);
	if (r == 0)
		r = sqlite_has_table(c, "outcomed_changes", &changes);
	if (r == 0 && changes)
		r = sqlite_query_int(c, "SELECT count(*) FROM outcomed_changes WHERE kind = 'table' AND \"tableName\" = ?1", "call_logs", &made);
	if (r == 0 && logs)
		r = sqlite_call_logs_shape(c, a, &shape);
	if (r < 0)
		return r;
	s->host_call_logs = logs && made == 0;
	s->older_module = journal && s->version == 0;
	s->can_insert = shape.can_insert;
	s->why_not_insert = shape.why_not_insert;
	return 0;
}

int sqlite_migrate_status(const struct store_options *o, struct arena *a, struct migrate_status *ret, struct slice *ret_message)
{
	struct sqlite_connection c;
	struct migrate_status s = { .latest = (int)sqlite_migration_count, .can_insert = true, .why_not_insert = SLICE_NONE };
	int r = sqlite_connect(&c, o, SQLITE_READER, a, ret_message);

	if (r == 0) {
		r = sqlite_schema_version(&c, &s);
		if (r == 0)
			r = look_at_host(&c, a, &s);
		if (r < 0)
			store_fail(r, a, ret_message, "the database %s cannot be read: %s", c.path, c.error);
		sqlite_disconnect(&c);
	} else if (r == OC_NOT_FOUND) {
		r = 0;
		if (ret_message)
			*ret_message = SLICE_NONE;
	}
	if (r == 0)
		*ret = s;
	return r;
}
