/* store/spool*.c: what was acknowledged comes back whole, in order, once committed never again; whatever is torn or flipped is found, said and passed
 * over. Syncs and writes go through here, so that each can fail. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "store/spool_work.h"

/* ---- faults ---- */

static struct {
	int write_error, sync_error, directory_sync_error; /* errno; 0 = none */
	size_t write_most;                                 /* bytes of a write; 0 = all */
	unsigned syncs, directory_syncs;
} fault;

int __real_fdatasync(int fd);
int __wrap_fdatasync(int fd);
int __wrap_fdatasync(int fd)
{
	fault.syncs++;
	if (!fault.sync_error)
		return __real_fdatasync(fd);
	errno = fault.sync_error;
	return -1;
}

int __real_fsync(int fd);
int __wrap_fsync(int fd);
int __wrap_fsync(int fd)
{
	fault.directory_syncs++;
	if (!fault.directory_sync_error)
		return __real_fsync(fd);
	errno = fault.directory_sync_error;
	return -1;
}

ssize_t __real_pwritev64(int fd, const struct iovec *parts, int count, off_t at);
ssize_t __wrap_pwritev64(int fd, const struct iovec *parts, int count, off_t at);
ssize_t __wrap_pwritev64(int fd, const struct iovec *parts, int count, off_t at)
{
	if (fault.write_error) {
		errno = fault.write_error;
		return -1;
	}
	if (!fault.write_most)
		return __real_pwritev64(fd, parts, count, at);
	struct iovec one = parts[0].iov_len ? parts[0] : parts[1];
	if (one.iov_len > fault.write_most)
		one.iov_len = fault.write_most;
	return __real_pwritev64(fd, &one, 1, at);
}

ssize_t __wrap_pwritev(int fd, const struct iovec *parts, int count, off_t at);
ssize_t __wrap_pwritev(int fd, const struct iovec *parts, int count, off_t at) { return __wrap_pwritev64(fd, parts, count, at); }

static long until_failure = -1; /* allocations that succeed before one fails; negative: all succeed */
static bool has_failed;

void *__real_malloc(size_t n);
void *__real_calloc(size_t count, size_t each);
void *__real_realloc(void *p, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t count, size_t each);
void *__wrap_realloc(void *p, size_t n);

static bool fails_now(void)
{
	if (until_failure < 0 || until_failure-- > 0)
		return false;
	has_failed = true;
	return true;
}

void *__wrap_malloc(size_t n) { return fails_now() ? NULL : __real_malloc(n); }
void *__wrap_calloc(size_t count, size_t each) { return fails_now() ? NULL : __real_calloc(count, each); }
void *__wrap_realloc(void *p, size_t n) { return fails_now() ? NULL : __real_realloc(p, n); }

/* ---- a spool in a directory of its own ---- */

static char base[64], directory[96];
static struct arena *a;
static struct spool *s;

static int setup(void **state)
{
	(void)state;
	memset(&fault, 0, sizeof fault);
	snprintf(base, sizeof base, "/tmp/outcomed-spool-XXXXXX");
	assert_non_null(mkdtemp(base));
	snprintf(directory, sizeof directory, "%s/spool", base);
	a = arena_new(65536);
	assert_non_null(a);
	s = NULL;
	return 0;
}

static void for_each_file(void (*visit)(const char *path))
{
	DIR *d = opendir(directory);
	if (!d)
		return;
	for (struct dirent *e; (e = readdir(d)) != NULL;) {
		char path[512];
		snprintf(path, sizeof path, "%s/%s", directory, e->d_name);
		if (e->d_name[0] != '.')
			visit(path);
	}
	closedir(d);
}

static void remove_path(const char *path) { unlink(path); }

static int teardown(void **state)
{
	(void)state;
	memset(&fault, 0, sizeof fault);
	spool_close(s);
	arena_free(a);
	chmod(directory, 0700);
	for_each_file(remove_path);
	rmdir(directory);
	return rmdir(base);
}

static int try_open(struct spool_options o, struct slice *ret_message)
{
	o.directory = directory;
	int r = spool_open(&o, a, &s, ret_message);
	return r < 0 ? r : spool_take_stock(s, NULL, NULL);
}

static void open_with(struct spool_options o)
{
	struct slice message = SLICE("");
	int r = try_open(o, &message);
	if (r)
		print_message("%.*s\n", SLICE_FMT(message));
	assert_int_equal(r, 0);
}

static void open_spool(void) { open_with((struct spool_options){ .pause_ms = 1 }); }

static void reopen(void)
{
	spool_close(s);
	s = NULL;
	open_spool();
}

static struct spool_event numbered(int i)
{
	struct spool_event e = { .key = (uint64_t)i * 7, .received_ms = 1700000000000 + i, .source = SLICE("livekit"), .key_id = SLICE("key") };
	char text[64];
	snprintf(text, sizeof text, "EV_%d", i);
	e.event_id = slice_cstr(arena_dup(a, slice_cstr(text)));
	snprintf(text, sizeof text, "{\"event\":\"room_started\",\"n\":%d}", i);
	e.payload = slice_cstr(arena_dup(a, slice_cstr(text)));
	memset(e.body_hash, i, sizeof e.body_hash);
	return e;
}

