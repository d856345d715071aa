/* The JSON reader: a loop over the bytes and a stack of open containers, no recursion, so that hostile nesting costs nothing.
 * Invariant: at any moment closing the open containers at the current count gives a well-formed list; that is what happens at a fault
 * that ends reading. Any thread; no state. */
#include "wire/jdoc.h"

#include <stdlib.h>

#define FIRST_NODES 256
#define FEW_KEYS 24 /* up to so many keys are compared pair by pair */

struct reader {
	struct jdoc *j;
	struct arena *arena;
	const char *p;
	uint32_t n, at, capacity;
	uint32_t open[JDOC_MAX_DEPTH];
	unsigned depth;
	bool key_without_value; /* the last node is a key whose value is yet to come */
	bool nomem;
};

static bool ends_reading(enum jdoc_fault f) { return f == JDOC_SYNTAX || f == JDOC_TOO_DEEP || f == JDOC_TOO_MANY; }

static bool fault(struct reader *r, enum jdoc_fault f)
{
	if (r->j->fault == JDOC_OK || (ends_reading(f) && !ends_reading(r->j->fault))) {
		r->j->fault = f;
		r->j->fault_at = r->at;
	}
	return false;
}

static bool grow(struct reader *r)
{
	if (r->capacity >= JDOC_MAX_NODES)
		return fault(r, JDOC_TOO_MANY);
	uint32_t capacity = r->capacity == 0 ? FIRST_NODES : r->capacity < JDOC_MAX_NODES / 2 ? r->capacity * 2 : JDOC_MAX_NODES;
	struct jdoc_node *nodes = ARENA_ARRAY(r->arena, struct jdoc_node, capacity);
	if (!nodes) {
		r->nomem = true;
		return false;
	}
	if (r->j->count)
		memcpy(nodes, r->j->nodes, r->j->count * sizeof *nodes);
	r->j->nodes = nodes;
	r->capacity = capacity;
	return true;
}

static bool add(struct reader *r, enum jdoc_type type, uint32_t start, uint32_t end)
{
	if (r->j->count == r->capacity && !grow(r))
		return false;
	r->j->nodes[r->j->count] = (struct jdoc_node){ .start = start, .end = end, .next = r->j->count + 1, .type = (uint8_t)type };
	r->j->count++;
	return true;
}

static void skip_space(struct reader *r)
{
	while (r->at < r->n && (r->p[r->at] == ' ' || r->p[r->at] == '\n' || r->p[r->at] == '\t' || r->p[r->at] == '\r'))
		r->at++;
}

/* ---- strings ---- */

#define ONES 0x0101010101010101u
#define HIGHS 0x8080808080808080u

/* Where the first of eight bytes is that is below 0x20, a quote or a backslash; 8 where none is. The borrow of the subtractions can only
 * make a byte behind such a one look like one, so the first is right. */
static unsigned first_special(const char *p)
{
	uint64_t w;
	memcpy(&w, p, 8);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
	w = __builtin_bswap64(w);
#endif
	uint64_t quote = w ^ (ONES * '"'), slash = w ^ (ONES * '\\');
	uint64_t found = (((w - ONES * 0x20) & ~w) | ((quote - ONES) & ~quote) | ((slash - ONES) & ~slash)) & HIGHS;
	return found ? (unsigned)__builtin_ctzll(found) / 8 : 8;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	char low = (char)(c | 0x20);
	return low >= 'a' && low <= 'f' ? low - 'a' + 10 : -1;
}

/* The four digits after \u, or -1. */
static int32_t hex4(const char *p, size_t n)
{
	if (n < 4)
		return -1;
	int32_t v = 0;
	for (size_t i = 0; i < 4; i++) {
		int d = hex_digit(p[i]);
		if (d < 0)
			return -1;
		v = v * 16 + d;
	}
	return v;
}

static bool is_high(int32_t u) { return u >= 0xd800 && u <= 0xdbff; }
static bool is_low(int32_t u) { return u >= 0xdc00 && u <= 0xdfff; }

static char simple_escape(char c)
{
	static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
	const char *found = c ? strchr(from, c) : NULL;
	return found ? to[found - from] : 0;
}

