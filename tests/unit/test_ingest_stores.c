/* ingest/ on the real stores: the same cases against SQLite and, where TEST_DATABASE_URL names a server, against PostgreSQL. */
#include "store_fixture.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "ingest/ingest.h"

struct sent {
	struct ingest_item item;
	struct decoded decoded;
	atomic_uint answers;
};

static struct fixture *f;
static struct ingest *in;
static struct ingest_options options;
static int64_t t0; /* when the calls began, seconds */

/* ---- events ---- */

static void done(struct ingest_item *item)
{
	struct sent *s = item->context;
	atomic_fetch_add(&s->answers, 1);
}

static struct sent *sent_body(const char *body)
{
	static const struct slice keys[] = { { "user_id", 7 } };
	const struct decode_options o = { .tenant_keys = keys, .tenant_key_count = 1 };
	struct sent *s = ARENA_NEW(f->arena, struct sent);
	assert_non_null(s);
	assert_true(arena_copy(f->arena, slice_cstr(body), &s->item.body));
	assert_int_equal(decode_event(s->item.body, &o, f->arena, &s->decoded), 0);
	s->item.decoded = &s->decoded;
	s->item.source = SLICE("livekit");
	s->item.received_ms = clock_wall_ms();
	s->item.done = done;
	s->item.context = s;
	return s;
}

static struct sent *event(const char *id, const char *type, const char *room, int64_t at_s, const char *more)
{
	char body[1000];
	snprintf(body, sizeof body, "{\"event\":\"%s\",\"id\":\"%s\",\"createdAt\":\"%lld\",\"room\":{%s}%s%s}", type, id, (long long)at_s, room,
		more ? "," : "", more ? more : "");
	return sent_body(body);
}

#define ROOM(sid) "\"sid\":\"" sid "\",\"name\":\"lobby\""
#define OF(tenant) ",\"metadata\":\"{\\\"user_id\\\":\\\"" tenant "\\\"}\""
#define USER(sid) "\"participant\":{\"sid\":\"" sid "\",\"identity\":\"ann\",\"kind\":\"STANDARD\"}"

/* A user and an agent talk for a minute. */
static size_t web_call(struct sent **ret, const char *sid, const char *tenant)
{
	static const struct {
		const char *type, *more;
		int after_s;
	} steps[] = {
		{ "room_started", NULL, 0 },
		{ "participant_joined", "\"participant\":{\"sid\":\"PA_u\",\"identity\":\"ann\"}", 1 },
		{ "track_published", "\"participant\":{\"sid\":\"PA_u\",\"identity\":\"ann\"},\"track\":{\"sid\":\"TR_u\"}", 1 },
		{ "participant_joined", "\"participant\":{\"sid\":\"PA_a\",\"identity\":\"bot\",\"kind\":\"AGENT\"}", 2 },
		{ "track_published", "\"participant\":{\"sid\":\"PA_a\",\"identity\":\"bot\"},\"track\":{\"sid\":\"TR_a\"}", 2 },
		{ "participant_left", "\"participant\":{\"sid\":\"PA_u\",\"identity\":\"ann\",\"disconnectReason\":\"CLIENT_INITIATED\"}", 60 },
		{ "participant_left", "\"participant\":{\"sid\":\"PA_a\",\"identity\":\"bot\",\"kind\":\"AGENT\",\"disconnectReason\":\"ROOM_CLOSED\"}", 61 },
		{ "room_finished", NULL, 62 },
	};
	size_t n = sizeof steps / sizeof *steps;
	for (size_t i = 0; i < n; i++) {
		char id[64], room[200];
		snprintf(id, sizeof id, "EV_%s_%zu", sid, i);
		snprintf(room, sizeof room, "\"sid\":\"%s\",\"name\":\"lobby\",\"metadata\":\"{\\\"user_id\\\":\\\"%s\\\"}\"", sid, tenant);
		ret[i] = event(id, steps[i].type, room, t0 + steps[i].after_s, steps[i].more);
	}
	return n;
}

static void submit(struct sent *s) { assert_int_equal(ingest_submit(in, &s->item), 0); }

