/* The routes file to struct routes. One row a part of the file; whatever is not as expected is an error that names the place, because a
 * route that is not applied sends calls to the wrong tenant or to none. Called once at start. */
#include "wire/routes.h"

#include "base/buf.h"
#include "wire/jdoc.h"

static const struct part {
	struct slice name;
	enum route_kind kind;
} parts[] = {
#define PART(name, kind) { { name, sizeof(name) - 1 }, kind },
	PART("trunkId", ROUTE_TRUNK_ID)
	PART("trunkNumber", ROUTE_TRUNK_NUMBER)
	PART("roomPrefix", ROUTE_ROOM_PREFIX)
	PART("apiKey", ROUTE_API_KEY)
#undef PART
};

struct parser {
	const struct jdoc *j;
	struct arena *arena;
	struct route *items;
	size_t count;
	struct slice *ret_message;
};

/* "part: what" or "part, key: what" into the message. */
static int complain(struct parser *p, struct slice part, struct slice key, const char *what)
{
	_cleanup_buf_ struct buf b = BUF_INIT;
	if (!slice_is_none(part)) {
		buf_put(&b, part);
		buf_put(&b, slice_is_none(key) ? SLICE(": ") : SLICE(", "));
	}
	if (!slice_is_none(key)) {
		buf_put(&b, key);
		buf_puts(&b, ": ");
	}
	buf_puts(&b, what);
	struct slice message;
	if (buf_failed(&b) || !arena_copy(p->arena, buf_slice(&b), &message))
		return OC_NOMEM;
	*p->ret_message = message;
	return OC_INVALID;
}

static int read_route(struct parser *p, const struct part *part, uint32_t key)
{
	struct slice value, tenant;
	int rc = jdoc_text(p->j, key, p->arena, &value);
	if (rc)
		return rc;
	if (jdoc_type_of(p->j, key + 1) != JDOC_STRING)
		return complain(p, part->name, value, "the tenant must be a string");
	rc = jdoc_text(p->j, key + 1, p->arena, &tenant);
	if (rc)
		return rc;
	if (value.n == 0)
		return complain(p, part->name, SLICE_NONE, "an empty name would match everything or nothing");
	if (tenant.n == 0)
		return complain(p, part->name, value, "the tenant is empty");
	if (value.n > EVENT_MAX_VALUE || tenant.n > EVENT_MAX_VALUE)
		return complain(p, part->name, SLICE_NONE, "a name or tenant is longer than 2048 bytes");
	p->items[p->count++] = (struct route){ .kind = part->kind, .value = value, .tenant = tenant };
	return 0;
}

static int read_part(struct parser *p, uint32_t key)
{
	const struct part *part = NULL;
	for (size_t i = 0; i < sizeof parts / sizeof parts[0] && !part; i++)
		if (jdoc_text_is(p->j, key, parts[i].name))
			part = &parts[i];
	if (!part)
		return complain(p, jdoc_raw(p->j, key), SLICE_NONE, "unknown part; there are trunkId, trunkNumber, roomPrefix, apiKey");
	if (jdoc_type_of(p->j, key + 1) != JDOC_OBJECT)
		return complain(p, part->name, SLICE_NONE, "must be an object of names to tenants");
	for (uint32_t k = jdoc_first(p->j, key + 1); k < jdoc_end(p->j, key + 1); k = jdoc_after(p->j, k + 1)) {
		int rc = read_route(p, part, k);
		if (rc)
			return rc;
	}
	return 0;
}

static int complain_of_fault(struct parser *p)
{
	_cleanup_buf_ struct buf b = BUF_INIT;
	buf_putf(&b, "line %zu: %s", jdoc_fault_line(p->j), jdoc_fault_text(p->j->fault));
	if (buf_failed(&b))
		return OC_NOMEM;
	buf_putc(&b, 0);
	return buf_failed(&b) ? OC_NOMEM : complain(p, SLICE_NONE, SLICE_NONE, b.p);
}

int routes_parse(struct slice text, struct arena *a, struct routes *ret, struct slice *ret_message)
{
	struct jdoc j;
	int rc = jdoc_parse(text, a, &j);
	if (rc)
		return rc;
	struct parser p = { .j = &j, .arena = a, .ret_message = ret_message };
	if (j.fault != JDOC_OK)
		return complain_of_fault(&p);
	if (jdoc_type_of(&j, 0) != JDOC_OBJECT)
		return complain(&p, SLICE_NONE, SLICE_NONE, "must be a JSON object");
	p.items = ARENA_ARRAY(a, struct route, j.count);
	if (!p.items)
		return OC_NOMEM;
	for (uint32_t key = jdoc_first(&j, 0); key < jdoc_end(&j, 0); key = jdoc_after(&j, key + 1)) {
		rc = read_part(&p, key);
		if (rc)
			return rc;
	}
	*ret = (struct routes){ .items = p.items, .count = p.count };
	return 0;
}
