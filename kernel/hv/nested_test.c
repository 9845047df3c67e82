/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guest memory against a model of its bytes, under vCPUs whose hardware is played here: each has a TLB of its own that is flushed
 * only at an entry under a new generation, so that a missing shoot-down shows as a wrong byte, and a walker that knows the table's
 * format and nothing of the code under test.
 */
#include "arch/host/host_mem.h"
#include "hv/nested_priv.h"
#include "mem/mem_priv.h"
#include "test/unit.h"
#include <setjmp.h>

#define VCPUS 2
#define GUEST_PAGES (MIB(16) >> PAGE_SHIFT)
#define ROM_BASE 0xffc00000ull
#define TLB 64

static const struct hv_nested_format npt = {
	.table = BIT(0) | BIT(1) | BIT(2), .leaf = BIT(2), .read = BIT(0), .write = BIT(1), .exec_clear = BIT(63), .large = BIT(7),
	.accessed = BIT(5), .dirty = BIT(6), .present_mask = BIT(0), .levels = 4,
};
static const struct hv_nested_format ept = {
	.table = 7, .leaf = 6 << 3, .read = BIT(0), .write = BIT(1), .exec_set = BIT(2), .large = BIT(7),
	.accessed = BIT(8), .dirty = BIT(9), .present_mask = 7, .levels = 4,
};
static struct hv_ops ops = { .name = "fake", .nested = &npt };
const struct hv_ops *hv = &ops;

struct tlb_entry { uint64_t page; hpa_t frame; bool write, valid; };
static struct vm vm;
static struct vcpu vcpu[VCPUS];
static struct tlb_entry tlb[VCPUS][TLB];
static uint64_t seed;
static unsigned rnd(unsigned n)
{
	seed = seed * 6364136223846793005ull + 1442695040888963407ull;
	return (unsigned)(seed >> 33) % n;
}

void sched_yield(void) { panic("nobody will ever end this BUSY"); }
void sched_sleep_ns(uint64_t ns) { panic("waits %llu ns for a pin", (unsigned long long)ns); }
void vcpu_kick(struct vcpu *v) { v->mode = VCPU_KERNEL; }
const struct vm_range *vm_range_find(const struct vm *m, gpa_t at)
{
	for (unsigned i = 0; i < m->nr_ranges; i++)
		if (at.v >= m->range[i].base.v && at.v - m->range[i].base.v < m->range[i].size)
			return &m->range[i];
	return NULL;
}

/* ---- the machine ---- */

static void machine(const struct hv_nested_format *f)
{
	static bool done;

	ops.nested = f;
	if (!done) {
		host_mem_init(MIB(128), 1);
		heap_add_block(hpa(BLOCK_SIZE));
		tables_balance();
	}
	done = true;
	memset(&vm, 0, sizeof(vm));
	memset(vcpu, 0, sizeof(vcpu));
	memset(tlb, 0, sizeof(tlb));
	vm.id = 3;
	vm.config.memory = GUEST_PAGES * PAGE_SIZE;
	vm.config.vcpus = VCPUS;
	for (unsigned i = 0; i < VCPUS; i++)
		vm.vcpu[i] = &vcpu[i];
	vm.range[0] = (struct vm_range){ gpa(0), MIB(8), VMM_RANGE_RAM };
	vm.range[1] = (struct vm_range){ gpa(MIB(8)), MIB(8), VMM_RANGE_RAM };
	vm.range[2] = (struct vm_range){ gpa(ROM_BASE + MIB(3)), MIB(1), VMM_RANGE_ROM };
	vm.nr_ranges = 3;
	seed = 5;
	CHECK_EQ(mem_promise(nested_promise(vm.config.memory)), 0);
	CHECK_EQ(nested_init(&vm), 0);
}

static void machine_end(void)
{
	nested_free(&vm);
	mem_unpromise(nested_promise(vm.config.memory));
	CHECK_EQ(block_count(owner_vm(3)), 0);
	CHECK_EQ(block_count(owner_vm_tables(3)), 0);
	CHECK_EQ(mem_tag_bytes(MT_FRAMES), 0);
}

/* What the processor's walker does; true with the translation in *t. */
static bool hardware_walk(uint64_t at, bool write, struct tlb_entry *t)
{
	const struct hv_nested_format *f = hv->nested;
	uint64_t *table = direct_ptr(vm.nested.root);

	for (int level = 4;; level--) {
		uint64_t *e = &table[at >> (12 + 9 * (level - 1)) & 511];
		bool leaf = level == 1 || (level == 2 && (*e & f->large));

		if (!(*e & f->present_mask))
			return false;
		CHECK(level > 2 || !leaf || (*e & f->leaf) == f->leaf);
		if (leaf) {
			if (write && !(*e & f->write))
				return false;
			*e |= f->accessed | (write ? f->dirty : 0);
			t->frame = hpa((*e & 0xffffffffff000ull) + (level == 2 ? at & BLOCK_MASK & ~PAGE_MASK : 0));
			t->write = write; /* a clean page's first write walks again */
			t->page = at >> PAGE_SHIFT;
			return t->valid = true;
		}
		table = direct_ptr(hpa(*e & 0xffffffffff000ull));
	}
}

