/* The spool's files. Two halves, by the first byte: any bytes as a file, of which only what is really a record may be taken; and a file as it is
 * written, with places of it damaged or its end cut off: what comes back is what went in, in order, and everything does of which one copy was
 * not touched. */
#include "must.h"

#include <sys/mman.h>
#include <unistd.h>

#include "store/spool_work.h"

#define EVENTS_MOST 8
#define DAMAGES_MOST 4
#define SALT UINT64_C(0xa123456789abcdef)

struct input {
	const uint8_t *p;
	size_t n;
};

static unsigned byte(struct input *in)
{
	if (in->n == 0)
		return 0;
	in->n--;
	return *in->p++;
}

static struct slice bytes(struct input *in, size_t n)
{
	n = n < in->n ? n : in->n;
	struct slice s = slice_of((const char *)in->p, n);
	in->p += n;
	in->n -= n;
	return s;
}

static int file_of(struct slice content)
{
	int fd = memfd_create("spool", MFD_CLOEXEC);
	must(fd >= 0);
	must(write(fd, content.p, content.n) == (ssize_t)content.n);
	return fd;
}

/* What holds whatever is in the file. */
static void look_at(int fd, uint64_t salt, struct slice content, const struct spool_scan *scan, struct arena *a)
{
	const struct spool_damage *d = &scan->damage;
	size_t in_records = 0;
	must(d->stretches >= 0 && (d->stretches == 0) == (d->bytes == 0) && d->lost >= 0);
	for (size_t i = 0; i < scan->count; i++) {
		const struct spool_place *p = &scan->places[i];
		struct spool_event e;
		must(i == 0 || scan->places[i - 1].sequence < p->sequence);
		for (int copy = 0; copy < 2 && p->at[copy] >= 0; copy++) {
			struct buf again = BUF_INIT;
			must((size_t)p->at[copy] + SPOOL_HEADER_BYTES + p->length <= content.n);
			struct spool_place one = *p;
			one.at[0] = p->at[copy];
			one.at[1] = -1;
			must(spool_place_read(fd, &one, a, &e) == 0);
			must(spool_record_put(&again, salt, p->sequence, &e) == 0);
			must(slice_eq(buf_slice(&again), slice_of(content.p + p->at[copy], SPOOL_HEADER_BYTES + p->length)));
			in_records += again.n;
			buf_done(&again);
		}
	}
	/* Third and further copies are passed over, and count nowhere. */
	must(in_records + (size_t)d->bytes + (size_t)d->torn_bytes <= content.n);
	if (scan->count == 0)
		must((size_t)d->bytes + (size_t)d->torn_bytes == content.n);
}

static void any_bytes(struct slice content, struct arena *a)
{
	struct spool_scan scan, quick;
	struct spool_event e = { .key = 0 };
	int fd = file_of(content);
	must(spool_scan_file(fd, 0, false, &scan) == 0);
	must(spool_scan_file(fd, 0, true, &quick) == 0);
	/* A header alone is believed about its length: where its payload is damaged it may reach over what the whole scan still finds. */
	if (scan.damage.stretches == 0 && scan.damage.torn_bytes == 0)
		must(quick.count == scan.count);
	look_at(fd, 0, content, &scan, a);
	if (spool_payload_read(content, &e) == 0)
		must(e.event_id.n + e.source.n + e.key_id.n + e.payload.n + 39 == content.n);
	spool_scan_done(&scan);
	spool_scan_done(&quick);
	close(fd);
}

static void any_name(struct slice text)
{
	struct spool_file_name n;
	char name[SPOOL_NAME_BYTES], again[SPOOL_NAME_BYTES];
	if (text.n >= sizeof name)
		return;
	memcpy(name, text.p, text.n);
	name[text.n] = '\0';
	if (!spool_name_read(name, &n))
		return;
	spool_name_write(n, again);
	must(strcmp(name, again) == 0);
}

struct written {
	struct spool_event events[EVENTS_MOST];
	size_t at[EVENTS_MOST][2], length[EVENTS_MOST], count;
	struct buf file;
};

