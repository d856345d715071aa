/* outcomed check: the integration checklist by itself, a line an item: ok, skip or FAIL, and the mend. This file has the items that need no
 * daemon: secrets, access, routes, database. Main thread only. */
#include "cmd/check.h"

#include <stdarg.h>
#include <stdio.h>

#include "http/access.h"
#include "http/http.h"
#include "store/durability.h"
#include "store/inspect.h"
#include "store/migrate.h"
#include "wire/routes.h"

#define LEAST_SECRET 32        /* bytes; LiveKit warns below it too */
#define LEAST_SERVICE_TOKEN 20
#define LOOK_WHOLE_MS 30000
#define ROUTES_MAX_BYTES ((size_t)1024 * 1024)

static void put_item(const char *state, const char *item) { printf("%-4s  %-20s  ", state, item); }

void check_ok(const char *item, const char *format, ...)
{
	va_list args;
	put_item("ok", item);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	putchar('\n');
}

void check_skip(const char *item, const char *why)
{
	put_item("skip", item);
	puts(why);
}

void check_fail(struct checking *c, const char *item, struct slice what, const char *mend)
{
	what = slice_trim(what);
	put_item("FAIL", item);
	for (size_t i = 0; i < what.n; i++)
		putchar(what.p[i] == '\n' ? ' ' : what.p[i]);
	printf("%s%s\n", *mend ? ": " : "", mend);
	c->failed++;
}

/* ---- secrets and access ---- */

/* A weak secret is no fault of a daemon that only this machine can reach, but it is said. */
static void check_key(struct checking *c, const struct signing_key *k)
{
	const char *item = "signing keys";
	struct slice name = slice_is_none(k->id) ? SLICE("LIVEKIT_WEBHOOK_SECRET") : k->id;
	bool demo = slice_eq_cstr(k->id, "devkey") && slice_eq_cstr(k->secret, "secret");
	struct slice what = arena_text(c->arena, "%.*s, %zu bytes", SLICE_FMT(name), k->secret.n);
	const char *weak = demo ? "LiveKit's demo pair, which everybody knows" : k->secret.n < LEAST_SECRET ? "fewer than the 32 that LiveKit wants" : NULL;
	if (!weak)
		check_ok(item, "%.*s", SLICE_FMT(what));
	else if (http_listen_is_local(c->config->listen))
		check_ok(item, "%.*s: %s; only for trying out", SLICE_FMT(what), weak);
	else
		check_fail(c, item, arena_text(c->arena, "%.*s: %s", SLICE_FMT(what), weak),
			   "give LiveKit a new pair (livekit-server generate-keys) and set it here too");
}

static void check_keys(struct checking *c)
{
	struct slice message = SLICE("out of memory");
	int r = keyring_from_config(c->config, c->arena, &c->keyring, &message);
	if (r) {
		check_fail(c, "signing keys", message, "");
		return;
	}
	for (size_t i = 0; i < c->keyring.count; i++)
		check_key(c, &c->keyring.keys[i]);
}

static void check_access(struct checking *c)
{
	const struct config *g = c->config;
	bool has_service = !slice_is_none(g->service_token), has_tenant = !slice_is_none(g->tenant_secret);
	struct access_options access;
	struct slice first = access_first_token(g->service_token), message = SLICE("out of memory");
	if (access_options_read(g->service_token, g->tenant_secret, c->arena, &access, &message) != 0)
		check_fail(c, "read access", message, "");
	else if (!has_service && !has_tenant && !http_listen_is_local(g->listen))
		check_fail(c, "read access", SLICE("a public address without any token"),
			   "set OUTCOMED_SERVICE_TOKEN (openssl rand -hex 32), or listen on 127.0.0.1");
	else if (!slice_is_none(first) && first.n < LEAST_SERVICE_TOKEN)
		check_fail(c, "read access", arena_text(c->arena, "OUTCOMED_SERVICE_TOKEN has %zu bytes only", first.n),
			   "make a longer one: openssl rand -hex 32");
	else if (!has_service && !has_tenant)
		check_skip("read access", "no token is set: reads work on this machine only; for others set OUTCOMED_SERVICE_TOKEN or OUTCOMED_TENANT_SECRET");
	else
		check_ok("read access", "%zu service tokens, %zu secrets of tenant tokens", access.service_count, access.tenant_count);
}

static void check_routes(struct checking *c)
{
	struct routes routes;
	struct slice text, message = SLICE("out of memory");
	if (slice_is_none(c->config->routes)) {
		check_skip("routes", "--routes is not set");
		return;
	}
	const char *path = arena_dup(c->arena, c->config->routes);
	int r = path ? read_file(path, ROUTES_MAX_BYTES, c->arena, &text, &message) : OC_NOMEM;
	if (r == 0)
		r = routes_parse(text, c->arena, &routes, &message);
	if (r)
		check_fail(c, "routes", message, "mend the file; docs/CONFIGURATION.md shows one");
	else
		check_ok("routes", "%zu routes", routes.count);
}

