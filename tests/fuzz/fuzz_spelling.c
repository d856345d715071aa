/* One event in all its spellings: the input is eight bytes of choices and a body. A body that is read without complaint is written again with names in
 * their other spelling, numbers as texts, texts as numbers, enums by number or by name, letters escaped, members in another order, nulls and
 * unknown members between them, blanks everywhere. It must be read as the same event; that is what protojson promises its readers. */
#include "must.h"

#include "base/jsonw.h"
#include "wire/decode.h"
#include "wire/jdoc.h"

static const struct slice tenant_keys[] = { { "user_id", 7 }, { "userId", 6 }, { "tenant", 6 } };
static const struct decode_options options = { tenant_keys, 3, false };

/* What protojson may write in two ways: names with an underscore, whole numbers, enums. */
static const char *const names[][2] = {
	{ "createdAt", "created_at" }, { "roomEndReason", "room_end_reason" }, { "egressInfo", "egress_info" }, { "ingressInfo", "ingress_info" },
	{ "creationTime", "creation_time" }, { "creationTimeMs", "creation_time_ms" }, { "emptyTimeout", "empty_timeout" },
	{ "departureTimeout", "departure_timeout" }, { "joinedAt", "joined_at" }, { "joinedAtMs", "joined_at_ms" },
	{ "disconnectReason", "disconnect_reason" }, { "unixMicro", "unix_micro" }, { "egressId", "egress_id" }, { "roomId", "room_id" },
	{ "roomName", "room_name" }, { "startedAt", "started_at" }, { "endedAt", "ended_at" }, { "fileResults", "file_results" },
};
static const char *const whole[] = { "createdAt", "creationTime", "creationTimeMs", "emptyTimeout", "departureTimeout", "joinedAt", "joinedAtMs", "unixMicro",
	"startedAt", "endedAt" };

struct enum_value {
	const char *field;
	int number;
	const char *name;
};
static const struct enum_value enums[] = {
#define X(number, name, e) { "disconnectReason", number, name },
	DISCONNECT_REASONS(X)
#undef X
#define X(number, name, e) { "kind", number, name },
	PARTICIPANT_KINDS(X)
#undef X
#define X(number, name, e) { "roomEndReason", number, name },
	ROOM_END_REASONS(X)
#undef X
#define X(number, name, e) { "status", number, name },
	EGRESS_STATUSES(X)
#undef X
	{ "type", 0, "AUDIO" }, { "type", 1, "VIDEO" }, { "type", 2, "DATA" },
};

struct writer {
	const struct jdoc *j;
	struct arena *arena;
	struct buf out;
	uint64_t choices;
};

static unsigned choose(struct writer *w, unsigned n)
{
	w->choices ^= w->choices << 13;
	w->choices ^= w->choices >> 7;
	w->choices ^= w->choices << 17;
	return (unsigned)((w->choices >> 11) % n);
}

static void blanks(struct writer *w)
{
	static const char *const some[] = { "", "", "", " ", "\n\t", "\r\n  " };
	buf_puts(&w->out, some[choose(w, 6)]);
}

/* The text, some of its letters by their code points. */
static void put_text(struct writer *w, struct slice text)
{
	buf_putc(&w->out, '"');
	for (size_t i = 0; i < text.n; i++) {
		unsigned char c = (unsigned char)text.p[i];
		if (c < ' ' || c == '"' || c == '\\' || (c < 0x7f && choose(w, 16) == 0))
			buf_putf(&w->out, choose(w, 2) ? "\\u%04x" : "\\u%04X", c);
		else
			buf_putc(&w->out, (char)c);
	}
	buf_putc(&w->out, '"');
}

static struct slice text_of(const struct writer *w, uint32_t node)
{
	struct slice s = SLICE_NONE;
	must(jdoc_text(w->j, node, w->arena, &s) == 0);
	return s;
}

/* The name in camelCase, by which the other tables know it. */
static struct slice camel_of(struct slice name)
{
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		if (slice_eq_cstr(name, names[i][1]))
			return slice_cstr(names[i][0]);
	return name;
}

static struct slice other_name(const struct writer *w, uint32_t object, struct slice name)
{
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		for (size_t k = 0; k < 2; k++) {
			struct slice other = slice_cstr(names[i][1 - k]);
			if (slice_eq_cstr(name, names[i][k]) && !jdoc_member(w->j, object, other))
				return other;
		}
	return name;
}

