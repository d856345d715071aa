/* See ladder.h. Every text from outside goes through terminal_clean. Main thread only. */
#include "cmd/ladder.h"

#include <stdio.h>
#include <stdlib.h>

#define TIME_COLUMNS 12
#define LANE_LEAST 16
#define LANE_GAP 2
#define TITLE_LINES 3

struct seen_session {
	struct slice sid;
	bool alive;
};

struct lane {
	const struct detail_leg *leg; /* NULL: LiveKit's own */
	struct slice title[TITLE_LINES];
	struct seen_session *sessions;
	size_t session_count;
	bool open;                    /* LiveKit's: the room is there */
	size_t width;
};

struct rung {
	const struct told *told;
	size_t lane;
	struct slice time, text;
	bool begins, ends, mark;
};

struct ladder {
	const struct terminal *t;
	const struct timeline *line;
	const struct detail *d;
	struct arena *a;
	struct lane *lanes;
	size_t lane_count;
	struct rung *rungs;
	size_t rung_count;
};

/* ---- lanes ---- */

const char *ladder_kind(const struct detail_leg *leg)
{
	if (leg->phone)
		return leg->phone->direction == DIRECTION_INBOUND ? "SIP inbound" : "SIP outbound";
	if (leg->kind == KIND_STANDARD)
		return "web user";
	const char *name = participant_kind_name(leg->kind);
	return name ? name : "unknown";
}

static int set_title(struct ladder *l, struct lane *lane, size_t line, struct slice text)
{
	return slice_is_empty(text) ? 0 : terminal_clean(l->t, text, true, l->a, &lane->title[line]);
}

/* The lane that this identity has already; a phone leg is always a lane of its own. */
static struct lane *lane_of_identity(struct ladder *l, const struct detail_leg *leg)
{
	for (size_t i = 1; i < l->lane_count; i++)
		if (!leg->phone && !l->lanes[i].leg->phone && leg->identity.n && slice_eq(l->lanes[i].leg->identity, leg->identity))
			return &l->lanes[i];
	return NULL;
}

static int add_sessions(struct ladder *l, struct lane *lane, const struct detail_leg *leg)
{
	struct seen_session *all = ARENA_ARRAY(l->a, struct seen_session, lane->session_count + leg->sid_count);
	if (!all)
		return OC_NOMEM;
	if (lane->session_count)
		memcpy(all, lane->sessions, lane->session_count * sizeof *all);
	for (size_t i = 0; i < leg->sid_count; i++)
		all[lane->session_count++].sid = leg->sids[i];
	lane->sessions = all;
	return 0;
}

static int make_lanes(struct ladder *l)
{
	l->lanes = ARENA_ARRAY(l->a, struct lane, l->d->leg_count + 1);
	if (!l->lanes)
		return OC_NOMEM;
	l->lanes[l->lane_count++].title[0] = SLICE("LiveKit");
	for (size_t i = 0; i < l->d->leg_count; i++) {
		const struct detail_leg *leg = &l->d->legs[i];
		struct lane *lane = lane_of_identity(l, leg);
		if (!lane) {
			lane = &l->lanes[l->lane_count++];
			lane->leg = leg;
			int r = set_title(l, lane, 0, slice_cstr(ladder_kind(leg)));
			if (r == 0)
				r = set_title(l, lane, 1, leg->identity);
			bool named = leg->phone && leg->phone->phone_number.n &&
				     memmem(leg->identity.p ? leg->identity.p : "", leg->identity.n, leg->phone->phone_number.p, leg->phone->phone_number.n);
			if (r == 0 && leg->phone && !named)
				r = set_title(l, lane, 2, leg->phone->phone_number);
			if (r < 0)
				return r;
		}
		int r = add_sessions(l, lane, leg);
		if (r < 0)
			return r;
	}
	return 0;
}

static size_t lane_of_sid(const struct ladder *l, struct slice sid)
{
	for (size_t i = 1; i < l->lane_count && sid.n; i++)
		for (size_t k = 0; k < l->lanes[i].session_count; k++)
			if (slice_eq(l->lanes[i].sessions[k].sid, sid))
				return i;
	return 0;
}

static const struct detail_witness *witness_of(const struct ladder *l, struct slice event_id)
{
	for (size_t i = 0; i < l->d->witness_count; i++)
		if (slice_eq(l->d->witnesses[i].mark->event_id, event_id))
			return &l->d->witnesses[i];
	return NULL;
}

static size_t lane_of_leg(const struct ladder *l, const struct detail_leg *leg)
{
	for (size_t i = 1; i < l->lane_count; i++)
		if (leg && l->lanes[i].leg == leg)
			return i;
	return 0;
}

/* ---- rungs ---- */

static void put_words(struct buf *b, const char *word)
{
	if (word) {
		buf_putc(b, ' ');
		buf_puts(b, word);
	}
}

