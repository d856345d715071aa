/* Who reads: the input is "token\nuser_id", the token as a bearer. Nobody is let in but with a service token itself or with a token that a second
 * implementation takes and that names the very tenant who is let in; a tenant is never let in as another. A genuine token that the input changed
 * anywhere is never taken. The same two texts as lists of service tokens and of secrets: what is taken is known again, by itself or by its hash; what is
 * refused is not repeated. */
#include "must.h"

#include "base/buf.h"
#include "http/access.h"
#include "jwt_judge.h"
#include "jwt_mutator.h"
#include "wire/jwt.h"

#define SERVICE_TOKEN "the-service-token-of-this-target"
#define NOW 1795352846
#define CANARY "S3CR3T-canary-"

static struct access_options both, tenants, strict, none;
static const struct slice secret = { JWT_MUTATOR_SECRET, sizeof JWT_MUTATOR_SECRET - 1 }, audience = { "outcomed", 8 };

static void configure(void)
{
	static struct arena *kept;
	struct slice message;
	if (kept)
		return;
	kept = arena_new(1024);
	must(kept && access_options_read(SLICE(SERVICE_TOKEN "\nanother-one"), secret, kept, &both, &message) == 0);
	must(access_options_read(SLICE_NONE, secret, kept, &tenants, &message) == 0);
	must(access_options_read(SLICE_NONE, SLICE_NONE, kept, &none, &message) == 0);
	strict = tenants;
	strict.audience = audience;
}

static void check_jwt(struct slice token, struct slice user_id, struct slice tenant)
{
	json_t *claims = judge_claims(token, secret, NOW);
	json_t *sub = json_object_get(claims, "sub");
	must(json_is_string(sub) && slice_eq(tenant, slice_of(json_string_value(sub), json_string_length(sub))));
	must(slice_is_none(user_id) || slice_eq(user_id, tenant));
	json_decref(claims);
}

static void check(struct slice token, struct slice user_id, struct arena *a)
{
	struct slice tenant = SLICE_NONE, authorization;
	_cleanup_buf_ struct buf b = BUF_INIT;
	buf_puts(&b, "Bearer ");
	buf_put(&b, token);
	authorization = buf_slice(&b);
	enum access_cause cause;
	bool service = slice_eq(slice_trim(token), SLICE(SERVICE_TOKEN)) || slice_eq(slice_trim(token), SLICE("another-one"));
	must(access_is_service(&both, authorization) == service);
	must(!access_is_service(&none, authorization));
	enum access_result r = access_decide(&both, authorization, user_id, NOW, a, &tenant, &cause);
	if (r == ACCESS_OK)
		must(access_user_id_is_valid(tenant));
	else
		must(slice_is_none(tenant));
	if (r == ACCESS_OK && service)
		must(slice_eq(tenant, user_id));
	else if (r == ACCESS_OK)
		check_jwt(slice_trim(token), user_id, tenant);
	struct slice by_jwt = SLICE_NONE;
	if (access_decide(&tenants, authorization, user_id, NOW, a, &by_jwt, &cause) == ACCESS_OK)
		must(!service && r == ACCESS_OK && slice_eq(by_jwt, tenant));
	struct slice by_strict = SLICE_NONE;
	if (access_decide(&strict, authorization, user_id, NOW, a, &by_strict, &cause) == ACCESS_OK) {
		struct jwt jwt;
		must(slice_eq(by_strict, by_jwt) && jwt_parse(slice_trim(token), a, &jwt) == 0 && jwt_is_for(&jwt.claims, audience));
	}
}

/* The input's bytes are pairs: where in a genuine token, and what to put there. */
static void change_a_genuine_token(const uint8_t *data, size_t size, struct arena *a)
{
	static const struct slice claims = { "{\"sub\":\"acme\",\"exp\":1795353146}", 31 };
	struct slice token, tenant = SLICE_NONE;
	enum access_cause cause;
	_cleanup_buf_ struct buf b = BUF_INIT;
	must(jwt_sign(claims, secret, a, &token) == 0);
	buf_puts(&b, "Bearer ");
	buf_put(&b, token);
	must(!buf_failed(&b) && access_decide(&tenants, buf_slice(&b), SLICE_NONE, NOW, a, &tenant, &cause) == ACCESS_OK && slice_eq(tenant, SLICE("acme")));
	for (size_t i = 0; i + 1 < size; i += 2)
		b.p[7 + data[i] % token.n] = (char)data[i + 1];
	if (memcmp(b.p + 7, token.p, token.n) != 0)
		must(access_decide(&tenants, buf_slice(&b), SLICE_NONE, NOW, a, &tenant, &cause) != ACCESS_OK);
}

/* Each line begins with the canary. */
static struct slice with_canary(struct slice lines, struct buf *b)
{
	for (struct slice rest = lines, line; !slice_is_none(rest);) {
		slice_split(rest, '\n', &line, &rest);
		if (line.n)
			buf_puts(b, CANARY);
		buf_put(b, line);
		buf_putc(b, '\n');
	}
	return buf_slice(b);
}

static void check_list(struct slice service, struct slice secrets, struct arena *a)
{
	_cleanup_buf_ struct buf one = BUF_INIT, two = BUF_INIT, bearer = BUF_INIT;
	struct access_options o, hashed;
	struct slice message = SLICE_NONE, line;
	struct slice tokens = with_canary(service, &one);
	int r = access_options_read(tokens, with_canary(secrets, &two), a, &o, &message);
	must(r == 0 || r == OC_CONFIG);
	if (r == OC_CONFIG) {
		must(message.n && !memmem(message.p, message.n, CANARY, sizeof CANARY - 1));
		return;
	}
	struct slice first = access_first_token(tokens);
	must(slice_is_none(first) == (o.service_count == 0));
	if (slice_is_none(first))
		return;
	buf_puts(&bearer, "Bearer ");
	buf_put(&bearer, first);
	must(access_has_secret(&o, first) && access_is_service(&o, buf_slice(&bearer)));
	must(access_hash_line(first, a, &line) == 0 && access_options_read(line, SLICE_NONE, a, &hashed, &message) == 0);
	must(access_is_service(&hashed, buf_slice(&bearer)) && slice_is_none(access_first_token(line)));
	buf_clear(&bearer);
	buf_puts(&bearer, "Bearer ");
	buf_put(&bearer, line);
	must(!access_is_service(&hashed, buf_slice(&bearer)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena *a = arena_new(8192);
	struct slice token, user_id;
	must(a);
	configure();
	slice_split(slice_of((const char *)data, size), '\n', &token, &user_id);
	check(token, user_id, a);
	if (!size || !memmem(data, size, CANARY, sizeof CANARY - 1))
		check_list(token, user_id, a);
	if (size < 256)
		change_a_genuine_token(data, size, a);
	arena_free(a);
	return 0;
}
