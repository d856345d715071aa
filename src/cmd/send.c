/* outcomed send: posts recorded events as LiveKit would, each signed afresh. Workers (--concurrency) take the next item
 * from one shared counter; each has its own connection and arena. With one worker the order is the file's. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "cmd/client.h"
#include "cmd/cmd.h"
#include "cmd/recording.h"
#include "wire/jdoc.h"

#define DEFAULT_URL "http://127.0.0.1:5000/api/webhooks/call_completed"
#define ATTEMPTS 5 /* LiveKit's: at 0, 1, 3, 7 and 15 s */
#define COMPLAINTS_MOST 10
#define REDRAW_NS 100000000

#define RESULTS(X) X(PROCESSED, "processed") X(DUPLICATE, "duplicate") X(IGNORED, "ignored") X(QUARANTINED, "quarantined") \
	X(REFUSED, "refused") X(FAILED, "failed")
enum send_result {
#define X(e, name) SENT_##e,
	RESULTS(X)
#undef X
	SENT_COUNT
};
static const char *const result_names[] = {
#define X(e, name) name,
	RESULTS(X)
#undef X
};

struct send_item {
	struct slice body;
	const char *file;
	size_t line;
};

struct sending {
	const char *url;
	struct signing_key key;
	bool retry, draws;
	struct send_item *items;
	uint32_t *order; /* of items; total = count * repeat */
	size_t count, total;
	atomic_size_t next, finished, complaints;
	atomic_size_t results[SENT_COUNT];
	_Atomic int64_t drawn_ns;
};

/* ---- one event ---- */

/* What a receiver's 200 says: outcomed's own words, or plain success of another receiver. */
static enum send_result result_of_success(struct slice body, struct arena *a)
{
	struct jdoc j;
	if (jdoc_parse(body, a, &j) != 0 || j.fault != JDOC_OK || jdoc_type_of(&j, 0) != JDOC_OBJECT)
		return SENT_PROCESSED;
	uint32_t status = jdoc_member(&j, 0, SLICE("status")), message = jdoc_member(&j, 0, SLICE("message"));
	if (message && jdoc_text_is(&j, message, SLICE("Event already processed (idempotency)")))
		return SENT_DUPLICATE;
	if (status && jdoc_text_is(&j, status, SLICE("ignored")))
		return SENT_IGNORED;
	if (status && jdoc_text_is(&j, status, SLICE("quarantined")))
		return SENT_QUARANTINED;
	return SENT_PROCESSED;
}

static bool is_retried(int r, long status)
{
	return r == OC_NET || status == 429 || (status >= 500 && status != 501);
}

static void wait_before(int attempt, int64_t retry_after_s)
{
	int64_t s = retry_after_s >= 0 ? retry_after_s : (int64_t)1 << (attempt - 1);
	struct timespec t = { .tv_sec = (time_t)s };
	nanosleep(&t, NULL);
}

static void erase_bar(const struct sending *s)
{
	if (s->draws)
		fputs("\r\033[K", stderr);
}

static void complain_about(struct sending *s, const struct send_item *item, const char *what, struct slice detail)
{
	size_t n = atomic_fetch_add(&s->complaints, 1);
	char shown[301];
	size_t length = 0;
	if (n > COMPLAINTS_MOST)
		return;
	for (; length < detail.n && length + 1 < sizeof shown; length++) /* from outside: no control characters for the terminal */
		shown[length] = (unsigned char)detail.p[length] < ' ' || detail.p[length] == 0x7f ? ' ' : detail.p[length];
	shown[length] = '\0';
	flockfile(stderr);
	erase_bar(s);
	if (n == COMPLAINTS_MOST)
		fputs("outcomed send: more of these are not shown\n", stderr);
	else
		fprintf(stderr, "outcomed send: %s line %zu: %s%s%s\n", item->file, item->line, what, length ? ": " : "", shown);
	funlockfile(stderr);
}

