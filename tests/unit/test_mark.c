/* wire/mark.c: what a posted mark may say, how it is refused, its id, and that the canonical JSON reads back as the same event. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <jansson.h>

#include "wire/mark.h"

static struct arena *arena;

static int make_arena(void **state)
{
	(void)state;
	arena = arena_new(16384);
	return arena ? 0 : -1;
}

static int free_arena(void **state)
{
	(void)state;
	arena_free(arena);
	return 0;
}

static struct event posted(const char *body)
{
	struct event e = { .type = EVENT_UNKNOWN };
	struct slice message = SLICE("no message");
	int r = mark_parse(slice_cstr(body), arena, &e, &message);
	if (r != 0)
		fail_msg("%s: %.*s", body, SLICE_FMT(message));
	return e;
}

static void assert_refused(const char *body, const char *message)
{
	struct event e = { .created_at_s = 42 };
	struct slice got = SLICE_NONE;
	assert_int_equal(mark_parse(slice_cstr(body), arena, &e, &got), OC_INVALID);
	assert_string_equal(arena_dup(arena, got), message);
	assert_int_equal(e.created_at_s, 42);
}

#define assert_text(actual, expected) assert_string_equal(arena_dup(arena, (actual)), (expected))

/* ---- what is taken ---- */

static void a_dialers_refusal_is_read_whole(void **state)
{
	(void)state;
	struct event e = posted("{\"roomName\":\"sales-42\",\"kind\":\"sip_result\",\"source\":\"dialer\",\"sipCode\":486,\"sipText\":\"Busy Here\","
		"\"at\":\"2026-11-22T15:12:19.250+02:00\"}");
	assert_int_equal(e.type, EVENT_MARK);
	assert_text(e.type_name, "mark");
	assert_text(e.room.name, "sales-42");
	assert_true(slice_is_none(e.room.sid) && slice_is_none(e.id) && slice_is_none(e.mark.call_id));
	assert_int_equal(e.mark.kind, MARK_SIP_RESULT);
	assert_int_equal(e.mark.source, MARK_SOURCE_DIALER);
	assert_int_equal(e.mark.sip_code, 486);
	assert_text(e.mark.sip_text, "Busy Here");
	assert_true(e.mark.at_ms == 1795353139250);
}

static void each_kind_has_its_name(void **state)
{
	(void)state;
	assert_int_equal(posted("{\"roomSid\":\"RM_1\",\"kind\":\"answered\"}").mark.kind, MARK_ANSWERED);
	assert_int_equal(posted("{\"roomSid\":\"RM_1\",\"kind\":\"transferred\",\"value\":\"desk\"}").mark.kind, MARK_TRANSFERRED);
	assert_int_equal(posted("{\"roomSid\":\"RM_1\",\"kind\":\"ended\"}").mark.kind, MARK_ENDED);
	assert_int_equal(posted("{\"roomSid\":\"RM_1\",\"kind\":\"note\",\"value\":\"x\"}").mark.kind, MARK_NOTE);
	assert_int_equal(posted("{\"roomSid\":\"RM_1\",\"kind\":\"machine\"}").mark.kind, MARK_MACHINE);
}

static void the_kind_may_be_said_by_what_it_would_say(void **state)
{
	(void)state;
	assert_int_equal(posted("{\"roomSid\":\"RM_1\",\"sipCode\":603}").mark.kind, MARK_SIP_RESULT);
	assert_int_equal(posted("{\"roomSid\":\"RM_1\",\"sipText\":\"sip request timed out\"}").mark.kind, MARK_SIP_RESULT);
	struct event e = posted("{\"roomSid\":\"RM_1\",\"answeredAt\":\"2026-11-22T13:12:19.250Z\"}");
	assert_int_equal(e.mark.kind, MARK_ANSWERED);
	assert_true(e.mark.at_ms == 1795353139250);
	assert_true(posted("{\"roomSid\":\"RM_1\",\"kind\":\"answered\",\"at\":\"2026-11-22T13:12:19Z\",\"answeredAt\":\"2026-11-22T13:12:19Z\"}").mark.at_ms == 1795353139000);
}

