/* outcomed serve: puts the daemon together, waits for a signal, takes it apart in the right order.
 *
 * Order: signals are blocked before any thread is there; the writer runs before the watcher asks and the first request can come; at the end
 * http_drain (no new requests, the begun ones are answered), then watcher_stop, then ingest_stop (which calls every `done`), then http_free.
 * A second SIGINT while this goes on ends the process at once; more SIGTERMs change nothing. Main thread only. */
#include <errno.h>
#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/log_sink.h"
#include "base/mask.h"
#include "cmd/cmd.h"
#include "cmd/service.h"
#include "http/http.h"
#include "ingest/ingest.h"
#include "ingest/janitor.h"
#include "ingest/watcher.h"
#include "store/migrate.h"
#include "wire/jwt.h"

#define DRAIN_MS 10000
#define STATEMENT_MS 3000 /* LiveKit asks again after 1, 2, 4 and 8 s: a store that hangs must become a 503 before that is used up */
#define QUEUE_BYTES ((size_t)64 << 20) /* of bodies that wait for the writer, at least */
#define MIGRATE_AGAIN_S 2
#define LARGE_BLOCK_BYTES (256 << 10)
#define READ_ANEW_S 60
#define LAST_LINES_MS 500
#define FIRST_LOOK_MS 2000 /* at the database: with a spool it need not answer before we serve */
#define FILES_BESIDE_CONNECTIONS 128

struct serving {
	const struct config *config;
	struct arena *arena;
	struct store_options store;
	struct keyring keyring;
	struct decode_options decode;
	int inherited_fd;     /* a listening socket of the service manager's; 0: none */
	struct slice livekit; /* base of LiveKit's API; none: no watcher */
	const struct routes *routes; /* NULL: none */
	const struct overrides *overrides; /* NULL: none */
	struct spool *spool; /* NULL: none */
	bool migrate_pending; /* asked for, but the database was down */
	bool store_is_down;   /* it could not be used at the first look */
	sigset_t signals;
	struct slice message;
};

/* What a large body took goes back to the system with it. glibc would otherwise raise its threshold by and by, and keep such blocks. */
static void give_large_blocks_back(void) { mallopt(M_MMAP_THRESHOLD, LARGE_BLOCK_BYTES); }

static int raise_file_limit(struct serving *s)
{
	struct rlimit limit;
	rlim_t need = (rlim_t)s->config->max_connections_n + FILES_BESIDE_CONNECTIONS;
	if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= need)
		return 0;
	if (limit.rlim_max >= need)
		limit.rlim_cur = need;
	else
		limit.rlim_cur = limit.rlim_max = need;
	if (setrlimit(RLIMIT_NOFILE, &limit) == 0)
		return 0;
	s->message = arena_text(s->arena, "--max-connections=%lld needs %llu open files, more than the limit: raise it (ulimit -Hn, or "
			"LimitNOFILE= in the unit) or lower --max-connections", (long long)s->config->max_connections_n, (unsigned long long)need);
	return OC_CONFIG;
}

/* Of a daemon SIGHUP asks for files to be read anew; of a process in a terminal it says that the terminal has gone, unless nohup had it ignored.
 * A file that may not grow (ulimit -f) is an error of the disk. */
static void block_signals(sigset_t *set)
{
	struct sigaction hup;
	signal(SIGXFSZ, SIG_IGN);
	sigemptyset(set);
	sigaddset(set, SIGTERM);
	sigaddset(set, SIGINT);
	if (sigaction(SIGHUP, NULL, &hup) == 0 && hup.sa_handler != SIG_IGN)
		sigaddset(set, SIGHUP);
	pthread_sigmask(SIG_BLOCK, set, NULL);
}

static void exit_at_once(int signal_number)
{
	(void)signal_number;
	static const char text[] = "outcomed serve: interrupted again, not waiting any longer\n";
	struct pollfd out = { .fd = STDERR_FILENO, .events = POLLOUT };
	ssize_t n = poll(&out, 1, 0) > 0 ? write(STDERR_FILENO, text, sizeof text - 1) : 0;
	(void)n;
	_exit(STATUS_FAILED);
}

