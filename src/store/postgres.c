/* The connection to PostgreSQL: non-blocking, in pipeline mode, every wait with a deadline.
 *
 * Invariant: `unanswered` is the number of syncs sent whose answer was not taken yet. After any failed call pg_recover brings the
 * connection back to idle or drops it; a server that does not answer in time is dropped too, so nothing hangs. After a drop the next
 * attempt waits 250 ms, doubling to 5 s; meanwhile pg_ready says OC_DOWN at once.
 * Threads: the one that owns the struct pg. (libpq looks names up synchronously while connecting.) */
#include "store/postgres.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>

#include "base/clock.h"

#define DEFAULT_TIMEOUT_MS 10000
#define BACKOFF_FIRST_MS 250
#define BACKOFF_LAST_MS 1000 /* LiveKit gives up after 15 s: every second without a try is one it cannot spare */

int64_t pg_now_ms(void) { return clock_mono_ns() / 1000000; }
int64_t pg_deadline(const struct pg *c) { return pg_now_ms() + c->timeout_ms; }

int pg_init(struct pg *c, enum pg_role role, const struct store_options *o)
{
	*c = (struct pg){ .role = role, .timeout_ms = o->timeout_ms > 0 ? o->timeout_ms : DEFAULT_TIMEOUT_MS };
	c->url = strndup(o->url.p, o->url.n);
	c->application = strdup(o->application_name ? o->application_name : "outcomed");
	c->schema_arena = arena_new(16 * 1024);
	if (c->url && c->application && c->schema_arena)
		return 0;
	pg_done(c);
	return OC_NOMEM;
}

void pg_done(struct pg *c)
{
	if (c->conn)
		PQfinish(c->conn);
	c->conn = NULL;
	free(c->url);
	free(c->application);
	c->url = c->application = NULL;
	buf_done(&c->error);
	pg_params_done(&c->params);
	arena_free(c->schema_arena);
	c->schema_arena = NULL;
}

/* ---- errors ---- */

const char *pg_error(const struct pg *c) { return c->error.p && !buf_failed(&c->error) ? c->error.p : "out of memory"; }

/* One line: libpq ends its messages with a newline and may have several lines. */
void pg_set_error(struct pg *c, const char *sqlstate, const char *text)
{
	size_t n = sqlstate ? strnlen(sqlstate, sizeof c->sqlstate - 1) : 0;
	if (n)
		memmove(c->sqlstate, sqlstate, n);
	c->sqlstate[n] = '\0';
	c->duplicate = false;
	buf_clear(&c->error);
	struct slice s = slice_trim(slice_cstr(text ? text : ""));
	for (size_t i = 0; i < s.n; i++)
		buf_putc(&c->error, s.p[i] == '\n' || s.p[i] == '\t' ? ' ' : s.p[i]);
	buf_putc(&c->error, '\0');
}

static void set_result_error(struct pg *c, const PGresult *res)
{
	_cleanup_buf_ struct buf b = BUF_INIT;
	const char *state = PQresultErrorField(res, PG_DIAG_SQLSTATE);
	const char *primary = PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY);
	const char *constraint = PQresultErrorField(res, PG_DIAG_CONSTRAINT_NAME);
	const char *hint = PQresultErrorField(res, PG_DIAG_MESSAGE_HINT);

	const char *table = PQresultErrorField(res, PG_DIAG_TABLE_NAME);
	bool duplicate = state && strcmp(state, "23505") == 0 && table && strcmp(table, "livekit_call_events") == 0;

	buf_puts(&b, primary ? primary : "no message");
	if (constraint)
		buf_putf(&b, " (constraint %s)", constraint);
	if (hint)
		buf_putf(&b, ". %s", hint);
	if (state)
		buf_putf(&b, " [%s]", state);
	buf_putc(&b, '\0');
	pg_set_error(c, state ? state : "", buf_failed(&b) ? "out of memory" : b.p);
	c->duplicate = duplicate;
}

/* A prefix of SQLSTATE and what it means for a batch; the first that fits. The server's disk being full (53100) is OC_DOWN: it keeps
 * what it has, takes nothing more, and may be tried again; OC_IO is what may have damaged something. */
