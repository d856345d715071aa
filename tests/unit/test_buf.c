/* base/buf.c: appending, numbers, times, and the failure that sticks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buf.h"

static void assert_buf(const struct buf *b, const char *text)
{
	assert_false(buf_failed(b));
	assert_int_equal(b->n, strlen(text));
	assert_memory_equal(buf_slice(b).p, text, b->n);
}

static void what_is_put_comes_out_in_order(void **state)
{
	(void)state;
	_cleanup_buf_ struct buf b = BUF_INIT;
	assert_int_equal(buf_slice(&b).n, 0);
	assert_non_null(buf_slice(&b).p);
	buf_puts(&b, "a");
	buf_putc(&b, 'b');
	buf_put(&b, SLICE("c"));
	buf_put(&b, SLICE_NONE);
	buf_puts(&b, NULL);
	buf_putf(&b, "%s-%03d", "d", 7);
	assert_buf(&b, "abcd-007");
	buf_clear(&b);
	assert_buf(&b, "");
}

static void it_grows_to_any_size(void **state)
{
	(void)state;
	_cleanup_buf_ struct buf b = BUF_INIT;
	for (int i = 0; i < 100000; i++)
		buf_putc(&b, (char)('a' + i % 26));
	assert_int_equal(b.n, 100000);
	assert_int_equal(b.p[99999], 'a' + 99999 % 26);
	buf_putf(&b, "%*d", 5000, 1);
	assert_int_equal(b.n, 105000);
}

static void integers_of_the_whole_range_are_written(void **state)
{
	(void)state;
	_cleanup_buf_ struct buf b = BUF_INIT;
	buf_put_int(&b, INT64_MIN);
	buf_putc(&b, ' ');
	buf_put_int(&b, 0);
	buf_putc(&b, ' ');
	buf_put_int(&b, INT64_MAX);
	assert_buf(&b, "-9223372036854775808 0 9223372036854775807");
}

static void a_failure_sticks_until_the_buffer_is_cleared(void **state)
{
	(void)state;
	_cleanup_buf_ struct buf b = BUF_INIT;
	buf_puts(&b, "kept");
	assert_false(buf_reserve(&b, SIZE_MAX - 1));
	buf_puts(&b, "lost");
	buf_putf(&b, "%d", 1);
	assert_true(buf_failed(&b));
	assert_int_equal(b.n, 4);
	buf_clear(&b);
	buf_puts(&b, "new");
	assert_buf(&b, "new");
}

static void times_are_rfc3339_with_milliseconds(void **state)
{
	(void)state;
	static const struct {
		int64_t ms;
		const char *text;
	} cases[] = {
		{ 0, "1970-01-01T00:00:00.000Z" },
		{ 1795353139123, "2026-11-22T13:12:19.123Z" },
		{ -1, "1969-12-31T23:59:59.999Z" },
		{ 951782400000, "2000-02-29T00:00:00.000Z" },
		{ 4107542399999, "2100-02-28T23:59:59.999Z" },
		{ 4107542400000, "2100-03-01T00:00:00.000Z" },
		{ 253402300799999, "9999-12-31T23:59:59.999Z" },
	};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		_cleanup_buf_ struct buf b = BUF_INIT;
		buf_put_rfc3339_ms(&b, cases[i].ms);
		assert_buf(&b, cases[i].text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_put_comes_out_in_order),
		cmocka_unit_test(it_grows_to_any_size),
		cmocka_unit_test(integers_of_the_whole_range_are_written),
		cmocka_unit_test(a_failure_sticks_until_the_buffer_is_cleared),
		cmocka_unit_test(times_are_rfc3339_with_milliseconds),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
