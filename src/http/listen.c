/* Where to listen: ADDR:PORT, [V6]:PORT or unix:PATH, made into a listening socket. At start, one thread. */
#include "http/internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG 1024
#define UNIX_MODE 0660

struct place {
	bool is_unix;
	struct slice path, host, port; /* host without its brackets, empty = every address */
};

static bool place_parse(struct slice text, struct place *ret)
{
	static const struct slice unix_prefix = { "unix:", 5 };
	*ret = (struct place){ .is_unix = slice_starts_with(text, unix_prefix) };
	if (ret->is_unix) {
		ret->path = slice_of(text.p + unix_prefix.n, text.n - unix_prefix.n);
		return ret->path.n > 0 && ret->path.n < sizeof((struct sockaddr_un *)0)->sun_path && !memchr(ret->path.p, '\0', ret->path.n);
	}
	const char *colon = text.n ? memrchr(text.p, ':', text.n) : NULL;
	if (!colon)
		return false;
	ret->host = slice_of(text.p, (size_t)(colon - text.p));
	ret->port = slice_of(colon + 1, text.n - ret->host.n - 1);
	if (ret->host.n >= 2 && ret->host.p[0] == '[' && ret->host.p[ret->host.n - 1] == ']')
		ret->host = slice_of(ret->host.p + 1, ret->host.n - 2);
	else if (ret->host.n && memchr(ret->host.p, ':', ret->host.n))
		return false;
	int64_t port;
	return ret->port.n && ret->port.n <= 5 && slice_to_int64(ret->port, &port) && port >= 0 && port <= 65535 && ret->host.n < 256 &&
	       !memchr(text.p, '\0', text.n);
}

bool http_listen_is_local(struct slice listen)
{
	struct place place;
	if (!place_parse(listen, &place))
		return false;
	if (place.is_unix || slice_eq_nocase(place.host, SLICE("localhost")))
		return true;
	char host[256];
	struct in_addr v4;
	struct in6_addr v6;
	snprintf(host, sizeof host, "%.*s", SLICE_FMT(place.host));
	if (inet_pton(AF_INET, host, &v4) == 1)
		return ntohl(v4.s_addr) >> 24 == 127;
	return inet_pton(AF_INET6, host, &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}

static void say(struct arena *a, struct slice *ret_message, const char *format, ...) __attribute__((format(printf, 3, 4)));
static void say(struct arena *a, struct slice *ret_message, const char *format, ...)
{
	char text[512];
	va_list args;
	va_start(args, format);
	vsnprintf(text, sizeof text, format, args);
	va_end(args);
	if (!arena_copy(a, slice_cstr(text), ret_message))
		*ret_message = SLICE("out of memory");
}

static int failed(int fd, struct slice text, struct arena *a, struct slice *ret_message)
{
	int error = errno;
	if (fd >= 0)
		close(fd);
	switch (error) {
	case EADDRINUSE:
		say(a, ret_message, "cannot listen on %.*s: another process does; stop it (ss -ltnp shows it) or choose another with --listen",
		    SLICE_FMT(text));
		break;
	case EACCES:
		say(a, ret_message, "cannot listen on %.*s: not permitted; choose a port above 1023, or a folder that this user may write",
		    SLICE_FMT(text));
		break;
	case EADDRNOTAVAIL:
		say(a, ret_message, "cannot listen on %.*s: this machine does not have that address; `ip addr` lists what it has",
		    SLICE_FMT(text));
		break;
	default: say(a, ret_message, "cannot listen on %.*s: %s", SLICE_FMT(text), strerror(error)); break;
	}
	return OC_NET;
}

/* Removes the socket of a server that has died; one that lives keeps it. */
static bool clear_stale_socket(const struct sockaddr_un *address)
{
	struct stat status;
	if (lstat(address->sun_path, &status) != 0 || !S_ISSOCK(status.st_mode))
		return true;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return false;
	bool alive = connect(fd, (const struct sockaddr *)address, sizeof *address) == 0 || errno != ECONNREFUSED;
	close(fd);
	if (alive) {
		errno = EADDRINUSE;
		return false;
	}
	return unlink(address->sun_path) == 0 || errno == ENOENT;
}

static int open_unix(struct slice text, const struct place *place, struct arena *a, struct listener *ret, struct slice *ret_message)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	memcpy(address.sun_path, place->path.p, place->path.n);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 || !clear_stale_socket(&address))
		return failed(fd, text, a, ret_message);
	mode_t before = umask(0777 & ~UNIX_MODE); /* from its first moment; there is one thread yet */
	int bound = bind(fd, (const struct sockaddr *)&address, sizeof address);
	int error = errno;
	umask(before);
	errno = error;
	if (bound != 0)
		return failed(fd, text, a, ret_message);
	if (listen(fd, BACKLOG) != 0) {
		error = errno;
		unlink(address.sun_path);
		errno = error;
		return failed(fd, text, a, ret_message);
	}
	ret->is_unix = true;
	memcpy(ret->path, address.sun_path, sizeof ret->path);
	snprintf(ret->address, sizeof ret->address, "unix:%s", ret->path);
	ret->fd = fd;
	return OC_OK;
}

