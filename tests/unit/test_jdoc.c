/* wire/jdoc.c: what it takes and refuses, the nodes it leaves of a broken text, strings. Jansson is the judge of what is JSON. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>
#include <stdlib.h>

#include "wire/jdoc.h"

static struct arena *arena;

static int make_arena(void **state)
{
	(void)state;
	arena = arena_new(4096);
	return arena ? 0 : -1;
}

static int free_arena(void **state)
{
	(void)state;
	arena_free(arena);
	return 0;
}

/* Parses a copy on the heap, so that the sanitizer sees a read beyond its end. */
static struct jdoc parse(struct slice text)
{
	struct jdoc j;
	char *copy = malloc(text.n ? text.n : 1);
	assert_non_null(copy);
	memcpy(copy, text.p, text.n);
	assert_int_equal(jdoc_parse(slice_of(copy, text.n), arena, &j), 0);
	assert_true(arena_copy(arena, text, &j.text));
	free(copy);
	return j;
}

static void texts_that_are_json_are_taken(void **state)
{
	(void)state;
	static const char *const good[] = { "{}", "[]", "null", " true ", "false", "0", "-0", "-12.5e+3", "1E400", "\"\"", "[[],[{}],{\"a\":[]}]",
		"{\"a\":1,\"b\":{\"a\":1}}", "\t\r\n[ 1 , 2 ]\n", "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\\ud83d\\ude00\"", "\"\x7f\xc3\xa9\"", "{\"\":0}",
		"\"eight888\\\"nine\"" };
	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
		struct jdoc j = parse(slice_cstr(good[i]));
		assert_int_equal(j.fault, JDOC_OK);
		assert_int_equal(j.nodes[0].next, j.count);
	}
}

static void texts_that_are_not_json_are_refused(void **state)
{
	(void)state;
	static const char *const bad[] = { "", " ", "{", "[", "}", "]", "{]", "[}", "[1,]", "[,1]", "[1 2]", "{\"a\"}", "{\"a\":}", "{\"a\":1,}", "{,}", "{1:2}",
		"{a:1}", "{\"a\" 1}", "nul", "nulll", "True", "NaN", "Infinity", "01", "-", "+1", ".5", "1.", "1.e3", "1e", "1e+", "0x10", "--1", "\"", "\"\\",
		"\"\\x\"", "\"\\u12\"", "\"\\u12g4\"", "\"a\nb\"", "\"tab\tin\"", "'a'", "[1]x", "{} {}", "\xef\xbb\xbf{}", "//c\n1", "[1,2", "{\"a\":{\"b\":1}" };
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		struct jdoc j = parse(slice_cstr(bad[i]));
		assert_int_equal(j.fault, JDOC_SYNTAX);
		assert_null(json_loads(bad[i], JSON_DECODE_ANY, NULL));
	}
	assert_int_equal(parse(SLICE("\"a\0b\"")).fault, JDOC_SYNTAX);
}

static void what_jsonb_refuses_has_a_fault_of_its_own(void **state)
{
	(void)state;
	assert_int_equal(parse(SLICE("[\"a\\u0000\"]")).fault, JDOC_NUL);
	assert_int_equal(parse(SLICE("{\"a\\u0000\":1}")).fault, JDOC_NUL);
	assert_int_equal(parse(SLICE("\"\\ud800\"")).fault, JDOC_SURROGATE);
	assert_int_equal(parse(SLICE("\"\\ud800\\ud800\"")).fault, JDOC_SURROGATE);
	assert_int_equal(parse(SLICE("\"\\ud800x\"")).fault, JDOC_SURROGATE);
	assert_int_equal(parse(SLICE("\"\\udc00\"")).fault, JDOC_SURROGATE);
	assert_int_equal(parse(SLICE("\"\xff\"")).fault, JDOC_BAD_UTF8);
	assert_int_equal(parse(SLICE("\"\xed\xa0\x80\"")).fault, JDOC_BAD_UTF8);
	assert_int_equal(parse(SLICE("1e1000")).fault, JDOC_OK);
	assert_int_equal(parse(SLICE("1e1001")).fault, JDOC_NUMBER_RANGE);
	assert_int_equal(parse(SLICE("1e-99999999999999999999")).fault, JDOC_NUMBER_RANGE);
	char digits[1200];
	memset(digits, '7', sizeof digits);
	assert_int_equal(parse(slice_of(digits, 1000)).fault, JDOC_OK);
	assert_int_equal(parse(slice_of(digits, 1001)).fault, JDOC_NUMBER_RANGE);
}

