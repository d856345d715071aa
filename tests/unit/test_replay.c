/* A replay on the real stores: the same cases against SQLite and, where TEST_DATABASE_URL names a server, against PostgreSQL. */
#include "store_fixture.h"

#include <pthread.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <assert.h>

#include "base/clock.h"
#include "base/log.h"
#include "ingest/ingest.h"
#include "ingest/replay.h"

static struct fixture *f;
static struct ingest_options ingest_options;
static struct replay_options options;
static struct replay_totals totals;
static int64_t t0;

/* What was told. */
static struct {
	char changed[64][32], before[400], after[400], alone[64][32], detail[200];
	unsigned changes;
	enum replay_skip why;
	int64_t revision_after;
	size_t changed_count, alone_count, asked, stop_after;
} told;

/* ---- events ---- */

struct sent {
	struct ingest_item item;
	struct decoded decoded;
};

static void done(struct ingest_item *item) { assert(item->result != INGEST_FAILED); }

static const struct slice tenant_keys[] = { { "user_id", 7 } };

static void put(struct ingest *in, const char *id, const char *type, const char *room, int64_t at_s, const char *more)
{
	char body[1500];
	struct sent *s = ARENA_NEW(f->arena, struct sent);
	assert_non_null(s);
	snprintf(body, sizeof body, "{\"event\":\"%s\",\"id\":\"%s\",\"createdAt\":\"%lld\",\"room\":{%s}%s%s}", type, id, (long long)at_s, room, more ? "," : "",
		more ? more : "");
	assert_true(arena_copy(f->arena, slice_cstr(body), &s->item.body));
	assert_int_equal(decode_event(s->item.body, &ingest_options.decode, f->arena, &s->decoded), 0);
	s->item.decoded = &s->decoded;
	s->item.source = SLICE("livekit");
	s->item.received_ms = clock_wall_ms();
	s->item.done = done;
	assert_int_equal(ingest_submit(in, &s->item), 0);
	assert_true(ingest_wait_idle(in, 20000));
}

/* A user and an agent talk for a minute; `parts` of its events, from the first. */
static void put_call_of(struct ingest *in, const char *sid, const char *tenant, int parts)
{
	static const struct {
		const char *type, *more;
		int after_s;
	} steps[] = {
		{ "room_started", NULL, 0 },
		{ "participant_joined", "\"participant\":{\"sid\":\"PA_u\",\"identity\":\"ann\"}", 1 },
		{ "participant_joined", "\"participant\":{\"sid\":\"PA_a\",\"identity\":\"bot\",\"kind\":\"AGENT\"}", 2 },
		{ "participant_left", "\"participant\":{\"sid\":\"PA_u\",\"identity\":\"ann\",\"disconnectReason\":\"CLIENT_INITIATED\"}", 60 },
		{ "participant_left", "\"participant\":{\"sid\":\"PA_a\",\"identity\":\"bot\",\"kind\":\"AGENT\",\"disconnectReason\":\"ROOM_CLOSED\"}", 61 },
		{ "room_finished", NULL, 62 },
	};
	for (int i = 0; i < parts && i < (int)(sizeof steps / sizeof *steps); i++) {
		char id[64], room[200];
		snprintf(id, sizeof id, "EV_%s_%d", sid, i);
		snprintf(room, sizeof room, "\"sid\":\"%s\",\"name\":\"lobby\",\"metadata\":\"{\\\"user_id\\\":\\\"%s\\\"}\"", sid, tenant);
		put(in, id, steps[i].type, room, t0 + steps[i].after_s, steps[i].more);
	}
}

#define WHOLE 6

static struct ingest *start(void)
{
	struct ingest *in;
	assert_int_equal(ingest_start(&ingest_options, NULL, &in), 0);
	return in;
}

static void put_calls(int n)
{
	struct ingest *in = start();
	char sid[20];
	for (int i = 0; i < n; i++) {
		snprintf(sid, sizeof sid, "RM_%02d", i);
		put_call_of(in, sid, "ann", WHOLE);
	}
	ingest_stop(in);
}

/* ---- a replay ---- */

static bool go_on(void *context, const struct replay_totals *t)
{
	(void)context;
	(void)t;
	return ++told.asked != told.stop_after;
}

static void keep(char *to, size_t size, struct slice s) { snprintf(to, size, "%.*s", SLICE_FMT(s)); }

