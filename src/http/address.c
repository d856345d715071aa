#include "http/address.h"

#include <arpa/inet.h>
#include <stdio.h>

#define V4_PREFIX_BITS 96 /* of a mapped address */

static struct in6_addr mapped(const void *v4)
{
	struct in6_addr ip = { .s6_addr = { [10] = 0xff, [11] = 0xff } };
	memcpy(&ip.s6_addr[12], v4, 4);
	return ip;
}

struct address address_of_socket(const struct sockaddr_storage *from)
{
	struct address a = { .is_ip = false };
	if (from->ss_family == AF_INET) {
		a.ip = mapped(&((const struct sockaddr_in *)(const void *)from)->sin_addr);
		a.is_ip = true;
	} else if (from->ss_family == AF_INET6) {
		a.ip = ((const struct sockaddr_in6 *)(const void *)from)->sin6_addr;
		a.is_ip = true;
	}
	return a;
}

static bool is_small_number(struct slice s)
{
	int64_t port;
	return s.n >= 1 && s.n <= 5 && s.p[0] >= '0' && s.p[0] <= '9' && slice_to_int64(s, &port) && port <= 65535;
}

static bool parse_plain(struct slice text, int family, struct in6_addr *ret)
{
	char z[INET6_ADDRSTRLEN];
	unsigned char bytes[16];
	if (text.n < 1 || text.n >= sizeof z || memchr(text.p, '\0', text.n))
		return false;
	memcpy(z, text.p, text.n);
	z[text.n] = '\0';
	if (inet_pton(family, z, bytes) != 1)
		return false;
	if (family == AF_INET)
		*ret = mapped(bytes);
	else
		memcpy(ret, bytes, sizeof bytes);
	return true;
}

static bool parse_bracketed(struct slice text, struct in6_addr *ret)
{
	const char *end = memchr(text.p, ']', text.n);
	if (!end)
		return false;
	struct slice rest = slice_of(end + 1, text.n - (size_t)(end + 1 - text.p));
	if (rest.n && (rest.p[0] != ':' || !is_small_number(slice_of(rest.p + 1, rest.n - 1))))
		return false;
	return parse_plain(slice_of(text.p + 1, (size_t)(end - text.p) - 1), AF_INET6, ret);
}

bool address_parse(struct slice text, struct address *ret)
{
	struct in6_addr ip;
	bool parsed;
	if (slice_is_empty(text))
		return false;
	if (text.p[0] == '[') {
		parsed = parse_bracketed(text, &ip);
	} else if (memchr(text.p, '.', text.n) && text.p[0] != ':') {
		struct slice host, port;
		bool has_port = slice_split(text, ':', &host, &port);
		parsed = parse_plain(host, AF_INET, &ip) && (!has_port || is_small_number(port));
		parsed = parsed || parse_plain(text, AF_INET6, &ip); /* 64:ff9b::192.0.2.1 */
	} else {
		parsed = parse_plain(text, AF_INET6, &ip);
	}
	if (parsed)
		*ret = (struct address){ .ip = ip, .is_ip = true };
	return parsed;
}

bool address_equal(struct address a, struct address b)
{
	return a.is_ip == b.is_ip && memcmp(&a.ip, &b.ip, sizeof a.ip) == 0;
}

struct address address_group(struct address a)
{
	if (a.is_ip && !IN6_IS_ADDR_V4MAPPED(&a.ip))
		memset(&a.ip.s6_addr[8], 0, 8);
	return a;
}

bool address_is_local(struct address a)
{
	return !a.is_ip || IN6_IS_ADDR_LOOPBACK(&a.ip) || (IN6_IS_ADDR_V4MAPPED(&a.ip) && a.ip.s6_addr[12] == 127);
}

void address_write(struct address a, char *ret, size_t size)
{
	const void *bytes = IN6_IS_ADDR_V4MAPPED(&a.ip) ? &a.ip.s6_addr[12] : a.ip.s6_addr;
	if (!a.is_ip || !inet_ntop(IN6_IS_ADDR_V4MAPPED(&a.ip) ? AF_INET : AF_INET6, bytes, ret, (socklen_t)size))
		snprintf(ret, size, "%s", a.is_ip ? "" : "unix");
}

static bool same_bits(const struct in6_addr *a, const struct in6_addr *b, unsigned bits)
{
	unsigned whole = bits / 8, rest = bits % 8;
	if (memcmp(a, b, whole) != 0)
		return false;
	return rest == 0 || ((a->s6_addr[whole] ^ b->s6_addr[whole]) >> (8 - rest)) == 0;
}

static bool parse_network(struct slice text, struct network *ret)
{
	struct slice ip, prefix;
	struct network n = { .bits = 0 };
	bool has_prefix = slice_split(text, '/', &ip, &prefix), v4 = !slice_is_empty(ip) && !memchr(ip.p, ':', ip.n);
	int64_t most = v4 ? 32 : 128, bits = most;
	if (!parse_plain(ip, v4 ? AF_INET : AF_INET6, &n.ip) || (!v4 && IN6_IS_ADDR_V4MAPPED(&n.ip)))
		return false;
	if (has_prefix && (!is_small_number(prefix) || !slice_to_int64(prefix, &bits) || bits > most))
		return false;
	n.bits = (unsigned)bits + (v4 ? V4_PREFIX_BITS : 0);
	for (unsigned i = n.bits; i < 128; i++)
		if (n.ip.s6_addr[i / 8] & (0x80u >> i % 8))
			return false;
	*ret = n;
	return true;
}

int networks_parse(struct slice text, struct arena *a, struct networks *ret, struct slice *ret_bad)
{
	size_t most = 1;
	for (size_t i = 0; i < text.n; i++)
		most += text.p[i] == ',';
	struct network *items = ARENA_ARRAY(a, struct network, most);
	if (!items)
		return OC_NOMEM;
	struct networks n = { .items = items };
	for (struct slice part, rest = text; !slice_is_none(rest);) {
		slice_split(rest, ',', &part, &rest);
		part = slice_trim(part);
		if (slice_eq(part, SLICE("unix"))) {
			n.unix_sockets = true;
		} else if (!parse_network(part, &items[n.count])) {
			*ret_bad = part;
			return OC_INVALID;
		} else {
			n.count++;
		}
	}
	*ret = n;
	return OC_OK;
}

bool networks_have(const struct networks *n, struct address a)
{
	if (!a.is_ip)
		return n->unix_sockets;
	for (size_t i = 0; i < n->count; i++)
		if (same_bits(&n->items[i].ip, &a.ip, n->items[i].bits))
			return true;
	return false;
}
