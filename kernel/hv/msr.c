/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Model-specific registers. The local APIC has its own (hv/dev/lapic*.c), the backend those that the hardware switches and its
 * vendor's (hv_ops get_msr, set_msr); here stand the architectural rest. Values are refused as the processor refuses them; a
 * register that nobody knows is #GP and one count, whatever the guest does with it.
 */
#include "hv/hv_priv.h"

enum {
	MSR_TSC = 0x10, MSR_APIC_BASE = 0x1b, MSR_TSC_ADJUST = 0x3b, MSR_PRED_CMD = 0x49, MSR_BIOS_SIGN = 0x8b, MSR_MTRRCAP = 0xfe,
	MSR_SYSENTER_CS = 0x174, MSR_SYSENTER_ESP, MSR_SYSENTER_EIP, MSR_MCG_CAP = 0x179, MSR_MCG_STATUS, MSR_MCG_CTL,
	MSR_MISC_ENABLE = 0x1a0, MSR_MTRR_PHYS = 0x200, MSR_MTRR_64K = 0x250, MSR_MTRR_16K = 0x258, MSR_MTRR_16K_A,
	MSR_MTRR_4K = 0x268, MSR_PAT = 0x277, MSR_MTRR_DEF = 0x2ff, MSR_TSC_DEADLINE = 0x6e0, MSR_X2APIC = 0x800, MSR_X2APIC_TPR = 0x808,
	MSR_XSS = 0xda0
};
#define MSR_EFER 0xc0000080u
#define MSR_STAR 0xc0000081u
#define MSR_LSTAR 0xc0000082u
#define MSR_CSTAR 0xc0000083u
#define MSR_FS_BASE 0xc0000100u
#define MSR_KERNEL_GS 0xc0000102u
#define MSR_TSC_AUX 0xc0000103u

#define MTRR_PAIRS 8
#define MTRR_FIXED (2 * MTRR_PAIRS) /* index in v->mtrr of the first fixed-range register, then default type */
#define MTRR_DEF 27
#define MTRR_CAP (MTRR_PAIRS | BIT(8) /* fixed ranges */ | BIT(10) /* write combining */)
#define MISC_ENABLE_RESET BIT(0) /* fast strings */
#define BIOS_SIGN (0x01000065ull << 32)
#define PAT_RESET 0x0007040600070406ull
#define EFER_LME BIT(8)
#define EFER_LMA BIT(10)
#define CR0_PG BIT(31)

COUNTER(msr_unknown_reads, "hv.msr.unknown_reads");
COUNTER(msr_unknown_writes, "hv.msr.unknown_writes");

static bool canonical(struct vcpu *v, uint64_t a)
{
	unsigned bits = hv->get_cr(v, HV_CR4) & BIT(12) ? 57 : 48;

	return (uint64_t)((int64_t)(a << (64 - bits)) >> (64 - bits)) == a;
}

/* Index in v->mtrr, or -1. */
static int mtrr_index(uint32_t msr)
{
	if (msr >= MSR_MTRR_PHYS && msr < MSR_MTRR_PHYS + 2 * MTRR_PAIRS)
		return (int)(msr - MSR_MTRR_PHYS);
	if (msr == MSR_MTRR_64K)
		return MTRR_FIXED;
	if (msr == MSR_MTRR_16K || msr == MSR_MTRR_16K_A)
		return MTRR_FIXED + 1 + (int)(msr - MSR_MTRR_16K);
	if (msr >= MSR_MTRR_4K && msr < MSR_MTRR_4K + 8)
		return MTRR_FIXED + 3 + (int)(msr - MSR_MTRR_4K);
	return msr == MSR_MTRR_DEF ? MTRR_DEF : -1;
}

static bool type_valid(uint8_t t) { return t == 0 || t == 1 || t == 4 || t == 5 || t == 6; }

