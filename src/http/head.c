/* The head of a request, refused where a proxy in front and libmicrohttpd could read it differently (RFC 9112, sections 3, 5, 6, 11.2).
 *
 * libmicrohttpd 0.9.75 folds lines into names, ends texts at a NUL and takes a bare LF for a line's end, without a word. But it leaves the
 * head where it was received and only puts NULs over its delimiters: so in a proper head each name begins exactly two bytes after the value
 * before it, and the last value ends four bytes before the body. Whatever was folded, cut or skipped leaves a gap. Other versions may lay
 * their memory out otherwise; there the gaps are not looked at, and newer ones are told to be strict themselves (server.c).
 *
 * Runs on a worker, before any body is read. */
#include "http/internal.h"

#include <stdlib.h>

struct scan {
	struct head head;
	struct arena *arena;
	const char *at; /* where the next name must begin; NULL = not looked at */
	enum refusal refusal;
};

/* The headers that are kept, and what it means when one comes twice. */
static const struct {
	struct slice name;
	size_t offset;
	enum refusal repeated; /* REFUSAL_NONE: the first one counts, or it is a list */
	bool is_list;          /* the lines together are its value (RFC 9110, 5.3) */
	bool is_exact;         /* with the blanks behind it, as libmicrohttpd compares it: "chunked " is to it no chunked */
} kept[] = {
	{ { "Host", 4 }, offsetof(struct head, host), REFUSAL_HOST_REPEATED, false, false },
	{ { "Content-Length", 14 }, offsetof(struct head, content_length), REFUSAL_LENGTH_REPEATED, false, false },
	{ { "Transfer-Encoding", 17 }, offsetof(struct head, transfer_encoding), REFUSAL_TRANSFER_ENCODING, false, true },
	{ { "Authorization", 13 }, offsetof(struct head, authorization), REFUSAL_HEADER_REPEATED, false, false },
	{ { "X-LiveKit-Signature", 19 }, offsetof(struct head, hmac_signature), REFUSAL_HEADER_REPEATED, false, false },
	{ { "Content-Encoding", 16 }, offsetof(struct head, content_encoding), REFUSAL_HEADER_REPEATED, false, false },
	{ { "Expect", 6 }, offsetof(struct head, expect), REFUSAL_HEADER_REPEATED, false, false },
	{ { "Content-Type", 12 }, offsetof(struct head, content_type), REFUSAL_NONE, false, false },
	{ { "Idempotency-Key", 15 }, offsetof(struct head, idempotency_key), REFUSAL_HEADER_REPEATED, false, false },
	{ { "Origin", 6 }, offsetof(struct head, origin), REFUSAL_NONE, false, false },
	{ { "If-None-Match", 13 }, offsetof(struct head, if_none_match), REFUSAL_NONE, false, false },
	{ { "X-Forwarded-For", 15 }, offsetof(struct head, x_forwarded_for), REFUSAL_NONE, true, false },
	{ { "Forwarded", 9 }, offsetof(struct head, forwarded), REFUSAL_NONE, true, false },
};

/* tchar of RFC 9110, 5.6.2 */
static bool is_token(const char *p, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		char c = p[i];
		bool alphanumeric = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
		if (!alphanumeric && c != '-' && (c == '\0' || !strchr("_!#$%&'*+.^`|~", c)))
			return false;
	}
	return n > 0;
}

static bool is_field_text(const char *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (((unsigned char)p[i] < 0x20 && p[i] != '\t') || p[i] == 0x7f)
			return false;
	return true;
}

/* Does this line follow the one before it, with nothing but ":" and blanks between its name and its value? */
static bool is_contiguous(struct scan *s, const char *name, size_t name_n, const char *value, size_t value_n)
{
	if (!s->at)
		return true;
	if (name != s->at || value < name + name_n + 1)
		return false;
	for (const char *p = name + name_n + 1; p < value; p++)
		if (*p != ' ' && *p != '\t')
			return false;
	s->at = value + value_n + 2;
	return true;
}

static bool append_line(struct slice *field, struct slice line, struct arena *a)
{
	char *both = arena_alloc(a, field->n + 2 + line.n);
	if (!both)
		return false;
	memcpy(both, field->p, field->n);
	both[field->n] = ',';
	both[field->n + 1] = ' ';
	memcpy(both + field->n + 2, line.p, line.n);
	*field = slice_of(both, field->n + 2 + line.n);
	return true;
}

static enum MHD_Result take_header(void *scan, enum MHD_ValueKind kind, const char *name, size_t name_n, const char *value, size_t value_n)
{
	struct scan *s = scan;
	(void)kind;
	if (!value || !is_token(name, name_n) || !is_field_text(value, value_n) || !is_contiguous(s, name, name_n, value, value_n)) {
		s->refusal = REFUSAL_HEADER;
		return MHD_NO;
	}
	for (size_t i = 0; i < sizeof kept / sizeof kept[0]; i++) {
		if (!slice_eq_nocase(slice_of(name, name_n), kept[i].name))
			continue;
		struct slice *field = (struct slice *)((char *)&s->head + kept[i].offset);
		if (slice_is_none(*field)) {
			*field = kept[i].is_exact ? slice_of(value, value_n) : slice_trim(slice_of(value, value_n));
		} else if (kept[i].repeated != REFUSAL_NONE) {
			s->refusal = kept[i].repeated;
			return MHD_NO;
		} else if (kept[i].is_list && !append_line(field, slice_trim(slice_of(value, value_n)), s->arena)) {
			s->refusal = REFUSAL_BODY_MEMORY;
			return MHD_NO;
		}
		break;
	}
	return MHD_YES;
}

static enum refusal check_framing(const struct head *h, const char *version)
{
	bool http_1_0 = strcmp(version, "HTTP/1.0") == 0;
	if (slice_is_none(h->host) && !http_1_0)
		return REFUSAL_NO_HOST;
	if (!slice_is_none(h->transfer_encoding)) {
		if (!slice_is_none(h->content_length))
			return REFUSAL_LENGTH_AND_ENCODING;
		if (http_1_0 || !slice_eq_nocase(h->transfer_encoding, SLICE("chunked")))
			return REFUSAL_TRANSFER_ENCODING;
	}
	if (!slice_is_none(h->expect) && !slice_eq_nocase(h->expect, SLICE("100-continue")))
		return REFUSAL_EXPECTATION;
	return REFUSAL_NONE;
}

/* Is the head laid out in memory as the text at the top of this file says? Not asked of other versions than the one that was read. */
static bool layout_is_known(void)
{
	return strcmp(MHD_get_version(), "0.9.75") == 0;
}

enum refusal head_read(struct MHD_Connection *mhd, const char *method, const char *version, struct arena *a, struct request *r)
{
	bool look = layout_is_known();
	struct scan s = { .arena = a, .at = look ? version + strlen(version) + 2 : NULL, .refusal = REFUSAL_NONE };
	if (look && (method + strlen(method) + 1 != r->target_start || r->target_end + 1 != version))
		return REFUSAL_TARGET;
	if (!is_token(method, strlen(method)))
		return REFUSAL_HEADER;
	MHD_get_connection_values_n(mhd, MHD_HEADER_KIND, take_header, &s);
	if (s.refusal != REFUSAL_NONE)
		return s.refusal;
	const union MHD_ConnectionInfo *size = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
	if (look && size && s.at + 2 != method + size->header_size)
		return REFUSAL_HEADER;
	r->head = s.head;
	return check_framing(&r->head, version);
}
