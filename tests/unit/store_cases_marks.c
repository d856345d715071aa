/* The store contract: marks. Legs lead to their calls and marks wait for legs; a tenant's own mark stays that tenant's, whoever's the call is. */
#include "store_fixture.h"

#include <stdio.h>

#define EVENTS "livekit_call_events"
#define ROW "SELECT coalesce(\"userId\", '-') || '|' || coalesce(\"callLogId\", '-') || '|' || coalesce(\"roomSid\", '-') || '|' || processed || '|' || " \
	"coalesce(\"errorMessage\", '-') FROM " EVENTS " WHERE \"eventId\" = '%s'"

/* `user` NULL: of one who may speak about every call. What it names is in `row` as the writer would put it. */
static struct journal_row *mark(struct batch *b, const char *id, const char *sid, const char *name, const char *leg, const char *user)
{
	char json[200];
	struct journal_row *row = batch_event(b, id, sid, name, b->f->now_ms);
	snprintf(json, sizeof json, user ? "{\"event\":\"mark\",\"kind\":\"ended\",\"userId\":\"%s\"}" : "{\"event\":\"mark\",\"kind\":\"ended\"}", user);
	row->event = SLICE("mark");
	row->source = SLICE("mark");
	row->payload = slice_cstr(arena_dup(b->f->arena, slice_cstr(json)));
	row->participant_identity = row->participant_sid = row->key_id = SLICE_NONE;
	row->user_id = slice_cstr(user);
	row->own_tenant = user != NULL;
	row->sip_call_id = slice_cstr(leg);
	if (name) {
		b->name_users[b->touch.name_count - 1] = slice_cstr(user);
	} else if (leg) {
		b->leg_ids[b->touch.leg_count++] = slice_cstr(leg);
		row->processed = false;
		row->processed_at_ms = 0;
		row->error_message = SLICE(STORE_WAITS);
	}
	return row;
}

/* A call with a leg. */
static void put_leg(struct fixture *f, const char *event_id, const char *sid, const char *leg, const char *user)
{
	struct slice *ids = ARENA_NEW(f->arena, struct slice);
	struct batch *b = batch_new(f);
	*ids = slice_cstr(leg);
	batch_event(b, event_id, sid, "room", f->now_ms);
	batch_load(b);
	judge(b, sid, user, f->now_ms, 0, OUTCOME_NONE);
	batch_call(b, sid)->new_legs = ids;
	batch_call(b, sid)->new_leg_count = 1;
	batch_commit(b);
}

static bool offers(const struct batch *b, const char *event_id)
{
	for (size_t i = 0; i < b->loaded.unbound_count; i++)
		if (slice_eq_cstr(b->loaded.unbound[i].event_id, event_id))
			return true;
	return false;
}

/* ---- legs ---- */

static void a_leg_is_kept_once_and_leads_to_its_calls(void **state)
{
	struct fixture *f = *state;
	fixture_start(f, NULL);
	put_leg(f, "EV_1", "RM_one", "SCL_1", "alice");
	put_leg(f, "EV_2", "RM_one", "SCL_1", "alice");
	put_leg(f, "EV_3", "RM_two", "SCL_1", "bob");
	put_leg(f, "EV_4", "RM_three", "SCL_3", "bob");
	assert_sql(f, "3", "SELECT count(*) FROM call_legs");
	struct batch *b = batch_new(f);
	mark(b, "MK_1", NULL, NULL, "SCL_1", NULL);
	mark(b, "MK_2", NULL, NULL, "SCL_none", NULL);
	batch_load(b);
	assert_int_equal(b->loaded.call_count, 2);
	assert_slice(batch_call(b, "RM_one")->user_id, "alice");
	assert_slice(batch_call(b, "RM_two")->user_id, "bob");
	store_batch_abort(f->store);
}

static void a_leg_and_a_room_of_one_batch_are_loaded_once(void **state)
{
	struct fixture *f = *state;
	fixture_start(f, NULL);
	put_leg(f, "EV_1", "RM_one", "SCL_1", "alice");
	struct batch *b = batch_new(f);
	mark(b, "MK_1", NULL, NULL, "SCL_1", NULL);
	batch_event(b, "EV_2", "RM_one", "room", f->now_ms);
	batch_event(b, "EV_3", NULL, "room", f->now_ms);
	batch_load(b);
	assert_int_equal(b->loaded.call_count, 1);
	assert_slice(b->loaded.name_room_sids[0], "RM_one");
	store_batch_abort(f->store);
}

