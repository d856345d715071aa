/* SQLite with memory, writes and syncs that fail at the Nth call, for every N: a batch is then either whole or not there, what was
 * acknowledged stays, and the store goes on by itself. */
#include "store_fixture.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "store/migrate.h"

static const enum store_kind kind = STORE_SQLITE;

/* ---- a file system that fails ---- */

static struct {
	int in;         /* calls until the one that fails; 0 = none */
	int result;     /* what it gives */
	bool syncs;     /* syncs are counted, else writes */
	bool happened;
} disk;

struct shim_file {
	sqlite3_file base;
	struct sqlite3_io_methods methods;
	sqlite3_file *real; /* behind this struct */
};

static sqlite3_vfs *real_vfs, shim_vfs;

static int fail_now(bool sync)
{
	if (disk.in == 0 || disk.syncs != sync || --disk.in > 0)
		return SQLITE_OK;
	disk.happened = true;
	return disk.result;
}

static sqlite3_file *real_of(sqlite3_file *f) { return ((struct shim_file *)f)->real; }

static int shim_close(sqlite3_file *f) { return real_of(f)->pMethods->xClose(real_of(f)); }
static int shim_read(sqlite3_file *f, void *p, int n, sqlite3_int64 at) { return real_of(f)->pMethods->xRead(real_of(f), p, n, at); }
static int shim_write(sqlite3_file *f, const void *p, int n, sqlite3_int64 at)
{
	int rc = fail_now(false);
	return rc ? rc : real_of(f)->pMethods->xWrite(real_of(f), p, n, at);
}
static int shim_truncate(sqlite3_file *f, sqlite3_int64 n) { return real_of(f)->pMethods->xTruncate(real_of(f), n); }
static int shim_sync(sqlite3_file *f, int flags)
{
	int rc = fail_now(true);
	return rc ? rc : real_of(f)->pMethods->xSync(real_of(f), flags);
}
static int shim_size(sqlite3_file *f, sqlite3_int64 *n) { return real_of(f)->pMethods->xFileSize(real_of(f), n); }
static int shim_lock(sqlite3_file *f, int how) { return real_of(f)->pMethods->xLock(real_of(f), how); }
static int shim_unlock(sqlite3_file *f, int how) { return real_of(f)->pMethods->xUnlock(real_of(f), how); }
static int shim_reserved(sqlite3_file *f, int *is) { return real_of(f)->pMethods->xCheckReservedLock(real_of(f), is); }
static int shim_control(sqlite3_file *f, int op, void *arg) { return real_of(f)->pMethods->xFileControl(real_of(f), op, arg); }
static int shim_sector(sqlite3_file *f) { return real_of(f)->pMethods->xSectorSize(real_of(f)); }
static int shim_traits(sqlite3_file *f) { return real_of(f)->pMethods->xDeviceCharacteristics(real_of(f)); }
static int shim_map(sqlite3_file *f, int page, int size, int extend, void volatile **p)
{
	return real_of(f)->pMethods->xShmMap(real_of(f), page, size, extend, p);
}
static int shim_shm_lock(sqlite3_file *f, int at, int n, int flags) { return real_of(f)->pMethods->xShmLock(real_of(f), at, n, flags); }
static void shim_barrier(sqlite3_file *f) { real_of(f)->pMethods->xShmBarrier(real_of(f)); }
static int shim_unmap(sqlite3_file *f, int delete) { return real_of(f)->pMethods->xShmUnmap(real_of(f), delete); }

static int shim_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *out)
{
	static const struct sqlite3_io_methods methods = { 2, shim_close, shim_read, shim_write, shim_truncate, shim_sync, shim_size, shim_lock,
		shim_unlock, shim_reserved, shim_control, shim_sector, shim_traits, shim_map, shim_shm_lock, shim_barrier, shim_unmap, NULL, NULL };
	struct shim_file *f = (struct shim_file *)file;
	(void)vfs;

	f->real = (sqlite3_file *)(f + 1);
	int rc = real_vfs->xOpen(real_vfs, name, f->real, flags, out);
	f->base.pMethods = f->real->pMethods ? &methods : NULL;
	return rc;
}

/* ---- memory that fails ---- */

static sqlite3_mem_methods real_memory;
static int memory_in; /* allocations until the one that fails, and all after it; 0 = none */

static bool memory_fails(void)
{
	if (memory_in > 1)
		memory_in--;
	return memory_in == 1;
}
static void *shim_malloc(int n) { return memory_fails() ? NULL : real_memory.xMalloc(n); }
static void *shim_realloc(void *p, int n) { return memory_fails() ? NULL : real_memory.xRealloc(p, n); }

