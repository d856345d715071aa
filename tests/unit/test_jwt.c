/* wire/jwt.c: hashes by their published vectors, base64, tokens by RFC 7515's example, and what is no token. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>

#include "wire/jwt.h"

static struct arena *arena;

static int make_arena(void **state)
{
	(void)state;
	arena = arena_new(4096);
	return arena ? 0 : -1;
}

static int free_arena(void **state)
{
	(void)state;
	arena_free(arena);
	return 0;
}

static void assert_hex(const unsigned char hash[32], const char *hex)
{
	char text[64];
	hex_encode(hash, 32, text);
	assert_memory_equal(text, hex, 64);
}

/* FIPS 180-4's example. */
static void sha256_gives_its_published_values(void **state)
{
	(void)state;
	unsigned char hash[32];
	assert_true(hash_sha256(SLICE("abc"), hash));
	assert_hex(hash, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	assert_true(hash_sha256(SLICE_NONE, hash));
	assert_hex(hash, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

/* RFC 4231, cases 2 and 6; the second has a key longer than a block. */
static void hmac_gives_its_published_values(void **state)
{
	(void)state;
	unsigned char mac[32];
	char key[131];
	memset(key, '\xaa', sizeof key);
	for (int again = 0; again < 2; again++) {
		assert_true(hash_hmac_sha256(SLICE("Jefe"), SLICE("what do ya want for nothing?"), mac));
		assert_hex(mac, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
		assert_true(hash_hmac_sha256(slice_of(key, sizeof key), SLICE("Test Using Larger Than Block-Size Key - Hash Key First"), mac));
		assert_hex(mac, "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
	}
}

static void *hash_in_a_thread(void *ret)
{
	unsigned char mac[32], hash[32];
	bool good = true;
	for (int i = 0; i < 200; i++) {
		good &= hash_sha256(SLICE("abc"), hash) && hash[0] == 0xba && hash[31] == 0xad;
		good &= hash_hmac_sha256(SLICE("Jefe"), SLICE("what do ya want for nothing?"), mac) && mac[0] == 0x5b && mac[31] == 0x43;
	}
	*(bool *)ret = good;
	return NULL;
}

static void threads_hash_beside_each_other(void **state)
{
	(void)state;
	pthread_t threads[8];
	bool good[8] = { false };
	for (size_t i = 0; i < 8; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, hash_in_a_thread, &good[i]), 0);
	for (size_t i = 0; i < 8; i++) {
		assert_int_equal(pthread_join(threads[i], NULL), 0);
		assert_true(good[i]);
	}
}

/* RFC 4648 section 10. */
static void base64_gives_its_published_values(void **state)
{
	(void)state;
	static const struct {
		const char *data, *text, *url;
	} cases[] = { { "", "", "" }, { "f", "Zg==", "Zg" }, { "fo", "Zm8=", "Zm8" }, { "foo", "Zm9v", "Zm9v" }, { "foobar", "Zm9vYmFy", "Zm9vYmFy" },
		{ "\xfb\xff\xfe", "+//+", "-__-" } };
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct slice s;
		assert_int_equal(base64_encode(slice_cstr(cases[i].data), false, arena, &s), 0);
		assert_true(slice_eq_cstr(s, cases[i].text));
		assert_int_equal(base64_decode(s, false, arena, &s), 0);
		assert_true(slice_eq_cstr(s, cases[i].data));
		assert_int_equal(base64_encode(slice_cstr(cases[i].data), true, arena, &s), 0);
		assert_true(slice_eq_cstr(s, cases[i].url));
		assert_int_equal(base64_decode(s, true, arena, &s), 0);
		assert_true(slice_eq_cstr(s, cases[i].data));
	}
}

static void base64_of_another_kind_is_refused(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		bool url;
	} bad[] = { { "Zg", false }, { "Zg=", false }, { "Zg===", false }, { "Z===", false }, { "Zm8=Zm8=", false }, { "-__-", false }, { "Zh==", false }, { "Zm9=", false },
		{ "Zg==", true }, { "+//+", true }, { "A", true }, { "Zh", true }, { "Zm9v ", true }, { "Zm\n9v", false }, { "=", false }, { "====", false } };
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		struct slice s = SLICE("untouched");
		assert_int_equal(base64_decode(slice_cstr(bad[i].text), bad[i].url, arena, &s), OC_INVALID);
		assert_true(slice_eq(s, SLICE("untouched")));
	}
}

/* RFC 7515 appendix A.1. */
static void the_example_token_of_the_rfc_verifies(void **state)
{
	(void)state;
	struct slice secret;
	struct jwt t;
	assert_int_equal(base64_decode(SLICE("AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"), true, arena, &secret), 0);
	assert_int_equal(jwt_parse(SLICE("eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxl"
		"LmNvbS9pc19yb290Ijp0cnVlfQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"), arena, &t), 0);
	assert_true(jwt_is_hs256(&t));
	assert_true(jwt_mac_matches(&t, secret));
	assert_false(jwt_mac_matches(&t, slice_of(secret.p, secret.n - 1)));
	assert_true(slice_eq(t.claims.iss, SLICE("joe")));
	assert_true(t.claims.has_exp);
	assert_int_equal(t.claims.exp_s, 1300819380);
	assert_false(t.claims.has_nbf);
	assert_true(slice_is_none(t.claims.sha256));
}

/* A token over any header and payload texts; its signature is genuine. */
static struct slice make_token(const char *header, const char *payload, const char *secret)
{
	struct slice h, p, m;
	char text[4096];
	unsigned char mac[32];
	assert_int_equal(base64_encode(slice_cstr(header), true, arena, &h), 0);
	assert_int_equal(base64_encode(slice_cstr(payload), true, arena, &p), 0);
	int n = snprintf(text, sizeof text, "%.*s.%.*s", SLICE_FMT(h), SLICE_FMT(p));
	assert_true(hash_hmac_sha256(slice_cstr(secret), slice_of(text, (size_t)n), mac));
	assert_int_equal(base64_encode(slice_of((char *)mac, 32), true, arena, &m), 0);
	n += snprintf(text + n, sizeof text - (size_t)n, ".%.*s", SLICE_FMT(m));
	return slice_of(arena_dup(arena, slice_of(text, (size_t)n)), (size_t)n);
}

#define HS256 "{\"alg\":\"HS256\",\"typ\":\"JWT\"}"

static void claims_are_read_in_every_legal_form(void **state)
{
	(void)state;
	struct jwt t;
	assert_int_equal(jwt_parse(make_token(HS256, "{\"iss\":\"dev\\u006bey\",\"sub\":\"t\",\"aud\":[\"a\",\"b\"],\"exp\":1.7e9,\"nbf\":1700000000.75,\"iat\":5.0,"
		"\"sha256\":\"\\/x==\",\"video\":{\"room\":\"r\"}}", "s"), arena, &t), 0);
	assert_true(slice_eq(t.claims.iss, SLICE("devkey")));
	assert_true(slice_eq(t.claims.sub, SLICE("t")));
	assert_true(jwt_is_for(&t.claims, SLICE("a")) && jwt_is_for(&t.claims, SLICE("b")) && !jwt_is_for(&t.claims, SLICE("c")));
	assert_true(slice_eq(t.claims.sha256, SLICE("/x==")));
	assert_int_equal(t.claims.exp_s, 1700000000);
	assert_int_equal(t.claims.nbf_s, 1700000000);
	assert_int_equal(t.claims.iat_s, 5);
	assert_int_equal(jwt_parse(make_token(HS256, "{\"aud\":\"x\"}", "s"), arena, &t), 0);
	assert_true(jwt_is_for(&t.claims, SLICE("x")));
	assert_int_equal(jwt_parse(make_token(HS256, "{\"aud\":[]}", "s"), arena, &t), 0);
	assert_int_equal(t.claims.aud_count, 0);
}

static void claims_of_the_wrong_type_are_refused(void **state)
{
	(void)state;
	static const char *const bad[] = { "{\"exp\":\"1700000000\"}", "{\"exp\":null}", "{\"exp\":true}", "{\"exp\":-1}", "{\"exp\":1e30}", "{\"nbf\":{}}",
		"{\"iat\":253402300800}", "{\"iss\":5}", "{\"iss\":null}", "{\"sha256\":[\"x\"]}", "{\"sub\":{}}", "{\"aud\":[5]}", "{\"exp\":1,\"exp\":2}",
		"{\"iss\":\"\\u0000\"}", "{\"iss\":\"\xff\"}", "[]", "\"iss\"", "{", "", "{} x" };
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		struct jwt t;
		assert_int_equal(jwt_parse(make_token(HS256, bad[i], "s"), arena, &t), OC_INVALID);
	}
}