static void check_overrides(struct checking *c)
{
	const struct overrides *overrides;
	struct slice message = SLICE("out of memory");
	if (overrides_from_config(c->config, c->arena, &overrides, &message))
		check_fail(c, "overrides", message, "mend the file; docs/VERDICTS.md shows one");
	else if (!overrides)
		check_skip("overrides", "--overrides is not set");
	else
		check_ok("overrides", "%zu overrides", overrides->count);
}

/* ---- the database ---- */

static void check_version(struct checking *c, const struct migrate_status *st)
{
	struct slice what = arena_text(c->arena, "%d, this program's is %d", st->version, st->latest);
	if (st->newer)
		check_fail(c, "schema version", what, "install the newer outcomed that upgraded it");
	else if (st->altered)
		check_fail(c, "schema version", SLICE("a migration was applied that differs from this program's of the same number"),
			   "run the outcomed that applied it, or restore the backup");
	else if (st->version < st->latest)
		check_fail(c, "schema version", what, "run: outcomed migrate upgrade");
	else
		check_ok("schema version", "%d", st->version);
}

static void check_insert(const struct migrate_status *st)
{
	if (st->can_insert)
		check_ok("call_logs rows", "%s, and rows can be inserted", st->host_call_logs ? "the host's table" : "our table");
	else
		printf("%-4s  %-20s  not inserted by us (%.*s): verdicts wait for your own rows, and can be read by room SID\n", "skip",
		       "call_logs rows", SLICE_FMT(st->why_not_insert));
}

/* PostgreSQL's second line behind the queries. What is lacking of the roles is no fault, but it is said. */
static void check_row_security(struct checking *c, const struct store_options *o)
{
	const char *item = "row security";
	struct row_security s;
	struct slice message = SLICE_NONE;
	int r = store_inspect_row_security(o, c->arena, &s, &message);
	if (r == OC_NOT_FOUND)
		return;
	if (r)
		check_fail(c, item, slice_is_none(message) ? slice_cstr(oc_error_text(r)) : message, "");
	else if (!slice_is_none(s.lacking))
		check_fail(c, item, arena_text(c->arena, "somebody took it away from %.*s", SLICE_FMT(s.lacking)),
			   "put its policies back: pg_dump --schema-only of another database has them, sql/postgres/0004_tenants.up.sql makes them");
	else if (s.sees_nothing)
		check_fail(c, item, arena_text(c->arena, "every row is hidden from %.*s", SLICE_FMT(s.login)),
			   arena_dup(c->arena, arena_text(c->arena, "GRANT outcomed_writer, outcomed_reader TO %.*s", SLICE_FMT(s.login))));
	else if (s.reads_in_role)
		check_ok(item, "on %zu tables; reads run as outcomed_reader%s", s.tables, s.passes_over ? ", writes pass over it (superuser)" : "");
	else
		check_skip(item, arena_dup(c->arena, arena_text(c->arena, "reads run as %.*s, who sees every row: the queries alone are between the tenants. To add the second line: %.*s",
			   SLICE_FMT(s.login), SLICE_FMT(s.to_add))));
}

static void check_parts(struct checking *c, const struct schema_part *parts, size_t count, enum schema_part_kind kind, const char *item)
{
	_cleanup_buf_ struct buf missing = BUF_INIT;
	size_t present = 0;
	for (size_t i = 0; i < count; i++) {
		if (parts[i].kind != kind)
			continue;
		if (parts[i].present)
			present++;
		else
			buf_putf(&missing, "%s%s%s%s", missing.n ? ", " : "", parts[i].table, kind == SCHEMA_TABLE ? "" : ".",
				 kind == SCHEMA_TABLE ? "" : parts[i].name);
	}
	if (missing.n == 0)
		check_ok(item, "all %zu", present);
	else
		check_fail(c, item, arena_text(c->arena, "missing: %.*s", SLICE_FMT(buf_slice(&missing))),
			   "run: outcomed migrate upgrade; if it says that nothing is to be done, somebody dropped them");
}

static void check_durability(struct checking *c, const struct store_options *o)
{
	struct slice words = SLICE_NONE, lacks = SLICE_NONE, message = SLICE_NONE;
	int r = store_durability(o, c->arena, &words, &lacks, &message);
	if (r)
		check_fail(c, "durability", slice_is_none(message) ? slice_cstr(oc_error_text(r)) : message, "");
	else if (slice_is_none(lacks))
		check_ok("durability", "%.*s", SLICE_FMT(words));
	else
		check_fail(c, "durability", lacks, "turn it on (ALTER SYSTEM, then pg_reload_conf())");
}

