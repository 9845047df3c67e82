/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The local APIC's registers as the guest reaches them: the xAPIC page, the x2APIC MSRs, IA32_APIC_BASE, and the ICR that sends.
 * Both shapes share read_register() and write_register(); the MSRs differ in what they refuse (SDM vol 3, 11.12.1.3) and in
 * ICR, DFR and the self-IPI register. Register state is the vCPU's own: no lock. Save and load stand at the end.
 */
#include "hv/dev/lapic_priv.h"

#define VERSION (0x14u | (LVTS - 1) << 16)

/* Vector, delivery mode, polarity, trigger, mask, timer mode as table 11-2 has them. */
const uint32_t lapic_lvt_bits[LVTS] = {
	[LVT_TIMER] = 0x700ff, [LVT_THERMAL] = 0x107ff, [LVT_PMC] = 0x107ff, [LVT_LINT0] = 0x1a7ff, [LVT_LINT1] = 0x1a7ff, [LVT_ERROR] = 0x100ff,
};
#define LVT_READ_ONLY 0x5000u /* delivery status, remote IRR */

bool lapic_enabled(const struct lapic *l) { return READ_ONCE(l->base) & BASE_ENABLE; }
uint64_t lapic_base(const struct lapic *l) { return l->base; }
uint8_t lapic_get_tpr(const struct lapic *l) { return l->tpr; }

void lapic_set_tpr(struct lapic *l, uint8_t tpr)
{
	uint8_t old = l->tpr;

	if (tpr == old)
		return;
	WRITE_ONCE(l->tpr, tpr);
	if (tpr < old)
		lapic_recheck(l);
}

/* ---- ICR ---- */
static void send(struct lapic *l, uint64_t icr)
{
	struct apic_msg m = {
		.dest = l->x2apic ? (uint32_t)(icr >> 32) : (uint32_t)(icr >> 56),
		.vector = icr & 0xff, .delivery = icr >> 8 & 7, .logical = icr >> 11 & 1, .assert = icr >> 14 & 1, .level = icr >> 15 & 1,
		.shorthand = icr >> 18 & 3, .x2apic_dest = l->x2apic,
	};
	bool fixed = m.delivery == APIC_FIXED || m.delivery == APIC_LOWEST;

	if (m.delivery == 3 || m.delivery == APIC_EXTINT)
		return; /* reserved */
	if (fixed && m.vector < 16) {
		lapic_error(l, ESR_SEND_ILLEGAL);
		return;
	}
	if (fixed || m.delivery == APIC_NMI)
		m.level = false; /* 11.6.1: trigger mode counts for INIT level de-assert only */
	if (fixed && m.shorthand == 1) {
		if (lapic_accept(l, m.vector, false))
			l->host.event(l->host.ctx);
		return;
	}
	l->host.send(l->host.ctx, &m);
}

/* ---- what both shapes share ---- */
static uint32_t read_register(struct lapic *l, unsigned reg)
{
	switch (reg) {
	case REG_TMCCT: return lapic_timer_count(l);
	case REG_TMICT: return l->tmict;
	case REG_ID: return l->x2apic ? l->id : l->id << 24;
	case REG_VERSION: return VERSION;
	case REG_TPR: return l->tpr;
	case REG_APR: case REG_PPR: return lapic_ppr(l);
	case REG_LDR: return l->ldr;
	case REG_DFR: return l->dfr;
	case REG_SVR: return l->svr;
	case REG_ESR: return l->esr;
	case REG_ICR: return (uint32_t)l->icr;
	case REG_ICR2: return (uint32_t)(l->icr >> 32);
	case REG_TDCR: return l->tdcr;
	case REG_LVT_TIMER ... REG_LVT_ERROR: {
		uint32_t v = l->lvt[reg - REG_LVT_TIMER];

		return reg == REG_LVT_LINT0 && READ_ONCE(l->lint0_remote) ? v | 0x4000 : v;
	}
	}
	if (reg >= REG_ISR && reg < REG_TMR)
		return l->isr[reg - REG_ISR];
	if (reg >= REG_TMR && reg < REG_IRR)
		return READ_ONCE(l->tmr[reg - REG_TMR]);
	if (reg >= REG_IRR && reg < REG_ESR)
		return READ_ONCE(l->irr[reg - REG_IRR]);
	return 0;
}

