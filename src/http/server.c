/* The life of the HTTP side: options checked, workers, readers and acceptor started, drained and freed.
 *
 * Order of the end: http_drain (nothing new is accepted, what was begun is answered, then nothing is submitted any more), ingest_stop (every
 * event gets its answer), http_free (readers, workers). libmicrohttpd must not be stopped while a connection is suspended; by then none is.
 * One thread starts and ends it. */
#include "http/internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "http/tls.h"

#define DEFAULT_THREADS 2
#define DEFAULT_MAX_BODY (8u << 20)
#define DEFAULT_CONNECTIONS 1000
#define DEFAULT_CONNECTIONS_OF_ADDRESS 500
#define DEFAULT_REQUEST_MS 10000
#define DEFAULT_STALL_MS 5000
#define DEFAULT_IDLE_MS 120000
#define OTHER_DESCRIPTORS 4096 /* of databases, logs and the like, below the connections' */
#define LAST_ANSWERS_MS 1000   /* for what ingest_stop answered last */
#define POLL_MS 2
#define QUIET_MS 250           /* a client that has not sent for so long is not about to */
#define GOODBYE_MS 20          /* between the end of the stream and the end of the connection: what crossed it is read, not reset */

static void set_defaults(struct http_options *o)
{
	o->threads = o->threads ? o->threads : DEFAULT_THREADS;
	o->reader_threads = o->reader_threads ? o->reader_threads : DEFAULT_THREADS;
	o->max_body_bytes = o->max_body_bytes ? o->max_body_bytes : DEFAULT_MAX_BODY;
	o->max_connections = o->max_connections ? o->max_connections : DEFAULT_CONNECTIONS;
	if (!o->max_connections_per_address)
		o->max_connections_per_address = DEFAULT_CONNECTIONS_OF_ADDRESS;
	if (!o->max_connections_unauthenticated)
		o->max_connections_unauthenticated = (o->max_connections + 1) / 2;
	o->stall_timeout_ms = o->stall_timeout_ms ? o->stall_timeout_ms : DEFAULT_STALL_MS;
	o->request_timeout_ms = o->request_timeout_ms ? o->request_timeout_ms : DEFAULT_REQUEST_MS;
	o->idle_timeout_ms = o->idle_timeout_ms ? o->idle_timeout_ms : DEFAULT_IDLE_MS;
}

/* NULL where the options may be served with. */
static const char *what_is_wrong(const struct http_options *o, const struct access_options *access)
{
	bool local = o->inherited_fd ? http_socket_is_local(o->inherited_fd) : http_listen_is_local(o->listen);
	if (access_is_open(access) && !local)
		return "a public address needs OUTCOMED_SERVICE_TOKEN or OUTCOMED_TENANT_SECRET: set one, or listen on 127.0.0.1";
	for (size_t i = 0; i < o->keyring.count; i++)
		if (access_has_secret(access, o->keyring.keys[i].secret))
			return "OUTCOMED_TENANT_SECRET or OUTCOMED_SERVICE_TOKEN is a LiveKit secret: every room participant holds a token signed by that; make another";
	return NULL;
}

static void declare_metrics(struct metrics *m)
{
	static const char *const checks[] = {
#define X(name, e, mend) name,
		SIGNATURE_CHECKS(X)
#undef X
	};
	size_t n;
	const char *const *labels = reply_status_labels(&n);
	if (!m)
		return;
	metrics_label_values(m, METRIC_HTTP_REQUESTS, labels, n);
	labels = refusal_labels(&n);
	metrics_label_values(m, METRIC_HTTP_REFUSALS, labels, n);
	labels = access_cause_names(&n);
	metrics_label_values(m, METRIC_ACCESS_REFUSALS, labels, n);
	metrics_label_values(m, METRIC_SIGNATURE, checks, SIGNATURE_CHECK_COUNT);
}

/* Each worker is a libmicrohttpd of its own, with one loop, that gets its connections from the acceptor. It closes nobody by itself: the
 * acceptor keeps the time. */
