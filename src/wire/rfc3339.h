/* RFC 3339 date-times, strictly: with seconds and with an offset. */
#pragma once

#include "base/slice.h"

/* Milliseconds since the epoch (further digits are dropped), before 1970 negative; false where it is no such time. */
bool rfc3339_parse(struct slice text, int64_t *ret_ms);
