/* SPDX-License-Identifier: Apache-2.0 */
/* The processor as host unit tests see it: instructions of arch.h that have a harmless meaning on Linux. */
#ifndef ARCH_HOST_ARCH_HOST_H
#define ARCH_HOST_ARCH_HOST_H

#include "core/types.h"

extern uint64_t host_clock_ns; /* clock_ns(); tests move it, host_run_timers() fires what became due */
static inline uint64_t arch_rdtsc(void) { extern uint64_t host_clock_ns; return host_clock_ns; }
static inline uint64_t arch_irq_save(void) { return 0; }
static inline void arch_irq_restore(uint64_t f) { (void)f; }
static inline void arch_irq_enable(void) {}
static inline void arch_irq_disable(void) {}
static inline void arch_pause(void) {}
uint64_t rdmsr(uint32_t msr);
void wrmsr(uint32_t msr, uint64_t v);
static inline void arch_cpuid(uint32_t leaf, uint32_t sub, uint32_t r[4])
{
	__asm__ volatile("cpuid" : "=a"(r[0]), "=b"(r[1]), "=c"(r[2]), "=d"(r[3]) : "a"(leaf), "c"(sub));
}
static inline uint8_t inb(uint16_t port) { (void)port; return 0xff; }
static inline void outb(uint16_t port, uint8_t v) { (void)port; (void)v; }
static inline uint32_t inl(uint16_t port) { (void)port; return 0xffffffffu; }
static inline void outl(uint16_t port, uint32_t v) { (void)port; (void)v; }
static inline uint64_t arch_percpu_delta(void) { return 0; }

/* What tests of timers use (host_timer.c): moves the clock to `ns`, firing timers in order. */
void host_run_until(uint64_t ns);
/* panic() in tests calls this when set (longjmp out of it); else aborts. */
extern void (*host_panic_hook)(const char *text);
/* After a panic that a test expected: spinlocks that were held. */
void host_unlock_all(void);
/* Log lines counted, last one kept; printed when HOST_LOG is in the environment. */
extern unsigned host_log_lines;
extern char host_log_last[512];

#endif
