/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Jobs that are no VMs. The console's shell starts when somebody types there (a shell that nobody looks at costs memory and
 * time), and waits for the next key press when it ends. The runner's commands (/vms/.exec) run one after the other in a
 * child of their own, once.
 */
#include "user/init/init.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define EXEC_FILE VMS_DIR "/.exec"
#define EXEC_LINE 4096

static int console = -1;      /* open while no shell runs */
static pid_t shell, exec_job;
static bool exec_over;

void job_console_open(void)
{
	static const char invitation[] = "\nmica: press Enter for a shell on this host\n";

	console = open("/dev/console", O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
	if (console >= 0 && write(console, invitation, sizeof(invitation) - 1) < 0) {
		close(console);
		console = -1;
	}
}

int job_console_wait(void) { return console; }

static _Noreturn void exec_shell(void)
{
	char *argv[] = { "-sh", NULL };

	setsid();
	host_stdio("/dev/console", "/dev/console", "/dev/console");
	ioctl(0, TIOCSCTTY, 1);
	execv("/bin/sh", argv);
	_exit(127);
}

void job_console_start(void)
{
	close(console);
	console = -1;
	shell = fork();
	if (!shell)
		exec_shell();
	if (shell < 0) {
		shell = 0;
		job_console_open();
	}
}

static void run_line(char *line)
{
	char *argv[] = { "sh", "-c", line, NULL };
	pid_t pid = fork();

	if (!pid) {
		execv("/bin/sh", argv);
		_exit(127);
	}
	if (pid > 0)
		waitpid(pid, NULL, 0);
}

static _Noreturn void exec_lines(void)
{
	static char line[EXEC_LINE];
	FILE *f = fopen(EXEC_FILE, "r");

	host_stdio("/dev/null", host_linked() ? "/dev/link/3" : "/dev/console", host_linked() ? "/dev/link/3" : "/dev/console");
	while (f && fgets(line, sizeof(line), f)) {
		line[strcspn(line, "\n")] = 0;
		run_line(line);
	}
	_exit(0);
}

void job_exec_start(void)
{
	if (exec_job || exec_over)
		return;
	if (access(EXEC_FILE, R_OK) == 0) {
		exec_job = fork();
		if (!exec_job)
			exec_lines();
		if (exec_job > 0)
			return;
		host_log("no memory for the commands of " EXEC_FILE);
		exec_job = 0;
	}
	exec_over = true;
}

bool job_exec_done(void) { return exec_over; }

bool job_reaped(pid_t pid)
{
	if (pid == shell) {
		shell = 0;
		job_console_open();
	} else if (pid == exec_job) {
		exec_job = 0;
		exec_over = true;
		host_event("exec-done");
	} else {
		return false;
	}
	return true;
}
