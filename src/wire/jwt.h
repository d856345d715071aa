/* HS256 JWTs (RFC 7515, 7519) and nothing else: header alg exactly HS256, three parts, base64url without padding.
 * Used by signature.c (LiveKit's) and http/access.c (tenants'). A `kid` is not looked at: each key is tried. Thread-safe, no clock. */
#pragma once

#include "base/arena.h"
#include "base/error.h"

#define JWT_AUDIENCES 8

struct jwt_claims {
	struct slice iss, sub, sha256; /* none where absent */
	struct slice aud[JWT_AUDIENCES]; /* a text, or the first ones of an array */
	size_t aud_count;
	bool has_exp, has_nbf, has_iat;
	int64_t exp_s, nbf_s, iat_s;
};

struct jwt {
	struct slice signed_part; /* header.payload as received */
	unsigned char mac[32];
	struct slice alg;
	struct jwt_claims claims;
};

/* Only parses; believe nothing before jwt_mac_matches. OC_INVALID: not a JWT of three parts with JSON objects, a claim of the
 * wrong type, a signature that is not 32 bytes. */
OC_NODISCARD int jwt_parse(struct slice token, struct arena *a, struct jwt *ret);
bool jwt_is_hs256(const struct jwt *t);
bool jwt_is_for(const struct jwt_claims *c, struct slice audience); /* RFC 7519, 4.1.3 */
bool jwt_mac_matches(const struct jwt *t, struct slice secret); /* constant time */

/* Signs a payload that is JSON text. */
OC_NODISCARD int jwt_sign(struct slice payload_json, struct slice secret, struct arena *a, struct slice *ret_token);

/* Parts that others need too. */
/* Has OpenSSL make now what it makes when it is first used: where it cannot, it stays unable for the life of the process (its random numbers,
 * which a connection to PostgreSQL needs too). OC_NOMEM: do not start. */
OC_NODISCARD int crypto_begin(void);
bool hash_sha256(struct slice data, unsigned char ret[32]); /* false (and zeros) only when OpenSSL has no memory */
bool hash_hmac_sha256(struct slice key, struct slice data, unsigned char ret[32]);
bool equal_constant_time(const void *x, const void *y, size_t n);
OC_NODISCARD int base64_encode(struct slice data, bool url, struct arena *a, struct slice *ret); /* url: no padding */
OC_NODISCARD int base64_decode(struct slice text, bool url, struct arena *a, struct slice *ret); /* strict */
void hex_encode(const unsigned char *data, size_t n, char *ret /* 2n bytes, no NUL */);
