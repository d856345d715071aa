/* outcomed spool: what waits in the spool, a line a file, every record read and verified. Takes no lock. Main thread only. */
#include "cmd/cmd.h"

#include <stdio.h>

#include "store/spool.h"

static void put_file(const struct spool_file *f)
{
	_cleanup_buf_ struct buf oldest = BUF_INIT;
	const struct spool_damage *d = &f->damage;
	if (f->oldest_ms)
		buf_put_rfc3339_ms(&oldest, f->oldest_ms);
	else
		buf_putc(&oldest, '-');
	printf("%s  %-7s  %8lld events  %10lld bytes  oldest %.*s", f->name, spool_file_kind_names[f->kind], (long long)f->events, (long long)f->bytes,
		SLICE_FMT(buf_slice(&oldest)));
	if (d->stretches || d->lost)
		printf("  DAMAGED: %lld bytes in %lld places, the first at byte %lld; events lost %lld", (long long)d->bytes, (long long)d->stretches,
			(long long)d->first_at, (long long)d->lost);
	if (d->torn_bytes)
		printf("  torn at the end: %lld bytes, never acknowledged", (long long)d->torn_bytes);
	putchar('\n');
}

static int report(const struct spool_inspection *found)
{
	int64_t events = 0, bytes = 0;
	bool well = true;
	for (size_t i = 0; i < found->count; i++) {
		const struct spool_file *f = &found->files[i];
		put_file(f);
		events += f->kind == SPOOL_WAITING ? f->events : 0;
		bytes += f->kind == SPOOL_WAITING ? f->bytes : 0;
		well = well && f->kind == SPOOL_WAITING && !f->damage.stretches;
	}
	printf("%lld events wait, %lld bytes", (long long)events, (long long)bytes);
	if (found->process > 0)
		printf("; process %lld has it open\n", (long long)found->process);
	else
		puts(found->process ? "; a process has it open" : "; no process has it open");
	fflush(stdout);
	return well ? STATUS_OK : STATUS_FAILED;
}

static int run_spool(const struct command_line *line)
{
	struct spool_inspection found;
	struct slice message = SLICE("out of memory");
	if (slice_eq_cstr(line->config->spool, "none")) {
		complain("spool", "--spool is none");
		return STATUS_USAGE;
	}
	const char *directory = arena_dup(line->arena, line->config->spool);
	int r = directory ? spool_inspect(directory, line->arena, &found, &message) : OC_NOMEM;
	if (r == 0)
		return report(&found);
	complain("spool", "%.*s", SLICE_FMT(message));
	return STATUS_USAGE;
}

const struct command command_spool = {
	.name = "spool",
	.words = "",
	.summary = "Show what waits in the spool for the database.",
	.details = "A line a file, in the order in which they are drained; every record is read and verified. May run beside the daemon: what is being\n"
		   "written or drained meanwhile may show as torn, or not at all.\n"
		   "\n"
		   "Exit codes: 0 all is well; 1 a file is damaged, or was set aside (`outcomed check` says what to do); 2 wrong usage, or no such\n"
		   "directory.",
	.options = CMD_SPOOL,
	.least_words = 0,
	.most_words = 0,
	.run = run_spool,
};
