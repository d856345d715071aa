/* Facts as bytes and back.
 *
 * The form: a line a record, its fields separated by TAB, the first one naming the record:
 *   c  the call            (one, always the first)
 *   e  an egress           k  an API key       m  a mark
 *   s  a session           t  a tenant         u  an audio track of a session
 * in the order of these letters and within one letter of the key (for u: session, track; for t: rank, tenant), compared by bytes.
 * Numbers are decimal without leading zeros; an absent text or time is empty or 0. In texts '%', DEL and everything below space is
 * %XX; bytes from 80 on stand as they are where the text is UTF-8, else they are %XX too. What decodes encodes to the same bytes:
 * anything else is refused. The records are tables below; both directions are made from them.
 *
 * One thread at a time owns a struct facts. */
#include "core/facts.h"

enum field_type { FIELD_TEXT, FIELD_INT64, FIELD_INT32, FIELD_BOOL };

struct field {
	enum field_type type;
	size_t offset;
	int64_t min, max;
};

#define TEXT(s, m) { FIELD_TEXT, offsetof(struct s, m), 0, 0 }
#define TIME_S(s, m) { FIELD_INT64, offsetof(struct s, m), 0, EVENT_MAX_S }
#define TIME_MS(s, m) { FIELD_INT64, offsetof(struct s, m), 0, EVENT_MAX_S * 1000 + 999 }
#define TIME_US(s, m) { FIELD_INT64, offsetof(struct s, m), 0, EVENT_MAX_S * 1000000 + 999999 }
#define TIME_NS(s, m) { FIELD_INT64, offsetof(struct s, m), 0, INT64_MAX }
#define ENUM(s, m, least, greatest) { FIELD_INT32, offsetof(struct s, m), (least), (greatest) }
#define BOOL(s, m) { FIELD_BOOL, offsetof(struct s, m), 0, 1 }
#define SIGHTING(s, m) TIME_S(s, m.at_s), TEXT(s, m.event_id)

/* The whole letter's struct for a record that is one text. */
struct text_record {
	struct slice text;
};

static const struct field CALL[] = {
	TEXT(facts, room_sid), TEXT(facts, room_name), TIME_MS(facts, creation_time_ms), ENUM(facts, departure_timeout_s, 0, FACTS_MAX_TIMEOUT_S),
	SIGHTING(facts, started), SIGHTING(facts, finished), ENUM(facts, end_reason, ROOM_END_UNKNOWN, ROOM_END_OPEN_FAILED),
	TIME_S(facts, first_event_s), TIME_S(facts, last_event_s), BOOL(facts, overflow),
};
static const struct field EGRESS[] = {
	TEXT(fact_egress, egress_id), ENUM(fact_egress, status, EGRESS_STARTING, EGRESS_LIMIT_REACHED),
	TIME_NS(fact_egress, started_at_ns), TIME_NS(fact_egress, ended_at_ns), SIGHTING(fact_egress, ended),
	TEXT(fact_egress, location), TEXT(fact_egress, error),
};
static const struct field KEY_ID[] = { TEXT(text_record, text) };
static const struct field MARK[] = {
	TEXT(fact_mark, event_id), TIME_S(fact_mark, at_s), ENUM(fact_mark, mark.kind, MARK_NONE, MARK_NOTE),
	ENUM(fact_mark, mark.source, MARK_SOURCE_NONE, MARK_SOURCE_WATCHER), TIME_MS(fact_mark, mark.at_ms),
	TIME_MS(fact_mark, mark.within_ms), ENUM(fact_mark, mark.sip_code, 0, 699), TEXT(fact_mark, mark.sip_text),
	TEXT(fact_mark, mark.value), TEXT(fact_mark, mark.sip_call_id), TEXT(fact_mark, mark.call_id),
	TIME_MS(fact_mark, mark.posted_ms), TEXT(fact_mark, mark.tenant),
};
static const struct field SESSION[] = {
	TEXT(fact_session, sid), TEXT(fact_session, identity), ENUM(fact_session, kind, KIND_UNKNOWN, KIND_OTHER),
	TIME_MS(fact_session, joined_at_ms), BOOL(fact_session, joined_at_whole_s), SIGHTING(fact_session, joined),
	SIGHTING(fact_session, left), SIGHTING(fact_session, aborted), SIGHTING(fact_session, ended),
	ENUM(fact_session, left_reason, REASON_UNKNOWN, REASON_AGENT_ERROR),
	ENUM(fact_session, statuses, 0, (2 << STATUS_HANGUP) - 1), BOOL(fact_session, call_tag), TEXT(fact_session, call_id),
	TEXT(fact_session, rule_id), TEXT(fact_session, trunk_id), TEXT(fact_session, phone_number),
	TEXT(fact_session, trunk_phone_number),
};
static const struct field TENANT[] = {
	ENUM(fact_tenant, rank, TENANT_HOST_ROW, TENANT_DEFAULT), TEXT(fact_tenant, tenant), TEXT(fact_tenant, event_id),
};
static const struct field TRACK[] = {
	TEXT(fact_track, sid), TIME_US(fact_track, published_us), SIGHTING(fact_track, published), SIGHTING(fact_track, unpublished),
};