static void write_events(struct input *in, struct written *w)
{
	w->count = 1 + byte(in) % EVENTS_MOST;
	size_t group = 1 + byte(in) % 3;
	for (size_t i = 0; i < w->count; i++) {
		struct spool_event *e = &w->events[i];
		*e = (struct spool_event){ .key = byte(in), .received_ms = (int64_t)byte(in) - 100, .raw = byte(in) & 1 };
		memset(e->body_hash, (int)byte(in), sizeof e->body_hash);
		e->event_id = bytes(in, byte(in) % 20);
		e->source = SLICE("livekit");
		e->key_id = byte(in) & 1 ? bytes(in, byte(in) % 8) : SLICE_NONE;
		e->payload = bytes(in, byte(in));
	}
	for (size_t from = 0; from < w->count; from += group)
		for (int copy = 0; copy < 2; copy++)
			for (size_t i = from; i < from + group && i < w->count; i++) {
				w->at[i][copy] = w->file.n;
				must(spool_record_put(&w->file, SALT, i + 1, &w->events[i]) == 0);
				w->length[i] = w->file.n - w->at[i][copy];
			}
}

/* Does anything of [at, at + n) differ now? */
static bool touched(const struct written *w, struct slice before, size_t at, size_t n)
{
	return at + n > w->file.n || memcmp(before.p + at, w->file.p + at, n) != 0;
}

static void damage(struct input *in, struct written *w)
{
	size_t count = byte(in) % DAMAGES_MOST;
	for (size_t i = 0; i < count && w->file.n; i++) {
		size_t at = (byte(in) | byte(in) << 8) % w->file.n, n = 1 + byte(in);
		unsigned how = byte(in);
		for (size_t k = at; k < at + n && k < w->file.n; k++)
			w->file.p[k] = (char)(how & 1 ? how : (unsigned char)w->file.p[k] ^ how);
	}
	if (byte(in) & 1)
		w->file.n = (byte(in) | byte(in) << 8) % (w->file.n + 1);
}

static void written_and_damaged(struct input *in, struct arena *a)
{
	struct written w = { .file = BUF_INIT };
	struct spool_scan scan;
	write_events(in, &w);
	char *whole = arena_dup(a, buf_slice(&w.file));
	must(whole);
	struct slice before = slice_of(whole, w.file.n);
	damage(in, &w);
	int fd = file_of(buf_slice(&w.file));
	must(spool_scan_file(fd, SALT, false, &scan) == 0);
	look_at(fd, SALT, buf_slice(&w.file), &scan, a);
	size_t found = 0;
	for (size_t i = 0; i < w.count; i++) {
		bool there = found < scan.count && scan.places[found].sequence == i + 1;
		if (!touched(&w, before, w.at[i][0], w.length[i]) || !touched(&w, before, w.at[i][1], w.length[i]))
			must(there);
		if (!there)
			continue;
		struct spool_event e;
		must(spool_place_read(fd, &scan.places[found++], a, &e) == 0);
		must(slice_eq(e.event_id, w.events[i].event_id) && slice_eq(e.payload, w.events[i].payload) && e.raw == w.events[i].raw);
		must(e.key == w.events[i].key && e.received_ms == w.events[i].received_ms);
		must(slice_eq(e.key_id, w.events[i].key_id) && slice_is_none(e.key_id) == slice_is_none(w.events[i].key_id));
	}
	must(found == scan.count);
	if (scan.count)
		must(scan.damage.lost == (int64_t)(scan.places[scan.count - 1].sequence - scan.count));
	spool_scan_done(&scan);
	buf_done(&w.file);
	close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, size };
	struct arena *a = arena_new(16384);
	must(a);
	switch (byte(&in) % 3) {
	case 0: any_bytes(bytes(&in, in.n), a); break;
	case 1: written_and_damaged(&in, a); break;
	case 2: any_name(bytes(&in, in.n)); break;
	}
	arena_free(a);
	return 0;
}
