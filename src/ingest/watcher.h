/* The watcher: asks LiveKit's API what no webhook tells. When was the outbound leg answered? Is the call of which nothing was heard for long still
 * there? How did the recording end of which no egress_ended came? What it finds enters by ingest_submit like any mark or event.
 *
 * It concludes nothing from what it could not read whole (wire/livekit_api.h); nothing waits for it, and without it every call still ends.
 * One thread, with a struct store of its own; of several nodes one at a time asks about a call (store_watch_claim). */
#pragma once

#include "ingest/ingest.h"
#include "wire/livekit_api.h"

struct watcher_options {
	struct slice base;                /* from livekit_base_url */
	const struct signing_key *keys;   /* those without an id cannot ask */
	size_t key_count;
	struct store_options store;
	struct decode_options decode;
	int64_t interval_ms;              /* between two looks at a leg that rings; 0 = 1000 */
	int64_t requests_a_second;        /* at most; 0 = 10 */
};

struct watcher;

/* Starts the thread. The options' slices must outlive it. OC_NOT_FOUND: no key has an id. */
OC_NODISCARD int watcher_start(const struct watcher_options *o, struct ingest *in, struct metrics *m, struct watcher **ret);
/* Ends a request that is going on and the thread; before ingest_stop. Takes NULL. */
void watcher_stop(struct watcher *w);
