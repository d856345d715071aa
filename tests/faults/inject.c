/* Preloaded into a daemon under test (LD_PRELOAD): makes the Nth call of a kind fail, and writes down what was done to its files.
 *
 * INJECT_CONTROL names a file that the test has mapped too: struct control. The test arms a fault there while the daemon runs and sees there
 * whether it came. Calls on files count only below control->folder; allocations count wherever they are made; of sockets only those count that
 * the daemon has connected itself. A call that is to fail is not made, but for the first half of a short or torn write.
 *
 * INJECT_RECORD names a file that gets a record of each write, sync, truncation, creation, renaming and removal below the folder, of each send
 * on an accepted socket, and of what is said and heard on a connection that the daemon made. A send is recorded before it is made, a write after it, a sync before and after: the order of the records is
 * one that could have been seen from outside. Each is one line, `KIND path numbers… length`, and then `length` bytes and a newline.
 *
 * The real functions are those that come next in the order of loading, so that a sanitizer's interceptors stay in between. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum kind { KIND_WRITE, KIND_SYNC, KIND_RENAME, KIND_TRUNCATE, KIND_OPEN, KIND_UNLINK, KIND_READ, KIND_MAP, KIND_MEMORY, KIND_NET, KIND_COUNT };
enum mode {
	MODE_ERROR,
	MODE_SHORT, /* of a write: half of it, and no error */
	MODE_TORN,  /* of a write: half of it, and an error */
	MODE_KILL,  /* the process dies instead of the call */
	MODE_KILL_TORN,
};

/* tests/support/inject.py has the same. */
struct control {
	_Atomic int32_t kind; /* -1: nothing is to fail */
	_Atomic int32_t mode, error;
	_Atomic int32_t sticky; /* all calls after the one fail too */
	_Atomic int64_t countdown;
	_Atomic int64_t hits;
	_Atomic int64_t calls[KIND_COUNT];
	char folder[PATH_MAX];
};

static struct control *control;
static size_t folder_length;
static int record_fd = -1;

/* ---- the real ones ---- */

