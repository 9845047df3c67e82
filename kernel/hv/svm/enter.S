/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The world switch: void svm_enter(struct vcpu *v, uint64_t vmcb_pa, uint64_t host_pa), interrupts off.
 *
 * GIF stays 0 from CLGI to STGI, so nothing of the host runs while GS, FS, TR and the syscall MSRs are the guest's. The host's
 * IF is 1 at VMRUN, which lets physical interrupts end guest mode (V_INTR_MASKING, APM 15.21.1); they are taken at STGI, when
 * VMLOAD has brought back the host's GS, and CLI closes the door again. v->gpr[16] stands at offset 0: rax rcx rdx rbx rsp
 * rbp rsi rdi r8 .. r15; rax and rsp travel through the VMCB.
 */
	.text
	.globl svm_enter
	.type svm_enter, @function
svm_enter:
	push %rbp
	mov %rsp, %rbp
	push %rbx
	push %r12
	push %r13
	push %r14
	push %r15
	push %rdx		/* host_pa */
	push %rdi		/* v */
	mov %rsi, %rax
	clgi
	sti
	mov 8(%rdi), %rcx
	mov 16(%rdi), %rdx
	mov 24(%rdi), %rbx
	mov 40(%rdi), %rbp
	mov 48(%rdi), %rsi
	mov 64(%rdi), %r8
	mov 72(%rdi), %r9
	mov 80(%rdi), %r10
	mov 88(%rdi), %r11
	mov 96(%rdi), %r12
	mov 104(%rdi), %r13
	mov 112(%rdi), %r14
	mov 120(%rdi), %r15
	mov 56(%rdi), %rdi
	vmload %rax
	vmrun %rax
	vmsave %rax		/* VMRUN's exit restored the host's rax: vmcb_pa */
	mov 8(%rsp), %rax
	vmload %rax
	mov (%rsp), %rax
	mov %rcx, 8(%rax)
	mov %rdx, 16(%rax)
	mov %rbx, 24(%rax)
	mov %rbp, 40(%rax)
	mov %rsi, 48(%rax)
	mov %rdi, 56(%rax)
	mov %r8, 64(%rax)
	mov %r9, 72(%rax)
	mov %r10, 80(%rax)
	mov %r11, 88(%rax)
	mov %r12, 96(%rax)
	mov %r13, 104(%rax)
	mov %r14, 112(%rax)
	mov %r15, 120(%rax)
	add $16, %rsp
	pop %r15
	pop %r14
	pop %r13
	pop %r12
	pop %rbx
	pop %rbp
	stgi			/* pending host interrupts and NMIs are taken here */
	nop
	cli
	ret
	.size svm_enter, . - svm_enter
	.section .note.GNU-stack, "", @progbits
