/* What a SQLite database looks like: its tables and columns, which of our migrations it has, whether a host's call_logs takes our rows.
 * Only reads. Threads: the connection's. */
#include "store/sqlite.h"

#include "base/buf.h"

int sqlite_has_table(struct sqlite_connection *c, const char *name, bool *ret)
{
	int64_t found = 0;
	int r = sqlite_query_int(c, "SELECT count(*) FROM sqlite_schema WHERE type IN ('table', 'view') AND name = ?1 COLLATE NOCASE", name, &found);

	if (r == 0)
		*ret = found > 0;
	return r;
}

/* Calls `each` with the columns of a table in their order. */
typedef int (*column_fn)(void *context, struct slice name, struct slice type, bool not_null, bool has_default, bool primary_key);

static int each_column(struct sqlite_connection *c, const char *table, column_fn each, void *context)
{
	sqlite3_stmt *st = NULL;
	int r = 0;
	int rc = sqlite3_prepare_v2(c->db, "SELECT name, type, \"notnull\", dflt_value IS NOT NULL, pk FROM pragma_table_info(?1)", -1, &st, NULL);

	if (rc == SQLITE_OK)
		rc = sqlite3_bind_text(st, 1, table, -1, SQLITE_STATIC);
	while (rc == SQLITE_OK && r == 0) {
		rc = sqlite3_step(st);
		if (rc != SQLITE_ROW)
			break;
		rc = SQLITE_OK;
		r = each(context, slice_cstr((const char *)sqlite3_column_text(st, 0)), slice_cstr((const char *)sqlite3_column_text(st, 1)),
			sqlite3_column_int(st, 2) != 0, sqlite3_column_int(st, 3) != 0, sqlite3_column_int(st, 4) != 0);
	}
	if (r == 0)
		r = sqlite_error(c, rc);
	sqlite3_finalize(st);
	return r;
}

struct column_search {
	struct slice name;
	bool found;
};

static int match_column(void *context, struct slice name, struct slice type, bool not_null, bool has_default, bool primary_key)
{
	struct column_search *s = context;
	(void)type, (void)not_null, (void)has_default, (void)primary_key;

	s->found = s->found || slice_eq_nocase(name, s->name);
	return 0;
}

int sqlite_has_column(struct sqlite_connection *c, const char *table, struct slice column, bool *ret)
{
	struct column_search s = { .name = column };
	int r = each_column(c, table, match_column, &s);

	if (r == 0)
		*ret = s.found;
	return r;
}

/* Columns that every row of ours has a value for. */
static bool always_filled(struct slice column)
{
	static const char *const names[] = { "id", "userId", "livekitRoomSid", "status", "metadata", "createdAt", "updatedAt" };

	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (slice_eq_nocase(column, slice_cstr(names[i])))
			return true;
	return false;
}

/* Columns that a row of ours has a value for as soon as the events say it: the table's own constraint decides each time. */
static bool often_filled(struct slice column)
{
	static const char *const names[] = { "livekitRoomName", "direction", "phoneNumber", "sipCallId", "duration", "startedAt", "endedAt",
		"outcome", "recordingUrl" };

	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (slice_eq_nocase(column, slice_cstr(names[i])))
			return true;
	return false;
}

struct shape_walk {
	struct sqlite_call_logs *shape;
	struct buf missing;
};

static int look_at_column(void *context, struct slice name, struct slice type, bool not_null, bool has_default, bool primary_key)
{
	struct shape_walk *w = context;

	if (slice_eq_cstr(name, "agentConfigId"))
		w->shape->has_agent_config_id = true;
	if (slice_eq_cstr(name, "cost"))
		w->shape->has_cost = true;
	if (primary_key && slice_eq_nocase(name, SLICE("id")) && slice_eq_nocase(type, SLICE("INTEGER")))
		w->shape->id_is_integer = true;
	if (not_null && !has_default && !always_filled(name) && !often_filled(name)) {
		if (w->missing.n)
			buf_puts(&w->missing, ", ");
		buf_put(&w->missing, name);
	}
	return 0;
}

int sqlite_call_logs_shape(struct sqlite_connection *c, struct arena *a, struct sqlite_call_logs *ret)
{
	struct sqlite_call_logs shape = { .why_not_insert = SLICE_NONE };
	struct shape_walk w = { .shape = &shape, .missing = BUF_INIT };
	int r = each_column(c, "call_logs", look_at_column, &w);

	shape.can_insert = w.missing.n == 0;
	if (r == 0 && (buf_failed(&w.missing) || (a && w.missing.n && !arena_copy(a, buf_slice(&w.missing), &shape.why_not_insert))))
		r = OC_NOMEM;
	buf_done(&w.missing);
	if (r == 0)
		*ret = shape;
	return r;
}

/* ---- versions ---- */

static int look_at_migration(struct migrate_status *s, int64_t version, const char *sha256)
{
	if (version > s->version)
		s->version = (int)(version > INT32_MAX ? INT32_MAX : version);
	if (version > (int64_t)sqlite_migration_count)
		s->newer = true;
	else if (version < 1 || !sha256 || strcmp(sqlite_migrations[version - 1].sha256, sha256) != 0)
		s->altered = true;
	return 0;
}

int sqlite_schema_version(struct sqlite_connection *c, struct migrate_status *ret)
{
	struct migrate_status s = *ret;
	sqlite3_stmt *st = NULL;
	bool ours = false;
	int r = sqlite_has_table(c, "outcomed_migrations", &ours);

	if (r < 0)
		return r;
	s.version = 0;
	s.newer = s.altered = false;
	s.latest = (int)sqlite_migration_count;
	if (ours) {
		int rc = sqlite3_prepare_v2(c->db, "SELECT version, sha256 FROM outcomed_migrations ORDER BY version", -1, &st, NULL);
		if (rc == SQLITE_OK)
			while ((rc = sqlite3_step(st)) == SQLITE_ROW)
				look_at_migration(&s, sqlite3_column_int64(st, 0), (const char *)sqlite3_column_text(st, 1));
		r = sqlite_error(c, rc);
		sqlite3_finalize(st);
	}
	if (r == 0)
		*ret = s;
	return r;
}

int sqlite_schema_refusal(const struct migrate_status *s, struct arena *a, struct slice *ret_message)
{
	if (s->newer)
		return store_fail(OC_SCHEMA, a, ret_message, "the database is at version %d, this outcomed knows %d: install the newer outcomed",
			s->version, s->latest);
	if (s->altered)
		return store_fail(OC_SCHEMA, a, ret_message, "the database was migrated by files that differ from this outcomed's (checksums in "
			"outcomed_migrations): install the outcomed that made it");
	return 0;
}

int sqlite_require_schema(struct sqlite_connection *c, struct arena *a, struct slice *ret_message)
{
	struct migrate_status s = { .version = 0 };
	int r = sqlite_schema_version(c, &s);

	if (r < 0)
		return store_fail(r, a, ret_message, "the database %s cannot be read: %s", c->path, c->error);
	r = sqlite_schema_refusal(&s, a, ret_message);
	if (r == 0 && s.version < s.latest)
		r = store_fail(OC_SCHEMA, a, ret_message, "the database is at version %d, this outcomed needs %d: run outcomed migrate upgrade",
			s.version, s.latest);
	return r;
}
