/* The spool's directory: 0700, its lock, the names of its files. A file's name has the number by which files are drained and the salt that its
 * records are hashed with. Nothing here follows a symbolic link.
 * No state; any thread. */
#include "store/spool_work.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "store/backend.h"

#define LOCK_NAME "lock"
#define SALT_LETTER (UINT64_C(0xa) << 60) /* begins with a letter: no log takes the name for a phone number */
#define LOCK_TRIES 10
#define LOCK_PAUSE_MS 50

const char *const spool_file_kind_names[SPOOL_REFUSED + 1] = {
	[SPOOL_WAITING] = "waiting", [SPOOL_DAMAGED] = "damaged", [SPOOL_REFUSED] = "refused",
};

static const char *const suffixes[] = { [SPOOL_WAITING] = "", [SPOOL_DAMAGED] = ".damaged", [SPOOL_REFUSED] = ".refused" };
#define KINDS (sizeof suffixes / sizeof *suffixes)

/* ---- names ---- */

void spool_name_write(struct spool_file_name n, char ret[SPOOL_NAME_BYTES])
{
	snprintf(ret, SPOOL_NAME_BYTES, "%06" PRIu64 "-%016" PRIx64 ".spool%s", n.number, n.salt, suffixes[n.kind]);
}

bool spool_name_read(const char *text, struct spool_file_name *ret)
{
	char again[SPOOL_NAME_BYTES];
	struct spool_file_name n;
	char *end;
	n.number = strtoull(text, &end, 10);
	if (*end != '-')
		return false;
	n.salt = strtoull(end + 1, NULL, 16); /* whatever else is in the text, it is not written again */
	for (size_t k = 0; k < KINDS; k++) {
		n.kind = (enum spool_file_kind)k;
		spool_name_write(n, again);
		if (strcmp(text, again) == 0) {
			*ret = n;
			return true;
		}
	}
	return false;
}

/* ---- the directory ---- */

/* A disk that fails is no fault of the configuration, and no reason not to start. */
static int refuse(struct arena *a, struct slice *ret_message, const char *path, const char *what, int error)
{
	bool disk = error == EROFS || error == ENOSPC || error == EDQUOT || error == EIO;
	return store_fail(disk ? OC_IO : OC_CONFIG, a, ret_message, "the spool directory %s %s: %s; name another with --spool DIR, or do without: --spool none", path,
		what, strerror(error));
}

