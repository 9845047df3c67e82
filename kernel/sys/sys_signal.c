/* SPDX-License-Identifier: Apache-2.0 */
/* System calls about signals. */
#include "sys/syscall.h"

SYSCALL(rt_sigaction)
{
	struct signal_action new_action, old;
	unsigned sig = (unsigned)a0;
	struct proc *p = t->proc;

	if (!sig || sig > NSIG || a3 != sizeof(uint64_t) || (a1 && (SIG_UNBLOCKABLE & SIG_BIT(sig))))
		return -EINVAL;
	if (a1 && arch_user_read(&new_action, uva(a1), sizeof(new_action)))
		return -EFAULT;
	spin_lock(&proc_lock);
	old = p->action[sig];
	if (a1) {
		p->action[sig] = new_action;
		p->action[sig].mask &= ~SIG_UNBLOCKABLE;
		if (new_action.handler == SIG_IGN || (new_action.handler == SIG_DFL && (SIG_IGNORED & SIG_BIT(sig))))
			p->pending &= ~SIG_BIT(sig);
	}
	spin_unlock(&proc_lock);
	return a2 && arch_user_write(uva(a2), &old, sizeof(old)) ? -EFAULT : 0;
}

SYSCALL(rt_sigprocmask)
{
	enum { SIG_BLOCK = 0, SIG_UNBLOCK = 1, SIG_SETMASK = 2 };
	uint64_t set, old = t->mask;

	if (a3 != sizeof(set))
		return -EINVAL;
	if (a1) {
		if (arch_user_read(&set, uva(a1), sizeof(set)))
			return -EFAULT;
		if (a0 > SIG_SETMASK)
			return -EINVAL;
		signal_set_mask(t, a0 == SIG_BLOCK ? old | set : a0 == SIG_UNBLOCK ? old & ~set : set);
	}
	return a2 && arch_user_write(uva(a2), &old, sizeof(old)) ? -EFAULT : 0;
}

SYSCALL(rt_sigpending)
{
	uint64_t set = (t->pending | t->proc->pending) & t->mask;

	return a1 > sizeof(set) ? -EINVAL : arch_user_write(uva(a0), &set, a1);
}

SYSCALL(rt_sigsuspend)
{
	uint64_t mask;

	if (a1 != sizeof(mask))
		return -EINVAL;
	if (arch_user_read(&mask, uva(a0), sizeof(mask)))
		return -EFAULT;
	t->saved_mask = t->mask;
	t->restore_mask = true;
	signal_set_mask(t, mask);
	return sys_pause(t, 0, 0, 0, 0, 0, 0);
}

SYSCALL(rt_sigreturn)
{
	struct trap_frame *tf = t->frame;

	t->call = UINT64_MAX;
	if (signal_pop_frame(t, tf)) {
		struct signal_info info = { .code = SI_KERNEL, .address = tf->rsp };

		signal_force(t, tf, SIGSEGV, &info);
	}
	return (int64_t)tf->rax; /* as it was when the signal came */
}

SYSCALL(sigaltstack)
{
	const uint64_t least = 2048;
	struct linux_stack s, old = { t->altstack, t->altstack_flags, 0, t->altstack_size };

	if (t->frame->rsp - t->altstack - 1 < t->altstack_size)
		old.flags |= SS_ONSTACK;
	if (a0) {
		if (arch_user_read(&s, uva(a0), sizeof(s)))
			return -EFAULT;
		if (old.flags & SS_ONSTACK)
			return -EPERM;
		if (s.flags & ~(uint32_t)(SS_DISABLE | SS_ONSTACK))
			return -EINVAL;
		if (!(s.flags & SS_DISABLE) && s.size < least)
			return -ENOMEM;
		t->altstack = s.flags & SS_DISABLE ? 0 : s.sp;
		t->altstack_size = s.flags & SS_DISABLE ? 0 : s.size;
		t->altstack_flags = s.flags & SS_DISABLE;
	}
	return a1 && arch_user_write(uva(a1), &old, sizeof(old)) ? -EFAULT : 0;
}

SYSCALL(kill)
{
	struct signal_info info = { .code = SI_USER, .pid = t->proc->pid };

	return (unsigned)a1 > NSIG ? -EINVAL : signal_send_pid((int)a0, (int)a1, &info);
}

static int64_t send_thread(struct thread *t, int pid, int tid, unsigned sig)
{
	struct signal_info info = { .code = SI_TKILL, .pid = t->proc->pid };
	struct thread *to;

	if (sig > NSIG || tid <= 0)
		return -EINVAL;
	spin_lock(&proc_lock);
	to = thread_find(tid);
	if (to && pid && to->proc->pid != pid)
		to = NULL;
	if (to && sig)
		signal_send_locked(to->proc, to, (int)sig, &info);
	spin_unlock(&proc_lock);
	return to ? 0 : -ESRCH;
}
SYSCALL(tkill) { return send_thread(t, 0, (int)a0, (unsigned)a1); }
SYSCALL(tgkill) { return (int)a0 <= 0 ? -EINVAL : send_thread(t, (int)a0, (int)a1, (unsigned)a2); }
