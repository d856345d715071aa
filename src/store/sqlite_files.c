/* Are the files that SQLite has open still the ones that the next process will find? Somebody may delete, move or replace them while we run;
 * SQLite would go on writing to what no name leads to any more, and all of it would be gone with the last process that has it open.
 *
 * -wal and -shm keep their inodes as long as any connection is open: they are truncated and written over, never made anew. So another inode, or
 * none, means that somebody else did something. Nothing is opened anew then: within one process SQLite would pair the new file with the old
 * -shm. It is waited until the files are back, or until a new process begins with what it finds. For that process what is in the -wal
 * is put where it belongs: into the database that it was written for.
 * Threads: the one that owns the connection. */
#include <stdio.h>
#include <sys/stat.h>

#include "store/sqlite.h"

#define SAVING_MS 200 /* for readers to be done with the -wal */

static bool beside(const struct sqlite_connection *c, const char *suffix, struct stat *ret)
{
	char path[4200];
	int n = snprintf(path, sizeof path, "%s%s", c->path, suffix);
	return n > 0 && (size_t)n < sizeof path && stat(path, ret) == 0;
}

static bool is_same(const struct sqlite_connection *c, const char *suffix, const struct sqlite_file_id *id)
{
	struct stat st;
	if (id->inode == 0)
		return true;
	return beside(c, suffix, &st) && st.st_dev == id->device && st.st_ino == id->inode;
}

static void note(const struct sqlite_connection *c, const char *suffix, struct sqlite_file_id *ret)
{
	struct stat st;
	if (beside(c, suffix, &st))
		*ret = (struct sqlite_file_id){ .device = st.st_dev, .inode = st.st_ino };
}

int64_t sqlite_wal_bytes(const struct sqlite_connection *c)
{
	struct stat st;
	return c->path && beside(c, "-wal", &st) ? st.st_size : 0;
}

int sqlite_note_files(struct sqlite_connection *c)
{
	int64_t tables;
	int r = sqlite_query_int(c, "SELECT count(*) FROM sqlite_master", NULL, &tables); /* opens them */

	if (r < 0)
		return r;
	note(c, "-wal", &c->wal);
	note(c, "-shm", &c->shm);
	return 0;
}

/* Once for each time that something is amiss. */
static int not_in_place(struct sqlite_connection *c, bool save, const char *text)
{
	if (save && !c->saved) {
		sqlite3_busy_timeout(c->db, SAVING_MS);
		if (sqlite3_wal_checkpoint_v2(c->db, "main", SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL) == SQLITE_IOERR_FSYNC)
			sqlite_error(c, SQLITE_IOERR_FSYNC);
		sqlite3_busy_timeout(c->db, c->timeout_ms);
	}
	c->saved = true;
	sqlite_refuse(c, text);
	return OC_DOWN;
}

int sqlite_check_in_place(struct sqlite_connection *c)
{
	struct stat st;
	int moved = 0;
	bool wal = is_same(c, "-wal", &c->wal), shm = is_same(c, "-shm", &c->shm);

	if (sqlite3_file_control(c->db, "main", SQLITE_FCNTL_HAS_MOVED, &moved) == SQLITE_OK && moved) {
		bool replaced = beside(c, "", &st);
		return not_in_place(c, replaced && wal && shm, replaced ? "the database file was replaced by another: restart outcomed to use that one"
			: "the database file was moved or deleted: put it back, or restart outcomed to begin with a new one");
	}
	if (!wal || !shm)
		return not_in_place(c, !wal && !beside(c, "-wal", &st), "the database's -wal or -shm file was deleted or replaced: restart outcomed");
	c->saved = false;
	return 0;
}
