/* POST /api/webhooks/call_completed: from a body to a verified, decoded event (submit.c takes it on). Any 4xx makes LiveKit forget the event,
 * so only a body over the limit and a signature that is not LiveKit's get one. Runs on the connection's worker. */
#include "http/internal.h"

#include "base/clock.h"
#include "base/log.h"
#include "wire/jwt.h"

static struct signature_result verify(struct connection *c, struct slice body)
{
	const struct head *h = &c->request.head;
	return signature_verify(&c->server->o.keyring, h->authorization, h->hmac_signature, body, clock_wall_ms() / 1000, c->arena);
}

void receiver_look_at_token(struct connection *c)
{
	struct request *r = &c->request;
	if (atomic_load_explicit(&c->proved, memory_order_relaxed))
		return;
	r->signature = verify(c, SLICE(""));
	enum signature_check check = r->signature.check;
	if (r->signature.error)
		return;
	if (check == SIGNATURE_HMAC)
		r->proves_itself_whole = true;
	else if (check == SIGNATURE_OK || check == SIGNATURE_BODY)
		limits_proved(c);
	else
		r->unauthorized = true;
}

void receiver_log_too_large(struct connection *c, uint64_t bytes)
{
	const struct request *r = &c->request;
	int64_t suppressed;
	if (!r->endpoint || r->endpoint->run != receiver_run || !throttle_pass(&c->server->log_too_large, &suppressed))
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
	if (throttle_pass(throttle, &suppressed)) {
		char address[ADDRESS_TEXT_BYTES];
		address_write(c->client, address, sizeof address);
		log_warn("webhook_refused", LOG_Z("check", signature_check_name(result->check)), LOG_Z("address", address),
			 LOG_I("more_like_it", suppressed), LOG_Z("mend", signature_check_mend(result->check)));
	}
	return reply_problem(c, MHD_HTTP_UNAUTHORIZED, "Unauthorized", "the signature was not accepted",
			     REPLY_BEARER | (c->request.body_seen > BODY_UNPROVED_BYTES ? REPLY_CLOSE : 0));
}

enum MHD_Result receiver_run(struct connection *c)
{
	struct request *r = &c->request;
	struct slice body = buf_slice(&c->body);
	if (r->unauthorized)
		return refuse_signature(c);
	r->signature = verify(c, body);
	if (r->signature.error) /* not looked at for want of memory: no reason to lose the event */
		return event_unavailable(c);
	if (r->signature.check != SIGNATURE_OK)
		return refuse_signature(c);
	metric_add(c->server->metrics, METRIC_SIGNATURE, SIGNATURE_OK, 1);
	limits_proved(c);
	bool hmac = r->signature.by_hmac;
	struct decode_options options = c->server->o.decode;
	options.iso_times = hmac;
	struct ingest_item *item = &r->item;
	if (decode_event(body, &options, c->arena, &r->decoded) != OC_OK || !hash_sha256(body, item->body_hash))
		return event_unavailable(c);
	r->decoded.event.key_id = r->signature.key_id;
	item->decoded = &r->decoded;
	item->body = body;
	item->source = hmac ? SLICE("hmac") : SLICE("livekit");
	item->received_ms = clock_wall_ms();
	return event_submit(c);
}
