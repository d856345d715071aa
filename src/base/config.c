/* Configuration from flags, environment, files and defaults, all by the one table in config.h.
 *
 * Each option is looked up in this order, the first that speaks wins: its flag; NAME in the environment; the file
 * that NAME_FILE names, or the file NAME in systemd's $CREDENTIALS_DIRECTORY, for what is or may hold a secret; the default. An empty
 * environment variable counts as not set. Only the options of the subcommand at hand are looked at, so that a bad
 * value for one subcommand is no obstacle to another.
 * Runs once, on the main thread, before any other is started (getenv). A secret's value never gets into a message. */
#include "base/config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/secret.h"

#define SECRET_FILE_MAX_BYTES 65536
#define DAY_MS 86400000

static const struct option_info options[] = {
#define X(field, flag, env, arg, type, def, secret, cmds, help) { #field, flag, env, arg, def, help, type, secret, cmds },
	OPTIONS(X)
#undef X
};
#define OPTION_COUNT (sizeof options / sizeof options[0])

static const size_t field_offsets[] = {
#define X(field, flag, env, arg, type, def, secret, cmds, help) offsetof(struct config, field),
	OPTIONS(X)
#undef X
};

enum option_index {
#define X(field, flag, env, arg, type, def, secret, cmds, help) INDEX_##field,
	OPTIONS(X)
#undef X
};

/* Numbers: where the parsed value goes and what is allowed. */
static const struct {
	enum option_index option;
	size_t offset;
	int64_t least, most;
} numbers[] = {
	{ INDEX_max_body, offsetof(struct config, max_body_bytes), 1024, (int64_t)1 << 30 },
	{ INDEX_max_connections, offsetof(struct config, max_connections_n), 1, 100000 },
	{ INDEX_max_connections_per_address, offsetof(struct config, max_connections_per_address_n), 1, 100000 },
	{ INDEX_max_connections_unauthenticated, offsetof(struct config, max_connections_unauthenticated_n), 1, 100000 },
	{ INDEX_stall_timeout, offsetof(struct config, stall_timeout_s), 1, 3600 },
	{ INDEX_request_timeout, offsetof(struct config, request_timeout_s), 1, 3600 },
	{ INDEX_idle_timeout, offsetof(struct config, idle_timeout_s), 1, 86400 },
	{ INDEX_watch_interval, offsetof(struct config, watch_interval_ms), 100, 60000 },
	{ INDEX_spool_limit, offsetof(struct config, spool_limit_bytes), 1 << 20, (int64_t)1 << 50 },
	{ INDEX_commit_deadline, offsetof(struct config, commit_deadline_ms), 50, 60000 },
	{ INDEX_watch_rate, offsetof(struct config, watch_rate_n), 1, 1000 },
	{ INDEX_retention, offsetof(struct config, retention_ms), DAY_MS, INT64_MAX },
	{ INDEX_keep_payloads, offsetof(struct config, keep_payloads_ms), DAY_MS, INT64_MAX },
};

static const struct {
	enum option_index option;
	size_t offset;
} switches[] = {
	{ INDEX_accept_hmac, offsetof(struct config, accept_hmac_on) },
	{ INDEX_migrate, offsetof(struct config, migrate_on) },
};

enum origin { ORIGIN_NONE, ORIGIN_FLAG, ORIGIN_ENV, ORIGIN_FILE };

struct loading {
	unsigned command;
	const struct extra_flag *extra;
	size_t extra_count;
	struct arena *a;
	struct config *c;
	enum origin origins[OPTION_COUNT];
	struct slice message;
};

const struct option_info *config_options(size_t *ret_count)
{
	*ret_count = OPTION_COUNT;
	return options;
}

static struct slice *field_of(struct config *c, size_t i)
{
	return (struct slice *)(void *)((char *)c + field_offsets[i]);
}

