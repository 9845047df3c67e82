/* SPDX-License-Identifier: Apache-2.0 */
/* What a system call looks like, and the hooks that arch calls. */
#ifndef SYS_SYSCALL_H
#define SYS_SYSCALL_H

#include "sys/proc.h"

/* A system call: its thread and six arguments as ring 3 left them. Result: a value, or a negative errno. */
#define SYSCALL(name)                                                                                             \
	int64_t sys_##name(struct thread *t, uint64_t a0, uint64_t a1, uint64_t a2, uint64_t a3, uint64_t a4, uint64_t a5)
typedef int64_t syscall_fn(struct thread *t, uint64_t a0, uint64_t a1, uint64_t a2, uint64_t a3, uint64_t a4, uint64_t a5);

#define CALL(number, name, flags) SYSCALL(name);
#include "sys/table.h"
#undef CALL

bool syscall_restarts(uint64_t call); /* -EINTR is followed by the same call again */
void sys_syscall(struct trap_frame *tf);
void sys_user_trap(struct trap_frame *tf, uint64_t cr2);
bool sys_user_copy_fault(uint64_t addr, uint64_t error);
void sys_user_return(struct trap_frame *tf);

#endif
