/* SPDX-License-Identifier: Apache-2.0 */
/* What all loaders share: checked access to file and guest memory, the memory map, the first registers, and the choice of loader. */
#include "user/vmx/load.h"

#include <string.h>

#define PAGE 4096ull
#define CHUNK (64u << 10)

bool guest_write(const struct guest_memory *m, uint64_t gpa, const void *buf, size_t n, struct uerror *err)
{
	if (m->write(m->ctx, gpa, buf, n))
		return true;
	return uerror_set(err, "guest memory at 0x%llx (%zu bytes) cannot be written", (unsigned long long)gpa, n);
}

bool guest_zero(const struct guest_memory *m, uint64_t gpa, uint64_t n, struct uerror *err)
{
	static const uint8_t zero[PAGE];

	if (m->fresh)
		return true;
	while (n) {
		size_t part = n < PAGE ? (size_t)n : PAGE;

		if (!guest_write(m, gpa, zero, part, err))
			return false;
		gpa += part;
		n -= part;
	}
	return true;
}

bool boot_file_read(const struct boot_file *f, uint64_t offset, void *buf, size_t n, struct uerror *err)
{
	if (offset > f->size || n > f->size - offset)
		return uerror_set(err, "%s: cut short: %zu bytes at offset 0x%llx are past its end (0x%llx)", f->name, n,
				  (unsigned long long)offset, (unsigned long long)f->size);
	if (!f->read(f, offset, buf, n))
		return uerror_set(err, "%s: cannot be read at offset 0x%llx (was it released?)", f->name, (unsigned long long)offset);
	return true;
}

bool boot_file_copy(const struct boot_file *f, uint64_t offset, uint64_t n, const struct guest_memory *m, uint64_t gpa, struct uerror *err)
{
	static uint8_t chunk[CHUNK];

	while (n) {
		size_t part = n < CHUNK ? (size_t)n : CHUNK;

		if (!boot_file_read(f, offset, chunk, part, err) || !guest_write(m, gpa, chunk, part, err))
			return false;
		offset += part;
		gpa += part;
		n -= part;
	}
	return true;
}

unsigned boot_memory_map(const struct guest_memory *m, struct memory_map_entry *e)
{
	unsigned n = 0;

	e[n++] = (struct memory_map_entry){ 0, CONVENTIONAL_END, E820_RAM };
	e[n++] = (struct memory_map_entry){ CONVENTIONAL_END, 0xa0000 - CONVENTIONAL_END, E820_RESERVED };
	e[n++] = (struct memory_map_entry){ ACPI_BASE, ACPI_END - ACPI_BASE, E820_RESERVED };
	e[n++] = (struct memory_map_entry){ 0x100000, m->low - 0x100000, E820_RAM };
	e[n++] = (struct memory_map_entry){ 0xfec00000, 0x1400000, E820_RESERVED };
	if (m->high)
		e[n++] = (struct memory_map_entry){ HIGH_RAM, m->high, E820_RAM };
	return n;
}

bool boot_range_ok(const struct guest_memory *m, uint64_t gpa, uint64_t n)
{
	if (gpa < BOOT_DATA)
		return n <= BOOT_DATA - gpa;
	return gpa >= 0x100000 && gpa <= m->low && n <= m->low - gpa;
}

uint64_t boot_place_high(const struct guest_memory *m, uint64_t n, uint64_t floor, uint64_t last)
{
	uint64_t top = m->low, at;

	if (last < top - 1)
		top = last + 1;
	if (n > top)
		return 0;
	at = (top - n) & ~(PAGE - 1);
	return at >= floor && at >= 0x100000 ? at : 0;
}

static bool write_gdt(const struct guest_memory *m, enum boot_mode mode, struct uerror *err)
{
	const uint64_t code32 = 0x00cf9b000000ffffull, data32 = 0x00cf93000000ffffull, code64 = 0x00af9b000000ffffull;
	uint64_t gdt[4] = { 0, code32, data32, data32 };

	if (mode != BOOT_MODE_32)
		gdt[2] = mode == BOOT_MODE_LINUX_64 ? code64 : code32; /* Linux's __BOOT_CS is 0x10, __BOOT_DS 0x18 */
	return guest_write(m, BOOT_GDT, gdt, sizeof(gdt), err);
}

