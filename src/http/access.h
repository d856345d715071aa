/* Who reads, and whose calls: a service token (any tenant, named by user_id), a tenant's JWT (HS256, sub is the tenant, exp required),
 * or, where no token is configured, anybody on loopback or the Unix socket who names a tenant. Pure: the time is given. Any thread. */
#pragma once

#include "base/arena.h"
#include "base/slice.h"

#define ACCESS_LEEWAY_S 60
#define ACCESS_MAX_TENANT 200 /* bytes of a user_id */

struct access_options {
	struct slice service_token, tenant_secret; /* none = not configured */
};

enum access_result {
	ACCESS_OK,
	ACCESS_NO_TOKEN,      /* 401 */
	ACCESS_BAD_TOKEN,     /* 401 */
	ACCESS_NO_TENANT,     /* a service token without user_id: 400 */
	ACCESS_WHO,           /* no tokens configured, no user_id: 401 */
	ACCESS_BAD_USER_ID,   /* 400 */
	ACCESS_OTHER_TENANT,  /* a tenant's token with another's user_id: 404 or 403 */
};

/* `authorization` is the header's value, user_id the parameter's, both none where absent. *ret_tenant is set with ACCESS_OK. */
enum access_result access_decide(const struct access_options *o, struct slice authorization, struct slice user_id, int64_t now_s,
	struct arena *a, struct slice *ret_tenant);

/* Is no token configured? */
bool access_is_open(const struct access_options *o);

/* Is it the service token? */
bool access_is_service(const struct access_options *o, struct slice authorization);

/* 1 to 200 bytes of UTF-8 without control characters. */
bool access_user_id_is_valid(struct slice user_id);
