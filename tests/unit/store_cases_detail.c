/* The store contract: a call whole, the verdicts that a later one replaced, and its journal. */
#include "store_fixture.h"

#include <stdio.h>

static int whole(struct fixture *f, const char *tenant, const char *call_id, struct call_detail *ret)
{
	int r = store_read_call(f->reader, slice_cstr(tenant), slice_cstr(call_id), f->arena, ret);
	if (r != 0 && r != OC_NOT_FOUND && r != OC_DENIED)
		fail_msg("read: %s: %s", oc_error_text(r), store_reader_last_error(f->reader));
	return r;
}

/* Another verdict of the call, as the writer sets it when its bytes differ. */
static void judge_again(struct fixture *f, const char *sid, const char *verdict, const char *outcome, int64_t revision)
{
	struct batch *b = batch_new(f);
	batch_room(b, sid, NULL, f->now_ms);
	batch_load(b);
	struct call_row *row = batch_call(b, sid);
	struct verdict *v = judge(b, sid, "alice", f->now_ms - HOUR, f->now_ms, OUTCOME_COMPLETED);
	row->verdict = slice_cstr(verdict);
	row->outcome = slice_cstr(outcome);
	row->revision = revision;
	v->outcome = outcome ? outcome_from_name(row->outcome) : OUTCOME_NONE;
	batch_commit(b);
}

/* ---- a call whole ---- */

static void a_call_is_shown_with_its_facts(void **state)
{
	struct fixture *f = *state;
	struct call_detail d;
	fixture_start(f, NULL);
	put_call(f, "EV_a", "RM_one", "room", "alice", f->now_ms - HOUR, f->now_ms);
	for (int by_id = 0; by_id < 2; by_id++) {
		assert_int_equal(whole(f, "alice", by_id ? made_id(f, "RM_one") : "RM_one", &d), 0);
		assert_slice(d.view.room_sid, "RM_one");
		assert_slice(d.view.id, made_id(f, "RM_one"));
		assert_slice(d.facts, "room\tended\n");
		assert_int_equal(d.rules, 1);
		assert_true(d.facts_updated_ms == f->now_ms);
		assert_int_equal(d.revision_count, 0);
	}
}

static void a_hosts_row_that_was_never_judged_has_no_facts(void **state)
{
	struct fixture *f = *state;
	struct call_detail d;
	fixture_start(f, "CREATE TABLE call_logs (id TEXT PRIMARY KEY, \"userId\" TEXT, \"livekitRoomSid\" TEXT, \"createdAt\" TIMESTAMPTZ(3))");
	fixture_exec(f, "INSERT INTO call_logs (id, \"userId\", \"livekitRoomSid\") VALUES ('H1', 'host', 'RM_one'), ('H2', 'host', NULL)");
	for (int i = 1; i <= 2; i++) {
		assert_int_equal(whole(f, "host", i == 1 ? "H1" : "H2", &d), 0);
		assert_slice(d.facts, NULL);
		assert_true(d.rules == 0 && d.revision_count == 0 && d.facts_updated_ms == 0);
	}
}

static void a_call_without_a_row_is_shown_whole_too(void **state)
{
	struct fixture *f = *state;
	struct call_detail d;
	fixture_start(f, "CREATE TABLE call_logs (id TEXT PRIMARY KEY, \"userId\" TEXT, must TEXT NOT NULL, \"createdAt\" TIMESTAMPTZ(3))");
	put_call(f, "EV_a", "RM_one", "room", "alice", f->now_ms - HOUR, f->now_ms);
	assert_int_equal(whole(f, "alice", "RM_one", &d), 0);
	assert_slice(d.view.id, NULL);
	assert_slice(d.facts, "room\tended\n");
}

