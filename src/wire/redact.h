/* Removes secrets from a body that is valid JSON, byte for byte the same elsewhere: the members turnPassword (and
 * turn_password) wherever they are, and inside egressInfo and ingressInfo the credentials of storage and streams
 * (secret, accessKey, sessionToken, password, credentials, accountKey, token, signingKey, streamKey, in both spellings), except where
 * the value is LiveKit's own placeholder like "{secret}". */
#pragma once

#include "base/arena.h"
#include "base/error.h"
#include "wire/jdoc.h"

/* *ret points to `json` itself when nothing had to go. OC_INVALID: not JSON. */
OC_NODISCARD int redact_secrets(struct slice json, struct arena *a, struct slice *ret);
/* The same for a body that was read already and has no fault. */
OC_NODISCARD int redact_document(const struct jdoc *j, struct arena *a, struct slice *ret);
/* For bytes that are kept though they are not such JSON: the values of the same names overwritten with asterisks wherever they stand (those of
 * egress and ingress in any body that mentions one), so that nothing moves. *ret points to `body` itself when nothing had to go. */
OC_NODISCARD int redact_bytes(struct slice body, struct arena *a, struct slice *ret);
