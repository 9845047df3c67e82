/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The public face of kernel/core: logging, panic, init levels, per-CPU data, spinlocks, strings,
 * lists, counters, boot information. Everything here may be used from any layer, and nothing
 * here sleeps.
 */
#ifndef CORE_CORE_H
#define CORE_CORE_H

#include "core/types.h"
#include "core/errno.h"
#include "core/list.h"
#include <stdarg.h>

/* ---- strings (string.c; the compiler may call the first four on its own) ---- */
void *memcpy(void *d, const void *s, size_t n);
void *memmove(void *d, const void *s, size_t n);
void *memset(void *d, int c, size_t n);
int memcmp(const void *a, const void *b, size_t n);
size_t strlen(const char *s);
size_t strnlen(const char *s, size_t max);
int strcmp(const char *a, const char *b);
int strncmp(const char *a, const char *b, size_t n);
char *strchr(const char *s, int c);
/* Copies at most size - 1 bytes and always terminates; returns strlen(s). */
size_t strlcpy(char *d, const char *s, size_t size);
/* %d %i %u %x %X %o %c %s %p with l/ll/z/h, width, precision, 0, # (0x) and -. Always terminates; returns the length wanted. */
int vsnprintf(char *buf, size_t size, const char *fmt, va_list ap) __printf(3, 0);
int snprintf(char *buf, size_t size, const char *fmt, ...) __printf(3, 4);

/* ---- log (log.c): a ring of 64 KiB, and the sinks registered by consoles ---- */
enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };
/* One line, no newline at its end. Any context, interrupts and NMI included. */
void log_line(enum log_level level, const char *fmt, ...) __printf(2, 3);
#define log_error(...) log_line(LOG_ERROR, __VA_ARGS__)
#define log_warn(...) log_line(LOG_WARN, __VA_ARGS__)
#define log_info(...) log_line(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_line(LOG_DEBUG, __VA_ARGS__)
/* A sink gets each finished line, newline included, in order, with the log's lock held. It is given the ring's content when it registers. */
struct log_sink {
	void (*write)(const char *text, size_t len);
	struct log_sink *next;
};
void log_sink_add(struct log_sink *s);
void log_sink_remove(struct log_sink *s);
/* Copies log text from stream offset *pos (0 = oldest kept) into buf and advances *pos; returns bytes copied, 0 at the end. */
size_t log_read(uint64_t *pos, char *buf, size_t size);

/* ---- panic (panic.c) ---- */
struct trap_frame;
/* Prints, with registers and a symbolic backtrace, on every sink; stops all CPUs. Never for what a guest or a client did. */
_Noreturn void panic(const char *fmt, ...) __printf(1, 2);
_Noreturn void panic_trap(const struct trap_frame *tf, const char *fmt, ...) __printf(2, 3);
/* CPU id + 1 of the one that panics, 0: none. An NMI that arrives while it is set means: halt for ever. Locks of consoles are not taken any more. */
extern uint32_t panic_cpu;
/* The layers above add a line to the panic's text (the running world). May be NULL. */
extern void (*panic_context)(void);
/* The machine lacks what mica needs: one plain sentence, then halt. Not a fault of ours, so no registers. */
_Noreturn void boot_refuse(const char *fmt, ...) __printf(1, 2);
/* From arch: return addresses of the calls that led here, or to where the frame was taken. */
unsigned arch_backtrace(const struct trap_frame *tf, uint64_t *pc, unsigned max);
/* "name+0x12" of a kernel address, from the symbol table that the link step made; "?" when there is none. */
void ksym_format(uint64_t pc, char *buf, size_t size);
#define ASSERT(c) ((c) ? (void)0 : panic("%s:%d: assertion failed: %s", __FILE__, __LINE__, #c))
#ifdef CONFIG_DEBUG
#define DEBUG_ASSERT(c) ASSERT(c)
#else
#define DEBUG_ASSERT(c) ((void)0)
#endif

/* ---- per-CPU data ----
 * PERCPU(int, x); declares a variable with one copy per CPU (zero at start on all of them). CPU 0 uses the .percpu section itself.
 * this_cpu(x) is the lvalue on the running CPU: keep preemption off while using it. this_cpu_read(x) is one instruction, safe anywhere. */
#define MAX_CPUS 64
#define DECLARE_PERCPU(type, name) extern type name
#ifdef __KERNEL_HOST_TEST__
#define PERCPU(type, name) type name
#define this_cpu(name) (name)
#define per_cpu(name, cpu) (*((void)(cpu), &(name)))
#define this_cpu_read(name) (name)
#define this_cpu_add(name, n) ((void)((name) += (n)))
#else
#define PERCPU(type, name) __attribute__((section(".percpu"))) type name
extern uint64_t percpu_delta[MAX_CPUS]; /* address of a CPU's copy less address of the symbol */
/* Reads the base through memory that the compiler takes to change at calls and barriers: no base is kept over a switch of CPUs. */
static inline uint64_t percpu_base(void)
{
	extern uint64_t percpu_self_delta;
	uint64_t d;

	__asm__("movq %%gs:%1, %0" : "=r"(d) : "m"(percpu_self_delta));
	return d;
}
#define this_cpu(name) (*(__typeof__(&(name)))((uintptr_t)&(name) + percpu_base()))
#define per_cpu(name, cpu) (*(__typeof__(&(name)))((uintptr_t)&(name) + percpu_delta[cpu]))
#define this_cpu_read(name)                                                               \
	({                                                                                \
		__typeof__(name) v_;                                                      \
		__asm__ volatile("mov %%gs:%1, %0" : "=r"(v_) : "m"(name));               \
		v_;                                                                       \
	})
