/* Is this request really LiveKit's? Verifies a bare HS256 JWT (RFC 7515, 7519) in `Authorization`, as LiveKit signs
 * webhooks: claims iss, exp, nbf, sha256 = base64(SHA-256(body)). The sha256 claim is required, because every room
 * participant holds a JWT signed by the same secret. Sources: protocol auth/accesstoken.go:172-199,
 * webhook/verifier.go:31-67. Thread-safe: a key ring is immutable once made. No logging, no clock: now_s is given. */
#pragma once

#include "base/arena.h"
#include "base/error.h"

#define SIGNATURE_LEEWAY_S 60
#define SIGNATURE_MAX_TOKEN 8192 /* bytes of an Authorization header that are looked at */

struct signing_key {
	struct slice id;     /* API key; none for LIVEKIT_WEBHOOK_SECRET alone, which any iss may use */
	struct slice secret;
};

struct keyring {
	const struct signing_key *keys;
	size_t count;
	bool accept_hmac; /* OUTCOMED_ACCEPT_HMAC=1: X-LiveKit-Signature, the older module's form */
};

/* Every check by its own name: metric label and log value, enum, what the operator does about it. */
#define SIGNATURE_CHECKS(X) \
	X("ok", SIGNATURE_OK, "") \
	X("no_signature", SIGNATURE_NO_HEADER, "no Authorization header: LiveKit always sends one; is a proxy removing it, or is this not LiveKit?") \
	X("wrong_header", SIGNATURE_WRONG_HEADER, "X-LiveKit-Signature is not LiveKit's; send a JWT in Authorization, or set OUTCOMED_ACCEPT_HMAC=1 for your own tools") \
	X("malformed_token", SIGNATURE_MALFORMED, "Authorization holds no JWT") \
	X("wrong_algorithm", SIGNATURE_ALGORITHM, "the token's alg is not HS256") \
	X("unknown_key", SIGNATURE_UNKNOWN_KEY, "iss names no key of ours: set LIVEKIT_API_KEY/LIVEKIT_API_SECRET or LIVEKIT_KEYS to the key under webhook.api_key in LiveKit's configuration") \
	X("secret_mismatch", SIGNATURE_SECRET, "the secret does not match the key that signed: compare it with LiveKit's keys") \
	X("no_expiry", SIGNATURE_NO_EXPIRY, "the token has no exp claim") \
	X("expired", SIGNATURE_EXPIRED, "the token is expired: compare the clocks of LiveKit and this machine (NTP)") \
	X("not_yet_valid", SIGNATURE_NOT_YET, "the token is not valid yet: compare the clocks of LiveKit and this machine (NTP)") \
	X("no_body_hash", SIGNATURE_NO_HASH, "the token has no sha256 claim: it is a participant's or API token, not a webhook's") \
	X("body_altered", SIGNATURE_BODY, "the body is not the one that was signed: a proxy or framework re-wrote it; pass the raw bytes on") \
	X("hmac_mismatch", SIGNATURE_HMAC, "X-LiveKit-Signature is not the hex HMAC-SHA256 of the body under any secret of ours")
enum signature_check {
#define X(name, e, mend) e,
	SIGNATURE_CHECKS(X)
#undef X
};
#define X(name, e, mend) +1
enum { SIGNATURE_CHECK_COUNT = 0 SIGNATURE_CHECKS(X) };
#undef X

const char *signature_check_name(enum signature_check c);
const char *signature_check_mend(enum signature_check c);

struct signature_result {
	int error; /* OC_NOMEM: it could not be checked; `check` says no, but the honest answer is 503, not 401. Else 0 */
	enum signature_check check;
	bool by_hmac;               /* judged by X-LiveKit-Signature, the older form */
	struct slice key_id;        /* iss, when ok and by JWT; points into `a` */
	int64_t issued_ago_s;       /* now - nbf, for the log; 0 = unknown */
};

/* `authorization` and `hmac_header` are header values or none. The first check that fails is the result's.
 * Constant time in all comparisons of secrets and hashes. */
struct signature_result signature_verify(const struct keyring *ring, struct slice authorization, struct slice hmac_header,
	struct slice body, int64_t now_s, struct arena *a);

/* One line a check, pass or fail, for `outcomed verify`: calls `say` for each in the order they are made, up to the first that fails. */
typedef void (*signature_say_fn)(void *context, enum signature_check check, bool pass, const char *detail);
struct signature_result signature_explain(const struct keyring *ring, struct slice authorization, struct slice hmac_header,
	struct slice body, int64_t now_s, struct arena *a, signature_say_fn say, void *context);

/* A fresh token as LiveKit makes it, for `send`, `check` and tests: iss, exp = now + 300, nbf = iat = now, sha256. */
OC_NODISCARD int signature_sign(const struct signing_key *key, struct slice body, int64_t now_s, struct arena *a, struct slice *ret_token);

/* "key: secret" pairs as in LIVEKIT_KEYS and LiveKit's own LIVEKIT_KEYS: separated by newlines or commas. */
OC_NODISCARD int keyring_parse(struct slice text, struct arena *a, struct signing_key **ret_keys, size_t *ret_count);
