/* The store contract: what each tenant is shown. */
#include "store_fixture.h"

#include <stdio.h>

/* ---- single calls ---- */

static void shows_every_column_of_a_call(void **state)
{
	struct fixture *f = *state;
	int64_t t = f->now_ms - HOUR;
	struct call_view v;
	fixture_start(f, NULL);
	put_call(f, "EV_a", "RM_one", "room", "alice", t, t + MINUTE);
	for (int by_id = 0; by_id < 2; by_id++) {
		assert_int_equal(see(f, "alice", by_id ? made_id(f, "RM_one") : "RM_one", &v), 0);
		assert_slice(v.id, made_id(f, "RM_one"));
		assert_slice(v.user_id, "alice");
		assert_slice(v.room_name, "room");
		assert_slice(v.room_sid, "RM_one");
		assert_slice(v.direction, "outbound");
		assert_slice(v.phone_number, "+15105550100");
		assert_slice(v.sip_call_id, "SCL_one");
		assert_slice(v.status, "ended");
		assert_slice(v.outcome, "completed");
		assert_slice(v.recording_url, "s3://bucket/one.ogg");
		assert_slice(v.agent_config_id, NULL);
		assert_slice(v.cost, NULL);
		assert_slice(v.verdict, "{\"outcome\":\"x\",\"reason\":\"hangup\"}");
		assert_non_null(memmem(v.metadata.p, v.metadata.n, "outcomed", 8));
		assert_true(v.duration_s == 60 && v.started_at_ms == t && v.ended_at_ms == t + MINUTE && v.revision == 1 && v.sort_key == t);
		assert_true(v.created_at_ms == f->now_ms && v.updated_at_ms == f->now_ms);
	}
}

static void an_open_call_has_nulls_where_nothing_is_known(void **state)
{
	struct fixture *f = *state;
	struct call_view v;
	fixture_start(f, NULL);
	put_call(f, "EV_a", "RM_one", "room", "alice", f->now_ms, 0);
	assert_int_equal(see(f, "alice", "RM_one", &v), 0);
	assert_slice(v.status, "active");
	assert_slice(v.outcome, NULL);
	assert_slice(v.recording_url, NULL);
	assert_true(v.duration_s == -1 && v.ended_at_ms == 0 && v.revision == 0);
}

static void no_tenant_sees_anothers_call(void **state)
{
	struct fixture *f = *state;
	struct call_view v;
	fixture_start(f, NULL);
	put_call(f, "EV_a", "RM_one", "room", "alice", f->now_ms, 0);
	put_call(f, "EV_b", "RM_two", "room", "bob", f->now_ms, 0);
	assert_int_equal(see(f, "bob", "RM_one", &v), OC_NOT_FOUND);
	assert_int_equal(see(f, "bob", made_id(f, "RM_one"), &v), OC_NOT_FOUND);
	assert_int_equal(see(f, "Alice", "RM_one", &v), OC_NOT_FOUND);
	assert_int_equal(see(f, "alice ", "RM_one", &v), OC_NOT_FOUND);
	assert_int_equal(see(f, "%", "RM_one", &v), OC_NOT_FOUND);
	assert_int_equal(see(f, "alice", "RM_nowhere", &v), OC_NOT_FOUND);
	assert_int_equal(see(f, "alice", "", &v), OC_NOT_FOUND);
	assert_int_equal(see(f, "", "RM_one", &v), OC_DENIED);
}

static void a_call_without_tenant_is_shown_to_nobody(void **state)
{
	struct fixture *f = *state;
	struct call_view v;
	fixture_start(f, NULL);
	put_call(f, "EV_a", "RM_one", "room", NULL, f->now_ms, 0);
	assert_int_equal(see(f, "alice", "RM_one", &v), OC_NOT_FOUND);
	assert_int_equal(see(f, "", "RM_one", &v), OC_DENIED);
	assert_int_equal(see(f, "NULL", "RM_one", &v), OC_NOT_FOUND);
}

