/* core/ without memory: whichever allocation fails, the caller is told so and nothing leaks; folding again then mends the facts. */
#include "core_fixture.h"

#include "core/losses.h"
#include "core/tenant.h"
#include "core/watch.h"

static long until_failure = -1; /* allocations that succeed before one fails; negative: all succeed */
static bool has_failed;

void *__real_malloc(size_t n);
void *__real_calloc(size_t count, size_t each);
void *__real_realloc(void *p, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t count, size_t each);
void *__wrap_realloc(void *p, size_t n);

static bool fails_now(void)
{
	if (until_failure < 0 || until_failure-- > 0)
		return false;
	has_failed = true;
	return true;
}

void *__wrap_malloc(size_t n) { return fails_now() ? NULL : __real_malloc(n); }
void *__wrap_calloc(size_t count, size_t each) { return fails_now() ? NULL : __real_calloc(count, each); }
void *__wrap_realloc(void *p, size_t n) { return fails_now() ? NULL : __real_realloc(p, n); }

/* Everything that can be in facts. */
static void full_call(struct history *h)
{
	dial_and_end(h, REASON_CLIENT_INITIATED, STATUS_HANGUP, true, 5000);
	joins(h, &USER, STATUS_NONE, 30);
	history_add(h, EVENT_EGRESS_ENDED, 9000)->egress = (struct event_egress){ .egress_id = SLICE("EG_1"), .status = EGRESS_COMPLETE,
		.location = SLICE("s3://bucket/a.ogg"), .error = SLICE("none") };
	marks(h, MARK_SIP_RESULT, MARK_SOURCE_DIALER, 486, 900)->mark.sip_text = SLICE("Busy Here");
	h->events[0].room.tenant = SLICE("acme");
	h->events[0].key_id = SLICE("APIkey");
	h->events[1].participant.tenant = SLICE("acme");
}

static struct slice encoded(const struct facts *f, struct arena *a)
{
	_cleanup_buf_ struct buf b = BUF_INIT;
	struct slice s;
	facts_encode(f, &b);
	assert_false(buf_failed(&b));
	assert_true(arena_copy(a, buf_slice(&b), &s));
	return s;
}

static void folding_without_memory_says_so_and_folding_again_mends(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	full_call(h);
	struct slice want = encoded(facts_of(h), h->a);
	bool failed = true;
	for (long n = 0; failed; n++) {
		assert_true(n < 2000);
		_cleanup_arena_ struct arena *a = arena_new(16); /* so small that nearly everything needs a block of its own */
		struct facts *f = NULL;
		int rc = 0;
		has_failed = false;
		until_failure = n;
		rc = facts_new(a, SLICE("RM_1"), &f);
		for (size_t i = 0; rc == 0 && i < h->n; i++)
			rc = facts_fold(f, &h->events[i]);
		until_failure = -1;
		failed = has_failed;
		assert_int_equal(rc, failed ? OC_NOMEM : 0);
		if (!f)
			continue;
		for (size_t i = 0; i < h->n; i++)
			assert_int_equal(facts_fold(f, &h->events[i]), 0);
		assert_true(slice_eq(encoded(f, h->a), want));
	}
}

/* One piece of work with every single allocation failing once. */
static void fail_each(struct history *h, int (*work)(const struct facts *f, struct slice bytes, struct arena *a))
{
	struct facts *f = facts_of(h);
	struct slice bytes = encoded(f, h->a);
	bool failed = true;
	for (long n = 0; failed; n++) {
		assert_true(n < 2000);
		_cleanup_arena_ struct arena *a = arena_new(16);
		has_failed = false;
		until_failure = n;
		int rc = work(f, bytes, a);
		until_failure = -1;
		failed = has_failed;
		assert_int_equal(rc, failed ? OC_NOMEM : 0);
	}
}

static int decode_one(const struct facts *f, struct slice bytes, struct arena *a)
{
	struct facts *got;
	(void)f;
	return facts_decode(a, bytes, &got);
}

static int merge_one(const struct facts *f, struct slice bytes, struct arena *a)
{
	struct facts *into;
	(void)bytes;
	int rc = facts_new(a, SLICE("RM_1"), &into);
	return rc ? rc : facts_merge(into, f);
}

static int classify_one(const struct facts *f, struct slice bytes, struct arena *a)
{
	struct verdict v;
	(void)bytes;
	return verdict_classify(f, VERDICT_RULES_VERSION, FAR_FUTURE, a, &v);
}

static int view_one(const struct facts *f, struct slice bytes, struct arena *a)
{
	struct facts view;
	(void)bytes;
	return facts_for_tenant(f, SLICE("other"), a, &view);
}

static int lose_one(const struct facts *f, struct slice bytes, struct arena *a)
{
	struct losses l;
	(void)bytes;
	return losses_find(f, true, a, &l);
}

static int want_one(const struct facts *f, struct slice bytes, struct arena *a)
{
	struct watch w;
	struct verdict v = { .outcome = OUTCOME_NONE };
	(void)bytes;
	return watch_wants(f, &v, a, &w);
}

static int learn_one(const struct facts *f, struct slice bytes, struct arena *a)
{
	static struct watch_memory memory;
	struct event_participant answered = { .kind = KIND_SIP, .sip_call_id = slice_cstr(CALLEE.call), .sip_call_tag = true };
	struct watch_reply reply = { .asked_ms = T0 + 3000, .got_ms = T0 + 3002, .participants = &answered, .participant_count = 1 };
	struct event *events;
	size_t n;
	(void)bytes;
	memset(&memory, 0, sizeof memory);
	return watch_learn(f, &reply, &memory, a, &events, &n);
}

static void watching_and_missing_without_memory_say_so(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	dial(h);
	publishes(h, &USER, "TR_stranger", 300);
	marks(h, MARK_NOTE, MARK_SOURCE_APP, 0, 300)->mark.tenant = SLICE("acme");
	(void)marks(h, MARK_NOTE, MARK_SOURCE_APP, 0, 300);
	fail_each(h, view_one);
	fail_each(h, lose_one);
	fail_each(h, want_one);
	fail_each(h, learn_one);
}

static void decoding_merging_and_judging_without_memory_say_so(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	full_call(h);
	joins(h, &CALLER, STATUS_RINGING, 40);
	h->events[h->n - 1].participant.identity = SLICE("caller %");
	fail_each(h, decode_one);
	fail_each(h, merge_one);
	fail_each(h, classify_one);
	h->n = 0;
	room_started(h);
	joins(h, &USER, STATUS_NONE, 40);
	joins(h, &AGENT, STATUS_NONE, 50);
	fail_each(h, classify_one);
}

static void encoding_without_memory_marks_the_buffer(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	full_call(h);
	struct facts *f = facts_of(h);
	_cleanup_buf_ struct buf b = BUF_INIT;
	until_failure = 0;
	facts_encode(f, &b);
	until_failure = -1;
	assert_true(buf_failed(&b));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(folding_without_memory_says_so_and_folding_again_mends),
		cmocka_unit_test(decoding_merging_and_judging_without_memory_say_so),
		cmocka_unit_test(watching_and_missing_without_memory_say_so),
		cmocka_unit_test(encoding_without_memory_marks_the_buffer),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
