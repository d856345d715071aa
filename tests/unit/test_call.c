/* A call whole as it is answered: members, tags, what another tenant's marks must not show, errors. Read back with jansson,
 * which refuses members that are there twice. */
#include "core_fixture.h"

#include <jansson.h>
#include <string.h>

#include "http/internal.h"

static const char verdict[] = "{\"outcome\":\"busy\",\"reason\":\"busy\",\"confidence\":\"likely\",\"alternatives\":[],\"fault\":\"callee\",\"evidence\":[],"
			      "\"rule\":\"r\",\"rules\":1,\"explanation\":\"It was busy.\",\"answeredAt\":null,\"answeredAtEarliest\":null,"
			      "\"answeredAtLatest\":null,\"answeredSource\":null,\"ringSeconds\":3,\"talkSeconds\":null}";

static struct call_detail detail_with(struct history *h)
{
	_cleanup_buf_ struct buf b = BUF_INIT;
	struct call_detail d = { .view = { .id = SLICE("row-1"), .user_id = SLICE("acme"), .room_sid = SLICE("RM_1"), .status = SLICE("ended"),
		.outcome = SLICE("busy"), .duration_s = -1, .verdict = slice_cstr(verdict), .revision = 2 }, .rules = 1 };
	facts_encode(facts_of(h), &b);
	assert_true(arena_copy(h->a, buf_slice(&b), &d.facts));
	return d;
}

/* A call with a mark of the tenant's, one of nobody's and one of another tenant. */
static struct call_detail marked(struct history *h)
{
	dial_and_end(h, REASON_USER_REJECTED, STATUS_RINGING, false, 5000);
	marks(h, MARK_SIP_RESULT, MARK_SOURCE_DIALER, 486, 5010)->mark.tenant = SLICE("acme");
	marks(h, MARK_NOTE, MARK_SOURCE_APP, 0, 6000)->mark.value = SLICE("everybody's");
	struct event *e = marks(h, MARK_SIP_RESULT, MARK_SOURCE_DIALER, 603, 5020);
	e->mark.tenant = SLICE("globex");
	e->mark.sip_text = SLICE("a secret of globex");
	return detail_with(h);
}

static struct reply reply_to(struct history *h, const struct call_detail *d, const char *tenant, const char *if_none_match)
{
	struct reply r = { 0 };
	assert_int_equal(call_reply(OC_OK, d, slice_cstr(tenant), slice_cstr(if_none_match), h->a, &r), OC_OK);
	return r;
}

static json_t *read_back(struct reply *r)
{
	json_t *o = json_loadb(r->body.p, r->body.n, JSON_REJECT_DUPLICATES, NULL);
	assert_non_null(o);
	buf_done(&r->body);
	return o;
}

static void a_call_has_its_outcome_and_its_parts_in_one_object(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	struct call_detail d = marked(h);
	struct reply r = reply_to(h, &d, "acme", NULL);
	assert_int_equal(r.status, 200);
	assert_true(r.flags & REPLY_NO_STORE);
	json_t *o = read_back(&r);
	assert_string_equal(json_string_value(json_object_get(o, "outcome")), "busy");
	assert_int_equal(json_array_size(json_object_get(o, "legs")), 2);
	assert_int_equal(json_array_size(json_object_get(o, "revisions")), 0);
	json_decref(o);
}

static void another_tenants_mark_is_not_among_the_witnesses(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	struct call_detail d = marked(h);
	struct reply r = reply_to(h, &d, "acme", NULL);
	assert_null(memmem(r.body.p, r.body.n, "secret", 6));
	json_t *o = read_back(&r), *witnesses = json_object_get(o, "witnesses");
	assert_int_equal(json_array_size(witnesses), 2);
	assert_int_equal(json_integer_value(json_object_get(json_array_get(witnesses, 0), "sipCode")), 486);
	assert_true(json_is_false(json_object_get(json_array_get(witnesses, 0), "contradicted")));
	json_decref(o);
}

static void replaced_verdicts_are_shown_whole(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	struct call_detail d = marked(h);
	struct call_revision one = { .revision = 1, .verdict = slice_cstr(verdict), .replaced_at_ms = 1795353139123 };
	d.revisions = &one;
	d.revision_count = 1;
	struct reply r = reply_to(h, &d, "acme", NULL);
	json_t *o = read_back(&r), *old = json_array_get(json_object_get(o, "revisions"), 0);
	assert_int_equal(json_integer_value(json_object_get(old, "revision")), 1);
	assert_string_equal(json_string_value(json_object_get(old, "replacedAt")), "2026-11-22T13:12:19.123Z");
	assert_string_equal(json_string_value(json_object_get(old, "outcome")), "busy");
	assert_string_equal(json_string_value(json_object_get(old, "explanation")), "It was busy.");
	json_decref(o);
}

