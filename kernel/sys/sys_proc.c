/* SPDX-License-Identifier: Apache-2.0 */
/* Making processes and threads, waiting for them, ending, and who is who. */
#include "abi/vmm.h"
#include "sys/syscall.h"

enum { CLONE_VM = 0x100, CLONE_FS = 0x200, CLONE_FILES = 0x400, CLONE_SIGHAND = 0x800, CLONE_VFORK = 0x4000, CLONE_THREAD = 0x10000,
       CLONE_SETTLS = 0x80000, CLONE_PARENT_SETTID = 0x100000, CLONE_CHILD_CLEARTID = 0x200000, CLONE_CHILD_SETTID = 0x1000000 };

struct clone_args { uint64_t flags, stack, parent_tid, child_tid, tls; };

/* Registers, FPU, masks of a new thread: those of its maker, but for what clone asks. */
static struct thread *copy_thread(struct thread *t, struct proc *p, const struct clone_args *c)
{
	struct trap_frame tf = *t->frame;
	struct thread *n;

	tf.rax = 0;
	if (c->stack)
		tf.rsp = c->stack;
	n = thread_new(p, &tf, NULL);
	if (!n)
		return NULL;
	arch_fpu_save(n->world->arch.fpu);
	n->world->arch.fs_base = c->flags & CLONE_SETTLS ? c->tls : t->world->arch.fs_base;
	n->world->arch.gs_base = t->world->arch.gs_base;
	n->mask = t->mask;
	if (!(c->flags & CLONE_VM)) {
		n->altstack = t->altstack;
		n->altstack_size = t->altstack_size;
		n->altstack_flags = t->altstack_flags;
	}
	if (c->flags & CLONE_CHILD_CLEARTID)
		n->clear_child_tid = c->child_tid;
	return n;
}

static struct proc *copy_process(struct thread *t, const struct clone_args *c)
{
	struct proc *p = proc_new(t->proc);

	if (!p)
		return NULL;
	p->as = c->flags & CLONE_VM ? aspace_ref(t->proc->as) : aspace_fork(t->proc->as);
	if (c->flags & CLONE_FILES) {
		p->files = t->proc->files;
		__atomic_fetch_add(&p->files->refs, 1, __ATOMIC_RELAXED);
	} else {
		p->files = fdtable_copy(t->proc->files);
	}
	p->vfork_waits = c->flags & CLONE_VFORK;
	if (p->as && p->files)
		return p;
	proc_free(p);
	return NULL;
}

static bool child_released(struct proc *parent, int pid)
{
	struct proc *child;
	bool released;

	spin_lock(&proc_lock);
	child = proc_find(pid);
	released = !child || child->parent != parent || !child->vfork_waits;
	spin_unlock(&proc_lock);
	return released;
}

static void wait_for_vfork(struct proc *parent, int pid)
{
	waitq_wait(&parent->child_wait, current->kill || child_released(parent, pid), false, UINT64_MAX);
}

static int64_t do_clone(struct thread *t, const struct clone_args *c)
{
	const uint64_t needs = CLONE_VM | CLONE_SIGHAND | CLONE_FILES;
	bool thread = c->flags & CLONE_THREAD;
	struct proc *p;
	struct thread *n;
	int tid;

	if (thread && (c->flags & needs) != needs)
		return -EINVAL;
	if (t->proc->confined)
		return -EPERM;
	p = thread ? t->proc : copy_process(t, c);
	if (!p)
		return -EAGAIN;
	n = copy_thread(t, p, c);
	if (!n) {
		if (!thread)
			proc_free(p);
		return -EAGAIN;
	}
	tid = n->tid;
	if ((c->flags & CLONE_PARENT_SETTID) && arch_user_write(uva(c->parent_tid), &tid, sizeof(tid)))
		log_debug("%s: clone cannot store the thread's number", p->name); /* Linux ignores it as well */
	if (c->flags & CLONE_CHILD_SETTID)
		n->set_child_tid = c->child_tid;
	thread_start(n);
	if (c->flags & CLONE_VFORK)
		wait_for_vfork(t->proc, tid);
	return tid;
}

