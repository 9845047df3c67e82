/* SPDX-License-Identifier: Apache-2.0 */
/* The short path to open files, for descriptor look-up on every system call. */
#ifndef FS_FILE_H
#define FS_FILE_H

#include "fs/vfs.h"

/* Raises the count unless it is 0. f may be any entry of the pool, in use or not. */
static inline bool file_try_ref(struct file *f)
{
	uint32_t n = __atomic_load_n(&f->refs, __ATOMIC_RELAXED);

	while (n)
		if (__atomic_compare_exchange_n(&f->refs, &n, n + 1, true, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
			return true;
	return false;
}
void file_last_unref(struct file *f);
static inline void file_put(struct file *f)
{
	if (__atomic_sub_fetch(&f->refs, 1, __ATOMIC_ACQ_REL) == 0)
		file_last_unref(f);
}
unsigned file_count(void);

#endif