static int append_numbers(int from, int to)
{
	struct spool_event events[64];
	for (int i = from; i < to; i++)
		events[i - from] = numbered(i);
	return spool_append(s, events, (size_t)(to - from));
}

static int number_of(const struct spool_event *e)
{
	int n = -1;
	assert_int_equal(sscanf(e->event_id.p, "EV_%d", &n), 1);
	return n;
}

/* Takes everything out; the numbers in *ret, -1 behind the last. Ends also where what is there never ends. */
static int drain_all(int *ret, int most, struct spool_damage *ret_damage)
{
	int count = 0;
	struct spool_batch b;
	memset(ret_damage, 0, sizeof *ret_damage);
	for (int rounds = 0;; rounds++) {
		bool aside;
		assert_true(rounds < 1000);
		assert_int_equal(spool_next(s, 3, 1000, a, &b), 0);
		if (!b.waits)
			return count;
		if (b.begins && (b.damage.stretches || b.damage.torn_bytes || b.damage.lost))
			*ret_damage = b.damage;
		for (size_t i = 0; i < b.count; i++) {
			assert_true(count < most);
			struct spool_event expected = numbered(ret[count] = number_of(&b.events[i]));
			assert_true(slice_eq(expected.payload, b.events[i].payload));
			assert_true(slice_eq(expected.source, b.events[i].source));
			assert_true(slice_eq(expected.key_id, b.events[i].key_id));
			assert_memory_equal(expected.body_hash, b.events[i].body_hash, sizeof expected.body_hash);
			assert_int_equal(expected.received_ms, b.events[i].received_ms);
			assert_int_equal(expected.key, b.events[i].key);
			count++;
		}
		assert_int_equal(spool_drained(s, b.count, false, &aside), 0);
	}
}

static void must_drain(int from, int to)
{
	int numbers[512];
	struct spool_damage damage;
	assert_int_equal(drain_all(numbers, 512, &damage), to - from);
	for (int i = from; i < to; i++)
		assert_int_equal(numbers[i - from], i);
}

static int64_t waiting(void)
{
	struct spool_status t;
	spool_get_status(s, &t);
	return t.events;
}

static int file_count(const char *suffix)
{
	int count = 0;
	DIR *d = opendir(directory);
	assert_non_null(d);
	for (struct dirent *e; (e = readdir(d)) != NULL;) {
		size_t n = strlen(e->d_name), m = strlen(suffix);
		count += n >= m && strcmp(e->d_name + n - m, suffix) == 0;
	}
	closedir(d);
	return count;
}

static char first_path[512];

static void note_first(const char *path)
{
	const char *end = strstr(path, ".spool");
	if (end && strcmp(end, ".spool") == 0 && (!first_path[0] || strcmp(path, first_path) < 0))
		snprintf(first_path, sizeof first_path, "%s", path);
}

static const char *first_file(void)
{
	first_path[0] = '\0';
	for_each_file(note_first);
	assert_true(first_path[0]);
	return first_path;
}

static size_t read_file(const char *path, unsigned char *into, size_t size)
{
	int fd = open(path, O_RDONLY);
	assert_true(fd >= 0);
	ssize_t n = read(fd, into, size);
	assert_true(n >= 0 && (size_t)n < size);
	close(fd);
	return (size_t)n;
}

static void write_file(const char *path, const unsigned char *bytes, size_t n)
{
	int fd = open(path, O_WRONLY | O_TRUNC | O_CREAT, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, n), (ssize_t)n);
	close(fd);
}

static bool is_any(void *context, const struct spool_event *e)
{
	++*(int *)context;
	return e != NULL;
}

/* ---- what it is for ---- */

static void what_is_appended_comes_back_in_order(void **state)
{
	(void)state;
	open_spool();
	for (int i = 0; i < 20; i += 4)
		assert_int_equal(append_numbers(i, i + 4), 0);
	assert_int_equal(waiting(), 20);
	must_drain(0, 20);
	assert_int_equal(waiting(), 0);
	assert_int_equal(file_count(".spool"), 0);
}

static void an_append_is_synced_before_it_is_said(void **state)
{
	(void)state;
	open_spool();
	fault.syncs = fault.directory_syncs = 0;
	assert_int_equal(append_numbers(0, 5), 0);
	assert_int_equal(fault.syncs, 1);
	assert_int_equal(fault.directory_syncs, 1);
	assert_int_equal(append_numbers(5, 6), 0);
	assert_int_equal(fault.syncs, 2);
	assert_int_equal(fault.directory_syncs, 1);
}

static void what_is_left_is_there_at_the_next_start(void **state)
{
	(void)state;
	open_spool();
	assert_int_equal(append_numbers(0, 7), 0);
	reopen();
	assert_int_equal(waiting(), 7);
	assert_int_equal(append_numbers(7, 9), 0);
	must_drain(0, 9);
}

