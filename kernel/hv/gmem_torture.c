/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Changes of how guest memory is mapped and where it lies, under running vCPUs: what the torture helper plays with and reclaim uses.
 *
 * All follow one pattern (nested.c, rules 1 to 3):
 *
 *      entries -> BUSY;  shoot down;  quiesce;  [pinned? entries back, -EBUSY];  change;  entries -> leaves
 *
 * While an entry is BUSY it keeps its frame and rights, so that an unpin still finds the count and can leave its dirty mark; the mark
 * is merged when the entry becomes a leaf again. A block whose translations were taken away is marked stale until the shoot-down has
 * ended, and debug builds refuse to free it before (block.c): emulators flush everything at every entry and would never notice.
 *
 * nested->ops (mutex) keeps these operations apart, so between them only first touches and faults change entries.
 */
#include "hv/nested_priv.h"

COUNTER(gmem_moves, "hv.gmem.moved-frames");
#ifdef CONFIG_DEBUG
bool gmem_plant_no_shootdown; /* the planted bug of the unit test */
#endif

struct op {
	struct vm *vm;
	uint64_t base;      /* guest address of the block */
	uint64_t *slot;     /* of the block */
	uint64_t *table;    /* NULL: one large leaf */
};

static bool keeps_frame(uint64_t e) { return e && !entry_is(e, NP_HIDDEN); }

static int op_begin(struct op *op, struct vm *vm, gpa_t at)
{
	uint64_t e;

	*op = (struct op){ .vm = vm, .base = at.v & ~BLOCK_MASK };
	mutex_lock(&vm->nested.ops);
	op->slot = nested_block_slot(vm, at);
	e = op->slot ? entry_load(op->slot) : 0;
	if (!e || entry_is(e, NP_BUSY)) { /* never touched, or just now */
		mutex_unlock(&vm->nested.ops);
		return -EBUSY;
	}
	if (entry_is_table(e))
		op->table = entry_table(e);
	return 0;
}
static int op_end(struct op *op, int r)
{
	mutex_unlock(&op->vm->nested.ops);
	return r;
}

/* ---- entries to BUSY and back ---- */

static void stale(uint64_t e, bool on)
{
#ifdef CONFIG_DEBUG
	block_stale_set(entry_frame(e), on);
#else
	(void)e, (void)on;
#endif
}

static void entry_take(uint64_t *slot)
{
	uint64_t e;

	do
		e = entry_load(slot);
	while (!entry_swap(slot, e, entry_not_present(NP_BUSY, entry_frame(e), entry_np_flags(e))));
	stale(e, true);
}

/* Whatever mark an unpin leaves meanwhile goes along. */
static void entry_give(uint64_t *slot, hpa_t frame, bool large)
{
	uint64_t e;

	do
		e = entry_load(slot);
	while (!entry_swap(slot, e, entry_leaf(frame, large, entry_np_flags(e))));
}

static void shootdown(struct vm *vm)
{
#ifdef CONFIG_DEBUG
	if (gmem_plant_no_shootdown)
		return;
#endif
	nested_shootdown(vm);
	nested_quiesce();
}

static void each_stale(struct op *op, bool on)
{
#ifdef CONFIG_DEBUG
	if (gmem_plant_no_shootdown && !on)
		return;
#endif
	for (unsigned i = 0; i < (op->table ? ENTRIES : 1u); i++) {
		uint64_t e = entry_load(op->table ? &op->table[i] : op->slot);

		if (keeps_frame(e))
			stale(e, on);
	}
}

static void all_take(struct op *op)
{
	if (!op->table)
		entry_take(op->slot);
	for (unsigned i = 0; op->table && i < ENTRIES; i++)
		if (keeps_frame(op->table[i]))
			entry_take(&op->table[i]);
	shootdown(op->vm);
	each_stale(op, false);
}

/* Back where they were. */
static void all_give_back(struct op *op)
{
	if (!op->table)
		entry_give(op->slot, entry_frame(*op->slot), true);
	for (unsigned i = 0; op->table && i < ENTRIES; i++)
		if (entry_is(op->table[i], NP_BUSY))
			entry_give(&op->table[i], entry_frame(op->table[i]), false);
}

/* Every entry's frame is i frames into one block that has no frame state. */
static bool is_whole(const struct op *op, hpa_t *block)
{
	hpa_t b = entry_frame(op->table ? op->table[0] : *op->slot);

	*block = hpa(b.v & ~BLOCK_MASK);
	if (block_of(b)->frames)
		return false;
	for (unsigned i = 0; op->table && i < ENTRIES; i++)
		if (entry_frame(op->table[i]).v != block->v + i * PAGE_SIZE)
			return false;
	return true;
}

static bool frame_pinned(hpa_t f)
{
	struct frame *state = gmem_frame_state(f);

	return state ? __atomic_load_n(&state->pins, __ATOMIC_SEQ_CST) : __atomic_load_n(&block_of(f)->pins, __ATOMIC_SEQ_CST);
}

