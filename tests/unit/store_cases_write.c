/* The store contract: journal, facts, waiting events, tenants bound late, what is refused. */
#include "store_fixture.h"

#include <stdio.h>
#include <stdlib.h>

#include "store/migrate.h"

#define EVENTS "livekit_call_events"

/* ---- the journal ---- */

static void counts_each_event_once(void **state)
{
	struct fixture *f = *state;
	fixture_start(f, NULL);
	for (int round = 0; round < 3; round++) {
		struct batch *b = batch_new(f);
		batch_event(b, "EV_a", "RM_one", "room", f->now_ms);
		batch_event(b, round == 0 ? "EV_b" : "EV_c", "RM_one", "room", f->now_ms);
		batch_load(b);
		assert_int_equal(b->loaded.known[0], round > 0);
		assert_int_equal(b->loaded.known[1], round > 1);
		batch_commit(b);
	}
	assert_sql(f, "3", "SELECT count(*) FROM " EVENTS);
	assert_sql(f, "1", "SELECT count(*) FROM " EVENTS " WHERE \"eventId\" = 'EV_a'");
}

static void keeps_every_column_of_an_event(void **state)
{
	struct fixture *f = *state;
	fixture_start(f, NULL);
	struct batch *b = batch_new(f);
	struct journal_row *row = batch_event(b, "EV_1", "RM_one", "r\xc3\xb6om", 1790000000000);
	row->error_message = SLICE("why aside");
	row->processed = false;
	row->processed_at_ms = 0;
	struct journal_row *raw = batch_event(b, "EV_2", NULL, NULL, 0);
	raw->payload = SLICE_NONE;
	raw->raw_body = SLICE("\x00\xff not JSON");
	raw->key_id = SLICE_NONE;
	batch_load(b);
	batch_commit(b);
	assert_sql(f, "participant_joined|r\xc3\xb6om|RM_one|sip_+15105550100|PA_one|1790000000|0|why aside|livekit|APIkey",
		"SELECT event || '|' || \"roomName\" || '|' || \"roomSid\" || '|' || \"participantIdentity\" || '|' || \"participantSid\" || '|' || "
		"timestamp || '|' || processed || '|' || \"errorMessage\" || '|' || source || '|' || \"keyId\" FROM " EVENTS " WHERE \"eventId\" = 'EV_1'");
	assert_sql(f, "{\"n\": 1}", "SELECT \"rawPayload\" FROM " EVENTS " WHERE \"eventId\" = 'EV_1'");
	assert_sql(f, "abababababababababababababababababababababababababababababababab", "SELECT \"bodyHash\" FROM " EVENTS " WHERE \"eventId\" = 'EV_1'");
	assert_sql(f, "1", "SELECT count(*) FROM " EVENTS " WHERE \"rawPayload\" IS NULL AND length(\"rawBody\") = 11 AND \"keyId\" IS NULL "
		"AND timestamp IS NULL AND \"roomSid\" IS NULL AND \"roomName\" IS NULL AND \"eventId\" = 'EV_2'");
	assert_sql(f, "1", "SELECT count(*) FROM " EVENTS " WHERE \"createdAt\" = '%s' AND \"processedAt\" IS NULL AND \"eventId\" = 'EV_1'",
		fixture_time(f, f->now_ms));
}

static void aborting_leaves_nothing(void **state)
{
	struct fixture *f = *state;
	fixture_start(f, NULL);
	struct batch *b = batch_new(f);
	batch_event(b, "EV_a", "RM_one", "room", f->now_ms);
	batch_load(b);
	store_batch_abort(f->store);
	store_batch_abort(f->store);
	assert_sql(f, "0", "SELECT count(*) FROM " EVENTS);
	assert_sql(f, "0", "SELECT count(*) FROM call_facts");
}

