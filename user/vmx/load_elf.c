/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ELF kernels: segments into guest memory, the PVH note, and the PVH start (Xen, docs/misc/pvh.pandoc; public/arch-x86/hvm/start_info.h).
 * ELF32 and ELF64 headers are read into one form first.
 */
#include "user/vmx/load.h"

#include <elf.h>
#include <string.h>

#define MAX_PHDRS 64
#define MAX_NOTES (64u << 10)
#define NOTE_PHYS32_ENTRY 18u /* XEN_ELFNOTE_PHYS32_ENTRY */

struct segment { uint32_t type; uint64_t offset, paddr, filesz, memsz, header; };
struct elf_header { bool is64; uint64_t entry, phoff; unsigned phnum, phentsize; };

bool elf_probe(const struct boot_file *f)
{
	uint8_t id[4];

	return f->size >= 4 && f->read(f, 0, id, 4) && !memcmp(id, ELFMAG, SELFMAG);
}

static bool read_header(const struct boot_file *f, struct elf_header *h, struct uerror *err)
{
	union { Elf64_Ehdr h64; Elf32_Ehdr h32; unsigned char id[EI_NIDENT]; } u;
	unsigned want;

	if (!boot_file_read(f, 0, &u, sizeof(u.h32), err))
		return false;
	h->is64 = u.id[EI_CLASS] == ELFCLASS64;
	if ((!h->is64 && u.id[EI_CLASS] != ELFCLASS32) || u.id[EI_DATA] != ELFDATA2LSB)
		return uerror_set(err, "%s: neither a 32-bit nor a 64-bit little-endian ELF file (offset 0x4)", f->name);
	if (h->is64 && !boot_file_read(f, 0, &u, sizeof(u.h64), err))
		return false;
	if ((h->is64 ? u.h64.e_machine : u.h32.e_machine) != (h->is64 ? EM_X86_64 : EM_386))
		return uerror_set(err, "%s: an ELF file for another machine (e_machine at offset 0x12)", f->name);
	h->entry = h->is64 ? u.h64.e_entry : u.h32.e_entry;
	h->phoff = h->is64 ? u.h64.e_phoff : u.h32.e_phoff;
	h->phnum = h->is64 ? u.h64.e_phnum : u.h32.e_phnum;
	h->phentsize = h->is64 ? u.h64.e_phentsize : u.h32.e_phentsize;
	want = h->is64 ? sizeof(Elf64_Phdr) : sizeof(Elf32_Phdr);
	if (!h->phnum || h->phnum > MAX_PHDRS || h->phentsize != want)
		return uerror_set(err, "%s: %u program headers of %u bytes (offset 0x%x): not a kernel", f->name, h->phnum, h->phentsize,
				  h->is64 ? 0x36 : 0x2a);
	return true;
}

static bool read_segment(const struct boot_file *f, const struct elf_header *h, unsigned i, struct segment *s, struct uerror *err)
{
	union { Elf64_Phdr h64; Elf32_Phdr h32; } u;
	uint64_t at = h->phoff + (uint64_t)i * h->phentsize;

	if (h->phoff > f->size || !boot_file_read(f, at, &u, h->phentsize, err))
		return uerror_set(err, "%s: cut short: its program headers at offset 0x%llx are past its end", f->name, (unsigned long long)h->phoff);
	if (h->is64)
		*s = (struct segment){ u.h64.p_type, u.h64.p_offset, u.h64.p_paddr, u.h64.p_filesz, u.h64.p_memsz, at };
	else
		*s = (struct segment){ u.h32.p_type, u.h32.p_offset, u.h32.p_paddr, u.h32.p_filesz, u.h32.p_memsz, at };
	return true;
}

