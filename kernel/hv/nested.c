/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The nested table: the one map from a VM's memory to the host's.
 *
 * One table per VM, in the format that the backend describes (struct hv_nested_format). Levels above the directories of 1 GiB are
 * made under nested->lock and kept until the VM ends. An entry of a directory stands for one guest block (2 MiB):
 *
 *      0 (never touched) --first touch--> BUSY --> leaf <----> table of 512 entries       (gmem_torture.c)
 *
 * and an entry of either kind may be a leaf, TRAP (not present, frame kept), BUSY (somebody changes it: others wait) or HIDDEN (frame
 * of a page that is no RAM for the guest: 0xA0000 to 0xBFFFF, rests of ROM's blocks).
 *
 * Rules.
 * 1. Entries change by compare-and-swap. Only who made an entry BUSY ends that.
 * 2. Readers hold no lock; they keep preemption off. A frame or table page leaves only after a shoot-down (no vCPU caches it) and
 *    nested_quiesce() (no reader has it at hand).
 * 3. Who pins counts with preemption off under a present entry, so BUSY + nested_quiesce() shows all pins that there will be.
 *
 * A first touch cannot fail: its block was promised at power-on.
 */
#include "hv/nested_priv.h"

#define LEGACY_HOLE 0xa0000ull
#define LEGACY_HOLE_END 0xc0000ull
#define GIB_SHIFT 30
#define BUSY_YIELDS 4
#define BUSY_SLEEP_NS 50000

COUNTER(nested_first_touch, "hv.nested.first-touch");
COUNTER(nested_faults, "hv.nested.faults");
COUNTER(nested_shootdowns, "hv.nested.shootdowns");

/* ---- entries ---- */

uint64_t entry_leaf(hpa_t frame, bool large, uint64_t np)
{
	const struct hv_nested_format *f = hv->nested;

	return frame.v | f->leaf | f->read | f->exec_set | (large ? f->large : 0) | (np & NP_WRITE ? f->write : 0) |
	       (np & NP_DIRTY ? f->dirty : 0) | (np & NP_ACCESSED ? f->accessed : 0);
}

uint64_t entry_not_present(enum np_kind k, hpa_t frame, uint64_t np) { return (~frame.v & NESTED_ADDR) | NP_KIND(k) | np; }

uint64_t entry_np_flags(uint64_t e)
{
	const struct hv_nested_format *f = hv->nested;

	if (!entry_present(e))
		return e & (NP_WRITE | NP_DIRTY | NP_ACCESSED);
	return (e & f->write ? NP_WRITE : 0) | (e & f->dirty ? NP_DIRTY : 0) | (e & f->accessed ? NP_ACCESSED : 0);
}

/* ---- what a guest address is ---- */

enum page_kind { PAGE_NONE, PAGE_RAM, PAGE_ROM };

static enum page_kind page_kind(const struct vm *vm, uint64_t at)
{
	const struct vm_range *r;

	if (at >= LEGACY_HOLE && at < LEGACY_HOLE_END)
		return PAGE_NONE;
	r = vm_range_find(vm, gpa(at));
	if (!r)
		return PAGE_NONE;
	return r->kind == VMM_RANGE_RAM ? PAGE_RAM : r->kind == VMM_RANGE_ROM ? PAGE_ROM : PAGE_NONE;
}

/* The kind that all of a block has; PAGE_NONE when it is mixed. */
static enum page_kind block_kind(const struct vm *vm, uint64_t base)
{
	const struct vm_range *r = vm_range_find(vm, gpa(base));

	if (!base || !r || r->base.v + r->size < base + BLOCK_SIZE)
		return PAGE_NONE;
	return page_kind(vm, base);
}

static bool block_has_ram(const struct vm *vm, uint64_t base)
{
	for (unsigned i = 0; i < vm->nr_ranges; i++) {
		const struct vm_range *r = &vm->range[i];

		if (r->kind == VMM_RANGE_RAM && r->base.v < base + BLOCK_SIZE && base < r->base.v + r->size)
			return true;
	}
	return false;
}

uint64_t nested_top(const struct vm *vm)
{
	uint64_t top = 0;

	for (unsigned i = 0; i < vm->nr_ranges; i++)
		top = MAX(top, vm->range[i].base.v + vm->range[i].size);
	return top;
}

/* ---- table pages ---- */

static uint32_t spare_level(const struct vm *vm) { return (uint32_t)(vm->config.memory >> GIB_SHIFT) + 32; }

static void table_push_locked(struct nested *n, void *page)
{
	*(void **)page = n->free_tables;
	n->free_tables = page;
	n->nr_free_tables++;
}

static bool table_block_add(struct vm *vm, bool promised)
{
	struct nested *n = &vm->nested;
	hpa_t b;

	if (!promised && mem_promise(BLOCK_SIZE))
		return false;
	while (!(b = block_alloc(owner_vm_tables(vm->id), 0)).v)
		if (!mem_release_modules_hook || !mem_release_modules_hook())
			break;
	if (!b.v)
		b = block_alloc(owner_vm_tables(vm->id), ALLOC_RESERVE);
	if (!promised)
		b.v ? (void)__atomic_add_fetch(&n->extra, 1, __ATOMIC_RELAXED) : mem_unpromise(BLOCK_SIZE);
	if (!b.v)
		return false;
	spin_lock(&n->lock);
	block_of(b)->next = n->table_blocks;
	n->table_blocks = (uint32_t)(b.v >> BLOCK_SHIFT) + 1;
	for (unsigned i = 0; i < FRAMES_PER_BLOCK; i++)
		table_push_locked(n, direct_ptr(hpa_add(b, i * PAGE_SIZE)));
	spin_unlock(&n->lock);
	return true;
}

uint64_t *nested_table_alloc(struct vm *vm, bool spare)
{
	struct nested *n = &vm->nested;
	uint64_t *t = NULL;

	for (;;) {
		spin_lock(&n->lock);
		if (n->nr_free_tables > (spare ? spare_level(vm) : 0)) {
			t = n->free_tables;
			n->free_tables = *(void **)t;
			n->nr_free_tables--;
			n->nr_tables++;
		}
		spin_unlock(&n->lock);
		if (t)
			return memset(t, 0, PAGE_SIZE);
		if (!table_block_add(vm, !n->table_blocks))
			return NULL;
	}
}

void nested_table_free(struct vm *vm, uint64_t *table)
{
	spin_lock(&vm->nested.lock);
	table_push_locked(&vm->nested, table);
	vm->nested.nr_tables--;
	spin_unlock(&vm->nested.lock);
}

/* ---- finding entries ---- */

static unsigned index_at(uint64_t at, unsigned level) { return (unsigned)(at >> (PAGE_SHIFT + 9 * (level - 1))) & (ENTRIES - 1); }

/* Through the levels above the directories. NULL where one is missing. */
static uint64_t *directory_walk(struct vm *vm, uint64_t at)
{
	uint64_t *table = direct_ptr(vm->nested.root);

	if (at >> (PAGE_SHIFT + 9 * hv->nested->levels))
		return NULL;
	for (unsigned level = hv->nested->levels; level > 2; level--) {
		uint64_t e = entry_load(&table[index_at(at, level)]);

		if (!e)
			return NULL;
		table = entry_table(e);
	}
	return table;
}

static inline uint64_t *directory_find(struct vm *vm, uint64_t at)
{
	uint64_t g = at >> GIB_SHIFT;

	return likely(g < NESTED_PDS) ? __atomic_load_n(&vm->nested.pd[g], __ATOMIC_ACQUIRE) : directory_walk(vm, at);
}

/* Two who make the same table: one wins, the other's goes back. */
static uint64_t *directory_make(struct vm *vm, uint64_t at)
{
	uint64_t *table = direct_ptr(vm->nested.root);

	for (unsigned level = hv->nested->levels; level > 2; level--) {
		uint64_t *slot = &table[index_at(at, level)];

		if (!entry_load(slot)) {
			uint64_t *t = nested_table_alloc(vm, false);

			if (!t)
				return NULL;
			if (!entry_swap(slot, 0, direct_hpa(t).v | hv->nested->table))
				nested_table_free(vm, t);
		}
		table = entry_table(entry_load(slot));
	}
	if (at >> GIB_SHIFT < NESTED_PDS)
		__atomic_store_n(&vm->nested.pd[at >> GIB_SHIFT], table, __ATOMIC_RELEASE);
	return table;
}

uint64_t *nested_block_slot(struct vm *vm, gpa_t at)
{
	uint64_t *pd = directory_find(vm, at.v);

	return pd ? &pd[index_at(at.v, 2)] : NULL;
}

uint64_t *nested_slot(struct vm *vm, gpa_t at, bool *large)
{
	uint64_t *slot = nested_block_slot(vm, at);
	uint64_t e = slot ? entry_load(slot) : 0;

	*large = true;
	if (!entry_is_table(e))
		return slot;
	*large = false;
	return &entry_table(e)[index_at(at.v, 1)];
}

bool nested_lookup(struct vm *vm, gpa_t at, bool write, hpa_t *out)
{
	const struct hv_nested_format *f = hv->nested;
	uint64_t *slot = directory_find(vm, at.v);
	uint64_t e, offset = BLOCK_MASK;

	if (unlikely(!slot))
		return false;
	slot += at.v >> BLOCK_SHIFT & (ENTRIES - 1);
	e = entry_load(slot);
	if (unlikely((e & f->present_mask) && !(e & f->large))) {
		slot = entry_table(e) + (at.v >> PAGE_SHIFT & (ENTRIES - 1));
		e = entry_load(slot);
		offset = PAGE_MASK;
	}
	if (unlikely(!(e & f->present_mask)))
		return false;
	/* Software that writes marks the entry as hardware would; a lost race means somebody changes the entry: look again later. */
	if (write && ((e & (f->write | f->dirty)) != (f->write | f->dirty)) &&
	    (!(e & f->write) || !entry_swap(slot, e, e | f->dirty | f->accessed)))
		return false;
	*out = hpa((e & NESTED_ADDR & ~offset) | (at.v & offset));
	return true;
}

/* ---- faults ---- */

static hpa_t first_block(struct vm *vm, uint64_t base)
{
	hpa_t b;

	/* ROM stands beside the VM's RAM: its blocks were not promised at power-on. */
	if (!block_has_ram(vm, base)) {
		if (mem_promise(BLOCK_SIZE))
			return hpa(0);
		__atomic_add_fetch(&vm->nested.extra, 1, __ATOMIC_RELAXED);
	}
	while (!(b = block_alloc(owner_vm(vm->id), ALLOC_ZERO)).v)
		if (!mem_release_modules_hook || !mem_release_modules_hook())
			break;
	if (!b.v) {
		mem_drain();
		b = block_alloc(owner_vm(vm->id), ALLOC_ZERO | ALLOC_RESERVE);
	}
	if (b.v)
		block_of(b)->gpa = base;
	return b;
}

/* A table for a block that is not all of one kind; NULL without memory. */
static uint64_t *mixed_table(struct vm *vm, hpa_t b, uint64_t base)
{
	uint64_t *t = nested_table_alloc(vm, false);
	unsigned small = 0;

	for (unsigned i = 0; t && i < ENTRIES; i++) {
		enum page_kind k = page_kind(vm, base + i * PAGE_SIZE);
		hpa_t f = hpa_add(b, i * PAGE_SIZE);

		t[i] = k == PAGE_NONE ? entry_not_present(NP_HIDDEN, f, NP_WRITE) : entry_leaf(f, false, k == PAGE_RAM ? NP_WRITE : 0);
		small += k != PAGE_NONE;
	}
	__atomic_add_fetch(&vm->nested.small_leaves, small, __ATOMIC_RELAXED);
	return t;
}

static int first_touch(struct vm *vm, uint64_t base, uint64_t *slot)
{
	enum page_kind kind = block_kind(vm, base);
	uint64_t e = 0, *t;
	hpa_t b;

	if (!entry_swap(slot, 0, entry_not_present(NP_BUSY, hpa(0), 0)))
		return -EAGAIN;
	b = first_block(vm, base);
	if (b.v && kind != PAGE_NONE) {
		e = entry_leaf(b, true, kind == PAGE_RAM ? NP_WRITE : 0);
		__atomic_add_fetch(&vm->nested.large_leaves, 1, __ATOMIC_RELAXED);
	} else if (b.v) {
		t = mixed_table(vm, b, base);
		if (t)
			e = direct_hpa(t).v | hv->nested->table;
		else
			block_free(b);
	}
	if (e)
		__atomic_add_fetch(&vm->nested.blocks, 1, __ATOMIC_RELAXED);
	counter_add(nested_first_touch, 1);
	__atomic_store_n(slot, e, __ATOMIC_RELEASE);
	return e ? 0 : -EFAULT;
}

/* Makes an entry that has a frame usable for this access. Preemption off. */
static int entry_resolve(struct vm *vm, uint64_t *slot, bool large, bool write, enum page_kind kind)
{
	uint64_t e = entry_load(slot), want;
	uint64_t may_write = kind == PAGE_RAM && write ? NP_WRITE : 0;

	if (!e || entry_is(e, NP_BUSY))
		return -EAGAIN;
	if (entry_present(e)) {
		if (!write || (e & hv->nested->write))
			return 0; /* another vCPU was quicker; the stale translation went with the fault */
		want = e | hv->nested->write;
	} else if (entry_is(e, NP_TRAP)) {
		want = entry_leaf(entry_frame(e), large, entry_np_flags(e) | may_write);
	} else {
		/* Hidden, and a range came later that makes it RAM or ROM. */
		want = entry_leaf(entry_frame(e), large, kind == PAGE_RAM ? NP_WRITE : 0);
		__atomic_add_fetch(&vm->nested.small_leaves, 1, __ATOMIC_RELAXED);
	}
	return entry_swap(slot, e, want) ? 0 : -EAGAIN;
}

static int fault_once(struct vm *vm, uint64_t at, bool write, enum page_kind kind)
{
	uint64_t *pd = directory_find(vm, at), *slot;
	bool large;
	int r;

	if (!pd && !(pd = directory_make(vm, at)))
		return -ENOMEM;
	slot = &pd[index_at(at, 2)];
	if (!entry_load(slot))
		return first_touch(vm, at & ~BLOCK_MASK, slot);
	preempt_disable();
	slot = nested_slot(vm, gpa(at), &large);
	r = entry_resolve(vm, slot, large, write, kind);
	preempt_enable();
	return r;
}

/* Whoever has the entry BUSY may need this CPU, and takes long when a block is zeroed or copied. */
static void entry_wait(unsigned tries)
{
	if (tries < BUSY_YIELDS)
		sched_yield();
	else
		sched_sleep_ns(BUSY_SLEEP_NS);
}

int nested_fault(struct vm *vm, gpa_t at, bool write, bool exec)
{
	enum page_kind kind = page_kind(vm, at.v);
	unsigned tries = 0;
	int r;

	(void)exec; /* everything can be executed */
	if (kind == PAGE_NONE || (kind == PAGE_ROM && write))
		return -EFAULT;
	counter_add(nested_faults, 1);
	while ((r = fault_once(vm, at.v, write, kind)) == -EAGAIN)
		entry_wait(tries++);
	if (r == -ENOMEM || (r && kind == PAGE_RAM)) {
		log_error("VM %u: promised memory is not there (guest address %#llx)", vm->id, (unsigned long long)at.v);
		r = -EFAULT;
	}
	return r;
}

/* ---- downgrades ---- */

void nested_shootdown(struct vm *vm)
{
	uint64_t generation = __atomic_add_fetch(&vm->nested.generation, 1, __ATOMIC_SEQ_CST);

	counter_add(nested_shootdowns, 1);
	for (unsigned i = 0; i < vm->config.vcpus; i++) {
		struct vcpu *v = vm->vcpu[i];
		bool kicked = false;

		/* A vCPU says GUEST first and reads the generation after that: it is either seen here or sees the new one. */
		while (v && __atomic_load_n(&v->mode, __ATOMIC_SEQ_CST) == VCPU_GUEST &&
		       __atomic_load_n(&v->entered_generation, __ATOMIC_SEQ_CST) < generation) {
			if (!kicked)
				vcpu_kick(v);
			kicked = true;
			arch_pause();
		}
	}
}

struct quiesce { uint64_t seen; };

static void quiesce_look(void *arg)
{
	struct quiesce *q = arg;

	if (!preempt_depth())
		__atomic_or_fetch(&q->seen, BIT(arch_cpu_id()), __ATOMIC_RELEASE);
}

void nested_quiesce(void)
{
	uint64_t all = cpu_count == 64 ? ~0ull : BIT(cpu_count) - 1;
	struct quiesce q = { 0 };

	for (;;) {
		/* Where this world runs nothing is at hand. Anew each time: it may have moved, and smp_call() on its own CPU never sees depth 0. */
		preempt_disable();
		q.seen |= BIT(arch_cpu_id());
		preempt_enable();
		if (q.seen == all)
			return;
		smp_call(all & ~q.seen, quiesce_look, &q);
	}
}

/* ---- life ---- */

uint64_t nested_promise(uint64_t memory) { return ALIGN_UP(memory, BLOCK_SIZE) + BLOCK_SIZE; }

int nested_init(struct vm *vm)
{
	struct nested *n = &vm->nested;
	uint64_t generation = n->generation;
	uint64_t *root;

	memset(n, 0, sizeof(*n));
	n->generation = generation + 1; /* no vCPU has entered under it, also after a rebuild */
	mutex_init(&n->ops, "nested ops");
	spin_init(&n->lock, "nested", RANK_DEV);
	root = nested_table_alloc(vm, false);
	if (!root)
		return -ENOMEM;
	n->root = direct_hpa(root);
	return 0;
}

static void small_free(struct vm *vm, uint64_t *table)
{
	hpa_t whole = hpa(0);

	for (unsigned i = 0; i < ENTRIES; i++) {
		hpa_t f = entry_frame(table[i]);

		if (!table[i])
			continue;
		if (gmem_frame_state(f))
			gmem_frame_drop(vm, f);
		else
			whole = hpa(f.v & ~BLOCK_MASK);
	}
	if (whole.v)
		gmem_block_drop(vm, whole);
}

static void tables_walk_free(struct vm *vm, uint64_t *table, unsigned level)
{
	for (unsigned i = 0; i < ENTRIES; i++) {
		uint64_t e = table[i];

		if (!e)
			continue;
		if (level > 2)
			tables_walk_free(vm, entry_table(e), level - 1);
		else if (entry_is_table(e))
			small_free(vm, entry_table(e));
		else
			gmem_block_drop(vm, entry_frame(e));
	}
}

void nested_free(struct vm *vm)
{
	struct nested *n = &vm->nested;
	uint64_t extra;

	if (!n->root.v)
		return;
	while (__atomic_load_n(&n->pinned, __ATOMIC_ACQUIRE))
		sched_sleep_ns(1000000); /* a device still transfers */
	extra = n->extra;
	n->extra = 0;
	window_drop_all();
	tables_walk_free(vm, direct_ptr(n->root), hv->nested->levels);
	while (n->table_blocks) {
		hpa_t b = hpa((uint64_t)(n->table_blocks - 1) << BLOCK_SHIFT);

		n->table_blocks = block_of(b)->next;
		block_free(b);
	}
	mem_unpromise(extra * BLOCK_SIZE);
	n->root = hpa(0);
}
