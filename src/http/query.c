/* Percent-decoding and query strings. Everything is refused that is not exactly what its standard says: a filter that is
 * read wrongly shows the wrong calls. No state. */
#include "http/query.h"

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

int percent_decode(struct slice text, bool plus_is_space, struct arena *a, struct slice *ret)
{
	char *out = arena_alloc(a, text.n + 1);
	if (!out)
		return OC_NOMEM;
	size_t n = 0;
	for (size_t i = 0; i < text.n; i++) {
		char c = text.p[i];
		if (c == '%') {
			int high = i + 2 < text.n ? hex_digit(text.p[i + 1]) : -1;
			int low = i + 2 < text.n ? hex_digit(text.p[i + 2]) : -1;
			if (high < 0 || low < 0)
				return OC_INVALID;
			c = (char)(high << 4 | low);
			i += 2;
		} else if (c == '+' && plus_is_space) {
			c = ' ';
		}
		out[n++] = c;
	}
	*ret = slice_of(out, n);
	return OC_OK;
}

static const struct query_parameter *find_parameter(struct slice name, const struct query_parameter *known, size_t count, size_t *ret_index)
{
	for (size_t i = 0; i < count; i++)
		if (slice_eq_cstr(name, known[i].name)) {
			*ret_index = i;
			return &known[i];
		}
	return NULL;
}

static enum query_problem parse_pair(struct slice pair, const struct query_parameter *known, size_t count, struct arena *a,
	struct slice *values, struct slice *ret_name)
{
	struct slice raw_name, raw_value, name, value;
	if (!slice_split(pair, '=', &raw_name, &raw_value))
		raw_value = SLICE("");
	*ret_name = slice_of(raw_name.p, raw_name.n < 100 ? raw_name.n : 100);
	int r = percent_decode(raw_name, true, a, &name);
	if (r == OC_NOMEM)
		return QUERY_NOMEM;
	if (r != OC_OK)
		return QUERY_MALFORMED;
	size_t index;
	const struct query_parameter *parameter = find_parameter(name, known, count, &index);
	if (!parameter)
		return QUERY_UNKNOWN;
	if (!slice_is_none(values[index]))
		return QUERY_REPEATED;
	r = percent_decode(raw_value, !parameter->plus_is_plus, a, &value);
	if (r == OC_NOMEM)
		return QUERY_NOMEM;
	if (r != OC_OK)
		return QUERY_MALFORMED;
	values[index] = value;
	return QUERY_OK;
}

enum query_problem query_parse(struct slice query, const struct query_parameter *known, size_t count, struct arena *a,
	struct slice *values, struct slice *ret_name)
{
	for (size_t i = 0; i < count; i++)
		values[i] = SLICE_NONE;
	struct slice rest = query, pair;
	while (!slice_is_none(rest)) {
		slice_split(rest, '&', &pair, &rest);
		if (slice_is_empty(pair))
			continue;
		enum query_problem problem = parse_pair(pair, known, count, a, values, ret_name);
		if (problem != QUERY_OK)
			return problem;
	}
	return QUERY_OK;
}
