/* The rooms inside ingest/, in the order in which an event passes them. Private to src/ingest and its tests.
 *   ingest.c   the queues, the writers' threads, their life cycle
 *   writer.c   what becomes of a batch: attempts, halving, quarantine, answers; is the store up?
 *   batch.c    one attempt at one transaction: plan, load, judge, commit
 *   judge.c    the pure part of it: fold, match by name, tenant, verdict
 *   marks.c    which call a mark is about, and the legs that marks name
 *   sweeper.c  calls whose time has come, counts for the gauges
 *   spooler.c  what the store did not take goes to the spool, on a thread of its own
 *   drainer.c  and comes back from there, between the first writer's batches
 * Everything here runs on a writer's thread, but for what ingest.h says; a struct writer is its own thread's. */
#pragma once

#include <stdatomic.h>

#include "core/losses.h"
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
	const struct slice *legs; /* sip.callIDs of the stored facts */
	size_t leg_count;
	struct verdict before; /* of the stored facts as of their last event, as they were judged then */
	bool looked, unreadable;
	bool left_alone;  /* by a replay that could not read all that it was made of */
	bool folded;      /* this batch said something about it */
	bool bound;       /* an event that had waited was among that */
	bool first_final; /* this batch gives it its first final verdict */
	unsigned losses;  /* where it does: struct losses's kinds */
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
	unsigned rules; /* version to judge by */
	bool rebuilds;  /* a replay: the facts begin empty, and what comes out the same stays untouched */
};

/* One transaction for n events and a look at sid_count further calls. 0: committed, every entry has its result; *ret lives until the
 * next attempt. Else nothing is committed; the caller aborts. Whatever the judging finds wrong but OC_NOMEM is OC_DATA. */
OC_NODISCARD int batch_run(struct writer *w, struct ingest_item *const *items, size_t n, const struct slice *sids, size_t sid_count,
	struct batch **ret);

/* How much of a poisoned event is put before the store again. */
enum aside_form { ASIDE_WHOLE, ASIDE_RAW, ASIDE_FORMS };
/* A new attempt for n events and sid_count further calls in the writer's arena, which it resets; nothing is loaded yet. */
OC_NODISCARD int batch_plan(struct writer *w, struct ingest_item *const *items, size_t n, const struct slice *sids, size_t sid_count, struct batch **ret);
/* Journals one event alone and aside, folded into nothing. */
OC_NODISCARD int batch_run_aside(struct writer *w, struct ingest_item *item, enum aside_form form, struct slice reason, struct batch **ret);

/* Folds the batch's new events, and those that waited for these calls, into their calls' facts. Sets each entry's call and error. */
OC_NODISCARD int judge_fold(struct batch *b);
/* One event that the journal has for this call, whatever the call's tenant; *ret_error where it cannot be folded. */
OC_NODISCARD int judge_fold_kept(struct batch *b, struct call_row *row, const struct event *ev, struct slice *ret_error);
/* Tenant, verdict and what has changed, into each loaded call_row. */
OC_NODISCARD int judge_calls(struct batch *b);

/* Of a claim of the watcher's: a wish that begins within it need not be written, since the call is being looked at. */
#define WATCH_LEASE_MS 10000

/* Does an event of this type say anything about a call? */
bool event_type_matters(enum event_type t);

/* The call's state, its facts read if they were not yet. */
OC_NODISCARD int judge_look(struct batch *b, struct call_row *row, struct call_state **ret);
/* When the room began and ended, as far as it is known; 0 = not. */
int64_t judge_room_start_ms(const struct facts *f);
int64_t judge_end_s(const struct facts *f, const struct call_row *row);

/* When what a mark says happened: its own time, else when it was taken in. */
int64_t mark_moment_ms(const struct event *ev);
/* The loaded call that a mark is about, NULL where there is none; then *ret_error says why it is set aside, and is untouched where it waits. */
OC_NODISCARD int mark_find_call(struct batch *b, const struct event *ev, struct slice hint, struct call_row **ret, struct slice *ret_error);
/* The sip.callIDs of the facts that are not among the known ones, each once. */
OC_NODISCARD int legs_of(const struct facts *f, const struct slice *known, size_t known_count, struct arena *a, const struct slice **ret,
	size_t *ret_count);

/* ---- the writer ---- */

