/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Run queues: waking, placing, moving and stealing worlds.
 *
 *   NEW ---world_start--> READY <--switch--> RUNNING --sched_block--> BLOCKED --world_wake--> READY
 *                                            RUNNING --world_exit--> DEAD
 *
 * A READY world stands in the queue of its `cpu`, or is on its way into it in runq_put(). Two queue
 * locks are never waited for at once: a move lets go of the old one first, a thief only tries.
 */
#include "sched/sched_priv.h"

PERCPU(struct runq, runq);
static uint64_t idle_mask;   /* atomic: CPUs with nothing to run; a bit is claimed by whoever sends work there */
static uint64_t online_mask; /* atomic: CPUs with a run queue */

COUNTER(sched_wakes, "sched.wakes");
COUNTER(sched_steals, "sched.steals");
COUNTER(sched_ipis, "sched.ipis");

void world_set_state(struct world *w, enum world_state to)
{
	DEBUG_ASSERT((to == WORLD_READY && (w->state == WORLD_NEW || w->state == WORLD_RUNNING || w->state == WORLD_BLOCKED)) ||
		     (to == WORLD_RUNNING && (w->state == WORLD_READY || w->state == WORLD_NEW)) ||
		     ((to == WORLD_BLOCKED || to == WORLD_DEAD) && w->state == WORLD_RUNNING));
	w->state = to;
}

void sched_ask(void)
{
#ifndef __KERNEL_HOST_TEST__
	__asm__ volatile("andl $0x7fffffff, %%gs:%0" : "+m"(preempt_word) : : "cc");
#endif
}

void idle_mask_set(unsigned cpu, bool idle)
{
	if (idle)
		__atomic_fetch_or(&idle_mask, BIT(cpu), __ATOMIC_SEQ_CST);
	else if (READ_ONCE(idle_mask) & BIT(cpu))
		__atomic_fetch_and(&idle_mask, ~BIT(cpu), __ATOMIC_SEQ_CST);
}

/* The flags are dropped: these pairs are used with interrupts off, and across a switch of worlds. */
void runq_lock(struct runq *rq) { (void)spin_lock_irqsave(&rq->lock); }
void runq_unlock(struct runq *rq) { spin_unlock_irqrestore(&rq->lock, 0); }

struct runq *runq_lock_world(struct world *w)
{
	for (;;) {
		unsigned cpu = READ_ONCE(w->cpu);
		struct runq *rq = &per_cpu(runq, cpu);

		runq_lock(rq);
		if (likely(w->cpu == cpu))
			return rq;
		runq_unlock(rq);
	}
}

/* ---- weights ---- */
static void group_count(struct world *w, bool runnable)
{
	if (!w->group || w->counted == runnable)
		return;
	w->counted = runnable;
	__atomic_fetch_add(&w->group->active, runnable ? 1u : -1u, __ATOMIC_RELAXED);
}

/* The group's shares are split among its runnable worlds. Others' weights follow when they are charged next. */
static uint32_t weight_of(const struct world *w)
{
	uint32_t weight = 2000;

	if (w->group)
		weight = READ_ONCE(w->group->shares) / MAX(READ_ONCE(w->group->active), 1u);
	return MAX(MIN(weight, POLICY_WEIGHT_MAX), 1u);
}

void runq_charge(struct runq *rq, struct world *w, uint64_t now)
{
	uint64_t ran = now - w->run_since_ns;

	if ((int64_t)ran <= 0)
		return;
	w->run_since_ns = now;
	w->run_total_ns += ran;
	if (w == rq->idle)
		return;
	policy_charge(&rq->policy, &w->entity, ran);
	if (w->group)
		policy_set_weight(&rq->policy, &w->entity, weight_of(w));
}

/* ---- in and out ---- */
void runq_resched(struct runq *rq)
{
	if (rq->cpu == arch_cpu_id()) {
		sched_ask();
	} else if (!rq->ipi_sent) {
		rq->ipi_sent = true;
		counter_add(sched_ipis, 1);
		arch_ipi_send(rq->cpu, IPI_RESCHED);
	}
}

/* Whoever finds ipi_sent set relies on what follows here: the CPU chooses again after this. */
void runq_ipi(void)
{
	__atomic_store_n(&this_cpu(runq).ipi_sent, false, __ATOMIC_SEQ_CST);
	sched_ask();
}

void runq_leave(struct runq *rq, struct world *w)
{
	policy_leave(&rq->policy, &w->entity);
	group_count(w, false);
}

/* Does the newcomer change what its CPU should do: run it, or watch the time of the one that runs now? */
static bool newcomer_matters(struct runq *rq, struct world *w)
{
	return rq->running == rq->idle || !rq->watched || policy_before(&rq->policy, &w->entity, &rq->running->entity);
}

static void runq_enter(struct runq *rq, struct world *w, uint32_t slice_ns)
{
	group_count(w, true);
	policy_set_weight(NULL, &w->entity, weight_of(w));
	policy_join(&rq->policy, &w->entity, slice_ns);
	if (newcomer_matters(rq, w))
		runq_resched(rq);
}

/* ---- placement ---- */

/* Its last CPU when that is idle; else this one, else any idle one; else its last. */
unsigned runq_place(const struct world *w)
{
	uint64_t allowed = w->affinity & READ_ONCE(online_mask), idle = READ_ONCE(idle_mask) & allowed;
	unsigned me = arch_cpu_id(), cpu;

	if (!idle)
		return !allowed || (allowed & BIT(w->cpu)) ? w->cpu : (unsigned)__builtin_ctzll(allowed);
	if (idle & BIT(w->cpu))
		cpu = w->cpu;
	else if (idle & BIT(me))
		cpu = me;
	else
		cpu = (unsigned)__builtin_ctzll(idle);
	idle_mask_set(cpu, false);
	return cpu;
}

