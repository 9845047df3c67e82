/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What each exit asks for. The common ones are answered here in a few dozen instructions: no lock, no allocation, no search but
 * cpuid's index. What needs decoding goes to emul*.c, what ring 3 answers leaves v->run filled.
 */
#include "hv/hv_priv.h"

#define RFLAGS_TF BIT(8)
#define RFLAGS_RF BIT(16)
#define CR0_NE BIT(5)
#define FERR_IRQ 13
#define APIC_DEFAULT_BASE 0xfee00000ull
#define BACKDOOR_MAGIC 0x564d5868u
enum { VECTOR_UD = 6, VECTOR_GP = 13, VECTOR_MF = 16 };
enum { RAX, RCX, RDX, RBX };

static enum exit_action from_emul(struct vcpu *v, enum emul_result r)
{
	if (likely(r == EMUL_DONE))
		return EXIT_RESUME;
	if (r == EMUL_RING3) {
		v->answer_pending = true;
		return EXIT_TO_RING3;
	}
	return EXIT_STOP;
}

/* The short way past an instruction of known length: no single step, no wrap of a 32-bit RIP. */
static inline bool advance(struct vcpu *v, unsigned len)
{
	uint64_t next = v->rip + len;

	if (unlikely(v->rflags & RFLAGS_TF || (next ^ v->rip) >> 32))
		return false;
	v->rip = next;
	v->rflags &= ~RFLAGS_RF;
	hv->clear_shadow(v);
	return true;
}

enum exit_action exit_skip(struct vcpu *v, unsigned natural)
{
	struct hv_exit *e = &v->exit;

	if (!e->insn_len)
		e->insn_len = (uint8_t)emul_exit_length(v);
	if (likely(e->insn_len && advance(v, e->insn_len)))
		return EXIT_RESUME;
	return from_emul(v, emul_skip(v));
}

static enum exit_action exit_none(struct vcpu *v) { (void)v; return EXIT_RESUME; }

static enum exit_action exit_window(struct vcpu *v)
{
	vcpu_request_self(v, VCPU_REQ_EVENT);
	return EXIT_RESUME;
}

static enum exit_action exit_cpuid(struct vcpu *v)
{
	cpuid_execute(v);
	return exit_skip(v, 2);
}

static enum exit_action exit_rdmsr(struct vcpu *v)
{
	uint64_t val;

	if (!msr_read(v, (uint32_t)v->gpr[RCX], &val)) {
		vcpu_raise_error(v, VECTOR_GP, 0);
		return EXIT_RESUME;
	}
	v->gpr[RAX] = (uint32_t)val;
	v->gpr[RDX] = val >> 32;
	return exit_skip(v, 2);
}

static enum exit_action exit_wrmsr(struct vcpu *v)
{
	if (!msr_write(v, (uint32_t)v->gpr[RCX], (uint32_t)v->gpr[RAX] | v->gpr[RDX] << 32)) {
		vcpu_raise_error(v, VECTOR_GP, 0);
		return EXIT_RESUME;
	}
	return exit_skip(v, 2);
}

static enum exit_action exit_io(struct vcpu *v)
{
	struct hv_exit *e = &v->exit;
	int b;

	if (e->io.size == 1 && !e->io.string && e->insn_len) { /* bytes for ring 0 do not go through emulation */
		b = bus_port_byte(v, e->io.port, e->io.in, (uint8_t)v->gpr[RAX]);
		if (b >= 0) {
			if (e->io.in)
				*(uint8_t *)&v->gpr[RAX] = (uint8_t)b;
			return likely(advance(v, e->insn_len)) ? EXIT_RESUME : from_emul(v, emul_skip(v));
		}
	}
	return from_emul(v, emul_io(v));
}

static enum exit_action exit_nested(struct vcpu *v)
{
	const struct hv_exit *e = &v->exit;
	bool apic = (e->mem.gpa.v & ~PAGE_MASK) == APIC_DEFAULT_BASE; /* no machine has RAM there: not asked for */

