/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the loader to kmain. Both loaders enter boot_entry in 32-bit protected mode with paging off and EBX at their
 * information: QEMU by the PVH note (EBX: struct hvm_start_info, whose first word is a magic), GRUB by the Multiboot2
 * header (EAX: its magic). The code asks where it runs and computes every address from there.
 *
 * The temporary tables map the first 4 GiB at 0 and at DIRECT_BASE, and the image at KERNEL_BASE. They stay: other CPUs
 * pass through them (kernel/arch/x86/smp.c).
 */
#include "arch/x86/x86.h"

#define MULTIBOOT2_MAGIC 0xe85250d6
#define MULTIBOOT2_ENTERED 0x36d76289
#define PVH_MAGIC 0x336ec578
#define KERNEL_BASE 0xffffffff80000000
#define LOAD_PHYS 0x200000
/* Offset of a symbol of the image, or of the boot section, from the image's first byte. */
#define OFS(sym) ((sym) - KERNEL_BASE)
#define BOOT_OFS(sym) ((sym) - LOAD_PHYS)
#define PTE_TABLE 0x03
#define PTE_LARGE 0x83

	.section .boot.header, "a"
	.balign 8
mb2_header:
	.long MULTIBOOT2_MAGIC, 0, mb2_end - mb2_header, -(MULTIBOOT2_MAGIC + 0 + (mb2_end - mb2_header))
	.balign 8
	.short 6, 0	/* modules on page boundaries */
	.long 8
	.balign 8
	.short 10, 0	/* relocatable: lowest, highest address, alignment, no preference */
	.long 24, 0x200000, 0xffffffff, 0x200000, 0
	.balign 8
	.short 5, 1	/* a framebuffer, if there is one: any size, 32 bits */
	.long 20, 0, 0, 32
	.balign 8
	.short 0, 0
	.long 8
mb2_end:

	.section .note.pvh, "a", @note
	.balign 4
	.long 4, 4, 18	/* XEN_ELFNOTE_PHYS32_ENTRY */
	.asciz "Xen"
	.long boot_entry

	.section .boot, "ax"
	.code32
	.globl boot_entry
boot_entry:
	cli
	cld
	mov	%eax, %esi
	/* No stack yet: one word of low memory serves for one call, and gets its content back. */
	mov	$0x7c00, %esp
	mov	-4(%esp), %edx
	call	1f
1:	pop	%ebp
	mov	%edx, -4(%esp)
	sub	$BOOT_OFS(1b), %ebp	/* EBP: physical address of the image */
	lea	OFS(boot_stack_top)(%ebp), %esp

	rdtsc
	mov	%eax, OFS(arch_boot_tsc)(%ebp)
	mov	%edx, OFS(arch_boot_tsc) + 4(%ebp)
	mov	%ebp, OFS(arch_image_phys)(%ebp)

	mov	$1, %edi	/* EDI: kind, as kmain wants it */
	cmp	$MULTIBOOT2_ENTERED, %esi
	je	2f
	xor	%edi, %edi
	lea	BOOT_OFS(text_loader)(%ebp), %esi
	cmpl	$PVH_MAGIC, (%ebx)
	jne	boot_refuse
2:
	call	boot_check_cpu
	call	boot_build_tables

	mov	$CR4_PAE, %eax
	mov	%eax, %cr4
	lea	OFS(boot_pml4)(%ebp), %eax
	mov	%eax, %cr3
	mov	$MSR_EFER, %ecx
	rdmsr
	or	$EFER_LME, %eax
	wrmsr
	mov	$(CR0_PG | CR0_WP | CR0_NE | CR0_ET | CR0_MP | CR0_PE), %eax
	mov	%eax, %cr0

	lea	BOOT_OFS(boot_gdt)(%ebp), %eax
	mov	%eax, BOOT_OFS(boot_gdt_ptr) + 2(%ebp)
	lgdt	BOOT_OFS(boot_gdt_ptr)(%ebp)
	lea	BOOT_OFS(boot_long)(%ebp), %eax
	pushl	$SEL_KERNEL_CODE
	pushl	%eax
	lret

/* Halts with a sentence unless this CPU has long mode and no-execute pages. Keeps EBX, EDI, EBP. */
boot_check_cpu:
	push	%ebx
	push	%edi
	lea	BOOT_OFS(text_long)(%ebp), %esi
	mov	$0x80000000, %eax
	cpuid
	cmp	$0x80000001, %eax
	jb	boot_refuse
	mov	$0x80000001, %eax
	cpuid
	bt	$29, %edx
	jnc	boot_refuse
	lea	BOOT_OFS(text_nx)(%ebp), %esi
	bt	$20, %edx
	jnc	boot_refuse
	pop	%edi
	pop	%ebx
	ret

