/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tables of processes and threads, and their making and unmaking. Numbers are given out ascending and wrap at PID_LIMIT; one
 * is free when no process, thread, group or session has it. A process has its number until its parent has waited for it.
 */
#include "sys/proc.h"

#define PID_LIMIT 30000
#define PID_SLOTS 2048 /* numbers share a slot; allocation skips taken ones */

struct spinlock proc_lock = SPINLOCK_INIT("processes", RANK_PROC);
struct list proc_all = LIST_INIT(proc_all);
static struct pid_slot {
	int pid;
	struct proc *proc;     /* whose number it is */
	struct thread *thread; /* NULL: ended, but the process still has the number */
} slots[PID_SLOTS];
static int next_pid = 1;
static unsigned nr_procs, nr_threads;


static struct pid_slot *slot_of(int pid) { return &slots[(unsigned)pid % PID_SLOTS]; }

static bool group_in_use(int id)
{
	list_for_each(p, &proc_all) {
		const struct proc *q = list_entry(p, struct proc, all_link);

		if (q->pgid == id || q->sid == id)
			return true;
	}
	return false;
}

int pid_alloc(struct proc *p, struct thread *t)
{
	for (unsigned tries = 0; tries < PID_LIMIT; tries++) {
		int pid = next_pid;
		struct pid_slot *s = slot_of(pid);

		next_pid = next_pid == PID_LIMIT ? 2 : next_pid + 1;
		if (s->pid || group_in_use(pid))
			continue;
		*s = (struct pid_slot){ pid, p, t };
		return pid;
	}
	return -EAGAIN;
}

void pid_set_thread(int pid, struct thread *t) { slot_of(pid)->thread = t; }
void pid_free(int pid) { *slot_of(pid) = (struct pid_slot){ 0 }; }

struct proc *proc_find(int pid)
{
	struct pid_slot *s = slot_of(pid);

	return pid > 0 && s->pid == pid && s->proc->pid == pid ? s->proc : NULL;
}

struct thread *thread_find(int tid)
{
	struct pid_slot *s = slot_of(tid);

	return tid > 0 && s->pid == tid ? s->thread : NULL;
}

/* What a child takes over from its parent; proc_lock held. */
static void inherit(struct proc *p, struct proc *parent)
{
	p->pgid = parent->pgid;
	p->sid = parent->sid;
	p->umask = parent->umask;
	p->cwd = parent->cwd;
	p->exe = parent->exe;
	memcpy(p->action, parent->action, sizeof(p->action));
	strlcpy(p->name, parent->name, sizeof(p->name));
	list_push_back(&parent->children, &p->sibling);
}

struct proc *proc_new(struct proc *parent)
{
	struct proc *p = kzalloc(sizeof(*p), MT_PROC);
	int pid;

	if (!p)
		return NULL;
	p->parent = parent;
	p->umask = 022;
	p->start_ns = clock_ns();
	list_init(&p->children);
	list_init(&p->sibling);
	list_init(&p->threads);
	list_init(&p->all_link);
	waitq_init(&p->child_wait);
	spin_lock(&proc_lock);
	pid = nr_procs < PROC_MAX ? pid_alloc(p, NULL) : -EAGAIN;
	if (pid > 0) {
		p->pid = p->pgid = p->sid = pid;
		p->cwd = &fs_root;
		if (parent)
			inherit(p, parent);
		node_ref(p->cwd);
		if (p->exe)
			node_ref(p->exe);
		list_push_back(&proc_all, &p->all_link);
		nr_procs++;
	}
	spin_unlock(&proc_lock);
	if (pid > 0)
		return p;
	kfree(p);
	return NULL;
}

void proc_free(struct proc *p)
{
	spin_lock(&proc_lock);
	list_remove(&p->sibling);
	list_remove(&p->all_link);
	pid_free(p->pid);
	nr_procs--;
	spin_unlock(&proc_lock);
	proc_use_node(&p->cwd, NULL);
	proc_use_node(&p->exe, NULL);
	if (p->files)
		fdtable_unref(p->files);
	if (p->as)
		aspace_unref(p->as);
	kfree(p);
}