static struct MHD_Daemon *worker_start(struct http_server *s)
{
	unsigned flags = MHD_USE_EPOLL_INTERNAL_THREAD | MHD_USE_NO_LISTEN_SOCKET | MHD_ALLOW_SUSPEND_RESUME | (tls_is_open() ? MHD_USE_TLS : 0);
	union {
		gnutls_certificate_retrieve_function2 *function;
		void *pointer;
	} select = { .function = tls_select };
	struct MHD_OptionItem tls[] = {
		{ MHD_OPTION_HTTPS_PRIORITIES, 0, (void *)(uintptr_t)TLS_PRIORITIES },
		{ MHD_OPTION_HTTPS_CERT_CALLBACK, 0, select.pointer },
		{ MHD_OPTION_END, 0, NULL },
	};
	return MHD_start_daemon(flags, 0, NULL, NULL,
				request_handle, s,
				MHD_OPTION_NOTIFY_COMPLETED, request_completed, s,
				MHD_OPTION_NOTIFY_CONNECTION, connection_notify, s,
				MHD_OPTION_URI_LOG_CALLBACK, request_begin, s,
				MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_MEMORY_BYTES,
				MHD_OPTION_CONNECTION_LIMIT, (unsigned)s->by_fd_size,
				MHD_OPTION_CONNECTION_TIMEOUT, 0u,
#if MHD_VERSION >= 0x00097701
				MHD_OPTION_CLIENT_DISCIPLINE_LVL, 1,
#endif
				MHD_OPTION_ARRAY, tls_is_open() ? tls : tls + 2,
				MHD_OPTION_END);
}

static bool workers_start(struct http_server *s)
{
	s->workers = calloc(s->o.threads, sizeof s->workers[0]);
	if (!s->workers)
		return false;
	for (; s->worker_count < s->o.threads; s->worker_count++)
		if (!(s->workers[s->worker_count] = worker_start(s)))
			return false;
	return true;
}

static bool start_parts(struct http_server *s)
{
	s->by_fd_size = s->o.max_connections + OTHER_DESCRIPTORS;
	s->by_fd = calloc(s->by_fd_size, sizeof s->by_fd[0]);
	s->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	s->finished_fd = epoll_create1(EPOLL_CLOEXEC);
	s->known = known_new();
	s->attempts = attempts_new();
	return s->by_fd && s->wake_fd >= 0 && s->finished_fd >= 0 && s->known && s->attempts && reads_start(s, &s->reads) == OC_OK && workers_start(s) && acceptor_start(s) == OC_OK;
}

static int read_trusted(const struct http_options *o, struct arena *a, struct networks *ret, struct slice *ret_message)
{
	struct slice bad = SLICE_NONE;
	int r = slice_is_none(o->trusted_proxies) ? OC_OK : networks_parse(o->trusted_proxies, a, ret, &bad);
	if (r != OC_INVALID)
		return r;
	char text[200];
	snprintf(text, sizeof text, "--trusted-proxy: \"%.*s\" is no network: expected such as 10.0.0.0/8, 192.0.2.7, 2001:db8::/32 or unix",
		 (int)(bad.n < 60 ? bad.n : 60), bad.p);
	if (!arena_copy(a, slice_cstr(text), ret_message))
		return OC_NOMEM;
	return OC_CONFIG;
}

static int read_certificate(const struct http_options *o, const struct listener *l, struct arena *a, struct slice *ret_message)
{
	if (slice_is_none(o->tls_certificate) && slice_is_none(o->tls_key))
		return OC_OK;
	const char *certificate = arena_dup(a, o->tls_certificate), *key = arena_dup(a, o->tls_key);
	if (slice_is_none(o->tls_certificate) || slice_is_none(o->tls_key))
		*ret_message = SLICE("--tls-cert and --tls-key go together: set both");
	else if (l->is_unix)
		*ret_message = SLICE("--tls-cert is for TCP: leave it out with a Unix socket");
	else if (MHD_is_feature_supported(MHD_FEATURE_HTTPS_CERT_CALLBACK) != MHD_YES)
		*ret_message = SLICE("--tls-cert: this libmicrohttpd was built without TLS; put a proxy in front");
	else
		return certificate && key ? tls_open(certificate, key, a, ret_message) : OC_NOMEM;
	return OC_CONFIG;
}

int http_reload(struct http_server *s, struct arena *a, bool *ret_changed, struct slice *ret_message)
{
	*ret_changed = false;
	if (!tls_is_open())
		return OC_OK;
	int r = tls_reload(clock_mono_ns(), a, ret_changed, ret_message);
	metric_set(s->metrics, METRIC_TLS_EXPIRY, 0, tls_expires_s());
	return r;
}

