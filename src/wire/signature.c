/* The checks in the order that signature.h names them; the first that fails is the answer. The verdict of each is reached by one path for
 * serving and explaining alike. Everything that depends on a secret is compared in constant time, and nothing of the token is
 * believed before its MAC has matched, but for iss, which only chooses the key. Any thread; no state. */
#include "wire/signature.h"

#include <stdio.h>

#include "base/jsonw.h"
#include "wire/jwt.h"

struct checker {
	const struct keyring *ring;
	struct slice body;
	int64_t now_s;
	struct arena *arena;
	signature_say_fn say; /* or NULL */
	void *context;
	struct signature_result result;
};

/* Notes a check; true when it passed. */
static bool note(struct checker *c, enum signature_check check, bool pass, const char *detail)
{
	if (c->say)
		c->say(c->context, check, pass, detail);
	if (!pass)
		c->result.check = check;
	return pass;
}

/* What comes of a token that nobody has vouched for yet may be meant for the terminal it is shown on. */
static bool note_slice(struct checker *c, enum signature_check check, bool pass, const char *name, struct slice value)
{
	if (!c->say)
		return note(c, check, pass, NULL);
	char detail[160];
	struct slice shown = slice_of(value.p, value.n < 100 ? value.n : 100);
	snprintf(detail, sizeof detail, "%s %.*s", name, SLICE_FMT(shown));
	for (char *at = detail; *at; at++)
		if (*at < ' ' || *at > '~')
			*at = '?';
	return note(c, check, pass, detail);
}

static bool note_seconds(struct checker *c, enum signature_check check, bool pass, const char *text, int64_t seconds)
{
	if (!c->say)
		return note(c, check, pass, NULL);
	char detail[96];
	snprintf(detail, sizeof detail, text, (long long)seconds);
	return note(c, check, pass, detail);
}

static bool fail_for_memory(struct checker *c)
{
	c->result.error = OC_NOMEM;
	return false;
}

/* ---- the older module's form ---- */

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	char low = (char)(c | 0x20);
	return low >= 'a' && low <= 'f' ? low - 'a' + 10 : -1;
}

static bool read_hex32(struct slice s, unsigned char ret[32])
{
	if (s.n != 64)
		return false;
	for (size_t i = 0; i < 32; i++) {
		int high = hex_value(s.p[2 * i]), low = hex_value(s.p[2 * i + 1]);
		if (high < 0 || low < 0)
			return false;
		ret[i] = (unsigned char)(high * 16 + low);
	}
	return true;
}

/* The part of a JWT that its MAC is made of: "header.payload". A participant's token is such an HMAC under one of our secrets, and the
 * participant knows it; only what no token can be signed over proves anything. No JSON looks like it. */
static bool is_signed_part_of_token(struct slice body)
{
	size_t dots = 0;
	for (size_t i = 0; i < body.n; i++) {
		char c = body.p[i];
		bool base64url = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
		if (!base64url && c != '.')
			return false;
		dots += c == '.';
	}
	return dots > 0;
}

static bool check_hmac(struct checker *c, struct slice header)
{
	unsigned char claimed[32], mac[32];
	bool match = false, is_hex = read_hex32(slice_trim(header), claimed);
	if (is_signed_part_of_token(c->body))
		return note(c, SIGNATURE_HMAC, false, "the body is the signed part of a token, whose HMAC its holder knows");
	for (size_t i = 0; is_hex && i < c->ring->count; i++) {
		struct slice secret = c->ring->keys[i].secret;
		if (secret.n == 0)
			continue;
		if (!hash_hmac_sha256(secret, c->body, mac))
			return fail_for_memory(c);
		match |= equal_constant_time(mac, claimed, sizeof mac);
	}
	return note(c, SIGNATURE_HMAC, match, is_hex ? "HMAC-SHA256 of the body under one of our secrets" : "not 64 hex digits");
}

/* ---- the token ---- */

