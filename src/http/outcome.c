/* GET /api/calls/{call_id}/outcome, and how a call is written wherever it is shown: the columns of call_logs by their names and the verdict's
 * members, all in one flat object. `outcome` is there once: the verdict's, or, for a host's row that was never judged, the column's, and then
 * the other members are null. Pure but for outcome_run, which runs on a worker; outcome_reply runs on a reader. */
#include "http/internal.h"

#define MAX_CALL_ID_BYTES 200

static const char never_judged[] =
	"{\"reason\":null,\"confidence\":null,\"alternatives\":[],\"fault\":null,\"evidence\":[],\"rule\":null,\"rules\":null,"
	"\"rawOutcome\":null,\"explanation\":null,\"answeredAt\":null,\"answeredAtEarliest\":null,\"answeredAtLatest\":null,\"answeredSource\":null,"
	"\"ringSeconds\":null,\"talkSeconds\":null}";

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

static void json(struct jsonw *w, const char *key, struct slice value)
{
	jw_key(w, key);
	jw_raw(w, value);
}

void call_write_members(const struct call_view *v, struct jsonw *w)
{
	text(w, "id", v->id);
	text(w, "userId", v->user_id);
	text(w, "livekitRoomName", v->room_name);
	text(w, "livekitRoomSid", v->room_sid);
	text(w, "direction", v->direction);
	text(w, "phoneNumber", v->phone_number);
	text(w, "sipCallId", v->sip_call_id);
	jw_key(w, "duration");
	if (v->duration_s < 0)
		jw_null(w);
	else
		jw_int(w, v->duration_s);
	moment(w, "startedAt", v->started_at_ms);
	moment(w, "endedAt", v->ended_at_ms);
	text(w, "status", v->status);
	text(w, "recordingUrl", v->recording_url);
	json(w, "metadata", v->metadata);
	moment(w, "createdAt", v->created_at_ms);
	moment(w, "updatedAt", v->updated_at_ms);
	if (!slice_is_none(v->agent_config_id))
		json(w, "agentConfigId", v->agent_config_id);
	if (!slice_is_none(v->cost))
		json(w, "cost", v->cost);
	if (slice_is_none(v->verdict)) {
		text(w, "outcome", v->outcome);
		jw_members(w, slice_cstr(never_judged));
	} else {
		jw_members(w, v->verdict);
	}
	jw_key(w, "revision");
	jw_int(w, v->revision);
}

void call_write(const struct call_view *v, struct jsonw *w)
{
	jw_obj(w);
	call_write_members(v, w);
	jw_obj_end(w);
}

void outcome_not_found(struct reply *reply)
{
	reply_problem_set(reply, MHD_HTTP_NOT_FOUND, "Call not found", "there is no such call", REPLY_NO_STORE);
}

void outcome_reply(const struct outcome_query *q, struct reply *reply)
{
	if (q->result == OC_OK) {
		struct jsonw w = JSONW(&reply->body);
		call_write(&q->view, &w);
		reply->status = MHD_HTTP_OK;
		reply->flags = REPLY_NO_STORE;
	} else if (q->result == OC_NOT_FOUND) {
		outcome_not_found(reply);
	} else {
		reply_problem_set(reply, MHD_HTTP_SERVICE_UNAVAILABLE, "Unavailable", "the database did not answer", REPLY_RETRY);
	}
}

/* A text that no call can have as its id is as good as one that no call has. */
static bool call_id_is_possible(struct slice id)
{
	return id.n > 0 && id.n <= MAX_CALL_ID_BYTES && slice_is_utf8(id) && !memchr(id.p, '\0', id.n);
}

bool call_asked_for(struct connection *c, const struct query_parameter *known, size_t count, struct slice *values, struct slice *ret_tenant,
	struct slice *ret_call_id, enum MHD_Result *ret_answered)
{
	struct request *r = &c->request;
	if (!query_read(c, known, count, values, ret_answered))
		return false;
	if (percent_decode(r->segment, false, c->arena, ret_call_id) != OC_OK) {
		*ret_answered = reply_problem(c, MHD_HTTP_BAD_REQUEST, NULL, "the call id is not percent-encoded properly", 0);
		return false;
	}
	if (!tenant_read(c, values[0], MHD_HTTP_NOT_FOUND, ret_tenant, ret_answered))
		return false;
	if (!call_id_is_possible(*ret_call_id)) {
		outcome_not_found(&r->reply);
		*ret_answered = reply_send(c, &r->reply);
		return false;
	}
	return true;
}

enum MHD_Result outcome_run(struct connection *c)
{
	static const struct query_parameter known[] = { { "user_id", false } };
	struct slice values[1], tenant, call_id;
	enum MHD_Result answered;
	if (!call_asked_for(c, known, 1, values, &tenant, &call_id, &answered))
		return answered;
	c->request.read.outcome = (struct outcome_query){ .tenant = tenant, .call_id = call_id };
	return reads_submit(c, READ_OUTCOME);
}