static bool types_valid(uint64_t val, bool pat)
{
	for (unsigned i = 0; i < 64; i += 8)
		if (!type_valid(val >> i & 0xff) && !(pat && (val >> i & 0xff) == 7))
			return false;
	return true;
}

static bool mtrr_write(struct vcpu *v, int index, uint64_t val)
{
	uint64_t address = ((1ull << cpuid_guest_phys_bits(v->vm)) - 1) & ~PAGE_MASK;

	if (index < MTRR_FIXED) {
		if (index & 1 ? val & ~(address | BIT(11)) : val & ~(address | 0xff) || !type_valid(val & 0xff))
			return false;
	} else if (index < MTRR_DEF) {
		if (!types_valid(val, false))
			return false;
	} else if (val & ~(0xffull | BIT(10) | BIT(11)) || !type_valid(val & 0xff)) {
		return false;
	}
	v->mtrr[index] = val; /* guest memory is write-back by the nested table: only the guest's view is kept */
	return true;
}

static bool efer_write(struct vcpu *v, uint64_t val)
{
	uint64_t old = hv->get_cr(v, HV_EFER);

	if (val & ~cpuid_guest_efer_mask(v->vm))
		return false;
	if ((val ^ old) & EFER_LME && hv->get_cr(v, HV_CR0) & CR0_PG)
		return false;
	hv->set_cr(v, HV_EFER, (val & ~EFER_LMA) | (old & EFER_LMA));
	return true;
}

static void tsc_move(struct vcpu *v, int64_t by)
{
	v->tsc_offset = (int64_t)((uint64_t)v->tsc_offset + (uint64_t)by);
	hv->set_tsc_offset(v);
	lapic_tsc_changed(v->lapic);
}

static bool lapic_msr(uint32_t msr) { return (msr >= MSR_X2APIC && msr < MSR_X2APIC + 0x100) || msr == MSR_APIC_BASE || msr == MSR_TSC_DEADLINE; }

bool msr_read(struct vcpu *v, uint32_t msr, uint64_t *val)
{
	int mtrr;

	if (lapic_msr(msr))
		return lapic_msr_read(v->lapic, msr, val);
	switch (msr) {
	case MSR_EFER: *val = hv->get_cr(v, HV_EFER); return true;
	case MSR_TSC: *val = vcpu_guest_tsc(v); return true;
	case MSR_TSC_ADJUST: *val = (uint64_t)v->tsc_offset - (uint64_t)v->vm->tsc_offset; return true;
	case MSR_TSC_AUX: *val = v->tsc_aux; return true;
	case MSR_PAT: *val = v->pat; return true;
	case MSR_BIOS_SIGN: *val = BIOS_SIGN; return true;
	case MSR_MTRRCAP: *val = MTRR_CAP; return true;
	case MSR_MISC_ENABLE: *val = v->misc_enable; return true;
	case MSR_MCG_CAP: case MSR_MCG_STATUS: *val = 0; return true; /* no banks */
	case MSR_XSS: *val = v->xss; return true;
	}
	mtrr = mtrr_index(msr);
	if (mtrr >= 0) {
		*val = v->mtrr[mtrr];
		return true;
	}
	if (hv->get_msr(v, msr, val))
		return true;
	counter_add(msr_unknown_reads, 1);
	return false;
}

static bool lapic_write(struct vcpu *v, uint32_t msr, uint64_t val)
{
	if (!lapic_msr_write(v->lapic, msr, val))
		return false;
	if (msr == MSR_X2APIC_TPR)
		hv->set_tpr(v, (uint8_t)val);
	vcpu_request_self(v, VCPU_REQ_EVENT); /* EOI, TPR, self-IPI: something may have become deliverable */
	return true;
}

