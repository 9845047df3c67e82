/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzz targets that are also unit tests. A test file defines `static void fuzz_one(const uint8_t *data, size_t n)` and gives a
 * seed or more to fuzz_loop(): `make units` runs a bounded number of mutations of it, the same ones every time. Built with
 * -DFUZZ -fsanitize=fuzzer (`make fuzz`) the same file is a libFuzzer target instead.
 */
#ifndef USER_LIB_FUZZ_H
#define USER_LIB_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#ifdef FUZZ
#define FUZZ_TARGET(fn) int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n); int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) { fn(data, n); return 0; }
#define main fuzz_unused_main
#else
#define FUZZ_TARGET(fn)
#endif

static uint64_t fuzz_state = 88172645463325252ull;
static inline uint64_t fuzz_random(void)
{
	fuzz_state ^= fuzz_state << 13;
	fuzz_state ^= fuzz_state >> 7;
	fuzz_state ^= fuzz_state << 17;
	return fuzz_state;
}

/* rounds mutations of seed: some bytes changed, values that like to overflow put in, cut short at times. Edits fall in the first `head` bytes. */
static inline void fuzz_loop(void (*fn)(const uint8_t *data, size_t n), const void *seed, size_t n, size_t head, unsigned rounds)
{
	static const uint64_t edge[] = { 0, 1, 0x7f, 0x80, 0xff, 0x7fff, 0xffff, 0x7fffffff, 0xffffffff, 0x7fffffffffffffff, ~0ull };

	for (unsigned r = 0; r < rounds; r++) {
		uint8_t *copy = malloc(n ? n : 1);
		size_t len = fuzz_random() % 8 ? n : fuzz_random() % (n + 1);
		unsigned edits = (unsigned)(fuzz_random() % 6);

		memcpy(copy, seed, n);
		for (unsigned i = 0; i < edits && head; i++) {
			size_t at = fuzz_random() % head, size = (size_t)1 << fuzz_random() % 4;

			if (fuzz_random() % 2)
				copy[at] ^= (uint8_t)fuzz_random();
			else if (at + size <= n)
				memcpy(copy + at, &edge[fuzz_random() % 11], size);
		}
		fn(copy, len);
		free(copy);
	}
}

#endif
