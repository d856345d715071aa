/* The table of subcommands, and --help and the manual page made from it. Main thread only. */
#include "cmd/cmd.h"

const struct command *const commands[] = {
	&command_serve, &command_migrate, &command_check, &command_verify, &command_send, &command_token, &command_replay, &command_prune, &command_erase, &command_spool, &command_explain, &command_docs,
};
const size_t command_count = sizeof commands / sizeof commands[0];

void command_write_help(const struct command *c, struct buf *out)
{
	buf_putf(out, "Usage: outcomed %s [FLAGS]%s%s\n\n%s\n", c->name, *c->words ? " " : "", c->words, c->summary);
	buf_putf(out, "\n%s\n", c->details);
	config_write_help(c->options, c->extra, c->extra_count, out);
}

/* roff: a hyphen is a minus sign, a backslash is itself, and a line that begins with '.' or '\'' is text. */
static void put_roff(struct buf *out, const char *text)
{
	bool line_begins = true;
	for (const char *c = text; *c; c++) {
		if (line_begins && (*c == '.' || *c == '\''))
			buf_puts(out, "\\&");
		line_begins = *c == '\n';
		if (*c == '-')
			buf_puts(out, "\\-");
		else if (*c == '\\')
			buf_puts(out, "\\e");
		else if (*c == '\n' && c[1] == '\n')
			buf_puts(out, "\n.PP");
		else
			buf_putc(out, *c);
	}
}

static void put_item(struct buf *out, const char *name, const char *arg, const char *help)
{
	buf_puts(out, ".TP\n.B ");
	put_roff(out, name);
	if (arg) {
		buf_puts(out, " \\fI");
		put_roff(out, arg);
		buf_puts(out, "\\fR");
	}
	buf_putc(out, '\n');
	put_roff(out, help);
	buf_putc(out, '\n');
}

static void put_command(struct buf *out, const struct command *c)
{
	buf_puts(out, ".SS outcomed ");
	put_roff(out, c->name);
	buf_puts(out, " [flags] ");
	put_roff(out, c->words);
	buf_putc(out, '\n');
	put_roff(out, c->summary);
	buf_puts(out, "\n.PP\n");
	put_roff(out, c->details);
	buf_putc(out, '\n');
	for (size_t i = 0; i < c->extra_count; i++)
		put_item(out, c->extra[i].flag, c->extra[i].arg, c->extra[i].help);
}

static void put_option(struct buf *out, const struct option_info *o)
{
	_cleanup_buf_ struct buf text = BUF_INIT;
	if (o->flag && o->env)
		buf_putf(&text, "%s (environment: %s)", o->help, o->env);
	else
		buf_puts(&text, o->help);
	if (o->secret)
		buf_putf(&text, " Or %s_FILE: a file that only its owner can read.", o->env);
	if (o->def)
		buf_putf(&text, " Default: %s.", o->def);
	buf_putc(&text, '\0');
	if (buf_failed(&text))
		out->failed = true;
	else
		put_item(out, o->flag ? o->flag : o->env, o->type == OPTION_SWITCH && o->flag ? NULL : o->arg, text.p);
}

void command_write_manual(struct buf *out)
{
	size_t n;
	const struct option_info *options = config_options(&n);
	buf_puts(out, ".\\\" Made by `outcomed docs manual` from the tables in src/base/config.h and src/cmd.\n"
		      ".TH OUTCOMED 1 \"\" \"outcomed " OUTCOMED_VERSION "\" \"User Commands\"\n"
		      ".SH NAME\noutcomed \\- one trustworthy verdict per LiveKit call\n"
		      ".SH SYNOPSIS\n.B outcomed\n.I subcommand\n[\\fIflags\\fR] [\\fIwords\\fR]\n"
		      ".SH DESCRIPTION\noutcomed receives LiveKit's webhooks and keeps one verdict per call in SQLite or PostgreSQL: did it complete,\n"
		      "go unanswered, meet a busy line or fail; why; and how sure that is. An event is acknowledged only when it is durable.\n"
		      ".SH SUBCOMMANDS\n");
	for (size_t i = 0; i < command_count; i++)
		if (!commands[i]->hidden)
			put_command(out, commands[i]);
	buf_puts(out, ".SH CONFIGURATION\nA flag beats the environment, which beats the default. A secret has no flag: it comes from the environment, from\n"
		      "the file that NAME_FILE names, or from a systemd credential called NAME.\n");
	for (size_t i = 0; i < n; i++)
		put_option(out, &options[i]);
	buf_puts(out, ".SH EXIT STATUS\n0 success; 1 the work failed; 2 wrong usage, wrong configuration, or serve could not start;\n"
		      "3 (migrate status only) the database needs an upgrade.\n"
		      ".SH SEE ALSO\n.BR systemd.service (5),\n.BR sqlite3 (1),\n.BR pg_dump (1)\n");
}
