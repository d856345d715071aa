#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void buf_done(struct buf *b)
{
	free(b->p);
	*b = BUF_INIT;
}

void buf_clear(struct buf *b)
{
	b->n = 0;
	b->failed = false;
}

bool buf_reserve(struct buf *b, size_t more)
{
	if (b->failed)
		return false;
	if (b->size - b->n >= more)
		return true;
	size_t want;
	if (__builtin_add_overflow(b->n, more, &want) || want > SIZE_MAX / 2) {
		b->failed = true;
		return false;
	}
	size_t size = b->size ? b->size : 256;
	while (size < want)
		size *= 2;
	char *p = realloc(b->p, size);
	if (!p) {
		b->failed = true;
		return false;
	}
	b->p = p;
	b->size = size;
	return true;
}

void buf_put(struct buf *b, struct slice s)
{
	if (s.n && buf_reserve(b, s.n)) {
		memcpy(b->p + b->n, s.p, s.n);
		b->n += s.n;
	}
}

void buf_putc(struct buf *b, char c)
{
	if (buf_reserve(b, 1))
		b->p[b->n++] = c;
}

void buf_puts(struct buf *b, const char *z) { buf_put(b, slice_cstr(z)); }

void buf_put_int(struct buf *b, int64_t v)
{
	char digits[24];
	size_t i = sizeof digits;
	uint64_t u = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;
	do {
		digits[--i] = (char)('0' + u % 10);
		u /= 10;
	} while (u);
	if (v < 0)
		digits[--i] = '-';
	buf_put(b, slice_of(digits + i, sizeof digits - i));
}

void buf_putf(struct buf *b, const char *format, ...)
{
	va_list args, again;
	va_start(args, format);
	va_copy(again, args);
	int n = vsnprintf(NULL, 0, format, args);
	va_end(args);
	if (n >= 0 && buf_reserve(b, (size_t)n + 1)) {
		vsnprintf(b->p + b->n, (size_t)n + 1, format, again);
		b->n += (size_t)n;
	} else {
		b->failed = true;
	}
	va_end(again);
}

static void put_digits(struct buf *b, unsigned v, unsigned width)
{
	char digits[4];
	for (unsigned i = width; i-- > 0; v /= 10)
		digits[i] = (char)('0' + v % 10);
	buf_put(b, slice_of(digits, width));
}

/* Days since 1970-01-01 to a civil date, proleptic Gregorian, by 400-year eras that begin on 1 March. */
static void civil_from_days(int64_t days, int64_t *ret_year, unsigned *ret_month, unsigned *ret_day)
{
	days += 719468;
	int64_t era = (days >= 0 ? days : days - 146096) / 146097;
	int64_t of_era = days - era * 146097;
	int64_t year_of_era = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
	int64_t of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
	int64_t shifted = (5 * of_year + 2) / 153;
	*ret_day = (unsigned)(of_year - (153 * shifted + 2) / 5 + 1);
	*ret_month = (unsigned)(shifted < 10 ? shifted + 3 : shifted - 9);
	*ret_year = year_of_era + era * 400 + (*ret_month <= 2);
}

void buf_put_rfc3339_ms(struct buf *b, int64_t ms)
{
	int64_t days = ms / 86400000, rest = ms % 86400000;
	if (rest < 0) {
		rest += 86400000;
		days--;
	}
	int64_t year;
	unsigned month, day;
	civil_from_days(days, &year, &month, &day);
	unsigned r = (unsigned)rest;
	if (year < 0 || year > 9999) /* outside of RFC 3339: still a text that says what the number was */
		buf_putf(b, "%04lld", (long long)year);
	else
		put_digits(b, (unsigned)year, 4);
	const struct {
		char before;
		unsigned value, width;
	} parts[] = { { '-', month, 2 }, { '-', day, 2 }, { 'T', r / 3600000, 2 }, { ':', r / 60000 % 60, 2 }, { ':', r / 1000 % 60, 2 },
		{ '.', r % 1000, 3 } };
	for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
		buf_putc(b, parts[i].before);
		put_digits(b, parts[i].value, parts[i].width);
	}
	buf_putc(b, 'Z');
}
