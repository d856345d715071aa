/* Bodies: whatever comes, the event is named and its texts are clean and within their limits; jansson agrees about what is JSON and about the
 * plainest fields; and the payload decodes to the same event again. */
#include "must.h"

#include "view.h"
#include "wire/decode.h"
#include "wire/jdoc.h"

static const struct slice tenant_keys[] = { { "user_id", 7 }, { "userId", 6 }, { "tenant", 6 } };

static void check_text(struct slice s, size_t max)
{
	must(slice_is_none(s) || (s.n > 0 && s.n <= max && slice_is_utf8(s) && !memchr(s.p, 0, s.n)));
}

static void check_texts(const struct event *e)
{
	const struct event_participant *p = &e->participant;
	const struct slice ids[] = { e->id, e->type_name, e->room.sid, p->sid, p->sip_call_id, p->sip_rule_id, p->sip_trunk_id, e->track.sid, e->egress.egress_id };
	const struct slice names[] = { e->room.name, p->identity };
	const struct slice values[] = { e->room.tenant, p->tenant, p->sip_phone_number, p->sip_trunk_phone_number, e->egress.location, e->egress.error };
	for (size_t i = 0; i < sizeof ids / sizeof ids[0]; i++)
		check_text(ids[i], EVENT_MAX_ID);
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		check_text(names[i], EVENT_MAX_NAME);
	for (size_t i = 0; i < sizeof values / sizeof values[0]; i++)
		check_text(values[i], EVENT_MAX_VALUE);
	must(e->id.n > 0 && e->type_name.n > 0);
	must(e->created_at_s >= 0 && p->joined_at_ms >= 0 && e->room.creation_time_ms >= 0 && e->track.published_us >= 0);
	must(e->egress.started_at_ns >= 0 && e->egress.ended_at_ns >= 0);
}

static void check_same(const struct event *x, const struct event *y)
{
	must(x->type == y->type && x->created_at_s == y->created_at_s && x->room_end_reason == y->room_end_reason);
	must(slice_eq(x->type_name, y->type_name) && slice_eq(x->room.sid, y->room.sid) && slice_eq(x->room.name, y->room.name));
	must(slice_eq(x->room.tenant, y->room.tenant) && x->room.creation_time_ms == y->room.creation_time_ms);
	must(x->room.empty_timeout_s == y->room.empty_timeout_s && x->room.departure_timeout_s == y->room.departure_timeout_s);
	const struct event_participant *p = &x->participant, *q = &y->participant;
	must(slice_eq(p->sid, q->sid) && slice_eq(p->identity, q->identity) && p->kind == q->kind && p->joined_at_ms == q->joined_at_ms);
	must(p->disconnect_reason == q->disconnect_reason && p->sip_status == q->sip_status && p->sip_call_tag == q->sip_call_tag);
	must(slice_eq(p->sip_call_id, q->sip_call_id) && slice_eq(p->sip_phone_number, q->sip_phone_number) && slice_eq(p->tenant, q->tenant));
	must(slice_eq(x->track.sid, y->track.sid) && x->track.audio == y->track.audio && x->track.published_us == y->track.published_us);
	must(slice_eq(x->egress.egress_id, y->egress.egress_id) && x->egress.status == y->egress.status && slice_eq(x->egress.location, y->egress.location));
}

/* Does jansson think the same of the text? Its limits are its own: depth, doubles, and no NUL in a key. */
static void check_fault(struct slice body, struct arena *a)
{
	struct jdoc j;
	enum json_error_code why;
	must(jdoc_parse(body, a, &j) == 0);
	json_t *view = view_of(body, &why);
	switch (j.fault) {
	case JDOC_OK:
		must(view || why == json_error_numeric_overflow);
		must(j.count > 0 && j.nodes[0].next == j.count);
		break;
	case JDOC_SYNTAX:
	case JDOC_SURROGATE:
	case JDOC_BAD_UTF8:
	case JDOC_DUPLICATE_KEY:
		must(!view);
		break;
	case JDOC_NUL:
	case JDOC_TOO_DEEP:
	case JDOC_TOO_MANY:
	case JDOC_NUMBER_RANGE:
		break;
	}
	json_decref(view);
}

static void check_against_view(const struct decoded *d, struct slice body)
{
	enum json_error_code why;
	json_t *view = view_of(body, &why), *id = json_object_get(view, "id"), *type = json_object_get(view, "event"), *created = json_object_get(view, "createdAt");
	json_t *room = json_object_get(view, "room"), *sid = json_object_get(room, "sid");
	if (view) {
		must(json_is_object(view) && json_is_string(id) && json_is_string(type));
		must(slice_eq(d->event.id, slice_of(json_string_value(id), json_string_length(id))));
		must(slice_eq(d->event.type_name, slice_of(json_string_value(type), json_string_length(type))));
		if (json_is_number(created))
			must((double)d->event.created_at_s == json_number_value(created));
		if (json_string_length(sid))
			must(slice_eq(d->event.room.sid, slice_of(json_string_value(sid), json_string_length(sid))));
	}
	json_decref(view);
}

static void check(struct slice body, bool iso_times, struct arena *a)
{
	const struct decode_options options = { tenant_keys, 3, iso_times };
	struct decoded d, again;
	must(decode_event(body, &options, a, &d) == 0);
	check_texts(&d.event);
	must(decode_cause_name(d.cause) && decode_cause_text(d.cause));
	if (d.cause == DECODE_OK) {
		must(!slice_is_none(d.payload));
		check_against_view(&d, body);
	}
	if (slice_is_none(d.payload))
		return;
	must(decode_event(d.payload, &options, a, &again) == 0);
	must(again.cause == d.cause && slice_eq(again.cause_field, d.cause_field));
	must(slice_starts_with(d.event.id, SLICE("sha256:")) || slice_eq(d.event.id, again.event.id));
	must(slice_eq(again.payload, d.payload));
	check_same(&d.event, &again.event);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena *a = arena_new(16384);
	must(a);
	struct slice body = slice_of((const char *)data, size);
	check_fault(body, a);
	check(body, false, a);
	check(body, true, a);
	arena_free(a);
	return 0;
}
