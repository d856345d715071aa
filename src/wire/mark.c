/* Marks by one table: a row a member, read and written by the same row. The posted grammar is strict where protojson is lenient: these bodies
 * are written by people against a page, and a misspelt member that is passed over is a witness that nobody hears. Invariant: every slice of
 * an event made here is UTF-8 without NUL and within its limit. Any thread; no state, no clock. */
#include "wire/mark.h"

#include <stdio.h>

#include "base/jsonw.h"
#include "wire/jdoc.h"
#include "wire/jwt.h"
#include "wire/rfc3339.h"

#define MAX_MS (EVENT_MAX_S * 1000 + 999)
#define ID_PREFIX "MK_"
#define ID_HEX 32 /* digits of an event id: 128 bits */

struct reading {
	struct event event;
	int64_t answered_at_ms; /* of the posted grammar only: kind answered and its time in one */
	bool is_mark;           /* the kept grammar's "event" */
};

enum member_kind { MEMBER_ID, MEMBER_TEXT, MEMBER_TIME, MEMBER_INT, MEMBER_CODE, MEMBER_KIND, MEMBER_SOURCE, MEMBER_EVENT };
enum grammar { POSTED = 1, KEPT = 2, BOTH = 3 };

struct member {
	struct slice name;
	enum member_kind kind;
	enum grammar in;
	size_t to;   /* offset in struct reading */
	int64_t max; /* bytes of a text, greatest number */
};

#define AT(member) offsetof(struct reading, event.member)
#define MEMBER(name, kind, in, to, max) { { name, sizeof(name) - 1 }, kind, in, to, max }
/* In the order in which they are written. */
static const struct member members[] = {
	MEMBER("event", MEMBER_EVENT, KEPT, offsetof(struct reading, is_mark), 0),
	MEMBER("kind", MEMBER_KIND, BOTH, AT(mark.kind), 0),
	MEMBER("source", MEMBER_SOURCE, BOTH, AT(mark.source), 0),
	MEMBER("at", MEMBER_TIME, BOTH, AT(mark.at_ms), MAX_MS),
	MEMBER("withinMs", MEMBER_INT, KEPT, AT(mark.within_ms), MAX_MS),
	MEMBER("answeredAt", MEMBER_TIME, POSTED, offsetof(struct reading, answered_at_ms), MAX_MS),
	MEMBER("createdAt", MEMBER_INT, KEPT, AT(created_at_s), EVENT_MAX_S),
	MEMBER("postedAt", MEMBER_TIME, KEPT, AT(mark.posted_ms), MAX_MS),
	MEMBER("roomSid", MEMBER_ID, BOTH, AT(room.sid), EVENT_MAX_ID),
	MEMBER("roomName", MEMBER_ID, BOTH, AT(room.name), EVENT_MAX_NAME),
	MEMBER("callId", MEMBER_ID, BOTH, AT(mark.call_id), EVENT_MAX_ID),
	MEMBER("sipCallId", MEMBER_ID, BOTH, AT(mark.sip_call_id), EVENT_MAX_ID),
	MEMBER("sipCode", MEMBER_CODE, BOTH, AT(mark.sip_code), 699),
	MEMBER("sipText", MEMBER_TEXT, BOTH, AT(mark.sip_text), EVENT_MAX_VALUE),
	MEMBER("value", MEMBER_TEXT, BOTH, AT(mark.value), EVENT_MAX_VALUE),
	MEMBER("userId", MEMBER_ID, KEPT, AT(mark.tenant), EVENT_MAX_VALUE),
};
#define MEMBER_COUNT (sizeof members / sizeof members[0])

struct parser {
	const struct jdoc *j;
	struct arena *arena;
	enum grammar grammar;
	struct reading reading;
	struct slice *ret_message; /* NULL: nobody asks */
};

/* ---- what is wrong ---- */

static int complain(struct parser *p, struct slice member, const char *what)
{
	_cleanup_buf_ struct buf b = BUF_INIT;
	if (!p->ret_message)
		return OC_INVALID;
	if (!slice_is_none(member)) {
		buf_put(&b, member);
		buf_putc(&b, ' ');
	}
	buf_puts(&b, what);
	struct slice message;
	if (buf_failed(&b) || !arena_copy(p->arena, buf_slice(&b), &message))
		return OC_NOMEM;
	*p->ret_message = message;
	return OC_INVALID;
}

static const char *expected_of(const struct member *m, char *space, size_t size)
{
	switch (m->kind) {
	case MEMBER_ID:
		snprintf(space, size, "must be a text of 1 to %lld bytes", (long long)m->max);
		return space;
	case MEMBER_TEXT:
		snprintf(space, size, "must be a text of at most %lld bytes", (long long)m->max);
		return space;
	case MEMBER_TIME:
		return "must be a time as RFC 3339 writes it, such as 2026-11-22T13:12:19.250Z";
	case MEMBER_CODE:
		return "must be a whole number from 100 to 699";
	case MEMBER_KIND:
		return "must be one of answered, sip_result, machine, human, transferred, ended, note";
	case MEMBER_SOURCE:
		return "must be one of dialer, agent, carrier, app";
	case MEMBER_INT:
	case MEMBER_EVENT:
		break;
	}
	return "is not as it should be";
}

