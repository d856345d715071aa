/* What every read does before it reads, and a mark before it is read: its query string and its tenant. Each returns true, or false with the answer already given. Runs on
 * the connection's worker. */
#include "http/internal.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/log.h"

bool query_read(struct connection *c, const struct query_parameter *known, size_t count, struct slice *values, enum MHD_Result *ret_answered)
{
	static const char *const texts[] = {
		[QUERY_UNKNOWN] = "there is no parameter",
		[QUERY_REPEATED] = "this parameter is there twice:",
		[QUERY_MALFORMED] = "this parameter is not percent-encoded properly:",
	};
	struct slice name = SLICE("");
	enum query_problem problem = query_parse(c->request.query, known, count, c->arena, values, &name);
	char detail[200];
	switch (problem) {
	case QUERY_OK: return true;
	case QUERY_NOMEM: *ret_answered = MHD_NO; return false;
	case QUERY_UNKNOWN:
	case QUERY_REPEATED:
	case QUERY_MALFORMED: break;
	}
	snprintf(detail, sizeof detail, "%s %.*s", texts[problem], SLICE_FMT(name));
	*ret_answered = reply_problem(c, MHD_HTTP_BAD_REQUEST, NULL, detail, 0);
	return false;
}

/* `anybody`: who names no tenant may ask too, if allowed to speak about every call. */
static enum access_result decide(struct connection *c, struct slice user_id, bool anybody, struct slice *ret_tenant)
{
	const struct access_options *o = &c->server->access;
	enum access_cause cause;
	enum access_result result = access_decide(o, c->request.head.authorization, user_id, clock_wall_ms() / 1000, c->arena, ret_tenant, &cause);
	if (result != ACCESS_NO_TOKEN && result != ACCESS_BAD_TOKEN && !access_is_open(o))
		limits_proved(c);
	if (result != ACCESS_OK && !(anybody && (result == ACCESS_WHO || result == ACCESS_NO_TENANT)))
		access_refused(c, cause);
	return result;
}

void access_refused(struct connection *c, enum access_cause cause)
{
	struct http_server *s = c->server;
	char address[ADDRESS_TEXT_BYTES];
	int64_t suppressed;
	metric_add(s->metrics, METRIC_ACCESS_REFUSALS, (size_t)cause, 1);
	if (!throttle_pass(&s->log_access, &suppressed))
		return;
	address_write(c->client, address, sizeof address);
	log_warn("access_refused", LOG_Z("cause", access_cause_names(&(size_t){ 0 })[cause]), LOG_Z("address", address),
		 LOG_I("more_like_it", suppressed));
}

enum MHD_Result access_reply_bad_token(struct connection *c)
{
	struct http_server *s = c->server;
	if (c->client.is_ip && !attempts_note(s->attempts, address_group(c->client), clock_mono_ns() + 1)) {
		metric_add(s->metrics, METRIC_ACCESS_REFUSALS, ACCESS_CAUSE_ATTEMPTS, 1);
		return reply_problem(c, MHD_HTTP_TOO_MANY_REQUESTS, NULL, "too many tokens that were not accepted", REPLY_RETRY | REPLY_CLOSE);
	}
	return reply_problem(c, MHD_HTTP_UNAUTHORIZED, "Unauthorized", "the token was not accepted", REPLY_BEARER);
}

static bool answer_access(struct connection *c, enum access_result result, unsigned other_tenant_status, enum MHD_Result *ret_answered)
{
	switch (result) {
	case ACCESS_OK: return true;
	case ACCESS_NO_TOKEN:
		*ret_answered = reply_problem(c, MHD_HTTP_UNAUTHORIZED, "Unauthorized", "a bearer token is needed", REPLY_BEARER);
		return false;
	case ACCESS_BAD_TOKEN:
		*ret_answered = access_reply_bad_token(c);
		return false;
	case ACCESS_WHO:
		*ret_answered = reply_problem(c, MHD_HTTP_UNAUTHORIZED, "Unauthorized", "parameter user_id is needed", REPLY_BEARER);
		return false;
	case ACCESS_NO_TENANT:
		*ret_answered = reply_problem(c, MHD_HTTP_BAD_REQUEST, NULL, "with the service token parameter user_id is needed", 0);
		return false;
	case ACCESS_BAD_USER_ID:
		*ret_answered = reply_problem(c, MHD_HTTP_BAD_REQUEST, NULL,
					      "parameter user_id must be 1 to 200 bytes of UTF-8 without control characters", 0);
		return false;
	case ACCESS_OTHER_TENANT: break;
	}
	if (other_tenant_status == MHD_HTTP_NOT_FOUND) {
		outcome_not_found(&c->request.reply);
		*ret_answered = reply_send(c, &c->request.reply);
	} else {
		*ret_answered = reply_problem(c, MHD_HTTP_FORBIDDEN, "Forbidden", "the token is another tenant's", 0);
	}
	return false;
}

bool tenant_read(struct connection *c, struct slice user_id, unsigned other_tenant_status, struct slice *ret_tenant,
	enum MHD_Result *ret_answered)
{
	return answer_access(c, decide(c, user_id, false, ret_tenant), other_tenant_status, ret_answered);
}

bool poster_read(struct connection *c, struct slice user_id, struct slice *ret_tenant, enum MHD_Result *ret_answered)
{
	enum access_result result = decide(c, user_id, true, ret_tenant);
	if (result == ACCESS_WHO || result == ACCESS_NO_TENANT) {
		*ret_tenant = SLICE_NONE;
		return true;
	}
	return answer_access(c, result, MHD_HTTP_FORBIDDEN, ret_answered);
}
