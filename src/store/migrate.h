/* Migrations: numbered SQL files (sql/sqlite, sql/postgres: NNNN_name.up.sql and .down.sql), embedded at build, each
 * with its SHA-256 in table outcomed_migrations. Under a lock, transactional, idempotent; upgrade only adds; downgrade
 * removes only what upgrade added. A database migrated by a newer binary, or by files that differ, is refused (OC_SCHEMA).
 * cmd/migrate.c and `serve` call this; one thread. */
#pragma once

#include "store/store.h"

/* One line of progress or advice for the person who watches; no newline. */
typedef void (*migrate_say_fn)(void *context, const char *line);

struct migrate_status {
	int version;        /* of the database; 0 = ours is not there */
	int latest;         /* of this binary */
	bool newer;         /* the database is ahead of this binary */
	bool altered;       /* an applied file's checksum differs from ours */
	bool host_call_logs;   /* call_logs was there before us */
	bool older_module;     /* livekit_call_events was there before us */
	bool can_insert;       /* call_logs lets us insert rows; else `why_not_insert` names the columns */
	struct slice why_not_insert;
};

OC_NODISCARD int migrate_status(const struct store_options *o, struct arena *a, struct migrate_status *ret, struct slice *ret_message);
/* to_version 0 = latest. */
OC_NODISCARD int migrate_upgrade(const struct store_options *o, int to_version, migrate_say_fn say, void *context, struct arena *a, struct slice *ret_message);
OC_NODISCARD int migrate_downgrade(const struct store_options *o, migrate_say_fn say, void *context, struct arena *a, struct slice *ret_message);