static uint64_t key_sum;
static void add_key(void *context, uint64_t key)
{
	assert_ptr_equal(context, &key_sum);
	key_sum += key;
}

static void the_keys_of_what_is_left_are_told(void **state)
{
	(void)state;
	struct slice message;
	open_spool();
	assert_int_equal(append_numbers(1, 4), 0);
	spool_close(s);
	const struct spool_options o = { .directory = directory };
	assert_int_equal(spool_open(&o, a, &s, &message), 0);
	assert_int_equal(spool_take_stock(s, add_key, &key_sum), 0);
	assert_int_equal(key_sum, 7 * (1 + 2 + 3));
}

static void a_batch_is_given_again_until_it_is_drained(void **state)
{
	(void)state;
	struct spool_batch b;
	bool aside;
	open_spool();
	assert_int_equal(append_numbers(0, 6), 0);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(spool_next(s, 4, 10000, a, &b), 0);
		assert_int_equal(b.count, 4);
		assert_int_equal(number_of(&b.events[0]), 0);
		assert_int_equal(b.begins, i == 0);
	}
	assert_int_equal(spool_drained(s, 2, false, &aside), 0);
	assert_int_equal(waiting(), 4);
	assert_int_equal(file_count(".spool"), 1);
	assert_int_equal(spool_next(s, 4, 10000, a, &b), 0);
	assert_int_equal(number_of(&b.events[0]), 2);
	reopen(); /* whoever dies now begins the file again: nothing of it is gone */
	must_drain(0, 6);
}

static void a_file_goes_only_with_its_last_event(void **state)
{
	(void)state;
	struct spool_batch b;
	bool aside;
	open_with((struct spool_options){ .file_bytes = 1 });
	for (int i = 0; i < 3; i++)
		assert_int_equal(append_numbers(i, i + 1), 0);
	assert_int_equal(file_count(".spool"), 3);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(spool_next(s, 4, 10000, a, &b), 0);
		assert_int_equal(b.count, 1);
		assert_int_equal(file_count(".spool"), 3 - i);
		assert_int_equal(spool_drained(s, 1, false, &aside), 0);
		assert_int_equal(file_count(".spool"), 2 - i);
	}
}

static void appending_goes_on_while_draining(void **state)
{
	(void)state;
	struct spool_batch b;
	bool aside;
	open_spool();
	assert_int_equal(append_numbers(0, 3), 0);
	assert_int_equal(spool_next(s, 1, 10000, a, &b), 0);
	assert_int_equal(append_numbers(3, 5), 0);
	assert_int_equal(spool_drained(s, 1, false, &aside), 0);
	must_drain(1, 5);
}

static void texts_of_every_kind_come_back(void **state)
{
	(void)state;
	struct spool_batch b;
	char big[70000];
	memset(big, 'x', sizeof big);
	open_spool();
	struct spool_event events[] = {
		{ .event_id = SLICE("sha256:1"), .source = SLICE("hmac"), .key_id = SLICE_NONE, .raw = true, .payload = slice_of("\0\xff\xfe{", 4) },
		{ .event_id = SLICE("b"), .source = SLICE(""), .key_id = SLICE(""), .payload = SLICE(""), .received_ms = -1 },
		{ .event_id = SLICE("c"), .source = SLICE("mark"), .key_id = SLICE_NONE, .payload = slice_of(big, sizeof big), .received_ms = INT64_MAX },
	};
	assert_int_equal(spool_append(s, events, 3), 0);
	assert_int_equal(spool_next(s, 9, 1 << 20, a, &b), 0);
	assert_int_equal(b.count, 3);
	assert_true(b.events[0].raw && slice_eq(b.events[0].payload, events[0].payload) && slice_is_none(b.events[0].key_id));
	assert_true(!b.events[1].raw && b.events[1].received_ms == -1 && slice_is_empty(b.events[1].key_id) && !slice_is_none(b.events[1].key_id));
	assert_true(b.events[2].received_ms == INT64_MAX && slice_eq(b.events[2].payload, events[2].payload));
	events[0].event_id = slice_of(big, 65535);
	assert_int_equal(spool_append(s, events, 1), OC_INVALID);
}

static void a_batch_of_many_megabytes_is_several_files(void **state)
{
	(void)state;
	enum { EACH = 300000, COUNT = 30 };
	char *big = malloc(EACH);
	struct spool_event events[COUNT];
	assert_non_null(big);
	memset(big, 'y', EACH);
	open_spool();
	for (int i = 0; i < COUNT; i++) {
		events[i] = numbered(i);
		events[i].payload = slice_of(big, EACH);
	}
	assert_int_equal(spool_append(s, events, COUNT), 0);
	assert_true(file_count(".spool") >= 4);
	for (int i = 0; i < COUNT;) {
		struct spool_batch b;
		bool aside;
		arena_reset(a);
		assert_int_equal(spool_next(s, 100, 1 << 20, a, &b), 0);
		assert_true(b.count > 0 && b.count <= 4);
		for (size_t k = 0; k < b.count; k++)
			assert_int_equal(number_of(&b.events[k]), i++);
		assert_int_equal(spool_drained(s, b.count, false, &aside), 0);
	}
	free(big);
}

