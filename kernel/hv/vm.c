/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A VM's life: creation with admission, its ranges, pause and resume, reset, rebuild, destruction.
 *
 *          vm_start()            vm_pause()
 *   OFF ───────────────> RUNNING <──────────> PAUSED        the only setter is vm_set_state(), a compare-and-swap
 *                           │      vm_resume()  │  ^
 *                           └──> STOPPED <──────┘  │ vm_reset()
 *                                   └──────────────┘
 *
 * Invariants: 1. vm->lock (sleeping) orders set-up, pause, save, load, reset, rebuild and line changes from ring 3; a vCPU's world never
 * takes it while inside run, so a pause may hold it while it waits. 2. pause_count > 0 and vm->lock free: no vCPU is inside run
 * and no device timer runs. 3. The VM lives while it has references; its handle holds one. Destruction finds nobody inside run, since
 * every system call on the handle holds the handle. 4. What is promised at creation is given back at destruction, to the byte.
 */
#include "hv/hv_priv.h"

#define VMS_MAX 256
#define VM_MEMORY_MAX (1ull << 42)
#define PAUSES_MAX 1000000u
/* Beside the guest's memory: nested tables (a whole block, more with size), and each vCPU's pages. */
#define OVERHEAD_BASE BLOCK_SIZE
#define OVERHEAD_PER_VCPU KIB(32)

static struct mutex vms_lock;       /* orders creation and destruction */
static struct list vms = LIST_INIT(vms);
static uint8_t vm_ids[VMS_MAX];     /* vms_lock */

static void vms_init(void) { mutex_init(&vms_lock, "vms"); }
INIT_CALL(INIT_SCHED, vms_init);

/* ---- states ---- */
static bool transition_exists(enum vmm_state from, enum vmm_state to)
{
	switch (from) {
	case VMM_OFF: return to == VMM_RUNNING;
	case VMM_RUNNING: return to == VMM_PAUSED || to == VMM_STOPPED;
	case VMM_PAUSED: return to == VMM_RUNNING || to == VMM_STOPPED;
	case VMM_STOPPED: return to == VMM_PAUSED;
	}
	return false;
}

int vm_set_state(struct vm *vm, enum vmm_state to)
{
	enum vmm_state from = __atomic_load_n(&vm->state, __ATOMIC_ACQUIRE);

	do {
		if (!transition_exists(from, to))
			return -EINVAL;
	} while (!__atomic_compare_exchange_n(&vm->state, &from, to, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE));
	return 0;
}

/* ---- creation ---- */
static int config_check(const struct vmm_create *c)
{
	if (c->memory < MIB(4) || c->memory % MIB(4) || c->memory > VM_MEMORY_MAX)
		return -EINVAL;
	if (!c->vcpus || c->vcpus > VMM_MAX_VCPUS || c->cores_per_socket > VMM_MAX_VCPUS || c->shares > 1000000)
		return -EINVAL;
	if (c->flags & ~(uint32_t)VMM_F_NO_X2APIC)
		return -EINVAL;
	for (unsigned i = 0; i < ARRAY_SIZE(c->reserved); i++)
		if (c->reserved[i])
			return -EINVAL;
	return 0;
}

static int id_alloc(void)
{
	int id = -ENOSPC;

	mutex_lock(&vms_lock);
	for (int i = 0; i < VMS_MAX && id < 0; i++)
		if (!vm_ids[i])
			vm_ids[id = i] = 1;
	mutex_unlock(&vms_lock);
	return id;
}

static void id_free(unsigned id)
{
	mutex_lock(&vms_lock);
	vm_ids[id] = 0;
	mutex_unlock(&vms_lock);
}

static uint64_t overhead(const struct vmm_create *c)
{
	return ALIGN_UP(OVERHEAD_BASE + c->memory / 2048 + c->vcpus * OVERHEAD_PER_VCPU, BLOCK_SIZE);
}

static int promise(struct vm *vm, uint64_t bytes)
{
	int r = mem_promise(bytes);

	if (r == 0)
		vm->promised += bytes;
	return r;
}

static void free_vcpus(struct vm *vm)
{
	for (unsigned i = 0; i < vm->config.vcpus; i++) {
		struct vcpu *v = vm->vcpu[i];

		vm->vcpu[i] = NULL;
		vcpu_free(v);
	}
}

static int create_vcpus(struct vm *vm)
{
	for (unsigned i = 0; i < vm->config.vcpus; i++) {
		int r = vcpu_create(vm, i);

		if (r < 0) {
			free_vcpus(vm);
			return r;
		}
	}
	return 0;
}

