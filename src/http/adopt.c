/* A listening socket that somebody else opened and passes on (a service manager, over restarts): looked at, never bound, never removed.
 * It stays open with its owner when we close our end, so whoever connects meanwhile waits in its queue. At start, one thread. */
#include "http/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>

union socket_address {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
	struct sockaddr_un un;
	struct sockaddr_storage storage;
};

static bool address_of(int fd, union socket_address *ret, socklen_t *ret_n)
{
	memset(ret, 0, sizeof *ret);
	*ret_n = sizeof *ret;
	return getsockname(fd, &ret->any, ret_n) == 0;
}

bool http_socket_is_local(int fd)
{
	union socket_address at;
	socklen_t n;
	if (!address_of(fd, &at, &n))
		return false;
	switch (at.any.sa_family) {
	case AF_UNIX: return true;
	case AF_INET: return ntohl(at.v4.sin_addr.s_addr) >> 24 == 127;
	case AF_INET6: return IN6_IS_ADDR_LOOPBACK(&at.v6.sin6_addr);
	}
	return false;
}

static bool option_is(int fd, int option, int wanted)
{
	int value = 0;
	socklen_t n = sizeof value;
	return getsockopt(fd, SOL_SOCKET, option, &value, &n) == 0 && value == wanted;
}

/* An abstract Unix socket's name begins with NUL and is shown with @ for it. */
static void put_address(struct listener *l, const union socket_address *at, socklen_t n)
{
	char host[INET6_ADDRSTRLEN] = "", port[8] = "";
	if (at->any.sa_family == AF_UNIX) {
		size_t length = n > offsetof(struct sockaddr_un, sun_path) ? n - offsetof(struct sockaddr_un, sun_path) : 0;
		bool abstract = length > 1 && !at->un.sun_path[0];
		snprintf(l->address, sizeof l->address, "unix:%s%.*s", abstract ? "@" : "", (int)(length - abstract), at->un.sun_path + abstract);
		return;
	}
	getnameinfo(&at->any, n, host, sizeof host, port, sizeof port, NI_NUMERICHOST | NI_NUMERICSERV);
	snprintf(l->address, sizeof l->address, at->any.sa_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host, port);
}

int listener_adopt(int fd, struct listener *ret, struct slice *ret_message)
{
	struct listener l = { .fd = fd, .local = http_socket_is_local(fd), .path = "" };
	union socket_address at;
	socklen_t n;
	int flags = fcntl(fd, F_GETFL);
	if (flags < 0 || !address_of(fd, &at, &n)) {
		*ret_message = SLICE("the socket that was passed (LISTEN_FDS) cannot be used: is it one?");
		return OC_CONFIG;
	}
	bool family = at.any.sa_family == AF_UNIX || at.any.sa_family == AF_INET || at.any.sa_family == AF_INET6;
	if (!family || !option_is(fd, SO_TYPE, SOCK_STREAM) || !option_is(fd, SO_ACCEPTCONN, 1)) {
		*ret_message = SLICE("the socket that was passed (LISTEN_FDS) is no listening stream socket: use ListenStream= and Accept=no in the socket unit");
		return OC_CONFIG;
	}
	if (fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) != 0) {
		*ret_message = SLICE("the socket that was passed (LISTEN_FDS) cannot be set up");
		return OC_NET;
	}
	l.is_unix = at.any.sa_family == AF_UNIX;
	put_address(&l, &at, n);
	*ret = l;
	return OC_OK;
}
