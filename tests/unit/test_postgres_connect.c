/* Connecting, seen from servers that never say a word: who waits how long, which host is next, what the URL does not say. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "store/postgres.h"

/* Takes connections, as a frozen server's kernel does, and is silent. */
static int silent_server(int *ret_port)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t n = sizeof a;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
	assert_int_equal(listen(fd, 8), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &n), 0);
	*ret_port = ntohs(a.sin_port);
	return fd;
}

static void begin(struct pg *c, enum pg_role role, int timeout_ms, const char *url)
{
	const struct store_options o = { .url = slice_cstr(url), .timeout_ms = timeout_ms };
	assert_int_equal(pg_init(c, role, &o), 0);
}

static void an_attempt_outlasts_the_call_that_began_it(void **state)
{
	(void)state;
	int port, server = silent_server(&port);
	char url[100];
	struct pg c;

	snprintf(url, sizeof url, "postgresql://u:p@127.0.0.1:%d/db", port);
	begin(&c, PG_WRITER, 50, url);
	assert_int_equal(pg_ready(&c), OC_DOWN);
	PGconn *first = c.attempt.conn;
	assert_non_null(first);
	assert_null(c.conn);
	assert_int_equal(pg_ready(&c), OC_DOWN);
	assert_ptr_equal(c.attempt.conn, first);
	pg_done(&c);
	close(server);
}

static void a_writer_looks_after_it_for_a_moment_only(void **state)
{
	(void)state;
	int port, server = silent_server(&port);
	char url[100];
	struct pg c;

	snprintf(url, sizeof url, "postgresql://u:p@127.0.0.1:%d/db?connect_timeout=60", port);
	begin(&c, PG_WRITER, 60000, url);
	c.batch_until_ms = pg_now_ms() + 50;
	assert_int_equal(pg_ready(&c), OC_DOWN);
	c.batch_until_ms = 0;
	int64_t began = pg_now_ms();
	assert_int_equal(pg_ready(&c), OC_DOWN);
	assert_true(pg_now_ms() - began < 30000); /* not the minute that a statement has */
	assert_non_null(c.attempt.conn);
	pg_done(&c);
	close(server);
}

static void a_host_that_lets_its_time_pass_is_left_for_the_next(void **state)
{
	(void)state;
	int ports[2], servers[2] = { silent_server(&ports[0]), silent_server(&ports[1]) };
	char url[140];
	struct pg c;

	snprintf(url, sizeof url, "postgresql://u:p@127.0.0.1:%d,127.0.0.1:%d/db?connect_timeout=1", ports[0], ports[1]);
	begin(&c, PG_READER, 200, url);
	assert_int_equal(pg_ready(&c), OC_DOWN);
	assert_int_equal(c.attempt.at, 0);
	while (c.attempt.at == 0)
		assert_int_equal(pg_ready(&c), OC_DOWN);
	assert_int_equal(atoi(PQport(c.attempt.conn)), ports[1]);
	while (c.attempt.at == 1)
		assert_int_equal(pg_ready(&c), OC_DOWN);
	if (c.attempt.conn)
		assert_int_equal(atoi(PQport(c.attempt.conn)), ports[0]);
	pg_done(&c);
	close(servers[0]);
	close(servers[1]);
}

static void assert_option(struct pg *c, const char *keyword, const char *value)
{
	PQconninfoOption *options = PQconninfo(c->attempt.conn);
	const char *found = NULL;

	assert_non_null(options);
	for (PQconninfoOption *o = options; o->keyword; o++)
		if (strcmp(o->keyword, keyword) == 0)
			found = o->val;
	assert_string_equal(found ? found : "", value);
	PQconninfoFree(options);
}

static void what_the_url_does_not_say_is_said_and_what_it_says_holds(void **state)
{
	(void)state;
	int port, server = silent_server(&port);
	char url[200];
	struct pg c;

	snprintf(url, sizeof url, "postgresql://u:p@127.0.0.1:%d/db", port);
	begin(&c, PG_WRITER, 20, url);
	assert_int_equal(pg_ready(&c), OC_DOWN);
	assert_option(&c, "keepalives_idle", "4");
	assert_option(&c, "tcp_user_timeout", "8000");
	assert_option(&c, "target_session_attrs", "any");
	pg_done(&c);
	snprintf(url, sizeof url, "postgresql://u:p@127.0.0.1:%d/db?keepalives_idle=77&tcp_user_timeout=0&target_session_attrs=standby", port);
	begin(&c, PG_WRITER, 20, url);
	assert_int_equal(pg_ready(&c), OC_DOWN);
	assert_option(&c, "keepalives_idle", "77");
	assert_option(&c, "tcp_user_timeout", "0");
	assert_option(&c, "target_session_attrs", "standby");
	pg_done(&c);
	snprintf(url, sizeof url, "postgresql://u:p@127.0.0.1:%d,127.0.0.1:%d/db", port, port);
	begin(&c, PG_READER, 20, url);
	assert_int_equal(pg_ready(&c), OC_DOWN);
	assert_option(&c, "target_session_attrs", "read-write");
	pg_done(&c);
	close(server);
}

static void one_that_refuses_is_asked_again_after_a_pause(void **state)
{
	(void)state;
	int port, server = silent_server(&port);
	char url[100];
	struct pg c;

	close(server);
	snprintf(url, sizeof url, "postgresql://u:p@127.0.0.1:%d/db", port);
	begin(&c, PG_WRITER, 5000, url);
	assert_int_equal(pg_ready(&c), OC_DOWN);
	assert_null(c.attempt.conn);
	assert_int_equal(c.backoff_ms, 250);
	assert_int_equal(pg_ready(&c), OC_DOWN);
	assert_null(c.attempt.conn);
	c.retry_at_ms = 0;
	assert_int_equal(pg_ready(&c), OC_DOWN);
	assert_int_equal(c.backoff_ms, 500);
	pg_done(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_attempt_outlasts_the_call_that_began_it),
		cmocka_unit_test(a_writer_looks_after_it_for_a_moment_only),
		cmocka_unit_test(a_host_that_lets_its_time_pass_is_left_for_the_next),
		cmocka_unit_test(what_the_url_does_not_say_is_said_and_what_it_says_holds),
		cmocka_unit_test(one_that_refuses_is_asked_again_after_a_pause),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
