/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Address-space ids. Each CPU hands them out in rising order; when they run out it starts a new generation, whose first entry
 * flushes everything. A vCPU's id is good while its generation is the CPU's: generations are unique on the machine, so a vCPU
 * that comes back to a CPU after running elsewhere gets a fresh id and no stale translation.
 *
 * Flushing one guest: by ASID where the processor can, else by taking a fresh id.
 */
#include "hv/svm/svm_priv.h"

static void asid_assign(struct svm_vcpu *s, uint32_t asid, uint8_t tlb_control)
{
	s->vmcb->c.asid = asid;
	s->vmcb->c.tlb_control = tlb_control;
	svm_dirty(s, CLEAN_ASID);
}

void svm_asid_renew(struct vcpu *v, struct svm_cpu *cpu)
{
	struct svm_vcpu *s = svm_of(v);
	uint8_t flush = TLB_KEEP;

	if (cpu->next_asid >= svm_features.asids) {
		cpu->generation += 1 << 8;
		cpu->next_asid = 1;
		flush = TLB_FLUSH_ALL;
	}
	s->asid_generation = cpu->generation;
	cpu->flushed[cpu->next_asid] = v->entered_generation;
	asid_assign(s, cpu->next_asid++, flush);
}

void svm_asid_flush(struct vcpu *v)
{
	struct svm_vcpu *s = svm_of(v);

	if (!svm_features.flush_asid) {
		s->asid_generation = 0;
		s->unready = true;
	} else if (s->vmcb->c.tlb_control == TLB_KEEP) { /* moot when the next entry gives a fresh id */
		s->vmcb->c.tlb_control = TLB_FLUSH_ASID;
	}
}
