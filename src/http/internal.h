/* What the files of http/ share; nobody else includes this.
 *
 * Threads: an acceptor (acceptor.c) hands connections to the workers, one libmicrohttpd loop each; a request lives on its worker but
 * for the time between MHD_suspend_connection and MHD_resume_connection, when the writer (ingest/) or a reader (reads.c) owns it. */
#pragma once

#include <microhttpd.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>

#include "base/buf.h"
#include "base/jsonw.h"
#include "http/access.h"
#include "http/attempts.h"
#include "http/address.h"
#include "http/http.h"
#include "http/known.h"
#include "http/query.h"

#define RETRY_AFTER_S "7"                /* LiveKit retries at 0, 1, 3, 7, 15 s and heeds Retry-After */
#define MAX_TARGET_BYTES 8192            /* path and query */
#define CONNECTION_MEMORY_BYTES 16384    /* libmicrohttpd's, so also the largest head; it clears all of it after every request */
#define BODY_UNPROVED_BYTES 65536        /* of a body whose sender has shown nothing genuine */
#define BODY_MEMORY_BYTES (32u << 20)    /* of all bodies larger than KEPT_BODY_BYTES together, at least */
#define REPLY_MEMORY_BYTES (32u << 20)   /* of all replies larger than KEPT_BODY_BYTES together */
#define KEPT_BODY_BYTES 16384            /* a body buffer that stays with its connection; what is beyond it is counted */
#define ARENA_BYTES 8192
#define REAP_NS 1000000000                /* between looks at everybody's deadline */
#define REAP_SOON_NS 250000000            /* while there are clients that have finished sending */

/* Why a request was refused before its handler, or a connection ended: metric label, enum, status (0 = the connection is just closed),
 * what the reply says. docs/HTTP.md lists the same. */
#define REFUSALS(X) \
	X("bad_target", REFUSAL_TARGET, 400, "the request target is malformed") \
	X("target_too_long", REFUSAL_TARGET_TOO_LONG, 414, "the request target is longer than 8192 bytes") \
	X("bad_header", REFUSAL_HEADER, 400, "a header line is malformed: folded, ended by a bare line feed, or with a character that is not allowed") \
	X("no_host", REFUSAL_NO_HOST, 400, "the Host header is missing") \
	X("host_repeated", REFUSAL_HOST_REPEATED, 400, "the Host header is there twice") \
	X("host_not_allowed", REFUSAL_HOST_NOT_ALLOWED, 421, "without a token only this machine's own names are answered: localhost, a loopback address, or one of --allowed-hosts") \
	X("not_local", REFUSAL_NOT_LOCAL, 403, "a request that a proxy passed on needs a token, and none is configured") \
	X("length_repeated", REFUSAL_LENGTH_REPEATED, 400, "the Content-Length header is there twice") \
	X("length_and_encoding", REFUSAL_LENGTH_AND_ENCODING, 400, "Content-Length and Transfer-Encoding exclude each other") \
	X("transfer_encoding", REFUSAL_TRANSFER_ENCODING, 501, "the only transfer coding taken is chunked, in HTTP/1.1") \
	X("header_repeated", REFUSAL_HEADER_REPEATED, 400, "a header that may come once is there twice") \
	X("expectation", REFUSAL_EXPECTATION, 417, "the only expectation met is 100-continue") \
	X("content_encoding", REFUSAL_CONTENT_ENCODING, 415, "the body must not be compressed") \
	X("body_too_large", REFUSAL_BODY_TOO_LARGE, 413, "the body is over the limit") \
	X("body_memory", REFUSAL_BODY_MEMORY, 503, "too many large bodies at once") \
	X("reply_memory", REFUSAL_REPLY_MEMORY, 503, "too many large replies at once") \
	X("shutting_down", REFUSAL_SHUTTING_DOWN, 503, "shutting down") \
	X("requests_of_address", REFUSAL_REQUESTS_OF_ADDRESS, 503, "too many requests of one address at once") \
	X("connections", REFUSAL_CONNECTIONS, 0, "the limit of connections is reached") \
	X("connections_of_address", REFUSAL_CONNECTIONS_OF_ADDRESS, 0, "the limit of connections of one address is reached") \
	X("connections_unauthenticated", REFUSAL_CONNECTIONS_UNAUTHENTICATED, 0, "the limit of connections that have shown nothing genuine is reached") \
	X("deadline", REFUSAL_DEADLINE, 0, "the request was not complete in time") \
	X("stalled", REFUSAL_STALLED, 0, "nothing more came of the request for too long") \
	X("broken_off", REFUSAL_BROKEN_OFF, 0, "the client went away, or the request was not HTTP")