static void vm_init(struct vm *vm, const struct vmm_create *c, int id)
{
	vm->id = (unsigned)id;
	vm->config = *c;
	vm->config.name[VMM_NAME_MAX - 1] = 0;
	vm->refs = 1;
	vm->group.shares = c->shares ? c->shares : 1000 * c->vcpus;
	vm->tsc_offset = -(int64_t)arch_rdtsc();
	mutex_init(&vm->lock, "vm");
	waitq_init(&vm->pause_wait);
	list_init(&vm->link);
}

/* Each step is undone below by the label after it, in reverse. */
static int vm_build(struct vm *vm)
{
	int r = promise(vm, vm->config.memory + overhead(&vm->config));

	if (r < 0)
		return r;
	r = nested_init(vm);
	if (r < 0)
		goto err_promise;
	r = cpuid_create(vm);
	if (r < 0)
		goto err_nested;
	r = hv->vm_init(vm);
	if (r < 0)
		goto err_cpuid;
	r = -ENOMEM;
	vm->user_ports = kzalloc(65536 / 8, MT_HV);
	if (!vm->user_ports)
		goto err_backend;
	r = irq_create(vm);
	if (r < 0)
		goto err_ports;
	r = create_vcpus(vm);
	if (r == 0)
		return 0;
	irq_free(vm);
err_ports:
	kfree(vm->user_ports);
err_backend:
	hv->vm_free(vm);
err_cpuid:
	cpuid_free(vm);
err_nested:
	nested_free(vm);
err_promise:
	mem_unpromise(vm->promised);
	return r;
}

int vm_create(const struct vmm_create *config, struct vm **out)
{
	struct vm *vm;
	int id, r = config_check(config);

	if (r < 0)
		return r;
	if (!hv)
		return -ENODEV;
	id = id_alloc();
	if (id < 0)
		return id;
	r = -ENOMEM;
	vm = kzalloc(sizeof(*vm), MT_HV);
	if (!vm)
		goto err_id;
	vm_init(vm, config, id);
	r = vm_build(vm);
	if (r < 0)
		goto err_vm;
	mutex_lock(&vms_lock);
	list_push_back(&vms, &vm->link);
	mutex_unlock(&vms_lock);
	*out = vm;
	return 0;
err_vm:
	kfree(vm);
err_id:
	id_free((unsigned)id);
	return r;
}

/* ---- references and the end ---- */
void vm_ref(struct vm *vm) { __atomic_add_fetch(&vm->refs, 1, __ATOMIC_RELAXED); }

/* Its threads live on as ordinary worlds, and must not pay into a group that is gone. */
static void leave_group(struct world *w, void *vm)
{
	if (w->group == &((struct vm *)vm)->group)
		world_set_group(w, NULL);
}

static void vm_destroy(struct vm *vm)
{
	mutex_lock(&vms_lock);
	list_remove(&vm->link);
	mutex_unlock(&vms_lock);
	torture_stop(vm);
	world_for_each(leave_group, vm);
	irq_free(vm);
	free_vcpus(vm);
	kfree(vm->user_ports);
	hv->vm_free(vm);
	cpuid_free(vm);
	nested_free(vm);
	mem_unpromise(vm->promised);
	id_free(vm->id);
	kfree(vm);
}

void vm_unref(struct vm *vm)
{
	if (__atomic_sub_fetch(&vm->refs, 1, __ATOMIC_ACQ_REL) == 0)
		vm_destroy(vm);
}

/* fn may sleep; it must not create or drop VMs. */
void vm_for_each(void (*fn)(struct vm *vm, void *ctx), void *ctx)
{
	mutex_lock(&vms_lock);
	list_for_each(p, &vms)
		fn(list_entry(p, struct vm, link), ctx);
	mutex_unlock(&vms_lock);
}

/* ---- ranges ---- */
#define HOLE_BASE 0xa0000ull /* legacy video memory: never RAM; an MMIO range may lie in it */
#define HOLE_END 0xc0000ull
#define APICS_BASE 0xfec00000ull
#define APICS_END 0xfef00000ull

static bool in_hole(uint64_t base, uint64_t end) { return base >= HOLE_BASE && end <= HOLE_END; }

