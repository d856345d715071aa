/* The acceptor: takes connections within the limits and hands them to the workers in turn; once a second it ends those whose time is over, and log
 * lines that had to wait are tried again.
 *
 * libmicrohttpd could accept by itself, but then its threads would share the connections unevenly, its refusals could not be counted, and
 * stopping to listen would race with its own loop. When the limit in all is reached, the connection that is worth least (limits.c) makes room;
 * where none may be ended, new ones wait in the kernel's queue. One thread. */
#include "http/internal.h"

#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/log_sink.h"

#define ACCEPT_SERIES 64
#define SCARCE_MS 100 /* pause when descriptors or memory run out */

static void refuse(struct http_server *s, int fd, const struct sockaddr_storage *from, enum refusal why)
{
	int64_t suppressed;
	char address[ADDRESS_TEXT_BYTES];
	close(fd);
	refusal_count(s, why);
	if (!throttle_pass(&s->log_limit, &suppressed))
		return;
	address_write(address_of_socket(from), address, sizeof address);
	log_warn("connection_refused", LOG_Z("cause", refusal_labels(&(size_t){ 0 })[why]), LOG_Z("address", address),
		 LOG_I("more_like_it", suppressed));
}

static void take_connection(struct http_server *s, int fd, const struct sockaddr_storage *address, socklen_t address_n)
{
	struct connection *c = (size_t)fd < s->by_fd_size ? connection_new(s, fd, address) : NULL;
	if (!c) {
		refuse(s, fd, address, REFUSAL_CONNECTIONS);
		return;
	}
	enum refusal refusal = limits_admit(s, c, clock_mono_ns());
	if (refusal != REFUSAL_NONE) {
		connection_discard(c);
		refuse(s, fd, address, refusal);
		return;
	}
	connection_watch(c);
	struct MHD_Daemon *worker = s->workers[s->next_worker++ % s->worker_count];
	/* With MHD_YES the worker may be done with the connection already; with MHD_NO the descriptor is closed and no worker knows of it. */
	if (MHD_add_connection(worker, fd, (const struct sockaddr *)address, address_n) != MHD_YES)
		connection_discard(c);
}

/* False: no more for now. */
static bool accept_one(struct http_server *s, int64_t *ret_pause_ms)
{
	struct sockaddr_storage address;
	socklen_t n = sizeof address;
	memset(&address, 0, sizeof address);
	int fd = accept4(s->listener.fd, (struct sockaddr *)&address, &n, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd >= 0) {
		take_connection(s, fd, &address, n);
		return true;
	}
	if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
		int64_t suppressed;
		*ret_pause_ms = SCARCE_MS;
		if (throttle_pass(&s->log_limit, &suppressed))
			log_error("accept_failed", LOG_Z("error", strerror(errno)), LOG_I("more_like_it", suppressed),
				  LOG_Z("mend", "raise the limit of open files (LimitNOFILE, ulimit -n)"));
	}
	return errno == ECONNABORTED || errno == EINTR;
}

static bool is_full(struct http_server *s) { return connections_count(s) >= s->o.max_connections; }

/* Is a connection waiting in the kernel's queue? */
static bool somebody_waits(const struct http_server *s)
{
	struct pollfd listener = { .fd = s->listener.fd, .events = POLLIN };
	return poll(&listener, 1, 0) > 0;
}

static void accept_some(struct http_server *s, int64_t *ret_pause_ms)
{
	for (int i = 0; i < ACCEPT_SERIES; i++)
		if (is_full(s) || !accept_one(s, ret_pause_ms))
			return;
}

static void clear_wake(int fd)
{
	uint64_t n;
	ssize_t got = read(fd, &n, sizeof n);
	(void)got; /* nothing there: already cleared */
}

/* At the limit: is there, or can there soon be, no room for one who waits? */
static bool must_hold_back(struct http_server *s)
{
	if (!is_full(s))
		return false;
	atomic_store(&s->full, true);
	if (!is_full(s) || !somebody_waits(s)) /* one may have gone before it could see the flag */
		return false;
	limits_make_room(s, clock_mono_ns());
	return true;
}

static void *acceptor_main(void *server)
{
	struct http_server *s = server;
	int64_t next_reap = clock_mono_ns() + REAP_NS, pause_ms = 0;
	while (!atomic_load(&s->stop_accepting)) {
		bool hold_back = pause_ms || must_hold_back(s);
		struct pollfd wait[3] = { { .fd = s->wake_fd, .events = POLLIN },
					  { .fd = hold_back ? -1 : s->listener.fd, .events = POLLIN },
					  { .fd = s->finished_fd, .events = POLLIN } };
		int64_t until_reap_ms = (next_reap - clock_mono_ns()) / 1000000 + 1;
		int64_t timeout = pause_ms && pause_ms < until_reap_ms ? pause_ms : until_reap_ms;
		int ready = poll(wait, 3, timeout > 0 ? (int)timeout : 0);
		pause_ms = 0;
		if (ready > 0 && wait[0].revents)
			clear_wake(s->wake_fd);
		if (ready > 0 && wait[1].revents)
			accept_some(s, &pause_ms);
		int64_t now = clock_mono_ns();
		if (ready > 0 && wait[2].revents && connections_finished(s) && next_reap > now + REAP_SOON_NS)
			next_reap = now + REAP_SOON_NS;
		if (now < next_reap)
			continue;
		log_flush(0);
		next_reap = now + (connections_reap(s, now) ? REAP_SOON_NS : REAP_NS);
	}
	return NULL;
}

int acceptor_start(struct http_server *s)
{
	s->acceptor_runs = pthread_create(&s->acceptor, NULL, acceptor_main, s) == 0;
	return s->acceptor_runs ? OC_OK : OC_NOMEM;
}

void acceptor_stop(struct http_server *s)
{
	if (!s->acceptor_runs)
		return;
	atomic_store(&s->stop_accepting, true);
	uint64_t one = 1;
	ssize_t written = write(s->wake_fd, &one, sizeof one);
	(void)written; /* full: it is awake already */
	pthread_join(s->acceptor, NULL);
	s->acceptor_runs = false;
	listener_close(&s->listener);
}
