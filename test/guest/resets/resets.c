/* SPDX-License-Identifier: Apache-2.0 */
/* Resets itself in every way a PC has, one after the other; a cell of RAM that a reset keeps counts them. */
#include "guest.h"

#define CELL ((volatile uint64_t *)0x1000000)
#define MAGIC 0x6d69636100000000ull

void guest_main(uint32_t magic, uint32_t info)
{
	uint64_t count = (*CELL & 0xffffffff00000000ull) == MAGIC ? (uint32_t)*CELL : 0;
	struct { uint16_t limit; uint64_t base; } __attribute__((packed)) none = { 0, 0 };

	(void)info;
	CHECK_EQ(magic, 0x2BADB002);
	print("GUEST start %lu\n", count);
	*CELL = MAGIC | (count + 1);
	switch (count) {
	case 0: outb(0xcf9, 2); outb(0xcf9, 6); break;
	case 1: outb(0x64, 0xfe); break;
	case 2: outb(0x92, inb(0x92) | 1); break;
	case 3: __asm__ volatile("lidt %0; ud2" : : "m"(none)); break;
	case 4: print("GUEST resets 4\n"); guest_done();
	}
	delay_us(1000000);
	CHECK(!"still here");
	guest_done();
}
