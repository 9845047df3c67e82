/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The public face of kernel/hv: virtual machines, vCPUs, guest memory, and the seam to the CPU vendors.
 *
 * Vendor-neutral throughout: a backend (hv/svm, later hv/vmx) fills one const struct hv_ops and translates its hardware
 * exits into struct hv_exit. The run loop (run.c), exits (exit_*.c), emulation (emul*.c), guest memory (nested.c, gmem.c) and
 * the fast devices (hv/dev) are written once. Design: docs/hv.md, docs/guest-memory.md.
 *
 * Lock order: vm->lock (mutex) > nested->lock > device locks (RANK_HVDEV). The exit path takes none of them.
 */
#ifndef HV_HV_H
#define HV_HV_H

#include "abi/state.h"
#include "abi/vmm.h"
#include "core/core.h"
#include "mem/mem.h"
#include "sched/sched.h"

struct vm;
struct vcpu;
struct lapic;
struct ioapic;
struct pic;
struct pit;
struct pmtimer;

/* ================= the seam to the vendors ================= */

enum hv_exit_kind {
	HV_EXIT_HOST_EVENT,   /* host interrupt or NMI; already taken when run() returns */
	HV_EXIT_IRQ_WINDOW,   /* guest can take an interrupt now */
	HV_EXIT_NMI_WINDOW,
	HV_EXIT_CPUID,
	HV_EXIT_RDMSR,
	HV_EXIT_WRMSR,
	HV_EXIT_IO,
	HV_EXIT_NESTED_FAULT, /* nested paging: gpa, access */
	HV_EXIT_HLT,
	HV_EXIT_HYPERCALL,
	HV_EXIT_EXCEPTION,    /* intercepted guest exception: vector, error_code, fault_address */
	HV_EXIT_CR_ACCESS,    /* where the backend cannot do it itself: cr, gpr, write */
	HV_EXIT_XSETBV,
	HV_EXIT_CACHE,        /* INVD, WBINVD: nothing to do but skip */
	HV_EXIT_PAUSE,
	HV_EXIT_TASK_SWITCH,
	HV_EXIT_UNDEFINED,    /* instruction that this virtual CPU does not have: #UD */
	HV_EXIT_SHUTDOWN,     /* triple fault */
	HV_EXIT_INVALID,      /* the hardware refused the guest state: report and stop */
	HV_EXIT_DR_ACCESS,    /* MOV from or to a debug register: cr.cr is its number */
	HV_EXIT_KINDS
};

struct hv_exit {
	enum hv_exit_kind kind;
	uint8_t insn_len;     /* 0: unknown, decode to skip */
	uint8_t vector;
	uint8_t has_error;
	uint8_t insn_bytes_n; /* bytes that the hardware captured at RIP */
	uint32_t error_code;
	uint64_t fault_address;
	union {
		struct { uint16_t port; uint8_t size; bool in, string, rep; uint8_t addr_size; uint8_t seg; } io;
		struct { gpa_t gpa; bool read, write, exec, present, walk; } mem; /* walk: during the guest's own table walk */
		struct { uint8_t cr, gpr; /* 0xff: decode */ bool write; } cr;
		struct { uint16_t selector; uint8_t reason; /* 0 call 1 iret 2 jmp 3 gate */ bool has_error; uint32_t error; } task;
	};
	uint8_t insn_bytes[15];
	uint64_t code;        /* vendor's own number, for reports and statistics only */
};

enum hv_seg { HV_ES, HV_CS, HV_SS, HV_DS, HV_FS, HV_GS, HV_LDTR, HV_TR, HV_GDTR, HV_IDTR };
enum hv_cr { HV_CR0, HV_CR2, HV_CR3, HV_CR4, HV_EFER, HV_DR6, HV_DR7, HV_CRS };
enum hv_event_type { HV_EV_INTR, HV_EV_NMI, HV_EV_EXCEPTION, HV_EV_SOFT };
struct hv_event { enum hv_event_type type; uint8_t vector; bool has_error; uint32_t error; };

