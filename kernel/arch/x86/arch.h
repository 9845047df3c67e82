/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The public face of kernel/arch: what the rest of the kernel may ask of the processor and the
 * platform. kernel/arch/x86 implements it on the machine, kernel/arch/host on Linux so that kernel
 * files link into host tests.
 *
 * Upward calls go through `arch_hooks`, filled by the layers above before interrupts are enabled.
 */
#ifndef ARCH_X86_ARCH_H
#define ARCH_X86_ARCH_H

#include "core/types.h"

/* ---- address-space layout (docs/memory-map.md) ---- */
#define USER_TOP 0x00007ffffffff000ull        /* first address that ring 3 cannot have */
#define DIRECT_BASE 0xffff800000000000ull     /* + hpa: the kernel's own blocks, and only those */
#define BLOCKTAB_BASE 0xffffc00000000000ull   /* block descriptors */
#define VMAP_BASE 0xffffd00000000000ull       /* stacks with guard pages, device registers */
#define WINDOW_BASE 0xffffe00000000000ull     /* per-CPU windows onto frames that are not ours */
#define KERNEL_BASE 0xffffffff80000000ull     /* the image, wherever it lies physically */

/* ---- what the entry code noted before kmain ---- */
extern uint64_t arch_boot_tsc;   /* TSC at entry (INIT_ARCH copies it into boot_info) */
extern uint64_t arch_image_phys; /* where KERNEL_BASE lies physically: address of the image's first byte */

/* ---- what a trap or system call pushed; layout known to entry.S ---- */
struct trap_frame {
	uint64_t r15, r14, r13, r12, rbp, rbx, r11, r10, r9, r8, rax, rcx, rdx, rsi, rdi;
	uint64_t vector; /* or 256 for SYSCALL */
	uint64_t error;
	uint64_t rip, cs, rflags, rsp, ss;
};
static inline bool trap_from_user(const struct trap_frame *tf) { return (tf->cs & 3) == 3; }

/* ---- instructions ---- */
#ifndef __KERNEL_HOST_TEST__
static inline uint64_t arch_rdtsc(void)
{
	uint32_t lo, hi;
	__asm__ volatile("rdtsc" : "=a"(lo), "=d"(hi));
	return (uint64_t)hi << 32 | lo;
}
static inline uint64_t arch_irq_save(void)
{
	uint64_t f;
	__asm__ volatile("pushfq; popq %0; cli" : "=r"(f) : : "memory");
	return f;
}
static inline void arch_irq_restore(uint64_t f)
{
	if (f & 0x200)
		__asm__ volatile("sti" : : : "memory");
}
static inline void arch_irq_enable(void) { __asm__ volatile("sti" : : : "memory"); }
static inline void arch_irq_disable(void) { __asm__ volatile("cli" : : : "memory"); }
static inline void arch_pause(void) { __asm__ volatile("pause"); }
static inline uint64_t rdmsr(uint32_t msr)
{
	uint32_t lo, hi;
	__asm__ volatile("rdmsr" : "=a"(lo), "=d"(hi) : "c"(msr));
	return (uint64_t)hi << 32 | lo;
}
static inline void wrmsr(uint32_t msr, uint64_t v)
{
	__asm__ volatile("wrmsr" : : "c"(msr), "a"((uint32_t)v), "d"((uint32_t)(v >> 32)) : "memory");
}
static inline void arch_cpuid(uint32_t leaf, uint32_t sub, uint32_t r[4])
{
	__asm__ volatile("cpuid" : "=a"(r[0]), "=b"(r[1]), "=c"(r[2]), "=d"(r[3]) : "a"(leaf), "c"(sub));
}
static inline uint8_t inb(uint16_t port)
{
	uint8_t v;
	__asm__ volatile("inb %w1, %0" : "=a"(v) : "Nd"(port));
	return v;
}
static inline void outb(uint16_t port, uint8_t v) { __asm__ volatile("outb %0, %w1" : : "a"(v), "Nd"(port)); }
static inline uint32_t inl(uint16_t port)
{
	uint32_t v;
	__asm__ volatile("inl %w1, %0" : "=a"(v) : "Nd"(port));
	return v;
}
static inline void outl(uint16_t port, uint32_t v) { __asm__ volatile("outl %0, %w1" : : "a"(v), "Nd"(port)); }
extern uint64_t percpu_self_delta; /* per-CPU symbol of arch's, read through %gs */
static inline uint64_t arch_percpu_delta(void)
{
	uint64_t d;
	__asm__("movq %%gs:percpu_self_delta, %0" : "=r"(d));
	return d;
}
#else
#include "arch/host/arch_host.h"
#endif
/* Faulting-safe MSR access: 0, or -EFAULT when the CPU raised #GP. */
int arch_rdmsr_safe(uint32_t msr, uint64_t *v);
int arch_wrmsr_safe(uint32_t msr, uint64_t v);