static void many_tenants_questions_are_answered_at_once(void **state)
{
	struct fixture *f = *state;
	fixture_start(f, NULL);
	put_call(f, "EV_a", "RM_one", "room", "alice", f->now_ms, 0);
	put_call(f, "EV_b", "RM_two", "room", "bob", f->now_ms, 0);
	struct outcome_query q[] = {
		{ .tenant = SLICE("alice"), .call_id = SLICE("RM_one") }, { .tenant = SLICE("alice"), .call_id = SLICE("RM_two") },
		{ .tenant = SLICE(""), .call_id = SLICE("RM_one") }, { .tenant = SLICE("bob"), .call_id = SLICE("RM_two") },
		{ .tenant = SLICE("bob"), .call_id = SLICE("\xff\xfe") }, { .tenant = SLICE("bob"), .call_id = SLICE("a\0b") },
		{ .tenant = SLICE("bob"), .call_id = slice_cstr(made_id(f, "RM_two")) },
	};
	assert_int_equal(store_read_outcomes(f->reader, q, 7, f->arena), 0);
	const int expected[] = { 0, OC_NOT_FOUND, OC_DENIED, 0, OC_NOT_FOUND, OC_NOT_FOUND, 0 };
	for (size_t i = 0; i < 7; i++)
		assert_int_equal(q[i].result, expected[i]);
	assert_slice(q[0].view.room_sid, "RM_one");
	assert_slice(q[3].view.room_sid, "RM_two");
	assert_slice(q[6].view.room_sid, "RM_two");
	assert_int_equal(store_read_outcomes(f->reader, q, 0, f->arena), 0);
}

static void a_hosts_own_columns_are_shown_as_json(void **state)
{
	struct fixture *f = *state;
	struct call_view v;
	fixture_start(f, "CREATE TABLE call_logs (id TEXT PRIMARY KEY, \"userId\" TEXT, \"livekitRoomSid\" TEXT, \"agentConfigId\" TEXT, cost INTEGER, "
		"metadata JSONB, \"createdAt\" TIMESTAMPTZ(3))");
	fixture_exec(f, "INSERT INTO call_logs (id, \"userId\", \"livekitRoomSid\", \"agentConfigId\", cost, metadata, \"createdAt\") "
		"VALUES ('H1', 'host', 'RM_one', 'agent \"1\"', 25, '{\"k\": 1}', '2026-11-01T10:00:00.250Z')");
	assert_int_equal(see(f, "host", "H1", &v), 0);
	assert_slice(v.agent_config_id, "\"agent \\\"1\\\"\"");
	assert_slice(v.cost, "25");
	assert_slice(v.metadata, "{\"k\": 1}");
	assert_slice(v.verdict, NULL);
	assert_true(v.revision == 0 && v.duration_s == -1 && v.created_at_ms == 1793527200250 && v.sort_key == v.created_at_ms);
}

static void a_hosts_call_is_its_tenants_only(void **state)
{
	struct fixture *f = *state;
	struct call_view v;
	fixture_start(f, "CREATE TABLE call_logs (id TEXT PRIMARY KEY, \"userId\" TEXT, \"livekitRoomSid\" TEXT, \"createdAt\" TIMESTAMPTZ(3))");
	fixture_exec(f, "INSERT INTO call_logs (id, \"userId\", \"livekitRoomSid\") VALUES ('H1', 'host', 'RM_one')");
	put_call(f, "EV_a", "RM_one", "room", "host", f->now_ms, 0);
	assert_int_equal(see(f, "host", "H1", &v), 0);
	assert_int_equal(see(f, "other", "H1", &v), OC_NOT_FOUND);
	assert_int_equal(see(f, "other", "RM_one", &v), OC_NOT_FOUND);
}

static void the_reader_answers_a_ping(void **state)
{
	struct fixture *f = *state;
	fixture_start(f, NULL);
	assert_int_equal(store_reader_ping(f->reader), 0);
}

/* ---- lists ---- */

struct listed {
	const char *sid, *user, *outcome, *direction, *status, *phone, *name;
	int64_t started_ms; /* 0: NULL */
};

