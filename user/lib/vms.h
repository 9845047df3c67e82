/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The registered VMs: the .vmx files under /vms, in the order of their names; a VM's number is its place in that order, for
 * init, the mica command and the runner alike. Their states stand in /run/vm/N.state, written by init only:
 * "starting PID", "running PID" or "off STATUS". Commands go to init through the FIFO /run/initctl, one line each:
 * VERB, tab, REPLY, tab, VM (number or name). REPLY names a FIFO that gets one line: "ok" or a sentence.
 */
#ifndef USER_LIB_VMS_H
#define USER_LIB_VMS_H

#include "abi/vmm.h"
#include "user/lib/vmx_config.h"

#include <sys/types.h>

#define VMS_DIR "/vms"
#define VMS_RUN_DIR "/run/vm"
#define VMS_INITCTL "/run/initctl"
#define VMS_MAX 64

struct vm_entry {
	unsigned number;
	char path[280];
	char name[VMM_NAME_MAX];
	uint32_t vcpus;
	uint64_t memory;
	bool valid;      /* its file can be read: else name is the file's and `why` says what is wrong */
	bool autostart;
	struct uerror why;
};
/* Fills up to max entries; returns how many. A folder that is not there holds no VM. */
unsigned vms_scan(struct vm_entry *e, unsigned max);
/* By number or name. NULL: no such VM. */
struct vm_entry *vms_find(struct vm_entry *e, unsigned n, const char *word);

enum vm_run_state { VM_RUN_OFF, VM_RUN_STARTING, VM_RUN_RUNNING };
struct vm_run_info { enum vm_run_state state; pid_t pid; int status; };
bool vms_read_state(unsigned number, struct vm_run_info *info);
void vms_write_state(unsigned number, const struct vm_run_info *info);

#endif