static void no_tenant_sees_anothers_call_whole(void **state)
{
	struct fixture *f = *state;
	struct call_detail d;
	fixture_start(f, NULL);
	put_call(f, "EV_a", "RM_one", "room", "alice", f->now_ms, 0);
	put_call(f, "EV_b", "RM_two", "room", NULL, f->now_ms, 0);
	static const char *const strangers[] = { "bob", "Alice", "alice ", "%", "NULL", "\xff\xfe" };
	for (size_t i = 0; i < sizeof strangers / sizeof *strangers; i++) {
		assert_int_equal(whole(f, strangers[i], "RM_one", &d), OC_NOT_FOUND);
		assert_int_equal(whole(f, strangers[i], "RM_two", &d), OC_NOT_FOUND);
		assert_int_equal(whole(f, strangers[i], made_id(f, "RM_one"), &d), OC_NOT_FOUND);
	}
	assert_int_equal(whole(f, "", "RM_one", &d), OC_DENIED);
	assert_int_equal(store_read_call(f->reader, SLICE_NONE, SLICE("RM_one"), f->arena, &d), OC_DENIED);
	assert_int_equal(whole(f, "alice", "", &d), OC_NOT_FOUND);
	assert_int_equal(store_read_call(f->reader, SLICE("alice"), SLICE("RM\0one"), f->arena, &d), OC_NOT_FOUND);
}

/* A host may give a call's row to somebody else; what the former tenant's marks made of the call is not given along. */
static void a_verdict_that_names_marks_does_not_go_with_its_row(void **state)
{
	struct fixture *f = *state;
	struct call_detail d;
	fixture_start(f, NULL);
	put_call(f, "EV_a", "RM_one", "room", "alice", f->now_ms - HOUR, f->now_ms);
	judge_again(f, "RM_one", "{\"evidence\":[{\"eventId\":\"MK_1\"}]}", "busy", 2);
	assert_int_equal(whole(f, "alice", "RM_one", &d), 0);
	assert_false(slice_is_none(d.view.verdict));
	fixture_exec(f, "UPDATE call_logs SET \"userId\" = 'bob'");
	assert_int_equal(whole(f, "alice", "RM_one", &d), OC_NOT_FOUND);
	assert_int_equal(whole(f, "bob", "RM_one", &d), 0);
	assert_true(slice_is_none(d.view.verdict));
	assert_true(slice_eq_cstr(d.view.outcome, "busy"));
	judge_again(f, "RM_one", "{\"evidence\":[{\"eventId\":\"EV_a\"}]}", "busy", 3);
	fixture_exec(f, "UPDATE call_logs SET \"userId\" = 'bob'");
	assert_int_equal(whole(f, "bob", "RM_one", &d), 0);
	assert_false(slice_is_none(d.view.verdict));
}

/* ---- revisions ---- */

static void a_final_verdict_that_changes_is_kept(void **state)
{
	struct fixture *f = *state;
	struct call_detail d;
	fixture_start(f, NULL);
	put_call(f, "EV_a", "RM_one", "room", "alice", f->now_ms - HOUR, f->now_ms);
	judge_again(f, "RM_one", "{\"outcome\":\"busy\"}", "busy", 2);
	judge_again(f, "RM_one", "{\"outcome\":\"failed\"}", "failed", 3);
	assert_int_equal(whole(f, "alice", "RM_one", &d), 0);
	assert_slice(d.view.verdict, "{\"outcome\":\"failed\"}");
	assert_true(d.view.revision == 3);
	assert_int_equal(d.revision_count, 2);
	assert_true(d.revisions[0].revision == 1 && d.revisions[1].revision == 2);
	assert_slice(d.revisions[0].verdict, "{\"outcome\":\"x\",\"reason\":\"hangup\"}");
	assert_slice(d.revisions[1].verdict, "{\"outcome\":\"busy\"}");
	assert_true(d.revisions[0].replaced_at_ms == f->now_ms);
	assert_slice(d.facts, "room\tended\n");
	assert_sql(f, "completed", "SELECT outcome FROM call_revisions WHERE revision = 1");
	assert_sql(f, "1", "SELECT rules FROM call_revisions WHERE revision = 2");
}

