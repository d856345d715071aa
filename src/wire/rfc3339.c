/* Read by position; whatever is not exactly such a time is refused: a filter or a mark that is read wrongly is about another moment. Any
 * thread; no state, no locale, no time zone database. */
#include "wire/rfc3339.h"

struct scan {
	struct slice s;
	size_t at;
	bool bad;
};

static int digits(struct scan *r, size_t count)
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

static bool take(struct scan *r, char c)
{
	if (r->at < r->s.n && r->s.p[r->at] == c) {
		r->at++;
		return true;
	}
	return false;
}

static void expect(struct scan *r, char c)
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

static int fraction_ms(struct scan *r)
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

static int64_t offset_minutes(struct scan *r)
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
	struct scan r = { .s = text };
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
