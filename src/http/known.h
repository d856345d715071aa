/* The addresses that have shown a genuine signature or token lately: they get the larger share of connections.
 *
 * A fixed table, so that it cannot grow; only who has shown something genuine can push another out, and the one that was silent longest
 * goes. Any thread. */
#pragma once

#include "http/address.h"

#define KNOWN_NS ((int64_t)24 * 3600 * 1000000000) /* so long an address stays known: a night without calls must not forget LiveKit's */

struct known;

struct known *known_new(void); /* NULL when out of memory */
void known_free(struct known *k); /* takes NULL */
/* `group` as address_group gives it; now_ns of the monotonic clock, not 0. */
void known_note(struct known *k, struct address group, int64_t now_ns);
bool known_is(struct known *k, struct address group, int64_t now_ns);
