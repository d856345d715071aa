/* outcomed token: a tenant's JWT, signed with OUTCOMED_TENANT_SECRET. Main thread only. */
#include <stdio.h>

#include "base/clock.h"
#include "base/jsonw.h"
#include "cmd/cmd.h"
#include "wire/jwt.h"

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

int tenant_token(struct slice tenant, int64_t now_s, int64_t ttl_s, struct slice secret, struct arena *a, struct slice *ret)
{
	_cleanup_buf_ struct buf payload = BUF_INIT;
	struct jsonw w = JSONW(&payload);
	jw_obj(&w);
	jw_key(&w, "sub");
	jw_str(&w, tenant);
	jw_key(&w, "iat");
	jw_int(&w, now_s);
	jw_key(&w, "exp");
	jw_int(&w, now_s + ttl_s);
	jw_obj_end(&w);
	if (buf_failed(&payload))
		return OC_NOMEM;
	return jwt_sign(buf_slice(&payload), secret, a, ret);
}

static int run_token(const struct command_line *line)
{
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
	int r = tenant_token(slice_cstr(tenant), clock_wall_ms() / 1000, ttl_s, line->config->tenant_secret, line->arena, &token);
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
};

const struct command command_token = {
	.name = "token",
	.words = "",
	.summary = "Print a token with which one tenant can read its calls and post marks about them.",
	.details = "Prints a JWT (HS256 by OUTCOMED_TENANT_SECRET; sub, iat, exp) for `Authorization: Bearer …`.\n"
		   "\n"
		   "Exit codes: 0 printed; 1 failed; 2 wrong usage or no secret.",
	.options = CMD_TOKEN,
	.extra = token_flags,
	.extra_count = sizeof token_flags / sizeof token_flags[0],
	.run = run_token,
};
