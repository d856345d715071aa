/* The load generator of `make bench`: posts distinct genuine webhooks, or gets a list of paths, over keep-alive connections, and
 * says as one line of JSON what came back and how long it took.
 *
 *   load post HOST:PORT EVENTS CONNECTIONS [PATH]       every request is made and signed before the clock starts
 *   load get  HOST:PORT REQUESTS CONNECTIONS LIST       LIST: a file of paths, one a line, asked for in turn
 *   load print EVENTS                                   the bodies on standard output, one a line
 *   load save post HOST:PORT EVENTS FILES PREFIX        the requests themselves, for wrk.lua, into PREFIX.0, PREFIX.1, …; a call's
 *   load save get  HOST:PORT REQUESTS FILES PREFIX LIST requests all go to one file; each with its length before it, as eight digits
 *
 * LOAD_SECONDS ends a run early; LOAD_RATE is how many requests are begun a second at most; LOAD_FIRST_CALL is the number of the first call, so that runs do not repeat each other's events.
 * One thread and one epoll set. A connection has one request under way at a time, and a room's events go over one connection in
 * their order, as LiveKit sends them. Tokens live for five minutes: sign right before the run. Of an answer only the status and
 * Content-Length are looked at, so that the generator stays cheap beside what it measures. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "wire/signature.h"

#define CALL_EVENTS 10
#define ANSWER_MAX 16384

/* Requests back to back in one buffer; starts[i] to starts[i + 1] is the i-th. Connection c sends requests c's own ranges of calls. */
struct requests {
	struct buf bytes;
	size_t *starts;
	size_t count;
};

struct connection {
	int fd;
	size_t next_call, at, in_call; /* which request is under way: calls go round robin over the connections */
	size_t request;
	size_t sent;
	int64_t began_ns;
	size_t got, answer_size; /* answer_size 0 = head not complete */
	int status;
	char answer[ANSWER_MAX];
};

struct run {
	const struct requests *requests;
	size_t calls, call_length; /* requests of one call, one after the other on one connection */
	size_t next_call;          /* the next call nobody has taken */
	size_t done, ok, refused, broken;
	int64_t stop_ns; /* no request is begun after it */
	int64_t pace_ns, due_ns; /* between two requests, and when the next one may be begun; 0 = at once */
	int64_t *latencies_ns;
};

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "load: %s%s%s\n", what, errno ? ": " : "", errno ? strerror(errno) : "");
	exit(2);
}

/* ---- events, in the form of tests/captures: an outbound call that is answered and hung up ---- */

static void put_room(struct buf *b, size_t call, int64_t now_s, bool full)
{
	buf_putf(b, "\"room\":{\"sid\":\"RM_bench%010zu\", \"name\":\"bench-%010zu\"", call, call);
	if (full)
		buf_putf(b, ", \"emptyTimeout\":300, \"departureTimeout\":20, \"creationTime\":\"%" PRId64 "\", \"creationTimeMs\":\"%" PRId64 "123\", "
			"\"turnPassword\":\"CbkoF8lYB2bJBieQOK69nI1YjE5Nl1MHc2cfj36x4nH\", \"enabledCodecs\":[{\"mime\":\"audio/PCMU\"}, "
			"{\"mime\":\"audio/PCMA\"}, {\"mime\":\"audio/opus\"}, {\"mime\":\"audio/red\"}, {\"mime\":\"video/VP8\"}, "
			"{\"mime\":\"video/H264\"}, {\"mime\":\"video/VP9\"}, {\"mime\":\"video/AV1\"}], "
			"\"metadata\":\"{\\\"user_id\\\":\\\"user-%zu\\\",\\\"campaign\\\":\\\"autumn\\\"}\"", now_s - 60, now_s - 60, call % 50);
	buf_puts(b, "}");
}

