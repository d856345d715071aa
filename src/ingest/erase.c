/* The walk of an erasure: pages of calls, what they have of the person, what goes; then what belongs to no call; then the look that proves it. What
 * came in meanwhile is found by the next round. One thread. */
#include "ingest/erase.h"

#include "base/clock.h"
#include "core/facts.h"
#include "ingest/forgetting.h"
#include "store/spool.h"

#define PAGE_CALLS 64
#define ROUNDS 3

struct walk {
	struct forgetting f;
	const struct erase_options *o;
	struct erase_totals t;
};

static bool go_on(void *context)
{
	const struct walk *k = context;
	return !k->o->go_on || k->o->go_on(k->o->context);
}

static void refused(void *context, struct slice sid, struct slice why)
{
	const struct walk *k = context;
	if (k->o->refused)
		k->o->refused(k->o->context, sid, why);
}

/* ---- one page ---- */

struct page {
	struct slice after, last, *sids;
	struct kept_call *calls;
	enum person_trace *traces;
	size_t count;
};

static int ask_page(struct forgetting *f, void *argument)
{
	struct page *p = argument;
	const struct walk *k = f->context;
	int r = store_kept_calls(f->store, p->after, PAGE_CALLS, false, f->page, &p->calls, &p->count, &p->last);
	if (r < 0)
		return r;
	p->sids = ARENA_ARRAY(f->page, struct slice, p->count);
	p->traces = ARENA_ARRAY(f->page, enum person_trace, p->count);
	if (!p->sids || !p->traces)
		return OC_NOMEM;
	for (size_t i = 0; i < p->count; i++)
		p->sids[i] = p->calls[i].room_sid;
	return store_person_find(f->store, &k->o->person, p->sids, p->count, p->traces);
}

/* The tenant's marks out of the facts of another's call; they never counted there. */
static int tidy_facts(struct forgetting *f, struct call_row *row, const struct person *p)
{
	struct facts *facts;
	_cleanup_buf_ struct buf b = BUF_INIT;
	if (slice_is_empty(row->facts) || facts_decode(f->work, row->facts, &facts) != 0 || !facts_drop_marks_of(facts, p->user))
		return 0;
	facts_encode(facts, &b);
	if (buf_failed(&b) || !arena_copy(f->work, buf_slice(&b), &row->facts))
		return OC_NOMEM;
	row->facts_changed = true;
	return 0;
}

static int tidy(void *context, struct call_row *row)
{
	struct walk *k = context;
	return tidy_facts(&k->f, row, &k->o->person);
}