/* SIGTERM and SIGHUP may come as often as they like: one stop is one stop. Only somebody at a keyboard means more by the second one. */
static void next_interrupt_exits(void)
{
	struct sigaction action = { .sa_handler = exit_at_once };
	sigset_t interrupt;
	sigemptyset(&action.sa_mask);
	sigaction(SIGINT, &action, NULL);
	sigemptyset(&interrupt);
	sigaddset(&interrupt, SIGINT);
	pthread_sigmask(SIG_UNBLOCK, &interrupt, NULL);
}

static bool has_api_key(const struct keyring *ring)
{
	for (size_t i = 0; i < ring->count; i++)
		if (ring->keys[i].id.n)
			return true;
	return false;
}

/* LIVEKIT_URL is set in many an environment for other programs' sake: without a key that can ask it is only noted. */
static int prepare_watcher(struct serving *s)
{
	if (slice_is_empty(s->config->livekit_url))
		return 0;
	int r = livekit_base_url(s->config->livekit_url, s->arena, &s->livekit);
	if (r == OC_INVALID) {
		s->message = SLICE("LIVEKIT_URL is no address of LiveKit's: expected such as wss://livekit.example.com or http://127.0.0.1:7880");
		return OC_CONFIG;
	}
	if (r == 0 && !has_api_key(&s->keyring)) {
		log_warn("no watcher: LIVEKIT_URL is set, but no API key; set LIVEKIT_API_KEY and LIVEKIT_API_SECRET");
		s->livekit = SLICE_NONE;
	}
	return r;
}

static int prepare(struct serving *s)
{
	struct slice *tenant_keys;
	int r = crypto_begin();
	if (r)
		return r;
	r = keyring_from_config(s->config, s->arena, &s->keyring, &s->message);
	if (r)
		return r;
	r = service_inherited_socket(&s->inherited_fd, &s->message);
	if (r)
		return r;
	if (s->inherited_fd && !slice_eq(s->config->listen, SLICE(DEFAULT_LISTEN)))
		log_warn("--listen is not heeded: a service manager passes the socket; set the address there", LOG_S("listen", s->config->listen));
	bool local = s->inherited_fd ? http_socket_is_local(s->inherited_fd) : http_listen_is_local(s->config->listen);
	if (!local && slice_is_none(s->config->service_token) && slice_is_none(s->config->tenant_secret)) {
		s->message = arena_text(s->arena, "%.*s is a public address: set OUTCOMED_SERVICE_TOKEN or OUTCOMED_TENANT_SECRET, or listen on 127.0.0.1",
					SLICE_FMT(s->inherited_fd ? SLICE("the socket that was passed (LISTEN_FDS)") : s->config->listen));
		return OC_CONFIG;
	}
	s->store.url = s->config->database;
	r = tenant_keys_from_config(s->config, s->arena, &tenant_keys, &s->decode.tenant_key_count);
	if (r)
		return r;
	s->decode.tenant_keys = tenant_keys;
	s->decode.iso_times = s->config->accept_hmac_on;
	r = prepare_watcher(s);
	if (r)
		return r;
	r = routes_from_config(s->config, s->arena, &s->routes, &s->message);
	if (r == 0)
		r = overrides_from_config(s->config, s->arena, &s->overrides, &s->message);
	return r ? r : raise_file_limit(s);
}

static void log_migration(void *context, const char *line)
{
	(void)context;
	if (strncmp(line, "nothing to do", 13) == 0)
		log_debug("migrate", LOG_Z("did", line));
	else
		log_info("migrate", LOG_Z("did", line));
}

/* A disk that fails is no reason not to serve; where the directory is wrong, somebody is there to hear of it. */
static int prepare_spool(struct serving *s)
{
	if (slice_eq_cstr(s->config->spool, "none"))
		return 0;
	const char *directory = arena_dup(s->arena, s->config->spool);
	const struct spool_options o = { .directory = directory, .limit_bytes = s->config->spool_limit_bytes };
	int r = directory ? spool_open(&o, s->arena, &s->spool, &s->message) : OC_NOMEM;
	if (r == OC_IO) {
		log_error("no spool: what the database does not take gets 503", LOG_S("cause", s->message));
		s->message = SLICE_NONE;
		return 0;
	}
	return r;
}

/* What may be over in a while, and with a spool is waited for. */
static bool may_pass(const struct serving *s, bool sqlite, int error)
{
	switch ((enum oc_error)error) {
	case OC_DOWN: return !sqlite || s->spool;
	case OC_UNSURE:
	case OC_RETRY:
	case OC_IO:
	case OC_FSYNC:
	case OC_FULL:
	case OC_TIMEOUT:
	case OC_NET: return s->spool;
	case OC_OK:
	case OC_NOMEM:
	case OC_INVALID:
	case OC_NOT_FOUND:
	case OC_DATA:
	case OC_SCHEMA:
	case OC_DENIED:
	case OC_CONFLICT:
	case OC_CONFIG: return false;
	}
	return false;
}

/* SQLite is ours and is always upgraded; PostgreSQL only when asked. Then a first look whether this binary can work with
 * the schema. A database that is down is no reason not to start; a schema that does not fit is. */
static int prepare_store(struct serving *s)
{
	bool known;
	struct store *store = NULL;
	bool sqlite = store_url_kind(s->store.url, &known) == STORE_SQLITE;
	struct store_options first = s->store;
	int r = 0;
	if (s->spool)
		first.timeout_ms = FIRST_LOOK_MS;
	if (sqlite || s->config->migrate_on) {
		r = migrate_upgrade(&first, 0, log_migration, NULL, s->arena, &s->message);
		s->migrate_pending = may_pass(s, sqlite, r);
	}
	if (r == 0) {
		r = store_open(&first, s->arena, &store, &s->message);
		store_close(store);
	}
	if (!may_pass(s, sqlite, r))
		return r;
	s->store_is_down = r == OC_DOWN || r == OC_RETRY;
	log_warn(s->spool ? "the database cannot be used now: waiting for it; events are kept in the spool meanwhile"
			  : "the database is down: waiting for it; webhooks get 503 meanwhile and LiveKit sends them again",
		 LOG_S("cause", s->message));
	return 0;
}

static void migrate_when_up(struct serving *s)
{
	_cleanup_arena_ struct arena *a = arena_new(4096);
	struct slice message = SLICE("out of memory");
	int r = a ? migrate_upgrade(&s->store, 0, log_migration, NULL, a, &message) : OC_NOMEM;
	s->migrate_pending = r == OC_NOMEM || may_pass(s, false, r);
	if (r && !s->migrate_pending)
		log_error("the schema could not be upgraded", LOG_Z("error", oc_error_text(r)), LOG_S("cause", message));
}

/* The files that may change while it runs; all others are read at start. A pair of which only one file is new yet is looked at again. */
static void read_anew(struct http_server *server, bool asked)
{
	_cleanup_arena_ struct arena *a = arena_new(4096);
	struct slice message = SLICE("out of memory");
	bool changed = false;
	int r = a ? http_reload(server, a, &changed, &message) : OC_NOMEM;
	if (r)
		log_error("the certificate could not be read anew; the old one stays", LOG_S("cause", message));
	else if (changed || asked)
		log_info(changed ? "the certificate was read anew" : "SIGHUP: nothing has changed");
}

static int wait_for_signal(struct serving *s, struct http_server *server)
{
	for (;;) {
		const struct timespec pause = { .tv_sec = s->migrate_pending ? MIGRATE_AGAIN_S : READ_ANEW_S };
		int n = sigtimedwait(&s->signals, NULL, &pause);
		if (n == SIGHUP && !isatty(STDIN_FILENO)) {
			service_say_reloading();
			read_anew(server, true);
			service_say_reloaded();
		} else if (n > 0) {
			return n;
		} else if (errno == EAGAIN && s->migrate_pending) {
			migrate_when_up(s);
		} else if (errno == EAGAIN) {
			read_anew(server, false);
		}
	}
}

/* Migrations may take their time; what a request waits for may not. */
static struct store_options serving_store(const struct serving *s)
{
	struct store_options o = s->store;
	o.timeout_ms = STATEMENT_MS;
	return o;
}

