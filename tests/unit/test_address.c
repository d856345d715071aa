/* http/address.c: how addresses are read and written, which share one limit, which networks have them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <sys/un.h>

#include "http/address.h"

static struct address parse(const char *text)
{
	struct address a = { .is_ip = false };
	assert_true(address_parse(slice_cstr(text), &a));
	return a;
}

static void an_address_is_read_and_written_again(void **state)
{
	(void)state;
	static const struct {
		const char *text, *written;
	} cases[] = {
		{ "192.0.2.1", "192.0.2.1" }, { "192.0.2.1:8080", "192.0.2.1" }, { "2001:DB8::1", "2001:db8::1" }, { "[2001:db8::1]", "2001:db8::1" },
		{ "[2001:db8::1]:0", "2001:db8::1" }, { "::ffff:192.0.2.1", "192.0.2.1" }, { "64:ff9b::192.0.2.1", "64:ff9b::c000:201" }, { "::1", "::1" },
	};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		char text[ADDRESS_TEXT_BYTES];
		address_write(parse(cases[i].text), text, sizeof text);
		assert_string_equal(text, cases[i].written);
	}
	char text[ADDRESS_TEXT_BYTES];
	address_write((struct address){ .is_ip = false }, text, sizeof text);
	assert_string_equal(text, "unix");
}

static void what_is_no_address_is_refused_and_touches_nothing(void **state)
{
	(void)state;
	static const char *const bad[] = {
		"", " ", "x", "unknown", "_hidden", "192.0.2", "192.0.2.1.", "192.0.2.256", "192.0.2.01", "192.0.2.1:", "192.0.2.1:x", "192.0.2.1:65536",
		"192.0.2.1:-1", "192.0.2.1:+1", "192.0.2.1 ", "0x7f.0.0.1", "2001:db8::g", "[2001:db8::1", "2001:db8::1]", "[2001:db8::1]8080", "[2001:db8::1]:",
		"[192.0.2.1]", "fe80::1%eth0", "[]", "[]:80", ":::", "1:2:3:4:5:6:7:8:9", "localhost", "192.0.2.1:8080:1",
	};
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		struct address a = parse("192.0.2.9");
		assert_false(address_parse(slice_cstr(bad[i]), &a));
		assert_true(address_equal(a, parse("192.0.2.9")));
	}
	struct address a;
	assert_false(address_parse(slice_of("192.0.2.1\0", 10), &a));
	assert_false(address_parse(SLICE_NONE, &a));
}

static void one_subscriber_is_one_group(void **state)
{
	(void)state;
	assert_true(address_equal(address_group(parse("2001:db8:1:2:3:4:5:6")), address_group(parse("2001:db8:1:2:ffff::1"))));
	assert_false(address_equal(address_group(parse("2001:db8:1:2::1")), address_group(parse("2001:db8:1:3::1"))));
	assert_false(address_equal(address_group(parse("192.0.2.1")), address_group(parse("192.0.2.2"))));
	assert_true(address_equal(address_group(parse("192.0.2.1")), parse("::ffff:192.0.2.1")));
}

static void local_is_loopback_and_a_unix_socket(void **state)
{
	(void)state;
	static const char *const local[] = { "127.0.0.1", "127.255.0.9", "::1", "::ffff:127.0.0.1" };
	static const char *const foreign[] = { "128.0.0.1", "10.0.0.1", "0.0.0.0", "::", "::2", "::127.0.0.1", "fe80::1", "64:ff9b::127.0.0.1" };
	for (size_t i = 0; i < sizeof local / sizeof local[0]; i++)
		assert_true(address_is_local(parse(local[i])));
	for (size_t i = 0; i < sizeof foreign / sizeof foreign[0]; i++)
		assert_false(address_is_local(parse(foreign[i])));
	assert_true(address_is_local((struct address){ .is_ip = false }));
}

static void a_peer_is_what_the_kernel_says(void **state)
{
	(void)state;
	struct sockaddr_storage from = { .ss_family = AF_UNIX };
	assert_false(address_of_socket(&from).is_ip);
	struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_port = 99 };
	assert_int_equal(inet_pton(AF_INET, "192.0.2.1", &v4.sin_addr), 1);
	memcpy(&from, &v4, sizeof v4);
	assert_true(address_equal(address_of_socket(&from), parse("192.0.2.1")));
	struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_port = 99 };
	assert_int_equal(inet_pton(AF_INET6, "::ffff:192.0.2.1", &v6.sin6_addr), 1);
	memcpy(&from, &v6, sizeof v6);
	assert_true(address_equal(address_of_socket(&from), parse("192.0.2.1")));
}

static void networks_have_what_is_in_them(void **state)
{
	struct networks n;
	struct slice bad = SLICE_NONE;
	assert_int_equal(networks_parse(SLICE("10.0.0.0/8, 192.0.2.7 ,2001:db8::/33,::1"), *state, &n, &bad), OC_OK);
	assert_int_equal(n.count, 4);
	static const char *const in[] = { "10.0.0.0", "10.255.255.255", "192.0.2.7", "2001:db8::", "2001:db8:7fff::1", "::1", "::ffff:10.1.2.3" };
	static const char *const out[] = { "9.255.255.255", "11.0.0.0", "192.0.2.6", "2001:db8:8000::", "2001:db9::", "::2", "::" };
	for (size_t i = 0; i < sizeof in / sizeof in[0]; i++)
		assert_true(networks_have(&n, parse(in[i])));
	for (size_t i = 0; i < sizeof out / sizeof out[0]; i++)
		assert_false(networks_have(&n, parse(out[i])));
	assert_false(networks_have(&n, (struct address){ .is_ip = false }));
	assert_int_equal(networks_parse(SLICE("unix"), *state, &n, &bad), OC_OK);
	assert_true(networks_have(&n, (struct address){ .is_ip = false }));
	assert_false(networks_have(&n, parse("127.0.0.1")));
	assert_int_equal(networks_parse(SLICE("0.0.0.0/0"), *state, &n, &bad), OC_OK);
	assert_true(networks_have(&n, parse("203.0.113.1")) && !networks_have(&n, parse("2001:db8::1")));
}

static void what_is_no_network_is_named(void **state)
{
	static const char *const bad[] = { "", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/x", "10.0.0.0/-1", "10.0.0.1/8", "2001:db8::/129", "2001:db8::1/64",
					   "example.org", "unix:/run/x", "10.0.0.0/8/8", "[::1]", "127.0.0.1:80", "::ffff:10.0.0.0/104", "10.0.0.0 /8" };
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		struct networks n = { .count = 77 };
		struct slice named = SLICE_NONE;
		char text[128] = "::1,";
		strcat(text, bad[i]);
		assert_int_equal(networks_parse(slice_cstr(text), *state, &n, &named), OC_INVALID);
		assert_true(slice_eq_cstr(named, bad[i]));
		assert_int_equal(n.count, 77);
	}
}

static int make_arena(void **state)
{
	*state = arena_new(4096);
	return *state ? 0 : -1;
}

static int free_arena(void **state)
{
	arena_free(*state);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_address_is_read_and_written_again),
		cmocka_unit_test(what_is_no_address_is_refused_and_touches_nothing),
		cmocka_unit_test(one_subscriber_is_one_group),
		cmocka_unit_test(local_is_loopback_and_a_unix_socket),
		cmocka_unit_test(a_peer_is_what_the_kernel_says),
		cmocka_unit_test(networks_have_what_is_in_them),
		cmocka_unit_test(what_is_no_network_is_named),
	};
	return cmocka_run_group_tests(tests, make_arena, free_arena);
}