static void a_source_that_is_not_said_is_the_app(void **state)
{
	(void)state;
	assert_int_equal(posted("{\"roomSid\":\"RM_1\",\"sipCode\":603}").mark.source, MARK_SOURCE_APP);
	assert_int_equal(posted("{\"roomSid\":\"RM_1\",\"sipCode\":603,\"source\":\"carrier\"}").mark.source, MARK_SOURCE_CARRIER);
	assert_int_equal(posted("{\"roomSid\":\"RM_1\",\"sipCode\":603,\"source\":\"agent\"}").mark.source, MARK_SOURCE_AGENT);
}

static void machine_and_human_are_two_kinds(void **state)
{
	(void)state;
	assert_int_equal(posted("{\"roomSid\":\"RM_1\",\"kind\":\"human\"}").mark.kind, MARK_HUMAN);
	assert_text(posted("{\"roomSid\":\"RM_1\",\"kind\":\"machine\",\"value\":\"voicemail\"}").mark.value, "voicemail");
	assert_refused("{\"roomSid\":\"RM_1\",\"kind\":\"machine\",\"value\":\"human\"}", "value human is a kind of its own");
}

static void a_leg_may_be_named_beside_the_call_or_alone(void **state)
{
	(void)state;
	struct event e = posted("{\"sipCallId\":\"SCL_1\",\"kind\":\"ended\"}");
	assert_text(e.mark.sip_call_id, "SCL_1");
	assert_true(slice_is_none(e.room.sid) && slice_is_none(e.room.name));
	e = posted("{\"sipCallId\":\"SCL_1\",\"roomSid\":\"RM_1\",\"kind\":\"ended\"}");
	assert_text(e.room.sid, "RM_1");
	e = posted("{\"sipCallId\":\"SCL_1\",\"callId\":\"c/7\",\"kind\":\"ended\"}");
	assert_text(e.mark.call_id, "c/7");
}

static void null_is_left_out(void **state)
{
	(void)state;
	struct event e = posted("{\"roomSid\":\"RM_1\",\"roomName\":null,\"callId\":null,\"sipCode\":486,\"kind\":null,\"at\":null,\"value\":null,\"sipText\":\"\"}");
	assert_int_equal(e.mark.kind, MARK_SIP_RESULT);
	assert_true(slice_is_none(e.room.name) && slice_is_none(e.mark.sip_text) && e.mark.at_ms == 0);
}

/* ---- what is refused ---- */

static void a_mark_must_name_one_call(void **state)
{
	(void)state;
	assert_refused("{\"sipCode\":486}", "the mark names no call: roomSid, roomName, callId or sipCallId must be there");
	const char *two = "roomSid, roomName and callId name the call: only one of them may be there";
	assert_refused("{\"sipCode\":486,\"roomSid\":\"RM_1\",\"roomName\":\"n\"}", two);
	assert_refused("{\"sipCode\":486,\"roomSid\":\"RM_1\",\"callId\":\"n\"}", two);
	assert_refused("{\"sipCode\":486,\"roomName\":\"RM_1\",\"callId\":\"n\"}", two);
	assert_refused("{\"sipCode\":486,\"roomSid\":\"\"}", "roomSid must be a text of 1 to 200 bytes");
	assert_refused("{\"sipCode\":486,\"roomSid\":7}", "roomSid must be a text of 1 to 200 bytes");
}

static void a_mark_must_say_something(void **state)
{
	(void)state;
	assert_refused("{}", "the mark names no call: roomSid, roomName, callId or sipCallId must be there");
	assert_refused("{\"roomSid\":\"RM_1\"}", "kind is missing, and neither sipCode, sipText nor answeredAt says it");
	assert_refused("{\"roomSid\":\"RM_1\",\"value\":\"x\"}", "kind is missing, and neither sipCode, sipText nor answeredAt says it");
	assert_refused("{\"roomSid\":\"RM_1\",\"kind\":\"note\"}", "value is missing: it is what kind note says");
	assert_refused("{\"roomSid\":\"RM_1\",\"kind\":\"sip_result\"}", "sipCode is missing, and sipText too: they are what kind sip_result says");
}

