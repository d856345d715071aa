/* The store contract: whose row in call_logs is a call's (docs/ARCHITECTURE.md, "Whose row is it?"). */
#include "store_fixture.h"

#define HOST_TABLE \
	"CREATE TABLE call_logs (id TEXT PRIMARY KEY, \"userId\" TEXT, \"livekitRoomName\" TEXT, \"livekitRoomSid\" TEXT, direction TEXT, " \
	"\"phoneNumber\" TEXT, \"startedAt\" TIMESTAMPTZ(3), metadata JSONB, note TEXT, \"createdAt\" TIMESTAMPTZ(3))"

static void host_row(struct fixture *f, const char *id, const char *name, int64_t created_ms)
{
	fixture_execf(f, "INSERT INTO call_logs (id, \"userId\", \"livekitRoomName\", note, \"createdAt\") VALUES ('%s', 'host', '%s', 'theirs', '%s')",
		id, name, fixture_time(f, created_ms));
}

/* Loads one call without changing it and gives its row. */
static struct call_row *look(struct fixture *f, const char *sid, const char *name, int64_t start_ms)
{
	struct batch *b = batch_new(f);
	batch_room(b, sid, name, start_ms);
	batch_load(b);
	store_batch_abort(f->store);
	return batch_call(b, sid);
}

#define assert_rows(f, n) assert_sql(f, #n, "SELECT count(*) FROM call_logs")

/* ---- rows of ours ---- */

static void a_call_without_host_row_gets_one_with_a_made_id(void **state)
{
	struct fixture *f = *state;
	int64_t t = f->now_ms - HOUR;
	fixture_start(f, NULL);
	put_call(f, "EV_a", "RM_one", "room", "alice", t, t + 90 * SECOND);
	assert_sql(f, made_id(f, "RM_one"), "SELECT id FROM call_logs");
	assert_sql(f, "alice|room|RM_one|outbound|+15105550100|SCL_one|90|ended|completed|s3://bucket/one.ogg",
		"SELECT \"userId\" || '|' || \"livekitRoomName\" || '|' || \"livekitRoomSid\" || '|' || direction || '|' || \"phoneNumber\" || '|' || "
		"\"sipCallId\" || '|' || duration || '|' || status || '|' || outcome || '|' || \"recordingUrl\" FROM call_logs");
	assert_sql(f, "1", "SELECT count(*) FROM call_logs WHERE \"startedAt\" = '%s' AND \"endedAt\" = '%s'", fixture_time(f, t),
		fixture_time(f, t + 90 * SECOND));
	assert_sql(f, "1", "SELECT count(*) FROM call_facts WHERE \"callLogIsOurs\" = 1 AND \"callLogId\" = '%s'", made_id(f, "RM_one"));
	assert_sql(f, "hangup", "SELECT metadata -> 'outcomed' ->> 'reason' FROM call_logs");
	assert_true(look(f, "RM_one", NULL, 0)->call_log_is_ours);
	assert_slice(look(f, "RM_one", NULL, 0)->host_user_id, NULL);
}

static void the_made_id_is_the_same_everywhere(void **state)
{
	struct fixture *f = *state;
	assert_string_equal(made_id(f, "RM_KuNhzVxyvNTp"), made_id(f, "RM_KuNhzVxyvNTp"));
	assert_string_not_equal(made_id(f, "RM_KuNhzVxyvNTp"), made_id(f, "RM_KuNhzVxyvNTq"));
	assert_string_equal(made_id(f, "RM_one"), "9fa1ec8b-7856-8a42-8a1d-dca4598d9ce6");
}

static void a_row_follows_its_verdict(void **state)
{
	struct fixture *f = *state;
	int64_t t = f->now_ms - HOUR;
	fixture_start(f, NULL);
	put_call(f, "EV_a", "RM_one", "room", "alice", t, 0);
	assert_sql(f, "active", "SELECT status FROM call_logs WHERE outcome IS NULL AND duration IS NULL AND \"endedAt\" IS NULL");
	put_call(f, "EV_b", "RM_one", "room", "alice", t, t + MINUTE);
	assert_sql(f, "ended", "SELECT status FROM call_logs WHERE outcome = 'completed' AND duration = 60");
	assert_rows(f, 1);
}

/* ---- the host's row before the first event ---- */

static void a_host_row_of_the_name_is_claimed(void **state)
{
	struct fixture *f = *state;
	int64_t t = f->now_ms - HOUR;
	fixture_start(f, HOST_TABLE);
	host_row(f, "H1", "room", t - 5 * SECOND);
	struct batch *b = batch_new(f);
	batch_event(b, "EV_a", "RM_one", "room", t);
	batch_load(b);
	assert_slice(batch_call(b, "RM_one")->call_log_id, "H1");
	assert_slice(batch_call(b, "RM_one")->host_user_id, "host");
	assert_false(batch_call(b, "RM_one")->call_log_is_ours);
	judge(b, "RM_one", "host", t, t + MINUTE, OUTCOME_BUSY);
	batch_commit(b);
	assert_sql(f, "H1|RM_one|theirs|busy|ended|60", "SELECT id || '|' || \"livekitRoomSid\" || '|' || note || '|' || outcome || '|' || status || '|' || "
		"duration FROM call_logs");
	assert_sql(f, "H1", "SELECT \"callLogId\" FROM livekit_call_events WHERE \"userId\" = 'host'");
	assert_slice(look(f, "RM_one", NULL, 0)->host_user_id, "host");
	assert_slice(look(f, "RM_one", NULL, 0)->call_log_id, "H1");
}

static void a_host_row_of_the_sid_wins_over_one_of_the_name(void **state)
{
	struct fixture *f = *state;
	fixture_start(f, HOST_TABLE);
	host_row(f, "H1", "room", f->now_ms);
	host_row(f, "H2", "another", f->now_ms);
	fixture_exec(f, "UPDATE call_logs SET \"livekitRoomSid\" = 'RM_one' WHERE id = 'H2'");
	assert_slice(look(f, "RM_one", "room", f->now_ms)->call_log_id, "H2");
}

static void the_nearest_of_two_rows_is_claimed(void **state)
{
	struct fixture *f = *state;
	int64_t t = f->now_ms - HOUR;
	fixture_start(f, HOST_TABLE);
	host_row(f, "H1", "room", t - 3 * HOUR);
	host_row(f, "H2", "room", t - MINUTE);
	host_row(f, "H3", "room", t - 2 * HOUR);
	assert_slice(look(f, "RM_one", "room", t)->call_log_id, "H2");
}

static void of_equally_near_rows_the_smallest_id_is_claimed(void **state)
{
	struct fixture *f = *state;
	int64_t t = f->now_ms - HOUR;
	fixture_start(f, HOST_TABLE);
	host_row(f, "H3", "room", t - MINUTE);
	host_row(f, "H2", "room", t - MINUTE);
	assert_slice(look(f, "RM_one", "room", t)->call_log_id, "H2");
}

static void a_row_older_than_a_day_is_not_claimed(void **state)
{
	struct fixture *f = *state;
	int64_t t = f->now_ms - HOUR;
	fixture_start(f, HOST_TABLE);
	host_row(f, "H1", "room", t - DAY - MINUTE);
	assert_slice(look(f, "RM_one", "room", t)->call_log_id, NULL);
	host_row(f, "H2", "room", t - DAY + MINUTE);
	assert_slice(look(f, "RM_one", "room", t)->call_log_id, "H2");
}

