/* outcomed explain: one call on the terminal: what happened as a ladder, the facts that follow, the rule that fired, the verdict and its sentence. From a
 * file, or, as the tenant sees it, from the database. Reads only. Main thread only. */
#include <stdio.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "cmd/cmd.h"
#include "cmd/ladder.h"
#include "cmd/recording.h"
#include "wire/jdoc.h"
#include "wire/mark.h"

#define JOURNAL_MOST 20000 /* rows of a call that are shown */

struct explaining {
	const struct command_line *line;
	struct terminal t;
	struct arena *a;
	struct decode_options decode;
	int64_t now_ms;
	struct buf out;
};

/* ---- words ---- */

static void put_clock(struct buf *b, int64_t ms, bool whole_s)
{
	_cleanup_buf_ struct buf text = BUF_INIT;
	buf_put_rfc3339_ms(&text, ms);
	if (buf_failed(&text) || text.n < 24)
		b->failed = true;
	else
		buf_put(b, slice_of(text.p + 11, whole_s ? 8 : 12));
}

/* What comes from outside: names may have phone numbers in them, ids have none. What else is put into a line is our own. */
static void put_outside(struct explaining *x, struct buf *b, struct slice text, bool name)
{
	struct slice safe;
	if (terminal_clean(&x->t, text, name, x->a, &safe) == 0)
		buf_put(b, safe);
	else
		b->failed = true;
}

static void put_name(struct explaining *x, struct buf *b, struct slice text) { put_outside(x, b, text, true); }
static void put_id(struct explaining *x, struct buf *b, struct slice text) { put_outside(x, b, text, false); }

static void put_heading(struct explaining *x, const char *text)
{
	buf_putc(&x->out, '\n');
	terminal_put(&x->t, &x->out, STYLE_STRONG, slice_cstr(text));
	buf_putc(&x->out, '\n');
}

static void put_item(struct explaining *x, const struct buf *text)
{
	if (buf_failed(text))
		x->out.failed = true;
	else
		terminal_paragraph(&x->t, &x->out, STYLE_PLAIN, SLICE("  "), buf_slice(text));
}

static void put_labelled(struct explaining *x, const char *label, const struct buf *text)
{
	char first[24];
	snprintf(first, sizeof first, "  %-10s", label);
	if (buf_failed(text))
		x->out.failed = true;
	else
		terminal_paragraph(&x->t, &x->out, STYLE_PLAIN, slice_cstr(first), buf_slice(text));
}

/* ---- the facts ---- */

static void put_party(struct explaining *x, const struct detail_leg *leg, bool several)
{
	_cleanup_buf_ struct buf b = BUF_INIT;
	buf_puts(&b, ladder_kind(leg));
	buf_putc(&b, ' ');
	put_name(x, &b, leg->identity);
	if (leg->phone && leg->phone->call_id.n) {
		buf_puts(&b, " (");
		put_id(x, &b, leg->phone->call_id);
		buf_putc(&b, ')');
	}
	buf_puts(&b, ": ");
	if (leg->joined_at_ms) {
		buf_puts(&b, "from ");
		put_clock(&b, leg->joined_at_ms, false);
		buf_puts(&b, ", ");
	}
	if (leg->status != STATUS_NONE) {
		buf_puts(&b, "reached ");
		buf_puts(&b, sip_status_name(leg->status));
		buf_puts(&b, ", ");
	}
	if (leg->left) {
		buf_puts(&b, "left ");
		put_clock(&b, leg->left->ended.at_s * 1000, true);
		buf_puts(&b, " with ");
		buf_puts(&b, disconnect_reason_name(leg->left->left_reason));
	} else {
		buf_puts(&b, "not seen to leave");
	}
	if (leg->phone)
		buf_puts(&b, leg->phone->answer == ANSWER_YES ? ", answered" : leg->phone->answer == ANSWER_NO ? ", not answered" : ", answered or not: unclear");
	if (several && leg->judged)
		buf_putf(&b, "; this leg: %s / %s, %s", outcome_name(leg->verdict.outcome), verdict_reason_name(leg->verdict.reason),
			confidence_name(leg->verdict.confidence));
	if (several && leg->primary)
		buf_puts(&b, " (the primary leg)");
	put_item(x, &b);
}

