/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ring 3's address spaces: mappings (vma.c), and pages that appear when they are touched.
 *
 * All mappings are private but for kernel pages shown to ring 3 (a vCPU's run page). A page of the table is present or was never
 * touched; nothing is taken away behind a process's back. A private page whose frame others share is never writable: the write
 * faults, and copies or, when the others have gone, just becomes writable. So "copy on write" needs no mark of its own.
 *
 * A frame is given back only after every CPU that has this root loaded has flushed it (flush(); arch says which those are).
 *
 * Lock: as->lock, a mutex, since reading a file's page sleeps; that read itself happens without it, and `changes` says whether
 * the world stayed as it was. Below it: the heap's, frames' and blocks' spinlocks.
 */
#include "mem/mem_priv.h"
#include "sched/sched.h"

#define MAP_LOW 0x10000ull
#define MAP_HIGH (USER_TOP - GIB(1))      /* below the stack that exec places */
#define RESIDENT_MAX (MIB(256) >> PAGE_SHIFT)
#define BATCH 64

#define FAULT_WRITE BIT(1)
#define FAULT_EXEC BIT(4)

struct aspace {
	struct mutex lock;
	uint32_t refs;              /* atomic */
	uint64_t root;              /* I */
	struct vma_table vmas;
	uint64_t changes;           /* raised with every change of vmas */
	uint64_t brk_base, brk;
	uint64_t resident;          /* pages */
};

uint64_t aspace_root(const struct aspace *as) { return as->root; }
uint64_t aspace_bytes(const struct aspace *as) { return READ_ONCE(as->resident) << PAGE_SHIFT; }

static unsigned page_flags(const struct vma *v, bool writable)
{
	return (v->prot ? MAP_USER : 0u) | (writable && (v->prot & PROT_WRITE) ? MAP_WRITE : 0u) | (v->prot & PROT_EXEC ? MAP_EXEC : 0u);
}

/* ---- TLBs ---- */

static void flush_here(void *root)
{
	if (this_cpu(arch_loaded_root) == (uintptr_t)root)
		arch_root_load((uintptr_t)root);
}

static uint64_t cpus_with(uint64_t root)
{
	uint64_t mask = 0;

	__atomic_thread_fence(__ATOMIC_SEQ_CST); /* the entries changed before we look who has loaded them */
	for (unsigned c = 0; c < cpu_count; c++)
		if (READ_ONCE(per_cpu(arch_loaded_root, c)) == root)
			mask |= BIT(c);
	return mask;
}
static void flush(struct aspace *as)
{
	uint64_t mask = cpus_with(as->root);

	if (mask)
		smp_call(mask, flush_here, (void *)(uintptr_t)as->root);
}

/* ---- pages; lock held ---- */

/* Takes away the pages of [start, end). Shared kernel pages are only unmapped. */
static void pages_drop(struct aspace *as, uint64_t start, uint64_t end)
{
	hpa_t gone[BATCH];
	unsigned n;

	do {
		n = 0;
		while (n < BATCH && (start = arch_next_mapped(as->root, start, end)) < end) {
			const struct vma *v = vma_find(&as->vmas, start);
			struct arch_pte_view old;

			if (arch_unmap(as->root, start, &old) && v && v->kind != VMA_SHARED) {
				gone[n++] = old.frame;
				as->resident--;
			}
			start += PAGE_SIZE;
		}
		flush(as);
		for (unsigned i = 0; i < n; i++)
			uframe_unref(gone[i]);
	} while (start < end);
}

static void pages_reprotect(struct aspace *as, const struct vma *v)
{
	bool shared = v->kind == VMA_SHARED;

	/* Private pages lose the right to write whatever is asked for: the next write asks whether the frame is shared. */
	for (uint64_t at = v->start; (at = arch_next_mapped(as->root, at, v->end)) < v->end; at += PAGE_SIZE)
		arch_pte_set_flags(as->root, at, page_flags(v, shared));
}

static void frame_copy(hpa_t to, hpa_t from)
{
	void *d = window_get(to);
	void *s = window_get(from);

	memcpy(d, s, PAGE_SIZE);
	window_put(s);
	window_put(d);
}

static int page_install(struct aspace *as, const struct vma *v, uint64_t addr, hpa_t frame)
{
	int r = mem_map(as->root, addr, frame, page_flags(v, true));

	if (!r)
		as->resident++;
	return r;
}

/* A write to a present page that was not writable. */
static int page_unshare(struct aspace *as, const struct vma *v, uint64_t addr, hpa_t frame)
{
	hpa_t copy;

	if (v->kind == VMA_SHARED || uframe_refs(frame) == 1) {
		arch_pte_set_flags(as->root, addr, page_flags(v, true));
		arch_flush_page(addr); /* others find out by a fault of their own */
		return 0;
	}
	copy = uframe_alloc(false);
	if (!copy.v)
		return -ENOMEM;
	frame_copy(copy, frame);
	arch_unmap(as->root, addr, NULL);
	flush(as);
	as->resident--;
	if (page_install(as, v, addr, copy) < 0) {
		uframe_unref(copy);
		uframe_unref(frame);
		return -ENOMEM;
	}
	uframe_unref(frame);
	return 0;
}

/* ---- faults ---- */

static bool fault_allowed(const struct vma *v, uint64_t error)
{
	unsigned need = error & FAULT_WRITE ? PROT_WRITE : error & FAULT_EXEC ? PROT_EXEC : PROT_READ;

	/* x86 cannot refuse reads of what may be written or executed. */
	return v && (v->prot & need || (need == PROT_READ && v->prot));
}

/* Content of one page of a file mapping, read without the lock: the copy v keeps its object by a reference of its own. */
static int file_page_read(const struct vma *v, uint64_t addr, hpa_t frame)
{
	uint64_t at = addr - v->start;
	size_t n = at < v->file_bytes ? MIN(v->file_bytes - at, PAGE_SIZE) : 0;
	void *page = kpage_zalloc(MT_ASPACE), *w;
	int r = page ? 0 : -ENOMEM;

	if (page && n)
		r = v->src->read(v->object, v->offset + at, page, n);
	if (r >= 0) {
		w = window_get(frame);
		memcpy(w, page, PAGE_SIZE);
		window_put(w);
		r = 0;
	}
	kpage_free(page);
	return r < 0 ? (r == -ENOMEM ? r : -EFAULT) : 0;
}

/* Reads with the lock dropped. 0: frame filled and nothing changed meanwhile; -EAGAIN: look again. */
static int file_page_fill(struct aspace *as, const struct vma *in, uint64_t addr, hpa_t frame)
{
	struct vma v = *in;
	uint64_t before = as->changes;
	int r;

	if (v.src->ref)
		v.src->ref(v.object);
	mutex_unlock(&as->lock);
	r = file_page_read(&v, addr, frame);
	if (v.src->unref)
		v.src->unref(v.object);
	mutex_lock(&as->lock);
	return r ? r : as->changes == before ? 0 : -EAGAIN;
}

static int page_first_touch(struct aspace *as, const struct vma *v, uint64_t addr)
{
	struct arch_pte_view pte;
	hpa_t frame;
	int r = 0;

	if (as->resident >= RESIDENT_MAX)
		return -ENOMEM;
	frame = uframe_alloc(v->kind == VMA_ANON);
	if (!frame.v)
		return -ENOMEM;
	if (v->kind == VMA_FILE) {
		r = file_page_fill(as, v, addr, frame);
		if (!r && arch_pte_get(as->root, addr, &pte))
			r = -EAGAIN; /* another thread was quicker */
		if (!r)
			v = vma_find(&as->vmas, addr);
	}
	if (!r)
		r = page_install(as, v, addr, frame);
	if (r)
		uframe_unref(frame);
	return r;
}

static int fault_locked(struct aspace *as, uint64_t addr, uint64_t error)
{
	struct arch_pte_view pte;
	const struct vma *v;
	int r;

	do {
		v = vma_find(&as->vmas, addr);
		if (!fault_allowed(v, error))
			return -EFAULT;
		if (!arch_pte_get(as->root, addr, &pte))
			r = v->kind == VMA_SHARED ? -EFAULT : page_first_touch(as, v, addr);
		else if ((error & FAULT_WRITE) && !(pte.flags & MAP_WRITE))
			r = page_unshare(as, v, addr, pte.frame);
		else
			r = 0; /* another thread was quicker; the stale translation went with the fault */
	} while (r == -EAGAIN);
	return r;
}

int aspace_fault(struct aspace *as, uint64_t addr, uint64_t error)
{
	int r;

	if (addr >= USER_TOP)
		return -EFAULT;
	mutex_lock(&as->lock);
	r = fault_locked(as, ALIGN_DOWN(addr, PAGE_SIZE), error);
	mutex_unlock(&as->lock);
	return r;
}

/* ---- changes of the table ---- */

static bool range_valid(uint64_t addr, uint64_t len)
{
	return !(addr & PAGE_MASK) && len && len <= USER_TOP && addr >= MAP_LOW && addr <= USER_TOP - len;
}

/* Room for the two splits and one more is reserved by the caller. */
static void unmap_locked(struct aspace *as, uint64_t start, uint64_t end)
{
	unsigned i;

	as->changes++;
	vma_split_at(&as->vmas, start);
	vma_split_at(&as->vmas, end);
	i = vma_after(&as->vmas, start);
	if (i < as->vmas.n && as->vmas.v[i].start < end)
		pages_drop(as, start, end);
	while (i < as->vmas.n && as->vmas.v[i].start < end)
		vma_remove(&as->vmas, i);
}

int aspace_unmap(struct aspace *as, uint64_t addr, uint64_t len)
{
	int r;

	len = len > USER_TOP ? len : ALIGN_UP(len, PAGE_SIZE);
	if (!range_valid(addr, len))
		return -EINVAL;
	mutex_lock(&as->lock);
	r = vma_reserve(&as->vmas, 2);
	if (!r)
		unmap_locked(as, addr, addr + len);
	mutex_unlock(&as->lock);
	return r;
}

/* Where a mapping of len goes; 0: nowhere. */
static uint64_t place_locked(struct aspace *as, uint64_t addr, uint64_t len, bool fixed)
{
	if (fixed || (addr && range_valid(addr, len) && !vma_overlaps(&as->vmas, addr, addr + len)))
		return addr;
	return vma_gap(&as->vmas, len, MAP_LOW, MAP_HIGH);
}

int64_t aspace_map(struct aspace *as, uint64_t addr, uint64_t len, int prot, bool fixed,
		   const struct aspace_source *src, void *object, uint64_t offset, uint64_t file_bytes)
{
	struct vma v = { .kind = src ? VMA_FILE : VMA_ANON, .prot = (uint8_t)(prot & (PROT_READ | PROT_WRITE | PROT_EXEC)),
			 .src = src, .object = object, .offset = offset, .file_bytes = src ? file_bytes : 0 };
	int64_t r;

	len = len > USER_TOP ? len : ALIGN_UP(len, PAGE_SIZE);
	if (!len || len > USER_TOP || (offset & PAGE_MASK) || (fixed && !range_valid(addr, len)))
		return -EINVAL;
	mutex_lock(&as->lock);
	r = vma_reserve(&as->vmas, 3);
	v.start = r ? 0 : place_locked(as, addr, len, fixed);
	if (!r && !v.start)
		r = -ENOMEM;
	if (!r) {
		v.end = v.start + len;
		unmap_locked(as, v.start, v.end);
		if (src && src->ref)
			src->ref(object);
		vma_insert(&as->vmas, &v);
		r = (int64_t)v.start;
	}
	mutex_unlock(&as->lock);
	return r;
}

int64_t aspace_map_shared(struct aspace *as, void *kpage, int prot, void (*unref)(void *object), void *object)
{
	struct vma v = { .kind = VMA_SHARED, .prot = (uint8_t)(prot & (PROT_READ | PROT_WRITE)),
			 .unref = unref, .object = object, .kpage = kpage };
	int64_t r;

	mutex_lock(&as->lock);
	r = vma_reserve(&as->vmas, 1);
	v.start = r ? 0 : vma_gap(&as->vmas, PAGE_SIZE, MAP_LOW, MAP_HIGH);
	if (!r && !v.start)
		r = -ENOMEM;
	if (!r)
		r = mem_map(as->root, v.start, direct_hpa(kpage), page_flags(&v, true));
	if (!r) {
		v.end = v.start + PAGE_SIZE;
		as->changes++;
		vma_insert(&as->vmas, &v);
		r = (int64_t)v.start;
	}
	mutex_unlock(&as->lock);
	return r;
}

static int protect_locked(struct aspace *as, uint64_t start, uint64_t end, int prot)
{
	uint64_t at = start;

	/* All of it must be mapped before anything changes. */
	for (unsigned i = vma_after(&as->vmas, start); at < end; i++) {
		if (i == as->vmas.n || as->vmas.v[i].start > at)
			return -ENOMEM;
		at = as->vmas.v[i].end;
	}
	as->changes++;
	vma_split_at(&as->vmas, start);
	vma_split_at(&as->vmas, end);
	for (unsigned i = vma_after(&as->vmas, start); i < as->vmas.n && as->vmas.v[i].start < end; i++) {
		as->vmas.v[i].prot = (uint8_t)(prot & (PROT_READ | PROT_WRITE | PROT_EXEC));
		pages_reprotect(as, &as->vmas.v[i]);
	}
	flush(as);
	return 0;
}

int aspace_protect(struct aspace *as, uint64_t addr, uint64_t len, int prot)
{
	int r;

	len = len > USER_TOP ? len : ALIGN_UP(len, PAGE_SIZE);
	if (!len)
		return 0;
	if (!range_valid(addr, len))
		return -EINVAL;
	mutex_lock(&as->lock);
	r = vma_reserve(&as->vmas, 2);
	if (!r)
		r = protect_locked(as, addr, addr + len, prot);
	mutex_unlock(&as->lock);
	return r;
}

/* ---- the heap of a C library ---- */

void aspace_set_brk_base(struct aspace *as, uint64_t base)
{
	mutex_lock(&as->lock);
	as->brk_base = as->brk = base < MAP_HIGH ? ALIGN_UP(base, PAGE_SIZE) : MAP_HIGH;
	mutex_unlock(&as->lock);
}

static void brk_locked(struct aspace *as, uint64_t brk)
{
	uint64_t old_end = ALIGN_UP(as->brk, PAGE_SIZE), end = ALIGN_UP(brk, PAGE_SIZE);
	struct vma v = { .kind = VMA_ANON, .prot = PROT_READ | PROT_WRITE, .start = old_end, .end = end };

	if (vma_reserve(&as->vmas, 2) || (end > old_end && vma_overlaps(&as->vmas, old_end, end)))
		return;
	as->changes++;
	if (end > old_end)
		vma_insert(&as->vmas, &v);
	else if (end < old_end)
		unmap_locked(as, end, old_end);
	as->brk = brk;
}

uint64_t aspace_brk(struct aspace *as, uint64_t brk)
{
	uint64_t now;

	mutex_lock(&as->lock);
	if (as->brk_base && brk >= as->brk_base && brk <= MAP_HIGH)
		brk_locked(as, brk);
	now = as->brk;
	mutex_unlock(&as->lock);
	return now;
}

/* ---- life ---- */

struct aspace *aspace_create(void)
{
	struct aspace *as = kzalloc(sizeof(*as), MT_ASPACE);

	if (!as)
		return NULL;
	tables_balance();
	as->root = arch_root_create();
	if (!as->root) {
		kfree(as);
		return NULL;
	}
	mutex_init(&as->lock, "aspace");
	as->refs = 1;
	return as;
}

struct aspace *aspace_ref(struct aspace *as)
{
	__atomic_add_fetch(&as->refs, 1, __ATOMIC_RELAXED);
	return as;
}

static void leave_root(void *root)
{
	if (this_cpu(arch_loaded_root) == (uintptr_t)root)
		arch_root_load(arch_kernel_root);
}

void aspace_unref(struct aspace *as)
{
	uint64_t mask;

	if (!as || __atomic_sub_fetch(&as->refs, 1, __ATOMIC_ACQ_REL))
		return;
	mask = cpus_with(as->root);
	if (mask)
		smp_call(mask, leave_root, (void *)(uintptr_t)as->root);
	pages_drop(as, 0, USER_TOP);
	vma_free_all(&as->vmas);
	arch_root_destroy(as->root);
	tables_balance();
	kfree(as);
}

/* The pages of one private mapping, now shared: neither side may write before it has asked. */
static int fork_pages(struct aspace *from, struct aspace *to, const struct vma *v)
{
	struct arch_pte_view pte;

	for (uint64_t at = v->start; (at = arch_next_mapped(from->root, at, v->end)) < v->end; at += PAGE_SIZE) {
		int r;

		arch_pte_get(from->root, at, &pte);
		r = mem_map(to->root, at, pte.frame, page_flags(v, false));
		if (r)
			return r;
		uframe_ref(pte.frame);
		to->resident++;
		if (pte.flags & MAP_WRITE)
			arch_pte_set_flags(from->root, at, page_flags(v, false));
	}
	return 0;
}

static int fork_locked(struct aspace *from, struct aspace *to)
{
	int r = vma_reserve(&to->vmas, from->vmas.n);

	to->brk_base = from->brk_base;
	to->brk = from->brk;
	for (unsigned i = 0; i < from->vmas.n && !r; i++) {
		const struct vma *v = &from->vmas.v[i];

		if (v->kind == VMA_SHARED)
			continue;
		if (v->kind == VMA_FILE && v->src->ref)
			v->src->ref(v->object);
		vma_insert(&to->vmas, v);
		r = fork_pages(from, to, v);
	}
	flush(from);
	return r;
}

struct aspace *aspace_fork(struct aspace *from)
{
	struct aspace *to = aspace_create();
	int r;

	if (!to)
		return NULL;
	mutex_lock(&from->lock);
	r = fork_locked(from, to);
	mutex_unlock(&from->lock);
	if (r) {
		aspace_unref(to);
		return NULL;
	}
	return to;
}