/* One escape, p at its backslash: its length and code point, or length 0. A lone surrogate comes back as itself. */
static size_t read_escape(const char *p, size_t n, int32_t *ret_point)
{
	if (n < 2)
		return 0;
	if (p[1] != 'u') {
		*ret_point = (unsigned char)simple_escape(p[1]);
		return *ret_point ? 2 : 0;
	}
	int32_t u = hex4(p + 2, n - 2);
	if (u < 0)
		return 0;
	*ret_point = u;
	if (is_high(u) && n >= 12 && p[6] == '\\' && p[7] == 'u') {
		int32_t low = hex4(p + 8, n - 8);
		if (is_low(low)) {
			*ret_point = 0x10000 + ((u - 0xd800) << 10) + (low - 0xdc00);
			return 12;
		}
	}
	return 6;
}

static bool pass_escape(struct reader *r)
{
	int32_t point;
	size_t length = read_escape(r->p + r->at, r->n - r->at, &point);
	if (length == 0)
		return fault(r, JDOC_SYNTAX);
	if (point == 0)
		fault(r, JDOC_NUL);
	else if (is_high(point) || is_low(point))
		fault(r, JDOC_SURROGATE);
	r->at += (uint32_t)length;
	return true;
}

static bool read_string(struct reader *r)
{
	uint32_t start = ++r->at;
	bool escaped = false;
	for (;;) {
		unsigned plain = 8;
		while (plain == 8 && r->n - r->at >= 8)
			r->at += plain = first_special(r->p + r->at);
		if (r->at == r->n)
			return fault(r, JDOC_SYNTAX);
		unsigned char c = (unsigned char)r->p[r->at];
		if (c == '"')
			break;
		if (c < 0x20)
			return fault(r, JDOC_SYNTAX);
		if (c != '\\') {
			r->at++;
			continue;
		}
		escaped = true;
		if (!pass_escape(r))
			return false;
	}
	if (!add(r, JDOC_STRING, start, r->at))
		return false;
	r->j->nodes[r->j->count - 1].escaped = escaped;
	r->at++;
	return true;
}

/* ---- numbers and words ---- */

static uint32_t pass_digits(struct reader *r)
{
	uint32_t start = r->at;
	while (r->at < r->n && r->p[r->at] >= '0' && r->p[r->at] <= '9')
		r->at++;
	return r->at - start;
}

static bool at(const struct reader *r, char c) { return r->at < r->n && r->p[r->at] == c; }

static bool read_exponent(struct reader *r)
{
	if (!at(r, 'e') && !at(r, 'E'))
		return true;
	r->at++;
	if (at(r, '+') || at(r, '-'))
		r->at++;
	uint32_t start = r->at, digits = pass_digits(r);
	if (digits == 0)
		return fault(r, JDOC_SYNTAX);
	uint32_t exponent = 0;
	for (uint32_t i = start; i < r->at && exponent <= JDOC_MAX_EXPONENT; i++)
		exponent = exponent * 10 + (uint32_t)(r->p[i] - '0');
	if (exponent > JDOC_MAX_EXPONENT)
		fault(r, JDOC_NUMBER_RANGE);
	return true;
}

static bool read_number(struct reader *r)
{
	uint32_t start = r->at;
	if (r->p[r->at] == '-')
		r->at++;
	bool zero = at(r, '0');
	uint32_t whole = pass_digits(r), fraction = 0;
	if (whole == 0 || (zero && whole > 1))
		return fault(r, JDOC_SYNTAX);
	if (at(r, '.')) {
		r->at++;
		fraction = pass_digits(r);
		if (fraction == 0)
			return fault(r, JDOC_SYNTAX);
	}
	if (whole > JDOC_MAX_EXPONENT || fraction > JDOC_MAX_EXPONENT)
		fault(r, JDOC_NUMBER_RANGE);
	return read_exponent(r) && add(r, JDOC_NUMBER, start, r->at);
}

static bool read_word(struct reader *r, struct slice word, enum jdoc_type type)
{
	if (!slice_starts_with(slice_of(r->p + r->at, r->n - r->at), word))
		return fault(r, JDOC_SYNTAX);
	uint32_t start = r->at;
	r->at += (uint32_t)word.n;
	return add(r, type, start, r->at);
}

/* ---- keys that occur twice ---- */

static int compare_slices(const void *x, const void *y)
{
	return slice_cmp(*(const struct slice *)x, *(const struct slice *)y);
}

