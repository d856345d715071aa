/* wire/redact.c: which members go, where, and that nothing else changes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "wire/redact.h"

static void assert_redacted(const char *in, const char *out)
{
	_cleanup_arena_ struct arena *a = arena_new(1024);
	struct slice got;
	assert_int_equal(redact_secrets(slice_cstr(in), a, &got), 0);
	char *text = arena_dup(a, got);
	assert_string_equal(text, out);
}

static void a_turn_password_goes_wherever_it_is(void **state)
{
	(void)state;
	assert_redacted("{\"room\":{\"sid\":\"RM\", \"turnPassword\":\"x\", \"name\":\"n\"}}", "{\"room\":{\"sid\":\"RM\", \"name\":\"n\"}}");
	assert_redacted("{\"room\":{\"turn_password\":\"x\"}}", "{\"room\":{}}");
	assert_redacted("[[{\"a\":1 , \"turnPassword\" : [1, {\"b\":2}] }]]", "[[{\"a\":1 }]]");
	assert_redacted("{\"turn\\u0050assword\":\"x\",\"id\":\"EV\"}", "{\"id\":\"EV\"}");
	assert_redacted("{\"job\":{\"room\":{\"turnPassword\":\"x\",\"sid\":\"RM\"}}}", "{\"job\":{\"room\":{\"sid\":\"RM\"}}}");
}

static void credentials_go_inside_egress_and_ingress_only(void **state)
{
	(void)state;
	assert_redacted("{\"egressInfo\":{\"file\":{\"s3\":{\"accessKey\":\"AK\",\"secret\":\"S\",\"bucket\":\"b\",\"sessionToken\":\"t\"}}}}",
			"{\"egressInfo\":{\"file\":{\"s3\":{\"bucket\":\"b\"}}}}");
	assert_redacted("{\"ingress_info\":{\"stream_key\":\"k\",\"url\":\"u\",\"password\":null}}", "{\"ingress_info\":{\"url\":\"u\"}}");
	assert_redacted("{\"egressInfo\":{\"webhooks\":[{\"signingKey\":\"k\"},{\"url\":\"u\",\"signing_key\":\"k\"}],\"gcp\":{\"credentials\":\"{}\"}}}",
			"{\"egressInfo\":{\"webhooks\":[{},{\"url\":\"u\"}],\"gcp\":{}}}");
	assert_redacted("{\"participant\":{\"attributes\":{\"token\":\"t\",\"secret\":\"s\"}},\"egressInfo\":{}}",
			"{\"participant\":{\"attributes\":{\"token\":\"t\",\"secret\":\"s\"}},\"egressInfo\":{}}");
	assert_redacted("{\"x\":{\"egressInfo\":{\"secret\":\"s\"}}}", "{\"x\":{\"egressInfo\":{\"secret\":\"s\"}}}");
}

static void livekits_own_placeholders_stay(void **state)
{
	(void)state;
	assert_redacted("{\"egressInfo\":{\"s3\":{\"accessKey\":\"{access_key}\",\"secret\":\"{secret}\"}}}",
			"{\"egressInfo\":{\"s3\":{\"accessKey\":\"{access_key}\",\"secret\":\"{secret}\"}}}");
	assert_redacted("{\"egressInfo\":{\"s3\":{\"secret\":\"{}\",\"token\":\"{A1}\",\"password\":\"{a\"}}}", "{\"egressInfo\":{\"s3\":{}}}");
	assert_redacted("{\"room\":{\"turnPassword\":\"{secret}\"}}", "{\"room\":{}}");
}

static void commas_and_blanks_stay_right_whatever_goes(void **state)
{
	(void)state;
	static const char *const members[] = { "\"a\":1", "\"turnPassword\":2", "\"b\":[3]", "\"turn_password\":{\"c\":4}" };
	for (unsigned order = 0; order < 256; order++) {
		char in[256] = "{ ", out[256] = "{ ";
		bool kept = false, seen[4] = { false };
		for (unsigned i = 0; i < 4; i++) {
			unsigned m = order >> (2 * i) & 3;
			if (seen[m])
				continue;
			seen[m] = true;
			strcat(strcat(in, in[2] ? " , " : ""), members[m]);
			if (m % 2 == 0) {
				strcat(strcat(out, kept ? " , " : ""), members[m]);
				kept = true;
			}
		}
		assert_redacted(strcat(in, "\n}"), strcat(out, "\n}"));
	}
}

static void a_body_without_secrets_is_not_copied(void **state)
{
	(void)state;
	_cleanup_arena_ struct arena *a = arena_new(1024);
	struct slice in = SLICE("{\"event\":\"room_started\", \"metadata\":\"{\\\"turnPassword\\\":1}\"}"), out;
	assert_int_equal(redact_secrets(in, a, &out), 0);
	assert_ptr_equal(out.p, in.p);
	assert_int_equal(out.n, in.n);
}

static void what_is_not_json_is_refused(void **state)
{
	(void)state;
	_cleanup_arena_ struct arena *a = arena_new(1024);
	struct slice out = SLICE("untouched");
	assert_int_equal(redact_secrets(SLICE("{\"turnPassword\":\"x\""), a, &out), OC_INVALID);
	assert_int_equal(redact_secrets(SLICE("{\"a\":1,\"a\":2}"), a, &out), OC_INVALID);
	assert_int_equal(redact_secrets(SLICE(""), a, &out), OC_INVALID);
	assert_true(slice_eq(out, SLICE("untouched")));
}

static void assert_masked(struct slice in, struct slice out)
{
	_cleanup_arena_ struct arena *a = arena_new(1024);
	struct slice got;
	assert_int_equal(redact_bytes(in, a, &got), 0);
	assert_int_equal(got.n, out.n);
	assert_memory_equal(got.p, out.p, out.n);
	assert_int_equal(got.p == in.p, slice_eq(in, out));
}

static void in_bytes_that_are_no_json_secrets_are_overwritten(void **state)
{
	(void)state;
	assert_masked(SLICE("{\"turnPassword\":\"x\\\"y\",\"name\":\"\\u0000\"}"), SLICE("{\"turnPassword\":\"****\",\"name\":\"\\u0000\"}"));
	assert_masked(SLICE("\xff\0{\"turn_password\" : \n \"abc\", \"turnPassword\":\"d\"}"),
		      SLICE("\xff\0{\"turn_password\" : \n \"***\", \"turnPassword\":\"*\"}"));
	assert_masked(SLICE("{\"turnPassword\":123,\"a\":[{\"turnPassword\":4}]"), SLICE("{\"turnPassword\":***,\"a\":[{\"turnPassword\":*}]"));
	assert_masked(SLICE("{\"egressInfo\":{\"s3\":{\"secret\":\"s\",\"accessKey\":\"AK\",\"bucket\":\"b\"}"),
		      SLICE("{\"egressInfo\":{\"s3\":{\"secret\":\"*\",\"accessKey\":\"**\",\"bucket\":\"b\"}"));
}

static void bytes_that_end_within_a_secret_are_overwritten_to_their_end(void **state)
{
	(void)state;
	assert_masked(SLICE("{\"turnPassword\":\"abc"), SLICE("{\"turnPassword\":\"***"));
	assert_masked(SLICE("{\"turnPassword\":\"ab\\"), SLICE("{\"turnPassword\":\"***"));
	assert_masked(SLICE("{\"turnPassword\":12"), SLICE("{\"turnPassword\":**"));
}

static void bytes_without_secrets_stay_as_they_are(void **state)
{
	(void)state;
	static const char *const same[] = { "", "x", "turnPassword", "\"turnPassword\"", "\"turnPassword\":", "\"turnPassword\":\"", "\"turnPassword\":\"\"",
		"\"turnPasswords\":\"x\"", "myturnPassword\":\"x\"", "{\"metadata\":\"{\\\"turnPassword\\\":\\\"x\\\"}\"", "{\"token\":\"t\",\"secret\":\"s\"" };
	for (size_t i = 0; i < sizeof same / sizeof same[0]; i++)
		assert_masked(slice_cstr(same[i]), slice_cstr(same[i]));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_turn_password_goes_wherever_it_is),
		cmocka_unit_test(credentials_go_inside_egress_and_ingress_only),
		cmocka_unit_test(livekits_own_placeholders_stay),
		cmocka_unit_test(commas_and_blanks_stay_right_whatever_goes),
		cmocka_unit_test(a_body_without_secrets_is_not_copied),
		cmocka_unit_test(what_is_not_json_is_refused),
		cmocka_unit_test(in_bytes_that_are_no_json_secrets_are_overwritten),
		cmocka_unit_test(bytes_that_end_within_a_secret_are_overwritten_to_their_end),
		cmocka_unit_test(bytes_without_secrets_stay_as_they_are),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
