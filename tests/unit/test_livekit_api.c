/* wire/livekit_api.c: addresses, requests with their grants, what a reply is worth, and the recorded replies of a real server. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "wire/jwt.h"
#include "wire/livekit_api.h"

#define NOW 1795352846

static struct arena *arena;
static const struct signing_key key = { { "devkey", 6 }, { "secret", 6 } };
static const struct decode_options options = { .tenant_key_count = 0 };
static bool complete;

static int make_arena(void **state)
{
	(void)state;
	arena = arena_new(65536);
	return arena ? 0 : -1;
}

static int free_arena(void **state)
{
	(void)state;
	arena_free(arena);
	return 0;
}

static struct slice base_of(const char *url)
{
	struct slice s = SLICE_NONE;
	int r = livekit_base_url(slice_cstr(url), arena, &s);
	assert_true(r == 0 || r == OC_INVALID);
	return s;
}

static void addresses_become_http(void **state)
{
	(void)state;
	static const char *const pairs[][2] = {
		{ "ws://127.0.0.1:7880", "http://127.0.0.1:7880" }, { "wss://livekit.example.com", "https://livekit.example.com" },
		{ "WSS://livekit.example.com/", "https://livekit.example.com" }, { "http://[::1]:7880//", "http://[::1]:7880" },
		{ "https://livekit.example.com/behind/a/path/", "https://livekit.example.com/behind/a/path" },
	};
	for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
		assert_true(slice_eq_cstr(base_of(pairs[i][0]), pairs[i][1]));
}

static void what_is_no_address_is_refused(void **state)
{
	(void)state;
	static const char *const bad[] = {
		"", "livekit.example.com", "ftp://livekit.example.com", "file:///etc/passwd", "wss://", "wss:///", "ws://:7880", "wss://user:pw@livekit.example.com",
		"wss://livekit.example.com?x=1", "wss://livekit.example.com#x", "wss://live kit.example.com", "wss://livekit.example.com\r\nX: y", "wss://a\"b",
		"wss://\xc3\xa9.example.com",
	};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		assert_true(slice_is_none(base_of(bad[i])));
}

/* ---- requests ---- */

static json_t *claims_of(struct slice token)
{
	struct slice head, rest, payload, mac, text;
	assert_true(slice_split(token, '.', &head, &rest));
	assert_true(slice_split(rest, '.', &payload, &mac));
	assert_int_equal(base64_decode(payload, true, arena, &text), 0);
	json_t *claims = json_loadb(text.p, text.n, 0, NULL);
	assert_non_null(claims);
	return claims;
}

static struct livekit_request request(enum livekit_method method, struct slice room)
{
	struct livekit_request q;
	struct jwt t;
	assert_int_equal(livekit_request_make(method, room, &key, NOW, arena, &q), 0);
	assert_int_equal(jwt_parse(q.token, arena, &t), 0);
	assert_true(jwt_is_hs256(&t) && jwt_mac_matches(&t, key.secret));
	assert_true(slice_eq_cstr(t.claims.iss, "devkey"));
	assert_int_equal(t.claims.exp_s, NOW + LIVEKIT_TOKEN_S);
	assert_true(t.claims.nbf_s <= NOW && t.claims.nbf_s >= NOW - 60);
	return q;
}

static void check_grants(struct slice token, const char *grants)
{
	json_t *claims = claims_of(token), *expected = json_loads(grants, 0, NULL);
	assert_non_null(expected);
	assert_true(json_equal(json_object_get(claims, "video"), expected));
	json_decref(claims);
	json_decref(expected);
}

static void each_request_has_its_grants_and_no_more(void **state)
{
	(void)state;
	struct livekit_request q = request(LIVEKIT_LIST_ROOMS, SLICE("a\"room"));
	assert_true(slice_eq_cstr(q.path, "/twirp/livekit.RoomService/ListRooms"));
	assert_true(slice_eq_cstr(q.body, "{\"names\":[\"a\\\"room\"]}"));
	check_grants(q.token, "{\"roomList\":true}");
	q = request(LIVEKIT_LIST_ROOMS, SLICE_NONE);
	assert_true(slice_eq_cstr(q.body, "{}"));
	q = request(LIVEKIT_LIST_PARTICIPANTS, SLICE("support"));
	assert_true(slice_eq_cstr(q.path, "/twirp/livekit.RoomService/ListParticipants"));
	assert_true(slice_eq_cstr(q.body, "{\"room\":\"support\"}"));
	check_grants(q.token, "{\"roomAdmin\":true,\"room\":\"support\"}");
	q = request(LIVEKIT_LIST_EGRESS, SLICE("support"));
	assert_true(slice_eq_cstr(q.path, "/twirp/livekit.Egress/ListEgress"));
	assert_true(slice_eq_cstr(q.body, "{\"room_name\":\"support\"}"));
	check_grants(q.token, "{\"roomRecord\":true}");
}

