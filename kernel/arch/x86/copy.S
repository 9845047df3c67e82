/* SPDX-License-Identifier: Apache-2.0 */
/* Accesses that may fault: copies between kernel and ring 3, and a careful read for backtraces. */
#include "arch/x86/x86.h"

	.text
	/* size_t user_copy(void *dst, const void *src, size_t n): one of the two is ring 3's. Returns the bytes not copied. */
	.globl user_copy
user_copy:
	pushq	%rbp
	movq	%rsp, %rbp
	STAC
	movq	%rdx, %rcx
	andl	$7, %edx
	shrq	$3, %rcx
1:	rep movsq
	movl	%edx, %ecx
2:	rep movsb
	CLAC
	movq	%rcx, %rax
	popq	%rbp
	ret
3:	CLAC	/* words left in rcx, and the tail */
	leaq	(%rdx, %rcx, 8), %rax
	popq	%rbp
	ret
4:	CLAC
	movq	%rcx, %rax
	popq	%rbp
	ret
	fixup	1b, 3b, FIXUP_USER
	fixup	2b, 4b, FIXUP_USER

	/* bool safe_read64(const void *p, uint64_t *out) */
	.globl safe_read64
safe_read64:
5:	movq	(%rdi), %rax
	movq	%rax, (%rsi)
	movl	$1, %eax
	ret
6:	xorl	%eax, %eax
	ret
	fixup	5b, 6b