/* How nested-table entries look (nested.c is one code for both vendors). */
struct hv_nested_format {
	uint64_t table;       /* bits of an entry that points to a table */
	uint64_t leaf;        /* bits of every present leaf besides r/w/x and address (memory type) */
	uint64_t read, write, exec_set, exec_clear; /* exec: bits to set, bits to clear (NX) */
	uint64_t large, accessed, dirty;
	uint64_t present_mask;/* any set: hardware calls it present */
	uint8_t levels;
};

/* What finding the bytes at RIP depends on, in one call: the exit path asks for it at every decoded exit. */
struct hv_paging { uint64_t cr0, cr3, cr4, efer, cs_base; uint32_t cs_attr; };

struct hv_ops {
	const char *name;                          /* "SVM" */
	uint32_t hypercall_flag;                   /* leaf 0x40000010, ECX: which instruction calls the backdoor */
	const struct hv_nested_format *nested;
	/* NULL when this machine has it, else one plain sentence saying what is missing. */
	const char *(*probe)(void);
	int (*setup)(void);                        /* once, before the first cpu_enable: tables, pages of every CPU */
	int (*cpu_enable)(void);                   /* on each CPU, interrupts off */
	void (*cpu_disable)(void);
	int (*vm_init)(struct vm *vm);             /* bitmaps, ids */
	void (*vm_free)(struct vm *vm);
	int (*vcpu_init)(struct vcpu *v);          /* to the state after RESET (boot CPU) */
	void (*vcpu_free)(struct vcpu *v);
	void (*vcpu_reset)(struct vcpu *v, bool init); /* INIT keeps what INIT keeps */
	void (*vcpu_load)(struct vcpu *v);         /* this CPU starts running it (preemption off) */
	void (*vcpu_put)(struct vcpu *v);
	/* Interrupts off, guest FPU loaded. Enters; fills v->exit; host events are taken before it returns with interrupts off again. */
	void (*run)(struct vcpu *v);
	uint64_t (*get_cr)(struct vcpu *v, enum hv_cr r);
	void (*set_cr)(struct vcpu *v, enum hv_cr r, uint64_t val); /* unchecked; flushes what must be */
	void (*get_paging)(struct vcpu *v, struct hv_paging *out);
	void (*get_seg)(struct vcpu *v, enum hv_seg s, struct vmm_segment *out); /* HV_SS: the CPL is its DPL */
	void (*set_seg)(struct vcpu *v, enum hv_seg s, const struct vmm_segment *in);
	bool (*irq_ready)(struct vcpu *v);         /* IF set, no shadow, nothing being injected */
	bool (*nmi_ready)(struct vcpu *v);
	void (*inject)(struct vcpu *v, const struct hv_event *e);
	void (*withdraw)(struct vcpu *v);          /* injected but not entered: back to v->reinject */
	void (*irq_window)(struct vcpu *v, bool on);
	void (*nmi_window)(struct vcpu *v, bool on);
	void (*clear_shadow)(struct vcpu *v);      /* after an instruction was skipped */
	bool (*get_msr)(struct vcpu *v, uint32_t msr, uint64_t *val); /* MSRs that the hardware switches (STAR, SYSENTER, FS base…) */
	bool (*set_msr)(struct vcpu *v, uint32_t msr, uint64_t val);
	void (*set_tsc_offset)(struct vcpu *v);    /* from v->tsc_offset */
	void (*set_tpr)(struct vcpu *v, uint8_t tpr); /* keeps CR8 as the guest sees it */
	void (*flush_guest)(struct vcpu *v);       /* all of this vCPU's translations before the next entry */
	void (*save)(struct vcpu *v, struct state_out *o);
	int (*load)(struct vcpu *v, struct state_in *in);
	size_t (*describe)(struct vcpu *v, char *buf, size_t size); /* for a report: what the hardware said */
};
extern const struct hv_ops *hv; /* chosen at INIT_HV; NULL: no virtualization here, hv_missing says why */
extern const char *hv_missing;
extern const struct hv_ops svm_ops;