__attribute__((format(printf, 2, 3))) static int fail(struct loading *l, const char *format, ...)
{
	char text[1024];
	va_list args;
	va_start(args, format);
	int n = vsnprintf(text, sizeof text, format, args);
	va_end(args);
	const char *copy = n < 0 ? NULL : arena_dup(l->a, slice_cstr(text));
	if (!copy)
		return OC_NOMEM;
	l->message = slice_cstr(copy);
	return OC_CONFIG;
}

/* ---- flags ---- */

static size_t smallest(size_t a, size_t b, size_t c)
{
	size_t least = a < b ? a : b;
	return least < c ? least : c;
}

/* Levenshtein's distance; names longer than 63 bytes are far from everything. */
static size_t distance(struct slice a, struct slice b)
{
	size_t row[64];
	if (a.n >= 64 || b.n >= 64)
		return 64;
	for (size_t j = 0; j <= b.n; j++)
		row[j] = j;
	for (size_t i = 1; i <= a.n; i++) {
		size_t diagonal = row[0];
		row[0] = i;
		for (size_t j = 1; j <= b.n; j++) {
			size_t above = row[j];
			row[j] = smallest(above + 1, row[j - 1] + 1, diagonal + (a.p[i - 1] != b.p[j - 1]));
			diagonal = above;
		}
	}
	return row[b.n];
}

static void consider(struct slice name, const char *flag, const char **best, size_t *best_distance)
{
	size_t d = distance(name, slice_cstr(flag));
	bool begins = name.n >= 4 && slice_starts_with(slice_cstr(flag), name);
	if (begins && d > 1)
		d = 1;
	if (d < *best_distance) {
		*best = flag;
		*best_distance = d;
	}
}

static bool same_but_for_dashes(struct slice flag, const char *field)
{
	size_t n = strlen(field);
	if (flag.n < n)
		return false;
	const char *tail = flag.p + flag.n - n;
	for (size_t i = 0; i < n; i++)
		if (tail[i] != (field[i] == '_' ? '-' : field[i]))
			return false;
	return tail[-1] == '-';
}

static int unknown_flag(struct loading *l, struct slice name)
{
	for (size_t i = 0; i < OPTION_COUNT; i++)
		if (options[i].secret == 1 && name.n > 2 && same_but_for_dashes(slice_of(name.p + 1, name.n - 1), options[i].field))
			return fail(l, "secrets are not taken from the command line, where others can read them: set %s or %s_FILE",
				    options[i].env, options[i].env);
	const char *best = NULL;
	size_t best_distance = 4;
	for (size_t i = 0; i < OPTION_COUNT; i++)
		if (options[i].flag && (options[i].commands & l->command))
			consider(name, options[i].flag, &best, &best_distance);
	for (size_t i = 0; i < l->extra_count; i++)
		consider(name, l->extra[i].flag, &best, &best_distance);
	int shown = name.n > 100 ? 100 : (int)name.n;
	if (best)
		return fail(l, "unknown flag %.*s: did you mean %s?", shown, name.p, best);
	return fail(l, "unknown flag %.*s: see --help", shown, name.p);
}

static const struct extra_flag *find_extra(const struct loading *l, struct slice name)
{
	for (size_t i = 0; i < l->extra_count; i++)
		if (slice_eq_cstr(name, l->extra[i].flag))
			return &l->extra[i];
	return NULL;
}

static bool find_option(const struct loading *l, struct slice name, size_t *ret)
{
	for (size_t i = 0; i < OPTION_COUNT; i++)
		if (options[i].flag && (options[i].commands & l->command) && slice_eq_cstr(name, options[i].flag)) {
			*ret = i;
			return true;
		}
	return false;
}

