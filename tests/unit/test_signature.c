/* wire/signature.c: every check by its name, their order, keys and rotation, the older form, and every recorded delivery. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "recorded.h"
#include "wire/jwt.h"
#include "wire/signature.h"

#define NOW 1795352846
#define BODY SLICE("{\"event\":\"room_started\", \"id\":\"EV_1\"}")

static struct arena *arena;
static const struct signing_key dev = { { "devkey", 6 }, { "secret", 6 } };

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

/* Signs these claims; %S stands for the body's hash. */
static struct slice token(const char *header, const char *claims, const char *secret)
{
	struct slice sha256, h, p, m;
	unsigned char hash[32];
	char payload[2048], text[4096];
	assert_true(hash_sha256(BODY, hash));
	assert_int_equal(base64_encode(slice_of((char *)hash, 32), false, arena, &sha256), 0);
	const char *at = strstr(claims, "%S");
	if (at)
		snprintf(payload, sizeof payload, "%.*s%.*s%s", (int)(at - claims), claims, SLICE_FMT(sha256), at + 2);
	else
		snprintf(payload, sizeof payload, "%s", claims);
	assert_int_equal(base64_encode(slice_cstr(header), true, arena, &h), 0);
	assert_int_equal(base64_encode(slice_cstr(payload), true, arena, &p), 0);
	int n = snprintf(text, sizeof text, "%.*s.%.*s", SLICE_FMT(h), SLICE_FMT(p));
	assert_true(hash_hmac_sha256(slice_cstr(secret), slice_of(text, (size_t)n), hash));
	assert_int_equal(base64_encode(slice_of((char *)hash, 32), true, arena, &m), 0);
	n += snprintf(text + n, sizeof text - (size_t)n, ".%.*s", SLICE_FMT(m));
	return slice_of(arena_dup(arena, slice_of(text, (size_t)n)), (size_t)n);
}

#define HS256 "{\"alg\":\"HS256\",\"typ\":\"JWT\"}"
#define GOOD_CLAIMS "{\"iss\":\"devkey\",\"exp\":1795353146,\"nbf\":1795352846,\"iat\":1795352846,\"sha256\":\"%S\"}"

static struct signature_result verify_at(struct slice authorization, int64_t now_s)
{
	const struct keyring ring = { &dev, 1, false };
	return signature_verify(&ring, authorization, SLICE_NONE, BODY, now_s, arena);
}

static void assert_check(struct slice authorization, enum signature_check want)
{
	struct signature_result r = verify_at(authorization, NOW);
	assert_int_equal(r.error, 0);
	assert_string_equal(signature_check_name(r.check), signature_check_name(want));
	assert_int_equal(slice_is_none(r.key_id), want != SIGNATURE_OK);
}

struct recorded_sum {
	size_t good;
};

static void verify_recorded(void *context, struct slice authorization, struct slice body)
{
	struct recorded_sum *sum = context;
	_cleanup_arena_ struct arena *a = arena_new(4096);
	const struct keyring ring = { &dev, 1, false };
	struct jwt t;
	assert_int_equal(jwt_parse(authorization, a, &t), 0);
	struct signature_result r = signature_verify(&ring, authorization, SLICE_NONE, body, t.claims.nbf_s, a);
	assert_int_equal(r.check, SIGNATURE_OK);
	assert_true(slice_eq(r.key_id, SLICE("devkey")));
	sum->good++;
	if (sum->good % 50)
		return;
	char *altered = arena_dup(a, body);
	altered[sum->good % body.n] ^= 1;
	assert_int_equal(signature_verify(&ring, authorization, SLICE_NONE, slice_of(altered, body.n), t.claims.nbf_s, a).check, SIGNATURE_BODY);
}

static void every_recorded_delivery_verifies(void **state)
{
	(void)state;
	struct recorded_sum sum = { 0 };
	size_t count = recorded_each(verify_recorded, &sum);
	assert_true(count >= 1000);
	assert_int_equal(sum.good, count);
}

static void a_good_token_passes_with_or_without_bearer(void **state)
{
	(void)state;
	struct slice good = token(HS256, GOOD_CLAIMS, "secret");
	static const char *const prefixes[] = { "", "Bearer ", "bearer ", "BEARER   ", "  " };
	for (size_t i = 0; i < sizeof prefixes / sizeof prefixes[0]; i++) {
		char text[2048];
		int n = snprintf(text, sizeof text, "%s%.*s", prefixes[i], SLICE_FMT(good));
		assert_check(slice_of(text, (size_t)n), SIGNATURE_OK);
	}
	assert_int_equal(verify_at(good, NOW + 7).issued_ago_s, 7);
	assert_check(token("{\"alg\":\"HS256\"}", "{\"iss\":\"devkey\",\"exp\":1795353146.5,\"sha256\":\"%S\"}", "secret"), SIGNATURE_OK);
}

