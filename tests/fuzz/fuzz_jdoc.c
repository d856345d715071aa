/* The JSON reader, and the writer's strings: what is taken without a fault is the very tree that jansson sees, every number that is whole is the same
 * by long double (which holds all of int64), every text and key can be had; what jansson refuses is refused. Any bytes written as a JSON string are
 * one, and the same text where they were UTF-8. */
#include "must.h"

#include <string.h>

#include "base/jsonw.h"
#include "view.h"
#include "wire/jdoc.h"

static void check_number(struct slice literal, double seen)
{
	char text[64];
	int64_t v;
	if (jdoc_int64(literal, &v) != JDOC_INT_OK || literal.n >= sizeof text)
		return;
	memcpy(text, literal.p, literal.n);
	text[literal.n] = 0;
	char *end;
	must(strtold(text, &end) == (long double)v && *end == 0);
	must((double)v == seen);
}

static void check_text(const struct jdoc *j, uint32_t node, const char *p, size_t n, struct arena *a)
{
	struct slice text = SLICE_NONE;
	must(jdoc_text(j, node, a, &text) == 0 && slice_eq(text, slice_of(p, n)) && jdoc_text_is(j, node, text));
	must(!jdoc_text_is(j, node, slice_of(p, n ? n - 1 : 0)) || n == 0);
	must(text.n <= jdoc_raw(j, node).n && slice_is_utf8(text));
}

static void check_node(const struct jdoc *j, uint32_t node, json_t *view, struct arena *a)
{
	size_t n = 0;
	must(node < j->count && j->nodes[node].next > node && j->nodes[node].next <= j->count);
	must(j->nodes[node].start <= j->nodes[node].end && j->nodes[node].end <= j->text.n);
	switch (jdoc_type_of(j, node)) {
	case JDOC_OBJECT:
		must(json_is_object(view));
		for (uint32_t key = jdoc_first(j, node); key < jdoc_end(j, node); key = jdoc_after(j, key + 1), n++) {
			struct slice name = SLICE_NONE;
			must(jdoc_text(j, key, a, &name) == 0);
			json_t *member = json_object_getn(view, name.n ? name.p : "", name.n);
			must(member && jdoc_member(j, node, name) == key + 1);
			check_node(j, key + 1, member, a);
		}
		must(n == json_object_size(view));
		return;
	case JDOC_ARRAY:
		must(json_is_array(view));
		for (uint32_t item = jdoc_first(j, node); item < jdoc_end(j, node); item = jdoc_after(j, item), n++)
			check_node(j, item, json_array_get(view, n), a);
		must(n == json_array_size(view));
		return;
	case JDOC_STRING:
		must(json_is_string(view));
		check_text(j, node, json_string_value(view), json_string_length(view), a);
		return;
	case JDOC_NUMBER:
		must(json_is_number(view));
		check_number(jdoc_raw(j, node), json_number_value(view));
		return;
	case JDOC_TRUE:
		must(json_is_true(view));
		return;
	case JDOC_FALSE:
		must(json_is_false(view));
		return;
	case JDOC_NULL:
		must(json_is_null(view));
		return;
	}
	must(false);
}

static void check_tree(struct slice text, struct arena *a)
{
	struct jdoc j;
	enum json_error_code why;
	must(jdoc_parse(text, a, &j) == 0);
	must(j.fault_at <= text.n && jdoc_fault_line(&j) >= 1);
	must(j.fault == JDOC_OK || jdoc_fault_text(j.fault)[0]);
	json_t *view = view_of(text, &why);
	if (j.fault == JDOC_OK && view)
		check_node(&j, 0, view, a);
	else if (j.fault == JDOC_OK)
		must(why == json_error_numeric_overflow);
	else if (view) /* its bounds are wider */
		must(j.fault == JDOC_NUL || j.fault == JDOC_TOO_DEEP || j.fault == JDOC_TOO_MANY || j.fault == JDOC_NUMBER_RANGE);
	json_decref(view);
}

/* Also of a literal that stands nowhere, as protojson has them in strings. */
static void check_literal(struct slice text)
{
	int64_t v = 0, again = 0;
	if (jdoc_int64(text, &v) != JDOC_INT_OK)
		return;
	_cleanup_buf_ struct buf b = BUF_INIT;
	buf_put_int(&b, v);
	must(jdoc_int64(buf_slice(&b), &again) == JDOC_INT_OK && again == v);
	check_number(text, (double)v);
}

static void check_string(struct slice bytes, struct arena *a)
{
	_cleanup_buf_ struct buf b = BUF_INIT;
	struct jdoc j;
	struct slice back = SLICE_NONE;
	enum json_error_code why;
	buf_put_json_string(&b, bytes);
	must(!buf_failed(&b) && jdoc_parse(buf_slice(&b), a, &j) == 0);
	must(j.fault == JDOC_OK || j.fault == JDOC_NUL);
	for (size_t i = 0; i < b.n; i++)
		must((unsigned char)b.p[i] >= ' ');
	if (j.fault == JDOC_NUL)
		return;
	json_t *view = view_of(buf_slice(&b), &why);
	must(json_is_string(view) && jdoc_text(&j, 0, a, &back) == 0);
	must(slice_eq(back, slice_of(json_string_value(view), json_string_length(view))));
	must(!slice_is_utf8(bytes) || slice_eq(back, bytes));
	json_decref(view);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena *a = arena_new(16384);
	must(a);
	struct slice text = slice_of((const char *)data, size);
	check_tree(text, a);
	check_literal(text);
	check_string(text, a);
	arena_free(a);
	return 0;
}
