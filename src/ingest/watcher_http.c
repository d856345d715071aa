/* See watcher_http.h. Invariant: a reply counts as whole only when libcurl saw its end as HTTP defines it (the last chunk, Content-Length, a TLS
 * close), within the deadline and LIVEKIT_MAX_REPLY. A multi handle drives the one transfer, since it can be woken from outside. */
#include "ingest/watcher_http.h"

#include <curl/curl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/clock.h"

#define POLL_MS 1000
#define USER_AGENT ("User-Agent: outcomed/" OUTCOMED_VERSION)

struct livekit_client {
	CURLM *multi;
	CURL *easy;
	char *base;
	char error[CURL_ERROR_SIZE];
	struct buf body;
	bool too_large;
	atomic_bool interrupted;
};

int livekit_client_setup(void) { return curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK ? 0 : OC_NOMEM; }

static size_t take_body(char *bytes, size_t one, size_t n, void *context)
{
	struct livekit_client *c = context;
	c->too_large = c->body.n + n > LIVEKIT_MAX_REPLY;
	if (c->too_large)
		return 0;
	buf_put(&c->body, slice_of(bytes, n * one));
	return buf_failed(&c->body) ? 0 : n;
}

static bool set_options(struct livekit_client *c, int connect_ms, int total_ms)
{
	CURL *h = c->easy;
	return !curl_easy_setopt(h, CURLOPT_NOSIGNAL, 1L) && !curl_easy_setopt(h, CURLOPT_ERRORBUFFER, c->error) &&
		!curl_easy_setopt(h, CURLOPT_PROTOCOLS_STR, "http,https") && !curl_easy_setopt(h, CURLOPT_FOLLOWLOCATION, 0L) &&
		!curl_easy_setopt(h, CURLOPT_CONNECTTIMEOUT_MS, (long)connect_ms) && !curl_easy_setopt(h, CURLOPT_TIMEOUT_MS, (long)total_ms) &&
		!curl_easy_setopt(h, CURLOPT_WRITEFUNCTION, take_body) && !curl_easy_setopt(h, CURLOPT_WRITEDATA, c) &&
		!curl_easy_setopt(h, CURLOPT_POST, 1L);
}

int livekit_client_open(struct slice base, int connect_ms, int total_ms, struct livekit_client **ret)
{
	struct livekit_client *c = calloc(1, sizeof *c);
	if (!c)
		return OC_NOMEM;
	c->base = strndup(base.p, base.n);
	c->multi = curl_multi_init();
	c->easy = curl_easy_init();
	if (!c->base || !c->multi || !c->easy || !set_options(c, connect_ms, total_ms)) {
		livekit_client_close(c);
		return OC_NOMEM;
	}
	*ret = c;
	return 0;
}

void livekit_client_close(struct livekit_client *c)
{
	if (!c)
		return;
	curl_easy_cleanup(c->easy);
	curl_multi_cleanup(c->multi);
	buf_done(&c->body);
	free(c->base);
	free(c);
}

void livekit_client_interrupt(struct livekit_client *c)
{
	atomic_store(&c->interrupted, true);
	curl_multi_wakeup(c->multi);
}

/* ---- the exchange ---- */

static struct curl_slist *headers_of(struct slice token)
{
	static const char *const fixed[] = { "Content-Type: application/json", "Accept: application/json", "Expect:", USER_AGENT };
	_cleanup_buf_ struct buf authorization = BUF_INIT;
	buf_puts(&authorization, "Authorization: Bearer ");
	buf_put(&authorization, token);
	buf_putc(&authorization, '\0');
	struct curl_slist *list = buf_failed(&authorization) ? NULL : curl_slist_append(NULL, authorization.p);
	for (size_t i = 0; list && i < sizeof fixed / sizeof *fixed; i++) {
		struct curl_slist *longer = curl_slist_append(list, fixed[i]);
		if (!longer)
			curl_slist_free_all(list);
		list = longer;
	}
	return list;
}

/* Drives the transfer to its end. */
static CURLcode transfer(struct livekit_client *c)
{
	CURLcode result = CURLE_ABORTED_BY_CALLBACK;
	int running = 1;
	if (curl_multi_add_handle(c->multi, c->easy) != CURLM_OK)
		return CURLE_OUT_OF_MEMORY;
	while (running && !atomic_load(&c->interrupted)) {
		if (curl_multi_perform(c->multi, &running) != CURLM_OK)
			break;
		if (running && curl_multi_poll(c->multi, NULL, 0, POLL_MS, NULL) != CURLM_OK)
			break;
	}
	int left;
	const CURLMsg *message = curl_multi_info_read(c->multi, &left);
	if (message && message->msg == CURLMSG_DONE)
		result = message->data.result;
	curl_multi_remove_handle(c->multi, c->easy);
	return result;
}

