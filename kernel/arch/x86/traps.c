/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a trap means: exceptions of ring 3 go up to hooks.user_trap, those of ring 0 are resolved by the table of
 * instructions that may fault or end in panic, interrupts go to whoever attached to the vector.
 *
 * Runs with interrupts off; they are turned on only for system calls, exceptions of ring 3 and user copies that fault,
 * all of which may sleep. NMI, double fault and machine check have stacks of their own and touch nothing that locks.
 */
#include "arch/x86/arch_priv.h"

_Static_assert(offsetof(struct trap_frame, rdi) == TF_RDI, "entry.S");
_Static_assert(offsetof(struct trap_frame, vector) == TF_VECTOR, "entry.S");
_Static_assert(offsetof(struct trap_frame, rip) == TF_RIP, "entry.S");
_Static_assert(offsetof(struct trap_frame, cs) == TF_CS, "entry.S");
_Static_assert(offsetof(struct trap_frame, rflags) == TF_RFLAGS, "entry.S");
_Static_assert(offsetof(struct trap_frame, rsp) == TF_RSP, "entry.S");
_Static_assert(sizeof(struct trap_frame) == TF_SIZE, "entry.S");

/* entry.S calls these. */
void trap_dispatch(struct trap_frame *tf);
void trap_dispatch_paranoid(struct trap_frame *tf);
bool syscall_dispatch(struct trap_frame *tf);

struct fixup {
	uint64_t insn, target, kind;
};
extern const struct fixup __fixups_start[], __fixups_end[];

/* Flags that ring 3 may have: CF PF AF ZF SF TF DF OF RF AC ID; IF is always set. */
#define USER_RFLAGS 0x250dd5ull

static void (*vector_handler[256])(unsigned vector);
static bool nmi_stops;

COUNTER(irq_spurious, "arch.irq.spurious");
COUNTER(nmi_unknown, "arch.nmi.unknown");

static const char *const exception_name[32] = {
	"divide error", "debug exception", "NMI", "breakpoint", "overflow", "bound range exceeded", "invalid opcode",
	"device not available", "double fault", "coprocessor overrun", "invalid TSS", "segment not present", "stack fault",
	"general protection fault", "page fault", "reserved exception", "x87 error", "alignment check", "machine check",
	"SIMD error", "virtualization exception", "control protection", [28] = "hypervisor injection", [29] = "VMM communication",
	[30] = "security exception"
};

static bool irqs_on(void)
{
	uint64_t f;

	__asm__ volatile("pushfq; popq %0" : "=r"(f));
	return f & RFLAGS_IF;
}

static bool canonical(uint64_t va) { return (uint64_t)((int64_t)(va << 16) >> 16) == va; }

/* Leaves nothing in the frame that would make IRET fault or give ring 3 more than it may have. */
static void frame_sanitize(struct trap_frame *tf)
{
	tf->cs = SEL_USER_CODE;
	tf->ss = SEL_USER_DATA;
	tf->rflags = (tf->rflags & USER_RFLAGS) | RFLAGS_IF | 2;
	if (!canonical(tf->rip))
		tf->rip = KERNEL_BASE; /* faults in ring 3 just as well */
}

static void user_return(struct trap_frame *tf)
{
	do {
		arch_irq_disable();
		if (arch_hooks.user_return)
			arch_hooks.user_return(tf);
	} while (irqs_on());
	frame_sanitize(tf);
}

static const struct fixup *fixup_find(uint64_t rip)
{
	for (const struct fixup *f = __fixups_start; f < __fixups_end; f++)
		if (f->insn == rip)
			return f;
	return NULL;
}

/* A page fault of a user copy: the layers above may bring the page in. They may sleep, so not with interrupts off. */
static bool user_copy_resolve(const struct trap_frame *tf, uint64_t cr2)
{
	bool done;

	if (tf->vector != VEC_PAGE_FAULT || cr2 >= USER_TOP || !(tf->rflags & RFLAGS_IF) || !arch_hooks.user_copy_fault)
		return false;
	arch_irq_enable();
	done = arch_hooks.user_copy_fault(cr2, tf->error);
	arch_irq_disable();
	return done;
}