static void differs(void *context, const struct replay_difference *d)
{
	assert_ptr_equal(context, &told);
	keep(told.changed[told.changed_count++ % 64], 32, d->room_sid);
	keep(told.before, sizeof told.before, d->verdict_before);
	keep(told.after, sizeof told.after, d->verdict_after);
	told.changes |= d->changes;
	told.revision_after = d->revision_after;
}

static void left_alone(void *context, struct slice room_sid, enum replay_skip why, struct slice detail)
{
	assert_ptr_equal(context, &told);
	keep(told.alone[told.alone_count++ % 64], 32, room_sid);
	keep(told.detail, sizeof told.detail, detail);
	told.why = why;
}

static void replay(void)
{
	struct slice message;
	memset(&told, 0, sizeof told);
	int r = replay_run(&options, f->arena, &totals, &message);
	if (r < 0)
		fail_msg("%s: %.*s", oc_error_text(r), SLICE_FMT(message));
	assert_int_equal(told.changed_count, totals.changed);
	assert_int_equal(told.alone_count, totals.left_alone);
}

static const char *row_of(const char *sid)
{
	return fixture_text(f, "SELECT facts || rules || CAST(verdict AS TEXT) || coalesce(outcome, '') || revision || \"startedAtMs\" || \"updatedAt\" FROM call_facts "
		"WHERE \"roomSid\" = '%s'", sid);
}

static const char *facts_of(const char *sid) { return fixture_text(f, "SELECT facts FROM call_facts WHERE \"roomSid\" = '%s'", sid); }

static int set_up(void **state)
{
	int r = fixture_set_up(state);
	f = *state;
	fixture_migrate(f);
	log_set_level(LOG_LEVEL_ERROR + 1);
	t0 = clock_wall_ms() / 1000 - 300;
	ingest_options = (struct ingest_options){ .store = f->options, .sweep_interval_ms = 3600000,
		.decode = { .tenant_keys = tenant_keys, .tenant_key_count = 1 } };
	options = (struct replay_options){ .store = f->options, .decode = ingest_options.decode, .go_on = go_on, .differs = differs, .left_alone = left_alone,
		.context = &told };
	return r;
}

static int tear_down(void **state)
{
	log_set_level(LOG_LEVEL_INFO);
	return fixture_tear_down(state);
}

static bool changed(enum replay_change c) { return told.changes & (1u << c); }

/* ---- the cases ---- */

static void an_empty_store_is_soon_done(void **state)
{
	(void)state;
	replay();
	assert_true(totals.calls == 0 && totals.events == 0 && !totals.interrupted);
}

static void what_is_as_it_should_be_is_not_touched(void **state)
{
	(void)state;
	put_calls(3);
	fixture_exec(f, "UPDATE call_facts SET \"updatedAt\" = '2020-01-01T00:00:00.000Z'");
	replay();
	assert_true(totals.calls == 3 && totals.events == 3 * WHOLE && totals.expected_calls == 3);
	assert_int_equal(totals.changed + totals.left_alone + totals.still_aside, 0);
	assert_sql(f, "3", "SELECT count(*) FROM call_facts WHERE \"updatedAt\" = '2020-01-01T00:00:00.000Z'");
}

static void damaged_facts_are_mended_without_a_new_revision(void **state)
{
	(void)state;
	put_calls(3);
	const char *before = facts_of("RM_01");
	fixture_exec(f, "UPDATE call_facts SET facts = 'rubbish' WHERE \"roomSid\" = 'RM_01'");
	options.dry_run = true;
	replay();
	assert_int_equal(totals.changed, 1);
	assert_string_equal(facts_of("RM_01"), "rubbish");
	options.dry_run = false;
	replay();
	assert_int_equal(totals.changed, 1);
	assert_string_equal(told.changed[0], "RM_01");
	assert_true(changed(REPLAY_FACTS) && !changed(REPLAY_OUTCOME) && told.revision_after == 1);
	assert_string_equal(facts_of("RM_01"), before);
	assert_sql(f, "0", "SELECT count(*) FROM call_revisions");
}

