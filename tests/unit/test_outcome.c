/* A call as it is shown: flat, each member once, the same members whatever is known. Read back with jansson, which refuses members that are
 * there twice. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <jansson.h>
#include <string.h>

#include "http/internal.h"

static const char verdict[] = "{\"outcome\":\"busy\",\"reason\":\"busy\",\"confidence\":\"likely\",\"alternatives\":[],\"fault\":\"callee\",\"evidence\":[],"
			      "\"rule\":\"r\",\"rules\":1,\"rawOutcome\":\"busy\",\"explanation\":\"It was busy.\",\"answeredAt\":null,\"answeredAtEarliest\":null,"
			      "\"answeredAtLatest\":null,\"answeredSource\":null,\"ringSeconds\":3,\"talkSeconds\":null}";

static struct call_view view(void)
{
	return (struct call_view){ .id = SLICE("row-1"), .user_id = SLICE("acme"), .room_name = SLICE("r\"\n"), .room_sid = SLICE("RM_1"),
				   .status = SLICE("ended"), .outcome = SLICE("busy"), .duration_s = -1, .started_at_ms = 1795353139123,
				   .verdict = slice_cstr(verdict), .revision = 2 };
}

static json_t *written(const struct call_view *v)
{
	_cleanup_buf_ struct buf b = BUF_INIT;
	struct jsonw w = JSONW(&b);
	call_write(v, &w);
	assert_false(buf_failed(&b));
	json_t *o = json_loadb(b.p, b.n, JSON_REJECT_DUPLICATES, NULL);
	assert_non_null(o);
	return o;
}

static const char *text(json_t *o, const char *key) { return json_string_value(json_object_get(o, key)); }

static void columns_and_verdict_lie_flat_beside_each_other(void **state)
{
	(void)state;
	struct call_view v = view();
	json_t *o = written(&v);
	assert_string_equal(text(o, "id"), "row-1");
	assert_string_equal(text(o, "userId"), "acme");
	assert_string_equal(text(o, "livekitRoomName"), "r\"\n");
	assert_string_equal(text(o, "livekitRoomSid"), "RM_1");
	assert_string_equal(text(o, "startedAt"), "2026-11-22T13:12:19.123Z");
	assert_string_equal(text(o, "outcome"), "busy");
	assert_string_equal(text(o, "explanation"), "It was busy.");
	assert_int_equal(json_integer_value(json_object_get(o, "revision")), 2);
	json_decref(o);
}

static void what_is_unknown_is_null_not_missing(void **state)
{
	(void)state;
	static const char *const null[] = { "direction", "phoneNumber", "sipCallId", "duration", "endedAt", "recordingUrl", "metadata", "createdAt", "updatedAt" };
	struct call_view v = view();
	json_t *o = written(&v);
	for (size_t i = 0; i < sizeof null / sizeof null[0]; i++)
		assert_true(json_is_null(json_object_get(o, null[i])));
	json_decref(o);
}

static void zero_seconds_are_a_duration(void **state)
{
	(void)state;
	struct call_view v = view();
	v.duration_s = 0;
	json_t *o = written(&v);
	assert_true(json_is_integer(json_object_get(o, "duration")));
	json_decref(o);
}

static void the_hosts_own_columns_are_there_only_where_it_has_them(void **state)
{
	(void)state;
	struct call_view v = view();
	json_t *o = written(&v);
	assert_null(json_object_get(o, "agentConfigId"));
	assert_null(json_object_get(o, "cost"));
	json_decref(o);
	v.agent_config_id = SLICE("null");
	v.cost = SLICE("0.125");
	v.metadata = SLICE("{\"a\":[1]}");
	o = written(&v);
	assert_true(json_is_null(json_object_get(o, "agentConfigId")));
	assert_true(json_real_value(json_object_get(o, "cost")) > 0.12);
	assert_true(json_is_object(json_object_get(o, "metadata")));
	json_decref(o);
}

static void a_row_that_was_never_judged_has_the_same_members(void **state)
{
	(void)state;
	struct call_view judged = view(), never = view();
	never.verdict = SLICE_NONE;
	never.revision = 0;
	json_t *o = written(&judged), *n = written(&never);
	const char *key;
	json_t *value;
	json_object_foreach(o, key, value)
		assert_non_null(json_object_get(n, key));
	assert_int_equal(json_object_size(o), json_object_size(n));
	assert_string_equal(text(n, "outcome"), "busy"); /* the column's */
	assert_true(json_is_null(json_object_get(n, "reason")));
	json_decref(o);
	json_decref(n);
}

