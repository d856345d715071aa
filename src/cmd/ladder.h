/* A call's timeline as a ladder: a column for LiveKit and one for each party, times from the beginning of the call. Where the columns do not fit the
 * terminal, a list. */
#pragma once

#include "base/buf.h"
#include "cmd/terminal.h"
#include "cmd/timeline.h"
#include "core/detail.h"

OC_NODISCARD int ladder_write(const struct terminal *t, const struct timeline *line, const struct detail *d, struct arena *a, struct buf *out);

/* "SIP outbound", "AGENT": what kind of party it is. */
const char *ladder_kind(const struct detail_leg *leg);