#define this_cpu_add(name, n) /* 64-bit variables */                                      \
	__asm__ volatile("addq %1, %%gs:%0" : "+m"(name) : "er"((uint64_t)(n)) : "cc")
#endif
extern unsigned cpu_count; /* CPUs online; ids are 0 .. cpu_count - 1 */
/* Bytes that a CPU's copy of .percpu takes, and how arch makes one before it starts CPU `cpu`; that CPU loads GS.base with the result. */
size_t percpu_size(void);
uint64_t percpu_setup(unsigned cpu, void *copy);

/* ---- several CPUs (smp.c); smp_call() and smp_call_all() stand in arch.h ---- */
void smp_call_interrupt(void);          /* from arch: IPI_CALL arrived. Interrupts off. */
/* From arch, on a CPU whose tables, APIC, per-CPU base and kernel root are set, on its own stack, interrupts off. Counts it in cpu_count. */
_Noreturn void smp_ap_entry(void);
extern void (*smp_ap_start)(void);      /* what the scheduler registered for it; does not return */

/* ---- where boot/ enters C: kind 0 PVH, 1 Multiboot2; info is physical. boot/ also leaves the image's place and the TSC at entry. ---- */
_Noreturn void kmain(uint32_t kind, uint64_t info);
extern uint64_t arch_image_phys, arch_boot_tsc;
extern void (*boot_map_ends)(void);     /* the console's: called before INIT_MEM, whose page tables lack what the boot tables had */
extern void (*boot_done)(void);         /* the scheduler's: what the boot CPU does after the last init level */
/* What an idle CPU may do, registered by mem: a little work, interrupts on; false when there is none. */
extern bool (*sched_idle_hook)(void);

