/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Registered VMs: one vmx process each.
 *
 *   OFF --vm_start--> STARTING --a byte on its pipe--> RUNNING --reaped--> OFF
 *                         '------------reaped-----------------------------^
 *
 * A vmx says that its VM runs by writing a byte to the pipe it got; the pipe's end without one means that it died first.
 * Replies that a command waits for go out when its VM has reached what was asked for.
 */
#include "user/init/init.h"
#include "abi/link.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define STOP_MS 5000
#define REPLY_MAX 64

struct vm {
	struct vm_run_info info;
	int ready;              /* reading end of its pipe, -1: none */
	char reply[REPLY_MAX];  /* FIFO that waits for an answer, or "" */
	bool stopping;
	uint64_t kill_at;       /* ms; 0: never */
};

static struct vm_entry entry[VMS_MAX];
static struct vm vm[VMS_MAX];
static unsigned nr;

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static void reply_to(const char *fifo, const char *text)
{
	int fd;

	if (!*fifo)
		return;
	fd = open(fifo, O_WRONLY | O_NONBLOCK | O_CLOEXEC); /* whoever does not wait for it any more must not hold init */
	if (fd < 0)
		return;
	dprintf(fd, "%s\n", text);
	close(fd);
}

static void answer(struct vm *v, const char *text)
{
	reply_to(v->reply, text);
	v->reply[0] = 0;
}

static void set_state(unsigned i, enum vm_run_state state, pid_t pid, int status)
{
	vm[i].info = (struct vm_run_info){ state, pid, status };
	vms_write_state(i, &vm[i].info);
}

void vm_scan(void)
{
	nr = vms_scan(entry, VMS_MAX);
	for (unsigned i = 0; i < nr; i++) {
		vm[i].ready = -1;
		set_state(i, VM_RUN_OFF, 0, 0);
	}
}

/* In the child. */
static _Noreturn void exec_vmx(unsigned i, int ready)
{
	char console[32], control[64], ready_fd[16];
	char *argv[] = { "vmx", "--ready", ready_fd, "--control", control, "--console", console, entry[i].path, NULL };

	host_stdio("/dev/null", "/dev/mica/log", host_linked() ? "/dev/link/4" : "/dev/console");
	snprintf(console, sizeof(console), "/dev/link/%u", LINK_VM0 + i);
	if (!host_linked())
		snprintf(console, sizeof(console), "/dev/null");
	snprintf(control, sizeof(control), VMS_RUN_DIR "/%u.ctl", i);
	snprintf(ready_fd, sizeof(ready_fd), "%d", ready);
	execv("/bin/vmx", argv);
	dprintf(2, "vmx: cannot be started: %s\n", strerror(errno));
	_exit(122);
}

static bool vm_start(unsigned i)
{
	char control[64];
	int fds[2];
	pid_t pid;

	snprintf(control, sizeof(control), VMS_RUN_DIR "/%u.ctl", i);
	if (mkfifo(control, 0600) && errno != EEXIST)
		host_log("%s: no control FIFO: %s", entry[i].name, strerror(errno));
	if (pipe2(fds, O_CLOEXEC))
		return false;
	pid = fork();
	if (!pid) {
		fcntl(fds[1], F_SETFD, 0);
		exec_vmx(i, fds[1]);
	}
	close(fds[1]);
	if (pid < 0) {
		close(fds[0]);
		return false;
	}
	vm[i].ready = fds[0];
	vm[i].stopping = false;
	vm[i].kill_at = 0;
	set_state(i, VM_RUN_STARTING, pid, 0);
	host_event("vm %u %s start", i, entry[i].name);
	host_log("VM %u %s started (process %d)", i, entry[i].name, (int)pid);
	return true;
}

void vm_autostart(void)
{
	for (unsigned i = 0; i < nr; i++)
		if (entry[i].autostart && !vm_start(i))
			host_log("VM %u %s cannot be started: %s", i, entry[i].name, strerror(errno));
}

bool vm_any_alive(void)
{
	for (unsigned i = 0; i < nr; i++)
		if (vm[i].info.state != VM_RUN_OFF)
			return true;
	return false;
}

bool vm_settled(void)
{
	for (unsigned i = 0; i < nr; i++)
		if (vm[i].info.state == VM_RUN_STARTING)
			return false;
	return true;
}

unsigned vm_polls(struct pollfd *p)
{
	unsigned n = 0;

	for (unsigned i = 0; i < nr; i++)
		if (vm[i].ready >= 0)
			p[n++] = (struct pollfd){ .fd = vm[i].ready, .events = POLLIN };
	return n;
}