SYSCALL(clone)
{
	const struct clone_args c = { a0, a1, a2, a3, a4 };

	return do_clone(t, &c);
}
SYSCALL(fork)
{
	const struct clone_args c = { .flags = SIGCHLD };

	return do_clone(t, &c);
}
SYSCALL(vfork)
{
	const struct clone_args c = { .flags = CLONE_VM | CLONE_VFORK | SIGCHLD };

	return do_clone(t, &c);
}

SYSCALL(set_tid_address)
{
	t->clear_child_tid = a0;
	return t->tid;
}

/* ---- ending ---- */

SYSCALL(exit)
{
	spin_lock(&proc_lock);
	if (!t->proc->exiting)
		t->proc->exit_status = ((int)a0 & 0xff) << 8; /* counts if this is the last thread */
	spin_unlock(&proc_lock);
	thread_exit();
}

SYSCALL(exit_group)
{
	spin_lock(&proc_lock);
	proc_begin_exit(t->proc, ((int)a0 & 0xff) << 8);
	spin_unlock(&proc_lock);
	thread_exit();
}

/* ---- waiting ---- */

enum { WNOHANG = 1, WUNTRACED = 2 };

static bool wait_matches(const struct proc *child, const struct proc *self, int pid)
{
	return pid == -1 || (pid > 0 && child->pid == pid) || (pid == 0 && child->pgid == self->pgid) || (pid < -1 && child->pgid == -pid);
}

struct wait_result {
	int pid, status;
	uint64_t ns;
	struct proc *dead; /* to be freed */
};

/* 1: found, 0: children but none ready, -ECHILD. */
static int wait_look(struct proc *self, int pid, unsigned options, struct wait_result *out)
{
	int r = -ECHILD;

	spin_lock(&proc_lock);
	list_for_each(l, &self->children) {
		struct proc *c = list_entry(l, struct proc, sibling);

		if (!wait_matches(c, self, pid))
			continue;
		r = 0;
		if (c->zombie) {
			*out = (struct wait_result){ c->pid, c->exit_status, c->dead_threads_ns + c->children_ns, c };
			self->children_ns += out->ns;
			c->zombie = false; /* ours: nobody else finds it */
			list_remove(&c->sibling);
			r = 1;
			break;
		}
		if ((options & WUNTRACED) && c->stopped && !c->waited_stop) {
			c->waited_stop = true;
			*out = (struct wait_result){ c->pid, c->stop_signal << 8 | 0x7f, 0, NULL };
			r = 1;
			break;
		}
	}
	spin_unlock(&proc_lock);
	return r;
}

SYSCALL(wait4)
{
	struct wait_result w = { 0 };
	struct { uint64_t words[18]; } rusage = { { 0 } };
	int found = 0, r;

	r = waitq_wait(&t->proc->child_wait, (found = wait_look(t->proc, (int)a0, (unsigned)a2, &w)) != 0 || (a2 & WNOHANG), true, UINT64_MAX);
	if (r)
		return r;
	if (found <= 0)
		return found;
	if (w.dead)
		proc_free(w.dead);
	if (a1 && arch_user_write(uva(a1), &w.status, sizeof(w.status)))
		return -EFAULT;
	rusage.words[0] = w.ns / NSEC_PER_SEC;
	rusage.words[1] = w.ns % NSEC_PER_SEC / 1000;
	if (a3 && arch_user_write(uva(a3), &rusage, sizeof(rusage)))
		return -EFAULT;
	return w.pid;
}

/* ---- who is who ---- */

SYSCALL(getpid) { return t->proc->pid; }
SYSCALL(gettid) { return t->tid; }
SYSCALL(getuid) { return 0; }
SYSCALL(getgid) { return 0; }
SYSCALL(geteuid) { return 0; }
SYSCALL(getegid) { return 0; }
SYSCALL(setuid) { return a0 ? -EPERM : 0; }
SYSCALL(setgid) { return a0 ? -EPERM : 0; }
SYSCALL(getgroups) { return 0; }
SYSCALL(setgroups) { return 0; }
SYSCALL(getpgrp) { return t->proc->pgid; }

