/* SPDX-License-Identifier: Apache-2.0 */
/* Address spaces against a model that keeps the bytes of every page: random maps, unmaps, protects, forks, reads and writes. */
#include "arch/host/host_mem.h"
#include "mem/mem_priv.h"
#include "test/unit.h"

#define BASE 0x10000000ull
#define PAGES 64
#define SPACES 4
#define FILE_PAGES 16

static int file_refs;
static void (*during_read)(void);
static int file_read(void *object, uint64_t offset, void *page, size_t n)
{
	if (during_read)
		during_read();
	for (size_t i = 0; i < n; i++)
		((uint8_t *)page)[i] = (uint8_t)((offset + i) / PAGE_SIZE * 7 + (uintptr_t)object);
	return offset / PAGE_SIZE == FILE_PAGES - 1 ? -EIO : 0;
}
static void file_ref(void *o) { file_refs += o != NULL; }
static void file_unref(void *o) { file_refs -= o != NULL; }
static const struct aspace_source source = { file_read, file_ref, file_unref };

static void machine(void)
{
	static bool done;

	if (done)
		return;
	done = true;
	host_mem_init(MIB(64), 1);
	heap_add_block(hpa(BLOCK_SIZE));
	uframe_init();
	tables_balance();
}

/* What ring 3 would do: an access that faults until it is allowed or refused. */
static int touch(struct aspace *as, uint64_t addr, bool write, uint8_t *value)
{
	for (int i = 0; i < 3; i++) {
		struct arch_pte_view pte;
		bool there = arch_pte_get(aspace_root(as), ALIGN_DOWN(addr, PAGE_SIZE), &pte);
		int r;

		if (there && (pte.flags & MAP_USER) && (!write || (pte.flags & MAP_WRITE))) {
			uint8_t *p = (uint8_t *)direct_ptr(pte.frame) + (addr & PAGE_MASK);

			if (write)
				*p = *value;
			else
				*value = *p;
			return 0;
		}
		r = aspace_fault(as, addr, 4 | (write ? 2 : 0) | (there ? 1 : 0));
		if (r)
			return r;
	}
	CHECK(!"resolved, and still faults");
	return -EFAULT;
}

TEST(anonymous_memory_is_zero_and_private)
{
	struct aspace *as, *child;
	uint8_t v = 1;
	int64_t a;

	machine();
	as = aspace_create();
	a = aspace_map(as, 0, 3 * PAGE_SIZE, PROT_READ | PROT_WRITE, false, NULL, NULL, 0, 0);
	CHECK(a > 0 && !(a & PAGE_MASK));
	CHECK(!touch(as, (uint64_t)a + 5, false, &v) && v == 0);
	v = 9;
	CHECK(!touch(as, (uint64_t)a + 5, true, &v));
	child = aspace_fork(as);
	CHECK_EQ(aspace_bytes(child), PAGE_SIZE);
	CHECK(!touch(child, (uint64_t)a + 5, false, &v) && v == 9);
	v = 10;
	CHECK(!touch(child, (uint64_t)a + 5, true, &v));
	CHECK(!touch(as, (uint64_t)a + 5, false, &v) && v == 9);
	CHECK_EQ(touch(as, (uint64_t)a + 3 * PAGE_SIZE, false, &v), -EFAULT);
	CHECK_EQ(touch(as, 0, false, &v), -EFAULT);
	CHECK_EQ(aspace_fault(as, USER_TOP, 4), -EFAULT);
	aspace_unref(child);
	aspace_unref(as);
}

TEST(files_are_read_at_first_touch_and_end_in_zeros)
{
	struct aspace *as;
	uint8_t v;
	int64_t a;

	machine();
	as = aspace_create();
	a = aspace_map(as, BASE, 4 * PAGE_SIZE, PROT_READ | PROT_EXEC, true, &source, (void *)1, 2 * PAGE_SIZE, PAGE_SIZE + 100);
	CHECK_EQ(a, BASE);
	CHECK(!touch(as, BASE, false, &v) && v == 15);
	CHECK(!touch(as, BASE + PAGE_SIZE + 99, false, &v) && v == 22);
	CHECK(!touch(as, BASE + PAGE_SIZE + 100, false, &v) && v == 0);
	CHECK(!touch(as, BASE + 3 * PAGE_SIZE, false, &v) && v == 0);
	CHECK_EQ(touch(as, BASE, true, &v), -EFAULT);
	CHECK(!aspace_protect(as, BASE + PAGE_SIZE, PAGE_SIZE, PROT_READ | PROT_WRITE));
	v = 77;
	CHECK(!touch(as, BASE + PAGE_SIZE, true, &v));
	CHECK_EQ(touch(as, BASE + 2 * PAGE_SIZE, true, &v), -EFAULT);
	CHECK_EQ(file_refs, 3);
	/* A page that cannot be read. */
	a = aspace_map(as, 0, PAGE_SIZE, PROT_READ, false, &source, (void *)1, (FILE_PAGES - 1) * PAGE_SIZE, PAGE_SIZE);
	CHECK_EQ(touch(as, (uint64_t)a, false, &v), -EFAULT);
	aspace_unref(as);
	CHECK_EQ(file_refs, 0);
}