/* ---- limits ---- */

static void beyond_its_limit_nothing_is_taken(void **state)
{
	(void)state;
	struct spool_status t;
	open_with((struct spool_options){ .limit_bytes = 2000 });
	int taken = 0;
	while (append_numbers(taken, taken + 1) == 0)
		assert_true(++taken < 100);
	assert_true(taken >= 3);
	assert_int_equal(append_numbers(taken, taken + 1), OC_FULL);
	spool_get_status(s, &t);
	assert_true(!t.takes && t.bytes <= 2000 && strstr(t.error, "limit"));
	must_drain(0, taken);
	spool_get_status(s, &t);
	assert_true(t.takes);
	assert_int_equal(append_numbers(0, 1), 0);
}

static void what_was_left_counts_toward_the_limit(void **state)
{
	(void)state;
	open_spool();
	assert_int_equal(append_numbers(0, 10), 0);
	spool_close(s);
	open_with((struct spool_options){ .limit_bytes = 2000 });
	assert_int_equal(append_numbers(10, 11), OC_FULL);
}

/* ---- the disk fails ---- */

static void pause_over(void) { nanosleep(&(struct timespec){ .tv_nsec = 3000000 }, NULL); }

static void after_a_failed_sync_the_file_is_never_written_again(void **state)
{
	(void)state;
	struct spool_status t;
	struct stat before, after;
	open_spool();
	assert_int_equal(append_numbers(0, 2), 0);
	char path[sizeof first_path];
	strcpy(path, first_file());
	fault.sync_error = EIO;
	assert_int_equal(append_numbers(2, 4), OC_IO);
	spool_get_status(s, &t);
	assert_true(!t.takes && strstr(t.error, "syncing"));
	assert_int_equal(stat(path, &before), 0);
	fault.sync_error = 0;
	pause_over();
	assert_int_equal(append_numbers(4, 6), 0);
	assert_int_equal(stat(path, &after), 0);
	assert_int_equal(before.st_size, after.st_size);
	assert_int_equal(file_count(".spool"), 2);
	spool_get_status(s, &t);
	assert_true(t.takes);
	must_drain(0, 6); /* 2 and 3 were not acknowledged, and happen to be whole */
}

static void within_the_pause_nothing_is_tried(void **state)
{
	(void)state;
	open_with((struct spool_options){ .pause_ms = 60000 });
	fault.sync_error = EIO;
	assert_int_equal(append_numbers(0, 1), OC_IO);
	fault.sync_error = 0;
	fault.syncs = 0;
	assert_int_equal(append_numbers(1, 2), OC_IO);
	assert_int_equal(fault.syncs, 0);
}

static void a_new_file_counts_only_with_its_directory_synced(void **state)
{
	(void)state;
	open_spool();
	fault.directory_sync_error = EIO;
	assert_int_equal(append_numbers(0, 1), OC_IO);
	fault.directory_sync_error = 0;
	pause_over();
	assert_int_equal(append_numbers(0, 1), 0);
}

static void a_full_disk_loses_nothing_that_was_acknowledged(void **state)
{
	(void)state;
	struct spool_status t;
	open_spool();
	assert_int_equal(append_numbers(0, 3), 0);
	fault.write_error = ENOSPC;
	assert_int_equal(append_numbers(3, 4), OC_IO);
	spool_get_status(s, &t);
	assert_non_null(strstr(t.error, "No space left"));
	pause_over();
	assert_int_equal(append_numbers(3, 4), OC_IO);
	fault.write_error = 0;
	pause_over();
	assert_int_equal(append_numbers(3, 5), 0);
	must_drain(0, 5);
}

static void short_writes_are_gone_on_with(void **state)
{
	(void)state;
	open_spool();
	for (size_t most = 1; most < 400; most += 37) {
		fault.write_most = most;
		assert_int_equal(append_numbers(0, 4), 0);
		fault.write_most = 0;
		must_drain(0, 4);
	}
}

/* ---- damage ---- */

enum { SMALL = 3, SMALL_FILE = 4096 };

/* The bytes of a file with the events 0 to SMALL - 1 in two appends. */
static size_t small_file(unsigned char *bytes, char *path, size_t size)
{
	open_spool();
	assert_int_equal(append_numbers(0, 2), 0);
	assert_int_equal(append_numbers(2, SMALL), 0);
	snprintf(path, size, "%s", first_file());
	spool_close(s);
	s = NULL;
	return read_file(path, bytes, SMALL_FILE);
}

static void remove_damaged(const char *path)
{
	if (strstr(path, ".damaged"))
		unlink(path);
}

