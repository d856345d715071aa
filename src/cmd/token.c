/* outcomed token: a tenant's JWT, signed with OUTCOMED_TENANT_SECRET. Main thread only. */
#include <stdio.h>

#include "base/clock.h"
#include "base/jsonw.h"
#include "cmd/cmd.h"
#include "http/access.h"
#include "wire/jwt.h"

#define TOKEN_LEAST_BYTES 16
#define TOKEN_MOST_BYTES ((size_t)8192)
#define TTL_MOST_S (10LL * 366 * 86400)

/* 90, 90s, 15m, 1h, 30d. */
static bool parse_ttl(const char *text, int64_t *ret_s)
{
	static const struct {
		char unit;
		int64_t seconds;
	} units[] = { { 's', 1 }, { 'm', 60 }, { 'h', 3600 }, { 'd', 86400 } };
	struct slice s = slice_cstr(text);
	int64_t factor = 1, n;
	for (size_t i = 0; i < sizeof units / sizeof units[0]; i++)
		if (s.n > 1 && s.p[s.n - 1] == units[i].unit) {
			factor = units[i].seconds;
			s.n--;
			break;
		}
	if (!slice_to_int64(s, &n) || n < 1 || n > TTL_MOST_S / factor)
		return false;
	*ret_s = n * factor;
	return true;
}

static void put_claim(struct jsonw *w, const char *name, struct slice value)
{
	if (slice_is_none(value))
		return;
	jw_key(w, name);
	jw_str(w, value);
}

int tenant_token(const struct config *c, struct slice tenant, int64_t now_s, int64_t ttl_s, struct slice secret, struct arena *a, struct slice *ret)
{
	struct access_options access;
	struct slice message;
	if (slice_is_none(secret)) {
		int r = access_options_read(SLICE_NONE, c->tenant_secret, a, &access, &message);
		if (r == 0 && access.tenant_count == 0)
			r = OC_CONFIG;
		if (r)
			return r;
		secret = access.tenant_secrets[0];
	}
	_cleanup_buf_ struct buf payload = BUF_INIT;
	struct jsonw w = JSONW(&payload);
	jw_obj(&w);
	jw_key(&w, "sub");
	jw_str(&w, tenant);
	put_claim(&w, "iss", c->tenant_issuer);
	put_claim(&w, "aud", c->tenant_audience);
	jw_key(&w, "iat");
	jw_int(&w, now_s);
	jw_key(&w, "exp");
	jw_int(&w, now_s + ttl_s);
	jw_obj_end(&w);
	if (buf_failed(&payload))
		return OC_NOMEM;
	return jwt_sign(buf_slice(&payload), secret, a, ret);
}

/* Of a service token on standard input, never on the command line. */
static int print_hash(const struct command_line *line)
{
	struct slice token, hashed, message = SLICE("out of memory");
	int r = read_file("-", TOKEN_MOST_BYTES, line->arena, &token, &message);
	if (r) {
		complain("token", "%.*s", SLICE_FMT(message));
		return STATUS_FAILED;
	}
	token = slice_trim(token);
	for (size_t i = 0; i < token.n; i++)
		if (token.p[i] <= ' ' || token.p[i] > '~')
			token.n = 0;
	if (token.n < TOKEN_LEAST_BYTES) {
		complain("token", "--hash reads one token of at least %d visible ASCII characters from standard input: openssl rand -hex 32 | outcomed token --hash",
			 TOKEN_LEAST_BYTES);
		return STATUS_USAGE;
	}
	if (access_hash_line(token, line->arena, &hashed) != 0) {
		complain("token", "%s", oc_error_text(OC_NOMEM));
		return STATUS_FAILED;
	}
	printf("%.*s\n", SLICE_FMT(hashed));
	return STATUS_OK;
}

static int run_token(const struct command_line *line)
{
	if (line_switch(line, "--hash"))
		return print_hash(line);
	const char *tenant = line_value(line, "--tenant"), *ttl = line_value(line, "--ttl");
	int64_t ttl_s = 3600;
	struct slice token;
	if (!tenant || !*tenant) {
		complain("token", "--tenant ID is needed: the userId whose calls the token may read");
		return STATUS_USAGE;
	}
	if (!slice_is_utf8(slice_cstr(tenant))) {
		complain("token", "--tenant is not UTF-8");
		return STATUS_USAGE;
	}
	if (ttl && !parse_ttl(ttl, &ttl_s)) {
		complain("token", "--ttl=%s: expected seconds, or a number with s, m, h or d, such as 3600 or 1h", ttl);
		return STATUS_USAGE;
	}
	if (slice_is_none(line->config->tenant_secret)) {
		complain("token", "OUTCOMED_TENANT_SECRET or OUTCOMED_TENANT_SECRET_FILE is needed: the same secret that the daemon has");
		return STATUS_USAGE;
	}
	int r = tenant_token(line->config, slice_cstr(tenant), clock_wall_ms() / 1000, ttl_s, SLICE_NONE, line->arena, &token);
	if (r) {
		complain("token", "%s", oc_error_text(r));
		return STATUS_FAILED;
	}
	printf("%.*s\n", SLICE_FMT(token));
	return STATUS_OK;
}

static const struct extra_flag token_flags[] = {
	{ "--tenant", "ID", "The tenant (userId) that the token is for. Required." },
	{ "--ttl", "TIME", "How long it is valid: seconds, or a number with s, m, h or d. Default: 1h." },
	{ "--hash", NULL, "Reads a service token from standard input and prints the line with its hash that can stand in its place." },
};

const struct command command_token = {
	.name = "token",
	.words = "",
	.summary = "Print a token with which one tenant can read its calls and post marks, or a service token's hash.",
	.details = "Prints a JWT (HS256 by the first OUTCOMED_TENANT_SECRET; sub, iat, exp, and iss and\n"
		   "aud where they are configured) for `Authorization: Bearer …`.\n"
		   "\n"
		   "Exit codes: 0 printed; 1 failed; 2 wrong usage or no secret.",
	.options = CMD_TOKEN,
	.extra = token_flags,
	.extra_count = sizeof token_flags / sizeof token_flags[0],
	.run = run_token,
};
