/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Blocks: each 2 MiB of RAM has one descriptor and one owner.
 *
 * The table is a sparse virtual array: pages of it that would describe no RAM do not exist. Free blocks stand on two lists, dirty
 * and zeroed, so giving one out is O(1). Only the kernel's and the nested tables' blocks are in the direct map, and only while they
 * are owned.
 *
 * Admission. Of the managed blocks (free, modules', the kernel's, ring 3's, VMs') an allowance belongs to the host: what it held
 * at boot and a reserve, or what it holds now when that is more. The rest can be promised to VMs, and what was promised is always
 * there: blocks of modules count, for they are released when a VM's block is wanted. Hence, with all numbers in blocks,
 *     allowance + promised <= managed      and      free + modules >= promised and not held + allowance and not held.
 *
 * Lock: blocks.lock (RANK_BLOCK), interrupts off. Nothing is called with it held.
 */
#include "mem/mem_priv.h"

#define RESERVE_BLOCKS 2   /* growth of heap, tables and ring 3 beyond what boot took */
#define RESERVE_LAST 1     /* of these, kept from ring 3 */
#define DEBUG_FILL 0xd5d5d5d5d5d5d5d5ull
#define ZERO_STEP (64 * PAGE_SIZE / 4)

static struct {
	struct spinlock lock;
	struct block *table;      /* I */
	uint64_t nr;              /* I */
	const uint64_t *groups;   /* I: bit per page of the table that exists */
	uint64_t ram_bytes;       /* I */
	uint64_t managed;         /* I: blocks that are neither the firmware's nor the image's */
	uint64_t base;            /* I: the host's blocks at boot */
	bool mapping;             /* I after boot */
	uint32_t dirty, zeroed;   /* list heads, index + 1 */
	uint64_t promised;
	uint32_t count[OWNERS];
} blocks = { .lock = SPINLOCK_INIT("block", RANK_BLOCK) };

bool (*mem_release_modules_hook)(void);

uint64_t block_index_end(void) { return blocks.nr; }
uint64_t block_ram_bytes(void) { return blocks.ram_bytes; }
void block_mapping_ready(void) { blocks.mapping = true; }

struct block *block_at(uint64_t i)
{
	uint64_t group = i / BLOCKS_PER_GROUP;

	if (i >= blocks.nr || !(blocks.groups[group / 64] >> group % 64 & 1))
		return NULL;
	return &blocks.table[i];
}
struct block *block_of(hpa_t any) { return block_at(any.v >> BLOCK_SHIFT); }
static hpa_t block_hpa(const struct block *b) { return hpa((uint64_t)(b - blocks.table) << BLOCK_SHIFT); }
static bool owner_in_direct_map(uint16_t owner) { return owner == OWNER_KERNEL || (owner >= OWNER_VM_BASE && (owner & 1)); }
static bool owner_is_vm(uint16_t owner) { return owner >= OWNER_VM_BASE; }

/* ---- lists; blocks.lock held ---- */

static void free_push_locked(struct block *b)
{
	uint32_t *head = b->zeroed ? &blocks.zeroed : &blocks.dirty;

	b->owner = OWNER_FREE;
	b->next = *head;
	b->prev = 0;
	*head = (uint32_t)(b - blocks.table) + 1;
	blocks.count[OWNER_FREE]++;
}

static struct block *free_pop_locked(bool want_zeroed)
{
	uint32_t *first = want_zeroed ? &blocks.zeroed : &blocks.dirty;
	uint32_t *second = want_zeroed ? &blocks.dirty : &blocks.zeroed;
	uint32_t *head = *first ? first : second;
	struct block *b;

	if (!*head)
		return NULL;
	b = &blocks.table[*head - 1];
	*head = b->next;
	b->next = b->prev = 0;
	blocks.count[OWNER_FREE]--;
	return b;
}

static uint64_t ours_locked(void) { return blocks.count[OWNER_KERNEL] + blocks.count[OWNER_USER]; }
static uint64_t allowance_locked(void) { return MAX(ours_locked(), blocks.base + RESERVE_BLOCKS); }
static uint64_t promisable_locked(void)
{
	uint64_t taken = allowance_locked() + blocks.promised;

	return taken < blocks.managed ? blocks.managed - taken : 0;
}

/* A VM's block was promised before and must only leave what the host may still take; the host grows past its allowance only where
 * nobody was promised anything. */
static bool may_take_locked(uint16_t owner, unsigned flags)
{
	uint64_t left = allowance_locked() - ours_locked();

	if (flags & ALLOC_RESERVE)
		return true;
	if (owner_is_vm(owner))
		return blocks.count[OWNER_FREE] > left;
	return left > (owner == OWNER_USER ? RESERVE_LAST : 0) || promisable_locked();
}

/* ---- content ---- */

static void fill64(void *p, uint64_t pattern, size_t bytes)
{
#ifdef __KERNEL_HOST_TEST__
	for (size_t i = 0; i < bytes / 8; i++)
		((uint64_t *)p)[i] = pattern;
#else
	size_t n = bytes / 8;

	__asm__ volatile("rep stosq" : "+D"(p), "+c"(n) : "a"(pattern) : "memory");
#endif
}

static void block_fill(hpa_t h, uint64_t pattern)
{
	for (uint64_t at = 0; at < BLOCK_SIZE; at += ZERO_STEP) {
		void *p = window_get(hpa_add(h, at));

		fill64(p, pattern, ZERO_STEP);
		window_put(p);
	}
}
void block_zero(hpa_t h) { block_fill(h, 0); }

/* ---- giving and taking ---- */

static int direct_map(struct block *b)
{
	hpa_t h = block_hpa(b);
	int r;

	if (!blocks.mapping)
		return -ENOMEM; /* boot lives on its early blocks */
	r = mem_map(arch_kernel_root, (uintptr_t)direct_ptr(h), h, MAP_WRITE | MAP_LARGE);
	if (!r)
		b->flags |= BLOCK_DIRECT;
	return r;
}

static void give_back(struct block *b)
{
	uint64_t f = spin_lock_irqsave(&blocks.lock);

	blocks.count[b->owner]--;
	free_push_locked(b);
	spin_unlock_irqrestore(&blocks.lock, f);
}

hpa_t block_alloc(uint16_t owner, unsigned flags)
{
	bool zero = flags & ALLOC_ZERO;
	struct block *b = NULL;
	uint64_t f;

	DEBUG_ASSERT(owner > OWNER_IMAGE && owner < OWNERS);
	f = spin_lock_irqsave(&blocks.lock);
	if (may_take_locked(owner, flags))
		b = free_pop_locked(zero);
	if (b) {
		b->owner = owner;
		b->gpa = 0;
		blocks.count[owner]++;
	}
	spin_unlock_irqrestore(&blocks.lock, f);
	if (!b)
		return hpa(0);
	if (zero && !b->zeroed)
		block_zero(block_hpa(b));
	b->zeroed = zero;
	if (owner_in_direct_map(owner) && direct_map(b) < 0) {
		give_back(b);
		return hpa(0);
	}
	b->zeroed = 0;
	return block_hpa(b);
}

void block_free(hpa_t h)
{
	struct block *b = block_of(h);

	ASSERT(b && b->owner > OWNER_IMAGE && b->owner < OWNERS);
	ASSERT(!b->pins && !b->frames);
	if (b->flags & BLOCK_DIRECT) {
		b->flags &= (uint8_t)~BLOCK_DIRECT;
		arch_unmap(arch_kernel_root, (uintptr_t)direct_ptr(h), NULL);
		mem_flush_page_everywhere((uintptr_t)direct_ptr(h));
	}
#ifdef CONFIG_DEBUG
	if (b->flags & BLOCK_STALE)
		panic("block %#llx is freed while translations to it may be cached", (unsigned long long)h.v);
	if (window_cached(h.v >> BLOCK_SHIFT))
		panic("block %#llx is freed while a window shows it", (unsigned long long)h.v);
	block_fill(h, DEBUG_FILL);
	window_drop(h);
#endif
	give_back(b);
}

void block_stale_set(hpa_t any, bool stale)
{
	struct block *b = block_of(any);

	if (stale)
		__atomic_or_fetch(&b->flags, BLOCK_STALE, __ATOMIC_SEQ_CST);
	else
		__atomic_and_fetch(&b->flags, (uint8_t)~BLOCK_STALE, __ATOMIC_SEQ_CST);
}

uint64_t block_count(uint16_t owner) { return owner < OWNERS ? READ_ONCE(blocks.count[owner]) : 0; }

