/* core/rules.c: matching, SIP codes, and what a row needs. */
#include "core_fixture.h"

#include "core/rules.h"

static const struct rule_case ANSWERED = {
	.direction = RULE_OUT, .answer = ANSWER_YES, .reason = RULE_REASON(REASON_CLIENT_INITIATED), .status = RULE_STATUS(STATUS_HANGUP),
	.elapsed_s = 20,
};

static void a_row_fits_only_when_each_of_its_conditions_does(void **state)
{
	(void)state;
	struct rule r = { .direction = RULE_OUT, .answer = ANSWER_YES, .reason = RULE_REASON(REASON_CLIENT_INITIATED),
		.status = RULE_STATUS(STATUS_HANGUP), .min_s = 10, .max_s = 30 };
	assert_true(rule_fits(&r, &ANSWERED));
	struct rule_case c = ANSWERED;
	c.direction = RULE_IN;
	assert_false(rule_fits(&r, &c));
	c = ANSWERED;
	c.answer = ANSWER_NO;
	assert_false(rule_fits(&r, &c));
	c = ANSWERED;
	c.reason = RULE_NO_LEAVE;
	assert_false(rule_fits(&r, &c));
	c = ANSWERED;
	c.status = RULE_STATUS(STATUS_ACTIVE);
	assert_false(rule_fits(&r, &c));
}

static void limits_of_time_include_their_ends_and_want_a_known_time(void **state)
{
	(void)state;
	struct rule r = { .direction = RULE_OUT, .answer = ANSWER_YES, .reason = ~0u, .status = ~0u, .min_s = 31, .max_s = 33 };
	static const struct {
		int64_t elapsed_s;
		bool fits;
	} WANT[] = { { -1, false }, { 30, false }, { 31, true }, { 33, true }, { 34, false } };
	for (size_t i = 0; i < 5; i++) {
		struct rule_case c = ANSWERED;
		c.elapsed_s = WANT[i].elapsed_s;
		assert_int_equal(rule_fits(&r, &c), WANT[i].fits);
	}
	struct rule short_one = { .direction = RULE_OUT, .answer = ANSWER_YES, .reason = ~0u, .status = ~0u, .max_s = 13 };
	struct rule_case unknown = ANSWERED;
	unknown.elapsed_s = -1;
	assert_false(rule_fits(&short_one, &unknown));
}

static void flags_and_codes_must_be_there_where_a_row_asks_for_them(void **state)
{
	(void)state;
	struct rule r = { .direction = RULE_OUT, .answer = ANSWER_YES, .reason = ~0u, .status = ~0u, .codes = 1u << CODE_BUSY,
		.flags = FLAG_MACHINE };
	struct rule_case c = ANSWERED;
	assert_false(rule_fits(&r, &c));
	c.code = CODE_BUSY;
	assert_false(rule_fits(&r, &c));
	c.flags = FLAG_MACHINE | FLAG_TRANSFERRED;
	assert_true(rule_fits(&r, &c));
}

static void each_need_says_what_is_missing_and_what_it_could_have_been(void **state)
{
	(void)state;
	for (unsigned i = 0; i < NEED_COUNT; i++) {
		assert_true(strlen(rules_need(i)->text) > 10);
		assert_int_not_equal(rules_need(i)->instead.outcome, OUTCOME_NONE);
	}
}

static void each_flag_has_its_words(void **state)
{
	(void)state;
	assert_int_equal(1 << FLAG_AGENT_ERROR_AT, FLAG_AGENT_ERROR);
	assert_non_null(rules_flag_text(FLAG_AGENT_ERROR_AT));
	assert_non_null(rules_flag_text(FLAG_ROOM_FAILED_AT));
	assert_null(rules_flag_text(FLAG_ROOM_FAILED_AT + 1));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_row_fits_only_when_each_of_its_conditions_does),
		cmocka_unit_test(limits_of_time_include_their_ends_and_want_a_known_time),
		cmocka_unit_test(flags_and_codes_must_be_there_where_a_row_asks_for_them),
		cmocka_unit_test(each_need_says_what_is_missing_and_what_it_could_have_been),
		cmocka_unit_test(each_flag_has_its_words),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
