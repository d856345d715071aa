/* GET /api/calls/{call_id}: the call as its outcome shows it, and beside that its legs, witnesses, losses and the verdicts that a later one
 * replaced. What is made from facts is core/detail's; facts that hold marks of other tenants are looked at through facts_for_tenant only.
 * The tag of the answer is strong, so that who asks again for a call that did not change gets a 304. call_run runs on a worker, call_reply on a
 * reader. */
#include "core/detail.h"
#include "http/internal.h"
#include "wire/mark.h"

enum MHD_Result call_run(struct connection *c)
{
	static const struct query_parameter known[] = { { "user_id", false } };
	struct slice values[1], tenant, call_id;
	enum MHD_Result answered;
	if (!call_asked_for(c, known, 1, values, &tenant, &call_id, &answered))
		return answered;
	c->request.read.outcome = (struct outcome_query){ .tenant = tenant, .call_id = call_id };
	return reads_submit(c, READ_CALL);
}

/* A call that was another tenant's before leaves out those that rest on that tenant's marks. */
static void write_revisions(const struct call_detail *d, const struct facts *seen, struct jsonw *w)
{
	jw_key(w, "revisions");
	jw_arr(w);
	for (size_t i = 0; i < d->revision_count; i++) {
		if (mark_unseen_is_named(d->revisions[i].verdict, seen))
			continue;
		jw_obj(w);
		jw_key(w, "revision");
		jw_int(w, d->revisions[i].revision);
		jw_key(w, "replacedAt");
		jw_time_ms(w, d->revisions[i].replaced_at_ms);
		if (!slice_is_none(d->revisions[i].verdict))
			jw_members(w, d->revisions[i].verdict);
		jw_obj_end(w);
	}
	jw_arr_end(w);
}

/* What this tenant may see of the facts. *ret_known: there are facts, and they can be read. */
static int facts_shown(const struct call_detail *d, struct slice tenant, struct arena *a, struct facts *ret, bool *ret_known)
{
	struct facts *f;
	int r = slice_is_empty(d->facts) ? OC_INVALID : facts_decode(a, d->facts, &f);
	if (r == OC_OK)
		r = facts_for_tenant(f, tenant, a, ret);
	*ret_known = r == OC_OK;
	return r == OC_NOMEM ? r : OC_OK;
}

int call_reply(int result, const struct call_detail *d, struct slice tenant, struct slice if_none_match, struct arena *a, struct reply *reply)
{
	struct facts f;
	bool known = false;
	if (result == OC_NOT_FOUND) {
		outcome_not_found(reply);
		return OC_OK;
	}
	if (result == OC_OK)
		result = facts_shown(d, tenant, a, &f, &known);
	if (result != OC_OK)
		return result;
	struct detail detail = { .leg_count = 0 };
	int r = known ? detail_make(&f, !slice_is_none(d->view.outcome), a, &detail) : OC_OK;
	if (r != OC_OK)
		return r;
	struct jsonw w = JSONW(&reply->body);
	jw_obj(&w);
	call_write_members(&d->view, &w);
	detail_write_members(known ? &detail : NULL, &w);
	write_revisions(d, known ? &f : NULL, &w);
	jw_obj_end(&w);
	r = buf_failed(&reply->body) ? OC_NOMEM : etag_make(d->view.revision, buf_slice(&reply->body), reply->etag, sizeof reply->etag);
	if (r != OC_OK)
		return r;
	reply->status = MHD_HTTP_OK;
	reply->flags = REPLY_NO_STORE;
	if (etag_matches(if_none_match, reply->etag))
		reply->status = MHD_HTTP_NOT_MODIFIED; /* libmicrohttpd keeps the body to itself, and sends its length as RFC 9110, 8.6 wants it */
	return OC_OK;
}
