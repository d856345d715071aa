/* What the service manager gives and is told (sd_listen_fds(3), sd_notify(3)): the listening socket, readiness, status, the watchdog. Without a
 * service manager nothing happens. Private to cmd/serve.c. */
#pragma once

#include "base/arena.h"
#include "base/error.h"

/* The socket that was passed; 0 = none. OC_CONFIG with a message where several were: outcomed listens on one. */
OC_NODISCARD int service_inherited_socket(int *ret_fd, struct slice *ret_message);

struct service;

struct service_options {
	/* Where there is a watchdog: is there work that has not come a step further for so long? Then false, and it is not fed. */
	bool (*alive)(void *context, int64_t within_ms);
	/* What `systemctl status` shows; a literal. */
	const char *(*status)(void *context);
	void *context;
};

/* Says that requests are taken, then feeds the watchdog and tells what has changed, from a thread of its own. */
OC_NODISCARD int service_start(const struct service_options *o, struct service **ret);
/* Around what SIGHUP asks for. */
void service_say_reloading(void);
void service_say_reloaded(void);
void service_say_stopping(void);
void service_stop(struct service *s); /* takes NULL */
