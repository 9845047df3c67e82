/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Time: the TSC, measured once against HPET, ACPI PM timer or PIT, and the local APIC's one-shot timer, measured in the
 * same 4 ms. A frequency that the processor or a hypervisor under us states (CPUID leaves 15h and 40000010h) is preferred.
 *
 * The TSCs of all CPUs are taken to run together; smp.c warns when one does not. There is no periodic tick.
 */
#include "arch/x86/acpi.h"
#include "arch/x86/arch_priv.h"
#include "arch/x86/scale.h"

#define WINDOW_HZ 250 /* a 250th of a second */
#define SAMPLES 5
#define SPINS_MAX 100000000u
#define ROUND_HZ 1000000u
#define PM_TIMER_HZ 3579545u
#define PIT_HZ 1193182u
#define HPET_PERIOD 4
#define HPET_CONFIG 0x10
#define HPET_COUNTER 0xf0
#define FEMTOSECONDS 1000000000000000ull

uint64_t tsc_hz, apic_timer_hz;
static uint64_t tsc_to_ns_scale, ns_to_tsc_scale, ns_to_apic_scale; /* 0 until clock_init() */

PERCPU(uint64_t, timer_deadline); /* clock time for which this CPU's timer is set; 0 = not */

/* A counter of known frequency. */
struct reference {
	const char *name;
	uint64_t hz;
	uint32_t mask;
	uint32_t (*read)(void);
};
struct sample {
	uint64_t tsc, width; /* middle and width of the bracket around both reads */
	uint32_t ref, apic;
};

static volatile uint32_t *hpet;
static uint16_t pm_port;

static uint32_t hpet_read(void) { return hpet[HPET_COUNTER / 4]; }
static uint32_t pm_read(void) { return inl(pm_port); }
static uint32_t pit_read(void)
{
	uint32_t lo;

	outb(0x43, 0x80); /* latch channel 2 */
	lo = inb(0x42);
	return ~(lo | (uint32_t)inb(0x42) << 8);
}

static bool hpet_start(struct reference *ref)
{
	uint32_t period;

	if (!arch_platform.hpet_base)
		return false;
	hpet = arch_memory.map_registers(hpa(arch_platform.hpet_base), 0x400);
	period = hpet[HPET_PERIOD / 4];
	if (period < 1000000 || period > 100000000) /* 1 GHz to 10 MHz, the least that the specification allows */
		return false;
	hpet[HPET_CONFIG / 4] |= 1;
	*ref = (struct reference){ "HPET", FEMTOSECONDS / period, UINT32_MAX, hpet_read };
	return true;
}

static void pit_start(struct reference *ref)
{
	outb(0x61, (uint8_t)((inb(0x61) & ~2) | 1)); /* gate of channel 2 on, speaker off */
	outb(0x43, 0xb0);                            /* channel 2, both bytes, mode 0 */
	outb(0x42, 0xff);
	outb(0x42, 0xff);
	*ref = (struct reference){ "PIT", PIT_HZ, 0xffff, pit_read };
}

/* Does the counter move at all? Broken ones exist. */
static bool reference_runs(const struct reference *ref)
{
	uint32_t first = ref->read();

	for (unsigned i = 0; i < 10000; i++)
		if (((ref->read() - first) & ref->mask) > 1)
			return true;
	return false;
}

static struct reference reference_choose(void)
{
	struct reference ref;

	if (hpet_start(&ref) && reference_runs(&ref))
		return ref;
	if (pm_port) {
		ref = (struct reference){ "PM timer", PM_TIMER_HZ, 0xffffff, pm_read };
		if (reference_runs(&ref))
			return ref;
	}
	pit_start(&ref);
	if (!reference_runs(&ref))
		panic("neither HPET, ACPI PM timer nor PIT counts: no way to know how fast this processor is");
	return ref;
}

/* All three counters at one moment: the narrowest of a few tries, since any may be held up by the bus or by SMM. */
static struct sample sample_take(const struct reference *ref)
{
	struct sample best = { .width = UINT64_MAX };

	for (unsigned i = 0; i < SAMPLES; i++) {
		uint64_t t0 = arch_rdtsc();
		uint32_t r = ref->read();
		uint32_t a = apic_timer_count();
		uint64_t t1 = arch_rdtsc();

		if (t1 - t0 < best.width)
			best = (struct sample){ .tsc = t0 + (t1 - t0) / 2, .width = t1 - t0, .ref = r, .apic = a };
	}
	return best;
}