static void write_lvt(struct lapic *l, enum lapic_lvt i, uint32_t v)
{
	v &= lapic_lvt_bits[i];
	if (!(l->svr & SVR_ENABLE))
		v |= LVT_MASKED;
	if (i == LVT_TIMER) {
		lapic_timer_lvt(l, v);
		return;
	}
	WRITE_ONCE(l->lvt[i], v);
	if (i == LVT_LINT0)
		lapic_lint0_level(l);
}

static void write_svr(struct lapic *l, uint32_t v)
{
	l->svr = v & 0x3ff;
	lapic_update_accepting(l);
	if (v & SVR_ENABLE)
		return;
	/* 11.4.7.2: disabled by software; every entry is masked and stays so */
	for (int i = 0; i < LVTS; i++)
		write_lvt(l, i, l->lvt[i] | LVT_MASKED);
}

static void write_register(struct lapic *l, unsigned reg, uint32_t v)
{
	switch (reg) {
	case REG_EOI: lapic_eoi(l); break;
	case REG_TMICT: lapic_timer_set_count(l, v); break;
	case REG_TPR: lapic_set_tpr(l, v & 0xff); break;
	case REG_SVR: write_svr(l, v); break;
	case REG_LVT_TIMER ... REG_LVT_ERROR: write_lvt(l, reg - REG_LVT_TIMER, v); break;
	case REG_TDCR: lapic_timer_set_divide(l, v & 0xb); break;
	case REG_ESR: l->esr = __atomic_exchange_n(&l->esr_pending, 0, __ATOMIC_SEQ_CST); break;
	case REG_ID: case REG_VERSION: case REG_APR: case REG_PPR: case REG_TMCCT: break; /* read only */
	default:
		if (reg < REG_ISR || reg >= REG_ESR)
			lapic_error(l, ESR_ILLEGAL_REGISTER);
		break;
	}
}

/* ---- xAPIC: one 32-bit register at every 16 bytes ---- */
uint32_t lapic_mmio_read(struct lapic *l, uint32_t offset)
{
	return offset & 0xf || offset >= 0x400 ? 0 : read_register(l, offset >> 4);
}

void lapic_mmio_write(struct lapic *l, uint32_t offset, uint32_t v)
{
	unsigned reg = offset >> 4;

	if (offset & 0xf || offset >= 0x400)
		return;
	switch (reg) {
	case REG_ICR:
		l->icr = (l->icr & ~0xffffffffull) | (v & ~0x1000u);
		send(l, l->icr);
		break;
	case REG_ICR2: l->icr = (uint32_t)l->icr | (uint64_t)(v & 0xff000000) << 32; break;
	case REG_LDR: WRITE_ONCE(l->ldr, v & 0xff000000); break;
	case REG_DFR: WRITE_ONCE(l->dfr, v | 0x0fffffff); break;
	case REG_SELF_IPI: break; /* x2APIC only */
	default: write_register(l, reg, v);
	}
}

/* ---- x2APIC ---- */
static bool x2apic_read(struct lapic *l, unsigned reg, uint64_t *v)
{
	switch (reg) {
	case REG_ICR: *v = l->icr; return true;
	case REG_ID: case REG_VERSION: case REG_TPR: case REG_PPR: case REG_LDR: case REG_SVR:
	case REG_ISR ... REG_ESR:
	case REG_LVT_TIMER ... REG_TMCCT:
	case REG_TDCR:
		*v = read_register(l, reg);
		return true;
	}
	return false; /* not there, or write only */
}

