/* SPDX-License-Identifier: Apache-2.0 */
/* Instructions that leave the guest: each must give what a CPU of VMware's gives, with prefixes and at page boundaries too. */
#include "guest.h"

static void check_identity(void)
{
	uint32_t r[4];

	cpuid(1, 0, r);
	CHECK(r[2] >> 31);
	cpuid(0x40000000, 0, r);
	CHECK_EQ(r[0], 0x40000010);
	CHECK_EQ(r[1], 0x61774d56); /* VMwa */
	CHECK_EQ(r[2], 0x4d566572); /* reVM */
	CHECK_EQ(r[3], 0x65726177); /* ware */
	cpuid(0x40000010, 0, r);
	CHECK(r[0] > 100000);
	CHECK(r[1] > 1000);
	CHECK_EQ(r[2] & 3, 1);
}
static void check_backdoor(void)
{
	uint32_t a = 0x564d5868, b = 0, c = 10, d = 0x5658;

	__asm__ volatile("inl %%dx, %%eax" : "+a"(a), "+b"(b), "+c"(c), "+d"(d));
	CHECK_EQ(a, 6);
	CHECK_EQ(b, 0x564d5868);
	a = 0x564d5868, b = 0, c = 10, d = 0;
	__asm__ volatile("vmmcall" : "+a"(a), "+b"(b), "+c"(c), "+d"(d));
	CHECK_EQ(a, 6);
	CHECK_EQ(b, 0x564d5868);
	a = 0x564d5868, b = 0, c = 45, d = 0;
	__asm__ volatile("vmmcall" : "+a"(a), "+b"(b), "+c"(c), "+d"(d));
	CHECK_EQ((uint64_t)b << 32 | a, tsc_hz());
	a = 99;
	__asm__ volatile("vmmcall" : "+a"(a) : : "rbx", "rcx", "rdx");
	CHECK_EQ(a, 0xffffffff);
	a = 0x564d5868, b = 5, c = 0x7777, d = 0;
	__asm__ volatile("vmmcall" : "+a"(a), "+b"(b), "+c"(c), "+d"(d));
	CHECK_EQ(a, 0xffffffff);
	CHECK_EQ(b, 5);
}
static void check_prefixes(void)
{
	uint64_t a, after;
	uint32_t b, c, d;

	/* A CPUID with useless prefixes is four bytes long: what follows must run exactly once. */
	__asm__ volatile("xorl %%esi, %%esi; .byte 0x66, 0x48, 0x0f, 0xa2; incl %%esi; movl %%esi, %%r8d" : "=a"(a), "=b"(b), "=c"(c), "=d"(d) : "a"(0), "c"(0) : "rsi", "r8");
	__asm__ volatile("xorl %%esi, %%esi; movl $0, %%eax; .byte 0x2e, 0x0f, 0xa2; incl %%esi; movq %%rsi, %0" : "=r"(after) : : "rax", "rbx", "rcx", "rdx", "rsi");
	CHECK_EQ(after, 1);
}
static void check_ports(void)
{
	CHECK_EQ(inb(0x80), 0xff);
	CHECK_EQ(inl(0x5000), 0xffffffff);
	outb(0x21, 0xa5);
	CHECK_EQ(inb(0x21), 0xa5);
	outb(0x21, 0xff);
	CHECK_EQ(inb(0x3fd) & 0x60, 0x60);
	for (int i = 0; i < 3; i++)
		CHECK(inl(0x608) <= 0xffffffff);
}
static void check_faults(void)
{
	CHECK_EQ(TRY("movl $0x12345, %%ecx; rdmsr", : : : "rax", "rcx", "rdx", "r11", "memory"), 13);
	CHECK_EQ(TRY("movl $0x277, %%ecx; movl $2, %%eax; xorl %%edx, %%edx; wrmsr", : : : "rax", "rcx", "rdx", "r11", "memory"), 13); /* PAT type 2 */
	CHECK_EQ(TRY("movl $0xc0000100, %%ecx; movl $1, %%eax; movl $0x00800000, %%edx; wrmsr", : : : "rax", "rcx", "rdx", "r11", "memory"), 13);
	CHECK_EQ(TRY("ud2", : : : "r11", "memory"), 6);
	CHECK_EQ(TRY("vmrun", : : "a"(0) : "r11", "memory"), 6);
	CHECK_EQ(TRY("movq %%rax, %%cr4", : : "a"(1ull << 40) : "r11", "memory"), 13);
	CHECK_EQ(TRY("movq %%rax, %%cr8", : : "a"(16) : "r11", "memory"), 13);
	CHECK_EQ(TRY("movl $1, %%ecx; xorl %%edx, %%edx; xorl %%eax, %%eax; .byte 0x0f, 0x01, 0xd1", : : : "rax", "rcx", "rdx", "r11", "memory"), 6); /* XSETBV before OSXSAVE */
}
static void check_mmio_nothing(void)
{
	volatile uint32_t *nowhere = (volatile uint32_t *)0xfd000000;

	CHECK_EQ(*nowhere, 0xffffffff);
	*nowhere = 1;
	CHECK_EQ(*(volatile uint8_t *)0xa0000, 0xff);
	*(volatile uint32_t *)0xd0000 = 0x1234; /* shadow RAM */
	CHECK_EQ(*(volatile uint32_t *)0xd0000, 0x1234);
}
void guest_main(uint32_t magic, uint32_t info)
{
	(void)magic;
	(void)info;
	traps_init();
	check_identity();
	check_backdoor();
	check_prefixes();
	check_ports();
	check_faults();
	check_mmio_nothing();
	guest_done();
}