/* Without the directory around it, for there are many bits. */
static void any_one_bit_flipped_loses_nothing(void **state)
{
	(void)state;
	unsigned char bytes[SMALL_FILE];
	char path[512];
	struct spool_file_name name;
	size_t n = small_file(bytes, path, sizeof path);
	assert_true(spool_name_read(strrchr(path, '/') + 1, &name));
	int fd = open(path, O_RDWR);
	assert_true(fd >= 0);
	for (size_t bit = 0; bit < n * 8; bit++) {
		struct spool_scan scan;
		unsigned char flipped = (unsigned char)(bytes[bit / 8] ^ 1 << bit % 8);
		assert_int_equal(pwrite(fd, &flipped, 1, (off_t)(bit / 8)), 1);
		assert_int_equal(spool_scan_file(fd, name.salt, false, &scan), 0);
		assert_int_equal(scan.count, SMALL);
		assert_true(scan.damage.stretches == 1 && scan.damage.lost == 0 && scan.damage.torn_bytes == 0);
		for (size_t i = 0; i < SMALL; i++) {
			struct spool_event e;
			assert_int_equal(spool_place_read(fd, &scan.places[i], a, &e), 0);
			assert_int_equal(number_of(&e), i);
		}
		spool_scan_done(&scan);
		assert_int_equal(pwrite(fd, &bytes[bit / 8], 1, (off_t)(bit / 8)), 1);
		arena_reset(a);
	}
	close(fd);
}

static void any_one_byte_changed_loses_nothing_and_is_said(void **state)
{
	(void)state;
	unsigned char bytes[SMALL_FILE];
	char path[512];
	size_t n = small_file(bytes, path, sizeof path);
	for (size_t at = 0; at < n; at++) {
		int numbers[16];
		struct spool_damage damage;
		bytes[at] ^= 0xff;
		write_file(path, bytes, n);
		open_spool();
		assert_int_equal(drain_all(numbers, 16, &damage), SMALL);
		for (int i = 0; i < SMALL; i++)
			assert_int_equal(numbers[i], i);
		assert_true(damage.stretches == 1 && damage.lost == 0 && damage.first_at <= (int64_t)at && damage.first_at + damage.bytes > (int64_t)at);
		assert_int_equal(file_count(".damaged"), 1);
		assert_int_equal(file_count(".spool"), 0);
		spool_close(s);
		s = NULL;
		for_each_file(remove_damaged);
		bytes[at] ^= 0xff;
		arena_reset(a);
	}
}

static void torn_anywhere_what_was_whole_before_is_there(void **state)
{
	(void)state;
	unsigned char bytes[SMALL_FILE];
	char path[512];
	size_t n = small_file(bytes, path, sizeof path), record = n / 6;
	for (size_t cut = 0; cut < n; cut++) {
		int numbers[16];
		struct spool_damage damage;
		write_file(path, bytes, cut);
		open_spool();
		int count = drain_all(numbers, 16, &damage), whole = cut >= 5 * record ? 3 : cut >= 2 * record ? 2 : cut >= record ? 1 : 0;
		assert_int_equal(count, whole);
		for (int i = 0; i < count; i++)
			assert_int_equal(numbers[i], i);
		assert_int_equal(damage.stretches, 0);
		assert_int_equal(damage.torn_bytes, cut % record);
		assert_int_equal(file_count(".damaged"), 0); /* that was never acknowledged: nothing to look into */
		spool_close(s);
		s = NULL;
		unlink(path);
		arena_reset(a);
	}
}

static void a_stretch_over_both_copies_is_counted_as_lost(void **state)
{
	(void)state;
	unsigned char bytes[SMALL_FILE];
	char path[512];
	int numbers[16];
	struct spool_damage damage;
	size_t n = small_file(bytes, path, sizeof path), record = n / 6;
	memset(bytes + record, 0xaa, record); /* 1 and its copy; the records are 0 1 0 1 2 2 */
	memset(bytes + 3 * record, 0xaa, record);
	write_file(path, bytes, n);
	open_spool();
	assert_int_equal(drain_all(numbers, 16, &damage), 2);
	assert_int_equal(numbers[0], 0);
	assert_int_equal(numbers[1], 2);
	assert_int_equal(damage.lost, 1);
	assert_int_equal(damage.stretches, 2);
	assert_int_equal(damage.first_at, record);
	assert_int_equal(file_count(".damaged"), 1);
	struct spool_status t;
	spool_get_status(s, &t);
	assert_int_equal(t.set_aside, 1);
}

static void a_record_of_another_file_is_none(void **state)
{
	(void)state;
	unsigned char bytes[SMALL_FILE], others[SMALL_FILE];
	char path[512], other[512];
	int numbers[16];
	struct spool_damage damage;
	size_t n = small_file(bytes, path, sizeof path);
	unlink(path);
	size_t m = small_file(others, other, sizeof other);
	assert_int_equal(n, m);
	write_file(other, bytes, n);
	open_spool();
	assert_int_equal(drain_all(numbers, 16, &damage), 0);
	assert_int_equal(damage.bytes, n);
	assert_int_equal(file_count(".damaged"), 1);
}

