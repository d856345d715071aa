/* outcomed verify: why is this recorded request taken or refused? Every check of the signature by its name. Main thread only. */
#include <stdio.h>

#include "base/clock.h"
#include "cmd/cmd.h"
#include "cmd/recording.h"
#include "wire/iso_time.h"
#include "wire/jwt.h"

static void say_check(void *context, enum signature_check check, bool pass, const char *detail)
{
	(void)context;
	if (pass) {
		printf("pass  %s%s%s\n", signature_check_name(check), detail && *detail ? "  " : "", detail ? detail : "");
		return;
	}
	printf("FAIL  %s%s%s\n", signature_check_name(check), detail && *detail ? "  " : "", detail ? detail : "");
	printf("      %s\n", signature_check_mend(check));
}

static int read_recording(const struct command_line *line, struct recorded *ret)
{
	struct arena *a = line->arena;
	struct slice text, message = SLICE("out of memory");
	struct recorded *items;
	size_t count;
	int64_t wanted;
	if (!line_number(line, "--line", 1, INT32_MAX, 0, &wanted))
		return STATUS_USAGE;
	int r = read_file(line->words[0], RECORDING_MAX_BYTES, a, &text, &message);
	if (r == 0 && (slice_is_empty(slice_trim(text)) || slice_trim(text).p[0] != '{')) {
		r = recording_read_http(text, a, ret, &message);
	} else if (r == 0) {
		r = recording_read_json(text, a, &items, &count, &message);
		size_t i = 0;
		while (r == 0 && wanted && i < count && items[i].line != (size_t)wanted)
			i++;
		if (r == 0 && i == count) {
			message = arena_text(a, "there is no request in line %lld", (long long)wanted);
			r = OC_NOT_FOUND;
		}
		if (r == 0)
			*ret = items[i];
	}
	if (r == 0 && !ret->has_headers) {
		message = SLICE("it has no headers, so there is no signature to check; a recorded request has {\"headers\":{…},\"body\":\"…\"}");
		r = OC_INVALID;
	}
	if (r)
		complain("verify", "%s: %.*s", line->words[0], SLICE_FMT(message));
	return r ? STATUS_USAGE : STATUS_OK;
}

/* When the request's token was signed; 0 where it does not say. */
static int64_t signing_time(struct slice authorization, struct arena *a)
{
	struct jwt t;
	struct slice token = slice_trim(authorization);
	if (token.n > 7 && slice_eq_nocase(slice_of(token.p, 7), SLICE("Bearer ")))
		token = slice_trim(slice_of(token.p + 7, token.n - 7));
	if (jwt_parse(token, a, &t) != 0)
		return 0;
	return t.claims.has_nbf ? t.claims.nbf_s : t.claims.has_iat ? t.claims.iat_s : 0;
}

static int time_of_judgement(const struct command_line *line, const struct recorded *rec, int64_t *ret_s)
{
	const char *now = line_value(line, "--now");
	bool at_signing = line_switch(line, "--at-signing-time");
	int64_t s = clock_wall_ms() / 1000;
	if (now && at_signing) {
		complain("verify", "--now and --at-signing-time exclude each other");
		return STATUS_USAGE;
	}
	if (now && !slice_to_int64(slice_cstr(now), &s)) {
		if (!iso_time_to_s(slice_cstr(now), &s)) {
			complain("verify", "--now=%s: expected seconds since 1970 or a time such as 2026-11-22T13:12:19Z", now);
			return STATUS_USAGE;
		}
	}
	if (at_signing) {
		s = signing_time(rec->authorization, line->arena);
		if (s == 0) {
			complain("verify", "the request has no token that says when it was signed; give --now");
			return STATUS_FAILED;
		}
	}
	*ret_s = s;
	return STATUS_OK;
}

static int run_verify(const struct command_line *line)
{
	struct keyring ring;
	struct recorded rec;
	struct slice message = SLICE("out of memory");
	int64_t now_s;
	if (keyring_from_config(line->config, line->arena, &ring, &message)) {
		complain("verify", "%.*s", SLICE_FMT(message));
		return STATUS_USAGE;
	}
	int status = read_recording(line, &rec);
	if (status == STATUS_OK)
		status = time_of_judgement(line, &rec, &now_s);
	if (status)
		return status;
	printf("body  %zu bytes\n", rec.body.n);
	if (!slice_is_none(rec.note))
		printf("note  %.*s\n", SLICE_FMT(rec.note));
	struct signature_result r = signature_explain(&ring, rec.authorization, rec.hmac, rec.body, now_s, line->arena, say_check, NULL);
	if (r.check != SIGNATURE_OK) {
		printf("refused: %s (the receiver answers 401)\n", signature_check_name(r.check));
		return STATUS_FAILED;
	}
	printf("verified");
	if (!slice_is_none(r.key_id))
		printf(": signed by %.*s", SLICE_FMT(r.key_id));
	putchar('\n');
	return STATUS_OK;
}

static const struct extra_flag verify_flags[] = {
	{ "--line", "N", "JSON lines: the request in line N of the file. Default: the first." },
	{ "--now", "TIME", "Judge as of this time: RFC 3339, or seconds since 1970. Default: now." },
	{ "--at-signing-time", NULL, "Judge as of the token's own nbf: would it have been taken when it was sent?" },
};

const struct command command_verify = {
	.name = "verify",
	.words = "FILE|-",
	.summary = "Say which signature check a recorded request passes or fails.",
	.details = "FILE is a raw HTTP request (request line, headers, blank line, body), or JSON: {\"headers\":{…},\"body\":\"…\"}, one or\n"
		   "one a line. The keys are those of the environment, as for serve.\n"
		   "\n"
		   "Exit codes: 0 verified; 1 refused; 2 wrong usage, or no request could be read.",
	.options = CMD_VERIFY,
	.extra = verify_flags,
	.extra_count = sizeof verify_flags / sizeof verify_flags[0],
	.least_words = 1,
	.most_words = 1,
	.run = run_verify,
};
