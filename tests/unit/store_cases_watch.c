/* The store contract: what the watcher claims. */
#include "store_fixture.h"

#include <stdio.h>

#define LEASE 10000
#define WATCH_AT "SELECT \"watchAtMs\" FROM call_facts WHERE \"roomSid\" = '%s'"

static void put_wish(struct fixture *f, const char *event_id, const char *sid, int64_t watch_at_ms)
{
	struct batch *b = batch_new(f);
	batch_event(b, event_id, sid, "room", f->now_ms);
	batch_load(b);
	judge(b, sid, "alice", f->now_ms, 0, OUTCOME_NONE);
	batch_call(b, sid)->watch_at_ms = watch_at_ms;
	batch_commit(b);
}

static size_t claim(struct fixture *f, struct store *s, int64_t now_ms, size_t limit, const char *mine, struct watch_row **ret)
{
	const struct slice sid = slice_cstr(mine);
	const struct watch_claim c = { .now_ms = now_ms, .lease_ms = LEASE, .limit = limit, .mine = &sid, .mine_count = mine != NULL };
	size_t n = 0;
	assert_int_equal(store_watch_claim(s, &c, f->arena, ret, &n), 0);
	return n;
}

static void what_is_due_is_claimed_once(void **state)
{
	struct fixture *f = *state;
	struct watch_row *rows;
	struct store *other;
	fixture_start(f, NULL);
	put_wish(f, "EV_1", "RM_due", f->now_ms - 5);
	put_wish(f, "EV_2", "RM_later", f->now_ms + MINUTE);
	put_wish(f, "EV_3", "RM_never", 0);
	assert_int_equal(store_open(&f->options, f->arena, &other, NULL), 0);
	assert_int_equal(claim(f, f->store, f->now_ms, 10, NULL, &rows), 1);
	assert_true(slice_eq_cstr(rows[0].room_sid, "RM_due") && slice_eq_cstr(rows[0].room_name, "room") && slice_eq_cstr(rows[0].user_id, "alice"));
	assert_true(slice_eq_cstr(rows[0].facts, "room\topen\n"));
	assert_int_equal(rows[0].watch_at_ms, f->now_ms + LEASE);
	assert_int_equal(claim(f, other, f->now_ms + 1, 10, NULL, &rows), 0);
	assert_int_equal(claim(f, other, f->now_ms + LEASE, 10, NULL, &rows), 1);
	assert_sql(f, "NULL", WATCH_AT, "RM_never");
	store_close(other);
}

static void the_longest_due_come_first_and_no_more_than_asked_for(void **state)
{
	struct fixture *f = *state;
	struct watch_row *rows;
	fixture_start(f, NULL);
	put_wish(f, "EV_1", "RM_new", f->now_ms - 1);
	put_wish(f, "EV_2", "RM_old", f->now_ms - 9);
	assert_int_equal(claim(f, f->store, f->now_ms, 1, NULL, &rows), 1);
	assert_true(slice_eq_cstr(rows[0].room_sid, "RM_old"));
	assert_int_equal(claim(f, f->store, f->now_ms, 0, NULL, &rows), 0);
	assert_int_equal(claim(f, f->store, f->now_ms, 1, NULL, &rows), 1);
	assert_true(slice_eq_cstr(rows[0].room_sid, "RM_new"));
}

static void what_is_mine_is_given_as_it_is_now_and_renewed_when_half_over(void **state)
{
	struct fixture *f = *state;
	struct watch_row *rows;
	fixture_start(f, NULL);
	put_wish(f, "EV_1", "RM_one", f->now_ms);
	assert_int_equal(claim(f, f->store, f->now_ms, 10, NULL, &rows), 1);
	const int64_t until = f->now_ms + LEASE;
	assert_int_equal(claim(f, f->store, f->now_ms + 1000, 10, "RM_one", &rows), 1);
	assert_int_equal(rows[0].watch_at_ms, until);
	assert_int_equal(claim(f, f->store, f->now_ms + 6000, 10, "RM_one", &rows), 1);
	assert_int_equal(rows[0].watch_at_ms, until + 6000);
	assert_int_equal(claim(f, f->store, f->now_ms + 6000, 10, "RM_one", &rows), 1);
	assert_int_equal(rows[0].watch_at_ms, until + 6000);
	put_wish(f, "EV_2", "RM_one", 0); /* the wish ended */
	assert_int_equal(claim(f, f->store, f->now_ms + 7000, 10, "RM_one", &rows), 0);
}

static void a_move_takes_back_nobody_elses(void **state)
{
	struct fixture *f = *state;
	char text[32];
	fixture_start(f, NULL);
	put_wish(f, "EV_1", "RM_one", 1000);
	assert_int_equal(store_watch_move(f->store, SLICE("RM_one"), 999, 5000), 0);
	assert_sql(f, "1000", WATCH_AT, "RM_one");
	assert_int_equal(store_watch_move(f->store, SLICE("RM_one"), 1000, f->now_ms + MINUTE), 0);
	snprintf(text, sizeof text, "%lld", (long long)(f->now_ms + MINUTE));
	assert_sql(f, text, WATCH_AT, "RM_one");
	assert_int_equal(store_watch_move(f->store, SLICE("RM_one"), f->now_ms + MINUTE, 0), 0);
	assert_sql(f, "NULL", WATCH_AT, "RM_one");
	assert_int_equal(store_watch_move(f->store, SLICE("RM_nobody"), 1, 2), 0);
}

static void a_batch_that_changes_no_wish_leaves_the_claim(void **state)
{
	struct fixture *f = *state;
	struct watch_row *rows;
	char text[32];
	fixture_start(f, NULL);
	put_wish(f, "EV_1", "RM_one", f->now_ms);
	struct batch *b = batch_new(f);
	batch_event(b, "EV_2", "RM_one", "room", f->now_ms);
	if (f->kind == STORE_POSTGRES) {
		/* the claim comes between the batch's look and its commit */
		struct store *other;
		assert_int_equal(store_open(&f->options, f->arena, &other, NULL), 0);
		batch_load(b);
		assert_int_equal(claim(f, other, f->now_ms, 10, NULL, &rows), 1);
		store_close(other);
	} else {
		assert_int_equal(claim(f, f->store, f->now_ms, 10, NULL, &rows), 1);
		batch_load(b);
	}
	judge(b, "RM_one", "alice", f->now_ms - 1000, 0, OUTCOME_NONE);
	batch_commit(b);
	snprintf(text, sizeof text, "%lld", (long long)(f->now_ms + LEASE));
	assert_sql(f, text, WATCH_AT, "RM_one");
}

const struct store_case watch_cases[] = {
#define CASE(f) { #f, f }
	CASE(what_is_due_is_claimed_once),
	CASE(the_longest_due_come_first_and_no_more_than_asked_for),
	CASE(what_is_mine_is_given_as_it_is_now_and_renewed_when_half_over),
	CASE(a_move_takes_back_nobody_elses),
	CASE(a_batch_that_changes_no_wish_leaves_the_claim),
#undef CASE
};
const size_t watch_case_count = sizeof watch_cases / sizeof *watch_cases;