/* A directory that a crash takes away again keeps nothing. */
static int sync_parent(int fd)
{
	int parent = openat(fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (parent < 0)
		return -errno;
	int r = fsync(parent) == 0 ? 0 : -errno;
	close(parent);
	return r;
}

/* Somebody who only looks (spool_process) has it for a moment. */
static int take_lock(int fd)
{
	for (unsigned tries = 0; tries < LOCK_TRIES; tries++) {
		if (flock(fd, LOCK_EX | LOCK_NB) == 0)
			return 0;
		if (errno != EWOULDBLOCK && errno != EINTR)
			return -errno;
		nanosleep(&(struct timespec){ .tv_nsec = LOCK_PAUSE_MS * 1000000 }, NULL);
	}
	return -EWOULDBLOCK;
}

/* What root makes for a service is the service's. */
static void give_to_owner(int directory, int fd)
{
	struct stat info;
	if (geteuid() == 0 && fstat(directory, &info) == 0 && info.st_uid != 0 && fchown(fd, info.st_uid, info.st_gid) != 0)
		errno = 0;
}

static int check_owner(int directory, const char *path, struct arena *a, struct slice *ret_message)
{
	struct stat info;
	if (fstat(directory, &info) != 0)
		return refuse(a, ret_message, path, "cannot be used", errno);
	if (info.st_uid != geteuid() && geteuid() != 0)
		return refuse(a, ret_message, path, "belongs to somebody else", EPERM);
	if (info.st_mode & 022)
		return store_fail(OC_CONFIG, a, ret_message, "the spool directory %s can be written into by others, who could make up calls: chmod 700 it", path);
	return 0;
}

static int lock(int directory, const char *path, struct arena *a, int *ret, struct slice *ret_message)
{
	char process[24] = "";
	int fd = openat(directory, LOCK_NAME, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return refuse(a, ret_message, path, "cannot be locked", errno);
	int error = -take_lock(fd);
	if (error) {
		ssize_t n = pread(fd, process, sizeof process - 1, 0);
		close(fd);
		if (error != EWOULDBLOCK)
			return refuse(a, ret_message, path, "cannot be locked", error);
		return store_fail(OC_CONFIG, a, ret_message, "the spool directory %s is in use by another outcomed%s%.*s: each needs its own (--spool DIR)",
			path, n > 1 ? ", process " : "", n > 1 ? (int)n - 1 : 0, process);
	}
	give_to_owner(directory, fd);
	/* Only for that message: it may fail. */
	int n = snprintf(process, sizeof process, "%ld\n", (long)getpid());
	if (ftruncate(fd, 0) == 0 && pwrite(fd, process, (size_t)n, 0) != n)
		errno = 0;
	*ret = fd;
	return 0;
}

int spool_directory_open(const char *path, struct arena *a, int *ret_fd, int *ret_lock_fd, struct slice *ret_message)
{
	bool made = mkdir(path, 0700) == 0;
	if (!made && errno != EEXIST)
		return refuse(a, ret_message, path, "cannot be made", errno);
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return refuse(a, ret_message, path, "cannot be used", errno);
	int error = made ? sync_parent(fd) : 0;
	int r = error < 0 ? refuse(a, ret_message, path, "cannot be synced", -error) : check_owner(fd, path, a, ret_message);
	if (r == 0)
		r = lock(fd, path, a, ret_lock_fd, ret_message);
	if (r < 0)
		close(fd);
	else
		*ret_fd = fd;
	return r;
}

int64_t spool_process(int directory)
{
	char text[24];
	int64_t process = -1;
	int fd = openat(directory, LOCK_NAME, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return 0;
	if (flock(fd, LOCK_SH | LOCK_NB) == 0) {
		process = 0;
	} else {
		ssize_t n = pread(fd, text, sizeof text, 0);
		if (n < 2 || !slice_to_int64(slice_of(text, (size_t)n - 1), &process))
			process = -1;
	}
	close(fd);
	return process;
}

/* ---- files ---- */

static int by_number(const void *x, const void *y)
{
	const struct spool_file_name *a = x, *b = y;
	if (a->number != b->number)
		return a->number < b->number ? -1 : 1;
	return (a->salt > b->salt) - (a->salt < b->salt);
}

static int add_name(struct spool_file_name **names, size_t *count, size_t *room, struct spool_file_name n)
{
	if (*count == *room) {
		size_t more = *room ? *room * 2 : 64;
		struct spool_file_name *longer = realloc(*names, more * sizeof *longer);
		if (!longer)
			return OC_NOMEM;
		*names = longer;
		*room = more;
	}
	(*names)[(*count)++] = n;
	return 0;
}

int spool_directory_list(int fd, struct spool_file_name **ret, size_t *ret_count)
{
	int own = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC); /* closedir takes it */
	DIR *d = own >= 0 ? fdopendir(own) : NULL;
	struct spool_file_name *names = NULL, n;
	size_t count = 0, room = 0;
	int r = 0;
	if (!d) {
		if (own >= 0)
			close(own);
		return OC_IO;
	}
	errno = 0;
	for (struct dirent *e; r == 0 && (e = readdir(d)) != NULL;)
		if (spool_name_read(e->d_name, &n))
			r = add_name(&names, &count, &room, n);
	if (r == 0 && errno)
		r = OC_IO;
	closedir(d);
	if (r < 0) {
		free(names);
		return r;
	}
	if (count > 1)
		qsort(names, count, sizeof *names, by_number);
	*ret = names;
	*ret_count = count;
	return 0;
}

int spool_file_make(int directory, uint64_t number, struct spool_file_name *ret)
{
	struct spool_file_name n = { .number = number, .kind = SPOOL_WAITING };
	char name[SPOOL_NAME_BYTES];
	if (getrandom(&n.salt, sizeof n.salt, 0) != sizeof n.salt)
		return -EIO;
	n.salt = n.salt >> 4 | SALT_LETTER;
	spool_name_write(n, name);
	int fd = openat(directory, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	give_to_owner(directory, fd);
	*ret = n;
	return fd;
}