static void guest_enter(unsigned i)
{
	struct vcpu *v = &vcpu[i];

	if (v->mode == VCPU_GUEST)
		return;
	v->mode = VCPU_GUEST;
	if (v->entered_generation != vm.nested.generation)
		memset(tlb[i], 0, sizeof(tlb[i]));
	v->entered_generation = vm.nested.generation;
}

/* A guest's access: through the TLB, else by a walk, else by a nested fault. */
static int guest_access(unsigned i, uint64_t at, bool write, uint32_t *value)
{
	struct tlb_entry *t = &tlb[i][at / PAGE_SIZE % TLB];

	for (int try = 0; try < 4; try++) {
		guest_enter(i);
		if ((t->valid && t->page == at >> PAGE_SHIFT && (!write || t->write)) || hardware_walk(at, write, t)) {
			uint32_t *p = (uint32_t *)((char *)direct_ptr(t->frame) + (at & PAGE_MASK));

			if (write)
				*p = *value;
			else
				*value = *p;
			return 0;
		}
		vcpu[i].mode = VCPU_KERNEL;
		if (nested_fault(&vm, gpa(at), write, false))
			return -EFAULT;
	}
	CHECK(!"fault does not end");
	return -EFAULT;
}

static jmp_buf on_panic;
static void panic_caught(const char *text) { (void)text; longjmp(on_panic, 1); }
#define PANICS(statement)                                          \
	({                                                         \
		bool caught_ = true;                               \
		host_panic_hook = panic_caught;                    \
		if (!setjmp(on_panic)) {                           \
			statement;                                 \
			caught_ = false;                           \
		}                                                  \
		host_panic_hook = NULL;                            \
		caught_;                                           \
	})

/* First in the file, hence run last: leaves a VM behind in the middle of an operation. */
extern bool gmem_plant_no_shootdown;
TEST(planted_missing_shootdown_is_caught)
{
	uint32_t v = 1;

	machine(&npt);
	guest_access(0, MIB(4), true, &v);
	gmem_plant_no_shootdown = true;
	CHECK(PANICS(gmem_move(&vm, gpa(MIB(4)))));
	gmem_plant_no_shootdown = false;
}

TEST(first_touch_gives_zeroed_blocks)
{
	struct gmem_stats s;
	uint32_t v = 1;
	uint64_t before, b;
	gpa_t at;

	machine(&npt);
	before = mem_promisable();
	CHECK(!gmem_get(&vm, gpa(MIB(2)), false));
	CHECK(!guest_access(0, MIB(2) + 4, false, &v) && v == 0);
	CHECK(!guest_access(1, MIB(2) + 8, true, &v));
	CHECK(!guest_access(1, 0x1000, true, &v));
	CHECK_EQ(guest_access(0, 0xa0000, false, &v), -EFAULT);
	CHECK_EQ(guest_access(0, MIB(16), false, &v), -EFAULT);
	CHECK_EQ(guest_access(0, GIB(200), false, &v), -EFAULT);
	gmem_get_stats(&vm, &s);
	CHECK_EQ(s.touched, 2 * BLOCK_SIZE);
	CHECK_EQ(s.large_bytes, BLOCK_SIZE);
	CHECK_EQ(s.small_bytes, (512 - 32) * PAGE_SIZE);
	CHECK_EQ(mem_promisable(), before);
	at = gpa(0x9f800);
	CHECK(gmem_next_present(&vm, &at) && at.v == 0x9f000);
	at = gpa(0xa0000);
	CHECK(gmem_next_present(&vm, &at) && at.v == 0xc0000);
	at = gpa(MIB(4));
	CHECK(!gmem_next_present(&vm, &at));
	/* ROM: vmx writes it, the guest reads it; its block is promised when it comes. */
	v = 77;
	CHECK_EQ(gmem_write(&vm, gpa(ROM_BASE + MIB(3) + 12), &v, 4), 0);
	v = 0;
	CHECK(!guest_access(0, ROM_BASE + MIB(3) + 12, false, &v) && v == 77);
	CHECK_EQ(guest_access(0, ROM_BASE + MIB(3) + 12, true, &v), -EFAULT);
	CHECK_EQ(guest_access(0, ROM_BASE + MIB(2), false, &v), -EFAULT);
	CHECK_EQ(mem_promisable(), before - BLOCK_SIZE);
	b = block_count(owner_vm(3));
	CHECK_EQ(b, 3);
	machine_end();
}

