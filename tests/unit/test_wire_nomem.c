/* wire/ without memory: whichever allocation fails, the caller is told so, nothing is believed and nothing leaks. Each case runs with the first
 * allocation failing, then the second, until one run needs no more. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "wire/decode.h"
#include "wire/jwt.h"
#include "wire/livekit_api.h"
#include "wire/mark.h"
#include "wire/redact.h"
#include "wire/routes.h"
#include "wire/signature.h"

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

/* Runs `work` with every single allocation failing once: it must give OC_NOMEM then, and 0 when none has failed. */
static void fail_each(int (*work)(struct arena *a))
{
	bool failed = true;
	for (long n = 0; failed; n++) {
		assert_true(n < 1000);
		struct arena *a = arena_new(16); /* so small that everything needs a block of its own */
		assert_non_null(a);
		has_failed = false;
		until_failure = n;
		int rc = work(a);
		until_failure = -1;
		failed = has_failed;
		assert_int_equal(rc, failed ? OC_NOMEM : 0);
		arena_free(a);
	}
}

static const struct slice tenant_keys[] = { { "user_id", 7 } };
static const struct decode_options options = { tenant_keys, 1, false };

static int decode_one(struct arena *a)
{
	struct decoded d = { .cause = DECODE_TOO_MANY };
	int rc = decode_event(SLICE("{\"event\":\"participant\\u005fleft\",\"id\":\"EV\",\"room\":{\"sid\":\"R\\u004d\",\"turnPassword\":\"x\",\"metadata\":\"{\\\"user_id\\\":\\\"u\\\"}\"},"
		"\"participant\":{\"kind\":\"S\\u0049P\",\"joinedAt\":\"\\u0035\",\"attributes\":{\"user_id\":\"\\u0075\",\"sip.call\\u0049D\":\"SCL\"}}}"), &options, a, &d);
	assert_int_equal(d.cause, rc ? DECODE_TOO_MANY : DECODE_OK);
	return rc;
}

static int decode_without_id(struct arena *a)
{
	struct decoded d;
	return decode_event(SLICE("nonsense"), &options, a, &d);
}

static int redact_one(struct arena *a)
{
	struct slice out;
	return redact_secrets(SLICE("{\"a\":{\"turnPassword\":1,\"b\":2},\"turn\\u0050assword\":3}"), a, &out);
}

static int read_routes(struct arena *a)
{
	struct routes r;
	struct slice message;
	return routes_parse(SLICE("{\"apiKey\":{\"AP\\u0049x\":\"t\\u00e9\"}}"), a, &r, &message);
}

static int complain_about_routes(struct arena *a)
{
	struct routes r;
	struct slice message;
	int rc = routes_parse(SLICE("{\"apiKey\":{\"A\":5}}"), a, &r, &message);
	return rc == OC_INVALID ? 0 : rc;
}

#define NOW 1795352846
static const struct signing_key key = { { "devkey", 6 }, { "secret", 6 } };

static int sign_one(struct arena *a)
{
	struct slice token;
	return signature_sign(&key, SLICE("{}"), NOW, a, &token);
}

static char genuine[512];

static int verify_one(struct arena *a)
{
	const struct keyring ring = { &key, 1, false };
	struct signature_result r = signature_verify(&ring, slice_cstr(genuine), SLICE_NONE, SLICE("{}"), NOW, a);
	assert_int_equal(r.error == 0, r.check == SIGNATURE_OK);
	assert_true(!r.error || slice_is_none(r.key_id));
	return r.error;
}

static int parse_keys(struct arena *a)
{
	struct signing_key *keys;
	size_t n;
	return keyring_parse(SLICE("a: b, c: d"), a, &keys, &n);
}

static int read_mark(struct arena *a)
{
	struct event e = { .created_at_s = 42 };
	struct slice message = SLICE_NONE;
	int rc = mark_parse(SLICE("{\"room\\u0053id\":\"R\\u004d_1\",\"kind\":\"note\",\"value\":\"\\u00e9\"}"), a, &e, &message);
	assert_int_equal(e.created_at_s == 42, rc != 0);
	return rc;
}