static void reopening_sees_all(void **state)
{
	struct fixture *f = *state;
	struct call_view v;
	fixture_start(f, NULL);
	put_call(f, "EV_a", "RM_one", "room", "alice", f->now_ms - HOUR, f->now_ms - HOUR + MINUTE);
	fixture_close(f);
	fixture_open(f);
	assert_int_equal(see(f, "alice", "RM_one", &v), 0);
	struct batch *b = batch_new(f);
	batch_event(b, "EV_a", "RM_one", "room", f->now_ms);
	batch_load(b);
	assert_true(b->loaded.known[0]);
	assert_slice(batch_call(b, "RM_one")->facts, "room\tended\n");
	store_batch_abort(f->store);
}

static void counts_open_calls_and_events_aside(void **state)
{
	struct fixture *f = *state;
	struct store_counts counts;
	fixture_start(f, NULL);
	put_call(f, "EV_a", "RM_one", "room", "alice", f->now_ms - HOUR, 0);
	put_call(f, "EV_b", "RM_two", "room", "alice", f->now_ms - HOUR, f->now_ms);
	struct batch *b = batch_new(f);
	batch_event(b, "EV_c", NULL, "nowhere", f->now_ms);
	batch_load(b);
	batch_commit(b);
	assert_int_equal(store_count(f->store, &counts), 0);
	assert_int_equal(counts.open_calls, 1);
	assert_int_equal(counts.aside, 1);
}

/* ---- facts ---- */

static void makes_a_call_once_and_finds_it_again(void **state)
{
	struct fixture *f = *state;
	fixture_start(f, NULL);
	struct batch *b = batch_new(f);
	batch_room(b, "RM_one", "room", f->now_ms);
	batch_room(b, "RM_two", NULL, 0);
	batch_load(b);
	assert_int_equal(b->loaded.call_count, 2);
	assert_false(batch_call(b, "RM_one")->exists);
	assert_slice(batch_call(b, "RM_one")->facts, NULL);
	assert_slice(batch_call(b, "RM_one")->room_name, "room");
	assert_slice(batch_call(b, "RM_two")->room_name, NULL);
	judge(b, "RM_one", NULL, f->now_ms, 0, OUTCOME_NONE);
	batch_commit(b);
	b = batch_new(f);
	batch_room(b, "RM_one", NULL, 0);
	batch_load(b);
	assert_true(batch_call(b, "RM_one")->exists);
	assert_slice(batch_call(b, "RM_one")->room_name, "room");
	assert_null(store_loaded_find(&b->loaded, SLICE("RM_two")));
	store_batch_abort(f->store);
}

/* Locked for an event that says nothing: no open call for ever, and no host's row taken for it. */
static void a_call_of_which_nothing_is_established_is_not_kept(void **state)
{
	struct fixture *f = *state;
	struct store_counts counts;
	fixture_start(f, NULL);
	fixture_execf(f, "INSERT INTO call_logs (id, \"userId\", \"livekitRoomName\", \"createdAt\") VALUES ('H1', 'host', 'room', '%s')",
		fixture_time(f, f->now_ms));
	struct batch *b = batch_new(f);
	batch_event(b, "EV_odd", "RM_one", "room", f->now_ms);
	batch_event(b, "EV_fine", "RM_two", "other", f->now_ms);
	batch_load(b);
	judge(b, "RM_two", "alice", f->now_ms, 0, OUTCOME_NONE);
	batch_commit(b);
	assert_sql(f, "RM_two", "SELECT \"roomSid\" FROM call_facts");
	assert_sql(f, "NULL", "SELECT \"livekitRoomSid\" FROM call_logs WHERE id = 'H1'");
	assert_sql(f, "1", "SELECT count(*) FROM " EVENTS " WHERE \"roomSid\" = 'RM_one' AND \"userId\" IS NULL AND \"callLogId\" IS NULL");
	assert_int_equal(store_count(f->store, &counts), 0);
	assert_int_equal(counts.open_calls, 1);
	put_call(f, "EV_start", "RM_one", "room", "host", f->now_ms, 0);
	assert_sql(f, "2", "SELECT count(*) FROM " EVENTS " WHERE \"roomSid\" = 'RM_one' AND \"userId\" = 'host' AND \"callLogId\" = 'H1'");
}