static bool any_pinned(const struct op *op)
{
	if (!op->table)
		return frame_pinned(entry_frame(*op->slot));
	for (unsigned i = 0; i < ENTRIES; i++)
		if (frame_pinned(entry_frame(op->table[i])))
			return true;
	return false;
}

static void leaves_add(struct vm *vm, int64_t large, int64_t small)
{
	__atomic_add_fetch(&vm->nested.large_leaves, (uint64_t)large, __ATOMIC_RELAXED);
	__atomic_add_fetch(&vm->nested.small_leaves, (uint64_t)small, __ATOMIC_RELAXED);
}

/* ---- demote, promote: the mapping only ---- */

static void table_fill(uint64_t *t, uint64_t busy)
{
	for (unsigned i = 0; i < ENTRIES; i++)
		t[i] = entry_leaf(hpa_add(entry_frame(busy), i * PAGE_SIZE), false, entry_np_flags(busy));
}

static int demote(struct op *op)
{
	uint64_t *t = nested_table_alloc(op->vm, true);
	uint64_t e;

	if (!t)
		return -ENOMEM;
	all_take(op);
	do {
		e = entry_load(op->slot); /* an unpin may mark it meanwhile */
		table_fill(t, e);
	} while (!entry_swap(op->slot, e, direct_hpa(t).v | hv->nested->table));
	op->table = t;
	leaves_add(op->vm, -1, ENTRIES);
	return 0;
}

int gmem_demote(struct vm *vm, gpa_t at)
{
	struct op op;
	int r = op_begin(&op, vm, at);

	if (r)
		return r;
	return op_end(&op, op.table ? -EBUSY : demote(&op));
}

static bool any_hidden(const struct op *op)
{
	for (unsigned i = 0; i < ENTRIES; i++)
		if (!keeps_frame(op->table[i]))
			return true;
	return false;
}

/* Rights that all entries have, marks that any has. */
static uint64_t merged_flags(const uint64_t *t)
{
	uint64_t all = ~0ull, any = 0;

	for (unsigned i = 0; i < ENTRIES; i++) {
		uint64_t f = entry_np_flags(entry_load(&t[i]));

		all &= f;
		any |= f;
	}
	return (all & NP_WRITE) | (any & (NP_DIRTY | NP_ACCESSED));
}

static void promote(struct op *op, hpa_t block)
{
	uint64_t *t = op->table;
	uint64_t e;

	all_take(op);
	__atomic_store_n(op->slot, entry_leaf(block, true, merged_flags(t)), __ATOMIC_SEQ_CST);
	shootdown(op->vm); /* nobody keeps the table page: neither a CPU's cache of upper levels nor a walk under way */
	if (merged_flags(t) & NP_DIRTY) /* an unpin may have marked the old table until now */
		do
			e = entry_load(op->slot);
		while (!entry_swap(op->slot, e, entry_present(e) ? e | hv->nested->dirty : e | NP_DIRTY));
	nested_table_free(op->vm, t);
	op->table = NULL;
	leaves_add(op->vm, 1, -ENTRIES);
}

int gmem_promote(struct vm *vm, gpa_t at)
{
	struct op op;
	hpa_t block;
	int r = op_begin(&op, vm, at);

	if (r)
		return r;
	if (!op.table || any_hidden(&op) || !is_whole(&op, &block))
		return op_end(&op, -EBUSY);
	promote(&op, block);
	return op_end(&op, 0);
}

/* ---- break, reform: from a block to frames and back ---- */

static int break_whole(struct op *op, hpa_t block)
{
	int r = op->table ? 0 : demote(op);

	if (r)
		return r;
	all_take(op);
	r = any_pinned(op) ? -EBUSY : gmem_block_break_state(op->vm, block, gpa(op->base));
	all_give_back(op);
	return r;
}

int gmem_break(struct vm *vm, gpa_t at)
{
	struct op op;
	hpa_t block;
	int r = op_begin(&op, vm, at);

	if (r)
		return r;
	return op_end(&op, is_whole(&op, &block) ? break_whole(&op, block) : -EBUSY);
}

static void frame_copy(hpa_t to, hpa_t from)
{
	void *d = window_get(to);
	void *s = window_get(from);

	memcpy(d, s, PAGE_SIZE);
	window_put(s);
	window_put(d);
}

/* All frames stand in order in one broken block of which nothing else is used. */
static bool in_place(const struct op *op, hpa_t *block)
{
	*block = hpa(entry_frame(op->table[0]).v & ~BLOCK_MASK);
	for (unsigned i = 0; i < ENTRIES; i++)
		if (entry_frame(op->table[i]).v != block->v + i * PAGE_SIZE)
			return false;
	return gmem_frames_used(*block) == ENTRIES;
}

