/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames for page tables, and mapping with them.
 *
 * arch asks for and returns frames in the middle of a mapping, where the heap's lock may not be taken; and mapping a fresh heap
 * block may itself need a table. So tables come from a pool that is filled before each mapping (tables_balance), never from
 * inside it. The pool keeps exactly POOL_LEVEL frames whenever it was just balanced, so that accounts repeat to the byte.
 *
 * Locks: root_lock (RANK_PAGING) > pool_lock.
 */
#include "mem/mem_priv.h"

#define POOL_LEVEL 16 /* a mapping needs at most 3 */
#define POOL_BOOT 300 /* the kernel's root may fill all 256 slots of its upper half at once */

struct pool_frame {
	struct pool_frame *next;
};
static struct spinlock pool_lock = SPINLOCK_INIT("tables", (enum lock_rank)(RANK_PAGING + 1));
static struct spinlock root_lock = SPINLOCK_INIT("kernel root", RANK_PAGING);
static struct pool_frame *pool;
static unsigned pool_frames;

static struct pool_frame *pool_pop(void)
{
	uint64_t f = spin_lock_irqsave(&pool_lock);
	struct pool_frame *p = pool;

	if (p) {
		pool = p->next;
		pool_frames--;
	}
	spin_unlock_irqrestore(&pool_lock, f);
	return p;
}
static void pool_push(struct pool_frame *p)
{
	uint64_t f = spin_lock_irqsave(&pool_lock);

	p->next = pool;
	pool = p;
	pool_frames++;
	spin_unlock_irqrestore(&pool_lock, f);
}

hpa_t tables_alloc(void)
{
	struct pool_frame *p = pool_pop();

	if (!p)
		return hpa(0);
	memset(p, 0, PAGE_SIZE);
	return direct_hpa(p);
}
void tables_free(hpa_t f) { pool_push(direct_ptr(f)); }

static void pool_fill(unsigned level)
{
	struct pool_frame *p;

	while (READ_ONCE(pool_frames) < level && (p = kpage_alloc(MT_PAGETABLES)))
		pool_push(p);
}
void tables_init(void) { pool_fill(POOL_BOOT); }
void tables_balance(void)
{
	struct pool_frame *p;

	pool_fill(POOL_LEVEL);
	while (READ_ONCE(pool_frames) > POOL_LEVEL && (p = pool_pop()))
		kpage_free(p);
}

/* Mapping a fresh heap block must not ask the heap first: it uses what the last balance left, and whoever maps next fills up. */
static bool is_heap_block(uint64_t root, unsigned flags) { return root == arch_kernel_root && (flags & MAP_LARGE); }

/* arch leaves it to its callers to serialize changes of one root: the kernel's is under root_lock, a process's under its own lock. */
int mem_map(uint64_t root, uint64_t va, hpa_t frame, unsigned flags)
{
	uint64_t f;
	int r;

	if (!is_heap_block(root, flags))
		tables_balance();
	if (root != arch_kernel_root)
		return arch_map(root, va, frame, flags);
	f = spin_lock_irqsave(&root_lock);
	r = arch_map(root, va, frame, flags);
	spin_unlock_irqrestore(&root_lock, f);
	return r;
}

static void flush_page_here(void *va) { arch_flush_page((uintptr_t)va); }
static void flush_all_here(void *unused)
{
	(void)unused;
	arch_flush_all();
}
void mem_flush_page_everywhere(uint64_t va)
{
	if (cpu_count == 1)
		flush_page_here((void *)(uintptr_t)va);
	else
		smp_call_all(flush_page_here, (void *)(uintptr_t)va);
}
void mem_flush_everywhere(void)
{
	if (cpu_count == 1)
		arch_flush_all();
	else
		smp_call_all(flush_all_here, NULL);
}