static void keeps_facts_byte_for_byte(void **state)
{
	struct fixture *f = *state;
	fixture_start(f, NULL);
	const size_t size = 300000;
	char *big = arena_alloc(f->arena, size);
	for (size_t i = 0; i < size; i++)
		big[i] = (char)(i % 61 == 60 ? '\n' : i % 7 == 6 ? '\t' : 33 + i % 90);
	memcpy(big, "n\xc3\xa4m\xe2\x82\xac\xf0\x9f\x93\x9e", 11);
	struct batch *b = batch_new(f);
	batch_room(b, "RM_big", "room", f->now_ms);
	batch_load(b);
	judge(b, "RM_big", NULL, f->now_ms - 5, f->now_ms, OUTCOME_BUSY);
	struct call_row *row = batch_call(b, "RM_big");
	row->facts = slice_of(big, size);
	row->revision = 7;
	row->rules = 3;
	row->due_at_ms = f->now_ms + 17;
	batch_commit(b);
	b = batch_new(f);
	batch_room(b, "RM_big", NULL, 0);
	batch_load(b);
	row = batch_call(b, "RM_big");
	assert_int_equal(row->facts.n, size);
	assert_memory_equal(row->facts.p, big, size);
	assert_slice(row->verdict, "{\"outcome\":\"x\",\"reason\":\"hangup\"}");
	assert_slice(row->outcome, "busy");
	assert_int_equal(row->revision, 7);
	assert_int_equal(row->rules, 3);
	assert_true(row->started_at_ms == f->now_ms - 5 && row->ended_at_ms == f->now_ms && row->due_at_ms == f->now_ms + 17);
	store_batch_abort(f->store);
}

static void writes_nothing_where_nothing_changed(void **state)
{
	struct fixture *f = *state;
	fixture_start(f, NULL);
	put_call(f, "EV_a", "RM_one", "room", "alice", f->now_ms - HOUR, f->now_ms);
	const char *facts_at = fixture_text(f, "SELECT \"updatedAt\" FROM call_facts");
	const char *row_at = fixture_text(f, "SELECT \"updatedAt\" FROM call_logs");
	f->now_ms += HOUR;
	struct batch *b = batch_new(f);
	batch_event(b, "EV_b", "RM_one", "room", f->now_ms);
	batch_load(b);
	struct verdict *v = ARENA_NEW(f->arena, struct verdict);
	batch_call(b, "RM_one")->new_verdict = v;
	batch_commit(b);
	assert_sql(f, facts_at, "SELECT \"updatedAt\" FROM call_facts");
	assert_sql(f, row_at, "SELECT \"updatedAt\" FROM call_logs");
	assert_sql(f, "2", "SELECT count(*) FROM " EVENTS " WHERE \"userId\" = 'alice' AND \"callLogId\" = '%s'", made_id(f, "RM_one"));
}

/* ---- names ---- */

