/* Times, spans and whole numbers: what RFC 3339's reader takes is the moment that timegm makes of the same fields, is written and read again as itself, and is the same second
 * to the reader of ISO 8601; what only the latter takes is a moment that the former knows once its form is made strict. A whole number is the one that strtoll reads, a span so many of its units. */
#include "must.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "base/buf.h"
#include "wire/iso_time.h"
#include "wire/rfc3339.h"

#define FIRST_MS INT64_C(-62135596800000) /* 0001-01-01 */
#define LAST_MS INT64_C(253402300799999)  /* 9999-12-31 */

/* By the C library; -1 offset in minutes where the text ends in Z. */
static int64_t by_timegm(const char *text, size_t n)
{
	struct tm t = { .tm_isdst = 0 };
	int sign = 1, hours = 0, minutes = 0;
	must(sscanf(text, "%4d-%2d-%2d%*c%2d:%2d:%2d", &t.tm_year, &t.tm_mon, &t.tm_mday, &t.tm_hour, &t.tm_min, &t.tm_sec) == 6);
	t.tm_year -= 1900;
	t.tm_mon--;
	if (text[n - 1] != 'Z' && text[n - 1] != 'z') {
		sign = text[n - 6] == '-' ? -1 : 1;
		must(sscanf(text + n - 5, "%2d:%2d", &hours, &minutes) == 2);
	}
	return (int64_t)timegm(&t) - sign * (hours * 3600 + minutes * 60);
}

static void check_written(int64_t ms)
{
	_cleanup_buf_ struct buf b = BUF_INIT;
	int64_t again, s;
	if (ms < FIRST_MS || ms > LAST_MS)
		return;
	buf_put_rfc3339_ms(&b, ms);
	must(rfc3339_parse(buf_slice(&b), &again) && again == ms);
	if (ms >= 0)
		must(iso_time_to_s(buf_slice(&b), &s) && s == ms / 1000);
}

static int64_t floor_s(int64_t ms) { return ms >= 0 ? ms / 1000 : -((-ms + 999) / 1000); }

static void check_numbers(const char *text, size_t n)
{
	int64_t v = 0, ms = 0;
	char *end;
	errno = 0;
	long long seen = strtoll(text, &end, 10);
	bool digit_at_once = n && ((text[0] >= '0' && text[0] <= '9') || ((text[0] == '-' || text[0] == '+') && text[1] >= '0' && text[1] <= '9'));
	bool whole = digit_at_once && errno == 0 && end == text + n;
	must(slice_to_int64(slice_of(text, n), &v) == whole && (!whole || v == seen));
	if (slice_to_span_ms(slice_of(text, n), &ms)) {
		int64_t unit = text[n - 1] == 's' ? 1000 : text[n - 1] == 'm' ? 60000 : text[n - 1] == 'h' ? 3600000 : 86400000;
		must(end == text + n - 1 && strchr("smhd", *end) && ms == seen * unit && ms > 0);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char text[128];
	int64_t ms = 7, s = 7;
	if (size >= sizeof text)
		return 0;
	memcpy(text, data, size);
	text[size] = 0;
	check_numbers(text, size);
	bool strict = rfc3339_parse(slice_of(text, size), &ms), lenient = iso_time_to_s(slice_of(text, size), &s);
	must(strict || ms == 7);
	must(lenient || s == 7);
	if (strict) {
		must(floor_s(ms) == by_timegm(text, size));
		check_written(ms);
		must(lenient == (ms >= 0 && memcmp(text, "1970", 4) >= 0));
	}
	if (lenient) {
		must(s >= 0 && s <= LAST_MS / 1000 + 86400);
		check_written(s * 1000);
		must(!strict || s == ms / 1000);
	}
	return 0;
}
