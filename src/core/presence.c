/* Calls without a phone: who met whom in the room, for how long, and whose leaving ended it. See legs.h. */
#include "core/legs.h"

#include <stdlib.h>

static bool is_party(const struct seat *s)
{
	return s->was_there && (s->role == ROLE_USER || s->role == ROLE_PHONE || s->role == ROLE_AGENT);
}

static bool is_user(const struct seat *s) { return is_party(s) && s->role != ROLE_AGENT; }

static int64_t max64(int64_t x, int64_t y) { return x > y ? x : y; }
static int64_t min64(int64_t x, int64_t y) { return x < y ? x : y; }

/* Until when a seat counts as taken: an agent whose leave is lost is believed to have stayed, as agents do. */
static int64_t stays_until(const struct seat *s) { return s->role == ROLE_AGENT && !s->left ? s->to_hi : s->to_lo; }

/* Every pair of seats of two parties, at least one no agent. */
static void find_meetings(const struct room_view *v, struct presence *p)
{
	int64_t first = 0;
	for (size_t i = 0; i < v->seat_count; i++)
		for (size_t k = i + 1; k < v->seat_count; k++) {
			const struct seat *x = &v->seats[i], *y = &v->seats[k];
			if (!is_party(x) || !is_party(y) || x->party == y->party || (!is_user(x) && !is_user(y)))
				continue;
			bool sure = x->from_hi <= stays_until(y) && y->from_hi <= stays_until(x);
			bool possible = x->from_lo < y->to_hi && y->from_lo < x->to_hi;
			if (!possible)
				continue;
			enum answer answer = sure ? ANSWER_YES : ANSWER_MAYBE;
			int64_t met = max64(x->from_lo, y->from_lo);
			if (!p->possible_ms || met < p->possible_ms)
				p->possible_ms = met;
			int64_t together_ms = min64(x->alive_ms, y->alive_ms) - met;
			p->overlap_ms = max64(p->overlap_ms, together_ms);
			if (sure && !(is_user(x) && is_user(y)))
				p->with_agent_ms = max64(p->with_agent_ms, together_ms);
			if (answer > p->answer || (answer == p->answer && (!p->one || met < first))) {
				p->answer = answer;
				p->one = x->from_lo <= y->from_lo ? x : y;
				p->other = p->one == x ? y : x;
				first = met;
			}
		}
}

struct change {
	int64_t at;
	bool comes;
	const struct seat *seat;
};

static int by_time(const void *x, const void *y)
{
	const struct change *a = x, *b = y;
	if (a->at != b->at)
		return a->at < b->at ? -1 : 1;
	if (a->comes != b->comes)
		return a->comes ? -1 : 1;
	return slice_cmp(a->seat->session->sid, b->seat->session->sid);
}

struct crowd {
	unsigned *of_party; /* seats there now, by party */
	size_t parties, users;
};

static bool together(const struct crowd *c) { return c->users >= 1 && c->parties >= 2; }

static void change_crowd(struct crowd *c, const struct change *ch)
{
	unsigned *n = &c->of_party[ch->seat->party];
	size_t user = is_user(ch->seat);
	if (ch->comes && (*n)++ == 0) {
		c->parties++;
		c->users += user;
	} else if (!ch->comes && --*n == 0) {
		c->parties--;
		c->users -= user;
	}
}

/* Whose leave ended it: that of the last time two were together. Where an agent went first, the user's own later leave: an agent who
 * leaves alone ends nothing. Where they never met, the last user's leave. */
static int find_end(const struct room_view *v, struct arena *a, struct presence *p)
{
	struct change *changes = ARENA_ARRAY(a, struct change, v->seat_count * 2);
	struct crowd crowd = { .of_party = ARENA_ARRAY(a, unsigned, v->party_count) };
	if (!changes || !crowd.of_party)
		return OC_NOMEM;
	size_t n = 0;
	for (size_t i = 0; i < v->seat_count; i++)
		if (is_party(&v->seats[i])) {
			changes[n++] = (struct change){ v->seats[i].from_lo, true, &v->seats[i] };
			changes[n++] = (struct change){ max64(v->seats[i].to_hi, v->seats[i].from_lo), false, &v->seats[i] };
		}
	if (n > 1)
		qsort(changes, n, sizeof *changes, by_time);
	bool agent_went = false;
	const struct seat *end = NULL, *last_user = NULL;
	for (size_t i = 0; i < n; i++) {
		bool before = together(&crowd), user = is_user(changes[i].seat);
		change_crowd(&crowd, &changes[i]);
		bool after = together(&crowd);
		if (after)
			agent_went = false;
		if (changes[i].comes)
			continue;
		if (user)
			last_user = changes[i].seat;
		if (before && !after && !user)
			agent_went = true;
		if (user && ((before && !after) || (agent_went && crowd.users == 0))) {
			end = changes[i].seat;
			agent_went = false;
		}
	}
	p->end = p->answer == ANSWER_YES && end ? end : last_user;
	if (p->end && !p->end->left)
		p->end = NULL;
	return 0;
}

int presence_make(const struct room_view *v, struct arena *a, struct presence *ret)
{
	struct presence p = { .answer = ANSWER_NO };
	find_meetings(v, &p);
	int r = find_end(v, a, &p);
	if (r < 0)
		return r;
	for (size_t i = 0; v->users + v->phones == 0 && i < v->seat_count; i++) {
		const struct seat *s = &v->seats[i]; /* nobody but who only aborted, or agents */
		bool candidate = v->aborted_users ? !s->was_there && (s->role == ROLE_USER || s->role == ROLE_PHONE) : s->role == ROLE_AGENT;
		if (candidate && s->left && (!p.end || s->to_lo >= p.end->to_lo))
			p.end = s;
	}
	*ret = p;
	return 0;
}
