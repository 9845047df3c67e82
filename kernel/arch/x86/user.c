/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The only ways to ring 3's memory. The range is checked once here; whatever is wrong with the pages inside shows as a
 * fault in user_copy(), which hooks.user_copy_fault resolves or which ends the copy. Callers are in world context with
 * interrupts on: a copy may sleep.
 */
#include "arch/x86/arch_priv.h"

static bool range_ok(uva_t a, size_t n) { return a.v < USER_TOP && n <= USER_TOP - a.v; }

int arch_user_read(void *dst, uva_t src, size_t n)
{
	if (!n)
		return 0;
	return range_ok(src, n) && !user_copy(dst, (const void *)(uintptr_t)src.v, n) ? 0 : -EFAULT;
}

int arch_user_write(uva_t dst, const void *src, size_t n)
{
	if (!n)
		return 0;
	return range_ok(dst, n) && !user_copy((void *)(uintptr_t)dst.v, src, n) ? 0 : -EFAULT;
}

int64_t arch_user_read_string(char *dst, uva_t src, size_t size)
{
	size_t done = 0;

	while (done < size) {
		/* By aligned 64 bytes, so that no page is touched beyond the one where the string ends. */
		size_t chunk = MIN(size - done, 64 - ((src.v + done) & 63));
		size_t len;

		if (arch_user_read(dst + done, uva(src.v + done), chunk))
			return -EFAULT;
		len = strnlen(dst + done, chunk);
		done += len;
		if (len < chunk)
			return (int64_t)done;
	}
	return -ENAMETOOLONG;
}
