/* Was a leg answered, as far as LiveKit's events tell, and since when? See legs.h. Marks come after this, in witness.c.
 *
 * Outbound: sip.callTag is there if and only if the far side answered. Inbound: LiveKit answers when the leg can hear somebody. */
#include "core/legs.h"

static int64_t max64(int64_t x, int64_t y) { return x > y ? x : y; }
static int64_t min64(int64_t x, int64_t y) { return x < y ? x : y; }

/* A time span somebody could be heard in, as intervals. */
struct audible {
	int64_t from_lo, from_hi, to_lo, to_hi;
	struct sighting seen;
	bool end_unseen;
	bool weak;       /* the audio of a leg that nobody answered */
	bool unsure;     /* that of a leg which may have been answered only after the caller had gone */
	int64_t late_hi; /* it may be heard only from here on; 0 = at once */
};

static struct audible audible_track(const struct seat *s, const struct fact_track *t)
{
	struct audible w = { .to_hi = s->to_hi, .end_unseen = true };
	bool published = !slice_is_none(t->published.event_id);
	w.seen = published ? t->published : t->unpublished;
	if (t->published_us) {
		w.from_hi = t->published_us / 1000;
		w.from_lo = published ? w.from_hi : min64(s->from_lo, w.from_hi); /* a track's version grows with its changes */
	} else {
		w.from_lo = published ? t->published.at_s * 1000 : s->from_lo;
		w.from_hi = w.seen.at_s * 1000 + 999;
	}
	w.to_lo = w.from_hi;
	if (!slice_is_none(t->unpublished.event_id)) {
		w.end_unseen = !s->left && !s->superseded; /* then the connection may have died long before */
		w.to_lo = w.end_unseen ? w.from_hi : min64(s->to_lo, t->unpublished.at_s * 1000);
		w.to_hi = t->unpublished.at_s * 1000 + 999;
	}
	return w;
}

/* How good the leg's witness is: possible, then sure: a leg that nobody answered, somebody who may have gone before, another party. */
static int witness_rank(const struct leg *leg)
{
	return leg->answer != ANSWER_YES ? leg->answer == ANSWER_MAYBE : leg->bridge_only ? 2 : leg->assumed ? 3 : 4;
}

/* Wherever in its interval the leg became active. What began after that was heard at once. */
static bool heard_surely(const struct leg *leg, const struct audible *w)
{
	int64_t active_hi = leg->seats[0]->from_hi;
	return w->from_lo >= active_hi || (!w->end_unseen && active_hi + LEGS_MARGIN_MS <= min64(leg->to_lo, w->to_lo));
}

/* Takes it as the leg's witness where it is a better or an earlier one. */
static void consider(struct leg *leg, const struct audible *w, enum witness kind, struct slice by)
{
	int64_t active = max64(leg->joined_at_ms, leg->seats[0]->session->joined.at_s * 1000);
	int64_t from_hi = max64(w->from_hi, active), heard_until = leg->to_lo;
	bool before = w->from_hi < active;
	bool proved = !before || !w->end_unseen || w->to_lo >= from_hi + LEGS_MARGIN_MS;
	if (before)
		heard_until = min64(heard_until, proved ? w->to_lo : w->to_hi);
	bool sure = from_hi + LEGS_MARGIN_MS <= heard_until;
	bool possible = w->from_lo <= leg->to_hi && w->to_hi >= leg->joined_at_ms;
	if (!sure && !possible)
		return;
	struct leg with = *leg;
	with.answer = sure ? ANSWER_YES : ANSWER_MAYBE;
	with.witness = kind;
	with.bridge_only = w->weak;
	with.assumed = !proved || w->unsure || !heard_surely(leg, w);
	with.answer_seen = w->seen;
	with.answer_by = by;
	with.answer_lo = max64(w->from_lo, leg->joined_at_ms);
	with.answer_hi = max64(before ? leg->seats[0]->from_hi + LEGS_MARGIN_MS : from_hi, w->late_hi);
	int better = witness_rank(&with) - witness_rank(leg);
	if (better > 0 || (better == 0 && with.answer_lo < leg->answer_lo))
		*leg = with;
}

/* LiveKit lets the caller hear a leg that it dials from the start; when the far side answered is not told. */
static void doubt_dialed(const struct leg *leg, const struct leg *dialed, struct audible *w)
{
	if (dialed->direction != DIRECTION_OUTBOUND)
		return;
	w->weak = !dialed->call_tag;
	w->unsure = !dialed->end || dialed->to_hi > leg->to_lo;
	w->late_hi = min64(leg->to_hi, dialed->to_hi);
}

/* Inbound: LiveKit answers when the leg can hear somebody, or when a second SIP leg comes in. */
static void answer_inbound(struct room_view *v, size_t index)
{
	struct leg *leg = &v->legs[index];
	leg->answer = ANSWER_NO;
	for (size_t i = 0; i < v->seat_count; i++) {
		const struct seat *s = &v->seats[i];
		if (s->role == ROLE_NONE || !s->was_there || (s->role == ROLE_SIP && s->leg == index))
			continue;
		for (size_t k = 0; k < s->session->track_count; k++) {
			struct audible w = audible_track(s, &s->session->tracks[k]);
			if (s->role == ROLE_SIP)
				doubt_dialed(leg, &v->legs[s->leg], &w);
			consider(leg, &w, WITNESS_AUDIO, s->session->identity);
		}
		if (s->role == ROLE_SIP) {
			struct sighting seen = slice_is_none(s->session->joined.event_id) ? s->session->ended : s->session->joined;
			struct audible w = { .from_lo = s->from_lo, .from_hi = s->from_hi, .to_lo = s->to_lo, .to_hi = s->to_hi,
				.end_unseen = !s->left && !s->superseded, .seen = seen };
			doubt_dialed(leg, &v->legs[s->leg], &w);
			consider(leg, &w, WITNESS_LEG, s->session->identity);
		}
	}
	bool active = leg->statuses & (1u << STATUS_ACTIVE | 1u << STATUS_AUTOMATION);
	if (active && (leg->answer != ANSWER_YES || leg->bridge_only)) {
		leg->witness = leg->answer == ANSWER_YES ? leg->witness : WITNESS_STATUS;
		if (leg->answer != ANSWER_YES)
			leg->answer_lo = leg->answer_hi = 0;
		leg->answer = ANSWER_YES;
	}
}

/* Outbound: the tag of the far side's answer, or not. Nobody rejects a call that was answered, so those reasons need no attributes. */
static void answer_outbound(struct leg *leg)
{
	leg->answer = ANSWER_MAYBE;
	if (leg->call_tag) {
		leg->answer = ANSWER_YES;
		leg->witness = WITNESS_TAG;
	} else if (leg->statuses & (1u << STATUS_ACTIVE | 1u << STATUS_AUTOMATION)) {
		leg->witness = WITNESS_STATUS;
	} else if (leg->end) {
		enum disconnect_reason r = leg->end->left_reason;
		bool refused = r == REASON_USER_REJECTED || r == REASON_USER_UNAVAILABLE || r == REASON_SIP_TRUNK_FAILURE;
		if (leg->has_attributes || refused)
			leg->answer = ANSWER_NO;
	}
}

void legs_answered(struct room_view *v)
{
	for (size_t i = 0; i < v->leg_count; i++)
		if (v->legs[i].direction == DIRECTION_OUTBOUND)
			answer_outbound(&v->legs[i]);
	for (size_t i = 0; i < v->leg_count; i++)
		if (v->legs[i].direction == DIRECTION_INBOUND)
			answer_inbound(v, i);
}
