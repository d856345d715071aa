/* Where to listen: which addresses are this machine's alone, what may not be served, and what is said when it cannot be. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "http/internal.h"

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

static void loopback_and_unix_sockets_are_local(void **state)
{
	(void)state;
	static const char *const local[] = { "127.0.0.1:5000", "127.9.9.9:1", "[::1]:5000", "localhost:0", "LOCALHOST:80", "unix:/run/o.sock", "unix:o" };
	for (size_t i = 0; i < sizeof local / sizeof local[0]; i++)
		assert_true(http_listen_is_local(slice_cstr(local[i])));
}

static void everything_else_is_public(void **state)
{
	(void)state;
	static const char *const public[] = { "0.0.0.0:5000", "[::]:5000", ":5000", "192.168.0.1:1", "[fe80::1]:5000", "128.0.0.1:1", "localhost.example:1",
					      "example.org:80", "[::ffff:127.0.0.1]:80", "127.1:80", "", "nonsense", "127.0.0.1", "unix:", "::1:80" };
	for (size_t i = 0; i < sizeof public / sizeof public[0]; i++)
		assert_false(http_listen_is_local(slice_cstr(public[i])));
}

static void what_is_no_address_is_a_configuration_error(void **state)
{
	static const char *const bad[] = { "", "127.0.0.1", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:65536", "127.0.0.1:-1", "::1:80", "unix:" };
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		struct listener l = { .fd = -7 };
		struct slice message = SLICE_NONE;
		assert_int_equal(listener_open(slice_cstr(bad[i]), *state, &l, &message), OC_CONFIG);
		assert_int_equal(l.fd, -7);
		assert_non_null(strstr(arena_dup(*state, message), "ADDR:PORT"));
	}
}

static void port_0_is_any_free_one_and_is_said(void **state)
{
	struct listener l;
	struct slice message;
	unsigned port = 0;
	assert_int_equal(listener_open(SLICE("127.0.0.1:0"), *state, &l, &message), OC_OK);
	assert_int_equal(sscanf(l.address, "127.0.0.1:%u", &port), 1);
	assert_true(port > 0 && l.local && !l.is_unix);
	listener_close(&l);
	assert_int_equal(l.fd, -1);
	listener_close(&l);
}

static void a_port_in_use_is_said_with_what_to_do(void **state)
{
	struct listener first, second = { .fd = -7 };
	struct slice message = SLICE_NONE;
	assert_int_equal(listener_open(SLICE("127.0.0.1:0"), *state, &first, &message), OC_OK);
	assert_int_equal(listener_open(slice_cstr(first.address), *state, &second, &message), OC_NET);
	assert_int_equal(second.fd, -7);
	const char *text = arena_dup(*state, message);
	assert_non_null(strstr(text, first.address));
	assert_non_null(strstr(text, "--listen"));
	listener_close(&first);
}

static void an_address_of_another_machine_is_a_network_error(void **state)
{
	struct listener l;
	struct slice message = SLICE_NONE;
	assert_int_equal(listener_open(SLICE("192.0.2.1:0"), *state, &l, &message), OC_NET);
	assert_non_null(strstr(arena_dup(*state, message), "192.0.2.1"));
}

static void a_unix_socket_is_for_its_group_and_taken_away_again(void **state)
{
	char folder[] = "/tmp/test-listen-XXXXXX", text[64], path[64];
	assert_non_null(mkdtemp(folder));
	snprintf(text, sizeof text, "unix:%s/s", folder);
	snprintf(path, sizeof path, "%s/s", folder);
	struct listener l, second;
	struct slice message = SLICE_NONE;
	struct stat status;
	assert_int_equal(listener_open(slice_cstr(text), *state, &l, &message), OC_OK);
	assert_string_equal(l.address, text);
	assert_true(l.local && l.is_unix);
	assert_int_equal(stat(path, &status), 0);
	assert_int_equal(status.st_mode & 0777, 0660);
	assert_int_equal(listener_open(slice_cstr(text), *state, &second, &message), OC_NET); /* one that lives keeps it */
	listener_close(&l);
	assert_int_not_equal(stat(path, &status), 0);
	rmdir(folder);
}