#define COUNT(x) (sizeof(x) / sizeof((x)[0]))

/* ---- encode ---- */

static bool is_plain(unsigned char c) { return c >= 0x20 && c < 0x7f && c != '%'; }

static void put_text(struct buf *b, struct slice s)
{
	size_t i = 0;
	while (i < s.n && is_plain((unsigned char)s.p[i]))
		i++;
	if (i == s.n) {
		buf_put(b, s);
		return;
	}
	bool utf8 = slice_is_utf8(s);
	for (i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];
		if (is_plain(c) || (utf8 && c >= 0x80)) {
			buf_putc(b, (char)c);
			continue;
		}
		buf_putc(b, '%');
		buf_putc(b, "0123456789ABCDEF"[c >> 4]);
		buf_putc(b, "0123456789ABCDEF"[c & 15]);
	}
}

static void put_fields(struct buf *b, const struct field *fields, size_t n, const void *record)
{
	for (size_t i = 0; i < n; i++) {
		const void *at = (const char *)record + fields[i].offset;
		int32_t v;
		buf_putc(b, '\t');
		switch (fields[i].type) {
		case FIELD_TEXT:
			put_text(b, *(const struct slice *)at);
			break;
		case FIELD_INT64:
			buf_put_int(b, *(const int64_t *)at);
			break;
		case FIELD_INT32:
			memcpy(&v, at, sizeof v);
			buf_put_int(b, v);
			break;
		case FIELD_BOOL:
			buf_putc(b, *(const bool *)at ? '1' : '0');
			break;
		}
	}
	buf_putc(b, '\n');
}

static void put_records(struct buf *b, char letter, const struct field *fields, size_t n, const void *items, size_t count, size_t each)
{
	for (size_t i = 0; i < count; i++) {
		buf_putc(b, letter);
		put_fields(b, fields, n, (const char *)items + i * each);
	}
}

void facts_encode(const struct facts *f, struct buf *b)
{
	(void)buf_reserve(b, 512 + f->session_count * 512);
	put_records(b, 'c', CALL, COUNT(CALL), f, 1, sizeof *f);
	put_records(b, 'e', EGRESS, COUNT(EGRESS), f->egresses, f->egress_count, sizeof *f->egresses);
	put_records(b, 'k', KEY_ID, COUNT(KEY_ID), f->key_ids, f->key_id_count, sizeof *f->key_ids);
	put_records(b, 'm', MARK, COUNT(MARK), f->marks, f->mark_count, sizeof *f->marks);
	put_records(b, 's', SESSION, COUNT(SESSION), f->sessions, f->session_count, sizeof *f->sessions);
	put_records(b, 't', TENANT, COUNT(TENANT), f->tenants, f->tenant_count, sizeof *f->tenants);
	for (size_t i = 0; i < f->session_count; i++)
		for (size_t k = 0; k < f->sessions[i].track_count; k++) {
			buf_puts(b, "u\t");
			put_text(b, f->sessions[i].sid);
			put_fields(b, TRACK, COUNT(TRACK), &f->sessions[i].tracks[k]);
		}
}

/* ---- decode ---- */

struct reader {
	const char *p, *end;
	struct arena *a;
};

