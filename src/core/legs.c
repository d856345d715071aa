/* Seats and legs out of facts. See legs.h.
 *
 * Invariant: everything is decided by sorted keys and minima, never by the order in which events came. */
#include "core/legs.h"

#include <stdlib.h>

#define LOST_UNNOTICED_MS 22000 /* LiveKit reports a dead connection some 21 s after its death */
#define UNSEEN_JOIN_MS 15000 /* with participant_joined lost: ACTIVE at most this long after the session's creation, as good as always */

/* ---- seats ---- */

static enum seat_role role_of(enum participant_kind kind)
{
	switch (kind) {
	case KIND_UNKNOWN:
		return ROLE_STRANGER;
	case KIND_STANDARD:
	case KIND_OTHER:
		return ROLE_USER;
	case KIND_INGRESS:
	case KIND_EGRESS:
	case KIND_BRIDGE:
	case KIND_HIDDEN:
		return ROLE_NONE;
	case KIND_SIP:
		return ROLE_SIP;
	case KIND_AGENT:
		return ROLE_AGENT;
	case KIND_CONNECTOR:
		return ROLE_PHONE;
	}
	return ROLE_USER;
}

static int64_t track_start_ms(const struct fact_track *t)
{
	return t->published_us ? t->published_us / 1000 : t->published.at_s * 1000;
}

static int64_t session_start_ms(const struct fact_session *s)
{
	if (s->joined_at_ms)
		return s->joined_at_ms;
	if (s->joined.at_s)
		return s->joined.at_s * 1000;
	int64_t first = 0;
	for (size_t i = 0; i < s->track_count; i++) {
		int64_t at = track_start_ms(&s->tracks[i]);
		if (at && (!first || at < first))
			first = at;
	}
	return first ? first : s->ended.at_s * 1000;
}

/* The latest second in which the session is known to have been there. */
static int64_t last_alive_s(const struct fact_session *s)
{
	int64_t last = s->joined.at_s;
	for (size_t i = 0; i < s->track_count; i++) {
		const struct fact_track *t = &s->tracks[i];
		if (t->published.at_s > last)
			last = t->published.at_s;
		if (t->unpublished.at_s > last)
			last = t->unpublished.at_s;
	}
	return last;
}

static int64_t max64(int64_t x, int64_t y) { return x > y ? x : y; }
static int64_t min64(int64_t x, int64_t y) { return x < y ? x : y; }

/* A connection that died was gone long before LiveKit says so, and its tracks end only then. */
static int64_t alive_until_ms(const struct fact_session *s, int64_t from_ms, int64_t until_ms)
{
	int64_t sign = max64(from_ms, s->joined.at_s * 1000);
	for (size_t i = 0; i < s->track_count; i++)
		sign = max64(sign, s->tracks[i].published.at_s * 1000);
	return min64(until_ms, max64(sign, until_ms - LOST_UNNOTICED_MS));
}

static void seat_init(struct seat *seat, const struct fact_session *s)
{
	*seat = (struct seat){ .session = s, .role = role_of(s->kind) };
	seat->left = !slice_is_none(s->ended.event_id);
	seat->was_there = !slice_is_none(s->left.event_id) || !slice_is_none(s->joined.event_id) || slice_is_none(s->aborted.event_id);
	seat->from_lo = session_start_ms(s);
	if (seat->left) {
		bool died = s->left_reason == REASON_CONNECTION_TIMEOUT && s->kind != KIND_SIP;
		seat->to_lo = s->ended.at_s * 1000;
		seat->to_hi = seat->to_lo + 999;
		if (died)
			seat->to_lo = alive_until_ms(s, seat->from_lo, seat->to_lo);
		seat->alive_ms = seat->to_lo;
	} else {
		seat->to_lo = max64(seat->from_lo, last_alive_s(s) * 1000);
		seat->to_hi = INT64_MAX;
		seat->alive_ms = alive_until_ms(s, seat->from_lo, seat->to_lo);
	}
	seat->from_hi = slice_is_none(s->joined.event_id) ? min64(seat->from_lo + UNSEEN_JOIN_MS, seat->to_hi)
		: max64(seat->from_lo, s->joined.at_s * 1000 + 999);
}

static int by_identity(const void *x, const void *y)
{
	const struct seat *a = x, *b = y;
	int c = slice_cmp(a->session->identity, b->session->identity);
	if (c == 0)
		c = (a->from_lo > b->from_lo) - (a->from_lo < b->from_lo);
	return c ? c : slice_cmp(a->session->sid, b->session->sid);
}

