/* The store contract: what a replay asks. */
#include "store_fixture.h"

#include <stdio.h>
#include <stdlib.h>

static void begin(struct fixture *f) { assert_int_equal(store_replay_begin(f->store), 0); }

static struct slice *rooms(struct fixture *f, const char *after, int64_t since_ms, size_t limit, size_t *ret_count, struct slice *ret_last)
{
	struct slice *sids;
	int r = store_replay_rooms(f->store, slice_cstr(after), since_ms, limit, f->arena, &sids, ret_count, ret_last);
	if (r < 0)
		fail_msg("%s: %s", oc_error_text(r), store_last_error(f->store));
	return sids;
}

static void put_calls(struct fixture *f, int n)
{
	char id[20], sid[20];
	for (int i = 0; i < n; i++) {
		snprintf(id, sizeof id, "EV_%02d", i);
		snprintf(sid, sizeof sid, "RM_%02d", i);
		put_call(f, id, sid, "room", "alice", f->now_ms - HOUR, f->now_ms);
	}
}

static void rooms_come_in_pages_each_once(void **state)
{
	struct fixture *f = *state;
	size_t count, seen = 0;
	struct slice last = SLICE_NONE;
	fixture_start(f, NULL);
	put_calls(f, 10);
	begin(f);
	int64_t all = 0;
	assert_int_equal(store_replay_count(f->store, &all), 0);
	assert_int_equal(all, 10);
	do {
		const char *after = last.n ? arena_dup(f->arena, last) : NULL;
		struct slice *sids = rooms(f, after, 0, 3, &count, &last);
		for (size_t i = 0; i < count; i++, seen++) {
			char sid[20];
			snprintf(sid, sizeof sid, "RM_%02zu", seen);
			assert_slice(sids[i], sid);
		}
	} while (last.n);
	assert_int_equal(seen, 10);
	store_batch_abort(f->store);
}

static void a_room_is_known_by_its_journal_alone_or_by_its_row_alone(void **state)
{
	struct fixture *f = *state;
	size_t count;
	struct slice last;
	fixture_start(f, NULL);
	put_calls(f, 2);
	fixture_exec(f, "DELETE FROM call_facts WHERE \"roomSid\" = 'RM_00'");
	fixture_exec(f, "DELETE FROM livekit_call_events WHERE \"roomSid\" = 'RM_01'");
	begin(f);
	struct slice *sids = rooms(f, NULL, 0, 10, &count, &last);
	assert_int_equal(count, 2);
	assert_true(slice_is_none(last));
	struct replay_call calls[2];
	assert_int_equal(store_replay_calls(f->store, sids, 2, f->arena, calls), 0);
	assert_slice(calls[0].row.room_sid, "RM_00");
	assert_false(calls[0].row.exists);
	assert_true(calls[1].row.exists);
	store_batch_abort(f->store);
}

static void since_leaves_out_what_was_not_heard_of(void **state)
{
	struct fixture *f = *state;
	size_t count;
	struct slice last;
	fixture_start(f, NULL);
	put_calls(f, 3);
	fixture_execf(f, "UPDATE livekit_call_events SET \"createdAt\" = '%s' WHERE \"roomSid\" = 'RM_01'", fixture_time(f, f->now_ms - DAY));
	begin(f);
	struct slice *sids = rooms(f, NULL, f->now_ms - HOUR, 2, &count, &last);
	assert_int_equal(count, 1);
	assert_slice(sids[0], "RM_00");
	assert_slice(last, "RM_01");
	sids = rooms(f, "RM_01", f->now_ms - HOUR, 2, &count, &last);
	assert_int_equal(count, 1);
	assert_slice(sids[0], "RM_02");
	rooms(f, NULL, f->now_ms - 2 * DAY, 10, &count, &last);
	assert_int_equal(count, 3);
	store_batch_abort(f->store);
}

