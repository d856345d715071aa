/* What the marks say about each leg and about the room, and what comes of it. See struct testimony in legs.h.
 *
 * Invariant: nothing here depends on the order of the marks. Which of two stands is a total order of their own times and ids; which source
 * knows best is a table. A mark that is overruled is not forgotten: it stands in `against`, for the evidence and the alternatives.
 * LiveKit's own events outrank marks where they are proof (sip.callTag; a leave whose status says dialing or ringing). */
#include "core/legs.h"

#define PLAUSIBLE_MS 2000 /* how far a witness's clock may be off LiveKit's before its time is no time of this leg */
#define STILL_THERE_MS 2000
#define BEFORE_ANY_LEG_MS 5000 /* what happened so long before any leg was about one that we did not see */

static int64_t max64(int64_t x, int64_t y) { return x > y ? x : y; }

/* What a mark is about: of one source's marks about one thing the later stands. */
enum subject { ABOUT_NOTHING, ABOUT_RESULT, ABOUT_WHO, ABOUT_TRANSFER, ABOUT_END };
enum claim { CLAIM_NONE, CLAIM_ANSWERED, CLAIM_REFUSED };

static enum claim claim_of(const struct fact_mark *m)
{
	int code = code_of_mark(&m->mark);
	if (m->mark.kind == MARK_ANSWERED || (m->mark.kind == MARK_SIP_RESULT && code >= 200 && code <= 299))
		return CLAIM_ANSWERED;
	return code_class_of_mark(&m->mark) == CODE_NONE ? CLAIM_NONE : CLAIM_REFUSED;
}

static enum subject subject_of(const struct fact_mark *m)
{
	switch (m->mark.kind) {
	case MARK_ANSWERED:
		return ABOUT_RESULT;
	case MARK_SIP_RESULT:
		return claim_of(m) == CLAIM_NONE ? ABOUT_NOTHING : ABOUT_RESULT;
	case MARK_MACHINE:
	case MARK_HUMAN:
		return ABOUT_WHO;
	case MARK_TRANSFERRED:
		return ABOUT_TRANSFER;
	case MARK_ENDED:
		return ABOUT_END;
	case MARK_NONE:
	case MARK_NOTE:
		return ABOUT_NOTHING;
	}
	return ABOUT_NOTHING;
}

/* Who knows best. What the far side said: those who spoke SIP with it. Who it was: those who listened. */
static int rank_of(const struct fact_mark *m)
{
	static const int RESULT[] = { [MARK_SOURCE_NONE] = 5, [MARK_SOURCE_DIALER] = 0, [MARK_SOURCE_AGENT] = 4, [MARK_SOURCE_CARRIER] = 1,
		[MARK_SOURCE_APP] = 3, [MARK_SOURCE_WATCHER] = 2 };
	static const int WHO[] = { [MARK_SOURCE_NONE] = 5, [MARK_SOURCE_DIALER] = 3, [MARK_SOURCE_AGENT] = 0, [MARK_SOURCE_CARRIER] = 2,
		[MARK_SOURCE_APP] = 1, [MARK_SOURCE_WATCHER] = 4 };
	return (subject_of(m) == ABOUT_WHO ? WHO : RESULT)[m->mark.source];
}

/* ---- which mark stands ---- */

static int64_t when_ms(const struct fact_mark *m) { return m->mark.at_ms ? m->mark.at_ms : m->at_s * 1000; }

/* Later is what was taken in later; of what came at once, what happened later. */
static int later_cmp(const struct fact_mark *x, const struct fact_mark *y)
{
	int64_t a = x->mark.posted_ms ? x->mark.posted_ms : x->at_s * 1000, b = y->mark.posted_ms ? y->mark.posted_ms : y->at_s * 1000;
	if (a == b) {
		a = x->mark.at_ms;
		b = y->mark.at_ms;
	}
	return a != b ? (a > b) - (a < b) : slice_cmp(x->event_id, y->event_id);
}

