/* Connecting to PostgreSQL: reading the URL, the attempt itself, and what a fresh connection is asked before it is used.
 *
 * An attempt goes on by itself: whoever waits for it stops waiting at a deadline of its own and the next pg_ready goes on with the same
 * attempt, so a server that takes long to take us in never holds a thread, and is reached all the same. libpq does not heed
 * connect_timeout here, so each host of the URL has a deadline too; one that lets it pass is left for the next one in the list.
 * Invariant: c->conn is a connection whose attempt is over; c->attempt.conn is none or one under way.
 * Threads: the one that owns the struct pg. (libpq looks names up synchronously while connecting.) */
#include "store/postgres.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

#define HOST_MS 2000       /* for one host of the URL, unless connect_timeout says otherwise */
#define WRITER_WAITS_MS 250 /* for an attempt while the server is known to be in trouble: events do not wait for it */

/* ---- what libpq says ---- */

static void ignore_notice(void *context, const PGresult *res)
{
	(void)context;
	(void)res;
}

/* Waiting will not help: no such database or role, a wrong password, no way in by pg_hba.conf. The message carries its SQLSTATE
 * (verbose), which libpq does not give otherwise. */
static bool is_configuration_error(const char *message)
{
	static const char *const states[] = { "28P01", "28000", "3D000" };
	for (size_t i = 0; i < sizeof states / sizeof *states; i++)
		if (strstr(message, states[i]))
			return true;
	/* What libpq says of the options themselves: invalid sslmode value, invalid port number, could not match 2 port numbers to 3 hosts. */
	if (strncmp(message, "invalid ", 8) == 0 || strncmp(message, "could not match ", 16) == 0)
		return true;
	return strstr(message, "no password supplied") != NULL;
}

/* ---- the URL ---- */

/* libpq quotes what it cannot read, and that may be a piece of the password: only the words around it are passed on. */
static int refuse_url(struct pg *c, const char *message)
{
	const char *first = strchr(message, '"'), *last = strrchr(message, '"');
	_cleanup_buf_ struct buf b = BUF_INIT;

	buf_puts(&b, "the database's URL cannot be read: ");
	if (last > first) {
		buf_put(&b, slice_of(message, (size_t)(first + 1 - message)));
		buf_puts(&b, "***");
		buf_puts(&b, last);
	} else {
		buf_puts(&b, message);
	}
	while (b.n && b.p[b.n - 1] == '\n')
		b.n--;
	buf_puts(&b, "; in a password write % as %25, @ as %40, / as %2F, : as %3A, ? as %3F");
	buf_putc(&b, '\0');
	pg_set_error(c, "28000", buf_failed(&b) ? "out of memory" : b.p);
	return OC_CONFIG;
}

static const char *value_of(const PQconninfoOption *options, const char *keyword)
{
	for (; options->keyword; options++)
		if (strcmp(options->keyword, keyword) == 0)
			return options->val ? options->val : "";
	return "";
}

/* An unescaped "@" or "/" in a password makes the rest of it a host, a port or a database's name, which messages would show. (A host that
 * begins with "@" is an abstract socket.) NULL where all is well. */
static const char *what_is_misplaced(const PQconninfoOption *options)
{
	const char *host = value_of(options, "host"), *port = value_of(options, "port");
	for (const char *at = strchr(host, '@'); at; at = strchr(at + 1, '@'))
		if (at > host && at[-1] != ',')
			return "there is an @ in the host";
	if (port[strspn(port, "0123456789,")])
		return "the port is no number";
	if (!*value_of(options, "user") && strchr(value_of(options, "dbname"), '@'))
		return "there is an @ in the database's name, and no user";
	return NULL;
}

/* The URL's options; freed by PQconninfoFree. */
static int parse_url(struct pg *c, PQconninfoOption **ret)
{
	char *bad = NULL;
	PQconninfoOption *options = PQconninfoParse(c->url, &bad);
	const char *misplaced = options ? what_is_misplaced(options) : NULL;
	int r = 0;

	if (!options)
		r = refuse_url(c, bad ? bad : "out of memory");
	else if (misplaced)
		r = refuse_url(c, misplaced);
	PQfreemem(bad);
	if (r == 0)
		*ret = options;
	else
		PQconninfoFree(options);
	return r;
}

static unsigned count_of(const char *list)
{
	unsigned n = 1;
	for (; *list; list++)
		n += *list == ',';
	return n;
}

/* The list from its `first`th element on, then those before it. NULL: as the URL has it. */
static const char *turned(const char *list, unsigned first, struct buf *b)
{
	const char *from = list;
	if (first == 0 || count_of(list) <= first)
		return NULL;
	for (unsigned i = 0; i < first; i++)
		from = strchr(from, ',') + 1;
	buf_puts(b, from);
	buf_putc(b, ',');
	buf_put(b, slice_of(list, (size_t)(from - 1 - list)));
	buf_putc(b, '\0');
	return buf_failed(b) ? NULL : b->p;
}

