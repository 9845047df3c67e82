/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel's heap: whole kernel blocks cut into 4 KiB pages; a page is free, part of a run, or holds small objects of one size.
 *
 * Every block begins with its own page descriptors (two pages), so that nothing outside says what a page is. Blocks stand in one
 * list by address and the lowest that fits serves, so that what is freed piles up at the end and whole blocks can be given back
 * (heap_trim). Pages of small objects carry, after the objects, one byte per object: the tag that pays for it, or TAG_FREE, which
 * also catches a second free. Debug builds put a canary behind every small object and fill freed memory.
 *
 * Lock: heap.lock (RANK_HEAP), interrupts off; never held while a block is taken or given back.
 */
#include "mem/mem_priv.h"

#define PAGES FRAMES_PER_BLOCK
#define HEADER_PAGES (PAGES * sizeof(struct page) / PAGE_SIZE)
#define TAG_FREE 0xff
#define POISON 0xd5
#define CANARY 0x6d6963612d686561ull
#ifdef CONFIG_DEBUG
#define CANARY_BYTES sizeof(uint64_t)
#else
#define CANARY_BYTES 0
#endif

enum page_kind { PAGE_HEADER, PAGE_FREE, PAGE_SMALL, PAGE_RUN, PAGE_TAIL };

/* Page numbers are physical ones (frame numbers), 0 = none. Entry 0 of a block describes the block itself. */
struct page {
	uint8_t kind;
	uint8_t class; /* small: index into sizes[] */
	uint8_t tag;   /* run: who pays */
	uint8_t spare;
	uint16_t used; /* small: objects in use; run: pages; header: pages in use */
	uint16_t free; /* small: first free object + 1; header: first free page */
	uint32_t next; /* small: next page of this class with room; free: next free page of the block; header: next block */
	uint32_t prev;
};
_Static_assert(sizeof(struct page) == 16, "two pages of descriptors a block");

/* Each fits a page several times with a byte of tag beside every object. */
static const uint16_t sizes[] = { 16, 32, 48, 64, 96, 128, 192, 256, 336, 448, 576, 800, 1008, 1344, 2032 };
#define CLASSES ARRAY_SIZE(sizes)
#define SMALL_MAX (2032 - CANARY_BYTES)

static struct {
	struct spinlock lock;
	uint32_t first_block;
	uint32_t room[CLASSES]; /* pages of small objects with room */
	uint64_t tag_bytes[MT_TAGS];
	uint64_t blocks, free_pages;
} heap = { .lock = SPINLOCK_INIT("heap", RANK_HEAP) };

const char *const mem_tag_name[MT_TAGS] = {
	[MT_CORE] = "core", [MT_PAGETABLES] = "page tables", [MT_STACKS] = "stacks", [MT_SCHED] = "sched", [MT_ASPACE] = "aspace",
	[MT_PROC] = "proc", [MT_FS] = "fs", [MT_TTY] = "tty", [MT_DRIVER] = "drivers", [MT_HV] = "hv", [MT_HVDEV] = "hv devices",
	[MT_STATE] = "saved state", [MT_FRAMES] = "frame state", [MT_TEST] = "test", [MT_BLOCKTAB] = "block table",
};

static struct page *page_at(uint32_t pfn)
{
	struct page *header = direct_ptr(hpa((uint64_t)pfn / PAGES * PAGES << PAGE_SHIFT));

	return &header[pfn % PAGES];
}
static struct page *block_header(uint32_t pfn) { return page_at(pfn / PAGES * PAGES); }
static void *page_ptr(uint32_t pfn) { return direct_ptr(hpa((uint64_t)pfn << PAGE_SHIFT)); }
static unsigned class_objects(unsigned c) { return (unsigned)(PAGE_SIZE / (sizes[c] + 1u)); }
static uint8_t *object_tags(uint32_t pfn, unsigned c) { return (uint8_t *)page_ptr(pfn) + PAGE_SIZE - class_objects(c); }

/* ---- free pages of a block; lock held ---- */

static void free_link(uint32_t pfn)
{
	struct page *h = block_header(pfn), *p = page_at(pfn);

	*p = (struct page){ .kind = PAGE_FREE, .next = h->free };
	if (h->free)
		h[h->free].prev = pfn % PAGES;
	h->free = pfn % PAGES;
	h->used--;
	heap.free_pages++;
}

static void free_unlink(uint32_t pfn)
{
	struct page *h = block_header(pfn), *p = page_at(pfn);

	if (p->prev)
		h[p->prev].next = p->next;
	else
		h->free = (uint16_t)p->next;
	if (p->next)
		h[p->next].prev = p->prev;
	p->next = p->prev = 0;
	h->used++;
	heap.free_pages--;
}

