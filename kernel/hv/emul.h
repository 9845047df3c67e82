/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Instruction emulation and the software walk of guest page tables: only what the hardware leaves to us (no next RIP, MMIO,
 * string I/O, task switches). Works on a struct vcpu through hv_ops and gmem; raises guest exceptions by vcpu_raise_*().
 *
 * All run in the vCPU's world with interrupts on and preemption on unless said; they may sleep only by faulting in guest RAM.
 */
#ifndef HV_EMUL_H
#define HV_EMUL_H

#include "hv/hv.h"

enum emul_result {
	EMUL_DONE,   /* finished: RIP advanced (or an exception raised): enter the guest again */
	EMUL_RING3,  /* v->run is filled: ring 3 answers; emul_resume() finishes the instruction */
	EMUL_FAIL    /* cannot be emulated; vcpu_stop() was called and says why */
};

/* ---- walking the guest's own page tables (emul_walk.c) ---- */
#define WALK_WRITE BIT(0)
#define WALK_USER BIT(1)
#define WALK_EXEC BIT(2)
#define WALK_IMPLICIT BIT(3) /* supervisor access by the CPU itself (descriptor tables, TSS): AC does not matter */
enum walk_result { WALK_OK, WALK_FAULT /* *error is the #PF code to raise */ }; /* tables outside RAM read as all ones */
/* All modes: no paging, 32-bit, PAE, 4 and 5 levels; SMEP, SMAP, NX, protection keys as the CPU would. Sets accessed/dirty. A few dozen instructions a level. */
enum walk_result emul_walk(struct vcpu *v, uint64_t gva, unsigned access, gpa_t *out, uint32_t *error);
/* Without sleeping or faulting, rights not looked at; false: use emul_fetch(). For reports and for code that has just run. */
bool emul_fetch_fast(struct vcpu *v, uint8_t *buf, unsigned n);
/* Instruction bytes at CS:RIP, up to n (15); returns how many could be read before a fault; 0 and #PF or #GP raised when none (nothing raised where no RAM is). */
unsigned emul_fetch(struct vcpu *v, uint8_t buf[15], unsigned n);
/* Guest-virtual copies with all checks of a data access at the vCPU's CPL: 0, -EFAULT with the exception raised, -EIO where no RAM is. */
int emul_read_virtual(struct vcpu *v, enum hv_seg seg, uint64_t offset, void *buf, unsigned n);
int emul_write_virtual(struct vcpu *v, enum hv_seg seg, uint64_t offset, const void *buf, unsigned n);

/* ---- decoding (emul_decode.c): pure, no vcpu; fuzzed against Zydis ---- */
struct emul_insn;
/* Length of the instruction whose opcode the exit implies (cpuid, rdmsr, wrmsr, vmmcall, hlt, …), prefixes included; 0 when the bytes do not spell one of them. */
unsigned emul_simple_length(const uint8_t *bytes, unsigned n, enum hv_exit_kind kind);

/* The same for the exit at hand, fetching at RIP: quick when the code page is the last one's. 0: fetch faulted (exception raised) or no such instruction there. */
unsigned emul_exit_length(struct vcpu *v);

/* ---- emulation (emul.c, emul_mmio.c, emul_io.c, emul_task.c) ---- */
/* Advances RIP past the instruction of v->exit (insn_len, or by decoding), clears the shadow, honours TF (single step trap). EMUL_FAIL when it cannot be decoded. */
enum emul_result emul_skip(struct vcpu *v);
/* A nested fault on gpa where no RAM is: decodes at RIP and performs the access through the handlers below. */
enum emul_result emul_mmio(struct vcpu *v);
/* v->exit.io of any form. Non-string accesses that ring 0 answers never come here with allocation or sleep. */
enum emul_result emul_io(struct vcpu *v);
/* After ring 3 wrote its answer to v->run. */
enum emul_result emul_resume(struct vcpu *v);
/* Hardware task switch, 16- and 32-bit TSS, from call, jmp, iret, gate. */
enum emul_result emul_task_switch(struct vcpu *v);
/* in/out eax,dx and rep insb/outsb from ring 3 that raised #GP on the backdoor ports: true when it was one, with what follows in *result. */
bool emul_backdoor_gp(struct vcpu *v, enum emul_result *result);
/* A backdoor call by an instruction of this length (port or VMMCALL): backdoor_call(), RIP, and VMM_EXIT_RPC where ring 3 answers. */
enum emul_result emul_backdoor(struct vcpu *v, unsigned insn_len);
/* Emulation's continuation (v->emul) across ring 3 answers: allocated with the vCPU, part of its state. */
int emul_init(struct vcpu *v);
void emul_free(struct vcpu *v);
void emul_save(struct vcpu *v, struct state_out *o);
int emul_load(struct vcpu *v, struct state_in *in);

/* ---- where accesses go (bus.c, by the run loop's side) ---- */
enum bus_result { BUS_DONE, BUS_RING3 };
/* Ports and MMIO answered in ring 0 fill *val (reads) and say BUS_DONE; others are ring 3's. Size 1, 2, 4 (ports), 1..8 (MMIO). */
enum bus_result bus_port(struct vcpu *v, uint16_t port, unsigned size, bool in, uint32_t *val);
enum bus_result bus_mmio(struct vcpu *v, gpa_t gpa, unsigned size, bool write, uint64_t *val);

#endif
