/* Log lines of texts that others wrote, phone numbers, and texts shown on a terminal. A line is one line: nothing in it ends it, commands a terminal
 * or looks like another field; a quoted value reads back as the text. Of a phone number no more than two digits are left. */
#include "must.h"

#include "base/log.h"
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

static void check_value(struct slice text, struct buf *b, struct arena *a)
{
	struct slice s = logged(LOG_S("k", text), b), back = SLICE_NONE;
	struct jdoc j;
	if (s.n == 0 || s.p[0] != '"') {
		must(slice_eq(s, text));
		for (size_t i = 0; i < s.n; i++)
			must(s.p[i] > ' ' && s.p[i] <= '~' && s.p[i] != '=' && s.p[i] != '"');
		return;
	}
	must(is_printable(s, false) && jdoc_parse(s, a, &j) == 0);
	if (j.fault == JDOC_NUL)
		return;
	must(j.fault == JDOC_OK && jdoc_text(&j, 0, a, &back) == 0);
	must(has_odd(text) || !slice_is_utf8(text) || slice_eq(back, text));
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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena *a = arena_new(8192);
	_cleanup_buf_ struct buf b = BUF_INIT;
	struct slice text = slice_of((const char *)data, size);
	must(a);
	if (size < 8192) { /* beyond 64 KiB what is gathered is written */
		check_value(text, &b, a);
		check_phone(text, &b);
	}
	check_terminal(text, true, a);
	check_terminal(text, false, a);
	buf_clear(&b);
	log_end_batch();
	arena_free(a);
	return 0;
}