static void a_call_that_opens_again_keeps_the_verdict_it_had(void **state)
{
	struct fixture *f = *state;
	struct call_detail d;
	fixture_start(f, NULL);
	put_call(f, "EV_a", "RM_one", "room", "alice", f->now_ms - HOUR, f->now_ms);
	judge_again(f, "RM_one", "{\"outcome\":null}", NULL, 1);
	judge_again(f, "RM_one", "{\"outcome\":\"busy\"}", "busy", 2);
	assert_int_equal(whole(f, "alice", "RM_one", &d), 0);
	assert_int_equal(d.revision_count, 1);
	assert_slice(d.revisions[0].verdict, "{\"outcome\":\"x\",\"reason\":\"hangup\"}");
}

static void the_same_verdict_again_makes_no_revision(void **state)
{
	struct fixture *f = *state;
	fixture_start(f, NULL);
	put_call(f, "EV_a", "RM_one", "room", "alice", f->now_ms - HOUR, 0);
	assert_sql(f, "0", "SELECT count(*) FROM call_revisions");
	for (int i = 0; i < 2; i++)
		put_call(f, i ? "EV_c" : "EV_b", "RM_one", "room", "alice", f->now_ms - HOUR, f->now_ms);
	judge_again(f, "RM_one", "{\"outcome\":\"x\",\"reason\":\"hangup\"}", "completed", 1);
	assert_sql(f, "0", "SELECT count(*) FROM call_revisions");
}

static void a_batch_that_is_rolled_back_keeps_no_revision(void **state)
{
	struct fixture *f = *state;
	fixture_start(f, NULL);
	put_call(f, "EV_a", "RM_one", "room", "alice", f->now_ms - HOUR, f->now_ms);
	struct batch *b = batch_new(f);
	struct journal_row *row = batch_event(b, "EV_b", "RM_one", "room", f->now_ms);
	row->payload = SLICE("{\"n\": \"\xff\"}"); /* no store takes it */
	batch_load(b);
	judge(b, "RM_one", "alice", f->now_ms - HOUR, f->now_ms, OUTCOME_BUSY);
	batch_call(b, "RM_one")->verdict = SLICE("{\"outcome\":\"busy\"}");
	batch_call(b, "RM_one")->revision = 2;
	assert_int_equal(batch_try_commit(b), OC_DATA);
	assert_sql(f, "0", "SELECT count(*) FROM call_revisions");
	assert_sql(f, "completed", "SELECT outcome FROM call_facts");
}

/* ---- the journal ---- */

struct page {
	struct event_view *rows;
	size_t count;
	bool more;
};

static int journal(struct fixture *f, const struct events_query *q, struct page *ret)
{
	int r = store_read_events(f->reader, q, f->arena, &ret->rows, &ret->count, &ret->more);
	if (r != 0 && r != OC_NOT_FOUND && r != OC_DENIED)
		fail_msg("read: %s: %s", oc_error_text(r), store_reader_last_error(f->reader));
	return r;
}

static const struct events_query of_alice = { .tenant = { "alice", 5 }, .call_id = { "RM_one", 6 }, .limit = 200 };

static void the_journal_has_its_columns(void **state)
{
	struct fixture *f = *state;
	struct page p;
	fixture_start(f, NULL);
	put_call(f, "EV_a", "RM_one", "room", "alice", f->now_ms - HOUR, f->now_ms);
	assert_int_equal(journal(f, &of_alice, &p), 0);
	assert_int_equal(p.count, 1);
	assert_false(p.more);
	const struct event_view *e = &p.rows[0];
	assert_slice(e->id, fixture_text(f, "SELECT id FROM livekit_call_events"));
	assert_slice(e->user_id, "alice");
	assert_slice(e->call_log_id, made_id(f, "RM_one"));
	assert_slice(e->event_id, "EV_a");
	assert_slice(e->event, "participant_joined");
	assert_slice(e->room_name, "room");
	assert_slice(e->room_sid, "RM_one");
	assert_slice(e->participant_identity, "sip_+15105550100");
	assert_slice(e->participant_sid, "PA_one");
	assert_slice(e->payload, "{\"n\": 1}");
	assert_slice(e->raw_body, NULL);
	assert_slice(e->error_message, NULL);
	assert_slice(e->source, "livekit");
	assert_int_equal(e->body_hash.n, 64);
	assert_slice(e->key_id, "APIkey");
	assert_slice(e->sip_call_id, NULL);
	assert_true(e->timestamp_s == (f->now_ms - HOUR) / 1000 && e->processed && e->created_at_ms == f->now_ms && e->processed_at_ms == f->now_ms);
}

