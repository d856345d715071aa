/* Phone numbers made unreadable: the text is cut into what cannot be part of a number, what only looks like one (dates, addresses, ids), and
 * candidates, whose digits are counted. One pass, no allocation but the buffer's. Any thread. */
#include "base/mask.h"

#define KEPT_DIGITS 2
#define HEX_WORD_LEAST 16
#define UUID_LENGTH 36
#define ID_LEAST 10

static bool is_digit(char c) { return c >= '0' && c <= '9'; }
static bool is_hex(char c) { return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }
static bool is_word(char c) { return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
static bool is_separator(char c) { return c == ' ' || c == '-' || c == '.' || c == '/' || c == '(' || c == ')'; }

/* Does s begin as the pattern says? 'd' a digit, 'x' a hexadecimal one, anything else itself. */
static bool looks_like(struct slice s, const char *pattern)
{
	for (size_t i = 0; pattern[i]; i++) {
		if (i == s.n)
			return false;
		bool fits = pattern[i] == 'd' ? is_digit(s.p[i]) : pattern[i] == 'x' ? is_hex(s.p[i]) : s.p[i] == pattern[i];
		if (!fits)
			return false;
	}
	return true;
}

static size_t ipv4_length(struct slice s)
{
	size_t at = 0;
	for (int part = 0; part < 4; part++) {
		size_t digits = 0;
		if (part && (at == s.n || s.p[at++] != '.'))
			return 0;
		while (at < s.n && digits < 4 && is_digit(s.p[at])) {
			at++;
			digits++;
		}
		if (digits == 0 || digits > 3)
			return 0;
	}
	bool goes_on = at < s.n && (is_word(s.p[at]) || (s.p[at] == '.' && at + 1 < s.n && is_digit(s.p[at + 1])));
	return goes_on ? 0 : at;
}

static size_t hex_word_length(struct slice s)
{
	size_t n = 0;
	bool letter = false;
	for (; n < s.n && is_word(s.p[n]); n++) {
		if (!is_hex(s.p[n]))
			return 0;
		letter |= !is_digit(s.p[n]);
	}
	return letter && n >= HEX_WORD_LEAST ? n : 0;
}

static size_t livekit_id_length(struct slice s)
{
	size_t capitals = 0, n;
	bool letter = false;
	while (capitals < s.n && s.p[capitals] >= 'A' && s.p[capitals] <= 'Z')
		capitals++;
	if (capitals < 2 || capitals > 3 || capitals == s.n || s.p[capitals] != '_')
		return 0;
	for (n = capitals + 1; n < s.n && is_word(s.p[n]); n++)
		letter |= !is_digit(s.p[n]);
	return letter && n > capitals + ID_LEAST ? n : 0;
}

/* The length of what begins here and is no number whatever its digits; 0 where there is nothing such. `s` begins a word. */
static size_t harmless_length(struct slice s)
{
	static const char uuid[] = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";
	if (looks_like(s, uuid) && (s.n == UUID_LENGTH || !is_word(s.p[UUID_LENGTH])))
		return UUID_LENGTH;
	if (looks_like(s, "dddd-dd-ddTdd:dd:dd") || looks_like(s, "dddd-dd-dd dd:dd:dd"))
		return 19;
	if (looks_like(s, "dddd-dd-dd") && (s.n == 10 || !is_digit(s.p[10])))
		return 10;
	size_t n = ipv4_length(s);
	n = n ? n : livekit_id_length(s);
	return n ? n : hex_word_length(s);
}

/* From a digit, a plus or a bracket: how far it may be one number, and how many digits that has. */
static size_t candidate_length(struct slice s, size_t *ret_digits)
{
	size_t end = 0, digits = 0, gap = 0;
	for (size_t i = 0; i < s.n; i++) {
		if (is_digit(s.p[i])) {
			digits++;
			end = i + 1;
			gap = 0;
		} else if (i == 0 || (is_separator(s.p[i]) && gap < 2)) {
			gap += i > 0;
		} else {
			break;
		}
	}
	*ret_digits = digits;
	return end;
}

static void put_number(struct buf *b, struct slice s, size_t digits)
{
	size_t seen = 0;
	for (size_t i = 0; i < s.n; i++) {
		bool hidden = is_digit(s.p[i]) && ++seen + KEPT_DIGITS <= digits;
		buf_putc(b, hidden ? '*' : s.p[i]);
	}
}

static bool few_digits(struct slice s)
{
	size_t digits = 0;
	for (size_t i = 0; i < s.n && digits < MASK_DIGITS; i++)
		digits += is_digit(s.p[i]);
	return digits < MASK_DIGITS;
}

void buf_put_masked(struct buf *b, struct slice s)
{
	if (few_digits(s)) {
		buf_put(b, s);
		return;
	}
	for (size_t i = 0, n; i < s.n; i += n) {
		struct slice rest = slice_of(s.p + i, s.n - i);
		bool begins_word = i == 0 || !is_word(s.p[i - 1]);
		size_t digits = 0;
		n = begins_word ? harmless_length(rest) : 0;
		if (n == 0 && (is_digit(s.p[i]) || s.p[i] == '+' || s.p[i] == '(')) {
			n = candidate_length(rest, &digits);
			if (digits >= MASK_DIGITS) {
				put_number(b, slice_of(rest.p, n), digits);
				continue;
			}
		}
		n = n ? n : 1;
		buf_put(b, slice_of(rest.p, n));
	}
}