static void only_hs256_by_exactly_that_name_is_hs256(void **state)
{
	(void)state;
	static const char *const other[] = { "{\"alg\":\"none\"}", "{\"alg\":\"hs256\"}", "{\"alg\":\"HS512\"}", "{\"alg\":\"RS256\"}", "{\"alg\":\"HS256 \"}", "{}",
		"{\"alg\":\"HS256\",\"crit\":[\"exp\"]}", "{\"alg\":\"\"}" };
	struct jwt t;
	for (size_t i = 0; i < sizeof other / sizeof other[0]; i++) {
		assert_int_equal(jwt_parse(make_token(other[i], "{}", "s"), arena, &t), 0);
		assert_false(jwt_is_hs256(&t));
	}
	assert_int_equal(jwt_parse(make_token("{\"alg\":[\"HS256\"]}", "{}", "s"), arena, &t), OC_INVALID);
	assert_int_equal(jwt_parse(make_token("{\"alg\":\"none\",\"alg\":\"HS256\"}", "{}", "s"), arena, &t), OC_INVALID);
	assert_int_equal(jwt_parse(make_token("{\"kid\":\"x\",\"alg\":\"HS256\"}", "{}", "s"), arena, &t), 0);
	assert_true(jwt_is_hs256(&t));
}

static void what_has_not_three_good_parts_is_refused(void **state)
{
	(void)state;
	struct slice good = make_token(HS256, "{}", "s");
	struct jwt t;
	assert_int_equal(jwt_parse(good, arena, &t), 0);
	static const char *const bad[] = { "", ".", "..", "a.b.c", "e30.e30", "e30.e30.", "e30.e30.AAAA", "Bearer x", "e30=.e30.e30" };
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_int_equal(jwt_parse(slice_cstr(bad[i]), arena, &t), OC_INVALID);
	for (size_t n = 0; n < good.n; n++)
		assert_int_equal(jwt_parse(slice_of(good.p, n), arena, &t), OC_INVALID);
	char longer[4096];
	memcpy(longer, good.p, good.n);
	memcpy(longer + good.n, ".e30", 4);
	assert_int_equal(jwt_parse(slice_of(longer, good.n + 4), arena, &t), OC_INVALID);
	assert_int_equal(jwt_parse(SLICE_NONE, arena, &t), OC_INVALID);
}

