/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a tiny guest starts: Multiboot 1 entry in 32-bit protected mode, identity map of the first 4 GiB by 2 MiB pages, long mode, guest_main(magic, info).
 * Other vCPUs start at ap_trampoline (copied below 1 MiB by smp_start()) and come to ap_main(index).
 */
#define STACK 16384

	.section .multiboot, "a"
	.balign 4
	.long 0x1BADB002
	.long 3                         /* page-aligned modules, memory information */
	.long -(0x1BADB002 + 3)

	.text
	.code32
	.globl _start
_start:
	cli
	movl $boot_stack_top, %esp
	movl %eax, %edi
	movl %ebx, %esi
	call enter_long_tables
	lgdt gdt_pointer
	ljmp $0x08, $long_start

/* Paging with the tables below, long mode on; EFER.NXE too. Clobbers eax, ecx, edx. */
enter_long_tables:
	cmpl $0, page_directories_ready
	jne 2f
	movl $page_directories, %ecx
	movl $0x83, %eax                /* present, write, large */
1:	movl %eax, (%ecx)
	movl $0, 4(%ecx)
	addl $8, %ecx
	addl $0x200000, %eax
	jnc 1b
	movl $1, page_directories_ready
2:	movl %cr4, %eax
	orl $0x620, %eax                /* PAE, OSFXSR, OSXMMEXCPT */
	movl %eax, %cr4
	movl $pml4, %eax
	movl %eax, %cr3
	movl $0xC0000080, %ecx
	rdmsr
	orl $0x901, %eax                /* SCE, LME, NXE */
	wrmsr
	movl %cr0, %eax
	andl $~4, %eax
	orl $0x80010002, %eax           /* PG, WP, MP */
	movl %eax, %cr0
	ret

	.code64
long_start:
	movl $0x10, %eax
	movl %eax, %ds
	movl %eax, %es
	movl %eax, %ss
	xorl %eax, %eax
	movl %eax, %fs
	movl %eax, %gs
	movl %edi, %edi
	movl %esi, %esi
	call guest_main
1:	cli
	hlt
	jmp 1b

/* ---- other vCPUs: real mode at 0x8000 ---- */
	.code16
	.globl ap_trampoline, ap_trampoline_end
ap_trampoline:
	cli
	xorw %ax, %ax
	movw %ax, %ds
	lgdtl (0x8000 + ap_gdt_pointer - ap_trampoline)
	movl %cr0, %eax
	orl $1, %eax
	movl %eax, %cr0
	ljmpl $0x18, $ap_protected
	.balign 8
ap_gdt_pointer:
	.word gdt_end - gdt - 1
	.long gdt
ap_trampoline_end:

	.code32
ap_protected:
	movl $0x10, %eax
	movl %eax, %ds
	movl %eax, %es
	movl %eax, %ss
	movl $1, %edi
	lock xaddl %edi, ap_next        /* index of this vCPU: 1, 2, … in order of arrival */
	movl %edi, %esp
	imull $STACK, %esp
	addl $ap_stacks, %esp
	call enter_long_tables
	ljmp $0x08, $ap_long
	.code64
ap_long:
	movl $0x10, %eax
	movl %eax, %ss
	movl %eax, %ds
	movl %eax, %es
	movl %edi, %edi
	call ap_main
1:	cli
	hlt
	jmp 1b

/* ---- interrupts and exceptions: one stub each, then guest_trap(struct frame *) ---- */
	.globl trap_stubs
	.balign 16
trap_stubs:
	vector = 0
	.rept 256
	.balign 16
	.if vector == 8 || (vector >= 10 && vector <= 14) || vector == 17 || vector == 21 || vector == 29 || vector == 30
	.else
	pushq $0
	.endif
	pushq $vector
	jmp trap_common
	vector = vector + 1
	.endr
trap_common:
	pushq %rax; pushq %rcx; pushq %rdx; pushq %rbx; pushq %rbp; pushq %rsi; pushq %rdi
	pushq %r8; pushq %r9; pushq %r10; pushq %r11; pushq %r12; pushq %r13; pushq %r14; pushq %r15
	movq %rsp, %rdi
	cld
	call guest_trap
	popq %r15; popq %r14; popq %r13; popq %r12; popq %r11; popq %r10; popq %r9; popq %r8
	popq %rdi; popq %rsi; popq %rbp; popq %rbx; popq %rdx; popq %rcx; popq %rax
	addq $16, %rsp
	iretq

/* void enter_user(rip, rsp): ring 3 with IOPL 0; it comes back by an exception or int 0x80 only */
	.globl enter_user
enter_user:
	pushq $0x2b
	pushq %rsi
	pushq $0x202
	pushq $0x33
	pushq %rdi
	iretq

	.data
	.balign 16
	.globl gdt, gdt_end
gdt:	.quad 0
	.quad 0x00af9b000000ffff        /* 08 code 64 */
	.quad 0x00cf93000000ffff        /* 10 data */
	.quad 0x00cf9b000000ffff        /* 18 code 32 */
	.quad 0x00009b000000ffff        /* 20 code 16 */
	.quad 0x00cff3000000ffff        /* 28 user data */
	.quad 0x00affb000000ffff        /* 30 user code 64 */
	.quad 0x000093000000ffff        /* 38 data 16 */
	.quad 0, 0                      /* 40 TSS, filled by C */
	.quad 0, 0, 0, 0, 0, 0          /* 50.. free for tests */
gdt_end:
gdt_pointer:
	.word gdt_end - gdt - 1
	.quad gdt
page_directories_ready: .long 0
	.globl ap_next
ap_next: .long 1
	.balign 4096
	.globl pml4
pml4:	.quad pdpt + 0x7
	.fill 511, 8, 0
pdpt:	.quad page_directories + 0x7, page_directories + 0x1007, page_directories + 0x2007, page_directories + 0x3007
	.fill 508, 8, 0

	.bss
	.balign 4096
	.globl page_directories
page_directories: .skip 16384
	.skip STACK
boot_stack_top:
ap_stacks: .skip STACK * 33
