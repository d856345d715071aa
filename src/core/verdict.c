/* The verdict: facts, rules version and as-of time in, one verdict out. The as-of time only decides whether the call is over; it never
 * gets into what is said, so facts judged at any time after their last deadline give the same bytes. Pure; any thread that owns the
 * facts.
 *
 * When a call is over: room_finished was seen; or 45 s (queue and retries of LiveKit's delivery) after the room is known to have closed;
 * or the room's departure timeout and 45 s after the last guest's leave; or, where no leave comes, 25 h after the last event while a
 * phone may be talking (LiveKit ends SIP calls after 24 h) and 6 h otherwise, at the next full ten minutes. */
#include "core/case.h"

#define WATCHED_MS 5000   /* an answer that a witness places within so long has a moment: the middle */
#define TRACK_SLACK_MS 30 /* LiveKit's 200 OK is this near the announcement of the track that it waits for */

static int64_t max64(int64_t x, int64_t y) { return x > y ? x : y; }
static int64_t min64(int64_t x, int64_t y) { return x < y ? x : y; }

static void set_call(const struct call_case *c, bool over, struct verdict *v)
{
	const struct facts *f = c->view.facts;
	v->status = over ? CALL_ENDED : CALL_ACTIVE;
	if (c->leg) {
		bool known = c->leg->call_id.n > 0 || c->leg->statuses != 0 || c->leg->answer == ANSWER_NO;
		v->direction = known ? c->leg->direction : DIRECTION_UNKNOWN;
		v->phone_number = c->leg->phone_number;
		v->sip_call_id = c->leg->call_id;
	} else if (c->only_told) {
		v->direction = DIRECTION_OUTBOUND;
	} else if (over && c->view.phones + c->view.strangers == 0 && !c->view.unseen_leg) {
		v->direction = DIRECTION_WEB; /* while the call is open a phone may still come */
	}
	for (size_t i = 0; slice_is_none(v->recording_url) && i < f->egress_count; i++)
		if (f->egresses[i].status == EGRESS_COMPLETE)
			v->recording_url = f->egresses[i].location;
}

/* Without a phone a call begins with its first user: an agent may have waited for long. */
static int64_t started_at_ms(const struct call_case *c)
{
	if (c->leg && c->leg->joined_at_ms)
		return c->leg->joined_at_ms;
	int64_t first = 0;
	bool guests = c->view.users + c->view.phones + c->view.strangers + c->view.aborted_users > 0;
	for (size_t i = 0; i < c->view.seat_count; i++) {
		const struct seat *s = &c->view.seats[i];
		if ((guests ? is_guest(s->role) : s->role == ROLE_AGENT) && s->from_lo && (!first || s->from_lo < first))
			first = s->from_lo;
	}
	const struct facts *f = c->view.facts;
	return first ? first : f->creation_time_ms ? f->creation_time_ms : f->first_event_s * 1000;
}

static void set_span(const struct call_case *c, const struct rule *r, struct verdict *v)
{
	v->started_at_ms = started_at_ms(c);
	v->duration_s = -1;
	if (!r)
		return;
	int64_t end_s = c->end_s;
	if (r->why == VERDICT_AGENT_ERROR && !c->leg && c->failed_agent)
		end_s = c->failed_agent->ended.at_s;
	int64_t end_ms = end_s * 1000;
	if (!end_ms && c->view.marks.ended)
		end_ms = c->view.marks.ended->mark.at_ms;
	if (!end_ms)
		end_ms = c->view.facts->last_event_s * 1000;
	if (!v->started_at_ms || !end_ms)
		return;
	v->ended_at_ms = max64(end_ms, v->started_at_ms);
	v->duration_s = (v->ended_at_ms - v->started_at_ms) / 1000;
}

/* ---- when was it answered? ---- */

