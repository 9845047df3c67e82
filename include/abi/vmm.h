/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /dev/vmm: how a vmx process creates and runs its VM. Ring 3 is not trusted: everything is checked by the kernel.
 *
 * open("/dev/vmm") gives the system handle; VMM_CREATE on it gives a new descriptor, the VM's handle. Closing the last copy
 * of the VM's handle destroys the VM. On the VM's handle: pread/pwrite at an offset = guest-physical address (RAM and ROM),
 * mmap of one page at offset VMM_RUN_OFFSET(i) = the run page of vCPU i, and the ioctls below. All return 0 or -1/errno.
 */
#ifndef ABI_VMM_H
#define ABI_VMM_H

#include <stdint.h>

#define VMM_MAX_VCPUS 32
#define VMM_NAME_MAX 64
#define VMM_RUN_OFFSET(i) (0x1000000000000ull + ((uint64_t)(i) << 12))

/* ---- on /dev/vmm ---- */
struct vmm_create {
	uint64_t memory;        /* bytes, multiple of 4 MiB, at least 4 MiB */
	uint32_t vcpus;         /* 1 .. VMM_MAX_VCPUS */
	uint32_t shares;        /* CPU shares of the VM; 0 = 1000 per vCPU */
	uint32_t flags;         /* VMM_F_* */
	uint32_t hw_version;    /* virtualHW.version, shown by backdoor 17 */
	uint8_t bios_uuid[16];
	char name[VMM_NAME_MAX];
	uint32_t torture_exits; /* debug: every n-th exit ends VMM_RUN with VMM_EXIT_TORTURE; 0 = never */
	uint32_t torture_memory;/* debug: non-zero starts the helper world that keeps moving the VM's memory */
	uint32_t cores_per_socket; /* 0 = 1 */
	uint32_t reserved[5];
};
#define VMM_F_NO_X2APIC 1u /* hide x2APIC */
#define VMM_CREATE 0x4d01
struct vmm_vm_info {
	char name[VMM_NAME_MAX];
	uint32_t id, pid, vcpus, state; /* state: enum vmm_state */
	uint64_t memory, memory_used, overhead, exits;
	uint64_t cpu_ns;    /* CPU time of its vCPU worlds */
};
enum vmm_state { VMM_OFF, VMM_RUNNING, VMM_PAUSED, VMM_STOPPED };
struct vmm_list {
	uint64_t vms;       /* pointer to struct vmm_vm_info[capacity] */
	uint32_t capacity;
	uint32_t count;     /* out: how many there are */
};
#define VMM_LIST 0x4d02

/* ---- on a VM's handle: set-up, before the first VMM_RUN ---- */
enum vmm_range_kind { VMM_RANGE_RAM = 1, VMM_RANGE_ROM, VMM_RANGE_MMIO3 /* exits to ring 3 */ };
struct vmm_range { uint64_t gpa, size; uint32_t kind, reserved; };
/* RAM ranges (2 MiB aligned but for the 0xA0000 hole, which the kernel knows) must add up to at most `memory`. Unclaimed space reads all ones. */
#define VMM_ADD_RANGE 0x4d10
struct vmm_ports { uint16_t base, count; uint32_t reserved; }; /* these ports exit to ring 3 */
#define VMM_CLAIM_PORTS 0x4d11

/* ---- vCPU registers ---- */
struct vmm_segment { uint64_t base; uint32_t limit; uint16_t selector; uint16_t attr; /* bits 7:0 type,S,DPL,P; 11:8 AVL,L,DB,G: SVM's packed form */ };
struct vmm_regs {
	uint64_t gpr[16];      /* rax rcx rdx rbx rsp rbp rsi rdi r8 .. r15 */
	uint64_t rip, rflags;
	uint64_t cr0, cr2, cr3, cr4, efer;
	uint64_t dr6, dr7;
	struct vmm_segment es, cs, ss, ds, fs, gs, ldtr, tr, gdtr, idtr;
};
struct vmm_vcpu_regs { uint32_t vcpu; uint32_t reserved; struct vmm_regs regs; };
#define VMM_GET_REGS 0x4d20
#define VMM_SET_REGS 0x4d21 /* vCPU 0 starts so; others wait for INIT/SIPI. Values the hardware would refuse: EINVAL */

