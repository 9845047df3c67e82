/* SPDX-License-Identifier: Apache-2.0 */
/* Between the files of kernel/arch/x86 and boot/ only. */
#ifndef ARCH_X86_ARCH_PRIV_H
#define ARCH_X86_ARCH_PRIV_H

#include "arch/x86/arch.h"
#include "arch/x86/x86.h"
#include "core/core.h"

#define CPUID_TEST(regs, reg, bit) ((regs)[reg] >> (bit) & 1)
enum { CPUID_EAX, CPUID_EBX, CPUID_ECX, CPUID_EDX };

static inline uint16_t inw(uint16_t port)
{
	uint16_t v;
	__asm__ volatile("inw %w1, %0" : "=a"(v) : "Nd"(port));
	return v;
}
static inline void outw(uint16_t port, uint16_t v) { __asm__ volatile("outw %0, %w1" : : "a"(v), "Nd"(port)); }
static inline uint64_t read_cr0(void) { uint64_t v; __asm__ volatile("movq %%cr0, %0" : "=r"(v)); return v; }
static inline uint64_t read_cr2(void) { uint64_t v; __asm__ volatile("movq %%cr2, %0" : "=r"(v)); return v; }
static inline uint64_t read_cr3(void) { uint64_t v; __asm__ volatile("movq %%cr3, %0" : "=r"(v)); return v; }
static inline uint64_t read_cr4(void) { uint64_t v; __asm__ volatile("movq %%cr4, %0" : "=r"(v)); return v; }
static inline void write_cr0(uint64_t v) { __asm__ volatile("movq %0, %%cr0" : : "r"(v) : "memory"); }
static inline void write_cr3(uint64_t v) { __asm__ volatile("movq %0, %%cr3" : : "r"(v) : "memory"); }
static inline void write_cr4(uint64_t v) { __asm__ volatile("movq %0, %%cr4" : : "r"(v) : "memory"); }

/* The linker's view of the image (boot/mica.ld). */
extern char __image_start[], __image_end[], __text_start[], __text_end[], __rodata_start[], __rodata_end[];
extern char __data_start[], __percpu_start[], __percpu_end[], boot_stack_guard[], boot_pml4[];
static inline hpa_t image_hpa(const void *p) { return hpa((uintptr_t)p - KERNEL_BASE + arch_image_phys); }

/* ---- cpu.c ---- */
void arch_early_init(void);       /* boot/start.S: CPU 0, before kmain */
void cpu_control_init(void);      /* control registers and SYSCALL MSRs of this CPU */
extern unsigned cpu_phys_bits;

/* ---- descriptors.c ---- */
void descriptors_init_cpu(unsigned cpu, uint64_t delta, char *ist_stacks); /* writes the CPU's GDT and TSS through delta */
void descriptors_load(void);      /* this CPU: GDTR, TR, IDTR, segments; keeps GS base */
void descriptors_set_stack(uint64_t top); /* where traps and system calls of ring 3 arrive */
extern char boot_ist_stacks[IST_COUNT * IST_STACK_SIZE];

/* ---- entry.S ---- */
extern char trap_stubs[];         /* 256 stubs of 16 bytes */
extern char syscall_entry[], trap_return_user[];

/* ---- traps.c ---- */
void trap_attach(unsigned vector, void (*fn)(unsigned vector));
void nmi_stop_others(void);       /* from now on every NMI halts its CPU */

/* ---- paging.c ---- */
bool paging_sync_top(uint64_t va); /* kernel fault: true when the current root lacked a top entry of the kernel's */

/* ---- fpu.c ---- */
void fpu_init_cpu(void);
void fpu_switch(struct arch_context *from, struct arch_context *to);

/* ---- copy.S: bytes not copied ---- */
size_t user_copy(void *dst, const void *src, size_t n);
/* *out = the word at p; false when reading it faulted. */
bool safe_read64(const void *p, uint64_t *out);

/* ---- lapic.c ---- */
void lapic_detect(uint64_t base);
void lapic_init_cpu(void);
void apic_eoi(void);
uint32_t lapic_id(void);
void lapic_send(uint32_t apic_id, uint32_t command); /* interrupt command register; waits for delivery */
void lapic_send_others(uint32_t command);
void lapic_timer_oneshot(uint32_t count);
uint32_t apic_timer_count(void);
void apic_timer_arm(void);       /* unmasks this CPU's timer, stopped */

/* ---- ioapic.c, clock.c ---- */
struct acpi_info;
void ioapic_init(const struct acpi_info *info);
void pic_disable(void);
void clock_init(const struct acpi_info *info);

/* ---- smp.c ---- */
void smp_detect(void);            /* who is there: fills arch_platform.nr_cpus and the APIC ids */

/* ---- platform.c, power.c ---- */
void power_init(void);
const struct acpi_info *platform_acpi(void);

#endif