static void an_event_that_holds_a_record_is_no_way_in(void **state)
{
	(void)state;
	unsigned char bytes[SMALL_FILE];
	char path[512];
	int numbers[16];
	struct spool_damage damage;
	struct spool_event forged = numbered(99), carrier = numbered(1);
	_cleanup_buf_ struct buf record = BUF_INIT;
	assert_int_equal(spool_record_put(&record, 0, 2, &forged), 0);
	carrier.raw = true;
	carrier.payload = buf_slice(&record);
	open_spool();
	assert_int_equal(spool_append(s, &carrier, 1), 0);
	strcpy(path, first_file());
	spool_close(s);
	s = NULL;
	size_t n = read_file(path, bytes, sizeof bytes);
	bytes[20] ^= 1; /* of the carrier's header, and of its copy's */
	bytes[n / 2 + 20] ^= 1;
	write_file(path, bytes, n);
	open_spool();
	assert_int_equal(drain_all(numbers, 16, &damage), 0);
	assert_int_equal(damage.bytes, n);
}

static void zeros_at_the_end_are_torn_and_no_damage(void **state)
{
	(void)state;
	unsigned char bytes[2 * SMALL_FILE] = { 0 };
	char path[512];
	int numbers[16];
	struct spool_damage damage;
	size_t n = small_file(bytes, path, sizeof path);
	memset(bytes + n, 0, sizeof bytes - n);
	write_file(path, bytes, n + 3000);
	open_spool();
	assert_int_equal(drain_all(numbers, 16, &damage), SMALL);
	assert_int_equal(damage.torn_bytes, 3000);
	assert_int_equal(damage.stretches, 0);
}

static void a_file_that_went_away_is_said_and_passed_over(void **state)
{
	(void)state;
	int numbers[16];
	struct spool_damage damage;
	open_with((struct spool_options){ .file_bytes = 1, .pause_ms = 1 });
	assert_int_equal(append_numbers(0, 1), 0);
	assert_int_equal(append_numbers(1, 2), 0);
	unlink(first_file());
	assert_int_equal(drain_all(numbers, 16, &damage), 1);
	assert_int_equal(numbers[0], 1);
	assert_int_equal(damage.lost, 1);
}

static void a_refused_event_keeps_its_file(void **state)
{
	(void)state;
	struct spool_batch b;
	bool aside;
	open_spool();
	assert_int_equal(append_numbers(0, 2), 0);
	assert_int_equal(spool_next(s, 9, 10000, a, &b), 0);
	assert_int_equal(spool_drained(s, 1, true, &aside), 0);
	assert_false(aside);
	assert_int_equal(spool_drained(s, 1, false, &aside), 0);
	assert_true(aside);
	assert_int_equal(file_count(".refused"), 1);
	assert_int_equal(waiting(), 0);
	reopen();
	assert_int_equal(waiting(), 0);
	struct spool_status t;
	spool_get_status(s, &t);
	assert_int_equal(t.set_aside, 1);
}

/* ---- no memory ---- */

/* Opens, appends the events one by one, takes a batch. *ret_kept: how many were acknowledged. */
static int live_a_little(const struct spool_event *events, int count, struct arena *own, int *ret_kept)
{
	struct slice message;
	struct spool_batch b;
	struct spool_inspection seen;
	int64_t removed;
	int all = 0, r = try_open((struct spool_options){ .pause_ms = 1, .file_bytes = 600 }, &message);
	for (int i = 0; i < count && r == 0; i++) {
		r = spool_append(s, &events[i], 1);
		*ret_kept += r == 0;
	}
	if (r == 0)
		r = spool_inspect(directory, own, &seen, &message);
	if (r == 0)
		r = spool_filter(s, is_any, &all, &removed);
	if (r == 0)
		r = spool_next(s, 2, 1000, own, &b);
	return r;
}

static void whichever_allocation_fails_nothing_is_lost(void **state)
{
	(void)state;
	enum { EVENTS = 5 };
	struct spool_event events[EVENTS];
	bool failed = true;
	for (int i = 0; i < EVENTS; i++)
		events[i] = numbered(i);
	for (long n = 0; failed; n++) {
		_cleanup_arena_ struct arena *own = arena_new(64);
		int kept = 0, numbers[64];
		bool there[EVENTS] = { false };
		struct spool_damage damage;
		assert_true(n < 1000 && own);
		has_failed = false;
		until_failure = n;
		int r = live_a_little(events, EVENTS, own, &kept);
		until_failure = -1;
		failed = has_failed;
		assert_int_equal(r, failed ? OC_NOMEM : 0);
		spool_close(s);
		s = NULL;
		open_spool();
		int count = drain_all(numbers, 64, &damage);
		assert_true(damage.stretches == 0 && damage.lost == 0);
		for (int i = 0; i < count; i++)
			there[numbers[i]] = true;
		for (int i = 0; i < kept; i++)
			assert_true(there[i]);
		spool_close(s);
		s = NULL;
	}
}

