/* A record's bytes, and what a file's bytes hold.
 *
 * Reading trusts nothing: a record counts when the hashes of its header and of its payload fit. Where something does not fit the scan goes on a byte
 * further until a record does, so a damaged place costs what lies in it and the scan ends at the end of the file. What is read is put in the order
 * of sequence numbers, and of two copies either will do.
 * No state; any thread. */
#include "store/spool_work.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAGIC "\xff" "OCSPL" "\xfe" "\x01"
#define MAGIC_BYTES 8
#define HASH_BYTES 16
#define PAYLOAD_HASH_AT 40
#define HEADER_HASH_AT 56
#define NONE_LENGTH 0xffffu
#define WINDOW_BYTES 65536
#define UNREADABLE_BYTES 4096 /* what a read error costs at least */

/* ---- numbers and hashes ---- */

static void put_number(struct buf *b, uint64_t v, unsigned bytes)
{
	for (unsigned i = 0; i < bytes; i++)
		buf_putc(b, (char)(v >> (8 * i) & 0xff));
}

static uint64_t get_number(const char *p, unsigned bytes)
{
	uint64_t v = 0;
	for (unsigned i = 0; i < bytes; i++)
		v |= (uint64_t)(unsigned char)p[i] << (8 * i);
	return v;
}

/* OC_NOMEM only: want of memory must not look like damage. */
static int hash(const void *p, size_t n, char *ret)
{
	unsigned char whole[EVP_MAX_MD_SIZE];
	if (EVP_Digest(p, n, whole, NULL, EVP_sha256(), NULL) != 1)
		return OC_NOMEM;
	memcpy(ret, whole, HASH_BYTES);
	return 0;
}

/* 1: it is this one, 0, OC_NOMEM. */
static int hash_fits(const void *p, size_t n, const char *expected)
{
	char found[HASH_BYTES];
	int r = hash(p, n, found);
	return r < 0 ? r : memcmp(found, expected, HASH_BYTES) == 0;
}

static int hash_header(const char *header, uint64_t salt, char *ret)
{
	char salted[8 + HEADER_HASH_AT];
	for (unsigned i = 0; i < 8; i++)
		salted[i] = (char)(salt >> (8 * i) & 0xff);
	memcpy(salted + 8, header, HEADER_HASH_AT);
	return hash(salted, sizeof salted, ret);
}

/* ---- writing ---- */

static bool is_short(struct slice s) { return s.n < NONE_LENGTH; }

static void put_short(struct buf *b, struct slice s)
{
	put_number(b, slice_is_none(s) ? NONE_LENGTH : s.n, 2);
	buf_put(b, s);
}

int spool_record_put(struct buf *b, uint64_t salt, uint64_t sequence, const struct spool_event *e)
{
	static const char room_for_hashes[2 * HASH_BYTES];
	size_t begins = b->n;
	if (!is_short(e->event_id) || !is_short(e->source) || !is_short(e->key_id))
		return OC_INVALID;
	size_t length = sizeof e->body_hash + 1 + 6 + e->event_id.n + e->source.n + e->key_id.n + e->payload.n;
	buf_put(b, slice_of(MAGIC, MAGIC_BYTES));
	put_number(b, sequence, 8);
	put_number(b, e->key, 8);
	put_number(b, (uint64_t)e->received_ms, 8);
	put_number(b, length, 8);
	buf_put(b, slice_of(room_for_hashes, sizeof room_for_hashes));
	buf_put(b, slice_of((const char *)e->body_hash, sizeof e->body_hash));
	buf_putc(b, e->raw);
	put_short(b, e->event_id);
	put_short(b, e->source);
	put_short(b, e->key_id);
	buf_put(b, e->payload);
	if (buf_failed(b))
		return OC_NOMEM;
	char *header = b->p + begins;
	int r = hash(header + SPOOL_HEADER_BYTES, length, header + PAYLOAD_HASH_AT);
	return r < 0 ? r : hash_header(header, salt, header + HEADER_HASH_AT);
}

/* ---- reading one ---- */

static bool take(struct slice *s, size_t n, struct slice *ret)
{
	if (s->n < n)
		return false;
	*ret = slice_of(s->p, n);
	*s = slice_of(s->p + n, s->n - n);
	return true;
}

static bool take_short(struct slice *s, struct slice *ret)
{
	struct slice length;
	if (!take(s, 2, &length))
		return false;
	uint64_t n = get_number(length.p, 2);
	if (n != NONE_LENGTH)
		return take(s, n, ret);
	*ret = SLICE_NONE;
	return true;
}

