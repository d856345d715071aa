/* Whole numbers out of JSON's literals, exactly: as digits times a power of ten, never through a double, which would lose the last digits of a
 * time in nanoseconds. Any thread; no state. */
#include "wire/jdoc.h"

/* A number as digits times a power of ten, without zeros at either end of the digits. */
struct decimal {
	char digits[24];
	size_t n, zeros; /* zeros that come before the next digit, if there is one */
	bool too_many;
	int64_t exponent;
};

static void put_digit(struct decimal *d, char c)
{
	if (c == '0') {
		d->zeros += d->n > 0;
		d->exponent += d->n == 0 ? 0 : 1;
		return;
	}
	if (d->n + d->zeros >= sizeof d->digits) {
		d->too_many = true;
		return;
	}
	memset(d->digits + d->n, '0', d->zeros);
	d->exponent -= (int64_t)d->zeros;
	d->n += d->zeros;
	d->zeros = 0;
	d->digits[d->n++] = c;
}

/* Takes digits off the front of *s; their number. */
static size_t take_digits(struct slice *s, struct decimal *d)
{
	size_t n = 0;
	while (n < s->n && s->p[n] >= '0' && s->p[n] <= '9')
		put_digit(d, s->p[n++]);
	*s = slice_of(s->p + n, s->n - n);
	return n;
}

static bool take_char(struct slice *s, char c)
{
	if (s->n == 0 || s->p[0] != c)
		return false;
	*s = slice_of(s->p + 1, s->n - 1);
	return true;
}

/* RFC 8259's grammar of a number after its sign. */
static bool read_decimal(struct slice s, struct decimal *ret)
{
	bool zero = s.n && s.p[0] == '0';
	size_t whole = take_digits(&s, ret);
	if (whole == 0 || (zero && whole > 1))
		return false;
	if (take_char(&s, '.')) {
		size_t fraction = take_digits(&s, ret);
		if (fraction == 0)
			return false;
		ret->exponent -= (int64_t)fraction;
	}
	if (s.n && (take_char(&s, 'e') || take_char(&s, 'E'))) {
		int64_t exponent;
		if (!slice_to_int64(s, &exponent) || exponent > INT32_MAX || exponent < INT32_MIN)
			return false;
		ret->exponent += exponent;
		return true;
	}
	return s.n == 0;
}

enum jdoc_int jdoc_int64(struct slice literal, int64_t *ret)
{
	struct decimal d = { .n = 0 };
	if (literal.n == 0)
		return JDOC_INT_NOT_A_NUMBER;
	bool negative = take_char(&literal, '-');
	if (!read_decimal(literal, &d))
		return JDOC_INT_NOT_A_NUMBER;
	if (d.n == 0 && !d.too_many) {
		*ret = 0;
		return JDOC_INT_OK;
	}
	if (d.exponent < 0)
		return JDOC_INT_FRACTION;
	if (d.too_many || d.exponent > 19)
		return JDOC_INT_RANGE;
	int64_t v = 0;
	for (int64_t i = 0; i < (int64_t)d.n + d.exponent; i++) {
		int64_t digit = i < (int64_t)d.n ? d.digits[i] - '0' : 0;
		if (__builtin_mul_overflow(v, (int64_t)10, &v) ||
		    (negative ? __builtin_sub_overflow(v, digit, &v) : __builtin_add_overflow(v, digit, &v)))
			return JDOC_INT_RANGE;
	}
	*ret = v;
	return JDOC_INT_OK;
}
