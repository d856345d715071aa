/* Recorded requests, JSON and raw HTTP: what is taken has a body that lies in the file or is no longer than it, lines in ascending order,
 * and reads the same when it is written as the other form; what is refused has a message. */
#include "must.h"

#include "base/jsonw.h"
#include "cmd/recording.h"

static void must_have(bool has, struct slice value, struct slice again, bool has_again)
{
	must(has == has_again);
	must(!has || slice_eq(value, again));
}

/* Written as a line of a capture, the same request comes back. */
static void must_survive_as_json(const struct recorded *r, struct arena *a)
{
	struct buf b = BUF_INIT;
	struct jsonw w = JSONW(&b);
	struct recorded *again;
	size_t count;
	struct slice message = SLICE_NONE;
	bool writable = slice_is_utf8(r->body) && slice_is_utf8(r->authorization) && slice_is_utf8(r->hmac);
	if (!writable || (r->body.n && memchr(r->body.p, 0, r->body.n)))
		return;
	if ((r->authorization.n && memchr(r->authorization.p, 0, r->authorization.n)) || (r->hmac.n && memchr(r->hmac.p, 0, r->hmac.n)))
		return;
	jw_obj(&w);
	jw_key(&w, "headers");
	jw_obj(&w);
	if (!slice_is_none(r->authorization)) {
		jw_key(&w, "Authorization");
		jw_str(&w, r->authorization);
	}
	if (!slice_is_none(r->hmac)) {
		jw_key(&w, "X-LiveKit-Signature");
		jw_str(&w, r->hmac);
	}
	jw_obj_end(&w);
	jw_key(&w, "body");
	jw_str(&w, r->body.p ? r->body : SLICE(""));
	jw_obj_end(&w);
	must(!buf_failed(&b));
	must(recording_read_json(buf_slice(&b), a, &again, &count, &message) == 0 && count == 1);
	must(slice_eq(again->body, r->body) && again->has_headers);
	must_have(!slice_is_none(r->authorization), r->authorization, again->authorization, !slice_is_none(again->authorization));
	must_have(!slice_is_none(r->hmac), r->hmac, again->hmac, !slice_is_none(again->hmac));
	buf_done(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena *a = arena_new(8192);
	must(a);
	struct slice text = slice_of((const char *)data, size), message = SLICE_NONE;
	struct recorded one, *items;
	size_t count;
	int rc = recording_read_http(text, a, &one, &message);
	must(rc == 0 || (rc == OC_INVALID && message.n > 0));
	if (rc == 0) {
		must(one.has_headers && one.body.p >= text.p && one.body.p + one.body.n <= text.p + text.n);
		must_survive_as_json(&one, a);
	}
	rc = recording_read_json(text, a, &items, &count, &message);
	must(rc == 0 || ((rc == OC_INVALID || rc == OC_NOT_FOUND) && message.n > 0));
	for (size_t i = 0; rc == 0 && i < count; i++) {
		must(items[i].body.n <= text.n && (i == 0 || items[i].line > items[i - 1].line));
		must_survive_as_json(&items[i], a);
	}
	arena_free(a);
	return 0;
}