/* ---- this CPU ---- */
unsigned arch_cpu_id(void);
uint32_t arch_apic_id(unsigned cpu);
/* Enables interrupts and halts in one step: an interrupt that was already pending ends the halt. */
void arch_idle(void);
_Noreturn void arch_halt_forever(void);
/* Return addresses by frame pointers, innermost first: of the code that tf interrupted (its rip first), or of the caller
 * when tf is NULL. Reads nothing that could fault for good: a damaged stack only shortens the list. */
unsigned arch_backtrace(const struct trap_frame *tf, uint64_t *pc, unsigned max);
/* ACPI S5 where known, then the emulators' ports, then halts. */
_Noreturn void arch_power_off(void);
_Noreturn void arch_reboot(void);

/* ---- clock: nanoseconds since power-on, from the TSC ---- */
extern uint64_t tsc_hz;
extern uint64_t apic_timer_hz;
uint64_t clock_ns(void);
uint64_t tsc_to_ns(uint64_t ticks);
uint64_t ns_to_tsc(uint64_t ns);
/* One-shot interrupt of this CPU at clock time ns (past: at once; UINT64_MAX: none). Calls hooks.timer. */
void arch_timer_set(uint64_t ns);

/* ---- interrupts between CPUs ---- */
enum ipi { IPI_RESCHED, IPI_CALL };
void arch_ipi_send(unsigned cpu, enum ipi kind);
void arch_ipi_panic_all(void); /* NMI: every other CPU stops */
/* Runs fn(arg) with interrupts off on every CPU of mask (bit per id; this CPU included when set) and waits for all. Interrupts must be on. core/smp.c */
void smp_call(uint64_t mask, void (*fn)(void *), void *arg);
void smp_call_all(void (*fn)(void *), void *arg);

/* ---- device interrupts: legacy ISA line through the IOAPIC (edge unless MADT overrides) ---- */
int arch_isa_irq_attach(unsigned irq, void (*fn)(void *arg), void *arg);

struct arch_hooks {
	void (*timer)(void);                      /* interrupts off */
	void (*resched_ipi)(void);
	void (*irq_exit)(struct trap_frame *tf);  /* last thing of every interrupt: may switch worlds */
	void (*syscall)(struct trap_frame *tf);   /* ring 3, interrupts on; result into tf->rax */
	void (*user_trap)(struct trap_frame *tf, uint64_t cr2); /* exception of ring 3, page faults included; interrupts on */
	/* Page fault in ring 0 at a user address inside an arch_user_* copy: true when resolved. */
	bool (*user_copy_fault)(uint64_t addr, uint64_t error);
	/* Before every return to ring 3: signals, kill, resched. Called with interrupts off. When it has work it turns them on,
	 * works, and returns with them on: then it is called again, until it returns with interrupts still off. */
	void (*user_return)(struct trap_frame *tf);
};
extern struct arch_hooks arch_hooks;

/* ---- worlds' machine state ---- */
struct arch_context {
	uint64_t rsp;           /* kernel stack pointer while switched out */
	uint64_t kstack_top;
	uint64_t fs_base, gs_base; /* ring 3's; arch_user_bases_set() changes them for the running world */
	uint64_t cr3;           /* 0: kernel world, runs on arch_kernel_root */
	void *fpu;              /* XSAVE area of arch_fpu_size() bytes, 64-aligned; NULL for kernel worlds */
	uint64_t xcr0;          /* what XCR0 holds while this world runs; 0: the host's. Who changes XCR0 stores it here */
	bool fpu_loaded;        /* the registers hold it: kept by the switch */
	uint64_t id;            /* never used twice */
};
/* Prepares a first switch into entry(arg) on the given stack. The structure was zeroed by the caller; what it set since
 * (fpu, xcr0, cr3, bases) stays. */