static const struct {
	const char *prefix;
	int error;
} error_classes[] = {
	{ "40", OC_RETRY },    { "55P03", OC_RETRY }, { "57014", OC_RETRY }, { "55006", OC_RETRY }, { "XX000", OC_RETRY },
	{ "08", OC_DOWN },     { "53", OC_DOWN },     { "57P", OC_DOWN },    { "25P03", OC_DOWN },  { "25006", OC_DOWN },
	{ "58", OC_IO },       { "XX", OC_IO },       { "F0", OC_IO },
	{ "42", OC_SCHEMA },   { "3D", OC_SCHEMA },   { "3F", OC_SCHEMA },   { "26", OC_SCHEMA },   { "0A", OC_SCHEMA },
	{ "28", OC_CONFIG },
};

int pg_error_class(const char *sqlstate)
{
	for (size_t i = 0; i < sizeof error_classes / sizeof *error_classes; i++)
		if (strncmp(sqlstate, error_classes[i].prefix, strlen(error_classes[i].prefix)) == 0)
			return error_classes[i].error;
	return OC_DATA;
}

/* ---- waiting ---- */

void pg_drop(struct pg *c)
{
	if (c->conn)
		PQfinish(c->conn);
	c->conn = NULL;
	c->unanswered = 0;
	c->schema = NULL;
	c->backoff_ms = c->backoff_ms ? c->backoff_ms * 2 : BACKOFF_FIRST_MS;
	if (c->backoff_ms > BACKOFF_LAST_MS)
		c->backoff_ms = BACKOFF_LAST_MS;
	c->retry_at_ms = pg_now_ms() + c->backoff_ms;
}

static int lost(struct pg *c, const char *why)
{
	pg_set_error(c, "08006", why ? why : PQerrorMessage(c->conn));
	pg_drop(c);
	return OC_DOWN;
}

/* 0 when the socket is ready, OC_TIMEOUT at the deadline. */
static int wait_socket(struct pg *c, short events, int64_t deadline)
{
	for (;;) {
		int64_t left = deadline - pg_now_ms();
		if (left <= 0)
			return OC_TIMEOUT;
		struct pollfd p = { .fd = PQsocket(c->conn), .events = events };
		int n = poll(&p, 1, left > INT_MAX ? INT_MAX : (int)left);
		if (n > 0)
			return 0;
		if (n < 0 && errno != EINTR)
			return OC_TIMEOUT;
	}
}

static int wait_result(struct pg *c, int64_t deadline)
{
	while (PQisBusy(c->conn)) {
		int flushing = PQflush(c->conn);
		if (flushing < 0)
			return lost(c, NULL);
		short events = (short)(POLLIN | (flushing ? POLLOUT : 0));
		if (wait_socket(c, events, deadline) < 0)
			return lost(c, "the server did not answer in time");
		if (!PQconsumeInput(c->conn))
			return lost(c, NULL);
	}
	return 0;
}

/* The next result; libpq puts a NULL between those of two statements. */
static int take(struct pg *c, int64_t deadline, PGresult **ret)
{
	for (int nulls = 0; nulls < 3; nulls++) {
		if (!c->conn)
			return OC_DOWN;
		int r = wait_result(c, deadline);
		if (r < 0)
			return r;
		PGresult *res = PQgetResult(c->conn);
		if (res) {
			*ret = res;
			return 0;
		}
	}
	return lost(c, "the server sent fewer answers than questions");
}

int pg_send(struct pg *c, enum pg_statement s, const struct pg_params *p)
{
	const char *values[PG_PARAMS_MAX];
	int lengths[PG_PARAMS_MAX], formats[PG_PARAMS_MAX];
	size_t n = p ? p->count : 0;

	if (!c->conn)
		return OC_DOWN;
	if (p && pg_params_failed(p))
		return OC_NOMEM;
	for (size_t i = 0; i < n; i++) {
		values[i] = p->null[i] ? NULL : p->value[i].p ? p->value[i].p : "";
		lengths[i] = (int)p->value[i].n;
		formats[i] = 1;
	}
	return PQsendQueryPrepared(c->conn, pg_statement_name(s), (int)n, values, lengths, formats, 1) ? 0 : lost(c, NULL);
}

