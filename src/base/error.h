/* Error codes: functions that can fail return 0 or one of these negative codes and are OC_NODISCARD.
 * `ret_` parameters come last and are untouched on failure. Library code never logs; the edge logs once. */
#pragma once

#define OC_NODISCARD __attribute__((warn_unused_result))

enum oc_error {
	OC_OK = 0,
	OC_NOMEM = -1,      /* memory, ours or a library's */
	OC_INVALID = -2,    /* the caller's input is malformed */
	OC_NOT_FOUND = -3,  /* no such row, file, key */
	OC_FULL = -4,       /* a bound was reached (queue, limit) */
	OC_DOWN = -5,       /* the database cannot be reached; nothing was committed */
	OC_UNSURE = -6,     /* the connection was lost in commit: committed or not, unknown; resolve by event id */
	OC_RETRY = -7,      /* serialization failure, deadlock, busy: the same batch may be tried again */
	OC_DATA = -8,       /* the database refused this data; the batch is rolled back; bisect */
	OC_IO = -9,         /* fsync, ENOSPC, read-only, corruption: stop acknowledging */
	OC_SCHEMA = -10,    /* the schema is missing, older or newer than this binary */
	OC_DENIED = -11,    /* access refused */
	OC_TIMEOUT = -12,   /* a deadline passed */
	OC_CONFLICT = -13,  /* two witnesses disagree, or a lock is held elsewhere */
	OC_CONFIG = -14,    /* configuration is wrong; the message says what to do */
	OC_NET = -15,       /* a socket or name look-up failed */
	OC_FSYNC = -16,     /* a sync failed: nothing more is acknowledged from that file by this process */
};

/* A short English text for a code; never NULL. */
const char *oc_error_text(int code);
