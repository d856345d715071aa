/* wire/decode.c: every recorded body, every legal spelling, every cause of keeping an event aside. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "recorded.h"
#include "wire/decode.h"

static struct arena *arena;
static const struct slice tenant_keys[] = { { "user_id", 7 }, { "userId", 6 }, { "tenant", 6 } };
static const struct decode_options options = { tenant_keys, 3, false };

static int make_arena(void **state)
{
	(void)state;
	arena = arena_new(4096);
	return arena ? 0 : -1;
}

static int free_arena(void **state)
{
	(void)state;
	arena_free(arena);
	return 0;
}

/* Decodes a copy on the heap that lives until the test program ends with its arena, so that a read beyond it is seen. */
static struct decoded decode(struct slice body)
{
	struct decoded d;
	struct slice copy;
	assert_true(arena_copy(arena, body, &copy));
	assert_int_equal(decode_event(copy, &options, arena, &d), 0);
	assert_false(slice_is_none(d.event.id));
	assert_false(slice_is_none(d.event.type_name));
	return d;
}

static struct event good(const char *body)
{
	struct decoded d = decode(slice_cstr(body));
	assert_string_equal(decode_cause_name(d.cause), "ok");
	assert_true(slice_is_none(d.cause_field));
	return d.event;
}

static void assert_aside(const char *body, enum decode_cause cause, const char *field)
{
	struct decoded d = decode(slice_cstr(body));
	assert_string_equal(decode_cause_name(d.cause), decode_cause_name(cause));
	assert_string_equal(slice_is_none(d.cause_field) ? "" : arena_dup(arena, d.cause_field), field);
}

#define assert_text(slice, text) assert_string_equal(slice_is_none(slice) ? "(none)" : arena_dup(arena, slice), text)

#define OK_HEAD "{\"event\":\"participant_left\",\"id\":\"EV_1\",\"createdAt\":\"1795352847\""

struct recorded_sum {
	size_t good, payloads, types[EVENT_MARK + 1], call_tags, statuses, tenants;
};

static void decode_recorded(void *context, struct slice authorization, struct slice body)
{
	(void)authorization;
	struct recorded_sum *sum = context;
	_cleanup_arena_ struct arena *a = arena_new(4096);
	struct decoded d;
	assert_int_equal(decode_event(body, &options, a, &d), 0);
	assert_int_equal(d.cause, DECODE_OK);
	assert_int_not_equal(d.event.type, EVENT_UNKNOWN);
	assert_false(slice_is_none(d.event.room.sid));
	assert_false(slice_is_none(d.event.room.name));
	assert_true(d.event.created_at_s > 1700000000 && d.event.created_at_s < 1900000000);
	json_t *before = json_loadb(body.p, body.n, 0, NULL), *after = json_loadb(d.payload.p, d.payload.n, 0, NULL);
	json_object_del(json_object_get(before, "room"), "turnPassword");
	sum->payloads += (size_t)json_equal(before, after);
	json_decref(before);
	json_decref(after);
	sum->good++;
	sum->types[d.event.type]++;
	sum->call_tags += d.event.participant.sip_call_tag;
	sum->statuses += d.event.participant.sip_status != STATUS_NONE;
	sum->tenants += !slice_is_none(d.event.room.tenant);
	bool sip = d.event.participant.kind == KIND_SIP;
	assert_int_equal(sip, !slice_is_none(d.event.participant.sip_call_id));
}

static void every_recorded_body_decodes(void **state)
{
	(void)state;
	struct recorded_sum sum = { 0 };
	size_t count = recorded_each(decode_recorded, &sum);
	assert_true(count >= 1000);
	assert_int_equal(sum.good, count);
	assert_int_equal(sum.payloads, count);
	for (int t = EVENT_ROOM_STARTED; t <= EVENT_EGRESS_ENDED; t++)
		assert_true(sum.types[t] > 0);
	assert_true(sum.call_tags > 0 && sum.statuses > sum.call_tags && sum.tenants > 0);
}