int pg_send_sql(struct pg *c, const char *sql, const struct pg_params *p)
{
	const char *values[PG_PARAMS_MAX];
	int lengths[PG_PARAMS_MAX], formats[PG_PARAMS_MAX];
	size_t n = p ? p->count : 0;

	if (!c->conn)
		return OC_DOWN;
	if (p && pg_params_failed(p))
		return OC_NOMEM;
	for (size_t i = 0; i < n; i++) {
		values[i] = p->null[i] ? NULL : p->value[i].p ? p->value[i].p : "";
		lengths[i] = (int)p->value[i].n;
		formats[i] = 1;
	}
	return PQsendQueryParams(c->conn, sql, (int)n, NULL, values, lengths, formats, 1) ? 0 : lost(c, NULL);
}

int pg_sync(struct pg *c)
{
	if (!c->conn)
		return OC_DOWN;
	if (!PQpipelineSync(c->conn))
		return lost(c, NULL);
	c->unanswered++;
	return 0;
}

int pg_expect(struct pg *c, int64_t deadline, PGresult **ret)
{
	_cleanup_pg_ PGresult *res = NULL;
	int r = take(c, deadline, &res);
	if (r < 0)
		return r;
	switch (PQresultStatus(res)) {
	case PGRES_COMMAND_OK:
	case PGRES_TUPLES_OK:
		if (ret) {
			*ret = res;
			res = NULL;
		}
		return 0;
	case PGRES_FATAL_ERROR:
		set_result_error(c, res);
		r = pg_error_class(c->sqlstate);
		if (PQstatus(c->conn) == CONNECTION_BAD || (r == OC_DOWN && strncmp(c->sqlstate, "53", 2) != 0)) {
			pg_drop(c);
			return OC_DOWN;
		}
		return r;
	case PGRES_PIPELINE_ABORTED:
		return OC_CONFLICT;
	case PGRES_EMPTY_QUERY:
	case PGRES_COPY_OUT:
	case PGRES_COPY_IN:
	case PGRES_BAD_RESPONSE:
	case PGRES_NONFATAL_ERROR:
	case PGRES_COPY_BOTH:
	case PGRES_SINGLE_TUPLE:
	case PGRES_PIPELINE_SYNC:
		break;
	}
	return lost(c, "the server sent an answer that does not fit the question");
}

int pg_exec(struct pg *c, const char *sql, PGresult **ret)
{
	_cleanup_pg_ PGresult *last = NULL;
	int r = 0;

	if (!c->conn)
		return OC_DOWN;
	if (!PQsendQuery(c->conn, sql))
		return lost(c, NULL);
	for (;;) {
		int wait = wait_result(c, INT64_MAX);
		if (wait < 0)
			return wait;
		PGresult *res = PQgetResult(c->conn);
		if (!res)
			break;
		PQclear(last);
		last = res;
		if (PQresultStatus(res) == PGRES_FATAL_ERROR) {
			set_result_error(c, res);
			r = pg_error_class(c->sqlstate);
		}
	}
	if (r == 0 && ret) {
		*ret = last;
		last = NULL;
	}
	return r;
}

int pg_skip_to_sync(struct pg *c, int64_t deadline)
{
	while (c->unanswered) {
		_cleanup_pg_ PGresult *res = NULL;
		int r = take(c, deadline, &res);
		if (r < 0)
			return r;
		if (PQresultStatus(res) == PGRES_PIPELINE_SYNC) {
			c->unanswered--;
			return 0;
		}
	}
	return 0;
}

int pg_expect_sync(struct pg *c, int64_t deadline)
{
	_cleanup_pg_ PGresult *res = NULL;
	int r = take(c, deadline, &res);
	if (r < 0)
		return r;
	if (PQresultStatus(res) != PGRES_PIPELINE_SYNC || c->unanswered == 0)
		return lost(c, "the server's answers are out of step");
	c->unanswered--;
	return 0;
}

void pg_recover(struct pg *c)
{
	int64_t deadline = pg_deadline(c);
	char state[sizeof c->sqlstate];
	bool duplicate = c->duplicate;
	_cleanup_buf_ struct buf text = BUF_INIT;

	if (!c->conn)
		return;
	memcpy(state, c->sqlstate, sizeof state);
	buf_puts(&text, pg_error(c));
	buf_putc(&text, '\0');
	/* The last statements may still be without a sync. */
	int r = pg_sync(c);
	while (r == 0 && c->unanswered)
		r = pg_skip_to_sync(c, deadline);
	if (r == 0 && PQtransactionStatus(c->conn) != PQTRANS_IDLE) {
		r = pg_send_sql(c, "ROLLBACK", NULL);
		if (r == 0)
			r = pg_sync(c);
		if (r == 0)
			r = pg_expect(c, deadline, NULL);
		if (r == 0)
			r = pg_expect_sync(c, deadline);
	}
	if (r < 0 && c->conn)
		pg_drop(c);
	pg_set_error(c, state, buf_failed(&text) ? "out of memory" : text.p);
	c->duplicate = duplicate;
}