enum refusal {
	REFUSAL_NONE = -1,
#define X(name, e, status, text) e,
	REFUSALS(X)
#undef X
};

enum method { METHOD_OTHER, METHOD_GET, METHOD_HEAD, METHOD_POST, METHOD_OPTIONS };

struct connection;
typedef enum MHD_Result (*endpoint_fn)(struct connection *c);

struct endpoint {
	const char *path;  /* "*" stands for one segment */
	const char *allow; /* the Allow header */
	bool get, post;
	bool waits;        /* for the writer or a reader */
	endpoint_fn run;
	size_t max_body;   /* bytes; 0 = what is configured */
	bool for_all;      /* shows nothing that needs a token, or asks for a signature itself */
};

enum reply_flag {
	REPLY_NO_STORE = 1,  /* a tenant's data */
	REPLY_RETRY = 2,     /* Retry-After */
	REPLY_BEARER = 4,    /* WWW-Authenticate */
	REPLY_CLOSE = 8,
};

/* An answer that waits until its connection is resumed, or is sent at once. */
struct reply {
	unsigned status, flags;
	const char *content_type; /* a literal; NULL = application/json */
	struct buf body;
	const char *allow;
	char etag[64]; /* with its quotes; empty = none */
};

/* The headers that matter; slices into libmicrohttpd's memory, valid until the request is answered. */
struct head {
	struct slice host, authorization, hmac_signature, content_type, content_encoding, content_length, expect, transfer_encoding,
		if_none_match, idempotency_key, origin, x_forwarded_for, forwarded;
};

enum read_kind { READ_OUTCOME, READ_LIST, READ_CALL, READ_EVENTS, READ_MARK };

struct read_job {
	enum read_kind kind;
	struct read_job *next;
	struct connection *connection;
	int64_t queued_ns;
	struct outcome_query outcome; /* also of READ_CALL and READ_MARK */
	struct list_filter list;
	struct events_query events;
};

/* A connection is in one state; connection_change_state is the only way from one to another.
 *   IDLE -> HEAD -> BODY -> WAITING -> READY -> ANSWERING -> IDLE, with short cuts to ANSWERING and, when it breaks off, to IDLE. */
enum connection_state {
	CONNECTION_IDLE,      /* no request line yet */
	CONNECTION_HEAD,      /* the request line is there */
	CONNECTION_BODY,      /* the head is accepted */
	CONNECTION_WAITING,   /* suspended: the writer or a reader has it */
	CONNECTION_READY,     /* resumed, the reply waits to be sent */
	CONNECTION_ANSWERING, /* the reply is on its way */
};

/* The request of a connection, one at a time; as good as zero between requests. */
struct request {
	int64_t began_ns, last_byte_ns;
	enum refusal refusal;       /* found before or while the body came */
	enum method method;
	const struct endpoint *endpoint;
	const char *target_start, *target_end; /* where it lies in libmicrohttpd's memory */
	struct slice authority;            /* of a target that names one, else none */
	struct slice path, query, segment; /* of a copy of the target; segment is what "*" matched, none where there is no "*" */
	struct head head;
	size_t body_seen;           /* bytes of the body, also of one that is dropped */
	bool drop_body, unauthorized;
	bool proves_itself_whole;   /* by an HMAC of all of the body: nothing can be said before it has come */
	size_t memory_counted;      /* of this body in http_server.body_memory */
	size_t reply_counted;       /* of its reply in http_server.reply_memory */
	struct signature_result signature;
	struct decoded decoded;
	struct ingest_item item;
	struct read_job read;
	struct reply reply;
};