static void who_is_hidden_or_records_is_no_party(void **state)
{
	(void)state;
	static const struct {
		const char *participant;
		enum participant_kind kind;
	} ROWS[] = {
		{ "\"permission\":{\"canSubscribe\":true, \"hidden\":true}", KIND_HIDDEN },
		{ "\"permission\":{\"recorder\":true}, \"kind\":\"STANDARD\"", KIND_HIDDEN },
		{ "\"kind\":\"AGENT\", \"permission\":{\"hidden\":true, \"agent\":true}", KIND_HIDDEN },
		{ "\"permission\":{\"hidden\":false, \"recorder\":null}", KIND_STANDARD },
		{ "\"permission\":null", KIND_STANDARD },
		{ "\"kind\":\"EGRESS\", \"permission\":{\"hidden\":true, \"recorder\":true}", KIND_EGRESS },
		{ "\"kind\":\"SIP\", \"permission\":{\"hidden\":true}", KIND_SIP },
	};
	for (size_t i = 0; i < sizeof ROWS / sizeof ROWS[0]; i++) {
		char body[256];
		(void)snprintf(body, sizeof body, "{\"id\":\"EV\", \"event\":\"participant_joined\", \"participant\":{%s}}", ROWS[i].participant);
		assert_int_equal(good(body).participant.kind, ROWS[i].kind);
	}
	struct decoded d = decode(SLICE("{\"id\":\"EV\", \"event\":\"participant_joined\", \"participant\":{\"permission\":{\"hidden\":1}}}"));
	assert_int_equal(d.cause, DECODE_WRONG_TYPE);
}

static void a_participant_is_read_whole(void **state)
{
	(void)state;
	struct event e = good("{\"event\":\"participant_left\", \"room\":{\"sid\":\"RM_1\", \"name\":\"r\", \"emptyTimeout\":5, \"departureTimeout\":20, "
		"\"creationTime\":\"1795352845\", \"creationTimeMs\":\"1795352845845\", \"turnPassword\":\"x\", \"metadata\":\"{\\\"user_id\\\":\\\"user-1\\\"}\"}, "
		"\"participant\":{\"sid\":\"PA_1\", \"identity\":\"sip_+12065550111\", \"state\":\"DISCONNECTED\", \"joinedAt\":\"1795352847\", "
		"\"joinedAtMs\":\"1795352847162\", \"kind\":\"SIP\", \"attributes\":{\"sip.callID\":\"SCL_1\", \"sip.callStatus\":\"hangup\", \"sip.callTag\":\"t\", "
		"\"sip.trunkID\":\"ST_1\", \"sip.phoneNumber\":\"+12065550111\", \"sip.trunkPhoneNumber\":\"+12065550100\", \"sip.ruleID\":\"SDR_1\", "
		"\"tenant\":\"other\", \"userId\":\"user-2\"}, \"disconnectReason\":\"USER_REJECTED\"}, \"id\":\"EV_1\", \"createdAt\":\"1795352848\"}");
	assert_int_equal(e.type, EVENT_PARTICIPANT_LEFT);
	assert_text(e.id, "EV_1");
	assert_text(e.type_name, "participant_left");
	assert_int_equal(e.created_at_s, 1795352848);
	assert_text(e.room.sid, "RM_1");
	assert_text(e.room.tenant, "user-1");
	assert_int_equal(e.room.creation_time_ms, 1795352845845);
	assert_int_equal(e.room.empty_timeout_s, 5);
	assert_int_equal(e.room.departure_timeout_s, 20);
	assert_text(e.participant.sid, "PA_1");
	assert_text(e.participant.identity, "sip_+12065550111");
	assert_int_equal(e.participant.kind, KIND_SIP);
	assert_int_equal(e.participant.joined_at_ms, 1795352847162);
	assert_false(e.participant.joined_at_whole_s);
	assert_int_equal(e.participant.disconnect_reason, REASON_USER_REJECTED);
	assert_text(e.participant.sip_call_id, "SCL_1");
	assert_text(e.participant.sip_rule_id, "SDR_1");
	assert_text(e.participant.sip_trunk_id, "ST_1");
	assert_text(e.participant.sip_phone_number, "+12065550111");
	assert_text(e.participant.sip_trunk_phone_number, "+12065550100");
	assert_int_equal(e.participant.sip_status, STATUS_HANGUP);
	assert_true(e.participant.sip_call_tag);
	assert_text(e.participant.tenant, "user-2");
}

