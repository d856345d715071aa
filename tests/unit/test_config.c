/* Configuration: precedence, values, secrets' files, messages. Each test starts with none of the options in the environment. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/config.h"

#define LOAD(state, command, ...) load(state, command, (const char *const[]){ __VA_ARGS__, NULL })

struct fixture {
	struct arena *a;
	struct config *c;
	char **rest;
	int rest_count;
	struct slice message;
	char directory[64], path[128];
};

static const struct extra_flag extras[] = {
	{ "--tenant", "ID", "whose" },
	{ "--yes", NULL, "do not ask" },
};

static void clear_environment(void)
{
	size_t n;
	char name[128];
	const struct option_info *o = config_options(&n);
	for (size_t i = 0; i < n; i++) {
		unsetenv(o[i].env);
		snprintf(name, sizeof name, "%s_FILE", o[i].env);
		unsetenv(name);
	}
	unsetenv("CREDENTIALS_DIRECTORY");
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);
	assert_non_null(f);
	f->a = arena_new(4096);
	assert_non_null(f->a);
	strcpy(f->directory, "/tmp/test_config.XXXXXX");
	assert_non_null(mkdtemp(f->directory));
	snprintf(f->path, sizeof f->path, "%s/OUTCOMED_SERVICE_TOKEN", f->directory);
	clear_environment();
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;
	unlink(f->path);
	rmdir(f->directory);
	arena_free(f->a);
	free(f);
	return 0;
}

static int load(void **state, unsigned command, const char *const *words)
{
	struct fixture *f = *state;
	int argc = 0;
	while (words[argc])
		argc++;
	f->message = SLICE_NONE;
	return config_load(command, argc, (char **)(uintptr_t)words, extras, 2, f->a, &f->c, &f->rest, &f->rest_count, &f->message);
}

static int load_nothing(void **state, unsigned command)
{
	return load(state, command, (const char *const[]){ NULL });
}

static void write_secret(struct fixture *f, const char *text, size_t n, mode_t mode)
{
	int fd = open(f->path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, n), (ssize_t)n);
	assert_int_equal(fchmod(fd, mode), 0);
	close(fd);
}

static bool message_has(void **state, const char *text)
{
	struct fixture *f = *state;
	return !slice_is_none(f->message) && memmem(f->message.p, f->message.n, text, strlen(text)) != NULL;
}

static void assert_text(struct slice s, const char *expected)
{
	if (!slice_eq_cstr(s, expected))
		fail_msg("got \"%.*s\", expected \"%s\"", SLICE_FMT(s), expected);
}

#define assert_refused(state, ...) assert_int_equal(LOAD(state, CMD_SERVE, __VA_ARGS__), OC_CONFIG)
#define assert_says(state, text) assert_true(message_has(state, text))

static const struct config *config_of(void **state) { return ((struct fixture *)*state)->c; }

/* ---- where values come from ---- */

static void defaults_stand_where_nothing_is_set(void **state)
{
	assert_int_equal(load_nothing(state, CMD_SERVE), 0);
	const struct config *c = config_of(state);
	assert_text(c->listen, "127.0.0.1:5000");
	assert_text(c->database, "sqlite:outcomed.db");
	assert_int_equal(c->max_body_bytes, 8 * 1024 * 1024);
	assert_int_equal(c->max_connections_n, 1000);
	assert_int_equal(c->max_connections_per_address_n, 500);
	assert_int_equal(c->request_timeout_s, 10);
	assert_int_equal(c->idle_timeout_s, 120);
	assert_false(c->accept_hmac_on);
	assert_false(c->migrate_on);
	assert_true(slice_is_none(c->webhook_secret));
	assert_true(slice_is_none(c->default_user));
}

static void environment_beats_default(void **state)
{
	setenv("OUTCOMED_LISTEN", "127.0.0.1:7", 1);
	setenv("DATABASE_URL", "postgresql:///x", 1);
	assert_int_equal(load_nothing(state, CMD_SERVE), 0);
	assert_text(config_of(state)->listen, "127.0.0.1:7");
	assert_text(config_of(state)->database, "postgresql:///x");
}

