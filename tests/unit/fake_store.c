/* See fake_store.h. */
#include "fake_store.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "store/backend.h"
#include "wire/jwt.h"
#include "wire/mark.h"

struct fake_store fake;
static struct arena *kept;
static struct store door;
static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER; /* of the one transaction; writers side by side take turns */
static _Thread_local bool mine;                          /* this thread has it */

struct slice fake_keep(struct slice s)
{
	struct slice copy = SLICE_NONE;
	bool ok = arena_copy(kept, s, &copy);
	assert(ok);
	return copy;
}

void fake_reset(void)
{
	fake_done();
	memset(&fake, 0, sizeof fake);
	kept = arena_new(65536);
	fake.rows = calloc(FAKE_ROWS, sizeof *fake.rows);
	assert(kept && fake.rows);
}

void fake_done(void)
{
	arena_free(kept);
	free(fake.rows);
	fake.rows = NULL;
	kept = NULL;
}

const struct journal_row *fake_row(const char *event_id)
{
	for (size_t i = 0; i < fake.row_count; i++)
		if (slice_eq_cstr(fake.rows[i].event_id, event_id))
			return &fake.rows[i];
	return NULL;
}

static struct fake_call *find_call(struct slice sid)
{
	for (size_t i = 0; i < fake.call_count; i++)
		if (slice_eq(fake.calls[i].row.room_sid, sid))
			return &fake.calls[i];
	return NULL;
}

struct fake_call *fake_call_of(const char *room_sid) { return find_call(slice_cstr(room_sid)); }

static void fake_close(struct store *s)
{
	(void)s;
	assert(!mine);
	fake.closes++;
}

static const char *last_error(const struct store *s)
{
	(void)s;
	return "the fake store was told to";
}

static void add_call(struct store_loaded *l, struct slice sid, struct slice name)
{
	for (size_t i = 0; i < l->call_count; i++)
		if (slice_eq(l->calls[i].room_sid, sid))
			return;
	struct fake_call *stored = find_call(sid);
	struct call_row *row = &l->calls[l->call_count++];
	*row = stored ? stored->row : (struct call_row){ .room_sid = sid };
	row->exists = stored != NULL;
	row->new_verdict = NULL;
	row->facts_changed = row->verdict_changed = false;
	if (slice_is_none(row->room_name))
		row->room_name = name;
}

static int by_sid(const void *x, const void *y)
{
	return slice_cmp(((const struct call_row *)x)->room_sid, ((const struct call_row *)y)->room_sid);
}

static bool is_bound(struct slice event_id)
{
	for (size_t i = 0; i < fake.bind_count; i++)
		if (slice_eq(fake.binds[i].event_id, event_id))
			return true;
	return false;
}

static bool is_among(const struct slice *ids, size_t count, struct slice id)
{
	for (size_t i = 0; i < count; i++)
		if (slice_eq(ids[i], id))
			return true;
	return false;
}

static void load_unbound(struct store_loaded *l, const struct store_touch *t, struct arena *a)
{
	l->unbound = ARENA_ARRAY(a, struct unbound_row, fake.row_count);
	for (size_t i = 0; i < fake.row_count; i++) {
		const struct journal_row *r = &fake.rows[i];
		if (!slice_is_none(r->room_sid) || r->processed || is_bound(r->event_id))
			continue;
		bool offered = is_among(t->sip_call_ids, t->sip_call_count, r->sip_call_id);
		for (size_t k = 0; k < l->call_count; k++)
			offered |= slice_eq(l->calls[k].room_name, r->room_name) && r->room_name.n;
		if (offered)
			l->unbound[l->unbound_count++] = (struct unbound_row){ r->event_id, r->room_name, r->payload, r->source, r->key_id,
				r->timestamp_s, r->created_at_ms };
	}
}

/* Every call of a name is loaded for it: the writer has to choose. */
static void load_names(struct store_loaded *l, const struct store_touch *t, struct arena *a)
{
	l->name_room_sids = ARENA_ARRAY(a, struct slice, t->name_count);
	for (size_t i = 0; i < t->name_count; i++)
		for (size_t k = 0; k < fake.call_count; k++)
			if (slice_eq(fake.calls[k].row.room_name, t->names[i])) {
				l->name_room_sids[i] = fake.calls[k].row.room_sid;
				add_call(l, fake.calls[k].row.room_sid, SLICE_NONE);
			}
}

static struct slice hex_of(const unsigned char hash[32], struct arena *a)
{
	char *hex = arena_alloc(a, 64);
	assert(hex);
	hex_encode(hash, 32, hex);
	return slice_of(hex, 64);
}

