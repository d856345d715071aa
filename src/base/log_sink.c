/* One lock around a descriptor that does not block and a fixed memory.
 *
 * Non-blocking is a property of the open file, which is shared with whoever else has it (the shell's terminal), so it is not set on descriptor 2:
 * a pipe or a terminal is opened once more through /proc, and a socket has MSG_DONTWAIT. Where that is not possible, poll(2) is asked before
 * each small piece. A regular file never makes anybody wait for another process. */
#include "base/log_sink.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"

#define KEPT_BYTES ((size_t)256 << 10)
#define PIECE_BYTES 4096 /* a pipe or terminal that poll(2) calls writable takes as much */

enum way { WAY_WAIT, WAY_NONBLOCKING, WAY_SOCKET, WAY_POLL };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static enum way way = WAY_WAIT;
static int sink_fd = STDERR_FILENO;
static char kept[KEPT_BYTES];
static size_t kept_n;
static int64_t untold; /* lines left out and not told of */
static _Atomic int64_t dropped;

void log_never_wait(void)
{
	struct stat st;
	if (sink_fd != STDERR_FILENO)
		close(sink_fd);
	sink_fd = STDERR_FILENO;
	way = WAY_WAIT;
	if (fstat(STDERR_FILENO, &st) != 0 || S_ISREG(st.st_mode))
		return;
	if (S_ISSOCK(st.st_mode)) {
		way = WAY_SOCKET;
		return;
	}
	int fd = open("/proc/self/fd/2", O_WRONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
	way = fd >= 0 ? WAY_NONBLOCKING : WAY_POLL;
	sink_fd = fd >= 0 ? fd : STDERR_FILENO;
}

static bool is_writable(int wait_ms)
{
	struct pollfd writable = { .fd = sink_fd, .events = POLLOUT };
	return poll(&writable, 1, wait_ms) > 0;
}

static ssize_t write_piece(struct slice s)
{
	switch (way) {
	case WAY_WAIT:
	case WAY_NONBLOCKING: return write(sink_fd, s.p, s.n);
	case WAY_SOCKET: return send(sink_fd, s.p, s.n, MSG_DONTWAIT | MSG_NOSIGNAL);
	case WAY_POLL:
		if (is_writable(0))
			return write(sink_fd, s.p, s.n < PIECE_BYTES ? s.n : PIECE_BYTES);
		errno = EAGAIN;
		return -1;
	}
	return -1;
}

/* How much of it was taken. *ret_gone: nobody is there to take the rest. */
static size_t write_now(struct slice s, bool *ret_gone)
{
	size_t at = 0;
	*ret_gone = false;
	while (at < s.n) {
		ssize_t n = write_piece(slice_of(s.p + at, s.n - at));
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			*ret_gone = n == 0 || (errno != EAGAIN && errno != EWOULDBLOCK);
			break;
		}
		at += (size_t)n;
	}
	return at;
}

static int64_t lines_in(struct slice s)
{
	int64_t n = 0;
	for (size_t i = 0; i < s.n; i++)
		n += s.p[i] == '\n';
	return n;
}

static void leave_out(struct slice s)
{
	int64_t n = lines_in(s);
	untold += n;
	atomic_fetch_add(&dropped, n);
}

/* Whole lines, as many as fit; what comes first may be the other half of a line, which always fits behind nothing. */
static void keep(struct slice s)
{
	size_t room = KEPT_BYTES - kept_n, n = s.n;
	if (n > room) {
		const char *last = room ? memrchr(s.p, '\n', room) : NULL;
		n = last ? (size_t)(last - s.p) + 1 : 0;
	}
	if (n)
		memcpy(kept + kept_n, s.p, n);
	kept_n += n;
	leave_out(slice_of(s.p + n, s.n - n));
}

/* False: something is still kept. */
static bool write_kept(void)
{
	bool gone;
	size_t n = write_now(slice_of(kept, kept_n), &gone);
	if (gone) {
		leave_out(slice_of(kept + n, kept_n - n));
		n = kept_n;
	}
	memmove(kept, kept + n, kept_n - n);
	kept_n -= n;
	return kept_n == 0;
}

static void write_or_keep(struct slice s)
{
	bool gone;
	size_t n = write_now(s, &gone);
	struct slice rest = slice_of(s.p + n, s.n - n);
	if (gone)
		leave_out(rest);
	else if (rest.n)
		keep(rest);
}

static void tell_of_dropped(void)
{
	_cleanup_buf_ struct buf b = BUF_INIT;
	buf_puts(&b, "ts=");
	buf_put_rfc3339_ms(&b, clock_wall_ms());
	buf_puts(&b, " level=warn msg=log_lines_dropped lines=");
	buf_put_int(&b, untold);
	buf_puts(&b, " note=\"standard error was not read\"\n");
	if (buf_failed(&b))
		return;
	bool gone;
	struct slice line = buf_slice(&b);
	size_t n = write_now(line, &gone);
	if (gone)
		return;
	untold = 0;
	keep(slice_of(line.p + n, line.n - n));
}

void log_sink_write(struct slice lines)
{
	pthread_mutex_lock(&lock);
	if (write_kept() && untold)
		tell_of_dropped();
	if (kept_n)
		keep(lines);
	else
		write_or_keep(lines);
	pthread_mutex_unlock(&lock);
}

void log_flush(int64_t within_ms)
{
	int64_t until = clock_mono_ns() + within_ms * 1000000, left_ms;
	pthread_mutex_lock(&lock);
	while (!write_kept() && (left_ms = (until - clock_mono_ns()) / 1000000) > 0)
		(void)is_writable((int)left_ms);
	if (!kept_n && untold)
		tell_of_dropped();
	pthread_mutex_unlock(&lock);
}

int64_t log_lines_dropped(void) { return atomic_load(&dropped); }
