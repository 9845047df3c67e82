/* SPDX-License-Identifier: Apache-2.0 */
/* Exceptions of ring 3: page faults go to the address space, all else becomes a signal. A fatal one is logged with its registers. */
#include "sys/proc.h"
#include "sys/syscall.h"

enum { VEC_DE = 0, VEC_DB = 1, VEC_BP = 3, VEC_OF = 4, VEC_BR = 5, VEC_UD = 6, VEC_NM = 7, VEC_NP = 11, VEC_SS = 12, VEC_GP = 13, VEC_PF = 14,
       VEC_MF = 16, VEC_AC = 17, VEC_XM = 19 };
enum { SEGV_MAPERR = 1, SEGV_ACCERR = 2, BUS_ADRERR = 2 };

/* One line per program and this many in all: ring 3 must not fill the log by crashing in a loop. */
#define CRASH_LOG_MAX 64
static uint32_t crashes_logged;

void log_crash(const struct thread *t, const struct trap_frame *tf, int sig, uint64_t address)
{
	uint32_t n = __atomic_fetch_add(&crashes_logged, 1, __ATOMIC_RELAXED);

	if (n >= CRASH_LOG_MAX)
		return;
	log_error("%s (process %d, thread %d) ended by signal %d: vector %lu error 0x%lx address 0x%lx", t->proc->name, t->proc->pid, t->tid,
		  sig, tf->vector, tf->error, address);
	log_error("  rip 0x%lx rsp 0x%lx rflags 0x%lx rax 0x%lx rbx 0x%lx rcx 0x%lx rdx 0x%lx", tf->rip, tf->rsp, tf->rflags, tf->rax,
		  tf->rbx, tf->rcx, tf->rdx);
	log_error("  rsi 0x%lx rdi 0x%lx rbp 0x%lx r8 0x%lx r9 0x%lx r10 0x%lx r11 0x%lx", tf->rsi, tf->rdi, tf->rbp, tf->r8, tf->r9,
		  tf->r10, tf->r11);
	log_error("  r12 0x%lx r13 0x%lx r14 0x%lx r15 0x%lx", tf->r12, tf->r13, tf->r14, tf->r15);
	if (n + 1 == CRASH_LOG_MAX)
		log_warn("further crashes of user worlds are not logged");
}

static int signal_of_vector(uint64_t vector)
{
	switch (vector) {
	case VEC_DE:
	case VEC_MF:
	case VEC_XM:
		return SIGFPE;
	case VEC_DB:
	case VEC_BP:
		return SIGTRAP;
	case VEC_UD:
		return SIGILL;
	case VEC_NP:
	case VEC_SS:
	case VEC_AC:
		return SIGBUS;
	default:
		return SIGSEGV;
	}
}

void sys_user_trap(struct trap_frame *tf, uint64_t cr2)
{
	struct thread *t = thread_current();
	struct signal_info info = { .code = SI_KERNEL, .address = tf->rip };
	int sig = signal_of_vector(tf->vector), r;

	t->call = UINT64_MAX;
	if (tf->vector == VEC_PF) {
		r = cr2 < USER_TOP ? aspace_fault(t->proc->as, cr2, tf->error) : -EFAULT;
		if (!r)
			return;
		if (r == -ENOMEM)
			log_error("%s (process %d): no memory left for user worlds", t->proc->name, t->proc->pid);
		sig = r == -ENOMEM || r == -EIO ? SIGBUS : SIGSEGV;
		info.code = sig == SIGBUS ? BUS_ADRERR : tf->error & 1 ? SEGV_ACCERR : SEGV_MAPERR;
		info.address = cr2;
	}
	signal_force(t, tf, sig, &info);
}

bool sys_user_copy_fault(uint64_t addr, uint64_t error)
{
	struct thread *t = current ? thread_current() : NULL;

	return t && t->proc->as && !preempt_depth() && aspace_fault(t->proc->as, addr, error) == 0;
}
