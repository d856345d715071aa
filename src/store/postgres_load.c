/* Opening a batch: BEGIN, lock the calls, and only then look, all in one round trip; one more before it for events that carry only a room
 * name, and one after it where rows or events without a SID have a call's name.
 *
 * Ordering: a call is locked by an advisory lock on a key made from its SID, which also locks a call that has no row yet. The locks are
 * taken in the order of the keys, so two nodes with the same calls take turns instead of deadlocking, and the second one's look-ups, each
 * with a snapshot of its own (READ COMMITTED), see what the first one committed. Two calls with one key take turns too, that is all.
 * Threads: the one that owns the struct store. */
#include "store/postgres.h"

#include <stdlib.h>

#include "base/clock.h"
#include "store/spans.h"

static struct pg_store *store_of(struct store *s) { return (struct pg_store *)s; }

/* The calls of a batch: those of the touch and those that a name led to, sorted. */
struct wanted {
	const struct slice *sids, *names;
	const int64_t *start_s;
	size_t count;
};

static int64_t seconds_to_ms(int64_t s)
{
	int64_t ms;
	if (__builtin_mul_overflow(s, (int64_t)1000, &ms))
		return s < 0 ? INT64_MIN / 2 : INT64_MAX / 2;
	return ms > INT64_MAX / 2 ? INT64_MAX / 2 : ms < INT64_MIN / 2 ? INT64_MIN / 2 : ms;
}

/* ---- events with only a name, marks with only a leg ---- */

static struct slice user_of_name(const struct store_touch *t, size_t i) { return t->name_users ? t->name_users[i] : SLICE_NONE; }
static int64_t late_of_name_ms(const struct store_touch *t, size_t i) { return t->name_late_s ? t->name_late_s[i] * 1000 : 0; }

static int send_names(struct pg *c, const struct store_touch *t)
{
	struct pg_params *p = &c->params;

	pg_params_clear(p);
	pg_param_texts(p, t->names, t->name_count);
	struct buf *b = pg_param_array(p, PG_ELEMENT_INT8, t->name_count);
	for (size_t i = 0; i < t->name_count; i++)
		pg_put_int8(b, seconds_to_ms(t->name_at_s[i]));
	b = pg_param_array(p, PG_ELEMENT_TEXT, t->name_count);
	for (size_t i = 0; i < t->name_count; i++)
		pg_put_bytes(b, user_of_name(t, i));
	b = pg_param_array(p, PG_ELEMENT_INT8, t->name_count);
	for (size_t i = 0; i < t->name_count; i++)
		pg_put_int8(b, late_of_name_ms(t, i));
	return pg_send(c, PG_STMT_LOAD_NAMES, p);
}

static int send_legs(struct pg *c, const struct store_touch *t)
{
	pg_params_clear(&c->params);
	pg_param_texts(&c->params, t->leg_ids, t->leg_count);
	return pg_send(c, PG_STMT_LOAD_LEGS, &c->params);
}

static int ask_names_and_legs(struct pg *c, const struct store_touch *t, int64_t deadline, PGresult **ret_named, PGresult **ret_legs)
{
	int r = pg_send_begin(c);

	if (r == 0 && t->name_count)
		r = send_names(c, t);
	if (r == 0 && t->leg_count)
		r = send_legs(c, t);
	if (r == 0)
		r = pg_sync(c);
	if (r == 0)
		r = pg_expect_begin(c, deadline);
	if (r == 0 && t->name_count)
		r = pg_expect(c, deadline, ret_named);
	if (r == 0 && t->leg_count)
		r = pg_expect(c, deadline, ret_legs);
	return r < 0 ? r : pg_expect_sync(c, deadline);
}

