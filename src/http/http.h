/* The HTTP side: libmicrohttpd with an epoll pool; requests suspended while the writer or a reader works.
 * cmd/serve.c is the only caller. */
#pragma once

#include "base/metrics.h"
#include "ingest/ingest.h"
#include "store/store.h"
#include "wire/decode.h"
#include "wire/signature.h"

struct http_options {
	struct slice listen;            /* ADDR:PORT (port 0: any free one), [V6]:PORT or unix:PATH */
	int inherited_fd;               /* a listening socket that is taken instead; 0 = none */
	size_t max_body_bytes, max_connections, max_connections_per_address;
	size_t max_connections_unauthenticated; /* 0 = half of max_connections */
	int64_t request_timeout_ms, stall_timeout_ms, idle_timeout_ms;
	struct slice trusted_proxies;   /* networks and "unix", separated by commas; none = nobody */
	struct slice allowed_hosts;     /* names, separated by commas */
	struct slice tls_certificate, tls_key; /* PEM files; none = no TLS */
	unsigned threads, reader_threads; /* 0 = 2 and 2 */
	struct keyring keyring;
	struct decode_options decode;
	struct slice service_token, tenant_secret; /* one a line (access.h); none = not configured */
	struct slice tenant_audience, tenant_issuer; /* that tenants' tokens must have; none = any */
	struct store_options store;     /* for the readers */
};

struct http_server;

/* Listens and serves at once. OC_CONFIG: the address is public and no token is set, or malformed; OC_NET: port in use and the like;
 * *ret_message says what to do. Everything in `o` outlives the server. */
OC_NODISCARD int http_start(const struct http_options *o, struct ingest *in, struct metrics *m, struct arena *message_arena,
	struct http_server **ret, struct slice *ret_message);
/* The address it listens on, with the real port. */
struct slice http_address(const struct http_server *s);
/* Reads certificate and key anew, for the handshakes to come. OC_CONFIG with a message: they cannot be used, and the old ones stay. */
OC_NODISCARD int http_reload(struct http_server *s, struct arena *a, bool *ret_changed, struct slice *ret_message);
/* Stops listening, waits at most timeout_ms until the requests that were begun are answered and no client is between two: what comes on open
 * connections meanwhile is answered, with Connection: close. Then ingest_stop, then http_free. */
bool http_drain(struct http_server *s, int64_t timeout_ms);
void http_free(struct http_server *s);

/* Is the address of a listen text loopback or a Unix socket? */
bool http_listen_is_local(struct slice listen);
/* The same of a socket that listens. */
bool http_socket_is_local(int fd);
