/* Runs a fuzz target over files: each argument is a file or a directory, which is walked. Exits with 1 when there was no input at all, and
 * crashes as the fuzzer would. One thread. */
#include <ftw.h>
#include <stdbool.h>
#include <sys/stat.h>

#include "must.h"

static size_t inputs;

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
	if (read) {
		LLVMFuzzerTestOneInput(data, size);
		inputs++;
	} else {
		perror(path);
	}
	free(data);
	return read ? 0 : 1;
}

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		int rc = nftw(argv[i], run_file, 16, FTW_PHYS);
		if (rc != 0) {
			if (rc < 0)
				perror(argv[i]);
			return 1;
		}
	}
	printf("%zu inputs\n", inputs);
	return inputs ? 0 : 1;
}