static bool contains(const struct slice *sorted, size_t n, struct slice s)
{
	size_t low = 0, high = n;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int c = slice_cmp(sorted[middle], s);
		if (c == 0)
			return true;
		if (c < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return false;
}

/* Puts the calls found by name or leg among those that are wanted. */
static int merge_found(const PGresult *res, struct arena *a, struct wanted *w)
{
	if (!res)
		return 0;
	size_t most = w->count + (size_t)PQntuples(res), count = w->count;
	struct slice *sids = ARENA_ARRAY(a, struct slice, most), *names = ARENA_ARRAY(a, struct slice, most);
	int64_t *start_s = ARENA_ARRAY(a, int64_t, most);

	if (!sids || !names || !start_s)
		return OC_NOMEM;
	for (size_t i = 0; i < w->count; i++) {
		sids[i] = w->sids[i];
		names[i] = w->names[i];
		start_s[i] = w->start_s[i];
	}
	for (int row = 0; row < PQntuples(res); row++) {
		struct slice sid;
		if (contains(sids, count, pg_peek(res, row, 0)))
			continue;
		int r = pg_get_text(res, row, 0, a, &sid);
		if (r < 0)
			return r;
		size_t at = count++;
		for (; at > 0 && slice_cmp(sids[at - 1], sid) > 0; at--) {
			sids[at] = sids[at - 1];
			names[at] = names[at - 1];
			start_s[at] = start_s[at - 1];
		}
		sids[at] = sid;
		names[at] = SLICE_NONE;
		start_s[at] = 0;
	}
	*w = (struct wanted){ sids, names, start_s, count };
	return 0;
}

/* ---- the one round trip ---- */

enum { RES_FACTS, RES_HOST, RES_KNOWN, RES_HOST_NAMES, RES_UNBOUND, RES_LEG_WAITS, RES_COUNT };

static void put_wanted(struct pg_params *p, const struct wanted *w)
{
	pg_params_clear(p);
	pg_param_texts(p, w->sids, w->count);
	pg_param_texts(p, w->names, w->count);
	struct buf *b = pg_param_array(p, PG_ELEMENT_INT8, w->count);
	for (size_t i = 0; i < w->count; i++)
		pg_put_int8_or_null(b, seconds_to_ms(w->start_s[i]), 0);
}

static void put_nameless(struct pg_params *p, const struct wanted *w)
{
	size_t count = 0;
	for (size_t i = 0; i < w->count; i++)
		count += slice_is_none(w->names[i]);
	struct buf *b = pg_param_array(p, PG_ELEMENT_TEXT, count);
	for (size_t i = 0; i < w->count; i++)
		if (slice_is_none(w->names[i]))
			pg_put_bytes(b, w->sids[i]);
}

/* FNV-1a, 64 bits, of the SID. */
static int64_t call_key(struct slice sid)
{
	uint64_t h = UINT64_C(14695981039346656037);
	for (size_t i = 0; i < sid.n; i++)
		h = (h ^ (unsigned char)sid.p[i]) * UINT64_C(1099511628211);
	int64_t key;
	memcpy(&key, &h, sizeof key);
	return key;
}

static int by_key(const void *x, const void *y)
{
	int64_t a = *(const int64_t *)x, b = *(const int64_t *)y;
	return (a > b) - (a < b);
}

static int send_lock(struct pg *c, const struct wanted *w, struct arena *a)
{
	struct pg_params *p = &c->params;
	int64_t *keys = ARENA_ARRAY(a, int64_t, w->count);

	if (!keys)
		return OC_NOMEM;
	for (size_t i = 0; i < w->count; i++)
		keys[i] = call_key(w->sids[i]);
	qsort(keys, w->count, sizeof *keys, by_key);
	pg_params_clear(p);
	struct buf *b = pg_param_array(p, PG_ELEMENT_INT8, w->count);
	for (size_t i = 0; i < w->count; i++)
		pg_put_int8(b, keys[i]);
	return pg_send(c, PG_STMT_LOAD_LOCK, p);
}

static int send_calls(struct pg *c, const struct wanted *w, struct arena *a)
{
	struct pg_params *p = &c->params;
	int r = send_lock(c, w, a);

	pg_params_clear(p);
	pg_param_texts(p, w->sids, w->count);
	pg_param_texts(p, w->names, w->count);
	if (r == 0)
		r = pg_send(c, PG_STMT_LOAD_FACTS, p);
	pg_params_clear(p);
	pg_param_texts(p, w->sids, w->count);
	return r < 0 ? r : pg_send(c, PG_STMT_LOAD_HOST, p);
}

static int send_first(struct pg *c, const struct store_touch *t, const struct wanted *w, bool begun, struct arena *a)
{
	struct pg_params *p = &c->params;
	int r = begun ? 0 : pg_send_begin(c);

	if (r == 0 && w->count)
		r = send_calls(c, w, a);
	if (r == 0 && t->event_count) {
		pg_params_clear(p);
		pg_param_texts(p, t->event_ids, t->event_count);
		pg_param_texts(p, w->names, w->count);
		pg_param_texts(p, t->sip_call_ids, t->sip_call_count);
		r = pg_send(c, PG_STMT_LOAD_KNOWN, p);
	}
	return r < 0 ? r : pg_sync(c);
}

static int first_look(struct pg *c, const struct store_touch *t, const struct wanted *w, bool begun, int64_t deadline, struct arena *a,
	PGresult **res)
{
	int r = send_first(c, t, w, begun, a);
	if (r == 0 && !begun)
		r = pg_expect_begin(c, deadline);
	if (r == 0 && w->count)
		r = pg_expect(c, deadline, NULL);
	if (r == 0 && w->count)
		r = pg_expect(c, deadline, &res[RES_FACTS]);
	if (r == 0 && w->count)
		r = pg_expect(c, deadline, &res[RES_HOST]);
	if (r == 0 && t->event_count)
		r = pg_expect(c, deadline, &res[RES_KNOWN]);
	return r < 0 ? r : pg_expect_sync(c, deadline);
}

/* Most often there is nothing by name, and the first look says so. It does not know the names of calls whose events carry none, and a sweep
 * has come for what may be there. */
static bool is_worth_a_second_look(const struct store_touch *t, const struct wanted *w, const PGresult *known)
{
	for (size_t i = 0; i < w->count; i++)
		if (slice_is_none(w->names[i]))
			return true;
	for (int row = 0; known && row < PQntuples(known); row++)
		if (pg_peek(known, row, 0).n == 0)
			return true;
	return t->event_count == 0 && w->count > 0;
}

static int second_look(struct pg *c, const struct store_touch *t, const struct wanted *w, int64_t deadline, PGresult **res)
{
	struct pg_params *p = &c->params;

	put_wanted(p, w);
	pg_param_int8(p, clock_wall_ms());
	put_nameless(p, w);
	int r = pg_send(c, PG_STMT_LOAD_HOST_NAMES, p);
	put_wanted(p, w);
	pg_param_int8(p, STORE_UNBOUND_LIMIT);
	if (r == 0)
		r = pg_send(c, PG_STMT_LOAD_UNBOUND, p);
	if (r == 0 && pg_wants_leg_waits(t)) {
		pg_put_leg_waits(p, t);
		r = pg_send(c, PG_STMT_LOAD_LEG_WAITS, p);
	}
	if (r == 0)
		r = pg_sync(c);
	if (r == 0)
		r = pg_expect(c, deadline, &res[RES_HOST_NAMES]);
	if (r == 0)
		r = pg_expect(c, deadline, &res[RES_UNBOUND]);
	if (r == 0 && pg_wants_leg_waits(t))
		r = pg_expect(c, deadline, &res[RES_LEG_WAITS]);
	return r < 0 ? r : pg_expect_sync(c, deadline);
}

/* ---- taking the answers ---- */

static int take_call(const PGresult *res, int row, struct arena *a, struct call_row *c)
{
	const struct {
		int column;
		struct slice *to;
	} texts[] = {
		{ 0, &c->room_sid }, { 1, &c->room_name }, { 2, &c->facts }, { 4, &c->verdict }, { 5, &c->outcome }, { 7, &c->user_id },
		{ 8, &c->tenant_error }, { 9, &c->call_log_id },
	};

	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
		int r = pg_get_text(res, row, texts[i].column, a, texts[i].to);
		if (r < 0)
			return r;
	}
	c->rules = (unsigned)pg_get_int8(res, row, 3);
	c->revision = pg_get_int8(res, row, 6);
	c->call_log_is_ours = pg_get_int8(res, row, 10) != 0;
	c->started_at_ms = pg_get_int8(res, row, 11);
	c->ended_at_ms = pg_get_int8(res, row, 12);
	c->due_at_ms = pg_get_int8(res, row, 13);
	c->room_started_at_ms = pg_get_int8(res, row, 14);
	c->watch_at_ms = pg_get_int8(res, row, 17);
	c->exists = pg_get_bool(res, row, 15);
	return 0;
}

