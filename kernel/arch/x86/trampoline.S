/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where another CPU starts: real mode at SMP_TRAMPOLINE (a page below 1 MiB into which smp.c copies this), through the boot
 * tables into the image, then onto its own stack. It claims the one open place first: a CPU that comes after its time
 * limit finds none and halts for good.
 */
#include "arch/x86/smp.h"
#include "arch/x86/x86.h"

#define AT(sym) (SMP_TRAMPOLINE + (sym) - trampoline_start)

	.section .rodata
	.balign 16
	.globl trampoline_start, trampoline_end, trampoline_root
	.code16
trampoline_start:
	cli
	cld
	xorw	%ax, %ax
	movw	%ax, %ds
	lgdtl	AT(trampoline_gdt_ptr)
	movl	%cr0, %eax
	orl	$CR0_PE, %eax
	movl	%eax, %cr0
	ljmpl	$0x18, $AT(1f)
	.code32
1:	movl	$SEL_KERNEL_DATA, %eax
	movl	%eax, %ds
	movl	%eax, %ss
	movl	$CR4_PAE, %eax
	movl	%eax, %cr4
	movl	AT(trampoline_root), %eax
	movl	%eax, %cr3
	movl	$MSR_EFER, %ecx
	rdmsr
	orl	$(EFER_LME | EFER_NXE), %eax
	wrmsr
	movl	$(CR0_PG | CR0_WP | CR0_NE | CR0_ET | CR0_MP | CR0_PE), %eax
	movl	%eax, %cr0
	ljmpl	$SEL_KERNEL_CODE, $AT(2f)
	.code64
2:	movabs	$ap_high, %rax
	jmp	*%rax

	.balign 8
trampoline_gdt: /* 64-bit code, data, 32-bit code */
	.quad	0, 0x00af9b000000ffff, 0x00cf93000000ffff, 0x00cf9b000000ffff
trampoline_gdt_ptr:
	.word	4 * 8 - 1
	.long	AT(trampoline_gdt)
	.balign 4
trampoline_root: /* the boot tables, below 4 GiB */
	.long	0
trampoline_end:

	.section .text.entry, "ax"
ap_high:
	movl	$SMP_OPEN, %eax
	movl	$SMP_CLAIMED, %ecx
	lock cmpxchgl %ecx, smp_claim(%rip)
	jne	1f
	movq	arch_kernel_root(%rip), %rax
	movq	%rax, %cr3
	movq	smp_stack(%rip), %rsp
	movl	smp_delta(%rip), %eax
	movl	smp_delta + 4(%rip), %edx
	movl	$MSR_GS_BASE, %ecx
	wrmsr
	xorl	%ebp, %ebp
	call	smp_ap_main
1:	cli
	hlt
	jmp	1b
