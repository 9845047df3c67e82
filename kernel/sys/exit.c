/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How threads and processes end.
 *
 *   alive --proc_begin_exit--> exiting --last thread's proc_finish--> zombie --wait4 of the parent, or no parent--> freed
 *
 * A thread ends only itself: others ask it by world_kill(), which it obeys at its next return to ring 3 or interruptible wait.
 */
#include "sys/proc.h"

/* Every other thread of p leaves; one that runs ring-3 or guest code elsewhere is interrupted. proc_lock held. */
static void kill_threads(struct proc *p, const struct thread *but)
{
	list_for_each(l, &p->threads) {
		struct thread *t = list_entry(l, struct thread, link);

		if (t == but)
			continue;
		world_kill(t->world);
	}
}

void proc_begin_exit(struct proc *p, int status)
{
	if (p->exiting)
		return;
	p->exiting = true;
	p->exit_status = status;
	p->stopped = false;
	kill_threads(p, NULL);
}

void proc_end_other_threads(struct thread *t)
{
	struct proc *p = t->proc;

	spin_lock(&proc_lock);
	if (!p->exiting && !current->kill) /* else another thread was first: this one ends */
		kill_threads(p, t);
	spin_unlock(&proc_lock);
	waitq_wait(&p->child_wait, READ_ONCE(p->nr_threads) == 1 || current->kill, false, UINT64_MAX);
	if (current->kill)
		return;
	spin_lock(&proc_lock);
	if (t->tid != p->pid) { /* the process goes on under its own number */
		pid_free(t->tid);
		t->tid = p->pid;
		pid_set_thread(p->pid, t);
	}
	spin_unlock(&proc_lock);
}

void proc_vfork_done(struct proc *p)
{
	spin_lock(&proc_lock);
	if (p->vfork_waits && p->parent)
		waitq_wake_all(&p->parent->child_wait);
	p->vfork_waits = false;
	spin_unlock(&proc_lock);
}

/* Children of a process that ends go to init; without init nobody waits for them. */
static void orphan_children(struct proc *p)
{
	struct proc *init = proc_find(1);

	if (init == p || (init && init->exiting))
		init = NULL;
	list_for_each_safe(l, next, &p->children) {
		struct proc *child = list_entry(l, struct proc, sibling);

		list_remove(l);
		child->parent = init;
		child->vfork_waits = false;
		if (init) {
			list_push_back(&init->children, l);
			if (child->zombie)
				waitq_wake_all(&init->child_wait);
		}
	}
}

static struct proc *next_dead_orphan(void)
{
	list_for_each(l, &proc_all) {
		struct proc *p = list_entry(l, struct proc, all_link);

		if (p->zombie && !p->parent)
			return p;
	}
	return NULL;
}

/* Frees zombies that nobody will wait for. */
static void reap_orphans(void)
{
	for (;;) {
		struct proc *p;

		spin_lock(&proc_lock);
		p = next_dead_orphan();
		if (p)
			p->zombie = false; /* ours now */
		spin_unlock(&proc_lock);
		if (!p)
			return;
		proc_free(p);
	}
}

static void tell_parent(struct proc *p)
{
	struct proc *parent = p->parent;
	const struct signal_action *a = parent ? &parent->action[SIGCHLD] : NULL;
	bool signalled = p->exit_status & 0x7f;
	struct signal_info info = {
		.code = signalled ? CLD_KILLED : CLD_EXITED, .pid = p->pid, .status = signalled ? p->exit_status & 0x7f : p->exit_status >> 8,
	};

	if (!parent)
		return;
	if (a->handler == SIG_IGN || (a->flags & SA_NOCLDWAIT)) {
		p->parent = NULL;
		list_remove(&p->sibling);
	}
	signal_send_locked(parent, NULL, SIGCHLD, &info);
	waitq_wake_all(&parent->child_wait);
}

/* The last thread: everything of the process but its status goes. */
static void proc_finish(struct proc *p)
{
	uint64_t left;

	alarm_set(p, 0, 0, &left);
	fdtable_unref(p->files);
	p->files = NULL;
	aspace_unref(p->as);
	p->as = NULL;
	proc_use_node(&p->cwd, NULL);
	proc_use_node(&p->exe, NULL);
	if (p->sid == p->pid)
		tty_session_ended(p->sid);
	if (p->pid == 1)
		log_error("init has ended with status %d; what runs goes on without it", p->exit_status);
	spin_lock(&proc_lock);
	orphan_children(p);
	if (p->vfork_waits && p->parent)
		waitq_wake_all(&p->parent->child_wait);
	p->vfork_waits = false;
	p->zombie = true;
	tell_parent(p);
	spin_unlock(&proc_lock);
	reap_orphans(); /* p itself too, perhaps */
}

/* Out of the process' memory: from here on this is a kernel world. Its FPU area goes with the world. */
static void shed_address_space(void)
{
	preempt_disable();
	current->arch.cr3 = 0;
	arch_root_load(arch_kernel_root);
	preempt_enable();
}

void thread_exit(void)
{
	struct thread *t = thread_current();
	struct proc *p = t->proc;
	bool last;

	if (t->clear_child_tid) {
		uint32_t zero = 0;

		if (!arch_user_write(uva(t->clear_child_tid), &zero, sizeof(zero)))
			futex_wake(p->as, t->clear_child_tid, 1, UINT32_MAX);
	}
	shed_address_space();
	spin_lock(&proc_lock);
	current->proc = NULL;
	current->signalled = false;
	p->dead_threads_ns += current->run_total_ns;
	last = thread_unlink(t);
	if (last)
		p->exiting = true;
	waitq_wake_all(&p->child_wait); /* an exec may be waiting to be alone */
	spin_unlock(&proc_lock);
	kfree(t);
	if (last)
		proc_finish(p);
	world_exit();
}
