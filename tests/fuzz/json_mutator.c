/* LLVMFuzzerCustomMutator for targets that read JSON: what comes out is mostly JSON still, so that the fuzzer gets past the reader. One change a
 * call: a value replaced by one of another kind, a member taken out, doubled or put elsewhere, a name in its other spelling, a letter escaped.
 * Every eighth change is libFuzzer's own, on the bytes. Deterministic by `seed`. */
#include <string.h>

#include "must.h"

#include "base/buf.h"
#include "wire/jdoc.h"

static const char *const literals[] = {
	"null", "true", "false", "0", "-1", "1", "1e0", "1.0", "5e-1", "1.79e9", "9007199254740993", "9223372036854775807", "9223372036854775808",
	"253402300799", "253402300800", "1e1001", "\"\"", "\"0\"", "\"1795352846\"", "\"1.795352846e9\"", "\"-0\"", "\" 1\"", "\"\\u0000\"", "\"\\ud83d\\ude00\"",
	"\"\\ud83d\"", "\"\xc3\xa9\"", "\"\xff\"", "[]", "{}", "[null]", "[[]]", "{\"\":null}", "\"2026-11-22T13:12:19.250Z\"", "\"2026-11-22T13:12:19+02:00\"",
	"\"sip.callStatus\"", "\"active\"", "\"RM_x\"", "\"{\\\"user_id\\\":\\\"acme\\\"}\"",
};

struct edit {
	struct slice text;
	uint32_t start, end; /* of the text, to be replaced by `with` */
	struct buf with;
};

static unsigned next(unsigned *seed, size_t n)
{
	*seed = *seed * 1664525u + 1013904223u;
	return n ? (unsigned)((*seed >> 8) % n) : 0;
}

/* A node with its quotes. */
static void span(const struct jdoc *j, uint32_t node, uint32_t *start, uint32_t *end)
{
	bool quoted = jdoc_type_of(j, node) == JDOC_STRING;
	*start = j->nodes[node].start - quoted;
	*end = j->nodes[node].end + quoted;
}

static struct slice node_text(const struct jdoc *j, uint32_t node)
{
	uint32_t start, end;
	span(j, node, &start, &end);
	return slice_of(j->text.p + start, end - start);
}

static void respell(struct slice name, struct buf *to)
{
	bool snake = name.n && memchr(name.p, '_', name.n);
	for (size_t i = 0; i < name.n; i++) {
		char c = name.p[i];
		if (snake && c == '_' && i + 1 < name.n && name.p[i + 1] >= 'a' && name.p[i + 1] <= 'z') {
			buf_putc(to, (char)(name.p[++i] - 32));
		} else if (!snake && c >= 'A' && c <= 'Z' && i) {
			buf_putc(to, '_');
			buf_putc(to, (char)(c + 32));
		} else {
			buf_putc(to, c);
		}
	}
}

/* One letter of a string by its escape. */
static void escape(struct slice text, unsigned at, struct buf *to)
{
	for (size_t i = 0; i < text.n; i++)
		if (i == at && text.p[i] >= ' ' && (unsigned char)text.p[i] < 0x7f && text.p[i] != '"' && text.p[i] != '\\' && (i == 0 || text.p[i - 1] != '\\'))
			buf_putf(to, "\\u%04X", (unsigned)text.p[i]);
		else
			buf_putc(to, text.p[i]);
}

static void change_string(const struct jdoc *j, uint32_t node, unsigned *seed, struct edit *e)
{
	struct slice raw = jdoc_raw(j, node), literal = slice_cstr(literals[next(seed, sizeof literals / sizeof literals[0])]);
	int64_t number;
	switch (next(seed, 4)) {
	case 0:
		buf_put(&e->with, literal);
		break;
	case 1:
		buf_putc(&e->with, '"');
		escape(raw, next(seed, raw.n), &e->with);
		buf_putc(&e->with, '"');
		break;
	case 2:
		buf_putc(&e->with, '"');
		respell(raw, &e->with);
		buf_putc(&e->with, '"');
		break;
	default: /* a number as text becomes a number, a text something else's */
		buf_put(&e->with, slice_to_int64(raw, &number) && raw.p[0] != '+' ? raw : node_text(j, next(seed, j->count)));
		break;
	}
}

