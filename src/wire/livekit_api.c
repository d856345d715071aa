/* Requests to LiveKit's server API and its replies. A ParticipantInfo is read as the participant of a participant_joined event and an EgressInfo as
 * that of egress_ended: one decoder for webhooks and replies. Any thread; no state, no clock. */
#include "wire/livekit_api.h"

#include "base/jsonw.h"
#include "wire/jdoc.h"
#include "wire/jwt.h"

#define TOKEN_BEFORE_S 10 /* nbf lies so far back: a clock that is a little behind ours does not refuse the token */
#define ERROR_TEXT_BYTES 200
#define EGRESS_EVENT_ID "watcher:egress_ended:"

const char *const livekit_answer_names[LIVEKIT_ANSWER_COUNT] = {
#define X(name, e, mend) [e] = name,
	LIVEKIT_ANSWERS(X)
#undef X
};

const char *livekit_answer_mend(enum livekit_answer x)
{
	static const char *const mends[] = {
#define X(name, e, mend) [e] = mend,
		LIVEKIT_ANSWERS(X)
#undef X
	};
	return mends[x];
}

/* ---- where and how ---- */

static const struct {
	struct slice scheme, http;
} schemes[] = {
#define ROW(from, to) { { from, sizeof(from) - 1 }, { to, sizeof(to) - 1 } }
	ROW("wss://", "https://"), ROW("ws://", "http://"), ROW("https://", "https://"), ROW("http://", "http://"),
#undef ROW
};

/* A host, maybe a port and a path; no user, query or fragment, nothing that a header or a log line could break on. */
static bool is_plain_address(struct slice s)
{
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] <= ' ' || s.p[i] > '~' || strchr("@?#\"\\<>", s.p[i]))
			return false;
	return s.n > 0 && s.p[0] != '/' && s.p[0] != ':';
}

int livekit_base_url(struct slice url, struct arena *a, struct slice *ret)
{
	for (size_t i = 0; i < sizeof schemes / sizeof schemes[0]; i++) {
		struct slice scheme = schemes[i].scheme, http = schemes[i].http;
		if (url.n < scheme.n || !slice_eq_nocase(slice_of(url.p, scheme.n), scheme))
			continue;
		struct slice rest = slice_of(url.p + scheme.n, url.n - scheme.n);
		while (rest.n && rest.p[rest.n - 1] == '/')
			rest.n--;
		if (!is_plain_address(rest) || rest.n > LIVEKIT_MAX_URL)
			return OC_INVALID;
		char *p = arena_alloc(a, http.n + rest.n);
		if (!p)
			return OC_NOMEM;
		memcpy(p, http.p, http.n);
		memcpy(p + http.n, rest.p, rest.n);
		*ret = slice_of(p, http.n + rest.n);
		return 0;
	}
	return OC_INVALID;
}

static const struct slice paths[] = {
#define X(e, path) [e] = { "/twirp/" path, sizeof("/twirp/" path) - 1 },
	LIVEKIT_METHODS(X)
#undef X
};

static void write_grants(struct jsonw *w, enum livekit_method method, struct slice room)
{
	jw_key(w, "video");
	jw_obj(w);
	switch (method) {
	case LIVEKIT_LIST_ROOMS:
		jw_key(w, "roomList");
		jw_bool(w, true);
		break;
	case LIVEKIT_LIST_PARTICIPANTS:
		jw_key(w, "roomAdmin");
		jw_bool(w, true);
		jw_key(w, "room");
		jw_str(w, room);
		break;
	case LIVEKIT_LIST_EGRESS:
		jw_key(w, "roomRecord");
		jw_bool(w, true);
		break;
	}
	jw_obj_end(w);
}

static int make_token(enum livekit_method method, struct slice room, const struct signing_key *key, int64_t now_s, struct arena *a, struct slice *ret)
{
	_cleanup_buf_ struct buf b = BUF_INIT;
	struct jsonw w = JSONW(&b);
	jw_obj(&w);
	jw_key(&w, "iss");
	jw_str(&w, key->id);
	jw_key(&w, "nbf");
	jw_int(&w, now_s - TOKEN_BEFORE_S);
	jw_key(&w, "exp");
	jw_int(&w, now_s + LIVEKIT_TOKEN_S);
	write_grants(&w, method, room);
	jw_obj_end(&w);
	return buf_failed(&b) ? OC_NOMEM : jwt_sign(buf_slice(&b), key->secret, a, ret);
}