/* The next field's raw bytes; the cursor stays on the TAB or LF behind it. */
static bool next_raw(struct reader *r, struct slice *ret, bool *ret_odd)
{
	if (r->p == r->end || *r->p != '\t')
		return false;
	const char *start = ++r->p;
	bool odd = false;
	while (r->p < r->end && *r->p != '\t' && *r->p != '\n') {
		odd |= !is_plain((unsigned char)*r->p);
		r->p++;
	}
	*ret = slice_of(start, (size_t)(r->p - start));
	*ret_odd = odd;
	return r->p < r->end;
}

static int hex_value(char c) { return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1; }

/* A field with escapes or bytes from 80 on. Canonical is what comes out the same when it is encoded again. */
static int unescape(struct arena *a, struct slice raw, struct slice *ret)
{
	char *p = arena_alloc(a, raw.n);
	if (!p)
		return OC_NOMEM;
	size_t n = 0;
	for (size_t i = 0; i < raw.n; i++) {
		if (raw.p[i] != '%') {
			p[n++] = raw.p[i];
			continue;
		}
		int high = raw.n - i > 2 ? hex_value(raw.p[i + 1]) : -1, low = raw.n - i > 2 ? hex_value(raw.p[i + 2]) : -1;
		if (high < 0 || low < 0)
			return OC_INVALID;
		p[n++] = (char)(high * 16 + low);
		i += 2;
	}
	_cleanup_buf_ struct buf again = BUF_INIT;
	put_text(&again, slice_of(p, n));
	if (buf_failed(&again))
		return OC_NOMEM;
	if (!slice_eq(buf_slice(&again), raw))
		return OC_INVALID;
	*ret = slice_of(p, n);
	return 0;
}

static int next_text(struct reader *r, struct slice *ret)
{
	struct slice raw;
	bool odd;
	if (!next_raw(r, &raw, &odd))
		return OC_INVALID;
	if (odd)
		return unescape(r->a, raw, ret);
	*ret = slice_is_empty(raw) ? SLICE_NONE : raw;
	return 0;
}

static int next_number(struct reader *r, int64_t min, int64_t max, int64_t *ret)
{
	struct slice raw;
	bool odd;
	if (!next_raw(r, &raw, &odd) || raw.n == 0)
		return OC_INVALID;
	const char *digits = raw.p[0] == '-' ? raw.p + 1 : raw.p;
	bool zero_first = digits < raw.p + raw.n && digits[0] == '0';
	if (raw.p[0] == '+' || (zero_first && raw.n > 1))
		return OC_INVALID;
	return slice_to_int64(raw, ret) && *ret >= min && *ret <= max ? 0 : OC_INVALID;
}

static int read_fields(struct reader *r, const struct field *fields, size_t n, void *record)
{
	for (size_t i = 0; i < n; i++) {
		void *at = (char *)record + fields[i].offset;
		int64_t v = 0;
		int error = fields[i].type == FIELD_TEXT ? next_text(r, at) : next_number(r, fields[i].min, fields[i].max, &v);
		if (error)
			return error;
		int32_t v32 = (int32_t)v;
		switch (fields[i].type) {
		case FIELD_TEXT:
			break;
		case FIELD_INT64:
			memcpy(at, &v, sizeof v);
			break;
		case FIELD_INT32:
			memcpy(at, &v32, sizeof v32);
			break;
		case FIELD_BOOL:
			*(bool *)at = v != 0;
			break;
		}
	}
	if (r->p == r->end || *r->p != '\n')
		return OC_INVALID;
	r->p++;
	return 0;
}

/* Room for one more at the end, in the capacity that facts.c expects: powers of two, at least 4. */
static int append(struct arena *a, void *array_ptr, size_t *count, size_t each, size_t limit, void **ret)
{
	void *items;
	memcpy(&items, array_ptr, sizeof items);
	if (*count >= limit)
		return OC_INVALID;
	if (*count == 0 || (*count >= 4 && (*count & (*count - 1)) == 0)) {
		void *more = arena_calloc(a, *count ? *count * 2 : 4, each);
		if (!more)
			return OC_NOMEM;
		if (*count)
			memcpy(more, items, *count * each);
		items = more;
		memcpy(array_ptr, &items, sizeof items);
	}
	*ret = (char *)items + (*count)++ * each;
	return 0;
}

