/* Replies of LiveKit's API: whatever comes, it is read whole or refused; what is read is clean and within its limits; an egress that ended becomes
 * an event that decodes to the same egress; jansson agrees that it was JSON. */
#include "must.h"

#include "view.h"
#include "wire/jdoc.h"
#include "wire/livekit_api.h"

static void check_text(struct slice s, size_t max)
{
	must(slice_is_none(s) || (s.n > 0 && s.n <= max && slice_is_utf8(s) && !memchr(s.p, 0, s.n)));
}

static void check_list(struct slice body, const char *name, size_t most, struct arena *a)
{
	struct jdoc j;
	must(jdoc_parse(body, a, &j) == 0 && (j.fault == JDOC_OK || j.fault == JDOC_NUL));
	if (j.fault != JDOC_OK)
		return;
	enum json_error_code why;
	json_t *view = view_of(body, &why);
	must(view || why == json_error_numeric_overflow);
	if (view)
		must(json_is_array(json_object_get(view, name)) && json_array_size(json_object_get(view, name)) >= most);
	json_decref(view);
}

static void check_egress(const struct livekit_egress *e, const struct decode_options *options, struct arena *a)
{
	struct decoded d;
	check_text(e->egress_id, EVENT_MAX_ID);
	check_text(e->room_sid, EVENT_MAX_ID);
	if (slice_is_none(e->event))
		return;
	must(decode_event(e->event, options, a, &d) == 0 && d.cause == DECODE_OK && d.event.type == EVENT_EGRESS_ENDED);
	must(slice_eq(d.event.egress.egress_id, e->egress_id) && slice_eq(d.event.room.sid, e->room_sid) && d.event.egress.status == e->status);
	must(d.event.id.n <= EVENT_MAX_ID && !slice_is_none(d.payload));
}

static void check_answer(struct slice body, struct arena *a)
{
	static const char *const types[] = { "application/json", "text/plain", "application/json; charset=x", "" };
	static const long statuses[] = { 200, 404, 401, 503 };
	for (size_t i = 0; i < 4; i++)
		for (size_t k = 0; k < 4; k++) {
			const struct livekit_reply r = { statuses[k], slice_cstr(types[i]), body };
			enum livekit_answer x = livekit_answer_of(&r, a);
			must((int)x >= 0 && (int)x < LIVEKIT_ANSWER_COUNT && (x != LIVEKIT_OK || statuses[k] == 200));
			struct slice text = livekit_error_text(&r, a);
			for (size_t c = 0; c < text.n; c++)
				must(text.p[c] >= ' ' && text.p[c] <= '~');
		}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct decode_options options = { .tenant_key_count = 0 };
	struct arena *a = arena_new(16384);
	must(a);
	struct slice body = slice_of((const char *)data, size), base;
	struct slice *rooms;
	bool complete;
	struct event_participant *people;
	struct livekit_egress *egresses;
	size_t n;
	if (livekit_read_rooms(body, a, &rooms, &n) == 0) {
		check_list(body, "rooms", n, a);
		for (size_t i = 0; i < n; i++) {
			must(rooms[i].n > 0);
			check_text(rooms[i], EVENT_MAX_ID);
		}
	}
	if (livekit_read_participants(body, &options, a, &people, &n, &complete) == 0) {
		check_list(body, "participants", n, a);
		for (size_t i = 0; i < n; i++) {
			must(people[i].sid.n > 0 && people[i].joined_at_ms >= 0);
			check_text(people[i].sid, EVENT_MAX_ID);
			check_text(people[i].sip_call_id, EVENT_MAX_ID);
		}
	}
	if (livekit_read_egresses(body, a, &egresses, &n) == 0) {
		check_list(body, "items", n, a);
		for (size_t i = 0; i < n; i++)
			check_egress(&egresses[i], &options, a);
	}
	check_answer(body, a);
	if (livekit_base_url(body, a, &base) == 0)
		must(slice_starts_with(base, SLICE("http")) && !memchr(base.p, '@', base.n) && base.p[base.n - 1] != '/');
	arena_free(a);
	return 0;
}
