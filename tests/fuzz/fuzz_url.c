/* A database's URL as messages show it: whatever stands before and behind, the password is not in it, neither the one before the "@" nor one among the
 * parameters, nor that of a text which is no URL at all. What has none is shown as it is. */
#include "must.h"

#include <string.h>

#include "base/buf.h"
#include "store/store.h"

#define CANARY "S3CR3T"

static void must_hide(struct buf *url, struct arena *a)
{
	struct slice shown;
	must(!buf_failed(url));
	must(store_url_for_log(buf_slice(url), a, &shown) == 0);
	must(!shown.n || !memmem(shown.p, shown.n, CANARY, sizeof CANARY - 1));
	buf_clear(url);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const schemes[] = { "postgresql://", "postgres://", "POSTGRES://" };
	struct slice text = slice_of((const char *)data, size), before, behind, shown;
	struct arena *a = arena_new(8192);
	_cleanup_buf_ struct buf b = BUF_INIT;
	must(a);
	if (size && memmem(data, size, CANARY, sizeof CANARY - 1)) { /* ours to put in */
		arena_free(a);
		return 0;
	}
	slice_split(text, '\n', &before, &behind);
	for (size_t i = 0; i < sizeof schemes / sizeof schemes[0]; i++) {
		buf_puts(&b, schemes[i]);
		buf_put(&b, before);
		buf_puts(&b, ":" CANARY);
		buf_put(&b, behind);
		buf_puts(&b, "@127.0.0.1/calls");
		must_hide(&b, a);
		buf_puts(&b, schemes[i]);
		buf_puts(&b, "127.0.0.1/calls?");
		if (before.n && !memchr(before.p, '?', before.n)) {
			buf_put(&b, before);
			buf_putc(&b, '&');
		}
		buf_puts(&b, "password=" CANARY);
		buf_put(&b, behind);
		must_hide(&b, a);
	}
	buf_puts(&b, "host=127.0.0.1 password=" CANARY " dbname=calls");
	must_hide(&b, a);
	must(store_url_for_log(text, a, &shown) == 0);
	if (!text.n || (!memchr(text.p, '@', text.n) && !memchr(text.p, '=', text.n)))
		must(slice_eq(shown, text));
	arena_free(a);
	return 0;
}