static void put_agent(struct buf *b, size_t call, int64_t now_s, const char *end)
{
	buf_putf(b, ", \"participant\":{\"sid\":\"PA_a%010zu\", \"identity\":\"agent-AJ_%010zu\", \"state\":\"%s\", \"joinedAt\":\"%" PRId64 "\", "
		"\"joinedAtMs\":\"%" PRId64 "654\", \"name\":\"agent-AJ_%010zu\", \"version\":2, \"permission\":{\"canSubscribe\":true, "
		"\"canPublish\":true, \"canPublishData\":true}, \"kind\":\"AGENT\", \"attributes\":{\"lk.agent.name\":\"receptionist\", "
		"\"lk.agent.state\":\"listening\"}%s}", call, call, *end ? "DISCONNECTED" : "ACTIVE", now_s - 60, now_s - 60, call, end);
}

static void put_leg(struct buf *b, size_t call, int64_t now_s, const char *status, const char *tag, const char *end)
{
	buf_putf(b, ", \"participant\":{\"sid\":\"PA_s%010zu\", \"identity\":\"sip_+1202%07zu\", \"state\":\"%s\", \"joinedAt\":\"%" PRId64 "\", "
		"\"joinedAtMs\":\"%" PRId64 "100\", \"name\":\"Phone +1202%07zu\", \"version\":3, \"permission\":{\"canSubscribe\":true, "
		"\"canPublish\":true, \"canPublishData\":true}, \"kind\":\"SIP\", \"attributes\":{\"sip.callID\":\"SCL_%010zu\", %s"
		"\"sip.callStatus\":\"%s\", \"sip.phoneNumber\":\"+1202%07zu\", \"sip.trunkID\":\"ST_3P7HnyfEzWpi\", "
		"\"sip.trunkPhoneNumber\":\"+15005550100\", \"user_id\":\"user-%zu\"}%s}", call, call % 10000000, *end ? "DISCONNECTED" : "ACTIVE",
		now_s - 59, now_s - 59, call % 10000000, call, tag, status, call % 10000000, call % 50, end);
}

static void put_track(struct buf *b, size_t call, int64_t now_s, const char *who, const char *identity)
{
	buf_putf(b, ", \"participant\":{\"sid\":\"PA_%s%010zu\", \"identity\":\"%s%010zu\"}, \"track\":{\"sid\":\"TR_%s%010zu\", "
		"\"name\":\"audio\", \"source\":\"MICROPHONE\", \"mimeType\":\"audio/opus\", \"mid\":\"0\", \"stream\":\"camera\", "
		"\"version\":{\"unixMicro\":\"%" PRId64 "200000\"}}", who, call, identity, call, who, call, now_s - 58);
}

static void put_event(struct buf *b, size_t call, size_t step, int64_t now_s)
{
	static const char *const names[CALL_EVENTS] = { "room_started", "participant_joined", "track_published", "participant_joined",
		"track_published", "track_unpublished", "participant_left", "track_unpublished", "participant_left", "room_finished" };
	static const int at_s[CALL_EVENTS] = { 60, 60, 60, 59, 58, 9, 9, 8, 8, 1 };
	bool full = strncmp(names[step], "track", 5) != 0;
	buf_putf(b, "{\"event\":\"%s\", ", names[step]);
	put_room(b, call, now_s, full);
	switch (step) {
	case 1: put_agent(b, call, now_s, ""); break;
	case 2: case 7: put_track(b, call, now_s, "a", "agent-AJ_"); break;
	case 3: put_leg(b, call, now_s, "dialing", "", ""); break;
	case 4: case 5: put_track(b, call, now_s, "s", "sip_"); break;
	case 6: put_leg(b, call, now_s, "hangup", "\"sip.callTag\":\"a6a1c5f60faecf035a1ae5b6e96e979a\", ",
		", \"disconnectReason\":\"CLIENT_INITIATED\""); break;
	case 8: put_agent(b, call, now_s, ", \"disconnectReason\":\"ROOM_CLOSED\""); break;
	}
	buf_putf(b, ", \"id\":\"EV_b%010zu%zu\", \"createdAt\":\"%" PRId64 "\"}", call, step, now_s - at_s[step]);
}

/* LOAD_SECONDS bounds a run: what is under way then is still waited for. */
static int64_t limit_ns(void)
{
	const char *z = getenv("LOAD_SECONDS");
	return (z ? strtoll(z, NULL, 10) : 60) * 1000000000;
}

/* LOAD_FIRST_CALL tells runs apart: the same call number would be a duplicate. */
static size_t first_call(void)
{
	const char *z = getenv("LOAD_FIRST_CALL");
	return z ? strtoull(z, NULL, 10) : 0;
}