struct connection {
	struct http_server *server;
	struct MHD_Connection *mhd;
	struct connection *next, *previous; /* in http_server.connections */
	int fd;
	uint32_t generation;                /* tells it from others that had its descriptor */
	struct address peer;                /* who is at the other end */
	struct address client;              /* for whom a trusted proxy speaks in this request, else the peer; the worker's */
	bool from_proxy;                    /* the peer is a trusted proxy */
	_Atomic int state;                  /* enum connection_state */
	_Atomic int64_t since_ns;           /* of the state; HEAD and BODY: of the request, then of its last byte */
	_Atomic unsigned pieces;            /* of bodies that have come */
	_Atomic bool complete;              /* the last byte of the request has come */
	_Atomic bool served;                /* has had an answer */
	_Atomic bool started;               /* a worker has it */
	_Atomic bool ended;                 /* shut down by us */
	_Atomic bool proved;                /* has shown a genuine signature or token; behind a trusted proxy: in this request */
	/* limits.c, under connections_lock */
	struct address group;               /* whose share it counts in */
	bool counted, stranger;             /* in a share; in that of all who have shown nothing genuine */
	/* of the reaper, under connections_lock */
	bool finished;                      /* the client has finished sending */
	int64_t line_since_ns;              /* half a request line is there since then; 0 = none */
	int64_t left_since_ns, left_state_since_ns; /* finished, and nothing has come of it since then; 0 = not seen yet */
	unsigned left_pieces;
	struct arena *arena;
	struct buf body;
	struct request request;
};

/* At most one line a second of one kind; the rest is counted. throttle.c */
struct throttle {
	_Atomic int64_t last_s, suppressed;
};
/* False: do not log now. *ret_suppressed: lines left out since the last one. */
bool throttle_pass(struct throttle *t, int64_t *ret_suppressed);

struct listener {
	int fd;
	bool local, is_unix;
	char path[108];    /* of a Unix socket of our own, for removing it; else empty */
	char address[160]; /* with the real port */
};

struct reads;

struct http_server {
	struct http_options o;
	struct access_options access;
	struct ingest *ingest;
	struct metrics *metrics;
	struct listener listener;
	struct MHD_Daemon **workers;
	unsigned worker_count;
	struct reads *reads;
	size_t body_memory_limit;
	_Atomic size_t body_memory, reply_memory;
	_Atomic int64_t in_flight;      /* requests begun and not answered */
	_Atomic int submitting;         /* threads that are about to call ingest_submit */
	_Atomic bool draining, closed;  /* closed: nothing is submitted any more */
	/* acceptor.c */
	pthread_t acceptor;
	bool acceptor_runs;
	int wake_fd, finished_fd;       /* finished_fd: an epoll set of connections whose clients may finish sending */
	_Atomic bool stop_accepting, full;
	unsigned next_worker;
	pthread_mutex_t connections_lock; /* holds the list, by_fd, and a connection's fd open while it is looked at */
	struct connection *connections;
	struct connection **by_fd;
	size_t by_fd_size, connection_count;
	uint32_t generations;
	struct networks trusted;        /* proxies */
	struct known *known;
	struct attempts *attempts;
	/* what is logged at most once a second */
	struct throttle log_signature[SIGNATURE_CHECK_COUNT], log_too_large, log_limit, log_store, log_full, log_access;
};

/* listen.c */
OC_NODISCARD int listener_open(struct slice text, struct arena *message_arena, struct listener *ret, struct slice *ret_message);
void listener_close(struct listener *l);

/* adopt.c */
OC_NODISCARD int listener_adopt(int fd, struct listener *ret, struct slice *ret_message);

/* acceptor.c */
OC_NODISCARD int acceptor_start(struct http_server *s);
void acceptor_stop(struct http_server *s); /* stops listening; harmless when it does not run */

