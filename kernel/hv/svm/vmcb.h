/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The virtual machine control block as the processor lays it out (AMD APM volume 2, appendix B), its exit codes (appendix C)
 * and the MSRs that switch SVM on. Nothing outside this folder includes it.
 */
#ifndef HV_SVM_VMCB_H
#define HV_SVM_VMCB_H

#include "core/types.h"

struct vmcb_seg {
	uint16_t selector, attr; /* attr is struct vmm_segment's: bits 7:0 type, S, DPL, P; 11:8 AVL, L, DB, G */
	uint32_t limit;
	uint64_t base;
};

struct vmcb_control {
	uint16_t cr_read, cr_write;   /* 000: intercepts, one bit per register */
	uint16_t dr_read, dr_write;   /* 004 */
	uint32_t exceptions;          /* 008 */
	uint32_t misc1, misc2, misc3; /* 00c */
	uint8_t reserved1[0x3c - 0x18];
	uint16_t pause_threshold, pause_count; /* 03c */
	uint64_t iopm, msrpm, tsc_offset;      /* 040 */
	uint32_t asid;                /* 058 */
	uint8_t tlb_control, reserved2[3];
	uint32_t int_ctl;             /* 060 */
	uint32_t int_vector;          /* 064: low 8 bits */
	uint64_t int_state;           /* 068: bit 0 interrupt shadow */
	uint64_t exit_code, info1, info2, exit_int_info; /* 070 */
	uint64_t nested_ctl;          /* 090 */
	uint8_t reserved3[0xa8 - 0x98];
	uint64_t event_inj, nested_cr3, lbr_ctl; /* 0a8 */
	uint32_t clean, reserved4;    /* 0c0 */
	uint64_t next_rip;            /* 0c8 */
	uint8_t insn_bytes_n, insn_bytes[15]; /* 0d0 */
	uint8_t reserved5[0x400 - 0xe0];
};

struct vmcb_save {
	struct vmcb_seg es, cs, ss, ds, fs, gs, gdtr, ldtr, idtr, tr; /* 400 */
	uint8_t reserved1[0xcb - 0xa0];
	uint8_t cpl;                  /* 4cb */
	uint32_t reserved2;
	uint64_t efer;                /* 4d0 */
	uint8_t reserved3[0x148 - 0xd8];
	uint64_t cr4, cr3, cr0, dr7, dr6, rflags, rip; /* 548 */
	uint8_t reserved4[0x1d8 - 0x180];
	uint64_t rsp;                 /* 5d8 */
	uint8_t reserved5[0x1f8 - 0x1e0];
	uint64_t rax, star, lstar, cstar, sfmask, kernel_gs_base, sysenter_cs, sysenter_esp, sysenter_eip, cr2; /* 5f8 */
	uint8_t reserved6[0x268 - 0x248];
	uint64_t g_pat, debugctl, br_from, br_to, last_excp_from, last_excp_to; /* 668 */
	uint8_t reserved7[0xc00 - 0x298];
};

struct vmcb {
	struct vmcb_control c;
	struct vmcb_save s;
};
_Static_assert(sizeof(struct vmcb_control) == 0x400 && sizeof(struct vmcb) == 4096, "VMCB is one page");
_Static_assert(offsetof(struct vmcb, c.iopm) == 0x40 && offsetof(struct vmcb, c.exit_code) == 0x70, "VMCB control area");
_Static_assert(offsetof(struct vmcb, c.event_inj) == 0xa8 && offsetof(struct vmcb, c.next_rip) == 0xc8, "VMCB control area");
_Static_assert(offsetof(struct vmcb, s.cpl) == 0x4cb && offsetof(struct vmcb, s.efer) == 0x4d0, "VMCB save area");
_Static_assert(offsetof(struct vmcb, s.rip) == 0x578 && offsetof(struct vmcb, s.rsp) == 0x5d8, "VMCB save area");
_Static_assert(offsetof(struct vmcb, s.cr2) == 0x640 && offsetof(struct vmcb, s.g_pat) == 0x668, "VMCB save area");

/* misc1 */
#define ICPT_INTR BIT(0)
#define ICPT_NMI BIT(1)
#define ICPT_SMI BIT(2)
#define ICPT_INIT BIT(3)
#define ICPT_VINTR BIT(4)
#define ICPT_CR0_SEL BIT(5) /* writes that change more than TS and MP */
#define ICPT_RDPMC BIT(15)
#define ICPT_CPUID BIT(18)
#define ICPT_RSM BIT(19)
#define ICPT_IRET BIT(20)
#define ICPT_INVD BIT(22)
#define ICPT_HLT BIT(24)
#define ICPT_INVLPGA BIT(26)
#define ICPT_IOIO BIT(27)
#define ICPT_MSR BIT(28)
#define ICPT_TASK BIT(29)
#define ICPT_FERR BIT(30)
#define ICPT_SHUTDOWN BIT(31)
/* misc2 */
#define ICPT_VMRUN BIT(0)
#define ICPT_VMMCALL BIT(1)
#define ICPT_VMLOAD BIT(2)
#define ICPT_VMSAVE BIT(3)
#define ICPT_STGI BIT(4)
#define ICPT_CLGI BIT(5)
#define ICPT_SKINIT BIT(6)
#define ICPT_WBINVD BIT(9)
#define ICPT_MONITOR BIT(10)
#define ICPT_MWAIT BIT(11)
#define ICPT_MWAIT_ARMED BIT(12)
#define ICPT_XSETBV BIT(13)
#define ICPT_RDPRU BIT(14)

