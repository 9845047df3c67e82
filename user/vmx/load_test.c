/* SPDX-License-Identifier: Apache-2.0 */
#include "user/lib/fuzz.h"
#include "test/unit.h"
#include "user/vmx/load.h"

#include <elf.h>

#define RAM (64u << 20)
static uint8_t *ram;
static uint64_t written;

static bool ram_write(void *ctx, uint64_t gpa, const void *buf, size_t n)
{
	uint64_t size = *(uint64_t *)ctx;

	if (gpa > size || n > size - gpa || (gpa < 0xe0000 && gpa + n > 0xa0000))
		return false;
	memcpy(ram + gpa, buf, n);
	written += n;
	return true;
}

static uint64_t ram_size = RAM;
static struct guest_memory memory(void)
{
	if (!ram)
		ram = malloc(RAM);
	written = 0;
	return (struct guest_memory){ .write = ram_write, .ctx = &ram_size, .low = RAM };
}

static bool bytes_read(const struct boot_file *f, uint64_t offset, void *buf, size_t n)
{
	memcpy(buf, f->bytes + offset, n);
	return true;
}
static struct boot_file file(const char *name, const void *bytes, size_t n) { return (struct boot_file){ name, n, bytes_read, -1, bytes }; }

static uint32_t get32(uint64_t gpa) { uint32_t v; memcpy(&v, ram + gpa, 4); return v; }
static uint64_t get64(uint64_t gpa) { uint64_t v; memcpy(&v, ram + gpa, 8); return v; }
static void put(uint8_t *p, size_t at, uint64_t v, size_t n) { memcpy(p + at, &v, n); }

/* ---- kernels made by hand ---- */

#define BZ_SIZE 0x3000
static void make_bzimage(uint8_t *k)
{
	memset(k, 0, BZ_SIZE);
	k[0x1f1] = 3;                           /* setup sectors: the kernel proper starts at 0x800 */
	put(k, 0x1f4, (BZ_SIZE - 0x800) / 16, 4);
	put(k, 0x1fe, 0xaa55, 2);
	k[0x201] = 0x66;
	memcpy(k + 0x202, "HdrS", 4);
	put(k, 0x206, 0x20f, 2);
	k[0x211] = 1;
	put(k, 0x22c, 0x7fffffff, 4);           /* initrd_addr_max */
	put(k, 0x230, 0x200000, 4);
	k[0x234] = 1;
	put(k, 0x236, 1, 2);                    /* XLF_KERNEL_64 */
	put(k, 0x238, 2047, 4);
	put(k, 0x258, 0x1000000, 8);
	put(k, 0x260, 0x800000, 4);
	memset(k + 0x800, 0x5a, BZ_SIZE - 0x800);
}

#define ELF_SIZE 0x2000
static void make_elf64(uint8_t *k, bool note)
{
	Elf64_Ehdr *h = (Elf64_Ehdr *)k;
	Elf64_Phdr *p = (Elf64_Phdr *)(k + 64);
	const uint32_t pvh[] = { 4, 4, 18, 0x006e6558, 0x100040 }; /* "Xen\0" */

	memset(k, 0, ELF_SIZE);
	memcpy(h->e_ident, ELFMAG, 4);
	h->e_ident[EI_CLASS] = ELFCLASS64;
	h->e_ident[EI_DATA] = ELFDATA2LSB;
	h->e_machine = EM_X86_64;
	h->e_entry = 0x100000;
	h->e_phoff = 64;
	h->e_phentsize = sizeof(*p);
	h->e_phnum = 2;
	p[0] = (Elf64_Phdr){ .p_type = PT_LOAD, .p_offset = 0x1000, .p_paddr = 0x100000, .p_vaddr = 0xffffffff80000000, .p_filesz = 0x800, .p_memsz = 0x3000 };
	p[1] = (Elf64_Phdr){ .p_type = note ? PT_NOTE : PT_NULL, .p_offset = 0x200, .p_filesz = sizeof(pvh), .p_memsz = sizeof(pvh) };
	memcpy(k + 0x200, pvh, sizeof(pvh));
	memset(k + 0x1000, 0xc3, 0x800);
}