static void a_request_about_no_room_or_by_no_key_is_not_made(void **state)
{
	(void)state;
	struct livekit_request q;
	const struct signing_key nameless = { SLICE_NONE, { "secret", 6 } };
	assert_int_equal(livekit_request_make(LIVEKIT_LIST_PARTICIPANTS, SLICE_NONE, &key, NOW, arena, &q), OC_INVALID);
	assert_int_equal(livekit_request_make(LIVEKIT_LIST_EGRESS, SLICE(""), &key, NOW, arena, &q), OC_INVALID);
	assert_int_equal(livekit_request_make(LIVEKIT_LIST_ROOMS, SLICE(""), &key, NOW, arena, &q), OC_INVALID);
	assert_int_equal(livekit_request_make(LIVEKIT_LIST_ROOMS, SLICE_NONE, &nameless, NOW, arena, &q), OC_INVALID);
}

/* ---- replies ---- */

static enum livekit_answer answer(long status, const char *type, const char *body)
{
	const struct livekit_reply reply = { status, slice_cstr(type), slice_cstr(body) };
	return livekit_answer_of(&reply, arena);
}

static void a_reply_is_what_its_status_and_type_say(void **state)
{
	(void)state;
	assert_int_equal(answer(200, "application/json", "{}"), LIVEKIT_OK);
	assert_int_equal(answer(200, "Application/JSON; charset=utf-8", "{}"), LIVEKIT_OK);
	assert_int_equal(answer(200, "text/html", "{}"), LIVEKIT_GARBAGE);
	assert_int_equal(answer(200, "application/jsonp", "{}"), LIVEKIT_GARBAGE);
	assert_int_equal(answer(200, NULL, "{}"), LIVEKIT_GARBAGE);
	assert_int_equal(answer(204, "application/json", ""), LIVEKIT_GARBAGE);
	assert_int_equal(answer(404, "application/json", "{\"code\":\"not_found\",\"msg\":\"x\"}"), LIVEKIT_NOT_FOUND);
	assert_int_equal(answer(404, "application/json", "{\"code\":\"bad_route\"}"), LIVEKIT_NO_API);
	assert_int_equal(answer(404, "text/html", "{\"code\":\"not_found\"}"), LIVEKIT_NO_API);
	assert_int_equal(answer(404, "application/json", "[]"), LIVEKIT_NO_API);
	static const struct {
		long status;
		enum livekit_answer answer;
	} rows[] = {
		{ 301, LIVEKIT_REDIRECTED }, { 302, LIVEKIT_REDIRECTED }, { 308, LIVEKIT_REDIRECTED }, { 400, LIVEKIT_REFUSED }, { 401, LIVEKIT_DENIED },
		{ 403, LIVEKIT_DENIED }, { 405, LIVEKIT_NO_API }, { 412, LIVEKIT_REFUSED }, { 429, LIVEKIT_LIMITED }, { 500, LIVEKIT_UNAVAILABLE },
		{ 501, LIVEKIT_NO_API }, { 502, LIVEKIT_UNAVAILABLE }, { 503, LIVEKIT_UNAVAILABLE }, { 0, LIVEKIT_GARBAGE }, { 600, LIVEKIT_GARBAGE },
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		assert_int_equal(answer(rows[i].status, "application/json", "{}"), rows[i].answer);
}

static void every_answer_has_a_name_and_those_that_tell_nothing_a_mend(void **state)
{
	(void)state;
	for (int i = 0; i < LIVEKIT_ANSWER_COUNT; i++) {
		bool well = i == LIVEKIT_OK || i == LIVEKIT_NOT_FOUND;
		assert_true(livekit_answer_names[i][0] != '\0');
		assert_int_equal(livekit_answer_mend((enum livekit_answer)i)[0] == '\0', well);
	}
}

static void what_an_error_says_is_shown_where_it_is_fit_to_be(void **state)
{
	(void)state;
	struct livekit_reply r = { 401, SLICE("application/json"), SLICE("{\"code\":\"unauthenticated\",\"msg\":\"permissions denied\"}") };
	assert_true(slice_eq_cstr(livekit_error_text(&r, arena), "permissions denied"));
	r = (struct livekit_reply){ 401, SLICE("text/plain; charset=utf-8"), SLICE("invalid API key: x\n") };
	assert_true(slice_eq_cstr(livekit_error_text(&r, arena), "invalid API key: x"));
	r.body = SLICE("\x1b[31mred");
	assert_true(slice_is_none(livekit_error_text(&r, arena)));
	r = (struct livekit_reply){ 404, SLICE("text/html"), SLICE("<html>") };
	assert_true(slice_is_none(livekit_error_text(&r, arena)));
}

static void only_what_livekit_answers_is_a_list(void **state)
{
	(void)state;
	static const char *const bad[] = {
		"", "{", "null", "[]", "{}", "\"rooms\"", "{\"rooms\":null,\"participants\":null,\"items\":null}", "{\"rooms\":{},\"participants\":{},\"items\":{}}",
		"{\"rooms\":[],\"participants\":[],\"items\":[]", "{\"rooms\":[1],\"participants\":[1],\"items\":[1]}",
		"{\"rooms\":[null],\"participants\":[null],\"items\":[null]}",
		"{\"rooms\":[],\"rooms\":[],\"participants\":[],\"participants\":[],\"items\":[],\"items\":[]}", "{\"code\":\"internal\",\"msg\":\"\"}",
	};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct slice body = slice_cstr(bad[i]);
		struct slice *rooms;
		struct event_participant *people;
		struct livekit_egress *egresses;
		size_t n;
		assert_int_equal(livekit_read_rooms(body, arena, &rooms, &n), OC_INVALID);
		assert_int_equal(livekit_read_participants(body, &options, arena, &people, &n, &complete), OC_INVALID);
		assert_int_equal(livekit_read_egresses(body, arena, &egresses, &n), OC_INVALID);
	}
}

