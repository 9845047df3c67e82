/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Boot without firmware: brings a kernel (Linux bzImage, ELF with a PVH note, Multiboot 1) with its modules and command line
 * into guest memory, writes what the protocol hands over, and says how vCPU 0 starts. Kernels are hostile input: every
 * offset and length is checked against the file and against guest memory before it is used; errors name file and offset.
 *
 * Guest memory is reached through struct guest_memory only, so that tests and fuzzers run the loaders over a fake one.
 * What the loaders themselves write below 1 MiB lies in BOOT_DATA (free for the guest once it has read it) and above ACPI_BASE.
 */
#ifndef USER_VMX_LOAD_H
#define USER_VMX_LOAD_H

#include "abi/vmm.h"
#include "user/lib/error.h"

#include <stddef.h>
#include <stdint.h>

#define LOW_RAM_MAX 0xc0000000ull  /* RAM below 4 GiB ends here at the latest */
#define HIGH_RAM 0x100000000ull
#define BOOT_DATA 0x90000ull       /* .. BOOT_DATA_END: page tables, parameters, command line */
#define BOOT_DATA_END 0x9f000ull
#define BOOT_GDT BOOT_DATA
#define BOOT_TABLES 0x91000ull     /* six pages: identity map of 4 GiB */
#define BOOT_PARAMS 0x97000ull     /* Linux's zero page, PVH's start info, Multiboot's information */
#define BOOT_LISTS 0x98000ull      /* memory map and module list */
#define BOOT_TEXT 0x9a000ull       /* command lines */
#define CONVENTIONAL_END 0x9fc00ull
#define ACPI_BASE 0xe0000ull       /* RSDP and tables, up to 1 MiB */
#define ACPI_END 0x100000ull

struct guest_memory {
	/* Copies into RAM; false where no RAM is or the kernel refused. */
	bool (*write)(void *ctx, uint64_t gpa, const void *buf, size_t n);
	void *ctx;
	uint64_t low, high;  /* bytes of RAM below 4 GiB and above */
	bool fresh;          /* never written by a guest: reads as zero */
};
bool guest_write(const struct guest_memory *m, uint64_t gpa, const void *buf, size_t n, struct uerror *err);
bool guest_zero(const struct guest_memory *m, uint64_t gpa, uint64_t n, struct uerror *err);

struct boot_file {
	const char *name;    /* as the .vmx writes it; for errors and command lines */
	uint64_t size;
	bool (*read)(const struct boot_file *f, uint64_t offset, void *buf, size_t n); /* within size */
	int fd;
	const uint8_t *bytes;
};
/* Reads all of it or fails with a sentence that names file and offset. */
bool boot_file_read(const struct boot_file *f, uint64_t offset, void *buf, size_t n, struct uerror *err);
/* Copies n bytes of the file into guest memory, in chunks. */
bool boot_file_copy(const struct boot_file *f, uint64_t offset, uint64_t n, const struct guest_memory *m, uint64_t gpa, struct uerror *err);

#define BOOT_MODULES 16
struct boot_module { struct boot_file file; const char *args; /* after the file's name; may be empty */ };
struct boot_request {
	struct boot_file kernel;
	unsigned nr_modules;
	struct boot_module module[BOOT_MODULES];
	const char *append;
	uint64_t rsdp;       /* guest-physical address of the ACPI root */
};

/* Fills regs for vCPU 0. */
bool boot_load(const struct boot_request *q, const struct guest_memory *m, struct vmm_regs *regs, struct uerror *err);

/* ---- between the loaders ---- */
#define E820_RAM 1u
#define E820_RESERVED 2u
struct memory_map_entry { uint64_t base, size; uint32_t type; };
#define MEMORY_MAP_MAX 6
unsigned boot_memory_map(const struct guest_memory *m, struct memory_map_entry *e);
/* Is [gpa, gpa + n) RAM below 4 GiB that a kernel may be put into? */
bool boot_range_ok(const struct guest_memory *m, uint64_t gpa, uint64_t n);
/* The highest place for n bytes, page aligned, at or above `floor` and with its last byte at or below `last`. 0: none. */
uint64_t boot_place_high(const struct guest_memory *m, uint64_t n, uint64_t floor, uint64_t last);

/* How vCPU 0 starts: flat segments from the table at BOOT_GDT. */
enum boot_mode { BOOT_MODE_32, BOOT_MODE_LINUX_32, BOOT_MODE_LINUX_64 };
bool boot_regs(const struct guest_memory *m, enum boot_mode mode, uint64_t entry, struct vmm_regs *r, struct uerror *err);

/* Each loader: is it one of mine? then load. */
struct elf_info {
	bool is64;
	uint64_t entry, pvh_entry; /* pvh_entry 0: no note */
	uint64_t end;              /* first byte after what it occupies */
};
bool linux_probe(const struct boot_file *f);
bool linux_load(const struct boot_request *q, const struct guest_memory *m, struct vmm_regs *regs, struct uerror *err);
bool multiboot_probe(const struct boot_file *f, uint32_t *offset);
bool multiboot_load(const struct boot_request *q, uint32_t header, const struct guest_memory *m, struct vmm_regs *regs, struct uerror *err);
bool pvh_load(const struct boot_request *q, const struct guest_memory *m, struct vmm_regs *regs, struct uerror *err);
bool elf_probe(const struct boot_file *f);
/* Reads headers and notes; with `load`, also copies the segments. */
bool elf_load(const struct boot_file *f, const struct guest_memory *m, bool load, struct elf_info *out, struct uerror *err);

#endif