#define NO_LEG SIZE_MAX
#define UNSEEN_LEG (SIZE_MAX - 1)

/* Whoever dials has the result of a failed attempt at once: the leg that ended about then is meant, though the next may have begun. */
static bool ended_about(const struct leg *leg, int64_t at_ms)
{
	return leg->gone_s && leg->to_lo <= at_ms + PLAUSIBLE_MS && at_ms <= leg->to_hi + PLAUSIBLE_MS;
}

/* Which leg a mark is about: the one it names, else the one that was tried last before its time; NO_LEG: the room. */
static size_t leg_of_mark(const struct room_view *v, const struct fact_mark *m)
{
	size_t last = NO_LEG;
	if (m->mark.sip_call_id.n) {
		for (size_t i = 0; i < v->leg_count; i++)
			if (slice_eq(m->mark.sip_call_id, v->legs[i].call_id))
				return i;
		return v->leg_count == 1 && slice_is_empty(v->legs[0].call_id) ? 0 : UNSEEN_LEG;
	}
	if (m->mark.kind == MARK_ENDED)
		return NO_LEG;
	for (size_t i = 0; i < v->leg_count; i++)
		if (last == NO_LEG || !m->mark.at_ms || v->legs[i].joined_at_ms <= m->mark.at_ms)
			last = i;
	for (size_t i = last; i != NO_LEG && i > 0 && claim_of(m) == CLAIM_REFUSED && !ended_about(&v->legs[last], m->mark.at_ms); i--)
		if (ended_about(&v->legs[i - 1], m->mark.at_ms))
			return i - 1;
	bool early = last != NO_LEG && m->mark.at_ms && m->mark.at_ms + BEFORE_ANY_LEG_MS < v->legs[0].joined_at_ms;
	return early ? UNSEEN_LEG : last;
}

#define MARKS_SEEN (2 * FACTS_MAX_MARKS) /* the tenant's, and those of who speaks for every tenant */

/* The marks that are about something and that no later one replaced, each with its leg. */
struct standing {
	struct {
		const struct fact_mark *mark;
		size_t leg;
	} items[MARKS_SEEN];
	size_t count;
};

static bool replaces(const struct fact_mark *o, const struct fact_mark *m)
{
	if (o == m || o->mark.source != m->mark.source || subject_of(o) != subject_of(m) || later_cmp(o, m) <= 0)
		return false;
	return o->mark.kind == m->mark.kind || claim_of(o) != claim_of(m) || subject_of(m) == ABOUT_WHO;
}

static void find_standing(const struct room_view *v, struct standing *s)
{
	s->count = 0;
	for (size_t i = 0; i < v->facts->mark_count && i < MARKS_SEEN; i++) {
		const struct fact_mark *m = &v->facts->marks[i];
		if (subject_of(m) == ABOUT_NOTHING)
			continue;
		s->items[s->count].mark = m;
		s->items[s->count++].leg = leg_of_mark(v, m);
	}
	size_t kept = 0;
	struct standing all = *s;
	for (size_t i = 0; i < all.count; i++) {
		bool replaced = false;
		for (size_t k = 0; k < all.count; k++)
			replaced |= all.items[k].leg == all.items[i].leg && replaces(all.items[k].mark, all.items[i].mark);
		if (!replaced)
			s->items[kept++] = all.items[i];
	}
	s->count = kept;
}

/* ---- who says what ---- */

static void overrule(struct testimony *t, const struct fact_mark *m, unsigned dispute)
{
	t->disputes |= dispute;
	for (size_t i = 0; i < t->against_count; i++)
		if (t->against[i] == m)
			return;
	if (t->against_count < TESTIMONY_AGAINST)
		t->against[t->against_count++] = m;
}

static bool better(const struct fact_mark *m, const struct fact_mark *than)
{
	if (!than)
		return true;
	int d = rank_of(m) - rank_of(than);
	return d != 0 ? d < 0 : later_cmp(m, than) > 0;
}

/* Takes the better one into `*into`; the other one, where it contradicts, goes to `against`. */
static void take(struct testimony *t, const struct fact_mark **into, const struct fact_mark *m, unsigned dispute)
{
	const struct fact_mark *other = *into;
	if (better(m, other)) {
		*into = m;
	} else {
		other = m;
	}
	if (other && dispute)
		overrule(t, other, dispute);
}

static void hear(struct testimony *t, const struct fact_mark *m)
{
	enum code_class code = code_class_of_mark(&m->mark);
	switch (subject_of(m)) {
	case ABOUT_NOTHING:
		break;
	case ABOUT_RESULT:
		if (claim_of(m) == CLAIM_ANSWERED)
			take(t, &t->answered, m, 0);
		else
			take(t, &t->refused, m, t->refused && code_class_of_mark(&t->refused->mark) != code ? DISPUTE_CODE : 0);
		break;
	case ABOUT_WHO:
		take(t, &t->who, m, t->who && t->who->mark.kind != m->mark.kind ? DISPUTE_WHO : 0);
		break;
	case ABOUT_TRANSFER:
		take(t, &t->transferred, m, 0);
		break;
	case ABOUT_END:
		if (!t->ended || when_ms(m) < when_ms(t->ended))
			t->ended = m;
		break;
	}
}

static const struct fact_mark *says_answered(const struct testimony *t)
{
	if (t->answered)
		return t->answered;
	return t->who && t->who->mark.kind == MARK_HUMAN ? t->who : t->transferred;
}

/* Of two witnesses the one that should know best is believed. */
static void settle_claims(struct testimony *t, bool proved_answered, bool proved_unanswered)
{
	const struct fact_mark *yes = says_answered(t);
	if (yes && t->refused && !proved_answered && !proved_unanswered) {
		bool answered = rank_of(yes) <= rank_of(t->refused);
		overrule(t, answered ? t->refused : yes, DISPUTE_ANSWER);
		proved_answered = answered;
		proved_unanswered = !answered;
	}
	if (proved_answered && t->refused) {
		overrule(t, t->refused, t->disputes & DISPUTE_ANSWER ? 0 : DISPUTE_REFUSED);
		t->refused = NULL;
	}
	if (proved_unanswered && yes) {
		overrule(t, yes, t->disputes & DISPUTE_ANSWER ? 0 : DISPUTE_ANSWERED);
		t->answered = t->transferred = NULL;
		if (t->who && t->who->mark.kind == MARK_HUMAN)
			t->who = NULL;
	}
	t->code = t->refused ? code_class_of_mark(&t->refused->mark) : CODE_NONE;
}

/* ---- legs ---- */

static void settle_leg(struct leg *leg)
{
	struct testimony *t = &leg->marks;
	bool outbound = leg->direction == DIRECTION_OUTBOUND;
	bool hung_up = leg->statuses & (1u << STATUS_HANGUP);
	settle_claims(t, leg->answer == ANSWER_YES, outbound && leg->answer == ANSWER_NO && leg->end && !hung_up);
	bool machine = outbound && leg->answer == ANSWER_MAYBE && !t->refused && t->who;
	if ((says_answered(t) || machine) && leg->answer != ANSWER_YES) {
		leg->answer = ANSWER_YES;
		leg->witness = WITNESS_MARK;
		leg->answer_lo = leg->answer_hi = 0;
	}
	int64_t rejoined = leg->seats[leg->seat_count - 1]->from_lo;
	if (t->ended && when_ms(t->ended) + PLAUSIBLE_MS < rejoined) {
		overrule(t, t->ended, DISPUTE_END);
		t->ended = NULL;
	}
	if (t->ended && !leg->end && !leg->gone_s) {
		int64_t at = max64(when_ms(t->ended), rejoined);
		leg->to_lo = max64(at - t->ended->mark.within_ms, rejoined);
		leg->to_hi = at;
		leg->gone_s = leg->to_lo / 1000;
	}
}

/* The best time among those who say that it was answered: by who should know. One outside the leg's own is none. */
static void find_answer_time(const struct standing *s, size_t index, struct leg *leg)
{
	struct testimony *t = &leg->marks;
	for (size_t i = 0; t->answered && i < s->count; i++) {
		const struct fact_mark *m = s->items[i].mark, *known = t->answered_at;
		if (s->items[i].leg != index || !m->mark.at_ms || claim_of(m) != CLAIM_ANSWERED)
			continue;
		bool after = leg->to_hi != INT64_MAX && m->mark.at_ms - m->mark.within_ms > leg->to_hi + PLAUSIBLE_MS;
		bool before = m->mark.at_ms < leg->joined_at_ms - PLAUSIBLE_MS;
		int d = known ? rank_of(m) - rank_of(known) : -1;
		if (after || before)
			overrule(t, m, DISPUTE_TIME);
		else if (d < 0 || (d == 0 && m->mark.kind == MARK_ANSWERED))
			t->answered_at = m;
	}
}

/* ---- the room ---- */

/* The latest moment at which somebody came or published: a call that goes on after an end that a witness names has not ended. */
static int64_t last_sign_ms(const struct room_view *v)
{
	int64_t last = 0;
	for (size_t i = 0; i < v->seat_count; i++) {
		const struct fact_session *s = v->seats[i].session;
		if (v->seats[i].from_lo > last)
			last = v->seats[i].from_lo;
		for (size_t k = 0; k < s->track_count; k++)
			if (s->tracks[k].published.at_s * 1000 > last)
				last = s->tracks[k].published.at_s * 1000;
	}
	return last;
}

static void settle_room(struct room_view *v)
{
	struct testimony *t = &v->marks;
	settle_claims(t, false, false);
	if (t->ended && last_sign_ms(v) > when_ms(t->ended) + STILL_THERE_MS) {
		overrule(t, t->ended, DISPUTE_END);
		t->ended = NULL;
	}
}

void legs_hear_marks(struct room_view *v)
{
	struct standing s;
	find_standing(v, &s);
	for (size_t i = 0; i < s.count; i++) {
		const struct fact_mark *m = s.items[i].mark;
		size_t leg = s.items[i].leg;
		bool dialed_unseen = leg == NO_LEG && m->mark.kind == MARK_SIP_RESULT;
		if ((leg == UNSEEN_LEG || dialed_unseen) && !v->unseen_leg)
			v->unseen_leg = m;
		if (leg < v->leg_count)
			hear(&v->legs[leg].marks, m);
		else if (leg == NO_LEG || subject_of(m) != ABOUT_END)
			hear(&v->marks, m);
	}
	for (size_t i = 0; i < v->leg_count; i++) {
		settle_leg(&v->legs[i]);
		find_answer_time(&s, i, &v->legs[i]);
	}
	settle_room(v);
}

void legs_marks_heard(const struct room_view *v, struct mark_heard *ret)
{
	struct standing s;
	find_standing(v, &s);
	for (size_t i = 0; i < v->facts->mark_count; i++) {
		const struct fact_mark *m = &v->facts->marks[i];
		size_t leg = leg_of_mark(v, m);
		bool stands = subject_of(m) == ABOUT_NOTHING;
		for (size_t k = 0; k < s.count; k++)
			stands |= s.items[k].mark == m;
		ret[i] = (struct mark_heard){ .leg = leg < v->leg_count ? &v->legs[leg] : NULL, .superseded = !stands };
	}
}

const char *dispute_text(unsigned index)
{
	static const char *const TEXTS[] = {
#define X(e, text) text,
		DISPUTES(X)
#undef X
	};
	return TEXTS[index];
}
