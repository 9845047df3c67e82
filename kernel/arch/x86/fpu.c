/* SPDX-License-Identifier: Apache-2.0 */
/*
 * x87, SSE, AVX, AVX-512 and protection-key state. The kernel itself never uses these registers, so they hold the running
 * world's state from switch to switch; a switch saves and loads eagerly (no CR0.TS tricks: they leak, and #NM costs more).
 *
 * arch_context.xcr0 is what XCR0 holds while that world runs; 0 means the host's set. A vCPU inside its guest has the guest's
 * choice there. State that the guest has switched off in XCR0 must survive a switch too, so saving and loading is
 * always done under the host's full set.
 */
#include "arch/x86/arch_priv.h"

#define XCR0_X87 BIT(0)
#define XCR0_SSE BIT(1)
#define XCR0_AVX BIT(2)
#define XCR0_AVX512 (BIT(5) | BIT(6) | BIT(7))
#define XCR0_PKRU BIT(9)
#define FCW_DEFAULT 0x37f
#define MXCSR_DEFAULT 0x1f80
#define AREA_MXCSR 24
#define FXSAVE_SIZE 512

static uint64_t host_xcr0; /* 0: no XSAVE, FXSAVE serves */
static size_t area_size;

static void xsetbv(uint64_t v) { __asm__ volatile("xsetbv" : : "c"(0), "a"((uint32_t)v), "d"((uint32_t)(v >> 32)) : "memory"); }

static void fpu_detect(void)
{
	uint32_t r[4];

	area_size = FXSAVE_SIZE;
	arch_platform.has_xsave = read_cr4() & CR4_OSXSAVE;
	if (!arch_platform.has_xsave)
		return;
	arch_cpuid(0xd, 0, r);
	host_xcr0 = r[CPUID_EAX] & (XCR0_X87 | XCR0_SSE | XCR0_AVX | XCR0_AVX512 | XCR0_PKRU);
	if (!(host_xcr0 & XCR0_AVX) || (host_xcr0 & XCR0_AVX512) != XCR0_AVX512)
		host_xcr0 &= ~XCR0_AVX512;
	xsetbv(host_xcr0);
	arch_cpuid(0xd, 0, r); /* EBX: size for what XCR0 enables now */
	area_size = ALIGN_UP(r[CPUID_EBX], 64);
}

void fpu_init_cpu(void)
{
	if (!area_size)
		fpu_detect();
	if (host_xcr0)
		xsetbv(host_xcr0);
	__asm__ volatile("fninit");
}

size_t arch_fpu_size(void) { return area_size; }

uint64_t arch_xcr0_host(void) { return host_xcr0; }

void arch_fpu_init(void *area)
{
	memset(area, 0, area_size);
	*(uint16_t *)area = FCW_DEFAULT;
	*(uint32_t *)((char *)area + AREA_MXCSR) = MXCSR_DEFAULT;
	if (host_xcr0) /* x87 from the area, since its initial FCW is the one that FNINIT gives; the rest is in its initial state */
		*(uint64_t *)((char *)area + FXSAVE_SIZE) = XCR0_X87 | XCR0_SSE;
}

void arch_fpu_save(void *area)
{
	if (host_xcr0)
		__asm__ volatile("xsave64 (%0)" : : "r"(area), "a"(~0u), "d"(~0u) : "memory");
	else
		__asm__ volatile("fxsave64 (%0)" : : "r"(area) : "memory");
}

void arch_fpu_restore(const void *area)
{
	if (host_xcr0)
		__asm__ volatile("xrstor64 (%0)" : : "r"(area), "a"(~0u), "d"(~0u) : "memory");
	else
		__asm__ volatile("fxrstor64 (%0)" : : "r"(area) : "memory");
}

static bool xcr0_differs(const struct arch_context *c) { return host_xcr0 && c->xcr0 && c->xcr0 != host_xcr0; }

static uint64_t xgetbv(void)
{
	uint32_t lo, hi;

	__asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
	return lo | (uint64_t)hi << 32;
}

void fpu_switch(struct arch_context *from, struct arch_context *to)
{
	if (from->fpu) {
		if (host_xcr0 && from->xcr0) /* a guest may have changed it without an exit */
			from->xcr0 = xgetbv();
		if (xcr0_differs(from))
			xsetbv(host_xcr0);
		arch_fpu_save(from->fpu);
		from->fpu_loaded = false;
	}
	if (to->fpu) {
		arch_fpu_restore(to->fpu);
		if (xcr0_differs(to))
			xsetbv(to->xcr0);
		to->fpu_loaded = true;
	}
}