static void a_damaged_verdict_is_mended_in_its_place(void **state)
{
	(void)state;
	put_calls(1);
	fixture_exec(f, "UPDATE call_facts SET verdict = '{\"outcome\":\"busy\",\"reason\":\"busy\"}'");
	replay();
	assert_true(changed(REPLAY_OUTCOME) && !changed(REPLAY_FACTS));
	assert_non_null(strstr(told.before, "busy"));
	assert_non_null(strstr(told.after, "\"completed\""));
	assert_sql(f, "1", "SELECT revision FROM call_facts");
	assert_sql(f, "0", "SELECT count(*) FROM call_revisions");
}

static void insert_aside(const char *id, const char *sid, const char *body, const char *why)
{
	char value[1000];
	snprintf(value, sizeof value, f->kind == STORE_SQLITE ? "CAST('%s' AS BLOB)" : "convert_to('%s', 'UTF8')", body);
	fixture_execf(f, "INSERT INTO livekit_call_events (\"eventId\", event, \"roomSid\", \"rawBody\", processed, \"errorMessage\", \"createdAt\", source, \"bodyHash\") "
		"VALUES ('%s', 'unknown', %s, %s, 0, '%s', '2026-01-01T00:00:00.000Z', 'livekit', '')", id, sid, value, why);
}

/* As from an older binary that could not read the user's leave. */
static void new_evidence_makes_a_new_revision_and_keeps_the_old_verdict(void **state)
{
	(void)state;
	char body[400];
	struct ingest *in = start();
	put_call_of(in, "RM_00", "ann", 3);
	put(in, "EV_end", "room_finished", "\"sid\":\"RM_00\",\"name\":\"lobby\"", t0 + 62, NULL);
	ingest_stop(in);
	assert_sql(f, "1", "SELECT revision FROM call_facts");
	const char *verdict = fixture_text(f, "SELECT verdict FROM call_facts");
	snprintf(body, sizeof body, "{\"event\":\"participant_left\",\"id\":\"EV_left\",\"createdAt\":\"%lld\",\"room\":{\"sid\":\"RM_00\"},"
		"\"participant\":{\"sid\":\"PA_u\",\"identity\":\"ann\",\"disconnectReason\":\"CLIENT_INITIATED\"}}", (long long)t0 + 60);
	insert_aside("EV_left", "'RM_00'", body, "too deep");
	replay();
	assert_true(totals.changed == 1 && changed(REPLAY_FACTS) && changed(REPLAY_EVENTS) && told.revision_after == 2);
	assert_sql(f, "2", "SELECT revision FROM call_facts");
	assert_sql(f, verdict, "SELECT verdict FROM call_revisions WHERE revision = 1");
	assert_sql(f, "1", "SELECT processed FROM livekit_call_events WHERE \"eventId\" = 'EV_left' AND \"userId\" = 'ann'");
	assert_sql(f, "NULL", "SELECT \"errorMessage\" FROM livekit_call_events WHERE \"eventId\" = 'EV_left'");
	replay();
	assert_int_equal(totals.changed, 0);
}

static void what_the_facts_name_and_the_journal_lost_is_not_given_up(void **state)
{
	(void)state;
	put_calls(2);
	const char *before = row_of("RM_00");
	fixture_exec(f, "DELETE FROM livekit_call_events WHERE \"eventId\" = 'EV_RM_00_0'");
	replay();
	assert_true(totals.changed == 0 && totals.left_alone == 1 && told.why == REPLAY_PRUNED && totals.skips[REPLAY_PRUNED] == 1);
	assert_string_equal(told.alone[0], "RM_00");
	assert_string_equal(told.detail, "EV_RM_00_0");
	assert_string_equal(row_of("RM_00"), before);
}

static void a_second_that_no_event_has_was_pruned_too(void **state)
{
	(void)state;
	struct ingest *in = start();
	put_call_of(in, "RM_00", "ann", WHOLE);
	put(in, "EV_new", "new_type", "\"sid\":\"RM_00\"", t0 + 90, NULL);
	ingest_stop(in);
	fixture_exec(f, "DELETE FROM livekit_call_events WHERE \"eventId\" = 'EV_new'");
	replay();
	assert_true(totals.left_alone == 1 && told.why == REPLAY_PRUNED);
	assert_memory_equal(told.detail, "of 20", 5);
}

