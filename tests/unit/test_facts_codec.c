/* core/facts_codec.c: one form for the same facts, and nothing else is read. */
#include "core_fixture.h"

static struct slice encode(struct history *h, const struct facts *f)
{
	_cleanup_buf_ struct buf b = BUF_INIT;
	struct slice s;
	facts_encode(f, &b);
	assert_false(buf_failed(&b));
	assert_true(arena_copy(h->a, buf_slice(&b), &s));
	return s;
}

static void assert_round(struct history *h, const struct facts *f)
{
	struct slice once = encode(h, f);
	struct facts *again;
	assert_int_equal(facts_decode(h->a, once, &again), 0);
	assert_true(slice_eq(encode(h, again), once));
}

static void full_history(struct history *h)
{
	dial_and_end(h, REASON_CLIENT_INITIATED, STATUS_HANGUP, true, 5000);
	joins(h, &USER, STATUS_NONE, 30);
	publishes(h, &USER, "TR_user", 400);
	history_add(h, EVENT_EGRESS_ENDED, 9000)->egress =
		(struct event_egress){ .egress_id = SLICE("EG_1"), .status = EGRESS_COMPLETE, .location = SLICE("s3://b/a.ogg") };
	struct event *m = marks(h, MARK_SIP_RESULT, MARK_SOURCE_DIALER, 486, 900);
	m->mark.sip_text = SLICE("Busy Here");
	m->mark.tenant = SLICE("acme");
	m->mark.posted_ms = T0 + 950;
	h->events[0].room.tenant = SLICE("acme");
	h->events[0].key_id = SLICE("APIkey");
	h->events[1].participant.tenant = SLICE("acme");
}

static void what_is_encoded_decodes_to_the_same(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	full_history(h);
	assert_round(h, facts_of(h));
}

static void decoded_facts_take_more_events_like_the_first_ones(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	full_history(h);
	struct facts *f;
	assert_int_equal(facts_new(h->a, SLICE("RM_1"), &f), 0);
	for (size_t i = 0; i < h->n; i++) {
		struct facts *next;
		assert_int_equal(facts_fold(f, &h->events[i]), 0);
		assert_int_equal(facts_decode(h->a, encode(h, f), &next), 0);
		f = next;
	}
	assert_true(slice_eq(encode(h, f), encode(h, facts_of(h))));
}

static void empty_facts_are_one_line(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	struct slice s = encode(h, facts_of(h));
	assert_true(slice_eq_cstr(s, "c\tRM_1\t\t0\t0\t0\t\t0\t\t0\t0\t0\t0\n"));
	assert_round(h, facts_of(h));
}

static void odd_bytes_in_names_are_escaped_and_come_back(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	static const char *const NAMES[] = { "tab\tnewline\n", "100%", "\xc3\xa9t\xc3\xa9", "broken \xc3 \xff", "del\x7f", " " };
	static const char *const ENCODED[] = { "tab%09newline%0A", "100%25", "\xc3\xa9t\xc3\xa9", "broken %C3 %FF", "del%7F", " " };
	for (size_t i = 0; i < sizeof NAMES / sizeof NAMES[0]; i++) {
		h->n = 0;
		joins(h, &USER, STATUS_NONE, 30);
		h->events[0].participant.identity = slice_cstr(NAMES[i]);
		struct facts *f = facts_of(h), *again;
		struct slice s = encode(h, f);
		assert_non_null(memmem(s.p, s.n, ENCODED[i], strlen(ENCODED[i])));
		assert_int_equal(facts_decode(h->a, s, &again), 0);
		assert_true(slice_eq_cstr(again->sessions[0].identity, NAMES[i]));
		assert_round(h, f);
	}
}

