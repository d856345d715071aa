/* Somebody who is to be forgotten, and whether a text mentions them: a phone number however it is written, or a tenant's id. Pure; any thread. */
#pragma once

#include "base/arena.h"
#include "base/error.h"

#define PERSON_LEAST_DIGITS 7
#define PERSON_MOST_DIGITS 20
#define PERSON_MOST_WORDS 3

struct person {
	struct slice digits; /* a phone number, international, without + and 00; none: a tenant */
	struct slice user;   /* the tenant's id; none: a number */
	struct slice words[PERSON_MOST_WORDS]; /* the id as it stands in a text, in JSON and in facts, each once */
	size_t word_count;
};

/* +49 30 123456, 004930123456, 4930123456. OC_INVALID: too few or too many digits, or something else in it. */
OC_NODISCARD int person_of_number(struct slice number, struct arena *a, struct person *ret);
/* OC_INVALID: empty, or control characters. */
OC_NODISCARD int person_of_user(struct slice user, struct arena *a, struct person *ret);

/* A number: its digits, with at most two blanks, hyphens, dots, slashes or brackets between one and the next, and no digit before (but 00) or behind.
 * An id: between the ends of the text, quotes (escaped ones too), tabs or ends of lines. */
bool person_is_mentioned(const struct person *p, struct slice text);

/* In a file's bytes, where nothing says what stands beside what: a number's digits anywhere, also within a longer number. False for an id. */
bool person_in_bytes(const struct person *p, struct slice bytes);