	if (!apic && nested_fault(v->vm, e->mem.gpa, e->mem.write, e->mem.exec) == 0)
		return EXIT_RESUME;
	return from_emul(v, emul_mmio(v));
}

static enum exit_action exit_hlt(struct vcpu *v)
{
	enum exit_action a = exit_skip(v, 1);

	if (a != EXIT_RESUME || v->exception_valid)
		return a;
	v->activity = VCPU_HALTED;
	return EXIT_BLOCK;
}

static enum exit_action exit_hypercall(struct vcpu *v)
{
	if ((uint32_t)v->gpr[RAX] == BACKDOOR_MAGIC)
		backdoor_call(v);
	else
		v->gpr[RAX] = 0xffffffff;
	return exit_skip(v, 3);
}

static unsigned cpl_of(struct vcpu *v)
{
	struct vmm_segment ss;

	hv->get_seg(v, HV_SS, &ss);
	return ss.attr >> 5 & 3;
}

/* Intercepted for the backdoor (#GP), for IRQ 13 (#MF) and because their delivery can loop in the processor (#DB, #AC). */
static enum exit_action exit_exception(struct vcpu *v)
{
	const struct hv_exit *e = &v->exit;
	enum emul_result r;

	if (e->vector == VECTOR_GP && !e->error_code && !v->reinject_valid && cpl_of(v) == 3 && emul_backdoor_gp(v, &r))
		return from_emul(v, r);
	if (e->vector == VECTOR_MF && !(hv->get_cr(v, HV_CR0) & CR0_NE))
		irq_set_gsi(v->vm, FERR_IRQ, true);
	else if (e->has_error)
		vcpu_raise_error(v, e->vector, e->error_code);
	else
		vcpu_raise(v, e->vector);
	return EXIT_RESUME;
}

static enum exit_action exit_cache(struct vcpu *v) { return exit_skip(v, 2); }

static enum exit_action exit_pause(struct vcpu *v)
{
	sched_yield();
	return exit_skip(v, 2);
}

static enum exit_action exit_task(struct vcpu *v)
{
	enum emul_result r = emul_task_switch(v);

	if (v->exit.task.reason == 3)
		v->reinject_valid = false; /* the switch was its delivery */
	return from_emul(v, r);
}

static enum exit_action exit_undefined(struct vcpu *v)
{
	vcpu_raise(v, VECTOR_UD);
	return EXIT_RESUME;
}

static enum exit_action exit_shutdown(struct vcpu *v)
{
	v->run->exit = VMM_EXIT_SHUTDOWN;
	return EXIT_TO_RING3;
}

static enum exit_action exit_invalid(struct vcpu *v)
{
	vcpu_stop(v, "the processor refused the guest's state");
	return EXIT_STOP;
}

enum exit_action (*const exit_handler[HV_EXIT_KINDS])(struct vcpu *v) = {
	[HV_EXIT_HOST_EVENT] = exit_none,
	[HV_EXIT_IRQ_WINDOW] = exit_window,
	[HV_EXIT_NMI_WINDOW] = exit_window,
	[HV_EXIT_CPUID] = exit_cpuid,
	[HV_EXIT_RDMSR] = exit_rdmsr,
	[HV_EXIT_WRMSR] = exit_wrmsr,
	[HV_EXIT_IO] = exit_io,
	[HV_EXIT_NESTED_FAULT] = exit_nested,
	[HV_EXIT_HLT] = exit_hlt,
	[HV_EXIT_HYPERCALL] = exit_hypercall,
	[HV_EXIT_EXCEPTION] = exit_exception,
	[HV_EXIT_CR_ACCESS] = exit_cr_access,
	[HV_EXIT_DR_ACCESS] = exit_cr_access,
	[HV_EXIT_XSETBV] = exit_xsetbv,
	[HV_EXIT_CACHE] = exit_cache,
	[HV_EXIT_PAUSE] = exit_pause,
	[HV_EXIT_TASK_SWITCH] = exit_task,
	[HV_EXIT_UNDEFINED] = exit_undefined,
	[HV_EXIT_SHUTDOWN] = exit_shutdown,
	[HV_EXIT_INVALID] = exit_invalid,
};
