/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A vCPU's life outside the run loop: creation, reset, who is inside run, and how others get its attention.
 *
 *   in ring 3 ── vcpu_enter() ──> v->world set: vcpu_run() may enter the guest ── vcpu_leave() ──> in ring 3
 *
 * v->world changes under wake_lock, so whoever holds it may wake that world. A pause counts up first and then looks at
 * v->world; enter sets v->world first and then looks at the count (both sequentially consistent): one of them sees the other.
 * Requests: bits are set, then the vCPU is looked at; the run loop sets its mode or activity, then looks at the bits.
 */
#include "hv/hv_priv.h"

#define RANK_WAKE ((enum lock_rank)(RANK_HVDEV + 2))
_Static_assert(sizeof(struct vmm_run) <= PAGE_SIZE, "the run page is one page");

/* ---- the run page outlives the vCPU while ring 3 has it mapped ---- */
struct run_page {
	uint32_t refs; /* atomic */
	void *page;
};

static struct run_page *run_page_create(void)
{
	struct run_page *r = kzalloc(sizeof(*r), MT_HV);

	if (!r)
		return NULL;
	r->refs = 1;
	r->page = kpage_zalloc(MT_HV);
	if (r->page)
		return r;
	kfree(r);
	return NULL;
}

static void run_page_unref(void *object)
{
	struct run_page *r = object;

	if (__atomic_sub_fetch(&r->refs, 1, __ATOMIC_ACQ_REL))
		return;
	kpage_free(r->page);
	kfree(r);
}

int64_t vcpu_map_run_page(struct vcpu *v, struct aspace *as, int prot)
{
	struct run_page *r = v->run_page;
	int64_t at;

	__atomic_add_fetch(&r->refs, 1, __ATOMIC_RELAXED);
	at = aspace_map_shared(as, r->page, prot, run_page_unref, r);
	if (at < 0)
		run_page_unref(r);
	return at;
}

/* ---- life ---- */
/* What a rebuild makes anew: everything but the struct, its run page and its FPU area. */
int vcpu_create_parts(struct vcpu *v)
{
	int r = hv->vcpu_init(v);

	if (r < 0)
		return r;
	r = emul_init(v);
	if (r < 0)
		goto err_backend;
	r = irq_vcpu_create(v);
	if (r < 0)
		goto err_emul;
	v->tsc_offset = v->vm->tsc_offset;
	hv->set_tsc_offset(v);
	vcpu_reset(v, false);
	return 0;
err_emul:
	emul_free(v);
err_backend:
	hv->vcpu_free(v);
	v->backend = NULL;
	return r;
}

void vcpu_free_parts(struct vcpu *v)
{
	lapic_free(v->lapic);
	v->lapic = NULL;
	if (v->emul)
		emul_free(v);
	v->emul = NULL;
	if (v->backend)
		hv->vcpu_free(v);
	v->backend = NULL;
}

int vcpu_create(struct vm *vm, unsigned index)
{
	struct vcpu *v = kzalloc(sizeof(*v), MT_HV);
	int r = -ENOMEM;

	if (!v)
		return -ENOMEM;
	v->vm = vm;
	v->index = index;
	v->apic_id = vcpu_topology_id(&vm->config, index);
	spin_init(&v->wake_lock, "vcpu wake", RANK_WAKE);
	v->fpu = kzalloc(ALIGN_UP(arch_fpu_size(), PAGE_SIZE), MT_HV); /* whole pages are aligned enough for XSAVE */
	if (!v->fpu)
		goto err_vcpu;
	v->run_page = run_page_create();
	if (!v->run_page)
		goto err_fpu;
	v->run = v->run_page->page;
	r = vcpu_create_parts(v);
	if (r < 0)
		goto err_run;
	vm->vcpu[index] = v;
	return 0;
err_run:
	run_page_unref(v->run_page);
err_fpu:
	kfree(v->fpu);
err_vcpu:
	kfree(v);
	return r;
}

void vcpu_free(struct vcpu *v)
{
	if (!v)
		return;
	vcpu_free_parts(v);
	run_page_unref(v->run_page);
	kfree(v->fpu);
	kfree(v);
}