int http_start(const struct http_options *o, struct ingest *in, struct metrics *m, struct arena *message_arena, struct http_server **ret,
	struct slice *ret_message)
{
	struct access_options access;
	int r = access_options_read(o->service_token, o->tenant_secret, message_arena, &access, ret_message);
	if (r)
		return r;
	access.audience = o->tenant_audience;
	access.issuer = o->tenant_issuer;
	const char *wrong = what_is_wrong(o, &access);
	if (wrong) {
		*ret_message = slice_cstr(wrong);
		return OC_CONFIG;
	}
	struct http_server *s = calloc(1, sizeof *s);
	if (!s)
		return OC_NOMEM;
	s->o = *o;
	set_defaults(&s->o);
	s->access = access;
	s->ingest = in;
	s->metrics = m;
	s->wake_fd = s->finished_fd = s->listener.fd = -1;
	s->body_memory_limit = 4 * s->o.max_body_bytes > BODY_MEMORY_BYTES ? 4 * s->o.max_body_bytes : BODY_MEMORY_BYTES;
	pthread_mutex_init(&s->connections_lock, NULL);
	r = read_trusted(o, message_arena, &s->trusted, ret_message);
	if (r == OC_OK)
		r = o->inherited_fd ? listener_adopt(o->inherited_fd, &s->listener, ret_message)
				    : listener_open(o->listen, message_arena, &s->listener, ret_message);
	if (r == OC_OK)
		r = read_certificate(o, &s->listener, message_arena, ret_message);
	if (r == OC_OK) {
		declare_metrics(m);
		metric_set(m, METRIC_TLS_EXPIRY, 0, tls_expires_s());
		if (!start_parts(s)) {
			*ret_message = SLICE("out of memory, threads or descriptors");
			r = OC_NOMEM;
		}
	}
	if (r != OC_OK) {
		http_free(s);
		return r;
	}
	*ret = s;
	return OC_OK;
}

struct slice http_address(const struct http_server *s) { return slice_cstr(s->listener.address); }

/* The acceptor is gone by now: deadlines are kept here, so that one who drips does not hold up the end. With quiet_ms also those are waited for
 * that are between two requests, as long as somebody may be about to send. */
static bool wait_until_answered(struct http_server *s, int64_t timeout_ms, int64_t quiet_ms)
{
	int64_t now = clock_mono_ns(), until = now + timeout_ms * 1000000, next_reap = now + REAP_NS;
	while (atomic_load_explicit(&s->in_flight, memory_order_acquire) > 0 || (quiet_ms && !connections_are_quiet(s, now, quiet_ms * 1000000))) {
		now = clock_mono_ns();
		if (now >= until)
			return false;
		if (now >= next_reap) {
			next_reap = now + (connections_reap(s, now) ? REAP_SOON_NS : REAP_NS);
		}
		nanosleep(&(struct timespec){ .tv_nsec = POLL_MS * 1000000 }, NULL);
	}
	return true;
}

bool http_drain(struct http_server *s, int64_t timeout_ms)
{
	atomic_store(&s->draining, true);
	acceptor_stop(s);
	bool answered = wait_until_answered(s, timeout_ms, QUIET_MS) || atomic_load(&s->in_flight) == 0;
	if (connections_count(s)) {
		connections_say_goodbye(s);
		nanosleep(&(struct timespec){ .tv_nsec = GOODBYE_MS * 1000000 }, NULL);
	}
	atomic_store(&s->closed, true);
	while (atomic_load(&s->submitting) > 0)
		nanosleep(&(struct timespec){ .tv_nsec = POLL_MS * 1000000 }, NULL);
	return answered;
}

void http_free(struct http_server *s)
{
	if (!s)
		return;
	atomic_store(&s->draining, true);
	atomic_store(&s->closed, true);
	acceptor_stop(s);
	reads_stop(s->reads);
	if (s->worker_count)
		(void)wait_until_answered(s, LAST_ANSWERS_MS, 0);
	for (unsigned i = 0; i < s->worker_count; i++)
		MHD_stop_daemon(s->workers[i]);
	tls_close();
	reads_free(s->reads);
	listener_close(&s->listener);
	connections_free(s);
	if (s->wake_fd >= 0)
		close(s->wake_fd);
	if (s->finished_fd >= 0)
		close(s->finished_fd);
	known_free(s->known);
	attempts_free(s->attempts);
	pthread_mutex_destroy(&s->connections_lock);
	free(s->workers);
	free(s->by_fd);
	free(s);
}