static void a_mark_that_waits_is_offered_when_its_leg_comes(void **state)
{
	struct fixture *f = *state;
	fixture_start(f, NULL);
	struct batch *b = batch_new(f);
	mark(b, "MK_1", NULL, NULL, "SCL_1", NULL);
	mark(b, "MK_2", NULL, NULL, "SCL_2", NULL);
	batch_load(b);
	batch_commit(b);
	assert_sql(f, "-|-|-|0|" STORE_WAITS, ROW, "MK_1");
	assert_sql(f, "SCL_1", "SELECT \"sipCallId\" FROM " EVENTS " WHERE \"eventId\" = 'MK_1'");
	b = batch_new(f);
	batch_event(b, "EV_1", "RM_one", "room", f->now_ms);
	batch_load(b);
	assert_int_equal(b->loaded.unbound_count, 0);
	store_batch_abort(f->store);
	b = batch_new(f);
	batch_event(b, "EV_1", "RM_one", "room", f->now_ms);
	b->sip_call_ids[b->touch.sip_call_count++] = SLICE("SCL_1");
	batch_load(b);
	assert_int_equal(b->loaded.unbound_count, 1);
	assert_slice(b->loaded.unbound[0].event_id, "MK_1");
	assert_slice(b->loaded.unbound[0].source, "mark");
	assert_slice(b->loaded.unbound[0].room_name, NULL);
	assert_true(b->loaded.unbound[0].timestamp_s == f->now_ms / 1000);
	judge(b, "RM_one", "alice", f->now_ms, 0, OUTCOME_NONE);
	batch_bind(b, "MK_1", "RM_one");
	batch_commit(b);
	assert_sql(f, "alice|RM_one|1", "SELECT \"userId\" || '|' || \"roomSid\" || '|' || processed FROM " EVENTS " WHERE \"eventId\" = 'MK_1' "
		"AND \"callLogId\" = '%s'", made_id(f, "RM_one"));
}

/* What two nodes at once left over: the mark was put down while its leg was on its way. */
static void a_sweep_finds_the_calls_of_legs_that_marks_wait_for(void **state)
{
	struct fixture *f = *state;
	fixture_start(f, NULL);
	put_leg(f, "EV_1", "RM_one", "SCL_1", "alice");
	put_leg(f, "EV_2", "RM_two", "SCL_2", "alice");
	struct batch *b = batch_new(f);
	mark(b, "MK_1", NULL, NULL, "SCL_1", NULL);
	batch_load(b);
	batch_commit(b);
	assert_true(is_due(f, "RM_one", f->now_ms + MINUTE));
	assert_false(is_due(f, "RM_two", f->now_ms + 2 * MINUTE));
	b = batch_new(f);
	batch_room(b, "RM_one", NULL, 0);
	batch_room(b, "RM_two", NULL, 0);
	batch_load(b);
	assert_int_equal(b->loaded.unbound_count, 1);
	assert_true(offers(b, "MK_1"));
	batch_bind(b, "MK_1", "RM_one");
	batch_commit(b);
	assert_false(is_due(f, "RM_one", f->now_ms + 3 * MINUTE));
}

/* Marks for legs that never come are not gone through at every sweep: it goes on where it stopped. */
static void a_sweep_gets_round_to_each_mark_however_many_wait(void **state)
{
	struct fixture *f = *state;
	fixture_start(f, NULL);
	put_leg(f, "EV_1", "RM_one", "SCL_one", "alice");
	struct batch *b = batch_new(f);
	mark(b, "MK_1", NULL, NULL, "SCL_one", NULL);
	batch_load(b);
	batch_commit(b);
	fixture_exec(f, "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 4100) "
		"INSERT INTO " EVENTS " (\"eventId\", event, source, processed, \"errorMessage\", \"createdAt\", \"bodyHash\", \"sipCallId\") "
		"SELECT 'MK_none' || i, 'mark', 'mark', 0, '" STORE_WAITS "', '2026-11-22T13:00:00.000Z', '00', 'SCL_no' || i FROM n");
	size_t first = 0, second = 0, looks = 0;
	for (; looks < 40 && !second; looks++)
		if (is_due(f, "RM_one", f->now_ms + (int64_t)looks * MINUTE))
			*(first ? &second : &first) = looks + 1;
	assert_in_range(first, 2, 15);
	assert_in_range(second, first + 2, 30);
	b = batch_new(f);
	batch_room(b, "RM_one", NULL, 0);
	batch_load(b);
	assert_int_equal(b->loaded.unbound_count, 1);
	assert_true(offers(b, "MK_1"));
	store_batch_abort(f->store);
	b = batch_new(f);
	b->sip_call_ids[b->touch.sip_call_count++] = SLICE("SCL_one");
	batch_event(b, "EV_2", "RM_two", "room", f->now_ms);
	batch_load(b);
	assert_int_equal(b->loaded.unbound_count, 1);
	store_batch_abort(f->store);
}