#define REAL(name) \
	static __typeof__(name) *real_##name; \
	if (!real_##name) \
		real_##name = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

/* ---- which descriptors are meant ---- */

#define FDS 65536
enum fd_role { FD_OTHER, FD_FILE, FD_ACCEPTED, FD_CONNECTED };
static _Atomic unsigned char roles[FDS];
static char paths[4096][256]; /* of files, by descriptor; each is written before its role is */

static enum fd_role role_of(int fd) { return fd >= 0 && fd < FDS ? (enum fd_role)roles[fd] : FD_OTHER; }
static void set_role(int fd, enum fd_role role)
{
	if (fd >= 0 && fd < FDS)
		roles[fd] = (unsigned char)role;
}
static bool is_ours(const char *path) { return control && path && strncmp(path, control->folder, folder_length) == 0; }
static bool is_ours_at(int dir, const char *path) { return is_ours(path) || (path && path[0] != '/' && role_of(dir) == FD_FILE); }
static const char *path_of(int fd) { return role_of(fd) == FD_FILE && fd < 4096 ? paths[fd] : "-"; }

static void opened(int fd)
{
	char link[64], path[256];
	if (fd < 0 || fd >= 4096 || !control)
		return;
	set_role(fd, FD_OTHER);
	snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	ssize_t n = readlink(link, path, sizeof path - 1);
	if (n <= 0)
		return;
	path[n] = '\0';
	if (!is_ours(path))
		return;
	memcpy(paths[fd], path, sizeof path);
	set_role(fd, FD_FILE);
}

/* ---- the record ---- */

static void record(const char *head, const void *data, size_t n)
{
	struct iovec parts[] = { { (void *)(uintptr_t)head, strlen(head) }, { (void *)(uintptr_t)data, n }, { (void *)(uintptr_t)"\n", 1 } };
	if (record_fd >= 0)
		syscall(SYS_writev, record_fd, parts, 3);
}

#define RECORD(data, n, format, ...) \
	do { \
		char head_[1024]; \
		int saved_ = errno; \
		if (record_fd >= 0) { \
			snprintf(head_, sizeof head_, format " %zu\n", __VA_ARGS__, (size_t)(n)); \
			record(head_, data, (size_t)(n)); \
		} \
		errno = saved_; \
	} while (0)

static void record_write(int fd, const void *data, ssize_t n, off_t at)
{
	if (n > 0 && role_of(fd) == FD_FILE)
		RECORD(data, n, "write %s %lld", path_of(fd), (long long)(at >= 0 ? at : lseek(fd, 0, SEEK_CUR) - n));
}

static void record_send(int fd, const void *data, size_t n)
{
	if (role_of(fd) == FD_ACCEPTED)
		RECORD(data, n, "send %d", fd);
}

static void record_sends(int fd, const struct iovec *parts, size_t count)
{
	char all[65536];
	size_t n = 0;
	for (size_t i = 0; i < count && role_of(fd) == FD_ACCEPTED; i++) {
		size_t more = parts[i].iov_len < sizeof all - n ? parts[i].iov_len : sizeof all - n;
		memcpy(all + n, parts[i].iov_base, more);
		n += more;
	}
	record_send(fd, all, n);
}

/* ---- the faults ---- */

static bool fails(enum kind kind)
{
	if (!control)
		return false;
	atomic_fetch_add(&control->calls[kind], 1);
	if (control->kind != (int32_t)kind)
		return false;
	int64_t left = atomic_fetch_sub(&control->countdown, 1);
	if (left > 1 || (left < 1 && !control->sticky))
		return false;
	atomic_fetch_add(&control->hits, 1);
	if (control->mode == MODE_KILL)
		syscall(SYS_kill, getpid(), SIGKILL);
	return true;
}

static int refuse(void)
{
	errno = control->error;
	return -1;
}

/* What comes of a write of n bytes that is to fail, half of which were written. */
static ssize_t after_half(ssize_t written)
{
	switch ((enum mode)control->mode) {
	case MODE_SHORT: return written;
	case MODE_TORN: break;
	case MODE_KILL_TORN: syscall(SYS_kill, getpid(), SIGKILL); break;
	case MODE_ERROR:
	case MODE_KILL: break;
	}
	return refuse();
}

static size_t half_of(size_t n) { return control->mode == MODE_ERROR ? 0 : n / 2; }

/* ---- files ---- */

static mode_t mode_of(int flags, va_list args) { return flags & (O_CREAT | O_TMPFILE) ? va_arg(args, mode_t) : 0; }

static bool exists_at(int dir, const char *path)
{
	struct stat st;
	return fstatat(dir, path, &st, 0) == 0;
}

static int open_as(int (*real)(int, const char *, int, ...), int dir, const char *path, int flags, mode_t mode)
{
	bool ours = is_ours_at(dir, path);
	if (ours && fails(KIND_OPEN))
		return refuse();
	bool creates = ours && (flags & O_CREAT) && !exists_at(dir, path);
	int fd = real(dir, path, flags, mode);
	if (fd >= 0)
		opened(fd);
	if (fd >= 0 && creates)
		RECORD("", 0, "create %s", path_of(fd));
	else if (fd >= 0 && ours && (flags & O_TRUNC))
		RECORD("", 0, "truncate %s 0", path_of(fd));
	return fd;
}

#define OPEN_BODY(dir) \
	REAL(openat); \
	va_list args; \
	va_start(args, flags); \
	mode_t mode = mode_of(flags, args); \
	va_end(args); \
	return open_as(real_openat, dir, path, flags, mode)
int open(const char *path, int flags, ...) { OPEN_BODY(AT_FDCWD); }
int open64(const char *path, int flags, ...) { OPEN_BODY(AT_FDCWD); }
int openat(int dir, const char *path, int flags, ...) { OPEN_BODY(dir); }
int openat64(int dir, const char *path, int flags, ...) { OPEN_BODY(dir); }

int close(int fd)
{
	REAL(close);
	set_role(fd, FD_OTHER);
	return real_close(fd);
}

ssize_t write(int fd, const void *data, size_t n)
{
	REAL(write);
	if (role_of(fd) == FD_FILE && fails(KIND_WRITE)) {
		ssize_t done = half_of(n) ? real_write(fd, data, half_of(n)) : 0;
		record_write(fd, data, done, -1);
		return after_half(done);
	}
	record_send(fd, data, n);
	ssize_t done = real_write(fd, data, n);
	record_write(fd, data, done, -1);
	return done;
}

#define PWRITE_BODY(real) \
	if (role_of(fd) == FD_FILE && fails(KIND_WRITE)) { \
		ssize_t half = half_of(n) ? real(fd, data, half_of(n), at) : 0; \
		record_write(fd, data, half, at); \
		return after_half(half); \
	} \
	ssize_t done = real(fd, data, n, at); \
	record_write(fd, data, done, at); \
	return done
ssize_t pwrite(int fd, const void *data, size_t n, off_t at)
{
	REAL(pwrite);
	PWRITE_BODY(real_pwrite);
}
ssize_t pwrite64(int fd, const void *data, size_t n, off64_t at)
{
	REAL(pwrite64);
	PWRITE_BODY(real_pwrite64);
}

static void record_parts(int fd, const struct iovec *parts, int count, ssize_t done, off_t at)
{
	off_t from = at >= 0 || done <= 0 ? at : lseek(fd, 0, SEEK_CUR) - done;
	for (int i = 0; i < count && done > 0; i++) {
		ssize_t n = (ssize_t)parts[i].iov_len < done ? (ssize_t)parts[i].iov_len : done;
		record_write(fd, parts[i].iov_base, n, from);
		from += n;
		done -= n;
	}
}

ssize_t writev(int fd, const struct iovec *parts, int count)
{
	REAL(writev);
	if (role_of(fd) == FD_FILE && fails(KIND_WRITE)) {
		struct iovec first = { parts[0].iov_base, half_of(parts[0].iov_len) };
		ssize_t half = first.iov_len ? real_writev(fd, &first, 1) : 0;
		record_parts(fd, &first, 1, half, -1);
		return after_half(half);
	}
	record_sends(fd, parts, (size_t)count);
	ssize_t done = real_writev(fd, parts, count);
	if (role_of(fd) == FD_FILE)
		record_parts(fd, parts, count, done, -1);
	return done;
}

#define PWRITEV_BODY(real) \
	if (role_of(fd) == FD_FILE && fails(KIND_WRITE)) { \
		struct iovec first = { parts[0].iov_base, half_of(parts[0].iov_len) }; \
		ssize_t half = first.iov_len ? real(fd, &first, 1, at) : 0; \
		record_parts(fd, &first, 1, half, at); \
		return after_half(half); \
	} \
	ssize_t done = real(fd, parts, count, at); \
	if (role_of(fd) == FD_FILE) \
		record_parts(fd, parts, count, done, at); \
	return done
ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t at)
{
	REAL(pwritev);
	PWRITEV_BODY(real_pwritev);
}
ssize_t pwritev64(int fd, const struct iovec *parts, int count, off64_t at)
{
	REAL(pwritev64);
	PWRITEV_BODY(real_pwritev64);
}

