/* Who reads, and whose calls: a service token (any tenant, named by user_id), a tenant's JWT (HS256, sub is the tenant, exp required),
 * or, where no token is configured, anybody on loopback or the Unix socket who names a tenant. Pure: the time is given. Any thread. */
#pragma once

#include "base/arena.h"
#include "base/error.h"
#include "base/slice.h"

#define ACCESS_LEEWAY_S 60
#define ACCESS_MAX_TENANT 200 /* bytes of a user_id */
#define ACCESS_LEAST_SECRET 32 /* bytes of an HS256 key (RFC 7518, 3.2) */
#define ACCESS_HASH_PREFIX "sha256:" /* before the hex SHA-256 of a service token, in its place */

/* Several of each for rotation. Of service tokens only the hashes are kept. */
struct access_options {
	const unsigned char (*service_hashes)[32];
	size_t service_count;
	const struct slice *tenant_secrets; /* the first signs, all verify */
	size_t tenant_count;
	struct slice audience, issuer;      /* what a JWT's aud and iss must be; none = not looked at */
};

/* Why not: metric label, enum. */
#define ACCESS_CAUSES(X) \
	X("no_token", ACCESS_CAUSE_NO_TOKEN) \
	X("malformed", ACCESS_CAUSE_MALFORMED) \
	X("unknown_token", ACCESS_CAUSE_UNKNOWN) \
	X("wrong_algorithm", ACCESS_CAUSE_ALGORITHM) \
	X("wrong_signature", ACCESS_CAUSE_SIGNATURE) \
	X("no_expiry", ACCESS_CAUSE_NO_EXPIRY) \
	X("expired", ACCESS_CAUSE_EXPIRED) \
	X("not_yet_valid", ACCESS_CAUSE_NOT_YET) \
	X("wrong_issuer", ACCESS_CAUSE_ISSUER) \
	X("wrong_audience", ACCESS_CAUSE_AUDIENCE) \
	X("bad_subject", ACCESS_CAUSE_SUBJECT) \
	X("other_tenant", ACCESS_CAUSE_OTHER_TENANT) \
	X("bad_user_id", ACCESS_CAUSE_USER_ID) \
	X("too_many_attempts", ACCESS_CAUSE_ATTEMPTS)
enum access_cause {
#define X(name, e) e,
	ACCESS_CAUSES(X)
#undef X
};
const char *const *access_cause_names(size_t *ret_count);

enum access_result {
	ACCESS_OK,
	ACCESS_NO_TOKEN,      /* 401 */
	ACCESS_BAD_TOKEN,     /* 401 */
	ACCESS_NO_TENANT,     /* a service token without user_id: 400 */
	ACCESS_WHO,           /* no tokens configured, no user_id: 401 */
	ACCESS_BAD_USER_ID,   /* 400 */
	ACCESS_OTHER_TENANT,  /* a tenant's token with another's user_id: 404 or 403 */
};

/* From the texts of OUTCOMED_SERVICE_TOKEN and OUTCOMED_TENANT_SECRET: one a line, none = not configured. OC_CONFIG with a message that repeats
 * no secret; OC_NOMEM. The secrets stay where the texts are. */
OC_NODISCARD int access_options_read(struct slice service_tokens, struct slice tenant_secrets, struct arena *a, struct access_options *ret,
	struct slice *ret_message);
/* The first service token that is there as itself, not as its hash; none where all are hashes. */
struct slice access_first_token(struct slice service_tokens);
/* Is this text one of the tokens or secrets? For refusing a secret that others know. */
bool access_has_secret(const struct access_options *o, struct slice secret);
/* The line that stands for a service token: ACCESS_HASH_PREFIX and its hex hash. OC_NOMEM. */
OC_NODISCARD int access_hash_line(struct slice token, struct arena *a, struct slice *ret);

/* `authorization` is the header's value, user_id the parameter's, both none where absent. *ret_tenant is set with ACCESS_OK, *ret_cause without. */
enum access_result access_decide(const struct access_options *o, struct slice authorization, struct slice user_id, int64_t now_s,
	struct arena *a, struct slice *ret_tenant, enum access_cause *ret_cause);

/* No token is configured. */
static inline bool access_is_open(const struct access_options *o) { return o->service_count == 0 && o->tenant_count == 0; }

/* Is it a service token? */
bool access_is_service(const struct access_options *o, struct slice authorization);

/* 1 to 200 bytes of UTF-8 without control characters. */
bool access_user_id_is_valid(struct slice user_id);
