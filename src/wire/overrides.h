/* The file of --overrides: JSON, {"all": {"declined": "no_answer"}, "tenants": {"acme": {"declined": "busy"}}}; both parts optional. Reasons and
 * outcomes are those of docs/VERDICTS.md; anything else is an error. A tenant's own entry beats the one for all. */
#pragma once

#include "base/arena.h"
#include "base/error.h"
#include "core/override.h"

/* OC_INVALID puts what is wrong and where into *ret_message (in `a`). */
OC_NODISCARD int overrides_parse(struct slice text, struct arena *a, struct overrides *ret, struct slice *ret_message);
