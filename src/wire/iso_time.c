/* One format, read by position. Any thread; no state, no locale, no time zone database. */
#include "wire/iso_time.h"

/* Takes exactly n digits and then `end`, which is left out when it is 0. */
static bool take_number(struct slice *s, size_t n, char end, int64_t *ret)
{
	size_t length = n + (end != 0);
	if (s->n < length || (end && s->p[n] != end))
		return false;
	int64_t v = 0;
	for (size_t i = 0; i < n; i++) {
		if (s->p[i] < '0' || s->p[i] > '9')
			return false;
		v = v * 10 + (s->p[i] - '0');
	}
	*s = slice_of(s->p + length, s->n - length);
	*ret = v;
	return true;
}

static bool take_one_of(struct slice *s, const char *chars, char *ret)
{
	if (s->n == 0 || s->p[0] == 0 || !strchr(chars, s->p[0]))
		return false;
	*ret = s->p[0];
	*s = slice_of(s->p + 1, s->n - 1);
	return true;
}

static bool take_fraction(struct slice *s)
{
	char point;
	if (!take_one_of(s, ".,", &point))
		return true;
	size_t n = 0;
	while (n < s->n && s->p[n] >= '0' && s->p[n] <= '9')
		n++;
	*s = slice_of(s->p + n, s->n - n);
	return n > 0;
}

/* Z, +hh:mm, +hhmm, +hh, or nothing. */
static bool take_offset(struct slice *s, int64_t *ret_s)
{
	char sign;
	int64_t hours, minutes = 0;
	*ret_s = 0;
	if (s->n == 0 || take_one_of(s, "Zz", &sign))
		return true;
	if (!take_one_of(s, "+-", &sign) || !take_number(s, 2, 0, &hours) || hours > 23)
		return false;
	char colon;
	(void)take_one_of(s, ":", &colon);
	if (s->n && (!take_number(s, 2, 0, &minutes) || minutes > 59))
		return false;
	*ret_s = (hours * 60 + minutes) * (sign == '-' ? -60 : 60);
	return true;
}

static bool is_leap(int64_t year) { return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0; }

static int64_t days_before_year(int64_t year) { return (year - 1) * 365 + (year - 1) / 4 - (year - 1) / 100 + (year - 1) / 400; }

/* Days since 1970-01-01; false for a day that the month does not have. */
static bool days_of(int64_t year, int64_t month, int64_t day, int64_t *ret)
{
	static const int before[] = { 0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334, 365 };
	if (year < 1970 || month < 1 || month > 12 || day < 1)
		return false;
	bool leap = is_leap(year);
	if (day > before[month] - before[month - 1] + (leap && month == 2))
		return false;
	*ret = days_before_year(year) - days_before_year(1970) + before[month - 1] + (leap && month > 2) + day - 1;
	return true;
}

bool iso_time_to_s(struct slice text, int64_t *ret)
{
	int64_t year, month, day, hour, minute, second, offset, days;
	char t;
	if (!take_number(&text, 4, '-', &year) || !take_number(&text, 2, '-', &month) || !take_number(&text, 2, 0, &day) ||
	    !take_one_of(&text, "Tt ", &t) || !take_number(&text, 2, ':', &hour) || !take_number(&text, 2, ':', &minute) ||
	    !take_number(&text, 2, 0, &second) || !take_fraction(&text) || !take_offset(&text, &offset) || text.n)
		return false;
	if (hour > 23 || minute > 59 || second > 60 || !days_of(year, month, day, &days))
		return false;
	int64_t s = days * 86400 + hour * 3600 + minute * 60 + second - offset;
	if (s < 0)
		return false;
	*ret = s;
	return true;
}
