/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Processes and threads of ring 3, private to kernel/sys.
 *
 * A process is an address space, a descriptor table and signal actions; its threads are worlds. proc_lock (spinlock) guards the
 * family tree, the number table, groups and sessions, threads' lists and everything about signals. It is taken over nothing
 * that sleeps, never by interrupt handlers, and before any lock of lower layers.
 * Legend: I immutable after creation, P proc_lock, O the thread itself only.
 */
#ifndef SYS_PROC_H
#define SYS_PROC_H

#include "fs/file.h"
#include "sys/signal_abi.h"

#define PROC_MAX 256
#define THREAD_MAX 1024
#define FD_MAX 256

/* ---- descriptors (fd.c) ---- */
struct fdtable {
	uint32_t refs;                /* atomic: processes that share it */
	struct spinlock lock;         /* for changes; look-ups take none */
	struct file *slot[FD_MAX];
	uint64_t cloexec[FD_MAX / 64];
};
struct fdtable *fdtable_new(void);
struct fdtable *fdtable_copy(struct fdtable *from);
void fdtable_unref(struct fdtable *t);
/* Lowest free number at or above `from` for f, whose reference is taken over (on failure too). */
int fd_install_from(struct fdtable *t, struct file *f, unsigned from, bool cloexec);
/* Exactly this number; what stood there is closed. */
int fd_install_at(struct fdtable *t, struct file *f, unsigned fd, bool cloexec);
int fd_close(struct fdtable *t, unsigned fd);
void fd_close_on_exec(struct fdtable *t);
int fd_get_cloexec(struct fdtable *t, unsigned fd);
int fd_set_cloexec(struct fdtable *t, unsigned fd, bool on);
/* The file behind a descriptor, referenced, or NULL. A closing thread may drop the table's reference at any moment: the count
 * is raised first and the slot looked at again, which the pool of files makes safe (fs/file.c). */
static inline struct file *fd_get(struct fdtable *t, uint64_t fd)
{
	struct file *f;

	if (unlikely(fd >= FD_MAX))
		return NULL;
	for (;;) {
		f = __atomic_load_n(&t->slot[fd], __ATOMIC_ACQUIRE);
		if (unlikely(!f))
			return NULL;
		if (likely(file_try_ref(f))) {
			if (likely(__atomic_load_n(&t->slot[fd], __ATOMIC_ACQUIRE) == f))
				return f;
			file_put(f);
		}
	}
}

/* ---- processes ---- */
struct signal_info {
	int32_t code, pid, status;
	uint64_t address;
};
struct proc {
	int pid;                      /* I */
	int pgid, sid;                /* P */
	struct proc *parent;          /* P; NULL: nobody waits for it */
	struct list children, sibling;/* P */
	struct list threads;          /* P */
	unsigned nr_threads;          /* P */
	bool zombie, exiting, waited_stop, stopped, confined;
	bool vfork_waits;             /* P: the parent sleeps until this one execs or ends */
	int exit_status;              /* P: as wait4 gives it */
	int stop_signal;
	struct aspace *as;            /* replaced by exec, only with one thread left */
	struct fdtable *files;
	struct node *cwd, *exe;       /* P to read or change */
	uint32_t umask;
	struct waitq child_wait;      /* parents in wait4, vfork and exec */
	struct signal_action action[NSIG + 1]; /* P */
	uint64_t pending;             /* P: bit sig - 1 */
	struct signal_info info[NSIG + 1];
	uint64_t alarm_ns, alarm_interval_ns; /* P: clock time of ITIMER_REAL, 0 off */
	uint64_t start_ns, dead_threads_ns, children_ns;
	struct list all_link;         /* P */
	char name[24];
};
struct thread {
	struct world *world;
	struct proc *proc;            /* I */
	int tid;
	struct list link;             /* P: proc->threads */
	uint64_t call;                /* O: system call under way; UINT64_MAX: none that could be restarted */
	struct trap_frame *frame;     /* O: of the system call under way */
	uint64_t mask, pending;       /* P */
	uint64_t saved_mask;          /* O: what to go back to after sigsuspend and its kin */
	bool restore_mask;
	uint64_t altstack, altstack_size; /* O */
	uint32_t altstack_flags;
	uint64_t clear_child_tid, set_child_tid; /* O: where its number is written, and zeroed at its end */
};
extern struct spinlock proc_lock;
extern struct list proc_all; /* P */
static inline struct thread *thread_current(void) { return current->proc; }