static struct aspace *racing;
static void unmap_meanwhile(void)
{
	during_read = NULL;
	aspace_unmap(racing, BASE, PAGE_SIZE);
}
TEST(a_mapping_that_goes_while_its_page_is_read)
{
	uint8_t v;

	machine();
	racing = aspace_create();
	aspace_map(racing, BASE, PAGE_SIZE, PROT_READ, true, &source, (void *)1, 0, PAGE_SIZE);
	during_read = unmap_meanwhile;
	CHECK_EQ(touch(racing, BASE, false, &v), -EFAULT);
	CHECK_EQ(aspace_bytes(racing), 0);
	CHECK_EQ(file_refs, 0);
	aspace_unref(racing);
}

static int shared_gone;
static void shared_unref(void *o) { (void)o; shared_gone++; }
TEST(kernel_pages_are_shown_and_not_inherited)
{
	struct aspace *as, *child;
	uint8_t *page, v = 5;
	int64_t a;

	machine();
	page = kpage_zalloc(MT_TEST);
	as = aspace_create();
	a = aspace_map_shared(as, page, PROT_READ | PROT_WRITE, shared_unref, page);
	CHECK(!touch(as, (uint64_t)a + 3, true, &v) && page[3] == 5);
	child = aspace_fork(as);
	CHECK_EQ(touch(child, (uint64_t)a, false, &v), -EFAULT);
	aspace_unref(child);
	CHECK_EQ(shared_gone, 0);
	aspace_unref(as);
	CHECK_EQ(shared_gone, 1);
	kpage_free(page);
}

TEST(brk_grows_and_shrinks)
{
	struct aspace *as;
	uint8_t v = 3;

	machine();
	as = aspace_create();
	aspace_set_brk_base(as, BASE + 1);
	CHECK_EQ(aspace_brk(as, 0), BASE + PAGE_SIZE);
	CHECK_EQ(aspace_brk(as, BASE + PAGE_SIZE + 10), BASE + PAGE_SIZE + 10);
	CHECK_EQ(aspace_brk(as, BASE + 5 * PAGE_SIZE), BASE + 5 * PAGE_SIZE);
	CHECK(!touch(as, BASE + 4 * PAGE_SIZE, true, &v));
	CHECK_EQ(aspace_brk(as, BASE + 2 * PAGE_SIZE), BASE + 2 * PAGE_SIZE);
	CHECK_EQ(touch(as, BASE + 4 * PAGE_SIZE, false, &v), -EFAULT);
	aspace_map(as, BASE + 3 * PAGE_SIZE, PAGE_SIZE, PROT_READ, true, NULL, NULL, 0, 0);
	CHECK_EQ(aspace_brk(as, BASE + 5 * PAGE_SIZE), BASE + 2 * PAGE_SIZE);
	aspace_unref(as);
}

TEST(what_ring_3_asks_wrongly)
{
	struct aspace *as;

	machine();
	as = aspace_create();
	CHECK_EQ(aspace_map(as, 0, 0, PROT_READ, false, NULL, NULL, 0, 0), -EINVAL);
	CHECK_EQ(aspace_map(as, 0, UINT64_MAX, PROT_READ, false, NULL, NULL, 0, 0), -EINVAL);
	CHECK_EQ(aspace_map(as, 0, USER_TOP, PROT_READ, false, NULL, NULL, 0, 0), -ENOMEM);
	CHECK_EQ(aspace_map(as, 0, PAGE_SIZE, PROT_READ, true, NULL, NULL, 0, 0), -EINVAL);
	CHECK_EQ(aspace_map(as, USER_TOP - PAGE_SIZE, 2 * PAGE_SIZE, PROT_READ, true, NULL, NULL, 0, 0), -EINVAL);
	CHECK_EQ(aspace_map(as, BASE + 1, PAGE_SIZE, PROT_READ, true, NULL, NULL, 0, 0), -EINVAL);
	CHECK_EQ(aspace_unmap(as, BASE, UINT64_MAX - 5), -EINVAL);
	CHECK_EQ(aspace_protect(as, BASE, PAGE_SIZE, PROT_READ), -ENOMEM);
	CHECK_EQ(aspace_unmap(as, BASE, PAGE_SIZE), 0);
	/* No more mappings than a bound. */
	unsigned n = 0;
	while (aspace_map(as, BASE + n * 2 * PAGE_SIZE, PAGE_SIZE, PROT_READ, true, NULL, NULL, 0, 0) > 0 && n < 10000)
		n++;
	CHECK(n > 1000 && n <= VMA_MAX);
	aspace_unref(as);
}