static void settle(void) { assert_true(ingest_wait_idle(in, 20000)); }

static void put(struct sent *s)
{
	submit(s);
	settle();
}

/* ---- the cases ---- */

static void start(void) { assert_int_equal(ingest_start(&options, NULL, &in), 0); }

static int set_up(void **state)
{
	int r = fixture_set_up(state);
	f = *state;
	fixture_migrate(f);
	log_set_level(LOG_LEVEL_ERROR + 1);
	options = (struct ingest_options){ .store = f->options, .sweep_interval_ms = 3600000 };
	t0 = clock_wall_ms() / 1000 - 300;
	start();
	return r;
}

static int tear_down(void **state)
{
	if (in)
		ingest_stop(in);
	in = NULL;
	log_set_level(LOG_LEVEL_INFO);
	return fixture_tear_down(state);
}

static void a_call_comes_out_of_its_events(void **state)
{
	(void)state;
	struct sent *sent[16];
	size_t n = web_call(sent, "RM_1", "user-1");
	for (size_t i = 0; i < n; i++)
		put(sent[i]);
	for (size_t i = 0; i < n; i++)
		assert_int_equal(sent[i]->item.result, INGEST_PROCESSED);
	assert_sql(f, "8", "SELECT count(*) FROM livekit_call_events WHERE processed = 1 AND \"userId\" = 'user-1' AND \"callLogId\" IS NOT NULL");
	assert_sql(f, "completed", "SELECT outcome FROM call_facts WHERE \"roomSid\" = 'RM_1'");
	assert_sql(f, "completed", "SELECT outcome FROM call_logs WHERE \"livekitRoomSid\" = 'RM_1' AND \"userId\" = 'user-1' AND status = 'ended'");
	assert_sql(f, "1", "SELECT count(*) FROM call_logs");
}

/* A team that counts a user's leaving as no answer: the outcome is its own, the rules' word stands beside it, and a replay knows both. */
static void an_override_changes_the_outcome_and_nothing_else(void **state)
{
	(void)state;
	static const struct override items[] = { { VERDICT_USER_LEFT, { "user-1", 6 }, OUTCOME_NO_ANSWER } };
	static const struct overrides overrides = { items, 1 };
	ingest_stop(in);
	options.overrides = &overrides;
	start();
	struct sent *sent[32];
	size_t n = web_call(sent, "RM_1", "user-1");
	n += web_call(sent + n, "RM_2", "user-2");
	for (size_t i = 0; i < n; i++)
		put(sent[i]);
	assert_sql(f, "no_answer", "SELECT outcome FROM call_facts WHERE \"roomSid\" = 'RM_1'");
	assert_sql(f, "no_answer", "SELECT outcome FROM call_logs WHERE \"livekitRoomSid\" = 'RM_1'");
	assert_sql(f, "completed", "SELECT outcome FROM call_logs WHERE \"livekitRoomSid\" = 'RM_2'");
	const char *verdict = fixture_text(f, "SELECT verdict FROM call_facts WHERE \"roomSid\" = 'RM_1'");
	assert_non_null(strstr(verdict, "\"outcome\":\"no_answer\",\"reason\":\"user_left\""));
	assert_non_null(strstr(verdict, "\"rawOutcome\":\"completed\""));
	put(event("EV_more", "track_published", ROOM("RM_1") OF("user-1"), t0 + 3, USER("PA_u") ",\"track\":{\"sid\":\"TR_late\"}"));
	assert_sql(f, "no_answer", "SELECT outcome FROM call_facts WHERE \"roomSid\" = 'RM_1'");
}

