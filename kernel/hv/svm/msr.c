/* SPDX-License-Identifier: Apache-2.0 */
/*
 * MSRs that the VMCB holds (most of them pass through without an exit), and AMD's own model-specific ones. Values were checked
 * by hv/msr.c where they are architectural; AMD's own are checked here. False: no such MSR, or a value it refuses.
 */
#include "hv/svm/svm_priv.h"

enum {
	MSR_SYSENTER_CS = 0x174, MSR_SYSENTER_ESP, MSR_SYSENTER_EIP, MSR_DEBUGCTL = 0x1d9, MSR_PAT = 0x277, MSR_BR_FROM = 0x1db, MSR_LAST_TO = 0x1de
};
#define MSR_STAR 0xc0000081u
#define MSR_LSTAR 0xc0000082u
#define MSR_CSTAR 0xc0000083u
#define MSR_SFMASK 0xc0000084u
#define MSR_FS_BASE 0xc0000100u
#define MSR_GS_BASE 0xc0000101u
#define MSR_TSC_AUX 0xc0000103u
#define MSR_KERNEL_GS 0xc0000102u
#define MSR_PERF_EVT0 0xc0010000u
#define MSR_PERF_CTR3 0xc0010007u
#define MSR_SYSCFG 0xc0010010u
#define MSR_HWCR 0xc0010015u
#define MSR_IORR_FIRST 0xc0010016u
#define MSR_TOP_MEM 0xc001001au
#define MSR_TOP_MEM2 0xc001001du
#define MSR_NB_CFG 0xc001001fu
#define MSR_INT_PENDING 0xc0010055u
#define MSR_PSTATE_LIMIT 0xc0010061u
#define MSR_PSTATE_CTL 0xc0010062u
#define MSR_PSTATE_STATUS 0xc0010063u
#define MSR_PSTATE0 0xc0010064u
#define MSR_COFVID_STATUS 0xc0010071u
#define MSR_PATCH_LOADER 0xc0010020u
#define MSR_OSVW_LENGTH 0xc0010140u
#define MSR_OSVW_STATUS 0xc0010141u
#define MSR_LS_CFG 0xc0011020u
#define MSR_DC_CFG 0xc0011022u
#define MSR_DE_CFG 0xc0011029u
#define MSR_BU_CFG2 0xc001102au
#define HWCR_TSC_FREQ BIT(24) /* the TSC counts at P0 frequency: Linux complains without it */

void svm_msr_permit(uint8_t *map, uint32_t msr, bool write)
{
	uint32_t index = msr < 0x2000 ? msr : msr - 0xc0000000u + 0x2000; /* ranges 0 and c0000000, two bits each (APM 15.11) */

	map[index / 4] &= (uint8_t)~((write ? 3u : 1u) << index % 4 * 2);
}

static uint64_t *msr_field(struct svm_vcpu *s, uint32_t msr)
{
	struct vmcb *m = s->vmcb;

	switch (msr) {
	case MSR_PAT: return &m->s.g_pat;
	case MSR_STAR: return &m->s.star;
	case MSR_LSTAR: return &m->s.lstar;
	case MSR_CSTAR: return &m->s.cstar;
	case MSR_SFMASK: return &m->s.sfmask;
	case MSR_FS_BASE: return &m->s.fs.base;
	case MSR_GS_BASE: return &m->s.gs.base;
	case MSR_KERNEL_GS: return &m->s.kernel_gs_base;
	case MSR_SYSENTER_CS: return &m->s.sysenter_cs;
	case MSR_SYSENTER_ESP: return &m->s.sysenter_esp;
	case MSR_SYSENTER_EIP: return &m->s.sysenter_eip;
	case MSR_HWCR: return &s->hwcr;
	case MSR_NB_CFG: return &s->nb_cfg;
	case MSR_DE_CFG: return &s->de_cfg;
	case MSR_SYSCFG: return &s->syscfg;
	case MSR_DEBUGCTL: return &s->debugctl;
	}
	return NULL;
}

/* Registers that exist and do nothing in a virtual machine: counters that never count, P-states of which there is one. */
static bool msr_inert(uint32_t msr)
{
	return (msr >= MSR_PERF_EVT0 && msr <= MSR_PERF_CTR3) || (msr >= MSR_IORR_FIRST && msr <= MSR_IORR_FIRST + 3) ||
	       (msr >= MSR_PSTATE_LIMIT && msr <= MSR_PSTATE0) || msr == MSR_COFVID_STATUS || msr == MSR_INT_PENDING || msr == MSR_TOP_MEM || msr == MSR_TOP_MEM2 ||
	       msr == MSR_OSVW_LENGTH || msr == MSR_OSVW_STATUS || msr == MSR_LS_CFG || msr == MSR_DC_CFG || msr == MSR_BU_CFG2 ||
	       (msr >= MSR_BR_FROM && msr <= MSR_LAST_TO);
}

bool svm_get_msr(struct vcpu *v, uint32_t msr, uint64_t *val)
{
	const uint64_t *f = msr_field(svm_of(v), msr);

	if (f)
		*val = *f;
	else if (msr == MSR_VM_CR)
		*val = VM_CR_SVMDIS; /* virtualization is switched off by this machine's firmware */
	else if (msr_inert(msr))
		*val = 0;
	else
		return false;
	return true;
}

bool svm_set_msr(struct vcpu *v, uint32_t msr, uint64_t val)
{
	struct svm_vcpu *s = svm_of(v);
	uint64_t *f = msr_field(s, msr);

	if (msr == MSR_TSC_AUX) {
		s->unready = true; /* v->tsc_aux holds it */
		return true;
	}
	if (msr == MSR_HWCR)
		val |= HWCR_TSC_FREQ;
	else if (msr == MSR_DEBUGCTL && val & ~0x3full)
		return false;
	if (f) {
		*f = val;
		svm_dirty(s, CLEAN_NESTED); /* for PAT */
		return true;
	}
	return msr_inert(msr) || (msr == MSR_VM_CR && val == VM_CR_SVMDIS) || msr == MSR_PATCH_LOADER;
}

void svm_msr_reset(struct vcpu *v)
{
	struct svm_vcpu *s = svm_of(v);
	struct vmcb *m = s->vmcb;

	m->s.star = m->s.lstar = m->s.cstar = m->s.sfmask = m->s.kernel_gs_base = 0;
	m->s.sysenter_cs = m->s.sysenter_esp = m->s.sysenter_eip = 0;
	s->hwcr = HWCR_TSC_FREQ;
	s->nb_cfg = s->de_cfg = s->syscfg = s->debugctl = 0;
}
