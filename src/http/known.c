#include "http/known.h"

#include <pthread.h>
#include <stdlib.h>

#define SETS 256
#define WAYS 8 /* a set's places */

struct entry {
	struct address group;
	int64_t noted_ns; /* 0 = free */
};

struct known {
	pthread_mutex_t lock;
	struct entry entries[SETS][WAYS];
};

struct known *known_new(void)
{
	struct known *k = calloc(1, sizeof *k);
	if (k)
		pthread_mutex_init(&k->lock, NULL);
	return k;
}

void known_free(struct known *k)
{
	if (!k)
		return;
	pthread_mutex_destroy(&k->lock);
	free(k);
}

static struct entry *set_of(struct known *k, struct address group)
{
	uint64_t hash = 0xcbf29ce484222325u;
	for (size_t i = 0; i < sizeof group.ip; i++)
		hash = (hash ^ group.ip.s6_addr[i]) * 0x100000001b3u;
	return k->entries[(hash ^ hash >> 32) % SETS];
}

static struct entry *find(struct entry *set, struct address group)
{
	for (size_t i = 0; i < WAYS; i++)
		if (set[i].noted_ns && address_equal(set[i].group, group))
			return &set[i];
	return NULL;
}

static struct entry *oldest(struct entry *set)
{
	struct entry *found = set;
	for (size_t i = 1; i < WAYS; i++)
		if (set[i].noted_ns < found->noted_ns)
			found = &set[i];
	return found;
}

void known_note(struct known *k, struct address group, int64_t now_ns)
{
	struct entry *set = set_of(k, group);
	pthread_mutex_lock(&k->lock);
	struct entry *e = find(set, group);
	if (!e)
		e = oldest(set);
	*e = (struct entry){ .group = group, .noted_ns = now_ns };
	pthread_mutex_unlock(&k->lock);
}

bool known_is(struct known *k, struct address group, int64_t now_ns)
{
	struct entry *set = set_of(k, group);
	pthread_mutex_lock(&k->lock);
	const struct entry *e = find(set, group);
	bool is = e && now_ns - e->noted_ns < KNOWN_NS;
	pthread_mutex_unlock(&k->lock);
	return is;
}