static void flag_beats_environment(void **state)
{
	setenv("OUTCOMED_LISTEN", "127.0.0.1:7", 1);
	assert_int_equal(LOAD(state, CMD_SERVE, "--listen", "127.0.0.1:8"), 0);
	assert_text(config_of(state)->listen, "127.0.0.1:8");
	assert_int_equal(LOAD(state, CMD_SERVE, "--listen=127.0.0.1:9"), 0);
	assert_text(config_of(state)->listen, "127.0.0.1:9");
}

static void last_of_a_repeated_flag_counts(void **state)
{
	assert_int_equal(LOAD(state, CMD_SERVE, "--default-user", "a", "--default-user=b"), 0);
	assert_text(config_of(state)->default_user, "b");
}

static void value_may_hold_an_equals_sign(void **state)
{
	assert_int_equal(LOAD(state, CMD_SERVE, "--database=postgresql:///x?a=b"), 0);
	assert_text(config_of(state)->database, "postgresql:///x?a=b");
}

static void empty_environment_counts_as_not_set(void **state)
{
	setenv("OUTCOMED_LISTEN", "", 1);
	setenv("LIVEKIT_API_KEY", "", 1);
	assert_int_equal(load_nothing(state, CMD_SERVE), 0);
	assert_text(config_of(state)->listen, "127.0.0.1:5000");
	assert_true(slice_is_none(config_of(state)->api_key));
}

static void options_of_other_subcommands_are_not_looked_at(void **state)
{
	setenv("OUTCOMED_MAX_BODY", "nonsense", 1);
	setenv("LIVEKIT_API_SECRET_FILE", "/nonexistent", 1);
	assert_int_equal(load_nothing(state, CMD_TOKEN), 0);
	assert_int_equal(LOAD(state, CMD_TOKEN, "--max-body", "1M"), OC_CONFIG);
}

/* ---- words ---- */

static void words_and_extra_flags_are_left_over_in_order(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(LOAD(state, CMD_MIGRATE, "upgrade", "--tenant", "-x", "--database", "sqlite:a", "--yes", "-", "--tenant=y"), 0);
	const char *const expected[] = { "upgrade", "--tenant", "-x", "--yes", "-", "--tenant=y" };
	assert_int_equal(f->rest_count, 6);
	for (size_t i = 0; i < 6; i++)
		assert_string_equal(f->rest[i], expected[i]);
	assert_text(f->c->database, "sqlite:a");
}

static void double_dash_ends_flags(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(LOAD(state, CMD_SEND, "--yes", "--", "--help", "--nonsense"), 0);
	assert_int_equal(f->rest_count, 4);
	assert_string_equal(f->rest[1], "--");
	assert_string_equal(f->rest[3], "--nonsense");
}

static void help_is_told_apart_from_a_mistake(void **state)
{
	assert_int_equal(LOAD(state, CMD_SERVE, "--help"), OC_NOT_FOUND);
	assert_int_equal(LOAD(state, CMD_SERVE, "--listen", "x:1", "-h"), OC_NOT_FOUND);
	assert_int_equal(((struct fixture *)*state)->message.n, 0);
}

/* ---- mistakes ---- */

static void unknown_flag_names_the_nearest(void **state)
{
	assert_refused(state, "--lisen", "x");
	assert_says(state, "--lisen");
	assert_says(state, "did you mean --listen?");
	assert_refused(state, "--max-conn", "5");
	assert_says(state, "--max-connections");
	assert_refused(state, "--tenand=1");
	assert_says(state, "--tenant?");
	assert_refused(state, "--completely-different");
	assert_says(state, "--help");
	assert_refused(state, "-x");
}

static void missing_value_says_what_is_expected(void **state)
{
	assert_refused(state, "--listen");
	assert_says(state, "--listen needs a value: ADDR:PORT|unix:PATH");
	assert_refused(state, "--listen", "--migrate");
	assert_says(state, "--listen needs a value");
	assert_refused(state, "--listen=");
	assert_says(state, "--listen needs a value");
	assert_refused(state, "--tenant");
	assert_says(state, "--tenant needs a value: ID");
}

