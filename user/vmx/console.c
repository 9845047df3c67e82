/* SPDX-License-Identifier: Apache-2.0 */
/* What the VM is connected to outside: COM1's other end, the control FIFO, and the host's log. */
#include "user/vmx/vm.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#define FLUSH_NS 1000000ull

/* To the host's log (init connects standard output with it), one line a call. */
void vmxp_log(const struct vmxp *p, const char *fmt, ...)
{
	char line[640];
	size_t n = (size_t)snprintf(line, sizeof(line), "vmx: %s: ", p->config.name);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line + n, sizeof(line) - n - 1, fmt, ap);
	va_end(ap);
	n = strlen(line);
	line[n++] = '\n';
	if (write(STDOUT_FILENO, line, n) < 0)
		return;
}

bool vmxp_console_open(struct vmxp *p, const char *path, struct uerror *err)
{
	char file[VMX_PATH_MAX * 2];
	bool to_file = p->config.serial_type == VMX_SERIAL_FILE;

	p->console = -1;
	if (to_file) {
		if (!vmx_config_path(p->path, p->config.serial_file, file, sizeof(file)))
			return uerror_set(err, "%s: serial0.fileName: the path is too long", p->path);
		path = file;
	}
	if (!path || !p->config.serial_present)
		return true;
	p->console = open(path, (to_file ? O_WRONLY | O_CREAT | O_TRUNC : O_RDWR | O_NOCTTY) | O_CLOEXEC, 0644);
	return p->console >= 0 || uerror_set(err, "%s: serial0: cannot open %s: %s", p->path, path, strerror(errno));
}

static void console_send(void *ctx, const uint8_t *buf, size_t n)
{
	struct vmxp *p = ctx;

	while (n && p->console >= 0) {
		ssize_t r = write(p->console, buf, n);

		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0)
			return; /* nobody can take it: the guest must not wait for that */
		buf += r;
		n -= (size_t)r;
	}
}

static void console_flush_later(void *ctx)
{
	struct vmxp *p = ctx;

	timer_arm(&p->timers, TIMER_CONSOLE, clock_ns() + FLUSH_NS);
}

void vmxp_console_attach(struct vmxp *p)
{
	p->uart.send = console_send;
	p->uart.flush_later = p->console >= 0 ? console_flush_later : NULL;
	p->uart.ctx = p;
}

static _Noreturn void sleep_for_ever(void)
{
	pthread_mutex_t m = PTHREAD_MUTEX_INITIALIZER;
	pthread_cond_t c = PTHREAD_COND_INITIALIZER;

	pthread_mutex_lock(&m);
	for (;;)
		pthread_cond_wait(&c, &m); /* a confined thread may not end: that takes system calls it gave up */
}

/* Input waits outside (in the pipe, at the person) while the guest's FIFO is full. */
void *vmxp_input_thread(void *arg)
{
	struct vmxp *p = arg;
	uint8_t buf[64];

	for (;;) {
		ssize_t n = read(p->console, buf, sizeof(buf));
		size_t done = 0;

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			sleep_for_ever(); /* end of input ends nothing */
		while (done < (size_t)n) {
			pthread_mutex_lock(&p->input_lock);
			done += uart_receive(&p->uart, buf + done, (size_t)n - done);
			pthread_mutex_unlock(&p->input_lock);
			if (done < (size_t)n)
				uart_wait_space(&p->uart);
		}
	}
	return NULL;
}

static void command(struct vmxp *p, const char *word)
{
	if (!strcmp(word, "stop")) {
		vmxp_leave(p, STATUS_OFF, "stopped from outside");
	} else if (!strcmp(word, "shutdown")) {
		chipset_power_button(&p->chipset);
	} else if (!strcmp(word, "reset")) {
		if (p->config.reset_exits)
			vmxp_leave(p, STATUS_RESET, "reset from outside");
		atomic_fetch_or(&p->request, REQUEST_RESET);
		vmxp_stop_point(p, NOT_A_VCPU);
	}
}

/* Words, one a line; anything else is ignored. */
void vmxp_serve_control(struct vmxp *p)
{
	char line[32];
	size_t n = 0;

	for (;;) {
		char ch;
		ssize_t r = p->control < 0 ? 0 : read(p->control, &ch, 1);

		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0)
			sleep_for_ever();
		if (ch != '\n') {
			if (n < sizeof(line) - 1)
				line[n++] = ch;
			continue;
		}
		line[n] = 0;
		n = 0;
		command(p, line);
	}
}