/* SDM vol 3 table 10-1; gpr[2] is RDX, the processor's signature. INIT keeps the FPU. */
void vcpu_reset(struct vcpu *v, bool init)
{
	uint32_t id[4];

	hv->vcpu_reset(v, init);
	lapic_reset(v->lapic, init);
	msr_reset(v, init);
	v->apic_base = lapic_base(v->lapic);
	if (!init)
		arch_fpu_init(v->fpu);
	memset(v->gpr, 0, sizeof(v->gpr));
	cpuid_answer(v, 1, 0, id);
	v->gpr[2] = id[0];
	v->rip = 0xfff0;
	v->rflags = 2;
	v->reinject_valid = v->exception_valid = v->shadow_skip = false;
	__atomic_store_n(&v->nmi_pending, 0, __ATOMIC_SEQ_CST);
	__atomic_and_fetch(&v->request, ~(uint32_t)VCPU_REQ_INIT, __ATOMIC_SEQ_CST);
	v->activity = v->index == 0 ? VCPU_ACTIVE : VCPU_WAIT_SIPI;
}

void vcpu_start_sipi(struct vcpu *v, uint8_t vector)
{
	struct vmm_segment cs = { .base = (uint64_t)vector << 12, .limit = 0xffff, .selector = (uint16_t)(vector << 8), .attr = 0x9b };

	hv->set_seg(v, HV_CS, &cs);
	v->rip = 0;
	v->activity = VCPU_ACTIVE;
}

/* ---- who is inside ---- */
int vcpu_claim(struct vcpu *v)
{
	uint64_t flags = spin_lock_irqsave(&v->wake_lock);
	int r = v->world ? -EBUSY : 0;

	if (!r)
		__atomic_store_n(&v->world, current, __ATOMIC_SEQ_CST);
	spin_unlock_irqrestore(&v->wake_lock, flags);
	return r;
}

void vcpu_leave(struct vcpu *v)
{
	uint64_t flags = spin_lock_irqsave(&v->wake_lock);

	__atomic_store_n(&v->world, NULL, __ATOMIC_SEQ_CST);
	spin_unlock_irqrestore(&v->wake_lock, flags);
	if (unlikely(__atomic_load_n(&v->vm->pause_count, __ATOMIC_SEQ_CST)))
		waitq_wake_all(&v->vm->pause_wait);
}

int vcpu_enter(struct vcpu *v)
{
	struct vm *vm = v->vm;
	int r;

	if (unlikely(READ_ONCE(vm->state) == VMM_OFF)) {
		r = vm_start(vm);
		if (r < 0)
			return r;
	}
	r = vcpu_claim(v);
	if (r < 0)
		return r;
	if (unlikely(__atomic_load_n(&vm->pause_count, __ATOMIC_SEQ_CST))) {
		vcpu_leave(v);
		return -EINTR;
	}
	if (unlikely(current->group != &vm->group))
		world_set_group(current, &vm->group);
	return 0;
}

/* ---- attention ---- */
void vcpu_kick(struct vcpu *v)
{
	unsigned cpu;

	if (__atomic_load_n(&v->mode, __ATOMIC_SEQ_CST) != VCPU_GUEST)
		return;
	cpu = READ_ONCE(v->cpu);
	/* On this CPU an interrupt has already taken it out. */
	preempt_disable();
	if (cpu != arch_cpu_id())
		arch_ipi_send(cpu, IPI_RESCHED);
	preempt_enable();
}

void vcpu_request(struct vcpu *v, uint32_t req)
{
	uint64_t flags;

	__atomic_fetch_or(&v->request, req, __ATOMIC_SEQ_CST);
	if (__atomic_load_n(&v->mode, __ATOMIC_SEQ_CST) == VCPU_GUEST) {
		vcpu_kick(v);
		return;
	}
	if (READ_ONCE(v->activity) == VCPU_ACTIVE)
		return; /* the loop looks before it enters */
	flags = spin_lock_irqsave(&v->wake_lock);
	if (v->world)
		world_wake(v->world);
	spin_unlock_irqrestore(&v->wake_lock, flags);
}
