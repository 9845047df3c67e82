/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signals: sending, default actions, delivery. A signal is pending for a process or for one thread; a thread takes one at its way
 * back to ring 3 (user_return). `world->signalled` says that there is something to take: it ends interruptible waits and the
 * vCPU's run loop, and is the only thing that the way back looks at when nothing happened.
 */
#include "sys/proc.h"
#include "sys/syscall.h"

static uint64_t deliverable(const struct thread *t) { return (t->pending | t->proc->pending) & ~t->mask; }

void signal_update_locked(struct thread *t) { t->world->signalled = deliverable(t) || t->proc->stopped; }

static void wake_thread(struct thread *t)
{
	t->world->signalled = true;
	world_wake(t->world);
	if (t->world->state == WORLD_RUNNING && t->world->cpu != arch_cpu_id())
		arch_ipi_send(t->world->cpu, IPI_RESCHED);
}

static bool ignored(const struct proc *p, int sig)
{
	uint64_t handler = p->action[sig].handler;

	if (handler == SIG_IGN)
		return true;
	/* The kernel gives init no default deaths: kill(1, …) does nothing that init has not asked for. */
	return handler == SIG_DFL && ((SIG_IGNORED & SIG_BIT(sig)) || p->pid == 1);
}

static void resume_stopped(struct proc *p)
{
	if (!p->stopped)
		return;
	p->stopped = false;
	list_for_each(l, &p->threads) {
		struct thread *t = list_entry(l, struct thread, link);

		signal_update_locked(t);
		world_wake(t->world);
	}
}

static void drop_pending(struct proc *p, uint64_t set)
{
	p->pending &= ~set;
	list_for_each(l, &p->threads)
		list_entry(l, struct thread, link)->pending &= ~set;
}

/* The thread that should take a signal of the process: one that does not block it. */
static struct thread *choose_thread(struct proc *p, int sig)
{
	list_for_each(l, &p->threads) {
		struct thread *t = list_entry(l, struct thread, link);

		if (!(t->mask & SIG_BIT(sig)))
			return t;
	}
	return NULL;
}

void signal_send_locked(struct proc *p, struct thread *t, int sig, const struct signal_info *info)
{
	DEBUG_ASSERT(spin_held(&proc_lock));
	if (p->zombie || p->exiting)
		return;
	if (sig == SIGCONT || sig == SIGKILL)
		resume_stopped(p);
	if (sig == SIGCONT)
		drop_pending(p, SIG_STOPS);
	else if (SIG_STOPS & SIG_BIT(sig))
		drop_pending(p, SIG_BIT(SIGCONT));
	if (sig == SIGKILL && p->pid != 1) {
		proc_begin_exit(p, SIGKILL);
		return;
	}
	if (ignored(p, sig) && !(t ? t->mask & SIG_BIT(sig) : !choose_thread(p, sig)))
		return;
	p->info[sig] = *info;
	if (t) {
		t->pending |= SIG_BIT(sig);
		if (t->mask & SIG_BIT(sig))
			t = NULL;
	} else {
		p->pending |= SIG_BIT(sig);
		t = choose_thread(p, sig);
	}
	if (t)
		wake_thread(t);
}

static bool matches(const struct proc *p, int pid, const struct proc *self)
{
	if (pid == -1)
		return p->pid != 1 && p != self;
	return p->pgid == (pid ? -pid : self->pgid);
}

int signal_send_pid(int pid, int sig, const struct signal_info *info)
{
	const struct thread *self = thread_current();
	bool found = false;

	spin_lock(&proc_lock);
	if (pid > 0) {
		struct proc *p = proc_find(pid);

		found = p != NULL;
		if (p && sig)
			signal_send_locked(p, NULL, sig, info);
	} else {
		list_for_each(l, &proc_all) {
			struct proc *p = list_entry(l, struct proc, all_link);

			if (!matches(p, pid, self->proc))
				continue;
			found = true;
			if (sig)
				signal_send_locked(p, NULL, sig, info);
		}
	}
	spin_unlock(&proc_lock);
	return found ? 0 : -ESRCH;
}

void signal_send_group(int pgid, int sig)
{
	struct signal_info info = { .code = SI_KERNEL };

	spin_lock(&proc_lock);
	list_for_each(l, &proc_all) {
		struct proc *p = list_entry(l, struct proc, all_link);

		if (p->pgid == pgid)
			signal_send_locked(p, NULL, sig, &info);
	}
	spin_unlock(&proc_lock);
}

void signal_set_mask(struct thread *t, uint64_t mask)
{
	spin_lock(&proc_lock);
	t->mask = mask & ~SIG_UNBLOCKABLE;
	signal_update_locked(t);
	spin_unlock(&proc_lock);
}

void signal_reset_for_exec(struct proc *p)
{
	spin_lock(&proc_lock);
	for (int sig = 1; sig <= NSIG; sig++) {
		if (p->action[sig].handler != SIG_IGN)
			p->action[sig].handler = SIG_DFL;
		p->action[sig].flags = 0;
		p->action[sig].mask = 0;
	}
	spin_unlock(&proc_lock);
}

/* ---- delivery: by the thread itself, on its way to ring 3 ---- */

static int take_signal(struct thread *t, struct signal_action *action, struct signal_info *info)
{
	uint64_t set;
	int sig = 0;

	spin_lock(&proc_lock);
	set = deliverable(t);
	if (set) {
		sig = __builtin_ctzll(set) + 1;
		if (t->pending & SIG_BIT(sig))
			t->pending &= ~SIG_BIT(sig);
		else
			t->proc->pending &= ~SIG_BIT(sig);
		*info = t->proc->info[sig];
		*action = t->proc->action[sig];
		if (action->handler > SIG_IGN && (action->flags & SA_RESETHAND))
			t->proc->action[sig].handler = SIG_DFL;
	}
	signal_update_locked(t);
	spin_unlock(&proc_lock);
	return sig;
}

