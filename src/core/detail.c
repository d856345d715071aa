/* The parts of a call out of its facts, and as JSON. See detail.h.
 *
 * Invariant: the order of legs and witnesses comes from their own times and ids, never from the order of arrival, so the same facts give the same
 * bytes. */
#include "core/detail.h"

#include <stdlib.h>

#include "core/case.h"

/* ---- legs ---- */

static void set_end(struct detail_leg *d, const struct seat *last, int64_t to_lo, int64_t to_hi)
{
	bool known = last->left || to_hi != INT64_MAX;
	d->left = last->left ? last->session : NULL;
	d->left_earliest_ms = known ? to_lo : 0;
	d->left_latest_ms = known ? to_hi : 0;
}

static int set_sids(struct detail_leg *d, const struct seat *const *seats, size_t n, struct arena *a)
{
	d->sids = ARENA_ARRAY(a, struct slice, n);
	if (!d->sids)
		return OC_NOMEM;
	for (size_t i = 0; i < n; i++)
		d->sids[i] = seats[i]->session->sid;
	d->sid_count = n;
	return 0;
}

static enum sip_status furthest(uint32_t statuses)
{
	for (unsigned s = STATUS_HANGUP; s > STATUS_NONE; s--)
		if (statuses & 1u << s)
			return (enum sip_status)s;
	return STATUS_NONE;
}

static int add_phone_leg(const struct call_case *c, size_t index, bool ended, struct arena *a, struct detail_leg *d)
{
	const struct leg *leg = &c->view.legs[index];
	const struct seat *last = leg->seats[leg->seat_count - 1];
	*d = (struct detail_leg){ .kind = KIND_SIP, .phone = leg, .primary = c->leg == leg, .identity = last->session->identity,
		.status = furthest(leg->statuses), .joined_at_ms = leg->joined_at_ms };
	set_end(d, last, leg->to_lo, leg->to_hi);
	d->judged = ended || leg->gone_s != 0;
	int r = set_sids(d, leg->seats, leg->seat_count, a);
	return r < 0 || !d->judged ? r : verdict_of_leg(c->view.facts, index, a, &d->verdict);
}

static int add_seat(const struct seat *s, struct arena *a, struct detail_leg *d)
{
	*d = (struct detail_leg){ .kind = s->session->kind, .identity = s->session->identity, .joined_at_ms = s->from_lo };
	set_end(d, s, s->to_lo, s->to_hi);
	return set_sids(d, &s, 1, a);
}

static int by_joining(const void *x, const void *y)
{
	const struct detail_leg *a = x, *b = y;
	int c = (a->joined_at_ms > b->joined_at_ms) - (a->joined_at_ms < b->joined_at_ms);
	return c ? c : slice_cmp(a->sids[0], b->sids[0]);
}

static int make_legs(const struct call_case *c, bool ended, struct arena *a, struct detail *d)
{
	const struct room_view *v = &c->view;
	int r = 0;
	d->legs = ARENA_ARRAY(a, struct detail_leg, v->leg_count + v->seat_count);
	if (!d->legs)
		return OC_NOMEM;
	for (size_t i = 0; i < v->leg_count && r == 0; i++)
		r = add_phone_leg(c, i, ended, a, &d->legs[d->leg_count++]);
	for (size_t i = 0; i < v->seat_count && r == 0; i++)
		if (v->seats[i].role != ROLE_SIP && v->seats[i].role != ROLE_NONE)
			r = add_seat(&v->seats[i], a, &d->legs[d->leg_count++]);
	if (r == 0 && d->leg_count > 1)
		qsort(d->legs, d->leg_count, sizeof *d->legs, by_joining);
	return r;
}

/* ---- witnesses ---- */

static bool is_against(const struct testimony *t, const struct fact_mark *m)
{
	for (size_t i = 0; i < t->against_count; i++)
		if (t->against[i] == m)
			return true;
	return false;
}

static bool is_contradicted(const struct room_view *v, const struct fact_mark *m)
{
	bool against = is_against(&v->marks, m);
	for (size_t i = 0; i < v->leg_count; i++)
		against |= is_against(&v->legs[i].marks, m);
	return against;
}

static const struct detail_leg *find_leg(const struct detail *d, const struct leg *leg)
{
	for (size_t i = 0; leg && i < d->leg_count; i++)
		if (d->legs[i].phone == leg)
			return &d->legs[i];
	return NULL;
}

static int64_t moment_of(const struct fact_mark *m) { return m->mark.at_ms ? m->mark.at_ms : m->at_s * 1000; }

static int by_moment(const void *x, const void *y)
{
	const struct fact_mark *a = ((const struct detail_witness *)x)->mark, *b = ((const struct detail_witness *)y)->mark;
	int c = (moment_of(a) > moment_of(b)) - (moment_of(a) < moment_of(b));
	return c ? c : slice_cmp(a->event_id, b->event_id);
}

static int make_witnesses(const struct room_view *v, struct arena *a, struct detail *d)
{
	size_t n = v->facts->mark_count;
	struct mark_heard *heard = ARENA_ARRAY(a, struct mark_heard, n);
	d->witnesses = ARENA_ARRAY(a, struct detail_witness, n);
	if (!heard || !d->witnesses)
		return OC_NOMEM;
	legs_marks_heard(v, heard);
	for (size_t i = 0; i < n; i++)
		d->witnesses[i] = (struct detail_witness){ .mark = &v->facts->marks[i], .leg = find_leg(d, heard[i].leg),
			.superseded = heard[i].superseded, .contradicted = is_contradicted(v, &v->facts->marks[i]) };
	d->witness_count = n;
	if (n > 1)
		qsort(d->witnesses, n, sizeof *d->witnesses, by_moment);
	return 0;
}

