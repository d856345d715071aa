/* outcomed docs: the parts of the documents that are made from tables. Main thread only. */
#include <stdio.h>

#include "base/metrics.h"
#include "cmd/cmd.h"
#include "core/verdict.h"

static const struct {
	const char *name;
	void (*write)(struct buf *out);
} parts[] = {
	{ "configuration", config_write_docs },
	{ "verdicts", verdict_write_docs },
	{ "metrics", metrics_write_docs },
	{ "manual", command_write_manual },
};

static int run_docs(const struct command_line *line)
{
	for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
		if (strcmp(parts[i].name, line->words[0]) != 0)
			continue;
		_cleanup_buf_ struct buf b = BUF_INIT;
		parts[i].write(&b);
		if (buf_failed(&b)) {
			complain("docs", "out of memory");
			return STATUS_FAILED;
		}
		fwrite(b.p, 1, b.n, stdout);
		return STATUS_OK;
	}
	complain("docs", "there is no part \"%s\": expected configuration, verdicts, metrics or manual", line->words[0]);
	return STATUS_USAGE;
}

const struct command command_docs = {
	.name = "docs",
	.words = "configuration|verdicts|metrics|manual",
	.summary = "Print a part of the documents that is made from the program's tables.",
	.details = "docs/CONFIGURATION.md and docs/VERDICTS.md hold these parts between markers; packaging/outcomed.1 is the manual.",
	.options = 0,
	.least_words = 1,
	.most_words = 1,
	.hidden = true,
	.run = run_docs,
};