static void put_losses(struct explaining *x, const struct losses *losses)
{
	for (size_t i = 0; i < losses->count; i++) {
		const struct loss *l = &losses->items[i];
		_cleanup_buf_ struct buf b = BUF_INIT;
		buf_puts(&b, "never came: ");
		buf_puts(&b, loss_words(l->kind));
		struct slice whose = l->identity.n ? l->identity : l->participant_sid;
		if (whose.n) {
			buf_puts(&b, ": ");
			put_name(x, &b, whose);
		}
		put_item(x, &b);
	}
	if (losses->count == 0)
		buf_puts(&x->out, "  nothing is known to be missing\n");
}

static void put_facts(struct explaining *x, const struct detail *d)
{
	size_t phones = 0;
	for (size_t i = 0; i < d->leg_count; i++)
		phones += d->legs[i].phone != NULL;
	put_heading(x, "Facts");
	for (size_t i = 0; i < d->leg_count; i++)
		put_party(x, &d->legs[i], phones > 1);
	if (d->leg_count == 0)
		buf_puts(&x->out, "  nobody was seen\n");
	put_losses(x, &d->losses);
}

/* ---- the verdict ---- */

static enum terminal_style style_of(enum confidence c)
{
	switch (c) {
	case CONFIDENCE_CERTAIN:
		return STYLE_GOOD;
	case CONFIDENCE_LIKELY:
		return STYLE_DOUBTFUL;
	case CONFIDENCE_NONE:
	case CONFIDENCE_AMBIGUOUS:
		return STYLE_BAD;
	}
	return STYLE_PLAIN;
}

static void put_alternatives(struct explaining *x, const struct verdict *v)
{
	_cleanup_buf_ struct buf b = BUF_INIT;
	for (size_t i = 0; i < v->alternative_count; i++)
		buf_putf(&b, "%s%s / %s", i ? "; " : "", outcome_name(v->alternatives[i].outcome), verdict_reason_name(v->alternatives[i].reason));
	if (v->alternative_count)
		put_labelled(x, "or", &b);
}

static void put_times(struct explaining *x, const struct verdict *v)
{
	_cleanup_buf_ struct buf b = BUF_INIT;
	put_clock(&b, v->started_at_ms, false);
	if (v->ended_at_ms) {
		buf_puts(&b, " to ");
		put_clock(&b, v->ended_at_ms, true);
		buf_putf(&b, ", %lld s", (long long)v->duration_s);
	}
	if (v->answered_at_ms) {
		buf_puts(&b, "; answered ");
		put_clock(&b, v->answered_at_ms, false);
		buf_puts(&b, " (");
		put_id(x, &b, v->answered_source);
		buf_putf(&b, "), rang %lld s", (long long)v->ring_seconds);
		if (v->talk_seconds >= 0)
			buf_putf(&b, ", talked %lld s", (long long)v->talk_seconds);
	} else if (v->answered_at_latest_ms) {
		buf_puts(&b, "; answered ");
		if (v->answered_at_earliest_ms) {
			buf_puts(&b, "between ");
			put_clock(&b, v->answered_at_earliest_ms, false);
			buf_puts(&b, " and ");
		} else {
			buf_puts(&b, "by ");
		}
		put_clock(&b, v->answered_at_latest_ms, false);
	}
	if (v->started_at_ms)
		put_labelled(x, "times", &b);
}

static void put_evidence(struct explaining *x, const struct verdict *v)
{
	for (size_t i = 0; i < v->evidence_count; i++) {
		_cleanup_buf_ struct buf b = BUF_INIT;
		buf_put(&b, v->evidence[i].says);
		if (v->evidence[i].event_id.n) {
			buf_puts(&b, "  ");
			put_id(x, &b, v->evidence[i].event_id);
		}
		put_labelled(x, i ? "" : "because", &b);
	}
}

