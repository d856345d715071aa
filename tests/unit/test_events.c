/* The journal of a call as it is answered: the columns by their names, bytes that are no JSON, the last page. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <jansson.h>
#include <string.h>

#include "http/internal.h"

static json_t *read_back(struct reply *r)
{
	json_t *o = json_loadb(r->body.p, r->body.n, JSON_REJECT_DUPLICATES, NULL);
	assert_non_null(o);
	buf_done(&r->body);
	return o;
}

static void a_row_of_the_journal_has_its_columns_by_their_names(void **state)
{
	(void)state;
	_cleanup_arena_ struct arena *a = arena_new(1024);
	const struct events_query q = { .tenant = SLICE("acme"), .call_id = SLICE("RM_1"), .limit = 2 };
	struct event_view rows[2] = {
		{ .id = SLICE("7"), .position = 7, .event_id = SLICE("EV_1"), .event = SLICE("room_started"), .payload = SLICE("{\"a\": [1]}"), .processed = true,
		  .timestamp_s = 1795352846, .created_at_ms = 1795352846000 },
		{ .id = SLICE("\"uuid\""), .event_id = SLICE("EV_2"), .event = SLICE("unknown"), .raw_body = SLICE("\0\xff"), .error_message = SLICE("not JSON") },
	};
	struct reply r = { 0 };
	assert_int_equal(events_reply(OC_OK, &q, rows, 2, true, a, &r), OC_OK);
	assert_int_equal(r.status, 200);
	json_t *o = read_back(&r), *one = json_array_get(json_object_get(o, "events"), 0), *two = json_array_get(json_object_get(o, "events"), 1);
	assert_true(json_is_string(json_object_get(o, "nextCursor")));
	static const char *const columns[] = { "id", "userId", "callLogId", "eventId", "event", "roomName", "roomSid", "participantIdentity", "participantSid",
		"timestamp", "rawPayload", "rawBody", "processed", "errorMessage", "createdAt", "processedAt", "source", "bodyHash", "keyId", "sipCallId" };
	assert_int_equal(json_object_size(one), sizeof columns / sizeof columns[0]);
	for (size_t i = 0; i < sizeof columns / sizeof columns[0]; i++)
		assert_non_null(json_object_get(two, columns[i]));
	assert_int_equal(json_integer_value(json_object_get(one, "id")), 7);
	assert_int_equal(json_integer_value(json_object_get(one, "processed")), 1);
	assert_true(json_is_object(json_object_get(one, "rawPayload")));
	assert_true(json_is_null(json_object_get(two, "rawPayload")) && json_is_null(json_object_get(two, "timestamp")));
	assert_string_equal(json_string_value(json_object_get(two, "rawBody")), "AP8=");
	json_decref(o);
}

static void the_last_page_of_events_has_no_cursor(void **state)
{
	(void)state;
	_cleanup_arena_ struct arena *a = arena_new(1024);
	const struct events_query q = { .tenant = SLICE("acme"), .call_id = SLICE("RM_1"), .limit = 2 };
	struct reply r = { 0 };
	assert_int_equal(events_reply(OC_OK, &q, NULL, 0, false, a, &r), OC_OK);
	assert_true(slice_eq_cstr(buf_slice(&r.body), "{\"events\":[],\"nextCursor\":null}"));
	buf_done(&r.body);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_row_of_the_journal_has_its_columns_by_their_names),
		cmocka_unit_test(the_last_page_of_events_has_no_cursor),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
