/* Answers: one buffer a body, handed to libmicrohttpd; problems as RFC 9457 says with the older module's `error` beside. Every answer has a
 * Content-Length. Runs on the connection's worker. */
#include "http/internal.h"

#define JSON_TYPE "application/json; charset=utf-8"
#define PROBLEM_TYPE "application/problem+json; charset=utf-8"

/* status, title (RFC 9110), and so the closed list of the metric's codes */
#define STATUSES(X) \
	X(200, "OK") X(304, "Not Modified") X(400, "Bad Request") X(401, "Unauthorized") X(403, "Forbidden") X(404, "Not Found") X(405, "Method Not Allowed") \
	X(413, "Content Too Large") X(414, "URI Too Long") X(415, "Unsupported Media Type") X(417, "Expectation Failed") X(421, "Misdirected Request") X(422, "Unprocessable Content") \
	X(500, "Internal Server Error") X(429, "Too Many Requests") X(501, "Not Implemented") X(503, "Service Unavailable")

static const char *const status_labels[] = {
#define X(status, title) #status,
	STATUSES(X)
#undef X
	"other",
};

static const char *const refusal_names[] = {
#define X(name, e, status, text) name,
	REFUSALS(X)
#undef X
};

const char *const *reply_status_labels(size_t *ret_count)
{
	*ret_count = sizeof status_labels / sizeof status_labels[0];
	return status_labels;
}

const char *const *refusal_labels(size_t *ret_count)
{
	*ret_count = sizeof refusal_names / sizeof refusal_names[0];
	return refusal_names;
}

static size_t status_index(unsigned status)
{
	size_t i = 0;
#define X(status_, title) \
	if (status == status_) \
		return i; \
	i++;
	STATUSES(X)
#undef X
	return i;
}

static const char *status_title(unsigned status)
{
	switch (status) {
#define X(status_, title) \
	case status_: return title;
	STATUSES(X)
#undef X
	}
	return "Error";
}

void refusal_count(struct http_server *s, enum refusal refusal)
{
	if (refusal != REFUSAL_NONE)
		metric_add(s->metrics, METRIC_HTTP_REFUSALS, (size_t)refusal, 1);
}

static bool add_headers(struct MHD_Response *response, const struct reply *r, bool close)
{
	const struct {
		const char *name, *value;
		bool wanted;
	} headers[] = {
		{ "Content-Type", r->content_type ? r->content_type : JSON_TYPE, r->body.n > 0 },
		{ "X-Content-Type-Options", "nosniff", r->body.n > 0 },
		{ "Cache-Control", "no-store", (r->flags & REPLY_NO_STORE) != 0 },
		{ "ETag", r->etag, r->etag[0] != '\0' },
		{ "Retry-After", RETRY_AFTER_S, (r->flags & REPLY_RETRY) != 0 },
		{ "WWW-Authenticate", "Bearer", (r->flags & REPLY_BEARER) != 0 },
		{ "Allow", r->allow, r->allow != NULL },
		{ "Connection", "close", close },
	};
	for (size_t i = 0; i < sizeof headers / sizeof headers[0]; i++)
		if (headers[i].wanted && MHD_add_response_header(response, headers[i].name, headers[i].value) != MHD_YES)
			return false;
	return true;
}

/* libmicrohttpd takes bare line feeds and the like in the framing of chunks, so what comes behind them may be something else to a proxy in
 * front: nothing behind a chunked body is ever read. */
static bool ends_connection(const struct connection *c, const struct reply *r)
{
	return (r->flags & REPLY_CLOSE) || !slice_is_none(c->request.head.transfer_encoding) ||
	       atomic_load_explicit(&c->server->draining, memory_order_relaxed);
}

/* MHD_NO ends the connection without an answer: out of memory. */
static enum MHD_Result send_response(struct connection *c, struct MHD_Response *response, const struct reply *r)
{
	if (!response)
		return MHD_NO;
	struct http_server *s = c->server;
	enum MHD_Result sent = MHD_NO;
	connection_change_state(c, CONNECTION_ANSWERING);
	if (add_headers(response, r, ends_connection(c, r)))
		sent = MHD_queue_response(c->mhd, r->status, response);
	MHD_destroy_response(response);
	if (sent == MHD_YES)
		metric_add(s->metrics, METRIC_HTTP_REQUESTS, status_index(r->status), 1);
	return sent;
}

/* Large replies are counted until they are taken: who reads slowly must not fill the memory. */
static bool count_reply(struct connection *c, const struct reply *r)
{
	struct http_server *s = c->server;
	if (r->body.n <= KEPT_BODY_BYTES)
		return true;
	if (atomic_fetch_add(&s->reply_memory, r->body.n) + r->body.n > REPLY_MEMORY_BYTES) {
		atomic_fetch_sub(&s->reply_memory, r->body.n);
		return false;
	}
	c->request.reply_counted = r->body.n;
	return true;
}

enum MHD_Result reply_send(struct connection *c, struct reply *r)
{
	if (buf_failed(&r->body)) {
		buf_done(&r->body);
		return MHD_NO;
	}
	if (!count_reply(c, r)) {
		refusal_count(c->server, REFUSAL_REPLY_MEMORY);
		buf_done(&r->body);
		reply_problem_set(r, MHD_HTTP_SERVICE_UNAVAILABLE, "Unavailable", "too many large replies at once", REPLY_RETRY);
	}
	struct MHD_Response *response = r->body.n
		? MHD_create_response_from_buffer(r->body.n, r->body.p, MHD_RESPMEM_MUST_FREE)
		: MHD_create_response_from_buffer(0, (void *)(uintptr_t)"", MHD_RESPMEM_PERSISTENT);
	enum MHD_Result sent = send_response(c, response, r);
	if (!response || r->body.n == 0)
		buf_done(&r->body);
	r->body = BUF_INIT;
	return sent;
}

enum MHD_Result reply_literal(struct connection *c, unsigned status, const char *content_type, struct slice body)
{
	struct reply r = { .status = status, .content_type = content_type, .body = { .n = body.n } };
	return send_response(c, MHD_create_response_from_buffer(body.n, (void *)(uintptr_t)body.p, MHD_RESPMEM_PERSISTENT), &r);
}

void reply_problem_set(struct reply *r, unsigned status, const char *error, const char *detail, unsigned flags)
{
	buf_clear(&r->body);
	struct jsonw w = JSONW(&r->body);
	jw_obj(&w);
	jw_key(&w, "type");
	jw_cstr(&w, "about:blank");
	jw_key(&w, "title");
	jw_cstr(&w, status_title(status));
	jw_key(&w, "status");
	jw_int(&w, (int64_t)status);
	jw_key(&w, "detail");
	jw_cstr(&w, detail);
	jw_key(&w, "error");
	jw_cstr(&w, error ? error : detail);
	jw_obj_end(&w);
	r->status = status;
	r->flags = flags;
	r->content_type = PROBLEM_TYPE;
}

enum MHD_Result reply_problem(struct connection *c, unsigned status, const char *error, const char *detail, unsigned flags)
{
	reply_problem_set(&c->request.reply, status, error, detail, flags);
	return reply_send(c, &c->request.reply);
}

enum MHD_Result reply_refusal(struct connection *c, enum refusal refusal)
{
	static const struct {
		unsigned status;
		const char *text;
	} table[] = {
#define X(name, e, status, text) [e] = { status, text },
		REFUSALS(X)
#undef X
	};
	refusal_count(c->server, refusal);
	unsigned status = table[refusal].status;
	return reply_problem(c, status, NULL, table[refusal].text, REPLY_CLOSE | (status == 503 ? REPLY_RETRY : 0));
}
