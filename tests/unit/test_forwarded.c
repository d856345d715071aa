/* http/forwarded.c: whom a trusted proxy speaks for, and that nobody else can say so. 10.0.0.0/8 is trusted, the peer is 10.0.0.1. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "http/forwarded.h"

static const struct network ten = { .ip.s6_addr = { [10] = 0xff, [11] = 0xff, [12] = 10 }, .bits = 104 };
static const struct networks trusted = { .items = &ten, .count = 1 };

static const char *client(const char *peer, const char *x, const char *forwarded)
{
	static char text[ADDRESS_TEXT_BYTES];
	struct address from = { .is_ip = false };
	assert_true(address_parse(slice_cstr(peer), &from));
	address_write(forwarded_client(&trusted, from, slice_cstr(x), slice_cstr(forwarded)), text, sizeof text);
	return text;
}

struct row {
	const char *text, *client;
};

static void the_last_untrusted_hop_of_x_forwarded_for_is_the_client(void **state)
{
	(void)state;
	static const struct row rows[] = {
		{ "192.0.2.1", "192.0.2.1" }, { "198.51.100.9, 192.0.2.1", "192.0.2.1" }, { "198.51.100.9,192.0.2.1,10.0.0.2", "192.0.2.1" },
		{ "192.0.2.1 ,\t10.0.0.3 , 10.0.0.2 ", "192.0.2.1" }, { "2001:db8::1", "2001:db8::1" }, { "[2001:db8::1]:4711", "2001:db8::1" },
		{ "192.0.2.1:4711", "192.0.2.1" }, { "10.0.0.9", "10.0.0.9" }, { "10.0.0.9, 10.0.0.8", "10.0.0.9" },
		/* what nobody can read ends the walk at who passed it on */
		{ "", "10.0.0.1" }, { "unknown", "10.0.0.1" }, { "192.0.2.1, unknown", "10.0.0.1" }, { "192.0.2.1,", "10.0.0.1" },
		{ "192.0.2.1, x, 10.0.0.5", "10.0.0.5" }, { "192.0.2.1 10.0.0.5", "10.0.0.1" }, { ",,,", "10.0.0.1" },
	};
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		assert_string_equal(client("10.0.0.1", rows[i].text, NULL), rows[i].client);
}

static void forwarded_says_the_same(void **state)
{
	(void)state;
	static const struct row rows[] = {
		{ "for=192.0.2.1", "192.0.2.1" }, { "For=\"192.0.2.1:4711\"", "192.0.2.1" }, { "for=\"[2001:db8::1]\";proto=https;by=10.0.0.1", "2001:db8::1" },
		{ "for=198.51.100.9, for=192.0.2.1;host=\"a,b;c\"", "192.0.2.1" }, { "for=192.0.2.1 , for=10.0.0.4", "192.0.2.1" },
		{ "proto=https; for=192.0.2.1", "192.0.2.1" }, { "for=192.0.2.1;", "192.0.2.1" },
		{ "for=192.0.2.1, proto=https", "10.0.0.1" }, { "for=unknown", "10.0.0.1" }, { "for=_hidden", "10.0.0.1" }, { "", "10.0.0.1" },
		/* malformed anywhere: nobody is believed */
		{ "for=\"198.51.100.9, for=192.0.2.1", "10.0.0.1" }, { "for, for=192.0.2.1", "10.0.0.1" }, { "for=;for=192.0.2.1", "10.0.0.1" },
		{ "for=192.0.2.1;for=192.0.2.2", "10.0.0.1" }, { "for=\"192.0.2\\.1\"", "10.0.0.1" }, { "for=192.0.2.1 for=192.0.2.2", "10.0.0.1" },
		{ "=192.0.2.1", "10.0.0.1" }, { "for=2001:db8::1", "10.0.0.1" },
	};
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		assert_string_equal(client("10.0.0.1", NULL, rows[i].text), rows[i].client);
}

static void a_peer_that_is_not_trusted_speaks_for_itself(void **state)
{
	(void)state;
	assert_string_equal(client("192.0.2.7", "198.51.100.1", "for=198.51.100.1"), "192.0.2.7");
	assert_string_equal(client("2001:db8::7", "198.51.100.1", NULL), "2001:db8::7");
}

static void without_a_header_the_proxy_is_the_client(void **state)
{
	(void)state;
	assert_string_equal(client("10.0.0.1", NULL, NULL), "10.0.0.1");
}

static void two_headers_that_disagree_are_both_disbelieved(void **state)
{
	(void)state;
	assert_string_equal(client("10.0.0.1", "192.0.2.1", "for=198.51.100.1"), "10.0.0.1");
	assert_string_equal(client("10.0.0.1", "192.0.2.1", "nonsense"), "10.0.0.1");
	assert_string_equal(client("10.0.0.1", "9.9.9.9, 192.0.2.1", "for=192.0.2.1"), "192.0.2.1");
}

static void a_list_of_thousands_is_no_trouble(void **state)
{
	(void)state;
	static char text[16384], forwarded[16384];
	for (int i = 0; i < 1000; i++) {
		strcat(text, "10.0.0.2,");
		strcat(forwarded, "for=10.0.0.2,");
	}
	strcat(text, "192.0.2.1");
	strcat(forwarded, "for=192.0.2.1");
	assert_string_equal(client("10.0.0.1", text, NULL), "192.0.2.1");
	assert_string_equal(client("10.0.0.1", NULL, forwarded), "10.0.0.1");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_last_untrusted_hop_of_x_forwarded_for_is_the_client),
		cmocka_unit_test(forwarded_says_the_same),
		cmocka_unit_test(a_peer_that_is_not_trusted_speaks_for_itself),
		cmocka_unit_test(without_a_header_the_proxy_is_the_client),
		cmocka_unit_test(two_headers_that_disagree_are_both_disbelieved),
		cmocka_unit_test(a_list_of_thousands_is_no_trouble),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