static void a_verdict_and_a_null_one_have_the_members_of_core(void **state)
{
	(void)state;
	struct verdict open = { .duration_s = -1, .ring_seconds = -1, .talk_seconds = -1 };
	_cleanup_buf_ struct buf b = BUF_INIT;
	struct jsonw w = JSONW(&b);
	jw_obj(&w);
	verdict_write_members(&open, &w);
	jw_obj_end(&w);
	json_t *core = json_loadb(b.p, b.n, JSON_REJECT_DUPLICATES, NULL);
	assert_non_null(core);
	struct call_view never = view();
	never.verdict = SLICE_NONE;
	json_t *shown = written(&never);
	const char *key;
	json_t *value;
	json_object_foreach(core, key, value)
		assert_non_null(json_object_get(shown, key));
	json_decref(core);
	json_decref(shown);
}

static void a_missing_call_and_an_error_are_told_apart(void **state)
{
	(void)state;
	static const struct {
		int result;
		unsigned status;
	} cases[] = { { OC_OK, 200 }, { OC_NOT_FOUND, 404 }, { OC_DOWN, 503 }, { OC_TIMEOUT, 503 }, { OC_DENIED, 503 } };
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct outcome_query q = { .result = cases[i].result, .view = view() };
		struct reply r = { 0 };
		outcome_reply(&q, &r);
		assert_int_equal(r.status, cases[i].status);
		assert_int_equal((r.flags & REPLY_RETRY) != 0, cases[i].status == 503);
		assert_int_equal((r.flags & REPLY_NO_STORE) != 0, cases[i].status != 503);
		buf_done(&r.body);
	}
}

static void a_problem_is_what_rfc_9457_says(void **state)
{
	(void)state;
	struct reply r = { 0 };
	reply_problem_set(&r, 404, "Call not found", "there is no such call", 0);
	json_t *o = json_loadb(r.body.p, r.body.n, JSON_REJECT_DUPLICATES, NULL);
	assert_string_equal(text(o, "type"), "about:blank");
	assert_string_equal(text(o, "title"), "Not Found");
	assert_string_equal(text(o, "error"), "Call not found");
	assert_int_equal(json_integer_value(json_object_get(o, "status")), 404);
	assert_string_equal(r.content_type, "application/problem+json; charset=utf-8");
	json_decref(o);
	buf_done(&r.body);
}

static void a_page_of_calls_has_a_cursor_only_when_there_are_more(void **state)
{
	(void)state;
	_cleanup_arena_ struct arena *a = arena_new(1024);
	struct call_view calls[2] = { view(), view() };
	struct list_filter f = { .tenant = SLICE("acme"), .limit = 2 };
	for (int more = 0; more <= 1; more++) {
		struct reply r = { 0 };
		list_reply(&f, calls, 2, more, a, &r);
		json_t *o = json_loadb(r.body.p, r.body.n, JSON_REJECT_DUPLICATES, NULL);
		assert_int_equal(json_array_size(json_object_get(o, "calls")), 2);
		assert_int_equal(json_is_string(json_object_get(o, "nextCursor")), more);
		assert_int_equal(r.status, 200);
		json_decref(o);
		buf_done(&r.body);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(columns_and_verdict_lie_flat_beside_each_other),
		cmocka_unit_test(what_is_unknown_is_null_not_missing),
		cmocka_unit_test(zero_seconds_are_a_duration),
		cmocka_unit_test(the_hosts_own_columns_are_there_only_where_it_has_them),
		cmocka_unit_test(a_row_that_was_never_judged_has_the_same_members),
		cmocka_unit_test(a_verdict_and_a_null_one_have_the_members_of_core),
		cmocka_unit_test(a_missing_call_and_an_error_are_told_apart),
		cmocka_unit_test(a_problem_is_what_rfc_9457_says),
		cmocka_unit_test(a_page_of_calls_has_a_cursor_only_when_there_are_more),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
