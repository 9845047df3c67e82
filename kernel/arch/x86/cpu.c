/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One processor's control state: what is switched on (NX, write protection, SMEP, SMAP, UMIP, SYSCALL, SSE state), the
 * instructions that depend on it, halting.
 *
 * Every CPU gets the same control registers as the boot CPU: a feature that one of them lacks is not used on any, since
 * firmware that mixes CPUs is refused by hardware vendors anyway and cpu_control_init() would fault loudly.
 */
#include "arch/x86/arch_priv.h"

struct arch_hooks arch_hooks;
struct arch_platform arch_platform;
unsigned cpu_phys_bits = 36;

PERCPU(uint64_t, percpu_self_delta);

struct smap_site {
	uint8_t *insn;
	uint64_t opcode; /* last byte of CLAC or STAC */
};
extern const struct smap_site __smap_sites_start[], __smap_sites_end[];

/* Puts CLAC and STAC where the image has three-byte NOPs. Only while the image is still writable. */
static void smap_patch(void)
{
	for (const struct smap_site *s = __smap_sites_start; s < __smap_sites_end; s++) {
		s->insn[0] = 0x0f;
		s->insn[1] = 0x01;
		s->insn[2] = (uint8_t)s->opcode;
	}
}

void cpu_control_init(void)
{
	uint64_t cr4 = CR4_PAE | CR4_MCE | CR4_PGE | CR4_OSFXSR | CR4_OSXMMEXCPT;
	uint32_t r[4], max[4];

	wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_NXE | EFER_SCE);
	write_cr0(CR0_PG | CR0_WP | CR0_NE | CR0_ET | CR0_MP | CR0_PE);
	arch_cpuid(0, 0, max);
	arch_cpuid(1, 0, r);
	if (CPUID_TEST(r, CPUID_ECX, 26))
		cr4 |= CR4_OSXSAVE;
	if (max[CPUID_EAX] >= 7) {
		arch_cpuid(7, 0, r);
		if (CPUID_TEST(r, CPUID_EBX, 7))
			cr4 |= CR4_SMEP;
		if (CPUID_TEST(r, CPUID_EBX, 20))
			cr4 |= CR4_SMAP;
		if (CPUID_TEST(r, CPUID_ECX, 2))
			cr4 |= CR4_UMIP;
	}
	write_cr4(cr4);

	wrmsr(MSR_STAR, (uint64_t)SEL_USER_CODE32 << 48 | (uint64_t)SEL_KERNEL_CODE << 32);
	wrmsr(MSR_LSTAR, (uintptr_t)syscall_entry);
	wrmsr(MSR_CSTAR, 0);
	wrmsr(MSR_SFMASK, RFLAGS_IF | RFLAGS_TF | RFLAGS_DF | RFLAGS_NT | RFLAGS_AC | RFLAGS_RF);
	fpu_init_cpu();
}

void arch_early_init(void)
{
	uint32_t r[4];

	descriptors_init_cpu(0, 0, boot_ist_stacks);
	descriptors_load();
	arch_cpuid(0x80000000, 0, r);
	if (r[CPUID_EAX] >= 0x80000008) {
		arch_cpuid(0x80000008, 0, r);
		cpu_phys_bits = r[CPUID_EAX] & 0xff;
	}
	cpu_control_init();
	arch_platform.has_smap = read_cr4() & CR4_SMAP;
	if (arch_platform.has_smap)
		smap_patch();
}

int arch_rdmsr_safe(uint32_t msr, uint64_t *v)
{
	uint32_t lo = 0, hi = 0;
	int err;

	__asm__ volatile("1: rdmsr\n\txorl %2, %2\n\tjmp 3f\n2:\tmovl %4, %2\n3:\n\t"
			 ".pushsection .fixups, \"a\"\n\t.quad 1b, 2b, 0\n\t.popsection"
			 : "=a"(lo), "=d"(hi), "=&r"(err) : "c"(msr), "i"(-EFAULT));
	if (!err)
		*v = (uint64_t)hi << 32 | lo;
	return err;
}

int arch_wrmsr_safe(uint32_t msr, uint64_t v)
{
	int err;

	__asm__ volatile("1: wrmsr\n\txorl %0, %0\n\tjmp 3f\n2:\tmovl %4, %0\n3:\n\t"
			 ".pushsection .fixups, \"a\"\n\t.quad 1b, 2b, 0\n\t.popsection"
			 : "=&r"(err) : "c"(msr), "a"((uint32_t)v), "d"((uint32_t)(v >> 32)), "i"(-EFAULT) : "memory");
	return err;
}

void arch_idle(void) { __asm__ volatile("sti; hlt" : : : "memory"); }

void arch_halt_forever(void)
{
	for (;;)
		__asm__ volatile("cli; hlt" : : : "memory");
}
