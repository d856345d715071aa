/* The item of `outcomed check` about the spool: its directory, what waits in it, what was set aside, and the way back. Takes no lock, so it may run
 * beside the daemon. Main thread only. */
#include "cmd/check.h"

#include "base/clock.h"
#include "store/spool.h"

#define ITEM "spool"
#define LEAST_FREE_PART 8 /* so small a part of the limit may be free at least */

struct seen {
	int64_t waiting_files, events, bytes, oldest_ms, damaged_waiting;
	int64_t aside[SPOOL_REFUSED + 1];
	const struct spool_file *first[SPOOL_REFUSED + 1];
};

static struct seen look(const struct spool_inspection *found)
{
	struct seen s = { .events = 0 };
	for (size_t i = 0; i < found->count; i++) {
		const struct spool_file *f = &found->files[i];
		s.aside[f->kind]++;
		if (!s.first[f->kind])
			s.first[f->kind] = f;
		if (f->kind != SPOOL_WAITING)
			continue;
		s.waiting_files++;
		s.events += f->events;
		s.bytes += f->bytes;
		s.damaged_waiting += f->damage.stretches > 0;
		if (!s.oldest_ms)
			s.oldest_ms = f->oldest_ms;
	}
	return s;
}

static void check_aside(struct checking *c, const char *directory, const struct seen *s)
{
	const struct spool_file *damaged = s->first[SPOOL_DAMAGED], *refused = s->first[SPOOL_REFUSED];
	if (damaged)
		check_fail(c, ITEM, arena_text(c->arena, "%lld damaged files, the first %s/%s: unreadable at byte %lld, events lost %lld",
						(long long)s->aside[SPOOL_DAMAGED], directory, damaged->name, (long long)damaged->damage.first_at,
						(long long)damaged->damage.lost),
			   "see to the disk; all that can be read of them is in the database, so delete them then");
	if (refused)
		check_fail(c, ITEM, arena_text(c->arena, "%lld files with an event that the database refuses, the first %s/%s", (long long)s->aside[SPOOL_REFUSED],
						directory, refused->name),
			   "the log says which and why (spool_event_refused): mend that, rename the file to end in .spool and restart, or delete it");
	if (s->damaged_waiting)
		check_fail(c, ITEM, arena_text(c->arena, "%lld of the files that wait are damaged", (long long)s->damaged_waiting),
			   "see to the disk; every event is in them twice, and what can be read is drained");
}

static void check_found(struct checking *c, const char *directory, const struct spool_inspection *found)
{
	int64_t limit = c->config->spool_limit_bytes, before = (int64_t)c->failed;
	struct seen s = look(found);
	if (!found->writable)
		check_fail(c, ITEM, arena_text(c->arena, "%s cannot be written to", directory), "check its owner and the file system");
	if (!found->private)
		check_fail(c, ITEM, arena_text(c->arena, "%s can be read by others, and there are calls in it", directory), "chmod 700 it");
	if (found->free_bytes < (limit - s.bytes) / LEAST_FREE_PART)
		check_fail(c, ITEM, arena_text(c->arena, "%lld MiB are free for %s, --spool-limit is %lld MiB", (long long)(found->free_bytes >> 20), directory,
						(long long)(limit >> 20)),
			   "make room, or set the limit to what there is");
	check_aside(c, directory, &s);
	if (s.events && !found->process)
		check_fail(c, ITEM, arena_text(c->arena, "%lld events wait in %s and no daemon has it open", (long long)s.events, directory),
			   "start outcomed serve with this --spool: it drains them");
	if ((int64_t)c->failed != before)
		return;
	if (s.events)
		check_ok(ITEM, "%s: %lld events wait, the oldest for %lld s; %lld of %lld MiB", directory, (long long)s.events,
			 (long long)((clock_wall_ms() - s.oldest_ms) / 1000), (long long)(s.bytes >> 20), (long long)(limit >> 20));
	else
		check_ok(ITEM, "%s: nothing waits; there is room for %lld MiB", directory, (long long)(limit >> 20));
}

void check_spool(struct checking *c)
{
	struct spool_inspection found;
	struct slice message = SLICE("out of memory");
	if (slice_eq_cstr(c->config->spool, "none")) {
		check_skip(ITEM, "--spool is none: what the database does not take gets 503");
		return;
	}
	const char *directory = arena_dup(c->arena, c->config->spool);
	int r = directory ? spool_inspect(directory, c->arena, &found, &message) : OC_NOMEM;
	if (r == OC_NOT_FOUND)
		check_skip(ITEM, "not there yet (--spool): outcomed serve makes it");
	else if (r)
		check_fail(c, ITEM, message, "");
	else
		check_found(c, directory, &found);
}
