/* Tokens and the hashes under them. SHA-256 and HMAC are OpenSSL's, fetched once for the process; each thread keeps a context of each, because
 * making one costs more than hashing a token, and frees them when it ends. Any thread. */
#include "wire/jwt.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <pthread.h>
#include <stdlib.h>

#include "wire/jdoc.h"

/* ---- hashes ---- */

struct hasher {
	EVP_MD_CTX *sha256;
	EVP_MAC_CTX *hmac;
};

static pthread_once_t once = PTHREAD_ONCE_INIT;
static EVP_MD *sha256_md;
static EVP_MAC *hmac_mac;
static pthread_key_t at_thread_end;
static bool have_key;
static _Thread_local struct hasher *of_this_thread;

static void hasher_free(void *p)
{
	struct hasher *h = p;
	if (!h)
		return;
	EVP_MD_CTX_free(h->sha256);
	EVP_MAC_CTX_free(h->hmac);
	free(h);
}

/* OpenSSL does not look whether it could make its global context before it uses it. */
static void fetch(void)
{
	if (!OSSL_LIB_CTX_get0_global_default())
		return;
	sha256_md = EVP_MD_fetch(NULL, "SHA256", NULL);
	hmac_mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
	have_key = pthread_key_create(&at_thread_end, hasher_free) == 0;
}

static struct hasher *hasher_new(void)
{
	pthread_once(&once, fetch);
	struct hasher *h = sha256_md && hmac_mac && have_key ? calloc(1, sizeof *h) : NULL;
	if (!h)
		return NULL;
	h->sha256 = EVP_MD_CTX_new();
	h->hmac = EVP_MAC_CTX_new(hmac_mac);
	char digest[] = "SHA256";
	OSSL_PARAM params[] = { OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0), OSSL_PARAM_construct_end() };
	if (!h->sha256 || !h->hmac || !EVP_MAC_CTX_set_params(h->hmac, params) || pthread_setspecific(at_thread_end, h) != 0) {
		hasher_free(h);
		return NULL;
	}
	return h;
}

static struct hasher *hasher(void)
{
	if (!of_this_thread)
		of_this_thread = hasher_new();
	return of_this_thread;
}

bool hash_sha256(struct slice data, unsigned char ret[32])
{
	struct hasher *h = hasher();
	if (h && EVP_DigestInit_ex2(h->sha256, sha256_md, NULL) && EVP_DigestUpdate(h->sha256, data.p, data.n) &&
	    EVP_DigestFinal_ex(h->sha256, ret, NULL))
		return true;
	memset(ret, 0, 32);
	return false;
}

bool hash_hmac_sha256(struct slice key, struct slice data, unsigned char ret[32])
{
	struct hasher *h = hasher();
	size_t n = 0;
	const unsigned char *bytes = (const unsigned char *)(key.n ? key.p : "");
	return h && EVP_MAC_init(h->hmac, bytes, key.n, NULL) && EVP_MAC_update(h->hmac, (const unsigned char *)data.p, data.n) &&
	       EVP_MAC_final(h->hmac, ret, &n, 32) && n == 32;
}

int crypto_begin(void)
{
	unsigned char bytes[32];
	return hash_sha256(SLICE("x"), bytes) && hash_hmac_sha256(SLICE("x"), SLICE("x"), bytes) && RAND_bytes(bytes, sizeof bytes) == 1 ? 0 : OC_NOMEM;
}

bool equal_constant_time(const void *x, const void *y, size_t n) { return CRYPTO_memcmp(x, y, n) == 0; }

/* ---- text forms of bytes ---- */

