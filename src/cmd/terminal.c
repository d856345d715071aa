/* See terminal.h. */
#include "cmd/terminal.h"

#include <locale.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <wchar.h>

#define COLUMNS_OF_A_FILE 100
#define NUMBER_DIGITS 7

static bool says_utf8(const char *locale) { return locale && (strcasestr(locale, "UTF-8") || strcasestr(locale, "UTF8")); }

/* The first of the three that is set counts (POSIX). */
static bool locale_is_utf8(void)
{
	static const char *const names[] = { "LC_ALL", "LC_CTYPE", "LANG" };
	for (size_t i = 0; i < 3; i++) {
		const char *value = getenv(names[i]);
		if (value && *value)
			return says_utf8(value);
	}
	return false;
}

static size_t columns_of_stdout(void)
{
	struct winsize size;
	const char *said = getenv("COLUMNS");
	int64_t n;
	if (said && slice_to_int64(slice_cstr(said), &n) && n >= TERMINAL_LEAST_COLUMNS && n <= TERMINAL_MOST_COLUMNS)
		return (size_t)n;
	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
		return size.ws_col < TERMINAL_LEAST_COLUMNS ? TERMINAL_LEAST_COLUMNS : size.ws_col;
	return COLUMNS_OF_A_FILE;
}

struct terminal terminal_of_stdout(size_t columns, bool ascii, bool show_numbers)
{
	const char *no_color = getenv("NO_COLOR"), *term = getenv("TERM");
	bool able = term && *term && strcmp(term, "dumb") != 0;
	return (struct terminal){
		.columns = columns ? columns : columns_of_stdout(),
		.utf8 = !ascii && locale_is_utf8(),
		.colour = isatty(STDOUT_FILENO) && able && !(no_color && *no_color),
		.show_numbers = show_numbers,
	};
}

/* ---- characters ---- */

/* The character at the beginning of the text, which is not empty; 0xfffd for a byte that is no UTF-8. */
static uint32_t take_character(struct slice text, size_t *ret_bytes)
{
	unsigned char c = (unsigned char)text.p[0];
	size_t n = c < 0x80 ? 1 : c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : 2;
	*ret_bytes = 1;
	if (c < 0x80)
		return c;
	if (n > text.n || !slice_is_utf8(slice_of(text.p, n)))
		return 0xfffd;
	uint32_t code = c & (0xffu >> (n + 1));
	for (size_t i = 1; i < n; i++)
		code = code << 6 | ((unsigned char)text.p[i] & 0x3f);
	*ret_bytes = n;
	return code;
}

/* Controls, line ends that are none of ours, marks that turn the writing direction or take no room. */
static bool is_harmful(uint32_t c)
{
	static const uint32_t ranges[][2] = { { 0, 0x1f }, { 0x7f, 0x9f }, { 0xad, 0xad }, { 0x61c, 0x61c }, { 0x180e, 0x180e }, { 0x200b, 0x200f },
		{ 0x2028, 0x202e }, { 0x2060, 0x206f }, { 0xfeff, 0xfeff }, { 0xfff9, 0xfffd }, { 0xe0000, 0xe0fff } };
	for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++)
		if (c >= ranges[i][0] && c <= ranges[i][1])
			return true;
	return false;
}

static size_t width_of(uint32_t c)
{
	static locale_t locale;
	if (c < 0x80)
		return 1;
	if (!locale)
		locale = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
	locale_t before = locale ? uselocale(locale) : (locale_t)0;
	int width = wcwidth((wchar_t)c);
	if (before)
		uselocale(before);
	return width < 0 ? 1 : (size_t)width;
}

static size_t digits_at(struct slice text)
{
	size_t n = 0;
	while (n < text.n && text.p[n] >= '0' && text.p[n] <= '9')
		n++;
	return n;
}

int terminal_clean(const struct terminal *t, struct slice text, bool numbers, struct arena *a, struct slice *ret)
{
	_cleanup_buf_ struct buf b = BUF_INIT;
	bool mask = numbers && !t->show_numbers;
	for (size_t i = 0, bytes; i < text.n; i += bytes) {
		struct slice left = slice_of(text.p + i, text.n - i);
		size_t digits = digits_at(left);
		if (digits) {
			bytes = digits;
			for (size_t k = 0; k < digits; k++)
				buf_putc(&b, mask && digits >= NUMBER_DIGITS && k + 2 < digits ? '*' : left.p[k]);
			continue;
		}
		uint32_t c = take_character(left, &bytes);
		if (is_harmful(c) || (c >= 0x80 && !t->utf8))
			buf_putc(&b, '?');
		else
			buf_put(&b, slice_of(left.p, bytes));
	}
	return !buf_failed(&b) && arena_copy(a, buf_slice(&b), ret) ? 0 : OC_NOMEM;
}

/* ---- lines ---- */

size_t terminal_width(struct slice text)
{
	size_t width = 0;
	for (size_t i = 0, bytes; i < text.n; i += bytes)
		width += width_of(take_character(slice_of(text.p + i, text.n - i), &bytes));
	return width;
}

struct slice terminal_line(struct slice *rest, size_t columns)
{
	size_t width = 0, end = 0, word = 0, part = 0;
	struct slice all = *rest;
	if (all.n == 0)
		return SLICE("");
	for (size_t bytes; end < all.n; end += bytes) {
		width += width_of(take_character(slice_of(all.p + end, all.n - end), &bytes));
		if (width > columns && end > 0)
			break;
		if (all.p[end] == ' ' && end > 0)
			word = end;
		else if (all.p[end] == '_' && end > 0)
			part = end + 1;
	}
	if (end < all.n && all.p[end] != ' ' && word + part > 0)
		end = word ? word : part;
	*rest = slice_of(all.p + end, all.n - end);
	while (rest->n && rest->p[0] == ' ')
		*rest = slice_of(rest->p + 1, rest->n - 1);
	while (end > 1 && all.p[end - 1] == ' ')
		end--;
	return slice_of(all.p, end);
}

void terminal_put(const struct terminal *t, struct buf *out, enum terminal_style style, struct slice text)
{
	static const char *const begin[] = {
		[STYLE_PLAIN] = NULL, [STYLE_STRONG] = "\033[1m", [STYLE_FAINT] = "\033[2m", [STYLE_GOOD] = "\033[32m", [STYLE_DOUBTFUL] = "\033[33m",
		[STYLE_BAD] = "\033[31m",
	};
	bool styled = t->colour && begin[style] && text.n;
	if (styled)
		buf_puts(out, begin[style]);
	buf_put(out, text);
	if (styled)
		buf_puts(out, "\033[0m");
}

void terminal_paragraph(const struct terminal *t, struct buf *out, enum terminal_style style, struct slice first, struct slice text)
{
	size_t indent = terminal_width(first), room = t->columns > indent + 20 ? t->columns - indent : 20;
	struct slice rest = text;
	buf_put(out, first);
	for (bool more = false; rest.n || !more; more = true) {
		for (size_t i = 0; more && i < indent; i++)
			buf_putc(out, ' ');
		terminal_put(t, out, style, terminal_line(&rest, room));
		buf_putc(out, '\n');
	}
}
