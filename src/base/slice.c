#include "base/slice.h"

static char lower(char c) { return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c; }

bool slice_eq_nocase(struct slice a, struct slice b)
{
	if (a.n != b.n)
		return false;
	for (size_t i = 0; i < a.n; i++)
		if (lower(a.p[i]) != lower(b.p[i]))
			return false;
	return true;
}

static bool is_space(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

struct slice slice_trim(struct slice s)
{
	while (s.n && is_space(s.p[0])) {
		s.p++;
		s.n--;
	}
	while (s.n && is_space(s.p[s.n - 1]))
		s.n--;
	return s;
}

bool slice_split(struct slice s, char sep, struct slice *ret_head, struct slice *ret_tail)
{
	const char *at = s.n ? memchr(s.p, sep, s.n) : NULL;
	if (!at) {
		*ret_head = s;
		*ret_tail = SLICE_NONE;
		return false;
	}
	size_t i = (size_t)(at - s.p);
	*ret_tail = slice_of(at + 1, s.n - i - 1);
	*ret_head = slice_of(s.p, i);
	return true;
}

bool slice_to_int64(struct slice s, int64_t *ret)
{
	bool negative = false;
	size_t i = 0;
	if (s.n && (s.p[0] == '-' || s.p[0] == '+')) {
		negative = s.p[0] == '-';
		i = 1;
	}
	if (i == s.n)
		return false;
	int64_t v = 0;
	for (; i < s.n; i++) {
		if (s.p[i] < '0' || s.p[i] > '9')
			return false;
		int64_t digit = s.p[i] - '0';
		if (__builtin_mul_overflow(v, (int64_t)10, &v))
			return false;
		if (negative ? __builtin_sub_overflow(v, digit, &v) : __builtin_add_overflow(v, digit, &v))
			return false;
	}
	*ret = v;
	return true;
}

static size_t skip_ascii(const unsigned char *p, size_t i, size_t n)
{
	uint64_t eight;
	for (; n - i >= sizeof eight; i += sizeof eight) {
		memcpy(&eight, p + i, sizeof eight);
		if (eight & 0x8080808080808080u)
			break;
	}
	return i;
}

bool slice_to_span_ms(struct slice s, int64_t *ret)
{
	static const struct {
		char unit;
		int64_t ms;
	} units[] = { { 's', 1000 }, { 'm', 60000 }, { 'h', 3600000 }, { 'd', 86400000 } };
	int64_t n;
	for (size_t i = 0; s.n > 1 && i < sizeof units / sizeof *units; i++)
		if (s.p[s.n - 1] == units[i].unit && slice_to_int64(slice_of(s.p, s.n - 1), &n) && n > 0 && n < 1000000) {
			*ret = n * units[i].ms;
			return true;
		}
	return false;
}

bool slice_is_utf8(struct slice s)
{
	const unsigned char *p = (const unsigned char *)s.p;
	size_t i = 0;
	while ((i = skip_ascii(p, i, s.n)) < s.n) {
		unsigned char c = p[i];
		if (c < 0x80) {
			i++;
			continue;
		}
		size_t need = c >= 0xc2 && c <= 0xdf ? 1 : (c & 0xf0) == 0xe0 ? 2 : c >= 0xf0 && c <= 0xf4 ? 3 : 0;
		if (need == 0 || s.n - i <= need)
			return false;
		unsigned char d = p[i + 1];
		if ((c == 0xe0 && d < 0xa0) || (c == 0xed && d > 0x9f) || (c == 0xf0 && d < 0x90) || (c == 0xf4 && d > 0x8f))
			return false;
		for (size_t k = 1; k <= need; k++)
			if ((p[i + k] & 0xc0) != 0x80)
				return false;
		i += need + 1;
	}
	return true;
}
