/* From a decoded event or mark to a place in the ingest queue, and from the writer's word to the answer.
 *
 * Ordering: the connection is suspended before the event is submitted, since the writer may be done at once; the 200 is made in
 * event_done, which the writer calls after its commit and the spooler after its sync, and nowhere else. event_submit runs on the connection's worker,
 * event_submit_suspended on a reader's thread. */
#include "http/internal.h"

#include "base/clock.h"
#include "base/log.h"

static const char unavailable[] = "the event could not be stored; send it again";

static const char *result_status(enum ingest_result result)
{
	switch (result) {
	case INGEST_PROCESSED:
	case INGEST_DUPLICATE:
	case INGEST_SPOOLED: return "processed";
	case INGEST_IGNORED: return "ignored";
	case INGEST_QUARANTINED: return "quarantined";
	case INGEST_CONFLICT:
	case INGEST_FAILED: return NULL;
	}
	return NULL;
}

void event_set_unavailable(struct reply *reply)
{
	reply_problem_set(reply, MHD_HTTP_SERVICE_UNAVAILABLE, "Unavailable", unavailable, REPLY_RETRY);
}

enum MHD_Result event_unavailable(struct connection *c)
{
	event_set_unavailable(&c->request.reply);
	return reply_send(c, &c->request.reply);
}

static void set_result(struct reply *reply, const struct ingest_item *item)
{
	const char *status = result_status(item->result);
	if (item->result == INGEST_CONFLICT) {
		reply_problem_set(reply, MHD_HTTP_UNPROCESSABLE_CONTENT, "Idempotency-Key", item->message, 0);
		return;
	}
	if (!status) {
		event_set_unavailable(reply);
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

/* On a writer's thread or the spooler's. */
static void event_done(struct ingest_item *item)
{
	struct connection *c = item->context;
	set_result(&c->request.reply, item);
	if (item->decoded->event.type != EVENT_MARK)
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

/* After begin_submit, with the connection suspended. */
static void pass_on(struct connection *c)
{
	struct http_server *s = c->server;
	struct ingest_item *item = &c->request.item;
	bool mark = item->decoded->event.type == EVENT_MARK;
	item->done = event_done;
	item->context = c;
	int r = ingest_submit(s->ingest, item);
	atomic_fetch_sub(&s->submitting, 1);
	if (r == OC_OK)
		return;
	int64_t suppressed; /* the connection is still ours */
	if (throttle_pass(&s->log_full, &suppressed))
		log_error(mark ? "mark_not_taken" : "webhook_not_taken", LOG_Z("cause", oc_error_text(r)), LOG_I("more_like_it", suppressed),
			  LOG_Z("note", mark ? "answered 503" : "answered 503; LiveKit sends it again for about 15 seconds"));
	event_set_unavailable(&c->request.reply);
	connection_resume(c);
}

enum MHD_Result event_submit(struct connection *c)
{
	if (!begin_submit(c->server))
		return reply_refusal(c, REFUSAL_SHUTTING_DOWN);
	connection_suspend(c);
	pass_on(c);
	return MHD_YES;
}

void event_submit_suspended(struct connection *c)
{
	if (begin_submit(c->server)) {
		pass_on(c);
		return;
	}
	refusal_count(c->server, REFUSAL_SHUTTING_DOWN);
	reply_problem_set(&c->request.reply, MHD_HTTP_SERVICE_UNAVAILABLE, NULL, "shutting down", REPLY_CLOSE | REPLY_RETRY);
	connection_resume(c);
}
