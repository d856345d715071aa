/* base/jsonw.c: commas, escapes, bad UTF-8, numbers and depth; jansson reads back what it writes. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>

#include "base/jsonw.h"

static void assert_buf(const struct buf *b, const char *text)
{
	assert_false(buf_failed(b));
	assert_int_equal(b->n, strlen(text));
	assert_memory_equal(buf_slice(b).p, text, b->n);
}

static void commas_are_put_where_they_belong(void **state)
{
	(void)state;
	_cleanup_buf_ struct buf b = BUF_INIT;
	struct jsonw w = JSONW(&b);
	jw_obj(&w);
	jw_key(&w, "a");
	jw_arr(&w);
	jw_int(&w, 1);
	jw_obj(&w);
	jw_obj_end(&w);
	jw_arr(&w);
	jw_arr_end(&w);
	jw_null(&w);
	jw_arr_end(&w);
	jw_key_slice(&w, SLICE("b\""));
	jw_bool(&w, true);
	jw_key(&w, "c");
	jw_raw(&w, SLICE("{\"x\":1}"));
	jw_members(&w, SLICE(" { \"d\":2, \"e\":3 } "));
	jw_members(&w, SLICE("{ }"));
	jw_key(&w, "f");
	jw_bool(&w, false);
	jw_obj_end(&w);
	assert_buf(&b, "{\"a\":[1,{},[],null],\"b\\\"\":true,\"c\":{\"x\":1},\"d\":2, \"e\":3,\"f\":false}");
}

static void absent_values_are_null(void **state)
{
	(void)state;
	_cleanup_buf_ struct buf b = BUF_INIT;
	struct jsonw w = JSONW(&b);
	jw_arr(&w);
	jw_str(&w, SLICE_NONE);
	jw_str(&w, SLICE(""));
	jw_cstr(&w, NULL);
	jw_raw(&w, SLICE_NONE);
	jw_time_ms(&w, 0);
	jw_time_ms(&w, 1795353139123);
	jw_double(&w, NAN);
	jw_double(&w, INFINITY);
	jw_double(&w, 0.25);
	jw_arr_end(&w);
	assert_buf(&b, "[null,\"\",null,null,null,\"2026-11-22T13:12:19.123Z\",null,null,0.25]");
}

static void every_byte_is_escaped_so_that_it_comes_back(void **state)
{
	(void)state;
	char all[127];
	for (size_t i = 0; i < sizeof all; i++)
		all[i] = (char)(i + 1);
	_cleanup_buf_ struct buf b = BUF_INIT;
	buf_put_json_string(&b, slice_of(all, sizeof all));
	json_t *back = json_loadb(b.p, b.n, JSON_DECODE_ANY, NULL);
	assert_non_null(back);
	assert_int_equal(json_string_length(back), sizeof all);
	assert_memory_equal(json_string_value(back), all, sizeof all);
	json_decref(back);
	buf_clear(&b);
	buf_put_json_string(&b, SLICE("a\0b\xf0\x9f\x98\x80"));
	assert_buf(&b, "\"a\\u0000b\xf0\x9f\x98\x80\"");
}

static void each_bad_byte_becomes_a_replacement_character(void **state)
{
	(void)state;
	_cleanup_buf_ struct buf b = BUF_INIT;
	buf_put_json_string(&b, SLICE("a\xff\xc3(\xe2\x82"));
	assert_buf(&b, "\"a\\ufffd\\ufffd(\\ufffd\\ufffd\"");
}

static void too_deep_marks_the_buffer_failed(void **state)
{
	(void)state;
	_cleanup_buf_ struct buf b = BUF_INIT;
	struct jsonw w = JSONW(&b);
	for (int i = 0; i < 31; i++)
		jw_arr(&w);
	assert_false(buf_failed(&b));
	jw_arr(&w);
	assert_true(buf_failed(&b));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(commas_are_put_where_they_belong),
		cmocka_unit_test(absent_values_are_null),
		cmocka_unit_test(every_byte_is_escaped_so_that_it_comes_back),
		cmocka_unit_test(each_bad_byte_becomes_a_replacement_character),
		cmocka_unit_test(too_deep_marks_the_buffer_failed),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
