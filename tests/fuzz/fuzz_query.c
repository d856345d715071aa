/* Request targets: the input is "path?query". Whatever is taken means exactly one thing: decoding what was encoded again gives the same,
 * a time that is read can be written and read again, and a cursor that is taken is the very text that its list would give out. */
#include "must.h"

#include <string.h>

#include "http/internal.h"
#include "wire/mark.h"

enum { USER, FROM, CURSOR, COUNT };
static const struct query_parameter known[COUNT] = { { "user_id", false }, { "from", true }, { "cursor", true } };

static void check_decoding(struct slice text, struct arena *a)
{
	static const char hex[] = "0123456789ABCDEF";
	struct slice decoded, again;
	if (percent_decode(text, false, a, &decoded) != OC_OK)
		return;
	must(decoded.n <= text.n);
	char *encoded = arena_alloc(a, 3 * decoded.n);
	must(encoded != NULL);
	for (size_t i = 0; i < decoded.n; i++) {
		encoded[3 * i] = '%';
		encoded[3 * i + 1] = hex[(unsigned char)decoded.p[i] >> 4];
		encoded[3 * i + 2] = hex[decoded.p[i] & 15];
	}
	must(percent_decode(slice_of(encoded, 3 * decoded.n), true, a, &again) == OC_OK);
	must(slice_eq(decoded, again));
}

static void check_time(struct slice text)
{
	int64_t ms, again;
	if (!rfc3339_parse(text, &ms) || ms < -62135596800000 || ms > 253402300799999)
		return;
	struct buf b = BUF_INIT;
	buf_put_rfc3339_ms(&b, ms);
	must(rfc3339_parse(buf_slice(&b), &again) && again == ms);
	buf_done(&b);
}

static void check_cursor(struct slice text, struct slice tenant, struct arena *a)
{
	struct list_filter f = { .tenant = tenant, .limit = 1 };
	struct slice again;
	if (cursor_decode(text, a, &f) != OC_OK) {
		must(!f.has_cursor);
		return;
	}
	must(cursor_encode(&f, f.cursor_ms, f.cursor_id, a, &again) == OC_OK);
	must(slice_eq(text, again));
}

static void check_events_cursor(struct slice text, struct slice tenant, struct arena *a)
{
	struct events_query q = { .tenant = tenant, .call_id = SLICE("RM_1"), .limit = 1 };
	struct slice again;
	if (events_cursor_decode(text, a, &q) != OC_OK) {
		must(!q.has_cursor);
		return;
	}
	must(events_cursor_encode(&q, q.cursor_position, q.cursor_id, a, &again) == OC_OK);
	must(slice_eq(text, again));
}

/* A field that names the tag has the tag's very text in it, or is "*". */
static void check_tags(struct slice field)
{
	static const char tag[] = "\"1-ab\"";
	if (etag_matches(field, tag))
		must(slice_eq(field, SLICE("*")) || memmem(field.p, field.n, tag, sizeof tag - 1));
}

/* A key that is taken is 1 to 255 printable characters of the field, without the quotes of a structured field. */
static void check_key(struct slice field)
{
	struct slice key = SLICE_NONE, again;
	if (!mark_key_is_valid(field, &key)) {
		must(slice_is_none(key));
		return;
	}
	must(key.n >= 1 && key.n <= MARK_MAX_KEY && (key.n == field.n || key.n == field.n - 2));
	for (size_t i = 0; i < key.n; i++)
		must(key.p[i] >= ' ' && key.p[i] <= '~');
	must(key.n < 3 || key.p[0] == '"' || (mark_key_is_valid(key, &again) && slice_eq(key, again)));
}

static void check_path(struct slice path)
{
	struct slice segment = SLICE_NONE;
	const struct endpoint *e = endpoint_find(path, &segment);
	if (!e)
		return;
	must(slice_is_none(segment) == !strchr(e->path, '*'));
	if (slice_is_none(segment)) {
		must(slice_eq_cstr(path, e->path));
		return;
	}
	must(segment.n > 0 && !memchr(segment.p, '/', segment.n));
	must(path.n == strlen(e->path) - 1 + segment.n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	_cleanup_arena_ struct arena *a = arena_new(4096);
	must(a != NULL);
	struct slice path, query, values[COUNT], name = SLICE_NONE;
	slice_split(slice_of((const char *)data, n), '?', &path, &query);
	if (n)
		check_path(path);
	check_decoding(path, a);
	check_time(path);
	check_tags(path);
	check_key(path);
	enum query_problem problem = query_parse(query, known, COUNT, a, values, &name);
	if (problem != QUERY_OK) {
		must(problem != QUERY_NOMEM && !slice_is_none(name) && name.n <= 100);
		return 0;
	}
	if (!slice_is_none(values[FROM]))
		check_time(values[FROM]);
	if (!slice_is_none(values[CURSOR])) {
		check_cursor(values[CURSOR], slice_is_none(values[USER]) ? SLICE("acme") : values[USER], a);
		check_events_cursor(values[CURSOR], slice_is_none(values[USER]) ? SLICE("acme") : values[USER], a);
	}
	if (!slice_is_none(values[USER]) && access_user_id_is_valid(values[USER]))
		must(values[USER].n <= ACCESS_MAX_TENANT && slice_is_utf8(values[USER]));
	return 0;
}
