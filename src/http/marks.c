/* POST /api/marks: what somebody else knows about a call, into the same queue and journal as webhooks. docs/MARKS.md is the contract.
 *
 * Who posts: with a tenant's token, or with user_id, that tenant, and the mark then counts for that tenant's calls only; with the service
 * token, or where no token is configured, and without user_id, one who may speak about every call. A mark by call id needs a tenant, for it
 * is looked up as a read is (reads.c), and a call that is another's gives the same 404. Everything but mark_call_found, which runs on a
 * reader's thread, runs on the connection's worker. */
#include "http/internal.h"

#include "base/clock.h"
#include "wire/jwt.h"
#include "wire/mark.h"

#define AHEAD_MS 600000 /* a moment may lie so far in the future: clocks differ, calls that have not been made yet have no marks */

static enum MHD_Result refuse(struct connection *c, const char *detail)
{
	return reply_problem(c, MHD_HTTP_BAD_REQUEST, NULL, detail, 0);
}

/* A page on the web can make a browser on this machine post here, and does not need to see the answer. */
static bool is_of_a_web_page(const struct connection *c)
{
	return access_is_open(&c->server->access) && !slice_is_none(c->request.head.origin);
}

/* The event as it is kept, from the event as it was said. */
static int complete(struct connection *c, struct slice tenant)
{
	struct request *r = &c->request;
	struct event *e = &r->decoded.event;
	_cleanup_buf_ struct buf b = BUF_INIT;
	r->item.received_ms = clock_wall_ms();
	e->mark.tenant = tenant;
	e->mark.posted_ms = r->item.received_ms;
	e->created_at_s = (e->mark.at_ms ? e->mark.at_ms : e->mark.posted_ms) / 1000;
	mark_encode(e, &b);
	if (buf_failed(&b) || !arena_copy(c->arena, buf_slice(&b), &r->decoded.payload))
		return OC_NOMEM;
	r->item.decoded = &r->decoded;
	r->item.body = buf_slice(&c->body);
	r->item.source = SLICE("mark");
	return OC_OK;
}

/* By the tenant and the key, or by what the mark says: not by when it came, nor by what a call id leads to today. */
static int identify(struct connection *c, struct slice tenant, struct slice key)
{
	struct request *r = &c->request;
	_cleanup_buf_ struct buf b = BUF_INIT;
	mark_encode(&r->decoded.event, &b);
	if (buf_failed(&b) || !hash_sha256(buf_slice(&b), r->item.body_hash))
		return OC_NOMEM;
	return mark_id(tenant, key, buf_slice(&b), c->arena, &r->decoded.event.id);
}

static enum MHD_Result submit(struct connection *c, struct slice tenant)
{
	struct request *r = &c->request;
	const struct event *e = &r->decoded.event;
	if (slice_is_none(e->mark.call_id)) {
		return complete(c, tenant) == OC_OK ? event_submit(c) : event_unavailable(c);
	}
	if (slice_is_none(tenant))
		return refuse(c, "callId needs parameter user_id: a call is looked up for a tenant");
	r->read.outcome = (struct outcome_query){ .tenant = tenant, .call_id = e->mark.call_id };
	return reads_submit(c, READ_MARK);
}

void mark_call_found(struct connection *c, const struct outcome_query *q)
{
	struct request *r = &c->request;
	struct event *e = &r->decoded.event;
	bool has_room = !slice_is_none(q->view.room_sid) || !slice_is_none(q->view.room_name);
	if (q->result != OC_OK) {
		outcome_reply(q, &r->reply);
	} else if (!has_room) {
		reply_problem_set(&r->reply, MHD_HTTP_BAD_REQUEST, NULL, "callId is of a call that has no room yet", 0);
	} else if (!arena_copy(c->arena, q->view.room_sid, &e->room.sid) ||
		   (slice_is_none(q->view.room_sid) && !arena_copy(c->arena, q->view.room_name, &e->room.name)) || complete(c, q->tenant) != OC_OK) {
		event_set_unavailable(&r->reply);
	} else {
		event_submit_suspended(c);
		return;
	}
	connection_resume(c);
}

enum MHD_Result marks_run(struct connection *c)
{
	static const struct query_parameter known[] = { { "user_id", false } };
	struct request *r = &c->request;
	struct slice user_id, tenant, key = SLICE_NONE, message = SLICE("");
	enum MHD_Result answered;
	if (is_of_a_web_page(c))
		return reply_problem(c, MHD_HTTP_FORBIDDEN, "Forbidden", "a request of a web page needs a token, and none is configured", 0);
	if (!query_read(c, known, 1, &user_id, &answered) || !poster_read(c, user_id, &tenant, &answered))
		return answered;
	if (!slice_is_none(r->head.idempotency_key) && !mark_key_is_valid(r->head.idempotency_key, &key))
		return refuse(c, "the Idempotency-Key header must be 1 to 255 printable ASCII characters");
	int result = mark_parse(buf_slice(&c->body), c->arena, &r->decoded.event, &message);
	if (result == OC_INVALID) {
		const char *detail = arena_dup(c->arena, message);
		return detail ? refuse(c, detail) : event_unavailable(c);
	}
	if (result == OC_OK && r->decoded.event.mark.at_ms > clock_wall_ms() + AHEAD_MS)
		return refuse(c, "at lies more than ten minutes in the future");
	if (result != OC_OK || identify(c, tenant, key) != OC_OK)
		return event_unavailable(c);
	return submit(c, tenant);
}