static void both_spellings_and_numbers_are_read(void **state)
{
	(void)state;
	struct event_participant *p;
	size_t n;
	struct slice body = SLICE("{\"participants\":[{\"sid\":\"PA_1\",\"identity\":\"sip_1\",\"kind\":3,\"joinedAtMs\":1795352847166,\"state\":2,"
		"\"attributes\":{\"sip.callID\":\"SCL_1\",\"sip.callStatus\":\"active\",\"sip.callTag\":\"t\"}},"
		"{\"sid\":\"PA_2\",\"kind\":\"AGENT\",\"joined_at\":\"1795352846\",\"unheard_of\":[{}]}]}");
	assert_int_equal(livekit_read_participants(body, &options, arena, &p, &n, &complete), 0);
	assert_true(n == 2 && complete);
	assert_true(p[0].kind == KIND_SIP && p[0].sip_call_tag && p[0].sip_status == STATUS_ACTIVE && p[0].joined_at_ms == 1795352847166);
	assert_true(slice_eq_cstr(p[0].sip_call_id, "SCL_1"));
	assert_true(p[1].kind == KIND_AGENT && p[1].joined_at_ms == INT64_C(1795352846000) && p[1].joined_at_whole_s);
}

static void a_room_without_a_sid_is_no_room_of_livekits(void **state)
{
	(void)state;
	static const char *const bad[] = { "{}", "{\"sid\":7}", "{\"sid\":\"\"}", "{\"sid\":null}", "{\"sid\":\"RM_\\u0000\"}" };
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		char body[128];
		struct slice *sids;
		size_t n;
		snprintf(body, sizeof body, "{\"rooms\":[{\"sid\":\"RM_1\"},%s]}", bad[i]);
		assert_int_equal(livekit_read_rooms(slice_cstr(body), arena, &sids, &n), OC_INVALID);
	}
}

