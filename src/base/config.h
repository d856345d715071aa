/* Configuration: one table of options makes the flags, the environment, the defaults, --help, docs/CONFIGURATION.md and the manual page.
 * Flag beats environment beats default. A secret has no flag: environment, NAME_FILE (a file that only its owner may read), or a credential of
 * systemd's. Secrets are kept in memory of their own (secret.h).
 * Parsed once at start; read-only afterwards. */
#pragma once

#include "base/arena.h"
#include "base/buf.h"
#include "base/error.h"

/* Which subcommands an option belongs to: bits. */
enum {
	CMD_SERVE = 1, CMD_MIGRATE = 2, CMD_CHECK = 4, CMD_VERIFY = 8, CMD_SEND = 16, CMD_TOKEN = 32, CMD_REPLAY = 64, CMD_EXPLAIN = 128,
	CMD_PRUNE = 256, CMD_ERASE = 512, CMD_SPOOL = 1024, CMD_ALL = 2047,
	CMD_SIGNATURES = CMD_SERVE | CMD_CHECK | CMD_VERIFY | CMD_SEND,
};

/* A secret (true) has no flag; what may hold one, a password in a URL, has. Both may come from a file. */
enum { MAY_HOLD_SECRET = 2 };

enum option_type { OPTION_TEXT, OPTION_BYTES, OPTION_INT, OPTION_SPAN, OPTION_SWITCH };

#define DEFAULT_LISTEN "127.0.0.1:5000"