static void calls_of_one_name_in_one_batch_claim_a_row_each(void **state)
{
	struct fixture *f = *state;
	int64_t t = f->now_ms - 2 * HOUR;
	fixture_start(f, HOST_TABLE);
	host_row(f, "H1", "room", t - SECOND);
	host_row(f, "H2", "room", t + 30 * MINUTE - SECOND);
	struct batch *b = batch_new(f);
	batch_event(b, "EV_a", "RM_zz_first", "room", t);
	batch_event(b, "EV_b", "RM_aa_second", "room", t + 30 * MINUTE);
	batch_load(b);
	assert_slice(batch_call(b, "RM_zz_first")->call_log_id, "H1");
	assert_slice(batch_call(b, "RM_aa_second")->call_log_id, "H2");
	judge(b, "RM_zz_first", "host", t, t + MINUTE, OUTCOME_BUSY);
	judge(b, "RM_aa_second", "host", t + 30 * MINUTE, 0, OUTCOME_NONE);
	batch_commit(b);
	assert_rows(f, 2);
	assert_sql(f, "RM_zz_first", "SELECT \"livekitRoomSid\" FROM call_logs WHERE id = 'H1'");
}

static void a_reused_name_gets_a_row_of_its_own(void **state)
{
	struct fixture *f = *state;
	int64_t t = f->now_ms - 2 * HOUR;
	fixture_start(f, HOST_TABLE);
	host_row(f, "H1", "room", t);
	put_call(f, "EV_a", "RM_one", "room", "host", t, t + MINUTE);
	host_row(f, "H2", "room", t + HOUR);
	put_call(f, "EV_b", "RM_two", "room", "host", t + HOUR, 0);
	assert_sql(f, "RM_one", "SELECT \"livekitRoomSid\" FROM call_logs WHERE id = 'H1'");
	assert_sql(f, "RM_two", "SELECT \"livekitRoomSid\" FROM call_logs WHERE id = 'H2'");
}

/* ---- what is the host's in its row ---- */

static void only_empty_columns_of_a_host_row_are_filled(void **state)
{
	struct fixture *f = *state;
	int64_t t = f->now_ms - HOUR;
	fixture_start(f, HOST_TABLE);
	host_row(f, "H1", "room", t);
	fixture_execf(f, "UPDATE call_logs SET direction = 'theirs', \"startedAt\" = '%s', metadata = '{\"a\": {\"b\": [1, 2]}, \"outcomed\": 5}'",
		fixture_time(f, t - MINUTE));
	put_call(f, "EV_a", "RM_one", "room", "host", t, t + MINUTE);
	assert_sql(f, "theirs|+15105550100|SCL_one|room|host", "SELECT direction || '|' || \"phoneNumber\" || '|' || \"sipCallId\" || '|' || "
		"\"livekitRoomName\" || '|' || \"userId\" FROM call_logs");
	assert_sql(f, "1", "SELECT count(*) FROM call_logs WHERE \"startedAt\" = '%s'", fixture_time(f, t - MINUTE));
	assert_sql(f, "2|certain", "SELECT (metadata -> 'a' -> 'b' ->> 1) || '|' || (metadata -> 'outcomed' ->> 'confidence') FROM call_logs");
}

static void metadata_that_is_no_object_is_left_alone(void **state)
{
	struct fixture *f = *state;
	fixture_start(f, HOST_TABLE);
	host_row(f, "H1", "room", f->now_ms);
	fixture_exec(f, "UPDATE call_logs SET metadata = '[1, 2]'");
	put_call(f, "EV_a", "RM_one", "room", "host", f->now_ms - SECOND, f->now_ms);
	assert_sql(f, "[1, 2]", "SELECT metadata FROM call_logs WHERE outcome = 'completed'");
}

/* ---- the host's row after the call ---- */

