/* The server's certificate and key: read, checked, handed to each TLS handshake, and read anew while the server runs.
 *
 * GnuTLS asks by a function that gets nothing of ours, so there is one certificate in the process (tls_open twice without tls_close in between
 * aborts). tls_select is called by any worker, the rest by one thread. What a handshake has been given stays valid until RETIRED_NS after a newer
 * one took its place. */
#pragma once

#include <gnutls/abstract.h>

#include "base/arena.h"
#include "base/error.h"

/* TLS 1.2 and 1.3. */
#define TLS_PRIORITIES "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2"

/* PEM: the certificate with those that lead to its root behind it, and the key. OC_CONFIG with a message that says what to do: a file that is
 * missing, is no certificate, can be read by others (the key's), or a key that is not the certificate's. */
OC_NODISCARD int tls_open(const char *certificate_path, const char *key_path, struct arena *a, struct slice *ret_message);
void tls_close(void); /* harmless when it is not open */
/* Reads both files anew. OC_CONFIG with a message: they cannot be used, and the old ones stay. *ret_changed: what is handed out is new. */
OC_NODISCARD int tls_reload(int64_t now_ns, struct arena *a, bool *ret_changed, struct slice *ret_message);
bool tls_is_open(void);
int64_t tls_expires_s(void); /* of the certificate, seconds since the epoch; 0 = not open */

/* gnutls_certificate_retrieve_function2 */
int tls_select(gnutls_session_t session, const gnutls_datum_t *authorities, int authority_count, const gnutls_pk_algorithm_t *algorithms,
	int algorithm_count, gnutls_pcert_st **ret_chain, unsigned *ret_count, gnutls_privkey_t *ret_key);
