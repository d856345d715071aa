/* The subcommands and what they share. Private to main.c and src/cmd; all of it runs on the main thread. */
#pragma once

#include <signal.h>

#include "base/config.h"
#include "core/override.h"
#include "core/tenant.h"
#include "wire/signature.h"

/* Exit codes; 3 is of `migrate status`, or of `replay` that left calls alone. */
enum { STATUS_OK = 0, STATUS_FAILED = 1, STATUS_USAGE = 2, STATUS_OUTDATED = 3, STATUS_LEFT_ALONE = 3 };

struct command_line;

struct command {
	const char *name;    /* as typed */
	const char *words;   /* what follows the flags, for the usage line; may be "" */
	const char *summary; /* one line */
	const char *details; /* paragraphs for --help and the manual page, exit codes among them */
	unsigned options;    /* its bit in config.h's table; 0 = none of them */
	const struct extra_flag *extra;
	size_t extra_count;
	int least_words, most_words; /* most < 0: any number */
	bool hidden;         /* not in the list of subcommands */
	int (*run)(const struct command_line *line);
};

extern const struct command command_serve, command_migrate, command_check, command_verify, command_send, command_token, command_docs, command_replay,
	command_explain, command_prune, command_erase, command_spool;
extern const struct command *const commands[];
extern const size_t command_count;

/* A command line after it was read. */
struct command_line {
	const struct command *command;
	const struct config *config;
	const char **values; /* parallel to command->extra; NULL = not given, "1" for a switch */
	char **words;
	int word_count;
	struct arena *arena;
};

/* Usage, details, flags: what `outcomed NAME --help` prints. */
void command_write_help(const struct command *c, struct buf *out);
/* The manual page, made from the tables. */
void command_write_manual(struct buf *out);

/* The value of an extra flag, or NULL. The flag must be in the command's table. */
const char *line_value(const struct command_line *line, const char *flag);
/* A switch: given, and not as --flag=0. */
bool line_switch(const struct command_line *line, const char *flag);
/* The same as a number in [least, most]; `def` when not given. False after it said on stderr what is wrong. */
bool line_number(const struct command_line *line, const char *flag, int64_t least, int64_t most, int64_t def, int64_t *ret);

/* For commands that end between two steps: SIGINT, SIGTERM and SIGHUP wait in *ret to be taken (SIGHUP unless nohup had it ignored). */
void block_stop_signals(sigset_t *ret);

/* One line on stderr, "outcomed NAME: …", for a person: what went wrong and what to do. Never a secret. */
void complain(const char *command, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* All that LIVEKIT_WEBHOOK_SECRET, LIVEKIT_API_KEY/SECRET and LIVEKIT_KEYS name. OC_CONFIG with a message when LIVEKIT_KEYS is malformed, or
 * when there is no secret at all. */
OC_NODISCARD int keyring_from_config(const struct config *c, struct arena *a, struct keyring *ret, struct slice *ret_message);
/* The key that `send` and `check` sign with: the API key's pair, the first of LIVEKIT_KEYS, the webhook secret (under iss "outcomed"). */
struct signing_key keyring_signer(const struct config *c, const struct keyring *ring);

/* A tenant's JWT: sub, iat, exp, and iss and aud where the configuration wants them. `secret` none: the first that is configured. OC_CONFIG: there
 * is none. */
OC_NODISCARD int tenant_token(const struct config *c, struct slice tenant, int64_t now_s, int64_t ttl_s, struct slice secret, struct arena *a,
	struct slice *ret);

/* The file of --routes; NULL where none is named. OC_CONFIG with a message. */
OC_NODISCARD int routes_from_config(const struct config *c, struct arena *a, const struct routes **ret, struct slice *ret_message);

/* The file of --overrides; NULL where none is named. OC_CONFIG with a message. */
OC_NODISCARD int overrides_from_config(const struct config *c, struct arena *a, const struct overrides **ret, struct slice *ret_message);

/* --tenant-keys, split at commas. */
OC_NODISCARD int tenant_keys_from_config(const struct config *c, struct arena *a, struct slice **ret, size_t *ret_count);

/* A whole file, "-" for stdin. OC_IO with a message. */
OC_NODISCARD int read_file(const char *path, size_t most_bytes, struct arena *a, struct slice *ret, struct slice *ret_message);

/* printf into the arena; SLICE("out of memory") when there is none left. */
struct slice arena_text(struct arena *a, const char *format, ...) __attribute__((format(printf, 2, 3)));
