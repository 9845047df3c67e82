/* SPDX-License-Identifier: Apache-2.0 */
/* Which MSR writes a guest gets away with: the processor's rules, some of which emulators forget. */
#include "hv/hv_priv.h"
#include "test/unit.h"

static uint64_t crs[HV_CRS];
static uint64_t backend_msr[4];
static unsigned backend_writes;

static uint64_t fake_get_cr(struct vcpu *v, enum hv_cr r) { (void)v; return crs[r]; }
static void fake_set_cr(struct vcpu *v, enum hv_cr r, uint64_t val) { (void)v; crs[r] = val; }
static bool fake_get_msr(struct vcpu *v, uint32_t msr, uint64_t *val) { (void)v; *val = backend_msr[0]; return msr == 0xc0000082; }
static bool fake_set_msr(struct vcpu *v, uint32_t msr, uint64_t val) { (void)v; (void)val; backend_writes++; return msr == 0xc0000082 || msr == 0x277; }
static void fake_tsc(struct vcpu *v) { (void)v; }
static void fake_tpr(struct vcpu *v, uint8_t tpr) { (void)v; (void)tpr; }
static const struct hv_ops fake = { .get_cr = fake_get_cr, .set_cr = fake_set_cr, .get_msr = fake_get_msr, .set_msr = fake_set_msr,
				    .set_tsc_offset = fake_tsc, .set_tpr = fake_tpr };
const struct hv_ops *hv = &fake;
uint64_t cpuid_guest_efer_mask(const struct vm *vm) { (void)vm; return BIT(0) | BIT(8) | BIT(10) | BIT(11); }
unsigned cpuid_guest_phys_bits(const struct vm *vm) { (void)vm; return 40; }
bool xcr0_valid(struct vcpu *v, uint64_t val) { (void)v; return val & 1; }
void vcpu_request_self(struct vcpu *v, uint32_t req) { v->request |= req; }
uint64_t vcpu_guest_tsc(const struct vcpu *v) { return 1000 + (uint64_t)v->tsc_offset; }
bool lapic_msr_read(struct lapic *l, uint32_t msr, uint64_t *v) { (void)l; *v = msr; return true; }
bool lapic_msr_write(struct lapic *l, uint32_t msr, uint64_t v) { (void)l; (void)msr; return v != 0xbad; }
void lapic_tsc_changed(struct lapic *l) { (void)l; }

static struct vm vm;
static struct vcpu v = { .vm = &vm };
static uint64_t val;

TEST(unknown_is_gp)
{
	CHECK(!msr_read(&v, 0x12345678, &val));
	CHECK(!msr_write(&v, 0x12345678, 0));
}

TEST(canonical_addresses)
{
	CHECK(msr_write(&v, 0xc0000082, 0xffffffff81000000));
	CHECK(!msr_write(&v, 0xc0000082, 0x0000800000000000));
	CHECK(!msr_write(&v, 0xc0000101, BIT(63)));
	crs[HV_CR4] = BIT(12);
	CHECK(msr_write(&v, 0xc0000082, 0x0000800000000000));
	crs[HV_CR4] = 0;
}

TEST(memory_types)
{
	CHECK(msr_write(&v, 0x277, 0x0007040600070406));
	CHECK(!msr_write(&v, 0x277, 2));
	CHECK(!msr_write(&v, 0x277, 0x08ull << 56));
	CHECK(msr_write(&v, 0x200, 0xc0000000 | 6));
	CHECK(!msr_write(&v, 0x200, BIT(40) | 6));
	CHECK(!msr_write(&v, 0x200, 7));
	CHECK(!msr_write(&v, 0x201, BIT(10)));
	CHECK(msr_write(&v, 0x250, 0x0606060606060606));
	CHECK(!msr_write(&v, 0x250, 0x0706060606060606));
	CHECK(msr_write(&v, 0x2ff, BIT(11) | 6));
	CHECK(!msr_write(&v, 0x2ff, BIT(12)));
	CHECK(msr_read(&v, 0x2ff, &val) && val == (BIT(11) | 6));
	CHECK(!msr_write(&v, 0xfe, 0));
}

TEST(efer)
{
	crs[HV_CR0] = 0;
	crs[HV_EFER] = 0;
	CHECK(msr_write(&v, 0xc0000080, BIT(8)));
	CHECK(!msr_write(&v, 0xc0000080, BIT(12))); /* no SVM here */
	CHECK(!msr_write(&v, 0xc0000080, BIT(63)));
	crs[HV_CR0] = BIT(31);
	crs[HV_EFER] = BIT(8) | BIT(10);
	CHECK(!msr_write(&v, 0xc0000080, 0));       /* LME under paging */
	CHECK(msr_write(&v, 0xc0000080, BIT(8) | BIT(0)));
	CHECK_EQ(crs[HV_EFER], BIT(10) | BIT(8) | BIT(0));
}

TEST(time_stamp)
{
	v.tsc_offset = 0;
	CHECK(msr_write(&v, 0x10, 5000));
	CHECK_EQ(v.tsc_offset, 4000);
	CHECK(msr_read(&v, 0x3b, &val) && val == 4000);
	CHECK(msr_write(&v, 0x3b, 0));
	CHECK_EQ(v.tsc_offset, 0);
	CHECK(!msr_write(&v, 0xc0000103, BIT(32)));
}

TEST(local_apic)
{
	v.request = 0;
	CHECK(msr_write(&v, 0x80b, 0) && v.request & VCPU_REQ_EVENT);
	CHECK(!msr_write(&v, 0x80b, 0xbad));
	CHECK(msr_read(&v, 0x1b, &val) && val == 0x1b);
}

TEST(saved_values_are_checked)
{
	uint8_t buf[1024];
	struct state_out o = { buf, sizeof(buf), 0, 0, false };
	struct state_in in;
	size_t pos = 0;

	v.xcr0 = 1;
	v.pat = 0x0007040600070406;
	memset(v.mtrr, 0, sizeof(v.mtrr));
	msr_save(&v, &o);
	CHECK(!o.overflow && state_next(buf, o.len, &pos, &in));
	CHECK_EQ(msr_load(&v, &in), 0);
	buf[16 + 8] = 0; /* XCR0 */
	pos = 0;
	state_next(buf, o.len, &pos, &in);
	CHECK_EQ(msr_load(&v, &in), -EINVAL);
	pos = 0;
	state_next(buf, o.len, &pos, &in);
	in.left = 20;
	CHECK_EQ(msr_load(&v, &in), -EINVAL);
}