/* In the order of the SIDs, whatever order the rows come in. */
static int take_calls(PGresult **res, const struct wanted *w, struct arena *a, struct store_loaded *l)
{
	l->call_count = w->count;
	l->calls = ARENA_ARRAY(a, struct call_row, w->count);
	if (!l->calls)
		return OC_NOMEM;
	for (size_t i = 0; i < w->count; i++)
		l->calls[i].room_sid = w->sids[i];
	for (int row = 0; res[RES_FACTS] && row < PQntuples(res[RES_FACTS]); row++) {
		struct call_row *c = call_rows_find(l->calls, l->call_count, pg_peek(res[RES_FACTS], row, 0));
		int r = c ? take_call(res[RES_FACTS], row, a, c) : OC_INVALID;
		if (r < 0)
			return r;
	}
	return 0;
}

enum { COL_SID, COL_ID, COL_USER };

static size_t row_count(const PGresult *res) { return res ? (size_t)PQntuples(res) : 0; }

static struct call_row *call_of(struct store_loaded *l, const PGresult *res, int row)
{
	return call_rows_find(l->calls, l->call_count, pg_peek(res, row, COL_SID));
}

static bool is_host_row(const struct call_row *c) { return !slice_is_none(c->call_log_id) && !c->call_log_is_ours; }

