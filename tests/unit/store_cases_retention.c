/* The store contract: what is not to be kept any longer. */
#include "store_fixture.h"

#include <stdio.h>

#define COUNT(table) "SELECT count(*) FROM " table

static struct kept_call *kept(struct fixture *f, const char *after, size_t limit, size_t *ret_count, struct slice *ret_last)
{
	struct kept_call *calls = NULL;
	assert_int_equal(store_replay_begin(f->store), 0);
	int r = store_kept_calls(f->store, slice_cstr(after), limit, true, f->arena, &calls, ret_count, ret_last);
	if (r < 0)
		fail_msg("%s: %s", oc_error_text(r), store_last_error(f->store));
	store_batch_abort(f->store);
	return calls;
}

/* A transaction with these calls locked; what it gives is for commit(). */
static struct batch *lock(struct fixture *f, const char *sid)
{
	struct batch *b = batch_new(f);
	if (sid)
		batch_room(b, sid, NULL, 0);
	batch_load(b);
	return b;
}

static void commit(struct fixture *f)
{
	const struct store_changes nothing = { .now_ms = f->now_ms };
	assert_int_equal(store_batch_commit(f->store, &nothing, f->arena), 0);
}

static int forget(struct fixture *f, const char *sid, size_t most, struct forgotten *g)
{
	const struct slice s = slice_cstr(sid);
	lock(f, sid);
	int r = store_forget_calls(f->store, &s, 1, most, g);
	if (r < 0)
		store_batch_abort(f->store);
	else
		commit(f);
	return r;
}

static void what_is_kept_comes_in_pages_with_its_age(void **state)
{
	struct fixture *f = *state;
	struct slice last;
	size_t n;
	fixture_start(f, NULL);
	put_call(f, "EV_1", "RM_1", "one", "alice", f->now_ms - HOUR, f->now_ms - MINUTE);
	put_call(f, "EV_2", "RM_2", "two", "bob", f->now_ms - HOUR, 0);
	put_call(f, "EV_3", "RM_3", "three", "alice", f->now_ms - HOUR, f->now_ms);
	fixture_exec(f, "DELETE FROM call_facts WHERE \"roomSid\" = 'RM_3'");
	struct kept_call *c = kept(f, NULL, 2, &n, &last);
	assert_int_equal(n, 2);
	assert_slice(c[0].room_sid, "RM_1");
	assert_slice(c[0].user_id, "alice");
	assert_true(c[0].has_row && c[0].ended && c[0].has_payloads);
	assert_int_equal(c[0].at_ms, f->now_ms - MINUTE);
	assert_slice(c[1].room_sid, "RM_2");
	assert_true(c[1].has_row && !c[1].ended);
	assert_slice(last, "RM_2");
	c = kept(f, "RM_2", 2, &n, &last);
	assert_int_equal(n, 1);
	assert_slice(c[0].room_sid, "RM_3");
	assert_true(!c[0].has_row && c[0].at_ms > 0 && slice_is_none(c[0].user_id) && slice_is_none(last));
}

static void a_call_goes_whole_and_alone(void **state)
{
	struct fixture *f = *state;
	struct forgotten g = { .events = 0 };
	fixture_start(f, NULL);
	put_call(f, "EV_1", "RM_1", "one", "alice", f->now_ms - HOUR, f->now_ms);
	put_call(f, "EV_2", "RM_2", "two", "alice", f->now_ms - HOUR, f->now_ms);
	for (int i = 1; i <= 2; i++) {
		fixture_execf(f, "INSERT INTO call_legs VALUES ('SCL_%d', 'RM_%d')", i, i);
		fixture_execf(f, "INSERT INTO call_revisions (\"roomSid\", revision, \"createdAt\") VALUES ('RM_%d', 1, '%s')", i, fixture_time(f, f->now_ms));
	}
	assert_int_equal(forget(f, "RM_1", 100, &g), 0);
	assert_true(g.events == 1 && g.facts == 1 && g.legs == 1 && g.revisions == 1 && g.call_logs == 1 && g.payloads == 0);
	static const char *const tables[] = { "livekit_call_events", "call_facts", "call_legs", "call_revisions" };
	for (size_t i = 0; i < sizeof tables / sizeof *tables; i++) {
		assert_sql(f, "0", COUNT("%s") " WHERE \"roomSid\" = 'RM_1'", tables[i]);
		assert_sql(f, "1", COUNT("%s") " WHERE \"roomSid\" = 'RM_2'", tables[i]);
	}
	assert_sql(f, "RM_2", "SELECT \"livekitRoomSid\" FROM call_logs");
	assert_int_equal(forget(f, "RM_1", 100, &g), 0);
	assert_int_equal(g.facts, 1); /* once more changes nothing */
}