/* ---- an attempt ---- */

static int begin(struct pg *c, const PQconninfoOption *options)
{
	_cleanup_buf_ struct buf hosts = BUF_INIT, addresses = BUF_INIT, ports = BUF_INIT;
	const char *host = value_of(options, "host"), *address = value_of(options, "hostaddr");
	struct pg_attempt *t = &c->attempt;
	long connect_s = strtol(value_of(options, "connect_timeout"), NULL, 10);

	t->hosts = count_of(*address ? address : host);
	t->first %= t->hosts;
	t->host_ms = connect_s > 0 && connect_s < 3600 ? (int)connect_s * 1000 : HOST_MS;
	/* What stands before the URL is overridden by it, what stands behind overrides it. A peer that vanished without a word is noticed within
	 * ten seconds also where nothing is asked; of several servers the one that takes writes is wanted. Kerberos's encryption (not its
	 * authentication) only where somebody asks for it: looking for a ticket reads files at each connecting, and crashes without memory. */
	const char *const keywords[] = { "fallback_application_name", "keepalives_idle", "keepalives_interval", "keepalives_count", "tcp_user_timeout",
		"target_session_attrs", "gssencmode", "dbname", "client_encoding", "host", "hostaddr", "port", NULL };
	const char *const values[] = { c->application, "4", "2", "3", "8000", t->hosts > 1 ? "read-write" : "any",
		getenv("PGGSSENCMODE") ? NULL : "disable", c->url, "UTF8",
		turned(host, t->first, &hosts), turned(address, t->first, &addresses), turned(value_of(options, "port"), t->first, &ports), NULL };
	if (buf_failed(&hosts) || buf_failed(&addresses) || buf_failed(&ports))
		return OC_NOMEM;
	t->conn = PQconnectStartParams(keywords, values, 1);
	if (!t->conn)
		return OC_NOMEM;
	PQsetErrorVerbosity(t->conn, PQERRORS_VERBOSE);
	PQsetNoticeReceiver(t->conn, ignore_notice, NULL);
	t->polling = PGRES_POLLING_WRITING;
	t->host = PQhost(t->conn);
	t->at = t->first;
	t->host_until_ms = pg_now_ms() + t->host_ms;
	return 0;
}

static int begin_attempt(struct pg *c)
{
	PQconninfoOption *options = NULL;
	int r = parse_url(c, &options);
	if (r == 0)
		r = begin(c, options);
	PQconninfoFree(options);
	return r;
}

/* libpq went on to the next host by itself: that one has its own time. (Each host of a connection has a text of its own.) */
static void note_host(struct pg_attempt *t)
{
	const char *host = PQhost(t->conn);
	if (host == t->host)
		return;
	t->host = host;
	t->at = (t->at + 1) % t->hosts;
	t->host_until_ms = pg_now_ms() + t->host_ms;
}

static int fail_attempt(struct pg *c, int error, const char *message)
{
	pg_set_error(c, error == OC_CONFIG ? "28000" : "08001", message);
	pg_drop(c);
	return error;
}

/* The host lets its time pass: the next attempt begins with the one behind it. */
static int leave_host(struct pg *c)
{
	struct pg_attempt *t = &c->attempt;
	_cleanup_buf_ struct buf b = BUF_INIT;
	bool round = (t->at + 1) % t->hosts == t->first;

	buf_putf(&b, "no connection to %s:%s in time", PQhost(t->conn), PQport(t->conn));
	buf_putc(&b, '\0');
	int next = (int)((t->at + 1) % t->hosts);
	int r = fail_attempt(c, OC_DOWN, buf_failed(&b) ? "no connection in time" : b.p);
	t->first = (unsigned)next;
	if (!round)
		c->backoff_ms = 0;
	return r;
}

/* 0 connected, OC_TIMEOUT: goes on, but the caller's time is over. */
static int follow_attempt(struct pg *c, int64_t deadline)
{
	struct pg_attempt *t = &c->attempt;

	while (t->polling != PGRES_POLLING_OK) {
		if (PQstatus(t->conn) == CONNECTION_BAD || t->polling == PGRES_POLLING_FAILED)
			return fail_attempt(c, is_configuration_error(PQerrorMessage(t->conn)) ? OC_CONFIG : OC_DOWN, PQerrorMessage(t->conn));
		int64_t until = t->host_until_ms < deadline ? t->host_until_ms : deadline;
		if (pg_wait_socket(t->conn, t->polling == PGRES_POLLING_READING ? POLLIN : POLLOUT, until) < 0) {
			if (pg_now_ms() >= t->host_until_ms)
				return leave_host(c);
			pg_set_error(c, "08001", "no connection yet");
			return OC_TIMEOUT;
		}
		t->polling = PQconnectPoll(t->conn);
		note_host(t);
	}
	return 0;
}

