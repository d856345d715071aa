/* The words of `outcomed replay`. Names of rooms are not shown: there are phone numbers in them. Main thread only. */
#include "cmd/replay.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "wire/jdoc.h"

#define REDRAW_NS 100000000
#define LINE_NS 5000000000
#define BAR 30

void report_begin(struct replay_report *r)
{
	r->draws = isatty(STDERR_FILENO);
	r->begun_ns = r->said_ns = clock_mono_ns();
}

static void erase_bar(const struct replay_report *r)
{
	if (r->draws)
		fputs("\r\033[K", stderr);
}

static int64_t percent_of(const struct replay_totals *t)
{
	if (t->expected_calls <= 0)
		return 0;
	return t->calls >= t->expected_calls ? 100 : t->calls * 100 / t->expected_calls;
}

static void draw(const struct replay_report *r, const struct replay_totals *t, int64_t now)
{
	char bar[BAR + 1];
	int64_t percent = percent_of(t), full = percent * BAR / 100;
	int64_t left_s = percent ? (now - r->begun_ns) / percent * (100 - percent) / 1000000000 : 0;
	for (int64_t i = 0; i < BAR; i++)
		bar[i] = i < full ? '#' : '.';
	bar[BAR] = '\0';
	fprintf(stderr, "\r\033[K[%s] %3" PRId64 " %%  %" PRId64 " calls, %" PRId64 " events, %" PRId64 " %s", bar, percent, t->calls, t->events, t->changed,
		r->dry_run ? "would change" : "changed");
	if (percent)
		fprintf(stderr, ", %" PRId64 ":%02" PRId64 " left", left_s / 60, left_s % 60);
	fflush(stderr);
}

static void say_line(const struct replay_report *r, const struct replay_totals *t)
{
	fprintf(stderr, "replay: %" PRId64 " %%, %" PRId64 " of about %" PRId64 " calls, %" PRId64 " events, %" PRId64 " %s\n", percent_of(t), t->calls,
		t->expected_calls, t->events, t->changed, r->dry_run ? "would change" : "changed");
}

void report_progress(struct replay_report *r, const struct replay_totals *t)
{
	int64_t now = clock_mono_ns();
	if (now - r->said_ns < (r->draws ? REDRAW_NS : LINE_NS))
		return;
	r->said_ns = now;
	if (r->draws)
		draw(r, t, now);
	else
		say_line(r, t);
}

/* ---- calls ---- */

void report_verdict(struct slice verdict, struct buf *out)
{
	static const struct slice names[] = { { "outcome", 7 }, { "confidence", 10 }, { "reason", 6 } };
	_cleanup_arena_ struct arena *a = arena_new(16384);
	struct jdoc j;
	if (verdict.n == 0) {
		buf_puts(out, "nothing");
		return;
	}
	if (!a || jdoc_parse(verdict, a, &j) != 0 || j.fault != JDOC_OK || jdoc_type_of(&j, 0) != JDOC_OBJECT) {
		buf_puts(out, "something unreadable");
		return;
	}
	size_t words = 0;
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		struct slice text;
		uint32_t at = jdoc_member(&j, 0, names[i]);
		if (!at || jdoc_type_of(&j, at) != JDOC_STRING || jdoc_text(&j, at, a, &text) != 0)
			continue;
		buf_puts(out, words++ ? " " : "");
		for (size_t k = 0; k < text.n; k++) /* a damaged one may hold anything; ours are plain words */
			buf_putc(out, text.p[k] < ' ' || text.p[k] > '~' ? '?' : text.p[k]);
	}
	if (!words)
		buf_puts(out, "open");
}

static void put_changes(unsigned changes, struct buf *out)
{
	const char *before = "";
	for (unsigned i = 0; i < REPLAY_CHANGE_COUNT; i++)
		if (changes >> i & 1) {
			buf_putf(out, "%s%s", before, replay_change_names[i]);
			before = ", ";
		}
}

void report_difference(struct replay_report *r, const struct replay_difference *d)
{
	_cleanup_buf_ struct buf line = BUF_INIT;
	if (r->shown++ >= r->show)
		return;
	buf_putf(&line, "%.*s  ", SLICE_FMT(d->room_sid));
	report_verdict(d->verdict_before, &line);
	buf_puts(&line, " -> ");
	report_verdict(d->verdict_after, &line);
	if (d->revision_before != d->revision_after)
		buf_putf(&line, "  revision %" PRId64 " -> %" PRId64, d->revision_before, d->revision_after);
	buf_puts(&line, "  (");
	put_changes(d->changes, &line);
	buf_puts(&line, ")");
	erase_bar(r);
	if (!buf_failed(&line))
		printf("%.*s\n", SLICE_FMT(buf_slice(&line)));
	fflush(stdout);
}

void report_left_alone(struct replay_report *r, struct slice room_sid, enum replay_skip why, struct slice detail)
{
	if (r->alone_shown++ >= r->show)
		return;
	erase_bar(r);
	printf("%.*s  left alone: %s%s%.*s\n", SLICE_FMT(room_sid), replay_skip_words[why], detail.n ? ": " : "", SLICE_FMT(detail));
	fflush(stdout);
}

/* ---- the end ---- */

static void say_more(int64_t shown, int64_t show, const char *what)
{
	if (shown > show)
		printf("… and %" PRId64 " more that %s\n", shown - show, what);
}

void report_end(struct replay_report *r, const struct replay_totals *t)
{
	int64_t ms = (clock_mono_ns() - r->begun_ns) / 1000000;
	if (r->draws) {
		draw(r, t, clock_mono_ns());
		fputc('\n', stderr);
	} else {
		say_line(r, t);
	}
	say_more(r->shown, r->show, r->dry_run ? "would change" : "changed");
	say_more(r->alone_shown, r->show, "were left alone");
	printf("%" PRId64 " calls and %" PRId64 " events read in %" PRId64 ".%01" PRId64 " s: ", t->calls, t->events, ms / 1000, ms % 1000 / 100);
	printf("%" PRId64 " calls %s, %" PRId64 " left alone\n", t->changed, r->dry_run ? "would change" : "changed", t->left_alone);
	for (unsigned i = 0; i < REPLAY_CHANGE_COUNT; i++)
		if (t->changes[i])
			printf("  %" PRId64 " calls: %s\n", t->changes[i], replay_change_words[i]);
	for (unsigned i = 1; i < REPLAY_SKIP_COUNT; i++)
		if (t->skips[i])
			printf("  %" PRId64 " left alone: %s\n", t->skips[i], replay_skip_words[i]);
	if (t->adopted)
		printf("  %" PRId64 " events that lay aside without a room %s\n", t->adopted, r->dry_run ? "can be read now" : "found their calls");
	if (t->still_aside)
		printf("  %" PRId64 " events stay aside\n", t->still_aside);
	if (t->interrupted)
		puts("interrupted: what is said above is done, the rest is as it was; run it again");
	else if (r->dry_run)
		puts("dry run: nothing was written");
	fflush(stdout);
}
