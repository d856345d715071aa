/* Values in PostgreSQL's binary format: what goes into a statement and what comes out of a result.
 *
 * An array is: dimensions (1, or 0 when empty), a flag that NULLs may be in it, the element's type, length, lower bound; then each
 * element as a length (-1 = NULL) and its bytes. Integers are big-endian. A timestamptz counts microseconds from 2000-01-01.
 * Threads: whoever owns the struct pg_params. */
#include "store/postgres.h"

#include <endian.h>

#define EPOCH_OFFSET_MS INT64_C(946684800000) /* 2000-01-01 after 1970-01-01 */
#define TIME_MIN_MS (-INT64_C(210866803200000)) /* 4714-11-24 BC, PostgreSQL's first moment */
#define TIME_MAX_MS INT64_C(9224318015999999) /* 294276-12-31 */

static void put_be32(struct buf *b, uint32_t v)
{
	uint32_t be = htobe32(v);
	buf_put(b, slice_of((const char *)&be, sizeof be));
}

static void put_be64(struct buf *b, int64_t v)
{
	uint64_t be = htobe64((uint64_t)v);
	buf_put(b, slice_of((const char *)&be, sizeof be));
}

void pg_params_done(struct pg_params *p)
{
	for (size_t i = 0; i < PG_PARAMS_MAX; i++)
		buf_done(&p->value[i]);
	p->count = 0;
}

void pg_params_clear(struct pg_params *p)
{
	for (size_t i = 0; i < PG_PARAMS_MAX; i++) {
		buf_clear(&p->value[i]);
		p->null[i] = false;
	}
	p->count = 0;
}

bool pg_params_failed(const struct pg_params *p)
{
	size_t total = 0;
	if (p->count > PG_PARAMS_MAX)
		return true;
	for (size_t i = 0; i < p->count; i++) {
		if (buf_failed(&p->value[i]))
			return true;
		total += p->value[i].n;
	}
	return total > (size_t)1 << 29;
}

static struct buf *next(struct pg_params *p)
{
	size_t i = p->count < PG_PARAMS_MAX ? p->count : PG_PARAMS_MAX - 1;
	p->count++;
	return &p->value[i];
}

void pg_param_text(struct pg_params *p, struct slice s)
{
	struct buf *b = next(p);
	buf_put(b, s);
	if (slice_is_none(s) && p->count <= PG_PARAMS_MAX)
		p->null[p->count - 1] = true;
}

void pg_param_int8(struct pg_params *p, int64_t v) { put_be64(next(p), v); }

void pg_param_int8_or_null(struct pg_params *p, int64_t v, int64_t null_value)
{
	pg_param_int8(p, v);
	if (v == null_value && p->count <= PG_PARAMS_MAX)
		p->null[p->count - 1] = true;
}

struct buf *pg_param_array(struct pg_params *p, enum pg_element element, size_t count)
{
	struct buf *b = next(p);
	put_be32(b, count ? 1 : 0);
	put_be32(b, 1);
	put_be32(b, (uint32_t)element);
	if (count) {
		put_be32(b, (uint32_t)count);
		put_be32(b, 1);
	}
	return b;
}

static void put_null(struct buf *b) { put_be32(b, UINT32_MAX); }

void pg_put_bytes(struct buf *b, struct slice s)
{
	if (slice_is_none(s)) {
		put_null(b);
		return;
	}
	if (s.n > INT32_MAX) {
		b->failed = true;
		return;
	}
	put_be32(b, (uint32_t)s.n);
	buf_put(b, s);
}

void pg_put_int8(struct buf *b, int64_t v)
{
	put_be32(b, 8);
	put_be64(b, v);
}

void pg_put_int8_or_null(struct buf *b, int64_t v, int64_t null_value)
{
	if (v == null_value)
		put_null(b);
	else
		pg_put_int8(b, v);
}

void pg_put_bool(struct buf *b, bool v)
{
	put_be32(b, 1);
	buf_putc(b, v ? 1 : 0);
}

void pg_put_time_ms(struct buf *b, int64_t ms)
{
	if (ms == 0 || ms < TIME_MIN_MS || ms > TIME_MAX_MS)
		put_null(b);
	else
		pg_put_int8(b, (ms - EPOCH_OFFSET_MS) * 1000);
}

void pg_param_texts(struct pg_params *p, const struct slice *s, size_t count)
{
	struct buf *b = pg_param_array(p, PG_ELEMENT_TEXT, count);
	for (size_t i = 0; i < count; i++)
		pg_put_bytes(b, s[i]);
}

struct slice pg_peek(const PGresult *res, int row, int column)
{
	if (PQgetisnull(res, row, column))
		return SLICE_NONE;
	return slice_of(PQgetvalue(res, row, column), (size_t)PQgetlength(res, row, column));
}

int pg_get_text(const PGresult *res, int row, int column, struct arena *a, struct slice *ret)
{
	return arena_copy(a, pg_peek(res, row, column), ret) ? 0 : OC_NOMEM;
}

int64_t pg_get_int8(const PGresult *res, int row, int column)
{
	struct slice s = pg_peek(res, row, column);
	uint64_t v64 = 0;
	uint32_t v32 = 0;

	switch (s.n) {
	case 8:
		memcpy(&v64, s.p, 8);
		return (int64_t)be64toh(v64);
	case 4:
		memcpy(&v32, s.p, 4);
		return (int32_t)be32toh(v32);
	default:
		return 0;
	}
}

bool pg_get_bool(const PGresult *res, int row, int column)
{
	struct slice s = pg_peek(res, row, column);
	return s.n == 1 && s.p[0] != 0;
}

int64_t pg_get_time_ms(const PGresult *res, int row, int column)
{
	if (PQgetisnull(res, row, column))
		return 0;
	int64_t us = pg_get_int8(res, row, column);
	if (us == INT64_MAX || us == INT64_MIN)
		return 0;
	int64_t ms = us / 1000 - (us % 1000 < 0);
	return ms + EPOCH_OFFSET_MS;
}
