/* Tokens: the input is "token\nbody". Nothing is taken that an implementation made of jansson and OpenSSL's one-shot HMAC refuses, and a
 * genuine token that the input changed anywhere is never taken. */
#include "must.h"

#include <jansson.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>
#include <string.h>

#include "wire/jwt.h"
#include "wire/signature.h"

#define SECRET "secret"

/* base64url, or standard base64 where padded, by OpenSSL; the decoded bytes with a NUL behind them, or NULL. */
static unsigned char *decode64(const char *text, size_t n, size_t *ret_n)
{
	size_t padded = (n + 3) / 4 * 4;
	unsigned char *in = malloc(padded + 1), *out = malloc(padded + 1);
	must(in && out);
	memset(in, '=', padded);
	for (size_t i = 0; i < n; i++)
		in[i] = (unsigned char)(text[i] == '-' ? '+' : text[i] == '_' ? '/' : text[i]);
	int got = n ? EVP_DecodeBlock(out, in, (int)padded) : 0;
	free(in);
	if (got < 0) {
		free(out);
		return NULL;
	}
	*ret_n = (size_t)got - (padded - n);
	out[*ret_n] = 0;
	return out;
}

static json_t *decode_json(const char *text, size_t n)
{
	size_t length;
	unsigned char *bytes = decode64(text, n, &length);
	json_t *j = bytes ? json_loadb((char *)bytes, length, JSON_REJECT_DUPLICATES, NULL) : NULL;
	free(bytes);
	return j;
}

static bool mac_is_right(const char *token, const char *second_dot, size_t n)
{
	unsigned char mac[32];
	unsigned mac_n = 0;
	size_t length = 0;
	must(HMAC(EVP_sha256(), SECRET, 6, (const unsigned char *)token, (size_t)(second_dot - token), mac, &mac_n));
	unsigned char *claimed = decode64(second_dot + 1, n - (size_t)(second_dot - token) - 1, &length);
	bool right = claimed && length == 32 && memcmp(claimed, mac, 32) == 0;
	free(claimed);
	return right;
}

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
	const char *first = memchr(token.p, '.', token.n);
	const char *second = first ? memchr(first + 1, '.', token.n - (size_t)(first + 1 - token.p)) : NULL;
	if (!second)
		return false;
	json_t *header = decode_json(token.p, (size_t)(first - token.p)), *claims = decode_json(first + 1, (size_t)(second - first - 1));
	const char *alg = json_string_value(json_object_get(header, "alg"));
	json_t *exp = json_object_get(claims, "exp"), *nbf = json_object_get(claims, "nbf");
	bool good = alg && strcmp(alg, "HS256") == 0 && !json_object_get(header, "crit") && mac_is_right(token.p, second, token.n) &&
		json_is_number(exp) && json_number_value(exp) + 61 > now && (!nbf || json_number_value(nbf) - 61 < now) && hash_is_right(claims, body);
	json_decref(header);
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
	if (size < 256)
		change_a_genuine_token(data, size, a);
	arena_free(a);
	return 0;
}