static void each_check_fails_by_its_own_name(void **state)
{
	(void)state;
	static const struct {
		const char *header, *claims, *secret;
		enum signature_check want;
	} cases[] = {
		{ "{\"alg\":\"none\"}", GOOD_CLAIMS, "secret", SIGNATURE_ALGORITHM },
		{ "{\"alg\":\"HS512\"}", GOOD_CLAIMS, "secret", SIGNATURE_ALGORITHM },
		{ "{\"alg\":\"RS256\"}", GOOD_CLAIMS, "secret", SIGNATURE_ALGORITHM },
		{ "{\"alg\":\"HS256\",\"crit\":[\"b64\"]}", GOOD_CLAIMS, "secret", SIGNATURE_ALGORITHM },
		{ HS256, "{\"iss\":\"other\",\"exp\":1795353146,\"sha256\":\"%S\"}", "secret", SIGNATURE_UNKNOWN_KEY },
		{ HS256, "{\"exp\":1795353146,\"sha256\":\"%S\"}", "secret", SIGNATURE_UNKNOWN_KEY },
		{ HS256, GOOD_CLAIMS, "Secret", SIGNATURE_SECRET },
		{ HS256, GOOD_CLAIMS, "", SIGNATURE_SECRET },
		{ HS256, "{\"iss\":\"devkey\",\"sha256\":\"%S\"}", "secret", SIGNATURE_NO_EXPIRY },
		{ HS256, "{\"iss\":\"devkey\",\"exp\":1795352785,\"sha256\":\"%S\"}", "secret", SIGNATURE_EXPIRED },
		{ HS256, "{\"iss\":\"devkey\",\"exp\":1795353146,\"nbf\":1795352907,\"sha256\":\"%S\"}", "secret", SIGNATURE_NOT_YET },
		{ HS256, "{\"iss\":\"devkey\",\"exp\":1795353146,\"iat\":1795352907,\"sha256\":\"%S\"}", "secret", SIGNATURE_NOT_YET },
		{ HS256, "{\"iss\":\"devkey\",\"exp\":1795353146,\"sub\":\"alice\",\"video\":{\"roomJoin\":true}}", "secret", SIGNATURE_NO_HASH },
		{ HS256, "{\"iss\":\"devkey\",\"exp\":1795353146,\"sha256\":\"\"}", "secret", SIGNATURE_BODY },
		{ HS256, "{\"iss\":\"devkey\",\"exp\":1795353146,\"sha256\":\"AAAA\"}", "secret", SIGNATURE_BODY },
		{ HS256, "{\"iss\":\"devkey\",\"exp\":1795353146,\"sha256\":\"47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\"}", "secret", SIGNATURE_BODY },
		{ HS256, "{\"iss\":\"devkey\",\"exp\":1795353146,\"sha256\":\"%S=\"}", "secret", SIGNATURE_BODY },
		{ HS256, "{\"iss\":\"devkey\",\"exp\":\"1795353146\",\"sha256\":\"%S\"}", "secret", SIGNATURE_MALFORMED },
		{ HS256, "{\"iss\":\"devkey\",\"exp\":1795353146,\"sha256\":5}", "secret", SIGNATURE_MALFORMED },
		{ HS256, "[]", "secret", SIGNATURE_MALFORMED },
	};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
		assert_check(token(cases[i].header, cases[i].claims, cases[i].secret), cases[i].want);
	assert_check(SLICE("Basic dXNlcjpwYXNz"), SIGNATURE_MALFORMED);
	assert_check(SLICE("Bearer"), SIGNATURE_MALFORMED);
	assert_check(SLICE("  "), SIGNATURE_NO_HEADER);
	assert_check(SLICE_NONE, SIGNATURE_NO_HEADER);
}

