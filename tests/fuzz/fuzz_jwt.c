/* Tokens: the input is "token\nbody". Nothing is taken that an implementation made of jansson and OpenSSL's one-shot HMAC refuses, and a
 * genuine token that the input changed anywhere is never taken. */
#include "must.h"

#include <openssl/sha.h>

#include "jwt_judge.h"
#include "jwt_mutator.h"
#include "wire/jwt.h"
#include "wire/signature.h"

#define SECRET JWT_MUTATOR_SECRET

static bool hash_is_right(const json_t *claims, struct slice body)
{
	const char *claim = json_string_value(json_object_get(claims, "sha256"));
	unsigned char hash[32], text[48];
	SHA256((const unsigned char *)body.p, body.n, hash);
	EVP_EncodeBlock(text, hash, 32);
	return claim && strcmp(claim, (char *)text) == 0;
}

static bool another_implementation_takes(struct slice token, struct slice body, double now)
{
	json_t *claims = judge_claims(token, SLICE(SECRET), now);
	bool good = claims && hash_is_right(claims, body);
	json_decref(claims);
	return good;
}

static struct signature_result verify(struct slice token, struct slice body, int64_t now, struct arena *a)
{
	const struct signing_key key = { SLICE_NONE, SLICE(SECRET) };
	const struct keyring ring = { &key, 1, true };
	struct signature_result r = signature_verify(&ring, token, SLICE_NONE, body, now, a);
	must(r.error == 0);
	return r;
}

/* The input's bytes are pairs: where in a genuine token, and what to put there. */
static void change_a_genuine_token(const uint8_t *data, size_t size, struct arena *a)
{
	const struct signing_key key = { SLICE("devkey"), SLICE(SECRET) };
	struct slice body = SLICE("{}"), token;
	must(signature_sign(&key, body, 1795352846, a, &token) == 0);
	must(verify(token, body, 1795352846, a).check == SIGNATURE_OK);
	char *changed = arena_dup(a, token);
	must(changed);
	for (size_t i = 0; i + 1 < size; i += 2)
		changed[data[i] % token.n] = (char)data[i + 1];
	if (memcmp(changed, token.p, token.n) != 0)
		must(verify(slice_of(changed, token.n), body, 1795352846, a).check != SIGNATURE_OK);
}

/* What decodes is written as itself again: one text for the same bytes, so that no changed letter goes unseen. */
static void check_base64(struct slice text, struct arena *a)
{
	struct slice bytes, again;
	for (int url = 0; url < 2; url++) {
		if (base64_decode(text, url, a, &bytes) == 0)
			must(base64_encode(bytes, url, a, &again) == 0 && slice_eq(again, text));
		must(base64_encode(text, url, a, &bytes) == 0 && base64_decode(bytes, url, a, &again) == 0 && slice_eq(again, text));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena *a = arena_new(8192);
	must(a);
	struct slice token, body;
	struct jwt t;
	slice_split(slice_of((const char *)data, size), '\n', &token, &body);
	token = slice_trim(token);
	int64_t now = jwt_parse(token, a, &t) == 0 && t.claims.has_nbf ? t.claims.nbf_s : 1795352846;
	struct signature_result r = verify(token, body, now, a);
	if (r.check == SIGNATURE_OK && !slice_starts_with(token, SLICE("Bearer ")))
		must(another_implementation_takes(token, body, (double)now));
	check_base64(token, a);
	if (size < 256)
		change_a_genuine_token(data, size, a);
	arena_free(a);
	return 0;
}
