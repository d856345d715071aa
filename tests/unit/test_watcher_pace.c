/* ingest/watcher_pace.c: the pace of requests, the pauses after failures, and whose clock is ahead. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ingest/watcher_pace.h"

static void requests_are_a_gap_apart(void **state)
{
	(void)state;
	struct pace p = pace_of(10, 1);
	pace_asked(&p, 5000);
	assert_int_equal(p.next_ms, 5100);
	pace_asked(&p, 5300);
	assert_int_equal(p.next_ms, 5400);
	assert_int_equal(pace_of(1000, 1).gap_ms, 1);
}

static void pauses_double_up_to_a_minute_and_half_of_each_is_random(void **state)
{
	(void)state;
	struct pace p = pace_of(10, 42);
	int64_t least = PACE_FIRST_PAUSE_MS / 2;
	for (int i = 0; i < 12; i++) {
		int64_t pause = pace_failed(&p, 1000000, 0);
		assert_true(pause >= least && pause <= 2 * least);
		least = 2 * least < PACE_LONGEST_PAUSE_MS / 2 ? 2 * least : PACE_LONGEST_PAUSE_MS / 2;
	}
	assert_int_equal(p.pause_ms, PACE_LONGEST_PAUSE_MS);
}

static void two_nodes_do_not_come_back_together(void **state)
{
	(void)state;
	struct pace a = pace_of(10, 1), b = pace_of(10, 77777);
	int same = 0;
	for (int i = 0; i < 8; i++)
		same += pace_failed(&a, 0, 0) == pace_failed(&b, 0, 0);
	assert_true(same < 3);
}

static void a_success_ends_the_pauses(void **state)
{
	(void)state;
	struct pace p = pace_of(10, 9);
	for (int i = 0; i < 6; i++)
		(void)pace_failed(&p, 0, 0);
	pace_succeeded(&p);
	assert_true(pace_failed(&p, 0, 0) <= PACE_FIRST_PAUSE_MS);
}

static void retry_after_is_the_least_pause_but_not_for_ever(void **state)
{
	(void)state;
	struct pace p = pace_of(10, 9);
	assert_int_equal(pace_failed(&p, 100, 7), 7000);
	assert_int_equal(p.next_ms, 7100);
	p = pace_of(10, 9);
	assert_int_equal(pace_failed(&p, 0, 86400), PACE_LONGEST_RETRY_AFTER_S * 1000);
	p = pace_of(10, 9);
	assert_true(pace_failed(&p, 0, -5) <= PACE_FIRST_PAUSE_MS);
}

#define T 1795352846000

static void clocks_that_agree_are_left_alone(void **state)
{
	(void)state;
	struct skew s = { .known = false };
	assert_int_equal(skew_ms(&s), 0);
	for (int64_t t = T + 137; t < T + 60000; t += 1087) {
		skew_seen(&s, t, t + 5, (t + 2) / 1000);
		assert_int_equal(skew_ms(&s), 0);
	}
	assert_true(s.high_ms - s.low_ms < 200);
}

static void a_clock_that_is_ahead_or_behind_is_found(void **state)
{
	(void)state;
	const int64_t offsets[] = { 30000, -30000, 1500, -1500 };
	for (size_t i = 0; i < sizeof offsets / sizeof *offsets; i++) {
		struct skew s = { .known = false };
		for (int64_t t = T; t < T + 120000; t += 1013)
			skew_seen(&s, t, t + 5, (t + 2 + offsets[i]) / 1000);
		int64_t wrong = skew_ms(&s) - offsets[i];
		assert_true(wrong > -100 && wrong < 100);
	}
}

static void one_reply_proves_less_than_many(void **state)
{
	(void)state;
	struct skew s = { .known = false };
	skew_seen(&s, T, T + 5, T / 1000 + 3); /* between 3 and 4 s ahead */
	assert_true(skew_ms(&s) >= 2990 && skew_ms(&s) <= 3000);
	assert_true(s.high_ms >= 3999);
}

static void a_clock_that_is_set_is_believed_anew(void **state)
{
	(void)state;
	struct skew s = { .known = false };
	for (int64_t t = T; t < T + 20000; t += 1013)
		skew_seen(&s, t, t + 5, (t + 20000) / 1000);
	assert_true(skew_ms(&s) > 19000);
	skew_seen(&s, T + 21000, T + 21005, (T + 21000) / 1000);
	assert_int_equal(skew_ms(&s), 0);
}

static void a_date_that_no_token_of_ours_would_survive_is_somebody_elses(void **state)
{
	(void)state;
	struct skew s = { .known = false };
	skew_seen(&s, T, T + 5, T / 1000 + 3600);
	skew_seen(&s, T, T + 5, T / 1000 - 3600);
	skew_seen(&s, T, T + 5, 0);
	skew_seen(&s, T, T - 5, T / 1000 + 30);
	assert_int_equal(skew_ms(&s), 0);
	assert_false(s.known);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(requests_are_a_gap_apart),
		cmocka_unit_test(pauses_double_up_to_a_minute_and_half_of_each_is_random),
		cmocka_unit_test(two_nodes_do_not_come_back_together),
		cmocka_unit_test(a_success_ends_the_pauses),
		cmocka_unit_test(retry_after_is_the_least_pause_but_not_for_ever),
		cmocka_unit_test(clocks_that_agree_are_left_alone),
		cmocka_unit_test(a_clock_that_is_ahead_or_behind_is_found),
		cmocka_unit_test(one_reply_proves_less_than_many),
		cmocka_unit_test(a_clock_that_is_set_is_believed_anew),
		cmocka_unit_test(a_date_that_no_token_of_ours_would_survive_is_somebody_elses),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