int spool_payload_read(struct slice payload, struct spool_event *ret)
{
	struct spool_event e = *ret;
	struct slice body_hash, raw;
	if (!take(&payload, sizeof e.body_hash, &body_hash) || !take(&payload, 1, &raw) || (unsigned char)raw.p[0] > 1 ||
	    !take_short(&payload, &e.event_id) || !take_short(&payload, &e.source) || !take_short(&payload, &e.key_id))
		return OC_INVALID;
	memcpy(e.body_hash, body_hash.p, sizeof e.body_hash);
	e.raw = raw.p[0] == 1;
	e.payload = payload;
	*ret = e;
	return 0;
}

struct header {
	uint64_t sequence, key, length;
	int64_t received_ms;
	char payload_hash[HASH_BYTES];
};

/* 1: it is one, 0, OC_NOMEM. */
static int header_read(const char *p, uint64_t salt, struct header *ret)
{
	char expected[HASH_BYTES];
	if (memcmp(p, MAGIC, MAGIC_BYTES) != 0)
		return 0;
	int r = hash_header(p, salt, expected);
	if (r < 0 || memcmp(p + HEADER_HASH_AT, expected, HASH_BYTES) != 0)
		return r;
	*ret = (struct header){ .sequence = get_number(p + 8, 8), .key = get_number(p + 16, 8), .received_ms = (int64_t)get_number(p + 24, 8),
		.length = get_number(p + 32, 8) };
	memcpy(ret->payload_hash, p + PAYLOAD_HASH_AT, HASH_BYTES);
	return 1;
}

/* All n bytes at `at`, or false. A read, unlike a sync, may be tried again: what it gives is checked. */
static bool read_exactly(int fd, char *into, size_t n, off_t at)
{
	size_t done = 0;
	bool again = true;
	while (done < n) {
		ssize_t got = pread(fd, into + done, n - done, at + (off_t)done);
		if (got < 0 && (errno == EINTR || again)) {
			again = again && errno == EINTR;
			continue;
		}
		if (got <= 0)
			return false;
		done += (size_t)got;
	}
	return true;
}

int spool_place_read(int fd, const struct spool_place *p, struct arena *a, struct spool_event *ret)
{
	char *bytes = arena_alloc(a, SPOOL_HEADER_BYTES + p->length);
	if (!bytes)
		return OC_NOMEM;
	for (unsigned copy = 0; copy < 2; copy++) {
		struct spool_event e = { .key = p->key, .received_ms = p->received_ms };
		if (p->at[copy] < 0 || !read_exactly(fd, bytes, SPOOL_HEADER_BYTES + p->length, p->at[copy]))
			continue;
		int fits = hash_fits(bytes + SPOOL_HEADER_BYTES, p->length, bytes + PAYLOAD_HASH_AT);
		if (fits < 0)
			return fits;
		if (fits && spool_payload_read(slice_of(bytes + SPOOL_HEADER_BYTES, p->length), &e) == 0) {
			*ret = e;
			return 0;
		}
	}
	return OC_INVALID;
}

/* ---- scanning ---- */

struct scanner {
	int fd;
	uint64_t salt;
	bool headers_only;
	off_t size;
	char *window;
	off_t window_at;
	size_t window_bytes;
	struct buf payload;
	struct spool_scan found;
	size_t room;
	off_t bad_at; /* where the unreadable stretch at hand begins; -1: none */
	bool may_be_torn;
};

/* The bytes from `at` on, as many as the window has, SPOOL_HEADER_BYTES at least where the file has them; 0 where they cannot be read. */
static size_t look(struct scanner *s, off_t at, const char **ret)
{
	size_t want = s->size - at < SPOOL_HEADER_BYTES ? (size_t)(s->size - at) : SPOOL_HEADER_BYTES;
	if (at < s->window_at || at + (off_t)want > s->window_at + (off_t)s->window_bytes) {
		size_t n = s->size - at < WINDOW_BYTES ? (size_t)(s->size - at) : WINDOW_BYTES;
		if (!read_exactly(s->fd, s->window, n, at)) {
			n = want; /* a smaller piece perhaps */
			if (!read_exactly(s->fd, s->window, n, at))
				n = 0;
		}
		s->window_at = at;
		s->window_bytes = n;
		if (n < want)
			return 0;
	}
	*ret = s->window + (at - s->window_at);
	return s->window_bytes - (size_t)(at - s->window_at);
}

/* 1: it does, 0, OC_NOMEM. */
static int payload_fits(struct scanner *s, const struct header *h, off_t at)
{
	struct spool_event e = { .key = 0 };
	if (s->headers_only)
		return 1;
	buf_clear(&s->payload);
	if (!buf_reserve(&s->payload, h->length ? h->length : 1))
		return OC_NOMEM;
	if (!read_exactly(s->fd, s->payload.p, h->length, at + SPOOL_HEADER_BYTES))
		return 0;
	int fits = hash_fits(s->payload.p, h->length, h->payload_hash);
	return fits <= 0 ? fits : spool_payload_read(slice_of(s->payload.p, h->length), &e) == 0;
}