static void both_spellings_and_every_form_of_a_value_agree(void **state)
{
	(void)state;
	static const char *const same[] = {
		"{\"event\":\"participant_left\",\"id\":\"EV\",\"createdAt\":\"1790000000\",\"room\":{\"sid\":\"RM\",\"creationTimeMs\":\"1790000000000\",\"emptyTimeout\":300},"
		"\"participant\":{\"sid\":\"PA\",\"joinedAtMs\":\"1790000001000\",\"kind\":\"SIP\",\"disconnectReason\":\"USER_REJECTED\"}}",
		"{\"event\":\"participant_left\",\"id\":\"EV\",\"created_at\":1.79e9,\"room\":{\"sid\":\"RM\",\"creation_time_ms\":1790000000000.0,\"empty_timeout\":\"3e2\"},"
		"\"participant\":{\"sid\":\"PA\",\"joined_at_ms\":1790000001e3,\"kind\":3,\"disconnect_reason\":12}}",
		"{\"participant\":{\"disconnectReason\":12.0,\"joinedAtMs\":null,\"joined_at\":\"1790000001\",\"kind\":3e0,\"sid\":\"PA\",\"identity\":null,\"x\":[{}]},"
		"\"room\":{\"creationTime\":\"1.79e9\",\"sid\":\"RM\",\"emptyTimeout\":3e2,\"name\":null,\"metadata\":null},\"created\\u0041t\":\"1790000000.000\",\"track\":null,"
		"\"id\":\"\\u0045V\",\"event\":\"participant\\u005fleft\",\"numDropped\":7,\"newer\":{\"a\":[1,2,{\"b\":null}]}}",
	};
	for (size_t i = 0; i < sizeof same / sizeof same[0]; i++) {
		struct event e = good(same[i]);
		assert_int_equal(e.type, EVENT_PARTICIPANT_LEFT);
		assert_text(e.id, "EV");
		assert_int_equal(e.created_at_s, 1790000000);
		assert_text(e.room.sid, "RM");
		assert_int_equal(e.room.creation_time_ms, 1790000000000);
		assert_int_equal(e.room.empty_timeout_s, 300);
		assert_text(e.participant.sid, "PA");
		assert_text(e.participant.identity, "(none)");
		assert_int_equal(e.participant.joined_at_ms, 1790000001000);
		assert_int_equal(e.participant.joined_at_whole_s, i == 2);
		assert_int_equal(e.participant.kind, KIND_SIP);
		assert_int_equal(e.participant.disconnect_reason, REASON_USER_REJECTED);
	}
}

static void enum_values_newer_than_this_binary_are_unknown_never_refused(void **state)
{
	(void)state;
	static const char *const newer[] = { "\"NEWER\"", "77", "-1", "1e99", "3.5", "\"\"", "\"12\"" };
	for (size_t i = 0; i < sizeof newer / sizeof newer[0]; i++) {
		char body[512];
		snprintf(body, sizeof body, OK_HEAD ",\"participant\":{\"kind\":%s,\"disconnectReason\":%s},\"roomEndReason\":%s,\"egressInfo\":{\"status\":%s}"
			",\"track\":{\"type\":%s}}", newer[i], newer[i], newer[i], newer[i], newer[i]);
		struct event e = good(body);
		assert_int_equal(e.participant.kind, KIND_OTHER);
		assert_int_equal(e.participant.disconnect_reason, REASON_UNKNOWN);
		assert_int_equal(e.room_end_reason, ROOM_END_UNKNOWN);
		assert_int_equal(e.egress.status, EGRESS_STARTING);
		assert_false(e.track.audio);
	}
	struct event e = good("{\"event\":\"call_teleported\",\"id\":\"EV\",\"room\":{\"sid\":\"RM\"}}");
	assert_int_equal(e.type, EVENT_UNKNOWN);
	assert_text(e.type_name, "call_teleported");
	assert_text(e.room.sid, "RM");
	assert_int_equal(good("{\"event\":\"mark\",\"id\":\"EV\"}").type, EVENT_UNKNOWN);
}

static void every_enum_value_is_known_by_name_and_number(void **state)
{
	(void)state;
	char body[256];
#define X(number, name, e) \
	for (int form = 0; form < 2; form++) { \
		snprintf(body, sizeof body, form ? OK_HEAD ",\"participant\":{\"disconnectReason\":\"%s\"}}" : OK_HEAD ",\"participant\":{\"disconnectReason\":%.0s%d}}", \
			name, number); \
		assert_int_equal(good(body).participant.disconnect_reason, e); \
	}
	DISCONNECT_REASONS(X)
#undef X
#define X(number, name, e) \
	for (int form = 0; form < 2; form++) { \
		snprintf(body, sizeof body, form ? OK_HEAD ",\"participant\":{\"kind\":\"%s\"}}" : OK_HEAD ",\"participant\":{\"kind\":%.0s%d}}", name, number); \
		assert_int_equal(good(body).participant.kind, e); \
	}
	PARTICIPANT_KINDS(X)
#undef X
#define X(name, e) \
	snprintf(body, sizeof body, "{\"event\":\"%s\",\"id\":\"EV\"}", name); \
	assert_int_equal(good(body).type, e == EVENT_MARK ? EVENT_UNKNOWN : e);
	EVENT_TYPES(X)
#undef X
}

