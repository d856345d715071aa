/* ISO 8601 times as the older module's senders write them: 2026-11-22T13:12:19Z, with fractions, with an offset, or with none (then UTC). */
#pragma once

#include "base/slice.h"

/* Whole seconds since the epoch, floored; false where it is no such time, or before 1970. */
bool iso_time_to_s(struct slice text, int64_t *ret);
