/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one way to guest memory: copies, short-lived pointers, and pins for devices.
 *
 * Everything goes through the nested table: what a guest could not reach, nobody reaches on its behalf. ROM alone is different: vmx
 * writes it by gmem_write, the guest does not.
 *
 * Pins are counted where the memory is: in the block while it is whole, in the frame's state while it is broken. Nothing pinned is
 * broken, put together or moved (rule 3 in nested.c), so the entry names the same frame at unpin as at pin; it may be demoted,
 * promoted, protected and trapped meanwhile, which changes no frame. What a device wrote is marked dirty at unpin in whatever form
 * the entry has then.
 */
#include "hv/nested_priv.h"

enum access { ACCESS_READ, ACCESS_WRITE, ACCESS_WRITE_ROM };

/* The entry that has gpa's frame, whatever its form; `written`: marked so. Preemption off. The entry may turn from a leaf into a table
 * under us (demotion), which a lost swap or a second look shows. */
static uint64_t entry_seen(struct vm *vm, gpa_t at, bool written, bool *large)
{
	for (;;) {
		uint64_t *slot = nested_slot(vm, at, large);
		uint64_t e = entry_load(slot), want = e;

		if (*large && entry_is_table(e))
			continue;
		if (written)
			want |= entry_present(e) ? hv->nested->dirty | hv->nested->accessed : NP_DIRTY | NP_ACCESSED;
		if (e == want || entry_swap(slot, e, want))
			return e;
	}
}

/* Preemption off. */
static bool access_lookup(struct vm *vm, gpa_t at, enum access how, hpa_t *out)
{
	bool large;

	if (!nested_lookup(vm, at, how == ACCESS_WRITE, out))
		return false;
	if (how == ACCESS_WRITE_ROM)
		entry_seen(vm, at, true, &large);
	return true;
}

static void *access_get(struct vm *vm, gpa_t at, enum access how)
{
	hpa_t h;
	void *p = NULL;

	preempt_disable();
	if (likely(access_lookup(vm, at, how, &h)))
		p = window_get(h);
	preempt_enable(); /* the window keeps it off */
	return p;
}

void *gmem_get(struct vm *vm, gpa_t at, bool write) { return access_get(vm, at, write ? ACCESS_WRITE : ACCESS_READ); }
void gmem_put(const void *p) { window_put(p); }

/* Faults until the access goes through. */
static int access_wait(struct vm *vm, gpa_t at, enum access how, void **out)
{
	int r;

	while (!(*out = access_get(vm, at, how))) {
		r = nested_fault(vm, at, how == ACCESS_WRITE, false);
		if (r)
			return r;
	}
	return 0;
}

static int copy(struct vm *vm, gpa_t at, uint8_t *buf, uint64_t len, enum access how)
{
	while (len) {
		uint64_t n = MIN(len, PAGE_SIZE - (at.v & PAGE_MASK));
		void *p;
		int r = access_wait(vm, at, how, &p);

		if (r)
			return r;
		if (how == ACCESS_READ)
			memcpy(buf, p, n);
		else
			memcpy(p, buf, n);
		gmem_put(p);
		at = gpa_add(at, n);
		buf += n;
		len -= n;
	}
	return 0;
}

static bool is_rom(const struct vm *vm, gpa_t at)
{
	const struct vm_range *r = vm_range_find(vm, at);

	return r && r->kind == VMM_RANGE_ROM;
}

int gmem_read(struct vm *vm, gpa_t at, void *buf, uint64_t len)
{
	return at.v + len < at.v ? -EFAULT : copy(vm, at, buf, len, ACCESS_READ);
}

int gmem_write(struct vm *vm, gpa_t at, const void *buf, uint64_t len)
{
	const uint8_t *from = buf;

	if (at.v + len < at.v)
		return -EFAULT;
	while (len) {
		uint64_t n = MIN(len, PAGE_SIZE - (at.v & PAGE_MASK));
		int r = copy(vm, at, (uint8_t *)(uintptr_t)from, n, is_rom(vm, at) ? ACCESS_WRITE_ROM : ACCESS_WRITE);

		if (r)
			return r;
		at = gpa_add(at, n);
		from += n;
		len -= n;
	}
	return 0;
}

