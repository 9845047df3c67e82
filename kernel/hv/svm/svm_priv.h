/* SPDX-License-Identifier: Apache-2.0 */
/* Between the files of kernel/hv/svm: a vCPU's and a CPU's SVM state, and what each file offers the others. */
#ifndef HV_SVM_PRIV_H
#define HV_SVM_PRIV_H

#include "hv/hv.h"
#include "hv/hv_priv.h"
#include "hv/svm/vmcb.h"

#define SVM_MAX_ASIDS 256 /* more buy nothing: a CPU runs few vCPUs between two renewals */

enum svm_nmi { NMI_OPEN, NMI_MASKED, NMI_LEAVING /* IRET seen, not yet executed */, NMI_STEPPING /* over that IRET */ };

struct svm_vcpu {
	struct vmcb *vmcb;
	uint64_t vmcb_pa;
	uint64_t load_id;         /* new at every vcpu_load: whose host state a CPU keeps */
	uint64_t asid_generation; /* of the CPU that gave vmcb->c.asid; 0 asks for a new one */
	uint64_t guest_ne;        /* CR0.NE as the guest wrote it; the hardware's is always set */
	union {                   /* what the next entry or exit has to look at; all clear on the short path */
		struct {
			bool virq;        /* an interrupt stands in int_ctl */
			bool breakpoints; /* DR7 enables some: load DR0 to DR3 at entry */
			bool stepping;    /* nmi == NMI_STEPPING */
			bool unused;
		};
		uint32_t watch;
	};
	enum svm_nmi nmi;
	uint64_t nmi_iret_rip;
	bool guest_tf;            /* RFLAGS.TF of the guest under NMI_STEPPING */
	bool unready;             /* the next entry must look at ASID, TSC_AUX, breakpoints */
	bool window;              /* int_ctl holds the dummy of an interrupt window */
	uint8_t tpr;              /* V_TPR as last told to the LAPIC */
	uint64_t hwcr, nb_cfg, de_cfg, syscfg, debugctl; /* MSRs that hold what was written */
	struct vmcb *shadow;      /* debug: as it stood after the last exit */
};

struct svm_cpu {
	void *hsave;              /* VMRUN's own save area */
	struct vmcb *host;        /* VMSAVE of the host's segment and syscall state */
	uint64_t host_pa;
	uint64_t host_of;         /* load_id whose world's state `host` holds */
	uint64_t ready_for;       /* load_id that was here last: its ASID and TSC_AUX are in place */
	uint64_t generation;      /* count << 8 | CPU id + 1: unique on the machine */
	uint32_t next_asid;
	uint64_t tsc_aux;         /* in the MSR now */
	uint64_t flushed[SVM_MAX_ASIDS]; /* debug: nested generation that each ASID was last flushed for */
};
DECLARE_PERCPU(struct svm_cpu, svm_cpu_data);

struct svm_features { uint32_t edx, asids; bool nrip, decode, clean, flush_asid, tsc_aux; uint32_t clean_mask; };
extern struct svm_features svm_features;
extern void *svm_msrpm, *svm_iopm;

static inline struct svm_vcpu *svm_of(const struct vcpu *v) { return v->backend; }
static inline void svm_dirty(struct svm_vcpu *s, uint32_t groups) { s->vmcb->c.clean &= ~groups; }

/* enter.S: STI under CLGI, VMRUN, pending host interrupts taken at STGI, CLI */
void svm_enter(struct vcpu *v, uint64_t vmcb_pa, uint64_t host_pa);

/* run.c */
void svm_run(struct vcpu *v);
/* exit.c: pure translation of what the VMCB says into v->exit; kinds that the backend keeps to itself come as HV_EXIT_HOST_EVENT */
void svm_exit_translate(const struct vmcb *m, const struct svm_features *f, struct hv_exit *e);
/* asid.c */
void svm_asid_renew(struct vcpu *v, struct svm_cpu *cpu);
void svm_asid_flush(struct vcpu *v);
/* event.c */
bool svm_irq_ready(struct vcpu *v);
bool svm_nmi_ready(struct vcpu *v);
void svm_inject(struct vcpu *v, const struct hv_event *e);
void svm_withdraw(struct vcpu *v);
void svm_irq_window(struct vcpu *v, bool on);
void svm_nmi_window(struct vcpu *v, bool on);
void svm_event_collect(struct vcpu *v);          /* after an exit: what was not delivered becomes v->reinject */
bool svm_event_decode(uint64_t info, struct hv_event *e);
void svm_nmi_set(struct vcpu *v, enum svm_nmi to);
void svm_nmi_iret(struct vcpu *v);               /* IRET intercept */
bool svm_nmi_stepped(struct vcpu *v, bool trap); /* an exit under NMI_STEPPING; true when it was our #DB and nothing of the guest's */
/* regs.c */
uint64_t svm_get_cr(struct vcpu *v, enum hv_cr r);
void svm_set_cr(struct vcpu *v, enum hv_cr r, uint64_t val);
void svm_get_seg(struct vcpu *v, enum hv_seg s, struct vmm_segment *out);
void svm_get_paging(struct vcpu *v, struct hv_paging *out);
void svm_set_seg(struct vcpu *v, enum hv_seg s, const struct vmm_segment *in);
void svm_set_tpr(struct vcpu *v, uint8_t tpr);
/* msr.c */
bool svm_get_msr(struct vcpu *v, uint32_t msr, uint64_t *val);
bool svm_set_msr(struct vcpu *v, uint32_t msr, uint64_t val);
void svm_msr_permit(uint8_t *map, uint32_t msr, bool write); /* reads, and writes if asked, no longer exit */
void svm_msr_reset(struct vcpu *v);
/* state.c */
void svm_save(struct vcpu *v, struct state_out *o);
int svm_load(struct vcpu *v, struct state_in *in);
size_t svm_describe(struct vcpu *v, char *buf, size_t size);
/* check.c: pure; NULL when all is well, else what is wrong */
const char *svm_check_clean(const struct vmcb *now, const struct vmcb *then);
const char *svm_check_state(const struct vmcb *m, unsigned phys_bits, unsigned linear_bits);
const char *svm_check_generation(uint64_t flushed, uint64_t entering, uint8_t tlb_control);

#endif
