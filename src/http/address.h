/* Addresses of clients: as the kernel gives them, as text, in groups that share one limit, in networks that are trusted.
 * IPv4 is kept mapped into IPv6 (RFC 4291, 2.5.5.2). Pure; any thread. */
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include "base/arena.h"
#include "base/error.h"

#define ADDRESS_TEXT_BYTES 48 /* with its NUL */

struct address {
	struct in6_addr ip; /* zero where is_ip is false */
	bool is_ip;         /* false: the peer of a Unix socket */
};

struct network {
	struct in6_addr ip; /* its bits beyond `bits` are zero */
	unsigned bits;      /* 0 to 128 */
};

/* Who is trusted to say for whom it speaks. */
struct networks {
	const struct network *items;
	size_t count;
	bool unix_sockets;
};

struct address address_of_socket(const struct sockaddr_storage *from);
/* 192.0.2.1, 2001:db8::1 or [2001:db8::1], the first and the last also with :PORT. False on anything else, also on names, zones and
 * numbers with leading zeros. */
bool address_parse(struct slice text, struct address *ret);
bool address_equal(struct address a, struct address b);
/* What shares one limit: an IPv4 address, or the /64 that one IPv6 subscriber has. */
struct address address_group(struct address a);
/* This machine: loopback, or a Unix socket. */
bool address_is_local(struct address a);
void address_write(struct address a, char *ret, size_t size); /* "unix" for a Unix socket */

/* "10.0.0.0/8, ::1, unix": networks and addresses separated by commas. OC_INVALID: *ret_bad is the part that is none (or has bits set
 * beyond its prefix); OC_NOMEM. */
OC_NODISCARD int networks_parse(struct slice text, struct arena *a, struct networks *ret, struct slice *ret_bad);
bool networks_have(const struct networks *n, struct address a);
