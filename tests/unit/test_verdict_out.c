/* core/verdict_out.c: names, the JSON members, the made part of docs/VERDICTS.md. */
#include "core_fixture.h"

#include <jansson.h>

static json_t *members(struct verdict v)
{
	_cleanup_buf_ struct buf b = BUF_INIT;
	struct jsonw w = JSONW(&b);
	jw_obj(&w);
	verdict_write_members(&v, &w);
	jw_obj_end(&w);
	json_t *j = json_loadb(b.p, b.n, JSON_REJECT_DUPLICATES, NULL);
	assert_non_null(j);
	return j;
}

static const char *text(json_t *j, const char *key) { return json_string_value(json_object_get(j, key)); }

static void the_members_of_a_verdict_are_these_in_this_order(void **state)
{
	(void)state;
	static const char *const KEYS[] = { "outcome", "reason", "confidence", "alternatives", "fault", "evidence", "rule", "rules", "rawOutcome", "explanation",
		"answeredAt", "answeredAtEarliest", "answeredAtLatest", "answeredSource", "ringSeconds", "talkSeconds" };
	_cleanup_history_ struct history *h = history_new();
	dial_and_end(h, REASON_USER_REJECTED, STATUS_DIALING, false, 700);
	json_t *j = members(verdict_at(h, FAR_FUTURE));
	size_t i = 0;
	const char *key;
	json_t *value;
	json_object_foreach(j, key, value)
		assert_string_equal(key, KEYS[i++]);
	assert_int_equal(i, sizeof KEYS / sizeof KEYS[0]);
	assert_string_equal(text(j, "outcome"), "busy");
	assert_string_equal(text(j, "reason"), "rejected_ambiguous");
	assert_string_equal(text(j, "confidence"), "ambiguous");
	assert_string_equal(text(j, "fault"), "unknown");
	assert_int_equal(json_integer_value(json_object_get(j, "rules")), VERDICT_RULES_VERSION);
	json_t *first = json_array_get(json_object_get(j, "alternatives"), 0);
	assert_string_equal(text(first, "outcome"), "failed");
	assert_string_equal(text(first, "reason"), "auth_or_forbidden");
	json_t *evidence = json_array_get(json_object_get(j, "evidence"), 0);
	assert_string_equal(text(evidence, "says"), "USER_REJECTED while dialing");
	assert_string_equal(text(evidence, "eventId"), "EV_005");
	json_decref(j);
}

static void an_open_call_has_nulls_and_empty_lists(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	dial(h);
	json_t *j = members(verdict_at(h, T0));
	static const char *const NULLS[] = { "outcome", "reason", "confidence", "fault", "rule", "explanation", "answeredAt", "answeredAtEarliest",
		"answeredAtLatest", "answeredSource", "ringSeconds", "talkSeconds" };
	for (size_t i = 0; i < sizeof NULLS / sizeof NULLS[0]; i++)
		assert_true(json_is_null(json_object_get(j, NULLS[i])));
	assert_int_equal(json_array_size(json_object_get(j, "alternatives")), 0);
	assert_int_equal(json_array_size(json_object_get(j, "evidence")), 0);
	json_decref(j);
}

static void times_are_rfc_3339_and_seconds_are_numbers(void **state)
{
	(void)state;
	json_t *j = members((struct verdict){ .outcome = OUTCOME_COMPLETED, .answered_at_ms = INT64_C(1795352849123), .ring_seconds = 0,
		.talk_seconds = 61, .answered_source = SLICE("dialer") });
	assert_string_equal(text(j, "answeredAt"), "2026-11-22T13:07:29.123Z");
	assert_string_equal(text(j, "answeredSource"), "dialer");
	assert_int_equal(json_integer_value(json_object_get(j, "ringSeconds")), 0);
	assert_int_equal(json_integer_value(json_object_get(j, "talkSeconds")), 61);
	json_decref(j);
}

static void the_names_are_those_of_the_tables(void **state)
{
	(void)state;
#define X(name, e) \
	assert_string_equal(outcome_name(e), name); \
	assert_int_equal(outcome_from_name(SLICE(name)), e);
	OUTCOMES(X)
#undef X
#define X(name, e) assert_string_equal(confidence_name(e), name);
	CONFIDENCES(X)
#undef X
#define X(name, e) assert_string_equal(fault_name(e), name);
	FAULTS(X)
#undef X
#define X(name, e, meaning) assert_string_equal(verdict_reason_name(e), name);
	REASONS(X)
#undef X
	assert_null(outcome_name(OUTCOME_NONE));
	assert_null(confidence_name(CONFIDENCE_NONE));
	assert_null(verdict_reason_name(VERDICT_REASON_NONE));
	assert_int_equal(outcome_from_name(SLICE("Busy")), OUTCOME_NONE);
	assert_string_equal(direction_name(DIRECTION_INBOUND), "inbound");
	assert_string_equal(direction_name(DIRECTION_OUTBOUND), "outbound");
	assert_string_equal(direction_name(DIRECTION_WEB), "web");
	assert_null(direction_name(DIRECTION_UNKNOWN));
	assert_string_equal(call_status_name(CALL_ACTIVE), "active");
	assert_string_equal(call_status_name(CALL_ENDED), "ended");
}

/* The program runs in the source's root, as the test runner starts it. */
static void the_made_part_of_the_document_is_up_to_date(void **state)
{
	(void)state;
	static char page[256 * 1024];
	FILE *f = fopen("docs/VERDICTS.md", "r");
	assert_non_null(f);
	size_t n = fread(page, 1, sizeof page - 1, f);
	(void)fclose(f);
	page[n] = '\0';
	_cleanup_buf_ struct buf b = BUF_INIT;
	verdict_write_docs(&b);
	buf_putc(&b, '\0');
	assert_false(buf_failed(&b));
	if (!strstr(page, b.p))
		fail_msg("docs/VERDICTS.md is older than the rules: put what `outcomed docs verdicts` prints between its markers");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_members_of_a_verdict_are_these_in_this_order),
		cmocka_unit_test(an_open_call_has_nulls_and_empty_lists),
		cmocka_unit_test(times_are_rfc_3339_and_seconds_are_numbers),
		cmocka_unit_test(the_names_are_those_of_the_tables),
		cmocka_unit_test(the_made_part_of_the_document_is_up_to_date),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
