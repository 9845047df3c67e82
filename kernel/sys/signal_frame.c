/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The frame on ring 3's stack under which a handler runs (struct rt_sigframe of the x86-64 ABI), and the way back from it. All
 * that comes back is ring 3's word: segment selectors are not taken, RFLAGS is filtered where the frame is used (arch), and the
 * FPU image is cleaned so that XRSTOR cannot fault (SDM vol. 1, 13.8.1: unknown bits, compaction, reserved MXCSR bits).
 */
#include "sys/proc.h"

#define FXSAVE_BYTES 512
#define XSAVE_HEADER 64
#define RED_ZONE 128
#define RFLAGS_DF BIT(10)
#define RFLAGS_TF BIT(8)

static bool has_xsave(void) { return arch_xcr0_host() != 0; }
static size_t fp_bytes(void) { return arch_fpu_size() + (has_xsave() ? sizeof(uint32_t) : 0); }

static bool on_altstack(const struct thread *t, uint64_t sp) { return sp - t->altstack - 1 < t->altstack_size; }

static uint64_t frame_top(const struct thread *t, const struct trap_frame *tf, const struct signal_action *a)
{
	if ((a->flags & SA_ONSTACK) && !(t->altstack_flags & SS_DISABLE) && !on_altstack(t, tf->rsp))
		return t->altstack + t->altstack_size;
	return tf->rsp - RED_ZONE;
}

static void fill_context(struct linux_ucontext *uc, const struct thread *t, const struct trap_frame *tf, uint64_t fp)
{
	struct linux_sigcontext *m = &uc->mcontext;

	*uc = (struct linux_ucontext){
		.flags = has_xsave() ? UC_FP_XSTATE : 0,
		.stack = { t->altstack, t->altstack_flags | (on_altstack(t, tf->rsp) ? SS_ONSTACK : 0), 0, t->altstack_size },
		.mask = t->restore_mask ? t->saved_mask : t->mask,
	};
	*m = (struct linux_sigcontext){
		.r8 = tf->r8, .r9 = tf->r9, .r10 = tf->r10, .r11 = tf->r11, .r12 = tf->r12, .r13 = tf->r13, .r14 = tf->r14, .r15 = tf->r15,
		.rdi = tf->rdi, .rsi = tf->rsi, .rbp = tf->rbp, .rbx = tf->rbx, .rdx = tf->rdx, .rax = tf->rax, .rcx = tf->rcx, .rsp = tf->rsp,
		.rip = tf->rip, .rflags = tf->rflags, .cs = (uint16_t)tf->cs, .ss = (uint16_t)tf->ss, .error = tf->error, .trap = tf->vector,
		.old_mask = uc->mask, .fpstate = fp,
	};
}

static int push_fpu(uint64_t fp)
{
	uint32_t magic2 = FP_XSTATE_MAGIC2;
	size_t size = arch_fpu_size();
	char *area = kzalloc(MAX(size, PAGE_SIZE), MT_PROC);
	int r;

	if (!area)
		return -ENOMEM;
	arch_fpu_save(area); /* the registers are this thread's until it returns; a switch in between saves and loads the same */
	if (has_xsave()) {
		struct linux_fpx_sw sw = { FP_XSTATE_MAGIC1, (uint32_t)fp_bytes(), arch_xcr0_host(), (uint32_t)size, { 0 } };

		memcpy(area + 464, &sw, sizeof(sw));
	}
	r = arch_user_write(uva(fp), area, size);
	if (!r && has_xsave())
		r = arch_user_write(uva(fp + size), &magic2, sizeof(magic2));
	kfree(area);
	return r;
}

static void fill_info(struct linux_siginfo *si, int sig, const struct signal_info *info)
{
	*si = (struct linux_siginfo){ .signo = sig, .code = info->code };
	if (info->address)
		si->address = info->address;
	else
		si->child.pid = info->pid, si->child.status = info->status;
}

