/* X-Forwarded-For, Forwarded and Host: the input is the two headers, separated by a line feed. Whatever a stranger writes, he is the one whom the
 * trusted proxy saw; a peer that is not trusted speaks for itself; an address that is read can be written and read again. */
#include "must.h"

#include <arpa/inet.h>

#include "http/forwarded.h"
#include "http/internal.h"

static const struct network ten = { .ip.s6_addr = { [10] = 0xff, [11] = 0xff, [12] = 10 }, .bits = 104 };
static const struct networks trusted = { .items = &ten, .count = 1 };

static struct address address(const char *text)
{
	struct address a;
	must(address_parse(slice_cstr(text), &a));
	return a;
}

static void check_address(struct slice text)
{
	struct address a, again;
	char written[ADDRESS_TEXT_BYTES];
	if (!address_parse(text, &a))
		return;
	must(a.is_ip);
	address_write(a, written, sizeof written);
	must(address_parse(slice_cstr(written), &again) && address_equal(a, again));
	must(address_equal(address_group(a), address_group(address_group(a))));
}

static void check_networks(struct slice text, struct arena *a)
{
	struct networks n;
	struct slice bad = SLICE_NONE;
	int r = networks_parse(text, a, &n, &bad);
	must(r == OC_OK || r == OC_INVALID);
	if (r == OC_INVALID) {
		must(bad.n <= text.n);
		return;
	}
	for (size_t i = 0; i < n.count; i++)
		must(n.items[i].bits <= 128 && networks_have(&n, (struct address){ .ip = n.items[i].ip, .is_ip = true }));
}

static struct slice with(struct slice text, const char *more, struct arena *a)
{
	size_t n = strlen(more);
	char *both = arena_alloc(a, text.n + n);
	must(both);
	memcpy(both, text.p, text.n);
	memcpy(both + text.n, more, n);
	return slice_of(both, text.n + n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_arena_ struct arena *a = arena_new(4096);
	must(a);
	struct slice x, f;
	slice_split(slice_of((const char *)data, size), '\n', &x, &f);
	if (!size)
		x = SLICE("");
	const struct address proxy = address("10.0.0.1"), stranger = address("203.0.113.9");
	must(address_equal(forwarded_client(&trusted, stranger, x, f), stranger));
	(void)forwarded_client(&trusted, proxy, x, f);
	must(address_equal(forwarded_client(&trusted, proxy, with(x, ",203.0.113.9", a), SLICE_NONE), stranger));
	if (!slice_is_none(f)) {
		struct address seen = forwarded_client(&trusted, proxy, SLICE_NONE, with(f, ",for=203.0.113.9", a));
		must(address_equal(seen, stranger) || address_equal(seen, proxy));
		seen = forwarded_client(&trusted, proxy, with(x, ", 203.0.113.9", a), with(f, ", for=203.0.113.9", a));
		must(address_equal(seen, stranger) || address_equal(seen, proxy));
	}
	check_address(x);
	check_networks(x, a);
	if (host_is_own(x, SLICE_NONE))
		must(x.n <= 64 && (slice_eq_nocase(slice_of(x.p, x.n < 9 ? x.n : 9), SLICE("localhost")) || memchr(x.p, ':', x.n) || memchr(x.p, '.', x.n)));
	return 0;
}
