/* See watcher_pace.h. A Date has whole seconds, so one reply bounds the difference of the clocks to little more than a second; each further one
 * narrows it. The bounds widen with time, since clocks drift, and start anew when a reply contradicts them: somebody set a clock. */
#include "ingest/watcher_pace.h"

#define MOST_MS 130000 /* LiveKit refuses our tokens when its clock is further from ours: then this is some proxy's */
#define DRIFT_PER_MS 2000 /* a clock may go wrong by one part in so many */

static int64_t max64(int64_t x, int64_t y) { return x > y ? x : y; }
static int64_t min64(int64_t x, int64_t y) { return x < y ? x : y; }

void pace_asked(struct pace *p, int64_t now_ms) { p->next_ms = max64(p->next_ms, now_ms + p->gap_ms); }

void pace_succeeded(struct pace *p) { p->pause_ms = 0; }

int64_t pace_failed(struct pace *p, int64_t now_ms, int64_t retry_after_s)
{
	p->random ^= p->random << 13;
	p->random ^= p->random >> 7;
	p->random ^= p->random << 17;
	p->pause_ms = p->pause_ms ? min64(p->pause_ms * 2, PACE_LONGEST_PAUSE_MS) : PACE_FIRST_PAUSE_MS;
	int64_t pause = p->pause_ms / 2 + (int64_t)(p->random % (uint64_t)(p->pause_ms / 2 + 1));
	pause = max64(pause, min64(max64(retry_after_s, 0), PACE_LONGEST_RETRY_AFTER_S) * 1000);
	p->next_ms = max64(p->next_ms, now_ms + pause);
	return pause;
}

void skew_seen(struct skew *s, int64_t asked_ms, int64_t got_ms, int64_t date_s)
{
	if (date_s <= 0 || got_ms < asked_ms)
		return;
	struct skew seen = { .known = true, .low_ms = date_s * 1000 - got_ms, .high_ms = date_s * 1000 + 999 - asked_ms, .at_ms = got_ms };
	if (seen.low_ms > MOST_MS || seen.high_ms < -MOST_MS)
		return;
	int64_t drift = s->known ? max64(got_ms - s->at_ms, 0) / DRIFT_PER_MS + 1 : 0;
	int64_t low = max64(seen.low_ms, s->low_ms - drift), high = min64(seen.high_ms, s->high_ms + drift);
	if (s->known && low <= high) {
		seen.low_ms = low;
		seen.high_ms = high;
	}
	*s = seen;
}

int64_t skew_ms(const struct skew *s)
{
	if (!s->known)
		return 0;
	return s->low_ms > 0 ? s->low_ms : s->high_ms < 0 ? s->high_ms : 0;
}
