/* Text for a terminal: how wide and how able it is, and what comes from outside made safe for it. No control character, no change of the writing
 * direction and, unless numbers may be shown, no phone number gets through. No globals but the locale that character widths are looked up in; main thread only. */
#pragma once

#include "base/arena.h"
#include "base/buf.h"
#include "base/error.h"

#define TERMINAL_LEAST_COLUMNS 40
#define TERMINAL_MOST_COLUMNS 500

enum terminal_style { STYLE_PLAIN, STYLE_STRONG, STYLE_FAINT, STYLE_GOOD, STYLE_DOUBTFUL, STYLE_BAD };

struct terminal {
	size_t columns;
	bool utf8, colour, show_numbers;
};

/* Of standard output. `columns` 0: as the terminal says, else 100. `ascii`: nothing else, whatever the locale is. */
struct terminal terminal_of_stdout(size_t columns, bool ascii, bool show_numbers);

/* Safe to print. `numbers`: the text may have phone numbers in it, which are masked like in the log: of seven digits and more in a row the last two stay. */
OC_NODISCARD int terminal_clean(const struct terminal *t, struct slice text, bool numbers, struct arena *a, struct slice *ret);

/* How many columns clean text takes. */
size_t terminal_width(struct slice text);
/* The next line of at most `columns` (at least one character), broken between words, a single one behind a "_", where that can be; *rest goes on behind it. */
struct slice terminal_line(struct slice *rest, size_t columns);

void terminal_put(const struct terminal *t, struct buf *out, enum terminal_style style, struct slice text);
/* A paragraph: `first` before its first line, as many blanks before the others. */
void terminal_paragraph(const struct terminal *t, struct buf *out, enum terminal_style style, struct slice first, struct slice text);
