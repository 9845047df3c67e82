/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ring 3's frames: 4 KiB each, counted, so that processes can share one until somebody writes.
 *
 * They come from blocks of OWNER_USER, each broken into frames with state, and before those from scrap: the usable rests of blocks
 * that the firmware or the image cuts, which cannot be given to anybody as a block. A block with a free frame stands on one list,
 * scrap first. A block whose frames are all free again goes back, but for one that is kept against seesawing (uframe_drain).
 *
 * A frame's count changes under uframe_lock (RANK_HEAP); the lock is never held while a block is taken, given or zeroed.
 */
#include "mem/mem_priv.h"

/* In block.gpa of a block with frame state: how many are free, and the first of them + 1. */
struct free_frames { uint32_t count, first; };
_Static_assert(sizeof(struct free_frames) == sizeof(uint64_t), "kept in block.gpa");

static struct {
	struct spinlock lock;
	uint32_t head;     /* blocks with a free frame, index + 1 */
	uint32_t idle;     /* one block of which nothing is used, on the list too; index + 1 */
	uint64_t used, free, scrap;
} uframes = { .lock = SPINLOCK_INIT("uframe", RANK_HEAP) };

static struct free_frames *block_free_frames(struct block *b) { return (struct free_frames *)&b->gpa; }
static struct frame *frame_of(hpa_t f) { return &block_of(f)->frames->f[f.v >> PAGE_SHIFT & (FRAMES_PER_BLOCK - 1)]; }
static hpa_t frame_hpa(uint32_t block, uint32_t i) { return hpa((uint64_t)block << BLOCK_SHIFT | (uint64_t)i << PAGE_SHIFT); }

/* ---- lock held ---- */

static void list_add_locked(uint32_t index)
{
	struct block *b = block_at(index);

	b->prev = 0;
	b->next = uframes.head;
	if (b->next)
		block_at(b->next - 1)->prev = index + 1;
	uframes.head = index + 1;
}
static void list_remove_locked(uint32_t index)
{
	struct block *b = block_at(index);

	if (b->next)
		block_at(b->next - 1)->prev = b->prev;
	if (b->prev)
		block_at(b->prev - 1)->next = b->next;
	else
		uframes.head = b->next;
	b->next = b->prev = 0;
}

static void frame_put_locked(uint32_t index, uint32_t i)
{
	struct block *b = block_at(index);
	struct free_frames *free = block_free_frames(b);

	b->frames->f[i] = (struct frame){ .use = free->first, .state = FRAME_FREE };
	free->first = i + 1;
	if (free->count++ == 0)
		list_add_locked(index);
	uframes.free++;
}

static hpa_t frame_take_locked(void)
{
	uint32_t index = uframes.head - 1;
	struct block *b;
	struct free_frames *free;
	uint32_t i;

	if (!uframes.head)
		return hpa(0);
	b = block_at(index);
	free = block_free_frames(b);
	i = free->first - 1;
	free->first = b->frames->f[i].use;
	if (--free->count == 0)
		list_remove_locked(index);
	if (uframes.idle == index + 1)
		uframes.idle = 0;
	b->frames->f[i] = (struct frame){ .use = 1, .state = FRAME_USED };
	uframes.free--;
	uframes.used++;
	return frame_hpa(index, i);
}

/* ---- blocks come and go ---- */

static bool block_add(void)
{
	struct frames *state = kpage_zalloc(MT_FRAMES);
	hpa_t h = state ? block_alloc(OWNER_USER, 0) : hpa(0);
	uint32_t index = (uint32_t)(h.v >> BLOCK_SHIFT);
	uint64_t f;

	if (!h.v) {
		kpage_free(state);
		return false;
	}
	f = spin_lock_irqsave(&uframes.lock);
	block_at(index)->frames = state;
	for (uint32_t i = FRAMES_PER_BLOCK; i--;)
		frame_put_locked(index, i);
	spin_unlock_irqrestore(&uframes.lock, f);
	return true;
}

