/* The entry points of migrate.h: finds the backend by the URL. Threads: any, one migration at a time; the backends lock. */
#include "store/migrate.h"

#include <assert.h>

#include "store/backend.h"

int migrate_status(const struct store_options *o, struct arena *a, struct migrate_status *ret, struct slice *ret_message)
{
	const struct store_ops *ops;

	assert(o && a && ret);
	int r = store_ops_for_url(o->url, a, &ops, ret_message);
	return r < 0 ? r : ops->migrate_status(o, a, ret, ret_message);
}

int migrate_upgrade(const struct store_options *o, int to_version, migrate_say_fn say, void *context, struct arena *a, struct slice *ret_message)
{
	const struct store_ops *ops;

	assert(o && a && to_version >= 0);
	int r = store_ops_for_url(o->url, a, &ops, ret_message);
	return r < 0 ? r : ops->migrate_upgrade(o, to_version, say, context, a, ret_message);
}

int migrate_downgrade(const struct store_options *o, migrate_say_fn say, void *context, struct arena *a, struct slice *ret_message)
{
	const struct store_ops *ops;

	assert(o && a);
	int r = store_ops_for_url(o->url, a, &ops, ret_message);
	return r < 0 ? r : ops->migrate_downgrade(o, say, context, a, ret_message);
}
