/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ticket spinlocks, and the preemption count.
 *
 * spin_lock() keeps preemption off by the count; spin_lock_irqsave() keeps interrupts off, which
 * does the same without touching the count. So the count is 0 whenever worlds are switched, on
 * whichever CPU they go on, and one word per CPU is enough.
 *
 * Debug builds remember the ranks that each CPU holds and panic at the first lock taken out of
 * order, taken twice, given back by somebody else, or taken with interrupts on though handlers take
 * it too. They also panic when a lock does not come free for a very long time.
 */
#include "arch/x86/arch.h"
#include "core/core.h"

#define RFLAGS_IF 0x200

void (*preempt_hook)(void);
#ifndef __KERNEL_HOST_TEST__
PERCPU(uint32_t, preempt_word);

void preempt_resched(void)
{
	uint64_t flags = arch_irq_save();

	/* In a handler or a section with interrupts off: the interrupt's exit does it, or whoever enables them. */
	arch_irq_restore(flags);
	if ((flags & RFLAGS_IF) && preempt_hook)
		preempt_hook();
}

#endif

#if defined(CONFIG_DEBUG) && !defined(__KERNEL_HOST_TEST__)
static bool irqs_off(void)
{
	uint64_t flags = arch_irq_save();

	arch_irq_restore(flags);
	return !(flags & RFLAGS_IF);
}
#else
static inline bool irqs_off(void) { return true; }
#endif

#ifdef CONFIG_DEBUG
#define HELD_MAX 16
#define STUCK_SPINS (1u << 29)
struct held {
	uint32_t n;
	const struct spinlock *lock[HELD_MAX];
	bool irqs_on[HELD_MAX]; /* held with interrupts on: a handler may come on top */
};
PERCPU(struct held, spin_held_locks);

static bool held_by_me(const struct spinlock *l) { return READ_ONCE(l->holder) == arch_cpu_id() + 1; }

/* The lock to compare with. With interrupts off over a lock that is held with interrupts on, this is a handler: it cannot know
 * what the interrupted code holds, which is why handlers' locks are always taken with interrupts off. */
static const struct spinlock *innermost(const struct held *h, bool off)
{
	return h->n && !(off && h->irqs_on[h->n - 1]) ? h->lock[h->n - 1] : NULL;
}

static void check_before(const struct spinlock *l, bool nested, bool off)
{
	struct held *h = &this_cpu(spin_held_locks);
	const struct spinlock *top = innermost(h, off);

	if (held_by_me(l))
		panic("spinlock %s taken twice", l->name);
	if (l->rank >= RANK_WAITQ && !irqs_off()) /* spin_lock() alone */
		panic("spinlock %s (rank %u) taken with interrupts on", l->name, l->rank);
	if (top && (nested ? top->rank != l->rank || top > l : top->rank >= l->rank))
		panic("spinlock %s (rank %u) taken while holding %s (rank %u)", l->name, l->rank, top->name, top->rank);
	if (h->n == HELD_MAX)
		panic("spinlock %s: more than %u locks held", l->name, HELD_MAX);
}

static void check_taken(struct spinlock *l, bool on)
{
	struct held *h = &this_cpu(spin_held_locks);

	h->irqs_on[h->n] = on;
	h->lock[h->n++] = l;
	l->holder = (uint16_t)(arch_cpu_id() + 1);
}

static void check_release(struct spinlock *l)
{
	struct held *h = &this_cpu(spin_held_locks);
	unsigned i = h->n;

	if (!held_by_me(l))
		panic("spinlock %s released by a CPU that does not hold it (holder %u)", l->name, l->holder);
	l->holder = 0;
	while (i && h->lock[i - 1] != l)
		i--;
	for (; i && i < h->n; i++) {
		h->lock[i - 1] = h->lock[i];
		h->irqs_on[i - 1] = h->irqs_on[i];
	}
	h->n--;
}

static void check_stuck(const struct spinlock *l, uint32_t *spins)
{
	if (++*spins == STUCK_SPINS)
		panic("spinlock %s stuck, held by CPU %d", l->name, READ_ONCE(l->holder) - 1);
}
#else
static inline void check_before(const struct spinlock *l, bool nested, bool off) { (void)l, (void)nested, (void)off; }
static inline void check_taken(struct spinlock *l, bool on) { (void)l, (void)on; }
static inline void check_release(struct spinlock *l) { (void)l; }
static inline void check_stuck(const struct spinlock *l, uint32_t *spins) { (void)l, (void)spins; }
#endif

void spin_init(struct spinlock *l, const char *name, enum lock_rank rank) { *l = (struct spinlock)SPINLOCK_INIT(name, (uint16_t)rank); }

static inline void ticket_take(struct spinlock *l)
{
	uint32_t mine = __atomic_fetch_add(&l->next, 1, __ATOMIC_RELAXED), spins = 0;

	while (__atomic_load_n(&l->owner, __ATOMIC_ACQUIRE) != mine) {
		check_stuck(l, &spins);
		arch_pause();
	}
}

static inline void ticket_give(struct spinlock *l) { __atomic_store_n(&l->owner, l->owner + 1, __ATOMIC_RELEASE); }

/* off: interrupts were off before; on: they are on while it is held. */
static inline void lock_take(struct spinlock *l, bool nested, bool off, bool on)
{
	check_before(l, nested, off);
	ticket_take(l);
	check_taken(l, on);
}

void spin_lock(struct spinlock *l)
{
	bool off;

	preempt_disable();
	off = irqs_off();
	lock_take(l, false, off, !off);
}

void spin_lock_nested(struct spinlock *l)
{
	bool off;

	preempt_disable();
	off = irqs_off();
	lock_take(l, true, off, !off);
}

bool spin_trylock(struct spinlock *l)
{
	uint32_t owner;

	preempt_disable();
	owner = __atomic_load_n(&l->owner, __ATOMIC_RELAXED);
	if (!__atomic_compare_exchange_n(&l->next, &owner, owner + 1, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) {
		preempt_enable();
		return false;
	}
	check_taken(l, !irqs_off());
	return true;
}

void spin_unlock(struct spinlock *l)
{
	check_release(l);
	ticket_give(l);
	preempt_enable();
}

uint64_t spin_lock_irqsave(struct spinlock *l)
{
	uint64_t flags = arch_irq_save();

	lock_take(l, false, !(flags & RFLAGS_IF), false);
	return flags;
}

void spin_unlock_irqrestore(struct spinlock *l, uint64_t flags)
{
	check_release(l);
	ticket_give(l);
	arch_irq_restore(flags);
#ifndef __KERNEL_HOST_TEST__
	if ((flags & RFLAGS_IF) && unlikely(this_cpu_read(preempt_word) == 0))
		preempt_resched();
#endif
}

bool spin_held(const struct spinlock *l)
{
#ifdef CONFIG_DEBUG
	return held_by_me(l);
#else
	(void)l;
	return true;
#endif
}