/* A member's name is shown as far as it is fit to be. */
static int complain_of_unknown(struct parser *p, uint32_t key)
{
	struct slice name;
	int r = jdoc_text(p->j, key, p->arena, &name);
	if (r == OC_NOMEM)
		return r;
	if (r < 0 || name.n == 0 || name.n > 100)
		name = SLICE("a member");
	return complain(p, name, "is no member of a mark");
}

/* ---- reading ---- */

static bool read_text(struct parser *p, const struct member *m, uint32_t node, struct slice *ret, bool *ret_nomem)
{
	struct slice s;
	if (jdoc_type_of(p->j, node) != JDOC_STRING)
		return false;
	int r = jdoc_text(p->j, node, p->arena, &s);
	*ret_nomem = r == OC_NOMEM;
	if (r < 0 || s.n > (size_t)m->max || (m->kind == MEMBER_ID && s.n == 0))
		return false;
	if (s.n)
		*ret = s;
	return true;
}

static bool read_time(struct slice text, int64_t *ret)
{
	int64_t ms;
	if (!rfc3339_parse(text, &ms) || ms <= 0 || ms > MAX_MS)
		return false;
	*ret = ms;
	return true;
}

static bool read_number(struct parser *p, const struct member *m, uint32_t node, int64_t least, int64_t *ret)
{
	int64_t v;
	if (jdoc_type_of(p->j, node) != JDOC_NUMBER || !slice_to_int64(jdoc_raw(p->j, node), &v) || v < least || v > m->max)
		return false;
	*ret = v;
	return true;
}

static bool read_value(struct parser *p, const struct member *m, uint32_t node, bool *ret_nomem)
{
	struct reading *r = &p->reading;
	struct event_mark *mark = &r->event.mark;
	const struct member word = { .kind = MEMBER_ID, .max = EVENT_MAX_ID };
	struct slice s = SLICE_NONE;
	void *to = (char *)r + m->to;
	int64_t code;
	switch (m->kind) {
	case MEMBER_ID:
	case MEMBER_TEXT:
		return read_text(p, m, node, to, ret_nomem);
	case MEMBER_INT:
		return read_number(p, m, node, 0, to);
	case MEMBER_CODE:
		if (!read_number(p, m, node, 100, &code))
			return false;
		mark->sip_code = (int)code;
		return true;
	case MEMBER_TIME:
	case MEMBER_KIND:
	case MEMBER_SOURCE:
	case MEMBER_EVENT:
		break;
	}
	if (!read_text(p, &word, node, &s, ret_nomem))
		return false;
	if (m->kind == MEMBER_TIME)
		return read_time(s, to);
	if (m->kind == MEMBER_KIND)
		return (mark->kind = mark_kind_from_name(s)) != MARK_NONE;
	if (m->kind == MEMBER_SOURCE) {
		mark->source = mark_source_from_name(s);
		return mark->source != MARK_SOURCE_NONE && (mark->source != MARK_SOURCE_WATCHER || p->grammar == KEPT);
	}
	return r->is_mark = slice_eq(s, SLICE("mark"));
}

static const struct member *find_member(const struct parser *p, uint32_t key)
{
	for (size_t i = 0; i < MEMBER_COUNT; i++)
		if ((members[i].in & p->grammar) && jdoc_text_is(p->j, key, members[i].name))
			return &members[i];
	return NULL;
}

static int read_members(struct parser *p)
{
	for (uint32_t key = jdoc_first(p->j, 0); key < jdoc_end(p->j, 0); key = jdoc_after(p->j, key + 1)) {
		const struct member *m = find_member(p, key);
		bool nomem = false;
		char space[80];
		if (!m)
			return complain_of_unknown(p, key);
		if (jdoc_type_of(p->j, key + 1) == JDOC_NULL || read_value(p, m, key + 1, &nomem))
			continue;
		return nomem ? OC_NOMEM : complain(p, m->name, expected_of(m, space, sizeof space));
	}
	return 0;
}

static int read_document(struct parser *p, struct slice text, struct jdoc *j)
{
	int r = jdoc_parse(text, p->arena, j);
	if (r < 0)
		return r;
	p->j = j;
	p->reading.event = (struct event){ .type = EVENT_MARK, .type_name = SLICE("mark"), .participant.kind = KIND_UNKNOWN };
	if (j->fault != JDOC_OK)
		return complain(p, SLICE("the body:"), jdoc_fault_text(j->fault));
	if (j->count == 0 || jdoc_type_of(j, 0) != JDOC_OBJECT)
		return complain(p, SLICE("the body"), "must be a JSON object");
	return read_members(p);
}