static void exception_kernel(struct trap_frame *tf, uint64_t cr2)
{
	const struct fixup *f;

	if (tf->vector == VEC_PAGE_FAULT && !(tf->error & 1) && paging_sync_top(cr2))
		return;
	f = fixup_find(tf->rip);
	if (f) {
		if (f->kind != FIXUP_USER || !user_copy_resolve(tf, cr2))
			tf->rip = f->target;
		return;
	}
	if (tf->vector == VEC_PAGE_FAULT)
		panic_trap(tf, "page fault in the kernel: %s 0x%llx, error %llu",
			   tf->error & 16 ? "execution at" : tf->error & 2 ? "write to" : "read of", (unsigned long long)cr2,
			   (unsigned long long)tf->error);
	panic_trap(tf, "%s in the kernel, error %llu", exception_name[tf->vector] ? exception_name[tf->vector] : "exception",
		   (unsigned long long)tf->error);
}

static void exception(struct trap_frame *tf)
{
	uint64_t cr2 = tf->vector == VEC_PAGE_FAULT ? read_cr2() : 0;

	if (!trap_from_user(tf)) {
		exception_kernel(tf, cr2);
		return;
	}
	if (!arch_hooks.user_trap)
		panic_trap(tf, "exception of ring 3 before there is a ring 3");
	arch_irq_enable();
	arch_hooks.user_trap(tf, cr2);
	arch_irq_disable();
}

static void interrupt(struct trap_frame *tf)
{
	unsigned v = (unsigned)tf->vector & 0xff;

	if (v == VEC_SPURIOUS || v < VEC_ISA_BASE) { /* neither wants an EOI */
		counter_add(irq_spurious, 1);
		return;
	}
	if (vector_handler[v])
		vector_handler[v](v);
	else
		counter_add(irq_spurious, 1);
	apic_eoi();
	if (arch_hooks.irq_exit)
		arch_hooks.irq_exit(tf);
}

void trap_dispatch(struct trap_frame *tf)
{
	if (tf->vector < 32)
		exception(tf);
	else
		interrupt(tf);
	if (trap_from_user(tf))
		user_return(tf);
}

void trap_dispatch_paranoid(struct trap_frame *tf)
{
	if (tf->vector == VEC_NMI) {
		if (__atomic_load_n(&nmi_stops, __ATOMIC_ACQUIRE))
			arch_halt_forever();
		counter_add(nmi_unknown, 1);
		return;
	}
	if (tf->vector == VEC_DOUBLE_FAULT) /* nearly always a push onto a guard page */
		panic_trap(tf, "double fault; last page fault at 0x%llx, stack pointer 0x%llx", (unsigned long long)read_cr2(),
			   (unsigned long long)tf->rsp);
	panic_trap(tf, "%s", exception_name[tf->vector]);
}

bool syscall_dispatch(struct trap_frame *tf)
{
	arch_irq_enable();
	if (arch_hooks.syscall)
		arch_hooks.syscall(tf);
	else
		tf->rax = (uint64_t)-ENOSYS;
	user_return(tf);
	/* SYSRET takes RIP from RCX and RFLAGS from R11, and with a non-canonical RCX some CPUs fault in ring 0. */
	return tf->rip == tf->rcx && tf->rflags == tf->r11 && tf->rip < USER_TOP && !(tf->rflags & (RFLAGS_RF | RFLAGS_TF));
}

void arch_enter_user(struct trap_frame *tf)
{
	user_return(tf);
	__asm__ volatile("movq %0, %%rsp\n\tjmp trap_return_user" : : "r"(tf) : "memory");
	__builtin_unreachable();
}

void trap_attach(unsigned vector, void (*fn)(unsigned vector)) { vector_handler[vector] = fn; }

void nmi_stop_others(void) { __atomic_store_n(&nmi_stops, true, __ATOMIC_RELEASE); }
