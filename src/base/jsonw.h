/* Writes JSON (RFC 8259) into a buf; puts the commas itself. Strings that are not UTF-8 get U+FFFD for each bad byte,
 * so what comes out is always valid JSON. At most 32 levels deep; deeper marks the buf failed. */
#pragma once

#include "base/buf.h"

struct jsonw {
	struct buf *out;
	uint32_t need_comma; /* one bit a level */
	unsigned depth;
	bool after_key;
};

#define JSONW(buf_ptr) ((struct jsonw){ .out = (buf_ptr) })

void jw_obj(struct jsonw *w);
void jw_obj_end(struct jsonw *w);
void jw_arr(struct jsonw *w);
void jw_arr_end(struct jsonw *w);
void jw_key(struct jsonw *w, const char *key); /* a literal that needs no escaping */
void jw_key_slice(struct jsonw *w, struct slice key);
void jw_str(struct jsonw *w, struct slice s); /* none writes null */
void jw_cstr(struct jsonw *w, const char *z); /* NULL writes null */
void jw_int(struct jsonw *w, int64_t v);
void jw_double(struct jsonw *w, double v); /* finite; anything else writes null */
void jw_bool(struct jsonw *w, bool v);
void jw_null(struct jsonw *w);
void jw_raw(struct jsonw *w, struct slice json); /* one value that is JSON already; none writes null */
/* The members of a JSON object text (with its braces) spliced into the current object. */
void jw_members(struct jsonw *w, struct slice object);
void jw_time_ms(struct jsonw *w, int64_t ms); /* RFC 3339 UTC; 0 writes null */

/* Only the quoted, escaped string. */
void buf_put_json_string(struct buf *b, struct slice s);
