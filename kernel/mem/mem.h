/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The public face of kernel/mem: who owns RAM (blocks), the kernel's heap, windows onto memory
 * that is not the kernel's, and ring 3's address spaces.
 *
 * All RAM is described in 2 MiB blocks, each with exactly one owner. Only kernel blocks stand in
 * the direct map. Design: docs/memory.md.
 */
#ifndef MEM_MEM_H
#define MEM_MEM_H

#include "core/core.h"

/* ---- owners (block.c) ---- */
enum {
	OWNER_FREE = 0,
	OWNER_FIRMWARE,  /* never RAM of ours, or not whole: counted as the host's when usable */
	OWNER_IMAGE,     /* the kernel image and what the loader left us */
	OWNER_KERNEL,    /* heap, stacks, page tables: in the direct map */
	OWNER_USER,      /* ring 3's frames */
	OWNER_MODULE,    /* boot modules, kept as files */
	OWNER_VM_BASE = 16, /* + 2 * VM id: guest memory; + 1: its nested tables (in the direct map) */
};
static inline uint16_t owner_vm(unsigned id) { return (uint16_t)(OWNER_VM_BASE + 2 * id); }
static inline uint16_t owner_vm_tables(unsigned id) { return (uint16_t)(OWNER_VM_BASE + 2 * id + 1); }

#define MEM_MAX_VMS 500 /* VM ids are below this */
#define OWNERS (OWNER_VM_BASE + 2 * MEM_MAX_VMS)

/* One 4 KiB frame of a broken block. */
struct frame {
	uint32_t use;  /* user frames: references; VM frames: the guest frame number that maps it; free: next free + 1 */
	uint16_t pins; /* atomic: outstanding gmem pins */
	uint8_t state; /* FRAME_* */
	uint8_t spare;
};
enum { FRAME_OUTSIDE, /* not ours to give */ FRAME_FREE, FRAME_USED };
struct frames {
	struct frame f[FRAMES_PER_BLOCK];
};

#define BLOCK_DIRECT BIT(0) /* mapped in the direct map */
#define BLOCK_SCRAP BIT(1)  /* firmware's or the image's: its usable rest serves ring 3 frame by frame */
#define BLOCK_STALE BIT(2)  /* debug: a mapping was taken away and no shoot-down has ended since; must not be freed */
/* One per 2 MiB of physical address space up to the top of RAM. Lock: the block lock unless said. */
struct block {
	uint16_t owner;
	uint8_t flags;      /* BLOCK_* */
	uint8_t zeroed;     /* content known to be zero (idle zeroing) */
	uint32_t next;      /* free list or owner's list, index + 1, 0 = end */
	uint32_t prev;
	uint32_t pins;      /* atomic: outstanding gmem pins of a whole block */
	uint64_t gpa;       /* VM blocks: where the guest sees it (block-aligned), else owner's use */
	struct frames *frames; /* per-frame state while broken, else NULL */
};
_Static_assert(sizeof(struct block) <= 32, "a block descriptor costs RAM on every host");

#define ALLOC_ZERO BIT(0)    /* content is zero */
#define ALLOC_RESERVE BIT(1) /* may use the kernel's reserve */
/* A free block becomes owner's; 0 when there is none. Kernel and table owners are mapped in the direct map. Never sleeps. */
hpa_t block_alloc(uint16_t owner, unsigned flags);
/* Back to free; every mapping must be gone and flushed, pins zero. Debug builds fill it with 0xd5. */
void block_free(hpa_t b);
struct block *block_of(hpa_t any);        /* NULL outside RAM */
uint64_t block_count(uint16_t owner);     /* blocks that owner holds */
/* Bytes of a block become zero through a window; preemption is possible on the way. */
void block_zero(hpa_t b);
/* Debug builds: what emulators forgive. Set when a translation to the block was taken away, cleared when the shoot-down was acknowledged. */
void block_stale_set(hpa_t any, bool stale);
/* Idle CPUs call this: zeroes one free block if any is dirty; true when it did. */
bool block_zero_one(void);

