/* Who may read whose calls: every way to ask, with every configuration. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "http/access.h"
#include "wire/jwt.h"

#define NOW 1795000000
#define SERVICE "service-token-of-the-backend"
#define SECRET "a tenant secret of more than 32 bytes"

static const struct access_options both = { .service_token = { SERVICE, sizeof SERVICE - 1 }, .tenant_secret = { SECRET, sizeof SECRET - 1 } };
static const struct access_options only_service = { .service_token = { SERVICE, sizeof SERVICE - 1 } };
static const struct access_options only_tenants = { .tenant_secret = { SECRET, sizeof SECRET - 1 } };
static const struct access_options open_to_all = { 0 };

static int make_arena(void **state)
{
	*state = arena_new(4096);
	return *state ? 0 : -1;
}

static int free_arena(void **state)
{
	arena_free(*state);
	return 0;
}

/* "Bearer " and a JWT of this payload. */
static struct slice token(void **state, const char *payload, const char *secret)
{
	struct slice jwt;
	assert_int_equal(jwt_sign(slice_cstr(payload), slice_cstr(secret), *state, &jwt), OC_OK);
	char *text = arena_alloc(*state, jwt.n + 8);
	memcpy(text, "Bearer ", 7);
	memcpy(text + 7, jwt.p, jwt.n);
	return slice_of(text, jwt.n + 7);
}

static struct slice claims(void **state, const char *sub, long exp)
{
	char payload[400];
	snprintf(payload, sizeof payload, "{\"sub\":\"%s\",\"exp\":%ld}", sub, exp);
	return token(state, payload, SECRET);
}

static enum access_result ask(void **state, const struct access_options *o, struct slice authorization, struct slice user_id, struct slice *tenant)
{
	*tenant = SLICE_NONE;
	return access_decide(o, authorization, user_id, NOW, *state, tenant);
}

static void without_tokens_whoever_asks_must_name_a_tenant(void **state)
{
	struct slice tenant;
	assert_int_equal(ask(state, &open_to_all, SLICE_NONE, SLICE("acme"), &tenant), ACCESS_OK);
	assert_true(slice_eq_cstr(tenant, "acme"));
	assert_int_equal(ask(state, &open_to_all, SLICE_NONE, SLICE_NONE, &tenant), ACCESS_WHO);
	assert_int_equal(ask(state, &open_to_all, SLICE("Bearer x"), SLICE("acme"), &tenant), ACCESS_OK);
}

static void the_service_token_reads_the_tenant_it_names(void **state)
{
	struct slice tenant;
	assert_int_equal(ask(state, &both, SLICE("Bearer " SERVICE), SLICE("acme"), &tenant), ACCESS_OK);
	assert_true(slice_eq_cstr(tenant, "acme"));
	assert_int_equal(ask(state, &both, SLICE("bearer  " SERVICE " "), SLICE("acme"), &tenant), ACCESS_OK);
	assert_int_equal(ask(state, &both, SLICE("Bearer " SERVICE), SLICE_NONE, &tenant), ACCESS_NO_TENANT);
}

static void whatever_is_not_the_service_token_is_refused(void **state)
{
	static const char *const bad[] = { "Bearer", "Bearer ", "Bearer " SERVICE "x", "Bearer service-token-of-the-backen", SERVICE,
					   "Basic " SERVICE, "Bearer\t" SERVICE, "", " ", "Bearer " SERVICE ", Bearer " SERVICE };
	struct slice tenant;
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_int_equal(ask(state, &only_service, slice_cstr(bad[i]), SLICE("acme"), &tenant), ACCESS_BAD_TOKEN);
	assert_int_equal(ask(state, &only_service, SLICE_NONE, SLICE("acme"), &tenant), ACCESS_NO_TOKEN);
	assert_true(slice_is_none(tenant));
}

static void a_tenants_token_reads_its_own_calls(void **state)
{
	struct slice tenant, t = claims(state, "acme", NOW + 60);
	assert_int_equal(ask(state, &both, t, SLICE_NONE, &tenant), ACCESS_OK);
	assert_true(slice_eq_cstr(tenant, "acme"));
	assert_int_equal(ask(state, &only_tenants, t, SLICE("acme"), &tenant), ACCESS_OK);
	assert_int_equal(ask(state, &both, t, SLICE("other"), &tenant), ACCESS_OTHER_TENANT);
	assert_int_equal(ask(state, &only_service, t, SLICE("acme"), &tenant), ACCESS_BAD_TOKEN);
}

static void a_tenants_token_lives_as_long_as_it_says(void **state)
{
	struct slice tenant;
	assert_int_equal(ask(state, &both, claims(state, "acme", NOW - ACCESS_LEEWAY_S + 1), SLICE_NONE, &tenant), ACCESS_OK);
	assert_int_equal(ask(state, &both, claims(state, "acme", NOW - ACCESS_LEEWAY_S), SLICE_NONE, &tenant), ACCESS_BAD_TOKEN);
	assert_int_equal(ask(state, &both, token(state, "{\"sub\":\"acme\"}", SECRET), SLICE_NONE, &tenant), ACCESS_BAD_TOKEN);
	char payload[100];
	snprintf(payload, sizeof payload, "{\"sub\":\"acme\",\"exp\":%d,\"nbf\":%d}", NOW + 999, NOW + ACCESS_LEEWAY_S);
	assert_int_equal(ask(state, &both, token(state, payload, SECRET), SLICE_NONE, &tenant), ACCESS_OK);
	snprintf(payload, sizeof payload, "{\"sub\":\"acme\",\"exp\":%d,\"nbf\":%d}", NOW + 999, NOW + ACCESS_LEEWAY_S + 1);
	assert_int_equal(ask(state, &both, token(state, payload, SECRET), SLICE_NONE, &tenant), ACCESS_BAD_TOKEN);
}