static void an_absent_kind_is_standard_only_where_participants_are_whole(void **state)
{
	(void)state;
	assert_int_equal(good(OK_HEAD ",\"participant\":{\"sid\":\"PA\"}}").participant.kind, KIND_STANDARD);
	assert_int_equal(good("{\"event\":\"track_published\",\"id\":\"EV\",\"participant\":{\"sid\":\"PA\",\"identity\":\"i\"}}").participant.kind, KIND_UNKNOWN);
	assert_int_equal(good("{\"event\":\"room_started\",\"id\":\"EV\"}").participant.kind, KIND_UNKNOWN);
	assert_int_equal(good(OK_HEAD "}").participant.kind, KIND_UNKNOWN);
}

static void a_track_is_audio_unless_it_says_otherwise(void **state)
{
	(void)state;
	struct event e = good("{\"event\":\"track_published\",\"id\":\"EV\",\"track\":{\"sid\":\"TR_1\",\"version\":{\"unixMicro\":\"1795352847170000\",\"ticks\":1}}}");
	assert_true(e.track.audio);
	assert_text(e.track.sid, "TR_1");
	assert_int_equal(e.track.published_us, 1795352847170000);
	assert_true(good("{\"event\":\"track_published\",\"id\":\"EV\",\"track\":{\"type\":\"AUDIO\"}}").track.audio);
	assert_true(good("{\"event\":\"track_published\",\"id\":\"EV\",\"track\":{\"type\":0}}").track.audio);
	assert_false(good("{\"event\":\"track_published\",\"id\":\"EV\",\"track\":{\"type\":\"VIDEO\"}}").track.audio);
	assert_false(good("{\"event\":\"track_published\",\"id\":\"EV\",\"track\":{\"type\":2}}").track.audio);
	assert_false(good("{\"event\":\"room_started\",\"id\":\"EV\"}").track.audio);
}

static void a_recording_is_found_in_the_results_or_the_older_field(void **state)
{
	(void)state;
	struct event e = good("{\"event\":\"egress_ended\",\"id\":\"EV\",\"egressInfo\":{\"egressId\":\"EG_1\",\"roomId\":\"RM_1\",\"roomName\":\"r\",\"status\":\"EGRESS_COMPLETE\","
		"\"startedAt\":\"1795353134936619503\",\"endedAt\":1795353139913432948,\"error\":\"e\",\"file\":{\"location\":\"old\"},"
		"\"fileResults\":[{\"filename\":\"f\"},{\"location\":\"s3://a\"},{\"location\":\"s3://b\"}]}}");
	assert_text(e.egress.egress_id, "EG_1");
	assert_int_equal(e.egress.status, EGRESS_COMPLETE);
	assert_int_equal(e.egress.started_at_ns, INT64_C(1795353134936619503));
	assert_int_equal(e.egress.ended_at_ns, INT64_C(1795353139913432948));
	assert_text(e.egress.location, "s3://a");
	assert_text(e.egress.error, "e");
	assert_text(e.room.sid, "RM_1");
	assert_text(e.room.name, "r");
	e = good("{\"event\":\"egress_ended\",\"id\":\"EV\",\"egress_info\":{\"egressId\":\"\",\"status\":4,\"file\":{\"location\":\"old\"},\"file_results\":[]}}");
	assert_text(e.egress.egress_id, "(none)");
	assert_text(e.egress.location, "old");
	assert_int_equal(e.egress.status, EGRESS_FAILED);
}

static void the_room_comes_from_wherever_the_event_names_it(void **state)
{
	(void)state;
	struct event e = good("{\"event\":\"ingress_ended\",\"id\":\"EV\",\"room\":{\"name\":\"r\"},\"ingressInfo\":{\"roomName\":\"other\",\"state\":{\"roomId\":\"RM_2\"}}}");
	assert_text(e.room.sid, "RM_2");
	assert_text(e.room.name, "r");
	e = good("{\"event\":\"agent_job_ended\",\"id\":\"EV\",\"job\":{\"id\":\"AJ\",\"room\":{\"sid\":\"RM_3\",\"name\":\"j\"}}}");
	assert_text(e.room.sid, "RM_3");
	assert_text(e.room.name, "j");
	e = good("{\"event\":\"egress_ended\",\"id\":\"EV\",\"room\":{\"sid\":\"RM\",\"name\":\"\"},\"egressInfo\":{\"roomId\":\"RM_4\",\"roomName\":\"e\"}}");
	assert_text(e.room.sid, "RM");
	assert_text(e.room.name, "e");
	assert_text(good("{\"event\":\"room_started\",\"id\":\"EV\",\"room\":null}").room.sid, "(none)");
}

