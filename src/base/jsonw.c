#include "base/jsonw.h"

#include <math.h>

#define MAX_DEPTH 32

static void before_value(struct jsonw *w)
{
	if (w->after_key) {
		w->after_key = false;
		return;
	}
	uint32_t bit = (uint32_t)1 << w->depth;
	if (w->depth && (w->need_comma & bit))
		buf_putc(w->out, ',');
	w->need_comma |= bit;
}

static void open_level(struct jsonw *w, char c)
{
	before_value(w);
	buf_putc(w->out, c);
	if (w->depth + 1 >= MAX_DEPTH) {
		w->out->failed = true;
		return;
	}
	w->depth++;
	w->need_comma &= ~((uint32_t)1 << w->depth);
}

static void close_level(struct jsonw *w, char c)
{
	if (w->depth)
		w->depth--;
	buf_putc(w->out, c);
}

void jw_obj(struct jsonw *w) { open_level(w, '{'); }
void jw_obj_end(struct jsonw *w) { close_level(w, '}'); }
void jw_arr(struct jsonw *w) { open_level(w, '['); }
void jw_arr_end(struct jsonw *w) { close_level(w, ']'); }

void jw_key(struct jsonw *w, const char *key)
{
	before_value(w);
	buf_putc(w->out, '"');
	buf_puts(w->out, key);
	buf_put(w->out, SLICE("\":"));
	w->after_key = true;
}

void jw_key_slice(struct jsonw *w, struct slice key)
{
	before_value(w);
	buf_put_json_string(w->out, key);
	buf_putc(w->out, ':');
	w->after_key = true;
}

void jw_str(struct jsonw *w, struct slice s)
{
	if (slice_is_none(s)) {
		jw_null(w);
		return;
	}
	before_value(w);
	buf_put_json_string(w->out, s);
}

void jw_cstr(struct jsonw *w, const char *z) { jw_str(w, slice_cstr(z)); }

void jw_int(struct jsonw *w, int64_t v)
{
	before_value(w);
	buf_put_int(w->out, v);
}

void jw_double(struct jsonw *w, double v)
{
	if (!isfinite(v)) {
		jw_null(w);
		return;
	}
	before_value(w);
	buf_putf(w->out, "%.10g", v);
}

void jw_bool(struct jsonw *w, bool v)
{
	before_value(w);
	buf_puts(w->out, v ? "true" : "false");
}

void jw_null(struct jsonw *w)
{
	before_value(w);
	buf_puts(w->out, "null");
}

void jw_raw(struct jsonw *w, struct slice json)
{
	if (slice_is_none(json)) {
		jw_null(w);
		return;
	}
	before_value(w);
	buf_put(w->out, json);
}

void jw_members(struct jsonw *w, struct slice object)
{
	struct slice s = slice_trim(object);
	if (s.n < 2 || s.p[0] != '{' || s.p[s.n - 1] != '}')
		return;
	s = slice_trim(slice_of(s.p + 1, s.n - 2));
	if (!s.n)
		return;
	before_value(w);
	buf_put(w->out, s);
}

void jw_time_ms(struct jsonw *w, int64_t ms)
{
	if (ms == 0) {
		jw_null(w);
		return;
	}
	before_value(w);
	buf_putc(w->out, '"');
	buf_put_rfc3339_ms(w->out, ms);
	buf_putc(w->out, '"');
}

/* The bytes of the UTF-8 sequence that starts here, or 0 when it is malformed. */
static size_t utf8_length(struct slice s)
{
	for (size_t n = 1; n <= 4 && n <= s.n; n++)
		if (slice_is_utf8(slice_of(s.p, n)))
			return n;
	return 0;
}

void buf_put_json_string(struct buf *b, struct slice s)
{
	static const char hex[] = "0123456789abcdef";
	buf_putc(b, '"');
	size_t start = 0;
	for (size_t i = 0; i < s.n;) {
		unsigned char c = (unsigned char)s.p[i];
		size_t length = c < 0x80 ? 1 : utf8_length(slice_of(s.p + i, s.n - i));
		if (length && c >= 0x20 && c != '"' && c != '\\') {
			i += length;
			continue;
		}
		buf_put(b, slice_of(s.p + start, i - start));
		if (!length)
			buf_puts(b, "\\ufffd");
		else if (c == '"' || c == '\\') {
			buf_putc(b, '\\');
			buf_putc(b, (char)c);
		} else if (c == '\n')
			buf_puts(b, "\\n");
		else if (c == '\t')
			buf_puts(b, "\\t");
		else if (c == '\r')
			buf_puts(b, "\\r");
		else {
			char escape[6] = { '\\', 'u', '0', '0', hex[c >> 4], hex[c & 15] };
			buf_put(b, slice_of(escape, 6));
		}
		start = ++i;
	}
	buf_put(b, slice_of(s.p + start, s.n - start));
	buf_putc(b, '"');
}