static void load_legs(struct store_loaded *l, const struct store_touch *t)
{
	for (size_t i = 0; i < fake.leg_count; i++)
		if (is_among(t->leg_ids, t->leg_count, fake.legs[i].call_id))
			add_call(l, fake.legs[i].room_sid, SLICE_NONE);
}

static void begin(void)
{
	pthread_mutex_lock(&turn);
	fake.in_batch = true;
	mine = true;
}

static void end(void)
{
	if (!mine)
		return;
	fake.in_batch = false;
	mine = false;
	pthread_mutex_unlock(&turn);
}

static int batch_load(struct store *s, const struct store_touch *t, struct arena *a, struct store_loaded *ret)
{
	(void)s;
	assert(!mine);
	fake.loads++;
	if (fake.load_error)
		return fake.load_error;
	begin();
	struct store_loaded l = { 0 };
	l.known = ARENA_ARRAY(a, bool, t->event_count);
	l.known_hashes = ARENA_ARRAY(a, struct slice, t->event_count);
	for (size_t i = 0; i < t->event_count; i++) {
		for (size_t k = 0; k < i; k++)
			assert(!slice_eq(t->event_ids[i], t->event_ids[k]));
		for (size_t k = 0; k < fake.row_count && !l.known[i]; k++) {
			l.known[i] = slice_eq(fake.rows[k].event_id, t->event_ids[i]);
			if (l.known[i])
				l.known_hashes[i] = hex_of(fake.rows[k].body_hash, a);
		}
	}
	l.calls = ARENA_ARRAY(a, struct call_row, t->room_count + FAKE_CALLS);
	for (size_t i = 0; i < t->room_count; i++)
		add_call(&l, t->room_sids[i], t->room_names[i]);
	load_names(&l, t, a);
	load_legs(&l, t);
	if (l.call_count)
		qsort(l.calls, l.call_count, sizeof *l.calls, by_sid);
	load_unbound(&l, t, a);
	*ret = l;
	return 0;
}

static bool is_refused(const struct store_changes *c)
{
	for (size_t i = 0; i < c->event_count; i++)
		if (fake.poison && slice_eq_cstr(c->events[i].event_id, fake.poison) &&
		    (!fake.poison_payload_only || !slice_is_none(c->events[i].payload)))
			return true;
	for (size_t i = 0; i < c->call_count; i++)
		if (fake.refused_sid.n && slice_eq(c->calls[i].room_sid, fake.refused_sid))
			return true;
	return false;
}

static void keep_row(const struct journal_row *r)
{
	assert(fake.row_count < FAKE_ROWS);
	for (size_t i = 0; i < fake.row_count; i++)
		assert(!slice_eq(fake.rows[i].event_id, r->event_id));
	struct journal_row *k = &fake.rows[fake.row_count++];
	*k = *r;
	struct slice *texts[] = { &k->event_id, &k->event, &k->room_name, &k->room_sid, &k->participant_identity, &k->participant_sid,
		&k->payload, &k->raw_body, &k->error_message, &k->source, &k->key_id, &k->user_id, &k->call_log_id, &k->sip_call_id };
	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
		*texts[i] = fake_keep(*texts[i]);
}

static void keep_legs(const struct call_row *row)
{
	for (size_t i = 0; i < row->new_leg_count; i++) {
		for (size_t k = 0; k < fake.leg_count; k++)
			assert(!slice_eq(fake.legs[k].call_id, row->new_legs[i]) || !slice_eq(fake.legs[k].room_sid, row->room_sid));
		assert(fake.leg_count < FAKE_CALLS);
		fake.legs[fake.leg_count++] = (struct fake_leg){ fake_keep(row->new_legs[i]), fake_keep(row->room_sid) };
	}
}

static void keep_call(const struct call_row *row)
{
	keep_legs(row);
	if (!row->facts_changed && !row->verdict_changed)
		return;
	assert(!row->verdict_changed || row->new_verdict);
	struct fake_call *c = find_call(row->room_sid);
	if (!c) {
		assert(fake.call_count < FAKE_CALLS);
		c = &fake.calls[fake.call_count++];
		c->by = pthread_self();
	}
	c->by_several |= !pthread_equal(c->by, pthread_self());
	c->facts_writes += row->facts_changed;
	c->verdict_writes += row->verdict_changed;
	c->row = *row;
	struct slice *texts[] = { &c->row.room_sid, &c->row.room_name, &c->row.facts, &c->row.verdict, &c->row.outcome, &c->row.user_id,
		&c->row.tenant_error, &c->row.call_log_id, &c->row.replaced_call_log_id, &c->row.host_user_id };
	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
		*texts[i] = fake_keep(*texts[i]);
}