static int add_place(struct scanner *s, const struct header *h, off_t at)
{
	struct spool_scan *f = &s->found;
	if (f->count == s->room) {
		size_t room = s->room ? s->room * 2 : 256;
		struct spool_place *more = realloc(f->places, room * sizeof *more);
		if (!more)
			return OC_NOMEM;
		f->places = more;
		s->room = room;
	}
	f->places[f->count++] = (struct spool_place){ h->sequence, h->key, h->length, h->received_ms, { at, -1 } };
	return 0;
}

/* What lies between bad_at and `at` could not be read; a record follows. */
static void end_stretch(struct scanner *s, off_t at)
{
	struct spool_damage *d = &s->found.damage;
	if (s->bad_at < 0)
		return;
	if (d->stretches++ == 0)
		d->first_at = s->bad_at;
	d->bytes += at - s->bad_at;
	s->bad_at = -1;
}

static void begin_stretch(struct scanner *s, off_t at, bool may_be_torn)
{
	if (s->bad_at >= 0)
		return;
	s->bad_at = at;
	s->may_be_torn = may_be_torn;
}

/* Blocks that the file system counted but nobody had written when the power went. */
static bool is_zero(struct scanner *s, off_t at)
{
	while (at < s->size) {
		const char *p;
		size_t n = look(s, at, &p);
		for (size_t i = 0; i < n; i++)
			if (p[i])
				return false;
		if (n == 0)
			return false;
		at += (off_t)n;
	}
	return true;
}

static void end_file(struct scanner *s)
{
	if (s->bad_at >= 0 && (s->may_be_torn || is_zero(s, s->bad_at)))
		s->found.damage.torn_bytes = s->size - s->bad_at;
	else
		end_stretch(s, s->size);
}

/* Where to look next: behind a record, or where the next one may begin. */
static int step(struct scanner *s, off_t *at)
{
	const char *p;
	struct header h = { .length = 0 };
	size_t n = look(s, *at, &p);
	if (n == 0) {
		begin_stretch(s, *at, false);
		*at += UNREADABLE_BYTES - *at % UNREADABLE_BYTES;
		return 0;
	}
	if (n < SPOOL_HEADER_BYTES) { /* the file's last bytes */
		begin_stretch(s, *at, true);
		*at = s->size;
		return 0;
	}
	int fits = header_read(p, s->salt, &h);
	bool torn = fits > 0 && h.length > (uint64_t)(s->size - *at - SPOOL_HEADER_BYTES);
	if (fits > 0 && !torn)
		fits = payload_fits(s, &h, *at);
	if (fits < 0)
		return fits;
	if (fits && !torn) {
		end_stretch(s, *at);
		int r = add_place(s, &h, *at);
		*at += SPOOL_HEADER_BYTES + (off_t)h.length;
		return r;
	}
	begin_stretch(s, *at, torn);
	const char *next = memchr(p + 1, MAGIC[0], n - 1);
	*at += next ? next - p : (off_t)n;
	return 0;
}

static int by_sequence(const void *x, const void *y)
{
	const struct spool_place *a = x, *b = y;
	if (a->sequence != b->sequence)
		return a->sequence < b->sequence ? -1 : 1;
	return (a->at[0] > b->at[0]) - (a->at[0] < b->at[0]);
}

static void join_copies(struct spool_scan *f)
{
	size_t count = 0;
	if (f->count > 1)
		qsort(f->places, f->count, sizeof *f->places, by_sequence);
	for (size_t i = 0; i < f->count; i++) {
		struct spool_place *last = count ? &f->places[count - 1] : NULL;
		if (!last || last->sequence != f->places[i].sequence)
			f->places[count++] = f->places[i];
		else if (last->at[1] < 0 && last->length == f->places[i].length)
			last->at[1] = f->places[i].at[0];
	}
	f->count = count;
	if (count && f->places[count - 1].sequence >= count)
		f->damage.lost = (int64_t)(f->places[count - 1].sequence - count);
}

int spool_scan_file(int fd, uint64_t salt, bool headers_only, struct spool_scan *ret)
{
	struct scanner s = { .fd = fd, .salt = salt, .headers_only = headers_only, .bad_at = -1, .payload = BUF_INIT };
	struct stat info;
	int r = 0;
	if (fstat(fd, &info) == 0)
		s.size = info.st_size;
	s.window = malloc(WINDOW_BYTES);
	if (!s.window)
		return OC_NOMEM;
	for (off_t at = 0; at < s.size && r == 0;)
		r = step(&s, &at);
	if (r == 0) {
		end_file(&s);
		join_copies(&s.found);
		*ret = s.found;
	} else {
		spool_scan_done(&s.found);
	}
	buf_done(&s.payload);
	free(s.window);
	return r;
}

void spool_scan_done(struct spool_scan *s)
{
	free(s->places);
	*s = (struct spool_scan){ .places = NULL };
}
