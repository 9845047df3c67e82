/* SPDX-License-Identifier: Apache-2.0 */
/* All of the VM's memory: reads as zero at first touch, keeps what is written, above 4 GiB too. Prints how much it wrote. */
#include "guest.h"

struct range { uint64_t base, end; };

/* Maps [base, base + 2 MiB) for above 4 GiB at a fixed window; below it the identity map serves. */
static uint64_t *window(uint64_t gpa)
{
	static uint64_t pd[512] __attribute__((aligned(4096)));
	uint64_t *pdpt = (uint64_t *)(pml4[0] & ~0xfffull);

	if (gpa < 0x100000000ull)
		return (uint64_t *)gpa;
	pdpt[4] = (uint64_t)pd | 3;
	pd[0] = gpa | 0x83;
	__asm__ volatile("invlpg (%0)" : : "r"(0x100000000ull) : "memory");
	return (uint64_t *)0x100000000ull;
}
static void fill_block(uint64_t gpa, uint64_t size)
{
	uint64_t *p = window(gpa);

	for (uint64_t i = 0; i < size / 8; i += 64) /* one word of each 512 bytes: eight a page, all pages */
		if (p[i]) {
			CHECK_EQ(p[i], 0);
			return;
		}
	for (uint64_t i = 0; i < size / 8; i += 512)
		p[i] = gpa + i * 8;
}
static void check_block(uint64_t gpa, uint64_t size)
{
	uint64_t *p = window(gpa);

	for (uint64_t i = 0; i < size / 8; i += 512)
		if (p[i] != gpa + i * 8) {
			CHECK_EQ(p[i], gpa + i * 8);
			return;
		}
}
static unsigned usable_ranges(uint32_t info, struct range *r, unsigned max)
{
	const uint32_t *m = (const void *)(uintptr_t)info;
	unsigned n = 0;

	for (uint32_t at = m[12]; at < m[12] + m[11] && n < max;) {
		const uint8_t *e = (const void *)(uintptr_t)at;
		uint64_t base, length;
		uint32_t size, type;

		memcpy(&size, e, 4);
		memcpy(&base, e + 4, 8);
		memcpy(&length, e + 12, 8);
		memcpy(&type, e + 20, 4);
		if (type == 1 && base >= 0x100000)
			r[n++] = (struct range){ base, base + length };
		at += size + 4;
	}
	return n;
}
void guest_main(uint32_t magic, uint32_t info)
{
	struct range r[8];
	unsigned n;
	uint64_t wrote = 0;

	CHECK_EQ(magic, 0x2BADB002);
	traps_init();
	n = usable_ranges(info, r, 8);
	if (n && r[0].base < 0x400000)
		r[0].base = 0x400000; /* this program and what the loader left lie below */
	for (int pass = 0; pass < 2; pass++)
		for (unsigned i = 0; i < n; i++)
			for (uint64_t a = r[i].base; a < r[i].end; a += 0x200000) {
				uint64_t size = r[i].end - a < 0x200000 ? r[i].end - a : 0x200000;

				if (pass == 0)
					fill_block(a, size), wrote += size;
				else
					check_block(a, size);
			}
	print("GUEST wrote %lu MiB\n", (wrote + 0x400000) >> 20);
	guest_done();
}