static void install_shims(void)
{
	assert_int_equal(sqlite3_config(SQLITE_CONFIG_GETMALLOC, &real_memory), SQLITE_OK);
	sqlite3_mem_methods memory = real_memory;
	memory.xMalloc = shim_malloc;
	memory.xRealloc = shim_realloc;
	assert_int_equal(sqlite3_config(SQLITE_CONFIG_MALLOC, &memory), SQLITE_OK);
	real_vfs = sqlite3_vfs_find(NULL);
	shim_vfs = *real_vfs;
	shim_vfs.zName = "faults";
	shim_vfs.pNext = NULL;
	shim_vfs.szOsFile = (int)sizeof(struct shim_file) + real_vfs->szOsFile;
	shim_vfs.xOpen = shim_open;
	assert_int_equal(sqlite3_vfs_register(&shim_vfs, 1), SQLITE_OK);
}

/* ---- cases ---- */

static int try_batch(struct fixture *f, const char *event_id, const char *sid)
{
	struct batch *b = batch_new(f);
	batch_event(b, event_id, sid, "room", f->now_ms);
	int r = batch_try_load(b);
	if (r == 0) {
		judge(b, sid, "alice", f->now_ms - HOUR, f->now_ms, OUTCOME_COMPLETED);
		r = batch_try_commit(b);
	}
	return r;
}

static void put_until_it_works(struct fixture *f, const char *event_id, const char *sid)
{
	int r = OC_DOWN;
	for (int i = 0; i < 200 && r != 0; i++) {
		r = try_batch(f, event_id, sid);
		if (r == OC_DOWN)
			usleep(5000);
	}
	assert_int_equal(r, 0);
}

static void assert_whole(struct fixture *f, const char *id, const char *sid, bool there)
{
	const char *n = there ? "1" : "0";
	assert_sql(f, n, "SELECT count(*) FROM livekit_call_events WHERE \"eventId\" = '%s'", id);
	assert_sql(f, n, "SELECT count(*) FROM call_facts WHERE \"roomSid\" = '%s'", sid);
	assert_sql(f, n, "SELECT count(*) FROM call_logs WHERE \"livekitRoomSid\" = '%s'", sid);
}

/* Fails the Nth write of a batch for N = 1, 2, … until a batch needs fewer. Gives how many could fail. */
static int fail_each(struct fixture *f, int result)
{
	char id[32], sid[32];
	int n = 0;
	bool happened = true;

	fixture_start(f, NULL);
	put_call(f, "EV_first", "RM_first", "room", "alice", f->now_ms - HOUR, f->now_ms);
	while (happened && n < 500) {
		n++;
		snprintf(id, sizeof id, "EV_%d", n);
		snprintf(sid, sizeof sid, "RM_%d", n);
		disk.in = n;
		disk.result = result;
		disk.syncs = false;
		disk.happened = false;
		int r = try_batch(f, id, sid);
		happened = disk.happened;
		disk.in = 0;
		assert_int_equal(r, happened ? OC_IO : 0);
		put_until_it_works(f, id, sid);
		assert_whole(f, id, sid, true);
		assert_whole(f, "EV_first", "RM_first", true);
	}
	return n - 1;
}

static void any_write_may_fail(void **state) { assert_true(fail_each(*state, SQLITE_IOERR_WRITE) >= 3); }
static void any_write_may_find_the_disk_full(void **state) { assert_true(fail_each(*state, SQLITE_FULL) >= 3); }

/* For good: the handle gives nothing but that, and neither the batch nor what follows is acknowledged. Opened anew, all is well. */
static void a_failed_sync_ends_the_handle(void **state)
{
	struct fixture *f = *state;

	fixture_start(f, NULL);
	put_call(f, "EV_first", "RM_first", "room", "alice", f->now_ms - HOUR, f->now_ms);
	disk.in = 1;
	disk.result = SQLITE_IOERR_FSYNC;
	disk.syncs = true;
	assert_int_equal(try_batch(f, "EV_second", "RM_second"), OC_FSYNC);
	for (int i = 0; i < 3; i++)
		assert_int_equal(try_batch(f, "EV_second", "RM_second"), OC_FSYNC);
	assert_whole(f, "EV_second", "RM_second", false);
	fixture_close(f);
	fixture_open(f);
	put_until_it_works(f, "EV_second", "RM_second");
	assert_whole(f, "EV_first", "RM_first", true);
	assert_whole(f, "EV_second", "RM_second", true);
}

