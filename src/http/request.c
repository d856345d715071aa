/* A request from its request line to its handler: libmicrohttpd's callbacks, in the order of the states in internal.h.
 *
 * libmicrohttpd calls request_handle once when the head is there, once for each piece of the body, and once more when all of it has come.
 * An answer in the first call ends the connection afterwards, which is what a refusal wants; every other answer waits for the last call.
 * Runs on the connection's worker. */
#include "http/internal.h"

#include <stdlib.h>

#include "base/clock.h"
#include "http/forwarded.h"

/* http://host/path is the same as /path, whatever Host says (RFC 9112, 3.2.2). */
static struct slice without_authority(struct slice target, struct slice *ret_authority)
{
	static const struct slice schemes[] = { { "http://", 7 }, { "https://", 8 } };
	for (size_t i = 0; i < 2; i++) {
		size_t n = schemes[i].n, start = n;
		if (target.n < n || !slice_eq_nocase(slice_of(target.p, n), schemes[i]))
			continue;
		while (n < target.n && target.p[n] != '/' && target.p[n] != '?')
			n++;
		*ret_authority = slice_of(target.p + start, n - start);
		return slice_of(target.p + n, target.n - n);
	}
	return target;
}

static enum refusal read_target(struct request *r, struct slice target, struct arena *a)
{
	if (target.n > MAX_TARGET_BYTES)
		return REFUSAL_TARGET_TOO_LONG;
	for (size_t i = 0; i < target.n; i++)
		if ((unsigned char)target.p[i] <= 0x20 || (unsigned char)target.p[i] >= 0x7f || target.p[i] == '#')
			return REFUSAL_TARGET;
	struct slice copy;
	if (!arena_copy(a, target, &copy))
		return REFUSAL_BODY_MEMORY;
	copy = without_authority(copy, &r->authority);
	slice_split(copy, '?', &r->path, &r->query);
	if (slice_eq(r->path, SLICE("*")) && slice_is_none(r->query))
		return REFUSAL_NONE;
	if (slice_is_empty(r->path) || r->path.p[0] != '/')
		return REFUSAL_TARGET;
	r->endpoint = endpoint_find(r->path, &r->segment);
	return REFUSAL_NONE;
}

void *request_begin(void *server, const char *target, struct MHD_Connection *mhd)
{
	struct http_server *s = server;
	struct connection *c = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
	struct request *r = &c->request;
	connection_change_state(c, CONNECTION_HEAD);
	atomic_fetch_add_explicit(&s->in_flight, 1, memory_order_relaxed);
	r->began_ns = atomic_load_explicit(&c->since_ns, memory_order_relaxed);
	size_t n = strlen(target);
	r->target_start = target;
	r->target_end = target + n;
	if (!c->arena)
		c->arena = arena_new(ARENA_BYTES);
	r->refusal = c->arena ? read_target(r, slice_of(target, n), c->arena) : REFUSAL_BODY_MEMORY;
	return c;
}

static size_t body_limit(const struct connection *c)
{
	size_t limit = c->server->o.max_body_bytes, own = c->request.endpoint ? c->request.endpoint->max_body : 0;
	return own && own < limit ? own : limit;
}

static enum refusal check_body_headers(struct connection *c, uint64_t *ret_length)
{
	const struct request *r = &c->request;
	int64_t length = 0;
	if (!slice_is_none(r->head.content_length) && !slice_to_int64(r->head.content_length, &length))
		length = INT64_MAX; /* more digits than that are libmicrohttpd's 413 already */
	*ret_length = (uint64_t)length;
	if (r->method == METHOD_POST && !slice_is_none(r->head.content_encoding) &&
	    !slice_eq_nocase(r->head.content_encoding, SLICE("identity")))
		return REFUSAL_CONTENT_ENCODING;
	return (uint64_t)length > body_limit(c) ? REFUSAL_BODY_TOO_LARGE : REFUSAL_NONE;
}

/* A body over the limit is read and dropped up to twice the limit, so that its sender sees the 413; one that asks first, or announces more,
 * is told at once. */
static bool is_worth_dropping(const struct connection *c, uint64_t length)
{
	return slice_is_none(c->request.head.expect) && length <= 2 * (uint64_t)body_limit(c);
}

/* What needs a token is answered without one only where none is configured, and then only to this machine, and only under a name that no
 * page on the web can have. A header that a proxy adds tells of one, declared or not. */