static void pipe_said(unsigned i)
{
	char byte;
	ssize_t n = read(vm[i].ready, &byte, 1);

	if (n < 0)
		return;
	close(vm[i].ready);
	vm[i].ready = -1;
	if (n == 1 && vm[i].info.state == VM_RUN_STARTING) {
		set_state(i, VM_RUN_RUNNING, vm[i].info.pid, 0);
		if (!vm[i].stopping)
			answer(&vm[i], "ok");
	}
}

void vm_polled(const struct pollfd *p, unsigned n)
{
	for (unsigned k = 0; k < n; k++)
		for (unsigned i = 0; i < nr && p[k].revents; i++)
			if (vm[i].ready == p[k].fd) {
				pipe_said(i);
				break;
			}
}

static const char *status_sentence(int status)
{
	switch (status) {
	case 0: return "ok";
	case 2: return "its file, kernel or initrd is wrong: `mica log` and the report channel say how";
	case 4: return "ok";
	case 126: return "it was stopped with a report";
	default: return status & 1 ? "ok" : "its vmx process failed";
	}
}

bool vm_reaped(pid_t pid, int wait_status)
{
	for (unsigned i = 0; i < nr; i++) {
		int status = WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : 122;

		if (vm[i].info.state == VM_RUN_OFF || vm[i].info.pid != pid)
			continue;
		if (vm[i].ready >= 0)
			close(vm[i].ready);
		vm[i].ready = -1;
		vm[i].kill_at = 0;
		set_state(i, VM_RUN_OFF, 0, status);
		if (WIFSIGNALED(wait_status))
			host_log("VM %u %s: its vmx was killed by signal %d", i, entry[i].name, WTERMSIG(wait_status));
		else
			host_log("VM %u %s ended with status %d", i, entry[i].name, status);
		host_event("vm %u %s exit %d", i, entry[i].name, status);
		answer(&vm[i], vm[i].stopping ? "ok" : status_sentence(status));
		return true;
	}
	return false;
}

int vm_timeout(void)
{
	uint64_t now = now_ms(), first = 0;

	for (unsigned i = 0; i < nr; i++)
		if (vm[i].kill_at && (!first || vm[i].kill_at < first))
			first = vm[i].kill_at;
	return !first ? -1 : first <= now ? 0 : (int)(first - now);
}

void vm_tick(void)
{
	for (unsigned i = 0; i < nr; i++) {
		if (!vm[i].kill_at || vm[i].kill_at > now_ms())
			continue;
		vm[i].kill_at = 0;
		host_log("VM %u %s did not stop: its vmx is killed", i, entry[i].name);
		kill(vm[i].info.pid, SIGKILL);
	}
}

/* ---- commands ---- */

static bool tell_vmx(unsigned i, const char *word)
{
	char path[64];
	int fd;
	bool ok;

	snprintf(path, sizeof(path), VMS_RUN_DIR "/%u.ctl", i);
	fd = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return false;
	ok = dprintf(fd, "%s\n", word) > 0;
	close(fd);
	return ok;
}

static void command_start(unsigned i, const char *reply)
{
	if (vm[i].info.state != VM_RUN_OFF) {
		reply_to(reply, "it is running already");
		return;
	}
	snprintf(vm[i].reply, sizeof(vm[i].reply), "%s", reply);
	if (!vm_start(i))
		answer(&vm[i], "no memory for its vmx process");
}

static void command_stop(unsigned i, const char *reply)
{
	if (vm[i].info.state == VM_RUN_OFF) {
		reply_to(reply, "it is not running");
		return;
	}
	answer(&vm[i], "stopped by another command");
	snprintf(vm[i].reply, sizeof(vm[i].reply), "%s", reply);
	vm[i].stopping = true;
	vm[i].kill_at = now_ms() + STOP_MS;
	if (!tell_vmx(i, "stop"))
		kill(vm[i].info.pid, SIGKILL);
}

static void command_reset(unsigned i, const char *reply)
{
	if (vm[i].info.state != VM_RUN_RUNNING)
		reply_to(reply, "it is not running");
	else
		reply_to(reply, tell_vmx(i, "reset") ? "ok" : "its vmx does not listen");
}

void vm_command(char *line)
{
	char *verb = line, *reply = strchr(line, '\t'), *word = reply ? strchr(reply + 1, '\t') : NULL;
	struct vm_entry *e;

	if (!word)
		return;
	*reply++ = 0;
	*word++ = 0;
	e = vms_find(entry, nr, word);
	if (strlen(reply) >= REPLY_MAX)
		return;
	if (!e)
		reply_to(reply, "no such VM: `mica vm list` shows those registered");
	else if (!strcmp(verb, "start"))
		command_start(e->number, reply);
	else if (!strcmp(verb, "stop"))
		command_stop(e->number, reply);
	else if (!strcmp(verb, "reset"))
		command_reset(e->number, reply);
	else
		reply_to(reply, "unknown command");
}