static void a_name_means_the_call_that_was_open_then(void **state)
{
	struct fixture *f = *state;
	int64_t t = f->now_ms / 1000 * 1000 - HOUR;
	fixture_start(f, NULL);
	put_call(f, "EV_a", "RM_one", "room", "alice", t, t + MINUTE);
	put_call(f, "EV_b", "RM_two", "room", "alice", t + 10 * MINUTE, 0);
	put_call(f, "EV_c", "RM_other", "other", "alice", t, 0);
	const struct {
		int64_t at_ms;
		const char *sid;
	} expected[] = {
		{ t - 10 * SECOND, NULL }, { t - 2 * SECOND, "RM_one" }, { t + 30 * SECOND, "RM_one" }, { t + MINUTE, "RM_one" }, { t + MINUTE + SECOND, NULL },
		{ t + 5 * MINUTE, NULL }, { t + 10 * MINUTE, "RM_two" }, { t + 50 * MINUTE, "RM_two" },
	};
	struct batch *b = batch_new(f);
	char ids[8][8];
	for (size_t i = 0; i < 8; i++) {
		snprintf(ids[i], sizeof ids[i], "EV_n%zu", i);
		batch_event(b, ids[i], NULL, "room", expected[i].at_ms);
	}
	batch_load(b);
	for (size_t i = 0; i < 8; i++)
		assert_slice(b->loaded.name_room_sids[i], expected[i].sid);
	assert_int_equal(b->loaded.call_count, 2);
	assert_true(batch_call(b, "RM_two")->exists);
	store_batch_abort(f->store);
}

static void overlapping_calls_of_one_name_give_the_latest(void **state)
{
	struct fixture *f = *state;
	int64_t t = f->now_ms / 1000 * 1000 - HOUR;
	fixture_start(f, NULL);
	put_call(f, "EV_a", "RM_one", "room", "alice", t, 0);
	put_call(f, "EV_b", "RM_two", "room", "alice", t + MINUTE, 0);
	struct batch *b = batch_new(f);
	batch_event(b, "EV_n", NULL, "room", t + 2 * MINUTE);
	batch_load(b);
	assert_slice(b->loaded.name_room_sids[0], "RM_two");
	store_batch_abort(f->store);
}

static void waiting_events_come_with_their_call_and_are_bound(void **state)
{
	struct fixture *f = *state;
	int64_t t = f->now_ms / 1000 * 1000 - HOUR;
	fixture_start(f, NULL);
	struct batch *b = batch_new(f);
	batch_event(b, "EV_late", NULL, "room", t + 20 * SECOND);
	batch_event(b, "EV_early", NULL, "room", t + 10 * SECOND);
	batch_event(b, "EV_before", NULL, "room", t - 10 * SECOND);
	batch_event(b, "EV_other", NULL, "other", t + 10 * SECOND);
	batch_load(b);
	assert_slice(b->loaded.name_room_sids[0], NULL);
	batch_commit(b);

	b = batch_new(f);
	batch_event(b, "EV_start", "RM_one", "room", t);
	batch_load(b);
	assert_int_equal(b->loaded.unbound_count, 2);
	assert_slice(b->loaded.unbound[0].event_id, "EV_early");
	assert_slice(b->loaded.unbound[1].event_id, "EV_late");
	assert_slice(b->loaded.unbound[0].room_name, "room");
	assert_slice(b->loaded.unbound[0].payload, "{\"n\": 1}");
	assert_slice(b->loaded.unbound[0].source, "livekit");
	assert_slice(b->loaded.unbound[0].key_id, "APIkey");
	assert_true(b->loaded.unbound[0].timestamp_s == t / 1000 + 10 && b->loaded.unbound[0].created_at_ms == f->now_ms);
	judge(b, "RM_one", "alice", t, 0, OUTCOME_NONE);
	batch_bind(b, "EV_early", "RM_one");
	batch_bind(b, "EV_late", "RM_one");
	batch_commit(b);
	assert_sql(f, "2", "SELECT count(*) FROM " EVENTS " WHERE \"roomSid\" = 'RM_one' AND processed = 1 AND \"errorMessage\" IS NULL "
		"AND \"userId\" = 'alice' AND \"callLogId\" = '%s' AND \"processedAt\" IS NOT NULL AND \"eventId\" IN ('EV_early', 'EV_late')",
		made_id(f, "RM_one"));
	assert_sql(f, "2", "SELECT count(*) FROM " EVENTS " WHERE \"roomSid\" IS NULL AND processed = 0");

	b = batch_new(f);
	batch_room(b, "RM_one", NULL, 0);
	batch_load(b);
	assert_int_equal(b->loaded.unbound_count, 0);
	store_batch_abort(f->store);
}