static void lines_that_are_not_canonical_are_refused(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	static const char *const BAD[] = {
		"",                                                     /* nothing */
		"x\n",                                                  /* not a call first */
		"c\tRM_1\t\t0\t0\t0\t\t0\t\t0\t0\t0\t0",                /* no newline at the end */
		"c\tRM_1\t\t0\t0\t0\t\t0\t\t0\t0\t0\n",                 /* a field too few */
		"c\tRM_1\t\t0\t0\t0\t\t0\t\t0\t0\t0\t0\t0\n",           /* a field too many */
		"c\tRM_1\t\t007\t0\t0\t\t0\t\t0\t0\t0\t0\n",            /* leading zeros */
		"c\tRM_1\t\t-0\t0\t0\t\t0\t\t0\t0\t0\t0\n",             /* minus nothing */
		"c\tRM_1\t\t+7\t0\t0\t\t0\t\t0\t0\t0\t0\n",             /* a plus */
		"c\tRM_1\t\t\t0\t0\t\t0\t\t0\t0\t0\t0\n",               /* an empty number */
		"c\tRM_1\t\t99999999999999999999\t0\t0\t\t0\t\t0\t0\t0\t0\n", /* too great a number */
		"c\tRM_1\t\t0\t0\t0\t\t0\t\t9\t0\t0\t0\n",              /* a reason that is not in the table */
		"c\tRM_1\t\t0\t0\t0\t\t0\t\t0\t0\t0\t2\n",              /* neither true nor false */
		"c\tRM%5f1\t\t0\t0\t0\t\t0\t\t0\t0\t0\t0\n",            /* an escape nobody needs */
		"c\tRM%0\t\t0\t0\t0\t\t0\t\t0\t0\t0\t0\n",              /* half an escape */
		"c\tRM%0a\t\t0\t0\t0\t\t0\t\t0\t0\t0\t0\n",             /* a small letter in an escape */
		"c\tRM\x01\t\t0\t0\t0\t\t0\t\t0\t0\t0\t0\n",            /* a bare control byte */
		"c\tRM\xff\t\t0\t0\t0\t\t0\t\t0\t0\t0\t0\n",            /* bare bytes that are not UTF-8 */
	};
	struct facts *f = NULL;
	assert_int_equal(facts_decode(h->a, SLICE("c\tRM_1\t\t0\t0\t0\t\t0\t\t0\t0\t0\t0\n"), &f), 0);
	f = NULL;
	for (size_t i = 0; i < sizeof BAD / sizeof BAD[0]; i++)
		if (facts_decode(h->a, slice_cstr(BAD[i]), &f) != OC_INVALID)
			fail_msg("taken: %s", BAD[i]);
	assert_null(f);
}

static void records_out_of_order_twice_or_without_their_session_are_refused(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
#define CALL "c\tRM_1\t\t0\t0\t0\t\t0\t\t0\t0\t0\t0\n"
#define SESSION(sid) "s\t" sid "\t\t0\t0\t0\t0\t\t0\t\t0\t\t0\t\t0\t0\t0\t\t\t\t\t\n"
#define TRACK(session, sid) "u\t" session "\t" sid "\t0\t0\t\t0\t\n"
	static const char *const GOOD = CALL "k\ta\n" SESSION("A") SESSION("B") "t\t2\tx\t\nt\t3\ta\t\n" TRACK("A", "1") TRACK("A", "2") TRACK("B", "1");
	static const char *const BAD[] = {
		CALL SESSION("B") SESSION("A"), CALL SESSION("A") SESSION("A"), CALL SESSION(""), CALL SESSION("A") "k\ta\n", CALL CALL,
		CALL TRACK("A", "1"), CALL SESSION("A") TRACK("B", "1"), CALL SESSION("A") TRACK("A", "2") TRACK("A", "1"),
		CALL SESSION("A") SESSION("B") TRACK("B", "1") TRACK("A", "1"), CALL "t\t3\ta\t\nt\t2\tx\t\n", CALL "t\t3\ta\t\nt\t3\ta\t\n",
		CALL "t\t9\ta\t\n", CALL "t\t3\t\t\n", CALL "z\ta\n", CALL "\n",
	};
	struct facts *f;
	assert_int_equal(facts_decode(h->a, slice_cstr(GOOD), &f), 0);
	assert_true(slice_eq_cstr(encode(h, f), GOOD));
	for (size_t i = 0; i < sizeof BAD / sizeof BAD[0]; i++)
		if (facts_decode(h->a, slice_cstr(BAD[i]), &f) != OC_INVALID)
			fail_msg("taken: %s", BAD[i]);
}

static void more_records_than_the_limits_allow_are_refused(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	_cleanup_buf_ struct buf b = BUF_INIT;
	buf_puts(&b, CALL);
	for (int i = 0; i < FACTS_MAX_KEY_IDS; i++)
		buf_putf(&b, "k\t%d\n", i);
	struct facts *f;
	assert_int_equal(facts_decode(h->a, buf_slice(&b), &f), 0);
	buf_puts(&b, "k\t9\n");
	assert_int_equal(facts_decode(h->a, buf_slice(&b), &f), OC_INVALID);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_encoded_decodes_to_the_same),
		cmocka_unit_test(decoded_facts_take_more_events_like_the_first_ones),
		cmocka_unit_test(empty_facts_are_one_line),
		cmocka_unit_test(odd_bytes_in_names_are_escaped_and_come_back),
		cmocka_unit_test(lines_that_are_not_canonical_are_refused),
		cmocka_unit_test(records_out_of_order_twice_or_without_their_session_are_refused),
		cmocka_unit_test(more_records_than_the_limits_allow_are_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