static void order_and_repetition_do_not_matter(void **state)
{
	(void)state;
	struct sent *sent[48];
	size_t n = web_call(sent, "RM_1", "user-1");
	web_call(sent + n, "RM_1", "user-1");
	web_call(sent + 2 * n, "RM_1", "user-1");
	for (size_t i = 0; i < n; i++)
		submit(sent[i]);
	settle();
	char facts[4000];
	snprintf(facts, sizeof facts, "%s", fixture_text(f, "SELECT facts FROM call_facts WHERE \"roomSid\" = 'RM_1'"));
	fixture_exec(f, "DELETE FROM livekit_call_events");
	fixture_exec(f, "DELETE FROM call_logs");
	fixture_exec(f, "DELETE FROM call_facts");
	for (size_t i = 0; i < n; i++) {
		put(sent[2 * n - 1 - i]);
		put(sent[3 * n - 1 - i]);
		assert_int_equal(sent[3 * n - 1 - i]->item.result, INGEST_DUPLICATE);
	}
	assert_string_equal(fixture_text(f, "SELECT facts FROM call_facts WHERE \"roomSid\" = 'RM_1'"), facts);
	assert_sql(f, "8", "SELECT count(*) FROM livekit_call_events");
}

static void what_was_acknowledged_is_known_after_a_restart(void **state)
{
	(void)state;
	struct sent *sent[32];
	size_t n = web_call(sent, "RM_1", "user-1");
	web_call(sent + n, "RM_1", "user-1");
	for (size_t i = 0; i < n; i++)
		submit(sent[i]);
	ingest_stop(in);
	start();
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(sent[i]->item.result, INGEST_PROCESSED);
		put(sent[n + i]);
		assert_int_equal(sent[n + i]->item.result, INGEST_DUPLICATE);
	}
	assert_sql(f, "1", "SELECT revision FROM call_facts WHERE \"roomSid\" = 'RM_1'");
}

static void an_event_by_name_waits_for_its_call(void **state)
{
	(void)state;
	put(event("EV_1", "participant_joined", "\"name\":\"lobby\"", t0 + 1, USER("PA_waiting")));
	assert_sql(f, "waits for its call", "SELECT \"errorMessage\" FROM livekit_call_events WHERE \"eventId\" = 'EV_1' AND processed = 0");
	put(event("EV_2", "room_started", ROOM("RM_1") OF("user-1"), t0, NULL));
	assert_sql(f, "RM_1", "SELECT \"roomSid\" FROM livekit_call_events WHERE \"eventId\" = 'EV_1' AND processed = 1 AND \"errorMessage\" IS NULL "
		"AND \"userId\" = 'user-1' AND \"callLogId\" IS NOT NULL");
	assert_sql(f, "1", "SELECT count(*) FROM call_facts WHERE facts LIKE '%%PA_waiting%%'");
}

static void an_event_by_name_finds_the_call_that_is_open(void **state)
{
	(void)state;
	put(event("EV_1", "room_started", ROOM("RM_1"), t0, NULL));
	put(event("EV_2", "participant_joined", "\"name\":\"lobby\"", t0 + 5, USER("PA_1")));
	assert_sql(f, "RM_1", "SELECT \"roomSid\" FROM livekit_call_events WHERE \"eventId\" = 'EV_2' AND processed = 1");
	put(event("EV_3", "room_finished", ROOM("RM_1"), t0 + 20, NULL));
	put(event("EV_4", "participant_joined", "\"name\":\"lobby\"", t0 + 100, USER("PA_2")));
	assert_sql(f, "NULL", "SELECT \"roomSid\" FROM livekit_call_events WHERE \"eventId\" = 'EV_4' AND processed = 0");
}

static void a_tenant_that_comes_late_gets_all_of_the_call(void **state)
{
	(void)state;
	put(event("EV_1", "room_started", ROOM("RM_1"), t0, NULL));
	assert_sql(f, "1", "SELECT count(*) FROM livekit_call_events WHERE processed = 1 AND \"userId\" IS NULL");
	assert_sql(f, "0", "SELECT count(*) FROM call_logs");
	put(event("EV_2", "room_finished", ROOM("RM_1") OF("user-1"), t0 + 30, NULL));
	assert_sql(f, "2", "SELECT count(*) FROM livekit_call_events WHERE \"userId\" = 'user-1' AND \"callLogId\" IS NOT NULL");
	assert_sql(f, "1", "SELECT count(*) FROM call_logs WHERE \"userId\" = 'user-1'");
}

