/* The decision who may read whose calls, in one place. Secrets are compared in constant time (over their hashes, so that not even the length
 * shows), each with all that are configured; nothing of a JWT is believed before its MAC has matched. Pure; any thread. */
#include "http/access.h"

#include "wire/jwt.h"

static const char *const cause_names[] = {
#define X(name, e) [e] = name,
	ACCESS_CAUSES(X)
#undef X
};

const char *const *access_cause_names(size_t *ret_count)
{
	*ret_count = sizeof cause_names / sizeof cause_names[0];
	return cause_names;
}

/* ---- what is configured ---- */

static int hex_value(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool read_hash(struct slice hex, unsigned char ret[32])
{
	if (hex.n != 64)
		return false;
	for (size_t i = 0; i < 32; i++) {
		int high = hex_value(hex.p[2 * i]), low = hex_value(hex.p[2 * i + 1]);
		if (high < 0 || low < 0)
			return false;
		ret[i] = (unsigned char)(high * 16 + low);
	}
	return true;
}

static int refuse(struct slice *ret_message, struct slice why)
{
	*ret_message = why;
	return OC_CONFIG;
}

static int read_service_token(struct slice line, unsigned char ret[32], struct slice *ret_message)
{
	struct slice prefix = SLICE(ACCESS_HASH_PREFIX);
	if (slice_starts_with(line, prefix)) {
		if (!read_hash(slice_of(line.p + prefix.n, line.n - prefix.n), ret))
			return refuse(ret_message, SLICE("OUTCOMED_SERVICE_TOKEN: after sha256: there must be 64 hex digits in lower case; `outcomed token --hash` makes them"));
		return 0;
	}
	for (size_t i = 0; i < line.n; i++)
		if (line.p[i] <= ' ' || line.p[i] > '~')
			return refuse(ret_message, SLICE("OUTCOMED_SERVICE_TOKEN: a bearer token has visible ASCII characters and no spaces; make one with: openssl rand -hex 32"));
	return hash_sha256(line, ret) ? 0 : OC_NOMEM;
}

/* The next line that has something in it. */
static bool next_line(struct slice *rest, struct slice *ret)
{
	while (!slice_is_none(*rest)) {
		slice_split(*rest, '\n', ret, rest);
		while (ret->n && ret->p[ret->n - 1] == '\r')
			ret->n--;
		if (!slice_is_empty(*ret))
			return true;
	}
	return false;
}

static size_t count_lines(struct slice text)
{
	struct slice line;
	size_t n = 0;
	while (next_line(&text, &line))
		n++;
	return n;
}

int access_options_read(struct slice service_tokens, struct slice tenant_secrets, struct arena *a, struct access_options *ret, struct slice *ret_message)
{
	struct access_options o = { .service_count = count_lines(service_tokens), .tenant_count = count_lines(tenant_secrets) };
	unsigned char (*hashes)[32] = arena_calloc(a, o.service_count + 1, sizeof *hashes);
	struct slice *secrets = ARENA_ARRAY(a, struct slice, o.tenant_count + 1), line;
	int r = hashes && secrets ? 0 : OC_NOMEM;
	if (r == 0 && !slice_is_none(service_tokens) && o.service_count == 0)
		r = refuse(ret_message, SLICE("OUTCOMED_SERVICE_TOKEN is empty: set a long random text, or leave it out"));
	if (r == 0 && !slice_is_none(tenant_secrets) && o.tenant_count == 0)
		r = refuse(ret_message, SLICE("OUTCOMED_TENANT_SECRET is empty: make one with `openssl rand -hex 32`, or leave it out"));
	for (size_t i = 0; r == 0 && next_line(&service_tokens, &line); i++)
		r = read_service_token(line, hashes[i], ret_message);
	for (size_t i = 0; r == 0 && next_line(&tenant_secrets, &line); i++) {
		secrets[i] = line;
		if (line.n < ACCESS_LEAST_SECRET)
			r = refuse(ret_message, SLICE("OUTCOMED_TENANT_SECRET is shorter than 32 bytes: make one with `openssl rand -hex 32`"));
	}
	if (r)
		return r;
	o.service_hashes = (const unsigned char (*)[32])hashes;
	o.tenant_secrets = secrets;
	*ret = o;
	return 0;
}

struct slice access_first_token(struct slice service_tokens)
{
	struct slice line;
	while (next_line(&service_tokens, &line))
		if (!slice_starts_with(line, SLICE(ACCESS_HASH_PREFIX)))
			return line;
	return SLICE_NONE;
}

static bool is_service_token(const struct access_options *o, struct slice token)
{
	unsigned char hash[32];
	bool found = false;
	if (o->service_count == 0 || slice_is_empty(token) || !hash_sha256(token, hash))
		return false;
	for (size_t i = 0; i < o->service_count; i++)
		found |= equal_constant_time(hash, o->service_hashes[i], sizeof hash);
	return found;
}

bool access_has_secret(const struct access_options *o, struct slice secret)
{
	bool found = is_service_token(o, secret);
	for (size_t i = 0; i < o->tenant_count; i++)
		found |= slice_eq(o->tenant_secrets[i], secret);
	return found;
}

int access_hash_line(struct slice token, struct arena *a, struct slice *ret)
{
	unsigned char hash[32];
	const size_t n = sizeof ACCESS_HASH_PREFIX - 1;
	char *line = arena_alloc(a, n + 64);
	if (!line || !hash_sha256(token, hash))
		return OC_NOMEM;
	memcpy(line, ACCESS_HASH_PREFIX, n);
	hex_encode(hash, sizeof hash, line + n);
	*ret = slice_of(line, n + 64);
	return 0;
}

/* ---- who asks ---- */

/* The token of "Bearer TOKEN", or none. */
static struct slice bearer(struct slice authorization)
{
	struct slice scheme, token;
	if (slice_is_none(authorization) || !slice_split(slice_trim(authorization), ' ', &scheme, &token))
		return SLICE_NONE;
	return slice_eq_nocase(scheme, SLICE("Bearer")) ? slice_trim(token) : SLICE_NONE;
}

bool access_is_service(const struct access_options *o, struct slice authorization)
{
	return is_service_token(o, bearer(authorization));
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

static bool is_signed(const struct access_options *o, const struct jwt *t)
{
	bool matches = false;
	for (size_t i = 0; i < o->tenant_count; i++)
		matches |= jwt_mac_matches(t, o->tenant_secrets[i]);
	return matches;
}

/* What is wrong with a JWT that has our signature, or a negative number. */
static int fault_of(const struct access_options *o, const struct jwt_claims *claims, int64_t now_s)
{
	const struct {
		enum access_cause cause;
		bool holds;
	} checks[] = {
		{ ACCESS_CAUSE_NO_EXPIRY, claims->has_exp },
		{ ACCESS_CAUSE_EXPIRED, claims->exp_s > now_s - ACCESS_LEEWAY_S },
		{ ACCESS_CAUSE_NOT_YET, !claims->has_nbf || claims->nbf_s <= now_s + ACCESS_LEEWAY_S },
		{ ACCESS_CAUSE_ISSUER, slice_is_none(o->issuer) || (!slice_is_none(claims->iss) && slice_eq(claims->iss, o->issuer)) },
		{ ACCESS_CAUSE_AUDIENCE, slice_is_none(o->audience) || jwt_is_for(claims, o->audience) },
		{ ACCESS_CAUSE_SUBJECT, access_user_id_is_valid(claims->sub) },
	};
	for (size_t i = 0; i < sizeof checks / sizeof checks[0]; i++)
		if (!checks[i].holds)
			return (int)checks[i].cause;
	return -1;
}

/* The tenant that a JWT of ours names, or none and why. */
static struct slice tenant_of_jwt(const struct access_options *o, struct slice token, int64_t now_s, struct arena *a, enum access_cause *ret_cause)
{
	struct jwt jwt;
	*ret_cause = ACCESS_CAUSE_UNKNOWN;
	if (o->tenant_count == 0 || jwt_parse(token, a, &jwt) != OC_OK)
		return SLICE_NONE;
	*ret_cause = ACCESS_CAUSE_ALGORITHM;
	if (!jwt_is_hs256(&jwt))
		return SLICE_NONE;
	*ret_cause = ACCESS_CAUSE_SIGNATURE;
	if (!is_signed(o, &jwt))
		return SLICE_NONE;
	int fault = fault_of(o, &jwt.claims, now_s);
	if (fault < 0)
		return jwt.claims.sub;
	*ret_cause = (enum access_cause)fault;
	return SLICE_NONE;
}

/* Whom the token speaks for: *ret_tenant is none for a service token, and where none is needed. */
static enum access_result look_at_token(const struct access_options *o, struct slice authorization, int64_t now_s, struct arena *a,
	struct slice *ret_tenant, enum access_cause *ret_cause)
{
	struct slice token = bearer(authorization);
	*ret_tenant = SLICE_NONE;
	*ret_cause = ACCESS_CAUSE_NO_TOKEN;
	if (access_is_open(o))
		return ACCESS_OK;
	if (slice_is_none(authorization))
		return ACCESS_NO_TOKEN;
	*ret_cause = ACCESS_CAUSE_MALFORMED;
	if (slice_is_empty(token))
		return ACCESS_BAD_TOKEN;
	if (is_service_token(o, token))
		return ACCESS_OK;
	*ret_tenant = tenant_of_jwt(o, token, now_s, a, ret_cause);
	return slice_is_none(*ret_tenant) ? ACCESS_BAD_TOKEN : ACCESS_OK;
}

enum access_result access_decide(const struct access_options *o, struct slice authorization, struct slice user_id, int64_t now_s,
	struct arena *a, struct slice *ret_tenant, enum access_cause *ret_cause)
{
	bool named = !slice_is_none(user_id);
	struct slice tenant;
	enum access_result result = look_at_token(o, authorization, now_s, a, &tenant, ret_cause);
	if (result != ACCESS_OK)
		return result;
	*ret_cause = ACCESS_CAUSE_USER_ID;
	if (named && !access_user_id_is_valid(user_id))
		return ACCESS_BAD_USER_ID;
	if (!slice_is_none(tenant)) {
		*ret_cause = ACCESS_CAUSE_OTHER_TENANT;
		if (named && !slice_eq(user_id, tenant))
			return ACCESS_OTHER_TENANT;
		*ret_tenant = tenant;
		return ACCESS_OK;
	}
	if (!named)
		return access_is_open(o) ? ACCESS_WHO : ACCESS_NO_TENANT;
	*ret_tenant = user_id;
	return ACCESS_OK;
}