int detail_make(const struct facts *f, bool ended, struct arena *a, struct detail *ret)
{
	struct call_case *c = ARENA_NEW(a, struct call_case); /* the legs point into its view */
	struct detail d = { .leg_count = 0 };
	int r = c ? case_make(f, a, c) : OC_NOMEM;
	if (r == 0)
		r = make_legs(c, ended, a, &d);
	if (r == 0)
		r = make_witnesses(&c->view, a, &d);
	if (r == 0)
		r = losses_find(f, ended, a, &d.losses);
	if (r == 0)
		*ret = d;
	return r;
}

/* ---- JSON ---- */

static void text(struct jsonw *w, const char *key, struct slice value)
{
	jw_key(w, key);
	jw_str(w, slice_is_empty(value) ? SLICE_NONE : value);
}

static void name(struct jsonw *w, const char *key, const char *value)
{
	jw_key(w, key);
	jw_cstr(w, value);
}

static void moment(struct jsonw *w, const char *key, int64_t ms)
{
	jw_key(w, key);
	jw_time_ms(w, ms);
}

static const char *answer_name(enum answer a)
{
	switch (a) {
	case ANSWER_NO:
		return "no";
	case ANSWER_MAYBE:
		return "unclear";
	case ANSWER_YES:
		return "yes";
	}
	return NULL;
}

static void write_phone(const struct detail_leg *d, struct jsonw *w)
{
	const struct fact_session *s = d->phone ? d->phone->seats[0]->session : NULL;
	text(w, "sipCallId", d->phone ? d->phone->call_id : SLICE_NONE);
	name(w, "direction", d->phone ? direction_name(d->phone->direction) : NULL);
	text(w, "phoneNumber", d->phone ? d->phone->phone_number : SLICE_NONE);
	text(w, "trunkPhoneNumber", s ? s->trunk_phone_number : SLICE_NONE);
	text(w, "trunkId", s ? s->trunk_id : SLICE_NONE);
	name(w, "callStatus", sip_status_name(d->status));
	name(w, "answered", d->phone ? answer_name(d->phone->answer) : NULL);
}

static void write_leg(const struct detail_leg *d, struct jsonw *w)
{
	jw_obj(w);
	name(w, "kind", d->kind == KIND_OTHER ? "OTHER" : participant_kind_name(d->kind));
	jw_key(w, "primary");
	jw_bool(w, d->primary);
	text(w, "identity", d->identity);
	jw_key(w, "participantSids");
	jw_arr(w);
	for (size_t i = 0; i < d->sid_count; i++)
		jw_str(w, d->sids[i]);
	jw_arr_end(w);
	write_phone(d, w);
	moment(w, "joinedAt", d->joined_at_ms);
	moment(w, "leftAtEarliest", d->left_earliest_ms);
	moment(w, "leftAtLatest", d->left_latest_ms);
	name(w, "leftReason", d->left ? disconnect_reason_name(d->left->left_reason) : NULL);
	text(w, "leftEventId", d->left ? d->left->ended.event_id : SLICE_NONE);
	jw_key(w, "verdict");
	if (d->judged) {
		jw_obj(w);
		verdict_write_members(&d->verdict, w);
		jw_obj_end(w);
	} else {
		jw_null(w);
	}
	jw_obj_end(w);
}

static void write_witness(const struct detail_witness *d, struct jsonw *w)
{
	const struct event_mark *m = &d->mark->mark;
	jw_obj(w);
	text(w, "eventId", d->mark->event_id);
	name(w, "source", mark_source_name(m->source));
	name(w, "kind", mark_kind_name(m->kind));
	moment(w, "at", m->at_ms);
	moment(w, "atEarliest", m->at_ms ? m->at_ms - m->within_ms : 0);
	moment(w, "postedAt", m->posted_ms);
	jw_key(w, "sipCode");
	if (m->sip_code)
		jw_int(w, m->sip_code);
	else
		jw_null(w);
	text(w, "sipText", m->sip_text);
	text(w, "value", m->value);
	text(w, "sipCallId", d->leg ? d->leg->phone->call_id : m->sip_call_id);
	jw_key(w, "superseded");
	jw_bool(w, d->superseded);
	jw_key(w, "contradicted");
	jw_bool(w, d->contradicted);
	jw_obj_end(w);
}

void detail_write_members(const struct detail *d, struct jsonw *w)
{
	if (!d) {
		jw_members(w, SLICE("{\"legs\":null,\"witnesses\":null,\"losses\":null}"));
		return;
	}
	jw_key(w, "legs");
	jw_arr(w);
	for (size_t i = 0; i < d->leg_count; i++)
		write_leg(&d->legs[i], w);
	jw_arr_end(w);
	jw_key(w, "witnesses");
	jw_arr(w);
	for (size_t i = 0; i < d->witness_count; i++)
		write_witness(&d->witnesses[i], w);
	jw_arr_end(w);
	jw_key(w, "losses");
	losses_write(&d->losses, w);
}