/* The largest body must fit in beside others. */
static size_t queue_bytes(const struct serving *s)
{
	size_t four = 4 * (size_t)s->config->max_body_bytes;
	return four > QUEUE_BYTES ? four : QUEUE_BYTES;
}

static struct http_options http_options_of(const struct serving *s)
{
	const struct config *c = s->config;
	return (struct http_options){
		.listen = c->listen,
		.inherited_fd = s->inherited_fd,
		.max_body_bytes = (size_t)c->max_body_bytes,
		.max_connections = (size_t)c->max_connections_n,
		.max_connections_per_address = (size_t)c->max_connections_per_address_n,
		.max_connections_unauthenticated = (size_t)c->max_connections_unauthenticated_n,
		.trusted_proxies = c->trusted_proxy,
		.allowed_hosts = c->allowed_hosts,
		.tls_certificate = c->tls_cert,
		.tls_key = c->tls_key,
		.request_timeout_ms = c->request_timeout_s * 1000,
		.stall_timeout_ms = c->stall_timeout_s * 1000,
		.idle_timeout_ms = c->idle_timeout_s * 1000,
		.keyring = s->keyring,
		.decode = s->decode,
		.service_token = c->service_token,
		.tenant_secret = c->tenant_secret,
		.tenant_audience = c->tenant_audience,
		.tenant_issuer = c->tenant_issuer,
		.store = serving_store(s),
	};
}

static int start_watcher(const struct serving *s, struct ingest *ingest, struct metrics *m, struct watcher **ret)
{
	const struct watcher_options o = {
		.base = s->livekit, .keys = s->keyring.keys, .key_count = s->keyring.count, .store = serving_store(s), .decode = s->decode,
		.interval_ms = s->config->watch_interval_ms, .requests_a_second = s->config->watch_rate_n,
	};
	*ret = NULL;
	return slice_is_none(s->livekit) ? 0 : watcher_start(&o, ingest, m, ret);
}

static void log_start(struct serving *s, const struct http_server *server)
{
	struct slice url = SLICE_NONE;
	if (store_url_for_log(s->store.url, s->arena, &url) != 0)
		url = SLICE_NONE;
	log_info("call_outcomes routes registered", LOG_S("address", http_address(server)), LOG_Z("tls", slice_is_none(s->config->tls_cert) ? NULL : "on"), LOG_Z("receiver", "/api/webhooks/call_completed"),
		 LOG_S("database", url), LOG_I("signing_keys", s->keyring.count), LOG_S("watches", s->livekit), LOG_Z("version", OUTCOMED_VERSION));
}

static int start_janitor(const struct serving *s, struct metrics *m, struct janitor **ret)
{
	const struct retention_options o = { .store = serving_store(s), .calls_ms = s->config->retention_ms, .payloads_ms = s->config->keep_payloads_ms };
	return janitor_start(&o, m, ret);
}

static bool writer_is_alive(void *ingest, int64_t within_ms) { return ingest_makes_progress(ingest, within_ms); }

static const char *status_of(void *ingest)
{
	struct spool_status spool;
	if (ingest_is_up(ingest))
		return "Taking webhooks";
	return ingest_spool_status(ingest, &spool) && spool.takes ? "Taking webhooks into the spool: the database is down or refuses, see the log"
								  : "The database is down or refuses: see the log";
}

