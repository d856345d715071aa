/* Reads JSON (RFC 8259) into a flat list of nodes that point into the text: one strict pass, no copies. A tree of objects costs ten
 * times as much as everything else that is done to a webhook, so decoding, redaction, tokens and routes all read from this.
 *
 * Beyond RFC 8259 it refuses what PostgreSQL's jsonb refuses (NUL, lone surrogates, numbers beyond numeric's range), keys that occur twice
 * in an object, more than JDOC_MAX_DEPTH levels and more than JDOC_MAX_NODES values. A document with a fault keeps the nodes that were
 * read, so that an event that must be kept aside can still be named. Thread-safe. */
#pragma once

#include "base/arena.h"
#include "base/error.h"

#define JDOC_MAX_DEPTH 64
#define JDOC_MAX_NODES 400000
#define JDOC_MAX_EXPONENT 1000 /* of a number, either sign; also the most digits it may have */

enum jdoc_type { JDOC_OBJECT, JDOC_ARRAY, JDOC_STRING, JDOC_NUMBER, JDOC_TRUE, JDOC_FALSE, JDOC_NULL };

/* A fault of the first group ends reading. After one of the second group reading goes on, and all nodes are there. */
enum jdoc_fault {
	JDOC_OK = 0,
	JDOC_SYNTAX, JDOC_TOO_DEEP, JDOC_TOO_MANY,
	JDOC_DUPLICATE_KEY, JDOC_BAD_UTF8, JDOC_NUL, JDOC_SURROGATE, JDOC_NUMBER_RANGE,
};

/* For people; empty for JDOC_OK. */
const char *jdoc_fault_text(enum jdoc_fault fault);

/* An object's children are key, value, key, value, …; a key is a JDOC_STRING. */
struct jdoc_node {
	uint32_t start, end; /* bytes of the text; a string's without its quotes */
	uint32_t next;       /* the node after this one and all that is in it */
	uint8_t type;
	bool escaped; /* a string with backslashes in it */
};

struct jdoc {
	struct slice text;
	struct jdoc_node *nodes; /* nodes[0] is the document; none at all where nothing could be read */
	uint32_t count;
	enum jdoc_fault fault; /* the one that ended reading, else the first */
	uint32_t fault_at;     /* where in the text */
};

/* OC_NOMEM; faults are in *ret. Nodes live in `a`; they point into `text`. */
OC_NODISCARD int jdoc_parse(struct slice text, struct arena *a, struct jdoc *ret);
/* The line of the fault, from 1: for files that people write. */
size_t jdoc_fault_line(const struct jdoc *j);

static inline enum jdoc_type jdoc_type_of(const struct jdoc *j, uint32_t node) { return (enum jdoc_type)j->nodes[node].type; }
/* What stands in the text: a string without its quotes and with its escapes, anything else whole. */
static inline struct slice jdoc_raw(const struct jdoc *j, uint32_t node)
{
	return slice_of(j->text.p + j->nodes[node].start, j->nodes[node].end - j->nodes[node].start);
}
/* A string's text: a slice of the text itself where nothing is escaped. OC_NOMEM; OC_INVALID where the string cannot be had as UTF-8 without
 * NUL. */
OC_NODISCARD int jdoc_text(const struct jdoc *j, uint32_t node, struct arena *a, struct slice *ret);
/* Compares without unescaping into memory. */
bool jdoc_escaped_text_is(const struct jdoc *j, uint32_t node, struct slice text);
static inline bool jdoc_text_is(const struct jdoc *j, uint32_t node, struct slice text)
{
	return j->nodes[node].escaped ? jdoc_escaped_text_is(j, node, text) : slice_eq(jdoc_raw(j, node), text);
}

/* for (uint32_t key = jdoc_first(j, object); key < jdoc_end(j, object); key = jdoc_after(j, key + 1)) … value is key + 1 */
static inline uint32_t jdoc_first(const struct jdoc *j, uint32_t node) { (void)j; return node + 1; }
static inline uint32_t jdoc_end(const struct jdoc *j, uint32_t node) { return j->nodes[node].next; }
static inline uint32_t jdoc_after(const struct jdoc *j, uint32_t node) { return j->nodes[node].next; }

/* The value of the first member of this name, or 0 (which is never a member's value). */
uint32_t jdoc_member(const struct jdoc *j, uint32_t object, struct slice name);

enum jdoc_int { JDOC_INT_OK, JDOC_INT_NOT_A_NUMBER, JDOC_INT_FRACTION, JDOC_INT_RANGE };
/* The literal of a number, also 1.79e9 and 5.0, exactly. *ret is untouched unless JDOC_INT_OK. */
enum jdoc_int jdoc_int64(struct slice literal, int64_t *ret);
