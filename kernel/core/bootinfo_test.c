/* SPDX-License-Identifier: Apache-2.0 */
/* Boot information: what loaders really hand over, wrong lengths and pointers, overlapping maps, and a fuzz loop. */
#include "core/core.h"
#include "test/unit.h"

#define BASE 0x10000
#define SIZE 4096
static uint8_t *memory; /* allocated to the byte, so that the sanitizer sees each read beyond */
static struct boot_info info;

size_t strlcpy(char *d, const char *s, size_t size) { return (size_t)snprintf(d, size, "%s", s); }
static const void *phys(uint64_t pa, size_t n)
{
	return pa >= BASE && pa < BASE + SIZE && n <= BASE + SIZE - pa ? memory + (pa - BASE) : NULL;
}
static void clear(void)
{
	free(memory);
	memory = calloc(1, SIZE);
}
static void put32(unsigned off, uint32_t v) { memcpy(memory + off, &v, 4); }
static void put64(unsigned off, uint64_t v) { memcpy(memory + off, &v, 8); }

static void pvh(uint32_t version, uint32_t modules, uint32_t ranges)
{
	clear();
	put32(0, 0x336ec578);
	put32(4, version);
	put32(12, modules);
	put64(16, BASE + 256);  /* modules */
	put64(24, BASE + 1024); /* command line */
	put64(32, 0xf5aa0);
	put64(40, BASE + 512);  /* map */
	put32(48, ranges);
}
static void pvh_range(unsigned i, uint64_t base, uint64_t size, uint32_t type)
{
	put64(512 + i * 24, base);
	put64(520 + i * 24, size);
	put32(528 + i * 24, type);
}

TEST(pvh_as_qemu_does_it)
{
	pvh(1, 1, 3);
	pvh_range(0, 0, 0x9fc00, 1);
	pvh_range(1, 0x9fc00, 0x400, 2);
	pvh_range(2, 0x100000, 0x3ff00000, 1);
	strcpy((char *)memory + 1024, "mica.link a=b");
	put64(256, 0x3f000000);
	put64(264, 12345);
	put64(272, BASE + 2048);
	strcpy((char *)memory + 2048, "/some/where/vm.cpio with words");
	CHECK(!bootinfo_parse_pvh(&info, phys, BASE));
	CHECK(!strcmp(info.cmdline, "mica.link a=b") && info.rsdp == 0xf5aa0 && !strcmp(info.loader, "pvh"));
	CHECK_EQ(info.nr_modules, 1);
	CHECK(info.module[0].base == 0x3f000000 && info.module[0].size == 12345 && !strcmp(info.module[0].name, "vm.cpio"));
	CHECK_EQ(info.nr_ranges, 3);
	CHECK_EQ(bootinfo_ram(&info), 0x9fc00 + 0x3ff00000);
}

TEST(pvh_hostile)
{
	pvh(1, 1000000, 1000000);
	CHECK(bootinfo_parse_pvh(&info, phys, BASE)); /* no map: said, not crashed */
	put64(40, BASE + SIZE - 12);
	put64(16, UINT64_MAX - 3);
	put64(24, BASE + SIZE - 3); /* command line runs off the end */
	memset(memory + SIZE - 3, 'x', 3);
	CHECK(bootinfo_parse_pvh(&info, phys, BASE));
	CHECK(!strcmp(info.cmdline, "xxx") && !info.nr_modules);
	CHECK(bootinfo_parse_pvh(&info, phys, 8));
	CHECK(bootinfo_parse_pvh(&info, phys, BASE + SIZE - 8));
	pvh(0, 0, 1); /* version 0 has no map */
	pvh_range(0, 0, MIB(64), 1);
	CHECK(bootinfo_parse_pvh(&info, phys, BASE));
}

static void check_ranges(void)
{
	for (unsigned i = 0; i < info.nr_ranges; i++) {
		CHECK(info.range[i].size);
		CHECK(info.range[i].base + info.range[i].size > info.range[i].base);
		CHECK(!i || info.range[i].base >= info.range[i - 1].base + info.range[i - 1].size);
	}
}

TEST(overlaps_go_to_the_less_usable)
{
	pvh(1, 0, 5);
	pvh_range(0, 0x100000, 0x700000, 1);
	pvh_range(1, 0x0, 0x180000, 1);
	pvh_range(2, 0x200000, 0x100000, 2);
	pvh_range(3, 0x280000, 0x100000, 3);
	pvh_range(4, UINT64_MAX - 0xfff, 0x100000, 1); /* wraps */
	CHECK(!bootinfo_parse_pvh(&info, phys, BASE));
	check_ranges();
	CHECK_EQ(info.nr_ranges, 4);
	CHECK(info.range[0].base == 0 && info.range[0].size == 0x200000 && info.range[0].type == 1);
	CHECK(info.range[1].size == 0x100000 && info.range[1].type == 2);
	CHECK(info.range[2].base == 0x300000 && info.range[2].size == 0x80000 && info.range[2].type == 3);
	CHECK(info.range[3].base == 0x380000 && info.range[3].type == 1);
}