static void put_verdict(struct explaining *x, const struct verdict *v)
{
	_cleanup_buf_ struct buf b = BUF_INIT;
	put_heading(x, "Verdict");
	if (v->outcome == OUTCOME_NONE) {
		buf_puts(&b, "the call is open");
		if (v->due_at_ms) {
			buf_puts(&b, "; it is looked at again at ");
			buf_put_rfc3339_ms(&b, v->due_at_ms);
		}
		put_item(x, &b);
		put_times(x, v);
		return;
	}
	buf_putf(&b, "%s / %s, %s; fault: %s", outcome_name(v->outcome), verdict_reason_name(v->reason), confidence_name(v->confidence),
		fault_name(v->fault));
	x->out.failed |= buf_failed(&b);
	terminal_paragraph(&x->t, &x->out, style_of(v->confidence), SLICE("  "), buf_slice(&b));
	put_alternatives(x, v);
	buf_clear(&b);
	buf_put(&b, v->rule);
	buf_putf(&b, " (rules %u)", v->rules);
	put_labelled(x, "rule", &b);
	put_times(x, v);
	put_evidence(x, v);
	buf_putc(&x->out, '\n');
	terminal_paragraph(&x->t, &x->out, STYLE_PLAIN, SLICE("  "), v->explanation);
}

/* ---- one call ---- */

static void put_title(struct explaining *x, const struct facts *f, const struct timeline *line)
{
	_cleanup_buf_ struct buf b = BUF_INIT;
	put_id(x, &b, f->room_sid);
	if (f->room_name.n) {
		buf_puts(&b, "  room ");
		put_name(x, &b, f->room_name);
	}
	x->out.failed |= buf_failed(&b);
	terminal_paragraph(&x->t, &x->out, STYLE_STRONG, SLICE(""), buf_slice(&b));
	if (line->count) {
		buf_clear(&b);
		buf_puts(&b, "0.000 is ");
		buf_put_rfc3339_ms(&b, line->rows[0]->at_ms);
		buf_putf(&b, "; %s: to the second, by the time of arrival", x->t.utf8 ? "\xe2\x89\x88" : "~");
		terminal_paragraph(&x->t, &x->out, STYLE_PLAIN, SLICE(""), buf_slice(&b));
	}
	buf_putc(&x->out, '\n');
}

static int explain_call(struct explaining *x, const struct timeline *line, const struct facts *f, const struct verdict *v)
{
	struct detail d;
	int r = detail_make(f, v->outcome != OUTCOME_NONE, x->a, &d);
	if (r < 0)
		return r;
	put_title(x, f, line);
	r = ladder_write(&x->t, line, &d, x->a, &x->out);
	if (r < 0)
		return r;
	put_facts(x, &d);
	put_verdict(x, v);
	return buf_failed(&x->out) ? OC_NOMEM : 0;
}

/* ---- a file ---- */

static int explain_file(struct explaining *x, const char *path, struct slice *ret_message)
{
	struct told_list list = { .count = 0 };
	struct timeline *calls;
	size_t count = 0, left = 0;
	struct slice text;
	int r = read_file(path, RECORDING_MAX_BYTES, x->a, &text, ret_message);
	if (r == 0)
		r = told_read(text, &x->decode, x->a, &list, ret_message);
	if (r == 0)
		r = timelines_make(&list, x->a, &calls, &count, &left);
	if (r == OC_FULL)
		*ret_message = arena_text(x->a, "it has more than %d calls: give a file with fewer", TIMELINES_MOST);
	for (size_t i = 0; i < count && r == 0; i++) {
		struct verdict v;
		r = verdict_classify(calls[i].facts, VERDICT_RULES_VERSION, x->now_ms, x->a, &v);
		if (r == 0 && i > 0)
			buf_puts(&x->out, "\n\n");
		if (r == 0)
			r = explain_call(x, &calls[i], calls[i].facts, &v);
	}
	if (r == 0 && left)
		buf_putf(&x->out, "%sLeft out, of no call or unreadable: %zu\n", count ? "\n" : "", left);
	if (r == 0 && count == 0 && left == 0) {
		*ret_message = SLICE("there is no event in it");
		r = OC_NOT_FOUND;
	}
	return r;
}

/* ---- a call of the database ---- */

static int read_journal(struct explaining *x, struct store_reader *reader, struct slice user, struct slice call_id, struct told_list *list, bool *ret_all)
{
	struct events_query q = { .tenant = user, .call_id = call_id, .limit = 200 };
	bool more = true;
	while (more && list->count < JOURNAL_MOST) {
		struct event_view *rows;
		size_t count;
		int r = store_read_events(reader, &q, x->a, &rows, &count, &more);
		for (size_t i = 0; i < count && r == 0; i++)
			r = told_add_row(&rows[i], &x->decode, x->a, list);
		if (r < 0)
			return r;
		if (!count)
			break;
		q.has_cursor = true;
		q.cursor_position = rows[count - 1].position;
		q.cursor_id = rows[count - 1].event_id;
	}
	*ret_all = !more;
	return 0;
}

