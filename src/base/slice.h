/* A slice is a pointer and a length: bytes owned by somebody else (the request, the batch's arena, a literal).
 * It is not NUL-terminated. An absent value is a slice with p == NULL; an empty one has p != NULL and n == 0. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct slice {
	const char *p;
	size_t n;
};

#define SLICE(literal) ((struct slice){ "" literal, sizeof(literal) - 1 })
#define SLICE_NONE ((struct slice){ NULL, 0 })
/* for printf("%.*s", SLICE_FMT(s)) */
#define SLICE_FMT(s) ((int)(s).n), ((s).p ? (s).p : "")

static inline struct slice slice_of(const char *p, size_t n) { return (struct slice){ p, n }; }
static inline struct slice slice_cstr(const char *z) { return z ? (struct slice){ z, strlen(z) } : SLICE_NONE; }
static inline bool slice_is_none(struct slice s) { return s.p == NULL; }
static inline bool slice_is_empty(struct slice s) { return s.n == 0; }

static inline bool slice_eq(struct slice a, struct slice b)
{
	return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

static inline bool slice_eq_cstr(struct slice a, const char *z) { return slice_eq(a, slice_cstr(z)); }

/* Total order by bytes, a prefix first; none sorts as empty. */
static inline int slice_cmp(struct slice a, struct slice b)
{
	size_t n = a.n < b.n ? a.n : b.n;
	int c = n ? memcmp(a.p, b.p, n) : 0;
	return c ? c : (a.n > b.n) - (a.n < b.n);
}

static inline bool slice_starts_with(struct slice s, struct slice prefix)
{
	return s.n >= prefix.n && (prefix.n == 0 || (s.p && memcmp(s.p, prefix.p, prefix.n) == 0));
}

bool slice_eq_nocase(struct slice a, struct slice b); /* ASCII letters only */
struct slice slice_trim(struct slice s);              /* spaces, tabs, CR, LF at both ends */
/* Splits at the first `sep`: *ret_head before it, *ret_tail after it. False (head = s, tail none) where there is none. */
bool slice_split(struct slice s, char sep, struct slice *ret_head, struct slice *ret_tail);
/* The whole slice as a decimal integer with an optional sign; false on anything else and on overflow. */
bool slice_to_int64(struct slice s, int64_t *ret);
/* A span of time as 90d, 12h, 30m or 45s, more than nothing and less than 1,000,000 of them, in milliseconds. */
bool slice_to_span_ms(struct slice s, int64_t *ret);
/* Well-formed UTF-8 (RFC 3629: no surrogates, no overlong forms, at most U+10FFFF). NUL is allowed. */
bool slice_is_utf8(struct slice s);
