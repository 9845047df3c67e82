/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Four-level page tables of the host: the kernel's and those of ring-3 address spaces.
 *
 * Tables lie in the kernel's direct map and are walked through it. The upper half of every root holds the same entries as
 * arch_kernel_root. Those that the layout always needs exist from the start; one that appears later (RAM beyond 512 GiB) is
 * copied into another root when a kernel access there faults. Table entries grant everything; leaves decide.
 *
 * No locks here: callers serialize changes of one root. Walks by other CPUs and the accessed and dirty bits that hardware
 * sets concurrently are why entries change by one atomic store or exchange. Flushing is the caller's.
 */
#include "arch/x86/arch_priv.h"

#define PTE_P BIT(0)
#define PTE_W BIT(1)
#define PTE_U BIT(2)
#define PTE_PWT BIT(3)
#define PTE_PCD BIT(4)
#define PTE_A BIT(5)
#define PTE_D BIT(6)
#define PTE_PS BIT(7)
#define PTE_G BIT(8)
#define PTE_COW BIT(9) /* software */
#define PTE_NX BIT(63)
#define PTE_FRAME 0x000ffffffffff000ull
#define ENTRIES 512
#define UPPER_FIRST 256 /* entry of a root where the kernel's half begins */

uint64_t arch_kernel_root;
struct arch_memory arch_memory;
PERCPU(uint64_t, arch_loaded_root);
static hpa_t (*table_alloc)(void);
static void (*table_free)(hpa_t);

static uint64_t *table_at(uint64_t entry) { return (uint64_t *)(DIRECT_BASE + (entry & PTE_FRAME)); }
static unsigned index_at(uint64_t va, unsigned level) { return (unsigned)(va >> (12 + 9 * level)) & (ENTRIES - 1); }
static bool is_kernel(uint64_t va) { return va >> 63; }
static uint64_t entry_read(const uint64_t *e) { return __atomic_load_n(e, __ATOMIC_ACQUIRE); }

static uint64_t leaf_bits(uint64_t va, unsigned flags)
{
	uint64_t e = PTE_P;

	if (flags & MAP_WRITE)
		e |= PTE_W;
	if (!(flags & MAP_EXEC))
		e |= PTE_NX;
	if (flags & MAP_USER)
		e |= PTE_U;
	if (flags & MAP_UNCACHED)
		e |= PTE_PWT | PTE_PCD;
	if (flags & MAP_LARGE)
		e |= PTE_PS;
	if (flags & MAP_COW)
		e |= PTE_COW;
	if (is_kernel(va))
		e |= PTE_G;
	return e;
}

static struct arch_pte_view leaf_view(uint64_t e, bool large)
{
	struct arch_pte_view v = { .present = e & PTE_P };

	if (!v.present)
		return v;
	v.frame = hpa(e & PTE_FRAME & ~(large ? BLOCK_MASK : 0));
	v.flags = (e & PTE_W ? MAP_WRITE : 0) | (e & PTE_NX ? 0 : MAP_EXEC) | (e & PTE_U ? MAP_USER : 0) |
		  (e & PTE_PCD ? MAP_UNCACHED : 0) | (large ? MAP_LARGE : 0) | (e & PTE_COW ? MAP_COW : 0);
	v.accessed = e & PTE_A;
	v.dirty = e & PTE_D;
	return v;
}

/* The leaf entry for va; *level is 0 for 4 KiB, 1 for 2 MiB. NULL where a table is missing. */
static uint64_t *leaf_find(uint64_t root, uint64_t va, unsigned *level)
{
	uint64_t *table = table_at(root);

	for (unsigned l = 3;; l--) {
		uint64_t *e = &table[index_at(va, l)];
		uint64_t v = entry_read(e);

		*level = l;
		if (l == 0 || (l == 1 && (v & PTE_P) && (v & PTE_PS)))
			return e;
		if (!(v & PTE_P))
			return NULL;
		table = table_at(v);
	}
}

/* Makes the tables down to `level` and gives the entry there; NULL without memory, or under a large leaf (*blocked). */
static uint64_t *leaf_make(uint64_t root, uint64_t va, unsigned level, bool *blocked)
{
	uint64_t *table = table_at(root);

	*blocked = false;
	for (unsigned l = 3; l > level; l--) {
		uint64_t *e = &table[index_at(va, l)];
		uint64_t v = entry_read(e);

		if ((v & PTE_P) && (v & PTE_PS)) {
			*blocked = true;
			return NULL;
		}
		if (!(v & PTE_P)) {
			hpa_t t = table_alloc();

			if (!t.v)
				return NULL;
			v = t.v | PTE_P | PTE_W | PTE_A | (is_kernel(va) ? 0 : PTE_U);
			__atomic_store_n(e, v, __ATOMIC_RELEASE);
		}
		table = table_at(v);
	}
	return &table[index_at(va, level)];
}

int arch_map(uint64_t root, uint64_t va, hpa_t frame, unsigned flags)
{
	bool blocked;
	uint64_t *e = leaf_make(root, va, flags & MAP_LARGE ? 1 : 0, &blocked);

	if (!e)
		return blocked ? -EEXIST : -ENOMEM;
	if (entry_read(e) & PTE_P)
		return -EEXIST;
	__atomic_store_n(e, frame.v | leaf_bits(va, flags), __ATOMIC_RELEASE);
	return 0;
}

