/* SPDX-License-Identifier: Apache-2.0 */
/* Debug builds' trace: a short ring per CPU of marks that code leaves while it runs; a panic prints them all. */
#include "arch/x86/arch.h"
#include "core/core.h"
#include "core/core_priv.h"

#ifdef CONFIG_DEBUG
#define TRACE_ENTRIES 32u
struct trace_entry {
	uint64_t tsc, a, b;
	const char *event;
};
struct trace_ring {
	uint32_t next;
	struct trace_entry entry[TRACE_ENTRIES];
};
PERCPU(struct trace_ring, trace_ring);

void trace(const char *event, uint64_t a, uint64_t b)
{
	uint64_t flags = arch_irq_save();
	struct trace_ring *r = &this_cpu(trace_ring);

	r->entry[r->next++ % TRACE_ENTRIES] = (struct trace_entry){ arch_rdtsc(), a, b, event };
	arch_irq_restore(flags);
}

void trace_print(void)
{
	for (unsigned cpu = 0; cpu < cpu_count; cpu++) {
		struct trace_ring *r = &per_cpu(trace_ring, cpu);

		for (uint32_t i = 0; i < TRACE_ENTRIES; i++) {
			struct trace_entry *e = &r->entry[(r->next + i) % TRACE_ENTRIES];

			if (e->event)
				log_line(LOG_INFO, "trace cpu %u tsc %lu %s %lx %lx", cpu, e->tsc, e->event, e->a, e->b);
		}
	}
}
#endif