/* Bits that must be zero (11.12.1.3); ~0: the register cannot be written. */
static uint32_t x2apic_reserved(unsigned reg)
{
	switch (reg) {
	case REG_EOI: case REG_ESR: return ~0u;
	case REG_TPR: case REG_SELF_IPI: return ~0xffu;
	case REG_SVR: return ~0x3ffu;
	case REG_TMICT: return 0;
	case REG_TDCR: return ~0xbu;
	case REG_LVT_TIMER ... REG_LVT_ERROR: return ~(lapic_lvt_bits[reg - REG_LVT_TIMER] | LVT_READ_ONLY);
	}
	return ~0u;
}
static bool x2apic_writable(unsigned reg)
{
	return reg == REG_EOI || reg == REG_TPR || reg == REG_SVR || reg == REG_ESR || (reg >= REG_LVT_TIMER && reg <= REG_TMICT) ||
	       reg == REG_TDCR || reg == REG_SELF_IPI;
}

static bool x2apic_write(struct lapic *l, unsigned reg, uint64_t v)
{
	if (reg == REG_ICR) {
		if (v & 0xfff32000)
			return false;
		l->icr = v & ~0x1000ull;
		send(l, l->icr);
		return true;
	}
	if (!x2apic_writable(reg) || v >> 32 || (v & x2apic_reserved(reg)))
		return false;
	if (reg == REG_SELF_IPI)
		send(l, 1 << 18 | (v & 0xff));
	else
		write_register(l, reg, (uint32_t)v);
	return true;
}

/* ---- IA32_APIC_BASE (11.4.4, figure 11-27: the transitions of the two enable bits) ---- */
bool lapic_base_legal(const struct lapic *l, uint64_t v)
{
	if ((v & 0x2ff) || v >> l->phys_bits)
		return false;
	return !(v & BASE_X2APIC) || ((v & BASE_ENABLE) && l->allow_x2apic);
}

static bool write_base(struct lapic *l, uint64_t v)
{
	uint64_t old = l->base;

	if (!lapic_base_legal(l, v))
		return false;
	if ((old & BASE_X2APIC) && (v & BASE_ENABLE) && !(v & BASE_X2APIC))
		return false; /* x2APIC back to xAPIC */
	if (!(old & BASE_ENABLE) && (v & BASE_X2APIC))
		return false; /* disabled straight to x2APIC */
	v = (v & ~BASE_BSP) | (l->boot_cpu ? BASE_BSP : 0);
	WRITE_ONCE(l->base, v);
	WRITE_ONCE(l->x2apic, (v & BASE_X2APIC) != 0);
	if (!(v & BASE_ENABLE) != !(old & BASE_ENABLE))
		lapic_reset_registers(l); /* its state is lost while disabled */
	if (l->x2apic && !(old & BASE_X2APIC)) {
		l->ldr = (l->id >> 4) << 16 | 1u << (l->id & 15);
		l->icr &= 0xffffffff;
	}
	lapic_update_accepting(l);
	return true;
}

#define MSR_APIC_BASE 0x1bu
#define MSR_TSC_DEADLINE 0x6e0u
bool lapic_msr_read(struct lapic *l, uint32_t msr, uint64_t *v)
{
	if (msr == MSR_TSC_DEADLINE) {
		*v = READ_ONCE(l->deadline);
		return true;
	}
	if (msr == MSR_APIC_BASE) {
		*v = l->base;
		return true;
	}
	return l->x2apic && x2apic_read(l, msr - 0x800, v);
}

bool lapic_msr_write(struct lapic *l, uint32_t msr, uint64_t v)
{
	if (msr == MSR_TSC_DEADLINE) {
		lapic_timer_set_deadline(l, v);
		return true;
	}
	if (msr == MSR_APIC_BASE)
		return write_base(l, v);
	return l->x2apic && x2apic_write(l, msr - 0x800, v);
}
