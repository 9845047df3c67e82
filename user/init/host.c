/* SPDX-License-Identifier: Apache-2.0 */
/* Where init's words go: the host's log, the runner's event channel, the kernel's control file. */
#include "user/init/init.h"
#include "abi/link.h"

#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

static int log_fd = -1, event_fd = -1;
static char cmdline[1024];

static void write_all(int fd, const char *p, size_t n)
{
	while (n) {
		ssize_t r = write(fd, p, n);

		if (r <= 0)
			return;
		p += r;
		n -= (size_t)r;
	}
}

void host_open(void)
{
	int fd = open("/dev/mica/cmdline", O_RDONLY | O_CLOEXEC);
	ssize_t n = 0;

	if (fd >= 0) {
		n = read(fd, cmdline, sizeof(cmdline) - 1);
		close(fd);
	}
	cmdline[n > 0 ? n : 0] = 0;
	log_fd = open("/dev/mica/log", O_WRONLY | O_CLOEXEC);
	event_fd = open("/dev/link/2", O_WRONLY | O_CLOEXEC);
}

bool host_linked(void) { return event_fd >= 0; }

void host_log(const char *fmt, ...)
{
	char line[200];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	if (log_fd >= 0)
		write_all(log_fd, line, (size_t)n < sizeof(line) ? (size_t)n : sizeof(line) - 1);
}

void host_event(const char *fmt, ...)
{
	char line[200];
	va_list ap;
	size_t n;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line) - 1, fmt, ap);
	va_end(ap);
	n = strlen(line);
	line[n++] = '\n';
	if (event_fd >= 0)
		write_all(event_fd, line, n);
}

void host_ctl(const char *word)
{
	int fd = open("/dev/mica/ctl", O_WRONLY | O_CLOEXEC);

	if (fd >= 0) {
		write_all(fd, word, strlen(word));
		close(fd);
	}
}

bool host_flag(const char *word)
{
	size_t n = strlen(word);

	for (const char *p = cmdline; (p = strstr(p, word)); p += n)
		if ((p == cmdline || p[-1] == ' ') && (!p[n] || p[n] == ' ' || p[n] == '\n'))
			return true;
	return false;
}

static void redirect(const char *path, int flags, int fd)
{
	int from = open(path, flags);

	if (from < 0)
		from = open("/dev/null", flags);
	if (from >= 0 && from != fd) {
		dup2(from, fd);
		close(from);
	}
}

void host_stdio(const char *in, const char *out, const char *err)
{
	redirect(in, O_RDONLY, 0);
	redirect(out, O_WRONLY, 1);
	redirect(err, O_WRONLY, 2);
}