/* The way back from a damaged file: nothing that comes meanwhile is lost, it waits in the spool. */
static void check_whole(struct checking *c, const struct store_options *o)
{
	enum store_whole whole = STORE_NOT_ASKED;
	struct slice message = SLICE_NONE, path = o->url;
	int r = store_look_whole(o, LOOK_WHOLE_MS, c->arena, &whole, &message);
	if (slice_starts_with(path, SLICE("sqlite:")))
		path = slice_of(path.p + 7, path.n - 7);
	if (r) {
		check_fail(c, "integrity", slice_is_none(message) ? slice_cstr(oc_error_text(r)) : message, "");
		return;
	}
	switch (whole) {
	case STORE_WHOLE: check_ok("integrity", "every page and index"); break;
	case STORE_WHOLE_SO_FAR: check_ok("integrity", "no fault found in %d s; all of it: sqlite3 %.*s 'PRAGMA integrity_check'", LOOK_WHOLE_MS / 1000, SLICE_FMT(path)); break;
	case STORE_NOT_ASKED: check_skip("integrity", "PostgreSQL has tools of its own for that: data checksums, pg_amcheck"); break;
	case STORE_DAMAGED:
		check_fail(c, "integrity",
			arena_text(c->arena, "the file is damaged (%.*s): stop outcomed; save what can be read: "
				"sqlite3 %.*s .dump | sed 's/^ROLLBACK;.*/COMMIT;/' | sqlite3 %.*s.new (or take the last backup)", SLICE_FMT(message), SLICE_FMT(path), SLICE_FMT(path)),
			"put that in its place, without the old -wal and -shm; start outcomed, which adds what came meanwhile from its spool; then run: outcomed replay");
		break;
	}
}

static void check_database(struct checking *c)
{
	const struct store_options o = { .url = c->config->database };
	struct migrate_status st;
	struct schema_part *parts;
	size_t count;
	struct slice message = SLICE_NONE, url;
	int r = migrate_status(&o, c->arena, &st, &message);
	if (r) {
		check_fail(c, "database", slice_is_none(message) ? slice_cstr(oc_error_text(r)) : message, "");
		if (r == OC_IO)
			check_whole(c, &o);
		return;
	}
	if (store_url_for_log(o.url, c->arena, &url) != 0)
		url = SLICE("reachable");
	check_ok("database", "%.*s", SLICE_FMT(url));
	check_version(c, &st);
	if (st.version == 0)
		return;
	r = store_inspect(&o, c->arena, &parts, &count, &message);
	if (r) {
		check_fail(c, "tables", slice_is_none(message) ? slice_cstr(oc_error_text(r)) : message, "");
		return;
	}
	check_parts(c, parts, count, SCHEMA_TABLE, "tables");
	check_parts(c, parts, count, SCHEMA_COLUMN, "columns");
	check_parts(c, parts, count, SCHEMA_INDEX, "indexes");
	check_row_security(c, &o);
	check_insert(&st);
	check_durability(c, &o);
	check_whole(c, &o);
}

static int run_check(const struct command_line *line)
{
	struct checking c = { .config = line->config, .arena = line->arena };
	check_keys(&c);
	check_access(&c);
	check_routes(&c);
	check_overrides(&c);
	check_database(&c);
	check_spool(&c);
	fflush(stdout);
	check_daemon(&c);
	check_livekit(&c);
	if (c.failed)
		printf("%zu of these fall short\n", c.failed);
	else
		puts("nothing falls short");
	return c.failed ? STATUS_FAILED : STATUS_OK;
}

const struct command command_check = {
	.name = "check",
	.words = "",
	.summary = "Walk the integration checklist: one line an item, ok or the mend.",
	.details = "Run it with the environment and the flags of the daemon. Looks at the secrets, the database, its tables, columns and\n"
		   "indexes, and the spool; then, when a daemon answers at --listen, sends it a forged event (must get 401) and a signed test event, reads\n"
		   "that back and tries the tokens. Every run sends the same event: room SID RM_outcomed_check, tenant outcomed-check, so\n"
		   "that there is at most one such small call, which no tenant of yours sees. Last it asks LiveKit's API, where LIVEKIT_URL is set.\n"
		   "\n"
		   "Exit codes: 0 nothing falls short (skipped items do not count); 1 something does; 2 wrong usage or configuration.",
	.options = CMD_CHECK,
	.run = run_check,
};
