/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The local APIC, as x2APIC (MSRs) where the CPU has it and as xAPIC (registers in memory) else. APM vol. 2, chapter 16.
 * Touched only by its own CPU.
 */
#include "arch/x86/arch_priv.h"

#define REG_ID 0x20
#define REG_TPR 0x80
#define REG_EOI 0xb0
#define REG_SVR 0xf0
#define REG_ESR 0x280
#define REG_ICR_LOW 0x300
#define REG_ICR_HIGH 0x310
#define REG_LVT_TIMER 0x320
#define REG_LVT_LINT0 0x350
#define REG_LVT_LINT1 0x360
#define REG_LVT_ERROR 0x370
#define REG_TIMER_INITIAL 0x380
#define REG_TIMER_CURRENT 0x390
#define REG_TIMER_DIVIDE 0x3e0
#define DIVIDE_BY_1 0xb
#define LVT_MASKED BIT(16)
#define LVT_TSC_DEADLINE BIT(18)
#define LVT_NMI 0x400
#define ICR_PENDING BIT(12)
#define ICR_ALL_OTHERS (3u << 18)
#define APIC_BASE_ENABLE BIT(11)
#define APIC_BASE_X2 BIT(10)
#define DEFAULT_BASE 0xfee00000ull
#define DELIVERY_SPINS 1000000

static volatile uint32_t *regs; /* xAPIC */
static bool x2;

COUNTER(apic_errors, "arch.apic.errors");

static uint32_t reg_read(unsigned reg) { return x2 ? (uint32_t)rdmsr(MSR_X2APIC + reg / 16) : regs[reg / 4]; }

static void reg_write(unsigned reg, uint32_t v)
{
	if (x2)
		wrmsr(MSR_X2APIC + reg / 16, v);
	else
		regs[reg / 4] = v;
}

static void error_interrupt(unsigned vector)
{
	reg_write(REG_ESR, 0); /* latches what happened, and clears */
	counter_add(apic_errors, 1);
}

void lapic_detect(uint64_t base)
{
	uint32_t r[4];

	arch_cpuid(1, 0, r);
	if (!CPUID_TEST(r, CPUID_EDX, 9))
		panic("this processor has no local APIC; mica cannot run");
	x2 = arch_platform.x2apic = CPUID_TEST(r, CPUID_ECX, 21);
	arch_platform.tsc_deadline = CPUID_TEST(r, CPUID_ECX, 24);
	if (!x2)
		regs = arch_memory.map_registers(hpa(base ? base : DEFAULT_BASE), PAGE_SIZE);
	trap_attach(VEC_APIC_ERROR, error_interrupt);
}

void lapic_init_cpu(void)
{
	uint64_t base = rdmsr(MSR_APIC_BASE) | APIC_BASE_ENABLE;

	/* From disabled to x2APIC only through xAPIC mode (SDM vol. 3, 11.12.5). */
	wrmsr(MSR_APIC_BASE, base);
	if (x2)
		wrmsr(MSR_APIC_BASE, base | APIC_BASE_X2);
	reg_write(REG_TPR, 0);
	reg_write(REG_LVT_TIMER, LVT_MASKED | VEC_TIMER);
	reg_write(REG_LVT_LINT0, LVT_MASKED);
	reg_write(REG_LVT_LINT1, LVT_NMI);
	reg_write(REG_LVT_ERROR, VEC_APIC_ERROR);
	reg_write(REG_TIMER_DIVIDE, DIVIDE_BY_1);
	reg_write(REG_SVR, 0x100 | VEC_SPURIOUS);
	reg_write(REG_ESR, 0);
	reg_write(REG_EOI, 0);
}

void apic_eoi(void) { reg_write(REG_EOI, 0); }

uint32_t lapic_id(void)
{
	uint32_t id = reg_read(REG_ID);

	return x2 ? id : id >> 24;
}

/* Bounded: a CPU that never accepts is found out by whoever waits for its answer. */
static void delivery_wait(void)
{
	for (unsigned i = 0; i < DELIVERY_SPINS && (reg_read(REG_ICR_LOW) & ICR_PENDING); i++)
		arch_pause();
}

void lapic_send(uint32_t apic_id, uint32_t command)
{
	uint64_t f;

	if (x2) {
		barrier();
		wrmsr(MSR_X2APIC + REG_ICR_LOW / 16, (uint64_t)apic_id << 32 | command);
		return;
	}
	f = arch_irq_save();
	delivery_wait();
	reg_write(REG_ICR_HIGH, apic_id << 24);
	reg_write(REG_ICR_LOW, command);
	arch_irq_restore(f);
}

void lapic_send_others(uint32_t command)
{
	if (x2 || regs)
		lapic_send(0, command | ICR_ALL_OTHERS);
}

void lapic_timer_oneshot(uint32_t count) { reg_write(REG_TIMER_INITIAL, count); }

uint32_t apic_timer_count(void) { return reg_read(REG_TIMER_CURRENT); }

void apic_timer_arm(void)
{
	reg_write(REG_TIMER_INITIAL, 0);
	reg_write(REG_LVT_TIMER, VEC_TIMER | (arch_platform.tsc_deadline ? LVT_TSC_DEADLINE : 0));
	__asm__ volatile("mfence" : : : "memory"); /* before the first deadline is written (SDM vol. 3, 11.5.4.1) */
}