static void a_call_comes_as_it_is_stored(void **state)
{
	struct fixture *f = *state;
	struct replay_call c;
	struct slice sid = SLICE("RM_00");
	fixture_start(f, NULL);
	put_calls(f, 1);
	fixture_exec(f, "INSERT INTO call_revisions (\"roomSid\", revision, \"createdAt\") VALUES ('RM_00', 4, '2026-01-01T00:00:00.000Z')");
	begin(f);
	assert_int_equal(store_replay_calls(f->store, &sid, 1, f->arena, &c), 0);
	assert_true(c.row.exists && c.row.call_log_is_ours);
	assert_slice(c.row.facts, "room\tended\n");
	assert_slice(c.row.outcome, "completed");
	assert_slice(c.row.user_id, "alice");
	assert_slice(c.row.room_name, "room");
	assert_slice(c.row.call_log_id, made_id(f, "RM_00"));
	assert_slice(c.row.host_user_id, NULL);
	assert_int_equal(c.kept_revision, 4);
	assert_true(c.row.ended_at_ms == f->now_ms);
	store_batch_abort(f->store);
}

static void the_hosts_tenant_comes_with_its_row(void **state)
{
	struct fixture *f = *state;
	struct replay_call c;
	struct slice sid = SLICE("RM_00"), found;
	fixture_start(f, "CREATE TABLE call_logs (id TEXT PRIMARY KEY, \"userId\" TEXT, \"livekitRoomSid\" TEXT, \"createdAt\" TIMESTAMPTZ(3))");
	fixture_exec(f, "INSERT INTO call_logs (id, \"userId\", \"livekitRoomSid\") VALUES ('H1', 'host', 'RM_00')");
	put_calls(f, 1);
	begin(f);
	assert_int_equal(store_replay_calls(f->store, &sid, 1, f->arena, &c), 0);
	assert_slice(c.row.call_log_id, "H1");
	assert_false(c.row.call_log_is_ours);
	assert_slice(c.row.host_user_id, "host");
	assert_int_equal(store_replay_find(f->store, SLICE("H1"), f->arena, &found), 0);
	assert_slice(found, "RM_00");
	store_batch_abort(f->store);
}

static void a_call_is_found_by_room_or_row(void **state)
{
	struct fixture *f = *state;
	struct slice found;
	fixture_start(f, NULL);
	put_calls(f, 2);
	fixture_exec(f, "DELETE FROM call_facts WHERE \"roomSid\" = 'RM_01'");
	begin(f);
	static const char *const ways[][2] = { { "RM_00", "RM_00" }, { "RM_01", "RM_01" }, { NULL, "RM_00" } };
	for (size_t i = 0; i < 3; i++) {
		struct slice id = slice_cstr(ways[i][0] ? ways[i][0] : made_id(f, "RM_00"));
		assert_int_equal(store_replay_find(f->store, id, f->arena, &found), 0);
		assert_slice(found, ways[i][1]);
	}
	static const char *const nobody[] = { "RM_99", "rm_00", "%", "", "\xff" };
	for (size_t i = 0; i < sizeof nobody / sizeof *nobody; i++) {
		begin(f);
		assert_int_not_equal(store_replay_find(f->store, slice_cstr(nobody[i]), f->arena, &found), 0);
	}
	store_batch_abort(f->store);
}

static void legs_are_known_or_not(void **state)
{
	struct fixture *f = *state;
	fixture_start(f, NULL);
	fixture_exec(f, "INSERT INTO call_legs (\"sipCallId\", \"roomSid\") VALUES ('SCL_1', 'RM_00'), ('SCL_2', 'RM_01')");
	struct replay_leg legs[] = { { SLICE("SCL_1"), SLICE("RM_00"), false }, { SLICE("SCL_1"), SLICE("RM_01"), true }, { SLICE("SCL_2"), SLICE("RM_01"), false } };
	begin(f);
	assert_int_equal(store_replay_legs(f->store, legs, 3), 0);
	assert_true(legs[0].known && !legs[1].known && legs[2].known);
	assert_int_equal(store_replay_legs(f->store, NULL, 0), 0);
	store_batch_abort(f->store);
}

/* ---- the journal ---- */

#define MANY 700 /* more than is fetched at a time */

