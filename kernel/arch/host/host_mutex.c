/* SPDX-License-Identifier: Apache-2.0 */
/* Mutexes in host unit tests: one world, so a mutex that is taken twice can never come free. */
#include "sched/sched.h"

static struct world host_world;
struct world *current_world = &host_world;

void mutex_init(struct mutex *m, const char *name)
{
	spin_init(&m->lock, name, RANK_WAITQ);
	m->owner = NULL;
	list_init(&m->waiters);
}
void mutex_lock(struct mutex *m)
{
	if (m->owner)
		panic("mutex %s taken twice", m->lock.name);
	m->owner = current;
}
void mutex_unlock(struct mutex *m)
{
	if (m->owner != current)
		panic("mutex %s not held", m->lock.name);
	m->owner = NULL;
}
bool mutex_held(const struct mutex *m) { return m->owner == current; }
