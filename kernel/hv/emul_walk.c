/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The software walk of the guest's own page tables (APM vol 2 chapter 5, SDM vol 3 chapter 4).
 *
 * Two walkers over one description of the paging mode. emul_walk() is complete: all rights, reserved bits, accessed and dirty
 * bits, and it may sleep to bring in a table page. emul_fetch_fast() is the exit path's: it only finds the bytes of an
 * instruction that the CPU has just executed, so presence is all it checks; it never sleeps and gives up instead.
 *
 * A table entry outside RAM reads as all ones, as on a bus where nobody answers: usually a reserved-bit fault, as on bare hardware.
 */
#include "hv/emul_priv.h"

#define PTE_P BIT(0)
#define PTE_W BIT(1)
#define PTE_U BIT(2)
#define PTE_A BIT(5)
#define PTE_D BIT(6)
#define PTE_PS BIT(7)
#define PTE_NX BIT(63)
#define PTE_ADDR 0x000ffffffffff000ull

#define PF_P 1u
#define PF_W 2u
#define PF_U 4u
#define PF_RSVD 8u
#define PF_ID 16u
#define PF_PK 32u

#define WALK_LEVELS 5
#define WALK_TRIES 16 /* other vCPUs may change entries under us; then we look again */

struct paging {
	uint64_t cr0, cr3, cr4, efer;
	uint64_t root;
	uint8_t levels, entry; /* bytes of an entry */
	bool pae3;             /* top level is the PAE directory pointer table */
};

struct walk {
	struct paging pg;
	uint64_t gva;
	unsigned access;
	uint32_t error;        /* the bits of the error code that the access decides */
	uint64_t slot[WALK_LEVELS + 1], pte[WALK_LEVELS + 1];
	unsigned leaf;         /* level of the leaf */
	bool user, write, nx;  /* rights of all levels together */
};

static void paging_load(struct vcpu *v, uint64_t cr0, struct paging *pg)
{
	pg->cr0 = cr0;
	pg->cr3 = hv->get_cr(v, HV_CR3);
	pg->cr4 = hv->get_cr(v, HV_CR4);
	pg->efer = hv->get_cr(v, HV_EFER);
	pg->entry = 8;
	pg->pae3 = false;
	if (likely(pg->efer & EFER_LMA)) {
		pg->levels = pg->cr4 & CR4_LA57 ? 5 : 4;
		pg->root = pg->cr3 & PTE_ADDR;
	} else if (pg->cr4 & CR4_PAE) {
		pg->levels = 3;
		pg->pae3 = true;
		pg->root = pg->cr3 & 0xffffffe0;
	} else {
		pg->levels = 2;
		pg->entry = 4;
		pg->root = pg->cr3 & 0xfffff000;
	}
}

static inline unsigned level_shift(const struct paging *pg, unsigned level)
{
	return PAGE_SHIFT + (level - 1) * (pg->entry == 8 ? 9 : 10);
}

static inline uint64_t entry_slot(const struct paging *pg, uint64_t table, uint64_t gva, unsigned level)
{
	uint64_t mask = pg->entry == 4 ? 1023 : pg->pae3 && level == 3 ? 3 : 511;

	return table + (gva >> level_shift(pg, level) & mask) * pg->entry;
}

static inline bool entry_is_leaf(const struct paging *pg, uint64_t pte, unsigned level)
{
	if (level == 1)
		return true;
	if (!(pte & PTE_PS) || level > 3 || (level == 3 && pg->pae3))
		return false;
	return pg->entry == 8 || (pg->cr4 & CR4_PSE);
}

/* Physical address that a leaf maps gva to. */
static uint64_t leaf_address(const struct paging *pg, uint64_t pte, uint64_t gva, unsigned level)
{
	uint64_t offset = BIT(level_shift(pg, level)) - 1;

	if (pg->entry == 4 && level == 2) /* PSE-36: bits 20:13 are address bits 39:32 */
		return (pte & 0xffc00000) | (pte >> 13 & 0xff) << 32 | (gva & offset);
	return (pte & PTE_ADDR & ~offset) | (gva & offset);
}

/* ---- the complete walk ---- */

static uint64_t read_entry(struct vcpu *v, uint64_t at, unsigned size)
{
	const void *p = gmem_get(v->vm, gpa(at), false);
	uint64_t pte = 0;

	if (likely(p != NULL)) {
		pte = size == 8 ? READ_ONCE(*(const uint64_t *)p) : READ_ONCE(*(const uint32_t *)p);
		gmem_put(p);
		return pte;
	}
	if (gmem_read(v->vm, gpa(at), &pte, size))
		return size == 8 ? ~0ull : 0xffffffffull;
	return pte;
}