static void put_participant(struct buf *b, const struct event *e, const char *what, size_t lane)
{
	const struct event_participant *p = &e->participant;
	if (lane == 0) { /* somebody who is no party */
		buf_put(b, p->identity);
		buf_putc(b, ' ');
	}
	buf_puts(b, what);
	put_words(b, sip_status_name(p->sip_status));
	if (e->type == EVENT_PARTICIPANT_JOINED)
		return;
	put_words(b, disconnect_reason_name(p->disconnect_reason));
	if (p->sip_call_tag && p->sip_rule_id.n == 0)
		put_words(b, "+callTag");
}

static void put_egress(struct buf *b, const struct event *e)
{
	const char *status = egress_status_name(e->egress.status);
	buf_puts(b, "recording");
	put_words(b, status && strncmp(status, "EGRESS_", 7) == 0 ? status + 7 : status);
	if (e->egress.error.n) {
		buf_puts(b, ": ");
		buf_put(b, e->egress.error);
	}
}

static void put_mark(struct buf *b, const struct event_mark *m, const struct detail_witness *w)
{
	const char *source = mark_source_name(m->source), *kind = mark_kind_name(m->kind);
	buf_puts(b, source ? source : "a witness");
	buf_puts(b, ": ");
	if (m->kind == MARK_SIP_RESULT)
		buf_puts(b, "SIP");
	else
		buf_puts(b, kind ? kind : "says");
	if (m->sip_code) {
		buf_putc(b, ' ');
		buf_put_int(b, m->sip_code);
	}
	for (int i = 0; i < 2; i++) {
		struct slice text = i ? m->value : m->sip_text;
		if (text.n) {
			buf_putc(b, ' ');
			buf_put(b, text);
		}
	}
	if (m->within_ms > 0)
		buf_putf(b, " (within %lld ms)", (long long)m->within_ms);
	if (w && w->superseded)
		buf_puts(b, " (superseded)");
	if (w && w->contradicted)
		buf_puts(b, " (contradicted)");
}

static void put_event(struct buf *b, const struct told *t, size_t lane, const struct detail_witness *w)
{
	const struct event *e = &t->decoded.event;
	switch (e->type) {
	case EVENT_ROOM_STARTED:
		buf_puts(b, "room started");
		break;
	case EVENT_ROOM_FINISHED:
		buf_puts(b, "room finished");
		if (e->room_end_reason != ROOM_END_UNKNOWN)
			put_words(b, room_end_reason_name(e->room_end_reason));
		break;
	case EVENT_PARTICIPANT_JOINED:
		put_participant(b, e, "joined", lane);
		break;
	case EVENT_PARTICIPANT_LEFT:
		put_participant(b, e, "left", lane);
		break;
	case EVENT_PARTICIPANT_ABORTED:
		put_participant(b, e, "never got through", lane);
		break;
	case EVENT_TRACK_PUBLISHED:
		buf_puts(b, e->track.audio ? "audio on" : "video on");
		break;
	case EVENT_TRACK_UNPUBLISHED:
		buf_puts(b, e->track.audio ? "audio off" : "video off");
		break;
	case EVENT_EGRESS_STARTED:
	case EVENT_EGRESS_UPDATED:
	case EVENT_EGRESS_ENDED:
		put_egress(b, e);
		break;
	case EVENT_MARK:
		put_mark(b, &e->mark, w);
		break;
	case EVENT_UNKNOWN:
	case EVENT_INGRESS_STARTED:
	case EVENT_INGRESS_ENDED:
	case EVENT_AGENT_JOB_STARTED:
	case EVENT_AGENT_JOB_ENDED:
		buf_put(b, e->type_name);
		break;
	}
	if (t->decoded.cause != DECODE_OK)
		buf_putf(b, " (%s)", decode_cause_text(t->decoded.cause));
	else if (t->error.n) {
		buf_puts(b, " (aside: ");
		buf_put(b, t->error);
		buf_putc(b, ')');
	}
}

/* From the first moment; what is known to the second only has a sign before it. */
static int put_time(struct ladder *l, const struct told *t, struct slice *ret)
{
	int64_t first = l->line->rows[0]->at_ms, ms = t->at_ms - first;
	char text[48];
	const char *about = t->exact ? " " : l->t->utf8 ? "\xe2\x89\x88" : "~";
	if (ms < 3600 * 1000)
		snprintf(text, sizeof text, "%s%lld.%03d", about, (long long)(ms / 1000), (int)(ms % 1000));
	else if (ms < 100 * 3600000LL)
		snprintf(text, sizeof text, "%s%lld:%02d:%02d", about, (long long)(ms / 3600000), (int)(ms / 60000 % 60), (int)(ms / 1000 % 60));
	else
		snprintf(text, sizeof text, "%s%lld d", about, (long long)(ms / 86400000));
	return arena_copy(l->a, slice_cstr(text), ret) ? 0 : OC_NOMEM;
}