/* From the first socket to the last. */
static int serve(struct serving *s, struct metrics *m)
{
	static const char *const versions[] = { OUTCOMED_VERSION };
	const struct ingest_options ingest_options = {
		.store = serving_store(s), .store_is_down = s->store_is_down, .queue_limit_bytes = queue_bytes(s), .default_user = s->config->default_user,
		.routes = s->routes, .overrides = s->overrides, .watch = !slice_is_none(s->livekit), .decode = s->decode,
		.spool = s->spool, .commit_deadline_ms = s->config->commit_deadline_ms,
	};
	const struct http_options http_options = http_options_of(s);
	struct ingest *ingest;
	struct http_server *server;
	struct watcher *watcher;
	struct service *service = NULL;
	struct janitor *janitor = NULL;
	metrics_label_values(m, METRIC_BUILD, versions, 1);
	metric_set(m, METRIC_BUILD, 0, 1);
	janitor_declare(m);
	int r = ingest_start(&ingest_options, m, &ingest);
	if (r)
		return r;
	r = start_watcher(s, ingest, m, &watcher);
	if (r) {
		ingest_stop(ingest);
		return r;
	}
	if (start_janitor(s, m, &janitor) < 0) /* before anybody can ask for the metrics, which it declares */
		log_warn("nothing is removed by --retention and --keep-payloads: out of memory or threads");
	r = http_start(&http_options, ingest, m, s->arena, &server, &s->message);
	if (r) {
		janitor_stop(janitor);
		watcher_stop(watcher);
		ingest_stop(ingest);
		return r;
	}
	log_start(s, server);
	if (service_start(&(struct service_options){ .alive = writer_is_alive, .status = status_of, .context = ingest }, &service) < 0)
		log_warn("the service manager hears nothing more: out of memory or threads");
	int n = wait_for_signal(s, server);
	next_interrupt_exits();
	int64_t began_ns = clock_mono_ns();
	log_info("stopping: finishing what was accepted", LOG_Z("signal", sigabbrev_np(n)));
	service_stop(service);
	service_say_stopping();
	if (!http_drain(server, DRAIN_MS))
		log_warn("some requests were not finished in time", LOG_I("waited_ms", DRAIN_MS));
	janitor_stop(janitor);
	watcher_stop(watcher);
	ingest_stop(ingest);
	http_free(server);
	log_info("stopped", LOG_I("ms", (clock_mono_ns() - began_ns) / 1000000));
	log_flush(LAST_LINES_MS);
	return 0;
}

static int run_serve(const struct command_line *line)
{
	struct serving s = { .config = line->config, .arena = line->arena, .message = SLICE_NONE };
	give_large_blocks_back();
	log_never_wait();
	block_signals(&s.signals);
	int r = prepare(&s);
	if (r == 0)
		r = prepare_spool(&s);
	if (r == 0)
		r = prepare_store(&s);
	if (r == 0) {
		s.message = SLICE_NONE;
		struct metrics *m = metrics_new();
		r = m ? serve(&s, m) : OC_NOMEM;
		metrics_free(m);
	}
	spool_close(s.spool);
	if (r == 0)
		return STATUS_OK;
	if (slice_is_none(s.message))
		s.message = slice_cstr(oc_error_text(r));
	_cleanup_buf_ struct buf shown = BUF_INIT; /* it goes to the log, and a database's error text may have anything in it */
	buf_put_masked(&shown, s.message);
	complain("serve", "%.*s", SLICE_FMT(buf_slice(&shown)));
	return STATUS_USAGE;
}

const struct command command_serve = {
	.name = "serve",
	.words = "",
	.summary = "Receive webhooks and serve outcomes until SIGTERM or SIGINT.",
	.details = "Runs in the foreground and logs to standard error. A SQLite file is made and upgraded by itself; a PostgreSQL\n"
		   "database wants `outcomed migrate upgrade` first, or --migrate. One that is down, at the start or later, is waited for:\n"
		   "events are kept in the spool (--spool) until it takes them, and /readyz says degraded.\n"
		   "\n"
		   "A listening socket that a service manager passes (LISTEN_FDS) is taken instead of --listen; readiness, status and the\n"
		   "watchdog are told to it (NOTIFY_SOCKET, WATCHDOG_USEC).\n"
		   "\n"
		   "SIGTERM and SIGINT finish what was accepted and stop, however often they come; a second SIGINT (Ctrl-C) does not\n"
		   "wait. SIGHUP stops a process in a terminal; a daemon reads certificate and key anew.\n"
		   "\n"
		   "Exit codes: 0 stopped by a signal; 1 stopped by a second SIGINT; 2 could not start (wrong configuration,\n"
		   "address in use, database refused).",
	.options = CMD_SERVE,
	.least_words = 0,
	.most_words = 0,
	.run = run_serve,
};
