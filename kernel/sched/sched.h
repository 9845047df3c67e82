/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The public face of kernel/sched: worlds, sleeping, timers, sleeping locks.
 *
 * A world is the unit of scheduling: a vCPU thread, another ring-3 thread, a kernel helper, an idle
 * loop. Queues are per CPU; policy.c decides (proportional by shares, virtual time) and knows no
 * hardware, so that the same file runs in a host simulator. Design: docs/scheduler.md.
 */
#ifndef SCHED_SCHED_H
#define SCHED_SCHED_H

#include "arch/x86/arch.h"
#include "core/core.h"
#include "sched/policy.h"

enum world_state { WORLD_NEW, WORLD_READY, WORLD_RUNNING, WORLD_BLOCKED, WORLD_DEAD };
enum world_kind { WORLD_IDLE, WORLD_KERNEL, WORLD_USER, WORLD_VCPU };

/* Who pays: all worlds of one VM share its group's weight. */
struct sched_group {
	uint32_t shares;      /* 1000 per vCPU is normal */
	uint32_t active;      /* runnable worlds, kept by the scheduler (atomic) */
};

struct timer {
	uint64_t when_ns;
	void (*fn)(struct timer *t);
	unsigned cpu;      /* where armed */
	int32_t index;     /* -1 when idle, else armed */
	struct timer *child, *next, *prev; /* pairing heap: first child, next sibling, left sibling or parent */
};

struct world {
	struct arch_context arch;      /* first: entry.S and switch.S know it */
	enum world_state state;        /* run-queue lock of `cpu`; changes only in world_set_state() */
	enum world_kind kind;
	uint32_t id;
	unsigned cpu;                  /* where it runs or last ran; run-queue lock of the old one */
	uint64_t affinity;             /* bit per CPU */
	struct policy_entity entity;   /* run-queue lock */
	uint64_t run_since_ns, run_total_ns; /* run_since: last charged up to here */
	uint64_t switched_in_ns;
	bool wake_pending;             /* a wake-up came while it was about to block */
	bool counted;                  /* in group->active */
	bool kill;                     /* asked to end: interruptible waits return -EINTR */
	bool signalled;                /* same for a pending signal; set by sys */
	struct sched_group *group;     /* may be NULL */
	void *proc;                    /* sys' struct thread, or NULL */
	void *vcpu;                    /* hv's struct vcpu while inside run, or NULL */
	void *stack_top;               /* NULL: not from kstack_alloc */
	void *fpu_raw;                 /* what arch.fpu was cut from */
	void (*entry)(void *);
	void *arg;
	struct timer sleep_timer;
	char name[24];
	struct list all_link;
	struct world *next_dead;
};

DECLARE_PERCPU(struct world *, current_world);
#ifdef __KERNEL_HOST_TEST__
#define current current_world
#else
/* One instruction, so that it is right with preemption on; constant as long as this world runs, so the compiler may keep it. */
static inline struct world *world_current(void)
{
	struct world *w;

	__asm__("movq %%gs:current_world, %0" : "=r"(w));
	return w;
}
#define current world_current()
#endif
extern bool sched_running; /* false until INIT_SCHED */

/* A world, not yet started, that begins in ring 0 at entry, which must end with world_exit(). NULL without memory.
 * Kinds USER and VCPU get an initialised FPU area; whoever creates them sets arch.cr3. */
struct world *world_create(const char *name, enum world_kind kind, void (*entry)(void *), void *arg);
void world_start(struct world *w);
_Noreturn void world_exit(void);          /* frees itself once switched away */
void world_set_group(struct world *w, struct sched_group *g);
void world_kill(struct world *w);         /* sets kill and wakes it */
/* Lower-level pair: mark myself blocked, check the condition, then sched_block(); world_wake() at any time makes it runnable. */
void world_prepare_block(void);
void world_cancel_block(void);
void sched_block(void);
bool world_wake(struct world *w);         /* any context; true when it was blocked */
void sched_yield(void);
void sched_preempt(void);                 /* if asked to: called at safe points */
bool sched_need_resched(void);
/* Restricts where a world may run; takes effect when it next leaves its CPU, at the latest at its slice's end. */
void world_set_affinity(struct world *w, uint64_t mask);
void sched_sleep_ns(uint64_t ns);
/* Calls fn for each world with the list locked. */
void world_for_each(void (*fn)(struct world *w, void *ctx), void *ctx);

/* ---- wait queues ---- */
struct waitq {
	struct spinlock lock;
	struct list waiters;
};
void waitq_init(struct waitq *q);
void waitq_wake_all(struct waitq *q);
void waitq_wake_one(struct waitq *q);
/* Entry on the caller's stack; a world may stand in several queues (poll). */
struct waitq_entry {
	struct list link;
	struct world *world;
};
void waitq_add(struct waitq *q, struct waitq_entry *e);
void waitq_remove(struct waitq *q, struct waitq_entry *e);
/* Waits until cond (re-evaluated after each wake-up). Result 0, -EINTR when interruptible and killed or signalled, -ETIMEDOUT at clock time deadline_ns (UINT64_MAX: never). */
#define waitq_wait(q, cond, interruptible, deadline_ns)                                    \
	({                                                                                 \
		struct waitq_entry e_;                                                     \
		int r_ = 0;                                                                \
		waitq_add((q), &e_);                                                       \
		for (;;) {                                                                 \
			world_prepare_block();                                             \
			if (cond)                                                          \
				break;                                                     \
			if ((interruptible) && (current->kill || current->signalled)) {    \
				r_ = -EINTR;                                               \
				break;                                                     \
			}                                                                  \
			if (sched_block_until(deadline_ns)) {                              \
				r_ = (cond) ? 0 : -ETIMEDOUT;                              \
				break;                                                     \
			}                                                                  \
		}                                                                          \
		world_cancel_block();                                                      \
		waitq_remove((q), &e_);                                                    \
		r_;                                                                        \
	})
bool sched_block_until(uint64_t deadline_ns); /* true when the deadline passed */

/* ---- sleeping mutex, FIFO hand-over ---- */
struct mutex {
	struct spinlock lock;
	struct world *owner;
	struct list waiters;
};
void mutex_init(struct mutex *m, const char *name);
void mutex_lock(struct mutex *m);
void mutex_unlock(struct mutex *m);
bool mutex_held(const struct mutex *m);

/* ---- timers: per-CPU heap, no periodic tick. fn runs with interrupts off on the CPU it was set on. ---- */
static inline bool timer_armed(const struct timer *t) { return READ_ONCE(t->index) >= 0; }
void timer_init(struct timer *t, void (*fn)(struct timer *t));
void timer_set(struct timer *t, uint64_t when_ns);  /* re-arms if armed; on this CPU */
/* True when it was armed. Called with interrupts on and preemption enabled it also waits for an fn that runs on another CPU: after that
 * fn does not run any more and t may be freed. Under a lock it does not wait (fn may want that lock): fn may then come once more, late. */
bool timer_cancel(struct timer *t);
/* Moves an armed timer to this CPU (a vCPU that migrated takes its timers along). */
void timer_migrate(struct timer *t);

#endif