static void the_first_check_that_fails_names_it(void **state)
{
	(void)state;
	const char *all_wrong = "{\"iss\":\"other\",\"exp\":1,\"nbf\":99999999999}";
	assert_check(token("{\"alg\":\"none\"}", all_wrong, "x"), SIGNATURE_ALGORITHM);
	assert_check(token(HS256, all_wrong, "x"), SIGNATURE_UNKNOWN_KEY);
	assert_check(token(HS256, "{\"iss\":\"devkey\",\"exp\":1,\"nbf\":99999999999}", "x"), SIGNATURE_SECRET);
	assert_check(token(HS256, "{\"iss\":\"devkey\",\"nbf\":99999999999}", "secret"), SIGNATURE_NO_EXPIRY);
	assert_check(token(HS256, "{\"iss\":\"devkey\",\"exp\":1,\"nbf\":99999999999}", "secret"), SIGNATURE_EXPIRED);
	assert_check(token(HS256, "{\"iss\":\"devkey\",\"exp\":99999999999,\"nbf\":99999999999}", "secret"), SIGNATURE_NOT_YET);
}

static void leeway_is_sixty_seconds_on_both_sides(void **state)
{
	(void)state;
	struct slice good = token(HS256, GOOD_CLAIMS, "secret");
	assert_int_equal(verify_at(good, NOW - 60).check, SIGNATURE_OK);
	assert_int_equal(verify_at(good, NOW - 61).check, SIGNATURE_NOT_YET);
	assert_int_equal(verify_at(good, NOW + 360).check, SIGNATURE_OK);
	assert_int_equal(verify_at(good, NOW + 361).check, SIGNATURE_EXPIRED);
}

static void a_token_longer_than_the_limit_is_not_looked_at(void **state)
{
	(void)state;
	static char text[SIGNATURE_MAX_TOKEN + 2];
	memset(text, 'A', sizeof text);
	assert_check(slice_of(text, sizeof text), SIGNATURE_MALFORMED);
}

static void keys_rotate_under_one_name_and_beside_a_bare_secret(void **state)
{
	(void)state;
	const struct signing_key keys[] = { { SLICE("devkey"), SLICE("old") }, { SLICE("devkey"), SLICE("secret") }, { SLICE("other"), SLICE("third") } };
	const struct keyring rotating = { keys, 3, false };
	struct slice good = token(HS256, GOOD_CLAIMS, "secret");
	assert_int_equal(signature_verify(&rotating, good, SLICE_NONE, BODY, NOW, arena).check, SIGNATURE_OK);
	assert_int_equal(signature_verify(&rotating, token(HS256, GOOD_CLAIMS, "old"), SLICE_NONE, BODY, NOW, arena).check, SIGNATURE_OK);
	assert_int_equal(signature_verify(&rotating, token(HS256, GOOD_CLAIMS, "third"), SLICE_NONE, BODY, NOW, arena).check, SIGNATURE_SECRET);
	const struct signing_key bare[] = { { SLICE_NONE, SLICE("") }, { SLICE_NONE, SLICE("secret") } };
	const struct keyring any_iss = { bare, 2, false };
	struct slice anybody = token(HS256, "{\"iss\":\"whoever\",\"exp\":1795353146,\"sha256\":\"%S\"}", "secret");
	struct signature_result r = signature_verify(&any_iss, anybody, SLICE_NONE, BODY, NOW, arena);
	assert_int_equal(r.check, SIGNATURE_OK);
	assert_true(slice_eq(r.key_id, SLICE("whoever")));
	assert_int_equal(signature_verify(&any_iss, token(HS256, GOOD_CLAIMS, ""), SLICE_NONE, BODY, NOW, arena).check, SIGNATURE_SECRET);
	const struct keyring nothing = { NULL, 0, false };
	assert_int_equal(signature_verify(&nothing, good, SLICE_NONE, BODY, NOW, arena).check, SIGNATURE_UNKNOWN_KEY);
}

static struct slice hex_hmac_of(const char *secret, struct slice body, bool upper)
{
	unsigned char mac[32];
	char *text = arena_alloc(arena, 65);
	assert_true(hash_hmac_sha256(slice_cstr(secret), body, mac));
	for (size_t i = 0; i < 32; i++)
		snprintf(text + 2 * i, 3, upper ? "%02X" : "%02x", mac[i]);
	return slice_of(text, 64);
}

static struct slice hex_hmac(const char *secret, bool upper) { return hex_hmac_of(secret, BODY, upper); }

