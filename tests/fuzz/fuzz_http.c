/* The whole HTTP side with its writer and a SQLite file, over a Unix socket: the input is what a client sends before it says no more. Whatever it is, the
 * server closes in the end, what it sent is a row of complete answers with a status of its list and a body that is JSON where it says so, there are no
 * more of them than the input has lines, no secret is in them, and the next client is served. */
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
#define LIVEZ "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"

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

/* Sends, says that no more comes, and takes what is answered until the server closes. */
static void converse(struct slice sent, struct buf *answer)
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
		int ready = poll(&p, 1, MOST_WAIT_MS);
		if (ready < 0 && errno == EINTR)
			continue; /* the fuzzer's clock */
		must(ready == 1);
		must(buf_reserve(answer, 16384));
		ssize_t n = recv(fd, answer->p + answer->n, 16384, 0);
		if (n <= 0)
			break;
		answer->n += (size_t)n;
	}
	close(fd);
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

/* How many answers; each complete. An answer to HEAD, a 100 and a 304 have no body, whatever length they name. */
static size_t check_answers(struct slice all)
{
	size_t count = 0;
	must(!all.n || !memmem(all.p, all.n, SECRET, sizeof SECRET - 1));
	while (all.n) {
		const char *end = memmem(all.p, all.n, "\r\n\r\n", 4);
		must(end);
		struct slice head = slice_of(all.p, (size_t)(end - all.p)), length = field(head, "Content-Length");
		all = slice_of(end + 4, all.n - head.n - 4);
		check_head(head);
		count++;
		int64_t n = 0;
		must(slice_is_none(length) || (slice_to_int64(length, &n) && n >= 0));
		if ((size_t)n > all.n || slice_starts_with(all, SLICE("HTTP/1."))) {
			must(!all.n || slice_starts_with(all, SLICE("HTTP/1.")));
			continue;
		}
		check_body(head, slice_of(all.p, (size_t)n));
		all = slice_of(all.p + n, all.n - (size_t)n);
	}
	return count;
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
	converse(sent, &answer);
	must(check_answers(buf_slice(&answer)) <= lines_in(sent) + 2);
	if (inputs++ % 16 == 0) {
		buf_clear(&answer);
		converse(SLICE(LIVEZ), &answer);
		must(check_answers(buf_slice(&answer)) == 1 && slice_starts_with(buf_slice(&answer), SLICE("HTTP/1.1 200 ")));
	}
	return 0;
}