#define READ_BODY(call) \
	if (role_of(fd) == FD_FILE && fails(KIND_READ)) \
		return refuse(); \
	return call
ssize_t read(int fd, void *data, size_t n)
{
	REAL(read);
	READ_BODY(real_read(fd, data, n));
}
ssize_t pread(int fd, void *data, size_t n, off_t at)
{
	REAL(pread);
	READ_BODY(real_pread(fd, data, n, at));
}
ssize_t pread64(int fd, void *data, size_t n, off64_t at)
{
	REAL(pread64);
	READ_BODY(real_pread64(fd, data, n, at));
}

#define SYNC_BODY(real) \
	if (role_of(fd) != FD_FILE) \
		return real(fd); \
	RECORD("", 0, "sync %s %d", path_of(fd), gettid()); \
	int r = fails(KIND_SYNC) ? refuse() : real(fd); \
	RECORD("", 0, "synced %s %d %d", path_of(fd), gettid(), r); \
	return r
int fsync(int fd)
{
	REAL(fsync);
	SYNC_BODY(real_fsync);
}
int fdatasync(int fd)
{
	REAL(fdatasync);
	SYNC_BODY(real_fdatasync);
}

#define TRUNCATE_BODY(call, size) \
	if (role_of(fd) == FD_FILE && fails(KIND_TRUNCATE)) \
		return refuse(); \
	int r = call; \
	if (r == 0 && role_of(fd) == FD_FILE) \
		RECORD("", 0, "truncate %s %lld", path_of(fd), (long long)(size)); \
	return r
