/* store.h's door for replaying: it checks what it is asked and hands it on. Threads: the one that owns the struct store. */
#include <assert.h>

#include "store/backend.h"

int store_replay_begin(struct store *s)
{
	assert(s);
	return s->ops->replay_begin(s);
}

int store_replay_count(struct store *s, int64_t *ret)
{
	assert(s && ret);
	return s->ops->replay_count(s, ret);
}

int store_replay_find(struct store *s, struct slice call_id, struct arena *a, struct slice *ret_sid)
{
	assert(s && a && ret_sid);
	return slice_is_empty(call_id) ? OC_NOT_FOUND : s->ops->replay_find(s, call_id, a, ret_sid);
}

int store_replay_rooms(struct store *s, struct slice after, int64_t since_ms, size_t limit, struct arena *a, struct slice **ret_sids,
	size_t *ret_count, struct slice *ret_last)
{
	assert(s && limit && a && ret_sids && ret_count && ret_last);
	return s->ops->replay_rooms(s, after, since_ms, limit, a, ret_sids, ret_count, ret_last);
}

int store_replay_calls(struct store *s, const struct slice *sids, size_t count, struct arena *a, struct replay_call *ret)
{
	assert(s && (sids || count == 0) && a && (ret || count == 0));
	return count ? s->ops->replay_calls(s, sids, count, a, ret) : 0;
}

int store_replay_legs(struct store *s, struct replay_leg *legs, size_t count)
{
	assert(s && (legs || count == 0));
	return count ? s->ops->replay_legs(s, legs, count) : 0;
}

int store_journal_open(struct store *s, const struct slice *sids, size_t count)
{
	assert(s && (sids || count == 0));
	return s->ops->journal_open(s, sids, count);
}

int store_journal_next(struct store *s, struct arena *a, struct journal_row *ret)
{
	assert(s && a && ret);
	return s->ops->journal_next(s, a, ret);
}

void store_journal_close(struct store *s)
{
	assert(s);
	s->ops->journal_close(s);
}

int store_journal_strays(struct store *s, int64_t after_ms, struct slice after_id, size_t limit, struct arena *a, struct journal_row **ret,
	size_t *ret_count)
{
	assert(s && limit && a && ret && ret_count);
	return s->ops->journal_strays(s, after_ms, after_id, limit, a, ret, ret_count);
}
