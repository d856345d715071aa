/* The items of `outcomed check` that need a running daemon: is it there, does it refuse a forgery, does a signed event go through
 * the whole path and come back out, do the tokens open what they should and nothing else. Main thread only.
 *
 * The test events have fixed ids and one fixed room, so that repeated checks are duplicates of one small call. */
#include "cmd/check.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/jsonw.h"
#include "http/access.h"
#include "wire/jdoc.h"

#define CHECK_SID "RM_outcomed_check"
#define CHECK_ROOM "outcomed-check"
#define CHECK_TENANT "outcomed-check"
#define RECEIVER "/api/webhooks/call_completed"
#define OUTCOME "/api/calls/" CHECK_SID "/outcome"

struct daemon {
	struct checking *c;
	struct client *client;
	const char *base; /* http://host:port */
};

/* ---- reaching it ---- */

/* The URL of a --listen text: a wildcard is reached by loopback; a Unix socket's path goes to *ret_unix. */
static const char *base_of(struct slice listen, bool tls, struct arena *a, const char **ret_unix)
{
	struct slice port;
	*ret_unix = NULL;
	if (slice_starts_with(listen, SLICE("unix:"))) {
		*ret_unix = arena_dup(a, slice_of(listen.p + 5, listen.n - 5));
		return "http://localhost";
	}
	size_t colon = listen.n;
	while (colon && listen.p[colon - 1] != ':')
		colon--;
	port = slice_of(listen.p + colon, listen.n - colon);
	struct slice host = slice_of(listen.p, colon ? colon - 1 : 0);
	if (slice_is_empty(host) || slice_eq_cstr(host, "0.0.0.0") || slice_eq_cstr(host, "*"))
		host = SLICE("127.0.0.1");
	else if (slice_eq_cstr(host, "[::]"))
		host = SLICE("[::1]");
	return arena_dup(a, arena_text(a, "%s://%.*s:%.*s", tls ? "https" : "http", SLICE_FMT(host), SLICE_FMT(port)));
}

static int get(const struct daemon *d, const char *path, struct slice bearer, struct client_reply *ret)
{
	struct arena *a = d->c->arena;
	const char *url = arena_dup(a, arena_text(a, "%s%s", d->base, path));
	const char *authorization = slice_is_none(bearer) ? NULL : arena_dup(a, arena_text(a, "Authorization: Bearer %.*s", SLICE_FMT(bearer)));
	const char *const headers[] = { "User-Agent: outcomed-check", authorization, NULL };
	if (!url || (!authorization && !slice_is_none(bearer)))
		return OC_NOMEM;
	return client_request(d->client, "GET", url, headers, SLICE_NONE, a, ret);
}

static int post(const struct daemon *d, const struct signing_key *key, struct slice body, struct client_reply *ret)
{
	struct arena *a = d->c->arena;
	struct slice token;
	const char *url = arena_dup(a, arena_text(a, "%s" RECEIVER, d->base));
	int r = url ? signature_sign(key, body, clock_wall_ms() / 1000, a, &token) : OC_NOMEM;
	return r ? r : client_post_webhook(d->client, url, token, body, a, ret);
}

static const char *problem(const struct daemon *d, int r)
{
	return r == OC_NET ? client_error(d->client) : oc_error_text(r);
}

/* Checks that a request got this status; says so, or what came instead. */
static bool expect(const struct daemon *d, const char *item, int r, const struct client_reply *reply, long status, const char *good, const char *mend)
{
	struct arena *a = d->c->arena;
	if (r)
		check_fail(d->c, item, slice_cstr(problem(d, r)), "see the daemon's log");
	else if (reply->status != status)
		check_fail(d->c, item, arena_text(a, "answered %ld instead of %ld", reply->status, status), mend);
	else if (good)
		check_ok(item, "%s", good);
	return r == 0 && reply->status == status;
}

/* ---- the test event ---- */

