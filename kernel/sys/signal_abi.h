/* SPDX-License-Identifier: Apache-2.0 */
/* Signals of the Linux ABI on x86-64: numbers, actions, and the frame that a handler finds on its stack. */
#ifndef SYS_SIGNAL_ABI_H
#define SYS_SIGNAL_ABI_H

#include "core/types.h"

#define NSIG 64
enum {
	SIGHUP = 1, SIGINT, SIGQUIT, SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGFPE, SIGKILL, SIGUSR1, SIGSEGV, SIGUSR2, SIGPIPE, SIGALRM,
	SIGTERM, SIGSTKFLT, SIGCHLD, SIGCONT, SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU, SIGURG, SIGXCPU, SIGXFSZ, SIGVTALRM, SIGPROF, SIGWINCH,
	SIGIO, SIGPWR, SIGSYS,
};
#define SIG_BIT(sig) (1ull << ((sig) - 1))
#define SIG_DFL 0ull
#define SIG_IGN 1ull
#define SIG_UNBLOCKABLE (SIG_BIT(SIGKILL) | SIG_BIT(SIGSTOP))
#define SIG_STOPS (SIG_BIT(SIGSTOP) | SIG_BIT(SIGTSTP) | SIG_BIT(SIGTTIN) | SIG_BIT(SIGTTOU))
#define SIG_IGNORED (SIG_BIT(SIGCHLD) | SIG_BIT(SIGCONT) | SIG_BIT(SIGURG) | SIG_BIT(SIGWINCH)) /* by default */
enum { SA_NOCLDSTOP = 1, SA_NOCLDWAIT = 2, SA_SIGINFO = 4, SA_RESTORER = 0x04000000, SA_ONSTACK = 0x08000000, SA_RESTART = 0x10000000,
       SA_NODEFER = 0x40000000 };
#define SA_RESETHAND 0x80000000u
enum { SS_ONSTACK = 1, SS_DISABLE = 2 };
enum { SI_USER = 0, SI_KERNEL = 0x80, SI_TKILL = -6, CLD_EXITED = 1, CLD_KILLED = 2, CLD_DUMPED = 3, CLD_STOPPED = 5, CLD_CONTINUED = 6 };

struct signal_action { uint64_t handler, flags, restorer, mask; };
_Static_assert(sizeof(struct signal_action) == 32, "struct sigaction");

struct linux_siginfo {
	int32_t signo, error, code, pad;
	union {
		struct { int32_t pid, uid, status, pad2; uint64_t utime, stime; } child;
		uint64_t address;
		uint8_t bytes[112];
	};
};
_Static_assert(sizeof(struct linux_siginfo) == 128, "struct siginfo");
struct linux_stack { uint64_t sp; uint32_t flags, pad; uint64_t size; };
struct linux_sigcontext {
	uint64_t r8, r9, r10, r11, r12, r13, r14, r15, rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp, rip, rflags;
	uint16_t cs, gs, fs, ss;
	uint64_t error, trap, old_mask, cr2, fpstate, reserved[8];
};
_Static_assert(sizeof(struct linux_sigcontext) == 256, "struct sigcontext");
struct linux_ucontext {
	uint64_t flags, link;
	struct linux_stack stack;
	struct linux_sigcontext mcontext;
	uint64_t mask;
};
struct linux_sigframe {
	uint64_t restorer;
	struct linux_ucontext uc;
	struct linux_siginfo info;
};
#define UC_FP_XSTATE 1
#define FP_XSTATE_MAGIC1 0x46505853u
#define FP_XSTATE_MAGIC2 0x46505845u
/* At byte 464 of the saved FXSAVE area. */
struct linux_fpx_sw { uint32_t magic1, extended_size; uint64_t features; uint32_t xstate_size, pad[7]; };
_Static_assert(sizeof(struct linux_fpx_sw) == 48, "struct _fpx_sw_bytes");

#endif
