/* GET /api/calls/{call_id}/events: the journal of a call by pages, oldest first, the columns by their names. What a tenant may see of it the
 * store decides by the row's own tenant. events_run runs on a worker, events_reply on a reader. */
#include "http/internal.h"
#include "wire/jwt.h"

#define EVENTS_DEFAULT 50

enum { P_USER, P_LIMIT, P_CURSOR, P_COUNT };
static const struct query_parameter known[P_COUNT] = {
	[P_USER] = { "user_id", false }, [P_LIMIT] = { "limit", true }, [P_CURSOR] = { "cursor", true },
};

enum MHD_Result events_run(struct connection *c)
{
	struct slice values[P_COUNT];
	struct events_query *q = &c->request.read.events;
	enum MHD_Result answered;
	*q = (struct events_query){ .limit = EVENTS_DEFAULT };
	if (!call_asked_for(c, known, P_COUNT, values, &q->tenant, &q->call_id, &answered))
		return answered;
	if (!slice_is_none(values[P_LIMIT]) && !limit_read(values[P_LIMIT], &q->limit))
		return bad_parameter(c, known[P_LIMIT].name);
	if (!slice_is_none(values[P_CURSOR])) {
		int r = events_cursor_decode(values[P_CURSOR], c->arena, q);
		if (r == OC_NOMEM)
			return MHD_NO;
		if (r != OC_OK)
			return reply_problem(c, MHD_HTTP_BAD_REQUEST, NULL,
					     "parameter cursor does not belong to this call: ask for it in the same way from page to page", 0);
	}
	return reads_submit(c, READ_EVENTS);
}

static void text(struct jsonw *w, const char *key, struct slice value)
{
	jw_key(w, key);
	jw_str(w, value);
}

static void moment(struct jsonw *w, const char *key, int64_t ms)
{
	jw_key(w, key);
	jw_time_ms(w, ms);
}

static int write_event(const struct event_view *e, struct arena *a, struct jsonw *w)
{
	struct slice body = SLICE_NONE;
	if (!slice_is_none(e->raw_body) && base64_encode(e->raw_body, false, a, &body) != OC_OK)
		return OC_NOMEM;
	jw_obj(w);
	jw_key(w, "id");
	jw_raw(w, e->id);
	text(w, "userId", e->user_id);
	text(w, "callLogId", e->call_log_id);
	text(w, "eventId", e->event_id);
	text(w, "event", e->event);
	text(w, "roomName", e->room_name);
	text(w, "roomSid", e->room_sid);
	text(w, "participantIdentity", e->participant_identity);
	text(w, "participantSid", e->participant_sid);
	text(w, "sipCallId", e->sip_call_id);
	jw_key(w, "timestamp");
	if (e->timestamp_s)
		jw_int(w, e->timestamp_s);
	else
		jw_null(w);
	jw_key(w, "rawPayload");
	jw_raw(w, e->payload);
	text(w, "rawBody", body);
	jw_key(w, "processed");
	jw_int(w, e->processed);
	text(w, "errorMessage", e->error_message);
	moment(w, "createdAt", e->created_at_ms);
	moment(w, "processedAt", e->processed_at_ms);
	text(w, "source", e->source);
	text(w, "bodyHash", e->body_hash);
	text(w, "keyId", e->key_id);
	jw_obj_end(w);
	return OC_OK;
}

int events_reply(int result, const struct events_query *q, const struct event_view *rows, size_t count, bool more, struct arena *a,
	struct reply *reply)
{
	struct slice cursor = SLICE_NONE;
	if (result == OC_NOT_FOUND) {
		outcome_not_found(reply);
		return OC_OK;
	}
	if (result != OC_OK)
		return result;
	if (more && count) {
		int r = events_cursor_encode(q, rows[count - 1].position, rows[count - 1].event_id, a, &cursor);
		if (r != OC_OK)
			return r;
	}
	struct jsonw w = JSONW(&reply->body);
	jw_obj(&w);
	jw_key(&w, "events");
	jw_arr(&w);
	for (size_t i = 0; i < count; i++) {
		int r = write_event(&rows[i], a, &w);
		if (r != OC_OK)
			return r;
	}
	jw_arr_end(&w);
	text(&w, "nextCursor", cursor);
	jw_obj_end(&w);
	reply->status = MHD_HTTP_OK;
	reply->flags = REPLY_NO_STORE;
	return OC_OK;
}
