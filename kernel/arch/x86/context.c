/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Worlds' machine state: what travels when one world hands the CPU to another.
 *
 * A kernel world runs on the kernel's own root, never on one left behind by a process: that process may end meanwhile,
 * and its tables with it. Ring 3 cannot write its FS and GS bases itself (FSGSBASE stays off), but it can load selectors,
 * which changes the hidden base; so bases are loaded whenever another user world ran here in between.
 */
#include "arch/x86/arch_priv.h"

void switch_stacks(uint64_t *save_rsp, uint64_t new_rsp); /* entry.S */
void context_start(void);

/* What switch_stacks() pops. */
struct start_frame {
	uint64_t r15, r14, r13, r12, rbx, rbp, ret;
};

static uint64_t last_id;
PERCPU(uint64_t, bases_owner); /* id of the context whose ring-3 bases the registers hold */

void arch_context_init(struct arch_context *c, void *stack_top, void (*entry)(void *), void *arg)
{
	struct start_frame *f = (struct start_frame *)stack_top - 1;

	*f = (struct start_frame){ .r12 = (uintptr_t)arg, .rbx = (uintptr_t)entry, .ret = (uintptr_t)context_start };
	c->rsp = (uintptr_t)f; /* what else the caller has set already (FPU area, root, bases) stays */
	c->kstack_top = (uintptr_t)stack_top;
	c->id = __atomic_add_fetch(&last_id, 1, __ATOMIC_RELAXED);
}

static void bases_load(const struct arch_context *c)
{
	wrmsr(MSR_FS_BASE, c->fs_base);
	wrmsr(MSR_KERNEL_GS_BASE, c->gs_base);
	this_cpu(bases_owner) = c->id;
}

void arch_user_bases_set(struct arch_context *c, uint64_t fs, uint64_t gs)
{
	uint64_t f = arch_irq_save();

	c->fs_base = fs < USER_TOP ? fs : 0;
	c->gs_base = gs < USER_TOP ? gs : 0;
	bases_load(c);
	arch_irq_restore(f);
}

void arch_context_switch(struct arch_context *from, struct arch_context *to)
{
	uint64_t root = to->cr3 ? to->cr3 : arch_kernel_root;

	fpu_switch(from, to);
	if (root != read_cr3())
		arch_root_load(root);
	if (to->cr3 && (this_cpu(bases_owner) != to->id || !to->id))
		bases_load(to);
	descriptors_set_stack(to->kstack_top);
	switch_stacks(&from->rsp, to->rsp);
}