static void a_dispute_keeps_all_of_the_call_aside(void **state)
{
	(void)state;
	put(event("EV_1", "room_started", ROOM("RM_1") OF("user-1"), t0, NULL));
	struct sent *s = event("EV_2", "room_finished", ROOM("RM_1") OF("user-2"), t0 + 30, NULL);
	put(s);
	assert_int_equal(s->item.result, INGEST_QUARANTINED);
	assert_sql(f, "2", "SELECT count(*) FROM livekit_call_events WHERE processed = 0 AND \"errorMessage\" IS NOT NULL AND \"userId\" IS NULL");
	assert_sql(f, "0", "SELECT count(*) FROM call_logs");
	assert_sql(f, "0", "SELECT count(*) FROM livekit_call_events WHERE \"callLogId\" IS NOT NULL");
}

static void the_hosts_row_is_taken(void **state)
{
	(void)state;
	fixture_execf(f, "INSERT INTO call_logs (id, \"userId\", \"livekitRoomName\", \"createdAt\") VALUES ('host-1', 'user-9', 'lobby', '%s')",
		fixture_time(f, (t0 - 5) * 1000));
	put(event("EV_1", "room_started", ROOM("RM_1"), t0, NULL));
	put(event("EV_2", "room_finished", ROOM("RM_1"), t0 + 30, NULL));
	assert_sql(f, "host-1", "SELECT id FROM call_logs WHERE \"livekitRoomSid\" = 'RM_1' AND status = 'ended'");
	assert_sql(f, "1", "SELECT count(*) FROM call_logs");
	assert_sql(f, "2", "SELECT count(*) FROM livekit_call_events WHERE \"userId\" = 'user-9' AND \"callLogId\" = 'host-1'");
}

static void a_call_that_is_due_gets_its_verdict(void **state)
{
	(void)state;
	ingest_stop(in);
	options.sweep_interval_ms = 20;
	start();
	put(event("EV_1", "room_started", ROOM("RM_1") OF("user-1"), clock_wall_ms() / 1000, NULL));
	assert_sql(f, "NULL", "SELECT outcome FROM call_facts");
	/* no need to wait for hours: the time is an argument */
	fixture_execf(f, "UPDATE call_facts SET \"dueAtMs\" = 1, verdict = '{}'");
	for (int i = 0; i < 200 && strcmp(fixture_text(f, "SELECT verdict FROM call_facts"), "{}") == 0; i++)
		nanosleep(&(struct timespec){ .tv_nsec = 20000000 }, NULL);
	assert_string_not_equal(fixture_text(f, "SELECT verdict FROM call_facts"), "{}");
	assert_sql(f, "0", "SELECT count(*) FROM call_facts WHERE \"dueAtMs\" = 1");
}

/* A day late, one after the other: the call ends when its end is told, once, and not after each of its events. */
static void a_backlog_of_yesterday_ends_each_call_once(void **state)
{
	(void)state;
	int64_t yesterday = clock_wall_ms() / 1000 - 86400;
	put(event("EV_1", "room_started", ROOM("RM_1") OF("user-1"), yesterday, NULL));
	assert_sql(f, "NULL", "SELECT outcome FROM call_facts");
	put(event("EV_1", "room_started", ROOM("RM_1") OF("user-1"), yesterday, NULL));
	assert_sql(f, "NULL", "SELECT outcome FROM call_facts");
	put(event("EV_2", "room_finished", ROOM("RM_1"), yesterday + 30, NULL));
	assert_sql(f, "no_answer", "SELECT outcome FROM call_facts");
	assert_sql(f, "1", "SELECT revision FROM call_facts");
}