/* Temporary tables; bss is zero when the loader enters. Keeps EBX, EDI, EBP. */
boot_build_tables:
	lea	OFS(boot_pdpt)(%ebp), %eax
	or	$PTE_TABLE, %eax
	mov	%eax, OFS(boot_pml4)(%ebp)
	mov	%eax, OFS(boot_pml4) + 256 * 8(%ebp)	/* DIRECT_BASE */
	lea	OFS(boot_pdpt_image)(%ebp), %eax
	or	$PTE_TABLE, %eax
	mov	%eax, OFS(boot_pml4) + 511 * 8(%ebp)
	lea	OFS(boot_pd_image)(%ebp), %eax
	or	$PTE_TABLE, %eax
	mov	%eax, OFS(boot_pdpt_image) + 510 * 8(%ebp)

	lea	OFS(boot_pd)(%ebp), %eax	/* four directories of 1 GiB each */
	or	$PTE_TABLE, %eax
	xor	%ecx, %ecx
1:	mov	%eax, OFS(boot_pdpt)(%ebp, %ecx, 8)
	add	$4096, %eax
	inc	%ecx
	cmp	$4, %ecx
	jne	1b

	mov	$PTE_LARGE, %eax		/* 2048 pages of 2 MiB */
	xor	%ecx, %ecx
2:	mov	%eax, OFS(boot_pd)(%ebp, %ecx, 8)
	add	$0x200000, %eax
	inc	%ecx
	cmp	$2048, %ecx
	jne	2b

	mov	%ebp, %eax			/* the image, and no page more */
	or	$PTE_LARGE, %eax
	lea	OFS(__image_end)(%ebp), %edx
	xor	%ecx, %ecx
3:	mov	%eax, OFS(boot_pd_image)(%ebp, %ecx, 8)
	add	$0x200000, %eax
	inc	%ecx
	cmp	%edx, %eax
	jb	3b
	ret

/* Writes the sentence at ESI on COM1 (115200 8N1) and on the text screen, and halts. */
boot_refuse:
	lea	BOOT_OFS(uart_setup)(%ebp), %edi
	mov	$4, %ecx
1:	movzbl	(%edi), %edx
	add	$0x3f8, %edx
	mov	1(%edi), %al
	out	%al, %dx
	add	$2, %edi
	loop	1b
	mov	$0xb8000, %edi
2:	lodsb
	test	%al, %al
	jz	5f
	mov	$0x07, %ah
	mov	%ax, (%edi)
	add	$2, %edi
	mov	%al, %ah
	mov	$100000, %ecx	/* bounded: there may be no UART */
	mov	$0x3fd, %dx
3:	in	%dx, %al
	test	$0x20, %al
	loopz	3b
	mov	$0x3f8, %dx
	mov	%ah, %al
	out	%al, %dx
	jmp	2b
5:	hlt
	jmp	5b

	.code64
boot_long:
	mov	$SEL_KERNEL_DATA, %eax
	mov	%eax, %ds
	mov	%eax, %es
	mov	%eax, %ss
	xor	%eax, %eax
	mov	%eax, %fs
	mov	%eax, %gs
	movabs	$boot_high, %rax
	jmp	*%rax

uart_setup:	/* register, value: line control with divisor access, divisor 1, 8N1 */
	.byte	3, 0x80, 0, 1, 1, 0, 3, 3
text_loader:
	.asciz	"mica: started neither by PVH nor by Multiboot2; it cannot run.\r\n"
text_long:
	.asciz	"mica: this processor has no 64-bit long mode; mica cannot run.\r\n"
text_nx:
	.asciz	"mica: this processor has no no-execute pages (NX), or firmware disabled them; mica cannot run.\r\n"
	.balign 8
boot_gdt:
	.quad	0, 0x00af9b000000ffff, 0x00cf93000000ffff
boot_gdt_ptr:
	.word	3 * 8 - 1
	.long	0

	.section .text.entry, "ax"
boot_high:
	lea	boot_stack_top(%rip), %rsp
	mov	$MSR_GS_BASE, %ecx	/* CPU 0 uses the per-CPU template itself: delta 0 */
	xor	%eax, %eax
	xor	%edx, %edx
	wrmsr
	mov	%edi, %r12d
	mov	%ebx, %r13d
	xor	%ebp, %ebp
	call	arch_early_init
	mov	%r12d, %edi
	mov	%r13, %rsi
	call	kmain
1:	cli
	hlt
	jmp	1b

	.section .data
	.balign 8
	.globl arch_boot_tsc, arch_image_phys
arch_boot_tsc:
	.quad	0
arch_image_phys:
	.quad	0

	.section .bss.pages, "aw", @nobits
	.balign 4096
	.globl boot_pml4, boot_stack_guard, boot_stack_top
boot_pml4:	.skip 4096
boot_pdpt:	.skip 4096
boot_pdpt_image: .skip 4096
boot_pd:	.skip 4 * 4096
boot_pd_image:	.skip 4096
boot_stack_guard: .skip 4096	/* left unmapped by paging.c */
	.skip	16384
boot_stack_top:
