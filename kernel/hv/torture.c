/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The memory torture helper (debug, vmm_create.torture_memory): a kernel world that keeps taking a running VM's pages away, moving,
 * write-protecting, breaking and re-forming them, as reclaim and page sharing will. Each step may be refused (pinned, changed
 * meanwhile): that is part of the exercise. It allocates nothing and holds no lock between steps.
 */
#include "hv/hv_priv.h"

#define BATCH 16
#define SLEEP_MIN_NS 20000u
#define SLEEP_SPAN_NS 1000000u

struct torture {
	struct vm *vm;
	bool stop;             /* atomic */
	bool done;             /* atomic: its world touches the VM no more */
	uint32_t refs;         /* atomic: its world's and the VM's */
	struct waitq ended;
	uint64_t seed;
};

static uint32_t roll(struct torture *t, uint32_t n)
{
	t->seed ^= t->seed << 13;
	t->seed ^= t->seed >> 7;
	t->seed ^= t->seed << 17;
	return (uint32_t)(t->seed >> 32) % n;
}

static void torture_unref(struct torture *t)
{
	if (__atomic_sub_fetch(&t->refs, 1, __ATOMIC_ACQ_REL) == 0)
		kfree(t);
}

static int (*const steps[])(struct vm *vm, gpa_t gpa) = {
	gmem_demote, gmem_promote, gmem_break, gmem_reform, gmem_move, gmem_move, gmem_protect, gmem_trap,
};

/* A page that exists, found from a random place on; false while nothing was touched. */
static bool pick(struct torture *t, gpa_t *out)
{
	const struct vm *vm = t->vm;
	uint64_t top = 0;

	for (unsigned i = 0; i < vm->nr_ranges; i++)
		if (vm->range[i].kind == VMM_RANGE_RAM)
			top = vm->range[i].base.v + vm->range[i].size;
	if (!top)
		return false;
	*out = gpa((uint64_t)roll(t, (uint32_t)(top >> PAGE_SHIFT)) << PAGE_SHIFT);
	if (gmem_next_present(t->vm, out))
		return true;
	*out = gpa(0);
	return gmem_next_present(t->vm, out);
}

static void torture_world(void *arg)
{
	struct torture *t = arg;
	struct vm *vm = t->vm;
	gpa_t at;

	while (!__atomic_load_n(&t->stop, __ATOMIC_ACQUIRE)) {
		for (unsigned i = 0; i < BATCH && pick(t, &at); i++)
			if (steps[roll(t, ARRAY_SIZE(steps))](vm, at) == 0)
				__atomic_add_fetch(&vm->moves, 1, __ATOMIC_RELAXED);
		sched_sleep_ns(SLEEP_MIN_NS + roll(t, SLEEP_SPAN_NS));
	}
	__atomic_store_n(&t->done, true, __ATOMIC_RELEASE);
	waitq_wake_all(&t->ended);
	torture_unref(t);
	world_exit();
}

int torture_start(struct vm *vm)
{
	struct torture *t = kzalloc(sizeof(*t), MT_HV);
	struct world *w;

	if (!t)
		return -ENOMEM;
	t->vm = vm;
	t->refs = 2;
	t->seed = 88172645463325252ull + vm->id;
	waitq_init(&t->ended);
	w = world_create("torture", WORLD_KERNEL, torture_world, t);
	if (!w) {
		kfree(t);
		return -ENOMEM;
	}
	vm->torture = t;
	world_start(w);
	return 0;
}

void torture_stop(struct vm *vm)
{
	struct torture *t = vm->torture;

	if (!t)
		return;
	__atomic_store_n(&t->stop, true, __ATOMIC_RELEASE);
	waitq_wait(&t->ended, __atomic_load_n(&t->done, __ATOMIC_ACQUIRE), false, UINT64_MAX);
	vm->torture = NULL;
	torture_unref(t);
}