static const char base64_std[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char base64_url[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

int base64_encode(struct slice data, bool url, struct arena *a, struct slice *ret)
{
	const char *alphabet = url ? base64_url : base64_std;
	if (data.n > SIZE_MAX / 2)
		return OC_NOMEM;
	char *out = arena_alloc(a, (data.n + 2) / 3 * 4);
	if (!out)
		return OC_NOMEM;
	const unsigned char *p = (const unsigned char *)data.p;
	size_t n = 0, i = 0;
	for (; data.n - i >= 3; i += 3) {
		uint32_t v = (uint32_t)p[i] << 16 | (uint32_t)p[i + 1] << 8 | p[i + 2];
		for (unsigned shift = 24; shift > 0; shift -= 6)
			out[n++] = alphabet[v >> (shift - 6) & 63];
	}
	size_t rest = data.n - i;
	if (rest) {
		uint32_t v = (uint32_t)p[i] << 16 | (rest == 2 ? (uint32_t)p[i + 1] << 8 : 0);
		out[n++] = alphabet[v >> 18 & 63];
		out[n++] = alphabet[v >> 12 & 63];
		if (rest == 2)
			out[n++] = alphabet[v >> 6 & 63];
		while (!url && n % 4)
			out[n++] = '=';
	}
	*ret = slice_of(out, n);
	return 0;
}

static int base64_value(char c, bool url)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	if (c == (url ? '-' : '+'))
		return 62;
	return c == (url ? '_' : '/') ? 63 : -1;
}

/* The unused bits of the last character must be zero: one value, one text. */
int base64_decode(struct slice text, bool url, struct arena *a, struct slice *ret)
{
	if (!url) {
		if (text.n % 4)
			return OC_INVALID;
		for (int i = 0; i < 2 && text.n && text.p[text.n - 1] == '='; i++)
			text.n--;
	}
	if (text.n % 4 == 1)
		return OC_INVALID;
	char *out = arena_alloc(a, text.n / 4 * 3 + 3);
	if (!out)
		return OC_NOMEM;
	size_t n = 0;
	uint32_t v = 0;
	unsigned bits = 0;
	for (size_t i = 0; i < text.n; i++) {
		int six = base64_value(text.p[i], url);
		if (six < 0)
			return OC_INVALID;
		v = v << 6 | (uint32_t)six;
		bits += 6;
		if (bits >= 8) {
			bits -= 8;
			out[n++] = (char)(v >> bits & 0xff);
		}
	}
	if (v & ((1u << bits) - 1))
		return OC_INVALID;
	*ret = slice_of(out, n);
	return 0;
}

void hex_encode(const unsigned char *data, size_t n, char *ret)
{
	static const char digits[] = "0123456789abcdef";
	for (size_t i = 0; i < n; i++) {
		ret[2 * i] = digits[data[i] >> 4];
		ret[2 * i + 1] = digits[data[i] & 15];
	}
}

/* ---- reading a token ---- */

#define NUMERIC_DATE_MAX INT64_C(253402300799) /* the year 9999 */

/* RFC 7519 section 2: a number of seconds, which may have a fraction; that is cut off. */
static bool read_date(const struct jdoc *j, uint32_t value, int64_t *ret)
{
	if (jdoc_type_of(j, value) != JDOC_NUMBER)
		return false;
	struct slice literal = jdoc_raw(j, value);
	int64_t v;
	enum jdoc_int how = jdoc_int64(literal, &v);
	if (how == JDOC_INT_FRACTION) {
		const char *point = memchr(literal.p, '.', literal.n);
		bool plain = point && !memchr(literal.p, 'e', literal.n) && !memchr(literal.p, 'E', literal.n);
		how = plain ? jdoc_int64(slice_of(literal.p, (size_t)(point - literal.p)), &v) : JDOC_INT_FRACTION;
	}
	if (how != JDOC_INT_OK || v < 0 || v > NUMERIC_DATE_MAX)
		return false;
	*ret = v;
	return true;
}

enum claim_kind { CLAIM_TEXT, CLAIM_DATE, CLAIM_AUDIENCE };

static const struct claim {
	struct slice name;
	enum claim_kind kind;
	size_t to, has;
} claims[] = {
#define TEXT(name_, member) { { name_, sizeof(name_) - 1 }, CLAIM_TEXT, offsetof(struct jwt_claims, member), 0 },
#define DATE(name_, member, flag) { { name_, sizeof(name_) - 1 }, CLAIM_DATE, offsetof(struct jwt_claims, member), offsetof(struct jwt_claims, flag) },
	TEXT("iss", iss)
	TEXT("sub", sub)
	TEXT("sha256", sha256)
	{ { "aud", 3 }, CLAIM_AUDIENCE, 0, 0 },
	DATE("exp", exp_s, has_exp)
	DATE("nbf", nbf_s, has_nbf)
	DATE("iat", iat_s, has_iat)
#undef TEXT
#undef DATE
};

/* One text, or an array of them, of which so many are kept as there is room for. */
static int read_audience(const struct jdoc *j, uint32_t value, struct arena *a, struct jwt_claims *c)
{
	bool many = jdoc_type_of(j, value) == JDOC_ARRAY;
	uint32_t at = many ? jdoc_first(j, value) : value, end = many ? jdoc_end(j, value) : value + 1;
	for (; at < end; at = jdoc_end(j, at)) {
		if (jdoc_type_of(j, at) != JDOC_STRING)
			return OC_INVALID;
		if (c->aud_count == JWT_AUDIENCES)
			continue;
		int rc = jdoc_text(j, at, a, &c->aud[c->aud_count++]);
		if (rc)
			return rc;
	}
	return 0;
}

static int read_claim(const struct jdoc *j, uint32_t value, const struct claim *claim, struct arena *a, struct jwt_claims *c)
{
	char *base = (char *)c;
	if (claim->kind == CLAIM_DATE) {
		*(bool *)(base + claim->has) = true;
		return read_date(j, value, (int64_t *)(void *)(base + claim->to)) ? 0 : OC_INVALID;
	}
	if (claim->kind == CLAIM_AUDIENCE)
		return read_audience(j, value, a, c);
	if (jdoc_type_of(j, value) != JDOC_STRING)
		return OC_INVALID;
	return jdoc_text(j, value, a, (struct slice *)(void *)(base + claim->to));
}

static int read_claims(const struct jdoc *j, struct arena *a, struct jwt_claims *ret)
{
	struct jwt_claims c = { .has_exp = false };
	for (size_t i = 0; i < sizeof claims / sizeof claims[0]; i++) {
		uint32_t value = jdoc_member(j, 0, claims[i].name);
		int rc = value ? read_claim(j, value, &claims[i], a, &c) : 0;
		if (rc)
			return rc;
	}
	*ret = c;
	return 0;
}

/* A part that is base64url of a JSON object without faults. */
static int read_part(struct slice part, struct arena *a, struct jdoc *ret)
{
	struct slice text;
	struct jdoc j;
	int rc = base64_decode(part, true, a, &text);
	if (!rc)
		rc = jdoc_parse(text, a, &j);
	if (rc)
		return rc;
	if (j.fault != JDOC_OK || jdoc_type_of(&j, 0) != JDOC_OBJECT)
		return OC_INVALID;
	*ret = j;
	return 0;
}

/* RFC 7515 section 4.1.11: who does not know a critical header must refuse it, and we know none; such a token has no alg for us. */
static int read_alg(const struct jdoc *header, struct arena *a, struct slice *ret)
{
	uint32_t alg = jdoc_member(header, 0, SLICE("alg"));
	if (jdoc_member(header, 0, SLICE("crit")) || !alg)
		return 0;
	return jdoc_type_of(header, alg) == JDOC_STRING ? jdoc_text(header, alg, a, ret) : OC_INVALID;
}

int jwt_parse(struct slice token, struct arena *a, struct jwt *ret)
{
	struct slice header_part, rest, payload_part, mac_part, mac;
	if (!slice_split(token, '.', &header_part, &rest) || !slice_split(rest, '.', &payload_part, &mac_part))
		return OC_INVALID;
	struct jdoc header, payload;
	struct jwt t = { .signed_part = slice_of(token.p, header_part.n + 1 + payload_part.n) };
	int rc = read_part(header_part, a, &header);
	if (!rc)
		rc = read_part(payload_part, a, &payload);
	if (!rc)
		rc = read_alg(&header, a, &t.alg);
	if (!rc)
		rc = read_claims(&payload, a, &t.claims);
	if (!rc)
		rc = base64_decode(mac_part, true, a, &mac);
	if (rc)
		return rc;
	if (mac.n != sizeof t.mac)
		return OC_INVALID;
	memcpy(t.mac, mac.p, mac.n);
	*ret = t;
	return 0;
}

bool jwt_is_for(const struct jwt_claims *c, struct slice audience)
{
	for (size_t i = 0; i < c->aud_count; i++)
		if (slice_eq(c->aud[i], audience))
			return true;
	return false;
}

bool jwt_is_hs256(const struct jwt *t) { return slice_eq(t->alg, SLICE("HS256")); }

bool jwt_mac_matches(const struct jwt *t, struct slice secret)
{
	unsigned char mac[32];
	return secret.n > 0 && hash_hmac_sha256(secret, t->signed_part, mac) && equal_constant_time(mac, t->mac, sizeof mac);
}

/* ---- making one ---- */

int jwt_sign(struct slice payload_json, struct slice secret, struct arena *a, struct slice *ret_token)
{
	static const char header[] = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9."; /* {"alg":"HS256","typ":"JWT"} */
	struct slice payload, mac_text;
	unsigned char mac[32];
	if (secret.n == 0)
		return OC_INVALID;
	int rc = base64_encode(payload_json, true, a, &payload);
	if (rc)
		return rc;
	size_t n = sizeof header - 1 + payload.n;
	char *token = arena_alloc(a, n + 1 + 43);
	if (!token)
		return OC_NOMEM;
	memcpy(token, header, sizeof header - 1);
	memcpy(token + sizeof header - 1, payload.p, payload.n);
	if (!hash_hmac_sha256(secret, slice_of(token, n), mac))
		return OC_NOMEM;
	rc = base64_encode(slice_of((char *)mac, sizeof mac), true, a, &mac_text);
	if (rc)
		return rc;
	token[n] = '.';
	memcpy(token + n + 1, mac_text.p, mac_text.n);
	*ret_token = slice_of(token, n + 1 + mac_text.n);
	return 0;
}