/* ---- running ---- */
struct vmm_run_arg { uint32_t vcpu; uint32_t reserved; };
/* Enters the guest; returns when ring 3 is needed, with the run page filled; the answer is written to the run page before the
 * next VMM_RUN completes it. -EINTR: a signal or VMM_PAUSE wants the thread. The argument IS the vCPU number. */
#define VMM_RUN 0x4d30
enum vmm_exit {
	VMM_EXIT_NONE = 0,
	VMM_EXIT_IO,        /* io: IN data goes to data[], OUT data stands there */
	VMM_EXIT_MMIO,      /* mmio: likewise */
	VMM_EXIT_SHUTDOWN,  /* triple fault: the VM is to be reset (a guest's usual last resort) */
	VMM_EXIT_STOPPED,   /* bad state or failed emulation: report[] says precisely why; the VM cannot go on */
	VMM_EXIT_TORTURE,   /* debug: time for save, rebuild, load */
	VMM_EXIT_RPC,       /* backdoor command that ring 3 answers: gpr in rpc.regs, answered there */
};
#define VMM_REPORT_MAX 2048
struct vmm_run {
	uint32_t exit;
	uint32_t immediate; /* ring 3 sets 1: the next VMM_RUN returns -EINTR at once, after completing a pending answer */
	union {
		struct { uint16_t port; uint8_t size, in; uint32_t count; uint8_t data[1024]; } io; /* count > 1: string, size*count <= 1024 */
		struct { uint64_t gpa; uint8_t size, write; uint8_t pad[6]; uint8_t data[8]; } mmio;
		struct { uint64_t gpr[8]; } rpc;
	};
	char report[VMM_REPORT_MAX];
};

/* ---- interrupts and events from ring 3's devices ---- */
struct vmm_irq { uint32_t gsi; uint32_t level; };
#define VMM_SET_IRQ 0x4d40 /* ISA IRQ n drives PIC input n and IOAPIC pin n (0 drives pin 2) */
struct vmm_msi { uint64_t address; uint32_t data; uint32_t reserved; };
#define VMM_MSI 0x4d41
#define VMM_PAUSE 0x4d42   /* no vCPU in guest mode when it returns; VMM_RUN gives -EINTR until VMM_RESUME */
#define VMM_RESUME 0x4d43
#define VMM_RESET 0x4d44   /* paused: vCPUs and ring-0 devices to their power-on state, memory kept */

/* ---- state: VM paused. Kernel part only: vCPUs, APICs, timers, ring-0 devices ---- */
struct vmm_state_buf { uint64_t buf; uint64_t size; /* in: capacity; out: bytes needed or used */ };
#define VMM_SAVE 0x4d50    /* E2BIG with size set when the buffer is too small */
#define VMM_LOAD 0x4d51    /* EINVAL: refused whole, VM as before */
struct vmm_rebuild { uint32_t drop_memory; uint32_t reserved; };
#define VMM_REBUILD 0x4d52 /* debug: destroys the VM behind this handle and makes it anew from its set-up; guest memory kept unless drop_memory */
/* What guest memory exists: for walking it without touching the untouched. gpa in/out: next present 4 KiB page at or after; ENOENT at the end. */
#define VMM_NEXT_PAGE 0x4d53
struct vmm_stats { uint64_t exits, large_bytes, small_bytes, torture_rounds, moves; uint64_t by_reason[32]; };
#define VMM_STATS 0x4d54
/* vmx has finished set-up: only ioctls from GET_REGS on (a reset starts its kernel anew), read/pread/pwrite/write/close on what is open, futex, clock, poll, exit, and memory calls remain.
 * Any other system call ends the process (SIGSYS) and with it the VM. */
#define PR_MICA_CONFINE 0x4d494341

#endif