static void keep_all(const struct store_changes *c)
{
	for (size_t i = 0; i < c->event_count; i++)
		keep_row(&c->events[i]);
	for (size_t i = 0; i < c->call_count; i++)
		keep_call(&c->calls[i]);
	for (size_t i = 0; i < c->bind_count; i++) {
		struct bind_row *b = &fake.binds[fake.bind_count++];
		*b = c->binds[i];
		b->event_id = fake_keep(b->event_id);
		b->room_sid = fake_keep(b->room_sid);
		b->error_message = fake_keep(b->error_message);
	}
	if (c->event_count > fake.largest_batch)
		fake.largest_batch = c->event_count;
}

static int batch_commit(struct store *s, const struct store_changes *c, struct arena *a)
{
	(void)s;
	(void)a;
	assert(mine);
	if (fake.gate) {
		pthread_mutex_lock(fake.gate);
		pthread_mutex_unlock(fake.gate);
	}
	nanosleep(&(struct timespec){ .tv_nsec = fake.commit_ms * 1000000 }, NULL);
	int error = fake.commit_error;
	if (!error && fake.commit_errors_left) {
		fake.commit_errors_left--;
		error = fake.commit_error_once;
	}
	if (!error && is_refused(c))
		error = OC_DATA;
	if (error && error != OC_UNSURE)
		return error;
	keep_all(c);
	fake.commits++;
	end();
	return error;
}

static void batch_abort(struct store *s)
{
	(void)s;
	fake.aborts++;
	end();
}

static void until(struct store *s, int64_t mono_ms)
{
	(void)s;
	fake.until_ms = mono_ms;
}

static int due(struct store *s, int64_t now_ms, size_t limit, struct arena *a, struct slice **ret_sids, size_t *ret_count)
{
	(void)s;
	(void)now_ms;
	fake.due_asked++;
	pthread_mutex_lock(&turn);
	*ret_sids = ARENA_ARRAY(a, struct slice, fake.due_count);
	*ret_count = fake.due_count < limit ? fake.due_count : limit;
	for (size_t i = 0; i < *ret_count; i++)
		(*ret_sids)[i] = fake.due[i];
	fake.due_count = 0;
	pthread_mutex_unlock(&turn);
	return 0;
}

static int count(struct store *s, struct store_counts *ret)
{
	(void)s;
	*ret = (struct store_counts){ .wal_bytes = fake.wal_bytes };
	pthread_mutex_lock(&turn);
	for (size_t i = 0; i < fake.call_count; i++)
		ret->open_calls += slice_is_none(fake.calls[i].row.outcome);
	for (size_t i = 0; i < fake.row_count; i++)
		ret->aside += !fake.rows[i].processed;
	pthread_mutex_unlock(&turn);
	return 0;
}

static const struct store_ops ops = {
	.close = fake_close,
	.last_error = last_error,
	.batch_load = batch_load,
	.batch_commit = batch_commit,
	.batch_abort = batch_abort,
	.until = until,
	.due = due,
	.count = count,
};

int fake_open(const struct store_options *o, struct arena *message_arena, struct store **ret, struct slice *ret_message)
{
	(void)o;
	(void)message_arena;
	fake.opens++;
	if (fake.open_error) {
		*ret_message = SLICE("told not to open");
		return fake.open_error;
	}
	door.ops = &ops;
	*ret = &door;
	return 0;
}

/* ---- events ---- */

static void done(struct ingest_item *item)
{
	struct sent *s = item->context;
	assert(!mine);
	char id[EVENT_MAX_ID + 1];
	snprintf(id, sizeof id, "%.*s", SLICE_FMT(item->decoded->event.id));
	pthread_mutex_lock(&turn);
	assert(item->result == INGEST_FAILED || fake_row(id));
	pthread_mutex_unlock(&turn);
	assert((item->result == INGEST_FAILED) == (item->error != 0));
	assert(item->message && *item->message);
	atomic_fetch_add(&s->answers, 1);
}

struct sent *sent_body(const char *body)
{
	struct sent *s = ARENA_NEW(kept, struct sent);
	assert(s);
	s->item.body = fake_keep(slice_cstr(body));
	struct slice keys[] = { SLICE("user_id") };
	struct decode_options o = { .tenant_keys = keys, .tenant_key_count = 1 };
	int r = decode_event(s->item.body, &o, kept, &s->decoded);
	assert(r == 0);
	s->item.decoded = &s->decoded;
	s->item.source = SLICE("livekit");
	s->item.received_ms = clock_wall_ms();
	s->item.done = done;
	s->item.context = s;
	return s;
}