static void a_tenant_is_found_in_metadata_by_the_keys_in_their_order(void **state)
{
	(void)state;
	static const struct {
		const char *metadata, *tenant;
	} cases[] = {
		{ "{\\\"tenant\\\":\\\"c\\\",\\\"userId\\\":\\\"b\\\"}", "b" },
		{ "{\\\"user_id\\\":\\\"\\\",\\\"userId\\\":null,\\\"tenant\\\":\\\"c\\\"}", "c" },
		{ "{\\\"user_id\\\":12345678901234567890}", "12345678901234567890" },
		{ "{\\\"user_id\\\":{\\\"a\\\":1},\\\"tenant\\\":true}", "(none)" },
		{ "{\\\"nested\\\":{\\\"user_id\\\":\\\"x\\\"}}", "(none)" },
		{ "{\\\"\\\\u0075ser_id\\\":\\\"u\\\"}", "u" },
		{ "{\\\"user\\u005fid\\\":\\\"u\\\\u00e9\\\"}", "u\xc3\xa9" },
		{ "[\\\"user_id\\\"]", "(none)" },
		{ "user_id=5", "(none)" },
		{ "{\\\"user_id\\\":\\\"a\\\",\\\"user_id\\\":\\\"b\\\"}", "(none)" },
		{ "{\\\"user_id\\\":\\\"a\\\\u0000\\\"}", "(none)" },
		{ "", "(none)" },
	};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		char body[512];
		snprintf(body, sizeof body, "{\"event\":\"room_started\",\"id\":\"EV\",\"room\":{\"sid\":\"RM\",\"metadata\":\"%s\"}}", cases[i].metadata);
		assert_text(good(body).room.tenant, cases[i].tenant);
	}
}

static void a_tenant_in_attributes_counts_only_from_sip_and_agents(void **state)
{
	(void)state;
	static const struct {
		const char *kind, *tenant;
	} cases[] = { { "SIP", "u" }, { "AGENT", "u" }, { "STANDARD", "(none)" }, { "CONNECTOR", "(none)" }, { "EGRESS", "(none)" } };
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		char body[512];
		snprintf(body, sizeof body, OK_HEAD ",\"participant\":{\"attributes\":{\"user_id\":\"u\",\"sip.callID\":\"SCL\",\"sip.callStatus\":\"active\",\"sip.callTag\":\"t\"},"
			"\"kind\":\"%s\"}}", cases[i].kind);
		struct event e = good(body);
		assert_text(e.participant.tenant, cases[i].tenant);
		assert_int_equal(!slice_is_none(e.participant.sip_call_id), e.participant.kind == KIND_SIP);
		assert_int_equal(e.participant.sip_status, e.participant.kind == KIND_SIP ? STATUS_ACTIVE : STATUS_NONE);
		assert_int_equal(e.participant.sip_call_tag, e.participant.kind == KIND_SIP);
	}
	struct event e = good(OK_HEAD ",\"participant\":{\"kind\":\"SIP\",\"attributes\":{\"sip.callStatus\":\"newer\",\"sip.callTag\":\"\",\"sip.trunkID\":null}}}");
	assert_int_equal(e.participant.sip_status, STATUS_NONE);
	assert_false(e.participant.sip_call_tag);
}

static void texts_that_are_not_a_json_object_are_kept_under_their_hash(void **state)
{
	(void)state;
	assert_aside("", DECODE_NOT_JSON, "");
	assert_aside("hello", DECODE_NOT_JSON, "");
	assert_aside("{\"id\":\"EV\",\"event\":\"x\"} x", DECODE_NOT_JSON, "");
	assert_aside("[{\"id\":\"EV\",\"event\":\"x\"}]", DECODE_NOT_OBJECT, "");
	assert_aside("null", DECODE_NOT_OBJECT, "");
	struct decoded d = decode(SLICE("abc"));
	assert_text(d.event.id, "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	assert_text(d.event.type_name, "unknown");
	assert_true(slice_is_none(d.payload));
	assert_false(slice_is_none(decode(SLICE("[1]")).payload));
}

static void what_jsonb_would_refuse_has_no_payload_but_keeps_its_name(void **state)
{
	(void)state;
	static const struct {
		const char *bad;
		enum decode_cause cause;
	} cases[] = {
		{ "\"x\":\"a\\u0000b\"", DECODE_NUL }, { "\"x\":\"\\ud800\"", DECODE_NOT_JSON }, { "\"x\":\"\xff\"", DECODE_BAD_UTF8 },
		{ "\"x\":1,\"x\":2", DECODE_DUPLICATE_KEY }, { "\"x\":1e9999", DECODE_RANGE }, { "\"x\":{\"y\":1,\"y\":2}", DECODE_DUPLICATE_KEY },
		{ "\"x\":[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[", DECODE_TOO_DEEP }, { "\"x\":\"unfinished", DECODE_NOT_JSON },
	};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		char body[512];
		snprintf(body, sizeof body, "{\"event\":\"room_started\",\"id\":\"EV_9\",\"room\":{\"sid\":\"RM\",\"name\":\"r\",\"turnPassword\":\"s\"},%s}", cases[i].bad);
		struct decoded d = decode(slice_cstr(body));
		assert_string_equal(decode_cause_name(d.cause), decode_cause_name(cases[i].cause));
		assert_true(slice_is_none(d.payload));
		assert_text(d.event.id, "EV_9");
		assert_text(d.event.room.sid, "RM");
		assert_text(d.event.room.name, "r");
		assert_int_equal(d.event.type, EVENT_ROOM_STARTED);
	}
	struct decoded d = decode(SLICE("{\"event\":\"room_started\",\"id\":\"EV\\u0000\",\"room\":{\"name\":\"a\xff\",\"sid\":\"RM\"}}"));
	assert_int_equal(d.event.id.n, 7 + 64);
	assert_text(d.event.room.name, "(none)");
	assert_text(d.event.room.sid, "RM");
}

