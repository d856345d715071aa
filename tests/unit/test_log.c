/* base/log.c: one line a happening, nothing forged, batches in one piece. Each test reads what went to stderr. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"

static int saved_stderr, pipe_read;
static char seen[262144];

static int capture(void **state)
{
	(void)state;
	int ends[2];
	assert_int_equal(pipe(ends), 0);
	fcntl(ends[1], F_SETPIPE_SZ, 262144);
	fcntl(ends[0], F_SETFL, O_NONBLOCK);
	saved_stderr = dup(STDERR_FILENO);
	dup2(ends[1], STDERR_FILENO);
	close(ends[1]);
	pipe_read = ends[0];
	return 0;
}

static int release(void **state)
{
	(void)state;
	dup2(saved_stderr, STDERR_FILENO);
	close(saved_stderr);
	close(pipe_read);
	log_set_level(LOG_LEVEL_INFO);
	return 0;
}

static const char *output(void)
{
	size_t n = 0;
	for (ssize_t got; n < sizeof seen - 1 && (got = read(pipe_read, seen + n, sizeof seen - 1 - n)) > 0;)
		n += (size_t)got;
	seen[n] = '\0';
	return seen;
}

static void a_line_has_time_level_and_fields(void **state)
{
	(void)state;
	log_info("call_completed", LOG_Z("event_id", "EV_1"), LOG_I("ms", 3), LOG_S("room", SLICE_NONE));
	const char *line = output();
	assert_memory_equal(line, "ts=20", 5);
	assert_non_null(strstr(line, "Z level=info msg=call_completed event_id=EV_1 ms=3\n"));
}

static void a_value_cannot_forge_a_line(void **state)
{
	(void)state;
	log_warn("odd", LOG_Z("id", "x\nts=1 level=info msg=\"fine\""));
	const char *line = output();
	assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);
	assert_non_null(strstr(line, "id=\"x\\nts=1 level=info msg=\\\"fine\\\"\"\n"));
}

static void no_character_beyond_ascii_ends_a_line_either(void **state)
{
	(void)state;
	log_warn("odd", LOG_Z("id", "a\xc2\x85z\xc2\x9b[2J\xe2\x80\xa8y\xe2\x80\xa9x \xc3\xa9\xe2\x80\xa6\xc2\xa0\xc2"));
	assert_non_null(strstr(output(), "id=\"a?z?[2J?y?x \xc3\xa9\xe2\x80\xa6\xc2\xa0\\ufffd\"\n"));
}

static void phone_numbers_keep_two_digits(void **state)
{
	(void)state;
	log_info("call", LOG_PHONE("number", SLICE("+1312\n\"")));
	assert_non_null(strstr(output(), "number=+******\n"));
	log_info("call", LOG_PHONE("number", SLICE("+13125550186")));
	assert_non_null(strstr(output(), "number=+*********86\n"));
}

static void numbers_within_a_text_are_hidden_too(void **state)
{
	(void)state;
	log_info("call", LOG_Z("identity", "sip_+13125550186"), LOG_Z("error", "Key (\"room\")=(call +1 312 555-0186)"), LOG_I("ms", 13125550186));
	const char *line = output();
	assert_non_null(strstr(line, "identity=sip_+*********86 error=\"Key (\\\"room\\\")=(call +* *** ***-**86)\" ms=13125550186\n"));
}

static void below_the_level_nothing_is_written(void **state)
{
	(void)state;
	log_set_level(LOG_LEVEL_WARN);
	log_info("quiet");
	assert_string_equal(output(), "");
}

static void a_batch_is_written_at_its_end(void **state)
{
	(void)state;
	struct buf b = BUF_INIT;
	log_begin_batch(&b);
	log_info("first");
	log_info("second");
	assert_string_equal(output(), "");
	log_end_batch();
	const char *text = output();
	assert_true(strstr(text, "msg=first\n") < strstr(text, "msg=second\n"));
	log_info("after");
	assert_non_null(strstr(output(), "msg=after\n"));
	buf_done(&b);
}

static void a_big_batch_does_not_gather_without_bound(void **state)
{
	(void)state;
	struct buf b = BUF_INIT;
	log_begin_batch(&b);
	for (int i = 0; i < 2000; i++)
		log_info("line", LOG_I("i", i));
	assert_true(b.n < 70000);
	log_end_batch();
	size_t lines = 0;
	for (const char *p = output(); *p; p++)
		lines += *p == '\n';
	assert_int_equal(lines, 2000);
	buf_done(&b);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, capture, release)
	const struct CMUnitTest tests[] = {
		CASE(a_line_has_time_level_and_fields),
		CASE(a_value_cannot_forge_a_line),
		CASE(no_character_beyond_ascii_ends_a_line_either),
		CASE(phone_numbers_keep_two_digits),
		CASE(numbers_within_a_text_are_hidden_too),
		CASE(below_the_level_nothing_is_written),
		CASE(a_batch_is_written_at_its_end),
		CASE(a_big_batch_does_not_gather_without_bound),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
