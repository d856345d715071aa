/* The spool seen from outside, for `check` and the command line, and rewritten without some of its events.
 *
 * Looking takes no lock, so it may be done beside a daemon: a file that goes meanwhile is left out, a record that is being written counts as torn.
 * Filtering writes what stays into new files, synced, before it removes an old one: cut off in between it leaves events twice, which is harmless,
 * and never too few. */
#include "store/spool_work.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "store/backend.h"

#define FILTER_BYTES 1048576 /* of events that are held in memory at once, at least one */

/* ---- looking ---- */

static int open_file(int directory, struct spool_file_name n)
{
	char name[SPOOL_NAME_BYTES];
	spool_name_write(n, name);
	return openat(directory, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
}

/* 1, or 0 where the file is gone. */
static int look_at(int directory, struct spool_file_name n, struct arena *a, struct spool_file *ret)
{
	char name[SPOOL_NAME_BYTES];
	struct spool_scan scan;
	struct stat info;
	int fd = open_file(directory, n);
	if (fd < 0)
		return 0;
	spool_name_write(n, name);
	*ret = (struct spool_file){ .name = arena_dup(a, slice_cstr(name)), .kind = n.kind, .bytes = fstat(fd, &info) == 0 ? info.st_size : 0 };
	int r = ret->name ? spool_scan_file(fd, n.salt, false, &scan) : OC_NOMEM;
	close(fd);
	if (r < 0)
		return r;
	ret->events = (int64_t)scan.count;
	ret->oldest_ms = scan.count ? scan.places[0].received_ms : 0;
	ret->damage = scan.damage;
	spool_scan_done(&scan);
	return 1;
}

static int look_at_all(int directory, struct arena *a, struct spool_inspection *ret)
{
	struct spool_file_name *names;
	size_t n;
	int r = spool_directory_list(directory, &names, &n);
	if (r < 0)
		return r;
	ret->files = ARENA_ARRAY(a, struct spool_file, n);
	r = ret->files ? 0 : OC_NOMEM;
	for (size_t i = 0; i < n && r >= 0; i++) {
		r = look_at(directory, names[i], a, &ret->files[ret->count]);
		ret->count += r > 0;
	}
	free(names);
	return r < 0 ? r : 0;
}

int spool_inspect(const char *directory, struct arena *a, struct spool_inspection *ret, struct slice *ret_message)
{
	struct spool_inspection found = { .count = 0 };
	struct stat info;
	struct statvfs space;
	int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT)
		return store_fail(OC_NOT_FOUND, a, ret_message, "there is no directory %s", directory);
	if (fd < 0)
		return store_fail(OC_CONFIG, a, ret_message, "the spool directory %s cannot be read: %s", directory, strerror(errno));
	found.process = spool_process(fd);
	found.private = fstat(fd, &info) == 0 && (info.st_mode & 077) == 0;
	found.writable = faccessat(fd, ".", W_OK | X_OK, 0) == 0;
	if (fstatvfs(fd, &space) == 0)
		found.free_bytes = (int64_t)(space.f_bavail * space.f_frsize);
	int r = look_at_all(fd, a, &found);
	close(fd);
	if (r < 0)
		return store_fail(r, a, ret_message, "the spool directory %s cannot be read: %s", directory, oc_error_text(r));
	*ret = found;
	return 0;
}

/* ---- filtering ---- */

struct filter {
	struct spool *s;
	bool (*keep)(void *context, const struct spool_event *e);
	void *context;
	struct arena *a;
	int64_t removed;
};

/* Every event of the file that stays, appended; OC_NOMEM and what spool_append says. */
static int append_kept(struct filter *f, int fd, const struct spool_scan *scan)
{
	int r = 0;
	for (size_t i = 0; i < scan->count && r == 0;) {
		struct spool_event *events = ARENA_ARRAY(f->a, struct spool_event, scan->count - i);
		size_t n = 0, bytes = 0;
		for (; events && i < scan->count && bytes < FILTER_BYTES; i++) {
			r = spool_place_read(fd, &scan->places[i], f->a, &events[n]);
			if (r == OC_NOMEM)
				return r;
			if (r < 0)
				continue;
			bytes += events[n].payload.n + sizeof events[n];
			if (f->keep(f->context, &events[n]))
				n++;
			else
				f->removed++;
		}
		r = events ? spool_append(f->s, events, n) : OC_NOMEM;
		arena_reset(f->a);
	}
	return r;
}

static void forget_file(struct spool *s, struct spool_file_name n)
{
	pthread_mutex_lock(&s->lock);
	s->set_aside -= n.kind != SPOOL_WAITING;
	for (size_t i = 0; i < s->count; i++) {
		if (n.kind != SPOOL_WAITING || s->segments[i].name.number != n.number)
			continue;
		s->bytes -= s->segments[i].bytes;
		s->count--;
		memmove(&s->segments[i], &s->segments[i + 1], (s->count - i) * sizeof *s->segments);
		break;
	}
	pthread_mutex_unlock(&s->lock);
}

static int filter_file(struct filter *f, struct spool_file_name n)
{
	char name[SPOOL_NAME_BYTES];
	struct spool_scan scan = { .places = NULL };
	int fd = open_file(f->s->directory, n);
	if (fd < 0)
		return errno == ENOENT ? 0 : OC_IO;
	int r = spool_scan_file(fd, n.salt, false, &scan);
	if (r == 0)
		r = append_kept(f, fd, &scan);
	close(fd);
	spool_scan_done(&scan);
	spool_name_write(n, name);
	if (r < 0)
		return r;
	if (unlinkat(f->s->directory, name, 0) != 0 && errno != ENOENT)
		return OC_IO;
	forget_file(f->s, n);
	return 0;
}

int spool_filter(struct spool *s, bool (*keep)(void *context, const struct spool_event *e), void *context, int64_t *ret_removed)
{
	_cleanup_arena_ struct arena *a = arena_new(65536);
	struct filter f = { .s = s, .keep = keep, .context = context, .a = a };
	struct spool_file_name *names;
	size_t n;
	int64_t limit_bytes = s->o.limit_bytes;
	assert(!s->begun);
	int r = a ? spool_directory_list(s->directory, &names, &n) : OC_NOMEM;
	if (r < 0)
		return r;
	pthread_mutex_lock(&s->lock);
	spool_seal(s);
	s->o.limit_bytes = INT64_MAX; /* what is written anew is there twice for a while */
	pthread_mutex_unlock(&s->lock);
	for (size_t i = 0; i < n && r == 0; i++)
		r = filter_file(&f, names[i]);
	free(names);
	pthread_mutex_lock(&s->lock);
	s->o.limit_bytes = limit_bytes;
	pthread_mutex_unlock(&s->lock);
	if (r == 0 && fsync(s->directory) != 0) /* what was to go shall not come back */
		r = OC_IO;
	if (r == 0)
		*ret_removed = f.removed;
	return r;
}
