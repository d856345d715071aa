/* Results of dialed calls sorted into classes: tables of codes, causes and texts. See sip_code.h. Pure and immutable; any thread. */
#include "core/sip_code.h"

enum code_class code_class_of(int code)
{
	static const struct {
		int code;
		enum code_class is;
	} CODES[] = {
		{ 486, CODE_BUSY },       { 600, CODE_BUSY },      { 603, CODE_DECLINED },  { 607, CODE_DECLINED },    { 608, CODE_BLOCKED },
		{ 401, CODE_FORBIDDEN },  { 402, CODE_FORBIDDEN }, { 403, CODE_FORBIDDEN }, { 407, CODE_FORBIDDEN },   { 488, CODE_MEDIA },
		{ 606, CODE_MEDIA },      { 404, CODE_INVALID },   { 410, CODE_INVALID },   { 484, CODE_INVALID },     { 604, CODE_INVALID },
		{ 408, CODE_TIMEOUT },    { 480, CODE_UNAVAILABLE }, { 487, CODE_CANCELED }, { 429, CODE_RATE_LIMITED },
	};
	for (size_t i = 0; i < sizeof CODES / sizeof CODES[0]; i++)
		if (CODES[i].code == code)
			return CODES[i].is;
	if (code >= 500 && code <= 599)
		return CODE_TRUNK;
	return code >= 300 ? CODE_OTHER : CODE_NONE;
}

/* RFC 3398, 7.2.4.1. Causes of a call that had been answered (16) say nothing about the attempt. */
static int sip_of_cause(int64_t cause)
{
	static const struct {
		int cause, code;
	} CAUSES[] = {
		{ 1, 404 },  { 2, 404 },  { 3, 404 },  { 17, 486 }, { 18, 408 }, { 19, 480 }, { 20, 480 }, { 21, 403 }, { 22, 410 },
		{ 23, 410 }, { 26, 404 }, { 27, 502 }, { 28, 484 }, { 29, 501 }, { 31, 480 }, { 34, 503 }, { 38, 503 }, { 41, 503 },
		{ 42, 503 }, { 47, 503 }, { 55, 403 }, { 57, 403 }, { 58, 503 }, { 65, 488 }, { 70, 488 }, { 79, 501 }, { 87, 403 },
		{ 88, 503 }, { 102, 504 }, { 111, 500 }, { 127, 500 },
	};
	for (size_t i = 0; i < sizeof CAUSES / sizeof CAUSES[0]; i++)
		if (CAUSES[i].cause == cause)
			return CAUSES[i].code;
	return 0;
}

/* ---- texts ---- */

/* Texts that say more than the code beside them. */
static const struct {
	const char *part;
	enum code_class is;
} OVER_CODES[] = {
	{ "call limit exceeded", CODE_RATE_LIMITED },
	{ "cps limit", CODE_RATE_LIMITED },
	{ "calls per second", CODE_RATE_LIMITED },
	{ "too many calls", CODE_RATE_LIMITED },
	{ "rate limit", CODE_RATE_LIMITED },
	{ "network blocked", CODE_BLOCKED },
	{ "blocked by carrier", CODE_BLOCKED },
	{ "call blocked", CODE_BLOCKED },
	{ "32203", CODE_BLOCKED }, /* Twilio's number for it, in X-Twilio-Error */
};

/* What LiveKit's reply to a dialer says where it has no code. */
static const struct {
	const char *part;
	enum code_class is;
} NO_CODES[] = {
	{ "common audio codec not found", CODE_MEDIA },
	{ "no common", CODE_MEDIA },
	{ "required auth", CODE_FORBIDDEN },
	{ "sip request timed out", CODE_RING_TIMEOUT },
	{ "transaction failed to complete", CODE_UNREACHABLE },
	{ "fail to resolve", CODE_UNREACHABLE },
	{ "connection refused", CODE_UNREACHABLE },
	{ "network is unreachable", CODE_UNREACHABLE },
	{ "no route to host", CODE_UNREACHABLE },
	{ "dial err", CODE_UNREACHABLE },
	{ "no such host", CODE_UNREACHABLE },
};

/* Where `part` (lower case) begins in the text, in any case of ASCII letters; SIZE_MAX: nowhere. */
static size_t find_nocase(struct slice text, const char *part)
{
	size_t n = strlen(part);
	for (size_t i = 0; i + n <= text.n; i++)
		if (slice_eq_nocase(slice_of(text.p + i, n), slice_of(part, n)))
			return i;
	return SIZE_MAX;
}

/* The number that follows `label` and spaces in the text; 0 = none. */
static int64_t number_after(struct slice text, const char *label)
{
	size_t at = find_nocase(text, label);
	if (at == SIZE_MAX)
		return 0;
	size_t i = at + strlen(label), digits = 0;
	int64_t v = 0;
	while (i < text.n && (text.p[i] == ' ' || text.p[i] == ':' || text.p[i] == '='))
		i++;
	for (; i < text.n && text.p[i] >= '0' && text.p[i] <= '9' && digits < 4; i++, digits++)
		v = v * 10 + (text.p[i] - '0');
	return digits < 4 ? v : 0;
}

int code_of_mark(const struct event_mark *m)
{
	if (m->sip_code >= 200)
		return m->sip_code;
	int64_t named = number_after(m->sip_text, "sip status");
	if (named >= 200 && named <= 699)
		return (int)named;
	return find_nocase(m->sip_text, "q.850") == SIZE_MAX ? 0 : sip_of_cause(number_after(m->sip_text, "cause"));
}

enum code_class code_class_of_mark(const struct event_mark *m)
{
	int code = code_of_mark(m);
	if (m->kind != MARK_SIP_RESULT || (code >= 200 && code <= 299))
		return CODE_NONE;
	for (size_t i = 0; i < sizeof OVER_CODES / sizeof OVER_CODES[0]; i++)
		if (find_nocase(m->sip_text, OVER_CODES[i].part) != SIZE_MAX)
			return OVER_CODES[i].is;
	if (code)
		return code_class_of(code);
	if (m->sip_code || slice_is_empty(m->sip_text))
		return CODE_NONE; /* 1xx, or nothing said */
	for (size_t i = 0; i < sizeof NO_CODES / sizeof NO_CODES[0]; i++)
		if (find_nocase(m->sip_text, NO_CODES[i].part) != SIZE_MAX)
			return NO_CODES[i].is;
	return CODE_OTHER;
}

const char *code_class_text(enum code_class c)
{
	switch (c) {
	case CODE_NONE:
		return NULL;
#define X(e, name, seen) case e: return seen;
	CODE_CLASSES(X)
#undef X
	}
	return NULL;
}