static void what_the_store_refuses_is_kept_aside_alone(void **state)
{
	(void)state;
	struct sent *sent[16];
	size_t n = web_call(sent, "RM_1", "user-1");
	sent[3]->decoded.event.participant.identity = SLICE("torn \xff");
	for (size_t i = 0; i < n; i++)
		submit(sent[i]);
	settle();
	for (size_t i = 0; i < n; i++)
		assert_int_equal(sent[i]->item.result, i == 3 ? INGEST_QUARANTINED : INGEST_PROCESSED);
	assert_sql(f, "7", "SELECT count(*) FROM livekit_call_events WHERE processed = 1");
	assert_sql(f, "EV_RM_1_3", "SELECT \"eventId\" FROM livekit_call_events WHERE processed = 0 AND \"rawBody\" IS NOT NULL "
		"AND \"errorMessage\" IS NOT NULL AND \"roomSid\" = 'RM_1'");
	assert_true(ingest_is_up(in));
}

static void what_is_no_event_is_kept_with_its_bytes(void **state)
{
	(void)state;
	struct sent *sent[] = { sent_body("not JSON"), sent_body("[]"), sent_body("{\"event\":\"room_started\"}"), sent_body("\x80\x81"),
		sent_body("{\"id\":\"EV_1\",\"event\":\"x\\u0000y\"}") };
	for (size_t i = 0; i < 5; i++) {
		put(sent[i]);
		assert_int_equal(sent[i]->item.result, INGEST_QUARANTINED);
	}
	assert_sql(f, "5", "SELECT count(*) FROM livekit_call_events WHERE processed = 0 AND \"errorMessage\" IS NOT NULL "
		"AND (\"rawPayload\" IS NOT NULL OR \"rawBody\" IS NOT NULL)");
}

/* What cannot be read names a room that nobody else has told of: no call comes of it, and its row follows the call that comes later. */
static void an_unreadable_event_makes_no_call(void **state)
{
	(void)state;
	fixture_execf(f, "INSERT INTO call_logs (id, \"userId\", \"livekitRoomName\", \"createdAt\") VALUES ('host-1', 'user-9', 'lobby', '%s')",
		fixture_time(f, t0 * 1000));
	put(event("EV_1", "participant_joined", ROOM("RM_1"), t0, "\"participant\":{\"joinedAt\":\"soon\"}"));
	assert_sql(f, "0", "SELECT count(*) FROM call_facts");
	assert_sql(f, "1", "SELECT count(*) FROM livekit_call_events WHERE \"roomSid\" = 'RM_1' AND processed = 0 AND \"callLogId\" IS NULL");
	assert_sql(f, "NULL", "SELECT \"livekitRoomSid\" FROM call_logs");
	put(event("EV_2", "room_started", ROOM("RM_1"), t0, NULL));
	assert_sql(f, "2", "SELECT count(*) FROM livekit_call_events WHERE \"userId\" = 'user-9' AND \"callLogId\" = 'host-1'");
	assert_sql(f, "1", "SELECT count(*) FROM livekit_call_events WHERE processed = 0 AND \"errorMessage\" IS NOT NULL");
}

static void a_duplicate_of_what_was_refused_makes_no_call(void **state)
{
	(void)state;
	for (int i = 0; i < 2; i++) {
		struct sent *s = event("EV_1", "participant_joined", ROOM("RM_1"), t0, USER("PA_1"));
		s->decoded.event.participant.identity = SLICE("torn \xff");
		put(s);
		assert_int_equal(s->item.result, i ? INGEST_DUPLICATE : INGEST_QUARANTINED);
		assert_sql(f, "0", "SELECT count(*) FROM call_facts");
	}
}