/* ---- the posted grammar ---- */

/* Its kind, where that is left out or said by answeredAt. */
static int settle_kind(struct parser *p)
{
	struct event_mark *m = &p->reading.event.mark;
	if (p->reading.answered_at_ms) {
		if (m->kind != MARK_NONE && m->kind != MARK_ANSWERED)
			return complain(p, SLICE("answeredAt"), "goes with kind answered only");
		if (m->sip_code || m->sip_text.n)
			return complain(p, SLICE("answeredAt"), "and a SIP result are two marks: post them one by one");
		if (m->at_ms && m->at_ms != p->reading.answered_at_ms)
			return complain(p, SLICE("at"), "and answeredAt are two moments");
		m->kind = MARK_ANSWERED;
		m->at_ms = p->reading.answered_at_ms;
	}
	if (m->kind == MARK_NONE && (m->sip_code || m->sip_text.n))
		m->kind = MARK_SIP_RESULT;
	return m->kind == MARK_NONE ? complain(p, SLICE("kind"), "is missing, and neither sipCode, sipText nor answeredAt says it") : 0;
}

static int check_said(struct parser *p)
{
	struct event_mark *m = &p->reading.event.mark;
	if (m->kind != MARK_SIP_RESULT && (m->sip_code || m->sip_text.n))
		return complain(p, m->sip_code ? SLICE("sipCode") : SLICE("sipText"), "goes with kind sip_result only");
	switch (m->kind) {
	case MARK_SIP_RESULT:
		return m->sip_code || m->sip_text.n ? 0 : complain(p, SLICE("sipCode"), "is missing, and sipText too: they are what kind sip_result says");
	case MARK_MACHINE: /* a detector's result in two words that say the opposite */
		return slice_eq_nocase(m->value, SLICE("human")) ? complain(p, SLICE("value"), "human is a kind of its own") : 0;
	case MARK_NOTE:
		return m->value.n ? 0 : complain(p, SLICE("value"), "is missing: it is what kind note says");
	case MARK_NONE:
	case MARK_ANSWERED:
	case MARK_HUMAN:
	case MARK_TRANSFERRED:
	case MARK_ENDED:
		return 0;
	}
	return 0;
}

static int check_call(struct parser *p)
{
	const struct event *e = &p->reading.event;
	int named = !slice_is_none(e->room.sid) + !slice_is_none(e->room.name) + !slice_is_none(e->mark.call_id);
	if (named > 1)
		return complain(p, SLICE_NONE, "roomSid, roomName and callId name the call: only one of them may be there");
	if (named == 0 && slice_is_none(e->mark.sip_call_id))
		return complain(p, SLICE_NONE, "the mark names no call: roomSid, roomName, callId or sipCallId must be there");
	return 0;
}

int mark_parse(struct slice body, struct arena *a, struct event *ret, struct slice *ret_message)
{
	struct parser p = { .arena = a, .grammar = POSTED, .ret_message = ret_message };
	struct jdoc j;
	int r = read_document(&p, body, &j);
	if (r == 0)
		r = check_call(&p);
	if (r == 0)
		r = settle_kind(&p);
	if (r == 0)
		r = check_said(&p);
	if (r < 0)
		return r;
	if (p.reading.event.mark.source == MARK_SOURCE_NONE)
		p.reading.event.mark.source = MARK_SOURCE_APP;
	*ret = p.reading.event;
	return 0;
}

/* ---- its id ---- */

bool mark_key_is_valid(struct slice header, struct slice *ret)
{
	struct slice key = header;
	if (key.n >= 2 && key.p[0] == '"' && key.p[key.n - 1] == '"')
		key = slice_of(key.p + 1, key.n - 2);
	if (key.n < 1 || key.n > MARK_MAX_KEY)
		return false;
	for (size_t i = 0; i < key.n; i++)
		if (key.p[i] < ' ' || key.p[i] > '~')
			return false;
	*ret = key;
	return true;
}

int mark_id(struct slice tenant, struct slice key, struct slice content, struct arena *a, struct slice *ret)
{
	const struct slice prefix = SLICE(ID_PREFIX);
	_cleanup_buf_ struct buf b = BUF_INIT;
	unsigned char hash[32];
	char *id = arena_alloc(a, prefix.n + ID_HEX);
	buf_puts(&b, slice_is_none(key) ? "content" : "key");
	buf_putc(&b, slice_is_none(tenant) ? '\1' : '\0');
	buf_put(&b, tenant);
	buf_putc(&b, '\0');
	buf_put(&b, slice_is_none(key) ? content : key);
	if (!id || buf_failed(&b) || !hash_sha256(buf_slice(&b), hash))
		return OC_NOMEM;
	memcpy(id, prefix.p, prefix.n);
	hex_encode(hash, ID_HEX / 2, id + prefix.n);
	*ret = slice_of(id, prefix.n + ID_HEX);
	return 0;
}