static void what_one_writes_of_oneself_hides_nobody_else(void **state)
{
	(void)state;
	static const char *const odd[] = { "{}", "{\"sid\":7}", "{\"sid\":\"PA_2\",\"joined_at_ms\":\"x\"}", "{\"sid\":\"PA_2\",\"metadata\":\"a\\u0000b\"}",
		"{\"sid\":\"PA_2\",\"attributes\":[]}" };
	for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
		char body[256];
		struct event_participant *p;
		size_t n;
		snprintf(body, sizeof body, "{\"participants\":[%s,{\"sid\":\"PA_1\"}]}", odd[i]);
		assert_int_equal(livekit_read_participants(slice_cstr(body), &options, arena, &p, &n, &complete), 0);
		assert_false(complete);
		assert_int_equal(n, 1);
		assert_true(slice_eq_cstr(p[0].sid, "PA_1"));
	}
}

static void who_is_just_leaving_is_not_there(void **state)
{
	(void)state;
	struct event_participant *p;
	size_t n;
	struct slice body = SLICE("{\"participants\":[{\"sid\":\"PA_1\",\"state\":\"DISCONNECTED\"},{\"sid\":\"PA_2\",\"state\":3},{\"sid\":\"PA_3\",\"state\":\"JOINED\"}]}");
	assert_int_equal(livekit_read_participants(body, &options, arena, &p, &n, &complete), 0);
	assert_int_equal(n, 1);
	assert_true(slice_eq_cstr(p[0].sid, "PA_3"));
}

static void a_recording_that_ended_is_an_event_and_one_that_goes_on_is_none(void **state)
{
	(void)state;
	struct livekit_egress *e;
	struct decoded d;
	size_t n;
	struct slice body = SLICE("{\"items\":[{\"egress_id\":\"EG_1\",\"room_id\":\"RM_1\",\"room_name\":\"a\",\"status\":\"EGRESS_COMPLETE\",\"started_at\":\"1795353134936619503\","
		"\"ended_at\":\"1795353139913432948\",\"file_results\":[{\"location\":\"https://bucket.example.com/a.ogg\"}],\"error\":\"\"},"
		"{\"egress_id\":\"EG_2\",\"room_id\":\"RM_1\",\"status\":1},{\"egress_id\":7},{\"started_at\":-1},{\"egress_id\":\"\",\"room_id\":\"RM_1\",\"status\":\"EGRESS_FAILED\"}],\"next_page_token\":null}");
	assert_int_equal(livekit_read_egresses(body, arena, &e, &n), 0);
	assert_int_equal(n, 3);
	assert_true(slice_eq_cstr(e[0].egress_id, "EG_1") && slice_eq_cstr(e[0].room_sid, "RM_1") && e[0].status == EGRESS_COMPLETE);
	assert_int_equal(decode_event(e[0].event, &options, arena, &d), 0);
	assert_int_equal(d.cause, DECODE_OK);
	assert_int_equal(d.event.type, EVENT_EGRESS_ENDED);
	assert_int_equal(d.event.created_at_s, 1795353139);
	assert_true(slice_eq_cstr(d.event.id, "watcher:egress_ended:EG_1") && slice_eq_cstr(d.event.room.sid, "RM_1"));
	assert_true(slice_eq_cstr(d.event.egress.location, "https://bucket.example.com/a.ogg"));
	assert_true(slice_is_none(e[1].event) && slice_is_none(e[2].event));
}

/* ---- a real server's replies ---- */

static void each_line(const char *path, void (*fn)(json_t *row))
{
	FILE *f = fopen(path, "r");
	char *line = NULL;
	size_t size = 0, count = 0;
	assert_non_null(f);
	while (getline(&line, &size, f) > 0) {
		json_t *row = json_loads(line, 0, NULL);
		fn(row);
		json_decref(row);
		count++;
	}
	free(line);
	fclose(f);
	assert_true(count > 0);
}

static struct slice text_of(json_t *row, const char *name)
{
	json_t *s = json_object_get(row, name);
	return json_is_string(s) ? slice_of(json_string_value(s), json_string_length(s)) : SLICE_NONE;
}

