/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where every byte of usable RAM is. The lines add up to what the firmware called usable, exactly, and after the same work undone
 * they are the same to the byte: what depends on history alone (which page an object happens to stand in, how many blocks the heap
 * holds for it) is told in one line together with the reserve, out of which it is paid.
 */
#include "mem/mem_priv.h"

void mem_drain(void)
{
	kstack_drain();
	tables_balance();
	uframe_drain();
	heap_trim();
}

static void host_lines(void (*line)(void *, const char *, uint64_t), void *ctx, uint64_t *sum)
{
	char name[48];

	for (unsigned t = 0; t < MT_TAGS; t++) {
		uint64_t bytes = mem_tag_bytes(t);

		if (!bytes)
			continue;
		snprintf(name, sizeof(name), "kernel: %s", mem_tag_name[t]);
		line(ctx, name, bytes);
		*sum += bytes;
	}
}

static uint64_t usable_of(uint16_t owner)
{
	uint64_t bytes = 0;

	for (uint64_t i = 0; i < block_index_end(); i++) {
		struct block *b = block_at(i);

		if (b && b->owner == owner)
			bytes += layout_usable_in(&boot_info, i << BLOCK_SHIFT, BLOCK_SIZE);
	}
	return bytes;
}

#ifndef __KERNEL_HOST_TEST__
extern char __text_start[], __text_end[], __rootfs_start[], __rootfs_end[];

static uint64_t image_lines(void (*line)(void *, const char *, uint64_t), void *ctx)
{
	uint64_t text = (uint64_t)(__text_end - __text_start), rootfs = (uint64_t)(__rootfs_end - __rootfs_start);
	uint64_t all = boot_info.kernel_size;

	line(ctx, "image: text", text);
	line(ctx, "image: root files", rootfs);
	line(ctx, "image: data", all - text - rootfs);
	return all;
}
#else
static uint64_t image_lines(void (*line)(void *, const char *, uint64_t), void *ctx)
{
	line(ctx, "image", boot_info.kernel_size);
	return boot_info.kernel_size;
}
#endif

static void vm_lines(void (*line)(void *, const char *, uint64_t), void *ctx)
{
	char name[48];

	for (unsigned id = 0; id < MEM_MAX_VMS; id++) {
		uint64_t memory = block_count(owner_vm(id)), tables = block_count(owner_vm_tables(id));

		if (memory + tables == 0)
			continue;
		snprintf(name, sizeof(name), "vm %u: memory", id);
		line(ctx, name, memory << BLOCK_SHIFT);
		snprintf(name, sizeof(name), "vm %u: tables", id);
		line(ctx, name, tables << BLOCK_SHIFT);
	}
}

void mem_account(void (*line)(void *ctx, const char *name, uint64_t bytes), void *ctx)
{
	struct block_facts b;
	struct uframe_facts u;
	uint64_t host, kernel = 0, image, ring3;

	mem_drain();
	block_get_facts(&b);
	uframe_get_facts(&u);
	image = image_lines(line, ctx);
	line(ctx, "firmware's blocks, cut blocks, rest of the image's",
	     usable_of(OWNER_FIRMWARE) + usable_of(OWNER_IMAGE) - image - u.scrap * PAGE_SIZE);
	host_lines(line, ctx, &kernel);
	ring3 = u.used * PAGE_SIZE;
	line(ctx, "ring 3", ring3);
	host = (b.allowance << BLOCK_SHIFT) + u.scrap * PAGE_SIZE;
	line(ctx, "host: reserve and room in its blocks", host - kernel - ring3);
	line(ctx, "modules", block_count(OWNER_MODULE) << BLOCK_SHIFT);
	vm_lines(line, ctx);
	line(ctx, "free for VMs", (b.free - (b.allowance - b.ours)) << BLOCK_SHIFT);
}
