/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GDT and TSS of each CPU, and the IDT that all share.
 *
 * GDT and TSS are per-CPU data. Below each interrupt stack's top lies the CPU's per-CPU delta: entry.S finds it there
 * on NMI, double fault and machine check, which may come while the GS base is still ring 3's.
 */
#include "arch/x86/arch_priv.h"

struct tss {
	uint32_t reserved0;
	uint64_t rsp[3];
	uint64_t reserved1;
	uint64_t ist[7];
	uint64_t reserved2;
	uint16_t reserved3, iomap;
} __packed;
_Static_assert(sizeof(struct tss) == 104, "APM vol. 2, 12.2.5");

struct gate {
	uint16_t offset0, selector;
	uint8_t ist, type;
	uint16_t offset1;
	uint32_t offset2, reserved;
};
_Static_assert(sizeof(struct gate) == 16, "APM vol. 2, 4.8.4");
#define GATE_INTERRUPT 0x8e
#define GATE_RING3 0x60

struct table_pointer {
	uint16_t limit;
	uint64_t base;
} __packed;

#define GDT_ENTRIES 8 /* the TSS takes two */
PERCPU(uint64_t, cpu_gdt[GDT_ENTRIES]);
PERCPU(struct tss, cpu_tss);
PERCPU(uint64_t, syscall_stack);     /* entry.S: kernel stack of the running world */
PERCPU(uint64_t, syscall_user_rsp);  /* entry.S: scratch */

static struct gate idt[256];
char boot_ist_stacks[IST_COUNT * IST_STACK_SIZE] __attribute__((aligned(16)));

static void idt_build(void)
{
	for (unsigned v = 0; v < 256; v++) {
		uint64_t stub = (uintptr_t)trap_stubs + 16 * v;

		idt[v] = (struct gate){ .offset0 = (uint16_t)stub, .selector = SEL_KERNEL_CODE, .type = GATE_INTERRUPT,
					.offset1 = (uint16_t)(stub >> 16), .offset2 = (uint32_t)(stub >> 32) };
	}
	idt[VEC_NMI].ist = IST_NMI;
	idt[VEC_DOUBLE_FAULT].ist = IST_DOUBLE_FAULT;
	idt[VEC_MACHINE_CHECK].ist = IST_MACHINE_CHECK;
	idt[VEC_BREAKPOINT].type |= GATE_RING3;
	idt[VEC_OVERFLOW].type |= GATE_RING3;
}

void descriptors_init_cpu(unsigned cpu, uint64_t delta, char *ist_stacks)
{
	uint64_t *gdt = (uint64_t *)((uintptr_t)cpu_gdt + delta);
	struct tss *tss = (struct tss *)((uintptr_t)&cpu_tss + delta);
	uint64_t base = (uintptr_t)tss;

	gdt[SEL_KERNEL_CODE / 8] = 0x00af9b000000ffff;
	gdt[SEL_KERNEL_DATA / 8] = 0x00cf93000000ffff;
	gdt[SEL_USER_CODE32 / 8] = 0x00cffb000000ffff;
	gdt[SEL_USER_DATA / 8] = 0x00cff3000000ffff;
	gdt[SEL_USER_CODE / 8] = 0x00affb000000ffff;
	gdt[SEL_TSS / 8] = (sizeof(*tss) - 1) | (base & 0xffffff) << 16 | 0x89ull << 40 | (base >> 24 & 0xff) << 56;
	gdt[SEL_TSS / 8 + 1] = base >> 32;
	tss->iomap = sizeof(*tss); /* beyond the limit: no port for ring 3 */
	for (unsigned i = 0; i < IST_COUNT; i++) {
		uint64_t *slot = (uint64_t *)(ist_stacks + (i + 1) * IST_STACK_SIZE - 16);

		*slot = delta;
		tss->ist[i] = (uintptr_t)slot;
	}
	if (cpu == 0)
		idt_build();
}

void descriptors_load(void)
{
	struct table_pointer gdtr = { sizeof(uint64_t) * GDT_ENTRIES - 1, (uintptr_t)&this_cpu(cpu_gdt) };
	struct table_pointer idtr = { sizeof(idt) - 1, (uintptr_t)idt };

	__asm__ volatile("lgdt %0\n\t"
			 "pushq %1\n\tleaq 1f(%%rip), %%rax\n\tpushq %%rax\n\tlretq\n"
			 "1:\tmovl %2, %%eax\n\tmovl %%eax, %%ss\n\tmovl %%eax, %%ds\n\tmovl %%eax, %%es\n\t"
			 "movl %3, %%eax\n\tltr %%ax\n\tlidt %4"
			 : : "m"(gdtr), "i"(SEL_KERNEL_CODE), "i"(SEL_KERNEL_DATA), "i"(SEL_TSS), "m"(idtr) : "rax", "memory");
}

void descriptors_set_stack(uint64_t top)
{
	this_cpu(cpu_tss).rsp[0] = top;
	this_cpu(syscall_stack) = top;
}