static void a_late_host_row_takes_over_from_ours(void **state)
{
	struct fixture *f = *state;
	int64_t t = f->now_ms - HOUR;
	fixture_start(f, HOST_TABLE);
	put_call(f, "EV_a", "RM_one", "room", "alice", t, t + MINUTE);
	assert_rows(f, 1);
	host_row(f, "H1", "room", t + 10 * MINUTE);
	assert_true(is_due(f, "RM_one", f->now_ms));

	struct batch *b = batch_new(f);
	batch_room(b, "RM_one", NULL, 0);
	batch_load(b);
	struct call_row *row = batch_call(b, "RM_one");
	assert_slice(row->call_log_id, "H1");
	assert_slice(row->replaced_call_log_id, made_id(f, "RM_one"));
	assert_slice(row->host_user_id, "host");
	judge(b, "RM_one", "host", t, t + MINUTE, OUTCOME_COMPLETED);
	batch_commit(b);
	assert_rows(f, 1);
	assert_sql(f, "H1|RM_one|completed|theirs", "SELECT id || '|' || \"livekitRoomSid\" || '|' || outcome || '|' || note FROM call_logs");
	assert_sql(f, "H1|host", "SELECT \"callLogId\" || '|' || \"userId\" FROM livekit_call_events");
	assert_sql(f, "0", "SELECT \"callLogIsOurs\" FROM call_facts WHERE \"callLogId\" = 'H1'");
	assert_false(is_due(f, "RM_one", f->now_ms + 10 * SECOND));
}

static void a_row_written_while_the_call_is_open_is_taken_at_once(void **state)
{
	struct fixture *f = *state;
	fixture_start(f, HOST_TABLE);
	put_call(f, "EV_a", "RM_one", "room", "alice", f->now_ms - MINUTE, 0);
	host_row(f, "H1", "room", f->now_ms - SECOND);
	assert_true(is_due(f, "RM_one", f->now_ms));
	assert_slice(look(f, "RM_one", NULL, 0)->call_log_id, "H1");
}

static void a_row_written_after_the_end_waits_a_minute_for_the_next_call(void **state)
{
	struct fixture *f = *state;
	fixture_start(f, HOST_TABLE);
	put_call(f, "EV_a", "RM_one", "room", "alice", f->now_ms - HOUR, f->now_ms - MINUTE);
	host_row(f, "H1", "room", f->now_ms - 10 * SECOND);
	assert_false(is_due(f, "RM_one", f->now_ms));
	assert_true(look(f, "RM_one", NULL, 0)->call_log_is_ours);
	put_call(f, "EV_b", "RM_two", "room", "host", f->now_ms - SECOND, 0);
	assert_sql(f, "RM_two", "SELECT \"livekitRoomSid\" FROM call_logs WHERE id = 'H1'");
	assert_rows(f, 2);
}

static void a_row_written_after_the_end_is_due_a_minute_later(void **state)
{
	struct fixture *f = *state;
	fixture_start(f, HOST_TABLE);
	put_call(f, "EV_a", "RM_one", "room", "alice", f->now_ms - HOUR, f->now_ms - 10 * MINUTE);
	host_row(f, "H1", "room", f->now_ms - 10 * SECOND);
	assert_false(is_due(f, "RM_one", f->now_ms));
	fixture_execf(f, "UPDATE call_logs SET \"createdAt\" = '%s' WHERE id = 'H1'", fixture_time(f, f->now_ms - 61 * SECOND));
	assert_true(is_due(f, "RM_one", f->now_ms + 6 * SECOND));
	assert_slice(look(f, "RM_one", NULL, 0)->call_log_id, "H1");
}

static void a_host_row_that_names_the_sid_later_is_due(void **state)
{
	struct fixture *f = *state;
	fixture_start(f, HOST_TABLE);
	put_call(f, "EV_a", "RM_one", "room", NULL, f->now_ms - HOUR, f->now_ms);
	assert_false(is_due(f, "RM_one", f->now_ms));
	fixture_exec(f, "INSERT INTO call_logs (id, \"userId\", \"livekitRoomSid\") VALUES ('H1', 'host', 'RM_one')");
	assert_true(is_due(f, "RM_one", f->now_ms + 6 * SECOND));
	assert_slice(look(f, "RM_one", NULL, 0)->host_user_id, "host");
}

