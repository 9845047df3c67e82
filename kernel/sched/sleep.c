/* SPDX-License-Identifier: Apache-2.0 */
/* Blocking with a deadline, and plain sleep. Each world has one timer for it. */
#include "sched/sched_priv.h"

static void sleep_over(struct timer *t) { world_wake(container_of(t, struct world, sleep_timer)); }

void sleep_init(struct world *w) { timer_init(&w->sleep_timer, sleep_over); }

bool sched_block_until(uint64_t deadline_ns)
{
	struct world *w = current;

	if (deadline_ns == UINT64_MAX) {
		sched_block();
		return false;
	}
	if (clock_ns() >= deadline_ns)
		return true;
	timer_set(&w->sleep_timer, deadline_ns);
	sched_block();
	timer_cancel(&w->sleep_timer);
	return clock_ns() >= deadline_ns;
}

void sched_sleep_ns(uint64_t ns)
{
	uint64_t deadline = clock_ns() + ns;

	do
		world_prepare_block();
	while (!sched_block_until(deadline));
}
