/* outcomed migrate: upgrade, downgrade, status. Upgrading only adds, so scripts run it unasked; downgrading takes the
 * journal with it, so scripts must say --yes. On a terminal both ask. Main thread only. */
#include "store/migrate.h"

#include <stdio.h>
#include <unistd.h>

#include "cmd/cmd.h"

#define LATEST_VERSION 9999

static void say_line(void *context, const char *text)
{
	(void)context;
	printf("%s\n", text);
	fflush(stdout);
}

static int failed(int code, struct slice message)
{
	if (slice_is_empty(message))
		message = slice_cstr(oc_error_text(code));
	complain("migrate", "%.*s", SLICE_FMT(message));
	return code == OC_CONFIG ? STATUS_USAGE : STATUS_FAILED;
}

/* 'text' for a shell. */
static void put_quoted(struct buf *b, struct slice text)
{
	buf_putc(b, '\'');
	for (size_t i = 0; i < text.n; i++) {
		if (text.p[i] == '\'')
			buf_puts(b, "'\\''");
		else
			buf_putc(b, text.p[i]);
	}
	buf_putc(b, '\'');
}

static struct slice sqlite_path(struct slice url)
{
	struct slice scheme, path;
	return slice_split(url, ':', &scheme, &path) ? path : url;
}

/* A password belongs neither on the screen nor into a log: a URL that has one is named by its variable. */
static void print_backup_command(const struct command_line *line, enum store_kind kind)
{
	struct slice url = line->config->database, shown;
	_cleanup_buf_ struct buf b = BUF_INIT;
	switch (kind) {
	case STORE_SQLITE:
		buf_puts(&b, "sqlite3 ");
		put_quoted(&b, sqlite_path(url));
		buf_puts(&b, " \".backup outcomed-before.db\"");
		break;
	case STORE_POSTGRES:
		buf_puts(&b, "pg_dump --enable-row-security --format=custom --file=outcomed-before.dump ");
		if (store_url_for_log(url, line->arena, &shown) == 0 && slice_eq(url, shown))
			put_quoted(&b, url);
		else
			buf_puts(&b, "\"$DATABASE_URL\"");
		break;
	}
	if (!buf_failed(&b))
		printf("backup first: %.*s\n", SLICE_FMT(buf_slice(&b)));
	fflush(stdout);
}

static bool person_agrees(const char *question)
{
	char answer[16];
	printf("%s [y/N] ", question);
	fflush(stdout);
	if (!fgets(answer, sizeof answer, stdin))
		return false;
	return answer[0] == 'y' || answer[0] == 'Y';
}

static int print_status(const struct command_line *line, const struct store_options *o)
{
	struct migrate_status st;
	struct slice message = SLICE_NONE, url;
	int r = migrate_status(o, line->arena, &st, &message);
	if (r)
		return failed(r, message);
	if (store_url_for_log(o->url, line->arena, &url) != 0)
		url = SLICE("?");
	bool outdated = st.version < st.latest;
	printf("database         %.*s\n", SLICE_FMT(url));
	printf("schema version   %d\n", st.version);
	printf("this program's   %d\n", st.latest);
	printf("state            %s\n", st.newer ? "newer than this program: install a newer outcomed" :
	       st.altered ? "a migration was applied that differs from this program's of the same number" :
	       outdated ? "needs: outcomed migrate upgrade" : "up to date");
	printf("call_logs        %s\n", st.host_call_logs ? "the host's, it was here before" : outdated && !st.version ? "not there yet" : "ours");
	printf("older module     %s\n", st.older_module ? "its livekit_call_events was here before" : "none");
	if (st.version)
		printf("rows inserted    %s%.*s\n", st.can_insert ? "yes" : "no: ", SLICE_FMT(st.can_insert ? SLICE("") : st.why_not_insert));
	if (st.newer || st.altered)
		return STATUS_FAILED;
	return outdated ? STATUS_OUTDATED : STATUS_OK;
}

static int upgrade(const struct command_line *line, const struct store_options *o, enum store_kind kind)
{
	int64_t to;
	struct slice message = SLICE_NONE;
	if (!line_number(line, "--to", 1, LATEST_VERSION, 0, &to))
		return STATUS_USAGE;
	print_backup_command(line, kind);
	if (!line_switch(line, "--yes") && isatty(STDIN_FILENO) && !person_agrees("Upgrade the schema now? It only adds.")) {
		complain("migrate", "nothing was changed");
		return STATUS_FAILED;
	}
	int r = migrate_upgrade(o, (int)to, say_line, NULL, line->arena, &message);
	return r ? failed(r, message) : STATUS_OK;
}

static int downgrade(const struct command_line *line, const struct store_options *o, enum store_kind kind)
{
	struct slice message = SLICE_NONE;
	if (line_value(line, "--to")) {
		complain("migrate", "--to is for upgrade; downgrade removes all that upgrade added");
		return STATUS_USAGE;
	}
	print_backup_command(line, kind);
	bool agreed = line_switch(line, "--yes");
	if (!agreed && !isatty(STDIN_FILENO)) {
		complain("migrate", "downgrade removes the journal and all verdicts: say --yes to do that in a script");
		return STATUS_USAGE;
	}
	if (!agreed && !person_agrees("Remove the journal, the verdicts and all else that upgrade added?")) {
		complain("migrate", "nothing was changed");
		return STATUS_FAILED;
	}
	int r = migrate_downgrade(o, say_line, NULL, line->arena, &message);
	return r ? failed(r, message) : STATUS_OK;
}

static int run_migrate(const struct command_line *line)
{
	const struct store_options o = { .url = line->config->database };
	const char *what = line->words[0];
	bool known;
	enum store_kind kind = store_url_kind(o.url, &known);
	if (!known) {
		struct slice message = SLICE_NONE;
		struct migrate_status st;
		return failed(migrate_status(&o, line->arena, &st, &message), message);
	}
	if (strcmp(what, "status") == 0)
		return print_status(line, &o);
	if (strcmp(what, "upgrade") == 0)
		return upgrade(line, &o, kind);
	if (strcmp(what, "downgrade") == 0)
		return downgrade(line, &o, kind);
	complain("migrate", "there is no \"%s\": expected upgrade, downgrade or status", what);
	return STATUS_USAGE;
}

static const struct extra_flag migrate_flags[] = {
	{ "--to", "N", "upgrade: stop at schema version N. Default: the latest." },
	{ "--yes", NULL, "Do not ask. downgrade needs it in scripts." },
};

const struct command command_migrate = {
	.name = "migrate",
	.words = "upgrade|downgrade|status",
	.summary = "Upgrade or downgrade the database's schema, or tell its version.",
	.details = "upgrade only adds: tables, columns, indexes. On a terminal it asks first; in a script it runs unasked. It prints the\n"
		   "command that makes a backup. downgrade removes what upgrade added, the journal and the verdicts with it; your own\n"
		   "tables and rows stay. Both can be repeated without harm.\n"
		   "\n"
		   "Exit codes: 0 done; 1 failed, or answered no; 2 wrong usage or configuration; 3 (status) an upgrade is needed.",
	.options = CMD_MIGRATE,
	.extra = migrate_flags,
	.extra_count = sizeof migrate_flags / sizeof migrate_flags[0],
	.least_words = 1,
	.most_words = 1,
	.run = run_migrate,
};