static void waiting_may_end_without_a_call(void **state)
{
	struct fixture *f = *state;
	fixture_start(f, NULL);
	put_leg(f, "EV_1", "RM_one", "SCL_1", "alice");
	struct batch *b = batch_new(f);
	mark(b, "MK_1", NULL, NULL, "SCL_1", "bob");
	batch_load(b);
	batch_commit(b);
	b = batch_new(f);
	batch_room(b, "RM_one", NULL, 0);
	batch_load(b);
	assert_true(offers(b, "MK_1"));
	b->binds[b->bind_count++] = (struct bind_row){ .event_id = SLICE("MK_1"), .own_tenant = true, .error_message = SLICE(STORE_OTHER_TENANT) };
	batch_commit(b);
	assert_sql(f, "bob|-|-|0|" STORE_OTHER_TENANT, ROW, "MK_1");
	assert_false(is_due(f, "RM_one", f->now_ms + MINUTE));
	b = batch_new(f);
	batch_room(b, "RM_one", NULL, 0);
	batch_load(b);
	assert_false(offers(b, "MK_1"));
	store_batch_abort(f->store);
}

/* ---- names ---- */

static void a_name_leads_a_tenant_to_no_call_of_anothers(void **state)
{
	struct fixture *f = *state;
	fixture_start(f, NULL);
	put_call(f, "EV_1", "RM_a", "shared", "alice", f->now_ms - 20 * SECOND, 0);
	put_call(f, "EV_2", "RM_b", "shared", "bob", f->now_ms - 10 * SECOND, 0);
	static const char *const users[] = { "alice", "bob", "carol", NULL };
	static const char *const found[] = { "RM_a", "RM_b", NULL, "RM_b" };
	for (size_t i = 0; i < 4; i++) {
		struct batch *b = batch_new(f);
		mark(b, "MK_1", NULL, "shared", NULL, users[i]);
		batch_load(b);
		assert_slice(b->loaded.name_room_sids[0], found[i]);
		assert_int_equal(b->loaded.call_count, found[i] ? 1 : 0);
		store_batch_abort(f->store);
	}
}

static void a_name_may_be_late_where_that_is_asked_for(void **state)
{
	struct fixture *f = *state;
	fixture_start(f, NULL);
	put_call(f, "EV_1", "RM_one", "room", "alice", f->now_ms - HOUR, f->now_ms - 20 * SECOND);
	for (int64_t late_s = 10; late_s <= 30; late_s += 20) {
		struct batch *b = batch_new(f);
		b->touch.name_late_s = &late_s;
		mark(b, "MK_1", NULL, "room", NULL, NULL);
		batch_load(b);
		assert_slice(b->loaded.name_room_sids[0], late_s == 30 ? "RM_one" : NULL);
		store_batch_abort(f->store);
	}
	struct batch *b = batch_new(f);
	mark(b, "MK_1", NULL, "room", NULL, NULL);
	batch_load(b);
	batch_commit(b);
	b = batch_new(f);
	batch_event(b, "EV_2", "RM_one", "room", f->now_ms - HOUR);
	batch_load(b);
	assert_true(offers(b, "MK_1"));
	store_batch_abort(f->store);
}

static void a_mark_waits_by_name_for_a_call_of_its_own_tenant(void **state)
{
	struct fixture *f = *state;
	fixture_start(f, NULL);
	struct batch *b = batch_new(f);
	mark(b, "MK_a", NULL, "shared", NULL, "alice");
	mark(b, "MK_b", NULL, "shared", NULL, "bob");
	mark(b, "MK_any", NULL, "shared", NULL, NULL);
	batch_load(b);
	batch_commit(b);
	assert_sql(f, "alice|-|-|0|" STORE_WAITS, ROW, "MK_a");
	put_call(f, "EV_1", "RM_a", "shared", "alice", f->now_ms - SECOND, 0);
	b = batch_new(f);
	batch_event(b, "EV_2", "RM_a", "shared", f->now_ms);
	batch_load(b);
	assert_true(offers(b, "MK_a") && offers(b, "MK_any"));
	assert_false(offers(b, "MK_b"));
	batch_bind(b, "MK_a", "RM_a");
	b->binds[0].own_tenant = true;
	batch_commit(b);
	assert_sql(f, "1", "SELECT count(*) FROM " EVENTS " WHERE \"eventId\" = 'MK_a' AND \"userId\" = 'alice' AND \"callLogId\" = '%s' AND processed = 1",
		made_id(f, "RM_a"));
}

/* ---- whose mark it is ---- */

