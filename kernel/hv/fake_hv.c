/* SPDX-License-Identifier: Apache-2.0 */
/* What the life cycle of VMs stands on, for host unit tests: a backend that only remembers, memory that is only counted, one world. */
#include "hv/fake_hv.h"
#include "arch/host/arch_host.h"
#include <string.h>

uint64_t fake_promised, fake_promisable = GIB(4);
unsigned fake_nested, fake_backends, fake_emuls, fake_flushes;

/* ---- memory ---- */
int mem_promise(uint64_t bytes)
{
	if (bytes > fake_promisable - fake_promised)
		return -ENOMEM;
	fake_promised += bytes;
	return 0;
}
void mem_unpromise(uint64_t bytes) { fake_promised -= bytes; }
int nested_init(struct vm *vm)
{
	void *probe = kmalloc(16, MT_HV); /* so that a planned failure can strike here */

	if (!probe)
		return -ENOMEM;
	kfree(probe);
	vm->nested.root = hpa(4096);
	fake_nested++;
	return 0;
}
void nested_free(struct vm *vm)
{
	if (vm->nested.root.v)
		fake_nested--;
	vm->nested.root = hpa(0);
}
int64_t aspace_map_shared(struct aspace *as, void *kpage, int prot, void (*unref)(void *object), void *object)
{
	(void)as, (void)kpage, (void)prot, (void)unref, (void)object;
	return -ENOMEM;
}

/* ---- the CPU ---- */
size_t arch_fpu_size(void) { return 832; }
uint64_t arch_xcr0_host(void) { return 7; }
void arch_fpu_init(void *area) { memset(area, 0, 832); }
void arch_ipi_send(unsigned cpu, enum ipi kind) { (void)cpu, (void)kind; }

/* ---- scheduling ---- */
void waitq_init(struct waitq *q) { list_init(&q->waiters); }
void waitq_wake_all(struct waitq *q) { (void)q; }
void waitq_add(struct waitq *q, struct waitq_entry *e) { (void)q, (void)e; }
void waitq_remove(struct waitq *q, struct waitq_entry *e) { (void)q, (void)e; }
void world_prepare_block(void) {}
void world_cancel_block(void) {}
bool sched_block_until(uint64_t deadline) { (void)deadline; panic("nobody would wake this world"); }
bool world_wake(struct world *w) { return w != NULL; }
void world_set_group(struct world *w, struct sched_group *g) { w->group = g; }
void world_for_each(void (*fn)(struct world *w, void *ctx), void *ctx) { fn(current, ctx); }
int torture_start(struct vm *vm) { (void)vm; return 0; }
void torture_stop(struct vm *vm) { (void)vm; }

/* ---- guest CPU ---- */
uint64_t vcpu_guest_tsc(const struct vcpu *v) { return arch_rdtsc() + (uint64_t)v->tsc_offset; }
static int cpuid_probe;
int cpuid_create(struct vm *vm) { vm->cpuid = &cpuid_probe; return 0; }
void cpuid_free(struct vm *vm) { vm->cpuid = NULL; }
void cpuid_answer(struct vcpu *v, uint32_t leaf, uint32_t sub, uint32_t out[4]) { (void)v, (void)leaf, (void)sub; out[0] = 0x60fb1; }
uint64_t cpuid_guest_cr4_mask(const struct vm *vm) { (void)vm; return 0x3706ff; }
uint64_t cpuid_guest_efer_mask(const struct vm *vm) { (void)vm; return 0xd01; }
unsigned cpuid_guest_phys_bits(const struct vm *vm) { (void)vm; return 40; }
void cpuid_save(const struct vm *vm, struct state_out *o) { (void)vm; state_begin(o, STATE_CPUID, 1, 0), state_put_u64(o, 0x1234), state_end(o); }
int cpuid_check(const struct vm *vm, struct state_in *in) { (void)vm; return in->tag == STATE_CPUID && state_get_u64(in) == 0x1234 ? 0 : -EINVAL; }
void msr_reset(struct vcpu *v, bool init) { v->pat = init ? v->pat : 0x7040600070406; }
void msr_save(struct vcpu *v, struct state_out *o) { state_begin(o, STATE_MSR, 1, (uint16_t)v->index), state_put_u64(o, v->pat), state_end(o); }
int msr_load(struct vcpu *v, struct state_in *in)
{
	uint64_t pat = state_get_u64(in);

	if (in->bad || in->tag != STATE_MSR)
		return -EINVAL;
	v->pat = pat;
	return 0;
}
int emul_init(struct vcpu *v)
{
	v->emul = kzalloc(8, MT_HV);
	fake_emuls += v->emul != NULL;
	return v->emul ? 0 : -ENOMEM;
}
void emul_free(struct vcpu *v) { fake_emuls--, kfree(v->emul), v->emul = NULL; }
void emul_save(struct vcpu *v, struct state_out *o) { state_begin(o, STATE_EMUL, 1, (uint16_t)v->index), state_end(o); }
int emul_load(struct vcpu *v, struct state_in *in) { (void)v, (void)in; return 0; }