int ftruncate(int fd, off_t size)
{
	REAL(ftruncate);
	TRUNCATE_BODY(real_ftruncate(fd, size), size);
}
int ftruncate64(int fd, off64_t size)
{
	REAL(ftruncate64);
	TRUNCATE_BODY(real_ftruncate64(fd, size), size);
}

/* What they allot reads as zeros, as what a write leaves out does: it need not be recorded. */
#define ALLOT_BODY(call, failure) \
	if (role_of(fd) == FD_FILE && fails(KIND_TRUNCATE)) { \
		errno = control->error; \
		return failure; \
	} \
	return call
int fallocate(int fd, int mode, off_t at, off_t n)
{
	REAL(fallocate);
	ALLOT_BODY(real_fallocate(fd, mode, at, n), -1);
}
int fallocate64(int fd, int mode, off64_t at, off64_t n)
{
	REAL(fallocate64);
	ALLOT_BODY(real_fallocate64(fd, mode, at, n), -1);
}
int posix_fallocate(int fd, off_t at, off_t n)
{
	REAL(posix_fallocate);
	ALLOT_BODY(real_posix_fallocate(fd, at, n), control->error);
}
int posix_fallocate64(int fd, off64_t at, off64_t n)
{
	REAL(posix_fallocate64);
	ALLOT_BODY(real_posix_fallocate64(fd, at, n), control->error);
}

/* The absolute path of a name, for the record. */
static const char *absolute(int dir, const char *path, char *buffer)
{
	if (path[0] == '/' || role_of(dir) != FD_FILE)
		return path;
	snprintf(buffer, 512, "%s/%s", path_of(dir), path);
	return buffer;
}

static int rename_as(int from_dir, const char *from, int to_dir, const char *to, unsigned flags)
{
	REAL(renameat2);
	char from_buffer[512], to_buffer[512];
	bool ours = is_ours_at(from_dir, from) || is_ours_at(to_dir, to);
	if (ours && fails(KIND_RENAME))
		return refuse();
	int r = real_renameat2(from_dir, from, to_dir, to, flags);
	if (r == 0 && ours)
		RECORD("", 0, "rename %s %s", absolute(from_dir, from, from_buffer), absolute(to_dir, to, to_buffer));
	return r;
}
int rename(const char *from, const char *to) { return rename_as(AT_FDCWD, from, AT_FDCWD, to, 0); }
int renameat(int from_dir, const char *from, int to_dir, const char *to) { return rename_as(from_dir, from, to_dir, to, 0); }
int renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned flags) { return rename_as(from_dir, from, to_dir, to, flags); }

int unlinkat(int dir, const char *path, int flags)
{
	REAL(unlinkat);
	char buffer[512];
	bool ours = is_ours_at(dir, path);
	if (ours && fails(KIND_UNLINK))
		return refuse();
	int r = real_unlinkat(dir, path, flags);
	if (r == 0 && ours)
		RECORD("", 0, "unlink %s", absolute(dir, path, buffer));
	return r;
}
int unlink(const char *path) { return unlinkat(AT_FDCWD, path, 0); }

/* Of files, and of memory without a file. */
#define MAP_BODY(real) \
	if ((fd < 0 || role_of(fd) == FD_FILE) && fails(KIND_MAP)) { \
		errno = control->error; \
		return MAP_FAILED; \
	} \
	return real(address, n, protection, flags, fd, at)
void *mmap(void *address, size_t n, int protection, int flags, int fd, off_t at)
{
	REAL(mmap);
	MAP_BODY(real_mmap);
}
void *mmap64(void *address, size_t n, int protection, int flags, int fd, off64_t at)
{
	REAL(mmap64);
	MAP_BODY(real_mmap64);
}

/* ---- sockets ---- */

int accept4(int fd, struct sockaddr *address, socklen_t *n, int flags)
{
	REAL(accept4);
	int accepted = real_accept4(fd, address, n, flags);
	set_role(accepted, FD_ACCEPTED);
	return accepted;
}

int connect(int fd, const struct sockaddr *address, socklen_t n)
{
	REAL(connect);
	bool inet = address && (address->sa_family == AF_INET || address->sa_family == AF_INET6);
	if (inet && fails(KIND_NET))
		return refuse();
	set_role(fd, inet ? FD_CONNECTED : FD_OTHER);
	return real_connect(fd, address, n);
}

