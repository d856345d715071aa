/* Which of our tables, columns and indexes are in the database, and whether its pages are whole, for `outcomed check`. On a connection of its
 * own. Any thread. */
#pragma once

#include "store/store.h"

enum schema_part_kind { SCHEMA_TABLE, SCHEMA_COLUMN, SCHEMA_INDEX };

struct schema_part {
	enum schema_part_kind kind;
	const char *table, *name; /* literals; a table's name is in both */
	bool present;
};

/* All parts that docs/ARCHITECTURE.md lists for the journal, the facts and call_logs, and the five indexes of the journal. OC_DOWN, OC_NOT_FOUND
 * (no such file) and the like with a message. */
OC_NODISCARD int store_inspect(const struct store_options *o, struct arena *a, struct schema_part **ret, size_t *ret_count,
	struct slice *ret_message);

enum store_whole {
	STORE_WHOLE,
	STORE_DAMAGED,    /* *ret_message says where first */
	STORE_WHOLE_SO_FAR, /* a large one: it was looked at for limit_ms, and no fault was found */
	STORE_NOT_ASKED,  /* PostgreSQL, which has tools of its own for that */
};

/* Reads every page and index of a SQLite database. */
OC_NODISCARD int store_look_whole(const struct store_options *o, int64_t limit_ms, struct arena *a, enum store_whole *ret, struct slice *ret_message);

/* Row-level security as this login meets it; of PostgreSQL. */
struct row_security {
	size_t tables;         /* that are under it, of those that we made */
	struct slice lacking;  /* those that are not, or not with FORCE; none = none */
	bool reads_in_role;    /* reads run as outcomed_reader */
	bool sees_nothing;     /* no policy lets this login write */
	bool passes_over;      /* a superuser, or BYPASSRLS */
	struct slice login;
	struct slice to_add;   /* statements that let reads run as outcomed_reader; none = nothing is to be added */
};
/* OC_NOT_FOUND: a store that has none, or a schema from before it. */
OC_NODISCARD int store_inspect_row_security(const struct store_options *o, struct arena *a, struct row_security *ret, struct slice *ret_message);