/* connection.c */
struct connection *connection_new(struct http_server *s, int fd, const struct sockaddr_storage *address);
void connection_discard(struct connection *c); /* one that no worker took */
void connection_notify(void *server, struct MHD_Connection *mhd, void **socket_context, enum MHD_ConnectionNotificationCode code);
void connection_change_state(struct connection *c, enum connection_state to);
/* Suspends; after this the writer or a reader may own the connection. */
void connection_suspend(struct connection *c);
/* From the thread that has it: the request's reply is set. */
void connection_resume(struct connection *c);
/* Under connections_lock: the worker sees the end of the stream and closes. One that no worker has begun with is left alone: its descriptor may
 * be another's. */
void connection_end(struct connection *c);
/* Ends connections whose time is over, and those that nothing can come of since the client has gone. True: look again soon. From the
 * acceptor, once a second. */
OC_NODISCARD bool connections_reap(struct http_server *s, int64_t now_ns);
/* From the acceptor: tells of a client that finishes sending; takes what was told, false where nothing was. */
void connection_watch(struct connection *c);
OC_NODISCARD bool connections_finished(struct http_server *s);
size_t connections_count(struct http_server *s);
/* Has every connection been idle for so long, or is there none? */
bool connections_are_quiet(struct http_server *s, int64_t now_ns, int64_t quiet_ns);
/* Tells every client that no answer will come any more; what they send until they see it is still read. */
void connections_say_goodbye(struct http_server *s);
void connections_free(struct http_server *s); /* what no worker ever told of */

/* limits.c */
/* May this new connection stay? REFUSAL_NONE, perhaps after another one was ended for it. */
enum refusal limits_admit(struct http_server *s, struct connection *c, int64_t now_ns);
/* The same of a request that a trusted proxy has passed on, once c->client is known. From its worker. */
enum refusal limits_admit_request(struct connection *c);
void limits_request_over(struct connection *c);
/* The connection has shown a genuine signature or token. From its worker. */
void limits_proved(struct connection *c);
/* Ends the connection that is worth least, if there is one that may be ended. */
void limits_make_room(struct http_server *s, int64_t now_ns);

/* request.c: libmicrohttpd's callbacks */
void *request_begin(void *server, const char *target, struct MHD_Connection *mhd);
enum MHD_Result request_handle(void *server, struct MHD_Connection *mhd, const char *url, const char *method, const char *version,
	const char *upload, size_t *upload_bytes, void **connection);
void request_completed(void *server, struct MHD_Connection *mhd, void **connection, enum MHD_RequestTerminationCode how);

/* head.c */
/* Looks at the whole head before anything else does. REFUSAL_NONE when it is in order. `r` knows where the target lies. */
enum refusal head_read(struct MHD_Connection *mhd, const char *method, const char *version, struct arena *a, struct request *r);

/* host.c */
/* Is it a name of this machine's own, which no page on the web can have: localhost, a loopback address, or one of `allowed` (separated by
 * commas)? With or without a port. */
bool host_is_own(struct slice host, struct slice allowed);

/* endpoints.c */
/* Splits the target and finds its endpoint; NULL where there is none. */
const struct endpoint *endpoint_find(struct slice path, struct slice *ret_segment);
enum method method_from_name(const char *name);
bool endpoint_allows(const struct endpoint *r, enum method m);
const struct endpoint *endpoints_all(size_t *ret_count);

/* reply.c */
enum MHD_Result reply_send(struct connection *c, struct reply *r); /* takes the body */
enum MHD_Result reply_literal(struct connection *c, unsigned status, const char *content_type, struct slice body);
/* An RFC 9457 problem. `error` NULL = detail. */
void reply_problem_set(struct reply *r, unsigned status, const char *error, const char *detail, unsigned flags);
enum MHD_Result reply_problem(struct connection *c, unsigned status, const char *error, const char *detail, unsigned flags);
enum MHD_Result reply_refusal(struct connection *c, enum refusal refusal);
const char *const *reply_status_labels(size_t *ret_count);
const char *const *refusal_labels(size_t *ret_count);
void refusal_count(struct http_server *s, enum refusal refusal);

/* receiver.c */
enum MHD_Result receiver_run(struct connection *c);
/* At the head: a webhook whose token is not genuine is not worth its body's memory. What is left to check is the body. */
void receiver_look_at_token(struct connection *c);
void receiver_log_too_large(struct connection *c, uint64_t bytes);

