/* The table of paths. A path is matched as received, segment by segment, so that an encoded "/" never changes what is asked for. */
#include "http/internal.h"
#include "wire/mark.h"

#define ALLOW_GET "GET, HEAD, OPTIONS"
#define ALLOW_POST "POST, OPTIONS"

static const struct endpoint endpoints[] = {
	{ "/api/webhooks/call_completed", ALLOW_POST, false, true, true, receiver_run, 0, true },
	{ "/api/webhooks/call_completed/health", ALLOW_GET, true, false, false, health_run, 0, true },
	{ "/api/calls/*/outcome", ALLOW_GET, true, false, true, outcome_run, 0, false },
	{ "/api/calls/*/events", ALLOW_GET, true, false, true, events_run, 0, false },
	{ "/api/calls/*", ALLOW_GET, true, false, true, call_run, 0, false },
	{ "/api/calls", ALLOW_GET, true, false, true, list_run, 0, false },
	{ "/api/marks", ALLOW_POST, false, true, true, marks_run, MARK_MAX_BYTES, false },
	{ "/livez", ALLOW_GET, true, false, false, livez_run, 0, true },
	{ "/readyz", ALLOW_GET, true, false, false, readyz_run, 0, true },
	{ "/metrics", ALLOW_GET, true, false, false, metrics_run, 0, false },
	{ "/openapi.json", ALLOW_GET, true, false, false, openapi_run, 0, true },
	{ "/", ALLOW_GET, true, false, false, root_run, 0, true },
};

const struct endpoint *endpoints_all(size_t *ret_count)
{
	*ret_count = sizeof endpoints / sizeof endpoints[0];
	return endpoints;
}

static bool matches(const char *pattern, struct slice path, struct slice *ret_segment)
{
	struct slice want, got, want_rest = slice_cstr(pattern), got_rest = path, segment = SLICE_NONE;
	do {
		bool more_wanted = slice_split(want_rest, '/', &want, &want_rest);
		bool more_got = slice_split(got_rest, '/', &got, &got_rest);
		if (more_wanted != more_got)
			return false;
		if (slice_eq(want, SLICE("*")) && !slice_is_empty(got))
			segment = got;
		else if (!slice_eq(want, got))
			return false;
	} while (!slice_is_none(want_rest));
	*ret_segment = segment;
	return true;
}

const struct endpoint *endpoint_find(struct slice path, struct slice *ret_segment)
{
	for (size_t i = 0; i < sizeof endpoints / sizeof endpoints[0]; i++)
		if (matches(endpoints[i].path, path, ret_segment))
			return &endpoints[i];
	return NULL;
}

enum method method_from_name(const char *name)
{
	static const struct {
		const char *name;
		enum method method;
	} methods[] = { { "POST", METHOD_POST }, { "GET", METHOD_GET }, { "HEAD", METHOD_HEAD }, { "OPTIONS", METHOD_OPTIONS } };
	for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++)
		if (strcmp(name, methods[i].name) == 0)
			return methods[i].method;
	return METHOD_OTHER;
}

bool endpoint_allows(const struct endpoint *r, enum method m)
{
	switch (m) {
	case METHOD_GET:
	case METHOD_HEAD: return r->get;
	case METHOD_POST: return r->post;
	case METHOD_OPTIONS: return true;
	case METHOD_OTHER: return false;
	}
	return false;
}
