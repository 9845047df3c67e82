/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Wait queues. An entry lives on its waiter's stack and is removed by the waiter alone, under the
 * queue's lock; a waker holds that lock while it wakes, so the waiter cannot be gone meanwhile.
 */
#include "sched/sched_priv.h"

void waitq_init(struct waitq *q)
{
	spin_init(&q->lock, "wait queue", RANK_WAITQ);
	list_init(&q->waiters);
}

void waitq_add(struct waitq *q, struct waitq_entry *e)
{
	uint64_t flags = spin_lock_irqsave(&q->lock);

	e->world = current;
	list_push_back(&q->waiters, &e->link);
	spin_unlock_irqrestore(&q->lock, flags);
}

void waitq_remove(struct waitq *q, struct waitq_entry *e)
{
	uint64_t flags = spin_lock_irqsave(&q->lock);

	list_remove(&e->link);
	spin_unlock_irqrestore(&q->lock, flags);
}

void waitq_wake_all(struct waitq *q)
{
	uint64_t flags = spin_lock_irqsave(&q->lock);

	list_for_each(p, &q->waiters)
		world_wake(list_entry(p, struct waitq_entry, link)->world);
	spin_unlock_irqrestore(&q->lock, flags);
}

/* Those that are awake already, or about to look at their condition, see it themselves: go on to one that sleeps. */
void waitq_wake_one(struct waitq *q)
{
	uint64_t flags = spin_lock_irqsave(&q->lock);

	list_for_each(p, &q->waiters)
		if (world_wake(list_entry(p, struct waitq_entry, link)->world))
			break;
	spin_unlock_irqrestore(&q->lock, flags);
}