static void a_key_twice_in_one_object_is_a_fault(void **state)
{
	(void)state;
	assert_int_equal(parse(SLICE("{\"a\":1,\"b\":2,\"a\":3}")).fault, JDOC_DUPLICATE_KEY);
	assert_int_equal(parse(SLICE("{\"x\":{\"a\":1,\"\\u0061\":2}}")).fault, JDOC_DUPLICATE_KEY);
	assert_int_equal(parse(SLICE("{\"a\":{\"a\":{\"a\":1}},\"b\":[{\"a\":1},{\"a\":1}]}")).fault, JDOC_OK);
	assert_int_equal(parse(SLICE("{\"\":1,\"\":2}")).fault, JDOC_DUPLICATE_KEY);
}

static void a_key_twice_among_many_is_found(void **state)
{
	(void)state;
	char text[8192];
	for (int count = 20; count <= 300; count += 20) {
		size_t n = 0;
		for (int i = 0; i < count; i++)
			n += (size_t)snprintf(text + n, sizeof text - n, "%c\"key%d\":%d", i ? ',' : '{', i * 7 % count, i);
		text[n] = '}';
		assert_int_equal(parse(slice_of(text, n + 1)).fault, count % 7 ? JDOC_OK : JDOC_DUPLICATE_KEY);
		n += (size_t)snprintf(text + n, sizeof text - n, ",\"key%d\":0}", count / 2);
		assert_int_equal(parse(slice_of(text, n)).fault, JDOC_DUPLICATE_KEY);
	}
}

static void depth_is_bounded(void **state)
{
	(void)state;
	char text[2 * JDOC_MAX_DEPTH + 2];
	memset(text, '[', JDOC_MAX_DEPTH + 1);
	memset(text + JDOC_MAX_DEPTH + 1, ']', JDOC_MAX_DEPTH + 1);
	assert_int_equal(parse(slice_of(text + 1, 2 * JDOC_MAX_DEPTH)).fault, JDOC_OK);
	assert_int_equal(parse(slice_of(text, 2 * JDOC_MAX_DEPTH + 2)).fault, JDOC_TOO_DEEP);
}

static void the_number_of_values_is_bounded(void **state)
{
	(void)state;
	size_t n = 2u * 1024 * 1024;
	char *text = malloc(n);
	assert_non_null(text);
	for (size_t i = 0; i < n; i++)
		text[i] = i == 0 ? '[' : i % 2 ? '1' : ',';
	text[n - 1] = ']';
	text[n - 2] = '1';
	struct jdoc j;
	assert_int_equal(jdoc_parse(slice_of(text, n), arena, &j), 0);
	assert_int_equal(j.fault, JDOC_TOO_MANY);
	assert_int_equal(j.count, JDOC_MAX_NODES);
	assert_int_equal(j.nodes[0].next, j.count);
	free(text);
}

static void what_was_read_of_a_broken_text_stays(void **state)
{
	(void)state;
	struct jdoc j = parse(SLICE("{\"id\":\"EV_1\",\"room\":{\"sid\":\"RM_1\",\"name\":\"n\",\"emp"));
	assert_int_equal(j.fault, JDOC_SYNTAX);
	uint32_t room = jdoc_member(&j, 0, SLICE("room"));
	assert_int_not_equal(room, 0);
	assert_true(jdoc_text_is(&j, jdoc_member(&j, 0, SLICE("id")), SLICE("EV_1")));
	assert_true(jdoc_text_is(&j, jdoc_member(&j, room, SLICE("name")), SLICE("n")));
	assert_int_equal(jdoc_member(&j, room, SLICE("emp")), 0);
}

