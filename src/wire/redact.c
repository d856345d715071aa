/* Removes secrets from a body before anything is kept or logged. Works on the nodes that wire/jdoc.c found: the members to go become cuts in
 * the text, and what lies between the cuts is copied as it is. Invariant: the cuts are in order and apart, and a cut takes one comma with
 * it unless the object is empty afterwards, so that JSON stays JSON. Where there are no nodes to trust, secrets are found by their names in
 * the text, and overwritten. Any thread; no state. */
#include "wire/redact.h"

struct cut {
	uint32_t start, end;
};

struct cuts {
	struct cut *items;
	size_t count, capacity;
	struct arena *arena;
};

static bool put_cut(struct cuts *c, uint32_t start, uint32_t end)
{
	if (c->count == c->capacity) {
		size_t capacity = c->capacity ? c->capacity * 2 : 8;
		struct cut *items = ARENA_ARRAY(c->arena, struct cut, capacity);
		if (!items)
			return false;
		if (c->count)
			memcpy(items, c->items, c->count * sizeof *items);
		c->items = items;
		c->capacity = capacity;
	}
	c->items[c->count++] = (struct cut){ start, end };
	return true;
}

#define SECRET_EVERYWHERE(X) X("turnPassword") X("turn_password")
#define SECRET_IN_INFO(X) \
	X("secret") X("accessKey") X("access_key") X("sessionToken") X("session_token") X("password") X("credentials") X("accountKey") \
	X("account_key") X("token") X("signingKey") X("signing_key") X("streamKey") X("stream_key")
#define AS_SLICE(name) { "" name, sizeof(name) - 1 },

static const struct slice secret_everywhere[] = { SECRET_EVERYWHERE(AS_SLICE) };
static const struct slice secret_in_info[] = { SECRET_IN_INFO(AS_SLICE) };
static const struct slice info_names[] = { AS_SLICE("egressInfo") AS_SLICE("egress_info") AS_SLICE("ingressInfo") AS_SLICE("ingress_info") };

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static bool key_is_one_of(const struct jdoc *j, uint32_t key, const struct slice *names, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (jdoc_text_is(j, key, names[i]))
			return true;
	return false;
}

/* "{access_key}": LiveKit was there before us. */
static bool is_placeholder(const struct jdoc *j, uint32_t value)
{
	if (jdoc_type_of(j, value) != JDOC_STRING)
		return false;
	struct slice s = jdoc_raw(j, value);
	if (s.n < 3 || s.p[0] != '{' || s.p[s.n - 1] != '}')
		return false;
	for (size_t i = 1; i + 1 < s.n; i++)
		if (s.p[i] != '_' && (s.p[i] < 'a' || s.p[i] > 'z'))
			return false;
	return true;
}

static bool is_secret(const struct jdoc *j, uint32_t key, bool in_info)
{
	if (key_is_one_of(j, key, secret_everywhere, COUNT(secret_everywhere)))
		return true;
	return in_info && key_is_one_of(j, key, secret_in_info, COUNT(secret_in_info)) && !is_placeholder(j, key + 1);
}

static uint32_t start_in_text(const struct jdoc *j, uint32_t node)
{
	return j->nodes[node].start - (jdoc_type_of(j, node) == JDOC_STRING);
}

static uint32_t end_in_text(const struct jdoc *j, uint32_t node)
{
	return j->nodes[node].end + (jdoc_type_of(j, node) == JDOC_STRING);
}

static bool cut_container(const struct jdoc *j, uint32_t node, bool in_info, struct cuts *c);

static bool cut_array(const struct jdoc *j, uint32_t array, bool in_info, struct cuts *c)
{
	for (uint32_t value = jdoc_first(j, array); value < jdoc_end(j, array); value = jdoc_after(j, value))
		if (!cut_container(j, value, in_info, c))
			return false;
	return true;
}

/* A run of members that go is cut up to the key behind it, or at the end of the object from the value before it. */
static bool cut_object(const struct jdoc *j, uint32_t object, bool in_info, struct cuts *c)
{
	uint32_t run = 0, run_end = 0, kept_end = 0; /* the run's first key; ends in the text of the run and of the member before it */
	for (uint32_t key = jdoc_first(j, object); key < jdoc_end(j, object); key = jdoc_after(j, key + 1)) {
		if (is_secret(j, key, in_info)) {
			run = run ? run : key;
			run_end = end_in_text(j, key + 1);
			continue;
		}
		if (run && !put_cut(c, start_in_text(j, run), start_in_text(j, key)))
			return false;
		run = 0;
		bool info = in_info || (object == 0 && key_is_one_of(j, key, info_names, COUNT(info_names)));
		if (!cut_container(j, key + 1, info, c))
			return false;
		kept_end = end_in_text(j, key + 1);
	}
	return !run || put_cut(c, kept_end ? kept_end : start_in_text(j, run), run_end);
}