/* The token without an optional "Bearer ". */
static struct slice token_of(struct slice authorization)
{
	struct slice s = slice_trim(authorization), bearer = SLICE("Bearer ");
	if (s.n > bearer.n && slice_eq_nocase(slice_of(s.p, bearer.n), bearer))
		s = slice_trim(slice_of(s.p + bearer.n, s.n - bearer.n));
	return s;
}

static bool is_candidate(const struct signing_key *key, struct slice iss)
{
	return slice_is_none(key->id) || (!slice_is_none(iss) && slice_eq(key->id, iss));
}

static bool check_key(struct checker *c, const struct jwt *t)
{
	bool known = false, matches = false;
	for (size_t i = 0; i < c->ring->count; i++)
		known |= is_candidate(&c->ring->keys[i], t->claims.iss);
	if (!note_slice(c, SIGNATURE_UNKNOWN_KEY, known, "iss", t->claims.iss))
		return false;
	for (size_t i = 0; i < c->ring->count; i++) {
		const struct signing_key *key = &c->ring->keys[i];
		unsigned char mac[32];
		if (!is_candidate(key, t->claims.iss) || key->secret.n == 0)
			continue;
		if (!hash_hmac_sha256(key->secret, t->signed_part, mac))
			return fail_for_memory(c);
		matches |= equal_constant_time(mac, t->mac, sizeof mac);
	}
	return note(c, SIGNATURE_SECRET, matches, "HMAC-SHA256 of the token");
}

static bool check_times(struct checker *c, const struct jwt_claims *claims)
{
	if (!note(c, SIGNATURE_NO_EXPIRY, claims->has_exp, "exp"))
		return false;
	int64_t left = claims->exp_s - c->now_s;
	if (!note_seconds(c, SIGNATURE_EXPIRED, left + SIGNATURE_LEEWAY_S >= 0, "exp is %lld s from now", left))
		return false;
	int64_t begins = claims->has_nbf ? claims->nbf_s : claims->has_iat ? claims->iat_s : 0;
	if (claims->has_iat && claims->iat_s > begins)
		begins = claims->iat_s;
	c->result.issued_ago_s = begins ? c->now_s - begins : 0;
	return note_seconds(c, SIGNATURE_NOT_YET, begins <= c->now_s + SIGNATURE_LEEWAY_S, "signed %lld s ago", c->result.issued_ago_s);
}

static bool check_body(struct checker *c, struct slice claim)
{
	if (!note(c, SIGNATURE_NO_HASH, !slice_is_none(claim), "sha256"))
		return false;
	unsigned char hash[32];
	struct slice claimed = SLICE_NONE;
	int rc = base64_decode(claim, false, c->arena, &claimed);
	if (rc == OC_NOMEM || !hash_sha256(c->body, hash))
		return fail_for_memory(c);
	bool same = rc == 0 && claimed.n == sizeof hash && equal_constant_time(claimed.p, hash, sizeof hash);
	return note(c, SIGNATURE_BODY, same, "SHA-256 of the body");
}

static bool check_token(struct checker *c, struct slice authorization)
{
	struct jwt t;
	struct slice token = token_of(authorization);
	int rc = token.n > SIGNATURE_MAX_TOKEN ? OC_INVALID : jwt_parse(token, c->arena, &t);
	if (rc == OC_NOMEM)
		return fail_for_memory(c);
	if (!note(c, SIGNATURE_MALFORMED, rc == 0, "a JWT of three parts"))
		return false;
	if (!note_slice(c, SIGNATURE_ALGORITHM, jwt_is_hs256(&t), "alg", t.alg))
		return false;
	if (!check_key(c, &t) || !check_times(c, &t.claims) || !check_body(c, t.claims.sha256))
		return false;
	c->result.key_id = t.claims.iss;
	return true;
}

