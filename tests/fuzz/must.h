/* What every fuzz target shares: libFuzzer's entry, and a property that must hold, with sanitizers or without.
 * To fuzz: CC=clang meson setup BUILD -Dtests=true -Dfuzzers=true -Db_sanitize=address,undefined -Db_lundef=false, then
 * BUILD/tests/fuzz/fuzz_NAME SCRATCH tests/fuzz/corpus/NAME; what is found goes to SCRATCH, the folder named first. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define must(condition) \
	do { \
		if (!(condition)) { \
			fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #condition); \
			abort(); \
		} \
	} while (0)
