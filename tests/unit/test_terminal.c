/* Text for a terminal: what comes from outside can neither command it nor show a phone number, and lines fit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "cmd/terminal.h"

static const struct terminal utf8 = { .columns = 80, .utf8 = true }, ascii = { .columns = 80 };

static void assert_clean(const struct terminal *t, const char *text, bool numbers, const char *want)
{
	_cleanup_arena_ struct arena *a = arena_new(512);
	struct slice got;
	assert_int_equal(terminal_clean(t, slice_cstr(text), numbers, a, &got), 0);
	if (!slice_eq_cstr(got, want))
		fail_msg("\"%.*s\" is not \"%s\"", SLICE_FMT(got), want);
}

static void what_commands_a_terminal_does_not_get_through(void **state)
{
	(void)state;
	assert_clean(&utf8, "a\033[2Jb\r\n\tc\x7f", false, "a?[2Jb???c?");
	assert_clean(&utf8, "a\xc2\x9b" "31mb", false, "a?31mb");                /* C1: CSI in one character */
	assert_clean(&utf8, "abc\xe2\x80\xae" "def\xe2\x81\xa6", false, "abc?def?"); /* right to left, isolate */
	assert_clean(&utf8, "a\xe2\x80\x8b\xef\xbb\xbf" "b", false, "a??b");          /* no width */
	assert_clean(&utf8, "a\xff\xc3", false, "a??");
	assert_clean(&utf8, "a\xed\xa0\x80", false, "a???"); /* a surrogate */
}

static void other_writing_gets_through_where_the_terminal_can_show_it(void **state)
{
	(void)state;
	assert_clean(&utf8, "Zo\xc3\xab \xe6\x97\xa5", false, "Zo\xc3\xab \xe6\x97\xa5");
	assert_clean(&ascii, "Zo\xc3\xab \xe6\x97\xa5", false, "Zo? ?");
}

static void phone_numbers_are_masked_but_for_two_digits(void **state)
{
	(void)state;
	struct terminal shown = utf8;
	shown.show_numbers = true;
	assert_clean(&utf8, "sip_+12065550111", true, "sip_+*********11");
	assert_clean(&utf8, "1234567", true, "*****67");
	assert_clean(&utf8, "123456 room-486", true, "123456 room-486");
	assert_clean(&utf8, "0049301234567@x 4917612345678", true, "***********67@x ***********78");
	assert_clean(&utf8, "SCL_12345678", false, "SCL_12345678");
	assert_clean(&shown, "sip_+12065550111", true, "sip_+12065550111");
}

static void widths_are_of_characters_not_bytes(void **state)
{
	(void)state;
	assert_int_equal(terminal_width(SLICE("abc")), 3);
	assert_int_equal(terminal_width(SLICE("Zo\xc3\xab")), 3);
	assert_int_equal(terminal_width(SLICE("\xe6\x97\xa5\xe6\x9c\xac")), 4);
	assert_int_equal(terminal_width(SLICE("e\xcc\x81")), 1);
	assert_int_equal(terminal_width(SLICE("")), 0);
}

static void lines_break_between_words_and_always_go_on(void **state)
{
	(void)state;
	struct slice rest = SLICE("one two  three abcdefghijkl");
	static const char *const want[] = { "one two", "three", "abcdefgh", "ijkl" };
	for (size_t i = 0; i < 4; i++)
		assert_true(slice_eq_cstr(terminal_line(&rest, 8), want[i]));
	assert_int_equal(rest.n, 0);
	rest = SLICE("\xe6\x97\xa5\xe6\x9c\xac");
	assert_int_equal(terminal_line(&rest, 1).n, 3); /* wider than the line: one character nevertheless */
	assert_int_equal(terminal_line(&rest, 1).n, 3);
	rest = SLICE("CLIENT_INITIATED");
	assert_true(slice_eq_cstr(terminal_line(&rest, 12), "CLIENT_"));
	rest = SLICE("left CLIENT_INITIATED");
	assert_true(slice_eq_cstr(terminal_line(&rest, 20), "left"));
	rest = SLICE("exactly8 x");
	assert_true(slice_eq_cstr(terminal_line(&rest, 8), "exactly8"));
	assert_true(slice_eq_cstr(rest, "x"));
}

static void a_paragraph_is_indented_like_its_first_line(void **state)
{
	(void)state;
	_cleanup_buf_ struct buf b = BUF_INIT;
	struct terminal narrow = ascii;
	narrow.columns = 40;
	terminal_paragraph(&narrow, &b, STYLE_PLAIN, SLICE("Note  "), SLICE("this is a text that is longer than forty columns are"));
	assert_true(slice_eq_cstr(buf_slice(&b), "Note  this is a text that is longer than\n      forty columns are\n"));
	buf_clear(&b);
	terminal_paragraph(&narrow, &b, STYLE_PLAIN, SLICE("Note  "), SLICE(""));
	assert_true(slice_eq_cstr(buf_slice(&b), "Note  \n"));
}

static void colour_is_only_where_it_is_wanted(void **state)
{
	(void)state;
	_cleanup_buf_ struct buf b = BUF_INIT;
	struct terminal colour = utf8;
	colour.colour = true;
	terminal_put(&utf8, &b, STYLE_BAD, SLICE("x"));
	assert_true(slice_eq_cstr(buf_slice(&b), "x"));
	buf_clear(&b);
	terminal_put(&colour, &b, STYLE_BAD, SLICE("x"));
	assert_true(slice_eq_cstr(buf_slice(&b), "\033[31mx\033[0m"));
	buf_clear(&b);
	terminal_put(&colour, &b, STYLE_PLAIN, SLICE("x"));
	assert_true(slice_eq_cstr(buf_slice(&b), "x"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_commands_a_terminal_does_not_get_through),
		cmocka_unit_test(other_writing_gets_through_where_the_terminal_can_show_it),
		cmocka_unit_test(phone_numbers_are_masked_but_for_two_digits),
		cmocka_unit_test(widths_are_of_characters_not_bytes),
		cmocka_unit_test(lines_break_between_words_and_always_go_on),
		cmocka_unit_test(a_paragraph_is_indented_like_its_first_line),
		cmocka_unit_test(colour_is_only_where_it_is_wanted),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