/* Out of reach while it is being zeroed: only where enough others are free that nobody misses it. */
bool block_zero_one(void)
{
	struct block *b = NULL;
	uint64_t f = spin_lock_irqsave(&blocks.lock);

	if (blocks.dirty && blocks.count[OWNER_FREE] > 4 * MAX_CPUS)
		b = free_pop_locked(false);
	if (b) {
		b->owner = OWNER_KERNEL;
		blocks.count[OWNER_KERNEL]++;
	}
	spin_unlock_irqrestore(&blocks.lock, f);
	if (!b)
		return false;
	block_zero(block_hpa(b));
	b->zeroed = 1;
	give_back(b);
	return true;
}

/* ---- modules: a block goes when the last module in it has gone ---- */

static void module_block_release(struct block *b)
{
	uint64_t f = spin_lock_irqsave(&blocks.lock);
	bool last = b->owner == OWNER_MODULE && b->gpa && --b->gpa == 0; /* gpa counts modules here */

	spin_unlock_irqrestore(&blocks.lock, f);
	if (last) {
		window_drop(block_hpa(b));
		block_free(block_hpa(b));
	}
}

void module_release(uint64_t base, uint64_t size)
{
	if (!size)
		return;
	for (uint64_t i = base >> BLOCK_SHIFT; i <= (base + size - 1) >> BLOCK_SHIFT; i++) {
		struct block *b = block_at(i);

		if (b)
			module_block_release(b);
	}
}

static void module_block_count(struct block *b, const struct boot_info *bi)
{
	b->gpa = 0;
	for (unsigned i = 0; i < bi->nr_modules; i++) {
		uint64_t first = bi->module[i].base >> BLOCK_SHIFT;
		uint64_t last = (bi->module[i].base + bi->module[i].size - 1) >> BLOCK_SHIFT;
		uint64_t at = (uint64_t)(b - blocks.table);

		b->gpa += bi->module[i].size && at >= first && at <= last;
	}
}

/* ---- admission ---- */

uint64_t mem_promisable(void)
{
	uint64_t f = spin_lock_irqsave(&blocks.lock);
	uint64_t n = promisable_locked();

	spin_unlock_irqrestore(&blocks.lock, f);
	return n << BLOCK_SHIFT;
}

int mem_promise(uint64_t bytes)
{
	uint64_t n = (bytes >> BLOCK_SHIFT) + !!(bytes & BLOCK_MASK);
	uint64_t f = spin_lock_irqsave(&blocks.lock);
	bool fits = n <= promisable_locked();

	if (fits)
		blocks.promised += n;
	spin_unlock_irqrestore(&blocks.lock, f);
	return fits ? 0 : -ENOMEM;
}

void mem_unpromise(uint64_t bytes)
{
	uint64_t n = (bytes >> BLOCK_SHIFT) + !!(bytes & BLOCK_MASK);
	uint64_t f = spin_lock_irqsave(&blocks.lock);

	ASSERT(n <= blocks.promised);
	blocks.promised -= n;
	spin_unlock_irqrestore(&blocks.lock, f);
}

void block_get_facts(struct block_facts *out)
{
	uint64_t f = spin_lock_irqsave(&blocks.lock);

	*out = (struct block_facts){ blocks.count[OWNER_FREE], blocks.managed, blocks.promised, allowance_locked(), ours_locked() };
	spin_unlock_irqrestore(&blocks.lock, f);
}

uint64_t mem_ram_kib(void) { return blocks.ram_bytes >> 10; }
uint64_t mem_host_kib(void)
{
	struct block_facts f;

	block_get_facts(&f);
	return mem_ram_kib() - ((f.managed - f.allowance) << (BLOCK_SHIFT - 10));
}

void block_init(struct block *table, uint64_t nr, const uint64_t *groups, uint64_t ram_bytes, uint64_t early_blocks)
{
	blocks.table = table;
	blocks.nr = nr;
	blocks.groups = groups;
	blocks.ram_bytes = ram_bytes;
	blocks.base = early_blocks;
	blocks.managed = blocks.promised = 0;
	blocks.dirty = blocks.zeroed = 0;
	memset(blocks.count, 0, sizeof(blocks.count));
	/* Downwards, so that the lowest block is given first. */
	for (uint64_t i = nr; i-- > 0;) {
		struct block *b = block_at(i);

		if (!b)
			continue;
		if (b->owner > OWNER_IMAGE || b->owner == OWNER_FREE)
			blocks.managed++;
		if (b->owner == OWNER_MODULE)
			module_block_count(b, &boot_info);
		if (b->owner == OWNER_FREE)
			free_push_locked(b);
		else
			blocks.count[b->owner]++;
	}
}