/* field, flag or NULL, environment or NULL, argument's name in help, type, default or NULL, is secret, commands, help */
#define OPTIONS(X) \
	X(listen, "--listen", "OUTCOMED_LISTEN", "ADDR:PORT|unix:PATH", OPTION_TEXT, DEFAULT_LISTEN, false, CMD_SERVE | CMD_CHECK, \
	  "Where to listen. A public address needs OUTCOMED_SERVICE_TOKEN or OUTCOMED_TENANT_SECRET.") \
	X(database, "--database", "DATABASE_URL", "URL", OPTION_TEXT, "sqlite:outcomed.db", MAY_HOLD_SECRET, \
	  CMD_SERVE | CMD_MIGRATE | CMD_CHECK | CMD_REPLAY | CMD_EXPLAIN | CMD_PRUNE | CMD_ERASE, \
	  "sqlite:PATH or postgresql://…; a password is better in the environment than on the command line.") \
	X(spool, "--spool", "OUTCOMED_SPOOL", "DIR", OPTION_TEXT, "outcomed.spool", false, CMD_SERVE | CMD_CHECK | CMD_ERASE | CMD_SPOOL, \
	  "Directory in which events wait while the database cannot take them; `none`: they get 503 then.") \
	X(spool_limit, "--spool-limit", "OUTCOMED_SPOOL_LIMIT", "BYTES", OPTION_BYTES, "1GiB", false, CMD_SERVE | CMD_CHECK, \
	  "Bytes of the spool, at most; beyond it events get 503.") \
	X(commit_deadline, "--commit-deadline", "OUTCOMED_COMMIT_DEADLINE", "MILLISECONDS", OPTION_INT, "1000", false, CMD_SERVE, \
	  "What the database has not committed in that time goes to the spool.") \
	X(webhook_secret, NULL, "LIVEKIT_WEBHOOK_SECRET", "SECRET", OPTION_TEXT, NULL, true, CMD_SIGNATURES, \
	  "The secret that signs webhooks; any API key's name (iss) is taken that it verifies.") \
	X(api_key, NULL, "LIVEKIT_API_KEY", "KEY", OPTION_TEXT, NULL, false, CMD_SIGNATURES, "API key of the pair that signs webhooks.") \
	X(api_secret, NULL, "LIVEKIT_API_SECRET", "SECRET", OPTION_TEXT, NULL, true, CMD_SIGNATURES, "API secret of the pair that signs webhooks.") \
	X(keys, NULL, "LIVEKIT_KEYS", "KEY: SECRET …", OPTION_TEXT, NULL, true, CMD_SIGNATURES, \
	  "Several pairs for rotation, `key: secret`, separated by newlines or commas.") \
	X(service_token, NULL, "OUTCOMED_SERVICE_TOKEN", "TOKEN …", OPTION_TEXT, NULL, true, CMD_SERVE | CMD_CHECK, \
	  "Bearer token of your backend: reads calls and posts marks of any tenant, which it names by user_id. Several, one a line; also as " \
	  "`sha256:HEX` (`outcomed token --hash`).") \
	X(tenant_secret, NULL, "OUTCOMED_TENANT_SECRET", "SECRET …", OPTION_TEXT, NULL, true, CMD_SERVE | CMD_CHECK | CMD_TOKEN, \
	  "HS256 key of tenant JWTs (sub is the tenant, exp required), which read calls and post marks; at least 32 bytes. Several, one a line: " \
	  "all verify, the first signs.") \
	X(tenant_audience, "--tenant-audience", "OUTCOMED_TENANT_AUDIENCE", "AUD", OPTION_TEXT, NULL, false, CMD_SERVE | CMD_CHECK | CMD_TOKEN, \
	  "What aud of a tenant JWT must be, or have among others. Not set: it is not looked at.") \
	X(tenant_issuer, "--tenant-issuer", "OUTCOMED_TENANT_ISSUER", "ISS", OPTION_TEXT, NULL, false, CMD_SERVE | CMD_CHECK | CMD_TOKEN, \
	  "What iss of a tenant JWT must be. Not set: it is not looked at.") \
	X(default_user, "--default-user", "OUTCOMED_DEFAULT_USER", "ID", OPTION_TEXT, NULL, false, CMD_SERVE | CMD_CHECK | CMD_REPLAY, \
	  "Tenant of calls that nothing else assigns, once they have ended.") \
	X(tenant_keys, "--tenant-keys", "OUTCOMED_TENANT_KEYS", "NAMES", OPTION_TEXT, "user_id,userId,tenant", false, \
	  CMD_SERVE | CMD_CHECK | CMD_REPLAY | CMD_EXPLAIN, \
	  "Names looked for in room metadata and in attributes of SIP and AGENT participants, first found wins.") \
	X(routes, "--routes", "OUTCOMED_ROUTES", "FILE", OPTION_TEXT, NULL, false, CMD_SERVE | CMD_CHECK | CMD_REPLAY, \
	  "JSON file: trunk id, trunk number, room-name prefix or API key to tenant.") \
	X(overrides, "--overrides", "OUTCOMED_OVERRIDES", "FILE", OPTION_TEXT, NULL, false, CMD_SERVE | CMD_CHECK | CMD_REPLAY, \
	  "JSON file: which reasons count as another outcome, for all or for one tenant.") \
	X(livekit_url, "--livekit-url", "LIVEKIT_URL", "URL", OPTION_TEXT, NULL, false, CMD_SERVE | CMD_CHECK, \
	  "LiveKit's own address (ws, wss, http or https): the watcher asks its API what no webhook tells. Not set: no watcher.") \
	X(watch_interval, "--watch-interval", "OUTCOMED_WATCH_INTERVAL", "MILLISECONDS", OPTION_INT, "1000", false, CMD_SERVE, \
	  "Between two looks at a phone that rings: so exactly is the answer's time known.") \
	X(watch_rate, "--watch-rate", "OUTCOMED_WATCH_RATE", "N", OPTION_INT, "10", false, CMD_SERVE, "Requests a second to LiveKit's API, at most.") \
	X(max_body, "--max-body", "OUTCOMED_MAX_BODY", "BYTES", OPTION_BYTES, "8MiB", false, CMD_SERVE, "Largest request body.") \
	X(max_connections, "--max-connections", "OUTCOMED_MAX_CONNECTIONS", "N", OPTION_INT, "1000", false, CMD_SERVE, "Connections in all.") \
	X(max_connections_per_address, "--max-connections-per-address", "OUTCOMED_MAX_CONNECTIONS_PER_ADDRESS", "N", OPTION_INT, "500", false, \
	  CMD_SERVE, "Connections of one address.") \
	X(max_connections_unauthenticated, "--max-connections-unauthenticated", "OUTCOMED_MAX_CONNECTIONS_UNAUTHENTICATED", "N", OPTION_INT, NULL, false, \
	  CMD_SERVE, "Connections of all addresses together that have shown no genuine signature or token lately; not set: half of --max-connections. " \
	  "One such address has a quarter of --max-connections-per-address.") \
	X(trusted_proxy, "--trusted-proxy", "OUTCOMED_TRUSTED_PROXY", "CIDR[,CIDR]|unix", OPTION_TEXT, NULL, false, CMD_SERVE, \
	  "Proxies whose X-Forwarded-For or Forwarded is believed, for limits and the log; `unix` for whoever connects to a Unix socket.") \
	X(allowed_hosts, "--allowed-hosts", "OUTCOMED_ALLOWED_HOSTS", "NAME[,NAME]", OPTION_TEXT, NULL, false, CMD_SERVE, \
	  "Where no token is configured: names beside localhost that a Host header may have.") \
	X(tls_cert, "--tls-cert", "OUTCOMED_TLS_CERT", "FILE", OPTION_TEXT, NULL, false, CMD_SERVE | CMD_CHECK, \
	  "PEM file: the certificate and those that lead to its root. With its key: TLS 1.2 and 1.3 on --listen. Read anew on SIGHUP and every minute.") \
	X(tls_key, "--tls-key", "OUTCOMED_TLS_KEY", "FILE", OPTION_TEXT, NULL, false, CMD_SERVE, \
	  "PEM file: the certificate's key, which only its owner (or root and a group) may read.") \
	X(request_timeout, "--request-timeout", "OUTCOMED_REQUEST_TIMEOUT", "SECONDS", OPTION_INT, "10", false, CMD_SERVE, \
	  "Total time for one request, from its first byte to its answer.") \
	X(stall_timeout, "--stall-timeout", "OUTCOMED_STALL_TIMEOUT", "SECONDS", OPTION_INT, "5", false, CMD_SERVE, \
	  "Longest silence in the middle of a request.") \
	X(idle_timeout, "--idle-timeout", "OUTCOMED_IDLE_TIMEOUT", "SECONDS", OPTION_INT, "120", false, CMD_SERVE, \
	  "Idle time of a connection between requests; LiveKit keeps them for 90 s.") \
	X(retention, "--retention", "OUTCOMED_RETENTION", "SPAN", OPTION_SPAN, NULL, false, CMD_SERVE, \
	  "How long ended calls are kept, such as 90d; then all that is kept of them goes, a little at a time. Not set: for ever.") \
	X(keep_payloads, "--keep-payloads", "OUTCOMED_KEEP_PAYLOADS", "SPAN", OPTION_SPAN, NULL, false, CMD_SERVE, \
	  "How long the events of ended calls keep their payloads, such as 30d. Without them a call cannot be replayed. Not set: as long as the calls.") \
	X(accept_hmac, NULL, "OUTCOMED_ACCEPT_HMAC", "0|1", OPTION_SWITCH, "0", false, CMD_SERVE | CMD_VERIFY | CMD_CHECK | CMD_REPLAY, \
	  "Take the older module's X-LiveKit-Signature (hex HMAC-SHA256 of the body) as a second form.") \
	X(migrate, "--migrate", "OUTCOMED_MIGRATE", NULL, OPTION_SWITCH, "0", false, CMD_SERVE, "Upgrade a PostgreSQL schema at start (a SQLite file always is).") \
	X(log_level, "--log-level", "OUTCOMED_LOG_LEVEL", "debug|info|warn|error", OPTION_TEXT, "info", false, CMD_SERVE, "Least level that is logged.")