/* A connection of which one call fails is gone for both sides. */
static int cut(int fd)
{
	shutdown(fd, SHUT_RDWR);
	return refuse();
}
ssize_t send(int fd, const void *data, size_t n, int flags)
{
	REAL(send);
	if (role_of(fd) == FD_CONNECTED && fails(KIND_NET))
		return cut(fd);
	record_send(fd, data, n);
	if (role_of(fd) == FD_CONNECTED)
		RECORD(data, n, "tell %d", fd);
	return real_send(fd, data, n, flags);
}
ssize_t recv(int fd, void *data, size_t n, int flags)
{
	REAL(recv);
	if (role_of(fd) == FD_CONNECTED && fails(KIND_NET))
		return cut(fd);
	ssize_t got = real_recv(fd, data, n, flags);
	if (got > 0 && role_of(fd) == FD_CONNECTED)
		RECORD(data, got, "hear %d", fd);
	return got;
}
ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
	REAL(sendmsg);
	record_sends(fd, message->msg_iov, message->msg_iovlen);
	return real_sendmsg(fd, message, flags);
}

/* ---- memory ---- */

/* dlsym allocates: what it needs before the real functions are known is given from here, and never given back. */
static _Alignas(16) char early[65536];
static size_t early_used;
static __thread bool looking;

static void *give_early(size_t n)
{
	n = (n + 31) & ~(size_t)15;
	if (n > sizeof early - early_used)
		abort();
	char *p = early + early_used;
	early_used += n;
	return p;
}
static bool is_early(const void *p) { return (const char *)p >= early && (const char *)p < early + sizeof early; }

static void *(*real_malloc)(size_t);
static void *(*real_calloc)(size_t, size_t);
static void *(*real_realloc)(void *, size_t);
static void (*real_free)(void *);
static int (*real_posix_memalign)(void **, size_t, size_t);

/* ISO C has no way from an object pointer to a function pointer; POSIX says that both look the same. */
static void look_up(void *function, const char *name)
{
	void *found = dlsym(RTLD_NEXT, name);
	memcpy(function, &found, sizeof found);
}

static bool know_memory(void)
{
	if (real_posix_memalign)
		return true;
	if (looking)
		return false;
	looking = true;
	look_up(&real_free, "free");
	look_up(&real_calloc, "calloc");
	look_up(&real_malloc, "malloc");
	look_up(&real_realloc, "realloc");
	look_up(&real_posix_memalign, "posix_memalign");
	looking = false;
	return true;
}

static bool memory_fails(void)
{
	if (!control || !fails(KIND_MEMORY))
		return false;
	errno = ENOMEM;
	return true;
}

void *malloc(size_t n)
{
	if (!know_memory())
		return give_early(n);
	return memory_fails() ? NULL : real_malloc(n);
}

void *calloc(size_t count, size_t size)
{
	if (!know_memory())
		return give_early(count * size); /* static memory is zero */
	return memory_fails() ? NULL : real_calloc(count, size);
}

void *realloc(void *p, size_t n)
{
	if (!know_memory())
		abort();
	if (memory_fails())
		return NULL;
	if (!is_early(p))
		return real_realloc(p, n);
	size_t left = (size_t)(early + sizeof early - (char *)p);
	void *moved = real_malloc(n);
	if (moved)
		memcpy(moved, p, n < left ? n : left);
	return moved;
}

int posix_memalign(void **ret, size_t alignment, size_t n)
{
	if (!know_memory())
		abort();
	return memory_fails() ? ENOMEM : real_posix_memalign(ret, alignment, n);
}

void free(void *p)
{
	if (!is_early(p) && know_memory())
		real_free(p);
}

/* ---- beginning ---- */

__attribute__((constructor)) static void begin(void)
{
	const char *path = getenv("INJECT_CONTROL"), *record_path = getenv("INJECT_RECORD");
	int fd = path ? (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC, 0) : -1;
	REAL(mmap);
	if (fd < 0)
		return;
	struct control *mapped = real_mmap(NULL, sizeof *mapped, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	syscall(SYS_close, fd);
	if (mapped == MAP_FAILED)
		return;
	know_memory();
	folder_length = strlen(mapped->folder);
	if (record_path)
		record_fd = (int)syscall(SYS_openat, AT_FDCWD, record_path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
	control = mapped;
}
