/* The rooms inside ingest/, in the order in which an event passes them. Private to src/ingest and its tests.
 *   ingest.c   the queue, the writer's thread, its life cycle
 *   writer.c   what becomes of a batch: attempts, halving, quarantine, answers; is the store up?
 *   batch.c    one attempt at one transaction: plan, load, judge, commit
 *   judge.c    the pure part of it: fold, match by name, tenant, verdict
 *   sweeper.c  calls whose time has come, counts for the gauges
 * Everything here runs on the writer's thread, but for what ingest.h says. */
#pragma once

#include <stdatomic.h>

#include "ingest/ingest.h"

typedef int (*store_open_fn)(const struct store_options *o, struct arena *message_arena, struct store **ret, struct slice *ret_message);

/* ingest_start with another door to the store: what tests put a store of their own behind. */
OC_NODISCARD int ingest_start_with(store_open_fn open, const struct ingest_options *o, struct metrics *m, struct ingest **ret);

extern const char *const ingest_result_names[INGEST_FAILED + 1]; /* for the log and as label values */

/* ---- one attempt ---- */

/* An event within a batch. */
struct entry {
	struct ingest_item *item;
	size_t id_at;          /* in touch.event_ids */
	size_t name_at;        /* in touch.names, or SIZE_MAX */
	bool twin;             /* an earlier event of this batch has the same id */
	struct call_row *call; /* the call it belongs to, or NULL */
	struct slice error;    /* why it is kept aside, or none */
	enum ingest_result result;
	const char *message;
};

/* What an attempt knows of a call beside its row. */
struct call_state {
	struct facts *facts;   /* NULL until looked at, and where the stored bytes cannot be read */
	struct verdict before; /* of the stored facts as of their last event, as they were judged then */
	bool looked, unreadable;
	bool folded;      /* this batch said something about it */
	bool bound;       /* an event that had waited was among that */
	bool first_final; /* this batch gives it its first final verdict */
	enum outcome outcome;
};

struct writer;

struct batch {
	struct writer *w;
	struct arena *a; /* all of the attempt's memory */
	struct entry *entries;
	size_t entry_count;
	struct store_touch touch;
	struct store_loaded loaded;
	struct call_state *states; /* [loaded.call_count] */
	struct bind_row *binds;    /* [loaded.unbound_count] have room */
	size_t bind_count;
	int64_t now_ms;
};

/* One transaction for n events and a look at sid_count further calls. 0: committed, every entry has its result; *ret lives until the
 * next attempt. Else nothing is committed; the caller aborts. Whatever the judging finds wrong but OC_NOMEM is OC_DATA. */
OC_NODISCARD int batch_run(struct writer *w, struct ingest_item *const *items, size_t n, const struct slice *sids, size_t sid_count,
	struct batch **ret);

/* How much of a poisoned event is put before the store again. */
enum aside_form { ASIDE_WHOLE, ASIDE_RAW, ASIDE_FORMS };
/* Journals one event alone and aside, folded into nothing. */
OC_NODISCARD int batch_run_aside(struct writer *w, struct ingest_item *item, enum aside_form form, struct slice reason, struct batch **ret);

/* Folds the batch's new events, and those that waited for these calls, into their calls' facts. Sets each entry's call and error. */
OC_NODISCARD int judge_fold(struct batch *b);
/* Tenant, verdict and what has changed, into each loaded call_row. */
OC_NODISCARD int judge_calls(struct batch *b);

/* Does an event of this type say anything about a call? */
bool event_type_matters(enum event_type t);

/* ---- the writer ---- */

struct writer {
	const struct ingest_options *options;
	struct metrics *metrics;
	store_open_fn open;
	struct store *store; /* NULL: to be opened again by the next probe */
	atomic_bool up;
	struct arena *arena; /* of the attempt */
	struct buf text, log_lines;
	char error[512]; /* of the last failed attempt */
	uint64_t random;
	int64_t probe_at_ns, probe_pause_ms;
	int64_t sweep_at_ns, count_at_ns;
};

/* Opens the store. OC_DOWN is no failure: the writer starts without it and probes. */
OC_NODISCARD int writer_open(struct writer *w);
void writer_close(struct writer *w);

/* Makes n events durable or fails them; every `done` has been called when it returns. */
void writer_process(struct writer *w, struct ingest_item **items, size_t n);
/* A batch of no events that looks at these calls again; false when it was refused or the store went down. */
bool writer_look_again(struct writer *w, const struct slice *sids, size_t n);
/* Asks a store that is down whether it is back; schedules the next probe. */
void writer_probe(struct writer *w);
/* A question outside of a batch failed: counts it, and takes the store for down where the error says so. */
void writer_read_failed(struct writer *w, int error);

/* Does what is due; returns when something is due next, in clock_mono_ns terms. `busy`: events are waiting. */
int64_t sweeper_run(struct writer *w, bool busy);
