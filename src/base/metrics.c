/* The metrics table as atomics. Invariant: a series exists for every declared label value from the start and no other ever appears,
 * so memory is fixed and a scrape shows zeros instead of gaps. Any thread; metrics_label_values only before threads start.
 * A scrape that runs beside an update may see a histogram's bucket before its sum; the next scrape has both. */
#include "base/metrics.h"

#include <math.h>
#include <stdlib.h>

#define MAX_LABEL_VALUES 64
#define MAX_BUCKETS 16

enum metric_type { COUNTER, GAUGE, HISTOGRAM };

static const struct metric_info {
	const char *name;
	enum metric_type type;
	const char *help, *label;
} infos[METRIC_COUNT] = {
#define X(e, name, type, help, label) [e] = { name, type, help, label },
	METRICS(X)
#undef X
};

static const double seconds_bounds[] = { 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30 };
static const double count_bounds[] = { 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024 };

struct series {
	const char *const *label_values;
	size_t value_count; /* usable slots of `values`; 1 without a label, 0 while its values are not declared */
	const double *bounds;
	size_t bound_count;
	_Atomic int64_t values[MAX_LABEL_VALUES]; /* of a histogram: the observations in each bucket, the last one is +Inf */
	_Atomic int64_t sum_millionths;
};

struct metrics {
	struct series series[METRIC_COUNT];
};

static const char *type_name(enum metric_type t)
{
	switch (t) {
	case COUNTER: return "counter";
	case GAUGE: return "gauge";
	case HISTOGRAM: return "histogram";
	}
	return "untyped";
}

static bool ends_with(const char *z, const char *end)
{
	size_t n = strlen(z), m = strlen(end);
	return n >= m && memcmp(z + n - m, end, m) == 0;
}

struct metrics *metrics_new(void)
{
	_Static_assert(sizeof seconds_bounds / sizeof *seconds_bounds < MAX_BUCKETS, "room for +Inf");
	_Static_assert(sizeof count_bounds / sizeof *count_bounds < MAX_BUCKETS, "room for +Inf");
	struct metrics *m = calloc(1, sizeof *m);
	if (!m)
		return NULL;
	for (size_t i = 0; i < METRIC_COUNT; i++) {
		struct series *s = &m->series[i];
		if (infos[i].type == HISTOGRAM) {
			bool seconds = ends_with(infos[i].name, "_seconds");
			s->bounds = seconds ? seconds_bounds : count_bounds;
			s->bound_count = seconds ? sizeof seconds_bounds / sizeof *seconds_bounds : sizeof count_bounds / sizeof *count_bounds;
		} else if (!infos[i].label) {
			s->value_count = 1;
		}
	}
	return m;
}

void metrics_free(struct metrics *m) { free(m); }

void metrics_label_values(struct metrics *m, enum metric which, const char *const *values, size_t n)
{
	if (!m || !infos[which].label)
		return;
	m->series[which].label_values = values;
	m->series[which].value_count = n < MAX_LABEL_VALUES ? n : MAX_LABEL_VALUES;
}

void metric_add(struct metrics *m, enum metric which, size_t label_index, int64_t delta)
{
	if (m && label_index < m->series[which].value_count)
		atomic_fetch_add_explicit(&m->series[which].values[label_index], delta, memory_order_relaxed);
}

void metric_set(struct metrics *m, enum metric which, size_t label_index, int64_t value)
{
	if (m && label_index < m->series[which].value_count)
		atomic_store_explicit(&m->series[which].values[label_index], value, memory_order_relaxed);
}

void metric_observe(struct metrics *m, enum metric which, double value)
{
	if (!m || !m->series[which].bounds || !isfinite(value) || fabs(value) > 1e12)
		return;
	struct series *s = &m->series[which];
	size_t i = 0;
	while (i < s->bound_count && value > s->bounds[i])
		i++;
	atomic_fetch_add_explicit(&s->values[i], 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&s->sum_millionths, llround(value * 1e6), memory_order_relaxed);
}

int64_t metric_get(struct metrics *m, enum metric which, size_t label_index)
{
	if (!m)
		return 0;
	struct series *s = &m->series[which];
	size_t n = s->bounds ? s->bound_count + 1 : s->value_count;
	return label_index < n ? atomic_load_explicit(&s->values[label_index], memory_order_relaxed) : 0;
}

/* Format 0.0.4: a label's value escapes backslash, quote and newline; a help text backslash and newline. */
static void put_escaped(struct buf *out, const char *z, bool quoted)
{
	for (; *z; z++) {
		if (*z == '\n') {
			buf_puts(out, "\\n");
			continue;
		}
		if (*z == '\\' || (quoted && *z == '"'))
			buf_putc(out, '\\');
		buf_putc(out, *z);
	}
}

static void render_values(const struct metric_info *info, struct series *s, struct buf *out)
{
	for (size_t i = 0; i < s->value_count; i++) {
		buf_puts(out, info->name);
		if (info->label) {
			buf_putc(out, '{');
			buf_puts(out, info->label);
			buf_puts(out, "=\"");
			put_escaped(out, s->label_values[i], true);
			buf_puts(out, "\"}");
		}
		buf_putc(out, ' ');
		buf_put_int(out, atomic_load_explicit(&s->values[i], memory_order_relaxed));
		buf_putc(out, '\n');
	}
}

static void render_histogram(const struct metric_info *info, struct series *s, struct buf *out)
{
	int64_t total = 0;
	for (size_t i = 0; i <= s->bound_count; i++) {
		total += atomic_load_explicit(&s->values[i], memory_order_relaxed);
		if (i < s->bound_count)
			buf_putf(out, "%s_bucket{le=\"%g\"} %lld\n", info->name, s->bounds[i], (long long)total);
		else
			buf_putf(out, "%s_bucket{le=\"+Inf\"} %lld\n", info->name, (long long)total);
	}
	int64_t sum = atomic_load_explicit(&s->sum_millionths, memory_order_relaxed);
	int64_t magnitude = sum < 0 ? -sum : sum;
	buf_putf(out, "%s_sum %s%lld.%06lld\n%s_count %lld\n", info->name, sum < 0 ? "-" : "", (long long)(magnitude / 1000000),
		(long long)(magnitude % 1000000), info->name, (long long)total);
}

void metrics_render(struct metrics *m, struct buf *out)
{
	if (!m)
		return;
	for (size_t i = 0; i < METRIC_COUNT; i++) {
		const struct metric_info *info = &infos[i];
		buf_putf(out, "# HELP %s ", info->name);
		put_escaped(out, info->help, false);
		buf_putf(out, "\n# TYPE %s %s\n", info->name, type_name(info->type));
		if (info->type == HISTOGRAM)
			render_histogram(info, &m->series[i], out);
		else
			render_values(info, &m->series[i], out);
	}
}

void metrics_write_docs(struct buf *out)
{
	buf_puts(out, "| metric | type | label | meaning |\n|---|---|---|---|\n");
	for (size_t i = 0; i < METRIC_COUNT; i++)
		buf_putf(out, "| `%s` | %s | %s | %s |\n", infos[i].name, type_name(infos[i].type), infos[i].label ? infos[i].label : "",
			infos[i].help);
}
