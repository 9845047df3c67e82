/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The backend's part of a saved vCPU: one record that begins with the vendor's name, so that another vendor's host refuses it
 * in so many words instead of misreading it. Values are the guest's own (no SVME, no forced NE), and are checked like any foreign input.
 */
#include "hv/svm/svm_priv.h"

#define SVM_VENDOR STATE_TAG('S', 'V', 'M', ' ')
#define SVM_STATE_VERSION 1

static const enum hv_cr saved_crs[] = { HV_CR0, HV_CR2, HV_CR3, HV_CR4, HV_EFER, HV_DR6, HV_DR7 };
#define SEGMENTS (HV_IDTR + 1)

static unsigned saved_msrs(struct vcpu *v, uint64_t *field[16])
{
	struct svm_vcpu *s = svm_of(v);
	struct vmcb_save *m = &s->vmcb->s;
	uint64_t *all[] = { &m->star, &m->lstar, &m->cstar, &m->sfmask, &m->kernel_gs_base, &m->sysenter_cs, &m->sysenter_esp,
			    &m->sysenter_eip, &s->hwcr, &s->nb_cfg, &s->de_cfg, &s->syscfg, &s->debugctl };

	memcpy(field, all, sizeof(all));
	return ARRAY_SIZE(all);
}

void svm_save(struct vcpu *v, struct state_out *o)
{
	struct svm_vcpu *s = svm_of(v);
	struct vmm_segment g;
	uint64_t *msr[16];
	unsigned n = saved_msrs(v, msr);

	state_begin(o, STATE_HW, SVM_STATE_VERSION, (uint16_t)v->index);
	state_put_u32(o, SVM_VENDOR);
	for (unsigned i = 0; i < ARRAY_SIZE(saved_crs); i++)
		state_put_u64(o, svm_get_cr(v, saved_crs[i]));
	for (unsigned i = 0; i < SEGMENTS; i++) {
		svm_get_seg(v, (enum hv_seg)i, &g);
		state_put(o, &g, sizeof(g));
	}
	for (unsigned i = 0; i < n; i++)
		state_put_u64(o, *msr[i]);
	state_put_u8(o, s->vmcb->s.cpl);
	state_put_u8(o, (uint8_t)(s->vmcb->c.int_state & STATE_SHADOW));
	state_put_u8(o, (uint8_t)(s->nmi == NMI_STEPPING ? NMI_LEAVING : s->nmi));
	state_put_u8(o, s->tpr);
	state_put_u64(o, s->nmi_iret_rip);
	state_end(o);
}

int svm_load(struct vcpu *v, struct state_in *in)
{
	struct svm_vcpu *s = svm_of(v);
	uint64_t cr[ARRAY_SIZE(saved_crs)], val[16], iret_rip, *msr[16];
	struct vmm_segment g[SEGMENTS];
	unsigned n = saved_msrs(v, msr);
	uint8_t cpl, shadow, nmi, tpr;

	if (in->tag != STATE_HW || state_get_u32(in) != SVM_VENDOR) {
		log_error("hv: a saved vCPU's registers are another vendor's; this host has %s", hv->name);
		return -EINVAL;
	}
	if (in->version != SVM_STATE_VERSION)
		return -EINVAL;
	for (unsigned i = 0; i < ARRAY_SIZE(cr); i++)
		cr[i] = state_get_u64(in);
	state_get(in, g, sizeof(g));
	for (unsigned i = 0; i < n; i++)
		val[i] = state_get_u64(in);
	cpl = state_get_u8(in);
	shadow = state_get_u8(in);
	nmi = state_get_u8(in);
	tpr = state_get_u8(in);
	iret_rip = state_get_u64(in);
	if (in->bad || cpl > 3 || shadow > 1 || nmi > NMI_LEAVING || tpr > 15 || (cr[0] | cr[3] | cr[5] | cr[6]) >> 32 ||
	    cr[3] & ~cpuid_guest_cr4_mask(v->vm) || cr[4] & ~cpuid_guest_efer_mask(v->vm))
		return -EINVAL;
	for (unsigned i = 0; i < ARRAY_SIZE(cr); i++)
		svm_set_cr(v, saved_crs[i], cr[i]);
	for (unsigned i = 0; i < SEGMENTS; i++)
		svm_set_seg(v, (enum hv_seg)i, &g[i]);
	for (unsigned i = 0; i < n; i++)
		*msr[i] = val[i];
	s->vmcb->s.cpl = cpl;
	s->vmcb->c.int_state = shadow;
	s->nmi_iret_rip = iret_rip;
	svm_nmi_set(v, (enum svm_nmi)nmi);
	svm_set_tpr(v, (uint8_t)(tpr << 4));
	s->vmcb->c.clean = 0;
	return 0;
}

size_t svm_describe(struct vcpu *v, char *buf, size_t size)
{
	const struct vmcb *m = svm_of(v)->vmcb;
	const char *bad = v->exit.kind == HV_EXIT_INVALID ? svm_check_state(m, cpuid_guest_phys_bits(v->vm), 57) : NULL;
	int n = snprintf(buf, size, "SVM exit %#llx info1 %#llx info2 %#llx int_info %#llx int_ctl %#x int_state %#llx asid %u%s%s",
			 (unsigned long long)m->c.exit_code, (unsigned long long)m->c.info1, (unsigned long long)m->c.info2,
			 (unsigned long long)m->c.exit_int_info, m->c.int_ctl, (unsigned long long)m->c.int_state, m->c.asid,
			 bad ? ": " : "", bad ? bad : "");

	return n < 0 ? 0 : (size_t)n;
}
