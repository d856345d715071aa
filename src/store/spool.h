/* The spool: a directory in which events wait while the database cannot take them. What spool_append gave 0 for is on disk.
 *
 * Files of about 4 MiB, NUMBER-SALT.spool, each written by one process from its beginning to its end and never again; a lock keeps a second
 * process out. A file is a row of records (spool_record.c), and every record is in it twice, the copies of an append behind its originals: a damaged
 * place costs nothing unless it reaches both. Draining gives the events back file by file in the order of appending; a file goes only when
 * spool_drained was told of its last event, so whoever dies while draining begins that file again. Event ids are unique in the journal: what is
 * drained twice counts once. For the same reason no fsync follows a removal.
 *
 * A write or sync error ends the file for good: nothing is appended to it or believed of it beyond what was synced before. After a pause the next
 * append makes a new file.
 *
 * Threads: spool_append and spool_get_status from any, once stock is taken; everything else from one thread at a time. Everything returned lives in the arena passed in. */
#pragma once

#include "base/arena.h"
#include "base/error.h"

struct spool;

/* An event as ingest needs it to make it anew; no secrets in it. */
struct spool_event {
	uint64_t key;                 /* the caller's: a hash of what it wants to recognise at the next start */
	int64_t received_ms;
	unsigned char body_hash[32];  /* of the body as received */
	struct slice event_id, source, key_id; /* key_id may be none; 65,534 bytes at most */
	bool raw;                     /* `payload` is no JSON for the journal's "rawPayload", but bytes as received */
	struct slice payload;
};

struct spool_options {
	const char *directory;
	int64_t limit_bytes;  /* of all files that wait; 0 = 1 GiB */
	int64_t file_bytes;   /* a file that has so much is followed by the next; 0 = 4 MiB */
	int64_t pause_ms;     /* after an error; 0 = 1000 */
};

/* Makes the directory (0700) where there is none, and locks it. One that belongs to somebody else, or that others may write into, is refused: what
 * is in it is believed. Root may use anybody's, and what it makes there is the directory's owner's. OC_CONFIG with what to do in *ret_message; OC_IO, with a message too: the disk fails. */
OC_NODISCARD int spool_open(const struct spool_options *o, struct arena *message_arena, struct spool **ret, struct slice *ret_message);
void spool_close(struct spool *s); /* takes NULL */
/* Finds what earlier processes left; `left`, which may be NULL, is called with the key of each event. Once, before anything that follows. */
OC_NODISCARD int spool_take_stock(struct spool *s, void (*left)(void *context, uint64_t key), void *context);

/* 0: all n are synced. Else none is to be acknowledged: OC_FULL: the limit would be passed; OC_IO: the disk refused (spool_get_status has its words),
 * or did so within the pause; OC_INVALID: an event has an id that is too long; OC_NOMEM. */
OC_NODISCARD int spool_append(struct spool *s, const struct spool_event *events, size_t n);

struct spool_status {
	int64_t events;       /* that wait */
	int64_t bytes;        /* of their files */
	int64_t limit_bytes;
	int64_t oldest_ms;    /* when the oldest was taken; 0 = none waits */
	int64_t set_aside;    /* files kept for the operator: *.damaged and *.refused */
	bool takes;           /* the last append succeeded, or none was made since the pause, and the limit is not reached */
	char error[200];      /* of the last append that failed; empty when `takes` */
};
void spool_get_status(struct spool *s, struct spool_status *ret);

/* What could not be read of a file. */
struct spool_damage {
	int64_t stretches, bytes, first_at; /* damaged in its midst, or at its end and no torn record */
	int64_t torn_bytes;                 /* a record at the end that was never finished: it was not acknowledged */
	int64_t lost;                       /* events of which neither copy can be read, as far as the numbers of the others tell */
};

struct spool_batch {
	bool waits;                 /* false: nothing does */
	struct spool_event *events;
	size_t count;               /* may be 0 at the end of a file that is damaged: spool_drained goes on to the next */
	bool begins;                /* the first of its file, said once; then these are set: */
	const char *file;
	struct spool_damage damage;
	int64_t file_events;
};

/* The next events, in order, at most `most`, ending with the one that brings the payloads to most_bytes; the same again until spool_drained.
 * OC_NOMEM; OC_DENIED: the file may not be opened, and is waited for. What cannot be read is damage. */
OC_NODISCARD int spool_next(struct spool *s, size_t most, size_t most_bytes, struct arena *a, struct spool_batch *ret);
/* The first n of the batch are in the journal. `refused`: one of them could not be put there in any form. With the last of a file the file
 * goes, or is renamed: *.refused, or *.damaged where it is; *ret_aside then says so. OC_IO: it could do neither; the next start will drain it again. */
OC_NODISCARD int spool_drained(struct spool *s, size_t n, bool refused, bool *ret_aside);

/* Writes every event for which keep() is true anew, from the files that wait and from those kept aside, and removes those files. Whoever
 * calls it has no batch of spool_next open. On an error nothing was removed that was not written anew. */
OC_NODISCARD int spool_filter(struct spool *s, bool (*keep)(void *context, const struct spool_event *e), void *context, int64_t *ret_removed);

/* ---- looking without opening: for `check` and `spool` ---- */

enum spool_file_kind { SPOOL_WAITING, SPOOL_DAMAGED, SPOOL_REFUSED };
extern const char *const spool_file_kind_names[SPOOL_REFUSED + 1];

struct spool_file {
	const char *name;
	enum spool_file_kind kind;
	int64_t bytes, events, oldest_ms;
	struct spool_damage damage;
};

struct spool_inspection {
	struct spool_file *files; /* in the order of draining */
	size_t count;
	int64_t free_bytes;       /* of the file system, for us */
	int64_t process;          /* that has it open; 0 = none, -1 = one that does not say */
	bool writable, private;   /* by us; from group and others */
};
/* Reads and verifies every record. OC_NOT_FOUND: there is no such directory; OC_CONFIG: it is none, or cannot be read. */
OC_NODISCARD int spool_inspect(const char *directory, struct arena *a, struct spool_inspection *ret, struct slice *ret_message);
