/* A small HTTP client over libcurl for `send` and `check`: one kept connection, bounded replies, no proxy, no redirects.
 * One thread at a time owns a struct client; curl_global_init is done by client_setup, once, before any thread. */
#pragma once

#include "base/arena.h"
#include "base/error.h"

#define CLIENT_MAX_REPLY_BYTES ((size_t)4 * 1024 * 1024)

struct client;

struct client_reply {
	long status;
	struct slice body;
	int64_t retry_after_s; /* -1 = the reply does not say */
};

OC_NODISCARD int client_setup(void);
/* unix_path: talk to this socket whatever the URL's host is; NULL = TCP. */
OC_NODISCARD int client_open(const char *unix_path, struct client **ret);
/* Over TLS, whoever answers must show this very certificate (a PEM file), under whatever name. */
OC_NODISCARD int client_trust(struct client *c, const char *certificate_path);
void client_close(struct client *c); /* takes NULL */

/* headers: "Name: value" texts ended by NULL; "Name:" leaves out one that libcurl would add. body none: no body. OC_NET when there was no
 * HTTP reply; client_error then says why. */
OC_NODISCARD int client_request(struct client *c, const char *method, const char *url, const char *const *headers, struct slice body,
	struct arena *a, struct client_reply *ret);
const char *client_error(const struct client *c);
/* Posts a webhook body with the headers that LiveKit sends. */
OC_NODISCARD int client_post_webhook(struct client *c, const char *url, struct slice token, struct slice body, struct arena *a,
	struct client_reply *ret);
