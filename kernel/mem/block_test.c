/* SPDX-License-Identifier: Apache-2.0 */
#include "arch/host/host_mem.h"
#include "mem/mem_priv.h"
#include "test/unit.h"
#include <setjmp.h>

static jmp_buf on_panic;
static void panic_caught(const char *text) { (void)text; longjmp(on_panic, 1); }
/* Runs the statement; true when it panicked. */
#define PANICS(statement)                                          \
	({                                                         \
		bool caught_ = true;                               \
		host_panic_hook = panic_caught;                    \
		if (!setjmp(on_panic)) {                           \
			statement;                                 \
			caught_ = false;                           \
		}                                                  \
		host_panic_hook = NULL;                            \
		caught_;                                           \
	})

TEST(alloc_gives_zeroed_blocks_once)
{
	hpa_t seen[64];
	unsigned n = 0;
	hpa_t h;

	host_mem_init(MIB(64), 0);
	while (n < 64 && (h = block_alloc(owner_vm(1), ALLOC_ZERO | ALLOC_RESERVE)).v) {
		uint64_t *p = direct_ptr(h);

		CHECK(p[0] == 0 && p[BLOCK_SIZE / 8 - 1] == 0);
		memset(p, 0xee, BLOCK_SIZE);
		for (unsigned i = 0; i < n; i++)
			CHECK(seen[i].v != h.v);
		seen[n++] = h;
	}
	CHECK_EQ(n, 31); /* block 0 stays the firmware's */
	CHECK_EQ(block_count(owner_vm(1)), 31);
	for (unsigned i = 0; i < n; i++)
		block_free(seen[i]);
	CHECK_EQ(block_count(OWNER_FREE), 31);
	CHECK(((uint8_t *)direct_ptr(seen[3]))[5] == 0xd5);
	h = block_alloc(owner_vm(1), ALLOC_ZERO);
	CHECK_EQ(*(uint64_t *)direct_ptr(h), 0);
}

TEST(kernel_blocks_are_mapped_while_owned)
{
	unsigned before;
	hpa_t h;

	host_mem_init(MIB(64), 0);
	before = host_mappings;
	h = block_alloc(OWNER_KERNEL, 0);
	CHECK_EQ(host_mappings, before + 1);
	block_free(h);
	CHECK_EQ(host_mappings, before);
	h = block_alloc(owner_vm(0), 0);
	CHECK_EQ(host_mappings, before);
	block_free(h);
}

TEST(promised_memory_is_always_there)
{
	uint64_t can;
	unsigned got = 0;

	host_mem_init(MIB(128), 1);
	can = mem_promisable();
	CHECK_EQ(mem_promise(can + 1), -ENOMEM);
	CHECK_EQ(mem_promise(can), 0);
	CHECK_EQ(mem_promisable(), 0);
	/* The host takes all it may; ring 3 leaves the last of the reserve to the kernel. */
	while (block_alloc(OWNER_USER, 0).v)
		got++;
	CHECK_EQ(got, 1);
	while (block_alloc(OWNER_KERNEL, 0).v)
		got++;
	CHECK_EQ(got, 2);
	for (uint64_t i = 0; i < can >> BLOCK_SHIFT; i++)
		CHECK(block_alloc(owner_vm(2), 0).v);
	CHECK(!block_alloc(owner_vm(2), 0).v);
	mem_unpromise(can);
	CHECK_EQ(mem_promisable(), can);
}

TEST(host_grows_past_its_reserve_only_where_nothing_is_promised)
{
	uint64_t host, can;

	host_mem_init(MIB(128), 1);
	host = mem_host_kib();
	can = mem_promisable();
	for (int i = 0; i < 2; i++)
		CHECK(block_alloc(OWNER_KERNEL, 0).v);
	CHECK_EQ(mem_host_kib(), host);
	CHECK_EQ(mem_promisable(), can);
	CHECK(block_alloc(OWNER_KERNEL, 0).v);
	CHECK_EQ(mem_host_kib(), host + 2048);
	CHECK_EQ(mem_promisable(), can - BLOCK_SIZE);
}

TEST(modules_count_as_promisable_and_come_back)
{
	uint64_t can;

	boot_info.nr_modules = 2;
	boot_info.module[0] = (struct boot_module){ .base = MIB(20), .size = MIB(3) };
	boot_info.module[1] = (struct boot_module){ .base = MIB(23), .size = MIB(6) };
	host_mem_init(MIB(64), 0);
	can = mem_promisable();
	CHECK_EQ(block_count(OWNER_MODULE), 5);
	CHECK_EQ(block_count(OWNER_FREE), 26);
	module_release(MIB(20), MIB(3));
	CHECK_EQ(block_count(OWNER_MODULE), 4); /* the block from 22 is shared */
	module_release(MIB(23), MIB(6));
	CHECK_EQ(block_count(OWNER_MODULE), 0);
	CHECK_EQ(block_count(OWNER_FREE), 31);
	CHECK_EQ(mem_promisable(), can);
	boot_info.nr_modules = 0;
}

