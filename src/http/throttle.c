/* Log lines that anybody on the network can cause, at most one a second of a kind. Any thread. */
#include "http/internal.h"

#include "base/clock.h"

bool throttle_pass(struct throttle *t, int64_t *ret_suppressed)
{
	int64_t now = clock_mono_ns() / 1000000000 + 1, last = atomic_load(&t->last_s);
	if (last == now || !atomic_compare_exchange_strong(&t->last_s, &last, now)) {
		atomic_fetch_add(&t->suppressed, 1);
		return false;
	}
	*ret_suppressed = atomic_exchange(&t->suppressed, 0);
	return true;
}