static bool guest_has_1g(struct vcpu *v)
{
	uint32_t r[4];

	cpuid_answer(v, 0x80000001, 0, r);
	return r[3] & BIT(26);
}

static bool entry_reserved(struct vcpu *v, const struct paging *pg, uint64_t pte, unsigned level)
{
	unsigned phys = cpuid_guest_phys_bits(v->vm), shift = level_shift(pg, level);
	uint64_t bad;

	if (pg->entry == 4) {
		unsigned high = MIN(phys, 40u);

		if (level != 2 || !(pte & PTE_PS) || !(pg->cr4 & CR4_PSE))
			return false;
		bad = high > 32 ? (BIT(22) - 1) & ~(BIT(high - 32 + 13) - 1) : BIT(22) - BIT(13);
		return pte & bad;
	}
	bad = PTE_ADDR & ~(BIT(phys) - 1);
	if (pg->pae3) {
		bad |= 0x7ff0000000000000ull;
		if (level == 3)
			return pte & (bad | PTE_NX | 0x1e6);
	}
	if (!(pg->efer & EFER_NXE))
		bad |= PTE_NX;
	if (level > 1 && (pte & PTE_PS)) {
		if (level > 3 || (level == 3 && !guest_has_1g(v)))
			return true;
		bad |= BIT(shift) - BIT(13); /* bit 12 is PAT */
	}
	return pte & bad;
}

/* Follows the tables to a leaf. */
static enum walk_result walk_tables(struct vcpu *v, struct walk *w)
{
	uint64_t table = w->pg.root, pte;

	w->user = w->write = true;
	w->nx = false;
	for (unsigned level = w->pg.levels;; level--) {
		w->slot[level] = entry_slot(&w->pg, table, w->gva, level);
		w->pte[level] = pte = read_entry(v, w->slot[level], w->pg.entry);
		if (!(pte & PTE_P))
			return WALK_FAULT;
		if (entry_reserved(v, &w->pg, pte, level)) {
			w->error |= PF_P | PF_RSVD;
			return WALK_FAULT;
		}
		if (!(w->pg.pae3 && level == 3)) {
			w->user &= !!(pte & PTE_U);
			w->write &= !!(pte & PTE_W);
			w->nx |= w->pg.entry == 8 && (pte & PTE_NX);
		}
		if (entry_is_leaf(&w->pg, pte, level)) {
			w->leaf = level;
			return WALK_OK;
		}
		table = w->pg.entry == 8 ? pte & PTE_ADDR : pte & 0xfffff000;
	}
}

/* Protection keys: of user pages, for data, in long mode. */
static bool key_forbids(struct vcpu *v, const struct walk *w)
{
	unsigned key = (unsigned)(w->pte[w->leaf] >> 59 & 15);
	uint32_t rights;

	if (!(w->pg.cr4 & CR4_PKE) || !(w->pg.efer & EFER_LMA) || !w->user || (w->access & WALK_EXEC))
		return false;
	rights = emul_pkru(v) >> 2 * key;
	if (rights & 1)
		return true;
	return (rights & 2) && (w->access & WALK_WRITE) && ((w->access & WALK_USER) || (w->pg.cr0 & CR0_WP));
}

static bool rights_forbid(struct vcpu *v, const struct walk *w)
{
	if ((w->access & WALK_EXEC) && w->nx)
		return true;
	if (w->access & WALK_USER)
		return !w->user || ((w->access & WALK_WRITE) && !w->write);
	if ((w->access & WALK_WRITE) && !w->write && (w->pg.cr0 & CR0_WP))
		return true;
	if (!w->user)
		return false;
	if (w->access & WALK_EXEC)
		return w->pg.cr4 & CR4_SMEP;
	return (w->pg.cr4 & CR4_SMAP) && ((w->access & WALK_IMPLICIT) || !(v->rflags & FLAG_AC));
}

/* Accessed and dirty bits, top down as the CPU sets them. False: an entry changed meanwhile, walk again. */
static bool walk_mark(struct vcpu *v, const struct walk *w)
{
	for (unsigned level = w->pg.levels; level >= w->leaf; level--) {
		uint64_t old = w->pte[level], marked = old | PTE_A;

		if (w->pg.pae3 && level == 3)
			continue;
		if (level == w->leaf && (w->access & WALK_WRITE))
			marked |= PTE_D;
		if (marked != old && gmem_cas(v->vm, gpa(w->slot[level]), w->pg.entry, old, marked) == -EAGAIN)
			return false;
	}
	return true;
}