/* ---- the directory ---- */

static void two_processes_do_not_share_one(void **state)
{
	(void)state;
	open_spool();
	pid_t child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		struct arena *mine = arena_new(4096);
		struct slice message = SLICE("");
		struct spool *second;
		const struct spool_options o = { .directory = directory };
		int r = mine ? spool_open(&o, mine, &second, &message) : OC_NOMEM;
		bool said = memmem(message.p, message.n, "in use by another outcomed, process", 35) != NULL;
		arena_free(mine);
		_exit(r == OC_CONFIG && said ? 0 : 1);
	}
	int status;
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	reopen(); /* and free again when it is closed */
}

static void the_directory_and_its_files_are_private(void **state)
{
	(void)state;
	struct stat info;
	mode_t mask = umask(0);
	open_spool();
	assert_int_equal(append_numbers(0, 1), 0);
	umask(mask);
	assert_int_equal(stat(directory, &info), 0);
	assert_int_equal(info.st_mode & 07777, 0700);
	assert_int_equal(stat(first_file(), &info), 0);
	assert_int_equal(info.st_mode & 07777, 0600);
}

static void a_directory_that_cannot_be_is_said(void **state)
{
	(void)state;
	struct slice message = SLICE("");
	write_file(directory, (const unsigned char *)"", 0);
	assert_int_equal(try_open((struct spool_options){ 0 }, &message), OC_CONFIG);
	assert_non_null(memmem(message.p, message.n, "--spool", 7));
	unlink(directory);
	char kept[sizeof directory];
	strcpy(kept, directory);
	snprintf(directory, sizeof directory, "%s/no/such", base);
	assert_int_equal(try_open((struct spool_options){ 0 }, &message), OC_CONFIG);
	strcpy(directory, kept);
}

static void a_directory_that_others_write_into_is_refused(void **state)
{
	(void)state;
	struct slice message = SLICE("");
	assert_int_equal(mkdir(directory, 0700), 0);
	assert_int_equal(chmod(directory, 0770), 0);
	assert_int_equal(try_open((struct spool_options){ 0 }, &message), OC_CONFIG);
	assert_non_null(memmem(message.p, message.n, "chmod 700", 9));
	assert_int_equal(chmod(directory, 0750), 0); /* a backup may read it */
	open_spool();
}