static int do_page(struct walk *k, const struct page *p)
{
	struct slice *whole = ARENA_ARRAY(k->f.page, struct slice, p->count), *named = ARENA_ARRAY(k->f.page, struct slice, p->count);
	size_t whole_count = 0, named_count = 0;
	if (!whole || !named)
		return OC_NOMEM;
	for (size_t i = 0; i < p->count; i++) {
		k->t.looked_at++;
		if (p->traces[i] == PERSON_WHOLE) {
			whole[whole_count++] = p->sids[i];
			k->t.open_calls += !p->calls[i].ended;
		} else if (p->traces[i] == PERSON_MENTIONED) {
			named[named_count++] = p->sids[i];
		}
	}
	if (k->o->dry_run) {
		k->t.calls += (int64_t)whole_count;
		return 0;
	}
	int r = forgetting_calls(&k->f, whole, whole_count, false);
	k->t.calls = k->f.calls;
	return r < 0 ? r : forgetting_tidy(&k->f, named, named_count, tidy);
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

/* ---- what belongs to no call, and the proof ---- */

static int forget_rest(struct forgetting *f, void *argument)
{
	const struct walk *k = argument;
	return store_person_forget(f->store, &k->o->person, FORGET_EVENTS, &f->gone);
}

static int ask_places(struct forgetting *f, void *argument)
{
	struct walk *k = f->context;
	return store_person_places(f->store, &k->o->person, argument, &k->t.places, &k->t.place_count);
}

static int look(struct walk *k, struct arena *a)
{
	int r = forgetting_ask(&k->f, ask_places, a);
	k->t.ours_left = k->t.host_left = 0;
	for (size_t i = 0; r == 0 && i < k->t.place_count; i++)
		*(k->t.places[i].host ? &k->t.host_left : &k->t.ours_left) += k->t.places[i].rows;
	return r;
}

static int rounds(struct walk *k, struct arena *a)
{
	int r = 0;
	for (int i = 0; i < ROUNDS && r == 0 && forgetting_goes_on(&k->f); i++) {
		r = walk_rooms(k);
		if (r == 0 && forgetting_goes_on(&k->f))
			r = look(k, a);
		bool rest = !k->o->dry_run && (k->t.ours_left || k->t.host_left); /* only then anything is scanned with a lock held */
		if (r == 0 && rest && forgetting_goes_on(&k->f))
			r = forgetting_change(&k->f, forget_rest, k);
		if (r == 0 && rest && forgetting_goes_on(&k->f))
			r = look(k, a);
		if (r < 0 || k->o->dry_run || k->t.ours_left == 0)
			break;
	}
	return r;
}

static int scrub(struct forgetting *f, void *argument)
{
	struct walk *k = argument;
	return store_person_scrub(f->store, &k->o->person, &k->t.rewritten, &k->t.bytes_left);
}

/* ---- the spool, before the database: what waits there comes later ---- */

static bool keep_event(void *context, const struct spool_event *e)
{
	const struct person *p = context;
	return !person_is_mentioned(p, e->payload) && !person_in_bytes(p, e->raw ? e->payload : SLICE_NONE);
}

static int filter_spool(struct walk *k, struct arena *a, struct slice *ret_message)
{
	const struct spool_options o = { .directory = k->o->spool };
	struct spool *spool;
	int r = spool_open(&o, a, &spool, ret_message);
	if (r < 0)
		return r;
	r = spool_take_stock(spool, NULL, NULL);
	if (r == 0)
		r = spool_filter(spool, keep_event, (void *)(uintptr_t)&k->o->person, &k->t.spool_removed);
	spool_close(spool);
	if (r < 0)
		*ret_message = SLICE("the spool could not be written anew; nothing of it was removed that was not");
	return r;
}

static int erase_spool(struct walk *k, struct arena *a, struct slice *ret_message)
{
	struct spool_inspection found;
	int r = k->o->spool ? spool_inspect(k->o->spool, a, &found, ret_message) : OC_NOT_FOUND;
	int64_t events = 0;
	if (r == OC_NOT_FOUND)
		*ret_message = SLICE_NONE;
	for (size_t i = 0; r == 0 && i < found.count; i++)
		events += found.files[i].events;
	if (r < 0 || found.count == 0 || k->o->dry_run)
		return r == OC_NOT_FOUND ? 0 : r;
	if (found.process)
		k->t.spool_waiting = events;
	return found.process ? 0 : filter_spool(k, a, ret_message);
}

int erase_run(const struct erase_options *o, struct arena *a, struct erase_totals *ret, struct slice *ret_message)
{
	struct walk k = { .o = o };
	k.f = (struct forgetting){ .go_on = go_on, .refused = refused, .context = &k };
	*ret_message = SLICE_NONE;
	int r = forgetting_open(&k.f, &o->store, a, ret_message);
	if (r == 0)
		r = erase_spool(&k, a, ret_message);
	if (r == 0)
		r = rounds(&k, a);
	if (r == 0 && !o->dry_run && forgetting_goes_on(&k.f))
		r = forgetting_patiently(&k.f, scrub, &k);
	k.t.gone = k.f.gone;
	k.t.left = k.f.left;
	k.t.interrupted = k.f.interrupted;
	if (r < 0 && k.f.store && slice_is_none(*ret_message) && !arena_copy(a, slice_cstr(store_last_error(k.f.store)), ret_message))
		*ret_message = SLICE_NONE;
	forgetting_close(&k.f);
	*ret = k.t;
	return k.t.interrupted ? 0 : r;
}
