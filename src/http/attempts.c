#include "http/attempts.h"

#include <pthread.h>
#include <stdlib.h>

#define SETS 256
#define WAYS 8 /* a set's places */

/* As in a GCRA (generic cell rate algorithm): all that was used up will be given back by then. */
struct entry {
	struct address group;
	int64_t full_again_ns; /* 0 = free */
};

struct attempts {
	pthread_mutex_t lock;
	struct entry entries[SETS][WAYS];
};

struct attempts *attempts_new(void)
{
	struct attempts *t = calloc(1, sizeof *t);
	if (t)
		pthread_mutex_init(&t->lock, NULL);
	return t;
}

void attempts_free(struct attempts *t)
{
	if (!t)
		return;
	pthread_mutex_destroy(&t->lock);
	free(t);
}

static struct entry *set_of(struct attempts *t, struct address group)
{
	uint64_t hash = 0xcbf29ce484222325u;
	for (size_t i = 0; i < sizeof group.ip; i++)
		hash = (hash ^ group.ip.s6_addr[i]) * 0x100000001b3u;
	return t->entries[(hash ^ hash >> 32) % SETS];
}

/* Its own place, else that of the one that has most left. */
static struct entry *place_of(struct entry *set, struct address group)
{
	struct entry *found = set;
	for (size_t i = 0; i < WAYS; i++) {
		if (set[i].full_again_ns && address_equal(set[i].group, group))
			return &set[i];
		if (set[i].full_again_ns < found->full_again_ns)
			found = &set[i];
	}
	*found = (struct entry){ .group = group };
	return found;
}

bool attempts_note(struct attempts *t, struct address group, int64_t now_ns)
{
	struct entry *set = set_of(t, group);
	pthread_mutex_lock(&t->lock);
	struct entry *e = place_of(set, group);
	int64_t full = (e->full_again_ns > now_ns ? e->full_again_ns : now_ns) + ATTEMPTS_AGAIN_NS;
	bool allowed = full - now_ns <= (int64_t)ATTEMPTS_AT_ONCE * ATTEMPTS_AGAIN_NS;
	if (allowed)
		e->full_again_ns = full;
	pthread_mutex_unlock(&t->lock);
	return allowed;
}
