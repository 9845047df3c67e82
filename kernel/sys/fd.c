/* SPDX-License-Identifier: Apache-2.0 */
/* Descriptor tables: fixed arrays, changed under a spinlock, read without one (fd_get in proc.h). Files are dropped outside the lock. */
#include "sys/proc.h"

struct fdtable *fdtable_new(void)
{
	struct fdtable *t = kzalloc(sizeof(*t), MT_PROC);

	if (!t)
		return NULL;
	t->refs = 1;
	spin_init(&t->lock, "descriptors", RANK_FS);
	return t;
}

struct fdtable *fdtable_copy(struct fdtable *from)
{
	struct fdtable *t = fdtable_new();

	if (!t)
		return NULL;
	spin_lock(&from->lock);
	for (unsigned i = 0; i < FD_MAX; i++) {
		t->slot[i] = from->slot[i];
		if (t->slot[i])
			file_ref(t->slot[i]);
	}
	memcpy(t->cloexec, from->cloexec, sizeof(t->cloexec));
	spin_unlock(&from->lock);
	return t;
}

void fdtable_unref(struct fdtable *t)
{
	if (__atomic_sub_fetch(&t->refs, 1, __ATOMIC_ACQ_REL))
		return;
	for (unsigned i = 0; i < FD_MAX; i++)
		if (t->slot[i])
			file_unref(t->slot[i]);
	kfree(t);
}

static void mark_cloexec(struct fdtable *t, unsigned fd, bool on)
{
	t->cloexec[fd / 64] = (t->cloexec[fd / 64] & ~BIT(fd % 64)) | (on ? BIT(fd % 64) : 0);
}

int fd_install_from(struct fdtable *t, struct file *f, unsigned from, bool cloexec)
{
	unsigned fd = from;

	spin_lock(&t->lock);
	while (fd < FD_MAX && t->slot[fd])
		fd++;
	if (fd < FD_MAX) {
		mark_cloexec(t, fd, cloexec);
		__atomic_store_n(&t->slot[fd], f, __ATOMIC_RELEASE);
	}
	spin_unlock(&t->lock);
	if (fd < FD_MAX)
		return (int)fd;
	file_unref(f);
	return -EMFILE;
}

int fd_install_at(struct fdtable *t, struct file *f, unsigned fd, bool cloexec)
{
	struct file *old;

	if (fd >= FD_MAX) {
		file_unref(f);
		return -EBADF;
	}
	spin_lock(&t->lock);
	old = t->slot[fd];
	mark_cloexec(t, fd, cloexec);
	__atomic_store_n(&t->slot[fd], f, __ATOMIC_RELEASE);
	spin_unlock(&t->lock);
	if (old)
		file_unref(old);
	return (int)fd;
}

int fd_close(struct fdtable *t, unsigned fd)
{
	struct file *f;

	if (fd >= FD_MAX)
		return -EBADF;
	spin_lock(&t->lock);
	f = t->slot[fd];
	__atomic_store_n(&t->slot[fd], NULL, __ATOMIC_RELEASE);
	mark_cloexec(t, fd, false);
	spin_unlock(&t->lock);
	if (!f)
		return -EBADF;
	file_unref(f);
	return 0;
}

void fd_close_on_exec(struct fdtable *t)
{
	for (unsigned fd = 0; fd < FD_MAX; fd++)
		if (t->cloexec[fd / 64] & BIT(fd % 64))
			fd_close(t, fd);
}

int fd_get_cloexec(struct fdtable *t, unsigned fd)
{
	return fd >= FD_MAX || !READ_ONCE(t->slot[fd]) ? -EBADF : (int)(t->cloexec[fd / 64] >> fd % 64 & 1);
}

int fd_set_cloexec(struct fdtable *t, unsigned fd, bool on)
{
	int r = 0;

	if (fd >= FD_MAX)
		return -EBADF;
	spin_lock(&t->lock);
	if (t->slot[fd])
		mark_cloexec(t, fd, on);
	else
		r = -EBADF;
	spin_unlock(&t->lock);
	return r;
}
