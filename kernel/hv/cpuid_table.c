/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the guest's CPU shows. The rule is the machine's own answer less what does not work in a virtual machine, plus what the
 * virtual machine has: docs/cpuid.md lists every bit that differs and why; its table and the masks here are kept equal.
 * Pure: a test feeds recorded leaves of real machines.
 */
#include "hv/cpuid_table.h"
#include "core/core.h"

#define HV_LEAF 0x40000000u
#define EXT_LEAF 0x80000000u
#define MAX_BASIC 0x1fu
#define MAX_EXT 0x80000021u

/* Leaf 1 */
#define F1C_HIDE (BIT(2) /* DTES64 */ | BIT(3) /* MONITOR */ | BIT(4) /* DS-CPL */ | BIT(5) /* VMX */ | BIT(6) /* SMX */ | BIT(7) /* EIST */ | \
		  BIT(8) /* TM2 */ | BIT(10) /* CNXT-ID */ | BIT(11) /* SDBG */ | BIT(14) /* xTPR */ | BIT(15) /* PDCM */ | BIT(18) /* DCA */ | \
		  BIT(21) /* x2APIC: ours */ | BIT(27) /* OSXSAVE: CR4's */)
#define F1C_X2APIC BIT(21)
#define F1C_DEADLINE BIT(24)
#define F1C_XSAVE BIT(26)
#define F1C_HYPERVISOR BIT(31)
#define F1D_HIDE (BIT(21) /* DS */ | BIT(22) /* ACPI */ | BIT(28) /* HTT: ours */ | BIT(29) /* TM */ | BIT(31) /* PBE */)
#define F1D_HTT BIT(28)
/* Leaf 7, sub-leaf 0 */
#define F7B_HIDE (BIT(2) /* SGX */ | BIT(12) /* PQM */ | BIT(15) /* PQE */ | BIT(25) /* PT */)
#define F7B_MPX BIT(14)
#define F7B_AVX512 (BIT(16) | BIT(17) | BIT(21) | BIT(26) | BIT(27) | BIT(28) | BIT(30) | BIT(31))
#define F7C_HIDE (BIT(4) /* OSPKE: CR4's */ | BIT(5) /* WAITPKG */ | BIT(7) /* CET_SS */ | BIT(13) /* TME */ | BIT(23) /* KL */ | \
		  BIT(24) /* BUS_LOCK */ | BIT(29) /* ENQCMD */ | BIT(30) /* SGX_LC */ | BIT(31) /* PKS */)
#define F7C_PKU BIT(3)
#define F7C_AVX512 (BIT(1) | BIT(6) | BIT(11) | BIT(12) | BIT(14))
#define F7D_HIDE (BIT(1) | BIT(5) /* UINTR */ | BIT(11) | BIT(13) /* TSX force abort */ | BIT(15) /* HYBRID */ | BIT(16) /* TSXLDTRK */ | \
		  BIT(18) /* PCONFIG */ | BIT(19) /* ARCH_LBR */ | BIT(20) /* CET_IBT */ | BIT(26) /* IBRS */ | BIT(27) /* STIBP */ | \
		  BIT(28) /* L1D_FLUSH */ | BIT(29) /* ARCH_CAP */ | BIT(30) /* CORE_CAP */ | BIT(31) /* SSBD */)
#define F7D_AVX512 (BIT(2) | BIT(3) | BIT(8) | BIT(23))
#define F7D_AMX (BIT(22) | BIT(24) | BIT(25))
#define F71A_KEEP (BIT(0) | BIT(1) | BIT(2) | BIT(4) | BIT(5) | BIT(7) | BIT(10) | BIT(11) | BIT(12) | BIT(23))
#define F71D_KEEP (BIT(4) | BIT(5) | BIT(14))
/* Leaf 80000001 */
#define FXC_HIDE (BIT(2) /* SVM */ | BIT(3) /* ExtApicSpace */ | BIT(9) /* OSVW */ | BIT(10) /* IBS */ | BIT(12) /* SKINIT */ | BIT(13) /* WDT */ | \
		  BIT(15) /* LWP */ | BIT(17) /* TCE */ | BIT(19) /* NodeId */ | BIT(23) | BIT(24) | BIT(28) /* counters */ | BIT(26) /* DBX */ | \
		  BIT(27) /* PTSC */ | BIT(29) /* MWAITX */)
#define FXC_CMP_LEGACY BIT(1)
#define FX8B_KEEP (BIT(0) /* CLZERO */ | BIT(2) /* XSAVEERPTR */ | BIT(9) /* WBNOINVD */ | BIT(26) | BIT(29) | BIT(30) /* immune to SSB, BTC, IBPB_RET */)
#define FX21A_KEEP (BIT(0) /* NoNestedDataBp */ | BIT(2) /* LFENCE serializes */ | BIT(6) /* null selector clears base */)

