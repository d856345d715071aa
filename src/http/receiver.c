/* POST /api/webhooks/call_completed: from a body to a place in the ingest queue, and from the writer's word to the answer.
 *
 * Ordering: the connection is suspended before the event is submitted, since the writer may be done at once; the 200 is made in
 * event_done, which the writer calls after its commit, and nowhere else. Any 4xx makes LiveKit forget the event, so only a body over the
 * limit and a signature that is not LiveKit's get one. Everything but event_done runs on the connection's worker. */
#include "http/internal.h"

#include "base/clock.h"
#include "base/log.h"
#include "wire/jwt.h"

static const char unavailable[] = "the event could not be stored; send it again";

static struct signature_result verify(struct connection *c, struct slice body)
{
	const struct head *h = &c->request.head;
	return signature_verify(&c->server->o.keyring, h->authorization, h->hmac_signature, body, clock_wall_ms() / 1000, c->arena);
}

bool receiver_token_is_genuine(struct connection *c)
{
	struct request *r = &c->request;
	r->signature = verify(c, buf_slice(&c->body));
	enum signature_check check = r->signature.check;
	return r->signature.error || check == SIGNATURE_OK || check == SIGNATURE_BODY || check == SIGNATURE_HMAC /* of all of the body */;
}

void receiver_log_too_large(struct connection *c, uint64_t bytes)
{
	const struct request *r = &c->request;
	int64_t suppressed;
	if (!r->endpoint || !r->endpoint->post || !throttle_pass(&c->server->log_too_large, &suppressed))
		return;
	log_error("webhook_too_large", LOG_I("bytes", bytes > INT64_MAX ? INT64_MAX : (int64_t)bytes),
		  LOG_I("limit", c->server->o.max_body_bytes), LOG_I("more_like_it", suppressed),
		  LOG_Z("note", "answered 413; LiveKit will not send it again"), LOG_Z("mend", "raise --max-body (OUTCOMED_MAX_BODY)"));
}

static enum MHD_Result refuse_signature(struct connection *c)
{
	const struct signature_result *result = &c->request.signature;
	struct throttle *throttle = &c->server->log_signature[result->check];
	int64_t suppressed;
	metric_add(c->server->metrics, METRIC_SIGNATURE, (size_t)result->check, 1);
	if (throttle_pass(throttle, &suppressed))
		log_warn("webhook_refused", LOG_Z("check", signature_check_name(result->check)), LOG_I("more_like_it", suppressed),
			 LOG_Z("mend", signature_check_mend(result->check)));
	return reply_problem(c, MHD_HTTP_UNAUTHORIZED, "Unauthorized", "the signature was not accepted",
			     REPLY_BEARER | (c->request.unauthorized ? REPLY_CLOSE : 0));
}

static const char *result_status(enum ingest_result result)
{
	switch (result) {
	case INGEST_PROCESSED:
	case INGEST_DUPLICATE: return "processed";
	case INGEST_IGNORED: return "ignored";
	case INGEST_QUARANTINED: return "quarantined";
	case INGEST_FAILED: return NULL;
	}
	return NULL;
}

static void set_unavailable(struct reply *reply)
{
	reply_problem_set(reply, MHD_HTTP_SERVICE_UNAVAILABLE, "Unavailable", unavailable, REPLY_RETRY);
}

static void set_result(struct reply *reply, const struct ingest_item *item)
{
	const char *status = result_status(item->result);
	if (!status) {
		set_unavailable(reply);
		return;
	}
	struct jsonw w = JSONW(&reply->body);
	jw_obj(&w);
	jw_key(&w, "status");
	jw_cstr(&w, status);
	jw_key(&w, "event_id");
	jw_str(&w, item->decoded->event.id);
	jw_key(&w, "message");
	jw_cstr(&w, item->message);
	jw_obj_end(&w);
	reply->status = MHD_HTTP_OK;
}

/* On the writer's thread. */
static void event_done(struct ingest_item *item)
{
	struct connection *c = item->context;
	set_result(&c->request.reply, item);
	metric_observe(c->server->metrics, METRIC_ACK_SECONDS, (double)(clock_mono_ns() - c->request.last_byte_ns) / 1e9);
	connection_resume(c);
}

/* False: the server is closed for events. Pairs with http_drain, which sets `closed` and then waits for `submitting`. */
static bool begin_submit(struct http_server *s)
{
	atomic_fetch_add(&s->submitting, 1);
	if (!atomic_load(&s->closed))
		return true;
	atomic_fetch_sub(&s->submitting, 1);
	return false;
}

static enum MHD_Result submit(struct connection *c)
{
	struct http_server *s = c->server;
	if (!begin_submit(s))
		return reply_refusal(c, REFUSAL_SHUTTING_DOWN);
	connection_suspend(c);
	int r = ingest_submit(s->ingest, &c->request.item);
	atomic_fetch_sub(&s->submitting, 1);
	if (r != OC_OK) { /* the connection is still ours */
		int64_t suppressed;
		if (throttle_pass(&s->log_full, &suppressed))
			log_error("webhook_not_taken", LOG_Z("cause", oc_error_text(r)), LOG_I("more_like_it", suppressed),
				  LOG_Z("note", "answered 503; LiveKit sends it again for about 15 seconds"));
		set_unavailable(&c->request.reply);
		connection_resume(c);
	}
	return MHD_YES;
}

enum MHD_Result receiver_run(struct connection *c)
{
	struct request *r = &c->request;
	struct slice body = buf_slice(&c->body);
	if (r->unauthorized)
		return refuse_signature(c);
	r->signature = verify(c, body);
	if (r->signature.error) /* not looked at for want of memory: no reason to lose the event */
		return reply_problem(c, MHD_HTTP_SERVICE_UNAVAILABLE, "Unavailable", unavailable, REPLY_RETRY);
	if (r->signature.check != SIGNATURE_OK)
		return refuse_signature(c);
	metric_add(c->server->metrics, METRIC_SIGNATURE, SIGNATURE_OK, 1);
	bool hmac = r->signature.by_hmac;
	struct decode_options options = c->server->o.decode;
	options.iso_times = hmac;
	struct ingest_item *item = &r->item;
	if (decode_event(body, &options, c->arena, &r->decoded) != OC_OK || !hash_sha256(body, item->body_hash))
		return reply_problem(c, MHD_HTTP_SERVICE_UNAVAILABLE, "Unavailable", unavailable, REPLY_RETRY);
	r->decoded.event.key_id = r->signature.key_id;
	item->decoded = &r->decoded;
	item->body = body;
	item->source = hmac ? SLICE("hmac") : SLICE("livekit");
	item->received_ms = clock_wall_ms();
	item->done = event_done;
	item->context = c;
	return submit(c);
}