static void secret_on_the_command_line_is_refused_without_repeating_it(void **state)
{
	const char *const flags[] = { "--api-secret=hush", "--livekit-api-secret=hush", "--service-token=hush", "--tenant-secret=hush", "--webhook-secret=hush" };
	for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++) {
		assert_refused(state, flags[i]);
		assert_says(state, "not taken from the command line");
		assert_says(state, "_FILE");
		assert_false(message_has(state, "hush"));
	}
}

static void bytes_are_read_in_every_spelling(void **state)
{
	static const struct {
		const char *flag;
		int64_t bytes;
	} cases[] = { { "--max-body=8388608", 8388608 }, { "--max-body=8M", 8388608 }, { "--max-body=8MiB", 8388608 },
		      { "--max-body=8m", 8388608 }, { "--max-body=64k", 65536 }, { "--max-body=64KiB", 65536 },
		      { "--max-body=1G", 1073741824 }, { "--max-body=1GiB", 1073741824 }, { "--max-body=1024", 1024 } };
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		assert_int_equal(LOAD(state, CMD_SERVE, cases[i].flag), 0);
		assert_int_equal(config_of(state)->max_body_bytes, cases[i].bytes);
	}
}

static void wrong_bytes_say_what_is_expected(void **state)
{
	const char *const wrong[] = { "--max-body=8MB", "--max-body=-1", "--max-body=M", "--max-body=8.5M", "--max-body=1023", "--max-body=2G",
				      "--max-body=9223372036854775807G", "--max-body=99999999999999999999", "--max-body=8 M" };
	for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
		assert_refused(state, wrong[i]);
		assert_says(state, wrong[i]);
		assert_says(state, "8MiB");
	}
}

static void wrong_number_names_its_source_and_range(void **state)
{
	setenv("OUTCOMED_REQUEST_TIMEOUT", "0", 1);
	assert_int_equal(load_nothing(state, CMD_SERVE), OC_CONFIG);
	assert_says(state, "OUTCOMED_REQUEST_TIMEOUT=0: expected a whole number from 1 to 3600");
	assert_refused(state, "--request-timeout", "ten");
	assert_says(state, "--request-timeout=ten");
}

static void switches_take_plain_and_valued_forms(void **state)
{
	assert_int_equal(LOAD(state, CMD_SERVE, "--migrate"), 0);
	assert_true(config_of(state)->migrate_on);
	assert_int_equal(LOAD(state, CMD_SERVE, "--migrate=0"), 0);
	assert_false(config_of(state)->migrate_on);
	setenv("OUTCOMED_ACCEPT_HMAC", "Yes", 1);
	assert_int_equal(load_nothing(state, CMD_SERVE), 0);
	assert_true(config_of(state)->accept_hmac_on);
	setenv("OUTCOMED_ACCEPT_HMAC", "maybe", 1);
	assert_int_equal(load_nothing(state, CMD_SERVE), OC_CONFIG);
	assert_says(state, "OUTCOMED_ACCEPT_HMAC=maybe: expected 0 or 1");
}

static void log_level_is_one_of_four(void **state)
{
	assert_int_equal(LOAD(state, CMD_SERVE, "--log-level=debug"), 0);
	assert_refused(state, "--log-level=loud");
	assert_says(state, "expected debug, info, warn or error");
}

static void listen_address_needs_a_port(void **state)
{
	const char *const wrong[] = { "--listen=foo", "--listen=127.0.0.1", "--listen=127.0.0.1:", "--listen=127.0.0.1:65536", "--listen=:5000",
				      "--listen=127.0.0.1:-1", "--listen=127.0.0.1:+1", "--listen=unix:", "--listen=127.0.0.1:80x" };
	const char *const right[] = { "--listen=127.0.0.1:0", "--listen=[::1]:65535", "--listen=unix:/run/x.sock", "--listen=localhost:80" };
	for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
		assert_refused(state, wrong[i]);
		assert_says(state, "expected ADDR:PORT");
	}
	for (size_t i = 0; i < sizeof right / sizeof right[0]; i++)
		assert_int_equal(LOAD(state, CMD_SERVE, right[i]), 0);
}

