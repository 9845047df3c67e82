/* SPDX-License-Identifier: Apache-2.0 */
/* Guest registers that stand in the VMCB: control and debug registers, segments. Each write clears its group's clean bit. */
#include "hv/svm/svm_priv.h"

#define CR0_NE BIT(5)
#define CR0_ET BIT(4)
#define CR8_BIT BIT(8)
#define CR0_BIT BIT(0)

/*
 * The hardware's CR0.NE is always set: with it clear, an x87 error would raise the host's FERR# line (and ends QEMU on an
 * assertion). The guest sees its own NE; while that is clear, its reads and writes of CR0 exit and #MF becomes IRQ 13.
 */
static void set_cr0(struct svm_vcpu *s, uint64_t val)
{
	struct vmcb *m = s->vmcb;

	s->guest_ne = val & CR0_NE;
	m->s.cr0 = val | CR0_NE | CR0_ET;
	if (s->guest_ne) {
		m->c.cr_read &= (uint16_t)~CR0_BIT;
		m->c.cr_write &= (uint16_t)~CR0_BIT;
		m->c.exceptions &= ~(uint32_t)BIT(16);
	} else {
		m->c.cr_read |= CR0_BIT;
		m->c.cr_write |= CR0_BIT;
		m->c.exceptions |= BIT(16);
	}
	svm_dirty(s, CLEAN_CR | CLEAN_INTERCEPTS);
}

uint64_t svm_get_cr(struct vcpu *v, enum hv_cr r)
{
	struct svm_vcpu *s = svm_of(v);
	struct vmcb *m = s->vmcb;

	switch (r) {
	case HV_CR0: return (m->s.cr0 & ~CR0_NE) | s->guest_ne;
	case HV_CR2: return m->s.cr2;
	case HV_CR3: return m->s.cr3;
	case HV_CR4: return m->s.cr4;
	case HV_EFER: return m->s.efer & ~EFER_SVME;
	case HV_DR6: return m->s.dr6;
	case HV_DR7: return m->s.dr7;
	case HV_CRS: break;
	}
	return 0;
}

void svm_set_cr(struct vcpu *v, enum hv_cr r, uint64_t val)
{
	struct svm_vcpu *s = svm_of(v);
	struct vmcb *m = s->vmcb;

	switch (r) {
	case HV_CR0: set_cr0(s, val); break;
	case HV_CR2: m->s.cr2 = val; svm_dirty(s, CLEAN_CR2); return;
	case HV_CR3: m->s.cr3 = val; svm_dirty(s, CLEAN_CR); break;
	case HV_CR4: m->s.cr4 = val; svm_dirty(s, CLEAN_CR); break;
	case HV_EFER: m->s.efer = val | EFER_SVME; svm_dirty(s, CLEAN_CR); break;
	case HV_DR6: m->s.dr6 = val; svm_dirty(s, CLEAN_DR); return;
	case HV_DR7:
		m->s.dr7 = val;
		s->breakpoints = val & 0xff;
		s->unready = true;
		svm_dirty(s, CLEAN_DR);
		return;
	case HV_CRS: return;
	}
	svm_asid_flush(v); /* as the instruction would */
}

static struct vmcb_seg *seg_of(struct vmcb *m, enum hv_seg r)
{
	switch (r) {
	case HV_ES: return &m->s.es;
	case HV_CS: return &m->s.cs;
	case HV_SS: return &m->s.ss;
	case HV_DS: return &m->s.ds;
	case HV_FS: return &m->s.fs;
	case HV_GS: return &m->s.gs;
	case HV_LDTR: return &m->s.ldtr;
	case HV_TR: return &m->s.tr;
	case HV_GDTR: return &m->s.gdtr;
	case HV_IDTR: return &m->s.idtr;
	}
	return &m->s.ds;
}

void svm_get_seg(struct vcpu *v, enum hv_seg r, struct vmm_segment *out)
{
	const struct vmcb_seg *g = seg_of(svm_of(v)->vmcb, r);

	*out = (struct vmm_segment){ g->base, g->limit, g->selector, g->attr };
	if (r == HV_SS) /* SYSRET leaves SS.DPL as it was; the CPL stands apart */
		out->attr = (uint16_t)((out->attr & ~0x60u) | (svm_of(v)->vmcb->s.cpl & 3u) << 5);
}

void svm_get_paging(struct vcpu *v, struct hv_paging *out)
{
	const struct vmcb *m = svm_of(v)->vmcb;

	out->cr0 = m->s.cr0;
	out->cr3 = m->s.cr3;
	out->cr4 = m->s.cr4;
	out->efer = m->s.efer;
	out->cs_base = m->s.cs.base;
	out->cs_attr = m->s.cs.attr;
}

void svm_set_seg(struct vcpu *v, enum hv_seg r, const struct vmm_segment *in)
{
	struct svm_vcpu *s = svm_of(v);

	*seg_of(s->vmcb, r) = (struct vmcb_seg){ in->selector, in->attr & 0xfff, in->limit, in->base };
	if (r == HV_SS)
		s->vmcb->s.cpl = in->attr >> 5 & 3;
	svm_dirty(s, CLEAN_SEG | CLEAN_TABLES);
}

/* CR8 is V_TPR. Lowering it can make an interrupt deliverable, so writes exit while it is above 0; on emulators always, since those
 * take reserved bits there. */
void svm_set_tpr(struct vcpu *v, uint8_t tpr)
{
	struct svm_vcpu *s = svm_of(v);
	struct vmcb *m = s->vmcb;

	s->tpr = tpr >> 4;
	m->c.int_ctl = (uint32_t)((m->c.int_ctl & ~INT_TPR) | s->tpr);
	if (s->tpr || !svm_features.nrip)
		m->c.cr_write |= CR8_BIT;
	else
		m->c.cr_write &= (uint16_t)~CR8_BIT;
	svm_dirty(s, CLEAN_INT | CLEAN_INTERCEPTS);
}
