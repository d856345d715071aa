/* The connection to PostgreSQL: non-blocking, in pipeline mode, every wait with a deadline.
 *
 * Invariant: `unanswered` is the number of syncs sent whose answer was not taken yet. After any failed call pg_recover brings the
 * connection back to idle or drops it; a server that does not answer in time is dropped too, so nothing hangs. A connection that had worked
 * and was cut is replaced at once; after anything else the next attempt waits 250 ms, doubling to 1 s; meanwhile pg_ready says OC_DOWN.
 * From load to commit or abort a batch has one deadline (batch_until_ms), not one for each step.
 * Threads: the one that owns the struct pg. */
#include "store/postgres.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>

#include "base/clock.h"

#define DEFAULT_TIMEOUT_MS 10000
#define BACKOFF_FIRST_MS 250
#define RECOVER_MS 200 /* a rollback may take so long after the deadline: cheaper than a new connection */
#define BACKOFF_LAST_MS 1000 /* LiveKit gives up after 15 s: every second without a try is one it cannot spare */

int64_t pg_now_ms(void) { return clock_mono_ns() / 1000000; }

int64_t pg_deadline(const struct pg *c)
{
	int64_t own = c->batch_until_ms ? c->batch_until_ms : pg_now_ms() + c->timeout_ms;
	return c->until_ms && c->until_ms < own ? c->until_ms : own;
}

int64_t pg_time_left_ms(const struct pg *c)
{
	int64_t left = pg_deadline(c) - pg_now_ms();
	return left > 0 ? left : 1;
}

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
	PQfinish(c->conn);
	PQfinish(c->attempt.conn);
	c->conn = c->attempt.conn = NULL;
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
	PQfinish(c->conn);
	PQfinish(c->attempt.conn);
	c->conn = c->attempt.conn = NULL;
	c->unanswered = 0;
	c->schema = NULL;
	if (c->proved) {
		c->proved = false;
		c->backoff_ms = 0;
		return;
	}
	c->backoff_ms = c->backoff_ms ? c->backoff_ms * 2 : BACKOFF_FIRST_MS;
	if (c->backoff_ms > BACKOFF_LAST_MS)
		c->backoff_ms = BACKOFF_LAST_MS;
	c->retry_at_ms = pg_now_ms() + c->backoff_ms;
}

int pg_lost(struct pg *c, const char *why)
{
	pg_set_error(c, "08006", why ? why : PQerrorMessage(c->conn));
	pg_drop(c);
	return OC_DOWN;
}

int pg_wait_socket(PGconn *conn, short events, int64_t deadline)
{
	for (;;) {
		int64_t left = deadline - pg_now_ms();
		if (left <= 0)
			return OC_TIMEOUT;
		struct pollfd p = { .fd = PQsocket(conn), .events = events };
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
			return pg_lost(c, NULL);
		short events = (short)(POLLIN | (flushing ? POLLOUT : 0));
		if (pg_wait_socket(c->conn, events, deadline) < 0) {
			c->proved = false;
			return pg_lost(c, "the server did not answer in time");
		}
		if (!PQconsumeInput(c->conn))
			return pg_lost(c, NULL);
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
	return pg_lost(c, "the server sent fewer answers than questions");
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
	return PQsendQueryPrepared(c->conn, pg_statement_name(s), (int)n, values, lengths, formats, 1) ? 0 : pg_lost(c, NULL);
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
	return PQsendQueryParams(c->conn, sql, (int)n, NULL, values, lengths, formats, 1) ? 0 : pg_lost(c, NULL);
}

int pg_sync(struct pg *c)
{
	if (!c->conn)
		return OC_DOWN;
	if (!PQpipelineSync(c->conn))
		return pg_lost(c, NULL);
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
	return pg_lost(c, "the server sent an answer that does not fit the question");
}

int pg_exec(struct pg *c, const char *sql, PGresult **ret)
{
	_cleanup_pg_ PGresult *last = NULL;
	int r = 0;

	if (!c->conn)
		return OC_DOWN;
	if (!PQsendQuery(c->conn, sql))
		return pg_lost(c, NULL);
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
		return pg_lost(c, "the server's answers are out of step");
	c->unanswered--;
	return 0;
}

void pg_recover(struct pg *c)
{
	int64_t least = pg_now_ms() + RECOVER_MS, deadline = pg_deadline(c) > least ? pg_deadline(c) : least;
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
