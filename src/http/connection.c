/* One TCP connection: its states, its deadlines, its place in the server's list.
 *
 * Ordering: the acceptor makes a connection and lists it before a worker knows it; libmicrohttpd's "closed" callback takes it off the list,
 * under the lock, before the descriptor is closed. So whoever holds the lock and sees a connection in the list may use its descriptor.
 * The rest of a connection belongs to its worker, or, from connection_suspend to connection_resume, to the writer or a reader. */
#include "http/internal.h"

#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"

#define MS_NS 1000000
#define LEFT_ALONE_NS 500000000
#define IDLE_LOOK_NS 1000000000   /* so long an idle connection is not looked at for the beginning of a request line */
#define CLOCKS_DIFFER_NS 50000000 /* the kernel counts in its own ticks */

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
	c->peer = c->client = address_of_socket(address);
	c->from_proxy = networks_have(&s->trusted, c->peer);
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
	c->generation = ++s->generations;
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

void connection_end(struct connection *c)
{
	if (atomic_load(&c->started) && !atomic_exchange(&c->ended, true))
		shutdown(c->fd, SHUT_RDWR);
}

static bool is_idle(const struct connection *c)
{
	return atomic_load_explicit(&c->state, memory_order_relaxed) == CONNECTION_IDLE;
}

/* Is there a request of which not all has come? */
static bool is_incomplete(const struct connection *c)
{
	int state = atomic_load_explicit(&c->state, memory_order_relaxed);
	return (state == CONNECTION_HEAD || state == CONNECTION_BODY) && !atomic_load_explicit(&c->complete, memory_order_relaxed);
}

/* Since when nothing has come, by the kernel's account, which libmicrohttpd does not pass on; 0 where it cannot be told (a Unix socket). */
static int64_t silent_since_ns(const struct connection *c, int64_t now_ns)
{
	struct tcp_info info = { .tcpi_last_data_recv = 0 };
	socklen_t n = sizeof info;
	if (!c->peer.is_ip || !atomic_load(&c->started) || getsockopt(c->fd, IPPROTO_TCP, TCP_INFO, &info, &n) != 0)
		return 0;
	return now_ns - (int64_t)info.tcpi_last_data_recv * MS_NS;
}

static bool all_is_read(const struct connection *c)
{
	int unread = 0;
	return atomic_load(&c->started) && ioctl(c->fd, FIONREAD, &unread) == 0 && unread == 0;
}

/* Half a request, and nothing more for a while. */
static bool has_stalled(const struct connection *c, int64_t spent_ns, int64_t now_ns)
{
	int64_t allowed = c->server->o.stall_timeout_ms * MS_NS;
	if (!is_incomplete(c) || spent_ns < allowed || !all_is_read(c))
		return false;
	int64_t silent = silent_since_ns(c, now_ns);
	return silent && now_ns - silent >= allowed;
}

/* A request line that drips in on a connection that was served before looks idle to libmicrohttpd. What has come since the last answer is
 * the beginning of one, and has a request's time. */
static bool drips_its_line(struct connection *c, int64_t since_ns, int64_t now_ns)
{
	if (!is_idle(c) || !atomic_load_explicit(&c->served, memory_order_relaxed) || now_ns - since_ns < IDLE_LOOK_NS)
		return false;
	if (c->line_since_ns < since_ns)
		c->line_since_ns = silent_since_ns(c, now_ns) > since_ns + CLOCKS_DIFFER_NS ? now_ns : 0;
	return c->line_since_ns && now_ns - c->line_since_ns >= c->server->o.request_timeout_ms * MS_NS;
}

/* The client has finished sending, everything it sent is read, and it is not enough: nothing can come of this. libmicrohttpd does not see an
 * end that came together with the last bytes. */
static bool is_left_alone(struct connection *c, int64_t since_ns, int64_t now_ns)
{
	if (!c->finished || !(is_idle(c) || is_incomplete(c)) || !all_is_read(c)) {
		c->left_since_ns = 0;
		return false;
	}
	unsigned pieces = atomic_load_explicit(&c->pieces, memory_order_relaxed);
	if (!c->left_since_ns || c->left_state_since_ns != since_ns || c->left_pieces != pieces) {
		c->left_since_ns = now_ns;
		c->left_state_since_ns = since_ns;
		c->left_pieces = pieces;
	}
	return now_ns - c->left_since_ns >= LEFT_ALONE_NS;
}

/* Is a connection's time over? *ret_cause: what is counted, REFUSAL_NONE where no request is cut off. */
static bool is_over(struct connection *c, int64_t now_ns, enum refusal *ret_cause)
{
	int64_t allowed = allowed_ns(c, &c->server->o), since = atomic_load_explicit(&c->since_ns, memory_order_relaxed), spent = now_ns - since;
	*ret_cause = REFUSAL_NONE;
	if (allowed && spent >= allowed) {
		*ret_cause = is_idle(c) ? REFUSAL_NONE : REFUSAL_DEADLINE;
		return true;
	}
	if (is_left_alone(c, since, now_ns)) {
		*ret_cause = is_idle(c) ? REFUSAL_NONE : REFUSAL_BROKEN_OFF;
		return true;
	}
	if (drips_its_line(c, since, now_ns))
		*ret_cause = REFUSAL_DEADLINE;
	else if (has_stalled(c, spent, now_ns))
		*ret_cause = REFUSAL_STALLED;
	return *ret_cause != REFUSAL_NONE;
}

bool connections_reap(struct http_server *s, int64_t now_ns)
{
	int64_t late = 0;
	bool look_soon = false;
	pthread_mutex_lock(&s->connections_lock);
	for (struct connection *c = s->connections; c; c = c->next) {
		enum refusal cause;
		if (atomic_load(&c->ended))
			continue;
		if (!is_over(c, now_ns, &cause)) {
			look_soon |= c->left_since_ns != 0;
			continue;
		}
		refusal_count(s, cause);
		late += cause == REFUSAL_DEADLINE || cause == REFUSAL_STALLED;
		connection_end(c);
	}
	pthread_mutex_unlock(&s->connections_lock);
	if (late)
		log_warn("requests_too_slow", LOG_I("connections", late), LOG_I("limit_ms", s->o.request_timeout_ms),
			 LOG_I("silence_limit_ms", s->o.stall_timeout_ms));
	return look_soon;
}

/* ---- clients that have finished sending; the acceptor's ---- */

void connection_watch(struct connection *c)
{
	struct epoll_event event = { .events = EPOLLRDHUP | EPOLLONESHOT, .data.u64 = (uint64_t)c->generation << 32 | (uint32_t)c->fd };
	(void)epoll_ctl(c->server->finished_fd, EPOLL_CTL_ADD, c->fd, &event); /* without it, the deadline sees to it */
}

bool connections_finished(struct http_server *s)
{
	struct epoll_event events[64];
	int n = epoll_wait(s->finished_fd, events, 64, 0);
	pthread_mutex_lock(&s->connections_lock);
	for (int i = 0; i < n; i++) {
		struct connection *c = s->by_fd[(uint32_t)events[i].data.u64];
		if (c && c->generation == (uint32_t)(events[i].data.u64 >> 32))
			c->finished = true;
	}
	pthread_mutex_unlock(&s->connections_lock);
	return n > 0;
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
