/* SPDX-License-Identifier: Apache-2.0 */
/* A vCPU's registers as ring 3 reads and sets them. What the hardware would refuse at entry is refused here, before anything changes. */
#include "hv/hv_priv.h"

#define CR0_PE BIT(0)
#define CR0_ET BIT(4)
#define CR0_NW BIT(29)
#define CR0_CD BIT(30)
#define CR0_PG BIT(31)
#define CR0_GUEST (0xe005003full) /* PE MP EM TS ET NE WP AM NW CD PG */
#define CR4_PAE BIT(5)
#define CR4_LA57 BIT(12)
#define CR4_PCIDE BIT(17)
#define EFER_LME BIT(8)
#define EFER_LMA BIT(10)
#define RFLAGS_GUEST 0x3f7fd7ull
#define RFLAGS_VM BIT(17)
#define ATTR_L BIT(9)
#define ATTR_DB BIT(10)

static struct vmm_segment *segment_of(struct vmm_regs *r, enum hv_seg s)
{
	struct vmm_segment *const all[] = { &r->es, &r->cs, &r->ss, &r->ds, &r->fs, &r->gs, &r->ldtr, &r->tr, &r->gdtr, &r->idtr };

	return all[s];
}

int vcpu_get_regs(struct vcpu *v, struct vmm_regs *r)
{
	memset(r, 0, sizeof(*r));
	memcpy(r->gpr, v->gpr, sizeof(r->gpr));
	r->rip = v->rip;
	r->rflags = v->rflags;
	r->cr0 = hv->get_cr(v, HV_CR0);
	r->cr2 = hv->get_cr(v, HV_CR2);
	r->cr3 = hv->get_cr(v, HV_CR3);
	r->cr4 = hv->get_cr(v, HV_CR4);
	r->efer = hv->get_cr(v, HV_EFER);
	r->dr6 = hv->get_cr(v, HV_DR6);
	r->dr7 = hv->get_cr(v, HV_DR7);
	for (unsigned s = HV_ES; s <= HV_IDTR; s++)
		hv->get_seg(v, (enum hv_seg)s, segment_of(r, (enum hv_seg)s));
	return 0;
}

static bool canonical(uint64_t a, unsigned bits) { return (uint64_t)((int64_t)(a << (64 - bits)) >> (64 - bits)) == a; }

static bool control_legal(const struct vm *vm, const struct vmm_regs *r, bool long_mode)
{
	if ((r->cr0 & ~CR0_GUEST) || ((r->cr0 & CR0_PG) && !(r->cr0 & CR0_PE)) || ((r->cr0 & CR0_NW) && !(r->cr0 & CR0_CD)))
		return false;
	if ((r->cr4 & ~cpuid_guest_cr4_mask(vm)) || (r->efer & ~(cpuid_guest_efer_mask(vm) | EFER_LMA)))
		return false;
	if (long_mode && !(r->cr4 & CR4_PAE))
		return false;
	if ((r->cr4 & CR4_PCIDE) && !long_mode)
		return false;
	if (r->cr3 >> (long_mode ? cpuid_guest_phys_bits(vm) : 32))
		return false;
	return !(r->dr6 >> 32) && !(r->dr7 >> 32);
}

static bool segments_legal(const struct vmm_regs *r, bool long_mode)
{
	const struct vmm_segment *based[] = { &r->fs, &r->gs, &r->ldtr, &r->tr, &r->gdtr, &r->idtr };
	const struct vmm_segment *flat[] = { &r->es, &r->cs, &r->ss, &r->ds };
	unsigned bits = r->cr4 & CR4_LA57 ? 57 : 48;

	for (unsigned i = 0; i < ARRAY_SIZE(based); i++)
		if (!canonical(based[i]->base, bits) || based[i]->attr >> 12)
			return false;
	for (unsigned i = 0; i < ARRAY_SIZE(flat); i++)
		if (flat[i]->base >> 32 || flat[i]->attr >> 12)
			return false;
	if (r->gdtr.limit > 0xffff || r->idtr.limit > 0xffff)
		return false;
	if (long_mode && (r->cs.attr & ATTR_L))
		return !(r->cs.attr & ATTR_DB) && canonical(r->rip, bits);
	return !(r->rip >> 32);
}

int vcpu_set_regs(struct vcpu *v, const struct vmm_regs *in)
{
	struct vmm_regs r = *in;
	bool long_mode = (r.efer & EFER_LME) && (r.cr0 & CR0_PG);

	if ((r.rflags & ~RFLAGS_GUEST) || (long_mode && (r.rflags & RFLAGS_VM)))
		return -EINVAL;
	if (!control_legal(v->vm, &r, long_mode) || !segments_legal(&r, long_mode))
		return -EINVAL;
	memcpy(v->gpr, r.gpr, sizeof(v->gpr));
	v->rip = r.rip;
	v->rflags = r.rflags | 2;
	hv->set_cr(v, HV_EFER, (r.efer & ~EFER_LMA) | (long_mode ? EFER_LMA : 0));
	hv->set_cr(v, HV_CR0, r.cr0 | CR0_ET);
	hv->set_cr(v, HV_CR2, r.cr2);
	hv->set_cr(v, HV_CR3, r.cr3);
	hv->set_cr(v, HV_CR4, r.cr4);
	hv->set_cr(v, HV_DR6, r.dr6);
	hv->set_cr(v, HV_DR7, r.dr7);
	for (unsigned s = HV_ES; s <= HV_IDTR; s++)
		hv->set_seg(v, (enum hv_seg)s, segment_of(&r, (enum hv_seg)s));
	return 0;
}
