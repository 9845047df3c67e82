/* SPDX-License-Identifier: Apache-2.0 */
/* Ring 3's beginning: the hooks into the layers below, and /sbin/init as process 1, with the console as its first three files. */
#include "sys/exec.h"
#include "sys/syscall.h"

#define INIT_PATH "/sbin/init"

static int install_file(struct file *f)
{
	return fd_install_from(thread_current()->proc->files, f, 0, true);
}

static uint32_t current_pid(void) { return (uint32_t)thread_current()->proc->pid; }
static int current_session(void) { return thread_current()->proc->sid; }
static int current_group(void) { return thread_current()->proc->pgid; }
static bool current_leads_session(void) { return thread_current()->proc->sid == thread_current()->proc->pid; }
static bool group_in_session(int pgid, int sid)
{
	bool r;

	spin_lock(&proc_lock);
	r = proc_group_in_session(pgid, sid);
	spin_unlock(&proc_lock);
	return r;
}

static void send_sigpipe(void)
{
	struct thread *t = thread_current();
	struct signal_info info = { .code = SI_KERNEL };

	spin_lock(&proc_lock);
	signal_send_locked(t->proc, t, SIGPIPE, &info);
	spin_unlock(&proc_lock);
}

static void sys_init(void)
{
	arch_hooks.syscall = sys_syscall;
	arch_hooks.user_trap = sys_user_trap;
	arch_hooks.user_copy_fault = sys_user_copy_fault;
	arch_hooks.user_return = sys_user_return;
	fd_install_hook = install_file;
	proc_pid_hook = current_pid;
	fs_sigpipe_hook = send_sigpipe;
	tty_hooks = (struct tty_hooks){ signal_send_group, current_session, current_group, current_leads_session, group_in_session };
}
INIT_CALL(INIT_SYS, sys_init);

/* ---- process 1 ---- */

static int open_console(struct proc *p)
{
	struct file *f;
	int r = vfs_open(&fs_root, "/dev/console", O_RDWR, 0, &f);

	for (int i = 0; !r && i < 3; i++) {
		if (i)
			file_ref(f);
		r = fd_install_from(p->files, f, 0, false) < 0 ? -EMFILE : 0;
	}
	return r;
}

static int init_strings(struct exec_strings *s)
{
	static const char *const env[] = { "PATH=/bin:/sbin:/usr/bin:/usr/sbin", "HOME=/", "TERM=vt100" };
	int r = exec_strings_add(s, INIT_PATH);

	s->argc = 1;
	for (size_t i = 0; !r && i < ARRAY_SIZE(env); i++) {
		r = exec_strings_add(s, env[i]);
		s->envc++;
	}
	return r;
}

static _Noreturn void no_init(int error)
{
	log_error("There is no usable %s in this image (error %d): mica cannot start its user worlds and stops here.", INIT_PATH, -error);
	arch_halt_forever();
}

/* Process 1 begins in the kernel: it executes init's file as any process would. */
static void first_thread(struct thread *t, struct trap_frame *tf)
{
	struct exec_strings *s = exec_strings_new();
	int r = s ? init_strings(s) : -ENOMEM;

	if (!r)
		r = exec_program(t, INIT_PATH, s, tf);
	if (s)
		exec_strings_free(s);
	if (r)
		no_init(r);
}

static void user_init(void)
{
	struct trap_frame tf = { .vector = 256 };
	struct proc *p = proc_new(NULL);
	struct thread *t = NULL;

	if (p) {
		strlcpy(p->name, "init", sizeof(p->name));
		p->files = fdtable_new();
		if (p->files && !open_console(p))
			t = thread_new(p, &tf, first_thread);
	}
	if (!t)
		no_init(-ENOMEM);
	thread_start(t);
}
INIT_CALL(INIT_USER, user_init);