static void at_every_cut_the_nodes_are_well_formed(void **state)
{
	(void)state;
	static const char whole[] = "{\"a\":[1,{\"b\":null,\"c\":[]},\"d\\u00e9\"],\"e\":{\"f\":true,\"g\":-1.5e3},\"h\":\"i\"}";
	for (size_t n = 0; n < sizeof whole - 1; n++) {
		struct jdoc j = parse(slice_of(whole, n));
		assert_int_equal(j.fault, JDOC_SYNTAX);
		for (uint32_t i = 0; i < j.count; i++) {
			assert_true(j.nodes[i].next > i && j.nodes[i].next <= j.count);
			assert_true(j.nodes[i].start <= j.nodes[i].end && j.nodes[i].end <= n);
			if (jdoc_type_of(&j, i) != JDOC_OBJECT)
				continue;
			for (uint32_t key = jdoc_first(&j, i); key < jdoc_end(&j, i); key = jdoc_after(&j, key + 1)) {
				assert_int_equal(jdoc_type_of(&j, key), JDOC_STRING);
				assert_true(key + 1 < jdoc_end(&j, i));
			}
		}
	}
}

static void strings_lose_their_escapes(void **state)
{
	(void)state;
	struct jdoc j = parse(SLICE("[\"plain\", \"\\\"\\\\\\/\\b\\f\\n\\r\\t\", \"\\u0041\\u00e9\\u20ac\\ud83d\\ude00\\uFFFF\"]"));
	static const struct slice texts[] = { { "plain", 5 }, { "\"\\/\b\f\n\r\t", 8 }, { "A\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\xef\xbf\xbf", 13 } };
	for (uint32_t i = 0; i < 3; i++) {
		struct slice s;
		assert_int_equal(jdoc_text(&j, i + 1, arena, &s), 0);
		assert_true(slice_eq(s, texts[i]));
		assert_true(jdoc_text_is(&j, i + 1, texts[i]));
		assert_false(jdoc_text_is(&j, i + 1, slice_of(texts[i].p, texts[i].n - 1)));
		assert_false(jdoc_text_is(&j, i + 1, SLICE("something else")));
	}
}

static void strings_that_are_no_text_are_not_given_out(void **state)
{
	(void)state;
	struct jdoc j = parse(SLICE("[\"a\\u0000\", \"\\udfff\", \"\xff\", \"fine\"]"));
	struct slice s = SLICE("untouched");
	for (uint32_t i = 1; i <= 3; i++)
		assert_int_equal(jdoc_text(&j, i, arena, &s), OC_INVALID);
	assert_true(slice_eq(s, SLICE("untouched")));
	assert_int_equal(jdoc_text(&j, 4, arena, &s), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(texts_that_are_json_are_taken),
		cmocka_unit_test(texts_that_are_not_json_are_refused),
		cmocka_unit_test(what_jsonb_refuses_has_a_fault_of_its_own),
		cmocka_unit_test(a_key_twice_in_one_object_is_a_fault),
		cmocka_unit_test(a_key_twice_among_many_is_found),
		cmocka_unit_test(depth_is_bounded),
		cmocka_unit_test(the_number_of_values_is_bounded),
		cmocka_unit_test(what_was_read_of_a_broken_text_stays),
		cmocka_unit_test(at_every_cut_the_nodes_are_well_formed),
		cmocka_unit_test(strings_lose_their_escapes),
		cmocka_unit_test(strings_that_are_no_text_are_not_given_out),
	};
	return cmocka_run_group_tests(tests, make_arena, free_arena);
}