bool msr_write(struct vcpu *v, uint32_t msr, uint64_t val)
{
	int mtrr;

	if (lapic_msr(msr))
		return lapic_write(v, msr, val);
	switch (msr) {
	case MSR_EFER: return efer_write(v, val);
	case MSR_TSC: tsc_move(v, (int64_t)(val - vcpu_guest_tsc(v))); return true;
	case MSR_TSC_ADJUST: tsc_move(v, (int64_t)(val - ((uint64_t)v->tsc_offset - (uint64_t)v->vm->tsc_offset))); return true;
	case MSR_TSC_AUX:
		if (val >> 32)
			return false;
		v->tsc_aux = val;
		return hv->set_msr(v, msr, val);
	case MSR_PAT:
		if (!types_valid(val, true))
			return false;
		v->pat = val;
		return hv->set_msr(v, msr, val);
	case MSR_BIOS_SIGN: return true;
	case MSR_MTRRCAP: case MSR_MCG_CAP: return false; /* read only */
	case MSR_MISC_ENABLE: v->misc_enable = val & MISC_ENABLE_RESET; return true;
	case MSR_MCG_STATUS: return val == 0;
	case MSR_XSS: return val == 0; /* no supervisor component is shown */
	case MSR_LSTAR: case MSR_CSTAR: case MSR_SYSENTER_ESP: case MSR_SYSENTER_EIP: case MSR_FS_BASE: case MSR_FS_BASE + 1: case MSR_KERNEL_GS:
		if (!canonical(v, val))
			return false;
		break;
	}
	mtrr = mtrr_index(msr);
	if (mtrr >= 0)
		return mtrr_write(v, mtrr, val);
	if (hv->set_msr(v, msr, val))
		return true;
	counter_add(msr_unknown_writes, 1);
	return false;
}

/* INIT keeps the TSC, MTRRs, PAT and machine-check state (SDM 3, table 10-1). */
void msr_reset(struct vcpu *v, bool init)
{
	if (init)
		return;
	v->tsc_aux = v->xss = 0;
	v->xcr0 = 1;
	v->pat = PAT_RESET;
	hv->set_msr(v, MSR_PAT, v->pat);
	v->misc_enable = MISC_ENABLE_RESET;
	memset(v->mtrr, 0, sizeof(v->mtrr));
	memset(v->dr, 0, sizeof(v->dr));
}

void msr_save(struct vcpu *v, struct state_out *o)
{
	state_begin(o, STATE_MSR, 1, (uint16_t)v->index);
	state_put_u64(o, v->tsc_aux);
	state_put_u64(o, v->xcr0);
	state_put_u64(o, v->xss);
	state_put_u64(o, v->pat);
	state_put_u64(o, v->misc_enable);
	state_put(o, v->mtrr, sizeof(v->mtrr));
	state_put(o, v->dr, sizeof(v->dr));
	state_end(o);
}

int msr_load(struct vcpu *v, struct state_in *in)
{
	uint64_t aux, xcr0, xss, pat, misc, mtrr[ARRAY_SIZE(v->mtrr)], dr[ARRAY_SIZE(v->dr)];

	if (in->tag != STATE_MSR || in->version > 1)
		return -EINVAL;
	aux = state_get_u64(in);
	xcr0 = state_get_u64(in);
	xss = state_get_u64(in);
	pat = state_get_u64(in);
	misc = state_get_u64(in);
	state_get(in, mtrr, sizeof(mtrr));
	state_get(in, dr, sizeof(dr));
	if (in->bad || aux >> 32 || !xcr0_valid(v, xcr0) || xss || !types_valid(pat, true))
		return -EINVAL;
	for (unsigned i = 0; i < MTRR_FIXED; i++)
		if (!mtrr_write(v, (int)i, mtrr[i]))
			return -EINVAL;
	memcpy(v->mtrr, mtrr, sizeof(mtrr));
	memcpy(v->dr, dr, sizeof(dr));
	v->tsc_aux = aux;
	v->xcr0 = xcr0;
	v->xss = xss;
	v->pat = pat;
	v->misc_enable = misc;
	hv->set_msr(v, MSR_PAT, pat);
	return 0;
}
