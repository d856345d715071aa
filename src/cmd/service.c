/* The service manager's side of serve: sockets that it holds over restarts, readiness, status, and the watchdog.
 *
 * The thread that feeds does nothing else, so that whatever the main thread waits for (a migration, a signal) is no reason to be restarted. It asks
 * four times a watchdog's time; what makes no progress for half of that time is hung, is not fed for any more, and the manager ends the process. */
#include "cmd/service.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <systemd/sd-daemon.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"

#define STATUS_INTERVAL_MS 1000

struct service {
	struct service_options o;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool stopping;
	int64_t limit_ms; /* 0: no watchdog */
	bool hung;
	const char *status;
};

int service_inherited_socket(int *ret_fd, struct slice *ret_message)
{
	int n = sd_listen_fds(1);
	if (n > 1) {
		*ret_message = SLICE("several sockets were passed (LISTEN_FDS), but outcomed listens on one: keep one ListenStream= in the socket unit");
		return OC_CONFIG;
	}
	*ret_fd = n == 1 ? SD_LISTEN_FDS_START : 0;
	return 0;
}

void service_say_reloading(void)
{
	(void)sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%lld", (long long)(clock_mono_ns() / 1000));
}

void service_say_reloaded(void) { (void)sd_notify(0, "READY=1"); }

void service_say_stopping(void) { (void)sd_notify(0, "STOPPING=1\nSTATUS=Finishing what was accepted"); }

static void feed(struct service *s)
{
	bool alive = s->o.alive(s->o.context, s->limit_ms);
	if (alive)
		(void)sd_notify(0, "WATCHDOG=1");
	else if (!s->hung)
		log_error("writer_hung", LOG_I("no_progress_ms", s->limit_ms), LOG_Z("next", "the service manager ends this process"));
	s->hung = !alive;
}

static void tell_status(struct service *s)
{
	const char *status = s->o.status(s->o.context);
	if (status != s->status)
		(void)sd_notifyf(0, "STATUS=%s", status);
	s->status = status;
}

/* False: stopping. */
static bool pause_until(struct service *s, const struct timespec *until)
{
	pthread_mutex_lock(&s->lock);
	while (!s->stopping && pthread_cond_timedwait(&s->wake, &s->lock, until) != ETIMEDOUT)
		;
	bool go_on = !s->stopping;
	pthread_mutex_unlock(&s->lock);
	return go_on;
}

static void *service_main(void *argument)
{
	struct service *s = argument;
	struct timespec at;
	int64_t interval_ms = s->limit_ms && s->limit_ms / 2 < STATUS_INTERVAL_MS ? s->limit_ms / 2 : STATUS_INTERVAL_MS;
	clock_gettime(CLOCK_MONOTONIC, &at);
	do {
		if (s->limit_ms)
			feed(s);
		tell_status(s);
		int64_t ns = at.tv_nsec + interval_ms * 1000000;
		at.tv_sec += ns / 1000000000;
		at.tv_nsec = ns % 1000000000;
	} while (pause_until(s, &at));
	return NULL;
}

static struct service *service_new(const struct service_options *o, uint64_t watchdog_us)
{
	pthread_condattr_t attributes;
	struct service *s = calloc(1, sizeof *s);
	if (!s)
		return NULL;
	s->o = *o;
	s->limit_ms = (int64_t)(watchdog_us / 2000);
	pthread_mutex_init(&s->lock, NULL);
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&s->wake, &attributes);
	pthread_condattr_destroy(&attributes);
	return s;
}

static void service_free(struct service *s)
{
	pthread_cond_destroy(&s->wake);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

int service_start(const struct service_options *o, struct service **ret)
{
	uint64_t watchdog_us = 0;
	*ret = NULL;
	if (sd_watchdog_enabled(0, &watchdog_us) <= 0)
		watchdog_us = 0;
	if (sd_notify(0, "READY=1") <= 0) /* there is nobody to tell */
		return 0;
	struct service *s = service_new(o, watchdog_us);
	if (!s)
		return OC_NOMEM;
	if (pthread_create(&s->thread, NULL, service_main, s) != 0) {
		service_free(s);
		return OC_NOMEM;
	}
	*ret = s;
	return 0;
}

void service_stop(struct service *s)
{
	if (!s)
		return;
	pthread_mutex_lock(&s->lock);
	s->stopping = true;
	pthread_mutex_unlock(&s->lock);
	pthread_cond_signal(&s->wake);
	pthread_join(s->thread, NULL);
	service_free(s);
}
