/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Open files. They come from one fixed pool that never changes its type: a descriptor look-up may therefore raise the count of
 * a file that is just being closed, see that the descriptor has changed, and drop it again (kernel/sys/fd.c), without a lock.
 * The count of a free file is 0, and nobody raises a count from 0 (file_try_ref).
 */
#include "fs/file.h"

#define FILES_MAX 1536

int (*fd_install_hook)(struct file *f);
uint32_t (*proc_pid_hook)(void);

static struct file pool[FILES_MAX];
static struct {
	struct spinlock lock;
	struct file *free;   /* linked through object */
	unsigned fresh;      /* pool entries never used yet */
	unsigned in_use;
} files = { .lock = SPINLOCK_INIT("files", RANK_FS) };

struct file *file_new(const struct file_ops *ops, void *object, uint32_t flags)
{
	struct file *f;

	spin_lock(&files.lock);
	f = files.free;
	if (f)
		files.free = f->object;
	else if (files.fresh < FILES_MAX)
		f = &pool[files.fresh++];
	files.in_use += f != NULL;
	spin_unlock(&files.lock);
	if (!f)
		return NULL;
	f->ops = ops;
	f->object = object;
	f->node = NULL;
	f->pos = 0;
	f->flags = flags;
	__atomic_store_n(&f->refs, 1, __ATOMIC_RELEASE);
	return f;
}

void file_ref(struct file *f) { __atomic_fetch_add(&f->refs, 1, __ATOMIC_RELAXED); }

void file_last_unref(struct file *f)
{
	if (f->ops->release)
		f->ops->release(f);
	if (f->node)
		node_unref(f->node);
	spin_lock(&files.lock);
	f->object = files.free;
	files.free = f;
	files.in_use--;
	spin_unlock(&files.lock);
}

void file_unref(struct file *f)
{
	if (__atomic_sub_fetch(&f->refs, 1, __ATOMIC_ACQ_REL) == 0)
		file_last_unref(f);
}

unsigned file_count(void) { return READ_ONCE(files.in_use); }