/* ---- the fuzz ---- */

struct model_page { bool mapped; uint8_t prot; uint8_t value; bool readable; };
static struct model_page model[SPACES][PAGES];
static struct aspace *space[SPACES];
static uint64_t seed = 3;
static unsigned rnd(unsigned n)
{
	seed = seed * 6364136223846793005ull + 1442695040888963407ull;
	return (unsigned)(seed >> 33) % n;
}

static void fuzz_map(unsigned s, unsigned first, unsigned n)
{
	bool file = rnd(2);
	uint8_t prot = (uint8_t)rnd(4);
	uint64_t addr = BASE + first * PAGE_SIZE;
	unsigned offset = rnd(FILE_PAGES / 2), bytes = rnd(8);

	CHECK_EQ(aspace_map(space[s], addr, n * PAGE_SIZE, prot, true, file ? &source : NULL, (void *)(uintptr_t)(s + 1),
			    offset * PAGE_SIZE, bytes * PAGE_SIZE), addr);
	for (unsigned i = 0; i < n; i++)
		model[s][first + i] = (struct model_page){ true, prot, file && i < bytes ? (uint8_t)((offset + i) * 7 + s + 1) : 0,
							   !(file && i < bytes && offset + i == FILE_PAGES - 1) };
}

static void fuzz_fork(unsigned s, unsigned to)
{
	aspace_unref(space[to]);
	space[to] = aspace_fork(space[s]);
	CHECK(space[to]);
	memcpy(model[to], model[s], sizeof(model[s]));
}

static void fuzz_access(unsigned s, unsigned page)
{
	struct model_page *m = &model[s][page];
	bool write = rnd(2);
	uint8_t v = (uint8_t)rnd(256);
	bool allowed = m->mapped && m->readable && (write ? m->prot & PROT_WRITE : m->prot);
	int r = touch(space[s], BASE + page * PAGE_SIZE + 17, write, &v);

	CHECK_EQ(r, allowed ? 0 : -EFAULT);
	if (!r && !write)
		CHECK_EQ(v, m->value);
	if (!r && write)
		m->value = v;
}

TEST(random_operations)
{
	struct uframe_facts before, after;
	uint64_t heap = 0;

	machine();
	uframe_drain();
	uframe_get_facts(&before);
	heap = mem_tag_bytes(MT_ASPACE);
	for (unsigned s = 0; s < SPACES; s++)
		space[s] = aspace_create();
	for (int i = 0; i < 100000; i++) {
		unsigned s = rnd(SPACES), first = rnd(PAGES), n = 1 + rnd(MIN(9u, PAGES - first));

		switch (rnd(40)) {
		case 0: case 1: case 2:
			fuzz_map(s, first, n);
			break;
		case 3: case 4:
			CHECK_EQ(aspace_unmap(space[s], BASE + first * PAGE_SIZE, n * PAGE_SIZE), 0);
			memset(&model[s][first], 0, n * sizeof(model[0][0]));
			break;
		case 5: {
			uint8_t prot = (uint8_t)rnd(4);
			bool all = true;

			for (unsigned k = first; k < first + n; k++)
				all &= model[s][k].mapped;
			CHECK_EQ(aspace_protect(space[s], BASE + first * PAGE_SIZE, n * PAGE_SIZE, prot), all ? 0 : -ENOMEM);
			for (unsigned k = first; all && k < first + n; k++)
				model[s][k].prot = prot;
			break;
		}
		case 6:
			if (s)
				fuzz_fork(s, s - 1);
			break;
		default:
			fuzz_access(s, first);
		}
	}
	for (unsigned s = 0; s < SPACES; s++)
		aspace_unref(space[s]);
	uframe_drain();
	uframe_get_facts(&after);
	CHECK_EQ(before.used, after.used);
	CHECK_EQ(before.free, after.free);
	CHECK_EQ(mem_tag_bytes(MT_ASPACE), heap);
	CHECK_EQ(file_refs, 0);
}