static void an_event_that_counted_and_cannot_be_read_leaves_its_call_alone(void **state)
{
	(void)state;
	put_calls(1);
	const char *before = row_of("RM_00");
	fixture_exec(f, "UPDATE livekit_call_events SET \"rawPayload\" = '{\"event\": 5}' WHERE \"eventId\" = 'EV_RM_00_1'");
	replay();
	assert_true(totals.left_alone == 1 && told.why == REPLAY_UNREADABLE);
	assert_string_equal(told.detail, "EV_RM_00_1");
	fixture_exec(f, "UPDATE livekit_call_events SET \"rawPayload\" = '{\"event\":\"room_started\",\"id\":\"EV_RM_00_1\",\"room\":{\"sid\":\"RM_x\"}}' "
		"WHERE \"eventId\" = 'EV_RM_00_1'");
	replay();
	assert_true(totals.left_alone == 1 && told.why == REPLAY_MISPLACED);
	fixture_exec(f, "UPDATE livekit_call_events SET \"rawPayload\" = NULL WHERE \"eventId\" = 'EV_RM_00_1'");
	replay();
	assert_true(totals.left_alone == 1 && told.why == REPLAY_STRIPPED);
	assert_string_equal(row_of("RM_00"), before);
}

static void what_was_aside_and_is_unreadable_still_costs_nothing(void **state)
{
	(void)state;
	put_calls(1);
	fixture_exec(f, "UPDATE livekit_call_events SET \"rawPayload\" = '{\"event\": 5}', processed = 0, \"errorMessage\" = 'a field has the wrong type' "
		"WHERE \"eventId\" = 'EV_RM_00_1'");
	fixture_exec(f, "DELETE FROM call_facts");
	replay();
	assert_true(totals.left_alone == 0 && totals.changed == 1 && totals.still_aside == 1);
	assert_sql(f, "0", "SELECT processed FROM livekit_call_events WHERE \"eventId\" = 'EV_RM_00_1'");
	replay();
	assert_true(totals.changed == 0 && totals.still_aside == 1);
}

/* The host's database has a trigger that does not like this call. */
static void refuse_facts_with(const char *word)
{
	if (f->kind == STORE_SQLITE) {
		fixture_execf(f, "CREATE TRIGGER refuses BEFORE UPDATE ON call_facts WHEN new.facts LIKE '%%%s%%' BEGIN SELECT RAISE(ABORT, 'not this one'); END", word);
	} else {
		fixture_execf(f, "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN IF new.facts LIKE '%%%s%%' THEN RAISE 'not this one' "
			"USING ERRCODE = '23514'; END IF; RETURN new; END$$", word);
		fixture_exec(f, "CREATE TRIGGER refuses BEFORE UPDATE ON call_facts FOR EACH ROW EXECUTE FUNCTION refuse()");
	}
}

static void a_call_that_the_store_refuses_stands_alone(void **state)
{
	(void)state;
	put_calls(20);
	refuse_facts_with("RM_07");
	fixture_exec(f, "UPDATE call_facts SET facts = 'rubbish'");
	replay();
	assert_true(totals.changed == 19 && totals.left_alone == 1 && told.why == REPLAY_REFUSED);
	assert_string_equal(told.alone[0], "RM_07");
	assert_non_null(strstr(told.detail, "not this one"));
	assert_sql(f, "RM_07", "SELECT \"roomSid\" FROM call_facts WHERE facts = 'rubbish'");
}

static void an_event_that_the_store_refuses_does_not_hold_up_the_rest(void **state)
{
	(void)state;
	put_calls(1);
	const char *before = facts_of("RM_00");
	char body[400];
	snprintf(body, sizeof body, "{\"event\":\"track_published\",\"id\":\"EV_bad\",\"createdAt\":\"%lld\",\"room\":{\"sid\":\"RM_00\"},"
		"\"participant\":{\"sid\":\"PA_u\",\"identity\":\"ann\"},\"track\":{\"sid\":\"TR_bad\"}}", (long long)t0 + 3);
	insert_aside("EV_bad", "'RM_00'", body, "refused");
	fixture_exec(f, "UPDATE call_facts SET facts = 'rubbish'");
	refuse_facts_with("TR_bad");
	replay();
	assert_true(totals.changed == 1 && totals.left_alone == 0);
	assert_string_equal(facts_of("RM_00"), before);
	assert_sql(f, "refused", "SELECT \"errorMessage\" FROM livekit_call_events WHERE \"eventId\" = 'EV_bad' AND processed = 0");
}