static enum refusal check_locality(const struct connection *c)
{
	const struct http_server *s = c->server;
	const struct request *r = &c->request;
	if (!r->endpoint || r->endpoint->for_all || !access_is_open(&s->access))
		return REFUSAL_NONE;
	bool passed_on = !slice_is_none(r->head.x_forwarded_for) || !slice_is_none(r->head.forwarded);
	if (passed_on && !(c->from_proxy && address_is_local(c->client)))
		return REFUSAL_NOT_LOCAL;
	struct slice host = slice_is_none(r->authority) ? r->head.host : r->authority;
	bool named = !s->listener.is_unix && !slice_is_none(host); /* no browser reaches a Unix socket, and none leaves Host out */
	return named && !host_is_own(host, s->o.allowed_hosts) ? REFUSAL_HOST_NOT_ALLOWED : REFUSAL_NONE;
}

/* Everything that is told by the head, before any of the body is taken. */
static enum refusal look_at_head(struct connection *c, const char *method, const char *version)
{
	struct request *r = &c->request;
	enum refusal refusal = head_read(c->mhd, method, version, c->arena, r);
	if (refusal != REFUSAL_NONE)
		return refusal;
	r->method = method_from_name(method);
	if (c->from_proxy)
		c->client = forwarded_client(&c->server->trusted, c->peer, r->head.x_forwarded_for, r->head.forwarded);
	refusal = check_locality(c);
	if (refusal != REFUSAL_NONE)
		return refusal;
	if (r->endpoint && r->endpoint->run == receiver_run && r->method == METHOD_POST)
		receiver_look_at_token(c);
	return limits_admit_request(c);
}

static void stop_keeping_body(struct connection *c, enum refusal why)
{
	struct request *r = &c->request;
	r->refusal = why;
	r->drop_body = true;
	buf_done(&c->body);
}

static bool is_proved(const struct connection *c) { return atomic_load_explicit(&c->proved, memory_order_relaxed); }

/* What a connection keeps anyway is free; the rest of a body is counted with everybody's, before it is taken. Who has shown nothing genuine
 * gets no more than half of that together. */
static bool count_body(struct connection *c, size_t whole)
{
	struct request *r = &c->request;
	struct http_server *s = c->server;
	size_t beyond = whole > KEPT_BODY_BYTES ? whole - KEPT_BODY_BYTES : 0, limit = s->body_memory_limit / (is_proved(c) ? 1 : 2);
	if (beyond <= r->memory_counted)
		return true;
	size_t more = beyond - r->memory_counted;
	if (atomic_fetch_add(&s->body_memory, more) + more > limit) {
		atomic_fetch_sub(&s->body_memory, more);
		return false;
	}
	r->memory_counted += more;
	return true;
}

static enum MHD_Result handle_head(struct connection *c, const char *method, const char *version)
{
	struct request *r = &c->request;
	if (r->refusal == REFUSAL_NONE)
		r->refusal = look_at_head(c, method, version);
	if (r->refusal != REFUSAL_NONE)
		return reply_refusal(c, r->refusal);
	uint64_t length;
	r->refusal = check_body_headers(c, &length);
	if (r->refusal == REFUSAL_BODY_TOO_LARGE) {
		receiver_log_too_large(c, length);
		r->drop_body = true;
		if (!is_worth_dropping(c, length))
			return reply_refusal(c, r->refusal);
	} else if (r->refusal != REFUSAL_NONE) {
		return reply_refusal(c, r->refusal);
	}
	r->drop_body |= r->unauthorized || !r->endpoint || !r->endpoint->post || r->method != METHOD_POST;
	if (!r->drop_body && length > KEPT_BODY_BYTES && is_proved(c) && !(count_body(c, (size_t)length) && buf_reserve(&c->body, (size_t)length))) {
		stop_keeping_body(c, REFUSAL_BODY_MEMORY);
		return reply_refusal(c, r->refusal);
	}
	connection_change_state(c, CONNECTION_BODY);
	return MHD_YES;
}

static enum MHD_Result take_body(struct connection *c, const char *p, size_t n)
{
	struct request *r = &c->request;
	size_t limit = body_limit(c);
	r->body_seen += n;
	atomic_fetch_add_explicit(&c->pieces, 1, memory_order_relaxed);
	if (r->body_seen > limit && r->refusal == REFUSAL_NONE) {
		receiver_log_too_large(c, r->body_seen);
		stop_keeping_body(c, REFUSAL_BODY_TOO_LARGE);
	}
	if (r->body_seen > 2 * limit) {
		refusal_count(c->server, REFUSAL_BODY_TOO_LARGE);
		return MHD_NO;
	}
	if (r->drop_body)
		return MHD_YES;
	bool may_grow = c->body.n + n <= BODY_UNPROVED_BYTES || is_proved(c) || r->proves_itself_whole;
	if (may_grow && count_body(c, c->body.n + n))
		buf_put(&c->body, slice_of(p, n));
	else
		stop_keeping_body(c, REFUSAL_BODY_MEMORY);
	if (buf_failed(&c->body))
		stop_keeping_body(c, REFUSAL_BODY_MEMORY);
	return MHD_YES;
}