static void what_does_not_go_together_is_refused(void **state)
{
	(void)state;
	assert_refused("{\"roomSid\":\"RM_1\",\"kind\":\"ended\",\"sipCode\":486}", "sipCode goes with kind sip_result only");
	assert_refused("{\"roomSid\":\"RM_1\",\"kind\":\"answered\",\"sipText\":\"OK\"}", "sipText goes with kind sip_result only");
	assert_refused("{\"roomSid\":\"RM_1\",\"kind\":\"ended\",\"answeredAt\":\"2026-11-22T13:12:19Z\"}", "answeredAt goes with kind answered only");
	assert_refused("{\"roomSid\":\"RM_1\",\"sipCode\":200,\"answeredAt\":\"2026-11-22T13:12:19Z\"}", "answeredAt and a SIP result are two marks: post them one by one");
	assert_refused("{\"roomSid\":\"RM_1\",\"at\":\"2026-11-22T13:12:20Z\",\"answeredAt\":\"2026-11-22T13:12:19Z\"}", "at and answeredAt are two moments");
}

static void each_wrong_member_is_named(void **state)
{
	(void)state;
	const char *code = "sipCode must be a whole number from 100 to 699";
	static const char *const codes[] = { "\"486\"", "99", "700", "-486", "486.0", "4.86e2", "true", "[486]", "99999999999999999999" };
	for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
		char body[100];
		snprintf(body, sizeof body, "{\"roomSid\":\"RM_1\",\"sipCode\":%s}", codes[i]);
		assert_refused(body, code);
	}
	assert_refused("{\"roomSid\":\"RM_1\",\"kind\":\"Answered\"}", "kind must be one of answered, sip_result, machine, human, transferred, ended, note");
	assert_refused("{\"roomSid\":\"RM_1\",\"kind\":\"ended\",\"source\":\"watcher\"}", "source must be one of dialer, agent, carrier, app");
	assert_refused("{\"roomSid\":\"RM_1\",\"kind\":\"note\",\"value\":7}", "value must be a text of at most 2048 bytes");
	const char *at = "at must be a time as RFC 3339 writes it, such as 2026-11-22T13:12:19.250Z";
	static const char *const times[] = { "\"yesterday\"", "\"2026-11-22T13:12:19\"", "1795353139", "\"1969-12-31T23:59:59Z\"", "\"1970-01-01T00:00:00Z\"" };
	for (size_t i = 0; i < sizeof times / sizeof times[0]; i++) {
		char body[100];
		snprintf(body, sizeof body, "{\"roomSid\":\"RM_1\",\"kind\":\"ended\",\"at\":%s}", times[i]);
		assert_refused(body, at);
	}
}

static void a_member_that_a_mark_does_not_have_is_refused(void **state)
{
	(void)state;
	assert_refused("{\"roomSid\":\"RM_1\",\"sipcode\":486}", "sipcode is no member of a mark");
	assert_refused("{\"roomSid\":\"RM_1\",\"sipCode\":486,\"userId\":\"user-2\"}", "userId is no member of a mark");
	assert_refused("{\"roomSid\":\"RM_1\",\"sipCode\":486,\"withinMs\":5}", "withinMs is no member of a mark");
	assert_refused("{\"roomSid\":\"RM_1\",\"sipCode\":486,\"postedAt\":\"2026-11-22T13:12:19Z\"}", "postedAt is no member of a mark");
	assert_refused("{\"roomSid\":\"RM_1\",\"sipCode\":486,\"\":1}", "a member is no member of a mark");
	char body[400];
	memset(body, 'x', sizeof body);
	memcpy(body, "{\"roomSid\":\"RM_1\",\"", 19);
	memcpy(body + sizeof body - 5, "\":1}", 5);
	assert_refused(body, "a member is no member of a mark");
}

static void what_is_no_json_object_is_refused(void **state)
{
	(void)state;
	assert_refused("", "the body: not JSON");
	assert_refused("roomSid=RM_1", "the body: not JSON");
	assert_refused("[]", "the body must be a JSON object");
	assert_refused("{\"roomSid\":\"RM_1\",\"kind\":\"note\",\"value\":\"\\u0000\"}", "the body: a NUL character in a string");
	assert_refused("{\"sipCode\":486,\"sipCode\":200}", "the body: a name occurs twice in the object that ends here");
}

static void texts_have_limits(void **state)
{
	(void)state;
	for (int over = 0; over < 2; over++) {
		char body[2200], text[2050];
		size_t n = (size_t)(2048 + over);
		memset(text, 'n', n);
		text[n] = 0;
		snprintf(body, sizeof body, "{\"roomSid\":\"RM_1\",\"kind\":\"note\",\"value\":\"%s\"}", text);
		if (over)
			assert_refused(body, "value must be a text of at most 2048 bytes");
		else
			assert_int_equal(posted(body).mark.value.n, 2048);
		text[1024 + over] = 0;
		snprintf(body, sizeof body, "{\"roomName\":\"%s\",\"kind\":\"ended\"}", text);
		if (over)
			assert_refused(body, "roomName must be a text of 1 to 1024 bytes");
		else
			assert_int_equal(posted(body).room.name.n, 1024);
	}
}

