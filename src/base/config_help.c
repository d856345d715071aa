/* What config.h's table says for people: --help and docs/CONFIGURATION.md. Pure; any thread. */
#include "base/config.h"


#define HELP_INDENT 8
#define HELP_WIDTH 96

/* Words of `text` in lines of at most HELP_WIDTH columns (bytes), each indented. */
static void put_wrapped(struct buf *out, struct slice text)
{
	size_t column = 0;
	while (!slice_is_empty(text)) {
		struct slice word, tail;
		if (!slice_split(text, ' ', &word, &tail))
			tail = SLICE("");
		if (column && column + 1 + word.n > HELP_WIDTH) {
			buf_putc(out, '\n');
			column = 0;
		}
		if (!column) {
			for (; column < HELP_INDENT; column++)
				buf_putc(out, ' ');
		} else {
			buf_putc(out, ' ');
			column++;
		}
		buf_put(out, word);
		column += word.n;
		text = tail;
	}
	buf_putc(out, '\n');
}

static void put_flag_help(struct buf *out, const char *flag, const char *arg, const char *help)
{
	buf_putf(out, "  %s", flag);
	if (arg)
		buf_putf(out, " %s", arg);
	buf_putc(out, '\n');
	put_wrapped(out, slice_cstr(help));
}

static void put_option_help(struct buf *out, const struct option_info *o)
{
	if (o->flag)
		put_flag_help(out, o->flag, o->type == OPTION_SWITCH ? NULL : o->arg, o->help);
	else
		put_flag_help(out, o->env, NULL, o->help);
	_cleanup_buf_ struct buf note = BUF_INIT;
	if (o->flag && o->env)
		buf_putf(&note, "Environment: %s. ", o->env);
	if (o->secret)
		buf_putf(&note, "Or %s_FILE: a file that only its owner can read. ", o->env);
	if (o->def)
		buf_putf(&note, "Default: %s.", o->def);
	if (buf_failed(&note))
		out->failed = true;
	else if (note.n)
		put_wrapped(out, slice_trim(buf_slice(&note)));
}

void config_write_help(unsigned command, const struct extra_flag *extra, size_t extra_count, struct buf *out)
{
	size_t option_count;
	const struct option_info *options = config_options(&option_count);
	buf_puts(out, "\nFlags:\n");
	for (size_t i = 0; i < extra_count; i++)
		put_flag_help(out, extra[i].flag, extra[i].arg, extra[i].help);
	for (size_t i = 0; i < option_count; i++)
		if ((options[i].commands & command) && options[i].flag)
			put_option_help(out, &options[i]);
	put_flag_help(out, "--help", NULL, "Shows this.");
	bool headed = false;
	for (size_t i = 0; i < option_count; i++) {
		if (!(options[i].commands & command) || options[i].flag)
			continue;
		if (!headed)
			buf_puts(out, "\nOnly in the environment:\n");
		headed = true;
		put_option_help(out, &options[i]);
	}
}

/* Table cells: '|' would end one. */
static void put_cell(struct buf *out, const char *text, bool code)
{
	buf_puts(out, code && text ? "`" : "");
	for (const char *c = text ? text : ""; *c; c++) {
		if (*c == '|')
			buf_putc(out, '\\');
		buf_putc(out, *c);
	}
	buf_puts(out, code && text ? "` | " : " | ");
}

static void put_commands(struct buf *out, unsigned commands)
{
	static const struct {
		unsigned bit;
		const char *name;
	} names[] = { { CMD_SERVE, "serve" }, { CMD_MIGRATE, "migrate" }, { CMD_CHECK, "check" },
		      { CMD_VERIFY, "verify" }, { CMD_SEND, "send" }, { CMD_TOKEN, "token" },
		      { CMD_REPLAY, "replay" }, { CMD_EXPLAIN, "explain" }, { CMD_PRUNE, "prune" }, { CMD_ERASE, "erase" }, { CMD_SPOOL, "spool" } };
	if (commands == CMD_ALL) {
		buf_puts(out, "all");
		return;
	}
	const char *comma = "";
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		if (!(commands & names[i].bit))
			continue;
		buf_puts(out, comma);
		buf_puts(out, names[i].name);
		comma = ", ";
	}
}

void config_write_docs(struct buf *out)
{
	size_t option_count;
	const struct option_info *options = config_options(&option_count);
	buf_puts(out, "| flag | environment | value | default | used by | what it does |\n|---|---|---|---|---|---|\n");
	for (size_t i = 0; i < option_count; i++) {
		const struct option_info *o = &options[i];
		buf_puts(out, "| ");
		put_cell(out, o->flag, true);
		buf_putf(out, "`%s`", o->env);
		if (o->secret)
			buf_putf(out, ", `%s_FILE`", o->env);
		buf_puts(out, " | ");
		put_cell(out, o->arg, true);
		put_cell(out, o->def, true);
		put_commands(out, o->commands);
		buf_puts(out, " | ");
		put_cell(out, o->help, false);
		out->n -= out->n ? 1 : 0;
		buf_putc(out, '\n');
	}
}