static bool says(const struct jdoc *j, const char *key, const char *value)
{
	uint32_t node = j->count ? jdoc_member(j, 0, slice_cstr(key)) : 0;
	if (!node || jdoc_type_of(j, node) != JDOC_STRING)
		return !value;
	return value && jdoc_text_is(j, node, slice_cstr(value));
}

/* What is stored came of other rules, of an override, or of an earlier moment. */
static int put_stored(struct explaining *x, const struct call_detail *d, const struct facts *seen, const struct verdict *v)
{
	struct jdoc j;
	_cleanup_buf_ struct buf b = BUF_INIT;
	int r = jdoc_parse(slice_is_none(d->view.verdict) ? SLICE("{}") : d->view.verdict, x->a, &j);
	if (r < 0)
		return r;
	bool same = says(&j, "outcome", outcome_name(v->outcome)) && says(&j, "reason", verdict_reason_name(v->reason)) &&
		    says(&j, "confidence", confidence_name(v->confidence));
	put_heading(x, "Stored");
	buf_putf(&b, "revision %lld, rules %u: ", (long long)d->view.revision, d->rules);
	buf_puts(&b, same ? "as above" : "otherwise than above: ");
	for (int i = 0; i < 3 && !same; i++) {
		static const char *const keys[] = { "outcome", "reason", "confidence" };
		uint32_t node = j.count ? jdoc_member(&j, 0, slice_cstr(keys[i])) : 0;
		buf_puts(&b, i ? ", " : "");
		put_id(x, &b, node ? jdoc_raw(&j, node) : SLICE("null"));
	}
	if (!same)
		buf_puts(&b, d->rules != VERDICT_RULES_VERSION ? " (other rules: outcomed replay would change it)" :
			 " (an override of the team's, or judged at an earlier moment)");
	put_item(x, &b);
	for (size_t i = 0; i < d->revision_count; i++) {
		_cleanup_buf_ struct buf line = BUF_INIT;
		struct jdoc old;
		if (mark_unseen_is_named(d->revisions[i].verdict, seen))
			continue;
		r = jdoc_parse(slice_is_none(d->revisions[i].verdict) ? SLICE("{}") : d->revisions[i].verdict, x->a, &old);
		if (r < 0)
			return r;
		uint32_t outcome = old.count ? jdoc_member(&old, 0, SLICE("outcome")) : 0, reason = old.count ? jdoc_member(&old, 0, SLICE("reason")) : 0;
		buf_putf(&line, "revision %lld was ", (long long)d->revisions[i].revision);
		put_id(x, &line, outcome ? jdoc_raw(&old, outcome) : SLICE("null"));
		buf_puts(&line, " / ");
		put_id(x, &line, reason ? jdoc_raw(&old, reason) : SLICE("null"));
		buf_puts(&line, ", replaced ");
		buf_put_rfc3339_ms(&line, d->revisions[i].replaced_at_ms);
		put_item(x, &line);
	}
	return 0;
}

static int explain_stored(struct explaining *x, struct store_reader *reader, struct slice user, struct slice call_id, struct slice *ret_message)
{
	struct call_detail d;
	struct facts *all, *f = ARENA_NEW(x->a, struct facts);
	struct told_list list = { .count = 0 };
	struct timeline line;
	struct verdict v;
	bool whole = true;
	int r = f ? store_read_call(reader, user, call_id, x->a, &d) : OC_NOMEM;
	if (r == OC_NOT_FOUND)
		*ret_message = SLICE("this tenant has no such call, and there is no such file");
	if (r == 0 && slice_is_empty(d.facts)) {
		*ret_message = SLICE("no event of this call has come, so there is nothing to explain");
		r = OC_NOT_FOUND;
	}
	if (r == 0)
		r = facts_decode(x->a, d.facts, &all);
	if (r == OC_INVALID)
		*ret_message = SLICE("the call's stored facts cannot be read");
	if (r == 0)
		r = facts_for_tenant(all, user, x->a, f);
	if (r == 0)
		r = verdict_classify(f, VERDICT_RULES_VERSION, x->now_ms, x->a, &v);
	if (r == 0)
		r = read_journal(x, reader, user, d.view.room_sid, &list, &whole);
	if (r == 0)
		r = timeline_of_call(&list, f, x->a, &line);
	if (r == 0)
		r = explain_call(x, &line, f, &v);
	if (r == 0)
		r = put_stored(x, &d, f, &v);
	if (r == 0 && !whole)
		buf_putf(&x->out, "\nonly the first %d events are shown\n", JOURNAL_MOST);
	return r;
}

