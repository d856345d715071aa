/* Cursors of GET /api/calls and of a call's events: base64url of
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

/* Every text with its length before it, so that no two lists read alike. */
static int hash_texts(int64_t one, int64_t two, const struct slice *texts, size_t count, struct arena *a, unsigned char ret[8])
{
	size_t size = 16;
	for (size_t i = 0; i < count; i++)
		size += 9 + texts[i].n;
	unsigned char *bytes = arena_alloc(a, size), *p = bytes;
	if (!bytes)
		return OC_NOMEM;
	put_int64(p, one);
	put_int64(p + 8, two);
	p += 16;
	for (size_t i = 0; i < count; i++) {
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

/* `limit` may change from page to page. */
static int list_hash(const struct list_filter *f, struct arena *a, unsigned char ret[8])
{
	const struct slice texts[] = { f->tenant, f->outcome, f->direction, f->status, f->phone_number, f->room_name };
	return hash_texts(f->from_ms, f->to_ms, texts, sizeof texts / sizeof texts[0], a, ret);
}

static int events_hash(const struct events_query *q, struct arena *a, unsigned char ret[8])
{
	const struct slice texts[] = { SLICE("events"), q->tenant, q->call_id };
	return hash_texts(0, 0, texts, sizeof texts / sizeof texts[0], a, ret);
}

static int encode(const unsigned char hash[8], int64_t sort_key, struct slice id, struct arena *a, struct slice *ret)
{
	unsigned char *bytes = arena_alloc(a, CURSOR_HEAD + id.n);
	if (!bytes)
		return OC_NOMEM;
	bytes[0] = CURSOR_VERSION;
	memcpy(bytes + 1, hash, 8);
	put_int64(bytes + 9, sort_key);
	if (id.n)
		memcpy(bytes + CURSOR_HEAD, id.p, id.n);
	return base64_encode(slice_of((const char *)bytes, CURSOR_HEAD + id.n), true, a, ret);
}

static int decode(struct slice text, const unsigned char hash[8], struct arena *a, int64_t *ret_sort_key, struct slice *ret_id)
{
	struct slice bytes;
	if (text.n > 4 * (CURSOR_HEAD + CURSOR_MAX_ID) / 3 + 4)
		return OC_INVALID;
	int r = base64_decode(text, true, a, &bytes);
	if (r != OC_OK)
		return r;
	if (bytes.n <= CURSOR_HEAD || bytes.p[0] != CURSOR_VERSION || memcmp(hash, bytes.p + 1, 8) != 0)
		return OC_INVALID;
	struct slice id = slice_of(bytes.p + CURSOR_HEAD, bytes.n - CURSOR_HEAD);
	if (!slice_is_utf8(id) || memchr(id.p, '\0', id.n))
		return OC_INVALID;
	*ret_sort_key = get_int64((const unsigned char *)bytes.p + 9);
	*ret_id = id;
	return OC_OK;
}

int cursor_encode(const struct list_filter *f, int64_t sort_key, struct slice id, struct arena *a, struct slice *ret)
{
	unsigned char hash[8];
	int r = list_hash(f, a, hash);
	return r != OC_OK ? r : encode(hash, sort_key, id, a, ret);
}

int cursor_decode(struct slice text, struct arena *a, struct list_filter *f)
{
	unsigned char hash[8];
	int r = list_hash(f, a, hash);
	if (r == OC_OK)
		r = decode(text, hash, a, &f->cursor_ms, &f->cursor_id);
	f->has_cursor |= r == OC_OK;
	return r;
}

int events_cursor_encode(const struct events_query *q, int64_t position, struct slice event_id, struct arena *a, struct slice *ret)
{
	unsigned char hash[8];
	int r = events_hash(q, a, hash);
	return r != OC_OK ? r : encode(hash, position, event_id, a, ret);
}

int events_cursor_decode(struct slice text, struct arena *a, struct events_query *q)
{
	unsigned char hash[8];
	int r = events_hash(q, a, hash);
	if (r == OC_OK)
		r = decode(text, hash, a, &q->cursor_position, &q->cursor_id);
	q->has_cursor |= r == OC_OK;
	return r;
}
