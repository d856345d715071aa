/* The way back: the oldest events of the spool are put into the store like any batch, between the first writer's own.
 *
 * Invariant: spool_drained is told of an event only after the commit that has it (or its duplicate). A batch that fails is made smaller and tried
 * again after a pause, so one call that the store is slow with holds up nothing but itself; an event that the store refuses in every form is passed
 * over, and its file is kept for the operator. Events are made anew by the decoder that the journal's are (decode_kept), with the moment at which they were
 * received first, so they give the verdicts that they would have given then. Runs on the writer's thread. */
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "ingest/internal.h"
#include "wire/mark.h"

#define BATCH_EVENTS 256
#define BATCH_EVENTS_BUSY 64
#define BATCH_BYTES (4u << 20)
#define ARENA_BYTES 262144
#define LOOK_NS INT64_C(1000000000)      /* between two looks at an empty spool */
#define FIRST_PAUSE_NS INT64_C(250000000) /* after a batch that failed; doubles */
#define LONGEST_PAUSE_NS INT64_C(4000000000)
#define SAY_NS INT64_C(30000000000)      /* between two lines of progress */
#define HOLDS_NS INT64_C(60000000000)    /* so long without progress, and the sweeps go on */

struct drainer {
	struct spooler *spooler;
	struct arena *arena;
	size_t most;              /* events of the next batch */
	int64_t again_ns;         /* not before that */
	int64_t pause_ns;         /* after the next failure */
	bool draining;
	int64_t began_ns, progress_ns, said_ns, events, duplicates;
};

int drainer_new(struct spooler *s, struct drainer **ret)
{
	struct drainer *d = calloc(1, sizeof *d);
	if (!d)
		return OC_NOMEM;
	*d = (struct drainer){ .spooler = s, .arena = arena_new(ARENA_BYTES), .most = BATCH_EVENTS_BUSY, .pause_ns = FIRST_PAUSE_NS };
	if (!d->arena) {
		free(d);
		return OC_NOMEM;
	}
	*ret = d;
	return 0;
}

void drainer_free(struct drainer *d)
{
	if (!d)
		return;
	arena_free(d->arena);
	free(d);
}

bool drainer_holds_sweep(const struct drainer *d) { return d->draining && clock_mono_ns() - d->progress_ns < HOLDS_NS; }

/* ---- events made anew ---- */

static void done(struct ingest_item *item) { (void)item; /* its sender has the answer */ }

static int make_item(const struct spool_event *e, const struct decode_options *decode, struct arena *a, struct ingest_item **ret)
{
	struct ingest_item *item = ARENA_NEW(a, struct ingest_item);
	struct decoded *d = ARENA_NEW(a, struct decoded);
	if (!item || !d)
		return OC_NOMEM;
	int r = decode_kept(e->payload, e->source, e->event_id, decode, a, d);
	if (r < 0)
		return r;
	d->event.key_id = e->key_id;
	if (e->raw)
		d->payload = SLICE_NONE;
	*item = (struct ingest_item){ .decoded = d, .body = e->payload, .source = e->source, .received_ms = e->received_ms, .done = done,
		.from_spool = true };
	memcpy(item->body_hash, e->body_hash, sizeof item->body_hash);
	*ret = item;
	return 0;
}

static int make_items(struct drainer *d, const struct writer *w, const struct spool_batch *b, struct ingest_item ***ret)
{
	struct ingest_item **items = ARENA_ARRAY(d->arena, struct ingest_item *, b->count);
	if (!items)
		return OC_NOMEM;
	for (size_t i = 0; i < b->count; i++) {
		int r = make_item(&b->events[i], &w->options->decode, d->arena, &items[i]);
		if (r < 0)
			return r;
	}
	*ret = items;
	return 0;
}

/* ---- what is said ---- */

static void say_damage(struct writer *w, const struct spool_batch *b)
{
	const struct spool_damage *x = &b->damage;
	if (x->stretches || x->lost) {
		metric_add(w->metrics, METRIC_SPOOL_DAMAGED, 0, x->stretches);
		log_error("spool_damaged", LOG_Z("file", b->file), LOG_I("offset", x->first_at), LOG_I("bytes", x->bytes), LOG_I("stretches", x->stretches),
			  LOG_I("lost", x->lost), LOG_I("events", b->file_events),
			  LOG_Z("note", x->lost ? "the rest is read, the file is kept as FILE.damaged" : "every event is there twice; the file is kept as FILE.damaged"),
			  LOG_Z("mend", "see to the disk"));
	}
	if (x->torn_bytes)
		log_warn("spool_torn", LOG_Z("file", b->file), LOG_I("bytes", x->torn_bytes),
			 LOG_Z("note", "an append that was cut off; none of it was acknowledged"));
}