static void an_event_without_id_or_type_is_kept_aside(void **state)
{
	(void)state;
	assert_aside("{\"event\":\"room_started\"}", DECODE_NO_ID, "");
	assert_aside("{\"event\":\"room_started\",\"id\":\"\"}", DECODE_NO_ID, "");
	assert_aside("{\"event\":\"room_started\",\"id\":null}", DECODE_NO_ID, "");
	assert_aside("{\"id\":\"EV\"}", DECODE_NO_EVENT, "");
	assert_aside("{}", DECODE_NO_ID, "");
	assert_aside("{\"event\":\"room_started\",\"id\":5}", DECODE_WRONG_TYPE, "id");
	assert_aside("{\"event\":[],\"id\":\"EV\"}", DECODE_WRONG_TYPE, "event");
}

static void fields_of_the_wrong_type_are_named(void **state)
{
	(void)state;
	static const struct {
		const char *members, *field;
	} cases[] = {
		{ "\"createdAt\":{}", "createdAt" }, { "\"createdAt\":\"now\"", "createdAt" }, { "\"createdAt\":\"\"", "createdAt" }, { "\"createdAt\":1.5", "createdAt" },
		{ "\"created_at\":true", "createdAt" }, { "\"room\":\"RM\"", "room" }, { "\"room\":[]", "room" }, { "\"room\":{\"sid\":5}", "room.sid" },
		{ "\"room\":{\"metadata\":{}}", "room.metadata" }, { "\"participant\":{\"joinedAt\":[]}", "participant.joinedAt" },
		{ "\"participant\":{\"kind\":[]}", "participant.kind" }, { "\"participant\":{\"attributes\":[]}", "participant.attributes" },
		{ "\"participant\":{\"kind\":\"SIP\",\"attributes\":{\"sip.callID\":5}}", "participant.attributes" }, { "\"track\":7", "track" },
		{ "\"track\":{\"version\":\"1\"}", "track.version" }, { "\"egressInfo\":{\"fileResults\":{}}", "egressInfo.fileResults" },
		{ "\"egressInfo\":{\"fileResults\":[null]}", "egressInfo.fileResults" }, { "\"egressInfo\":{\"file\":{\"location\":1}}", "egressInfo.file.location" },
		{ "\"ingressInfo\":{\"state\":{\"roomId\":false}}", "ingressInfo.state.roomId" }, { "\"job\":{\"room\":1}", "job.room" },
		{ "\"roomEndReason\":{}", "roomEndReason" },
	};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		char body[512];
		snprintf(body, sizeof body, "{\"event\":\"participant_left\",\"id\":\"EV_1\",%s}", cases[i].members);
		assert_aside(body, DECODE_WRONG_TYPE, cases[i].field);
		assert_text(decode(slice_cstr(body)).event.id, "EV_1");
		assert_false(slice_is_none(decode(slice_cstr(body)).payload));
	}
	assert_int_equal(good("{\"event\":\"participant_left\",\"id\":\"EV_1\",\"participant\":{\"attributes\":{\"other\":5}}}").type, EVENT_PARTICIPANT_LEFT);
}