#define MB_SIZE 0x1000
static void make_multiboot(uint8_t *k)
{
	const uint32_t h[] = { 0x1badb002, 0x10003, -(0x1badb002u + 0x10003u), 0x100010, 0x100000, 0x100800, 0x102000, 0x100100 };

	memset(k, 0x90, MB_SIZE);
	memcpy(k + 0x50, h, sizeof(h)); /* in the file 0x40 later than in memory */
}

static bool load(const void *kernel, size_t n, const char *append, const struct boot_module *mod, unsigned mods, struct vmm_regs *r, struct uerror *e)
{
	struct boot_request q = { .kernel = file("kernel", kernel, n), .append = append, .rsdp = ACPI_BASE, .nr_modules = mods };
	struct guest_memory m = memory();

	for (unsigned i = 0; i < mods; i++)
		q.module[i] = mod[i];
	return boot_load(&q, &m, r, e);
}

TEST(linux_64)
{
	static uint8_t k[BZ_SIZE], initrd[5000];
	struct boot_module mod = { file("initrd", memset(initrd, 7, sizeof(initrd)), sizeof(initrd)), "" };
	struct vmm_regs r;
	struct uerror e = { "" };

	make_bzimage(k);
	CHECK(load(k, sizeof(k), "console=ttyS0", &mod, 1, &r, &e));
	CHECK_EQ(r.rip, 0x1000200);
	CHECK_EQ(r.gpr[6], BOOT_PARAMS);
	CHECK_EQ(r.cr0, 0x80000011);
	CHECK_EQ(r.efer, 0x500);
	CHECK_EQ(ram[0x1000000], 0x5a);
	CHECK(!strcmp((char *)ram + get32(BOOT_PARAMS + 0x228), "console=ttyS0"));
	CHECK_EQ(get64(BOOT_PARAMS + 0x70), ACPI_BASE);
	CHECK_EQ(get32(BOOT_PARAMS + 0x21c), sizeof(initrd));
	CHECK_EQ(ram[get32(BOOT_PARAMS + 0x218) + 4999], 7);
	CHECK(get32(BOOT_PARAMS + 0x218) + sizeof(initrd) <= RAM);
	CHECK_EQ(ram[BOOT_PARAMS + 0x1e8], 5);
	CHECK_EQ(get64(get64(get64(BOOT_TABLES) & ~0xfffull) & ~0xfffull) & 0x83, 0x83);
}

TEST(linux_32_and_small_memory)
{
	static uint8_t k[BZ_SIZE];
	struct vmm_regs r;
	struct uerror e = { "" };

	make_bzimage(k);
	put(k, 0x236, 0, 2);
	put(k, 0x258, 0x8000000, 8); /* does not fit: moved down */
	CHECK(load(k, sizeof(k), "", NULL, 0, &r, &e));
	CHECK_EQ(r.rip, 0x200000);
	CHECK_EQ(r.cr0, 0x11);
	CHECK_EQ(r.cs.selector, 0x10);
	k[0x234] = 0;
	CHECK(!load(k, sizeof(k), "", NULL, 0, &r, &e) && strstr(e.text, "memsize"));
	make_bzimage(k);
	CHECK(!load(k, 0x900, "", NULL, 0, &r, &e) && strstr(e.text, "cut short"));
	put(k, 0x238, 3, 4);
	CHECK(!load(k, sizeof(k), "long", NULL, 0, &r, &e) && strstr(e.text, "0x238"));
}

TEST(pvh)
{
	static uint8_t k[ELF_SIZE], initrd[100];
	struct boot_module mod[2] = { { file("a", initrd, 100), "x=1" }, { file("b", initrd, 50), "" } };
	struct vmm_regs r;
	struct uerror e = { "" };
	uint64_t list;

	make_elf64(k, true);
	memset(memory().write ? ram : NULL, 0xee, RAM); /* as after a reset: bss must be cleared */
	CHECK(load(k, sizeof(k), "cmd", mod, 2, &r, &e));
	CHECK_EQ(r.rip, 0x100040);
	CHECK_EQ(r.gpr[3], BOOT_PARAMS);
	CHECK_EQ(get32(BOOT_PARAMS), 0x336ec578);
	CHECK_EQ(get32(BOOT_PARAMS + 12), 2);
	list = get64(BOOT_PARAMS + 16);
	CHECK_EQ(get64(list + 8), 100);
	CHECK(!strcmp((char *)ram + get64(list + 16), "x=1"));
	CHECK(!strcmp((char *)ram + get64(BOOT_PARAMS + 24), "cmd"));
	CHECK_EQ(get64(BOOT_PARAMS + 32), ACPI_BASE);
	CHECK_EQ(ram[0x1007ff], 0xc3);
	CHECK_EQ(ram[0x100800], 0);
	CHECK_EQ(ram[0x102fff], 0);
	CHECK_EQ(ram[0x103000], 0xee);
}

