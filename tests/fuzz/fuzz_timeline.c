/* A recording or a journal export, as explain draws it: whatever is in it, no line is wider than the terminal, no control character gets through,
 * times never run back, and every event is in one call at most. */
#include "must.h"

#include "cmd/ladder.h"
#include "core/verdict.h"

static const struct terminal terminals[] = { { .columns = 40 }, { .columns = 90, .utf8 = true }, { .columns = 60, .utf8 = true, .colour = false, .show_numbers = true } };

static void must_be_printable(const struct terminal *t, struct slice text)
{
	struct slice rest = text, line;
	must(slice_is_utf8(text));
	for (size_t i = 0; i < text.n; i++)
		must(text.p[i] == '\n' || ((unsigned char)text.p[i] >= ' ' && text.p[i] != 0x7f && (t->utf8 || (unsigned char)text.p[i] < 0x80)));
	while (!slice_is_none(rest)) {
		slice_split(rest, '\n', &line, &rest);
		must(terminal_width(line) <= t->columns);
	}
}

static void draw(const struct timeline *line, struct arena *a)
{
	struct detail d;
	struct verdict v;
	for (size_t i = 1; i < line->count; i++)
		must(line->rows[i - 1]->at_ms <= line->rows[i]->at_ms);
	must(verdict_classify(line->facts, VERDICT_RULES_VERSION, INT64_C(253370764800000), a, &v) == 0);
	must(detail_make(line->facts, v.outcome != OUTCOME_NONE, a, &d) == 0);
	for (size_t i = 0; i < sizeof terminals / sizeof terminals[0]; i++) {
		struct buf out = BUF_INIT;
		must(ladder_write(&terminals[i], line, &d, a, &out) == 0);
		must_be_printable(&terminals[i], buf_slice(&out));
		buf_done(&out);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct slice keys[] = { { "user_id", 7 } };
	const struct decode_options o = { .tenant_keys = keys, .tenant_key_count = 1 };
	struct arena *a = arena_new(65536);
	must(a);
	struct told_list list = { .count = 0 };
	struct timeline *calls;
	struct slice message = SLICE_NONE;
	size_t count = 0, left = 0, placed = 0;
	int r = told_read(slice_of((const char *)data, size), &o, a, &list, &message);
	must(r == 0 || ((r == OC_INVALID || r == OC_NOT_FOUND) && message.n > 0));
	if (r == 0) {
		r = timelines_make(&list, a, &calls, &count, &left);
		must(r == 0 || r == OC_FULL);
	}
	for (size_t i = 0; r == 0 && i < count; i++) {
		placed += calls[i].count;
		draw(&calls[i], a);
	}
	must(placed <= list.count && left <= list.count);
	arena_free(a);
	return 0;
}
