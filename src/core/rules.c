/* Finding the row that fits. See rules.h; the table itself is rules_table.c. Immutable; any thread. */
#include "core/rules.h"

bool rule_fits(const struct rule *r, const struct rule_case *c)
{
	if (!(r->direction & c->direction) || !(r->answer & c->answer) || !(r->reason & c->reason) || !(r->status & c->status))
		return false;
	if ((r->min_s || r->max_s) && (c->elapsed_s < r->min_s || (r->max_s && c->elapsed_s > r->max_s)))
		return false;
	if (r->codes && !(r->codes & 1u << c->code))
		return false;
	return (r->flags & c->flags) == r->flags;
}

const struct rule *rules_match(const struct rule_case *c)
{
	size_t n;
	const struct rule *rows = rules_table(&n);
	size_t i = 0;
	while (i + 1 < n && !rule_fits(&rows[i], c))
		i++;
	return &rows[i];
}

const struct rule *rules_of_code(enum code_class code)
{
	size_t n;
	const struct rule *rows = rules_table(&n);
	for (size_t i = 0; i < n; i++)
		if (code != CODE_NONE && rows[i].codes & 1u << code)
			return &rows[i];
	return NULL;
}

const struct need_info *rules_need(unsigned index)
{
	static const struct need_info NEEDS[] = {
#define X(e, text, outcome, reason) { text, { outcome, reason } },
		RULE_NEEDS(X)
#undef X
	};
	return &NEEDS[index];
}

const char *rules_flag_text(unsigned index)
{
	static const char *const FLAGS[] = {
#define X(e, text) text,
		RULE_FLAGS(X)
#undef X
	};
	return index < sizeof FLAGS / sizeof FLAGS[0] ? FLAGS[index] : NULL;
}