static void make_posts(struct requests *r, size_t count, const char *host, const char *path)
{
	const char *key = getenv("LIVEKIT_API_KEY"), *secret = getenv("LIVEKIT_API_SECRET");
	struct signing_key signing = { slice_cstr(key ? key : "devkey"), slice_cstr(secret ? secret : "secret") };
	_cleanup_arena_ struct arena *a = arena_new(16384);
	_cleanup_buf_ struct buf body = BUF_INIT;
	int64_t now_s = clock_wall_ms() / 1000;
	size_t base = first_call();
	for (size_t i = 0; i < count; i++) {
		struct slice token;
		arena_reset(a);
		buf_clear(&body);
		put_event(&body, base + i / CALL_EVENTS, i % CALL_EVENTS, now_s);
		if (signature_sign(&signing, buf_slice(&body), now_s, a, &token) != 0)
			die("cannot sign");
		r->starts[i] = r->bytes.n;
		buf_putf(&r->bytes, "POST %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: LiveKit\r\nContent-Length: %zu\r\nAuthorization: %.*s\r\n"
			"Content-Type: application/webhook+json\r\nAccept-Encoding: gzip\r\n\r\n", path, host, body.n, SLICE_FMT(token));
		buf_put(&r->bytes, buf_slice(&body));
	}
	r->starts[count] = r->bytes.n;
}

static void make_gets(struct requests *r, size_t count, const char *host, const char *list)
{
	FILE *f = fopen(list, "r");
	if (!f)
		die(list);
	char line[1024];
	for (size_t i = 0; i < count; i++) {
		if (!fgets(line, sizeof(line), f)) {
			rewind(f);
			if (!fgets(line, sizeof(line), f))
				die("the list of paths is empty");
		}
		line[strcspn(line, "\n")] = '\0';
		r->starts[i] = r->bytes.n;
		buf_putf(&r->bytes, "GET %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: bench\r\nAccept: application/json\r\n\r\n", line, host);
	}
	r->starts[count] = r->bytes.n;
	fclose(f);
}

/* ---- one connection ---- */

static int dial(const struct addrinfo *to)
{
	int one = 1, fd = socket(to->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, to->ai_addr, to->ai_addrlen) != 0)
		die("cannot connect");
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (fcntl(fd, F_SETFL, O_NONBLOCK) != 0)
		die("fcntl");
	return fd;
}

/* Everybody waits until the next request may be begun. */
static void wait_turn(struct run *run)
{
	if (!run->pace_ns)
		return;
	const struct timespec due = { .tv_sec = run->due_ns / 1000000000, .tv_nsec = run->due_ns % 1000000000 };
	clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL);
	run->due_ns += run->pace_ns;
}

/* Takes the connection's next request; false when there is none left. */
static bool take_request(struct run *run, struct connection *c)
{
	if (c->in_call == run->call_length) {
		if (run->next_call == run->calls)
			return false;
		c->next_call = run->next_call++;
		c->in_call = 0;
	}
	c->request = c->next_call * run->call_length + c->in_call++;
	c->sent = c->got = c->answer_size = 0;
	wait_turn(run);
	c->began_ns = clock_mono_ns();
	return c->began_ns < run->stop_ns;
}

/* True while the connection is well; sends as much as goes. */
static bool send_some(const struct run *run, struct connection *c)
{
	const char *p = run->requests->bytes.p + run->requests->starts[c->request];
	size_t n = run->requests->starts[c->request + 1] - run->requests->starts[c->request];
	while (c->sent < n) {
		ssize_t w = send(c->fd, p + c->sent, n - c->sent, MSG_NOSIGNAL);
		if (w < 0)
			return errno == EAGAIN || errno == EINTR;
		c->sent += (size_t)w;
	}
	return true;
}