static enum send_result send_one(struct sending *s, struct client *client, const struct send_item *item, struct arena *a)
{
	struct client_reply reply = { 0 };
	struct slice token;
	char what[64];
	int r = OC_NET;
	if (signature_sign(&s->key, item->body, clock_wall_ms() / 1000, a, &token) != 0) {
		complain_about(s, item, "out of memory", SLICE_NONE);
		return SENT_FAILED;
	}
	for (int attempt = 1;; attempt++) {
		reply = (struct client_reply){ .retry_after_s = -1 };
		r = client_post_webhook(client, s->url, token, item->body, a, &reply);
		if (!s->retry || attempt == ATTEMPTS || !is_retried(r, reply.status))
			break;
		wait_before(attempt, reply.status == 429 || reply.status == 503 ? reply.retry_after_s : -1);
	}
	if (r) {
		complain_about(s, item, r == OC_NET ? "no reply" : "not sent", slice_cstr(r == OC_NET ? client_error(client) : oc_error_text(r)));
		return SENT_FAILED;
	}
	if (reply.status >= 200 && reply.status < 300)
		return result_of_success(reply.body, a);
	snprintf(what, sizeof what, "answered %ld", reply.status);
	complain_about(s, item, what, reply.body);
	return reply.status >= 500 || reply.status == 429 ? SENT_FAILED : SENT_REFUSED;
}

/* ---- all of them ---- */

static void draw(struct sending *s, bool last)
{
	int64_t now = clock_mono_ns(), before = atomic_load(&s->drawn_ns);
	size_t done = atomic_load(&s->finished);
	char bar[41];
	if (!s->draws || (!last && (now - before < REDRAW_NS || !atomic_compare_exchange_strong(&s->drawn_ns, &before, now))))
		return;
	size_t full = s->total ? done * (sizeof bar - 1) / s->total : 0;
	for (size_t i = 0; i < sizeof bar - 1; i++)
		bar[i] = i < full ? '#' : '.';
	bar[sizeof bar - 1] = '\0';
	fprintf(stderr, "\r[%s] %zu/%zu%s", bar, done, s->total, last ? "\n" : "");
}

static void *work(void *context)
{
	struct sending *s = context;
	struct client *client = NULL;
	_cleanup_arena_ struct arena *a = arena_new(65536);
	bool ready = a && client_open(NULL, &client) == 0;
	for (size_t i; (i = atomic_fetch_add(&s->next, 1)) < s->total;) {
		const struct send_item *item = &s->items[s->order[i]];
		enum send_result result = SENT_FAILED;
		if (ready)
			result = send_one(s, client, item, a);
		else
			complain_about(s, item, "out of memory", SLICE_NONE);
		atomic_fetch_add(&s->results[result], 1);
		atomic_fetch_add(&s->finished, 1);
		draw(s, false);
		if (ready)
			arena_reset(a);
	}
	client_close(client);
	return NULL;
}

static int work_all(struct sending *s, size_t workers, struct arena *a)
{
	pthread_t *threads = ARENA_ARRAY(a, pthread_t, workers);
	size_t started = 0;
	if (!threads || client_setup() != 0)
		return OC_NOMEM;
	while (started + 1 < workers && pthread_create(&threads[started], NULL, work, s) == 0)
		started++;
	work(s);
	while (started)
		pthread_join(threads[--started], NULL);
	draw(s, true);
	return 0;
}

/* ---- reading and ordering ---- */

static int read_items(const struct command_line *line, struct sending *s)
{
	struct arena *a = line->arena;
	bool raw = line_switch(line, "--raw");
	for (int f = 0; f < line->word_count; f++) {
		struct slice text, message = SLICE("out of memory");
		struct recorded one = { .line = 1 }, *found = &one;
		size_t n = 1;
		int r = read_file(line->words[f], RECORDING_MAX_BYTES, a, &text, &message);
		one.body = text;
		if (r == 0 && !raw)
			r = recording_read_json(text, a, &found, &n, &message);
		struct send_item *longer = r == 0 ? ARENA_ARRAY(a, struct send_item, s->count + n) : NULL;
		if (!longer) {
			complain("send", "%s: %.*s", line->words[f], SLICE_FMT(message));
			return STATUS_USAGE;
		}
		if (s->count)
			memcpy(longer, s->items, s->count * sizeof *longer);
		for (size_t i = 0; i < n; i++)
			longer[s->count + i] = (struct send_item){ found[i].body, line->words[f], found[i].line };
		s->items = longer;
		s->count += n;
	}
	return STATUS_OK;
}

