/* Marks: what is taken says something about a call that it names, with clean texts within their limits, and is what the canonical JSON reads
 * back; what is refused has a message. The same bytes as canonical JSON: whatever is read is written and read again as the same. */
#include "must.h"

#include "view.h"
#include "wire/mark.h"

static void check_text(struct slice s, size_t max)
{
	must(slice_is_none(s) || (s.n > 0 && s.n <= max && slice_is_utf8(s) && !memchr(s.p, 0, s.n)));
}

static void check_event(const struct event *e)
{
	const struct event_mark *m = &e->mark;
	must(e->type == EVENT_MARK && slice_eq(e->type_name, SLICE("mark")));
	must(mark_kind_name(m->kind) && mark_source_name(m->source));
	check_text(e->room.sid, EVENT_MAX_ID);
	check_text(e->room.name, EVENT_MAX_NAME);
	check_text(m->sip_call_id, EVENT_MAX_ID);
	check_text(m->call_id, EVENT_MAX_ID);
	check_text(m->sip_text, EVENT_MAX_VALUE);
	check_text(m->value, EVENT_MAX_VALUE);
	check_text(m->tenant, EVENT_MAX_VALUE);
	must(m->sip_code == 0 || (m->sip_code >= 100 && m->sip_code <= 699));
	must(m->at_ms >= 0 && m->posted_ms >= 0 && m->within_ms >= 0 && e->created_at_s >= 0 && e->created_at_s <= EVENT_MAX_S);
}

static void check_same(const struct event *x, const struct event *y)
{
	const struct event_mark *m = &x->mark, *n = &y->mark;
	must(m->kind == n->kind && m->source == n->source && m->at_ms == n->at_ms && m->within_ms == n->within_ms && m->posted_ms == n->posted_ms);
	must(m->sip_code == n->sip_code && slice_eq(m->sip_text, n->sip_text) && slice_eq(m->value, n->value) && slice_eq(m->tenant, n->tenant));
	must(slice_eq(m->sip_call_id, n->sip_call_id) && slice_eq(m->call_id, n->call_id) && x->created_at_s == y->created_at_s);
	must(slice_eq(x->room.sid, y->room.sid) && slice_eq(x->room.name, y->room.name));
}

static void check_round(const struct event *e, struct arena *a)
{
	_cleanup_buf_ struct buf one = BUF_INIT, two = BUF_INIT;
	struct event again;
	enum json_error_code why;
	mark_encode(e, &one);
	must(!buf_failed(&one));
	json_t *view = view_of(buf_slice(&one), &why);
	must(json_is_object(view) && json_is_string(json_object_get(view, "kind")));
	json_decref(view);
	must(mark_decode(buf_slice(&one), a, &again) == 0);
	check_event(&again);
	check_same(e, &again);
	mark_encode(&again, &two);
	must(slice_eq(buf_slice(&one), buf_slice(&two)));
}

static void check_posted(struct slice body, struct arena *a)
{
	struct event e;
	struct slice message = SLICE_NONE;
	int r = mark_parse(body, a, &e, &message);
	must(r == 0 || r == OC_INVALID);
	if (r == OC_INVALID) {
		must(message.n > 0 && slice_is_utf8(message));
		return;
	}
	check_event(&e);
	int named = !slice_is_none(e.room.sid) + !slice_is_none(e.room.name) + !slice_is_none(e.mark.call_id);
	must(named == 1 || (named == 0 && !slice_is_none(e.mark.sip_call_id)));
	must(e.mark.source != MARK_SOURCE_WATCHER && slice_is_none(e.mark.tenant) && !e.mark.posted_ms && !e.mark.within_ms);
	must((e.mark.kind == MARK_SIP_RESULT) == (e.mark.sip_code || e.mark.sip_text.n));
	must(e.mark.kind != MARK_NOTE || e.mark.value.n);
	check_round(&e, a);
	e.mark.tenant = SLICE("t\xc3\xa9nant \"\\");
	e.mark.posted_ms = 1795354322325;
	e.created_at_s = 1795354322;
	e.mark.within_ms = 300;
	check_round(&e, a);
}

static void check_kept(struct slice json, struct arena *a)
{
	const struct decode_options options = { .tenant_keys = NULL };
	struct event e;
	struct decoded d;
	int r = mark_decode(json, a, &e);
	must(r == 0 || r == OC_INVALID);
	if (r == 0) {
		check_event(&e);
		check_round(&e, a);
	}
	must(decode_kept(json, SLICE("mark"), SLICE("MK_x"), &options, a, &d) == 0);
	must(slice_eq(d.event.id, SLICE("MK_x")) && d.event.type_name.n > 0);
	must(r < 0 || (d.cause == DECODE_OK && d.event.type == EVENT_MARK));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena *a = arena_new(16384);
	must(a);
	struct slice text = slice_of((const char *)data, size);
	check_posted(text, a);
	check_kept(text, a);
	arena_free(a);
	return 0;
}
