/* Verdicts as JSON, their names, and the tables of docs/VERDICTS.md, which are made from the rules themselves. Pure; any thread. */
#include "core/rules.h"

#define X(name, e) case e: return name;
const char *outcome_name(enum outcome o)
{
	switch (o) {
	case OUTCOME_NONE:
		return NULL;
	OUTCOMES(X)
	}
	return NULL;
}

const char *confidence_name(enum confidence c)
{
	switch (c) {
	case CONFIDENCE_NONE:
		return NULL;
	CONFIDENCES(X)
	}
	return NULL;
}

const char *fault_name(enum fault f)
{
	switch (f) {
	FAULTS(X)
	}
	return NULL;
}
#undef X

const char *verdict_reason_name(enum verdict_reason r)
{
	switch (r) {
	case VERDICT_REASON_NONE:
		return NULL;
#define X(name, e, text) case e: return name;
	REASONS(X)
#undef X
	}
	return NULL;
}

const char *direction_name(enum direction d)
{
	switch (d) {
	case DIRECTION_UNKNOWN:
		return NULL;
	case DIRECTION_INBOUND:
		return "inbound";
	case DIRECTION_OUTBOUND:
		return "outbound";
	case DIRECTION_WEB:
		return "web";
	}
	return NULL;
}

const char *call_status_name(enum call_status s)
{
	switch (s) {
	case CALL_ACTIVE:
		return "active";
	case CALL_ENDED:
		return "ended";
	}
	return NULL;
}

enum outcome outcome_from_name(struct slice name)
{
#define X(text, e) if (slice_eq_cstr(name, text)) return e;
	OUTCOMES(X)
#undef X
	return OUTCOME_NONE;
}

enum verdict_reason verdict_reason_from_name(struct slice name)
{
#define X(text, e, words) if (slice_eq_cstr(name, text)) return e;
	REASONS(X)
#undef X
	return VERDICT_REASON_NONE;
}

/* ---- JSON ---- */

static void key_cstr(struct jsonw *w, const char *key, const char *value)
{
	jw_key(w, key);
	jw_cstr(w, value);
}

static void key_time(struct jsonw *w, const char *key, int64_t ms)
{
	jw_key(w, key);
	jw_time_ms(w, ms);
}

static void key_seconds(struct jsonw *w, const char *key, int64_t s)
{
	jw_key(w, key);
	if (s < 0)
		jw_null(w);
	else
		jw_int(w, s);
}

void verdict_write_members(const struct verdict *v, struct jsonw *w)
{
	key_cstr(w, "outcome", outcome_name(v->outcome));
	key_cstr(w, "reason", verdict_reason_name(v->reason));
	key_cstr(w, "confidence", confidence_name(v->confidence));
	jw_key(w, "alternatives");
	jw_arr(w);
	for (size_t i = 0; i < v->alternative_count; i++) {
		jw_obj(w);
		key_cstr(w, "outcome", outcome_name(v->alternatives[i].outcome));
		key_cstr(w, "reason", verdict_reason_name(v->alternatives[i].reason));
		jw_obj_end(w);
	}
	jw_arr_end(w);
	key_cstr(w, "fault", v->outcome == OUTCOME_NONE ? NULL : fault_name(v->fault));
	jw_key(w, "evidence");
	jw_arr(w);
	for (size_t i = 0; i < v->evidence_count; i++) {
		jw_obj(w);
		jw_key(w, "eventId");
		jw_str(w, v->evidence[i].event_id);
		jw_key(w, "says");
		jw_str(w, v->evidence[i].says);
		jw_obj_end(w);
	}
	jw_arr_end(w);
	jw_key(w, "rule");
	jw_str(w, v->rule);
	jw_key(w, "rules");
	jw_int(w, v->rules);
	key_cstr(w, "rawOutcome", outcome_name(v->raw_outcome));
	jw_key(w, "explanation");
	jw_str(w, v->explanation);
	key_time(w, "answeredAt", v->answered_at_ms);
	key_time(w, "answeredAtEarliest", v->answered_at_earliest_ms);
	key_time(w, "answeredAtLatest", v->answered_at_latest_ms);
	jw_key(w, "answeredSource");
	jw_str(w, v->answered_source);
	key_seconds(w, "ringSeconds", v->ring_seconds);
	key_seconds(w, "talkSeconds", v->talk_seconds);
}

/* ---- docs ---- */

static void put_pair(struct buf *b, enum outcome o, enum verdict_reason r)
{
	buf_puts(b, outcome_name(o));
	buf_puts(b, " / ");
	buf_puts(b, verdict_reason_name(r));
}

/* "a, b" of the bits of a mask that have names; "any" for all of them. */
static void put_reasons(struct buf *b, unsigned mask)
{
	const unsigned ALL = (2u << REASON_AGENT_ERROR) - 1;
	bool but = false;
	if ((mask & ALL) == ALL) {
		buf_puts(b, mask & RULE_NO_LEAVE ? "any" : "any leave");
		return;
	}
	if ((mask & ALL) && __builtin_popcount(mask & ALL) > 9) {
		buf_puts(b, mask & RULE_NO_LEAVE ? "any but " : "any leave but ");
		mask = ~mask & ALL;
		but = true;
	}
	bool more = false;
	for (int r = REASON_UNKNOWN; r <= REASON_AGENT_ERROR; r++)
		if (mask & RULE_REASON(r)) {
			buf_puts(b, more ? ", " : "");
			buf_puts(b, disconnect_reason_name((enum disconnect_reason)r));
			more = true;
		}
	if (!but && mask & RULE_NO_LEAVE) {
		buf_puts(b, more ? ", " : "");
		buf_puts(b, "no leave seen");
	}
}

