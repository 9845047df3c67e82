/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A vCPU's life inside VMM_RUN.
 *
 *   vcpu_run:  OUT -> KERNEL, guest FPU in, [requests -> GUEST -> exit -> KERNEL -> answered]*, host FPU in -> OUT
 *
 * Who wants something of a vCPU sets a bit in v->request and, if v->mode says GUEST, sends an interrupt; the loop goes to GUEST
 * first and looks at the bits after it (both fully ordered), so one of the two always sees the other. The nested generation is
 * compared in the same window: nested_shootdown() raises it, then waits for every vCPU that is in GUEST under an older one.
 * Interrupts are off from that look to VMRUN; one that comes meanwhile ends guest mode at once.
 *
 * The loop may be preempted anywhere outside: the guest's FPU state belongs to this world while it is inside, since
 * current->arch points to it, and a world that comes back on another CPU loads the vCPU there anew.
 */
#include "hv/hv_priv.h"

void vcpu_load_xcr0(struct vcpu *v)
{
	uint64_t flags;

	if (!arch_xcr0_host())
		return;
	flags = arch_irq_save();
	current->arch.xcr0 = v->xcr0;
#ifndef __KERNEL_HOST_TEST__
	__asm__ volatile("xsetbv" : : "a"((uint32_t)v->xcr0), "d"((uint32_t)(v->xcr0 >> 32)), "c"(0));
#endif
	arch_irq_restore(flags);
}

/* XSETBV need not exit (QEMU's SVM does not intercept it): the register itself is the truth while the guest's state is loaded. */
void vcpu_sync_xcr0(struct vcpu *v)
{
#ifndef __KERNEL_HOST_TEST__
	uint32_t lo, hi;

	if (!arch_xcr0_host())
		return;
	__asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
	v->xcr0 = lo | (uint64_t)hi << 32;
#endif
}

struct host_fpu { void *area; uint64_t xcr0; };

static struct host_fpu fpu_enter(struct vcpu *v)
{
	uint64_t flags = arch_irq_save();
	struct world *w = v->world;
	struct host_fpu h = { w->arch.fpu, w->arch.xcr0 };

	if (h.area)
		arch_fpu_save(h.area);
	w->arch.fpu = v->fpu;
	arch_fpu_restore(v->fpu);
	vcpu_load_xcr0(v);
	arch_irq_restore(flags);
	return h;
}

static void fpu_leave(struct vcpu *v, struct host_fpu h)
{
	uint64_t flags = arch_irq_save();
	struct world *w = v->world;
	uint64_t host = arch_xcr0_host();

	vcpu_sync_xcr0(v);
#ifndef __KERNEL_HOST_TEST__
	if (host)
		__asm__ volatile("xsetbv" : : "a"((uint32_t)host), "d"((uint32_t)(host >> 32)), "c"(0));
#endif
	arch_fpu_save(v->fpu);
	w->arch.fpu = h.area;
	w->arch.xcr0 = h.xcr0;
	if (h.area)
		arch_fpu_restore(h.area);
	arch_irq_restore(flags);
}

static void load_here(struct vcpu *v)
{
	v->cpu = arch_cpu_id();
	hv->vcpu_load(v);
	lapic_timer_migrate(v->lapic);
}

/* ---- requests ---- */

static bool interrupted(const struct vcpu *v) { return READ_ONCE(v->world->kill) || READ_ONCE(v->world->signalled); }

static void take_init(struct vcpu *v)
{
	bool boot_cpu = lapic_base(v->lapic) & BIT(8);

	vcpu_reset(v, true);
	v->activity = boot_cpu ? VCPU_ACTIVE : VCPU_WAIT_SIPI;
	v->reinject_valid = v->exception_valid = false;
}