static void half_a_key_pair_is_refused(void **state)
{
	setenv("LIVEKIT_API_KEY", "APIx", 1);
	assert_int_equal(load_nothing(state, CMD_SERVE), OC_CONFIG);
	assert_says(state, "LIVEKIT_API_SECRET is not set");
	unsetenv("LIVEKIT_API_KEY");
	setenv("LIVEKIT_API_SECRET", "s", 1);
	assert_int_equal(load_nothing(state, CMD_SEND), OC_CONFIG);
	assert_says(state, "LIVEKIT_API_KEY is not set");
	assert_int_equal(load_nothing(state, CMD_MIGRATE), 0);
}

static void short_tenant_secret_is_refused_without_repeating_it(void **state)
{
	setenv("OUTCOMED_TENANT_SECRET", "0123456789012345678901234567890", 1);
	assert_int_equal(load_nothing(state, CMD_SERVE), OC_CONFIG);
	assert_says(state, "OUTCOMED_TENANT_SECRET: an HS256 key needs at least 32 bytes");
	assert_false(message_has(state, "01234567890"));
	setenv("OUTCOMED_TENANT_SECRET", "01234567890123456789012345678901", 1);
	assert_int_equal(load_nothing(state, CMD_SERVE), 0);
}

static void service_token_that_no_header_can_carry_is_refused(void **state)
{
	setenv("OUTCOMED_SERVICE_TOKEN", "two words", 1);
	assert_int_equal(load_nothing(state, CMD_SERVE), OC_CONFIG);
	assert_says(state, "OUTCOMED_SERVICE_TOKEN");
	assert_false(message_has(state, "two words"));
}

/* ---- secrets in files ---- */

static void secret_file_is_read_and_its_line_end_trimmed(void **state)
{
	struct fixture *f = *state;
	write_secret(f, "abc-def\r\n\n", 10, 0600);
	setenv("OUTCOMED_SERVICE_TOKEN_FILE", f->path, 1);
	assert_int_equal(load_nothing(state, CMD_SERVE), 0);
	assert_text(f->c->service_token, "abc-def");
}

static void secret_file_that_others_can_read_is_refused_with_the_mend(void **state)
{
	struct fixture *f = *state;
	static const mode_t modes[] = { 0644, 0604, 0620, 0602, 0660, 0444, 0777 };
	char mend[256];
	snprintf(mend, sizeof mend, "chmod 600 '%s'", f->path);
	setenv("OUTCOMED_SERVICE_TOKEN_FILE", f->path, 1);
	for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
		write_secret(f, "abc", 3, modes[i]);
		assert_int_equal(load_nothing(state, CMD_SERVE), OC_CONFIG);
		assert_says(state, mend);
	}
	write_secret(f, "abc", 3, 0400);
	assert_int_equal(load_nothing(state, CMD_SERVE), 0);
	write_secret(f, "abc", 3, 0640); /* root may write one for a group */
	assert_int_equal(load_nothing(state, CMD_SERVE), geteuid() == 0 ? 0 : OC_CONFIG);
}

static void secret_file_of_another_user_is_refused(void **state)
{
	struct fixture *f = *state;
	write_secret(f, "abc", 3, 0600);
	if (geteuid() != 0)
		skip(); /* nobody else can give files away */
	assert_int_equal(chown(f->path, 1, 1), 0);
	setenv("OUTCOMED_SERVICE_TOKEN_FILE", f->path, 1);
	assert_int_equal(load_nothing(state, CMD_SERVE), OC_CONFIG);
	assert_says(state, "belongs to another user");
}

static void database_url_may_come_from_a_file(void **state)
{
	struct fixture *f = *state;
	write_secret(f, "postgresql://u:hush@db/x\n", 25, 0600);
	setenv("DATABASE_URL_FILE", f->path, 1);
	assert_int_equal(load_nothing(state, CMD_SERVE), 0);
	assert_text(f->c->database, "postgresql://u:hush@db/x");
	assert_int_equal(LOAD(state, CMD_SERVE, "--database=sqlite:x"), 0);
	assert_text(f->c->database, "sqlite:x");
}