/* Two calls of one name on two nodes, and an event that may be either's: whoever looks first has it. */
static void a_waiting_event_is_offered_to_one_node_at_a_time(void **state)
{
	struct fixture *f = *state;
	struct store_options quick = f->options;
	struct store *other;
	fixture_start(f, NULL);
	struct batch *b = batch_new(f);
	batch_event(b, "EV_waits", NULL, "room", f->now_ms);
	batch_load(b);
	batch_commit(b);
	b = batch_new(f);
	batch_room(b, "RM_one", "room", f->now_ms);
	batch_load(b);
	assert_int_equal(b->loaded.unbound_count, 1);
	quick.timeout_ms = 300;
	assert_int_equal(store_open(&quick, f->arena, &other, NULL), 0);
	const struct slice sid = SLICE("RM_two"), name = SLICE("room");
	const int64_t start_s = f->now_ms / 1000;
	const struct store_touch touch = { .room_sids = &sid, .room_names = &name, .start_s = &start_s, .room_count = 1 };
	struct store_loaded loaded = { .unbound_count = 0 };
	assert_int_equal(store_batch_load(other, &touch, f->arena, &loaded), f->kind == STORE_SQLITE ? OC_RETRY : 0);
	assert_int_equal(loaded.unbound_count, 0);
	store_close(other);
	store_batch_abort(f->store);
}

/* ---- tenants ---- */

static void a_late_tenant_gets_the_earlier_events(void **state)
{
	struct fixture *f = *state;
	fixture_start(f, NULL);
	put_call(f, "EV_a", "RM_one", "room", NULL, f->now_ms - HOUR, 0);
	put_call(f, "EV_x", "RM_two", "room", NULL, f->now_ms - HOUR, 0);
	assert_sql(f, "0", "SELECT count(*) FROM call_logs");
	assert_sql(f, "2", "SELECT count(*) FROM " EVENTS " WHERE \"userId\" IS NULL AND \"callLogId\" IS NULL");
	put_call(f, "EV_b", "RM_one", "room", "alice", f->now_ms - HOUR, 0);
	assert_sql(f, "2", "SELECT count(*) FROM " EVENTS " WHERE \"userId\" = 'alice' AND \"callLogId\" = '%s'", made_id(f, "RM_one"));
	assert_sql(f, "1", "SELECT count(*) FROM " EVENTS " WHERE \"userId\" IS NULL");
	assert_sql(f, "alice", "SELECT \"userId\" FROM call_logs");
}

static void a_stronger_tenant_takes_the_call_over(void **state)
{
	struct fixture *f = *state;
	struct call_view v;
	fixture_start(f, NULL);
	put_call(f, "EV_a", "RM_one", "room", "alice", f->now_ms - HOUR, 0);
	assert_int_equal(see(f, "alice", "RM_one", &v), 0);
	put_call(f, "EV_b", "RM_one", "room", "bob", f->now_ms - HOUR, 0);
	assert_int_equal(see(f, "alice", "RM_one", &v), OC_NOT_FOUND);
	assert_int_equal(see(f, "bob", "RM_one", &v), 0);
	assert_sql(f, "2", "SELECT count(*) FROM " EVENTS " WHERE \"userId\" = 'bob'");
}

static void dispute(struct fixture *f, const char *event_id, const char *error)
{
	struct batch *b = batch_new(f);
	struct journal_row *row = batch_event(b, event_id, "RM_one", "room", f->now_ms - HOUR);
	row->processed = false;
	row->error_message = slice_cstr(error);
	batch_load(b);
	judge(b, "RM_one", NULL, f->now_ms - HOUR, 0, OUTCOME_NONE);
	batch_call(b, "RM_one")->tenant_error = slice_cstr(error);
	batch_commit(b);
}

