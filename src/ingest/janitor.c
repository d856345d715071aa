/* The thread of retention: a pass soon after the start, then every few hours. What fails is said and tried again with the next pass. */
#include "ingest/janitor.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"

#define FIRST_S 5
#define INTERVAL_S (6 * 3600)
#define AFTER_FAILURE_S 300
#define ARENA_BYTES 16384

enum removed { REMOVED_CALLS, REMOVED_EVENTS, REMOVED_PAYLOADS, REMOVED_COUNT };

struct janitor {
	struct retention_options o;
	struct metrics *metrics;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool stopping;
	int64_t counted[REMOVED_COUNT]; /* of this pass, in the metrics already */
};

/* False: stopping. */
static bool pause_s(struct janitor *j, int64_t seconds)
{
	struct timespec until;
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += seconds;
	pthread_mutex_lock(&j->lock);
	while (!j->stopping && pthread_cond_timedwait(&j->wake, &j->lock, &until) != ETIMEDOUT)
		;
	bool go_on = !j->stopping;
	pthread_mutex_unlock(&j->lock);
	return go_on;
}

static void count(struct janitor *j, const struct retention_totals *t)
{
	const int64_t now[REMOVED_COUNT] = { t->calls, t->gone.events, t->gone.payloads };
	for (size_t i = 0; i < REMOVED_COUNT; i++) {
		metric_add(j->metrics, METRIC_RETENTION, i, now[i] - j->counted[i]);
		j->counted[i] = now[i];
	}
}

static bool go_on(void *context, const struct retention_totals *t)
{
	struct janitor *j = context;
	count(j, t);
	return pause_s(j, 0);
}

static void refused(void *context, struct slice room_sid, struct slice why)
{
	(void)context;
	log_warn("call_not_removed", LOG_S("room_sid", room_sid), LOG_S("error", why));
}

/* When to come again, in seconds. */
static int64_t pass(struct janitor *j)
{
	_cleanup_arena_ struct arena *a = arena_new(ARENA_BYTES);
	struct retention_totals t = { .calls = 0 };
	struct slice message = SLICE_NONE;
	int64_t begun_ns = clock_mono_ns();
	memset(j->counted, 0, sizeof j->counted);
	int r = a ? retention_run(&j->o, a, &t, &message) : OC_NOMEM;
	count(j, &t);
	if (r < 0)
		log_warn("retention_failed", LOG_Z("error", oc_error_text(r)), LOG_S("detail", message), LOG_I("again_s", AFTER_FAILURE_S));
	if (t.calls || t.gone.events || t.gone.payloads)
		log_info("retention", LOG_I("calls", t.calls), LOG_I("events", t.gone.events), LOG_I("payloads", t.gone.payloads),
			 LOG_I("ms", (clock_mono_ns() - begun_ns) / 1000000));
	return r < 0 ? AFTER_FAILURE_S : INTERVAL_S;
}

static void *janitor_main(void *argument)
{
	struct janitor *j = argument;
	pthread_setname_np(pthread_self(), "janitor");
	for (int64_t next_s = FIRST_S; pause_s(j, next_s);)
		next_s = pass(j);
	return NULL;
}

static void janitor_free(struct janitor *j)
{
	pthread_cond_destroy(&j->wake);
	pthread_mutex_destroy(&j->lock);
	free(j);
}

void janitor_declare(struct metrics *m)
{
	static const char *const what[REMOVED_COUNT] = { "calls", "events", "payloads" };
	metrics_label_values(m, METRIC_RETENTION, what, REMOVED_COUNT);
}

int janitor_start(const struct retention_options *o, struct metrics *m, struct janitor **ret)
{
	pthread_condattr_t attributes;
	*ret = NULL;
	if (!o->calls_ms && !o->payloads_ms)
		return 0;
	struct janitor *j = calloc(1, sizeof *j);
	if (!j)
		return OC_NOMEM;
	j->o = *o;
	j->o.go_on = go_on;
	j->o.refused = refused;
	j->o.context = j;
	j->metrics = m;
	pthread_mutex_init(&j->lock, NULL);
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&j->wake, &attributes);
	pthread_condattr_destroy(&attributes);
	if (pthread_create(&j->thread, NULL, janitor_main, j) != 0) {
		janitor_free(j);
		return OC_NOMEM;
	}
	*ret = j;
	return 0;
}

void janitor_stop(struct janitor *j)
{
	if (!j)
		return;
	pthread_mutex_lock(&j->lock);
	j->stopping = true;
	pthread_mutex_unlock(&j->lock);
	pthread_cond_signal(&j->wake);
	pthread_join(j->thread, NULL);
	janitor_free(j);
}