static void an_event_without_payload_shows_its_bytes(void **state)
{
	struct fixture *f = *state;
	struct page p;
	fixture_start(f, NULL);
	struct batch *b = batch_new(f);
	struct journal_row *row = batch_event(b, "EV_a", "RM_one", "room", f->now_ms);
	row->payload = SLICE_NONE;
	row->raw_body = SLICE("\0\xff{");
	row->processed = false;
	row->error_message = SLICE("the body is not JSON");
	batch_load(b);
	judge(b, "RM_one", "alice", f->now_ms, 0, OUTCOME_NONE);
	batch_commit(b);
	assert_int_equal(journal(f, &of_alice, &p), 0);
	assert_int_equal(p.count, 1);
	assert_true(slice_eq(p.rows[0].raw_body, SLICE("\0\xff{")));
	assert_slice(p.rows[0].payload, NULL);
	assert_slice(p.rows[0].error_message, "the body is not JSON");
	assert_false(p.rows[0].processed);
}

static void put_events(struct fixture *f, size_t n, const char *payload)
{
	struct batch *b = batch_new(f);
	for (size_t i = 0; i < n; i++) {
		char id[16];
		snprintf(id, sizeof id, "EV_%02zu", (i * 7) % n); /* ids do not sort as they came */
		struct slice kept = SLICE_NONE;
		assert_true(arena_copy(f->arena, slice_of(id, strlen(id) + 1), &kept));
		struct journal_row *row = batch_event(b, kept.p, "RM_one", "room", f->now_ms);
		if (payload)
			row->payload = slice_cstr(payload);
	}
	batch_load(b);
	judge(b, "RM_one", "alice", f->now_ms, 0, OUTCOME_NONE);
	batch_commit(b);
}

static void the_journal_is_read_in_pages_oldest_first(void **state)
{
	struct fixture *f = *state;
	_cleanup_buf_ struct buf all = BUF_INIT;
	struct events_query q = of_alice;
	struct page p = { .more = true };
	fixture_start(f, NULL);
	put_events(f, 20, NULL);
	q.limit = 6;
	for (int pages = 0; p.more && pages < 20; pages++) {
		assert_int_equal(journal(f, &q, &p), 0);
		assert_true(p.count == 6 || !p.more);
		for (size_t i = 0; i < p.count; i++)
			buf_put(&all, p.rows[i].event_id);
		q.has_cursor = true;
		q.cursor_position = p.rows[p.count - 1].position;
		q.cursor_id = p.rows[p.count - 1].event_id;
	}
	_cleanup_buf_ struct buf expected = BUF_INIT;
	for (unsigned i = 0; i < 20; i++)
		buf_putf(&expected, "EV_%02u", i * 7 % 20);
	buf_putc(&expected, '\0');
	assert_slice(buf_slice(&all), expected.p);
	assert_int_equal(journal(f, &q, &p), 0);
	assert_int_equal(p.count, 0);
	assert_false(p.more);
}

static void a_page_of_large_events_ends_early(void **state)
{
	struct fixture *f = *state;
	struct events_query q = of_alice;
	struct page p;
	const size_t size = STORE_EVENTS_BYTES * 2 / 5;
	char *large = arena_alloc(f->arena, size + 1);
	fixture_start(f, NULL);
	assert_non_null(large);
	memset(large, 'x', size);
	memcpy(large, "[\"", 2);
	memcpy(large + size - 2, "\"]", 2);
	put_events(f, 4, large);
	assert_int_equal(journal(f, &q, &p), 0);
	assert_int_equal(p.count, 3); /* the third one brings it over the limit */
	assert_true(p.more && p.rows[2].payload.n > STORE_EVENTS_BYTES / 3);
	q.has_cursor = true;
	q.cursor_position = p.rows[2].position;
	q.cursor_id = p.rows[2].event_id;
	assert_int_equal(journal(f, &q, &p), 0);
	assert_int_equal(p.count, 1);
	assert_false(p.more);
}

