/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Into the guest and out again. svm_run() is most of every exit's cost: it moves rax, rsp, rip and rflags between struct vcpu
 * and the VMCB, enters, and translates the exit. Whatever is rarely needed (flush, new ASID, debug registers, host state of
 * another world) hides behind three comparisons.
 */
#include "hv/svm/svm_priv.h"

#define MSR_TSC_AUX 0xc0000103u

PERCPU(struct svm_cpu, svm_cpu_data);

/* What only some entries need. */
static void svm_prepare_entry(struct vcpu *v, struct svm_vcpu *s, struct svm_cpu *cpu)
{
	if (cpu->host_of != s->load_id) {
		__asm__ volatile("vmsave %%rax" : : "a"(cpu->host_pa) : "memory");
		cpu->host_of = s->load_id;
	}
	if (s->asid_generation != cpu->generation)
		svm_asid_renew(v, cpu);
	if (svm_features.tsc_aux && cpu->tsc_aux != v->tsc_aux) {
		wrmsr(MSR_TSC_AUX, v->tsc_aux);
		cpu->tsc_aux = v->tsc_aux;
	}
	cpu->ready_for = s->load_id;
	s->unready = s->breakpoints;
	if (s->breakpoints)
		__asm__ volatile("mov %0, %%dr0; mov %1, %%dr1; mov %2, %%dr2; mov %3, %%dr3"
				 : : "r"(v->dr[0]), "r"(v->dr[1]), "r"(v->dr[2]), "r"(v->dr[3]));
}

#ifdef CONFIG_DEBUG
/* What TCG forgives and silicon does not (docs/svm.md). */
static void svm_check_entry(struct vcpu *v, struct svm_vcpu *s, struct svm_cpu *cpu)
{
	const struct vmcb *m = s->vmcb;
	const char *bad = svm_check_clean(m, s->shadow);

	if (!bad)
		bad = svm_check_generation(cpu->flushed[m->c.asid], v->entered_generation, m->c.tlb_control);
	if (bad)
		panic("svm: VM %u vCPU %u: %s", v->vm->id, v->index, bad);
	if (m->c.tlb_control != TLB_KEEP)
		cpu->flushed[m->c.asid] = v->entered_generation;
	bad = svm_check_state(m, cpuid_guest_phys_bits(v->vm), 57);
	if (bad) /* ring 3 or emulation made it; the processor will refuse it too */
		log_debug("svm: VM %u vCPU %u: %s", v->vm->id, v->index, bad);
}
#endif

/*
 * QEMU calls a guest's MOV to CR3 or CR4 with reserved bits an invalid state, where the processor raises #GP. Told apart from a
 * refused entry: the state is good, and no event was on its way in.
 */
static void svm_exit_invalid(struct vcpu *v, const struct vmcb *m)
{
	if (m->c.exit_int_info & EVENT_VALID || svm_check_state(m, cpuid_guest_phys_bits(v->vm), 57))
		return;
	v->exit.kind = HV_EXIT_EXCEPTION;
	v->exit.vector = 13;
	v->exit.has_error = 1;
	v->exit.error_code = 0;
}

/* Exits that are the backend's own business: true when the guest may simply go on. */
static bool svm_exit_own(struct vcpu *v, uint64_t code)
{
	if (code == SVM_VINTR) {
		svm_irq_window(v, false);
	} else if (code == SVM_IRET) {
		svm_nmi_iret(v);
	} else if (code == SVM_EXCEPTION + 18) {
		__asm__ volatile("int $18"); /* the host's machine check: its handler decides */
		return true;
	}
	return false;
}

/* Rare work after an exit: events whose delivery it cut short, NMI stepping, a task priority that the guest changed. */
static void svm_after_exit(struct vcpu *v, struct svm_vcpu *s)
{
	uint8_t tpr = s->vmcb->c.int_ctl & 0xf;

	svm_event_collect(v);
	if (tpr != s->tpr) {
		lapic_set_tpr(v->lapic, (uint8_t)(tpr << 4));
		svm_set_tpr(v, (uint8_t)(tpr << 4));
	}
}

void svm_run(struct vcpu *v)
{
	struct svm_vcpu *s = svm_of(v);
	struct svm_cpu *cpu = &this_cpu(svm_cpu_data);
	struct vmcb *m = s->vmcb;

	m->s.rax = v->gpr[0];
	m->s.rsp = v->gpr[4];
	m->s.rip = v->rip;
	m->s.rflags = v->rflags;
	if (unlikely(cpu->ready_for != s->load_id || s->unready)) /* another vCPU was here, or something changed */
		svm_prepare_entry(v, s, cpu);
#ifdef CONFIG_DEBUG
	svm_check_entry(v, s, cpu);
#endif
	svm_enter(v, s->vmcb_pa, cpu->host_pa);
	/* Interrupts were open at STGI: the world may have moved to another CPU, so `cpu` is stale. */
	v->gpr[0] = m->s.rax;
	v->gpr[4] = m->s.rsp;
	v->rip = m->s.rip;
	v->rflags = m->s.rflags;
	m->c.tlb_control = TLB_KEEP;
	m->c.event_inj = 0;
	m->c.clean = svm_features.clean_mask;
#ifdef CONFIG_DEBUG
	*s->shadow = *m;
#endif
	svm_exit_translate(m, &svm_features, &v->exit);
	if (unlikely((m->c.exit_int_info & EVENT_VALID) | s->watch | ((m->c.int_ctl ^ s->tpr) & 0xf)))
		svm_after_exit(v, s);
	if (unlikely(s->stepping) && svm_nmi_stepped(v, m->c.exit_code == SVM_EXCEPTION + 1))
		v->exit.kind = HV_EXIT_HOST_EVENT;
	if (unlikely(v->exit.kind == HV_EXIT_HOST_EVENT || v->exit.kind == HV_EXIT_EXCEPTION || v->exit.kind == HV_EXIT_IRQ_WINDOW) &&
	    svm_exit_own(v, m->c.exit_code))
		v->exit.kind = HV_EXIT_HOST_EVENT;
	if (unlikely(v->exit.kind == HV_EXIT_INVALID))
		svm_exit_invalid(v, m);
}
