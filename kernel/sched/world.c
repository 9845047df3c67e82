/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Worlds' birth and death, and the list of all of them.
 *
 * A world that ended cannot free the stack that it stands on: whoever runs next on its CPU hands it
 * to the reaper, a kernel world that frees where it may take its time.
 */
#include "mem/mem.h"
#include "sched/sched_priv.h"

#define FPU_ALIGN 64

static struct list worlds = LIST_INIT(worlds); /* worlds_lock */
static struct spinlock worlds_lock = SPINLOCK_INIT("worlds", RANK_WORLDS);
static uint32_t next_id;                       /* atomic */
static struct world *dead;                     /* atomic stack, through next_dead */
static struct world *reaper;

static void world_init(struct world *w, const char *name, enum world_kind kind)
{
	w->kind = kind;
	w->id = __atomic_fetch_add(&next_id, 1, __ATOMIC_RELAXED);
	w->cpu = arch_cpu_id();
	w->affinity = ~0ull;
	policy_entity_init(&w->entity, w->id, 2000);
	strlcpy(w->name, name, sizeof(w->name));
	sleep_init(w);
	list_init(&w->all_link);
}

static void worlds_add(struct world *w)
{
	spin_lock(&worlds_lock);
	list_push_back(&worlds, &w->all_link);
	spin_unlock(&worlds_lock);
}

static int fpu_create(struct world *w)
{
	w->fpu_raw = kzalloc(arch_fpu_size() + FPU_ALIGN - 1, MT_SCHED);
	if (!w->fpu_raw)
		return -ENOMEM;
	w->arch.fpu = (void *)ALIGN_UP((uintptr_t)w->fpu_raw, FPU_ALIGN);
	w->arch.xcr0 = arch_xcr0_host();
	arch_fpu_init(w->arch.fpu);
	return 0;
}

struct world *world_create(const char *name, enum world_kind kind, void (*entry)(void *), void *arg)
{
	struct world *w = kzalloc(sizeof(*w), MT_SCHED);

	if (!w)
		return NULL;
	world_init(w, name, kind);
	w->stack_top = kstack_alloc();
	if (!w->stack_top)
		goto free_world;
	if ((kind == WORLD_USER || kind == WORLD_VCPU) && fpu_create(w) < 0)
		goto free_stack;
	w->entry = entry;
	w->arg = arg;
	arch_context_init(&w->arch, w->stack_top, world_first_run, w);
	worlds_add(w);
	return w;
free_stack:
	kstack_free(w->stack_top);
free_world:
	kfree(w);
	return NULL;
}

void world_adopt(struct world *w, const char *name, enum world_kind kind)
{
	world_init(w, name, kind);
	w->state = WORLD_RUNNING;
	worlds_add(w);
}

void world_start(struct world *w)
{
	DEBUG_ASSERT(w->state == WORLD_NEW);
	world_wake(w);
}

void world_kill(struct world *w)
{
	unsigned cpu;

	WRITE_ONCE(w->kill, true);
	world_wake(w);
	/* In ring 3 or a guest it notices on its way through the kernel. */
	preempt_disable();
	cpu = READ_ONCE(w->cpu);
	if (READ_ONCE(w->state) == WORLD_RUNNING && cpu != arch_cpu_id())
		arch_ipi_send(cpu, IPI_RESCHED);
	preempt_enable();
}

void world_for_each(void (*fn)(struct world *w, void *ctx), void *ctx)
{
	spin_lock(&worlds_lock);
	list_for_each(p, &worlds)
		fn(list_entry(p, struct world, all_link), ctx);
	spin_unlock(&worlds_lock);
}

/* ---- the dead ---- */
void world_bury(struct world *w)
{
	w->next_dead = __atomic_load_n(&dead, __ATOMIC_RELAXED);
	while (!__atomic_compare_exchange_n(&dead, &w->next_dead, w, false, __ATOMIC_RELEASE, __ATOMIC_RELAXED))
		;
	if (reaper)
		world_wake(reaper);
}

static void world_free(struct world *w)
{
	spin_lock(&worlds_lock);
	list_remove(&w->all_link);
	spin_unlock(&worlds_lock);
	kfree(w->fpu_raw);
	if (!w->stack_top)
		return; /* adopted: static, on the boot stack */
	kstack_free(w->stack_top);
	kfree(w);
}

static void reap(void *arg)
{
	(void)arg;
	for (;;) {
		struct world *w;

		world_prepare_block();
		w = __atomic_exchange_n(&dead, NULL, __ATOMIC_ACQUIRE);
		if (!w)
			sched_block();
		while (w) {
			struct world *next = w->next_dead;

			world_free(w);
			w = next;
		}
	}
}

void world_reaper_start(void)
{
	reaper = world_create("reaper", WORLD_KERNEL, reap, NULL);
	if (!reaper)
		panic("no memory for the reaper");
	world_start(reaper);
}

static void panic_world(void)
{
	struct world *w = current;

	if (w)
		log_line(LOG_INFO, "world %u %s, state %u, cpu %u, preemption count %u", w->id, w->name, w->state, w->cpu, preempt_depth());
}

static void world_panic_init(void) { panic_context = panic_world; }
INIT_CALL(INIT_SCHED, world_panic_init);
