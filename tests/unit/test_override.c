/* core/override.c: a team's own words, beside those of the rules. */
#include "core_fixture.h"

#include "core/override.h"

static const struct override ITEMS[] = {
	{ VERDICT_DECLINED, { NULL, 0 }, OUTCOME_NO_ANSWER },
	{ VERDICT_DECLINED, { "acme", 4 }, OUTCOME_FAILED },
	{ VERDICT_MACHINE, { "acme", 4 }, OUTCOME_NO_ANSWER },
};
static const struct overrides OVERRIDES = { ITEMS, sizeof ITEMS / sizeof ITEMS[0] };

static enum outcome counted_as(const struct overrides *o, const char *tenant, enum verdict_reason why, enum outcome raw)
{
	struct verdict v = { .outcome = raw, .raw_outcome = raw, .reason = why };
	override_apply(o, slice_cstr(tenant), &v);
	assert_int_equal(v.raw_outcome, raw);
	assert_int_equal(v.reason, why);
	return v.outcome;
}

static void a_tenants_own_word_beats_the_one_for_all(void **state)
{
	(void)state;
	assert_int_equal(counted_as(&OVERRIDES, "acme", VERDICT_DECLINED, OUTCOME_BUSY), OUTCOME_FAILED);
	assert_int_equal(counted_as(&OVERRIDES, "other", VERDICT_DECLINED, OUTCOME_BUSY), OUTCOME_NO_ANSWER);
	assert_int_equal(counted_as(&OVERRIDES, NULL, VERDICT_DECLINED, OUTCOME_BUSY), OUTCOME_NO_ANSWER);
	assert_int_equal(counted_as(&OVERRIDES, "acme", VERDICT_MACHINE, OUTCOME_COMPLETED), OUTCOME_NO_ANSWER);
	assert_int_equal(counted_as(&OVERRIDES, NULL, VERDICT_MACHINE, OUTCOME_COMPLETED), OUTCOME_COMPLETED);
}

static void what_nobody_overrides_stays(void **state)
{
	(void)state;
	assert_int_equal(counted_as(&OVERRIDES, "acme", VERDICT_BUSY, OUTCOME_BUSY), OUTCOME_BUSY);
	assert_int_equal(counted_as(NULL, "acme", VERDICT_DECLINED, OUTCOME_BUSY), OUTCOME_BUSY);
}

static void an_open_call_has_no_outcome(void **state)
{
	(void)state;
	assert_int_equal(counted_as(&OVERRIDES, "acme", VERDICT_REASON_NONE, OUTCOME_NONE), OUTCOME_NONE);
}

static void without_overrides_the_raw_outcome_is_the_outcome(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	dial(h);
	assert_int_equal(verdict_at(h, T0).raw_outcome, OUTCOME_NONE);
	leaves(h, &CALLEE, REASON_USER_REJECTED, STATUS_RINGING, false, 2000);
	agent_goes(h, 3000);
	assert_int_equal(verdict_at(h, FAR_FUTURE).raw_outcome, OUTCOME_BUSY);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_tenants_own_word_beats_the_one_for_all),
		cmocka_unit_test(what_nobody_overrides_stays),
		cmocka_unit_test(an_open_call_has_no_outcome),
		cmocka_unit_test(without_overrides_the_raw_outcome_is_the_outcome),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