static void the_older_form_counts_only_where_it_is_switched_on(void **state)
{
	(void)state;
	const struct signing_key keys[] = { { SLICE("a"), SLICE("first") }, dev };
	const struct keyring off = { keys, 2, false }, on = { keys, 2, true };
	assert_int_equal(signature_verify(&off, SLICE_NONE, hex_hmac("secret", false), BODY, NOW, arena).check, SIGNATURE_WRONG_HEADER);
	struct signature_result r = signature_verify(&on, SLICE_NONE, hex_hmac("secret", false), BODY, NOW, arena);
	assert_int_equal(r.check, SIGNATURE_OK);
	assert_true(slice_is_none(r.key_id));
	assert_int_equal(signature_verify(&on, SLICE_NONE, hex_hmac("first", true), BODY, NOW, arena).check, SIGNATURE_OK);
	assert_int_equal(signature_verify(&on, SLICE_NONE, hex_hmac("wrong", true), BODY, NOW, arena).check, SIGNATURE_HMAC);
	assert_int_equal(signature_verify(&on, SLICE_NONE, SLICE("sha256=00"), BODY, NOW, arena).check, SIGNATURE_HMAC);
	struct slice with_prefix = slice_cstr(arena_dup(arena, hex_hmac("secret", false)));
	assert_int_equal(signature_verify(&on, SLICE_NONE, slice_of(with_prefix.p, 63), BODY, NOW, arena).check, SIGNATURE_HMAC);
	const struct signing_key empty = { SLICE_NONE, SLICE("") };
	const struct keyring empty_on = { &empty, 1, true };
	assert_int_equal(signature_verify(&empty_on, SLICE_NONE, hex_hmac("", false), BODY, NOW, arena).check, SIGNATURE_HMAC);
}

/* A participant holds "header.payload.mac", and mac is the HMAC of "header.payload" under the secret that signs webhooks. */
static void a_participants_token_is_no_signature_of_the_older_form(void **state)
{
	(void)state;
	const struct slice bodies[] = { SLICE("a.b"), SLICE("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJtZSJ9"), SLICE("."), SLICE("a.b.c-_") };
	const struct slice json[] = { SLICE("{\"a\":\"a.b\"}"), SLICE("1.5\n"), SLICE("\"a.b\""), SLICE("true") };
	const struct keyring on = { &dev, 1, true };
	for (size_t i = 0; i < 4; i++) {
		assert_int_equal(signature_verify(&on, SLICE_NONE, hex_hmac_of("secret", bodies[i], false), bodies[i], NOW, arena).check, SIGNATURE_HMAC);
		assert_int_equal(signature_verify(&on, SLICE_NONE, hex_hmac_of("secret", json[i], false), json[i], NOW, arena).check, SIGNATURE_OK);
	}
}

static void the_result_says_which_form_was_judged(void **state)
{
	(void)state;
	const struct keyring on = { &dev, 1, true };
	assert_true(signature_verify(&on, SLICE_NONE, hex_hmac("secret", false), BODY, NOW, arena).by_hmac);
	assert_true(signature_verify(&on, SLICE(" "), hex_hmac("secret", false), BODY, NOW, arena).by_hmac);
	assert_false(signature_verify(&on, token(HS256, GOOD_CLAIMS, "secret"), hex_hmac("secret", false), BODY, NOW, arena).by_hmac);
}

static void with_both_headers_authorization_decides(void **state)
{
	(void)state;
	const struct keyring on = { &dev, 1, true };
	struct slice good = token(HS256, GOOD_CLAIMS, "secret");
	assert_int_equal(signature_verify(&on, SLICE("nonsense"), hex_hmac("secret", false), BODY, NOW, arena).check, SIGNATURE_MALFORMED);
	assert_int_equal(signature_verify(&on, good, SLICE("nonsense"), BODY, NOW, arena).check, SIGNATURE_OK);
}

struct said {
	char text[1024];
};

static void say(void *context, enum signature_check check, bool pass, const char *detail)
{
	struct said *s = context;
	size_t n = strlen(s->text);
	assert_non_null(detail);
	snprintf(s->text + n, sizeof s->text - n, "%s%s ", pass ? "" : "!", signature_check_name(check));
}

static void explaining_says_each_check_up_to_the_one_that_fails(void **state)
{
	(void)state;
	const struct keyring ring = { &dev, 1, false };
	struct said s = { "" };
	signature_explain(&ring, token(HS256, GOOD_CLAIMS, "secret"), SLICE_NONE, BODY, NOW, arena, say, &s);
	assert_string_equal(s.text, "no_signature malformed_token wrong_algorithm unknown_key secret_mismatch no_expiry expired not_yet_valid "
		"no_body_hash body_altered ");
	s.text[0] = '\0';
	struct signature_result r = signature_explain(&ring, token(HS256, GOOD_CLAIMS, "x"), SLICE_NONE, BODY, NOW, arena, say, &s);
	assert_string_equal(s.text, "no_signature malformed_token wrong_algorithm unknown_key !secret_mismatch ");
	assert_int_equal(r.check, SIGNATURE_SECRET);
	s.text[0] = '\0';
	signature_explain(&ring, SLICE_NONE, SLICE("00"), BODY, NOW, arena, say, &s);
	assert_string_equal(s.text, "no_signature !wrong_header ");
}

