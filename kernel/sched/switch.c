/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Switching worlds: the one place where a CPU goes from one to another, the reasons for it
 * (blocking, yielding, ending, preemption), and the idle loop.
 *
 * A switch happens with interrupts off, preemption count 0 and this CPU's queue locked; the world
 * switched to lets go of the lock in finish_switch(). There is no tick: the slice timer runs only
 * while somebody waits for this CPU.
 */
#include "mem/mem.h"
#include "sched/sched_priv.h"

static struct world boot_world; /* what kmain runs as: current from the first instruction on CPU 0 */
PERCPU(struct world *, current_world) = &boot_world;
bool sched_running;

COUNTER(sched_switches, "sched.switches");
COUNTER(sched_preemptions, "sched.preemptions");

#define BALANCE_NS 50000000ull /* a crowded CPU gives one world away at most this often */

enum why { WHY_PREEMPT, WHY_YIELD, WHY_LEAVE /* blocked or dead */ };

#ifndef __KERNEL_HOST_TEST__
static void asked_clear(void) { __asm__ volatile("orl $0x80000000, %%gs:%0" : "+m"(preempt_word) : : "cc"); }
bool sched_need_resched(void) { return !(this_cpu_read(preempt_word) & PREEMPT_NOT_WANTED); }
#else
static void asked_clear(void) {}
bool sched_need_resched(void) { return false; }
#endif

static struct world *world_of(struct policy_entity *e) { return container_of(e, struct world, entity); }

/* The world to run next; the queue is locked. *until: clock time at which to choose again, 0 when nobody waits. */
static struct world *choose(struct runq *rq, struct world *prev, enum why why, uint64_t now, uint64_t *until)
{
	struct policy_entity *e;
	bool may_stay = prev != rq->idle && prev->state == WORLD_RUNNING; /* neither blocked, dead nor evicted */

	*until = 0;
	if (!rq->policy.nr && !runq_steal(rq))
		return rq->idle;
	if (why == WHY_PREEMPT && may_stay && now - prev->switched_in_ns < POLICY_MIN_RUN_NS) {
		e = &prev->entity;
		*until = prev->switched_in_ns + POLICY_MIN_RUN_NS;
	} else {
		e = policy_pick(&rq->policy, why == WHY_YIELD ? &prev->entity : NULL);
		*until = now + policy_remaining(e);
	}
	if (rq->policy.nr == 1)
		*until = 0;
	return world_of(e);
}

static void slice_arm(struct runq *rq, uint64_t until)
{
	if (until)
		timer_set(&rq->slice, until);
	else if (timer_armed(&rq->slice))
		timer_cancel(&rq->slice);
}

/* First thing of a world that was switched to, on its own stack. */
static void finish_switch(uint64_t until)
{
	struct runq *rq = &this_cpu(runq);
	struct world *dead = rq->dead, *evicted = rq->evicted;

	rq->dead = rq->evicted = NULL;
	runq_unlock(rq);
	slice_arm(rq, until);
	if (unlikely(dead != NULL))
		world_bury(dead);
	if (unlikely(evicted != NULL))
		runq_put(evicted, POLICY_SLICE_NS);
}

/* prev may not stay, or another CPU has at least two worlds less: it leaves the queue now, and enters that one's once its registers are saved. */
static void evict(struct runq *rq, struct world *prev, uint64_t now)
{
	unsigned to = rq->cpu;

	if (!(prev->affinity & BIT(rq->cpu))) {
		to = runq_place(prev);
	} else if (rq->policy.nr > 2 && now >= rq->balance_ns) {
		rq->balance_ns = now + BALANCE_NS;
		to = runq_lighter(rq, prev);
	}
	if (to == rq->cpu)
		return;
	world_set_state(prev, WORLD_READY);
	policy_leave(&rq->policy, &prev->entity);
	prev->cpu = to;
	rq->evicted = prev;
}

/* Leaves rq unlocked. Interrupts off. */
static void schedule_locked(struct runq *rq, enum why why)
{
	struct world *prev = rq->running, *next;
	uint64_t now = clock_ns(), until;

	asked_clear();
	runq_charge(rq, prev, now);
	if (why == WHY_LEAVE)
		runq_leave(rq, prev);
	else if (prev != rq->idle)
		evict(rq, prev, now);
	next = choose(rq, prev, why, now, &until);
	rq->watched = until != 0;
	idle_mask_set(rq->cpu, next == rq->idle);
	if (next == prev) {
		runq_unlock(rq);
		slice_arm(rq, until);
		return;
	}
	if (prev->state == WORLD_RUNNING) {
		world_set_state(prev, WORLD_READY);
		if (prev != rq->idle)
			runq_offer(prev->affinity);
	}
	if (prev->state == WORLD_DEAD)
		rq->dead = prev;
	world_set_state(next, WORLD_RUNNING);
	next->run_since_ns = next->switched_in_ns = now;
	rq->running = next;
	rq->until = until;
	this_cpu(current_world) = next;
	counter_add(sched_switches, 1);
	trace("switch", prev->id, next->id);
	arch_context_switch(&prev->arch, &next->arch);
	finish_switch(this_cpu(runq).until);
}

