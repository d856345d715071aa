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

#define SECOND_SERVICE "another-token-while-they-are-rotated"
#define SECOND_SECRET "the next secret, also of more than 32 bytes"

/* Filled once, by group_setup. */
static struct access_options both, only_service, only_tenants, strict, rotating, open_to_all;
static struct arena *of_options;

static void configure(const char *services, const char *secrets, struct access_options *ret)
{
	struct slice message;
	assert_int_equal(access_options_read(slice_cstr(services), slice_cstr(secrets), of_options, ret, &message), 0);
}

static int group_setup(void **state)
{
	(void)state;
	of_options = arena_new(4096);
	configure(SERVICE, SECRET, &both);
	configure(SERVICE, NULL, &only_service);
	configure(NULL, SECRET, &only_tenants);
	configure(NULL, NULL, &open_to_all);
	configure(SERVICE "\r\n\nsha256:" "c1f1b1cf2cd8a2ae7b5c6f2f0d5f5dfc8d8ef1ee2d8ea5a21f8ac6ef3c6b9a00" "\n", SECRET "\n" SECOND_SECRET "\n", &rotating);
	strict = only_tenants;
	strict.audience = SLICE("outcomed");
	strict.issuer = SLICE("https://login.example");
	return 0;
}

static int group_teardown(void **state)
{
	(void)state;
	arena_free(of_options);
	return 0;
}

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

static enum access_cause cause; /* of the last question */

static enum access_result ask(void **state, const struct access_options *o, struct slice authorization, struct slice user_id, struct slice *tenant)
{
	*tenant = SLICE_NONE;
	return access_decide(o, authorization, user_id, NOW, *state, tenant, &cause);
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

static void of_several_secrets_each_lets_in(void **state)
{
	struct slice tenant, line;
	struct access_options o;
	assert_int_equal(rotating.service_count, 2);
	assert_int_equal(rotating.tenant_count, 2);
	assert_int_equal(access_hash_line(SLICE(SECOND_SERVICE), *state, &line), 0);
	assert_true(slice_starts_with(line, SLICE("sha256:")) && line.n == 71);
	char *text = arena_alloc(*state, sizeof SERVICE + 1 + line.n);
	snprintf(text, sizeof SERVICE + 1 + line.n, "%s\n%.*s", SERVICE, SLICE_FMT(line));
	configure(text, SECRET "\n" SECOND_SECRET, &o);
	assert_int_equal(ask(state, &o, SLICE("Bearer " SERVICE), SLICE("acme"), &tenant), ACCESS_OK);
	assert_int_equal(ask(state, &o, SLICE("Bearer " SECOND_SERVICE), SLICE("acme"), &tenant), ACCESS_OK);
	assert_true(access_is_service(&o, SLICE("Bearer " SECOND_SERVICE)));
	assert_int_equal(ask(state, &o, token(state, "{\"sub\":\"acme\",\"exp\":1795000100}", SECRET), SLICE_NONE, &tenant), ACCESS_OK);
	assert_int_equal(ask(state, &o, token(state, "{\"sub\":\"acme\",\"exp\":1795000100}", SECOND_SECRET), SLICE_NONE, &tenant), ACCESS_OK);
	assert_int_equal(ask(state, &only_tenants, token(state, "{\"sub\":\"acme\",\"exp\":1795000100}", SECOND_SECRET), SLICE_NONE, &tenant), ACCESS_BAD_TOKEN);
	assert_true(slice_eq_cstr(access_first_token(slice_cstr(text)), SERVICE));
	assert_true(slice_is_none(access_first_token(line)));
}

static void the_line_of_a_hash_is_no_token(void **state)
{
	struct slice tenant, line;
	struct access_options o;
	assert_int_equal(access_hash_line(SLICE(SERVICE), *state, &line), 0);
	const char *text = arena_dup(*state, line);
	configure(text, NULL, &o);
	char header[100];
	snprintf(header, sizeof header, "Bearer %s", text);
	assert_int_equal(ask(state, &o, slice_cstr(header), SLICE("acme"), &tenant), ACCESS_BAD_TOKEN);
	assert_int_equal(ask(state, &o, SLICE("Bearer " SERVICE), SLICE("acme"), &tenant), ACCESS_OK);
	assert_true(access_has_secret(&o, SLICE(SERVICE)));
	assert_false(access_has_secret(&o, line));
}

static void what_cannot_be_a_token_or_a_secret_is_refused_without_repeating_it(void **state)
{
	static const char *const services[] = { "", "\n\r\n", "hush hush", "hush\n\thush", "h\xc3\xbcsh", "sha256:hush", "sha256:", "sha256:g",
		"sha256:C1F1B1CF2CD8A2AE7B5C6F2F0D5F5DFC8D8EF1EE2D8EA5A21F8AC6EF3C6B9A00", "good-token\nhush \n" };
	static const char *const secrets[] = { "", "hush", SECRET "\nhush", "\n" };
	struct access_options o;
	struct slice message = SLICE("");
	for (size_t i = 0; i < sizeof services / sizeof services[0]; i++) {
		assert_int_equal(access_options_read(slice_cstr(services[i]), SLICE_NONE, *state, &o, &message), OC_CONFIG);
		assert_null(memmem(message.p, message.n, "hush", 4));
	}
	for (size_t i = 0; i < sizeof secrets / sizeof secrets[0]; i++) {
		assert_int_equal(access_options_read(SLICE_NONE, slice_cstr(secrets[i]), *state, &o, &message), OC_CONFIG);
		assert_null(memmem(message.p, message.n, "hush", 4));
	}
}

static void audience_and_issuer_are_looked_at_where_they_are_configured(void **state)
{
	static const struct {
		const char *payload;
		enum access_result result;
		enum access_cause cause;
	} cases[] = {
		{ "{\"sub\":\"a\",\"exp\":1795000100,\"iss\":\"https://login.example\",\"aud\":\"outcomed\"}", ACCESS_OK, 0 },
		{ "{\"sub\":\"a\",\"exp\":1795000100,\"iss\":\"https://login.example\",\"aud\":[\"crm\",\"outcomed\"]}", ACCESS_OK, 0 },
		{ "{\"sub\":\"a\",\"exp\":1795000100,\"iss\":\"https://login.example\",\"aud\":[]}", ACCESS_BAD_TOKEN, ACCESS_CAUSE_AUDIENCE },
		{ "{\"sub\":\"a\",\"exp\":1795000100,\"iss\":\"https://login.example\",\"aud\":\"outcomed2\"}", ACCESS_BAD_TOKEN, ACCESS_CAUSE_AUDIENCE },
		{ "{\"sub\":\"a\",\"exp\":1795000100,\"iss\":\"https://login.example\"}", ACCESS_BAD_TOKEN, ACCESS_CAUSE_AUDIENCE },
		{ "{\"sub\":\"a\",\"exp\":1795000100,\"iss\":\"https://login.example.org\",\"aud\":\"outcomed\"}", ACCESS_BAD_TOKEN, ACCESS_CAUSE_ISSUER },
		{ "{\"sub\":\"a\",\"exp\":1795000100,\"aud\":\"outcomed\"}", ACCESS_BAD_TOKEN, ACCESS_CAUSE_ISSUER },
		{ "{\"sub\":\"a\",\"exp\":1795000100,\"iss\":\"https://login.example\",\"aud\":[\"outcomed\",7]}", ACCESS_BAD_TOKEN, ACCESS_CAUSE_UNKNOWN },
	};
	struct slice tenant;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		assert_int_equal(ask(state, &strict, token(state, cases[i].payload, SECRET), SLICE_NONE, &tenant), cases[i].result);
		if (cases[i].result != ACCESS_OK)
			assert_int_equal(cause, cases[i].cause);
	}
	assert_int_equal(ask(state, &only_tenants, token(state, cases[5].payload, SECRET), SLICE_NONE, &tenant), ACCESS_OK);
}

