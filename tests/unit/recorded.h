/* The recorded deliveries of tests/captures for tests in C. Programs run in the source's root, as the test runner starts them. */
#pragma once

#include <glob.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/slice.h"

typedef void (*recorded_fn)(void *context, struct slice authorization, struct slice body);

static inline size_t recorded_in(const char *path, recorded_fn fn, void *context)
{
	FILE *f = fopen(path, "r");
	char *line = NULL;
	size_t size = 0, count = 0;
	while (f && getline(&line, &size, f) > 0) {
		json_t *row = json_loads(line, 0, NULL);
		json_t *body = json_object_get(row, "body"), *auth = json_object_get(json_object_get(row, "headers"), "Authorization");
		if (json_is_string(body) && json_is_string(auth)) {
			fn(context, slice_of(json_string_value(auth), json_string_length(auth)), slice_of(json_string_value(body), json_string_length(body)));
			count++;
		}
		json_decref(row);
	}
	free(line);
	if (f)
		fclose(f);
	return count;
}

/* Calls fn for every delivery; how many there were. */
static inline size_t recorded_each(recorded_fn fn, void *context)
{
	glob_t paths;
	size_t count = 0;
	if (glob("tests/captures/*.jsonl", 0, NULL, &paths) != 0)
		return 0;
	for (size_t i = 0; i < paths.gl_pathc; i++)
		count += recorded_in(paths.gl_pathv[i], fn, context);
	globfree(&paths);
	return count;
}