static bool cas_at(void *p, unsigned size, uint64_t old, uint64_t want)
{
	uint8_t b = (uint8_t)old;
	uint16_t w = (uint16_t)old;
	uint32_t d = (uint32_t)old;

	switch (size) {
	case 1: return __atomic_compare_exchange_n((uint8_t *)p, &b, (uint8_t)want, false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
	case 2: return __atomic_compare_exchange_n((uint16_t *)p, &w, (uint16_t)want, false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
	case 4: return __atomic_compare_exchange_n((uint32_t *)p, &d, (uint32_t)want, false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
	default: return __atomic_compare_exchange_n((uint64_t *)p, &old, want, false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
	}
}

int gmem_cas(struct vm *vm, gpa_t at, unsigned size, uint64_t old, uint64_t want)
{
	void *p;
	bool done;
	int r;

	if ((size != 1 && size != 2 && size != 4 && size != 8) || (at.v & PAGE_MASK) + size > PAGE_SIZE)
		return -EINVAL;
	r = access_wait(vm, at, ACCESS_WRITE, &p);
	if (r)
		return r;
	done = cas_at(p, size, old, want);
	gmem_put(p);
	return done ? 0 : -EAGAIN;
}

/* ---- pins ---- */

/* Preemption off, entry has a frame. False when the count is full. */
static bool pin_count(hpa_t f)
{
	struct frame *state = gmem_frame_state(f);

	if (!state) {
		__atomic_add_fetch(&block_of(f)->pins, 1, __ATOMIC_SEQ_CST);
		return true;
	}
	if (__atomic_add_fetch(&state->pins, 1, __ATOMIC_SEQ_CST))
		return true;
	__atomic_sub_fetch(&state->pins, 1, __ATOMIC_SEQ_CST);
	return false;
}

static void unpin_count(hpa_t f)
{
	struct frame *state = gmem_frame_state(f);

	if (state)
		__atomic_sub_fetch(&state->pins, 1, __ATOMIC_SEQ_CST);
	else
		__atomic_sub_fetch(&block_of(f)->pins, 1, __ATOMIC_SEQ_CST);
}

static int pin_page(struct vm *vm, gpa_t at, bool write, hpa_t *out)
{
	for (;;) {
		bool counted = false, found;
		int r;

		preempt_disable();
		found = nested_lookup(vm, at, write, out);
		if (found)
			counted = pin_count(hpa(out->v & ~PAGE_MASK));
		preempt_enable();
		if (counted) {
			__atomic_add_fetch(&vm->nested.pinned, 1, __ATOMIC_RELAXED);
			return 0;
		}
		if (found)
			return -EBUSY;
		r = nested_fault(vm, at, write, false);
		if (r)
			return r;
	}
}

int gmem_pin(struct vm *vm, gpa_t at, uint64_t len, unsigned access, struct gmem_seg *seg, unsigned max)
{
	bool write = access & (GMEM_WRITE_PART | GMEM_WRITE_ALL);
	uint64_t done = 0;
	unsigned n = 0;
	int r = at.v + len < at.v ? -EFAULT : 0;

	while (!r && done < len) {
		uint64_t part = MIN(len - done, PAGE_SIZE - ((at.v + done) & PAGE_MASK));
		hpa_t h;

		r = pin_page(vm, gpa_add(at, done), write, &h);
		if (r)
			break;
		done += part;
		if (n && seg[n - 1].addr.v + seg[n - 1].len == h.v && seg[n - 1].len + part <= UINT32_MAX)
			seg[n - 1].len += (uint32_t)part;
		else if (n < max)
			seg[n++] = (struct gmem_seg){ h, (uint32_t)part };
		else
			r = -E2BIG;
	}
	if (!r)
		return (int)n;
	gmem_unpin(vm, at, done, false);
	return r;
}

void gmem_unpin(struct vm *vm, gpa_t at, uint64_t len, bool written)
{
	for (uint64_t done = 0; done < len;) {
		gpa_t page = gpa_add(at, done);
		bool large;
		hpa_t f;

		preempt_disable();
		f = entry_frame(entry_seen(vm, page, written, &large));
		unpin_count(large ? hpa_add(f, page.v & BLOCK_MASK & ~PAGE_MASK) : f);
		preempt_enable();
		__atomic_sub_fetch(&vm->nested.pinned, 1, __ATOMIC_RELEASE);
		done += PAGE_SIZE - (page.v & PAGE_MASK);
	}
}

/* ---- what exists ---- */

/* Preemption off. True when the page at `at` has memory that the guest sees; else *next is where to look on. */
static bool page_exists(struct vm *vm, uint64_t at, uint64_t *next)
{
	bool large;
	uint64_t *slot = nested_slot(vm, gpa(at), &large);
	uint64_t e = slot ? entry_load(slot) : 0;
	uint64_t step = !slot ? GIB(1) : large ? BLOCK_SIZE : PAGE_SIZE;

	*next = (at & ~(step - 1)) + step;
	return e && !entry_is(e, NP_HIDDEN) && !(large && entry_is(e, NP_BUSY) && !entry_frame(e).v);
}

bool gmem_next_present(struct vm *vm, gpa_t *at)
{
	uint64_t top = nested_top(vm);

	for (uint64_t a = at->v & ~PAGE_MASK, next; a < top; a = next) {
		bool there;

		preempt_disable();
		there = page_exists(vm, a, &next);
		preempt_enable();
		if (there) {
			at->v = a;
			return true;
		}
	}
	return false;
}

void gmem_get_stats(struct vm *vm, struct gmem_stats *s)
{
	const struct nested *n = &vm->nested;

	*s = (struct gmem_stats){ .touched = READ_ONCE(n->blocks) * BLOCK_SIZE, .large_bytes = READ_ONCE(n->large_leaves) * BLOCK_SIZE,
				  .small_bytes = READ_ONCE(n->small_leaves) * PAGE_SIZE, .table_bytes = READ_ONCE(n->nr_tables) * PAGE_SIZE,
				  .pinned = READ_ONCE(n->pinned) };
}
