/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From SYSCALL to the function that serves it. The common way is a range check, a table entry, and the call: a vCPU's
 * VMM_RUN comes through here for every exit that ring 3 answers, so nothing may be added to it lightly.
 */
#include "abi/vmm.h"
#include "sys/syscall.h"

enum { R = 1, C = 2 };
struct syscall_entry {
	syscall_fn *fn;
	uint32_t flags;
};
static const struct syscall_entry table[] = {
#define CALL(number, name, flags) [number] = { sys_##name, flags },
#include "sys/table.h"
#undef CALL
};
#define CALL_IOCTL 16
#define CALL_TGKILL 234

bool syscall_restarts(uint64_t call) { return call < ARRAY_SIZE(table) && (table[call].flags & R); }

/* ---- calls that are not served: one line per program and call ---- */

#define UNSERVED_MAX 128
static struct {
	struct spinlock lock;
	unsigned n;
	struct { char name[24]; uint64_t call; } seen[UNSERVED_MAX];
} unserved = { .lock = SPINLOCK_INIT("unserved calls", RANK_FS) };

static bool unserved_first_time(const char *name, uint64_t call)
{
	bool first = true;

	spin_lock(&unserved.lock);
	for (unsigned i = 0; i < unserved.n && first; i++)
		first = unserved.seen[i].call != call || strcmp(unserved.seen[i].name, name);
	if (first && unserved.n == UNSERVED_MAX)
		first = false;
	if (first) {
		strlcpy(unserved.seen[unserved.n].name, name, sizeof(unserved.seen[0].name));
		unserved.seen[unserved.n++].call = call;
	}
	spin_unlock(&unserved.lock);
	return first;
}

/* The rare ways are functions of their own, so that the common one saves no registers for them. */
#define RARE __attribute__((noinline, cold))

static RARE int64_t call_unserved(struct thread *t, uint64_t call)
{
	if (unserved_first_time(t->proc->name, call))
		log_info("%s: system call %lu is not served", t->proc->name, call);
	return -ENOSYS;
}

/* ---- confinement (abi/vmm.h, PR_MICA_CONFINE) ---- */

static bool confined_allows(const struct thread *t, const struct trap_frame *tf)
{
	uint64_t call = tf->rax;

	if (call >= ARRAY_SIZE(table) || !(table[call].flags & C))
		return false;
	if (call == CALL_IOCTL) /* terminals' requests and those that set a VM up are over */
		return tf->rsi >= VMM_GET_REGS && tf->rsi <= VMM_STATS; /* registers: a reset starts the kernel anew */
	if (call == CALL_TGKILL)
		return (int)tf->rdi == t->proc->pid;
	return true;
}

static RARE int64_t confined_breach(struct thread *t, struct trap_frame *tf)
{
	log_error("%s (process %d): system call %lu after confinement", t->proc->name, t->proc->pid, tf->rax);
	log_crash(t, tf, SIGSYS, tf->rip);
	spin_lock(&proc_lock);
	proc_begin_exit(t->proc, SIGSYS);
	spin_unlock(&proc_lock);
	return -ENOSYS;
}

void sys_syscall(struct trap_frame *tf)
{
	struct thread *t = thread_current();
	uint64_t call = tf->rax;
	int64_t r;

	t->call = call;
	t->frame = tf;
	if (t->proc->confined && unlikely(!confined_allows(t, tf)))
		r = confined_breach(t, tf);
	else if (likely(call < ARRAY_SIZE(table) && table[call].fn))
		r = table[call].fn(t, tf->rdi, tf->rsi, tf->rdx, tf->r10, tf->r8, tf->r9);
	else
		r = call_unserved(t, call);
	t->frame->rax = (uint64_t)r;
}
