/* Classifies recorded deliveries and sets the verdicts beside the truth that was recorded with them.
 *
 *   classify_captures [--drop N] [--marks MARKS] [--polls] FILE…
 *
 * --marks adds marks to the calls: JSON Lines, {roomSid, id, kind, source, atMs, withinMs, code, text, sipCallId}. --polls adds what the
 * watcher would have learnt from the recorded replies beside a FILE (NAME.polls.jsonl), each held against the events received by then.
 * Without --drop: a JSON line a call: {file, roomSid, room, outcome, reason, confidence, rule, alternatives, direction, startedAt,
 * endedAt, answeredAt, answeredAtEarliest, answeredAtLatest, truth, accept, grade}. The grade: wrong = certain of an outcome that the
 * truth does not accept; right = accepted and not ambiguous; unsure = anything else.
 * With --drop N: every way to withhold N different events of each call, and a line {file, roomSid, dropped, outcome, rule, …} for each
 * that comes out certain and wrong; the last line counts what was tried. Ends with 1 where anything is wrong. */
#include <getopt.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/verdict.h"
#include "core/watch.h"
#include "wire/decode.h"
#include "wire/livekit_api.h"

#define MAX_CALLS 64
#define MAX_EVENTS 512
#define FAR_FUTURE_MS INT64_C(253370764800000)

struct call {
	struct slice room_sid, room_name;
	const struct event *events[MAX_EVENTS];
	int64_t received_ms[MAX_EVENTS];
	size_t count;
	json_t *truth;
};

struct file {
	const char *name;
	struct arena *a;
	json_t *scenario;
	struct call calls[MAX_CALLS];
	size_t count;
};

struct tally {
	long right, unsure, wrong, tried;
	long certain, likely, ambiguous;
};

static struct call *call_of(struct file *f, const struct event *e)
{
	for (size_t i = 0; i < f->count; i++)
		if (slice_eq(f->calls[i].room_sid, e->room.sid))
			return &f->calls[i];
	if (slice_is_empty(e->room.sid) || f->count == MAX_CALLS)
		return NULL;
	struct call *c = &f->calls[f->count++];
	c->room_sid = e->room.sid;
	return c;
}

static void take_event(struct file *f, const struct event *e, int64_t received_ms)
{
	struct call *c = call_of(f, e);
	if (!c || c->count == MAX_EVENTS)
		return;
	for (size_t i = 0; i < c->count; i++)
		if (slice_eq(c->events[i]->id, e->id))
			return;
	if (slice_is_empty(c->room_name))
		c->room_name = e->room.name;
	c->received_ms[c->count] = received_ms;
	c->events[c->count++] = e;
}

static void take_delivery(struct file *f, json_t *row)
{
	static const struct decode_options OPTIONS = { .tenant_keys = NULL };
	json_t *body = json_object_get(row, "body");
	struct slice copy;
	if (!json_is_string(body) ||
	    !arena_copy(f->a, slice_of(json_string_value(body), json_string_length(body)), &copy))
		return;
	struct decoded *d = ARENA_NEW(f->a, struct decoded);
	if (d && decode_event(copy, &OPTIONS, f->a, d) == 0 && d->cause == DECODE_OK)
		take_event(f, &d->event, json_integer_value(json_object_get(row, "receivedAtMs")));
}

/* The truth of each call: the file's own, or for several calls the one of the same room, taken in their order. */
static void find_truths(struct file *f)
{
	json_t *calls = json_object_get(f->scenario, "calls");
	for (size_t i = 0; i < f->count; i++) {
		size_t nth = 0, k;
		json_t *one;
		for (size_t before = 0; before < i; before++)
			nth += slice_eq(f->calls[before].room_name, f->calls[i].room_name);
		f->calls[i].truth = json_object_get(f->scenario, "truth");
		json_array_foreach(calls, k, one) {
			const char *room = json_string_value(json_object_get(one, "roomName"));
			if (room && slice_eq_cstr(f->calls[i].room_name, room) && nth-- == 0) {
				f->calls[i].truth = json_object_get(one, "truth");
				break;
			}
		}
	}
}

static void take_row(struct file *f, json_t *row)
{
	json_t *scenario = json_object_get(row, "scenario");
	if (scenario && !f->scenario)
		f->scenario = json_incref(scenario);
	take_delivery(f, row);
}

static bool each_row(struct file *f, const char *name, void (*take)(struct file *f, json_t *row))
{
	FILE *in = fopen(name, "r");
	char *line = NULL;
	size_t size = 0;
	if (!in)
		return false;
	while (getline(&line, &size, in) > 0) {
		json_t *row = json_loads(line, 0, NULL);
		take(f, row);
		json_decref(row);
	}
	free(line);
	fclose(in);
	return true;
}

/* ---- second witnesses ---- */

static struct slice text_of(struct file *f, json_t *row, const char *key)
{
	struct slice copy = SLICE_NONE;
	(void)arena_copy(f->a, slice_cstr(json_string_value(json_object_get(row, key))), &copy);
	return copy;
}