/* The value of the flag argv[*i]: after its '=', or the next word, which *i is then moved to. */
static int flag_value(struct loading *l, int argc, char **argv, int *i, const char *arg, struct slice *ret)
{
	struct slice name, value;
	if (slice_split(slice_cstr(argv[*i]), '=', &name, &value)) {
		if (slice_is_empty(value))
			return fail(l, "%.*s needs a value: %s", SLICE_FMT(name), arg ? arg : "0|1");
	} else if (!arg) {
		value = SLICE("1");
	} else {
		if (*i + 1 >= argc || !argv[*i + 1][0] || strncmp(argv[*i + 1], "--", 2) == 0)
			return fail(l, "%.*s needs a value: %s", SLICE_FMT(name), arg);
		value = slice_cstr(argv[++*i]);
	}
	*ret = value;
	return 0;
}

static int load_flag(struct loading *l, int argc, char **argv, int *i, char **rest, int *rest_count)
{
	struct slice name, value;
	size_t option;
	int first = *i;
	slice_split(slice_cstr(argv[first]), '=', &name, &value);
	const struct extra_flag *extra = find_extra(l, name);
	if (extra) {
		int r = flag_value(l, argc, argv, i, extra->arg, &value);
		for (int k = first; r == 0 && k <= *i; k++)
			rest[(*rest_count)++] = argv[k];
		return r;
	}
	if (!find_option(l, name, &option))
		return unknown_flag(l, name);
	bool is_switch = options[option].type == OPTION_SWITCH;
	int r = flag_value(l, argc, argv, i, is_switch ? NULL : options[option].arg, &value);
	if (r)
		return r;
	*field_of(l->c, option) = value;
	l->origins[option] = ORIGIN_FLAG;
	return options[option].secret ? secret_keep(value, field_of(l->c, option)) : 0;
}

static bool is_help(const char *word) { return strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0; }

static int load_flags(struct loading *l, int argc, char **argv, char **rest, int *ret_count)
{
	int count = 0;
	for (int i = 0; i < argc; i++) {
		if (strcmp(argv[i], "--") == 0) {
			while (i < argc)
				rest[count++] = argv[i++];
			break;
		}
		if (is_help(argv[i]))
			return OC_NOT_FOUND;
		if (argv[i][0] != '-' || !argv[i][1]) {
			rest[count++] = argv[i];
			continue;
		}
		int r = load_flag(l, argc, argv, &i, rest, &count);
		if (r)
			return r;
	}
	*ret_count = count;
	return 0;
}

/* ---- environment and secret files ---- */

static int read_all(struct loading *l, int fd, const char *path, struct slice *ret)
{
	char *bytes = arena_alloc(l->a, SECRET_FILE_MAX_BYTES + 1);
	size_t n = 0;
	if (!bytes)
		return OC_NOMEM;
	while (n <= SECRET_FILE_MAX_BYTES) {
		ssize_t got = read(fd, bytes + n, SECRET_FILE_MAX_BYTES + 1 - n);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return fail(l, "%s cannot be read: %m", path);
		if (got == 0)
			break;
		n += (size_t)got;
	}
	if (n > SECRET_FILE_MAX_BYTES)
		return fail(l, "%s is larger than %d bytes: that is no secret", path, SECRET_FILE_MAX_BYTES);
	while (n && (bytes[n - 1] == '\n' || bytes[n - 1] == '\r'))
		n--;
	int r = secret_keep(slice_of(bytes, n), ret);
	explicit_bzero(bytes, n);
	return r;
}

/* A secret is for its owner alone; a group may read what root has written for it. `guarded`: the directory is (systemd's credentials), and the
 * file's own mode shows an access list there. */
static int check_mode(struct loading *l, const struct stat *st, const char *path, bool guarded)
{
	if (!S_ISREG(st->st_mode))
		return 0;
	mode_t forbidden = guarded ? 007 : st->st_uid == 0 ? 037 : 077;
	if (st->st_mode & forbidden)
		return fail(l, "%s can be read or written by others than its owner: chmod 600 '%s'", path, path);
	if (!guarded && st->st_uid != 0 && st->st_uid != geteuid())
		return fail(l, "%s belongs to another user, who could change it: chown it to root or to the user that runs outcomed", path);
	return 0;
}