static void block_remove(uint32_t index)
{
	struct block *b = block_at(index);
	hpa_t h = hpa((uint64_t)index << BLOCK_SHIFT);

	window_drop(h);
	kpage_free(b->frames);
	b->frames = NULL;
	block_free(h);
}

/* Keeps one idle block; whichever was idle before goes. Returns the block to remove, index + 1. */
static uint32_t block_idle_locked(uint32_t index)
{
	uint32_t before = uframes.idle;

	if (before) {
		list_remove_locked(before - 1);
		uframes.free -= FRAMES_PER_BLOCK;
	}
	uframes.idle = index + 1;
	return before;
}

/* ---- the public face ---- */

hpa_t uframe_alloc(bool zero)
{
	hpa_t h;
	uint64_t f;

	do {
		f = spin_lock_irqsave(&uframes.lock);
		h = frame_take_locked();
		spin_unlock_irqrestore(&uframes.lock, f);
	} while (!h.v && block_add());
	if (h.v && zero) {
		void *p = window_get(h);

		memset(p, 0, PAGE_SIZE);
		window_put(p);
	}
	return h;
}

void uframe_ref(hpa_t h)
{
	uint64_t f = spin_lock_irqsave(&uframes.lock);

	DEBUG_ASSERT(frame_of(h)->state == FRAME_USED);
	frame_of(h)->use++;
	spin_unlock_irqrestore(&uframes.lock, f);
}

unsigned uframe_refs(hpa_t h) { return READ_ONCE(frame_of(h)->use); }

void uframe_unref(hpa_t h)
{
	uint32_t index = (uint32_t)(h.v >> BLOCK_SHIFT), remove = 0;
	uint64_t f = spin_lock_irqsave(&uframes.lock);
	struct frame *frame = frame_of(h);

	ASSERT(frame->state == FRAME_USED && frame->use);
	if (--frame->use == 0) {
		uframes.used--;
		frame_put_locked(index, (uint32_t)(h.v >> PAGE_SHIFT) & (FRAMES_PER_BLOCK - 1));
		if (block_free_frames(block_at(index))->count == FRAMES_PER_BLOCK && block_at(index)->owner == OWNER_USER)
			remove = block_idle_locked(index);
	}
	spin_unlock_irqrestore(&uframes.lock, f);
	if (remove)
		block_remove(remove - 1);
}

void uframe_drain(void)
{
	uint64_t f = spin_lock_irqsave(&uframes.lock);
	uint32_t remove = uframes.idle;

	if (remove) {
		list_remove_locked(remove - 1);
		uframes.free -= FRAMES_PER_BLOCK;
		uframes.idle = 0;
	}
	spin_unlock_irqrestore(&uframes.lock, f);
	if (remove)
		block_remove(remove - 1);
}

void uframe_get_facts(struct uframe_facts *out)
{
	uint64_t f = spin_lock_irqsave(&uframes.lock);

	*out = (struct uframe_facts){ uframes.used, uframes.free, uframes.scrap };
	spin_unlock_irqrestore(&uframes.lock, f);
}

/* ---- scrap ---- */

static void scrap_add(uint32_t index)
{
	struct block *b = block_at(index);
	struct frames *state = NULL;

	for (uint32_t i = FRAMES_PER_BLOCK; i--;) {
		if (!layout_frame_usable(&boot_info, frame_hpa(index, i).v))
			continue;
		if (!state && !(state = kpage_zalloc(MT_FRAMES)))
			return;
		b->frames = state;
		frame_put_locked(index, i);
		uframes.scrap++;
	}
	if (state)
		b->flags |= BLOCK_SCRAP;
}

void uframe_init(void)
{
	for (uint64_t i = block_index_end(); i-- > 0;) {
		struct block *b = block_at(i);

		if (!b || (b->owner != OWNER_IMAGE && b->owner != OWNER_FIRMWARE))
			continue;
		if (layout_usable_in(&boot_info, i << BLOCK_SHIFT, BLOCK_SIZE)) {
			b->gpa = 0;
			scrap_add((uint32_t)i);
		}
	}
}
