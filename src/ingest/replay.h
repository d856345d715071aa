/* Replay: facts and verdicts once more from the journal, beside the daemons that serve.
 *
 * The walk goes over the room SIDs of call_facts and journal in pages. Each page is looked at in a snapshot, without a lock; only calls that come
 * out differently are locked and written, a few at a time, with pauses in proportion, so that no writer waits long. What comes out the same is
 * not touched at all: a replay without a change of rules, decoder or routes leaves every row as it was, byte for byte.
 *
 * As of when? As of now; but a call that is stored open is not ended by the clock, which is the sweeper's: it is then judged as of its last event.
 *
 * Never poorer: a call is left alone, and said to be, when an event that once was folded cannot be read now, or when its stored facts name an
 * event, or a second, that its journal does not have: the journal was pruned then. Without a stored row, or with one that cannot be read, the
 * journal is all there is. Memory: one page of facts, one journal row. Runs on one thread. */
#pragma once

#include "core/override.h"
#include "core/tenant.h"
#include "store/store.h"
#include "wire/decode.h"

/* What may come out differently: name, enum, words. */
#define REPLAY_CHANGES(X) \
	X("row", REPLAY_ROW, "row made that was missing") \
	X("facts", REPLAY_FACTS, "facts") \
	X("outcome", REPLAY_OUTCOME, "outcome, reason or confidence") \
	X("verdict", REPLAY_VERDICT, "other members of the verdict") \
	X("tenant", REPLAY_TENANT, "tenant") \
	X("columns", REPLAY_COLUMNS, "other columns of the row") \
	X("legs", REPLAY_LEGS, "legs that call_legs did not have") \
	X("events", REPLAY_EVENTS, "events that were aside and count now")
enum replay_change {
#define X(name, e, words) e,
	REPLAY_CHANGES(X)
#undef X
	REPLAY_CHANGE_COUNT,
};
extern const char *const replay_change_names[REPLAY_CHANGE_COUNT], *const replay_change_words[REPLAY_CHANGE_COUNT];

/* Why a call is left as it is. */
#define REPLAY_SKIPS(X) \
	X(REPLAY_PRUNED, "its facts name an event that its journal does not have") \
	X(REPLAY_STRIPPED, "the payload of an event that counted was removed (retention)") \
	X(REPLAY_UNREADABLE, "an event that counted cannot be read") \
	X(REPLAY_MISPLACED, "an event in its journal names another room") \
	X(REPLAY_REFUSED, "the database refused what came out")
enum replay_skip {
	REPLAY_NOT_SKIPPED = 0,
#define X(e, words) e,
	REPLAY_SKIPS(X)
#undef X
	REPLAY_SKIP_COUNT,
};
extern const char *const replay_skip_words[REPLAY_SKIP_COUNT];

struct replay_totals {
	int64_t calls, events;               /* looked at */
	int64_t changed, left_alone;         /* calls */
	int64_t changes[REPLAY_CHANGE_COUNT];
	int64_t skips[REPLAY_SKIP_COUNT];
	int64_t still_aside;                 /* events that nobody can read today either, or that wait */
	int64_t adopted;                     /* events without a room that found their call */
	int64_t expected_calls;              /* about how many calls there are; 0 = not known */
	bool interrupted;
};

/* A call that changed, or would. Texts are none where there was or is none; slices live during the call. */
struct replay_difference {
	struct slice room_sid, room_name;
	unsigned changes; /* bits: 1 << enum replay_change */
	struct slice verdict_before, verdict_after; /* JSON object texts */
	struct slice tenant_before, tenant_after;
	int64_t revision_before, revision_after;
};

struct replay_options {
	struct store_options store;
	struct slice default_user;
	const struct routes *routes;   /* may be NULL */
	const struct overrides *overrides; /* may be NULL */
	struct decode_options decode;
	unsigned rules;                /* 0 = the newest */
	int64_t since_ms;              /* only calls of which an event was taken since; 0 = all */
	struct slice call;             /* only this one, a call_logs.id or a room SID; none = all */
	bool dry_run;
	/* On the replay's thread, between transactions. `go_on` is asked after each page: false ends the walk. */
	bool (*go_on)(void *context, const struct replay_totals *t);
	void (*differs)(void *context, const struct replay_difference *d);
	void (*left_alone)(void *context, struct slice room_sid, enum replay_skip why, struct slice detail);
	void *context;
};

/* Does this binary have that version of the rules? */
bool replay_has_rules(unsigned rules);

/* 0 also when it was ended early (ret->interrupted). OC_NOT_FOUND: no such call. Else what the store says, with *ret_message in `a`; *ret counts
 * what was done until then, all of which stays. */
OC_NODISCARD int replay_run(const struct replay_options *o, struct arena *a, struct replay_totals *ret, struct slice *ret_message);