static void ended_early_all_that_was_told_is_done(void **state)
{
	(void)state;
	put_calls(70);
	fixture_exec(f, "UPDATE call_facts SET facts = 'rubbish'");
	memset(&told, 0, sizeof told);
	struct slice message;
	for (size_t stop = 1; stop < 6; stop++) {
		memset(&told, 0, sizeof told);
		told.stop_after = stop;
		assert_int_equal(replay_run(&options, f->arena, &totals, &message), 0);
		assert_true(totals.interrupted);
	}
	assert_true(totals.changed > 0 && totals.changed < 70);
	replay();
	assert_false(totals.interrupted);
	assert_sql(f, "0", "SELECT count(*) FROM call_facts WHERE facts = 'rubbish'");
}

static void one_call_alone(void **state)
{
	(void)state;
	struct slice message;
	put_calls(3);
	fixture_exec(f, "UPDATE call_facts SET facts = 'rubbish'");
	options.call = slice_cstr(made_id(f, "RM_01"));
	replay();
	assert_true(totals.calls == 1 && totals.changed == 1);
	assert_sql(f, "2", "SELECT count(*) FROM call_facts WHERE facts = 'rubbish'");
	options.call = SLICE("RM_nobody");
	assert_int_equal(replay_run(&options, f->arena, &totals, &message), OC_NOT_FOUND);
}

static void a_row_that_is_gone_keeps_its_tenant_and_counts_its_revisions_on(void **state)
{
	(void)state;
	struct ingest *in = start();
	ingest_options.default_user = SLICE("house");
	ingest_stop(in);
	in = start();
	put(in, "EV_a", "room_started", "\"sid\":\"RM_h\",\"name\":\"lobby\"", t0, NULL);
	put(in, "EV_b", "room_finished", "\"sid\":\"RM_h\",\"name\":\"lobby\"", t0 + 60, NULL);
	ingest_stop(in);
	assert_sql(f, "house", "SELECT \"userId\" FROM call_facts");
	const char *log = fixture_text(f, "SELECT id FROM call_logs");
	fixture_exec(f, "DELETE FROM call_facts");
	fixture_exec(f, "INSERT INTO call_revisions (\"roomSid\", revision, \"createdAt\") VALUES ('RM_h', 2, '2026-01-01T00:00:00.000Z')");
	replay();
	assert_true(changed(REPLAY_ROW));
	assert_sql(f, "house", "SELECT \"userId\" FROM call_facts");
	assert_sql(f, "3", "SELECT revision FROM call_facts");
	assert_sql(f, log, "SELECT \"callLogId\" FROM call_facts WHERE \"callLogIsOurs\" = 1");
	assert_sql(f, "1", "SELECT count(*) FROM call_logs");
}

static void legs_that_were_not_noted_are(void **state)
{
	(void)state;
	struct ingest *in = start();
	put(in, "EV_a", "participant_joined", "\"sid\":\"RM_s\",\"name\":\"lobby\"", t0,
		"\"participant\":{\"sid\":\"PA_s\",\"identity\":\"sip\",\"kind\":\"SIP\",\"attributes\":{\"sip.callID\":\"SCL_1\"}}");
	ingest_stop(in);
	assert_sql(f, "RM_s", "SELECT \"roomSid\" FROM call_legs WHERE \"sipCallId\" = 'SCL_1'");
	replay();
	assert_int_equal(totals.changed, 0);
	fixture_exec(f, "DELETE FROM call_legs");
	const char *before = row_of("RM_s");
	replay();
	assert_true(totals.changed == 1 && changed(REPLAY_LEGS) && !changed(REPLAY_FACTS));
	assert_sql(f, "RM_s", "SELECT \"roomSid\" FROM call_legs WHERE \"sipCallId\" = 'SCL_1'");
	assert_string_equal(row_of("RM_s"), before);
}

/* ---- events without a room ---- */

static void insert_stray(const char *id, const char *body, const char *why) { insert_aside(id, "NULL", body, why); }