struct sent *sent_mark(const char *body, const char *tenant, const char *key)
{
	struct sent *s = ARENA_NEW(kept, struct sent);
	_cleanup_buf_ struct buf said = BUF_INIT, whole = BUF_INIT;
	struct slice message = SLICE_NONE;
	assert(s);
	s->item.body = fake_keep(slice_cstr(body));
	struct event *e = &s->decoded.event;
	int r = mark_parse(s->item.body, kept, e, &message);
	assert(r == 0);
	mark_encode(e, &said);
	bool hashed = hash_sha256(buf_slice(&said), s->item.body_hash);
	r = mark_id(slice_cstr(tenant), slice_cstr(key), buf_slice(&said), kept, &e->id);
	assert(hashed && r == 0);
	s->item.received_ms = clock_wall_ms();
	e->mark.tenant = tenant ? fake_keep(slice_cstr(tenant)) : SLICE_NONE;
	e->mark.posted_ms = s->item.received_ms;
	e->created_at_s = (e->mark.at_ms ? e->mark.at_ms : e->mark.posted_ms) / 1000;
	mark_encode(e, &whole);
	s->decoded.payload = fake_keep(buf_slice(&whole));
	s->item.decoded = &s->decoded;
	s->item.source = SLICE("mark");
	s->item.done = done;
	s->item.context = s;
	return s;
}

static void put_member(struct buf *b, const char *key, const char *value)
{
	if (value)
		buf_putf(b, "%s\"%s\":\"%s\"", b->p[b->n - 1] == '{' ? "" : ",", key, value);
}

struct sent *sent_event(const char *id, const char *type, const char *sid, const char *name, int64_t at_s, const char *more)
{
	_cleanup_buf_ struct buf b = BUF_INIT;
	buf_putc(&b, '{');
	put_member(&b, "event", type);
	put_member(&b, "id", id);
	buf_putf(&b, ",\"createdAt\":\"%lld\",\"room\":{", (long long)at_s);
	put_member(&b, "sid", sid);
	put_member(&b, "name", name);
	buf_putc(&b, '}');
	if (more)
		buf_putf(&b, ",%s", more);
	buf_putc(&b, '}');
	buf_putc(&b, '\0');
	assert(!buf_failed(&b));
	return sent_body(b.p);
}

/* ---- the writer ---- */

struct writer fake_writer;
struct ingest_options fake_options;
struct metrics *fake_metrics;

int fake_setup(void **state)
{
	static const char *const eight[] = { "a", "b", "c", "d", "e", "f", "g", "h" };
	static const char *const sixteen[] = { "0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15" };
	(void)state;
	fake_reset();
	fake_options = (struct ingest_options){ .sweep_interval_ms = 0 };
	fake_metrics = metrics_new();
	metrics_label_values(fake_metrics, METRIC_EVENTS, sixteen, 16);
	metrics_label_values(fake_metrics, METRIC_STORE_ERRORS, sixteen, 16);
	metrics_label_values(fake_metrics, METRIC_EVENT_RESULTS, eight, 8);
	metrics_label_values(fake_metrics, METRIC_CALLS, eight, 8);
	metrics_label_values(fake_metrics, METRIC_LOSSES, sixteen, 16);
	metrics_label_values(fake_metrics, METRIC_MARKS, eight, 8);
	metrics_label_values(fake_metrics, METRIC_MARK_SOURCES, eight, 8);
	memset(&fake_writer, 0, sizeof fake_writer);
	fake_writer.options = &fake_options;
	fake_writer.metrics = fake_metrics;
	fake_writer.open = fake_open;
	fake_writer.sweeps = true;
	log_set_level(LOG_LEVEL_ERROR + 1);
	return writer_open(&fake_writer);
}

int fake_teardown(void **state)
{
	(void)state;
	writer_close(&fake_writer);
	metrics_free(fake_metrics);
	fake_done();
	log_set_level(LOG_LEVEL_INFO);
	return 0;
}

void process(struct sent *const *sent, size_t n)
{
	struct ingest_item **items = calloc(n, sizeof *items);
	assert(items);
	for (size_t i = 0; i < n; i++)
		items[i] = &sent[i]->item;
	writer_process(&fake_writer, items, n);
	for (size_t i = 0; i < n; i++)
		assert(sent[i]->answers == 1);
	free(items);
}

int64_t counted(enum metric which, size_t label_index) { return metric_get(fake_metrics, which, label_index); }
