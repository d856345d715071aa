/* Runs a fuzz target without libFuzzer: over each argument, a file or a directory, which is walked; then, where FUZZ_MUTATIONS says how many, over
 * so many inputs made from those by a fixed sequence of changes (by the target's own mutator where it has one), so that the normal tests hold a
 * bounded share of the fuzzing that gives the same every time. FUZZ_MILLISECONDS bounds it further. Exits with 1 when there was no input at all,
 * and crashes as the fuzzer would; the input that did it is then in FUZZ_CRASH, where that names a file. One thread. */
#include <ftw.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "must.h"

#define MOST_SEEDS 4096
#define MOST_BYTES 65536 /* of an input that is changed */

#pragma weak LLVMFuzzerCustomMutator

struct input {
	uint8_t *data;
	size_t size;
};

static struct input seeds[MOST_SEEDS];
static size_t inputs, seed_count;
static uint64_t state = 88172645463325252;

static size_t below(size_t n)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return n ? (size_t)(state % n) : 0;
}

static void run(const uint8_t *data, size_t size)
{
	/* In memory of its own size, so that a sanitizer sees a read beyond the end. */
	uint8_t *copy = malloc(size ? size : 1);
	must(copy);
	if (size)
		memcpy(copy, data, size);
	LLVMFuzzerTestOneInput(copy, size);
	free(copy);
	inputs++;
}

static int run_file(const char *path, const struct stat *info, int kind, struct FTW *where)
{
	(void)where;
	if (kind == FTW_DNR || kind == FTW_NS) {
		fprintf(stderr, "%s: cannot be read\n", path);
		return 1;
	}
	if (kind != FTW_F || !S_ISREG(info->st_mode))
		return 0;
	FILE *f = fopen(path, "rb");
	size_t size = (size_t)info->st_size;
	uint8_t *data = malloc(size ? size : 1);
	bool read = f && data && fread(data, 1, size, f) == size;
	if (f)
		fclose(f);
	if (!read) {
		perror(path);
		free(data);
		return 1;
	}
	run(data, size);
	if (seed_count < MOST_SEEDS && size <= MOST_BYTES)
		seeds[seed_count++] = (struct input){ data, size };
	else
		free(data);
	return 0;
}

/* One change, as libFuzzer's own would be; the targets' mutators call it. */
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size)
{
	static const char bytes[] = "\"\\{}[],:.-+ \t\r\n%&=?;/0179aeETZ_\x00\x01\x7f\x80\xc3\xff";
	size_t at = below(size + 1), n = 1 + below(4);
	switch (below(6)) {
	case 0: /* a bit */
		if (at < size)
			data[at] ^= (uint8_t)(1u << below(8));
		return size;
	case 1: /* a byte of meaning */
		if (at < size)
			data[at] = (uint8_t)bytes[below(sizeof bytes)];
		return size;
	case 2: /* one more */
		if (size >= max_size)
			return size;
		memmove(data + at + 1, data + at, size - at);
		data[at] = (uint8_t)bytes[below(sizeof bytes)];
		return size + 1;
	case 3: /* some fewer */
		n = n < size - at ? n : size - at;
		memmove(data + at, data + at + n, size - at - n);
		return size - n;
	case 4: /* a stretch again elsewhere */
		if (size < 2 || at >= size)
			return size;
		n = 1 + below(size - at);
		memmove(data + below(size - n + 1), data + at, n);
		return size;
	default: /* the end is missing */
		return at;
	}
}

/* A part of another input behind the beginning of this one. */
static size_t cross(uint8_t *data, size_t size)
{
	const struct input *other = &seeds[below(seed_count)];
	size_t from = below(other->size + 1), at = below(size + 1), n = other->size - from;
	if (n > MOST_BYTES - at)
		n = MOST_BYTES - at;
	if (n)
		memcpy(data + at, other->data + from, n);
	return at + n;
}

static void keep(const uint8_t *data, size_t size)
{
	const char *path = getenv("FUZZ_CRASH");
	FILE *f = path ? fopen(path, "wb") : NULL;
	if (!f)
		return;
	fwrite(data, 1, size, f);
	fclose(f);
}

static int64_t now_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void run_changed(long count, long most_ms)
{
	static uint8_t data[MOST_BYTES];
	int64_t end = now_ms() + most_ms;
	for (long i = 0; i < count && now_ms() < end; i++) {
		const struct input *seed = &seeds[below(seed_count)];
		size_t size = seed->size;
		if (size)
			memcpy(data, seed->data, size);
		if (below(8) == 0)
			size = cross(data, size);
		for (size_t changes = 1 + below(4); changes; changes--)
			size = LLVMFuzzerCustomMutator && below(4) ? LLVMFuzzerCustomMutator(data, size, MOST_BYTES, (unsigned)below(UINT32_MAX))
								    : LLVMFuzzerMutate(data, size, MOST_BYTES);
		keep(data, size);
		run(data, size);
	}
}

int main(int argc, char **argv)
{
	const char *count = getenv("FUZZ_MUTATIONS"), *most = getenv("FUZZ_MILLISECONDS");
	for (int i = 1; i < argc; i++) {
		int rc = nftw(argv[i], run_file, 16, FTW_PHYS);
		if (rc != 0) {
			if (rc < 0)
				perror(argv[i]);
			return 1;
		}
	}
	if (count && seed_count)
		run_changed(atol(count), most ? atol(most) : 1000);
	for (size_t i = 0; i < seed_count; i++)
		free(seeds[i].data);
	printf("%zu inputs\n", inputs);
	return inputs ? 0 : 1;
}