static int refuse_mark(struct arena *a)
{
	struct event e;
	struct slice message = SLICE_NONE;
	int rc = mark_parse(SLICE("{\"room\\u0053id\":\"R\\u004d_1\",\"sipcode\":486}"), a, &e, &message);
	assert_int_equal(slice_is_none(message), rc != OC_INVALID);
	return rc == OC_INVALID ? 0 : rc;
}

static int name_mark(struct arena *a)
{
	struct slice id = SLICE_NONE;
	int rc = mark_id(SLICE("alice"), SLICE("key"), SLICE("content"), a, &id);
	assert_int_equal(slice_is_none(id), rc != 0);
	return rc;
}

static int read_kept(struct arena *a)
{
	struct decoded d = { .cause = DECODE_TOO_MANY };
	int rc = decode_kept(SLICE("{\"event\":\"m\\u0061rk\",\"kind\":\"ended\",\"source\":\"app\",\"value\":\"\\u00e9\"}"), SLICE("mark"), SLICE("MK_1"), &options, a, &d);
	assert_int_equal(d.cause, rc ? DECODE_TOO_MANY : DECODE_OK);
	return rc;
}

static int ask_livekit(struct arena *a)
{
	struct livekit_request q = { .path = SLICE_NONE };
	struct slice base;
	int rc = livekit_base_url(SLICE("wss://livekit.example.com"), a, &base);
	if (rc == 0)
		rc = livekit_request_make(LIVEKIT_LIST_PARTICIPANTS, SLICE("room"), &key, 1795352846, a, &q);
	assert_int_equal(slice_is_none(q.path), rc != 0);
	return rc;
}

static int read_rooms(struct arena *a)
{
	struct slice *sids;
	size_t n;
	return livekit_read_rooms(SLICE("{\"rooms\":[{\"sid\":\"R\\u004d_1\"}]}"), a, &sids, &n);
}

static int read_participants(struct arena *a)
{
	struct event_participant *p;
	size_t n = 7;
	bool complete;
	int rc = livekit_read_participants(SLICE("{\"participants\":[{\"sid\":\"PA_1\",\"kind\":\"SIP\",\"attributes\":{\"sip.callID\":\"SC\\u004c\"}}]}"), &options, a,
		&p, &n, &complete);
	assert_int_equal(n, rc ? 7 : 1);
	return rc;
}

static int read_egresses(struct arena *a)
{
	struct livekit_egress *e;
	size_t n = 7;
	int rc = livekit_read_egresses(SLICE("{\"items\":[{\"egress_id\":\"EG_1\",\"room_id\":\"RM_1\",\"status\":\"EGRESS_COMPLETE\"}]}"), a, &e, &n);
	assert_int_equal(n, rc ? 7 : 1);
	return rc;
}

static void decoding_says_so(void **state)
{
	(void)state;
	fail_each(decode_one);
	fail_each(decode_without_id);
}

static void redacting_says_so(void **state)
{
	(void)state;
	fail_each(redact_one);
}

static void routes_say_so(void **state)
{
	(void)state;
	fail_each(read_routes);
	fail_each(complain_about_routes);
}

static void signing_and_verifying_say_so(void **state)
{
	(void)state;
	fail_each(sign_one);
	struct arena *a = arena_new(1024);
	struct slice token;
	assert_int_equal(signature_sign(&key, SLICE("{}"), NOW, a, &token), 0);
	memcpy(genuine, token.p, token.n);
	arena_free(a);
	fail_each(verify_one);
}

static void key_rings_say_so(void **state)
{
	(void)state;
	fail_each(parse_keys);
}

static void marks_say_so(void **state)
{
	(void)state;
	fail_each(read_mark);
	fail_each(refuse_mark);
	fail_each(name_mark);
	fail_each(read_kept);
}

static void livekits_api_says_so(void **state)
{
	(void)state;
	fail_each(ask_livekit);
	fail_each(read_rooms);
	fail_each(read_participants);
	fail_each(read_egresses);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(decoding_says_so),
		cmocka_unit_test(redacting_says_so),
		cmocka_unit_test(routes_say_so),
		cmocka_unit_test(signing_and_verifying_say_so),
		cmocka_unit_test(key_rings_say_so),
		cmocka_unit_test(marks_say_so),
		cmocka_unit_test(livekits_api_says_so),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