/* ================= guest memory (nested.c, gmem.c) ================= */

#define NESTED_PDS 64 /* directories of the first 64 GiB are found without the levels above */
struct nested {
	struct mutex ops;         /* one change of how memory is mapped or placed at a time (gmem_torture.c, later reclaim) */
	struct spinlock lock;     /* table pages, lists of blocks. Leaf entries change by compare-and-swap. */
	hpa_t root;
	uint64_t generation;      /* atomic: raised by every downgrade; see nested_shootdown() */
	uint64_t *pd[NESTED_PDS]; /* directory of each GiB, made once and kept: the tables are the truth, these find them */
	void *free_tables;        /* lock */
	uint32_t table_blocks;    /* lock: blocks cut into table pages, index + 1 */
	uint32_t broken;          /* lock: broken blocks with a free frame, index + 1 */
	uint32_t nr_free_tables, nr_tables; /* lock */
	uint64_t extra;           /* atomic: blocks promised to this VM beyond nested_promise() */
	uint64_t blocks;          /* atomic: guest blocks touched */
	uint64_t large_leaves, small_leaves, pinned; /* atomic */
};

/* What vm.c promises for a VM of that much RAM: the RAM and the tables that its first touches need. */
uint64_t nested_promise(uint64_t memory);
int nested_init(struct vm *vm);
void nested_free(struct vm *vm);      /* all guest memory back; every vCPU gone */
/* Resolves a nested fault on RAM. 0: retry; -EFAULT: no RAM there (a device or nothing). Never fails for want of memory. */
int nested_fault(struct vm *vm, gpa_t gpa, bool write, bool exec);
/* Software walk: address for gpa, or false when not present with these rights. Exit path: a few dozen instructions at most.
 * Good for as long as preemption stays off: nobody moves or frees the frame before every CPU was seen with preemption on. */
bool nested_lookup(struct vm *vm, gpa_t gpa, bool write, hpa_t *out);
/* After downgrades: raises the generation, kicks every vCPU in guest mode and waits until none runs under an older one. */
void nested_shootdown(struct vm *vm);

#define GMEM_READ BIT(0)
#define GMEM_WRITE_PART BIT(1)
#define GMEM_WRITE_ALL BIT(2)
struct gmem_seg { hpa_t addr; uint32_t len; };
/* Pins guest RAM for DMA: fills up to max segments (contiguous frames merged). Returns their number, -EFAULT outside RAM, -E2BIG. May sleep. */
int gmem_pin(struct vm *vm, gpa_t gpa, uint64_t len, unsigned access, struct gmem_seg *seg, unsigned max);
/* At completion; written: marks dirty. */
void gmem_unpin(struct vm *vm, gpa_t gpa, uint64_t len, bool written);
/* Copies; faults in, may sleep. -EFAULT where no RAM is (nothing copied past it). */
int gmem_read(struct vm *vm, gpa_t gpa, void *buf, uint64_t len);
int gmem_write(struct vm *vm, gpa_t gpa, const void *buf, uint64_t len);
/* A short-lived pointer (window; preemption off until gmem_put), valid to the end of the 4 KiB page; NULL when a fault must be resolved first. */
void *gmem_get(struct vm *vm, gpa_t gpa, bool write);
void gmem_put(const void *p);
/* 8-byte compare-and-swap in guest memory (page-table accessed/dirty bits, locked instructions). -EAGAIN when it was not `old`. */
int gmem_cas(struct vm *vm, gpa_t gpa, unsigned size, uint64_t old, uint64_t new_value);
/* What the torture helper and later reclaim do; each may fail with -EBUSY (pinned, changed meanwhile). gpa: any in the block. */
int gmem_demote(struct vm *vm, gpa_t gpa);         /* 2 MiB leaf -> 512 entries, block stays whole */
int gmem_promote(struct vm *vm, gpa_t gpa);
int gmem_break(struct vm *vm, gpa_t gpa);          /* block -> frames with state */
int gmem_reform(struct vm *vm, gpa_t gpa);         /* frames -> one block again, copying */
int gmem_move(struct vm *vm, gpa_t gpa);           /* to another frame or block */
int gmem_protect(struct vm *vm, gpa_t gpa);        /* write-protect; next write faults and is allowed again */
int gmem_trap(struct vm *vm, gpa_t gpa);           /* not present, frame kept; next access faults it back */
bool gmem_next_present(struct vm *vm, gpa_t *gpa); /* for VMM_NEXT_PAGE */
struct gmem_stats { uint64_t touched, large_bytes, small_bytes, table_bytes, pinned; };
void gmem_get_stats(struct vm *vm, struct gmem_stats *s);

