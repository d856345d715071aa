/* The rooms inside the spool. Private to src/store/spool*.c, their tests and their fuzzer.
 *   spool_record.c  a record's bytes, and what a file's bytes hold
 *   spool_files.c   the directory: names, lock, making and removing files
 *   spool.c         the open spool: appending, limit, pause, draining
 *   spool_look.c    looking from outside, and filtering */
#pragma once

#include <pthread.h>
#include <sys/types.h>

#include "base/buf.h"
#include "store/spool.h"

/* ---- a record ----
 *   0  8  magic, its last byte the version
 *   8  8  sequence in the file, from 1
 *  16  8  key
 *  24  8  received, ms since the epoch
 *  32  8  bytes of the payload that follows
 *  40 16  SHA-256 of the payload, its first half
 *  56 16  SHA-256 of the file's salt and of bytes 0 to 55, its first half
 *  72     payload: body hash (32), raw (1), then id, source and key id, each with a length of two bytes (65535: none), then the event's payload
 * Numbers are little-endian. The salt is in the file's name only, so nothing that a sender puts into a body can be taken for a record. */
#define SPOOL_HEADER_BYTES 72

/* Appends it. OC_INVALID: an id is too long. */
OC_NODISCARD int spool_record_put(struct buf *b, uint64_t salt, uint64_t sequence, const struct spool_event *e);
/* The payload's bytes to the event, whose slices point into them. OC_INVALID. Key and time are the header's. */
OC_NODISCARD int spool_payload_read(struct slice payload, struct spool_event *ret);

/* Where an event is. */
struct spool_place {
	uint64_t sequence, key, length;
	int64_t received_ms;
	off_t at[2]; /* of its records' headers; the second -1 where there is one only */
};

struct spool_scan {
	struct spool_place *places; /* by sequence, each once; malloc'ed */
	size_t count;
	struct spool_damage damage;
};
/* What is in the file. `headers_only` believes headers of payloads that it does not look at. OC_NOMEM only: bytes that cannot be read
 * are damage. */
OC_NODISCARD int spool_scan_file(int fd, uint64_t salt, bool headers_only, struct spool_scan *ret);
void spool_scan_done(struct spool_scan *s);
/* OC_INVALID: neither copy can be read (any more). */
OC_NODISCARD int spool_place_read(int fd, const struct spool_place *p, struct arena *a, struct spool_event *ret);

/* ---- the directory ---- */

#define SPOOL_NAME_BYTES 64 /* 000012-a5f3….spool.damaged */

struct spool_file_name {
	uint64_t number, salt;
	enum spool_file_kind kind;
};
void spool_name_write(struct spool_file_name n, char ret[SPOOL_NAME_BYTES]);
bool spool_name_read(const char *text, struct spool_file_name *ret);

/* Makes it where there is none, and locks it. */
OC_NODISCARD int spool_directory_open(const char *path, struct arena *a, int *ret_fd, int *ret_lock_fd, struct slice *ret_message);
int64_t spool_process(int fd); /* as in struct spool_inspection */
/* The files in it by number, malloc'ed. */
OC_NODISCARD int spool_directory_list(int fd, struct spool_file_name **ret, size_t *ret_count);
/* A new file, empty, open for writing; its entry is synced by the caller. A negative errno. */
OC_NODISCARD int spool_file_make(int directory, uint64_t number, struct spool_file_name *ret);

/* ---- the open spool ---- */

/* A file that waits. */
struct segment {
	struct spool_file_name name;
	int64_t bytes, events, oldest_ms;
};

struct spool {
	struct spool_options o;
	int directory, lock_file;

	pthread_mutex_t lock; /* guards what follows, but for the draining */
	struct segment *segments; /* the oldest first; the last is being written where `fd` is open */
	size_t count, size;
	int fd;
	uint64_t next_number, next_sequence;
	int64_t bytes, set_aside, drained_of_first;
	int64_t pause_until_ns;
	bool failed, full;
	char error[200];
	struct buf text;

	/* the draining, one thread's: always of segments[0], which only that thread takes away */
	struct spool_file_name draining;
	int drain_fd; /* -1: none begun */
	struct spool_scan scan;
	size_t position, given;
	bool begun, told, keeps_refused;
};

/* Under the lock: nothing more is appended to the present file. */
void spool_seal(struct spool *s);