static void fill(struct fixture *f, const struct listed *rows, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const struct listed *r = &rows[i];
		fixture_execf(f, "INSERT INTO call_logs (id, \"userId\", \"livekitRoomSid\", outcome, direction, status, \"phoneNumber\", \"livekitRoomName\", "
			"\"createdAt\", \"startedAt\") VALUES ('id-%s', '%s', '%s', '%s', '%s', '%s', '%s', '%s', '%s', %s%s%s)", r->sid, r->user, r->sid,
			r->outcome, r->direction, r->status, r->phone, r->name, fixture_time(f, 1790000000000), r->started_ms ? "'" : "NULL",
			r->started_ms ? fixture_time(f, r->started_ms) : "", r->started_ms ? "'" : "");
	}
}

/* The SIDs of a list without their "RM_", joined. */
static const char *list(struct fixture *f, const struct list_filter *filter, bool *ret_more)
{
	struct call_view *views;
	size_t count;
	_cleanup_buf_ struct buf b = BUF_INIT;
	int r = store_read_list(f->reader, filter, f->arena, &views, &count, ret_more);
	if (r != 0)
		fail_msg("list: %s: %s", oc_error_text(r), store_reader_last_error(f->reader));
	for (size_t i = 0; i < count; i++)
		buf_put(&b, slice_of(views[i].room_sid.p + 3, views[i].room_sid.n - 3));
	return arena_dup(f->arena, buf_slice(&b));
}

static void lists_newest_first_and_only_the_tenants_own(void **state)
{
	struct fixture *f = *state;
	const int64_t t = 1790000000000;
	const struct listed rows[] = {
		{ "RM_b", "alice", "busy", "inbound", "ended", "+1", "x", t + 2000 }, { "RM_a", "alice", "busy", "inbound", "ended", "+1", "x", t + 1000 },
		{ "RM_z", "bob", "busy", "inbound", "ended", "+1", "x", t + 9000 }, { "RM_c", "alice", "busy", "inbound", "ended", "+1", "x", t + 3001 },
		{ "RM_n", "alice", "busy", "inbound", "ended", "+1", "x", 0 }, { "RM_o", "alice", "busy", "inbound", "ended", "+1", "x", t - 1 },
	};
	bool more;
	fixture_start(f, NULL);
	fill(f, rows, 6);
	assert_string_equal(list(f, &(struct list_filter){ .tenant = SLICE("alice"), .limit = 10 }, &more), "cbano");
	assert_false(more);
	assert_string_equal(list(f, &(struct list_filter){ .tenant = SLICE("bob"), .limit = 10 }, &more), "z");
	assert_string_equal(list(f, &(struct list_filter){ .tenant = SLICE("carol"), .limit = 10 }, &more), "");
	struct call_view *views;
	size_t count;
	assert_int_equal(store_read_list(f->reader, &(struct list_filter){ .tenant = SLICE(""), .limit = 10 }, f->arena, &views, &count, &more), OC_DENIED);
	assert_int_equal(store_read_list(f->reader, &(struct list_filter){ .limit = 10 }, f->arena, &views, &count, &more), OC_DENIED);
}

