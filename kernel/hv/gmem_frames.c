/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Host memory of one VM beneath its nested table: whole blocks beyond what was promised at power-on, and the frames of broken blocks.
 *
 * A broken block has a state per frame (struct frames, made when it is broken, gone when it is whole again) that names the guest
 * frame which maps it. Broken blocks with free frames stand on nested->broken. Every block taken here is promised first and that
 * promise is undone with whichever block is given back: a VM holds as many blocks as its guest touched, plus `extra`.
 *
 * Lock: nested->lock. In block.gpa of a broken block: free frames and the first of them.
 */
#include "hv/nested_priv.h"

struct free_frames { uint32_t count, first; };
static struct free_frames *free_of(struct block *b) { return (struct free_frames *)&b->gpa; }
static struct block *block_number(uint32_t index) { return block_of(hpa((uint64_t)index << BLOCK_SHIFT)); }

hpa_t gmem_block_take(struct vm *vm)
{
	hpa_t b;

	if (mem_promise(BLOCK_SIZE))
		return hpa(0);
	while (!(b = block_alloc(owner_vm(vm->id), 0)).v)
		if (!mem_release_modules_hook || !mem_release_modules_hook())
			break;
	if (b.v)
		__atomic_add_fetch(&vm->nested.extra, 1, __ATOMIC_RELAXED);
	else
		mem_unpromise(BLOCK_SIZE);
	return b;
}

void gmem_block_drop(struct vm *vm, hpa_t b)
{
	uint64_t extra = __atomic_load_n(&vm->nested.extra, __ATOMIC_RELAXED);

	window_drop(b);
	block_free(b);
	while (extra && !__atomic_compare_exchange_n(&vm->nested.extra, &extra, extra - 1, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
		;
	if (extra)
		mem_unpromise(BLOCK_SIZE);
}

/* ---- the list of broken blocks with a free frame; lock held ---- */

static void list_add_locked(struct nested *n, uint32_t index)
{
	struct block *b = block_number(index);

	b->prev = 0;
	b->next = n->broken;
	if (b->next)
		block_number(b->next - 1)->prev = index + 1;
	n->broken = index + 1;
}
static void list_remove_locked(struct nested *n, uint32_t index)
{
	struct block *b = block_number(index);

	if (b->next)
		block_number(b->next - 1)->prev = b->prev;
	if (b->prev)
		block_number(b->prev - 1)->next = b->next;
	else
		n->broken = b->next;
	b->next = b->prev = 0;
}

static void frame_put_locked(struct nested *n, uint32_t index, uint32_t i)
{
	struct block *b = block_number(index);
	struct free_frames *free = free_of(b);

	b->frames->f[i] = (struct frame){ .use = free->first, .state = FRAME_FREE };
	free->first = i + 1;
	if (free->count++ == 0)
		list_add_locked(n, index);
}

static hpa_t frame_take_locked(struct nested *n, uint32_t gfn)
{
	uint32_t index = n->broken - 1, i;
	struct block *b;

	if (!n->broken)
		return hpa(0);
	b = block_number(index);
	i = free_of(b)->first - 1;
	free_of(b)->first = b->frames->f[i].use;
	if (--free_of(b)->count == 0)
		list_remove_locked(n, index);
	b->frames->f[i] = (struct frame){ .use = gfn, .state = FRAME_USED };
	return hpa((uint64_t)index << BLOCK_SHIFT | (uint64_t)i << PAGE_SHIFT);
}

static bool broken_block_add(struct vm *vm)
{
	struct frames *state = kpage_zalloc(MT_FRAMES);
	hpa_t b = state ? gmem_block_take(vm) : hpa(0);

	if (!b.v) {
		kpage_free(state);
		return false;
	}
	spin_lock(&vm->nested.lock);
	block_of(b)->frames = state;
	block_of(b)->gpa = 0;
	for (uint32_t i = FRAMES_PER_BLOCK; i--;)
		frame_put_locked(&vm->nested, (uint32_t)(b.v >> BLOCK_SHIFT), i);
	spin_unlock(&vm->nested.lock);
	return true;
}

hpa_t gmem_frame_take(struct vm *vm, uint32_t gfn)
{
	hpa_t f;

	do {
		spin_lock(&vm->nested.lock);
		f = frame_take_locked(&vm->nested, gfn);
		spin_unlock(&vm->nested.lock);
	} while (!f.v && broken_block_add(vm));
	return f;
}

void gmem_frame_drop(struct vm *vm, hpa_t f)
{
	struct block *b = block_of(f);
	uint32_t index = (uint32_t)(f.v >> BLOCK_SHIFT);
	bool empty;

	ASSERT(gmem_frame_state(f)->state == FRAME_USED && !gmem_frame_state(f)->pins);
#ifdef CONFIG_DEBUG
	if (b->flags & BLOCK_STALE)
		panic("frame %#llx is freed while translations to it may be cached", (unsigned long long)f.v);
#endif
	spin_lock(&vm->nested.lock);
	frame_put_locked(&vm->nested, index, (uint32_t)(f.v >> PAGE_SHIFT) & (FRAMES_PER_BLOCK - 1));
	empty = free_of(b)->count == FRAMES_PER_BLOCK;
	if (empty)
		list_remove_locked(&vm->nested, index);
	spin_unlock(&vm->nested.lock);
	if (!empty)
		return;
	kpage_free(b->frames);
	b->frames = NULL;
	gmem_block_drop(vm, hpa(f.v & ~BLOCK_MASK));
}

unsigned gmem_frames_used(hpa_t b) { return FRAMES_PER_BLOCK - free_of(block_of(b))->count; }

int gmem_block_break_state(struct vm *vm, hpa_t at, gpa_t base)
{
	struct frames *state = kpage_alloc(MT_FRAMES);
	struct block *b = block_of(at);

	(void)vm;
	if (!state)
		return -ENOMEM;
	for (unsigned i = 0; i < FRAMES_PER_BLOCK; i++)
		state->f[i] = (struct frame){ .use = (uint32_t)(base.v >> PAGE_SHIFT) + i, .state = FRAME_USED };
	b->gpa = 0; /* none free */
	__atomic_store_n(&b->frames, state, __ATOMIC_RELEASE);
	return 0;
}

void gmem_block_join_state(struct vm *vm, hpa_t at, gpa_t base)
{
	struct block *b = block_of(at);
	struct frames *state = b->frames;

	(void)vm;
	b->gpa = base.v;
	__atomic_store_n(&b->frames, NULL, __ATOMIC_RELEASE);
	kpage_free(state);
}