/* SplitMix64: small, and the same order for the same seed everywhere. */
static uint64_t next_random(uint64_t *state)
{
	uint64_t z = (*state += 0x9e3779b97f4a7c15u);
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

static bool make_order(struct sending *s, int64_t repeat, bool shuffled, int64_t seed, struct arena *a)
{
	if (__builtin_mul_overflow(s->count, (size_t)repeat, &s->total) || s->total > 100000000)
		return false;
	s->order = ARENA_ARRAY(a, uint32_t, s->total);
	if (!s->order)
		return false;
	for (size_t i = 0; i < s->total; i++)
		s->order[i] = (uint32_t)(i % s->count);
	uint64_t state = (uint64_t)seed;
	for (size_t i = s->total; shuffled && i > 1; i--) {
		size_t k = next_random(&state) % i;
		uint32_t swapped = s->order[i - 1];
		s->order[i - 1] = s->order[k];
		s->order[k] = swapped;
	}
	return true;
}

static int prepare(const struct command_line *line, struct sending *s, int64_t *ret_workers)
{
	int64_t repeat, seed;
	struct keyring ring;
	struct slice message = SLICE("out of memory");
	bool shuffled = line_switch(line, "--shuffle");
	const char *url = line_value(line, "--url");
	s->url = url ? url : DEFAULT_URL;
	s->retry = line_switch(line, "--retry");
	s->draws = isatty(STDERR_FILENO);
	if (!line_number(line, "--concurrency", 1, 256, 1, ret_workers) || !line_number(line, "--repeat", 1, 1000000, 1, &repeat) ||
	    !line_number(line, "--seed", 0, INT64_MAX, clock_wall_ms() % 1000000, &seed))
		return STATUS_USAGE;
	if (strncmp(s->url, "http://", 7) != 0 && strncmp(s->url, "https://", 8) != 0) {
		complain("send", "--url=%s: expected http://HOST:PORT/PATH or https://…", s->url);
		return STATUS_USAGE;
	}
	if (keyring_from_config(line->config, line->arena, &ring, &message)) {
		complain("send", "%.*s", SLICE_FMT(message));
		return STATUS_USAGE;
	}
	s->key = keyring_signer(line->config, &ring);
	int status = read_items(line, s);
	if (status)
		return status;
	if (!make_order(s, repeat, shuffled, seed, line->arena)) {
		complain("send", "too many events for the memory here: lower --repeat");
		return STATUS_FAILED;
	}
	if (shuffled)
		printf("shuffled with --seed %lld\n", (long long)seed);
	fflush(stdout);
	return STATUS_OK;
}

static int run_send(const struct command_line *line)
{
	struct sending s = { 0 };
	int64_t workers;
	int status = prepare(line, &s, &workers);
	if (status)
		return status;
	if (work_all(&s, (size_t)workers < s.total ? (size_t)workers : s.total, line->arena) != 0) {
		complain("send", "out of memory");
		return STATUS_FAILED;
	}
	printf("%zu sent:", s.total);
	for (size_t i = 0; i < SENT_COUNT; i++)
		printf("%s %zu %s", i ? "," : "", atomic_load(&s.results[i]), result_names[i]);
	putchar('\n');
	return atomic_load(&s.results[SENT_REFUSED]) || atomic_load(&s.results[SENT_FAILED]) ? STATUS_FAILED : STATUS_OK;
}

static const struct extra_flag send_flags[] = {
	{ "--url", "URL", "Where to post. Default: " DEFAULT_URL "." },
	{ "--shuffle", NULL, "In a random order instead of the file's." },
	{ "--seed", "N", "The order of --shuffle again. Default: a new one, which is printed." },
	{ "--concurrency", "N", "Connections at a time. Default: 1, which keeps the order." },
	{ "--repeat", "N", "Send everything N times; all but the first are duplicates. Default: 1." },
	{ "--retry", NULL, "Repeat like LiveKit after 5xx, 429 or no reply: 5 attempts, 1, 2, 4 and 8 s apart, or as Retry-After says." },
	{ "--raw", NULL, "Send each file's bytes as one body, whatever they are." },
};

const struct command command_send = {
	.name = "send",
	.words = "FILE…",
	.summary = "Sign recorded events afresh and post them as LiveKit would.",
	.details = "FILE is one event as JSON, JSON lines with an event each, or a capture: {\"body\":\"…\"} a line, sent as recorded, repeated\n"
		   "deliveries too. Signs with LIVEKIT_API_KEY and LIVEKIT_API_SECRET, else the first of LIVEKIT_KEYS, else\n"
		   "LIVEKIT_WEBHOOK_SECRET. The last line of the output counts the answers.\n"
		   "\n"
		   "Exit codes: 0 all were taken; 1 some were refused (4xx) or failed (5xx, no reply); 2 wrong usage or no key.",
	.options = CMD_SEND,
	.extra = send_flags,
	.extra_count = sizeof send_flags / sizeof send_flags[0],
	.least_words = 1,
	.most_words = -1,
	.run = run_send,
};