static void events_without_a_room_that_can_be_read_find_their_calls(void **state)
{
	(void)state;
	char by_name[300], by_sid[300];
	put_calls(1);
	snprintf(by_sid, sizeof by_sid, "{\"event\":\"track_published\",\"id\":\"EV_x\",\"createdAt\":\"%lld\",\"room\":{\"sid\":\"RM_00\"},"
		"\"participant\":{\"sid\":\"PA_u\"},\"track\":{\"sid\":\"TR_x\"}}", (long long)t0 + 3);
	snprintf(by_name, sizeof by_name, "{\"event\":\"egress_ended\",\"id\":\"EV_y\",\"createdAt\":\"%lld\",\"egressInfo\":{\"egressId\":\"EG_y\","
		"\"roomName\":\"lobby\",\"status\":\"EGRESS_COMPLETE\"}}", (long long)t0 + 30);
	insert_stray("EV_x", by_sid, "too deep");
	insert_stray("EV_y", by_name, "too deep");
	insert_stray("EV_z", "{", "not JSON");
	insert_stray("EV_w", by_name, STORE_WAITS);
	insert_stray("EV_v", "{\"event\":\"egress_ended\",\"id\":\"EV_v\",\"egressInfo\":{\"egressId\":\"EG_v\"}}", "names no room");
	insert_stray("EV_u", "{\"event\":\"egress_ended\",\"id\":\"EV_u\",\"createdAt\":\"5\",\"egressInfo\":{\"roomName\":\"nobody\",\"egressId\":\"EG_u\"}}", "too deep");
	options.dry_run = true;
	replay();
	assert_int_equal(totals.adopted, 3);
	assert_sql(f, "6", "SELECT count(*) FROM livekit_call_events WHERE processed = 0");
	options.dry_run = false;
	replay();
	assert_int_equal(totals.adopted, 2);
	assert_int_equal(totals.still_aside, 4);
	assert_sql(f, "RM_00", "SELECT \"roomSid\" FROM livekit_call_events WHERE \"eventId\" = 'EV_x' AND processed = 1 AND \"errorMessage\" IS NULL");
	assert_sql(f, "RM_00", "SELECT \"roomSid\" FROM livekit_call_events WHERE \"eventId\" = 'EV_y' AND processed = 1");
	assert_non_null(strstr(facts_of("RM_00"), "TR_x"));
	assert_non_null(strstr(facts_of("RM_00"), "EG_y"));
	replay();
	assert_true(totals.changed == 0 && totals.adopted == 0);
}

static void what_waits_is_bound_where_its_call_is_mended(void **state)
{
	(void)state;
	struct ingest *in = start();
	char by_name[300];
	put_call_of(in, "RM_00", "ann", WHOLE);
	ingest_stop(in);
	snprintf(by_name, sizeof by_name, "{\"event\":\"egress_ended\",\"id\":\"EV_w\",\"createdAt\":\"%lld\",\"egressInfo\":{\"egressId\":\"EG_w\",\"roomName\":\"lobby\"}}",
		(long long)t0 + 30);
	fixture_execf(f, "INSERT INTO livekit_call_events (\"eventId\", event, \"roomName\", timestamp, \"rawPayload\", processed, \"errorMessage\", \"createdAt\", source, "
		"\"bodyHash\") VALUES ('EV_w', 'egress_ended', 'lobby', %lld, '%s', 0, '" STORE_WAITS "', '2026-01-01T00:00:00.000Z', 'livekit', '')",
		(long long)t0 + 30, by_name);
	fixture_exec(f, "UPDATE call_facts SET facts = 'rubbish'");
	replay();
	assert_non_null(strstr(facts_of("RM_00"), "EG_w"));
	assert_sql(f, "1", "SELECT processed FROM livekit_call_events WHERE \"eventId\" = 'EV_w' AND \"roomSid\" = 'RM_00'");
}

/* ---- beside others ---- */

static void *hold_the_lock(void *context)
{
	char path[300];
	sqlite3 *db = NULL;
	const struct timespec pause = { .tv_nsec = 400000000 };
	(void)context;
	snprintf(path, sizeof path, "%s/case.db", f->folder);
	sqlite3_open(path, &db);
	sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL);
	nanosleep(&pause, NULL);
	sqlite3_close(db);
	return NULL;
}

static void a_store_that_is_busy_is_waited_for(void **state)
{
	(void)state;
	pthread_t thread;
	if (f->kind != STORE_SQLITE)
		skip();
	put_calls(2);
	fixture_exec(f, "UPDATE call_facts SET facts = 'rubbish'");
	options.store.timeout_ms = 20;
	assert_int_equal(pthread_create(&thread, NULL, hold_the_lock, NULL), 0);
	nanosleep(&(struct timespec){ .tv_nsec = 50000000 }, NULL);
	replay();
	pthread_join(thread, NULL);
	assert_int_equal(totals.changed, 2);
}