/* ================= virtual machines ================= */

#define VM_MAX_RANGES 16
struct vm_range { gpa_t base; uint64_t size; enum vmm_range_kind kind; };

struct vm {
	unsigned id;                 /* I: small number, names its memory's owner */
	struct vmm_create config;    /* I */
	struct mutex lock;           /* set-up, pause, save, load */
	enum vmm_state state;        /* vm->lock; only vm_set_state() */
	unsigned refs;               /* atomic */
	struct sched_group group;
	struct nested nested;
	unsigned nr_ranges;          /* I after the first run */
	struct vm_range range[VM_MAX_RANGES]; /* sorted by base */
	uint64_t promised;
	struct vcpu *vcpu[VMM_MAX_VCPUS];
	uint8_t *user_ports;         /* bitmap of 65536 bits: ports that exit to ring 3 */
	struct ioapic *ioapic;
	struct pic *pic;
	struct pit *pit;
	struct pmtimer *pmtimer;
	void *cpuid;                 /* struct cpuid_table, computed at creation */
	void *backend;               /* hv_ops' own */
	int64_t tsc_offset;          /* guest TSC = host TSC + this (vCPUs start equal) */
	uint32_t pause_count;        /* vm->lock */
	struct waitq pause_wait;
	struct torture *torture;     /* helper world (torture.c), or NULL */
	uint64_t torture_rounds, moves;
	uint32_t pid;                /* of its vmx */
	struct list link;            /* all VMs */
	bool broken;                 /* vm->lock: a rebuild failed half-way; only destruction is left */
	bool frozen;                 /* vm->lock: device timers stopped (paused) */
};

enum vcpu_mode { VCPU_OUT, VCPU_KERNEL, VCPU_GUEST }; /* atomic; VCPU_GUEST only between the last check and the exit */
enum vcpu_activity { VCPU_ACTIVE, VCPU_HALTED, VCPU_WAIT_SIPI };
#define VCPU_REQ_EVENT BIT(0)    /* something to inject: look at the LAPIC, NMI, … */
#define VCPU_REQ_PAUSE BIT(1)
#define VCPU_REQ_INIT BIT(2)
#define VCPU_REQ_SIPI BIT(3)
#define VCPU_REQ_FLUSH BIT(4)
#define VCPU_REQ_EXIT BIT(5)     /* leave to ring 3 with -EINTR */

