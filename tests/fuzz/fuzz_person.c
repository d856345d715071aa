/* Who is to be forgotten: the input is "who\ntext", who both as a number and as a tenant's id. A number that is taken is digits alone, the same whichever
 * way it is written, and found where those digits stand by themselves and not where they are part of a longer number; an id that is taken is found where it
 * stands in JSON, also in JSON within JSON. Whatever the text is, it is looked at to its end and no further. */
#include "must.h"

#include "base/jsonw.h"
#include "base/person.h"

static bool found(const struct person *p, const char *before, struct slice what, const char *behind)
{
	_cleanup_buf_ struct buf b = BUF_INIT;
	buf_puts(&b, before);
	buf_put(&b, what);
	buf_puts(&b, behind);
	must(!buf_failed(&b));
	return person_is_mentioned(p, buf_slice(&b));
}

/* By itself: by another way than the code's. */
static bool stands_alone(struct slice digits, struct slice text)
{
	for (size_t i = 0; i + digits.n <= text.n; i++) {
		bool before = i && text.p[i - 1] >= '0' && text.p[i - 1] <= '9';
		bool behind = i + digits.n < text.n && text.p[i + digits.n] >= '0' && text.p[i + digits.n] <= '9';
		if (memcmp(text.p + i, digits.p, digits.n) == 0 && !before && !behind)
			return true;
	}
	return false;
}

static void check_number(struct slice who, struct slice text, struct arena *a)
{
	struct person p, again;
	if (person_of_number(who, a, &p) != 0)
		return;
	must(p.digits.n >= PERSON_LEAST_DIGITS && p.digits.n <= PERSON_MOST_DIGITS && slice_is_none(p.user));
	for (size_t i = 0; i < p.digits.n; i++)
		must(p.digits.p[i] >= '0' && p.digits.p[i] <= '9');
	must(found(&p, "sip_+", p.digits, "_1") && found(&p, "00", p.digits, "") && !found(&p, "1", p.digits, "") && !found(&p, "\"", p.digits, "0\""));
	must(p.digits.p[0] == '0' || (person_of_number(p.digits, a, &again) == 0 && slice_eq(p.digits, again.digits)));
	if (text.n && stands_alone(p.digits, text))
		must(person_is_mentioned(&p, text));
	if (text.n && person_is_mentioned(&p, text))
		must(person_in_bytes(&p, text));
}

static void check_user(struct slice who, struct slice text, struct arena *a)
{
	_cleanup_buf_ struct buf once = BUF_INIT, twice = BUF_INIT;
	struct person p;
	if (person_of_user(who, a, &p) != 0)
		return;
	must(slice_eq(p.user, who) && slice_is_none(p.digits) && p.word_count >= 1 && p.word_count <= PERSON_MOST_WORDS);
	must(found(&p, "", who, "") && found(&p, "t\t2\t", who, "\tEV_1\n"));
	buf_put_json_string(&once, who);
	must(found(&p, "{\"user_id\":", buf_slice(&once), "}"));
	bool plain = slice_is_utf8(who) && !memchr(who.p, '"', who.n) && !memchr(who.p, '\\', who.n);
	buf_put_json_string(&twice, buf_slice(&once));
	if (plain)
		must(found(&p, "{\"metadata\":", buf_slice(&twice), "}"));
	(void)person_is_mentioned(&p, text);
	must(!person_in_bytes(&p, text));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena *a = arena_new(4096);
	struct slice who, text;
	must(a);
	slice_split(slice_of((const char *)data, size), '\n', &who, &text);
	check_number(who, text, a);
	check_user(who, text, a);
	arena_free(a);
	return 0;
}
