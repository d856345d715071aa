/* What watcher.c (which call, when) and watcher_ask.c (what to ask about it, and what comes of the answer) share. Private to them; everything here
 * belongs to the watcher's thread, but for `stopping`. */
#pragma once

#include <pthread.h>
#include <semaphore.h>

#include "core/watch.h"
#include "ingest/watcher.h"
#include "ingest/watcher_http.h"
#include "ingest/watcher_pace.h"

#define WATCHED_MAX 512 /* calls remembered, claimed or not */

enum finding { FOUND_ANSWER, FOUND_LEG_END, FOUND_ROOM_END, FOUND_RECORDING };

struct watched {
	char sid[EVENT_MAX_ID];
	size_t sid_n;
	bool mine;        /* our lease on it runs */
	int64_t next_ms;  /* not to be asked about before; by the monotonic clock, as all that is only waited for */
	unsigned asked;   /* what was asked last (WATCH_PARTICIPANTS, …): next_ms holds for that */
	int64_t used_ms;  /* last seen in a claim; monotonic */
	struct watch_memory memory;
};

struct watcher {
	struct watcher_options o;
	struct ingest *ingest;
	struct metrics *metrics;
	struct livekit_client *client;
	struct store *store; /* NULL: to be opened */
	struct arena *arena; /* of a look */
	struct pace *paces;  /* [o.key_count]; those of keys without id are not used */
	struct skew skew;
	struct watched *watched[WATCHED_MAX];
	size_t watched_count;
	bool store_failing;
	sem_t answered;      /* by ingest */
	pthread_t thread;
	pthread_mutex_t lock; /* guards stopping */
	pthread_cond_t wake;
	bool stopping;
};

/* A call at one look. */
struct job {
	struct watcher *w;
	const struct watch_row *row;
	struct facts *facts; /* as its tenant sees them */
	struct watch wish;
	int64_t now_ms;      /* by LiveKit's clock, which is no earlier than the call's last event */
	unsigned due;
	size_t key;
	struct watched *seen;
};

int64_t watcher_livekit_now(const struct watcher *w); /* by LiveKit's clock, as far as it is known; ms */
bool watcher_is_stopping(struct watcher *w);
int64_t watcher_mono_ms(void);
bool watcher_sleep_until(struct watcher *w, int64_t mono_ms); /* false when it is time to stop */
bool watcher_is_paused(const struct pace *p); /* after a failure; not the short wait between any two requests */

/* Ask what is due and submit what is found. True when all was answered and what came of it is durable. */
bool watcher_ask_room(const struct job *j);
bool watcher_ask_recordings(const struct job *j);