static void a_changed_byte_never_verifies(void **state)
{
	(void)state;
	struct slice good;
	assert_int_equal(jwt_sign(SLICE("{\"iss\":\"k\",\"exp\":1700000000}"), SLICE("secret"), arena, &good), 0);
	char text[512];
	for (size_t i = 0; i < good.n; i++) {
		for (unsigned bit = 0; bit < 7; bit++) {
			memcpy(text, good.p, good.n);
			text[i] = (char)(text[i] ^ (1 << bit));
			struct jwt t;
			if (jwt_parse(slice_of(text, good.n), arena, &t) == 0)
				assert_false(jwt_is_hs256(&t) && jwt_mac_matches(&t, SLICE("secret")));
		}
	}
}

static void what_is_signed_verifies_and_an_empty_secret_never_does(void **state)
{
	(void)state;
	struct slice token = SLICE("untouched");
	struct jwt t;
	assert_int_equal(jwt_sign(SLICE("{\"sub\":\"t\"}"), SLICE(""), arena, &token), OC_INVALID);
	assert_true(slice_eq(token, SLICE("untouched")));
	assert_int_equal(jwt_sign(SLICE("{\"sub\":\"t\"}"), SLICE("secret"), arena, &token), 0);
	assert_int_equal(jwt_parse(token, arena, &t), 0);
	assert_true(jwt_is_hs256(&t));
	assert_true(jwt_mac_matches(&t, SLICE("secret")));
	assert_true(slice_eq(t.claims.sub, SLICE("t")));
	assert_int_equal(jwt_parse(make_token(HS256, "{}", ""), arena, &t), 0);
	assert_false(jwt_mac_matches(&t, SLICE("")));
	assert_false(jwt_mac_matches(&t, SLICE_NONE));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sha256_gives_its_published_values),
		cmocka_unit_test(hmac_gives_its_published_values),
		cmocka_unit_test(threads_hash_beside_each_other),
		cmocka_unit_test(base64_gives_its_published_values),
		cmocka_unit_test(base64_of_another_kind_is_refused),
		cmocka_unit_test(the_example_token_of_the_rfc_verifies),
		cmocka_unit_test(claims_are_read_in_every_legal_form),
		cmocka_unit_test(claims_of_the_wrong_type_are_refused),
		cmocka_unit_test(only_hs256_by_exactly_that_name_is_hs256),
		cmocka_unit_test(what_has_not_three_good_parts_is_refused),
		cmocka_unit_test(a_changed_byte_never_verifies),
		cmocka_unit_test(what_is_signed_verifies_and_an_empty_secret_never_does),
	};
	return cmocka_run_group_tests(tests, make_arena, free_arena);
}
