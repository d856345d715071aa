/* serve's own retention: a thread that now and then does what `outcomed prune` does, with a struct store of its own. On several nodes each does it;
 * the calls' locks keep them apart, and who comes second finds nothing. */
#pragma once

#include "base/metrics.h"
#include "ingest/retention.h"

struct janitor;

void janitor_declare(struct metrics *m); /* its metrics, before anybody reads them */

/* With neither span set *ret is NULL. `o` is copied; its functions are not used. */
OC_NODISCARD int janitor_start(const struct retention_options *o, struct metrics *m, struct janitor **ret);
void janitor_stop(struct janitor *j); /* takes NULL; ends after the transaction under way */
