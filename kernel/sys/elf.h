/* SPDX-License-Identifier: Apache-2.0 */
/* What a static ELF64 program asks for, read from its first page. The file is hostile: a plan that elf_parse() accepts is safe to map. */
#ifndef SYS_ELF_H
#define SYS_ELF_H

#include "core/types.h"

#define ELF_HEAD_SIZE 4096   /* what must hold the header and the program headers */
#define ELF_MAX_SEGMENTS 16
#define ELF_PIE_BASE 0x555555554000ull
#define ELF_LOWEST 0x10000ull /* the first pages stay empty, so that null pointers fault */
#define ELF_HIGHEST 0x7f0000000000ull

struct elf_segment {
	uint64_t address;    /* page-aligned, load bias added */
	uint64_t size;       /* whole pages */
	uint64_t offset;     /* page-aligned, in the file */
	uint64_t file_bytes; /* from address on; the rest is zero */
	int prot;            /* PROT_* */
};
struct elf_plan {
	unsigned nr;
	struct elf_segment segment[ELF_MAX_SEGMENTS]; /* ascending, disjoint */
	uint64_t entry, phdr, phnum, end;             /* end: first page past the image, for brk */
};
/* head[0..n): the start of the file (n < ELF_HEAD_SIZE only when the file is shorter). 0, -ENOEXEC. */
int elf_parse(const uint8_t *head, uint64_t n, uint64_t file_size, struct elf_plan *plan);

#endif