/* 1: go on; 0: v->run is filled; else -EINTR. */
static int take_requests(struct vcpu *v)
{
	uint32_t req = __atomic_exchange_n(&v->request, 0, __ATOMIC_ACQ_REL);

	if (req & (VCPU_REQ_PAUSE | VCPU_REQ_EXIT) || interrupted(v)) {
		hv->withdraw(v);
		vcpu_request_self(v, (req & ~(uint32_t)(VCPU_REQ_EXIT | VCPU_REQ_PAUSE)) | VCPU_REQ_EVENT);
		return -EINTR;
	}
	if (req & VCPU_REQ_INIT)
		take_init(v);
	if (req & VCPU_REQ_SIPI && v->activity == VCPU_WAIT_SIPI) {
		vcpu_start_sipi(v, v->sipi_vector);
		v->activity = VCPU_ACTIVE;
	}
	if (req & VCPU_REQ_FLUSH)
		hv->flush_guest(v);
	if (v->exception_valid && v->exception.vector == VCPU_TRIPLE_FAULT) {
		v->run->exit = VMM_EXIT_SHUTDOWN;
		return 0;
	}
	if (v->activity == VCPU_HALTED && inject_wakes(v))
		v->activity = VCPU_ACTIVE;
	if (v->activity == VCPU_ACTIVE && req & (VCPU_REQ_EVENT | VCPU_REQ_INIT))
		inject_events(v);
	return 1;
}

/* Until a request comes: a halted or not yet started vCPU costs nothing. */
static void wait_request(struct vcpu *v)
{
	for (;;) {
		world_prepare_block();
		if (__atomic_load_n(&v->request, __ATOMIC_ACQUIRE) || interrupted(v))
			break;
		sched_block();
	}
	world_cancel_block();
}

/* ---- the loop ---- */

/* True when the vCPU may enter; interrupts are off then and mode is GUEST. */
static inline bool ready_to_enter(struct vcpu *v)
{
	uint64_t generation;

	arch_irq_disable();
	__atomic_exchange_n(&v->mode, VCPU_GUEST, __ATOMIC_SEQ_CST);
	if (unlikely(READ_ONCE(v->request) || interrupted(v) || sched_need_resched())) {
		__atomic_store_n(&v->mode, VCPU_KERNEL, __ATOMIC_RELEASE);
		arch_irq_enable();
		return false;
	}
	if (unlikely(v->cpu != v->world->cpu))
		load_here(v);
	generation = __atomic_load_n(&v->vm->nested.generation, __ATOMIC_ACQUIRE);
	if (unlikely(v->entered_generation != generation)) {
		hv->flush_guest(v);
		__atomic_store_n(&v->entered_generation, generation, __ATOMIC_RELEASE);
	}
	return true;
}

static inline void count_exit(struct vcpu *v)
{
	unsigned at = v->exits++ % ARRAY_SIZE(v->last_exit_rip);

	v->last_exit_rip[at] = v->rip;
	v->last_exit_code[at] = v->exit.code;
	v->exit_count[v->exit.kind]++;
}

static bool torture_due(struct vcpu *v)
{
	if (likely(v->exits < v->torture_at) || v->answer_pending)
		return false;
	v->torture_at = v->exits + v->vm->config.torture_exits;
	hv->withdraw(v);
	vcpu_request_self(v, VCPU_REQ_EVENT);
	v->run->exit = VMM_EXIT_TORTURE;
	return true;
}

static int run_loop(struct vcpu *v)
{
	enum exit_action action;

	for (;;) {
		if (unlikely(!ready_to_enter(v))) {
			int r = take_requests(v);

			if (r <= 0)
				return r;
			sched_preempt();
			if (v->activity != VCPU_ACTIVE)
				wait_request(v);
			continue;
		}
		hv->run(v);
		__atomic_store_n(&v->mode, VCPU_KERNEL, __ATOMIC_RELEASE);
		arch_irq_enable();
		count_exit(v);
		action = exit_handler[v->exit.kind](v);
		if (unlikely(action != EXIT_RESUME)) {
			if (action != EXIT_BLOCK)
				return 0;
			if (inject_wakes(v))
				v->activity = VCPU_ACTIVE;
			else
				wait_request(v);
		}
		if (unlikely(v->exits >= v->torture_at) && torture_due(v))
			return 0;
	}
}