static bool is_taken(const struct store_loaded *l, struct slice id)
{
	for (size_t i = 0; i < l->call_count; i++)
		if (slice_eq(l->calls[i].call_log_id, id))
			return true;
	return false;
}

/* The row that call_facts names: the host's, ours, or gone. */
static int take_own_rows(const PGresult *res, struct arena *a, struct store_loaded *l)
{
	bool *there = ARENA_ARRAY(a, bool, l->call_count);
	if (!there)
		return OC_NOMEM;
	for (int row = 0; row < PQntuples(res); row++) {
		struct call_row *c = call_of(l, res, row);
		if (!c || slice_is_none(c->call_log_id) || !slice_eq(c->call_log_id, pg_peek(res, row, COL_ID)))
			continue;
		there[c - l->calls] = true;
		if (!c->call_log_is_ours && pg_get_text(res, row, COL_USER, a, &c->host_user_id) < 0)
			return OC_NOMEM;
	}
	for (size_t i = 0; i < l->call_count; i++)
		if (!there[i]) {
			l->calls[i].call_log_id = SLICE_NONE;
			l->calls[i].call_log_is_ours = false;
		}
	return 0;
}

static int claim(const PGresult *res, int row, struct arena *a, struct call_row *c)
{
	struct slice id, user;

	if (pg_get_text(res, row, COL_ID, a, &id) < 0 || pg_get_text(res, row, COL_USER, a, &user) < 0)
		return OC_NOMEM;
	if (c->call_log_is_ours)
		c->replaced_call_log_id = c->call_log_id;
	c->call_log_id = id;
	c->call_log_is_ours = false;
	c->host_user_id = user;
	return 0;
}

/* The smallest id where the host has several rows of one SID. A row of our own making is known by its id also when call_facts does not say
 * so. */
static int claim_by_sid(const PGresult *res, struct arena *a, struct store_loaded *l)
{
	char made[37];
	int r = 0;

	for (int row = 0; row < PQntuples(res) && r == 0; row++) {
		struct call_row *c = call_of(l, res, row);
		if (!c || is_host_row(c) || (c->call_log_is_ours && slice_eq(c->call_log_id, pg_peek(res, row, COL_ID))))
			continue;
		r = call_log_id_from_sid(c->room_sid, made);
		if (r < 0)
			break;
		if (slice_is_none(c->call_log_id) && slice_eq_cstr(pg_peek(res, row, COL_ID), made)) {
			r = pg_get_text(res, row, COL_ID, a, &c->call_log_id);
			c->call_log_is_ours = r == 0;
		} else {
			r = claim(res, row, a, c);
		}
	}
	return r;
}

