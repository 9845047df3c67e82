/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vmx: runs the VM that a .vmx file describes, until it powers off. Exit status: 0 powered off; 2 the file, kernel or initrd is
 * wrong (one sentence says how); 4 reset with mica.onReset = "exit"; 126 stopped with a report; 122 anything else; odd: debug exit.
 */
#include "user/vmx/vm.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#define STACK_SIZE (64u << 10)

static const char usage[] =
	"usage: vmx [--console PATH] [--control FIFO] [--ready FD] FILE.vmx\n"
	"Runs the virtual machine that FILE.vmx describes until it powers off.\n"
	"  --console PATH  what COM1 is connected to (default: nothing)\n"
	"  --control FIFO  where the words stop, shutdown and reset are read from\n"
	"  --ready FD      a byte is written to this descriptor once the VM runs\n";

static _Noreturn void die(int status, const struct uerror *err)
{
	fprintf(stderr, "vmx: %s\n", err->text);
	exit(status);
}

static bool start_thread(void *(*fn)(void *), void *arg)
{
	pthread_attr_t attr;
	pthread_t thread;
	bool ok;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_SIZE);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	ok = !pthread_create(&thread, &attr, fn, arg);
	pthread_attr_destroy(&attr);
	return ok;
}

/* All threads that will ever be; the vCPUs' wait at the gate. */
static bool start_threads(struct vmxp *p)
{
	static struct vmxp_vcpu vcpu[VMM_MAX_VCPUS];
	bool ok = start_thread(timers_thread, &p->timers);

	p->stopping = true;
	if (p->console >= 0 && p->config.serial_type == VMX_SERIAL_CONSOLE)
		ok &= start_thread(vmxp_input_thread, p);
	for (unsigned i = 0; i < p->config.vcpus && ok; i++) {
		vcpu[i] = (struct vmxp_vcpu){ p, i };
		ok &= start_thread(vmxp_vcpu_thread, &vcpu[i]);
	}
	return ok;
}

static void open_gate(struct vmxp *p)
{
	pthread_mutex_lock(&p->gate);
	p->stopping = false;
	pthread_cond_broadcast(&p->opened);
	pthread_mutex_unlock(&p->gate);
}

struct arguments { const char *console, *control; int ready; };

static void parse_arguments(struct vmxp *p, int argc, char **argv, struct arguments *a)
{
	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--help")) {
			fputs(usage, stdout);
			exit(0);
		} else if (!strcmp(argv[i], "--console") && i + 1 < argc) {
			a->console = argv[++i];
		} else if (!strcmp(argv[i], "--control") && i + 1 < argc) {
			a->control = argv[++i];
		} else if (!strcmp(argv[i], "--ready") && i + 1 < argc) {
			a->ready = atoi(argv[++i]);
		} else if (argv[i][0] != '-' && !p->path) {
			p->path = argv[i];
		} else {
			fputs(usage, stderr);
			exit(STATUS_CONFIG);
		}
	}
	if (!p->path) {
		fputs(usage, stderr);
		exit(STATUS_CONFIG);
	}
}

int main(int argc, char **argv)
{
	static struct vmxp vmx;
	struct vmxp *p = &vmx;
	struct arguments a = { .ready = -1 };
	struct uerror err;
	int status;

	parse_arguments(p, argc, argv, &a);
	if (!vmx_config_load(p->path, &p->config, &err) || !vmxp_open_files(p, &err) || !vmxp_console_open(p, a.console, &err))
		die(STATUS_CONFIG, &err);
	p->control = a.control ? open(a.control, O_RDWR | O_CLOEXEC) : -1; /* also for writing: the last writer's close ends nothing */
	status = vmxp_create(p, &err);
	if (status)
		die(status, &err);
	vmxp_devices_init(p);
	if (!vmxp_devices_claim(p, &err))
		die(STATUS_FAILED, &err);
	if (!vmxp_boot(p, &err))
		die(STATUS_CONFIG, &err);
	if (!start_threads(p)) {
		uerror_format(&err, "%s: the VM's threads cannot be started: %s", p->path, strerror(errno));
		die(STATUS_FAILED, &err);
	}
	if (prctl(PR_MICA_CONFINE, 0, 0, 0, 0)) {
		uerror_format(&err, "%s: vmx cannot give up its rights: %s", p->path, strerror(errno));
		die(STATUS_FAILED, &err);
	}
	open_gate(p);
	if (a.ready >= 0 && (write(a.ready, "", 1) != 1 || close(a.ready)))
		vmxp_log(p, "nobody waits to hear that it runs");
	vmxp_serve_control(p);
}