void world_first_run(void *arg)
{
	struct world *w = arg;

	finish_switch(this_cpu(runq).until);
	arch_irq_enable();
	w->entry(w->arg);
	world_exit();
}

static void schedule(enum why why)
{
	uint64_t flags = arch_irq_save();
	struct runq *rq = &this_cpu(runq);

	runq_lock(rq);
	schedule_locked(rq, why);
	arch_irq_restore(flags);
}

/* ---- blocking: see sched.h for the pair's contract ---- */

/* A full barrier: the caller's look at its condition must not come before this. */
void world_prepare_block(void) { (void)__atomic_exchange_n(&current->wake_pending, false, __ATOMIC_SEQ_CST); }
void world_cancel_block(void) {}

void sched_block(void)
{
	uint64_t flags = arch_irq_save();
	struct runq *rq = &this_cpu(runq);
	struct world *w = current;

	if (preempt_depth())
		panic("world %s blocks with preemption off", w->name);
	runq_lock(rq);
	if (w->wake_pending) {
		w->wake_pending = false;
		runq_unlock(rq);
	} else {
		world_set_state(w, WORLD_BLOCKED);
		schedule_locked(rq, WHY_LEAVE);
	}
	arch_irq_restore(flags);
}

void world_exit(void)
{
	struct runq *rq;

	timer_cancel(&current->sleep_timer);
	arch_irq_disable();
	rq = &this_cpu(runq);
	runq_lock(rq);
	world_set_state(current, WORLD_DEAD);
	schedule_locked(rq, WHY_LEAVE);
	panic("a dead world runs");
}

void sched_yield(void) { schedule(WHY_YIELD); }

void sched_preempt(void)
{
	if (sched_need_resched() && !preempt_depth() && sched_running)
		schedule(WHY_PREEMPT);
}

static void preempt_now(void)
{
	counter_add(sched_preemptions, 1);
	schedule(WHY_PREEMPT);
}

/* Interrupts come only where they are enabled, so count 0 is all that preemption needs. */
static void irq_exit(struct trap_frame *tf)
{
	(void)tf;
	if (sched_need_resched() && !preempt_depth())
		preempt_now();
}

/* ---- idle ---- */
static void idle_loop(void)
{
	for (;;) {
		arch_irq_disable();
		if (sched_need_resched()) {
			arch_irq_enable();
			sched_preempt();
		} else if (sched_idle_hook) {
			bool worked;

			arch_irq_enable();
			worked = sched_idle_hook();
			arch_irq_disable();
			if (worked || sched_need_resched())
				arch_irq_enable();
			else
				arch_idle();
		} else {
			arch_idle();
		}
	}
}

static void idle_entry(void *arg)
{
	(void)arg;
	idle_loop();
}

/* ---- start ---- */
static void boot_world_done(void)
{
	log_debug("boot world ends");
	world_exit();
}

/* Another CPU: what runs is its idle world from now on. */
static void ap_start(void)
{
	unsigned cpu = arch_cpu_id();
	struct world *w = kzalloc(sizeof(*w), MT_SCHED);
	char name[24];

	if (!w)
		panic("no memory for the idle world of CPU %u", cpu);
	snprintf(name, sizeof(name), "idle/%u", cpu);
	world_adopt(w, name, WORLD_IDLE);
	this_cpu(current_world) = w;
	timer_cpu_init(cpu);
	per_cpu(runq, cpu).idle = w;
	runq_init(cpu, w);
	idle_mask_set(cpu, true);
	sched_ask(); /* work may wait already */
	idle_loop();
}

static void sched_init(void)
{
	struct runq *rq = &this_cpu(runq);

	timer_cpu_init(0);
	world_adopt(&boot_world, "boot", WORLD_KERNEL);
	runq_init(0, &boot_world);
	policy_join(&rq->policy, &boot_world.entity, POLICY_SLICE_NS);
	rq->idle = world_create("idle/0", WORLD_IDLE, idle_entry, NULL);
	if (!rq->idle)
		panic("no memory for the idle world");
	world_set_state(rq->idle, WORLD_READY);
	arch_hooks.timer = timer_interrupt;
	arch_hooks.resched_ipi = runq_ipi;
	arch_hooks.irq_exit = irq_exit;
	preempt_hook = preempt_now;
	smp_ap_start = ap_start;
	boot_done = boot_world_done;
	sched_running = true;
	arch_irq_enable();
	world_reaper_start();
}
INIT_CALL(INIT_SCHED, sched_init);
