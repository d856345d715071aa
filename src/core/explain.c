/* A verdict in words: the evidence, event by event, and the sentence for people. Nothing in here names a number or an identity. Pure. */
#include "core/case.h"

#define MAX_EVIDENCE 24

struct words {
	struct arena *a;
	struct verdict *v;
	bool failed;
};

/* `parts` ends with NULL. */
static void say_parts(struct words *w, struct slice event_id, const char *const *parts)
{
	if (w->v->evidence_count == MAX_EVIDENCE)
		return;
	_cleanup_buf_ struct buf b = BUF_INIT;
	for (; *parts; parts++)
		buf_puts(&b, *parts);
	struct slice says;
	if (buf_failed(&b) || !arena_copy(w->a, buf_slice(&b), &says))
		w->failed = true;
	else
		w->v->evidence[w->v->evidence_count++] = (struct evidence){ .event_id = event_id, .says = says };
}

#define say(w, event_id, ...) say_parts((w), (event_id), (const char *const[]){ __VA_ARGS__, NULL })

static const char *status_words(unsigned status_bit)
{
	for (unsigned s = STATUS_DIALING; s <= STATUS_HANGUP; s++)
		if (status_bit == RULE_STATUS(s))
			return sip_status_name((enum sip_status)s);
	return "no status";
}

static const char *source_words(const struct fact_mark *m)
{
	const char *name = mark_source_name(m->mark.source);
	return name ? name : "a witness";
}

static void say_end_of_leg(struct words *w, const struct call_case *c)
{
	const struct leg *leg = c->leg;
	const char *status = status_words(c->rule_case.status);
	if (!leg->end) {
		say(w, SLICE_NONE, "no participant_left of the leg");
		if (leg->call_tag)
			say(w, leg->seats[leg->seat_count - 1]->session->joined.event_id, "sip.callTag present");
		return;
	}
	const char *reason = disconnect_reason_name(leg->end->left_reason);
	if (leg->direction == DIRECTION_INBOUND)
		say(w, leg->end->ended.event_id, reason, " with status ", status);
	else if (leg->call_tag)
		say(w, leg->end->ended.event_id, reason, " with status ", status, " and sip.callTag");
	else
		say(w, leg->end->ended.event_id, reason, " while ", status);
}

static void say_mark(struct words *w, const struct fact_mark *m, const char *but)
{
	const char *source = source_words(m);
	switch (m->mark.kind) {
	case MARK_ANSWERED:
		say(w, m->event_id, "answered, says ", source, but);
		break;
	case MARK_SIP_RESULT: {
		int code = code_of_mark(&m->mark);
		const char digits[] = { (char)('0' + code / 100 % 10), (char)('0' + code / 10 % 10), (char)('0' + code % 10), '\0' };
		if (code)
			say(w, m->event_id, "SIP ", digits, ", says ", source, but);
		else
			say(w, m->event_id, "not answered, says ", source, but);
		break;
	}
	case MARK_MACHINE:
		say(w, m->event_id, "a machine, says ", source, but);
		break;
	case MARK_HUMAN:
		say(w, m->event_id, "a person, says ", source, but);
		break;
	case MARK_TRANSFERRED:
		say(w, m->event_id, "transferred, says ", source, but);
		break;
	case MARK_ENDED:
		say(w, m->event_id, "ended, says ", source, but);
		break;
	case MARK_NONE:
	case MARK_NOTE:
		break;
	}
}

/* What stands, and what was overruled: a contradiction is never hidden. */
static void say_marks(struct words *w, const struct testimony *t)
{
	const struct fact_mark *stand[] = { t->answered, t->refused, t->who, t->transferred, t->ended };
	for (size_t i = 0; i < t->against_count; i++)
		say_mark(w, t->against[i], ", which something contradicts");
	for (size_t i = 0; i < sizeof stand / sizeof stand[0]; i++) {
		bool told = !stand[i];
		for (size_t k = 0; k < t->against_count; k++)
			told |= t->against[k] == stand[i];
		if (!told)
			say_mark(w, stand[i], "");
	}
}