static bool check_segment(const struct boot_file *f, const struct segment *s, const struct guest_memory *m, uint64_t *budget, struct uerror *err)
{
	if (s->offset > f->size || s->filesz > f->size - s->offset)
		return uerror_set(err, "%s: cut short: the segment of the program header at offset 0x%llx is past its end", f->name,
				  (unsigned long long)s->header);
	if (s->filesz > s->memsz)
		return uerror_set(err, "%s: the program header at offset 0x%llx has more bytes in the file than in memory", f->name,
				  (unsigned long long)s->header);
	if (!boot_range_ok(m, s->paddr, s->memsz))
		return uerror_set(err, "%s: the segment of the program header at offset 0x%llx (0x%llx bytes at 0x%llx) is outside of the VM's memory",
				  f->name, (unsigned long long)s->header, (unsigned long long)s->memsz, (unsigned long long)s->paddr);
	/* Segments that share bytes of the file, or memory, could make a small file cost hours. */
	if (s->filesz > budget[0] || s->memsz > budget[1])
		return uerror_set(err, "%s: the segment of the program header at offset 0x%llx overlaps others", f->name, (unsigned long long)s->header);
	budget[0] -= s->filesz;
	budget[1] -= s->memsz;
	return true;
}

/* Looks for Xen's PHYS32_ENTRY among the notes of one PT_NOTE segment. */
static bool find_pvh_note(const struct boot_file *f, const struct segment *s, uint64_t *entry, struct uerror *err)
{
	uint64_t at = s->offset, end;

	if (s->offset > f->size || s->filesz > f->size - s->offset || s->filesz > MAX_NOTES)
		return uerror_set(err, "%s: the notes of the program header at offset 0x%llx are past its end or longer than 64 KiB", f->name,
				  (unsigned long long)s->header);
	end = s->offset + s->filesz;
	while (end - at >= 12) {
		uint32_t head[3]; /* namesz, descsz, type */
		uint64_t name = at + 12, desc, next;
		char owner[4];

		if (!boot_file_read(f, at, head, sizeof(head), err))
			return false;
		desc = name + (((uint64_t)head[0] + 3) & ~3ull);
		next = desc + (((uint64_t)head[1] + 3) & ~3ull);
		if (desc > end || head[1] > end - desc)
			return uerror_set(err, "%s: the note at offset 0x%llx is longer than its segment", f->name, (unsigned long long)at);
		if (head[2] == NOTE_PHYS32_ENTRY && head[0] == 4 && (head[1] == 4 || head[1] == 8)) {
			uint64_t value = 0;

			if (!boot_file_read(f, name, owner, 4, err) || !boot_file_read(f, desc, &value, head[1], err))
				return false;
			if (!memcmp(owner, "Xen", 4))
				*entry = value;
		}
		at = next < end ? next : end;
	}
	return true;
}

bool elf_load(const struct boot_file *f, const struct guest_memory *m, bool load, struct elf_info *out, struct uerror *err)
{
	struct elf_header h;
	uint64_t budget[2] = { f->size, m->low };

	if (!read_header(f, &h, err))
		return false;
	*out = (struct elf_info){ .is64 = h.is64, .entry = h.entry };
	for (unsigned i = 0; i < h.phnum; i++) {
		struct segment s;

		if (!read_segment(f, &h, i, &s, err))
			return false;
		if (s.type == PT_NOTE && !find_pvh_note(f, &s, &out->pvh_entry, err))
			return false;
		if (s.type != PT_LOAD || !s.memsz)
			continue;
		if (!check_segment(f, &s, m, budget, err))
			return false;
		if (s.paddr + s.memsz > out->end)
			out->end = s.paddr + s.memsz;
		if (load && (!boot_file_copy(f, s.offset, s.filesz, m, s.paddr, err) ||
			     !guest_zero(m, s.paddr + s.filesz, s.memsz - s.filesz, err)))
			return false;
	}
	return out->end || uerror_set(err, "%s: an ELF file without anything to load", f->name);
}

/* ---- PVH ---- */

