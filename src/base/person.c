/* Who is to be forgotten, looked for in texts. The PostgreSQL store says the same as a regular expression. Any thread. */
#include "base/person.h"

#include "base/jsonw.h"

static bool is_digit(char c) { return c >= '0' && c <= '9'; }
static bool is_separator(char c) { return c == ' ' || c == '-' || c == '.' || c == '/' || c == '(' || c == ')'; }

int person_of_number(struct slice number, struct arena *a, struct person *ret)
{
	char digits[PERSON_MOST_DIGITS + 2];
	size_t n = 0;
	for (size_t i = 0; i < number.n; i++) {
		char c = number.p[i];
		if (is_digit(c) && n < sizeof digits)
			digits[n++] = c;
		else if (!is_separator(c) && !(c == '+' && i == 0))
			return OC_INVALID;
	}
	struct slice s = slice_of(digits, n);
	if (s.n > 2 && s.p[0] == '0' && s.p[1] == '0')
		s = slice_of(s.p + 2, s.n - 2);
	if (s.n < PERSON_LEAST_DIGITS || s.n > PERSON_MOST_DIGITS)
		return OC_INVALID;
	*ret = (struct person){ .user = SLICE_NONE };
	return arena_copy(a, s, &ret->digits) ? 0 : OC_NOMEM;
}

static int add_word(struct person *p, const struct buf *b, size_t skip, struct arena *a)
{
	if (buf_failed(b))
		return OC_NOMEM;
	struct slice s = slice_of(b->p + skip, b->n - 2 * skip);
	for (size_t i = 0; i < p->word_count; i++)
		if (slice_eq(p->words[i], s))
			return 0;
	return arena_copy(a, s, &p->words[p->word_count++]) ? 0 : OC_NOMEM;
}

int person_of_user(struct slice user, struct arena *a, struct person *ret)
{
	_cleanup_buf_ struct buf plain = BUF_INIT, json = BUF_INIT, facts = BUF_INIT;
	struct person p = { .digits = SLICE_NONE };
	bool utf8 = slice_is_utf8(user);
	if (slice_is_empty(user) || user.n > 200 || !arena_copy(a, user, &p.user))
		return slice_is_empty(user) || user.n > 200 ? OC_INVALID : OC_NOMEM;
	for (size_t i = 0; i < user.n; i++) {
		unsigned char c = (unsigned char)user.p[i];
		if (c < ' ' || c == 0x7f)
			return OC_INVALID;
		buf_putc(&plain, user.p[i]);
		if (c == '%' || (c >= 0x80 && !utf8))
			buf_putf(&facts, "%%%02X", c);
		else
			buf_putc(&facts, user.p[i]);
	}
	buf_put_json_string(&json, user);
	int r = add_word(&p, &plain, 0, a);
	if (r == 0)
		r = add_word(&p, &json, 1, a);
	if (r == 0)
		r = add_word(&p, &facts, 0, a);
	if (r == 0)
		*ret = p;
	return r;
}

/* Does the number stand at text.p[at]? `alone`: with no digit behind it. */
static bool number_at(struct slice digits, struct slice text, size_t at, bool alone)
{
	size_t found = 0, gap = 0;
	for (size_t i = at; i < text.n; i++) {
		if (found == digits.n)
			return !alone || !is_digit(text.p[i]);
		if (text.p[i] == digits.p[found]) {
			found++;
			gap = 0;
		} else if (!is_separator(text.p[i]) || ++gap > 2) {
			return false;
		}
	}
	return found == digits.n;
}

static bool mentions_number(struct slice digits, struct slice text)
{
	for (size_t i = 0; i + digits.n <= text.n; i++) {
		const char *p = memchr(text.p + i, digits.p[0], text.n - i);
		if (!p)
			return false;
		i = (size_t)(p - text.p);
		size_t before = i;
		if (before >= 2 && text.p[before - 1] == '0' && text.p[before - 2] == '0' && number_at(digits, text, i, true) &&
		    (before == 2 || !is_digit(text.p[before - 3])))
			return true;
		if ((before == 0 || !is_digit(text.p[before - 1])) && number_at(digits, text, i, true))
			return true;
	}
	return false;
}

bool person_in_bytes(const struct person *p, struct slice bytes)
{
	for (size_t i = 0; p->digits.n && i + p->digits.n <= bytes.n; i++) {
		const char *at = memchr(bytes.p + i, p->digits.p[0], bytes.n - i);
		if (!at)
			return false;
		i = (size_t)(at - bytes.p);
		if (number_at(p->digits, bytes, i, false))
			return true;
	}
	return false;
}

static bool is_border(char c) { return c == '"' || c == '\\' || c == '\t' || c == '\n'; }

static bool mentions_word(struct slice word, struct slice text)
{
	for (size_t i = 0; i + word.n <= text.n; i++) {
		const char *p = memmem(text.p + i, text.n - i, word.p, word.n);
		if (!p)
			return false;
		i = (size_t)(p - text.p);
		size_t end = i + word.n;
		if ((i == 0 || is_border(text.p[i - 1])) && (end == text.n || is_border(text.p[end])))
			return true;
	}
	return false;
}

bool person_is_mentioned(const struct person *p, struct slice text)
{
	if (slice_is_empty(text))
		return false;
	if (!slice_is_none(p->digits))
		return mentions_number(p->digits, text);
	for (size_t i = 0; i < p->word_count; i++)
		if (mentions_word(p->words[i], text))
			return true;
	return false;
}