struct writer {
	const struct ingest_options *options;
	struct metrics *metrics;
	store_open_fn open;
	struct store *store; /* NULL: to be opened again by the next probe */
	atomic_bool up;
	bool ended;          /* a sync of the store failed: it stays down until the process is started again */
	atomic_uint *down; /* of the writers side by side, those whose store is down; NULL where there is only one */
	_Atomic int64_t *pruned_before_ms; /* what store_count said last, for all writers; NULL: nothing */
	bool sweeps;       /* one of them does the sweeper's work */
	struct spooler *spooler; /* NULL: there is no spool */
	struct drainer *drainer; /* NULL: another writer drains it, or there is none */
	struct arena *arena; /* of the attempt */
	struct buf text, log_lines;
	char error[512]; /* of the last failed attempt */
	uint64_t random;
	int64_t probe_at_ns, probe_pause_ms;
	int64_t sweep_at_ns, count_at_ns;
	bool wal_large; /* said */
	_Atomic int64_t step_ns; /* when the last step was begun: an attempt, a sweep, a look at the queue */
};

/* Opens the store. OC_DOWN is no failure: the writer starts without it and probes. */
OC_NODISCARD int writer_open(struct writer *w);
void writer_close(struct writer *w);

/* Says that the writer is at work and not stuck. */
void writer_step(struct writer *w);

/* Makes n events durable, gives them to the spooler or fails them; every other one's `done` has been called when it returns. Events are all from
 * the spool, or none is: those from it only succeed or fail. */
void writer_process(struct writer *w, struct ingest_item **items, size_t n);
/* A batch of no events that looks at these calls again; false when it was refused or the store went down. */
bool writer_look_again(struct writer *w, const struct slice *sids, size_t n);
/* Asks a store that is down whether it is back; schedules the next probe. */
void writer_probe(struct writer *w);
/* The line and the counts of an item whose result is set. */
void writer_report(struct metrics *m, const struct ingest_item *item, struct slice cause, int64_t now_ms);
/* A question outside of a batch failed: counts it, and takes the store for down where the error says so. */
void writer_read_failed(struct writer *w, int error);

/* Does what is due; returns when something is due next, in clock_mono_ns terms. `busy`: events are waiting. */
int64_t sweeper_run(struct writer *w, bool busy);

/* ---- the spool ---- */

struct spooler;
struct drainer;

/* A number that events of one room have in common: what lanes and the spool go by. */
uint32_t event_key(const struct event *e);

struct spooler_options {
	struct spool *spool;
	struct metrics *metrics;
	size_t queue_limit, queue_limit_bytes; /* of what is submitted */
	int64_t tick_ms;
	void (*tick)(void *context); /* called on the spooler's thread that often; may give it more. May be NULL */
	void *context;
};

/* Finds what an earlier process left and starts the thread. */
OC_NODISCARD int spooler_start(const struct spooler_options *o, struct spooler **ret);
/* Appends and answers what it was given; nothing may be given any more. */
void spooler_stop(struct spooler *s);
void spooler_free(struct spooler *s); /* after it was stopped; takes NULL */
bool spooler_wait_idle(struct spooler *s, int64_t timeout_ms); /* nothing is waiting to be appended */

/* Any thread. Accepted items that the store did not take for this reason: they are appended and answered, or failed. */
void spooler_give(struct spooler *s, struct ingest_item **items, size_t n, int why);
/* A new one; OC_FULL. */
OC_NODISCARD int spooler_submit(struct spooler *s, struct ingest_item *item, int why);
/* Does an event of this key wait in the spool, or on the way there? Then the next one follows it, so that a room's events reach the store in
 * the order in which they came. May say yes where none does. */
bool spooler_holds(struct spooler *s, uint32_t key);

/* For the drainer. */
struct spool *spooler_spool(struct spooler *s);
void spooler_let_go(struct spooler *s, uint64_t key);
/* Nothing waits in the spool: the next event that goes there is the begin of something. */
void spooler_all_drained(struct spooler *s);

OC_NODISCARD int drainer_new(struct spooler *s, struct drainer **ret);
void drainer_free(struct drainer *d); /* takes NULL */
/* A batch of the oldest events of the spool into the store, which is up; when to come again, as sweeper_run. */
int64_t drainer_run(struct drainer *d, struct writer *w, bool busy);
/* What waits in the spool may end calls that the clock would end otherwise: no sweep meanwhile, while it gets less. */
bool drainer_holds_sweep(const struct drainer *d);
