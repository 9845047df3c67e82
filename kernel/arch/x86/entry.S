/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every way into ring 0 and out of it: 256 trap stubs, SYSCALL, returns.
 *
 * GS discipline: in ring 0 the GS base is the CPU's per-CPU delta, ring 3's base waits in KERNEL_GS_BASE. Ordinary
 * traps look at the CS that was interrupted. NMI, double fault and machine check may interrupt the few instructions
 * where CS says ring 0 and GS is still ring 3's, so they trust neither: they take the delta from above their own stack
 * (descriptors.c), and put back whatever GS base they found.
 *
 * The frame below is struct trap_frame (arch.h). IRET to ring 3 cannot fault: traps.c sanitizes the frame first.
 */
#include "arch/x86/x86.h"

.macro push_regs
	pushq	%rdi
	pushq	%rsi
	pushq	%rdx
	pushq	%rcx
	pushq	%rax
	pushq	%r8
	pushq	%r9
	pushq	%r10
	pushq	%r11
	pushq	%rbx
	pushq	%rbp
	pushq	%r12
	pushq	%r13
	pushq	%r14
	pushq	%r15
	xorl	%ebp, %ebp	/* backtraces end here, and go on from the frame's own rip and rbp */
.endm
.macro pop_regs
	popq	%r15
	popq	%r14
	popq	%r13
	popq	%r12
	popq	%rbp
	popq	%rbx
	popq	%r11
	popq	%r10
	popq	%r9
	popq	%r8
	popq	%rax
	popq	%rcx
	popq	%rdx
	popq	%rsi
	popq	%rdi
.endm

	.section .text.entry, "ax"
	.globl trap_stubs
	.balign 16
trap_stubs:
	.set	vec, 0
	.rept	256
	.balign	16
	.if	!(vec == 8 || vec == 10 || vec == 11 || vec == 12 || vec == 13 || vec == 14 || vec == 17 || vec == 21 || vec == 29 || vec == 30)
	pushq	$0
	.endif
	pushq	$vec
	.if	vec == VEC_NMI || vec == VEC_DOUBLE_FAULT || vec == VEC_MACHINE_CHECK
	jmp	trap_paranoid
	.else
	jmp	trap_common
	.endif
	.set	vec, vec + 1
	.endr

trap_common:
	cld
	CLAC
	testb	$3, 24(%rsp)	/* CS */
	jz	1f
	swapgs
1:	push_regs
	movq	%rsp, %rdi
	call	trap_dispatch
	testb	$3, TF_CS(%rsp)
	jnz	trap_return_user
trap_return_kernel:
	pop_regs
	addq	$16, %rsp
	iretq

	/* RSP at a frame of ring 3, interrupts off. */
	.globl trap_return_user
trap_return_user:
	pop_regs
	addq	$16, %rsp
	swapgs
	iretq

trap_paranoid:
	cld
	CLAC
	push_regs
	movl	$MSR_GS_BASE, %ecx
	rdmsr
	movl	%eax, %r12d	/* r12d:r13d = GS base as found */
	movl	%edx, %r13d
	movl	TF_SIZE(%rsp), %eax
	movl	TF_SIZE + 4(%rsp), %edx
	wrmsr
	movq	%rsp, %rdi
	call	trap_dispatch_paranoid
	movl	$MSR_GS_BASE, %ecx
	movl	%r12d, %eax
	movl	%r13d, %edx
	wrmsr
	jmp	trap_return_kernel

	.globl syscall_entry
syscall_entry:
	swapgs
	movq	%rsp, %gs:syscall_user_rsp
	movq	%gs:syscall_stack, %rsp
	pushq	$SEL_USER_DATA
	pushq	%gs:syscall_user_rsp
	pushq	%r11
	pushq	$SEL_USER_CODE
	pushq	%rcx
	pushq	$0
	pushq	$VEC_SYSCALL
	push_regs
	movq	%rsp, %rdi
	call	syscall_dispatch
	testb	%al, %al	/* may SYSRET restore this frame? */
	jz	trap_return_user
	pop_regs
	movq	16(%rsp), %rcx
	movq	32(%rsp), %r11
	movq	40(%rsp), %rsp	/* ring 3's stack while still in ring 0: only NMI and #MC can come, on stacks of their own */
	swapgs
	sysretq

	/* void switch_stacks(uint64_t *save_rsp, uint64_t new_rsp): callee-saved registers travel on the stacks. */
	.text
	.globl switch_stacks
switch_stacks:
	pushq	%rbp
	pushq	%rbx
	pushq	%r12
	pushq	%r13
	pushq	%r14
	pushq	%r15
	movq	%rsp, (%rdi)
	movq	%rsi, %rsp
	popq	%r15
	popq	%r14
	popq	%r13
	popq	%r12
	popq	%rbx
	popq	%rbp
	ret

	/* First switch into a context: arch_context_init() left the entry in rbx and its argument in r12. */
	.globl context_start
context_start:
	xorl	%ebp, %ebp
	movq	%r12, %rdi
	call	*%rbx
	ud2	/* an entry function ends by leaving its world, never by returning */
