/* SPDX-License-Identifier: Apache-2.0 */
/* The guest's CPU as data: built once from a source of host leaves (the machine, or a test's recording), looked up in a few steps. */
#ifndef HV_CPUID_TABLE_H
#define HV_CPUID_TABLE_H

#include "core/types.h"
#include "abi/vmm.h"

enum { CPUID_EAX, CPUID_EBX, CPUID_ECX, CPUID_EDX };
/* What of an answer follows the asking vCPU's state. */
enum cpuid_fix { FIX_NONE, FIX_FEATURES /* 1 */, FIX_EXTENDED /* 7 */, FIX_TOPOLOGY /* b */, FIX_XSTATE /* d */, FIX_NODE /* 8000001e */ };

struct cpuid_regs { uint32_t r[4]; uint32_t fix; };

#define CPUID_CLASS_LEAVES 64  /* kept of each class: basic, hypervisor, extended */
#define CPUID_ENTRIES 192
struct cpuid_slot { uint8_t first, subs, fix, single; }; /* subs 0: all zero; a sub-leaf past the last is zero; single: ECX does not matter */
struct cpuid_table {
	struct cpuid_slot slot[4][CPUID_CLASS_LEAVES]; /* class = leaf >> 30 */
	struct cpuid_regs entry[CPUID_ENTRIES];
	uint32_t entries, cores, core_shift, vcpus;
	uint32_t phys_bits;
	uint64_t xcr0_mask, cr4_mask, cr4_hidden, efer_mask;
};

struct cpuid_config {
	uint32_t vcpus, cores_per_socket;
	bool x2apic;
	uint64_t host_xcr0;      /* components that the host saves */
	uint32_t tsc_khz, bus_khz, hypercall_flag;
};
typedef void cpuid_source(uint32_t leaf, uint32_t sub, uint32_t r[4]);

void cpuid_build(struct cpuid_table *t, cpuid_source *host, const struct cpuid_config *c);
extern const struct cpuid_regs cpuid_zero;
static inline const struct cpuid_regs *cpuid_find(const struct cpuid_table *t, uint32_t leaf, uint32_t sub)
{
	const struct cpuid_slot *s = &t->slot[leaf >> 30][leaf & (CPUID_CLASS_LEAVES - 1)];

	if ((leaf & 0x3fffffff) >= CPUID_CLASS_LEAVES || !s->subs)
		return &cpuid_zero;
	if (s->single)
		sub = 0; /* ECX does not matter */
	else if (sub >= s->subs)
		return s->fix == FIX_TOPOLOGY ? &t->entry[s->first + s->subs - 1] : &cpuid_zero;
	return &t->entry[s->first + sub];
}
/* Size of an XSAVE area for these components, standard or compacted format. */
uint32_t cpuid_xsave_size(const struct cpuid_table *t, uint64_t components, bool compact);
uint64_t cpuid_cr4_bits(const uint32_t leaf1[4], const uint32_t leaf7[4]); /* CR4 bits of a CPU with these features */

#endif