void arch_context_init(struct arch_context *c, void *stack_top, void (*entry)(void *), void *arg);
/* Saves `from`, resumes `to` (stack, CR3, FS/GS, TSS.rsp0, FPU). Interrupts off. Returns when `from` runs again. */
void arch_context_switch(struct arch_context *from, struct arch_context *to);
/* The running world's FS and GS base in ring 3 (arch_prctl, exec). */
void arch_user_bases_set(struct arch_context *c, uint64_t fs, uint64_t gs);
/* Leaves to ring 3 with this frame; for a new process or thread. Interrupts off. */
_Noreturn void arch_enter_user(struct trap_frame *tf);
size_t arch_fpu_size(void);   /* of the XSAVE area for every feature that the kernel enables */
uint64_t arch_xcr0_host(void);
void arch_fpu_init(void *area);
void arch_fpu_save(void *area);          /* all enabled components */
void arch_fpu_restore(const void *area);

/* ---- ring 3 memory: faults inside are resolved by hooks.user_copy_fault, else -EFAULT. SMAP is opened only here. ---- */
int arch_user_read(void *dst, uva_t src, size_t n);
int arch_user_write(uva_t dst, const void *src, size_t n);
/* Length of the string without its 0, or -EFAULT, or -ENAMETOOLONG when none in size bytes. */
int64_t arch_user_read_string(char *dst, uva_t src, size_t size);

/* ---- page tables (paging.c). Frames for tables come from the callback. ---- */
#define MAP_WRITE BIT(0)
#define MAP_EXEC BIT(1)
#define MAP_USER BIT(2)
#define MAP_UNCACHED BIT(3)
#define MAP_LARGE BIT(4) /* one 2 MiB leaf */
#define MAP_COW BIT(5)   /* software bit kept in the entry */
struct arch_pte_view {
	bool present;
	hpa_t frame;
	unsigned flags; /* MAP_* */
	bool accessed, dirty;
};
/* alloc gives a zeroed frame in the direct map or 0; free takes it back. */
void arch_paging_init(hpa_t (*alloc)(void), void (*free)(hpa_t));
/* What arch itself needs of memory from INIT_ARCH on; mem fills it at INIT_MEM. */
struct arch_memory {
	void *(*map_registers)(hpa_t base, size_t size); /* mmio_map() */
	void *(*alloc)(size_t size);                     /* 4096-aligned from one page up, not zeroed; NULL */
	void (*free)(void *p);
	void *(*stack_alloc)(void);                      /* kstack_alloc(): its top, or NULL */
	void (*stack_free)(void *top);
};
extern struct arch_memory arch_memory;
extern uint64_t arch_kernel_root; /* hpa of the kernel's PML4; its upper half is shared by all */
int arch_map(uint64_t root, uint64_t va, hpa_t frame, unsigned flags);      /* -EEXIST, -ENOMEM */
bool arch_unmap(uint64_t root, uint64_t va, struct arch_pte_view *old);     /* no flush */
bool arch_pte_get(uint64_t root, uint64_t va, struct arch_pte_view *out);
uint64_t arch_next_mapped(uint64_t root, uint64_t va, uint64_t end);        /* first mapped address at or after va, else end; skips what has no table */
void arch_pte_set_flags(uint64_t root, uint64_t va, unsigned flags);        /* no flush */
uint64_t arch_root_create(void);    /* upper half = the kernel's; 0 on -ENOMEM */
void arch_root_destroy(uint64_t root); /* frees tables of the lower half; leaves must be unmapped */
void arch_flush_page(uint64_t va);  /* this CPU */
void arch_flush_all(void);          /* this CPU, global entries too */
void arch_root_load(uint64_t root); /* CR3 of this CPU */
extern uint64_t arch_loaded_root; /* per-CPU: what arch_root_load() or the last switch of worlds loaded; says who must flush what of a root */

/* ---- platform facts from ACPI, for layers above ---- */
struct arch_platform {
	unsigned nr_cpus;       /* enabled in the MADT, at most MAX_CPUS */
	bool x2apic;            /* in use */
	bool tsc_deadline, invariant_tsc;
	uint16_t pm_timer_port; /* 0 = none */
	uint64_t hpet_base;     /* 0 = none */
	bool has_xsave, has_smap;
};
extern struct arch_platform arch_platform;

#endif