/* ---- admission: memory that may be promised to VMs ---- */
uint64_t mem_promisable(void);            /* bytes still unpromised: whole blocks less the kernel's reserve */
int mem_promise(uint64_t bytes);          /* rounded up to blocks; -ENOMEM */
void mem_unpromise(uint64_t bytes);
/* Facts for `mica ready`: KiB usable in the firmware's map, and taken by the host (modules not counted). */
uint64_t mem_ram_kib(void);
uint64_t mem_host_kib(void);
/* Where every byte of usable RAM is: the lines add up to mem_ram_kib() exactly. May sleep; gives back what is only cached first. */
void mem_account(void (*line)(void *ctx, const char *name, uint64_t bytes), void *ctx);
/* Returns caches (free heap blocks, stacks, ring-3 blocks) to the free list. May wait for other CPUs: interrupts on, no spinlock held. */
void mem_drain(void);
/* Boot modules are promised to VMs, since they can be given up: the file layer registers what gives them up (true: something was freed). */
extern bool (*mem_release_modules_hook)(void);
void module_release(uint64_t base, uint64_t size);

/* ---- the kernel's direct map ---- */
#ifdef __KERNEL_HOST_TEST__
extern char *host_ram; /* host_mem.c: physical address 0 */
static inline void *direct_ptr(hpa_t a) { return host_ram + a.v; }
static inline hpa_t direct_hpa(const void *p) { return hpa((uint64_t)((const char *)p - host_ram)); }
#else
static inline void *direct_ptr(hpa_t a) { return (void *)(uintptr_t)(0xffff800000000000ull + a.v); }
static inline hpa_t direct_hpa(const void *p) { return hpa((uintptr_t)p - 0xffff800000000000ull); }
#endif

/* ---- kernel heap (heap.c): every byte has a subsystem ---- */
enum mem_tag {
	MT_CORE, MT_PAGETABLES, MT_STACKS, MT_SCHED, MT_ASPACE, MT_PROC, MT_FS, MT_TTY, MT_DRIVER,
	MT_HV, MT_HVDEV, MT_STATE, MT_FRAMES, MT_TEST, MT_BLOCKTAB, MT_TAGS
};
extern const char *const mem_tag_name[MT_TAGS];
/* NULL when the kernel's memory is used up. 16-aligned; 4096-aligned from one page up. Never sleeps. */
void *kmalloc(size_t size, enum mem_tag tag);
void *kzalloc(size_t size, enum mem_tag tag);
void kfree(void *p); /* NULL allowed */
/* One 4 KiB frame in the direct map, 4096-aligned. */
void *kpage_alloc(enum mem_tag tag);  /* not zeroed */
void *kpage_zalloc(enum mem_tag tag);
void kpage_free(void *page);
uint64_t mem_tag_bytes(enum mem_tag tag);
/* 16 KiB stack with an unmapped page below it; returns its top. */
void *kstack_alloc(void);
void kstack_free(void *top);
/* Device registers, uncached. Never fails before INIT_USER, else NULL. */
void *mmio_map(hpa_t base, size_t size);

/* ---- ring 3's frames (user_frame.c): refcounted for copy-on-write ---- */
hpa_t uframe_alloc(bool zero);       /* count 1; 0 when none */
void uframe_ref(hpa_t f);
void uframe_unref(hpa_t f);          /* frees at 0 */
unsigned uframe_refs(hpa_t f);

/* ---- windows (window.c): how the kernel touches memory outside its direct map ----
 * Preemption is off from get to put; at most 8 held per CPU. A window covers the whole 2 MiB block around the frame;
 * the pointer returned is to the exact byte. Cached: a second get of the same block costs a few instructions. */