static int read_secret_file(struct loading *l, const char *path, bool guarded, struct slice *ret)
{
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (fd < 0)
		return fail(l, "%s cannot be opened: %m", path);
	int r = fstat(fd, &st) != 0 ? fail(l, "%s cannot be read: %m", path) : check_mode(l, &st, path, guarded);
	if (r == 0)
		r = read_all(l, fd, path, ret);
	close(fd);
	return r;
}

static int load_secret_file(struct loading *l, size_t i, const char *path, bool guarded)
{
	struct slice value = SLICE_NONE;
	int r = read_secret_file(l, path, guarded, &value);
	if (r)
		return r;
	if (slice_is_empty(value))
		return fail(l, "%s, the file of %s, is empty", path, options[i].env);
	*field_of(l->c, i) = value;
	l->origins[i] = ORIGIN_FILE;
	return 0;
}

static const char *env_text(const char *name)
{
	const char *value = getenv(name);
	return value && value[0] ? value : NULL;
}

/* A file named without a directory is one of systemd's credentials, where there are any. */
static int load_named_file(struct loading *l, size_t i, const char *file, const char *credentials)
{
	char path[4096];
	if (!credentials)
		return load_secret_file(l, i, file, false);
	int n = snprintf(path, sizeof path, "%s/%s", credentials, file);
	if (!strchr(file, '/') && n > 0 && (size_t)n < sizeof path)
		return load_secret_file(l, i, path, true);
	size_t under = strlen(credentials);
	bool guarded = strncmp(file, credentials, under) == 0 && file[under] == '/' && !strstr(file, "/../");
	return load_secret_file(l, i, file, guarded);
}

static int load_env(struct loading *l, size_t i)
{
	const char *value = env_text(options[i].env);
	char name[128], path[4096];
	snprintf(name, sizeof name, "%s_FILE", options[i].env);
	bool may_be_file = options[i].secret != 0;
	const char *file = may_be_file ? env_text(name) : NULL, *credentials = may_be_file ? env_text("CREDENTIALS_DIRECTORY") : NULL;
	if (value && file)
		return fail(l, "%s and %s are both set: keep one of them", options[i].env, name);
	if (value) {
		l->origins[i] = ORIGIN_ENV;
		*field_of(l->c, i) = slice_cstr(value);
		return may_be_file ? secret_keep(slice_cstr(value), field_of(l->c, i)) : 0;
	}
	if (file)
		return load_named_file(l, i, file, credentials);
	if (!credentials)
		return 0;
	int n = snprintf(path, sizeof path, "%s/%s", credentials, options[i].env);
	if (n < 0 || (size_t)n >= sizeof path || access(path, F_OK) != 0)
		return 0;
	return load_secret_file(l, i, path, true);
}

int config_hide_secrets(int argc, char **argv)
{
	int r = 0;
	for (size_t i = 0; i < OPTION_COUNT && r == 0; i++)
		if (options[i].secret)
			r = secret_hide_environment(options[i].env, false);
	if (r == 0)
		r = secret_hide_environment("PGPASSWORD", true); /* libpq looks for it whenever it connects */
	for (int i = 0; i < argc; i++)
		secret_hide_url(argv[i]);
	return r;
}

/* ---- values ---- */

static const char *name_of(const struct loading *l, size_t i)
{
	return l->origins[i] == ORIGIN_FLAG ? options[i].flag : options[i].env;
}

static int bad_value(struct loading *l, size_t i, const char *expected)
{
	struct slice value = *field_of(l->c, i);
	if (options[i].secret)
		return fail(l, "%s: %s", name_of(l, i), expected);
	int shown = value.n > 100 ? 100 : (int)value.n;
	return fail(l, "%s=%.*s: %s", name_of(l, i), shown, value.p, expected);
}

