/* Percent-decoding, query strings and RFC 3339 times. Everything is refused that is not exactly what its standard says: a filter that is
 * read wrongly shows the wrong calls. No state. */
#include "http/query.h"

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

int percent_decode(struct slice text, bool plus_is_space, struct arena *a, struct slice *ret)
{
	char *out = arena_alloc(a, text.n + 1);
	if (!out)
		return OC_NOMEM;
	size_t n = 0;
	for (size_t i = 0; i < text.n; i++) {
		char c = text.p[i];
		if (c == '%') {
			int high = i + 2 < text.n ? hex_digit(text.p[i + 1]) : -1;
			int low = i + 2 < text.n ? hex_digit(text.p[i + 2]) : -1;
			if (high < 0 || low < 0)
				return OC_INVALID;
			c = (char)(high << 4 | low);
			i += 2;
		} else if (c == '+' && plus_is_space) {
			c = ' ';
		}
		out[n++] = c;
	}
	*ret = slice_of(out, n);
	return OC_OK;
}

static const struct query_parameter *find_parameter(struct slice name, const struct query_parameter *known, size_t count, size_t *ret_index)
{
	for (size_t i = 0; i < count; i++)
		if (slice_eq_cstr(name, known[i].name)) {
			*ret_index = i;
			return &known[i];
		}
	return NULL;
}

static enum query_problem parse_pair(struct slice pair, const struct query_parameter *known, size_t count, struct arena *a,
	struct slice *values, struct slice *ret_name)
{
	struct slice raw_name, raw_value, name, value;
	if (!slice_split(pair, '=', &raw_name, &raw_value))
		raw_value = SLICE("");
	*ret_name = slice_of(raw_name.p, raw_name.n < 100 ? raw_name.n : 100);
	int r = percent_decode(raw_name, true, a, &name);
	if (r == OC_NOMEM)
		return QUERY_NOMEM;
	if (r != OC_OK)
		return QUERY_MALFORMED;
	size_t index;
	const struct query_parameter *parameter = find_parameter(name, known, count, &index);
	if (!parameter)
		return QUERY_UNKNOWN;
	if (!slice_is_none(values[index]))
		return QUERY_REPEATED;
	r = percent_decode(raw_value, !parameter->plus_is_plus, a, &value);
	if (r == OC_NOMEM)
		return QUERY_NOMEM;
	if (r != OC_OK)
		return QUERY_MALFORMED;
	values[index] = value;
	return QUERY_OK;
}

enum query_problem query_parse(struct slice query, const struct query_parameter *known, size_t count, struct arena *a,
	struct slice *values, struct slice *ret_name)
{
	for (size_t i = 0; i < count; i++)
		values[i] = SLICE_NONE;
	struct slice rest = query, pair;
	while (!slice_is_none(rest)) {
		slice_split(rest, '&', &pair, &rest);
		if (slice_is_empty(pair))
			continue;
		enum query_problem problem = parse_pair(pair, known, count, a, values, ret_name);
		if (problem != QUERY_OK)
			return problem;
	}
	return QUERY_OK;
}

/* ---- times ---- */

struct reader {
	struct slice s;
	size_t at;
	bool bad;
};

static int digits(struct reader *r, size_t count)
{
	int v = 0;
	for (size_t i = 0; i < count; i++) {
		char c = r->at < r->s.n ? r->s.p[r->at] : '\0';
		if (c < '0' || c > '9') {
			r->bad = true;
			return 0;
		}
		v = v * 10 + (c - '0');
		r->at++;
	}
	return v;
}

static bool take(struct reader *r, char c)
{
	if (r->at < r->s.n && r->s.p[r->at] == c) {
		r->at++;
		return true;
	}
	return false;
}

static void expect(struct reader *r, char c)
{
	if (!take(r, c))
		r->bad = true;
}

static int days_of_month(int year, int month)
{
	static const int days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
	bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
	return month == 2 && leap ? 29 : days[month - 1];
}

/* Days since 1970-01-01: whole years by their leap days, then months. */
static int64_t days_since_epoch(int year, int month, int day)
{
	int64_t before = year - 1;
	int64_t days = before * 365 + before / 4 - before / 100 + before / 400 - 719162;
	for (int m = 1; m < month; m++)
		days += days_of_month(year, m);
	return days + day - 1;
}

static int fraction_ms(struct reader *r)
{
	if (!take(r, '.'))
		return 0;
	int ms = 0, scale = 100;
	size_t from = r->at;
	while (r->at < r->s.n && r->s.p[r->at] >= '0' && r->s.p[r->at] <= '9') {
		ms += (r->s.p[r->at++] - '0') * scale;
		scale /= 10;
	}
	r->bad |= r->at == from;
	return ms;
}

static int64_t offset_minutes(struct reader *r)
{
	if (take(r, 'Z') || take(r, 'z'))
		return 0;
	bool west = take(r, '-');
	if (!west)
		expect(r, '+');
	int hours = digits(r, 2);
	expect(r, ':');
	int minutes = digits(r, 2);
	r->bad |= hours > 23 || minutes > 59;
	return (west ? -1 : 1) * (hours * 60 + minutes);
}

bool rfc3339_parse(struct slice text, int64_t *ret_ms)
{
	struct reader r = { .s = text };
	int year = digits(&r, 4);
	expect(&r, '-');
	int month = digits(&r, 2);
	expect(&r, '-');
	int day = digits(&r, 2);
	if (!take(&r, 'T') && !take(&r, 't'))
		r.bad = true;
	int hour = digits(&r, 2);
	expect(&r, ':');
	int minute = digits(&r, 2);
	expect(&r, ':');
	int second = digits(&r, 2);
	int ms = fraction_ms(&r);
	int64_t offset = offset_minutes(&r);
	if (r.bad || r.at != text.n || year < 1 || month < 1 || month > 12 || day < 1 || day > days_of_month(year, month) || hour > 23 ||
	    minute > 59 || second > 60)
		return false;
	int64_t minutes = days_since_epoch(year, month, day) * 1440 + hour * 60 + minute - offset;
	*ret_ms = (minutes * 60 + second) * 1000 + ms;
	return true;
}