static void change_value(const struct jdoc *j, uint32_t node, unsigned *seed, struct edit *e)
{
	struct slice own = node_text(j, node);
	uint32_t child = jdoc_first(j, node);
	span(j, node, &e->start, &e->end);
	if (jdoc_type_of(j, node) == JDOC_STRING) {
		change_string(j, node, seed, e);
		return;
	}
	if (jdoc_type_of(j, node) == JDOC_NUMBER && next(seed, 2)) {
		buf_putc(&e->with, '"');
		buf_put(&e->with, own);
		buf_putc(&e->with, '"');
		return;
	}
	bool object = jdoc_type_of(j, node) == JDOC_OBJECT;
	if ((object || jdoc_type_of(j, node) == JDOC_ARRAY) && child < jdoc_end(j, node) && next(seed, 4)) { /* a member more at the beginning */
		e->end = ++e->start;
		buf_put(&e->with, object ? node_text(j, child) : node_text(j, next(seed, j->count)));
		if (object) {
			buf_putc(&e->with, ':');
			buf_put(&e->with, node_text(j, next(seed, j->count)));
		}
		buf_putc(&e->with, ',');
		return;
	}
	buf_put(&e->with, slice_cstr(literals[next(seed, sizeof literals / sizeof literals[0])]));
}

/* Takes a member or item out, with one comma. */
static void take_out(const struct jdoc *j, uint32_t parent, unsigned *seed, struct edit *e)
{
	bool object = jdoc_type_of(j, parent) == JDOC_OBJECT;
	uint32_t key = jdoc_first(j, parent), chosen = key, last_start, last_end, steps = next(seed, 8);
	while (steps-- && jdoc_after(j, object ? chosen + 1 : chosen) < jdoc_end(j, parent))
		chosen = jdoc_after(j, object ? chosen + 1 : chosen);
	span(j, chosen, &e->start, &e->end);
	span(j, object ? chosen + 1 : chosen, &last_start, &last_end);
	e->end = last_end;
	const char *p = j->text.p;
	while (e->end < j->text.n && (p[e->end] == ' ' || p[e->end] == '\n' || p[e->end] == '\t' || p[e->end] == '\r'))
		e->end++;
	if (e->end < j->text.n && p[e->end] == ',')
		e->end++;
	else
		while (chosen != key && e->start && p[e->start] != ',')
			e->start--;
}

static size_t apply(struct edit *e, uint8_t *data, size_t size, size_t max_size)
{
	size_t tail = size - e->end, made = e->start + e->with.n + tail;
	if (buf_failed(&e->with) || made > max_size)
		return size;
	memmove(data + e->start + e->with.n, data + e->end, tail);
	if (e->with.n)
		memcpy(data + e->start, e->with.p, e->with.n);
	return made;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
	_cleanup_arena_ struct arena *a = arena_new(16384);
	struct slice text = slice_of((const char *)data, size);
	struct edit e = { .text = text, .with = BUF_INIT };
	struct jdoc j;
	must(a);
	if (next(&seed, 8) == 0 || jdoc_parse(text, a, &j) != 0 || j.count == 0 || j.fault == JDOC_SYNTAX || j.fault == JDOC_TOO_DEEP || j.fault == JDOC_TOO_MANY)
		return LLVMFuzzerMutate(data, size, max_size);
	uint32_t node = next(&seed, j.count);
	bool container = jdoc_type_of(&j, node) == JDOC_OBJECT || jdoc_type_of(&j, node) == JDOC_ARRAY;
	if (container && jdoc_first(&j, node) < jdoc_end(&j, node) && next(&seed, 2))
		take_out(&j, node, &seed, &e);
	else
		change_value(&j, node, &seed, &e);
	size_t made = apply(&e, data, size, max_size);
	buf_done(&e.with);
	return made;
}