static void say_answer_of_leg(struct words *w, const struct leg *leg)
{
	say_marks(w, &leg->marks);
	if (leg->witness == WITNESS_AUDIO)
		say(w, leg->answer_seen.event_id, "audio of ", leg->bridge_only ? "a phone leg that nobody answered" : "another party",
			leg->answer == ANSWER_YES ? " while the leg was there" : " about the time of the leg");
	if (leg->witness == WITNESS_LEG)
		say(w, leg->answer_seen.event_id, "another phone leg came while the leg was there");
	if (leg->witness == WITNESS_NONE && leg->direction == DIRECTION_INBOUND)
		say(w, SLICE_NONE, "no audio of another party while the leg was there");
}

static struct slice seen_coming(const struct seat *s)
{
	return slice_is_none(s->session->joined.event_id) ? s->session->ended.event_id : s->session->joined.event_id;
}

static void say_presence(struct words *w, const struct call_case *c)
{
	const struct presence *p = &c->presence;
	if (p->answer != ANSWER_NO)
		say(w, seen_coming(p->other), p->answer == ANSWER_YES ? "the second party was in the room" : "the second party may have been in the room");
	else if (c->view.seat_count == 0)
		say(w, SLICE_NONE, "no participant");
	else
		say(w, SLICE_NONE, "no two parties in the room together");
	if (c->end)
		say(w, c->end->ended.event_id, disconnect_reason_name(c->end->left_reason), " of ",
			c->end->kind == KIND_AGENT ? "an agent" : slice_is_none(c->end->left.event_id) ? "a user who never got through" : "a user");
	else if (p->answer == ANSWER_YES)
		say(w, SLICE_NONE, "no participant_left of the user");
}

static void say_unseen(struct words *w, const struct call_case *c)
{
	if (c->view.unseen_leg)
		say(w, c->view.unseen_leg->event_id, "a phone leg of which no event came, named by ", source_words(c->view.unseen_leg));
}

static void say_room(struct words *w, const struct call_case *c)
{
	const struct facts *f = c->view.facts;
	if (c->failed_agent)
		say(w, c->failed_agent->ended.event_id, "AGENT_ERROR of an agent");
	say_marks(w, &c->view.marks);
	if (!c->view.finished)
		say(w, SLICE_NONE, "no room_finished");
	else if (f->end_reason != ROOM_END_UNKNOWN)
		say(w, f->finished.event_id, "room_finished, ", room_end_reason_name(f->end_reason));
	else
		say(w, f->finished.event_id, "room_finished");
}

/* ---- the sentence ---- */

static void put_code(struct buf *b, const struct fact_mark *m)
{
	int code = code_of_mark(&m->mark);
	if (code)
		buf_put_int(b, code);
	else
		buf_puts(b, "without a SIP code");
}

static void put_value(struct buf *b, const struct call_case *c, struct slice name)
{
	if (slice_eq(name, SLICE("reason")))
		buf_puts(b, c->end ? disconnect_reason_name(c->end->left_reason) : "no leave seen");
	else if (slice_eq(name, SLICE("status")))
		buf_puts(b, status_words(c->rule_case.status));
	else if (slice_eq(name, SLICE("seconds")))
		buf_put_int(b, c->rule_case.elapsed_s > 0 ? c->rule_case.elapsed_s : 0);
	else if (slice_eq(name, SLICE("code")) && case_marks(c)->refused)
		put_code(b, case_marks(c)->refused);
}

static void put_template(struct buf *b, const struct call_case *c, struct slice text)
{
	struct slice before, after, name;
	while (slice_split(text, '{', &before, &after)) {
		buf_put(b, before);
		(void)slice_split(after, '}', &name, &text);
		put_value(b, c, name);
	}
	buf_put(b, text);
}