/* ---- init levels: kmain runs them in order on the boot CPU; within a level order must not matter ---- */
enum init_level {
	INIT_CONSOLE, /* serial and screen sinks */
	INIT_MEM,     /* blocks, heap, kernel address space */
	INIT_ARCH,    /* ACPI tables, interrupt controllers, clock */
	INIT_SCHED,   /* boot CPU becomes a world, timers run, interrupts on */
	INIT_SMP,     /* the other CPUs join */
	INIT_DEV,     /* drivers */
	INIT_FS,
	INIT_HV,
	INIT_SYS,     /* system calls, /dev nodes */
	INIT_USER,    /* starts ring 3's init */
	INIT_LEVELS
};
struct init_call {
	enum init_level level;
	const char *name;
	void (*fn)(void); /* panics or logs by itself; cannot fail */
};
#define INIT_CALL(lvl, fun)                                                               \
	static const struct init_call init_call_##fun                                     \
		__attribute__((used, aligned(8), section(".init_calls"))) = { lvl, #fun, fun }

/* ---- spinlocks (spinlock.c): ticket locks, FIFO. Preemption is off while one is held. ----
 * Order is declared by rank: a CPU may take only ranks above those it holds (debug builds panic otherwise). Interrupt handlers wake
 * worlds and set timers, so every lock of rank RANK_WAITQ and above is taken with interrupts off (checked too). */
enum lock_rank {
	RANK_VM = 10, RANK_PROC = 20, RANK_ASPACE = 30, RANK_FS = 40, RANK_DEV = 50, RANK_HVDEV = 60,
	RANK_WORLDS = 65, RANK_WAITQ = 70, RANK_TIMER = 80, RANK_RUNQ = 90, RANK_HEAP = 100, RANK_BLOCK = 110,
	RANK_PAGING = 120, RANK_CONSOLE = 130, RANK_LOG = 140
};
struct spinlock {
	uint32_t next, owner; /* tickets, both atomically accessed */
	uint16_t rank;
	uint16_t holder;      /* CPU id + 1, debug builds */
	const char *name;
};
#define SPINLOCK_INIT(n, r) { .next = 0, .owner = 0, .rank = (r), .holder = 0, .name = (n) }
void spin_init(struct spinlock *l, const char *name, enum lock_rank rank);
void spin_lock(struct spinlock *l);
void spin_unlock(struct spinlock *l);
bool spin_trylock(struct spinlock *l);
/* With interrupts off; returns the flags for spin_unlock_irqrestore. Use for whatever an interrupt handler also takes. */
uint64_t spin_lock_irqsave(struct spinlock *l);
void spin_unlock_irqrestore(struct spinlock *l, uint64_t flags);
bool spin_held(const struct spinlock *l); /* true always in release builds */
/* Nested two-lock case of equal rank, lower address first. */
void spin_lock_nested(struct spinlock *l);
/* Preemption of the running world; nests. The last enable reschedules if that was asked meanwhile, unless interrupts are off. */
#ifdef __KERNEL_HOST_TEST__
void preempt_disable(void);
void preempt_enable(void);
unsigned preempt_depth(void);
#else
/* The count, and above it "nobody asked to reschedule": the word is 0 exactly when a reschedule is wanted and allowed. */
#define PREEMPT_NOT_WANTED 0x80000000u
DECLARE_PERCPU(uint32_t, preempt_word);
void preempt_resched(void);             /* slow path */
extern void (*preempt_hook)(void);      /* the scheduler's; interrupts on, count 0 */
static inline void preempt_disable(void) { __asm__ volatile("incl %%gs:%0" : "+m"(preempt_word) : : "memory", "cc"); }
static inline void preempt_enable(void)
{
	bool zero;

	__asm__ volatile("decl %%gs:%0" : "+m"(preempt_word), "=@ccz"(zero) : : "memory");
	if (unlikely(zero))
		preempt_resched();
}
static inline unsigned preempt_depth(void) { return this_cpu_read(preempt_word) & ~PREEMPT_NOT_WANTED; }
#endif

/* ---- atomics: use the __atomic builtins directly ---- */

/* ---- counters (counter.c): the one tree that mica top, hostd and tests read ----
 * COUNTER(exits_cpuid, "hv.exit.cpuid"); then counter_add(exits_cpuid, 1). Per-CPU, summed on read. */
struct counter {
	const char *name;
	uint64_t *value; /* per-CPU variable */
};
#define COUNTER(id, path)                                                                 \
	PERCPU(uint64_t, counter_val_##id);                                               \
	static const struct counter counter_##id                                          \
		__attribute__((used, aligned(8), section(".counters"))) = { path, &counter_val_##id }
#define counter_add(id, n) this_cpu_add(counter_val_##id, n)
/* Values that are computed when read: fn emits any number of lines. */
struct counter_source {
	void (*emit)(void *ctx, void (*line)(void *ctx, const char *name, uint64_t value));
	struct counter_source *next;
};
void counter_source_add(struct counter_source *s);
/* Walks the whole tree: "name value" per line. */
void counter_walk(void *ctx, void (*line)(void *ctx, const char *name, uint64_t value));

/* ---- what the boot path tells kmain (boot/, parsed by core/bootinfo.c from PVH or Multiboot2) ---- */
struct boot_range {
	uint64_t base, size; /* bytes, any alignment */
	uint32_t type;       /* e820: 1 usable, else reserved, 3 ACPI reclaimable, 4 NVS */
};
struct boot_module {
	uint64_t base, size;
	char name[64]; /* from its command line, may be empty */
};
struct boot_framebuffer {
	uint64_t base;
	uint32_t pitch, width, height;
	uint8_t bpp, kind; /* kind 0 none, 1 RGB linear, 2 EGA text */
};
struct boot_info {
	char cmdline[1024];
	char loader[32]; /* "pvh", "multiboot2" */
	unsigned nr_ranges, nr_modules;
	struct boot_range range[64]; /* sorted, disjoint */
	struct boot_module module[16];
	uint64_t rsdp; /* physical, 0 = search the BIOS area */
	struct boot_framebuffer fb;
	uint64_t kernel_phys, kernel_size; /* where the image lies */
	uint64_t boot_tsc; /* TSC at entry */
};
extern struct boot_info boot_info;
/* Bytes of usable RAM in the firmware's map. */
uint64_t bootinfo_ram(const struct boot_info *b);
/* Parsers of what a loader left. phys gives n bytes of physical memory or NULL; NULL result: well, else the sentence that says what is wrong. */
typedef const void *(*phys_fn)(uint64_t pa, size_t n);
const char *bootinfo_parse_pvh(struct boot_info *b, phys_fn phys, uint64_t pa);
const char *bootinfo_parse_multiboot2(struct boot_info *b, phys_fn phys, uint64_t pa);
/* Multiboot2 hands over a copy of the RSDP inside its own block; it is kept here and boot_info.rsdp is 0 until kmain points to it. */
extern uint8_t bootinfo_rsdp_copy[36];
/* Value of KEY=VALUE on the command line (copied into buf); false when absent. A bare KEY gives "". */
bool cmdline_get(const char *key, char *buf, size_t size);
bool cmdline_find(const char *cmdline, const char *key, char *buf, size_t size);

/* ---- trace ring (trace.c), debug builds: cheap marks that a panic prints; event is a string literal ---- */
#if defined(CONFIG_DEBUG) && !defined(__KERNEL_HOST_TEST__)
void trace(const char *event, uint64_t a, uint64_t b);
#else
static inline void trace(const char *event, uint64_t a, uint64_t b) { (void)event, (void)a, (void)b; }
#endif

#endif
