/* A team's own outcomes by reason. See override.h. Pure; any thread. */
#include "core/override.h"

void override_apply(const struct overrides *o, struct slice tenant, struct verdict *v)
{
	v->outcome = v->raw_outcome;
	const struct override *best = NULL;
	for (size_t i = 0; o && v->raw_outcome != OUTCOME_NONE && i < o->count; i++) {
		const struct override *x = &o->items[i];
		bool own = !slice_is_empty(x->tenant);
		if (x->reason == v->reason && (!own || slice_eq(x->tenant, tenant)) && (!best || own))
			best = x;
	}
	if (best)
		v->outcome = best->outcome;
}
