/* What `outcomed replay` tells a person: progress on standard error, changes and the sum on standard output. Main thread only. */
#pragma once

#include "ingest/replay.h"

struct replay_report {
	bool draws;        /* a bar on a terminal; else a line every few seconds */
	bool dry_run;
	int64_t show;      /* calls shown of those that change, and of those left alone */
	int64_t shown, alone_shown;
	int64_t begun_ns, said_ns;
};

void report_begin(struct replay_report *r);
void report_progress(struct replay_report *r, const struct replay_totals *t);
void report_difference(struct replay_report *r, const struct replay_difference *d);
void report_left_alone(struct replay_report *r, struct slice room_sid, enum replay_skip why, struct slice detail);
void report_end(struct replay_report *r, const struct replay_totals *t);

/* "busy certain declined" of a verdict's JSON; "open" where it has no outcome, "nothing" where there is none. Appended. */
void report_verdict(struct slice verdict, struct buf *out);
