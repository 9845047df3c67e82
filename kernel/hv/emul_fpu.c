/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest's XMM registers and PKRU. While the vCPU's world runs its loop the guest's state is in the CPU (the kernel itself
 * never uses it); otherwise, e.g. in another world or after a switch back to ring 3's own state, it lies in v->fpu.
 */
#include "hv/emul_priv.h"

#define AREA_XMM 160
#define AREA_HEADER 512 /* XSTATE_BV */
#define XSTATE_SSE BIT(1)
#define XSTATE_PKRU BIT(9)
#define MXCSR_OFFSET 24
#define MXCSR_DEFAULT 0x1f80

#ifdef __KERNEL_HOST_TEST__
static bool state_is_live(const struct vcpu *v) { (void)v; return false; }
static void live_get(unsigned reg, uint64_t val[2]) { (void)reg; (void)val; }
static void live_set(unsigned reg, const uint64_t val[2]) { (void)reg; (void)val; }
static void live_save(struct vcpu *v) { (void)v; }
#else
static bool state_is_live(const struct vcpu *v)
{
	return v->world && v->world == current && v->world->arch.fpu == v->fpu;
}

#define EACH_XMM(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14) X(15)
static void live_get(unsigned reg, uint64_t val[2])
{
	switch (reg) {
#define X(n) case n: __asm__ volatile("movups %%xmm" #n ", (%0)" : : "r"(val) : "memory"); break;
	EACH_XMM(X)
#undef X
	}
}

static void live_set(unsigned reg, const uint64_t val[2])
{
	switch (reg) {
#define X(n) case n: __asm__ volatile("movups (%0), %%xmm" #n : : "r"(val) : "memory"); break;
	EACH_XMM(X)
#undef X
	}
}

static void xsetbv(uint64_t val) { __asm__ volatile("xsetbv" : : "c"(0), "a"((uint32_t)val), "d"((uint32_t)(val >> 32)) : "memory"); }

/* Everything to v->fpu, whatever the guest has switched off in XCR0. */
static void live_save(struct vcpu *v)
{
	uint64_t host = arch_xcr0_host(), guest = v->world->arch.xcr0;

	preempt_disable();
	if (guest && guest != host)
		xsetbv(host);
	arch_fpu_save(v->fpu);
	if (guest && guest != host)
		xsetbv(guest);
	preempt_enable();
}
#endif

static uint64_t *area_header(struct vcpu *v) { return (uint64_t *)((uint8_t *)v->fpu + AREA_HEADER); }
static uint8_t *area_xmm(struct vcpu *v, unsigned reg) { return (uint8_t *)v->fpu + AREA_XMM + 16 * reg; }
static bool area_has(struct vcpu *v, uint64_t component) { return !arch_xcr0_host() || (*area_header(v) & component); }

void emul_xmm_get(struct vcpu *v, unsigned reg, uint64_t val[2])
{
	if (state_is_live(v))
		live_get(reg, val);
	else if (area_has(v, XSTATE_SSE))
		memcpy(val, area_xmm(v, reg), 16);
	else
		val[0] = val[1] = 0;
}

void emul_xmm_set(struct vcpu *v, unsigned reg, const uint64_t val[2])
{
	const uint32_t mxcsr = MXCSR_DEFAULT;

	if (state_is_live(v)) {
		live_set(reg, val);
		return;
	}
	if (!area_has(v, XSTATE_SSE)) { /* was in its initial state, which the area need not show */
		memset(area_xmm(v, 0), 0, 256);
		memcpy((uint8_t *)v->fpu + MXCSR_OFFSET, &mxcsr, 4);
		*area_header(v) |= XSTATE_SSE;
	}
	memcpy(area_xmm(v, reg), val, 16);
}

uint32_t emul_pkru(struct vcpu *v)
{
	uint32_t r[4], pkru;

	if (!(arch_xcr0_host() & XSTATE_PKRU))
		return 0;
	if (state_is_live(v))
		live_save(v);
	if (!(*area_header(v) & XSTATE_PKRU))
		return 0;
	arch_cpuid(0xd, 9, r); /* EBX: where the component lies in the standard format */
	if (r[1] + sizeof(pkru) > arch_fpu_size())
		return 0;
	memcpy(&pkru, (uint8_t *)v->fpu + r[1], sizeof(pkru));
	return pkru;
}
