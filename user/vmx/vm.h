/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The vmx process: one per VM. main.c sets it up (configuration, VM, memory, kernel, devices, threads), gives up its rights
 * (PR_MICA_CONFINE), and lets the vCPU threads go; then it serves the control FIFO. Design: docs/vmx.md.
 *
 * Threads: one per vCPU (run.c), one for timers (timer.c), one that reads the console (console.c), and main.
 * Stopping the world: whoever wants the VM still (reset, torture) becomes the one coordinator in vmxp_stop_point(), pauses the
 * VM and waits until every vCPU thread is parked: then no exit is half answered and the VM may be saved, reset or rebuilt.
 * Lock order: gate > input_lock > device locks > timers->lock.
 */
#ifndef USER_VMX_VM_H
#define USER_VMX_VM_H

#include "abi/vmm.h"
#include "user/lib/vmx_config.h"
#include "user/vmx/bus.h"
#include "user/vmx/chipset.h"
#include "user/vmx/load.h"
#include "user/vmx/rtc.h"
#include "user/vmx/timer.h"
#include "user/vmx/uart.h"

#include <pthread.h>
#include <stdatomic.h>

/* Exit status of the process; odd values below 256 are the guest's own (debug exit). */
enum { STATUS_OFF = 0, STATUS_CONFIG = 2, STATUS_RESET = 4, STATUS_FAILED = 122, STATUS_STOPPED = 126 };

enum { REQUEST_RESET = 1, REQUEST_TORTURE = 2 };
#define NOT_A_VCPU ~0u

struct vmxp {
	struct vmx_config config;     /* I (immutable once threads run) */
	const char *path;             /* I: the .vmx */
	int fd;                       /* I: the VM's handle */
	int console, control;         /* I: -1 when there is none */
	struct vmm_run *run[VMM_MAX_VCPUS]; /* I; contents belong to the vCPU's thread */
	struct boot_request boot;     /* I */
	struct guest_memory memory;   /* coordinator */

	struct dev_host host;
	struct bus bus;
	struct timers timers;
	struct uart uart;
	struct rtc rtc;
	struct chipset chipset;
	pthread_mutex_t input_lock;   /* held while input goes into a device */

	pthread_mutex_t gate;
	pthread_cond_t opened, all_parked;
	bool stopping;                /* gate: a coordinator is at work (or the VM has not started) */
	unsigned parked;              /* gate: vCPU threads that wait */
	atomic_uint request;          /* REQUEST_*, taken by the next coordinator */
	atomic_uint leaving;          /* somebody is ending the process */

	uint64_t torture_rounds, memory_rounds; /* coordinator */
	uint8_t *state;               /* coordinator: torture's buffer */
	size_t state_cap;
};

/* vm.c: the VM itself */
bool vmxp_open_files(struct vmxp *p, struct uerror *err);   /* kernel and modules */
int vmxp_create(struct vmxp *p, struct uerror *err);        /* 0, or an exit status */
bool vmxp_boot(struct vmxp *p, struct uerror *err);         /* tables, kernel and registers into a reset VM */
void vmxp_devices_init(struct vmxp *p);
bool vmxp_devices_claim(struct vmxp *p, struct uerror *err);

/* run.c */
void *vmxp_vcpu_thread(void *arg);
struct vmxp_vcpu { struct vmxp *p; unsigned index; };
void vmxp_stop_point(struct vmxp *p, unsigned vcpu);
_Noreturn void vmxp_leave(struct vmxp *p, int status, const char *why);

/* torture.c: save, destroy, load, with the world stopped */
void vmxp_torture(struct vmxp *p);

/* console.c */
bool vmxp_console_open(struct vmxp *p, const char *path, struct uerror *err);
void vmxp_console_attach(struct vmxp *p);
void *vmxp_input_thread(void *arg);
void vmxp_serve_control(struct vmxp *p) __attribute__((noreturn));
void vmxp_log(const struct vmxp *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