static void a_tenants_mark_does_not_follow_the_call_of_another(void **state)
{
	struct fixture *f = *state;
	fixture_start(f, NULL);
	struct batch *b = batch_new(f);
	mark(b, "MK_alice", "RM_one", NULL, NULL, "alice");
	mark(b, "MK_bob", "RM_one", NULL, NULL, "bob");
	mark(b, "MK_any", "RM_one", NULL, NULL, NULL);
	struct journal_row *bytes = mark(b, "MK_bytes", "RM_one", NULL, NULL, "bob"); /* as what the database refused otherwise is kept */
	bytes->payload = SLICE_NONE;
	bytes->raw_body = SLICE("{}");
	batch_event(b, "EV_1", "RM_one", "room", f->now_ms);
	batch_load(b);
	judge(b, "RM_one", NULL, f->now_ms, 0, OUTCOME_NONE);
	batch_commit(b);
	assert_sql(f, "2", "SELECT count(*) FROM " EVENTS " WHERE \"userId\" IS NULL");
	b = batch_new(f);
	batch_event(b, "EV_2", "RM_one", "room", f->now_ms);
	mark(b, "MK_late", "RM_one", NULL, NULL, "bob");
	mark(b, "MK_own", "RM_one", NULL, NULL, "alice");
	batch_load(b);
	judge(b, "RM_one", "alice", f->now_ms, 0, OUTCOME_NONE);
	batch_commit(b);
	assert_sql(f, "bob|-|RM_one|1|-", ROW, "MK_bob");
	assert_sql(f, "bob|-|RM_one|1|-", ROW, "MK_late");
	assert_sql(f, "bob|-|RM_one|1|-", ROW, "MK_bytes");
	static const char *const hers[] = { "MK_alice", "MK_own", "MK_any", "EV_1", "EV_2" };
	for (size_t i = 0; i < 5; i++)
		assert_sql(f, "1", "SELECT count(*) FROM " EVENTS " WHERE \"eventId\" = '%s' AND \"userId\" = 'alice' AND \"callLogId\" = '%s'", hers[i],
			made_id(f, "RM_one"));
}

static void a_dispute_and_its_end_pass_a_tenants_mark_by(void **state)
{
	struct fixture *f = *state;
	fixture_start(f, NULL);
	static const char *const users[] = { "alice", NULL, "carol" };
	for (size_t i = 0; i < 3; i++) {
		struct batch *b = batch_new(f);
		batch_event(b, i == 0 ? "EV_0" : i == 1 ? "EV_1" : "EV_2", "RM_one", "room", f->now_ms);
		if (i == 0) {
			mark(b, "MK_bob", "RM_one", NULL, NULL, "bob");
			mark(b, "MK_any", "RM_one", NULL, NULL, NULL);
		}
		batch_load(b);
		judge(b, "RM_one", users[i], f->now_ms, 0, OUTCOME_NONE);
		batch_call(b, "RM_one")->tenant_error = i == 1 ? SLICE("alice and carol") : SLICE_NONE;
		batch_commit(b);
		assert_sql(f, "bob|-|RM_one|1|-", ROW, "MK_bob");
		assert_sql(f, i == 1 ? "0" : "1", "SELECT processed FROM " EVENTS " WHERE \"eventId\" = 'MK_any'");
	}
	assert_sql(f, "carol", "SELECT \"userId\" FROM " EVENTS " WHERE \"eventId\" = 'MK_any'");
}

/* ---- idempotency ---- */

static void a_known_event_says_with_which_body(void **state)
{
	struct fixture *f = *state;
	fixture_start(f, NULL);
	put_call(f, "EV_1", "RM_one", "room", "alice", f->now_ms, 0);
	struct batch *b = batch_new(f);
	batch_event(b, "EV_1", "RM_one", "room", f->now_ms);
	batch_event(b, "EV_2", "RM_one", "room", f->now_ms);
	batch_load(b);
	assert_true(b->loaded.known[0] && !b->loaded.known[1]);
	assert_slice(b->loaded.known_hashes[0], "abababababababababababababababababababababababababababababababab");
	assert_slice(b->loaded.known_hashes[1], NULL);
	store_batch_abort(f->store);
}

const struct store_case mark_cases[] = {
#define CASE(f) { #f, f }
	CASE(a_leg_is_kept_once_and_leads_to_its_calls),
	CASE(a_leg_and_a_room_of_one_batch_are_loaded_once),
	CASE(a_mark_that_waits_is_offered_when_its_leg_comes),
	CASE(a_sweep_finds_the_calls_of_legs_that_marks_wait_for),
	CASE(a_sweep_gets_round_to_each_mark_however_many_wait),
	CASE(waiting_may_end_without_a_call),
	CASE(a_name_leads_a_tenant_to_no_call_of_anothers),
	CASE(a_name_may_be_late_where_that_is_asked_for),
	CASE(a_mark_waits_by_name_for_a_call_of_its_own_tenant),
	CASE(a_tenants_mark_does_not_follow_the_call_of_another),
	CASE(a_dispute_and_its_end_pass_a_tenants_mark_by),
	CASE(a_known_event_says_with_which_body),
#undef CASE
};
const size_t mark_case_count = sizeof mark_cases / sizeof *mark_cases;
