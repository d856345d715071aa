/* Which of our tables, columns and indexes are in the database, for `outcomed check`. Reads catalogs only, on a connection of its own.
 * Any thread. */
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
