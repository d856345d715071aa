/* base/metrics.c: the closed table, its atomics and its text. */
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/metrics.h"

static const char *const codes[] = { "200", "4\"0\\1\n" };

static int fresh(void **state)
{
	struct metrics *m = metrics_new();
	assert_non_null(m);
	metrics_label_values(m, METRIC_HTTP_REQUESTS, codes, 2);
	*state = m;
	return 0;
}

static int done(void **state)
{
	metrics_free(*state);
	return 0;
}

static char *rendered(struct metrics *m)
{
	struct buf b = BUF_INIT;
	metrics_render(m, &b);
	buf_putc(&b, '\0');
	assert_false(buf_failed(&b));
	return b.p;
}

static void assert_shows(struct metrics *m, const char *line)
{
	char *text = rendered(m);
	if (!strstr(text, line))
		fail_msg("not shown: %s in\n%s", line, text);
	free(text);
}

static void counters_count_by_label(void **state)
{
	metric_add(*state, METRIC_HTTP_REQUESTS, 0, 2);
	metric_add(*state, METRIC_HTTP_REQUESTS, 0, 3);
	assert_int_equal(metric_get(*state, METRIC_HTTP_REQUESTS, 0), 5);
	assert_int_equal(metric_get(*state, METRIC_HTTP_REQUESTS, 1), 0);
	assert_shows(*state, "\noutcomed_http_requests_total{code=\"200\"} 5\n");
}

static void an_index_out_of_range_counts_nowhere(void **state)
{
	char *before = rendered(*state);
	metric_add(*state, METRIC_HTTP_REQUESTS, 2, 1);
	metric_set(*state, METRIC_QUEUE_DEPTH, 1, 9);
	metric_add(*state, METRIC_HTTP_REFUSALS, 0, 1); /* its values were never declared */
	metric_observe(*state, METRIC_QUEUE_DEPTH, 3);  /* no histogram */
	assert_int_equal(metric_get(*state, METRIC_HTTP_REQUESTS, 2), 0);
	char *after = rendered(*state);
	assert_string_equal(before, after);
	free(before);
	free(after);
}

static void no_table_means_nothing_happens(void **state)
{
	(void)state;
	metric_add(NULL, METRIC_HTTP_REQUESTS, 0, 1);
	metric_set(NULL, METRIC_STORE_UP, 0, 1);
	metric_observe(NULL, METRIC_ACK_SECONDS, 1);
	metrics_label_values(NULL, METRIC_HTTP_REQUESTS, codes, 2);
	assert_int_equal(metric_get(NULL, METRIC_STORE_UP, 0), 0);
	struct buf b = BUF_INIT;
	metrics_render(NULL, &b);
	assert_int_equal(b.n, 0);
}

static void gauges_are_set(void **state)
{
	metric_set(*state, METRIC_QUEUE_DEPTH, 0, 7);
	metric_set(*state, METRIC_QUEUE_DEPTH, 0, 4);
	assert_shows(*state, "# TYPE outcomed_queue_depth gauge\noutcomed_queue_depth 4\n");
}

static void label_values_are_escaped(void **state)
{
	assert_shows(*state, "outcomed_http_requests_total{code=\"4\\\"0\\\\1\\n\"} 0\n");
}

static void histogram_buckets_are_cumulative_and_bounds_belong_below(void **state)
{
	metric_observe(*state, METRIC_ACK_SECONDS, 0.0005);
	metric_observe(*state, METRIC_ACK_SECONDS, 0.0006);
	metric_observe(*state, METRIC_ACK_SECONDS, 31);
	assert_shows(*state, "outcomed_ack_seconds_bucket{le=\"0.0005\"} 1\noutcomed_ack_seconds_bucket{le=\"0.001\"} 2\n");
	assert_shows(*state, "outcomed_ack_seconds_bucket{le=\"30\"} 2\noutcomed_ack_seconds_bucket{le=\"+Inf\"} 3\n"
			     "outcomed_ack_seconds_sum 31.001100\noutcomed_ack_seconds_count 3\n");
}

static void batches_are_counted_in_powers_of_two(void **state)
{
	metric_observe(*state, METRIC_BATCH_EVENTS, 64);
	metric_observe(*state, METRIC_BATCH_EVENTS, 1025);
	assert_shows(*state, "outcomed_batch_events_bucket{le=\"32\"} 0\noutcomed_batch_events_bucket{le=\"64\"} 1\n");
	assert_shows(*state, "outcomed_batch_events_bucket{le=\"1024\"} 1\noutcomed_batch_events_bucket{le=\"+Inf\"} 2\n");
}

static void a_value_that_is_no_number_is_not_observed(void **state)
{
	metric_observe(*state, METRIC_ACK_SECONDS, NAN);
	metric_observe(*state, METRIC_ACK_SECONDS, 1e300);
	assert_shows(*state, "outcomed_ack_seconds_sum 0.000000\noutcomed_ack_seconds_count 0\n");
}

static void every_metric_has_help_and_type_once(void **state)
{
	char *text = rendered(*state);
	size_t helps = 0, types = 0;
	for (const char *p = text; (p = strstr(p, "# HELP ")); p++)
		helps++;
	for (const char *p = text; (p = strstr(p, "# TYPE ")); p++)
		types++;
	free(text);
	assert_int_equal(helps, METRIC_COUNT);
	assert_int_equal(types, METRIC_COUNT);
}

static void docs_list_every_metric(void **state)
{
	(void)state;
	struct buf b = BUF_INIT;
	metrics_write_docs(&b);
	buf_putc(&b, '\0');
#define X(e, name, type, help, label) assert_non_null(strstr(b.p, "| `" name "` |"));
	METRICS(X)
#undef X
	buf_done(&b);
}

static void *add_many(void *m)
{
	for (int i = 0; i < 20000; i++) {
		metric_add(m, METRIC_HTTP_REQUESTS, 0, 1);
		metric_observe(m, METRIC_ACK_SECONDS, 0.002);
	}
	return NULL;
}

static void no_count_is_lost_between_threads(void **state)
{
	pthread_t threads[4];
	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, add_many, *state), 0);
	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	assert_int_equal(metric_get(*state, METRIC_HTTP_REQUESTS, 0), 80000);
	assert_shows(*state, "outcomed_ack_seconds_sum 160.000000\noutcomed_ack_seconds_count 80000\n");
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, fresh, done)
	const struct CMUnitTest tests[] = {
		CASE(counters_count_by_label),
		CASE(an_index_out_of_range_counts_nowhere),
		CASE(no_table_means_nothing_happens),
		CASE(gauges_are_set),
		CASE(label_values_are_escaped),
		CASE(histogram_buckets_are_cumulative_and_bounds_belong_below),
		CASE(batches_are_counted_in_powers_of_two),
		CASE(a_value_that_is_no_number_is_not_observed),
		CASE(every_metric_has_help_and_type_once),
		CASE(docs_list_every_metric),
		CASE(no_count_is_lost_between_threads),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
