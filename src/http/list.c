/* GET /api/calls: the calls of a tenant, newest first, by pages. A filter that is not exactly right is a 400 that names it, never a list that
 * shows something else. list_run runs on a worker, list_reply on a reader. */
#include "http/internal.h"

#include <stdio.h>

#include "core/verdict.h"

#define LIST_DEFAULT 50
#define LIST_MOST 200
#define MAX_PHONE_BYTES 64
#define MAX_ROOM_NAME_BYTES 1024

enum { P_USER, P_FROM, P_TO, P_OUTCOME, P_DIRECTION, P_STATUS, P_PHONE, P_ROOM, P_LIMIT, P_CURSOR, P_COUNT };
static const struct query_parameter known[P_COUNT] = {
	[P_USER] = { "user_id", false },     [P_FROM] = { "from", true },      [P_TO] = { "to", true },
	[P_OUTCOME] = { "outcome", false },  [P_DIRECTION] = { "direction", false }, [P_STATUS] = { "status", false },
	[P_PHONE] = { "phone_number", true }, [P_ROOM] = { "room_name", false }, [P_LIMIT] = { "limit", true },
	[P_CURSOR] = { "cursor", true },
};

static bool one_of(struct slice value, const char *const *names)
{
	for (; *names; names++)
		if (slice_eq_cstr(value, *names))
			return true;
	return false;
}

static bool is_text(struct slice value, size_t most)
{
	return value.n >= 1 && value.n <= most && slice_is_utf8(value) && !memchr(value.p, '\0', value.n);
}

static bool read_time(struct slice value, int64_t *ret)
{
	int64_t ms;
	if (!rfc3339_parse(value, &ms))
		return false;
	*ret = ms > 0 ? ms : 1; /* 0 means open; no call is that old */
	return true;
}

bool limit_read(struct slice value, size_t *ret)
{
	int64_t n;
	if (value.n > 3 || !slice_to_int64(value, &n) || n < 1 || n > LIST_MOST || value.p[0] == '+')
		return false;
	*ret = (size_t)n;
	return true;
}

/* False: this value is not one that the parameter can have. */
static bool read_value(size_t parameter, struct slice value, struct list_filter *f)
{
	static const char *const directions[] = { "inbound", "outbound", "web", NULL };
	static const char *const statuses[] = { "active", "ended", NULL };
	switch (parameter) {
	case P_FROM: return read_time(value, &f->from_ms);
	case P_TO: return read_time(value, &f->to_ms);
	case P_OUTCOME: f->outcome = value; return outcome_from_name(value) != OUTCOME_NONE;
	case P_DIRECTION: f->direction = value; return one_of(value, directions);
	case P_STATUS: f->status = value; return one_of(value, statuses);
	case P_PHONE: f->phone_number = value; return is_text(value, MAX_PHONE_BYTES);
	case P_ROOM: f->room_name = value; return is_text(value, MAX_ROOM_NAME_BYTES);
	case P_LIMIT: return limit_read(value, &f->limit);
	default: return true; /* user_id is access_decide's, the cursor comes last */
	}
}

enum MHD_Result bad_parameter(struct connection *c, const char *name)
{
	char detail[200];
	snprintf(detail, sizeof detail, "the value of parameter %s is not allowed", name);
	return reply_problem(c, MHD_HTTP_BAD_REQUEST, NULL, detail, 0);
}

enum MHD_Result list_run(struct connection *c)
{
	struct slice values[P_COUNT];
	struct list_filter *f = &c->request.read.list;
	enum MHD_Result answered;
	*f = (struct list_filter){ .limit = LIST_DEFAULT };
	if (!query_read(c, known, P_COUNT, values, &answered) ||
	    !tenant_read(c, values[P_USER], MHD_HTTP_FORBIDDEN, &f->tenant, &answered))
		return answered;
	for (size_t i = 0; i < P_COUNT; i++)
		if (!slice_is_none(values[i]) && !read_value(i, values[i], f))
			return bad_parameter(c, known[i].name);
	if (f->from_ms && f->to_ms && f->from_ms > f->to_ms)
		return reply_problem(c, MHD_HTTP_BAD_REQUEST, NULL, "parameter from is later than to", 0);
	if (!slice_is_none(values[P_CURSOR])) {
		int r = cursor_decode(values[P_CURSOR], c->arena, f);
		if (r == OC_NOMEM)
			return MHD_NO;
		if (r != OC_OK)
			return reply_problem(c, MHD_HTTP_BAD_REQUEST, NULL,
					     "parameter cursor does not belong to this list: the filters must stay the same from page to page", 0);
	}
	return reads_submit(c, READ_LIST);
}

void list_reply(const struct list_filter *f, const struct call_view *calls, size_t count, bool more, struct arena *a, struct reply *reply)
{
	struct slice cursor = SLICE_NONE;
	if (more && count && cursor_encode(f, calls[count - 1].sort_key, calls[count - 1].id, a, &cursor) != OC_OK) {
		reply_problem_set(reply, MHD_HTTP_SERVICE_UNAVAILABLE, "Unavailable", "out of memory", REPLY_RETRY);
		return;
	}
	struct jsonw w = JSONW(&reply->body);
	jw_obj(&w);
	jw_key(&w, "calls");
	jw_arr(&w);
	for (size_t i = 0; i < count; i++)
		call_write(&calls[i], &w);
	jw_arr_end(&w);
	jw_key(&w, "nextCursor");
	jw_str(&w, cursor);
	jw_obj_end(&w);
	reply->status = MHD_HTTP_OK;
	reply->flags = REPLY_NO_STORE;
}
