/* A team's own words: this reason counts as that outcome, for everybody or for one tenant. What the rules say stays in raw_outcome. Pure. */
#pragma once

#include "core/verdict.h"

struct override {
	enum verdict_reason reason;
	struct slice tenant; /* none: all that have no override of their own for this reason */
	enum outcome outcome;
};

/* Immutable once made; shared by all threads. */
struct overrides {
	const struct override *items;
	size_t count;
};

/* Sets the outcome of a final verdict; an open call is left alone. `o` may be NULL; a tenant of none has only what goes for all. */
void override_apply(const struct overrides *o, struct slice tenant, struct verdict *v);