static unsigned run_find(const struct page *h, unsigned n)
{
	unsigned length = 0;

	for (unsigned i = HEADER_PAGES; i < PAGES; i++) {
		length = h[i].kind == PAGE_FREE ? length + 1 : 0;
		if (length == n)
			return i + 1 - n;
	}
	return 0;
}

static uint32_t pages_take_locked(unsigned n)
{
	for (uint32_t b = heap.first_block; b; b = page_at(b)->next) {
		struct page *h = page_at(b);
		unsigned first;

		if (PAGES - (unsigned)h->used < n)
			continue;
		first = n == 1 ? h->free : run_find(h, n);
		if (!first)
			continue;
		for (unsigned i = 0; i < n; i++) {
			free_unlink(b + first + i);
			h[first + i].kind = PAGE_TAIL;
		}
		return b + first;
	}
	return 0;
}

static void block_link_locked(uint32_t pfn)
{
	uint32_t prev = 0, next = heap.first_block;

	for (; next && next < pfn; next = page_at(next)->next)
		prev = next;
	page_at(pfn)->next = next;
	page_at(pfn)->prev = prev;
	if (next)
		page_at(next)->prev = pfn;
	if (prev)
		page_at(prev)->next = pfn;
	else
		heap.first_block = pfn;
	heap.blocks++;
}

static void block_unlink_locked(uint32_t pfn)
{
	struct page *h = page_at(pfn);

	if (h->next)
		page_at(h->next)->prev = h->prev;
	if (h->prev)
		page_at(h->prev)->next = h->next;
	else
		heap.first_block = h->next;
	heap.blocks--;
	heap.free_pages -= PAGES - HEADER_PAGES;
}

void heap_add_block(hpa_t b)
{
	uint32_t pfn = (uint32_t)(b.v >> PAGE_SHIFT);
	struct page *h = page_at(pfn);
	uint64_t f = spin_lock_irqsave(&heap.lock);

	memset(h, 0, PAGES * sizeof(*h));
	h->used = PAGES;
	for (unsigned i = PAGES; i-- > HEADER_PAGES;)
		free_link(pfn + i);
	block_link_locked(pfn);
	spin_unlock_irqrestore(&heap.lock, f);
}

static bool heap_grow(void)
{
	hpa_t b = block_alloc(OWNER_KERNEL, 0);

	if (!b.v)
		return false;
	heap_add_block(b);
	return true;
}

void heap_trim(void)
{
	for (;;) {
		uint64_t f = spin_lock_irqsave(&heap.lock);
		uint32_t b = heap.first_block;

		while (b && page_at(b)->used != HEADER_PAGES)
			b = page_at(b)->next;
		if (b)
			block_unlink_locked(b);
		spin_unlock_irqrestore(&heap.lock, f);
		if (!b)
			return;
		block_free(hpa((uint64_t)b << PAGE_SHIFT));
	}
}

/* ---- small objects; lock held ---- */

static void room_link(uint32_t pfn)
{
	struct page *p = page_at(pfn);

	p->prev = 0;
	p->next = heap.room[p->class];
	if (p->next)
		page_at(p->next)->prev = pfn;
	heap.room[p->class] = pfn;
}
static void room_unlink(uint32_t pfn)
{
	struct page *p = page_at(pfn);

	if (p->next)
		page_at(p->next)->prev = p->prev;
	if (p->prev)
		page_at(p->prev)->next = p->next;
	else
		heap.room[p->class] = p->next;
	p->next = p->prev = 0;
}

static uint32_t small_page_locked(unsigned class)
{
	uint32_t pfn = pages_take_locked(1);
	struct page *p;

	if (!pfn)
		return 0;
	p = page_at(pfn);
	*p = (struct page){ .kind = PAGE_SMALL, .class = (uint8_t)class, .free = 1 };
	memset(object_tags(pfn, class), TAG_FREE, class_objects(class));
	for (unsigned i = 0; i < class_objects(class); i++) {
		uint16_t *link = (uint16_t *)((uint8_t *)page_ptr(pfn) + (size_t)i * sizes[class]);

		*link = i + 1 < class_objects(class) ? (uint16_t)(i + 2) : 0;
	}
	room_link(pfn);
	return pfn;
}

static void *small_take_locked(unsigned class, enum mem_tag tag)
{
	uint32_t pfn = heap.room[class] ? heap.room[class] : small_page_locked(class);
	struct page *p;
	unsigned i;
	uint8_t *object;

	if (!pfn)
		return NULL;
	p = page_at(pfn);
	i = p->free - 1u;
	object = (uint8_t *)page_ptr(pfn) + (size_t)i * sizes[class];
	p->free = *(uint16_t *)object;
	p->used++;
	if (!p->free)
		room_unlink(pfn);
	object_tags(pfn, class)[i] = (uint8_t)tag;
	heap.tag_bytes[tag] += sizes[class];
	return object;
}

