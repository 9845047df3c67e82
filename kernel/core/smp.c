/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Per-CPU copies, the entry of the other CPUs, and calls from one CPU to others.
 *
 * One call is under way at a time. A CPU that waits, for its turn or for the others to finish,
 * answers the call under way itself: so two CPUs that call each other cannot wait for each other,
 * not even with interrupts off. Whoever calls must hold no lock that is taken with interrupts off.
 */
#include "arch/x86/arch.h"
#include "core/core.h"

extern char __percpu_start[], __percpu_end[];

uint64_t percpu_delta[MAX_CPUS];
unsigned cpu_count = 1;
void (*smp_ap_start)(void);

static struct {
	uint32_t busy;             /* taken by the CPU that calls */
	void (*fn)(void *);
	void *arg;
	uint64_t pending;          /* atomic: CPUs that have not finished yet; set last, releases the two above */
} call;

size_t percpu_size(void) { return (size_t)(__percpu_end - __percpu_start); }

uint64_t percpu_setup(unsigned cpu, void *copy)
{
	uint64_t delta = (uint64_t)copy - (uint64_t)__percpu_start;

	memset(copy, 0, percpu_size());
	percpu_delta[cpu] = delta;
	per_cpu(percpu_self_delta, cpu) = delta;
	per_cpu(preempt_word, cpu) = PREEMPT_NOT_WANTED;
	return delta;
}

void smp_call_interrupt(void)
{
	uint64_t bit = BIT(arch_cpu_id());

	if (!(__atomic_load_n(&call.pending, __ATOMIC_ACQUIRE) & bit))
		return;
	call.fn(call.arg);
	__atomic_fetch_and(&call.pending, ~bit, __ATOMIC_RELEASE);
}

static void answer_while_waiting(void)
{
	uint64_t flags = arch_irq_save();

	smp_call_interrupt();
	arch_irq_restore(flags);
	arch_pause();
}

static void call_others(uint64_t others, void (*fn)(void *), void *arg)
{
	while (__atomic_exchange_n(&call.busy, 1, __ATOMIC_ACQUIRE))
		answer_while_waiting();
	call.fn = fn;
	call.arg = arg;
	__atomic_store_n(&call.pending, others, __ATOMIC_RELEASE);
	for (unsigned cpu = 0; cpu < cpu_count; cpu++)
		if (others & BIT(cpu))
			arch_ipi_send(cpu, IPI_CALL);
	while (__atomic_load_n(&call.pending, __ATOMIC_ACQUIRE))
		arch_pause();
	__atomic_store_n(&call.busy, 0, __ATOMIC_RELEASE);
}

void smp_call(uint64_t mask, void (*fn)(void *), void *arg)
{
	uint64_t flags, me;

	preempt_disable();
	me = BIT(arch_cpu_id());
	mask &= cpu_count == 64 ? ~0ull : BIT(cpu_count) - 1;
	if (mask & ~me)
		call_others(mask & ~me, fn, arg);
	if (mask & me) {
		flags = arch_irq_save();
		fn(arg);
		arch_irq_restore(flags);
	}
	preempt_enable();
}

void smp_call_all(void (*fn)(void *), void *arg) { smp_call(~0ull, fn, arg); }

void smp_ap_entry(void)
{
	__atomic_fetch_add(&cpu_count, 1, __ATOMIC_ACQ_REL);
	if (!smp_ap_start)
		arch_halt_forever();
	smp_ap_start();
	panic("the scheduler returned on CPU %u", arch_cpu_id());
}