static int test_event(const struct daemon *d, const char *id, const char *type, struct slice *ret)
{
	struct slice *keys;
	size_t count;
	int64_t now_s = clock_wall_ms() / 1000;
	_cleanup_buf_ struct buf b = BUF_INIT, metadata = BUF_INIT;
	struct jsonw w = JSONW(&b), m = JSONW(&metadata);
	int r = tenant_keys_from_config(d->c->config, d->c->arena, &keys, &count);
	if (r)
		return r;
	jw_obj(&m);
	jw_key_slice(&m, count ? keys[0] : SLICE("user_id"));
	jw_cstr(&m, CHECK_TENANT);
	jw_obj_end(&m);
	jw_obj(&w);
	jw_key(&w, "event");
	jw_cstr(&w, type);
	jw_key(&w, "id");
	jw_cstr(&w, id);
	jw_key(&w, "createdAt");
	jw_int(&w, now_s);
	jw_key(&w, "room");
	jw_obj(&w);
	jw_key(&w, "sid");
	jw_cstr(&w, CHECK_SID);
	jw_key(&w, "name");
	jw_cstr(&w, CHECK_ROOM);
	jw_key(&w, "creationTime");
	jw_int(&w, now_s);
	jw_key(&w, "metadata");
	jw_str(&w, buf_slice(&metadata));
	jw_obj_end(&w);
	jw_obj_end(&w);
	if (buf_failed(&b) || buf_failed(&metadata))
		return OC_NOMEM;
	return arena_copy(d->c->arena, buf_slice(&b), ret) ? 0 : OC_NOMEM;
}

static void check_forgery(const struct daemon *d)
{
	struct slice body;
	struct client_reply reply;
	struct signing_key forged = keyring_signer(d->c->config, &d->c->keyring);
	forged.secret = SLICE("this is not the secret, and nobody's");
	int r = test_event(d, "EV_outcomed_check_forged", "room_started", &body);
	if (r == 0)
		r = post(d, &forged, body, &reply);
	expect(d, "forged event", r, &reply, 401, "refused with 401", "anybody can write calls: is this outcomed, or a proxy that answers for it?");
}

static bool send_test_events(const struct daemon *d)
{
	static const char *const events[][2] = { { "EV_outcomed_check_started", "room_started" }, { "EV_outcomed_check_finished", "room_finished" } };
	const struct signing_key key = keyring_signer(d->c->config, &d->c->keyring);
	for (size_t i = 0; i < sizeof events / sizeof events[0]; i++) {
		struct slice body;
		struct client_reply reply;
		int r = test_event(d, events[i][0], events[i][1], &body);
		if (r == 0)
			r = post(d, &key, body, &reply);
		bool last = i + 1 == sizeof events / sizeof events[0];
		if (!expect(d, "test event", r, &reply, 200, last ? "signed, taken and durable" : NULL,
			    "the daemon has other keys than this environment, or its database is down: see its log and /readyz"))
			return false;
	}
	return true;
}

/* ---- reading it back ---- */

static bool shows_the_call(const struct client_reply *reply, struct arena *a)
{
	struct jdoc j;
	if (jdoc_parse(reply->body, a, &j) != 0 || j.fault != JDOC_OK || jdoc_type_of(&j, 0) != JDOC_OBJECT)
		return false;
	uint32_t sid = jdoc_member(&j, 0, SLICE("livekitRoomSid"));
	return sid && jdoc_text_is(&j, sid, SLICE(CHECK_SID));
}

static void check_outcome(const struct daemon *d, struct slice bearer)
{
	struct client_reply reply;
	int r = get(d, OUTCOME "?user_id=" CHECK_TENANT, bearer, &reply);
	if (!expect(d, "outcome", r, &reply, 200, NULL, "does the daemon use this database and these tokens?"))
		return;
	if (shows_the_call(&reply, d->c->arena))
		check_ok("outcome", "the test event's call can be read back");
	else
		check_fail(d->c, "outcome", SLICE("the answer is not the test event's call"), "is this outcomed?");
	r = get(d, OUTCOME "?user_id=outcomed-check-other", bearer, &reply);
	expect(d, "other tenant", r, &reply, 404, "cannot read it (404)", "the call is shown to a tenant it does not belong to");
}

static void check_wrong_token(const struct daemon *d)
{
	struct client_reply reply;
	int r = get(d, OUTCOME "?user_id=" CHECK_TENANT, SLICE("not-a-token-of-anybody"), &reply);
	expect(d, "wrong token", r, &reply, 401, "refused with 401", "the daemon was started without the tokens of this environment");
}

static void check_service_token(const struct daemon *d)
{
	struct client_reply reply;
	struct slice token = access_first_token(d->c->config->service_token);
	if (slice_is_none(token)) {
		check_skip("service token", slice_is_none(d->c->config->service_token) ? "OUTCOMED_SERVICE_TOKEN is not set" :
			"OUTCOMED_SERVICE_TOKEN holds hashes only, with which nothing can be asked");
		return;
	}
	int r = get(d, OUTCOME, token, &reply);
	expect(d, "service token", r, &reply, 400, "must name a tenant (400 without user_id)", "the daemon has another OUTCOMED_SERVICE_TOKEN");
}