static int make_body(enum livekit_method method, struct slice room, struct arena *a, struct slice *ret)
{
	_cleanup_buf_ struct buf b = BUF_INIT;
	struct jsonw w = JSONW(&b);
	jw_obj(&w);
	switch (method) {
	case LIVEKIT_LIST_ROOMS:
		if (slice_is_none(room))
			break;
		jw_key(&w, "names");
		jw_arr(&w);
		jw_str(&w, room);
		jw_arr_end(&w);
		break;
	case LIVEKIT_LIST_PARTICIPANTS:
		jw_key(&w, "room");
		jw_str(&w, room);
		break;
	case LIVEKIT_LIST_EGRESS:
		jw_key(&w, "room_name");
		jw_str(&w, room);
		break;
	}
	jw_obj_end(&w);
	return !buf_failed(&b) && arena_copy(a, buf_slice(&b), ret) ? 0 : OC_NOMEM;
}

int livekit_request_make(enum livekit_method method, struct slice room, const struct signing_key *key, int64_t now_s, struct arena *a,
			 struct livekit_request *ret)
{
	struct livekit_request q = { .path = paths[method] };
	if (slice_is_empty(key->id) || (slice_is_empty(room) && (method != LIVEKIT_LIST_ROOMS || !slice_is_none(room))))
		return OC_INVALID;
	int r = make_token(method, room, key, now_s, a, &q.token);
	if (r == 0)
		r = make_body(method, room, a, &q.body);
	if (r == 0)
		*ret = q;
	return r;
}

/* ---- what kind of a reply is it? ---- */

static bool is_json(struct slice content_type)
{
	static const struct slice json = { "application/json", 16 };
	if (content_type.n < json.n || !slice_eq_nocase(slice_of(content_type.p, json.n), json))
		return false;
	return content_type.n == json.n || content_type.p[json.n] == ';' || content_type.p[json.n] == ' ';
}

/* A whole document that is an object; 1, 0 where it is none, OC_NOMEM. A NUL in some text of a participant's makes it no less whole. */
static int parse_object(struct slice body, struct arena *a, struct jdoc *ret)
{
	if (body.n > LIVEKIT_MAX_REPLY)
		return 0;
	if (jdoc_parse(body, a, ret) != 0)
		return OC_NOMEM;
	return (ret->fault == JDOC_OK || ret->fault == JDOC_NUL) && jdoc_type_of(ret, 0) == JDOC_OBJECT;
}

static struct slice error_member(const struct livekit_reply *reply, struct slice name, struct arena *a)
{
	struct jdoc j;
	struct slice text = SLICE_NONE;
	if (!is_json(reply->content_type) || parse_object(reply->body, a, &j) <= 0)
		return SLICE_NONE;
	uint32_t value = jdoc_member(&j, 0, name);
	if (!value || jdoc_type_of(&j, value) != JDOC_STRING || jdoc_text(&j, value, a, &text) != 0)
		return SLICE_NONE;
	return text;
}

enum livekit_answer livekit_answer_of(const struct livekit_reply *reply, struct arena *a)
{
	long s = reply->status;
	if (s == 200)
		return is_json(reply->content_type) ? LIVEKIT_OK : LIVEKIT_GARBAGE;
	if (s == 404)
		return slice_eq_cstr(error_member(reply, SLICE("code"), a), "not_found") ? LIVEKIT_NOT_FOUND : LIVEKIT_NO_API;
	if (s >= 300 && s < 400)
		return LIVEKIT_REDIRECTED;
	if (s == 401 || s == 403)
		return LIVEKIT_DENIED;
	if (s == 429)
		return LIVEKIT_LIMITED;
	if (s == 405 || s == 501)
		return LIVEKIT_NO_API;
	if (s >= 500 && s < 600)
		return LIVEKIT_UNAVAILABLE;
	return s >= 400 && s < 500 ? LIVEKIT_REFUSED : LIVEKIT_GARBAGE;
}

