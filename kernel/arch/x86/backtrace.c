/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Return addresses by frame pointers. Called in panic, so it trusts nothing: each word is read through the table of
 * instructions that may fault, frames must climb, and the walk ends after 256 KiB or at the first address that is not in the
 * kernel's text.
 */
#include "arch/x86/arch_priv.h"

#define WALK_LIMIT KIB(256)

static bool in_text(uint64_t pc) { return pc >= (uintptr_t)__text_start && pc < (uintptr_t)__text_end; }

unsigned arch_backtrace(const struct trap_frame *tf, uint64_t *pc, unsigned max)
{
	uint64_t rbp = tf ? tf->rbp : (uint64_t)(uintptr_t)__builtin_frame_address(0);
	uint64_t first = rbp;
	unsigned n = 0;

	if (tf && max)
		pc[n++] = tf->rip;
	if (tf && trap_from_user(tf))
		return n;
	while (n < max) {
		uint64_t next, ret;

		if ((rbp & 7) || rbp < DIRECT_BASE || rbp < first || rbp - first > WALK_LIMIT)
			break;
		if (!safe_read64((const void *)(uintptr_t)rbp, &next) || !safe_read64((const void *)(uintptr_t)(rbp + 8), &ret))
			break;
		if (!in_text(ret))
			break;
		pc[n++] = ret;
		if (next <= rbp)
			break;
		rbp = next;
	}
	return n;
}