static bool is_whole(struct slice name)
{
	for (size_t i = 0; i < sizeof whole / sizeof whole[0]; i++)
		if (slice_eq_cstr(name, whole[i]))
			return true;
	return false;
}

/* A number or a text with a number in it: as the one, the other, or with an exponent. */
static void put_whole(struct writer *w, uint32_t node)
{
	bool is_number = jdoc_type_of(w->j, node) == JDOC_NUMBER, quoted = choose(w, 2);
	struct slice literal = is_number ? jdoc_raw(w->j, node) : text_of(w, node);
	int64_t v;
	if (quoted)
		buf_putc(&w->out, '"');
	if (jdoc_int64(literal, &v) == JDOC_INT_OK && choose(w, 2)) {
		static const char *const ends[] = { "", ".0", "e0", "E+0", ".000e-0" };
		buf_put_int(&w->out, v);
		buf_puts(&w->out, ends[choose(w, 5)]);
	} else {
		buf_put(&w->out, literal);
	}
	if (quoted)
		buf_putc(&w->out, '"');
}

/* By its other form, where it has one. */
static bool put_enum(struct writer *w, struct slice field, uint32_t node)
{
	bool by_name = jdoc_type_of(w->j, node) == JDOC_STRING;
	int64_t n = -1;
	if (!by_name && (jdoc_type_of(w->j, node) != JDOC_NUMBER || jdoc_int64(jdoc_raw(w->j, node), &n) != JDOC_INT_OK))
		return false;
	for (size_t i = 0; i < sizeof enums / sizeof enums[0]; i++) {
		if (!slice_eq_cstr(field, enums[i].field) || (by_name ? !slice_eq_cstr(text_of(w, node), enums[i].name) : n != enums[i].number))
			continue;
		if (choose(w, 2))
			buf_putf(&w->out, "%d", enums[i].number);
		else
			put_text(w, slice_cstr(enums[i].name));
		return true;
	}
	return false;
}

static void put_value(struct writer *w, struct slice field, uint32_t node, bool in_map);

static void put_member(struct writer *w, uint32_t object, uint32_t key, bool in_map)
{
	struct slice name = text_of(w, key), camel = in_map ? name : camel_of(name);
	put_text(w, !in_map && choose(w, 2) ? other_name(w, object, name) : name);
	blanks(w);
	buf_putc(&w->out, ':');
	blanks(w);
	put_value(w, in_map ? SLICE_NONE : camel, key + 1, slice_eq(camel, SLICE("attributes")));
}

/* What nobody reads, or is as good as left out. */
static void put_more(struct writer *w, uint32_t object, bool first, bool in_map)
{
	static const char *const unknown[] = { "\"x-1\":null", "\"x-1\":[{\"sid\":\"PA_other\"}]", "\"x-1\":\"\\u00e9\"", "\"x-1\":-1.5e3" };
	static const char *const nulls[] = { "job", "track", "room", "participant", "metadata", "attributes", "permission", "version", "file" };
	const char *null = nulls[choose(w, sizeof nulls / sizeof nulls[0])];
	bool is_free = !in_map && !jdoc_member(w->j, object, slice_cstr(null));
	if (jdoc_member(w->j, object, SLICE("x-1")) || choose(w, 3))
		return;
	if (!first)
		buf_putc(&w->out, ',');
	if (is_free && choose(w, 2))
		buf_putf(&w->out, "\"%s\":null", null);
	else
		buf_puts(&w->out, in_map ? unknown[2] : unknown[choose(w, 4)]);
}

static void put_object(struct writer *w, uint32_t object, bool in_map)
{
	size_t count = 0, from;
	for (uint32_t key = jdoc_first(w->j, object); key < jdoc_end(w->j, object); key = jdoc_after(w->j, key + 1))
		count++;
	uint32_t *keys = ARENA_ARRAY(w->arena, uint32_t, count + 1);
	must(keys);
	count = 0;
	for (uint32_t key = jdoc_first(w->j, object); key < jdoc_end(w->j, object); key = jdoc_after(w->j, key + 1))
		keys[count++] = key;
	from = count ? choose(w, (unsigned)count) : 0;
	buf_putc(&w->out, '{');
	for (size_t i = 0; i < count; i++) {
		if (i)
			buf_putc(&w->out, ',');
		blanks(w);
		put_member(w, object, keys[(from + i) % count], in_map);
		blanks(w);
	}
	put_more(w, object, count == 0, in_map);
	buf_putc(&w->out, '}');
}

