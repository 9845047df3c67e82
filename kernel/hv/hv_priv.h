/* SPDX-License-Identifier: Apache-2.0 */
/* Between the files of kernel/hv only: what exits, devices and the life cycle of VMs ask of each other. */
#ifndef HV_HV_PRIV_H
#define HV_HV_PRIV_H

#include "hv/dev/dev.h"
#include "hv/emul.h"
#include "hv/hv.h"

/* ---- cpuid.c: the guest's CPU is data, computed once at creation ---- */
int cpuid_create(struct vm *vm);                 /* fills vm->cpuid; -ENOMEM */
void cpuid_free(struct vm *vm);
/* Answer for this vCPU (APIC ids, OSXSAVE, XSAVE size follow its state). */
void cpuid_answer(struct vcpu *v, uint32_t leaf, uint32_t sub, uint32_t out[4]);
void cpuid_execute(struct vcpu *v);              /* the instruction: leaf and sub-leaf from its registers, the answer into them */
uint64_t cpuid_guest_xcr0_mask(const struct vm *vm);  /* XCR0 bits that the guest may set */
uint64_t cpuid_guest_cr4_mask(const struct vm *vm);   /* CR4 bits that it may set */
uint64_t cpuid_guest_efer_mask(const struct vm *vm);
uint64_t cpuid_hidden_cr4(const struct vm *vm);       /* CR4 bits that the hardware would take and the guest may not set */
unsigned cpuid_guest_phys_bits(const struct vm *vm);
void cpuid_save(const struct vm *vm, struct state_out *o);
int cpuid_check(const struct vm *vm, struct state_in *in); /* -EINVAL when the saved guest CPU is not this one */

/* ---- msr.c ---- */
bool msr_read(struct vcpu *v, uint32_t msr, uint64_t *val);  /* false: #GP */
bool msr_write(struct vcpu *v, uint32_t msr, uint64_t val);
void msr_reset(struct vcpu *v, bool init);                   /* values after RESET or INIT */
void msr_save(struct vcpu *v, struct state_out *o);
int msr_load(struct vcpu *v, struct state_in *in);

/* ---- exit.c, run.c, inject.c, report.c ---- */
enum exit_action { EXIT_RESUME, EXIT_TO_RING3, EXIT_BLOCK /* halted: wait */, EXIT_STOP };
extern enum exit_action (*const exit_handler[HV_EXIT_KINDS])(struct vcpu *v); /* by v->exit.kind */
enum exit_action exit_cr_access(struct vcpu *v);             /* exit_cr.c: MOV CR, CLTS, LMSW, SMSW, MOV DR */
enum exit_action exit_xsetbv(struct vcpu *v);
enum exit_action exit_skip(struct vcpu *v, unsigned natural); /* RIP past the instruction at it; natural: its length without prefixes */
bool xcr0_valid(struct vcpu *v, uint64_t val);
bool cr_write(struct vcpu *v, unsigned cr, uint64_t val);    /* all checks of MOV to CR; false: #GP */
void vcpu_sync_xcr0(struct vcpu *v);                         /* v->xcr0 as the guest has it now; inside run */
void vcpu_load_xcr0(struct vcpu *v);                         /* after v->xcr0 changed in its own world */
void inject_events(struct vcpu *v);                          /* what is pending goes in, or its window opens */
bool inject_wakes(struct vcpu *v);                           /* does anything end HLT? */
void vcpu_request_self(struct vcpu *v, uint32_t req);        /* from its own world, between exit and entry */
#define VCPU_TRIPLE_FAULT 0xff                               /* v->exception.vector: nothing can be delivered any more */
void vcpu_report(struct vcpu *v, char *buf, size_t size, const char *why); /* registers, bytes at RIP, last exits */

/* bus.c: a byte-wide port access that ring 0 answers: the byte (0 when written), or -1 when it is not ring 0's or not byte-wide. */
int bus_port_byte(struct vcpu *v, uint16_t port, bool in, uint8_t out);

/* ---- hypercall.c: the backdoor, by port, VMMCALL or #GP from ring 3; works on v->gpr ---- */
enum backdoor_result { BACKDOOR_DONE, BACKDOOR_RING3 };
enum backdoor_result backdoor_call(struct vcpu *v);          /* EAX holds the magic */