static void measure(const struct reference *ref)
{
	uint32_t want = (uint32_t)(ref->hz / WINDOW_HZ), ref_ticks = 0;
	struct sample from, to;
	uint64_t ticks, doubt;

	lapic_timer_oneshot(UINT32_MAX);
	from = sample_take(ref);
	for (unsigned i = 0; i < SPINS_MAX && ref_ticks < want; i++) {
		arch_pause();
		ref_ticks = (ref->read() - from.ref) & ref->mask;
	}
	to = sample_take(ref);
	ref_ticks = (to.ref - from.ref) & ref->mask;
	ticks = to.tsc - from.tsc;
	/* What is unknown: half of each bracket, and one tick of the reference. */
	doubt = (from.width + to.width) / 2 + ticks / ref_ticks + 1;
	if (!tsc_hz) {
		tsc_hz = ticks * ref->hz / ref_ticks;
		tsc_hz = frequency_round(tsc_hz, doubt * ref->hz / ref_ticks, ROUND_HZ);
	}
	if (!apic_timer_hz) {
		uint64_t window_hz = tsc_hz / ticks;

		apic_timer_hz = (uint64_t)(from.apic - to.apic) * (tsc_hz / 1000) / ticks * 1000;
		apic_timer_hz = frequency_round(apic_timer_hz, doubt * window_hz + 1000, ROUND_HZ);
	}
}

/* Frequencies that CPUID states, or nothing. */
static void cpuid_frequencies(void)
{
	uint32_t r[4];

	arch_cpuid(1, 0, r);
	if (CPUID_TEST(r, CPUID_ECX, 31)) {
		arch_cpuid(0x40000000, 0, r);
		if (r[CPUID_EAX] >= 0x40000010 && r[CPUID_EAX] < 0x40010000) {
			arch_cpuid(0x40000010, 0, r);
			tsc_hz = (uint64_t)r[CPUID_EAX] * 1000;
			apic_timer_hz = (uint64_t)r[CPUID_EBX] * 1000;
		}
	}
	arch_cpuid(0, 0, r);
	if (tsc_hz || r[CPUID_EAX] < 0x15)
		return;
	arch_cpuid(0x15, 0, r);
	if (r[CPUID_EAX] && r[CPUID_EBX] && r[CPUID_ECX])
		tsc_hz = (uint64_t)r[CPUID_ECX] * r[CPUID_EBX] / r[CPUID_EAX];
}

static void timer_interrupt(unsigned vector)
{
	uint64_t deadline = this_cpu(timer_deadline);

	if (deadline && clock_ns() < deadline) { /* further away than the counter reaches */
		arch_timer_set(deadline);
		return;
	}
	this_cpu(timer_deadline) = 0;
	if (arch_hooks.timer)
		arch_hooks.timer();
}

void clock_init(const struct acpi_info *info)
{
	const char *source = "CPUID";
	uint32_t r[4];

	arch_cpuid(0x80000000, 0, r);
	if (r[CPUID_EAX] >= 0x80000007) {
		arch_cpuid(0x80000007, 0, r);
		arch_platform.invariant_tsc = CPUID_TEST(r, CPUID_EDX, 8);
	}
	pm_port = info->pm_timer_port;
	cpuid_frequencies();
	if (!tsc_hz || !apic_timer_hz) {
		struct reference ref = reference_choose();

		source = tsc_hz ? "CPUID" : ref.name;
		measure(&ref);
	}
	if (tsc_hz < 1000000 || apic_timer_hz < 1000000)
		panic("measured %llu Hz for the TSC and %llu Hz for the APIC timer: neither can be", (unsigned long long)tsc_hz,
		      (unsigned long long)apic_timer_hz);
	ns_to_tsc_scale = scale_make(NSEC_PER_SEC, tsc_hz);
	ns_to_apic_scale = scale_make(NSEC_PER_SEC, apic_timer_hz);
	tsc_to_ns_scale = scale_make(tsc_hz, NSEC_PER_SEC);
	trap_attach(VEC_TIMER, timer_interrupt);
	apic_timer_arm();
	log_info("clock: TSC %llu kHz (%s), APIC timer %llu kHz%s%s", (unsigned long long)tsc_hz / 1000, source,
		 (unsigned long long)apic_timer_hz / 1000, arch_platform.tsc_deadline ? ", TSC deadline" : "",
		 arch_platform.invariant_tsc ? "" : "; the TSC is not invariant: time may drift when the CPU changes speed");
}

uint64_t tsc_to_ns(uint64_t ticks) { return scale(ticks, tsc_to_ns_scale); }
uint64_t ns_to_tsc(uint64_t ns) { return scale(ns, ns_to_tsc_scale); }
uint64_t clock_ns(void) { return scale(arch_rdtsc(), tsc_to_ns_scale); }

void arch_timer_set(uint64_t ns)
{
	uint64_t now, ticks;

	if (ns == UINT64_MAX) {
		if (!this_cpu(timer_deadline))
			return;
		this_cpu(timer_deadline) = 0;
		ticks = 0;
	} else {
		this_cpu(timer_deadline) = ns ? ns : 1;
		if (arch_platform.tsc_deadline) {
			ticks = ns_to_tsc(ns) + 1;
		} else {
			now = clock_ns();
			/* Rounded up: an interrupt that comes too early costs a second one. */
			ticks = ns > now ? scale(ns - now, ns_to_apic_scale) + 1 : 1;
			ticks = MIN(ticks, UINT32_MAX);
		}
	}
	if (arch_platform.tsc_deadline)
		wrmsr(MSR_TSC_DEADLINE, ticks);
	else
		lapic_timer_oneshot((uint32_t)ticks);
}