/* ---- the canonical JSON ---- */

static const char whole[] = "{\"event\":\"mark\",\"kind\":\"sip_result\",\"source\":\"watcher\",\"at\":\"2026-11-22T13:12:19.250Z\",\"withinMs\":300,"
	"\"createdAt\":1795353140,\"postedAt\":\"2026-11-22T13:12:20.001Z\",\"roomSid\":\"RM_1\",\"roomName\":\"n\\\"\",\"callId\":\"c\","
	"\"sipCallId\":\"SCL_1\",\"sipCode\":486,\"sipText\":\"Busy\",\"value\":\"v\",\"userId\":\"user-1\"}";

static void every_member_is_written_and_read_back(void **state)
{
	(void)state;
	_cleanup_buf_ struct buf b = BUF_INIT;
	struct event e;
	assert_int_equal(mark_decode(slice_cstr(whole), arena, &e), 0);
	assert_true(e.mark.at_ms == 1795353139250 && e.mark.posted_ms == 1795353140001 && e.mark.within_ms == 300 && e.created_at_s == 1795353140);
	assert_int_equal(e.mark.source, MARK_SOURCE_WATCHER);
	assert_text(e.room.name, "n\"");
	assert_text(e.mark.tenant, "user-1");
	mark_encode(&e, &b);
	assert_text(buf_slice(&b), whole);
}

/* PostgreSQL's jsonb sorts members and puts blanks between them. */
static void the_order_of_the_members_does_not_matter(void **state)
{
	(void)state;
	json_t *j = json_loads(whole, 0, NULL);
	char *sorted = json_dumps(j, JSON_SORT_KEYS | JSON_INDENT(1));
	_cleanup_buf_ struct buf b = BUF_INIT;
	struct event e;
	assert_int_equal(mark_decode(slice_cstr(sorted), arena, &e), 0);
	mark_encode(&e, &b);
	assert_text(buf_slice(&b), whole);
	free(sorted);
	json_decref(j);
}

static void what_is_not_canonical_is_not_read(void **state)
{
	(void)state;
	static const char *const bad[] = { "", "{}", "{\"event\":\"mark\"}", "{\"event\":\"mark\",\"kind\":\"ended\"}", "{\"kind\":\"ended\",\"source\":\"app\"}",
		"{\"event\":\"room_started\",\"kind\":\"ended\",\"source\":\"app\"}", "{\"event\":\"mark\",\"kind\":\"ended\",\"source\":\"app\",\"more\":1}",
		"{\"event\":\"mark\",\"kind\":\"answered\",\"source\":\"app\",\"answeredAt\":\"2026-11-22T13:12:19Z\"}" };
	struct event e = { .created_at_s = 42 };
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_int_equal(mark_decode(slice_cstr(bad[i]), arena, &e), OC_INVALID);
	assert_int_equal(e.created_at_s, 42);
}

static void the_journal_gives_back_marks_and_webhooks(void **state)
{
	(void)state;
	const struct decode_options o = { .tenant_keys = NULL };
	struct decoded d;
	struct slice webhook = SLICE("{\"id\":\"EV_1\",\"event\":\"egress_ended\",\"createdAt\":\"7\",\"egressInfo\":{\"roomId\":\"RM_1\"}}");
	assert_int_equal(decode_kept(slice_cstr(whole), SLICE("mark"), SLICE("MK_1"), &o, arena, &d), 0);
	assert_int_equal(d.event.type, EVENT_MARK);
	assert_int_equal(d.cause, DECODE_OK);
	assert_text(d.event.id, "MK_1");
	assert_int_equal(decode_kept(webhook, SLICE("watcher"), SLICE("EV_2"), &o, arena, &d), 0);
	assert_int_equal(d.event.type, EVENT_EGRESS_ENDED);
	assert_text(d.event.id, "EV_2");
	/* A webhook that calls itself a mark is none. */
	assert_int_equal(decode_kept(slice_cstr(whole), SLICE("livekit"), SLICE("EV_3"), &o, arena, &d), 0);
	assert_int_equal(d.event.type, EVENT_UNKNOWN);
	assert_int_equal(decode_kept(SLICE("{\"event\":\"mark\"}"), SLICE("mark"), SLICE("MK_4"), &o, arena, &d), 0);
	assert_int_equal(d.cause, DECODE_WRONG_TYPE);
	assert_text(d.event.id, "MK_4");
	assert_int_equal(decode_kept(SLICE("torn"), SLICE("mark"), SLICE("MK_5"), &o, arena, &d), 0);
	assert_int_equal(d.cause, DECODE_NOT_JSON);
	assert_text(d.event.id, "MK_5");
}