static int64_t number_of(json_t *row, const char *key) { return json_integer_value(json_object_get(row, key)); }

static void take_mark(struct file *f, json_t *row)
{
	struct event *e = ARENA_NEW(f->a, struct event);
	if (!e)
		return;
	*e = (struct event){ .type = EVENT_MARK, .type_name = SLICE("mark"), .id = text_of(f, row, "id"), .created_at_s = number_of(row, "atMs") / 1000 };
	e->room.sid = text_of(f, row, "roomSid");
	e->mark = (struct event_mark){ .kind = mark_kind_from_name(text_of(f, row, "kind")), .source = mark_source_from_name(text_of(f, row, "source")),
		.at_ms = number_of(row, "atMs"), .within_ms = number_of(row, "withinMs"), .sip_code = (int)number_of(row, "code"),
		.sip_text = text_of(f, row, "text"), .sip_call_id = text_of(f, row, "sipCallId") };
	for (size_t i = 0; i < f->count; i++)
		if (slice_eq(f->calls[i].room_sid, e->room.sid))
			take_event(f, e, e->mark.at_ms);
}

/* What one recorded reply would have told the watcher, who knows the events that had come by then. */
static void learn_from(struct file *f, struct call *c, const struct watch_reply *reply, struct watch_memory *memory)
{
	struct facts *facts;
	struct event *events;
	size_t n;
	if (facts_new(f->a, c->room_sid, &facts) < 0)
		return;
	for (size_t i = 0; i < c->count; i++)
		if (c->received_ms[i] <= reply->got_ms && facts_fold(facts, c->events[i]) < 0)
			return;
	if (watch_learn(facts, reply, memory, f->a, &events, &n) < 0)
		return;
	for (size_t i = 0; i < n; i++)
		take_event(f, &events[i], reply->got_ms);
}

static struct watch_memory memory; /* of the file's one call */

static void take_poll(struct file *f, json_t *row)
{
	static const struct decode_options OPTIONS = { .tenant_keys = NULL };
	struct watch_reply reply = { .asked_ms = number_of(row, "sentAtMs"), .got_ms = number_of(row, "repliedAtMs") };
	struct event_participant *people;
	bool complete;
	if (number_of(row, "status") != 200 || f->count != 1 ||
	    livekit_read_participants(text_of(f, row, "body"), &OPTIONS, f->a, &people, &reply.participant_count, &complete) < 0 || !complete)
		return;
	reply.participants = people;
	learn_from(f, &f->calls[0], &reply, &memory);
}

static void load_polls(struct file *f)
{
	char name[4096];
	size_t n = strlen(f->name), ending = strlen(".jsonl");
	memset(&memory, 0, sizeof memory);
	if (n > ending && (size_t)snprintf(name, sizeof name, "%.*s.polls.jsonl", (int)(n - ending), f->name) < sizeof name)
		(void)each_row(f, name, take_poll);
}

static bool load(struct file *f, const char *marks, bool polls)
{
	if (!each_row(f, f->name, take_row))
		return false;
	find_truths(f);
	if (polls)
		load_polls(f);
	return !marks || each_row(f, marks, take_mark);
}

static bool accepted(json_t *truth, const char *outcome)
{
	json_t *accept = json_object_get(truth, "accept"), *one;
	size_t i;
	json_array_foreach(accept, i, one)
		if (outcome && json_is_string(one) && strcmp(json_string_value(one), outcome) == 0)
			return true;
	const char *told = json_string_value(json_object_get(truth, "outcome"));
	return outcome && told && strcmp(told, outcome) == 0;
}

/* Skips the events whose indexes are in `drop`. */
static bool classify(const struct call *c, const size_t *drop, size_t drops, struct arena *a, struct verdict *ret)
{
	struct facts *facts;
	if (facts_new(a, c->room_sid, &facts) < 0)
		return false;
	for (size_t i = 0; i < c->count; i++) {
		bool keep = true;
		for (size_t k = 0; k < drops; k++)
			keep &= drop[k] != i;
		if (keep && facts_fold(facts, c->events[i]) < 0)
			return false;
	}
	return verdict_classify(facts, VERDICT_RULES_VERSION, FAR_FUTURE_MS, a, ret) == 0;
}

static void put_verdict(struct jsonw *w, const struct file *f, const struct call *c, const struct verdict *v)
{
	jw_key(w, "file");
	jw_cstr(w, f->name);
	jw_key(w, "roomSid");
	jw_str(w, c->room_sid);
	jw_key(w, "room");
	jw_str(w, c->room_name);
	jw_key(w, "direction");
	jw_cstr(w, direction_name(v->direction));
	jw_key(w, "startedAt");
	jw_time_ms(w, v->started_at_ms);
	jw_key(w, "endedAt");
	jw_time_ms(w, v->ended_at_ms);
	verdict_write_members(v, w);
	jw_key(w, "truth");
	jw_cstr(w, json_string_value(json_object_get(c->truth, "outcome")));
}

static void print_line(const struct buf *b)
{
	(void)fwrite(b->p, 1, b->n, stdout);
	(void)fputc('\n', stdout);
}