/* 8388608, 8M, 8MiB; K, M and G are powers of 1024 in either case. */
static bool parse_bytes(struct slice s, int64_t *ret)
{
	static const struct {
		const char *suffix;
		unsigned shift;
	} units[] = { { "KiB", 10 }, { "MiB", 20 }, { "GiB", 30 }, { "K", 10 }, { "M", 20 }, { "G", 30 } };
	unsigned shift = 0;
	for (size_t i = 0; i < sizeof units / sizeof units[0] && !shift; i++) {
		size_t n = strlen(units[i].suffix);
		if (s.n > n && slice_eq_nocase(slice_of(s.p + s.n - n, n), slice_cstr(units[i].suffix))) {
			shift = units[i].shift;
			s.n -= n;
		}
	}
	int64_t v;
	if (!slice_to_int64(s, &v) || v < 0 || v > (INT64_MAX >> shift))
		return false;
	*ret = v << shift;
	return true;
}

static bool parse_switch(struct slice s, bool *ret)
{
	static const char *const on[] = { "1", "true", "yes", "on" }, *const off[] = { "0", "false", "no", "off" };
	for (size_t i = 0; i < sizeof on / sizeof on[0]; i++) {
		bool is_on = slice_eq_nocase(s, slice_cstr(on[i]));
		if (is_on || slice_eq_nocase(s, slice_cstr(off[i]))) {
			*ret = is_on;
			return true;
		}
	}
	return false;
}

static bool parse_number(enum option_type type, struct slice s, int64_t *ret)
{
	switch (type) {
	case OPTION_BYTES: return parse_bytes(s, ret);
	case OPTION_SPAN: return slice_to_span_ms(s, ret);
	case OPTION_TEXT:
	case OPTION_INT:
	case OPTION_SWITCH: return slice_to_int64(s, ret);
	}
	return false;
}

static int bad_number(struct loading *l, size_t i, int64_t least, int64_t most)
{
	char expected[128];
	if (options[i].type == OPTION_SPAN)
		return bad_value(l, i, "expected a span of a day or more, such as 90d or 36h");
	if (options[i].type == OPTION_BYTES)
		snprintf(expected, sizeof expected, "expected bytes from %lld to %lld, such as 8388608, 8M or 8MiB", (long long)least, (long long)most);
	else
		snprintf(expected, sizeof expected, "expected a whole number from %lld to %lld", (long long)least, (long long)most);
	return bad_value(l, i, expected);
}

static int parse_numbers(struct loading *l)
{
	for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
		size_t o = numbers[i].option;
		if (slice_is_none(*field_of(l->c, o)))
			continue;
		int64_t v;
		if (!parse_number(options[o].type, *field_of(l->c, o), &v) || v < numbers[i].least || v > numbers[i].most)
			return bad_number(l, o, numbers[i].least, numbers[i].most);
		memcpy((char *)l->c + numbers[i].offset, &v, sizeof v);
	}
	return 0;
}

static int parse_switches(struct loading *l)
{
	for (size_t i = 0; i < sizeof switches / sizeof switches[0]; i++) {
		struct slice text = *field_of(l->c, switches[i].option);
		bool on = false;
		if (!slice_is_none(text) && !parse_switch(text, &on))
			return bad_value(l, switches[i].option, "expected 0 or 1");
		memcpy((char *)l->c + switches[i].offset, &on, sizeof on);
	}
	return 0;
}

static bool is_visible_ascii(struct slice s)
{
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] <= ' ' || s.p[i] > '~')
			return false;
	return true;
}

static bool is_long_enough(struct slice s) { return s.n >= 32; }

/* Secrets of which there may be several, one a line. */
static bool every_line(struct slice text, bool (*holds)(struct slice line))
{
	while (!slice_is_none(text)) {
		struct slice line;
		slice_split(text, '\n', &line, &text);
		while (line.n && line.p[line.n - 1] == '\r')
			line.n--;
		if (line.n && !holds(line))
			return false;
	}
	return true;
}

