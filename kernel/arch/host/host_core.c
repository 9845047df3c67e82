/* SPDX-License-Identifier: Apache-2.0 */
/* Stand-ins for kernel/core in host unit tests: log, panic, spinlocks that check their use, preemption. Link what is not under test. */
#include "arch/x86/arch.h"
#include "core/core.h"
#include <stdio.h>
#include <stdlib.h>

uint64_t host_clock_ns;
uint64_t tsc_hz = NSEC_PER_SEC, apic_timer_hz = NSEC_PER_SEC;
unsigned cpu_count = 1;
char *host_ram; /* physical address 0 (host_mem.c); NULL makes physical addresses and pointers the same */
void (*host_panic_hook)(const char *text);
unsigned host_log_lines;
char host_log_last[512];

void log_line(enum log_level level, const char *fmt, ...)
{
	va_list ap;

	(void)level;
	va_start(ap, fmt);
	vsnprintf(host_log_last, sizeof(host_log_last), fmt, ap);
	va_end(ap);
	host_log_lines++;
	if (getenv("HOST_LOG"))
		fprintf(stderr, "%s\n", host_log_last);
}
void panic(const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (host_panic_hook)
		host_panic_hook(text);
	fprintf(stderr, "panic: %s\n", text);
	abort();
}
__attribute__((weak)) size_t strlcpy(char *d, const char *s, size_t size)
{
	size_t n = strlen(s);

	if (size) {
		size_t m = n < size - 1 ? n : size - 1;

		memcpy(d, s, m);
		d[m] = 0;
	}
	return n;
}

void spin_init(struct spinlock *l, const char *name, enum lock_rank rank) { *l = (struct spinlock)SPINLOCK_INIT(name, rank); }
static struct spinlock *held[8]; /* for host_unlock_all() */
static unsigned nr_held;
void spin_lock(struct spinlock *l)
{
	if (l->holder)
		panic("spinlock %s taken twice", l->name);
	l->holder = 1;
	if (nr_held < ARRAY_SIZE(held))
		held[nr_held++] = l;
}
void spin_unlock(struct spinlock *l)
{
	if (!l->holder)
		panic("spinlock %s not held", l->name);
	l->holder = 0;
	for (unsigned i = 0; i < nr_held; i++)
		if (held[i] == l)
			held[i--] = held[--nr_held];
}
void host_unlock_all(void)
{
	while (nr_held)
		spin_unlock(held[0]);
}
bool spin_trylock(struct spinlock *l) { return l->holder ? false : (spin_lock(l), true); }
uint64_t spin_lock_irqsave(struct spinlock *l) { spin_lock(l); return 0; }
void spin_unlock_irqrestore(struct spinlock *l, uint64_t f) { (void)f; spin_unlock(l); }
bool spin_held(const struct spinlock *l) { return l->holder; }
void spin_lock_nested(struct spinlock *l) { spin_lock(l); }
static unsigned preempt_count;
void preempt_disable(void) { preempt_count++; }
void preempt_enable(void) { preempt_count--; }
unsigned preempt_depth(void) { return preempt_count; }

uint64_t clock_ns(void) { return host_clock_ns; }
uint64_t tsc_to_ns(uint64_t t) { return (uint64_t)((__uint128_t)t * NSEC_PER_SEC / tsc_hz); }
uint64_t ns_to_tsc(uint64_t n) { return (uint64_t)((__uint128_t)n * tsc_hz / NSEC_PER_SEC); }
unsigned arch_cpu_id(void) { return 0; }
void counter_source_add(struct counter_source *s) { (void)s; }
