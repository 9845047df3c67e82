/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Control and debug registers where the hardware leaves them to us: MOV to and from CR and DR, CLTS, LMSW, SMSW, XSETBV. Every
 * value is checked as the processor checks it, since a bad one in the guest's state would refuse the next entry.
 */
#include "hv/hv_priv.h"

#define CR0_PE BIT(0)
#define CR0_TS BIT(3)
#define CR0_NW BIT(29)
#define CR0_CD BIT(30)
#define CR0_PG BIT(31)
#define CR0_DEFINED (0xfull | BIT(4) | BIT(5) | BIT(16) | BIT(18) | CR0_NW | CR0_CD | CR0_PG)
#define CR4_DE BIT(3)
#define CR4_PAE BIT(5)
#define CR4_LA57 BIT(12)
#define CR4_PCIDE BIT(17)
#define CR4_OSXSAVE BIT(18)
#define EFER_LME BIT(8)
#define EFER_LMA BIT(10)
#define CS_LONG BIT(9)
#define DR7_GD BIT(13)
#define DR6_BD BIT(13)
#define VECTOR_DB 1
#define VECTOR_UD 6
#define VECTOR_GP 13

static bool in_64bit(struct vcpu *v)
{
	struct vmm_segment cs;

	hv->get_seg(v, HV_CS, &cs);
	return hv->get_cr(v, HV_EFER) & EFER_LMA && cs.attr & CS_LONG;
}

/* APM 3.1.1 and 14.6.1: long mode becomes active when paging is switched on with LME set. */
static bool cr0_write(struct vcpu *v, uint64_t val)
{
	uint64_t old = hv->get_cr(v, HV_CR0), efer = hv->get_cr(v, HV_EFER), cr4 = hv->get_cr(v, HV_CR4);
	struct vmm_segment cs;

	if (val >> 32 || (val & CR0_PG && !(val & CR0_PE)) || (val & CR0_NW && !(val & CR0_CD)))
		return false;
	hv->get_seg(v, HV_CS, &cs);
	if (val & CR0_PG && !(old & CR0_PG) && efer & EFER_LME) {
		if (!(cr4 & CR4_PAE) || cs.attr & CS_LONG)
			return false;
		hv->set_cr(v, HV_EFER, efer | EFER_LMA);
	} else if (!(val & CR0_PG) && old & CR0_PG) {
		if (in_64bit(v) || cr4 & CR4_PCIDE)
			return false;
		hv->set_cr(v, HV_EFER, efer & ~EFER_LMA);
	}
	hv->set_cr(v, HV_CR0, (val & CR0_DEFINED) | BIT(4));
	return true;
}

static bool cr4_write(struct vcpu *v, uint64_t val)
{
	uint64_t old = hv->get_cr(v, HV_CR4);
	bool lma = hv->get_cr(v, HV_EFER) & EFER_LMA;

	if (val & ~cpuid_guest_cr4_mask(v->vm) || (lma && (!(val & CR4_PAE) || (val ^ old) & CR4_LA57)))
		return false;
	if (val & ~old & CR4_PCIDE && (!lma || hv->get_cr(v, HV_CR3) & 0xfff))
		return false;
	hv->set_cr(v, HV_CR4, val);
	return true;
}

static bool cr3_write(struct vcpu *v, uint64_t val)
{
	bool lma = hv->get_cr(v, HV_EFER) & EFER_LMA;

	if (hv->get_cr(v, HV_CR4) & CR4_PCIDE)
		val &= ~BIT(63);
	if (lma && val >> cpuid_guest_phys_bits(v->vm))
		return false;
	hv->set_cr(v, HV_CR3, lma ? val : (uint32_t)val);
	return true;
}

static bool cr8_write(struct vcpu *v, uint64_t val)
{
	if (val > 15)
		return false;
	lapic_set_tpr(v->lapic, (uint8_t)(val << 4));
	hv->set_tpr(v, (uint8_t)(val << 4));
	vcpu_request_self(v, VCPU_REQ_EVENT);
	return true;
}

bool cr_write(struct vcpu *v, unsigned cr, uint64_t val)
{
	switch (cr) {
	case 0: return cr0_write(v, val);
	case 2: hv->set_cr(v, HV_CR2, val); return true;
	case 3: return cr3_write(v, val);
	case 4: return cr4_write(v, val);
	case 8: return cr8_write(v, val);
	}
	return false;
}

static uint64_t cr_read(struct vcpu *v, unsigned cr)
{
	switch (cr) {
	case 0: return hv->get_cr(v, HV_CR0);
	case 2: return hv->get_cr(v, HV_CR2);
	case 3: return hv->get_cr(v, HV_CR3);
	case 4: return hv->get_cr(v, HV_CR4);
	case 8: return lapic_get_tpr(v->lapic) >> 4;
	}
	return 0;
}

/* The few instructions that come here, register operands only. */
enum cr_op { CR_NONE, CR_MOV, CR_CLTS, CR_SMSW, CR_LMSW };
struct cr_insn { enum cr_op op; uint8_t gpr, len, op_size; };

static struct cr_insn cr_decode(struct vcpu *v)
{
	struct cr_insn d = { CR_NONE, 0, 0, 4 };
	uint8_t b[15], rex = 0;
	unsigned n = emul_fetch(v, b, sizeof(b)), i = 0;
	bool long_mode = in_64bit(v);

