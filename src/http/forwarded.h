/* For whom does a trusted proxy speak? X-Forwarded-For, or Forwarded (RFC 7239): the last hop that is not itself a trusted proxy.
 *
 * Only what stands right of everything a stranger could have written is believed: each trusted proxy appends the address it was reached
 * from, so the list is read from its end. What nobody can read ends the walk at the proxy that passed it on. Where both headers are there
 * and name different clients, one of them was not the proxy's, and neither is believed. Pure; any thread. */
#pragma once

#include "http/address.h"

/* `peer` when it is not trusted, or nothing believable is said. Both texts as in the header, several lines joined by ", "; none where
 * absent. */
struct address forwarded_client(const struct networks *trusted, struct address peer, struct slice x_forwarded_for, struct slice forwarded);