TEST(elf_errors)
{
	static uint8_t k[ELF_SIZE];
	struct vmm_regs r;
	struct uerror e = { "" };
	Elf64_Phdr *p = (Elf64_Phdr *)(k + 64);

	make_elf64(k, false);
	CHECK(!load(k, sizeof(k), "", NULL, 0, &r, &e) && strstr(e.text, "neither a PVH note"));
	make_elf64(k, true);
	CHECK(!load(k, 0x1400, "", NULL, 0, &r, &e) && strstr(e.text, "0x40"));
	p->p_paddr = 0xffffffffffff0000;
	CHECK(!load(k, sizeof(k), "", NULL, 0, &r, &e) && strstr(e.text, "outside"));
	make_elf64(k, true);
	p->p_paddr = 0xa0000;
	CHECK(!load(k, sizeof(k), "", NULL, 0, &r, &e) && strstr(e.text, "outside"));
	make_elf64(k, true);
	p[1].p_filesz = ~0ull;
	CHECK(!load(k, sizeof(k), "", NULL, 0, &r, &e) && strstr(e.text, "notes"));
	CHECK(!load("nothing", 7, "", NULL, 0, &r, &e) && strstr(e.text, "not a kernel"));
}

TEST(multiboot)
{
	static uint8_t k[MB_SIZE], initrd[300];
	struct boot_module mod[2] = { { file("mod1", initrd, 300), "arg" }, { file("mod2", initrd, 10), "" } };
	struct vmm_regs r;
	struct uerror e = { "" };
	uint64_t info = BOOT_PARAMS, mods;

	make_multiboot(k);
	CHECK(load(k, sizeof(k), "a b", mod, 2, &r, &e));
	CHECK_EQ(r.rip, 0x100100);
	CHECK_EQ(r.gpr[0], 0x2badb002);
	CHECK_EQ(get32(info) & 0x4f, 0x4f);
	CHECK_EQ(get32(info + 4), 639);
	CHECK_EQ(get32(info + 8), (RAM - 0x100000) >> 10);
	CHECK(!strcmp((char *)ram + get32(info + 16), "kernel a b"));
	CHECK_EQ(get32(info + 20), 2);
	mods = get32(info + 24);
	CHECK_EQ(get32(mods), 0x102000);
	CHECK_EQ(get32(mods + 4), 0x102000 + 300);
	CHECK(!strcmp((char *)ram + get32(mods + 8), "mod1 arg"));
	CHECK(!strcmp((char *)ram + get32(mods + 24), "mod2"));
	CHECK_EQ(get32(get32(info + 48)), 20);
	put(k, 0x50 + 4, 0x10003 | 0x10, 4);
	put(k, 0x50 + 8, -(0x1badb002u + 0x10013u), 4);
	CHECK(!load(k, sizeof(k), "", NULL, 0, &r, &e) && strstr(e.text, "features"));
}

static void fuzz_one(const uint8_t *data, size_t n)
{
	struct boot_module mod = { file("m", "abc", 3), "" };
	struct vmm_regs r;
	struct uerror e;

	load(data, n, "cmdline", &mod, 1, &r, &e);
	if (written > 3ull * RAM)
		abort(); /* a small file that costs a lot of copying */
}
FUZZ_TARGET(fuzz_one)

TEST(mutations)
{
	static uint8_t k[BZ_SIZE];

	make_bzimage(k);
	fuzz_loop(fuzz_one, k, BZ_SIZE, 0x290, 3000);
	make_elf64(k, true);
	fuzz_loop(fuzz_one, k, ELF_SIZE, 0x220, 3000);
	make_multiboot(k);
	fuzz_loop(fuzz_one, k, MB_SIZE, 0x80, 3000);
}