	while (i < n && (b[i] == 0x66 || b[i] == 0x67 || b[i] == 0xf0 || b[i] == 0xf2 || b[i] == 0xf3 || (b[i] & 0xe7) == 0x26 || (b[i] & 0xfe) == 0x64))
		if (b[i++] == 0x66)
			d.op_size = 2;
	if (i < n && long_mode && (b[i] & 0xf0) == 0x40)
		rex = b[i++];
	if (n < i + 2 || b[i] != 0x0f)
		return d;
	if (b[i + 1] == 0x06) {
		d.op = CR_CLTS;
		d.len = (uint8_t)(i + 2);
		return d;
	}
	if (n < i + 3)
		return d;
	d.gpr = (b[i + 2] & 7) | (rex & 1) << 3;
	d.len = (uint8_t)(i + 3);
	if (b[i + 1] >= 0x20 && b[i + 1] <= 0x23)
		d.op = CR_MOV;
	else if (b[i + 1] == 0x01 && b[i + 2] >= 0xc0 && (b[i + 2] & 0x28) == 0x20)
		d.op = b[i + 2] & 0x10 ? CR_LMSW : CR_SMSW;
	if (rex & 8)
		d.op_size = 8;
	return d;
}

static bool cr_perform(struct vcpu *v, const struct cr_insn *d)
{
	const struct hv_exit *e = &v->exit;
	uint64_t cr0 = hv->get_cr(v, HV_CR0), src = v->gpr[d->gpr];

	switch (d->op) {
	case CR_MOV:
		if (e->cr.write)
			return cr_write(v, e->cr.cr, in_64bit(v) ? src : (uint32_t)src);
		v->gpr[d->gpr] = cr_read(v, e->cr.cr);
		return true;
	case CR_CLTS: return cr0_write(v, cr0 & ~CR0_TS);
	case CR_LMSW: return cr0_write(v, (cr0 & ~0xeull) | (src & 0xf)); /* cannot clear PE */
	case CR_SMSW:
		v->gpr[d->gpr] = d->op_size == 2 ? (src & ~0xffffull) | (cr0 & 0xffff) : d->op_size == 4 ? (uint32_t)cr0 : cr0;
		return true;
	case CR_NONE: break;
	}
	return false;
}

static uint64_t dr_read(struct vcpu *v, unsigned dr)
{
	if (dr < 4)
		return v->dr[dr];
	return hv->get_cr(v, dr & 1 ? HV_DR7 : HV_DR6);
}

static bool dr_write(struct vcpu *v, unsigned dr, uint64_t val)
{
	if (dr < 4) {
		v->dr[dr] = val;
		return true;
	}
	if (val >> 32)
		return false;
	if (dr & 1)
		hv->set_cr(v, HV_DR7, (val & 0xffff2fff) | 0x400);
	else
		hv->set_cr(v, HV_DR6, (val & 0xe00f) | 0xffff0ff0);
	return true;
}

static enum exit_action dr_access(struct vcpu *v, struct cr_insn *d)
{
	unsigned dr = v->exit.cr.cr;

	if ((dr == 4 || dr == 5) && hv->get_cr(v, HV_CR4) & CR4_DE) {
		vcpu_raise(v, VECTOR_UD);
	} else if (hv->get_cr(v, HV_DR7) & DR7_GD) {
		hv->set_cr(v, HV_DR7, hv->get_cr(v, HV_DR7) & ~DR7_GD);
		hv->set_cr(v, HV_DR6, hv->get_cr(v, HV_DR6) | DR6_BD);
		vcpu_raise(v, VECTOR_DB);
	} else if (!v->exit.cr.write) {
		v->gpr[d->gpr] = dr_read(v, dr);
		return exit_skip(v, 3);
	} else if (dr_write(v, dr, in_64bit(v) ? v->gpr[d->gpr] : (uint32_t)v->gpr[d->gpr])) {
		return exit_skip(v, 3);
	} else {
		vcpu_raise_error(v, VECTOR_GP, 0);
	}
	return EXIT_RESUME;
}

enum exit_action exit_cr_access(struct vcpu *v)
{
	struct cr_insn d = { CR_MOV, v->exit.cr.gpr, v->exit.insn_len, 4 };

	if (d.gpr > 15 || !d.len) {
		d = cr_decode(v);
		if (v->exception_valid) /* the fetch faulted */
			return EXIT_RESUME;
		v->exit.insn_len = d.len;
	}
	if (d.op == CR_NONE) {
		vcpu_stop(v, "cannot emulate an access to control register %u", v->exit.cr.cr);
		return EXIT_STOP;
	}
	if (v->exit.kind == HV_EXIT_DR_ACCESS)
		return dr_access(v, &d);
	if (cr_perform(v, &d))
		return exit_skip(v, d.len);
	vcpu_raise_error(v, VECTOR_GP, 0);
	return EXIT_RESUME;
}

/* x87 always, AVX needs SSE, AVX-512's three come together over AVX, MPX' two together (SDM 1, 13.3). */
bool xcr0_valid(struct vcpu *v, uint64_t val)
{
	uint64_t avx512 = val & 0xe0, bnd = val & 0x18;

	if (val & ~cpuid_guest_xcr0_mask(v->vm))
		return val == 1; /* no XSAVE: the reset value */
	if (!(val & 1) || (val & 4 && !(val & 2)) || (avx512 && (avx512 != 0xe0 || !(val & 4))) || (bnd && bnd != 0x18))
		return false;
	return true;
}

enum exit_action exit_xsetbv(struct vcpu *v)
{
	uint64_t val = (uint32_t)v->gpr[0] | v->gpr[2] << 32;

	if (!(hv->get_cr(v, HV_CR4) & CR4_OSXSAVE)) {
		vcpu_raise(v, VECTOR_UD);
		return EXIT_RESUME;
	}
	if ((uint32_t)v->gpr[1] || !cpuid_guest_xcr0_mask(v->vm) || !xcr0_valid(v, val)) {
		vcpu_raise_error(v, VECTOR_GP, 0);
		return EXIT_RESUME;
	}
	v->xcr0 = val;
	vcpu_load_xcr0(v);
	return exit_skip(v, 3);
}
