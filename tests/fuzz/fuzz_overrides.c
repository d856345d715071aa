/* The overrides file: what is taken has as many overrides as jansson sees, each with a reason and an outcome; what is refused has a message. */
#include "must.h"

#include "view.h"
#include "wire/overrides.h"

static size_t overrides_in(struct slice text)
{
	enum json_error_code why;
	json_t *view = view_of(text, &why), *one;
	const char *key;
	must(json_is_object(view));
	size_t n = json_object_size(json_object_get(view, "all"));
	json_object_foreach(json_object_get(view, "tenants"), key, one)
		n += json_object_size(one);
	json_decref(view);
	return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena *a = arena_new(8192);
	must(a);
	struct slice text = slice_of((const char *)data, size), message = SLICE_NONE;
	struct overrides o;
	int rc = overrides_parse(text, a, &o, &message);
	must(rc == 0 || rc == OC_INVALID);
	if (rc == OC_INVALID)
		must(message.n > 0 && slice_is_utf8(message));
	if (rc == 0) {
		must(o.count == overrides_in(text));
		for (size_t i = 0; i < o.count; i++) {
			must(verdict_reason_name(o.items[i].reason) && outcome_name(o.items[i].outcome));
			must(slice_is_none(o.items[i].tenant) || (o.items[i].tenant.n > 0 && slice_is_utf8(o.items[i].tenant)));
		}
	}
	arena_free(a);
	return 0;
}