static void due_calls_come_in_the_order_of_their_time(void **state)
{
	struct fixture *f = *state;
	static const char *const sids[] = { "RM_a", "RM_b", "RM_c", "RM_d" };
	const int64_t due[] = { f->now_ms - 1, f->now_ms - 5 * SECOND, f->now_ms + HOUR, 0 };
	fixture_start(f, NULL);
	struct batch *b = batch_new(f);
	for (size_t i = 0; i < 4; i++)
		batch_room(b, sids[i], "room", f->now_ms - HOUR);
	batch_load(b);
	for (size_t i = 0; i < 4; i++) {
		judge(b, sids[i], "alice", f->now_ms - HOUR, 0, OUTCOME_NONE);
		batch_call(b, sids[i])->due_at_ms = due[i];
	}
	batch_commit(b);
	struct slice *found;
	size_t count;
	assert_int_equal(store_due(f->store, f->now_ms, 10, f->arena, &found, &count), 0);
	assert_int_equal(count, 2);
	assert_slice(found[0], "RM_b");
	assert_slice(found[1], "RM_a");
	assert_int_equal(store_due(f->store, f->now_ms, 1, f->arena, &found, &count), 0);
	assert_int_equal(count, 1);
	assert_slice(found[0], "RM_b");
}

/* ---- tables that do not take our rows ---- */

static void a_table_with_columns_we_cannot_fill_keeps_the_verdict_waiting(void **state)
{
	struct fixture *f = *state;
	struct call_view v;
	int64_t t = f->now_ms - HOUR;
	fixture_start(f, "CREATE TABLE call_logs (id TEXT PRIMARY KEY, \"userId\" TEXT NOT NULL, \"campaign\" TEXT NOT NULL, \"livekitRoomName\" TEXT, "
		"\"createdAt\" TIMESTAMPTZ(3))");
	put_call(f, "EV_a", "RM_one", "room", "host", t, t + MINUTE);
	assert_rows(f, 0);
	assert_sql(f, "1", "SELECT count(*) FROM livekit_call_events WHERE processed = 1");
	assert_int_equal(see(f, "host", "RM_one", &v), 0);
	assert_slice(v.id, NULL);
	assert_slice(v.outcome, "completed");
	assert_slice(v.status, "ended");
	assert_int_equal(v.duration_s, 60);
	assert_int_equal(see(f, "other", "RM_one", &v), OC_NOT_FOUND);
	fixture_execf(f, "INSERT INTO call_logs (id, \"userId\", campaign, \"livekitRoomName\", \"createdAt\") VALUES ('H1', 'host', 'c', 'room', '%s')",
		fixture_time(f, t));
	assert_true(is_due(f, "RM_one", f->now_ms));
	put_call(f, "EV_b", "RM_one", "room", "host", t, t + MINUTE);
	assert_sql(f, "completed", "SELECT outcome FROM call_logs WHERE id = 'H1'");
}

static void a_constraint_of_the_host_loses_no_event(void **state)
{
	struct fixture *f = *state;
	struct call_view v;
	fixture_start(f, "CREATE TABLE call_logs (id TEXT PRIMARY KEY, \"userId\" TEXT, outcome TEXT CHECK (outcome <> 'completed'), "
		"\"livekitRoomName\" TEXT, \"createdAt\" TIMESTAMPTZ(3))");
	put_call(f, "EV_a", "RM_one", "room", "alice", f->now_ms - HOUR, f->now_ms);
	assert_rows(f, 0);
	put_call(f, "EV_b", "RM_two", "other", "alice", f->now_ms - HOUR, 0);
	assert_rows(f, 1);
	put_call(f, "EV_c", "RM_two", "other", "alice", f->now_ms - HOUR, f->now_ms);
	assert_sql(f, "active", "SELECT status FROM call_logs");
	assert_sql(f, "3", "SELECT count(*) FROM livekit_call_events");
	assert_int_equal(see(f, "alice", "RM_one", &v), 0);
	assert_slice(v.outcome, "completed");
}

