/* Log lines are logfmt on stderr: ts=… level=… msg=… key=value …, safe from any thread; base/log_sink.h writes them.
 * Only the edges log (cmd, http, the writer and the sweeper), once per happening. A secret or a token never goes in.
 * Phone numbers do not come out: every text field goes through base/mask.h, and LOG_PHONE hides all but the last two digits of what is one. */
#pragma once

#include "base/buf.h"

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARN, LOG_LEVEL_ERROR };

enum log_field_kind { LOG_FIELD_SLICE, LOG_FIELD_INT, LOG_FIELD_PHONE };

struct log_field {
	const char *key;
	enum log_field_kind kind;
	struct slice s;
	int64_t i;
};

#define LOG_S(key_, slice_) ((struct log_field){ .key = (key_), .kind = LOG_FIELD_SLICE, .s = (slice_) })
#define LOG_Z(key_, cstr_) LOG_S(key_, slice_cstr(cstr_))
#define LOG_I(key_, int_) ((struct log_field){ .key = (key_), .kind = LOG_FIELD_INT, .i = (int64_t)(int_) })
#define LOG_PHONE(key_, slice_) ((struct log_field){ .key = (key_), .kind = LOG_FIELD_PHONE, .s = (slice_) })

void log_set_level(enum log_level least);
void log_write(enum log_level level, const char *msg, const struct log_field *fields, size_t n);

/* Between these the calling thread's lines gather in `into` and go out as one write(2), earlier when they are many. The writer
 * uses it: a line an event, a write a batch. Not nested; `into` stays the caller's. */
void log_begin_batch(struct buf *into);
void log_end_batch(void);

/* log_info("call_completed", LOG_S("event_id", id), LOG_I("ms", 3)); a field whose slice is none is left out. */
#define LOG_FIELDS_(...) (const struct log_field[]){ __VA_ARGS__ }, \
	sizeof((const struct log_field[]){ __VA_ARGS__ }) / sizeof(struct log_field)
#define log_debug(msg, ...) log_write(LOG_LEVEL_DEBUG, (msg), LOG_FIELDS_({ .key = NULL }, ##__VA_ARGS__))
#define log_info(msg, ...) log_write(LOG_LEVEL_INFO, (msg), LOG_FIELDS_({ .key = NULL }, ##__VA_ARGS__))
#define log_warn(msg, ...) log_write(LOG_LEVEL_WARN, (msg), LOG_FIELDS_({ .key = NULL }, ##__VA_ARGS__))
#define log_error(msg, ...) log_write(LOG_LEVEL_ERROR, (msg), LOG_FIELDS_({ .key = NULL }, ##__VA_ARGS__))
