#include "base/secret.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#define SECRETS_BYTES ((size_t)2 << 20) /* reserved; pages are taken as they are written */

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define WITH_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define WITH_SANITIZER 1
#endif
#endif

static struct {
	char *memory;
	size_t used;
} secrets;

static bool reserve(void)
{
	if (secrets.memory)
		return true;
	void *p = mmap(NULL, SECRETS_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED)
		return false;
	madvise(p, SECRETS_BYTES, MADV_DONTDUMP); /* best effort, as is mlock */
	secrets.memory = p;
	return true;
}

int secret_keep(struct slice value, struct slice *ret)
{
	if (!reserve() || value.n >= SECRETS_BYTES - secrets.used)
		return OC_NOMEM;
	char *to = secrets.memory + secrets.used;
	mlock(to, value.n + 1);
	memcpy(to, value.n ? value.p : "", value.n);
	to[value.n] = '\0';
	secrets.used += value.n + 1;
	*ret = slice_of(to, value.n);
	return 0;
}

/* NAME=VALUE as putenv wants it. */
static int keep_pair(const char *name, struct slice value)
{
	size_t n = strlen(name);
	struct slice pair;
	int r = secret_keep(slice_of(name, n), &pair);
	if (r)
		return r;
	secrets.used--; /* the value goes where the NUL is */
	r = secret_keep(SLICE("="), &(struct slice){ 0 });
	secrets.used--;
	if (r == 0)
		r = secret_keep(value, &(struct slice){ 0 });
	return r == 0 && putenv((char *)(uintptr_t)pair.p) == 0 ? 0 : OC_NOMEM;
}

int secret_hide_environment(const char *name, bool keep)
{
	char *value = getenv(name);
	if (!value)
		return 0;
	size_t n = strlen(value);
	if (keep && keep_pair(name, slice_of(value, n)) != 0)
		return OC_NOMEM;
	if (!keep)
		unsetenv(name);
	explicit_bzero(value, n);
	return 0;
}

static void blot(char *from, const char *to)
{
	while (from < to)
		*from++ = '*';
}

/* The last '@', for a password may hold one that nobody escaped; and the value of every parameter that is called like a password. */
void secret_hide_url(char *url)
{
	char *authority = strstr(url, "://");
	if (!authority)
		return;
	char *at = strrchr(authority, '@'), *colon = strchr(authority + 3, ':');
	if (at && colon && colon < at)
		blot(colon + 1, at);
	for (char *p = authority; (p = strstr(p, "password=")) != NULL;) {
		p += strlen("password=");
		blot(p, p + strcspn(p, "&"));
	}
}

void secret_guard_process(void)
{
	const struct rlimit none = { .rlim_cur = 0, .rlim_max = 0 };
	setrlimit(RLIMIT_CORE, &none);
#if !defined(WITH_SANITIZER)
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
#endif
}