static uint64_t *canary_of(uint8_t *object, unsigned class) { return (uint64_t *)(object + sizes[class] - sizeof(uint64_t)); }

static void small_give_locked(uint8_t *object, uint32_t pfn)
{
	struct page *p = page_at(pfn);
	unsigned class = p->class, offset = (uintptr_t)object & PAGE_MASK, i = offset / sizes[class];
	uint8_t *tag = &object_tags(pfn, class)[i];

	if (offset % sizes[class] || i >= class_objects(class) || *tag == TAG_FREE)
		panic("heap: %p freed twice, or never given", (void *)object);
	if (CANARY_BYTES != 0 && *canary_of(object, class) != CANARY)
		panic("heap: write past the end of %p (%s)", (void *)object, mem_tag_name[*tag]);
	heap.tag_bytes[*tag] -= sizes[class];
	*tag = TAG_FREE;
	if (CANARY_BYTES)
		memset(object, POISON, sizes[class]);
	*(uint16_t *)object = p->free;
	if (!p->free)
		room_link(pfn);
	p->free = (uint16_t)(i + 1);
	if (--p->used == 0) {
		room_unlink(pfn);
		free_link(pfn);
	}
}

static void run_give_locked(void *start, uint32_t pfn)
{
	struct page *p = page_at(pfn);
	unsigned n = p->used;

	if ((uintptr_t)start & PAGE_MASK)
		panic("heap: %p freed, which is inside a run", start);
	heap.tag_bytes[p->tag] -= n * PAGE_SIZE;
	if (CANARY_BYTES)
		memset(start, POISON, n * PAGE_SIZE);
	while (n--)
		free_link(pfn + n);
}

static void *run_take_locked(unsigned n, enum mem_tag tag)
{
	uint32_t pfn = pages_take_locked(n);

	if (!pfn)
		return NULL;
	*page_at(pfn) = (struct page){ .kind = PAGE_RUN, .tag = (uint8_t)tag, .used = (uint16_t)n };
	heap.tag_bytes[tag] += n * PAGE_SIZE;
	return page_ptr(pfn);
}

/* ---- the public face ---- */

static int size_class(size_t size)
{
	for (unsigned c = 0; c < CLASSES; c++)
		if (size <= sizes[c])
			return (int)c;
	return -1;
}

static void *take(size_t size, int class, enum mem_tag tag)
{
	uint64_t f = spin_lock_irqsave(&heap.lock);
	void *p = class >= 0 ? small_take_locked((unsigned)class, tag) : run_take_locked((unsigned)((size + PAGE_MASK) >> PAGE_SHIFT), tag);

	spin_unlock_irqrestore(&heap.lock, f);
	if (p && class >= 0 && CANARY_BYTES != 0)
		*canary_of(p, (unsigned)class) = CANARY;
	return p;
}

void *kmalloc(size_t size, enum mem_tag tag)
{
	int class = size <= SMALL_MAX ? size_class(size + CANARY_BYTES) : -1;
	void *p;

	if (size > (PAGES - HEADER_PAGES) * PAGE_SIZE)
		return NULL;
	while (!(p = take(size, class, tag)))
		if (!heap_grow())
			return NULL;
	return p;
}
void *kzalloc(size_t size, enum mem_tag tag)
{
	void *p = kmalloc(size, tag);

	return p ? memset(p, 0, size) : NULL;
}

void kfree(void *object)
{
	uint32_t pfn;
	uint64_t f;

	if (!object)
		return;
	pfn = (uint32_t)(direct_hpa(object).v >> PAGE_SHIFT);
	f = spin_lock_irqsave(&heap.lock);
	if (page_at(pfn)->kind == PAGE_SMALL)
		small_give_locked(object, pfn);
	else if (page_at(pfn)->kind == PAGE_RUN)
		run_give_locked(object, pfn);
	else
		panic("heap: %p freed twice, or never given", object);
	spin_unlock_irqrestore(&heap.lock, f);
}

void *kpage_alloc(enum mem_tag tag) { return kmalloc(PAGE_SIZE, tag); }
void *kpage_zalloc(enum mem_tag tag) { return kzalloc(PAGE_SIZE, tag); }
void kpage_free(void *page) { kfree(page); }
uint64_t mem_tag_bytes(enum mem_tag tag) { return READ_ONCE(heap.tag_bytes[tag]); }

void heap_get_facts(struct heap_facts *out)
{
	uint64_t f = spin_lock_irqsave(&heap.lock);

	*out = (struct heap_facts){ .blocks = heap.blocks, .free_pages = heap.free_pages };
	for (unsigned t = 0; t < MT_TAGS; t++)
		out->used_bytes += heap.tag_bytes[t];
	spin_unlock_irqrestore(&heap.lock, f);
}
