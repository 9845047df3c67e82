/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Constants of the processor that C and assembly share: control bits, MSRs, selectors, interrupt
 * vectors, offsets of structures that entry.S and switch.S touch. AMD APM vol. 2 and Intel SDM vol. 3
 * name them; no policy here.
 */
#ifndef ARCH_X86_X86_H
#define ARCH_X86_X86_H

/* Control registers */
#define CR0_PE 0x1
#define CR0_MP 0x2
#define CR0_ET 0x10
#define CR0_NE 0x20
#define CR0_WP 0x10000
#define CR0_PG 0x80000000
#define CR4_PAE 0x20
#define CR4_MCE 0x40
#define CR4_PGE 0x80
#define CR4_OSFXSR 0x200
#define CR4_OSXMMEXCPT 0x400
#define CR4_UMIP 0x800
#define CR4_OSXSAVE 0x40000
#define CR4_SMEP 0x100000
#define CR4_SMAP 0x200000
#define RFLAGS_CF 0x1
#define RFLAGS_TF 0x100
#define RFLAGS_IF 0x200
#define RFLAGS_DF 0x400
#define RFLAGS_NT 0x4000
#define RFLAGS_RF 0x10000
#define RFLAGS_AC 0x40000

/* Model-specific registers */
#define MSR_APIC_BASE 0x1b
#define MSR_TSC_DEADLINE 0x6e0
#define MSR_X2APIC 0x800 /* + register offset / 16 */
#define MSR_EFER 0xc0000080
#define MSR_STAR 0xc0000081
#define MSR_LSTAR 0xc0000082
#define MSR_CSTAR 0xc0000083
#define MSR_SFMASK 0xc0000084
#define MSR_FS_BASE 0xc0000100
#define MSR_GS_BASE 0xc0000101
#define MSR_KERNEL_GS_BASE 0xc0000102
#define EFER_SCE 0x1
#define EFER_LME 0x100
#define EFER_NXE 0x800

/* Selectors: the order is dictated by SYSCALL and SYSRET (APM vol. 2, 6.1.1) */
#define SEL_KERNEL_CODE 0x08
#define SEL_KERNEL_DATA 0x10
#define SEL_USER_CODE32 0x1b /* never loaded; SYSRET counts from it */
#define SEL_USER_DATA 0x23
#define SEL_USER_CODE 0x2b
#define SEL_TSS 0x30

/* Interrupt stacks that the TSS offers */
#define IST_NMI 1
#define IST_DOUBLE_FAULT 2
#define IST_MACHINE_CHECK 3
#define IST_COUNT 3
#define IST_STACK_SIZE 8192

/* Vectors */
#define VEC_DEBUG 1
#define VEC_NMI 2
#define VEC_BREAKPOINT 3
#define VEC_OVERFLOW 4
#define VEC_DOUBLE_FAULT 8
#define VEC_GENERAL_PROTECTION 13
#define VEC_PAGE_FAULT 14
#define VEC_MACHINE_CHECK 18
#define VEC_PIC_BASE 0x20 /* masked; only its spurious interrupts could come */
#define VEC_ISA_BASE 0x30 /* + ISA line, through the IOAPIC */
#define VEC_RESCHED 0xf1
#define VEC_CALL 0xf2
#define VEC_TIMER 0xf3
#define VEC_APIC_ERROR 0xf4
#define VEC_SPURIOUS 0xff
#define VEC_SYSCALL 256

/* struct trap_frame, asserted in traps.c */
#define TF_RDI 112
#define TF_VECTOR 120
#define TF_RIP 136
#define TF_CS 144
#define TF_RFLAGS 152
#define TF_RSP 160
#define TF_SIZE 176

/* Kinds of entry in the table of instructions that may fault */
#define FIXUP_PLAIN 0
#define FIXUP_USER 1 /* at a user address: hooks.user_copy_fault may resolve it */

#ifdef __ASSEMBLER__
/* If the instruction at `insn` faults, execution goes on at `target`. */
.macro fixup insn, target, kind=FIXUP_PLAIN
	.pushsection .fixups, "a"
	.balign 8
	.quad \insn, \target, \kind
	.popsection
.endm
/* Three bytes that cpu.c replaces by CLAC or STAC where the CPU has SMAP. */
.macro smap_site kind
	.pushsection .smap_sites, "a"
	.balign 8
	.quad 7801f, \kind
	.popsection
7801:	.byte 0x0f, 0x1f, 0x00
.endm
#define CLAC smap_site 0xca
#define STAC smap_site 0xcb
#endif

#endif
