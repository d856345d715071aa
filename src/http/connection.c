/* One TCP connection: its states, its deadlines, its place in the server's list.
 *
 * Ordering: the acceptor makes a connection and lists it before a worker knows it; libmicrohttpd's "closed" callback takes it off the list,
 * under the lock, before the descriptor is closed. So whoever holds the lock and sees a connection in the list may use its descriptor.
 * The rest of a connection belongs to its worker, or, from connection_suspend to connection_resume, to the writer or a reader. */
#include "http/internal.h"

#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"

#define MS_NS 1000000
#define EVICT_IDLE_NS 1000000000
#define LEFT_ALONE_NS 500000000

static void set_address(struct connection *c, const struct sockaddr_storage *from)
{
	if (from->ss_family == AF_INET) {
		const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)from;
		c->address.s6_addr[10] = c->address.s6_addr[11] = 0xff;
		memcpy(&c->address.s6_addr[12], &v4->sin_addr, 4);
		c->has_address = true;
	} else if (from->ss_family == AF_INET6) {
		const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)from;
		bool mapped = IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr);
		memcpy(&c->address, &v6->sin6_addr, mapped ? 16 : 8); /* one subscriber has 2^64 of them */
		c->has_address = true;
	}
}

/* Under the lock. */
static void unlist(struct connection *c)
{
	struct http_server *s = c->server;
	if (c->previous)
		c->previous->next = c->next;
	else
		s->connections = c->next;
	if (c->next)
		c->next->previous = c->previous;
	s->by_fd[c->fd] = NULL;
	s->connection_count--;
}

static void connection_free(struct connection *c)
{
	arena_free(c->arena);
	buf_done(&c->body);
	buf_done(&c->request.reply.body);
	free(c);
}

struct connection *connection_new(struct http_server *s, int fd, const struct sockaddr_storage *address)
{
	struct connection *c = calloc(1, sizeof *c);
	if (!c)
		return NULL;
	c->server = s;
	c->fd = fd;
	c->request.refusal = REFUSAL_NONE;
	set_address(c, address);
	atomic_init(&c->state, CONNECTION_IDLE);
	atomic_init(&c->since_ns, clock_mono_ns());
	pthread_mutex_lock(&s->connections_lock);
	/* A connection that libmicrohttpd dropped before it told us of it: its descriptor has come back. */
	struct connection *dropped = s->by_fd[fd];
	if (dropped)
		unlist(dropped);
	c->next = s->connections;
	if (c->next)
		c->next->previous = c;
	s->connections = s->by_fd[fd] = c;
	s->connection_count++;
	pthread_mutex_unlock(&s->connections_lock);
	if (dropped)
		connection_free(dropped);
	return c;
}

void connection_discard(struct connection *c)
{
	struct http_server *s = c->server;
	pthread_mutex_lock(&s->connections_lock);
	unlist(c);
	pthread_mutex_unlock(&s->connections_lock);
	if (atomic_exchange(&s->full, false)) {
		uint64_t one = 1;
		ssize_t written = write(s->wake_fd, &one, sizeof one);
		(void)written; /* full: it is awake already */
	}
	connection_free(c);
}

void connection_notify(void *server, struct MHD_Connection *mhd, void **socket_context, enum MHD_ConnectionNotificationCode code)
{
	struct http_server *s = server;
	switch (code) {
	case MHD_CONNECTION_NOTIFY_STARTED: {
		const union MHD_ConnectionInfo *fd = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD);
		pthread_mutex_lock(&s->connections_lock);
		struct connection *c = s->by_fd[fd->connect_fd];
		pthread_mutex_unlock(&s->connections_lock);
		c->mhd = mhd;
		atomic_store(&c->started, true);
		*socket_context = c;
		metric_add(s->metrics, METRIC_HTTP_CONNECTIONS, 0, 1);
		return;
	}
	case MHD_CONNECTION_NOTIFY_CLOSED:
		metric_add(s->metrics, METRIC_HTTP_CONNECTIONS, 0, -1);
		connection_discard(*socket_context);
		*socket_context = NULL;
		return;
	}
}

void connection_change_state(struct connection *c, enum connection_state to)
{
	enum connection_state from = (enum connection_state)atomic_load_explicit(&c->state, memory_order_relaxed);
	bool possible = false;
	switch (to) {
	case CONNECTION_IDLE: possible = from != CONNECTION_IDLE && from != CONNECTION_WAITING; break;
	case CONNECTION_HEAD: possible = from == CONNECTION_IDLE; break;
	case CONNECTION_BODY: possible = from == CONNECTION_HEAD; break;
	case CONNECTION_WAITING: possible = from == CONNECTION_BODY; break;
	case CONNECTION_READY: possible = from == CONNECTION_WAITING; break;
	case CONNECTION_ANSWERING: possible = from == CONNECTION_HEAD || from == CONNECTION_BODY || from == CONNECTION_READY; break;
	}
	if (!possible)
		abort();
	if (to != CONNECTION_BODY)
		atomic_store_explicit(&c->since_ns, clock_mono_ns(), memory_order_relaxed);
	atomic_store_explicit(&c->state, to, memory_order_relaxed);
}