/* The log has grown long, so the batch's own sync is followed by those of a checkpoint. The batch is durable, and the last that is. */
static void a_failed_sync_of_a_checkpoint_ends_the_handle_too(void **state)
{
	struct fixture *f = *state;

	fixture_start(f, NULL);
	store_reader_close(f->reader);
	f->reader = NULL;
	fixture_exec(f, "PRAGMA wal_autocheckpoint = 0; CREATE TABLE big (x); INSERT INTO big SELECT zeroblob(45000000)");
	disk.in = 2;
	disk.result = SQLITE_IOERR_FSYNC;
	disk.syncs = true;
	disk.happened = false;
	assert_int_equal(try_batch(f, "EV_second", "RM_second"), 0);
	assert_true(disk.happened);
	assert_int_equal(try_batch(f, "EV_third", "RM_third"), OC_FSYNC);
	assert_whole(f, "EV_second", "RM_second", true);
}

static void a_store_whose_files_cannot_be_synced_does_not_open(void **state)
{
	struct fixture *f = *state;
	struct slice message = SLICE_NONE;
	struct store *second = NULL;

	fixture_start(f, NULL);
	put_call(f, "EV_first", "RM_first", "room", "alice", f->now_ms - HOUR, f->now_ms);
	disk.in = 1;
	disk.result = SQLITE_IOERR_FSYNC;
	disk.syncs = true;
	assert_int_equal(store_open(&f->options, f->arena, &second, &message), OC_FSYNC);
	assert_null(second);
	assert_true(message.n > 0);
}

static void any_allocation_may_fail(void **state)
{
	struct fixture *f = *state;
	char id[32], sid[32];
	int r = -1;

	fixture_start(f, NULL);
	for (int n = 1; n < 3000 && r != 0; n++) {
		snprintf(id, sizeof id, "EV_%d", n);
		snprintf(sid, sizeof sid, "RM_%d", n);
		memory_in = n + 1;
		r = try_batch(f, id, sid);
		memory_in = 0;
		assert_true(r == 0 || r == OC_NOMEM || r == OC_IO);
		if (n % 20 == 1)
			assert_whole(f, id, sid, r == 0);
		if (r != 0)
			put_until_it_works(f, id, sid);
	}
	assert_int_equal(r, 0);
}

static void reading_without_memory_gives_no_wrong_answer(void **state)
{
	struct fixture *f = *state;
	int r = -1;

	fixture_start(f, NULL);
	put_call(f, "EV_a", "RM_one", "room", "alice", f->now_ms - HOUR, f->now_ms);
	for (int n = 1; n < 3000 && r != 0; n++) {
		struct outcome_query q = { .tenant = SLICE("alice"), .call_id = SLICE("RM_one"), .result = OC_INVALID };
		memory_in = n + 1;
		r = store_read_outcomes(f->reader, &q, 1, f->arena);
		memory_in = 0;
		assert_int_equal(r == 0 ? q.result : 0, 0);
	}
	assert_int_equal(r, 0);
	struct list_filter filter = { .tenant = SLICE("alice"), .limit = 10 };
	r = -1;
	for (int n = 1; n < 3000 && r != 0; n++) {
		struct call_view *views;
		size_t count = 0;
		bool more;
		memory_in = n + 1;
		r = store_read_list(f->reader, &filter, f->arena, &views, &count, &more);
		memory_in = 0;
		assert_int_equal(r == 0 ? count : 1, 1);
	}
	assert_int_equal(r, 0);
}

static void a_migration_without_memory_leaves_nothing_half_done(void **state)
{
	struct fixture *f = *state;
	int r = -1;

	fixture_exec(f, "CREATE TABLE call_logs (id TEXT PRIMARY KEY, \"userId\" TEXT)");
	for (int n = 1; n < 100000 && r != 0; n += 1 + n / 15) {
		memory_in = n + 1;
		r = migrate_upgrade(&f->options, 0, NULL, NULL, f->arena, NULL);
		memory_in = 0;
		if (r != 0)
			assert_sql(f, "2", "SELECT count(*) FROM sqlite_schema");
	}
	assert_int_equal(r, 0);
	fixture_open(f);
}

#define CASE(name) { #name, name, fixture_set_up, fixture_tear_down, (void *)(uintptr_t)&kind }
int main(void)
{
	install_shims();
	const struct CMUnitTest tests[] = {
		CASE(any_write_may_fail),
		CASE(any_write_may_find_the_disk_full),
		CASE(a_failed_sync_ends_the_handle),
		CASE(a_failed_sync_of_a_checkpoint_ends_the_handle_too),
		CASE(a_store_whose_files_cannot_be_synced_does_not_open),
		CASE(any_allocation_may_fail),
		CASE(reading_without_memory_gives_no_wrong_answer),
		CASE(a_migration_without_memory_leaves_nothing_half_done),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
