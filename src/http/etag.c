/* Entity tags (RFC 9110, 8.8.3 and 13.1): strong, made from the revision and from every byte of the body. Pure; any thread. */
#include "http/internal.h"

#include <stdio.h>

#include "wire/jwt.h"

int etag_make(int64_t revision, struct slice body, char *ret, size_t size)
{
	unsigned char hash[32];
	char hex[32];
	if (!hash_sha256(body, hash))
		return OC_NOMEM;
	hex_encode(hash, 16, hex);
	snprintf(ret, size, "\"%lld-%.32s\"", (long long)revision, hex);
	return OC_OK;
}

/* The next member of a list of entity tags, without "W/", which the weak comparison of If-None-Match does not look at. A tag may have commas in
 * it. False at the end, and where the list is malformed. */
static bool next_tag(struct slice *left, struct slice *ret)
{
	while (left->n && (left->p[0] == ' ' || left->p[0] == '\t' || left->p[0] == ','))
		*left = slice_of(left->p + 1, left->n - 1);
	if (slice_starts_with(*left, SLICE("W/")))
		*left = slice_of(left->p + 2, left->n - 2);
	const char *end = left->n > 1 && left->p[0] == '"' ? memchr(left->p + 1, '"', left->n - 1) : NULL;
	if (!end)
		return false;
	*ret = slice_of(left->p, (size_t)(end + 1 - left->p));
	*left = slice_of(end + 1, left->n - ret->n);
	return true;
}

bool etag_matches(struct slice if_none_match, const char *etag)
{
	struct slice left = if_none_match, tag;
	if (slice_is_empty(if_none_match))
		return false;
	if (slice_eq(if_none_match, SLICE("*")))
		return true;
	while (next_tag(&left, &tag))
		if (slice_eq_cstr(tag, etag))
			return true;
	return false;
}
