/* LIVEKIT_KEYS: every pair that is taken has a name and a secret without blanks around them, there are as many as entries by another count, and
 * written again they are read as the same. A genuine token of any of them is verified by the ring, and of no other secret. */
#include "must.h"

#include "base/buf.h"
#include "wire/signature.h"

static size_t entries_in(const char *text, size_t n)
{
	size_t count = 0;
	bool inside = false;
	for (size_t i = 0; i <= n; i++) {
		bool separator = i == n || text[i] == '\n' || text[i] == ',', blank = !separator && strchr(" \t\r", text[i]) && text[i];
		count += inside && separator;
		inside = !separator && (inside || !blank);
	}
	return count;
}

static void check_pair(const struct signing_key *k)
{
	must(k->id.n > 0 && k->secret.n > 0);
	must(slice_eq(slice_trim(k->id), k->id) && slice_eq(slice_trim(k->secret), k->secret));
	must(!memchr(k->id.p, ':', k->id.n));
	must(!memchr(k->secret.p, '\n', k->secret.n) && !memchr(k->secret.p, ',', k->secret.n));
}

static void check_signing(const struct signing_key *keys, size_t count, struct arena *a)
{
	const struct keyring ring = { keys, count, false };
	const struct signing_key stranger = { keys[0].id, SLICE("another secret than any that the fuzzer has") };
	struct slice body = SLICE("{}"), token;
	if (!slice_is_utf8(keys[0].id) || memchr(keys[0].id.p, 0, keys[0].id.n))
		return;
	must(signature_sign(&keys[0], body, 1795352846, a, &token) == 0);
	if (token.n <= SIGNATURE_MAX_TOKEN)
		must(signature_verify(&ring, token, SLICE_NONE, body, 1795352846, a).check == SIGNATURE_OK);
	must(signature_sign(&stranger, body, 1795352846, a, &token) == 0);
	must(signature_verify(&ring, token, SLICE_NONE, body, 1795352846, a).check != SIGNATURE_OK);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena *a = arena_new(8192);
	struct signing_key *keys, *again;
	size_t count, count_again;
	_cleanup_buf_ struct buf b = BUF_INIT;
	must(a);
	int r = keyring_parse(slice_of((const char *)data, size), a, &keys, &count);
	must(r == 0 || r == OC_INVALID);
	if (r == 0) {
		must(count > 0 && count == entries_in((const char *)data, size));
		for (size_t i = 0; i < count; i++) {
			check_pair(&keys[i]);
			buf_put(&b, keys[i].id);
			buf_puts(&b, ": ");
			buf_put(&b, keys[i].secret);
			buf_puts(&b, i % 2 ? " \n" : ",");
		}
		must(keyring_parse(buf_slice(&b), a, &again, &count_again) == 0 && count_again == count);
		for (size_t i = 0; i < count; i++)
			must(slice_eq(keys[i].id, again[i].id) && slice_eq(keys[i].secret, again[i].secret));
		check_signing(keys, count, a);
	}
	arena_free(a);
	return 0;
}
