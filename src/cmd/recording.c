/* Recorded requests from JSON, JSON lines or raw HTTP. A body is kept byte for byte: its signature covers nothing else. No globals; any thread. */
#include "cmd/recording.h"

#include "cmd/cmd.h"
#include "wire/jdoc.h"

static int string_member(const struct jdoc *j, uint32_t object, const char *name, struct arena *a, struct slice *ret)
{
	uint32_t node = jdoc_member(j, object, slice_cstr(name));
	if (!node)
		return OC_NOT_FOUND;
	return jdoc_type_of(j, node) == JDOC_STRING ? jdoc_text(j, node, a, ret) : OC_INVALID;
}

/* Header names in any case, as clients write them. */
static int read_headers(const struct jdoc *j, uint32_t headers, struct arena *a, struct recorded *r)
{
	if (jdoc_type_of(j, headers) != JDOC_OBJECT)
		return OC_INVALID;
	r->has_headers = true;
	for (uint32_t key = jdoc_first(j, headers); key < jdoc_end(j, headers); key = jdoc_after(j, key + 1)) {
		struct slice *into = slice_eq_nocase(jdoc_raw(j, key), SLICE("authorization")) ? &r->authorization :
			slice_eq_nocase(jdoc_raw(j, key), SLICE("x-livekit-signature")) ? &r->hmac : NULL;
		if (!into)
			continue;
		if (jdoc_type_of(j, key + 1) != JDOC_STRING)
			return OC_INVALID;
		int e = jdoc_text(j, key + 1, a, into);
		if (e)
			return e;
	}
	return 0;
}

/* A JSON object is a recorded request when it has "body", else an event of its own. */
static int read_object(const struct jdoc *j, struct slice text, struct arena *a, struct recorded *ret)
{
	struct recorded r = { .body = text };
	int e = string_member(j, 0, "body", a, &r.body);
	if (e == 0) {
		uint32_t headers = jdoc_member(j, 0, SLICE("headers")), received = jdoc_member(j, 0, SLICE("receivedAtMs"));
		if (received && (jdoc_type_of(j, received) != JDOC_NUMBER || jdoc_int64(jdoc_raw(j, received), &r.received_ms) != JDOC_INT_OK))
			r.received_ms = 0;
		e = headers ? read_headers(j, headers, a, &r) : 0;
	} else if (e == OC_NOT_FOUND) {
		e = 0;
	}
	if (e == 0)
		*ret = r;
	return e;
}

static bool is_object(const struct jdoc *j)
{
	return j->count > 0 && jdoc_type_of(j, 0) == JDOC_OBJECT && j->fault != JDOC_SYNTAX && j->fault != JDOC_TOO_DEEP && j->fault != JDOC_TOO_MANY;
}

static int read_lines(struct slice text, struct arena *a, struct recorded *items, size_t *ret_count, struct slice *ret_message)
{
	size_t count = 0, number = 0;
	struct slice line, left = text;
	for (bool more = true; more;) {
		struct jdoc j;
		more = slice_split(left, '\n', &line, &left);
		number++;
		line = slice_trim(line);
		if (slice_is_empty(line))
			continue;
		int r = jdoc_parse(line, a, &j);
		if (r)
			return r;
		if (!is_object(&j)) {
			*ret_message = arena_text(a, "line %zu is no JSON object", number);
			return OC_INVALID;
		}
		if (jdoc_member(&j, 0, SLICE("scenario")))
			continue;
		r = read_object(&j, line, a, &items[count]);
		if (r == OC_INVALID)
			*ret_message = arena_text(a, "line %zu: \"body\" must be a string, \"headers\" an object of strings", number);
		if (r)
			return r;
		items[count++].line = number;
	}
	*ret_count = count;
	return 0;
}

int recording_read_json(struct slice text, struct arena *a, struct recorded **ret, size_t *ret_count, struct slice *ret_message)
{
	struct jdoc j;
	size_t count = 0, most = 1;
	for (size_t i = 0; i < text.n; i++)
		most += text.p[i] == '\n';
	struct recorded *items = ARENA_ARRAY(a, struct recorded, most);
	int r = items ? jdoc_parse(text, a, &j) : OC_NOMEM;
	if (r)
		return r;
	if (is_object(&j) && !jdoc_member(&j, 0, SLICE("scenario"))) {
		r = read_object(&j, slice_trim(text), a, &items[0]);
		if (r == OC_INVALID)
			*ret_message = SLICE("\"body\" must be a string, \"headers\" an object of strings");
		items[0].line = 1;
		count = 1;
	} else {
		r = read_lines(text, a, items, &count, ret_message);
	}
	if (r)
		return r;
	if (count == 0) {
		*ret_message = SLICE("there is no event in it");
		return OC_NOT_FOUND;
	}
	*ret = items;
	*ret_count = count;
	return 0;
}

/* ---- raw HTTP ---- */

/* The next line of *left without its CR LF or LF. False at the end of the text. */
static bool next_line(struct slice *left, struct slice *ret)
{
	struct slice line, tail;
	if (!slice_split(*left, '\n', &line, &tail))
		return false;
	if (line.n && line.p[line.n - 1] == '\r')
		line.n--;
	*ret = line;
	*left = tail;
	return true;
}

static int cut_to_length(struct recorded *r, int64_t length, struct arena *a, struct slice *ret_message)
{
	if ((uint64_t)length > r->body.n) {
		*ret_message = arena_text(a, "Content-Length says %lld bytes, but the body has only %zu: the recording is cut off, or its line "
					     "ends were changed", (long long)length, r->body.n);
		return OC_INVALID;
	}
	if ((uint64_t)length < r->body.n)
		r->note = arena_text(a, "the file has %zu bytes after the %lld of Content-Length; they are left out", r->body.n - (size_t)length,
				     (long long)length);
	r->body.n = (size_t)length;
	return 0;
}

int recording_read_http(struct slice text, struct arena *a, struct recorded *ret, struct slice *ret_message)
{
	struct recorded r = { .has_headers = true, .line = 1 };
	struct slice left = text, line, name, value;
	int64_t length = -1;
	if (!next_line(&left, &line) || slice_is_empty(line)) {
		*ret_message = SLICE("expected a recorded request: a JSON object, or a request line, headers, a blank line and the body");
		return OC_INVALID;
	}
	for (;;) {
		if (!next_line(&left, &line)) {
			*ret_message = SLICE("there is no blank line between the headers and the body");
			return OC_INVALID;
		}
		if (slice_is_empty(line))
			break;
		if (!slice_split(line, ':', &name, &value)) {
			*ret_message = arena_text(a, "this is no header: %.*s", (int)(line.n > 60 ? 60 : line.n), line.p);
			return OC_INVALID;
		}
		value = slice_trim(value);
		if (slice_eq_nocase(name, SLICE("authorization")))
			r.authorization = value;
		else if (slice_eq_nocase(name, SLICE("x-livekit-signature")))
			r.hmac = value;
		else if (slice_eq_nocase(name, SLICE("transfer-encoding")) && !slice_eq_nocase(value, SLICE("identity")))
			r.note = SLICE("the request has a Transfer-Encoding: its body must be saved decoded");
		else if (slice_eq_nocase(name, SLICE("content-length")) && (!slice_to_int64(value, &length) || length < 0)) {
			*ret_message = SLICE("Content-Length is no number");
			return OC_INVALID;
		}
	}
	r.body = left;
	int e = length >= 0 ? cut_to_length(&r, length, a, ret_message) : 0;
	if (e)
		return e;
	*ret = r;
	return 0;
}
