/* outcomed replay: rebuilds facts and verdicts from the journal while daemons serve. A first SIGINT, SIGTERM or SIGHUP ends it after the page
 * under way, a second one at once; either leaves whole calls. Main thread only. */
#include "cmd/replay.h"

#include <signal.h>
#include <stdio.h>
#include <time.h>

#include "base/clock.h"
#include "cmd/cmd.h"
#include "wire/rfc3339.h"

#define SHOW_MOST 1000000

struct replaying {
	struct replay_report report;
	sigset_t signals;
};

static bool go_on(void *context, const struct replay_totals *t)
{
	struct replaying *x = context;
	const struct timespec at_once = { .tv_sec = 0 };
	report_progress(&x->report, t);
	if (sigtimedwait(&x->signals, NULL, &at_once) < 0)
		return true;
	sigprocmask(SIG_UNBLOCK, &x->signals, NULL); /* the next one ends the process */
	return false;
}

static void differs(void *context, const struct replay_difference *d) { report_difference(&((struct replaying *)context)->report, d); }

static void left_alone(void *context, struct slice room_sid, enum replay_skip why, struct slice detail)
{
	report_left_alone(&((struct replaying *)context)->report, room_sid, why, detail);
}

/* A time (RFC 3339), or a span before now: 90s, 30m, 12h, 7d. */
static bool read_since(const char *text, int64_t *ret_ms)
{
	int64_t span_ms;
	if (slice_to_span_ms(slice_cstr(text), &span_ms)) {
		*ret_ms = clock_wall_ms() - span_ms;
		return *ret_ms > 0;
	}
	return rfc3339_parse(slice_cstr(text), ret_ms) && *ret_ms > 0;
}

static int read_flags(const struct command_line *line, struct replay_options *o, struct replay_report *r)
{
	int64_t rules;
	const char *since = line_value(line, "--since"), *call = line_value(line, "--call");
	if (!line_number(line, "--rules", 1, 1000000, VERDICT_RULES_VERSION, &rules) || !line_number(line, "--show", 0, SHOW_MOST, 20, &r->show))
		return STATUS_USAGE;
	if (!replay_has_rules((unsigned)rules)) {
		complain("replay", "this outcomed does not have version %lld of the rules: it has %u", (long long)rules, VERDICT_RULES_VERSION);
		return STATUS_USAGE;
	}
	if (since && !read_since(since, &o->since_ms)) {
		complain("replay", "--since=%s: expected a time like 2026-11-22T13:00:00Z, or a span before now like 90m, 12h or 7d", since);
		return STATUS_USAGE;
	}
	if (since && call) {
		complain("replay", "--since and --call do not go together: --call is one call, whenever it was");
		return STATUS_USAGE;
	}
	if (call && !*call) {
		complain("replay", "--call is empty: expected the id of a call_logs row or a room SID");
		return STATUS_USAGE;
	}
	o->rules = (unsigned)rules;
	o->call = slice_cstr(call);
	o->dry_run = r->dry_run = line_switch(line, "--dry-run");
	return STATUS_OK;
}

static int read_config(const struct command_line *line, struct replay_options *o)
{
	struct slice *tenant_keys, message = SLICE("out of memory");
	int r = tenant_keys_from_config(line->config, line->arena, &tenant_keys, &o->decode.tenant_key_count);
	if (r == 0) {
		o->decode.tenant_keys = tenant_keys;
		o->decode.iso_times = line->config->accept_hmac_on;
		r = routes_from_config(line->config, line->arena, &o->routes, &message);
		if (r == 0)
			r = overrides_from_config(line->config, line->arena, &o->overrides, &message);
	}
	if (r == 0)
		return STATUS_OK;
	complain("replay", "%.*s", SLICE_FMT(message));
	return r == OC_CONFIG ? STATUS_USAGE : STATUS_FAILED;
}

static int failed(int code, const struct replay_options *o, struct slice message)
{
	if (code == OC_NOT_FOUND && o->call.n) {
		complain("replay", "there is no call %.*s: expected the id of a call_logs row or a room SID", SLICE_FMT(o->call));
		return STATUS_USAGE;
	}
	if (message.n)
		complain("replay", "%s: %.*s", oc_error_text(code), SLICE_FMT(message));
	else
		complain("replay", "%s", oc_error_text(code));
	return code == OC_CONFIG ? STATUS_USAGE : STATUS_FAILED;
}

static int run_replay(const struct command_line *line)
{
	struct replaying x = { .report = { .shown = 0 } };
	struct replay_options o = {
		.store = { .url = line->config->database, .application_name = "outcomed replay" }, .default_user = line->config->default_user,
		.go_on = go_on, .differs = differs, .left_alone = left_alone, .context = &x,
	};
	struct replay_totals t = { .calls = 0 };
	struct slice message = SLICE_NONE;
	int status = read_flags(line, &o, &x.report);
	if (status == STATUS_OK)
		status = read_config(line, &o);
	if (status != STATUS_OK)
		return status;
	block_stop_signals(&x.signals);
	report_begin(&x.report);
	int r = replay_run(&o, line->arena, &t, &message);
	if (r == 0 || t.calls)
		report_end(&x.report, &t);
	if (r < 0)
		return failed(r, &o, message);
	if (t.interrupted)
		return STATUS_FAILED;
	return t.left_alone ? STATUS_LEFT_ALONE : STATUS_OK;
}

static const struct extra_flag replay_flags[] = {
	{ "--since", "TIME", "Only calls of which an event was taken since then: 2026-11-22T13:00:00Z, or a span before now: 90m, 12h, 7d." },
	{ "--call", "ID", "Only this call: the id of its call_logs row, or its room SID." },
	{ "--rules", "N", "Judge by this version of the rules. Default: the newest that this binary has." },
	{ "--dry-run", NULL, "Say what would change, and write nothing." },
	{ "--show", "N", "Show that many of the calls that change, and of those left alone. Default: 20." },
};

const struct command command_replay = {
	.name = "replay",
	.words = "",
	.summary = "Rebuild facts and verdicts from the journal.",
	.details = "Reads every call's events again, with today's decoder, routes and rules, and writes what comes out differently; what comes\n"
		   "out the same is not touched. It may run beside the daemon and be ended and run again at any time. Give it the same\n"
		   "--tenant-keys, --routes, --overrides and --default-user as the daemon. A verdict that changes after it was final gets a\n"
		   "new revision.\n"
		   "\n"
		   "A call whose journal was pruned, or an event of which cannot be read any more, is left alone and named: its facts would\n"
		   "become poorer. To have it made anew from what is left, delete its row of call_facts.\n"
		   "\n"
		   "Exit codes: 0 done; 1 failed or interrupted, what was said is done; 2 wrong usage or configuration, no such call, or\n"
		   "a version of the rules that this binary does not have; 3 done, but some calls were left alone.",
	.options = CMD_REPLAY,
	.extra = replay_flags,
	.extra_count = sizeof replay_flags / sizeof replay_flags[0],
	.least_words = 0,
	.most_words = 0,
	.run = run_replay,
};