TEST(compare_and_swap)
{
	uint64_t v = 5;

	machine(&ept);
	CHECK_EQ(gmem_write(&vm, gpa(MIB(3)), &v, 8), 0);
	CHECK_EQ(gmem_cas(&vm, gpa(MIB(3)), 8, 4, 9), -EAGAIN);
	CHECK_EQ(gmem_cas(&vm, gpa(MIB(3)), 8, 5, ~0ull), 0);
	CHECK_EQ(gmem_cas(&vm, gpa(MIB(3) + 4), 2, 0xffff, 1), 0);
	CHECK_EQ(gmem_read(&vm, gpa(MIB(3)), &v, 8), 0);
	CHECK_EQ(v, 0xffff0001ffffffffull);
	CHECK_EQ(gmem_cas(&vm, gpa(MIB(3) + 4094), 4, 0, 1), -EINVAL);
	CHECK_EQ(gmem_cas(&vm, gpa(MIB(16)), 4, 0, 1), -EFAULT);
	machine_end();
}

TEST(not_present_entries_name_no_memory)
{
	uint32_t v = 1;
	uint64_t e;

	machine(&ept);
	guest_access(0, MIB(4), true, &v);
	CHECK_EQ(gmem_trap(&vm, gpa(MIB(4))), 0);
	e = *nested_block_slot(&vm, gpa(MIB(4)));
	CHECK(e && !(e & (7 | BIT(10))));
	CHECK((e & NESTED_ADDR) > MIB(128)); /* inverted */
	CHECK_EQ(gmem_trap(&vm, gpa(MIB(4))), -EBUSY);
	CHECK(!guest_access(0, MIB(4), false, &v) && v == 1);
	CHECK_EQ(gmem_protect(&vm, gpa(MIB(4))), 0);
	CHECK(!guest_access(1, MIB(4), true, &v));
	machine_end();
}

TEST(nothing_pinned_moves)
{
	struct gmem_seg seg[4];
	uint64_t at = MIB(4) - 6000;
	uint32_t v = 1;

	machine(&npt);
	CHECK_EQ(gmem_pin(&vm, gpa(at), 12000, GMEM_READ, seg, 1), -E2BIG); /* two blocks that lie apart, or one segment */
	CHECK_EQ(vm.nested.pinned, 0);
	CHECK_EQ(gmem_pin(&vm, gpa(MIB(15)), MIB(2), GMEM_READ, seg, 4), -EFAULT);
	CHECK_EQ(vm.nested.pinned, 0);
	CHECK(gmem_pin(&vm, gpa(at), 12000, GMEM_WRITE_ALL, seg, 4) >= 1);
	CHECK_EQ(vm.nested.pinned, 4);
	CHECK_EQ(gmem_move(&vm, gpa(at)), -EBUSY);
	CHECK_EQ(gmem_break(&vm, gpa(at)), -EBUSY);
	CHECK_EQ(gmem_promote(&vm, gpa(at)), 0); /* break had demoted it */
	CHECK_EQ(gmem_demote(&vm, gpa(at)), 0);
	CHECK_EQ(gmem_trap(&vm, gpa(at)), 0);
	gmem_unpin(&vm, gpa(at), 12000, true);
	CHECK_EQ(vm.nested.pinned, 0);
	CHECK_EQ(gmem_break(&vm, gpa(at)), 0);
	CHECK(gmem_pin(&vm, gpa(at), 100, GMEM_READ, seg, 4) == 1);
	CHECK_EQ(gmem_move(&vm, gpa(at)), -EBUSY);
	CHECK_EQ(gmem_move(&vm, gpa(at - PAGE_SIZE)), 0);
	CHECK_EQ(gmem_reform(&vm, gpa(at)), -EBUSY);
	gmem_unpin(&vm, gpa(at), 100, false);
	CHECK_EQ(gmem_reform(&vm, gpa(at)), 0);
	CHECK_EQ(gmem_promote(&vm, gpa(at)), 0);
	CHECK(!guest_access(0, at, false, &v) && v == 0);
	machine_end();
}

/* ---- the fuzz ---- */

static uint32_t model[GUEST_PAGES];   /* one word in each page */
static bool dirty[GUEST_PAGES];
static struct { uint64_t page; unsigned n; bool write; struct gmem_seg seg[8]; int segs; } pin[8];

static bool is_ram(uint64_t page) { return page < 0xa0 || (page >= 0xc0 && page < GUEST_PAGES); }
static uint64_t word_at(uint64_t page) { return page * PAGE_SIZE + page % 1000 * 4; }