static enum MHD_Result reply_options(struct connection *c, const char *allow)
{
	struct reply *reply = &c->request.reply;
	reply->status = MHD_HTTP_OK;
	reply->allow = allow;
	return reply_send(c, reply);
}

static enum MHD_Result run(struct connection *c)
{
	struct request *r = &c->request;
	if (r->refusal != REFUSAL_NONE)
		return reply_refusal(c, r->refusal);
	if (slice_eq(r->path, SLICE("*")) && r->method == METHOD_OPTIONS)
		return reply_options(c, "GET, HEAD, POST, OPTIONS");
	if (!r->endpoint)
		return reply_problem(c, MHD_HTTP_NOT_FOUND, "Not found", "there is nothing at this path", 0);
	if (!endpoint_allows(r->endpoint, r->method)) {
		r->reply.allow = r->endpoint->allow;
		return reply_problem(c, MHD_HTTP_METHOD_NOT_ALLOWED, "Method not allowed", "this path does not have this method", 0);
	}
	if (r->method == METHOD_OPTIONS)
		return reply_options(c, r->endpoint->allow);
	return r->endpoint->run(c);
}

/* What will suspend the connection does so one turn of the loop later. libmicrohttpd 0.9.75 takes a connection that is suspended in the turn
 * in which it was read for one that still wants to read when it is resumed; it would read before it answers, and drop the answer where the
 * client has finished sending. */
static enum MHD_Result body_is_complete(struct connection *c)
{
	struct request *r = &c->request;
	bool again = atomic_load_explicit(&c->complete, memory_order_relaxed);
	if (!again) {
		r->last_byte_ns = clock_mono_ns();
		atomic_store_explicit(&c->since_ns, r->last_byte_ns, memory_order_relaxed); /* from here on the time is ours */
	}
	atomic_store_explicit(&c->complete, true, memory_order_relaxed);
	return again || !r->endpoint || !r->endpoint->waits ? run(c) : MHD_YES;
}

enum MHD_Result request_handle(void *server, struct MHD_Connection *mhd, const char *url, const char *method, const char *version,
	const char *upload, size_t *upload_bytes, void **connection)
{
	(void)server;
	(void)mhd;
	(void)url;
	struct connection *c = *connection;
	switch ((enum connection_state)atomic_load_explicit(&c->state, memory_order_relaxed)) {
	case CONNECTION_HEAD: return handle_head(c, method, version);
	case CONNECTION_BODY:
		if (*upload_bytes) {
			size_t n = *upload_bytes;
			*upload_bytes = 0;
			return take_body(c, upload, n);
		}
		return body_is_complete(c);
	case CONNECTION_READY: return reply_send(c, &c->request.reply);
	case CONNECTION_IDLE:
	case CONNECTION_WAITING:
	case CONNECTION_ANSWERING: break;
	}
	abort();
}

void request_completed(void *server, struct MHD_Connection *mhd, void **connection, enum MHD_RequestTerminationCode how)
{
	struct http_server *s = server;
	struct connection *c = *connection;
	(void)mhd;
	(void)how;
	enum connection_state state = (enum connection_state)atomic_load_explicit(&c->state, memory_order_relaxed);
	if (state == CONNECTION_ANSWERING)
		atomic_store_explicit(&c->served, true, memory_order_relaxed);
	else if (!atomic_load(&c->ended) && c->request.refusal == REFUSAL_NONE)
		refusal_count(s, REFUSAL_BROKEN_OFF);
	atomic_fetch_sub(&s->body_memory, c->request.memory_counted);
	atomic_fetch_sub(&s->reply_memory, c->request.reply_counted);
	limits_request_over(c);
	buf_done(&c->request.reply.body);
	memset(&c->request, 0, sizeof c->request);
	c->request.refusal = REFUSAL_NONE;
	if (c->body.size > KEPT_BODY_BYTES)
		buf_done(&c->body);
	else
		buf_clear(&c->body);
	if (c->arena)
		arena_reset(c->arena);
	atomic_store_explicit(&c->complete, false, memory_order_relaxed);
	connection_change_state(c, CONNECTION_IDLE);
	atomic_fetch_sub_explicit(&s->in_flight, 1, memory_order_release);
}
