/* Where log lines go: standard error, and never a wait for whoever reads it. Any thread.
 *
 * A reader that hangs (a pager, a full journal, a pipe that nobody empties) must not hold up the writer's commits. Lines that cannot be written now
 * are kept, 256 KiB at most, and written with the next ones or by log_flush; what does not fit is left out, counted, and told of in a line of its
 * own (`log_lines_dropped`) as soon as lines are taken again. No line is ever cut: half of one waits for its other half. */
#pragma once

#include "base/slice.h"

/* From now on writing does not wait. At start, before any other thread; without it log lines are written as they come, however long it takes. */
void log_never_wait(void);
/* `lines` ends with a line feed. */
void log_sink_write(struct slice lines);
/* Tries again to write what was kept, for so long at most (0: once). */
void log_flush(int64_t within_ms);
int64_t log_lines_dropped(void);