static void answered_between(struct verdict *v, int64_t at, int64_t earliest, int64_t latest, struct slice source)
{
	v->answered_at_ms = at;
	v->answered_at_earliest_ms = earliest;
	v->answered_at_latest_ms = max64(earliest, latest);
	v->answered_source = source;
}

static void answered_by_mark(const struct fact_mark *m, int64_t not_before, struct verdict *v)
{
	int64_t at = m->mark.at_ms, within = m->mark.within_ms, earliest = max64(at - within, min64(not_before, at));
	answered_between(v, within <= WATCHED_MS ? earliest + (at - earliest) / 2 : 0, earliest, at, slice_cstr(mark_source_name(m->mark.source)));
}

/* Of an inbound leg the track that it heard tells the moment better than any witness. */
static void set_answer_of_leg(const struct leg *leg, struct verdict *v)
{
	int64_t ended_hi = leg->to_hi == INT64_MAX ? max64(v->ended_at_ms, leg->joined_at_ms) : leg->to_hi;
	bool heard = leg->witness == WITNESS_AUDIO && leg->answer_lo && leg->answer_hi - leg->answer_lo < 1000 && !leg->bridge_only && !leg->let_in;
	bool exact = heard && leg->answer_lo == leg->answer_hi;
	if (leg->marks.answered_at && !(exact && !leg->assumed)) {
		answered_by_mark(leg->marks.answered_at, leg->joined_at_ms, v);
	} else if (leg->let_in) {
		answered_between(v, 0, 0, leg->joined_at_ms, SLICE_NONE);
	} else if (heard) {
		int64_t slack = exact ? TRACK_SLACK_MS : 0;
		answered_between(v, exact ? leg->answer_lo : 0, max64(leg->joined_at_ms, leg->answer_lo - slack),
			min64(ended_hi, leg->answer_hi + slack), SLICE("track"));
	} else {
		answered_between(v, 0, leg->answer_lo ? leg->answer_lo : leg->joined_at_ms, leg->answer_lo ? min64(leg->answer_hi, ended_hi) : ended_hi,
			SLICE_NONE);
	}
}

/* A participant is in the room when its join is announced, not when its session was made: old servers take a second between them. */
static void set_answer_of_presence(const struct presence *p, struct verdict *v)
{
	const struct seat *second = p->other;
	const struct fact_session *s = second->session;
	bool first = p->possible_ms >= second->from_lo; /* a restarted server announces those who had met before */
	bool at_once = first && !s->joined_at_whole_s && s->joined.at_s == second->from_lo / 1000;
	answered_between(v, at_once ? second->from_lo : 0, first ? max64(second->from_lo, s->joined.at_s * 1000) : p->possible_ms,
		second->from_hi, SLICE("join"));
}

static void set_answer(const struct call_case *c, struct verdict *v)
{
	v->ring_seconds = v->talk_seconds = -1;
	if (c->leg && c->leg->answer == ANSWER_YES) {
		set_answer_of_leg(c->leg, v);
	} else if (!c->leg && c->presence.answer == ANSWER_YES) {
		set_answer_of_presence(&c->presence, v);
	} else if (!c->leg && c->rule_case.answer == ANSWER_YES && case_marks(c)->answered && case_marks(c)->answered->mark.at_ms) {
		answered_by_mark(case_marks(c)->answered, v->started_at_ms, v);
	}
	if (!v->answered_at_ms || !v->started_at_ms)
		return;
	bool watched = slice_eq(v->answered_source, SLICE("watcher")); /* what may have been ringing counts as neither */
	v->ring_seconds = max64(0, (watched ? v->answered_at_earliest_ms : v->answered_at_ms) - v->started_at_ms) / 1000;
	if (v->ended_at_ms)
		v->talk_seconds = max64(0, v->ended_at_ms - (watched ? v->answered_at_latest_ms : v->answered_at_ms)) / 1000;
}

/* ---- alternatives ---- */