/* Identity map of the first 4 GiB in 2 MiB pages: one PML4, one PDPT, four page directories. */
static bool write_tables(const struct guest_memory *m, struct uerror *err)
{
	uint64_t table[512] = { [0] = (BOOT_TABLES + PAGE) | 3 };

	if (!guest_write(m, BOOT_TABLES, table, sizeof(table), err))
		return false;
	memset(table, 0, sizeof(table));
	for (unsigned i = 0; i < 4; i++)
		table[i] = (BOOT_TABLES + (2 + i) * PAGE) | 3;
	if (!guest_write(m, BOOT_TABLES + PAGE, table, sizeof(table), err))
		return false;
	for (unsigned d = 0; d < 4; d++) {
		for (uint64_t i = 0; i < 512; i++)
			table[i] = ((uint64_t)d << 30) | i << 21 | 0x83;
		if (!guest_write(m, BOOT_TABLES + (2 + d) * PAGE, table, sizeof(table), err))
			return false;
	}
	return true;
}

bool boot_regs(const struct guest_memory *m, enum boot_mode mode, uint64_t entry, struct vmm_regs *r, struct uerror *err)
{
	uint16_t cs = mode == BOOT_MODE_32 ? 0x08 : 0x10, ds = mode == BOOT_MODE_32 ? 0x10 : 0x18;
	struct vmm_segment data = { 0, 0xffffffff, ds, 0xc93 };

	memset(r, 0, sizeof(*r));
	r->rip = entry;
	r->rflags = 2;
	r->cr0 = 0x11; /* PE, ET */
	r->dr6 = 0xffff0ff0;
	r->dr7 = 0x400;
	r->cs = (struct vmm_segment){ 0, 0xffffffff, cs, 0xc9b };
	r->ds = r->es = r->fs = r->gs = r->ss = data;
	r->tr = (struct vmm_segment){ 0, 0x67, 0, 0x8b };
	r->ldtr = (struct vmm_segment){ 0, 0xffff, 0, 0x82 };
	r->gdtr = (struct vmm_segment){ .base = BOOT_GDT, .limit = 31 };
	r->idtr = (struct vmm_segment){ .base = 0, .limit = 0 };
	if (mode == BOOT_MODE_LINUX_64) {
		r->cr0 |= 1u << 31;
		r->cr3 = BOOT_TABLES;
		r->cr4 = 1u << 5;   /* PAE */
		r->efer = 0x500;    /* LME, LMA */
		r->cs.attr = 0xa9b;
		if (!write_tables(m, err))
			return false;
	}
	return write_gdt(m, mode, err);
}

/* The order is QEMU's: HdrS, then a Multiboot header, then the PVH note; but a 64-bit ELF with a note is started by it. */
bool boot_load(const struct boot_request *q, const struct guest_memory *m, struct vmm_regs *regs, struct uerror *err)
{
	struct elf_info info = { 0 };
	uint32_t header;
	bool elf = elf_probe(&q->kernel);

	if (linux_probe(&q->kernel))
		return linux_load(q, m, regs, err);
	if (elf && !elf_load(&q->kernel, m, false, &info, err))
		return false;
	if (!(info.is64 && info.pvh_entry) && multiboot_probe(&q->kernel, &header))
		return multiboot_load(q, header, m, regs, err);
	if (info.pvh_entry)
		return pvh_load(q, m, regs, err);
	if (elf)
		return uerror_set(err, "%s: an ELF file with neither a PVH note nor a Multiboot 1 header: it cannot be started directly", q->kernel.name);
	return uerror_set(err, "%s: not a kernel that can be started directly (no Linux header at offset 0x202, no ELF, no Multiboot 1 header)",
			  q->kernel.name);
}