const struct vm_range *vm_range_find(const struct vm *vm, gpa_t gpa)
{
	bool hole = gpa.v >= HOLE_BASE && gpa.v < HOLE_END;

	for (unsigned i = 0; i < vm->nr_ranges && vm->range[i].base.v <= gpa.v; i++)
		if (gpa.v - vm->range[i].base.v < vm->range[i].size && !(hole && vm->range[i].kind == VMM_RANGE_RAM))
			return &vm->range[i];
	return NULL;
}

static bool ranges_clash(const struct vm_range *a, const struct vmm_range *b)
{
	uint64_t end = b->gpa + b->size;

	if (a->base.v >= end || b->gpa >= a->base.v + a->size)
		return false;
	return !(a->kind == VMM_RANGE_RAM && b->kind == VMM_RANGE_MMIO3 && in_hole(b->gpa, end)) &&
	       !(a->kind == VMM_RANGE_MMIO3 && b->kind == VMM_RANGE_RAM && in_hole(a->base.v, a->base.v + a->size));
}

static int range_check(const struct vm *vm, const struct vmm_range *r)
{
	uint64_t unit = r->kind == VMM_RANGE_RAM ? BLOCK_SIZE : PAGE_SIZE, limit = 1ull << MIN(cpuid_guest_phys_bits(vm), 46u), ram = 0;

	if (r->kind < VMM_RANGE_RAM || r->kind > VMM_RANGE_MMIO3 || r->reserved)
		return -EINVAL;
	if (!r->size || r->gpa % unit || r->size % unit || r->gpa >= limit || r->size > limit - r->gpa)
		return -EINVAL;
	if (r->gpa < APICS_END && r->gpa + r->size > APICS_BASE)
		return -EINVAL;
	if (vm->nr_ranges == VM_MAX_RANGES)
		return -ENOSPC;
	for (unsigned i = 0; i < vm->nr_ranges; i++) {
		if (ranges_clash(&vm->range[i], r))
			return -EEXIST;
		ram += vm->range[i].kind == VMM_RANGE_RAM ? vm->range[i].size : 0;
	}
	return r->kind == VMM_RANGE_RAM && r->size > vm->config.memory - ram ? -ENOMEM : 0;
}

/* ROM is memory too, and beyond what creation promised. */
int vm_add_range(struct vm *vm, const struct vmm_range *r)
{
	unsigned at;
	int err;

	mutex_lock(&vm->lock);
	err = vm->state == VMM_OFF ? range_check(vm, r) : -EBUSY;
	if (err == 0 && r->kind == VMM_RANGE_ROM)
		err = promise(vm, ALIGN_UP(r->size, BLOCK_SIZE));
	if (err == 0) {
		for (at = vm->nr_ranges; at && vm->range[at - 1].base.v > r->gpa; at--)
			vm->range[at] = vm->range[at - 1];
		vm->range[at] = (struct vm_range){ gpa(r->gpa), r->size, (enum vmm_range_kind)r->kind };
		vm->nr_ranges++;
	}
	mutex_unlock(&vm->lock);
	return err;
}

/* Ports of ring-0 devices within a claim stay theirs. */
int vm_claim_ports(struct vm *vm, const struct vmm_ports *p)
{
	int err = 0;

	if (!p->count || p->reserved || (uint32_t)p->base + p->count > 65536)
		return -EINVAL;
	mutex_lock(&vm->lock);
	if (vm->state != VMM_OFF)
		err = -EBUSY;
	for (uint32_t port = p->base; err == 0 && port < (uint32_t)p->base + p->count; port++)
		vm->user_ports[port / 8] |= (uint8_t)BIT(port % 8);
	mutex_unlock(&vm->lock);
	return err;
}

/* ---- running, pausing ---- */
int vm_start(struct vm *vm)
{
	int r = 0;

	mutex_lock(&vm->lock);
	if (vm->broken)
		r = -EIO;
	else if (vm->pause_count)
		r = -EINTR;
	else if (vm->state == VMM_OFF && vm->config.torture_memory && !vm->torture)
		r = torture_start(vm);
	if (r == 0 && vm->state == VMM_OFF)
		r = vm_set_state(vm, VMM_RUNNING);
	mutex_unlock(&vm->lock);
	return r;
}

static bool all_out(const struct vm *vm)
{
	for (unsigned i = 0; i < vm->config.vcpus; i++)
		if (__atomic_load_n(&vm->vcpu[i]->world, __ATOMIC_SEQ_CST))
			return false;
	return true;
}

