/* SPDX-License-Identifier: Apache-2.0 */
/* The guest's CPU built from leaves as QEMU's "max" answers them (the ones that matter), and the rules of docs/cpuid.md. */
#include "core/core.h"
#include "hv/cpuid_table.h"
#include "test/unit.h"

static const struct { uint32_t leaf, sub, r[4]; } recorded[] = {
	{ 0x0, 0, { 0x14, 0x68747541, 0x444d4163, 0x69746e65 } },
	{ 0x1, 0, { 0x663, 0x100800, 0xfeda3203 | 1 << 3, 0x178bfbff } },
	{ 0x4, 0, { 0x4000121, 0x1c0003f, 0x3f, 1 } },
	{ 0x4, 1, { 0x4004163, 0x3c0003f, 0xfff, 6 } },
	{ 0x7, 0, { 1, 0x219c07ab | 1 << 14, 0x8001001c, 0x10 } },
	{ 0x7, 1, { 0x10, 0, 0, 0 } },
	{ 0xb, 0, { 0, 1, 0x100, 0 } },
	{ 0xd, 0, { 0x21f, 0x240, 0xa88, 0 } },
	{ 0xd, 1, { 0x5, 0, 0, 0 } },
	{ 0xd, 2, { 0x100, 0x240, 0, 0 } },
	{ 0xd, 3, { 0x40, 0x3c0, 0, 0 } },
	{ 0xd, 4, { 0x40, 0x400, 0, 0 } },
	{ 0xd, 9, { 0x8, 0xa80, 0, 0 } },
	{ 0x80000000, 0, { 0x8000001f, 0x68747541, 0x444d4163, 0x69746e65 } },
	{ 0x80000001, 0, { 0x663, 0, 0x4001f7, 0x2fd3fbff } },
	{ 0x80000007, 0, { 0, 0, 0, 0 } },
	{ 0x80000008, 0, { 0x3928, 1 << 9 | 1 << 12, 0, 0 } },
	{ 0x8000000a, 0, { 1, 16, 0, 0x10010001 } },
};

static void host(uint32_t leaf, uint32_t sub, uint32_t r[4])
{
	memset(r, 0, 16);
	for (unsigned i = 0; i < ARRAY_SIZE(recorded); i++)
		if (recorded[i].leaf == leaf && recorded[i].sub == sub)
			memcpy(r, recorded[i].r, 16);
}

static struct cpuid_table t;
static uint32_t fix;

static void build(unsigned vcpus, unsigned cores)
{
	const struct cpuid_config c = { .vcpus = vcpus, .cores_per_socket = cores, .x2apic = true, .host_xcr0 = 0x207, .tsc_khz = 1000000,
					.bus_khz = 1000000, .hypercall_flag = 1 };

	cpuid_build(&t, host, &c);
}
static const uint32_t *leaf(uint32_t l, uint32_t sub)
{
	const struct cpuid_regs *e = cpuid_find(&t, l, sub);

	fix = e->fix;
	return e->r;
}

TEST(recognised_as_vmware)
{
	build(1, 1);
	CHECK(leaf(1, 0)[CPUID_ECX] >> 31 & 1);
	CHECK_EQ(leaf(0x40000000, 0)[CPUID_EAX], 0x40000010);
	CHECK(!memcmp(&leaf(0x40000000, 0)[1], "VMwareVMware", 12));
	CHECK(leaf(0x40000010, 0)[CPUID_EAX] == 1000000 && leaf(0x40000010, 0)[CPUID_ECX] == 1);
	CHECK_EQ(leaf(0x40000001, 0)[CPUID_EAX], 0);
}

