/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sleeping mutex. The owner hands it to the longest waiter, so nobody overtakes and a release never
 * wakes more than one world. Waiters stand on their own stacks; everything is under the mutex's
 * spinlock, also the waiter's look at whether it got it: so a waker's pointer to it stays good.
 */
#include "sched/sched_priv.h"

struct mutex_waiter {
	struct list link;
	struct world *world;
};

void mutex_init(struct mutex *m, const char *name)
{
	spin_init(&m->lock, name, RANK_WAITQ);
	m->owner = NULL;
	list_init(&m->waiters);
}

bool mutex_held(const struct mutex *m) { return READ_ONCE(m->owner) == current; }

static bool take_or_queue(struct mutex *m, struct mutex_waiter *me)
{
	uint64_t flags = spin_lock_irqsave(&m->lock);
	bool got = !m->owner;

	if (m->owner == current)
		panic("mutex %s taken twice by %s", m->lock.name, current->name);
	if (got) {
		m->owner = current;
	} else {
		me->world = current;
		list_push_back(&m->waiters, &me->link);
	}
	spin_unlock_irqrestore(&m->lock, flags);
	return got;
}

static bool was_handed_over(struct mutex *m)
{
	uint64_t flags = spin_lock_irqsave(&m->lock);
	bool mine = m->owner == current;

	spin_unlock_irqrestore(&m->lock, flags);
	return mine;
}

void mutex_lock(struct mutex *m)
{
	struct mutex_waiter me;

	if (take_or_queue(m, &me))
		return;
	for (;;) {
		world_prepare_block();
		if (was_handed_over(m))
			return;
		sched_block();
	}
}

void mutex_unlock(struct mutex *m)
{
	uint64_t flags = spin_lock_irqsave(&m->lock);

	if (m->owner != current)
		panic("mutex %s released by %s, who does not own it", m->lock.name, current->name);
	if (list_empty(&m->waiters)) {
		m->owner = NULL;
	} else {
		struct mutex_waiter *next = list_first(&m->waiters, struct mutex_waiter, link);

		list_remove(&next->link);
		m->owner = next->world;
		world_wake(next->world);
	}
	spin_unlock_irqrestore(&m->lock, flags);
}