/* submit.c */
/* Puts c->request.item into the ingest queue: its decoded, body, body_hash, source and received_ms are set. */
enum MHD_Result event_submit(struct connection *c);
/* The same with the connection suspended already, from whoever has it. */
void event_submit_suspended(struct connection *c);
void event_set_unavailable(struct reply *reply);
enum MHD_Result event_unavailable(struct connection *c); /* at once */

/* marks.c */
enum MHD_Result marks_run(struct connection *c);
/* The look-up of a mark's callId is done: passes it on or answers, and has given the connection away when it returns. */
void mark_call_found(struct connection *c, const struct outcome_query *q);

/* reads.c */
OC_NODISCARD int reads_start(struct http_server *s, struct reads **ret);
void reads_stop(struct reads *r); /* answers what waits and ends the threads; what comes later gets a 503. Takes NULL. */
void reads_free(struct reads *r); /* after the workers; takes NULL */
bool reads_are_up(struct reads *r);
/* Suspends the connection and lets a reader answer c->request.read. */
enum MHD_Result reads_submit(struct connection *c, enum read_kind kind);

/* asking.c: true, or false with the answer given already */
bool query_read(struct connection *c, const struct query_parameter *known, size_t count, struct slice *values, enum MHD_Result *ret_answered);
bool tenant_read(struct connection *c, struct slice user_id, unsigned other_tenant_status, struct slice *ret_tenant,
	enum MHD_Result *ret_answered);

/* Counts and logs a request that was not let in. */
void access_refused(struct connection *c, enum access_cause cause);
/* 401, or 429 for an address that has tried too often. */
enum MHD_Result access_reply_bad_token(struct connection *c);

/* Who posts a mark: *ret_tenant is none for one who may speak about every call. */
bool poster_read(struct connection *c, struct slice user_id, struct slice *ret_tenant, enum MHD_Result *ret_answered);

/* outcome.c, list.c, call.c, events.c: asking and rendering */
/* Reads query string (its first parameter is user_id), tenant and call id; false with the answer given already. */
bool call_asked_for(struct connection *c, const struct query_parameter *known, size_t count, struct slice *values, struct slice *ret_tenant,
	struct slice *ret_call_id, enum MHD_Result *ret_answered);
enum MHD_Result bad_parameter(struct connection *c, const char *name);
bool limit_read(struct slice value, size_t *ret);
enum MHD_Result outcome_run(struct connection *c);
void outcome_reply(const struct outcome_query *q, struct reply *ret);
void outcome_not_found(struct reply *ret); /* the same bytes for a call that is another tenant's and for one that is not there */
void call_write(const struct call_view *v, struct jsonw *w);
void call_write_members(const struct call_view *v, struct jsonw *w); /* into the current object */
enum MHD_Result list_run(struct connection *c);
void list_reply(const struct list_filter *f, const struct call_view *calls, size_t count, bool more, struct arena *a, struct reply *ret);

enum MHD_Result call_run(struct connection *c);
/* `result` of store_read_call. OC_NOMEM: the reply is not made. */
OC_NODISCARD int call_reply(int result, const struct call_detail *d, struct slice tenant, struct slice if_none_match, struct arena *a, struct reply *ret);
enum MHD_Result events_run(struct connection *c);
OC_NODISCARD int events_reply(int result, const struct events_query *q, const struct event_view *rows, size_t count, bool more, struct arena *a,
	struct reply *ret);

/* etag.c */
/* "REVISION-HASH" in quotes: another revision or another byte of the body, another tag. */
OC_NODISCARD int etag_make(int64_t revision, struct slice body, char *ret, size_t size);
/* Does the If-None-Match field (RFC 9110, 13.1.2) name this tag? */
bool etag_matches(struct slice if_none_match, const char *etag);

/* pages.c */
enum MHD_Result root_run(struct connection *c);
enum MHD_Result health_run(struct connection *c);
enum MHD_Result livez_run(struct connection *c);
enum MHD_Result readyz_run(struct connection *c);
enum MHD_Result metrics_run(struct connection *c);
enum MHD_Result openapi_run(struct connection *c);
