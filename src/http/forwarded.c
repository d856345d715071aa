#include "http/forwarded.h"

#define MOST_HOPS 64 /* more, and nobody is believed */

/* The client among hops[0..n), the nearest proxy's word last; an empty hop is one that nobody can read. */
static struct address walk(const struct networks *trusted, struct address peer, const struct slice *hops, size_t n)
{
	struct address at = peer, next;
	while (n-- > 0 && networks_have(trusted, at) && address_parse(hops[n], &next))
		at = next;
	return at;
}

static struct address from_x_forwarded_for(const struct networks *trusted, struct address peer, struct slice text)
{
	struct address at = peer, next;
	while (!slice_is_none(text) && networks_have(trusted, at)) {
		const char *comma = text.n ? memrchr(text.p, ',', text.n) : NULL;
		struct slice hop = comma ? slice_of(comma + 1, (size_t)(text.p + text.n - comma) - 1) : text;
		if (!address_parse(slice_trim(hop), &next))
			break;
		at = next;
		text = comma ? slice_of(text.p, (size_t)(comma - text.p)) : SLICE_NONE;
	}
	return at;
}

static bool is_token_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || (c != '\0' && strchr("!#$%&'*+-.^_`|~", c));
}

static void skip_blanks(struct slice *s)
{
	while (s->n && (s->p[0] == ' ' || s->p[0] == '\t'))
		*s = slice_of(s->p + 1, s->n - 1);
}

static struct slice take_token(struct slice *s)
{
	size_t n = 0;
	while (n < s->n && is_token_char(s->p[n]))
		n++;
	struct slice token = slice_of(s->p, n);
	*s = slice_of(s->p + n, s->n - n);
	return token;
}

/* A token or a quoted text without escapes. False: malformed. */
static bool take_value(struct slice *s, struct slice *ret)
{
	if (!s->n || s->p[0] != '"') {
		*ret = take_token(s);
		return ret->n > 0;
	}
	const char *end = memchr(s->p + 1, '"', s->n - 1);
	if (!end)
		return false;
	*ret = slice_of(s->p + 1, (size_t)(end - s->p) - 1);
	*s = slice_of(end + 1, s->n - ret->n - 2);
	return !memchr(ret->p, '\\', ret->n);
}

/* One element: pairs separated by ";". *ret_hop is what its `for` says, empty where it says nothing. False: malformed. */
static bool take_element(struct slice *s, struct slice *ret_hop)
{
	*ret_hop = SLICE("");
	bool has_for = false;
	for (;;) {
		struct slice value;
		skip_blanks(s);
		struct slice name = take_token(s);
		if (name.n) {
			if (!s->n || s->p[0] != '=')
				return false;
			*s = slice_of(s->p + 1, s->n - 1);
			if (!take_value(s, &value))
				return false;
			bool is_for = slice_eq_nocase(name, SLICE("for"));
			if (is_for && has_for)
				return false;
			has_for |= is_for;
			if (is_for)
				*ret_hop = value;
			skip_blanks(s);
		}
		if (!s->n || s->p[0] == ',')
			return true;
		if (s->p[0] != ';')
			return false;
		*s = slice_of(s->p + 1, s->n - 1);
	}
}

static struct address from_forwarded(const struct networks *trusted, struct address peer, struct slice text)
{
	struct slice hops[MOST_HOPS];
	size_t n = 0;
	for (;;) {
		if (n == MOST_HOPS || !take_element(&text, &hops[n++]))
			return peer;
		if (!text.n)
			return walk(trusted, peer, hops, n);
		text = slice_of(text.p + 1, text.n - 1);
	}
}

struct address forwarded_client(const struct networks *trusted, struct address peer, struct slice x_forwarded_for, struct slice forwarded)
{
	if (!networks_have(trusted, peer))
		return peer;
	struct address x = from_x_forwarded_for(trusted, peer, x_forwarded_for);
	if (slice_is_none(forwarded))
		return x;
	struct address f = from_forwarded(trusted, peer, forwarded);
	return slice_is_none(x_forwarded_for) || address_equal(x, f) ? f : peer;
}