static int make_rung(struct ladder *l, const struct told *t, struct rung *r)
{
	_cleanup_buf_ struct buf b = BUF_INIT;
	const struct event *e = &t->decoded.event;
	const struct detail_witness *w = e->type == EVENT_MARK ? witness_of(l, e->id) : NULL;
	*r = (struct rung){ .told = t, .lane = w ? lane_of_leg(l, w->leg) : lane_of_sid(l, e->participant.sid), .mark = e->type == EVENT_MARK };
	r->begins = e->type == EVENT_ROOM_STARTED || e->type == EVENT_PARTICIPANT_JOINED;
	r->ends = e->type == EVENT_ROOM_FINISHED || e->type == EVENT_PARTICIPANT_LEFT || e->type == EVENT_PARTICIPANT_ABORTED;
	if (r->lane == 0 && e->type != EVENT_ROOM_STARTED && e->type != EVENT_ROOM_FINISHED)
		r->begins = r->ends = false;
	put_event(&b, t, r->lane, w);
	if (buf_failed(&b) || terminal_clean(l->t, buf_slice(&b), true, l->a, &r->text) < 0)
		return OC_NOMEM;
	return put_time(l, t, &r->time);
}

static int make_rungs(struct ladder *l)
{
	l->rungs = ARENA_ARRAY(l->a, struct rung, l->line->count);
	if (!l->rungs)
		return OC_NOMEM;
	for (size_t i = 0; i < l->line->count; i++) {
		int r = make_rung(l, l->line->rows[i], &l->rungs[l->rung_count++]);
		if (r < 0)
			return r;
	}
	return 0;
}

/* ---- drawing ---- */

enum glyph { GLYPH_BEGIN, GLYPH_END, GLYPH_ON, GLYPH_LINE, GLYPH_MARK, GLYPH_CUT };

static struct slice glyph(const struct ladder *l, enum glyph g)
{
	static const char *const drawn[] = { "\xe2\x94\xac", "\xe2\x94\xb4", "\xe2\x94\x9c", "\xe2\x94\x82", "\xe2\x97\x86", "\xe2\x80\xa6" };
	static const char *const plain[] = { "+", "+", "+", "|", "*", "~" };
	return slice_cstr(l->t->utf8 ? drawn[g] : plain[g]);
}

static void put_blanks(struct buf *out, size_t n)
{
	while (n-- > 0)
		buf_putc(out, ' ');
}

/* Each lane as wide as its widest text where that fits; else the widest give way. False: it cannot be. */
static bool fit(struct ladder *l)
{
	size_t room = l->t->columns - TIME_COLUMNS, sum = 0;
	for (size_t i = 0; i < l->lane_count; i++) {
		struct lane *lane = &l->lanes[i];
		lane->width = LANE_LEAST;
		for (size_t k = 0; k < TITLE_LINES; k++)
			if (terminal_width(lane->title[k]) + LANE_GAP > lane->width)
				lane->width = terminal_width(lane->title[k]) + LANE_GAP;
		for (size_t k = 0; k < l->rung_count; k++)
			if (l->rungs[k].lane == i && terminal_width(l->rungs[k].text) + 2 + LANE_GAP > lane->width)
				lane->width = terminal_width(l->rungs[k].text) + 2 + LANE_GAP;
		sum += lane->width;
	}
	while (sum > room) {
		size_t widest = 0;
		for (size_t i = 1; i < l->lane_count; i++)
			if (l->lanes[i].width > l->lanes[widest].width)
				widest = i;
		if (l->lanes[widest].width <= LANE_LEAST)
			return false;
		l->lanes[widest].width--;
		sum--;
	}
	return true;
}

static bool is_alive(const struct lane *lane)
{
	bool alive = lane->open;
	for (size_t i = 0; i < lane->session_count; i++)
		alive |= lane->sessions[i].alive;
	return alive;
}

static void live(struct lane *lane, const struct rung *r)
{
	if (!lane->leg) {
		lane->open = !r->ends;
		return;
	}
	for (size_t i = 0; i < lane->session_count; i++)
		if (slice_eq(lane->sessions[i].sid, r->told->decoded.event.participant.sid))
			lane->sessions[i].alive = !r->ends;
}

/* The lifelines of all lanes but one, up to where its text begins, or to the line's end. */
static void put_lifelines(const struct ladder *l, size_t from, size_t to, struct buf *out)
{
	for (size_t i = from; i < to; i++) {
		if (is_alive(&l->lanes[i]))
			terminal_put(l->t, out, STYLE_FAINT, glyph(l, GLYPH_LINE));
		else
			buf_putc(out, ' ');
		put_blanks(out, l->lanes[i].width - 1);
	}
}

