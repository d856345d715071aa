/* Who has shown tokens that were not accepted: an address gets ATTEMPTS_AT_ONCE answers that say so, and one more a second; beyond that it is told to
 * wait, and its connection ends. A token that is genuine is always accepted, so that nobody is shut out by somebody behind the same address.
 *
 * A fixed table, so that it cannot grow. A new address takes the place of the one that has most left, so that who is told to wait stays in it
 * longest. Any thread. */
#pragma once

#include "http/address.h"

#define ATTEMPTS_AT_ONCE 20
#define ATTEMPTS_AGAIN_NS 1000000000 /* for one more */

struct attempts;

struct attempts *attempts_new(void); /* NULL when out of memory */
void attempts_free(struct attempts *t); /* takes NULL */
/* Counts one; false: too many. `group` as address_group gives it; now_ns of the monotonic clock, not 0. */
bool attempts_note(struct attempts *t, struct address group, int64_t now_ns);
