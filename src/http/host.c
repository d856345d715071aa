/* Whose name is in a Host header? Where no token is configured, a browser on this machine must not be led here by a name that a stranger's
 * page has and that resolves to loopback (DNS rebinding). Pure; any thread. */
#include "http/internal.h"

/* Without its port. False where what follows the name is none. */
static bool without_port(struct slice host, struct slice *ret)
{
	struct slice name = host, port = SLICE_NONE;
	const char *bracket = host.n && host.p[0] == '[' ? memchr(host.p, ']', host.n) : NULL;
	if (bracket) {
		size_t n = (size_t)(bracket - host.p) + 1;
		name = slice_of(host.p, n);
		if (n < host.n && host.p[n] != ':')
			return false;
		if (n < host.n)
			port = slice_of(host.p + n + 1, host.n - n - 1);
	} else {
		slice_split(host, ':', &name, &port);
	}
	for (size_t i = 0; i < port.n; i++)
		if (port.p[i] < '0' || port.p[i] > '9')
			return false;
	*ret = name;
	return port.n <= 5;
}

bool host_is_own(struct slice host, struct slice allowed)
{
	struct slice name;
	struct address a;
	if (!without_port(host, &name) || slice_is_empty(name))
		return false;
	if (slice_eq_nocase(name, SLICE("localhost")) || (address_parse(name, &a) && address_is_local(a)))
		return true;
	for (struct slice one, rest = allowed; !slice_is_none(rest);) {
		slice_split(rest, ',', &one, &rest);
		if (slice_eq_nocase(slice_trim(one), name))
			return true;
	}
	return false;
}
