/* What a commit does, call by call, and the arrays made of it. Private to postgres_commit.c and postgres_rows.c. */
#pragma once

#include "store/postgres.h"

/* What is to be done to call_logs for a call. */
struct log_work {
	struct call_row *call;
	const struct call_row *before;
	bool insert, update, claim, remove, rebind;
	bool empty;      /* a call without a row of which nothing was established: it gets none */
	bool new_tenant; /* another one, or another dispute */
	bool ours;  /* the row written is ours */
	bool clear; /* an outcome of ours was in it and may be taken back */
};

struct work {
	struct log_work *calls;
	size_t count;
	bool any_log, any_rebind;
};

/* Parameters of a statement, replacing what was in p; n calls of `w`, those that are to be inserted, or those to be updated. */
void pg_put_logs(struct pg_params *p, const struct log_work *w, size_t n, bool insert, int64_t now_ms);
/* The room SIDs of the calls that lose a row of ours, or the ids of those rows; added to what is in p. */
void pg_put_removed(struct pg_params *p, const struct log_work *w, size_t n, bool sids);
/* Gives the number of calls whose facts are to be written, of those that have a row or of those that have none; with none p is left alone. */
size_t pg_put_facts(struct pg_params *p, const struct work *w, bool exists, bool makes_ids, int64_t now_ms);
/* postgres_revisions.c: the calls whose final verdict is replaced; gives their number, with none p is left alone. Sent before the facts are. */
size_t pg_put_replaced(struct pg_params *p, const struct work *w, int64_t now_ms);
void pg_put_journal(struct pg_params *p, const struct store_changes *c);
void pg_put_binds(struct pg_params *p, const struct store_changes *c);
void pg_put_rebinds(struct pg_params *p, const struct work *w, int64_t now_ms);