static int try_address(const struct addrinfo *at)
{
	int on = 1, off = 0;
	int fd = socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -1;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	if (at->ai_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off); /* [::] is every address, also IPv4 */
	if (bind(fd, at->ai_addr, at->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0)
		return fd;
	int error = errno;
	close(fd);
	errno = error;
	return -1;
}

static void set_address_text(struct listener *l)
{
	struct sockaddr_storage address = { .ss_family = AF_UNSPEC };
	socklen_t n = sizeof address;
	char host[INET6_ADDRSTRLEN] = "", port[8] = "";
	if (getsockname(l->fd, (struct sockaddr *)&address, &n) == 0)
		getnameinfo((const struct sockaddr *)&address, n, host, sizeof host, port, sizeof port, NI_NUMERICHOST | NI_NUMERICSERV);
	snprintf(l->address, sizeof l->address, address.ss_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host, port);
}

static int open_tcp(struct slice text, const struct place *place, struct arena *a, struct listener *ret, struct slice *ret_message)
{
	char host[256], port[8];
	struct addrinfo *found, hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV };
	snprintf(host, sizeof host, "%.*s", SLICE_FMT(place->host));
	snprintf(port, sizeof port, "%.*s", SLICE_FMT(place->port));
	int error = getaddrinfo(host[0] ? host : NULL, port, &hints, &found);
	if (error != 0) {
		say(a, ret_message, "cannot listen on %.*s: %s; give an address of this machine", SLICE_FMT(text), gai_strerror(error));
		return OC_NET;
	}
	int fd = -1;
	for (const struct addrinfo *at = found; at && fd < 0; at = at->ai_next)
		fd = try_address(at);
	error = errno;
	freeaddrinfo(found);
	errno = error;
	if (fd < 0)
		return failed(-1, text, a, ret_message);
	ret->fd = fd;
	set_address_text(ret);
	return OC_OK;
}

int listener_open(struct slice text, struct arena *message_arena, struct listener *ret, struct slice *ret_message)
{
	struct place place;
	if (!place_parse(text, &place)) {
		say(message_arena, ret_message, "--listen %.*s is not ADDR:PORT, [V6]:PORT or unix:PATH", SLICE_FMT(text));
		return OC_CONFIG;
	}
	struct listener l = { .fd = -1, .local = http_listen_is_local(text) };
	int r = place.is_unix ? open_unix(text, &place, message_arena, &l, ret_message)
			      : open_tcp(text, &place, message_arena, &l, ret_message);
	if (r == OC_OK)
		*ret = l;
	return r;
}

void listener_close(struct listener *l)
{
	if (l->fd < 0)
		return;
	close(l->fd);
	l->fd = -1;
	if (l->path[0])
		unlink(l->path);
}
