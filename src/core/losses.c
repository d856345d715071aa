/* What must have existed and never came. See losses.h.
 *
 * Twice over the facts: once to count, once to write down, so that the array has its exact size. Pure; any thread that owns the facts. */
#include "core/losses.h"

#include "core/legs.h"

struct finder {
	const struct room_view *v;
	bool ended;
	struct losses found; /* items NULL while counting */
};

static void add(struct finder *x, enum loss_kind kind, const struct fact_session *s, struct slice id)
{
	if (x->found.items)
		x->found.items[x->found.count] = (struct loss){ .kind = kind, .participant_sid = s ? s->sid : SLICE_NONE,
			.identity = s ? s->identity : SLICE_NONE, .id = id };
	x->found.count++;
	x->found.kinds |= 1u << kind;
}

static bool never(struct sighting s) { return slice_is_none(s.event_id); }

/* LiveKit announces whoever becomes ACTIVE. Who only aborted never did; of somebody with tracks alone not even the kind is known. */
static bool lacks_join(const struct fact_session *s)
{
	return s->kind != KIND_UNKNOWN && never(s->joined) && (never(s->aborted) || !never(s->left) || s->track_count > 0);
}

static void find_in_room(struct finder *x)
{
	const struct facts *f = x->v->facts;
	bool seen = f->session_count > 0 || f->egress_count > 0 || !never(f->finished);
	if (seen && never(f->started))
		add(x, LOSS_ROOM_STARTED, NULL, SLICE_NONE);
	if (x->ended && (seen || !never(f->started)) && !x->v->finished)
		add(x, LOSS_ROOM_FINISHED, NULL, SLICE_NONE);
}

static void find_sessions(struct finder *x, enum loss_kind kind)
{
	for (size_t i = 0; i < x->v->seat_count; i++) {
		const struct seat *seat = &x->v->seats[i];
		const struct fact_session *s = seat->session;
		bool stranger = s->kind == KIND_UNKNOWN;
		if ((kind == LOSS_JOINED && lacks_join(s)) || (kind == LOSS_PARTICIPANT && stranger) ||
		    (kind == LOSS_LEFT && !stranger && !seat->left && (x->ended || seat->superseded)))
			add(x, kind, s, SLICE_NONE);
	}
}

static void find_tracks(struct finder *x, enum loss_kind kind)
{
	for (size_t i = 0; i < x->v->seat_count; i++) {
		const struct fact_session *s = x->v->seats[i].session;
		for (size_t k = 0; k < s->track_count; k++) {
			const struct fact_track *t = &s->tracks[k];
			if ((kind == LOSS_TRACK_PUBLISHED && never(t->published)) ||
			    (kind == LOSS_TRACK_UNPUBLISHED && never(t->unpublished) && x->v->seats[i].left))
				add(x, kind, s, t->sid);
		}
	}
}

static void find_egress(struct finder *x)
{
	const struct facts *f = x->v->facts;
	for (size_t i = 0; x->ended && i < f->egress_count; i++)
		if (never(f->egresses[i].ended) && f->egresses[i].status <= EGRESS_ENDING)
			add(x, LOSS_EGRESS_ENDED, NULL, f->egresses[i].egress_id);
}

static void find_legs(struct finder *x)
{
	if (x->v->unseen_leg)
		add(x, LOSS_LEG, NULL, x->v->unseen_leg->mark.sip_call_id);
	for (size_t i = 0; i < x->v->leg_count; i++) {
		const struct leg *leg = &x->v->legs[i];
		if (leg->direction == DIRECTION_INBOUND && leg->answer == ANSWER_YES && leg->witness == WITNESS_STATUS && !leg->let_in)
			add(x, LOSS_HEARD, leg->seats[0]->session, leg->call_id);
	}
}

static void find_all(struct finder *x)
{
	find_in_room(x);
	for (enum loss_kind kind = LOSS_JOINED; kind <= LOSS_PARTICIPANT; kind++)
		find_sessions(x, kind);
	for (enum loss_kind kind = LOSS_TRACK_PUBLISHED; kind <= LOSS_TRACK_UNPUBLISHED; kind++)
		find_tracks(x, kind);
	find_egress(x);
	find_legs(x);
	if (x->v->facts->overflow)
		add(x, LOSS_OVERFLOW, NULL, SLICE_NONE);
}

int losses_find(const struct facts *f, bool ended, struct arena *a, struct losses *ret)
{
	struct room_view v;
	int r = room_view_make(f, a, &v);
	if (r < 0)
		return r;
	struct finder x = { .v = &v, .ended = ended };
	find_all(&x);
	struct loss *items = ARENA_ARRAY(a, struct loss, x.found.count);
	if (!items)
		return OC_NOMEM;
	x.found = (struct losses){ .items = items };
	find_all(&x);
	*ret = x.found;
	return 0;
}

static const struct {
	const char *name, *words;
} TEXTS[] = {
#define X(e, name, words) { name, words },
	LOSSES(X)
#undef X
};

const char *loss_name(enum loss_kind k) { return TEXTS[k].name; }
const char *loss_words(enum loss_kind k) { return TEXTS[k].words; }

void losses_write(const struct losses *l, struct jsonw *w)
{
	jw_arr(w);
	for (size_t i = 0; i < l->count; i++) {
		const struct loss *x = &l->items[i];
		jw_obj(w);
		jw_key(w, "loss");
		jw_cstr(w, loss_name(x->kind));
		jw_key(w, "says");
		jw_cstr(w, loss_words(x->kind));
		jw_key(w, "participantSid");
		jw_str(w, x->participant_sid);
		jw_key(w, "identity");
		jw_str(w, x->identity);
		jw_key(w, "id");
		jw_str(w, x->id);
		jw_obj_end(w);
	}
	jw_arr_end(w);
}