bool mark_unseen_is_named(struct slice json, const struct facts *seen)
{
	const struct slice quoted = SLICE("\"" ID_PREFIX);
	if (slice_is_empty(json))
		return false;
	for (const char *p = json.p, *end = json.p + json.n; (p = memmem(p, (size_t)(end - p), quoted.p, quoted.n)); p++) {
		const char *id = p + 1, *id_end = memchr(id, '"', (size_t)(end - id));
		bool known = false;
		for (size_t i = 0; id_end && seen && i < seen->mark_count; i++)
			known |= slice_eq(seen->marks[i].event_id, slice_of(id, (size_t)(id_end - id)));
		if (!known)
			return true;
	}
	return false;
}

/* ---- the kept grammar ---- */

static void write_member(const struct reading *r, const struct member *m, struct jsonw *w)
{
	const void *from = (const char *)r + m->to;
	const struct event_mark *mark = &r->event.mark;
	const struct slice *text = from;
	const int64_t *number = from;
	switch (m->kind) {
	case MEMBER_ID:
	case MEMBER_TEXT:
		if (text->n) {
			jw_key_slice(w, m->name);
			jw_str(w, *text);
		}
		return;
	case MEMBER_TIME:
	case MEMBER_INT:
		if (*number) {
			jw_key_slice(w, m->name);
			m->kind == MEMBER_TIME ? jw_time_ms(w, *number) : jw_int(w, *number);
		}
		return;
	case MEMBER_CODE:
		if (mark->sip_code) {
			jw_key_slice(w, m->name);
			jw_int(w, mark->sip_code);
		}
		return;
	case MEMBER_KIND:
		jw_key_slice(w, m->name);
		jw_cstr(w, mark_kind_name(mark->kind));
		return;
	case MEMBER_SOURCE:
		jw_key_slice(w, m->name);
		jw_cstr(w, mark_source_name(mark->source));
		return;
	case MEMBER_EVENT:
		jw_key_slice(w, m->name);
		jw_cstr(w, "mark");
		return;
	}
}

void mark_encode(const struct event *e, struct buf *b)
{
	const struct reading r = { .event = *e };
	struct jsonw w = JSONW(b);
	jw_obj(&w);
	for (size_t i = 0; i < MEMBER_COUNT; i++)
		if (members[i].in & KEPT)
			write_member(&r, &members[i], &w);
	jw_obj_end(&w);
}

int mark_decode(struct slice json, struct arena *a, struct event *ret)
{
	struct parser p = { .arena = a, .grammar = KEPT };
	struct jdoc j;
	int r = read_document(&p, json, &j);
	if (r < 0)
		return r;
	const struct reading *reading = &p.reading;
	if (!reading->is_mark || reading->event.mark.kind == MARK_NONE || reading->event.mark.source == MARK_SOURCE_NONE)
		return OC_INVALID;
	*ret = reading->event;
	return 0;
}

/* ---- whatever the journal keeps ---- */

static int is_kept_mark(struct slice payload, struct slice source, struct arena *a, bool *ret)
{
	struct jdoc j;
	*ret = false;
	if (!slice_eq(source, SLICE("mark")) && !slice_eq(source, SLICE("watcher")))
		return 0;
	int r = jdoc_parse(payload, a, &j);
	if (r < 0 || j.count == 0 || jdoc_type_of(&j, 0) != JDOC_OBJECT)
		return r;
	uint32_t event = jdoc_member(&j, 0, SLICE("event"));
	*ret = event && jdoc_type_of(&j, event) == JDOC_STRING && jdoc_text_is(&j, event, SLICE("mark"));
	return 0;
}

int decode_kept(struct slice payload, struct slice source, struct slice event_id, const struct decode_options *options, struct arena *a,
	struct decoded *ret)
{
	struct decode_options o = *options;
	struct decoded d = { .payload = payload };
	bool mark;
	int r = is_kept_mark(payload, source, a, &mark);
	if (r == 0 && mark) {
		r = mark_decode(payload, a, &d.event);
		if (r == OC_INVALID) {
			d.event = (struct event){ .type = EVENT_MARK, .type_name = SLICE("mark"), .participant.kind = KIND_UNKNOWN };
			d.cause = DECODE_WRONG_TYPE;
			r = 0;
		}
	} else if (r == 0) {
		o.iso_times = o.iso_times || slice_eq(source, SLICE("hmac"));
		r = decode_event(payload, &o, a, &d);
	}
	if (r < 0)
		return r;
	d.event.id = event_id;
	*ret = d;
	return 0;
}