static void no_tenant_sees_anothers_journal(void **state)
{
	struct fixture *f = *state;
	struct events_query q = of_alice;
	struct page p;
	fixture_start(f, NULL);
	put_call(f, "EV_a", "RM_one", "room", "alice", f->now_ms, 0);
	put_call(f, "EV_b", "RM_two", "room", NULL, f->now_ms, 0);
	static const char *const strangers[] = { "bob", "Alice", "%", "NULL" };
	for (size_t i = 0; i < sizeof strangers / sizeof *strangers; i++) {
		q.tenant = slice_cstr(strangers[i]);
		q.call_id = SLICE("RM_one");
		assert_int_equal(journal(f, &q, &p), OC_NOT_FOUND);
		q.call_id = slice_cstr(made_id(f, "RM_one"));
		assert_int_equal(journal(f, &q, &p), OC_NOT_FOUND);
		q.call_id = SLICE("RM_two");
		assert_int_equal(journal(f, &q, &p), OC_NOT_FOUND);
	}
	q.tenant = SLICE("");
	assert_int_equal(journal(f, &q, &p), OC_DENIED);
	q.tenant = SLICE("alice");
	q.call_id = SLICE("");
	assert_int_equal(journal(f, &q, &p), OC_NOT_FOUND);
}

static void a_row_of_another_tenant_or_of_none_is_left_out_of_the_journal(void **state)
{
	struct fixture *f = *state;
	struct page p;
	fixture_start(f, NULL);
	put_events(f, 4, NULL);
	fixture_exec(f, "UPDATE livekit_call_events SET \"userId\" = 'bob' WHERE \"eventId\" = 'EV_00'");
	fixture_exec(f, "UPDATE livekit_call_events SET \"userId\" = NULL WHERE \"eventId\" = 'EV_01'");
	fixture_exec(f, "UPDATE livekit_call_events SET \"roomSid\" = 'RM_two' WHERE \"eventId\" = 'EV_02'");
	assert_int_equal(journal(f, &of_alice, &p), 0);
	assert_int_equal(p.count, 1);
	assert_slice(p.rows[0].event_id, "EV_03");
}

static void a_hosts_call_without_a_room_has_an_empty_journal(void **state)
{
	struct fixture *f = *state;
	struct page p;
	fixture_start(f, "CREATE TABLE call_logs (id TEXT PRIMARY KEY, \"userId\" TEXT, \"livekitRoomSid\" TEXT, \"createdAt\" TIMESTAMPTZ(3))");
	fixture_exec(f, "INSERT INTO call_logs (id, \"userId\") VALUES ('H1', 'alice')");
	struct events_query q = of_alice;
	q.call_id = SLICE("H1");
	assert_int_equal(journal(f, &q, &p), 0);
	assert_int_equal(p.count, 0);
	assert_false(p.more);
}

#define CASE(name) { #name, name }
const struct store_case detail_cases[] = {
	CASE(a_call_is_shown_with_its_facts),
	CASE(a_hosts_row_that_was_never_judged_has_no_facts),
	CASE(a_call_without_a_row_is_shown_whole_too),
	CASE(no_tenant_sees_anothers_call_whole),
	CASE(a_verdict_that_names_marks_does_not_go_with_its_row),
	CASE(a_final_verdict_that_changes_is_kept),
	CASE(a_call_that_opens_again_keeps_the_verdict_it_had),
	CASE(the_same_verdict_again_makes_no_revision),
	CASE(a_batch_that_is_rolled_back_keeps_no_revision),
	CASE(the_journal_has_its_columns),
	CASE(an_event_without_payload_shows_its_bytes),
	CASE(the_journal_is_read_in_pages_oldest_first),
	CASE(a_page_of_large_events_ends_early),
	CASE(no_tenant_sees_anothers_journal),
	CASE(a_row_of_another_tenant_or_of_none_is_left_out_of_the_journal),
	CASE(a_hosts_call_without_a_room_has_an_empty_journal),
};
const size_t detail_case_count = sizeof detail_cases / sizeof *detail_cases;
