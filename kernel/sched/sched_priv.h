/* SPDX-License-Identifier: Apache-2.0 */
/* Between the files of kernel/sched only: run queues and who may touch what. */
#ifndef SCHED_SCHED_PRIV_H
#define SCHED_SCHED_PRIV_H

#include "sched/sched.h"

/*
 * One per CPU. Its lock covers the queue, `running`, and state, entity and cpu of every world whose
 * `cpu` it is. It is held across a switch of worlds and given back by the world that was switched to:
 * so whoever gets the lock finds no world of this queue half saved.
 */
struct runq {
	struct spinlock lock;
	struct policy_queue policy;    /* runnable worlds and the running one, idle excepted */
	struct world *running, *idle;
	unsigned cpu;
	bool ipi_sent;                 /* IPI_RESCHED under way to it */
	uint64_t until;                /* of the world being switched to: its slice ends, 0 unwatched */
	bool watched;                  /* the slice timer stands for the running world, or is just being set */
	struct timer slice;            /* this CPU, interrupts off */
	uint64_t balance_ns;           /* next time to look for a CPU with less to do */
	struct world *dead;            /* switched away from for ever: for finish_switch() */
	struct world *evicted;         /* switched away from, may not stay on this CPU */
};
DECLARE_PERCPU(struct runq, runq);

/* runq.c */
void runq_init(unsigned cpu, struct world *running);
struct runq *runq_lock_world(struct world *w);   /* the queue of w->cpu, locked; interrupts off */
void runq_lock(struct runq *rq);                 /* interrupts stay off */
void runq_unlock(struct runq *rq);
void runq_leave(struct runq *rq, struct world *w);
void runq_put(struct world *w, uint32_t slice_ns); /* READY and in no queue: into that of its cpu; no lock held, interrupts off */
void runq_charge(struct runq *rq, struct world *w, uint64_t now);
bool runq_steal(struct runq *rq);                /* an idle CPU looks elsewhere for work */
unsigned runq_place(const struct world *w);      /* where it shall wait; an idle CPU that this chooses is claimed */
unsigned runq_lighter(const struct runq *rq, const struct world *w); /* a CPU with at least two worlds less, else this one */
void runq_offer(uint64_t allowed);               /* one idle CPU of these shall look for work */
void runq_resched(struct runq *rq);              /* its CPU shall choose again; lock held */
void runq_ipi(void);
void idle_mask_set(unsigned cpu, bool idle);
void world_set_state(struct world *w, enum world_state state);
void sched_ask(void);                            /* this CPU reschedules at its next safe point */

/* switch.c */
void world_first_run(void *arg);                 /* what arch_context_init() is given */

/* world.c */
void world_bury(struct world *w);                /* switched away from: hand it to the reaper; interrupts off */
void world_adopt(struct world *w, const char *name, enum world_kind kind); /* makes a world of what runs already */
void world_reaper_start(void);
/* timer.c */
void timer_cpu_init(unsigned cpu);
void timer_interrupt(void);
/* sleep.c */
void sleep_init(struct world *w);

#endif