static void each_refusal_has_its_cause(void **state)
{
	struct slice tenant, other_alg = SLICE("Bearer eyJhbGciOiJIUzM4NCJ9.e30.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
	const struct {
		struct slice authorization, user_id;
		enum access_cause cause;
	} cases[] = {
		{ SLICE_NONE, SLICE("acme"), ACCESS_CAUSE_NO_TOKEN },
		{ SLICE("Basic x"), SLICE("acme"), ACCESS_CAUSE_MALFORMED },
		{ SLICE("Bearer x"), SLICE("acme"), ACCESS_CAUSE_UNKNOWN },
		{ other_alg, SLICE("acme"), ACCESS_CAUSE_ALGORITHM },
		{ token(state, "{\"sub\":\"acme\",\"exp\":1795000100}", SECOND_SECRET), SLICE("acme"), ACCESS_CAUSE_SIGNATURE },
		{ token(state, "{\"sub\":\"acme\"}", SECRET), SLICE("acme"), ACCESS_CAUSE_NO_EXPIRY },
		{ claims(state, "acme", NOW - 100), SLICE("acme"), ACCESS_CAUSE_EXPIRED },
		{ token(state, "{\"sub\":\"acme\",\"exp\":1795000100,\"nbf\":1795000090}", SECRET), SLICE("acme"), ACCESS_CAUSE_NOT_YET },
		{ claims(state, "", NOW + 60), SLICE("acme"), ACCESS_CAUSE_SUBJECT },
		{ claims(state, "acme", NOW + 60), SLICE("globex"), ACCESS_CAUSE_OTHER_TENANT },
		{ SLICE("Bearer " SERVICE), SLICE("a\nb"), ACCESS_CAUSE_USER_ID },
		{ SLICE("Bearer " SERVICE), SLICE_NONE, ACCESS_CAUSE_USER_ID },
	};
	size_t names;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		assert_int_not_equal(ask(state, &both, cases[i].authorization, cases[i].user_id, &tenant), ACCESS_OK);
		assert_int_equal(cause, cases[i].cause);
		assert_true(slice_is_none(tenant));
	}
	assert_string_equal(access_cause_names(&names)[ACCESS_CAUSE_EXPIRED], "expired");
	assert_int_equal(names, ACCESS_CAUSE_ATTEMPTS + 1);
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
		WITH_ARENA(of_several_secrets_each_lets_in),
		WITH_ARENA(the_line_of_a_hash_is_no_token),
		WITH_ARENA(what_cannot_be_a_token_or_a_secret_is_refused_without_repeating_it),
		WITH_ARENA(audience_and_issuer_are_looked_at_where_they_are_configured),
		WITH_ARENA(each_refusal_has_its_cause),
		WITH_ARENA(a_user_id_is_short_utf8_without_control_characters),
		WITH_ARENA(a_bad_user_id_is_said_only_to_those_let_in),
		WITH_ARENA(only_the_service_token_is_the_service_token),
	};
	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
