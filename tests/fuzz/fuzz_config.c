/* Configuration: the input's lines are NAME=VALUE of the environment, or words of the command line. Whatever is taken is within its bounds and is taken
 * the same a second time; whatever is refused has one line that says what to do, and no secret is ever in it. */
#include "must.h"

#include <string.h>

#include "base/config.h"
#include "http/http.h"
#include "store/store.h"

#define CANARY "S3CR3T-canary-" /* begins every secret, so that it can be searched for */
#define MOST_WORDS 16

static const unsigned commands[] = { CMD_SERVE, CMD_MIGRATE, CMD_CHECK, CMD_VERIFY, CMD_SEND, CMD_TOKEN, CMD_REPLAY, CMD_EXPLAIN };
static const struct extra_flag extra[] = { { "--yes", NULL, "yes" }, { "--body", "FILE", "a file" } };

struct setting {
	char *words[MOST_WORDS + 1];
	int count;
};

static const struct option_info *option_named(struct slice name)
{
	size_t n;
	const struct option_info *options = config_options(&n);
	for (size_t i = 0; i < n; i++)
		if (options[i].env && slice_eq_cstr(name, options[i].env))
			return &options[i];
	return NULL;
}

static void forget_environment(void)
{
	size_t n;
	const struct option_info *options = config_options(&n);
	for (size_t i = 0; i < n; i++)
		if (options[i].env)
			unsetenv(options[i].env);
}

static void take_line(struct slice line, struct arena *a, struct setting *s)
{
	struct slice name, value;
	char text[1024];
	const struct option_info *o = slice_split(line, '=', &name, &value) ? option_named(name) : NULL;
	if (o) {
		snprintf(text, sizeof text, "%s%.*s", o->secret && value.n ? CANARY : "", SLICE_FMT(value));
		must(setenv(o->env, text, 1) == 0);
	} else if (s->count < MOST_WORDS && (s->words[s->count] = arena_dup(a, line))) {
		s->count++;
	}
}

static void check_taken(const struct config *c, const struct config *again)
{
	must(c->max_body_bytes >= 0 && c->max_connections_n >= 0 && c->max_connections_per_address_n >= 0);
	must(c->request_timeout_s >= 0 && c->idle_timeout_s >= 0 && c->watch_interval_ms >= 0 && c->watch_rate_n >= 0);
	must(c->max_body_bytes == again->max_body_bytes && c->request_timeout_s == again->request_timeout_s && c->migrate_on == again->migrate_on);
	must(slice_eq(c->listen, again->listen) && slice_eq(c->database, again->database) && slice_eq(c->keys, again->keys));
	bool valid;
	(void)store_url_kind(c->database, &valid);
	(void)http_listen_is_local(c->listen);
}

static void check(unsigned command, struct setting *s, struct arena *a)
{
	struct config *c, *again;
	struct slice message = SLICE_NONE, message_again = SLICE_NONE;
	char **rest, **rest_again, *words[MOST_WORDS + 1];
	int rest_count, rest_count_again;
	memcpy(words, s->words, sizeof words);
	int r = config_load(command, s->count, words, extra, 2, a, &c, &rest, &rest_count, &message);
	memcpy(words, s->words, sizeof words);
	must(r == config_load(command, s->count, words, extra, 2, a, &again, &rest_again, &rest_count_again, &message_again));
	must(r == 0 || r == OC_CONFIG || r == OC_NOT_FOUND);
	must(!message.n || (!memmem(message.p, message.n, CANARY, sizeof CANARY - 1) && !memchr(message.p, '\n', message.n)));
	if (r == OC_CONFIG)
		must(message.n > 0 && slice_eq(message, message_again));
	if (r == 0) {
		must(rest_count >= 0 && rest_count <= s->count && rest_count == rest_count_again);
		check_taken(c, again);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct setting s = { .count = 0 };
	struct arena *a = arena_new(16384);
	struct slice rest = slice_of((const char *)data, size), line;
	must(a);
	forget_environment();
	bool has_nul = size && memchr(data, 0, size), has_canary = size && memmem(data, size, CANARY, sizeof CANARY - 1);
	if (size > 4096 || has_nul || has_canary) { /* environment and command line have no NUL; the canary is ours to put in */
		arena_free(a);
		return 0;
	}
	while (!slice_is_none(rest)) {
		slice_split(rest, '\n', &line, &rest);
		take_line(line, a, &s);
	}
	for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++)
		check(commands[i], &s, a);
	arena_free(a);
	return 0;
}