static int attempt(struct pg *c, int64_t deadline)
{
	struct pg_attempt *t = &c->attempt;
	int r = 0;

	do {
		if (!t->conn)
			r = begin_attempt(c);
		if (r == 0)
			r = follow_attempt(c, deadline);
	} while (r == OC_DOWN && c->backoff_ms == 0 && pg_now_ms() < deadline); /* left one host for the next */
	if (r < 0)
		return r;
	if (PQsetnonblocking(t->conn, 1) < 0)
		return fail_attempt(c, OC_DOWN, PQerrorMessage(t->conn));
	PQsetErrorVerbosity(t->conn, PQERRORS_DEFAULT);
	t->first = t->at;
	c->conn = t->conn;
	t->conn = NULL;
	return 0;
}

int pg_connect_bare(struct pg *c)
{
	int r = attempt(c, pg_deadline(c));
	if (r == OC_TIMEOUT) {
		pg_drop(c);
		return OC_DOWN;
	}
	return r;
}

/* ---- what a fresh connection is asked ---- */

static bool wanted_by(enum pg_statement s, enum pg_role role)
{
	bool reads = s == PG_STMT_READ_OUTCOMES || s == PG_STMT_READ_LIST || s == PG_STMT_READ_CALL || s == PG_STMT_READ_EVENTS ||
		     s == PG_STMT_BEGIN_READ || s == PG_STMT_READ_SETTINGS || s == PG_STMT_PING;
	return s == PG_STMT_COMMIT || reads == (role == PG_READER);
}

static int prepare_statements(struct pg *c, int64_t deadline)
{
	_cleanup_buf_ struct buf sql = BUF_INIT;
	bool sent[PG_STMT_COUNT] = { false };
	int r = 0;

	for (int s = 0; s < PG_STMT_COUNT && r == 0; s++) {
		if (!wanted_by((enum pg_statement)s, c->role))
			continue;
		buf_clear(&sql);
		pg_statement_sql((enum pg_statement)s, c->schema, &sql);
		if (sql.n == 0)
			continue;
		buf_putc(&sql, '\0');
		if (buf_failed(&sql))
			return OC_NOMEM;
		if (!PQsendPrepare(c->conn, pg_statement_name((enum pg_statement)s), sql.p, 0, NULL))
			return pg_lost(c, NULL);
		sent[s] = true;
	}
	r = pg_sync(c);
	for (int s = 0; s < PG_STMT_COUNT && r == 0; s++) {
		if (!sent[s])
			continue;
		r = pg_expect(c, deadline, NULL);
		if (r == OC_DATA)
			r = OC_SCHEMA;
	}
	return r < 0 ? r : pg_expect_sync(c, deadline);
}

static int set_up(struct pg *c)
{
	int64_t deadline = pg_now_ms() + c->timeout_ms; /* of its own: the attempt may have used up the batch's, which begins anew behind it */
	if (c->until_ms && c->until_ms < deadline)
		deadline = c->until_ms;
	int r = PQenterPipelineMode(c->conn) ? 0 : pg_lost(c, NULL);

	if (r == 0)
		r = pg_check_version(c, deadline);
	if (r == 0)
		r = pg_read_schema(c, deadline);
	if (r == 0)
		r = pg_check_sight(c);
	if (r == 0)
		r = prepare_statements(c, deadline);
	if (r < 0) {
		if (c->conn)
			pg_drop(c);
		return r;
	}
	c->backoff_ms = 0;
	c->proved = true;
	if (c->batch_until_ms)
		c->batch_until_ms = pg_now_ms() + c->timeout_ms;
	return 0;
}

int pg_connect(struct pg *c)
{
	int r = pg_connect_bare(c);
	return r < 0 ? r : set_up(c);
}

/* The server ended the session while nothing was asked (idle_session_timeout, pg_terminate_backend, a restart): its last words and the end of
 * the stream are there to be read. */
static bool is_dead(struct pg *c)
{
	struct pollfd p = { .fd = PQsocket(c->conn), .events = POLLIN };

	for (int i = 0; i < 8 && poll(&p, 1, 0) > 0; i++)
		if (!PQconsumeInput(c->conn) || PQstatus(c->conn) == CONNECTION_BAD)
			return true;
	return false;
}

int pg_ready(struct pg *c)
{
	int64_t now = pg_now_ms(), deadline = pg_deadline(c);

	if (c->conn && c->unanswered == 0 && is_dead(c))
		pg_drop(c);
	if (c->conn)
		return 0;
	if (!c->attempt.conn && c->backoff_ms && now < c->retry_at_ms)
		return OC_DOWN;
	bool trouble = c->role == PG_WRITER && (c->attempt.conn || c->backoff_ms);
	int r = attempt(c, trouble && deadline > now + WRITER_WAITS_MS ? now + WRITER_WAITS_MS : deadline);
	if (r == 0)
		r = set_up(c);
	/* A password that is being changed, a database that is being restored: it was right once. */
	return r == OC_CONFIG || r == OC_RETRY || r == OC_TIMEOUT ? OC_DOWN : r;
}
