/* Log lines of texts that others wrote, phone numbers in them, and texts shown on a terminal. A line is one line: nothing in it ends it, commands a
 * terminal or looks like another field; a value reads back as the text with its numbers hidden. Of a number that stands by itself no more than two
 * digits are left, hiding changes nothing but digits, and nothing is left to hide the second time. */
#include "must.h"

#include "base/log.h"
#include "base/mask.h"
#include "cmd/replay.h"
#include "cmd/terminal.h"
#include "wire/jdoc.h"

static bool is_printable(struct slice s, bool newlines)
{
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];
		bool c1 = c == 0xc2 && i + 1 < s.n && (unsigned char)s.p[i + 1] < 0xa0;
		if (c == 0x7f || (c < ' ' && !(newlines && c == '\n')) || c1)
			return false;
	}
	return slice_is_utf8(s);
}

/* The line behind " k=", without its end. */
static struct slice logged(struct log_field field, struct buf *b)
{
	static const char name[] = " k=";
	log_begin_batch(b);
	log_write(LOG_LEVEL_ERROR, "call_completed", &field, 1);
	must(!buf_failed(b) && b->n && b->p[b->n - 1] == '\n');
	const char *value = memmem(b->p, b->n, name, sizeof name - 1);
	must(value);
	value += sizeof name - 1;
	struct slice s = slice_of(value, (size_t)(b->p + b->n - 1 - value));
	must(!s.n || !memchr(s.p, '\n', s.n));
	must(!s.n || (!memmem(s.p, s.n, "\xe2\x80\xa8", 3) && !memmem(s.p, s.n, "\xe2\x80\xa9", 3)));
	return s;
}

static bool has_odd(struct slice s)
{
	if (s.n && memchr(s.p, 0x7f, s.n))
		return true;
	for (size_t i = 0; i + 1 < s.n; i++) {
		bool c1 = s.p[i] == '\xc2' && (unsigned char)s.p[i + 1] < 0xa0;
		if (c1 || (i + 2 < s.n && s.p[i] == '\xe2' && s.p[i + 1] == '\x80' && (s.p[i + 2] == '\xa8' || s.p[i + 2] == '\xa9')))
			return true;
	}
	return false;
}

static bool is_word(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* May this many digits in a row stand there? Only as a part of something else: a word with letters, an id, a date, an address. */
static void check_run(struct slice s, size_t from, size_t to)
{
	char before = from ? s.p[from - 1] : ' ', behind = to < s.n ? s.p[to] : ' ';
	must(to - from < MASK_DIGITS || is_word(before) || is_word(behind) || (before && strchr("-._:", before)) || (behind && strchr("-._:", behind)));
}

static void check_mask(struct slice text, struct buf *masked)
{
	_cleanup_buf_ struct buf again = BUF_INIT;
	buf_put_masked(masked, text);
	must(!buf_failed(masked) && masked->n == text.n);
	for (size_t i = 0, from = 0; i < text.n; i++) {
		bool digit = masked->p[i] >= '0' && masked->p[i] <= '9';
		must(masked->p[i] == text.p[i] || (masked->p[i] == '*' && text.p[i] >= '0' && text.p[i] <= '9'));
		if (!digit)
			from = i + 1;
		else if (i + 1 == text.n || masked->p[i + 1] < '0' || masked->p[i + 1] > '9')
			check_run(buf_slice(masked), from, i + 1);
	}
	buf_put_masked(&again, buf_slice(masked));
	must(slice_eq(buf_slice(&again), buf_slice(masked)));
}

static void check_value(struct slice text, struct slice hidden, struct buf *b, struct arena *a)
{
	struct slice s = logged(LOG_S("k", text), b), back = SLICE_NONE;
	struct jdoc j;
	if (s.n == 0 || s.p[0] != '"') {
		must(slice_eq(s, hidden));
		for (size_t i = 0; i < s.n; i++)
			must(s.p[i] > ' ' && s.p[i] <= '~' && s.p[i] != '=' && s.p[i] != '"');
		return;
	}
	must(is_printable(s, false) && jdoc_parse(s, a, &j) == 0);
	if (j.fault == JDOC_NUL)
		return;
	must(j.fault == JDOC_OK && jdoc_text(&j, 0, a, &back) == 0);
	must(has_odd(text) || !slice_is_utf8(text) || slice_eq(back, hidden));
}

static size_t digits_in(struct slice s)
{
	size_t n = 0;
	for (size_t i = 0; i < s.n; i++)
		n += s.p[i] >= '0' && s.p[i] <= '9';
	return n;
}

static void check_phone(struct slice text, struct buf *b)
{
	struct slice s = logged(LOG_PHONE("k", text), b);
	must(s.n == text.n && digits_in(s) <= 2);
	for (size_t i = 0; i < s.n; i++)
		must(s.p[i] == '*' || s.p[i] == '+' || (s.p[i] >= '0' && s.p[i] <= '9'));
}

static void check_terminal(struct slice text, bool utf8, struct arena *a)
{
	const struct terminal t = { .columns = 60, .utf8 = utf8 };
	struct slice clean, again;
	must(terminal_clean(&t, text, true, a, &clean) == 0 && is_printable(clean, false));
	must(terminal_clean(&t, clean, true, a, &again) == 0);
	size_t run = 0;
	for (size_t i = 0; i < clean.n; i++) {
		run = clean.p[i] >= '0' && clean.p[i] <= '9' ? run + 1 : 0;
		must(run < 7);
	}
	for (struct slice rest = clean; rest.n;) {
		struct slice line = terminal_line(&rest, 10);
		must(line.n + rest.n <= clean.n);
	}
}

/* What `replay` shows of a verdict that somebody else may have written. */
static void check_report(struct slice verdict)
{
	_cleanup_buf_ struct buf b = BUF_INIT;
	report_verdict(verdict, &b);
	must(!buf_failed(&b) && b.n && is_printable(buf_slice(&b), false));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena *a = arena_new(8192);
	_cleanup_buf_ struct buf b = BUF_INIT, masked = BUF_INIT;
	struct slice text = slice_of((const char *)data, size);
	must(a);
	if (size < 8192) { /* beyond 64 KiB what is gathered is written */
		check_mask(text, &masked);
		check_value(text, buf_slice(&masked), &b, a);
		check_phone(text, &b);
	}
	check_report(text);
	check_terminal(text, true, a);
	check_terminal(text, false, a);
	buf_clear(&b);
	log_end_batch();
	arena_free(a);
	return 0;
}
