/* The routes file: what is taken has as many routes as jansson sees, each with a value and a tenant; what is refused has a message. */
#include "must.h"

#include "view.h"
#include "wire/routes.h"

static size_t routes_in(struct slice text)
{
	enum json_error_code why;
	json_t *view = view_of(text, &why), *part;
	const char *key;
	size_t n = 0;
	must(json_is_object(view));
	json_object_foreach(view, key, part)
		n += json_object_size(part);
	json_decref(view);
	return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena *a = arena_new(8192);
	must(a);
	struct slice text = slice_of((const char *)data, size), message = SLICE_NONE;
	struct routes r;
	int rc = routes_parse(text, a, &r, &message);
	must(rc == 0 || rc == OC_INVALID);
	if (rc == OC_INVALID)
		must(message.n > 0 && slice_is_utf8(message));
	if (rc == 0) {
		must(r.count == routes_in(text));
		for (size_t i = 0; i < r.count; i++) {
			must(r.items[i].kind <= ROUTE_API_KEY && r.items[i].value.n > 0 && r.items[i].tenant.n > 0);
			must(slice_is_utf8(r.items[i].value) && slice_is_utf8(r.items[i].tenant));
		}
	}
	arena_free(a);
	return 0;
}
