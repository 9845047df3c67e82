/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The end of the host: text, registers, a symbolic backtrace and the trace ring on every sink, the
 * other CPUs stopped by NMI. The first CPU that comes here wins; a second one waits for its NMI. A
 * fault during the report ends it.
 *
 * Also here: boot_refuse(), for machines that lack something, and the stack protector's two symbols.
 */
#include "arch/x86/arch.h"
#include "core/core.h"
#include "core/core_priv.h"

/* Made by the link step; absent in the first of its two passes. Addresses are offsets from KERNEL_BASE, sorted. */
extern const uint32_t ksym_count __attribute__((weak)), ksym_addr[] __attribute__((weak)), ksym_name[] __attribute__((weak));
extern const char ksym_names[] __attribute__((weak));

#define BACKTRACE_MAX 32

uint32_t panic_cpu;
void (*panic_context)(void);

/* Index of the last symbol at or below offset, or -1. */
static int ksym_find(uint32_t offset)
{
	uint32_t lo = 0, hi = ksym_count;

	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;

		if (ksym_addr[mid] <= offset)
			lo = mid + 1;
		else
			hi = mid;
	}
	return (int)lo - 1;
}

void ksym_format(uint64_t pc, char *buf, size_t size)
{
	uint64_t offset = pc - KERNEL_BASE;
	int i = -1;

	if (&ksym_count && pc >= KERNEL_BASE)
		i = ksym_find((uint32_t)offset);
	if (i < 0)
		strlcpy(buf, "?", size);
	else
		snprintf(buf, size, "%s+0x%lx", ksym_names + ksym_name[i], offset - ksym_addr[i]);
}

static void print_pc(const char *what, uint64_t pc)
{
	char name[96];

	ksym_format(pc, name, sizeof(name));
	log_line(LOG_INFO, "%s %016lx %s", what, pc, name);
}

static void print_registers(const struct trap_frame *tf)
{
	log_line(LOG_INFO, "vector %lu error %lx cs %lx rflags %lx ss %lx", tf->vector, tf->error, tf->cs, tf->rflags, tf->ss);
	log_line(LOG_INFO, "rax %016lx rbx %016lx rcx %016lx rdx %016lx", tf->rax, tf->rbx, tf->rcx, tf->rdx);
	log_line(LOG_INFO, "rsi %016lx rdi %016lx rbp %016lx rsp %016lx", tf->rsi, tf->rdi, tf->rbp, tf->rsp);
	log_line(LOG_INFO, "r8  %016lx r9  %016lx r10 %016lx r11 %016lx", tf->r8, tf->r9, tf->r10, tf->r11);
	log_line(LOG_INFO, "r12 %016lx r13 %016lx r14 %016lx r15 %016lx", tf->r12, tf->r13, tf->r14, tf->r15);
	print_pc("rip", tf->rip);
}

/* Without a trap frame: what the panicking function's callers still held. */
static void print_saved_registers(void)
{
	uint64_t rbx, rsp, r12, r13, r14, r15, flags;

	__asm__ volatile("movq %%rbx, %0; movq %%rsp, %1; movq %%r12, %2; movq %%r13, %3; movq %%r14, %4; movq %%r15, %5; pushfq; popq %6"
			 : "=m"(rbx), "=m"(rsp), "=m"(r12), "=m"(r13), "=m"(r14), "=m"(r15), "=r"(flags));
	log_line(LOG_INFO, "rbx %016lx rsp %016lx r12 %016lx r13 %016lx", rbx, rsp, r12, r13);
	log_line(LOG_INFO, "r14 %016lx r15 %016lx rflags %lx", r14, r15, flags);
}

static void print_backtrace(const struct trap_frame *tf)
{
	uint64_t pc[BACKTRACE_MAX];
	unsigned n = arch_backtrace(tf, pc, BACKTRACE_MAX);

	for (unsigned i = 0; i < n; i++)
		print_pc("  at", pc[i]);
}

/* Only the first caller returns from here. */
static void panic_claim(void)
{
	uint32_t me = arch_cpu_id() + 1, seen = 0;

	arch_irq_disable();
	if (!__atomic_compare_exchange_n(&panic_cpu, &seen, me, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
		if (seen == me)
			log_line(LOG_ERROR, "panic within a panic, the report ends here");
		arch_halt_forever();
	}
	if (cpu_count > 1)
		arch_ipi_panic_all();
}

static _Noreturn void panic_report(const struct trap_frame *tf, const char *fmt, va_list ap)
{
	static char text[400];

	panic_claim();
	vsnprintf(text, sizeof(text), fmt, ap);
	log_line(LOG_ERROR, "PANIC on CPU %u: %s", arch_cpu_id(), text);
	if (panic_context)
		panic_context();
	if (tf)
		print_registers(tf);
	else
		print_saved_registers();
	print_backtrace(tf);
	trace_print();
	log_line(LOG_ERROR, "mica has stopped");
	arch_halt_forever();
}

void panic(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	panic_report(NULL, fmt, ap);
}

void panic_trap(const struct trap_frame *tf, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	panic_report(tf, fmt, ap);
}

void boot_refuse(const char *fmt, ...)
{
	char text[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	log_line(LOG_ERROR, "mica cannot start: %s", text);
	arch_irq_disable();
	arch_halt_forever();
}

/* kmain gives the guard a value of its own before anything runs that checks it across. */
uintptr_t __stack_chk_guard = 0x7d1fc0de5eed0a00ull;
_Noreturn void __stack_chk_fail(void);
void __stack_chk_fail(void) { panic("stack smashed in a caller of %p", __builtin_return_address(0)); }