static void a_replaced_verdict_that_rests_on_another_tenants_mark_is_not_shown(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	static const char *const ids[] = { "EV_1", "MK_own", "MK_globex", "MK_forgotten" };
	struct call_revision rows[4];
	dial_and_end(h, REASON_USER_REJECTED, STATUS_RINGING, false, 5000);
	for (int i = 0; i < 2; i++) {
		struct event *e = marks(h, MARK_SIP_RESULT, MARK_SOURCE_DIALER, 486, 5010);
		e->id = slice_cstr(ids[i + 1]);
		e->mark.tenant = slice_cstr(i ? "globex" : "acme");
	}
	struct call_detail d = detail_with(h);
	for (int i = 0; i < 4; i++) {
		_cleanup_buf_ struct buf b = BUF_INIT;
		rows[i] = (struct call_revision){ .revision = i + 1 };
		buf_putf(&b, "{\"evidence\":[{\"eventId\":\"EV_0\",\"says\":\"\"},{\"eventId\":\"%s\",\"says\":\"SIP 486\"}]}", ids[i]);
		assert_true(arena_copy(h->a, buf_slice(&b), &rows[i].verdict));
	}
	d.revisions = rows;
	d.revision_count = 4;
	struct reply r = reply_to(h, &d, "acme", NULL);
	json_t *o = read_back(&r), *shown = json_object_get(o, "revisions");
	assert_int_equal(json_array_size(shown), 2);
	assert_int_equal(json_integer_value(json_object_get(json_array_get(shown, 1), "revision")), 2);
	json_decref(o);
	d.facts = SLICE_NONE;
	r = reply_to(h, &d, "acme", NULL);
	o = read_back(&r);
	assert_int_equal(json_array_size(json_object_get(o, "revisions")), 1);
	json_decref(o);
}

static void a_tag_that_is_known_gets_a_304(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	struct call_detail d = marked(h);
	struct reply first = reply_to(h, &d, "acme", NULL), again = reply_to(h, &d, "acme", first.etag);
	assert_int_equal(again.status, 304);
	assert_string_equal(again.etag, first.etag);
	d.view.revision++;
	struct reply changed = reply_to(h, &d, "acme", first.etag);
	assert_int_equal(changed.status, 200);
	assert_string_not_equal(changed.etag, first.etag);
	buf_done(&first.body);
	buf_done(&again.body);
	buf_done(&changed.body);
}

static void unreadable_facts_leave_the_outcome_readable(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	struct call_detail d = marked(h);
	static const struct slice unreadable[] = { { "?", 1 }, { NULL, 0 } };
	for (size_t i = 0; i < 2; i++) {
		d.facts = unreadable[i];
		struct reply r = reply_to(h, &d, "acme", NULL);
		json_t *o = read_back(&r);
		assert_string_equal(json_string_value(json_object_get(o, "outcome")), "busy");
		assert_true(json_is_null(json_object_get(o, "legs")));
		json_decref(o);
	}
}

static void a_missing_call_and_a_failure_are_answered_as_for_outcomes(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	struct call_detail d = marked(h);
	struct reply call = { 0 }, events = { 0 }, outcome = { 0 };
	struct events_query q = { .limit = 1 };
	assert_int_equal(call_reply(OC_NOT_FOUND, &d, SLICE("acme"), SLICE("*"), h->a, &call), OC_OK);
	assert_int_equal(events_reply(OC_NOT_FOUND, &q, NULL, 0, false, h->a, &events), OC_OK);
	outcome_not_found(&outcome);
	assert_int_equal(call.status, 404);
	assert_true(slice_eq(buf_slice(&call.body), buf_slice(&outcome.body)) && slice_eq(buf_slice(&events.body), buf_slice(&outcome.body)));
	assert_int_equal(call.etag[0], '\0');
	assert_int_equal(call_reply(OC_DOWN, &d, SLICE("acme"), SLICE_NONE, h->a, &call), OC_DOWN);
	assert_int_equal(events_reply(OC_TIMEOUT, &q, NULL, 0, false, h->a, &events), OC_TIMEOUT);
	buf_done(&call.body);
	buf_done(&events.body);
	buf_done(&outcome.body);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_call_has_its_outcome_and_its_parts_in_one_object),
		cmocka_unit_test(another_tenants_mark_is_not_among_the_witnesses),
		cmocka_unit_test(replaced_verdicts_are_shown_whole),
		cmocka_unit_test(a_replaced_verdict_that_rests_on_another_tenants_mark_is_not_shown),
		cmocka_unit_test(a_tag_that_is_known_gets_a_304),
		cmocka_unit_test(unreadable_facts_leave_the_outcome_readable),
		cmocka_unit_test(a_missing_call_and_a_failure_are_answered_as_for_outcomes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
