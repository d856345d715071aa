/* The whole HTTP side with its writer and a SQLite file, over a Unix socket: the input is what a client sends before it says no more. Whatever it is, what
 * the server sends is a row of complete answers with a status of its list and a body that is JSON where it says so, there are no more of them than
 * the input has lines, no secret is in them, and the next client is served. Every sixteenth time the server's own end is waited for, which takes it a
 * second where the client only said that it sends no more; else the client goes when nothing comes for some milliseconds. */
#include "must.h"

#include <errno.h>
#include <ftw.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"
#include "http/http.h"
#include "http/internal.h"
#include "store/migrate.h"
#include "view.h"
#include "wire/jwt.h"

#define SECRET "S3CR3T-of-the-keyring"
#define MOST_INPUT 16384
#define MOST_WAIT_MS 8000
#define SHORT_WAIT_MS 10
#define LIVEZ "GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"

static struct fixture {
	char folder[200], socket[256], database[256];
	struct arena *arena;
	struct metrics *metrics;
	struct ingest *ingest;
	struct http_server *server;
} f;

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *where)
{
	(void)status, (void)kind, (void)where;
	return remove(path);
}

static void stop(void)
{
	http_drain(f.server, 1000);
	ingest_stop(f.ingest);
	http_free(f.server);
	metrics_free(f.metrics);
	arena_free(f.arena);
	nftw(f.folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static void start(void)
{
	static const struct signing_key key = { { "devkey", 6 }, { SECRET, sizeof SECRET - 1 } };
	const char *where = getenv("TMPDIR");
	struct slice message = SLICE("");
	snprintf(f.folder, sizeof f.folder, "%.180s/outcomed-fuzz-XXXXXX", where ? where : "/tmp");
	must(mkdtemp(f.folder) && (f.arena = arena_new(65536)) && (f.metrics = metrics_new()));
	snprintf(f.socket, sizeof f.socket, "unix:%s/s", f.folder);
	snprintf(f.database, sizeof f.database, "sqlite:%s/d", f.folder);
	const struct store_options store = { .url = slice_cstr(f.database) };
	const struct ingest_options ingest = { .store = store };
	const struct http_options http = { .listen = slice_cstr(f.socket), .max_body_bytes = 8192, .max_connections = 50, .max_connections_per_address = 50,
		.request_timeout_ms = 2000, .stall_timeout_ms = 1000, .idle_timeout_ms = 2000, .keyring = { &key, 1, true }, .store = store };
	unsigned char hash[32];
	must(hash_sha256(SLICE(""), hash)); /* OpenSSL's own end comes after ours, then, and frees what it kept for our threads */
	log_set_level(LOG_LEVEL_ERROR);
	must(migrate_upgrade(&store, 0, NULL, NULL, f.arena, &message) == 0);
	must(ingest_start(&ingest, f.metrics, &f.ingest) == 0);
	/* What it points to lives as long as the server. */
	struct http_options *kept = ARENA_NEW(f.arena, struct http_options);
	must(kept);
	*kept = http;
	must(http_start(kept, f.ingest, f.metrics, f.arena, &f.server, &message) == 0);
	atexit(stop);
}

static struct slice field(struct slice head, const char *name)
{
	for (struct slice line; !slice_is_none(head);) {
		struct slice key, value;
		slice_split(head, '\n', &line, &head);
		if (slice_split(line, ':', &key, &value) && slice_eq_nocase(key, slice_cstr(name)))
			return slice_trim(value);
	}
	return SLICE_NONE;
}

static void check_head(struct slice head)
{
	int64_t status;
	size_t count;
	const char *const *labels = reply_status_labels(&count);
	must(head.n > 12 && slice_starts_with(head, SLICE("HTTP/1.")) && slice_to_int64(slice_of(head.p + 9, 3), &status));
	bool ours = status == 100 || status == 431 || status == 505;
	for (size_t i = 0; i < count; i++)
		ours |= slice_eq_cstr(slice_of(head.p + 9, 3), labels[i]);
	must(ours && status != 500);
	for (size_t i = 0; i < head.n; i++)
		must((unsigned char)head.p[i] >= ' ' || head.p[i] == '\r' || head.p[i] == '\n');
}

static void check_body(struct slice head, struct slice body)
{
	struct slice type = field(head, "Content-Type");
	enum json_error_code why;
	if (slice_is_none(type) || !memmem(type.p, type.n, "json", 4))
		return;
	json_t *view = view_of(body, &why);
	must(json_is_object(view));
	json_decref(view);
}

/* The first answer of these bytes; *ret_rest is what comes behind it. An answer to HEAD, a 100 and a 304 have no body, whatever length they name. */
static bool next_answer(struct slice all, struct slice *ret_head, struct slice *ret_body, struct slice *ret_rest)
{
	const char *end = all.n ? memmem(all.p, all.n, "\r\n\r\n", 4) : NULL;
	int64_t n = 0;
	if (!end)
		return false;
	struct slice head = slice_of(all.p, (size_t)(end - all.p)), rest = slice_of(end + 4, all.n - head.n - 4), length = field(head, "Content-Length");
	must(slice_is_none(length) || (slice_to_int64(length, &n) && n >= 0));
	if (rest.n == 0 || slice_starts_with(rest, SLICE("HTTP/1.")))
		n = 0;
	if ((size_t)n > rest.n)
		return false;
	*ret_head = head;
	*ret_body = slice_of(rest.p, (size_t)n);
	*ret_rest = slice_of(rest.p + n, rest.n - (size_t)n);
	return true;
}

static bool is_whole(struct slice all)
{
	struct slice head, body;
	while (all.n)
		if (!next_answer(all, &head, &body, &all))
			return false;
	return true;
}

/* How many; each of them complete. */
static size_t check_answers(struct slice all)
{
	struct slice head, body;
	size_t count = 0;
	must(!all.n || !memmem(all.p, all.n, SECRET, sizeof SECRET - 1));
	while (all.n) {
		must(next_answer(all, &head, &body, &all));
		check_head(head);
		if (body.n)
			check_body(head, body);
		count++;
	}
	return count;
}

/* Sends, says that no more comes, and takes what is answered: until the server closes, or until there is nothing more for a moment. */
static void converse(struct slice sent, bool to_the_end, struct buf *answer)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	snprintf(to.sun_path, sizeof to.sun_path, "%s", f.socket + 5);
	must(fd >= 0 && connect(fd, (const struct sockaddr *)&to, sizeof to) == 0);
	while (sent.n) {
		ssize_t n = send(fd, sent.p, sent.n, MSG_NOSIGNAL);
		if (n <= 0)
			break; /* refused and closed before the end */
		sent = slice_of(sent.p + n, sent.n - (size_t)n);
	}
	shutdown(fd, SHUT_WR);
	for (;;) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		bool patient = to_the_end || !is_whole(buf_slice(answer));
		int ready = poll(&p, 1, patient ? MOST_WAIT_MS : SHORT_WAIT_MS);
		if (ready < 0 && errno == EINTR)
			continue; /* the fuzzer's clock */
		must(ready == 1 || !patient);
		if (ready == 0)
			break;
		must(buf_reserve(answer, 16384));
		ssize_t n = recv(fd, answer->p + answer->n, 16384, 0);
		if (n <= 0)
			break;
		answer->n += (size_t)n;
	}
	close(fd);
}

static size_t lines_in(struct slice s)
{
	size_t n = 0;
	for (size_t i = 0; i < s.n; i++)
		n += s.p[i] == '\n';
	return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static unsigned inputs;
	_cleanup_buf_ struct buf answer = BUF_INIT;
	struct slice sent = slice_of((const char *)data, size);
	if (!f.server)
		start();
	if (size > MOST_INPUT)
		return 0;
	converse(sent, inputs % 16 == 0, &answer);
	must(check_answers(buf_slice(&answer)) <= lines_in(sent) + 2);
	if (inputs++ % 16 == 0) {
		buf_clear(&answer);
		converse(SLICE(LIVEZ), true, &answer);
		must(check_answers(buf_slice(&answer)) == 1 && slice_starts_with(buf_slice(&answer), SLICE("HTTP/1.1 200 ")));
	}
	return 0;
}
