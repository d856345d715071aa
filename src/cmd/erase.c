/* outcomed erase: removes a phone number, or a tenant, from all that outcomed keeps, and shows that it is gone. Asks on a terminal; a script says --yes.
 * A first SIGINT, SIGTERM or SIGHUP ends it after the transaction under way. Main thread only. */
#include "ingest/erase.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "cmd/cmd.h"

static bool go_on(void *context)
{
	sigset_t *signals = context;
	const struct timespec at_once = { .tv_sec = 0 };
	if (sigtimedwait(signals, NULL, &at_once) < 0)
		return true;
	sigprocmask(SIG_UNBLOCK, signals, NULL); /* the next one ends the process */
	return false;
}

static void refused(void *context, struct slice room_sid, struct slice why)
{
	(void)context;
	complain("erase", "the database does not let go of call %.*s: %.*s", SLICE_FMT(room_sid), SLICE_FMT(why));
}

static int read_person(const struct command_line *line, struct person *ret)
{
	const char *number = line_value(line, "--number"), *user = line_value(line, "--user");
	if (!number == !user) {
		complain("erase", "say who: --number +4930123456, or --user ID");
		return STATUS_USAGE;
	}
	int r = number ? person_of_number(slice_cstr(number), line->arena, ret) : person_of_user(slice_cstr(user), line->arena, ret);
	if (r == OC_INVALID)
		complain("erase", number ? "--number: expected a phone number of %d to %d digits, with its country, such as +4930123456" :
			 "--user: expected a tenant's id", PERSON_LEAST_DIGITS, PERSON_MOST_DIGITS);
	else if (r < 0)
		complain("erase", "%s", oc_error_text(r));
	return r == 0 ? STATUS_OK : r == OC_INVALID ? STATUS_USAGE : STATUS_FAILED;
}

static bool agreed(const struct command_line *line)
{
	char answer[16];
	if (line_switch(line, "--yes") || line_switch(line, "--dry-run"))
		return true;
	if (!isatty(STDIN_FILENO)) {
		complain("erase", "what is erased cannot be brought back: say --yes to do that in a script");
		return false;
	}
	printf("Remove this person's calls for good? Backups stay. [y/N] ");
	fflush(stdout);
	if (fgets(answer, sizeof answer, stdin) && (answer[0] == 'y' || answer[0] == 'Y'))
		return true;
	complain("erase", "nothing was changed");
	return false;
}

static void print_count(const char *what, int64_t n) { printf("%-44s %lld\n", what, (long long)n); }

static void report_removed(const struct erase_totals *t, bool dry_run)
{
	const struct forgotten *g = &t->gone;
	print_count("calls looked at", t->looked_at);
	print_count(dry_run ? "calls that would go" : "calls removed", t->calls);
	if (!dry_run) {
		print_count("  livekit_call_events rows", g->events);
		print_count("  call_facts rows", g->facts);
		print_count("  call_legs rows", g->legs);
		print_count("  call_revisions rows", g->revisions);
		print_count("  call_logs rows of ours", g->call_logs);
		print_count("  call_logs rows of yours, our columns cleared", g->host_rows);
	}
	if (t->spool_removed)
		print_count("events of the spool", t->spool_removed);
	if (t->spool_waiting)
		printf("%lld events wait in the spool of an outcomed that runs: erase once more when they are in the database\n", (long long)t->spool_waiting);
	if (t->open_calls)
		printf("%lld of them had not ended: what still comes of these is kept as new; erase once more when they are over\n", (long long)t->open_calls);
}

static void report_places(const struct erase_totals *t)
{
	printf("found afterwards, in every text of every table:\n");
	for (size_t i = 0; i < t->place_count; i++) {
		const struct person_place *p = &t->places[i];
		char where[200];
		snprintf(where, sizeof where, "  %s%s%.*s", p->table, p->column.n ? "." : "", SLICE_FMT(p->column));
		printf("%-44s %lld%s\n", where, (long long)p->rows, p->rows && p->host ? "  (your own column: outcomed leaves it)" : "");
	}
}