SYSCALL(getppid)
{
	int pid;

	spin_lock(&proc_lock);
	pid = t->proc->parent ? t->proc->parent->pid : 0;
	spin_unlock(&proc_lock);
	return pid;
}

static int64_t of_process(struct thread *t, int pid, bool session)
{
	struct proc *p;
	int64_t r;

	spin_lock(&proc_lock);
	p = pid ? proc_find(pid) : t->proc;
	r = !p ? -ESRCH : session ? p->sid : p->pgid;
	spin_unlock(&proc_lock);
	return r;
}
SYSCALL(getpgid) { return of_process(t, (int)a0, false); }
SYSCALL(getsid) { return of_process(t, (int)a0, true); }

bool proc_group_in_session(int pgid, int sid)
{
	list_for_each(l, &proc_all) {
		const struct proc *p = list_entry(l, struct proc, all_link);

		if (p->pgid == pgid && p->sid == sid)
			return true;
	}
	return false;
}

SYSCALL(setpgid)
{
	struct proc *p;
	int pgid, r = 0;

	spin_lock(&proc_lock);
	p = (int)a0 ? proc_find((int)a0) : t->proc;
	pgid = (int)a1 ? (int)a1 : p ? p->pid : 0;
	if (!p || (p != t->proc && p->parent != t->proc))
		r = -ESRCH;
	else if (pgid < 0)
		r = -EINVAL;
	else if (p->sid == p->pid || p->sid != t->proc->sid || (pgid != p->pid && !proc_group_in_session(pgid, p->sid)))
		r = -EPERM;
	else
		p->pgid = pgid;
	spin_unlock(&proc_lock);
	return r;
}

SYSCALL(setsid)
{
	struct proc *p = t->proc;
	int64_t r = -EPERM;

	spin_lock(&proc_lock);
	if (p->pgid != p->pid || p->sid == p->pid) {
		p->sid = p->pgid = p->pid;
		r = p->pid;
	}
	spin_unlock(&proc_lock);
	return r;
}

/* ---- knobs ---- */

SYSCALL(prctl)
{
	enum { PR_SET_PDEATHSIG = 1, PR_SET_DUMPABLE = 4, PR_SET_NAME = 15, PR_GET_NAME = 16, PR_SET_NO_NEW_PRIVS = 38 };
	char name[16];
	int64_t n;

	switch (a0) {
	case PR_SET_NAME:
		n = arch_user_read_string(name, uva(a1), sizeof(name));
		if (n == -EFAULT)
			return n;
		name[sizeof(name) - 1] = 0;
		strlcpy(t->world->name, name, sizeof(t->world->name));
		return 0;
	case PR_GET_NAME:
		strlcpy(name, t->world->name, sizeof(name));
		return arch_user_write(uva(a1), name, sizeof(name));
	case PR_SET_DUMPABLE:
	case PR_SET_NO_NEW_PRIVS:
		return 0;
	case PR_MICA_CONFINE:
		t->proc->confined = true;
		return 0;
	default:
		return -EINVAL;
	}
}

SYSCALL(arch_prctl)
{
	enum { ARCH_SET_GS = 0x1001, ARCH_SET_FS = 0x1002, ARCH_GET_FS = 0x1003, ARCH_GET_GS = 0x1004 };
	struct arch_context *c = &t->world->arch;

	switch (a0) {
	case ARCH_SET_FS:
	case ARCH_SET_GS:
		if (a1 >= USER_TOP)
			return -EPERM;
		arch_user_bases_set(c, a0 == ARCH_SET_FS ? a1 : c->fs_base, a0 == ARCH_SET_GS ? a1 : c->gs_base);
		return 0;
	case ARCH_GET_FS:
		return arch_user_write(uva(a1), &c->fs_base, sizeof(c->fs_base));
	case ARCH_GET_GS:
		return arch_user_write(uva(a1), &c->gs_base, sizeof(c->gs_base));
	default:
		return -EINVAL;
	}
}