#define XCR0_BND (BIT(3) | BIT(4))
#define XCR0_AVX512 (BIT(5) | BIT(6) | BIT(7))
#define XCR0_PKRU BIT(9)
#define XCR0_AMX (BIT(17) | BIT(18))

static struct cpuid_regs *add(struct cpuid_table *t, uint32_t leaf, uint8_t fix, const uint32_t r[4])
{
	struct cpuid_slot *s = &t->slot[leaf >> 30][leaf & (CPUID_CLASS_LEAVES - 1)];
	struct cpuid_regs *e = &t->entry[t->entries];

	if (t->entries == CPUID_ENTRIES)
		return e - 1;
	if (!s->subs)
		s->first = (uint8_t)t->entries;
	s->subs++;
	s->fix = fix;
	s->single = s->subs == 1 && fix != FIX_EXTENDED;
	t->entries++;
	memcpy(e->r, r, sizeof(e->r));
	e->fix = fix;
	return e;
}

static void build_features(struct cpuid_table *t, uint32_t r[4], const struct cpuid_config *c)
{
	r[CPUID_EBX] = (r[CPUID_EBX] & 0xffff) | t->cores << 16;
	r[CPUID_ECX] &= ~(uint32_t)F1C_HIDE;
	r[CPUID_ECX] |= (uint32_t)(F1C_HYPERVISOR | F1C_DEADLINE | (c->x2apic ? F1C_X2APIC : 0));
	r[CPUID_EDX] &= ~(uint32_t)F1D_HIDE;
	r[CPUID_EDX] |= t->cores > 1 ? (uint32_t)F1D_HTT : 0;
	add(t, 1, FIX_FEATURES, r);
}

static void build_extended(struct cpuid_table *t, cpuid_source *host, uint32_t r[4])
{
	uint64_t x = t->xcr0_mask;
	uint32_t subs = MIN(r[CPUID_EAX], 1u);

	r[CPUID_EAX] = subs;
	r[CPUID_EBX] &= ~(uint32_t)(F7B_HIDE | (x & XCR0_BND ? 0 : F7B_MPX) | (x & XCR0_AVX512 ? 0 : F7B_AVX512));
	r[CPUID_ECX] &= ~(uint32_t)(F7C_HIDE | (x & XCR0_PKRU ? 0 : F7C_PKU) | (x & XCR0_AVX512 ? 0 : F7C_AVX512));
	r[CPUID_EDX] &= ~(uint32_t)(F7D_HIDE | (x & XCR0_AVX512 ? 0 : F7D_AVX512) | (x & XCR0_AMX ? 0 : F7D_AMX));
	add(t, 7, FIX_EXTENDED, r);
	if (!subs)
		return;
	host(7, 1, r);
	r[CPUID_EAX] &= (uint32_t)F71A_KEEP;
	r[CPUID_EBX] = r[CPUID_ECX] = 0;
	r[CPUID_EDX] &= (uint32_t)F71D_KEEP;
	add(t, 7, FIX_EXTENDED, r);
}

static void build_xstate(struct cpuid_table *t, cpuid_source *host, uint32_t r[4])
{
	struct cpuid_regs *first;

	r[CPUID_EAX] = (uint32_t)t->xcr0_mask;
	r[CPUID_EDX] = (uint32_t)(t->xcr0_mask >> 32);
	first = add(t, 0xd, FIX_XSTATE, r);
	host(0xd, 1, r);
	r[CPUID_EAX] &= 0xf;                 /* XSAVEOPT, XSAVEC, XGETBV(1), XSAVES */
	r[CPUID_ECX] = r[CPUID_EDX] = 0;     /* no supervisor component is switched */
	add(t, 0xd, FIX_XSTATE, r);
	for (unsigned i = 2; i < 63 && t->xcr0_mask >> i; i++) {
		static const uint32_t zero[4];

		host(0xd, i, r);
		add(t, 0xd, FIX_XSTATE, t->xcr0_mask >> i & 1 ? r : zero);
	}
	first->r[CPUID_ECX] = cpuid_xsave_size(t, t->xcr0_mask, false);
}