static void report_bytes(const struct erase_totals *t, enum store_kind kind)
{
	switch (kind) {
	case STORE_SQLITE:
		printf("the file: %s%s\n", t->rewritten ? "written anew, " : "", t->bytes_left ?
		       "but these digits are in it still: in a row named above, or within a longer number" : "nothing of it is left in the file or its log");
		break;
	case STORE_POSTGRES:
		printf("PostgreSQL overwrites deleted rows when it vacuums; its WAL, replicas that lag, archives and backups have them until they expire:\n"
		       "  VACUUM livekit_call_events, call_facts, call_legs, call_revisions, call_logs;\n");
		break;
	}
}

static int report(const struct command_line *line, const struct erase_totals *t)
{
	bool known, dry_run = line_switch(line, "--dry-run");
	report_removed(t, dry_run);
	if (t->places && !dry_run)
		report_places(t);
	if (!t->interrupted && !dry_run && t->places)
		report_bytes(t, store_url_kind(line->config->database, &known));
	if (t->interrupted)
		printf("interrupted: what is said here is done; run it again\n");
	fflush(stdout);
	if (t->interrupted)
		return STATUS_FAILED;
	bool left = !dry_run && (t->ours_left || t->host_left || t->left || t->open_calls || t->bytes_left || t->spool_waiting);
	return left ? STATUS_LEFT_ALONE : STATUS_OK;
}

static int run_erase(const struct command_line *line)
{
	sigset_t signals;
	struct erase_options o = {
		.store = { .url = line->config->database, .application_name = "outcomed erase" }, .dry_run = line_switch(line, "--dry-run"),
		.go_on = go_on, .refused = refused, .context = &signals,
	};
	struct erase_totals t = { .calls = 0 };
	struct slice message = SLICE_NONE;
	int status = read_person(line, &o.person);
	if (status != STATUS_OK)
		return status;
	if (!slice_eq_cstr(line->config->spool, "none"))
		o.spool = line->config->spool.p; /* from the environment or the command line, so it ends with NUL */
	if (!agreed(line))
		return line_switch(line, "--yes") || isatty(STDIN_FILENO) ? STATUS_FAILED : STATUS_USAGE;
	block_stop_signals(&signals);
	int r = erase_run(&o, line->arena, &t, &message);
	if (r < 0) {
		if (t.looked_at)
			report(line, &t);
		complain("erase", "%s%s%.*s", oc_error_text(r), message.n ? ": " : "", SLICE_FMT(message));
		return r == OC_CONFIG ? STATUS_USAGE : STATUS_FAILED;
	}
	return report(line, &t);
}

static const struct extra_flag erase_flags[] = {
	{ "--number", "NUMBER", "The phone number, with its country: +4930123456. Found however it is written in a text." },
	{ "--user", "ID", "The tenant." },
	{ "--dry-run", NULL, "Count the calls, and change nothing." },
	{ "--yes", NULL, "Do not ask. Scripts need it." },
};

const struct command command_erase = {
	.name = "erase",
	.words = "",
	.summary = "Remove a phone number or a tenant from all that is kept, and show that it is gone.",
	.details = "Every call that has the number anywhere (as a leg's number or identity, in the room's name, in a payload, in a mark) goes\n"
		   "whole, whoever's it is, open calls too; of a tenant all of its calls and marks. call_logs rows that outcomed inserted go; in\n"
		   "rows that your application wrote the columns that outcomed fills are cleared, your own are named and left to you. So do events\n"
		   "that wait in the spool (--spool; where outcomed runs, it has them: erase again when they are in the database). Then every\n"
		   "text of every table is searched once more, and what is found is printed by table and column. A number is found with its\n"
		   "country code, with or without + and 00, blanks and hyphens; in a national form (030 123456) it is another text: erase that\n"
		   "one too. Daemons go on serving; it may be run again at any time.\n"
		   "\n"
		   "SQLite: what goes is overwritten, and where the file has these digits still it is written anew (VACUUM: webhooks wait meanwhile).\n"
		   "PostgreSQL: VACUUM, WAL, archives and backups are yours; it says so.\n"
		   "\n"
		   "Exit codes: 0 gone, or --dry-run; 1 failed, interrupted, or answered no; 2 wrong usage or configuration; 3 done, but something\n"
		   "is left that it names: columns of yours, calls that were open, what the database did not let go.",
	.options = CMD_ERASE,
	.extra = erase_flags,
	.extra_count = sizeof erase_flags / sizeof erase_flags[0],
	.least_words = 0,
	.most_words = 0,
	.run = run_erase,
};
