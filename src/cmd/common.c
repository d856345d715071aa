/* What the subcommands share: complaints, extra flags, keys, files. Main thread only. */
#include "cmd/cmd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "wire/overrides.h"
#include "wire/routes.h"

#define ROUTES_MAX_BYTES ((size_t)1024 * 1024)
#define OVERRIDES_MAX_BYTES ROUTES_MAX_BYTES

void complain(const char *command, const char *format, ...)
{
	char text[4096];
	va_list args;
	va_start(args, format);
	vsnprintf(text, sizeof text, format, args);
	va_end(args);
	for (char *c = text; *c; c++) /* a library's message may have several lines */
		if ((unsigned char)*c < ' ' || *c == 0x7f)
			*c = ' ';
	fflush(stdout);
	if (command)
		fprintf(stderr, "outcomed %s: %s\n", command, text);
	else
		fprintf(stderr, "outcomed: %s\n", text);
}

void block_stop_signals(sigset_t *ret)
{
	struct sigaction hup;
	sigemptyset(ret);
	sigaddset(ret, SIGTERM);
	sigaddset(ret, SIGINT);
	if (sigaction(SIGHUP, NULL, &hup) == 0 && hup.sa_handler != SIG_IGN)
		sigaddset(ret, SIGHUP);
	pthread_sigmask(SIG_BLOCK, ret, NULL);
}

struct slice arena_text(struct arena *a, const char *format, ...)
{
	char *text = NULL;
	va_list args;
	va_start(args, format);
	int n = vasprintf(&text, format, args);
	va_end(args);
	if (n < 0)
		return SLICE("out of memory");
	const char *copy = arena_dup(a, slice_of(text, (size_t)n));
	free(text);
	return copy ? slice_of(copy, (size_t)n) : SLICE("out of memory");
}

const char *line_value(const struct command_line *line, const char *flag)
{
	for (size_t i = 0; i < line->command->extra_count; i++)
		if (strcmp(line->command->extra[i].flag, flag) == 0)
			return line->values[i];
	return NULL;
}

bool line_switch(const struct command_line *line, const char *flag)
{
	const char *v = line_value(line, flag);
	return v && strcmp(v, "0") != 0;
}

bool line_number(const struct command_line *line, const char *flag, int64_t least, int64_t most, int64_t def, int64_t *ret)
{
	const char *text = line_value(line, flag);
	int64_t v = def;
	if (text && (!slice_to_int64(slice_cstr(text), &v) || v < least || v > most)) {
		complain(line->command->name, "%s=%s: expected a whole number from %lld to %lld", flag, text, (long long)least,
			 (long long)most);
		return false;
	}
	*ret = v;
	return true;
}

int keyring_from_config(const struct config *c, struct arena *a, struct keyring *ret, struct slice *ret_message)
{
	struct signing_key *parsed = NULL;
	size_t parsed_count = 0, count = 0;
	if (!slice_is_none(c->keys)) {
		int r = keyring_parse(c->keys, a, &parsed, &parsed_count);
		if (r == OC_NOMEM)
			return r;
		if (r || parsed_count == 0) {
			*ret_message = SLICE("LIVEKIT_KEYS is malformed: expected `key: secret` pairs, one a line or separated by commas");
			return OC_CONFIG;
		}
	}
	struct signing_key *keys = ARENA_ARRAY(a, struct signing_key, parsed_count + 2);
	if (!keys)
		return OC_NOMEM;
	if (!slice_is_none(c->api_key) && !slice_is_none(c->api_secret))
		keys[count++] = (struct signing_key){ c->api_key, c->api_secret };
	for (size_t i = 0; i < parsed_count; i++)
		keys[count++] = parsed[i];
	if (!slice_is_none(c->webhook_secret))
		keys[count++] = (struct signing_key){ SLICE_NONE, c->webhook_secret };
	if (count == 0) {
		*ret_message = SLICE("no key to check signatures with: set LIVEKIT_API_KEY and LIVEKIT_API_SECRET (the pair under webhook.api_key in "
				     "LiveKit's configuration), or LIVEKIT_KEYS, or LIVEKIT_WEBHOOK_SECRET");
		return OC_CONFIG;
	}
	*ret = (struct keyring){ .keys = keys, .count = count, .accept_hmac = c->accept_hmac_on };
	return 0;
}