static void the_socket_of_a_dead_server_is_taken_over(void **state)
{
	char folder[] = "/tmp/test-listen-XXXXXX", text[64];
	assert_non_null(mkdtemp(folder));
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	snprintf(address.sun_path, sizeof address.sun_path, "%s/s", folder);
	snprintf(text, sizeof text, "unix:%s/s", folder);
	int dead = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(bind(dead, (struct sockaddr *)&address, sizeof address), 0);
	close(dead);
	struct listener l;
	struct slice message = SLICE_NONE;
	assert_int_equal(listener_open(slice_cstr(text), *state, &l, &message), OC_OK);
	listener_close(&l);
	rmdir(folder);
}

static void a_file_that_is_no_socket_is_left_alone(void **state)
{
	char folder[] = "/tmp/test-listen-XXXXXX", text[64], path[64];
	assert_non_null(mkdtemp(folder));
	snprintf(text, sizeof text, "unix:%s/s", folder);
	snprintf(path, sizeof path, "%s/s", folder);
	FILE *f = fopen(path, "w");
	assert_non_null(f);
	fclose(f);
	struct listener l;
	struct slice message = SLICE_NONE;
	struct stat status;
	assert_int_equal(listener_open(slice_cstr(text), *state, &l, &message), OC_NET);
	assert_int_equal(stat(path, &status), 0);
	unlink(path);
	rmdir(folder);
}

/* ---- what may not be served ---- */

static int start(void **state, const struct http_options *o, const char **ret_text)
{
	struct http_server *server;
	struct slice message = SLICE("");
	int r = http_start(o, NULL, NULL, *state, &server, &message);
	*ret_text = arena_dup(*state, message);
	return r;
}

static void a_public_address_needs_a_token(void **state)
{
	const char *text;
	assert_int_equal(start(state, &(struct http_options){ .listen = SLICE("0.0.0.0:0") }, &text), OC_CONFIG);
	assert_non_null(strstr(text, "OUTCOMED_SERVICE_TOKEN"));
}

static void a_short_tenant_secret_is_refused(void **state)
{
	const char *text;
	struct http_options o = { .listen = SLICE("127.0.0.1:0"), .tenant_secret = SLICE("31 bytes are one byte too few..") };
	assert_int_equal(o.tenant_secret.n, 31);
	assert_int_equal(start(state, &o, &text), OC_CONFIG);
	assert_non_null(strstr(text, "32 bytes"));
}

static void an_empty_service_token_is_refused(void **state)
{
	const char *text;
	assert_int_equal(start(state, &(struct http_options){ .listen = SLICE("127.0.0.1:0"), .service_token = SLICE("") }, &text), OC_CONFIG);
}

static void a_livekit_secret_is_no_secret_for_reads(void **state)
{
	const char *text;
	const struct slice shared = SLICE("a secret of LiveKit's, long enough to pass");
	const struct signing_key keys[] = { { SLICE("one"), SLICE("another") }, { SLICE("two"), shared } };
	struct http_options o = { .listen = SLICE("127.0.0.1:0"), .keyring = { .keys = keys, .count = 2 }, .tenant_secret = shared };
	assert_int_equal(start(state, &o, &text), OC_CONFIG);
	assert_non_null(strstr(text, "OUTCOMED_TENANT_SECRET"));
	o.tenant_secret = SLICE_NONE;
	o.service_token = shared;
	assert_int_equal(start(state, &o, &text), OC_CONFIG);
	assert_non_null(strstr(text, "OUTCOMED_SERVICE_TOKEN"));
}

int main(void)
{
#define WITH_ARENA(f) cmocka_unit_test_setup_teardown(f, make_arena, free_arena)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(loopback_and_unix_sockets_are_local),
		cmocka_unit_test(everything_else_is_public),
		WITH_ARENA(what_is_no_address_is_a_configuration_error),
		WITH_ARENA(port_0_is_any_free_one_and_is_said),
		WITH_ARENA(a_port_in_use_is_said_with_what_to_do),
		WITH_ARENA(an_address_of_another_machine_is_a_network_error),
		WITH_ARENA(a_unix_socket_is_for_its_group_and_taken_away_again),
		WITH_ARENA(the_socket_of_a_dead_server_is_taken_over),
		WITH_ARENA(a_file_that_is_no_socket_is_left_alone),
		WITH_ARENA(a_public_address_needs_a_token),
		WITH_ARENA(a_short_tenant_secret_is_refused),
		WITH_ARENA(an_empty_service_token_is_refused),
		WITH_ARENA(a_livekit_secret_is_no_secret_for_reads),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
