/* base/mask.c: phone numbers are hidden wherever they stand, and what only looks like one is left. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/mask.h"

static void assert_masked_(const char *text, const char *expected, int line)
{
	struct buf b = BUF_INIT;
	buf_put_masked(&b, slice_cstr(text));
	assert_false(buf_failed(&b));
	buf_putc(&b, '\0');
	if (strcmp(b.p, expected) != 0)
		print_error("line %d: %s gave %s\n", line, text, b.p);
	assert_string_equal(b.p, expected);
	buf_done(&b);
}
#define assert_masked(text, expected) assert_masked_((text), (expected), __LINE__)

static void a_number_keeps_its_last_two_digits(void **state)
{
	(void)state;
	assert_masked("+4930123456", "+********56");
	assert_masked("4930123456", "********56");
	assert_masked("004930123456", "**********56");
	assert_masked("1234567", "*****67");
}

static void a_number_is_found_inside_other_words(void **state)
{
	(void)state;
	assert_masked("sip_+4930123456", "sip_+********56");
	assert_masked("sip:4930123456@10.0.0.1:5060;user=phone", "sip:********56@10.0.0.1:5060;user=phone");
	assert_masked("outbound-_4930123456_8fKd", "outbound-_********56_8fKd");
	assert_masked("tel%3A%2B4930123456", "tel%3A%2B********56");
	assert_masked("call4930123456", "call********56");
	assert_masked("DETAIL:  Key (\"livekitRoomName\")=(call-+4930123456) already exists.",
		"DETAIL:  Key (\"livekitRoomName\")=(call-+********56) already exists.");
	assert_masked("+4930123456,+4930654321", "+********56,+********21");
}

static void people_write_blanks_and_brackets_between_the_digits(void **state)
{
	(void)state;
	assert_masked("+49 (30) 123-456", "+** (**) ***-*56");
	assert_masked("(312) 555-0186 called", "(***) ***-**86 called");
	assert_masked("312.555.0186", "***.***.**86");
	assert_masked("030/123456", "***/****56");
}

static void what_only_looks_like_a_number_stays(void **state)
{
	(void)state;
	assert_masked("2026-11-22T13:12:19.123Z", "2026-11-22T13:12:19.123Z");
	assert_masked("2026-11-22 13:12:19", "2026-11-22 13:12:19");
	assert_masked("since 2026-11-22", "since 2026-11-22");
	assert_masked("192.168.100.200:40123", "192.168.100.200:40123");
	assert_masked("12345678-1234-8123-9123-123456789012", "12345678-1234-8123-9123-123456789012");
	assert_masked("c0a8012345678901", "c0a8012345678901");
	assert_masked("EV_4930", "EV_4930");
	assert_masked("EV_00012345678x and SCL_1234567890ab", "EV_00012345678x and SCL_1234567890ab");
	assert_masked("sip_1001 and sip_1002 of 127.0.0.1", "sip_1001 and sip_1002 of 127.0.0.1");
	assert_masked("", "");
}

static void nothing_to_hide_behind(void **state)
{
	(void)state;
	assert_masked("1.2.3.4.5.6.7.8", "*.*.*.*.*.*.7.8");
	assert_masked("12345678-1234-8123-9123-1234567890123", "********-****-****-****-***********23");
	assert_masked("1234567890123456", "**************56");
	assert_masked("2026-11-2299 555", "****-**-**** *55");
	assert_masked("SIP_4930123456", "SIP_********56");
	assert_masked("EV_1234567x", "EV_*****67x");
	assert_masked("RM_+4930123456abc", "RM_+********56abc");
	assert_masked("+", "+");
	assert_masked("+4930123456  ", "+********56  ");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_number_keeps_its_last_two_digits),
		cmocka_unit_test(a_number_is_found_inside_other_words),
		cmocka_unit_test(people_write_blanks_and_brackets_between_the_digits),
		cmocka_unit_test(what_only_looks_like_a_number_stays),
		cmocka_unit_test(nothing_to_hide_behind),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
