/* What comes back out of a database that others can write to: the input is facts, verdict, a replaced verdict, metadata, a payload and a name, between
 * record separators. Whatever it is, each answer is JSON (jansson's and ours) with the members of its kind, facts that nobody can read are null, the
 * answer's tag is of exactly these bytes, and no mark of another tenant shows through. */
#include "must.h"

#include <string.h>

#include "http/internal.h"
#include "view.h"
#include "wire/jdoc.h"
#include "wire/mark.h"

#define PARTS 6
#define TENANT SLICE("acme")

/* The stores give out as JSON only what is JSON: PostgreSQL by the column's type, SQLite by json_valid. */
static struct slice if_json(struct slice text, bool object, struct arena *a)
{
	struct jdoc j;
	enum json_error_code why;
	if (jdoc_parse(text, a, &j) != 0 || j.fault != JDOC_OK || (object && jdoc_type_of(&j, 0) != JDOC_OBJECT))
		return SLICE_NONE;
	json_t *view = view_of(text, &why);
	json_decref(view);
	return view ? text : SLICE_NONE;
}

static struct slice if_text(struct slice s)
{
	return s.n && slice_is_utf8(s) && !memchr(s.p, 0, s.n) ? s : SLICE_NONE;
}

/* Where the verdict's members bring one of the call's own names a second time, so does the answer: no verdict of ours has those. */
static json_t *parsed(struct slice body)
{
	json_error_t error;
	json_t *j = json_loadb(body.p, body.n, JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL, &error);
	must(json_is_object(j));
	return j;
}

static json_t *answer(struct reply *r, unsigned status)
{
	must(r->status == status && !buf_failed(&r->body));
	json_t *j = parsed(buf_slice(&r->body));
	buf_done(&r->body);
	return j;
}

static void check_whole(const struct call_detail *d, struct arena *a)
{
	struct reply r = { .status = 0 }, again = { .status = 0 };
	struct facts *f;
	bool readable = !slice_is_empty(d->facts) && facts_decode(a, d->facts, &f) == 0;
	must(call_reply(0, d, TENANT, SLICE_NONE, a, &r) == 0);
	must(r.etag[0] == '"' && !etag_matches(SLICE("\"0-0\""), r.etag));
	must(call_reply(0, d, TENANT, slice_cstr(r.etag), a, &again) == 0);
	must(again.status == 304 && slice_eq(buf_slice(&r.body), buf_slice(&again.body)) && strcmp(r.etag, again.etag) == 0);
	buf_done(&again.body);
	json_t *j = answer(&r, 200);
	must(readable ? json_is_array(json_object_get(j, "legs")) : json_is_null(json_object_get(j, "legs")));
	must(json_is_array(json_object_get(j, "revisions")) && json_object_get(j, "livekitRoomSid"));
	for (size_t i = 0; readable && i < f->mark_count; i++) {
		struct slice poster = f->marks[i].mark.tenant, id = f->marks[i].event_id;
		bool ours = slice_is_none(poster) || slice_eq(poster, TENANT), shown = false;
		json_t *witness;
		size_t k;
		json_array_foreach(json_object_get(j, "witnesses"), k, witness)
			shown |= slice_eq(id, slice_of(json_string_value(json_object_get(witness, "eventId")), json_string_length(json_object_get(witness, "eventId"))));
		must(ours || !shown);
	}
	json_decref(j);
}

static void check_lists(const struct call_view *v, const struct event_view *e, struct arena *a)
{
	const struct call_view two[] = { *v, *v };
	const struct event_view rows[] = { *e, *e };
	struct list_filter f = { .tenant = TENANT, .limit = 2 };
	struct events_query q = { .tenant = TENANT, .call_id = SLICE("RM_1"), .limit = 2 };
	struct reply r = { .status = 0 };
	struct outcome_query o = { .tenant = TENANT, .call_id = SLICE("RM_1"), .result = 0, .view = *v };
	list_reply(&f, two, 2, true, a, &r);
	json_t *j = answer(&r, 200);
	must(json_array_size(json_object_get(j, "calls")) == 2 && json_is_string(json_object_get(j, "nextCursor")));
	json_decref(j);
	r = (struct reply){ .status = 0 };
	outcome_reply(&o, &r);
	json_decref(answer(&r, 200));
	r = (struct reply){ .status = 0 };
	must(events_reply(0, &q, rows, 2, true, a, &r) == 0);
	j = answer(&r, 200);
	must(json_array_size(json_object_get(j, "events")) == 2);
	json_decref(j);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice rest = slice_of((const char *)data, size), part[PARTS];
	struct arena *a = arena_new(32768);
	must(a);
	for (size_t i = 0; i < PARTS; i++) {
		part[i] = SLICE("");
		if (!slice_is_none(rest))
			slice_split(rest, '\x1e', &part[i], &rest);
	}
	struct slice name = if_text(part[5]), verdict = if_json(part[1], true, a);
	struct call_revision old = { 1, if_json(part[2], true, a), 1795352846000 };
	struct call_detail d = { .facts = part[0], .revisions = &old, .revision_count = 1, .rules = VERDICT_RULES_VERSION };
	d.view = (struct call_view){ .id = SLICE("cl_1"), .user_id = TENANT, .room_name = name, .room_sid = SLICE("RM_1"), .phone_number = name,
		.status = SLICE("ended"), .outcome = verdict.n ? SLICE("busy") : SLICE_NONE, .metadata = if_json(part[3], false, a), .duration_s = -1,
		.verdict = verdict, .revision = 2, .sort_key = 1795352846000 };
	struct event_view e = { .id = SLICE("1"), .position = 1, .event_id = SLICE("EV_1"), .event = SLICE("room_started"), .room_name = name,
		.payload = if_json(part[4], false, a), .raw_body = part[4], .error_message = name, .source = SLICE("livekit") };
	check_whole(&d, a);
	check_lists(&d.view, &e, a);
	arena_free(a);
	return 0;
}
