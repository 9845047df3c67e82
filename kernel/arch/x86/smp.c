/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The other CPUs: started one after the other at INIT_SMP, numbered in the order of the MADT with the boot CPU first, and
 * interrupted afterwards.
 *
 * smp_claim is the hand-shake with the CPU being started: CLOSED, OPEN (by the boot CPU), CLAIMED (by that CPU, in trampoline.S,
 * or back to CLOSED when it did not come in time), CLOSED (by the boot CPU, once cpu_count shows the arrival). Stack and
 * per-CPU data belong to a CPU from its claim on, never before.
 */
#include "arch/x86/smp.h"
#include "arch/x86/acpi.h"
#include "arch/x86/arch_priv.h"

#define ICR_INIT 0x4500
#define ICR_STARTUP (0x4600 | SMP_TRAMPOLINE >> PAGE_SHIFT)
#define ICR_NMI 0x4400
#define ICR_FIXED 0x4000
#define INIT_NS 200000    /* 10 ms were needed by the 82489DX, never by a CPU with long mode */
#define SIPI_NS 200000
#define CLAIM_NS 100000000
#define READY_NS 1000000000

extern char trampoline_start[], trampoline_end[], trampoline_root[];
_Noreturn void smp_ap_main(void); /* trampoline.S */

static uint32_t smp_apic_id[MAX_CPUS];
PERCPU(unsigned, cpu_number);

/* For trampoline.S, written by the boot CPU before it opens the claim. */
uint32_t smp_claim;
uint64_t smp_stack, smp_delta;
static uint64_t ap_tsc;

unsigned arch_cpu_id(void) { return this_cpu(cpu_number); }
uint32_t arch_apic_id(unsigned cpu) { return smp_apic_id[cpu]; }

static void resched_interrupt(unsigned vector)
{
	if (arch_hooks.resched_ipi)
		arch_hooks.resched_ipi();
}

static void call_interrupt(unsigned vector) { smp_call_interrupt(); }

void arch_ipi_send(unsigned cpu, enum ipi kind)
{
	lapic_send(smp_apic_id[cpu], ICR_FIXED | (kind == IPI_CALL ? VEC_CALL : VEC_RESCHED));
}

void arch_ipi_panic_all(void)
{
	nmi_stop_others();
	if (cpu_count > 1)
		lapic_send_others(ICR_NMI);
}

/* The boot CPU to place 0, whatever the MADT's order. */
void smp_detect(void)
{
	const struct acpi_info *a = platform_acpi();
	uint32_t boot = lapic_id();
	unsigned n = 1;

	smp_apic_id[0] = boot;
	for (unsigned i = 0; i < a->nr_cpus && n < MAX_CPUS; i++)
		if (a->apic_id[i] != boot && (arch_platform.x2apic || a->apic_id[i] < 255))
			smp_apic_id[n++] = a->apic_id[i];
	arch_platform.nr_cpus = n;
	trap_attach(VEC_RESCHED, resched_interrupt);
	trap_attach(VEC_CALL, call_interrupt);
}

/* Waits until *word is at least `value`; false when that takes longer than ns. */
static bool word_wait(const uint32_t *word, uint32_t value, uint64_t ns)
{
	uint64_t end = clock_ns() + ns;

	while (__atomic_load_n(word, __ATOMIC_ACQUIRE) < value) {
		if (clock_ns() > end)
			return false;
		arch_pause();
	}
	return true;
}

static bool claim_close(void)
{
	uint32_t open = SMP_OPEN;

	return __atomic_compare_exchange_n(&smp_claim, &open, SMP_CLOSED, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
}

void smp_ap_main(void)
{
	cpu_control_init();
	descriptors_load();
	lapic_init_cpu();
	apic_timer_arm();
	ap_tsc = arch_rdtsc();
	smp_ap_entry(); /* raises cpu_count */
}

/* INIT, then up to two start-up messages (SDM vol. 3, 9.4.4). True when the CPU arrived. */
static bool cpu_wake(uint32_t apic_id)
{
	uint32_t arrived = cpu_count + 1;
	uint64_t end = clock_ns() + INIT_NS;

	lapic_send(apic_id, ICR_INIT);
	while (clock_ns() < end)
		arch_pause();
	lapic_send(apic_id, ICR_STARTUP);
	if (!word_wait(&smp_claim, SMP_CLAIMED, SIPI_NS)) {
		lapic_send(apic_id, ICR_STARTUP);
		if (!word_wait(&smp_claim, SMP_CLAIMED, CLAIM_NS) && claim_close())
			return false;
	}
	if (!word_wait(&cpu_count, arrived, READY_NS))
		panic("CPU with APIC id %u started and got stuck", apic_id);
	return true;
}

/* Brings up the CPU with this APIC id as number cpu_count. */
static bool cpu_start(uint32_t apic_id)
{
	unsigned cpu = cpu_count;
	char *data = arch_memory.alloc(percpu_size());
	char *ist = arch_memory.alloc(IST_COUNT * IST_STACK_SIZE);
	void *stack = arch_memory.stack_alloc();
	uint64_t before, after;

	if (!data || !ist || !stack)
		panic("no memory to start CPU %u", cpu);
	smp_delta = percpu_setup(cpu, data);
	smp_stack = (uintptr_t)stack;
	smp_apic_id[cpu] = apic_id;
	per_cpu(cpu_number, cpu) = cpu;
	descriptors_init_cpu(cpu, smp_delta, ist);
	before = arch_rdtsc();
	__atomic_store_n(&smp_claim, SMP_OPEN, __ATOMIC_RELEASE);
	if (!cpu_wake(apic_id)) {
		percpu_delta[cpu] = 0;
		arch_memory.free(data);
		arch_memory.free(ist);
		arch_memory.stack_free(stack);
		log_warn("smp: CPU with APIC id %u does not answer; going on without it", apic_id);
		return false;
	}
	after = arch_rdtsc();
	if (ap_tsc < before || ap_tsc > after)
		log_warn("smp: the TSC of CPU %u differs from CPU 0's: times will be wrong", cpu);
	__atomic_store_n(&smp_claim, SMP_CLOSED, __ATOMIC_RELEASE);
	return true;
}

static void smp_start(void)
{
	char *page;

	if (arch_platform.nr_cpus < 2)
		return;
	page = arch_memory.map_registers(hpa(SMP_TRAMPOLINE), PAGE_SIZE);
	memcpy(page, trampoline_start, (size_t)(trampoline_end - trampoline_start));
	*(uint32_t *)(page + (trampoline_root - trampoline_start)) = (uint32_t)image_hpa(boot_pml4).v;
	/* cpu_start() writes places up to the one being read, never beyond. */
	for (unsigned i = 1; i < arch_platform.nr_cpus; i++)
		cpu_start(smp_apic_id[i]);
	log_info("smp: %u of %u CPUs are up", cpu_count, arch_platform.nr_cpus);
}
INIT_CALL(INIT_SMP, smp_start);