/* Several calls may want one row: the nearest gets it, the others their next one. The rows come nearest first. */
static int claim_by_name(const PGresult *res, struct arena *a, struct store_loaded *l)
{
	int r = 0;

	for (int row = 0; row < (int)row_count(res) && r == 0; row++) {
		struct call_row *c = call_of(l, res, row);
		if (c && !is_host_row(c) && !is_taken(l, pg_peek(res, row, COL_ID)))
			r = claim(res, row, a, c);
	}
	return r;
}

static int take_host_rows(PGresult **res, struct arena *a, struct store_loaded *l)
{
	if (!res[RES_HOST])
		return 0;
	int r = take_own_rows(res[RES_HOST], a, l);
	if (r == 0)
		r = claim_by_sid(res[RES_HOST], a, l);
	return r < 0 ? r : claim_by_name(res[RES_HOST_NAMES], a, l);
}

static int take_unbound(const PGresult *res, struct arena *a, struct store_loaded *l)
{
	size_t rows = row_count(res);
	for (size_t row = 0; row < rows; row++) {
		struct unbound_row *u = &l->unbound[l->unbound_count];
		if (l->unbound_count && slice_eq(pg_peek(res, (int)row, 0), u[-1].event_id))
			continue;
		struct slice *const texts[] = { &u->event_id, &u->room_name, &u->payload, &u->source, &u->key_id };
		for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
			if (pg_get_text(res, (int)row, (int)i, a, texts[i]) < 0)
				return OC_NOMEM;
		u->timestamp_s = pg_get_int8(res, (int)row, 5);
		u->created_at_ms = pg_get_time_ms(res, (int)row, 6);
		l->unbound_count++;
	}
	return 0;
}

/* Which call of that name was open? Of the locked ones, with what the batch itself knows of them. */
static void find_named(const struct store_touch *t, struct store_loaded *l, const struct wanted *w)
{
	for (size_t i = 0; i < t->name_count; i++) {
		int64_t at = seconds_to_ms(t->name_at_s[i]), best = 0;
		l->name_room_sids[i] = SLICE_NONE;
		for (size_t k = 0; k < l->call_count && k < w->count; k++) {
			const struct call_row *c = &l->calls[k];
			int64_t start = c->room_started_at_ms, early = seconds_to_ms(w->start_s[k]);
			struct slice name = slice_is_none(c->room_name) ? w->names[k] : c->room_name;
			if (early && (!start || early < start))
				start = early;
			struct slice user = user_of_name(t, i);
			if (user.n && c->user_id.n && !slice_eq(user, c->user_id))
				continue;
			if (!slice_eq(name, t->names[i]) || start > at + SPAN_SLACK_MS || (c->ended_at_ms && c->ended_at_ms < at - late_of_name_ms(t, i)))
				continue;
			if (slice_is_none(l->name_room_sids[i]) || start > best) {
				best = start;
				l->name_room_sids[i] = c->room_sid;
			}
		}
	}
}

/* Of a call without a row: has the journal events of it that nobody could read? */
static void note_earlier_events(struct pg_store *s, const PGresult *res)
{
	for (int row = 0; res && row < PQntuples(res); row++) {
		struct call_row *c = call_rows_find(s->before, s->before_count, pg_peek(res, row, 0));
		if (c && !c->exists)
			c->exists = pg_get_bool(res, row, 16);
	}
}

static int take_known(const PGresult *res, const struct store_touch *t, struct arena *a, struct store_loaded *l)
{
	for (size_t i = 0; i < t->event_count; i++)
		for (int row = 0; row < (int)row_count(res) && !l->known[i]; row++) {
			l->known[i] = slice_eq(pg_peek(res, row, 0), t->event_ids[i]);
			if (l->known[i] && pg_get_text(res, row, 1, a, &l->known_hashes[i]) < 0)
				return OC_NOMEM;
		}
	return 0;
}

