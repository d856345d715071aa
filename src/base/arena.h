/* An arena: memory that is freed all at once. One per request and one per batch.
 * Not thread-safe: one thread at a time owns an arena. Allocations are 16-byte aligned and zeroed. */
#pragma once

#include "base/slice.h"

struct arena;

struct arena *arena_new(size_t first_block_bytes); /* NULL when out of memory */
void arena_free(struct arena *a);                  /* takes NULL */
void arena_reset(struct arena *a);                 /* forgets all allocations, keeps the first block */
size_t arena_used_bytes(const struct arena *a);

void *arena_alloc(struct arena *a, size_t n);                  /* NULL when out of memory; n == 0 gives a valid pointer */
void *arena_calloc(struct arena *a, size_t count, size_t each); /* NULL also when count * each overflows */
char *arena_dup(struct arena *a, struct slice s);              /* NUL-terminated copy, or NULL */
/* A copy in the arena; none stays none. False when out of memory. */
bool arena_copy(struct arena *a, struct slice s, struct slice *ret);

#define ARENA_NEW(a, type) ((type *)arena_alloc((a), sizeof(type)))
#define ARENA_ARRAY(a, type, count) ((type *)arena_calloc((a), (count), sizeof(type)))

static inline void arena_freep(struct arena **a) { arena_free(*a); }
#define _cleanup_arena_ __attribute__((cleanup(arena_freep)))
