/* From verified, decoded events to a durable verdict: a bounded queue and its writers (SQLite one, PostgreSQL two; a room's events all go
 * to one of them), and a spool for the time in which the store cannot take them.
 *
 * Group commit without a timer: a writer takes whatever has gathered while it committed the last batch, makes one
 * transaction of it, and only then calls each item's `done`. What the store did not take within commit_deadline_ms is appended to the spool, synced,
 * and then its `done` is called. That call is the only way to a 200.
 * Threads: ingest_submit from any thread; `done` runs on a writer's thread or the spooler's and must not block. */
#pragma once

#include "base/arena.h"
#include "base/error.h"
#include "base/metrics.h"
#include "core/override.h"
#include "core/tenant.h"
#include "store/spool.h"
#include "store/store.h"
#include "wire/decode.h"

enum ingest_result {
	INGEST_PROCESSED,  /* journaled and folded, durable */
	INGEST_DUPLICATE,  /* the journal has it already, durable */
	INGEST_IGNORED,    /* journaled; says nothing about a call's outcome */
	INGEST_QUARANTINED,/* journaled, kept aside */
	INGEST_CONFLICT,   /* a mark under an idempotency key that another mark has: not kept */
	INGEST_SPOOLED,    /* in the spool, durable: the store gets it when it can take it */
	INGEST_FAILED,     /* not durable: answer 503 */
};

/* One event on its way. The submitter owns it and its arena until `done` is called, which hands it back. */
struct ingest_item {
	const struct decoded *decoded;
	struct slice body;             /* as received */
	unsigned char body_hash[32];   /* of the body; of a mark: of what it says, by which two marks are told apart */
	struct slice source;           /* as in struct journal_row */
	int64_t received_ms;
	void (*done)(struct ingest_item *item);
	void *context;
	bool from_spool;               /* comes back from there: it was answered then */
	/* out, before done */
	enum ingest_result result;
	int error;                     /* enum oc_error when FAILED */
	const char *message;           /* a literal for the reply */
	struct ingest_item *next;      /* the queue's */
};

struct ingest_options {
	struct store_options store;
	bool store_is_down;            /* it was looked at a moment ago: start without waiting for it, and probe */
	size_t queue_limit;            /* items; 0 = 4096 */
	size_t queue_limit_bytes;      /* of bodies; 0 = 64 MiB */
	size_t batch_limit;            /* events of one transaction; 0 = 256 */
	size_t writers;                /* 1 or 2; 0 = what the store gains by: SQLite 1, PostgreSQL 2 */
	int64_t sweep_interval_ms;     /* 0 = 1000 */
	struct slice default_user;     /* none = not set */
	const struct routes *routes;   /* may be NULL; lives longer than the ingest */
	const struct overrides *overrides; /* the same */
	bool watch;                    /* there is a watcher: say in call_facts when it should ask */
	struct decode_options decode;  /* for events that waited in the journal or in the spool */
	struct spool *spool;           /* NULL = none; the caller opens it before and closes it after */
	int64_t commit_deadline_ms;    /* with a spool: how long a batch may take; 0 = 1000 */
};

struct ingest;

/* Starts the writers' threads. With `store` OC_DOWN at start it still starts and keeps trying; with a spool also where the store is otherwise
 * unusable. */
OC_NODISCARD int ingest_start(const struct ingest_options *o, struct metrics *m, struct ingest **ret);

/* 0: `done` will be called exactly once. OC_FULL: the queue is full; OC_DOWN: the store is down and there is no spool: `done` will not be called, answer 503. */
OC_NODISCARD int ingest_submit(struct ingest *in, struct ingest_item *item);

bool ingest_is_up(struct ingest *in);       /* for every writer the store took the last batch, or answered the last probe */
/* False where there is no spool. */
bool ingest_spool_status(struct ingest *in, struct spool_status *ret);
/* False: a writer has had something to do for so long and is not a step further. A store that is down or slow is no such thing: its deadlines
 * see to that. For a watchdog; any thread. */
bool ingest_makes_progress(struct ingest *in, int64_t within_ms);
bool ingest_wait_idle(struct ingest *in, int64_t timeout_ms); /* for tests and the graceful stop */
/* Finishes what was accepted, calls every `done`, ends the threads, frees. Nothing may submit meanwhile. */
void ingest_stop(struct ingest *in);
