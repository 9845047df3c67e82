/* SPDX-License-Identifier: Apache-2.0 */
/* Between nested.c, gmem.c, gmem_frames.c and gmem_torture.c: entries of the nested table, and who may touch them when. */
#ifndef HV_NESTED_PRIV_H
#define HV_NESTED_PRIV_H

#include "hv/hv.h"

#define NESTED_ADDR 0x000ffffffffff000ull
#define ENTRIES 512

/*
 * Entries that the hardware calls not present. 0 is "never touched". Else bits 6:3 say what it is, and the address is stored
 * inverted, so that it never names cacheable memory (L1TF). Bits 2:0 and 10 stay clear: EPT would call the entry present.
 */
enum np_kind { NP_TRAP = 1, NP_BUSY, NP_HIDDEN };
#define NP_KIND(k) ((uint64_t)(k) << 3)
#define NP_KIND_MASK NP_KIND(15)
#define NP_WRITE BIT(7)    /* the leaf could be written */
#define NP_DIRTY BIT(8)
#define NP_ACCESSED BIT(9)

static inline bool entry_present(uint64_t e) { return e & hv->nested->present_mask; }
static inline bool entry_is(uint64_t e, enum np_kind k) { return !entry_present(e) && (e & NP_KIND_MASK) == NP_KIND(k); }
static inline bool entry_is_table(uint64_t e) { return entry_present(e) && !(e & hv->nested->large); }
/* Of a leaf or of a not-present entry that keeps a frame; a large leaf's address bits below 21 are 0. */
static inline hpa_t entry_frame(uint64_t e) { return hpa((entry_present(e) ? e : ~e) & NESTED_ADDR); }
static inline uint64_t entry_load(const uint64_t *slot) { return __atomic_load_n(slot, __ATOMIC_ACQUIRE); }
static inline bool entry_swap(uint64_t *slot, uint64_t old, uint64_t new_value)
{
	return __atomic_compare_exchange_n(slot, &old, new_value, false, __ATOMIC_SEQ_CST, __ATOMIC_ACQUIRE);
}
uint64_t entry_leaf(hpa_t frame, bool large, uint64_t np_flags); /* np_flags: NP_WRITE, NP_DIRTY, NP_ACCESSED */
uint64_t entry_not_present(enum np_kind k, hpa_t frame, uint64_t np_flags);
uint64_t entry_np_flags(uint64_t e); /* of either form */
static inline uint64_t *entry_table(uint64_t e) { return direct_ptr(hpa(e & NESTED_ADDR)); }

/* ---- nested.c ---- */
uint64_t *nested_table_alloc(struct vm *vm, bool spare); /* spare: may not take what first touches need; NULL then */
void nested_table_free(struct vm *vm, uint64_t *table);
/* The entry that stands for gpa's 2 MiB; NULL when its directory was never made. */
uint64_t *nested_block_slot(struct vm *vm, gpa_t at);
/* The lowest entry for gpa, of 2 MiB or 4 KiB; NULL likewise. Preemption off while it is used. */
uint64_t *nested_slot(struct vm *vm, gpa_t at, bool *large);
/* Waits until every other CPU was seen with preemption on: whoever found a frame or a table page before has finished with it. */
void nested_quiesce(void);
uint64_t nested_top(const struct vm *vm); /* above every range */

/* ---- gmem_frames.c: frames of this VM's broken blocks, and blocks beyond what was promised ---- */
hpa_t gmem_block_take(struct vm *vm);          /* promised first; 0 when nothing can be promised */
void gmem_block_drop(struct vm *vm, hpa_t b);  /* shot down; undoes the promise of one taken */
hpa_t gmem_frame_take(struct vm *vm, uint32_t gfn);
void gmem_frame_drop(struct vm *vm, hpa_t f);  /* shot down */
static inline struct frame *gmem_frame_state(hpa_t f)
{
	struct block *b = block_of(f);

	return b->frames ? &b->frames->f[f.v >> PAGE_SHIFT & (FRAMES_PER_BLOCK - 1)] : NULL;
}
int gmem_block_break_state(struct vm *vm, hpa_t b, gpa_t base); /* whole block, all 512 frames used; -ENOMEM */
void gmem_block_join_state(struct vm *vm, hpa_t b, gpa_t base); /* the reverse: all 512 used in order */
unsigned gmem_frames_used(hpa_t b);

#endif
