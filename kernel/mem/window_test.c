/* SPDX-License-Identifier: Apache-2.0 */
/* The windows themselves: which slot shows which block, against the fake page tables. */
#include "arch/host/host_mem.h"
#include "mem/mem_priv.h"
#include "test/unit.h"

/* What the slot behind p maps, less its offset: the block. */
static uint64_t shown(const void *p)
{
	struct arch_pte_view v;

	CHECK(arch_pte_get(arch_kernel_root, (uintptr_t)p & ~BLOCK_MASK, &v));
	return v.frame.v + ((uintptr_t)p & BLOCK_MASK);
}

TEST(a_window_shows_its_byte_and_is_kept)
{
	const void *a, *b;
	unsigned flushes;

	a = window_get(hpa(MIB(6) + 123));
	CHECK_EQ(shown(a), MIB(6) + 123);
	window_put(a);
	flushes = host_flushes;
	b = window_get(hpa(MIB(6) + 5));
	CHECK_EQ(shown(b), MIB(6) + 5);
	CHECK_EQ((uintptr_t)a & ~BLOCK_MASK, (uintptr_t)b & ~BLOCK_MASK);
	CHECK_EQ(host_flushes, flushes);
	window_put(b);
	CHECK_EQ(preempt_depth(), 0);
}

TEST(held_windows_keep_their_slots)
{
	const void *held[8];
	unsigned mapped = host_mappings;

	/* All with the same home. */
	for (uint64_t i = 0; i < 8; i++)
		held[i] = window_get(hpa((i * WINDOW_SLOTS + 3) * BLOCK_SIZE + i));
	for (uint64_t i = 0; i < 8; i++)
		CHECK_EQ(shown(held[i]), (i * WINDOW_SLOTS + 3) * BLOCK_SIZE + i);
	window_drop(hpa(3 * BLOCK_SIZE));
	CHECK_EQ(shown(held[0]), 3 * BLOCK_SIZE); /* held ones stay */
	for (uint64_t i = 0; i < 8; i++)
		window_put(held[i]);
	CHECK(window_cached(3));
	window_drop(hpa(3 * BLOCK_SIZE));
	CHECK(!window_cached(3));
	window_drop_all();
	CHECK(host_mappings <= mapped);
}

TEST(random_windows)
{
	const void *held[6] = { NULL };
	uint64_t at[6] = { 0 }, seed = 9;

	for (int i = 0; i < 100000; i++) {
		unsigned r = (unsigned)((seed = seed * 6364136223846793005ull + 1442695040888963407ull) >> 33), k = r % 6;

		if (held[k]) {
			CHECK_EQ(shown(held[k]), at[k]);
			window_put(held[k]);
			held[k] = NULL;
		} else {
			at[k] = (uint64_t)(r / 8 % 200) * BLOCK_SIZE / 2;
			held[k] = window_get(hpa(at[k]));
			CHECK_EQ(shown(held[k]), at[k]);
		}
		if (r % 1024 == 0)
			window_drop(hpa(at[r / 6 % 6] & ~BLOCK_MASK));
	}
	for (unsigned k = 0; k < 6; k++)
		if (held[k])
			window_put(held[k]);
	window_drop_all();
	CHECK_EQ(host_mappings, 0);
}
