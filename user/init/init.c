/* SPDX-License-Identifier: Apache-2.0 */
/* Process 1: see init.h. */
#include "user/init/init.h"
#include "abi/link.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define LINE_MAX_ 512

static int child_pipe[2] = { -1, -1 };
static int initctl = -1;
static bool done_said;

static void on_child(int sig)
{
	int e = errno;

	if (write(child_pipe[1], "", 1) < 0)
		errno = e; /* full: it is readable already */
	errno = e;
}

static void open_standard(void)
{
	int fd = open("/dev/console", O_RDWR | O_NOCTTY);

	if (fd < 0)
		fd = open("/dev/null", O_RDWR);
	for (int i = 0; i < 3 && fd >= 0; i++)
		if (fd != i)
			dup2(fd, i);
	if (fd > 2)
		close(fd);
}

static void set_up(void)
{
	struct sigaction sa = { .sa_handler = on_child, .sa_flags = SA_RESTART | SA_NOCLDSTOP };

	open_standard();
	umask(022);
	mkdir("/run", 0755);
	mkdir(VMS_RUN_DIR, 0755);
	mkdir("/tmp", 0777);
	setenv("PATH", "/bin", 1);
	setenv("HOME", "/", 1);
	setenv("TERM", "vt100", 1);
	setenv("PS1", "mica# ", 1);
	if (pipe2(child_pipe, O_CLOEXEC | O_NONBLOCK))
		host_log("no pipe for children's ends: %s", strerror(errno));
	sigaction(SIGCHLD, &sa, NULL);
	signal(SIGPIPE, SIG_IGN);
	if (mkfifo(VMS_INITCTL, 0600) && errno != EEXIST)
		host_log("no " VMS_INITCTL ": %s", strerror(errno));
	initctl = open(VMS_INITCTL, O_RDWR | O_NONBLOCK | O_CLOEXEC);
}

/* For measurements: lines that the kernel stamps, on the channel where VM 0's output follows. */
static void stamp(const char *line)
{
	char path[32];
	int fd;

	if (!host_flag("mica.stamp"))
		return;
	snprintf(path, sizeof(path), "/dev/link/%d", LINK_VM0);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	dprintf(fd, "%s\n", line);
	close(fd);
}

static void reap(void)
{
	char bytes[64];
	int status;
	pid_t pid;

	while (read(child_pipe[0], bytes, sizeof(bytes)) > 0)
		;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		if (!vm_reaped(pid, status))
			job_reaped(pid);
}

static void read_commands(void)
{
	static char line[LINE_MAX_];
	static size_t n;
	char ch;

	while (read(initctl, &ch, 1) == 1) {
		if (ch != '\n') {
			if (n < sizeof(line) - 1)
				line[n++] = ch;
			continue;
		}
		line[n] = 0;
		n = 0;
		vm_command(line);
	}
}

/* The runner's commands start when the VMs run; the machine may stop when they are done and no VM is left. */
static void advance(void)
{
	if (vm_settled())
		job_exec_start();
	if (job_exec_done() && !vm_any_alive()) {
		if (!done_said)
			host_event("done");
		done_said = true;
	} else {
		done_said = false;
	}
}

static void wait_and_serve(void)
{
	struct pollfd p[INIT_POLLS];
	unsigned n = 0, vms;
	int console = job_console_wait();

	p[n++] = (struct pollfd){ .fd = child_pipe[0], .events = POLLIN };
	p[n++] = (struct pollfd){ .fd = initctl, .events = POLLIN };
	p[n++] = (struct pollfd){ .fd = console, .events = POLLIN };
	vms = vm_polls(p + n);
	if (poll(p, n + vms, vm_timeout()) < 0) {
		if (errno != EINTR)
			sleep(1);
		reap();
		return;
	}
	vm_polled(p + n, vms);
	if (p[0].revents)
		reap();
	if (p[1].revents & POLLIN)
		read_commands();
	if (console >= 0 && p[2].revents)
		job_console_start();
	vm_tick();
}

int main(void)
{
	host_open();
	set_up();
	vm_scan();
	if (access("/dev/vmm", F_OK))
		host_log("no virtual machine can run here: this machine has no hardware virtualization that mica can use");
	host_ctl("ready");
	stamp("L1 READY");
	stamp("tsline: start");
	vm_autostart();
	job_console_open();
	for (;;) {
		advance();
		wait_and_serve();
	}
}