static void put_events(struct fixture *f, const char *sid, int from, int n)
{
	for (int i = from; i < from + n;) {
		struct batch *b = batch_new(f);
		for (int k = 0; k < BATCH_MAX && i < from + n; k++, i++) {
			char id[40];
			snprintf(id, sizeof id, "EV_%s_%04d", sid, i);
			batch_event(b, arena_dup(f->arena, slice_cstr(id)), sid, "room", f->now_ms)->payload = SLICE("{\"a\": 1}");
		}
		batch_load(b);
		judge(b, sid, "alice", f->now_ms, 0, OUTCOME_NONE);
		batch_commit(b);
	}
}

static void the_journal_comes_row_by_row_and_call_by_call(void **state)
{
	struct fixture *f = *state;
	fixture_start(f, NULL);
	put_events(f, "RM_a", 0, MANY);
	put_events(f, "RM_b", 0, 3);
	put_events(f, "RM_c", 0, 3);
	begin(f);
	const struct slice sids[] = { SLICE("RM_a"), SLICE("RM_c"), SLICE("RM_none") };
	struct journal_row row;
	int r, of_a = 0, of_c = 0;
	for (int turn = 0; turn < 2; turn++) {
		of_a = of_c = 0;
		assert_int_equal(store_journal_open(f->store, sids, 3), 0);
		while ((r = store_journal_next(f->store, f->arena, &row)) > 0) {
			bool a = slice_eq(row.room_sid, sids[0]);
			assert_true(a || slice_eq(row.room_sid, sids[1]));
			assert_true(a ? of_c == 0 || of_c == 3 : of_a == 0 || of_a == MANY);
			of_a += a;
			of_c += !a;
			assert_true(row.processed);
			assert_slice(row.user_id, "alice");
			assert_slice(row.source, "livekit");
			assert_int_equal(row.payload.p[0], '{');
		}
		assert_int_equal(r, 0);
		store_journal_close(f->store);
	}
	assert_int_equal(of_a, MANY);
	assert_int_equal(of_c, 3);
	store_journal_close(f->store);
	store_batch_abort(f->store);
}

static void reading_may_end_early_and_goes_on_inside_a_batch(void **state)
{
	struct fixture *f = *state;
	const struct slice sid = SLICE("RM_a");
	struct journal_row row;
	fixture_start(f, NULL);
	put_events(f, "RM_a", 0, 20);
	struct batch *b = batch_new(f);
	batch_room(b, "RM_a", NULL, f->now_ms);
	batch_load(b);
	assert_int_equal(store_journal_open(f->store, &sid, 1), 0);
	assert_int_equal(store_journal_next(f->store, f->arena, &row), 1);
	store_journal_close(f->store);
	judge(b, "RM_a", "bob", f->now_ms, 0, OUTCOME_NONE);
	batch_commit(b);
	assert_sql(f, "20", "SELECT count(*) FROM livekit_call_events WHERE \"userId\" = 'bob'");
}

static void a_large_body_comes_whole(void **state)
{
	struct fixture *f = *state;
	const struct slice sid = SLICE("RM_a");
	size_t n = 300000;
	char *text = arena_alloc(f->arena, n);
	struct journal_row row;
	fixture_start(f, NULL);
	memset(text, 'x', n);
	text[0] = text[n - 1] = '"';
	struct batch *b = batch_new(f);
	batch_event(b, "EV_large", "RM_a", "room", f->now_ms)->payload = slice_of(text, n);
	struct journal_row *raw = batch_event(b, "EV_raw", "RM_a", "room", f->now_ms);
	raw->payload = SLICE_NONE;
	text[1] = '\0';
	char *body = arena_alloc(f->arena, n);
	memcpy(body, text, n);
	text[1] = 'x';
	raw->raw_body = slice_of(body, n);
	raw->processed = false;
	raw->error_message = SLICE("unreadable");
	batch_load(b);
	judge(b, "RM_a", "alice", f->now_ms, 0, OUTCOME_NONE);
	batch_commit(b);
	begin(f);
	assert_int_equal(store_journal_open(f->store, &sid, 1), 0);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(store_journal_next(f->store, f->arena, &row), 1);
		bool large = slice_eq(row.event_id, SLICE("EV_large"));
		assert_true(slice_eq(large ? row.payload : row.raw_body, large ? slice_of(text, n) : slice_of(body, n)));
		assert_true(slice_is_none(large ? row.raw_body : row.payload));
		assert_true(row.processed == large);
	}
	assert_int_equal(store_journal_next(f->store, f->arena, &row), 0);
	store_journal_close(f->store);
	store_batch_abort(f->store);
}