/* One tenant token: whom it is for, signed with what, and the status that it must get. */
static void try_tenant_token(const struct daemon *d, const char *item, const char *tenant, struct slice secret, long status, const char *good)
{
	struct slice token;
	struct client_reply reply;
	int r = tenant_token(d->c->config, slice_cstr(tenant), clock_wall_ms() / 1000, 60, secret, d->c->arena, &token);
	if (r == 0)
		r = get(d, OUTCOME, token, &reply);
	expect(d, item, r, &reply, status, good, "the daemon has another OUTCOMED_TENANT_SECRET, or does not check it");
}

static void check_tenant_tokens(const struct daemon *d)
{
	if (slice_is_none(d->c->config->tenant_secret)) {
		check_skip("tenant token", "OUTCOMED_TENANT_SECRET is not set");
		return;
	}
	try_tenant_token(d, "tenant token", CHECK_TENANT, SLICE_NONE, 200, "reads its own call");
	try_tenant_token(d, "tenant token", "outcomed-check-other", SLICE_NONE, 404, "of another tenant does not (404)");
	try_tenant_token(d, "tenant token", CHECK_TENANT, SLICE("this is not the secret of any tenant's token"), 401, "with another secret is refused (401)");
}

static struct slice reading_token(const struct daemon *d)
{
	struct slice token = SLICE_NONE;
	const struct config *g = d->c->config;
	struct slice service = access_first_token(g->service_token);
	if (!slice_is_none(service))
		return service;
	if (slice_is_none(g->tenant_secret) ||
	    tenant_token(g, SLICE(CHECK_TENANT), clock_wall_ms() / 1000, 60, SLICE_NONE, d->c->arena, &token) != 0)
		return SLICE_NONE;
	return token;
}

static void check_running(const struct daemon *d)
{
	struct client_reply reply;
	const struct config *g = d->c->config;
	int r = get(d, "/readyz", SLICE_NONE, &reply);
	expect(d, "ready", r, &reply, 200, "its database answers", "/readyz and the daemon's log say why");
	if (d->c->keyring.count == 0) {
		check_skip("test event", "there is no key to sign it with");
		return;
	}
	check_forgery(d);
	if (!send_test_events(d))
		return;
	struct slice token = reading_token(d);
	bool none_is_set = slice_is_none(g->service_token) && slice_is_none(g->tenant_secret);
	if (slice_is_none(token) && !none_is_set)
		check_skip("outcome", "no token to read it with: OUTCOMED_SERVICE_TOKEN holds hashes only");
	else
		check_outcome(d, token);
	if (none_is_set) {
		check_skip("tokens", "none is set");
		return;
	}
	check_wrong_token(d);
	check_service_token(d);
	check_tenant_tokens(d);
}

void check_daemon(struct checking *c)
{
	const char *unix_path;
	struct daemon d = { .c = c };
	struct client_reply reply;
	struct slice certificate = c->config->tls_cert;
	const char *trusted = arena_dup(c->arena, certificate);
	d.base = base_of(c->config->listen, !slice_is_none(certificate), c->arena, &unix_path);
	if (!d.base || !trusted || client_setup() != 0 || client_open(unix_path, &d.client) != 0 ||
	    (!slice_is_none(certificate) && client_trust(d.client, trusted) != 0)) {
		check_fail(c, "daemon", SLICE("out of memory"), "");
		return;
	}
	int r = get(&d, RECEIVER "/health", SLICE_NONE, &reply);
	if (r) {
		printf("%-4s  %-20s  none answers at %.*s (%s): start outcomed serve, then check again\n", "skip", "daemon",
		       SLICE_FMT(c->config->listen), problem(&d, r));
	} else if (reply.status != 200 || !slice_eq_cstr(slice_trim(reply.body), "{\"status\":\"healthy\",\"service\":\"call_outcomes\"}")) {
		check_fail(c, "daemon", arena_text(c->arena, "something else than outcomed answers at %.*s", SLICE_FMT(c->config->listen)),
			   "stop it, or give --listen the daemon's address");
	} else {
		check_ok("daemon", "answers at %.*s", SLICE_FMT(c->config->listen));
		check_running(&d);
	}
	client_close(d.client);
}
