/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The mappings of an address space: one array sorted by address, without overlaps. A process has a few dozen; VMA_MAX bounds what
 * a hostile one can make the kernel hold and search.
 *
 * Whoever changes the table reserves room first (vma_reserve), so that no change fails half-way.
 */
#include "mem/mem_priv.h"

unsigned vma_after(const struct vma_table *t, uint64_t addr)
{
	unsigned low = 0, high = t->n;

	while (low < high) {
		unsigned mid = (low + high) / 2;

		if (t->v[mid].end <= addr)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

struct vma *vma_find(const struct vma_table *t, uint64_t addr)
{
	unsigned i = vma_after(t, addr);

	return i < t->n && t->v[i].start <= addr ? &t->v[i] : NULL;
}

bool vma_overlaps(const struct vma_table *t, uint64_t start, uint64_t end)
{
	unsigned i = vma_after(t, start);

	return i < t->n && t->v[i].start < end;
}

int vma_reserve(struct vma_table *t, unsigned more)
{
	unsigned capacity = MAX(t->capacity, 16u);
	struct vma *v;

	if (t->n + more <= t->capacity)
		return 0;
	while (capacity < t->n + more)
		capacity *= 2;
	if (capacity > VMA_MAX || !(v = kmalloc(capacity * sizeof(*v), MT_ASPACE)))
		return -ENOMEM;
	if (t->n)
		memcpy(v, t->v, t->n * sizeof(*v));
	kfree(t->v);
	t->v = v;
	t->capacity = capacity;
	return 0;
}

static void slot_open(struct vma_table *t, unsigned i)
{
	ASSERT(t->n < t->capacity);
	memmove(&t->v[i + 1], &t->v[i], (t->n - i) * sizeof(*t->v));
	t->n++;
}
static void slot_close(struct vma_table *t, unsigned i)
{
	t->n--;
	memmove(&t->v[i], &t->v[i + 1], (t->n - i) * sizeof(*t->v));
}

static bool joins(const struct vma *a, const struct vma *b)
{
	return a->kind == VMA_ANON && b->kind == VMA_ANON && a->prot == b->prot && a->end == b->start;
}

void vma_insert(struct vma_table *t, const struct vma *v)
{
	unsigned i = vma_after(t, v->start);

	slot_open(t, i);
	t->v[i] = *v;
	if (i + 1 < t->n && joins(&t->v[i], &t->v[i + 1])) {
		t->v[i].end = t->v[i + 1].end;
		slot_close(t, i + 1);
	}
	if (i && joins(&t->v[i - 1], &t->v[i])) {
		t->v[i - 1].end = t->v[i].end;
		slot_close(t, i);
	}
}

void vma_split_at(struct vma_table *t, uint64_t addr)
{
	unsigned i = vma_after(t, addr);
	struct vma *low, *high;
	uint64_t below;

	if (i == t->n || t->v[i].start >= addr)
		return;
	slot_open(t, i);
	low = &t->v[i];
	high = &t->v[i + 1];
	*low = *high;
	below = addr - low->start;
	low->end = high->start = addr;
	if (low->kind == VMA_FILE) {
		high->offset += below;
		high->file_bytes -= MIN(high->file_bytes, below);
		low->file_bytes = MIN(low->file_bytes, below);
		if (high->src->ref)
			high->src->ref(high->object);
	}
}

void vma_remove(struct vma_table *t, unsigned i)
{
	struct vma v = t->v[i];

	slot_close(t, i);
	if (v.kind == VMA_FILE && v.src->unref)
		v.src->unref(v.object);
	if (v.kind == VMA_SHARED && v.unref)
		v.unref(v.object);
}

uint64_t vma_gap(const struct vma_table *t, uint64_t len, uint64_t low, uint64_t high)
{
	unsigned i = vma_after(t, high);
	uint64_t top = high;

	if (i < t->n)
		top = MIN(top, t->v[i].start);
	while (i && top > low) {
		const struct vma *below = &t->v[i - 1];

		if (top > below->end && top - below->end >= len)
			break;
		top = below->start;
		i--;
	}
	return top >= low && top - low >= len ? top - len : 0;
}

void vma_free_all(struct vma_table *t)
{
	while (t->n)
		vma_remove(t, t->n - 1);
	kfree(t->v);
	*t = (struct vma_table){ NULL, 0, 0 };
}
