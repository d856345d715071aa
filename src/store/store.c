/* The door itself: finds the backend by the URL and passes each call on. What both backends share is here too: the id of a row
 * that we insert, the object under metadata's key "outcomed", the look-up in what a batch loaded.
 * Threads: none of its own state; each handle belongs to the thread that opened it. */
#include "store/store.h"

#include <assert.h>
#include <openssl/evp.h>
#include <stdarg.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/jsonw.h"
#include "store/backend.h"

/* ---- URLs ---- */

static const struct {
	struct slice prefix;
	enum store_kind kind;
} url_schemes[] = {
	{ { "sqlite:", 7 }, STORE_SQLITE },
	{ { "postgresql://", 13 }, STORE_POSTGRES },
	{ { "postgres://", 11 }, STORE_POSTGRES },
};

enum store_kind store_url_kind(struct slice url, bool *ret_valid)
{
	for (size_t i = 0; i < sizeof url_schemes / sizeof *url_schemes; i++)
		if (slice_starts_with(url, url_schemes[i].prefix)) {
			*ret_valid = url.n > url_schemes[i].prefix.n || url_schemes[i].kind == STORE_POSTGRES;
			return url_schemes[i].kind;
		}
	*ret_valid = false;
	return STORE_SQLITE;
}

static bool is_secret_parameter(struct slice key)
{
	return slice_eq_cstr(key, "password") || slice_eq_cstr(key, "sslpassword") || (key.n && memchr(key.p, '%', key.n));
}

/* From the first '?' or '&' on, with the values of secret parameters hidden. Which of them begins the parameters nobody knows in a URL whose
 * password has such characters in it, so each may. */
static void put_parameters(struct buf *b, struct slice rest)
{
	while (rest.n) {
		buf_putc(b, rest.p[0]);
		rest = slice_of(rest.p + 1, rest.n - 1);
		size_t n = 0;
		while (n < rest.n && rest.p[n] != '?' && rest.p[n] != '&')
			n++;
		struct slice pair = slice_of(rest.p, n), key, value;
		rest = slice_of(rest.p + n, rest.n - n);
		bool has_value = slice_split(pair, '=', &key, &value);
		buf_put(b, key);
		if (has_value) {
			buf_putc(b, '=');
			buf_put(b, is_secret_parameter(key) ? SLICE("***") : value);
		}
	}
}

/* No URL, but "password=…" or "postgres:USER:PASSWORD@HOST" perhaps. */
static bool may_hide_secret(struct slice text)
{
	return text.p && text.n && !slice_starts_with(text, SLICE("sqlite:")) && (memchr(text.p, '@', text.n) || memchr(text.p, '=', text.n));
}

int store_url_for_log(struct slice url, struct arena *a, struct slice *ret)
{
	_cleanup_buf_ struct buf b = BUF_INIT, shown = BUF_INIT;
	struct slice head = url, tail = SLICE_NONE;
	const char *authority = memmem(url.p ? url.p : "", url.n, "://", 3);

	if (!authority && may_hide_secret(url)) {
		*ret = SLICE("***");
		return 0;
	}
	if (authority) {
		/* The last '@': a password may hold one that nobody escaped, and hiding too much does no harm. */
		const char *start = authority + 3, *end = memrchr(start, '@', (size_t)(url.p + url.n - start));
		const char *colon = end ? memchr(start, ':', (size_t)(end - start)) : NULL;
		if (colon) {
			head = slice_of(url.p, (size_t)(colon + 1 - url.p));
			tail = slice_of(end, (size_t)(url.p + url.n - end));
		}
	}
	buf_put(&b, head);
	if (!slice_is_none(tail)) {
		buf_puts(&b, "***");
		buf_put(&b, tail);
	}
	size_t at = 0;
	while (at < b.n && (!authority || (b.p[at] != '?' && b.p[at] != '&')))
		at++;
	buf_put(&shown, slice_of(b.n ? b.p : "", at));
	put_parameters(&shown, slice_of(b.n ? b.p + at : "", b.n - at));
	return !buf_failed(&b) && !buf_failed(&shown) && arena_copy(a, buf_slice(&shown), ret) ? 0 : OC_NOMEM;
}

int store_fail(int error, struct arena *a, struct slice *ret_message, const char *format, ...)
{
	va_list args;
	char *text = NULL;

	if (!ret_message || !a)
		return error;
	va_start(args, format);
	int n = vasprintf(&text, format, args);
	va_end(args);
	if (n < 0 || !arena_copy(a, slice_of(text, (size_t)n), ret_message))
		*ret_message = slice_cstr(oc_error_text(error));
	if (n >= 0)
		free(text);
	return error;
}

