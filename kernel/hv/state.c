/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel's part of a VM's state: vm_save() writes records in one fixed order, vm_load() takes them in that order.
 *
 *   VM, CPID, { VCPU, backend's, MSRs, EMUL, LAPC } per vCPU, PIC, IOAP, PIT
 *
 * The VM is paused for both: no vCPU is inside run, no device timer runs, so the records are one instant. Guest time is in the VM
 * record; at load the VM's clock goes on from there, and all deadlines, kept in guest time, follow. A load that is refused midway
 * puts back what was there, saved beforehand: the caller finds the VM as before. Input is hostile (it may come from a file).
 */
#include "hv/hv_priv.h"

#define GUEST_TSC_MAX (1ull << 62)

/* ---- the VM's record ---- */
struct vm_record { /* version 1 */
	uint64_t memory, guest_tsc;
	uint32_t vcpus, cores_per_socket, flags, nr_ranges;
	struct { uint64_t base, size; uint32_t kind, pad; } range[VM_MAX_RANGES];
};

static void vm_record_fill(const struct vm *vm, struct vm_record *r)
{
	memset(r, 0, sizeof(*r));
	r->memory = vm->config.memory;
	r->guest_tsc = arch_rdtsc() + (uint64_t)vm->tsc_offset;
	r->vcpus = vm->config.vcpus;
	r->cores_per_socket = vm->config.cores_per_socket;
	r->flags = vm->config.flags;
	r->nr_ranges = vm->nr_ranges;
	for (unsigned i = 0; i < vm->nr_ranges; i++) {
		r->range[i].base = vm->range[i].base.v;
		r->range[i].size = vm->range[i].size;
		r->range[i].kind = vm->range[i].kind;
	}
}

/* A state fits only a VM of the same set-up. */
static int vm_record_load(struct vm *vm, struct state_in *in)
{
	struct vm_record r, own;
	uint64_t tsc;

	state_get(in, &r, sizeof(r));
	if (in->bad || in->tag != STATE_VM || in->version != 1)
		return -EINVAL;
	tsc = r.guest_tsc;
	vm_record_fill(vm, &own);
	own.guest_tsc = r.guest_tsc;
	if (tsc >= GUEST_TSC_MAX || memcmp(&r, &own, sizeof(r)))
		return -EINVAL;
	vm->tsc_offset = (int64_t)(tsc - arch_rdtsc());
	return 0;
}

/* ---- a vCPU's record: what no other file saves ---- */
struct vcpu_record { /* version 1; then the FPU area, then the exit that ring 3 answers, if any */
	uint64_t gpr[16], rip, rflags;
	uint64_t tsc_ahead; /* of the VM's clock, by the guest's own writes */
	struct { uint32_t type, error; uint8_t vector, has_error, valid, pad[5]; } reinject, exception;
	uint32_t request, nmi_pending, activity, fpu_size;
	uint8_t sipi_vector, shadow_skip, answer_pending, pad[5];
};
#define SAVED_REQUESTS (VCPU_REQ_INIT | VCPU_REQ_SIPI) /* a load asks for the rest */
#define RUN_SAVED offsetof(struct vmm_run, report)

static void vcpu_record_save(struct vcpu *v, struct state_out *o)
{
	struct vcpu_record r;

	memset(&r, 0, sizeof(r));
	memcpy(r.gpr, v->gpr, sizeof(r.gpr));
	r.rip = v->rip;
	r.rflags = v->rflags;
	r.tsc_ahead = (uint64_t)v->tsc_offset - (uint64_t)v->vm->tsc_offset;
	r.reinject.type = v->reinject.type;
	r.reinject.error = v->reinject.error;
	r.reinject.vector = v->reinject.vector;
	r.reinject.has_error = v->reinject.has_error;
	r.reinject.valid = v->reinject_valid;
	r.exception.type = v->exception.type;
	r.exception.error = v->exception.error;
	r.exception.vector = v->exception.vector;
	r.exception.has_error = v->exception.has_error;
	r.exception.valid = v->exception_valid;
	r.request = READ_ONCE(v->request) & SAVED_REQUESTS;
	r.nmi_pending = v->nmi_pending;
	r.activity = v->activity;
	r.fpu_size = (uint32_t)arch_fpu_size();
	r.sipi_vector = v->sipi_vector;
	r.shadow_skip = v->shadow_skip;
	r.answer_pending = v->answer_pending;
	state_begin(o, STATE_VCPU, 1, (uint16_t)v->index);
	state_put(o, &r, sizeof(r));
	state_put(o, v->fpu, arch_fpu_size());
	if (v->answer_pending)
		state_put(o, v->run, RUN_SAVED);
	state_end(o);
}

static bool event_legal(uint32_t type, uint8_t vector, uint8_t has_error, uint8_t valid)
{
	if (valid > 1 || has_error > 1 || type > HV_EV_SOFT)
		return false;
	return !valid || type != HV_EV_EXCEPTION || (vector < 32 && vector != 2);
}

static bool vcpu_record_legal(const struct vcpu_record *r)
{
	bool triple = r->exception.valid == 1 && r->exception.vector == VCPU_TRIPLE_FAULT;

	if (!event_legal(r->reinject.type, r->reinject.vector, r->reinject.has_error, r->reinject.valid))
		return false;
	if (!triple && !event_legal(r->exception.type, r->exception.vector, r->exception.has_error, r->exception.valid))
		return false;
	if (r->exception.valid && r->exception.type != HV_EV_EXCEPTION)
		return false;
	return !(r->request & ~(uint32_t)SAVED_REQUESTS) && r->nmi_pending <= 2 && r->activity <= VCPU_WAIT_SIPI && r->shadow_skip <= 1 &&
	       r->answer_pending <= 1 && r->fpu_size == arch_fpu_size();
}

/* XRSTOR in ring 0 faults on a malformed area: SDM vol 1, 13.12. */
#define FPU_MXCSR 24
#define FPU_HEADER 512
static bool fpu_legal(const uint8_t *area)
{
	uint32_t mxcsr;
	uint64_t header[8];

	memcpy(&mxcsr, area + FPU_MXCSR, sizeof(mxcsr));
	if (mxcsr >> 16)
		return false;
	if (!arch_xcr0_host())
		return true; /* FXRSTOR: no header */
	memcpy(header, area + FPU_HEADER, sizeof(header));
	for (unsigned i = 1; i < 8; i++)
		if (header[i])
			return false;
	return !(header[0] & ~arch_xcr0_host());
}

static void vcpu_record_apply(struct vcpu *v, const struct vcpu_record *r)
{
	memcpy(v->gpr, r->gpr, sizeof(v->gpr));
	v->rip = r->rip;
	v->rflags = r->rflags | 2;
	v->tsc_offset = (int64_t)((uint64_t)v->vm->tsc_offset + r->tsc_ahead);
	hv->set_tsc_offset(v);
	v->reinject = (struct hv_event){ (enum hv_event_type)r->reinject.type, r->reinject.vector, r->reinject.has_error, r->reinject.error };
	v->reinject_valid = r->reinject.valid;
	v->exception = (struct hv_event){ (enum hv_event_type)r->exception.type, r->exception.vector, r->exception.has_error, r->exception.error };
	v->exception_valid = r->exception.valid;
	v->nmi_pending = r->nmi_pending;
	v->activity = (enum vcpu_activity)r->activity;
	v->sipi_vector = r->sipi_vector;
	v->shadow_skip = r->shadow_skip;
	v->answer_pending = r->answer_pending;
	__atomic_store_n(&v->request, r->request | VCPU_REQ_EVENT | VCPU_REQ_FLUSH, __ATOMIC_SEQ_CST);
}

static int vcpu_record_load(struct vcpu *v, struct state_in *in)
{
	size_t fpu = arch_fpu_size();
	struct vcpu_record r;
	struct state_in rest;

	if (in->tag != STATE_VCPU || in->version != 1 || in->instance != v->index)
		return -EINVAL;
	state_get(in, &r, sizeof(r));
	if (in->bad || !vcpu_record_legal(&r))
		return -EINVAL;
	rest = *in;
	if (rest.left < fpu + (r.answer_pending ? RUN_SAVED : 0) || !fpu_legal(rest.p))
		return -EINVAL;
	state_get(in, v->fpu, fpu);
	if (r.answer_pending)
		state_get(in, v->run, RUN_SAVED);
	vcpu_record_apply(v, &r);
	return 0;
}

/* ---- all of it ---- */
static void save_locked(struct vm *vm, struct state_out *o)
{
	struct vm_record r;

	vm_record_fill(vm, &r);
	state_begin(o, STATE_VM, 1, 0);
	state_put(o, &r, sizeof(r));
	state_end(o);
	cpuid_save(vm, o);
	for (unsigned i = 0; i < vm->config.vcpus; i++) {
		struct vcpu *v = vm->vcpu[i];

		vcpu_record_save(v, o);
		hv->save(v, o);
		msr_save(v, o);
		emul_save(v, o);
		lapic_save(v->lapic, o);
	}
	irq_save(vm, o);
}

int vm_save(struct vm *vm, struct state_out *o)
{
	int r = vm_lock_paused(vm);

	if (r < 0)
		return r;
	save_locked(vm, o);
	mutex_unlock(&vm->lock);
	return 0;
}

struct cursor {
	const uint8_t *buf;
	size_t len, pos;
};

static int load_record(struct cursor *c, struct state_in *in) { return state_next(c->buf, c->len, &c->pos, in) ? 0 : -EINVAL; }

static int load_emul(struct vcpu *v, struct state_in *in) { return in->tag == STATE_EMUL ? emul_load(v, in) : -EINVAL; }
static int load_lapic(struct vcpu *v, struct state_in *in) { return in->tag == STATE_LAPIC ? lapic_load(v->lapic, in) : -EINVAL; }

static int load_vcpu(struct vcpu *v, struct cursor *c)
{
	static int (*const part[])(struct vcpu *v, struct state_in *in) = { vcpu_record_load, NULL, msr_load, load_emul, load_lapic };
	struct state_in in;

	for (unsigned i = 0; i < ARRAY_SIZE(part); i++) {
		int r = load_record(c, &in);

		if (r == 0)
			r = part[i] ? part[i](v, &in) : hv->load(v, &in);
		if (r < 0)
			return r;
	}
	v->apic_base = lapic_base(v->lapic);
	hv->flush_guest(v);
	return 0;
}

static int load_locked(struct vm *vm, const uint8_t *buf, size_t len)
{
	static const uint32_t shared[] = { STATE_PIC, STATE_IOAPIC, STATE_PIT };
	struct cursor c = { buf, len, 0 };
	struct state_in in;

	if (load_record(&c, &in) || vm_record_load(vm, &in))
		return -EINVAL;
	if (load_record(&c, &in) || cpuid_check(vm, &in))
		return -EINVAL;
	for (unsigned i = 0; i < vm->config.vcpus; i++)
		if (load_vcpu(vm->vcpu[i], &c))
			return -EINVAL;
	for (unsigned i = 0; i < ARRAY_SIZE(shared); i++)
		if (load_record(&c, &in) || in.tag != shared[i] || irq_load(vm, &in))
			return -EINVAL;
	return c.pos == len ? 0 : -EINVAL;
}

/* What stands now, in a buffer of its own; NULL without memory. */
static uint8_t *snapshot(struct vm *vm, size_t *len)
{
	struct state_out o = { .buf = NULL };
	uint8_t *buf;

	save_locked(vm, &o);
	buf = kmalloc(o.len, MT_STATE);
	if (!buf)
		return NULL;
	*len = o.len;
	o = (struct state_out){ .buf = buf, .cap = *len };
	save_locked(vm, &o);
	return buf;
}

int vm_load(struct vm *vm, const uint8_t *buf, size_t len)
{
	size_t before_len;
	uint8_t *before;
	int r = vm_lock_paused(vm);

	if (r < 0)
		return r;
	r = -ENOMEM;
	before = snapshot(vm, &before_len);
	if (before) {
		r = load_locked(vm, buf, len);
		if (r < 0 && load_locked(vm, before, before_len) < 0)
			vm->broken = true; /* what this kernel wrote it cannot read */
		kfree(before);
	}
	mutex_unlock(&vm->lock);
	return r;
}