static void say_printable(void *context, enum signature_check check, bool pass, const char *detail)
{
	bool *escaped = context;
	(void)check;
	(void)pass;
	for (const char *at = detail; *at; at++)
		assert_in_range(*at, ' ', '~');
	*escaped |= strstr(detail, "?[2J") != NULL;
}

static void explaining_shows_nothing_that_a_terminal_would_obey(void **state)
{
	(void)state;
	const struct keyring ring = { &dev, 1, false };
	bool escaped = false;
	signature_explain(&ring, token("{\"alg\":\"\\u001b[2J\"}", GOOD_CLAIMS, "x"), SLICE_NONE, BODY, NOW, arena, say_printable, &escaped);
	assert_true(escaped);
	escaped = false;
	signature_explain(&ring, token(HS256, "{\"iss\":\"\\u009b\\u001b[2J\\u0007\"}", "x"), SLICE_NONE, BODY, NOW, arena, say_printable, &escaped);
	assert_true(escaped);
}

static void what_is_signed_verifies_and_has_livekits_claims(void **state)
{
	(void)state;
	struct slice t;
	struct jwt parsed;
	assert_int_equal(signature_sign(&dev, BODY, NOW, arena, &t), 0);
	assert_check(t, SIGNATURE_OK);
	assert_int_equal(jwt_parse(t, arena, &parsed), 0);
	assert_int_equal(parsed.claims.exp_s, NOW + 300);
	assert_int_equal(parsed.claims.nbf_s, NOW);
	assert_int_equal(parsed.claims.iat_s, NOW);
	const struct signing_key empty = { SLICE("k"), SLICE("") };
	assert_int_equal(signature_sign(&empty, BODY, NOW, arena, &t), OC_INVALID);
}

static void keys_are_read_from_lines_and_commas(void **state)
{
	(void)state;
	struct signing_key *keys;
	size_t n;
	assert_int_equal(keyring_parse(SLICE("a: b:c \n\n d:e, f :g,\r\n"), arena, &keys, &n), 0);
	assert_int_equal(n, 3);
	assert_true(slice_eq(keys[0].id, SLICE("a")));
	assert_true(slice_eq(keys[0].secret, SLICE("b:c")));
	assert_true(slice_eq(keys[1].id, SLICE("d")));
	assert_true(slice_eq(keys[2].id, SLICE("f")));
	assert_true(slice_eq(keys[2].secret, SLICE("g")));
	static const char *const bad[] = { "", " \n,", "a", "a:", ":b", "a: b, c" };
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_int_equal(keyring_parse(slice_cstr(bad[i]), arena, &keys, &n), OC_INVALID);
}

static void every_check_has_a_name_and_every_failure_a_mend(void **state)
{
	(void)state;
	for (int i = 0; i < SIGNATURE_CHECK_COUNT; i++) {
		assert_true(strlen(signature_check_name((enum signature_check)i)) > 0);
		assert_int_equal(strlen(signature_check_mend((enum signature_check)i)) > 0, i != SIGNATURE_OK);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_recorded_delivery_verifies),
		cmocka_unit_test(a_good_token_passes_with_or_without_bearer),
		cmocka_unit_test(each_check_fails_by_its_own_name),
		cmocka_unit_test(the_first_check_that_fails_names_it),
		cmocka_unit_test(leeway_is_sixty_seconds_on_both_sides),
		cmocka_unit_test(a_token_longer_than_the_limit_is_not_looked_at),
		cmocka_unit_test(keys_rotate_under_one_name_and_beside_a_bare_secret),
		cmocka_unit_test(the_older_form_counts_only_where_it_is_switched_on),
		cmocka_unit_test(with_both_headers_authorization_decides),
		cmocka_unit_test(a_participants_token_is_no_signature_of_the_older_form),
		cmocka_unit_test(the_result_says_which_form_was_judged),
		cmocka_unit_test(explaining_shows_nothing_that_a_terminal_would_obey),
		cmocka_unit_test(explaining_says_each_check_up_to_the_one_that_fails),
		cmocka_unit_test(what_is_signed_verifies_and_has_livekits_claims),
		cmocka_unit_test(keys_are_read_from_lines_and_commas),
		cmocka_unit_test(every_check_has_a_name_and_every_failure_a_mend),
	};
	return cmocka_run_group_tests(tests, make_arena, free_arena);
}
