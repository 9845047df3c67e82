/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Multiboot 1 kernels, started as QEMU's -kernel starts them: the command line is "FILE ARGS", each module's string the text
 * that names it, modules lie page-aligned after the kernel. (Multiboot Specification 0.6.96, sections 3.1 to 3.3.)
 */
#include "user/vmx/load.h"

#include <string.h>

#define SEARCH 8192u
#define HEADER_MAGIC 0x1badb002u
#define BOOT_MAGIC 0x2badb002u
#define FLAG_ADDRESSES 0x10000u
#define FLAGS_KNOWN 0x7u        /* of bits 15:0, which a loader must know: page alignment, memory, video (which we ignore) */
#define LOADER_NAME "mica"

struct header { uint32_t magic, flags, checksum, header_addr, load_addr, load_end_addr, bss_end_addr, entry_addr; };
struct info { /* section 3.3, as far as it is filled */
	uint32_t flags, mem_lower, mem_upper, boot_device, cmdline, mods_count, mods_addr, syms[4], mmap_length, mmap_addr;
	uint32_t drives_length, drives_addr, config_table, boot_loader_name;
};
struct module { uint32_t start, end, string, reserved; };
struct mmap_entry { uint32_t size; uint64_t base, length; uint32_t type; } __attribute__((packed));
#define INFO_FLAGS 0x24fu       /* memory, boot device, command line, modules, memory map, loader name */
_Static_assert(BOOT_MODULES * sizeof(struct module) + MEMORY_MAP_MAX * sizeof(struct mmap_entry) <= BOOT_TEXT - BOOT_LISTS, "lists fit");

bool multiboot_probe(const struct boot_file *f, uint32_t *offset)
{
	static uint8_t buf[SEARCH];
	uint32_t n = f->size < SEARCH ? (uint32_t)f->size : SEARCH;

	if (n < 12 || !f->read(f, 0, buf, n))
		return false;
	for (uint32_t i = 0; i + 12 <= n; i += 4) {
		uint32_t h[3];

		memcpy(h, buf + i, sizeof(h));
		if (h[0] == HEADER_MAGIC && !(h[0] + h[1] + h[2])) {
			*offset = i;
			return true;
		}
	}
	return false;
}

/* The "a.out kludge": addresses in the header instead of an ELF. */
static bool load_flat(const struct boot_file *f, uint32_t at, const struct header *h, const struct guest_memory *m, uint64_t *end, struct uerror *err)
{
	uint64_t offset, size, memory;

	if (h->header_addr < h->load_addr || h->header_addr - h->load_addr > at)
		return uerror_set(err, "%s: the Multiboot header at offset 0x%x names a load address 0x%x that its own address 0x%x contradicts", f->name, at,
				  h->load_addr, h->header_addr);
	offset = at - (h->header_addr - h->load_addr);
	size = f->size - offset;
	if (h->load_end_addr) {
		if (h->load_end_addr < h->load_addr || h->load_end_addr - h->load_addr > size)
			return uerror_set(err, "%s: cut short: the Multiboot header at offset 0x%x wants 0x%x..0x%x loaded", f->name, at, h->load_addr,
					  h->load_end_addr);
		size = h->load_end_addr - h->load_addr;
	}
	memory = size;
	if (h->bss_end_addr) {
		if (h->bss_end_addr < h->load_addr + size)
			return uerror_set(err, "%s: the Multiboot header at offset 0x%x ends its bss at 0x%x, before its data", f->name, at, h->bss_end_addr);
		memory = h->bss_end_addr - h->load_addr;
	}
	if (!boot_range_ok(m, h->load_addr, memory))
		return uerror_set(err, "%s: 0x%llx bytes at 0x%x (Multiboot header at offset 0x%x) are outside of the VM's memory", f->name,
				  (unsigned long long)memory, h->load_addr, at);
	*end = h->load_addr + memory;
	return boot_file_copy(f, offset, size, m, h->load_addr, err) && guest_zero(m, h->load_addr + size, memory - size, err);
}

