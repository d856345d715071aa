/* outcomed prune: takes away what is not to be kept any longer, while daemons serve. A first SIGINT, SIGTERM or SIGHUP ends it after the transaction
 * under way, a second one at once; either leaves whole calls. Main thread only. */
#include "ingest/retention.h"

#include <signal.h>
#include <stdio.h>
#include <time.h>

#include "cmd/cmd.h"

#define DAY_MS 86400000

static bool go_on(void *context, const struct retention_totals *t)
{
	sigset_t *signals = context;
	const struct timespec at_once = { .tv_sec = 0 };
	(void)t;
	if (sigtimedwait(signals, NULL, &at_once) < 0)
		return true;
	sigprocmask(SIG_UNBLOCK, signals, NULL); /* the next one ends the process */
	return false;
}

static void refused(void *context, struct slice room_sid, struct slice why)
{
	(void)context;
	complain("prune", "the database does not let go of call %.*s: %.*s", SLICE_FMT(room_sid), SLICE_FMT(why));
}

static bool read_span(const struct command_line *line, const char *flag, int64_t *ret_ms)
{
	const char *text = line_value(line, flag);
	*ret_ms = 0;
	if (!text || (slice_to_span_ms(slice_cstr(text), ret_ms) && *ret_ms >= DAY_MS))
		return true;
	complain("prune", "%s=%s: expected a span of a day or more, such as 90d or 36h", flag, text);
	return false;
}

static int read_flags(const struct command_line *line, struct retention_options *o)
{
	const char *user = line_value(line, "--user");
	if (!read_span(line, "--older-than", &o->calls_ms) || !read_span(line, "--payloads-older-than", &o->payloads_ms))
		return STATUS_USAGE;
	if (!o->calls_ms && !o->payloads_ms) {
		complain("prune", "say what is to go: --older-than 90d, --payloads-older-than 30d, or both");
		return STATUS_USAGE;
	}
	if (user && !*user) {
		complain("prune", "--user is empty: expected a tenant's id");
		return STATUS_USAGE;
	}
	o->user = slice_cstr(user);
	o->dry_run = line_switch(line, "--dry-run");
	return STATUS_OK;
}

static void report(const struct retention_totals *t, bool dry_run)
{
	const struct forgotten *g = &t->gone;
	printf("%-28s %lld\n", "calls looked at", (long long)t->looked_at);
	printf("%-28s %lld\n", dry_run ? "calls that would go" : "calls removed", (long long)t->calls);
	if (!dry_run) {
		printf("  %-26s %lld\n", "journal rows", (long long)g->events);
		printf("  %-26s %lld\n", "call_facts rows", (long long)g->facts);
		printf("  %-26s %lld\n", "call_legs rows", (long long)g->legs);
		printf("  %-26s %lld\n", "call_revisions rows", (long long)g->revisions);
		printf("  %-26s %lld\n", "call_logs rows of ours", (long long)g->call_logs);
	}
	printf("%-28s %lld\n", dry_run ? "calls that would be stripped" : "calls stripped of payloads", (long long)t->stripped);
	if (!dry_run)
		printf("  %-26s %lld\n", "payloads", (long long)g->payloads);
	if (t->left)
		printf("%-28s %lld\n", "calls left alone", (long long)t->left);
	if (t->interrupted)
		printf("interrupted: what is said here is done\n");
	fflush(stdout);
}

static int run_prune(const struct command_line *line)
{
	sigset_t signals;
	struct retention_options o = {
		.store = { .url = line->config->database, .application_name = "outcomed prune" }, .go_on = go_on, .refused = refused, .context = &signals,
	};
	struct retention_totals t = { .calls = 0 };
	struct slice message = SLICE_NONE;
	int status = read_flags(line, &o);
	if (status != STATUS_OK)
		return status;
	block_stop_signals(&signals);
	int r = retention_run(&o, line->arena, &t, &message);
	if (r == 0 || t.looked_at)
		report(&t, o.dry_run);
	if (r < 0) {
		complain("prune", "%s%s%.*s", oc_error_text(r), message.n ? ": " : "", SLICE_FMT(message));
		return r == OC_CONFIG ? STATUS_USAGE : STATUS_FAILED;
	}
	if (t.interrupted)
		return STATUS_FAILED;
	return t.left ? STATUS_LEFT_ALONE : STATUS_OK;
}

static const struct extra_flag prune_flags[] = {
	{ "--older-than", "SPAN", "Remove calls that ended longer ago: 90d, 36h; a day at least." },
	{ "--payloads-older-than", "SPAN", "Of the events of calls that ended longer ago remove payload and body only." },
	{ "--user", "ID", "Only calls of this tenant." },
	{ "--dry-run", NULL, "Count the calls, and change nothing." },
};

const struct command command_prune = {
	.name = "prune",
	.words = "",
	.summary = "Remove calls that ended long ago, or their events' payloads.",
	.details = "A call that goes goes whole: its events in the journal, facts, legs, replaced verdicts, and its call_logs row where outcomed\n"
		   "inserted it. A call_logs row that your application wrote stays as it is, the outcome with it. Open calls stay. Events that\n"
		   "belong to no call go by the time they came. Small transactions, pauses in between: daemons go on serving, and it may be\n"
		   "ended and run again at any time. What is removed on SQLite is overwritten in the file.\n"
		   "\n"
		   "A call without payloads keeps its verdict, but can be replayed no more. An event that comes once more after its call was\n"
		   "removed is kept aside as one of a time that was pruned: it makes no new call. `outcomed serve` does all this by itself\n"
		   "where it is told how long to keep what.\n"
		   "\n"
		   "Exit codes: 0 done; 1 failed or interrupted, what was said is done; 2 wrong usage or configuration; 3 done, but the\n"
		   "database did not let go of some calls (a foreign key of yours, say).",
	.options = CMD_PRUNE,
	.extra = prune_flags,
	.extra_count = sizeof prune_flags / sizeof prune_flags[0],
	.least_words = 0,
	.most_words = 0,
	.run = run_prune,
};
