/* The file of --routes: JSON, {"trunkId": {"ST_…": "tenant"}, "trunkNumber": {"+1…": "tenant"}, "roomPrefix": {"acme-": "tenant"},
 * "apiKey": {"APIx": "tenant"}}; all parts optional, unknown parts are an error. */
#pragma once

#include "base/arena.h"
#include "base/error.h"
#include "core/tenant.h"

/* OC_INVALID puts what is wrong and where into *ret_message (in `a`). */
OC_NODISCARD int routes_parse(struct slice text, struct arena *a, struct routes *ret, struct slice *ret_message);