TEST(layout_of_a_pc)
{
	struct mem_plan p;
	struct boot_info bi = { .nr_ranges = 4, .kernel_phys = MIB(2), .kernel_size = MIB(3), .nr_modules = 1 };

	bi.range[0] = (struct boot_range){ 0, 0x9fc00, 1 };
	bi.range[1] = (struct boot_range){ MIB(1), 0xbffe0000 - MIB(1), 1 };
	bi.range[2] = (struct boot_range){ 0xbffe0000, 0x20000, 2 };
	bi.range[3] = (struct boot_range){ GIB(4), GIB(1), 1 };
	bi.module[0] = (struct boot_module){ .base = MIB(5), .size = MIB(4) };
	CHECK(layout_plan(&bi, &p));
	CHECK_EQ(p.nr_blocks, 2560);
	CHECK_EQ(p.table_pages, 16);
	CHECK_EQ(p.ram_bytes, 0x9fc00 + 0xbffe0000 - MIB(1) + GIB(1));
	CHECK_EQ(p.early_blocks, 1);
	CHECK_EQ(p.early.v, MIB(10));
	CHECK_EQ(layout_owner(&bi, 0), OWNER_FIRMWARE);
	CHECK_EQ(layout_owner(&bi, 1), OWNER_IMAGE);
	CHECK_EQ(layout_owner(&bi, 2), OWNER_IMAGE); /* shared with the module */
	CHECK_EQ(layout_owner(&bi, 3), OWNER_MODULE);
	CHECK_EQ(layout_owner(&bi, 4), OWNER_MODULE);
	CHECK_EQ(layout_owner(&bi, 0xbfe00000 >> 21), OWNER_FIRMWARE);
	CHECK(layout_frame_usable(&bi, MIB(1)) && !layout_frame_usable(&bi, 0x80000) && !layout_frame_usable(&bi, MIB(2)));
	CHECK(layout_frame_usable(&bi, 0xbfe00000) && !layout_frame_usable(&bi, 0xbffe0000) && !layout_frame_usable(&bi, MIB(5)));
}

TEST(planted_free_before_shootdown_is_caught)
{
	hpa_t h;

	host_mem_init(MIB(64), 0);
	h = block_alloc(owner_vm(0), 0);
	block_stale_set(h, true);
	CHECK(PANICS(block_free(h)));
	block_stale_set(h, false);
	CHECK(!PANICS(block_free(h)));
	CHECK(PANICS(block_free(h))); /* twice */
}

/* Random alloc, free, promise against a model of counts and owners. */
TEST(random_operations)
{
	enum { N = 64 };
	static uint16_t model[N];
	uint64_t seed = 1, promised = 0, held = 0;

	host_mem_init(N * BLOCK_SIZE, 0);
	memset(model, 0, sizeof(model));
	for (int i = 0; i < 20000; i++) {
		unsigned r = (unsigned)((seed = seed * 6364136223846793005ull + 1442695040888963407ull) >> 33);
		unsigned b = 1 + r / 16 % (N - 1);

		if (r % 8 < 3 && !model[b] && held < promised) {
			hpa_t h = block_alloc(owner_vm(3), r & 8 ? ALLOC_ZERO : 0);

			CHECK(h.v && !model[h.v >> BLOCK_SHIFT]);
			model[h.v >> BLOCK_SHIFT] = owner_vm(3);
			held++;
		} else if (r % 8 < 5) {
			uint16_t owner = r & 8 ? OWNER_KERNEL : OWNER_USER;
			hpa_t h = block_alloc(owner, 0);

			if (h.v) {
				CHECK(!model[h.v >> BLOCK_SHIFT]);
				model[h.v >> BLOCK_SHIFT] = owner;
			}
		} else if (r % 8 < 7 && model[b]) {
			held -= model[b] == owner_vm(3);
			model[b] = 0;
			block_free(hpa((uint64_t)b << BLOCK_SHIFT));
		} else if (r & 8) {
			if (!mem_promise(3 * BLOCK_SIZE))
				promised += 3;
		} else if (promised >= held + 3) {
			mem_unpromise(3 * BLOCK_SIZE);
			promised -= 3;
		}
		if (i % 64 == 0) {
			uint64_t vm = 0;

			for (unsigned k = 0; k < N; k++)
				vm += model[k] == owner_vm(3);
			CHECK_EQ(vm, block_count(owner_vm(3)));
			CHECK(block_count(OWNER_FREE) >= promised - held);
		}
	}
}
