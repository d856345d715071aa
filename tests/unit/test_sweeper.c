/* ingest/sweeper.c: calls that are due are looked at again, within bounds, and never instead of the events. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/clock.h"
#include "fake_store.h"

static struct sent *started(const char *id, const char *sid)
{
	return sent_event(id, "room_started", sid, "name", clock_wall_ms() / 1000 - 600, NULL);
}

static void make_due(struct slice sid) { fake.due[fake.due_count++] = sid; }

static void a_due_call_is_judged_again(void **state)
{
	(void)state;
	PROCESS(started("EV_1", "RM_1"));
	fake_call_of("RM_1")->row.verdict = SLICE("{}");
	make_due(SLICE("RM_1"));
	sweeper_run(&fake_writer, false);
	assert_true(fake_call_of("RM_1")->row.verdict.n > 2);
	assert_int_equal(fake.row_count, 1);
}

static void it_sweeps_at_its_interval(void **state)
{
	(void)state;
	fake_options.sweep_interval_ms = 60000;
	int64_t next = sweeper_run(&fake_writer, false);
	sweeper_run(&fake_writer, false);
	assert_int_equal(fake.due_asked, 1);
	assert_true(next > clock_mono_ns());
	fake_writer.sweep_at_ns = 0;
	sweeper_run(&fake_writer, false);
	assert_int_equal(fake.due_asked, 2);
}

static void the_counts_become_gauges(void **state)
{
	(void)state;
	struct sent *now = sent_event("EV_1", "room_started", "RM_1", "name", clock_wall_ms() / 1000, NULL);
	PROCESS(now, sent_body("[]"));
	sweeper_run(&fake_writer, false);
	assert_int_equal(counted(METRIC_OPEN_CALLS, 0), 1);
	assert_int_equal(counted(METRIC_ASIDE, 0), 1);
}

static void a_log_that_cannot_be_emptied_is_said_once_for_each_time_that_it_grew(void **state)
{
	(void)state;
	static const struct {
		int64_t bytes;
		bool large;
	} steps[] = { { 1 << 20, false }, { (256 << 20) + 1, true }, { 200 << 20, true }, { 100 << 20, false }, { 200 << 20, false } };
	for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
		fake.wal_bytes = steps[i].bytes;
		fake_writer.count_at_ns = 0;
		sweeper_run(&fake_writer, false);
		assert_int_equal(counted(METRIC_WAL_BYTES, 0), steps[i].bytes);
		assert_int_equal(fake_writer.wal_large, steps[i].large);
	}
}

static void a_call_that_is_refused_does_not_keep_the_others_from_being_judged(void **state)
{
	(void)state;
	PROCESS(started("EV_1", "RM_1"), started("EV_2", "RM_2"), started("EV_3", "RM_3"));
	fake.refused_sid = SLICE("RM_2");
	for (size_t i = 0; i < 3; i++)
		fake.calls[i].row.verdict = SLICE("{}");
	make_due(SLICE("RM_1"));
	make_due(SLICE("RM_2"));
	make_due(SLICE("RM_3"));
	sweeper_run(&fake_writer, false);
	assert_true(fake_call_of("RM_1")->row.verdict.n > 2);
	assert_int_equal(fake_call_of("RM_2")->row.verdict.n, 2);
	assert_true(fake_call_of("RM_3")->row.verdict.n > 2);
	assert_true(fake_writer.up);
	assert_true(fake_writer.sweep_at_ns > clock_mono_ns() + 30000000000);
}

static void a_store_that_fails_meanwhile_is_down(void **state)
{
	(void)state;
	PROCESS(started("EV_1", "RM_1"));
	make_due(SLICE("RM_1"));
	fake.load_error = OC_DOWN;
	int64_t next = sweeper_run(&fake_writer, false);
	assert_false(fake_writer.up);
	assert_int_equal(next, fake_writer.probe_at_ns);
}

static void while_the_store_is_down_it_only_probes(void **state)
{
	(void)state;
	fake.load_error = OC_DOWN;
	PROCESS(started("EV_1", "RM_1"));
	unsigned loads = fake.loads;
	sweeper_run(&fake_writer, false);
	assert_int_equal(fake.loads, loads);
	fake_writer.probe_at_ns = 0;
	sweeper_run(&fake_writer, false);
	assert_int_equal(fake.loads, loads + 1);
	assert_int_equal(fake.due_asked, 0);
	fake.load_error = 0;
	fake_writer.probe_at_ns = 0;
	sweeper_run(&fake_writer, false);
	assert_true(fake_writer.up);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, fake_setup, fake_teardown)
	const struct CMUnitTest tests[] = {
		CASE(a_due_call_is_judged_again),
		CASE(it_sweeps_at_its_interval),
		CASE(the_counts_become_gauges),
		CASE(a_log_that_cannot_be_emptied_is_said_once_for_each_time_that_it_grew),
		CASE(a_call_that_is_refused_does_not_keep_the_others_from_being_judged),
		CASE(a_store_that_fails_meanwhile_is_down),
		CASE(while_the_store_is_down_it_only_probes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
