/* A second implementation of HS256 tokens, made of jansson and OpenSSL's one-shot calls, as the judge beside wire/jwt. */
#pragma once

#include <jansson.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <string.h>

#include "base/slice.h"
#include "must.h"

/* base64url, or standard base64 where padded, by OpenSSL; the decoded bytes with a NUL behind them, or NULL. */
static inline unsigned char *judge_decode64(const char *text, size_t n, size_t *ret_n)
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

static inline json_t *judge_decode_json(const char *text, size_t n)
{
	size_t length;
	unsigned char *bytes = judge_decode64(text, n, &length);
	json_t *j = bytes ? json_loadb((char *)bytes, length, JSON_REJECT_DUPLICATES, NULL) : NULL;
	free(bytes);
	return j;
}

static inline bool judge_mac_is_right(const char *token, const char *second_dot, size_t n, struct slice secret)
{
	unsigned char mac[32];
	unsigned mac_n = 0;
	size_t length = 0;
	must(HMAC(EVP_sha256(), secret.p, (int)secret.n, (const unsigned char *)token, (size_t)(second_dot - token), mac, &mac_n));
	unsigned char *claimed = judge_decode64(second_dot + 1, n - (size_t)(second_dot - token) - 1, &length);
	bool right = claimed && length == 32 && memcmp(claimed, mac, 32) == 0;
	free(claimed);
	return right;
}

/* The claims of a token that is signed with the secret and good at that time, or NULL; the caller frees them. */
static inline json_t *judge_claims(struct slice token, struct slice secret, double now)
{
	const char *first = token.n ? memchr(token.p, '.', token.n) : NULL;
	const char *second = first ? memchr(first + 1, '.', token.n - (size_t)(first + 1 - token.p)) : NULL;
	if (!second)
		return NULL;
	json_t *header = judge_decode_json(token.p, (size_t)(first - token.p)), *claims = judge_decode_json(first + 1, (size_t)(second - first - 1));
	const char *alg = json_string_value(json_object_get(header, "alg"));
	json_t *exp = json_object_get(claims, "exp"), *nbf = json_object_get(claims, "nbf");
	bool good = alg && strcmp(alg, "HS256") == 0 && !json_object_get(header, "crit") && judge_mac_is_right(token.p, second, token.n, secret) &&
		json_is_number(exp) && json_number_value(exp) + 61 > now && (!nbf || json_number_value(nbf) - 61 < now);
	json_decref(header);
	if (good)
		return claims;
	json_decref(claims);
	return NULL;
}
