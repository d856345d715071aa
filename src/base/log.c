#include "base/log.h"

#include <stdatomic.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/jsonw.h"

static _Atomic int least_level = LOG_LEVEL_INFO;

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

/* logfmt: bare where it can be, quoted and escaped (so that nobody can forge a line) where it must be. */
static void put_value(struct buf *b, struct slice s)
{
	bool bare = s.n > 0;
	for (size_t i = 0; i < s.n && bare; i++) {
		unsigned char c = (unsigned char)s.p[i];
		bare = c > ' ' && c != '"' && c != '=' && c != '\\' && c < 0x7f;
	}
	if (bare)
		buf_put(b, s);
	else
		buf_put_json_string(b, s);
}

static void put_phone(struct buf *b, struct slice s)
{
	size_t keep = s.n > 2 ? 2 : 0;
	for (size_t i = 0; i < s.n; i++) {
		bool sign = i == 0 && s.p[0] == '+';
		buf_putc(b, sign || i >= s.n - keep ? s.p[i] : '*');
	}
}

void log_write(enum log_level level, const char *msg, const struct log_field *fields, size_t n)
{
	if ((int)level < atomic_load_explicit(&least_level, memory_order_relaxed))
		return;
	_cleanup_buf_ struct buf b = BUF_INIT;
	buf_puts(&b, "ts=");
	buf_put_rfc3339_ms(&b, clock_wall_ms());
	buf_puts(&b, " level=");
	buf_puts(&b, level_name(level));
	buf_puts(&b, " msg=");
	put_value(&b, slice_cstr(msg));
	for (size_t i = 0; i < n; i++) {
		const struct log_field *f = &fields[i];
		if (!f->key || (f->kind != LOG_FIELD_INT && slice_is_none(f->s)))
			continue;
		buf_putc(&b, ' ');
		buf_puts(&b, f->key);
		buf_putc(&b, '=');
		switch (f->kind) {
		case LOG_FIELD_SLICE: put_value(&b, f->s); break;
		case LOG_FIELD_INT: buf_put_int(&b, f->i); break;
		case LOG_FIELD_PHONE: put_phone(&b, f->s); break;
		}
	}
	buf_putc(&b, '\n');
	if (!buf_failed(&b)) {
		ssize_t written = write(STDERR_FILENO, b.p, b.n);
		(void)written; /* nobody to tell */
	}
}