static void secret_file_that_is_missing_empty_or_binary_is_refused(void **state)
{
	struct fixture *f = *state;
	setenv("OUTCOMED_SERVICE_TOKEN_FILE", f->path, 1);
	assert_int_equal(load_nothing(state, CMD_SERVE), OC_CONFIG);
	assert_says(state, "cannot be opened");
	write_secret(f, "\n", 1, 0600);
	assert_int_equal(load_nothing(state, CMD_SERVE), OC_CONFIG);
	assert_says(state, "is empty");
	write_secret(f, "a\0b", 3, 0600);
	assert_int_equal(load_nothing(state, CMD_SERVE), OC_CONFIG);
	assert_says(state, "NUL");
	setenv("OUTCOMED_SERVICE_TOKEN_FILE", f->directory, 1);
	assert_int_equal(load_nothing(state, CMD_SERVE), OC_CONFIG);
	assert_says(state, "cannot be read");
}

static void secret_file_over_64_kib_is_refused(void **state)
{
	struct fixture *f = *state;
	char *large = malloc(65537);
	assert_non_null(large);
	memset(large, 'a', 65537);
	setenv("OUTCOMED_SERVICE_TOKEN_FILE", f->path, 1);
	write_secret(f, large, 65536, 0600);
	assert_int_equal(load_nothing(state, CMD_SERVE), 0);
	write_secret(f, large, 65537, 0600);
	free(large);
	assert_int_equal(load_nothing(state, CMD_SERVE), OC_CONFIG);
	assert_says(state, "larger than");
}

static void secret_set_twice_is_refused(void **state)
{
	struct fixture *f = *state;
	write_secret(f, "abc", 3, 0600);
	setenv("OUTCOMED_SERVICE_TOKEN_FILE", f->path, 1);
	setenv("OUTCOMED_SERVICE_TOKEN", "abc", 1);
	assert_int_equal(load_nothing(state, CMD_SERVE), OC_CONFIG);
	assert_says(state, "OUTCOMED_SERVICE_TOKEN and OUTCOMED_SERVICE_TOKEN_FILE are both set");
}

static void systemd_credential_is_found_by_name(void **state)
{
	struct fixture *f = *state;
	write_secret(f, "from-credentials\n", 17, 0440);
	setenv("CREDENTIALS_DIRECTORY", f->directory, 1);
	assert_int_equal(load_nothing(state, CMD_SERVE), 0);
	assert_text(f->c->service_token, "from-credentials");
	setenv("OUTCOMED_SERVICE_TOKEN", "from-environment", 1);
	assert_int_equal(load_nothing(state, CMD_SERVE), 0);
	assert_text(f->c->service_token, "from-environment");
}

static void systemd_credential_is_named_by_a_file_setting(void **state)
{
	struct fixture *f = *state;
	write_secret(f, "from-credentials\n", 17, 0440);
	setenv("CREDENTIALS_DIRECTORY", f->directory, 1);
	setenv("LIVEKIT_API_KEY", "key", 1);
	for (int absolute = 0; absolute < 2; absolute++) {
		setenv("LIVEKIT_API_SECRET_FILE", absolute ? f->path : strrchr(f->path, '/') + 1, 1);
		assert_int_equal(load_nothing(state, CMD_SERVE), 0);
		assert_text(f->c->api_secret, "from-credentials");
	}
	write_secret(f, "from-credentials\n", 17, 0444);
	assert_int_equal(load_nothing(state, CMD_SERVE), OC_CONFIG);
}

/* ---- out of others' sight ---- */

static void secrets_are_taken_out_of_environment_and_command_line(void **state)
{
	struct fixture *f = *state;
	char url[] = "--database=postgresql://u:hu:sh@@db:5/x?sslmode=require&password=hush&sslpassword=hush", word[] = "--max-body=8M";
	char *argv[] = { url, word, NULL };
	setenv("OUTCOMED_SERVICE_TOKEN", "hush", 1);
	setenv("PGPASSWORD", "hush", 1);
	char *token = getenv("OUTCOMED_SERVICE_TOKEN"), *password = getenv("PGPASSWORD");
	assert_int_equal(config_load(CMD_SERVE, 2, argv, NULL, 0, f->a, &f->c, &f->rest, &f->rest_count, &f->message), 0);
	assert_int_equal(config_hide_secrets(2, argv), 0);
	assert_string_equal(url, "--database=postgresql://u:******@db:5/x?sslmode=require&password=****&sslpassword=****");
	assert_string_equal(word, "--max-body=8M");
	assert_null(getenv("OUTCOMED_SERVICE_TOKEN"));
	assert_int_equal(token[0] | token[3], 0);
	assert_int_equal(password[0] | password[3], 0);
	assert_string_equal(getenv("PGPASSWORD"), "hush");
	assert_text(f->c->service_token, "hush");
	assert_text(f->c->database, "postgresql://u:hu:sh@@db:5/x?sslmode=require&password=hush&sslpassword=hush");
	unsetenv("PGPASSWORD");
}

