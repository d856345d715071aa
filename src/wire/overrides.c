/* The overrides file to struct overrides. Whatever is not as expected is an error that names the place, because a misspelt reason would silently
 * change nothing. Called once at start. */
#include "wire/overrides.h"

#include "base/buf.h"
#include "wire/jdoc.h"

struct parser {
	const struct jdoc *j;
	struct arena *arena;
	struct override *items;
	size_t count;
	struct slice *ret_message;
};

/* "place, key: what" into the message; none is left out. */
static int complain(struct parser *p, struct slice place, struct slice key, const char *what)
{
	_cleanup_buf_ struct buf b = BUF_INIT;
	buf_put(&b, place);
	if (place.n && key.n)
		buf_puts(&b, ", ");
	buf_put(&b, key);
	if (place.n || key.n)
		buf_puts(&b, ": ");
	buf_puts(&b, what);
	struct slice message;
	if (buf_failed(&b) || !arena_copy(p->arena, buf_slice(&b), &message))
		return OC_NOMEM;
	*p->ret_message = message;
	return OC_INVALID;
}

static int read_override(struct parser *p, struct slice tenant, uint32_t key)
{
	struct slice place = slice_is_none(tenant) ? SLICE("all") : tenant, reason, outcome;
	int rc = jdoc_text(p->j, key, p->arena, &reason);
	if (rc)
		return rc;
	struct override *o = &p->items[p->count];
	*o = (struct override){ .reason = verdict_reason_from_name(reason), .tenant = tenant };
	if (o->reason == VERDICT_REASON_NONE)
		return complain(p, place, reason, "unknown reason; docs/VERDICTS.md has them all");
	if (jdoc_type_of(p->j, key + 1) != JDOC_STRING)
		return complain(p, place, reason, "the outcome must be a string");
	rc = jdoc_text(p->j, key + 1, p->arena, &outcome);
	if (rc)
		return rc;
	o->outcome = outcome_from_name(outcome);
	if (o->outcome == OUTCOME_NONE)
		return complain(p, place, reason, "unknown outcome; there are completed, no_answer, busy, failed, unknown");
	p->count++;
	return 0;
}

static int read_reasons(struct parser *p, struct slice tenant, uint32_t at)
{
	if (jdoc_type_of(p->j, at) != JDOC_OBJECT)
		return complain(p, slice_is_none(tenant) ? SLICE("all") : tenant, SLICE_NONE, "must be an object of reasons to outcomes");
	for (uint32_t k = jdoc_first(p->j, at); k < jdoc_end(p->j, at); k = jdoc_after(p->j, k + 1)) {
		int rc = read_override(p, tenant, k);
		if (rc)
			return rc;
	}
	return 0;
}

static int read_tenants(struct parser *p, uint32_t at)
{
	if (jdoc_type_of(p->j, at) != JDOC_OBJECT)
		return complain(p, SLICE("tenants"), SLICE_NONE, "must be an object of tenants");
	for (uint32_t k = jdoc_first(p->j, at); k < jdoc_end(p->j, at); k = jdoc_after(p->j, k + 1)) {
		struct slice tenant;
		int rc = jdoc_text(p->j, k, p->arena, &tenant);
		if (rc)
			return rc;
		if (tenant.n == 0 || tenant.n > EVENT_MAX_VALUE)
			return complain(p, SLICE("tenants"), SLICE_NONE, "a tenant is empty, or longer than 2048 bytes");
		rc = read_reasons(p, tenant, k + 1);
		if (rc)
			return rc;
	}
	return 0;
}

static int complain_of_fault(struct parser *p)
{
	_cleanup_buf_ struct buf b = BUF_INIT;
	buf_putf(&b, "line %zu", jdoc_fault_line(p->j));
	return buf_failed(&b) ? OC_NOMEM : complain(p, buf_slice(&b), SLICE_NONE, jdoc_fault_text(p->j->fault));
}

int overrides_parse(struct slice text, struct arena *a, struct overrides *ret, struct slice *ret_message)
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
	p.items = ARENA_ARRAY(a, struct override, j.count);
	if (!p.items)
		return OC_NOMEM;
	for (uint32_t key = jdoc_first(&j, 0); !rc && key < jdoc_end(&j, 0); key = jdoc_after(&j, key + 1)) {
		if (jdoc_text_is(&j, key, SLICE("all")))
			rc = read_reasons(&p, SLICE_NONE, key + 1);
		else if (jdoc_text_is(&j, key, SLICE("tenants")))
			rc = read_tenants(&p, key + 1);
		else
			rc = complain(&p, jdoc_raw(&j, key), SLICE_NONE, "unknown part; there are all, tenants");
	}
	if (rc)
		return rc;
	*ret = (struct overrides){ .items = p.items, .count = p.count };
	return 0;
}