static int take_answers(struct pg_store *s, const struct store_touch *t, const struct wanted *w, PGresult **res, struct arena *a,
	struct store_loaded *l)
{
	int r = take_calls(res, w, a, l);
	if (r < 0)
		return r;
	s->before = ARENA_ARRAY(a, struct call_row, l->call_count);
	if (!s->before)
		return OC_NOMEM;
	if (l->call_count)
		memcpy(s->before, l->calls, l->call_count * sizeof *l->calls);
	s->before_count = l->call_count;
	note_earlier_events(s, res[RES_FACTS]);
	r = take_host_rows(res, a, l);
	l->unbound = ARENA_ARRAY(a, struct unbound_row, row_count(res[RES_UNBOUND]) + row_count(res[RES_LEG_WAITS]));
	l->known = ARENA_ARRAY(a, bool, t->event_count);
	l->known_hashes = ARENA_ARRAY(a, struct slice, t->event_count);
	l->name_room_sids = ARENA_ARRAY(a, struct slice, t->name_count);
	if (r < 0 || !l->unbound || !l->known || !l->known_hashes || !l->name_room_sids)
		return OC_NOMEM;
	r = take_unbound(res[RES_UNBOUND], a, l);
	if (r == 0)
		r = take_unbound(res[RES_LEG_WAITS], a, l);
	if (r == 0)
		r = take_known(res[RES_KNOWN], t, a, l);
	find_named(t, l, w);
	return r;
}

static int load(struct pg_store *s, const struct store_touch *t, struct arena *a, struct store_loaded *ret)
{
	struct pg *c = &s->pg;
	int64_t deadline = pg_deadline(c);
	struct wanted w = { t->room_sids, t->room_names, t->start_s, t->room_count };
	_cleanup_pg_ PGresult *named = NULL, *of_legs = NULL;
	bool begun = t->name_count > 0 || t->leg_count > 0;
	PGresult *res[RES_COUNT] = { NULL };
	struct store_loaded l = { .known = NULL };
	int r = 0;

	if (begun) {
		r = ask_names_and_legs(c, t, deadline, &named, &of_legs);
		if (r == 0)
			r = merge_found(named, a, &w);
		if (r == 0)
			r = merge_found(of_legs, a, &w);
	}
	if (r == 0)
		r = first_look(c, t, &w, begun, deadline, a, res);
	if (r == 0 && is_worth_a_second_look(t, &w, res[RES_KNOWN]))
		r = second_look(c, t, &w, deadline, res);
	if (r == 0)
		r = take_answers(s, t, &w, res, a, &l);
	for (size_t i = 0; i < RES_COUNT; i++)
		PQclear(res[i]);
	if (r == 0)
		*ret = l;
	return r;
}

/* A connection that was cut while nothing was asked shows only now; nothing is lost by asking again on a fresh one. Not after a server
 * that let the time pass. */
static int load_again(struct pg_store *s, const struct store_touch *t, struct arena *a, struct store_loaded *ret)
{
	struct pg *c = &s->pg;
	int64_t deadline = pg_deadline(c);
	bool fresh = !c->conn;
	int r = pg_ready(c);

	if (r == 0)
		r = load(s, t, a, ret);
	if (r != OC_DOWN || c->conn || fresh || pg_now_ms() >= deadline)
		return r;
	c->backoff_ms = 0;
	r = pg_ready(c);
	return r < 0 ? r : load(s, t, a, ret);
}

int pg_batch_load(struct store *store, const struct store_touch *t, struct arena *a, struct store_loaded *ret)
{
	struct pg_store *s = store_of(store);

	if (s->in_batch)
		pg_batch_abort(store);
	s->pg.batch_until_ms = pg_now_ms() + s->pg.timeout_ms;
	int r = load_again(s, t, a, ret);
	if (r < 0) {
		pg_recover(&s->pg);
		s->pg.batch_until_ms = 0;
		return pg_batch_error(s, r);
	}
	s->in_batch = true;
	return 0;
}
