/* The two clocks. Nothing in core/ may include this: the as-of time is an argument there. */
#pragma once

#include <stdint.h>

int64_t clock_wall_ms(void); /* ms since the epoch, UTC; may jump */
int64_t clock_mono_ns(void); /* ns, only for measuring; never goes back */
