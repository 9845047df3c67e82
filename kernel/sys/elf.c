/* SPDX-License-Identifier: Apache-2.0 */
/* ELF64 checks (System V gABI chapters 4 and 5): static x86-64 programs, at fixed addresses or position-independent. */
#include "sys/elf.h"
#include "core/core.h"

struct elf64_header {
	uint8_t ident[16];
	uint16_t type, machine;
	uint32_t version;
	uint64_t entry, phoff, shoff;
	uint32_t flags;
	uint16_t ehsize, phentsize, phnum, shentsize, shnum, shstrndx;
};
_Static_assert(sizeof(struct elf64_header) == 64, "ELF header");
struct elf64_phdr {
	uint32_t type, flags;
	uint64_t offset, vaddr, paddr, filesz, memsz, align;
};
_Static_assert(sizeof(struct elf64_phdr) == 56, "program header");
enum { ET_EXEC = 2, ET_DYN = 3, EM_X86_64 = 62, PT_LOAD = 1, PT_INTERP = 3, PT_PHDR = 6, PF_X = 1, PF_W = 2, PF_R = 4 };

static bool header_ok(const struct elf64_header *h, uint64_t n)
{
	static const uint8_t ident[7] = { 0x7f, 'E', 'L', 'F', 2 /* 64-bit */, 1 /* little endian */, 1 };

	return !memcmp(h->ident, ident, sizeof(ident)) && (h->type == ET_EXEC || h->type == ET_DYN) && h->machine == EM_X86_64 &&
	       h->phentsize == sizeof(struct elf64_phdr) && h->phnum && h->phoff <= n && h->phnum * sizeof(struct elf64_phdr) <= n - h->phoff;
}

static int segment_prot(uint32_t flags) { return (flags & PF_R ? 1 : 0) | (flags & PF_W ? 2 : 0) | (flags & PF_X ? 4 : 0); }

static int add_segment(struct elf_plan *plan, const struct elf64_phdr *p, uint64_t bias, uint64_t file_size)
{
	struct elf_segment *s = &plan->segment[plan->nr];
	uint64_t skew = p->vaddr & PAGE_MASK;

	if (!p->memsz)
		return 0;
	if (plan->nr == ELF_MAX_SEGMENTS)
		return -ENOEXEC;
	if (p->filesz > p->memsz || p->offset > file_size || p->filesz > file_size - p->offset)
		return -ENOEXEC;
	if ((p->offset & PAGE_MASK) != skew || p->vaddr >= ELF_HIGHEST || p->memsz >= ELF_HIGHEST)
		return -ENOEXEC;
	s->address = bias + p->vaddr - skew;
	s->size = ALIGN_UP(skew + p->memsz, PAGE_SIZE);
	s->offset = p->offset - skew;
	s->file_bytes = p->filesz ? skew + p->filesz : 0;
	s->prot = segment_prot(p->flags);
	if (s->address < ELF_LOWEST || s->address < plan->end || s->address + s->size > ELF_HIGHEST)
		return -ENOEXEC; /* also refuses segments that overlap or go backwards */
	plan->end = s->address + s->size;
	plan->nr++;
	return 0;
}

int elf_parse(const uint8_t *head, uint64_t n, uint64_t file_size, struct elf_plan *plan)
{
	struct elf64_header h;
	uint64_t bias;

	*plan = (struct elf_plan){ 0 };
	if (n < sizeof(h))
		return -ENOEXEC;
	memcpy(&h, head, sizeof(h));
	if (!header_ok(&h, n))
		return -ENOEXEC;
	bias = h.type == ET_DYN ? ELF_PIE_BASE : 0;
	for (unsigned i = 0; i < h.phnum; i++) {
		struct elf64_phdr p;

		memcpy(&p, head + h.phoff + i * sizeof(p), sizeof(p));
		if (p.type == PT_INTERP) /* needs a dynamic linker: none here */
			return -ENOEXEC;
		if (p.type != PT_LOAD)
			continue;
		if (add_segment(plan, &p, bias, file_size))
			return -ENOEXEC;
		if (h.phoff >= p.offset && h.phoff - p.offset < p.filesz && p.vaddr < ELF_HIGHEST)
			plan->phdr = bias + p.vaddr + (h.phoff - p.offset);
	}
	if (!plan->nr || h.entry >= ELF_HIGHEST || bias + h.entry < plan->segment[0].address || bias + h.entry >= plan->end)
		return -ENOEXEC;
	plan->entry = bias + h.entry;
	plan->phnum = h.phnum;
	return 0;
}
