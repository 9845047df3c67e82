/* SPDX-License-Identifier: Apache-2.0 */
/* Timers in host unit tests: a short array, fired in order by host_run_until(). */
#include "sched/sched.h"

#define HOST_TIMERS 64
static struct timer *armed[HOST_TIMERS];

void timer_init(struct timer *t, void (*fn)(struct timer *t)) { *t = (struct timer){ .fn = fn, .index = -1 }; }
void timer_set(struct timer *t, uint64_t when)
{
	timer_cancel(t);
	for (int i = 0; i < HOST_TIMERS; i++)
		if (!armed[i]) {
			armed[i] = t;
			t->index = i;
			t->when_ns = when;
			return;
		}
	panic("too many timers");
}
bool timer_cancel(struct timer *t)
{
	if (t->index < 0)
		return false;
	armed[t->index] = NULL;
	t->index = -1;
	return true;
}
void timer_migrate(struct timer *t) { (void)t; }
void host_run_until(uint64_t ns)
{
	for (;;) {
		struct timer *first = NULL;

		for (int i = 0; i < HOST_TIMERS; i++)
			if (armed[i] && armed[i]->when_ns <= ns && (!first || armed[i]->when_ns < first->when_ns))
				first = armed[i];
		if (!first)
			break;
		if (first->when_ns > host_clock_ns)
			host_clock_ns = first->when_ns;
		timer_cancel(first);
		first->fn(first);
	}
	host_clock_ns = ns;
}
