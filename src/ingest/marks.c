/* Which call is a mark about, and may whoever posted it speak about it?
 *
 * By room SID it is that room. By room name, and by a leg's sip.callID where several calls have that leg, it is the one that was open at the
 * mark's moment; a dialer that tries again in a room of the same name has two calls within a second, so the moment is taken to the
 * millisecond, and a leeway, longer after the end than before the beginning, only counts where no call was open exactly then. Calls that are known to be another tenant's are no answer to a
 * name, and a mark that names one of them is kept aside: in no facts, shown to nobody.
 *
 * Invariant: this is asked after the batch's events are folded, so that a call and its tenant are known to marks that came with them.
 * Runs on the writer's thread. */
#include "ingest/internal.h"

#define EARLY_MS 2000 /* clocks differ a little */
#define LATE_MS (STORE_MARK_LATE_S * 1000)

static const struct slice other_tenant = { STORE_OTHER_TENANT, sizeof STORE_OTHER_TENANT - 1 };

int64_t mark_moment_ms(const struct event *ev) { return ev->mark.at_ms ? ev->mark.at_ms : ev->created_at_s * 1000; }

/* As far as it is known before the call is judged; none while it is not, or disputed. */
static int tenant_so_far(struct batch *b, struct call_row *row, struct slice *ret)
{
	struct call_state *st;
	int r = judge_look(b, row, &st);
	if (r < 0)
		return r;
	*ret = row->user_id;
	if (st->unreadable)
		return 0;
	r = tenant_apply_routes(st->facts, b->w->options->routes);
	if (r < 0)
		return r;
	struct tenant t = tenant_resolve(st->facts, row->host_user_id, SLICE_NONE, false);
	switch (t.state) {
	case TENANT_UNKNOWN:
		break;
	case TENANT_KNOWN:
		*ret = t.id;
		break;
	case TENANT_DISPUTED:
		*ret = SLICE_NONE;
		break;
	}
	return 0;
}

static bool may_speak(const struct event *ev, struct slice tenant)
{
	return slice_is_empty(ev->mark.tenant) || slice_is_empty(tenant) || slice_eq(ev->mark.tenant, tenant);
}

/* ---- the one that was open then ---- */

struct choice {
	struct call_row *row;
	int64_t far_ms, start_ms;
};

/* How far from the call's span the moment is; 0 within it, negative before it. False where the call's beginning is not known. */
static bool distance_ms(const struct facts *f, const struct call_row *row, int64_t at_ms, int64_t *ret_ms, int64_t *ret_start_ms)
{
	int64_t start = judge_room_start_ms(f), end_s = judge_end_s(f, row);
	if (!start)
		start = row->room_started_at_ms;
	int64_t end = end_s ? end_s * 1000 + 999 : INT64_MAX; /* known to the second */
	*ret_start_ms = start;
	*ret_ms = at_ms < start ? at_ms - start : at_ms > end ? at_ms - end : 0;
	return start != 0;
}

static void choose(struct choice *best, struct call_row *row, int64_t far_ms, int64_t start_ms)
{
	if (!best->row || far_ms < best->far_ms || (far_ms == best->far_ms && start_ms > best->start_ms))
		*best = (struct choice){ row, far_ms, start_ms };
}

static bool has_leg(const struct facts *f, struct slice call_id)
{
	for (size_t i = 0; i < f->session_count; i++)
		if (f->sessions[i].kind == KIND_SIP && slice_eq(f->sessions[i].call_id, call_id))
			return true;
	return false;
}

static bool has_name(const struct facts *f, const struct call_row *row, struct slice name)
{
	return slice_eq(f->room_name.n ? f->room_name : row->room_name, name);
}

/* `hint`: the call that the store would take for the name; it decides where a call's beginning is unknown. */
static int find_by_name(struct batch *b, const struct event *ev, struct slice hint, struct call_row **ret)
{
	struct choice best = { .row = NULL };
	for (size_t i = 0; i < b->loaded.call_count; i++) {
		struct call_row *row = &b->loaded.calls[i];
		struct call_state *st = &b->states[i];
		struct slice tenant;
		int64_t start_ms;
		if (!st->looked && !slice_eq(row->room_name, ev->room.name))
			continue;
		int r = tenant_so_far(b, row, &tenant);
		if (r < 0)
			return r;
		if (st->unreadable || !has_name(st->facts, row, ev->room.name) || !may_speak(ev, tenant))
			continue;
		int64_t far_ms;
		if (!distance_ms(st->facts, row, mark_moment_ms(ev), &far_ms, &start_ms))
			far_ms = slice_eq(row->room_sid, hint) ? LATE_MS : INT64_MAX;
		if (far_ms >= -EARLY_MS && far_ms <= LATE_MS)
			choose(&best, row, far_ms < 0 ? -far_ms : far_ms, start_ms);
	}
	*ret = best.row;
	return 0;
}

/* A leg is mostly in one call; of several the one that was open then, else the latest. */
static int find_by_leg(struct batch *b, const struct event *ev, struct call_row **ret)
{
	struct choice best = { .row = NULL };
	for (size_t i = 0; i < b->loaded.call_count; i++) {
		struct call_row *row = &b->loaded.calls[i];
		struct call_state *st;
		int64_t start_ms, far_ms;
		int r = judge_look(b, row, &st);
		if (r < 0)
			return r;
		if (st->unreadable || !has_leg(st->facts, ev->mark.sip_call_id))
			continue;
		bool open = distance_ms(st->facts, row, mark_moment_ms(ev), &far_ms, &start_ms) && far_ms == 0;
		choose(&best, row, open ? 0 : 1, start_ms);
	}
	*ret = best.row;
	return 0;
}

int mark_find_call(struct batch *b, const struct event *ev, struct slice hint, struct call_row **ret, struct slice *ret_error)
{
	struct call_row *row = NULL;
	struct slice tenant = SLICE_NONE;
	int r = 0;
	if (ev->room.sid.n)
		row = store_loaded_find(&b->loaded, ev->room.sid);
	else if (ev->room.name.n)
		r = find_by_name(b, ev, hint, &row);
	else if (ev->mark.sip_call_id.n)
		r = find_by_leg(b, ev, &row);
	if (r == 0 && row)
		r = tenant_so_far(b, row, &tenant);
	if (r < 0)
		return r;
	if (!may_speak(ev, tenant)) {
		*ret_error = other_tenant;
		row = NULL;
	}
	*ret = row;
	return 0;
}

/* ---- the legs that a batch brings ---- */

static bool is_among(const struct slice *ids, size_t count, struct slice id)
{
	for (size_t i = 0; i < count; i++)
		if (slice_eq(ids[i], id))
			return true;
	return false;
}

int legs_of(const struct facts *f, const struct slice *known, size_t known_count, struct arena *a, const struct slice **ret, size_t *ret_count)
{
	struct slice *ids = ARENA_ARRAY(a, struct slice, f->session_count);
	size_t count = 0;
	if (!ids)
		return OC_NOMEM;
	for (size_t i = 0; i < f->session_count; i++) {
		const struct fact_session *s = &f->sessions[i];
		if (s->kind == KIND_SIP && s->call_id.n && !is_among(known, known_count, s->call_id) && !is_among(ids, count, s->call_id))
			ids[count++] = s->call_id;
	}
	*ret = ids;
	*ret_count = count;
	return 0;
}