static void end_by(struct proc *p, int sig)
{
	spin_lock(&proc_lock);
	proc_begin_exit(p, sig);
	spin_unlock(&proc_lock);
}

static void stop_by(struct proc *p, int sig)
{
	struct signal_info info = { .code = CLD_STOPPED, .pid = p->pid, .status = sig };

	spin_lock(&proc_lock);
	if (!p->exiting) {
		p->stopped = true;
		p->waited_stop = false;
		p->stop_signal = sig;
		list_for_each(l, &p->threads)
			wake_thread(list_entry(l, struct thread, link));
		if (p->parent) {
			if (!(p->parent->action[SIGCHLD].flags & SA_NOCLDSTOP))
				signal_send_locked(p->parent, NULL, SIGCHLD, &info);
			waitq_wake_all(&p->parent->child_wait);
		}
	}
	spin_unlock(&proc_lock);
}

static void default_action(struct thread *t, const struct trap_frame *tf, int sig)
{
	const uint64_t crashes = SIG_BIT(SIGILL) | SIG_BIT(SIGTRAP) | SIG_BIT(SIGABRT) | SIG_BIT(SIGBUS) | SIG_BIT(SIGFPE) | SIG_BIT(SIGSEGV);

	if (((SIG_IGNORED | SIG_BIT(SIGCONT)) & SIG_BIT(sig)) || t->proc->pid == 1)
		return;
	if (SIG_STOPS & SIG_BIT(sig))
		stop_by(t->proc, sig);
	else {
		if (crashes & SIG_BIT(sig))
			log_crash(t, tf, sig, 0);
		end_by(t->proc, sig);
	}
}

/* A call that the signal interrupted runs again when no handler runs, or when the handler asked for it. */
static void restart_call(struct thread *t, struct trap_frame *tf, bool restart)
{
	if (t->call == UINT64_MAX || (int64_t)tf->rax != -EINTR)
		return;
	if (restart && syscall_restarts(t->call)) {
		tf->rax = t->call;
		tf->rip -= 2; /* SYSCALL is 0F 05 */
	}
	t->call = UINT64_MAX;
}

static void mask_for_handler(struct thread *t, int sig, const struct signal_action *a)
{
	spin_lock(&proc_lock);
	t->mask |= (a->mask | (a->flags & SA_NODEFER ? 0 : SIG_BIT(sig))) & ~SIG_UNBLOCKABLE;
	signal_update_locked(t);
	spin_unlock(&proc_lock);
}

bool signal_deliver(struct thread *t, struct trap_frame *tf)
{
	struct signal_action a;
	struct signal_info info;
	int sig = take_signal(t, &a, &info);

	if (!sig)
		return false;
	if (a.handler == SIG_IGN) {
		return true;
	} else if (a.handler == SIG_DFL) {
		default_action(t, tf, sig);
		return true;
	}
	restart_call(t, tf, a.flags & SA_RESTART);
	if (signal_push_frame(t, tf, sig, &a, &info)) {
		log_crash(t, tf, SIGSEGV, tf->rsp);
		end_by(t->proc, SIGSEGV);
		return true;
	}
	t->restore_mask = false;
	mask_for_handler(t, sig, &a);
	return true;
}

void signal_force(struct thread *t, struct trap_frame *tf, int sig, const struct signal_info *info)
{
	struct proc *p = t->proc;
	bool fatal;

	spin_lock(&proc_lock);
	fatal = p->action[sig].handler <= SIG_IGN || (t->mask & SIG_BIT(sig));
	if (!fatal) {
		t->pending |= SIG_BIT(sig);
		p->info[sig] = *info;
		t->world->signalled = true;
	} else {
		proc_begin_exit(p, sig);
	}
	spin_unlock(&proc_lock);
	if (fatal)
		log_crash(t, tf, sig, info->address);
}

static void wait_while_stopped(struct thread *t)
{
	while (READ_ONCE(t->proc->stopped) && !current->kill) {
		world_prepare_block();
		if (READ_ONCE(t->proc->stopped) && !current->kill)
			sched_block();
		world_cancel_block();
	}
}

/* Whatever is to be done before ring 3 goes on, one thing at a time: interrupts stay on, so that arch asks again. */
static __attribute__((noinline)) void return_slowly(struct thread *t, struct trap_frame *tf)
{
	struct world *w = t->world;

	arch_irq_enable();
	if (w->kill)
		thread_exit();
	if (sched_need_resched())
		sched_preempt();
	if (t->proc->stopped)
		wait_while_stopped(t);
	if (w->signalled && signal_deliver(t, tf))
		return;
	/* Nothing to deliver: a call that was interrupted for nothing runs again, and sigsuspend's mask goes. */
	restart_call(t, tf, true);
	if (t->restore_mask) {
		t->restore_mask = false;
		signal_set_mask(t, t->saved_mask);
	}
	spin_lock(&proc_lock);
	signal_update_locked(t);
	spin_unlock(&proc_lock);
}

/* arch_hooks.user_return: with interrupts off; turning them on makes the caller ask again. */
void sys_user_return(struct trap_frame *tf)
{
	const struct world *w = current;
	struct thread *t = w->proc;

	if (unlikely(w->signalled || w->kill || t->restore_mask || sched_need_resched()))
		return_slowly(t, tf);
}