/* In one batch with one that the host refuses: the batch is tried again, once, and then only the refused row is missing; so with the next one. */
static void a_refused_row_takes_no_other_with_it(void **state)
{
	struct fixture *f = *state;
	fixture_start(f, "CREATE TABLE call_logs (id TEXT PRIMARY KEY, \"userId\" TEXT, outcome TEXT, \"livekitRoomName\" TEXT CHECK (\"livekitRoomName\" <> 'bad'), "
		"\"createdAt\" TIMESTAMPTZ(3))");
	unsigned refused = 0;
	for (int round = 0; round < 2; round++) {
		int r = OC_RETRY;
		for (int attempt = 0; attempt < 2 && r == OC_RETRY; attempt++) {
			static const char *const names[2][3][3] = {
				{ { "EV_a", "RM_a", "good" }, { "EV_b", "RM_b", "bad" }, { "EV_c", "RM_c", "fine" } },
				{ { "EV_d", "RM_d", "bad" }, { "EV_e", "RM_e", "good too" }, { "EV_f", "RM_f", "well" } },
			};
			struct batch *b = batch_new(f);
			for (int i = 0; i < 3; i++)
				batch_event(b, names[round][i][0], names[round][i][1], names[round][i][2], f->now_ms - HOUR);
			batch_load(b);
			for (int i = 0; i < 3; i++)
				judge(b, names[round][i][1], "alice", f->now_ms - HOUR, f->now_ms, OUTCOME_COMPLETED);
			r = batch_try_commit(b);
			refused += r == OC_RETRY;
			if (r < 0)
				store_batch_abort(f->store);
		}
		assert_int_equal(r, 0);
	}
	assert_in_range(refused, 0, 1);
	assert_sql(f, "6", "SELECT count(*) FROM livekit_call_events");
	assert_sql(f, "6", "SELECT count(*) FROM call_facts WHERE outcome = 'completed'");
	assert_sql(f, "4", "SELECT count(*) FROM call_logs WHERE outcome = 'completed'");
}

static void a_call_that_loses_its_tenant_loses_its_row(void **state)
{
	struct fixture *f = *state;
	fixture_start(f, NULL);
	put_call(f, "EV_a", "RM_one", "room", "alice", f->now_ms - HOUR, 0);
	put_call(f, "EV_b", "RM_one", "room", NULL, f->now_ms - HOUR, 0);
	assert_rows(f, 0);
	assert_sql(f, "2", "SELECT count(*) FROM livekit_call_events WHERE \"userId\" IS NULL AND \"callLogId\" IS NULL");
}

#define CASE(name) { #name, name }
const struct store_case call_cases[] = {
	CASE(a_call_without_host_row_gets_one_with_a_made_id),
	CASE(the_made_id_is_the_same_everywhere),
	CASE(a_row_follows_its_verdict),
	CASE(a_host_row_of_the_name_is_claimed),
	CASE(a_host_row_of_the_sid_wins_over_one_of_the_name),
	CASE(the_nearest_of_two_rows_is_claimed),
	CASE(of_equally_near_rows_the_smallest_id_is_claimed),
	CASE(a_row_older_than_a_day_is_not_claimed),
	CASE(calls_of_one_name_in_one_batch_claim_a_row_each),
	CASE(a_reused_name_gets_a_row_of_its_own),
	CASE(only_empty_columns_of_a_host_row_are_filled),
	CASE(metadata_that_is_no_object_is_left_alone),
	CASE(a_late_host_row_takes_over_from_ours),
	CASE(a_row_written_while_the_call_is_open_is_taken_at_once),
	CASE(a_row_written_after_the_end_waits_a_minute_for_the_next_call),
	CASE(a_row_written_after_the_end_is_due_a_minute_later),
	CASE(a_host_row_that_names_the_sid_later_is_due),
	CASE(due_calls_come_in_the_order_of_their_time),
	CASE(a_table_with_columns_we_cannot_fill_keeps_the_verdict_waiting),
	CASE(a_constraint_of_the_host_loses_no_event),
	CASE(a_refused_row_takes_no_other_with_it),
	CASE(a_call_that_loses_its_tenant_loses_its_row),
};
const size_t call_case_count = sizeof call_cases / sizeof *call_cases;