static void lists_what_the_filters_let_through(void **state)
{
	struct fixture *f = *state;
	const int64_t t = 1790000000000;
	const struct listed rows[] = {
		{ "RM_a", "alice", "busy", "inbound", "ended", "+1", "x", t }, { "RM_b", "alice", "failed", "inbound", "ended", "+1", "x", t + 1000 },
		{ "RM_c", "alice", "busy", "outbound", "ended", "+1", "x", t + 2000 }, { "RM_d", "alice", "busy", "inbound", "active", "+1", "x", t + 3000 },
		{ "RM_e", "alice", "busy", "inbound", "ended", "+2", "x", t + 4000 }, { "RM_f", "alice", "busy", "inbound", "ended", "+1", "y", t + 5000 },
		{ "RM_n", "alice", "busy", "inbound", "ended", "+1", "x", 0 },
	};
	bool more;
	fixture_start(f, NULL);
	fill(f, rows, 7);
	struct slice alice = SLICE("alice");
	assert_string_equal(list(f, &(struct list_filter){ .tenant = alice, .limit = 10, .outcome = SLICE("failed") }, &more), "b");
	assert_string_equal(list(f, &(struct list_filter){ .tenant = alice, .limit = 10, .direction = SLICE("outbound") }, &more), "c");
	assert_string_equal(list(f, &(struct list_filter){ .tenant = alice, .limit = 10, .status = SLICE("active") }, &more), "d");
	assert_string_equal(list(f, &(struct list_filter){ .tenant = alice, .limit = 10, .phone_number = SLICE("+2") }, &more), "e");
	assert_string_equal(list(f, &(struct list_filter){ .tenant = alice, .limit = 10, .room_name = SLICE("y") }, &more), "f");
	assert_string_equal(list(f, &(struct list_filter){ .tenant = alice, .limit = 10, .from_ms = t + 1000, .to_ms = t + 3000 }, &more), "cb");
	assert_string_equal(list(f, &(struct list_filter){ .tenant = alice, .limit = 10, .from_ms = t + 4000 }, &more), "fe");
	assert_string_equal(list(f, &(struct list_filter){ .tenant = alice, .limit = 10, .to_ms = t + 1000 }, &more), "a");
	assert_string_equal(list(f, &(struct list_filter){ .tenant = alice, .limit = 10, .outcome = SLICE("busy"), .direction = SLICE("inbound"),
		.status = SLICE("ended"), .phone_number = SLICE("+1"), .room_name = SLICE("x"), .from_ms = t }, &more), "a");
	assert_string_equal(list(f, &(struct list_filter){ .tenant = alice, .limit = 10, .outcome = SLICE("' OR 1=1 --") }, &more), "");
}

static void a_cursor_goes_on_where_the_page_ended(void **state)
{
	struct fixture *f = *state;
	const int64_t t = 1790000000000;
	struct listed rows[20];
	char sids[20][8];
	fixture_start(f, NULL);
	for (size_t i = 0; i < 20; i++) {
		snprintf(sids[i], sizeof sids[i], "RM_%c", (char)('a' + i));
		rows[i] = (struct listed){ sids[i], "alice", "busy", "inbound", "ended", "+1", "x", i < 3 ? 0 : t + (int64_t)(i / 7) * 1000 };
	}
	fill(f, rows, 20);
	bool more = true;
	_cleanup_buf_ struct buf all = BUF_INIT;
	struct list_filter filter = { .tenant = SLICE("alice"), .limit = 3 };
	for (int page = 0; more && page < 20; page++) {
		struct call_view *views;
		size_t count;
		assert_int_equal(store_read_list(f->reader, &filter, f->arena, &views, &count, &more), 0);
		assert_true(count == 3 || !more);
		for (size_t i = 0; i < count; i++)
			buf_put(&all, slice_of(views[i].room_sid.p + 3, 1));
		filter.has_cursor = true;
		filter.cursor_ms = views[count - 1].sort_key;
		filter.cursor_id = views[count - 1].id;
	}
	bool rest;
	assert_slice(buf_slice(&all), list(f, &(struct list_filter){ .tenant = SLICE("alice"), .limit = 200 }, &rest));
	assert_int_equal(all.n, 20);
	assert_false(rest);
}

#define CASE(name) { #name, name }
const struct store_case read_cases[] = {
	CASE(shows_every_column_of_a_call),
	CASE(an_open_call_has_nulls_where_nothing_is_known),
	CASE(no_tenant_sees_anothers_call),
	CASE(a_call_without_tenant_is_shown_to_nobody),
	CASE(many_tenants_questions_are_answered_at_once),
	CASE(a_hosts_own_columns_are_shown_as_json),
	CASE(a_hosts_call_is_its_tenants_only),
	CASE(the_reader_answers_a_ping),
	CASE(lists_newest_first_and_only_the_tenants_own),
	CASE(lists_what_the_filters_let_through),
	CASE(a_cursor_goes_on_where_the_page_ended),
};
const size_t read_case_count = sizeof read_cases / sizeof *read_cases;
