/* base/log_sink.c: nobody waits for the reader of standard error, no line is cut, what is left out is counted and told of. */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "base/log_sink.h"

#define LINES 20000 /* of about 60 bytes: more than a pipe, a socket and what is kept */

static int saved_stderr, reading;
static char *seen;
static size_t seen_n;

static void replace_stderr(int reader, int writer)
{
	saved_stderr = dup(STDERR_FILENO);
	dup2(writer, STDERR_FILENO);
	close(writer);
	reading = reader;
	fcntl(reader, F_SETFL, O_NONBLOCK);
	log_never_wait();
	seen = malloc(4u << 20);
	seen_n = 0;
}

static int with_pipe(void **state)
{
	(void)state;
	int ends[2];
	if (pipe(ends) != 0)
		return -1;
	replace_stderr(ends[0], ends[1]);
	return 0;
}

static int with_socket(void **state)
{
	(void)state;
	int ends[2];
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0)
		return -1;
	replace_stderr(ends[0], ends[1]);
	return 0;
}

static int release(void **state)
{
	(void)state;
	dup2(saved_stderr, STDERR_FILENO);
	close(saved_stderr);
	close(reading);
	free(seen);
	log_never_wait();
	return 0;
}

static void read_all(void)
{
	for (ssize_t n; (n = read(reading, seen + seen_n, (4u << 20) - 1 - seen_n)) > 0;)
		seen_n += (size_t)n;
	seen[seen_n] = '\0';
}

/* Reads until everything kept has come. */
static void drain(void)
{
	for (size_t before = SIZE_MAX; before != seen_n;) {
		before = seen_n;
		read_all();
		log_flush(0);
	}
}

/* Every line whole, in order; the numbers that are missing. */
static int64_t missing(void)
{
	int next = 0, n;
	int64_t gaps = 0;
	for (char *line = seen, *end; *line; line = end + 1) {
		end = strchr(line, '\n');
		assert_non_null(end);
		assert_memory_equal(line, "ts=", 3);
		const char *number = strstr(line, "msg=line n=");
		if (!number || number > end)
			continue;
		assert_int_equal(sscanf(number, "msg=line n=%d", &n), 1);
		assert_true(n >= next);
		gaps += n - next;
		next = n + 1;
	}
	return gaps;
}

static void whatever_cannot_be_written_is_kept_or_counted(void **state)
{
	(void)state;
	int64_t before = log_lines_dropped();
	for (int i = 0; i < LINES; i++)
		log_info("line", LOG_I("n", i)); /* would hang here */
	int64_t lost = log_lines_dropped() - before;
	assert_true(lost > 0 && lost < LINES);
	drain();
	log_info("line", LOG_I("n", LINES));
	drain();
	assert_int_equal(missing(), lost);
	char told[64];
	snprintf(told, sizeof told, "msg=log_lines_dropped lines=%lld ", (long long)lost);
	assert_non_null(strstr(seen, told));
	assert_int_equal(log_lines_dropped() - before, lost);
}

static void a_reader_that_comes_late_gets_what_was_kept(void **state)
{
	(void)state;
	int64_t before = log_lines_dropped();
	for (int i = 0; i < 4000; i++)
		log_info("line", LOG_I("n", i));
	drain();
	assert_int_equal(log_lines_dropped(), before);
	assert_int_equal(missing(), 0);
	assert_non_null(strstr(seen, "n=3999\n"));
}

static void batches_are_kept_line_by_line(void **state)
{
	(void)state;
	int64_t before = log_lines_dropped();
	struct buf b = BUF_INIT;
	for (int i = 0; i < LINES;) {
		log_begin_batch(&b);
		for (int k = 0; k < 300; k++, i++)
			log_info("line", LOG_I("n", i));
		log_end_batch();
	}
	buf_done(&b);
	int64_t lost = log_lines_dropped() - before;
	assert_true(lost > 0);
	drain();
	log_info("line", LOG_I("n", 1000000));
	drain();
	assert_true(missing() >= lost);
}

static void a_reader_that_is_gone_is_no_reason_to_wait_or_die(void **state)
{
	(void)state;
	int64_t before = log_lines_dropped();
	signal(SIGPIPE, SIG_IGN);
	close(reading);
	for (int i = 0; i < 100; i++)
		log_info("line", LOG_I("n", i));
	log_flush(1);
	assert_int_equal(log_lines_dropped() - before, 100);
	reading = open("/dev/null", O_RDONLY);
}

int main(void)
{
#define CASE(f, with) cmocka_unit_test_setup_teardown(f, with, release)
	const struct CMUnitTest tests[] = {
		CASE(whatever_cannot_be_written_is_kept_or_counted, with_pipe),
		CASE(whatever_cannot_be_written_is_kept_or_counted, with_socket),
		CASE(a_reader_that_comes_late_gets_what_was_kept, with_pipe),
		CASE(batches_are_kept_line_by_line, with_pipe),
		CASE(a_reader_that_is_gone_is_no_reason_to_wait_or_die, with_pipe),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
