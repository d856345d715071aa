/* One HTTP exchange with LiveKit's API at a time, by libcurl: bounded in time and size, TLS verified, redirects not followed. One thread owns a
 * client; livekit_client_interrupt may come from any. */
#pragma once

#include "wire/livekit_api.h"

struct livekit_client;

struct livekit_exchange {
	enum livekit_answer answer;  /* with OK and NOT_FOUND there is a whole reply */
	struct livekit_reply reply;
	int64_t asked_ms, got_ms;    /* by our clock: before the first byte went out, after the last came in */
	int64_t date_s;              /* the reply's Date, by LiveKit's clock; 0 = none */
	int64_t retry_after_s;       /* 0 = not said */
	struct slice detail;         /* for people: LiveKit's or libcurl's words; none where there are none */
};

int livekit_client_setup(void); /* once, before any other thread runs */

/* `base` is from livekit_base_url. Deadlines for connecting and for everything, ms. */
OC_NODISCARD int livekit_client_open(struct slice base, int connect_ms, int total_ms, struct livekit_client **ret);
void livekit_client_close(struct livekit_client *c); /* takes NULL */

/* OC_NOMEM only; whatever else goes wrong is the answer. All of *ret lives in `a`. */
OC_NODISCARD int livekit_client_ask(struct livekit_client *c, const struct livekit_request *q, struct arena *a, struct livekit_exchange *ret);
/* Ends the exchange that is going on, and every later one, at once. */
void livekit_client_interrupt(struct livekit_client *c);