static void what_lies_aside_without_a_room_comes_oldest_first(void **state)
{
	struct fixture *f = *state;
	struct journal_row *rows;
	size_t count;
	fixture_start(f, NULL);
	struct batch *b = batch_new(f);
	for (int i = 0; i < 5; i++) {
		char id[20];
		snprintf(id, sizeof id, "EV_%d", i);
		struct journal_row *r = batch_event(b, arena_dup(f->arena, slice_cstr(id)), NULL, NULL, f->now_ms);
		r->processed = i == 2;
		r->error_message = i == 2 ? SLICE_NONE : SLICE("names no room");
		r->created_at_ms = f->now_ms - (i < 4 ? 1000 : 2000);
	}
	b->touch.name_count = 0;
	batch_load(b);
	batch_commit(b);
	begin(f);
	assert_int_equal(store_journal_strays(f->store, 0, SLICE_NONE, 2, f->arena, &rows, &count), 0);
	assert_int_equal(count, 2);
	assert_slice(rows[0].event_id, "EV_4");
	assert_slice(rows[1].event_id, "EV_0");
	assert_int_equal(store_journal_strays(f->store, rows[1].created_at_ms, rows[1].event_id, 10, f->arena, &rows, &count), 0);
	assert_int_equal(count, 2);
	assert_slice(rows[0].event_id, "EV_1");
	assert_slice(rows[1].event_id, "EV_3");
	assert_slice(rows[1].error_message, "names no room");
	store_batch_abort(f->store);
}

/* A snapshot waits for nobody and nobody for it. */
static void a_look_sees_one_moment_and_holds_nobody_up(void **state)
{
	struct fixture *f = *state;
	struct store *other;
	struct slice sid = SLICE("RM_00");
	struct replay_call c;
	fixture_start(f, NULL);
	put_calls(f, 1);
	assert_int_equal(store_open(&f->options, f->arena, &other, NULL), 0);
	assert_int_equal(store_replay_begin(other), 0);
	assert_int_equal(store_replay_calls(other, &sid, 1, f->arena, &c), 0);
	fixture_exec(f, "UPDATE call_facts SET facts = 'later'");
	put_call(f, "EV_more", "RM_00", "room", "alice", f->now_ms - HOUR, f->now_ms + 1);
	assert_int_equal(store_replay_calls(other, &sid, 1, f->arena, &c), 0);
	assert_slice(c.row.facts, "room\tended\n");
	store_batch_abort(other);
	store_close(other);
}

#define CASE(name) { #name, name }

const struct store_case replay_cases[] = {
	CASE(rooms_come_in_pages_each_once),
	CASE(a_room_is_known_by_its_journal_alone_or_by_its_row_alone),
	CASE(since_leaves_out_what_was_not_heard_of),
	CASE(a_call_comes_as_it_is_stored),
	CASE(the_hosts_tenant_comes_with_its_row),
	CASE(a_call_is_found_by_room_or_row),
	CASE(legs_are_known_or_not),
	CASE(the_journal_comes_row_by_row_and_call_by_call),
	CASE(reading_may_end_early_and_goes_on_inside_a_batch),
	CASE(a_large_body_comes_whole),
	CASE(what_lies_aside_without_a_room_comes_oldest_first),
	CASE(a_look_sees_one_moment_and_holds_nobody_up),
};
const size_t replay_case_count = sizeof replay_cases / sizeof *replay_cases;
