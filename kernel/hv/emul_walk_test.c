/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The walk of guest page tables against a second, naive reading of the manual, over random tables, modes and accesses: result,
 * address, error code, and which accessed and dirty bits were set. Then the exit path's fetch against the complete walk.
 */
#include "hv/emul_test_vm.h"
#include "test/unit.h"

static uint64_t seed = 0x1234567887654321ull;
static uint64_t rnd(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

#define POOL 0x200000ull /* 16 table pages; entries point among them or to data */
static uint32_t model_pkru;

/* Few kinds of damage, each rare, so that whole walks often succeed. */
static uint64_t random_entry(unsigned size)
{
	uint64_t e = POOL + (rnd() % 16) * PAGE_SIZE;

	e |= rnd() % 16 ? 1 : 0;
	e |= (rnd() & 6) | (rnd() % 3 ? 6 : 0);
	e |= rnd() & 0x60;
	if (rnd() % 4 == 0)
		e |= 0x80;
	if (rnd() % 8 == 0)
		e |= rnd() & 0x1ff000;
	if (size == 8) {
		if (rnd() % 3 == 0)
			e &= ~0x1ff000ull; /* large pages need it */
		if (rnd() % 8 == 0)
			e |= BIT(63);
		if (rnd() % 16 == 0)
			e |= BIT(rnd() % 64);
		if (rnd() % 4 == 0)
			e |= (rnd() & 15) << 59;
	}
	return e;
}

static void random_tables(unsigned size)
{
	for (unsigned i = 0; i < 16 * PAGE_SIZE; i += size) {
		uint64_t e = random_entry(size);

		memcpy(tv_ram + POOL + i, &e, size);
	}
	for (unsigned i = 0; i < 4; i++) { /* a PDPTE has few bits that may be set */
		uint64_t e = POOL + (rnd() % 16) * PAGE_SIZE + 1;

		if (size == 8 && rnd() % 8)
			memcpy(tv_ram + POOL + i * 8, &e, 8);
	}
}

struct verdict { bool fault; uint64_t gpa; uint32_t error; unsigned nr; uint64_t at[5], val[5]; unsigned size; };

static uint64_t entry_at(uint64_t a, unsigned size)
{
	uint64_t e = 0;
	uint8_t *p = tv_memory(a, size);

	if (!p)
		return size == 8 ? ~0ull : 0xffffffff;
	memcpy(&e, p, size);
	return e;
}

static bool model_forbids(uint64_t cr0, uint64_t cr4, bool u, bool w, bool nx, unsigned a, bool keyed)
{
	bool user = a & WALK_USER, wr = a & WALK_WRITE, ex = a & WALK_EXEC;

	if (keyed)
		return true;
	if (ex && nx)
		return true;
	if (user && !u)
		return true;
	if (wr && !w && (user || (cr0 & CR0_WP)))
		return true;
	if (!user && u && ex && (cr4 & CR4_SMEP))
		return true;
	return !user && u && !ex && (cr4 & CR4_SMAP) && ((a & WALK_IMPLICIT) || !(tv_vcpu->rflags & FLAG_AC));
}

static struct verdict model(uint64_t gva, unsigned a)
{
	uint64_t cr0 = tv_cr[HV_CR0], cr3 = tv_cr[HV_CR3], cr4 = tv_cr[HV_CR4], efer = tv_cr[HV_EFER], table, e = 0, high = ~(BIT(tv_phys_bits) - 1);
	bool lma = efer & EFER_LMA, pae = !lma && (cr4 & CR4_PAE), old = !lma && !pae, u = true, w = true, nx = false;
	unsigned level = lma ? (cr4 & CR4_LA57 ? 5 : 4) : pae ? 3 : 2, size = old ? 4 : 8, shift = 12 + (level - 1) * (old ? 10 : 9);
	struct verdict r = { .size = size };

	r.error = (a & WALK_WRITE ? 2 : 0) | (a & WALK_USER ? 4 : 0);
	if ((a & WALK_EXEC) && ((cr4 & CR4_SMEP) || (!old && (efer & EFER_NXE))))
		r.error |= 16;
	table = lma ? cr3 & 0xffffffffff000ull : pae ? cr3 & 0xffffffe0 : cr3 & 0xfffff000;
	for (;; level--, shift -= old ? 10 : 9) {
		uint64_t at = table + (gva >> shift & (old ? 1023 : pae && level == 3 ? 3 : 511)) * size, bad = 0;
		bool pdpte = pae && level == 3, large = !pdpte && level > 1 && (e = entry_at(at, size), e & 0x80) && (!old || (cr4 & CR4_PSE));

		e = entry_at(at, size);
		if (!(e & 1)) {
			r.fault = true;
			return r;
		}
		if (old) {
			if (large)
				bad = 0x3fe000 & ~((BIT(MIN(tv_phys_bits, 40u) - 32) - 1) << 13);
		} else {
			bad = high & 0xfffffffffffffull;
			if (pae)
				bad |= 0x7ffull << 52;
			if (!(efer & EFER_NXE) || pdpte)
				bad |= BIT(63);
			if (pdpte)
				bad |= 0x1e6;
			if (large)
				bad |= level >= 4 ? 0x80 : level == 3 ? 0x3fffe000 : 0x1fe000;
		}
		if (e & bad) {
			r.fault = true;
			r.error |= 9;
			return r;
		}
		if (!pdpte) {
			u &= (e & 4) != 0;
			w &= (e & 2) != 0;
			nx |= !old && (e >> 63);
			r.at[r.nr] = at;
			r.val[r.nr++] = e | 0x20;
		}
		if (large || level == 1)
			break;
		table = old ? e & 0xfffff000 : e & 0xffffffffff000ull;
	}
	bool keyed = false;

	if ((cr4 & CR4_PKE) && lma && u && !(a & WALK_EXEC)) {
		unsigned rights = model_pkru >> 2 * (e >> 59 & 15) & 3;

		keyed = (rights & 1) || ((rights & 2) && (a & WALK_WRITE) && ((a & WALK_USER) || (cr0 & CR0_WP)));
	}
	if (model_forbids(cr0, cr4, u, w, nx, a, keyed)) {
		r.fault = true;
		r.error |= 1 | (keyed ? 32 : 0);
		r.nr = 0;
		return r;
	}
	if (a & WALK_WRITE)
		r.val[r.nr - 1] |= 0x40;
	if (old && level == 2)
		r.gpa = (e & 0xffc00000) | (e >> 13 & 0xff) << 32 | (gva & 0x3fffff);
	else
		r.gpa = (e & 0xffffffffff000ull & ~(BIT(shift) - 1)) | (gva & (BIT(shift) - 1));
	return r;
}

static void random_mode(void)
{
	unsigned kind = rnd() % 4;

	tv_reset();
	tv_phys_bits = 36 + (unsigned)(rnd() % 3) * 4;
	tv_cr[HV_CR3] = POOL;
	tv_cr[HV_CR0] = CR0_PE | CR0_PG | (rnd() & CR0_WP);
	tv_cr[HV_CR4] = (rnd() & (CR4_SMEP | CR4_SMAP | CR4_PKE | CR4_PSE)) | (kind ? CR4_PAE : 0) | (kind == 3 ? CR4_LA57 : 0);
	tv_cr[HV_EFER] = kind >= 2 ? EFER_LMA | (rnd() & EFER_NXE) : rnd() & EFER_NXE;
	tv_vcpu->rflags = 2 | (rnd() & FLAG_AC);
	model_pkru = 0;
	random_tables(kind ? 8 : 4);
}

TEST(random_tables_as_the_model_says)
{
	unsigned ok = 0, faults = 0;

	for (unsigned round = 0; round < 400; round++) {
		random_mode();
		for (unsigned i = 0; i < 250; i++) {
			uint64_t gva = tv_cr[HV_EFER] & EFER_LMA ? rnd() : (uint32_t)rnd();
			unsigned kind = rnd() % 3, a = (kind == 1 ? WALK_WRITE : kind == 2 ? WALK_EXEC : 0) | (rnd() & WALK_USER);
			struct verdict want;
			enum walk_result r;
			uint32_t error = 0;
			gpa_t at = gpa(0);

			if (!(a & (WALK_USER | WALK_EXEC)) && rnd() % 4 == 0)
				a |= WALK_IMPLICIT;
			want = model(gva, a);
			r = emul_walk(tv_vcpu, gva, a, &at, &error);
			CHECK_EQ(r, want.fault ? WALK_FAULT : WALK_OK);
			if (want.fault) {
				CHECK_EQ(error, want.error);
				faults++;
			} else {
				CHECK_EQ(at.v, want.gpa);
				for (unsigned k = 0; k < want.nr; k++)
					if (tv_memory(want.at[k], want.size) && k + 1 == want.nr) /* an upper entry may be the same word */
						CHECK_EQ(entry_at(want.at[k], want.size) & want.val[k] & 0x61, want.val[k] & 0x61);
				ok++;
			}
			if (unit_failures) {
				printf("round %u gva %llx access %x cr0 %llx cr4 %llx efer %llx\n", round, (unsigned long long)gva, a, (unsigned long long)tv_cr[HV_CR0],
				       (unsigned long long)tv_cr[HV_CR4], (unsigned long long)tv_cr[HV_EFER]);
				return;
			}
		}
	}
	printf("walks: %u reached a page, %u faulted\n", ok, faults);
	CHECK(ok > 5000 && faults > 5000);
}

TEST(entries_change_under_the_walk)
{
	uint32_t error;
	gpa_t at;

	tv_reset();
	((uint64_t *)(tv_ram + 0x102000))[3] &= ~0x60ull;
	tv_cas_fail = 3;
	CHECK_EQ(emul_walk(tv_vcpu, 0x600123, WALK_WRITE, &at, &error), WALK_OK);
	CHECK_EQ(at.v, 0x600123);
	CHECK_EQ(((uint64_t *)(tv_ram + 0x102000))[3] & 0x60, 0x60);
	((uint64_t *)(tv_ram + 0x102000))[3] &= ~0x60ull;
	tv_cas_fail = 1000000; /* for ever: it ends all the same */
	CHECK_EQ(emul_walk(tv_vcpu, 0x600123, 0, &at, &error), WALK_OK);
}

TEST(fast_fetch_agrees)
{
	unsigned got = 0;

	for (unsigned round = 0; round < 300; round++) {
		random_mode();
		for (unsigned i = 0; i < 100; i++) {
			uint8_t fast[15], slow[15];
			bool lma = tv_cr[HV_EFER] & EFER_LMA;

			tv_vcpu->rip = lma ? (uint64_t)((int64_t)(rnd() << 16) >> 16) : (uint32_t)rnd();
			tv_seg[HV_CS].attr = lma ? 0xa9b : 0xc9b;
			tv_vcpu->exception_valid = false;
			if (emul_fetch(tv_vcpu, slow, 15) != 15 || tv_vcpu->exception_valid)
				continue;
			CHECK(emul_fetch_fast(tv_vcpu, fast, 15));
			CHECK(!memcmp(fast, slow, 15));
			CHECK_EQ(preempt_depth(), 0);
			got++;
			if (unit_failures)
				return;
		}
	}
	printf("fetched %u\n", got);
	CHECK(got > 300);
}

TEST(no_paging_and_tables_nowhere)
{
	uint32_t error;
	gpa_t at;

	tv_reset();
	tv_cr[HV_CR3] = 0x50000000; /* no RAM: all ones, reserved bits */
	CHECK_EQ(emul_walk(tv_vcpu, 0x1000, WALK_WRITE, &at, &error), WALK_FAULT);
	CHECK_EQ(error, 0xb);
	tv_mode(4, true);
	CHECK_EQ(emul_walk(tv_vcpu, 0x123456789ull, 0, &at, &error), WALK_OK);
	CHECK_EQ(at.v, 0x23456789);
}