static void a_token_that_names_no_proper_tenant_is_refused(void **state)
{
	struct slice tenant;
	char payload[400], long_name[250];
	memset(long_name, 'a', sizeof long_name - 1);
	long_name[sizeof long_name - 1] = '\0';
	assert_int_equal(ask(state, &both, claims(state, "", NOW + 60), SLICE_NONE, &tenant), ACCESS_BAD_TOKEN);
	assert_int_equal(ask(state, &both, claims(state, long_name, NOW + 60), SLICE_NONE, &tenant), ACCESS_BAD_TOKEN);
	assert_int_equal(ask(state, &both, claims(state, "a\\nb", NOW + 60), SLICE_NONE, &tenant), ACCESS_BAD_TOKEN);
	snprintf(payload, sizeof payload, "{\"exp\":%d}", NOW + 60);
	assert_int_equal(ask(state, &both, token(state, payload, SECRET), SLICE_NONE, &tenant), ACCESS_BAD_TOKEN);
}

static void a_token_signed_by_another_secret_is_refused(void **state)
{
	struct slice tenant;
	char payload[100];
	snprintf(payload, sizeof payload, "{\"sub\":\"acme\",\"exp\":%d}", NOW + 60);
	assert_int_equal(ask(state, &both, token(state, payload, "the secret of a LiveKit API key, as it is"), SLICE_NONE, &tenant), ACCESS_BAD_TOKEN);
	assert_int_equal(ask(state, &both, token(state, payload, SERVICE), SLICE_NONE, &tenant), ACCESS_BAD_TOKEN);
}

static void a_user_id_is_short_utf8_without_control_characters(void **state)
{
	(void)state;
	char text[202];
	memset(text, 'a', sizeof text);
	assert_true(access_user_id_is_valid(slice_of(text, 1)));
	assert_true(access_user_id_is_valid(slice_of(text, 200)));
	assert_false(access_user_id_is_valid(slice_of(text, 201)));
	assert_true(access_user_id_is_valid(SLICE("J\xc3\xb6rg \xe2\x82\xac")));
	static const struct slice bad[] = { { "", 0 }, { "a\0", 2 }, { "\x1f", 1 }, { "a\x7f", 2 }, { "\xc2\x85", 2 }, { "\xff", 1 }, { "\xc3", 1 } };
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_false(access_user_id_is_valid(bad[i]));
	assert_true(access_user_id_is_valid(SLICE("\xc2\xa0")));
}

static void a_bad_user_id_is_said_only_to_those_let_in(void **state)
{
	struct slice tenant;
	assert_int_equal(ask(state, &both, SLICE("Bearer " SERVICE), SLICE(""), &tenant), ACCESS_BAD_USER_ID);
	assert_int_equal(ask(state, &both, SLICE("Bearer wrong"), SLICE(""), &tenant), ACCESS_BAD_TOKEN);
	assert_int_equal(ask(state, &open_to_all, SLICE_NONE, SLICE("a\nb"), &tenant), ACCESS_BAD_USER_ID);
}

static void only_the_service_token_is_the_service_token(void **state)
{
	assert_true(access_is_service(&both, SLICE("Bearer " SERVICE)));
	assert_false(access_is_service(&both, SLICE("Bearer x")));
	assert_false(access_is_service(&both, SLICE_NONE));
	assert_false(access_is_service(&both, claims(state, "acme", NOW + 60)));
	assert_false(access_is_service(&open_to_all, SLICE("Bearer ")));
	assert_false(access_is_service(&only_tenants, SLICE("Bearer " SECRET)));
}

int main(void)
{
#define WITH_ARENA(f) cmocka_unit_test_setup_teardown(f, make_arena, free_arena)
	const struct CMUnitTest tests[] = {
		WITH_ARENA(without_tokens_whoever_asks_must_name_a_tenant),
		WITH_ARENA(the_service_token_reads_the_tenant_it_names),
		WITH_ARENA(whatever_is_not_the_service_token_is_refused),
		WITH_ARENA(a_tenants_token_reads_its_own_calls),
		WITH_ARENA(a_tenants_token_lives_as_long_as_it_says),
		WITH_ARENA(a_token_that_names_no_proper_tenant_is_refused),
		WITH_ARENA(a_token_signed_by_another_secret_is_refused),
		WITH_ARENA(a_user_id_is_short_utf8_without_control_characters),
		WITH_ARENA(a_bad_user_id_is_said_only_to_those_let_in),
		WITH_ARENA(only_the_service_token_is_the_service_token),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