int store_ops_for_url(struct slice url, struct arena *a, const struct store_ops **ret, struct slice *ret_message)
{
	bool valid;
	enum store_kind kind = store_url_kind(url, &valid);
	struct slice shown = SLICE_NONE;

	if (valid) {
		switch (kind) {
		case STORE_SQLITE:
			*ret = &sqlite_store_ops;
			return 0;
		case STORE_POSTGRES:
			*ret = &postgres_store_ops;
			return 0;
		}
	}
	if (!ret_message || !a)
		return OC_CONFIG;
	if (store_url_for_log(url, a, &shown) < 0)
		return OC_NOMEM;
	if (url.n && !memchr(url.p, ':', url.n) && slice_eq(url, shown))
		store_fail(OC_CONFIG, a, ret_message, "the database \"%.*s\" is no URL: for a file write sqlite:%.*s", SLICE_FMT(shown),
			SLICE_FMT(shown));
	else
		store_fail(OC_CONFIG, a, ret_message, "the database \"%.*s\" must be sqlite:PATH or postgresql://USER@HOST/NAME", SLICE_FMT(shown));
	return OC_CONFIG;
}

/* ---- shared by the backends ---- */

int call_log_id_from_sid(struct slice room_sid, char *ret)
{
	static const char digits[] = "0123456789abcdef";
	unsigned char hash[EVP_MAX_MD_SIZE] = { 0 };

	if (EVP_Digest(room_sid.n ? room_sid.p : "", room_sid.n, hash, NULL, EVP_sha256(), NULL) != 1)
		return OC_NOMEM;
	hash[6] = (unsigned char)((hash[6] & 0x0f) | 0x80);
	hash[8] = (unsigned char)((hash[8] & 0x3f) | 0x80);
	for (size_t i = 0; i < 16; i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*ret++ = '-';
		*ret++ = digits[hash[i] >> 4];
		*ret++ = digits[hash[i] & 15];
	}
	*ret = '\0';
	return 0;
}

static void put_seconds(struct jsonw *w, const char *key, int64_t seconds)
{
	jw_key(w, key);
	if (seconds < 0)
		jw_null(w);
	else
		jw_int(w, seconds);
}

static void put_time(struct jsonw *w, const char *key, int64_t ms)
{
	jw_key(w, key);
	jw_time_ms(w, ms);
}

static void put_name(struct jsonw *w, const char *key, const char *name)
{
	jw_key(w, key);
	jw_cstr(w, name);
}

void call_log_metadata(const struct verdict *v, struct buf *out)
{
	struct jsonw w = JSONW(out);
	bool final = v->outcome != OUTCOME_NONE;

	jw_obj(&w);
	put_name(&w, "reason", final ? verdict_reason_name(v->reason) : NULL);
	put_name(&w, "confidence", final ? confidence_name(v->confidence) : NULL);
	put_name(&w, "fault", final ? fault_name(v->fault) : NULL);
	jw_key(&w, "rule");
	jw_str(&w, v->rule);
	jw_key(&w, "rules");
	jw_int(&w, v->rules);
	put_time(&w, "answeredAt", v->answered_at_ms);
	put_time(&w, "answeredAtEarliest", v->answered_at_earliest_ms);
	put_time(&w, "answeredAtLatest", v->answered_at_latest_ms);
	jw_key(&w, "answeredSource");
	jw_str(&w, v->answered_source);
	put_seconds(&w, "ringSeconds", v->ring_seconds);
	put_seconds(&w, "talkSeconds", v->talk_seconds);
	jw_obj_end(&w);
}

bool call_verdict_replaced(const struct call_row *was, const struct call_row *now)
{
	bool another = now->revision > was->revision || slice_is_empty(now->outcome); /* else a damaged one is mended in its place */
	return now->verdict_changed && another && was->revision > 0 && !slice_is_empty(was->outcome) && !slice_is_empty(was->verdict) &&
	       !slice_eq(was->verdict, now->verdict);
}

struct call_row *store_loaded_find(const struct store_loaded *l, struct slice room_sid)
{
	return call_rows_find(l->calls, l->call_count, room_sid);
}