#if defined(__KERNEL_HOST_TEST__) && !defined(HOST_REAL_WINDOWS)
void *window_get(hpa_t any);
void window_put(const void *p);
struct window_cpu;
struct window_hint { void *p; };
static inline struct window_hint window_hint(hpa_t any)
{
	void *p = window_get(any);

	window_put(p);
	return (struct window_hint){ p };
}
static inline const struct window_cpu *window_here(void) { return NULL; }
static inline void *window_look(const struct window_cpu *w, const struct window_hint *h) { (void)w; return h->p; }
#else
#define WINDOW_SLOTS 32
struct window_cpu {
	uint64_t tag[WINDOW_SLOTS];  /* block number + 1; 0: nothing mapped */
	uint16_t held[WINDOW_SLOTS]; /* windows out; a held slot keeps its block */
	uint64_t base;               /* virtual address of slot 0 */
};
DECLARE_PERCPU(struct window_cpu, window_cpu);
void *window_get_slow(hpa_t any);
static inline void *window_get(hpa_t any)
{
	struct window_cpu *w;
	uint64_t block = any.v >> BLOCK_SHIFT;
	unsigned i = block % WINDOW_SLOTS;

	preempt_disable();
	w = &this_cpu(window_cpu);
	w->held[i]++; /* before the look, so that an interrupt's own window cannot take the slot in between */
	barrier();
	if (likely(w->tag[i] == block + 1))
		return (void *)(w->base + ((uint64_t)i << BLOCK_SHIFT) + (any.v & BLOCK_MASK));
	w->held[i]--;
	return window_get_slow(any);
}
/*
 * Looking again where one looked before, in ten instructions: a hint says in which slot an address' block would be, and
 * window_look() gives the byte when this CPU's slot shows that block. Interrupts off until the pointer was used; nothing to put.
 */
struct window_hint { uint64_t tag, offset; uint32_t slot; };
static inline struct window_hint window_hint(hpa_t any)
{
	uint64_t block = any.v >> BLOCK_SHIFT, slot = block % WINDOW_SLOTS;

	return (struct window_hint){ block + 1, slot << BLOCK_SHIFT | (any.v & BLOCK_MASK), (uint32_t)slot };
}
static inline const struct window_cpu *window_here(void) { return &this_cpu(window_cpu); }
static inline void *window_look(const struct window_cpu *w, const struct window_hint *h)
{
	return likely(w->tag[h->slot] == h->tag) ? (void *)(w->base + h->offset) : NULL;
}
static inline void window_put(const void *p)
{
	struct window_cpu *w = &this_cpu(window_cpu);

	barrier();
	w->held[((uintptr_t)p >> BLOCK_SHIFT) % WINDOW_SLOTS]--;
	preempt_enable();
}
#endif
/* Every CPU forgets its cached windows onto this block (before the block changes owner). May wait for other CPUs; interrupts on. */
void window_drop(hpa_t block);
void window_drop_all(void);

/* ---- ring 3's address spaces (aspace.c) ---- */
struct aspace;
/* What fills a page on its first touch; called without locks, may sleep. */
struct aspace_source {
	int (*read)(void *object, uint64_t offset, void *page, size_t n); /* bytes past n are zeroed by the caller */
	void (*ref)(void *object);
	void (*unref)(void *object);
};
struct aspace *aspace_create(void);
struct aspace *aspace_ref(struct aspace *as);
/* The last one frees all. A world that ran on it must have left it (its arch.cr3 = 0, arch_root_load(arch_kernel_root)) before it drops its claim. */
void aspace_unref(struct aspace *as);
struct aspace *aspace_fork(struct aspace *as);    /* copy-on-write copy */
uint64_t aspace_root(const struct aspace *as);    /* CR3 */
#define PROT_READ 1
#define PROT_WRITE 2
#define PROT_EXEC 4
/* Private anonymous (source NULL) or private file mapping. addr 0: the kernel chooses. fixed replaces what is there.
 * Returns the address or a negative errno. All lengths are rounded up to pages. A mapping holds a reference of its own on the object. */
int64_t aspace_map(struct aspace *as, uint64_t addr, uint64_t len, int prot, bool fixed,
		   const struct aspace_source *src, void *object, uint64_t offset, uint64_t file_bytes);
/* A kernel page that ring 3 may share, e.g. a vCPU's run page. The page must outlive the address space's use: unref is called when unmapped; fork does not inherit it. */
int64_t aspace_map_shared(struct aspace *as, void *kpage, int prot, void (*unref)(void *object), void *object);
int aspace_unmap(struct aspace *as, uint64_t addr, uint64_t len);
int aspace_protect(struct aspace *as, uint64_t addr, uint64_t len, int prot);
uint64_t aspace_brk(struct aspace *as, uint64_t new_brk); /* 0 asks */
void aspace_set_brk_base(struct aspace *as, uint64_t base);
/* Resolves a fault by ring 3 or by a user copy (error: x86 page-fault code). 0, -EFAULT, -ENOMEM. May sleep. */
int aspace_fault(struct aspace *as, uint64_t addr, uint64_t error);
uint64_t aspace_bytes(const struct aspace *as);   /* resident */

#endif
