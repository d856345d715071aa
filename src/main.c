/* outcomed: finds the subcommand, reads its flags and the environment, runs it. */
#include <signal.h>
#include <stdio.h>

#include "base/log.h"
#include "base/secret.h"
#include "cmd/cmd.h"

static int print(FILE *to, struct buf *b)
{
	if (buf_failed(b)) {
		complain(NULL, "out of memory");
		return STATUS_FAILED;
	}
	fwrite(b->p, 1, b->n, to);
	return STATUS_OK;
}

static int print_usage(FILE *to)
{
	_cleanup_buf_ struct buf b = BUF_INIT;
	buf_puts(&b, "outcomed " OUTCOMED_VERSION ": one trustworthy verdict per LiveKit call\n\nUsage: outcomed SUBCOMMAND [FLAGS] [WORDS]\n\n");
	for (size_t i = 0; i < command_count; i++)
		if (!commands[i]->hidden)
			buf_putf(&b, "  %-8s %s\n", commands[i]->name, commands[i]->summary);
	buf_puts(&b, "\n`outcomed SUBCOMMAND --help` says more. `outcomed --version` prints the version.\n");
	return print(to, &b);
}

static int print_help(const struct command *c)
{
	_cleanup_buf_ struct buf b = BUF_INIT;
	command_write_help(c, &b);
	return print(stdout, &b);
}

static const struct command *find_command(const char *name)
{
	for (size_t i = 0; i < command_count; i++)
		if (strcmp(commands[i]->name, name) == 0)
			return commands[i];
	return NULL;
}

static int unknown_command(const char *name)
{
	complain(NULL, "there is no subcommand \"%.100s\": see outcomed --help", name);
	return STATUS_USAGE;
}

/* Sorts what config_load left over into values of extra flags and words. */
static int sort_rest(struct command_line *line, char **rest, int count)
{
	bool flags_end = false;
	for (int i = 0; i < count; i++) {
		struct slice name, value;
		if (flags_end || rest[i][0] != '-' || !rest[i][1]) {
			line->words[line->word_count++] = rest[i];
			continue;
		}
		if (strcmp(rest[i], "--") == 0) {
			flags_end = true;
			continue;
		}
		bool joined = slice_split(slice_cstr(rest[i]), '=', &name, &value);
		for (size_t k = 0; k < line->command->extra_count; k++) {
			const struct extra_flag *f = &line->command->extra[k];
			if (!slice_eq_cstr(name, f->flag))
				continue;
			line->values[k] = joined ? value.p : f->arg ? rest[++i] : "1";
			break;
		}
	}
	const struct command *c = line->command;
	if (line->word_count < c->least_words || (c->most_words >= 0 && line->word_count > c->most_words)) {
		complain(c->name, "expected: outcomed %s [FLAGS]%s%s; see --help", c->name, *c->words ? " " : "", c->words);
		return STATUS_USAGE;
	}
	return STATUS_OK;
}

static void set_log_level(struct slice name)
{
	static const char *const names[] = {
		[LOG_LEVEL_DEBUG] = "debug", [LOG_LEVEL_INFO] = "info", [LOG_LEVEL_WARN] = "warn", [LOG_LEVEL_ERROR] = "error",
	};
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		if (slice_eq_cstr(name, names[i]))
			log_set_level((enum log_level)i);
}

static int run(const struct command *c, int argc, char **argv)
{
	_cleanup_arena_ struct arena *a = arena_new(16384);
	struct config *config = NULL;
	char **rest = NULL;
	int count = 0;
	struct slice message = SLICE("out of memory");
	int r = a ? config_load(c->options, argc, argv, c->extra, c->extra_count, a, &config, &rest, &count, &message) : OC_NOMEM;
	if (r == OC_NOT_FOUND)
		return print_help(c);
	if (r == 0)
		r = config_hide_secrets(argc, argv);
	if (r) {
		complain(c->name, "%.*s", SLICE_FMT(message));
		return STATUS_USAGE;
	}
	set_log_level(config->log_level);
	struct command_line line = { .command = c, .config = config, .arena = a };
	line.values = ARENA_ARRAY(a, const char *, c->extra_count + 1);
	line.words = ARENA_ARRAY(a, char *, (size_t)count + 1);
	if (!line.values || !line.words) {
		complain(c->name, "out of memory");
		return STATUS_FAILED;
	}
	r = sort_rest(&line, rest, count);
	return r ? r : c->run(&line);
}

static int dispatch(int argc, char **argv)
{
	const char *name = argc > 1 ? argv[1] : NULL;
	if (!name) {
		print_usage(stderr);
		return STATUS_USAGE;
	}
	if (strcmp(name, "--version") == 0 || strcmp(name, "-V") == 0) {
		puts("outcomed " OUTCOMED_VERSION);
		return STATUS_OK;
	}
	bool help = strcmp(name, "help") == 0;
	if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || (help && argc == 2))
		return print_usage(stdout);
	const struct command *c = find_command(help ? argv[2] : name);
	if (!c)
		return unknown_command(help ? argv[2] : name);
	return help ? print_help(c) : run(c, argc - 2, argv + 2);
}

int main(int argc, char **argv)
{
	signal(SIGPIPE, SIG_IGN);
	secret_guard_process();
	int status = dispatch(argc, argv);
	if (fflush(stdout) != 0 && status == STATUS_OK)
		status = STATUS_FAILED;
	return status;
}