/* The whole answer's size once its head is there. */
static bool read_head(struct connection *c)
{
	c->answer[c->got] = '\0';
	char *end = strstr(c->answer, "\r\n\r\n");
	if (!end)
		return c->got < ANSWER_MAX - 1;
	char *length = strcasestr(c->answer, "\r\nContent-Length:");
	if (!length || length > end || strncmp(c->answer, "HTTP/1.1 ", 9) != 0)
		return false;
	c->status = atoi(c->answer + 9);
	c->answer_size = (size_t)(end - c->answer) + 4 + strtoull(length + 17, NULL, 10);
	return c->answer_size < ANSWER_MAX;
}

/* 1: the answer is complete; 0: not yet; -1: broken. */
static int receive_some(struct connection *c)
{
	ssize_t n = recv(c->fd, c->answer + c->got, ANSWER_MAX - 1 - c->got, 0);
	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
		return -1;
	if (n < 0)
		return 0;
	c->got += (size_t)n;
	if (c->answer_size == 0 && !read_head(c))
		return -1;
	return c->answer_size != 0 && c->got >= c->answer_size;
}

static void record(struct run *run, const struct connection *c)
{
	run->latencies_ns[run->done++] = clock_mono_ns() - c->began_ns;
	if (c->status == 200)
		run->ok++;
	else
		run->refused++;
}

/* Handles what epoll said of one connection; false when it is finished with. */
static bool serve_connection(struct run *run, struct connection *c, uint32_t what)
{
	int got = 0;
	if (what & (EPOLLIN | EPOLLHUP | EPOLLERR))
		got = receive_some(c);
	if (got == 1) {
		record(run, c);
		if (!take_request(run, c))
			return false;
	}
	if (got >= 0 && send_some(run, c))
		return true;
	run->broken++;
	return false;
}

static void run_all(struct run *run, const struct addrinfo *to, size_t connections)
{
	int epoll = epoll_create1(EPOLL_CLOEXEC);
	struct connection *all = calloc(connections, sizeof(*all));
	if (epoll < 0 || !all)
		die("cannot start");
	size_t open = 0;
	for (size_t i = 0; i < connections; i++) {
		all[i].fd = dial(to);
		all[i].in_call = run->call_length;
		struct epoll_event e = { .events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = &all[i] };
		if (!take_request(run, &all[i])) {
			close(all[i].fd);
			continue;
		}
		if (epoll_ctl(epoll, EPOLL_CTL_ADD, all[i].fd, &e) != 0)
			die("epoll_ctl");
		open++;
	}
	while (open > 0) {
		struct epoll_event events[64];
		int n = epoll_wait(epoll, events, 64, 30000);
		if (n == 0)
			die("nothing came for 30 s");
		for (int i = 0; i < n; i++) {
			struct connection *c = events[i].data.ptr;
			if (c->fd >= 0 && !serve_connection(run, c, events[i].events)) {
				close(c->fd);
				c->fd = -1;
				open--;
			}
		}
	}
	free(all);
	close(epoll);
}

/* ---- the result ---- */

static int compare(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
	return (x > y) - (x < y);
}

static double percentile_ms(const struct run *run, double p)
{
	return run->done ? (double)run->latencies_ns[(size_t)(p * (double)(run->done - 1))] / 1e6 : 0;
}

