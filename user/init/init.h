/* SPDX-License-Identifier: Apache-2.0 */
/*
 * init, process 1: brings the host to "ready", starts the registered VMs and supervises them, keeps a shell on the console.
 * One thread, one poll loop (init.c); children are reaped when SIGCHLD's pipe says so. Design: docs/init.md.
 */
#ifndef USER_INIT_INIT_H
#define USER_INIT_INIT_H

#include "user/lib/vms.h"

#include <poll.h>
#include <sys/types.h>

#define INIT_POLLS (VMS_MAX + 4)

/* host.c: what init says and to whom. */
bool host_linked(void);                            /* the runner listens */
void host_open(void);
void host_log(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void host_event(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void host_ctl(const char *word);
bool host_flag(const char *word);                  /* a word of the kernel's command line */
/* In a child: descriptors 0, 1, 2. */
void host_stdio(const char *in, const char *out, const char *err);

/* vm.c: registered VMs. */
void vm_scan(void);
void vm_autostart(void);
bool vm_settled(void);                             /* every VM that was to start runs or is gone */
bool vm_any_alive(void);
bool vm_reaped(pid_t pid, int wait_status);
unsigned vm_polls(struct pollfd *p);               /* what to wait for */
void vm_polled(const struct pollfd *p, unsigned n);
int vm_timeout(void);                              /* milliseconds until vm_tick(), -1: none */
void vm_tick(void);                                /* kills what did not stop in time */
void vm_command(char *line);                       /* one line of initctl */

/* job.c: the shell on the console and the runner's commands. */
void job_console_open(void);
int job_console_wait(void);                        /* descriptor whose input asks for a shell, or -1 */
void job_console_start(void);
void job_exec_start(void);
bool job_exec_done(void);
bool job_reaped(pid_t pid);

#endif