/* ---- the backend ---- */
struct fake_cpu {
	uint64_t cr[HV_CRS];
	uint64_t tsc_offset; /* not part of its record: the hardware's copy of v->tsc_offset */
	struct vmm_segment seg[HV_IDTR + 1];
};
static struct fake_cpu *of(struct vcpu *v) { return v->backend; }
static int fake_vm_init(struct vm *vm) { (void)vm; return 0; }
static void fake_vm_free(struct vm *vm) { (void)vm; }
static void fake_vcpu_reset(struct vcpu *v, bool init)
{
	(void)init;
	memset(of(v)->cr, 0, sizeof(of(v)->cr));
	memset(of(v)->seg, 0, sizeof(of(v)->seg));
}
static int fake_vcpu_init(struct vcpu *v)
{
	v->backend = kzalloc(sizeof(struct fake_cpu), MT_HV);
	fake_backends += v->backend != NULL;
	return v->backend ? 0 : -ENOMEM;
}
static void fake_vcpu_free(struct vcpu *v) { fake_backends--, kfree(v->backend), v->backend = NULL; }
static uint64_t fake_get_cr(struct vcpu *v, enum hv_cr r) { return of(v)->cr[r]; }
static void fake_set_cr(struct vcpu *v, enum hv_cr r, uint64_t val) { of(v)->cr[r] = val; }
static void fake_get_seg(struct vcpu *v, enum hv_seg s, struct vmm_segment *out) { *out = of(v)->seg[s]; }
static void fake_set_seg(struct vcpu *v, enum hv_seg s, const struct vmm_segment *in) { of(v)->seg[s] = *in; }
static void fake_tsc(struct vcpu *v) { of(v)->tsc_offset = (uint64_t)v->tsc_offset; }
uint64_t fake_guest_tsc(struct vcpu *v) { return arch_rdtsc() + of(v)->tsc_offset; }
static void fake_flush(struct vcpu *v) { (void)v; fake_flushes++; }
static void fake_save(struct vcpu *v, struct state_out *o)
{
	state_begin(o, STATE_HW, 1, (uint16_t)v->index);
	state_put(o, of(v)->cr, sizeof(of(v)->cr));
	state_put(o, of(v)->seg, sizeof(of(v)->seg));
	state_end(o);
}
static int fake_load(struct vcpu *v, struct state_in *in)
{
	struct fake_cpu c;

	c.tsc_offset = of(v)->tsc_offset;
	state_get(in, c.cr, sizeof(c.cr));
	state_get(in, c.seg, sizeof(c.seg));
	if (in->bad || in->tag != STATE_HW)
		return -EINVAL;
	*of(v) = c;
	return 0;
}
static const struct hv_ops fake_ops = {
	.name = "fake", .vm_init = fake_vm_init, .vm_free = fake_vm_free, .vcpu_init = fake_vcpu_init, .vcpu_free = fake_vcpu_free,
	.vcpu_reset = fake_vcpu_reset, .get_cr = fake_get_cr, .set_cr = fake_set_cr, .get_seg = fake_get_seg, .set_seg = fake_set_seg,
	.set_tsc_offset = fake_tsc, .flush_guest = fake_flush, .save = fake_save, .load = fake_load,
};
const struct hv_ops *hv = &fake_ops;