/* What ring 3 owed: finishes the instruction. 1: go on, 0: ring 3 again. */
static int complete_answer(struct vcpu *v)
{
	v->answer_pending = false;
	switch (emul_resume(v)) {
	case EMUL_DONE:
		return 1;
	case EMUL_RING3:
		v->answer_pending = true;
		return 0;
	case EMUL_FAIL:
		break;
	}
	vcpu_stop(v, "an instruction cannot be completed");
	return 0;
}

static int run_inside(struct vcpu *v)
{
	int r = v->answer_pending ? complete_answer(v) : 1;

	if (r == 1 && READ_ONCE(v->run->immediate)) {
		vcpu_request_self(v, VCPU_REQ_EVENT);
		r = -EINTR;
	}
	if (r == 1 && unlikely(v->exits >= v->torture_at) && torture_due(v))
		return 0; /* a guest that only talks to ring 3 comes by here alone */
	if (r == 1) {
		if (v->activity != VCPU_ACTIVE)
			vcpu_request_self(v, VCPU_REQ_EVENT); /* halted or not started: looked at before the first entry */
		r = run_loop(v);
	}
	return r;
}

/* Another vCPU stopped the VM: this one tells the same reason. */
static void copy_report(struct vcpu *v)
{
	for (unsigned i = 0; i < v->vm->config.vcpus; i++)
		if (v->vm->vcpu[i] != v && READ_ONCE(v->vm->vcpu[i]->stopped))
			memcpy(v->run->report, v->vm->vcpu[i]->run->report, sizeof(v->run->report));
}

/* One world at a time; and none while the VM is paused. */
static int enter_run(struct vcpu *v)
{
	int r;

	if (unlikely(v->stopped || READ_ONCE(v->vm->state) == VMM_STOPPED)) {
		if (!v->stopped)
			copy_report(v);
		v->run->exit = VMM_EXIT_STOPPED;
		return 0;
	}
	r = vcpu_enter(v);
	if (r < 0)
		return r;
	__atomic_exchange_n(&v->mode, VCPU_KERNEL, __ATOMIC_SEQ_CST);
	return 1;
}

static void leave_run(struct vcpu *v)
{
	__atomic_exchange_n(&v->mode, VCPU_OUT, __ATOMIC_SEQ_CST);
	vcpu_leave(v);
}

static void stop_vm(struct vcpu *v)
{
	struct vm *vm = v->vm;

	v->run->exit = VMM_EXIT_STOPPED;
	vm_set_state(vm, VMM_STOPPED);
	for (unsigned i = 0; i < vm->config.vcpus; i++)
		if (vm->vcpu[i] && vm->vcpu[i] != v)
			vcpu_request(vm->vcpu[i], VCPU_REQ_EXIT);
}

int vcpu_run(struct vcpu *v)
{
	struct host_fpu host;
	int r = enter_run(v);

	if (r <= 0)
		return r;
	if (unlikely(!v->torture_at))
		v->torture_at = v->vm->config.torture_exits ? v->exits + v->vm->config.torture_exits : UINT64_MAX;
	current->vcpu = v;
	host = fpu_enter(v);
	preempt_disable();
	load_here(v);
	preempt_enable();
	r = run_inside(v);
	preempt_disable();
	hv->vcpu_put(v);
	preempt_enable();
	fpu_leave(v, host);
	current->vcpu = NULL;
	leave_run(v);
	if (unlikely(v->stopped))
		stop_vm(v);
	return r;
}

void vcpu_stop(struct vcpu *v, const char *fmt, ...)
{
	char why[200];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, sizeof(why), fmt, ap);
	va_end(ap);
	if (v->stopped)
		return; /* the first reason is the one that counts */
	v->stopped = true;
	vcpu_report(v, v->run->report, sizeof(v->run->report), why);
	v->run->exit = VMM_EXIT_STOPPED;
	log_warn("hv: VM '%.63s' stopped: %s", v->vm->config.name, why);
}

uint64_t vcpu_guest_tsc(const struct vcpu *v) { return arch_rdtsc() + (uint64_t)v->tsc_offset; }