/* Recursion is bounded by JDOC_MAX_DEPTH. */
static bool cut_container(const struct jdoc *j, uint32_t node, bool in_info, struct cuts *c)
{
	switch (jdoc_type_of(j, node)) {
	case JDOC_OBJECT:
		return cut_object(j, node, in_info, c);
	case JDOC_ARRAY:
		return cut_array(j, node, in_info, c);
	case JDOC_STRING:
	case JDOC_NUMBER:
	case JDOC_TRUE:
	case JDOC_FALSE:
	case JDOC_NULL:
		return true;
	}
	return true;
}

int redact_document(const struct jdoc *j, struct arena *a, struct slice *ret)
{
	if (j->fault != JDOC_OK)
		return OC_INVALID;
	struct cuts c = { .arena = a };
	if (!cut_container(j, 0, false, &c))
		return OC_NOMEM;
	if (c.count == 0) {
		*ret = j->text;
		return 0;
	}
	char *out = arena_alloc(a, j->text.n);
	if (!out)
		return OC_NOMEM;
	size_t n = 0, from = 0;
	for (size_t i = 0; i < c.count; i++) {
		memcpy(out + n, j->text.p + from, c.items[i].start - from);
		n += c.items[i].start - from;
		from = c.items[i].end;
	}
	memcpy(out + n, j->text.p + from, j->text.n - from);
	*ret = slice_of(out, n + j->text.n - from);
	return 0;
}

int redact_secrets(struct slice json, struct arena *a, struct slice *ret)
{
	struct jdoc j;
	int rc = jdoc_parse(json, a, &j);
	return rc ? rc : redact_document(&j, a, ret);
}

/* ---- bytes that are no JSON, or not JSON enough ---- */

static bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

/* Where the value of a member begins whose name ends at `at`; the end where this is no name. */
static size_t value_after(struct slice body, size_t at)
{
	if (at >= body.n || body.p[at++] != '"')
		return body.n;
	while (at < body.n && is_blank(body.p[at]))
		at++;
	if (at >= body.n || body.p[at++] != ':')
		return body.n;
	while (at < body.n && is_blank(body.p[at]))
		at++;
	return at;
}

/* A text up to its quote, anything else as far as it can reach without one. */
static size_t end_of_value(struct slice body, size_t *at)
{
	size_t end = *at;
	if (end < body.n && body.p[end] == '"') {
		*at = ++end;
		while (end < body.n && body.p[end] != '"')
			end += body.p[end] == '\\' ? 2 : 1;
		return end < body.n ? end : body.n;
	}
	while (end < body.n && !strchr(",}]\"", body.p[end]))
		end++;
	return end;
}

struct masking {
	struct slice body;
	struct arena *arena;
	char *copy; /* NULL while nothing had to go */
};

static bool mask_name(struct masking *m, struct slice name)
{
	for (size_t from = 0; m->body.n - from > name.n;) {
		const char *found = memmem(m->body.p + from, m->body.n - from, name.p, name.n);
		if (!found)
			break;
		size_t start = (size_t)(found - m->body.p);
		from = start + name.n;
		if (start == 0 || found[-1] != '"')
			continue;
		size_t at = value_after(m->body, from), end = end_of_value(m->body, &at);
		if (at >= end)
			continue;
		if (!m->copy && !(m->copy = arena_dup(m->arena, m->body)))
			return false;
		memset(m->copy + at, '*', end - at);
		from = end;
	}
	return true;
}

static bool has_info(struct slice body)
{
	for (size_t i = 0; i < COUNT(info_names); i++)
		if (memmem(body.p, body.n, info_names[i].p, info_names[i].n))
			return true;
	return false;
}

int redact_bytes(struct slice body, struct arena *a, struct slice *ret)
{
	struct masking m = { .body = body, .arena = a };
	bool info = body.n && has_info(body);
	for (size_t i = 0; i < COUNT(secret_everywhere); i++)
		if (!mask_name(&m, secret_everywhere[i]))
			return OC_NOMEM;
	for (size_t i = 0; info && i < COUNT(secret_in_info); i++)
		if (!mask_name(&m, secret_in_info[i]))
			return OC_NOMEM;
	*ret = m.copy ? slice_of(m.copy, body.n) : body;
	return 0;
}
