/* Jansson's view of a JSON text, as the judge beside wire/jdoc. Its own bounds are others: a number may overflow its double. It takes a NUL
 * byte for the end of the text, so texts with one are not shown to it: no such text is JSON. */
#pragma once

#include <jansson.h>

#include "base/slice.h"

static inline json_t *view_of(struct slice text, enum json_error_code *ret_why)
{
	json_error_t error;
	*ret_why = json_error_invalid_syntax;
	if (text.n && memchr(text.p, 0, text.n))
		return NULL;
	json_t *j = json_loadb(text.n ? text.p : "", text.n, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL | JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL, &error);
	*ret_why = j ? json_error_unknown : json_error_code(&error);
	return j;
}
