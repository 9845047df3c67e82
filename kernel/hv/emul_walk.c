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
	struct hv_paging r;
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

/* What the registers say about the tables. */
static inline void paging_decode(struct paging *pg)
{
	pg->entry = 8;
	pg->pae3 = false;
	if (likely(pg->r.efer & EFER_LMA)) {
		pg->levels = pg->r.cr4 & CR4_LA57 ? 5 : 4;
		pg->root = pg->r.cr3 & PTE_ADDR;
	} else if (pg->r.cr4 & CR4_PAE) {
		pg->levels = 3;
		pg->pae3 = true;
		pg->root = pg->r.cr3 & 0xffffffe0;
	} else {
		pg->levels = 2;
		pg->entry = 4;
		pg->root = pg->r.cr3 & 0xfffff000;
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
	return pg->entry == 8 || (pg->r.cr4 & CR4_PSE);
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

		if (level != 2 || !(pte & PTE_PS) || !(pg->r.cr4 & CR4_PSE))
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
	if (!(pg->r.efer & EFER_NXE))
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

	if (!(w->pg.r.cr4 & CR4_PKE) || !(w->pg.r.efer & EFER_LMA) || !w->user || (w->access & WALK_EXEC))
		return false;
	rights = emul_pkru(v) >> 2 * key;
	if (rights & 1)
		return true;
	return (rights & 2) && (w->access & WALK_WRITE) && ((w->access & WALK_USER) || (w->pg.r.cr0 & CR0_WP));
}

static bool rights_forbid(struct vcpu *v, const struct walk *w)
{
	if ((w->access & WALK_EXEC) && w->nx)
		return true;
	if (w->access & WALK_USER)
		return !w->user || ((w->access & WALK_WRITE) && !w->write);
	if ((w->access & WALK_WRITE) && !w->write && (w->pg.r.cr0 & CR0_WP))
		return true;
	if (!w->user)
		return false;
	if (w->access & WALK_EXEC)
		return w->pg.r.cr4 & CR4_SMEP;
	return (w->pg.r.cr4 & CR4_SMAP) && ((w->access & WALK_IMPLICIT) || !(v->rflags & FLAG_AC));
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
	struct walk w;
	uint32_t kind;

	hv->get_paging(v, &w.pg.r);
	if (!(w.pg.r.cr0 & CR0_PG)) {
		*out = gpa(gva & 0xffffffff);
		return WALK_OK;
	}
	paging_decode(&w.pg);
	w.gva = gva;
	w.access = access;
	kind = (access & WALK_WRITE ? PF_W : 0) | (access & WALK_USER ? PF_U : 0);
	if ((access & WALK_EXEC) && ((w.pg.r.cr4 & CR4_SMEP) || ((w.pg.r.cr4 & CR4_PAE) && (w.pg.r.efer & EFER_NXE))))
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

/*
 * ---- the exit path's fetch ----
 *
 * Where the last code page was found is remembered with every table entry on the way there. The memory is good while the paging
 * registers are the same, no guest frame has been taken away (the nested generation; preemption is off, so none is freed under
 * us) and each entry still has its value: then a walk would end at the same place. So nothing has to be told to forget it.
 */

static inline const void *fast_pointer(struct vcpu *v, uint64_t at, hpa_t *where)
{
	hpa_t h;

	if (unlikely(!nested_lookup(v->vm, gpa(at), false, &h)))
		return NULL;
	*where = hpa((h.v & ~PAGE_MASK) | (at & PAGE_MASK));
	return window_get(*where);
}

/* Preemption off. Pointer (window_put) to the byte at gva, or NULL. */
static const void *fetch_walk(struct vcpu *v, struct paging *pg, uint64_t gva)
{
	struct emul_fetch *f = &EMUL_OF(v)->fetch;
	uint64_t table, pte;
	hpa_t at;

	paging_decode(pg);
	table = pg->root;
	f->page = ~0ull;
	f->generation = __atomic_load_n(&v->vm->nested.generation, __ATOMIC_ACQUIRE);
	f->entries = 0;
	for (unsigned level = pg->levels;; level--) {
		const void *p = fast_pointer(v, entry_slot(pg, table, gva, level), &at);

		if (unlikely(!p))
			return NULL;
		pte = pg->entry == 8 ? READ_ONCE(*(const uint64_t *)p) : READ_ONCE(*(const uint32_t *)p);
		window_put(p);
		if (unlikely(!(pte & PTE_P)))
			return NULL;
		f->entry[f->entries].at = window_hint(at);
		f->entry[f->entries++].pte = pte;
		if (entry_is_leaf(pg, pte, level)) {
			p = fast_pointer(v, leaf_address(pg, pte, gva, level), &at);
			if (p && pg->entry == 8) {
				f->page = gva >> PAGE_SHIFT;
				f->frame = window_hint(hpa(at.v & ~PAGE_MASK));
				f->cr3 = pg->r.cr3;
				f->cr4 = pg->r.cr4;
				f->efer = pg->r.efer;
			}
			return p;
		}
		table = pte & PTE_ADDR;
	}
}

/* Without the stack's guard: eight instructions, and nothing here is written by a variable index. */
#define QUICK __attribute__((no_stack_protector))

/* The sixteen bytes at gva when its page is remembered, and rightly so. Interrupts are off meanwhile: windows stay as they are. */
static inline __attribute__((always_inline)) bool fetch_remembered(struct vcpu *v, const struct hv_paging *r, uint64_t gva, uint64_t words[2])
{
	const struct emul_fetch *f = &EMUL_OF(v)->fetch;
	const struct emul_fetch_entry *e = f->entry, *end = e + f->entries;
	const struct window_cpu *w;
	const uint8_t *p;
	uint64_t flags;

	if (unlikely(f->page != gva >> PAGE_SHIFT || f->cr3 != r->cr3 || f->cr4 != r->cr4 || f->efer != r->efer || !(r->cr0 & CR0_PG) ||
		     (gva & PAGE_MASK) > PAGE_SIZE - 16))
		return false;
	flags = arch_irq_save();
	w = window_here();
	if (unlikely(f->generation != __atomic_load_n(&v->vm->nested.generation, __ATOMIC_ACQUIRE)))
		goto no;
	do {
		const uint64_t *entry = window_look(w, &e->at);

		if (unlikely(!entry || READ_ONCE(*entry) != e->pte))
			goto no;
	} while (++e < end);
	p = window_look(w, &f->frame);
	if (unlikely(!p))
		goto no;
	p += gva & PAGE_MASK;
	__builtin_memcpy(words, p, 16);
	arch_irq_restore(flags);
	return true;
no:
	arch_irq_restore(flags);
	return false;
}

static inline uint64_t fetch_linear(struct vcpu *v, const struct hv_paging *r, unsigned *mode)
{
	*mode = 8;
	if (likely((r->cs_attr & ATTR_L) && (r->efer & EFER_LMA)))
		return v->rip;
	*mode = r->cs_attr & ATTR_DB ? 4 : 2;
	return (uint32_t)(r->cs_base + v->rip);
}

/* Up to n bytes of one page; how many. */
static unsigned fetch_page_slow(struct vcpu *v, struct paging *pg, uint64_t linear, uint8_t *buf, unsigned n)
{
	const void *p;
	hpa_t at;

	n = (unsigned)MIN(n, PAGE_SIZE - (linear & PAGE_MASK));
	preempt_disable();
	p = pg->r.cr0 & CR0_PG ? fetch_walk(v, pg, linear) : fast_pointer(v, linear, &at);
	if (p) {
		memcpy(buf, p, n);
		window_put(p);
	}
	preempt_enable();
	return p ? n : 0;
}

QUICK unsigned emul_exit_length(struct vcpu *v)
{
	const struct emul_spelling *s = &emul_spelling[v->exit.kind];
	struct hv_paging r;
	uint64_t words[2];
	unsigned mode;

	hv->get_paging(v, &r);
	if (likely(fetch_remembered(v, &r, fetch_linear(v, &r, &mode), words) && ((uint32_t)words[0] & s->mask) == s->value && s->length))
		return s->length;
	return emul_exit_length_slow(v);
}

QUICK unsigned emul_fetch_page(struct vcpu *v, uint8_t buf[16], unsigned *mode)
{
	struct paging pg;
	uint64_t linear;

	hv->get_paging(v, &pg.r);
	linear = fetch_linear(v, &pg.r, mode);
	if (likely(fetch_remembered(v, &pg.r, linear, (uint64_t *)buf)))
		return 16;
	return fetch_page_slow(v, &pg, linear, buf, 16);
}

bool emul_fetch_fast(struct vcpu *v, uint8_t *buf, unsigned n)
{
	struct paging pg;
	uint64_t linear;
	unsigned mode, part;

	hv->get_paging(v, &pg.r);
	for (linear = fetch_linear(v, &pg.r, &mode); n; n -= part, buf += part, linear += part) {
		part = fetch_page_slow(v, &pg, linear, buf, n);
		if (!part)
			return false;
	}
	return true;
}