struct signing_key keyring_signer(const struct config *c, const struct keyring *ring)
{
	struct signing_key key = ring->keys[0];
	if (slice_is_none(key.id))
		key.id = slice_is_none(c->api_key) ? SLICE("outcomed") : c->api_key;
	return key;
}

int tenant_keys_from_config(const struct config *c, struct arena *a, struct slice **ret, size_t *ret_count)
{
	size_t most = 1, count = 0;
	for (size_t i = 0; i < c->tenant_keys.n; i++)
		most += c->tenant_keys.p[i] == ',';
	struct slice *keys = ARENA_ARRAY(a, struct slice, most);
	if (!keys)
		return OC_NOMEM;
	struct slice left = c->tenant_keys, key;
	bool more = !slice_is_none(left);
	while (more) {
		more = slice_split(left, ',', &key, &left);
		key = slice_trim(key);
		if (!slice_is_empty(key))
			keys[count++] = key;
	}
	*ret = keys;
	*ret_count = count;
	return 0;
}

int routes_from_config(const struct config *c, struct arena *a, const struct routes **ret, struct slice *ret_message)
{
	struct slice text, message = SLICE("out of memory");
	if (slice_is_none(c->routes)) {
		*ret = NULL;
		return 0;
	}
	char *path = arena_dup(a, c->routes);
	struct routes *routes = ARENA_NEW(a, struct routes);
	if (!path || !routes)
		return OC_NOMEM;
	int r = read_file(path, ROUTES_MAX_BYTES, a, &text, &message);
	if (r == 0)
		r = routes_parse(text, a, routes, &message);
	if (r) {
		*ret_message = arena_text(a, "--routes: %.*s", SLICE_FMT(message));
		return OC_CONFIG;
	}
	*ret = routes;
	return 0;
}

int overrides_from_config(const struct config *c, struct arena *a, const struct overrides **ret, struct slice *ret_message)
{
	struct slice text, message = SLICE("out of memory");
	if (slice_is_none(c->overrides)) {
		*ret = NULL;
		return 0;
	}
	char *path = arena_dup(a, c->overrides);
	struct overrides *overrides = ARENA_NEW(a, struct overrides);
	if (!path || !overrides)
		return OC_NOMEM;
	int r = read_file(path, OVERRIDES_MAX_BYTES, a, &text, &message);
	if (r == 0)
		r = overrides_parse(text, a, overrides, &message);
	if (r) {
		*ret_message = arena_text(a, "--overrides: %.*s", SLICE_FMT(message));
		return OC_CONFIG;
	}
	*ret = overrides;
	return 0;
}

static int read_fd(int fd, const char *path, size_t most_bytes, struct arena *a, struct slice *ret, struct slice *ret_message)
{
	_cleanup_buf_ struct buf b = BUF_INIT;
	for (;;) {
		if (!buf_reserve(&b, 65536))
			return OC_NOMEM;
		ssize_t n = read(fd, b.p + b.n, 65536);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			*ret_message = arena_text(a, "%s cannot be read: %m", path);
			return OC_IO;
		}
		if (n == 0)
			break;
		b.n += (size_t)n;
		if (b.n > most_bytes) {
			*ret_message = arena_text(a, "%s is larger than %zu bytes", path, most_bytes);
			return OC_IO;
		}
	}
	return arena_copy(a, buf_slice(&b), ret) ? 0 : OC_NOMEM;
}

int read_file(const char *path, size_t most_bytes, struct arena *a, struct slice *ret, struct slice *ret_message)
{
	if (strcmp(path, "-") == 0)
		return read_fd(STDIN_FILENO, "standard input", most_bytes, a, ret, ret_message);
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (fd < 0) {
		*ret_message = arena_text(a, "%s cannot be opened: %m", path);
		return OC_IO;
	}
	int r = read_fd(fd, path, most_bytes, a, ret, ret_message);
	close(fd);
	return r;
}