void runq_put(struct world *w, uint32_t slice_ns)
{
	struct runq *rq = &per_cpu(runq, READ_ONCE(w->cpu));

	runq_lock(rq);
	runq_enter(rq, w, slice_ns);
	runq_unlock(rq);
}

bool world_wake(struct world *w)
{
	uint64_t flags = arch_irq_save();
	struct runq *rq = runq_lock_world(w);
	unsigned cpu;

	if (w->state != WORLD_BLOCKED && w->state != WORLD_NEW) {
		w->wake_pending = true;
		runq_unlock(rq);
		arch_irq_restore(flags);
		return false;
	}
	counter_add(sched_wakes, 1);
	world_set_state(w, WORLD_READY);
	cpu = runq_place(w);
	if (cpu == rq->cpu) {
		runq_enter(rq, w, POLICY_SLICE_WAKE_NS);
		runq_unlock(rq);
	} else {
		/* From here on its new queue's lock covers it; until it is in there nobody can run or wake it. */
		w->cpu = cpu;
		runq_unlock(rq);
		runq_put(w, POLICY_SLICE_WAKE_NS);
	}
	arch_irq_restore(flags);
	if (flags & 0x200)
		sched_preempt();
	return true;
}

void world_set_group(struct world *w, struct sched_group *g)
{
	uint64_t flags = arch_irq_save();
	struct runq *rq = runq_lock_world(w);
	bool runnable = w->state == WORLD_READY || w->state == WORLD_RUNNING;

	group_count(w, false);
	w->group = g;
	if (runnable)
		group_count(w, true);
	policy_set_weight(w->entity.queued ? &rq->policy : NULL, &w->entity, weight_of(w));
	runq_unlock(rq);
	arch_irq_restore(flags);
}

/* Takes effect at the next switch or wake-up. */
void world_set_affinity(struct world *w, uint64_t mask)
{
	uint64_t flags = arch_irq_save();
	struct runq *rq = runq_lock_world(w);

	w->affinity = mask & READ_ONCE(online_mask) ? mask : ~0ull;
	if (w->state == WORLD_RUNNING && !(w->affinity & BIT(rq->cpu)))
		runq_resched(rq);
	runq_unlock(rq);
	arch_irq_restore(flags);
}

/* ---- balance: whoever has nothing to do takes what waits elsewhere ---- */
static struct world *steal_from(struct runq *victim, unsigned thief)
{
	list_for_each(p, &victim->policy.entities) {
		struct world *w = container_of(list_entry(p, struct policy_entity, link), struct world, entity);

		if (w != victim->running && (w->affinity & BIT(thief))) {
			policy_leave(&victim->policy, &w->entity);
			w->cpu = thief;
			return w;
		}
	}
	return NULL;
}

static bool has_spare(const struct runq *rq)
{
	unsigned nr = READ_ONCE(rq->policy.nr);

	return nr > 1 || (nr == 1 && READ_ONCE(rq->running) == rq->idle);
}

bool runq_steal(struct runq *rq)
{
	unsigned n = cpu_count;

	for (unsigned i = 1; i < n; i++) {
		unsigned cpu = (rq->cpu + i) % n;
		struct runq *victim = &per_cpu(runq, cpu);
		struct world *w;

		if (!(READ_ONCE(online_mask) & BIT(cpu)) || !has_spare(victim) || !spin_trylock(&victim->lock))
			continue;
		w = steal_from(victim, rq->cpu);
		spin_unlock(&victim->lock);
		if (!w)
			continue;
		policy_join(&rq->policy, &w->entity, w->entity.slice_ns);
		counter_add(sched_steals, 1);
		return true;
	}
	return false;
}

/* Looks without locks: a wrong guess is put right the next time. */
unsigned runq_lighter(const struct runq *rq, const struct world *w)
{
	uint64_t allowed = w->affinity & READ_ONCE(online_mask);
	unsigned best = rq->cpu, least = rq->policy.nr - 1;

	for (unsigned cpu = 0; cpu < cpu_count; cpu++) {
		unsigned nr = READ_ONCE(per_cpu(runq, cpu).policy.nr);

		if ((allowed & BIT(cpu)) && nr < least) {
			best = cpu;
			least = nr;
		}
	}
	return best;
}

void runq_offer(uint64_t allowed)
{
	uint64_t idle = READ_ONCE(idle_mask) & allowed;
	unsigned cpu;

	if (!idle)
		return;
	cpu = (unsigned)__builtin_ctzll(idle);
	idle_mask_set(cpu, false);
	counter_add(sched_ipis, 1);
	arch_ipi_send(cpu, IPI_RESCHED);
}

static void slice_over(struct timer *t)
{
	(void)t;
	sched_ask();
}

void runq_init(unsigned cpu, struct world *running)
{
	struct runq *rq = &per_cpu(runq, cpu);

	spin_init(&rq->lock, "run queue", RANK_RUNQ);
	policy_queue_init(&rq->policy);
	timer_init(&rq->slice, slice_over);
	rq->cpu = cpu;
	rq->running = running;
	__atomic_fetch_or(&online_mask, BIT(cpu), __ATOMIC_SEQ_CST);
}
