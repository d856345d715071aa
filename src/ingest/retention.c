/* The walk of retention: pages of room SIDs in a snapshot, then those whose time is over, then what belongs to no room. One thread. */
#include "ingest/retention.h"

#include "base/clock.h"
#include "ingest/forgetting.h"

#define PAGE_CALLS 256

struct walk {
	struct forgetting f;
	const struct retention_options *o;
	struct retention_totals t;
	int64_t calls_before_ms, payloads_before_ms; /* 0: nothing */
};

static void take_totals(struct walk *k)
{
	k->t.gone = k->f.gone;
	k->t.left = k->f.left;
}

static bool go_on(void *context)
{
	struct walk *k = context;
	take_totals(k);
	return !k->o->go_on || k->o->go_on(k->o->context, &k->t);
}

static void refused(void *context, struct slice sid, struct slice why)
{
	const struct walk *k = context;
	if (k->o->refused)
		k->o->refused(k->o->context, sid, why);
}

static bool is_ours(const struct walk *k, struct slice user) { return !k->o->user.n || slice_eq(user, k->o->user); }

static bool is_over(int64_t at_ms, int64_t before_ms) { return before_ms && at_ms && at_ms < before_ms; }

/* Between the look and the lock it may have begun again, or moved to another tenant. */
static bool may_go(void *context, const struct call_row *row)
{
	const struct walk *k = context;
	if (!row->exists)
		return true;
	int64_t before = k->payloads_before_ms > k->calls_before_ms ? k->payloads_before_ms : k->calls_before_ms;
	return row->outcome.n && is_ours(k, row->user_id) && (!row->ended_at_ms || row->ended_at_ms < before);
}

struct page {
	struct slice after, last;
	struct kept_call *calls;
	size_t count;
};

static int ask_page(struct forgetting *f, void *argument)
{
	struct page *p = argument;
	const struct walk *k = f->context;
	return store_kept_calls(f->store, p->after, PAGE_CALLS, k->payloads_before_ms != 0, f->page, &p->calls, &p->count, &p->last);
}

static int do_page(struct walk *k, const struct page *p)
{
	struct slice *going = ARENA_ARRAY(k->f.page, struct slice, p->count), *bare = ARENA_ARRAY(k->f.page, struct slice, p->count);
	size_t going_count = 0, bare_count = 0;
	if (!going || !bare)
		return OC_NOMEM;
	for (size_t i = 0; i < p->count; i++) {
		const struct kept_call *c = &p->calls[i];
		k->t.looked_at++;
		if (!c->ended || !is_ours(k, c->user_id))
			continue;
		if (is_over(c->at_ms, k->calls_before_ms))
			going[going_count++] = c->room_sid;
		else if (c->has_payloads && is_over(c->at_ms, k->payloads_before_ms))
			bare[bare_count++] = c->room_sid;
	}
	if (k->o->dry_run) {
		k->t.calls += (int64_t)going_count;
		k->t.stripped += (int64_t)bare_count;
		return 0;
	}
	int64_t before = k->f.calls;
	int r = forgetting_calls(&k->f, going, going_count, false);
	k->t.calls += k->f.calls - before;
	before = k->f.calls;
	if (r == 0)
		r = forgetting_calls(&k->f, bare, bare_count, true);
	k->t.stripped += k->f.calls - before;
	return r;
}

static int walk_rooms(struct walk *k)
{
	_cleanup_buf_ struct buf after = BUF_INIT;
	int r = 0;
	for (bool more = true; r == 0 && more && forgetting_goes_on(&k->f);) {
		arena_reset(k->f.page);
		struct page p = { .after = buf_slice(&after) };
		r = forgetting_ask(&k->f, ask_page, &p);
		if (r == 0)
			r = do_page(k, &p);
		more = r == 0 && !slice_is_none(p.last);
		buf_clear(&after);
		if (more)
			buf_put(&after, p.last);
		if (r == 0 && buf_failed(&after))
			r = OC_NOMEM;
	}
	return r;
}

static int strays(struct forgetting *f, void *argument)
{
	const struct walk *k = f->context;
	bool payloads_only = argument != NULL;
	return store_forget_strays(f->store, payloads_only ? k->payloads_before_ms : k->calls_before_ms, k->o->user, payloads_only, FORGET_EVENTS, &f->gone);
}

static int note(struct forgetting *f, void *argument)
{
	(void)argument;
	return store_move_pruned(f->store, ((const struct walk *)f->context)->calls_before_ms);
}

/* Before anything goes. */
static int note_pruned(struct walk *k)
{
	const struct journal_row row = {
		.event_id = SLICE(STORE_PRUNED_ID), .event = SLICE("pruned"), .timestamp_s = k->calls_before_ms / 1000, .processed = true,
		.created_at_ms = clock_wall_ms(), .processed_at_ms = clock_wall_ms(), .source = SLICE("retention"),
	};
	k->f.note = &row;
	int r = forgetting_change(&k->f, note, NULL);
	k->f.note = NULL;
	return r;
}

static int walk_strays(struct walk *k)
{
	int r = 0;
	if (k->calls_before_ms && forgetting_goes_on(&k->f))
		r = forgetting_change(&k->f, strays, NULL);
	if (r == 0 && k->payloads_before_ms && forgetting_goes_on(&k->f))
		r = forgetting_change(&k->f, strays, k);
	return r;
}

int retention_run(const struct retention_options *o, struct arena *a, struct retention_totals *ret, struct slice *ret_message)
{
	int64_t now = clock_wall_ms();
	struct walk k = { .o = o, .calls_before_ms = o->calls_ms ? now - o->calls_ms : 0, .payloads_before_ms = o->payloads_ms ? now - o->payloads_ms : 0 };
	k.f = (struct forgetting){ .go_on = go_on, .refused = refused, .may_go = may_go, .context = &k };
	*ret_message = SLICE_NONE;
	int r = forgetting_open(&k.f, &o->store, a, ret_message);
	if (r == 0 && k.calls_before_ms && !o->user.n && !o->dry_run)
		r = note_pruned(&k);
	if (r == 0)
		r = walk_rooms(&k);
	if (r == 0 && !o->dry_run)
		r = walk_strays(&k);
	take_totals(&k);
	k.t.interrupted = k.f.interrupted;
	if (r < 0 && k.f.store && slice_is_none(*ret_message) && !arena_copy(a, slice_cstr(store_last_error(k.f.store)), ret_message))
		*ret_message = SLICE_NONE;
	forgetting_close(&k.f);
	*ret = k.t;
	return k.t.interrupted ? 0 : r;
}
