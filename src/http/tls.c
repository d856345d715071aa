#include "http/tls.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define MOST_BYTES ((size_t)1 << 20)
#define MOST_CERTIFICATES 16
#define RETIRED_NS ((int64_t)3600 * 1000000000) /* longer than the longest --request-timeout: no handshake takes longer */

/* One pair of files as they were once. */
struct pair {
	struct pair *next;     /* an older one */
	int64_t retired_ns;
	struct slice files[2]; /* their bytes, to see whether they have changed */
	gnutls_pcert_st chain[MOST_CERTIFICATES];
	unsigned chain_count;
	gnutls_privkey_t key;
	int64_t expires_s;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct pair *current; /* NULL: not open */
static char *paths[2];

static void pair_free(struct pair *p)
{
	if (!p)
		return;
	for (unsigned i = 0; i < p->chain_count; i++)
		gnutls_pcert_deinit(&p->chain[i]);
	if (p->key)
		gnutls_privkey_deinit(p->key);
	for (int i = 0; i < 2; i++) {
		if (p->files[i].p)
			explicit_bzero((char *)(uintptr_t)p->files[i].p, p->files[i].n);
		free((char *)(uintptr_t)p->files[i].p);
	}
	free(p);
}

__attribute__((format(printf, 3, 4))) static int fail(struct arena *a, struct slice *ret_message, const char *format, ...)
{
	char text[1024];
	va_list args;
	va_start(args, format);
	vsnprintf(text, sizeof text, format, args);
	va_end(args);
	return arena_copy(a, slice_cstr(text), ret_message) ? OC_CONFIG : OC_NOMEM;
}

/* A credential of the service manager's is guarded by its directory. */
static bool is_credential(const char *path)
{
	const char *folder = getenv("CREDENTIALS_DIRECTORY");
	size_t n = folder ? strlen(folder) : 0;
	return n && strncmp(path, folder, n) == 0 && path[n] == '/';
}

/* Nobody but the owner; where that is root, also a group (Debian's ssl-cert). */
static bool is_private(const struct stat *st) { return (st->st_mode & (st->st_uid == 0 ? 037 : 077)) == 0; }

static int read_file_at(const char *path, bool is_key, struct arena *a, struct slice *ret, struct slice *ret_message)
{
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY), r = OC_OK;
	char *bytes = fd >= 0 ? malloc(MOST_BYTES) : NULL;
	ssize_t n = 0, got = 1;
	if (fd < 0)
		return fail(a, ret_message, "%s cannot be opened: %s", path, strerror(errno));
	if (!bytes)
		r = OC_NOMEM;
	else if (fstat(fd, &st) == 0 && is_key && !is_private(&st) && !is_credential(path))
		r = fail(a, ret_message, "%s, the key, can be read or written by others than its owner: chmod 600 '%s'", path, path);
	while (r == OC_OK && got > 0 && (size_t)n < MOST_BYTES) {
		got = read(fd, bytes + n, MOST_BYTES - (size_t)n);
		if (got < 0 && errno != EINTR)
			r = fail(a, ret_message, "%s cannot be read: %s", path, strerror(errno));
		n += got > 0 ? got : 0;
		got = got < 0 ? 1 : got;
	}
	close(fd);
	if (r == OC_OK && (size_t)n == MOST_BYTES)
		r = fail(a, ret_message, "%s is larger than %zu bytes", path, MOST_BYTES);
	if (r == OC_OK)
		*ret = slice_of(bytes, (size_t)n);
	else
		free(bytes);
	return r;
}

static gnutls_datum_t datum(struct slice s) { return (gnutls_datum_t){ .data = (unsigned char *)(uintptr_t)s.p, .size = (unsigned)s.n }; }

static int take_chain(struct pair *p, struct arena *a, struct slice *ret_message)
{
	gnutls_x509_crt_t certificates[MOST_CERTIFICATES];
	unsigned n = MOST_CERTIFICATES;
	const gnutls_datum_t pem = datum(p->files[0]);
	int r = gnutls_x509_crt_list_import(certificates, &n, &pem, GNUTLS_X509_FMT_PEM, GNUTLS_X509_CRT_LIST_IMPORT_FAIL_IF_EXCEED);
	if (r < 0)
		return r == GNUTLS_E_MEMORY_ERROR ? OC_NOMEM : fail(a, ret_message, "%s holds no certificate that can be used: %s", paths[0], gnutls_strerror(r));
	p->expires_s = (int64_t)gnutls_x509_crt_get_expiration_time(certificates[0]);
	for (unsigned i = 0; i < n; i++) {
		if (r >= 0)
			r = gnutls_pcert_import_x509(&p->chain[p->chain_count], certificates[i], 0);
		p->chain_count += r >= 0;
		gnutls_x509_crt_deinit(certificates[i]);
	}
	return r < 0 ? OC_NOMEM : OC_OK;
}

