/* A growing byte buffer with a sticky failure: append freely, check buf_failed() once at the end.
 * Not thread-safe. Numbers are written locale-free. */
#pragma once

#include "base/slice.h"

struct buf {
	char *p;
	size_t n, size;
	bool failed; /* out of memory once; everything appended since is lost */
};

#define BUF_INIT ((struct buf){ NULL, 0, 0, false })

void buf_done(struct buf *b); /* frees; the buffer is as new afterwards */
void buf_clear(struct buf *b); /* keeps the memory, forgets bytes and failure */
static inline bool buf_failed(const struct buf *b) { return b->failed; }
static inline struct slice buf_slice(const struct buf *b) { return slice_of(b->p ? b->p : "", b->n); }

bool buf_reserve(struct buf *b, size_t more); /* room for `more` bytes; false (and failed) when out of memory */
void buf_put(struct buf *b, struct slice s);
void buf_putc(struct buf *b, char c);
void buf_puts(struct buf *b, const char *z);
void buf_put_int(struct buf *b, int64_t v);
void buf_putf(struct buf *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Milliseconds since the epoch as RFC 3339 UTC with milliseconds: 2026-11-22T13:12:19.123Z */
void buf_put_rfc3339_ms(struct buf *b, int64_t ms);

#define _cleanup_buf_ __attribute__((cleanup(buf_done)))