struct slice livekit_error_text(const struct livekit_reply *reply, struct arena *a)
{
	struct slice s = error_member(reply, SLICE("msg"), a);
	static const struct slice plain = { "text/plain", 10 };
	bool is_plain = reply->content_type.n >= plain.n && slice_eq_nocase(slice_of(reply->content_type.p, plain.n), plain);
	if (slice_is_none(s) && is_plain)
		s = slice_trim(reply->body);
	if (s.n > ERROR_TEXT_BYTES)
		s.n = ERROR_TEXT_BYTES;
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] < ' ' || s.p[i] > '~')
			return SLICE_NONE;
	return s.n ? s : SLICE_NONE;
}

/* ---- lists ---- */

/* The array under this name: LiveKit writes it also when it is empty. */
static int find_list(struct slice body, struct slice name, struct arena *a, struct jdoc *j, uint32_t *ret_array, size_t *ret_count)
{
	int r = parse_object(body, a, j);
	if (r <= 0)
		return r < 0 ? r : OC_INVALID;
	uint32_t array = jdoc_member(j, 0, name);
	if (!array || jdoc_type_of(j, array) != JDOC_ARRAY)
		return OC_INVALID;
	size_t count = 0;
	for (uint32_t item = jdoc_first(j, array); item < jdoc_end(j, array); item = jdoc_after(j, item), count++)
		if (jdoc_type_of(j, item) != JDOC_OBJECT)
			return OC_INVALID;
	*ret_array = array;
	*ret_count = count;
	return 0;
}

int livekit_read_rooms(struct slice body, struct arena *a, struct slice **ret, size_t *ret_count)
{
	struct jdoc j;
	uint32_t array;
	size_t count, n = 0;
	int r = find_list(body, SLICE("rooms"), a, &j, &array, &count);
	if (r < 0)
		return r;
	struct slice *sids = ARENA_ARRAY(a, struct slice, count);
	if (!sids)
		return OC_NOMEM;
	for (uint32_t item = jdoc_first(&j, array); item < jdoc_end(&j, array); item = jdoc_after(&j, item), n++) {
		uint32_t sid = jdoc_member(&j, item, SLICE("sid"));
		if (!sid || jdoc_type_of(&j, sid) != JDOC_STRING)
			return OC_INVALID;
		r = jdoc_text(&j, sid, a, &sids[n]);
		if (r < 0 || sids[n].n == 0 || sids[n].n > EVENT_MAX_ID)
			return r < 0 ? r : OC_INVALID;
	}
	*ret = sids;
	*ret_count = count;
	return 0;
}

/* The webhook event that would hold this object as `member`, decoded. OC_INVALID where it cannot be read. */
static int decode_as(const char *type, const char *member, struct slice object, const struct decode_options *options, struct arena *a,
		     struct event *ret)
{
	_cleanup_buf_ struct buf b = BUF_INIT;
	struct jsonw w = JSONW(&b);
	struct slice text;
	struct decoded d;
	jw_obj(&w);
	jw_key(&w, "id");
	jw_cstr(&w, "reply");
	jw_key(&w, "event");
	jw_cstr(&w, type);
	jw_key(&w, member);
	jw_raw(&w, object);
	jw_obj_end(&w);
	if (buf_failed(&b) || !arena_copy(a, buf_slice(&b), &text) || decode_event(text, options, a, &d) != 0)
		return OC_NOMEM;
	if (d.cause != DECODE_OK)
		return OC_INVALID;
	*ret = d.event;
	return 0;
}

static bool is_leaving(const struct jdoc *j, uint32_t participant)
{
	uint32_t state = jdoc_member(j, participant, SLICE("state"));
	if (!state)
		return false;
	return jdoc_type_of(j, state) == JDOC_NUMBER ? slice_eq_cstr(jdoc_raw(j, state), "3") :
		jdoc_type_of(j, state) == JDOC_STRING && jdoc_text_is(j, state, SLICE("DISCONNECTED"));
}