struct call_row *call_rows_find(struct call_row *calls, size_t count, struct slice room_sid)
{
	size_t low = 0, high = count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int c = slice_cmp(calls[middle].room_sid, room_sid);
		if (c == 0)
			return &calls[middle];
		if (c < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

/* ---- the door ---- */

int store_open(const struct store_options *o, struct arena *message_arena, struct store **ret, struct slice *ret_message)
{
	const struct store_ops *ops;

	assert(o && ret);
	int r = store_ops_for_url(o->url, message_arena, &ops, ret_message);
	return r < 0 ? r : ops->open(o, message_arena, ret, ret_message);
}

void store_close(struct store *s)
{
	if (s)
		s->ops->close(s);
}

const char *store_last_error(const struct store *s)
{
	assert(s);
	return s->ops->last_error(s);
}

int store_batch_load(struct store *s, const struct store_touch *touch, struct arena *a, struct store_loaded *ret)
{
	assert(s && touch && a && ret);
	for (size_t i = 1; i < touch->room_count; i++)
		assert(slice_cmp(touch->room_sids[i - 1], touch->room_sids[i]) < 0);
	return s->ops->batch_load(s, touch, a, ret);
}

int store_batch_commit(struct store *s, const struct store_changes *c, struct arena *a)
{
	assert(s && c && a);
	for (size_t i = 0; i < c->event_count; i++)
		assert(!slice_is_empty(c->events[i].event_id) && !slice_is_empty(c->events[i].event));
	for (size_t i = 0; i < c->call_count; i++)
		assert(c->calls[i].new_verdict || !c->calls[i].verdict_changed);
	return s->ops->batch_commit(s, c, a);
}

void store_batch_abort(struct store *s)
{
	assert(s);
	s->ops->batch_abort(s);
}

void store_until(struct store *s, int64_t mono_ms)
{
	assert(s);
	s->ops->until(s, mono_ms);
}

int store_due(struct store *s, int64_t now_ms, size_t limit, struct arena *a, struct slice **ret_sids, size_t *ret_count)
{
	assert(s && a && ret_sids && ret_count);
	return s->ops->due(s, now_ms, limit, a, ret_sids, ret_count);
}

int store_watch_claim(struct store *s, const struct watch_claim *c, struct arena *a, struct watch_row **ret, size_t *ret_count)
{
	return s->ops->watch_claim(s, c, a, ret, ret_count);
}

int store_watch_move(struct store *s, struct slice room_sid, int64_t was_ms, int64_t at_ms)
{
	return s->ops->watch_move(s, room_sid, was_ms, at_ms);
}

int store_count(struct store *s, struct store_counts *ret)
{
	assert(s && ret);
	return s->ops->count(s, ret);
}

int store_reader_open(const struct store_options *o, struct arena *message_arena, struct store_reader **ret, struct slice *ret_message)
{
	const struct store_ops *ops;

	assert(o && ret);
	int r = store_ops_for_url(o->url, message_arena, &ops, ret_message);
	return r < 0 ? r : ops->reader_open(o, message_arena, ret, ret_message);
}

void store_reader_close(struct store_reader *r)
{
	if (r)
		r->ops->reader_close(r);
}

const char *store_reader_last_error(const struct store_reader *r)
{
	assert(r);
	return r->ops->reader_last_error(r);
}

int store_read_outcomes(struct store_reader *r, struct outcome_query *queries, size_t n, struct arena *a)
{
	assert(r && (queries || n == 0) && a);
	return r->ops->read_outcomes(r, queries, n, a);
}

int store_read_list(struct store_reader *r, const struct list_filter *f, struct arena *a, struct call_view **ret, size_t *ret_count,
	bool *ret_more)
{
	assert(r && f && a && ret && ret_count && ret_more);
	assert(f->limit >= 1 && f->limit <= 200);
	return slice_is_empty(f->tenant) ? OC_DENIED : r->ops->read_list(r, f, a, ret, ret_count, ret_more);
}

int store_read_call(struct store_reader *r, struct slice tenant, struct slice call_id, struct arena *a, struct call_detail *ret)
{
	assert(r && a && ret);
	if (slice_is_empty(tenant))
		return OC_DENIED;
	return slice_is_empty(call_id) ? OC_NOT_FOUND : r->ops->read_call(r, tenant, call_id, a, ret);
}

int store_read_events(struct store_reader *r, const struct events_query *q, struct arena *a, struct event_view **ret, size_t *ret_count,
	bool *ret_more)
{
	assert(r && q && a && ret && ret_count && ret_more);
	assert(q->limit >= 1 && q->limit <= 200);
	if (slice_is_empty(q->tenant))
		return OC_DENIED;
	return slice_is_empty(q->call_id) ? OC_NOT_FOUND : r->ops->read_events(r, q, a, ret, ret_count, ret_more);
}

int store_reader_ping(struct store_reader *r)
{
	assert(r);
	return r->ops->reader_ping(r);
}