/* More events wait for a call than one batch takes, and before them what nobody can read: the call gets all that are its own. */
static void all_that_waited_are_bound(void **state)
{
	(void)state;
	enum { MANY = 450 };
	struct sent *sent[MANY + 220];
	size_t n = 0;
	for (; n < 220; n++) {
		char id[32];
		snprintf(id, sizeof id, "EV_odd_%zu", n);
		sent[n] = event(id, "participant_joined", "\"name\":\"lobby\"", t0 + 1, "\"participant\":{\"joinedAt\":\"soon\"}");
		submit(sent[n]);
	}
	for (; n < MANY + 220; n++) {
		char id[32], user[100];
		snprintf(id, sizeof id, "EV_%zu", n);
		snprintf(user, sizeof user, "\"participant\":{\"sid\":\"PA_%zu\",\"identity\":\"ann\"}", n);
		sent[n] = event(id, "participant_joined", "\"name\":\"lobby\"", t0 + 2, user);
		submit(sent[n]);
	}
	settle();
	ingest_stop(in);
	options.sweep_interval_ms = 20;
	start();
	put(event("EV_start", "room_started", ROOM("RM_1") OF("user-1"), t0, NULL));
	for (int i = 0; i < 300 && strcmp(fixture_text(f, "SELECT count(*) FROM livekit_call_events WHERE \"roomSid\" IS NULL"), "220") != 0; i++)
		nanosleep(&(struct timespec){ .tv_nsec = 20000000 }, NULL);
	assert_sql(f, "451", "SELECT count(*) FROM livekit_call_events WHERE \"roomSid\" = 'RM_1' AND processed = 1");
	assert_sql(f, "220", "SELECT count(*) FROM livekit_call_events WHERE \"roomSid\" IS NULL AND processed = 0");
}

struct crowd {
	struct ingest *node;
	struct sent **sent;
	size_t count;
};

static void *submit_all(void *argument)
{
	struct crowd *c = argument;
	for (size_t i = 0; i < c->count; i++)
		while (ingest_submit(c->node, &c->sent[i]->item) != 0)
			nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
	return NULL;
}

static void two_nodes_count_each_event_once(void **state)
{
	(void)state;
	enum { CALLS = 12 };
	struct sent *sent[2][CALLS * 8];
	struct ingest *other;
	assert_int_equal(ingest_start(&options, NULL, &other), 0);
	size_t n = 0;
	for (int i = 0; i < CALLS; i++) {
		char sid[32];
		snprintf(sid, sizeof sid, "RM_%d", i);
		web_call(&sent[0][n], sid, "user-1");
		n += web_call(&sent[1][n], sid, "user-1");
	}
	struct crowd crowds[] = { { in, sent[0], n }, { other, sent[1], n } };
	pthread_t threads[2];
	for (int i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, submit_all, &crowds[i]), 0);
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	settle();
	ingest_stop(other);
	size_t processed = 0, duplicates = 0;
	for (size_t i = 0; i < 2 * n; i++) {
		const struct sent *s = sent[i / n][i % n];
		assert_int_equal(s->answers, 1);
		processed += s->item.result == INGEST_PROCESSED;
		duplicates += s->item.result == INGEST_DUPLICATE;
	}
	assert_int_equal(processed, n);
	assert_int_equal(duplicates, n);
	char expected[32];
	snprintf(expected, sizeof expected, "%zu", n);
	assert_sql(f, expected, "SELECT count(*) FROM livekit_call_events");
	assert_sql(f, "12", "SELECT count(*) FROM call_facts WHERE outcome = 'completed'");
	assert_sql(f, "12", "SELECT count(*) FROM call_logs WHERE outcome = 'completed'");
}

/* ---- */

static const struct store_case cases[] = {
#define CASE(name) { #name, name }
	CASE(a_call_comes_out_of_its_events),
	CASE(order_and_repetition_do_not_matter),
	CASE(what_was_acknowledged_is_known_after_a_restart),
	CASE(an_event_by_name_waits_for_its_call),
	CASE(an_event_by_name_finds_the_call_that_is_open),
	CASE(a_tenant_that_comes_late_gets_all_of_the_call),
	CASE(a_dispute_keeps_all_of_the_call_aside),
	CASE(the_hosts_row_is_taken),
	CASE(a_call_that_is_due_gets_its_verdict),
	CASE(a_backlog_of_yesterday_ends_each_call_once),
	CASE(what_the_store_refuses_is_kept_aside_alone),
	CASE(what_is_no_event_is_kept_with_its_bytes),
	CASE(an_override_changes_the_outcome_and_nothing_else),
	CASE(an_unreadable_event_makes_no_call),
	CASE(a_duplicate_of_what_was_refused_makes_no_call),
	CASE(all_that_waited_are_bound),
	CASE(two_nodes_count_each_event_once),
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