static void disputed_tenants_put_the_events_aside_until_settled(void **state)
{
	struct fixture *f = *state;
	struct call_view v;
	fixture_start(f, NULL);
	put_call(f, "EV_a", "RM_one", "room", "alice", f->now_ms - HOUR, 0);
	struct batch *b = batch_new(f);
	struct journal_row *unreadable = batch_event(b, "EV_bad", "RM_one", "room", f->now_ms);
	unreadable->processed = false;
	unreadable->error_message = SLICE("the body is not JSON");
	batch_load(b);
	batch_commit(b);

	dispute(f, "EV_b", "alice or bob?");
	assert_int_equal(see(f, "alice", "RM_one", &v), OC_NOT_FOUND);
	assert_sql(f, "0", "SELECT count(*) FROM call_logs");
	assert_sql(f, "3", "SELECT count(*) FROM " EVENTS " WHERE \"userId\" IS NULL AND \"callLogId\" IS NULL AND processed = 0");
	assert_sql(f, "2", "SELECT count(*) FROM " EVENTS " WHERE \"errorMessage\" = 'alice or bob?'");

	put_call(f, "EV_c", "RM_one", "room", "bob", f->now_ms - HOUR, 0);
	assert_sql(f, "4", "SELECT count(*) FROM " EVENTS " WHERE \"userId\" = 'bob'");
	assert_sql(f, "3", "SELECT count(*) FROM " EVENTS " WHERE processed = 1 AND \"errorMessage\" IS NULL AND \"processedAt\" IS NOT NULL");
	assert_sql(f, "the body is not JSON", "SELECT \"errorMessage\" FROM " EVENTS " WHERE processed = 0");
	assert_int_equal(see(f, "bob", "RM_one", &v), 0);
}

/* ---- what is refused ---- */

static void refuse_with(struct fixture *f, struct slice poison)
{
	struct batch *b = batch_new(f);
	batch_event(b, "EV_good", "RM_one", "room", f->now_ms);
	batch_event(b, "EV_poison", "RM_two", "room", f->now_ms)->participant_identity = poison;
	batch_load(b);
	judge(b, "RM_one", "alice", f->now_ms, 0, OUTCOME_NONE);
	assert_int_equal(batch_try_commit(b), OC_DATA);
	assert_true(strlen(store_last_error(f->store)) > 0);
	assert_sql(f, "0", "SELECT count(*) FROM " EVENTS);
	assert_sql(f, "0", "SELECT count(*) FROM call_facts");
	assert_sql(f, "0", "SELECT count(*) FROM call_logs");
}

static void a_nul_in_a_text_is_refused_and_nothing_committed(void **state)
{
	fixture_start(*state, NULL);
	refuse_with(*state, SLICE("one\0two"));
	put_call(*state, "EV_good", "RM_one", "room", "alice", 1790000000000, 0);
}

static void bad_utf8_in_a_text_is_refused_and_nothing_committed(void **state)
{
	fixture_start(*state, NULL);
	refuse_with(*state, SLICE("\xc3("));
	put_call(*state, "EV_good", "RM_one", "room", "alice", 1790000000000, 0);
}

static void odd_texts_come_back_as_they_were(void **state)
{
	struct fixture *f = *state;
	fixture_start(f, NULL);
	struct batch *b = batch_new(f);
	batch_event(b, "EV_'; DROP TABLE call_facts; --", "RM_\"one\"", "{a,b\\\"}\x01\x7f\xef\xbf\xbd", f->now_ms);
	batch_load(b);
	judge(b, "RM_\"one\"", NULL, f->now_ms, 0, OUTCOME_NONE);
	batch_commit(b);
	b = batch_new(f);
	batch_event(b, "EV_'; DROP TABLE call_facts; --", "RM_\"one\"", NULL, f->now_ms);
	batch_load(b);
	assert_true(b->loaded.known[0]);
	assert_slice(batch_call(b, "RM_\"one\"")->room_name, "{a,b\\\"}\x01\x7f\xef\xbf\xbd");
	store_batch_abort(f->store);
}

