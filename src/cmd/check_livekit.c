/* The item of `outcomed check` that asks LiveKit's API, as the watcher would: can it be reached, does it take the key, may the key list rooms and
 * participants? Main thread only. */
#include "base/clock.h"
#include "cmd/check.h"
#include "ingest/watcher_http.h"

#define ITEM "LiveKit API"
#define CONNECT_MS 5000
#define REQUEST_MS 10000
#define ROOM SLICE("outcomed-check")

struct asking {
	struct checking *c;
	struct livekit_client *client;
	const struct signing_key *key;
};

/* False after it said what is wrong. */
static bool ask(const struct asking *k, enum livekit_method method, const char *what, struct livekit_exchange *ret)
{
	struct livekit_request q;
	struct arena *a = k->c->arena;
	int r = livekit_request_make(method, method == LIVEKIT_LIST_ROOMS ? SLICE_NONE : ROOM, k->key, clock_wall_ms() / 1000, a, &q);
	if (r == 0)
		r = livekit_client_ask(k->client, &q, a, ret);
	if (r) {
		check_fail(k->c, ITEM, slice_cstr(oc_error_text(r)), "");
		return false;
	}
	if (ret->answer == LIVEKIT_OK)
		return true;
	bool detailed = !slice_is_none(ret->detail);
	check_fail(k->c, ITEM, arena_text(a, "%s: %s%s%.*s", what, livekit_answer_names[ret->answer], detailed ? ", " : "", SLICE_FMT(ret->detail)),
		   livekit_answer_mend(ret->answer));
	return false;
}

static void check_key(const struct asking *k, struct slice base)
{
	struct livekit_exchange x;
	struct slice *rooms;
	struct event_participant *people;
	const struct decode_options options = { .tenant_key_count = 0 };
	size_t room_count, count;
	bool complete;
	if (!ask(k, LIVEKIT_LIST_ROOMS, "ListRooms", &x))
		return;
	if (livekit_read_rooms(x.reply.body, k->c->arena, &rooms, &room_count) != 0) {
		check_fail(k->c, ITEM, SLICE("ListRooms: the answer is not LiveKit's"), livekit_answer_mend(LIVEKIT_GARBAGE));
		return;
	}
	if (!ask(k, LIVEKIT_LIST_PARTICIPANTS, "ListParticipants", &x))
		return;
	if (livekit_read_participants(x.reply.body, &options, k->c->arena, &people, &count, &complete) != 0)
		check_fail(k->c, ITEM, SLICE("ListParticipants: the answer is not LiveKit's"), livekit_answer_mend(LIVEKIT_GARBAGE));
	else
		check_ok(ITEM, "%.*s answers key %.*s: %zu rooms", SLICE_FMT(base), SLICE_FMT(k->key->id), room_count);
}

void check_livekit(struct checking *c)
{
	struct asking k = { .c = c };
	struct slice base;
	if (slice_is_empty(c->config->livekit_url)) {
		check_skip(ITEM, "LIVEKIT_URL is not set: no watcher; when a phone was answered is then known from marks alone");
		return;
	}
	for (size_t i = c->keyring.count; i-- > 0;)
		if (c->keyring.keys[i].id.n)
			k.key = &c->keyring.keys[i];
	if (!k.key) {
		check_skip(ITEM, "LIVEKIT_URL is set, but no API key: set LIVEKIT_API_KEY and LIVEKIT_API_SECRET");
		return;
	}
	int r = livekit_base_url(c->config->livekit_url, c->arena, &base);
	if (r == OC_INVALID) {
		check_fail(c, ITEM, SLICE("LIVEKIT_URL is no address of LiveKit's"), "expected such as wss://livekit.example.com or http://127.0.0.1:7880");
		return;
	}
	if (r == 0)
		r = livekit_client_setup();
	if (r == 0)
		r = livekit_client_open(base, CONNECT_MS, REQUEST_MS, &k.client);
	if (r)
		check_fail(c, ITEM, slice_cstr(oc_error_text(r)), "");
	else
		check_key(&k, base);
	livekit_client_close(k.client);
}