static enum livekit_answer answer_of_error(CURLcode code)
{
	switch ((int)code) {
	case CURLE_COULDNT_RESOLVE_HOST:
	case CURLE_COULDNT_RESOLVE_PROXY:
	case CURLE_COULDNT_CONNECT:
		return LIVEKIT_UNREACHABLE;
	case CURLE_OPERATION_TIMEDOUT:
		return LIVEKIT_TIMEOUT;
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_CONNECT_ERROR:
	case CURLE_SSL_CERTPROBLEM:
	case CURLE_SSL_CACERT_BADFILE:
	case CURLE_SSL_ISSUER_ERROR:
		return LIVEKIT_UNTRUSTED;
	case CURLE_WEIRD_SERVER_REPLY:
	case CURLE_UNSUPPORTED_PROTOCOL:
		return LIVEKIT_GARBAGE;
	default:
		return LIVEKIT_BROKEN;
	}
}

static struct slice header(CURL *h, const char *name)
{
	struct curl_header *found = NULL;
	return curl_easy_header(h, name, 0, CURLH_HEADER, -1, &found) == CURLHE_OK ? slice_cstr(found->value) : SLICE_NONE;
}

static int take_reply(struct livekit_client *c, struct arena *a, struct livekit_exchange *x)
{
	curl_off_t retry_after_s = 0;
	struct slice date = header(c->easy, "Date");
	if (curl_easy_getinfo(c->easy, CURLINFO_RESPONSE_CODE, &x->reply.status) || curl_easy_getinfo(c->easy, CURLINFO_RETRY_AFTER, &retry_after_s) ||
	    !arena_copy(a, header(c->easy, "Content-Type"), &x->reply.content_type) || !arena_copy(a, buf_slice(&c->body), &x->reply.body))
		return OC_NOMEM;
	time_t date_s = slice_is_none(date) ? -1 : curl_getdate(date.p, NULL);
	x->date_s = date_s > 0 ? (int64_t)date_s : 0;
	x->retry_after_s = retry_after_s > 0 ? (int64_t)retry_after_s : 0;
	x->answer = livekit_answer_of(&x->reply, a);
	if (x->answer != LIVEKIT_OK)
		x->detail = livekit_error_text(&x->reply, a);
	return 0;
}

static int take_failure(const struct livekit_client *c, CURLcode code, struct arena *a, struct livekit_exchange *x)
{
	x->answer = c->too_large ? LIVEKIT_TOO_LARGE : answer_of_error(code);
	return arena_copy(a, slice_cstr(c->error[0] ? c->error : curl_easy_strerror(code)), &x->detail) ? 0 : OC_NOMEM;
}

int livekit_client_ask(struct livekit_client *c, const struct livekit_request *q, struct arena *a, struct livekit_exchange *ret)
{
	struct livekit_exchange x = { .reply = { .content_type = SLICE_NONE } };
	char url[2 * LIVEKIT_MAX_URL];
	int n = snprintf(url, sizeof url, "%s%.*s", c->base, SLICE_FMT(q->path));
	struct curl_slist *list = headers_of(q->token);
	int r = list && n > 0 && (size_t)n < sizeof url ? 0 : OC_NOMEM;
	buf_clear(&c->body);
	c->error[0] = '\0';
	c->too_large = false;
	if (r == 0 && (curl_easy_setopt(c->easy, CURLOPT_URL, url) || curl_easy_setopt(c->easy, CURLOPT_HTTPHEADER, list) ||
		       curl_easy_setopt(c->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)q->body.n) ||
		       curl_easy_setopt(c->easy, CURLOPT_POSTFIELDS, q->body.p)))
		r = OC_NOMEM;
	if (r == 0) {
		x.asked_ms = clock_wall_ms();
		CURLcode code = transfer(c);
		x.got_ms = clock_wall_ms();
		if (code == CURLE_OUT_OF_MEMORY || buf_failed(&c->body))
			r = OC_NOMEM;
		else
			r = code == CURLE_OK ? take_reply(c, a, &x) : take_failure(c, code, a, &x);
	}
	curl_easy_setopt(c->easy, CURLOPT_HTTPHEADER, NULL);
	curl_easy_setopt(c->easy, CURLOPT_POSTFIELDS, NULL);
	curl_slist_free_all(list);
	if (c->body.size > 65536)
		buf_done(&c->body);
	if (r == 0)
		*ret = x;
	return r;
}
