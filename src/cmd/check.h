/* What the parts of `outcomed check` share. Main thread only. */
#pragma once

#include "cmd/client.h"
#include "cmd/cmd.h"

struct checking {
	const struct config *config;
	struct arena *arena;
	struct keyring keyring;  /* count 0 when no key is configured */
	size_t failed;
};

/* One line of the list. `mend` is what to do about it; "" where there is nothing to do. Texts end without a full stop. */
void check_ok(const char *item, const char *format, ...) __attribute__((format(printf, 2, 3)));
void check_skip(const char *item, const char *why);
void check_fail(struct checking *c, const char *item, struct slice what, const char *mend);

/* Its directory, what waits in it, what was set aside (check_spool.c). */
void check_spool(struct checking *c);
/* The items that need a running daemon (check_daemon.c). */
void check_daemon(struct checking *c);
/* What the watcher needs: LiveKit's API (check_livekit.c). */
void check_livekit(struct checking *c);