/* ---- irq.c: interrupt messages between the devices and vCPUs of one VM ---- */
int irq_create(struct vm *vm);                   /* PIC, IOAPIC, PIT, PM timer with their callbacks */
void irq_free(struct vm *vm);
void irq_reset(struct vm *vm);
int irq_vcpu_create(struct vcpu *v);             /* its LAPIC */
void irq_deliver(struct vm *vm, const struct apic_msg *m, struct lapic *sender); /* any context */
int irq_set_gsi(struct vm *vm, unsigned gsi, bool level);   /* -EINVAL: no such line */
int irq_msi(struct vm *vm, uint64_t address, uint32_t data);
/* The interrupt that this vCPU would take now, or -1; cheap when there is none. ack takes it (LAPIC IRR to ISR, or PIC INTA) and returns the vector. */
bool irq_pending(struct vcpu *v);
int irq_ack(struct vcpu *v);
void irq_save(struct vm *vm, struct state_out *o);
int irq_load(struct vm *vm, struct state_in *in);           /* one record; tag says whose */
/* Guest time: guest nanoseconds are guest TSC ticks converted by the TSC rate. */
void irq_freeze(struct vm *vm);                  /* no device timer runs until thaw */
void irq_thaw(struct vm *vm);
uint64_t vm_guest_ns(const struct vm *vm);
uint64_t vm_guest_ns_to_host(const struct vm *vm, uint64_t guest_ns); /* host clock time; UINT64_MAX stays */

/*
 * ---- state records: every *_save above and in hv.h, emul.h, dev.h writes exactly one whole record (state_begin .. state_end) with its tag
 * below, version 1 and, where it belongs to a vCPU, the vCPU's index as instance; the *_load gets that record's payload. ----
 */
#define STATE_VM STATE_TAG('V', 'M', ' ', ' ')         /* state.c: first record */
#define STATE_CPUID STATE_TAG('C', 'P', 'I', 'D')      /* cpuid_save */
#define STATE_VCPU STATE_TAG('V', 'C', 'P', 'U')       /* state.c: gpr, rip, rflags, activity, events, FPU, tsc_offset, run page's pending answer */
#define STATE_HW STATE_TAG('V', 'C', 'H', 'W')         /* hv->save: control registers, segments, MSRs that the hardware switches, shadow */
#define STATE_MSR STATE_TAG('M', 'S', 'R', ' ')        /* msr_save */
#define STATE_EMUL STATE_TAG('E', 'M', 'U', 'L')       /* emul_save */
/* STATE_LAPIC, STATE_IOAPIC, STATE_PIC, STATE_PIT: dev/dev.h */

/* ---- vm.c, vcpu.c ---- */
/* APIC id of a vCPU: sockets and cores as the guest's CPUID tells them. cores_per_socket need not be a power of two. */
static inline uint32_t vcpu_topology_id(const struct vmm_create *c, unsigned index)
{
	unsigned cores = c->cores_per_socket ? c->cores_per_socket : 1;
	unsigned bits = cores > 1 ? 32 - (unsigned)__builtin_clz(cores - 1) : 0;

	return index / cores << bits | index % cores;
}
int vm_set_state(struct vm *vm, enum vmm_state to);         /* the only setter; -EINVAL for a transition that does not exist */
void vcpu_reset(struct vcpu *v, bool init);                 /* registers, APIC, MSRs; INIT keeps what INIT keeps */
void vcpu_start_sipi(struct vcpu *v, uint8_t vector);
int vm_start(struct vm *vm);                                /* at the first VMM_RUN */
int vm_lock_paused(struct vm *vm);                          /* 0 with vm->lock held; -EBUSY not paused, -EIO broken */
int vm_add_range(struct vm *vm, const struct vmm_range *r);
int vm_claim_ports(struct vm *vm, const struct vmm_ports *p);
int vcpu_create_parts(struct vcpu *v);                      /* backend, emulation, LAPIC: what a rebuild makes anew */
void vcpu_free_parts(struct vcpu *v);
int vcpu_claim(struct vcpu *v);                             /* keeps others out of run until vcpu_leave(); -EBUSY */
int64_t vcpu_map_run_page(struct vcpu *v, struct aspace *as, int prot);

/* ---- torture.c: the helper world that keeps moving a VM's memory (debug) ---- */
int torture_start(struct vm *vm);
void torture_stop(struct vm *vm);

#endif
