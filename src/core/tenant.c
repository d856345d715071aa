/* Whose call is it? The strongest rank that speaks wins, whatever the order of the witnesses; two of one rank that disagree leave the
 * call with nobody. Pure; any thread that owns the facts. */
#include "core/tenant.h"

static bool route_fits_session(const struct route *r, const struct fact_session *s)
{
	if (s->kind != KIND_SIP)
		return false;
	struct slice value = r->kind == ROUTE_TRUNK_ID ? s->trunk_id : s->trunk_phone_number;
	return !slice_is_empty(value) && slice_eq(value, r->value);
}

static bool route_fits(const struct route *r, const struct facts *f)
{
	switch (r->kind) {
	case ROUTE_TRUNK_ID:
	case ROUTE_TRUNK_NUMBER:
		for (size_t i = 0; i < f->session_count; i++)
			if (route_fits_session(r, &f->sessions[i]))
				return true;
		return false;
	case ROUTE_API_KEY:
		for (size_t i = 0; i < f->key_id_count; i++)
			if (slice_eq(f->key_ids[i], r->value))
				return true;
		return false;
	case ROUTE_ROOM_PREFIX:
		return slice_starts_with(f->room_name, r->value);
	}
	return false;
}

int tenant_apply_routes(struct facts *f, const struct routes *routes)
{
	const struct route *longest = NULL;
	for (size_t i = 0; routes && i < routes->count; i++) {
		const struct route *r = &routes->items[i];
		if (!route_fits(r, f))
			continue;
		if (r->kind == ROUTE_ROOM_PREFIX) {
			if (!longest || r->value.n > longest->value.n)
				longest = r;
			continue;
		}
		int error = facts_add_tenant(f, TENANT_ROUTE, r->tenant, SLICE_NONE);
		if (error)
			return error;
	}
	return longest ? facts_add_tenant(f, TENANT_ROUTE, longest->tenant, SLICE_NONE) : 0;
}

/* What a tenant says of a room that no event was seen of makes no call for the default tenant. */
static bool is_known_from_others_only(const struct facts *f, struct slice tenant)
{
	bool seen = f->last_event_s || f->creation_time_ms || f->session_count || f->egress_count || f->key_id_count || f->room_name.n;
	for (size_t i = 0; i < f->mark_count; i++)
		seen |= slice_is_empty(f->marks[i].mark.tenant) || slice_eq(f->marks[i].mark.tenant, tenant);
	return f->mark_count && !seen;
}

struct tenant tenant_resolve(const struct facts *f, struct slice host_row, struct slice default_user, bool ended)
{
	if (!slice_is_empty(host_row))
		return (struct tenant){ .state = TENANT_KNOWN, .rank = TENANT_HOST_ROW, .id = host_row };
	if (f->tenant_count == 0) {
		if (ended && !slice_is_empty(default_user) && !is_known_from_others_only(f, default_user))
			return (struct tenant){ .state = TENANT_KNOWN, .rank = TENANT_DEFAULT, .id = default_user };
		return (struct tenant){ .state = TENANT_UNKNOWN };
	}
	const struct fact_tenant *first = &f->tenants[0]; /* sorted by rank, tenant */
	if (f->tenant_count > 1 && f->tenants[1].rank == first->rank)
		return (struct tenant){ .state = TENANT_DISPUTED, .rank = first->rank, .one = first->tenant, .other = f->tenants[1].tenant };
	return (struct tenant){ .state = TENANT_KNOWN, .rank = first->rank, .id = first->tenant };
}