/* vm->lock held; nobody enters any more. */
static void drive_out(struct vm *vm)
{
	for (unsigned i = 0; i < vm->config.vcpus; i++)
		vcpu_request(vm->vcpu[i], VCPU_REQ_PAUSE);
	waitq_wait(&vm->pause_wait, all_out(vm), false, UINT64_MAX);
	for (unsigned i = 0; i < vm->config.vcpus; i++)
		__atomic_and_fetch(&vm->vcpu[i]->request, ~(uint32_t)VCPU_REQ_PAUSE, __ATOMIC_SEQ_CST);
}

int vm_pause(struct vm *vm)
{
	int r = 0;

	mutex_lock(&vm->lock);
	if (vm->broken)
		r = -EIO;
	else if (vm->pause_count >= PAUSES_MAX)
		r = -EBUSY;
	else if (__atomic_add_fetch(&vm->pause_count, 1, __ATOMIC_SEQ_CST) == 1) {
		drive_out(vm);
		irq_freeze(vm);
		vm->frozen = true;
		vm_set_state(vm, VMM_PAUSED); /* refused when it is off or stopped: it stays that */
	}
	mutex_unlock(&vm->lock);
	return r;
}

void vm_resume(struct vm *vm)
{
	mutex_lock(&vm->lock);
	if (vm->pause_count && __atomic_sub_fetch(&vm->pause_count, 1, __ATOMIC_SEQ_CST) == 0 && !vm->broken) {
		vm->frozen = false;
		irq_thaw(vm);
		if (vm->state == VMM_PAUSED)
			vm_set_state(vm, VMM_RUNNING);
	}
	mutex_unlock(&vm->lock);
}

/* Takes vm->lock and returns with it held when the VM is paused and whole; else a negative errno, not locked. */
int vm_lock_paused(struct vm *vm)
{
	int r;

	mutex_lock(&vm->lock);
	r = vm->broken ? -EIO : vm->pause_count ? 0 : -EBUSY;
	if (r < 0)
		mutex_unlock(&vm->lock);
	return r;
}

/* ---- reset and rebuild ---- */
static void vcpu_forget(struct vcpu *v)
{
	__atomic_store_n(&v->request, 0, __ATOMIC_SEQ_CST);
	v->answer_pending = false;
	v->stopped = false;
	vcpu_reset(v, false);
}

int vm_reset(struct vm *vm)
{
	int r = vm_lock_paused(vm);

	if (r < 0)
		return r;
	for (unsigned i = 0; i < vm->config.vcpus && r == 0; i++) {
		struct vcpu *v = vm->vcpu[i];

		emul_free(v); /* an instruction that waited for ring 3 is gone */
		r = emul_init(v);
		if (r == 0)
			vcpu_forget(v);
	}
	if (r < 0) {
		vm->broken = true;
	} else {
		irq_reset(vm);
		if (vm->state == VMM_STOPPED)
			vm_set_state(vm, VMM_PAUSED);
	}
	mutex_unlock(&vm->lock);
	return r;
}

static int rebuild_memory(struct vm *vm)
{
	bool helper = vm->torture != NULL;
	int r;

	torture_stop(vm);
	nested_free(vm);
	r = nested_init(vm);
	return r == 0 && helper ? torture_start(vm) : r;
}

/* All goes, and comes anew from the set-up: as a host that receives the VM would make it. The lines of ring 3's devices are in the state. */
static int rebuild(struct vm *vm, bool drop_memory)
{
	int r;

	irq_free(vm);
	for (unsigned i = 0; i < vm->config.vcpus; i++)
		vcpu_free_parts(vm->vcpu[i]);
	hv->vm_free(vm);
	r = drop_memory ? rebuild_memory(vm) : 0;
	if (r == 0)
		r = hv->vm_init(vm);
	if (r == 0)
		r = irq_create(vm);
	for (unsigned i = 0; r == 0 && i < vm->config.vcpus; i++) {
		struct vcpu *v = vm->vcpu[i];

		r = vcpu_create_parts(v);
		if (r == 0) {
			__atomic_store_n(&v->request, 0, __ATOMIC_SEQ_CST);
			v->answer_pending = false;
		}
	}
	if (r == 0)
		irq_freeze(vm);
	return r;
}

int vm_rebuild(struct vm *vm, bool drop_memory)
{
	int r = vm_lock_paused(vm);

	if (r < 0)
		return r;
	r = rebuild(vm, drop_memory);
	vm->broken = r < 0;
	vm->torture_rounds++;
	mutex_unlock(&vm->lock);
	return r;
}