/* Many keys, or escaped ones: sorted, equal ones are neighbours. */
static bool has_duplicate_sorted(struct reader *r, uint32_t object, size_t count)
{
	struct slice *keys = ARENA_ARRAY(r->arena, struct slice, count);
	if (!keys) {
		r->nomem = true;
		return false;
	}
	size_t n = 0;
	for (uint32_t key = jdoc_first(r->j, object); key < r->j->count; key = jdoc_after(r->j, key + 1)) {
		int rc = jdoc_text(r->j, key, r->arena, &keys[n]);
		if (rc == OC_NOMEM)
			r->nomem = true;
		n += rc == 0;
	}
	qsort(keys, n, sizeof *keys, compare_slices);
	for (size_t i = 1; i < n; i++)
		if (slice_eq(keys[i - 1], keys[i]))
			return true;
	return false;
}

/* The object's nodes are complete and the last in the list. */
static bool has_duplicate(struct reader *r, uint32_t object)
{
	struct slice keys[FEW_KEYS];
	size_t count = 0;
	bool escaped = false;
	for (uint32_t key = jdoc_first(r->j, object); key < r->j->count; key = jdoc_after(r->j, key + 1)) {
		escaped |= r->j->nodes[key].escaped;
		if (count < FEW_KEYS)
			keys[count] = jdoc_raw(r->j, key);
		count++;
	}
	if (escaped || count > FEW_KEYS)
		return has_duplicate_sorted(r, object, count);
	for (size_t i = 1; i < count; i++)
		for (size_t k = 0; k < i; k++)
			if (slice_eq(keys[i], keys[k]))
				return true;
	return false;
}

/* ---- the document ---- */

static bool in_object(const struct reader *r)
{
	return r->depth && jdoc_type_of(r->j, r->open[r->depth - 1]) == JDOC_OBJECT;
}

static bool open_container(struct reader *r, enum jdoc_type type)
{
	if (r->depth == JDOC_MAX_DEPTH)
		return fault(r, JDOC_TOO_DEEP);
	if (!add(r, type, r->at, r->at + 1))
		return false;
	r->open[r->depth++] = r->j->count - 1;
	r->at++;
	return true;
}

static void close_container(struct reader *r)
{
	uint32_t node = r->open[--r->depth];
	r->at++;
	r->j->nodes[node].end = r->at;
	r->j->nodes[node].next = r->j->count;
	if (jdoc_type_of(r->j, node) == JDOC_OBJECT && has_duplicate(r, node))
		fault(r, JDOC_DUPLICATE_KEY);
}

static bool read_key(struct reader *r)
{
	skip_space(r);
	if (!at(r, '"') || !read_string(r))
		return fault(r, JDOC_SYNTAX);
	r->key_without_value = true;
	skip_space(r);
	if (!at(r, ':'))
		return fault(r, JDOC_SYNTAX);
	r->at++;
	return true;
}

static bool read_value(struct reader *r)
{
	skip_space(r);
	if (r->at == r->n)
		return fault(r, JDOC_SYNTAX);
	switch (r->p[r->at]) {
	case '{':
		return open_container(r, JDOC_OBJECT);
	case '[':
		return open_container(r, JDOC_ARRAY);
	case '"':
		return read_string(r);
	case 't':
		return read_word(r, SLICE("true"), JDOC_TRUE);
	case 'f':
		return read_word(r, SLICE("false"), JDOC_FALSE);
	case 'n':
		return read_word(r, SLICE("null"), JDOC_NULL);
	default:
		return read_number(r);
	}
}

/* After an opened container: its end, or the key of its first member. */
static bool begin_container(struct reader *r)
{
	skip_space(r);
	bool object = in_object(r);
	if (at(r, object ? '}' : ']')) {
		close_container(r);
		return true;
	}
	return !object || read_key(r);
}

/* After a value: closes what ends here, until there is another value to read. False at the end of the document and at a fault. */
static bool next_value(struct reader *r)
{
	while (r->depth) {
		skip_space(r);
		bool object = in_object(r);
		if (at(r, ',')) {
			r->at++;
			return !object || read_key(r);
		}
		if (!at(r, object ? '}' : ']'))
			return fault(r, JDOC_SYNTAX);
		close_container(r);
	}
	skip_space(r);
	if (r->at < r->n)
		fault(r, JDOC_SYNTAX);
	return false;
}

static void read_document(struct reader *r)
{
	for (;;) {
		unsigned depth = r->depth;
		if (!read_value(r))
			return;
		r->key_without_value = false;
		if (r->depth > depth && !begin_container(r))
			return;
		if (r->depth <= depth && !next_value(r))
			return;
	}
}