static void end_line(struct buf *out)
{
	while (out->n && out->p[out->n - 1] == ' ')
		out->n--;
	buf_putc(out, '\n');
}

static enum terminal_style style_of(const struct rung *r)
{
	if (r->mark)
		return STYLE_DOUBTFUL;
	if (r->told->error.n || r->told->decoded.cause != DECODE_OK)
		return STYLE_BAD;
	return r->begins || r->ends ? STYLE_STRONG : STYLE_PLAIN;
}

static void put_rung(struct ladder *l, const struct rung *r, struct buf *out)
{
	struct lane *lane = &l->lanes[r->lane];
	struct slice rest = r->text;
	bool was_alive = is_alive(lane);
	for (bool first = true; first || rest.n; first = false) {
		struct slice time = first ? r->time : SLICE("");
		size_t used = terminal_width(time);
		put_blanks(out, used < TIME_COLUMNS - 2 ? TIME_COLUMNS - 2 - used : 0);
		terminal_put(l->t, out, STYLE_FAINT, time);
		put_blanks(out, 2);
		put_lifelines(l, 0, r->lane, out);
		if (first && !r->mark)
			live(lane, r);
		enum glyph sign = r->mark ? GLYPH_MARK : r->begins && !was_alive ? GLYPH_BEGIN : r->ends && !is_alive(lane) ? GLYPH_END : GLYPH_ON;
		if (first || is_alive(lane))
			terminal_put(l->t, out, STYLE_FAINT, glyph(l, first ? sign : GLYPH_LINE));
		else
			buf_putc(out, ' ');
		buf_putc(out, ' ');
		bool last = r->lane + 1 == l->lane_count;
		struct slice text = terminal_line(&rest, lane->width - 2 - (last ? 0 : LANE_GAP));
		terminal_put(l->t, out, style_of(r), text);
		size_t filled = 2 + terminal_width(text);
		put_blanks(out, filled < lane->width ? lane->width - filled : 0);
		put_lifelines(l, r->lane + 1, l->lane_count, out);
		end_line(out);
	}
}

static void put_titles(struct ladder *l, struct buf *out)
{
	for (size_t k = 0; k < TITLE_LINES; k++) {
		bool any = false;
		for (size_t i = 0; i < l->lane_count; i++)
			any |= l->lanes[i].title[k].n > 0;
		if (!any)
			continue;
		put_blanks(out, TIME_COLUMNS);
		for (size_t i = 0; i < l->lane_count; i++) {
			struct slice rest = l->lanes[i].title[k], text;
			size_t room = l->lanes[i].width - LANE_GAP;
			text = terminal_line(&rest, terminal_width(rest) > room ? room - 1 : room);
			terminal_put(l->t, out, k == 0 ? STYLE_STRONG : STYLE_PLAIN, text);
			if (rest.n)
				buf_put(out, glyph(l, GLYPH_CUT));
			size_t filled = terminal_width(text) + (rest.n > 0);
			put_blanks(out, filled < l->lanes[i].width ? l->lanes[i].width - filled : 0);
		}
		end_line(out);
	}
}

/* Too narrow for columns: who, and what. */
static int put_list(struct ladder *l, struct buf *out)
{
	for (size_t i = 0; i < l->rung_count; i++) {
		const struct rung *r = &l->rungs[i];
		const struct lane *lane = &l->lanes[r->lane];
		_cleanup_buf_ struct buf line = BUF_INIT, first = BUF_INIT;
		size_t used = terminal_width(r->time);
		put_blanks(&first, used < TIME_COLUMNS - 2 ? TIME_COLUMNS - 2 - used : 0);
		buf_put(&first, r->time);
		put_blanks(&first, 2);
		buf_put(&line, lane->title[lane->title[1].n ? 1 : 0]);
		buf_puts(&line, ": ");
		buf_put(&line, r->text);
		if (buf_failed(&line) || buf_failed(&first))
			return OC_NOMEM;
		terminal_paragraph(l->t, out, STYLE_PLAIN, buf_slice(&first), buf_slice(&line));
	}
	return 0;
}

int ladder_write(const struct terminal *t, const struct timeline *line, const struct detail *d, struct arena *a, struct buf *out)
{
	struct ladder l = { .t = t, .line = line, .d = d, .a = a };
	int r = make_lanes(&l);
	if (r == 0 && line->count)
		r = make_rungs(&l);
	if (r < 0)
		return r;
	if (!fit(&l))
		return put_list(&l, out);
	put_titles(&l, out);
	for (size_t i = 0; i < l.rung_count; i++)
		put_rung(&l, &l.rungs[i], out);
	return buf_failed(out) ? OC_NOMEM : 0;
}