/* ---- schemas ---- */

static void a_missing_schema_is_refused_with_advice(void **state)
{
	struct fixture *f = *state;
	struct slice message = SLICE_NONE;
	assert_int_equal(store_open(&f->options, f->arena, &f->store, &message), OC_SCHEMA);
	assert_non_null(memmem(message.p, message.n, "migrate upgrade", 15));
	message = SLICE_NONE;
	assert_int_equal(store_reader_open(&f->options, f->arena, &f->reader, &message), OC_SCHEMA);
	assert_non_null(memmem(message.p, message.n, "migrate upgrade", 15));
	assert_int_equal(store_open(&f->options, NULL, &f->store, NULL), OC_SCHEMA);
}

static void a_newer_schema_is_refused(void **state)
{
	struct fixture *f = *state;
	struct slice message = SLICE_NONE;
	struct migrate_status s;
	fixture_migrate(f);
	fixture_exec(f, "INSERT INTO outcomed_migrations (version, name, sha256, \"appliedAt\") VALUES (9000, 'later', 'x', '2026-01-01T00:00:00Z')");
	assert_int_equal(store_open(&f->options, f->arena, &f->store, &message), OC_SCHEMA);
	assert_non_null(memmem(message.p, message.n, "9000", 4));
	assert_int_equal(migrate_upgrade(&f->options, 0, NULL, NULL, f->arena, &message), OC_SCHEMA);
	assert_int_equal(migrate_downgrade(&f->options, NULL, NULL, f->arena, &message), OC_SCHEMA);
	assert_int_equal(migrate_status(&f->options, f->arena, &s, &message), 0);
	assert_true(s.newer && s.version == 9000);
}

static void an_altered_migration_is_refused(void **state)
{
	struct fixture *f = *state;
	struct slice message = SLICE_NONE;
	fixture_migrate(f);
	fixture_exec(f, "UPDATE outcomed_migrations SET sha256 = 'other' WHERE version = 1");
	struct migrate_status s;
	assert_int_equal(migrate_upgrade(&f->options, 0, NULL, NULL, f->arena, &message), OC_SCHEMA);
	assert_int_equal(migrate_downgrade(&f->options, NULL, NULL, f->arena, &message), OC_SCHEMA);
	assert_int_equal(migrate_status(&f->options, f->arena, &s, &message), 0);
	assert_true(s.altered && !s.newer);
}

#define CASE(name) { #name, name }
const struct store_case write_cases[] = {
	CASE(counts_each_event_once),
	CASE(keeps_every_column_of_an_event),
	CASE(aborting_leaves_nothing),
	CASE(reopening_sees_all),
	CASE(counts_open_calls_and_events_aside),
	CASE(makes_a_call_once_and_finds_it_again),
	CASE(a_call_of_which_nothing_is_established_is_not_kept),
	CASE(keeps_facts_byte_for_byte),
	CASE(writes_nothing_where_nothing_changed),
	CASE(a_name_means_the_call_that_was_open_then),
	CASE(overlapping_calls_of_one_name_give_the_latest),
	CASE(waiting_events_come_with_their_call_and_are_bound),
	CASE(a_waiting_event_is_offered_to_one_node_at_a_time),
	CASE(a_late_tenant_gets_the_earlier_events),
	CASE(a_stronger_tenant_takes_the_call_over),
	CASE(disputed_tenants_put_the_events_aside_until_settled),
	CASE(a_nul_in_a_text_is_refused_and_nothing_committed),
	CASE(bad_utf8_in_a_text_is_refused_and_nothing_committed),
	CASE(odd_texts_come_back_as_they_were),
	CASE(a_missing_schema_is_refused_with_advice),
	CASE(a_newer_schema_is_refused),
	CASE(an_altered_migration_is_refused),
};
const size_t write_case_count = sizeof write_cases / sizeof *write_cases;
