/* Redaction: what comes out is JSON, and jansson's view of it is its view of the input without the secret members. Of any bytes nothing moves
 * and nothing more is found the second time. */
#include "must.h"

#include <string.h>

#include "view.h"
#include "wire/redact.h"

static bool is_listed(const char *key, const char *const *names)
{
	for (; *names; names++)
		if (strcmp(key, *names) == 0)
			return true;
	return false;
}

static bool is_placeholder(const json_t *value)
{
	const char *s = json_string_value(value);
	size_t n = s ? json_string_length(value) : 0;
	return n >= 3 && s[0] == '{' && strspn(s + 1, "abcdefghijklmnopqrstuvwxyz_") == n - 2 && s[n - 1] == '}';
}

/* Of a body with escapes the judge cannot tell how a placeholder was written; one that has them goes like any other value: `all`. */
static void remove_secrets(json_t *value, bool top, bool in_info, bool all)
{
	static const char *const everywhere[] = { "turnPassword", "turn_password", NULL };
	static const char *const inside[] = { "secret", "accessKey", "access_key", "sessionToken", "session_token", "password", "credentials",
		"accountKey", "account_key", "token", "signingKey", "signing_key", "streamKey", "stream_key", NULL };
	static const char *const infos[] = { "egressInfo", "egress_info", "ingressInfo", "ingress_info", NULL };
	const char *key;
	json_t *member;
	void *next;
	size_t i;
	json_array_foreach(value, i, member)
		remove_secrets(member, false, in_info, all);
	json_object_foreach_safe(value, next, key, member) {
		if (is_listed(key, everywhere) || (in_info && is_listed(key, inside) && (all || !is_placeholder(member))))
			json_object_del(value, key);
		else
			remove_secrets(member, false, in_info || (top && is_listed(key, infos)), all);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena *a = arena_new(16384);
	must(a);
	struct slice in = slice_of((const char *)data, size), out, again;
	int rc = redact_secrets(in, a, &out);
	must(rc == 0 || rc == OC_INVALID);
	if (rc == 0) {
		must(redact_secrets(out, a, &again) == 0);
		must(again.p == out.p && again.n == out.n);
		enum json_error_code why;
		json_t *before = view_of(in, &why), *after = view_of(out, &why);
		must(after || why == json_error_numeric_overflow);
		if (before && after) {
			bool escaped = in.n && memchr(in.p, '\\', in.n);
			remove_secrets(before, true, false, escaped);
			if (escaped)
				remove_secrets(after, true, false, true);
			must(json_equal(before, after));
		}
		json_decref(before);
		json_decref(after);
	}
	must(redact_bytes(in, a, &out) == 0 && out.n == in.n);
	must(redact_bytes(out, a, &again) == 0 && slice_eq(again, out));
	arena_free(a);
	return 0;
}
