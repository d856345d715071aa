/* Secrets in memory: kept in pages of their own that no core dump holds and that are not swapped out where the system allows that, taken out of what
 * others can read of a process (/proc/PID/environ, its command line), and never written to a core file. Copies that libraries make of them (libpq of a
 * password, OpenSSL of a key) lie on the heap. Main thread, before any other is started. */
#pragma once

#include "base/error.h"
#include "base/slice.h"

/* A copy that lives as long as the process, with a NUL behind it. OC_NOMEM. */
OC_NODISCARD int secret_keep(struct slice value, struct slice *ret);
/* Overwrites the value of an environment variable where the kernel shows it, and removes the variable; with `keep` it stays for libraries that look
 * for it, at another place. OC_NOMEM: nothing was done. */
OC_NODISCARD int secret_hide_environment(const char *name, bool keep);
/* Overwrites passwords in a URL, in its place. */
void secret_hide_url(char *url);
/* No core files; no debugger of the same user, but in a build with sanitizers, which need what that forbids. */
void secret_guard_process(void);