/* tlb_control */
enum { TLB_KEEP = 0, TLB_FLUSH_ALL = 1, TLB_FLUSH_ASID = 3 };

/* int_ctl */
#define INT_TPR 0xffull
#define INT_V_IRQ BIT(8)
#define INT_PRIO_SHIFT 16
#define INT_PRIO (0xfull << INT_PRIO_SHIFT)
#define INT_IGN_TPR BIT(20)
#define INT_MASKING BIT(24)

#define STATE_SHADOW BIT(0) /* int_state */
#define NESTED_ENABLE BIT(0)

/* event_inj and exit_int_info */
#define EVENT_VECTOR 0xffull
#define EVENT_TYPE_SHIFT 8
enum { EVENT_INTR = 0, EVENT_NMI = 2, EVENT_EXCEPTION = 3, EVENT_SOFT = 4 };
#define EVENT_HAS_ERROR BIT(11)
#define EVENT_VALID BIT(31)
#define EVENT_ERROR_SHIFT 32

/* clean: a set bit promises that the fields of its group are as the processor left or last loaded them (APM 15.15.3) */
#define CLEAN_INTERCEPTS BIT(0) /* intercepts, TSC offset, pause filter */
#define CLEAN_MAPS BIT(1)
#define CLEAN_ASID BIT(2)
#define CLEAN_INT BIT(3)        /* int_ctl, int_vector */
#define CLEAN_NESTED BIT(4)     /* nested CR3, guest PAT */
#define CLEAN_CR BIT(5)         /* CR0, CR3, CR4, EFER */
#define CLEAN_DR BIT(6)
#define CLEAN_TABLES BIT(7)     /* GDTR, IDTR */
#define CLEAN_SEG BIT(8)        /* CS, DS, SS, ES, CPL */
#define CLEAN_CR2 BIT(9)
#define CLEAN_LBR BIT(10)
#define CLEAN_ALL 0x7ffu

enum svm_exit_code {
	SVM_CR_READ = 0x00, SVM_CR_WRITE = 0x10, SVM_DR_READ = 0x20, SVM_DR_WRITE = 0x30, SVM_EXCEPTION = 0x40,
	SVM_INTR = 0x60, SVM_NMI = 0x61, SVM_SMI = 0x62, SVM_INIT = 0x63, SVM_VINTR = 0x64, SVM_CR0_SEL = 0x65,
	SVM_RDPMC = 0x6f, SVM_CPUID = 0x72, SVM_RSM = 0x73, SVM_IRET = 0x74, SVM_INVD = 0x76, SVM_PAUSE = 0x77, SVM_HLT = 0x78,
	SVM_INVLPGA = 0x7a, SVM_IOIO = 0x7b, SVM_MSR = 0x7c, SVM_TASK = 0x7d, SVM_FERR = 0x7e, SVM_SHUTDOWN = 0x7f,
	SVM_VMRUN = 0x80, SVM_VMMCALL = 0x81, SVM_VMLOAD = 0x82, SVM_VMSAVE = 0x83, SVM_STGI = 0x84, SVM_CLGI = 0x85,
	SVM_SKINIT = 0x86, SVM_WBINVD = 0x89, SVM_MONITOR = 0x8a, SVM_MWAIT = 0x8b, SVM_MWAIT_ARMED = 0x8c, SVM_XSETBV = 0x8d,
	SVM_RDPRU = 0x8e, SVM_TABLE_CODES = 0x90, /* those above are looked up in a table */
	SVM_NPF = 0x400
};

/* info1 of a port exit (APM 15.10.2) */
#define IOIO_IN BIT(0)
#define IOIO_STRING BIT(2)
#define IOIO_REP BIT(3)
#define IOIO_SIZE_SHIFT 4 /* 1, 2 or 4 */
#define IOIO_ADDR_SHIFT 7 /* 1: 16, 2: 32, 4: 64 bits */
#define IOIO_SEG_SHIFT 10
#define IOIO_PORT_SHIFT 16
/* info1 of a nested fault (APM 15.25.6) */
#define NPF_PRESENT BIT(0)
#define NPF_WRITE BIT(1)
#define NPF_EXEC BIT(4)
#define NPF_WALK BIT(33) /* while walking the guest's own tables */
/* info1 of a MOV CR exit with decode assists */
#define CR_INFO_MOV BIT(63)
/* info2 of a task switch (APM 15.14.1) */
#define TASK_IRET BIT(36)
#define TASK_JMP BIT(38)
#define TASK_HAS_ERROR BIT(44)

/* CPUID 8000000A:EDX */
#define SVMF_NPT BIT(0)
#define SVMF_LOCK BIT(2)
#define SVMF_NRIP BIT(3)
#define SVMF_CLEAN BIT(5)
#define SVMF_FLUSH_ASID BIT(6)
#define SVMF_DECODE BIT(7)

#define MSR_EFER 0xc0000080u
#define EFER_SVME BIT(12)
#define MSR_VM_CR 0xc0010114u
#define VM_CR_SVMDIS BIT(4)
#define MSR_VM_HSAVE_PA 0xc0010117u

#endif