static void add_alternative(struct verdict *v, struct alternative add)
{
	if (add.outcome == OUTCOME_NONE || add.outcome == OUTCOME_UNKNOWN || (add.outcome == v->outcome && add.reason == v->reason))
		return;
	for (size_t i = 0; i < v->alternative_count; i++)
		if (v->alternatives[i].outcome == add.outcome && v->alternatives[i].reason == add.reason)
			return;
	v->alternatives[v->alternative_count++] = add;
}

/* What would be so if a witness who was not believed were right. */
static void add_overruled(struct verdict *v, const struct testimony *t)
{
	for (size_t i = 0; i < t->against_count; i++) {
		const struct event_mark *m = &t->against[i]->mark;
		const struct rule *r = rules_of_code(code_class_of_mark(m));
		enum verdict_reason why = m->kind == MARK_MACHINE ? VERDICT_MACHINE : m->kind == MARK_TRANSFERRED ? VERDICT_TRANSFERRED : VERDICT_HANGUP;
		if (r)
			add_alternative(v, (struct alternative){ r->outcome, r->why });
		else if (m->kind != MARK_ENDED)
			add_alternative(v, (struct alternative){ OUTCOME_COMPLETED, why });
	}
}

static int set_alternatives(const struct call_case *c, const struct rule *r, struct arena *a, struct verdict *v)
{
	v->alternatives = ARENA_ARRAY(a, struct alternative, RULE_ALTERNATIVES + NEED_COUNT + 1 + TESTIMONY_AGAINST);
	if (!v->alternatives)
		return OC_NOMEM;
	for (size_t i = 0; i < RULE_ALTERNATIVES; i++)
		add_alternative(v, r->alternatives[i]);
	unsigned lacking = r->confidence == CONFIDENCE_CERTAIN ? r->needs & ~c->rule_case.holds : 0;
	for (unsigned i = 0; i < NEED_COUNT; i++)
		if (lacking & 1u << i)
			add_alternative(v, rules_need(i)->instead);
	if (c->met_besides)
		add_alternative(v, rules_need(NEED_NO_MEETING_AT)->instead);
	add_overruled(v, case_marks(c));
	return 0;
}

/* `r` NULL: it is not over. */
static int judge(const struct call_case *c, const struct rule *r, struct arena *a, struct verdict *v)
{
	set_call(c, r != NULL, v);
	set_span(c, r, v);
	set_answer(c, v);
	if (!r)
		return 0;
	v->outcome = v->raw_outcome = r->outcome;
	v->reason = r->why;
	v->confidence = case_confidence(c, r);
	v->fault = r->fault;
	v->rule = slice_cstr(r->name);
	int error = set_alternatives(c, r, a, v);
	return error ? error : case_explain(c, r, a, v);
}

int verdict_of_leg(const struct facts *f, size_t index, struct arena *a, struct verdict *ret)
{
	struct call_case c;
	struct verdict v = { .rules = VERDICT_RULES_VERSION };
	int error = case_make_of_leg(f, index, a, &c);
	if (!error)
		error = judge(&c, rules_match(&c.rule_case), a, &v);
	if (!error)
		*ret = v;
	return error;
}

int verdict_classify(const struct facts *f, unsigned rules, int64_t as_of_ms, struct arena *a, struct verdict *ret)
{
	if (rules != VERDICT_RULES_VERSION)
		return OC_INVALID;
	struct call_case c;
	int error = case_make(f, a, &c);
	if (error)
		return error;
	bool over;
	int64_t due_ms = case_deadline_ms(&c, &over);
	over |= due_ms != 0 && as_of_ms >= due_ms;
	int64_t look_ms = case_first_look_ms(&c);
	struct verdict v = { .rules = rules, .due_at_ms = over ? 0 : look_ms > as_of_ms && look_ms < due_ms ? look_ms : due_ms };
	error = judge(&c, over ? rules_match(&c.rule_case) : NULL, a, &v);
	if (error)
		return error;
	*ret = v;
	return 0;
}