/* What is open at the end of a broken text is closed; a key that has no value is forgotten. */
static void close_broken(struct reader *r)
{
	if (r->key_without_value)
		r->j->count--;
	while (r->depth) {
		struct jdoc_node *node = &r->j->nodes[r->open[--r->depth]];
		node->next = r->j->count;
		node->end = r->at;
	}
}

int jdoc_parse(struct slice text, struct arena *a, struct jdoc *ret)
{
	struct jdoc j = { .text = text };
	struct reader r = { .j = &j, .arena = a, .p = text.p, .n = (uint32_t)text.n };
	if (text.n > UINT32_MAX - 16) {
		r.n = 0;
		fault(&r, JDOC_TOO_MANY);
	} else {
		if (!slice_is_utf8(text))
			fault(&r, JDOC_BAD_UTF8);
		read_document(&r);
	}
	if (r.nomem)
		return OC_NOMEM;
	close_broken(&r);
	*ret = j;
	return 0;
}

/* ---- looking at it ---- */

static size_t put_utf8(int32_t c, char *out)
{
	uint32_t u = (uint32_t)c;
	if (u < 0x80) {
		out[0] = (char)u;
		return 1;
	}
	size_t more = u < 0x800 ? 1 : u < 0x10000 ? 2 : 3;
	static const unsigned char lead[] = { 0, 0xc0, 0xe0, 0xf0 };
	out[0] = (char)(lead[more] | (u >> (6 * more)));
	for (size_t i = 1; i <= more; i++)
		out[i] = (char)(0x80 | ((u >> (6 * (more - i))) & 0x3f));
	return more + 1;
}

/* Takes the next character or plain byte off a string that the reader passed: its bytes into out. 0 where it is not to be had. */
static size_t take(struct slice *s, char out[4])
{
	if (s->p[0] != '\\') {
		out[0] = s->p[0];
		*s = slice_of(s->p + 1, s->n - 1);
		return 1;
	}
	int32_t point = 0;
	size_t length = read_escape(s->p, s->n, &point);
	*s = slice_of(s->p + length, s->n - length);
	return length == 0 || point == 0 || is_high(point) || is_low(point) ? 0 : put_utf8(point, out);
}

int jdoc_text(const struct jdoc *j, uint32_t node, struct arena *a, struct slice *ret)
{
	struct slice raw = jdoc_raw(j, node);
	if (j->fault != JDOC_OK && !slice_is_utf8(raw))
		return OC_INVALID;
	if (!j->nodes[node].escaped) {
		*ret = raw;
		return 0;
	}
	char *text = arena_alloc(a, raw.n);
	if (!text)
		return OC_NOMEM;
	size_t n = 0;
	while (raw.n) {
		size_t more = take(&raw, text + n); /* an escape is longer than what it stands for */
		if (more == 0)
			return OC_INVALID;
		n += more;
	}
	*ret = slice_of(text, n);
	return 0;
}

bool jdoc_escaped_text_is(const struct jdoc *j, uint32_t node, struct slice text)
{
	struct slice raw = jdoc_raw(j, node);
	while (raw.n) {
		char c[4];
		size_t n = take(&raw, c);
		if (n == 0 || text.n < n || memcmp(c, text.p, n) != 0)
			return false;
		text = slice_of(text.p + n, text.n - n);
	}
	return text.n == 0;
}

uint32_t jdoc_member(const struct jdoc *j, uint32_t object, struct slice name)
{
	for (uint32_t key = jdoc_first(j, object); key < jdoc_end(j, object); key = jdoc_after(j, key + 1))
		if (jdoc_text_is(j, key, name))
			return key + 1;
	return 0;
}

size_t jdoc_fault_line(const struct jdoc *j)
{
	size_t line = 1;
	for (uint32_t i = 0; i < j->fault_at && i < j->text.n; i++)
		line += j->text.p[i] == '\n';
	return line;
}

const char *jdoc_fault_text(enum jdoc_fault fault)
{
	switch (fault) {
	case JDOC_OK:
		return "";
	case JDOC_SYNTAX:
		return "not JSON";
	case JDOC_TOO_DEEP:
		return "nested too deeply";
	case JDOC_TOO_MANY:
		return "too many values";
	case JDOC_DUPLICATE_KEY:
		return "a name occurs twice in the object that ends here";
	case JDOC_BAD_UTF8:
		return "not UTF-8";
	case JDOC_NUL:
		return "a NUL character in a string";
	case JDOC_SURROGATE:
		return "half a surrogate pair in a string";
	case JDOC_NUMBER_RANGE:
		return "a number out of range";
	}
	return "";
}