static bool same_party(const struct seat *a, const struct seat *b)
{
	return a->session->identity.n > 0 && slice_eq(a->session->identity, b->session->identity);
}

/* Numbers the parties, and lets a later session of an identity end the earlier ones. A stranger with the identity of a known party
 * that is no phone is that party; on the phone the same identity may be another call. */
static void join_parties(struct room_view *v)
{
	for (size_t i = 0; i < v->seat_count; i++) {
		struct seat *s = &v->seats[i];
		if (i > 0 && same_party(s - 1, s)) {
			s->party = s[-1].party;
			s[-1].superseded = true;
			if (!s[-1].left)
				s[-1].to_hi = max64(s[-1].to_lo, s->from_hi);
			if (s->role == ROLE_STRANGER && s[-1].role != ROLE_SIP)
				s->role = s[-1].role;
		} else {
			s->party = v->party_count++;
		}
	}
	for (size_t i = v->seat_count; i-- > 1;)
		if (v->seats[i - 1].role == ROLE_STRANGER && v->seats[i].role != ROLE_SIP && same_party(&v->seats[i - 1], &v->seats[i]))
			v->seats[i - 1].role = v->seats[i].role;
}

static void count_seats(struct room_view *v)
{
	for (size_t i = 0; i < v->seat_count; i++) {
		const struct seat *s = &v->seats[i];
		v->agents += s->role == ROLE_AGENT && s->was_there;
		v->users += s->role == ROLE_USER && s->was_there;
		v->phones += s->role == ROLE_PHONE && s->was_there;
		v->strangers += s->role == ROLE_STRANGER;
		v->aborted_users += (s->role == ROLE_USER || s->role == ROLE_PHONE) && !s->was_there;
		v->kept_open |= s->role == ROLE_NONE && s->session->kind != KIND_EGRESS;
	}
}

/* The room's end: room_finished, unless somebody joined after it (a restarted server announces the same room again); else a leave
 * because the room closed. */
static void find_room_end(struct room_view *v)
{
	const struct facts *f = v->facts;
	int64_t latest_join = 0;
	for (size_t i = 0; i < v->seat_count; i++)
		latest_join = max64(latest_join, v->seats[i].from_lo);
	if (!slice_is_none(f->finished.event_id) && latest_join < (f->finished.at_s + 1) * 1000) {
		v->finished = true;
		v->room_end_s = f->finished.at_s;
		return;
	}
	for (size_t i = 0; i < v->seat_count; i++) {
		const struct fact_session *s = v->seats[i].session;
		bool room_gone = v->seats[i].left && (s->left_reason == REASON_ROOM_CLOSED || s->left_reason == REASON_ROOM_DELETED);
		if (room_gone && latest_join < (s->ended.at_s + 1) * 1000)
			v->room_end_s = max64(v->room_end_s, s->ended.at_s);
	}
}

static void close_open_seats(struct room_view *v)
{
	if (!v->room_end_s)
		return;
	int64_t end = v->room_end_s * 1000 + 999;
	for (size_t i = 0; i < v->seat_count; i++)
		if (!v->seats[i].left)
			v->seats[i].to_hi = max64(v->seats[i].to_lo, min64(v->seats[i].to_hi, end));
}

/* Where one guest's leave alone is lost and no other's explains when the room closed, that guest was there nearly until then. */
static void bound_lost_guest(struct room_view *v)
{
	struct seat *lost = NULL;
	int64_t last_s = 0;
	for (size_t i = 0; i < v->seat_count; i++) {
		struct seat *s = &v->seats[i];
		if (!is_guest(s->role) || !s->was_there || (!s->left && s->superseded))
			continue;
		if (s->left)
			last_s = max64(last_s, s->session->ended.at_s);
		else if (lost)
			return;
		else
			lost = s;
	}
	int64_t until_s = v->room_end_s - departure_s(v->facts) - ROOM_CLOSE_SLACK_S;
	if (lost && v->finished && !v->kept_open && last_s < until_s)
		lost->to_lo = max64(lost->to_lo, until_s * 1000);
}

/* ---- legs ---- */

static struct slice call_key(const struct seat *s) { return s->session->call_id.n ? s->session->call_id : s->session->sid; }