/* Reads a record into a new last element, whose first member is its key, which must be greater than the one before. */
static int read_keyed(struct reader *r, const struct field *fields, size_t n, void *array_ptr, size_t *count, size_t each, size_t limit)
{
	void *place;
	int error = append(r->a, array_ptr, count, each, limit, &place);
	if (!error)
		error = read_fields(r, fields, n, place);
	if (error)
		return error;
	struct slice key = *(const struct slice *)place;
	if (slice_is_empty(key))
		return OC_INVALID;
	if (*count > 1 && slice_cmp(*(const struct slice *)(const void *)((const char *)place - each), key) >= 0)
		return OC_INVALID;
	return 0;
}

static int read_tenant(struct reader *r, struct facts *f)
{
	void *place;
	int error = append(r->a, &f->tenants, &f->tenant_count, sizeof *f->tenants, FACTS_MAX_TENANTS, &place);
	if (!error)
		error = read_fields(r, TENANT, COUNT(TENANT), place);
	if (error)
		return error;
	const struct fact_tenant *t = place;
	if (slice_is_empty(t->tenant))
		return OC_INVALID;
	if (f->tenant_count > 1) {
		const struct fact_tenant *before = t - 1;
		if (before->rank > t->rank || (before->rank == t->rank && slice_cmp(before->tenant, t->tenant) >= 0))
			return OC_INVALID;
	}
	return 0;
}

static int read_mark(struct reader *r, struct facts *f)
{
	int error = read_keyed(r, MARK, COUNT(MARK), &f->marks, &f->mark_count, sizeof *f->marks, FACTS_MAX_ALL_MARKS);
	if (error)
		return error;
	size_t of_poster = 0;
	for (size_t i = 0; i < f->mark_count; i++)
		of_poster += slice_eq(f->marks[i].mark.tenant, f->marks[f->mark_count - 1].mark.tenant);
	return of_poster > FACTS_MAX_MARKS ? OC_INVALID : 0;
}

/* Tracks come in the order of their sessions: *session only moves on. */
static int read_track(struct reader *r, struct facts *f, size_t *session)
{
	struct slice sid;
	int error = next_text(r, &sid);
	if (error)
		return error;
	while (*session < f->session_count && slice_cmp(f->sessions[*session].sid, sid) < 0)
		(*session)++;
	if (*session == f->session_count || !slice_eq(f->sessions[*session].sid, sid))
		return OC_INVALID;
	struct fact_session *s = &f->sessions[*session];
	return read_keyed(r, TRACK, COUNT(TRACK), &s->tracks, &s->track_count, sizeof *s->tracks, FACTS_MAX_TRACKS);
}

static int read_record(struct reader *r, struct facts *f, char letter, size_t *session)
{
	switch (letter) {
	case 'e':
		return read_keyed(r, EGRESS, COUNT(EGRESS), &f->egresses, &f->egress_count, sizeof *f->egresses, FACTS_MAX_EGRESS);
	case 'k':
		return read_keyed(r, KEY_ID, COUNT(KEY_ID), &f->key_ids, &f->key_id_count, sizeof *f->key_ids, FACTS_MAX_KEY_IDS);
	case 'm':
		return read_mark(r, f);
	case 's':
		return read_keyed(r, SESSION, COUNT(SESSION), &f->sessions, &f->session_count, sizeof *f->sessions, FACTS_MAX_SESSIONS);
	case 't':
		return read_tenant(r, f);
	case 'u':
		return read_track(r, f, session);
	default:
		return OC_INVALID;
	}
}

int facts_decode(struct arena *a, struct slice bytes, struct facts **ret)
{
	struct reader r = { .p = bytes.p, .end = bytes.p + bytes.n, .a = a };
	if (bytes.n == 0 || *r.p++ != 'c')
		return OC_INVALID;
	struct facts *f = ARENA_NEW(a, struct facts);
	if (!f)
		return OC_NOMEM;
	f->arena = a;
	int error = read_fields(&r, CALL, COUNT(CALL), f);
	char before = 'c';
	size_t session = 0;
	while (!error && r.p < r.end) {
		char letter = *r.p++;
		if (letter < before)
			return OC_INVALID;
		before = letter;
		error = read_record(&r, f, letter, &session);
	}
	if (error)
		return error;
	*ret = f;
	return 0;
}