struct signature_result signature_explain(const struct keyring *ring, struct slice authorization, struct slice hmac_header,
	struct slice body, int64_t now_s, struct arena *a, signature_say_fn say, void *context)
{
	struct checker c = { .ring = ring, .body = body, .now_s = now_s, .arena = a, .say = say, .context = context };
	c.result.check = SIGNATURE_MALFORMED; /* refused until every check has passed, also when memory runs out */
	bool has_token = slice_trim(authorization).n > 0, has_hmac = slice_trim(hmac_header).n > 0;
	if (!note(&c, SIGNATURE_NO_HEADER, has_token || has_hmac, has_token ? "Authorization" : has_hmac ? "X-LiveKit-Signature" : "none"))
		return c.result;
	c.result.by_hmac = !has_token;
	bool genuine = has_token ? check_token(&c, authorization) :
		note(&c, SIGNATURE_WRONG_HEADER, ring->accept_hmac, "X-LiveKit-Signature") && check_hmac(&c, hmac_header);
	if (genuine)
		c.result.check = SIGNATURE_OK;
	return c.result;
}

struct signature_result signature_verify(const struct keyring *ring, struct slice authorization, struct slice hmac_header,
	struct slice body, int64_t now_s, struct arena *a)
{
	return signature_explain(ring, authorization, hmac_header, body, now_s, a, NULL, NULL);
}

/* ---- keys ---- */

int signature_sign(const struct signing_key *key, struct slice body, int64_t now_s, struct arena *a, struct slice *ret_token)
{
	unsigned char hash[32];
	struct slice sha256;
	if (key->secret.n == 0)
		return OC_INVALID;
	int rc = hash_sha256(body, hash) ? base64_encode(slice_of((char *)hash, sizeof hash), false, a, &sha256) : OC_NOMEM;
	if (rc)
		return rc;
	_cleanup_buf_ struct buf payload = BUF_INIT;
	struct jsonw w = JSONW(&payload);
	jw_obj(&w);
	if (!slice_is_none(key->id)) {
		jw_key(&w, "iss");
		jw_str(&w, key->id);
	}
	jw_key(&w, "exp");
	jw_int(&w, now_s + 300);
	jw_key(&w, "nbf");
	jw_int(&w, now_s);
	jw_key(&w, "iat");
	jw_int(&w, now_s);
	jw_key(&w, "sha256");
	jw_str(&w, sha256);
	jw_obj_end(&w);
	return buf_failed(&payload) ? OC_NOMEM : jwt_sign(buf_slice(&payload), key->secret, a, ret_token);
}

/* The next entry of the list and the rest. */
static struct slice next_entry(struct slice *rest)
{
	size_t n = 0;
	while (n < rest->n && rest->p[n] != '\n' && rest->p[n] != ',')
		n++;
	struct slice entry = slice_of(rest->p, n);
	*rest = n < rest->n ? slice_of(rest->p + n + 1, rest->n - n - 1) : SLICE_NONE;
	return slice_trim(entry);
}

int keyring_parse(struct slice text, struct arena *a, struct signing_key **ret_keys, size_t *ret_count)
{
	size_t most = 1, count = 0;
	for (size_t i = 0; i < text.n; i++)
		most += text.p[i] == '\n' || text.p[i] == ',';
	struct signing_key *keys = ARENA_ARRAY(a, struct signing_key, most);
	if (!keys)
		return OC_NOMEM;
	for (struct slice rest = text; !slice_is_none(rest);) {
		struct slice entry = next_entry(&rest), id, secret;
		if (entry.n == 0)
			continue;
		if (!slice_split(entry, ':', &id, &secret))
			return OC_INVALID;
		id = slice_trim(id);
		secret = slice_trim(secret);
		if (id.n == 0 || secret.n == 0)
			return OC_INVALID;
		if (!arena_copy(a, id, &keys[count].id) || !arena_copy(a, secret, &keys[count].secret))
			return OC_NOMEM;
		count++;
	}
	if (count == 0)
		return OC_INVALID;
	*ret_keys = keys;
	*ret_count = count;
	return 0;
}

static const struct {
	const char *name, *mend;
} checks[] = {
#define X(name, e, mend) [e] = { name, mend },
	SIGNATURE_CHECKS(X)
#undef X
};

const char *signature_check_name(enum signature_check c) { return checks[c].name; }
const char *signature_check_mend(enum signature_check c) { return checks[c].mend; }