/* Entry i gets the frame at its place in `to`; the old one, if it has state, goes back. Entries BUSY and shot down. */
static void entry_replace(struct op *op, unsigned i, hpa_t to)
{
	hpa_t old = entry_frame(op->table[i]), new_frame = hpa_add(to, i * PAGE_SIZE);

	frame_copy(new_frame, old);
	if (entry_is(op->table[i], NP_BUSY))
		entry_give(&op->table[i], new_frame, false);
	else
		op->table[i] = entry_not_present(NP_HIDDEN, new_frame, NP_WRITE);
	if (gmem_frame_state(old))
		gmem_frame_drop(op->vm, old);
}

static int collect(struct op *op, hpa_t to)
{
	all_take(op);
	if (any_pinned(op)) {
		all_give_back(op);
		gmem_block_drop(op->vm, to);
		return -EBUSY;
	}
	block_of(to)->gpa = op->base;
	for (unsigned i = 0; i < ENTRIES; i++)
		entry_replace(op, i, to);
	counter_add(gmem_moves, ENTRIES);
	return 0;
}

static int reform_in_place(struct op *op, hpa_t block)
{
	int r = 0;

	all_take(op);
	if (any_pinned(op))
		r = -EBUSY;
	else
		gmem_block_join_state(op->vm, block, gpa(op->base));
	all_give_back(op);
	return r;
}

int gmem_reform(struct vm *vm, gpa_t at)
{
	struct op op;
	hpa_t block;
	int r = op_begin(&op, vm, at);

	if (r)
		return r;
	if (!op.table || !gmem_frame_state(entry_frame(op.table[0])))
		return op_end(&op, -EBUSY);
	if (in_place(&op, &block))
		return op_end(&op, reform_in_place(&op, block));
	block = gmem_block_take(vm);
	return op_end(&op, block.v ? collect(&op, block) : -ENOMEM);
}

/* ---- move ---- */

static int move_large(struct op *op, hpa_t to)
{
	hpa_t old = entry_frame(*op->slot);

	all_take(op);
	if (frame_pinned(old)) {
		all_give_back(op);
		gmem_block_drop(op->vm, to);
		return -EBUSY;
	}
	for (unsigned i = 0; i < ENTRIES; i++)
		frame_copy(hpa_add(to, i * PAGE_SIZE), hpa_add(old, i * PAGE_SIZE));
	block_of(to)->gpa = op->base;
	entry_give(op->slot, to, true);
	gmem_block_drop(op->vm, old);
	return 0;
}

static int move_whole(struct op *op, hpa_t old)
{
	hpa_t to = gmem_block_take(op->vm);
	int r;

	if (!to.v)
		return -ENOMEM;
	if (!op->table)
		return move_large(op, to);
	r = collect(op, to);
	if (!r)
		gmem_block_drop(op->vm, old);
	return r;
}

static int move_frame(struct op *op, gpa_t at)
{
	uint64_t *slot = &op->table[at.v >> PAGE_SHIFT & (ENTRIES - 1)];
	hpa_t old = entry_frame(*slot), to;

	if (!keeps_frame(*slot))
		return -EBUSY;
	to = gmem_frame_take(op->vm, (uint32_t)(at.v >> PAGE_SHIFT));
	if (!to.v)
		return -ENOMEM;
	entry_take(slot);
	shootdown(op->vm);
	each_stale(op, false);
	if (frame_pinned(old)) {
		entry_give(slot, old, false);
		gmem_frame_drop(op->vm, to);
		return -EBUSY;
	}
	frame_copy(to, old);
	entry_give(slot, to, false);
	gmem_frame_drop(op->vm, old);
	return 0;
}

int gmem_move(struct vm *vm, gpa_t at)
{
	struct op op;
	hpa_t block;
	int r = op_begin(&op, vm, at);

	if (r)
		return r;
	r = is_whole(&op, &block) ? move_whole(&op, block) : move_frame(&op, at);
	if (!r)
		counter_add(gmem_moves, 1);
	return op_end(&op, r);
}

/* ---- protect, trap: rights of one entry ---- */

static int downgrade(struct vm *vm, gpa_t at, bool trap)
{
	struct op op;
	bool large;
	uint64_t *slot, e, want;
	int r = op_begin(&op, vm, at);

	if (r)
		return r;
	slot = nested_slot(vm, at, &large);
	do {
		e = entry_load(slot);
		if (!entry_present(e))
			return op_end(&op, -EBUSY);
		want = trap ? entry_not_present(NP_TRAP, entry_frame(e), entry_np_flags(e)) : e & ~hv->nested->write;
	} while (!entry_swap(slot, e, want));
	stale(e, true);
	shootdown(vm);
	stale(e, false);
	return op_end(&op, 0);
}
int gmem_protect(struct vm *vm, gpa_t at) { return downgrade(vm, at, false); }
int gmem_trap(struct vm *vm, gpa_t at) { return downgrade(vm, at, true); }