/* Deterministic cache parameters: which of our processors share each cache. Levels 1 and 2 are a core's own. */
static void build_caches(struct cpuid_table *t, cpuid_source *host, uint32_t leaf)
{
	uint32_t r[4];

	for (unsigned sub = 0; sub < 8; sub++) {
		host(leaf, sub, r);
		if (!(r[CPUID_EAX] & 0x1f) && sub)
			return;
		if (r[CPUID_EAX] & 0x1f) {
			uint32_t level = r[CPUID_EAX] >> 5 & 7, sharing = level >= 3 ? (1u << t->core_shift) - 1 : 0;

			r[CPUID_EAX] = (r[CPUID_EAX] & 0x3fff) | sharing << 14;
			if (leaf == 4)
				r[CPUID_EAX] |= ((1u << t->core_shift) - 1) << 26;
		}
		add(t, leaf, FIX_NONE, r);
	}
}

static void build_topology(struct cpuid_table *t)
{
	const uint32_t thread[4] = { 0, 1, 1 << 8, 0 }, core[4] = { t->core_shift, t->cores, 2 << 8 | 1, 0 }, end[4] = { 0, 0, 2, 0 };

	add(t, 0xb, FIX_TOPOLOGY, thread);
	add(t, 0xb, FIX_TOPOLOGY, core);
	add(t, 0xb, FIX_TOPOLOGY, end);
}

static void build_basic(struct cpuid_table *t, cpuid_source *host, const struct cpuid_config *c)
{
	uint32_t r[4], max;

	host(0, 0, r);
	max = r[CPUID_EAX] = MIN(r[CPUID_EAX], MAX_BASIC);
	add(t, 0, FIX_NONE, r);
	for (uint32_t leaf = 1; leaf <= max; leaf++) {
		host(leaf, 0, r);
		switch (leaf) {
		case 1: build_features(t, r, c); break;
		case 4: build_caches(t, host, leaf); break;
		case 6:
			r[CPUID_EAX] = 1 << 2; /* the APIC timer never stops */
			r[CPUID_EBX] = r[CPUID_ECX] = r[CPUID_EDX] = 0;
			add(t, leaf, FIX_NONE, r);
			break;
		case 7: build_extended(t, host, r); break;
		case 0xb: build_topology(t); break;
		case 0xd: build_xstate(t, host, r); break;
		case 2: case 3: case 0x15: case 0x16: add(t, leaf, FIX_NONE, r); break;
		}
	}
}

static void build_hypervisor(struct cpuid_table *t, const struct cpuid_config *c)
{
	const uint32_t vendor[4] = { 0x40000010, 0x61774d56, 0x4d566572, 0x65726177 }; /* "VMwareVMware" */
	const uint32_t timing[4] = { c->tsc_khz, c->bus_khz, c->hypercall_flag, 0 };

	add(t, HV_LEAF, FIX_NONE, vendor);
	add(t, HV_LEAF + 0x10, FIX_NONE, timing);
}

static void build_ext_features(struct cpuid_table *t, uint32_t r[4])
{
	r[CPUID_ECX] &= ~(uint32_t)(FXC_HIDE | FXC_CMP_LEGACY);
	r[CPUID_ECX] |= t->cores > 1 ? (uint32_t)FXC_CMP_LEGACY : 0;
	add(t, EXT_LEAF + 1, FIX_NONE, r);
}

static void build_sizes(struct cpuid_table *t, uint32_t r[4])
{
	r[CPUID_EAX] &= 0xffff; /* guest width as bare: 0 */
	r[CPUID_EBX] &= (uint32_t)FX8B_KEEP;
	r[CPUID_ECX] = t->core_shift << 12 | (t->cores - 1);
	r[CPUID_EDX] = 0;
	t->phys_bits = r[CPUID_EAX] & 0xff;
	add(t, EXT_LEAF + 8, FIX_NONE, r);
}

static void build_ext(struct cpuid_table *t, cpuid_source *host)
{
	uint32_t r[4], max;
	static const uint32_t node[4];

	host(EXT_LEAF, 0, r);
	max = r[CPUID_EAX] = MIN(r[CPUID_EAX], MAX_EXT);
	add(t, EXT_LEAF, FIX_NONE, r);
	for (uint32_t leaf = EXT_LEAF + 1; leaf <= max && leaf > EXT_LEAF; leaf++) {
		host(leaf, 0, r);
		switch (leaf & 0xff) {
		case 0x01: build_ext_features(t, r); break;
		case 0x07:
			r[0] = r[1] = r[2] = 0;
			r[CPUID_EDX] &= 1 << 8; /* invariant TSC as the machine's */
			add(t, leaf, FIX_NONE, r);
			break;
		case 0x08: build_sizes(t, r); break;
		case 0x1d: build_caches(t, host, leaf); break;
		case 0x1e: add(t, leaf, FIX_NODE, node); break;
		case 0x21:
			r[CPUID_EAX] &= (uint32_t)FX21A_KEEP;
			r[1] = r[2] = r[3] = 0;
			add(t, leaf, FIX_NONE, r);
			break;
		case 0x02: case 0x03: case 0x04: case 0x05: case 0x06: case 0x19: case 0x1a: add(t, leaf, FIX_NONE, r); break;
		}
	}
}