/* proc.c */
struct proc *proc_new(struct proc *parent);        /* with a number, without threads; NULL: too many, or no memory */
void proc_free(struct proc *p);                    /* gone from every list; number released */
int pid_alloc(struct proc *p, struct thread *t);   /* proc_lock held */
void pid_set_thread(int pid, struct thread *t);    /* proc_lock held */
void pid_free(int pid);
struct proc *proc_find(int pid);                   /* proc_lock held */
struct thread *thread_find(int tid);
/* A thread of p whose first return to ring 3 is by this frame (copied); born, when given, runs in its world before and may fill the
 * frame. NULL: too many, or no memory. */
struct thread *thread_new(struct proc *p, const struct trap_frame *tf, void (*born)(struct thread *t, struct trap_frame *tf));
void thread_start(struct thread *t);
void thread_discard(struct thread *t);             /* one that was never started */
bool thread_unlink(struct thread *t);              /* proc_lock held; true: it was the process' last */
void proc_set_aspace(struct thread *t, struct aspace *as); /* current's world goes over to it; the old one is not touched */
void proc_use_node(struct node **field, struct node *n);   /* replaces cwd or exe; takes the reference */
struct node *proc_cwd(struct proc *p);             /* referenced */
bool proc_group_in_session(int pgid, int sid);     /* proc_lock held */
void thread_set_name(struct thread *t, const char *name);

/* exit.c */
_Noreturn void thread_exit(void);
void proc_begin_exit(struct proc *p, int status);  /* proc_lock held: all threads are to end */
void proc_end_other_threads(struct thread *t);     /* for exec; returns when t is the only one, or when t is to end too */
void proc_vfork_done(struct proc *p);

/* exec.c */
struct exec_strings;
int exec_program(struct thread *t, const char *path, struct exec_strings *strings, struct trap_frame *tf);

/* signal.c: proc_lock held for the _locked ones */
void signal_send_locked(struct proc *p, struct thread *t, int sig, const struct signal_info *info);
int signal_send_pid(int pid, int sig, const struct signal_info *info); /* kill(2)'s meaning of pid */
void signal_send_group(int pgid, int sig);
void signal_update_locked(struct thread *t);
void signal_force(struct thread *t, struct trap_frame *tf, int sig, const struct signal_info *info); /* a fault of its own */
void signal_reset_for_exec(struct proc *p);
bool signal_deliver(struct thread *t, struct trap_frame *tf); /* one; false: none left */
void signal_set_mask(struct thread *t, uint64_t mask);
/* signal_frame.c */
int signal_push_frame(struct thread *t, struct trap_frame *tf, int sig, const struct signal_action *a, const struct signal_info *info);
int signal_pop_frame(struct thread *t, struct trap_frame *tf);

/* futex.c */
int64_t futex_wake(struct aspace *as, uint64_t addr, unsigned count, uint32_t bits);

/* trap.c */
void log_crash(const struct thread *t, const struct trap_frame *tf, int sig, uint64_t address);

/* alarm.c */
uint64_t alarm_set(struct proc *p, uint64_t ns_from_now, uint64_t interval_ns, uint64_t *old_interval); /* returns what was left */

/* ---- user memory, time ---- */
struct linux_timespec { int64_t sec, nsec; };
struct linux_timeval { int64_t sec, usec; };
int user_timespec(uint64_t ptr, uint64_t *ns); /* -EFAULT, -EINVAL; saturates */
int user_put_timespec(uint64_t ptr, uint64_t ns);
static inline uint64_t deadline_after(uint64_t ns)
{
	uint64_t now = clock_ns();

	return ns > UINT64_MAX - 1 - now ? UINT64_MAX : now + ns;
}

/* ---- paths of system calls (sys_path.c) ---- */
#define AT_FDCWD (-100)
#define AT_SYMLINK_NOFOLLOW 0x100
#define AT_REMOVEDIR 0x200
#define AT_SYMLINK_FOLLOW 0x400
#define AT_EMPTY_PATH 0x1000
struct path_arg {
	char *name;        /* heap page */
	struct node *base; /* referenced */
};
int path_get(struct thread *t, int dirfd, uint64_t user, struct path_arg *out);
void path_put(struct path_arg *p);

#endif
