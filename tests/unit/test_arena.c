/* base/arena.c: alignment, zeroes, growth, reset, and sizes that cannot be. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/arena.h"

static void memory_is_aligned_zeroed_and_apart(void **state)
{
	(void)state;
	_cleanup_arena_ struct arena *a = arena_new(64);
	unsigned char *last = NULL;
	for (size_t n = 0; n < 200; n++) {
		unsigned char *p = arena_alloc(a, n);
		assert_non_null(p);
		assert_int_equal((uintptr_t)p % 16, 0);
		for (size_t i = 0; i < n; i++)
			assert_int_equal(p[i], 0);
		memset(p, 0xff, n);
		assert_ptr_not_equal(p, last);
		last = p;
	}
}

static void memory_is_zeroed_again_after_a_reset(void **state)
{
	(void)state;
	_cleanup_arena_ struct arena *a = arena_new(256);
	char *p = arena_alloc(a, 128);
	memset(p, 'x', 128);
	arena_reset(a);
	assert_int_equal(arena_used_bytes(a), 0);
	char *q = arena_alloc(a, 128);
	assert_ptr_equal(p, q);
	for (size_t i = 0; i < 128; i++)
		assert_int_equal(q[i], 0);
}

static void it_grows_past_its_first_block_and_reset_goes_back(void **state)
{
	(void)state;
	_cleanup_arena_ struct arena *a = arena_new(32);
	char *first = arena_alloc(a, 16);
	char *big = arena_alloc(a, 1000000);
	big[999999] = 'x';
	assert_int_equal(arena_used_bytes(a), 16 + 1000000);
	arena_reset(a);
	assert_ptr_equal(arena_alloc(a, 16), first);
}

static void sizes_that_cannot_be_give_null(void **state)
{
	(void)state;
	_cleanup_arena_ struct arena *a = arena_new(0);
	assert_null(arena_alloc(a, SIZE_MAX));
	assert_null(arena_alloc(a, SIZE_MAX - 20));
	assert_null(arena_calloc(a, SIZE_MAX / 2, 3));
	assert_non_null(arena_calloc(a, 0, 8));
	assert_non_null(ARENA_ARRAY(a, int64_t, 3));
}

static void copies_end_with_nul_and_none_stays_none(void **state)
{
	(void)state;
	_cleanup_arena_ struct arena *a = arena_new(64);
	char text[] = "call";
	struct slice copy = SLICE("left over");
	assert_true(arena_copy(a, slice_of(text, 4), &copy));
	text[0] = 'B';
	assert_string_equal(copy.p, "call");
	assert_int_equal(copy.n, 4);
	assert_true(arena_copy(a, SLICE(""), &copy));
	assert_false(slice_is_none(copy));
	assert_true(arena_copy(a, SLICE_NONE, &copy));
	assert_true(slice_is_none(copy));
	assert_string_equal(arena_dup(a, SLICE_NONE), "");
}

static void freeing_null_is_harmless(void **state)
{
	(void)state;
	arena_free(NULL);
	_cleanup_arena_ struct arena *a = NULL;
	assert_null(a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(memory_is_aligned_zeroed_and_apart),
		cmocka_unit_test(memory_is_zeroed_again_after_a_reset),
		cmocka_unit_test(it_grows_past_its_first_block_and_reset_goes_back),
		cmocka_unit_test(sizes_that_cannot_be_give_null),
		cmocka_unit_test(copies_end_with_nul_and_none_stays_none),
		cmocka_unit_test(freeing_null_is_harmless),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