static int explain_from_database(struct explaining *x, const char *call_id, struct slice *ret_message)
{
	const struct config *c = x->line->config;
	const char *user = line_value(x->line, "--user");
	const struct store_options o = { .url = c->database, .application_name = "outcomed explain" };
	struct store_reader *reader;
	if (!user) {
		*ret_message = SLICE("there is no such file; to read a call from the database say whose it is with --user=ID");
		return OC_CONFIG;
	}
	int r = store_reader_open(&o, x->a, &reader, ret_message);
	if (r < 0)
		return r;
	r = explain_stored(x, reader, slice_cstr(user), slice_cstr(call_id), ret_message);
	if (r < 0 && slice_is_none(*ret_message))
		*ret_message = arena_text(x->a, "%s: %s", oc_error_text(r), store_reader_last_error(reader));
	store_reader_close(reader);
	return r;
}

/* ---- the command ---- */

static bool is_file(const char *word)
{
	struct stat s;
	return strcmp(word, "-") == 0 || stat(word, &s) == 0;
}

static int run_explain(const struct command_line *line)
{
	struct explaining x = { .line = line, .a = line->arena, .now_ms = clock_wall_ms(), .out = BUF_INIT };
	struct slice message = SLICE_NONE, *keys;
	const char *word = line->words[0];
	int64_t columns;
	if (!line_number(line, "--width", TERMINAL_LEAST_COLUMNS, TERMINAL_MOST_COLUMNS, 0, &columns))
		return STATUS_USAGE;
	x.t = terminal_of_stdout((size_t)columns, line_switch(line, "--ascii"), line_switch(line, "--show-numbers"));
	int r = tenant_keys_from_config(line->config, line->arena, &keys, &x.decode.tenant_key_count);
	x.decode.tenant_keys = keys;
	bool file = is_file(word) && !line_value(line, "--user");
	if (r == 0)
		r = file ? explain_file(&x, word, &message) : explain_from_database(&x, word, &message);
	if (r == 0)
		fwrite(x.out.p, 1, x.out.n, stdout);
	else
		complain("explain", "%s: %.*s", word, SLICE_FMT(slice_is_none(message) ? slice_cstr(oc_error_text(r)) : message));
	buf_done(&x.out);
	return r == 0 ? STATUS_OK : r == OC_CONFIG || r == OC_INVALID ? STATUS_USAGE : STATUS_FAILED;
}

static const struct extra_flag explain_flags[] = {
	{ "--user", "ID", "The tenant whose call it is; makes the word a call of the database. Needed there." },
	{ "--show-numbers", NULL, "Show phone numbers whole; else only their last two digits, also in names." },
	{ "--width", "COLUMNS", "Width of the output, 40 to 500. Default: the terminal's, or 100." },
	{ "--ascii", NULL, "Draw with ASCII. Default: where the locale is not UTF-8." },
};

const struct command command_explain = {
	.name = "explain",
	.words = "CALL|FILE|-",
	.summary = "Show a call's timeline, facts and verdict, and why it is so.",
	.details = "FILE is a recording (a capture, or one saved event), or rows of the journal as JSON: one a line, an array, or a page of\n"
		   "GET /api/calls/CALL/events. CALL is call_logs.id or a room SID, read from --database with --user; outcomed then needs only\n"
		   "the right to read the tables, and shows what this tenant may see. A call is judged by this program's rules as of now.\n"
		   "\n"
		   "Colour is used on a terminal unless NO_COLOR is set.\n"
		   "\n"
		   "Exit codes: 0 shown; 1 there is no such call, or it cannot be read; 2 wrong usage, or FILE is none of these forms.",
	.options = CMD_EXPLAIN,
	.extra = explain_flags,
	.extra_count = sizeof explain_flags / sizeof explain_flags[0],
	.least_words = 1,
	.most_words = 1,
	.run = run_explain,
};
