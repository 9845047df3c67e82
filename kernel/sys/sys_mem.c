/* SPDX-License-Identifier: Apache-2.0 */
/* Memory of a process: mappings, protection, the break. kernel/mem/aspace.c does the work; here is what the ABI says about arguments. */
#include "sys/syscall.h"

enum { MAP_SHARED = 1, MAP_PRIVATE = 2, MAP_TYPE = 15, MAP_FIXED = 0x10, MAP_ANONYMOUS = 0x20, MAP_FIXED_NOREPLACE = 0x100000 };

static bool range_ok(uint64_t addr, uint64_t len) { return !(addr & PAGE_MASK) && addr < USER_TOP && len <= USER_TOP - addr; }

static int64_t map_file(struct thread *t, struct file *f, uint64_t addr, uint64_t len, int prot, uint64_t flags, uint64_t offset)
{
	const uint64_t size = f->node ? READ_ONCE(f->node->size) : 0;

	if (f->flags & O_PATH)
		return -EBADF;
	if (f->ops->mmap)
		return flags & MAP_FIXED ? -EINVAL : f->ops->mmap(f, t->proc->as, offset, len, prot);
	if (!f->node || !node_is(f->node, S_IFREG))
		return -ENODEV;
	if ((f->flags & O_ACCMODE) == O_WRONLY)
		return -EACCES;
	if ((flags & MAP_TYPE) == MAP_SHARED && (prot & PROT_WRITE)) /* changes would have to reach the file: no page cache here */
		return -ENODEV;
	return aspace_map(t->proc->as, addr, len, prot, flags & MAP_FIXED, &node_aspace_source, f->node, offset,
			  offset < size ? MIN(size - offset, len) : 0);
}

SYSCALL(mmap)
{
	uint64_t addr = a0, len = ALIGN_UP(a1, PAGE_SIZE), flags = a3;
	int prot = (int)a2 & (PROT_READ | PROT_WRITE | PROT_EXEC);
	struct file *f;
	int64_t r;

	if (!a1 || len < a1 || (a5 & PAGE_MASK))
		return -EINVAL;
	if ((flags & MAP_TYPE) != MAP_PRIVATE && (flags & MAP_TYPE) != MAP_SHARED)
		return -EINVAL;
	if (flags & MAP_FIXED_NOREPLACE)
		return -EOPNOTSUPP;
	if (!(flags & MAP_FIXED))
		addr = 0; /* a hint; nobody depends on it */
	else if (!range_ok(addr, len) || !addr)
		return -EINVAL;
	if (flags & MAP_ANONYMOUS)
		return (flags & MAP_TYPE) == MAP_SHARED ? -ENODEV : aspace_map(t->proc->as, addr, len, prot, flags & MAP_FIXED, NULL, NULL, 0, 0);
	f = fd_get(t->proc->files, a4);
	if (!f)
		return -EBADF;
	r = map_file(t, f, addr, len, prot, flags, a5);
	file_put(f);
	return r;
}

SYSCALL(munmap)
{
	uint64_t len = ALIGN_UP(a1, PAGE_SIZE);

	return !a1 || len < a1 || !range_ok(a0, len) ? -EINVAL : aspace_unmap(t->proc->as, a0, len);
}

SYSCALL(mprotect)
{
	uint64_t len = ALIGN_UP(a1, PAGE_SIZE);

	if (!a1)
		return 0;
	if (len < a1 || !range_ok(a0, len))
		return -EINVAL;
	return aspace_protect(t->proc->as, a0, len, (int)a2 & (PROT_READ | PROT_WRITE | PROT_EXEC));
}

SYSCALL(brk) { return (int64_t)aspace_brk(t->proc->as, a0); }

/* Shrinking only: a caller that wants more in place, or moved, allocates and copies by itself. */
SYSCALL(mremap)
{
	uint64_t old_len = ALIGN_UP(a1, PAGE_SIZE), new_len = ALIGN_UP(a2, PAGE_SIZE);
	int64_t r;

	if (!new_len || !old_len || old_len < a1 || new_len < a2 || !range_ok(a0, old_len) || (a3 & ~1ull))
		return -EINVAL;
	if (new_len > old_len)
		return -ENOMEM;
	r = new_len < old_len ? aspace_unmap(t->proc->as, a0 + new_len, old_len - new_len) : 0;
	return r ? r : (int64_t)a0;
}

/* Advice only. What would have to drop pages is refused, so that nobody relies on zeroes that are not there. */
SYSCALL(madvise)
{
	enum { MADV_DONTNEED = 4, MADV_FREE = 8, MADV_REMOVE = 9 };

	return a2 == MADV_DONTNEED || a2 == MADV_FREE || a2 == MADV_REMOVE ? -EINVAL : 0;
}
