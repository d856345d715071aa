#include "base/arena.h"

#include <stdlib.h>

struct block {
	struct block *next;
	size_t size, used;
	_Alignas(16) unsigned char bytes[];
};

struct arena {
	struct block *head;  /* the block that allocations come from; older ones behind it */
	struct block *first; /* kept by arena_reset */
	size_t used;
};

static struct block *block_new(size_t size)
{
	if (size > SIZE_MAX - sizeof(struct block))
		return NULL;
	struct block *b = malloc(sizeof(struct block) + size);
	if (b) {
		b->next = NULL;
		b->size = size;
		b->used = 0;
	}
	return b;
}

struct arena *arena_new(size_t first_block_bytes)
{
	struct arena *a = malloc(sizeof *a);
	if (!a)
		return NULL;
	a->first = a->head = block_new(first_block_bytes ? first_block_bytes : 1024);
	a->used = 0;
	if (!a->first) {
		free(a);
		return NULL;
	}
	return a;
}

static void free_blocks_until(struct block *b, const struct block *keep)
{
	while (b && b != keep) {
		struct block *next = b->next;
		free(b);
		b = next;
	}
}

void arena_free(struct arena *a)
{
	if (!a)
		return;
	free_blocks_until(a->head, NULL);
	free(a);
}

void arena_reset(struct arena *a)
{
	free_blocks_until(a->head, a->first);
	a->head = a->first;
	a->head->used = 0;
	a->used = 0;
}

size_t arena_used_bytes(const struct arena *a) { return a->used; }

void *arena_alloc(struct arena *a, size_t n)
{
	if (n > SIZE_MAX - 16)
		return NULL;
	size_t need = (n + 15) & ~(size_t)15;
	if (need == 0)
		need = 16;
	if (a->head->size - a->head->used < need) {
		size_t size = a->head->size < (size_t)256 * 1024 ? a->head->size * 2 : a->head->size;
		struct block *b = block_new(size < need ? need : size);
		if (!b)
			return NULL;
		b->next = a->head;
		a->head = b;
	}
	void *p = a->head->bytes + a->head->used;
	a->head->used += need;
	a->used += need;
	return memset(p, 0, need);
}

void *arena_calloc(struct arena *a, size_t count, size_t each)
{
	size_t n;
	return __builtin_mul_overflow(count, each, &n) ? NULL : arena_alloc(a, n);
}

char *arena_dup(struct arena *a, struct slice s)
{
	char *p = arena_alloc(a, s.n + 1);
	if (p && s.n)
		memcpy(p, s.p, s.n);
	return p;
}

bool arena_copy(struct arena *a, struct slice s, struct slice *ret)
{
	if (slice_is_none(s)) {
		*ret = s;
		return true;
	}
	char *p = arena_dup(a, s);
	if (p)
		*ret = slice_of(p, s.n);
	return p != NULL;
}