static void put_conditions(struct buf *b, const struct rule *r)
{
	const unsigned ALL_STATUSES = (2u << STATUS_HANGUP) - 1;
	put_reasons(b, r->reason);
	if ((r->status & ALL_STATUSES) != ALL_STATUSES) {
		buf_puts(b, "; status ");
		for (unsigned s = STATUS_DIALING, more = 0; s <= STATUS_HANGUP; s++)
			if (r->status & RULE_STATUS(s)) {
				buf_puts(b, more++ ? ", " : "");
				buf_puts(b, sip_status_name((enum sip_status)s));
			}
	}
	if (r->min_s && r->max_s)
		buf_putf(b, "; after %d to %d s", (int)r->min_s, (int)r->max_s);
	else if (r->min_s)
		buf_putf(b, "; after %d s or more", (int)r->min_s);
	else if (r->max_s)
		buf_putf(b, "; after %d s at most", (int)r->max_s);
	bool any_code = __builtin_popcount(r->codes) > 3, asks = r->codes && !(r->codes & 1u << CODE_NONE);
	if (asks && any_code)
		buf_puts(b, "; any result of a witness");
	for (unsigned c = CODE_NONE + 1; asks && !any_code && c <= CODE_OTHER; c++)
		if (r->codes & 1u << c) {
			buf_puts(b, "; ");
			buf_puts(b, code_class_text((enum code_class)c));
		}
	for (unsigned i = 0; rules_flag_text(i); i++)
		if (r->flags & 1u << i) {
			buf_puts(b, "; ");
			buf_puts(b, rules_flag_text(i));
		}
}

static void put_bits(struct buf *b, unsigned mask, const unsigned *bits, const char *const *names, size_t n)
{
	bool more = false;
	for (size_t i = 0; i < n; i++)
		if (mask & bits[i]) {
			buf_puts(b, more ? ", " : "");
			buf_puts(b, names[i]);
			more = true;
		}
}

static void put_rule(struct buf *b, const struct rule *r)
{
	static const unsigned WAYS[] = { RULE_OUT, RULE_IN, RULE_WEB }, ANSWERS[] = { ANSWER_YES, ANSWER_MAYBE, ANSWER_NO };
	static const char *const WAY_NAMES[] = { "outbound", "inbound", "web" }, *const ANSWER_NAMES[] = { "yes", "unclear", "no" };
	buf_puts(b, "| `");
	buf_puts(b, r->name);
	buf_puts(b, "` | ");
	put_bits(b, r->direction, WAYS, WAY_NAMES, 3);
	buf_puts(b, " | ");
	put_bits(b, r->answer, ANSWERS, ANSWER_NAMES, 3);
	buf_puts(b, " | ");
	put_conditions(b, r);
	buf_puts(b, " | ");
	put_pair(b, r->outcome, r->why);
	buf_puts(b, " | ");
	buf_puts(b, confidence_name(r->confidence));
	buf_puts(b, " | ");
	for (size_t i = 0; i < RULE_ALTERNATIVES && r->alternatives[i].outcome; i++) {
		buf_puts(b, i ? ", " : "");
		put_pair(b, r->alternatives[i].outcome, r->alternatives[i].reason);
	}
	buf_puts(b, " | ");
	buf_puts(b, fault_name(r->fault));
	buf_puts(b, " |\n");
}

void verdict_write_docs(struct buf *b)
{
	size_t n;
	const struct rule *rows = rules_table(&n);
	buf_puts(b, "### Reasons\n\n| reason | with | meaning |\n|---|---|---|\n");
#define X(name, e, text) \
	buf_puts(b, "| `" name "` | "); \
	for (unsigned o = OUTCOME_COMPLETED, more = 0; o <= OUTCOME_UNKNOWN; o++) { \
		bool used = false; \
		for (size_t i = 0; i < n; i++) \
			used |= rows[i].why == e && rows[i].outcome == o; \
		if (used) \
			buf_putf(b, "%s%s", more++ ? ", " : "", outcome_name((enum outcome)o)); \
	} \
	buf_puts(b, " | " text " |\n");
	REASONS(X)
#undef X
	buf_puts(b, "\n### What \"certain\" needs\n\nA row that says certain says likely instead where\n\n");
	for (unsigned i = 0; i < NEED_COUNT; i++)
		buf_putf(b, "- %s%s\n", rules_need(i)->text, i + 1 < NEED_COUNT ? ";" : ".");
	buf_puts(b, "\n### Rules\n\nThe first row that fits fires.\n\n"
		"| rule | direction | answered | seen | outcome / reason | confidence | may also be | fault |\n|---|---|---|---|---|---|---|---|\n");
	for (size_t i = 0; i < n; i++)
		put_rule(b, &rows[i]);
}