struct vcpu {
	uint64_t gpr[16];            /* rax rcx rdx rbx rsp rbp rsi rdi r8..r15; all current at exit, all loaded at entry. FIRST: run.S knows it */
	uint64_t rip, rflags;        /* likewise current at exit, loaded at entry */
	struct vm *vm;
	unsigned index;
	uint32_t apic_id;
	struct world *world;         /* the one inside run, or NULL: wake_lock; set and cleared around vcpu_run() by vcpu_enter(), vcpu_leave() */
	uint32_t mode;               /* enum vcpu_mode */
	uint32_t request;            /* VCPU_REQ_*, atomic */
	enum vcpu_activity activity; /* its own world, or anybody under vm->lock while paused */
	unsigned cpu;                /* pCPU it last ran on */
	uint64_t entered_generation; /* nested generation flushed for at the last entry */
	uint8_t sipi_vector;
	uint32_t nmi_pending;        /* atomic, at most 2 count */
	struct hv_event reinject;    /* event whose delivery an exit cut short */
	bool reinject_valid;
	struct hv_event exception;   /* raised by emulation, to be injected at the next entry */
	bool exception_valid;
	bool shadow_skip;
	struct hv_exit exit;
	struct lapic *lapic;
	int64_t tsc_offset;
	uint64_t tsc_aux, xcr0, xss, apic_base, pat, mtrr[32], misc_enable, dr[4];
	void *fpu;                   /* guest XSAVE area, 64-aligned */
	struct vmm_run *run;         /* run page, a kernel page shared with vmx */
	bool answer_pending;         /* ring 3 owes an answer in the run page */
	void *emul;                  /* emulation's continuation across a ring-3 answer */
	void *backend;               /* VMCB and what belongs to it */
	uint64_t exits, exit_count[HV_EXIT_KINDS];
	uint64_t last_exit_rip[8]; uint64_t last_exit_code[8]; /* ring for reports */
	struct spinlock wake_lock;   /* `world` stays alive while it is held; any context, interrupts off */
	struct run_page *run_page;   /* owner of `run`, shared with its mappings (vcpu.c) */
	uint64_t torture_at;         /* v->exits at which VMM_EXIT_TORTURE is due; 0 = never */
	bool stopped;                /* vcpu_stop() was called: v->run->report says why */
};

/* vm.c. Creation checks everything; undo in reverse. */
int vm_create(const struct vmm_create *config, struct vm **out);
void vm_ref(struct vm *vm);
void vm_unref(struct vm *vm);
int vm_pause(struct vm *vm);     /* nests; no vCPU in run when it returns */
void vm_resume(struct vm *vm);
int vm_reset(struct vm *vm);     /* paused */
int vm_save(struct vm *vm, struct state_out *o); /* paused */
int vm_load(struct vm *vm, const uint8_t *buf, size_t len);
int vm_rebuild(struct vm *vm, bool drop_memory);
const struct vm_range *vm_range_find(const struct vm *vm, gpa_t gpa);
void vm_for_each(void (*fn)(struct vm *vm, void *ctx), void *ctx);

/* vcpu.c */
int vcpu_create(struct vm *vm, unsigned index);
void vcpu_free(struct vcpu *v);
int vcpu_get_regs(struct vcpu *v, struct vmm_regs *r);
int vcpu_set_regs(struct vcpu *v, const struct vmm_regs *r);
/* Around vcpu_run(), in the caller's world: -EBUSY when another world is inside, -EINTR while the VM is paused. */
int vcpu_enter(struct vcpu *v);
void vcpu_leave(struct vcpu *v);
void vcpu_request(struct vcpu *v, uint32_t req); /* sets bits, wakes or kicks; any context. A world that halts sets activity first, then blocks */
void vcpu_kick(struct vcpu *v);                  /* out of guest mode if it is there */

/* run.c: returns 0 with v->run filled for ring 3, or -EINTR, or -errno. */
int vcpu_run(struct vcpu *v);
/* Marks the VM stopped with a report (registers, bytes at RIP, last exits); vcpu_run then returns VMM_EXIT_STOPPED. */
void vcpu_stop(struct vcpu *v, const char *fmt, ...) __printf(2, 3);

/* Emulation raises guest exceptions here (exit path; injected at the next entry). */
void vcpu_raise(struct vcpu *v, uint8_t vector);
void vcpu_raise_error(struct vcpu *v, uint8_t vector, uint32_t error);
void vcpu_raise_pf(struct vcpu *v, uint64_t address, uint32_t error);

/* Guest's clock: TSC ticks as the guest sees them now; conversions use the host's rate. */
uint64_t vcpu_guest_tsc(const struct vcpu *v);

#endif
