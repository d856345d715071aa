/* How a transaction begins, and one that holds a single statement. Threads: the one that owns the struct pg. */
#include "store/postgres.h"

int pg_send_begin(struct pg *c)
{
	struct pg_params *p = &c->params;
	bool reads = c->role == PG_READER;
	int r = pg_send(c, reads ? PG_STMT_BEGIN_READ : PG_STMT_BEGIN, NULL);
	pg_params_clear(p);
	pg_param_int8(p, pg_time_left_ms(c));
	if (reads)
		pg_param_text(p, slice_is_none(c->tenant) ? SLICE("") : c->tenant);
	return r < 0 ? r : pg_send(c, reads ? PG_STMT_READ_SETTINGS : PG_STMT_SETTINGS, p);
}

/* A newer node upgraded the schema: what we would write into it now may not be what it means any more. */
static int check_still_ours(struct pg *c, const PGresult *settings)
{
	if (c->role == PG_READER || pg_get_int8(settings, 0, 0) <= (int64_t)postgres_migration_count)
		return 0;
	pg_set_error(c, "42P01", "the schema was upgraded by a newer outcomed");
	return OC_SCHEMA;
}

int pg_expect_begin(struct pg *c, int64_t deadline)
{
	_cleanup_pg_ PGresult *settings = NULL;
	int r = pg_expect(c, deadline, NULL);
	if (r == 0)
		r = pg_expect(c, deadline, &settings);
	return r < 0 ? r : check_still_ours(c, settings);
}

int pg_ask(struct pg *c, enum pg_statement statement, const struct pg_params *p, int64_t deadline, PGresult **ret)
{
	_cleanup_pg_ PGresult *res = NULL;
	int r = pg_send_begin(c);

	if (r == 0)
		r = pg_send(c, statement, p);
	if (r == 0)
		r = pg_send(c, PG_STMT_COMMIT, NULL);
	if (r == 0)
		r = pg_sync(c);
	if (r == 0)
		r = pg_expect_begin(c, deadline);
	if (r == 0)
		r = pg_expect(c, deadline, &res);
	if (r == 0)
		r = pg_expect(c, deadline, NULL);
	if (r == 0)
		r = pg_expect_sync(c, deadline);
	if (r < 0) {
		pg_recover(c);
		return r;
	}
	*ret = res;
	res = NULL;
	return 0;
}