struct config {
#define X(field, flag, env, arg, type, def, secret, cmds, help) struct slice field;
	OPTIONS(X)
#undef X
	/* parsed from the texts above; 0 or false where not set */
	int64_t max_body_bytes, max_connections_n, max_connections_per_address_n, max_connections_unauthenticated_n, request_timeout_s,
		stall_timeout_s, idle_timeout_s, watch_interval_ms, watch_rate_n, retention_ms, keep_payloads_ms, spool_limit_bytes, commit_deadline_ms;
	bool accept_hmac_on, migrate_on;
	struct arena *arena;
};

struct option_info {
	const char *field, *flag, *env, *arg, *def, *help;
	enum option_type type;
	int secret; /* false, true or MAY_HOLD_SECRET */
	unsigned commands;
};
const struct option_info *config_options(size_t *ret_count);

/* argv after the subcommand's name. Words that are no flags go to *ret_rest (pointers into argv). `--help` gives OC_NOT_FOUND with an empty message: print
 * the help. Flags listed in `extra` (of the subcommand, see cmd/) are left in *ret_rest with their values. OC_CONFIG puts one line that
 * says what to do into *ret_message. */
struct extra_flag {
	const char *flag, *arg, *help; /* arg NULL = a switch */
};
OC_NODISCARD int config_load(unsigned command, int argc, char **argv, const struct extra_flag *extra, size_t extra_count, struct arena *a,
	struct config **ret, char ***ret_rest, int *ret_rest_count, struct slice *ret_message);

/* Takes the secrets out of the environment and the command line, which others can read; config_load has kept them. Once, from main. OC_NOMEM. */
OC_NODISCARD int config_hide_secrets(int argc, char **argv);

void config_write_help(unsigned command, const struct extra_flag *extra, size_t extra_count, struct buf *out);
void config_write_docs(struct buf *out); /* docs/CONFIGURATION.md's table */
