/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the firmware's map to blocks: who owns each 2 MiB of RAM before anything runs, and where the kernel's first blocks lie.
 *
 * Pure functions of struct boot_info. A block is given out only when all of it is usable RAM; the first one (real-mode tables,
 * the EBDA, the trampoline of the other CPUs) and those cut by the firmware stay the firmware's. A block that a module shares
 * with the image is the image's.
 */
#include "mem/mem_priv.h"

#define RAM_USABLE 1

static bool overlaps(uint64_t a, uint64_t an, uint64_t b, uint64_t bn) { return an && bn && a < b + bn && b < a + an; }

uint64_t layout_usable_in(const struct boot_info *bi, uint64_t base, uint64_t size)
{
	uint64_t bytes = 0;

	for (unsigned i = 0; i < bi->nr_ranges; i++) {
		const struct boot_range *r = &bi->range[i];

		if (r->type == RAM_USABLE && overlaps(base, size, r->base, r->size))
			bytes += MIN(base + size, r->base + r->size) - MAX(base, r->base);
	}
	return bytes;
}

bool layout_overlaps_module(const struct boot_info *bi, uint64_t base, uint64_t size)
{
	for (unsigned i = 0; i < bi->nr_modules; i++)
		if (overlaps(base, size, bi->module[i].base, bi->module[i].size))
			return true;
	return false;
}

uint16_t layout_owner(const struct boot_info *bi, uint64_t index)
{
	uint64_t base = index << BLOCK_SHIFT;

	if (!index || layout_usable_in(bi, base, BLOCK_SIZE) != BLOCK_SIZE)
		return OWNER_FIRMWARE;
	if (overlaps(base, BLOCK_SIZE, bi->kernel_phys, bi->kernel_size))
		return OWNER_IMAGE;
	return layout_overlaps_module(bi, base, BLOCK_SIZE) ? OWNER_MODULE : OWNER_FREE;
}

bool layout_frame_usable(const struct boot_info *bi, uint64_t base)
{
	return base >= MIB(1) && layout_usable_in(bi, base, PAGE_SIZE) == PAGE_SIZE &&
	       !overlaps(base, PAGE_SIZE, bi->kernel_phys, bi->kernel_size) && !layout_overlaps_module(bi, base, PAGE_SIZE);
}

/* Room for the block table, for the first page tables and for what boots before the heap can grow. */
static unsigned early_blocks_wanted(const struct mem_plan *p)
{
	return (unsigned)(ALIGN_UP(p->table_pages * PAGE_SIZE + MIB(3) / 2, BLOCK_SIZE) >> BLOCK_SHIFT);
}

static bool place_early(const struct boot_info *bi, struct mem_plan *p)
{
	unsigned run = 0;

	p->early_blocks = early_blocks_wanted(p);
	for (uint64_t i = 1; i < MIN(p->nr_blocks, GIB(4) >> BLOCK_SHIFT); i++) {
		run = layout_owner(bi, i) == OWNER_FREE ? run + 1 : 0;
		if (run == p->early_blocks) {
			p->early = hpa((i + 1 - run) << BLOCK_SHIFT);
			return true;
		}
	}
	return false;
}

bool layout_plan(const struct boot_info *bi, struct mem_plan *p)
{
	uint64_t group = BLOCKS_PER_GROUP << BLOCK_SHIFT;
	uint64_t top = 0;

	*p = (struct mem_plan){ 0 };
	for (unsigned i = 0; i < bi->nr_ranges; i++) {
		const struct boot_range *r = &bi->range[i];

		if (r->type != RAM_USABLE)
			continue;
		p->ram_bytes += r->size;
		top = MAX(top, r->base + r->size);
	}
	p->nr_blocks = ALIGN_UP(top, BLOCK_SIZE) >> BLOCK_SHIFT;
	for (uint64_t base = 0; base < top; base += group)
		p->table_pages += layout_usable_in(bi, base, group) != 0;
	return place_early(bi, p);
}