int livekit_read_participants(struct slice body, const struct decode_options *options, struct arena *a,
			      struct event_participant **ret, size_t *ret_count, bool *ret_complete)
{
	bool complete = true;
	struct jdoc j;
	uint32_t array;
	size_t count, n = 0;
	int r = find_list(body, SLICE("participants"), a, &j, &array, &count);
	if (r < 0)
		return r;
	struct event_participant *all = ARENA_ARRAY(a, struct event_participant, count);
	if (!all)
		return OC_NOMEM;
	for (uint32_t item = jdoc_first(&j, array); item < jdoc_end(&j, array); item = jdoc_after(&j, item)) {
		struct event e;
		r = decode_as("participant_joined", "participant", jdoc_raw(&j, item), options, a, &e);
		if (r < 0 && r != OC_INVALID)
			return r;
		bool readable = r == 0 && e.participant.sid.n;
		complete &= readable;
		if (readable && !is_leaving(&j, item))
			all[n++] = e.participant;
	}
	*ret = all;
	*ret_count = n;
	*ret_complete = complete;
	return 0;
}

/* ---- egresses ---- */

static bool is_final(enum egress_status s)
{
	switch (s) {
	case EGRESS_STARTING:
	case EGRESS_ACTIVE:
	case EGRESS_ENDING:
		return false;
	case EGRESS_COMPLETE:
	case EGRESS_FAILED:
	case EGRESS_ABORTED:
	case EGRESS_LIMIT_REACHED:
		return true;
	}
	return false;
}

static int write_egress_event(const struct event_egress *e, struct slice info, struct arena *a, struct slice *ret)
{
	_cleanup_buf_ struct buf b = BUF_INIT, id = BUF_INIT;
	struct jsonw w = JSONW(&b);
	int64_t ns = e->ended_at_ns ? e->ended_at_ns : e->started_at_ns;
	buf_puts(&id, EGRESS_EVENT_ID);
	buf_put(&id, e->egress_id);
	jw_obj(&w);
	jw_key(&w, "event");
	jw_cstr(&w, "egress_ended");
	jw_key(&w, "egressInfo");
	jw_raw(&w, info);
	jw_key(&w, "id");
	jw_str(&w, buf_slice(&id));
	jw_key(&w, "createdAt");
	jw_int(&w, ns / 1000000000);
	jw_obj_end(&w);
	return !buf_failed(&id) && !buf_failed(&b) && arena_copy(a, buf_slice(&b), ret) ? 0 : OC_NOMEM;
}

int livekit_read_egresses(struct slice body, struct arena *a, struct livekit_egress **ret, size_t *ret_count)
{
	const struct decode_options options = { .tenant_key_count = 0 };
	struct jdoc j;
	uint32_t array;
	size_t count, n = 0;
	int r = find_list(body, SLICE("items"), a, &j, &array, &count);
	if (r < 0)
		return r;
	struct livekit_egress *all = ARENA_ARRAY(a, struct livekit_egress, count);
	if (!all)
		return OC_NOMEM;
	for (uint32_t item = jdoc_first(&j, array); item < jdoc_end(&j, array); item = jdoc_after(&j, item)) {
		struct event e;
		r = decode_as("egress_ended", "egressInfo", jdoc_raw(&j, item), &options, a, &e);
		if (r < 0 && r != OC_INVALID)
			return r;
		if (r == OC_INVALID || e.egress.egress_id.n + sizeof EGRESS_EVENT_ID > EVENT_MAX_ID)
			continue;
		all[n] = (struct livekit_egress){ .egress_id = e.egress.egress_id, .room_sid = e.room.sid, .status = e.egress.status };
		if (is_final(e.egress.status) && e.egress.egress_id.n && e.room.sid.n)
			r = write_egress_event(&e.egress, jdoc_raw(&j, item), a, &all[n].event);
		if (r < 0)
			return r;
		n++;
	}
	*ret = all;
	*ret_count = n;
	return 0;
}