static unsigned mb2_tag_put(unsigned off, uint32_t type, const void *data, uint32_t n)
{
	put32(off, type);
	put32(off + 4, n + 8);
	memcpy(memory + off + 8, data, n);
	return (off + 8 + n + 7) & ~7u;
}

static unsigned mb2(void)
{
	static const struct { uint32_t size, version; uint64_t base, len; uint32_t type, res; } map = { 24, 0, 0x100000, MIB(512), 1, 0 };
	static const struct { uint32_t from, to; char line[24]; } module = { 0x800000, 0x900000, "/vms/a.vmx x" };
	static const struct { uint64_t base; uint32_t pitch, w, h; uint8_t bpp, type; } __packed fb = { 0xfd000000, 4096, 1024, 768, 32, 1 };
	uint8_t rsdp[36] = "RSD PTR ";
	unsigned off = 8;

	clear();
	off = mb2_tag_put(off, 1, "one two=2", 10);
	off = mb2_tag_put(off, 3, &module, sizeof(module));
	off = mb2_tag_put(off, 6, &map, sizeof(map));
	off = mb2_tag_put(off, 8, &fb, sizeof(fb));
	rsdp[15] = 2;
	off = mb2_tag_put(off, 15, rsdp, 36);
	rsdp[15] = 0;
	off = mb2_tag_put(off, 14, rsdp, 20);
	off = mb2_tag_put(off, 0, "", 0);
	put32(0, off);
	return off;
}

TEST(multiboot2)
{
	mb2();
	CHECK(!bootinfo_parse_multiboot2(&info, phys, BASE));
	CHECK(!strcmp(info.cmdline, "one two=2") && !strcmp(info.module[0].name, "a.vmx") && info.module[0].size == 0x100000);
	CHECK(info.fb.kind == 1 && info.fb.width == 1024 && info.fb.pitch == 4096 && info.fb.bpp == 32 && info.fb.base == 0xfd000000);
	CHECK_EQ(bootinfo_ram(&info), MIB(512));
	CHECK(bootinfo_rsdp_copy[0] == 'R' && bootinfo_rsdp_copy[15] == 2);
	put32(0, 0x7fffffff);
	CHECK(bootinfo_parse_multiboot2(&info, phys, BASE));
}

TEST(command_line_words)
{
	char v[8];

	CHECK(cmdline_find("  a=1 bc=22  d e= ", "bc", v, sizeof(v)) && !strcmp(v, "22"));
	CHECK(cmdline_find("a=1 d", "d", v, sizeof(v)) && !*v);
	CHECK(cmdline_find("e= x", "e", v, sizeof(v)) && !*v);
	CHECK(!cmdline_find("abc=1 xab", "ab", v, sizeof(v)));
	CHECK(cmdline_find("k=123456789", "k", v, sizeof(v)) && !strcmp(v, "1234567"));
	CHECK(cmdline_find("k", "k", NULL, 0));
	CHECK(!cmdline_find("", "k", v, sizeof(v)));
}

/* Good information with bytes changed: whatever comes out is sorted, disjoint and within bounds. */
TEST(fuzz)
{
	srand(4);
	for (unsigned i = 0; i < 60000; i++) {
		unsigned used, kind = i % 2;

		if (kind) {
			used = mb2();
		} else {
			pvh(1, 2, 4);
			for (unsigned r = 0; r < 4; r++)
				pvh_range(r, (uint64_t)rand() << 8, (uint64_t)rand() << 8, (uint32_t)rand() % 5);
			used = 512 + 4 * 24;
		}
		for (unsigned n = (unsigned)rand() % 12; n; n--)
			memory[(unsigned)rand() % used] = (uint8_t)rand();
		if (kind)
			bootinfo_parse_multiboot2(&info, phys, BASE);
		else
			bootinfo_parse_pvh(&info, phys, BASE);
		check_ranges();
		CHECK(info.nr_ranges <= ARRAY_SIZE(info.range) && info.nr_modules <= ARRAY_SIZE(info.module));
		CHECK(strnlen(info.cmdline, sizeof(info.cmdline)) < sizeof(info.cmdline));
	}
}
