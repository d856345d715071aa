/* Cursors of GET /api/calls: base64url of
 *   version (1) | the list it belongs to (8: the head of a SHA-256 over tenant and filters) | sort key (8, big endian) | row id
 * It is a bookmark, no key: whoever makes one up only moves within the rows that the query gives them anyway. No state. */
#include "http/query.h"

#include "wire/jwt.h"

#define CURSOR_VERSION 1
#define CURSOR_HEAD 17
#define CURSOR_MAX_ID 300

static void put_int64(unsigned char *p, int64_t v)
{
	for (int i = 0; i < 8; i++)
		p[i] = (unsigned char)((uint64_t)v >> (56 - 8 * i));
}

static int64_t get_int64(const unsigned char *p)
{
	uint64_t v = 0;
	for (int i = 0; i < 8; i++)
		v = v << 8 | p[i];
	return (int64_t)v;
}

/* Every filter with its length before it, so that no two lists read alike. `limit` may change from page to page. */
static int list_hash(const struct list_filter *f, struct arena *a, unsigned char ret[8])
{
	const struct slice texts[] = { f->tenant, f->outcome, f->direction, f->status, f->phone_number, f->room_name };
	size_t size = 16;
	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
		size += 9 + texts[i].n;
	unsigned char *bytes = arena_alloc(a, size), *p = bytes;
	if (!bytes)
		return OC_NOMEM;
	put_int64(p, f->from_ms);
	put_int64(p + 8, f->to_ms);
	p += 16;
	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
		*p = slice_is_none(texts[i]) ? 0 : 1;
		put_int64(p + 1, (int64_t)texts[i].n);
		if (texts[i].n)
			memcpy(p + 9, texts[i].p, texts[i].n);
		p += 9 + texts[i].n;
	}
	unsigned char hash[32];
	if (!hash_sha256(slice_of((const char *)bytes, size), hash))
		return OC_NOMEM;
	memcpy(ret, hash, 8);
	return OC_OK;
}

int cursor_encode(const struct list_filter *f, int64_t sort_key, struct slice id, struct arena *a, struct slice *ret)
{
	unsigned char *bytes = arena_alloc(a, CURSOR_HEAD + id.n);
	if (!bytes)
		return OC_NOMEM;
	bytes[0] = CURSOR_VERSION;
	int r = list_hash(f, a, bytes + 1);
	if (r != OC_OK)
		return r;
	put_int64(bytes + 9, sort_key);
	if (id.n)
		memcpy(bytes + CURSOR_HEAD, id.p, id.n);
	return base64_encode(slice_of((const char *)bytes, CURSOR_HEAD + id.n), true, a, ret);
}

int cursor_decode(struct slice text, struct arena *a, struct list_filter *f)
{
	struct slice bytes;
	if (text.n > 4 * (CURSOR_HEAD + CURSOR_MAX_ID) / 3 + 4)
		return OC_INVALID;
	int r = base64_decode(text, true, a, &bytes);
	if (r != OC_OK)
		return r;
	if (bytes.n <= CURSOR_HEAD || bytes.p[0] != CURSOR_VERSION)
		return OC_INVALID;
	unsigned char hash[8];
	r = list_hash(f, a, hash);
	if (r != OC_OK)
		return r;
	struct slice id = slice_of(bytes.p + CURSOR_HEAD, bytes.n - CURSOR_HEAD);
	if (memcmp(hash, bytes.p + 1, 8) != 0 || !slice_is_utf8(id) || memchr(id.p, '\0', id.n))
		return OC_INVALID;
	f->has_cursor = true;
	f->cursor_ms = get_int64((const unsigned char *)bytes.p + 9);
	f->cursor_id = id;
	return OC_OK;
}