static void put_value(struct writer *w, struct slice field, uint32_t node, bool in_map)
{
	bool first = true;
	switch (jdoc_type_of(w->j, node)) {
	case JDOC_OBJECT:
		put_object(w, node, in_map);
		return;
	case JDOC_ARRAY:
		buf_putc(&w->out, '[');
		for (uint32_t item = jdoc_first(w->j, node); item < jdoc_end(w->j, node); item = jdoc_after(w->j, item), first = false) {
			if (!first)
				buf_putc(&w->out, ',');
			put_value(w, SLICE_NONE, item, false);
		}
		buf_putc(&w->out, ']');
		return;
	case JDOC_STRING:
	case JDOC_NUMBER:
		if (!slice_is_none(field) && is_whole(field))
			put_whole(w, node);
		else if (!slice_is_none(field) && put_enum(w, field, node))
			return;
		else if (jdoc_type_of(w->j, node) == JDOC_STRING)
			put_text(w, text_of(w, node));
		else
			buf_put(&w->out, jdoc_raw(w->j, node));
		return;
	case JDOC_TRUE:
	case JDOC_FALSE:
	case JDOC_NULL:
		buf_put(&w->out, jdoc_raw(w->j, node));
		return;
	}
}

static void check_same(const struct event *x, const struct event *y)
{
	const struct event_participant *p = &x->participant, *q = &y->participant;
	must(slice_eq(x->id, y->id) && x->type == y->type && slice_eq(x->type_name, y->type_name) && x->created_at_s == y->created_at_s);
	must(slice_eq(x->room.sid, y->room.sid) && slice_eq(x->room.name, y->room.name) && slice_eq(x->room.tenant, y->room.tenant));
	must(x->room.creation_time_ms == y->room.creation_time_ms && x->room.empty_timeout_s == y->room.empty_timeout_s);
	must(x->room.departure_timeout_s == y->room.departure_timeout_s && x->room_end_reason == y->room_end_reason);
	must(slice_eq(p->sid, q->sid) && slice_eq(p->identity, q->identity) && p->kind == q->kind && p->joined_at_ms == q->joined_at_ms);
	must(p->joined_at_whole_s == q->joined_at_whole_s && p->disconnect_reason == q->disconnect_reason && slice_eq(p->tenant, q->tenant));
	must(p->sip_status == q->sip_status && p->sip_call_tag == q->sip_call_tag && slice_eq(p->sip_call_id, q->sip_call_id));
	must(slice_eq(p->sip_rule_id, q->sip_rule_id) && slice_eq(p->sip_trunk_id, q->sip_trunk_id));
	must(slice_eq(p->sip_phone_number, q->sip_phone_number) && slice_eq(p->sip_trunk_phone_number, q->sip_trunk_phone_number));
	must(slice_eq(x->track.sid, y->track.sid) && x->track.audio == y->track.audio && x->track.published_us == y->track.published_us);
	must(slice_eq(x->egress.egress_id, y->egress.egress_id) && x->egress.status == y->egress.status);
	must(slice_eq(x->egress.location, y->egress.location) && slice_eq(x->egress.error, y->egress.error));
	must(x->egress.started_at_ns == y->egress.started_at_ns && x->egress.ended_at_ns == y->egress.ended_at_ns);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct writer w = { .out = BUF_INIT };
	struct decoded once, again;
	struct jdoc j;
	if (size < sizeof w.choices)
		return 0;
	memcpy(&w.choices, data, sizeof w.choices);
	w.choices |= 1;
	w.arena = arena_new(32768);
	must(w.arena);
	struct slice body = slice_of((const char *)data + sizeof w.choices, size - sizeof w.choices);
	must(decode_event(body, &options, w.arena, &once) == 0);
	if (once.cause == DECODE_OK) {
		must(jdoc_parse(body, w.arena, &j) == 0 && j.fault == JDOC_OK);
		w.j = &j;
		put_value(&w, SLICE_NONE, 0, false);
		must(!buf_failed(&w.out));
		must(decode_event(buf_slice(&w.out), &options, w.arena, &again) == 0);
		must(again.cause == DECODE_OK);
		check_same(&once.event, &again.event);
	}
	buf_done(&w.out);
	arena_free(w.arena);
	return 0;
}