static void numbers_out_of_range_are_named(void **state)
{
	(void)state;
	static const struct {
		const char *members, *field;
	} cases[] = {
		{ "\"createdAt\":\"9223372036854775808\"", "createdAt" }, { "\"createdAt\":-1", "createdAt" }, { "\"createdAt\":1e300", "createdAt" },
		{ "\"createdAt\":253402300800", "createdAt" }, { "\"room\":{\"emptyTimeout\":4294967296}", "room.emptyTimeout" },
		{ "\"room\":{\"creationTimeMs\":\"253402300800000\"}", "room.creationTimeMs" }, { "\"participant\":{\"joinedAtMs\":-5}", "participant.joinedAtMs" },
		{ "\"egressInfo\":{\"endedAt\":\"-1\"}", "egressInfo.endedAt" }, { "\"track\":{\"version\":{\"unixMicro\":\"1e18\"}}", "track.version.unixMicro" },
	};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		char body[512];
		snprintf(body, sizeof body, "{\"event\":\"participant_left\",\"id\":\"EV_1\",%s}", cases[i].members);
		assert_aside(body, DECODE_RANGE, cases[i].field);
	}
	assert_int_equal(good("{\"event\":\"x\",\"id\":\"EV\",\"createdAt\":253402300799}").created_at_s, INT64_C(253402300799));
	assert_int_equal(good("{\"event\":\"x\",\"id\":\"EV\",\"numDropped\":99999999999999999999}").created_at_s, 0);
}

static void one_field_in_both_spellings_is_there_twice(void **state)
{
	(void)state;
	assert_aside(OK_HEAD ",\"created_at\":5}", DECODE_DUPLICATE_KEY, "createdAt");
	assert_aside(OK_HEAD ",\"participant\":{\"joinedAtMs\":1,\"joined_at_ms\":null}}", DECODE_DUPLICATE_KEY, "participant.joinedAtMs");
}

static void values_beyond_their_limit_are_named(void **state)
{
	(void)state;
	static const struct {
		const char *before, *after, *field;
		size_t max;
	} cases[] = {
		{ "\"room\":{\"sid\":\"", "\"}", "room.sid", EVENT_MAX_ID }, { "\"room\":{\"name\":\"", "\"}", "room.name", EVENT_MAX_NAME },
		{ "\"participant\":{\"identity\":\"", "\"}", "participant.identity", EVENT_MAX_NAME },
		{ "\"egressInfo\":{\"file\":{\"location\":\"", "\"}}", "egressInfo.file.location", EVENT_MAX_VALUE },
		{ "\"room\":{\"metadata\":\"{\\\"tenant\\\":\\\"", "\\\"}\"}", "room.metadata", EVENT_MAX_VALUE },
		{ "\"participant\":{\"kind\":\"SIP\",\"attributes\":{\"sip.callID\":\"", "\"}}", "participant.attributes", EVENT_MAX_ID },
	};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
		for (size_t more = 0; more < 2; more++) {
			char body[4096], value[EVENT_MAX_VALUE + 2];
			memset(value, 'x', cases[i].max + more);
			value[cases[i].max + more] = '\0';
			snprintf(body, sizeof body, OK_HEAD ",%s%s%s}", cases[i].before, value, cases[i].after);
			assert_aside(body, more ? DECODE_TOO_LONG : DECODE_OK, more ? cases[i].field : "");
		}
}

static void an_id_that_is_too_long_or_odd_becomes_the_hash(void **state)
{
	(void)state;
	static const char *const odd[] = { "EV 1", "EV\\n", "EV\xc3\xa9", " " };
	char body[512], value[EVENT_MAX_ID + 2];
	for (size_t i = 0; i < 5; i++) {
		memset(value, 'x', EVENT_MAX_ID + 1);
		value[EVENT_MAX_ID + 1] = '\0';
		snprintf(body, sizeof body, "{\"event\":\"room_started\",\"id\":\"%s\"}", i < 4 ? odd[i] : value);
		assert_aside(body, DECODE_TOO_LONG, "id");
		assert_memory_equal(decode(slice_cstr(body)).event.id.p, "sha256:", 7);
	}
}

static void a_long_error_text_is_cut_at_a_character(void **state)
{
	(void)state;
	char body[8192] = "{\"event\":\"egress_ended\",\"id\":\"EV\",\"egressInfo\":{\"error\":\"x";
	while (strlen(body) < 6000)
		strcat(body, "\xc3\xa9");
	struct event e = good(strcat(body, "\"}}"));
	assert_int_equal(e.egress.error.n, EVENT_MAX_VALUE - 1);
	assert_true(slice_is_utf8(e.egress.error));
}

static void three_mebibytes_of_metadata_are_taken(void **state)
{
	(void)state;
	static const char before[] = "{\"event\":\"room_started\",\"id\":\"EV\",\"room\":{\"sid\":\"RM\",\"metadata\":\"{\\\"notes\\\":\\\"";
	static const char after[] = "\\\",\\\"user_id\\\":\\\"u\\\"}\",\"turnPassword\":\"x\"}}";
	size_t filling = 3u * 1024 * 1024, n = 0;
	char *body = malloc(sizeof before + sizeof after + filling);
	assert_non_null(body);
	memcpy(body, before, sizeof before - 1);
	n += sizeof before - 1;
	memset(body + n, 'z', filling);
	n += filling;
	memcpy(body + n, after, sizeof after - 1);
	n += sizeof after - 1;
	struct decoded d = decode(slice_of(body, n));
	assert_int_equal(d.cause, DECODE_OK);
	assert_text(d.event.room.tenant, "u");
	assert_int_equal(d.payload.n, n - strlen(",\"turnPassword\":\"x\""));
	free(body);
}

