/* The open spool: appending within the limit, the pause after an error, draining.
 *
 * Order of an append: records and their copies in one write, fdatasync of the file, fsync of the directory where the file is new, and only then 0. An
 * error anywhere closes the file; what of it was synced before is drained like any other, and so is what happens to be whole of the
 * append that failed: its sender was told to send it again, and ids are unique.
 * Under the lock is all but the reading of the file that is drained, which nobody writes any more. */
#include "store/spool_work.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/clock.h"

#define LIMIT_BYTES ((int64_t)1 << 30)
#define FILE_BYTES ((int64_t)4 << 20)
#define PAUSE_MS 1000
#define WRITE_BYTES 1048576 /* an append of more is several writes */
#define KEPT_TEXT_BYTES (4 * WRITE_BYTES)

/* ---- life ---- */

static struct segment *add_segment(struct spool *s)
{
	if (s->count == s->size) {
		size_t size = s->size ? s->size * 2 : 64;
		struct segment *longer = realloc(s->segments, size * sizeof *longer);
		if (!longer)
			return NULL;
		s->segments = longer;
		s->size = size;
	}
	s->segments[s->count] = (struct segment){ .bytes = 0 };
	return &s->segments[s->count++];
}

static int open_for_reading(const struct spool *s, struct spool_file_name n)
{
	char name[SPOOL_NAME_BYTES];
	spool_name_write(n, name);
	return openat(s->directory, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
}

/* A file of an earlier process. One that cannot be opened now is met again when it is drained. */
static int count_left(struct spool *s, struct segment *g, void (*left)(void *context, uint64_t key), void *context)
{
	struct spool_scan scan;
	struct stat info;
	int fd = open_for_reading(s, g->name);
	if (fd < 0)
		return 0;
	int r = spool_scan_file(fd, g->name.salt, true, &scan);
	if (r == 0) {
		g->bytes = fstat(fd, &info) == 0 ? info.st_size : 0;
		g->events = (int64_t)scan.count;
		g->oldest_ms = scan.count ? scan.places[0].received_ms : 0;
		s->bytes += g->bytes;
		for (size_t i = 0; i < scan.count && left; i++)
			left(context, scan.places[i].key);
		spool_scan_done(&scan);
	}
	close(fd);
	return r;
}

int spool_take_stock(struct spool *s, void (*left)(void *context, uint64_t key), void *context)
{
	struct spool_file_name *names;
	size_t n;
	int r = spool_directory_list(s->directory, &names, &n);
	if (r < 0)
		return r;
	for (size_t i = 0; i < n && r == 0; i++) {
		if (names[i].number >= s->next_number)
			s->next_number = names[i].number + 1;
		if (names[i].kind != SPOOL_WAITING) {
			s->set_aside++;
			continue;
		}
		struct segment *g = add_segment(s);
		if (g)
			g->name = names[i];
		r = g ? count_left(s, g, left, context) : OC_NOMEM;
	}
	free(names);
	return r;
}

int spool_open(const struct spool_options *o, struct arena *message_arena, struct spool **ret, struct slice *ret_message)
{
	struct spool *s = calloc(1, sizeof *s);
	if (!s)
		return OC_NOMEM;
	s->o = *o;
	s->o.limit_bytes = o->limit_bytes > 0 ? o->limit_bytes : LIMIT_BYTES;
	s->o.file_bytes = o->file_bytes > 0 ? o->file_bytes : FILE_BYTES;
	s->o.pause_ms = o->pause_ms > 0 ? o->pause_ms : PAUSE_MS;
	s->directory = s->lock_file = s->fd = s->drain_fd = -1;
	s->next_number = 1;
	pthread_mutex_init(&s->lock, NULL);
	s->o.directory = NULL;
	int r = spool_directory_open(o->directory, message_arena, &s->directory, &s->lock_file, ret_message);
	if (r < 0)
		spool_close(s);
	else
		*ret = s;
	return r;
}

static void close_file(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

void spool_close(struct spool *s)
{
	if (!s)
		return;
	close_file(&s->fd);
	close_file(&s->drain_fd);
	close_file(&s->directory);
	close_file(&s->lock_file);
	spool_scan_done(&s->scan);
	buf_done(&s->text);
	free(s->segments);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

/* ---- appending; under the lock ---- */

void spool_seal(struct spool *s) { close_file(&s->fd); }

static void keep_error(struct spool *s, const char *what, int error)
{
	s->failed = true;
	s->pause_until_ns = clock_mono_ns() + s->o.pause_ms * 1000000;
	snprintf(s->error, sizeof s->error, "%s: %s", what, strerror(error));
}

static int disk_failed(struct spool *s, const char *what, int error)
{
	keep_error(s, what, error);
	spool_seal(s);
	return OC_IO;
}

static int begin_file(struct spool *s)
{
	struct spool_file_name name;
	struct segment *g = add_segment(s);
	if (!g)
		return OC_NOMEM;
	int fd = spool_file_make(s->directory, s->next_number, &name);
	if (fd < 0) {
		s->count--;
		return disk_failed(s, "a file cannot be made in the spool directory", -fd);
	}
	g->name = name;
	s->fd = fd;
	s->next_number++;
	s->next_sequence = 1;
	return 0;
}

/* The gathered records and behind them their copies. */
static int write_twice(struct spool *s, struct segment *g)
{
	size_t total = 2 * s->text.n, done = 0;
	while (done < total) {
		size_t first = done < s->text.n ? s->text.n - done : 0, second = first ? s->text.n : total - done;
		struct iovec parts[2] = { { s->text.p + (s->text.n - first), first }, { s->text.p + (s->text.n - second), second } };
		ssize_t n = pwritev(s->fd, parts, 2, (off_t)g->bytes);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return disk_failed(s, "writing to the spool", n < 0 ? errno : ENOSPC);
		done += (size_t)n;
		g->bytes += n;
		s->bytes += n;
	}
	buf_clear(&s->text);
	return 0;
}

static int sync_file(struct spool *s, bool is_new)
{
	if (fdatasync(s->fd) != 0)
		return disk_failed(s, "syncing the spool", errno);
	if (is_new && fsync(s->directory) != 0)
		return disk_failed(s, "syncing the spool directory", errno);
	return 0;
}

/* As many events as go into one write; *ret_n of them. */
static int gather(struct spool *s, const struct spool_event *events, size_t n, struct segment *g, size_t *ret_n)
{
	size_t i = 0;
	buf_clear(&s->text);
	while (i < n && (i == 0 || s->text.n < WRITE_BYTES)) {
		int r = spool_record_put(&s->text, g->name.salt, s->next_sequence, &events[i]);
		if (r < 0)
			return r;
		s->next_sequence++;
		i++;
	}
	*ret_n = i;
	return 0;
}

static int append_all(struct spool *s, const struct spool_event *events, size_t n)
{
	for (size_t at = 0; at < n;) {
		bool is_new = s->fd < 0;
		size_t taken = 0;
		int r = is_new ? begin_file(s) : 0;
		if (r < 0)
			return r;
		struct segment *g = &s->segments[s->count - 1];
		do {
			r = gather(s, events + at, n - at, g, &taken);
			if (r == 0)
				r = write_twice(s, g);
			if (r < 0)
				return r;
			if (!g->oldest_ms)
				g->oldest_ms = events[at].received_ms;
			g->events += (int64_t)taken;
			at += taken;
		} while (at < n && g->bytes < s->o.file_bytes);
		r = sync_file(s, is_new);
		if (r < 0)
			return r;
		if (g->bytes >= s->o.file_bytes)
			spool_seal(s);
	}
	return 0;
}

static int64_t bytes_of(const struct spool_event *events, size_t n)
{
	int64_t bytes = 0;
	for (size_t i = 0; i < n; i++)
		bytes += (int64_t)(SPOOL_HEADER_BYTES + sizeof events->body_hash + 7 + events[i].event_id.n + events[i].source.n + events[i].key_id.n +
				   events[i].payload.n);
	return 2 * bytes;
}

int spool_append(struct spool *s, const struct spool_event *events, size_t n)
{
	int r = 0;
	if (n == 0)
		return 0;
	pthread_mutex_lock(&s->lock);
	s->full = s->bytes + bytes_of(events, n) > s->o.limit_bytes;
	if (s->full)
		r = OC_FULL;
	else if (s->failed && clock_mono_ns() < s->pause_until_ns)
		r = OC_IO;
	else
		r = append_all(s, events, n);
	if (r == 0)
		s->failed = false;
	else if (r != OC_FULL)
		spool_seal(s); /* whatever failed: what is in the file now is not acknowledged, and nothing follows it */
	if (s->text.size > KEPT_TEXT_BYTES)
		buf_done(&s->text);
	pthread_mutex_unlock(&s->lock);
	return r;
}

void spool_get_status(struct spool *s, struct spool_status *ret)
{
	pthread_mutex_lock(&s->lock);
	struct spool_status t = { .bytes = s->bytes, .limit_bytes = s->o.limit_bytes, .set_aside = s->set_aside };
	for (size_t i = 0; i < s->count; i++) {
		t.events += s->segments[i].events;
		if (!t.oldest_ms)
			t.oldest_ms = s->segments[i].oldest_ms;
	}
	t.events -= s->drained_of_first;
	t.takes = !s->failed && !s->full;
	if (s->full)
		snprintf(t.error, sizeof t.error, "the limit of %lld bytes is reached", (long long)s->o.limit_bytes);
	else if (s->failed)
		memcpy(t.error, s->error, sizeof t.error);
	pthread_mutex_unlock(&s->lock);
	*ret = t;
}

/* ---- draining ---- */

/* Ends the writing of the oldest file where it is still written. False: nothing waits. */
static bool first_segment(struct spool *s, struct segment *ret)
{
	pthread_mutex_lock(&s->lock);
	bool any = s->count > 0;
	if (s->count == 1)
		spool_seal(s);
	if (any)
		*ret = s->segments[0];
	pthread_mutex_unlock(&s->lock);
	return any;
}

static int begin_draining(struct spool *s)
{
	struct segment g;
	if (s->begun || !first_segment(s, &g))
		return 0;
	int fd = open_for_reading(s, g.name);
	if (fd < 0 && errno != ENOENT && errno != ELOOP && errno != EIO) /* descriptors, permissions: that can be mended */
		return errno == EACCES || errno == EPERM ? OC_DENIED : OC_NOMEM;
	struct spool_scan scan = { .damage.lost = fd < 0 ? g.events : 0 };
	int r = fd < 0 ? 0 : spool_scan_file(fd, g.name.salt, false, &scan);
	if (r < 0) {
		close_file(&fd);
		return r;
	}
	pthread_mutex_lock(&s->lock);
	s->segments[0].events = (int64_t)scan.count;
	if (scan.count)
		s->segments[0].oldest_ms = scan.places[0].received_ms;
	pthread_mutex_unlock(&s->lock);
	s->draining = g.name;
	s->drain_fd = fd;
	s->scan = scan;
	s->position = s->given = 0;
	s->begun = true;
	s->told = s->keeps_refused = false;
	return 0;
}

static int read_events(struct spool *s, size_t most, size_t most_bytes, struct arena *a, struct spool_batch *b)
{
	size_t bytes = 0;
	b->events = ARENA_ARRAY(a, struct spool_event, most);
	if (!b->events)
		return OC_NOMEM;
	while (s->position + b->count < s->scan.count && b->count < most && (b->count == 0 || bytes < most_bytes)) {
		const struct spool_place *p = &s->scan.places[s->position + b->count];
		int r = spool_place_read(s->drain_fd, p, a, &b->events[b->count]);
		if (r == OC_NOMEM)
			return r;
		if (r < 0) { /* it could be read a moment ago */
			s->scan.damage.lost++;
			s->scan.damage.stretches++;
			memmove(&s->scan.places[s->position + b->count], p + 1,
				(s->scan.count - s->position - b->count - 1) * sizeof *p);
			s->scan.count--;
			continue;
		}
		bytes += b->events[b->count++].payload.n;
	}
	return 0;
}

int spool_next(struct spool *s, size_t most, size_t most_bytes, struct arena *a, struct spool_batch *ret)
{
	char name[SPOOL_NAME_BYTES];
	struct spool_batch b = { .count = 0 };
	assert(most > 0);
	int r = begin_draining(s);
	if (r == 0 && s->begun)
		r = read_events(s, most, most_bytes, a, &b);
	if (r < 0)
		return r;
	s->given = b.count;
	b.waits = s->begun;
	if (s->begun && !s->told) {
		b.begins = true;
		spool_name_write(s->draining, name);
		b.file = arena_dup(a, slice_cstr(name));
		b.damage = s->scan.damage;
		b.file_events = (int64_t)s->scan.count;
		if (!b.file)
			return OC_NOMEM;
		s->told = true;
	}
	*ret = b;
	return 0;
}

static int rename_aside(struct spool *s, struct spool_file_name n, enum spool_file_kind kind)
{
	char from[SPOOL_NAME_BYTES], to[SPOOL_NAME_BYTES];
	spool_name_write(n, from);
	n.kind = kind;
	spool_name_write(n, to);
	return renameat(s->directory, from, s->directory, to) == 0 || errno == ENOENT ? 0 : OC_IO;
}

static int remove_file(struct spool *s, struct spool_file_name n)
{
	char name[SPOOL_NAME_BYTES];
	spool_name_write(n, name);
	return unlinkat(s->directory, name, 0) == 0 || errno == ENOENT ? 0 : OC_IO;
}

/* The first file is done with: also where it cannot be removed, which the next start will try again. */
static int end_draining(struct spool *s, bool *ret_aside)
{
	struct spool_file_name n = s->draining;
	bool damaged = s->scan.damage.stretches > 0 || s->scan.damage.lost > 0, aside = damaged || s->keeps_refused;
	int r = aside ? rename_aside(s, n, damaged ? SPOOL_DAMAGED : SPOOL_REFUSED) : remove_file(s, n);
	close_file(&s->drain_fd);
	spool_scan_done(&s->scan);
	s->begun = false;
	pthread_mutex_lock(&s->lock);
	s->bytes -= s->segments[0].bytes;
	s->drained_of_first = 0;
	s->set_aside += aside;
	s->full = false;
	s->count--;
	memmove(s->segments, s->segments + 1, s->count * sizeof *s->segments);
	pthread_mutex_unlock(&s->lock);
	*ret_aside = aside;
	return r;
}

int spool_drained(struct spool *s, size_t n, bool refused, bool *ret_aside)
{
	assert(s->begun && n <= s->given);
	s->position += n;
	s->given -= n;
	s->keeps_refused |= refused;
	pthread_mutex_lock(&s->lock);
	s->drained_of_first += (int64_t)n;
	pthread_mutex_unlock(&s->lock);
	*ret_aside = false;
	return s->position < s->scan.count ? 0 : end_draining(s, ret_aside);
}
