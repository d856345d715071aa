/* LLVMFuzzerCustomMutator for targets whose input begins with a token, up to the first line's end: every second change is made in the claims or in the
 * header and the token is signed anew, so that the fuzzer gets behind the MAC; half of the hashes are those of the rest of the input. The other
 * changes are libFuzzer's own. The secret is that of the targets. */
#include <string.h>

#include "jwt_mutator.h"
#include "must.h"

#include "base/buf.h"
#include "wire/jwt.h"

static const char *const replacements[][2] = {
	{ "\"exp\":", "\"exp\":9223372036854775807,\"x\":" }, { "\"exp\":", "\"exp\":-1,\"x\":" }, { "\"exp\":", "\"exp\":1.795353146e9,\"x\":" },
	{ "\"exp\":", "\"EXP\":" }, { "\"nbf\":", "\"nbf\":99999999999,\"x\":" }, { "\"iss\":", "\"iss\":null,\"x\":" }, { "\"sub\":", "\"sub\":[],\"x\":" },
	{ "\"sub\":", "\"sub\":\"other\",\"x\":" }, { "}", ",\"aud\":[\"a\",\"b\"]}" }, { "}", ",\"exp\":1}" }, { "HS256", "none" }, { "HS256", "HS384" }, { "HS256", "hs256" },
	{ "}", ",\"crit\":[\"b64\"],\"b64\":false}" },
};

static void replace(struct slice text, const char *const pair[2], struct buf *to)
{
	const char *at = text.n ? memmem(text.p, text.n, pair[0], strlen(pair[0])) : NULL;
	if (!at) {
		buf_put(to, text);
		return;
	}
	buf_put(to, slice_of(text.p, (size_t)(at - text.p)));
	buf_puts(to, pair[1]);
	buf_put(to, slice_of(at + strlen(pair[0]), text.n - (size_t)(at - text.p) - strlen(pair[0])));
}

/* One change of a part: of its bytes, or a claim for another. */
static bool change_part(struct slice part, unsigned seed, struct arena *a, struct slice *ret)
{
	struct slice json;
	_cleanup_buf_ struct buf b = BUF_INIT;
	uint8_t *bytes;
	if (base64_decode(part, true, a, &json) != 0 || !(bytes = arena_alloc(a, json.n + 16)))
		return false;
	if (seed % 3 == 0) {
		if (json.n)
			memcpy(bytes, json.p, json.n);
		size_t n = LLVMFuzzerMutate(bytes, json.n, json.n + 16);
		return base64_encode(slice_of((char *)bytes, n), true, a, ret) == 0;
	}
	replace(json, replacements[(seed / 3) % (sizeof replacements / sizeof replacements[0])], &b);
	return !buf_failed(&b) && base64_encode(buf_slice(&b), true, a, ret) == 0;
}

static bool put_claims_of_body(struct slice body, struct arena *a, struct slice *ret)
{
	unsigned char hash[32];
	struct slice text;
	_cleanup_buf_ struct buf b = BUF_INIT;
	if (!hash_sha256(body, hash) || base64_encode(slice_of((char *)hash, 32), false, a, &text) != 0)
		return false;
	buf_putf(&b, "{\"exp\":1795353146,\"iss\":\"devkey\",\"nbf\":1795352846,\"sub\":\"acme\",\"sha256\":\"%.*s\"}", SLICE_FMT(text));
	return !buf_failed(&b) && base64_encode(buf_slice(&b), true, a, ret) == 0;
}

static size_t sign_anew(uint8_t *data, size_t size, size_t max_size, unsigned seed, struct arena *a)
{
	struct slice token, rest, header, claims, mac, made;
	unsigned char hash[32];
	_cleanup_buf_ struct buf b = BUF_INIT;
	bool more = slice_split(slice_of((char *)data, size), '\n', &token, &rest);
	if (!slice_split(token, '.', &header, &claims) || !slice_split(claims, '.', &claims, &mac))
		header = SLICE("eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9");
	bool changed = seed % 2 ? put_claims_of_body(more ? rest : SLICE(""), a, &claims) : change_part(claims, seed / 2, a, &claims);
	if (!changed || (seed % 16 == 0 && !change_part(header, seed / 16, a, &header)))
		return size;
	buf_put(&b, header);
	buf_putc(&b, '.');
	buf_put(&b, claims);
	if (buf_failed(&b) || !hash_hmac_sha256(SLICE(JWT_MUTATOR_SECRET), buf_slice(&b), hash) || base64_encode(slice_of((char *)hash, 32), true, a, &made) != 0)
		return size;
	buf_putc(&b, '.');
	buf_put(&b, made);
	if (more) {
		buf_putc(&b, '\n');
		buf_put(&b, rest);
	}
	if (buf_failed(&b) || b.n > max_size)
		return size;
	memcpy(data, b.p, b.n);
	return b.n;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
	if (seed % 2)
		return LLVMFuzzerMutate(data, size, max_size);
	_cleanup_arena_ struct arena *a = arena_new(8192);
	must(a);
	return sign_anew(data, size, max_size, seed / 2, a);
}
