/* The decision who may read whose calls, in one place. Secrets are compared in constant time (over their hashes, so that not even the length
 * shows); nothing of a JWT is believed before its MAC has matched. Pure; any thread. */
#include "http/access.h"

#include "wire/jwt.h"

/* The token of "Bearer TOKEN", or none. */
static struct slice bearer(struct slice authorization)
{
	struct slice scheme, token;
	if (slice_is_none(authorization) || !slice_split(slice_trim(authorization), ' ', &scheme, &token))
		return SLICE_NONE;
	return slice_eq_nocase(scheme, SLICE("Bearer")) ? slice_trim(token) : SLICE_NONE;
}

static bool same_secret(struct slice x, struct slice y)
{
	unsigned char hash_x[32], hash_y[32];
	bool hashed = hash_sha256(x, hash_x);
	hashed &= hash_sha256(y, hash_y);
	return hashed && equal_constant_time(hash_x, hash_y, sizeof hash_x);
}

bool access_is_open(const struct access_options *o) { return slice_is_none(o->service_token) && slice_is_none(o->tenant_secret); }

bool access_is_service(const struct access_options *o, struct slice authorization)
{
	struct slice token = bearer(authorization);
	return !slice_is_none(o->service_token) && !slice_is_empty(token) && same_secret(token, o->service_token);
}

bool access_user_id_is_valid(struct slice user_id)
{
	if (user_id.n < 1 || user_id.n > ACCESS_MAX_TENANT || !slice_is_utf8(user_id))
		return false;
	for (size_t i = 0; i < user_id.n; i++) {
		unsigned char c = (unsigned char)user_id.p[i];
		/* C0, DEL, and C1 in its UTF-8 form */
		if (c < 0x20 || c == 0x7f || (c == 0xc2 && (unsigned char)user_id.p[i + 1] < 0xa0))
			return false;
	}
	return true;
}

/* The tenant that a JWT of ours names, or none. */
static struct slice tenant_of_jwt(struct slice token, struct slice secret, int64_t now_s, struct arena *a)
{
	struct jwt jwt;
	if (jwt_parse(token, a, &jwt) != OC_OK || !jwt_is_hs256(&jwt) || !jwt_mac_matches(&jwt, secret))
		return SLICE_NONE;
	const struct jwt_claims *claims = &jwt.claims;
	bool in_time = claims->has_exp && claims->exp_s > now_s - ACCESS_LEEWAY_S &&
		       (!claims->has_nbf || claims->nbf_s <= now_s + ACCESS_LEEWAY_S);
	return in_time && access_user_id_is_valid(claims->sub) ? claims->sub : SLICE_NONE;
}

enum access_result access_decide(const struct access_options *o, struct slice authorization, struct slice user_id, int64_t now_s,
	struct arena *a, struct slice *ret_tenant)
{
	bool open = access_is_open(o);
	bool named = !slice_is_none(user_id);
	struct slice tenant = SLICE_NONE;
	if (!open) {
		struct slice token = bearer(authorization);
		if (slice_is_none(authorization))
			return ACCESS_NO_TOKEN;
		if (slice_is_empty(token))
			return ACCESS_BAD_TOKEN;
		if (!access_is_service(o, authorization)) {
			if (!slice_is_none(o->tenant_secret))
				tenant = tenant_of_jwt(token, o->tenant_secret, now_s, a);
			if (slice_is_none(tenant))
				return ACCESS_BAD_TOKEN;
		}
	}
	if (named && !access_user_id_is_valid(user_id))
		return ACCESS_BAD_USER_ID;
	if (!slice_is_none(tenant)) {
		if (named && !slice_eq(user_id, tenant))
			return ACCESS_OTHER_TENANT;
		*ret_tenant = tenant;
		return ACCESS_OK;
	}
	if (!named)
		return open ? ACCESS_WHO : ACCESS_NO_TENANT;
	*ret_tenant = user_id;
	return ACCESS_OK;
}