static void check_recorded(json_t *row)
{
	struct slice what = text_of(row, "what"), method = text_of(row, "method"), body = text_of(row, "body");
	const struct livekit_reply reply = { (long)json_integer_value(json_object_get(row, "status")), text_of(json_object_get(row, "headers"), "Content-Type"), body };
	enum livekit_answer x = livekit_answer_of(&reply, arena);
	struct slice *rooms;
	struct event_participant *people;
	struct livekit_egress *egresses;
	size_t n;
	if (reply.status == 200) {
		assert_int_equal(x, LIVEKIT_OK);
		if (slice_eq_cstr(method, "livekit.RoomService/ListRooms"))
			assert_int_equal(livekit_read_rooms(body, arena, &rooms, &n), 0);
		if (slice_eq_cstr(method, "livekit.RoomService/ListParticipants"))
			assert_int_equal(livekit_read_participants(body, &options, arena, &people, &n, &complete), 0);
		if (slice_eq_cstr(method, "livekit.Egress/ListEgress"))
			assert_int_equal(livekit_read_egresses(body, arena, &egresses, &n), 0);
		if (slice_eq_cstr(what, "ListEgress all"))
			for (size_t i = 0; i < n; i++)
				assert_false(slice_is_none(egresses[i].event));
	} else if (reply.status == 401) {
		assert_int_equal(x, LIVEKIT_DENIED);
		assert_false(slice_is_none(livekit_error_text(&reply, arena)));
	} else {
		assert_int_equal(reply.status, 404);
		assert_int_equal(x, slice_eq_cstr(what, "unknown method") ? LIVEKIT_NO_API : LIVEKIT_NOT_FOUND);
	}
}

static size_t rooms_in(const char *json, const char *sid)
{
	struct slice *rooms;
	size_t n, found = 0;
	assert_int_equal(livekit_read_rooms(slice_cstr(json), arena, &rooms, &n), 0);
	for (size_t i = 0; i < n; i++)
		found += slice_eq_cstr(rooms[i], sid);
	return found;
}

static void recorded_replies_are_read(void **state)
{
	(void)state;
	each_line("tests/captures/api/api-replies.jsonl", check_recorded);
	assert_int_equal(rooms_in("{\"rooms\":[{\"sid\":\"RM_1\"},{\"sid\":\"RM_2\",\"name\":null}]}", "RM_2"), 1);
}

static size_t with_tag, without_tag;

static void check_poll(json_t *row)
{
	struct event_participant *p;
	size_t n;
	assert_int_equal(livekit_read_participants(text_of(row, "body"), &options, arena, &p, &n, &complete), 0);
	for (size_t i = 0; i < n; i++)
		if (p[i].kind == KIND_SIP) {
			assert_true(p[i].sip_call_id.n > 0 && p[i].joined_at_ms > 0);
			assert_int_equal(p[i].sip_call_tag, p[i].sip_status == STATUS_ACTIVE);
			with_tag += p[i].sip_call_tag;
			without_tag += !p[i].sip_call_tag;
		}
}

static void recorded_polls_show_the_tag_with_the_answer(void **state)
{
	(void)state;
	glob_t paths;
	assert_int_equal(glob("tests/captures/*.polls.jsonl", 0, NULL, &paths), 0);
	for (size_t i = 0; i < paths.gl_pathc; i++)
		each_line(paths.gl_pathv[i], check_poll);
	globfree(&paths);
	assert_true(with_tag > 10 && without_tag > 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(addresses_become_http),
		cmocka_unit_test(what_is_no_address_is_refused),
		cmocka_unit_test(each_request_has_its_grants_and_no_more),
		cmocka_unit_test(a_request_about_no_room_or_by_no_key_is_not_made),
		cmocka_unit_test(a_reply_is_what_its_status_and_type_say),
		cmocka_unit_test(every_answer_has_a_name_and_those_that_tell_nothing_a_mend),
		cmocka_unit_test(what_an_error_says_is_shown_where_it_is_fit_to_be),
		cmocka_unit_test(only_what_livekit_answers_is_a_list),
		cmocka_unit_test(both_spellings_and_numbers_are_read),
		cmocka_unit_test(a_room_without_a_sid_is_no_room_of_livekits),
		cmocka_unit_test(what_one_writes_of_oneself_hides_nobody_else),
		cmocka_unit_test(who_is_just_leaving_is_not_there),
		cmocka_unit_test(a_recording_that_ended_is_an_event_and_one_that_goes_on_is_none),
		cmocka_unit_test(recorded_replies_are_read),
		cmocka_unit_test(recorded_polls_show_the_tag_with_the_answer),
	};
	return cmocka_run_group_tests(tests, make_arena, free_arena);
}