int signal_push_frame(struct thread *t, struct trap_frame *tf, int sig, const struct signal_action *a, const struct signal_info *info)
{
	uint64_t fp = ALIGN_DOWN(frame_top(t, tf, a) - fp_bytes(), 64);
	uint64_t sp = ALIGN_DOWN(fp - sizeof(struct linux_sigframe), 16) - 8; /* as a call leaves it */
	struct linux_sigframe frame = { .restorer = a->restorer };

	if (!(a->flags & SA_RESTORER))
		return -EINVAL;
	fill_context(&frame.uc, t, tf, fp);
	fill_info(&frame.info, sig, info);
	if (push_fpu(fp) || arch_user_write(uva(sp), &frame, sizeof(frame)))
		return -EFAULT;
	tf->rsp = sp;
	tf->rip = a->handler;
	tf->rdi = (uint64_t)sig;
	tf->rsi = sp + offsetof(struct linux_sigframe, info);
	tf->rdx = sp + offsetof(struct linux_sigframe, uc);
	tf->rax = 0;
	tf->rflags &= ~(RFLAGS_DF | RFLAGS_TF);
	return 0;
}

static void clean_fpu(char *area)
{
	uint32_t mxcsr, mask;

	memcpy(&mxcsr, area + 24, 4);
	memcpy(&mask, area + 28, 4);
	mxcsr &= 0xffbf | (mask & 0xffff & 0x40); /* DAZ only where the CPU says so */
	memcpy(area + 24, &mxcsr, 4);
	if (has_xsave()) {
		uint64_t bv;

		memcpy(&bv, area + FXSAVE_BYTES, 8);
		bv &= arch_xcr0_host();
		memcpy(area + FXSAVE_BYTES, &bv, 8);
		memset(area + FXSAVE_BYTES + 8, 0, XSAVE_HEADER - 8);
	}
}

static int pop_fpu(uint64_t fp)
{
	size_t size = arch_fpu_size();
	struct linux_fpx_sw sw;
	char *area;
	int r;

	if (!fp)
		return 0;
	area = kzalloc(MAX(size, PAGE_SIZE), MT_PROC);
	if (!area)
		return -ENOMEM;
	r = arch_user_read(area, uva(fp), FXSAVE_BYTES);
	memcpy(&sw, area + 464, sizeof(sw));
	if (!r && has_xsave()) {
		uint64_t legacy = 3; /* an image without the extension: x87 and SSE */

		if (sw.magic1 == FP_XSTATE_MAGIC1 && sw.xstate_size == size)
			r = arch_user_read(area, uva(fp), size);
		else
			memcpy(area + FXSAVE_BYTES, &legacy, 8);
	}
	if (!r) {
		clean_fpu(area);
		arch_fpu_restore(area);
	}
	kfree(area);
	return r;
}

int signal_pop_frame(struct thread *t, struct trap_frame *tf)
{
	struct linux_ucontext uc;
	const struct linux_sigcontext *m = &uc.mcontext;

	/* The handler's return took the restorer off the stack. */
	if (arch_user_read(&uc, uva(tf->rsp - 8 + offsetof(struct linux_sigframe, uc)), sizeof(uc)))
		return -EFAULT;
	tf->r8 = m->r8, tf->r9 = m->r9, tf->r10 = m->r10, tf->r11 = m->r11;
	tf->r12 = m->r12, tf->r13 = m->r13, tf->r14 = m->r14, tf->r15 = m->r15;
	tf->rdi = m->rdi, tf->rsi = m->rsi, tf->rbp = m->rbp, tf->rbx = m->rbx;
	tf->rdx = m->rdx, tf->rax = m->rax, tf->rcx = m->rcx, tf->rsp = m->rsp;
	tf->rip = m->rip, tf->rflags = m->rflags;
	signal_set_mask(t, uc.mask);
	return pop_fpu(m->fpstate);
}
