/* SPDX-License-Identifier: Apache-2.0 */
/* Between the files of kernel/mem only. */
#ifndef MEM_MEM_PRIV_H
#define MEM_MEM_PRIV_H

#include "arch/x86/arch.h"
#include "mem/mem.h"

/* ---- layout.c: what the firmware's map and the loader left, as blocks. Pure. ---- */
#define BLOCKS_PER_GROUP (PAGE_SIZE / sizeof(struct block)) /* one page of the block table: 256 MiB of RAM */
struct mem_plan {
	uint64_t nr_blocks;    /* up to the top of RAM */
	uint64_t table_pages;  /* pages of block table that describe RAM */
	uint64_t ram_bytes;    /* usable in the firmware's map */
	hpa_t early;           /* first blocks of the kernel's own, below 4 GiB */
	unsigned early_blocks;
};
bool layout_plan(const struct boot_info *bi, struct mem_plan *p); /* false: too little RAM */
uint16_t layout_owner(const struct boot_info *bi, uint64_t index);
uint64_t layout_usable_in(const struct boot_info *bi, uint64_t base, uint64_t size); /* bytes */
bool layout_frame_usable(const struct boot_info *bi, uint64_t frame_base); /* whole frame, in no image or module, not below 1 MiB */
bool layout_overlaps_module(const struct boot_info *bi, uint64_t base, uint64_t size);

/* ---- block.c ---- */
/* Takes over a table whose owners are filled in (absent groups unmapped); `groups` has a bit per page of table that exists. */
void block_init(struct block *table, uint64_t nr, const uint64_t *groups, uint64_t ram_bytes, uint64_t early_blocks);
void block_mapping_ready(void); /* the kernel's root is loaded: kernel blocks may be mapped from now on */
uint64_t block_index_end(void);
struct block *block_at(uint64_t index); /* NULL where no RAM is */
uint64_t block_ram_bytes(void);
struct block_facts { uint64_t free, managed, promised, allowance, ours; }; /* all in blocks */
void block_get_facts(struct block_facts *f);

/* ---- tables.c: frames for page tables, and mapping with them ---- */
void tables_init(void);    /* fills the pool amply for arch_paging_init */
void tables_balance(void); /* pool back to its level; takes the heap's lock */
hpa_t tables_alloc(void);
void tables_free(hpa_t f);
int mem_map(uint64_t root, uint64_t va, hpa_t frame, unsigned flags);
void mem_flush_page_everywhere(uint64_t va);
void mem_flush_everywhere(void);

/* ---- heap.c ---- */
void heap_add_block(hpa_t b);
void heap_trim(void); /* gives back blocks that hold nothing */
struct heap_facts { uint64_t blocks, used_bytes, free_pages; };
void heap_get_facts(struct heap_facts *f);

/* ---- vmap.c, user_frame.c, window.c ---- */
void kstack_drain(void);
void uframe_init(void); /* registers the usable rests of firmware's and the image's blocks */
void uframe_drain(void);
struct uframe_facts { uint64_t used, free, scrap; }; /* frames; scrap: of those, in blocks that are not whole ours */
void uframe_get_facts(struct uframe_facts *f);
void window_init(void);
bool window_cached(uint64_t block); /* some CPU has a window onto it */

/* ---- vma.c: the sorted table of an address space's mappings. Caller holds the address space's lock, or nobody else has it. ---- */
enum vma_kind { VMA_ANON, VMA_FILE, VMA_SHARED /* one kernel page */ };
struct vma {
	uint64_t start, end;      /* page-aligned */
	uint64_t offset;          /* file: of start */
	uint64_t file_bytes;      /* file: bytes from start that the file gives; zeros follow */
	const struct aspace_source *src;
	void *object;
	void (*unref)(void *object); /* shared */
	void *kpage;              /* shared */
	uint8_t kind;
	uint8_t prot;
};
#define VMA_MAX 2048
struct vma_table {
	struct vma *v;
	unsigned n, capacity;
};
struct vma *vma_find(const struct vma_table *t, uint64_t addr);        /* the one that holds addr, or NULL */
unsigned vma_after(const struct vma_table *t, uint64_t addr);          /* index of the first that ends above addr */
bool vma_overlaps(const struct vma_table *t, uint64_t start, uint64_t end);
int vma_reserve(struct vma_table *t, unsigned more);                   /* room for that many; -ENOMEM */
void vma_insert(struct vma_table *t, const struct vma *v);             /* room reserved, no overlap; joins neighbours where it can */
void vma_split_at(struct vma_table *t, uint64_t addr);                 /* room for one reserved; takes references */
void vma_remove(struct vma_table *t, unsigned i);                      /* drops its reference */
uint64_t vma_gap(const struct vma_table *t, uint64_t len, uint64_t low, uint64_t high); /* highest free place; 0 none */
void vma_free_all(struct vma_table *t);

#endif
