/* core/tenant.c: ranks, disputes and routes. */
#include "core_fixture.h"

#include "core/tenant.h"

static struct facts *facts_with(struct history *h, const char *room, const char *attribute)
{
	h->n = 0;
	room_started(h);
	joins(h, &CALLEE, STATUS_DIALING, 80);
	h->events[0].room.tenant = slice_cstr(room);
	h->events[1].participant.tenant = slice_cstr(attribute);
	h->events[1].participant.sip_trunk_id = SLICE("ST_1");
	h->events[1].participant.sip_trunk_phone_number = SLICE("+15005550100");
	h->events[0].key_id = SLICE("APIx");
	return facts_of(h);
}

static void assert_known(struct tenant t, enum tenant_rank rank, const char *id)
{
	assert_int_equal(t.state, TENANT_KNOWN);
	assert_int_equal(t.rank, rank);
	assert_true(slice_eq_cstr(t.id, id));
}

static void the_tenant_of_the_strongest_rank_that_speaks_wins(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	struct facts *f = facts_with(h, "room", "attribute");
	assert_known(tenant_resolve(f, SLICE("host"), SLICE("default"), true), TENANT_HOST_ROW, "host");
	assert_known(tenant_resolve(f, SLICE_NONE, SLICE("default"), true), TENANT_ROOM_METADATA, "room");
	assert_known(tenant_resolve(facts_with(h, NULL, "attribute"), SLICE_NONE, SLICE("default"), true), TENANT_ATTRIBUTE, "attribute");
}

static void two_tenants_of_one_rank_that_disagree_leave_the_call_with_nobody(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	(void)facts_with(h, NULL, "b");
	joins(h, &AGENT, STATUS_NONE, 30);
	h->events[2].participant.tenant = SLICE("a");
	struct tenant t = tenant_resolve(facts_of(h), SLICE_NONE, SLICE("default"), true);
	assert_int_equal(t.state, TENANT_DISPUTED);
	assert_int_equal(t.rank, TENANT_ATTRIBUTE);
	assert_true(slice_eq_cstr(t.one, "a"));
	assert_true(slice_eq_cstr(t.other, "b"));
	assert_known(tenant_resolve(facts_of(h), SLICE("host"), SLICE_NONE, false), TENANT_HOST_ROW, "host");
}

static void two_tenants_of_a_weaker_rank_do_not_matter(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	(void)facts_with(h, "room", "b");
	joins(h, &AGENT, STATUS_NONE, 30);
	h->events[2].participant.tenant = SLICE("a");
	assert_known(tenant_resolve(facts_of(h), SLICE_NONE, SLICE_NONE, false), TENANT_ROOM_METADATA, "room");
}

static void the_default_tenant_waits_for_the_end_of_the_call(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	struct facts *f = facts_with(h, NULL, NULL);
	assert_int_equal(tenant_resolve(f, SLICE_NONE, SLICE("default"), false).state, TENANT_UNKNOWN);
	assert_known(tenant_resolve(f, SLICE_NONE, SLICE("default"), true), TENANT_DEFAULT, "default");
	assert_int_equal(tenant_resolve(f, SLICE_NONE, SLICE_NONE, true).state, TENANT_UNKNOWN);
}

static void what_other_tenants_say_of_a_room_makes_no_call_for_the_default_tenant(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	marks(h, MARK_ANSWERED, MARK_SOURCE_APP, 0, 1000)->mark.tenant = SLICE("eve");
	assert_int_equal(tenant_resolve(facts_of(h), SLICE_NONE, SLICE("default"), true).state, TENANT_UNKNOWN);
	assert_known(tenant_resolve(facts_of(h), SLICE("host"), SLICE("default"), true), TENANT_HOST_ROW, "host");
	marks(h, MARK_ANSWERED, MARK_SOURCE_APP, 0, 1000)->mark.tenant = SLICE("default");
	assert_known(tenant_resolve(facts_of(h), SLICE_NONE, SLICE("default"), true), TENANT_DEFAULT, "default");
	h->n = 1;
	(void)marks(h, MARK_ENDED, MARK_SOURCE_APP, 0, 1000);
	assert_known(tenant_resolve(facts_of(h), SLICE_NONE, SLICE("default"), true), TENANT_DEFAULT, "default");
	h->n = 1;
	room_started(h);
	assert_known(tenant_resolve(facts_of(h), SLICE_NONE, SLICE("default"), true), TENANT_DEFAULT, "default");
}