/* ---- connecting ---- */

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

static int check_url(struct pg *c)
{
	char *bad = NULL;
	PQconninfoOption *options = PQconninfoParse(c->url, &bad);
	const char *misplaced = options ? what_is_misplaced(options) : NULL;
	int r = 0;

	if (!options)
		r = refuse_url(c, bad ? bad : "out of memory");
	else if (misplaced)
		r = refuse_url(c, misplaced);
	PQconninfoFree(options);
	PQfreemem(bad);
	return r;
}

static int start_connection(struct pg *c)
{
	const char *const keywords[] = { "dbname", "client_encoding", "fallback_application_name", NULL };
	const char *const values[] = { c->url, "UTF8", c->application, NULL };
	int r = check_url(c);

	if (r < 0)
		return r;
	c->conn = PQconnectStartParams(keywords, values, 1);
	if (!c->conn)
		return OC_NOMEM;
	PQsetErrorVerbosity(c->conn, PQERRORS_VERBOSE);
	PQsetNoticeReceiver(c->conn, ignore_notice, NULL);
	return 0;
}

static int poll_connection(struct pg *c, int64_t deadline)
{
	PostgresPollingStatusType status = PGRES_POLLING_WRITING;

	while (status != PGRES_POLLING_OK) {
		if (PQstatus(c->conn) == CONNECTION_BAD || status == PGRES_POLLING_FAILED) {
			int error = is_configuration_error(PQerrorMessage(c->conn)) ? OC_CONFIG : OC_DOWN;
			pg_set_error(c, error == OC_CONFIG ? "28000" : "08001", PQerrorMessage(c->conn));
			return error;
		}
		if (wait_socket(c, status == PGRES_POLLING_READING ? POLLIN : POLLOUT, deadline) < 0) {
			pg_set_error(c, "08001", "no connection in time");
			return OC_DOWN;
		}
		status = PQconnectPoll(c->conn);
	}
	PQsetErrorVerbosity(c->conn, PQERRORS_DEFAULT);
	if (PQsetnonblocking(c->conn, 1) < 0) {
		pg_set_error(c, "08001", PQerrorMessage(c->conn));
		return OC_DOWN;
	}
	return 0;
}

static bool wanted_by(enum pg_statement s, enum pg_role role)
{
	bool reads = s == PG_STMT_READ_OUTCOMES || s == PG_STMT_READ_LIST || s == PG_STMT_READ_CALL || s == PG_STMT_READ_EVENTS ||
		     s == PG_STMT_BEGIN_READ || s == PG_STMT_PING;
	bool both = s == PG_STMT_SETTINGS || s == PG_STMT_COMMIT;
	return both || reads == (role == PG_READER);
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
			return lost(c, NULL);
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

static int enter_pipeline(struct pg *c)
{
	if (PQenterPipelineMode(c->conn))
		return 0;
	return lost(c, NULL);
}

int pg_connect_bare(struct pg *c)
{
	int r = start_connection(c);
	if (r == 0)
		r = poll_connection(c, pg_deadline(c));
	if (r < 0 && c->conn)
		pg_drop(c);
	return r;
}

int pg_connect(struct pg *c)
{
	int r = pg_connect_bare(c);
	int64_t deadline = pg_deadline(c);

	if (r == 0)
		r = enter_pipeline(c);
	if (r == 0)
		r = pg_check_version(c, deadline);
	if (r == 0)
		r = pg_read_schema(c, deadline);
	if (r == 0)
		r = prepare_statements(c, deadline);
	if (r < 0) {
		if (c->conn)
			pg_drop(c);
		return r;
	}
	c->backoff_ms = 0;
	return 0;
}

int pg_ready(struct pg *c)
{
	if (c->conn)
		return 0;
	if (c->backoff_ms && pg_now_ms() < c->retry_at_ms)
		return OC_DOWN;
	int r = pg_connect(c);
	/* A password that is being changed, a database that is being restored: it was right once. */
	return r == OC_CONFIG || r == OC_RETRY ? OC_DOWN : r;
}