/* ---- ids ---- */

static const char *id_of(const char *tenant, const char *key, const char *content)
{
	struct slice id;
	assert_int_equal(mark_id(slice_cstr(tenant), slice_cstr(key), slice_cstr(content), arena, &id), 0);
	assert_int_equal(id.n, 35);
	assert_true(slice_starts_with(id, SLICE("MK_")));
	return arena_dup(arena, id);
}

static void an_id_is_the_tenants_and_the_keys_or_the_contents(void **state)
{
	(void)state;
	assert_string_equal(id_of("a", "key", "x"), id_of("a", "key", "y"));
	assert_string_equal(id_of("a", NULL, "x"), id_of("a", NULL, "x"));
	const char *const different[] = { id_of("a", "x", "x"), id_of("b", "x", "x"), id_of(NULL, "x", "x"), id_of("", "x", "x"), id_of("a", "y", "x"),
		id_of("a", NULL, "x"), id_of("b", NULL, "x"), id_of(NULL, NULL, "x"), id_of("a", NULL, "y") };
	for (size_t i = 0; i < sizeof different / sizeof different[0]; i++)
		for (size_t k = 0; k < i; k++)
			assert_string_not_equal(different[i], different[k]);
}

static void a_key_is_printable_with_or_without_quotes(void **state)
{
	(void)state;
	struct slice key;
	assert_true(mark_key_is_valid(SLICE("8e03978e-40d5"), &key));
	assert_text(key, "8e03978e-40d5");
	assert_true(mark_key_is_valid(SLICE("\"8e03978e-40d5\""), &key));
	assert_text(key, "8e03978e-40d5");
	assert_true(mark_key_is_valid(SLICE("\""), &key));
	char longest[257];
	memset(longest, 'k', sizeof longest);
	assert_true(mark_key_is_valid(slice_of(longest, 255), &key));
	assert_false(mark_key_is_valid(slice_of(longest, 256), &key));
	assert_false(mark_key_is_valid(SLICE(""), &key));
	assert_false(mark_key_is_valid(SLICE("\"\""), &key));
	assert_false(mark_key_is_valid(SLICE("a\tb"), &key));
	assert_false(mark_key_is_valid(SLICE("\xc3\xa9"), &key));
}

int main(void)
{
#define WITH_ARENA(f) cmocka_unit_test_setup_teardown(f, make_arena, free_arena)
	const struct CMUnitTest tests[] = {
		WITH_ARENA(a_dialers_refusal_is_read_whole),
		WITH_ARENA(each_kind_has_its_name),
		WITH_ARENA(the_kind_may_be_said_by_what_it_would_say),
		WITH_ARENA(a_source_that_is_not_said_is_the_app),
		WITH_ARENA(machine_and_human_are_two_kinds),
		WITH_ARENA(a_leg_may_be_named_beside_the_call_or_alone),
		WITH_ARENA(null_is_left_out),
		WITH_ARENA(a_mark_must_name_one_call),
		WITH_ARENA(a_mark_must_say_something),
		WITH_ARENA(what_does_not_go_together_is_refused),
		WITH_ARENA(each_wrong_member_is_named),
		WITH_ARENA(a_member_that_a_mark_does_not_have_is_refused),
		WITH_ARENA(what_is_no_json_object_is_refused),
		WITH_ARENA(texts_have_limits),
		WITH_ARENA(every_member_is_written_and_read_back),
		WITH_ARENA(the_order_of_the_members_does_not_matter),
		WITH_ARENA(what_is_not_canonical_is_not_read),
		WITH_ARENA(the_journal_gives_back_marks_and_webhooks),
		WITH_ARENA(an_id_is_the_tenants_and_the_keys_or_the_contents),
		WITH_ARENA(a_key_is_printable_with_or_without_quotes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