void connection_suspend(struct connection *c)
{
	connection_change_state(c, CONNECTION_WAITING);
	MHD_suspend_connection(c->mhd);
}

void connection_resume(struct connection *c)
{
	connection_change_state(c, CONNECTION_READY);
	MHD_resume_connection(c->mhd);
}

/* How long a connection may be in its state, or 0: others see to its end. */
static int64_t allowed_ns(const struct connection *c, const struct http_options *o)
{
	switch ((enum connection_state)atomic_load_explicit(&c->state, memory_order_relaxed)) {
	case CONNECTION_IDLE:
		return (atomic_load_explicit(&c->served, memory_order_relaxed) ? o->idle_timeout_ms : o->request_timeout_ms) * MS_NS;
	case CONNECTION_HEAD:
	case CONNECTION_BODY:
	case CONNECTION_ANSWERING: return o->request_timeout_ms * MS_NS;
	case CONNECTION_WAITING:
	case CONNECTION_READY: return 0;
	}
	return 0;
}

/* Under the lock. The worker sees the end of the stream and closes. The descriptor of one that no worker has begun with may be another's. */
static void end(struct connection *c)
{
	if (atomic_load(&c->started) && !atomic_exchange(&c->ended, true))
		shutdown(c->fd, SHUT_RDWR);
}

static bool is_idle(const struct connection *c)
{
	return atomic_load_explicit(&c->state, memory_order_relaxed) == CONNECTION_IDLE;
}

/* Has the client finished sending, and nothing come of it for a while? libmicrohttpd does not see an end that came together with the last
 * bytes. */
static bool is_left_alone(const struct connection *c, int64_t idle_ns)
{
	struct pollfd end_of_stream = { .fd = c->fd, .events = POLLRDHUP };
	return is_idle(c) && idle_ns > LEFT_ALONE_NS && atomic_load(&c->started) && poll(&end_of_stream, 1, 0) > 0;
}

void connections_reap(struct http_server *s, int64_t now_ns)
{
	int64_t late = 0;
	pthread_mutex_lock(&s->connections_lock);
	for (struct connection *c = s->connections; c; c = c->next) {
		int64_t allowed = allowed_ns(c, &s->o), spent = now_ns - atomic_load_explicit(&c->since_ns, memory_order_relaxed);
		bool over = allowed && spent >= allowed;
		if (atomic_load(&c->ended) || (!over && !is_left_alone(c, spent)))
			continue;
		if (over && !is_idle(c)) {
			refusal_count(s, REFUSAL_DEADLINE);
			late++;
		}
		end(c);
	}
	pthread_mutex_unlock(&s->connections_lock);
	if (late)
		log_warn("requests_too_slow", LOG_I("connections", late), LOG_I("limit_ms", s->o.request_timeout_ms));
}

void connections_evict(struct http_server *s, int64_t now_ns)
{
	struct connection *oldest = NULL;
	int64_t oldest_ns = now_ns - EVICT_IDLE_NS;
	pthread_mutex_lock(&s->connections_lock);
	for (struct connection *c = s->connections; c; c = c->next) {
		int64_t since = atomic_load_explicit(&c->since_ns, memory_order_relaxed);
		if (!is_idle(c) || !atomic_load(&c->started) || atomic_load(&c->ended) || since > oldest_ns)
			continue;
		oldest = c;
		oldest_ns = since;
	}
	if (oldest)
		end(oldest);
	pthread_mutex_unlock(&s->connections_lock);
}

size_t connections_of_address(struct http_server *s, const struct connection *like)
{
	size_t n = 0;
	pthread_mutex_lock(&s->connections_lock);
	for (const struct connection *c = s->connections; c && like->has_address; c = c->next)
		n += c->has_address && memcmp(&c->address, &like->address, sizeof c->address) == 0;
	pthread_mutex_unlock(&s->connections_lock);
	return n;
}

size_t connections_count(struct http_server *s)
{
	pthread_mutex_lock(&s->connections_lock);
	size_t n = s->connection_count;
	pthread_mutex_unlock(&s->connections_lock);
	return n;
}

bool connections_are_quiet(struct http_server *s, int64_t now_ns, int64_t quiet_ns)
{
	bool quiet = true;
	pthread_mutex_lock(&s->connections_lock);
	for (const struct connection *c = s->connections; c && quiet; c = c->next)
		quiet = atomic_load(&c->ended) ||
			(is_idle(c) && now_ns - atomic_load_explicit(&c->since_ns, memory_order_relaxed) >= quiet_ns);
	pthread_mutex_unlock(&s->connections_lock);
	return quiet;
}

void connections_say_goodbye(struct http_server *s)
{
	pthread_mutex_lock(&s->connections_lock);
	for (struct connection *c = s->connections; c; c = c->next)
		if (is_idle(c) && atomic_load(&c->started) && !atomic_load(&c->ended))
			shutdown(c->fd, SHUT_WR);
	pthread_mutex_unlock(&s->connections_lock);
}

void connections_free(struct http_server *s)
{
	while (s->connections) {
		struct connection *c = s->connections;
		s->connections = c->next;
		connection_free(c);
	}
}
