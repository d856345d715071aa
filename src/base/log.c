#include "base/log.h"

#include <stdatomic.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/jsonw.h"
#include "base/log_sink.h"
#include "base/mask.h"

#define BATCH_BYTES 65536 /* gathered lines are written when there are this many */

static _Atomic int least_level = LOG_LEVEL_INFO;
static _Thread_local struct buf *batch;

void log_set_level(enum log_level least) { atomic_store(&least_level, (int)least); }

static const char *level_name(enum log_level level)
{
	switch (level) {
	case LOG_LEVEL_DEBUG: return "debug";
	case LOG_LEVEL_INFO: return "info";
	case LOG_LEVEL_WARN: return "warn";
	case LOG_LEVEL_ERROR: return "error";
	}
	return "error";
}

/* The bytes of a character that some reader takes for the end of a line or for a command to a terminal and that JSON does not escape: DEL, C1
 * controls, U+2028, U+2029. Else 0. */
static size_t odd_character(struct slice s)
{
	static const char line_separator[] = "\xe2\x80\xa8", paragraph_separator[] = "\xe2\x80\xa9";
	if (s.n >= 1 && s.p[0] == '\x7f')
		return 1;
	if (s.n >= 2 && s.p[0] == '\xc2' && (unsigned char)s.p[1] >= 0x80 && (unsigned char)s.p[1] < 0xa0)
		return 2;
	bool separator = s.n >= 3 && (memcmp(s.p, line_separator, 3) == 0 || memcmp(s.p, paragraph_separator, 3) == 0);
	return separator ? 3 : 0;
}

static void put_quoted(struct buf *b, struct slice s)
{
	_cleanup_buf_ struct buf plain = BUF_INIT;
	for (size_t i = 0, odd; i < s.n; i += odd ? odd : 1) {
		odd = odd_character(slice_of(s.p + i, s.n - i));
		buf_putc(&plain, odd ? '?' : s.p[i]);
	}
	buf_put_json_string(b, buf_slice(&plain));
	b->failed |= buf_failed(&plain);
}

/* logfmt: bare where it can be, quoted and escaped (so that nobody can forge a line) where it must be. */
static void put_plain(struct buf *b, struct slice s)
{
	bool bare = s.n > 0;
	for (size_t i = 0; i < s.n && bare; i++) {
		unsigned char c = (unsigned char)s.p[i];
		bare = c > ' ' && c != '"' && c != '=' && c != '\\' && c < 0x7f;
	}
	if (bare)
		buf_put(b, s);
	else
		put_quoted(b, s);
}

/* Whatever the text is and whoever made it, no phone number gets through. */
static void put_value(struct buf *b, struct slice s)
{
	_cleanup_buf_ struct buf masked = BUF_INIT;
	buf_put_masked(&masked, s);
	put_plain(b, buf_slice(&masked));
	b->failed |= buf_failed(&masked);
}

static void put_phone(struct buf *b, struct slice s)
{
	size_t keep = s.n > 2 ? 2 : 0;
	for (size_t i = 0; i < s.n; i++) {
		bool sign = i == 0 && s.p[0] == '+', digit = s.p[i] >= '0' && s.p[i] <= '9';
		buf_putc(b, sign || (digit && i >= s.n - keep) ? s.p[i] : '*');
	}
}

static void put_line(struct buf *b, enum log_level level, const char *msg, const struct log_field *fields, size_t n)
{
	buf_puts(b, "ts=");
	buf_put_rfc3339_ms(b, clock_wall_ms());
	buf_puts(b, " level=");
	buf_puts(b, level_name(level));
	buf_puts(b, " msg=");
	put_plain(b, slice_cstr(msg));
	for (size_t i = 0; i < n; i++) {
		const struct log_field *f = &fields[i];
		if (!f->key || (f->kind != LOG_FIELD_INT && slice_is_none(f->s)))
			continue;
		buf_putc(b, ' ');
		buf_puts(b, f->key);
		buf_putc(b, '=');
		switch (f->kind) {
		case LOG_FIELD_SLICE: put_value(b, f->s); break;
		case LOG_FIELD_INT: buf_put_int(b, f->i); break;
		case LOG_FIELD_PHONE: put_phone(b, f->s); break;
		}
	}
	buf_putc(b, '\n');
}

void log_write(enum log_level level, const char *msg, const struct log_field *fields, size_t n)
{
	if ((int)level < atomic_load_explicit(&least_level, memory_order_relaxed))
		return;
	if (batch) {
		size_t before = batch->n;
		put_line(batch, level, msg, fields, n);
		if (buf_failed(batch)) { /* out of memory: this line is lost, those before it are not */
			batch->n = before;
			batch->failed = false;
		}
		if (batch->n >= BATCH_BYTES) {
			log_sink_write(buf_slice(batch));
			buf_clear(batch);
		}
		return;
	}
	_cleanup_buf_ struct buf b = BUF_INIT;
	put_line(&b, level, msg, fields, n);
	if (!buf_failed(&b))
		log_sink_write(buf_slice(&b));
}

void log_begin_batch(struct buf *into)
{
	buf_clear(into);
	batch = into;
}

void log_end_batch(void)
{
	if (!batch)
		return;
	log_sink_write(buf_slice(batch));
	buf_clear(batch);
	batch = NULL;
}
