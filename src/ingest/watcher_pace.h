/* When the watcher may ask, and in whose time it speaks. Pure: the clock's reading is an argument. One thread. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* ---- pace: so many requests a second at most, and a pause that grows while they fail ---- */

#define PACE_FIRST_PAUSE_MS 1000
#define PACE_LONGEST_PAUSE_MS 60000
#define PACE_LONGEST_RETRY_AFTER_S 600 /* more than that is not believed */

struct pace {
	int64_t gap_ms;   /* between two requests */
	int64_t next_ms;  /* not before then */
	int64_t pause_ms; /* the last pause after a failure; 0 = none has failed since one succeeded */
	uint64_t random;  /* not 0 */
};

static inline struct pace pace_of(int64_t requests_a_second, uint64_t seed)
{
	return (struct pace){ .gap_ms = 1000 / requests_a_second, .random = seed | 1 };
}

void pace_asked(struct pace *p, int64_t now_ms);
void pace_succeeded(struct pace *p);
/* Doubles the pause, half of it random; at least what the server asked for. Gives the pause. */
int64_t pace_failed(struct pace *p, int64_t now_ms, int64_t retry_after_s);

/* ---- skew: LiveKit's clock against ours, by the Date of its replies ---- */

/* LiveKit's clock minus ours lies in [low_ms, high_ms]. */
struct skew {
	bool known;
	int64_t low_ms, high_ms, at_ms;
};

/* The reply to a request that we sent at asked_ms and had whole at got_ms carried this Date; 0 = none. */
void skew_seen(struct skew *s, int64_t asked_ms, int64_t got_ms, int64_t date_s);
/* What to add to a time of ours so that it is LiveKit's: only what is proved, 0 while nothing is. */
int64_t skew_ms(const struct skew *s);
