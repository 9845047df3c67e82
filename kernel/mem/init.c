/* SPDX-License-Identifier: Apache-2.0 */
/*
 * INIT_MEM: from the boot path's page tables (the first 4 GiB at DIRECT_BASE) to the kernel's own.
 *
 * The first blocks become heap at once; everything else, the block table and the kernel's page tables included, is taken from that
 * heap. Only when the kernel's root is loaded can further blocks be given out.
 */
#include "mem/mem_priv.h"

#define MIN_RAM MIB(32)

static void table_group_fill(struct block *group, uint64_t first, const struct mem_plan *p)
{
	uint64_t early = p->early.v >> BLOCK_SHIFT;

	for (uint64_t i = 0; i < BLOCKS_PER_GROUP; i++) {
		bool is_early = first + i - early < p->early_blocks;

		group[i].owner = is_early ? OWNER_KERNEL : layout_owner(&boot_info, first + i);
		group[i].flags = is_early ? BLOCK_DIRECT : 0;
	}
}

/* Maps a page of table for each 256 MiB that hold RAM; sets its bit. */
static void table_build(const struct mem_plan *p, uint64_t *groups)
{
	for (uint64_t g = 0; g * BLOCKS_PER_GROUP < p->nr_blocks; g++) {
		uint64_t first = g * BLOCKS_PER_GROUP;
		struct block *page;

		if (!layout_usable_in(&boot_info, first << BLOCK_SHIFT, BLOCKS_PER_GROUP << BLOCK_SHIFT))
			continue;
		page = kpage_zalloc(MT_BLOCKTAB);
		if (!page || mem_map(arch_kernel_root, BLOCKTAB_BASE + g * PAGE_SIZE, direct_hpa(page), MAP_WRITE) < 0)
			panic("no memory for the block table");
		table_group_fill(page, first, p);
		groups[g / 64] |= BIT(g % 64);
	}
}

static void direct_map_early(const struct mem_plan *p)
{
	for (unsigned i = 0; i < p->early_blocks; i++) {
		hpa_t h = hpa_add(p->early, (uint64_t)i << BLOCK_SHIFT);

		tables_balance();
		if (arch_map(arch_kernel_root, (uintptr_t)direct_ptr(h), h, MAP_WRITE | MAP_LARGE) < 0)
			panic("no memory for the direct map");
	}
}

static void *memory_for_arch(size_t size) { return kmalloc(size, MT_CORE); }

static void mem_init(void)
{
	struct mem_plan p;
	uint64_t *groups;

	if (!layout_plan(&boot_info, &p) || p.ram_bytes < MIN_RAM)
		panic("mica needs at least %u MiB of RAM below 4 GiB; this machine has %llu MiB in all", (unsigned)(MIN_RAM >> 20),
		      (unsigned long long)p.ram_bytes >> 20);
	for (unsigned i = 0; i < p.early_blocks; i++)
		heap_add_block(hpa_add(p.early, (uint64_t)i << BLOCK_SHIFT));
	tables_init();
	arch_paging_init(tables_alloc, tables_free);
	tables_balance();
	groups = kzalloc(ALIGN_UP(p.nr_blocks, BLOCKS_PER_GROUP * 64) / BLOCKS_PER_GROUP / 8, MT_BLOCKTAB);
	if (!groups)
		panic("no memory for the block table");
	table_build(&p, groups);
	direct_map_early(&p);
	window_init();
	arch_root_load(arch_kernel_root);
	block_init((struct block *)BLOCKTAB_BASE, p.nr_blocks, groups, p.ram_bytes, p.early_blocks);
	block_mapping_ready();
	uframe_init();
	arch_memory = (struct arch_memory){ mmio_map, memory_for_arch, kfree, kstack_alloc, kstack_free };
	log_info("memory: %llu MiB usable, %llu KiB kept by the host", (unsigned long long)mem_ram_kib() >> 10,
		 (unsigned long long)mem_host_kib());
}
INIT_CALL(INIT_MEM, mem_init);
