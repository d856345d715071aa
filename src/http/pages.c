/* The small pages: health of the older module, liveness, readiness, metrics, what there is, and the description of the API. Any worker. */
#include "http/internal.h"
#include "http/openapi.h"

#include "base/clock.h"
#include "base/log_sink.h"

#define TEXT_TYPE "text/plain; charset=utf-8"
#define METRICS_TYPE "text/plain; version=0.0.4; charset=utf-8"

enum MHD_Result health_run(struct connection *c)
{
	return reply_literal(c, MHD_HTTP_OK, NULL, SLICE("{\"status\":\"healthy\",\"service\":\"call_outcomes\"}"));
}

enum MHD_Result livez_run(struct connection *c) { return reply_literal(c, MHD_HTTP_OK, NULL, SLICE("{\"status\":\"alive\"}")); }

/* What the node lacks. */
struct lacks {
	bool draining, store, reads, spool;
};

static void write_missing(struct jsonw *w, const struct lacks *l)
{
	const struct {
		bool lacks;
		const char *name;
	} all[] = { { l->draining, "shutting down" }, { l->store, "store" }, { l->reads, "reads" }, { l->spool, "spool" } };
	jw_key(w, "missing");
	jw_arr(w);
	for (size_t i = 0; i < sizeof all / sizeof *all; i++)
		if (all[i].lacks)
			jw_cstr(w, all[i].name);
	jw_arr_end(w);
}

static void write_spool(struct jsonw *w, const struct spool_status *t)
{
	int64_t age_ms = t->oldest_ms ? clock_wall_ms() - t->oldest_ms : 0;
	jw_key(w, "spool");
	jw_obj(w);
	jw_key(w, "events");
	jw_int(w, t->events);
	jw_key(w, "bytes");
	jw_int(w, t->bytes);
	jw_key(w, "oldestSeconds");
	jw_int(w, age_ms > 0 ? age_ms / 1000 : 0);
	jw_obj_end(w);
}

/* Ready: new webhooks can be made durable, in the database or in the spool. What is missing is named. */
enum MHD_Result readyz_run(struct connection *c)
{
	struct http_server *s = c->server;
	struct spool_status spool = { .takes = false };
	bool has_spool = ingest_spool_status(s->ingest, &spool);
	struct lacks l = { .draining = atomic_load(&s->draining), .store = !ingest_is_up(s->ingest), .reads = !reads_are_up(s->reads),
		.spool = has_spool && !spool.takes };
	bool whole = !l.draining && !l.store && !l.reads && !l.spool, ready = !l.draining && (!l.store || spool.takes);
	struct reply *reply = &c->request.reply;
	struct jsonw w = JSONW(&reply->body);
	jw_obj(&w);
	jw_key(&w, "status");
	jw_cstr(&w, whole ? "ready" : ready ? "degraded" : "unavailable");
	if (!whole)
		write_missing(&w, &l);
	if (spool.events)
		write_spool(&w, &spool);
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
	if (!local && !access_is_service(&s->access, c->request.head.authorization)) {
		bool none = slice_is_none(c->request.head.authorization);
		access_refused(c, none ? ACCESS_CAUSE_NO_TOKEN : ACCESS_CAUSE_UNKNOWN);
		return !none ? access_reply_bad_token(c) : reply_problem(c, MHD_HTTP_UNAUTHORIZED, "Unauthorized", "the metrics need the service token on a public address",
				     REPLY_BEARER);
	}
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