static void what_root_makes_is_the_owners(void **state)
{
	(void)state;
	struct stat info;
	if (geteuid() != 0)
		skip();
	assert_int_equal(mkdir(directory, 0700), 0);
	assert_int_equal(chown(directory, 65534, 65534), 0);
	open_spool();
	assert_int_equal(append_numbers(0, 1), 0);
	assert_int_equal(stat(first_file(), &info), 0);
	assert_true(info.st_uid == 65534 && info.st_gid == 65534);
	pid_t child = fork(); /* and who is not the owner may not have it */
	assert_true(child >= 0);
	if (child == 0) {
		struct arena *mine = arena_new(4096);
		struct slice said = SLICE("");
		struct spool *other;
		const struct spool_options o = { .directory = directory };
		if (!mine || chmod(base, 0755) != 0 || chmod(directory, 0755) != 0 || setuid(65533) != 0)
			_exit(1);
		int r = spool_open(&o, mine, &other, &said);
		bool told = memmem(said.p, said.n, "belongs to somebody else", 24) != NULL;
		arena_free(mine);
		_exit(r == OC_CONFIG && told ? 0 : 1);
	}
	int status;
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void many_files_made_while_the_oldest_is_drained(void **state)
{
	(void)state;
	struct spool_batch b;
	bool aside;
	open_with((struct spool_options){ .file_bytes = 1 });
	assert_int_equal(append_numbers(0, 2), 0);
	assert_int_equal(spool_next(s, 1, 10000, a, &b), 0);
	for (int i = 2; i < 200; i++)
		assert_int_equal(append_numbers(i, i + 1), 0);
	assert_int_equal(spool_drained(s, 1, false, &aside), 0);
	must_drain(1, 200);
}

static void other_files_in_it_are_left_alone(void **state)
{
	(void)state;
	struct spool_file_name n;
	static const char *const strange[] = { "README", "000001-00000000000000aa.spool.old", "1-aa.spool", "000001-00000000000000AA.spool",
		"000001-00000000000000aa.spoo", "-00001-00000000000000aa.spool", "" };
	for (size_t i = 0; i < sizeof strange / sizeof *strange; i++)
		assert_false(spool_name_read(strange[i], &n));
	assert_true(spool_name_read("000012-00000000000000aa.spool.damaged", &n));
	assert_true(n.number == 12 && n.salt == 0xaa && n.kind == SPOOL_DAMAGED);
}

/* ---- looking and filtering ---- */

static void looking_tells_what_is_there(void **state)
{
	(void)state;
	unsigned char bytes[SMALL_FILE];
	char path[512];
	struct slice message;
	struct spool_inspection found;
	assert_int_equal(spool_inspect(directory, a, &found, &message), OC_NOT_FOUND);
	size_t n = small_file(bytes, path, sizeof path);
	bytes[80] ^= 4;
	write_file(path, bytes, n);
	assert_int_equal(spool_inspect(directory, a, &found, &message), 0);
	assert_true(found.count == 1 && found.process == 0 && found.private && found.writable && found.free_bytes > 0);
	assert_true(found.files[0].kind == SPOOL_WAITING && found.files[0].events == SMALL && found.files[0].bytes == (int64_t)n);
	assert_int_equal(found.files[0].oldest_ms, 1700000000000);
	assert_true(found.files[0].damage.stretches == 1 && found.files[0].damage.lost == 0);
	open_spool();
	assert_int_equal(spool_inspect(directory, a, &found, &message), 0);
	assert_int_equal(found.process, getpid());
}

static bool is_even(void *context, const struct spool_event *e)
{
	++*(int *)context;
	return number_of(e) % 2 == 0;
}

static void filtering_takes_out_of_every_file_what_is_not_to_stay(void **state)
{
	(void)state;
	struct spool_batch b;
	bool aside;
	int seen = 0;
	int64_t removed = 0;
	open_with((struct spool_options){ .limit_bytes = 4000, .pause_ms = 1 });
	assert_int_equal(append_numbers(0, 3), 0); /* this file is refused, and kept */
	assert_int_equal(spool_next(s, 9, 10000, a, &b), 0);
	assert_int_equal(spool_drained(s, 3, true, &aside), 0);
	assert_true(aside);
	assert_int_equal(append_numbers(3, 8), 0);
	assert_int_equal(spool_filter(s, is_even, &seen, &removed), 0);
	assert_int_equal(seen, 8);
	assert_int_equal(removed, 4);
	assert_int_equal(waiting(), 4);
	assert_int_equal(file_count(".refused"), 0);
	static const int expected[] = { 0, 2, 4, 6 };
	int numbers[16];
	struct spool_damage damage;
	reopen();
	assert_int_equal(drain_all(numbers, 16, &damage), 4);
	assert_memory_equal(numbers, expected, sizeof expected);
}

static void filtering_that_fails_takes_nothing_away(void **state)
{
	(void)state;
	int seen = 0;
	int64_t removed = -1;
	open_spool();
	assert_int_equal(append_numbers(0, 4), 0);
	fault.sync_error = EIO;
	assert_int_equal(spool_filter(s, is_even, &seen, &removed), OC_IO);
	assert_int_equal(removed, -1);
	fault.sync_error = 0;
	int numbers[16];
	struct spool_damage damage;
	reopen();
	assert_true(drain_all(numbers, 16, &damage) >= 4);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(what_is_appended_comes_back_in_order),
		CASE(an_append_is_synced_before_it_is_said),
		CASE(what_is_left_is_there_at_the_next_start),
		CASE(the_keys_of_what_is_left_are_told),
		CASE(a_batch_is_given_again_until_it_is_drained),
		CASE(a_file_goes_only_with_its_last_event),
		CASE(appending_goes_on_while_draining),
		CASE(texts_of_every_kind_come_back),
		CASE(a_batch_of_many_megabytes_is_several_files),
		CASE(beyond_its_limit_nothing_is_taken),
		CASE(what_was_left_counts_toward_the_limit),
		CASE(after_a_failed_sync_the_file_is_never_written_again),
		CASE(within_the_pause_nothing_is_tried),
		CASE(a_new_file_counts_only_with_its_directory_synced),
		CASE(a_full_disk_loses_nothing_that_was_acknowledged),
		CASE(short_writes_are_gone_on_with),
		CASE(any_one_bit_flipped_loses_nothing),
		CASE(any_one_byte_changed_loses_nothing_and_is_said),
		CASE(torn_anywhere_what_was_whole_before_is_there),
		CASE(a_stretch_over_both_copies_is_counted_as_lost),
		CASE(a_record_of_another_file_is_none),
		CASE(an_event_that_holds_a_record_is_no_way_in),
		CASE(zeros_at_the_end_are_torn_and_no_damage),
		CASE(a_file_that_went_away_is_said_and_passed_over),
		CASE(a_refused_event_keeps_its_file),
		CASE(whichever_allocation_fails_nothing_is_lost),
		CASE(two_processes_do_not_share_one),
		CASE(the_directory_and_its_files_are_private),
		CASE(a_directory_that_cannot_be_is_said),
		CASE(a_directory_that_others_write_into_is_refused),
		CASE(what_root_makes_is_the_owners),
		CASE(many_files_made_while_the_oldest_is_drained),
		CASE(other_files_in_it_are_left_alone),
		CASE(looking_tells_what_is_there),
		CASE(filtering_takes_out_of_every_file_what_is_not_to_stay),
		CASE(filtering_that_fails_takes_nothing_away),
	};
	return cmocka_run_group_tests_name("spool", tests, NULL, NULL);
}
