/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Windows: how the kernel touches memory that is not in its direct map (guests', ring 3's, modules').
 *
 * Each CPU has WINDOW_SLOTS virtual slots of 2 MiB. A block's home slot is its number modulo WINDOW_SLOTS, and the fast path
 * (mem.h) looks only there; when the home slot is held by a window onto another block, the block goes to any slot that is not.
 * Only the CPU that owns a slot changes its mapping, with interrupts off, and it flushes the old translation itself, so taking a
 * window never waits for anybody. A block about to change hands is forgotten everywhere by window_drop(); CPUs that show it not
 * are not disturbed.
 */
#include "mem/mem_priv.h"

PERCPU(struct window_cpu, window_cpu);

static uint64_t slot_va(const struct window_cpu *w, unsigned i) { return w->base + ((uint64_t)i << BLOCK_SHIFT); }

static void slot_forget(struct window_cpu *w, unsigned i)
{
	if (!w->tag[i])
		return;
	arch_unmap(arch_kernel_root, slot_va(w, i), NULL);
	arch_flush_page(slot_va(w, i));
	WRITE_ONCE(w->tag[i], 0);
}

/* The block's slot when it has one, else its home, else any slot that is free to take. */
static unsigned slot_choose(const struct window_cpu *w, uint64_t block)
{
	unsigned home = block % WINDOW_SLOTS;

	for (unsigned i = 0; i < WINDOW_SLOTS; i++)
		if (w->tag[i] == block + 1)
			return i;
	for (unsigned i = 0; i < WINDOW_SLOTS; i++)
		if (!w->held[(home + i) % WINDOW_SLOTS])
			return (home + i) % WINDOW_SLOTS;
	panic("all %d windows of this CPU are held", WINDOW_SLOTS);
}

void *window_get_slow(hpa_t any)
{
	uint64_t block = any.v >> BLOCK_SHIFT;
	uint64_t f = arch_irq_save();
	struct window_cpu *w = &this_cpu(window_cpu);
	unsigned i = slot_choose(w, block);

	w->base = WINDOW_BASE + arch_cpu_id() * ((uint64_t)WINDOW_SLOTS << BLOCK_SHIFT);
	if (w->tag[i] != block + 1) {
		slot_forget(w, i);
		if (arch_map(arch_kernel_root, slot_va(w, i), hpa(block << BLOCK_SHIFT), MAP_WRITE | MAP_LARGE) < 0)
			panic("window: no page table");
		WRITE_ONCE(w->tag[i], block + 1);
	}
	w->held[i]++;
	arch_irq_restore(f);
	return (void *)(slot_va(w, i) + (any.v & BLOCK_MASK));
}

bool window_cached(uint64_t block)
{
	for (unsigned c = 0; c < cpu_count; c++)
		for (unsigned i = 0; i < WINDOW_SLOTS; i++)
			if (READ_ONCE(per_cpu(window_cpu, c).tag[i]) == block + 1)
				return true;
	return false;
}

static void drop_here(void *arg)
{
	uint64_t block = (uintptr_t)arg >> BLOCK_SHIFT;
	uint64_t f = arch_irq_save();
	struct window_cpu *w = &this_cpu(window_cpu);

	for (unsigned i = 0; i < WINDOW_SLOTS; i++)
		if (w->tag[i] == block + 1 && !w->held[i])
			slot_forget(w, i);
	arch_irq_restore(f);
}

static void drop_all_here(void *unused)
{
	uint64_t f = arch_irq_save();
	struct window_cpu *w = &this_cpu(window_cpu);

	(void)unused;
	for (unsigned i = 0; i < WINDOW_SLOTS; i++)
		if (!w->held[i])
			slot_forget(w, i);
	arch_irq_restore(f);
}

void window_drop(hpa_t b)
{
	if (!window_cached(b.v >> BLOCK_SHIFT))
		return;
	if (cpu_count == 1)
		drop_here((void *)(uintptr_t)b.v);
	else
		smp_call_all(drop_here, (void *)(uintptr_t)b.v);
}

void window_drop_all(void)
{
	if (cpu_count == 1)
		drop_all_here(NULL);
	else
		smp_call_all(drop_all_here, NULL);
}

/* The table pages of all CPUs' windows are made now, so that taking one never allocates: one entry in each GiB is set and cleared. */
void window_init(void)
{
	uint64_t end = WINDOW_BASE + MAX_CPUS * ((uint64_t)WINDOW_SLOTS << BLOCK_SHIFT);

	for (uint64_t va = WINDOW_BASE; va < end; va += GIB(1)) {
		tables_balance();
		if (arch_map(arch_kernel_root, va, hpa(0), MAP_WRITE | MAP_LARGE) < 0)
			panic("windows: no page table");
		arch_unmap(arch_kernel_root, va, NULL);
	}
	arch_flush_all();
}
