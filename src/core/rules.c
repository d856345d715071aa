/* Finding the row that fits. See rules.h; the table itself is rules_table.c. Immutable; any thread. */
#include "core/rules.h"

enum code_class code_class_of(int code)
{
	static const struct {
		int code;
		enum code_class is;
	} CODES[] = {
		{ 486, CODE_BUSY },      { 600, CODE_BUSY },      { 603, CODE_DECLINED },  { 607, CODE_DECLINED },
		{ 608, CODE_DECLINED },  { 401, CODE_FORBIDDEN }, { 402, CODE_FORBIDDEN }, { 403, CODE_FORBIDDEN },
		{ 407, CODE_FORBIDDEN }, { 488, CODE_MEDIA },     { 606, CODE_MEDIA },     { 404, CODE_INVALID },
		{ 410, CODE_INVALID },   { 484, CODE_INVALID },   { 604, CODE_INVALID },   { 408, CODE_UNAVAILABLE },
		{ 480, CODE_UNAVAILABLE }, { 487, CODE_CANCELED },
	};
	for (size_t i = 0; i < sizeof CODES / sizeof CODES[0]; i++)
		if (CODES[i].code == code)
			return CODES[i].is;
	if (code / 100 == 5)
		return CODE_TRUNK;
	return code >= 300 ? CODE_OTHER : CODE_NONE;
}

const char *code_class_text(enum code_class c)
{
	switch (c) {
	case CODE_NONE:
		return NULL;
#define X(e, name, codes) case e: return codes;
	CODE_CLASSES(X)
#undef X
	}
	return NULL;
}

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