enum walk_result emul_walk(struct vcpu *v, uint64_t gva, unsigned access, gpa_t *out, uint32_t *error)
{
	uint64_t cr0 = hv->get_cr(v, HV_CR0);
	struct walk w;
	uint32_t kind;

	if (!(cr0 & CR0_PG)) {
		*out = gpa(gva & 0xffffffff);
		return WALK_OK;
	}
	paging_load(v, cr0, &w.pg);
	w.gva = gva;
	w.access = access;
	kind = (access & WALK_WRITE ? PF_W : 0) | (access & WALK_USER ? PF_U : 0);
	if ((access & WALK_EXEC) && ((w.pg.cr4 & CR4_SMEP) || ((w.pg.cr4 & CR4_PAE) && (w.pg.efer & EFER_NXE))))
		kind |= PF_ID;
	for (unsigned try = 0; try < WALK_TRIES; try++) {
		bool keyed;

		w.error = kind;
		if (walk_tables(v, &w) != WALK_OK) {
			*error = w.error;
			return WALK_FAULT;
		}
		keyed = key_forbids(v, &w);
		if (keyed || rights_forbid(v, &w)) {
			*error = w.error | PF_P | (keyed ? PF_PK : 0);
			return WALK_FAULT;
		}
		*out = gpa(leaf_address(&w.pg, w.pte[w.leaf], gva, w.leaf));
		if (walk_mark(v, &w))
			break;
	}
	return WALK_OK;
}

/* ---- the exit path's fetch ---- */

static inline const void *fast_pointer(struct vcpu *v, uint64_t at)
{
	hpa_t h;

	if (unlikely(!nested_lookup(v->vm, gpa(at), false, &h)))
		return NULL;
	return window_get(hpa((h.v & ~PAGE_MASK) | (at & PAGE_MASK)));
}

/* Preemption off. Pointer (window_put) to the byte at gva, or NULL. */
static const void *fast_translate(struct vcpu *v, const struct paging *pg, uint64_t gva)
{
	uint64_t table = pg->root, pte;

	for (unsigned level = pg->levels;; level--) {
		const void *p = fast_pointer(v, entry_slot(pg, table, gva, level));

		if (unlikely(!p))
			return NULL;
		pte = pg->entry == 8 ? READ_ONCE(*(const uint64_t *)p) : READ_ONCE(*(const uint32_t *)p);
		window_put(p);
		if (unlikely(!(pte & PTE_P)))
			return NULL;
		if (entry_is_leaf(pg, pte, level))
			return fast_pointer(v, leaf_address(pg, pte, gva, level));
		table = pte & PTE_ADDR;
	}
}

static const void *fast_pointer_linear(struct vcpu *v, uint64_t linear)
{
	uint64_t cr0 = hv->get_cr(v, HV_CR0);
	struct paging pg;

	if (unlikely(!(cr0 & CR0_PG)))
		return fast_pointer(v, linear);
	paging_load(v, cr0, &pg);
	return fast_translate(v, &pg, linear);
}

static uint64_t fetch_linear(struct vcpu *v, unsigned *mode)
{
	struct vmm_segment cs;

	hv->get_seg(v, HV_CS, &cs);
	*mode = 8;
	if (likely(cs.attr & ATTR_L) && likely(hv->get_cr(v, HV_EFER) & EFER_LMA))
		return v->rip;
	*mode = cs.attr & ATTR_DB ? 4 : 2;
	return (uint32_t)(cs.base + v->rip);
}

unsigned emul_fetch_page(struct vcpu *v, uint8_t buf[16], unsigned *mode)
{
	uint64_t linear = fetch_linear(v, mode);
	unsigned n = (unsigned)MIN(16, PAGE_SIZE - (linear & PAGE_MASK));
	const void *p;

	preempt_disable();
	p = fast_pointer_linear(v, linear);
	if (likely(p != NULL)) {
		if (likely(n == 16))
			__builtin_memcpy(buf, p, 16);
		else
			memcpy(buf, p, n);
		window_put(p);
	} else
		n = 0;
	preempt_enable();
	return n;
}

bool emul_fetch_fast(struct vcpu *v, uint8_t *buf, unsigned n)
{
	unsigned mode;
	uint64_t linear = fetch_linear(v, &mode);
	bool ok = true;

	preempt_disable();
	while (n && ok) {
		unsigned part = (unsigned)MIN(n, PAGE_SIZE - (linear & PAGE_MASK));
		const void *p = fast_pointer_linear(v, linear);

		ok = p != NULL;
		if (ok) {
			memcpy(buf, p, part);
			window_put(p);
			buf += part;
			linear += part;
			n -= part;
		}
	}
	preempt_enable();
	return ok;
}