/* ---- help and docs ---- */

static void help_and_docs_name_every_option(void **state)
{
	(void)state;
	size_t n;
	const struct option_info *o = config_options(&n);
	_cleanup_buf_ struct buf docs = BUF_INIT, help = BUF_INIT, other = BUF_INIT;
	config_write_docs(&docs);
	config_write_help(CMD_ALL, extras, 2, &help);
	config_write_help(CMD_TOKEN, NULL, 0, &other);
	assert_false(buf_failed(&docs) || buf_failed(&help) || buf_failed(&other));
	for (size_t i = 0; i < n; i++) {
		assert_non_null(memmem(docs.p, docs.n, o[i].env, strlen(o[i].env)));
		assert_non_null(memmem(help.p, help.n, o[i].env, strlen(o[i].env)));
		if (o[i].flag)
			assert_non_null(memmem(docs.p, docs.n, o[i].flag, strlen(o[i].flag)));
	}
	assert_non_null(memmem(help.p, help.n, "--tenant ID", 11));
	assert_null(memmem(other.p, other.n, "--listen", 8));
	assert_non_null(memmem(other.p, other.n, "OUTCOMED_TENANT_SECRET_FILE", 27));
}

static void every_row_of_the_docs_has_six_cells(void **state)
{
	(void)state;
	_cleanup_buf_ struct buf docs = BUF_INIT;
	config_write_docs(&docs);
	struct slice line, left = buf_slice(&docs);
	size_t rows = 0;
	while (slice_split(left, '\n', &line, &left)) {
		size_t bars = 0;
		for (size_t i = 0; i < line.n; i++)
			bars += line.p[i] == '|' && (i == 0 || line.p[i - 1] != '\\');
		assert_int_equal(bars, 7);
		rows++;
	}
	size_t n;
	config_options(&n);
	assert_int_equal(rows, n + 2);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(defaults_stand_where_nothing_is_set),
		TEST(environment_beats_default),
		TEST(flag_beats_environment),
		TEST(last_of_a_repeated_flag_counts),
		TEST(value_may_hold_an_equals_sign),
		TEST(empty_environment_counts_as_not_set),
		TEST(options_of_other_subcommands_are_not_looked_at),
		TEST(words_and_extra_flags_are_left_over_in_order),
		TEST(double_dash_ends_flags),
		TEST(help_is_told_apart_from_a_mistake),
		TEST(unknown_flag_names_the_nearest),
		TEST(missing_value_says_what_is_expected),
		TEST(secret_on_the_command_line_is_refused_without_repeating_it),
		TEST(bytes_are_read_in_every_spelling),
		TEST(wrong_bytes_say_what_is_expected),
		TEST(wrong_number_names_its_source_and_range),
		TEST(switches_take_plain_and_valued_forms),
		TEST(log_level_is_one_of_four),
		TEST(listen_address_needs_a_port),
		TEST(half_a_key_pair_is_refused),
		TEST(short_tenant_secret_is_refused_without_repeating_it),
		TEST(service_token_that_no_header_can_carry_is_refused),
		TEST(secret_file_is_read_and_its_line_end_trimmed),
		TEST(secret_file_that_others_can_read_is_refused_with_the_mend),
		TEST(secret_file_of_another_user_is_refused),
		TEST(database_url_may_come_from_a_file),
		TEST(systemd_credential_is_named_by_a_file_setting),
		TEST(secrets_are_taken_out_of_environment_and_command_line),
		TEST(secret_file_that_is_missing_empty_or_binary_is_refused),
		TEST(secret_file_over_64_kib_is_refused),
		TEST(secret_set_twice_is_refused),
		TEST(systemd_credential_is_found_by_name),
		TEST(help_and_docs_name_every_option),
		TEST(every_row_of_the_docs_has_six_cells),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