static void many_events_go_in_several_steps_and_the_row_last(void **state)
{
	struct fixture *f = *state;
	struct forgotten g = { .events = 0 };
	fixture_start(f, NULL);
	struct batch *b = batch_new(f);
	for (int i = 0; i < 5; i++) {
		char id[16];
		snprintf(id, sizeof id, "EV_%d", i);
		batch_event(b, arena_dup(f->arena, slice_cstr(id)), "RM_1", "one", f->now_ms);
	}
	batch_load(b);
	judge(b, "RM_1", "alice", f->now_ms - HOUR, f->now_ms, OUTCOME_COMPLETED);
	batch_commit(b);
	assert_int_equal(forget(f, "RM_1", 2, &g), 1);
	assert_int_equal(forget(f, "RM_1", 2, &g), 1);
	assert_sql(f, "1", COUNT("call_facts"));
	assert_int_equal(forget(f, "RM_1", 2, &g), 0);
	assert_int_equal(g.events, 5);
	assert_sql(f, "0", COUNT("call_facts"));
	assert_sql(f, "0", COUNT("call_logs"));
}

static void a_row_of_the_hosts_stays_as_it_is(void **state)
{
	struct fixture *f = *state;
	struct forgotten g = { .events = 0 };
	fixture_start(f, NULL);
	fixture_execf(f, "INSERT INTO call_logs (id, \"userId\", \"livekitRoomName\", \"createdAt\") VALUES ('7', 'alice', 'one', '%s')",
		fixture_time(f, f->now_ms - HOUR));
	put_call(f, "EV_1", "RM_1", "one", "alice", f->now_ms - HOUR, f->now_ms);
	assert_int_equal(forget(f, "RM_1", 100, &g), 0);
	assert_int_equal(g.call_logs, 0);
	assert_sql(f, "completed", "SELECT outcome FROM call_logs WHERE id = '7' AND \"livekitRoomSid\" = 'RM_1'");
}

static void payloads_go_and_the_event_still_counts_once(void **state)
{
	struct fixture *f = *state;
	struct forgotten g = { .events = 0 };
	const struct slice sid = SLICE("RM_1");
	struct slice last;
	size_t n;
	fixture_start(f, NULL);
	put_call(f, "EV_1", "RM_1", "one", "alice", f->now_ms - HOUR, f->now_ms);
	lock(f, "RM_1");
	assert_int_equal(store_forget_payloads(f->store, &sid, 1, 10, &g), 0);
	commit(f);
	assert_int_equal(g.payloads, 1);
	assert_sql(f, "NULL", "SELECT \"rawPayload\" FROM livekit_call_events WHERE \"eventId\" = 'EV_1'");
	assert_false(kept(f, NULL, 9, &n, &last)[0].has_payloads);
	struct batch *b = batch_new(f);
	batch_event(b, "EV_1", "RM_1", "one", f->now_ms);
	batch_load(b);
	assert_true(b->loaded.known[0]);
	store_batch_abort(f->store);
}

static void strays_go_by_the_time_they_came(void **state)
{
	struct fixture *f = *state;
	struct forgotten g = { .events = 0 };
	fixture_start(f, NULL);
	struct batch *b = batch_new(f);
	batch_event(b, "EV_old", NULL, "nobody", f->now_ms)->created_at_ms = f->now_ms - 2 * DAY;
	batch_event(b, "EV_new", NULL, "nobody", f->now_ms)->created_at_ms = f->now_ms;
	for (size_t i = 0; i < 2; i++) {
		b->rows[i].processed = false;
		b->rows[i].error_message = SLICE(STORE_WAITS);
	}
	batch_load(b);
	batch_commit(b);
	lock(f, NULL);
	assert_int_equal(store_forget_strays(f->store, f->now_ms - DAY, SLICE("alice"), true, 10, &g), 0);
	assert_int_equal(g.payloads, 0);
	assert_int_equal(store_forget_strays(f->store, f->now_ms - DAY, SLICE_NONE, true, 10, &g), 0);
	commit(f);
	assert_int_equal(g.payloads, 1);
	assert_sql(f, STORE_STRIPPED, "SELECT \"errorMessage\" FROM livekit_call_events WHERE \"eventId\" = 'EV_old'");
	assert_sql(f, STORE_WAITS, "SELECT \"errorMessage\" FROM livekit_call_events WHERE \"eventId\" = 'EV_new'");
	lock(f, NULL);
	assert_int_equal(store_forget_strays(f->store, f->now_ms - DAY, SLICE_NONE, false, 1, &g), 1);
	assert_int_equal(store_forget_strays(f->store, f->now_ms - DAY, SLICE_NONE, false, 1, &g), 0);
	commit(f);
	assert_int_equal(g.events, 1);
	assert_sql(f, "EV_new", "SELECT \"eventId\" FROM livekit_call_events");
}

#define CASE(name) { #name, name }

const struct store_case retention_cases[] = {
	CASE(what_is_kept_comes_in_pages_with_its_age),
	CASE(a_call_goes_whole_and_alone),
	CASE(many_events_go_in_several_steps_and_the_row_last),
	CASE(a_row_of_the_hosts_stays_as_it_is),
	CASE(payloads_go_and_the_event_still_counts_once),
	CASE(strays_go_by_the_time_they_came),
};
const size_t retention_case_count = sizeof retention_cases / sizeof *retention_cases;
