/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Virtual space that is not the direct map: stacks with a guard page below, and device registers.
 *
 * A stack stands in a slot of 32 KiB of which only the upper 16 KiB are mapped. Freed stacks stay mapped and serve again, since
 * whoever frees one may not wait for other CPUs' TLBs; kstack_drain() unmaps them. Device registers are
 * never unmapped; the same registers asked for again are given again.
 *
 * Lock: vmap_lock (RANK_HEAP, never held with the heap's).
 */
#include "mem/mem_priv.h"

#define STACK_PAGES 4
#define STACK_SLOT KIB(32)
#define STACKS 8192
#define MMIO_BASE (VMAP_BASE + GIB(64))
#define MMIO_MAX 64

struct mmio {
	uint64_t base, va;
	size_t size;
};
static struct spinlock vmap_lock = SPINLOCK_INIT("vmap", RANK_HEAP);
static uint64_t slot_taken[STACKS / 64]; /* mapped, or about to be */
static uint64_t slot_idle[STACKS / 64];  /* of those: freed, still mapped */
static struct mmio mmio[MMIO_MAX];
static unsigned nr_mmio;
static uint64_t mmio_next = MMIO_BASE;

static uint64_t slot_base(unsigned slot) { return VMAP_BASE + slot * STACK_SLOT + STACK_SLOT - STACK_PAGES * PAGE_SIZE; }
static void *slot_top(unsigned slot) { return (void *)(slot_base(slot) + STACK_PAGES * PAGE_SIZE); }
static unsigned slot_of(const void *top) { return (unsigned)(((uintptr_t)top - 1 - VMAP_BASE) / STACK_SLOT); }

static int slot_take(void)
{
	uint64_t f = spin_lock_irqsave(&vmap_lock);
	int slot = -1;

	for (unsigned i = 0; i < ARRAY_SIZE(slot_taken) && slot < 0; i++) {
		if (slot_taken[i] == UINT64_MAX)
			continue;
		slot = (int)(i * 64 + (unsigned)__builtin_ctzll(~slot_taken[i]));
		slot_taken[i] |= BIT(slot % 64);
	}
	spin_unlock_irqrestore(&vmap_lock, f);
	return slot;
}
static void slot_give(unsigned slot)
{
	uint64_t f = spin_lock_irqsave(&vmap_lock);

	slot_taken[slot / 64] &= ~BIT(slot % 64);
	spin_unlock_irqrestore(&vmap_lock, f);
}

static int idle_take(void)
{
	uint64_t f = spin_lock_irqsave(&vmap_lock);
	int slot = -1;

	for (unsigned i = 0; i < ARRAY_SIZE(slot_idle) && slot < 0; i++) {
		if (!slot_idle[i])
			continue;
		slot = (int)(i * 64 + (unsigned)__builtin_ctzll(slot_idle[i]));
		slot_idle[i] &= slot_idle[i] - 1;
	}
	spin_unlock_irqrestore(&vmap_lock, f);
	return slot;
}

/* Unmaps the first n pages; their frames follow in `frame`. */
static unsigned stack_unmap(unsigned slot, unsigned n, hpa_t frame[STACK_PAGES])
{
	unsigned k = 0;

	for (unsigned i = 0; i < n; i++) {
		struct arch_pte_view old;

		if (arch_unmap(arch_kernel_root, slot_base(slot) + i * PAGE_SIZE, &old))
			frame[k++] = old.frame;
	}
	return k;
}

static int stack_map(unsigned slot)
{
	hpa_t frame[STACK_PAGES];

	for (unsigned i = 0; i < STACK_PAGES; i++) {
		void *page = kpage_alloc(MT_STACKS);
		int r = page ? mem_map(arch_kernel_root, slot_base(slot) + i * PAGE_SIZE, direct_hpa(page), MAP_WRITE) : -ENOMEM;

		if (!r)
			continue;
		kpage_free(page);
		for (unsigned k = stack_unmap(slot, i, frame); k--;)
			kpage_free(direct_ptr(frame[k])); /* nobody has used them yet */
		return r;
	}
	return 0;
}

void kstack_drain(void)
{
	int slot;

	while ((slot = idle_take()) >= 0) {
		hpa_t frame[STACK_PAGES];
		unsigned n = stack_unmap((unsigned)slot, STACK_PAGES, frame);

		mem_flush_everywhere();
		while (n--)
			kpage_free(direct_ptr(frame[n]));
		slot_give((unsigned)slot);
	}
}

void *kstack_alloc(void)
{
	int slot = idle_take();

	if (slot >= 0)
		return slot_top((unsigned)slot);
	slot = slot_take();
	if (slot < 0)
		return NULL;
	if (stack_map((unsigned)slot) < 0) {
		slot_give((unsigned)slot);
		return NULL;
	}
	return slot_top((unsigned)slot);
}

void kstack_free(void *top)
{
	unsigned slot = slot_of(top);
	uint64_t f = spin_lock_irqsave(&vmap_lock);

	ASSERT(slot_top(slot) == top && (slot_taken[slot / 64] & ~slot_idle[slot / 64] & BIT(slot % 64)));
	slot_idle[slot / 64] |= BIT(slot % 64);
	spin_unlock_irqrestore(&vmap_lock, f);
}

static uint64_t mmio_find_locked(uint64_t base, size_t size)
{
	for (unsigned i = 0; i < nr_mmio; i++)
		if (base >= mmio[i].base && base + size <= mmio[i].base + mmio[i].size)
			return mmio[i].va + (base - mmio[i].base);
	return 0;
}

void *mmio_map(hpa_t at, size_t size)
{
	uint64_t base = at.v & ~PAGE_MASK, bytes = ALIGN_UP(at.v + size, PAGE_SIZE) - base;
	uint64_t f = spin_lock_irqsave(&vmap_lock);
	uint64_t va = mmio_find_locked(at.v, size);

	if (!va) {
		va = mmio_next + (at.v & PAGE_MASK);
		mmio_next += bytes + PAGE_SIZE;
	} else {
		bytes = 0;
	}
	spin_unlock_irqrestore(&vmap_lock, f);
	for (uint64_t i = 0; i < bytes; i += PAGE_SIZE)
		if (mem_map(arch_kernel_root, (va & ~PAGE_MASK) + i, hpa(base + i), MAP_WRITE | MAP_UNCACHED) < 0)
			return NULL;
	f = spin_lock_irqsave(&vmap_lock);
	if (bytes && nr_mmio < MMIO_MAX)
		mmio[nr_mmio++] = (struct mmio){ base, va & ~PAGE_MASK, bytes };
	spin_unlock_irqrestore(&vmap_lock, f);
	return (void *)va;
}