static void iso_times_count_only_with_the_older_signature(void **state)
{
	(void)state;
	const char *body = "{\"event\":\"participant_left\",\"id\":\"EV\",\"createdAt\":\"2026-11-22T13:12:19.5Z\",\"participant\":{\"joinedAt\":\"2026-11-22T13:12:00+00:00\"}}";
	assert_aside(body, DECODE_WRONG_TYPE, "createdAt");
	const struct decode_options older = { tenant_keys, 3, true };
	struct decoded d;
	assert_int_equal(decode_event(slice_cstr(body), &older, arena, &d), 0);
	assert_int_equal(d.cause, DECODE_OK);
	assert_int_equal(d.event.created_at_s, 1795353139);
	assert_int_equal(d.event.participant.joined_at_ms, 1795353120000);
	assert_true(d.event.participant.joined_at_whole_s);
	assert_int_equal(decode_event(SLICE("{\"event\":\"x\",\"id\":\"EV\",\"createdAt\":\"1795353139\"}"), &older, arena, &d), 0);
	assert_int_equal(d.event.created_at_s, 1795353139);
}

static void the_payload_decodes_to_the_same_event(void **state)
{
	(void)state;
	struct decoded d = decode(SLICE("{\"event\":\"room_started\",\"room\":{\"turnPassword\":\"x\",\"sid\":\"RM\"},\"id\":\"EV\",\"createdAt\":5}"));
	assert_text(d.payload, "{\"event\":\"room_started\",\"room\":{\"sid\":\"RM\"},\"id\":\"EV\",\"createdAt\":5}");
	struct decoded again = decode(d.payload);
	assert_int_equal(again.cause, DECODE_OK);
	assert_text(again.event.room.sid, "RM");
	assert_true(slice_eq(again.payload, d.payload));
}

static void every_cause_has_a_name_and_a_text(void **state)
{
	(void)state;
#define X(name, e, text) \
	assert_string_equal(decode_cause_name(e), name); \
	assert_string_equal(decode_cause_text(e), text); \
	assert_int_equal(strlen(decode_cause_text(e)) > 0, e != DECODE_OK);
	DECODE_CAUSES(X)
#undef X
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_recorded_body_decodes),
		cmocka_unit_test(who_is_hidden_or_records_is_no_party),
		cmocka_unit_test(a_participant_is_read_whole),
		cmocka_unit_test(both_spellings_and_every_form_of_a_value_agree),
		cmocka_unit_test(enum_values_newer_than_this_binary_are_unknown_never_refused),
		cmocka_unit_test(every_enum_value_is_known_by_name_and_number),
		cmocka_unit_test(an_absent_kind_is_standard_only_where_participants_are_whole),
		cmocka_unit_test(a_track_is_audio_unless_it_says_otherwise),
		cmocka_unit_test(a_recording_is_found_in_the_results_or_the_older_field),
		cmocka_unit_test(the_room_comes_from_wherever_the_event_names_it),
		cmocka_unit_test(a_tenant_is_found_in_metadata_by_the_keys_in_their_order),
		cmocka_unit_test(a_tenant_in_attributes_counts_only_from_sip_and_agents),
		cmocka_unit_test(texts_that_are_not_a_json_object_are_kept_under_their_hash),
		cmocka_unit_test(what_jsonb_would_refuse_has_no_payload_but_keeps_its_name),
		cmocka_unit_test(an_event_without_id_or_type_is_kept_aside),
		cmocka_unit_test(fields_of_the_wrong_type_are_named),
		cmocka_unit_test(numbers_out_of_range_are_named),
		cmocka_unit_test(one_field_in_both_spellings_is_there_twice),
		cmocka_unit_test(values_beyond_their_limit_are_named),
		cmocka_unit_test(an_id_that_is_too_long_or_odd_becomes_the_hash),
		cmocka_unit_test(a_long_error_text_is_cut_at_a_character),
		cmocka_unit_test(three_mebibytes_of_metadata_are_taken),
		cmocka_unit_test(iso_times_count_only_with_the_older_signature),
		cmocka_unit_test(the_payload_decodes_to_the_same_event),
		cmocka_unit_test(every_cause_has_a_name_and_a_text),
	};
	return cmocka_run_group_tests(tests, make_arena, free_arena);
}
