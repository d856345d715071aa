/* A verdict in words: the evidence, event by event, and the sentence for people. Nothing in here names a number or an identity. Pure. */
#include "core/case.h"

#define MAX_EVIDENCE 12

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

static void say_answer_of_leg(struct words *w, const struct leg *leg)
{
	if (leg->answer_mark)
		say(w, leg->answer_mark->event_id, "answered, says ", source_words(leg->answer_mark));
	if (leg->witness == WITNESS_AUDIO)
		say(w, leg->answer_seen.event_id, "audio of ", leg->bridge_only ? "a phone leg that nobody answered" : "another party",
			leg->answer == ANSWER_YES ? " while the leg was there" : " about the time of the leg");
	if (leg->witness == WITNESS_LEG)
		say(w, leg->answer_seen.event_id, "another phone leg came while the leg was there");
	if (leg->witness == WITNESS_NONE && leg->direction == DIRECTION_INBOUND)
		say(w, SLICE_NONE, "no audio of another party while the leg was there");
	if (leg->code_mark) {
		int code = leg->code_mark->mark.sip_code;
		const char digits[] = { (char)('0' + code / 100 % 10), (char)('0' + code / 10 % 10), (char)('0' + code % 10), '\0' };
		say(w, leg->code_mark->event_id, "SIP ", digits, ", says ", source_words(leg->code_mark));
	}
	if (leg->machine_mark)
		say(w, leg->machine_mark->event_id, "a machine, says ", source_words(leg->machine_mark));
	if (leg->transfer_mark)
		say(w, leg->transfer_mark->event_id, "transferred, says ", source_words(leg->transfer_mark));
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

static void say_room(struct words *w, const struct call_case *c)
{
	const struct facts *f = c->view.facts;
	if (c->failed_agent)
		say(w, c->failed_agent->ended.event_id, "AGENT_ERROR of an agent");
	if (c->view.ended_mark)
		say(w, c->view.ended_mark->event_id, "ended, says ", source_words(c->view.ended_mark));
	if (!c->view.finished)
		say(w, SLICE_NONE, "no room_finished");
	else if (f->end_reason != ROOM_END_UNKNOWN)
		say(w, f->finished.event_id, "room_finished, ", room_end_reason_name(f->end_reason));
	else
		say(w, f->finished.event_id, "room_finished");
}

/* ---- the sentence ---- */

static void put_value(struct buf *b, const struct call_case *c, struct slice name)
{
	if (slice_eq(name, SLICE("reason")))
		buf_puts(b, c->end ? disconnect_reason_name(c->end->left_reason) : "no leave seen");
	else if (slice_eq(name, SLICE("status")))
		buf_puts(b, status_words(c->rule_case.status));
	else if (slice_eq(name, SLICE("seconds")))
		buf_put_int(b, c->rule_case.elapsed_s > 0 ? c->rule_case.elapsed_s : 0);
	else if (slice_eq(name, SLICE("code")) && c->leg && c->leg->code_mark)
		buf_put_int(b, c->leg->code_mark->mark.sip_code);
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
	}
	say_room(&w, c);
	_cleanup_buf_ struct buf b = BUF_INIT;
	put_template(&b, c, slice_cstr(r->explanation));
	put_lacks(&b, c, r);
	if (w.failed || buf_failed(&b) || !arena_copy(a, buf_slice(&b), &v->explanation))
		return OC_NOMEM;
	return 0;
}
