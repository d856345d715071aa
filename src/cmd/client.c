/* HTTP requests by libcurl, one at a time on a kept connection. One thread owns a client. */
#include "cmd/client.h"

#include <stdlib.h>

#include <curl/curl.h>

#include "base/buf.h"

struct client {
	CURL *curl;
	char error[CURL_ERROR_SIZE];
};

int client_setup(void) { return curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK ? 0 : OC_NOMEM; }

static size_t take_reply(char *bytes, size_t one, size_t n, void *context)
{
	struct buf *b = context;
	if (b->n + n > CLIENT_MAX_REPLY_BYTES)
		return 0;
	buf_put(b, slice_of(bytes, n * one));
	return buf_failed(b) ? 0 : n;
}

int client_open(const char *unix_path, struct client **ret)
{
	struct client *c = calloc(1, sizeof *c);
	if (!c)
		return OC_NOMEM;
	c->curl = curl_easy_init();
	CURL *h = c->curl;
	if (!h || curl_easy_setopt(h, CURLOPT_NOSIGNAL, 1L) || curl_easy_setopt(h, CURLOPT_ERRORBUFFER, c->error) ||
	    curl_easy_setopt(h, CURLOPT_PROTOCOLS_STR, "http,https") || curl_easy_setopt(h, CURLOPT_NOPROXY, "*") ||
	    curl_easy_setopt(h, CURLOPT_CONNECTTIMEOUT_MS, 10000L) || curl_easy_setopt(h, CURLOPT_TIMEOUT_MS, 40000L) ||
	    curl_easy_setopt(h, CURLOPT_ACCEPT_ENCODING, "gzip") || curl_easy_setopt(h, CURLOPT_WRITEFUNCTION, take_reply) ||
	    curl_easy_setopt(h, CURLOPT_UNIX_SOCKET_PATH, unix_path)) {
		client_close(c);
		return OC_NOMEM;
	}
	*ret = c;
	return 0;
}

int client_trust(struct client *c, const char *certificate_path)
{
	return curl_easy_setopt(c->curl, CURLOPT_CAINFO, certificate_path) || curl_easy_setopt(c->curl, CURLOPT_CAPATH, NULL) ||
		       curl_easy_setopt(c->curl, CURLOPT_SSL_VERIFYHOST, 0L)
		? OC_NOMEM
		: OC_OK;
}

void client_close(struct client *c)
{
	if (!c)
		return;
	curl_easy_cleanup(c->curl);
	free(c);
}

const char *client_error(const struct client *c) { return c->error[0] ? c->error : "no reply"; }

static bool set_body(CURL *h, const char *method, struct slice body)
{
	if (slice_is_none(body))
		return !curl_easy_setopt(h, CURLOPT_HTTPGET, 1L) && !curl_easy_setopt(h, CURLOPT_CUSTOMREQUEST, method);
	return !curl_easy_setopt(h, CURLOPT_POST, 1L) && !curl_easy_setopt(h, CURLOPT_CUSTOMREQUEST, method) &&
		!curl_easy_setopt(h, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body.n) && !curl_easy_setopt(h, CURLOPT_POSTFIELDS, body.p);
}

static int list_of(const char *const *headers, struct curl_slist **ret)
{
	struct curl_slist *list = NULL;
	for (; *headers; headers++) {
		struct curl_slist *longer = curl_slist_append(list, *headers);
		if (!longer) {
			curl_slist_free_all(list);
			return OC_NOMEM;
		}
		list = longer;
	}
	*ret = list;
	return 0;
}

int client_request(struct client *c, const char *method, const char *url, const char *const *headers, struct slice body,
		   struct arena *a, struct client_reply *ret)
{
	_cleanup_buf_ struct buf b = BUF_INIT;
	struct client_reply reply = { .retry_after_s = -1 };
	struct curl_slist *list = NULL;
	struct curl_header *retry_after = NULL;
	int r = list_of(headers, &list);
	if (r)
		return r;
	c->error[0] = '\0';
	if (curl_easy_setopt(c->curl, CURLOPT_URL, url) || curl_easy_setopt(c->curl, CURLOPT_HTTPHEADER, list) ||
	    curl_easy_setopt(c->curl, CURLOPT_WRITEDATA, &b) || !set_body(c->curl, method, body))
		r = OC_NOMEM;
	else if (curl_easy_perform(c->curl) != CURLE_OK)
		r = OC_NET;
	else if (curl_easy_getinfo(c->curl, CURLINFO_RESPONSE_CODE, &reply.status) != CURLE_OK || !arena_copy(a, buf_slice(&b), &reply.body))
		r = OC_NOMEM;
	else if (curl_easy_header(c->curl, "Retry-After", 0, CURLH_HEADER, -1, &retry_after) == CURLHE_OK &&
		 (!slice_to_int64(slice_cstr(retry_after->value), &reply.retry_after_s) || reply.retry_after_s < 0))
		reply.retry_after_s = -1;
	curl_easy_setopt(c->curl, CURLOPT_HTTPHEADER, NULL);
	curl_slist_free_all(list);
	if (r == 0)
		*ret = reply;
	return r;
}

int client_post_webhook(struct client *c, const char *url, struct slice token, struct slice body, struct arena *a,
			struct client_reply *ret)
{
	_cleanup_buf_ struct buf authorization = BUF_INIT;
	buf_puts(&authorization, "Authorization: ");
	buf_put(&authorization, token);
	buf_putc(&authorization, '\0');
	if (buf_failed(&authorization))
		return OC_NOMEM;
	const char *const headers[] = {
		"User-Agent: LiveKit", authorization.p, "Content-Type: application/webhook+json", "Accept:", "Expect:", NULL,
	};
	return client_request(c, "POST", url, headers, body, a, ret);
}