static void put_lacks(struct buf *b, const struct call_case *c, const struct rule *r)
{
	unsigned lacking = r->confidence == CONFIDENCE_CERTAIN ? r->needs & ~c->rule_case.holds : 0;
	const char *lead = " Not certain: ";
	for (unsigned i = 0; i < NEED_COUNT; i++)
		if (lacking & 1u << i) {
			buf_puts(b, lead);
			buf_puts(b, rules_need(i)->text);
			lead = "; ";
		}
	if (lacking)
		buf_putc(b, '.');
	else if (c->met_besides)
		buf_puts(b, " A web user and another party were together in the room as well: that may have been the call.");
	unsigned disputes = case_marks(c)->disputes | c->view.marks.disputes;
	lead = " Contradicted: ";
	for (unsigned i = 0; i < DISPUTE_COUNT; i++)
		if (disputes & 1u << i) {
			buf_puts(b, lead);
			buf_puts(b, dispute_text(i));
			lead = "; ";
		}
	if (disputes)
		buf_putc(b, '.');
}

/* What the evidence rules out, whatever else may be lost. */
static void put_excluded(struct buf *b, const struct call_case *c)
{
	const struct leg *leg = c->leg;
	if (leg && leg->direction == DIRECTION_OUTBOUND && leg->witness == WITNESS_TAG)
		buf_puts(b, " sip.callTag comes only with the far side's answer: that excludes busy, declined and unanswered.");
	else if (leg && leg->direction == DIRECTION_OUTBOUND && leg->answer == ANSWER_NO && leg->has_attributes)
		buf_puts(b, " No sip.callTag: that excludes an answer.");
	else if (leg && leg->direction == DIRECTION_INBOUND && leg->witness == WITNESS_AUDIO && leg->answer == ANSWER_YES && !leg->assumed && !leg->bridge_only)
		buf_puts(b, " LiveKit answers when the leg can hear somebody: that excludes a caller who gave up before.");
	else if (!leg && c->presence.overlap_ms > 0)
		buf_puts(b, " They were there at the same time: that excludes a call to which nobody came.");
}

/* What would turn a doubt into knowledge. */
static void put_settles(struct buf *b, const struct call_case *c, const struct rule *r)
{
	if (case_confidence(c, r) == CONFIDENCE_CERTAIN)
		return;
	const struct leg *leg = c->leg;
	if (c->rule_case.direction == RULE_OUT && c->rule_case.answer == ANSWER_MAYBE)
		buf_puts(b, " A mark of the dialer (answered, or its SIP code) would settle it, and so would the watcher, had it asked in time.");
	else if (c->rule_case.direction == RULE_OUT && c->rule_case.answer == ANSWER_NO)
		buf_puts(b, c->rule_case.code == CODE_NONE ? " The dialer's SIP code would settle it." : " A SIP code of the dialer's or the carrier's would settle it.");
	else if (!leg || leg->direction == DIRECTION_INBOUND)
		buf_puts(b, c->rule_case.answer == ANSWER_YES ? " A mark of the agent (ended, transferred) would settle how it ended."
							      : " A mark of the agent (answered) would settle whether anybody talked.");
	else
		buf_puts(b, " A mark of the agent or the carrier (ended) would settle how it ended.");
}

int case_explain(const struct call_case *c, const struct rule *r, struct arena *a, struct verdict *v)
{
	struct words w = { .a = a, .v = v };
	v->evidence = ARENA_ARRAY(a, struct evidence, MAX_EVIDENCE);
	if (!v->evidence)
		return OC_NOMEM;
	if (c->leg) {
		say_end_of_leg(&w, c);
		say_answer_of_leg(&w, c->leg);
	} else {
		say_presence(&w, c);
		say_unseen(&w, c);
	}
	say_room(&w, c);
	_cleanup_buf_ struct buf b = BUF_INIT;
	put_template(&b, c, slice_cstr(r->explanation));
	put_excluded(&b, c);
	put_lacks(&b, c, r);
	put_settles(&b, c, r);
	if (w.failed || buf_failed(&b) || !arena_copy(a, buf_slice(&b), &v->explanation))
		return OC_NOMEM;
	return 0;
}
