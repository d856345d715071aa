/* A store for the tests of ingest/, and events to put into it: rows in memory, and it fails when told to. It holds the writer to the contract of store.h: a commit
 * belongs to a load, an event id comes once, changed calls bring what must be written. One transaction at a time, whoever begins it; the
 * fields are one thread's but where marked. assert() tells what is wrong: some of this runs on the writer's thread, where cmocka cannot. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "ingest/internal.h"

#define FAKE_ROWS 20000
#define FAKE_CALLS 64

struct fake_call {
	struct call_row row;
	int64_t facts_writes, verdict_writes;
	pthread_t by; /* who wrote it first */
	bool by_several;
};

struct fake_leg {
	struct slice call_id, room_sid;
};

struct fake_store {
	struct journal_row *rows; /* [FAKE_ROWS] */
	size_t row_count;
	struct bind_row binds[FAKE_ROWS / 100];
	size_t bind_count;
	struct fake_call calls[FAKE_CALLS];
	size_t call_count;
	struct fake_leg legs[FAKE_CALLS]; /* call_legs */
	size_t leg_count;
	size_t largest_batch;
	_Atomic int64_t until_ms;          /* as store_until was told last */
	atomic_uint opens, closes, loads, commits, aborts, due_asked;
	atomic_bool in_batch;

	/* what to do */
	int64_t wal_bytes;
	atomic_int open_error, load_error; /* while not 0, any thread may set */
	atomic_int commit_error;           /* while not 0, instead of committing */
	atomic_uint commit_errors_left;    /* the next so many commits fail with ... */
	int commit_error_once;             /* ... this; OC_UNSURE commits all the same */
	const char *poison;                /* a commit with this event id is refused (OC_DATA) ... */
	bool poison_payload_only;          /* ... only with its payload */
	struct slice due[8];
	size_t due_count;
	struct slice refused_sid;          /* a commit with this call is refused */
	pthread_mutex_t *gate;             /* taken and released in each commit, where set */
	int64_t commit_ms;                 /* how long a commit takes */
};

extern struct fake_store fake;

void fake_reset(void);
void fake_done(void);
int fake_open(const struct store_options *o, struct arena *message_arena, struct store **ret, struct slice *ret_message);

const struct journal_row *fake_row(const char *event_id); /* NULL where the journal has none */
struct fake_call *fake_call_of(const char *room_sid);     /* NULL where there is none */
struct slice fake_keep(struct slice s);                   /* a copy that lives as long as the rows */

/* ---- events, alive until fake_done ---- */

struct sent {
	struct ingest_item item;
	struct decoded decoded;
	atomic_uint answers; /* how often `done` was called */
};

/* Decodes a body. Its `done` checks the promise: but for failures, the journal has the event and no transaction is open. */
struct sent *sent_body(const char *body);
/* A mark as POST /api/marks makes it; tenant and idempotency key may be NULL. */
struct sent *sent_mark(const char *body, const char *tenant, const char *key);
/* An event of a room; sid or name may be NULL, `more` is further members of the body such as "\"participant\":{…}", or NULL. */
struct sent *sent_event(const char *id, const char *type, const char *sid, const char *name, int64_t at_s, const char *more);

/* ---- a writer on the fake store, without a thread ---- */

extern struct writer fake_writer;
extern struct ingest_options fake_options; /* set before fake_writer_open; zeroed by fake_reset */
extern struct metrics *fake_metrics;

int fake_setup(void **state);    /* cmocka: everything fresh, the writer open */
int fake_teardown(void **state);
void process(struct sent *const *sent, size_t n);
#define PROCESS(...) process((struct sent *const[]){ __VA_ARGS__ }, sizeof((struct sent *const[]){ __VA_ARGS__ }) / sizeof(struct sent *))

int64_t counted(enum metric which, size_t label_index);