/* unix:PATH, ADDR:PORT, [V6]:PORT. Whether the address exists is for the one who listens. */
static bool is_listen(struct slice s)
{
	const char *colon = memrchr(s.p, ':', s.n);
	int64_t port;
	if (slice_starts_with(s, SLICE("unix:")))
		return s.n > 5;
	if (!colon || colon == s.p || !slice_to_int64(slice_of(colon + 1, (size_t)(s.p + s.n - colon - 1)), &port))
		return false;
	return colon[1] >= '0' && colon[1] <= '9' && port <= 65535;
}

static int check_log_level(struct loading *l)
{
	static const char *const levels[] = { "debug", "info", "warn", "error" };
	bool level_known = slice_is_none(l->c->log_level);
	for (size_t i = 0; i < sizeof levels / sizeof levels[0]; i++)
		level_known = level_known || slice_eq_cstr(l->c->log_level, levels[i]);
	if (!level_known)
		return bad_value(l, INDEX_log_level, "expected debug, info, warn or error");
	return 0;
}

static int check_texts(struct loading *l)
{
	for (size_t i = 0; i < OPTION_COUNT; i++) {
		struct slice v = *field_of(l->c, i);
		if (!slice_is_none(v) && memchr(v.p, 0, v.n))
			return fail(l, "%s has a NUL byte in it", name_of(l, i));
	}
	if ((l->command & (CMD_SERVE | CMD_CHECK)) && !is_listen(l->c->listen))
		return bad_value(l, INDEX_listen, "expected ADDR:PORT, such as 127.0.0.1:5000 or [::1]:5000, or unix:PATH");
	if (!every_line(l->c->service_token, is_visible_ascii))
		return bad_value(l, INDEX_service_token, "a bearer token has visible ASCII characters and no spaces; make one with: openssl rand -hex 32");
	if (!every_line(l->c->tenant_secret, is_long_enough))
		return bad_value(l, INDEX_tenant_secret, "an HS256 key needs at least 32 bytes; make one with: openssl rand -hex 32");
	if ((l->command & CMD_SIGNATURES) && slice_is_none(l->c->api_key) != slice_is_none(l->c->api_secret))
		return fail(l, "LIVEKIT_API_KEY and LIVEKIT_API_SECRET go together: %s is not set",
			    slice_is_none(l->c->api_key) ? "LIVEKIT_API_KEY" : "LIVEKIT_API_SECRET");
	return 0;
}

static int load_values(struct loading *l)
{
	for (size_t i = 0; i < OPTION_COUNT; i++) {
		bool ours = (options[i].commands & l->command) != 0;
		int r = ours && l->origins[i] == ORIGIN_NONE && options[i].env ? load_env(l, i) : 0;
		if (r)
			return r;
		if (l->origins[i] == ORIGIN_NONE)
			*field_of(l->c, i) = slice_cstr(options[i].def);
	}
	int r = parse_numbers(l);
	if (!r)
		r = parse_switches(l);
	if (!r)
		r = check_log_level(l);
	return r ? r : check_texts(l);
}

int config_load(unsigned command, int argc, char **argv, const struct extra_flag *extra, size_t extra_count, struct arena *a,
		struct config **ret, char ***ret_rest, int *ret_rest_count, struct slice *ret_message)
{
	int count = 0;
	struct loading l = { .command = command, .extra = extra, .extra_count = extra_count, .a = a, .message = SLICE("") };
	l.c = ARENA_NEW(a, struct config);
	char **rest = ARENA_ARRAY(a, char *, (size_t)argc + 1);
	if (!l.c || !rest)
		return OC_NOMEM;
	l.c->arena = a;
	int r = load_flags(&l, argc, argv, rest, &count);
	if (!r)
		r = load_values(&l);
	if (r == OC_CONFIG || r == OC_NOT_FOUND)
		*ret_message = l.message;
	if (r)
		return r;
	*ret = l.c;
	*ret_rest = rest;
	*ret_rest_count = count;
	return 0;
}
