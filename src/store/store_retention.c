/* store.h's door for what is not to be kept any longer: it checks what it is asked and hands it on. Threads: the one that owns the struct store. */
#include <assert.h>

#include "store/backend.h"

int store_kept_calls(struct store *s, struct slice after, size_t limit, bool ask_payloads, struct arena *a, struct kept_call **ret, size_t *ret_count,
	struct slice *ret_last)
{
	assert(s && limit && a && ret && ret_count && ret_last);
	return s->ops->kept_calls(s, after, limit, ask_payloads, a, ret, ret_count, ret_last);
}

int store_forget_calls(struct store *s, const struct slice *sids, size_t count, size_t most, struct forgotten *ret)
{
	assert(s && (sids || count == 0) && most && ret);
	return count ? s->ops->forget_calls(s, sids, count, most, ret) : 0;
}

int store_forget_payloads(struct store *s, const struct slice *sids, size_t count, size_t most, struct forgotten *ret)
{
	assert(s && (sids || count == 0) && most && ret);
	return count ? s->ops->forget_payloads(s, sids, count, most, ret) : 0;
}

int store_move_pruned(struct store *s, int64_t before_ms)
{
	assert(s && before_ms > 0);
	return s->ops->move_pruned(s, before_ms);
}

int store_forget_strays(struct store *s, int64_t before_ms, struct slice user, bool payloads_only, size_t most, struct forgotten *ret)
{
	assert(s && before_ms > 0 && most && ret);
	return s->ops->forget_strays(s, before_ms, user, payloads_only, most, ret);
}

/* ---- a person ---- */

int store_person_find(struct store *s, const struct person *p, const struct slice *sids, size_t count, enum person_trace *ret)
{
	assert(s && p && (sids || count == 0) && (ret || count == 0));
	return count ? s->ops->person_find(s, p, sids, count, ret) : 0;
}

int store_person_forget(struct store *s, const struct person *p, size_t most, struct forgotten *ret)
{
	assert(s && p && most && ret);
	return s->ops->person_forget(s, p, most, ret);
}

int store_person_places(struct store *s, const struct person *p, struct arena *a, struct person_place **ret, size_t *ret_count)
{
	assert(s && p && a && ret && ret_count);
	return s->ops->person_places(s, p, a, ret, ret_count);
}

int store_person_scrub(struct store *s, const struct person *p, bool *ret_rewritten, bool *ret_left)
{
	assert(s && p && ret_rewritten && ret_left);
	return s->ops->person_scrub(s, p, ret_rewritten, ret_left);
}