void proc_use_node(struct node **field, struct node *n)
{
	struct node *old;

	spin_lock(&proc_lock);
	old = *field;
	*field = n;
	spin_unlock(&proc_lock);
	if (old)
		node_unref(old);
}

struct node *proc_cwd(struct proc *p)
{
	struct node *n;

	spin_lock(&proc_lock);
	n = p->cwd;
	node_ref(n);
	spin_unlock(&proc_lock);
	return n;
}

/* ---- threads ---- */

/* What a new world finds: its first frame, or a function of the kernel to run before there is one. */
struct thread_birth {
	struct trap_frame frame;
	void (*born)(struct thread *t, struct trap_frame *tf);
};

static void thread_main(void *arg)
{
	struct thread_birth birth = *(struct thread_birth *)arg;
	struct thread *t = thread_current();

	kfree(arg);
	if (!t) /* discarded before it ran */
		world_exit();
	if (birth.born)
		birth.born(t, &birth.frame);
	if (t->set_child_tid) {
		int tid = t->tid;

		if (arch_user_write(uva(t->set_child_tid), &tid, sizeof(tid)))
			log_debug("%s: thread %d cannot store its number", t->proc->name, tid);
	}
	arch_irq_disable();
	arch_enter_user(&birth.frame);
}

static bool thread_register(struct proc *p, struct thread *t)
{
	bool ok;

	spin_lock(&proc_lock);
	ok = nr_threads < THREAD_MAX && !p->exiting;
	if (ok && !p->nr_threads) {
		t->tid = p->pid;
		pid_set_thread(p->pid, t);
	} else if (ok) {
		t->tid = pid_alloc(p, t);
		ok = t->tid > 0;
	}
	if (ok) {
		nr_threads++;
		p->nr_threads++;
		list_push_back(&p->threads, &t->link);
	}
	spin_unlock(&proc_lock);
	return ok;
}

struct thread *thread_new(struct proc *p, const struct trap_frame *tf, void (*born)(struct thread *t, struct trap_frame *tf))
{
	struct thread *t = kzalloc(sizeof(*t), MT_PROC);
	struct thread_birth *birth = kmalloc(sizeof(*birth), MT_PROC);

	if (t && birth)
		t->world = world_create(p->name, WORLD_USER, thread_main, birth);
	if (!t || !t->world) {
		kfree(t);
		kfree(birth);
		return NULL;
	}
	*birth = (struct thread_birth){ *tf, born };
	t->proc = p;
	t->altstack_flags = SS_DISABLE;
	t->call = UINT64_MAX;
	list_init(&t->link);
	t->world->proc = t;
	t->world->arch.cr3 = p->as ? aspace_root(p->as) : 0;
	if (thread_register(p, t))
		return t;
	t->tid = 0;
	thread_discard(t);
	return NULL;
}

void thread_start(struct thread *t) { world_start(t->world); }

/* A world cannot be freed from outside: one that must not run starts, and ends at once (thread_main). */
static void world_discard(struct world *w)
{
	w->arch.cr3 = 0;
	w->proc = NULL;
	world_start(w);
}

bool thread_unlink(struct thread *t)
{
	list_remove(&t->link);
	nr_threads--;
	if (t->tid == t->proc->pid)
		pid_set_thread(t->tid, NULL);
	else
		pid_free(t->tid);
	return --t->proc->nr_threads == 0;
}

void thread_discard(struct thread *t)
{
	spin_lock(&proc_lock);
	if (t->tid)
		thread_unlink(t);
	spin_unlock(&proc_lock);
	world_discard(t->world);
	kfree(t);
}

void thread_set_name(struct thread *t, const char *name)
{
	strlcpy(t->proc->name, name, sizeof(t->proc->name));
	strlcpy(t->world->name, name, sizeof(t->world->name));
}

void proc_set_aspace(struct thread *t, struct aspace *as)
{
	preempt_disable();
	t->proc->as = as;
	t->world->arch.cr3 = as ? aspace_root(as) : 0;
	arch_root_load(as ? aspace_root(as) : arch_kernel_root);
	preempt_enable();
}
