/* SPDX-License-Identifier: Apache-2.0 */
/* The guest's CPU of a VM: the table built at its creation (cpuid_table.c), and the few answers that follow a vCPU's state. */
#include "hv/cpuid_table.h"
#include "hv/hv_priv.h"

#define CR4_OSXSAVE BIT(18)
#define CR4_PKE BIT(22)

static const struct cpuid_table *table_of(const struct vm *vm) { return vm->cpuid; }

int cpuid_create(struct vm *vm)
{
	const struct cpuid_config c = {
		.vcpus = vm->config.vcpus, .cores_per_socket = vm->config.cores_per_socket, .x2apic = !(vm->config.flags & VMM_F_NO_X2APIC),
		.host_xcr0 = arch_xcr0_host(), .tsc_khz = (uint32_t)(tsc_hz / 1000), .bus_khz = LAPIC_TIMER_HZ / 1000,
		.hypercall_flag = hv ? hv->hypercall_flag : 0,
	};

	vm->cpuid = kmalloc(sizeof(struct cpuid_table), MT_HV);
	if (!vm->cpuid)
		return -ENOMEM;
	cpuid_build(vm->cpuid, arch_cpuid, &c);
	return 0;
}

void cpuid_free(struct vm *vm)
{
	kfree(vm->cpuid);
	vm->cpuid = NULL;
}

static void answer_state(struct vcpu *v, const struct cpuid_table *t, uint8_t fix, uint32_t sub, uint32_t out[4])
{
	switch (fix) {
	case FIX_FEATURES:
		out[CPUID_EBX] |= v->apic_id << 24;
		if (hv->get_cr(v, HV_CR4) & CR4_OSXSAVE)
			out[CPUID_ECX] |= 1 << 27;
		break;
	case FIX_EXTENDED:
		if (sub == 0 && hv->get_cr(v, HV_CR4) & CR4_PKE)
			out[CPUID_ECX] |= 1 << 4;
		break;
	case FIX_TOPOLOGY:
		out[CPUID_ECX] = (out[CPUID_ECX] & ~0xffu) | (sub & 0xff);
		out[CPUID_EDX] = v->apic_id;
		break;
	case FIX_XSTATE:
		vcpu_sync_xcr0(v);
		if (sub < 2)
			out[CPUID_EBX] = cpuid_xsave_size(t, sub ? v->xcr0 | v->xss : v->xcr0, sub);
		break;
	case FIX_NODE:
		out[CPUID_EAX] = v->apic_id;
		out[CPUID_EBX] = v->apic_id & ((1u << t->core_shift) - 1);
		out[CPUID_ECX] = v->apic_id >> t->core_shift;
		break;
	}
}

void cpuid_answer(struct vcpu *v, uint32_t leaf, uint32_t sub, uint32_t out[4])
{
	const struct cpuid_table *t = table_of(v->vm);
	const struct cpuid_regs *e = cpuid_find(t, leaf, sub);

	out[0] = e->r[0];
	out[1] = e->r[1];
	out[2] = e->r[2];
	out[3] = e->r[3];
	if (e->fix)
		answer_state(v, t, (uint8_t)e->fix, sub, out);
}

void cpuid_execute(struct vcpu *v)
{
	uint32_t leaf = (uint32_t)v->gpr[0], sub = (uint32_t)v->gpr[1], out[4];
	const struct cpuid_regs *e = cpuid_find(table_of(v->vm), leaf, sub);
	const uint32_t *r = e->r;

	if (unlikely(e->fix)) {
		cpuid_answer(v, leaf, sub, out);
		r = out;
	}
	v->gpr[0] = r[CPUID_EAX];
	v->gpr[3] = r[CPUID_EBX];
	v->gpr[1] = r[CPUID_ECX];
	v->gpr[2] = r[CPUID_EDX];
}

uint64_t cpuid_guest_xcr0_mask(const struct vm *vm) { return table_of(vm)->xcr0_mask; }
uint64_t cpuid_guest_cr4_mask(const struct vm *vm) { return table_of(vm)->cr4_mask; }
uint64_t cpuid_guest_efer_mask(const struct vm *vm) { return table_of(vm)->efer_mask; }
uint64_t cpuid_hidden_cr4(const struct vm *vm) { return table_of(vm)->cr4_hidden; }
unsigned cpuid_guest_phys_bits(const struct vm *vm) { return table_of(vm)->phys_bits; }

void cpuid_save(const struct vm *vm, struct state_out *o)
{
	state_begin(o, STATE_CPUID, 1, 0);
	state_put(o, vm->cpuid, sizeof(struct cpuid_table));
	state_end(o);
}

int cpuid_check(const struct vm *vm, struct state_in *in)
{
	if (in->tag != STATE_CPUID || in->left != sizeof(struct cpuid_table) || memcmp(in->p, vm->cpuid, in->left))
		return -EINVAL;
	return 0;
}
