/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vCPU threads: VMM_RUN, answer, again. The path of a port exit is short on purpose: no lock, no time, no formatting.
 * Everything that is not an exit to answer (reset, torture, a pause) goes through vmxp_stop_point().
 */
#include "user/vmx/vm.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The system call itself: libc's ioctl is variadic and touches errno, and this stands on the path of every exit. */
static inline long vmm_call(int fd, unsigned long command, unsigned long arg)
{
	long r;

	__asm__ volatile("syscall" : "=a"(r) : "a"((long)SYS_ioctl), "D"((long)fd), "S"(command), "d"(arg) : "rcx", "r11", "memory");
	return r;
}

static void log_statistics(struct vmxp *p)
{
	static const char *const reason[] = { "host", "irq-window", "nmi-window", "cpuid", "rdmsr", "wrmsr", "io", "nested-fault", "hlt", "hypercall",
					      "exception", "cr", "xsetbv", "cache", "pause", "task-switch", "undefined", "shutdown", "invalid" };
	struct vmm_stats s;
	char line[512];
	size_t n = 0;

	if (vmm_call(p->fd, VMM_STATS, (unsigned long)&s))
		return;
	line[0] = 0;
	for (unsigned i = 0; i < sizeof(reason) / sizeof(reason[0]) && n < sizeof(line); i++)
		if (s.by_reason[i])
			n += (size_t)snprintf(line + n, sizeof(line) - n, " %s=%llu", reason[i], (unsigned long long)s.by_reason[i]);
	vmxp_log(p, "exits=%llu%s", (unsigned long long)s.exits, line);
	vmxp_log(p, "memory: large=%llu small=%llu bytes", (unsigned long long)s.large_bytes, (unsigned long long)s.small_bytes);
	if (p->config.torture_exits || p->config.torture_memory)
		vmxp_log(p, "torture: %llu rounds, %llu moves, memory %llu times through the format", (unsigned long long)p->torture_rounds,
			 (unsigned long long)s.moves, (unsigned long long)p->memory_rounds);
}

/* Ends the process, and with it the VM. The first thread that comes here decides; callers may hold device locks, so only the UART is touched. */
void vmxp_leave(struct vmxp *p, int status, const char *why)
{
	if (atomic_exchange(&p->leaving, 1))
		for (;;)
			pthread_cond_wait(&p->opened, &p->gate); /* the process ends under us */
	uart_flush(&p->uart);
	vmxp_log(p, "%s", why);
	log_statistics(p);
	_exit(status);
}

static _Noreturn void stopped(struct vmxp *p, struct vmm_run *run)
{
	run->report[VMM_REPORT_MAX - 1] = 0;
	fprintf(stderr, "vmx: VM %s was stopped: %s\n", p->config.name, run->report);
	fflush(stderr);
	vmxp_leave(p, STATUS_STOPPED, "stopped");
}

static _Noreturn void run_failed(struct vmxp *p, unsigned vcpu, long error)
{
	fprintf(stderr, "vmx: VM %s: vCPU %u cannot run: %s\n", p->config.name, vcpu, strerror((int)-error));
	fflush(stderr);
	vmxp_leave(p, STATUS_FAILED, "failed");
}

/* World stopped: back to power-on, and the kernel anew from its file. */
static void restart(struct vmxp *p)
{
	struct uerror err;

	if (vmm_call(p->fd, VMM_RESET, 0)) {
		uerror_format(&err, "%s: the VM cannot be reset", p->path);
	} else {
		uart_reset(&p->uart);
		rtc_reset(&p->rtc);
		chipset_reset(&p->chipset);
		if (vmxp_boot(p, &err)) {
			vmxp_log(p, "reset");
			return;
		}
	}
	fprintf(stderr, "vmx: VM %s: restart failed: %s\n", p->config.name, err.text);
	fflush(stderr);
	vmxp_leave(p, STATUS_FAILED, "failed to restart");
}

/* Gate held: waits until no coordinator is at work. */
static void park(struct vmxp *p)
{
	p->parked++;
	pthread_cond_signal(&p->all_parked);
	while (p->stopping)
		pthread_cond_wait(&p->opened, &p->gate);
	p->parked--;
}

/*
 * A vCPU thread with nothing half done, or main. Parks while somebody else has stopped the world; then, when there is a
 * request left, stops it and serves the request.
 */
void vmxp_stop_point(struct vmxp *p, unsigned vcpu)
{
	unsigned others = p->config.vcpus - (vcpu != NOT_A_VCPU), request;

	pthread_mutex_lock(&p->gate);
	if (p->stopping && vcpu != NOT_A_VCPU)
		park(p);
	while (p->stopping)
		pthread_cond_wait(&p->opened, &p->gate);
	if (!atomic_load(&p->request)) {
		pthread_mutex_unlock(&p->gate);
		return;
	}
	p->stopping = true;
	pthread_mutex_unlock(&p->gate);
	vmm_call(p->fd, VMM_PAUSE, 0);
	pthread_mutex_lock(&p->gate);
	while (p->parked < others)
		pthread_cond_wait(&p->all_parked, &p->gate);
	request = atomic_exchange(&p->request, 0);
	pthread_mutex_unlock(&p->gate);

	if (request & REQUEST_RESET)
		restart(p);
	else if (request & REQUEST_TORTURE)
		vmxp_torture(p);

	vmm_call(p->fd, VMM_RESUME, 0);
	pthread_mutex_lock(&p->gate);
	p->stopping = false;
	pthread_cond_broadcast(&p->opened);
	pthread_mutex_unlock(&p->gate);
}

/* What is not a port access. True: nothing is owed to the kernel, go to the stop point. */
static bool other_exit(struct vmxp *p, struct vmm_run *run)
{
	switch (run->exit) {
	case VMM_EXIT_MMIO: /* no device of ours has MMIO: as unclaimed space */
		memset(run->mmio.data, 0xff, sizeof(run->mmio.data));
		return false;
	case VMM_EXIT_RPC:
		run->rpc.gpr[0] = 0xffffffff; /* unknown command */
		return false;
	case VMM_EXIT_SHUTDOWN:
		p->host.reset(p);
		return true;
	case VMM_EXIT_TORTURE:
		atomic_fetch_or(&p->request, REQUEST_TORTURE);
		return true;
	case VMM_EXIT_STOPPED:
		stopped(p, run);
	default:
		return false;
	}
}

void *vmxp_vcpu_thread(void *arg)
{
	struct vmxp_vcpu *v = arg;
	struct vmxp *p = v->p;
	struct vmm_run *run = p->run[v->index];

	vmxp_stop_point(p, v->index);
	for (;;) {
		long r = vmm_call(p->fd, VMM_RUN, v->index);

		if (r == 0 && run->exit == VMM_EXIT_IO) {
			bus_io(&p->bus, run);
			/* A request is served once this answer has gone down: the next run comes straight back. */
			if (atomic_load_explicit(&p->request, memory_order_relaxed))
				run->immediate = 1;
		} else if (r == 0) {
			if (other_exit(p, run))
				vmxp_stop_point(p, v->index);
		} else if (r == -EINTR) {
			run->immediate = 0;
			vmxp_stop_point(p, v->index);
		} else {
			run_failed(p, v->index, r);
		}
	}
	return NULL;
}
