/* The tenant of a call: a fact like any other. Each witness has a rank (facts.h); the strongest rank that speaks wins
 * in whatever order the witnesses come; two witnesses of one rank that disagree leave the call with no tenant. Pure. */
#pragma once

#include "base/arena.h"
#include "base/error.h"
#include "core/facts.h"

/* What a route looks at. */
enum route_kind { ROUTE_TRUNK_ID, ROUTE_TRUNK_NUMBER, ROUTE_ROOM_PREFIX, ROUTE_API_KEY };

struct route {
	enum route_kind kind;
	struct slice value; /* exact, but for ROUTE_ROOM_PREFIX, where the longest prefix wins */
	struct slice tenant;
};

/* Immutable once made; shared by all threads. */
struct routes {
	const struct route *items;
	size_t count;
};

/* Adds rank-4 witnesses for what the routes say about these facts. Idempotent. `routes` may be NULL. */
OC_NODISCARD int tenant_apply_routes(struct facts *f, const struct routes *routes);

enum tenant_state { TENANT_UNKNOWN, TENANT_KNOWN, TENANT_DISPUTED };

struct tenant {
	enum tenant_state state;
	enum tenant_rank rank;      /* of the winning or disputing witnesses */
	struct slice id;            /* KNOWN */
	struct slice one, other;    /* DISPUTED: two that disagree, smallest first */
};

/* host_row: the host's own call_logs."userId" for this call, or none. default_user counts only when `ended`. */
struct tenant tenant_resolve(const struct facts *f, struct slice host_row, struct slice default_user, bool ended);