static int by_call(const void *x, const void *y)
{
	const struct seat *a = *(const struct seat *const *)x, *b = *(const struct seat *const *)y;
	int c = slice_cmp(call_key(a), call_key(b));
	if (c == 0)
		c = (a->from_lo > b->from_lo) - (a->from_lo < b->from_lo);
	return c ? c : slice_cmp(a->session->sid, b->session->sid);
}

static int by_joining(const void *x, const void *y)
{
	const struct leg *a = x, *b = y;
	int c = (a->joined_at_ms > b->joined_at_ms) - (a->joined_at_ms < b->joined_at_ms);
	return c ? c : slice_cmp(a->seats[0]->session->sid, b->seats[0]->session->sid);
}

static void leg_make(struct leg *leg, const struct seat **seats, size_t n)
{
	*leg = (struct leg){ .seats = seats, .seat_count = n, .direction = DIRECTION_OUTBOUND, .joined_at_ms = seats[0]->from_lo };
	for (size_t i = 0; i < n; i++) {
		const struct fact_session *s = seats[i]->session;
		leg->statuses |= s->statuses;
		leg->call_tag |= s->call_tag;
		leg->has_attributes |= s->call_id.n > 0 && s->statuses != 0;
		if (s->rule_id.n)
			leg->direction = DIRECTION_INBOUND;
		if (s->call_id.n)
			leg->call_id = s->call_id;
		if (s->phone_number.n && slice_cmp(s->phone_number, leg->phone_number) > 0)
			leg->phone_number = s->phone_number;
	}
	bool active = leg->statuses & (1u << STATUS_ACTIVE | 1u << STATUS_AUTOMATION);
	bool rang = leg->statuses & (1u << STATUS_DIALING | 1u << STATUS_RINGING);
	leg->let_in = leg->direction == DIRECTION_INBOUND && active && !rang && !slice_is_none(seats[0]->session->joined.event_id);
	const struct seat *last = seats[n - 1];
	leg->to_lo = last->to_lo;
	leg->to_hi = last->to_hi;
	if (last->left) {
		leg->end = last->session;
		leg->gone_s = last->session->ended.at_s;
		return;
	}
	/* LiveKit's SIP service ends its audio only with the call. */
	for (size_t i = 0; i < last->session->track_count; i++)
		leg->gone_s = max64(leg->gone_s, last->session->tracks[i].unpublished.at_s);
	if (leg->gone_s) {
		leg->to_lo = leg->gone_s * 1000;
		leg->to_hi = leg->to_lo + 999;
	}
}

static int legs_make(struct room_view *v, struct arena *a)
{
	size_t n = 0;
	for (size_t i = 0; i < v->seat_count; i++)
		n += v->seats[i].role == ROLE_SIP;
	if (n == 0)
		return 0;
	const struct seat **sip = ARENA_ARRAY(a, const struct seat *, n);
	v->legs = ARENA_ARRAY(a, struct leg, n);
	if (!sip || !v->legs)
		return OC_NOMEM;
	n = 0;
	for (size_t i = 0; i < v->seat_count; i++)
		if (v->seats[i].role == ROLE_SIP)
			sip[n++] = &v->seats[i];
	qsort(sip, n, sizeof *sip, by_call);
	for (size_t i = 0, k; i < n; i = k) {
		for (k = i + 1; k < n && slice_eq(call_key(sip[i]), call_key(sip[k])); k++)
			;
		leg_make(&v->legs[v->leg_count++], sip + i, k - i);
	}
	qsort(v->legs, v->leg_count, sizeof *v->legs, by_joining);
	for (size_t i = 0; i < v->leg_count; i++)
		for (size_t k = 0; k < v->legs[i].seat_count; k++)
			v->seats[v->legs[i].seats[k] - v->seats].leg = i;
	return 0;
}

int room_view_make(const struct facts *f, struct arena *a, struct room_view *ret)
{
	struct room_view v = { .facts = f, .seat_count = f->session_count };
	v.seats = ARENA_ARRAY(a, struct seat, v.seat_count);
	if (!v.seats)
		return OC_NOMEM;
	for (size_t i = 0; i < v.seat_count; i++)
		seat_init(&v.seats[i], &f->sessions[i]);
	if (v.seat_count > 1)
		qsort(v.seats, v.seat_count, sizeof *v.seats, by_identity);
	join_parties(&v);
	count_seats(&v);
	find_room_end(&v);
	close_open_seats(&v);
	bound_lost_guest(&v);
	int r = legs_make(&v, a);
	if (r < 0)
		return r;
	legs_answered(&v);
	legs_hear_marks(&v);
	*ret = v;
	return 0;
}