static void say_progress(struct drainer *d, int64_t now_ns)
{
	struct spool_status t;
	if (!d->draining) {
		d->draining = true;
		d->began_ns = d->said_ns = now_ns;
		d->progress_ns = now_ns;
		d->events = d->duplicates = 0;
		return;
	}
	if (now_ns - d->said_ns < SAY_NS)
		return;
	spool_get_status(spooler_spool(d->spooler), &t);
	log_info("spool_draining", LOG_I("events", d->events), LOG_I("left", t.events), LOG_I("s", (now_ns - d->began_ns) / 1000000000));
	d->said_ns = now_ns;
}

static void say_drained(struct drainer *d)
{
	if (!d->draining)
		return;
	d->draining = false;
	log_info("spool_drained", LOG_I("events", d->events), LOG_I("already_processed", d->duplicates),
		 LOG_I("ms", (clock_mono_ns() - d->began_ns) / 1000000));
	spooler_all_drained(d->spooler);
}

/* ---- a batch ---- */

static void tell(struct drainer *d, const struct spool_batch *b, size_t n, bool refused)
{
	bool aside;
	for (size_t i = 0; i < n; i++)
		spooler_let_go(d->spooler, b->events[i].key);
	int r = spool_drained(spooler_spool(d->spooler), n, refused, &aside);
	if (r < 0)
		log_error("spool_file_stays", LOG_Z("error", oc_error_text(r)), LOG_Z("note", "a file that is drained cannot be removed: the next start drains it again"));
	else if (aside)
		log_warn("spool_aside", LOG_Z("mend", "`outcomed check` says what is wrong with the file; delete it when that is seen to"));
}

/* Those before the first that failed are done with. True: it got further. */
static bool settle(struct drainer *d, struct writer *w, const struct spool_batch *b, struct ingest_item **items)
{
	size_t n = 0;
	for (; n < b->count && items[n]->result != INGEST_FAILED; n++)
		d->duplicates += items[n]->result == INGEST_DUPLICATE;
	bool refused = n == 0 && b->count && items[0]->error == OC_DATA && atomic_load(&w->up);
	if (refused) {
		log_error("spool_event_refused", LOG_S("event_id", b->events[0].event_id), LOG_Z("detail", w->error),
			  LOG_Z("note", "the database takes it in no form; its file is kept as FILE.refused"));
		n = 1;
	}
	tell(d, b, n, refused);
	d->events += (int64_t)n;
	metric_add(w->metrics, METRIC_SPOOL_DRAINED, 0, (int64_t)n);
	return n == b->count || refused;
}

static void adapt(struct drainer *d, bool well, int64_t now_ns)
{
	if (well) {
		d->most = d->most * 2 < BATCH_EVENTS ? d->most * 2 : BATCH_EVENTS;
		d->progress_ns = now_ns;
		d->pause_ns = FIRST_PAUSE_NS;
	} else {
		d->most = d->most / 2 ? d->most / 2 : 1;
		d->again_ns = now_ns + d->pause_ns;
		d->pause_ns = d->pause_ns * 2 < LONGEST_PAUSE_NS ? d->pause_ns * 2 : LONGEST_PAUSE_NS;
	}
}

int64_t drainer_run(struct drainer *d, struct writer *w, bool busy)
{
	struct spool_batch b = { .waits = false };
	struct ingest_item **items = NULL;
	int64_t now_ns = clock_mono_ns();
	size_t most = busy && d->most > BATCH_EVENTS_BUSY ? BATCH_EVENTS_BUSY : d->most;
	if (now_ns < d->again_ns)
		return d->again_ns;
	arena_reset(d->arena);
	int r = spool_next(spooler_spool(d->spooler), most, BATCH_BYTES, d->arena, &b);
	if (r == 0 && !b.waits) {
		say_drained(d);
		return d->again_ns = now_ns + LOOK_NS;
	}
	if (r == 0) {
		say_progress(d, now_ns);
		r = make_items(d, w, &b, &items);
	}
	if (r == 0 && b.begins)
		say_damage(w, &b);
	if (r == 0) {
		writer_process(w, items, b.count);
		adapt(d, settle(d, w, &b, items), clock_mono_ns());
	} else {
		log_warn("spool_not_read", LOG_Z("error", oc_error_text(r)));
		adapt(d, false, now_ns);
	}
	return d->again_ns > now_ns ? d->again_ns : now_ns;
}
