/* Facts as bytes: what decodes encodes to the same bytes, merging it with itself changes nothing, and it can be judged at any time. */
#include "must.h"

#include "core/verdict.h"

static void judge(const struct facts *f, int64_t as_of_ms, struct arena *a)
{
	struct verdict v;
	must(verdict_classify(f, VERDICT_RULES_VERSION, as_of_ms, a, &v) == 0);
	must((v.outcome == OUTCOME_NONE) == (v.status == CALL_ACTIVE));
	must(v.status == CALL_ACTIVE || (confidence_name(v.confidence) && verdict_reason_name(v.reason) && v.due_at_ms == 0));
	must(v.duration_s >= -1 && (v.ended_at_ms == 0 || v.ended_at_ms >= v.started_at_ms));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena *a = arena_new(16384);
	must(a);
	struct slice bytes = slice_of((const char *)data, size);
	struct facts *f;
	int rc = facts_decode(a, bytes, &f);
	must(rc == 0 || rc == OC_INVALID);
	if (rc == 0) {
		struct buf once = BUF_INIT, again = BUF_INIT;
		struct facts *merged;
		facts_encode(f, &once);
		must(slice_eq(buf_slice(&once), bytes));
		must(facts_new(a, f->room_sid, &merged) == 0);
		must(facts_merge(merged, f) == 0 && facts_merge(merged, f) == 0);
		facts_encode(merged, &again);
		judge(f, 0, a);
		judge(merged, INT64_C(253370764800000), a);
		buf_done(&once);
		buf_done(&again);
	}
	arena_free(a);
	return 0;
}
