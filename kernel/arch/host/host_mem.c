/* SPDX-License-Identifier: Apache-2.0 */
/* A machine's memory for host unit tests: an arena that stands for physical memory, windows into it, and page tables that are a list. */
#include "arch/host/host_mem.h"
#include "mem/mem_priv.h"
#include <stdlib.h>
#include <sys/mman.h>

struct boot_info boot_info;
struct arch_hooks arch_hooks;
uint64_t arch_kernel_root = 1;
unsigned host_mappings, host_windows_held, host_flushes;
static uint64_t host_bytes, next_root = 2;

/* ---- page tables ---- */
struct entry {
	uint64_t root, va;
	struct arch_pte_view view;
	struct entry *next;
};
#define BUCKETS 4096
static struct entry *buckets[BUCKETS];

static struct entry **entry_find(uint64_t root, uint64_t va)
{
	struct entry **e = &buckets[(root * 31 + (va >> PAGE_SHIFT)) % BUCKETS];

	while (*e && ((*e)->root != root || (*e)->va != va))
		e = &(*e)->next;
	return e;
}
int arch_map(uint64_t root, uint64_t va, hpa_t frame, unsigned flags)
{
	struct entry **e = entry_find(root, va);

	if (*e)
		return -EEXIST;
	*e = calloc(1, sizeof(**e));
	**e = (struct entry){ root, va, { .present = true, .frame = frame, .flags = flags }, NULL };
	host_mappings++;
	return 0;
}
bool arch_unmap(uint64_t root, uint64_t va, struct arch_pte_view *old)
{
	struct entry **e = entry_find(root, va), *gone = *e;

	if (!gone)
		return false;
	if (old)
		*old = gone->view;
	*e = gone->next;
	free(gone);
	host_mappings--;
	return true;
}
bool arch_pte_get(uint64_t root, uint64_t va, struct arch_pte_view *out)
{
	struct entry *e = *entry_find(root, va);

	*out = e ? e->view : (struct arch_pte_view){ 0 };
	return e;
}
uint64_t arch_next_mapped(uint64_t root, uint64_t va, uint64_t end)
{
	uint64_t first = end;

	for (unsigned i = 0; i < BUCKETS; i++)
		for (struct entry *e = buckets[i]; e; e = e->next)
			if (e->root == root && e->va >= va && e->va < first)
				first = e->va;
	return first;
}
void arch_pte_set_flags(uint64_t root, uint64_t va, unsigned flags)
{
	struct entry *e = *entry_find(root, va);

	if (e)
		e->view.flags = flags;
}
static void entries_forget(void)
{
	for (unsigned i = 0; i < BUCKETS; i++)
		while (buckets[i])
			arch_unmap(buckets[i]->root, buckets[i]->va, NULL);
}
uint64_t arch_root_create(void) { return next_root++; }
void arch_root_destroy(uint64_t root)
{
	for (unsigned i = 0; i < BUCKETS; i++)
		for (struct entry *e = buckets[i]; e; e = e->next)
			if (e->root == root)
				panic("root destroyed with %#llx mapped", (unsigned long long)e->va);
}
void arch_flush_page(uint64_t va) { host_flushes += va != 0; }
void arch_flush_all(void) { host_flushes++; }
uint64_t arch_loaded_root;
void arch_root_load(uint64_t root) { arch_loaded_root = root; }
void smp_call(uint64_t mask, void (*fn)(void *), void *arg)
{
	if (mask & 1)
		fn(arg);
}
void smp_call_all(void (*fn)(void *), void *arg) { fn(arg); }

/* ---- windows ---- */
#ifndef HOST_REAL_WINDOWS
void *window_get(hpa_t any)
{
	if (any.v >= host_bytes)
		panic("window onto %#llx, outside RAM", (unsigned long long)any.v);
	preempt_disable();
	host_windows_held++;
	return host_ram + any.v;
}
void window_put(const void *p)
{
	(void)p;
	host_windows_held--;
	preempt_enable();
}
void window_drop(hpa_t b) { (void)b; }
void window_drop_all(void) {}
bool window_cached(uint64_t block) { (void)block; return false; }
#endif

/* ---- a machine ---- */

void host_mem_init(uint64_t bytes, unsigned early_blocks)
{
	static uint64_t *groups;
	static struct block *table;
	uint64_t nr = bytes >> BLOCK_SHIFT;

	entries_forget();
	if (host_ram)
		munmap(host_ram, host_bytes);
	host_bytes = bytes;
	host_ram = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	boot_info.nr_ranges = 1;
	boot_info.range[0] = (struct boot_range){ 0, bytes, 1 };
	free(groups);
	free(table);
	groups = calloc(nr / BLOCKS_PER_GROUP / 64 + 1, sizeof(*groups));
	table = calloc(ALIGN_UP(nr, BLOCKS_PER_GROUP), sizeof(*table));
	for (uint64_t i = 0; i < nr; i++) {
		groups[i / BLOCKS_PER_GROUP / 64] |= BIT(i / BLOCKS_PER_GROUP % 64);
		table[i].owner = i >= 1 && i <= early_blocks ? OWNER_KERNEL : layout_owner(&boot_info, i);
	}
	block_init(table, nr, groups, bytes, early_blocks);
	block_mapping_ready();
}