static bool is_key_of(const struct pair *p)
{
	unsigned char of_key[64], of_certificate[64];
	size_t key_n = sizeof of_key, certificate_n = sizeof of_certificate;
	gnutls_pubkey_t public;
	if (gnutls_pubkey_init(&public) < 0)
		return false;
	bool same = gnutls_pubkey_import_privkey(public, p->key, 0, 0) >= 0 && gnutls_pubkey_get_key_id(public, GNUTLS_KEYID_USE_SHA256, of_key, &key_n) >= 0 &&
		    gnutls_pubkey_get_key_id(p->chain[0].pubkey, GNUTLS_KEYID_USE_SHA256, of_certificate, &certificate_n) >= 0 &&
		    key_n == certificate_n && memcmp(of_key, of_certificate, key_n) == 0;
	gnutls_pubkey_deinit(public);
	return same;
}

static int take_key(struct pair *p, struct arena *a, struct slice *ret_message)
{
	const gnutls_datum_t pem = datum(p->files[1]);
	if (gnutls_privkey_init(&p->key) < 0)
		return OC_NOMEM;
	int r = gnutls_privkey_import_x509_raw(p->key, &pem, GNUTLS_X509_FMT_PEM, NULL, 0);
	if (r < 0)
		return fail(a, ret_message, "%s holds no key that can be used: %s", paths[1], gnutls_strerror(r));
	if (!is_key_of(p))
		return fail(a, ret_message, "%s is not the key of the first certificate in %s", paths[1], paths[0]);
	return OC_OK;
}

static int pair_read(struct arena *a, struct pair **ret, struct slice *ret_message)
{
	struct pair *p = calloc(1, sizeof *p);
	int r = p ? OC_OK : OC_NOMEM;
	for (int i = 0; i < 2 && r == OC_OK; i++)
		r = read_file_at(paths[i], i == 1, a, &p->files[i], ret_message);
	if (r == OC_OK)
		r = take_chain(p, a, ret_message);
	if (r == OC_OK)
		r = take_key(p, a, ret_message);
	if (r == OC_OK)
		*ret = p;
	else
		pair_free(p);
	return r;
}

int tls_open(const char *certificate_path, const char *key_path, struct arena *a, struct slice *ret_message)
{
	if (current)
		abort();
	paths[0] = strdup(certificate_path);
	paths[1] = strdup(key_path);
	int r = paths[0] && paths[1] ? pair_read(a, &current, ret_message) : OC_NOMEM;
	if (r != OC_OK)
		tls_close();
	return r;
}

void tls_close(void)
{
	for (struct pair *next; current; current = next) {
		next = current->next;
		pair_free(current);
	}
	for (int i = 0; i < 2; i++) {
		free(paths[i]);
		paths[i] = NULL;
	}
}

bool tls_is_open(void) { return current != NULL; }

int64_t tls_expires_s(void)
{
	pthread_mutex_lock(&lock);
	int64_t expires_s = current ? current->expires_s : 0;
	pthread_mutex_unlock(&lock);
	return expires_s;
}

/* Those that no handshake can still have. */
static void free_retired(int64_t now_ns)
{
	for (struct pair **at = &current->next; *at;) {
		struct pair *p = *at;
		if (now_ns - p->retired_ns < RETIRED_NS) {
			at = &p->next;
			continue;
		}
		*at = p->next;
		pair_free(p);
	}
}

int tls_reload(int64_t now_ns, struct arena *a, bool *ret_changed, struct slice *ret_message)
{
	struct pair *p;
	int r = pair_read(a, &p, ret_message);
	if (r != OC_OK)
		return r;
	*ret_changed = !slice_eq(p->files[0], current->files[0]) || !slice_eq(p->files[1], current->files[1]);
	if (!*ret_changed) {
		pair_free(p);
		return OC_OK;
	}
	pthread_mutex_lock(&lock);
	p->next = current;
	current->retired_ns = now_ns;
	current = p;
	pthread_mutex_unlock(&lock);
	free_retired(now_ns);
	return OC_OK;
}

int tls_select(gnutls_session_t session, const gnutls_datum_t *authorities, int authority_count, const gnutls_pk_algorithm_t *algorithms,
	int algorithm_count, gnutls_pcert_st **ret_chain, unsigned *ret_count, gnutls_privkey_t *ret_key)
{
	(void)session;
	(void)authorities;
	(void)authority_count;
	(void)algorithms;
	(void)algorithm_count;
	pthread_mutex_lock(&lock);
	struct pair *p = current;
	pthread_mutex_unlock(&lock);
	if (!p)
		return -1;
	*ret_chain = p->chain;
	*ret_count = p->chain_count;
	*ret_key = p->key;
	return 0;
}