static void report(const struct file *f, const struct call *c, const struct verdict *v, struct tally *t)
{
	bool ok = accepted(c->truth, outcome_name(v->outcome)), sure = v->confidence == CONFIDENCE_CERTAIN;
	const char *grade = sure && !ok ? "wrong" : ok && v->confidence != CONFIDENCE_AMBIGUOUS ? "right" : "unsure";
	t->wrong += sure && !ok;
	t->right += grade[0] == 'r';
	t->unsure += grade[0] == 'u';
	t->certain += sure;
	t->likely += v->confidence == CONFIDENCE_LIKELY;
	t->ambiguous += v->confidence == CONFIDENCE_AMBIGUOUS;
	_cleanup_buf_ struct buf b = BUF_INIT;
	struct jsonw w = JSONW(&b);
	jw_obj(&w);
	put_verdict(&w, f, c, v);
	jw_key(&w, "grade");
	jw_cstr(&w, grade);
	jw_obj_end(&w);
	print_line(&b);
}

static void try_drop(const struct file *f, const struct call *c, const size_t *drop, size_t drops, struct tally *t)
{
	_cleanup_arena_ struct arena *a = arena_new(32 * 1024);
	struct verdict v;
	t->tried++;
	if (!a || !classify(c, drop, drops, a, &v)) {
		t->wrong++;
		return;
	}
	if (v.confidence != CONFIDENCE_CERTAIN || accepted(c->truth, outcome_name(v.outcome)))
		return;
	t->wrong++;
	_cleanup_buf_ struct buf b = BUF_INIT;
	struct jsonw w = JSONW(&b);
	jw_obj(&w);
	jw_key(&w, "dropped");
	jw_arr(&w);
	for (size_t k = 0; k < drops; k++) {
		jw_obj(&w);
		jw_key(&w, "eventId");
		jw_str(&w, c->events[drop[k]]->id);
		jw_key(&w, "event");
		jw_str(&w, c->events[drop[k]]->type_name);
		jw_obj_end(&w);
	}
	jw_arr_end(&w);
	put_verdict(&w, f, c, &v);
	jw_obj_end(&w);
	print_line(&b);
}

/* All ways to choose `left` more events from index `from` on. */
static void drop_more(const struct file *f, const struct call *c, size_t *drop, size_t chosen, size_t left, size_t from, struct tally *t)
{
	if (left == 0) {
		try_drop(f, c, drop, chosen, t);
		return;
	}
	for (size_t i = from; i + left <= c->count; i++) {
		drop[chosen] = i;
		drop_more(f, c, drop, chosen + 1, left - 1, i + 1, t);
	}
}

static void run_file(struct file *f, size_t drops, struct tally *t)
{
	for (size_t i = 0; i < f->count; i++) {
		const struct call *c = &f->calls[i];
		size_t drop[8];
		struct verdict v;
		if (drops > 0)
			drop_more(f, c, drop, 0, drops, 0, t);
		else if (classify(c, NULL, 0, f->a, &v))
			report(f, c, &v, t);
	}
}

static bool run(const char *name, const char *marks, bool polls, size_t drops, struct tally *t)
{
	struct file *f = calloc(1, sizeof *f);
	if (!f)
		return false;
	f->name = name;
	f->a = arena_new(256 * 1024);
	bool ok = f->a && load(f, marks, polls);
	if (ok)
		run_file(f, drops, t);
	else
		(void)fprintf(stderr, "%s: cannot be read\n", name);
	json_decref(f->scenario);
	arena_free(f->a);
	free(f);
	return ok;
}

int main(int argc, char **argv)
{
	static const struct option LONG[] = { { "drop", required_argument, NULL, 'd' }, { "marks", required_argument, NULL, 'm' },
		{ "polls", no_argument, NULL, 'p' }, { NULL, 0, NULL, 0 } };
	struct tally t = { .right = 0 };
	const char *marks = NULL;
	bool polls = false, usage = false;
	size_t drops = 0;
	for (int c; (c = getopt_long(argc, argv, "", LONG, NULL)) != -1;) {
		if (c == 'd')
			drops = (size_t)strtoul(optarg, NULL, 10);
		else if (c == 'm')
			marks = optarg;
		else if (c == 'p')
			polls = true;
		else
			usage = true;
	}
	if (usage || optind >= argc || drops > 8) {
		(void)fputs("usage: classify_captures [--drop N] [--marks MARKS] [--polls] FILE...\n", stderr);
		return 2;
	}
	for (int i = optind; i < argc; i++)
		if (!run(argv[i], marks, polls, drops, &t))
			return 2;
	if (drops > 0)
		printf("{\"tried\":%ld,\"wrongAndCertain\":%ld}\n", t.tried, t.wrong);
	else
		(void)fprintf(stderr, "right %ld unsure %ld wrong %ld; certain %ld likely %ld ambiguous %ld\n", t.right, t.unsure, t.wrong,
			t.certain, t.likely, t.ambiguous);
	return t.wrong > 0;
}