static double cpu_seconds(void)
{
	struct rusage u;
	if (getrusage(RUSAGE_SELF, &u) != 0)
		die("getrusage");
	return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static void report(struct run *run, size_t connections, int64_t took_ns, double own_s)
{
	qsort(run->latencies_ns, run->done, sizeof(int64_t), compare);
	printf("{\"requests\": %zu, \"connections\": %zu, \"ok\": %zu, \"refused\": %zu, \"broken\": %zu, \"seconds\": %.3f, \"per_second\": %.0f, "
		"\"p50_ms\": %.3f, \"p99_ms\": %.3f, \"max_ms\": %.3f, \"own_cpu_us\": %.2f}\n", run->done, connections, run->ok, run->refused,
		run->broken, (double)took_ns / 1e9, (double)run->done * 1e9 / (double)took_ns, percentile_ms(run, 0.5),
		percentile_ms(run, 0.99), percentile_ms(run, 1.0), run->done ? own_s * 1e6 / (double)run->done : 0);
}

static int print_bodies(size_t count)
{
	_cleanup_buf_ struct buf b = BUF_INIT;
	size_t base = first_call();
	for (size_t i = 0; i < count; i++) {
		buf_clear(&b);
		put_event(&b, base + i / CALL_EVENTS, i % CALL_EVENTS, clock_wall_ms() / 1000);
		printf("%.*s\n", SLICE_FMT(buf_slice(&b)));
	}
	return 0;
}

static int save(int argc, char **argv)
{
	bool post = strcmp(argv[2], "post") == 0;
	size_t count = argc == (post ? 7 : 8) ? strtoull(argv[4], NULL, 10) : 0, files = count ? strtoull(argv[5], NULL, 10) : 0;
	struct requests r = { BUF_INIT, calloc(count + 1, sizeof(size_t)), count };
	if (!r.starts || files == 0)
		die("save post HOST:PORT EVENTS FILES PREFIX | save get HOST:PORT REQUESTS FILES PREFIX LIST");
	if (post)
		make_posts(&r, count, argv[3], "/api/webhooks/call_completed");
	else
		make_gets(&r, count, argv[3], argv[7]);
	for (size_t file = 0; file < files; file++) {
		_cleanup_buf_ struct buf name = BUF_INIT;
		buf_putf(&name, "%s.%zu", argv[6], file);
		buf_putc(&name, '\0');
		FILE *f = buf_failed(&name) ? NULL : fopen(name.p, "w");
		if (!f)
			die(argv[6]);
		for (size_t i = 0; i < count; i++)
			if (i / CALL_EVENTS % files == file)
				fprintf(f, "%08zu%.*s", r.starts[i + 1] - r.starts[i], (int)(r.starts[i + 1] - r.starts[i]), r.bytes.p + r.starts[i]);
		if (fclose(f) != 0)
			die(argv[6]);
	}
	buf_done(&r.bytes);
	free(r.starts);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc >= 3 && strcmp(argv[1], "save") == 0)
		return save(argc, argv);
	if (argc == 3 && strcmp(argv[1], "print") == 0)
		return print_bodies(strtoull(argv[2], NULL, 10));
	bool post = argc >= 5 && strcmp(argv[1], "post") == 0;
	if (!post && (argc != 6 || strcmp(argv[1], "get") != 0)) {
		fputs("load post HOST:PORT EVENTS CONNECTIONS [PATH] | get HOST:PORT REQUESTS CONNECTIONS LIST | print EVENTS\n", stderr);
		return 2;
	}
	size_t count = strtoull(argv[3], NULL, 10), connections = strtoull(argv[4], NULL, 10);
	char *host = strdup(argv[2]), *port = host ? strrchr(host, ':') : NULL;
	struct requests requests = { BUF_INIT, calloc(count + 1, sizeof(size_t)), count };
	struct run run = { .requests = &requests, .latencies_ns = calloc(count + 1, sizeof(int64_t)), .call_length = post ? CALL_EVENTS : 1 };
	if (!port || count == 0 || connections == 0 || !requests.starts || !run.latencies_ns || (post && count % CALL_EVENTS != 0))
		die("HOST:PORT, a number of events that is a multiple of ten, and connections are needed");
	run.calls = count / run.call_length;
	if (post)
		make_posts(&requests, count, argv[2], argc > 5 ? argv[5] : "/api/webhooks/call_completed");
	else
		make_gets(&requests, count, argv[2], argv[5]);
	if (buf_failed(&requests.bytes))
		die("out of memory");
	*port = '\0';
	struct addrinfo hints = { .ai_family = AF_INET, .ai_socktype = SOCK_STREAM }, *to = NULL;
	if (getaddrinfo(host, port + 1, &hints, &to) != 0)
		die("no such address");
	int64_t began = clock_mono_ns();
	double cpu = cpu_seconds();
	run.stop_ns = began + limit_ns();
	const char *rate = getenv("LOAD_RATE");
	run.pace_ns = rate && atoll(rate) > 0 ? 1000000000 / atoll(rate) : 0;
	run.due_ns = began;
	run_all(&run, to, connections);
	report(&run, connections, clock_mono_ns() - began, cpu_seconds() - cpu);
	freeaddrinfo(to);
	free(host);
	free(run.latencies_ns);
	free(requests.starts);
	buf_done(&requests.bytes);
	return run.broken ? 1 : 0;
}