#define START_MAGIC 0x336ec578u
struct start_info { uint32_t magic, version, flags, nr_modules; uint64_t modlist, cmdline, rsdp, memmap; uint32_t memmap_entries, reserved; };
struct start_module { uint64_t paddr, size, cmdline, reserved; };
struct start_memmap { uint64_t addr, size; uint32_t type, reserved; };
_Static_assert(sizeof(struct start_info) == 56 && sizeof(struct start_module) == 32 && sizeof(struct start_memmap) == 24, "hvm_start_info");
_Static_assert(BOOT_MODULES * 32 + MEMORY_MAP_MAX * 24 <= BOOT_TEXT - BOOT_LISTS, "lists fit");

/* Text goes to BOOT_TEXT and after; *at is where the next one may go. */
static bool put_text(const struct guest_memory *m, const char *text, uint64_t *at, uint64_t *where, const char *file, struct uerror *err)
{
	size_t n = strlen(text) + 1;

	if (n > BOOT_DATA_END - *at)
		return uerror_set(err, "%s: the command lines together are longer than %llu bytes", file, (unsigned long long)(BOOT_DATA_END - BOOT_TEXT));
	*where = *at;
	*at += n;
	return guest_write(m, *where, text, n, err);
}

static bool pvh_modules(const struct boot_request *q, const struct guest_memory *m, uint64_t floor, uint64_t *text, struct uerror *err)
{
	struct start_module list[BOOT_MODULES] = { 0 };
	uint64_t last = m->low - 1;

	for (unsigned i = 0; i < q->nr_modules; i++) {
		const struct boot_module *mod = &q->module[i];

		list[i].size = mod->file.size;
		list[i].paddr = boot_place_high(m, mod->file.size, floor, last);
		if (!list[i].paddr)
			return uerror_set(err, "%s: a module of %llu KiB does not fit into the VM's memory beside the kernel: raise memsize", mod->file.name,
					  (unsigned long long)(mod->file.size >> 10));
		last = list[i].paddr - 1;
		if (!boot_file_copy(&mod->file, 0, mod->file.size, m, list[i].paddr, err) ||
		    !put_text(m, mod->args, text, &list[i].cmdline, mod->file.name, err))
			return false;
	}
	return guest_write(m, BOOT_LISTS, list, q->nr_modules * sizeof(list[0]), err);
}

bool pvh_load(const struct boot_request *q, const struct guest_memory *m, struct vmm_regs *regs, struct uerror *err)
{
	struct start_info si = { .magic = START_MAGIC, .version = 1, .nr_modules = q->nr_modules, .rsdp = q->rsdp };
	struct start_memmap memmap[MEMORY_MAP_MAX] = { 0 };
	struct memory_map_entry map[MEMORY_MAP_MAX];
	struct elf_info info;
	uint64_t text = BOOT_TEXT;

	if (!elf_load(&q->kernel, m, true, &info, err))
		return false;
	if (info.pvh_entry >= m->low)
		return uerror_set(err, "%s: its PVH entry 0x%llx is outside of the VM's memory", q->kernel.name, (unsigned long long)info.pvh_entry);
	if (!put_text(m, q->append, &text, &si.cmdline, q->kernel.name, err) || !pvh_modules(q, m, info.end, &text, err))
		return false;
	si.modlist = q->nr_modules ? BOOT_LISTS : 0;
	si.memmap = BOOT_LISTS + BOOT_MODULES * sizeof(struct start_module);
	si.memmap_entries = boot_memory_map(m, map);
	for (unsigned i = 0; i < si.memmap_entries; i++)
		memmap[i] = (struct start_memmap){ map[i].base, map[i].size, map[i].type, 0 };
	if (!guest_write(m, si.memmap, memmap, sizeof(memmap), err) || !guest_write(m, BOOT_PARAMS, &si, sizeof(si), err) ||
	    !boot_regs(m, BOOT_MODE_32, info.pvh_entry, regs, err))
		return false;
	regs->gpr[3] = BOOT_PARAMS; /* ebx */
	return true;
}