bool arch_unmap(uint64_t root, uint64_t va, struct arch_pte_view *old)
{
	unsigned level;
	uint64_t *e = leaf_find(root, va, &level);
	struct arch_pte_view v = { .present = false };

	if (e)
		v = leaf_view(__atomic_exchange_n(e, 0, __ATOMIC_ACQ_REL), level == 1);
	if (old)
		*old = v;
	return v.present;
}

bool arch_pte_get(uint64_t root, uint64_t va, struct arch_pte_view *out)
{
	unsigned level;
	uint64_t *e = leaf_find(root, va, &level);

	*out = e ? leaf_view(entry_read(e), level == 1) : (struct arch_pte_view){ .present = false };
	return out->present;
}

uint64_t arch_next_mapped(uint64_t root, uint64_t va, uint64_t end)
{
	while (va < end) {
		uint64_t *table = table_at(root);
		unsigned l = 3;
		uint64_t v;

		while ((v = entry_read(&table[index_at(va, l)])) & PTE_P && l && !(v & PTE_PS)) {
			table = table_at(v);
			l--;
		}
		if (v & PTE_P)
			return va;
		va = ALIGN_DOWN(va, BIT(12 + 9 * l)) + BIT(12 + 9 * l); /* nothing under a missing table */
	}
	return end;
}

void arch_pte_set_flags(uint64_t root, uint64_t va, unsigned flags)
{
	unsigned level;
	uint64_t *e = leaf_find(root, va, &level);
	uint64_t old = e ? entry_read(e) : 0;
	uint64_t new;

	if (!(old & PTE_P))
		return;
	do
		new = (old & (PTE_FRAME | PTE_A | PTE_D)) | leaf_bits(va, (flags & ~(unsigned)MAP_LARGE) | (level == 1 ? MAP_LARGE : 0));
	while (!__atomic_compare_exchange_n(e, &old, new, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE));
}

uint64_t arch_root_create(void)
{
	hpa_t t = table_alloc();

	if (t.v)
		memcpy(table_at(t.v) + UPPER_FIRST, table_at(arch_kernel_root) + UPPER_FIRST, UPPER_FIRST * sizeof(uint64_t));
	return t.v;
}

/* Frees the tables below a table entry of the given level (2 for what a root's entry points to). */
static void tables_free(uint64_t entry, unsigned level)
{
	uint64_t *table = table_at(entry);

	for (unsigned i = 0; level && i < ENTRIES; i++)
		if ((table[i] & PTE_P) && !(table[i] & PTE_PS))
			tables_free(table[i], level - 1);
	table_free(hpa(entry & PTE_FRAME));
}

void arch_root_destroy(uint64_t root)
{
	uint64_t *table = table_at(root);

	if (read_cr3() == root)
		arch_root_load(arch_kernel_root);
	for (unsigned i = 0; i < UPPER_FIRST; i++)
		if (table[i] & PTE_P)
			tables_free(table[i], 2);
	table_free(hpa(root));
}

bool paging_sync_top(uint64_t va)
{
	unsigned i = index_at(va, 3);
	uint64_t *here;
	uint64_t want;

	if (!is_kernel(va) || !arch_kernel_root)
		return false;
	here = &table_at(read_cr3())[i];
	want = entry_read(&table_at(arch_kernel_root)[i]);
	if (!(want & PTE_P) || (entry_read(here) & PTE_P))
		return false;
	__atomic_store_n(here, want, __ATOMIC_RELEASE);
	return true;
}

void arch_flush_page(uint64_t va) { __asm__ volatile("invlpg (%0)" : : "r"(va) : "memory"); }

void arch_flush_all(void)
{
	uint64_t f = arch_irq_save(), cr4 = read_cr4();

	write_cr4(cr4 & ~(uint64_t)CR4_PGE); /* any change of PGE flushes global entries too (APM vol. 2, 5.5.3) */
	write_cr4(cr4);
	arch_irq_restore(f);
}

/* Announced before it is loaded: whoever changes an entry and then finds this CPU not named knows that the load comes after the change. */
void arch_root_load(uint64_t root)
{
	uint64_t f = arch_irq_save();

	__atomic_store_n(&this_cpu(arch_loaded_root), root, __ATOMIC_SEQ_CST);
	write_cr3(root);
	arch_irq_restore(f);
}

static unsigned image_flags(const char *p)
{
	if (p >= __text_start && p < __text_end)
		return MAP_EXEC;
	return p >= __data_start ? MAP_WRITE : 0;
}

void arch_paging_init(hpa_t (*alloc)(void), void (*free)(hpa_t))
{
	static const uint64_t always[] = { DIRECT_BASE, BLOCKTAB_BASE, VMAP_BASE, WINDOW_BASE };
	bool blocked;

	table_alloc = alloc;
	table_free = free;
	arch_kernel_root = alloc().v;
	if (!arch_kernel_root)
		panic("no memory for the kernel's page tables");
	for (unsigned i = 0; i < ARRAY_SIZE(always); i++)
		if (!leaf_make(arch_kernel_root, always[i], 2, &blocked))
			panic("no memory for the kernel's page tables");
	for (char *p = __image_start; p < __image_end; p += PAGE_SIZE)
		if (p != boot_stack_guard && arch_map(arch_kernel_root, (uintptr_t)p, image_hpa(p), image_flags(p)))
			panic("no memory for the kernel's page tables");
}