static void fuzz_guest(uint64_t page)
{
	uint32_t v = rnd(1u << 30);
	bool write = rnd(2);

	CHECK_EQ(guest_access(rnd(VCPUS), word_at(page), write, &v), is_ram(page) ? 0 : -EFAULT);
	if (!is_ram(page))
		return;
	if (write) {
		model[page] = v;
		dirty[page] = true;
	} else {
		CHECK_EQ(v, model[page]);
	}
}

static void fuzz_copy(uint64_t page)
{
	uint32_t v = rnd(1u << 30);

	if (rnd(2)) {
		CHECK_EQ(gmem_write(&vm, gpa(word_at(page)), &v, 4), is_ram(page) ? 0 : -EFAULT);
		if (is_ram(page)) {
			model[page] = v;
			dirty[page] = true;
		}
	} else if (!gmem_read(&vm, gpa(word_at(page)), &v, 4)) {
		CHECK_EQ(v, model[page]);
	}
}

/* A device: pins, and later writes through the addresses it was given, and unpins. */
static void fuzz_device(uint64_t page)
{
	unsigned k = rnd(ARRAY_SIZE(pin));

	if (!pin[k].n) {
		unsigned n = 1 + rnd(6);
		bool write = rnd(2);

		pin[k].segs = gmem_pin(&vm, gpa(page * PAGE_SIZE), n * PAGE_SIZE, write ? GMEM_WRITE_PART : GMEM_READ, pin[k].seg, 8);
		if (pin[k].segs <= 0)
			return;
		pin[k].page = page;
		pin[k].n = n;
		pin[k].write = write;
		return;
	}
	page = pin[k].page;
	for (int s = 0; s < pin[k].segs; s++)
		for (unsigned at = 0; at < pin[k].seg[s].len; at += PAGE_SIZE, page++) {
			uint32_t *p = direct_ptr(hpa_add(pin[k].seg[s].addr, at + page % 1000 * 4));

			CHECK_EQ(*p, model[page]);
			if (!pin[k].write)
				continue;
			*p = model[page] = rnd(1u << 30);
			dirty[page] = true;
		}
	gmem_unpin(&vm, gpa(pin[k].page * PAGE_SIZE), pin[k].n * PAGE_SIZE, pin[k].write);
	pin[k].n = 0;
}

static void check_dirty(uint64_t page)
{
	bool large;
	uint64_t *slot = nested_slot(&vm, gpa(page * PAGE_SIZE), &large);

	if (dirty[page] && is_ram(page) && vcpu[0].mode != VCPU_GUEST && vcpu[1].mode != VCPU_GUEST)
		CHECK(entry_np_flags(*slot) & NP_DIRTY);
}

static void fuzz(const struct hv_nested_format *f, int rounds)
{
	static int (*const change[])(struct vm *, gpa_t) = {
		gmem_demote, gmem_promote, gmem_break, gmem_reform, gmem_move, gmem_move, gmem_protect, gmem_trap,
	};
	unsigned done[ARRAY_SIZE(change)] = { 0 };
	uint64_t promisable;

	machine(f);
	memset(model, 0, sizeof(model));
	memset(dirty, 0, sizeof(dirty));
	promisable = mem_promisable();
	for (int i = 0; i < rounds; i++) {
		uint64_t page = rnd(8) ? rnd(1024) : rnd(GUEST_PAGES);
		unsigned what = rnd(100);

		if (what < 50)
			fuzz_guest(page);
		else if (what < 65)
			fuzz_copy(page);
		else if (what < 75)
			fuzz_device(page);
		else {
			unsigned c = rnd(ARRAY_SIZE(change));
			int r = change[c](&vm, gpa(page * PAGE_SIZE));

			CHECK(r == 0 || r == -EBUSY);
			done[c] += r == 0;
		}
		check_dirty(page);
		if (i % 64 == 0)
			CHECK(block_count(owner_vm(3)) <= vm.nested.blocks + vm.nested.extra);
	}
	for (unsigned c = 0; c < ARRAY_SIZE(change); c++)
		CHECK(done[c] > 10);
	for (unsigned k = 0; k < ARRAY_SIZE(pin); k++)
		if (pin[k].n) {
			gmem_unpin(&vm, gpa(pin[k].page * PAGE_SIZE), pin[k].n * PAGE_SIZE, false);
			pin[k].n = 0;
		}
	for (uint64_t page = 0; page < GUEST_PAGES; page++) {
		uint32_t v = 0;

		if (is_ram(page) && !gmem_read(&vm, gpa(word_at(page)), &v, 4))
			CHECK_EQ(v, model[page]);
	}
	machine_end();
	promisable -= mem_promisable() - (nested_promise(vm.config.memory));
	CHECK_EQ(promisable, 0);
}
TEST(random_operations_npt) { fuzz(&npt, 40000); }
TEST(random_operations_ept) { fuzz(&ept, 40000); }