TEST(what_does_not_work_is_hidden)
{
	build(1, 1);
	CHECK(!(leaf(1, 0)[CPUID_ECX] & BIT(3)));             /* MONITOR */
	CHECK(leaf(1, 0)[CPUID_ECX] & BIT(21) && leaf(1, 0)[CPUID_ECX] & BIT(24));
	CHECK(!(leaf(0x80000001, 0)[CPUID_ECX] & BIT(2)));    /* SVM */
	CHECK_EQ(leaf(0x8000000a, 0)[CPUID_EBX], 0);
	CHECK(!(leaf(7, 0)[CPUID_EBX] & BIT(14)));            /* MPX: the host does not save it */
	CHECK(!(leaf(7, 0)[CPUID_ECX] & BIT(31)));            /* PKS */
	CHECK(leaf(7, 0)[CPUID_ECX] & BIT(16));               /* LA57 as the machine */
	CHECK(leaf(0x80000008, 0)[CPUID_EBX] & BIT(9));
	CHECK(!(leaf(0x80000008, 0)[CPUID_EBX] & BIT(12)));   /* IBPB */
}

TEST(extended_state)
{
	build(1, 1);
	CHECK_EQ(leaf(0xd, 0)[CPUID_EAX], 0x207);
	CHECK_EQ(leaf(0xd, 0)[CPUID_ECX], 0xa88);
	CHECK_EQ(leaf(0xd, 3)[CPUID_EAX], 0);
	CHECK_EQ(leaf(0xd, 9)[CPUID_EBX], 0xa80);
	CHECK_EQ(cpuid_xsave_size(&t, 7, false), 0x340);
	CHECK_EQ(cpuid_xsave_size(&t, 3, false), 576);
	CHECK_EQ(cpuid_xsave_size(&t, 0x207, true), 0x348);
	CHECK_EQ(leaf(0xd, 63)[CPUID_EAX], 0);
}

TEST(topology)
{
	build(8, 4);
	CHECK_EQ(leaf(1, 0)[CPUID_EBX] >> 16 & 0xff, 4);
	CHECK(leaf(1, 0)[CPUID_EDX] & BIT(28));
	CHECK_EQ(leaf(4, 0)[CPUID_EAX] >> 26, 3);
	CHECK_EQ(leaf(4, 0)[CPUID_EAX] >> 14 & 0xfff, 0);
	CHECK_EQ(leaf(4, 1)[CPUID_EAX] >> 14 & 0xfff, 3);
	CHECK(leaf(0xb, 0)[CPUID_EAX] == 0 && leaf(0xb, 0)[CPUID_EBX] == 1);
	CHECK(leaf(0xb, 1)[CPUID_EAX] == 2 && leaf(0xb, 1)[CPUID_EBX] == 4);
	CHECK(leaf(0xb, 9)[CPUID_EBX] == 0 && fix == FIX_TOPOLOGY);
	CHECK_EQ(leaf(0x80000008, 0)[CPUID_ECX], 2 << 12 | 3);
	build(6, 3);
	CHECK_EQ(leaf(0xb, 1)[CPUID_EAX], 2);
	build(2, 1);
	CHECK(!(leaf(1, 0)[CPUID_EDX] & BIT(28)));
}

TEST(any_leaf_has_an_answer)
{
	build(1, 1);
	CHECK_EQ(leaf(0x20, 0)[CPUID_EAX] | leaf(0xffffffff, 0)[CPUID_EAX] | leaf(0xc0000000, 0)[CPUID_EAX] | leaf(0x40000fff, 7)[CPUID_EAX], 0);
	CHECK_EQ(leaf(7, 2)[CPUID_EBX], 0);
	CHECK_EQ(leaf(0x80000001, 77)[CPUID_EAX], 0x663); /* ECX does not matter */
}

TEST(masks)
{
	build(1, 1);
	CHECK(t.cr4_mask & BIT(12) && t.cr4_mask & BIT(20) && t.cr4_mask & BIT(24));
	CHECK(!(t.cr4_mask & BIT(13)) && !(t.cr4_mask & BIT(23)));
	CHECK_EQ(t.cr4_hidden, 0);
	CHECK_EQ(t.efer_mask, BIT(0) | BIT(8) | BIT(10) | BIT(11) | BIT(14));
	CHECK_EQ(t.phys_bits, 0x28);
}
