/* The small pages: health of the older module, liveness, readiness, metrics, what there is, and the description of the API. Any worker. */
#include "http/internal.h"
#include "http/openapi.h"

#include "base/log_sink.h"

#define TEXT_TYPE "text/plain; charset=utf-8"
#define METRICS_TYPE "text/plain; version=0.0.4; charset=utf-8"

enum MHD_Result health_run(struct connection *c)
{
	return reply_literal(c, MHD_HTTP_OK, NULL, SLICE("{\"status\":\"healthy\",\"service\":\"call_outcomes\"}"));
}

enum MHD_Result livez_run(struct connection *c) { return reply_literal(c, MHD_HTTP_OK, NULL, SLICE("{\"status\":\"alive\"}")); }

/* Ready: new webhooks can be made durable. What is missing is named. */
enum MHD_Result readyz_run(struct connection *c)
{
	struct http_server *s = c->server;
	bool draining = atomic_load(&s->draining), store = ingest_is_up(s->ingest), reads = reads_are_up(s->reads);
	struct reply *reply = &c->request.reply;
	bool ready = !draining && store && reads;
	struct jsonw w = JSONW(&reply->body);
	jw_obj(&w);
	jw_key(&w, "status");
	jw_cstr(&w, ready ? "ready" : "unavailable");
	if (!ready) {
		jw_key(&w, "missing");
		jw_arr(&w);
		if (draining)
			jw_cstr(&w, "shutting down");
		if (!store)
			jw_cstr(&w, "store");
		if (!reads)
			jw_cstr(&w, "reads");
		jw_arr_end(&w);
	}
	jw_obj_end(&w);
	reply->status = ready ? MHD_HTTP_OK : MHD_HTTP_SERVICE_UNAVAILABLE;
	reply->flags = ready ? 0 : REPLY_RETRY;
	return reply_send(c, reply);
}

/* Open where only this machine can ask; on a public address only to the service token. */
enum MHD_Result metrics_run(struct connection *c)
{
	struct http_server *s = c->server;
	bool local = s->listener.local && (!c->from_proxy || address_is_local(c->client));
	if (!local && !access_is_service(&s->access, c->request.head.authorization))
		return reply_problem(c, MHD_HTTP_UNAUTHORIZED, "Unauthorized", "the metrics need the service token on a public address",
				     REPLY_BEARER);
	if (!local)
		limits_proved(c);
	metric_set(s->metrics, METRIC_HTTP_BODY_BYTES, 0, (int64_t)atomic_load(&s->body_memory));
	metric_set(s->metrics, METRIC_HTTP_REPLY_BYTES, 0, (int64_t)atomic_load(&s->reply_memory));
	metric_set(s->metrics, METRIC_LOG_DROPPED, 0, log_lines_dropped());
	struct reply *reply = &c->request.reply;
	metrics_render(s->metrics, &reply->body);
	reply->status = MHD_HTTP_OK;
	reply->content_type = METRICS_TYPE;
	return reply_send(c, reply);
}

enum MHD_Result openapi_run(struct connection *c) { return reply_literal(c, MHD_HTTP_OK, NULL, slice_of(openapi_text, openapi_bytes)); }

enum MHD_Result root_run(struct connection *c)
{
	struct reply *reply = &c->request.reply;
	size_t count;
	const struct endpoint *endpoints = endpoints_all(&count);
	buf_puts(&reply->body, "outcomed " OUTCOMED_VERSION "\n\n");
	for (size_t i = 0; i < count; i++) {
		buf_puts(&reply->body, endpoints[i].post ? "POST " : "GET  ");
		buf_puts(&reply->body, endpoints[i].path);
		buf_putc(&reply->body, '\n');
	}
	reply->status = MHD_HTTP_OK;
	reply->content_type = TEXT_TYPE;
	return reply_send(c, reply);
}
