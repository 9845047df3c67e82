/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tree of counters: those declared by COUNTER() stand in a section of their own, each with one
 * value per CPU; computed ones come from registered sources. Reading sums without a lock: a value
 * may lag by what other CPUs count at that moment, and never goes backwards.
 */
#include "arch/x86/arch.h"
#include "core/core.h"

extern const struct counter __counters_start[], __counters_end[];

static struct counter_source *sources; /* only grows; published by a release store */
static struct spinlock source_lock = SPINLOCK_INIT("counter sources", RANK_LOG);

void counter_source_add(struct counter_source *s)
{
	uint64_t flags = spin_lock_irqsave(&source_lock);

	s->next = sources;
	__atomic_store_n(&sources, s, __ATOMIC_RELEASE);
	spin_unlock_irqrestore(&source_lock, flags);
}

static uint64_t counter_sum(const struct counter *c)
{
	uint64_t sum = 0;

	for (unsigned cpu = 0; cpu < cpu_count; cpu++)
		sum += READ_ONCE(per_cpu(*c->value, cpu));
	return sum;
}

void counter_walk(void *ctx, void (*line)(void *ctx, const char *name, uint64_t value))
{
	for (const struct counter *c = __counters_start; c < __counters_end; c++)
		line(ctx, c->name, counter_sum(c));
	for (struct counter_source *s = __atomic_load_n(&sources, __ATOMIC_ACQUIRE); s; s = s->next)
		s->emit(ctx, line);
}