static void each_kind_of_route_finds_its_tenant(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	static const struct route ROUTES[] = {
		{ ROUTE_TRUNK_ID, { "ST_1", 4 }, { "by-trunk", 8 } }, { ROUTE_TRUNK_NUMBER, { "+15005550100", 12 }, { "by-number", 9 } },
		{ ROUTE_ROOM_PREFIX, { "ro", 2 }, { "by-room", 7 } }, { ROUTE_API_KEY, { "APIx", 4 }, { "by-key", 6 } },
	};
	for (size_t i = 0; i < 4; i++) {
		struct facts *f = facts_with(h, NULL, NULL);
		assert_int_equal(tenant_apply_routes(f, &(struct routes){ &ROUTES[i], 1 }), 0);
		assert_int_equal(f->tenant_count, 1);
		struct tenant t = tenant_resolve(f, SLICE_NONE, SLICE_NONE, false);
		assert_int_equal(t.rank, TENANT_ROUTE);
		assert_true(slice_eq(t.id, ROUTES[i].tenant));
	}
}

static void the_longest_room_prefix_wins_for_a_tenant(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	static const struct route ROUTES[] = {
		{ ROUTE_ROOM_PREFIX, { "roo", 3 }, { "long", 4 } }, { ROUTE_ROOM_PREFIX, { "r", 1 }, { "short", 5 } },
		{ ROUTE_ROOM_PREFIX, { "roomy", 5 }, { "other", 5 } },
	};
	struct facts *f = facts_with(h, NULL, NULL);
	assert_int_equal(tenant_apply_routes(f, &(struct routes){ ROUTES, 3 }), 0);
	assert_known(tenant_resolve(f, SLICE_NONE, SLICE_NONE, false), TENANT_ROUTE, "long");
}

static void routes_applied_twice_say_the_same_about_the_tenant(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	static const struct route ONE = { ROUTE_API_KEY, { "APIx", 4 }, { "acme", 4 } };
	struct facts *f = facts_with(h, NULL, NULL);
	assert_int_equal(tenant_apply_routes(f, &(struct routes){ &ONE, 1 }), 0);
	assert_int_equal(tenant_apply_routes(f, &(struct routes){ &ONE, 1 }), 0);
	assert_int_equal(f->tenant_count, 1);
	assert_int_equal(tenant_apply_routes(f, NULL), 0);
}

static void a_trunk_number_counts_only_for_a_phones_tenant(void **state)
{
	(void)state;
	_cleanup_history_ struct history *h = history_new();
	static const struct route ONE = { ROUTE_TRUNK_ID, { "ST_1", 4 }, { "acme", 4 } };
	joins(h, &USER, STATUS_NONE, 30);
	h->events[0].participant.sip_trunk_id = SLICE("ST_1");
	struct facts *f = facts_of(h);
	assert_int_equal(tenant_apply_routes(f, &(struct routes){ &ONE, 1 }), 0);
	assert_int_equal(f->tenant_count, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_tenant_of_the_strongest_rank_that_speaks_wins),
		cmocka_unit_test(two_tenants_of_one_rank_that_disagree_leave_the_call_with_nobody),
		cmocka_unit_test(two_tenants_of_a_weaker_rank_do_not_matter),
		cmocka_unit_test(the_default_tenant_waits_for_the_end_of_the_call),
		cmocka_unit_test(what_other_tenants_say_of_a_room_makes_no_call_for_the_default_tenant),
		cmocka_unit_test(each_kind_of_route_finds_its_tenant),
		cmocka_unit_test(the_longest_room_prefix_wins_for_a_tenant),
		cmocka_unit_test(routes_applied_twice_say_the_same_about_the_tenant),
		cmocka_unit_test(a_trunk_number_counts_only_for_a_phones_tenant),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