static bool load_kernel(const struct boot_request *q, uint32_t at, const struct guest_memory *m, uint64_t *entry, uint64_t *end, struct uerror *err)
{
	struct header h = { 0 };
	struct elf_info info;

	if (!boot_file_read(&q->kernel, at, &h, 12, err))
		return false;
	if (h.flags & 0xffff & ~FLAGS_KNOWN)
		return uerror_set(err, "%s: its Multiboot header at offset 0x%x asks for features 0x%x that are unknown here", q->kernel.name, at,
				  h.flags & 0xffff & ~FLAGS_KNOWN);
	if (h.flags & FLAG_ADDRESSES) {
		if (!boot_file_read(&q->kernel, at, &h, sizeof(h), err))
			return false;
		*entry = h.entry_addr;
		if (!load_flat(&q->kernel, at, &h, m, end, err))
			return false;
	} else {
		if (!elf_probe(&q->kernel))
			return uerror_set(err, "%s: its Multiboot header at offset 0x%x has no addresses, and it is no ELF file", q->kernel.name, at);
		if (!elf_load(&q->kernel, m, true, &info, err))
			return false;
		*entry = info.entry;
		*end = info.end;
	}
	return *entry < m->low || uerror_set(err, "%s: its entry 0x%llx is outside of the VM's memory", q->kernel.name, (unsigned long long)*entry);
}

struct text { const struct guest_memory *m; uint64_t at; };

/* "first second" (or only first) into guest memory. */
static bool put_text(struct text *t, const char *first, const char *second, uint32_t *where, struct uerror *err)
{
	size_t a = strlen(first), b = second ? strlen(second) + 1 : 0;

	if (a + b + 1 > BOOT_DATA_END - t->at)
		return uerror_set(err, "%s: the command lines together are longer than %llu bytes", first, (unsigned long long)(BOOT_DATA_END - BOOT_TEXT));
	*where = (uint32_t)t->at;
	t->at += a + b + 1;
	if (!guest_write(t->m, *where, first, a + 1, err))
		return false;
	return !second || (guest_write(t->m, *where + a, " ", 1, err) && guest_write(t->m, *where + a + 1, second, b, err));
}

static bool load_modules(const struct boot_request *q, const struct guest_memory *m, uint64_t at, struct text *text, struct uerror *err)
{
	struct module list[BOOT_MODULES] = { 0 };

	if (at < 0x100000)
		at = 0x100000;
	for (unsigned i = 0; i < q->nr_modules; i++) {
		const struct boot_module *mod = &q->module[i];

		at = (at + 4095) & ~4095ull;
		if (!boot_range_ok(m, at, mod->file.size))
			return uerror_set(err, "%s: a module of %llu KiB does not fit into the VM's memory beside the kernel: raise memsize", mod->file.name,
					  (unsigned long long)(mod->file.size >> 10));
		list[i].start = (uint32_t)at;
		list[i].end = (uint32_t)(at + mod->file.size);
		if (!boot_file_copy(&mod->file, 0, mod->file.size, m, at, err) ||
		    !put_text(text, mod->file.name, *mod->args ? mod->args : NULL, &list[i].string, err))
			return false;
		at += mod->file.size;
	}
	return guest_write(m, BOOT_LISTS, list, q->nr_modules * sizeof(list[0]), err);
}

static bool write_memory_map(const struct guest_memory *m, struct info *info, struct uerror *err)
{
	struct memory_map_entry map[MEMORY_MAP_MAX];
	struct mmap_entry list[MEMORY_MAP_MAX];
	unsigned n = boot_memory_map(m, map);

	for (unsigned i = 0; i < n; i++)
		list[i] = (struct mmap_entry){ 20, map[i].base, map[i].size, map[i].type };
	info->mem_lower = CONVENTIONAL_END >> 10;
	info->mem_upper = (uint32_t)((m->low - 0x100000) >> 10);
	info->mmap_addr = BOOT_LISTS + BOOT_MODULES * sizeof(struct module);
	info->mmap_length = n * (uint32_t)sizeof(list[0]);
	return guest_write(m, info->mmap_addr, list, info->mmap_length, err);
}

bool multiboot_load(const struct boot_request *q, uint32_t header, const struct guest_memory *m, struct vmm_regs *regs, struct uerror *err)
{
	struct info info = { .flags = INFO_FLAGS, .boot_device = 0x8000ffff, .mods_count = q->nr_modules, .mods_addr = BOOT_LISTS };
	struct text text = { m, BOOT_TEXT };
	uint64_t entry, end;

	if (!load_kernel(q, header, m, &entry, &end, err) || !put_text(&text, q->kernel.name, q->append, &info.cmdline, err) ||
	    !put_text(&text, LOADER_NAME, NULL, &info.boot_loader_name, err) || !load_modules(q, m, end, &text, err) ||
	    !write_memory_map(m, &info, err) || !guest_write(m, BOOT_PARAMS, &info, sizeof(info), err) ||
	    !boot_regs(m, BOOT_MODE_32, entry, regs, err))
		return false;
	regs->gpr[0] = BOOT_MAGIC;
	regs->gpr[3] = BOOT_PARAMS;
	return true;
}
