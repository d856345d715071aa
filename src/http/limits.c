/* Who may have how many connections, and who makes room.
 *
 * A share belongs to a group of addresses (http/address.h). One that has shown a genuine signature or token lately has the whole share of
 * --max-connections-per-address; a stranger has a quarter of it, and all strangers together have --max-connections-unauthenticated. So whoever
 * has shown nothing yet takes no place of those who have. Where a share is used up, the connection in it that is worth least makes room:
 * one that has shown nothing, idle before one in the midst of a request, the oldest first. None is ended within its first second in a state,
 * nor while its request is being worked on or answered.
 *
 * Unix sockets have no share. A trusted proxy's connection counts, for the time of each request, in the share of the client it speaks for.
 * Everything here is done under connections_lock; any thread. */
#include "http/internal.h"

#include "base/clock.h"

#define YOUNG_NS 1000000000
#define STRANGERS_DIVISOR 4

static size_t share_of(const struct http_server *s, bool stranger)
{
	size_t n = s->o.max_connections_per_address;
	return stranger ? (n + STRANGERS_DIVISOR - 1) / STRANGERS_DIVISOR : n;
}

/* 0: may not be ended now. The higher, the less it is worth. */
static int dispensable(const struct connection *c, int64_t now_ns)
{
	bool proved = atomic_load_explicit(&c->proved, memory_order_relaxed);
	if (!atomic_load(&c->started) || atomic_load(&c->ended) || now_ns - atomic_load_explicit(&c->since_ns, memory_order_relaxed) < YOUNG_NS)
		return 0;
	switch ((enum connection_state)atomic_load_explicit(&c->state, memory_order_relaxed)) {
	case CONNECTION_IDLE: return proved ? 1 : 3;
	case CONNECTION_HEAD:
	case CONNECTION_BODY: return proved ? 0 : 2;
	case CONNECTION_WAITING:
	case CONNECTION_READY:
	case CONNECTION_ANSWERING: return 0;
	}
	return 0;
}

struct victim {
	struct connection *connection; /* NULL: nobody */
	int rank;
	int64_t since_ns;
};

static void consider(struct victim *v, struct connection *c, int64_t now_ns)
{
	int rank = dispensable(c, now_ns);
	int64_t since = atomic_load_explicit(&c->since_ns, memory_order_relaxed);
	if (rank && (rank > v->rank || (rank == v->rank && since < v->since_ns)))
		*v = (struct victim){ .connection = c, .rank = rank, .since_ns = since };
}

struct tally {
	size_t same, strangers; /* with the one that asks */
	struct victim of_same, of_strangers;
};

static void take_tally(struct http_server *s, const struct connection *like, int64_t now_ns, struct tally *t)
{
	for (struct connection *c = s->connections; c; c = c->next) {
		if (!c->counted || atomic_load(&c->ended))
			continue;
		if (address_equal(c->group, like->group)) {
			t->same++;
			if (c != like)
				consider(&t->of_same, c, now_ns);
		}
		if (c->stranger) {
			t->strangers++;
			if (c != like)
				consider(&t->of_strangers, c, now_ns);
		}
	}
}

/* Is there room for this one in its share, or can it be made? */
static enum refusal admit(struct http_server *s, const struct connection *c, int64_t now_ns)
{
	struct tally t = { .same = 0 };
	take_tally(s, c, now_ns, &t);
	if (t.same > share_of(s, c->stranger)) {
		if (!t.of_same.connection)
			return REFUSAL_CONNECTIONS_OF_ADDRESS;
		connection_end(t.of_same.connection);
	} else if (c->stranger && t.strangers > s->o.max_connections_unauthenticated) {
		if (!t.of_strangers.connection)
			return REFUSAL_CONNECTIONS_UNAUTHENTICATED;
		connection_end(t.of_strangers.connection);
	}
	return REFUSAL_NONE;
}

/* Under the lock. */
static void count_in(struct http_server *s, struct connection *c, struct address client, int64_t now_ns)
{
	c->group = address_group(client);
	c->stranger = !atomic_load_explicit(&c->proved, memory_order_relaxed) && !known_is(s->known, c->group, now_ns);
	c->counted = true;
}

enum refusal limits_admit(struct http_server *s, struct connection *c, int64_t now_ns)
{
	enum refusal refusal = REFUSAL_NONE;
	if (c->from_proxy || !c->peer.is_ip)
		return refusal;
	pthread_mutex_lock(&s->connections_lock);
	count_in(s, c, c->peer, now_ns);
	refusal = admit(s, c, now_ns);
	pthread_mutex_unlock(&s->connections_lock);
	return refusal;
}

enum refusal limits_admit_request(struct connection *c)
{
	struct http_server *s = c->server;
	enum refusal refusal = REFUSAL_NONE;
	int64_t now_ns = clock_mono_ns();
	if (!c->from_proxy)
		return refusal;
	pthread_mutex_lock(&s->connections_lock);
	count_in(s, c, c->client, now_ns);
	/* With fewer connections than the smallest share nobody needs to be counted. */
	if (s->connection_count > share_of(s, true) || s->connection_count > s->o.max_connections_unauthenticated)
		refusal = admit(s, c, now_ns);
	pthread_mutex_unlock(&s->connections_lock);
	return refusal == REFUSAL_NONE ? REFUSAL_NONE : REFUSAL_REQUESTS_OF_ADDRESS;
}

void limits_request_over(struct connection *c)
{
	if (!c->from_proxy)
		return;
	pthread_mutex_lock(&c->server->connections_lock);
	c->counted = c->stranger = false;
	pthread_mutex_unlock(&c->server->connections_lock);
	atomic_store_explicit(&c->proved, false, memory_order_relaxed);
}

void limits_proved(struct connection *c)
{
	struct http_server *s = c->server;
	if (atomic_exchange_explicit(&c->proved, true, memory_order_relaxed))
		return;
	known_note(s->known, address_group(c->client), clock_mono_ns());
	pthread_mutex_lock(&s->connections_lock);
	c->stranger = false;
	pthread_mutex_unlock(&s->connections_lock);
}

void limits_make_room(struct http_server *s, int64_t now_ns)
{
	struct victim v = { .connection = NULL };
	pthread_mutex_lock(&s->connections_lock);
	for (struct connection *c = s->connections; c; c = c->next)
		consider(&v, c, now_ns);
	if (v.connection)
		connection_end(v.connection);
	pthread_mutex_unlock(&s->connections_lock);
}