static void a_store_that_is_not_there_is_said_to_be(void **state)
{
	(void)state;
	struct slice message;
	options.store.url = f->kind == STORE_SQLITE ? SLICE("sqlite:/nonexistent/x.db") : SLICE("postgresql://127.0.0.1:1/x");
	int r = replay_run(&options, f->arena, &totals, &message);
	assert_true(r == OC_CONFIG || r == OC_DOWN || r == OC_SCHEMA);
	assert_true(message.n > 0);
}

static void rules_are_those_of_this_binary(void **state)
{
	(void)state;
	assert_true(replay_has_rules(VERDICT_RULES_VERSION));
	assert_false(replay_has_rules(0));
	assert_false(replay_has_rules(VERDICT_RULES_VERSION + 1));
}

/* Thousands of events of one call: memory is that of its facts. */
static void a_long_call_is_read_through(void **state)
{
	(void)state;
	put_calls(1);
	struct ingest *in = start();
	for (int i = 0; i < 600; i++) {
		char id[32];
		snprintf(id, sizeof id, "EV_t%d", i);
		put(in, id, "track_published", "\"sid\":\"RM_00\",\"name\":\"lobby\"", t0 + 3,
			"\"participant\":{\"sid\":\"PA_u\",\"identity\":\"ann\"},\"track\":{\"sid\":\"TR_u\"}");
	}
	ingest_stop(in);
	const char *before = facts_of("RM_00");
	fixture_exec(f, "UPDATE call_facts SET facts = 'rubbish'");
	replay();
	assert_int_equal(totals.events, WHOLE + 600);
	assert_string_equal(facts_of("RM_00"), before);
}

#define CASE(name) { #name, name }

static const struct store_case cases[] = {
	CASE(an_empty_store_is_soon_done),
	CASE(what_is_as_it_should_be_is_not_touched),
	CASE(damaged_facts_are_mended_without_a_new_revision),
	CASE(a_damaged_verdict_is_mended_in_its_place),
	CASE(new_evidence_makes_a_new_revision_and_keeps_the_old_verdict),
	CASE(what_the_facts_name_and_the_journal_lost_is_not_given_up),
	CASE(a_second_that_no_event_has_was_pruned_too),
	CASE(an_event_that_counted_and_cannot_be_read_leaves_its_call_alone),
	CASE(what_was_aside_and_is_unreadable_still_costs_nothing),
	CASE(a_call_that_the_store_refuses_stands_alone),
	CASE(an_event_that_the_store_refuses_does_not_hold_up_the_rest),
	CASE(ended_early_all_that_was_told_is_done),
	CASE(one_call_alone),
	CASE(a_row_that_is_gone_keeps_its_tenant_and_counts_its_revisions_on),
	CASE(legs_that_were_not_noted_are),
	CASE(events_without_a_room_that_can_be_read_find_their_calls),
	CASE(what_waits_is_bound_where_its_call_is_mended),
	CASE(a_store_that_is_busy_is_waited_for),
	CASE(a_store_that_is_not_there_is_said_to_be),
	CASE(rules_are_those_of_this_binary),
	CASE(a_long_call_is_read_through),
};
enum { CASE_COUNT = sizeof cases / sizeof *cases };

static int run(const char *store, const enum store_kind *kind)
{
	static char names[2][CASE_COUNT][120];
	static struct CMUnitTest tests[2][CASE_COUNT];
	int at = *kind == STORE_POSTGRES;
	for (size_t i = 0; i < CASE_COUNT; i++) {
		snprintf(names[at][i], sizeof names[at][i], "%s_%s", store, cases[i].name);
		tests[at][i] = (struct CMUnitTest){ .name = names[at][i], .test_func = cases[i].run, .setup_func = set_up,
			.teardown_func = tear_down, .initial_state = (void *)(uintptr_t)kind };
	}
	return _cmocka_run_group_tests(store, tests[at], CASE_COUNT, NULL, NULL);
}

int main(void)
{
	static const enum store_kind sqlite = STORE_SQLITE, postgres = STORE_POSTGRES;
	int failed = run("sqlite", &sqlite);
	if (getenv("TEST_DATABASE_URL"))
		failed += run("postgres", &postgres);
	return failed;
}