uint64_t cpuid_cr4_bits(const uint32_t f1[4], const uint32_t f7[4])
{
	uint64_t bits = 0xf /* VME PVI TSD DE */ | BIT(4) | BIT(5) | BIT(6) | BIT(7) | BIT(8) | BIT(9) | BIT(10);
	static const struct { uint8_t leaf, reg, bit, cr4; } need[] = {
		{ 7, CPUID_ECX, 2, 11 /* UMIP */ }, { 7, CPUID_ECX, 16, 12 /* LA57 */ }, { 1, CPUID_ECX, 5, 13 /* VMXE */ }, { 1, CPUID_ECX, 6, 14 },
		{ 7, CPUID_EBX, 0, 16 /* FSGSBASE */ }, { 1, CPUID_ECX, 17, 17 /* PCIDE */ }, { 1, CPUID_ECX, 26, 18 /* OSXSAVE */ },
		{ 7, CPUID_EBX, 7, 20 /* SMEP */ }, { 7, CPUID_EBX, 20, 21 /* SMAP */ }, { 7, CPUID_ECX, 3, 22 /* PKE */ },
		{ 7, CPUID_ECX, 7, 23 /* CET */ }, { 7, CPUID_EDX, 20, 23 }, { 7, CPUID_ECX, 31, 24 /* PKS */ }, { 7, CPUID_EDX, 5, 25 /* UINTR */ },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(need); i++)
		if ((need[i].leaf == 1 ? f1 : f7)[need[i].reg] >> need[i].bit & 1)
			bits |= BIT(need[i].cr4);
	return bits;
}

/*
 * PKS is not shown, since its rights register would have to be switched; a guest that sets CR4.PKS all the same harms only
 * itself, so the bit stays writable rather than cost an exit at every write of CR4.
 */
static void build_masks(struct cpuid_table *t, cpuid_source *host)
{
	uint32_t h1[4], h7[4], hx[4];
	uint64_t all;

	host(1, 0, h1);
	host(7, 0, h7);
	host(EXT_LEAF + 1, 0, hx);
	all = cpuid_cr4_bits(h1, h7);
	t->cr4_mask = cpuid_cr4_bits(cpuid_find(t, 1, 0)->r, cpuid_find(t, 7, 0)->r) | (all & BIT(24));
	t->cr4_hidden = all & ~t->cr4_mask;
	t->efer_mask = BIT(0) | BIT(8) | BIT(10) | (hx[CPUID_EDX] & BIT(20) ? BIT(11) : 0) | (hx[CPUID_EDX] & BIT(25) ? BIT(14) : 0);
}

void cpuid_build(struct cpuid_table *t, cpuid_source *host, const struct cpuid_config *c)
{
	uint32_t r[4], cores = c->cores_per_socket ? c->cores_per_socket : 1;

	memset(t, 0, sizeof(*t));
	t->vcpus = c->vcpus;
	t->cores = MIN(cores, c->vcpus);
	t->core_shift = cores > 1 ? 32 - (uint32_t)__builtin_clz(cores - 1) : 0; /* as vcpu_topology_id() places them */
	t->phys_bits = 36;
	host(1, 0, r);
	if (r[CPUID_ECX] & F1C_XSAVE) {
		host(0xd, 0, r);
		t->xcr0_mask = (r[CPUID_EAX] | (uint64_t)r[CPUID_EDX] << 32) & c->host_xcr0;
	}
	build_basic(t, host, c);
	build_hypervisor(t, c);
	build_ext(t, host);
	build_masks(t, host);
}

const struct cpuid_regs cpuid_zero;

uint32_t cpuid_xsave_size(const struct cpuid_table *t, uint64_t components, bool compact)
{
	uint32_t size = 576; /* legacy area and header */

	for (unsigned i = 2; i < 63 && components >> i; i++) {
		const uint32_t *r;

		if (!(components >> i & 1))
			continue;
		r = cpuid_find(t, 0xd, i)->r;
		if (compact)
			size = (r[CPUID_ECX] & 2 ? (uint32_t)ALIGN_UP(size, 64) : size) + r[CPUID_EAX];
		else
			size = MAX(size, r[CPUID_EBX] + r[CPUID_EAX]);
	}
	return size;
}
