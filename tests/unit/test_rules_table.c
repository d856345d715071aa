/* core/rules_table.c as a whole: every row can fire, every case has a row, and what a row says is consistent. */
#include "core_fixture.h"

#include "core/rules.h"

/* Everything a case can be, but for the flags and the code, which come from the row in question. */
typedef void (*case_fn)(const struct rule_case *c, void *context);

static void each_case(unsigned flags, enum code_class code, case_fn fn, void *context)
{
	static const int64_t ELAPSED[] = { -1, 0, 5, 13, 14, 31, 33, 34, 45, 46, 178, 182, 183, 190, 4000 };
	for (unsigned d = RULE_OUT; d <= RULE_PHONE; d <<= 1)
		for (unsigned a = ANSWER_NO; a <= ANSWER_YES; a <<= 1)
			for (unsigned r = 0; r <= REASON_AGENT_ERROR + 1; r++)
				for (unsigned s = STATUS_NONE; s <= STATUS_HANGUP; s++)
					for (size_t e = 0; e < sizeof ELAPSED / sizeof ELAPSED[0]; e++) {
						struct rule_case c = { .direction = d, .answer = (enum answer)a, .status = RULE_STATUS(s),
							.reason = r > REASON_AGENT_ERROR ? RULE_NO_LEAVE : RULE_REASON(r), .elapsed_s = ELAPSED[e],
							.flags = flags, .code = code };
						fn(&c, context);
					}
}

struct search {
	const struct rule *row;
	bool found;
};

static void look_for_row(const struct rule_case *c, void *context)
{
	struct search *s = context;
	s->found |= rule_fits(s->row, c) && rules_match(c) == s->row;
}

static void every_row_can_fire(void **state)
{
	(void)state;
	size_t n;
	const struct rule *rows = rules_table(&n);
	for (size_t i = 0; i < n; i++) {
		struct search s = { .row = &rows[i] };
		enum code_class code = CODE_NONE;
		while (rows[i].codes && !(rows[i].codes & 1u << code))
			code++;
		each_case(rows[i].flags, code, look_for_row, &s);
		if (!s.found)
			fail_msg("the row %s can never fire: rows before it take all its cases", rows[i].name);
	}
}

static void must_fit(const struct rule_case *c, void *context)
{
	long *count = context;
	const struct rule *r = rules_match(c);
	(*count)++;
	if (!rule_fits(r, c))
		fail_msg("direction %x answer %d reason %x status %x fits no row", c->direction, (int)c->answer, c->reason, c->status);
}

static void every_case_has_a_row_that_fits(void **state)
{
	(void)state;
	long count = 0;
	for (unsigned flag = 0; rules_flag_text(flag); flag++)
		each_case(1u << flag, CODE_NONE, must_fit, &count);
	for (unsigned code = CODE_NONE; code <= CODE_OTHER; code++)
		each_case(0, (enum code_class)code, must_fit, &count);
	assert_true(count > 100000);
}

static void every_row_says_all_it_must(void **state)
{
	(void)state;
	size_t n;
	const struct rule *rows = rules_table(&n);
	for (size_t i = 0; i < n; i++) {
		const struct rule *r = &rows[i];
		assert_non_null(outcome_name(r->outcome));
		assert_non_null(verdict_reason_name(r->why));
		assert_non_null(confidence_name(r->confidence));
		assert_non_null(fault_name(r->fault));
		assert_true(strlen(r->explanation) > 20);
		assert_int_equal(r->explanation[strlen(r->explanation) - 1], '.');
		for (size_t k = i + 1; k < n; k++)
			assert_string_not_equal(r->name, rows[k].name);
	}
}

static void only_certain_rows_need_anything_and_they_all_do(void **state)
{
	(void)state;
	size_t n;
	const struct rule *rows = rules_table(&n);
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(rows[i].needs != 0, rows[i].confidence == CONFIDENCE_CERTAIN);
		if (rows[i].needs)
			assert_true(rows[i].needs & NEED_LIMITS);
	}
}

static void ambiguous_rows_name_another_outcome(void **state)
{
	(void)state;
	size_t n;
	const struct rule *rows = rules_table(&n);
	for (size_t i = 0; i < n; i++) {
		bool other = false;
		for (size_t k = 0; k < RULE_ALTERNATIVES && rows[i].alternatives[k].outcome; k++) {
			assert_non_null(verdict_reason_name(rows[i].alternatives[k].reason));
			other |= rows[i].alternatives[k].outcome != rows[i].outcome;
		}
		if (rows[i].confidence == CONFIDENCE_AMBIGUOUS && !other)
			fail_msg("%s is ambiguous between what?", rows[i].name);
		if (rows[i].confidence == CONFIDENCE_CERTAIN)
			assert_int_equal(rows[i].alternatives[0].outcome, OUTCOME_NONE);
	}
}

static void every_reason_is_used_or_open_to_witnesses_and_documented(void **state)
{
	(void)state;
	size_t n;
	const struct rule *rows = rules_table(&n);
	_cleanup_buf_ struct buf docs = BUF_INIT;
	verdict_write_docs(&docs);
	assert_false(buf_failed(&docs));
	for (size_t i = 0; i < n; i++) {
		char row[80];
		(void)snprintf(row, sizeof row, "| `%s` |", rows[i].name);
		assert_non_null(memmem(docs.p, docs.n, row, strlen(row)));
	}
#define X(name, e, text) \
	assert_non_null(memmem(docs.p, docs.n, "| `" name "` |", strlen("| `" name "` |"))); \
	assert_true(sizeof text > 10);
	REASONS(X)
#undef X
}

static void a_leg_that_was_answered_is_never_busy_or_unanswered_for_certain(void **state)
{
	(void)state;
	size_t n;
	const struct rule *rows = rules_table(&n);
	for (size_t i = 0; i < n; i++)
		if ((rows[i].answer & ANSWER_YES) && rows[i].confidence == CONFIDENCE_CERTAIN)
			assert_int_equal(rows[i].outcome, OUTCOME_COMPLETED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_row_can_fire),
		cmocka_unit_test(every_case_has_a_row_that_fits),
		cmocka_unit_test(every_row_says_all_it_must),
		cmocka_unit_test(only_certain_rows_need_anything_and_they_all_do),
		cmocka_unit_test(ambiguous_rows_name_another_outcome),
		cmocka_unit_test(every_reason_is_used_or_open_to_witnesses_and_documented),
		cmocka_unit_test(a_leg_that_was_answered_is_never_busy_or_unanswered_for_certain),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
